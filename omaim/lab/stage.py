"""Where a demo is played: a running network, its people, and what the wire shows.

A stage is made from the contents of a topology file, whether the network runs in this process
or in many. The people's phones are a node of their own, as they are in life.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredList

from omaim.client import Client
from omaim.errors import UsageError
from omaim.features.ladder import Ladder, Recorder, climb
from omaim.features.ladder_sessions import name_sessions
from omaim.net.clock import steady
from omaim.net.network import ReactorNetwork
from omaim.net.wire import WireRecord
from omaim.node.config import NodeConfig, parse_listen, parse_place, read_file
from omaim.node.directory import Directory, Place
from omaim.node.node import Node, lazy_dns
from omaim.node.trace import read_lines
from omaim.stores.memory import memory_stores

QUIET: Final = 0.15  # seconds without a message that end a step
RESTLESS: Final = 3.0  # seconds after which a step ends all the same
FIRST_PHONE: Final = 10  # last number of the first phone's address


@attrs.frozen
class Subscriber:
    """Somebody with an account, and where their phone is."""

    name: str  # "alice"
    domain: str
    aor: str
    private_id: str
    password: str = attrs.field(repr=False)
    address: str  # of the phone; "" to find one out
    relay: str = ""  # MSRP URI of the domain's relay, if it has one
    ca: str = ""  # PEM file of the authority that vouches for it


def subscribers(contents: Mapping[str, Any], where: str) -> dict[str, Subscriber]:
    """Return the people of every core in a topology, by their names.

    Raises:
        UsageError: a people file is missing or wrong.
    """
    found: dict[str, Subscriber] = {}
    entities = contents.get("entities", {})
    relays = {one["domain"]: one for one in entities.values() if one.get("kind") == "relay"}
    for name, entity in entities.items():
        if entity.get("kind") != "core":
            continue
        if not entity.get("people"):
            raise UsageError(f"{where}: {name} names no people file, so nobody can play")
        host = parse_listen(entity["listen"][0]).host
        relay = relays.get(entity["domain"], {})
        for number, person in enumerate(read_file(entity["people"]).get("person", ())):
            aor = person.get("public", [f"sip:{person['private']}"])[0]
            user = aor.partition(":")[2].partition("@")[0]
            found[user] = Subscriber(
                user,
                entity["domain"],
                aor,
                person["private"],
                person["password"],
                _phone(host, FIRST_PHONE + number),
                f"msrps://{relay['host']};tcp" if relay else "",
                relay.get("ca", ""),
            )
    return found


def _phone(host: str, number: int) -> str:
    """Return a loopback address beside a server's, "" when that is none."""
    return f"{host.rpartition('.')[0]}.{number}" if host.startswith("127.") else ""


def places(contents: Mapping[str, Any]) -> list[Place]:
    """Return where the servers of a topology listen."""
    found = []
    for name, entity in contents.get("entities", {}).items():
        listen = entity.get("listen", ())
        texts = [listen] if isinstance(listen, str) else listen
        for text in (*texts, *entity.get("msrp", ())):
            if text.count(":") > 1:
                at = parse_listen(text)
                domain = entity.get("domain", "")
                found.append(Place(name, entity["kind"], at.host, at.port, domain))
    return found


