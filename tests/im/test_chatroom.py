"""Who comes into a room, who goes, and when it ends (RFC 7701 §5; RFC 4579; OMA SIMPLE IM)."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.conference_info import DEPARTED, DIALED_OUT
from omaim.errors import PeerError
from omaim.im.nicknames import Nicknames
from omaim.im.offers import Offers
from omaim.im.policy import Refusal
from omaim.im.room_outputs import Drop, Ended, Fact, Invite, Invitee, RosterChanged
from omaim.im.room_rules import (
    AD_HOC,
    GUEST,
    MEMBER,
    NONE,
    OWNER,
    PREDEFINED,
    Rights,
    Rules,
    combined,
)
from omaim.node.events import (
    NicknameChanged,
    RoomEnded,
    RoomInvited,
    RoomJoined,
    RoomLeft,
    RoomStarted,
)
from tests.im.rooms import ALICE, ALL, AWARE, BOB, CAROL, DAVE, ROOM, Hall, cpim, device

QUIET = Rules(notices=False)
ADHOC = Rules(kind=AD_HOC, least=2, notices=False)


class Rooms(SynchronousTestCase):
    def refused(self, hall: Hall, uri: str, status: int, **more: object) -> str:
        applicant = hall.applicant(uri, **more)  # type: ignore[arg-type]
        before = hall.room.count, len(hall.room.members)
        error = self.assertRaises(PeerError, hall.room.join, applicant, hall.now)
        self.assertEqual(error.status, status, error.why)
        self.assertEqual((hall.room.count, len(hall.room.members)), before)
        return str(error.why)


class JoinTests(Rooms):
    def test_first(self) -> None:
        """The first who comes in opens the room; each is told of to those who listen."""
        hall = Hall(QUIET)
        alice = hall.join(ALICE)
        self.assertEqual([type(one) for one in hall.out], [Fact, Fact, RosterChanged])
        started, joined = hall.facts()
        assert isinstance(started, RoomStarted)
        assert isinstance(joined, RoomJoined)
        self.assertEqual((started.kind, started.initiator, started.room), ("chat", ALICE, ROOM))
        self.assertEqual((joined.user, joined.shown, joined.method), (ALICE, ALICE, "dialed-in"))
        self.assertEqual((hall.room.count, alice.present), (1, True))

    def test_restricted(self) -> None:
        """Only those whom the group's rules let in come in (OMA: join-handling)."""
        hall = Hall(QUIET, {ALICE: MEMBER}, others=NONE)
        hall.join(ALICE)
        self.assertIn("119", self.refused(hall, BOB, 403))

    def test_unrestricted(self) -> None:
        """Everybody may come where the rules say so."""
        hall = Hall(QUIET, others=Rights(join=True))
        for one in (ALICE, BOB, CAROL):
            hall.join(one)
        self.assertEqual(hall.room.count, 3)

    def test_initiate(self) -> None:
        """A pre-defined group is started by some, then joined by others (OMA)."""
        hall = Hall(
            attrs.evolve(QUIET, kind=PREDEFINED), {ALICE: OWNER}, MEMBER, invitees=(ALICE, BOB)
        )
        self.refused(hall, BOB, 403)
        hall.join(ALICE)
        self.assertEqual(hall.invited(), [BOB])
        hall.join(CAROL)
        hall.join(BOB, method=DIALED_OUT)
        self.assertEqual(hall.room.pending, ())

    def test_cpim(self) -> None:
        """A session without message/cpim cannot be in a room: 488 (RFC 7701 §5.2)."""
        hall = Hall(QUIET)
        self.refused(hall, ALICE, 488, offers=Offers(("text/plain",)))
        for types in (("text/plain", "message/cpim"), ("*",), ("message/*",)):
            hall.join(ALICE, offers=Offers(types))
        member = hall.join(BOB)
        self.assertRaises(PeerError, hall.room.offer, member, Offers(("text/plain",)))
        self.assertEqual(member.offers, AWARE)

    def test_cap(self) -> None:
        """As many persons as may be, with any devices; then 486 (OMA: max-participant-count)."""
        hall = Hall(attrs.evolve(QUIET, most=2, linger=0.0))
        hall.join(ALICE)
        hall.join(ALICE)
        bob = hall.join(BOB)
        self.assertIn("102", self.refused(hall, CAROL, 486))
        hall.join(BOB)
        self.refused(hall, ALICE, 486, hidden=True)  # somebody else, to all others
        hall.room.leave(bob, hall.now)
        self.refused(hall, CAROL, 486)
        hall.room.leave(bob, hall.now)
        hall.room.leave(next(one for one in hall.room.members if one.person.aor == BOB), hall.now)
        hall.join(CAROL)

    def test_devices(self) -> None:
        """One person may be in with some devices (RFC 7701 §4.1, simultaneous access)."""
        hall = Hall(attrs.evolve(QUIET, devices=1))
        first = hall.join(ALICE, device="urn:uuid:1")
        self.refused(hall, ALICE, 486, device="urn:uuid:2")
        again = hall.join(ALICE, device="urn:uuid:1")  # that device has come back
        self.assertEqual((hall.dropped(), first.present, again.present), ([first], False, True))
        self.assertEqual(hall.room.count, 1)
        hall.room.leave(first, hall.now)  # its BYE comes late
        self.assertEqual(hall.room.count, 1)

    def test_identities(self) -> None:
        """Who comes under another of its addresses is the same person."""
        hall = Hall(attrs.evolve(QUIET, most=1))
        hall.join(ALICE, also=("tel:+15550100",))
        second = hall.join("tel:+15550100", also=(ALICE,))
        self.assertEqual(second.person.shown, ALICE)

    def test_anonymous(self) -> None:
        """Who may be anonymous gets an address of its own, which tells nothing (RFC 4575 §5.6)."""
        hall = Hall(QUIET, {BOB: Rights(join=True)})
        members = [hall.join(one, hidden=True) for one in (ALICE, CAROL, ALICE)]
        shown = [one.person.shown for one in members]
        self.assertEqual(shown[0], shown[2])  # two devices of one person
        self.assertEqual(len(set(shown)), 2)
        for one in shown:
            self.assertTrue(one.endswith("@anonymous.invalid"), one)
        self.assertIn("anonymous", self.refused(hall, BOB, 403, hidden=True))
        hall.room.leave(members[1], hall.now)
        self.assertNotIn(hall.join(CAROL, hidden=True).person.shown, shown)  # never again

    def test_nobody(self) -> None:
        """Nobody takes part openly under an address that conceals somebody."""
        hall = Hall(QUIET)
        for uri in ("sip:anonymous@anonymous.invalid", "sip:anonymous1@anonymous.invalid"):
            self.refused(hall, uri, 403)

    def test_ended(self) -> None:
        """A room that has ended stays so: 410 (RFC 3261 §21.4.11)."""
        hall = Hall(ADHOC)
        hall.room.end("because", hall.now)
        self.refused(hall, ALICE, 410)
        for call in (
            lambda: hall.room.invite(ALICE, [Invitee(BOB)], 0),
            lambda: hall.room.expel(ALICE, BOB, 0),
            lambda: hall.room.watch((ALICE,)),
        ):
            self.assertEqual(self.assertRaises(Refusal, call).status, 410)

    def test_unaware(self) -> None:
        """Who does not know chat rooms is told what this is, and who is here (§11)."""
        hall = Hall(Rules(), subject="Our room")
        alice = hall.join(ALICE)
        plain = hall.join(BOB, offers=Offers())
        self.assertEqual(device(alice).got, [])
        (message,) = device(plain).whole()
        self.assertEqual(message.value("From"), f"Our room <{ROOM}>")
        self.assertEqual([one.uri for one in message.to], [ROOM])
        self.assertIn("Here are: Alice, Bob", message.part.text())
        hall = Hall(Rules(), others=Rights(join=True))
        hall.join(ALICE)
        self.assertNotIn("Alice", device(hall.join(BOB, offers=Offers())).texts()[0])


