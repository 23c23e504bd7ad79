"""A message that was taken: what its reader gets, and the reports that follow.

Spec: RFC 5438 §7.2
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, succeed

from omaim.bodies import imdn
from omaim.bodies.cpim import Cpim
from omaim.client.messages import Message, Sent
from omaim.client.reading import Received
from omaim.client.seen import Name
from omaim.errors import PeerError
from omaim.sip.uri import canonical_aor, comparable

_SCHEMES: Final = ("sip", "sips")

Report = Callable[[Received, str, str], Deferred[bool]]  # message, kind, status -> was it told


class Taken:
    """One message that was taken.

    Args:
        found: what it says.
        moment: when it was sent, seconds since the epoch.
        report: sends a report if it was asked for.
        reply: answers; for :meth:`omaim.client.messages.Message.reply`.
        group: that it was sent to, "" for none.

    Attributes:
        message: for its reader.
    """

    def __init__(
        self,
        found: Received,
        moment: float,
        report: Report,
        reply: Callable[..., Deferred[Sent]],
        group: str = "",
    ) -> None:
        self._found = found
        self._report = report
        self._delivered: Deferred[bool] = Deferred()
        self._told = False
        envelope, part = found.envelope, found.part
        self.message = Message(
            sender=found.sender,
            verified=found.verified,
            name=found.name,
            text=part.text() if part.media_type.startswith("text/") else "",
            content_type=part.media_type,
            body=part.decoded(),
            to=_recipients(envelope),
            others=found.others,
            subject=envelope.subject() if envelope is not None else "",
            sent_at=moment,
            message_id=envelope.message_id if envelope is not None else "",
            group=group,
            read=self._read,
            reply=reply,
        )

    def delivered(self) -> None:
        """Report that it is here; once the message itself is answered."""
        self._report(self._found, imdn.DELIVERY, "delivered").chainDeferred(self._delivered)

    def _read(self) -> Deferred[bool]:
        """Report that it was displayed, behind the report that it is here."""
        if self._told:
            return succeed(False)
        self._told = True
        outcome: Deferred[bool] = Deferred()
        self._delivered.addCallback(lambda _: self._displayed(outcome))
        return outcome

    def _displayed(self, outcome: Deferred[bool]) -> None:
        self._report(self._found, imdn.DISPLAY, "displayed").chainDeferred(outcome)


def name_of(found: Received) -> Name | None:
    """Return what tells an enveloped message apart: its author and Message-ID, if it has one."""
    envelope = found.envelope
    if envelope is None or not envelope.message_id:
        return None
    return comparable(found.sender), envelope.message_id


def group_of(found: Received, is_own: Callable[[str], bool]) -> str:
    """Return the address of the group that a message was sent to; "" if it was for us.

    A group's server leaves the envelope addressed to the group. Of a list message nobody but
    its reader is named there, or else the list of the others is beside it.

    Args:
        is_own: tells whether a canonical address is our user's.
    """
    to = [] if found.envelope is None or found.others else found.envelope.to
    if len(to) != 1 or to[0].uri.partition(":")[0].lower() not in _SCHEMES:
        return ""
    try:
        address = canonical_aor(to[0].uri)
    except PeerError:
        return ""
    return "" if is_own(address) else address


def _recipients(envelope: Cpim | None) -> tuple[str, ...]:
    return () if envelope is None else tuple(one.uri for one in envelope.to)
