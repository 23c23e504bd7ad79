"""People in rooms who mean harm: forgeries, floods, and what either costs the others."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from omaim.im.offers import Offers
from omaim.im.posting import KEPT, Post
from omaim.im.room_copies import RoomCopies
from omaim.im.room_rules import Rules
from omaim.msrp import Shared
from tests.im.rooms import ALICE, BOB, ROOM, Hall, cpim, device
from tests.msrp.support import User, World
from tests.security.test_msrp import growth


class ForgeryTests(SynchronousTestCase):
    """What a message says of itself does not get it where it may not go."""

    def test_pretended_report(self) -> None:
        """Words for one person are a private message, whatever disposition they claim: only a
        notification is one (RFC 5438 §7.2.1)."""
        hall = Hall(Rules(private=False, notices=False, replay=10))
        alice, bob = hall.join(ALICE), hall.join(BOB)
        data = cpim(ALICE, BOB, "psst").replace(
            b"\r\n\r\npsst", b"\r\nContent-Disposition: notification\r\n\r\npsst"
        )
        post = hall.begin(alice, len(data))
        post.feed(data, hall.now)
        post.end(True, hall.now)
        self.assertEqual((post.status, device(bob).texts()), (403, []))

    def test_unrecorded(self) -> None:
        """Nor do they keep words to all from being written down."""
        hall = Hall(Rules(notices=False, replay=10))
        alice, _ = hall.join(ALICE), hall.join(BOB)
        data = cpim(ALICE, ROOM, "psst").replace(
            b"\r\n\r\npsst", b"\r\nContent-Disposition: notification\r\n\r\npsst"
        )
        post = hall.begin(alice, len(data))
        post.feed(data, hall.now)
        post.end(True, hall.now)
        self.assertEqual((post.status, len(hall.room.replay)), (200, 1))
        self.assertIsNotNone(post.event)

    def test_double_from(self) -> None:
        """A message with two authors, however they are spelt, is not passed on (RFC 3862 §4.1)."""
        hall = Hall()
        alice, bob = hall.join(ALICE), hall.join(BOB)
        for name in (
            "From",
            "from",
            "FROM",
            "NS: cpim <urn:ietf:params:cpim-headers:>\r\ncpim.From",
        ):
            data = cpim(ALICE, ROOM).replace(b"\r\nTo:", f"\r\n{name}: <{BOB}>\r\nTo:".encode())
            post = hall.begin(alice, len(data))
            post.feed(data, hall.now)
            post.end(True, hall.now)
            self.assertIn(post.status, (400, 403), name)
        self.assertEqual(device(bob).texts(), [])

    def test_nicknames(self) -> None:
        """No nickname holds what cannot be seen or turns the line around, nor looks like one that
        is in use but for its case, width or spaces (RFC 8266)."""
        hall = Hall()
        alice, bob = hall.join(ALICE), hall.join(BOB)
        self.assertEqual(hall.room.nickname(alice, "Admin One", hall.now), 200)
        for text in (
            "\u202eadmin",
            "ad\u200bmin",
            "a\u0000b",
            "a\rb",
            "\ufeffadmin",
            "\u2066x",
            "\ud800",
        ):
            self.assertEqual(hall.room.nickname(bob, text, hall.now), 424, ascii(text))
        for text in ("admin one", "ADMIN  ONE", " Admin One ", "\uff21dmin One", "Admin\u00a0One"):
            self.assertEqual(hall.room.nickname(bob, text, hall.now), 425, ascii(text))

    def test_nickname_flood(self) -> None:
        """Who asks for one nickname after the other is told off, and may again later."""
        hall = Hall()
        alice = hall.join(ALICE)
        statuses = [hall.room.nickname(alice, f"a{number}", hall.now) for number in range(100)]
        self.assertEqual((statuses.count(200), statuses[-1]), (20, 403))
        hall.now += 10.0
        statuses = [hall.room.nickname(alice, f"b{number}", hall.now) for number in range(100)]
        self.assertEqual(statuses.count(200), 5)


class CopyTests(SynchronousTestCase):
    """Copies of a message, on real sessions."""

    def setUp(self) -> None:
        self.worlds = [World() for _ in range(3)]
        self.users = [User() for _ in self.worlds]
        self.sessions = [
            world.pair(User(), user)[0] for world, user in zip(self.worlds, self.users, strict=True)
        ]

    def copies(self, size: int) -> RoomCopies:
        members: Any = list(range(3))
        session_of: Any = self.sessions.__getitem__
        return RoomCopies(self.worlds[0].near.means, members, size, session_of, lambda _: None)

    def test_longer_than_announced(self) -> None:
        """A message that goes on after the size that was announced is refused."""
        hall = Hall(Rules(notices=False))
        alice, bob = hall.join(ALICE), hall.join(BOB)
        data = cpim(ALICE, ROOM)
        post = hall.begin(alice, len(data))
        post.feed(data, hall.now)
        post.feed(b"more", hall.now)
        post.end(True, hall.now)
        self.assertEqual(post.status, 413)
        self.assertEqual(device(bob).whole(), [])

    def test_written_after_the_end(self) -> None:
        """The copies themselves bear it as well."""
        copies = self.copies(5)
        copies.write(b"hello")
        copies.write(b"more")
        copies.finish()
        for world in self.worlds:
            world.carry()
        self.assertEqual([user.bodies for user in self.users], [[b"hello"]] * 3)

    def test_many_copies(self) -> None:
        """What a large message costs at its end grows with its copies, not with their square."""

        def run(count: int) -> None:
            world = World()
            sessions = [world.near.session(User()) for _ in range(count)]
            shared = Shared(world.near.means, "text/plain", size=200_000)
            for session in sessions:
                shared.to(session)
            shared.write(b"x" * 3000)
            for session in reversed(sessions):
                shared.drop(session)

        self.assertLess(growth(run, 600), 8)


class CostTests(SynchronousTestCase):
    """What some do costs the others little."""

    def test_slow_and_many(self) -> None:
        """Slow readers in a room full of speakers: what it costs to wait, and to go on."""

        def run(count: int) -> None:
            hall = Hall(Rules(notices=False, mark=100, queue=1 << 30))
            members = [hall.join(f"sip:u{number}@north.example") for number in range(count)]
            posts = []
            for member in members[: count // 2]:
                data = cpim(member.person.shown, ROOM, "x" * 3000)
                post = hall.begin(member, 100_000)
                post.feed(data, hall.now)
                posts.append(post)
            for member in members[count // 2 :]:
                hall.room.pressure(member, 1000, hall.now)
            for member in members[count // 2 :]:
                hall.room.pressure(member, 0, hall.now)
            self.assertFalse(any(device(one).paused for one in members))
            for member in members:
                self.assertEqual((member.stalled_by, member.stalls), (0, set()))

        self.assertLess(growth(run, 40), 24)  # each of them waits for each: the square, no more

    def test_comes_back_slow(self) -> None:
        """For somebody who was waited for in vain nobody waits again soon."""
        hall = Hall(Rules(notices=False, mark=1000, grace=20.0))
        alice, bob = hall.join(ALICE), hall.join(BOB)
        device(bob).stuck = True
        post = hall.say(alice, "x" * 2000)
        hall.say(alice, "hello")
        self.assertTrue(device(alice).paused)
        hall.now += 30.0
        hall.room.wake(hall.now)
        hall.look()
        self.assertEqual((hall.dropped(), device(alice).paused), ([bob], False))
        again = hall.join(BOB)
        device(again).stuck = True
        hall.say(alice, "x" * 2000)
        self.assertEqual((hall.dropped(), device(alice).paused), ([bob, again], False))
        hall.now += 700.0
        third = hall.join(BOB)
        device(third).stuck = True
        hall.say(alice, "x" * 2000)
        self.assertEqual(hall.dropped(), [bob, again])
        self.assertEqual(post.status, 200)

    def test_kept(self) -> None:
        """What is kept of all that one session says at a time is bounded."""
        hall = Hall(Rules(notices=False, keep=1 << 20))
        alice, _ = hall.join(ALICE), hall.join(BOB)
        posts: list[Post] = []
        for _ in range(20):
            post = hall.begin(alice, 1 << 20)
            post.feed(cpim(ALICE, ROOM, "x" * 700_000), hall.now)
            posts.append(post)
            self.assertLessEqual(alice.kept, KEPT)
        self.assertIn(413, [post.status for post in posts])
        hall.room.leave(alice, hall.now)
        self.assertEqual(alice.kept, 0)

    def test_storm(self) -> None:
        """Joins and leaves of many cost as many times more as they are, and leave nothing."""

        def run(count: int) -> None:
            hall = Hall(Rules(linger=0.0))
            plain = Offers(chatroom=None)
            first = hall.join(ALICE)
            for number in range(count):
                hall.room.join(hall.applicant(f"sip:u{number}@north.example", offers=plain), 0)
                hall.room.take()
            for member in hall.room.members[1:]:
                hall.room.leave(member, hall.now)
                hall.room.take()
            self.assertEqual((hall.room.members, len(hall.room.roster.users())), ((first,), 1))

        self.assertLess(growth(run, 300), 8)
