"""The notifier's side of a subscription: grant, notify, throttle, end.

A :class:`Subscription` says when a NOTIFY is due and builds it inside its dialog; the event
package gives the state. The subscriber's side is in :mod:`omaim.sip.subscribing`.

Spec: RFC 6665 §4.2; RFC 6446 §5, §6 (rates)
"""

from __future__ import annotations

from typing import Final

import attrs

from omaim.errors import PeerError
from omaim.sip.dialog import Dialog, as_uas
from omaim.sip.headers import EventHeader
from omaim.sip.message import Request, Response
from omaim.sip.pacing import IntervalTooBrief, delta_seconds, retry_after
from omaim.timers import NEVER

PENDING: Final = 2
ACTIVE: Final = 3
TERMINATED: Final = 4

_HOUR: Final = 3600  # RFC 6665 §4.2.1.1: an hour or more is never too brief


def ends_usage(status: int) -> bool:
    """Tell whether this response to a SUBSCRIBE or NOTIFY inside the dialog ends it.

    Spec: RFC 6665 §4.1.2.2, §4.2.2
    """
    return status in (404, 405, 410, 416, 489, 501, 604) or 480 <= status <= 485


@attrs.frozen
class Terms:
    """How long and how often: what an event package and local policy allow.

    Attributes:
        default: seconds, when the SUBSCRIBE names none.
        least: seconds; shorter wishes are refused with 423 (but 0 is a fetch).
        most: seconds; longer wishes are cut.
        interval: least seconds between two NOTIFYs of changes.
    """

    default: int = 3600
    least: int = 60
    most: int = 7200
    interval: float = 0.0

    def grant(self, request: Request) -> int:
        """Return the duration to grant to a SUBSCRIBE or PUBLISH, seconds.

        Raises:
            IntervalTooBrief: it must be answered 423 with Min-Expires.

        Spec: RFC 6665 §3.1.1, §4.2.1.1; RFC 3903 §6
        """
        text = request.first("Expires")
        asked = self.default if text is None else delta_seconds(text, self.default)
        if 0 < asked < min(self.least, _HOUR):
            raise IntervalTooBrief(min(self.least, _HOUR))
        return min(asked, self.most)


@attrs.frozen
class Due:
    """One NOTIFY to be sent now.

    Attributes:
        state: the Subscription-State value.
        granted: the state may be shown: the subscription is, or was, active.
        full: the subscriber may hold no earlier state to apply a difference to.
        final: nothing follows.
    """

    state: str
    granted: bool
    full: bool
    final: bool


