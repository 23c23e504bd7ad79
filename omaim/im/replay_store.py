"""What is shown to those who come late, kept for the next life of the server.

The last messages of a room are records of which the room is the owner, in segments: one that is
full is followed by another, and the one before it goes. So what a replay holds is always in the
last two, and never much more is kept.

Private messages, and rooms that are made on demand, never come here.

Spec: OMA SIMPLE IM 1.0 (chat room, history for who joins)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.bodies.cpim import MEDIA_TYPE, Cpim
from omaim.errors import OmaimError, PeerError
from omaim.ids import Ids
from omaim.im.gathering import Act, Gathering
from omaim.im.replay import Replay
from omaim.stores.interfaces import IHistoryStore
from omaim.stores.records import Conversation, HistoryEntry

KIND: Final = "replay"
_PAGE: Final = 100
_SEGMENTS: Final = 2  # that hold all that is shown

_log = Logger()


@attrs.define(eq=False)
class _Segments:
    """The records of one room."""

    before: list[str]  # references, the oldest first
    reference: str = ""  # of the one that grows; "" before there is one
    count: int = 0
    size: int = 0


@attrs.frozen
class _Note:
    """A message that was said, and how much its room keeps."""

    entry: HistoryEntry
    most: int
    size: int


class ReplayStore:
    """Keeps the last messages of all rooms of one server.

    Args:
        later: has something called in the next turn.
        now: seconds since the epoch.
        validity: seconds for which they are kept at most.
    """

    def __init__(
        self,
        store: IHistoryStore,
        ids: Ids,
        later: Callable[[Act], object],
        now: Callable[[], float],
        validity: float,
    ) -> None:
        self._store = store
        self._ids = ids
        self._now = now
        self._validity = validity
        self._rooms: dict[str, _Segments] = {}
        self._notes: Gathering[_Note] = Gathering(self._write, later, _lost)

    async def load(self, room: str, replay: Replay) -> int:
        """Fill a replay with what was said in a room. Returns: how many messages that are.

        Args:
            room: canonical address.

        Raises:
            Unavailable: the store cannot answer.
        """
        count = 0
        found = [one for one in await self._found(room) if one.expires_at > self._now()]
        for one in found[-_SEGMENTS:]:
            count += await self._fill(replay, one)
        if room not in self._rooms:
            segments = self._rooms[room] = _Segments([one.reference for one in found[:-1]])
            if found:
                last = found[-1]
                segments.reference, segments.count, segments.size = (
                    last.reference,
                    last.count,
                    last.size,
                )
        return count

    async def _found(self, room: str) -> list[Conversation]:
        found: tuple[Conversation, ...] = await self._store.search(room, room, latest=True)
        return [one for one in reversed(found) if one.kind == KIND]

    async def _fill(self, replay: Replay, segment: Conversation) -> int:
        after = count = 0
        while True:
            page: tuple[HistoryEntry, ...] = await self._store.entries(
                segment.owner, segment.reference, after, _PAGE
            )
            for entry in page:
                after = entry.position
                kind = _wrapped_type(entry)
                if kind:
                    replay.add(kind, entry.body)
                    count += 1
            if len(page) < _PAGE:
                return count

    def note(self, room: str, replay: Replay, sender: str, body: bytes, message_id: str) -> None:
        """Keep a message that was said to all, soon.

        Args:
            room: canonical address; :meth:`load` has been awaited for it.
            replay: of the room.
            sender: as the others see who it is.
            body: message/cpim.
        """
        if replay.takes(len(body)):
            entry = HistoryEntry(room, "", self._now(), sender, room, MEDIA_TYPE, body, message_id)
            self._notes.note(_Note(entry, replay.most, replay.size))

    def after(self, act: Act) -> None:
        """Call ``act`` when all is durable that was noted so far."""
        self._notes.after(act)

    def close(self, room: str) -> None:
        """Nothing more is noted of a room, until it is loaded again."""
        self._rooms.pop(room, None)

    async def forget(self, room: str) -> None:
        """Remove what is kept of a room: there is no such room any more.

        Raises:
            Unavailable: the store cannot answer.
        """
        noted: Deferred[None] = Deferred()
        self.after(lambda: noted.callback(None))
        await noted
        self.close(room)
        references = [one.reference for one in await self._found(room)]
        if references:
            await self._store.delete(room, references)

    async def _write(self, notes: list[_Note]) -> None:
        by_room: dict[str, list[_Note]] = {}
        for note in notes:
            by_room.setdefault(note.entry.owner, []).append(note)
        await DeferredList(
            [
                Deferred.fromCoroutine(self._extend(room, these)).addErrback(_lost)
                for room, these in by_room.items()
            ]
        )

    async def _extend(self, room: str, notes: Sequence[_Note]) -> None:
        limits = notes[-1]
        entries = [one.entry for one in notes[-limits.most :]]
        segments = self._rooms.setdefault(room, _Segments([]))
        if segments.count >= limits.most or segments.size >= limits.size:
            segments.before.append(segments.reference)
            segments.reference = ""
        if not segments.reference:
            segments.reference, segments.count, segments.size = self._ids.token(32), 0, 0
        segments.count += len(entries)
        segments.size += sum(len(one.body) for one in entries)
        reference, now = segments.reference, entries[-1].at
        await self._store.record(
            Conversation(room, reference, KIND, room, now, now, now + self._validity),
            [attrs.evolve(one, reference=reference) for one in entries],
        )
        gone = segments.before[: 1 - _SEGMENTS]
        if gone:
            del segments.before[: 1 - _SEGMENTS]
            await self._store.delete(room, gone)


def _wrapped_type(entry: HistoryEntry) -> str:
    """Return the type of what a recorded CPIM message wraps, "" if it is none."""
    if entry.content_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        return ""
    try:
        return Cpim.parse(entry.body).part.media_type
    except PeerError:
        return ""


def _lost(failure: Failure) -> None:
    if failure.check(OmaimError):
        _log.error("who comes late may miss something: {why}", why=failure.getErrorMessage())
    else:
        _log.failure("who comes late may miss something", failure)
