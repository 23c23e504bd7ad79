"""Tests of omaim.net."""
