The core answers the STUN keep-alives of clients that registered over UDP by outbound (RFC 5626 §8).
