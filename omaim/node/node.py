"""Node: what the entities of one process share, and the process's beginning and end."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, Logger
from twisted.plugin import getPlugins
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from omaim.errors import OmaimError, UsageError
from omaim.ids import Ids
from omaim.msrp.means import Limits
from omaim.net.clock import steady, wall
from omaim.net.endpoint import Endpoint
from omaim.net.limits import StreamLimits
from omaim.net.msrp import MsrpEndpoint, MsrpLimits
from omaim.net.network import INetwork, ReactorNetwork
from omaim.net.polling import straight
from omaim.net.reach import Reach
from omaim.net.resolver import Ask, Dns, Resolver
from omaim.net.tls import TlsSettings
from omaim.net.wire import Wire
from omaim.node.commands import add_commands
from omaim.node.config import NodeConfig, make_config, parse_place
from omaim.node.control import Control, listen_for_control
from omaim.node.directory import Directory
from omaim.node.entity import IEntity, IEntityMaker
from omaim.node.extension import IExtension
from omaim.node.hooks import Feature, Hooks, IFeature
from omaim.node.logs import Lines
from omaim.node.process import settle
from omaim.node.questions import Question
from omaim.node.taps import Taps
from omaim.node.trace import Trace
from omaim.sip.timing import Timing
from omaim.stores.interfaces import Stores
from omaim.stores.opening import open_stores

_log = Logger()
T = TypeVar("T")


class Node(MultiService):
    """One process's clock, network, stores, hooks, taps and entities.

    Args:
        config: the process's settings.
        clock: what timers count in; a fake one in tests.
        network: real or simulated.
        stores: opened ones; closed when the node stops.
        ask: puts questions to the DNS; ``None`` knows numeric addresses only.
        ids: where identifiers come from.
        timing: SIP timers for every endpoint.

    Attributes:
        now: tells the time of day, seconds since the epoch, UTC, for whatever is stored, sent or
            shown; timers count in ``clock``. See :mod:`omaim.net.clock`.
        hooks, taps, directory, wire, resolver, control: see their classes.
        endpoints: the SIP endpoints of its entities, by name.
        msrp_endpoints: the MSRP endpoints of its entities, by name.
        is_ready: whether every entity is of use.
    """

    def __init__(
        self,
        config: NodeConfig,
        clock: IReactorTime,
        network: INetwork,
        stores: Stores,
        ask: Ask | None = None,
        ids: Ids | None = None,
        timing: Timing | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.clock: Any = clock
        self.now: Callable[[], float] = wall(clock)
        self.network = network
        self.stores = stores
        self.ids = ids or Ids()
        self.timing = timing or Timing()
        self.hooks = Hooks()
        self.taps = Taps()
        self.directory = Directory()
        self.wire = Wire()
        self.resolver = Resolver(clock, ask, self.ids)
        self.endpoints: dict[str, Endpoint] = {}
        self.msrp_endpoints: dict[str, MsrpEndpoint] = {}
        self.entities: dict[str, IEntity] = {}
        self.control = Control()
        self.is_ready = False
        self._stops: list[Callable[[], Any]] = []
        self.taps.on_wire_change(self._wire_changed)
        if config.trace:
            trace = Trace(config.trace)
            self.directory.watch(trace.note)
            self.taps.add_wire(trace)
            self.on_stop(trace.close)
        use_features(self, config)
        add_commands(self)

    def endpoint(
        self, name: str, software: str = "omaim", tls: TlsSettings | None = None
    ) -> Endpoint:
        """Return a new SIP endpoint of this node.

        Args:
            name: of its entity.
            software: for Server.
            tls: who it is as a TLS client; as its first TLS listener if not given.
        """
        endpoint = Endpoint(
            self.network,
            self.clock,
            self.resolver,
            name=name,
            timing=self.timing,
            ids=self.ids,
            software=software,
            wire=self.wire,
            tls=tls,
            stream_limits=StreamLimits(
                unread=self.config.sip_unread,
                unread_total=self.config.sip_unread_total,
                stalled=self.config.sip_stalled,
            ),
        )
        self.endpoints[name] = endpoint
        return endpoint

    def msrp(
        self,
        name: str,
        tls: TlsSettings | None = None,
        sessmatch: bool = False,
        limits: Limits | None = None,
        peers: MsrpLimits | None = None,
        allowed: Reach | None = None,
    ) -> MsrpEndpoint:
        """Return a new MSRP endpoint of this node; see there.

        Args:
            name: of its entity.
            tls: who it is when it connects; as its first TLS listener if not given.
            sessmatch: find sessions by their session-id alone.
            limits: what each connection may cost; peers: what all of them may.
            allowed: where peers may have it connect to.
        """
        endpoint = MsrpEndpoint(
            self.network,
            self.clock,
            self.resolver,
            name=name,
            ids=self.ids,
            wire=self.wire,
            tls=tls,
            sessmatch=sessmatch,
            limits=limits,
            peers=peers,
            allowed=allowed,
        )
        self.msrp_endpoints[name] = endpoint
        return endpoint

    def add(self, name: str, maker: IEntityMaker, config: Any) -> IEntity:
        """Build an entity into this node; it starts when the node does, or now if it runs."""
        entity: IEntity = maker.build(self, config, name)
        self.entities[name] = entity
        entity.setServiceParent(self)
        return entity

    def ask_dns(self, servers: list[tuple[str, int]]) -> None:
        """Ask these DNS servers from now on; endpoints made before keep their own."""
        self.resolver = Resolver(self.clock, lazy_dns(self.clock, servers), self.ids)

    def ready(self) -> Deferred[Any]:
        """Return a Deferred that fires when every entity is of use, or fails with the first
        reason why one is not."""
        waiting = gatherResults(
            [entity.ready() for entity in self.entities.values()], consumeErrors=True
        )
        return waiting.addCallbacks(self._ready, _first_reason)

    def on_stop(self, act: Callable[[], Any]) -> None:
        """Call ``act`` when the node has stopped, and wait if it returns a Deferred."""
        self._stops.append(act)

    def stopService(self) -> Deferred[None]:
        """Stop the entities, then close the stores."""

        async def stop() -> None:
            await maybeDeferred(super(Node, self).stopService)
            await self.stores.close()
            for act in self._stops:
                await maybeDeferred(act)
            self._stops.clear()

        return Deferred.fromCoroutine(stop())

    def _ready(self, results: list[Any]) -> None:
        self.is_ready = True

    def _wire_changed(self) -> None:
        self.wire.record = self.taps.record


def _first_reason(failure: Failure) -> Any:
    inner = getattr(failure.value, "subFailure", None)
    return failure if inner is None else inner


def use_features(node: Node, config: NodeConfig) -> None:
    """Attach the features that the configuration names.

    Raises:
        UsageError: one is not installed (those there are get listed), or its settings are
            wrong.
    """
    wanted = dict.fromkeys(config.features)
    if config.metrics:
        wanted["metrics"] = None
    if not wanted:
        return
    extensions: dict[str, Any] = {one.name: one for one in getPlugins(IExtension)}
    found: dict[str, Any] = {one.name: one for one in getPlugins(IFeature)}
    for name in wanted:
        if name in extensions:
            extensions[name].attach(node)
        elif name in found:
            _attach(node, found[name], config.feature_settings.get(name, {}))
        else:
            there = ", ".join(sorted([*found, *extensions])) or "none"
            raise UsageError(f"no feature is called {name}; installed: {there}")


def _attach(node: Node, feature: Feature, values: Any) -> None:
    act = feature.act
    if feature.config is not None:
        settings = make_config(feature.config, values, f"features.{feature.name}")

        def act(asked: Any, settings: Any = settings, inner: Any = feature.act) -> Any:
            return inner(asked, settings)

    if issubclass(feature.on, Question):
        node.hooks.add(feature.on, feature.name, act, feature.order)
    else:
        node.taps.add(feature.on, act)


def tls_settings(certificate: str, ca: str, require_client: bool = False) -> TlsSettings | None:
    """Return TLS settings from two PEM files, ``None`` when no certificate is named.

    Args:
        certificate: path of the own certificate, its issuers and its key, in one file.
        ca: path of the authorities to trust; empty for the system's.

    Raises:
        UsageError: a file cannot be read.
    """
    if not certificate:
        return None
    try:
        own = Path(certificate).read_bytes()
        trust = Path(ca).read_bytes() if ca else b""
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from None
    wanted = "required" if require_client else "optional"
    return TlsSettings(certificate=own, key=own, trust=trust, client_certificates=wanted)


async def open_node(config: NodeConfig, reactor: Any) -> Node:
    """Return a node on the real network, with its stores open.

    Raises:
        UsageError: the configuration is wrong.
        Unavailable: the stores cannot be opened.
    """
    servers = [parse_place(text, 53) for text in config.dns]
    steady(reactor)
    straight(reactor)
    stores = await open_stores(config.state, reactor, reactor)
    settle()
    try:
        network = ReactorNetwork(reactor)
        node = Node(config, reactor, network, stores, lazy_dns(reactor, servers))
        if config.control:
            listen_for_control(node, config.control)
    except BaseException:
        await stores.close()
        raise
    return node


def lazy_dns(clock: Any, servers: list[tuple[str, int]]) -> Ask:
    """Return what asks DNS servers, made at the first question.

    Making it looks at the system's configuration, which a node that only knows numeric
    addresses, or gets other servers in time, has no need of.

    Args:
        servers: addresses and ports; none for those of the system.
    """
    made: list[Dns] = []

    def ask(name: str, kind: str) -> Any:
        if not made:
            made.append(Dns(clock, servers))
        return made[0].ask(name, kind)

    return ask


class _NodeService(Service):
    """A node that is opened when the process starts; a failure ends the process."""

    def __init__(
        self,
        config: NodeConfig,
        parts: Iterable[tuple[IEntityMaker, Any]],
        log: Lines | None,
    ) -> None:
        self._config = config
        self._parts = list(parts)
        self._log = log
        self._node: Node | None = None

    def setServiceParent(self, parent: Any) -> None:
        """Become part of a process; its log then looks as configured."""
        if isinstance(parent, Componentized) and self._log is not None:
            # twistd has not begun to log yet, and takes this one instead of its own.
            parent.setComponent(ILogObserver, self._log)
        super().setServiceParent(parent)

    def startService(self) -> None:
        from twisted.internet import reactor

        super().startService()
        # twistd starts services before its reactor, which could not be stopped yet.
        reactor.callWhenRunning(self._begin, reactor)

    def _begin(self, reactor: Any) -> None:
        Deferred.fromCoroutine(self._start(reactor)).addErrback(self._failed, reactor)

    async def _start(self, reactor: Any) -> None:
        node = self._node = await open_node(self._config, reactor)
        for maker, config in self._parts:
            node.add(self._config.name, maker, config)
        node.startService()
        await node.ready()
        _log.info("{name} is ready", name=self._config.name)

    def _failed(self, failure: Failure, reactor: Any) -> None:
        if failure.check(OmaimError):
            _log.critical("{name}: {why}", name=self._config.name, why=failure.getErrorMessage())
        else:
            _log.failure("{name} did not start", failure, name=self._config.name)
        atexit.register(_end_with, 1)
        reactor.stop()

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        if self._node is None:
            return None

        def stopped(result: None) -> None:
            _log.info("{name} has stopped", name=self._config.name)

        return self._node.stopService().addCallback(stopped)


def _end_with(status: int) -> None:
    """End the process with a status: twistd ends with 0 whatever made the reactor stop."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def node_service(
    config: NodeConfig, parts: Iterable[tuple[IEntityMaker, Any]], log: Lines | None = None
) -> Service:
    """Return a service that is a whole process: the node and its entities.

    Args:
        parts: makers and their entities' settings.
        log: what writes the log instead of twistd.
    """
    return _NodeService(config, parts, log)
