"""One call of a client and its MSRP media: from the INVITE to the BYE, with all changes.

Whoever makes a leg brings a :class:`~omaim.roles.negotiation.Wish` for each medium, and finds
what came of it in :attr:`Leg.media`::

    leg = await Leg.invite(means, "sip:bob@south.example", [wish])
    leg.media[0].session.send(Outgoing("text/plain", b"hello"))
    await leg.close()

Spec: RFC 3261 §13 to §15; RFC 3264; RFC 4975 §8; OMA SIMPLE IM 1.0 (session mode)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.task import deferLater
from twisted.logger import Logger

from omaim.bodies.file_selector import FileSelector
from omaim.bodies.message_media import MessageMedia
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart
from omaim.client.failures import Busy, Ended, Failure, NoAnswer, failure_class, failure_of
from omaim.client.means import MOST, Means
from omaim.errors import PeerError, Unavailable
from omaim.roles.call import Call
from omaim.roles.description import CallEnded, CallFailed, Description, Fields
from omaim.roles.invitation import Invitation
from omaim.roles.negotiation import Medium, Negotiation, Wish
from omaim.roles.relay_client import NotAuthorized
from omaim.sip.headers import NameAddr, Reason
from omaim.sip.message import Response
from omaim.sip.reasons import reason_for

FEATURE: Final = "+g.oma.sip-im"
LARGE_FEATURE: Final = "+g.oma.sip-im.large-message"
CROSSINGS: Final = 8  # tries of one change that crosses changes of the peer

Wishes = Sequence[Wish | None]
Bring = Callable[[MessageMedia], Awaitable[Wish | None]]

_log = Logger()


class Leg:
    """One call and its media.

    Attributes:
        call: is up.
        negotiation: has the media.
        bring: gets each medium that the peer adds; the result says what we bring to it,
            ``None`` refuses it. Without it all are refused.
        on_change: called when the peer has changed the media.
        on_moved: gets a medium whose way through our relay ends, to :meth:`renew` it.
        ending: functions that are called once with why, when the leg has ended by whatever
            it was; "" when we have ended it.
        over: it has ended.
        answered: functions that are called once when the offer under way has its answer, or has
            come to nothing; for what :attr:`bring` has brought.
        transfers: the files that were offered in it, by the identifier of the transfer.
    """

    call: Call

    def __init__(self, means: Means, negotiation: Negotiation) -> None:
        self.negotiation = negotiation
        self.bring: Bring | None = None
        self.on_change: Callable[[], object] | None = None
        self.on_moved: Callable[[Medium], object] | None = None
        self.ending: list[Callable[[str], object]] = []
        self.over = False
        self.answered: list[Callable[[], object]] = []
        self.transfers: dict[str, FileSelector] = {}
        self._means = means
        self._changing = DeferredLock()
        self._pausing: set[Deferred[None]] = set()  # until changes are tried again

    @property
    def media(self) -> list[Medium | None]:
        """What both sides want, by the index of the medium."""
        return self.negotiation.media

    # The beginning.

    @classmethod
    async def invite(
        cls,
        means: Means,
        target: str,
        wishes: Wishes,
        headers: Fields = (),
        *,
        feature: str = FEATURE,
        focus: str = "",
        parts: Sequence[Part] = (),
        provisional: Callable[[Response], object] | None = None,
    ) -> Leg:
        """Invite somebody; return when it was accepted, and the media are being connected.

        Cancelling gives up.

        Args:
            means: of the client.
            target: URI.
            wishes: what we bring to each medium.
            headers: more header fields.
            feature: tag of the service that is wanted.
            focus: address of the conference that we are the focus of; "" for none.
            parts: of the body, beside the offer; a recipient list for example.
            provisional: gets each 1xx.

        Raises:
            Failure: a subclass by what the network answered.
        """
        await means.opened()
        if len(means.legs) >= MOST:
            raise Busy(0, f"{MOST} sessions are open")
        secure = any(wish is not None and wish.secure for wish in wishes)
        leg = cls(means, await means.media.negotiation(secure))
        fields = [
            ("Contact", means.contact(feature, focus=focus)),
            ("Accept-Contact", f"*;{feature}"),
            *headers,
        ]
        if focus:
            sender = NameAddr(focus, means.own.name)
            fields.append(("From", f"{sender};tag={means.phone.ids.tag()}"))
        try:
            await leg._prepare(len(wishes))
            offer = leg.negotiation.offer(wishes)
            body = _with_parts(offer, parts)
            call = await means.inviter.invite(
                target, body.body, body.content_type, fields, provisional=provisional
            )
            call.local = offer  # what a refresh repeats has no list in it
            await leg._answered(call)
        except CallFailed as failed:
            leg.negotiation.close("nobody came")
            raise failure_of(failed.response) from failed
        except BaseException:
            leg.negotiation.close("nobody came")
            raise
        return leg

    async def _answered(self, call: Call) -> None:
        try:
            await self._settle(call, call.remote)
            if not any(self.media):
                raise PeerError("the peer accepts, and wants nothing of what was offered", 488)
        except PeerError as error:
            _log.info("An answer cannot be used: {why}", why=error.why)
            await call.bye([("Reason", f"SIP;cause={error.status}")])
            raise failure_class(error.status)(error.status, error.why) from error
        except CallFailed:
            await call.bye([("Reason", "SIP;cause=488")])
            raise
        if call.over:
            raise Ended(481)
        self._begin(call)

    async def _settle(self, call: Call, answer: Description) -> None:
        """Take an answer; offer again without CEMA where that is wanted.

        Raises:
            PeerError: it cannot be used.
            CallFailed: the peer refuses the other offer.

        Spec: RFC 6714 §4.2
        """
        await self.negotiation.read_answer(answer)
        if self.negotiation.wants_reoffer:
            again = self.negotiation.reoffer()
            await self.negotiation.read_answer(await call.reinvite(again.body, wait=False))

    @classmethod
    async def accept(
        cls,
        means: Means,
        invitation: Invitation,
        wishes: Wishes,
        *,
        feature: str = FEATURE,
        headers: Fields = (),
        focus: str = "",
        prepare: Callable[[Leg], object] | None = None,
    ) -> Leg:
        """Accept an invitation; return when the caller knows.

        Args:
            wishes: what we bring to each medium that is offered.
            feature: tag of the service.
            headers: more header fields of the answer.
            focus: as :meth:`invite` has it.
            prepare: gets the leg before the peer can say something.

        Raises:
            PeerError: the offer cannot be accepted; the invitation is not answered yet.
            Ended: the caller has given up, or is gone.
        """
        offer = invitation.call.remote
        secure = any(wish is not None and wish.secure for wish in wishes)
        leg = cls(means, await means.media.negotiation(secure))
        try:
            await leg._prepare_answer(offer, wishes)
            answer = await leg.negotiation.answer(offer, wishes)
            leg._begin(invitation.call)
            if prepare is not None:
                prepare(leg)
            fields = [("Contact", means.contact(feature, focus=focus)), *headers]
            await invitation.accept(answer.body, answer.content_type, fields)
        except (CallFailed, CallEnded) as failed:
            leg._end("the caller has given up")
            raise Ended(481, "the caller has given up") from failed
        except Unavailable as error:
            leg._end("not accepted")
            _log.warn("An invitation cannot be accepted: {why}", why=str(error))
            raise PeerError("there is no way for a session now", 480) from error
        except BaseException:
            leg._end("not accepted")
            raise
        return leg

    def _begin(self, call: Call) -> None:
        self.call = call
        call.context = self
        call.on_offer = self._offered
        self.negotiation.on_moved = self._moved
        call.on_bye = lambda reason: self._end(_words(reason))
        self._means.legs.add(self)

    # Changes.

    async def _offered(self, offer: Description) -> Description:
        """Answer an offer of the peer in the call."""
        if not offer.body:
            return self.negotiation.again()
        await self._changing.acquire()
        try:
            wishes: list[Wish | None] = []
            for index, theirs in enumerate(self.negotiation.read_offer(offer)):
                ours = self.media[index] if index < len(self.media) else None
                wish = None if ours is None else ours.wish
                if wish is None and theirs is not None and theirs.port and self.bring is not None:
                    wish = await self.bring(theirs)
                wishes.append(wish)
            await self._prepare_answer(offer, wishes)
            if self._is_over():
                raise PeerError("the call is over", 481)
            answer = await self.negotiation.answer(offer, wishes)
        finally:
            self._changing.release()
            answered, self.answered = self.answered, []
            for act in answered:
                self._means.phone.endpoint.later(act)
        if self.on_change is not None:
            self.on_change()
        return answer

    async def add(self, wish: Wish) -> Medium:
        """Add a medium; return it when the peer has accepted it.

        Raises:
            Failure: it was refused; the rest is as it was.
        """
        await self._change(lambda now: [*now, wish])
        return self._medium_of(wish)

    async def renew(self, medium: Medium, wish: Wish) -> Medium:
        """Put another session in the place of one that was lost, or will be; return its medium.

        It may be one that the peer has offered meanwhile.

        Raises:
            Failure: it was refused; the one that was there is as it was.

        Spec: RFC 4975 §5.4; RFC 4976 §5.1
        """
        self.negotiation.move(medium)

        def changed(now: list[Wish | None]) -> Wishes | None:
            if medium not in self.media:
                return None
            return [wish if one is medium.wish else one for one in now]

        await self._change(changed)
        found = self.media[medium.index]
        if found is None:
            raise failure_class(603)(603, "the other side does not want it")
        return found

    def _moved(self, medium: Medium) -> None:
        if self.on_moved is not None and not self.over:
            self.on_moved(medium)

    def _medium_of(self, wish: Wish) -> Medium:
        for medium in self.media:
            if medium is not None and medium.wish is wish:
                return medium
        raise failure_class(603)(603, "the other side does not want it")

    async def drop(self, medium: Medium) -> None:
        """End a medium; nothing happens if it has ended."""
        if medium in self.media and not self.over:
            await self._change(
                lambda now: [None if one is medium.wish else one for one in now],
            )

    async def _change(self, changed: Callable[[list[Wish | None]], Wishes | None]) -> None:
        """Offer a change, until it is made.

        Args:
            changed: gets what there is, and returns what there shall be; ``None`` if nothing
                has to be changed any more.
        """
        for _ in range(CROSSINGS):
            await self._changing.acquire()
            try:
                if self.over:
                    raise Ended(481)
                now = [None if medium is None else medium.wish for medium in self.media]
                wishes = changed(now)
                if wishes is None:
                    return
                await self._prepare(sum(one is not None and one not in now for one in wishes))
                if self._is_over():
                    raise Ended(481)
                offer = self.negotiation.offer(wishes)
                try:
                    answer = await self.call.reinvite(offer.body, wait=False)
                    await self._settle(self.call, answer)
                    return
                except CallFailed as failed:
                    self.negotiation.withdraw()
                    if failed.response.status != 491:
                        raise failure_of(failed.response) from failed
                except CallEnded as ended:
                    raise Ended(481) from ended
                except PeerError as error:
                    # The peer has accepted something that it did not understand.
                    await self.close("SIP;cause=488")
                    raise Failure(488, error.why) from error
            finally:
                self._changing.release()
            # Let the peer's change, which crosses ours, be first.
            await self._pause(self.call.calling.pause())
        raise Busy(491, "changes of both sides cross one another again and again")

    def _is_over(self) -> bool:
        """Tell whether the call has ended while ways were asked for, which nobody needs then."""
        if self.over:
            self.negotiation.close("the call is over")
        return self.over

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the call.

        Raises:
            Ended: it has come.
        """
        pausing: Deferred[None] = deferLater(self._means.clock, seconds)
        self._pausing.add(pausing)
        try:
            await pausing
        except CancelledError:
            if self.over:
                raise Ended(481) from None
            raise
        finally:
            self._pausing.discard(pausing)

    async def _prepare(self, count: int) -> None:
        """Get ways through our relay for new media, where we have one.

        Raises:
            Failure: there is no way.
        """
        try:
            await self.negotiation.prepare(count)
        except PeerError as error:
            raise failure_class(error.status)(error.status, error.why) from error
        except Unavailable as error:
            raise NoAnswer(0, str(error)) from error

    async def _prepare_answer(self, offer: Description, wishes: Wishes) -> None:
        """Get ways through our relay for what an offer of the peer makes new, where we have one.

        Raises:
            Unavailable: there is no way; the peer is not to hear what the relay says to us.
        """
        try:
            await self.negotiation.prepare_answer(offer, wishes)
        except NotAuthorized as error:
            raise Unavailable(str(error)) from error

    # The end.

    async def close(self, reason: str = "") -> None:
        """End the call; returns when the peer knows, or is not there.

        Args:
            reason: a Reason value.
        """
        if self.over:
            return
        call = self.call
        leaving = Deferred.fromCoroutine(call.bye([("Reason", reason)] if reason else ()))
        self._end("")
        await leaving

    def abandon(self, reason: str) -> None:
        """End the call without waiting for anybody."""
        if not self.over:
            Deferred.fromCoroutine(self.close(reason)).addErrback(
                lambda failure: _log.failure("A call was not ended", failure)
            )

    def _end(self, why: str) -> None:
        if self.over:
            return
        self.over = True
        self._means.legs.discard(self)
        self.negotiation.close(why)
        for pausing in list(self._pausing):
            pausing.cancel()
        ending, self.ending = self.ending, []
        for act in ending:
            act(why)


def _with_parts(offer: Description, parts: Sequence[Part]) -> Description:
    """Return a body with an offer and more parts, or the offer alone (RFC 5366 §5)."""
    if not parts:
        return offer
    described = Part([("Content-Type", offer.content_type)], offer.body)
    content_type, body = Multipart("mixed", [described, *parts]).write()
    return Description(body, content_type)


def _words(reason: str) -> str:
    """Return why a call has ended, in words; "" for no special reason.

    Spec: RFC 3326
    """
    if not reason:
        return ""
    try:
        parsed = Reason.parse(reason)
    except PeerError:
        return ""
    if parsed.text:
        return parsed.text
    return "" if parsed.cause in (0, 200) else f"{parsed.cause} {reason_for(parsed.cause)}".strip()
