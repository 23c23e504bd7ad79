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

from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from omaim.errors import PeerError, Unavailable
from omaim.ids import Ids
from omaim.net.connection import Connection, Connections, StreamLimits
from omaim.net.driver import Driver
from omaim.net.exchange import Exchange
from omaim.net.ports import (
    DatagramPaths,
    Listener,
    StreamPort,
    answer_address,
    bracketed,
    stamp,
)
from omaim.net.resolver import Resolver
from omaim.net.tls import TlsSettings
from omaim.net.wire import IN, OUT, Wire, WireRecord
from omaim.sip.flow import TCP, TLS, UDP, Flow
from omaim.sip.headers import NameAddr
from omaim.sip.locating import Target, default_port
from omaim.sip.matching import MAXIMUM, Transactions
from omaim.sip.message import Request, Response, error_response
from omaim.sip.parser import BadMessage, Limits, check, parse_datagram
from omaim.sip.timing import Timing
from omaim.sip.transaction import ClientTransaction, ServerTransaction
from omaim.sip.uri import SipUri
from omaim.sip.user import TransactionUser

LARGEST_DATAGRAM: Final = 1300  # octets of a request whose path is unknown, RFC 3261 §18.1.1
OUR_VIA: Final = 110  # octets that our Via may add
GRACE: Final = 2.0  # seconds that peers have to read our last words
LOG_PAUSE: Final = 1.0  # seconds between two lines about bad input
REDELIVERIES: Final = 1024  # answers at a time that look for a new way to their client

_log = Logger()


