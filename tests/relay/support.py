"""Relays and their clients over loopback sockets, with an authority of their own."""

from __future__ import annotations

import os
from typing import Any

from cryptography import x509
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from omaim.msrp import FrameLimits, FrameParser, MsrpUri, Session
from omaim.net.msrp import MsrpEndpoint
from omaim.net.network import ReactorNetwork
from omaim.net.resolver import Resolver
from omaim.net.tls import TlsSettings
from omaim.node.config import NodeConfig
from omaim.node.node import Node
from omaim.node.people import make_user
from omaim.relay.entity import Config, RelayEntity, build
from omaim.roles.relay_client import Passage, RelayClient
from omaim.sip.locating import Answer, Srv
from omaim.stores.memory import memory_stores
from tests.msrp.relays import Frame, join
from tests.msrp.support import User
from tests.net.loopback import LOCAL, OURS, LoopbackCase
from tests.net.loopback import settings as own_settings
from tests.net.support import Authority

DOMAIN = "north.example"


def settings(*names: str, authority: Authority = OURS, **more: Any) -> TlsSettings:
    """Return TLS settings with a fresh certificate; without names, with none."""
    if not names:
        return TlsSettings(b"", b"", OURS.pem, **more)
    return own_settings(*map(x509.DNSName, names), LOCAL, authority=authority, **more)


class Names:
    """A DNS that knows every host as 127.0.0.1.

    Attributes:
        services: port and target of SRV records, by name.
        asked: the questions.
    """

    def __init__(self) -> None:
        self.services: dict[str, tuple[int, str]] = {}
        self.asked: list[tuple[str, str]] = []

    def ask(self, name: str, kind: str) -> Deferred[tuple[Answer, float]]:
        self.asked.append((name, kind))
        if kind == "A":
            return succeed((Answer(addresses=["127.0.0.1"]), 60.0))
        if kind == "SRV" and name in self.services:
            return succeed((Answer(srv=[Srv(1, 1, *self.services[name])]), 60.0))
        return succeed((Answer(), 60.0))


class Client:
    """A user of a relay.

    Attributes:
        user: what its session gets.
        endpoint: that its sessions have.
    """

    def __init__(self, case: RelayCase, name: str, transport: str, **more: Any) -> None:
        self.case, self.name = case, name
        self.user = User(more.pop("mode", "collect"))
        self.names = case.names
        resolver = Resolver(reactor, case.names.ask)
        tls = more.pop("tls", None) or settings()
        self.endpoint = MsrpEndpoint(
            ReactorNetwork(reactor), reactor, resolver, name=name, tls=tls, **more
        )
        self.transport = transport
        case.addCleanup(self.endpoint.stop)
        self.session = self.endpoint.session(self.user.user, transport)
        self.passage: Passage | None = None

    def asking(self, *relays: str, password: str = "", **more: Any) -> RelayClient:
        """Return what asks relays for this user."""
        asking = RelayClient(
            self.endpoint,
            reactor,
            tuple(map(MsrpUri.parse, relays)),
            self.name,
            password or f"{self.name}-secret",
            **more,
        )
        self.case.addCleanup(asking.stop)
        return asking

    async def behind(self, *relays: str, **more: Any) -> Session:
        """Get a way through relays; return the session."""
        self.passage = await self.asking(*relays, **more).authorize(self.session)
        return self.session

    def connect(self, other: Session, active: bool) -> None:
        if self.passage is None:
            self.endpoint.connect(self.session, other.path, active)
        else:
            self.passage.connect(other.path, active)


class RelayCase(LoopbackCase):
    """Relays that are stopped at the end."""

    def setUp(self) -> None:
        self.names = Names()

    async def relay(self, host: str = "relay.north.example", **more: Any) -> RelayEntity:
        """Return a relay that listens on 127.0.0.1."""
        authority = more.pop("authority", OURS)
        pem = self.mktemp()
        certificate, key = authority.issue(x509.DNSName(host), LOCAL)
        with open(pem, "wb") as file:
            file.write(certificate + key)
        ca = self.mktemp()
        with open(ca, "wb") as file:
            file.write(OURS.pem)
        stores = memory_stores()
        for name in ("alice", "bob"):
            await stores.users.put(
                make_user(name, DOMAIN, f"{name}-secret", (f"sip:{name}@{DOMAIN}",))
            )
        node = Node(NodeConfig(), reactor, ReactorNetwork(reactor), stores, ask=self.names.ask)
        config = Config(
            domain=DOMAIN,
            host=host,
            listen=more.pop("listen", ("tls:127.0.0.1:0",)),
            certificate=pem,
            ca=ca,
            **more,
        )
        entity = build(node, config, host)
        node.entities[host] = entity
        entity.setServiceParent(node)
        self.addCleanup(node.stopService)
        node.startService()
        await entity.ready()
        entity.node = node  # type: ignore[attr-defined]
        return entity

    def uri(self, relay: RelayEntity) -> str:
        """Return the URI to ask a relay by."""
        place = next(iter(relay._places.values()))
        return f"{place.scheme}://{place.host}:{place.port};tcp"

    def client(self, name: str, transport: str = "TLS", **more: Any) -> Client:
        return Client(self, name, transport, **more)

    async def raw(self, relay: RelayEntity) -> Raw:
        """Return a TCP connection to a relay."""
        port = next(iter(relay._places))
        raw = Raw()
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), raw)
        self.addCleanup(raw.close)
        return raw


class Raw(Protocol):
    """A peer that says what it likes.

    Attributes:
        transport: of the connection.
        frames: what came.
        gone: the connection has ended.
    """

    transport: Any

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.gone = False
        self._parts: list[Any] = []
        self._parser = FrameParser(FrameLimits())

    def say(self, data: bytes) -> None:
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        self._parts += self._parser.feed(data)
        self.frames = join(self._parts)

    def connectionLost(self, reason: Any = None) -> None:
        self.gone = True

    def close(self) -> None:
        self.transport.abortConnection()


def junk(size: int) -> bytes:
    """Return octets without a meaning."""
    return os.urandom(size)
