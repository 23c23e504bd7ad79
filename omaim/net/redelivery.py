"""Answers whose connection broke: another way to their client.

Spec: RFC 3261 §18.2.2; RFC 3263 §5
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from omaim.errors import PeerError, Unavailable
from omaim.sip.flow import TCP, TLS
from omaim.sip.locating import Target, default_port
from omaim.sip.parser import parse_datagram

if TYPE_CHECKING:
    from omaim.net.endpoint import Endpoint

MOST: Final = 1024  # answers at a time


class Redelivery:
    """The answers of one endpoint that look for a new way."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._tries: dict[int, tuple[bytes, list[Target]]] = {}  # by the serial of the flow

    def begin(self, data: bytes) -> None:
        """Take an answer to the source of its request, else to where its Via points."""
        try:
            response = parse_datagram(data)
            via = None if response is None else response.via
        except PeerError:
            return
        if via is None or via.transport not in (TCP, TLS):
            return
        port = via.port or default_port(via.transport)
        source = [Target(via.transport, via.received, port, via.host)] if via.received else []
        try:
            found = self._endpoint.resolver.locate_host(False, via.host, via.port, via.transport)
        except Unavailable:
            found = []
        if isinstance(found, Deferred):
            found.addCallbacks(
                lambda targets: self._try(data, source + targets),
                lambda failure: self._try(data, source),
            )
        else:
            self._try(data, source + [target for target in found if target not in source])

    def lost(self, serial: int) -> None:
        """The flow of this number broke: whatever was on it goes to the next place."""
        undelivered = self._tries.pop(serial, None)
        if undelivered is not None:
            self._try(*undelivered)

    def _try(self, data: bytes, targets: list[Target]) -> None:
        if not targets or len(self._tries) >= MOST:
            self._endpoint.count("response_lost")
            return
        flow = self._endpoint.outlet.flow_to(targets[0])
        if flow is not None:
            self._tries[flow.serial] = (data, targets[1:])
            self._endpoint.write(flow, data)
