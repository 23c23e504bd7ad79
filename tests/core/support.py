"""A core on the simulated network, with phones, application servers and other networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.core.entity import Config, Core, build
from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.net.resolver import Resolver
from omaim.node.config import NodeConfig
from omaim.node.node import Node
from omaim.node.people import make_user
from omaim.roles.user_agent import UserAgent
from omaim.sip.answering import Answerer
from omaim.sip.flow import Flow
from omaim.sip.message import Request, Response
from omaim.sip.proxying import OwnAddresses, forwarded_copy, postprocess, preprocess, strip_via
from omaim.sip.transaction import ServerTransaction
from omaim.stores.interfaces import Stores
from omaim.stores.memory import memory_stores
from omaim.testing.clock import Clock
from omaim.testing.dns import SimulatedDns
from omaim.testing.network import SimulatedNetwork

DOMAIN = "north.example"
CORE = "10.0.0.1"
IM = "10.0.0.2"
ROUTE = f"<sip:{CORE};lr>"
Headers = Sequence[tuple[str, str]]


class Phone:
    """A user agent of somebody.

    Attributes:
        got: requests that came.
        answer: the status it gives; 0 for none, or a function.
        pending: transactions that wait for an answer.
    """

    def __init__(self, agent: UserAgent, host: str) -> None:
        self.agent = agent
        self.host = host
        self.contact = f"sip:{agent.identity[4:].partition('@')[0]}@{host}"
        self.got: list[Request] = []
        self.flows: list[Flow] = []
        self.acks: list[Request] = []
        self.cancels: list[Request] = []
        self.pending: list[ServerTransaction] = []
        self.answer: int | Callable[[ServerTransaction], object] = 200
        agent.endpoint.on_request = self._request
        agent.endpoint.on_ack = lambda request, flow: self.acks.append(request)
        agent.endpoint.on_cancel = self._cancelled

    def _request(self, transaction: ServerTransaction) -> None:
        self.got.append(transaction.request)
        self.flows.append(transaction.flow)
        if not isinstance(self.answer, int):
            self.answer(transaction)
        elif self.answer:
            self.respond(transaction, self.answer)
        else:
            self.pending.append(transaction)

    def respond(self, transaction: ServerTransaction, status: int, *headers: Any) -> None:
        """Answer one request."""
        request = transaction.request
        tag = self.agent.endpoint.tag_of(transaction) if status > 100 else ""
        response = request.response(status, None, tag)
        for line in request.all("Record-Route"):
            response.add("Record-Route", line)
        if request.method in ("INVITE", "SUBSCRIBE"):
            response.add("Contact", f"<{self.contact}>")
        for name, value in headers:
            response.add(name, value)
        self.agent.endpoint.respond(transaction, response)

    def _cancelled(self, transaction: ServerTransaction, cancel: Request) -> None:
        self.cancels.append(cancel)
        self.agent.endpoint.reply(transaction, 487)


class Server:
    """An application server: passes on what it gets, or does as told.

    Attributes:
        status: answers with it; -1 passes on, 0 stays silent.
        change: changes each copy that is passed on.
    """

    def __init__(self, endpoint: Endpoint, host: str) -> None:
        self.endpoint = endpoint
        self.got: list[Request] = []
        self.status = -1
        self.change: Callable[[Request], object] = lambda copy: None
        self.own = OwnAddresses()
        self.own.add(host, 5060)
        endpoint.on_request = self._request

    def messages(self, method: str = "MESSAGE") -> list[Request]:
        """Return the requests of one method."""
        return [request for request in self.got if request.method == method]

    def _request(self, transaction: ServerTransaction) -> None:
        request, flow = transaction.request, transaction.flow
        self.got.append(request.copy())
        if request.method == "REGISTER" and self.status == -1:
            self.endpoint.reply(transaction, 200)
        elif self.status > 0:
            self.endpoint.reply(transaction, self.status)
        elif self.status < 0:
            preprocess(request, self.own, flow.transport, flow.local_port)
            copy = forwarded_copy(request, request.uri)
            self.change(copy)
            postprocess(copy)
            self.endpoint.send(copy, lambda response: self._answered(transaction, response))

    def _answered(self, transaction: ServerTransaction, response: Response) -> None:
        if response.local:
            self.endpoint.reply(transaction, response.status)
        elif response.status > 100 and strip_via(response):
            self.endpoint.respond(transaction, response)


class CoreCase(SynchronousTestCase):
    """A test with a core, whose settings :attr:`settings` extends."""

    settings: dict[str, Any] = {}
    made = 0  # cores

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, 1)
        self.dns = SimulatedDns(f"{DOMAIN} A {CORE}\nim.{DOMAIN} A {IM}")
        self.stores = memory_stores()
        self.put(*(self.person(name) for name in ("alice", "bob", "carol")))
        self.node, self.core = self.make_core(CORE, self.stores, **self.settings)

    def make_core(
        self, host: str, stores: Stores, start: bool = True, **settings: Any
    ) -> tuple[Node, Core]:
        """Return a started core at ``host``."""
        config = NodeConfig(state="memory:")
        self.made += 1
        ids = Ids(len(host) + 100 * self.made)  # no process has the secrets of another
        node = Node(config, self.clock, self.network, stores, self.dns.ask, ids)
        settings.setdefault("listen", (f"udp:{host}:5060", f"tcp:{host}:5060"))
        core = build(node, Config(**settings), f"core-{host}")
        core.setServiceParent(node)
        node.startService()
        self.addCleanup(node.stopService)
        self.successResultOf(core.ready())
        return node, core

    @staticmethod
    def person(name: str, domain: str = DOMAIN, **named: Any) -> Any:
        """Return a user whose password is the name."""
        public = named.pop("public", (f"sip:{name}@{domain}",))
        return make_user(f"{name}@{domain}", domain, name, public, **named)

    def put(self, *users: Any) -> None:
        """Store users."""
        self.successResultOf(self.stores.users.put_many(users))

    def endpoint(self, host: str) -> Endpoint:
        """Return an endpoint that listens at ``host``."""
        ids = Ids(sum(map(ord, host)))
        resolver = Resolver(self.clock, self.dns.ask, ids)
        endpoint = Endpoint(self.network, self.clock, resolver, name=host, ids=ids)
        for transport in ("UDP", "TCP"):
            self.successResultOf(endpoint.listen(transport, host, 5060))
        return endpoint

    def phone(
        self, name: str, number: int, domain: str = DOMAIN, route: str = ROUTE, user: str = ""
    ) -> Phone:
        """Return a phone at 10.0.1.NUMBER that sends everything to the core."""
        host = f"10.0.1.{number}"
        endpoint = self.endpoint(host)
        private = f"{user or name}@{domain}"
        agent = UserAgent(
            endpoint,
            f"sip:{name}@{domain}",
            credentials=Answerer(private, user or name, endpoint.ids),
            routes=[route] if route else [],
        )
        return Phone(agent, host)

    def server(self, host: str = IM) -> Server:
        """Return an application server."""
        return Server(self.endpoint(host), host)

    def register(self, phone: Phone, params: str = "", headers: Headers = ()) -> Response:
        """Register a phone; return the answer."""
        fields = [("Contact", f"<{phone.contact}>{params}"), *headers]
        identity = phone.agent.identity
        scheme = phone.contact.partition(":")[0]  # a sips contact needs a sips URI (RFC 5630 §5.2)
        uri = f"{scheme}:{identity.rpartition('@')[2]}"
        return self.wait(
            phone.agent.request(phone.agent.make("REGISTER", uri, fields, to=f"<{identity}>"))
        )

    def send(
        self, phone: Phone, to: str, method: str = "MESSAGE", headers: Headers = (), **named: Any
    ) -> Response:
        """Send a request outside dialogs; return the final answer."""
        return self.wait(self.start(phone, to, method, headers, **named))

    def start(
        self, phone: Phone, to: str, method: str = "MESSAGE", headers: Headers = (), **named: Any
    ) -> Deferred[Response]:
        """Send a request outside dialogs; the answer comes later."""
        fields = [*headers]
        if method in ("INVITE", "SUBSCRIBE"):
            fields.append(("Contact", f"<{phone.contact}>"))
        request = phone.agent.make(method, to, fields, b"", to=named.pop("to_value", ""))
        for name, value in named.pop("replace", {}).items():
            request.set(name, value)
        return Deferred.fromCoroutine(phone.agent.request(request, **named))

    def wait(self, result: Any, patience: float = 300.0) -> Any:
        """Let time pass until a coroutine or Deferred is done."""
        if not isinstance(result, Deferred):
            result = Deferred.fromCoroutine(result)
        return self.clock.wait(result, patience)
