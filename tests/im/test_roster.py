"""Who is in a room, as watchers are told (RFC 4575 §4, §5)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.conference_info import (
    DELETED,
    Activity,
    ConferenceInfo,
    Description,
    Endpoint,
    User,
    parse_conference,
    write_conference,
)
from omaim.bodies.conference_state import APPLIED, ENDED, ConferenceTable
from omaim.im.policy import Refusal
from omaim.im.room_outputs import Invitee
from omaim.im.room_rules import Rights, Rules
from omaim.im.roster import Roster, RosterWatch, is_connected
from tests.im.rooms import ALICE, BOB, CAROL, DAVE, ROOM, Hall


class Mirror:
    """What a subscriber makes of the documents it gets (RFC 4575 §4.6)."""

    def __init__(self) -> None:
        self.table = ConferenceTable()
        self.version = 0
        self.state = ""

    @property
    def users(self) -> set[User]:
        return set(self.table.users.values())

    @property
    def count(self) -> int | None:
        info = self.table.info
        return None if info is None or info.activity is None else info.activity.user_count

    def hear(self, info: ConferenceInfo) -> None:
        assert info.version == self.version + 1, "a gap"
        self.version, self.state = info.version, info.state
        for one in info.users:
            if one.state == DELETED:
                assert one.entity in self.table.users, "told of who was never there"
        written = parse_conference(write_conference(info))
        assert self.table.apply(written) == (ENDED if info.state == DELETED else APPLIED)


def user(entity: str, status: str = "connected", nickname: str = "") -> User:
    return User(entity, "", nickname, endpoints=(Endpoint(entity + ";d", status),))


def gone(info: ConferenceInfo) -> list[str]:
    return [one.entity for one in info.users if one.state == DELETED]


class RosterTests(SynchronousTestCase):
    def test_full_then_partial(self) -> None:
        """The first report is full, then what has changed with version + 1 (§4.4, §4.6)."""
        roster = Roster(ROOM, "Our room", 10)
        roster.put(user(ALICE))
        watch = roster.watch()
        first = watch.next()
        assert first is not None
        self.assertEqual((first.state, first.version, first.entity), ("full", 1, ROOM))
        self.assertEqual(first.description, Description(subject="Our room", maximum_user_count=10))
        self.assertEqual(first.activity, Activity(1, True, False))
        self.assertIsNone(watch.next())
        roster.put(user(BOB))
        roster.put(user(BOB, nickname="Bobby"))
        roster.remove(ALICE)
        second = watch.next()
        assert second is not None
        self.assertEqual((second.state, second.version), ("partial", 2))
        self.assertEqual([one.nickname for one in second.users], ["Bobby", ""])
        self.assertEqual(gone(second), [ALICE])
        self.assertEqual(watch.full().version, 3)
        self.assertEqual(watch.full().state, "full")

    def test_nothing_changes(self) -> None:
        """What is put as it was is no change."""
        roster = Roster(ROOM)
        roster.put(user(ALICE))
        watch = roster.watch()
        watch.next()
        roster.put(user(ALICE))
        roster.remove(BOB)
        self.assertFalse(watch.is_behind)

    def test_came_and_went(self) -> None:
        """Who came and went between two reports is not told of as gone."""
        roster = Roster(ROOM)
        watch = roster.watch()
        watch.next()
        roster.put(user(ALICE))
        roster.remove(ALICE)
        report = watch.next()
        assert report is not None
        self.assertEqual((report.users, report.users_state, report.version), ((), None, 2))

    def test_gone_once(self) -> None:
        """Who was told of as gone, and came and went again unseen, is not told of again."""
        roster = Roster(ROOM)
        roster.put(user(ALICE))
        watch = roster.watch()
        watch.next()
        for expected in ([ALICE], []):
            roster.put(user(ALICE, nickname="x"))
            roster.remove(ALICE)
            report = watch.next()
            assert report is not None
            self.assertEqual(gone(report), expected)

    def test_over(self) -> None:
        """When the room ends the last report says so (§4.6)."""
        roster = Roster(ROOM)
        roster.put(user(ALICE))
        watch = roster.watch()
        watch.next()
        roster.over()
        report = watch.next()
        assert report is not None
        self.assertEqual((report.state, report.users), ("deleted", ()))

    def test_traces_are_few(self) -> None:
        """Who has gone is not remembered for ever; who is too far behind gets all again."""
        roster = Roster(ROOM)
        slow, quick = roster.watch(), roster.watch()
        slow.next()
        for number in range(5000):
            roster.put(user(f"sip:{number}@x"))
            roster.remove(f"sip:{number}@x")
            quick.next()
        self.assertLess(len(roster._changed), 1100)
        report = slow.next()
        assert report is not None
        self.assertEqual((report.state, report.version), ("full", 2))
        slow.close()
        quick.close()

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["put", "remove", "hear", "full", "watch"]),
                st.integers(0, 4),
                st.sampled_from(["", "x", "y"]),
            ),
            max_size=60,
        )
    )
    def test_mirrors(self, steps: list[tuple[str, int, str]]) -> None:
        """However often each is told, every watcher sees the roster, without a gap (§4.6)."""
        roster = Roster(ROOM)
        watches: list[tuple[RosterWatch, Mirror]] = []
        for step, number, nickname in steps:
            entity = f"sip:{number}@x"
            if step == "put":
                status = "connected" if nickname else "disconnected"
                roster.put(user(entity, status, nickname))
            elif step == "remove":
                roster.remove(entity)
            elif step == "watch":
                watches.append((roster.watch(), Mirror()))
            elif number < len(watches):
                watch, mirror = watches[number]
                report = watch.full() if step == "full" else watch.next()
                if report is not None:
                    mirror.hear(report)
        for watch, mirror in watches:
            report = watch.next()
            if report is not None:
                mirror.hear(report)
            self.assertEqual(mirror.users, set(roster.users()))
            self.assertEqual(mirror.count, sum(map(is_connected, roster.users())))


class RoomRosterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.hall = Hall(Rules(notices=False, linger=30.0), {DAVE: Rights(join=True)})
        self.alice = self.hall.join(ALICE)
        self.watch = self.hall.room.watch((ALICE,))
        self.watch.next()

    def news(self) -> dict[str, list[str]]:
        """Return who is new to the watcher, with what each device does."""
        report = self.watch.next()
        assert report is not None
        return {
            one.entity: [
                f"{device.status} {device.disconnection_method}".rstrip()
                for device in one.endpoints
            ]
            for one in report.users
        }

    def test_join_and_leave(self) -> None:
        """Who comes is connected; who goes is shown as gone for a while, with how (§5.7)."""
        bob = self.hall.join(BOB)
        self.assertEqual(self.news(), {BOB: ["connected"]})
        second = self.hall.join(BOB)
        self.assertEqual(self.news(), {BOB: ["connected", "connected"]})
        self.hall.room.leave(bob, 1000.0)
        self.assertEqual(self.news(), {BOB: ["connected"]})
        self.hall.room.leave(second, 1000.0, "failed")
        self.assertEqual(self.news(), {BOB: ["disconnected failed"]})
        self.assertEqual(self.hall.room.deadline, 1030.0)
        self.hall.room.wake(1029.0)
        self.assertFalse(self.watch.is_behind)
        self.hall.room.wake(1030.0)
        self.assertEqual(self.news(), {BOB: []})

    def test_back_in_time(self) -> None:
        """Who comes back is not struck off."""
        self.hall.room.leave(self.hall.join(BOB), 1000.0)
        self.hall.join(BOB)
        self.hall.room.wake(1030.0)
        self.assertEqual(self.news(), {BOB: ["connected"]})

    def test_invited(self) -> None:
        """Who is invited is shown, and what became of it; a hidden invitation is not (§5.7.3)."""
        room = self.hall.room
        room.invite(ALICE, [Invitee(BOB), Invitee(CAROL, hidden=True)], 1000.0)
        self.assertEqual(self.news(), {BOB: ["dialing-out"]})
        room.failed(BOB, "busy", 1000.0)
        room.failed(CAROL, "busy", 1000.0)
        self.assertEqual(self.news(), {BOB: ["disconnected busy"]})
        self.assertEqual(room.roster.count, 1)
        room.wake(1030.0)
        self.assertEqual(self.news(), {BOB: []})

    def test_invited_comes_anonymously(self) -> None:
        """Who answers an invitation anonymously is not known by the invitation's end."""
        room = self.hall.room
        room.invite(ALICE, [Invitee(BOB)], 1000.0)
        self.news()
        bob = self.hall.join(BOB, hidden=True, method="dialed-out")
        self.assertEqual(self.news(), {bob.person.shown: ["connected"]})
        room.wake(1030.0)
        self.assertEqual(self.news(), {BOB: []})

    def test_nickname(self) -> None:
        """The nickname of a participant is in the roster (RFC 7701 §7.4)."""
        self.hall.room.nickname(self.alice, "Al", 1000.0)
        report = self.watch.next()
        assert report is not None
        self.assertEqual([one.nickname for one in report.users], ["Al"])

    def test_anonymous(self) -> None:
        """Of who is anonymous there is the anonymous address, and nothing else (§5.6)."""
        self.hall.join(BOB, hidden=True, device="<sip:bob@10.0.0.1>")
        text = repr(self.watch.next())
        self.assertIn("anonymous1@anonymous.invalid", text)
        self.assertNotIn("bob", text.lower())
        self.assertNotIn("10.0.0.1", text)

    def test_may_not_see(self) -> None:
        """Who has no right to see who is there gets nothing (OMA: allow-conference-state)."""
        error = self.assertRaises(Refusal, self.hall.room.watch, (DAVE,))
        self.assertEqual(error.status, 403)
