"""Tests of omaim.features."""
