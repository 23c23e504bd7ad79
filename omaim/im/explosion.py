"""One message for many: a copy for each is in the store before its sender hears that it is taken.

Who the recipients are, and what each copy says, is for :mod:`omaim.im.lists` and
:mod:`omaim.im.group_mail` to tell. Each copy is a row of its own in the store, its body too.

Spec: RFC 5365 §7; RFC 5363; OMA SIMPLE IM 1.0 (controlling function)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredList

from omaim.errors import PeerError, Unavailable
from omaim.im.content import Content
from omaim.im.deferred import Deferring
from omaim.im.delivery import Delivery
from omaim.im.participating import TERMINATING, Leg, Mail
from omaim.im.policy import FAILED, FORBIDDEN, Policy, Refusal
from omaim.im.recording import Recorder
from omaim.im.reports import Reports
from omaim.im.sending import with_content
from omaim.node.events import ServiceEvent
from omaim.sip.identity import VECTOR
from omaim.sip.message import Request
from omaim.stores.interfaces import QuotaExceeded
from omaim.stores.records import DeferredMessage

AT_A_TIME: Final = 100  # copies that are being stored
OCTETS: Final = 8_388_608  # of their bodies; a larger one is stored alone

Ask = Callable[[Mail, Leg, tuple[str, ...]], Awaitable[None]]


@attrs.frozen
class Copy:
    """The message for one recipient."""

    recipient: str  # canonical
    request: Request
    group: str = ""  # by which the recipient gets it


@attrs.frozen
class Explosion:
    """Takes charge of copies.

    Args:
        ask: what :meth:`omaim.im.pager.Pager.ask` is.
        ours: whether an address is one of our users, whose terminating function we are.
    """

    policy: Policy
    deferring: Deferring
    delivery: Delivery
    reports: Reports
    recorder: Recorder
    ask: Ask
    ours: Callable[[str], bool]

    async def take(
        self, mail: Mail, copies: Iterable[Copy], *, name: str = "", large: bool = False
    ) -> None:
        """Store a copy for each recipient, once, and begin to deliver.

        Args:
            mail: what was sent.
            copies: are made as they are stored, a bounded number at a time.
            name: Message-ID of the copies, if they have another than ``mail``.
            large: it came as a large message.

        Raises:
            PeerError: what is inside is broken, for everybody alike.
            Unavailable: not all are kept; those that are, are known again when the sender
                repeats the message.
        """
        seen: set[str] = set()
        waiting: list[Deferred[None]] = []
        size = 0
        for copy in copies:
            if copy.recipient in seen:  # the same person by another spelling
                continue
            seen.add(copy.recipient)
            waiting.append(Deferred.fromCoroutine(self._take(mail, copy, name, large)))
            size += len(copy.request.body)
            if len(waiting) >= AT_A_TIME or size >= OCTETS:
                await _all(waiting)
                waiting, size = [], 0
        await _all(waiting)

    async def _take(self, mail: Mail, copy: Copy, name: str, large: bool) -> None:
        """Store the copy for one recipient, unless its policy is against it."""
        request, recipient = copy.request, copy.recipient
        own = self.ours(recipient)
        recorded: tuple[ServiceEvent, ...] = ()
        sent = mail.leg
        leg = Leg(TERMINATING, recipient, sent.sender, True, sent.hidden, sent.identities)
        if own:
            if not await self._welcome(mail, request, leg):
                return
            if not large:
                content = Content.of(request)
                recorded = self.recorder.received(mail, leg, content, copy.group)
        message = self.deferring.record(mail, recipient, request)
        if name:
            message = attrs.evolve(message, message_id=name)
        try:
            added = await self.delivery.add(message, recorded)
        except QuotaExceeded:
            await self._report(mail, request, recipient, FAILED)
            return
        if own and large:
            await self.recorder.keep(
                recipient,
                leg.shown,
                leg.shown,
                (copy.group or recipient,),
                Content.of(request),
                mail.message_id,
                mail.sent_at,
                message.subject,
            )
        if added.duplicate:
            return
        if own:
            self.delivery.on_waiting(message, self._stored)
        self.delivery.kick(recipient)

    async def _welcome(self, mail: Mail, request: Request, leg: Leg) -> bool:
        """Serve the recipient's side: its policy, and the service features there."""
        recipient = leg.user
        own = Mail(request, leg, mail.tag, mail.at)
        try:
            if not self.policy.welcome(leg):
                return False
            await self.ask(own, leg, (recipient,))
        except Refusal as error:
            await self._report(mail, request, recipient, error.disposition or FORBIDDEN)
            return False
        if own.changed:
            with_content(request, own.content)
        return True

    async def _report(self, mail: Mail, request: Request, recipient: str, what: str) -> None:
        await self.reports.send(
            Content.of(request),
            what,
            mail.leg.sender,
            recipient,
            request.first(VECTOR) or "",
            self.delivery.post,
        )

    def _stored(self, message: DeferredMessage) -> Deferred[None]:
        return Deferred.fromCoroutine(self.deferring.report_stored(message))


async def _all(waiting: list[Deferred[None]]) -> None:
    """Wait for all; the first fault of the sender counts, then the first of ours."""
    outcomes: list[tuple[bool, Any]] = await DeferredList(waiting, consumeErrors=True)
    faults = [outcome for good, outcome in outcomes if not good]
    for fault in faults:
        if fault.check(PeerError):
            raise fault.value
    if faults:
        raise Unavailable(f"a copy was not kept: {faults[0].getErrorMessage()}")