class LeaveTests(Rooms):
    def test_event(self) -> None:
        """A device that goes is told of, with how and how long."""
        hall = Hall(QUIET)
        hall.join(ALICE)
        bob = hall.join(BOB)
        hall.room.leave(bob, hall.now + 60, "failed")
        hall.look()
        left = hall.facts()[-1]
        assert isinstance(left, RoomLeft)
        self.assertEqual((left.user, left.how, left.seconds, left.by), (BOB, "failed", 60.0, ""))
        self.assertEqual(hall.dropped(), [])

    def test_empty(self) -> None:
        """A room that everybody has left has ended (RFC 7701 §5.3)."""
        hall = Hall(QUIET)
        alice, second = hall.join(ALICE), hall.join(ALICE)
        hall.room.leave(alice, hall.now)
        self.assertFalse(hall.room.is_over)
        hall.room.leave(second, hall.now)
        hall.look()
        self.assertTrue(hall.ended())
        self.assertIsInstance(hall.facts()[-1], RoomEnded)
        self.assertIsInstance(hall.out[-1], Ended)
        self.assertIsNone(hall.room.deadline)

    def test_ad_hoc(self) -> None:
        """With fewer than two an ad-hoc conference ends, the last one is dropped (OMA)."""
        hall = Hall(ADHOC, invitees=(BOB, CAROL))
        alice = hall.join(ALICE)
        self.assertEqual(hall.invited(), [BOB, CAROL])
        bob = hall.join(BOB, method=DIALED_OUT)
        hall.room.leave(bob, hall.now)
        self.assertFalse(hall.room.is_over)  # Carol is still being asked
        hall.room.failed(CAROL, "busy", hall.now)
        hall.look()
        self.assertTrue(hall.room.is_over)
        self.assertEqual(hall.dropped(), [alice])

    def test_nobody_answers(self) -> None:
        """An ad-hoc conference whose invitations all fail ends."""
        hall = Hall(ADHOC, invitees=(BOB, CAROL))
        hall.join(ALICE)
        hall.room.failed(BOB, "busy", hall.now)
        self.assertFalse(hall.room.is_over)
        hall.room.failed(CAROL, "failed", hall.now)
        hall.room.failed(CAROL, "failed", hall.now)
        self.assertTrue(hall.room.is_over)

    def test_initiator(self) -> None:
        """Where the rules say so the room ends with who made it; not with one device of it."""
        for ends in (True, False):
            hall = Hall(attrs.evolve(QUIET, ends_with_initiator=ends))
            alice, second = hall.join(ALICE), hall.join(ALICE)
            hall.join(BOB)
            hall.join(CAROL)
            hall.room.leave(alice, hall.now)
            self.assertFalse(hall.room.is_over)
            hall.room.leave(second, hall.now)
            self.assertEqual(hall.room.is_over, ends)

    def test_key(self) -> None:
        """The room ends with its last key participant (OMA: is-key-participant)."""
        key = attrs.evolve(MEMBER, key=True)
        hall = Hall(QUIET, {ALICE: key, BOB: key})
        alice, bob, carol = (hall.join(one) for one in (ALICE, BOB, CAROL))
        hall.room.leave(alice, hall.now)
        self.assertFalse(hall.room.is_over)
        hall.room.leave(bob, hall.now)
        self.assertTrue(hall.room.is_over)
        hall.look()
        self.assertEqual(hall.dropped(), [carol])

    def test_duration(self) -> None:
        """A session lasts as long as its policy says (OMA: session-active-policy)."""
        hall = Hall(attrs.evolve(QUIET, duration=60.0))
        hall.join(ALICE)
        self.assertEqual(hall.room.deadline, 1060.0)
        hall.room.wake(1059.0)
        self.assertFalse(hall.room.is_over)
        hall.room.wake(1060.0)
        self.assertTrue(hall.room.is_over)

    def test_periods(self) -> None:
        """A group has its sessions at the times of its policy only: nobody comes in before, and
        all have to go at the end (OMA: session-active-policy)."""
        hall = Hall(
            attrs.evolve(QUIET, periods=((1000.0, 1050.0), (1040.0, 1060.0), (2000.0, 9e9)))
        )
        hall.now = 999.0
        self.refused(hall, ALICE, 403)
        self.assertEqual(hall.room.count, 0)
        hall.now = 1010.0
        alice = hall.join(ALICE)
        self.assertEqual(hall.room.deadline, 1060.0)
        hall.room.wake(1059.0)
        self.assertFalse(hall.room.is_over)
        hall.room.wake(1060.0)
        hall.look()
        self.assertEqual((hall.ended(), hall.dropped()), ("the time is over", [alice]))

    def test_limits_change(self) -> None:
        """A policy that changes is in force at once (OMA: session-active-policy)."""
        hall = Hall(QUIET)
        hall.join(ALICE)
        rules = attrs.evolve(QUIET, duration=60.0, most=1)
        hall.room.reconsider(lambda uris, hidden: ALL, hall.now, rules)
        self.assertEqual(hall.room.deadline, 1060.0)
        self.refused(hall, BOB, 486)
        rules = attrs.evolve(QUIET, periods=((2000.0, 3000.0),))
        hall.room.reconsider(lambda uris, hidden: ALL, hall.now, rules)
        hall.look()
        self.assertEqual(hall.ended(), "the time is over")

    def test_idle(self) -> None:
        """A room in which nobody says anything ends; typing is not saying."""
        hall = Hall(attrs.evolve(QUIET, idle=60.0))
        alice = hall.join(ALICE)
        hall.join(BOB)
        hall.now = 1030.0
        hall.say(alice)
        hall.now = 1050.0
        hall.say(alice, kind="application/im-iscomposing+xml")
        hall.room.wake(1060.0)
        self.assertEqual(hall.room.deadline, 1090.0)
        hall.room.wake(1090.0)
        self.assertTrue(hall.room.is_over)

    def test_end_is_told(self) -> None:
        """All are told why the room closes, before they are dropped."""
        hall = Hall(Rules())
        alice, bob = hall.join(ALICE), hall.join(BOB)
        post = hall.begin(alice)
        hall.room.end("the time is over", hall.now)
        hall.room.end("again", hall.now)
        hall.look()
        self.assertEqual(device(bob).texts(), ["The room is closed: the time is over."])
        self.assertEqual(hall.dropped(), [alice, bob])
        self.assertEqual(hall.settled, [post])
        self.assertEqual(sum(isinstance(one, Ended) for one in hall.out), 1)


