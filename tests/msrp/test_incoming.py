"""Putting chunks together in whatever order they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.msrp import Accepting, Incoming, Limits, SessionUser
from omaim.msrp.accepting import wrapped_type
from omaim.msrp.assembling import Patchwork
from omaim.msrp.frame import write_request
from tests.msrp.support import User, World, heads, text


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.start()

    def start(self, mode: str = "collect", limit: int = 1 << 20, far: Limits | None = None) -> None:
        self.world = World(far=far)
        self.bob = User(mode, limit)
        self.one, self.other = self.world.pair(User(), self.bob)

    def chunk(
        self,
        start: int,
        body: bytes | None,
        flag: bytes = b"+",
        total: str = "*",
        name: str = "m123",
    ) -> list[int]:
        """Let a chunk arrive; return the statuses answered, and 1 for each report."""
        more = f"Message-ID: {name}\r\nByte-Range: {start}-*/{total}\r\n".encode()
        more += b"Success-Report: yes\r\n"
        if body is not None:
            more += b"Content-Type: text/plain\r\n"
        to, own = str(self.other.uri).encode(), str(self.one.uri).encode()
        data = write_request(
            self.world.near.means.transaction(), b"SEND", to, own, more, body, flag
        )
        self.world.far.channel.received(data)
        self.answer = self.world.far.take()
        return [head.status or 1 for head in heads(self.answer)]


class OrderTests(Case):
    def test_out_of_order(self) -> None:
        """Chunks are put in their places; "$" fixes the size (RFC 4975 §7.3.1)."""
        self.assertEqual(self.chunk(6, b"world", b"$"), [200])
        self.assertEqual(self.bob.bodies, [])
        self.assertEqual(self.chunk(1, b"hello"), [200, 1])
        self.assertEqual(self.bob.bodies, [b"helloworld"])
        self.assertEqual(heads(self.answer)[1].get(b"Byte-Range"), b"1-10/10")

    def test_more_comes_meanwhile(self) -> None:
        """A user who reads on while it gets a message loses nothing, and the order stays."""
        self.one.send(text(b"one"))
        first = self.world.near.take()
        self.one.send(text(b"x" * 60_000))
        second = self.world.near.take()
        late = [second[:30_000]]

        def read_on(incoming: Incoming) -> None:
            if late:
                self.world.far.channel.received(late.pop())

        self.bob.on_whole = read_on
        self.world.far.channel.received(first)
        self.world.far.channel.received(second[30_000:])
        self.assertEqual(self.bob.bodies, [b"one", b"x" * 60_000])
        self.assertEqual(self.world.far.counters["unknown_method"], 0)

    def test_overlapping(self) -> None:
        """Where chunks overlap, the one that came last counts (RFC 4975 §7.3.1)."""
        self.chunk(1, b"a" * 10)
        self.chunk(5, b"b" * 10)
        self.chunk(8, b"c")
        self.chunk(15, b"d", b"$")
        self.assertEqual(self.bob.bodies, [b"aaaabbbcbbbbbbd"])

    def test_single(self) -> None:
        """One chunk is the whole when it begins at 1 and ends with "$", whatever its range and
        total say (RFC 4975 §7.3.1)."""
        self.assertEqual(self.chunk(1, b"hello", b"$", "9999"), [200, 1])
        self.assertEqual(self.bob.bodies, [b"hello"])

    def test_empty_last(self) -> None:
        """A last chunk may be empty."""
        self.chunk(1, b"hello")
        self.assertEqual(self.chunk(6, b"", b"$"), [200, 1])
        self.assertEqual(self.bob.bodies, [b"hello"])

    def test_stream_in_order(self) -> None:
        """A stream gets each octet once and in order; what was given out stays."""
        self.start("stream")
        self.chunk(1, b"aaaa")
        self.chunk(9, b"cc")
        self.chunk(3, b"bbbb")
        self.assertEqual(self.bob.streams["m123"], b"aaaabb")
        self.chunk(11, b"dd", b"$")
        self.chunk(7, b"ee")
        self.assertEqual(self.bob.streams["m123"], b"aaaabbeeccdd")
        self.assertEqual(self.bob.ends, {"m123": True})

    def test_stream_limit(self) -> None:
        """Of what is ahead of a stream not more than the limit is kept."""
        self.start("stream", far=Limits(ahead=10))
        self.assertEqual(self.chunk(6, b"x" * 10), [200])
        self.assertEqual(self.chunk(20, b"x"), [413])
        self.assertEqual(self.chunk(1, b"x", b"$"), [413])
        self.assertEqual(self.bob.ends, {})

    def test_gaps(self) -> None:
        """A message may not lie in too many pieces."""
        self.start(far=Limits(gaps=4))
        for number in range(1, 5):
            self.assertEqual(self.chunk(number * 10, b"x"), [200])
        self.assertEqual(self.chunk(80, b"x"), [413])

    def test_missing_range(self) -> None:
        """Later chunks must have a range (RFC 4975 §7.1.1)."""
        self.chunk(1, b"hello")
        to, own = str(self.other.uri).encode(), str(self.one.uri).encode()
        more = b"Message-ID: m123\r\nContent-Type: text/plain\r\n"
        self.world.far.channel.received(write_request(b"abcd", b"SEND", to, own, more, b"x"))
        self.assertEqual(heads(self.world.far.take())[0].status, 400)

    def test_aborted(self) -> None:
        """ "#" ends a message that is not whole (RFC 4975 §7.1)."""
        self.chunk(1, b"hello")
        self.assertEqual(self.chunk(6, b"wor", b"#"), [200])
        self.assertEqual((self.bob.bodies, self.bob.failed), ([], ["m123"]))
        self.chunk(1, b"again", b"$")
        self.assertEqual(self.bob.bodies, [b"again"])

    @given(st.data())
    def test_any_order(self, data: st.DataObject) -> None:
        """Chunks in any order, cut anywhere, repeated or not: the message becomes whole."""
        mode = data.draw(st.sampled_from(["collect", "stream"]))
        self.start(mode)
        body = data.draw(st.binary(max_size=60))
        cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(body) - 1)), max_size=8)))
        edges = [0, *[cut for cut in cuts if cut < len(body)], len(body)]
        pieces = [(edges[n], edges[n + 1]) for n in range(len(edges) - 1)]
        order = data.draw(st.permutations(pieces))
        repeats = data.draw(st.lists(st.sampled_from(pieces), max_size=3))
        for start, end in [*repeats, *order]:
            self.chunk(start + 1, body[start:end], b"$" if end == len(body) else b"+")
        if mode == "collect":
            self.assertEqual(self.bob.bodies, [body])
        else:
            self.assertEqual((self.bob.streams["m123"], self.bob.ends), (body, {"m123": True}))


class LimitTests(Case):
    def test_too_large(self) -> None:
        """413 at the announced size, or as soon as too much is here (RFC 4975 §10.5)."""
        self.start(limit=10)
        self.assertEqual(self.chunk(1, b"x", b"+", "11"), [413])
        self.start(limit=10)
        self.assertEqual(self.chunk(1, b"x" * 10), [200])
        self.assertEqual(self.chunk(11, b"x", b"$"), [413])
        self.assertEqual((self.bob.bodies, self.bob.failed), ([], []))
        self.start(limit=10)
        self.assertEqual(self.chunk(1 << 40, b"x"), [413])

    def test_refused_goes_on(self) -> None:
        """Further chunks of a refused message are refused alike, until its end."""
        self.start(limit=10)
        self.chunk(1, b"x" * 11)
        self.assertEqual(self.chunk(12, b"x"), [413])
        self.assertEqual(self.chunk(13, b"x", b"$"), [413])
        self.assertEqual(len(self.bob.seen), 1)
        self.assertEqual(self.chunk(1, b"x", b"$"), [200, 1])

    def test_refused_in_the_middle(self) -> None:
        """A chunk that is refused while it comes in is answered at once, and once."""
        self.start("stream")
        more = b"Message-ID: m123\r\nByte-Range: 1-*/*\r\nContent-Type: text/plain\r\n"
        to, own = str(self.other.uri).encode(), str(self.one.uri).encode()
        data = write_request(b"abcd", b"SEND", to, own, more, b"x" * 100)
        far = self.world.far
        far.channel.received(data[:-50])
        self.bob.seen[0].refuse(403, "no more")
        self.bob.seen[0].refuse(413)
        self.assertEqual([head.status for head in heads(far.take())], [403])
        far.channel.received(data[-50:])
        self.assertEqual((far.take(), self.bob.ends), (b"", {}))

    def test_too_many(self) -> None:
        """Only so many messages may be unfinished at a time."""
        self.start(far=Limits(messages=2))
        for number in range(2):
            self.assertEqual(self.chunk(1, b"x", name=f"m12{number}"), [200])
        self.assertEqual(self.chunk(1, b"x", name="m129"), [413])
        self.chunk(2, b"x", b"$", name="m120")
        self.assertEqual(self.chunk(1, b"x", name="m129"), [200])

    def test_silence(self) -> None:
        """A message that pauses for too long is given up; one that goes on is not."""
        for mode in ("collect", "stream"):
            self.start(mode)
            self.chunk(1, b"x")
            self.world.pass_time(500)
            self.chunk(2, b"x")
            self.world.pass_time(500)
            self.assertEqual((self.bob.failed, self.bob.ends), ([], {}))
            self.world.pass_time(1100)
            self.assertEqual(bool(self.bob.failed) or self.bob.ends == {"m123": False}, True)

    def test_many_whole(self) -> None:
        """Messages that are over are not kept in mind until their time would be up."""
        for number in range(300):
            self.chunk(1, b"x", name=f"m{number:03}")
            self.chunk(2, b"x", b"$", name=f"m{number:03}")
        self.assertEqual(len(self.bob.bodies), 300)
        self.assertLess(len(self.world.far.channel._lane), 70)

    def test_recent(self) -> None:
        """Only so many Message-IDs are remembered."""
        self.start(far=Limits(recent=2))
        for name in ("m001", "m002", "m003", "m001", "m003"):
            self.chunk(1, b"x", b"$", name=name)
        self.assertEqual(len(self.bob.bodies), 4)

    def test_decide_once(self) -> None:
        """What becomes of a message is said once."""
        errors: list[str] = []

        def twice(session: object, incoming: Incoming) -> None:
            incoming.stream(lambda offset, data: None, lambda complete: None)
            try:
                incoming.collect(10, lambda body: None)
            except UsageError as error:
                errors.append(str(error))

        self.other.user = SessionUser(twice)
        self.chunk(1, b"x", b"$")
        self.assertEqual(len(errors), 1)


class AcceptingTests(SynchronousTestCase):
    def test_types(self) -> None:
        """Entries with and without "*", parameters aside (RFC 4975 §8.6)."""
        some = Accepting(("text/plain;format=flowed", "image/*", "message/cpim"), ("video/mp4",))
        for name in ("TEXT/plain", "text/plain; charset=utf-8", "image/png", "message/cpim"):
            self.assertTrue(some.takes(name) and some.takes_wrapped(name), name)
        self.assertFalse(some.takes("text/html") or some.takes_wrapped("text/html"))
        self.assertEqual((some.takes("video/mp4"), some.takes_wrapped("video/mp4")), (False, True))
        self.assertTrue(Accepting(("*",)).takes("a/b"))
        self.assertTrue(Accepting().takes("a/b") and Accepting().takes_wrapped("a/b"))

    def test_wrapped(self) -> None:
        """The type inside a CPIM body, if its head is here (RFC 3862 §2.4)."""
        self.assertEqual(wrapped_type(b"To: x\r\n\r\nContent-type: A/B; c=d\r\n\r\nx"), "a/b")
        for data in (
            b"",
            b"To: x\r\n\r\n",
            b"To: x\r\n\r\nContent-Type: a/b\r\n",
            b"a\r\n\r\nb\r\n\r\n",
        ):
            self.assertEqual(wrapped_type(data), "", data)


class PatchworkTests(SynchronousTestCase):
    @given(st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=15)), max_size=12))
    def test_model(self, puts: list[tuple[int, bytes]]) -> None:
        """It is as if each piece were written over an empty tape."""
        tape: dict[int, int] = {}
        patches = Patchwork()
        for offset, data in puts:
            patches.put(offset, data)
            tape.update({offset + n: octet for n, octet in enumerate(data)})
            self.assertEqual(patches.octets, len(tape))
        runs = sum(1 for at in tape if at - 1 not in tape)
        self.assertEqual(len(patches), runs)
        total = next(n for n in range(100) if n not in tape)
        self.assertTrue(patches.whole(total))
        self.assertFalse(patches.whole(total + 1))
        self.assertEqual(patches.take(0), bytes([tape[n] for n in range(total)]))
        self.assertEqual(patches.take(0), b"")

    def test_take_later(self) -> None:
        """What comes before the place asked for is forgotten."""
        patches = Patchwork()
        patches.put(0, b"abc")
        patches.put(5, b"fgh")
        self.assertEqual((patches.take(6), patches.octets), (b"gh", 0))
        self.assertEqual(text(b"x").pending, 1)
