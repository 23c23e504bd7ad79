Take large messages for who is away, and deliver them in a session of their own when he comes.