class MoveTests(Rooms):
    def test_goes_on(self) -> None:
        """What a device had not got goes to the session that takes its place, what is still
        coming in with it, and before all that is said later (RFC 4975 §5.4)."""
        for instead in (False, True):
            hall = Hall(attrs.evolve(QUIET, mark=10**6, queue=10**7, devices=1))
            alice, bob = hall.join(ALICE), hall.join(BOB, device="d1")
            device(bob).stuck = True
            hall.say(alice, "one")
            post = hall.begin(alice)
            head = cpim(ALICE, ROOM, "two")
            post.feed(head, hall.now)
            applicant = hall.applicant(BOB, device="d2" if instead else "d1")
            if instead:
                error = self.assertRaises(Refusal, hall.room.join, applicant, hall.now)
                self.assertEqual(error.status, 486)
                applicant = attrs.evolve(applicant, instead=bob)
            again = hall.room.join(applicant, hall.now)
            hall.look()
            post.feed(b" more", hall.now)
            post.end(True, hall.now)
            hall.say(alice, "three")
            self.assertEqual(device(again).texts(), ["one", "two more", "three"])
            self.assertEqual(device(bob).got, [])
            self.assertEqual((hall.dropped(), hall.room.count), ([bob], 2))
            (left,) = [one for one in hall.facts() if isinstance(one, RoomLeft)]
            self.assertEqual((left.user, left.how), (BOB, DEPARTED))

    def test_not_anybodys(self) -> None:
        """Nobody takes a place of another person, or one that is free already."""
        hall = Hall(QUIET)
        hall.join(ALICE)
        bob = hall.join(BOB, device="d1")
        carol = hall.room.join(attrs.evolve(hall.applicant(CAROL), instead=bob), hall.now)
        self.assertTrue(bob.present)
        hall.room.leave(bob, hall.now)
        hall.room.join(attrs.evolve(hall.applicant(BOB), instead=bob), hall.now)
        self.assertTrue(carol.present)
        self.assertEqual(hall.room.count, 3)

    def test_nothing_again(self) -> None:
        """Another device in the place of one is not shown what that one has seen."""
        hall = Hall(attrs.evolve(QUIET, replay=3, keep=1000))
        alice, bob = hall.join(ALICE), hall.join(BOB, device="d1")
        hall.say(alice, "one")
        applicant = attrs.evolve(hall.applicant(BOB, device="d2"), instead=bob)
        self.assertEqual(device(hall.room.join(applicant, hall.now)).got, [])


