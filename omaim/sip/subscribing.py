"""The subscriber's side of a subscription: ask, refresh, follow, ask again.

The machine builds every SUBSCRIBE itself; its owner sends them and feeds back what comes.
It knows no event package: the state documents go through unread.

Spec: RFC 6665 §4.1, §4.4
"""

from __future__ import annotations

from typing import Final

import attrs

from omaim.errors import PeerError, UsageError
from omaim.ids import Ids
from omaim.sip.dialog import Dialog, as_subscriber
from omaim.sip.headers import EventHeader, SubscriptionState
from omaim.sip.message import Request, Response
from omaim.sip.pacing import Backoff, delta_seconds, refresh_after, retry_after
from omaim.sip.subscriber import Forked, Moved, Notified, Send, SubscriberOutput, Wanted
from omaim.sip.subscription import ends_usage
from omaim.timers import NEVER

__all__ = [
    "ACTIVE",
    "INIT",
    "NOTIFY_WAIT",
    "PENDING",
    "STATES",
    "TERMINATED",
    "Forked",
    "Moved",
    "Notified",
    "Send",
    "SubscriberOutput",
    "Subscribing",
    "Wanted",
]

INIT: Final = 0  # nothing sent yet, or waiting to ask again
NOTIFY_WAIT: Final = 1  # SUBSCRIBE sent, no NOTIFY yet
PENDING: Final = 2  # the notifier has not decided yet
ACTIVE: Final = 3
TERMINATED: Final = 4  # over; it may come back by itself, see retry_at

STATES: Final = ("init", "notify_wait", "pending", "active", "terminated")

_NO_RETRY: Final = ("rejected", "noresource", "invariant", "badfilter")  # RFC 4660 has the last
_TRANSIENT: Final = (408, 430, 480, 481, 486, 491, 500, 502, 503, 504)
_SHORT_LIFE: Final = 30.0  # seconds; one that ends sooner is not asked for again at once
_MOST_RAISES: Final = 3  # 423 answers obeyed in a row


