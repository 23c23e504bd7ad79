"""A package with two scenarios, for the test of the command that plays them."""
