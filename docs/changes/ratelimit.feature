The feature ``ratelimit`` lets each address make only so many requests a second.
