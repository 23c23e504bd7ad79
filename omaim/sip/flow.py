"""The path to one peer, as everything below the sockets sees it: opaque, comparable, nameable.

``net`` makes flows and writes to them; ``sip`` only compares them and asks whether they are
reliable. A flow over UDP is one pair of addresses, over TCP and TLS one connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.sip.front import Front

UDP: Final = "UDP"
TCP: Final = "TCP"
TLS: Final = "TLS"


def _nowhere(data: bytes) -> bool:
    """Write to a flow that leads nowhere."""
    return False


@final
class Flow:
    """One way to reach one peer.

    Args:
        transport: "UDP", "TCP" or "TLS", as Via spells it.
        local_host: the address here, IPv6 without brackets.
        local_port: the port here.
        remote_host: the peer's address, IPv6 without brackets.
        remote_port: the peer's port.
        connection: that of a stream, for ``net``; no business of anybody else.
        serial: unique among the flows of one process, never reused.

    Attributes:
        reliable: the transport neither loses nor repeats; no retransmission is needed.
        secure: the transport is encrypted.
        front: the beginning of our Via for requests by this flow; ``net`` sets it.
        send: writes one message, False when it cannot be delivered; ``net`` sets it.
        open: False once the connection is gone; nothing may be sent then.
        up: the connection was established; what was written may have arrived. Always so where
            there is none.
        identity: the canonical AoR authenticated on this flow, "" for none; the core sets it.
        peer_names: the names that the peer's verified certificate carries.

    Spec: RFC 3261 §18; RFC 5626 §2 (flow)
    """

    __slots__ = (
        "connection",
        "front",
        "identity",
        "local_host",
        "local_port",
        "open",
        "peer_names",
        "reliable",
        "remote_host",
        "remote_port",
        "secure",
        "send",
        "serial",
        "transport",
        "up",
    )

    def __init__(
        self,
        transport: str,
        local_host: str,
        local_port: int,
        remote_host: str,
        remote_port: int,
        connection: object = None,
        serial: int = 0,
    ) -> None:
        self.transport = transport
        self.local_host = local_host
        self.local_port = local_port
        self.remote_host = remote_host
        self.remote_port = remote_port
        self.connection = connection
        self.serial = serial
        self.front: Front | None = None
        self.send: Callable[[bytes], bool] = _nowhere
        self.reliable: bool = transport != UDP
        self.secure: bool = transport == TLS
        self.open: bool = True
        self.up: bool = transport == UDP
        self.identity: str = ""
        self.peer_names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        local = f"{self.local_host}:{self.local_port}"
        remote = f"{self.remote_host}:{self.remote_port}"
        return f"<Flow {self.serial} {self.transport} {local} to {remote}>"
