"""Tests of omaim.stores."""
