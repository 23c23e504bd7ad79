"""Tests of omaim.client."""
