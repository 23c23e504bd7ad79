"""The IM Client: library, entity and bot."""
