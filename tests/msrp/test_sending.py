"""Cutting messages into chunks, and fair turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.msrp import LAST, MORE, NO, PARTIAL, YES, ByteRange, Limits, Outgoing
from omaim.msrp.frame import SMALL
from omaim.msrp.outgoing import PIECE
from omaim.msrp.sending import STRETCH, TURN
from tests.msrp.support import LARGE, User, World, heads, parts, text

WINDOW = Limits().window


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.alice, self.bob = User(), User()
        self.one, self.other = self.world.pair(self.alice, self.bob)
        self.near = self.world.near
        self.statuses: list[int] = []

    def chunks(self) -> list[tuple[str, int, int]]:
        """Return range, octets and flag of each chunk that waits to be carried."""
        found: list[tuple[str, int, int]] = []
        size, span = 0, ""
        for part in parts(b"".join(self.near.out)):
            if part.first:
                size, span = 0, (part.head.get(b"Byte-Range") or b"").decode()
            size += len(part.data)
            if part.flag and part.head.method == b"SEND":
                found.append((span, size, part.flag))
        return found

    def hold_up(self) -> None:
        """Let the connection take nothing any more."""
        self.near.stuck = True
        self.near.kept = WINDOW

    def let_go(self) -> None:
        """Let the connection take everything again."""
        self.near.stuck = False
        self.near.kept = 0
        self.near.channel.drained()


class ChunkTests(Case):
    def test_small(self) -> None:
        """A small message is one chunk with a whole range (RFC 4975 §7.1.1)."""
        self.one.send(text(b"x" * SMALL))
        self.assertEqual(self.chunks(), [(f"1-{SMALL}/{SMALL}", SMALL, LAST)])

    def test_interruptible(self) -> None:
        """A chunk of more than 2048 octets says that it may be interrupted (§5.1, §7.1.1)."""
        for size in (SMALL + 1, PIECE, PIECE + 1, STRETCH):
            self.one.send(text(b"x" * size))
            self.assertEqual(self.chunks(), [(f"1-*/{size}", size, LAST)])
            self.world.carry()
        self.assertEqual([len(body) for body in self.bob.bodies], [2049, PIECE, PIECE + 1, STRETCH])

    def test_unknown_size(self) -> None:
        """What is not known is an asterisk; the end is where "$" is (§7.1.1, §7.3.1)."""
        stream = self.one.send(Outgoing("text/plain"))
        stream.write(b"x" * 1000)
        self.assertEqual(self.near.out, [])
        stream.write(b"y" * 2000)
        stream.finish()
        self.assertEqual(self.chunks(), [("1-*/*", 3000, LAST)])
        self.world.carry()
        stream = self.one.send(Outgoing("text/plain", size=20_000))
        stream.write(b"x" * 9000)
        self.world.carry()
        stream.write(b"x" * 11_000)
        stream.finish()
        self.world.carry()
        self.assertEqual(self.bob.seen[-1].size, 20_000)
        self.assertEqual([len(body) for body in self.bob.bodies], [3000, 20_000])

    def test_short_stream(self) -> None:
        """A stream that was finished before anything left is an ordinary message."""
        stream = Outgoing("text/plain", on_end=self.statuses.append)
        stream.write(b"ab")
        stream.write(b"cd")
        stream.finish()
        self.one.send(stream)
        self.assertEqual(self.chunks(), [("1-4/4", 4, LAST)])
        self.world.carry()
        self.assertEqual((self.bob.bodies, self.statuses), ([b"abcd"], [200]))
        self.assertRaises(UsageError, self.one.send, stream)
        stream.write(b"after the end")
        another = Outgoing("text/plain", b"x")
        self.assertRaises(UsageError, another.write, b"x")

    def test_interrupted_for_answer(self) -> None:
        """An answer does not wait for a chunk's end (§7.1.1)."""
        stream = self.one.send(Outgoing("text/plain", size=8000))
        stream.write(b"x" * 4000)
        self.other.send(text(b"hi"))
        self.near.channel.received(self.world.far.take())
        stream.write(b"x" * 4000)
        stream.finish()
        frames = parts(b"".join(self.near.out))
        ends = [(part.head.status, part.flag) for part in frames if part.flag]
        self.assertEqual(ends, [(0, MORE), (200, LAST), (0, LAST)])
        self.assertEqual(self.chunks()[1][0], "4001-*/8000")
        self.world.carry()
        self.assertEqual([len(body) for body in self.bob.bodies], [8000])

    def test_turns(self) -> None:
        """Large messages take turns; a small one need not wait for them (§7.1.1)."""
        large = [self.one.send(text(bytes([65 + n]) * 400_000)) for n in range(2)]
        self.hold_up()
        third = self.one.send(text(b"C" * 200_000))
        self.one.send(text(b"small"))
        self.assertEqual((third.pending, self.chunks()[-1][1]), (200_000, 400_000 - STRETCH))
        self.let_go()
        self.world.carry()
        self.assertEqual(self.bob.bodies[2], b"small")
        self.assertEqual([one.status for one in large], [200, 200])

        self.hold_up()
        for letter in b"AB":
            self.one.send(text(bytes([letter]) * 200_000))
        self.let_go()
        turns = [size for _, size, flag in self.chunks() if flag == MORE]
        self.assertGreater(len(turns), 4)
        self.assertEqual(set(turns), {TURN})

    def test_order(self) -> None:
        """Messages of a frame each keep their order, whatever the connection does."""
        sent = []
        for number in range(40):
            body = b"%d" % number * (number * 300)
            sent.append(body)
            self.one.send(text(body))
            if number % 7 == 3:
                self.hold_up()
            if number % 7 == 6:
                self.let_go()
        self.let_go()
        self.world.carry()
        self.assertEqual(self.bob.bodies, sent)

    def test_own_end_line(self) -> None:
        """A body that holds our end-line is cut there: it cannot end the frame (§7.1)."""
        stream = self.one.send(Outgoing("text/plain"))
        stream.write(b"x" * 3000)
        mark = b"\r\n-------" + heads(b"".join(self.near.out))[0].transaction + b"$\r\n"
        stream.write(b"one" + mark + b"MSRP evil SEND\r\n")
        transaction = heads(self.near.out[-2])[0].transaction if len(self.near.out) > 1 else b""
        self.assertNotEqual(transaction, b"")
        for half in (mark[:12], mark[12:]):
            stream.write(half)
        mark = b"-------" + heads(b"".join(self.near.out))[-1].transaction + b"$\r\n"
        for at in range(len(mark)):
            stream.write(mark[at : at + 1])
        stream.finish()
        self.world.carry()
        self.assertEqual(self.world.far.counters, {})
        self.assertEqual(len(self.bob.bodies), 1)
        self.assertTrue(self.bob.bodies[0].endswith(mark))

    def test_resumed(self) -> None:
        """What an earlier session delivered need not be sent again (§5.4)."""
        self.bob.mode = "stream"
        resumed = text(b"world", message_id="resumed1", start=5)
        self.one.send(resumed)
        self.assertEqual(self.chunks(), [("6-10/10", 5, LAST)])

    def test_ranges(self) -> None:
        """An unusual message is refused before it is sent."""
        for bad in (
            text(b"", message_id="abc"),
            text(b"", message_id="a b c d"),
            text(b"", failure_report="perhaps"),
            Outgoing("text/plain\r\nX: y", b""),
            text(b"", headers=[("X-Other", "1")]),
            text(b"", headers=[("Content-ID", "1\r\nX: y")]),
        ):
            self.assertRaises(UsageError, self.one.send, bad)
        self.one.send(text(b"x" * 200_000, message_id="same"))
        self.assertRaises(UsageError, self.one.send, text(b"y", message_id="same"))

    def test_headers(self) -> None:
        """MIME fields come before Content-Type and are read again (§7.1, §9)."""
        self.one.send(text(b"x", headers=[("Content-ID", "<1@a>"), ("Content-Disposition", "é")]))
        self.world.carry()
        self.assertEqual(
            self.bob.seen[0].headers, [("Content-ID", "<1@a>"), ("Content-Disposition", "é")]
        )


