"""Tests of omaim.cli."""
