"""Sessions in which users fetch what is kept for them: deferred messages, and recorded ones.

A user invites the address of the function, with a list of what he wants beside his offer; the
function sends one message after the other and hangs up. Read :meth:`Downloads.deferred`, then
:class:`Download`.

A message has arrived when its success report is here. The final 200 says the same where no relay
stands between: then nobody else can have said it.

Spec: OMA SIMPLE IM 1.0 (retrieval of deferred messages, of conversation history); RFC 4975 §7.1
Differs: how clients say in a session what they want is not confirmed by a published text: the
list stands beside the session description; without one everything that is deferred is meant.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.bodies.cpim import MEDIA_TYPE as CPIM
from omaim.bodies.deferred_list import MEDIA_TYPE as DEFERRED_LIST
from omaim.bodies.deferred_list import parse_deferred_list
from omaim.bodies.history_list import MEDIA_TYPE as HISTORY_LIST
from omaim.bodies.history_list import parse_history_list
from omaim.bodies.message_media import MessageMedia
from omaim.bodies.message_offers import NotAcceptable
from omaim.bodies.multipart import leaves
from omaim.bodies.sdp import INACTIVE, SENDONLY
from omaim.bodies.sdp import MEDIA_TYPE as SDP
from omaim.errors import OmaimError, PeerError
from omaim.im.coupling import OVER, declined, hang_up
from omaim.im.handover import Handed
from omaim.im.history import History
from omaim.im.participating import Leg
from omaim.im.retrieval import Retrieval
from omaim.msrp import Incoming, Outgoing, Report, Session, SessionUser
from omaim.msrp.accepting import wrapped_type
from omaim.net.msrp import MsrpEndpoint
from omaim.roles.description import Description
from omaim.roles.invitation import Invitation
from omaim.roles.listmail import Refused
from omaim.roles.negotiation import Medium, Negotiation, Wish
from omaim.roles.user_agent import UserAgent
from omaim.timers import NEVER, Alarm

AHEAD: Final = 8  # messages under way to one client
WINDOW: Final = 65536  # octets of them, if it is more than one
PATIENCE: Final = 60.0  # seconds in which something has to move
LINGER: Final = 1.0  # seconds that answers may come behind the BYE of a client
EACH: Final = 4  # sessions of one user at a time

_IDLE: Final = 'SIP;cause=408;text="nothing was taken"'
_LOST: Final = 'SIP;cause=503;text="the MSRP connection is lost"'
_BROKEN: Final = 'SIP;cause=503;text="what is kept cannot be read now"'

_log = Logger()


class Supply(Protocol):
    """What one session is to bring."""

    async def next(self) -> Handed | None:
        """Return the next message, ``None`` at the end; raises Unavailable."""

    async def confirmed(self, reference: str) -> None:
        """A message has arrived; raises Unavailable."""

    async def close(self) -> None:
        """The session is over; raises Unavailable."""


class Downloads:
    """The door for INVITEs to both functions.

    Args:
        msrp: makes the sessions.
        agent: has the clock.
    """

    def __init__(
        self, msrp: MsrpEndpoint, agent: UserAgent, retrieval: Retrieval, history: History
    ) -> None:
        self._msrp = msrp
        self._agent = agent
        self._retrieval = retrieval
        self._history = history
        self._running: set[Download] = set()
        self._each: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._running)

    async def deferred(self, invitation: Invitation, leg: Leg) -> None:
        """Send who invites what waits for him, or those that he names; oldest first.

        Raises:
            PeerError: nothing is kept for him (403), or none of these (404); the session
                cannot be had (486, 488), or what is wanted not be read (400, 415).

        Spec: OMA SIMPLE IM 1.0 (retrieval of deferred messages)
        """
        body = _list_in(invitation, DEFERRED_LIST)
        wanted = [] if body is None else [one.reference for one in parse_deferred_list(body)]
        supply = await self._retrieval.session(leg.sender, wanted)
        await self._serve(invitation, leg.sender, supply)

    async def history(self, invitation: Invitation, leg: Leg) -> None:
        """Send who invites what was said in the conversations that he names.

        Raises:
            PeerError: as :meth:`deferred`; 400 if he names none.

        Spec: OMA SIMPLE IM 1.0 (retrieval of conversation history)
        """
        body = _list_in(invitation, HISTORY_LIST)
        entries = () if body is None else parse_history_list(body).entries
        wanted = list(dict.fromkeys(one.reference for one in entries))
        supply = await self._history.session(leg.sender, wanted)
        await self._serve(invitation, leg.sender, supply)

    async def _serve(self, invitation: Invitation, user: str, supply: Supply) -> None:
        if self._each[user] >= EACH:
            raise PeerError(f"{EACH} sessions with this function are up already", 486)
        self._each[user] += 1
        download = Download(invitation, Negotiation(self._msrp), supply, self._agent)
        self._running.add(download)
        try:
            await download.run()
        finally:
            self._running.discard(download)
            self._each[user] -= 1
            if not self._each[user]:
                del self._each[user]

    def close(self, reason: str) -> Deferred[Any]:
        """End all sessions; fires when the parties know, and what they did not get waits."""
        return DeferredList([one.stop(reason) for one in list(self._running)])


class Download:
    """One session: from the INVITE to its BYE."""

    def __init__(
        self, invitation: Invitation, negotiation: Negotiation, supply: Supply, agent: UserAgent
    ) -> None:
        self._invitation = invitation
        self._call = invitation.call
        self._negotiation = negotiation
        self._supply = supply
        self._agent = agent
        self._medium: Medium | None = None
        self._under_way: dict[str, int] = {}  # reference → octets that are not answered
        self._unsure: set[str] = set()  # sent, and not known to have arrived
        self._confirming = 0
        self._ending = ""  # the Reason why nothing more is sent
        self._gone = False  # nothing more comes, either
        self._stirred: Deferred[None] | None = None
        self._alarm = Alarm(self._woken)
        self._patience = PATIENCE
        self._over: Deferred[None] = Deferred()

    async def run(self) -> None:
        """Accept, send everything, and hang up.

        Raises:
            PeerError: it is not accepted.
        """
        try:
            await self._begin()
            self._move()
            await self._send_all()
        except PeerError as error:
            self._end(f"SIP;cause={error.status}")
            raise
        finally:
            reason = self._ending or OVER
            self._gone = True
            self._alarm.deadline = NEVER
            self._negotiation.close("all is said")
            # Only when it is sure what has arrived: a message may come twice otherwise.
            await self._let_go()
            await hang_up(self._call, reason)
            self._over.callback(None)

    def stop(self, reason: str) -> Deferred[None]:
        """End it; fires when all is settled."""
        self._end(reason)
        self._leave()
        return self._over

    # The session

    async def _begin(self) -> None:
        invitation, negotiation, call = self._invitation, self._negotiation, self._call
        user = SessionUser(_unwanted, on_closed=lambda session, why: self._lost())
        wish = Wish(user, (CPIM,), direction=SENDONLY)
        if invitation.described:
            offered = negotiation.read_offer(call.remote)
            place = next((at for at, one in enumerate(offered) if _usable(one)), -1)
            if place < 0:
                raise NotAcceptable("no medium is offered by which messages could be sent")
            wishes = [wish if at == place else None for at in range(len(offered))]
            answer = await negotiation.answer(call.remote, wishes)
        else:
            place = 0
            answer = negotiation.offer([wish])
        call.on_bye = lambda reason: self._left()
        call.on_offer = self._changed
        call.on_refer = declined
        await invitation.accept(answer.body, answer.content_type)
        if not invitation.described:
            await negotiation.read_answer(call.remote)
        self._medium = negotiation.media[place]
        if self._medium is None or not self._medium.accepts.takes(CPIM):
            raise NotAcceptable("no messages could be sent")

    async def _changed(self, offer: Description) -> Description:
        """The client changes the session: it may move, or hold for a while."""
        answer = await self._negotiation.confirm(offer)
        self._move()
        return answer

    def _end(self, reason: str) -> None:
        """Send nothing more."""
        self._ending = self._ending or reason
        self._stir()

    def _left(self) -> None:
        """The client has hung up; its last answers may be on their way."""
        self._end(OVER)
        self._leave()

    def _leave(self) -> None:
        self._patience = LINGER
        self._move()

    def _lost(self) -> None:
        """There is no MSRP any more."""
        self._gone = True
        self._end(_LOST)

    # Sending

    async def _send_all(self) -> None:
        try:
            while not self._ending:
                handed = await self._supply.next()
                if handed is None:
                    break
                if self._takes(handed) and await self._room(len(handed.part.content)):
                    self._send(handed)
        except OmaimError as error:
            _log.error("messages were not handed out: {why}", why=str(error))
            self._end(_BROKEN)
        while self._unsure and not self._gone:
            await self._wait()

    async def _room(self, size: int) -> bool:
        """Wait until so many octets may be sent; tell whether that came before the end."""
        while not self._ending:
            if self._fits(size):
                return True
            await self._wait()
        return False

    def _takes(self, handed: Handed) -> bool:
        """Tell whether the client can take a message; what it cannot is left where it is."""
        medium, content = self._medium, handed.part.content
        if medium is None:
            return False
        inner = wrapped_type(content)
        fits = medium.max_size is None or len(content) <= medium.max_size
        return fits and (not inner or medium.accepts.takes_wrapped(inner))

    def _fits(self, size: int) -> bool:
        medium = self._medium
        if medium is None or not medium.may_send:
            return False
        under_way = self._under_way
        total = sum(under_way.values()) + size
        return not under_way or (len(under_way) < AHEAD and total <= WINDOW)

    def _send(self, handed: Handed) -> None:
        medium, part, reference = self._medium, handed.part, handed.reference
        assert medium is not None
        size = len(part.content)
        self._under_way[reference] = size
        self._unsure.add(reference)

        def ended(status: int) -> None:
            self._under_way.pop(reference, None)
            if status == 200 and len(medium.session.remote_path) == 1:
                self._arrived(reference)
            elif status != 200:
                self._unsure.discard(reference)
                _log.info("a message was not taken: {status}", status=status)
            if status == 408:
                self._end(_LOST)
            self._move()

        def reported(report: Report) -> None:
            span = report.span
            whole = span is None or (span.start == 1 and span.end == size)
            if report.status == 200 and whole:
                self._arrived(reference)
            elif report.status != 200:
                self._unsure.discard(reference)
            self._move()

        headers = [field for field in part.headers if field[0] != "Content-Type"]
        medium.session.send(
            Outgoing(
                CPIM,
                part.content,
                headers=headers,
                success_report=True,
                on_end=ended,
                on_report=reported,
                on_progress=lambda octets: self._move(),
            )
        )

    def _arrived(self, reference: str) -> None:
        if reference in self._unsure:
            self._unsure.discard(reference)
            self._confirming += 1
            confirming = Deferred.fromCoroutine(self._supply.confirmed(reference))
            confirming.addErrback(_unconfirmed).addBoth(self._confirmed)

    def _confirmed(self, result: object) -> None:
        self._confirming -= 1
        self._stir()

    async def _let_go(self) -> None:
        """What is not known to have arrived waits again."""
        while self._confirming:
            await self._wait()
        try:
            await self._supply.close()
        except OmaimError as error:
            _log.error("messages are not free yet: {why}", why=str(error))

    # Waiting

    async def _wait(self) -> None:
        self._stirred = Deferred()
        await self._stirred

    def _stir(self) -> None:
        stirred, self._stirred = self._stirred, None
        if stirred is not None:
            stirred.callback(None)

    def _move(self) -> None:
        """Something has moved."""
        if not self._gone:
            self._alarm.deadline = self._agent.now() + self._patience
            self._agent.arm(self._alarm)
        self._stir()

    def _woken(self, now: float) -> None:
        self._gone = True
        self._end(_IDLE)


def _list_in(invitation: Invitation, media_type: str) -> bytes | None:
    """Return the list in an INVITE; ``None`` if there is none.

    Raises:
        PeerError: there is something else (415), or it cannot be read.
    """
    request = invitation.request
    if not invitation.body:
        return None
    parts = leaves(request.first("Content-Type") or "", invitation.body)
    rest = [part for part in parts if part.media_type != SDP]
    if not rest:
        return None
    if len(rest) > 1 or rest[0].media_type != media_type:
        accepted = f"multipart/mixed, {SDP}, {media_type}"
        raise Refused("this is no list of what is kept here", 415, (("Accept", accepted),))
    return rest[0].decoded()


def _usable(theirs: MessageMedia | None) -> bool:
    """Tell whether messages can be sent by a medium as its owner describes it."""
    if theirs is None or not theirs.port or theirs.direction in (SENDONLY, INACTIVE):
        return False
    return theirs.accepts.takes(CPIM)


def _unwanted(session: Session, incoming: Incoming) -> None:
    incoming.refuse(403)


def _unconfirmed(failure: Failure) -> None:
    if failure.check(OmaimError):
        _log.error("an arrived message waits again: {why}", why=failure.getErrorMessage())
    else:
        _log.failure("an arrived message waits again", failure)
