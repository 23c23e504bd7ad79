"""The door of the IM Server: which procedure serves which request."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from omaim.errors import PeerError, Unavailable
from omaim.im.deferred import Deferring
from omaim.im.pager import Pager
from omaim.im.participating import leg_of
from omaim.node.config import parse_listen, setting
from omaim.node.directory import Place
from omaim.node.entity import IEntity
from omaim.node.node import Node, tls_settings
from omaim.sip.message import Response
from omaim.sip.proxying import OwnAddresses, preprocess, refusal, validate
from omaim.sip.transaction import ServerTransaction
from omaim.sip.uri import canonical_aor
from omaim.stores.records import Quota

_log = Logger()


@attrs.frozen
class Config:
    """Settings of the IM Server of one home domain."""

    domain: str = setting("north.example", "the home domain whose users are served")
    listen: tuple[str, ...] = setting(
        ("udp:127.0.0.1:5080", "tcp:127.0.0.1:5080"), "where SIP arrives"
    )
    certificate: str = setting("", "PEM file with certificate and key, for TLS")
    ca: str = setting("", "PEM file with the authorities to trust; empty: the system's")
    core: str = setting("sip:127.0.0.1:5060", "SIP URI of the core, for requests of our own")
    trusted: tuple[str, ...] = setting(
        ("127.0.0.1",), "addresses or TLS names of the core; others get 403"
    )
    validity: float = setting(604800.0, "seconds a deferred message is kept at most")
    quota_count: int = setting(1000, "deferred messages of one user")
    quota_size: int = setting(16777216, "octets of deferred messages of one user")
    patience: float = setting(8.0, "seconds a device may take before a message is deferred")


@implementer(IEntity)
class ImServer(Service):
    """The IM Server of one home domain."""

    def __init__(self, node: Node, config: Config, name: str) -> None:
        self.setName(name)
        self.config = config
        self.endpoint = node.endpoint(name, "IM-serv/OMA1.0 omaim")
        self._node = node
        self._name = name
        self._own = OwnAddresses()
        self._trusted = frozenset(config.trusted)
        self._ready: Deferred[None] = Deferred()
        self.deferring = Deferring(
            self.endpoint,
            node.stores.deferred,
            f"<{config.core};lr>",
            node.clock.seconds,
            node.ids,
            config.validity,
            Quota(config.quota_count, config.quota_size),
        )
        self.pager = Pager(self.endpoint, self.deferring, leg_of, config.patience)

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
        return maybeDeferred(self.endpoint.stop)

    async def _start(self) -> None:
        config = self.config
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
        self.endpoint.on_request = self.receive

    def receive(self, transaction: ServerTransaction) -> None:
        """Serve a request: the door."""
        try:
            self._check_neighbour(transaction)
            method = transaction.request.method
            if method == "MESSAGE":
                self._message(transaction)
            elif method == "REGISTER":
                self._registered(transaction)
            elif method == "OPTIONS":
                self.endpoint.reply(transaction, 200)
            else:
                self.endpoint.reply(transaction, 501)
        except PeerError as error:
            self._refuse(transaction, error)

    def _check_neighbour(self, transaction: ServerTransaction) -> None:
        flow = transaction.flow
        if flow.remote_host in self._trusted or not self._trusted.isdisjoint(flow.peer_names):
            return
        raise PeerError("only the core may ask this server", 403)

    def _message(self, transaction: ServerTransaction) -> None:
        request, flow = transaction.request, transaction.flow
        validate(request, self._own)
        preprocess(request, self._own, flow.transport, flow.local_port)
        Deferred.fromCoroutine(self.pager.receive(transaction, request)).addCallbacks(
            self._answer, self._failed, callbackArgs=(transaction,), errbackArgs=(transaction,)
        )

    def _registered(self, transaction: ServerTransaction) -> None:
        """Note a third-party REGISTER: deliver what waited.

        Spec: 3GPP TS 24.229 §5.7.1.1
        """
        request = transaction.request
        user = canonical_aor(request.to.uri_text)
        self.endpoint.reply(transaction, 200)
        if request.expires != 0:
            Deferred.fromCoroutine(self.deferring.push(user)).addErrback(
                lambda failure: _log.failure("deferred messages were not delivered", failure)
            )

    def _answer(self, response: Response | None, transaction: ServerTransaction) -> None:
        if response is not None:
            self.endpoint.respond(transaction, response)

    def _failed(self, failure: Failure, transaction: ServerTransaction) -> None:
        error = failure.value
        if isinstance(error, PeerError):
            self._refuse(transaction, error)
        elif isinstance(error, Unavailable):
            self.endpoint.reply(transaction, 503)
        else:
            _log.failure("a message was not served", failure)
            self.endpoint.reply(transaction, 500)

    def _refuse(self, transaction: ServerTransaction, error: PeerError) -> None:
        tag = self.endpoint.tag_of(transaction)
        self.endpoint.respond(transaction, refusal(transaction.request, error, tag))


def build(node: Node, config: Config, name: str = "im") -> ImServer:
    """Return the IM Server, not yet started, as part of ``node``."""
    return ImServer(node, config, name)
