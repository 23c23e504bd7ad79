"""Messages of ours that have no answer yet, whatever becomes of the session that they went by.

A session that is lost may be replaced by another one. What the other side had not confirmed by
then goes out again, under the Message-ID that it had, so that it is shown once only.

Spec: RFC 4975 §5.4
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from omaim.msrp import BURDEN, GONE, Outgoing, Report, Session

MOST: Final = 1_000  # messages that may have no answer
SESSIONS: Final = 4  # that one message is sent by, one after the other


class Post:
    """One message.

    Args:
        kind: media type.
        body: octets.
        on_end: gets the status with which it ended; see :class:`omaim.msrp.Outgoing`.
        on_report: gets what MSRP reports on it.
        success: have success reported, too.
    """

    def __init__(
        self,
        kind: str,
        body: bytes,
        on_end: Callable[[int], object] = lambda status: None,
        on_report: Callable[[Report], object] = lambda report: None,
        success: bool = False,
    ) -> None:
        self.kind = kind
        self.body = body
        self.on_end = on_end
        self.on_report = on_report
        self.success = success
        self.message_id = ""
        self.sessions = 0


class Posts:
    """The messages of one talk that have no answer yet.

    Attributes:
        waiting: octets of those that wait for a session.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self._count = 0
        self._session: Session | None = None  # that messages go by now
        self._homeless: list[Post] = []
        self._over = False

    @property
    def full(self) -> bool:
        """Too many have no answer."""
        return self._count >= MOST

    def send(self, session: Session | None, post: Post) -> None:
        """Send a message.

        Args:
            session: it goes by; ``None`` to wait for one.
        """
        self._count += 1
        self._session = session
        self._go(post)

    def _go(self, post: Post) -> None:
        session = self._session
        if session is None or session.closed:
            self._wait(post)
        else:
            self._send(session, post)

    def _wait(self, post: Post) -> None:
        self._homeless.append(post)
        self.waiting += BURDEN + len(post.body)

    def _send(self, session: Session, post: Post) -> None:
        post.sessions += 1

        def reported(report: Report) -> None:
            # What is answered by a session that is gone goes by another one.
            if outgoing.status != GONE:
                post.on_report(report)

        outgoing = Outgoing(
            post.kind,
            post.body,
            post.message_id,
            success_report=post.success,
            on_end=lambda status: self._ended(post, status),
            on_report=reported,
        )
        session.send(outgoing)
        post.message_id = outgoing.message_id

    def _ended(self, post: Post, status: int) -> None:
        if status == GONE and post.sessions < SESSIONS and not self._over:
            self._go(post)  # another session may be there before the last one has ended
        else:
            self._count -= 1
            post.on_end(status or GONE)

    def again(self, session: Session) -> None:
        """Another session has taken the place of the one that was lost."""
        self._session = session
        for post in self._taken():
            self._go(post)

    def give_up(self) -> None:
        """No other session will come."""
        self._over = True
        for post in self._taken():
            self._ended(post, GONE)

    def _taken(self) -> list[Post]:
        homeless, self._homeless = self._homeless, []
        self.waiting = 0
        return homeless
