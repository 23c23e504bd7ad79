"""A registrant: keep an address of record registered, whatever happens to the network.

Plugin writers: ``await registrant.start()`` registers; afterwards the user agent's routes and
contact are what the registrar gave. :meth:`Registrant.stop` removes the binding.

Spec: RFC 3261 §10.2; RFC 3608; RFC 5626 §4; RFC 5627
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import PeerError
from omaim.roles.user_agent import UserAgent
from omaim.sip.client_registration import (
    FAILED,
    IDLE,
    REGISTERED,
    Granted,
    Moved,
    Registering,
    Wanted,
)
from omaim.sip.exchange import Exchange
from omaim.sip.flow import Flow
from omaim.sip.headers import NameAddr
from omaim.sip.message import Response
from omaim.sip.outbound import keep_alive_after
from omaim.sip.uri import SipUri
from omaim.timers import NEVER, Alarm

_log = Logger()


class NotRegistered(PeerError):
    """The registrar refused; carries the status."""


class Registrant:
    """Keeps one binding of a user agent's identity standing.

    Args:
        ua: sends; its credentials answer the challenges.
        registrar: Request-URI; the domain of the identity if empty.
        contact: our URI; that of the user agent's contact if empty.
        expires: seconds wished.
        instance: "urn:uuid:…" of the device; needed for outbound and GRUU.
        reg_id: number of this flow among several; 0 asks for no outbound.
        parameters: more Contact parameters, with their semicolons.
        keep_alive: ping the flow even if the registrar does not do outbound, as behind a NAT.
        on_state: gets each change of state.

    Attributes:
        granted: what the registrar said last.
        flow: the path of the last REGISTER.
    """

    def __init__(
        self,
        ua: UserAgent,
        registrar: str = "",
        contact: str = "",
        *,
        expires: int = 3600,
        instance: str = "",
        reg_id: int = 0,
        parameters: str = "",
        keep_alive: bool = False,
        on_state: Callable[[Moved], object] | None = None,
    ) -> None:
        self._ua = ua
        self._first_routes = ua.routes
        self._first_contact = ua.contact
        own = contact or ua.contact_uri
        wanted = Wanted(
            registrar or f"sip:{ua.identity.rpartition('@')[2]}",
            ua.identity,
            own,
            expires,
            instance,
            reg_id,
            parameters,
            ua.routes,
            ua.headers,
        )
        self._machine = Registering(wanted, ua.ids)
        self._on_state = on_state
        self._keep_alive = keep_alive
        self._alarm = Alarm(self._woken)
        self._ping = Alarm(self._pinged)
        self._waiting: list[Deferred[Granted]] = []
        self._stopped: list[Deferred[None]] = []
        self._exchange: Exchange | None = None
        self.flow: Flow | None = None
        ua.on_flow_closed.append(self._flow_closed)

    @property
    def state(self) -> int:
        """One of the constants of :mod:`omaim.sip.client_registration`."""
        return self._machine.state

    @property
    def aor(self) -> str:
        """The address of record."""
        return self._machine.wanted.aor

    @property
    def contact(self) -> str:
        """The URI that is registered."""
        return self._machine.wanted.contact

    @property
    def granted(self) -> Granted:
        return self._machine.granted

    def start(self) -> Deferred[Granted]:
        """Register, or refresh now; fires at the next success.

        It fails with :class:`NotRegistered` when the registrar refuses for good; as long as
        it cannot be reached, it is tried again and again.
        """
        done: Deferred[Granted] = Deferred()
        self._waiting.append(done)
        self._machine.start(self._ua.now())
        self._pump()
        return done

    def stop(self) -> Deferred[None]:
        """Remove the binding; fires when the registrar has answered, or could not."""
        done: Deferred[None] = Deferred()
        self._stopped.append(done)
        self._ping.deadline = NEVER
        self._machine.stop(self._ua.now())
        self._pump()
        return done

    def dismissed(self, event: str, retry_after: int = -1) -> None:
        """The reg event package told that the network removed our binding.

        Args:
            event: of our contact: rejected, deactivated, probation, unregistered, expired.
            retry_after: seconds, -1 if none was told.

        Spec: RFC 3680 §5.3
        """
        if self._machine.kept:
            self._machine.dismissed(event, self._ua.now(), retry_after)
            self._pump()

    def _flow_closed(self, flow: Flow) -> None:
        if flow is self.flow:
            self.flow = None
            self._ping.deadline = NEVER
            self._machine.flow_lost(self._ua.now())
            self._pump()

    def _woken(self, now: float) -> None:
        self._machine.wake(now)
        self._pump()

    def _sent(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def _answered(self, response: Response) -> None:
        machine = self._machine
        if 200 <= response.status < 300 and self._exchange is not None:
            self.flow = self._exchange.flow
        machine.answered(response, self._ua.now())
        if 200 <= response.status < 300 and machine.state == REGISTERED and machine.kept:
            self._use(machine.granted)
            waiting, self._waiting = self._waiting, []
            for done in waiting:
                done.callback(machine.granted)
        self._pump()

    def _pump(self) -> None:
        machine = self._machine
        request = machine.take()
        if request is not None:
            # A refresh goes the way of the registration it refreshes (RFC 5626 §4.2.2).
            flow = self.flow
            if flow is not None and (not flow.open or machine.state != REGISTERED):
                flow = None
            sending = Deferred.fromCoroutine(
                self._ua.request(
                    request,
                    flow=flow if flow is not None and flow.reliable else None,
                    next_seq=machine.next_seq,
                    sent=self._sent,
                )
            )
            sending.addCallback(self._answered)
            sending.addErrback(_broken)
        for moved in machine.moves():
            self._moved(moved)
        self._alarm.deadline = machine.deadline
        self._ua.arm(self._alarm)
        if machine.settled and machine.state in (FAILED, IDLE):
            waiting, self._waiting = self._waiting, []
            for done in waiting:
                done.errback(NotRegistered("not registered", machine.status or 487))
            stopped, self._stopped = self._stopped, []
            for gone in stopped:
                gone.callback(None)

    def _moved(self, moved: Moved) -> None:
        if moved.state in (FAILED, IDLE):
            self._ping.deadline = NEVER
            self._ua.routes = self._first_routes
            self._ua.contact = self._first_contact
        if self._on_state is not None:
            try:
                self._on_state(moved)
            except Exception:
                _log.failure("A change of a registration was not understood")

    def _use(self, granted: Granted) -> None:
        """Send from now on as the registrar wants it."""
        ua = self._ua
        ua.routes = _joined(self._first_routes, granted.service_route)
        if granted.pub_gruu:
            ua.contact = f"<{granted.pub_gruu}>"
        if granted.outbound or self._keep_alive:
            self._plan_ping()

    def _plan_ping(self) -> None:
        flow = self.flow
        if flow is None:
            return
        wait = keep_alive_after(self._ua.ids.fraction(), flow.reliable, self.granted.flow_timer)
        self._ping.deadline = self._ua.now() + wait
        self._ua.arm(self._ping)

    def _pinged(self, now: float) -> None:
        """Time for a keep-alive: a stream that does not answer is reported as closed."""
        flow = self.flow
        if flow is not None and flow.open:
            self._ua.endpoint.ping(flow, stun=self.granted.outbound)
            self._plan_ping()


def _joined(first: tuple[str, ...], service: tuple[str, ...]) -> tuple[str, ...]:
    """Return outbound proxy and service route, without going to one server twice in a row.

    Spec: RFC 3608 §6.1
    """
    if first and service:
        try:
            last, then = NameAddr.parse(first[-1]).uri, NameAddr.parse(service[0]).uri
        except PeerError:
            return first
        if (
            isinstance(last, SipUri)
            and isinstance(then, SipUri)
            and (last.host, last.port) == (then.host, then.port)
        ):
            return (*first[:-1], *service)
    return (*first, *service)


def _broken(failure: Failure) -> None:
    _log.failure("Sending a REGISTER failed", failure)
