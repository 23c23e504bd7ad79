"""What the network says of datagrams that could not be delivered: the error queue of a socket.

Linux keeps it, and tells with each error where the datagram was bound for; other systems tell
nothing that could be put to use on a socket with many peers.

Spec: RFC 3261 §18.4; RFC 1122 §4.1.3.3
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any, Final

MOST: Final = 64  # errors read at a time
_HEAD: Final = struct.Struct("=IBBBxII")  # struct sock_extended_err
_SPACE: Final = 512  # octets of ancillary data; an error and two addresses take less
_ICMP: Final = 2
_ICMP6: Final = 3
# By origin: which types and codes say that a datagram did not and will not arrive there.
_FATAL: Final = {
    _ICMP: frozenset({(3, 0), (3, 1), (3, 2), (3, 3), (12, 0), (12, 1), (12, 2)}),
    _ICMP6: frozenset({(1, 0), (1, 1), (1, 3), (1, 4), (4, 0), (4, 1), (4, 2)}),
}
_OPTIONS: Final = {  # by family: level and name of the option, as linux/in.h and in6.h have them
    socket.AF_INET: (socket.IPPROTO_IP, 11),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 25),
}
_QUEUE: Final[int] = getattr(socket, "MSG_ERRQUEUE", 0)


def ask_for_errors(endpoint: socket.socket) -> bool:
    """Let a UDP socket keep errors for :func:`read_errors`; false where there is no such thing."""
    option = _OPTIONS.get(socket.AddressFamily(endpoint.family))
    if option is None or not _QUEUE or not sys.platform.startswith("linux"):
        return False
    try:
        endpoint.setsockopt(*option, 1)
    except OSError:
        return False
    return True


def read_errors(endpoint: socket.socket) -> list[Any]:
    """Return the peers that cannot be reached, as addresses, and forget the errors read.

    Errors of no consequence (a datagram too large, TTL exceeded) are forgotten too.
    """
    found: list[Any] = []
    for _ in range(MOST):
        try:
            _, ancillary, _, address = endpoint.recvmsg(1, _SPACE, _QUEUE)
        except OSError:
            break
        for level, _, data in ancillary:
            if level in (socket.IPPROTO_IP, socket.IPPROTO_IPV6) and len(data) >= _HEAD.size:
                _, origin, kind, code, _, _ = _HEAD.unpack_from(data)
                if (kind, code) in _FATAL.get(origin, ()) and address not in found:
                    found.append(address)
    return found
