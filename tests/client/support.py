"""Clients on a simulated network: against a whole home domain, or a server that a test scripts."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import Address, Cpim
from omaim.client import Client
from omaim.client.composing import Content, write_cpim
from omaim.client.conversation import Conversation
from omaim.core import entity as core
from omaim.ids import Ids
from omaim.im import entity as im
from omaim.im.config import Config as ImConfig
from omaim.net.endpoint import Endpoint
from omaim.node.config import NodeConfig
from omaim.node.node import Node
from omaim.node.people import make_user
from omaim.roles.incoming import Incoming
from omaim.roles.listmail import OPTION
from omaim.roles.user_agent import UserAgent
from omaim.sip.message import Request, Response
from omaim.stores.memory import memory_stores
from omaim.testing.dns import SimulatedDns
from omaim.testing.network import Clock, SimulatedNetwork

DOMAIN = "north.example"
CORE = "10.0.0.1"
IM = "10.0.0.2"
ALICE = f"sip:alice@{DOMAIN}"
BOB = f"sip:bob@{DOMAIN}"

Step = int | Callable[[Incoming], Response | None] | None


class ClientTests(SynchronousTestCase):
    """A test with virtual time and a network."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, 1)
        self._devices = 10

    def client(self, name: str, server: str = CORE, **named: Any) -> Client:
        """Return a client of somebody, on an address of its own."""
        self._devices += 1
        named.setdefault("listen", f"10.0.0.{self._devices}")
        return Client(
            f"{name}@{DOMAIN}",
            named.pop("password", name),
            server,
            clock=self.clock,
            network=self.network,
            ids=Ids(self._devices),
            **named,
        )

    def wait(self, result: Any, patience: float = 7200.0) -> Any:
        """Let time pass until a coroutine or Deferred is done; return or raise its result."""
        if isinstance(result, Coroutine):
            result = Deferred.fromCoroutine(result)
        return self.clock.wait(result, patience)

    def settle(self, seconds: float = 1.0) -> None:
        """Let what is under way come to its end."""
        self.clock.advance(seconds)


class HomeTests(ClientTests):
    """A test with a core and an IM Server for alice, bob and carol."""

    def setUp(self) -> None:
        super().setUp()
        stores = memory_stores()
        self.node = Node(
            NodeConfig(state="memory:"),
            self.clock,
            self.network,
            stores,
            SimulatedDns(f"{DOMAIN} A {CORE}").ask,
            Ids(1),
        )
        people = [
            make_user(f"{name}@{DOMAIN}", DOMAIN, name, (f"sip:{name}@{DOMAIN}",))
            for name in ("alice", "bob", "carol")
        ]
        self.wait(stores.users.put_many(people))
        psis = (
            "exploder",
            "deferred",
            "deferred-delete",
            "history",
            "history-delete",
            "conference",
            "room.*",
            "conf.*",
        )
        self.core = core.build(
            self.node,
            core.Config(
                domain=DOMAIN,
                listen=(f"udp:{CORE}:5060", f"tcp:{CORE}:5060"),
                services=(IM,),
                im_server=f"sip:{IM}:5060",
                psis=tuple(f"sip:{name}@{DOMAIN}=sip:{IM}:5060" for name in psis),
                **self.core_settings(),
            ),
            "core",
        )
        self.im = im.build(
            self.node,
            ImConfig(
                domain=DOMAIN,
                listen=(f"udp:{IM}:5060", f"tcp:{IM}:5060"),
                msrp=(f"tcp:{IM}:2855",),
                core=f"sip:{CORE}:5060",
                trusted=(CORE,),
                **self.im_settings(),
            ),
            "im",
        )
        for entity in (self.core, self.im):
            entity.setServiceParent(self.node)
        self.node.startService()
        self.addCleanup(lambda: self.wait(self.node.stopService()))
        self.wait(self.core.ready())
        self.wait(self.im.ready())

    def core_settings(self) -> dict[str, Any]:
        """Return settings of the core that this test wants otherwise."""
        return {}

    def im_settings(self) -> dict[str, Any]:
        """Return settings of the IM Server that this test wants otherwise."""
        return {}

    def group(self, aor: str, members: str, **more: str) -> None:
        """Define a group, as an operator does."""
        command = {"command": "add-group", "aor": aor, "members": members, **more}
        self.wait(self.node.control.run(command))

    def registered(self, name: str, **named: Any) -> Client:
        """Return a client that has registered."""
        client = self.client(name, **named)
        self.wait(client.register())
        return client


