"""The door of the SIP/IP Core: which procedure serves which request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from omaim.core.chain import Chain
from omaim.core.commands import add_commands
from omaim.core.config import Config as Config
from omaim.core.config import service_addresses
from omaim.core.dialogs import Dialogs
from omaim.core.forwarding import Forwarder
from omaim.core.naming import service_route
from omaim.core.profiles import Profiles
from omaim.core.reg_event import RegEvent
from omaim.core.registered import Registration
from omaim.core.registrar import Registrar
from omaim.core.routing import Router
from omaim.core.secret import durable_secret
from omaim.core.service_profile import CONTINUE, TERMINATE
from omaim.core.services import Services
from omaim.core.subscribers import charging_functions, subscriber_of, subscribers_of
from omaim.core.third_party import ThirdParty
from omaim.errors import OmaimError, PeerError, UsageError
from omaim.net.tls import TlsSettings
from omaim.node.config import parse_listen
from omaim.node.directory import Place
from omaim.node.entity import IEntity
from omaim.node.events import UserDeregistered, UserRegistered
from omaim.node.hooks import Refuse
from omaim.node.node import Node, tls_settings
from omaim.node.people import read_people
from omaim.node.questions import MayAsk
from omaim.roles.accounts import accounts_of, user_of
from omaim.roles.keeping import Keeping
from omaim.roles.notifier import Notifier
from omaim.roles.user_agent import UserAgent
from omaim.sip.admission import Admission
from omaim.sip.admitting import Admitting
from omaim.sip.authenticating import Authenticator, Challenge
from omaim.sip.bindings import REJECTED
from omaim.sip.charging import ChargingFunctions
from omaim.sip.delivering import Delivery
from omaim.sip.digest import ALGORITHMS
from omaim.sip.dismissing import Dismissing
from omaim.sip.flow import UDP, Flow
from omaim.sip.forking import Policy as ForkPolicy
from omaim.sip.gruu import Gruus
from omaim.sip.icid import Charging
from omaim.sip.job import Job
from omaim.sip.message import Request, error_response
from omaim.sip.neighbours import Neighbours
from omaim.sip.nonces import Nonces
from omaim.sip.outbound import FlowTokens
from omaim.sip.proxying import OwnAddresses
from omaim.sip.registration import ENDED, INITIAL
from omaim.sip.registration import Policy as RegisterPolicy
from omaim.sip.senders import Senders
from omaim.sip.subscribed import Served, Subscriber
from omaim.sip.transaction import ServerTransaction
from omaim.sip.uri import SipUri
from omaim.sip.verifying import Verifier

SWEEP: Final = 1.0  # seconds between two looks for expired bindings
RELOAD: Final = 5  # sweeps between two looks at the people file

_log = Logger()


@implementer(IEntity)
class Core(Service):
    """The SIP/IP Core of one home domain.

    Attributes:
        endpoint: its SIP endpoint.
        registrar: for administration and for those who follow registrations.
        admission: what strangers cost.
        serves: tells whether a host of a URI is this domain.
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
        self.serves: Callable[[str], bool] = self._hosts.__contains__
        handling = CONTINUE if config.im_down == "deliver" else TERMINATE
        profiles = Profiles(config.im_server, config.settings_event, handling)
        self.profile_of = profiles.profile_of
        self._psis = service_addresses(config.psis)
        servers = [config.im_server] if config.im_server else []
        self._neighbours = Neighbours(
            (*config.services, *servers, *self._psis.values()), config.peers
        )
        self._sweeper = LoopingCall(lambda: Deferred.fromCoroutine(self._sweep()))
        self._sweeper.clock = node.clock
        self._sweeps = 0
        self._people_at = 0.0
        self._from_file: set[str] = set()
        self.admission = Admission(
            config.challenge_rate, config.challenge_burst, node.clock.seconds
        )
        self.registrar: Registrar
        self.router: Router
        self._dialogs: Dialogs
        add_commands(node, name, config.domain, lambda: self.registrar)
        self.notifier: Notifier
        self._agent: UserAgent
        self._keeping: Keeping
        self._tls: TlsSettings | None = None

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

    async def reload(self) -> int:
        """Read the people file again; who is no longer in it is rejected and removed.

        Returns:
            How many people it names.

        Raises:
            UsageError: the file is wrong; nothing has changed.
            Unavailable: the store cannot take them.
        """
        config, users = self.config, self._node.stores.users
        if not config.people:
            return 0
        self._people_at = _changed_at(config.people)
        people = read_people(config.people, config.domain)
        there = {user.private_id for user in people}
        for private_id in self._from_file - there:
            user = users.peek(private_id)
            for identity in user.identities if user is not None else ():
                await self.registrar.deregister(identity.uri, REJECTED)
            await users.remove(private_id)
        self._from_file = there
        await users.put_many(people)
        return len(people)

    async def _start(self) -> None:
        config, node = self.config, self._node
        await self.reload()
        key = await durable_secret(node.stores.documents, f"core/{config.domain}", node.now())
        self._keeping = Keeping(node.stores.subscriptions, self._name, node.now)
        subscriptions = await self._keeping.read()
        own = OwnAddresses()
        for host in self._hosts:
            own.add(host)
        tls = self._tls = tls_settings(config.certificate, config.ca)
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
        self._assemble(own, key)
        revived = self.notifier.revive(subscriptions)
        if revived:
            _log.info("{count} subscriptions go on", count=revived)
        self._sweeper.start(SWEEP, now=False)

    def _assemble(self, own: OwnAddresses, key: bytes) -> None:
        """Make the parts and tie them together; the endpoint listens already."""
        config, node, endpoint = self.config, self._node, self.endpoint
        stores, hooks, ids, now = node.stores, node.hooks, node.ids, node.now
        seconds = node.clock.seconds
        ims = config.profile == "ims"
        own_uri = next(filter(None, map(endpoint.uri, ("UDP", "TCP", "TLS"))))
        tokens, gruus = FlowTokens(ids.token(64).encode(), key), Gruus(key, ids)
        nonces = Nonces(key, ids, config.nonce_lifetime, since=now())
        accounts = accounts_of(stores.users, config.domain)
        verifier = Verifier(
            config.domain, accounts, nonces, seconds, config.algorithms, "auth,auth-int"
        )
        authenticator = Authenticator(verifier)
        subscribers = subscribers_of(stores.users, self.profile_of)
        dismissing = Dismissing(
            self.admission, endpoint.transactions, endpoint.driver.wakeup, endpoint.now
        )
        admitting = Admitting(
            subscribers,
            None if config.authenticate == "never" else authenticator,
            self.admission,
            dismissing,
            self.serves,
            now,
        )
        self.registrar = Registrar(
            endpoint,
            stores.users,
            stores.bindings,
            admitting,
            self._register_policies(),
            hooks,
            config.domain,
            now,
            ids,
            tokens,
            gruus,
        )
        functions = ChargingFunctions(config.ccf, config.ecf)
        charging = Charging(ids, config.domain, endpoint.via_host, functions, ims)
        dialogs = self._dialogs = Dialogs(endpoint, key, tokens, config.domain, config.record_route)
        policy = ForkPolicy(config.timer_c, serialise=False)
        forwarder = Forwarder(
            endpoint, self._neighbours, charging, dialogs, dismissing, policy, ids
        )
        delivery = Delivery(
            forwarder.relaying,
            dialogs.find,
            forwarder.depart,
            forwarder.later,
            gruus,
            policy,
            now,
            ids,
            ims,
        )
        services = Services(
            endpoint,
            forwarder,
            self.registrar,
            subscribers,
            Chain(key),
            charging,
            now,
            ids,
            own_uri,
            config.domain,
            (config.service_timeout, config.service_patience),
            ims,
        )

        def prove(request: Request, flow: Flow) -> Subscriber | Challenge:
            """Return whose credentials a request carries, or what to ask."""
            proof = authenticator.proxy(request, flow.remote_host, now())
            if isinstance(proof, Challenge):
                return proof
            self.admission.proved(flow)
            user = user_of(proof.account)
            known = subscribers.of(user.identities[0].uri) if user.identities else None
            if known is not None and known.subscriber.user is user:
                return known.subscriber
            return subscriber_of(user)

        self.router = Router(
            endpoint,
            subscribers,
            Senders(subscribers, self.serves, prove, config.authenticate),
            authenticator.withhold,
            self._neighbours,
            hooks,
            charging,
            dialogs,
            forwarder,
            services,
            delivery,
            gruus,
            own,
            self.serves,
            config.domain,
            config.strangers,
            self._psis,
            self._locally,
            config.interconnect == "tls",
            config.max_pending,
        )
        third_party = ThirdParty(
            endpoint,
            self.profile_of,
            own_uri,
            self.registrar.deregister,
            now,
            ids,
            lambda user: charging.lines_for(charging_functions(user)),
        )
        self._agent = UserAgent(endpoint, f"sip:{config.domain}")
        self.notifier = Notifier(self._agent, keeping=self._keeping)
        reg_event = RegEvent(
            self.notifier, stores.users, self.registrar, self._neighbours, gruus, now
        )
        self.registrar.followers += [third_party.follow, reg_event.follow, self._publish]
        endpoint.on_request = self.receive
        endpoint.on_ack = self.router.acknowledge
        endpoint.on_cancel = self.router.cancel
        endpoint.on_flow_closed = self.registrar.flow_closed

    def _register_policies(self) -> dict[str, RegisterPolicy]:
        """Return what a REGISTER may do, by the transport it came by."""
        config = self.config
        return {
            transport: RegisterPolicy(
                config.default_expires,
                config.min_expires,
                config.max_expires,
                config.max_contacts,
                (
                    service_route(
                        self.endpoint, transport, self._tls, config.domain.lower(), config.aliases
                    ),
                ),
                # Without it datagrams keep their NAT awake (RFC 5626 §4.4.2).
                config.flow_timer if transport != UDP else 0,
            )
            for transport in {listener.transport for listener in self.endpoint.listeners}
        }

    def receive(self, transaction: ServerTransaction) -> None:
        """Serve a request: the door."""
        if self._node.hooks.wanted(MayAsk) and self._neighbours.of(transaction.flow) is None:
            Deferred.fromCoroutine(self._ask(transaction)).addErrback(
                lambda failure: _log.failure("a request was not served", failure)
            )
        else:
            self._serve(transaction)

    def _serve(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        uri = request.request_uri
        if isinstance(uri, SipUri) and uri.user and request.method != "REGISTER":
            self.router.routing.receive(transaction)  # for a user, which is the most of all
            return
        try:
            if request.method == "REGISTER" and (not isinstance(uri, SipUri) or self._here(uri)):
                self._register(transaction)
            elif self._for_us(request):
                if self._may_answer(transaction):
                    self._agent.receive(transaction)
                else:
                    self.endpoint.dismiss(transaction, None)
            else:
                self.router.routing.receive(transaction)
        except PeerError as error:
            if not transaction.answered:
                tag = self.endpoint.tag_of(transaction)
                self.endpoint.respond(transaction, error_response(request, error, tag))

    def _may_answer(self, transaction: ServerTransaction) -> bool:
        flow = transaction.flow
        return self._neighbours.of(flow) is not None or self.admission.may_answer(flow)

    async def _ask(self, transaction: ServerTransaction) -> None:
        request, flow = transaction.request, transaction.flow
        question = MayAsk(
            domain=self.config.domain,
            method=request.method,
            transport=flow.transport,
            host=flow.remote_host,
            at=self._node.now(),
        )
        opinion = await self._node.hooks.ask(question)
        if not isinstance(opinion, Refuse):
            self._serve(transaction)
        elif not self.admission.may_answer(flow):
            self.endpoint.dismiss(transaction, None)
        else:
            tag = self.endpoint.tag_of(transaction)
            response = error_response(request, PeerError("", opinion.status), tag)
            self.endpoint.respond(transaction, response)

    def _register(self, transaction: ServerTransaction) -> None:
        try:
            self.registrar.receive(transaction)
        except PeerError as error:
            self.registrar.refuse(transaction, error)

    def _locally(self, job: Job, served: Served) -> bool:
        """Serve the subscription to a registration by ourselves (RFC 3680 §4)."""
        request = job.request
        event = request.event
        if event is None or event.package != "reg":
            return False
        flow = job.transaction.flow
        if not flow.reliable:  # by a connection we answer on it whatever Contact says
            for uri in [contact.uri for contact in request.contacts]:
                # Only the proxy part of us knows the ways of RFC 5627 §6.1 and RFC 5626 §5.3.
                if isinstance(uri, SipUri) and self._here(uri):
                    request.prepend("Record-Route", self._dialogs.mark(request.call_id))
                elif isinstance(uri, SipUri) and uri.ob and job.neighbour is None:
                    request.prepend("Record-Route", self._dialogs.mark(request.call_id, flow))
        self._agent.receive(job.transaction)
        return True

    def _for_us(self, request: Request) -> bool:
        uri = request.request_uri
        if not isinstance(uri, SipUri) or uri.user or not self._here(uri):
            return False
        return not uri.lr or not request.has("Route")  # else a strict router wrote it

    def _here(self, uri: SipUri) -> bool:
        return uri.host in self._hosts or self.endpoint.owns(uri)

    def _publish(self, registration: Registration) -> None:
        if not self._node.taps.heard:
            return
        at = self._node.now()
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
        self._sweeps += 1
        try:
            await self.registrar.sweep()
            people = self.config.people
            if people and self._sweeps % RELOAD == 0 and _changed_at(people) != self._people_at:
                _log.info("reading {path} again", path=people)
                await self.reload()
        except OmaimError as error:
            _log.error("the core's housekeeping failed: {why}", why=str(error))


def _changed_at(path: str) -> float:
    """Return when a file was changed, 0 when it is not there."""
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return 0.0


def build(node: Node, config: Config, name: str = "core") -> Core:
    """Return the core, not yet started, as part of ``node``."""
    return Core(node, config, name)
