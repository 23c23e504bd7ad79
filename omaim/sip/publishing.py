"""The publisher's side of PUBLISH: keep one piece of event state standing.

The machine builds each PUBLISH; its owner sends it and feeds back the final response.

Spec: RFC 3903 §4, §5
"""

from __future__ import annotations

from typing import Final

import attrs

from omaim.ids import Ids
from omaim.sip.message import Request, Response
from omaim.sip.pacing import Backoff, delta_seconds, refresh_after, retry_after
from omaim.timers import NEVER

IDLE: Final = 0  # nothing stands, nothing is wanted
PUBLISHING: Final = 1  # wanted; the compositor has not taken it yet
PUBLISHED: Final = 2
FAILED: Final = 3  # refused for good: publish something else, or later

_TRANSIENT: Final = (408, 430, 480, 491, 500, 502, 503, 504)
_MOST_RAISES: Final = 3


@attrs.frozen
class Moved:
    """The publication changed its state.

    Attributes:
        state: one of the constants of this module.
        status: the response that caused it, 0 for none.
    """

    state: int
    status: int = 0


class Publishing:
    """One publication of ours.

    Inputs: :meth:`publish`, :meth:`remove`, :meth:`answered`, :meth:`wake`. After each,
    :meth:`take` gives the PUBLISH to send, if any, and :meth:`moves` the changes of state.
    Never are two on their way at once (RFC 3903 §4).

    Args:
        target: Request-URI: whose state it is.
        event: Event value.
        local: our From value without tag, "<sip:…>".
        ids: for Call-ID and tags.
        expires: seconds wished.
        routes: Route values.
        headers: more header fields.

    Attributes:
        deadline: when :meth:`wake` is wanted, monotonic seconds; an
            :class:`~omaim.timers.Alarm` of the owner keeps it.
        state: see the constants.
        etag: the entity-tag that stands, "" for none.
        status: the final response last seen.
        routes: Route values of the next PUBLISH; a registration may change them.

    Spec: RFC 3903 §4.1 table 1
    """

    __slots__ = (
        "_asked",
        "_backoff",
        "_body",
        "_call_id",
        "_changed",
        "_content_type",
        "_event",
        "_expires",
        "_expires_at",
        "_full",
        "_headers",
        "_in_flight",
        "_local",
        "_moves",
        "_next_at",
        "_out",
        "_raises",
        "_seq",
        "_target",
        "_wanted",
        "deadline",
        "etag",
        "routes",
        "state",
        "status",
    )

    def __init__(
        self,
        target: str,
        event: str,
        local: str,
        ids: Ids,
        *,
        expires: int = 3600,
        routes: tuple[str, ...] = (),
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.deadline = NEVER
        self._target = target
        self._event = event
        self._local = f"{local};tag={ids.tag()}"
        self._call_id = ids.call_id()
        self._backoff = Backoff(ids)
        self._expires = expires
        self._asked = 0
        self.routes = routes
        self._headers = headers
        self._body = b""
        self._content_type = ""
        self._changed = False  # the body differs from what the compositor holds
        self._wanted = False
        self._in_flight = False
        self._full = False  # the PUBLISH at hand carries the body
        self._raises = 0
        self._seq = 0
        self._expires_at = NEVER
        self._next_at = NEVER
        self._out: Request | None = None
        self._moves: list[Moved] = []
        self.etag = ""
        self.state = IDLE
        self.status = 0

    def take(self) -> Request | None:
        """Return the PUBLISH to send now, or None."""
        out, self._out = self._out, None
        return out

    def moves(self) -> list[Moved]:
        """Return the changes of state since the last call."""
        moves, self._moves = self._moves, []
        return moves

    @property
    def settled(self) -> bool:
        """No PUBLISH is under way or about to be sent."""
        return not self._in_flight and not (self._changed and self._wanted)

    def next_seq(self) -> int:
        """Return the CSeq number for the PUBLISH at hand sent once more with credentials."""
        self._seq += 1
        return self._seq

    def publish(self, body: bytes, content_type: str, now: float) -> None:
        """Let this state stand from now on, in place of what was published before.

        Spec: RFC 3903 §4.2, §4.4
        """
        self._changed = self._changed or not self.etag or body != self._body
        self._changed = self._changed or content_type != self._content_type
        self._body = body
        self._content_type = content_type
        self._wanted = True
        self._raises = 0
        if self.state in (IDLE, FAILED):
            self._move(PUBLISHING, 0)
        self._next_at = now
        self._go(now)

    def remove(self, now: float) -> None:
        """Withdraw the state.

        Spec: RFC 3903 §4.5
        """
        self._wanted = False
        self._next_at = NEVER
        if self.etag or self._in_flight:
            self._next_at = now
            self._go(now)
        else:
            self._move(IDLE, 0)  # also out of a failure
            self._arm()

    def answered(self, response: Response, now: float) -> None:
        """The final response to the PUBLISH at hand is here.

        Spec: RFC 3903 §5
        """
        if not self._in_flight:
            return
        self._in_flight = False
        self._seq = max(self._seq, response.cseq.number)
        status = self.status = response.status
        if status >= 300 and self._full:
            self._changed = True
        if 200 <= status < 300:
            self._stands(response, now)
        elif status == 412 and self.etag:
            self.etag = ""
            self._changed = True
            self._next_at = now  # with the whole state this time
            if self.state == PUBLISHED:
                self._move(PUBLISHING, status)
        elif status == 423:
            least = delta_seconds(response.first("Min-Expires"), 0)
            self._raises += 1
            if least > self._asked > 0 and self._raises <= _MOST_RAISES:
                self._expires = least
                self._next_at = now
            else:
                self._fail(status)
        elif retry_after(response) >= 0 or status in _TRANSIENT:
            wait = max(float(retry_after(response)), self._backoff.failed())
            self._next_at = now + wait
            if self.etag and self._expires_at <= self._next_at:
                self._lapse(status)
        else:
            self._fail(status)
        self._rest(status)
        self._go(now)

    def wake(self, now: float) -> None:
        """A timer ran out."""
        if self.etag and self._expires_at <= now:
            self._lapse(0)
            self._rest(0)
        self._go(now)

    def _stands(self, response: Response, now: float) -> None:
        self._raises = 0
        etag = (response.first("SIP-ETag") or "").strip()
        if self._asked == 0:
            self.etag = ""
            self._expires_at = NEVER
            self._changed = True
            if self._wanted:
                self._next_at = now  # wanted again meanwhile
            return
        granted = min(delta_seconds(response.first("Expires"), self._asked), self._asked)
        if granted <= 0 and self._wanted:
            self.etag = ""  # taken, and dropped at once
            self._changed = True
            self._next_at = now + self._backoff.failed()
            return
        # Without SIP-ETag, which is a must, only a new initial publication can follow.
        self.etag = etag
        self._backoff.succeeded()
        self._expires_at = now + granted
        if self._wanted:
            self._next_at = now if self._changed else now + max(1.0, refresh_after(granted))
            self._move(PUBLISHED, response.status)
        else:
            self._next_at = now

    def _go(self, now: float) -> None:
        if not self._in_flight and self._next_at <= now:
            if self._wanted:
                self._ask(self._expires, full=self._changed or not self.etag)
            elif self.etag:
                self._ask(0, full=False)
            self._next_at = NEVER
        self._arm()

    def _ask(self, expires: int, *, full: bool) -> None:
        self._asked = expires
        self._seq += 1
        headers = [
            *(("Route", route) for route in self.routes),
            ("Max-Forwards", "70"),
            ("From", self._local),
            ("To", f"<{self._target}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._seq} PUBLISH"),
            ("Event", self._event),
            ("Expires", str(expires)),
            *self._headers,
        ]
        if self.etag:
            headers.append(("SIP-If-Match", self.etag))
        if full:
            headers.append(("Content-Type", self._content_type))
            self._changed = False
        body = self._body if full else b""
        self._out = Request.make("PUBLISH", self._target, headers, body)
        self._in_flight = True
        self._full = full

    def _lapse(self, status: int) -> None:
        """The compositor has dropped it by now; the next PUBLISH is an initial one."""
        self.etag = ""
        self._changed = True
        self._expires_at = NEVER
        if self._wanted:
            self._move(PUBLISHING, status)

    def _fail(self, status: int) -> None:
        self.etag = ""
        self._changed = True
        self._next_at = self._expires_at = NEVER
        if self._wanted:
            self._wanted = False
            self._move(FAILED, status)

    def _rest(self, status: int) -> None:
        if not self._wanted and not self.etag and not self._in_flight:
            self._next_at = NEVER
            if self.state != FAILED:
                self._move(IDLE, status)

    def _move(self, state: int, status: int) -> None:
        if state != self.state:
            self.state = state
            self._moves.append(Moved(state, status))

    def _arm(self) -> None:
        if self._in_flight:
            self.deadline = NEVER
        else:
            self.deadline = min(self._next_at, self._expires_at if self.etag else NEVER)
