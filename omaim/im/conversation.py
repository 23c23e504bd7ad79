"""One conversation between two that passes the server: from its beginning to its end.

Spec: OMA SIMPLE IM 1.0 (session mode: policy, history, idle timer); RFC 5438, RFC 3994
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.bodies.cpim import MEDIA_TYPE as CPIM
from omaim.errors import PeerError
from omaim.im.bridge import Side
from omaim.im.content import Content
from omaim.im.coupling import Coupling
from omaim.im.journal import Journal
from omaim.im.media_plan import MediaPlan, check_files
from omaim.im.participating import TERMINATING, Leg, Mail, as_message
from omaim.im.policy import Refusal, check_author
from omaim.im.recording import Recorder, too_large
from omaim.msrp import Incoming
from omaim.node.events import MessageAccepted, ServiceEvent, SessionEnded, SessionStarted
from omaim.node.hooks import Deliver, Hooks, Refuse
from omaim.node.questions import MayPost
from omaim.roles.description import Description
from omaim.roles.mending import Mending
from omaim.roles.user_agent import UserAgent
from omaim.sip.charging import charging_vector
from omaim.sip.message import Request
from omaim.timers import NEVER, Alarm

LARGEST: Final = 1_048_576  # octets of a message that is recorded
IDLE: Final = 'SIP;cause=200;text="nobody said anything"'
LAST_WORDS: Final = 1.0  # seconds for what is to be told before the calls end
LOST: Final = 'SIP;cause=503;text="the MSRP connection is lost"'

_log = Logger()


class Conversing:
    """What the server knows of one conversation.

    Args:
        leg: whose side of it we serve.
        callee: canonical address.
        invite: the caller's INVITE.
        now: seconds since the epoch.
        on_over: told once when it has ended.
        large: it is there for one large message only.

    Attributes:
        coupling: of its calls.
        plan: of its media, if they pass here.
        signed: the CPIM From of what the caller says has to be an identity of his.
        first: the message that came with the invitation; ``None`` without.
        most_file: octets of a file that is added; 0 for no limit.
    """

    def __init__(
        self,
        leg: Leg,
        callee: str,
        invite: Request,
        recorder: Recorder,
        journal: Journal,
        now: Callable[[], float],
        on_over: Callable[[Conversing], object],
        agent: UserAgent,
        large: bool = False,
    ) -> None:
        self.leg = leg
        self.callee = callee
        self._subject = invite.first("Subject") or ""
        self._icid = _icid(invite)
        self._recorder = recorder
        self._journal = journal
        self._now = now
        self._on_over = on_over
        self._agent = agent
        self._large = large
        self._invite = invite
        self._reference = ""
        self.coupling: Coupling | None = None
        self.plan: MediaPlan | None = None
        self.signed = False
        self.first: Mail | None = None
        self.most_file = 0
        self._hooks: Hooks | None = None
        self._domain = ""
        self._idle = 0.0
        self._alarm = Alarm(self._woken)
        self._mending: tuple[Mending, ...] = ()
        self._heard_at = 0.0
        self._begun_at = 0.0
        self._messages = 0
        self._octets = 0
        self._over = False

    async def begin(self, hooks: Hooks, domain: str, idle: float) -> None:
        """The callee has accepted: write that down, durably, and look after what follows.

        Raises:
            PeerError: the callee has hung up meanwhile (480).
            Unavailable: a store cannot answer.
        """
        coupling, plan = self.coupling, self.plan
        assert coupling is not None
        self._hooks, self._domain = hooks, domain
        leg, now = self.leg, self._now()
        peer = leg.shown if leg.side == TERMINATING else self.callee
        participants = (leg.shown, self.callee)
        if plan is not None:
            if not self._large:
                self._reference = await self._recorder.begin(
                    leg.user, peer, participants, self._subject, now
                )
                await self._record_first()
            self._listen(plan, hooks)
            coupling.near.on_offer = lambda offer: self._changed(True, offer)
            coupling.far.on_offer = lambda offer: self._changed(False, offer)
            plan.on_lost = lambda why: coupling.end(LOST)
            if not self._large:
                self._mending = tuple(self._mender(near) for near in (False, True))
                plan.on_broken = lambda near: self._mending[near].broken(not near)
            if idle:
                self._idle = idle
                self._heard_at = self._agent.now()
                self._alarm.deadline = self._heard_at + idle
                self._agent.arm(self._alarm)
        else:
            coupling.relay_offers()
        if self._large:
            if coupling.over:
                raise PeerError("the callee has hung up meanwhile", 480)
            return
        started = SessionStarted(
            at=now,
            entity=self._journal.entity,
            icid=self._icid,
            side=leg.side,
            caller=leg.sender,
            callee=self.callee,
            subject=self._subject,
            direct=plan is None,
        )
        await self._journal.append([started], leg.user)
        self._begun_at = now
        if coupling.over:
            await self._write_end("")
            raise PeerError("the callee has hung up meanwhile", 480)

    async def _record_first(self) -> None:
        first = self.first
        if first is not None:
            content, size = first.content, len(first.content.body)
            self._messages += 1
            self._octets += size
            if size <= LARGEST:
                await self._recorder.message(
                    self.leg.user,
                    self._reference,
                    self.leg.shown,
                    self.callee,
                    content.content_type,
                    content.body,
                    first.message_id,
                    first.sent_at,
                )

    def _listen(self, plan: MediaPlan, hooks: Hooks) -> None:
        listener = plan.listener
        listener.passed = self._passed
        listener.heard = self._heard
        listener.after = self._after
        if self.signed and self.leg.side != TERMINATING and not is_focus(self._invite):
            listener.judge = self._judge
        if hooks.wanted(MayPost):
            listener.ask = self._ask
        if self._large:
            listener.settle, listener.most = self._said, self._recorder.most
            listener.through = True
        elif self._reference:
            listener.settle, listener.most = self._keep, LARGEST

    def _judge(self, side: Side, content: Content) -> None:
        """Have the caller, whom we serve, write in nobody else's name.

        Raises:
            PeerError: it does.
        """
        if side is side.bridge.near and content.media_type == CPIM:
            check_author(content, self.leg)

    async def _ask(self, side: Side, content: Content, size: int) -> Content:
        """Let features decide about a message that the served user says or hears.

        Raises:
            Refusal: one of them does not want it.
        """
        assert self._hooks is not None
        speaker, hearer = self._parties(side)
        if content.is_report or content.is_composing:
            return content
        opinion = await self._hooks.ask(
            MayPost(
                domain=self._domain,
                side="terminating" if self.leg.side == TERMINATING else "originating",
                sender=speaker,
                recipients=(hearer,),
                content_type=content.inner.media_type,
                text=content.text,
                size=len(content.inner.content) or size,
            )
        )
        if isinstance(opinion, Refuse):
            raise Refusal(opinion.reason, 403)
        if isinstance(opinion, Deliver) and content.body and opinion.text != content.text:
            return content.with_text(opinion.text)
        return content

    async def _keep(
        self, side: Side, incoming: Incoming, content: Content | None, size: int
    ) -> None:
        """Record a message of the session."""
        if content is None:
            content = Content(*too_large(incoming.content_type, size))
        speaker, hearer = self._parties(side)
        await self._recorder.message(
            self.leg.user,
            self._reference,
            speaker,
            hearer,
            content.content_type,
            content.body,
            incoming.message_id,
        )

    async def _said(
        self, side: Side, incoming: Incoming, content: Content | None, size: int
    ) -> None:
        """Record the large message, and write down that it was accepted."""
        leg, now = self.leg, self._now()
        speaker, hearer = self._parties(side)
        mail = Mail(
            as_message(self._invite, content or Content(incoming.content_type, b"")), leg, "", now
        )
        if content is not None:
            await self._recorder.keep(
                leg.user,
                speaker if leg.side == TERMINATING else hearer,
                speaker,
                (hearer,),
                content,
                mail.message_id,
                mail.sent_at,
                self._subject,
            )
        facts: list[ServiceEvent] = [
            MessageAccepted(
                at=now,
                entity=self._journal.entity,
                icid=self._icid,
                message_id=mail.message_id,
                side=leg.side,
                sender=leg.sender,
                recipients=(self.callee,),
                content_type=incoming.content_type.partition(";")[0].strip().lower(),
                size=size,
            )
        ]
        await self._journal.append(facts, leg.user)

    def _parties(self, side: Side) -> tuple[str, str]:
        """Return who speaks and who hears what comes by a side."""
        caller, callee = self.leg.shown, self.callee
        return (caller, callee) if side is side.bridge.near else (callee, caller)

    def _passed(self, side: Side, octets: int) -> None:
        self._messages += 1
        self._octets += octets
        self._heard()

    def _heard(self) -> None:
        self._heard_at = self._agent.now()

    async def _changed(self, near: bool, offer: Description) -> Description:
        """A party changes the session."""
        coupling, plan = self.coupling, self.plan
        assert coupling is not None
        assert plan is not None
        call = coupling.near if near else coupling.far
        if offer.body:
            if self.most_file:
                check_files(offer, self.most_file)
            return await plan.changed(near, offer, coupling.reinviter(call))
        call.on_answer = lambda answer: self._answered(near, answer)
        return plan.again(near)

    def _answered(self, near: bool, answer: Description) -> None:
        """A party has answered what it had asked for."""
        coupling, plan = self.coupling, self.plan
        assert coupling is not None
        assert plan is not None
        call = coupling.near if near else coupling.far
        call.on_answer = None
        taking = Deferred.fromCoroutine(
            plan.answered(near, answer, coupling.reinviter(call, patient=True))
        )
        taking.addErrback(self._not_taken)

    def _not_taken(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, PeerError):
            _log.failure("an answer was not understood", failure)
        self.end(f"SIP;cause={error.status if isinstance(error, PeerError) else 500}")

    def _mender(self, near: bool) -> Mending:
        """Return what looks after the session of the caller, or of the callee."""
        coupling, plan = self.coupling, self.plan
        assert coupling is not None
        assert plan is not None
        call = coupling.near if near else coupling.far

        def reinvite(offer: Description) -> Awaitable[Description]:
            return call.reinvite(offer.body, offer.content_type, wait=False)

        return Mending(
            self._agent,
            lambda: plan.broken(near),
            lambda: plan.renew(near, reinvite),
            self._give_up,
        )

    def _give_up(self) -> None:
        """A session is lost for good: tell who has said something, then end both calls."""
        for one in self._mending:
            one.stop()
        if self.plan is not None:
            self.plan.give_up()
        self._after(LAST_WORDS, lambda: self.end(LOST))

    # The end

    def end(self, reason: str) -> Deferred[Any]:
        """End both calls; fires when the parties know."""
        return succeed(None) if self.coupling is None else self.coupling.end(reason)

    def ended(self, reason: str) -> None:
        """Both calls are over, or nothing came of them."""
        if self._over:
            return
        self._over = True
        self._alarm.deadline = NEVER
        for one in self._mending:
            one.stop()
        if self.plan is not None:
            self.plan.close("the conversation is over")
        self._on_over(self)
        if self._begun_at and not self._large:
            Deferred.fromCoroutine(self._write_end(reason)).addErrback(_not_written)

    async def _write_end(self, reason: str) -> None:
        leg, now = self.leg, self._now()
        if self._reference:
            await self._recorder.end(leg.user, self._reference, now)
        ended = SessionEnded(
            at=now,
            entity=self._journal.entity,
            icid=self._icid,
            side=leg.side,
            caller=leg.sender,
            callee=self.callee,
            seconds=now - self._begun_at,
            messages=self._messages,
            octets=self._octets,
            why=reason,
        )
        await self._journal.append([ended], leg.user)

    def _after(self, seconds: float, act: Callable[[], object]) -> Alarm:
        def ring(now: float) -> None:
            act()

        alarm = Alarm(ring)
        alarm.deadline = self._agent.now() + seconds
        self._agent.arm(alarm)
        return alarm

    def _woken(self, now: float) -> None:
        if now >= self._heard_at + self._idle:
            self.end(IDLE)
            return
        self._alarm.deadline = self._heard_at + self._idle
        self._agent.arm(self._alarm)


def is_focus(invite: Request) -> bool:
    """Tell whether a caller hosts a conference, in which it passes on what others say.

    Who is invited knows that, and whose conference it is (RFC 4579 §5.1).
    """
    return any(one.params.has("isfocus") for one in invite.contacts)


def _icid(request: Request) -> str:
    try:
        vector = charging_vector(request)
    except PeerError:
        return ""
    return "" if vector is None else vector.icid


def _not_written(failure: Failure) -> None:
    _log.error("the end of a conversation is not recorded: {why}", why=failure.getErrorMessage())
