"""What is recorded of a conference, for each participant who wants it recorded.

Spec: OMA SIMPLE IM 1.0 (conversation history: conferences)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.bodies.cpim import MEDIA_TYPE, Cpim
from omaim.bodies.mime import Part
from omaim.errors import OmaimError
from omaim.im.posting import Post
from omaim.im.recording import CONFERENCE, Recorder, too_large

GATHER: Final = 5.0  # seconds in which those who come are gathered for one note

_log = Logger()


class _Record:
    """One participant's record of its stay."""

    __slots__ = ("devices", "reference")

    def __init__(self) -> None:
        self.reference = ""
        self.devices = 0


class RoomHistory:
    """The records of one conference.

    Args:
        room: its address.
        later: has something called some seconds later.
    """

    def __init__(
        self,
        recorder: Recorder,
        room: str,
        later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self._recorder = recorder
        self._room = room
        self._later = later
        self._records: dict[str, _Record] = {}
        self._people: dict[str, None] = {}
        self._new: list[str] = []

    async def begin(self, owner: str, subject: str = "") -> None:
        """A device of a user comes in: from now on it is recorded, if the user wants that.

        Raises:
            Unavailable: it cannot be recorded: nobody may come in believing it is.
        """
        if not self._recorder.wants(owner, CONFERENCE):
            return
        record = self._records.setdefault(owner, _Record())
        record.devices += 1
        if record.reference:
            return
        try:
            reference = await self._recorder.begin(
                owner, self._room, (self._room, *self._people), subject, kind=CONFERENCE
            )
        except BaseException:
            self._gone(owner, record)
            raise
        if record.reference or self._records.get(owner) is not record:
            self._finish(owner, reference)  # another device was faster, or all have left
        else:
            record.reference = reference

    def leave(self, owner: str) -> None:
        """A device of a user has left, or did not come in."""
        record = self._records.get(owner)
        if record is not None and self._gone(owner, record) and record.reference:
            self._finish(owner, record.reference)

    def _gone(self, owner: str, record: _Record) -> bool:
        record.devices -= 1
        if record.devices <= 0 and self._records.get(owner) is record:
            del self._records[owner]
            return True
        return False

    def joined(self, shown: str) -> None:
        """Somebody has come: those who record get to know, soon."""
        if shown in self._people:
            return
        self._people[shown] = None
        if self._records:
            if not self._new:
                self._later(GATHER, self._write_new)
            self._new.append(shown)

    def _write_new(self) -> None:
        people, self._new = self._new, []
        for owner, record in self._records.items():
            if record.reference:
                writing = Deferred.fromCoroutine(
                    self._recorder.joined(owner, record.reference, people)
                )
                writing.addErrback(_not_written)

    def record(self, post: Post) -> Deferred[Any] | None:
        """Record a message that went out; return what fires when that is durable.

        Of one that is larger than is kept it is recorded that it was there.

        ``None``: nobody who said or heard it wants that. It fails with Unavailable when it is
        not to be acknowledged.
        """
        if not self._records:
            return None
        assert post.event is not None
        body: bytes | None = None
        parties = dict.fromkeys([post.member.person.aor, *(one.person.aor for one in post.went_to)])
        writing = []
        for owner in parties:
            record = self._records.get(owner)
            if record is not None and record.reference:
                body = body or _recorded(post)
                coroutine = self._recorder.message(
                    owner,
                    record.reference,
                    post.sender,
                    post.to or self._room,
                    MEDIA_TYPE,
                    body,
                    post.message_id,
                )
                writing.append(Deferred.fromCoroutine(coroutine))
        if not writing:
            return None
        return gatherResults(writing, consumeErrors=True).addErrback(_first)

    def _finish(self, owner: str, reference: str) -> None:
        if reference:
            ending = Deferred.fromCoroutine(self._recorder.end(owner, reference))
            ending.addErrback(_not_written)


def _recorded(post: Post) -> bytes:
    """Return a message, or what says in its place what is missing."""
    if post.whole is not None:
        return post.whole
    assert post.cpim is not None
    kind, note = too_large(post.media_type, post.received)
    return Cpim(post.cpim.headers.copy(), Part([("Content-Type", kind)], note)).to_bytes()


def _first(failure: Failure) -> Failure:
    """Return what went wrong first, as it was."""
    error = failure.value
    return error.subFailure if isinstance(error, FirstError) else failure


def _not_written(failure: Failure) -> None:
    if failure.check(OmaimError):
        _log.error("a record of a room is not complete: {why}", why=failure.getErrorMessage())
    else:
        _log.failure("a record of a room is not complete", failure)
