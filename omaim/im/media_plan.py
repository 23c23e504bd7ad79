"""The MSRP media of both calls of a conversation, and the bridges between them.

What one party says about a medium, the other hears from us, with our own path in the place of
the party's. A medium that either party adds later, a file for example, is added for both.

Spec: RFC 3264 §8; RFC 4975 §8; RFC 5547; RFC 7092 §3.2
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from omaim.bodies.message_media import MessageMedia
from omaim.bodies.message_offers import NotAcceptable, read_offer
from omaim.bodies.sdp import SENDRECV
from omaim.im.bridge import Bridge, Listener, Side
from omaim.msrp import CLOSED, SessionUser
from omaim.net.msrp import MsrpEndpoint
from omaim.roles.description import Description
from omaim.roles.negotiation import Negotiation, Wish, description_of

MOST: Final = 32  # media of one conversation

Reinvite = Callable[[Description], Awaitable[Description]]


class _Line:
    """One medium: its bridge, and where it stands on each side."""

    __slots__ = ("bridge", "far", "near")

    def __init__(self, bridge: Bridge, near: int, far: int) -> None:
        self.bridge = bridge
        self.near = near
        self.far = far


class MediaPlan:
    """The media of one conversation.

    Args:
        msrp: makes the sessions.
        offer: the caller's.
        secure: offer MSRP over TLS to the callee.

    Raises:
        PeerError: no medium of it is MSRP that can be used (488), or it cannot be read.

    Attributes:
        listener: what is done about messages that pass.
        on_lost: told when the last session of a party has ended by itself.
    """

    def __init__(self, msrp: MsrpEndpoint, offer: Description, secure: bool) -> None:
        self.listener = Listener()
        self.on_lost: Callable[[str], object] = _unheard
        self._near = Negotiation(msrp)
        self._far = Negotiation(msrp)
        self._offer = offer
        self._secure = secure
        self._closed = False
        self._lines: list[_Line] = []
        self._wishes: list[Wish | None] = []  # what the callee is offered, by far index
        for index, theirs in enumerate(self._near.read_offer(offer)):
            if theirs is not None and theirs.port:
                self._add(index, len(self._wishes), theirs, True)
        if not self._lines:
            raise NotAcceptable("nothing is offered that the IM Server can pass on")

    def offer(self) -> Description:
        """Return what the callee is offered.

        Raises:
            Unavailable: no further session can be had.
        """
        offer = self._far.offer(self._wishes)
        self._bind()
        return offer

    async def answer(self, remote: Description) -> Description:
        """Take the callee's answer; return that to the caller.

        Raises:
            PeerError: it cannot be used, or nothing is left to be used (488).
        """
        await self._far.read_answer(remote)
        answer = await self._near.answer(self._offer, self._answers(self._offer, True))
        self._bind()
        return answer

    async def changed(self, near: bool, offer: Description, reinvite: Reinvite) -> Description:
        """Answer an offer that a party makes later.

        Args:
            near: it is the caller's.
            reinvite: offers a change to the other party; returns its answer.

        Raises:
            PeerError: the change cannot be made; all is as it was.
        """
        here, there = (self._near, self._far) if near else (self._far, self._near)
        if len(description_of(offer).media) > MOST:
            raise NotAcceptable("too many media")
        news = False
        wishes: list[Wish | None] = [None if one is None else one.wish for one in there.media]
        for index, theirs in enumerate(here.read_offer(offer)):
            line = self._at(index, near)
            over = theirs is None or not theirs.port
            if line is None and theirs is not None and not over:
                wishes.append(self._add(index, len(wishes), theirs, near))
                news = True
            elif line is not None and over:
                place = line.far if near else line.near
                news = news or wishes[place] is not None
                wishes[place] = None
        if not news:
            answer = await here.confirm(offer)
        else:
            onward = there.offer(wishes)
            try:
                await there.read_answer(await reinvite(onward))
            except BaseException:
                there.withdraw()
                raise
            answer = await here.answer(offer, self._answers(offer, near))
        self._bind()
        return answer

    def close(self, why: str = "") -> None:
        """The conversation is over."""
        self._closed = True
        self._near.close(why)
        self._far.close(why)

    def _add(self, here: int, there: int, theirs: MessageMedia, near: bool) -> Wish:
        """Note a new medium; return what the other party is offered."""
        bridge = Bridge(self.listener, self._lost)
        line = _Line(bridge, here, there) if near else _Line(bridge, there, here)
        self._lines.append(line)
        user = bridge.far.user if near else bridge.near.user
        wish = like(theirs, user, self._secure)
        if near:
            self._wishes.append(wish)
        return wish

    def _answers(self, offer: Description, near: bool) -> list[Wish | None]:
        """Return what we bring to each medium of an offer: what the other party said."""
        here, there = (self._near, self._far) if near else (self._far, self._near)
        wishes: list[Wish | None] = []
        for index in range(len(description_of(offer).media)):
            line = self._at(index, near)
            medium = None
            if line is not None:
                place = line.far if near else line.near
                medium = there.media[place] if place < len(there.media) else None
            mine = here.media[index] if index < len(here.media) else None
            if line is None or medium is None or medium.agreed is None:
                wishes.append(None)
            elif mine is not None:
                wishes.append(mine.wish)
            else:
                user = line.bridge.near.user if near else line.bridge.far.user
                wishes.append(attrs.evolve(like(medium.agreed.remote, user), file=None))
        return wishes

    def _at(self, index: int, near: bool) -> _Line | None:
        """Return the medium that one party calls by ``index``."""
        for line in self._lines:
            if (line.near if near else line.far) == index:
                return line
        return None

    def _bind(self) -> None:
        """Tell the bridges which sessions they stand between."""
        for line in self._lines:
            near, far = line.bridge.near, line.bridge.far
            for side, negotiation, index in (
                (near, self._near, line.near),
                (far, self._far, line.far),
            ):
                medium = negotiation.media[index] if index < len(negotiation.media) else None
                side.session = None if medium is None else medium.session

    def _lost(self, side: Side, why: str) -> None:
        """A session has ended: so does the opposite one."""
        other = side.other.session
        if self._closed or side.session is None or side.session.state != CLOSED:
            return
        if other is not None and other.state != CLOSED:
            other.close(why)
        if not any(
            one.session is not None and one.session.state != CLOSED
            for line in self._lines
            for one in (line.bridge.near, line.bridge.far)
        ):
            self.on_lost(why)


def like(theirs: MessageMedia, user: SessionUser, secure: bool = False) -> Wish:
    """Return the wish that says of a medium what somebody else said of it."""
    return Wish(
        user,
        theirs.accept_types,
        theirs.accept_wrapped_types,
        theirs.max_size,
        theirs.direction or SENDRECV,
        secure,
        chatroom=theirs.chatroom,
        file=theirs.file,
        title=theirs.title,
        more=theirs.more,
    )


def offered_lines(offer: Description) -> list[MessageMedia]:
    """Return the media of an offer that can be used.

    Raises:
        PeerError: it cannot be read.
    """
    found = read_offer(description_of(offer))
    return [one for one in found if one is not None and one.port]


def _unheard(why: str) -> None:
    """Nobody wants to know."""
