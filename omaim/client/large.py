"""Large messages: one message in a session of its own, for what does not fit into a MESSAGE.

The INVITE says by its tag and its direction that nobody is to talk; when the message is there,
its sender ends the session. To its reader it is a message like any other.

Spec: OMA SIMPLE IM 1.0 (large message mode); RFC 4975 §7; RFC 3428 §8
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from omaim.bodies.mime import Part
from omaim.bodies.sdp import RECVONLY, SENDONLY
from omaim.client.composing import Content
from omaim.client.failures import failure_in_session
from omaim.client.leg import LARGE_FEATURE, Leg
from omaim.client.means import Means
from omaim.client.offered import Offered
from omaim.client.reading import read_content
from omaim.client.taken import name_of
from omaim.client.talk import talk_types
from omaim.errors import PeerError
from omaim.msrp import Incoming, Outgoing, Session, SessionUser
from omaim.roles.invitation import Invitation
from omaim.roles.negotiation import Wish
from omaim.sip.headers import NameAddr
from omaim.timers import NEVER, Alarm

LARGEST: Final = 10_485_760  # octets of a message that we send or take, its envelope included
PATIENCE: Final = 120.0  # seconds without progress until a message is given up
LINGER: Final = 30.0  # seconds that the sender has to end the session
AT_A_TIME: Final = 20  # messages on their way to us

_log = Logger()


class LargeMode:
    """The large messages of one client.

    Args:
        means: of the client.
    """

    def __init__(self, means: Means) -> None:
        self._means = means
        self._coming = 0

    # Sending.

    async def send(
        self,
        target: str,
        content: Content,
        headers: Sequence[tuple[str, str]] = (),
        parts: Sequence[Part] = (),
    ) -> None:
        """Send a message; return when the recipient, or a server for it, has taken all of it.

        Args:
            target: URI.
            content: the message, in its envelope if it has one.
            headers: more header fields of the INVITE.
            parts: of its body, beside the offer: a recipient list.

        Raises:
            TooLarge, WrongFormat: the recipient does not take it.
            Failure: another subclass by what the network answered.
        """
        if len(content.body) > LARGEST:
            raise failure_in_session(413)
        ended: Deferred[int] = Deferred()
        user = SessionUser(_unwanted, on_closed=lambda session, why: _once(ended, 481))
        wish = Wish(user, talk_types(self._means.accept), direction=SENDONLY)
        leg = await Leg.invite(
            self._means, target, [wish], headers, feature=LARGE_FEATURE, parts=parts
        )
        try:
            medium = leg.media[0]
            if medium is None:
                raise failure_in_session(415)
            accepts = medium.accepts
            if not accepts.takes(content.content_type):
                raise failure_in_session(415, (*accepts.types, *accepts.wrapped))
            if medium.max_size is not None and len(content.body) > medium.max_size:
                raise failure_in_session(413)
            status = await self._posted(medium.session, content, ended)
            if status != 200:
                raise failure_in_session(status)
        finally:
            leg.abandon("")

    async def _posted(self, session: Session, content: Content, ended: Deferred[int]) -> int:
        """Send the one message; return how it ended."""
        clock = self._means.clock
        late = clock.callLater(PATIENCE, lambda: _once(ended, 408))
        session.send(
            Outgoing(
                content.content_type,
                content.body,
                on_end=lambda status: _once(ended, status),
                on_progress=lambda octets: late.reset(PATIENCE) if late.active() else None,
            )
        )
        try:
            return await ended
        finally:
            if late.active():
                late.cancel()

    # Receiving.

    async def take(
        self, invitation: Invitation, offered: Offered, peer: NameAddr, verified: bool
    ) -> None:
        """Accept a session that brings a message.

        Raises:
            PeerError: it is refused.
        """
        means, inbox = self._means, self._means.inbox
        if inbox.refusing:
            raise PeerError("not now", inbox.refusing)
        if inbox.full:
            raise PeerError("the inbox is full", 480)
        if self._coming >= AT_A_TIME:
            raise PeerError("too many messages are coming", 480)
        legs: list[Leg] = []
        alarm = Alarm(lambda _: end())

        def begins(session: Session, incoming: Incoming) -> None:
            incoming.collect(LARGEST, lambda body: whole(incoming, body))

        def whole(incoming: Incoming, body: bytes) -> None:
            try:
                self._whole(incoming.content_type, body, peer, verified)
            except PeerError as error:
                status = error.status if error.status in (403, 413, 415) else 400
                incoming.refuse(status, error.why[:60])
            alarm.deadline = means.phone.now() + LINGER
            means.phone.arm(alarm)

        def end(*_: Any) -> None:
            alarm.deadline = NEVER
            for leg in legs:
                leg.abandon("")

        wish = Wish(
            SessionUser(begins, on_closed=end),
            talk_types(means.accept),
            max_size=LARGEST,
            direction=RECVONLY,
        )
        wishes: list[Wish | None] = [None] * offered.count
        wishes[offered.index] = wish
        self._coming += 1
        try:
            leg = await Leg.accept(means, invitation, wishes, feature=LARGE_FEATURE)
        except BaseException:
            self._coming -= 1
            raise
        legs.append(leg)
        leg.ending.append(self._gone)

    def _gone(self, why: str) -> None:
        self._coming -= 1

    def _whole(self, content_type: str, body: bytes, peer: NameAddr, verified: bool) -> None:
        """A message is here.

        Raises:
            PeerError: it is not taken.
        """
        inbox = self._means.inbox
        found = read_content(content_type, body, self._means.accept, peer, verified)
        if found.reports:
            inbox.reported(found)
            return
        shown = found.typing is None and found.waiting is None
        if shown and not inbox.deliver(found, name_of(found), found.sent_at):
            raise PeerError("the inbox is full", 413)


def _unwanted(session: Session, incoming: Incoming) -> None:
    incoming.refuse(403)


def _once(ended: Deferred[int], status: int) -> None:
    if not ended.called:
        ended.callback(status)
