"""omaim/msrp/relaying.py: connections that are slow, silent or lost, and bodies in pieces."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from omaim.msrp import Limits, MsrpUri
from omaim.msrp.frame import write_response
from omaim.msrp.leg import Leg
from tests.msrp.relays import HOST, Peer, World, frames

FAR = "msrps://far.example.com:7000/x;tcp"


class ConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(Limits(stalled=20.0, idle=3600.0))
        self.alice, self.bob = self.world.client("alice"), self.world.client("bob")
        self.to_bob = f"{self.alice.use_path} {self.bob.use_path} {self.bob.uri}"

    def test_probation(self) -> None:
        """Who makes no good request within 30 s is ended (§6.1)."""
        silent, refused = self.world.peer("silent"), self.world.peer("refused")
        good = self.world.peer("good")
        refused.request("AUTH", f"msrps://{HOST};tcp")
        good.send(f"{self.alice.use_path} {self.alice.uri}")
        self.world.pass_time(31)
        self.assertEqual(
            [bool(peer.gone) for peer in (silent, refused, good, self.alice)],
            [True, True, False, False],
        )

    def test_half_a_head(self) -> None:
        """Nor is who takes his time over a head."""
        for piece in (b"MSRP ab", b"cd SEND\r\nTo-Path: ", b"x"):
            self.alice.say(piece)
            self.world.pass_time(4)
        self.assertTrue(self.alice.gone)

    def test_idle(self) -> None:
        """A connection that nobody has used for an hour is closed (§6.5)."""
        self.world.pass_time(3500)
        self.alice.authorize()
        self.world.pass_time(200)
        self.assertEqual((self.alice.gone, self.bob.gone), ("", "idle"))

    def test_slow_hop(self) -> None:
        """A next hop that does not read makes the previous one wait; nothing is dropped, memory
        is bounded, and the answer timer begins when the last octet has left (§6.4.1)."""
        self.bob.stuck = True
        for _ in range(100):
            self.alice.send(self.to_bob, b"x" * 4000)
        self.assertTrue(self.alice.paused)
        held = sum(map(len, self.bob.kept))
        self.assertLess(held, 131072 + 65536 + 10_000)
        answered = len(self.alice.take())
        self.assertLess(answered, 50)
        self.world.pass_time(19)
        self.bob.unstick()
        for _ in range(3):
            self.world.settle()
        self.assertFalse(self.alice.paused)
        self.assertEqual(len(self.bob.take()), 100)
        self.assertEqual(len(self.alice.take()) + answered, 100)
        self.world.pass_time(40)
        self.assertEqual(self.alice.take(), [])

    def test_hop_that_never_reads(self) -> None:
        """After some time it is ended, and each SEND that had a 200 is reported."""
        self.bob.stuck = True
        for _ in range(100):
            self.alice.send(self.to_bob, b"x" * 4000)
        answered = self.alice.whats().count("200")
        self.world.pass_time(21)
        self.assertEqual(self.bob.gone, "the peer does not read")
        self.world.settle()
        seen = self.alice.whats()
        self.assertEqual(seen.count("REPORT"), answered)
        self.assertEqual(seen.count("481"), 100 - answered)
        self.assertFalse(self.alice.paused)

    def test_hop_that_never_answers(self) -> None:
        """No more than so many wait for an answer; then the previous hop waits."""
        world = World(Limits(unanswered=10))
        alice, bob = world.client("alice"), world.client("bob")
        bob.answers = False
        for _ in range(30):
            alice.send(f"{alice.use_path} {bob.use_path} {bob.uri}")
        self.assertEqual((len(bob.take()), alice.paused), (10, True))
        world.pass_time(31)
        world.settle()
        self.assertEqual(alice.whats().count("REPORT"), 10)
        self.assertEqual(len(bob.take()), 10)

    def test_answers_that_need_not_come(self) -> None:
        """With Failure-Report "partial" no answer comes if all is well: nobody waits for it."""
        self.bob.answers = False
        for _ in range(3000):
            self.alice.send(self.to_bob, Failure_Report="partial")
        self.assertEqual((len(self.bob.take()), self.alice.paused), (3000, False))
        self.bob.fail()
        self.assertEqual(self.alice.take(), [])

    def test_hop_lost(self) -> None:
        """SENDs that nobody answered are reported when the connection ends (§6.4.1)."""
        self.bob.answers = False
        self.alice.send(self.to_bob)
        self.alice.request("NICKNAME", self.to_bob, Use_Nickname='"A"')
        self.bob.fail()
        self.assertEqual(self.alice.whats(), ["200", "REPORT", "408"])

    def test_hop_coming_up(self) -> None:
        """What is for a connection that is coming up waits for it, and is reported when it does
        not come, whatever Failure-Report says but "no"."""
        self.world.slow = True
        for value in ("yes", "partial", "no"):
            self.alice.send(f"{self.alice.use_path} {FAR}", Failure_Report=value)
        far = self.world.hops["far.example.com"]
        self.world.pass_time(40)
        self.assertEqual((far.take(), self.alice.whats()), ([], ["200"]))
        far.come_up()
        self.assertEqual(far.whats(), ["SEND"] * 3)
        self.world.settle()
        far.fail()
        for value in ("yes", "partial", "no"):
            self.alice.send(f"{self.alice.use_path} {FAR}", Failure_Report=value)
        self.world.hops["far.example.com"].fail()
        self.assertEqual(self.alice.whats(), ["200", "REPORT", "REPORT"])

    def test_unread_answers(self) -> None:
        """Who does not read his answers is not read."""
        world = World(Limits(unread=200_000, window=100_000, stalled=1e6))
        alice, bob = world.client("alice"), world.client("bob")
        alice.stuck = True
        for _ in range(3000):
            alice.send(f"{alice.use_path} {bob.use_path} {bob.uri}")
            world.settle()
        self.assertTrue(alice.paused)
        self.assertLess(sum(map(len, alice.kept)), 210_000)
        alice.unstick()
        world.settle()
        self.assertEqual(len(bob.take()), 3000)

    def test_rate(self) -> None:
        """Who sends more than allowed waits."""
        world = World(rate=10_000.0)
        alice, bob = world.client("alice"), world.client("bob")
        for _ in range(30):
            alice.send(f"{alice.use_path} {bob.use_path} {bob.uri}", b"x" * 1000)
        came = len(bob.take())
        self.assertTrue(alice.paused)
        self.assertLess(came, 15)
        for _ in range(8):
            world.pass_time(1)
            world.settle()
        self.assertEqual(came + len(bob.take()), 30)

    def test_stopping_report(self) -> None:
        """A report for a relay whose connection is gone goes by another one."""
        one = self.world.peer("one", names=("one.example.com",))
        origin = "msrps://one.example.com:9000/x;tcp msrps://carol.example.com:7000/c;tcp"
        self.bob.answers = False
        one.send(f"{self.bob.use_path} {self.bob.uri}", origin=origin)
        one.leg.vouched("one.example.com")
        one.fail()
        self.world.pass_time(31)
        (report,) = self.world.hops["one.example.com"].take()
        self.assertEqual((report.what, report.head.to_path.decode()), ("REPORT", origin))


class RoomTests(SynchronousTestCase):
    """What ends when there are too many connections."""

    def setUp(self) -> None:
        self.world = World()
        self.peers: list[Peer] = []
        for name in ("alice", "bob", "carol"):
            self.peers.append(self.world.client(name))
            self.world.pass_time(1)
        self.alice, self.bob, self.carol = self.peers
        self.to_bob = f"{self.alice.use_path} {self.bob.use_path} {self.bob.uri}"

    def ended(self) -> list[str]:
        """Make room once; return who is gone then."""
        self.world.relay.make_room()
        return [peer.name for peer in self.world.peers if peer.gone]

    def test_least_recently_used(self) -> None:
        """The connection that was not used for longest goes first, whichever way it was used."""
        self.alice.send(self.to_bob, Failure_Report="no")
        self.assertEqual(self.ended(), ["carol"])
        self.world.pass_time(1)
        self.bob.authorize()
        self.assertEqual(self.ended(), ["alice", "carol"])
        self.assertTrue(self.world.relay.make_room())
        self.assertFalse(self.world.relay.make_room())
        self.assertEqual(self.world.counters["closed_for_room"], 3)
        self.assertEqual(len(self.world.grants), 0)

    def test_told_is_used(self) -> None:
        """Who only listens uses the connection as well, and is not idle (§6.5)."""
        self.bob.answers = False
        for _ in range(3):
            self.world.pass_time(200)
            self.alice.send(self.to_bob, Failure_Report="no")
        self.assertEqual((self.alice.gone, self.bob.gone, self.carol.gone), ("", "", "idle"))
        self.world.pass_time(1)
        self.alice.authorize()
        self.assertEqual(self.ended(), ["bob", "carol"])

    def test_strangers_first(self) -> None:
        """Who has connected and not made a good request goes before all others."""
        first, second = self.world.peer("first"), self.world.peer("second")
        second.request("AUTH", f"msrps://{HOST};tcp")
        self.assertEqual(self.ended(), ["first"])
        self.assertEqual(first.gone, "its place is needed")
        self.assertEqual(self.ended(), ["first", "second"])
        self.assertEqual(self.ended(), ["alice", "first", "second"])

    def test_unanswered(self) -> None:
        """Neither the source nor the target of what was answered for and is not settled goes:
        a REPORT may be due to the one, an answer from the other (§6.4.1)."""
        self.bob.answers = False
        self.alice.send(self.to_bob)
        self.assertEqual(self.alice.whats(), ["200"])
        self.assertEqual(self.ended(), ["carol"])
        self.assertEqual(self.ended(), ["carol"])
        self.world.pass_time(31)
        self.assertEqual(self.alice.whats(), ["REPORT"])
        self.assertEqual(len(self.ended()), 2)

    def test_answered(self) -> None:
        """When all is settled they may go."""
        self.alice.send(self.to_bob)
        self.world.settle()
        self.assertEqual(len(self.ended()), 1)
        self.assertEqual(len(self.ended()), 2)
        self.assertEqual(len(self.ended()), 3)

    def test_half(self) -> None:
        """Nor does a connection go by which half a frame has come, or on which something waits."""
        self.alice.say(b"MSRP abcd SEN")
        self.bob.stuck = True
        self.bob.request("AUTH", f"msrps://{HOST};tcp", Authorization="good")
        self.assertEqual(self.ended(), ["carol"])
        self.assertEqual(self.ended(), ["carol"])
        self.bob.unstick()
        self.world.pass_time(1)
        self.assertEqual(self.ended(), ["bob", "carol"])

    def test_in_a_chunk(self) -> None:
        """Nor one in the middle of a chunk, whichever way that goes."""
        head = (
            f"MSRP abcd1234 SEND\r\nTo-Path: {self.to_bob}\r\nFrom-Path: {self.alice.uri}\r\n"
            "Message-ID: 1234\r\nByte-Range: 1-*/*\r\nFailure-Report: no\r\n"
            "Content-Type: a/b\r\n\r\n"
        )
        self.alice.say(head.encode() + b"x" * 30_000)
        self.assertEqual(self.ended(), ["carol"])
        self.assertEqual(self.ended(), ["carol"])
        self.alice.say(b"\r\n-------abcd1234$\r\n")
        self.world.pass_time(1)
        self.assertEqual(len(self.ended()), 2)

    def crowd(self) -> None:
        """Let the relay want room for several connections whenever it is to open one."""
        relay = self.world.relay
        reach = relay._reach

        def full(uri: MsrpUri) -> Leg:
            for _ in range(5):
                relay.make_room()
            return reach(uri)

        relay._reach = full

    def test_not_who_asks(self) -> None:
        """Who needs a new connection does not lose its own for it, even as a stranger."""
        self.crowd()
        ours = f"msrps://{HOST}:9000/ours;tcp"
        self.world.give(ours, host="inner.example.com")
        stranger = self.world.peer("stranger")
        stranger.send(f"{ours} msrps://inner.example.com:7000/x;tcp msrps://c.example.com:7/c;tcp")
        self.assertEqual(stranger.whats(), ["200"])
        self.world.settle()
        stranger.fail()

    def test_not_who_asks_to_go_on(self) -> None:
        """Nor does a client of ours that wants to go on to somewhere."""
        self.crowd()
        self.alice.send(f"{self.alice.use_path} {FAR}")
        self.assertEqual([peer.name for peer in self.world.peers if peer.gone], ["bob", "carol"])
        self.world.settle()
        self.assertEqual(self.alice.whats(), ["200"])

    def test_many(self) -> None:
        """Of many, they go in the order of their last use, and who is used meanwhile stays."""
        peers = []
        for number in range(200):
            peers.append(self.world.client(f"p{number:03d}"))
            self.world.pass_time(0.1)
        for number in range(100):
            if number == 50:
                peers[60].authorize()
            self.world.relay.make_room()
        gone = {peer.name for peer in self.world.peers if peer.gone}
        wanted = {"alice", "bob", "carol"} | {f"p{number:03d}" for number in range(98)}
        self.assertEqual(gone, wanted - {"p060"})

    def test_nobody_rests(self) -> None:
        """Where all are busy, it is not looked for the least busy one again and again."""
        for peer in self.peers:
            peer.say(b"MSRP abcd SEN")
        self.assertEqual(self.ended(), [])
        for peer in self.peers:
            peer.say(b"D")
        self.carol.fail()
        self.world.client("dave")
        self.assertFalse(self.world.relay.make_room())
        self.world.pass_time(1.1)
        self.assertTrue(self.world.relay.make_room())


class StreamTests(SynchronousTestCase):
    """Bodies that come in pieces (RFC 4976 §6.4.1; RFC 4975 §5.1)."""

    def setUp(self) -> None:
        self.world = World()
        self.alice, self.bob = self.world.client("alice"), self.world.client("bob")
        self.carol = self.world.client("carol")
        self.bob.answers = False

    def begin(self, peer: Peer, body: bytes, **fields: str) -> str:
        """Send the beginning of a chunk; return its transaction identifier."""
        transaction = peer.transaction()
        more = {"Message_ID": f"m{transaction}", "Byte_Range": "1-*/9000", **fields}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
        to = f"{peer.use_path} {self.bob.use_path} {self.bob.uri}"
        head = f"MSRP {transaction} SEND\r\nTo-Path: {to}\r\nFrom-Path: {peer.uri}\r\n{lines}"
        peer.say(head.encode() + b"Content-Type: text/plain\r\n\r\n" + body)
        return transaction

    def test_first_before_last(self) -> None:
        """The first octets leave before the last have come, and nothing is kept."""
        self.bob.raw.clear()
        transaction = self.begin(self.alice, b"a" * 3000)
        self.assertIn(b"a" * 2900, b"".join(self.bob.raw))
        for _ in range(100):
            self.alice.say(b"b" * 10_000)
        self.assertGreater(len(b"".join(self.bob.raw)), 1_000_000)
        self.assertEqual(self.alice.take(), [])
        self.alice.say(b"\r\n-------%b$\r\n" % transaction.encode())
        (frame,) = frames(b"".join(self.bob.raw))
        self.assertEqual(frame.body, b"a" * 3000 + b"b" * 1_000_000)
        self.assertEqual(frame.field("Byte-Range"), "1-*/9000")
        self.assertEqual(self.alice.whats(), ["200"])

    def test_interrupted(self) -> None:
        """Whatever else is for the same connection interrupts the chunk, which goes on in another
        one with the right range."""
        transaction = self.begin(self.alice, b"a" * 3000)
        self.carol.send(f"{self.carol.use_path} {self.bob.use_path} {self.bob.uri}", b"small")
        self.alice.say(b"b" * 3000 + b"\r\n-------%b$\r\n" % transaction.encode())
        first, small, second = self.bob.take()
        self.assertEqual((first.body, chr(first.flag)), (b"a" * 3000, "+"))
        self.assertEqual(small.body, b"small")
        self.assertEqual((second.body, chr(second.flag)), (b"b" * 3000, "$"))
        self.assertEqual(
            [first.field("Byte-Range"), second.field("Byte-Range")], ["1-*/9000", "3001-*/9000"]
        )
        self.assertEqual(first.field("Message-ID"), second.field("Message-ID"))
        self.bob.respond(second, 413)
        self.assertEqual(self.alice.take()[-1].field("Byte-Range"), "3001-6000/9000")
        self.world.pass_time(31)
        self.assertEqual(self.alice.take()[-1].field("Byte-Range"), "1-3000/9000")

    def test_two_streams(self) -> None:
        """Two bodies for one connection take turns, in chunks worth their heads."""
        one, other = self.begin(self.alice, b"a" * 3000), self.begin(self.carol, b"c" * 3000)
        for _ in range(100):
            self.alice.say(b"a" * 100)
            self.carol.say(b"c" * 100)
        self.alice.say(b"\r\n-------%b$\r\n" % one.encode())
        self.carol.say(b"\r\n-------%b+\r\n" % other.encode())
        came = self.bob.take()
        bodies = {b"a": b"", b"c": b""}
        for frame in came:
            bodies[frame.body[:1]] += frame.body
        self.assertEqual(bodies, {b"a": b"a" * 13_000, b"c": b"c" * 13_000})
        self.assertLess(len(came), 16)
        flags = [chr(frame.flag) for frame in came]
        self.assertEqual((flags.count("$"), set(flags)), (1, {"$", "+"}))

    def test_refused_midway(self) -> None:
        """An error for the chunk that is coming ends it: the originator is told at once, the
        rest goes nowhere and is not answered 200."""
        self.bob.raw.clear()
        transaction = self.begin(self.alice, b"a" * 3000)
        sent = b"".join(self.bob.raw)
        new = sent.split(b" ")[1]
        self.bob.say(write_response(new, 413, "", b"msrps://x:1/y;tcp", b"msrps://x:1/z;tcp"))
        (report,) = self.alice.take()
        self.assertEqual(report.field("Status"), "000 413 Stop Sending")
        self.alice.say(b"b" * 5000 + b"\r\n-------%b$\r\n" % transaction.encode())
        self.assertEqual(self.alice.whats(), ["413"])
        (frame,) = frames(b"".join(self.bob.raw))
        self.assertEqual((frame.body, chr(frame.flag)), (b"a" * 3000, "#"))

    def test_source_lost(self) -> None:
        """A source that ends in the middle: the chunk is aborted, the connection remains."""
        self.begin(self.alice, b"a" * 3000)
        self.alice.fail()
        (frame,) = self.bob.take()
        self.assertEqual((frame.body, chr(frame.flag)), (b"a" * 3000, "#"))
        self.assertFalse(self.bob.gone)

    def test_source_lost_between(self) -> None:
        """The same while its chunk is interrupted."""
        self.begin(self.alice, b"a" * 3000)
        self.carol.send(f"{self.carol.use_path} {self.bob.use_path} {self.bob.uri}", b"small")
        self.alice.fail()
        self.assertEqual([chr(frame.flag) for frame in self.bob.take()], ["+", "$", "#"])

    def test_sink_lost(self) -> None:
        """A sink that ends in the middle: the chunk is not answered 200."""
        transaction = self.begin(self.alice, b"a" * 3000)
        self.bob.fail()
        self.alice.say(b"b" * 50 + b"\r\n-------%b$\r\n" % transaction.encode())
        self.assertEqual(self.alice.whats(), ["408"])

    def test_end_line_inside(self) -> None:
        """Who knows the new transaction identifier cannot end our chunk with it: the receiver
        may be a friend of the sender, and the connection may carry others' sessions."""
        self.bob.raw.clear()
        transaction = self.begin(self.alice, b"a" * 3000)
        new = b"".join(self.bob.raw).split(b" ")[1]
        evil = b"\r\n-------%b$\r\nMSRP evil SEND\r\n" % new
        for at in (3, 12, len(evil)):
            self.alice.say(evil[:at])
            self.alice.say(evil[at:])
        self.alice.say(b"\r\n-------%b$\r\n" % transaction.encode())
        came = frames(b"".join(self.bob.raw))
        self.assertEqual({frame.what for frame in came}, {"SEND"})
        self.assertEqual(b"".join(frame.body for frame in came), b"a" * 3000 + evil * 3)
        self.assertNotIn(b"evil", {frame.head.transaction for frame in came})

    def test_flags(self) -> None:
        """The flag of the chunk is passed on; an empty end as well."""
        for flag in "$+#":
            transaction = self.begin(self.alice, b"a" * 3000)
            self.alice.say(b"\r\n-------%b%b\r\n" % (transaction.encode(), flag.encode()))
            (frame,) = self.bob.take()
            self.assertEqual(chr(frame.flag), flag)

    def test_bad_range(self) -> None:
        """A Byte-Range that is none: 400, and the rest goes nowhere."""
        transaction = self.begin(self.alice, b"a" * 3000, Byte_Range="one-two")
        self.alice.say(b"b" * 5000 + b"\r\n-------%b$\r\n" % transaction.encode())
        self.assertEqual((self.alice.whats(), self.bob.take()), (["400"], []))
