"""The conference event package of the rooms that a client hosts.

Spec: RFC 4575; RFC 6665
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from omaim.bodies.conference_info import (
    DELETED,
    MEDIA_TYPE,
    ConferenceInfo,
    write_conference,
)
from omaim.bodies.conference_state import changes
from omaim.client.hosting import HostedRoom
from omaim.errors import PeerError
from omaim.roles.incoming import Incoming
from omaim.roles.packages import ALLOWED, EventPackage, Served, State
from omaim.sip.message import Request

NAME: Final = "conference"


@attrs.define(eq=False)
class _Watch:
    """What one watcher knows."""

    known: ConferenceInfo | None = None
    version: int = 0


class HostPackage(EventPackage):
    """Tells participants who is in a room.

    Args:
        asked: returns the room that a SUBSCRIBE is about; ``None`` when there is none.
        room: returns the room of an address.
        may_watch: tells whether the sender of a SUBSCRIBE is in the room.
    """

    def __init__(
        self,
        asked: Callable[[Request], HostedRoom | None],
        room: Callable[[str], HostedRoom | None],
        may_watch: Callable[[Incoming, HostedRoom], bool],
    ) -> None:
        super().__init__(NAME, (MEDIA_TYPE,))
        self._asked = asked
        self._room = room
        self._may_watch = may_watch

    def resource(self, request: Request) -> str:
        """Return the address of the room.

        Raises:
            PeerError: 404, there is none.
        """
        room = self._asked(request)
        if room is None:
            raise PeerError("no such conference is hosted here", 404)
        return room.uri

    def authorize(self, incoming: Incoming, resource: str) -> bool:
        """Let those watch who are in the room.

        Raises:
            PeerError: 404 there is no room; 403 for others.
        """
        room = self._room(resource)
        if room is None or room.ended:
            raise PeerError("no such conference is hosted here", 404)
        if not self._may_watch(incoming, room):
            raise PeerError("who is in the room is for those who are in it", 403)
        return ALLOWED

    def begin(self, incoming: Incoming, resource: str) -> object:
        return _Watch()

    def state(self, served: Served, full: bool) -> State | None:
        """Return all, or what is new (RFC 4575 §4.4)."""
        watch = served.context
        assert isinstance(watch, _Watch)
        watch.version += 1
        room = self._room(served.resource)
        info = None if room is None else room.info
        if info is None:
            gone = ConferenceInfo(served.resource, watch.version, DELETED, users_state=None)
            return State(write_conference(gone), MEDIA_TYPE)
        now = attrs.evolve(info, version=watch.version)
        told = now if full or watch.known is None else changes(watch.known, now)
        watch.known = now
        return State(write_conference(told), MEDIA_TYPE)
