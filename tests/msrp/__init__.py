"""Tests of omaim.msrp."""