class Server:
    """A home that does what a test tells it.

    Attributes:
        seen: every request, in order; :meth:`of` picks those of one method.
        script: what to answer to MESSAGE, one entry each: a status, a response maker, or
            ``None`` for silence; 200 when it is empty.
        registrations: the same for REGISTER.
        subscriptions: the same for SUBSCRIBE; 489 when it is empty.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.ua = UserAgent(endpoint, f"sip:core.{DOMAIN}", contact=f"<sip:{CORE}>")
        self.ua.supported.add(OPTION)
        self.seen: list[Request] = []
        self.incoming: list[Incoming] = []
        self.script: list[Step] = []
        self.registrations: list[Step] = []
        self.subscriptions: list[Step] = []
        self.expires = 600
        self.extra: list[tuple[str, str]] = []  # header fields of each 200 to REGISTER
        self.ua.on("MESSAGE", self._message)
        self.ua.on("REGISTER", self._register)
        self.ua.on("SUBSCRIBE", self._subscribe, dialogs=True)
        self.ua.attach()

    def of(self, method: str) -> list[Request]:
        """Return the requests of one method, oldest first."""
        return [one for one in self.seen if one.method == method]

    @property
    def contact(self) -> str:
        """The Contact URI that was registered last."""
        return self.of("REGISTER")[-1].contacts[0].uri_text

    def _note(self, incoming: Incoming) -> None:
        self.seen.append(incoming.request)
        self.incoming.append(incoming)

    def _message(self, incoming: Incoming) -> Response | None:
        self._note(incoming)
        return _perform(incoming, self.script.pop(0) if self.script else 200)

    def _subscribe(self, incoming: Incoming) -> Response | None:
        self._note(incoming)
        return _perform(incoming, self.subscriptions.pop(0) if self.subscriptions else 489)

    def _register(self, incoming: Incoming) -> Response | None:
        self._note(incoming)
        step = self.registrations.pop(0) if self.registrations else self._bind
        return _perform(incoming, step)

    def _bind(self, incoming: Incoming) -> Response:
        contact = incoming.request.contacts[0]
        asked = contact.expires if contact.expires is not None else 3600
        lasts = min(asked, self.expires)
        headers = [("Contact", f"<{contact.uri_text}>;expires={lasts}")] if lasts else []
        return incoming.response(200, headers + self.extra)

    def message(
        self,
        body: bytes,
        content_type: str = "text/plain",
        *,
        sender: str = BOB,
        headers: list[tuple[str, str]] | None = None,
        call_id: str = "",
    ) -> Coroutine[Any, Any, Response]:
        """Send a MESSAGE to the client that registered last; the coroutine awaits the answer."""
        fields = [
            ("P-Asserted-Identity", f"<{sender}>"),
            *(headers or []),
            ("Content-Type", content_type),
        ]
        request = self.ua.make("MESSAGE", self.contact, fields, body)
        request.set("From", f"<{sender}>;tag={self.ua.ids.tag()}")
        if call_id:
            request.set("Call-ID", call_id)
        return self.ua.request(request)


def _perform(incoming: Incoming, step: Step) -> Response | None:
    if step is None:
        return None
    return incoming.response(step) if isinstance(step, int) else step(incoming)


class ServedTests(ClientTests):
    """A test with one registered client, alice's, and a scripted server."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve()
        self.alice = self.client("alice")

    def serve(self, host: str = CORE) -> Server:
        """Return a server at ``host``, UDP and TCP."""
        endpoint = Endpoint(self.network, self.clock, name="server", ids=Ids(2))
        for transport in ("UDP", "TCP"):
            self.successResultOf(endpoint.listen(transport, host, 5060))
        return Server(endpoint)

    def register(self) -> None:
        """Register alice."""
        self.wait(self.alice.register())


def cpim(
    text: str,
    *,
    sender: str = BOB,
    to: str = ALICE,
    message_id: str = "m1",
    reports: tuple[str, ...] = ("positive-delivery", "display"),
    name: str = "",
) -> bytes:
    """Return a CPIM message as a client writes it."""
    content = Content(text.encode(), "text/plain;charset=utf-8")
    return write_cpim(content, Address(name, sender), [to], 1.0, message_id, reports).to_bytes()


def envelope(request: Request) -> Cpim:
    """Return the CPIM message in a MESSAGE."""
    return Cpim.parse(request.body)


class PairTests(ClientTests):
    """A test with two clients that reach one another without a server between."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.client("alice", "10.0.0.22:5060", listen="10.0.0.21:5060")
        self.bob = self.client("bob", "10.0.0.21:5060", listen="10.0.0.22:5060")
        for client in (self.alice, self.bob):
            self.wait(client.open())
            self.addCleanup(self.closed, client)

    def closed(self, client: Client) -> None:
        """Close a client, and let nothing be left of it."""
        self.wait(client.close())
        self.settle(120.0)

    def talk(self, **named: Any) -> tuple[Conversation, Conversation]:
        """Return alice's and bob's side of a conversation that she has begun."""
        begun: list[Conversation] = []
        self.bob.auto_accept = True
        self.bob.on_conversation(begun.append)
        hers = self.wait(self.alice.invite("bob", **named))
        self.settle()
        return hers, begun[0]
