"""The IM Client: register, send, receive, report.

Spec: OMA SIMPLE IM 1.0 (IM Client); RFC 3261 §10; RFC 3428; RFC 5438; RFC 5626
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from omaim.bodies import iscomposing
from omaim.bodies.cpim import Address
from omaim.bodies.deferred_list import Waiting
from omaim.bodies.mime import Part
from omaim.client.access import Access, Phone, late_dns, server_uri
from omaim.client.capabilities import Capabilities
from omaim.client.composing import (
    ALL_REPORTS,
    CPIM_TYPE,
    TEXT,
    Content,
    write_cpim,
    write_list,
    write_list_body,
)
from omaim.client.conversation import Conversation
from omaim.client.deferred import Mailbox
from omaim.client.failures import Failure, TooLarge, WrongFormat, failure_of
from omaim.client.fetching import Fetching, Take
from omaim.client.history import History
from omaim.client.inbox import Inbox
from omaim.client.leg import LARGE_FEATURE
from omaim.client.means import MOST, UNANSWERED, Means
from omaim.client.media import LIMITS, Media
from omaim.client.meeting import Meeting
from omaim.client.messages import DELIVERED, PENDING, SENDING, Message, Report, Sent, State, Typing
from omaim.client.outbox import FEATURE, Outbox
from omaim.client.peers import Peers
from omaim.client.reading import CONTENTS, ENVELOPES
from omaim.client.registration import Registration
from omaim.client.reporting import Reporter
from omaim.client.seen import Seen
from omaim.client.sessions import LIST_OPTION, Sessions
from omaim.client.settings import Settings
from omaim.client.taken import name_of
from omaim.client.typists import PagerTypist
from omaim.errors import PeerError, UsageError
from omaim.ids import Ids
from omaim.msrp import MsrpUri
from omaim.net.clock import steady, wall
from omaim.net.endpoint import Endpoint
from omaim.net.msrp import MsrpEndpoint
from omaim.net.network import INetwork, ReactorNetwork
from omaim.net.reach import LOWEST, Reach
from omaim.net.resolver import Resolver
from omaim.net.self_signed import self_signed
from omaim.net.tls import TlsSettings
from omaim.roles.incoming import Incoming
from omaim.roles.inviter import Inviter
from omaim.roles.listmail import OPTION
from omaim.roles.publisher import Publisher
from omaim.roles.relay_client import RelayClient
from omaim.roles.watcher import Watcher
from omaim.sip.answering import Answerer
from omaim.sip.client_registration import Granted
from omaim.sip.flow import Flow
from omaim.sip.uri import SipUri, canonical_aor, parse_uri

SOFTWARE: Final = "IM-client/OMA1.0 omaim"
METHODS: Final = "INVITE, ACK, BYE, CANCEL, MESSAGE, NOTIFY, OPTIONS, PRACK, REFER, UPDATE"
PARAMETERS: Final = f';{FEATURE};{LARGE_FEATURE};methods="{METHODS}"'
REPORTED: Final = 5.0  # seconds that a session for one message waits for the report on it
TAKEN: Final = (*ENVELOPES, *CONTENTS)

_log = Logger()


class Client(Meeting):
    """One user's IM Client.

    Nothing happens before :meth:`register` or :meth:`send`. With only the first three
    arguments it runs on Twisted's reactor and finds everything else out by itself.

    Args:
        identity: whose client it is, as "sip:alice@north.example" or "alice@north.example".
        password: of the account.
        server: "HOST", "HOST:PORT" or a SIP URI; the DNS of the identity's domain if empty.
        transport: "udp", "tcp" or "tls"; the server's URI or DNS decides if empty.
        username: of the account, if it is not "user@domain".
        display: name that recipients see.
        listen: "ADDRESS" or "ADDRESS:PORT" of ours; found out by itself if empty.
        relay: MSRP URI of our relay, as "msrps://relay.north.example;tcp", that lets peers
            reach us where they could not connect, as behind a NAT: then we only open
            connections ourselves. None if empty. It knows us by username and password.
        msrp_networks: those in which peers may have us connect to them, as "10.0.0.0/8"; if
            empty all but such as no host can have, and but loopback ones where we are not at
            one. Our own relay may be anywhere.
        msrp_lowest_port: the lowest port that they may have us connect to.
        cema: let middleboxes of the network that anchor media do so in talks and rooms without
            taking part in MSRP (RFC 6714).
        ca: PEM file of the authorities that TLS servers' certificates are checked with; the
            system's if empty.
        dns: servers as (host, port); the system's if empty.
        expires: seconds that a registration lasts.
        instance: "urn:uuid:…" of this device; another one each time if empty. Keep it to be
            recognised as the same device after a restart.
        accept: media types that are taken.
        node: to be part of, instead of the reactor: its clock, network, DNS and taps are used.
        name: of the endpoint in a node's ladders.
        clock, network, ids: instead of the reactor, for tests.

    Attributes:
        deferred: what waits for us at the IM Server.
        history: what is recorded of our conversations there.
        settings: what we want of the service; others of our devices may say something else.
        peers: what those can whom we write to.
        on_state: gets a :class:`~omaim.client.messages.State` whenever it changes.
    """

    def __init__(
        self,
        identity: str,
        password: str = "",
        server: str = "",
        *,
        transport: str = "",
        username: str = "",
        display: str = "",
        listen: str = "",
        relay: str = "",
        msrp_networks: Sequence[str] = (),
        msrp_lowest_port: int = LOWEST,
        cema: bool = False,
        ca: str = "",
        dns: Sequence[tuple[str, int]] = (),
        expires: int = 3600,
        instance: str = "",
        accept: tuple[str, ...] = TAKEN,
        node: Any = None,
        name: str = "",
        clock: Any = None,
        network: INetwork | None = None,
        ids: Ids | None = None,
    ) -> None:
        self.identity = _identity(identity)
        uri = parse_uri(self.identity)
        assert isinstance(uri, SipUri)
        self.user, self.domain = uri.user_text, uri.host
        name = name or f"client-{self.user}"
        server_at = server_uri(server, self.domain, transport)
        tls = TlsSettings(trust=_read(ca)) if ca else None
        if node is not None:
            self._clock, self._network = node.clock, node.network
            self.endpoint = node.endpoint(name, SOFTWARE, tls)
        else:
            if clock is None:
                from twisted.internet import reactor as clock

                steady(clock)
            self._clock = clock
            self._network = network or ReactorNetwork(clock)
            ids = ids or Ids()
            ask = late_dns(clock, dns) if dns or not self._network.simulated else None
            resolver = Resolver(clock, ask, ids)
            self.endpoint = Endpoint(
                self._network,
                clock,
                resolver,
                name=name,
                ids=ids,
                software=SOFTWARE,
                tls=tls,
            )
        self._name, self._node, self._ca = name, node, ca
        self._reach = Reach(msrp_networks, msrp_lowest_port)
        self._ids = self.endpoint.ids
        self.now = wall(self._clock)
        username = username or f"{self.user}@{self.domain}"
        self._address = Address(display, self.identity)
        self._access = Access(self.endpoint, self._network, server_at, listen)
        self._phone = Phone(
            self.endpoint,
            self.identity,
            credentials=Answerer(username, password, self._ids),
            display=display,
            accept=accept,
            headers=[("User-Agent", SOFTWARE), ("P-Preferred-Identity", str(f"<{self.identity}>"))],
        )
        self._phone.registering = Answerer(username, password, self._ids)
        self._phone.access = self._access
        self._phone.flow = self._flow
        self._instance = instance or self._ids.uuid_urn()
        self._expires = expires
        self._registration: Registration | None = None
        self._opening = DeferredLock()
        self._outbox = Outbox(self._phone, self._opened)
        self._typist = PagerTypist(self._phone, self._tell_typing)
        self._watcher = Watcher(self._phone)
        self.deferred = Mailbox(
            self._watcher,
            self._outbox,
            self.address("deferred"),
            self.address("deferred-delete"),
            self._fetch,
            lambda found: self.inbox.deliver(found, name_of(found), found.sent_at),
        )
        self.settings = Settings(Publisher(self._phone), self._opened, self._clock)
        self.history = History(
            self._watcher,
            self._outbox,
            self.settings,
            self.address("history"),
            self.address("history-delete"),
            self._replay,
            self._clock,
        )
        reporter = Reporter(self._outbox, Address("", self.identity), self._ids, self.now)
        seen = Seen()
        self.inbox = Inbox(
            accept,
            self._trusts,
            self._is_own,
            reporter.report,
            self._reply,
            self.endpoint.later,
            seen,
        )
        self.inbox.serve(self.address("history"), self.history.take)
        self.on_state: Callable[[State], object] | None = None
        way = _relay(relay) if relay else None

        def asking(msrp: MsrpEndpoint) -> RelayClient:
            assert way is not None
            return RelayClient(msrp, self._clock, (way,), username, password)

        self._media = Media(
            self._make_msrp, lambda: self._access.host, self._tls, asking if way else None
        )
        self._means = Means(
            self._phone,
            Inviter(self._phone, most=UNANSWERED, most_calls=2 * MOST),
            self._watcher,
            self._media,
            self.inbox,
            seen,
            reporter,
            self._address,
            accept,
            self._opened,
            self._access.is_server,
            self.address,
            self.now,
            self._clock,
            vouches=lambda: self.registered,
            cema=cema,
        )
        self.peers = Peers(
            self._phone,
            self._opened,
            PARAMETERS,
            lambda: self._access.host,
            lambda: len(self._means.legs) >= MOST,
            self._clock,
        )
        self.sessions = Sessions(self._means, self.peers.shown)
        self._phone.on("MESSAGE", self.inbox.receive)
        self._phone.attach()

    def __repr__(self) -> str:
        return f"<Client {self.identity}>"

    # Being there.

    async def register(self, insist: bool = False) -> Granted:
        """Register, and stay registered until :meth:`close`.

        Args:
            insist: try again and again while the server cannot be reached.

        Raises:
            WrongPassword, Refused, NotFound, …: the server does not want us.
            NoAnswer, Busy: it cannot be reached; not with ``insist``.
            Unavailable: its name is not known.
        """
        registration = await self._opened()
        return await registration.start(insist)

    async def open(self) -> None:
        """Listen, without registering: for who is reached directly, as in a lab."""
        await self._opened()

    async def unregister(self, patience: float = 3.0) -> None:
        """Take our binding away: messages wait at the server from now on.

        Args:
            patience: seconds that the server may take.
        """
        if self._registration is not None:
            await self._registration.stop(patience, self._clock)

    @property
    def registered(self) -> bool:
        """Our binding stands."""
        return self._registration is not None and self._registration.registered

    @property
    def granted(self) -> Granted:
        """What the registrar said last: our public identities, GRUUs, Service-Route."""
        return self._registration.granted if self._registration is not None else Granted()

    async def close(self, patience: float = 3.0) -> None:
        """Send what is still to be sent, take our binding away, end.

        Args:
            patience: seconds that each of these may take.
        """
        self._typist.stop()
        await self._outbox.drain(patience, self._clock)
        await self.settings.withdraw(patience)
        await self.sessions.close(patience)
        await self.unregister(patience)
        self.inbox.close()
        await self._media.stop()
        await self.endpoint.stop()
        writing = self.files.disk.idle().addTimeout(patience, self._clock)
        await writing.addErrback(lambda _: None)

    async def _opened(self) -> Registration:
        """Listen, the first time."""
        await self._opening.acquire()
        try:
            if self._registration is None:
                contact = await self._access.open(self._ids.token(8))
                self._phone.contact = f"<{contact}>"
                self._registration = Registration(
                    self._phone,
                    self._watcher,
                    f"sip:{self.domain}",
                    self._expires,
                    self._instance,
                    PARAMETERS,
                )
                self._registration.on_state = self._moved
            return self._registration
        finally:
            self._opening.release()

    def _make_msrp(self, tls: TlsSettings) -> MsrpEndpoint:
        if self._node is not None:
            endpoint: MsrpEndpoint = self._node.msrp(self._name, tls, allowed=self._reach)
            return endpoint
        return MsrpEndpoint(
            self._network,
            self._clock,
            self.endpoint.resolver,
            name=self._name,
            ids=self._ids,
            wire=self.endpoint.wire,
            limits=LIMITS,
            tls=tls,
            allowed=self._reach,
        )

    def _tls(self) -> TlsSettings:
        """Return who we are to MSRP peers: known by a fingerprint that our offers tell."""
        certificate, key = self_signed(self.identity, self.now())
        trust = _read(self._ca) if self._ca else b""
        return TlsSettings(certificate, key, trust, self_signed=True)

    def _moved(self, state: State) -> None:
        if self.on_state is not None:
            self.on_state(state)

    def _flow(self) -> Flow | None:
        return self._registration.flow if self._registration is not None else None

    # Sending.

    async def send(
        self,
        to: str | Sequence[str],
        text: str | bytes,
        *,
        content_type: str = TEXT,
        subject: str = "",
        reports: Sequence[str] = ALL_REPORTS,
        plain: bool = False,
        validity: int | None = None,
        large: bool | None = None,
    ) -> Sent:
        """Send a message: to somebody, to a group by its address, or to several people.

        What is too large for a MESSAGE goes as a large message, in a session of its own;
        its reader sees no difference. The server of a recipient who is not there keeps it.
        Whose client is known to take no large messages is invited into a session that ends
        with the message, and has to accept that, if it has sessions. Others wait until earlier
        messages to the same recipient were answered. A recipient that refuses the CPIM envelope
        gets the bare text, without subject and reports.

        Args:
            to: a SIP or tel URI, or "bob@south.example", or "bob" of our own domain; or several
                of these, as :meth:`send_list` has them.
            text: the content.
            content_type: of it.
            subject: shown above it.
            reports: which ones are wanted: "positive-delivery", "negative-delivery",
                "processing", "display".
            plain: send it without the CPIM envelope, thus without subject and reports.
            validity: seconds after which the message is not worth delivering; a large message
                has none.
            large: send it as a large message, or never so; by its size if ``None``.

        Returns:
            What was sent; its status is "delivered" or "pending". That a large message was
            delivered is known from its report only.

        Raises:
            TooLarge: the recipient does not take so much, or has no way to take it.
            Failure: a subclass by what the network answered; the message was not delivered.

        Spec: RFC 3428 §4, §7, §8; RFC 5438 §7.1; OMA SIMPLE IM 1.0 (choice of the mode)
        """
        if not isinstance(to, str):
            return await self.send_list(
                to,
                text,
                content_type=content_type,
                subject=subject,
                reports=reports,
                plain=plain,
                validity=validity,
                large=large,
            )
        target = self.address(to)
        body = text.encode() if isinstance(text, str) else text
        message_id = "" if plain or not reports else self._ids.token(20)
        content = Content(body, content_type, subject)
        if not plain:
            content = self._wrapped(content, [target], message_id, reports)
        if large is False:
            self._outbox.check(target, content, "let it go as a large message")
        elif large:
            return await self._deliver_large(target, (target,), content, message_id)
        elif not self._outbox.fits(target, content):
            known = await self.peers.ask(target)
            if known.large is not False:
                return await self._deliver_large(target, (target,), content, message_id)
            if not known.sessions:
                told = "their client takes neither large messages nor sessions"
                raise TooLarge(0, f"{target}: {told}")
            return await self._deliver_in_session(
                target, Content(body, content_type, subject), reports
            )
        try:
            return await self._deliver(target, (target,), content, message_id, validity)
        except WrongFormat as failure:
            if plain or not failure.takes(content_type):
                raise
        # It does not take the envelope: better without reports than not at all.
        return await self._deliver(target, (target,), Content(body, content_type), "", validity)

    def typing(self, to: str) -> None:
        """Our user pressed a key, and writes to somebody outside of sessions.

        The other side learns now and then that we are writing, if it wants to know.

        Args:
            to: as :meth:`send` has it.

        Spec: RFC 3994 §3.2, §4
        """
        self._typist.typed(self.address(to))

    def _tell_typing(self, target: str, document: bytes) -> Deferred[int]:
        sending = self._outbox.send(target, Content(document, iscomposing.MEDIA_TYPE))
        return sending.addCallback(lambda response: response.status)

    async def send_list(
        self,
        to: Sequence[str],
        text: str | bytes,
        *,
        cc: Sequence[str] = (),
        bcc: Sequence[str] = (),
        via: str = "",
        content_type: str = TEXT,
        subject: str = "",
        reports: Sequence[str] = ALL_REPORTS,
        plain: bool = False,
        validity: int | None = None,
        large: bool | None = None,
    ) -> Sent:
        """Send one message to several recipients at once, as a large one if it does not fit.

        Args:
            to, cc: recipients that all see.
            bcc: recipients that nobody else sees.
            via: the list service; "exploder" of our own domain if empty.

        The rest is as in :meth:`send`; the status is "pending" until reports come.

        Spec: RFC 5365 §4, §6; RFC 5366 §4; RFC 5364
        """
        groups = [[self.address(one) for one in group] for group in (to, cc, bcc)]
        people = tuple(uri for group in groups for uri in group)
        if not people:
            raise UsageError("a list message needs at least one recipient")
        service = self.address(via or "exploder")
        message_id = "" if plain or not reports else self._ids.token(20)
        body = text.encode() if isinstance(text, str) else text
        content = Content(body, content_type, subject)
        if not plain:
            content = self._wrapped(content, [service], message_id, reports)
        listed = write_list(*groups)
        if large is False:
            self._outbox.check(service, content, "let it go as a large message")
        elif large or not self._outbox.fits(service, content):
            headers, parts = [("Require", LIST_OPTION)], [listed]
            return await self._deliver_large(service, people, content, message_id, headers, parts)
        content = write_list_body(content, listed)
        return await self._deliver(
            service, people, content, message_id, validity, [("Require", OPTION)]
        )

    def address(self, text: str) -> str:
        """Return the URI that a person means by ``text``.

        Raises:
            UsageError: it is none.
        """
        text = text.strip().strip("<>")
        if text and "@" not in text and ":" not in text:
            text = f"{text}@{self.domain}"
        return _identity(text, "tel")

    def _wrapped(
        self, content: Content, to: list[str], message_id: str, reports: Sequence[str]
    ) -> Content:
        moment = self.now()
        message = write_cpim(content, self._address, to, moment, message_id, reports)
        return Content(message.to_bytes(), CPIM_TYPE)

    async def _deliver(
        self,
        target: str,
        to: tuple[str, ...],
        content: Content,
        message_id: str,
        validity: int | None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Sent:
        sent = Sent(self._clock, to, message_id)
        if message_id:
            self.inbox.expect(sent)
        self._typist.sent(target)
        response = await self._outbox.send(target, content, validity, headers)
        if response.status >= 300:
            self.inbox.forget(sent)
            raise failure_of(response)
        if sent.status == SENDING:  # a report may have been quicker than the answer
            sent.status = PENDING if response.status != 200 else DELIVERED
        return sent

    async def _deliver_large(
        self,
        target: str,
        to: tuple[str, ...],
        content: Content,
        message_id: str,
        headers: Sequence[tuple[str, str]] = (),
        parts: Sequence[Part] = (),
    ) -> Sent:
        sent = Sent(self._clock, to, message_id)
        if message_id:
            self.inbox.expect(sent)
        try:
            await self.sessions.large.send(target, content, headers, parts)
        except Failure:
            self.inbox.forget(sent)
            raise
        if sent.status == SENDING:
            sent.status = PENDING
        return sent

    async def _deliver_in_session(
        self, target: str, content: Content, reports: Sequence[str]
    ) -> Sent:
        """Invite somebody for one message only."""
        conversation = await self.invite(target, subject=content.subject)
        sent: Sent | None = None
        try:
            sent = await conversation.send(
                content.body, content.content_type, subject=content.subject, reports=reports
            )
        finally:
            leaving = Deferred.fromCoroutine(_leave(conversation, sent))
            leaving.addErrback(lambda failure: _log.failure("A session was not left", failure))
        return sent

    async def can(self, who: str, *, fresh: bool = False) -> Capabilities:
        """Return what somebody's client can; it is asked, unless that is known for an hour.

        Args:
            who: as ``to`` of :meth:`send`.
            fresh: ask in any case.

        Spec: RFC 3261 §11
        """
        return await self.peers.ask(self.address(who), fresh)

    def _fetch(self, service: str, wanted: Part | None, take: Take) -> Awaitable[int]:
        return Fetching(self._means, service, take).run(wanted)

    def _replay(self, service: str, wanted: Part | None, take: Take) -> Awaitable[int]:
        everything = (CPIM_TYPE, "*/*")  # what it was is known only when it is here
        return Fetching(self._means, service, take, everything).run(wanted)

    # Receiving.

    def messages(self) -> AsyncIterator[Message]:
        """Return an asynchronous iterator over the messages that come, until :meth:`close`."""
        return self.inbox.messages()

    def on_message(self, act: Callable[[Message], object]) -> None:
        """Give each message to ``act``, which may be a coroutine, instead of an iterator."""
        self.inbox.on_message = act

    def on_report(self, act: Callable[[Report], object]) -> None:
        """Tell ``act`` of each report on a message of ours."""
        self.inbox.on_report = act

    def on_typing(self, act: Callable[[Typing], object]) -> None:
        """Tell ``act`` who begins and stops writing to us."""
        self.inbox.on_typing = act

    def on_waiting(self, act: Callable[[tuple[Waiting, ...]], object]) -> None:
        """Tell ``act`` what waits at the server, when the server says so by itself."""
        self.inbox.on_waiting = act

    def _is_own(self, aor: str) -> bool:
        return aor in {canonical_aor(one) for one in (self.identity, *self.granted.associated)}

    def _trusts(self, incoming: Incoming) -> bool:
        return self._access.is_server(incoming.flow)

    def _reply(self, to: str, text: str, **named: Any) -> Deferred[Sent]:
        return Deferred.fromCoroutine(self.send(to, text, **named))


async def _leave(conversation: Conversation, sent: Sent | None) -> None:
    """End a session that was there for one message, when its report has come or is late."""
    if sent is not None and sent.message_id:
        try:
            await sent.delivered(REPORTED)
        except Failure:
            pass
    await conversation.leave()


def _identity(text: str, *more: str) -> str:
    """Return a SIP URI (or of the schemes ``more``) from what a person wrote.

    Raises:
        UsageError: it is none.
    """
    uri: Any = None
    try:
        uri = parse_uri(text if ":" in text else f"sip:{text}")
    except PeerError:
        pass
    if isinstance(uri, SipUri) and uri.user:
        return str(uri)
    if uri is not None and uri.scheme in more:
        return str(uri)
    raise UsageError(f"{text!r} is no address: write sip:alice@north.example")


def _relay(text: str) -> MsrpUri:
    """Return a relay's URI.

    Raises:
        UsageError: it is none.
    """
    try:
        return MsrpUri.parse(text)
    except PeerError as error:
        raise UsageError(f"{text!r} is no relay ({error.why}): write msrps://HOST;tcp") from None


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
