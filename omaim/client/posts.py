"""Messages of ours that have no answer yet, whatever becomes of the session that they went by.

A session that is lost may be replaced by another one. What the other side had not confirmed by
then goes out again, under the Message-ID that it had, so that it is shown once only.

Spec: RFC 4975 §5.4
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred

from omaim.bodies.imdn import DELIVERY
from omaim.client.failures import failure_in_session
from omaim.client.messages import PENDING, SENDING, Report, Sent
from omaim.msrp import GONE, Outgoing, Session
from omaim.msrp import Report as MsrpReport

MOST: Final = 1_000  # messages that may have no answer
SESSIONS: Final = 4  # that one message is sent by, one after the other

_ACCEPTED: Final = 200


class Posts:
    """The messages of one talk that have no answer yet.

    Args:
        forget: called with what is not going to be reported on.
    """

    def __init__(self, forget: Callable[[Sent], object]) -> None:
        self._forget = forget
        self._count = 0
        self._homeless: list[_Post] = []  # wait for the session that is to come
        self._over = False

    @property
    def full(self) -> bool:
        """Too many have no answer."""
        return self._count >= MOST

    def post(
        self, session: Session | None, kind: str, body: bytes, sent: Sent, bare: bool
    ) -> Deferred[Sent]:
        """Send a message; fires with ``sent`` when the other side has taken it.

        Args:
            session: it goes by; ``None`` to wait for another one.
            kind: media type.
            bare: it has no envelope: then MSRP reports on it.

        Raises (the Deferred fails with):
            Failure: a subclass by what came back.
        """
        post = _Post(kind, body, sent, bare)
        self._count += 1
        if session is None:
            self._homeless.append(post)
        else:
            self._send(session, post)
        return post.answered

    def _send(self, session: Session, post: _Post) -> None:
        post.sessions += 1
        outgoing = Outgoing(
            post.kind,
            post.body,
            post.message_id,
            success_report=post.bare,
            on_end=lambda status: self._ended(post, status),
            on_report=post.reported,
        )
        session.send(outgoing)
        post.message_id = outgoing.message_id

    def _ended(self, post: _Post, status: int) -> None:
        if status == GONE and post.sessions < SESSIONS and not self._over:
            self._homeless.append(post)
        else:
            self._settle(post, status)

    def _settle(self, post: _Post, status: int) -> None:
        self._count -= 1
        sent = post.sent
        if status == _ACCEPTED:
            if sent.status == SENDING:
                sent.status = PENDING
            post.answered.callback(sent)
        else:
            self._forget(sent)
            post.answered.errback(failure_in_session(status or GONE))

    def again(self, session: Session) -> None:
        """Another session has taken the place of the one that was lost."""
        homeless, self._homeless = self._homeless, []
        for post in homeless:
            if session.closed:
                self._ended(post, GONE)
            else:
                self._send(session, post)

    def give_up(self) -> None:
        """No other session will come."""
        self._over = True
        homeless, self._homeless = self._homeless, []
        for post in homeless:
            self._settle(post, GONE)


class _Post:
    """One message."""

    def __init__(self, kind: str, body: bytes, sent: Sent, bare: bool) -> None:
        self.kind = kind
        self.body = body
        self.sent = sent
        self.bare = bare
        self.message_id = ""
        self.sessions = 0
        self.answered: Deferred[Sent] = Deferred()

    def reported(self, report: MsrpReport) -> None:
        """Take what MSRP says later: a server between has taken it, and tells how it went on."""
        sent = self.sent
        if report.status != _ACCEPTED:
            sent.take(Report(sent.message_id, sent.to[0], DELIVERY, "failed"))
        elif self.bare:
            sent.take(Report("", sent.to[0], DELIVERY, "delivered"))
