The IM Client: a library that sends a message and awaits its delivery report in five lines, bots of
five lines and as `twistd omaim-client`, the prompt `omaim client`, and `omaim say` for one message.
