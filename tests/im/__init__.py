"""Tests of omaim.im."""
