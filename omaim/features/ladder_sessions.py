"""Whose an MSRP session is: ladders learn it from the session descriptions in the SIP beside it.

An MSRP socket of a client has a port that nobody announced, and the far end of a path may be
behind a relay. But whoever sends a session description names in a=path the URI at which it is
reached, and the frames on the wire bear the same URI.

Spec: RFC 4975 §8.2; RFC 4976 §4 (the path through relays); RFC 4575, RFC 7701 (rooms)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from omaim.bodies import sdp
from omaim.bodies.mime import Part
from omaim.bodies.multipart import is_multipart, parse_multipart
from omaim.errors import PeerError
from omaim.features.ladder_msrp import Frame, bare, read_frame, uri_key, uri_place
from omaim.features.ladder_sdp import Media, media_of
from omaim.features.ladder_sip import is_focus
from omaim.net.wire import IN, OUT, WireRecord
from omaim.node.directory import Directory, Place
from omaim.sip.headers import NameAddr
from omaim.sip.message import Request, Response
from omaim.sip.parser import parse_datagram

RELAY: Final = "relay"
_DISCARD: Final = 9  # the port of who only opens connections (RFC 6135 §4.2)


@attrs.frozen
class Talk:
    """One end of a session, as its description tells."""

    owner: Place | None  # who wrote it; None when nobody knows whose address it came from
    rooms: frozenset[str]  # addresses of the chat room that it is in
    file: str  # the name of the file that it transfers


class Sessions:
    """The MSRP sessions that were set up, as far as records show.

    Args:
        directory: knows where entities are.
        most: ends of sessions to remember; the oldest are forgotten.
    """

    def __init__(self, directory: Directory, most: int = 10_000) -> None:
        self._directory = directory
        self._most = most
        self._talks: dict[str, Talk] = {}

    def learn(self, records: Iterable[WireRecord]) -> None:
        """Remember the sessions that are described in some records, by time."""
        known = {place.name: place for place in self._directory.places()}
        for record in records:
            if record.protocol == "SIP" and b"MSRP" in record.data:
                self._learn(record, known)

    def described(self, uri: str) -> Place | None:
        """Return who told others that it is reached at an MSRP URI, ``None`` if nobody did."""
        talk = self._talks.get(uri_key(uri))
        return talk.owner if talk is not None else None

    def owner(self, uri: str) -> Place | None:
        """Return who is reached at an MSRP URI, by its address if no description tells."""
        found = self.described(uri)
        if found is not None:
            return found
        place = uri_place(uri)
        return self._directory.find_exact(*place) if place is not None else None

    def rooms(self, frame: Frame) -> frozenset[str]:
        """Return the addresses of the chat room in whose session a frame is; empty if in none."""
        return frozenset(room for talk in self._of(frame) for room in talk.rooms)

    def file(self, frame: Frame) -> str:
        """Return the name of the file whose transfer a frame is of, "" if of none."""
        return next((talk.file for talk in self._of(frame) if talk.file), "")

    def _of(self, frame: Frame) -> list[Talk]:
        uris = [*frame.to_path, *frame.from_path]
        found = [self._talks.get(uri_key(uri)) for uri in uris]
        return [talk for talk in found if talk is not None]

    def _learn(self, record: WireRecord, known: dict[str, Place]) -> None:
        message, described = _described(record.data)
        if message is None or not described:
            return
        owner = self._speaker(record, known)
        for media in described:
            own = uri_key(media.path[-1]) if media.path else ""
            if not own or own in self._talks:
                continue  # whoever wrote it is who was seen to say it first
            rooms = _rooms(message)
            self._talks[own] = Talk(owner, rooms, media.file_name)
            if len(self._talks) > self._most:
                del self._talks[next(iter(self._talks))]

    def _speaker(self, record: WireRecord, known: dict[str, Place]) -> Place | None:
        """Return who sent a message: not a core, which describes no sessions itself."""
        place = known.get(record.entity) if record.direction == OUT else None
        if place is None:
            address = record.local if record.direction == OUT else record.remote
            place = self._directory.find(*address)
        return place if place is not None and place.role != "core" else None


def sessions_in(data: bytes) -> set[str]:
    """Return the keys of the MSRP URIs that the session descriptions of a SIP message offer."""
    return {uri_key(media.path[-1]) for media in _described(data)[1] if media.path} - {""}


def _described(data: bytes) -> tuple[Request | Response | None, list[Media]]:
    """Return a SIP message and the MSRP media that it describes; nothing of a broken one."""
    try:
        message = parse_datagram(data)
        if message is None or not message.body:
            return None, []
        kind = message.first("Content-Type") or ""
        parts = [Part([("Content-Type", kind)], message.body)]
        if is_multipart(kind):
            parts = parse_multipart(kind, message.body).parts
        described = [
            media
            for part in parts
            if part.media_type == sdp.MEDIA_TYPE
            for media in media_of(part.content)
            if media.kind == "message"
        ]
    except PeerError:
        return None, []
    return message, described


def _rooms(message: Request | Response) -> frozenset[str]:
    """Return the addresses of the room, if its focus wrote this description.

    Spec: RFC 4579 §5.1; RFC 7701 §8
    """
    if not is_focus(message):
        return frozenset()
    try:
        own = message.to if isinstance(message, Response) else message.from_
        found = {bare(own.uri_text)}
        found.add(bare(NameAddr.parse(message.first("Contact") or "").uri_text))
    except PeerError:
        return frozenset()
    return frozenset(found)


def name_sessions(
    records: Iterable[WireRecord], directory: Directory, sessions: Sessions | None = None
) -> Sessions:
    """Note the ends of MSRP connections that nobody has named, by the sessions on them.

    Call it after :func:`~omaim.features.ladder.name_clients`, which names those whose SIP
    addresses these names come from.

    Args:
        records: in any order.
        directory: gets the places.
        sessions: those of earlier records; the ones of these are added.

    Returns:
        All the sessions, for :func:`~omaim.features.ladder.climb`.
    """
    seen = sorted(records, key=lambda record: record.time)
    sessions = sessions if sessions is not None else Sessions(directory)
    sessions.learn(seen)
    for record in seen:
        if record.protocol != "MSRP":
            continue
        frame = read_frame(record.data)
        if frame is None:
            continue
        inward = record.direction == IN
        near, far = (frame.to_path, frame.from_path) if inward else (frame.from_path, frame.to_path)
        _note(sessions, directory, near, record.local)
        _note(sessions, directory, far, record.remote)
    return sessions


def _note(
    sessions: Sessions, directory: Directory, path: list[str], address: tuple[str, int]
) -> None:
    """Note who is at an address, if the first URI of a path is known to be somebody's.

    An address that somebody announced is left alone, and a URI that nobody described says
    nothing: a peer may write any path.
    """
    if not path or address[1] in (0, _DISCARD) or directory.find_exact(*address) is not None:
        return
    owner = sessions.described(path[0])
    if owner is not None:
        directory.note(attrs.evolve(owner, host=address[0], port=address[1]))
