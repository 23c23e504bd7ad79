"""Pager mode: what happens to one MESSAGE.

Read :meth:`Pager.receive`: it is the paragraph of the specification.

Spec: RFC 3428; OMA SIMPLE IM 1.0 (participating functions)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import PeerError
from omaim.im.deferred import Deferring
from omaim.im.delivery import Delivery
from omaim.im.journal import Journal
from omaim.im.participating import LIST, TERMINATING, Leg, Mail, Served, leg_of
from omaim.im.policy import FORBIDDEN, Policy, Refusal
from omaim.im.reachability import BEHIND, NOW, Reachability
from omaim.im.recording import Recorder
from omaim.im.reports import Reports
from omaim.im.sending import Errand, Sending, may_wait
from omaim.node.events import MessageAccepted, MessageDelivered, MessageRefused, ServiceEvent
from omaim.node.hooks import Deliver, Hooks, Refuse
from omaim.node.questions import MayPost
from omaim.sip.identity import SERVED, VECTOR
from omaim.sip.message import Request, Response
from omaim.sip.uri import canonical_aor
from omaim.stores.records import DeferredMessage

Service = Callable[[Mail], Awaitable[Served]]

_log = Logger()


class Pager:
    """Serves MESSAGE for the users of one domain.

    Args:
        services: what serves a MESSAGE to each address of our own.
        finds: serves other addresses of ours, as groups have; ``None`` for what is none. It is
            told whether the MESSAGE is for a service in any case: then it serves nobody.
        now: seconds since the epoch.

    Attributes:
        is_repeat: whether a message may be one that was kept when it came otherwise.
    """

    def __init__(
        self,
        domain: str,
        policy: Policy,
        hooks: Hooks,
        reachability: Reachability,
        sending: Sending,
        deferring: Deferring,
        delivery: Delivery,
        reports: Reports,
        recorder: Recorder,
        journal: Journal,
        services: Mapping[str, Service],
        finds: Callable[[str, bool], Service | None],
        now: Callable[[], float],
    ) -> None:
        self._domain = domain
        self._policy = policy
        self._hooks = hooks
        self._reachability = reachability
        self._sending = sending
        self._deferring = deferring
        self._delivery = delivery
        self._reports = reports
        self._recorder = recorder
        self._journal = journal
        self._services = services
        self._finds = finds
        self._now = now
        self.is_repeat: Callable[[Mail], bool] = lambda mail: False

    async def receive(self, request: Request, tag: str) -> Response:
        """Pass a message on, explode it, or keep it for later; return the answer.

        Args:
            request: our own Route is off it.
            tag: the To tag of an answer of ours.

        Raises:
            PeerError: it is answered with that.
            Unavailable: a store cannot answer, so that nothing may be promised.
        """
        address = canonical_aor(request.uri)
        service = self._services.get(address)
        if service is None:
            service = self._finds(address, not request.has(SERVED))
        mail = Mail(request, leg_of(request, service is not None), tag, self._now())
        try:
            if not self._policy.admit(mail):
                return mail.response(202)  # the blocked do not learn that they are
            if mail.leg.side == TERMINATING:
                await self.ask(mail, mail.leg, (mail.leg.user,))
                return await self._to_recipient(mail)
            if service is not None:
                return mail.response((await self.serve(mail, service)).status)
            await self.ask(mail, mail.leg, (mail.recipient,))
            return await self._from_sender(mail)
        except PeerError as error:
            await self.refused(mail, error)
            raise

    async def admit(self, mail: Mail) -> None:
        """Make sure that a message that comes otherwise than by MESSAGE may go on.

        Raises:
            PeerError: it may not.
        """
        if not self._policy.admit(mail):
            raise Refusal("the recipient is not available", 480, "")
        await self.ask(mail, mail.leg, (mail.recipient,))

    async def ask(self, mail: Mail, leg: Leg, recipients: tuple[str, ...]) -> None:
        """Let service features decide: they may refuse a message, or change its text.

        Raises:
            Refusal: one of them does not want it.
        """
        if not self._hooks.wanted(MayPost):
            return
        inner = mail.content.inner
        opinion = await self._hooks.ask(
            MayPost(
                domain=self._domain,
                side="terminating" if leg.side == TERMINATING else "originating",
                sender=leg.shown,
                recipients=recipients,
                content_type=inner.media_type,
                text=mail.content.text,
                size=len(inner.content),
            )
        )
        if isinstance(opinion, Refuse):
            disposition = FORBIDDEN if opinion.status < 500 else ""
            raise Refusal(opinion.reason, opinion.status, disposition)
        if isinstance(opinion, Deliver) and opinion.text != mail.content.text:
            mail.content = mail.content.with_text(opinion.text)
            mail.changed = True

    # The three ways

    async def _from_sender(self, mail: Mail) -> Response:
        """Serve the sender: pass the message on, and note that it was accepted."""
        response = await self._sending.pass_on(mail)
        if response.status < 300:
            recipients = (mail.recipient,)
            facts = [self.accepted(mail, recipients), *self._recorder.sent(mail, recipients)]
            await self._journal.append(facts, mail.leg.user)
        return response

    async def serve(self, mail: Mail, service: Service, large: bool = False) -> Served:
        """Serve a message to the server itself: to many, or a wish about deferred messages.

        Args:
            large: it came as a large message.

        Raises:
            PeerError: the service does not want it.
            Unavailable: a store cannot answer, so that nothing may be promised.
        """
        served = await service(mail)
        if served.recipients or served.named:
            to = served.recipients if served.named is None else served.named
            facts: list[ServiceEvent] = [self.accepted(mail, served.recipients, LIST)]
            sender = mail.leg.sender
            if large:
                await self._recorder.keep(
                    sender,
                    mail.recipient,
                    sender,
                    to,
                    mail.content,
                    mail.message_id,
                    mail.sent_at,
                    mail.request.first("Subject") or "",
                )
            else:
                facts += self._recorder.sent(mail, to)
            await self._journal.append(facts, sender)
        return served

    async def _to_recipient(self, mail: Mail) -> Response:
        """Serve the recipient: now, or later."""
        choice = self._reachability.choose(mail)
        keeps = self._reachability.keeps(mail)
        if keeps and choice == NOW and self.is_repeat(mail):
            choice = BEHIND  # the store knows whether it is
        errand: Errand | None = None
        if choice == NOW:
            errand = await self._sending.deliver(mail, patient=not keeps)
            response = errand.response
            if response is not None and not (keeps and may_wait(response.status)):
                return await self._answered(mail, response)
        elif not keeps:
            raise PeerError("the recipient is not available", 480)
        facts = [self.accepted(mail, (mail.leg.user,)), *self._recorder.received(mail)]
        under_way = errand is not None and errand.response is None
        message = await self._deferring.keep(mail, facts, under_way)
        if message is not None:
            await self._follow(message, errand)
            await self._deferring.report_stored(message)
        user = mail.leg.user
        if choice == BEHIND or (not mail.leg.registered and self._delivery.has_just_arrived(user)):
            self._delivery.kick(user)
        return mail.response(202)

    async def _answered(self, mail: Mail, response: Response) -> Response:
        """Pass on what the recipient's device said, and note a delivery."""
        answer = self._sending.upstream(mail, response)
        if answer.status < 300:
            user = mail.leg.user
            facts = [self.accepted(mail, (user,)), self._delivered(mail)]
            await self._journal.append([*facts, *self._recorder.received(mail)], user)
        return answer

    async def _follow(self, message: DeferredMessage, errand: Errand | None) -> None:
        """See to it that a message that is still on its way is not sent a second time."""
        name = message.attempt
        if errand is None:
            return
        if errand.response is not None:
            if name:  # it came while the message was being stored
                await self._delivery.late(message, name, errand.response)
            else:
                self._delivery.failed(message.recipient, errand.response.status)
            return

        def late(response: Response) -> None:
            Deferred.fromCoroutine(self._delivery.late(message, name, response)).addErrback(
                _unfollowed
            )

        errand.on_late = late

    # What is said of it

    async def refused(self, mail: Mail, error: PeerError) -> None:
        """Note that a message goes no further, and report it to a sender who wants to know."""
        leg = mail.leg
        self._journal.publish(
            [
                MessageRefused(
                    at=self._now(),
                    entity=self._journal.entity,
                    message_id=mail.request.call_id,
                    sender=leg.sender,
                    recipient=mail.recipient,
                    status=error.status,
                    why=error.why,
                )
            ]
        )
        if isinstance(error, Refusal) and error.disposition:
            recipient = leg.user if leg.side == TERMINATING else ""
            charging = mail.request.first(VECTOR) or ""
            await self._reports.send(
                mail.content,
                error.disposition,
                leg.sender,
                recipient,
                charging,
                self._delivery.post,
            )

    def accepted(self, mail: Mail, recipients: tuple[str, ...], side: str = "") -> ServiceEvent:
        """Return the fact that a message was taken for these recipients."""
        content = mail.content
        return MessageAccepted(
            at=self._now(),
            entity=self._journal.entity,
            icid=mail.icid,
            message_id=content.message_id or mail.request.call_id,
            side=side or mail.leg.side,
            sender=mail.leg.sender,
            recipients=recipients,
            content_type=content.media_type,
            size=len(content.body),
        )

    def _delivered(self, mail: Mail) -> ServiceEvent:
        return MessageDelivered(
            at=self._now(),
            entity=self._journal.entity,
            icid=mail.icid,
            message_id=mail.content.message_id or mail.request.call_id,
            sender=mail.leg.sender,
            recipient=mail.leg.user,
            deferred=False,
        )


def _unfollowed(failure: Failure) -> None:
    _log.failure("a late answer was not understood", failure)
