"""An IM Server on a simulated network, and a core that does what a test tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import Address, Cpim
from omaim.bodies.imdn import Imdn, read_reports
from omaim.bodies.mime import Part
from omaim.ids import Ids
from omaim.im.config import Config
from omaim.im.entity import ImServer, build
from omaim.net.endpoint import Endpoint
from omaim.node.config import NodeConfig
from omaim.node.events import ServiceEvent, from_json
from omaim.node.node import Node
from omaim.roles.incoming import Incoming
from omaim.roles.user_agent import UserAgent
from omaim.sip.message import Request, Response
from omaim.stores.interfaces import Stores
from omaim.stores.memory import memory_stores
from omaim.testing.network import Clock, SimulatedNetwork

CORE = "10.0.0.1"
IM = "10.0.0.2"
DOMAIN = "north.example"
ALICE = "sip:alice@north.example"
BOB = "sip:bob@north.example"
CAROL = "sip:carol@north.example"
XENIA = "sip:xenia@south.example"
YUSUF = "sip:yusuf@south.example"
EXPLODER = "sip:exploder@north.example"

Step = int | Callable[[Incoming], Response | None] | None


class Core:
    """The core of a domain as the IM Server sees it.

    Attributes:
        seen: every MESSAGE that came back or was made by the server, in order.
        script: what to answer, one entry for each: a status, a response maker, or ``None`` for
            silence; ``otherwise`` when it is empty.
        answers: what to answer to messages for one address, before the script.
        others: requests that are no MESSAGE.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.ua = UserAgent(endpoint, "sip:core.north.example", contact=f"<sip:{CORE}>")
        self.ua.on("MESSAGE", self._serve)
        self.ua.on("NOTIFY", self._notified, dialogs=True)
        self.ua.attach()
        self.seen: list[Request] = []
        self.incoming: list[Incoming] = []
        self.others: list[Request] = []
        self.script: list[Step] = []
        self.answers: dict[str, Step] = {}
        self.otherwise: Step = 200

    def _serve(self, incoming: Incoming) -> Response | None:
        self.seen.append(incoming.request)
        self.incoming.append(incoming)
        uri = incoming.request.uri
        if uri in self.answers:
            step = self.answers[uri]
        else:
            step = self.script.pop(0) if self.script else self.otherwise
        if step is None:
            return None
        return incoming.response(step) if isinstance(step, int) else step(incoming)

    def _notified(self, incoming: Incoming) -> Response:
        self.others.append(incoming.request)
        return incoming.response(200)

    def isc(
        self,
        case: str,
        sender: str,
        recipient: str,
        body: bytes = b"hello",
        content_type: str = "text/plain",
        *,
        state: str = "reg",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Request:
        """Return a MESSAGE as the core shows it to the server."""
        served = (sender or ALICE) if case == "orig" else recipient
        lines = [
            ("Route", f"<sip:{IM};lr>, <sip:{CORE};lr;odi=7>"),
            ("P-Asserted-Identity", f"<{sender}>"),
            ("P-Served-User", f"<{served}>;sescase={case};regstate={state}"),
            ("P-Charging-Vector", "icid-value=charge-1;orig-ioi=north.example"),
        ]
        if not sender:
            del lines[1]
        if not case:
            lines = [line for line in lines if line[0] != "P-Served-User"]
        request = self.ua.make("MESSAGE", recipient, lines, body)
        request.set("From", f"<{sender or 'sip:x@y.example'}>;tag={self.ua.ids.tag()}")
        if content_type:
            request.set("Content-Type", content_type)
        for name, value in headers:
            request.set(name, value)
        return request


class ImTestCase(SynchronousTestCase):
    """A test with an IM Server of north.example and its core."""

    settings: dict[str, Any] = {}

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, 1)
        self.stores = memory_stores()
        endpoint = Endpoint(self.network, self.clock, name="core", ids=Ids(1))
        for transport in ("UDP", "TCP"):
            self.successResultOf(endpoint.listen(transport, CORE, 5060))
        self.core = Core(endpoint)
        self.started = 0
        self.start(**self.settings)

    def start(self, **settings: Any) -> ImServer:
        """Start a server on the stores that there are."""
        self.started += 1
        self.node = Node(
            NodeConfig(state="memory:"),
            self.clock,
            self.network,
            _kept(self.stores),
            ids=Ids(self.started + 1),
        )
        settings.setdefault("trusted", (CORE,))
        listen = (f"udp:{IM}:5060", f"tcp:{IM}:5060")
        config = Config(listen=listen, core=f"sip:{CORE}:5060", **settings)
        self.im = build(self.node, config, "im-north")
        self.im.setServiceParent(self.node)
        self.events: list[ServiceEvent] = []
        self.node.taps.add(ServiceEvent, self.events.append)
        self.node.startService()
        self.wait(self.im.ready())
        return self.im

    def stop(self) -> None:
        """Stop the server; the stores stay."""
        self.wait(self.node.stopService())

    def wait(self, result: Any, patience: float = 200.0) -> Any:
        """Let time pass until a coroutine or Deferred is done."""
        if not isinstance(result, Deferred):
            result = Deferred.fromCoroutine(result)
        return self.clock.wait(result, patience)

    def ask(self, request: Request) -> Response:
        """Send a request to the server; return the answer."""
        result: Response = self.wait(self.core.ua.request(request))
        return result

    def send(self, case: str, sender: str, recipient: str, *args: Any, **named: Any) -> Response:
        """Show the server a MESSAGE; return the answer."""
        return self.ask(self.core.isc(case, sender, recipient, *args, **named))

    def device(self, user: str, *contacts: str) -> None:
        """Tell the server of a registration, as a core does that shows all its devices."""
        answer = self.core.ua.make("REGISTER", f"sip:{DOMAIN}", to=f"<{user}>").response(200)
        for contact in contacts:
            answer.add("Contact", f"<{contact}>;expires=600")
        answer.add("P-Associated-URI", f"<{user}>")
        self.register(user, body=answer.to_bytes(), kind="message/sip")

    def register(self, user: str, expires: int = 600, body: bytes = b"", kind: str = "") -> None:
        """Tell the server of a registration, and let it act on it."""
        request = self.core.ua.make(
            "REGISTER", f"sip:{IM}", [("Expires", str(expires))], body, to=f"<{user}>"
        )
        request.set("Contact", f"<sip:{CORE}>")
        if kind:
            request.set("Content-Type", kind)
        self.assertEqual(self.ask(request).status, 200)
        self.clock.advance(1.0)

    def bodies(self) -> list[bytes]:
        """Return the bodies that the core has seen, and forget them."""
        found = [request.body for request in self.core.seen]
        self.core.seen.clear()
        return found

    def reports(self) -> list[tuple[str, Imdn]]:
        """Return the reports that the core has seen, and to whom they go."""
        found = []
        for request in self.core.seen:
            if (request.first("Content-Type") or "") == "message/cpim":
                found += [(request.uri, one) for one in read_reports(Cpim.parse(request.body))]
        return found

    def waiting(self, user: str) -> list[bytes]:
        """Return the bodies of what is stored for a user."""
        found = self.successResultOf(self.stores.deferred.waiting(user, 0.0))
        return [one.body for one in found]

    def outbox(self) -> list[ServiceEvent]:
        """Return the events that are durable."""
        records = self.successResultOf(self.stores.outbox.read(0))
        return [from_json(one.kind, one.data.decode()) for one in records]

    def of(self, kind: type[ServiceEvent]) -> list[Any]:
        """Return the events of one kind that were told."""
        return [event for event in self.events if isinstance(event, kind)]


def _kept(stores: Stores) -> Stores:
    """Return the stores such that a node that stops leaves them open."""
    return Stores(
        stores.bindings,
        stores.users,
        stores.deferred,
        stores.outbox,
        stores.history,
        stores.publications,
        stores.subscriptions,
        stores.leases,
        stores.documents,
        stores.gauges,
        lambda: succeed(None),
    )


def cpim(
    text: str = "hello",
    wanted: str = "positive-delivery, negative-delivery, processing",
    *,
    sender: str = ALICE,
    to: str = BOB,
    message_id: str = "m1",
) -> bytes:
    """Return a CPIM message that asks for reports."""
    part = Part([("Content-Type", "text/plain")], text.encode())
    message = Cpim.make(Address("", sender), [Address("", to)], "2026-01-01T00:00:00Z", part)
    message.add("Message-ID", message_id, "urn:ietf:params:imdn")
    if wanted:
        message.add("Disposition-Notification", wanted, "urn:ietf:params:imdn")
    return message.to_bytes()
