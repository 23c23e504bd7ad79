The core answers the STUN keep-alives of clients that registered over UDP by outbound, and the IM Client sends
them (RFC 5626 §4.4.2, §8).