class StoppingTests(Case):
    def test_413_in_chunk(self) -> None:
        """413 interrupts the chunk with "#", and no other follows (§10.5, §7.3.2)."""
        self.bob.mode = "none"
        stream = self.one.send(Outgoing("text/plain", size=9000, on_end=self.statuses.append))
        stream.write(b"x" * 3000)
        self.world.carry()
        self.assertEqual(self.statuses, [413])
        self.assertTrue(self.world.seen[-1].endswith(b"#\r\n"))
        stream.write(b"x" * 3000)
        self.assertEqual((self.near.out, stream.pending), ([], 0))

    def test_413_between_chunks(self) -> None:
        """After 413 for an earlier chunk nothing more is sent."""
        stream = self.one.send(Outgoing("text/plain", on_end=self.statuses.append))
        stream.write(b"x" * 3000)
        self.one.send(text(b"interrupts"))
        self.near.take()
        first = self.near.channel.turns._sent
        self.assertEqual(len(first), 2)
        from omaim.msrp.frame import write_response

        chunk = next(name for name, sent in first.items() if sent.outgoing is stream)
        to = str(self.one.uri).encode()
        self.near.channel.received(write_response(chunk, 413, "", to, to))
        self.assertEqual((self.statuses, self.near.take()), ([413], b""))
        stream.write(b"x" * 5000)
        self.assertEqual(self.near.take(), b"")

    def test_abort(self) -> None:
        """Who aborts says "#", whether a chunk is open or not (§7.1)."""
        self.bob.mode = "stream"
        for between in (False, True):
            stream = self.one.send(Outgoing("text/plain", on_end=self.statuses.append))
            stream.write(b"x" * 3000)
            if between:
                self.one.send(text(b"interrupts"))
            self.world.carry()
            stream.abort()
            stream.abort()
            self.assertFalse(self.near.channel.turns.busy)
            self.world.carry()
            self.assertEqual(self.bob.ends[stream.message_id], False)
        self.assertEqual(self.statuses, [0, 0])

    def test_abort_behind_another(self) -> None:
        """Whose turn it is not says "#" between two chunks of who has it (§7.1)."""
        self.bob.mode = "stream"
        given_up = self.one.send(Outgoing("text/plain", size=9000))
        given_up.write(b"x" * 3000)
        other = self.one.send(Outgoing("text/plain", size=6000))
        other.write(b"y" * 3000)
        given_up.abort()
        other.write(b"y" * 3000)
        other.finish()
        self.world.carry()
        self.assertEqual(self.bob.ends, {given_up.message_id: False, other.message_id: True})
        self.assertEqual(self.bob.streams[other.message_id], b"y" * 6000)

    def test_abort_before(self) -> None:
        """What has not begun leaves no trace."""
        self.hold_up()
        waiting = self.one.send(text(b"x", on_end=self.statuses.append))
        self.assertEqual(self.one.pending, 1)
        waiting.abort()
        self.let_go()
        self.assertEqual((self.near.out, self.one.pending, self.statuses), ([], 0, [0]))
        unsent = text(b"x", on_end=self.statuses.append)
        unsent.abort()
        self.assertRaises(UsageError, self.one.send, unsent)


