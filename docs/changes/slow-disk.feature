Reading, writing and hashing files holds up nothing else of a client any more: it is done in threads, with the sender waiting for a slow disk.
