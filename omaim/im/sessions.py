"""Session mode between two: an INVITE comes in, and what becomes of it.

Read :meth:`Sessions.invited`: it is the paragraph of the specification. The server is a
back-to-back user agent: it answers the caller's INVITE and makes one of its own, along the Route
that the core gave it. MSRP passes it (IM-7, IM-8), or, where that is allowed and nobody wants
it recorded, goes from client to client (IM-9), the descriptions untouched.

Spec: OMA SIMPLE IM 1.0 (session mode, participating functions); RFC 3261; RFC 4975; RFC 7092
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger

from omaim.bodies.message_media import TLS
from omaim.errors import PeerError, UsageError
from omaim.im.answering import asked_for, decided
from omaim.im.conversation import Conversing
from omaim.im.coupling import OVER, Coupling
from omaim.im.first_message import (
    AWAY,
    AWAY_AND_KEPT,
    FirstMessages,
    MessageKept,
    is_kept,
    may_be_kept,
)
from omaim.im.guest_lists import OPTION, no_list_here
from omaim.im.journal import Journal
from omaim.im.large import LargeStore, is_large
from omaim.im.media_plan import MediaPlan, check_files, offered_lines
from omaim.im.onward import Asked, offer_in, onward, who_answers
from omaim.im.participating import TERMINATING, Leg, Mail, leg_of
from omaim.im.policy import FAILED, ISettings, Policy, Refusal, Settings
from omaim.im.recording import SESSION, Recorder
from omaim.im.sending import may_wait
from omaim.net.msrp import MsrpEndpoint
from omaim.node.events import SessionRefused
from omaim.node.hooks import Hooks, Refuse
from omaim.node.questions import MayInvite
from omaim.roles.call import Call
from omaim.roles.description import SDP, Answered, CallFailed, Description
from omaim.roles.invitation import Invitation
from omaim.roles.inviter import Inviter
from omaim.roles.listmail import Refused
from omaim.sip.answer_mode import OPTION as ANSWER_MODE
from omaim.sip.answer_mode import AnswerMode
from omaim.sip.identity import SERVED
from omaim.sip.message import RETRY_AFTER, Request, Response
from omaim.sip.uri import canonical_aor

REPLACED: Final = 'SIP;cause=200;text="replaced"'
STOPPING: Final = 'SIP;cause=503;text="the server stops"'

# What the caller may learn of why the callee refused.
_TOLD: Final = (
    "Warning", "Retry-After", "Reason", "Contact", "Accept", "Unsupported", "Allow", "Require",
    "Permission-Missing",
)  # fmt: skip

Service = Callable[[Invitation, Leg], Awaitable[object]]

_log = Logger()


class Sessions:
    """Serves INVITE for the users of one domain.

    Args:
        inviter: makes and takes the calls.
        msrp: makes the sessions.
        firsts: serves the messages that come with invitations.
        services: what serves an INVITE to each address of our own.
        finds: serves other addresses of ours, as rooms have; ``None`` for what is none. It is
            told whether the INVITE is for a service in any case: then it serves nobody.
        ours: whether an address is one of our users.
        direct: whether MSRP of a user of ours goes from client to client where nobody wants it
            recorded.
        secure_peers: offer MSRP over TLS to other domains.
        secure_clients: offer MSRP over TLS to the devices of our users.
        idle: seconds without a message after which a conversation ends; 0 for never.
        each: conversations that one user has begun, or was invited to, at a time, those that
            are being begun too; 0 for no limit.
        most_file: octets of a file that is offered or asked for; 0 for no limit.

    Attributes:
        conversations: those that go on.
        store: takes large messages for who is away; ``None`` for nobody does.
    """

    def __init__(
        self,
        domain: str,
        inviter: Inviter,
        msrp: MsrpEndpoint,
        policy: Policy,
        settings: ISettings,
        hooks: Hooks,
        firsts: FirstMessages,
        recorder: Recorder,
        journal: Journal,
        services: Mapping[str, Service],
        finds: Callable[[str, bool], Service | None],
        ours: Callable[[str], bool],
        now: Callable[[], float],
        *,
        direct: Callable[[str, str], bool] = lambda *_: False,
        secure_peers: bool = False,
        secure_clients: bool = False,
        idle: float = 300.0,
        each: int = 0,
        most_file: int = 0,
    ) -> None:
        self.conversations: set[Conversing] = set()
        self.store: LargeStore | None = None
        self._ringing: dict[Invitation, Deferred[Call]] = {}  # who is being called
        self._domain = domain
        self._inviter = inviter
        self._msrp = msrp
        self._policy = policy
        self._settings = settings
        self._hooks = hooks
        self._firsts = firsts
        self._recorder = recorder
        self._journal = journal
        self._services = services
        self._finds = finds
        self._ours = ours
        self._now = now
        self._direct = direct
        self._secure_peers = secure_peers
        self._secure_clients = secure_clients
        self._idle = idle
        self._each = each
        self._most_file = most_file
        inviter.agent.supported.add(ANSWER_MODE)
        self._beginning: set[Call] = set()  # of callers, until the conversation has begun
        self._load: Counter[tuple[str, str]] = Counter()  # conversations by user and side

    async def invited(self, invitation: Invitation) -> None:
        """Serve an INVITE: one to a service or a room of ours, or from one person to another.

        Raises:
            PeerError: it is answered with that.
        """
        request = invitation.request
        address = canonical_aor(request.uri)
        service = self._services.get(address)
        if service is None:
            service = self._finds(address, not request.has(SERVED))
        leg = leg_of(request, service is not None)
        first: Mail | None = None
        try:
            if service is not None and leg.side != TERMINATING:
                await service(invitation, leg)
                return
            _check_body(invitation)
            if OPTION in request.require:
                raise no_list_here()
            invitation.call.remote = offer_in(invitation.call.remote)
            large = invitation.described and is_large(request, invitation.call.remote)
            if invitation.described and self._most_file:
                check_files(invitation.call.remote, self._most_file)
            first = None if large else self._firsts.of(request, leg)
            self._welcome(leg, first)
            answers = () if large else self._wished(request, leg)
            await self._ask(leg, address, request)
            if first is not None:
                await self._firsts.admit(first)
            asked = Asked(invitation, leg, address, large, first, answers=tuple(answers))
            if leg.side == TERMINATING:
                await self._now_or_later(asked)
            else:
                await self._connect(asked)
        except CallFailed as failed:
            if first is not None and is_kept(failed.response.all("Warning")):
                await self._firsts.sent(first)
            _pass_refusal(invitation, failed)
            raise
        except PeerError as error:
            if first is not None and not isinstance(error, MessageKept):
                await self._firsts.refused(first, error)
            self._refused(leg, address, error)
            raise

    async def _now_or_later(self, asked: Asked) -> None:
        """Invite a user of ours; keep the message that is brought if that cannot be done now.

        Spec: OMA SIMPLE IM 1.0 (large message mode, deferred messaging)
        """
        invitation, leg, first = asked.invitation, asked.leg, asked.first
        settings: Settings = self._settings.of(leg.user)
        try:
            self._available(leg)
            await self._connect(asked)
        except PeerError as error:
            if not settings.defers or invitation.answered:
                raise
            if asked.large and self.store is not None and may_wait(error.status):
                await self.store.take(invitation, leg, self._foreign(leg, asked.callee)[0])
            elif first is not None and may_be_kept(error.status):
                raise await self._firsts.keep(first, error.status) from error
            else:
                raise

    def _wished(self, request: Request, leg: Leg) -> list[AnswerMode]:
        """Return how an INVITE is to be answered: as the caller wishes, and as the callee lets it.

        Args:
            leg: the callee's server decides.

        Raises:
            PeerError: the callee does not want it so (403), or it cannot be read.

        Spec: RFC 5373
        """
        asked = asked_for(request)
        return self._answers(asked, leg) if leg.side == TERMINATING else asked

    def _answers(self, asked: Sequence[AnswerMode], leg: Leg) -> list[AnswerMode]:
        answer = decided(asked, leg, self._settings.of(leg.user))
        return [] if answer is None else [answer]

    def admit(self, leg: Leg, asked: Sequence[AnswerMode]) -> list[AnswerMode]:
        """Make sure that a user of ours wants to be invited by somebody, now.

        Args:
            asked: how whoever invites wants to be answered.

        Returns: how it is to be answered.

        Raises:
            PeerError: 403, or 480.
        """
        self._welcome(leg)
        answers = self._answers(asked, leg)
        self._available(leg)
        return answers

    def _welcome(self, leg: Leg, first: Mail | None = None) -> None:
        """Make sure that the callee wants to be invited by the caller.

        Who is not to learn that he is unwelcome hears what he would if the callee were away.

        Args:
            first: the message that comes with the invitation.

        Raises:
            PeerError: 403, or 480 where the caller is not to learn that.

        Spec: OMA SIMPLE IM 1.0 (access policy)
        """
        if leg.side == TERMINATING and not self._policy.welcome(leg):
            settings: Settings = self._settings.of(leg.user)
            kept = first is not None and settings.defers
            raise Refusal(AWAY_AND_KEPT if kept else AWAY, 480, "")

    def _available(self, leg: Leg) -> None:
        """Make sure that the callee can be invited now.

        Raises:
            PeerError: he cannot (480).
        """
        settings: Settings = self._settings.of(leg.user)
        if leg.side == TERMINATING and not (settings.willing and leg.registered):
            raise PeerError(AWAY, 480)

    async def _ask(self, leg: Leg, callee: str, request: Request) -> None:
        if not self._hooks.wanted(MayInvite):
            return
        opinion = await self._hooks.ask(
            MayInvite(
                domain=self._domain,
                side="terminating" if leg.side == TERMINATING else "originating",
                caller=leg.shown,
                callee=callee,
                subject=request.first("Subject") or "",
            )
        )
        if isinstance(opinion, Refuse):
            raise Refusal(opinion.reason, opinion.status)

    # Both calls

    async def _connect(self, asked: Asked) -> None:
        """Invite the callee as the caller invited us, and bring both together."""
        invitation, leg = asked.invitation, asked.leg
        if invitation.answered:  # given up while it was asked whether he may
            raise CallFailed(invitation.request.response(487), True)
        if self._each and self._load[leg.user, leg.side] >= self._each:
            raise Refusal("102 Too many sessions of one user", 486)
        direct = not asked.large and self._is_direct(leg, asked.callee)
        self._beginning.add(invitation.call)
        self._load[leg.user, leg.side] += 1
        try:
            if invitation.described:
                await self._with_offer(asked, direct)
            else:
                await self._without_offer(asked, direct)
        finally:
            self._begun(invitation.call, leg)
        replaced = invitation.replaces
        if replaced is not None and isinstance(replaced.context, Coupling):
            replaced.context.end(REPLACED)

    async def _with_offer(self, asked: Asked, direct: bool) -> None:
        """The caller's offer goes on, or ours in its place; the callee's answer comes back."""
        invitation, leg, callee = asked.invitation, asked.leg, asked.callee
        offer = invitation.call.remote
        plan: MediaPlan | None = None
        if not direct:
            secure = self._onward_secure(leg, callee, offer)
            plan = MediaPlan(self._msrp, offer, secure, mutual=self._foreign(leg, callee))
        try:
            far, asked = await self._invite_somehow(asked, plan)
        except BaseException:
            if plan is not None:
                plan.close("nobody came")
            raise
        meeting = self._meeting(asked, far)
        meeting.plan = plan
        try:
            answer = far.remote if plan is None else await plan.answer(far.remote)
            await self._begin(meeting)
            if asked.apart and plan is not None:
                self._say(asked, plan)
            await invitation.accept(
                answer.body, answer.content_type, who_answers(self._inviter, far)
            )
        except BaseException as error:
            meeting.end(_cause(error))
            raise

    async def _invite_somehow(self, asked: Asked, plan: MediaPlan | None) -> tuple[Call, Asked]:
        """Invite the callee; once more without the message of one that takes no such body.

        Where MSRP does not pass here, that is for the caller to do: it alone can say it then.

        Raises:
            CallFailed: see :meth:`_invite`.

        Spec: RFC 3261 §21.4.13; RFC 5621 §3.3
        """
        offer = asked.invitation.call.remote if plan is None else plan.offer()
        try:
            return await self._invite(asked, offer), asked
        except CallFailed as failed:
            device = asked.leg.side == TERMINATING
            if failed.status != 415 or asked.first is None or plan is None or not device:
                raise
        apart = attrs.evolve(asked, apart=True)
        return await self._invite(apart, offer), apart

    def _say(self, asked: Asked, plan: MediaPlan) -> None:
        """Say the message that came with the invitation before anything else is said."""
        first = asked.first
        assert first is not None

        def ended(status: int) -> None:
            if status not in (0, 200):
                error = Refusal("the recipient does not take it", status, FAILED)
                telling = Deferred.fromCoroutine(self._firsts.refused(first, error))
                telling.addErrback(lambda failure: _log.failure("it was not reported", failure))

        if not plan.say(first.content, ended):
            ended(415)

    async def _without_offer(self, asked: Asked, direct: bool) -> None:
        """The callee makes the offer; the caller's answer, in the ACK, goes on in ours.

        Spec: RFC 3261 §13.2.1, §13.2.2.4
        """
        invitation, leg, callee = asked.invitation, asked.leg, asked.callee
        answered: Deferred[Description] = Deferred()
        offers: list[Description] = []

        def offered(offer: Description) -> Deferred[Description]:
            offers.append(offer)
            return answered

        far = await self._invite(asked, Description(), offered)
        meeting = self._meeting(asked, far)
        try:
            if not offers:
                raise PeerError("the callee has made no offer", 488)
            said = offers[0]
            plan: MediaPlan | None = None
            if not direct:
                secure = self._backward_secure(leg, callee)
                foreign = self._foreign(leg, callee)
                plan = meeting.plan = MediaPlan(self._msrp, said, secure, False, foreign)
                said = plan.offer()
            await self._begin(meeting)
            near = await invitation.accept(
                said.body, said.content_type, who_answers(self._inviter, far)
            )
            answer = near.remote
            if not answer.body:
                raise PeerError("the ACK holds no answer", 488)
            if plan is not None:
                answer = await plan.answer(answer)
            answered.callback(answer)
        except BaseException as error:
            if offers and not answered.called:
                answered.errback(PeerError("the caller has no answer", 488))
            meeting.end(_cause(error))
            raise

    def _meeting(self, asked: Asked, far: Call) -> Conversing:
        """Return the conversation of two who are about to have one."""
        invitation = asked.invitation
        conversing = Conversing(
            asked.leg,
            asked.callee,
            invitation.request,
            self._recorder,
            self._journal,
            self._now,
            self._over,
            self._inviter.agent,
            asked.large,
        )
        conversing.first = asked.first
        conversing.most_file = self._most_file
        conversing.signed = self._policy.check_author
        conversing.coupling = Coupling(invitation.call, far, conversing.ended)
        return conversing

    async def _begin(self, conversing: Conversing) -> None:
        await conversing.begin(self._hooks, self._domain, self._idle)
        self.conversations.add(conversing)
        self._load[conversing.leg.user, conversing.leg.side] += 1
        if conversing.coupling is not None:
            self._begun(conversing.coupling.near, conversing.leg)

    def _is_direct(self, leg: Leg, callee: str) -> bool:
        """Tell whether nobody needs what is said to pass here (IM-9)."""
        return self._direct(leg.sender, callee) and not self._recorder.wants(leg.user, SESSION)

    def _foreign(self, leg: Leg, callee: str) -> tuple[bool, bool]:
        """Tell of caller and callee whether the server of another domain has to prove itself.

        Where sessions may go from client to client, it is the client that connects.

        Spec: OMA SIMPLE IM 1.0 (IM-8)
        """
        if not self._secure_peers or self._direct(leg.sender, callee):
            return False, False
        terminating = leg.side == TERMINATING
        return (
            terminating and not self._ours(leg.sender),
            not terminating and not self._ours(callee),
        )

    def _onward_secure(self, leg: Leg, callee: str, offer: Description) -> bool:
        """Tell whether the next leg is offered over TLS."""
        if leg.side == TERMINATING:
            return self._secure_clients
        if not self._ours(callee):
            direct = self._direct(leg.sender, callee)
            return self._secure_clients if direct else self._secure_peers
        return any(line.protocol == TLS for line in offered_lines(offer))

    def _backward_secure(self, leg: Leg, callee: str) -> bool:
        """Tell whether the leg that the INVITE came by is offered over TLS."""
        direct = self._direct(leg.sender, callee)
        if leg.side == TERMINATING and not self._ours(leg.sender) and not direct:
            return self._secure_peers
        return self._secure_clients

    async def _invite(
        self,
        asked: Asked,
        offer: Description,
        on_offer: Callable[[Description], Answered] | None = None,
    ) -> Call:
        """Send our INVITE; return the call when the callee has accepted.

        Raises:
            CallFailed: the callee did not, or the caller has given up.
        """
        invitation = asked.invitation
        whole = not offer.body or offer == invitation.call.remote
        inviting = Deferred.fromCoroutine(
            self._inviter.invite(
                "",
                request=onward(self._inviter, asked, offer),
                provisional=lambda response: _ring(invitation, response, whole),
                on_offer=on_offer,
                redirections=0,
            )
        )
        self._ringing[invitation] = inviting
        invitation.on_cancel = lambda _: inviting.cancel()
        try:
            far = await inviting
        except CancelledError:
            raise CallFailed(invitation.request.response(487), True) from None
        finally:
            del self._ringing[invitation]
        far.local = offer  # what a refresh repeats has nothing beside it
        return far

    # The end

    def close(self) -> Deferred[Any]:
        """End all conversations: the server stops. Fires when the parties know."""
        for invitation, inviting in list(self._ringing.items()):
            invitation.reject(503, [("Retry-After", RETRY_AFTER)])
            inviting.cancel()
        return DeferredList([one.end(STOPPING) for one in list(self.conversations)])

    def _over(self, conversing: Conversing) -> None:
        if conversing in self.conversations:
            self.conversations.remove(conversing)
            self._less(conversing.leg)

    def _begun(self, call: Call, leg: Leg) -> None:
        """A conversation counts as one that goes on from now on, or came to nothing."""
        if call in self._beginning:
            self._beginning.remove(call)
            self._less(leg)

    def _less(self, leg: Leg) -> None:
        key = leg.user, leg.side
        self._load[key] -= 1
        if self._load[key] <= 0:
            del self._load[key]

    def _refused(self, leg: Leg, callee: str, error: PeerError) -> None:
        self._journal.publish(
            [
                SessionRefused(
                    at=self._now(),
                    entity=self._journal.entity,
                    caller=leg.sender,
                    callee=callee,
                    status=error.status,
                    why=error.why,
                )
            ]
        )


def _pass_refusal(invitation: Invitation, failed: CallFailed) -> None:
    """Tell the caller what the callee said."""
    if not invitation.answered:
        response = failed.response
        told = [(name, value) for name in _TOLD for value in response.all(name)]
        invitation.reject(response.status, told)


def _check_body(invitation: Invitation) -> None:
    """Make sure that a body which is no session can be left alone.

    Raises:
        PeerError: 415, it cannot.

    Spec: RFC 3261 §8.2.3, §20.11
    """
    request = invitation.request
    coding = (request.first("Content-Encoding") or "identity").strip().lower()
    if coding != "identity":
        raise Refused("no encoding is understood", 415, (("Accept-Encoding", "identity"),))
    optional = "handling=optional" in (request.first("Content-Disposition") or "").lower()
    if invitation.body and not (invitation.described or optional):
        accepted = f"{SDP}, multipart/mixed"
        raise Refused("the body describes no session", 415, (("Accept", accepted),))


def _cause(error: BaseException) -> str:
    return f"SIP;cause={error.status}" if isinstance(error, PeerError) else OVER


def _ring(invitation: Invitation, response: Response, whole: bool) -> None:
    """Tell the caller that the callee rings; with its description if that is not ours."""
    if response.status <= 100 or invitation.answered:
        return
    body = response.body if whole else b""
    kind = response.first("Content-Type") or ""
    try:
        invitation.ring(response.status, body=body, content_type=kind)
    except UsageError:
        _log.info("who calls does not acknowledge that it rings")