class PressureTests(Case):
    def test_window(self) -> None:
        """No more than a window goes to a connection that does not move."""
        self.near.stuck = True
        stream = self.one.send(Outgoing("text/plain"))
        for _ in range(20):
            stream.write(b"x" * 65536)
        self.assertLessEqual(self.near.kept, WINDOW + PIECE + 500)
        self.assertGreater(stream.pending, 15 * 65536)
        self.assertEqual(stream.pending, self.one.pending)
        self.let_go()
        self.assertEqual((stream.pending, self.one.pending, self.alice.drained), (0, 0, 1))

    def test_drained(self) -> None:
        """Who had to wait is told when the connection has taken all, once."""
        drained: list[str] = []
        stream = Outgoing("text/plain", on_drained=lambda: drained.append("stream"))
        self.one.send(stream)
        stream.write(b"x" * 3000)
        self.assertEqual(drained, [])
        self.hold_up()
        stream.write(b"x" * 100)
        stream.write(b"x" * 100)
        self.let_go()
        stream.write(b"x")
        self.assertEqual((drained, self.alice.drained), (["stream"], 1))

    def test_few_octets(self) -> None:
        """Octets too few for a chunk count as taken: nobody waits for their departure."""
        drained: list[str] = []
        stream = Outgoing("text/plain", on_drained=lambda: drained.append("stream"))
        self.one.send(stream)
        self.hold_up()
        stream.write(b"x" * 100)
        self.let_go()
        self.assertEqual((drained, stream.pending), (["stream"], 100))

    def test_unanswered(self) -> None:
        """Not more than so many answers may be due; the rest waits."""
        world = World(Limits(unanswered=10))
        one, _ = world.pair(User(), User())
        for _ in range(25):
            one.send(text(b"x"))
        self.assertEqual(len(heads(b"".join(world.near.out))), 10)
        self.assertEqual(one.pending, 15)
        world.carry()
        self.assertEqual(one.pending, 0)

    def test_who_does_not_read(self) -> None:
        """A peer that takes nothing is dropped; one that asks and does not read, not heard."""
        self.near.stuck = True
        self.one.send(text(b"x" * 1_000_000))
        self.world.pass_time(59)
        self.assertEqual(self.near.ended, [])
        self.world.pass_time(2)
        self.assertEqual(self.near.ended, ["the peer does not read"])
        world = World(far=Limits(unread=10_000, window=5000))
        one, _ = world.pair(User(), User())
        world.far.stuck = True
        for _ in range(100):
            one.send(text(b"x"))
        world.far.channel.received(world.near.take())
        self.assertTrue(world.far.paused)
        world.far.kept = 0
        world.far.channel.drained()
        self.assertFalse(world.far.paused)

    def test_not_read_is_not_late(self) -> None:
        """While nothing is read, nothing is late: no answer, no half request (RFC 4975 §7.1.1)."""
        ends: list[int] = []
        self.one.send(text(b"hello", on_end=ends.append))
        self.world.far.channel.received(self.world.near.take())
        answer = self.world.far.take()
        self.world.near.channel.received(answer[:9])
        self.one.pause()
        self.world.pass_time(59)
        self.assertEqual((ends, self.near.ended), ([], []))
        self.one.resume()
        self.world.pass_time(9)
        self.world.near.channel.received(answer[9:])
        self.assertEqual((ends, self.near.ended), ([200], []))
        self.one.pause()
        self.one.send(text(b"again", on_end=ends.append))
        self.near.take()
        self.world.pass_time(59)
        self.one.resume()
        self.world.pass_time(29)
        self.assertEqual(ends, [200])
        self.world.pass_time(2)
        self.assertEqual(ends, [200, 408])

    def test_slow_but_going_on(self) -> None:
        """A large message to a slow peer goes by chunks whose answers tell that it moves on, and is
        not late meanwhile; 30 seconds after the last of them it is (RFC 4975 §7.1.1)."""
        self.one.send(text(b"x" * 3 * STRETCH, on_end=self.statuses.append))
        self.one.send(text(b"y", on_end=self.statuses.append))
        frames = b"".join(self.near.out).split(b"MSRP ")[1:]
        self.near.take()
        self.assertEqual(len(frames), 4)
        for number, frame in enumerate(frames[:3], 1):
            self.world.pass_time(25)
            self.world.far.channel.received(b"MSRP " + frame)
            self.near.channel.received(self.world.far.take())
            self.assertEqual(self.statuses, [200] * (number // 3))
        self.world.pass_time(29)
        self.assertEqual(self.statuses, [200])
        self.world.pass_time(2)
        self.assertEqual(self.statuses, [200, 408])

    def test_left_out(self) -> None:
        """A request that is passed over is late after 30 seconds, whatever is answered behind it
        (RFC 4975 §7.1.1)."""
        self.one.send(text(b"lost", on_end=self.statuses.append))
        self.near.take()
        for _ in range(4):
            self.world.pass_time(7)
            self.one.send(text(b"heard"))
            self.world.carry()
        self.assertEqual(self.statuses, [])
        self.world.pass_time(3)
        self.assertEqual(self.statuses, [408])

    def test_pause(self) -> None:
        """A paused session pauses its connection."""
        self.other.pause()
        self.other.pause()
        self.assertTrue(self.world.far.paused)
        self.other.resume()
        self.assertFalse(self.world.far.paused)
        self.other.pause()
        self.other.close()
        self.assertFalse(self.world.far.paused)

    def test_progress(self) -> None:
        """Progress is told as octets leave."""
        told: list[int] = []
        stream = self.one.send(Outgoing("text/plain", on_progress=told.append))
        stream.write(b"x" * 3000)
        stream.write(b"x" * 3000)
        stream.finish()
        self.assertEqual(told[-1], 6000)
        self.assertEqual(told, sorted(told))


class AnyTests(SynchronousTestCase):
    @given(st.data())
    def test_anything(self, data: st.DataObject) -> None:
        """Whatever is sent, in whatever turns, over a connection that comes and goes: each
        message arrives once and whole, or not at all if it was aborted."""
        world = World()
        alice, bob = User(), User(data.draw(st.sampled_from(["collect", "stream"])))
        one, _ = world.pair(alice, bob)
        near = world.near
        sizes = st.sampled_from([0, 1, 5, 2047, 2048, 2049, 20_000, 65_536, 65_537, 200_000])
        expected: dict[str, bytes] = {}
        aborted: set[str] = set()
        open_streams: list[tuple[Outgoing, bytearray]] = []
        ends: dict[str, int] = {}
        for number in range(data.draw(st.integers(1, 25))):
            step = data.draw(st.integers(0, 7))
            letter = bytes([97 + number])
            if step == 0:
                name = f"whole{number}"
                body = letter * data.draw(sizes)
                failure = data.draw(st.sampled_from([YES, PARTIAL, NO]))
                outgoing = text(
                    body,
                    message_id=name,
                    failure_report=failure,
                    on_end=lambda status, name=name: ends.update({name: status}),
                )
                expected[name] = body
                one.send(outgoing)
            elif step == 1:
                name = f"stream{number}"
                outgoing = Outgoing(
                    "text/plain",
                    message_id=name,
                    on_end=lambda status, name=name: ends.update({name: status}),  # type: ignore[misc]
                )
                one.send(outgoing)
                open_streams.append((outgoing, bytearray()))
            elif step in (2, 3) and open_streams:
                outgoing, body_so_far = data.draw(st.sampled_from(open_streams))
                piece = letter * data.draw(sizes)
                outgoing.write(piece)
                body_so_far += piece
            elif step == 4 and open_streams:
                outgoing, body_so_far = open_streams.pop(
                    data.draw(st.integers(0, len(open_streams) - 1))
                )
                if data.draw(st.booleans()):
                    outgoing.finish()
                    expected[outgoing.message_id] = bytes(body_so_far)
                else:
                    outgoing.abort()
                    aborted.add(outgoing.message_id)
            elif step == 5:
                near.stuck = not near.stuck
                if not near.stuck:
                    near.kept = 0
                    near.channel.drained()
            elif step == 6:
                world.carry()
            else:
                one.nickname("x", lambda status: None)
        near.stuck = False
        near.kept = 0
        near.channel.drained()
        for outgoing, body_so_far in open_streams:
            outgoing.finish()
            expected[outgoing.message_id] = bytes(body_so_far)
        world.carry()
        if bob.mode == "collect":
            self.assertEqual(sorted(bob.bodies), sorted(expected.values()))
        else:
            whole = {name for name, complete in bob.ends.items() if complete}
            self.assertEqual(whole, set(expected))
            for name, body in expected.items():
                self.assertEqual(bob.streams[name], body, name)
            self.assertLessEqual(set(bob.ends) - whole, aborted)
        self.assertEqual({ends[name] for name in expected}, {200} if expected else set())
        self.assertEqual((one.pending, world.far.counters), (0, {}))
        self.assertFalse(near.channel.turns.busy)
        self.assertLess(sum(map(len, bob.bodies)), LARGE)


class RangeTests(SynchronousTestCase):
    def test_text(self) -> None:
        """As in the examples of RFC 4975 §4 and §5.1."""
        self.assertEqual(str(ByteRange(1, 25, 25)), "1-25/25")
        self.assertEqual(str(ByteRange(1)), "1-*/*")
        self.assertEqual(str(ByteRange(5, -1, 8)), "5-*/8")
