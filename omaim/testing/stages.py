"""Where scenarios are played: in virtual time, over loopback sockets, or on a split lab.

A stage keeps what one network may share with the next: addresses and certificates. Each
``play()`` builds a network of its own and takes it down again.
"""

from __future__ import annotations

import datetime
import random
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from omaim.errors import Unavailable
from omaim.features.ladder import Ladder
from omaim.ids import Ids
from omaim.lab.processes import Processes
from omaim.lab.stage import places
from omaim.lab.starting import taken
from omaim.lab.topology import MSRP, Plan, lay_out, split, to_toml
from omaim.net.network import INetwork, ReactorNetwork
from omaim.net.resolver import Ask
from omaim.node.config import NodeConfig, parse_place
from omaim.node.node import Node, lazy_dns
from omaim.stores.interfaces import Stores
from omaim.testing.clock import Clock
from omaim.testing.dns import SimulatedDns
from omaim.testing.network import Link, SimulatedNetwork
from omaim.testing.scenario import (
    LOOPBACK,
    SIMULATED,
    SPLIT,
    Missed,
    Scenario,
    ScenarioNetwork,
)

TRIES: Final = 20  # ports, until a network finds its own all free
DAYS: Final = 3  # of virtual time that a scenario may take
GRACE: Final = 3600.0  # seconds of it that beginning and ending may take

_SERVICES: Final = (  # transport, NAPTR service, SRV prefix, port above the plan's
    ("udp", "SIP+D2U", "_sip._udp", 0),
    ("tcp", "SIP+D2T", "_sip._tcp", 0),
    ("tls", "SIPS+D2T", "_sips._tcp", 1),
)


@attrs.frozen
class Outcome:
    """What became of one scenario on one stage."""

    scenario: Scenario
    stage: str
    passed: bool
    why: str  # what was missed, "" when it passed
    ladder: Ladder
    seconds: float  # on the stage's own clock


def zones(plan: Plan, secure: bool = False) -> str:
    """Return the DNS records of both domains, as :class:`SimulatedDns` takes them."""
    lines = []
    for home in plan.homes:
        for order, (transport, service, prefix, above) in enumerate(_SERVICES, 1):
            if secure and transport != "tls":
                continue
            lines.append(f"{home.domain} NAPTR {order}0 10 s {service} {prefix}.{home.domain}")
            for name in (home.domain, f"core.{home.domain}", f"im.{home.domain}"):
                host = name if name != home.domain else f"core.{home.domain}"
                lines.append(f"{prefix}.{name} SRV 10 10 {plan.port + above} {host}")
        lines.append(f"core.{home.domain} A {home.core}")
        lines.append(f"im.{home.domain} A {home.im}")
        lines.append(f"relay.{home.domain} A {home.relay}")
        lines.append(
            f"_msrps._tcp.relay.{home.domain} SRV 10 10 {plan.msrp_port} relay.{home.domain}"
        )
    return "\n".join(lines)


class _Stage:
    """What both stages share.

    Args:
        base: first two numbers of all addresses.
    """

    name = ""

    def __init__(self, base: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="omaim-")
        self._base = base
        self._laid_out = False

    def close(self) -> None:
        """Remove the files of this stage."""
        self._folder.cleanup()

    def _plan(self, port: int, msrp_port: int = MSRP) -> Plan:
        plan = Plan(Path(self._folder.name), self._base, port, msrp_port=msrp_port)
        if not self._laid_out:
            lay_out(plan, datetime.datetime.now(datetime.UTC))
            self._laid_out = True
        return plan


async def perform(one: Scenario, net: ScenarioNetwork, patience: float) -> None:
    """Play a scenario on a network that has begun, no longer than it may take, and end both."""
    try:
        playing = Deferred.fromCoroutine(one.play(net))
        await playing.addTimeout(patience, net.clock, onTimeoutCancel=_out_of_time)
    finally:
        await net.end()


def _out_of_time(result: Any, timeout: float) -> Any:
    raise Missed(f"not over after {timeout:g} s")


def judge(one: Scenario, stage: str, net: ScenarioNetwork, doing: Callable[[], Any]) -> Any:
    """Return a Deferred of the outcome of ``doing()``; what is logged as a failure counts."""
    began = net.clock.seconds()
    logged = _Failures()
    globalLogPublisher.addObserver(logged)

    def over(result: Any) -> Outcome:
        globalLogPublisher.removeObserver(logged)
        why = "".join(logged.told)
        if result is not None:
            why = _told(result.value) + why
        seconds = net.clock.seconds() - began
        return Outcome(one, stage, not why, why, net.ladder(), seconds)

    result: Deferred[Any] = Deferred.fromCoroutine(doing())
    return result.addBoth(over)


