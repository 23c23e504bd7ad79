"""Client-initiated connections: flow tokens for whoever holds the connection, and keep-alives.

A flow token lets an element that forgets everything send a later request down the connection
on which a REGISTER or an INVITE came; nobody else can make one.

Spec: RFC 5626 §4.4, §5.2, §5.3
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hmac import compare_digest
from typing import Final, final

from omaim.errors import PeerError, UsageError
from omaim.sip.flow import Flow
from omaim.sip.message import Request
from omaim.sip.registering import Sender

_SEAL: Final = 12  # octets
_MAX_TOKEN: Final = 400  # characters; two IPv6 addresses with zones need less

SHORTEST_STREAM: Final = 95.0  # between pings on a connection, RFC 5626 §4.4.1
LONGEST_STREAM: Final = 120.0
SHORTEST_DATAGRAM: Final = 24.0  # between keep-alives of a UDP flow, RFC 5626 §4.4.2
LONGEST_DATAGRAM: Final = 29.0


@final
class FlowName:
    """What a flow token says of its flow.

    Attributes:
        serial: of the flow in the process that made the token.
    """

    __slots__ = ("local_host", "local_port", "remote_host", "remote_port", "serial", "transport")

    def __init__(
        self,
        transport: str,
        serial: int,
        local_host: str,
        local_port: int,
        remote_host: str,
        remote_port: int,
    ) -> None:
        self.transport: Final = transport
        self.serial: Final = serial
        self.local_host: Final = local_host
        self.local_port: Final = local_port
        self.remote_host: Final = remote_host
        self.remote_port: Final = remote_port

    def names(self, flow: Flow) -> bool:
        """Tell whether ``flow`` is the one meant.

        A connection that was made anew between the same addresses is another flow; for
        datagrams the addresses are the flow.
        """
        return (
            flow.remote_port == self.remote_port
            and flow.remote_host == self.remote_host
            and flow.local_port == self.local_port
            and flow.local_host == self.local_host
            and flow.transport == self.transport
            and (not flow.reliable or flow.serial == self.serial)
        )


@final
class FlowTokens:
    """Make flow tokens and open them.

    Args:
        key: at least 16 secret octets; new for each process, as serials are.
        lasting: of tokens for datagrams, whose flow is its addresses and outlives a process
            unnoticed by the user agent; ``key`` when not given.

    Spec: RFC 5626 §5.2
    """

    __slots__ = ("_key", "_lasting")

    def __init__(self, key: bytes, lasting: bytes = b"") -> None:
        if len(key) < 16 or 0 < len(lasting) < 16:
            raise UsageError("the flow token key is too short: give 16 octets or more")
        self._key = hashlib.sha256(key).digest()
        self._lasting = hashlib.sha256(b"flow tokens" + lasting).digest() if lasting else self._key

    def _seal(self, content: bytes) -> bytes:
        key = self._lasting if content[:4] == b"UDP " else self._key
        return hashlib.blake2s(content, key=key, digest_size=_SEAL).digest()

    def make(self, flow: Flow) -> str:
        """Return the token of ``flow``, fit for the user part of a URI."""
        content = (
            f"{flow.transport} {flow.serial} {flow.local_host} {flow.local_port} "
            f"{flow.remote_host} {flow.remote_port}"
        ).encode("ascii", "replace")
        return urlsafe_b64encode(self._seal(content) + content).decode("ascii").rstrip("=")

    def open(self, token: str) -> FlowName:
        """Return the flow that ``token`` names. Whether it is still open is another question:
        answer :func:`flow_failed` when it is not.

        Raises:
            PeerError: not made here, or altered (403).

        Spec: RFC 5626 §5.3.1
        """
        if len(token) > _MAX_TOKEN or not token.isascii():
            raise PeerError("a flow token that is not ours", 403)
        try:
            octets = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            raise PeerError("a flow token that is not ours", 403)
        content = octets[_SEAL:]
        if not compare_digest(self._seal(content), octets[:_SEAL]):
            raise PeerError("a flow token that is not ours", 403)
        transport, serial, local_host, local_port, remote_host, remote_port = content.decode(
            "ascii"
        ).split(" ")
        return FlowName(
            transport, int(serial), local_host, int(local_port), remote_host, int(remote_port)
        )


def flow_failed() -> PeerError:
    """Return the error for a request whose flow is gone (RFC 5626 §5.3.1, §11.5)."""
    return PeerError("the flow to this user agent is gone", 430)


def keep_alive_after(fraction: float, reliable: bool, flow_timer: int = 0) -> float:
    """Return how many seconds after the last keep-alive the next is due.

    Args:
        fraction: random, from 0 to 1.
        flow_timer: what the registrar's Flow-Timer header said; 0 without. It is how often at
            least: a datagram flow, which a NAT on the way forgets sooner, gets no fewer for it.

    Spec: RFC 5626 §4.4 (80 to 100 percent of the Flow-Timer), §4.4.1 (else 95 to 120 s), §4.4.2
        (24 to 29 s)
    """
    longest, shortest = LONGEST_STREAM, SHORTEST_STREAM
    if not reliable:
        longest, shortest = LONGEST_DATAGRAM, SHORTEST_DATAGRAM
    if flow_timer and (reliable or flow_timer < longest):
        longest, shortest = float(flow_timer), 0.8 * flow_timer
    return shortest + (longest - shortest) * fraction


def sender_of(request: Request, flow: Flow, private_id: str, tokens: FlowTokens) -> Sender:
    """Say what the headers cannot prove: by which flow, from behind which address.

    Spec: RFC 5626 §6; RFC 3581 §4
    """
    via = request.via
    direct = request.names.count("Via") == 1 and not request.has("Path")
    received = ""
    if direct and via.received:
        source, port = via.received, max(via.rport, 0) or via.port or 5060
        if source != via.host.strip("[]") or port != (via.port or 5060):
            host = f"[{source}]" if ":" in source else source
            received = f"sip:{host}:{port}"
    # Others are reached by their Contact, so their flow need not be known.
    needed = flow.reliable or received or _asks_outbound(request)
    token = tokens.make(flow) if direct and needed else ""
    return Sender(private_id, token, received)


def _asks_outbound(request: Request) -> bool:
    for line in request.all("Contact"):
        if "reg-id" in line.lower():
            return True
    return False
