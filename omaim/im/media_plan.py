"""The MSRP media of both calls of a conversation, and the bridges between them.

What one party says about a medium, the other hears from us, with our own path in the place of
the party's. A medium that either party adds later, a file for example, is added for both.

Spec: RFC 3264 §8; RFC 4975 §8; RFC 5547; RFC 7092 §3.2
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import attrs

from omaim.bodies.message_media import TLS, MessageMedia
from omaim.bodies.message_offers import NotAcceptable, read_offer
from omaim.bodies.sdp import SENDRECV
from omaim.errors import PeerError
from omaim.im.bridge import Bridge, Listener, Side
from omaim.im.content import Content
from omaim.im.policy import TOO_LARGE, Refusal
from omaim.msrp import Outgoing, SessionUser
from omaim.net.msrp import MsrpEndpoint
from omaim.roles.description import Description
from omaim.roles.negotiation import Negotiation, Wish, description_of

MOST: Final = 32  # media of one conversation

Reinvite = Callable[[Description], Awaitable[Description]]


class _Line:
    """One medium: its bridge, and where it stands on each side."""

    __slots__ = ("bridge", "far", "near", "talk")

    def __init__(self, bridge: Bridge, near: int, far: int, talk: bool) -> None:
        self.bridge = bridge
        self.near = near
        self.far = far
        self.talk = talk  # and no file

    def side(self, near: bool) -> Side:
        return self.bridge.near if near else self.bridge.far

    def place(self, near: bool) -> int:
        return self.near if near else self.far


class MediaPlan:
    """The media of one conversation.

    Args:
        msrp: makes the sessions.
        offer: that with which it begins.
        secure: offer MSRP over TLS to the other party.
        near: the offer is the caller's.
        mutual: the caller, the callee is behind the server of another domain: nothing goes there
            but over TLS, and that server has to prove who it is (IM-8).

    Raises:
        PeerError: no medium of it is MSRP that can be used (488), or it cannot be read.

    Attributes:
        listener: what is done about messages that pass.
        on_lost: told when the last session of a party has ended by itself.
        on_broken: told that a session was lost for which another one may be had: the caller's,
            or the callee's. ``None`` ends the opposite one as well.
    """

    def __init__(
        self,
        msrp: MsrpEndpoint,
        offer: Description,
        secure: bool,
        near: bool = True,
        mutual: tuple[bool, bool] = (False, False),
    ) -> None:
        self.listener = Listener()
        self.on_lost: Callable[[str], object] = _unheard
        self._on_broken: Callable[[bool], object] | None = None
        self._near = Negotiation(msrp)
        self._far = Negotiation(msrp)
        self._offer = offer
        self._offered_near = near
        self._far_secure = self._near_secure = secure
        self._mutual = mutual
        self._closed = False
        self._changing = False  # sessions end because others take their places
        self._lines: list[_Line] = []
        self._wishes: list[Wish | None] = []  # what the other party is offered
        if len(description_of(offer).media) > MOST:
            raise NotAcceptable("too many media")
        offered = self._sides(near)[0].read_offer(offer)
        # What is added later goes by what this leg has from the beginning.
        here_secure = any(one is not None and one.protocol == TLS for one in offered)
        if near:
            self._near_secure = here_secure
        else:
            self._far_secure = here_secure
        for index, theirs in enumerate(offered):
            if theirs is not None and theirs.port and self._safe(theirs, near):
                self._wishes.append(self._add(index, len(self._wishes), theirs, near))
        if not self._lines:
            raise NotAcceptable("nothing is offered that the IM Server can pass on")

    def offer(self) -> Description:
        """Return what the other party is offered.

        Raises:
            Unavailable: no further session can be had.
        """
        offer = self._sides(self._offered_near)[1].offer(self._wishes)
        self._bind()
        return offer

    async def answer(self, remote: Description) -> Description:
        """Take the other party's answer; return that to who offered.

        Raises:
            PeerError: it cannot be used, or nothing is left to be used (488).
        """
        near = self._offered_near
        here, there = self._sides(near)
        await there.read_answer(remote)
        answer = await here.answer(self._offer, self._answers(self._offer, near))
        self._bind()
        return answer

    def say(self, content: Content, on_end: Callable[[int], object]) -> bool:
        """Say something to the callee in the caller's place; tell whether the callee takes such.

        A callee that takes no envelope gets the text inside.

        Args:
            on_end: told how it ended, as :class:`~omaim.msrp.Outgoing` says it.
        """
        for line in self._lines:
            medium = self._far.media[line.far]
            if medium is None:
                continue
            for one in (content, content.plain()):
                if one is not None and medium.accepts.takes(one.content_type):
                    said = Outgoing(one.content_type, one.body, on_end=on_end)
                    medium.session.send(said)
                    return True
        return False

    # Later

    async def changed(self, near: bool, offer: Description, reinvite: Reinvite) -> Description:
        """Answer an offer that a party makes later.

        Args:
            near: it is the caller's.
            reinvite: offers a change to the other party; returns its answer.

        Raises:
            PeerError: the change cannot be made, or crosses one of the other party (491); all
                is as it was.
        """
        here = self._sides(near)[0]
        if self._changing:
            raise PeerError("the other party changes something itself", 491)
        if len(description_of(offer).media) > MOST:
            raise NotAcceptable("too many media")
        self._changing = True
        try:
            await self._pass_on(near, here.read_offer(offer), reinvite)
            answer = await here.answer(offer, self._answers(offer, near))
        finally:
            self._changed()
        return answer

    @property
    def on_broken(self) -> Callable[[bool], object] | None:
        """Told of each session that was lost and may be replaced; see above."""
        return self._on_broken

    @on_broken.setter
    def on_broken(self, act: Callable[[bool], object] | None) -> None:
        self._on_broken = act
        for line in self._lines:
            line.bridge.mends = act is not None and line.talk

    def broken(self, near: bool) -> bool:
        """Tell whether another session is waited for, on the caller's side or the callee's."""
        return any(line.side(near).broken for line in self._lines)

    async def renew(self, near: bool, reinvite: Reinvite) -> None:
        """Offer a party other sessions in the place of those that were lost.

        Args:
            near: the party is the caller.
            reinvite: offers a change to it; returns its answer.

        Raises:
            PeerError: it does not want that, or changes something itself (491).

        Spec: RFC 4975 §5.4
        """
        here = self._sides(near)[0]
        if self._changing:
            raise PeerError("the session is being changed", 491)
        wishes = [None if one is None else one.wish for one in here.media]
        for line in self._lines:
            if not line.talk and not line.side(near).there:
                wishes[line.place(near)] = None  # a file is sent again otherwise
        self._changing = True
        try:
            offer = here.offer(wishes)
            await here.read_answer(await reinvite(offer))
        except BaseException:
            here.withdraw()
            raise
        finally:
            self._changed()

    def again(self, near: bool) -> Description:
        """Return what a party was told last, for one that asks for an offer (RFC 3261 §14.2)."""
        return self._sides(near)[0].again()

    async def answered(self, near: bool, answer: Description, reinvite: Reinvite) -> None:
        """Take a party's answer to :meth:`again`; the other party hears what is new.

        Raises:
            PeerError: it cannot be used; end the call.
        """
        here = self._sides(near)[0]
        self._changing = True
        try:
            await here.read_answer(answer)
            said = [
                None if one is None or one.agreed is None else one.agreed.remote
                for one in here.media
            ]
            await self._pass_on(near, said, reinvite)
        finally:
            self._changed()

    async def _pass_on(
        self, near: bool, said: Sequence[MessageMedia | None], reinvite: Reinvite
    ) -> None:
        """Tell the other party what is new in what one says of its media."""
        there = self._sides(near)[1]
        known = len(self._lines)
        before = [None if one is None else one.wish for one in there.media]
        wishes = list(before)
        for index, theirs in enumerate(said):
            line = self._at(index, near)
            over = theirs is None or not theirs.port
            if line is None:
                if theirs is not None and not over and self._safe(theirs, near):
                    wishes.append(self._add(index, len(wishes), theirs, near))
                continue
            place = line.place(not near)
            wish = wishes[place]
            if wish is None:
                continue
            if theirs is None or over or not self._safe(theirs, near):
                wishes[place] = None
            else:
                wishes[place] = saying(wish, theirs)
        if wishes == before:
            return
        self._say(there, wishes)
        try:
            await there.read_answer(await reinvite(there.offer(wishes)))
        except BaseException:
            del self._lines[known:]
            there.withdraw()
            self._say(there, before)
            raise

    def _say(self, there: Negotiation, wishes: Sequence[Wish | None]) -> None:
        """Let media go on of which something else is said."""
        for medium, wish in zip(there.media, wishes, strict=False):
            if medium is not None and wish is not None and wish is not medium.wish:
                medium.say(wish)

    def _changed(self) -> None:
        """A change is made, or was not: look after the sessions that there are now."""
        self._bind()
        self._changing = False
        for line in self._lines:
            for side in (line.bridge.near, line.bridge.far):
                if side.session is not None and not side.there:
                    self._lost(side, "a session was not replaced")

    def give_up(self) -> None:
        """No session that is lost is replaced any more: what waits for one has failed."""
        for line in self._lines:
            line.bridge.give_up()

    def close(self, why: str = "") -> None:
        """The conversation is over."""
        self._closed = True
        self.give_up()
        self._near.close(why)
        self._far.close(why)

    # How

    def _sides(self, near: bool) -> tuple[Negotiation, Negotiation]:
        """Return the negotiation with one party, and that with the other."""
        return (self._near, self._far) if near else (self._far, self._near)

    def _safe(self, theirs: MessageMedia, near: bool) -> bool:
        """Tell whether a medium is as secure as one of that party has to be."""
        return theirs.protocol == TLS or not self._mutual[0 if near else 1]

    def _add(self, here: int, there: int, theirs: MessageMedia, near: bool) -> Wish:
        """Note a new medium; return what the other party is offered."""
        bridge = Bridge(self.listener, self._lost)
        talk = theirs.transfer is None
        line = _Line(bridge, here, there, talk) if near else _Line(bridge, there, here, talk)
        bridge.mends = talk and self._on_broken is not None
        self._lines.append(line)
        user = line.side(not near).user
        secure = self._far_secure if near else self._near_secure
        return attrs.evolve(like(theirs, user, secure), mutual=self._mutual[1 if near else 0])

    def _answers(self, offer: Description, near: bool) -> list[Wish | None]:
        """Return what we bring to each medium of an offer: what the other party said."""
        here, there = self._sides(near)
        wishes: list[Wish | None] = []
        for index in range(len(description_of(offer).media)):
            line = self._at(index, near)
            medium = None
            if line is not None:
                place = line.place(not near)
                medium = there.media[place] if place < len(there.media) else None
            mine = here.media[index] if index < len(here.media) else None
            if line is None or medium is None or medium.agreed is None:
                wishes.append(None)
            elif mine is not None:
                wish = saying(mine.wish, medium.agreed.remote)
                if wish is not mine.wish:
                    mine.say(wish)
                wishes.append(wish)
            else:
                user = line.side(near).user
                mutual = self._mutual[0 if near else 1]
                wish = like(medium.agreed.remote, user)
                wishes.append(attrs.evolve(wish, file=None, mutual=mutual))
        return wishes

    def _at(self, index: int, near: bool) -> _Line | None:
        """Return the medium that one party calls by ``index``."""
        for line in self._lines:
            if line.place(near) == index:
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
                if side.there:
                    side.go_on()

    def _lost(self, side: Side, why: str) -> None:
        """A session has ended: so does the opposite one, unless another takes its place."""
        if self._closed or self._changing or side.broken:
            return
        if side.session is None or side.there:
            return
        if side.bridge.mends and self._on_broken is not None:
            side.broken = True
            self._on_broken(side is side.bridge.near)
            return
        other = side.other
        if other.session is not None and other.there:
            other.session.close(why)
        if not any(line.side(True).there or line.side(False).there for line in self._lines):
            self.on_lost(why)


def saying(wish: Wish, theirs: MessageMedia) -> Wish:
    """Return the wish that says now what somebody else says: the same one, if that is no news."""
    said = attrs.evolve(
        wish,
        accept_types=theirs.accept_types,
        accept_wrapped_types=theirs.accept_wrapped_types,
        max_size=theirs.max_size,
        direction=theirs.direction,
    )
    names = ("accept_types", "accept_wrapped_types", "max_size", "direction")
    same = all(getattr(said, name) == getattr(wish, name) for name in names)
    return wish if same else said


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


def check_files(offer: Description, most: int) -> None:
    """Make sure that no file of an offer is too large.

    Args:
        most: octets.

    Raises:
        Refusal: one is (403).
        PeerError: the offer cannot be read.

    Spec: RFC 5547 §6 (size); OMA SIMPLE IM 1.0
    """
    for line in offered_lines(offer):
        transfer = line.transfer
        if transfer is not None and (transfer.selector.size or 0) > most:
            raise Refusal(TOO_LARGE)


def _unheard(why: str) -> None:
    """Nobody wants to know."""
