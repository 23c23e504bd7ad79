"""The command line for people: omaim."""

# Docstrings of commands are what --help shows, not markup.
__docformat__ = "plaintext"
