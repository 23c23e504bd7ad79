"""One SIP endpoint: sockets, parsing, transactions; requests in, requests out.

Everything an entity does in SIP, it does with an :class:`Endpoint`, on the real network or on
a simulated one. What is known at once is done at once: no Deferred stands between a request
for a numeric address and the socket.

Spec: RFC 3261 §18, RFC 3263, RFC 3581, RFC 5626 §4.4.1, RFC 5922, RFC 5923
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import PeerError, Unavailable, UsageError
from omaim.ids import Ids
from omaim.net.clock import wall
from omaim.net.connection import ANSWER, Connection, Connections
from omaim.net.driver import Driver
from omaim.net.flows import Flows
from omaim.net.incoming import Incoming
from omaim.net.limits import StreamLimits
from omaim.net.ports import Listener, Listens
from omaim.net.redelivery import Redelivery
from omaim.net.resolver import Resolver
from omaim.net.tls import TlsSettings
from omaim.net.wire import OUT, Wire, WireRecord
from omaim.sip.exchange import Exchange, Outlet
from omaim.sip.flow import TCP, TLS, UDP, Flow
from omaim.sip.locating import Target, next_hop
from omaim.sip.matching import MAXIMUM, Transactions
from omaim.sip.message import Request, Response
from omaim.sip.parser import Limits
from omaim.sip.stun import question
from omaim.sip.timing import Timing
from omaim.sip.transaction import ClientTransaction, ServerTransaction
from omaim.sip.transport import Departing
from omaim.sip.uri import SipUri
from omaim.sip.user import TransactionUser

GRACE: Final = 2.0  # seconds that peers have to read our last words
LOOK: Final = 1e-6  # seconds of pause for each transaction, before those of a dead peer are sought

_log = Logger()


class Endpoint(Listens):
    """One SIP endpoint.

    Args:
        network: where sockets come from.
        clock: the reactor, or virtual time; see :mod:`omaim.net.clock`.
        resolver: finds servers; numeric addresses only when not given.
        name: of the entity, for ladders and logs.
        timing: the SIP timers.
        ids: source of branches and tags.
        limits: what a message may be.
        stream_limits: what stream peers may cost.
        software: goes into Server of the answers made here; "" for none.
        wire: where watchers look.
        tls: who we are as a TLS client; the first TLS listener's settings when not given.
        maximum: most transactions of each side at a time.
        user_agent: refuse merged requests by itself (RFC 3261 §8.2.2.2); not for proxies.

    Attributes:
        on_ack: gets each ACK for a 2xx, and the flow it came by.
        on_cancel: gets an INVITE's transaction that is to be cancelled, and the CANCEL, which
            has been answered; answer the INVITE 487 then.
        on_stray_response: gets a response that nobody waits for, and its flow.
        on_failure: gets an INVITE's transaction whose answer was not acknowledged or could
            not be delivered, and why: "timeout" or "transport".
        on_flow_closed: gets each stream flow that is gone.
        counters: how often what happened, by name, for metrics.
        listeners: where it listens.
        outlet: the way out, for those who send exchanges of their own.
    """

    def __init__(
        self,
        network: Any,
        clock: IReactorTime,
        resolver: Resolver | None = None,
        *,
        name: str = "",
        timing: Timing | None = None,
        ids: Ids | None = None,
        limits: Limits | None = None,
        stream_limits: StreamLimits | None = None,
        software: str = "",
        wire: Wire | None = None,
        tls: TlsSettings | None = None,
        maximum: int = MAXIMUM,
        user_agent: bool = False,
    ) -> None:
        self.name = name
        self.software = software
        self.ids = ids or Ids()
        self.timing = timing or Timing()
        self.resolver = resolver or Resolver(clock, ids=self.ids)
        self.counters: Counter[str] = Counter()
        self.on_ack: Callable[[Request, Flow], object] = _ignore_ack
        self.on_cancel: Callable[[ServerTransaction, Request], object] = self._no_cancel
        self.on_stray_response: Callable[[Response, Flow], object] = _ignore_stray
        self.on_failure: Callable[[ServerTransaction, str], object] = _ignore_failure
        self.on_flow_closed: Callable[[Flow], object] = _ignore_flow
        self.now: Callable[[], float] = clock.seconds
        self.wire = wire or Wire()
        self._clock: Any = clock
        self._wall = wall(clock)
        self._driver = Driver(clock)
        self.arm: Callable[[], None] = self._driver.arm
        departing = Departing(self.wire.watch, self._show_out, self._unwritten)
        self._write: Callable[[Flow, bytes], None] = departing.write
        self._user = TransactionUser(
            self._no_request,
            self._new_ack,
            self._new_cancel,
            self._new_stray,
            self._new_failure,
            self._dropped,
            self._request_crashed,
        )
        self.transactions = Transactions(
            self.timing,
            self.ids,
            self._driver.deadlines,
            self._write,
            self._user,
            maximum,
            user_agent,
        )
        message_limits = limits or Limits()
        self.connections = Connections(
            stream_limits or StreamLimits(),
            message_limits,
            self._driver.deadlines,
            self.now,
            self._from_stream,
            self.arm,
            self._lost,
            self.count,
        )
        self.flows = Flows(network, self.connections, tls)
        self._incoming = Incoming(self, message_limits)
        self._redelivery = Redelivery(self)
        self.outlet = Outlet(
            self.transactions,
            self._driver.deadlines,
            self.timing,
            self.ids,
            self.resolver.supported,
            self.now,
            self._driver.wakeup,
            self.flows.datagrams,
            self._stream_to,
            _has_room,
            self._find,
            self.resolver.failed,
            self._fail_later,
            self.ping,
            self.crashed,
            self.count,
        )
        self._broken: list[Flow] = []
        self._refused: dict[tuple[str, int], None] = {}
        self._stopped = False

    @property
    def on_request(self) -> Callable[[ServerTransaction], object]:
        """Gets each new request's transaction; answer it with :meth:`respond`."""
        return self._user.on_request

    @on_request.setter
    def on_request(self, act: Callable[[ServerTransaction], object]) -> None:
        self._user.on_request = act

    @property
    def listeners(self) -> list[Listener]:
        """Where we listen."""
        return self.flows.listeners

    def stop(self) -> Deferred[None]:
        """Listen no more, end all connections; fires when no socket is left."""
        self._stopped = True
        self.flows.datagrams.clear()
        pending: list[Deferred[Any]] = [listener.close() for listener in self.listeners]
        self.listeners.clear()
        streams = self.connections.close()
        if not streams.called:
            late = self._clock.callLater(GRACE, self.connections.abort)
            streams.addCallback(lambda _: late.cancel() if late.active() else None)
        pending.append(streams)
        self._driver.stop()
        done: Deferred[None] = DeferredList(pending).addCallback(lambda _: None)
        return done

    @property
    def via_host(self) -> str:
        """The host that our first listener's Via names; "" when we do not listen."""
        return self.listeners[0].advertised if self.listeners else ""

    @property
    def driver(self) -> Driver:
        """What wakes machines on this endpoint's clock; the roles' machines share it."""
        return self._driver

    def uri(self, transport: str = UDP, user: str = "") -> str:
        """Return a URI that leads here by ``transport``; "" when we do not listen so."""
        for listener in self.listeners:
            if listener.transport == transport:
                at = f"{user}@" if user else ""
                tail = "" if transport == UDP else f";transport={transport.lower()}"
                return f"sip:{at}{listener.sent_by}{tail}"
        return ""

    def owns(self, uri: SipUri) -> bool:
        """Tell whether a URI leads to one of our listeners, as a Route to us does."""
        return self.flows.owns(uri)

    def send(
        self,
        request: Request,
        on_response: Callable[[Response], object],
        *,
        flow: Flow | None = None,
        targets: list[Target] | None = None,
        on_end: Callable[[], object] | None = None,
        loop: str = "",
    ) -> Exchange:
        """Send a request and report its responses; another target is tried where one fails.

        Args:
            request: complete but for our Via; it belongs to the exchange from now on.
            on_response: gets provisional responses and the final one (each 2xx of an INVITE),
                never before this returns. What could not be sent ends in a ``local`` one.
            flow: send it by this path and no other.
            targets: send it there; else Route or the Request-URI decide (RFC 3261 §8.1.2).
            on_end: called when nothing more can come.
            loop: ends the branch, for proxies that look for loops (RFC 3261 §16.6 step 8).
        """
        exchange = Exchange(self.outlet, request, on_response, on_end, loop)
        exchange.start(flow, targets)
        return exchange

    def send_ack(
        self, request: Request, *, flow: Flow | None = None, targets: list[Target] | None = None
    ) -> None:
        """Send the ACK for a 2xx, which has no transaction and gets no answer.

        Spec: RFC 3261 §13.2.2.4
        """
        if flow is None and targets is None:
            try:
                found = self.locate(request)
            except (Unavailable, PeerError):
                self.count("ack_unsendable")
                return
            if isinstance(found, Deferred):
                found.addCallbacks(
                    lambda located: self.send_ack(request, targets=located),
                    lambda failure: self.count("ack_unsendable"),
                )
                return
            targets = found
        if flow is None and targets:
            target = targets[0]
            if target.transport == UDP and self.outlet.too_large(request):
                target = Target(TCP, target.host, target.port, target.domain)
            flow = self.outlet.flow_to(target)
        if flow is None:
            self.count("ack_unsendable")
            return
        self.outlet.add_via(request, flow)
        self.write(flow, request.to_bytes())
        self.arm()

    def cancel(self, transaction: ClientTransaction) -> None:
        """Ask the peer to give up an INVITE (RFC 3261 §9.1)."""
        self.transactions.cancel(transaction, self.now())
        self.arm()

    def ping(self, flow: Flow, stun: bool = False) -> None:
        """Keep a flow alive; a stream that does not answer in time is dropped.

        Args:
            stun: the server is known to understand STUN, which is then what a datagram holds.

        Spec: RFC 5626 §4.4.1, §4.4.2. Differs: a datagram flow is kept alive where the server does
        not understand STUN, too, by CRLF; and that no answer comes is not looked at, so that a
        flow that is gone shows with the next registration only.
        """
        path: Any = flow.connection
        if isinstance(path, Connection):
            path.ping()
            self.arm()
        elif flow.open:
            flow.send(question(bytes.fromhex(self.ids.token(24))) if stun else b"\r\n\r\n")

    def respond(self, transaction: ServerTransaction, response: Response) -> bool:
        """Answer a request; False when it has been answered already."""
        sent = self.transactions.respond(transaction, response, self.now())
        self.arm()
        return sent

    def reply(self, transaction: ServerTransaction, status: int, reason: str | None = None) -> bool:
        """Answer a request with a bare status; False when it has been answered already."""
        if transaction.answered:
            return False
        tag = "" if status == 100 else self.transactions.tag_of(transaction)
        response = transaction.request.response(status, reason, tag)
        if self.software:
            response.add("Server", self.software)
        return self.respond(transaction, response)

    def dismiss(self, transaction: ServerTransaction, response: Response | None) -> None:
        """Answer a request, or stay silent with ``None``, and keep nothing of it.

        See :meth:`omaim.sip.matching.Transactions.dismiss`.
        """
        self.transactions.dismiss(transaction, response, self.now())
        self.arm()

    def tag_of(self, transaction: ServerTransaction) -> str:
        """Return the To tag for our answers to this request."""
        return self.transactions.tag_of(transaction)

    def describe(self, flow: Flow) -> str:
        """Return a text that finds the flow again; guessable, so seal it before it leaves.

        Spec: RFC 5626 §5.2 (flow tokens)
        """
        return self.flows.describe(flow)

    def find_flow(self, text: str) -> Flow | None:
        """Return the flow that :meth:`describe` told of; ``None`` when it is gone."""
        return self.flows.find(text)

    def flow_to(self, target: Target) -> Flow | None:
        """Return a path to ``target``, new or known; ``None`` when we have no socket for it."""
        return self.outlet.flow_to(target)

    def _stream_to(self, target: Target) -> Flow | None:
        return None if self._stopped else self.flows.stream_to(target)

    def lags(self, flow: Flow) -> bool:
        """Tell whether much waits for the peer of a flow: what is repeated would wait behind."""
        path: Any = flow.connection
        return isinstance(path, Connection) and path.lags

    def locate(self, request: Request) -> list[Target] | Deferred[list[Target]]:
        """Return where a request goes: a strict router, its first Route, or its URI.

        Raises:
            PeerError: the Route or the Request-URI cannot be followed (400, 416).
            Unavailable: no server can be found.

        Spec: RFC 3261 §8.1.2, §16.6
        """
        secure, uri = next_hop(request)
        return self.resolver.locate_host(secure, uri.maddr or uri.host, uri.port, uri.transport)

    def later(self, act: Callable[..., object], *args: object) -> None:
        """Call ``act`` in the next turn."""
        self._clock.callLater(0, act, *args)

    def count(self, name: str) -> None:
        """Count one more ``name``."""
        self.counters[name] += 1

    def _find(self, exchange: Exchange) -> None:
        """Find the targets of an exchange whose next hop is no numeric address."""
        try:
            found = self.locate(exchange.request)
        except Unavailable:
            self._fail_later(exchange, 503)
            return
        if isinstance(found, Deferred):
            found.addCallbacks(exchange.found, self._not_found, errbackArgs=(exchange,))
        else:
            exchange.found(found)

    def _not_found(self, failure: Failure, exchange: Exchange) -> None:
        if not failure.check(Unavailable):
            _log.failure("Finding a server failed", failure)
        self._fail_later(exchange, 503)

    def _fail_later(self, exchange: Exchange, status: int) -> None:
        self.later(exchange.fail, status)

    def crashed(self) -> None:
        """A function that takes a message has raised: that is logged, and hurts nobody else."""
        _log.failure("{name}: a message was not served", name=self.name)
        self.count("crashed")

    def _listen(
        self, transport: str, host: str, port: int, tls: TlsSettings | None, advertise: str
    ) -> Listener:
        if transport == UDP:
            receiver = self._incoming.datagrams
            return self.flows.listen_datagram(host, port, advertise, receiver, self._unreachable)
        if transport not in (TCP, TLS):
            raise UsageError(f"listen on UDP, TCP or TLS; {transport} is not spoken")
        return self.flows.listen_stream(transport, host, port, tls, advertise)

    def _from_stream(self, item: Any, flow: Flow, now: float) -> None:
        self._incoming.from_stream(item, flow, now)

    def _request_crashed(self, transaction: ServerTransaction) -> None:
        _log.failure("{name}: a request was not served", name=self.name)
        self.count("crashed")
        if not transaction.answered:
            self.reply(transaction, 500)

    def _new_ack(self, request: Request, flow: Flow) -> None:
        self.guarded(self.on_ack, request, flow)

    def _new_cancel(self, transaction: ServerTransaction, cancel: Request) -> None:
        self.guarded(self.on_cancel, transaction, cancel)

    def _new_stray(self, response: Response, flow: Flow) -> None:
        self.count("response_stray")
        self.guarded(self.on_stray_response, response, flow)

    def _new_failure(self, transaction: ServerTransaction, why: str) -> None:
        self.guarded(self.on_failure, transaction, why)

    def guarded(self, act: Callable[..., object], *args: object) -> None:
        """Call ``act``; a defect there is logged and counted, and hurts nobody else."""
        try:
            act(*args)
        except Exception:
            self.crashed()

    def _dropped(self, reason: str, message: Request | Response, flow: Flow) -> None:
        self.count("dropped_" + reason)

    def _no_request(self, transaction: ServerTransaction) -> None:
        self.reply(transaction, 501)

    def _no_cancel(self, transaction: ServerTransaction, cancel: Request) -> None:
        self.reply(transaction, 487)

    def write(self, flow: Flow, data: bytes) -> None:
        """Write one message; a failure is reported in the next turn."""
        self._write(flow, data)

    def _unwritten(self, flow: Flow, data: bytes) -> None:
        """A message could not be written; those whom it concerns hear it in the next turn."""
        if data.startswith(ANSWER):
            self.count("response_undelivered")
            if flow.reliable and not self._stopped:
                self.later(self._redelivery.begin, data)
        else:
            self._break(flow)

    def _show_out(self, flow: Flow, data: bytes) -> None:
        self.show(OUT, flow, data)

    def show(self, direction: str, flow: Flow, data: bytes) -> None:
        """Show one message to whoever watches."""
        record = self.wire.record
        if record is not None:
            local = (flow.local_host, flow.local_port)
            remote = (flow.remote_host, flow.remote_port)
            transport = flow.transport
            record(
                WireRecord(
                    self._wall(), self.name, direction, "SIP", transport, local, remote, data
                )
            )

    def _lost(self, flow: Flow, why: str) -> None:
        """A stream is gone; those who wait for something from it hear it in the next turn."""
        self.count("stream_lost")
        self._break(flow)

    def _unreachable(self, flow: Flow) -> None:
        """The network says that a peer cannot be reached by datagrams (RFC 3261 §18.4)."""
        self.count("unreachable")
        if self._stopped:
            return
        if not self._refused:
            # All that comes meanwhile is looked after together, as looking takes its time.
            pause = self.transactions.client_count * LOOK
            self._clock.callLater(pause, self._report_refused)
        self._refused[flow.remote_host, flow.remote_port] = None

    def _report_refused(self) -> None:
        refused, self._refused = self._refused, {}
        self.transactions.unreachable(refused, self.now())
        self.arm()

    def _break(self, flow: Flow) -> None:
        if not self._broken and not self._stopped:
            self.later(self._report_broken)
        self._broken.append(flow)

    def _report_broken(self) -> None:
        broken, self._broken = self._broken, []
        for flow in broken:
            self.transactions.transport_error(flow, self.now())
            if not flow.open:
                self._redelivery.lost(flow.serial)
                self.guarded(self.on_flow_closed, flow)
        self.arm()


def _has_room(flow: Flow) -> bool:
    """Tell whether one more request may wait for the peer of a stream."""
    path: Any = flow.connection
    return not isinstance(path, Connection) or path.has_room


def _ignore_ack(request: Request, flow: Flow) -> None:
    """An ACK that nobody cares about."""


def _ignore_stray(response: Response, flow: Flow) -> None:
    """A response that nobody waits for."""


def _ignore_failure(transaction: ServerTransaction, why: str) -> None:
    """An answer that did not arrive."""


def _ignore_flow(flow: Flow) -> None:
    """A connection that nobody misses."""
