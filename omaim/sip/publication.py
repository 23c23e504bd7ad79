"""The event state compositor's side of PUBLISH: which publications stand, by entity-tag.

:func:`judge` decides one request against what is stored, so that a shared store can do the
same in a transaction; :class:`Publications` keeps them in memory. Composing the state out of
the publications is the event package's.

Spec: RFC 3903 §6, §8
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Final

import attrs

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.message import Request
from omaim.sip.subscription import Terms
from omaim.timers import NEVER

INITIAL: Final = "initial"
REFRESH: Final = "refresh"
MODIFY: Final = "modify"
REMOVE: Final = "remove"

_TOKEN: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~"
)
_LONGEST_TAG: Final = 128


@attrs.frozen
class Publication:
    """One piece of published state that stands now."""

    resource: str  # canonical address of record
    package: str  # event package
    etag: str
    content_type: str
    body: bytes
    expires_at: float  # in the clock of whoever stores it
    publisher: str = ""  # authenticated identity, "" when not known


@attrs.frozen
class Judgement:
    """What a PUBLISH does.

    Attributes:
        operation: initial, refresh, modify or remove.
        expires: seconds, for the Expires of the 200.
        etag: the entity-tag it refers to; empty for an initial one.
    """

    operation: str
    expires: int
    etag: str


def condition(request: Request) -> str:
    """Return the entity-tag of SIP-If-Match, "" when there is none.

    Raises:
        PeerError: 400 for more than one, or for what is no token.

    Spec: RFC 3903 §6 step 3, §12
    """
    values = request.values("SIP-If-Match")
    if not values:
        return ""
    etag = values[0].strip()
    if len(values) > 1 or not etag or len(etag) > _LONGEST_TAG or not _TOKEN.issuperset(etag):
        raise PeerError("SIP-If-Match takes exactly one entity-tag")
    return etag


def judge(
    request: Request, packages: Iterable[str], etags: Iterable[str], terms: Terms
) -> Judgement:
    """Decide a PUBLISH for one resource.

    Args:
        request: the PUBLISH.
        packages: names of the event packages that may be published.
        etags: entity-tags that stand for the resource and package of the request.
        terms: durations.

    Raises:
        PeerError: 489 (answer with Allow-Events), 400, 412, or
            :class:`~omaim.sip.pacing.IntervalTooBrief`; nothing may then be changed.

    Spec: RFC 3903 §6 steps 2 to 5
    """
    event = request.event
    if event is None or event.package not in packages:
        raise PeerError("this event package is not published here", 489)
    etag = condition(request)
    if etag and etag not in etags:
        raise PeerError("no publication has this entity-tag", 412)
    expires = terms.grant(request)
    if request.body:
        if not request.has("Content-Type"):
            raise PeerError("a body needs a Content-Type")
        operation = MODIFY if etag else INITIAL
    elif etag:
        operation = REFRESH
    else:
        raise PeerError("an initial PUBLISH needs a body")
    if expires == 0:
        operation = REMOVE
    return Judgement(operation, expires, etag)


@attrs.frozen
class Published:
    """The outcome of an accepted PUBLISH.

    Attributes:
        operation: initial, refresh, modify or remove.
        expires: seconds, for Expires.
        etag: for SIP-ETag.
        changed: what watchers see may differ from before.
        publication: what stands now; None after a removal.
    """

    operation: str
    expires: int
    etag: str
    changed: bool
    publication: Publication | None


class Publications:
    """All publications of one compositor, in memory.

    Args:
        ids: the source of entity-tags.
        packages: names of the event packages.
        terms: durations.
        most: publications kept for one resource; more are refused with 403.

    Attributes:
        deadline: when :meth:`wake` is wanted; an :class:`~omaim.timers.Alarm` of the owner
            keeps it.

    Spec: RFC 3903 §6
    """

    __slots__ = (
        "_by_resource",
        "_gone",
        "_heap",
        "_most",
        "_prefix",
        "_serial",
        "_standing",
        "deadline",
        "packages",
        "terms",
    )

    def __init__(self, ids: Ids, packages: Iterable[str], terms: Terms, most: int = 32) -> None:
        self.deadline = NEVER
        self.packages = frozenset(packages)
        self.terms = terms
        self._most = most
        self._by_resource: dict[tuple[str, str], dict[str, Publication]] = {}
        self._heap: list[tuple[float, str, tuple[str, str]]] = []
        self._gone: list[Publication] = []
        self._standing = 0
        # A fresh prefix for each start and a count: no entity-tag ever comes twice.
        self._prefix = ids.token(12)
        self._serial = 0

    def __len__(self) -> int:
        return self._standing

    def publish(
        self, resource: str, request: Request, now: float, publisher: str = ""
    ) -> Published:
        """Act on a PUBLISH for ``resource``; all of it happens or nothing.

        Raises:
            PeerError: with the status to answer; see :func:`judge`.

        Spec: RFC 3903 §6
        """
        event = request.event
        package = "" if event is None else event.package
        key = (resource, package)
        self._expire(now)
        standing = self._by_resource.get(key, {})
        verdict = judge(request, self.packages, standing, self.terms)
        old = standing.get(verdict.etag)
        etag = self._etag()
        if verdict.operation == REMOVE:
            if old is not None:
                self._drop(key, old)
            return Published(REMOVE, 0, etag, old is not None, None)
        if old is None and len(standing) >= self._most:
            raise PeerError("too many publications for this resource", 403)
        expires_at = now + verdict.expires
        if old is not None and verdict.operation == REFRESH:
            new = attrs.evolve(old, etag=etag, expires_at=expires_at)
        else:
            new = Publication(
                resource,
                package,
                etag,
                request.first("Content-Type") or "",
                request.body,
                expires_at,
                publisher,
            )
        if old is not None:
            self._drop(key, old)
        self._by_resource.setdefault(key, {})[etag] = new
        self._standing += 1
        self._keep(expires_at, etag, key)
        changed = old is None or old.body != new.body or old.content_type != new.content_type
        return Published(verdict.operation, verdict.expires, etag, changed, new)

    def current(self, resource: str, package: str) -> list[Publication]:
        """Return what stands for a resource, the least recently changed first."""
        return list(self._by_resource.get((resource, package), {}).values())

    def wake(self, now: float) -> None:
        """Drop what has expired; :meth:`take` tells what that was."""
        self._expire(now)

    def take(self) -> list[Publication]:
        """Return the publications that expired since the last call."""
        gone, self._gone = self._gone, []
        return gone

    def _expire(self, now: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, etag, key = heappop(heap)
            publication = self._by_resource.get(key, {}).get(etag)
            if publication is not None:
                self._drop(key, publication)
                self._gone.append(publication)
        self.deadline = heap[0][0] if heap else NEVER

    def _keep(self, expires_at: float, etag: str, key: tuple[str, str]) -> None:
        heap = self._heap
        heappush(heap, (expires_at, etag, key))
        if len(heap) > 2 * self._standing + 64:
            # Entries of replaced entity-tags: a publisher in a hurry must not pile them up.
            heap = [entry for entry in heap if entry[1] in self._by_resource.get(entry[2], {})]
            heapify(heap)
            self._heap = heap
        self.deadline = heap[0][0]

    def _drop(self, key: tuple[str, str], publication: Publication) -> None:
        standing = self._by_resource[key]
        del standing[publication.etag]
        self._standing -= 1
        if not standing:
            del self._by_resource[key]

    def _etag(self) -> str:
        self._serial += 1
        return f"{self._prefix}{self._serial:x}"
