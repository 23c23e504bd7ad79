"""One device in a conference: its call, its MSRP session, and what it says by that.

Spec: RFC 7701 §5, §6; RFC 4579 §5; RFC 4975 §5.4, §7.3.1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, succeed

from omaim.bodies.message_media import TLS, MessageMedia
from omaim.errors import PeerError
from omaim.grammar import quote
from omaim.im.coupling import hang_up
from omaim.im.offers import Offers
from omaim.im.posting import OK, OVER, TOO_LARGE, Post
from omaim.im.room_people import Link, Member
from omaim.msrp import OPEN, Incoming, Outgoing, Session, SessionUser
from omaim.msrp.outgoing import Outbox
from omaim.roles.call import Call
from omaim.roles.description import Description
from omaim.roles.negotiation import Medium, Negotiation, Wish, description_of
from omaim.timers import NEVER, Alarm

if TYPE_CHECKING:
    from omaim.im.conference import Conference

CONNECT: Final = 32.0  # seconds for the MSRP session of somebody who has come in
LAST_WORDS: Final = 3.0  # seconds that somebody who has to go may take to hear why


class Attendance:
    """One device's end of a conference; the room's link to it.

    Attributes:
        conference: it is in.
        call: ``None`` while we invite the device and it has not accepted.
        member: who it is in the room; ``None`` before it came in.
        session: its MSRP session.
        mutual: it is behind the server of another domain, which has to prove who it is (IM-8).
        offered_secure: its last offer was for MSRP over TLS.
    """

    def __init__(self, conference: Conference, call: Call | None) -> None:
        self.call = call
        self.member: Member | None = None
        self.mutual = False
        self.offered_secure = False
        self.conference = conference
        self._negotiation = Negotiation(conference.house.msrp)
        self._wish: Wish | None = None
        self._index = 0  # of its medium
        self._session: Session | None = None
        self._moving = False  # its session is being replaced
        self._leaving = False
        self._paused = False
        self._reason = ""
        self._ending = False  # all is said, and it was asked whether that has arrived
        self._hung_up = False
        self._gone: Deferred[None] = Deferred()  # fires when the device knows that it is out
        self._left: Outbox | None = None  # what the session leaves behind when it is lost
        self._alarm = Alarm(self._woken)
        self.user = SessionUser(
            self._says,
            on_open=self._opened,
            on_nickname=self._nickname,
            on_drained=self._drained,
            on_closed=self._closed,
        )

    @property
    def session(self) -> Session:
        assert self._session is not None
        return self._session

    # The session description

    def read_offer(self, offer: Description) -> Offers:
        """Return what an offer says of the one medium that we take.

        Raises:
            PeerError: nothing of it can be a session in a chat room (488).

        Spec: RFC 7701 §5.2
        """
        index, media = _chosen(self._negotiation.read_offer(offer))
        self._index = index
        self.offered_secure = media.protocol == TLS
        return Offers.of(media)

    async def answer(self, offer: Description) -> Description:
        """Return our answer to the offer that was read last.

        Raises:
            PeerError: see :meth:`Negotiation.answer`.
        """
        if self._wish is None:
            self._wish = self.conference.wish(self.user, mutual=self.mutual)
        count = len(description_of(offer).media)
        wishes = [self._wish if index == self._index else None for index in range(count)]
        self._moving = True
        try:
            answer = await self._negotiation.answer(offer, wishes)
        finally:
            self._moving = False
        self._use(self._medium())
        return answer

    def offer(self, secure: bool) -> Description:
        """Return our own offer."""
        self._wish = self.conference.wish(self.user, secure, self.mutual)
        offer = self._negotiation.offer([self._wish])
        self._use(self._medium())
        return offer

    async def read_answer(self, answer: Description) -> Offers:
        """Take the answer to our offer.

        Raises:
            PeerError: it cannot be used, or refuses the medium (488).
        """
        await self._negotiation.read_answer(answer)
        medium = self._medium()
        assert medium.agreed is not None
        return Offers.of(medium.agreed.remote)

    def _medium(self) -> Medium:
        media = self._negotiation.media
        medium = media[self._index] if self._index < len(media) else None
        if medium is None:
            raise PeerError("there is no session for the chat room", 488)
        return medium

    def _use(self, medium: Medium) -> None:
        session = self._session = medium.session
        if self._left is None:
            self._left = self.conference.unsent.heir()
        session.heir = self._left

    # The call

    def entered(self, member: Member, call: Call) -> None:
        """The room has let it in."""
        self.member, self.call = member, call
        call.context = self
        call.on_bye = self._said_bye
        call.on_offer = self._changes
        if self.session.state != OPEN:
            self._wake_in(CONNECT)

    async def _changes(self, offer: Description) -> Description:
        """Answer a change that the device wants."""
        member, conference = self.member, self.conference
        if member is None or self._leaving:
            raise PeerError("the conference is over", 488)
        if not offer.body:
            return self._negotiation.again()
        offers = self.read_offer(offer)
        offers.check()
        answer = await self.answer(offer)
        conference.room.offer(member, offers)
        if self.session.state != OPEN:
            self._wake_in(CONNECT)
        return answer

    def _said_bye(self, reason: str) -> None:
        """The device has left, or is gone."""
        lost = "cause=408" in reason or "cause=481" in reason
        self.conference.left(self, failed=lost)
        self.close()

    def refuse(self) -> None:
        """It does not come in: nothing of it is kept."""
        self._leaving = True
        self.close()

    def drop(self, why: str, reason: str = "", patience: float = LAST_WORDS) -> Deferred[None]:
        """The room has put it out: what was written to it goes first, then it is told by BYE.

        Its session is there until it has answered that: what it still says is refused, and
        nothing of it finds no session.

        Args:
            why: for people.
            reason: the Reason of the BYE, if it is another.
            patience: seconds that it may take to get what was written to it.

        Returns: what fires when the device knows.
        """
        if self._leaving:
            return succeed(None)
        self._leaving = True
        self._reason = reason or (f"SIP;cause=200;text={quote(why)}" if why else "")
        self._wake_in(patience)
        if self._session is not None:
            self._session.heir = None
            self._paused = False
            self._session.resume()  # its answers have to be read
        self._say_last()
        return self._gone

    def _say_last(self) -> None:
        """Hang up when all that was written to it has arrived.

        A request that says nothing comes behind it; who answers that has got the rest.

        Spec: RFC 4975 §7.1
        """
        session = self._session
        if session is None or session.state != OPEN:
            self._hang_up()
        elif not self._ending and not session.pending:
            self._ending = True
            session.send(Outgoing(on_end=lambda status: self._hang_up()))

    def _hang_up(self) -> None:
        if self._hung_up:
            return
        self._hung_up = True
        self._leaving = True
        self._alarm.deadline = NEVER
        if self._session is not None and self._session.pending:
            self._negotiation.close("the device takes nothing")  # what waits is not kept longer
        call = self.call
        ending = succeed(None) if call is None else hang_up(call, self._reason)
        ending.addBoth(self._told)

    def _told(self, result: object) -> None:
        self.close()
        self._gone.callback(None)

    def close(self) -> None:
        """The session is over."""
        self._leaving = True
        self._alarm.deadline = NEVER
        if self._session is not None:
            self._session.heir = None
        self._negotiation.close("the device has left")
        if self.call is not None:
            self.call.on_bye = self.call.on_offer = None

    # The session

    def pause(self) -> None:
        """Read nothing more from it."""
        self._paused = True
        self.session.pause()

    def resume(self) -> None:
        """Read on, in the next turn: what is read speaks to the room."""
        self._paused = False
        self.conference.house.inviter.agent.endpoint.later(self._read_on)

    def take_over(self, older: Link) -> None:
        """Send what waits for an older session of the device."""
        if isinstance(older, Attendance) and older._session is not None:
            self.session.outbox.take_over(older._session.outbox)

    def _read_on(self) -> None:
        if not self._paused:
            self.session.resume()

    def _opened(self, session: Session) -> None:
        if session is self._session and not self._leaving:
            self._alarm.deadline = NEVER

    def _says(self, session: Session, incoming: Incoming) -> None:
        member = self.member
        if member is None or not member.present:
            incoming.refuse(403, "you are not in this room")
            return
        _Saying(self.conference, member, incoming)

    def _nickname(self, session: Session, text: str) -> int:
        return 403 if self.member is None else self.conference.nickname(self.member, text)

    def _drained(self, session: Session) -> None:
        if session is not self._session:
            return
        if self._leaving:
            self._say_last()
        elif self.member is not None:
            self.conference.pressure(self.member, 0)

    def _closed(self, session: Session, why: str) -> None:
        """The session has ended by itself: the device is gone, whatever its call says."""
        if self._moving or self._leaving or session is not self._session:
            return
        self._reason = 'SIP;cause=503;text="the MSRP connection is lost"'
        if self.member is not None and self._left is not None:
            self.conference.unsent.keep(self.member, self._left, self.conference.house.now())
        self.conference.left(self, failed=True)
        self._hang_up()

    def _wake_in(self, seconds: float) -> None:
        agent = self.conference.house.inviter.agent
        self._alarm.deadline = agent.now() + seconds
        agent.arm(self._alarm)

    def _woken(self, now: float) -> None:
        if self._leaving:
            self._hang_up()
        elif self.session.state != OPEN:
            self._reason = 'SIP;cause=408;text="the MSRP session did not come up"'
            self.conference.left(self, failed=True)
            self._hang_up()


class _Saying:
    """A message on its way from a session into the room, until its sender has the answer."""

    __slots__ = ("_conference", "_held", "_incoming", "_post")

    def __init__(self, conference: Conference, member: Member, incoming: Incoming) -> None:
        self._conference = conference
        self._incoming = incoming
        self._held = False
        now = conference.house.now()
        self._post: Post | None = None
        post = conference.room.post(
            member,
            incoming.message_id,
            incoming.content_type,
            incoming.size,
            now,
            self._settled,
        )
        self._post = post
        if not incoming.refused:
            incoming.stream(self._data, self._end)
        conference.settle()

    def _data(self, offset: int, data: bytes) -> None:
        conference, post = self._conference, self._post
        assert post is not None
        post.feed(data, conference.house.now())
        conference.settle()

    def _end(self, complete: bool) -> None:
        conference, post = self._conference, self._post
        assert post is not None
        if post.state != OVER:
            post.end(complete, conference.house.now())
            if complete and post.state != OVER:
                self._hold()  # somebody has to decide on it
            conference.settle()

    def _hold(self) -> None:
        self._held = True
        self._incoming.hold()

    def _settled(self, post: Post) -> None:
        """It is decided what its sender hears."""
        status = post.status
        if status != OK:
            if self._held:
                self._incoming.release(status or TOO_LARGE, post.comment)
            else:
                self._incoming.refuse(status or TOO_LARGE, post.comment)
        elif post.event is None:
            if self._held:
                self._incoming.release()
        else:
            if not self._held:
                self._hold()
            self._conference.said(post, self._incoming)


def _chosen(offered: tuple[MessageMedia | None, ...]) -> tuple[int, MessageMedia]:
    """Return the first medium of an offer that is a session for messages, with its place."""
    for index, media in enumerate(offered):
        if media is not None and media.port and media.transfer is None:
            return index, media
    raise PeerError("a chat room needs an MSRP session", 488)
