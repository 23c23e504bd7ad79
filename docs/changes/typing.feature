Whoever is written to outside of a session sees that somebody is writing: `client.typing(to)`, and the prompt by itself.
