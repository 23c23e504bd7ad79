"""One message to many sessions."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.msrp import NO, YES, Limits, Session, Shared
from tests.msrp.support import User, World, heads, parts


class SharedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.worlds = [World() for _ in range(4)]
        self.users = [User() for _ in self.worlds]
        self.sessions = [
            world.pair(User(), user)[0] for world, user in zip(self.worlds, self.users, strict=True)
        ]
        self.ends: list[tuple[int, int]] = []

    def shared(self, body: bytes | None = None, **more: object) -> Shared:
        return Shared(
            self.worlds[0].near.means,
            "text/plain",
            body,
            on_end=self.ended,
            **more,  # type: ignore[arg-type]
        )

    def ended(self, session: Session, status: int) -> None:
        self.ends.append((self.sessions.index(session), status))

    def carry(self) -> None:
        for world in self.worlds:
            world.carry()

    def test_one_frame(self) -> None:
        """Copies differ in transaction and paths only; nobody answers (RFC 4975 §7.1.4)."""
        shared = self.shared(b"hello")
        for session in self.sessions:
            shared.to(session)
        frames = [world.near.take() for world in self.worlds]
        tails = {frame[frame.index(b"Message-ID") : frame.rindex(b"-------")] for frame in frames}
        self.assertEqual(len(tails), 1)
        self.assertEqual(len({heads(frame)[0].transaction for frame in frames}), 4)
        self.assertEqual({heads(frame)[0].check() for frame in frames}, {""})
        for world, frame in zip(self.worlds, frames, strict=True):
            world.far.channel.received(frame)
            self.assertEqual(world.far.out, [])
        self.assertEqual([user.bodies for user in self.users], [[b"hello"]] * 4)

    def test_answered(self) -> None:
        """With Failure-Report yes each copy's end is told."""
        shared = self.shared(b"hello", failure_report=YES)
        for session in self.sessions:
            shared.to(session)
        self.carry()
        self.assertEqual(self.ends, [(number, 200) for number in range(4)])

    def test_refused_copy(self) -> None:
        """A receiver that does not want its copy says so, and the session's user hears it."""
        alice = User()
        world = World()
        bob = User()
        one, _ = world.pair(alice, bob)
        bob.on_whole = lambda incoming: incoming.refuse(403, "not me")
        self.shared(b"hello").to(one)
        world.carry()
        self.assertEqual([(one.status, one.comment) for one in alice.reports], [(403, "not me")])

    def test_first_chunk_early(self) -> None:
        """The first octets leave before the last are here (RFC 7701 §6.1)."""
        shared = self.shared()
        for session in self.sessions:
            shared.to(session)
        piece = b"x" * 5000
        shared.write(piece)
        for world in self.worlds:
            found = parts(b"".join(world.near.out))
            self.assertEqual((found[0].data, found[0].flag), (piece, 0))
            self.assertIs(world.near.out[-1], piece)
        self.assertRaises(UsageError, shared.to, self.sessions[0])
        shared.write(b"y" * 10)
        shared.finish()
        self.assertRaises(UsageError, shared.write, b"z")
        self.carry()
        self.assertEqual([user.bodies for user in self.users], [[piece + b"y" * 10]] * 4)
        self.assertEqual(sorted(self.ends), [(number, 200) for number in range(4)])

    def test_slow_member(self) -> None:
        """A slow member is seen, and may be dropped without harm to the others."""
        slow = self.worlds[2].near
        slow.stuck = True
        slow.kept = Limits().window
        shared = self.shared()
        for session in self.sessions:
            shared.to(session)
        for _ in range(10):
            shared.write(b"x" * 65536)
            self.carry()
        self.assertEqual(shared.behind(100_000), [self.sessions[2]])
        self.assertEqual(shared.pending, 655_360)
        self.assertEqual(self.sessions[2].pending, 655_360)
        shared.drop(self.sessions[2])
        self.assertEqual((self.sessions[2].pending, self.ends), (0, [(2, 0)]))
        shared.finish()
        self.carry()
        self.assertEqual([len(user.bodies) for user in self.users], [1, 1, 0, 1])

    def test_waiting_copy(self) -> None:
        """A copy that cannot leave at once waits, and is counted."""
        slow = self.worlds[1].near
        slow.stuck = True
        slow.kept = Limits().window
        for number in range(3):
            shared = self.shared(b"hello %d" % number)
            for session in self.sessions:
                shared.to(session)
        self.assertEqual(self.sessions[1].pending, 21)
        slow.stuck = False
        slow.kept = 0
        slow.channel.drained()
        self.carry()
        expected = [b"hello 0", b"hello 1", b"hello 2"]
        self.assertEqual([user.bodies for user in self.users], [expected] * 4)

    def test_gone(self) -> None:
        """A closed session gets nothing; one that closes meanwhile is left out."""
        self.sessions[0].close()
        shared = self.shared(failure_report=NO)
        for session in self.sessions:
            shared.to(session)
        shared.write(b"x" * 3000)
        self.sessions[1].close()
        shared.write(b"x" * 3000)
        shared.finish()
        self.carry()
        self.assertEqual([len(user.bodies) for user in self.users], [0, 0, 1, 1])
        self.assertEqual(sorted(self.ends), [(1, 481), (2, 200), (3, 200)])

    def test_abort(self) -> None:
        """All receivers hear that nothing follows."""
        shared = self.shared()
        for session in self.sessions:
            shared.to(session)
        shared.write(b"x" * 3000)
        self.carry()
        shared.abort()
        self.carry()
        self.assertEqual([len(user.failed) for user in self.users], [1] * 4)

    def test_large(self) -> None:
        """A large whole body goes out by chunks, and is not copied."""
        body = b"x" * 300_000
        shared = self.shared(body)
        for session in self.sessions:
            shared.to(session)
        self.carry()
        self.assertEqual([user.bodies for user in self.users], [[body]] * 4)
        self.assertEqual(len(self.ends), 4)

    def test_unusual(self) -> None:
        """What cannot be written is refused at once."""
        self.assertRaises(UsageError, self.shared, b"", message_id="x")
