"""What attackers send, and what they get."""