@implementer(ILogObserver)
class _Failures:
    """Keeps what is logged with a traceback."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            self.told.append(f"logged: {failure.getTraceback()}")


def _told(error: BaseException) -> str:
    if isinstance(error, AssertionError):
        return str(error)
    return "".join(traceback.format_exception(error))


class Simulated(_Stage):
    """Virtual time, and a network that delays, loses and cuts as told."""

    name = SIMULATED

    def __init__(self) -> None:
        super().__init__("127.0")

    def play(
        self,
        one: Scenario,
        seed: int = 1,
        link: Link | None = None,
        slack: float = 1.0,
        patience: float = DAYS * 86400.0,
    ) -> Outcome:
        """Play a scenario to its end.

        Args:
            seed: of everything that happens by chance.
            link: how paths are, instead of as the scenario's layout says.
            slack: how many times longer than usual everything may take.
            patience: seconds of virtual time.
        """
        clock = Clock(1000.0, 1_800_000_000.0)  # so far apart that mixing them shows
        network = SimulatedNetwork(clock, seed, link or one.layout.link)
        plan = self._plan(5060)
        dns = SimulatedDns(zones(plan, one.layout.secure), clock)
        net = _network(clock, network, plan, dns, seed)
        net.slack = slack

        async def doing() -> None:
            await net.begin(one.layout)
            await perform(one, net, patience)

        outcome: Outcome = clock.wait(judge(one, self.name, net, doing), patience + GRACE)
        return outcome


class Loopback(_Stage):
    """Real sockets in one reactor, on loopback addresses and ports that nobody else has."""

    name = LOOPBACK

    def __init__(self, reactor: Any) -> None:
        super().__init__(f"127.{random.SystemRandom().randrange(16, 250)}")
        self._reactor = reactor

    def play(self, one: Scenario) -> Deferred[Outcome]:
        """Play a scenario; fires when everything is closed again."""
        return Deferred.fromCoroutine(self._play(one))

    async def _play(self, one: Scenario) -> Outcome:
        left = TRIES
        while True:
            chance = random.SystemRandom()
            port = 2 * chance.randrange(10_000, 15_000)
            plan = self._plan(port, 2 * chance.randrange(8_000, 10_000))
            dns = SimulatedDns(zones(plan, one.layout.secure))
            network = ReactorNetwork(self._reactor)
            net = _network(self._reactor, network, plan, dns, None)
            try:
                await net.begin(one.layout)
                break
            except BaseException as error:
                await net.end()
                left -= 1
                if not left or not isinstance(error, Unavailable):
                    raise
        outcome: Outcome = await judge(one, self.name, net, lambda: perform(one, net, one.patience))
        return outcome


class Split(_Stage):
    """The lab as processes of its own; only the people's clients are in this one.

    All scenarios share the one network, so each has to leave it as it found it.

    Args:
        settings: of entities, by their names, that are to differ from the lab's.

    Attributes:
        processes: to be killed and started again.
    """

    name = SPLIT

    def __init__(
        self, reactor: Any, settings: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        super().__init__(f"127.{random.SystemRandom().randrange(16, 250)}")
        self._reactor = reactor
        chance = random.SystemRandom()
        for _ in range(TRIES):
            port, dns_port = 2 * chance.randrange(10_000, 15_000), chance.randrange(10_000, 15_000)
            msrp = 2 * chance.randrange(8_000, 10_000)
            self._lab = Plan(Path(self._folder.name), self._base, port, dns_port, (), msrp)
            if not taken(self._lab):
                break
        contents = split(self._lab, datetime.datetime.now(datetime.UTC))
        if settings:
            for name, values in settings.items():
                contents["entities"][name].update(values)
            topology = self._lab.folder / "network.toml"
            topology.write_text(to_toml(contents), encoding="utf-8")
        self.processes = Processes(self._lab.folder / "network.toml")
        self._ask = lazy_dns(reactor, [parse_place(self._lab.dns)])

    def start(self) -> None:
        """Start all processes; return when they are ready.

        Raises:
            Unavailable: one did not start.
        """
        self.processes.start()

    def close(self) -> None:
        """End all processes and remove their files."""
        self.processes.stop()
        super().close()

    def play(self, one: Scenario) -> Deferred[Outcome]:
        """Play a scenario; fires when its clients are gone again."""
        net = ScenarioNetwork(
            self._reactor,
            ReactorNetwork(self._reactor),
            self._lab,
            self._ask,
            _node_maker(self._reactor, ReactorNetwork(self._reactor), self._ask, None),
        )
        for place in places(self.processes.contents):
            net.directory.note(place)
        outcome: Deferred[Outcome] = judge(
            one, self.name, net, lambda: perform(one, net, one.patience)
        )
        return outcome


def _network(
    clock: Any, network: INetwork, plan: Plan, dns: SimulatedDns, seed: int | None
) -> ScenarioNetwork:
    maker = _node_maker(clock, network, dns.ask, seed)
    return ScenarioNetwork(clock, network, plan, dns.ask, maker, dns)


def _node_maker(
    clock: Any, network: INetwork, ask: Ask, seed: int | None
) -> Callable[[str, Stores], Node]:
    numbers = random.Random(seed) if seed is not None else None

    def make_node(name: str, stores: Stores) -> Node:
        ids = Ids(numbers.getrandbits(60) if numbers is not None else None)
        config = NodeConfig(name=name, state="memory:")
        return Node(config, clock, network, stores, ask, ids)

    return make_node