class WishTests(Rooms):
    def test_invite(self) -> None:
        """Who may invite does; who was invited may come in (RFC 4579 §5.5)."""
        hall = Hall(QUIET, {ALICE: MEMBER, BOB: GUEST}, NONE)
        hall.join(ALICE)
        hall.join(BOB)
        error = self.assertRaises(Refusal, hall.room.invite, BOB, [Invitee(CAROL)], hall.now)
        self.assertEqual(error.status, 403)
        self.refused(hall, CAROL, 403)
        asked = hall.room.invite(ALICE, [Invitee(CAROL), Invitee(BOB), Invitee(CAROL)], hall.now)
        self.assertEqual([one.uri for one in asked], [CAROL])
        hall.look()
        self.assertEqual(hall.invited(), [CAROL])
        invited = hall.facts()[-1]
        assert isinstance(invited, RoomInvited)
        self.assertEqual((invited.user, invited.by), (CAROL, ALICE))
        self.assertTrue(hall.room.is_invited(hall.applicant(CAROL)))
        carol = hall.join(CAROL, method=DIALED_OUT)
        hall.room.leave(carol, hall.now)
        hall.join(CAROL)  # comes again by itself

    def test_invite_when_full(self) -> None:
        """Nobody is invited into a room that is full."""
        hall = Hall(attrs.evolve(QUIET, most=1))
        hall.join(ALICE)
        error = self.assertRaises(Refusal, hall.room.invite, ALICE, [Invitee(BOB)], hall.now)
        self.assertEqual(error.status, 486)

    def test_expel(self) -> None:
        """Who may expel does, with all devices; the expelled comes in again only when asked."""
        hall = Hall(Rules(), {ALICE: OWNER, BOB: MEMBER, CAROL: MEMBER}, NONE)
        alice = hall.join(ALICE)
        bobs = [hall.join(BOB), hall.join(BOB)]
        hall.join(CAROL)
        for by, who, status in ((CAROL, BOB, 403), (ALICE, DAVE, 404), (DAVE, BOB, 403)):
            error = self.assertRaises(Refusal, hall.room.expel, by, who, hall.now)
            self.assertEqual(error.status, status)
        hall.room.expel(ALICE, BOB, hall.now)
        hall.look()
        self.assertEqual(hall.dropped(), bobs)
        self.assertEqual(device(bobs[1]).texts(), ["Goodbye: you were removed from the room."])
        left = hall.facts()[-1]
        assert isinstance(left, RoomLeft)
        self.assertEqual((left.how, left.by), ("booted", ALICE))
        self.refused(hall, BOB, 403)
        self.assertRaises(Refusal, hall.room.watch, (BOB,))
        self.assertTrue(alice.present)
        hall.room.invite(ALICE, [Invitee(BOB)], hall.now)
        hall.join(BOB)

    def test_expel_invited(self) -> None:
        """An invitation that is open can be taken back."""
        hall = Hall(QUIET, {ALICE: OWNER}, NONE)
        hall.join(ALICE)
        hall.room.invite(ALICE, [Invitee(BOB)], hall.now)
        hall.room.expel(ALICE, BOB, hall.now)
        self.assertEqual(hall.room.pending, ())
        self.refused(hall, BOB, 403)

    def test_expel_anonymous(self) -> None:
        """Who is anonymous is expelled by the anonymous address; the other tells nothing."""
        hall = Hall(QUIET)
        hall.join(ALICE)
        bob = hall.join(BOB, hidden=True)
        error = self.assertRaises(Refusal, hall.room.expel, ALICE, BOB, hall.now)
        self.assertEqual(error.status, 404)
        hall.room.expel(ALICE, bob.person.shown, hall.now)
        self.assertFalse(bob.present)

    def test_invite_anonymous(self) -> None:
        """Who is here anonymously is invited as anybody else, so that nobody can tell."""
        hall = Hall(QUIET)
        hall.join(ALICE)
        hall.join(BOB, hidden=True)
        hall.room.invite(ALICE, [Invitee(BOB)], hall.now)
        hall.look()
        self.assertEqual(hall.invited(), [BOB])

    def test_nicknames(self) -> None:
        """NICKNAME is answered 200, 403, 424 or 425 (RFC 7701 §7.1)."""
        hall = Hall(attrs.evolve(QUIET, reserved=("Admin",)))
        alice, bob = hall.join(ALICE), hall.join(BOB)
        room = hall.room
        self.assertEqual(room.nickname(alice, "Alice the great", 0), 200)
        self.assertEqual(room.nickname(bob, "alice THE great", 0), 425)
        self.assertEqual(room.nickname(bob, "ADMIN", 0), 425)
        self.assertEqual(room.nickname(bob, "a\tb", 0), 424)
        self.assertEqual(room.nickname(bob, "Bobby", 0), 200)
        self.assertEqual(room.nickname(bob, "", 0), 200)  # §7.3
        self.assertEqual(room.nickname(bob, "", 0), 200)
        hall.look()
        names = [one.nickname for one in hall.facts() if isinstance(one, NicknameChanged)]
        self.assertEqual(names, ["Alice the great", "Bobby", ""])
        room.leave(alice, 0)
        self.assertEqual(room.nickname(alice, "x", 0), 403)
        self.assertEqual(room.nickname(bob, "Alice the great", 299), 425)  # quarantine, §11
        self.assertEqual(room.nickname(bob, "Alice the great", 300), 200)
        self.assertEqual(room.nickname(bob, "Bobby", 300), 200)
        self.assertEqual(room.nickname(hall.join(CAROL), "Alice the great", 300), 425)
        room.leave(bob, 300)
        self.assertEqual(room.nickname(hall.join(BOB), "ALICE the great", 700), 200)
        closed = Hall(attrs.evolve(QUIET, nicknames=False))
        self.assertEqual(closed.room.nickname(closed.join(ALICE), "x", 0), 403)

    def test_nickname_again(self) -> None:
        """Who comes back in time gets the nickname again, by asking for it (RFC 7701 §7.1, §11)."""
        hall = Hall(QUIET)
        hall.join(BOB)
        alice = hall.join(ALICE)
        hall.room.nickname(alice, "Al", 0)
        hall.room.leave(alice, 0)
        again = hall.join(ALICE)
        self.assertEqual(hall.room.nicknames.of(again), "")
        self.assertEqual(hall.room.nickname(again, "Al", 10), 200)

    def test_nickname_of_two(self) -> None:
        """Openly and anonymously, one user is two: they cannot share a nickname."""
        hall = Hall(QUIET)
        self.assertEqual(hall.room.nickname(hall.join(ALICE), "Al", 0), 200)
        self.assertEqual(hall.room.nickname(hall.join(ALICE, hidden=True), "Al", 0), 425)

    def test_nicknames_outlive(self) -> None:
        """A quarantine can be carried over to the next session of a room."""
        names = Nicknames(300.0)
        hall = Hall(QUIET, nicknames=names)
        alice = hall.join(ALICE)
        hall.room.nickname(alice, "Al", 0)
        hall.room.leave(alice, 0)
        hall = Hall(QUIET, nicknames=names)
        self.assertEqual(hall.room.nickname(hall.join(BOB), "Al", 10), 425)

    def test_reconsider(self) -> None:
        """When the group changes, who is not let in any more has to go."""
        hall = Hall(QUIET)
        alice, bob = hall.join(ALICE), hall.join(BOB)
        hidden = hall.join(CAROL, hidden=True)
        rights = {ALICE: OWNER, CAROL: GUEST}
        hall.room.reconsider(lambda uris, hidden: rights.get(uris[0], NONE), hall.now)
        hall.look()
        self.assertEqual(hall.dropped(), [bob, hidden])
        self.assertEqual(alice.person.rights, OWNER)

    def test_rights_add_up(self) -> None:
        """Rights of several rules add up (RFC 4745 §10)."""
        self.assertEqual(combined(Rights(join=True), Rights(see=True)), Rights(join=True, see=True))
        self.assertEqual(combined(ALL, NONE), ALL)


