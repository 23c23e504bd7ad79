"""Test support for us and for plugin writers; nothing in omaim imports it."""
