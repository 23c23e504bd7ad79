"""Tests of omaim.sip."""
