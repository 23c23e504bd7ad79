"""omaim/features/ladder.py: what was seen becomes who spoke to whom."""

from itertools import pairwise

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.features.ladder import (
    Party,
    Point,
    Recorder,
    climb,
    name_clients,
)
from omaim.net.wire import IN, OUT, WireRecord
from omaim.node.directory import Directory
from tests.features import sessions
from tests.features.ladders import (
    ADDRESS,
    PLACES,
    WALK,
    both,
    directory,
    got,
    records,
    request,
    response,
    sent,
    walk,
)


class ClimbTests(SynchronousTestCase):
    def test_walk(self) -> None:
        """Both sightings of a message are one step, with its reference point."""
        ladder = climb(reversed(walk()), directory())
        names = [(step.source.name, step.target.name) for step in ladder.steps]
        there = list(pairwise(WALK))
        self.assertEqual(names, there + [(b, a) for a, b in reversed(there)])
        points = ["IM-1", "IM-2", "IM-2", "IP-1", "IM-2", "IM-2", "IM-1"]
        self.assertEqual([step.point for step in ladder.steps], points + points[::-1])
        self.assertFalse(any(step.lost or step.again for step in ladder.steps))

    def test_columns(self) -> None:
        """The first domain's clients, its servers, the other servers, the other clients."""
        ladder = climb(walk(), directory())
        self.assertEqual(
            [party.name for party in ladder.parties],
            ["alice", "core-north", "im-north", "core-south", "im-south", "bob"],
        )
        ladder = climb(walk(), directory(), order=["bob", "nobody"])
        self.assertEqual([party.name for party in ladder.parties[:3]], ["bob", "nobody", "alice"])

    def test_one_side(self) -> None:
        """Who does not record is named by the directory, or by address."""
        ladder = climb([sent(1.0, "core-north", "bob", request())], directory())
        (step,) = ladder.steps
        self.assertEqual((step.target.name, step.point, step.lost), ("bob", "IM-1", False))
        ladder = climb([got(1.0, "bob", "core-north", request())], Directory())
        (step,) = ladder.steps
        self.assertEqual(step.source, Party("127.0.2.1:5062"))
        self.assertEqual((step.target, step.point), (Party("core-north"), ""))

    def test_lost_and_again(self) -> None:
        """A datagram that its receiver did not see is lost; its repetition is marked."""
        data = request()
        seen = [sent(0.0, "alice", "core-north", data), *both(0.5, "alice", "core-north", data)]
        first, second = climb(seen, directory()).steps
        self.assertEqual((first.time, first.lost, first.again), (0.0, True, False))
        self.assertEqual((second.time, second.lost, second.again), (0.5, False, True))

    def test_listening_anywhere(self) -> None:
        """A socket bound to all addresses is known by what its peer sees."""
        data = request()
        out = WireRecord(0.0, "alice", OUT, "SIP", "UDP", ("0.0.0.0", 5062), ADDRESS["bob"], data)
        into = WireRecord(0.1, "bob", IN, "SIP", "UDP", ("::", 5062), ADDRESS["alice"], data)
        (step,) = climb([out, into], directory()).steps
        self.assertEqual(step.source_address, ADDRESS["alice"])
        self.assertEqual(step.target_address, ADDRESS["bob"])

    def test_clocks_disagree(self) -> None:
        """A receiver whose clock is a little behind still saw the same message."""
        data = request()
        seen = [got(0.0, "alice", "core-north", data), sent(0.3, "alice", "core-north", data)]
        self.assertEqual(len(climb(seen, directory()).steps), 1)

    def test_alike_elsewhere(self) -> None:
        """The same octets between others are another message."""
        data = response()
        seen = [sent(0.0, "alice", "core-north", data), got(0.1, "bob", "im-south", data)]
        self.assertEqual(len(climb(seen, directory()).steps), 2)

    def test_msrp(self) -> None:
        """A frame is known by its transaction: its receiver may have seen less of it, in other
        pieces; an answer says what it answers."""
        frame = sessions.send(b"x" * 3000, "chunk1", "1-*/9000", "+")
        out, into = (one(0.0, "alice", "im-north", frame) for one in (sessions.out, sessions.into))
        back = sessions.both(2.0, "im-north", "alice", sessions.answer("chunk1"))
        seen = [*sessions.pieces(out, [500, 900]), *sessions.pieces(into, [700])[:1], *back]
        first, second = climb(seen, sessions.directory()).steps
        self.assertEqual((first.data, first.lost), (frame, False))
        self.assertEqual(str(second.summary), "200 OK (SEND)")
        (alone,) = climb(back, sessions.directory()).steps
        self.assertEqual(str(alone.summary), "200 OK (?)")

    def test_points_are_data(self) -> None:
        points = (Point("X-1", "SIP", frozenset({"client"})),)
        (step,) = climb([sent(0.0, "alice", "bob", request())], directory(), points).steps
        self.assertEqual(step.point, "X-1")

    def test_within_a_domain(self) -> None:
        """IP-1 lies between two domains only."""
        points = (Point("IP-1", "SIP", frozenset({"client"}), across=True),)
        seen = [sent(0.0, "alice", "alice", request()), sent(0.1, "alice", "bob", request())]
        steps = climb(seen, directory(), points).steps
        self.assertEqual([step.point for step in steps], ["", "IP-1"])

    @given(seen=st.lists(records, max_size=12))
    def test_nothing_is_lost_or_doubled(self, seen: list[WireRecord]) -> None:
        """Every sighting is in one step; a step joins one of each direction at most."""
        ladder = climb(seen, directory())
        outs = sum(1 for one in seen if one.direction == OUT)
        ins = len(seen) - outs
        self.assertLessEqual(max(outs, ins), len(ladder.steps))
        self.assertLessEqual(len(ladder.steps), len(seen))
        self.assertEqual({one.data for one in seen}, {step.data for step in ladder.steps})
        self.assertLessEqual(
            {step.source for step in ladder.steps} | {step.target for step in ladder.steps},
            set(ladder.parties),
        )
        self.assertEqual(list(ladder.steps), sorted(ladder.steps, key=lambda step: step.time))


