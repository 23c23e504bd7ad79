"""The conference event package: who is in a conference, told to those who may know.

Spec: RFC 4575; RFC 6665; OMA SIMPLE IM 1.0 (allow-conference-state)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from omaim.bodies.conference_info import (
    DELETED,
    MEDIA_TYPE,
    ConferenceInfo,
    renumbered,
    write_conference,
)
from omaim.errors import PeerError
from omaim.im.conference import Conference
from omaim.im.roster import RosterWatch
from omaim.roles.incoming import Incoming
from omaim.roles.packages import ALLOWED, EventPackage, Served, State
from omaim.sip.identity import ID, USER, asserted_identities, privacy_of
from omaim.sip.message import Request
from omaim.sip.subscription import Terms

NAME: Final = "conference"
_DOCUMENTS: Final = 16  # that are kept to be told to others, too


@attrs.define(eq=False)
class _Watch:
    """What one subscription goes by."""

    roster: RosterWatch | None  # None: the conference did not outlive the server
    version: int = 0  # told before
    allowed: Callable[[], bool] | None = None  # whether it may still know


class ConferencePackage(EventPackage):
    """Tells who is in conferences.

    Args:
        running: returns the conference of an address, ``None`` if it does not go on.
        missing: raises what an address deserves that is of no conference that goes on.
        ends: ends a subscription in the next turn, for a reason.
        interval: least seconds between two NOTIFYs of changes.

    Spec: RFC 4575 §3
    """

    def __init__(
        self,
        running: Callable[[str], Conference | None],
        missing: Callable[[str], Awaitable[PeerError]],
        ends: Callable[[Served, str], object],
        interval: float,
    ) -> None:
        super().__init__(NAME, (MEDIA_TYPE,), Terms(default=3600, interval=interval))
        self._running = running
        self._missing = missing
        self._ends = ends
        self._documents: dict[ConferenceInfo, bytes] = {}

    async def authorize(self, incoming: Incoming, resource: str) -> bool:
        """Let those watch who may.

        Raises:
            PeerError: 403 it may not; 404, 410 or 480 there is nothing to watch.
        """
        conference = self._running(resource)
        if conference is None:
            raise await self._missing(resource)
        conference.room.watch(*_who(incoming.request)).close()
        return ALLOWED

    def begin(self, incoming: Incoming, resource: str) -> object:
        conference = self._running(resource)
        if conference is None:
            raise PeerError("the conference has ended", 410)
        room, who = conference.room, _who(incoming.request)
        return _Watch(room.watch(*who), allowed=lambda: room.shows(*who))

    def revive(self, subscribe: Request, resource: str, told: int) -> object:
        return _Watch(None, told)

    def state(self, served: Served, full: bool) -> State | None:
        """Return what is new, or everything."""
        watch = served.context
        assert isinstance(watch, _Watch)
        if watch.roster is None:
            watch.version += 1
            info: ConferenceInfo | None = ConferenceInfo(
                served.resource, watch.version, DELETED, users_state=None
            )
            self._ends(served, "noresource")
        elif watch.allowed is not None and not watch.allowed():
            info = None  # expelled, or its rights have gone
            self._ends(served, "rejected")
        else:
            info = watch.roster.full() if full else watch.roster.next()
        return None if info is None else State(self._written(info), MEDIA_TYPE)

    def _written(self, info: ConferenceInfo) -> bytes:
        """Return the document; most watchers get the same but for its version."""
        alike = attrs.evolve(info, version=0)
        document = self._documents.get(alike)
        if document is None:
            if len(self._documents) >= _DOCUMENTS:
                del self._documents[next(iter(self._documents))]
            document = self._documents[alike] = write_conference(alike)
        return renumbered(document, info.version)

    def ended(self, served: Served) -> None:
        watch = served.context
        if isinstance(watch, _Watch) and watch.roster is not None:
            watch.roster.close()


def _who(request: Request) -> tuple[tuple[str, ...], bool]:
    """Return who asks, by all identities, and whether anonymously."""
    identities = asserted_identities(request)
    hidden = request.has("Privacy") and bool(privacy_of(request) & (ID | USER))
    return identities, hidden or not identities
