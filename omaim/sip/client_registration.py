"""The client's side of a registration: keep one binding standing.

The machine builds each REGISTER; its owner sends it, feeds back the final response, and tells
when the flow broke. The registrar's side is in :mod:`omaim.sip.registration`.

Spec: RFC 3261 §10.2; RFC 3608; RFC 5626 §4.2, §4.5; RFC 5627 §4.1; RFC 7315 §4.1
"""

from __future__ import annotations

from typing import Final

import attrs

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.answering import is_stale
from omaim.sip.headers import NameAddr
from omaim.sip.message import Request, Response
from omaim.sip.pacing import Backoff, delta_seconds, refresh_after, retry_after
from omaim.sip.uri import SipUri, parse_uri
from omaim.timers import NEVER

IDLE: Final = 0  # not registered, and not wanted
REGISTERING: Final = 1  # wanted, but no binding stands now
REGISTERED: Final = 2
FAILED: Final = 3  # refused for good; start() tries again

_TRANSIENT: Final = (408, 430, 480, 491, 500, 502, 503, 504, 580)
_MOST_RAISES: Final = 3
_SHORT_LIFE: Final = 30.0  # seconds; a flow that breaks sooner is not replaced at once


@attrs.frozen
class Wanted:
    """What to register; the same for every REGISTER.

    Attributes:
        registrar: Request-URI, as "sip:example.org".
        aor: address of record, as "sip:alice@example.org".
        contact: our URI, without brackets.
        expires: seconds wished.
        instance: "urn:uuid:…" of the device; needed for outbound and GRUU.
        reg_id: number of this flow; 0 asks for no outbound.
        parameters: more Contact parameters, as ";q=0.5;methods=\\"MESSAGE\\"".
        routes: Route values: the outbound proxy, or the path to the registrar.
        headers: more header fields.
    """

    registrar: str
    aor: str
    contact: str
    expires: int = 3600
    instance: str = ""
    reg_id: int = 0
    parameters: str = ""
    routes: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Granted:
    """What the registrar said with its last 200.

    Attributes:
        expires: seconds.
        service_route: Route values for our other requests (RFC 3608).
        associated: P-Associated-URI: the public identities registered together, default first.
        pub_gruu: public GRUU, "" for none (RFC 5627).
        temp_gruu: temporary GRUU, "" for none.
        outbound: the registrar does outbound: keep the flow alive (RFC 5626 §4.2.1).
        flow_timer: seconds between keep-alives that the edge wants, 0 for no wish.
    """

    expires: int = 0
    service_route: tuple[str, ...] = ()
    associated: tuple[str, ...] = ()
    pub_gruu: str = ""
    temp_gruu: str = ""
    outbound: bool = False
    flow_timer: int = 0


@attrs.frozen
class Moved:
    """The registration changed its state.

    Attributes:
        state: one of the constants of this module.
        status: the response that caused it, 0 for none.
        retry_at: when it will be tried again, :data:`~omaim.timers.NEVER` for not.
    """

    state: int
    status: int = 0
    retry_at: float = NEVER


