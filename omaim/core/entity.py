"""The door of the SIP/IP Core: which procedure serves which request."""

from __future__ import annotations

import secrets
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from omaim.core.authenticator import Authenticator
from omaim.core.chain import Chain
from omaim.core.charging import Charging
from omaim.core.interconnect import Neighbours
from omaim.core.people import read_people
from omaim.core.profile_xml import ProfileBook, im_profile
from omaim.core.proxy import Router
from omaim.core.registrar import Registrar, Registration
from omaim.core.service_profile import Profile
from omaim.core.third_party import ThirdParty
from omaim.errors import OmaimError, PeerError, UsageError
from omaim.node.config import parse_listen, setting
from omaim.node.directory import Place
from omaim.node.entity import IEntity
from omaim.node.events import UserDeregistered, UserRegistered
from omaim.node.node import Node, tls_settings
from omaim.sip.charging import ChargingFunctions
from omaim.sip.digest import ALGORITHMS
from omaim.sip.forking import Policy as ForkPolicy
from omaim.sip.gruu import Gruus
from omaim.sip.identity import FUNCTIONS, VECTOR
from omaim.sip.message import Request
from omaim.sip.nonces import Nonces
from omaim.sip.outbound import FlowTokens
from omaim.sip.proxying import OwnAddresses
from omaim.sip.registration import ENDED, INITIAL
from omaim.sip.registration import Policy as RegisterPolicy
from omaim.sip.transaction import ServerTransaction
from omaim.sip.uri import SipUri, canonical_aor
from omaim.stores.records import User

SWEEP = 1.0  # seconds between two looks for expired bindings

_log = Logger()


def _profile(value: str) -> str:
    return "" if value in ("ims", "sip") else "must be ims or sip"


@attrs.frozen
class Config:
    """Settings of the SIP/IP Core of one home domain."""

    domain: str = setting("north.example", "the home domain; also the digest realm")
    aliases: tuple[str, ...] = setting((), "further domains and host names that are ours")
    listen: tuple[str, ...] = setting(
        ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"),
        "where SIP arrives: udp:ADDRESS:PORT, tcp:… or tls:…",
    )
    host: str = setting("", "host name to write into Record-Route and Path; empty: the address")
    certificate: str = setting("", "PEM file with certificate and key, for TLS")
    ca: str = setting("", "PEM file with the authorities to trust; empty: the system's")
    profile: str = setting(
        "ims", "ims: Gm, ISC and Mw header fields; sip: a plain SIP network", check=_profile
    )
    people: str = setting("", "people file (TOML) to load into the user store at start")
    algorithms: tuple[str, ...] = setting(
        ("SHA-256", "MD5"), "digest algorithms offered, most preferred first"
    )
    nonce_lifetime: float = setting(300.0, "seconds after which a digest challenge is stale")
    authenticate: str = setting(
        "always",
        "always: every request outside a dialog is challenged; flow: not those on a TCP or TLS "
        "connection whose user has registered; never: anybody is whom From says (laboratory "
        "only)",
        check=lambda value: "" if value in ("always", "flow", "never") else "is unknown",
    )
    services: tuple[str, ...] = setting(
        (), "addresses or TLS names of application servers, which are trusted"
    )
    peers: tuple[str, ...] = setting(
        (), "trusted other domains: DOMAIN (by TLS) or DOMAIN=ADDRESS+ADDRESS"
    )
    im_server: str = setting(
        "", "SIP URI of the IM Server in the default service profile; empty: no IM service"
    )
    psis: tuple[str, ...] = setting(
        (), "addresses of services: sip:NAME@DOMAIN=URI sends what is for the first to the second"
    )
    default_expires: int = setting(3600, "seconds a binding lives when its client does not say")
    min_expires: int = setting(60, "shortest binding, else 423")
    max_expires: int = setting(86400, "longest binding")
    max_contacts: int = setting(10, "bindings of one address of record")
    flow_timer: int = setting(120, "seconds between keep-alives that clients are told to keep")
    timer_c: float = setting(200.0, "seconds an INVITE may ring; more than 180")
    ccf: tuple[str, ...] = setting((), "offline charging functions told to services")
    ecf: tuple[str, ...] = setting((), "online charging functions told to services")
    record_route: bool = setting(True, "stay on the path of dialogs")
    strangers: bool = setting(
        False, "let requests from networks that are not peers reach our users, unidentified"
    )


