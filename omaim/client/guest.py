"""Somebody in a room that a client hosts: a call, and the MSRP session in it.

A session that is lost is replaced by another one; what was said meanwhile waits for that.

Spec: RFC 4975 §5.4; RFC 7701 §6, §8; OMA SIMPLE IM 1.0 (IM Client that hosts a conference)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from omaim.bodies.cpim import MEDIA_TYPE as CPIM_TYPE
from omaim.bodies.cpim import Cpim
from omaim.bodies.message_media import NICKNAME, PRIVATE_MESSAGES
from omaim.client.leg import Leg
from omaim.client.means import Means
from omaim.client.posts import Post, Posts
from omaim.client.talk import LARGEST
from omaim.msrp import Incoming, Session, SessionUser
from omaim.roles.mending import Mending
from omaim.roles.negotiation import Medium, Wish

BEHIND: Final = 4 * 1_048_576  # octets that may wait for somebody; who reads no faster has to go

_SLOW: Final = 'SIP;cause=503;text="messages were not read in time"'
_LOST: Final = 'SIP;cause=500;text="the MSRP session was lost"'


class Guest:
    """One who takes part.

    Args:
        means: of the host.
        uri: canonical address.
        verified: the network says who it is.
        said: gets each message of the guest.
        named: gets the nickname that it wants; returns the status to answer.
        gone: called once when it has left, or was lost.

    Attributes:
        leg: its call, once it is there.
    """

    leg: Leg

    def __init__(
        self,
        means: Means,
        uri: str,
        verified: bool,
        said: Callable[[Guest, Incoming, bytes], object],
        named: Callable[[Guest, str], int],
        gone: Callable[[Guest], object],
    ) -> None:
        self.uri = uri
        self.verified = verified
        self._said = said
        self._gone = gone
        self._medium: Medium | None = None
        self._index = 0
        self._posts = Posts()
        self._user = SessionUser(
            self._begins,
            on_nickname=lambda session, name: named(self, name),
            on_closed=self._closed,
        )
        self._mending = Mending(means.phone, lambda: not self.here, self._renew, self._lost)

    @property
    def here(self) -> bool:
        """Its session stands."""
        return self._medium is not None and self._medium.open

    @property
    def private(self) -> bool:
        """It takes messages that are for it only (RFC 7701 §8)."""
        agreed = None if self._medium is None else self._medium.agreed
        return agreed is not None and agreed.remote.private_messages

    def wish(self, secure: bool = False) -> Wish:
        """Return what the host brings to the session."""
        return Wish(
            self._user,
            (CPIM_TYPE,),
            ("*",),
            LARGEST,
            secure=secure,
            chatroom=(NICKNAME, PRIVATE_MESSAGES),
        )

    def begin(self, leg: Leg, index: int = 0) -> None:
        """Its call is there."""
        self.leg = leg
        self._index = index
        self._medium = leg.media[index]
        leg.on_change = self._changed
        leg.ending.append(self._ended)
        if not self.here:
            self._mending.broken(leg.call.caller)

    def hear(self, message: Cpim, body: bytes) -> None:
        """Send it a message, if it takes what is in it.

        Spec: RFC 7701 §6.1, §6.3
        """
        medium = self._medium
        if medium is None or not medium.accepts.takes_wrapped(message.part.media_type):
            return
        if medium.max_size is not None and len(body) > medium.max_size:
            return
        if medium.session.pending + self._posts.waiting > BEHIND or self._posts.full:
            self.leg.abandon(_SLOW)
            return
        self._posts.send(medium.session if medium.open else None, Post(CPIM_TYPE, body))

    def _begins(self, session: Session, incoming: Incoming) -> None:
        incoming.collect(LARGEST, lambda body: self._said(self, incoming, body))

    # When its session is lost.

    def _closed(self, session: Session, why: str) -> None:
        medium = self._medium
        if medium is not None and medium.session is session and not self.leg.over:
            self._mending.broken(self.leg.call.caller)

    async def _renew(self) -> None:
        lost = self._medium
        if lost is not None:
            self._go_on(await self.leg.renew(lost, self.wish(lost.wish.secure)))

    def _changed(self) -> None:
        medium = self.leg.media[self._index]
        if medium is not None:
            self._go_on(medium)

    def _go_on(self, medium: Medium) -> None:
        if medium is not self._medium:
            self._mending.stop()
            self._medium = medium
            self._posts.again(medium.session)

    def _lost(self) -> None:
        self.leg.abandon(_LOST)

    def _ended(self, why: str) -> None:
        self._mending.stop()
        self._posts.give_up()
        self._gone(self)
