"""What a client hands to its user: messages that came, messages that went, reports.

Spec: RFC 3428; RFC 3862; RFC 5438 §5, §7
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from omaim.bodies.imdn import DELIVERY, DISPLAY, PROCESSING
from omaim.client.failures import NoReport, NotDelivered
from omaim.errors import UsageError
from omaim.sip.uri import canonical_aor

SENDING: Final = "sending"
PENDING: Final = "pending"  # accepted by a server; the recipient may get it later
DELIVERED: Final = "delivered"
DISPLAYED: Final = "displayed"
FAILED: Final = "failed"


@attrs.frozen
class Report:
    """One disposition of a message of ours.

    Spec: RFC 5438 §5
    """

    message_id: str
    recipient: str  # whose disposition it is, "" when not disclosed
    kind: str  # omaim.bodies.imdn.DELIVERY, PROCESSING or DISPLAY
    status: str  # "delivered", "failed", "stored", "displayed", "forbidden", "error", …


class Sent:
    """A message of ours that the network took.

    Attributes:
        to: the recipients, as given.
        message_id: what reports call it; "" when none were asked for.
        status: "pending" (202), "delivered" (200 or a report), "displayed" or "failed".
        reports: what came so far, oldest first; of a list message, from every recipient.
    """

    def __init__(self, clock: Any, to: tuple[str, ...], message_id: str) -> None:
        self.to = to
        self.message_id = message_id
        self.status = SENDING
        self.reports: list[Report] = []
        self._clock = clock
        self._waiting: list[tuple[Callable[[Report], bool], Deferred[Report]]] = []

    def __repr__(self) -> str:
        return f"<Sent to {', '.join(self.to)}: {self.status}>"

    def delivered(self, timeout: float = 30.0, recipient: str = "") -> Deferred[Report]:
        """Wait until the message was delivered; return the report that says so.

        Args:
            timeout: seconds; 0 waits as long as it takes.
            recipient: of a list message: whose delivery; the first one's if empty.

        Raises (the Deferred fails with):
            NotDelivered: a report says that it will not be.
            NoReport: none came in time; the message may still arrive.
            UsageError: no reports were asked for, and no 200 has said so (RFC 3428 §7).
        """
        return self._wait((DELIVERY,), timeout, recipient)

    def displayed(self, timeout: float = 0.0, recipient: str = "") -> Deferred[Report]:
        """Wait until the recipient has read the message; see :meth:`delivered`."""
        return self._wait((DISPLAY,), timeout, recipient)

    def _wait(self, kinds: tuple[str, ...], timeout: float, recipient: str) -> Deferred[Report]:
        if not self.message_id:
            if DELIVERY in kinds and self.status == DELIVERED:
                return succeed(Report("", self.to[0], DELIVERY, "delivered"))
            return fail(UsageError("no report was asked for: send with reports=…"))
        person = canonical_aor(recipient) if recipient else ""

        def fits(report: Report) -> bool:
            return report.kind in kinds and (
                not person or (report.recipient != "" and canonical_aor(report.recipient) == person)
            )

        for report in self.reports:
            if fits(report):
                return _outcome(report)
        waiting: Deferred[Report] = Deferred(lambda _: self._forget(waiting))
        self._waiting.append((fits, waiting))
        if timeout > 0:
            waiting.addTimeout(timeout, self._clock, onTimeoutCancel=_late)
        return waiting

    def end(self) -> None:
        """Tell who waits that no more reports will come."""
        waiting, self._waiting = self._waiting, []
        for _, one in waiting:
            one.errback(NoReport(0, "the client was closed"))

    def _forget(self, waiting: Deferred[Report]) -> None:
        self._waiting = [pair for pair in self._waiting if pair[1] is not waiting]

    def take(self, report: Report) -> None:
        """Note a report, and tell who waits for it."""
        self.reports.append(report)
        if report.kind == DISPLAY and report.status == "displayed":
            self.status = DISPLAYED
        elif report.kind == DELIVERY and self.status != DISPLAYED:
            self.status = DELIVERED if report.status == "delivered" else FAILED
        elif report.kind == PROCESSING and report.status in ("forbidden", "error"):
            self.status = FAILED
        told = [pair for pair in self._waiting if pair[0](report)]
        self._waiting = [pair for pair in self._waiting if pair not in told]
        for _, waiting in told:
            _outcome(report).chainDeferred(waiting)


def _outcome(report: Report) -> Deferred[Report]:
    if report.status in ("delivered", "displayed"):
        return succeed(report)
    return fail(NotDelivered(0, f"{report.kind} report: {report.status}"))


def _late(result: Any, timeout: float) -> Any:
    raise NoReport(0, f"{timeout:g} s are over")


@attrs.frozen
class Message:
    """One message that came.

    Attributes:
        sender: the sender's address as the network asserts it, else as the message claims.
        verified: the network asserted the sender.
        name: the sender's name, "" if not given.
        text: the content, when it is text; else "".
        content_type: media type of the content, as "text/plain".
        body: the content.
        to: whom the sender wrote to: our address, or those of a list message.
        others: further visible recipients of a list message.
        subject: "" if none.
        sent_at: seconds since the epoch, 0.0 when the message does not say.
        message_id: what reports call it, "" when the sender wants none.
        group: address of the group that it was sent to, "" if it was sent to us.
    """

    sender: str
    verified: bool
    name: str
    text: str
    content_type: str
    body: bytes
    to: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    subject: str = ""
    sent_at: float = 0.0
    message_id: str = ""
    group: str = ""
    _read: Callable[[], Deferred[bool]] = attrs.field(
        default=lambda: succeed(False), repr=False, eq=False
    )
    _reply: Callable[..., Deferred[Sent]] = attrs.field(
        default=lambda *_: fail(UsageError("this message has no client")), repr=False, eq=False
    )

    def read(self) -> Deferred[bool]:
        """Say that the user has read it; fires with whether the sender was told.

        The sender is told at most once, and only when it asked.

        Spec: RFC 5438 §7.2.1.2
        """
        return self._read()

    def reply(self, text: str, **named: Any) -> Deferred[Sent]:
        """Answer the sender alone; takes what :meth:`omaim.client.Client.send` takes."""
        return self._reply(self.sender, text, **named)

    def reply_all(self, text: str, **named: Any) -> Deferred[Sent]:
        """Answer the group that it was sent to, or else the sender; see :meth:`reply`."""
        return self._reply(self.group or self.sender, text, **named)


@attrs.frozen
class Typing:
    """Somebody began or stopped writing to us (RFC 3994)."""

    sender: str
    active: bool


@attrs.frozen
class State:
    """How the registration is.

    Attributes:
        name: "registering", "registered", "failed" or "off".
        failure: why it is not registered, if something went wrong.
        retry_in: seconds until the next try; -1 when there will be none.
    """

    name: str
    failure: Exception | None = None
    retry_in: float = -1.0
