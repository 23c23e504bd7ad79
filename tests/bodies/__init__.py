"""Tests of omaim.bodies."""
