"""The pages: what they show has to work."""
