"""The command line for people: omaim."""