class RecorderTests(SynchronousTestCase):
    def test_bounded(self) -> None:
        """Only the last records are kept, and taken once."""
        recorder = Recorder(2)
        for number in range(5):
            recorder(sent(number, "alice", "bob", request(number)))
        self.assertEqual(len(recorder), 2)
        self.assertEqual([record.time for record in recorder.take()], [3, 4])
        self.assertEqual(recorder.take(), [])

    def test_octets(self) -> None:
        """A file that passes does not fill the memory."""
        recorder = Recorder(octets=100)
        for number in range(5):
            recorder(attrs.evolve(sent(number, "alice", "bob", b""), data=b"x" * 40))
        self.assertEqual([record.time for record in recorder.take()], [3, 4])
        recorder(sent(9, "alice", "bob", b"x" * 60))
        recorder(sent(9, "alice", "bob", b"x" * 40))
        self.assertEqual(len(recorder), 2)


class NameClientsTests(SynchronousTestCase):
    """Phones that nobody announced."""

    def setUp(self) -> None:
        self.directory = Directory()
        for place in PLACES:
            if place.role != "client":
                self.directory.note(place)

    def test_named(self) -> None:
        """A client is called by the user for whom it asks its core."""
        seen = both(0.0, "alice", "core-north", request())
        name_clients(seen, self.directory)
        (step,) = climb(seen, self.directory).steps
        self.assertEqual((step.point, step.source.role), ("IM-1", "client"))
        place = self.directory.find(*ADDRESS["alice"])
        assert place is not None
        self.assertEqual((place.name, place.domain), ("alice", "north.example"))

    def test_not_named(self) -> None:
        """What came through others, answers and junk name nobody; servers keep their names."""
        through = request().replace(b"Max-Forwards", b"Via: SIP/2.0/UDP a\r\nMax-Forwards")
        for data in (through, response(), b"junk", b"\r\n\r\n"):
            name_clients([got(0.0, "alice", "core-north", data)], self.directory)
            self.assertIsNone(self.directory.find(*ADDRESS["alice"]))
        before = self.directory.places()
        name_clients([got(0.0, "im-north", "core-north", request())], self.directory)
        self.assertEqual(self.directory.places(), before)

    def test_two_on_a_host(self) -> None:
        """Two phones behind one address are told apart by their ports."""
        one = got(0.0, "alice", "core-north", request())
        data = request().replace(b"<sip:alice@", b"<sip:carol@")
        two = attrs.evolve(one, remote=(one.remote[0], 40000), data=data)
        name_clients([one, two], self.directory)
        names = [place.name for place in self.directory.places() if place.role == "client"]
        self.assertEqual(names, ["alice", "carol"])

    @given(seen=st.lists(records, max_size=5))
    def test_anything(self, seen: list[WireRecord]) -> None:
        """Whatever was recorded, nothing is raised."""
        name_clients(seen, directory())
