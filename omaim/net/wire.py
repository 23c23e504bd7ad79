"""What watchers see of the wire: one record for each message, in or out.

A socket asks ``wire.record is None`` and goes on when nobody looks. ``omaim.node.taps`` fills
the slot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from omaim.sip.transport import Watch

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
        watch: whether somebody looks; for compiled code, which sees this at less cost.
    """

    __slots__ = ("_record", "watch")

    def __init__(self) -> None:
        self.watch = Watch()
        self._record: Callable[[WireRecord], object] | None = None

    @property
    def record(self) -> Callable[[WireRecord], object] | None:
        """Called with each record, or ``None`` when nobody looks. It must not raise."""
        return self._record

    @record.setter
    def record(self, record: Callable[[WireRecord], object] | None) -> None:
        self._record = record
        self.watch.on = record is not None
