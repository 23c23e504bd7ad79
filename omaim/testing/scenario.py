"""A conversation as a script that runs unchanged in virtual time, on sockets and on a split lab.

A script is a coroutine over a :class:`ScenarioNetwork`: it asks for people by name, lets them
talk, and says what has to be true::

    @scenario(shows=("IMS-04/pager", "IMS-59"))
    async def across(net: ScenarioNetwork) -> None:
        \"""A message crosses two domains.\"""
        alice, xenia = await net.online("alice"), await net.online("xenia")
        await alice.send(xenia.identity, "hello")
        same((await net.message(xenia)).text, "hello", "what xenia reads")

``shows`` names the requirements that the script's checks prove, as in ``requirements.toml``; a
part of one stands after a slash. Where scripts can be played is :mod:`omaim.testing.stages`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

import attrs
from twisted.internet.defer import Deferred

from omaim.client import Client, Failure, Message
from omaim.errors import UsageError
from omaim.features.ladder import Ladder, climb
from omaim.lab.people import Person
from omaim.lab.topology import Home, Plan, network
from omaim.net.clock import wall
from omaim.net.network import INetwork
from omaim.net.resolver import Ask
from omaim.net.wire import IN, WireRecord
from omaim.node.config import make_config
from omaim.node.directory import Directory, Place
from omaim.node.entity import maker_of
from omaim.node.node import Node
from omaim.sip.message import Request, Response
from omaim.sip.parser import Limits, parse_datagram
from omaim.stores.interfaces import Stores
from omaim.stores.memory import memory_stores
from omaim.stores.records import User
from omaim.testing.dns import SimulatedDns
from omaim.testing.network import Link, SimulatedNetwork

SIMULATED: Final = "simulated"  # virtual time, a network that does as told
LOOPBACK: Final = "loopback"  # all in one reactor, over real sockets
SPLIT: Final = "split"  # every server a process of its own
EVERYWHERE: Final = (SIMULATED, LOOPBACK, SPLIT)
IN_PROCESS: Final = (SIMULATED, LOOPBACK)  # looks into servers, or needs them configured so
VIRTUAL: Final = (SIMULATED,)  # takes hours, or needs a network that loses or cuts

WITHIN: Final = 10.0  # seconds that something expected may take

T = TypeVar("T")
Play = Callable[["ScenarioNetwork"], Coroutine[Any, Any, None]]


class Missed(AssertionError):
    """Something that a script says has to be true is not."""


@attrs.frozen
class Layout:
    """How a network differs from the lab's.

    Args:
        settings: of entities, by their names: ``{"core-north": {"profile": "sip"}}``; in texts
            ``{base}`` stands for the first two numbers of all addresses, ``{port}`` for the port
            of the servers and ``{tls}`` for that with TLS.
        link: how paths of the simulated network are.
        secure: servers listen by TLS only.
        without: entities that are not there.
    """

    settings: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    link: Link = attrs.field(factory=Link)
    secure: bool = False
    without: tuple[str, ...] = ()


@attrs.frozen
class Scenario:
    """One script and what it proves."""

    name: str
    shows: tuple[str, ...]  # requirement ids, "IMS-04" or "IMS-04/pager"
    summary: str  # one sentence
    play: Play = attrs.field(repr=False)
    stages: tuple[str, ...] = EVERYWHERE
    layout: Layout = attrs.field(factory=Layout)
    patience: float = 60.0  # seconds on real clocks


def scenario(
    *,
    shows: tuple[str, ...],
    stages: tuple[str, ...] = EVERYWHERE,
    layout: Layout | None = None,
    patience: float = 60.0,
) -> Callable[[Play], Scenario]:
    """Make a script of a coroutine function; its docstring's first line says what it shows."""

    def make(play: Play) -> Scenario:
        summary = (play.__doc__ or "").strip().partition("\n")[0]
        if not summary:
            raise UsageError(f"{play.__name__}: say in a docstring what the scenario shows")
        if layout is not None and SPLIT in stages:
            raise UsageError(f"{play.__name__}: a split lab is as it is; use stages=IN_PROCESS")
        name = play.__name__
        return Scenario(name, shows, summary, play, stages, layout or Layout(), patience)

    return make


# What scripts say.


def same(found: object, wanted: object, what: str) -> None:
    """Two values have to be equal."""
    if found != wanted:
        raise Missed(f"{what}: {found!r}, not {wanted!r}")


def holds(truth: object, what: str) -> None:
    """Something has to be true; ``what`` says it as a statement."""
    if not truth:
        raise Missed(f"not so: {what}")


async def refused(doing: Awaitable[object], status: int) -> Failure:
    """Something a client does has to be refused with a status; return the failure."""
    try:
        await doing
    except Failure as failure:
        if failure.status != status:
            raise Missed(f"refused with {failure.status}, not {status}: {failure}") from failure
        return failure
    raise Missed(f"not refused with {status}")


