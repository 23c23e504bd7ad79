"""The list service: one MESSAGE to many people whom it names.

The copies are in the store before the sender hears 202, and are delivered from there.

Spec: RFC 5365 §7; RFC 5363; OMA SIMPLE IM 1.0 (controlling function)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredList

from omaim.errors import PeerError, Unavailable
from omaim.ids import Ids
from omaim.im.content import Content
from omaim.im.deferred import Deferring
from omaim.im.delivery import Delivery
from omaim.im.participating import ANONYMOUS, TERMINATING, Leg, Mail, Served
from omaim.im.policy import FAILED, FORBIDDEN, Policy, Refusal, sip_form
from omaim.im.recording import Recorder
from omaim.im.reports import Reports
from omaim.im.sending import with_content
from omaim.node.events import ServiceEvent
from omaim.roles.listmail import OPTION, explode, is_list_mail, read
from omaim.sip.identity import VECTOR
from omaim.sip.message import Request
from omaim.sip.proxying import ExtensionRequired
from omaim.stores.interfaces import QuotaExceeded
from omaim.stores.records import DeferredMessage

DEMAND: Final = "demand"


@attrs.frozen
class Lists:
    """Explodes list messages of one domain.

    Args:
        ask: what :meth:`omaim.im.pager.Pager.ask` is.
        ours: whether an address is one of our users, whose terminating function we are.
        most: entries in one list.
        consent: "demand": who did not agree makes the message fail with 470.
    """

    domain: str
    policy: Policy
    deferring: Deferring
    delivery: Delivery
    reports: Reports
    recorder: Recorder
    ids: Ids
    ask: Callable[[Mail, Leg, tuple[str, ...]], Awaitable[None]]
    ours: Callable[[str], bool]
    most: int
    consent: str

    async def expand(self, mail: Mail) -> Served:
        """Take charge of a copy for each recipient.

        Raises:
            PeerError: the request or the list cannot be used; 403 for the anonymous; 421
                without the option tag; 470 without consent.
        """
        request, leg = mail.request, mail.leg
        if leg.sender == ANONYMOUS:
            raise Refusal("a list message needs a sender")
        if not is_list_mail(request):
            raise ExtensionRequired(OPTION)
        people = {sip_form(one.uri) for one in read(request, most=self.most).people}
        await self.ask(mail, leg, tuple(sorted(people)))
        copies = explode(
            request,
            self.ids,
            consents=self._consents(leg.sender) if self.consent == DEMAND else None,
            most=self.most,
            realm=self.domain,
        )
        seen: set[str] = set()
        waiting: list[Deferred[None]] = []
        for copy in copies:
            recipient = sip_form(copy.uri)
            if recipient in seen:  # the same person by another spelling
                continue
            seen.add(recipient)
            waiting.append(Deferred.fromCoroutine(self._take(mail, copy, recipient)))
        outcomes: list[tuple[bool, Any]] = await DeferredList(waiting, consumeErrors=True)
        for good, outcome in outcomes:
            if not good:
                if outcome.check(PeerError):  # what is inside is broken, for everybody alike
                    raise outcome.value
                # Those that are kept are known again when the sender repeats the message.
                raise Unavailable(f"a copy was not kept: {outcome.getErrorMessage()}")
        return Served(202, tuple(sorted(seen)))

    def _consents(self, sender: str) -> Callable[[str], bool]:
        return lambda recipient: self.policy.consents(sender, recipient)

    async def _take(self, mail: Mail, copy: Request, recipient: str) -> None:
        """Store the copy for one recipient, unless its policy is against it."""
        if mail.changed:
            text = mail.content.text
            content = Content(copy.first("Content-Type") or "", copy.body).with_text(text)
            with_content(copy, content)
        own = self.ours(recipient)
        recorded: tuple[ServiceEvent, ...] = ()
        if own:
            sent = mail.leg
            leg = Leg(TERMINATING, recipient, sent.sender, True, sent.hidden, sent.identities)
            if not await self._welcome(mail, copy, leg):
                return
            content = Content(copy.first("Content-Type") or "", copy.body)
            recorded = self.recorder.received(mail, leg, content)
        message = self.deferring.record(mail, recipient, copy)
        try:
            added = await self.delivery.add(message, recorded)
        except QuotaExceeded:
            await self._report(mail, copy, recipient, FAILED)
            return
        if added.duplicate:
            return
        if own:
            self.delivery.on_waiting(message, self._stored)
        self.delivery.kick(recipient)

    async def _welcome(self, mail: Mail, copy: Request, leg: Leg) -> bool:
        """Serve the recipient's side: its policy, and the service features there."""
        recipient = leg.user
        own = Mail(copy, leg, mail.tag, mail.at)
        try:
            if not self.policy.welcome(leg):
                return False
            await self.ask(own, leg, (recipient,))
        except Refusal as error:
            await self._report(mail, copy, recipient, error.disposition or FORBIDDEN)
            return False
        if own.changed:
            with_content(copy, own.content)
        return True

    async def _report(self, mail: Mail, copy: Request, recipient: str, what: str) -> None:
        content = Content(copy.first("Content-Type") or "", copy.body)
        await self.reports.send(
            content,
            what,
            mail.leg.sender,
            recipient,
            copy.first(VECTOR) or "",
            self.delivery.post,
        )

    def _stored(self, message: DeferredMessage) -> Deferred[None]:
        return Deferred.fromCoroutine(self.deferring.report_stored(message))
