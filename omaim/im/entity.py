"""The door of the IM Server: which procedure serves which request.

Spec: OMA SIMPLE IM 1.0 (IM-2); 3GPP TS 24.229 §5.7 (application server)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from omaim.bodies.deferred_list import MEDIA_TYPE as DEFERRED_LIST
from omaim.bodies.history_list import MEDIA_TYPE as HISTORY_LIST
from omaim.errors import OmaimError, PeerError, Unavailable
from omaim.im import pager
from omaim.im.conference import House
from omaim.im.conference_package import NAME as CONFERENCE
from omaim.im.config import Config, rooms_of
from omaim.im.deferred import Deferring
from omaim.im.delivery import Delivery
from omaim.im.download import Downloads
from omaim.im.explosion import Explosion
from omaim.im.first_message import FirstMessages
from omaim.im.focus import Focus
from omaim.im.focus import Service as Enter
from omaim.im.group_commands import serve_groups
from omaim.im.group_file import load_groups
from omaim.im.group_mail import GroupMail
from omaim.im.guest_lists import OPTION
from omaim.im.history import History, Search
from omaim.im.journal import Journal
from omaim.im.large import LargeSending, LargeStore
from omaim.im.large_many import LargeToMany
from omaim.im.lists import Lists
from omaim.im.own_lists import PACKAGES, OwnLists, Shelf, Told
from omaim.im.pager import Pager
from omaim.im.participating import SOFTWARE, Mail, Served
from omaim.im.policy import EVERYBODY, KnownSettings, Policy, Settings
from omaim.im.reachability import Reachability
from omaim.im.recording import Recorder
from omaim.im.registrations import Devices, registered_contacts, registered_identities
from omaim.im.replay_store import ReplayStore
from omaim.im.reports import Reports
from omaim.im.retrieval import Retrieval
from omaim.im.room_asking import RoomAsking
from omaim.im.room_history import RoomHistory
from omaim.im.room_journal import RoomJournal
from omaim.im.sending import Sending
from omaim.im.sessions import STOPPING, Sessions
from omaim.im.settings import PublishedSettings
from omaim.net.reach import Reach
from omaim.node.config import parse_listen
from omaim.node.directory import Place
from omaim.node.entity import IEntity
from omaim.node.node import Node, tls_settings
from omaim.roles.inviter import Inviter
from omaim.roles.keeping import Keeping
from omaim.roles.notifier import Notifier
from omaim.roles.user_agent import UserAgent
from omaim.sip.flow import Flow
from omaim.sip.hop import stateless_tag
from omaim.sip.message import Request, Response
from omaim.sip.pacing import IntervalTooBrief
from omaim.sip.proxying import BadExtension, OwnAddresses, preprocess, refusal, validate
from omaim.sip.subscription import Terms
from omaim.sip.transaction import ServerTransaction
from omaim.sip.uri import SipUri, canonical_aor, parse_uri
from omaim.stores.records import REPORT, DeferredMessage, Quota

TICK: Final = 1.0  # seconds between looks at who is to be tried again
SWEEP: Final = 10  # ticks between sweeps
GOODBYE: Final = 2.0  # seconds in which parties of sessions have to hear that the server stops
SIP_PORTS: Final = (5060, 5061)
HEARD: Final = ("SUBSCRIBE", "OPTIONS", "REFER")  # answered outside of dialogs, too

_log = Logger()


@implementer(IEntity)
class ImServer(Service):
    """The IM Server of one home domain.

    Attributes:
        endpoint: its SIP endpoint.
        settings: what holds for users who publish nothing.
        published: what its users want.
        recorder: records conversations, for those who conduct them.
        history: what is recorded.
        msrp: its MSRP endpoint.
        sessions: conversations between two.
        focus: conferences.
        downloads: sessions in which users fetch what is kept for them.
        groups: those that are defined in documents.
    """

    def __init__(self, node: Node, config: Config, name: str) -> None:
        self.setName(name)
        self.config = config
        self.endpoint = node.endpoint(name, SOFTWARE)
        self.msrp = node.msrp(name, allowed=Reach(config.msrp_networks, config.msrp_lowest_port))
        allowed = frozenset(
            one if one == EVERYBODY else canonical_aor(f"sip:{one}") for one in config.auto_answer
        )
        self.settings = KnownSettings(Settings(auto=allowed))
        self._devices = Devices()
        self._node = node
        self._name = name
        self._own = OwnAddresses()
        self._trusted = frozenset(text.lower() for text in config.trusted)
        self._ready: Deferred[None] = Deferred()
        self._ticks = 0
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = node.clock
        self._swept: Deferred[None] | None = None
        self._ours = f"@{config.domain.lower()}"
        self._direct = frozenset(canonical_aor(f"sip:{one}") for one in config.direct)
        self._build()

    def _build(self) -> None:
        config, node, endpoint = self.config, self._node, self.endpoint
        store, ids, now = node.stores.deferred, node.ids, node.now
        core = f"<{config.core};lr>"
        pushes = config.delivery == "push"
        settings = self.published = PublishedSettings(
            config.settings_event,
            node.stores.publications,
            self.settings,
            ids,
            self.serves,
            now,
            Terms(most=config.settings_validity),
        )
        recorder = self.recorder = Recorder(
            self._name,
            settings,
            node.stores.history,
            node.stores.outbox,
            ids,
            self.serves,
            now,
            Quota(config.history_count, config.history_size),
            config.history_validity,
        )
        settings.before_recording = recorder.reader.enrol
        settings.on_change = self._settings_changed
        policy = Policy(settings, config.max_size, config.check_author)
        journal = Journal(self._name, node.stores.outbox, node.taps, recorder.reader.poke)
        tagged_only = config.untagged == "defer"
        sending = Sending(
            endpoint, config.adaptation, tagged_only, config.patience, config.max_size
        )
        reports = Reports(self._name, f"sip:{config.domain}", ids, now)

        def pushed(message: DeferredMessage) -> bool:
            return pushes or message.kind == REPORT

        self.delivery = Delivery(
            sending,
            store,
            journal,
            reports,
            config.domain.lower(),
            core,
            now,
            node.clock.seconds,
            ids,
            Quota(config.quota_count, config.quota_size),
            self.serves,
            lambda user: reachability.willing(user),
            pushed,
        )
        self.deferring = Deferring(
            config.domain,
            store,
            self.delivery,
            reports,
            journal,
            node.hooks,
            now,
            ids,
            config.validity,
        )
        reachability = Reachability(settings, self.delivery, pushes)
        services: dict[str, pager.Service] = {}
        self.pager = Pager(
            config.domain,
            policy,
            node.hooks,
            reachability,
            sending,
            self.deferring,
            self.delivery,
            reports,
            recorder,
            journal,
            services,
            self._finds_group,
            now,
        )
        explosion = Explosion(
            policy, self.deferring, self.delivery, reports, recorder, self.pager.ask, self.serves
        )
        lists = self._lists = Lists(
            config.domain, explosion, ids, config.list_maximum, config.consent
        )
        address = self._address(config.deferred)
        self.agent = UserAgent(endpoint, address)
        self._keeping = Keeping(node.stores.subscriptions, self._name, now)
        notifier = self.notifier = Notifier(self.agent, keeping=self._keeping)
        waiting = Shelf(address, DEFERRED_LIST, self._waiting_list, _anything)
        recorded = Shelf(self._address(config.history), HISTORY_LIST, self._history_list, Search.of)
        for package in PACKAGES:
            notifier.serve(OwnLists(package, (waiting, recorded), self.serves))
        self.retrieval = Retrieval(
            address,
            core,
            self.deferring,
            self.delivery,
            store,
            sending,
            Told(notifier, waiting),
            ids,
            self.serves,
            now,
            not pushes,
        )
        recorder.on_change = Told(notifier, recorded).changed
        self.history = History(
            recorded.address,
            config.domain,
            core,
            node.stores.history,
            recorder,
            journal,
            sending,
            ids,
            self.serves,
            now,
        )
        self.downloads = Downloads(self.msrp, self.agent, self.retrieval, self.history)
        self.groups, self._group_commands = serve_groups(
            node, self._name, config.domain, config.xcap_root
        )
        self._group_mail = GroupMail(
            config.domain.lower(),
            self.groups,
            lambda address: self.focus.lacks(address),
            explosion,
            ids,
            self._names_of,
            config.group_maximum,
        )
        firsts = FirstMessages(self.pager, self.deferring, self.delivery, recorder, journal, now)
        self._build_sessions(policy, settings, firsts, recorder, journal, sending)
        services[self._address(config.exploder)] = lists.expand
        services[address] = self.retrieval.fetch
        services[recorded.address] = self.history.fetch
        # Clients are provisioned with one address to delete at, or with two.
        services[self._address(config.deferred_delete)] = self._delete_waiting
        services[self._address(config.history_delete)] = self._delete_recorded

    def _build_sessions(
        self,
        policy: Policy,
        settings: PublishedSettings,
        firsts: FirstMessages,
        recorder: Recorder,
        journal: Journal,
        sending: Sending,
    ) -> None:
        config, node = self.config, self._node
        inviter = Inviter(
            self.agent,
            session_expires=config.session_expires,
            most=config.session_maximum,
            most_calls=2 * config.session_maximum,
        )
        self._build_focus(inviter, recorder, journal)
        store = LargeStore(
            self.msrp,
            self.deferring,
            self.delivery,
            recorder,
            self._name,
            config.large_maximum,
            self.agent,
            node.now,
            config.sessions_each,
        )
        self._many = LargeToMany(
            store,
            self.pager,
            self._lists,
            self._group_mail,
            config.large_copies,
            self._foreign,
            node.now,
        )
        self.sessions = Sessions(
            config.domain,
            inviter,
            self.msrp,
            policy,
            settings,
            node.hooks,
            firsts,
            recorder,
            journal,
            {
                self._address(config.factory): self.focus.create,
                self._address(config.deferred): self.downloads.deferred,
                self._address(config.history): self.downloads.history,
                self._address(config.exploder): self._many.to_list,
            },
            self._finds_room,
            self.serves,
            node.now,
            direct=self._goes_direct,
            secure_peers=config.peers_msrp == "tls",
            secure_clients=config.clients_msrp == "tls",
            idle=config.idle,
            each=config.sessions_each,
            most_file=config.file_maximum,
        )
        inviter.on_invite = self.sessions.invited
        self.sessions.store = store
        sending.large = LargeSending(inviter, self.msrp, self._secure, self._foreign).post

    def _build_focus(self, inviter: Inviter, recorder: Recorder, journal: Journal) -> None:
        config, node, agent = self.config, self._node, self.agent

        def history(room: str) -> RoomHistory:
            return RoomHistory(recorder, room, node.clock.callLater)

        def changed(room: str) -> int:
            return self.notifier.changed(CONFERENCE, room)

        focus = self.focus = Focus(
            config.domain.lower(),
            self.groups,
            self.notifier,
            rooms_of(config),
            config.conference_people,
            config.conferences,
            config.conference_interval,
            config.conferences_each,
        )
        asking = RoomAsking(node.hooks, config.domain, node.now, focus.settle)
        focus.open(
            House(
                self._name,
                inviter,
                self.msrp,
                asking,
                RoomJournal(journal, agent.endpoint.later),
                history,
                ReplayStore(
                    node.stores.history,
                    node.ids,
                    agent.endpoint.later,
                    node.now,
                    config.history_validity,
                ),
                f"<{config.core};lr>",
                node.now,
                lambda leg, asked: self.sessions.admit(leg, asked),
                self.serves,
                self._secure,
                changed,
                focus.over,
            )
        )

    def _finds_room(self, address: str, service: bool) -> Enter | None:
        """Return what serves an INVITE to a conference or a group, ``None`` if it is neither."""
        join = self.focus.finds(address, service)
        return None if join is None else self._many.or_session(join)

    def _finds_group(self, address: str, service: bool) -> pager.Service | None:
        """Return what serves a MESSAGE to a group, ``None`` if it is to somebody else."""
        found = self.focus.finds(address, service)
        return None if found is None else self._group_mail.expand

    def _secure(self, address: str) -> bool:
        """Tell whether MSRP to an address goes over TLS."""
        config = self.config
        return (config.clients_msrp if self.serves(address) else config.peers_msrp) == "tls"

    def _foreign(self, address: str) -> bool:
        """Tell whether the server of another domain has to prove who it is (IM-8)."""
        return self.config.peers_msrp == "tls" and not self.serves(address)

    def _names_of(self, user: str) -> tuple[str, ...]:
        """Return all addresses of a user that are known here."""
        subscriber = self._node.stores.users.peek_by_identity(user)
        known = () if subscriber is None else tuple(one.uri for one in subscriber.identities)
        return (*self._devices.names(user), *known)

    def _address(self, user: str) -> str:
        return f"sip:{user}@{self.config.domain}"

    def _delete_waiting(self, mail: Mail) -> Awaitable[Served]:
        recorded = mail.content.media_type == HISTORY_LIST
        return self.history.remove(mail) if recorded else self.retrieval.delete(mail)

    def _delete_recorded(self, mail: Mail) -> Awaitable[Served]:
        waiting = mail.content.media_type == DEFERRED_LIST
        return self.retrieval.delete(mail) if waiting else self.history.remove(mail)

    def _waiting_list(self, user: str, request: Request) -> Awaitable[bytes]:
        return self.deferring.document(user)

    def _history_list(self, user: str, request: Request) -> Awaitable[bytes]:
        return self.history.document(user, Search.of(request))

    def _settings_changed(self, user: str, before: Settings, after: Settings) -> None:
        if after.willing and not before.willing:
            self.delivery.kick(user)

    def _goes_direct(self, caller: str, callee: str) -> bool:
        return self.config.media == "direct" or self._direct.issuperset((caller, callee))

    def serves(self, aor: str) -> bool:
        """Tell whether an address of record is in our domain."""
        return aor.endswith(self._ours) and " " not in aor

    def ready(self) -> Deferred[None]:
        """Return a Deferred that fires when the server listens, or fails with the reason."""
        return self._ready

    def startService(self) -> None:
        """Listen, then serve."""
        super().startService()
        Deferred.fromCoroutine(self._start()).chainDeferred(self._ready)

    def stopService(self) -> Deferred[Any]:
        """Stop serving."""
        super().stopService()
        self.delivery.stop()
        if self._ticker.running:
            self._ticker.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        ending = DeferredList(
            [self.focus.stop(), self.sessions.close(), self.downloads.close(STOPPING)]
        )
        # What takes longer goes on; to be cancelled would be taken for a fault.
        told: Deferred[None] = Deferred()
        late = self._node.clock.callLater(GOODBYE, told.callback, None)

        def done(result: object) -> None:
            if late.active():
                late.cancel()
                told.callback(None)

        ending.addCallback(done)
        await told
        await self.msrp.stop()
        await self.endpoint.stop()

    async def _start(self) -> None:
        config = self.config
        if config.groups:
            await load_groups(self._group_commands, config.groups)
        await self.recorder.reader.start()
        cut_off = await self.recorder.cut_off()
        if cut_off:
            _log.warn("{count} recorded conversations have no end of their own", count=cut_off)
        await self.published.load()
        if not self.published.recorded:
            await self.recorder.reader.retire()
        await self.delivery.resume()
        subscriptions = await self._keeping.read()
        tls = tls_settings(config.certificate, config.ca)
        self._own.add(f"im.{config.domain}")
        for text in config.listen:
            place = parse_listen(text)
            listener = await self.endpoint.listen(place.transport, place.host, place.port, tls)
            self._own.add(listener.advertised, listener.port)
            self._own.add(f"im.{config.domain}", listener.port)
            self._node.directory.note(
                Place(self._name, "im", listener.host, listener.port, config.domain)
            )
        self._close_ports()
        for text in config.msrp:
            place = parse_listen(text)
            at = await self.msrp.listen(place.transport, place.host, place.port, tls)
            self._node.directory.note(Place(self._name, "im", at.host, at.port, config.domain))
        self.notifier.revive(subscriptions)
        self.endpoint.on_request = self.receive
        self.endpoint.on_ack = self._acknowledge
        self.endpoint.on_cancel = self.agent.cancel
        self.endpoint.on_flow_closed = self.agent.flow_closed
        self._ticker.start(TICK, now=False)

    def _close_ports(self) -> None:
        """Let no session description have us write to the core, or to ourselves, as a peer.

        Both believe who comes from our address.
        """
        closed = self.msrp.allowed.closed
        for listener in self.endpoint.listeners:
            closed.add((listener.host, listener.port))
            closed.add((listener.advertised.strip("[]"), listener.port))
        core = parse_uri(self.config.core)
        if isinstance(core, SipUri):
            for host in (core.host.strip("[]"), *self._trusted):
                closed.update((host, port) for port in (core.port, *SIP_PORTS))

    # The door

    def receive(self, transaction: ServerTransaction) -> None:
        """Serve a request."""
        if not self.trusts(transaction.flow):
            self._turn_away(transaction)
            return
        try:
            method = transaction.request.method
            inside = bool(transaction.request.to.tag)
            if method == "MESSAGE" and not inside:
                self._serve(transaction, self.pager.receive)
            elif method == "PUBLISH":
                self._serve(transaction, self.published.receive)
            elif method == "REGISTER":
                self._register(transaction)
            elif method == "INVITE" and not inside:
                self._check(transaction)
                self.agent.receive(transaction)
            elif method == "INVITE" and OPTION in transaction.request.require:
                # A list means something to the factory only (RFC 5366 §5.1).
                self._refuse(transaction, BadExtension([OPTION]))
            elif method in HEARD or inside:
                self.agent.receive(transaction)
            else:
                # The core goes on without a server that answers so, as its criteria say.
                self.endpoint.reply(transaction, 501)
        except PeerError as error:
            self._refuse(transaction, error)

    def trusts(self, flow: Flow) -> bool:
        """Tell whether the core is at the other end of a flow."""
        return flow.remote_host in self._trusted or not self._trusted.isdisjoint(flow.peer_names)

    def _turn_away(self, transaction: ServerTransaction) -> None:
        """Refuse a stranger and keep nothing: its address may be forged (RFC 3261 §26.3.2.4)."""
        error = PeerError("only the core may ask this server", 403)
        response = refusal(transaction.request, error, stateless_tag(transaction.key))
        self.endpoint.dismiss(transaction, response)

    def _check(self, transaction: ServerTransaction) -> Request:
        """Return a request that may be passed on, our own Route taken off it.

        Raises:
            PeerError: it may not be.
        """
        request, flow = transaction.request, transaction.flow
        validate(request, self._own)
        preprocess(request, self._own, flow.transport, flow.local_port)
        return request

    def _acknowledge(self, ack: Request, flow: Flow) -> None:
        if self.trusts(flow):
            self.agent.acknowledge(ack, flow)

    def _serve(
        self,
        transaction: ServerTransaction,
        procedure: Callable[[Request, str], Coroutine[Any, Any, Response]],
    ) -> None:
        request = self._check(transaction)
        tag = self.endpoint.tag_of(transaction)
        Deferred.fromCoroutine(procedure(request, tag)).addCallbacks(
            self._answer, self._failed, callbackArgs=(transaction,), errbackArgs=(transaction,)
        )

    def _register(self, transaction: ServerTransaction) -> None:
        """Note a third-party REGISTER.

        Spec: 3GPP TS 24.229 §5.7.1.1
        """
        request = transaction.request
        users, contacts = registered_identities(request), registered_contacts(request)
        here = request.expires != 0
        self.endpoint.reply(transaction, 200)
        if here:
            self._devices.name(users)
        for user in users:
            if here:
                self.retrieval.registered(user, self._devices.note(user, contacts))
            else:
                self._devices.forget(user)
                self.retrieval.deregistered(user)

    def _answer(self, response: Response, transaction: ServerTransaction) -> None:
        if response.status == 408:
            self.endpoint.count("timeout")  # RFC 4320 §4.2: silence
            return
        self.endpoint.respond(transaction, response)

    def _failed(self, failure: Failure, transaction: ServerTransaction) -> None:
        error = failure.value
        if isinstance(error, PeerError):
            self._refuse(transaction, error)
        elif isinstance(error, Unavailable):
            _log.error(
                "{method} was not taken: {why}", method=transaction.request.method, why=str(error)
            )
            self._refuse(transaction, PeerError("", 503))
        else:
            _log.failure("{method} was not served", failure, method=transaction.request.method)
            self.endpoint.reply(transaction, 500)

    def _refuse(self, transaction: ServerTransaction, error: PeerError) -> None:
        response = refusal(transaction.request, error, self.endpoint.tag_of(transaction))
        for name, value in getattr(error, "headers", ()):
            response.add(name, value)
        if isinstance(error, IntervalTooBrief):
            response.set("Min-Expires", str(error.min_expires))
        response.add("Server", SOFTWARE)
        self.endpoint.respond(transaction, response)

    # Time

    def _tick(self) -> None:
        self.delivery.tick()
        self._ticks += 1
        if self._ticks % SWEEP == 0 and self._swept is None:
            self._swept = Deferred.fromCoroutine(self._sweep())
            Deferred.fromCoroutine(self.groups.follow()).addErrback(_not_followed)
            self._swept.addBoth(self._sweep_done)

    async def _sweep(self) -> None:
        try:
            await self.deferring.sweep()
            await self.published.sweep()
            await self.recorder.sweep()
            await self._node.stores.outbox.trim()
        except OmaimError as error:
            _log.error("expired messages were not ended: {why}", why=str(error))

    def _sweep_done(self, result: Any) -> None:
        self._swept = None
        if isinstance(result, Failure):
            _log.failure("expired messages were not ended", result)


def _not_followed(failure: Failure) -> None:
    _log.error("groups go on as they were: {why}", why=failure.getErrorMessage())


def _anything(request: Request) -> None:
    """Every wish is understood."""


def build(node: Node, config: Config, name: str = "im") -> ImServer:
    """Return the IM Server, not yet started, as part of ``node``."""
    return ImServer(node, config, name)
