"""What the entities of one process share."""
