"""A relay: frames go from connection to connection, to and from those who have a URI of ours.

Read :mod:`omaim.msrp.leg` first: one connection, which takes frames and finds their way. Here is
what the connections share, and which of them ends when there are too many.

Spec: RFC 4976 §6
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import nsmallest
from typing import Final, final

from omaim.msrp.admitting import Admission
from omaim.msrp.grants import NOBODY, Grants
from omaim.msrp.leg import Leg
from omaim.msrp.means import Means
from omaim.msrp.outlet import Outlet
from omaim.msrp.uri import MsrpUri
from omaim.timers import NEVER, Alarm

SWEEP: Final = 30.0  # seconds between looks for URIs that have ended
SEEN: Final = 64  # connections that one look for the longest unused ones finds
LOOKS: Final = 0.25  # seconds between two such looks, where the first one found none


@final
class Relay:
    """What the connections of one relay share.

    Args:
        means: of the endpoint.
        grants: the URIs handed out.
        admission: answers AUTH.
        owns: tells whether a host and port (0 for none) are ours.
        reach: returns a leg to the next hop that a URI names, one that comes up later perhaps;
            raises PeerError when we must not go there.
        watched: tells whether somebody wants to see each frame by itself.
        unknown: pass on methods that nobody knows (§6.4.2).
        rate: octets a second that one peer may send, on average of some seconds; 0 for any.

    Attributes:
        touched: outlets that have something to flush.
        relayed: chunks passed on; passed: other requests; octets: that came.
        stopping: no connection is opened any more.
    """

    __slots__ = (
        "_alarm",
        "_asking",
        "_legs",
        "_look_at",
        "_number",
        "_owns",
        "_reach",
        "_strangers",
        "_unused",
        "admission",
        "grants",
        "means",
        "octets",
        "passed",
        "rate",
        "relayed",
        "stopping",
        "touched",
        "unknown",
        "watched",
    )

    def __init__(
        self,
        means: Means,
        grants: Grants,
        admission: Admission,
        owns: Callable[[str, int], bool],
        reach: Callable[[MsrpUri], Leg],
        watched: Callable[[], bool],
        unknown: bool = True,
        rate: float = 0.0,
    ) -> None:
        self.means: Final = means
        self.grants: Final = grants
        self.admission: Final = admission
        self.watched: Final = watched
        self.unknown: Final = unknown
        self.rate: Final = rate
        self.touched: Final[list[Outlet]] = []
        self.relayed = 0
        self.passed = 0
        self.octets = 0
        self.stopping = False
        self._owns = owns
        self._reach = reach
        self._asking: Leg | None = None  # for a way to a next hop
        self._legs: dict[int, Leg] = {}
        self._strangers: dict[int, Leg] = {}  # those who still have to show who they are
        self._unused: list[tuple[float, int]] = []  # when used, and number; the oldest last
        self._look_at = 0.0  # no sooner
        self._number = NOBODY
        self._alarm = Alarm(self._sweep)

    @property
    def legs(self) -> list[Leg]:
        """The connections, those that are coming up included."""
        return list(self._legs.values())

    def open(self, target: MsrpUri | None = None) -> Leg:
        """Return a new leg: accepted, or led to ``target``; it is told when it is up."""
        self._number += 1
        leg = Leg(self, self._number, target)
        self._legs[leg.number] = leg
        return leg

    def leg(self, number: int) -> Leg | None:
        """Return the leg with a number, unless it is gone."""
        return self._legs.get(number)

    def reach(self, uri: MsrpUri, asking: Leg) -> Leg:
        """Return a leg to the next hop that a URI names, one that comes up later perhaps.

        Args:
            asking: whose request it is; it is not ended to make room.

        Raises:
            PeerError: we must not go there, or there are too many connections.
        """
        self._asking = asking
        try:
            return self._reach(uri)
        finally:
            self._asking = None

    def is_ours(self, uri: MsrpUri) -> bool:
        """Tell whether a URI has our host and port."""
        return self._owns(uri.bare_host.lower(), uri.port)

    def forget(self, leg: Leg) -> None:
        """A leg is gone, and the URIs that were valid on it alone (§6.3)."""
        self._legs.pop(leg.number, None)
        self._strangers.pop(leg.number, None)
        self.grants.revoke(leg.number)

    def came_up(self, leg: Leg) -> None:
        """A leg is up."""
        if leg.conduct.stranger:
            self._strangers[leg.number] = leg

    def knows(self, leg: Leg) -> None:
        """The peer of a leg has made a good request."""
        self._strangers.pop(leg.number, None)

    def make_room(self) -> bool:
        """End one connection, so that there is room for another; False when none can end.

        Those go first who have connected and not shown who they are; then whoever has not been
        used for longest. None goes that has something under way; see :attr:`Leg.at_rest`.

        Spec: RFC 4976 §6.5
        """
        leg: Leg | None = None
        for stranger in self._strangers.values():
            if stranger is not self._asking:
                leg = stranger
                break
        if leg is None:
            leg = self._longest_unused()
        if leg is None:
            return False
        self.means.count("closed_for_room")
        leg.end("its place is needed")
        return True

    def _longest_unused(self) -> Leg | None:
        while True:
            while self._unused:
                used_at, number = self._unused.pop()
                leg = self._legs.get(number)
                if leg is not None and leg.used_at == used_at and self._may_end(leg):
                    return leg
            now = self.means.now()
            if now < self._look_at:
                return None
            resting = [
                (leg.used_at, leg.number) for leg in self._legs.values() if self._may_end(leg)
            ]
            if not resting:
                self._look_at = now + LOOKS
                return None
            self._unused = nsmallest(SEEN, resting)
            self._unused.reverse()

    def _may_end(self, leg: Leg) -> bool:
        return leg.at_rest and leg is not self._asking

    def watch_grants(self, now: float) -> None:
        """See to it that URIs that end are forgotten."""
        if self._alarm.deadline == NEVER:
            self._alarm.deadline = now + SWEEP
            self.means.arm(self._alarm)

    def flush(self) -> None:
        """Write what has gathered on all connections."""
        touched = self.touched
        while touched:
            for outlet in touched:
                outlet.flush()
            touched.clear()

    def _sweep(self, now: float) -> None:
        for _ in range(self.grants.sweep(now)):
            self.means.count("uris_expired")
        if len(self.grants):
            self.watch_grants(now)
