"""Deferred messages: kept before 202 is sent, listed and deleted by their owner, or expired.

Spec: RFC 3428 §7; OMA SIMPLE IM 1.0 (deferred messaging); OMA-TS-IM_XDM V1.0 §5.2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from omaim.bodies.deferred_list import Waiting, write_deferred_list
from omaim.ids import Ids
from omaim.im.delivery import REMEMBER, Delivery
from omaim.im.journal import Journal, icid_of
from omaim.im.participating import ANONYMOUS, ANONYMOUS_FROM, Mail, address_of
from omaim.im.policy import FAILED, Refusal
from omaim.im.reports import STORED, Reports
from omaim.node.events import MessageDeferred, MessageDeleted, MessageExpired, ServiceEvent
from omaim.node.hooks import Hooks, Refuse
from omaim.node.questions import MayDefer
from omaim.sip.identity import VECTOR
from omaim.sip.message import Request
from omaim.stores.interfaces import IDeferredStore, QuotaExceeded
from omaim.stores.records import DELETED, EXPIRED, PAGER, REPORT, DeferredMessage

KEPT: Final = (
    "P-Asserted-Identity",
    "Privacy",
    VECTOR,
    "Accept-Contact",
    "Reject-Contact",
    "Subject",
    "Priority",
    "In-Reply-To",
    "Reply-To",
    "Content-Encoding",
    "Content-Disposition",
    "Content-Language",
    "Expires",
)
LISTED: Final = 500  # messages in one list
SWEPT: Final = 1000  # expired messages that are ended in one go

NO_ROOM: Final = "no room for more messages to this user"


class Deferring:
    """Keeps messages for those who cannot have them now.

    Args:
        domain: whose users are served.
        validity: seconds a message is kept at most.
    """

    def __init__(
        self,
        domain: str,
        store: IDeferredStore,
        delivery: Delivery,
        reports: Reports,
        journal: Journal,
        hooks: Hooks,
        now: Callable[[], float],
        ids: Ids,
        validity: float,
    ) -> None:
        self._domain = domain
        self._store = store
        self._delivery = delivery
        self._reports = reports
        self._journal = journal
        self._hooks = hooks
        self._now = now
        self._ids = ids
        self._validity = validity

    def record(self, mail: Mail, recipient: str, request: Request | None = None) -> DeferredMessage:
        """Return a message as it is stored for a recipient.

        Args:
            request: what is stored, if not the request of ``mail`` itself: one of its copies.
        """
        own = mail.request if request is None else request
        if request is None:
            content_type, body = mail.content.content_type, mail.content.body
        else:
            content_type, body = own.first("Content-Type") or "", own.body
        sender = own.first("From") or ""
        if mail.leg.sender == ANONYMOUS:
            sender = f"{ANONYMOUS_FROM};tag={own.from_.tag}"
        headers = [("From", sender)]
        headers += [(name, value) for name in KEPT if own.has(name) for value in own.all(name)]
        return DeferredMessage(
            recipient=self._delivery.box(recipient),
            reference=self._ids.call_id(),
            sender=mail.leg.sender,
            message_id=mail.message_id,
            content_type=content_type,
            body=body,
            stored_at=mail.at,
            sent_at=mail.sent_at,
            expires_at=min(mail.expires_at, mail.at + self._validity),
            kind=REPORT if mail.content.is_report else PAGER,
            subject=own.first("Subject") or "",
            headers=tuple(headers),
        )

    async def keep(
        self, mail: Mail, facts: Sequence[ServiceEvent], under_way: bool = False
    ) -> DeferredMessage | None:
        """Store a message; it is durable when this returns.

        Args:
            facts: committed together with the message.
            under_way: a device has the message and has not answered yet.

        Returns:
            What is stored; ``None`` when it was there already.

        Raises:
            Refusal: it may not be kept, or there is no room.
            Unavailable: the store cannot answer.
        """
        user = mail.leg.user
        if self._hooks.wanted(MayDefer):
            await self._ask(mail)
        message = self.record(mail, user)
        if under_way:
            message = attrs.evolve(message, attempt=self._delivery.attempt_name())
        deferred = MessageDeferred(
            at=self._now(),
            entity=self._journal.entity,
            icid=mail.icid,
            message_id=message.message_id,
            sender=message.sender,
            recipient=user,
            size=len(message.body),
            expires_at=message.expires_at,
        )
        try:
            added = await self._delivery.add(message, [*facts, deferred])
        except QuotaExceeded:
            raise Refusal(NO_ROOM, 480, FAILED) from None
        return None if added.duplicate else message

    async def report_stored(self, message: DeferredMessage) -> None:
        """Tell the sender that a message waits, if that is wanted."""
        await self._reports.of_stored(message, STORED, self._delivery.post)

    async def _ask(self, mail: Mail) -> None:
        usage = await self._store.usage(self._delivery.box(mail.leg.user))
        opinion = await self._hooks.ask(
            MayDefer(
                domain=self._domain,
                sender=mail.leg.sender,
                recipient=mail.leg.user,
                size=len(mail.content.body),
                stored=usage.count,
            )
        )
        if isinstance(opinion, Refuse):
            raise Refusal(opinion.reason, opinion.status, FAILED)

    # For its owner

    async def document(self, user: str) -> bytes:
        """Return the list of what waits for a user; reports are not shown."""
        waiting = await self.waiting(user)
        return write_deferred_list([_shown(one) for one in waiting])

    async def waiting(self, user: str) -> list[DeferredMessage]:
        """Return what waits for a user, oldest first, without content; what fits into a list."""
        found = await self._store.waiting(
            self._delivery.box(user), self._now(), limit=LISTED, bodies=False
        )
        return [one for one in found if one.kind != REPORT]

    async def everything(self, user: str) -> list[DeferredMessage]:
        """Return all that waits for a user, as :meth:`waiting` does, however much it is."""
        box, now = self._delivery.box(user), self._now()
        found: list[DeferredMessage] = []
        after = 0
        while page := await self._store.waiting(box, now, after, LISTED, bodies=False):
            after = page[-1].position
            found += [one for one in page if one.kind != REPORT]
        return found

    async def delete(self, user: str, references: Sequence[str]) -> int:
        """Delete messages unread; return how many there were."""
        now, box = self._now(), self._delivery.box(user)
        waiting = {one.reference: one for one in await self.everything(user)}
        gone = 0
        for reference in references:
            message = waiting.get(reference)
            if message is None:
                continue
            event = MessageDeleted(
                at=now,
                entity=self._journal.entity,
                message_id=message.message_id,
                recipient=user,
            )
            records = self._journal.records([event], user)
            if await self._store.finish(box, [reference], DELETED, now + REMEMBER, records):
                self._journal.publish([event])
                gone += 1
        if gone:
            self._delivery.on_change(user)
        return gone

    # Time

    async def sweep(self) -> int:
        """End what has expired and tell the senders; return how much."""
        now = self._now()
        ended = 0
        while ended < SWEPT:
            over = tuple(
                one
                for one in await self._store.expired(now, SWEPT)
                if one.attempt_until <= now and self._delivery.mine(one.recipient)
            )
            if not over:
                break
            for message in over:
                await self._expire(message, now)
            ended += len(over)
        await self._store.sweep(now)
        return ended

    async def _expire(self, message: DeferredMessage, now: float) -> None:
        user = message.recipient
        event = MessageExpired(
            at=now,
            entity=self._journal.entity,
            icid=icid_of(message.headers),
            message_id=message.message_id,
            sender=message.sender,
            recipient=address_of(user),
        )
        events = [event] if message.kind != REPORT else []
        records = self._journal.records(events, user)
        until = now + REMEMBER
        await self._reports.of_stored(message, FAILED, self._delivery.post)
        if not await self._store.finish(user, [message.reference], EXPIRED, until, records):
            return
        self._journal.publish(events)
        self._delivery.on_change(user)


def _shown(message: DeferredMessage) -> Waiting:
    levels = {
        level.strip().lower()
        for name, value in message.headers
        if name == "Privacy"
        for level in value.split(";")
    }
    hidden = not levels.isdisjoint(("id", "user", "header"))
    return Waiting(
        reference=message.reference,
        size=_body_size(message),
        expires_at=message.expires_at,
        subject=message.subject,
        date=message.stored_at,
        sent_at=message.sent_at,
        sender=ANONYMOUS if hidden else message.sender,
        recipient=address_of(message.recipient),
    )


def _body_size(message: DeferredMessage) -> int:
    """Return the octets of the content, which was not read from the store."""
    lines = sum(len(name) + len(value) for name, value in message.headers)
    return max(0, message.size - len(message.content_type) - len(message.subject) - lines)
