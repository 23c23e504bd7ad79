"""What gets installed, and that it works: slow, so tox runs it as an environment of its own."""
