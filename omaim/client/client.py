"""The IM Client: register, send, receive, report.

Spec: OMA SIMPLE IM 1.0 (IM Client); RFC 3261 §10; RFC 3428; RFC 5438; RFC 5626
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure as Broken

from omaim.bodies import imdn
from omaim.bodies.cpim import Address
from omaim.client.access import Access, Phone, server_uri
from omaim.client.composing import (
    ALL_REPORTS,
    CPIM_TYPE,
    LARGEST,
    TEXT,
    Content,
    write_cpim,
    write_list_body,
)
from omaim.client.failures import TooLarge, failure_class, failure_of
from omaim.client.inbox import Inbox
from omaim.client.messages import DELIVERED, PENDING, Message, Report, Sent, State, Typing
from omaim.client.reading import CONTENTS, ENVELOPES, Received
from omaim.errors import PeerError, UsageError
from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.net.network import INetwork
from omaim.net.resolver import Dns, Resolver
from omaim.net.tls import TlsSettings
from omaim.roles.incoming import Incoming
from omaim.roles.listmail import OPTION
from omaim.roles.registrant import Registrant
from omaim.sip.answering import Answerer
from omaim.sip.client_registration import FAILED, IDLE, REGISTERED, Granted, Moved
from omaim.sip.flow import Flow
from omaim.sip.message import Response
from omaim.sip.uri import SipUri, canonical_aor, parse_uri

SOFTWARE: Final = "IM-client/OMA1.0 omaim"
FEATURE: Final = "+g.oma.sip-im"
TAKEN: Final = (*ENVELOPES, *CONTENTS)

_log = Logger()


class Client:
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
        if node is not None:
            self._clock, self._network = node.clock, node.network
            self.endpoint = node.endpoint(name, SOFTWARE)
        else:
            if clock is None:
                from twisted.internet import reactor as clock
            if network is None:
                from omaim.net.network import ReactorNetwork

                network = ReactorNetwork(clock)
            self._clock, self._network = clock, network
            ids = ids or Ids()
            ask = Dns(clock, list(dns)).ask if dns or not network.simulated else None
            resolver = Resolver(clock, ask, ids)
            tls = TlsSettings(trust=_read(ca)) if ca else None
            self.endpoint = Endpoint(
                network, clock, resolver, name=name, ids=ids, software=SOFTWARE, tls=tls
            )
        self._ids = self.endpoint.ids
        self._address = Address(display, self.identity)
        self._access = Access(self.endpoint, self._network, server_at, listen)
        self._phone = Phone(
            self.endpoint,
            self.identity,
            credentials=Answerer(username or f"{self.user}@{self.domain}", password, self._ids),
            display=display,
            accept=accept,
            headers=[("User-Agent", SOFTWARE), ("P-Preferred-Identity", str(f"<{self.identity}>"))],
        )
        self._phone.access = self._access
        self._phone.flow = self._flow
        self._instance = instance or self._ids.uuid_urn()
        self._expires = expires
        self._registrant: Registrant | None = None
        self._opening: DeferredLock = DeferredLock()
        self._open = False
        self._insist = False
        self._first: Deferred[None] | None = None
        self._queues: dict[str, tuple[DeferredLock, int]] = {}
        self.inbox = Inbox(accept, self._trusts, self._report, self._reply, self.endpoint.later)
        self.on_state: Callable[[State], object] | None = None
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
        await self._opened()
        registrant = self._registrant
        assert registrant is not None
        self._insist = insist
        self._first = Deferred()
        starting = registrant.start()
        starting.addErrback(lambda _: None)
        await self._first
        return registrant.granted

    async def unregister(self) -> None:
        """Take our binding away; messages wait at the server from now on."""
        if self._registrant is not None:
            await self._registrant.stop()

    @property
    def registered(self) -> bool:
        """Our binding stands."""
        return self._registrant is not None and self._registrant.state == REGISTERED

    async def close(self, patience: float = 3.0) -> None:
        """Take our binding away if the server answers within ``patience`` seconds; end."""
        if self.registered and self._registrant is not None:
            stopping = self._registrant.stop()
            stopping.addTimeout(patience, self._clock)
            await stopping.addErrback(lambda _: None)
        self.inbox.close()
        await self.endpoint.stop()

    async def _opened(self) -> None:
        await self._opening.acquire()
        try:
            if not self._open:
                contact = await self._access.open(self._ids.token(8))
                self._phone.contact = f"<{contact}>"
                self._registrant = Registrant(
                    self._phone,
                    f"sip:{self.domain}",
                    expires=self._expires,
                    instance=self._instance,
                    reg_id=1,
                    parameters=f';{FEATURE};methods="MESSAGE, NOTIFY, OPTIONS"',
                    keep_alive=True,
                    on_state=self._moved,
                )
                self._open = True
        finally:
            self._opening.release()

    def _moved(self, moved: Moved) -> None:
        failure: Exception | None = None
        if moved.status >= 300:
            failure = failure_class(moved.status)(moved.status)
        now = self.endpoint.now()
        retry_in = moved.retry_at - now if moved.retry_at < float("inf") else -1.0
        name = {REGISTERED: "registered", FAILED: "failed", IDLE: "off"}.get(
            moved.state, "registering"
        )
        first = self._first
        if first is not None and not first.called:
            if name == "registered":
                first.callback(None)
            elif failure is not None and (name == "failed" or not self._insist):
                first.errback(failure)
                if name != "failed" and self._registrant is not None:
                    self._registrant.stop()
        if self.on_state is not None:
            self.on_state(State(name, failure, max(retry_in, -1.0)))

    def _flow(self) -> Flow | None:
        return self._registrant.flow if self._registrant is not None else None

    # Sending.

    async def send(
        self,
        to: str,
        text: str | bytes,
        *,
        content_type: str = TEXT,
        subject: str = "",
        reports: Sequence[str] = ALL_REPORTS,
        plain: bool = False,
        validity: int | None = None,
    ) -> Sent:
        """Send a message to one recipient.

        It waits until earlier messages to the same recipient were answered.

        Args:
            to: a SIP or tel URI, or "bob@south.example", or "bob" of our own domain.
            text: the content.
            content_type: of it.
            subject: shown above it.
            reports: which ones are wanted: "positive-delivery", "negative-delivery",
                "processing", "display".
            plain: send it without the CPIM envelope, thus without subject and reports.
            validity: seconds after which the message is not worth delivering.

        Returns:
            What was sent; its status is "delivered" or "pending".

        Raises:
            TooLarge: nothing was sent.
            Failure: a subclass by what the network answered; the message was not delivered.

        Spec: RFC 3428 §4, §7, §8; RFC 5438 §7.1
        """
        target = self.address(to)
        body = text.encode() if isinstance(text, str) else text
        message_id = "" if plain or not reports else self._ids.token(20)
        content = Content(body, content_type, subject)
        if not plain:
            content = self._wrapped(content, [target], message_id, reports)
        return await self._deliver(target, (target,), content, message_id, validity)

    async def send_list(
        self,
        to: Sequence[str],
        text: str,
        *,
        cc: Sequence[str] = (),
        bcc: Sequence[str] = (),
        via: str = "",
        subject: str = "",
        reports: Sequence[str] = ALL_REPORTS,
        plain: bool = False,
        validity: int | None = None,
    ) -> Sent:
        """Send one message to several recipients at once.

        Args:
            to, cc: recipients that all see.
            bcc: recipients that nobody else sees.
            via: the list service; "exploder" of our own domain if empty.

        The rest is as in :meth:`send`; the status is "pending" until reports come.

        Spec: RFC 5365 §4, §6; RFC 5364
        """
        groups = [[self.address(one) for one in group] for group in (to, cc, bcc)]
        people = tuple(uri for group in groups for uri in group)
        if not people:
            raise UsageError("a list message needs at least one recipient")
        service = self.address(via or "exploder")
        message_id = "" if plain or not reports else self._ids.token(20)
        content = Content(text.encode(), TEXT, subject)
        if not plain:
            content = self._wrapped(content, [service], message_id, reports)
        kind, body = write_list_body(content.content_type, content.body, *groups)
        headers = [("Require", OPTION)]
        content = Content(body, kind)
        return await self._deliver(service, people, content, message_id, validity, headers)

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
        moment = self._clock.seconds()
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
        response = await self._message(target, content, validity, headers)
        if response.status >= 300:
            raise failure_of(response)
        if not sent.reports:
            sent.status = PENDING if response.status != 200 else DELIVERED
        return sent

    async def _message(
        self,
        target: str,
        content: Content,
        validity: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Response:
        """Send a MESSAGE when no other to the same target is pending (RFC 3428 §8)."""
        await self._opened()
        fields = [("Accept-Contact", f"*;{FEATURE}"), *headers]
        if validity is not None:
            fields.append(("Expires", str(validity)))
        fields.append(("Content-Type", content.content_type))
        request = self._phone.make("MESSAGE", target, fields, content.body)
        size = len(request.to_bytes())
        if size > LARGEST:
            raise TooLarge(
                0,
                f"the message makes a request of {size} octets, and pager mode carries {LARGEST} "
                "(large message mode is not there yet)",
            )
        key = canonical_aor(target)
        lock, users = self._queues.get(key, (DeferredLock(), 0))
        self._queues[key] = (lock, users + 1)
        try:
            await lock.acquire()
            try:
                return await self._phone.request(request)
            finally:
                lock.release()
        finally:
            lock, users = self._queues[key]
            if users > 1:
                self._queues[key] = (lock, users - 1)
            else:
                del self._queues[key]

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

    def _trusts(self, incoming: Incoming) -> bool:
        return self._access.is_server(incoming.flow)

    def _reply(self, to: str, text: str, **named: Any) -> Deferred[Sent]:
        return Deferred.fromCoroutine(self.send(to, text, **named))

    def _report(self, found: Received, kind: str, status: str) -> Deferred[bool]:
        """Report on a message if its sender asked for that.

        Spec: RFC 5438 §7.2.1
        """
        envelope = found.envelope
        if envelope is None or not found.honest:
            return succeed(False)
        try:
            report = imdn.report(
                envelope,
                kind,
                status,
                self._ids.token(20),
                recipient=Address("", self.identity),
                date_time=_moment(self._clock),
            )
            if report is None:
                return succeed(False)
            target = imdn.destination(report)
        except PeerError as error:
            _log.info("No report on a message: {why}", why=error.why)
            return succeed(False)
        content = Content(report.to_bytes(), CPIM_TYPE)
        sending = Deferred.fromCoroutine(self._message(target, content))
        return sending.addCallbacks(_is_taken, _not_reported)


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


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _moment(clock: Any) -> str:
    from omaim.bodies.moments import write_moment

    return write_moment(clock.seconds())


def _is_taken(response: Response) -> bool:
    if response.status >= 300:
        _log.info("A report was refused: {status}", status=response.status)
    return response.status < 300


def _not_reported(failure: Broken) -> bool:
    _log.info("A report was not sent: {why}", why=failure.getErrorMessage())
    return False