class Subscription:
    """One subscription to a resource of ours.

    Make it when the SUBSCRIBE is accepted; the first NOTIFY is due at once. Inputs:
    :meth:`refresh`, :meth:`approve`, :meth:`terminate`, :meth:`changed`, :meth:`answered`,
    :meth:`wake`. After each, :meth:`take` gives the NOTIFY that is due, if one is;
    :meth:`notify` makes the request.

    Args:
        subscribe: the SUBSCRIBE.
        local_tag: the To tag of the response.
        contact: our Contact value.
        terms: durations and rates.
        now: monotonic seconds.
        active: authorized; otherwise it is pending.
        secure: the SUBSCRIBE came over TLS.

    Raises:
        PeerError: the SUBSCRIBE cannot be accepted; carries the status.

    Attributes:
        deadline: when :meth:`wake` is wanted, monotonic seconds; an
            :class:`~omaim.timers.Alarm` of the owner keeps it.
        state: :data:`PENDING`, :data:`ACTIVE` or :data:`TERMINATED`.
        granted: seconds, for the Expires of the response.
        expires_at: when it ends unless refreshed.
        package: name of the event package.
        subscribe: the first SUBSCRIBE: its Accept, its identity, its body.

    Spec: RFC 6665 §4.2
    """

    __slots__ = (
        "_dirty",
        "_due",
        "_event",
        "_full",
        "_in_flight",
        "_keep_interval",
        "_last_at",
        "_min_interval",
        "_next_at",
        "_now",
        "_rates",
        "_reason",
        "_terms",
        "_was_active",
        "deadline",
        "dialog",
        "expires_at",
        "granted",
        "package",
        "state",
        "subscribe",
    )

    def __init__(
        self,
        subscribe: Request,
        local_tag: str,
        contact: str,
        terms: Terms,
        now: float,
        *,
        active: bool = True,
        secure: bool = False,
    ) -> None:
        self.deadline = NEVER
        event = subscribe.event
        if event is None:
            raise PeerError("a SUBSCRIBE needs an Event", 489)
        self.subscribe = subscribe
        self.package = event.package
        self._event = f"{event.package};id={event.id}" if event.id else event.package
        self._terms = terms
        self.granted = terms.grant(subscribe)
        self.dialog: Dialog = as_uas(subscribe, local_tag, contact, secure)
        self.state = ACTIVE if active else PENDING
        self._was_active = active
        self._in_flight = 0
        self._dirty = False  # the state changed since the last NOTIFY
        self._full = True
        self._due = True
        self._reason = ""
        self._last_at = now
        self._next_at = now  # no change is told sooner
        self._min_interval = terms.interval
        self._keep_interval = NEVER
        self._rates = ""
        self._now = now
        self.expires_at = now + self.granted
        self._take_rates(event)
        self._consider(now)

    def refresh(self, subscribe: Request, now: float) -> None:
        """A SUBSCRIBE came inside the dialog; answer 200 with :attr:`granted`.

        Expires 0 ends the subscription.

        Raises:
            PeerError: 500 out of order, 481 over, 489 another package,
                :class:`~omaim.sip.pacing.IntervalTooBrief`; the subscription stays as it was.

        Spec: RFC 6665 §4.2.1.4
        """
        if self.state == TERMINATED:
            raise PeerError("no such subscription", 481)
        self.dialog.receive(subscribe)
        event = subscribe.event
        if event is None or event.package != self.package:
            raise PeerError("this dialog is about another event package", 489)
        granted = self._terms.grant(subscribe)
        self.dialog.accept(subscribe)
        self.granted = granted
        self.expires_at = now + granted
        self._full = self._due = True
        self._take_rates(event)
        self._consider(now)

    def revive(self, dialog: Dialog, left: float, now: float, at: float) -> None:
        """Go on after a restart, in a machine just made from the first SUBSCRIBE.

        Args:
            dialog: as it was; its local sequence number is above all that were sent.
            left: seconds until it ends.
            now: monotonic seconds.
            at: when the whole state is told, as the last NOTIFY may be lost; monotonic seconds.
        """
        self.dialog = dialog
        self.granted = round(left)
        self.expires_at = now + left
        self._due, self._dirty = False, True
        self._next_at = at
        self._consider(now)

    def approve(self, now: float) -> None:
        """A pending subscription is authorized now."""
        if self.state == PENDING:
            self.state = ACTIVE
            self._was_active = self._full = self._due = True
            self._consider(now)

    def terminate(self, reason: str, now: float, retry_after: int = -1) -> None:
        """End it, telling the subscriber why.

        Args:
            reason: deactivated, probation, rejected, timeout, giveup, noresource, invariant.
            now: monotonic seconds.
            retry_after: seconds, for probation and giveup; -1 says nothing.

        Spec: RFC 6665 §4.1.3, §4.2.2
        """
        if self.state != TERMINATED:
            self.state = TERMINATED
            wait = f";retry-after={retry_after}" if retry_after >= 0 else ""
            self._reason = f"terminated;reason={reason}{wait}"
            self._due = True
            self._was_active = self._was_active and reason != "rejected"
            self._consider(now)

    def changed(self, now: float) -> None:
        """The resource has a new state; a NOTIFY follows as soon as the rate allows.

        Changes that come faster are told together; one NOTIFY waits for the answer to
        the one before, or they could overtake one another.
        """
        if self.state == ACTIVE:
            self._dirty = True
            self._consider(now)

    def answered(self, response: Response, now: float) -> None:
        """The final response to a NOTIFY is here.

        Spec: RFC 6665 §4.2.2
        """
        if self._in_flight:
            self._in_flight -= 1
        status = response.status
        alive = self.dialog.answered(response)
        if self.state == TERMINATED:
            return
        if not alive or ends_usage(status):
            self.state = TERMINATED
            self._due = self._dirty = False
            self.deadline = NEVER
            return
        if status >= 300:
            self._full = True  # nobody knows what the subscriber holds
            wait = retry_after(response)
            if wait >= 0:
                self._dirty = True
                self._next_at = max(self._next_at, now + wait)
        elif response.has("Event"):
            self._take_rates(response.event)  # RFC 6446 §9.3
            self._next_at = self._last_at + self._min_interval
        self._consider(now)

    def wake(self, now: float) -> None:
        """A timer ran out."""
        if self.expires_at <= now:
            self.terminate("timeout", now)
            return
        if self._last_at + self._keep_interval <= now and not self._in_flight:
            self._due = True
        self._consider(now)

    def take(self) -> Due | None:
        """Return the NOTIFY that is due now, or None; build it with :meth:`notify`."""
        if not self._due:
            return None
        final = self.state == TERMINATED
        if final:
            state = self._reason
        else:
            name = "active" if self.state == ACTIVE else "pending"
            left = max(0, round(self.expires_at - self._now))
            state = f"{name};expires={left}{self._rates}"
        due = Due(state, self._was_active, self._full, final)
        self._due = self._dirty = False
        self._full = not self._was_active
        self._last_at = self._now
        self._next_at = self._now + self._min_interval
        self._in_flight += 1
        self._arm()
        return due

    def notify(self, due: Due, headers: list[tuple[str, str]], body: bytes = b"") -> Request:
        """Build the NOTIFY; its final response goes to :meth:`answered`.

        Args:
            due: what :meth:`take` returned.
            headers: the package's own, with the Content-Type if there is a body.
            body: the state.
        """
        request = self.dialog.request(
            "NOTIFY",
            [("Event", self._event), ("Subscription-State", due.state), *headers],
            body,
        )
        if due.final:
            self.dialog.end()
        return request

    def _take_rates(self, event: EventHeader | None) -> None:
        """Adopt the rates that the subscriber asks for, within the package's.

        Spec: RFC 6446 §5.2, §6.2, §8
        """
        if event is None:
            return
        most = _rate(event, "max-rate")
        least = _rate(event, "min-rate")
        self._rates = ""
        self._min_interval = self._terms.interval
        self._keep_interval = NEVER
        if most > 0.0:
            self._min_interval = max(self._terms.interval, 1.0 / most)
            self._rates = f";max-rate={_decimal(1.0 / self._min_interval)}"
        if least > 0.0:
            self._keep_interval = max(1.0 / least, self._min_interval, 1.0)
            self._rates += f";min-rate={_decimal(1.0 / self._keep_interval)}"

    def _consider(self, now: float) -> None:
        """Decide whether a change may be told now, and set the deadline."""
        self._now = now
        if self.state != TERMINATED and self.expires_at <= now:
            self.terminate("timeout", now)
            return
        if self._dirty and not self._in_flight and self._next_at <= now:
            self._due = True
        self._arm()

    def _arm(self) -> None:
        if self.state == TERMINATED:
            self.deadline = NEVER
            return
        deadline = self.expires_at
        if not self._in_flight and not self._due:
            if self._dirty:
                deadline = min(deadline, self._next_at)
            deadline = min(deadline, self._last_at + self._keep_interval)
        self.deadline = deadline


def _rate(event: EventHeader, name: str) -> float:
    """Return a rate parameter per second, or 0 when absent or senseless.

    Spec: RFC 6446 §9.2 (two digits before the point, ten behind)
    """
    text = event.params.get(name)
    if not text or len(text) > 13 or not text.replace(".", "", 1).isascii():
        return 0.0
    if not text.replace(".", "", 1).isdigit():
        return 0.0
    rate = float(text)
    return rate if 0.0 < rate < 100.0 else 0.0


def _decimal(rate: float) -> str:
    return f"{min(rate, 99.0):.10f}".rstrip("0").rstrip(".")
