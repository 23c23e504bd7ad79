"""Devices that go on by another connection, and those that have to go."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from omaim.im.room_rules import Rules
from omaim.im.unsent import DEVICES, PATIENCE, Unsent
from omaim.msrp import OPEN, Outgoing
from omaim.roles.negotiation import RETIRING
from tests.im.halls import Hall, HallGuest
from tests.im.rooms import ALICE, AWARE, BOB
from tests.im.rooms import Hall as PlainHall
from tests.msrp.support import World

SAID = 120
RULES = Rules(notices=False, mark=50_000_000, queue=60_000_000, grace=1000.0)


class MovingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.hall = Hall(RULES)
        self.alice, self.bob = HallGuest(self.hall, 0), HallGuest(self.hall, 1)
        self.alice.come()
        self.bob.come()
        self.hall.clock.advance(1.0)

    def speak(self, sizes: tuple[int, ...] = (20_000,)) -> None:
        """Let Bob's device hang, and Alice say much meanwhile."""
        self.statuses: list[int] = []
        self.bob.session.pause()
        for number in range(SAID):
            size = sizes[number % len(sizes)]
            self.alice.say(f"#{number}#", size, self.statuses.append)
        self.hall.clock.advance(5.0)
        self.assertEqual(self.statuses, [200] * SAID)
        self.assertEqual(self.bob.heard, [])

    def all_the_last(self, names: list[str]) -> None:
        """Check that this is what waited: all that was said last."""
        self.assertGreater(len(names), 10)
        self.assertEqual(names, [f"#{one}#" for one in range(SAID - len(names), SAID)])

    def names(self, *stays: HallGuest) -> list[str]:
        return [name for stay in stays for _, name in stay.heard]

    def test_comes_back(self) -> None:
        """What waited for the older session of a device goes to the new one, and what was on its
        way still arrives: each once, in order."""
        self.speak()
        again = HallGuest(self.hall, 1)
        again.come()
        self.hall.clock.advance(1.0)
        self.assertEqual(again.session.state, OPEN)
        late = self.names(again)
        self.assertGreater(len(late), 10)
        self.bob.session.resume()
        self.hall.clock.advance(5.0)
        self.assertEqual(self.names(self.bob, again), [f"#{one}#" for one in range(SAID)])
        self.assertEqual(self.names(again), late)
        self.assertTrue(self.bob.invitation.call.over)
        self.alice.say("#more#", 0, self.statuses.append)
        self.hall.clock.advance(1.0)
        self.assertEqual(self.names(again)[-1], "#more#")

    def test_older_one_is_dead(self) -> None:
        """An older session that takes nothing any more holds nobody up."""
        self.speak()
        again = HallGuest(self.hall, 1)
        again.come()
        self.hall.clock.advance(10.0)
        self.all_the_last(self.names(again))
        self.assertTrue(self.bob.invitation.call.over)
        self.assertEqual(len(self.hall.msrp.sessions), 2)

    def test_new_offer(self) -> None:
        """A re-INVITE to another connection loses nothing of what waited (RFC 4975 §5.4)."""
        self.speak()
        self.bob.move()
        self.hall.clock.advance(1.0)
        self.all_the_last(self.names(self.bob))
        self.hall.clock.advance(RETIRING)
        self.assertEqual(len(self.hall.msrp.sessions), 2)
        self.assertEqual(self.hall.conference.room.count, 2)

    def test_under_way(self) -> None:
        """A message that is still coming in goes on by the new session, from where it was."""
        out = self.alice.session.send(Outgoing("message/cpim", size=-1, on_end=lambda status: None))
        head = f"From: <{self.alice.aor}>\r\nTo: <sip:room.hall@north.example>\r\n\r\n"
        head += "Content-Type: text/plain\r\n\r\n#0#"
        out.write(head.encode() + b"x" * 100_000)
        self.hall.clock.advance(1.0)
        self.bob.session.pause()
        out.write(b"x" * 1_000_000)
        self.hall.clock.advance(1.0)
        (post,) = self.hall.conference.room._floor._posts
        again = HallGuest(self.hall, 1)
        again.come()
        self.assertEqual([one.person.aor for one in post._targets], [again.aor])
        out.write(b"x" * 1000)
        out.finish()
        self.hall.clock.advance(1.0)
        (piece,) = again.user.seen
        (first,) = self.bob.user.seen
        self.assertEqual(piece.message_id, first.message_id)
        self.assertEqual(again.heard, [])  # its first part is with the older session
        self.assertTrue(post.complete)

    def test_lost(self) -> None:
        """A device whose connection was lost gets what it had not when it comes back; what was
        said meanwhile was said to others (RFC 7701 §6)."""
        self.speak()
        self.bob.die()
        self.hall.clock.advance(1.0)
        self.assertEqual(self.hall.conference.room.count, 1)
        self.assertEqual(len(self.hall.conference.unsent), 1)
        self.alice.say("#meanwhile#", 0, self.statuses.append)
        self.hall.clock.advance(1.0)
        again = HallGuest(self.hall, 1)
        again.come()
        self.alice.say("#after#", 0, self.statuses.append)
        self.hall.clock.advance(5.0)
        late = self.names(again)
        self.assertEqual(late.pop(), "#after#")
        self.all_the_last(late)

    def test_lost_for_good(self) -> None:
        """Nothing is kept for ever for who does not come back."""
        self.speak()
        self.bob.die()
        self.hall.clock.advance(PATIENCE + 1.0)
        self.assertEqual(len(self.hall.conference.unsent), 0)

    def test_replaces(self) -> None:
        """Another device of the same person takes the place of one (RFC 3891 §3)."""
        self.speak()
        room = self.hall.conference.room
        call = self.bob.invitation.call
        other = HallGuest(self.hall, 1, "other")
        other.invitation.replaces = call
        other.come()
        self.hall.clock.advance(5.0)
        self.assertTrue(call.over)
        self.assertEqual((room.count, len(room.members)), (2, 2))
        self.all_the_last(self.names(other))


