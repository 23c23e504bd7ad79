"""Large messages: one message in a session of its own, that ends when it is there.

Who sends one invites the recipient to a session in which only he sends. :class:`LargeStore` takes
it in the place of a recipient who is away; :class:`LargeSending` delivers what waits and is
too large for a MESSAGE.

Spec: OMA SIMPLE IM 1.0 (large message mode); RFC 4975; RFC 3428 §8
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.bodies.sdp import RECVONLY, SENDONLY
from omaim.errors import PeerError, Unavailable
from omaim.im.content import Content
from omaim.im.coupling import declined, hang_up
from omaim.im.deferred import Deferring
from omaim.im.delivery import Delivery
from omaim.im.media_plan import check_files, offered_lines
from omaim.im.participating import CARRIED, Leg, Mail, as_message, copied
from omaim.im.policy import Refusal
from omaim.im.recording import Recorder
from omaim.msrp import Incoming, Outgoing, Session, SessionUser
from omaim.net.msrp import MsrpEndpoint
from omaim.node.events import MessageAccepted
from omaim.roles.call import Call
from omaim.roles.description import CallFailed, Description
from omaim.roles.invitation import Invitation
from omaim.roles.inviter import Inviter
from omaim.roles.negotiation import Negotiation, Wish
from omaim.roles.user_agent import UserAgent
from omaim.sip.headers import NameAddr
from omaim.sip.message import Request, Response
from omaim.sip.uri import canonical_aor
from omaim.timers import NEVER, Alarm

LARGE_TAG: Final = "+g.oma.sip-im.large-message"
RINGING: Final = 20.0  # seconds in which a device has to take a message, which nobody picks up
PATIENCE: Final = 300.0  # seconds in which something has to come of a message that is taken
GATHERED: Final = 268_435_456  # octets that are held until they are stored
STOP: Final = 413

Taken = Callable[[], object]  # the sender hears that the message is taken
# Stores a message, then calls the second.
Keep = Callable[[Content, Taken], Coroutine[Any, Any, None]]

_NOTHING: Final = 'SIP;cause=408;text="no message came"'
_LOST: Final = 'SIP;cause=503;text="the MSRP connection is lost"'

_log = Logger()


def is_large(request: Request, offer: Description) -> bool:
    """Tell whether an INVITE announces a large message: by its tag, and that only he sends.

    Raises:
        PeerError: the offer cannot be read.
    """
    wanted = any(LARGE_TAG in value.lower() for value in request.all("Accept-Contact"))
    lines = offered_lines(offer) if wanted else []
    return bool(lines) and all(line.direction == SENDONLY for line in lines)


class LargeStore:
    """Takes large messages: for those who cannot have them now, and those for many.

    Args:
        most: octets of a message.
        agent: has the clock.
        now: seconds since the epoch.
        each: messages that one sender may be sending at a time; 0 for no limit.
        gathered: octets of all messages that are coming in or being stored.
    """

    def __init__(
        self,
        msrp: MsrpEndpoint,
        deferring: Deferring,
        delivery: Delivery,
        recorder: Recorder,
        entity: str,
        most: int,
        agent: UserAgent,
        now: Callable[[], float],
        each: int = 0,
        gathered: int = GATHERED,
    ) -> None:
        self._each = each
        self._gathered = gathered
        self._held = 0
        self._open: dict[str, set[Call]] = {}  # sessions by sender
        self._agent = agent
        self._msrp = msrp
        self._deferring = deferring
        self._delivery = delivery
        self._recorder = recorder
        self._entity = entity
        self._most = most
        self._now = now

    async def take(self, invitation: Invitation, leg: Leg, mutual: bool = False) -> None:
        """Accept the session in the place of the recipient, and store what comes.

        Args:
            mutual: the server of another domain has to prove who it is (IM-8).

        Raises:
            PeerError: the session cannot be used (488), or what comes is too large (403).

        Spec: OMA SIMPLE IM 1.0 (deferred messaging, terminating participating function)
        """

        async def keep(content: Content, taken: Taken) -> None:
            await self._keep(invitation.request, leg, content, taken)

        await self.receive(invitation, leg.sender, keep, mutual)

    async def receive(
        self, invitation: Invitation, sender: str, keep: Keep, mutual: bool, most: int = 0
    ) -> None:
        """Accept the session, and have what comes kept by somebody.

        Args:
            sender: canonical address of who sends it.
            keep: gets each message when it is whole.
            mutual: as :meth:`take` has it.
            most: octets of a message; the usual number for 0.

        Raises: as :meth:`take`; 486 the sender is sending too many.
        """
        if self._each and len(self._open.get(sender, ())) >= self._each:
            raise Refusal("102 Too many sessions of one user", 486)
        offer = invitation.call.remote
        most = min(most or self._most, self._most)
        check_files(offer, most)
        negotiation = Negotiation(self._msrp)
        call, agent = invitation.call, self._agent
        alarm = Alarm(lambda now: over(_NOTHING))

        def over(reason: str) -> None:
            """No more comes: hang up, unless the sender has."""
            alarm.deadline = NEVER
            negotiation.close("the sender is done")
            hang_up(call, reason)
            self._over(sender, call)

        def heard() -> None:
            alarm.deadline = agent.now() + PATIENCE
            agent.arm(alarm)

        user = SessionUser(
            lambda session, incoming: self._begins(incoming, keep, most, heard),
            on_closed=lambda session, why: over(_LOST),
        )
        wish = Wish(user, ("*",), max_size=most, direction=RECVONLY, mutual=mutual)
        wishes = [None if one is None else wish for one in negotiation.read_offer(offer)]
        answer = await negotiation.answer(offer, _first(wishes))
        call.on_bye = over
        call.on_offer = negotiation.confirm
        call.on_refer = declined
        self._open.setdefault(sender, set()).add(call)
        heard()
        try:
            await invitation.accept(answer.body, answer.content_type)
        except BaseException:
            over("")
            raise

    def _over(self, sender: str, call: Call) -> None:
        calls = self._open.get(sender, set())
        calls.discard(call)
        if not calls:
            self._open.pop(sender, None)

    def _begins(
        self, incoming: Incoming, keep: Keep, most: int, heard: Callable[[], object]
    ) -> None:
        """Take a message piece by piece: as long as something comes, the sender is there."""
        incoming.hold()
        pieces: list[bytes] = []
        size = 0

        def data(offset: int, octets: bytes) -> None:
            nonlocal size
            heard()
            pieces.append(octets)
            size += len(octets)
            self._held += len(octets)
            if size > most:
                free()
                incoming.refuse(STOP)
            elif self._held > self._gathered:
                free()
                incoming.refuse(STOP, "too much is coming in")

        def ended(complete: bool) -> None:
            if not complete:
                free()
                return
            content = Content(incoming.content_type, b"".join(pieces))
            pieces.clear()
            keeping = Deferred.fromCoroutine(keep(content, lambda: incoming.release(200)))
            keeping.addErrback(_not_kept, incoming).addBoth(free)

        def free(result: object = None) -> None:
            nonlocal size
            pieces.clear()
            self._held -= size
            size = 0

        incoming.stream(data, ended)

    async def _keep(self, invite: Request, leg: Leg, content: Content, taken: Taken) -> None:
        """Store a message; only then its sender hears that it was taken."""
        mail = Mail(as_message(invite, content), leg, "", self._now())
        accepted = MessageAccepted(
            at=self._now(),
            entity=self._entity,
            icid=mail.icid,
            message_id=mail.message_id,
            side=leg.side,
            sender=leg.sender,
            recipients=(leg.user,),
            content_type=content.media_type,
            size=len(content.body),
        )
        message = await self._deferring.keep(mail, [accepted])
        await self._recorder.keep(
            leg.user,
            leg.shown,
            leg.shown,
            (leg.user,),
            content,
            mail.message_id,
            mail.sent_at,
            invite.first("Subject") or "",
        )
        taken()
        if message is not None:
            await self._deferring.report_stored(message)
            self._delivery.kick(leg.user)


def _not_kept(failure: Failure, incoming: Incoming) -> None:
    error = failure.value
    if isinstance(error, PeerError):
        incoming.release(403 if error.status == 403 else STOP, error.why)
    elif isinstance(error, Unavailable):
        _log.error("a large message was not taken: {why}", why=str(error))
        incoming.release(STOP, "it cannot be stored now")
    else:
        _log.failure("a large message was not served", failure)
        incoming.release(STOP, "it could not be stored")


def _first(wishes: list[Wish | None]) -> list[Wish | None]:
    """Keep the first wish: a large message needs one medium."""
    found = next((at for at, wish in enumerate(wishes) if wish is not None), -1)
    return [wish if at == found else None for at, wish in enumerate(wishes)]


class LargeSending:
    """Delivers stored messages in sessions of their own.

    Args:
        secure: tells whether MSRP to an address is offered over TLS.
        mutual: tells whether it is behind the server of another domain, which has to prove who
            it is (IM-8).
    """

    def __init__(
        self,
        inviter: Inviter,
        msrp: MsrpEndpoint,
        secure: Callable[[str], bool],
        mutual: Callable[[str], bool],
    ) -> None:
        self._inviter = inviter
        self._msrp = msrp
        self._secure = secure
        self._mutual = mutual

    async def post(self, request: Request, content: Content) -> Response:
        """Deliver what a MESSAGE would have delivered; return the response that it deserves."""
        sent: Deferred[int] = Deferred()
        user = SessionUser(_unwanted, on_closed=lambda session, why: _once(sent, 481))
        negotiation = Negotiation(self._msrp)
        address = canonical_aor(request.uri)
        wish = Wish(
            user,
            (content.media_type or "*",),
            direction=SENDONLY,
            secure=self._secure(address),
            mutual=self._mutual(address),
        )
        offer = negotiation.offer([wish])
        call: Call | None = None
        try:
            call = await self._call(request, offer)
            await negotiation.read_answer(call.remote)
            medium = negotiation.media[0]
            if medium is None:
                return request.response(488)
            medium.session.send(
                Outgoing(content.content_type, content.body, on_end=lambda end: _once(sent, end))
            )
            return request.response(_status(await sent))
        except CallFailed as failed:
            response = request.response(failed.response.status)
            response.local = failed.response.local
            return response
        except PeerError as error:
            return request.response(error.status)
        finally:
            negotiation.close("done")
            if call is not None:
                hang_up(call)

    async def _call(self, request: Request, offer: Description) -> Call:
        """Invite the device; give up when it does not take the message soon."""
        inviting = Deferred.fromCoroutine(
            self._inviter.invite("", request=self._invite(request, offer), redirections=0)
        )
        agent = self._inviter.agent
        alarm = Alarm(lambda now: inviting.cancel())
        alarm.deadline = agent.now() + RINGING
        agent.arm(alarm)
        try:
            return await inviting
        finally:
            alarm.deadline = NEVER

    def _invite(self, request: Request, offer: Description) -> Request:
        ids = self._msrp.ids
        sender = request.from_
        fields = [
            *copied(request, ("Route", "Max-Forwards", "To", *CARRIED, "User-Agent")),
            ("From", f"{NameAddr(sender.uri_text, sender.display)};tag={ids.tag()}"),
            ("Call-ID", ids.call_id()),
            ("CSeq", "1 INVITE"),
            ("Accept-Contact", f"*;{LARGE_TAG}"),
            ("Contact", f"{self._inviter.contact(None)};+g.oma.sip-im;{LARGE_TAG}"),
            ("Content-Type", offer.content_type),
        ]
        return Request.make("INVITE", request.uri, fields, offer.body)


def _unwanted(session: Session, incoming: Incoming) -> None:
    incoming.refuse(403)


def _once(sent: Deferred[int], status: int) -> None:
    if not sent.called:
        sent.callback(status)


def _status(ended: int) -> int:
    """Return the SIP status for how a message ended in MSRP."""
    return ended if ended in (200, 403, 413, 415) else 480