class _TraceFile:
    """What another process appends to its trace from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0

    def take(self, directory: Directory) -> list[WireRecord]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        lines = whole.decode("utf-8", "replace").split("\n")
        return read_lines(lines, directory, str(self._path))


class Stage:
    """A network with people who have phones.

    Args:
        contents: of the topology file.
        where: how messages call it.
        reactor: Twisted's.
        network: the node of the servers when they are in this process.

    Attributes:
        people: everybody, by name.
        node: the phones'.
        clock: the reactor.
        records: everything that was seen so far.
    """

    def __init__(
        self, contents: Mapping[str, Any], where: str, reactor: Any, network: Node | None = None
    ) -> None:
        self.people = subscribers(contents, where)
        steady(reactor)
        self.clock = reactor
        servers = [parse_place(text, 53) for text in contents.get("node", {}).get("dns", ())]
        self.node = Node(
            NodeConfig(name="phones", state="memory:"),
            reactor,
            ReactorNetwork(reactor),
            memory_stores(),
            lazy_dns(reactor, servers),
        )
        self.directory = Directory()
        for place in places(contents):
            self.directory.note(place)
        self._recorder = Recorder()
        self._ends = [
            node.taps.add_wire(self._recorder) for node in (self.node, network) if node is not None
        ]
        self._files: list[_TraceFile] = []
        if network is None:
            self._files = [_TraceFile(path) for path in trace_files(contents)]
        self.clients: list[Client] = []
        self.records: list[WireRecord] = []

    @property
    def complete(self) -> bool:
        """Tell whether the ladders show more than the phones' own view."""
        return bool(self._files) or len(self._ends) > 1

    def person(self, name: str) -> Subscriber:
        """Return somebody.

        Raises:
            UsageError: nobody is called so.
        """
        if name not in self.people:
            raise UsageError(f"nobody is called {name}; there are: {', '.join(self.people)}")
        return self.people[name]

    def phone(self, who: str, **named: Any) -> Client:
        """Return a new phone of somebody, switched off.

        Args:
            named: more for the :class:`~omaim.client.Client`.

        Raises:
            UsageError: nobody is called so.
        """
        person = self.person(who)
        settings: dict[str, Any] = {
            "password": person.password,
            "username": person.private_id,
            "listen": person.address,
            "name": who,
            "ca": person.ca,
            **named,
        }
        client = Client(person.aor, node=self.node, **settings)
        self.clients.append(client)
        return client

    def note_phones(self) -> None:
        """Tell the ladder where the phones are that are switched on."""
        for client in self.clients:
            for listener in client.endpoint.listeners:
                name = client.endpoint.name
                place = Place(name, "client", listener.host, listener.port, client.domain)
                self.directory.note(place)

    def wait(self, seconds: float) -> Deferred[None]:
        """Return a Deferred that fires after a time."""
        done: Deferred[None] = Deferred()
        self.clock.callLater(seconds, done.callback, None)
        return done

    async def until(self, holds: Callable[[], object], seconds: float = 5.0) -> bool:
        """Wait until something holds; tell whether it did in time."""
        end = self.clock.seconds() + seconds
        while not holds():
            if self.clock.seconds() >= end:
                return False
            await self.wait(0.02)
        return True

    async def settle(self) -> list[WireRecord]:
        """Wait until the wire is quiet; return what was seen since the last time."""
        found: list[WireRecord] = []
        end = self.clock.seconds() + RESTLESS
        while self.clock.seconds() < end:
            await self.wait(QUIET)
            news = self._take()
            found += news
            if not news:
                break
        found.sort(key=lambda record: record.time)
        self.records += found
        return found

    def ladder(self, records: list[WireRecord], order: tuple[str, ...] = ()) -> Ladder:
        """Return the ladder of some records, parties in the order of ``order``."""
        self.note_phones()
        sessions = name_sessions(self.records, self.directory)
        found = climb(records, self.directory, sessions=sessions)
        there = {party.name for party in found.parties}
        chosen = [name for name in order if name in there]
        found = climb(records, self.directory, order=chosen, sessions=sessions) if chosen else found
        steps = tuple(step for step in found.steps if step.summary.title != "keep-alive")
        return attrs.evolve(found, steps=steps)

    def _take(self) -> list[WireRecord]:
        found = self._recorder.take()
        for file in self._files:
            found += file.take(self.directory)
        return found

    async def close(self) -> None:
        """Switch all phones off."""
        await DeferredList(
            [Deferred.fromCoroutine(client.close()) for client in self.clients],
            consumeErrors=True,
        )
        for end in self._ends:
            end()
        self._ends.clear()
        await self.node.stopService()


def trace_files(contents: Mapping[str, Any]) -> list[Path]:
    """Return the trace files that the processes of a topology write."""
    shared = contents.get("node", {}).get("trace", "")
    found = []
    for entity in contents.get("entities", {}).values():
        path = entity.get("node", {}).get("trace", shared)
        if path:
            found.append(Path(path))
    return list(dict.fromkeys(found))