class FarewellTests(SynchronousTestCase):
    def test_notice_before_bye(self) -> None:
        """The notice that a room closes has arrived when the BYE comes (RFC 7701 §5.3)."""
        hall = Hall(Rules())
        guests = [HallGuest(hall, number) for number in range(3)]
        heard: list[tuple[int, bool]] = []
        for guest in guests:
            guest.come()
            guest.invitation.call.on_hung_up = lambda one=guest: heard.append(
                (one.number, "closed" in (one.heard or [("", "")])[-1][1])
            )
        hall.clock.advance(1.0)
        hall.conference.end("the time is over")
        self.assertEqual(heard, [])
        hall.clock.advance(0.5)
        self.assertEqual(sorted(heard), [(number, True) for number in range(3)])
        self.assertTrue(hall.over)
        self.assertEqual(len(hall.msrp.sessions), 0)

    def test_late_words(self) -> None:
        """What is said to a room that is closing is refused with 403, and not with 481."""
        hall = Hall(Rules())
        alice, bob = HallGuest(hall, 0), HallGuest(hall, 1)
        alice.come()
        bob.come()
        hall.clock.advance(1.0)
        statuses: list[int] = []
        hall.conference.end("the time is over")
        alice.say("wait", 0, statuses.append)
        hall.clock.advance(0.5)
        self.assertEqual(statuses, [403])
        self.assertTrue(alice.invitation.call.over)

    def test_bounded(self) -> None:
        """Who does not take the notice is hung up on after a while."""
        hall = Hall(Rules())
        alice, bob = HallGuest(hall, 0), HallGuest(hall, 1)
        alice.come()
        bob.come()
        hall.clock.advance(1.0)
        bob.session.pause()
        hall.conference.end("the time is over")
        hall.clock.advance(2.0)
        self.assertEqual((alice.invitation.call.over, bob.invitation.call.over), (True, False))
        hall.clock.advance(2.0)
        self.assertTrue(bob.invitation.call.over)
        self.assertEqual(len(hall.msrp.sessions), 0)


class UnsentTests(SynchronousTestCase):
    def test_limits(self) -> None:
        """What is kept for the lost has limits: devices, octets, time; the oldest goes first."""
        means = World().near.means
        unsent = Unsent(means, 10_000)
        room = PlainHall()
        room.join(BOB)

        def lose(number: int, size: int, device: str = "") -> None:
            applicant = room.applicant(ALICE, offers=AWARE, device=device or f"d{number}")
            member = room.room.join(applicant, room.now)
            room.room.leave(member, room.now)
            heir = unsent.heir()
            if size:
                heir.send(Outgoing("text/plain", b"x" * size))
            unsent.keep(member, heir, float(number))

        lose(0, 0)
        self.assertEqual((len(unsent), unsent.deadline), (0, None))
        for number in range(3):
            lose(number, 4000)
        self.assertEqual(len(unsent), 2)
        self.assertIsNone(unsent.take(ALICE, False, "d0"))
        left = unsent.take(ALICE, False, "d1")
        assert left is not None
        self.assertEqual(left.pending, 4000)
        for number in range(3, 2 * DEVICES):
            lose(number, 1)
        self.assertLessEqual(len(unsent), DEVICES)
        unsent.wake(2 * DEVICES + PATIENCE)
        self.assertEqual(len(unsent), 0)
