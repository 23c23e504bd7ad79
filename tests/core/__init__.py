"""Tests of omaim.core."""