class ReplayTests(Rooms):
    RULES = Rules(replay=3, notices=False, keep=1000)

    def test_late(self) -> None:
        """Who comes late sees the last messages to all, as they were said."""
        hall = Hall(self.RULES)
        alice, bob = hall.join(ALICE), hall.join(BOB)
        for text in ("one", "two", "three", "four"):
            hall.say(alice, text)
        hall.say(alice, "psst", BOB)
        hall.say(alice, kind="application/im-iscomposing+xml")
        hall.say(alice, "x" * 1000)
        carol = hall.join(CAROL)
        self.assertEqual(device(carol).texts(), ["two", "three", "four"])
        self.assertEqual(device(carol).whole()[0].value("From"), f"<{ALICE}>")
        self.assertEqual(len(device(bob).texts()), 7)

    def test_missed(self) -> None:
        """Who comes again on the same device sees what was said since, nothing twice."""
        hall = Hall(self.RULES)
        alice, bob = hall.join(ALICE), hall.join(BOB, device="urn:uuid:1")
        hall.say(alice, "one")
        hall.room.leave(bob, hall.now)
        hall.say(alice, "two")
        self.assertEqual(device(hall.join(BOB, device="urn:uuid:1")).texts(), ["two"])
        self.assertEqual(device(hall.join(BOB, device="urn:uuid:2")).texts(), ["one", "two"])

    def test_adapted(self) -> None:
        """What a session does not take is not shown to it."""
        hall = Hall(self.RULES)
        alice = hall.join(ALICE)
        hall.say(alice, "one")
        hall.say(alice, "two", kind="text/html")
        member = hall.join(BOB, offers=Offers(wrapped=("text/html",), chatroom=frozenset()))
        self.assertEqual(device(member).texts(), ["two"])

    def test_none(self) -> None:
        """Where the rules do not allow it nobody sees what was said before."""
        hall = Hall(QUIET)
        hall.say(hall.join(ALICE), "one")
        self.assertEqual(device(hall.join(BOB)).got, [])


class OutputTests(Rooms):
    def test_invite_once(self) -> None:
        """Outputs are given once."""
        hall = Hall(ADHOC, invitees=(BOB,))
        hall.join(ALICE)
        self.assertEqual(hall.room.take(), [])
        self.assertEqual(hall.invited(), [BOB])
        self.assertEqual(sum(isinstance(one, Invite) for one in hall.out), 1)
        self.assertFalse(any(isinstance(one, Drop) for one in hall.out))
