"""What watchers see of the wire: one record for each message, in or out.

A socket asks ``wire.record is None`` and goes on when nobody looks. ``omaim.node.taps`` fills
the slot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

IN: Final = "in"
OUT: Final = "out"


@attrs.frozen
class WireRecord:
    """One message as it crossed a socket."""

    time: float  # seconds since the epoch
    entity: str  # the name of the endpoint that received or sent it
    direction: str  # IN or OUT
    protocol: str  # "SIP", "MSRP", "HTTP"
    transport: str  # "UDP", "TCP" or "TLS"
    local: tuple[str, int]  # address here, IPv6 without brackets
    remote: tuple[str, int]  # address of the peer
    data: bytes  # exactly as on the wire, but in the clear under TLS


class Wire:
    """The slot between the sockets of one node and whoever watches them.

    Attributes:
        record: called with each record, or ``None`` when nobody looks. It must not raise.
    """

    __slots__ = ("record",)

    def __init__(self) -> None:
        self.record: Callable[[WireRecord], object] | None = None
