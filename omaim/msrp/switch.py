"""One message to many sessions: what is alike is built once, and the body is shared.

Spec: RFC 7701 §6; RFC 4975 §7.1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.errors import UsageError
from omaim.msrp.content import Content
from omaim.msrp.frame import PARTIAL, SMALL, YES
from omaim.msrp.means import Means
from omaim.msrp.outgoing import PIECE, Outgoing
from omaim.msrp.session import CLOSED, Session


def _end(session: Session, status: int) -> None:
    """Take the end of a copy without reaction."""


@final
class Shared:
    """A message that goes to any number of sessions, whole or while it comes in.

    A whole body of at most 64 KiB leaves as one frame, of which only transaction and paths are
    made for each session; there is no object for such a copy, unless it has to wait. A larger
    one, or one that is still coming in, has an :class:`Outgoing` for each session, and all of
    them refer to the same octets.

    With ``PARTIAL``, receivers only answer when something is wrong; the answer comes to
    ``SessionUser.on_report`` with the Message-ID "" when the copy left as one frame.

    Args:
        means: of the endpoint.
        content_type: with its parameters.
        body: the whole body; ``None`` when it comes by :meth:`write`.
        message_id: "" for a new one.
        size: octets of the whole message; -1 when unknown.
        headers: further MIME fields.
        failure_report: ``PARTIAL``, ``NO`` or ``YES``.
        on_end: told of each copy's end, with its status, unless it left as one frame.

    Raises:
        UsageError: it cannot be written so.

    Attributes:
        message_id: of all copies.
    """

    __slots__ = (
        "_began",
        "_body",
        "_content",
        "_copies",
        "_finished",
        "_means",
        "_on_end",
        "_size",
        "_tail",
        "message_id",
    )

    def __init__(
        self,
        means: Means,
        content_type: str,
        body: bytes | None = None,
        message_id: str = "",
        *,
        size: int = -1,
        headers: list[tuple[str, str]] | None = None,
        failure_report: str = PARTIAL,
        on_end: Callable[[Session, int], object] = _end,
    ) -> None:
        self.message_id: Final = message_id or means.message_id()
        self._means = means
        self._content = Content(self.message_id, content_type, headers, False, failure_report)
        self._on_end = on_end
        self._body = body
        self._size = size
        self._began = False
        self._finished = body is not None
        self._copies: dict[Session, _Copy] = {}
        self._tail = b""
        if body is not None and len(body) <= PIECE and failure_report != YES:
            size = len(body)
            end = b"*" if size > SMALL else b"%d" % size
            self._tail = b"%bByte-Range: 1-%b/%d\r\n%b%b\r\n-------" % (
                self._content.before,
                end,
                size,
                self._content.after,
                body,
            )

    @property
    def pending(self) -> int:
        """The most octets that wait for one session."""
        return max([copy.outgoing.pending for copy in self._copies.values()], default=0)

    @property
    def is_finished(self) -> bool:
        """Whether nothing more of it can be written."""
        return self._finished

    def behind(self, octets: int) -> list[Session]:
        """Return the sessions for which more than ``octets`` wait: those to wait for, or to drop.

        A session as a whole is judged by ``Session.pending``.
        """
        return [session for session, copy in self._copies.items() if copy.outgoing.pending > octets]

    def to(self, session: Session) -> Outgoing | None:
        """Send a copy to ``session``, unless it is closed.

        Returns: the copy; ``None`` when it left as one frame.

        Raises:
            UsageError: some of a streamed body has been written already.
        """
        if session.state == CLOSED:
            return None
        tail = self._tail
        if tail:
            outbox = session.outbox
            turns = outbox.turns
            if turns is not None and turns.may_write():
                transaction = self._means.transaction()
                while transaction in tail:
                    transaction = self._means.transaction()
                outbox.frames += 1
                turns.control(
                    b"MSRP %b SEND\r\n%b%b%b$\r\n" % (transaction, outbox.paths, tail, transaction)
                )
                return None
        elif self._began:
            raise UsageError("some of this message has been sent; name its sessions before")
        copy = _Copy(self, session)
        self._copies[session] = copy
        session.send(copy.outgoing)
        return copy.outgoing

    def write(self, data: bytes) -> None:
        """Send more of the body to all; every session keeps a reference until it has sent it.

        Raises:
            UsageError: the body was given as a whole, or has been finished.
        """
        if self._finished:
            raise UsageError("this message has been finished")
        self._began = True
        for copy in list(self._copies.values()):
            copy.outgoing.write(data)

    def finish(self) -> None:
        """Say that all has been written."""
        self._finished = True
        for copy in list(self._copies.values()):
            copy.outgoing.finish()

    def abort(self) -> None:
        """Send no more to anybody; the receivers are told that the message is not whole."""
        self._finished = True
        for copy in list(self._copies.values()):
            copy.outgoing.abort()

    def drop(self, session: Session) -> None:
        """Send no more of it to one session."""
        copy = self._copies.get(session)
        if copy is not None:
            copy.outgoing.abort()

    def ended(self, copy: _Copy, status: int) -> None:
        """A copy is done with."""
        self._copies.pop(copy.session, None)
        self._on_end(copy.session, status)

    def outgoing(self, on_end: Callable[[int], object]) -> Outgoing:
        """Return a copy that is not a single frame."""
        return Outgoing(body=self._body, size=self._size, content=self._content, on_end=on_end)


@final
class _Copy:
    """What one session gets of a message that is no single frame."""

    __slots__ = ("_shared", "outgoing", "session")

    def __init__(self, shared: Shared, session: Session) -> None:
        self._shared = shared
        self.session: Final = session
        self.outgoing: Final = shared.outgoing(self._ended)

    def _ended(self, status: int) -> None:
        self._shared.ended(self, status)