@implementer(IEntity)
class Core(Service):
    """The SIP/IP Core of one home domain.

    Attributes:
        endpoint: its SIP endpoint.
        registrar: for administration and for those who follow registrations.
    """

    def __init__(self, node: Node, config: Config, name: str) -> None:
        unknown = set(config.algorithms) - set(ALGORITHMS)
        if unknown or not config.algorithms:
            raise UsageError(f"algorithms: choose from {', '.join(ALGORITHMS)}")
        self.setName(name)
        self.config = config
        self.endpoint = node.endpoint(name, "omaim-core")
        self._node = node
        self._name = name
        self._ready: Deferred[None] = Deferred()
        self._hosts = {config.domain.lower(), *(alias.lower() for alias in config.aliases)}
        self._profiles = ProfileBook()
        self._default = (
            im_profile(config.im_server, tagged_only=False) if config.im_server else Profile()
        )
        self._sweeper = LoopingCall(lambda: Deferred.fromCoroutine(self._sweep()))
        self._sweeper.clock = node.clock
        self.registrar: Registrar
        self.router: Router

    def ready(self) -> Deferred[None]:
        """Return a Deferred that fires when the core listens, or fails with the reason."""
        return self._ready

    def startService(self) -> None:
        """Listen, then serve."""
        super().startService()
        Deferred.fromCoroutine(self._start()).chainDeferred(self._ready)

    def stopService(self) -> Deferred[Any]:
        """Stop serving."""
        super().stopService()
        if self._sweeper.running:
            self._sweeper.stop()
        return maybeDeferred(self.endpoint.stop)

    async def _start(self) -> None:
        config, node = self.config, self._node
        if config.people:
            people = read_people(config.people, config.domain)
            await node.stores.users.put_many(people)
        own = OwnAddresses()
        for host in self._hosts:
            own.add(host)
        tls = tls_settings(config.certificate, config.ca)
        for text in config.listen:
            place = parse_listen(text)
            listener = await self.endpoint.listen(
                place.transport, place.host, place.port, tls, advertise=config.host
            )
            for host in (*self._hosts, listener.advertised):
                own.add(host, listener.port)
            own.add(f"[{listener.host}]" if ":" in listener.host else listener.host, listener.port)
            node.directory.note(
                Place(self._name, "core", listener.host, listener.port, config.domain)
            )
        self._assemble(own)
        self._sweeper.start(SWEEP, now=False)

    def _assemble(self, own: OwnAddresses) -> None:
        config, node, endpoint = self.config, self._node, self.endpoint
        ids = node.ids
        key = secrets.token_bytes(32)
        now = node.clock.seconds
        nonces = Nonces(key, ids, config.nonce_lifetime)
        authenticator = Authenticator(config.domain, node.stores.users, nonces, config.algorithms)
        tokens, gruus = FlowTokens(key), Gruus(key, ids)
        policies = {
            transport: RegisterPolicy(
                config.default_expires,
                config.min_expires,
                config.max_expires,
                config.max_contacts,
                (f"<{endpoint.uri(transport)};lr>",),
                config.flow_timer,
            )
            for transport in {listener.transport for listener in endpoint.listeners}
        }
        self.registrar = Registrar(
            endpoint,
            node.stores.users,
            node.stores.bindings,
            None if config.authenticate == "never" else authenticator,
            policies,
            node.hooks,
            config.domain,
            self.serves,
            now,
            ids,
            tokens,
            gruus,
        )
        charging = Charging(
            ids,
            config.domain,
            endpoint.via_host,
            ChargingFunctions(config.ccf, config.ecf),
            config.profile == "ims",
        )
        third_party = ThirdParty(
            endpoint,
            self._profile_of,
            endpoint.uri(),
            self.registrar.deregister,
            now,
            ids,
            lambda user: self._charge(charging, user),
        )
        self.registrar.followers += [third_party.follow, self._publish]
        self.router = Router(
            endpoint,
            self.registrar,
            node.stores.users,
            authenticator,
            Neighbours(config.services, config.peers),
            node.hooks,
            charging,
            own,
            self.serves,
            config.domain,
            self._profile_of,
            Chain(key),
            tokens,
            gruus,
            ForkPolicy(config.timer_c),
            now,
            ids,
            key,
            config.authenticate,
            config.strangers,
            _service_addresses(config.psis),
            config.profile == "ims",
            config.record_route,
        )
        endpoint.on_request = self.receive
        endpoint.on_ack = self.router.acknowledge
        endpoint.on_cancel = self.router.cancel
        endpoint.on_flow_closed = self.registrar.flow_closed

    def serves(self, host: str) -> bool:
        """Tell whether a host of a URI is this domain."""
        return host in self._hosts

    def receive(self, transaction: ServerTransaction) -> None:
        """Serve a request: the door."""
        request = transaction.request
        try:
            if request.method == "REGISTER" and self._for_registrar(request):
                self._register(transaction)
            elif request.method == "OPTIONS" and self._for_us(request):
                self.endpoint.reply(transaction, 200)
            else:
                self.router.receive(transaction)
        except PeerError as error:
            self.router.refuse(transaction, error)

    def _register(self, transaction: ServerTransaction) -> None:
        try:
            self.registrar.receive(transaction)
        except PeerError as error:
            self.registrar.refuse(transaction, error)

    def _for_registrar(self, request: Request) -> bool:
        uri = request.request_uri
        return not isinstance(uri, SipUri) or self._here(uri)

    def _for_us(self, request: Request) -> bool:
        uri = request.request_uri
        return isinstance(uri, SipUri) and not uri.user and self._here(uri)

    def _here(self, uri: SipUri) -> bool:
        return uri.host in self._hosts or self.endpoint.owns(uri)

    def _profile_of(self, user: User, aor: str) -> Profile:
        if not user.im_service and not user.profile:
            return Profile()
        if not user.profile:
            return self._default
        try:
            return self._profiles.profile(user.profile.encode())
        except PeerError as error:
            _log.error("{user} has a bad profile: {why}", user=user.private_id, why=error.why)
            return self._default

    def _charge(self, charging: Charging, user: User) -> list[tuple[str, str]]:
        """Return charging header lines for a third-party REGISTER."""
        lines = []
        vector = charging.begin(Request.make("REGISTER", "sip:nobody", []), True)
        if vector is not None:
            lines.append((VECTOR, str(vector)))
            functions = charging.functions_of(user)
            if functions:
                lines.append((FUNCTIONS, functions))
        return lines

    def _publish(self, registration: Registration) -> None:
        at = self._node.clock.seconds()
        if registration.kind == ENDED:
            last = registration.changes[-1].event
            self._node.taps.publish(
                UserDeregistered(at=at, entity=self._name, aor=registration.aor, why=last)
            )
        else:
            self._node.taps.publish(
                UserRegistered(
                    at=at,
                    entity=self._name,
                    aor=registration.aor,
                    contacts=tuple(one.contact for one in registration.bindings),
                    initial=registration.kind == INITIAL,
                )
            )

    async def _sweep(self) -> None:
        try:
            await self.registrar.sweep()
        except OmaimError as error:
            _log.error("expired bindings were not removed: {why}", why=str(error))


def _service_addresses(psis: tuple[str, ...]) -> dict[str, str]:
    """Return where each public service identity is served (3GPP TS 23.228 §5.4.12)."""
    found = {}
    for text in psis:
        address, _, server = text.partition("=sip:")
        if not server:
            raise UsageError(f"{text}: write sip:NAME@DOMAIN=sip:SERVER")
        found[canonical_aor(address)] = f"sip:{server}"
    return found


def build(node: Node, config: Config, name: str = "core") -> Core:
    """Return the core, not yet started, as part of ``node``."""
    return Core(node, config, name)
