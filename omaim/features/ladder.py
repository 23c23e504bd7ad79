"""Ladders: who sent what to whom, drawn from the records of the wire.

:class:`Recorder` collects, :func:`climb` puts both ends' sightings of a message together and
names who is who, and the sister modules draw: :mod:`~omaim.features.ladder_text` for a
terminal, :mod:`~omaim.features.ladder_svg` for a browser, :mod:`~omaim.features.pcapng` for
other tools.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from omaim.errors import PeerError
from omaim.features.ladder_frames import whole_frames
from omaim.features.ladder_msrp import Frame, read_frame, starts, summarise_frame
from omaim.features.ladder_sessions import RELAY, Sessions
from omaim.features.ladder_summary import summarise
from omaim.features.ladder_words import Summary, printable
from omaim.net.wire import IN, OUT, WireRecord
from omaim.node.directory import Directory, Place
from omaim.sip.message import Request
from omaim.sip.parser import parse_datagram
from omaim.sip.uri import SipUri

_ANYWHERE: Final = frozenset({"", "0.0.0.0", "::"})
_SKEW: Final = 1.0  # seconds by which two clocks may disagree on one message
_SERVERS: Final = (RELAY, "core", "im")  # the order of columns; other servers follow
OCTETS: Final = 64 * 2**20  # of the records that are kept in memory


@attrs.frozen
class Point:
    """A reference point: between which roles, and how they speak there."""

    name: str  # "IM-1"
    protocol: str  # "SIP", "MSRP" or "HTTP"
    roles: frozenset[str]  # of both ends; one role if both are the same
    across: bool = False  # only between two domains


POINTS: Final = (  # the architecture's, as far as both ends exist here
    Point("IM-1", "SIP", frozenset({"client", "core"})),
    Point("IM-2", "SIP", frozenset({"im", "core"})),
    Point("IP-1", "SIP", frozenset({"core"}), across=True),
    Point("IM-3", "HTTP", frozenset({"im", "im-xdms"})),
    Point("IM-4", "HTTP", frozenset({"im", "shared-xdms"})),
    Point("IM-5", "SIP", frozenset({"im-xdms", "core"})),
    Point("IM-6", "HTTP", frozenset({"im-xdms", "aggregation"})),
    Point("IM-7", "MSRP", frozenset({"client", "im"})),
    Point("IM-8", "MSRP", frozenset({"im"}), across=True),
    Point("IM-9", "MSRP", frozenset({"client"})),
    Point("GM-3", "HTTP", frozenset({"client", "aggregation"})),
)


@attrs.frozen
class Party:
    """One column of a ladder."""

    name: str
    role: str = ""  # "" for whom the directory does not know
    domain: str = ""


@attrs.frozen
class Step:
    """One message from one party to another."""

    time: float  # when it was sent, or first seen
    source: Party
    target: Party
    source_address: tuple[str, int]
    target_address: tuple[str, int]
    point: str  # "IM-1"; "" when none is known
    protocol: str
    transport: str
    data: bytes
    lost: bool  # sent to somebody who records and did not see it
    again: bool  # the same octets went the same way before
    summary: Summary
    folded: tuple[Step, ...] = ()  # what a line of ladder_fold stands for


@attrs.frozen
class Ladder:
    """The whole picture."""

    parties: tuple[Party, ...]  # in the order of columns
    steps: tuple[Step, ...]  # by time


class Recorder:
    """A wire tap that keeps the last messages.

    Args:
        most: records to keep; older ones are forgotten.
        octets: of messages to keep; a file that passes must not fill the memory.
    """

    def __init__(self, most: int = 10_000, octets: int = OCTETS) -> None:
        self._records: deque[WireRecord] = deque()
        self._most = most
        self._octets = octets
        self._size = 0

    def __call__(self, record: WireRecord) -> None:
        self._records.append(record)
        self._size += len(record.data)
        while len(self._records) > self._most or self._size > self._octets:
            self._size -= len(self._records.popleft().data)

    def __len__(self) -> int:
        return len(self._records)

    def take(self) -> list[WireRecord]:
        """Return what was seen, oldest first, and forget it."""
        records = list(self._records)
        self._records.clear()
        self._size = 0
        return records


def name_clients(records: Iterable[WireRecord], directory: Directory) -> None:
    """Note the clients that nobody has named, by the user for whom they ask a core.

    A request with a single Via comes from whoever made it, at the address it came from.
    """
    cores = {place.name: place for place in directory.places() if place.role == "core"}
    for record in records:
        core = cores.get(record.entity)
        if core is None or record.direction != IN or record.protocol != "SIP":
            continue
        place = directory.find(*record.remote)
        if place is not None and (place.role != "client" or place.port == record.remote[1]):
            continue
        user = _user(record.data)
        if user:
            directory.note(Place(user, "client", *record.remote, core.domain))


def _user(data: bytes) -> str:
    """Return the user who made a request, "" when it came through others or is none."""
    try:
        message = parse_datagram(data)
        if not isinstance(message, Request) or len(message.vias) != 1:
            return ""
        uri = message.from_.uri
    except PeerError:
        return ""
    return printable(uri.user_text, 30) if isinstance(uri, SipUri) else ""


def climb(
    records: Iterable[WireRecord],
    directory: Directory,
    points: Sequence[Point] = POINTS,
    order: Sequence[str] = (),
    sessions: Sessions | None = None,
) -> Ladder:
    """Return the ladder of what was seen.

    A frame of MSRP that was recorded in pieces is one step.

    Args:
        records: of any number of entities, in any order.
        directory: names those that did not record themselves, and everybody's role.
        points: the reference points; the first that fits names a step.
        order: names of parties to put first, in this order; they get a column even if
            they say nothing.
        sessions: what is known of MSRP sessions beside what these records tell.
    """
    seen = whole_frames(sorted(records, key=lambda record: record.time))
    sessions = sessions if sessions is not None else Sessions(directory)
    sessions.learn(seen)
    naming = _Naming(sessions, points)
    known = {place.name: place for place in directory.places()}
    recording = {record.entity for record in seen}
    steps: list[Step] = []
    before: set[tuple[str, str, bytes]] = set()
    for sent, got in _pairs(seen):
        one = sent or got
        assert one is not None
        source_address = _better(sent.local if sent else None, got.remote if got else None)
        target_address = _better(sent.remote if sent else None, got.local if got else None)
        source = _party(sent, source_address, directory, known)
        target = _party(got, target_address, directory, known)
        way = (source.name, target.name, one.data)
        point, summary = naming.step(one, source, target)
        steps.append(
            Step(
                time=one.time,
                source=source,
                target=target,
                source_address=source_address,
                target_address=target_address,
                point=point,
                protocol=one.protocol,
                transport=one.transport,
                data=one.data,
                lost=got is None and target.name in recording,
                again=way in before,
                summary=summary,
            )
        )
        before.add(way)
    return Ladder(_columns(steps, order, known), tuple(steps))


def _pairs(
    seen: Sequence[WireRecord],
) -> list[tuple[WireRecord | None, WireRecord | None]]:
    """Return (sent, received) for each message, None for an end that did not see it.

    A message is told by its octets and its addresses, a frame of MSRP by its transaction: the
    far end may have seen less of it. Of several that are alike, a receiver gets the last that
    was sent before: the earlier ones may have been lost.
    """
    alike: dict[tuple[object, ...], list[tuple[int, WireRecord]]] = {}
    for at, record in enumerate(seen):
        data = record.data
        if record.protocol == "MSRP" and starts(data):
            data = data[: data.index(b"\r\n")]
        key = (record.protocol, record.transport, data)
        alike.setdefault(key, []).append((at, record))
    found: list[tuple[int, WireRecord | None, WireRecord | None]] = []
    for group in alike.values():
        waiting = [(at, record) for at, record in group if record.direction == OUT]
        for at, got in group:
            if got.direction != IN:
                continue
            fitting = [one for one in waiting if _same_way(one[1], got)]
            earlier = [one for one in fitting if one[1].time <= got.time]
            later = [one for one in fitting if got.time < one[1].time <= got.time + _SKEW]
            if earlier or later:
                match = earlier[-1] if earlier else later[0]
                waiting.remove(match)
                found.append((min(at, match[0]), match[1], got))
            else:
                found.append((at, None, got))
        found += [(at, sent, None) for at, sent in waiting]
    found.sort(key=lambda one: one[0])
    return [(sent, got) for _, sent, got in found]


def _same_way(sent: WireRecord, got: WireRecord) -> bool:
    return _same_place(sent.local, got.remote) and _same_place(sent.remote, got.local)


def _same_place(one: tuple[str, int], other: tuple[str, int]) -> bool:
    if one[1] != other[1] and 0 not in (one[1], other[1]):
        return False  # a stream that is not up yet has port 0
    return one[0] == other[0] or one[0] in _ANYWHERE or other[0] in _ANYWHERE


def _better(one: tuple[str, int] | None, other: tuple[str, int] | None) -> tuple[str, int]:
    """Return the address that says more of two sightings of the same socket."""
    if one is None or (other is not None and one[0] in _ANYWHERE):
        assert other is not None
        return other
    return one


def _party(
    record: WireRecord | None,
    address: tuple[str, int],
    directory: Directory,
    known: dict[str, Place],
) -> Party:
    place = known.get(record.entity) if record else None
    if place is None:
        place = directory.find(*address)
    if place is not None:
        # Whoever recorded knows its own name; the directory adds the role.
        return Party(record.entity if record else place.name, place.role, place.domain)
    if record is not None:
        return Party(record.entity)
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return Party(f"{host}:{address[1]}")


@attrs.frozen
class _Asked:
    """A request of MSRP, for the answer to it."""

    method: str
    point: str


class _Naming:
    """Says what the steps are and at which reference points, one after the other."""

    def __init__(self, sessions: Sessions, points: Sequence[Point]) -> None:
        self._sessions = sessions
        self._points = points
        self._asked: dict[tuple[str, str, str], _Asked] = {}

    def step(self, record: WireRecord, source: Party, target: Party) -> tuple[str, Summary]:
        """Return the reference point and the words of a message."""
        frame = read_frame(record.data) if record.protocol == "MSRP" else None
        if frame is None:
            point = self._point(record.protocol, source, target)
            return point, summarise(record.protocol, record.data)
        if frame.status:
            asked = self._asked.get((frame.tid, target.name, source.name))
            if asked is None:
                return self._point("MSRP", source, target), summarise_frame(frame)
            return asked.point, summarise_frame(frame, asked.method)
        point = self._point("MSRP", *self._ends(frame, source, target))
        self._asked[frame.tid, source.name, target.name] = _Asked(frame.method, point)
        sessions = self._sessions
        return point, summarise_frame(frame, "", sessions.rooms(frame), sessions.file(frame))

    def _ends(self, frame: Frame, source: Party, target: Party) -> tuple[Party, Party]:
        """Return for whom the two ends of a connection stand: a relay for who is behind it.

        When nobody knows that, a relay stands for a client, whose access it is.

        Spec: RFC 4976 §3, §5.1
        """
        if RELAY not in (source.role, target.role):
            return source, target
        return (
            self._behind(source, frame.from_path, target),
            self._behind(target, frame.to_path, source),
        )

    def _behind(self, party: Party, path: list[str], other: Party) -> Party:
        if party.role != RELAY:
            return party
        owner = self._sessions.owner(path[-1]) if path else None
        if owner is not None and owner.role != RELAY:
            return Party(owner.name, owner.role, owner.domain)
        return attrs.evolve(party, role="client") if other.role == "im" else party

    def _point(self, protocol: str, source: Party, target: Party) -> str:
        roles = frozenset({source.role, target.role})
        for point in self._points:
            fits = point.protocol == protocol and point.roles == roles
            if fits and (not point.across or source.domain != target.domain):
                return point.name
        return ""


def _columns(
    steps: Sequence[Step], order: Sequence[str], known: dict[str, Place]
) -> tuple[Party, ...]:
    """Return the parties from left to right.

    The clients of the first domain come first, then its servers, then the servers of
    the other domains, and their clients last: most arrows then run to a neighbour.
    """
    parties: dict[str, Party] = {}
    for name in order:
        place = known.get(name)
        parties[name] = Party(name, place.role, place.domain) if place else Party(name)
    wished = len(parties)
    for step in steps:
        parties.setdefault(step.source.name, step.source)
        parties.setdefault(step.target.name, step.target)
    every = list(parties.values())
    domains = list(dict.fromkeys(party.domain for party in every[wished:]))
    rest = sorted(every[wished:], key=lambda party: _rank(party, domains))
    return (*every[:wished], *rest)


def _rank(party: Party, domains: list[str]) -> tuple[int, int]:
    domain = domains.index(party.domain)
    if party.role == "client" or not party.role:
        return (domain if domain == 0 else 2 * len(domains) - domain, -1 if domain == 0 else 99)
    servers = _SERVERS.index(party.role) if party.role in _SERVERS else len(_SERVERS)
    return (domain, servers)
