"""Inputs that once hurt, replayed, and the harness that finds more."""
