"""The MSRP relay: from sockets and settings to the machine in :mod:`omaim.msrp.relaying`.

Spec: RFC 4976
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any, Final

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from omaim.errors import PeerError, UsageError
from omaim.msrp.admitting import Admission, Neighbour, Terms
from omaim.msrp.grants import Grants
from omaim.msrp.leg import Leg
from omaim.msrp.means import Limits
from omaim.msrp.relaying import Relay
from omaim.msrp.uri import MsrpUri
from omaim.net.msrp import MsrpLimits
from omaim.net.msrp_connection import Hop, MsrpConnection
from omaim.net.network import Stream
from omaim.net.reach import Reach
from omaim.net.tls import names_host
from omaim.node.config import parse_listen, setting
from omaim.node.directory import Place
from omaim.node.entity import IEntity
from omaim.node.node import Node, tls_settings
from omaim.node.people import read_people
from omaim.relay.credentials import Digest
from omaim.roles.accounts import accounts_of
from omaim.sip.digest import ALGORITHMS
from omaim.sip.nonces import Nonces
from omaim.sip.verifying import Verifier

TICK: Final = 1.0  # seconds between two looks at the machine's own numbers


@attrs.frozen
class Config:
    """Settings of the MSRP relay."""

    domain: str = setting("north.example", "the digest realm: the home domain of its users")
    host: str = setting("relay.north.example", "its own host name, as in URIs and certificate")
    listen: tuple[str, ...] = setting(
        ("tls:127.0.0.1:2855",), "where MSRP arrives: tls:ADDRESS:PORT or tcp:ADDRESS:PORT"
    )
    certificate: str = setting("", "PEM file with certificate and key")
    ca: str = setting("", "PEM file with the authorities to trust; empty: the system's")
    people: str = setting("", "people file (TOML) to load into the user store at start")
    algorithms: tuple[str, ...] = setting(
        ("SHA-256", "MD5"), "digest algorithms offered, most preferred first"
    )
    nonce_lifetime: float = setting(3600.0, "seconds after which a digest challenge is stale")
    plain: bool = setting(
        False, "answer AUTH without TLS as well, which RFC 4976 forbids: for a laboratory"
    )
    default_expires: int = setting(3600, "seconds a URI is valid when its client does not say")
    min_expires: int = setting(60, "shortest time, else 423")
    max_expires: int = setting(86400, "longest time, else 423")
    max_uris: int = setting(100_000, "URIs handed out at a time")
    max_uris_each: int = setting(
        1000, "of them for one client; a relay may ask for ten times as many"
    )
    max_connections: int = setting(
        20_000,
        "connections at a time; for a further one, that ends which was not used for longest and "
        "has nothing under way",
    )
    max_connections_each: int = setting(
        500, "connections at a time from one address; above, they are closed at once"
    )
    max_failures: int = setting(5, "wrong credentials in a row before a connection is closed")
    rate: int = setting(
        0, "octets a second that one peer may send before it has to wait; 0: any number"
    )
    relays: tuple[str, ...] = setting(
        (), "host names of relays that clients may come through; empty: all with a good certificate"
    )
    msrp_networks: tuple[str, ...] = setting(
        (),
        "networks in which paths may have it connect to a next hop, as 10.0.0.0/8; empty: all "
        "with addresses that a host can have, but loopback ones only where it listens on one",
    )
    msrp_lowest_port: int = setting(
        1024, "the lowest port that paths may have it connect to; below, there is no MSRP"
    )
    tls_only: bool = setting(False, "never connect to a next hop without TLS")
    unknown: bool = setting(True, "pass on methods that the relay does not know; else 501")
    answer: float = setting(30.0, "seconds for the next hop's answer before a REPORT says 408")
    stalled: float = setting(
        20.0, "seconds that a peer may leave unread what waits for it; less than answer"
    )
    idle: float = setting(3600.0, "seconds after which an unused connection is closed")


@implementer(IEntity)
class RelayEntity(Service):
    """The MSRP relay.

    Attributes:
        endpoint: its MSRP endpoint.
        relay: the machine.
    """

    def __init__(self, node: Node, config: Config, name: str) -> None:
        unknown = set(config.algorithms) - set(ALGORITHMS)
        if unknown or not config.algorithms:
            raise UsageError(f"algorithms: choose from {', '.join(ALGORITHMS)}")
        self.setName(name)
        self.config = config
        self._tls = tls_settings(config.certificate, config.ca)
        limits = Limits(answer=config.answer, stalled=config.stalled, idle=config.idle)
        peers = MsrpLimits(total=config.max_connections, per_host=config.max_connections_each)
        allowed = Reach(config.msrp_networks, config.msrp_lowest_port)
        self.endpoint = node.msrp(name, self._tls, limits=limits, peers=peers, allowed=allowed)
        self.endpoint.serve = self._serve
        self._node = node
        self._name = name
        self._ready: Deferred[None] = Deferred()
        self._places: dict[int, MsrpUri] = {}  # by port
        self._hosts = {config.host.lower()}
        self._trusted = frozenset(host.lower() for host in config.relays)
        self._legs: dict[MsrpConnection, Leg] = {}  # those that we open
        nonces = Nonces(secrets.token_bytes(32), node.ids, config.nonce_lifetime, since=node.now())
        verifier = Verifier(
            config.domain,
            accounts_of(node.stores.users, config.domain),
            nonces,
            node.clock.seconds,
            config.algorithms,
            "auth",
        )
        terms = Terms(
            config.min_expires,
            config.max_expires,
            config.default_expires,
            config.plain,
            config.max_failures,
        )
        grants = Grants(node.ids, config.max_uris, config.max_uris_each)
        self.relay = Relay(
            self.endpoint.means,
            grants,
            Admission(grants, terms, Digest(verifier, node.now).check),
            self._owns,
            self._reach,
            lambda: node.wire.record is not None,
            config.unknown,
            float(config.rate),
        )
        self.endpoint.make_room = self.relay.make_room
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = node.clock

    def ready(self) -> Deferred[None]:
        """Return a Deferred that fires when the relay listens, or fails with the reason."""
        return self._ready

    def startService(self) -> None:
        """Listen, then serve."""
        super().startService()
        Deferred.fromCoroutine(self._start()).chainDeferred(self._ready)

    def stopService(self) -> Deferred[Any]:
        """Stop serving."""
        super().stopService()
        self.relay.stopping = True
        if self._ticker.running:
            self._ticker.stop()
        return maybeDeferred(self.endpoint.stop)

    async def _start(self) -> None:
        config = self.config
        if config.people:
            users = read_people(config.people, config.domain)
            await self._node.stores.users.put_many(users)
        # Whoever shows a certificate without an authority is a client (§6.1, §9.2).
        tls = None if self._tls is None else attrs.evolve(self._tls, self_signed=True)
        for text in config.listen:
            place = parse_listen(text)
            listener = await self.endpoint.listen(
                place.transport, place.host, place.port, tls, advertise=config.host
            )
            secure = place.transport == "TLS"
            self._places[listener.port] = MsrpUri(config.host, listener.port, "", secure)
            self._hosts.add(listener.host.lower())
            self._node.directory.note(
                Place(self._name, "relay", listener.host, listener.port, config.domain)
            )
        self._ticker.start(TICK, now=False)

    def _owns(self, host: str, port: int) -> bool:
        return host in self._hosts and (not port or port in self._places)

    def _serve(self, connection: MsrpConnection) -> Leg:
        """Let the machine have a connection that is up."""
        stream = connection.stream
        assert stream is not None
        leg = self._legs.get(connection)
        if leg is None or leg.closed:
            leg = self.relay.open()
        places = self._places
        place = places.get(stream.local[1]) or next(iter(places.values()))
        neighbour = Neighbour(
            connection.host,
            stream.secure,
            place,
            partial(self._vouches, stream),
            connection.hop is not None,
        )
        leg.come_up(connection.line(), neighbour, connection.watch)
        return leg

    def _vouches(self, stream: Stream, host: str) -> bool:
        """Tell whether a peer's certificate proves that it is the relay ``host`` (§6.3)."""
        if self._trusted and host not in self._trusted:
            return False
        return bool(stream.peer_names) and names_host(stream.peer_certificate, host)

    def _reach(self, uri: MsrpUri) -> Leg:
        """Return the way to a next hop.

        Raises:
            PeerError: we do not go there.
        """
        known = uri.port >= self.config.msrp_lowest_port
        known = known or (not uri.port and uri.secure)  # by the DNS, for AUTH (§8)
        if uri.transport.lower() != "tcp" or not known:
            raise PeerError("no such next hop can be reached", 403)
        if not uri.secure and self.config.tls_only:
            raise PeerError("the next hop has no TLS", 403)
        host = uri.bare_host.lower()
        hop = Hop(host, uri.port, uri.secure, host * uri.secure)
        if not self.endpoint.has_room(hop):
            raise PeerError("too many connections", 408)
        connection = self.endpoint.reach(hop)
        leg = self._legs.get(connection)
        if leg is None:
            leg = self._legs[connection] = self.relay.open(uri)
            connection.gone.addCallback(self._gone, connection, leg)
        return leg

    def _gone(self, result: None, connection: MsrpConnection, leg: Leg) -> None:
        del self._legs[connection]
        leg.lost("the next hop cannot be reached")

    def _tick(self) -> None:
        """Show the machine's own numbers among the endpoint's."""
        relay, counters = self.relay, self.endpoint.counters
        counters["chunks_relayed"] = relay.relayed
        counters["requests_relayed"] = relay.passed
        counters["octets_received"] = relay.octets
        counters["uris"] = len(relay.grants)


def build(node: Node, config: Config, name: str = "relay") -> RelayEntity:
    """Return the relay, not yet started, as part of ``node``."""
    return RelayEntity(node, config, name)
