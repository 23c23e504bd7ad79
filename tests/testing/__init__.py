"""Tests of omaim.testing."""
