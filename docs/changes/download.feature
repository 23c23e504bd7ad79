Users fetch deferred and recorded messages in a session: an INVITE to `sip:deferred@DOMAIN` or
`sip:history@DOMAIN`, with a list of what they want, brings them as CPIM with their original time;
a deferred message is over when the client has confirmed it, and what it has not confirmed waits.
