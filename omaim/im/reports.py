"""Disposition notifications of the server itself, and what there is to send them.

The server says "stored" when a message waits, "failed" when it never arrived and "forbidden"
when a policy stood in the way; what was delivered and displayed only a client can say. Reports
are made from the message, so that none is made for a report.

Spec: RFC 5438 §8, §8.1, §8.2
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Final

import attrs
from twisted.logger import Logger

from omaim.bodies.cpim import IMDN, Address
from omaim.bodies.cpim import MEDIA_TYPE as CPIM
from omaim.bodies.imdn import DELIVERY, PROCESSING, destination, report
from omaim.bodies.moments import write_moment
from omaim.errors import PeerError, Unavailable
from omaim.ids import Ids
from omaim.im.content import Content
from omaim.im.journal import icid_of
from omaim.im.participating import ANONYMOUS, address_of
from omaim.node.events import ReportSent, ServiceEvent
from omaim.sip.identity import VECTOR
from omaim.sip.uri import canonical_aor
from omaim.stores.records import REPORT, DeferredMessage

STORED: Final = "stored"
KINDS: Final = {STORED: PROCESSING, "failed": DELIVERY, "forbidden": DELIVERY}
VALIDITY: Final = 259200.0  # seconds a report waits for its reader at most

Post = Callable[[DeferredMessage, Sequence[ServiceEvent]], Awaitable[object]]

_log = Logger()


@attrs.frozen
class Reports:
    """Makes the reports of one server.

    Args:
        identity: the server's own URI, who speaks when no user does.
    """

    entity: str
    identity: str
    ids: Ids
    now: Callable[[], float]

    async def send(
        self,
        content: Content,
        disposition: str,
        sender: str,
        recipient: str,
        charging: str,
        post: Post,
        name: str = "",
    ) -> bool:
        """Tell the sender of a message what became of it, if the sender asked for that.

        Args:
            sender: the address that wrote the message.
            recipient: the address that the message was for.
            charging: P-Charging-Vector of the message, "" without.
            post: sends; a report that cannot be made or sent hurts nobody else.
            name: Message-ID of the report; one that nobody can guess if empty.

        Returns: whether there is a report.
        """
        try:
            made = self._make(content, disposition, sender, recipient, charging, name)
        except PeerError as error:
            _log.info("no report on a message: {why}", why=error.why)
            return False
        if made is None:
            return False
        event = ReportSent(
            at=made.stored_at,
            entity=self.entity,
            icid=icid_of(made.headers),
            message_id=content.message_id,
            recipient=made.recipient,
            disposition=disposition,
        )
        try:
            await post(made, [event])
        except Unavailable as error:
            # What is reported on stays as it is, whether it was kept, refused or ended.
            _log.error("a report on a message is lost: {why}", why=str(error))
            return False
        return True

    async def of_stored(self, message: DeferredMessage, disposition: str, post: Post) -> bool:
        """Report on a message that is in the store.

        The report is called the same each time, so that the store knows it again: who reports
        first and then ends the message neither loses the report in a crash nor doubles it.
        """
        if message.kind == REPORT:
            return False
        charging = next((value for name, value in message.headers if name == VECTOR), "")
        content = Content(message.content_type, message.body)
        recipient = address_of(message.recipient)
        name = sha256(f"{disposition} {message.reference}".encode()).hexdigest()[:24]
        return await self.send(
            content, disposition, message.sender, recipient, charging, post, name
        )

    def _make(
        self,
        content: Content,
        disposition: str,
        sender: str,
        recipient: str,
        charging: str,
        name: str,
    ) -> DeferredMessage | None:
        cpim = content.cpim
        if cpim is None or sender == ANONYMOUS:
            return None
        kind = KINDS[disposition]
        if kind == DELIVERY and "negative-delivery" not in cpim.wanted:
            return None
        now, ids = self.now(), self.ids
        by = recipient or self.identity
        address = cpim.to[0] if cpim.to and not recipient else Address("", by)
        made = report(
            cpim,
            kind,
            disposition,
            name or ids.token(24),
            recipient=address,
            date_time=write_moment(now),
        )
        if made is None:
            return None
        routed = bool(made.addresses("IMDN-Route", IMDN))
        headers = [
            ("From", f"<{by}>;tag={ids.tag()}"),
            ("P-Asserted-Identity", f"<{by}>"),
        ]
        if charging:
            headers.append((VECTOR, charging))
        return DeferredMessage(
            recipient=canonical_aor(destination(made)) if routed else sender,
            reference=ids.call_id(),
            sender=by,
            message_id=made.message_id,
            content_type=CPIM,
            body=made.to_bytes(),
            stored_at=now,
            sent_at=now,
            expires_at=now + VALIDITY,
            kind=REPORT,
            headers=tuple(headers),
        )
