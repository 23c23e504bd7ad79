"""Tests of omaim.lab."""
