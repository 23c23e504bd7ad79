"""The IM Server: participating and controlling functions."""