class Endpoint:
    """One SIP endpoint.

    Args:
        network: where sockets come from.
        clock: the reactor, or virtual time.
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
        on_request: gets each new request's transaction; answer it with :meth:`respond`.
        on_ack: gets each ACK for a 2xx, and the flow it came by.
        on_cancel: gets an INVITE's transaction that is to be cancelled, and the CANCEL, which
            has been answered; answer the INVITE 487 then.
        on_stray_response: gets a response that nobody waits for, and its flow.
        on_failure: gets an INVITE's transaction whose answer was not acknowledged or could
            not be delivered, and why: "timeout" or "transport".
        on_flow_closed: gets each stream flow that is gone.
        counters: how often what happened, by name, for metrics.
        listeners: where it listens.
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
        self.listeners: list[Listener] = []
        self.on_request: Callable[[ServerTransaction], object] = self._no_request
        self.on_ack: Callable[[Request, Flow], object] = _ignore_ack
        self.on_cancel: Callable[[ServerTransaction, Request], object] = self._no_cancel
        self.on_stray_response: Callable[[Response, Flow], object] = _ignore_stray
        self.on_failure: Callable[[ServerTransaction, str], object] = _ignore_failure
        self.on_flow_closed: Callable[[Flow], object] = _ignore_flow
        self._network = network
        self._clock: Any = clock
        self._now: Callable[[], float] = clock.seconds
        self._limits = limits or Limits()
        self._wire = wire or Wire()
        self._tls = tls
        self._driver = Driver(clock)
        self.transactions = Transactions(
            self.timing,
            self.ids,
            self._driver.deadlines,
            self._write,
            TransactionUser(
                self._new_request,
                self._new_ack,
                self._new_cancel,
                self._new_stray,
                self._new_failure,
                self._dropped,
            ),
            maximum,
            user_agent,
        )
        self.connections = Connections(
            stream_limits or StreamLimits(),
            self._limits,
            self._driver.deadlines,
            self._now,
            self._stream_message,
            self._driver.arm,
            self._lost,
            self.count,
        )
        self._datagrams: list[DatagramPaths] = []
        self._sent_by: set[str] = set()
        self._via: dict[str, str] = {}  # by transport: what our Via says before the branch
        self._hops: dict[str, SipUri] = {}
        self._serial = 0
        self._broken: list[tuple[Flow, str]] = []
        self._redeliveries: dict[int, tuple[bytes, list[Target]]] = {}
        self._log_at = 0.0
        self._stopped = False

    # Where it is

    def listen(
        self,
        transport: str,
        host: str,
        port: int = 0,
        tls: TlsSettings | None = None,
        advertise: str = "",
    ) -> Deferred[Listener]:
        """Receive requests at an address.

        Args:
            transport: "UDP", "TCP" or "TLS".
            host: numeric address to bind.
            port: 0 takes a free one.
            tls: who we are, for TLS.
            advertise: the host that Via and URIs name instead of ``host``; needed when that
                is a wildcard.

        Returns:
            the listener; it fails with Unavailable when the address cannot be had.
        """
        try:
            return succeed(self._listen(transport.upper(), host, port, tls, advertise))
        except Exception:
            return fail()

    def _listen(
        self, transport: str, host: str, port: int, tls: TlsSettings | None, advertise: str
    ) -> Listener:
        if host in ("0.0.0.0", "::") and not advertise:
            advertise = self._network.source_for(
                "192.0.2.1" if host == "0.0.0.0" else "2001:db8::1"
            )
        if transport == UDP:
            receiving = _Datagrams(self)
            socket = self._network.listen_datagram(host, port, receiving.received)
            listener = Listener(UDP, advertise, socket)
            receiving.paths = DatagramPaths(listener, self._next_serial)
            self._datagrams.append(receiving.paths)
        else:
            settings = tls if transport == TLS else None
            if transport == TLS and settings is None:
                settings = self._tls
            accepting = StreamPort(transport, self.connections, self._next_serial)
            socket = self._network.listen_stream(host, port, accepting.accept, settings)
            listener = Listener(transport, advertise, socket)
            if transport == TLS and self._tls is None:
                self._tls = settings
        self.listeners.append(listener)
        self._sent_by.add(listener.sent_by)
        if listener.port == default_port(transport):
            self._sent_by.add(listener.advertised)
        self._via.setdefault(transport, f"SIP/2.0/{transport} {listener.sent_by};rport;branch=")
        return listener

    def stop(self) -> Deferred[None]:
        """Listen no more, end all connections; fires when no socket is left."""
        self._stopped = True
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

    def uri(self, transport: str = UDP, user: str = "") -> str:
        """Return a URI that leads here by ``transport``; "" when we do not listen so."""
        for listener in self.listeners:
            if listener.transport == transport:
                at = f"{user}@" if user else ""
                tail = "" if transport == UDP else f";transport={transport.lower()}"
                return f"sip:{at}{listener.sent_by}{tail}"
        return ""

    def owns(self, host: str, port: int, transport: str = "") -> bool:
        """Tell whether host and port of a URI lead to one of our listeners.

        Args:
            host: as in the URI, IPv6 in brackets.
            port: 0 when absent.
            transport: only listeners of this one count, unless "".
        """
        for listener in self.listeners:
            if transport and listener.transport != transport.upper():
                continue
            if (
                host in (listener.advertised, bracketed(listener.host))
                and (port or default_port(listener.transport)) == listener.port
            ):
                return True
        return False

    # Requests out

    def send(
        self,
        request: Request,
        on_response: Callable[[Response], object],
        *,
        flow: Flow | None = None,
        targets: list[Target] | None = None,
        on_end: Callable[[], object] | None = None,
    ) -> Exchange:
        """Send a request and report its responses; another target is tried where one fails.

        Args:
            request: complete but for our Via; it belongs to the exchange from now on.
            on_response: gets provisional responses and the final one (each 2xx of an INVITE),
                never before this returns. What could not be sent ends in a ``local`` one.
            flow: send it by this path and no other.
            targets: send it there; else Route or the Request-URI decide (RFC 3261 §8.1.2).
            on_end: called when nothing more can come.
        """
        exchange = Exchange(self, request, on_response, on_end)
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
            if target.transport == UDP and self.too_large(request):
                target = Target(TCP, target.host, target.port, target.domain)
            flow = self.flow_to(target)
        if flow is None:
            self.count("ack_unsendable")
            return
        self._add_via(request, flow)
        self._write(flow, request.to_bytes())
        self._driver.arm()

    def cancel(self, transaction: ClientTransaction) -> None:
        """Ask the peer to give up an INVITE (RFC 3261 §9.1)."""
        self.transactions.cancel(transaction, self._now())
        self._driver.arm()

    def ping(self, flow: Flow) -> None:
        """Keep a flow alive; a stream that does not answer in time is dropped.

        Spec: RFC 5626 §4.4.1
        """
        path: Any = flow.connection
        if isinstance(path, Connection):
            path.ping()
            self._driver.arm()
        elif flow.open:
            path.send(b"\r\n\r\n")

    # Answers out

    def respond(self, transaction: ServerTransaction, response: Response) -> bool:
        """Answer a request; False when it has been answered already."""
        sent = self.transactions.respond(transaction, response, self._now())
        self._driver.arm()
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

    # Flows

    def flow_to(self, target: Target) -> Flow | None:
        """Return a path to ``target``, new or known; ``None`` when we have no socket for it."""
        if target.transport == UDP:
            ipv6 = ":" in target.host
            for paths in self._datagrams:
                if paths.ipv6 == ipv6:
                    address = (target.host, target.port, 0, 0) if ipv6 else (
                        target.host, target.port
                    )  # fmt: skip
                    return paths.flow(address)
            return None
        if self._stopped:
            return None
        known = self.connections.find(target.transport, target.host, target.port, target.domain)
        return known or self._connect(target)

    def describe(self, flow: Flow) -> str:
        """Return a text that finds the flow again; guessable, so seal it before it leaves.

        Spec: RFC 5626 §5.2 (flow tokens)
        """
        return (
            f"{flow.transport} {flow.local_host} {flow.local_port} "
            f"{flow.remote_host} {flow.remote_port} {flow.serial}"
        )

    def find_flow(self, text: str) -> Flow | None:
        """Return the flow that :meth:`describe` told of; ``None`` when it is gone."""
        parts = text.split(" ")
        if len(parts) != 6 or not (parts[2] + parts[4] + parts[5]).isdecimal():
            return None
        if parts[0] != UDP:
            flow = self.connections.by_serial(int(parts[5]))
            same = flow is not None and (flow.remote_host, str(flow.remote_port)) == (
                parts[3],
                parts[4],
            )
            return flow if same else None
        for paths in self._datagrams:
            if (paths.listener.host, str(paths.listener.port)) == (parts[1], parts[2]):
                port = int(parts[4])
                return paths.flow((parts[3], port, 0, 0) if paths.ipv6 else (parts[3], port))
        return None

    def _connect(self, target: Target) -> Flow | None:
        tls = None
        if target.transport == TLS:
            tls = self._tls = self._tls or TlsSettings()
        flow = Flow(target.transport, "", 0, target.host, target.port, None, self._next_serial())
        domain = target.domain or target.host
        connection = self.connections.add(flow, domain if tls else "", True)
        local = ""
        for listener in self.listeners:
            if (":" in listener.host) == (":" in target.host):
                local = listener.host
                break
        connection.give_up = self._network.connect_stream(
            target.host,
            target.port,
            connection,
            tls,
            domain,
            "" if local in ("0.0.0.0", "::") else local,
            self.connections.limits.connect,
        )
        return flow

    # What exchanges use

    def locate(self, request: Request) -> list[Target] | Deferred[list[Target]]:
        """Return where a request goes: to its first Route if that is loose, else to its URI.

        Raises:
            PeerError: the Route or the Request-URI cannot be followed (400, 416).
            Unavailable: no server can be found.

        Spec: RFC 3261 §8.1.2, §16.6
        """
        uri: Any = None
        route = request.first("Route") if request.has("Route") else None
        if route is not None:
            uri = self._hops.get(route)
            if uri is None:
                uri = NameAddr.parse(request.values("Route")[0]).uri
                if len(self._hops) >= REDELIVERIES:
                    self._hops.clear()
                if isinstance(uri, SipUri):
                    self._hops[route] = uri
            if not isinstance(uri, SipUri) or not uri.lr:
                uri = None
        if uri is None:
            uri = request.request_uri
        if not isinstance(uri, SipUri):
            raise PeerError("only sip and sips URIs lead somewhere", 416)
        secure = uri.scheme == "sips" or request.uri[:5].lower() == "sips:"
        return self.resolver.locate_host(secure, uri.maddr or uri.host, uri.port, uri.transport)

    def too_large(self, request: Request) -> bool:
        """Tell whether a request must not go by UDP.

        Spec: RFC 3261 §18.1.1
        """
        size = len(request.body) + len(request.uri) + OUR_VIA
        size += sum(map(len, request.lines)) + 2 * len(request.lines)
        return size > LARGEST_DATAGRAM and TCP in self.resolver.supported

    def start(
        self,
        request: Request,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_end: Callable[[], None] | None,
    ) -> ClientTransaction:
        """Put our Via on top and begin a transaction."""
        self._add_via(request, flow)
        transaction = self.transactions.start(request, flow, on_response, on_end, self._now())
        self._driver.arm()
        return transaction

    def later(self, act: Callable[..., object], *args: object) -> None:
        """Call ``act`` in the next turn."""
        self._clock.callLater(0, act, *args)

    def count(self, name: str) -> None:
        """Count one more ``name``."""
        self.counters[name] += 1

    def _add_via(self, request: Request, flow: Flow) -> None:
        front = self._via.get(flow.transport) or self._foreign_via(flow)
        request.prepend("Via", front + self.ids.branch())

    def _foreign_via(self, flow: Flow) -> str:
        """Return our Via's front for a transport on which we do not listen."""
        if self.listeners:
            sent_by = self.listeners[0].advertised
        else:
            sent_by = bracketed(flow.local_host or self._network.source_for(flow.remote_host))
        self._sent_by.add(sent_by)
        return f"SIP/2.0/{flow.transport} {sent_by};rport;branch="

    # What comes in

    def received(self, message: Request | Response, flow: Flow, now: float) -> None:
        """Take one parsed message."""
        reply_to: Flow | None = None
        try:
            check(message)
            if isinstance(message, Request):
                via = message.via
                stamp(message, flow)
                if flow.transport == UDP and via.rport < 0:
                    reply_to = self._reply_flow(answer_address(via, flow), flow)
        except BadMessage as error:
            self._malformed(error, flow, 0)
            return
        except PeerError as error:
            request = message if isinstance(message, Request) else None
            self._malformed(BadMessage(error.why, error.status, request), flow, 0)
            return
        if not isinstance(message, Request) and not self._ours(message):
            self.count("response_foreign")
            return
        self.transactions.receive(message, flow, now, reply_to)

    def _stream_message(
        self, message: Request | Response | BadMessage, flow: Flow, now: float
    ) -> None:
        if isinstance(message, BadMessage):
            self._malformed(message, flow, 0)
            return
        if self._wire.record is not None:
            self._show(IN, flow, message.to_bytes())
        self.received(message, flow, now)

    def _ours(self, response: Response) -> bool:
        """Tell whether the top Via is one that we write (RFC 3261 §18.1.2)."""
        return response.via.sent_by in self._sent_by

    def _reply_flow(self, address: tuple[str, int], flow: Flow) -> Flow | None:
        """Return the path to ``address`` where it is another than ``flow``."""
        if address == (flow.remote_host, flow.remote_port):
            return None
        for paths in self._datagrams:
            if (paths.listener.host, paths.listener.port) == (flow.local_host, flow.local_port):
                ipv6 = ":" in address[0]
                if ipv6 == paths.ipv6:
                    return paths.flow((*address, 0, 0) if ipv6 else address)
        return None

    def _malformed(self, error: BadMessage, flow: Flow, size: int) -> None:
        """Answer bad input where that is possible and cannot be turned against others.

        Spec: RFC 3261 §8.2, §18.3; RFC 4475
        """
        self.count("malformed")
        now = self._now()
        if now >= self._log_at:
            self._log_at = now + LOG_PAUSE
            _log.info(
                "{name}: bad SIP from {host}: {why}",
                name=self.name,
                host=flow.remote_host,
                why=error.why,
            )
        request = error.request
        if request is None or request.method == "ACK" or not request.has("Via"):
            return
        try:
            stamp(request, flow)
            response = error_response(request, error, self.ids.tag())
            data = response.to_bytes()
        except PeerError:
            return
        if size and len(data) > size:  # never more than came: the source may be forged
            response.remove("Warning")
            data = response.to_bytes()
            if len(data) > size + OUR_VIA:
                return
        self._write(flow, data)

    def _new_request(self, transaction: ServerTransaction) -> None:
        try:
            self.on_request(transaction)
        except Exception:
            _log.failure("{name}: a request was not served", name=self.name)
            self.count("crashed")
            if not transaction.answered:
                self.reply(transaction, 500)

    def _new_ack(self, request: Request, flow: Flow) -> None:
        self._guarded(self.on_ack, request, flow)

    def _new_cancel(self, transaction: ServerTransaction, cancel: Request) -> None:
        self._guarded(self.on_cancel, transaction, cancel)

    def _new_stray(self, response: Response, flow: Flow) -> None:
        self.count("response_stray")
        self._guarded(self.on_stray_response, response, flow)

    def _new_failure(self, transaction: ServerTransaction, why: str) -> None:
        self._guarded(self.on_failure, transaction, why)

    def _guarded(self, act: Callable[..., object], *args: object) -> None:
        try:
            act(*args)
        except Exception:
            _log.failure("{name}: a message was not served", name=self.name)
            self.count("crashed")

    def _dropped(self, reason: str, message: Request | Response, flow: Flow) -> None:
        self.count("dropped_" + reason)

    def _no_request(self, transaction: ServerTransaction) -> None:
        self.reply(transaction, 501)

    def _no_cancel(self, transaction: ServerTransaction, cancel: Request) -> None:
        self.reply(transaction, 487)

    # Bytes out

    def _write(self, flow: Flow, data: bytes) -> None:
        """Write one message; a failure is reported in the next turn."""
        path: Any = flow.connection
        if flow.open and path.send(data):
            if self._wire.record is not None:
                self._show(OUT, flow, data)
        elif data.startswith(b"SIP/2.0 "):
            self.count("response_undelivered")
            if flow.reliable:
                self._redeliver(data)
        else:
            self._break(flow, "unreachable")

    def _show(self, direction: str, flow: Flow, data: bytes) -> None:
        record = self._wire.record
        if record is not None:
            record(
                WireRecord(
                    self._now(),
                    self.name,
                    direction,
                    "SIP",
                    flow.transport,
                    (flow.local_host, flow.local_port),
                    (flow.remote_host, flow.remote_port),
                    data,
                )
            )

    def _lost(self, flow: Flow, why: str) -> None:
        """A stream is gone; those who wait for something from it hear it in the next turn."""
        self.count("stream_lost")
        self._break(flow, why)

    def _break(self, flow: Flow, why: str) -> None:
        if not self._broken and not self._stopped:
            self.later(self._report_broken)
        self._broken.append((flow, why))

    def _report_broken(self) -> None:
        broken, self._broken = self._broken, []
        for flow, _ in broken:
            self.transactions.transport_error(flow, self._now())
            if flow.reliable and not flow.open:
                undelivered = self._redeliveries.pop(flow.serial, None)
                if undelivered is not None:
                    self._deliver(*undelivered)
                self._guarded(self.on_flow_closed, flow)
        self._driver.arm()

    def _redeliver(self, data: bytes) -> None:
        """Find another way for an answer whose connection is gone.

        Spec: RFC 3261 §18.2.2; RFC 3263 §5
        """
        try:
            response = parse_datagram(data, self._limits)
            via = response.via if response is not None else None
        except PeerError:
            return
        if via is None or via.transport not in (TCP, TLS):
            return
        port = via.port or default_port(via.transport)
        targets: list[Target] = []
        if via.received:
            targets.append(Target(via.transport, via.received, port, via.host))
        try:
            found = self.resolver.locate_host(False, via.host, via.port, via.transport)
        except Unavailable:
            found = []
        if isinstance(found, Deferred):
            found.addCallbacks(
                lambda located: self._deliver(data, targets + located),
                lambda failure: self._deliver(data, targets),
            )
        else:
            self._deliver(data, targets + found)

    def _deliver(self, data: bytes, targets: list[Target]) -> None:
        while targets and not self._stopped:
            target = targets.pop(0)
            flow = self.flow_to(target)
            if flow is not None and len(self._redeliveries) < REDELIVERIES:
                self._redeliveries[flow.serial] = (data, targets)
                self._write(flow, data)
                return

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial


class _Datagrams:
    """What comes in by one UDP socket."""

    __slots__ = ("_endpoint", "_limits", "_now", "_wire", "paths")

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._limits = endpoint._limits
        self._now = endpoint._now
        self._wire = endpoint._wire
        self.paths: DatagramPaths | None = None

    def received(self, data: bytes, address: Any) -> None:
        """Take one datagram."""
        paths, endpoint = self.paths, self._endpoint
        if paths is None:
            return
        flow = paths.flow(address)
        try:
            message = parse_datagram(data, self._limits)
        except BadMessage as error:
            endpoint._malformed(error, flow, len(data))
            return
        if message is None:
            endpoint.counters["keepalive"] += 1
            return
        if self._wire.record is not None:
            endpoint._show(IN, flow, data)
        endpoint.received(message, flow, self._now())
        endpoint._driver.arm()


def _ignore_ack(request: Request, flow: Flow) -> None:
    """An ACK that nobody cares about."""


def _ignore_stray(response: Response, flow: Flow) -> None:
    """A response that nobody waits for."""


def _ignore_failure(transaction: ServerTransaction, why: str) -> None:
    """An answer that did not arrive."""


def _ignore_flow(flow: Flow) -> None:
    """A connection that nobody misses."""
