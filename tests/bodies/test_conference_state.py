"""omaim/bodies/conference_state.py: RFC 4575 §4."""

from __future__ import annotations

from itertools import pairwise

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.conference_info import (
    CONNECTED,
    DELETED,
    DISCONNECTED,
    FULL,
    PARTIAL,
    Activity,
    ConferenceInfo,
    Description,
    Endpoint,
    Host,
    Stream,
    User,
    parse_conference,
    write_conference,
)
from omaim.bodies.conference_state import (
    APPLIED,
    ENDED,
    MISSED,
    OLD,
    USERS,
    ConferenceTable,
    changes,
)
from tests.bodies.test_conference_info import conferences

ROOM = "sip:room@example.com"
AL = User("sip:al", "Al", endpoints=(Endpoint("e1", CONNECTED, media=(Stream("1", "message"),)),))
BO = User("sip:bo", "Bo")


def full(version: int, *users: User) -> ConferenceInfo:
    return ConferenceInfo(ROOM, version, description=Description(subject="Chat"), users=users)


def part(version: int, *users: User, **more: object) -> ConferenceInfo:
    made = ConferenceInfo(ROOM, version, PARTIAL, users=users, users_state=PARTIAL)
    return attrs.evolve(made, **more)  # type: ignore[arg-type]


class ChangeTests(SynchronousTestCase):
    @given(states=st.lists(conferences, min_size=1, max_size=4))
    def test_watcher_follows(self, states: list[ConferenceInfo]) -> None:
        """Whatever happens in a room, who applies each change knows its state (§4.6)."""
        table = ConferenceTable()
        states = [attrs.evolve(one, version=at) for at, one in enumerate(states, 1)]
        self.assertEqual(table.apply(states[0]), APPLIED)
        for before, after in pairwise(states):
            told = parse_conference(write_conference(changes(before, after)))
            self.assertEqual(table.apply(told), APPLIED)
        now = states[-1]
        self.assertEqual(table.users, {one.entity: one for one in now.users})
        self.assertEqual(table.info, attrs.evolve(now, users=()))

    def test_small(self) -> None:
        """Only what changed is told: who left as deleted, who changed in full."""
        again = attrs.evolve(AL, nickname="A")
        told = changes(full(1, AL, BO), full(2, again))
        self.assertEqual(told, part(2, again, User("sip:bo", state=DELETED)))
        nothing = changes(full(1, AL), full(2, AL))
        self.assertEqual(nothing, ConferenceInfo(ROOM, 2, PARTIAL, users_state=None))

    def test_not_tellable(self) -> None:
        """A part that has gone is told by a full document."""
        before = attrs.evolve(full(1), host=Host("x"))
        self.assertEqual(changes(before, full(2)), full(2))


class TableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = ConferenceTable()

    def test_order(self) -> None:
        """Late ones are dropped, a gap asks for a refresh, the full one repairs it (§4.6)."""
        for document, expected, names in (
            (part(1, AL), MISSED, []),
            (full(3, AL), APPLIED, ["sip:al"]),
            (full(3), OLD, ["sip:al"]),
            (part(2, BO), OLD, ["sip:al"]),
            (part(4, BO), APPLIED, ["sip:al", "sip:bo"]),
            (part(6, User("sip:al", state=DELETED)), MISSED, ["sip:al", "sip:bo"]),
            (part(7, User("sip:bo", state=DELETED)), MISSED, ["sip:al", "sip:bo"]),
            (full(7, BO), APPLIED, ["sip:bo"]),
            (part(8, User("sip:bo", state=DELETED)), APPLIED, []),
            (part(9, AL, users_state=FULL), APPLIED, ["sip:al"]),
            (part(10, users_state=DELETED), APPLIED, []),
            (ConferenceInfo(ROOM, 11, DELETED), ENDED, []),
        ):
            self.assertEqual(self.table.apply(document), expected, document)
            self.assertEqual(list(self.table.users), names, document)

    def test_merging(self) -> None:
        """Parts of a user and of an endpoint replace only what they name (§4.6, 3.1 to 3.3)."""
        self.table.apply(full(1, AL, BO))
        second = Endpoint("e2", CONNECTED)
        self.table.apply(part(2, User("sip:al", endpoints=(second,), state=PARTIAL)))
        quiet = Endpoint("e1", DISCONNECTED, media=(Stream("2", "audio"),), state=PARTIAL)
        news = User("sip:al", nickname="A", endpoints=(quiet,), state=PARTIAL)
        self.table.apply(part(3, news, User("sip:new", "New", state=PARTIAL)))
        media = (Stream("1", "message"), Stream("2", "audio"))
        self.assertEqual(
            self.table.users["sip:al"],
            User(
                "sip:al",
                "Al",
                "A",
                endpoints=(Endpoint("e1", DISCONNECTED, media=media), second),
            ),
        )
        self.assertEqual(self.table.users["sip:new"], User("sip:new", "New"))
        gone = Endpoint("e2", state=DELETED)
        self.table.apply(part(4, User("sip:al", endpoints=(gone,), state=PARTIAL)))
        self.assertEqual([one.entity for one in self.table.users["sip:al"].endpoints], ["e1"])
        self.table.apply(part(5, User("sip:al")))
        self.assertEqual(self.table.users["sip:al"], User("sip:al"))

    def test_parts(self) -> None:
        """What a part does not mention stays."""
        self.table.apply(full(1, AL))
        self.table.apply(part(2, users_state=None, activity=Activity(5), host=Host("h")))
        assert self.table.info is not None
        self.assertEqual(self.table.info.description, Description(subject="Chat"))
        self.assertEqual(self.table.info.activity, Activity(5))
        self.assertEqual((self.table.info.version, self.table.info.state), (2, FULL))
        self.assertEqual(list(self.table.users), ["sip:al"])

    def test_bounded(self) -> None:
        """A focus cannot fill the memory of its watchers."""
        self.table.apply(full(1, *(User(f"sip:{n}") for n in range(USERS + 5))))
        self.assertEqual(len(self.table.users), USERS)
        self.table.apply(part(2, BO))
        self.assertNotIn("sip:bo", self.table.users)