class Registering:
    """One binding of ours.

    Inputs: :meth:`start`, :meth:`stop`, :meth:`answered`, :meth:`flow_lost`,
    :meth:`dismissed`, :meth:`wake`. After each, :meth:`take` gives the REGISTER to send, if
    any, and :meth:`moves` the changes of state.

    Args:
        wanted: what to register.
        ids: for Call-ID, tag and jitter.
        base: seconds, RFC 5626's base-time: 30, or 90 while other flows stand.

    Attributes:
        deadline: when :meth:`wake` is wanted, monotonic seconds; an
            :class:`~omaim.timers.Alarm` of the owner keeps it.
        state: see the constants.
        granted: what the registrar said last.
        expires_at: when the binding ends unless refreshed.
        status: the final response last seen.
    """

    __slots__ = (
        "_asked",
        "_call_id",
        "_full",
        "_in_flight",
        "_local",
        "_losses",
        "_moves",
        "_next_at",
        "_out",
        "_outbound",
        "_raises",
        "_refusals",
        "_sent",
        "_seq",
        "_since",
        "_stop",
        "_wanted_on",
        "deadline",
        "expires_at",
        "granted",
        "state",
        "status",
        "wanted",
    )

    def __init__(self, wanted: Wanted, ids: Ids, base: float = 30.0) -> None:
        self.deadline = NEVER
        self.wanted = wanted
        self._local = f"<{wanted.aor}>;tag={ids.tag()}"
        self._call_id = ids.call_id()
        self._refusals = Backoff(ids, base)
        self._losses = Backoff(ids, base)
        self._asked = wanted.expires
        self._sent = 0  # duration that the REGISTER under way asks for
        self._outbound = bool(wanted.instance and wanted.reg_id)
        self._wanted_on = False
        self._in_flight = False
        self._raises = 0
        self._seq = 0
        self._since = NEVER
        self._next_at = NEVER
        self._out: Request | None = None
        self._moves: list[Moved] = []
        self.expires_at = NEVER
        self.granted = Granted()
        self.state = IDLE
        self.status = 0

    def take(self) -> Request | None:
        """Return the REGISTER to send now, or None."""
        out, self._out = self._out, None
        return out

    def moves(self) -> list[Moved]:
        """Return the changes of state since the last call."""
        moves, self._moves = self._moves, []
        return moves

    @property
    def kept(self) -> bool:
        """The binding is wanted: started, and neither stopped nor refused since."""
        return self._wanted_on

    @property
    def settled(self) -> bool:
        """No REGISTER is under way."""
        return not self._in_flight

    def next_seq(self) -> int:
        """Return the CSeq number for the REGISTER at hand sent once more with credentials."""
        self._seq += 1
        return self._seq

    def start(self, now: float) -> None:
        """Register, or refresh the binding now."""
        self._wanted_on = True
        self._raises = 0
        if self.state in (IDLE, FAILED):
            self._move(REGISTERING, 0)
        self._next_at = now
        self._go(now)

    def stop(self, now: float) -> None:
        """Remove the binding.

        Spec: RFC 3261 §10.2.2
        """
        self._wanted_on = False
        stands = self.state == REGISTERED
        self._next_at = now if stands else NEVER
        if not stands and not self._in_flight:
            self._move(IDLE, 0)
        self._go(now)

    def flow_lost(self, now: float) -> None:
        """The connection that the binding leads to is gone: make another.

        At once the first time, after a pause if they break again and again.

        Spec: RFC 5626 §4.5
        """
        if not self._wanted_on or self.state not in (REGISTERING, REGISTERED):
            return
        if now - self._since >= _SHORT_LIFE:
            self._losses.succeeded()
            wait = 0.0
        else:
            wait = self._losses.failed()
        if self.state == REGISTERED or not self._in_flight:
            self._next_at = now + wait
        if self.state == REGISTERED:
            self._since = NEVER
            self._move(REGISTERING, 0)
        self._go(now)

    def dismissed(self, event: str, now: float, seconds: int = -1) -> None:
        """The network removed the binding, as its reg event package told.

        Args:
            event: "rejected" and "unregistered" are final, "deactivated" asks to register
                anew, "probation" to do so later.
            now: monotonic seconds.
            seconds: retry-after, -1 if none was told.

        Spec: RFC 3680 §5.3
        """
        self.expires_at = NEVER
        if event in ("deactivated", "expired", "probation"):
            self._move(REGISTERING, 0)
            wait = max(0.0, float(seconds))
            if event == "probation" and seconds < 0:
                wait = self._refusals.failed()
            self._next_at = now + wait
        else:
            self._wanted_on = False
            self._next_at = NEVER
            self._move(FAILED, 0)
        self._go(now)

    def answered(self, response: Response, now: float) -> None:
        """The final response to the REGISTER at hand is here.

        Spec: RFC 3261 §10.2.4, §10.2.8
        """
        if not self._in_flight:
            return
        self._in_flight = False
        status = self.status = response.status
        self._seq = max(self._seq, response.cseq.number)
        if self._sent == 0:
            self.expires_at = NEVER  # if it was refused, it will expire by itself
            self._move(IDLE, status)
            if self._wanted_on:
                self._move(REGISTERING, status)
                self._next_at = now
        elif 200 <= status < 300:
            self._registered(response, now)
        elif not self._wanted_on:
            self._move(IDLE, status)
        elif status == 423:
            least = delta_seconds(response.first("Min-Expires"), 0)
            self._raises += 1
            if least > self._asked and self._raises <= _MOST_RAISES:
                self._asked = least
                self._next_at = now
            else:
                self._fail(status)
        elif status == 439 and self._outbound:
            self._outbound = False  # RFC 5626 §4.2.1: the first hop cannot; do without
            self._next_at = now
        elif retry_after(response) >= 0 or status in _TRANSIENT or is_stale(response):
            self._next_at = now + self._pause(response)
            if self.state != REGISTERED:
                self._moves.append(Moved(REGISTERING, status, self._next_at))
        else:
            self._fail(status)
        self._go(now)

    def wake(self, now: float) -> None:
        """A timer ran out."""
        if self.expires_at <= now:
            self.expires_at = NEVER
            self._move(REGISTERING if self._wanted_on else IDLE, 0)
        self._go(now)

    def _registered(self, response: Response, now: float) -> None:
        self._refusals.succeeded()
        self._raises = 0
        ours = self._binding(response)
        expires = delta_seconds(response.first("Expires"), self._sent)
        if ours is not None and ours.expires is not None:
            expires = ours.expires
        expires = min(expires, self._sent)
        if expires <= 0:
            self._next_at = now + self._losses.failed()  # taken, and dropped at once
            return
        require = [option.lower() for option in _values(response, "Require")]
        self.granted = Granted(
            expires,
            _routes(response),
            _addresses(response, "P-Associated-URI"),
            _parameter(ours, "pub-gruu"),
            _parameter(ours, "temp-gruu"),
            self._outbound and "outbound" in require,
            delta_seconds(response.first("Flow-Timer"), 0),
        )
        self.expires_at = now + expires
        if self._since == NEVER:
            self._since = now
        self._next_at = now + max(1.0, refresh_after(expires)) if self._wanted_on else now
        self._move(REGISTERED, response.status)

    def _pause(self, response: Response) -> float:
        """Return how long to wait after a refusal that may pass.

        Spec: RFC 5626 §4.2.1 (a 503 tells, and may allow one retry at once), §4.5
        """
        told = retry_after(response)
        own = self._refusals.failed()
        if response.status == 503 and (told > 0 or (told == 0 and self._refusals.failures == 1)):
            return float(told)
        return max(float(told), own)

    def _binding(self, response: Response) -> NameAddr | None:
        """Return our own among the bindings that the registrar lists."""
        try:
            contacts = response.contacts
            own = parse_uri(self.wanted.contact)
            for contact in contacts:
                same = contact.uri.equals(own)
                if self._outbound and contact.params.has("reg-id"):
                    same = contact.params.get("reg-id") == str(self.wanted.reg_id) and (
                        _parameter(contact, "+sip.instance") == f"<{self.wanted.instance}>"
                    )
                if same:
                    return contact
        except PeerError:
            pass  # a registrar that lists nonsense still registered us
        return None

    def _go(self, now: float) -> None:
        if not self._in_flight and self._next_at <= now:
            self._next_at = NEVER
            self._ask(self._asked if self._wanted_on else 0)
        if self._in_flight:
            self.deadline = self.expires_at
        else:
            self.deadline = min(self._next_at, self.expires_at)

    def _ask(self, expires: int) -> None:
        wanted = self.wanted
        contact = f"<{wanted.contact}>{wanted.parameters}"
        supported = "path, gruu"
        if wanted.instance:
            contact += f';+sip.instance="<{wanted.instance}>"'
        if self._outbound:
            contact += f";reg-id={wanted.reg_id}"
            supported += ", outbound"
        self._seq += 1
        self._sent = expires
        self._in_flight = True
        self._out = Request.make(
            "REGISTER",
            wanted.registrar,
            [
                *(("Route", route) for route in wanted.routes),
                ("Max-Forwards", "70"),
                ("From", self._local),
                ("To", f"<{wanted.aor}>"),
                ("Call-ID", self._call_id),
                ("CSeq", f"{self._seq} REGISTER"),
                ("Contact", f"{contact};expires={expires}"),
                ("Expires", str(expires)),
                ("Supported", supported),
                *wanted.headers,
            ],
        )

    def _fail(self, status: int) -> None:
        self._wanted_on = False
        self._next_at = self.expires_at = NEVER
        self._move(FAILED, status)

    def _move(self, state: int, status: int) -> None:
        if state != self.state:
            self.state = state
            if state != REGISTERED:
                self._since = NEVER
            self._moves.append(Moved(state, status, self._next_at))


def _values(response: Response, name: str) -> list[str]:
    """Return the values of a list header; a list that cannot be read is none."""
    try:
        return response.values(name)
    except PeerError:
        return []


def _routes(response: Response) -> tuple[str, ...]:
    """Return the Service-Route; one that leads nowhere is none at all (RFC 3608 §6.1)."""
    routes = _values(response, "Service-Route")
    try:
        for route in routes:
            if not isinstance(NameAddr.parse(route).uri, SipUri):
                return ()
    except PeerError:
        return ()
    return tuple(routes)


def _addresses(response: Response, name: str) -> tuple[str, ...]:
    try:
        return tuple(address.uri_text for address in response.addresses(name))
    except PeerError:
        return ()


def _parameter(contact: NameAddr | None, name: str) -> str:
    return (contact.params.get(name) or "") if contact is not None else ""
