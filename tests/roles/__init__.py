"""Tests of omaim.roles."""
