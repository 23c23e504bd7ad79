"""A whole network in one process."""
