"""Tests of omaim.node."""
