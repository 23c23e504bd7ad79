"""Those on the other end, doing as a script says: phones, application servers, a core, strangers.

None of them is more than a script needs: what omaim's own entities do right is not repeated
here, and what they must withstand can be done with octets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred

from omaim.net.endpoint import Endpoint
from omaim.net.network import Stream
from omaim.node.directory import Place
from omaim.node.people import make_user
from omaim.roles.incoming import Incoming
from omaim.roles.user_agent import UserAgent
from omaim.sip.answering import Answerer
from omaim.sip.dialog import Dialog, as_uac
from omaim.sip.exchange import Exchange
from omaim.sip.flow import Flow
from omaim.sip.message import Request, Response
from omaim.sip.proxying import (
    OwnAddresses,
    add_path,
    forwarded_copy,
    postprocess,
    preprocess,
    strip_via,
)
from omaim.sip.transaction import ServerTransaction
from omaim.sip.uri import canonical_aor
from omaim.stores.records import User
from omaim.testing.scenario import ScenarioNetwork

Headers = Sequence[tuple[str, str]]
TEXT: Final = "text/plain"


def person(aor: str, **named: Any) -> User:
    """Return a user to enrol whose password is as everybody's in a lab: NAME-secret.

    Args:
        aor: "sip:dave@north.example".
        named: as :func:`omaim.node.people.make_user` takes it.
    """
    private = aor.partition(":")[2]
    name, _, domain = private.partition("@")
    named.setdefault("public", (aor,))
    return make_user(private, domain, f"{name}-secret", **named)


class Phone:
    """A plain SIP user agent, as many people have: no IM feature tag, no reports.

    Attributes:
        agent: sends and receives.
        identity: its address of record.
        contact: its contact URI.
        requests: all that came in, oldest first.
        answers: status for each method; 200 if nothing is said, no answer if 0.
        refused: media types of messages that it refuses with 415.
        prepare: changes each response before it is sent.
        acks, cancelled: the ACKs for its 2xx, the CANCELs for its INVITEs.
    """

    def __init__(self, agent: UserAgent, contact: str, net: ScenarioNetwork) -> None:
        self.agent = agent
        self.identity = agent.identity
        self.contact = contact
        self.requests: list[Request] = []
        self.answers: dict[str, int] = {}
        self.refused: tuple[str, ...] = ()
        self.prepare: Callable[[Request, Response], object] | None = None
        self.acks: list[Request] = []
        self.cancelled: list[Request] = []
        self._net = net
        self._there = False
        self._repeats: dict[str, Any] = {}  # the next repeat of a 2xx, by Call-ID
        for method in ("MESSAGE", "INVITE", "BYE", "INFO", "NOTIFY"):
            agent.on(method, self._receive, dialogs=True)
        agent.attach()
        agent.endpoint.on_ack = lambda request, flow: self.acks.append(request)
        agent.endpoint.on_cancel = self._cancelled

    def received(self, method: str = "MESSAGE") -> list[Request]:
        """Return the requests of one method that came in."""
        return [request for request in self.requests if request.method == method]

    def _receive(self, incoming: Incoming) -> Response | None:
        request = incoming.request
        self.requests.append(request)
        kind = request.content_type
        if kind is not None and kind.essence in self.refused:
            return incoming.response(415, [("Accept", TEXT)])
        status = self.answers.get(request.method, 200)
        if not status:
            return None
        headers = [("Contact", f"<{self.contact}>")] if request.method == "INVITE" else []
        for route in request.all("Record-Route"):
            headers.append(("Record-Route", route))
        response = incoming.response(status, headers)
        if self.prepare is not None:
            self.prepare(request, response)
        if request.method == "INVITE" and status < 300:
            self._repeat(incoming.transaction, response, 0.0, self.agent.endpoint.timing.t1)
        return response

    def _repeat(
        self, transaction: ServerTransaction, response: Response, after: float, pause: float
    ) -> None:
        """Send a 2xx again until its ACK comes (RFC 3261 §13.3.1.4)."""
        call_id = response.call_id
        timing = self.agent.endpoint.timing
        self._repeats.pop(call_id, None)
        if any(one.call_id == call_id for one in self.acks) or after > timing.h:
            return
        if after:
            self.agent.endpoint.respond(transaction, response)
        later = min(2 * pause, timing.t2)
        self._repeats[call_id] = self._net.clock.callLater(
            pause, self._repeat, transaction, response, after + pause, later
        )

    def _cancelled(self, transaction: ServerTransaction, cancel: Request) -> None:
        self.cancelled.append(cancel)
        self.agent.endpoint.reply(transaction, 487)

    async def register(
        self, expires: int = 600, params: str = "", headers: Headers = (), contact: str = ""
    ) -> Response:
        """Register once; nothing refreshes it."""
        domain = self.identity.rpartition("@")[2]
        value = contact or f"<{self.contact}>{params}"
        fields = [("Contact", value), ("Expires", str(expires)), *headers]
        request = self.agent.make("REGISTER", f"sip:{domain}", fields, to=f"<{self.identity}>")
        response = await self.agent.request(request)
        if response.status < 300:
            self._there = expires > 0
        return response

    async def leave(self) -> None:
        """Take the binding away, if there is one and the core answers; listen no more."""
        for call in self._repeats.values():
            call.cancel()
        self._repeats.clear()
        if self._there:
            leaving = Deferred.fromCoroutine(self.register(0, contact="*"))
            leaving.addTimeout(2.0, self._net.clock)
            await leaving.addErrback(lambda _: None)
        await self.agent.endpoint.stop()

    async def say(
        self, to: str, text: str, headers: Headers = (), content_type: str = TEXT
    ) -> Response:
        """Send a MESSAGE and return its final response."""
        fields = [*headers, ("Content-Type", content_type)]
        return await self.agent.request(self.agent.make("MESSAGE", to, fields, text.encode()))

    async def call(self, to: str, headers: Headers = (), body: bytes = b"") -> Call:
        """Send an INVITE, acknowledge its 2xx, and return what became of it."""
        fields = [("Contact", f"<{self.contact}>"), *headers]
        if body:
            fields.append(("Content-Type", "application/sdp"))
        request = self.agent.make("INVITE", to, fields, body)
        early: list[Response] = []
        dialog: Dialog | None = None

        def acknowledge(response: Response) -> None:
            if dialog is not None:
                self.agent.endpoint.send_ack(dialog.ack(response.cseq.number, []))

        response = await self.agent.request(request, provisional=early.append, again=acknowledge)
        if response.status < 300:
            dialog = as_uac(request, response)
            dialog.local_seq = response.cseq.number
            acknowledge(response)
        return Call(self, dialog, response, early)


class Call:
    """What became of an INVITE.

    Attributes:
        dialog: None when it was refused.
        response: the final one.
        early: the provisional ones.
    """

    def __init__(
        self, phone: Phone, dialog: Dialog | None, response: Response, early: list[Response]
    ) -> None:
        self.dialog = dialog
        self.response = response
        self.early = early
        self._phone = phone

    async def request(self, method: str) -> Response:
        """Send a request inside the dialog."""
        assert self.dialog is not None
        request = self.dialog.request(method, [])
        return await self._phone.agent.request(request, next_seq=self.dialog.next_seq)


async def phone(
    net: ScenarioNetwork,
    name: str,
    *,
    device: str = "phone",
    domain: str = "",
    password: str = "",
    transport: str = "UDP",
    routes: Sequence[str] | None = None,
    listen: bool = True,
) -> Phone:
    """Return a phone that sends everything to its core first.

    Args:
        name: of a person of the lab, or of somebody enrolled in ``domain``.
        transport: to the core.
        routes: other Route values; with none, requests go where their URI says.
        listen: on its own address; otherwise it is reached by its own connection only.
    """
    domain = domain or net.person(name).domain
    home = next(home for home in net.plan.homes if home.domain == domain)
    label, address = net.place(name, domain, device)
    node = net.node(label)
    endpoint = node.endpoint(label, "")
    if listen:
        await endpoint.listen("TCP", address, 0)
        await endpoint.listen("UDP", address, 0)
    tail = "" if transport == "UDP" else f";transport={transport.lower()}"
    if routes is None:
        routes = [f"<sip:{home.core}:{net.plan.port}{tail};lr>"]
    contact = endpoint.uri(transport, name) or f"sip:{name}@{address}{tail}"
    agent = UserAgent(
        endpoint,
        f"sip:{name}@{domain}",
        credentials=Answerer(f"{name}@{domain}", password or f"{name}-secret", node.ids),
        routes=list(routes),
    )
    made = Phone(agent, contact, net)
    net.at_end(made.leave)
    return made


class _Server:
    """A server that passes requests on, or does otherwise as told.

    Attributes:
        uri: where it is.
        seen: all requests as they came, oldest first; REGISTER too.
        answers: what to do with a method: a final status, 0 for no answer ever. What is not
            said is passed on along its Route; REGISTER is answered 200.
        change: changes each copy that is passed on.
    """

    def __init__(self, endpoint: Endpoint, uri: str) -> None:
        self.endpoint = endpoint
        self.uri = uri
        self.seen: list[Request] = []
        self.answers: dict[str, int] = {"REGISTER": 200}
        self.change: Callable[[Request], object] | None = None
        self._own = OwnAddresses()
        self._passed: dict[str, Exchange] = {}
        for listener in endpoint.listeners:
            self._own.add(listener.host, listener.port)
        endpoint.on_request = self._receive
        endpoint.on_ack = self._acknowledge
        endpoint.on_cancel = self._cancel

    def got(self, method: str = "MESSAGE") -> list[Request]:
        """Return the requests of one method that came."""
        return [request for request in self.seen if request.method == method]

    def _receive(self, transaction: ServerTransaction) -> None:
        request, flow = transaction.request, transaction.flow
        self.seen.append(request.copy())
        status = self.answers.get(request.method, -1)
        if status > 0:
            self.endpoint.reply(transaction, status)
            return
        if not status:
            return
        preprocess(request, self._own, flow.transport, flow.local_port)
        copy = forwarded_copy(request, request.uri)
        if self.change is not None:
            self.change(copy)
        postprocess(copy)

        def answered(response: Response) -> None:
            if response.local:
                response = request.response(response.status, None, self.endpoint.ids.tag())
            elif response.status == 100 or not strip_via(response):
                return
            self.endpoint.respond(transaction, response)

        self._passed[transaction.key] = self.endpoint.send(copy, answered)

    def _acknowledge(self, request: Request, flow: Flow) -> None:
        preprocess(request, self._own, flow.transport, flow.local_port)
        copy = forwarded_copy(request, request.uri)
        postprocess(copy)
        self.endpoint.send_ack(copy)

    def _cancel(self, transaction: ServerTransaction, cancel: Request) -> None:
        exchange = self._passed.get(transaction.key)
        if exchange is not None:
            exchange.cancel()
        else:
            self.endpoint.reply(transaction, 487)


class Service(_Server):
    """An application server on ISC."""


class Edge(_Server):
    """A proxy between a phone and its core, which puts itself into the Path (RFC 3327)."""

    def __init__(self, endpoint: Endpoint, uri: str) -> None:
        super().__init__(endpoint, uri)
        self.answers.clear()
        self.change = self._add_path

    def _add_path(self, copy: Request) -> None:
        if copy.method == "REGISTER":
            add_path(copy, f"{self.uri};lr")


async def edge(net: ScenarioNetwork, home: str) -> Edge:
    """Return an edge proxy of a domain; phones name it and then the core in their routes."""
    host = service_at(net, home, 50)
    name = f"edge-{home}"
    net.directory.note(Place(name, "edge", host, net.plan.port, net.home(home).domain))
    endpoint = net.node(name).endpoint(name, "")
    await endpoint.listen("UDP", host, net.plan.port)
    await endpoint.listen("TCP", host, net.plan.port)
    net.at_end(endpoint.stop)
    return Edge(endpoint, f"sip:{host}:{net.plan.port}")


async def service(net: ScenarioNetwork, home: str, number: int = 1) -> Service:
    """Return an application server of a domain at the address that :func:`service_at` tells."""
    host = service_at(net, home, number)
    name = f"as{number}-{home}"
    net.directory.note(Place(name, "im", host, net.plan.port, net.home(home).domain))
    endpoint = net.node(name).endpoint(name, "")
    await endpoint.listen("UDP", host, net.plan.port)
    await endpoint.listen("TCP", host, net.plan.port)
    net.at_end(endpoint.stop)
    return Service(endpoint, f"sip:{host}:{net.plan.port}")


def service_at(net: ScenarioNetwork, home: str, number: int = 1) -> str:
    """Return the address of an application server, for the core to trust."""
    return f"{net.home(home).core.rpartition('.')[0]}.{100 + number}"


class Core(_Server):
    """A core towards an IM Server under test: sends it requests over ISC, takes what it sends.

    Attributes:
        answers: what users at the far end of it answer; what is not said is answered 200.
    """

    def __init__(self, endpoint: Endpoint, uri: str, server: str) -> None:
        super().__init__(endpoint, uri)
        self._server = server

    def _receive(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        self.answers.setdefault(request.method, 200)
        super()._receive(transaction)

    async def serve(
        self,
        sender: str,
        recipient: str,
        body: bytes,
        content_type: str = TEXT,
        *,
        case: str = "term",
        registered: bool = True,
        headers: Headers = (),
    ) -> Response:
        """Send a MESSAGE to the server as the core does for a user; return the answer.

        Args:
            case: "orig" serves the sender, "term" the recipient.
            registered: whether the served user is.

        Spec: RFC 5502; RFC 7315 §4.6
        """
        ids = self.endpoint.ids
        served = sender if case == "orig" else recipient
        state = "reg" if registered else "unreg"
        fields = [
            ("Route", f"<{self._server};lr>"),
            ("Route", f"<{self.uri};lr;odi={ids.token()}>"),
            ("Max-Forwards", "68"),
            ("From", f"<{sender}>;tag={ids.tag()}"),
            ("To", f"<{recipient}>"),
            ("Call-ID", ids.call_id()),
            ("CSeq", "1 MESSAGE"),
            ("P-Asserted-Identity", f"<{sender}>"),
            ("P-Served-User", f"<{canonical_aor(served)}>;sescase={case};regstate={state}"),
            ("P-Charging-Vector", f"icid-value={ids.token()};orig-ioi=north.example"),
            *headers,
            ("Content-Type", content_type),
        ]
        return await self.send(Request.make("MESSAGE", recipient, fields, body))

    async def register(self, user: str, expires: int = 600) -> Response:
        """Tell the server that a user is there, or with 0 that it is gone.

        Spec: 3GPP TS 24.229 §5.4.1.7
        """
        ids = self.endpoint.ids
        fields = [
            ("Max-Forwards", "70"),
            ("From", f"<{self.uri}>;tag={ids.tag()}"),
            ("To", f"<{user}>"),
            ("Call-ID", ids.call_id()),
            ("CSeq", "1 REGISTER"),
            ("Contact", f"<{self.uri}>"),
            ("Expires", str(expires)),
        ]
        return await self.send(Request.make("REGISTER", self._server, fields))

    def send(self, request: Request) -> Deferred[Response]:
        """Send a request and return its final response."""
        done: Deferred[Response] = Deferred()

        def answered(response: Response) -> None:
            if response.status >= 200 and not done.called:
                done.callback(response)

        self.endpoint.send(request, answered)
        return done


async def core(net: ScenarioNetwork, home: str) -> Core:
    """Return a scripted core at the address of a domain's own, which must not be there.

    The layout leaves it out: ``Layout(without=("core-north",))``.
    """
    place = net.home(home)
    name = f"core-{home}"
    net.directory.note(Place(name, "core", place.core, net.plan.port, place.domain))
    endpoint = net.node(name).endpoint(name, "")
    await endpoint.listen("UDP", place.core, net.plan.port)
    await endpoint.listen("TCP", place.core, net.plan.port)
    net.at_end(endpoint.stop)
    uri = f"sip:{place.core}:{net.plan.port}"
    return Core(endpoint, uri, f"sip:{place.im}:{net.plan.port}")


class Stranger:
    """Somebody with a socket and bad manners.

    Attributes:
        host, port: where its datagrams come from.
        heard: datagrams that came back.
    """

    def __init__(self, net: ScenarioNetwork, host: str) -> None:
        self.heard: list[bytes] = []
        self._net = net
        self._socket = net.network.listen_datagram(host, 0, self._received)
        self.host, self.port = self._socket.host, self._socket.port
        net.at_end(self._socket.close)

    def _received(self, data: bytes, source: Any) -> None:
        self.heard.append(data)

    def send(self, data: bytes | str, host: str, port: int = 0) -> None:
        """Send one datagram; line ends of text become CRLF."""
        octets = data.replace("\n", "\r\n").encode() if isinstance(data, str) else data
        self._socket.send(octets, (host, port or self._net.plan.port))

    def statuses(self) -> list[int]:
        """Return the statuses of the responses that came back."""
        return [int(data.split(b" ", 2)[1]) for data in self.heard if data.startswith(b"SIP/2.0 ")]

    def connect(self, host: str, port: int = 0) -> Line:
        """Open a stream."""
        line = Line()
        self._net.network.connect_stream(host, port or self._net.plan.port, line)
        return line


class Line:
    """One stream of a stranger; it does no more than it is told.

    Attributes:
        heard: all octets that came.
        state: "connecting", "up" or "gone".
        stream: while it is up.
    """

    def __init__(self) -> None:
        self.heard = b""
        self.state = "connecting"
        self.stream: Stream | None = None
        self._before = b""

    def send(self, data: bytes) -> None:
        """Send octets, at once or when the stream is up."""
        if self.stream is None:
            self._before += data
        else:
            self.stream.write(data)

    def close(self) -> None:
        """End it."""
        if self.stream is not None:
            self.stream.close()

    def connected(self, stream: Stream) -> None:
        self.state, self.stream = "up", stream
        if self._before:
            stream.write(self._before)

    def received(self, data: bytes) -> None:
        self.heard += data

    def drained(self) -> None:
        """All is written; there is nothing more to do."""

    def closed(self, why: str) -> None:
        self.state, self.stream = "gone", None


__all__ = [
    "Call",
    "Core",
    "Edge",
    "Line",
    "Phone",
    "Service",
    "Stranger",
    "core",
    "edge",
    "person",
    "phone",
    "service",
    "service_at",
]