@attrs.frozen
class Sighting:
    """One SIP message as an entity saw it."""

    record: WireRecord
    message: Request | Response


class ScenarioNetwork:
    """The network of one scenario: two domains with core and IM Server each, and their people.

    Args:
        clock: virtual time, or the reactor.
        network: simulated or real.
        plan: which address is whose.
        ask: puts questions to the DNS.
        make_node: makes a node of a name and stores.
        dns: the zones, where a script may change them.

    Attributes:
        clock, network, plan, dns: as above.
        slack: how many times longer than usual everything may take.
        nodes: of the servers in this process, by name.
        entities: the servers in this process, by name.
        records: every message that an entity of this process sent or received.
    """

    def __init__(
        self,
        clock: Any,
        network: INetwork,
        plan: Plan,
        ask: Ask,
        make_node: Callable[[str, Stores], Node],
        dns: SimulatedDns | None = None,
    ) -> None:
        self.clock = clock
        self.network = network
        self.plan = plan
        self.ask = ask
        self.slack = 1.0
        self.records: list[WireRecord] = []
        self.directory = Directory()
        self.nodes: dict[str, Node] = {}
        self.entities: dict[str, Any] = {}
        self._dns = dns
        self._make_node = make_node
        self._contents: dict[str, Any] = {}
        self._stores: dict[str, Stores] = {}
        self._closing: list[Callable[[], Any]] = []
        self._devices: dict[str, int] = {}
        self._played = -1  # records until the end began

    # The servers.

    async def begin(self, layout: Layout) -> None:
        """Start every server of the plan, as the layout wants it."""
        self._contents = network(self.plan)["entities"]
        for name, table in self._contents.items():
            table.update(self._filled(layout.settings.get(name, {})))
            if table["kind"] == "dns" or name in layout.without:
                continue
            if layout.secure:
                table["listen"] = [one for one in table["listen"] if one.startswith("tls")]
            await self.start(name)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            text = value.replace("{base}", self.plan.base).replace("{port}", str(self.plan.port))
            return text.replace("{tls}", str(self.plan.port + 1))
        if isinstance(value, Mapping):
            return {key: self._filled(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._filled(one) for one in value]
        return value

    async def start(self, name: str) -> None:
        """Start a server, the first time or again; what it had stored is there."""
        table = self._contents[name]
        stores = self._stores.setdefault(name, memory_stores())
        node = self.node(name, stores)
        self.nodes[name] = node
        maker = maker_of(table["kind"])
        settings = {key: value for key, value in table.items() if key != "kind"}
        self.entities[name] = node.add(name, maker, make_config(maker.config(), settings, name))
        node.startService()
        await node.ready()

    async def stop(self, name: str) -> None:
        """Stop a server; nobody answers at its address from now on."""
        self.entities.pop(name)
        await self.nodes.pop(name).stopService()

    def node(self, name: str, stores: Stores | None = None) -> Node:
        """Return a new node whose messages are recorded, for an entity of a script's own."""
        node = self._make_node(name, stores or memory_stores())
        node.taps.add_wire(self.records.append)
        node.directory.watch(self.directory.note)
        return node

    async def enrol(self, home: str, *users: User) -> None:
        """Add or replace users of a domain, "north" or "south"."""
        store = self.nodes[f"core-{home}"].stores.users
        for user in users:
            known = await store.get(user.private_id)
            version = known.version if known is not None else 0
            await store.put(attrs.evolve(user, version=version))

    @property
    def dns(self) -> SimulatedDns:
        """The zones of both domains; only where the stage is in this process."""
        if self._dns is None:
            raise UsageError("the DNS of a split lab cannot be changed: use stages=IN_PROCESS")
        return self._dns

    @property
    def simulated(self) -> SimulatedNetwork:
        """The simulated network, to cut and mend; only with stages=VIRTUAL."""
        if not isinstance(self.network, SimulatedNetwork):
            raise UsageError("real networks are not cut: use stages=VIRTUAL")
        return self.network

    def home(self, short: str) -> Home:
        """Return a domain by its short name."""
        return next(home for home in self.plan.homes if home.short == short)

    # The people.

    def person(self, name: str) -> Person:
        """Return somebody who lives here."""
        return next(person for person in self.plan.people if person.name == name)

    def place(self, name: str, domain: str, device: str = "") -> tuple[str, str]:
        """Return the name and the address of a device, noted for ladders."""
        home = next(home for home in self.plan.homes if home.domain == domain)
        label = f"{name}-{device}" if device else name
        number = self._devices.setdefault(label, len(self._devices))
        address = f"{home.core.rpartition('.')[0]}.{10 + number}"
        self.directory.note(Place(label, "client", address, 0, domain))
        return label, address

    def client(
        self,
        name: str,
        *,
        device: str = "",
        domain: str = "",
        password: str = "",
        by_dns: bool = False,
        **settings: Any,
    ) -> Client:
        """Return an IM Client that has not done anything yet.

        Args:
            name: of a person of the lab, or of somebody enrolled in ``domain``.
            device: tells several clients of one person apart.
            domain: of somebody who is not in the lab.
            password: another one than the person's own.
            by_dns: find the core by DNS instead of by its address.
            settings: of :class:`~omaim.client.Client`.
        """
        person = Person(name, domain) if domain else self.person(name)
        home = next(home for home in self.plan.homes if home.domain == person.domain)
        label, address = self.place(name, person.domain, device)
        server = "" if by_dns else f"{home.core}:{self.plan.port}"
        settings.setdefault("listen", address)
        client = Client(
            person.aor,
            password or person.password,
            server,
            node=self.node(label),
            name=label,
            **settings,
        )
        self.at_end(client.close)
        return client

    async def online(self, name: str, **settings: Any) -> Client:
        """Return a client that has registered; see :meth:`client`."""
        client = self.client(name, **settings)
        await client.register()
        return client

    async def message(self, client: Client, within: float = WITHIN) -> Message:
        """Return the next message that a client gets.

        Raises:
            Missed: none came in time.
        """
        coming = client.inbox.next()
        late = self._late(f"message to {client}")
        coming.addTimeout(within * self.slack, self.clock, onTimeoutCancel=late)
        return await coming

    async def nothing(self, client: Client, during: float = 1.0) -> None:
        """A client must not get a message for a while."""
        coming = client.inbox.next()
        coming.addErrback(lambda _: None)
        await self.sleep(during)
        if coming.called and isinstance(coming.result, Message):
            raise Missed(f"{client} got {coming.result.body!r}")
        coming.cancel()

    # Time, and what was seen.

    def now(self) -> float:
        """Return the time of day: seconds since the epoch, UTC."""
        return wall(self.clock)()

    def sleep(self, seconds: float) -> Deferred[None]:
        """Let time pass, on whatever clock this is."""
        slept: Deferred[None] = Deferred()
        self.clock.callLater(seconds, slept.callback, None)
        return slept

    async def until(self, come: Callable[[], T], what: str, within: float = WITHIN) -> T:
        """Wait until something is true; return it.

        Raises:
            Missed: it did not become so in time.
        """
        end = self.clock.seconds() + within * self.slack
        while True:
            found = come()
            if found:
                return found
            if self.clock.seconds() >= end:
                raise Missed(f"not within {within:g} s: {what}")
            await self.sleep(0.02)

    def seen(
        self,
        entity: str,
        method: str,
        direction: str = IN,
        *,
        status: int = 0,
        peer: str = "",
    ) -> list[Any]:
        """Return the messages of a method that an entity of this process saw, oldest first.

        Args:
            status: of responses; 0 for requests.
            peer: only those from or to this entity.
        """
        return [
            one.message
            for one in self.sightings(entity, direction)
            if (not peer or self._named(one.record.remote) == peer)
            and (
                (isinstance(one.message, Request) and not status and one.message.method == method)
                or (
                    isinstance(one.message, Response)
                    and one.message.status == status
                    and one.message.cseq.method == method
                )
            )
        ]

    def sightings(self, entity: str = "", direction: str = "") -> list[Sighting]:
        """Return all SIP that an entity saw, or all did."""
        found = []
        for record in self.records:
            if (
                record.protocol == "SIP"
                and entity in ("", record.entity)
                and direction in ("", record.direction)
            ):
                message = parse_datagram(record.data, Limits())
                if message is not None:
                    found.append(Sighting(record, message))
        return found

    def ladder(self) -> Ladder:
        """Return the ladder of all that happened so far, but for what ends the scenario."""
        played = self.records if self._played < 0 else self.records[: self._played]
        return climb(played, self.directory)

    # The end.

    def at_end(self, close: Callable[[], Any]) -> None:
        """Have something closed when the scenario is over, last opened first."""
        self._closing.append(close)

    async def end(self) -> None:
        """Close everything, whatever fails meanwhile; raise the first failure."""
        failed: Exception | None = None
        if self._played < 0:
            self._played = len(self.records)
        doing = [*self._closing, *(node.stopService for node in self.nodes.values())]
        for close in reversed(doing[: len(self._closing)]):
            failed = await _tried(close) or failed
        for close in doing[len(self._closing) :]:
            failed = await _tried(close) or failed
        self._closing.clear()
        self.nodes.clear()
        if failed is not None:
            raise failed

    def _late(self, what: str) -> Callable[[Any, float], Any]:
        def late(result: Any, timeout: float) -> Any:
            raise Missed(f"not within {timeout:g} s: {what}")

        return late

    def _named(self, address: tuple[str, int]) -> str:
        place = self.directory.find(*address)
        return place.name if place is not None else ""


async def _tried(close: Callable[[], Any]) -> Exception | None:
    try:
        result = close()
        if result is not None:
            await result
    except Exception as error:
        return error
    return None