class Subscribing:
    """One subscription of ours, through all its attempts.

    Inputs: :meth:`start`, :meth:`answered`, :meth:`notified`, :meth:`refresh`,
    :meth:`unsubscribe`, :meth:`wake`. After each, :meth:`take` says what to do.

    Attributes:
        deadline: when :meth:`wake` is wanted, monotonic seconds; an
            :class:`~omaim.timers.Alarm` of the owner keeps it.
        state: see the constants.
        call_id: with :attr:`local_tag` the key under which its NOTIFYs find it; new at
            each attempt.
        dialog: from the first NOTIFY on.
        expires_at: when it ends unless refreshed.
        retry_at: when it will ask again after its end.
        status: the final response last seen.

    Spec: RFC 6665 §4.1.2
    """

    __slots__ = (
        "_asked",
        "_backoff",
        "_born_at",
        "_closing",
        "_event",
        "_first",
        "_fork_until",
        "_ids",
        "_in_flight",
        "_leaving",
        "_out",
        "_raises",
        "_refresh_at",
        "_seq",
        "_timer_n",
        "_told",
        "call_id",
        "deadline",
        "dialog",
        "expires_at",
        "local_tag",
        "retry_at",
        "state",
        "status",
        "wanted",
    )

    def __init__(self, wanted: Wanted, ids: Ids) -> None:
        self.deadline = NEVER
        self.wanted = wanted
        self._ids = ids
        self._backoff = Backoff(ids)
        self._event = EventHeader.parse(wanted.event)
        self._out: list[SubscriberOutput] = []
        self._asked = wanted.expires
        self._closing = False  # the owner wants it to end
        self._leaving = False  # the SUBSCRIBE that ends it was sent
        self._in_flight = False
        self._told = False  # a NOTIFY since the last SUBSCRIBE named the time left
        self._raises = 0
        self._seq = 0
        self._first: Request | None = None
        self._born_at = NEVER
        self._fork_until = NEVER
        self._timer_n = NEVER
        self._refresh_at = NEVER
        self.state = INIT
        self.status = 0
        self.call_id = ""
        self.local_tag = ""
        self.dialog: Dialog | None = None
        self.expires_at = NEVER
        self.retry_at = NEVER

    def take(self) -> list[SubscriberOutput]:
        """Return what to do, in order, and forget it."""
        out, self._out = self._out, []
        return out

    def next_seq(self) -> int:
        """Return the CSeq number for the SUBSCRIBE at hand sent once more with credentials."""
        if self.dialog is not None:
            return self.dialog.next_seq()
        self._seq += 1
        return self._seq

    def start(self, now: float) -> None:
        """Ask for the subscription, by a SUBSCRIBE outside any dialog.

        Raises:
            UsageError: it is running already.

        Spec: RFC 6665 §4.1.2.1
        """
        if self.state not in (INIT, TERMINATED):
            raise UsageError("the subscription is running; refresh it instead")
        self._closing = self._leaving = False
        self.call_id = self._ids.call_id()
        self.local_tag = self._ids.tag()
        self._seq = 0
        self._raises = 0
        self.dialog = None
        self.retry_at = NEVER
        self.expires_at = NEVER
        self._born_at = NEVER
        self._fork_until = now + self.wanted.patience
        self._move(Moved(NOTIFY_WAIT))
        self._ask(now)

    def refresh(self, now: float) -> None:
        """Ask for the full duration again, and with it for the state.

        Without a running subscription, or while a SUBSCRIBE waits for its answer, nothing
        happens.

        Spec: RFC 6665 §4.1.2.2
        """
        if self.state in (PENDING, ACTIVE) and not self._closing and not self._in_flight:
            self._ask(now)
            self._arm()

    def unsubscribe(self, now: float) -> None:
        """End the subscription; it is over when the last NOTIFY has come.

        Spec: RFC 6665 §4.1.2.3
        """
        self._closing = True
        if self.state == TERMINATED:
            self.retry_at = NEVER
        elif self.state == INIT:
            self._end("unsubscribed", 0, now, NEVER)
        elif self.dialog is not None and not self._in_flight:
            self._leave(now)
        # Else the answer or the first NOTIFY comes before: there is no dialog to ask in yet.
        self._arm()

    def answered(self, response: Response, now: float) -> None:
        """The final response to the SUBSCRIBE last sent is here.

        Spec: RFC 6665 §4.1.2.1, §4.1.2.2
        """
        if response.call_id != self.call_id or not self._in_flight:
            return  # of an attempt that was given up since
        self._in_flight = False
        status = self.status = response.status
        self._seq = max(self._seq, response.cseq.number)
        dialog = self.dialog
        if self.state in (INIT, TERMINATED):
            return
        if 200 <= status < 300:
            if dialog is not None and response.to.tag == dialog.remote_tag:
                dialog.answered(response)
            self._granted(response, now)
        elif status == 423:
            self._raise(response, now)
        elif dialog is None:
            wait = self._wait(response)
            self._end("refused", status, now, now + wait)
        elif not dialog.answered(response) or ends_usage(status):
            wait = 0.0 if status == 481 else self._wait(response)
            self._end("gone", status, now, now + wait)
        else:
            # The subscription stands until it expires; no NOTIFY is to come from this one.
            self._timer_n = NEVER
            self._try_later(max(0, retry_after(response)), now)
        if self._closing and self.dialog is not None and self.state in (PENDING, ACTIVE):
            if not self._leaving:
                self._leave(now)
            elif status >= 300:
                self._end("unsubscribed", status, now, NEVER)
        self._arm()

    def notified(self, notify: Request, now: float) -> None:
        """A NOTIFY with our Call-ID and tag is here; answer 200 unless this raises.

        Raises:
            PeerError: with the status to answer: 481 (no such subscription), 489 (another
                package), 500 (out of order), 400.

        Spec: RFC 6665 §4.1.3, §4.4.1
        """
        if self.state in (INIT, TERMINATED) or notify.call_id != self.call_id:
            raise PeerError("no such subscription", 481)
        self._check_event(notify)
        text = notify.first("Subscription-State")
        if text is None:
            raise PeerError("a NOTIFY needs a Subscription-State")
        said = SubscriptionState.parse(text)
        dialog = self.dialog
        first = dialog is None
        if dialog is None:
            if self._first is None:
                raise PeerError("no such subscription", 481)
            dialog = as_subscriber(self._first, self._seq, notify)
        elif notify.from_.tag != dialog.remote_tag:
            self._fork(notify, now)
            return
        else:
            dialog.receive(notify)
            dialog.accept(notify)
        self.dialog = dialog
        self._timer_n = NEVER
        if first:
            self._born_at = now
        self._out.append(Notified(notify))
        if said.state == "terminated":
            self._terminated(said.reason, said.retry_after, now)
        else:
            self._live(ACTIVE if said.state == "active" else PENDING, said.expires, now)
            if self._closing and first and not self._in_flight:
                self._leave(now)
        self._arm()

    def wake(self, now: float) -> None:
        """A timer ran out."""
        if self._timer_n <= now:
            self._end("no-notify", 0, now, now + self._backoff.failed())
        elif self.expires_at <= now:
            self._end("timeout", 0, now, now)
        elif self._refresh_at <= now:
            self._refresh_at = NEVER
            self.refresh(now)
        elif self.retry_at <= now:
            self.start(now)
        self._arm()

    # How a SUBSCRIBE is made and what its answers mean.

    def _ask(self, now: float) -> None:
        wanted = self.wanted
        expires = 0 if self._leaving else self._asked
        headers = [("Event", wanted.event), ("Expires", str(expires)), *wanted.headers]
        if self.dialog is not None:
            request = self.dialog.request("SUBSCRIBE", headers, wanted.body)
        else:
            self._seq += 1
            request = Request.make(
                "SUBSCRIBE",
                wanted.target,
                [
                    *(("Route", route) for route in wanted.routes),
                    ("Max-Forwards", "70"),
                    ("From", f"{wanted.local};tag={self.local_tag}"),
                    ("To", wanted.to or f"<{wanted.target}>"),
                    ("Call-ID", self.call_id),
                    ("CSeq", f"{self._seq} SUBSCRIBE"),
                    ("Contact", wanted.contact),
                    *headers,
                ],
                wanted.body,
            )
            self._first = request
        self._in_flight = True
        self._told = False
        self._refresh_at = NEVER
        self._timer_n = now + wanted.patience
        self._out.append(Send(request))
        self._arm()

    def _granted(self, response: Response, now: float) -> None:
        self._raises = 0
        if response.status == 204:
            self._timer_n = NEVER  # RFC 5839: nothing changed, no NOTIFY follows
        if self._leaving or self._asked == 0 or self._told:
            return  # a NOTIFY that overtook this response is the authority
        granted = delta_seconds(response.first("Expires"), self._asked)
        self._set_expiry(min(granted, self._asked), now)

    def _raise(self, response: Response, now: float) -> None:
        least = delta_seconds(response.first("Min-Expires"), 0)
        self._raises += 1
        if least > self._asked and self._raises <= _MOST_RAISES and not self._closing:
            self._asked = least
            self._ask(now)
        elif self.dialog is None:
            self._end("refused", 423, now, NEVER)
        else:
            self._timer_n = NEVER

    def _leave(self, now: float) -> None:
        if not self._leaving:
            self._leaving = True
            self._ask(now)

    def _try_later(self, least: float, now: float) -> None:
        left = self.expires_at - now
        wait = max(least, left / 2.0, 1.0)
        self._refresh_at = now + wait if wait < left else NEVER

    def _wait(self, response: Response) -> float:
        """Return how long to wait before a new attempt after a refusal."""
        asked = retry_after(response)
        if response.status in _TRANSIENT or asked >= 0:
            return max(float(asked), self._backoff.failed())
        return NEVER

    # What a NOTIFY means.

    def _check_event(self, notify: Request) -> None:
        event = notify.event
        if event is None or event.package != self._event.package:
            raise PeerError("this is not the event package we asked for", 489)
        if not event.matches(self._event):
            raise PeerError("no such subscription", 481)

    def _fork(self, notify: Request, now: float) -> None:
        if not self.wanted.forks or self._first is None or now >= self._fork_until:
            raise PeerError("no such subscription", 481)
        sibling = Subscribing(attrs.evolve(self.wanted, keep=False, forks=False), self._ids)
        sibling.call_id = self.call_id
        sibling.local_tag = self.local_tag
        sibling.state = NOTIFY_WAIT
        sibling._first = self._first
        sibling._seq = self._seq
        sibling.notified(notify, now)
        self._out.append(Forked(sibling))

    def _live(self, state: int, expires: int | None, now: float) -> None:
        if expires is not None:
            self._told = True
            self._set_expiry(expires, now)
        elif self.expires_at == NEVER and self._asked:
            self._set_expiry(self._asked, now)
        if state != self.state:
            self._move(Moved(state))

    def _terminated(self, reason: str, wait: int | None, now: float) -> None:
        if reason in _NO_RETRY:
            self._end(reason, 0, now, NEVER)
        elif reason in ("deactivated", "timeout"):
            self._end(reason, 0, now, now)
        elif wait is not None:
            self._end(reason, 0, now, now + wait)
        elif reason == "probation":
            self._end(reason, 0, now, now + self._backoff.failed())
        else:
            self._end(reason, 0, now, now)

    def _set_expiry(self, seconds: float, now: float) -> None:
        self.expires_at = now + seconds
        if not self._closing and seconds > 0:
            self._refresh_at = now + refresh_after(seconds)

    def _end(self, reason: str, status: int, now: float, retry_at: float) -> None:
        """Leave the dialog; come back at ``retry_at`` if that is wanted at all.

        An immediate return waits if the subscription lived only shortly and is not the first
        that did, or two sides could chase one another.
        """
        if now - self._born_at >= _SHORT_LIFE:
            self._backoff.succeeded()
        elif retry_at <= now:
            if self._backoff.failures or self._born_at == NEVER:
                retry_at = now + self._backoff.failed()
            else:
                self._backoff.failures = 1
        if self.dialog is not None:
            self.dialog.end()
        once = self.wanted.expires == 0
        self.retry_at = retry_at if self.wanted.keep and not self._closing and not once else NEVER
        self._timer_n = self.expires_at = self._refresh_at = NEVER
        self._in_flight = False
        self._move(Moved(TERMINATED, reason, status, self.retry_at))

    def _move(self, moved: Moved) -> None:
        self.state = moved.state
        self._out.append(moved)

    def _arm(self) -> None:
        self.deadline = min(self._timer_n, self.expires_at, self._refresh_at, self.retry_at)
