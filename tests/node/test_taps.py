"""omaim/node/taps.py, events.py and directory.py: who looks, and at what."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.net.wire import WireRecord
from omaim.node import events
from omaim.node.directory import Directory, Place
from omaim.node.events import (
    MessageDelivered,
    ServiceEvent,
    UserRegistered,
    from_json,
    to_json,
)
from omaim.node.taps import Taps
from tests.features.ladders import sent

REGISTERED = UserRegistered(at=1.0, entity="core", aor="sip:a@b", contacts=("sip:x",), initial=True)
DELIVERED = MessageDelivered(
    at=2.0, entity="im", message_id="m", sender="sip:a@b", recipient="sip:c@d", deferred=False
)


class TapsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.taps = Taps()
        self.heard: list[object] = []

    def test_events(self) -> None:
        """A tap hears its kind and what is a kind of that, until it is taken away."""
        end = self.taps.add(ServiceEvent, self.heard.append)
        self.taps.add(UserRegistered, lambda event: self.heard.append(event.aor))
        self.taps.publish(REGISTERED)
        self.taps.publish(DELIVERED)
        self.assertEqual(self.heard, ["sip:a@b", REGISTERED, DELIVERED])
        end()
        self.taps.publish(DELIVERED)
        self.assertEqual(len(self.heard), 3)

    def test_wire(self) -> None:
        """The sockets' slot is filled while somebody looks, and only then."""
        slots: list[object] = []
        self.taps.on_wire_change(lambda: slots.append(self.taps.record))
        self.assertIsNone(self.taps.record)
        end = self.taps.add_wire(self.heard.append)
        record = sent(0.0, "alice", "bob", b"x")
        look = self.taps.record
        assert look is not None
        look(record)
        self.assertEqual(self.heard, [record])
        end()
        self.assertIsNone(self.taps.record)
        self.assertEqual(slots, [look, None])

    def test_crash(self) -> None:
        """What a tap raises is logged and counted; the others hear all the same."""

        def broken(value: object) -> None:
            raise RuntimeError("oops")

        self.taps.add(UserRegistered, broken)
        self.taps.add(UserRegistered, self.heard.append)
        self.taps.add_wire(broken)
        self.taps.publish(REGISTERED)
        record: WireRecord = sent(0.0, "alice", "bob", b"x")
        look = self.taps.record
        assert look is not None
        look(record)
        self.assertEqual(self.heard, [REGISTERED])
        self.assertEqual(self.taps.failures, 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)


KINDS = [
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, ServiceEvent) and kind is not ServiceEvent
]
VALUES = {
    "str": st.text(max_size=10),
    "int": st.integers(0, 2**40),
    "float": st.floats(0, 1e10),
    "bool": st.booleans(),
    "tuple[str, ...]": st.lists(st.text(max_size=5), max_size=3).map(tuple),
}
some_events = st.sampled_from(KINDS).flatmap(
    lambda kind: st.builds(
        kind, **{field.name: VALUES[str(field.type)] for field in attrs.fields(kind)}
    )
)


class EventsTests(SynchronousTestCase):
    @given(event=some_events)
    def test_write_then_read(self, event: ServiceEvent) -> None:
        """An event comes back from its written form as it was."""
        self.assertEqual(from_json(*to_json(event)), event)

    def test_unknown(self) -> None:
        """A kind of which no class is loaded is said so."""
        self.assertRaises(UsageError, from_json, "NoSuchEvent", "{}")


CORE = Place("core", "core", "127.0.1.1", 5060, "north.example")
PHONE = Place("alice", "client", "127.0.0.1", 40000)


class DirectoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Directory()
        self.directory.note(CORE)
        self.directory.note(PHONE)

    def test_find(self) -> None:
        """An exact address, or any port of a host where only one entity is."""
        self.assertEqual(self.directory.find("127.0.1.1", 5060), CORE)
        self.assertEqual(self.directory.find("127.0.1.1", 33333), CORE)
        self.assertIsNone(self.directory.find("127.0.9.9", 5060))

    def test_shared_host(self) -> None:
        """Of a host with two entities, only the exact port tells who it is."""
        self.directory.note(Place("bob", "client", "127.0.0.1", 40001))
        self.assertIsNone(self.directory.find("127.0.0.1", 50000))
        self.assertEqual(self.directory.find("127.0.0.1", 40000), PHONE)

    def test_last_word(self) -> None:
        """The last word about an address counts."""
        other = attrs.evolve(PHONE, name="carol")
        self.directory.note(other)
        self.assertEqual(self.directory.places(), (CORE, other))

    def test_watch(self) -> None:
        """Who watches hears of all places, each once."""
        heard: list[Place] = []
        self.directory.watch(heard.append)
        self.directory.note(CORE)
        later = attrs.evolve(PHONE, port=40001)
        self.directory.note(later)
        self.assertEqual(heard, [CORE, PHONE, later])
