"""MSRP peers who mean harm: what they send is bounded, answered, and forgotten."""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import process_time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.ids import Ids
from omaim.im.bridge import RECORDED, WINDOW, Bridge, Listener, Side
from omaim.im.content import Content
from omaim.msrp import CLOSED, OPEN, WAITING, Limits, Outgoing, Session
from omaim.net.msrp import MsrpEndpoint
from omaim.testing.clock import Clock
from omaim.testing.network import SimulatedNetwork
from omaim.testing.peers import Line
from tests.msrp.support import User, World


def send(
    world: World,
    session: Session,
    body: bytes = b"",
    span: str = "",
    flag: str = "$",
    number: int = 0,
    **fields: str,
) -> bytes:
    """Return a SEND of the near side to ``session``, as somebody writes it by hand."""
    size = len(body)
    known = {
        "To-Path": str(session.uri),
        "From-Path": "msrp://near.example:7000/mallory;tcp",
        "Message-ID": f"id{number:06}",
        "Byte-Range": span or f"1-{size}/{size}",
        "Content-Type": "text/plain",
    }
    known.update({name.replace("_", "-"): value for name, value in fields.items()})
    known["Content-Type"] = known.pop("Content-Type")  # it stands last
    lines = "".join(f"{name}: {value}\r\n" for name, value in known.items())
    tid = f"t{number:07}"
    return (
        f"MSRP {tid} SEND\r\n{lines}\r\n".encode() + body + f"\r\n-------{tid}{flag}\r\n".encode()
    )


def growth(act: Callable[[int], object], size: int) -> float:
    """Return how many times more ``act`` costs for four times the size: about 4, not 16."""
    return cost(act, 4 * size) / cost(act, size)


def cost(act: Callable[[int], object], size: int) -> float:
    """Return the least that ``act`` costs of several tries, in seconds of processor."""
    tries = []
    gc.collect()
    gc.disable()  # what it costs depends on what others have left behind
    try:
        for _ in range(4):
            began = process_time()
            act(size)
            tries.append(process_time() - began)
    finally:
        gc.enable()
    return min(tries)


class Passage:
    """Alice and Bob, each with a connection to a server that has a bridge between them."""

    def __init__(self) -> None:
        self.a, self.b = World(), World()
        self.lost: list[str] = []
        self.bridge = Bridge(Listener(), lambda side, why: self.lost.append(why))
        self.alice, self.bob = User(), User()
        self.of_alice, self.near = _joined(self.a, self.alice, self.bridge.near)
        self.of_bob, self.far = _joined(self.b, self.bob, self.bridge.far)

    def carry(self) -> None:
        """Let all hear one another until there is silence."""
        while self.a.carry() + self.b.carry():
            pass


def _joined(world: World, user: User, side: Side) -> tuple[Session, Session]:
    own = world.near.session(user)
    served = world.far.session(_Served(side))  # type: ignore[arg-type]
    own.lead_to(served.path)
    served.lead_to(own.path)
    side.session = served
    world.near.channel.bind(own, True)
    world.carry()
    return own, served


class _Served:
    def __init__(self, side: Side) -> None:
        self.user = side.user


class BridgeTests(SynchronousTestCase):
    """What one party does cannot fill the server with what the other one does not take."""

    def setUp(self) -> None:
        self.passage = Passage()

    def flood(self, body: bytes, most: int) -> int:
        """Let Alice send short messages to Bob, who does not read, as long as she is read."""
        passage = self.passage
        passage.b.far.stuck = True  # it is the server's end of Bob's connection
        sent = 0
        while sent < most and not passage.a.far.paused:
            sent += 1
            passage.a.far.channel.received(send(passage.a, passage.near, body, number=sent))
            passage.a.far.take()
        return sent

    def test_short_messages(self) -> None:
        """Alice is not read while more waits for Bob than the window, and again when he reads."""
        passage = self.passage
        body = b"x" * 10_000
        sent = self.flood(body, 1000)
        self.assertLess(sent, 100)
        self.assertLess(passage.far.pending, WINDOW + 2 * len(body))
        passage.b.far.stuck = False
        passage.b.far.kept = 0
        passage.b.far.channel.drained()
        passage.carry()
        self.assertFalse(passage.a.far.paused)
        self.assertEqual(len(passage.bob.bodies), sent)

    def test_empty_messages(self) -> None:
        """So it is with messages that have nothing but a head."""
        self.assertLess(self.flood(b"", 10_000), 3000)

    def test_slow_store(self) -> None:
        """While it takes long to decide on messages, only some of them wait for that."""
        passage = self.passage
        asked: list[Any] = []

        def ask(side: Side, content: Content, size: int) -> Deferred[Content]:
            waiting: Deferred[Content] = Deferred()
            asked.append((waiting, content))
            return waiting

        passage.bridge.listener.ask = ask
        body = b"x" * 10_000
        sent = self.flood(body, 1000)
        self.assertLess(sent, 100)
        passage.b.far.stuck = False
        while asked:
            waiting, content = asked.pop()
            waiting.callback(content)
        passage.carry()
        self.assertFalse(passage.a.far.paused)
        self.assertEqual(passage.bridge.near.kept, 0)
        self.assertEqual(len(passage.bob.bodies), sent)

    def test_recorded_at_once(self) -> None:
        """What is to be recorded of many long messages at a time is bounded."""
        passage = self.passage
        passage.bridge.listener.most = 1 << 20
        piece = b"x" * 500_000
        for number in range(60):
            data = send(passage.a, passage.near, piece, "1-*/*", "+", number)
            passage.a.far.channel.received(data)
            passage.carry()
            self.assertLessEqual(passage.bridge.near.recorded, RECORDED + len(piece))
        refused = [one for one in passage.a.seen if b" 413 " in one]
        self.assertTrue(refused)
        passage.near.close()
        self.assertEqual(passage.bridge.near.recorded, 0)

    def test_same_identifier(self) -> None:
        """A Message-ID comes again when it was forgotten here and is still on its way there."""
        passage = self.passage
        for number in (*range(200), 0):
            passage.a.far.channel.received(send(passage.a, passage.near, b"hi", number=number))
        answers = passage.a.far.take()
        self.assertIn(b"MSRP t0000000 413", answers)
        passage.carry()
        self.assertEqual(len(passage.bob.bodies), 200)

    def test_reports(self) -> None:
        """Bob reports on one message again and again, and Alice does not read that."""
        passage = self.passage
        data = send(passage.a, passage.near, b"hello", number=1, Success_Report="yes")
        passage.a.far.channel.received(data)
        passage.b.far.take()  # Bob's program reports by itself: here it does not get it
        passage.a.far.stuck = True
        report = (
            f"MSRP t1234567 REPORT\r\nTo-Path: {passage.far.uri}\r\n"
            f"From-Path: {passage.of_bob.uri}\r\nMessage-ID: id000001\r\n"
            "Byte-Range: 1-2/5\r\nStatus: 000 200 OK\r\n-------t1234567$\r\n"
        ).encode()
        for _ in range(30):
            passage.b.far.channel.received(report * 1000)
        self.assertLess(passage.a.far.kept, Limits().unread + 65536)
        self.assertGreater(passage.a.far.counters["reports_dropped"], 0)


class ChannelTests(SynchronousTestCase):
    """One connection, one session, one octet at a time."""

    def setUp(self) -> None:
        self.world = World()
        self.user = User()
        _, self.session = self.world.pair(User(), self.user)

    def hear(self, data: bytes) -> bytes:
        self.world.far.channel.received(data)
        return self.world.far.take()

    def test_no_type(self) -> None:
        """A body without a media type is no message (RFC 4975 §9: type "/" subtype)."""
        for bad in ("", " ", "text", "text/", "/plain", "te xt/plain", "text/pl ain"):
            answer = self.hear(send(self.world, self.session, b"hello", Content_Type=bad))
            self.assertIn(b" 400 ", answer, bad)
        self.assertEqual(self.user.seen, [])

    def test_body_of_a_request(self) -> None:
        """What a request costs that comes octet by octet does not grow with its square."""

        def request(size: int) -> None:
            world, user = World(), User()
            session = world.pair(User(), user)[1]
            data = (
                f"MSRP t1234567 NICKNAME\r\nTo-Path: {session.uri}\r\n"
                'From-Path: msrp://near.example:7000/m;tcp\r\nUse-Nickname: "m"\r\n'
                "Content-Type: a/b\r\n\r\n"
            ).encode()
            world.far.channel.received(data)
            for _ in range(size):
                world.far.channel.received(b"x")
            world.far.channel.received(b"\r\n-------t1234567$\r\n")
            self.assertEqual(user.nicknames, ["m"])

        self.assertLess(growth(request, 2500), 8)

    def test_held(self) -> None:
        """Who says more and more while we cannot answer yet is not read any more, nor forgotten."""
        held: list[Any] = []

        def hold(incoming: Any) -> None:
            incoming.hold()
            held.append(incoming)

        self.user.on_whole = hold
        number = 0
        while number < 1000 and not self.world.far.paused:
            number += 1
            self.hear(send(self.world, self.session, b"hi", number=number))
        self.assertEqual(number, Limits().held)
        self.session.pause()
        self.session.resume()
        self.assertTrue(self.world.far.paused)
        for incoming in held:
            incoming.release(200)
        self.assertFalse(self.world.far.paused)
        self.assertEqual(self.world.far.take().count(b" 200 OK"), number)

    def test_overlaps(self) -> None:
        """Small chunks that overwrite a large message, or come from its end, move few octets."""
        self.user.limit = 1 << 24
        chunk = 65536
        for number in range(64):
            first = number * chunk + 2
            self.hear(
                send(
                    self.world,
                    self.session,
                    b"x" * chunk,
                    f"{first}-{first + chunk - 1}/*",
                    "+",
                )
            )
        patches = self.user.seen[0]._patches
        assert patches is not None
        before = patches.moved
        for number in range(2000):
            at = 1000 + number * 7
            self.hear(send(self.world, self.session, b"y", f"{at}-{at}/*", "+"))
        self.assertLess(patches.moved - before, 1 << 20)

    def test_backwards(self) -> None:
        """A message whose octets come from the last to the first is given up some time."""
        self.user.limit = 1 << 24
        answer = b""
        for number in range(8_000_000, 0, -5000):
            answer = self.hear(
                send(self.world, self.session, b"y" * 5000, f"{number}-{number + 4999}/*", "+")
            )
            if b" 413 " in answer:
                break
        self.assertIn(b" 413 ", answer)


class HijackTests(SynchronousTestCase):
    """Whoever knows the URI of a session, and is not the peer, does not get it (RFC 4975 §14.1)."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock)
        self.endpoints = [MsrpEndpoint(self.network, self.clock, ids=Ids(one)) for one in range(3)]
        for number, endpoint in enumerate(self.endpoints):
            self.clock.wait(endpoint.listen("TCP", f"10.0.0.{number + 1}"))
        self.users = [User() for _ in self.endpoints]

    def finish(self) -> None:
        for endpoint in self.endpoints:
            self.clock.wait(endpoint.stop())
            self.assertEqual((endpoint.connections, endpoint.sessions), (0, []))
            self.assertEqual(endpoint.counters["crashed"], 0)

    def test_before_the_answer(self) -> None:
        """A stranger who has seen the offer connects first; the peer's answer tells who is who."""
        offerer, peer, stranger = self.endpoints
        session = offerer.session(self.users[0].user, vouched=False)
        evil = stranger.session(self.users[2].user)
        stranger.connect(evil, session.path, True)
        evil.send(Outgoing("text/plain", b"I am your peer"))
        self.clock.advance(1.0)
        right = peer.session(self.users[1].user)
        peer.connect(right, session.path, True)
        right.send(Outgoing("text/plain", b"hello"))
        self.clock.advance(1.0)
        self.assertEqual(self.users[0].seen, [])
        offerer.connect(session, right.path, False)
        self.clock.advance(1.0)
        self.assertEqual(self.users[0].bodies, [b"hello"])
        self.assertEqual((evil.state, right.state), (CLOSED, OPEN))
        session.send(Outgoing("text/plain", b"good to hear from you"))
        self.clock.advance(1.0)
        self.assertEqual(self.users[1].bodies, [b"good to hear from you"])
        self.assertEqual(self.users[2].bodies, [])
        self.finish()

    def test_after_the_answer(self) -> None:
        """One who comes when the answer is here has to be the one who is named there."""
        offerer, peer, stranger = self.endpoints
        session = offerer.session(self.users[0].user)
        right = peer.session(self.users[1].user)
        offerer.connect(session, right.path, False)
        evil = stranger.session(self.users[2].user)
        stranger.connect(evil, session.path, True)
        self.clock.advance(1.0)
        self.assertEqual((evil.state, session.state), (CLOSED, WAITING))
        peer.connect(right, session.path, True)
        self.clock.advance(1.0)
        self.assertEqual((right.state, session.state), (OPEN, OPEN))
        self.finish()

    def test_taken(self) -> None:
        """Nor does one who comes when the peer is there, with the peer's own URI in From-Path."""
        offerer, peer, _ = self.endpoints
        session, right = offerer.session(self.users[0].user), peer.session(self.users[1].user)
        offerer.connect(session, right.path, False)
        peer.connect(right, session.path, True)
        self.clock.advance(1.0)
        line = Line()
        first = session.path[0]
        self.network.connect_stream("10.0.0.1", first.port, line, local_host="10.0.0.3")
        self.clock.advance(1.0)
        line.send(
            f"MSRP t0000001 SEND\r\nTo-Path: {first}\r\nFrom-Path: {right.path[0]}\r\n"
            "Message-ID: evil\r\nByte-Range: 1-4/4\r\nContent-Type: text/plain\r\n\r\n"
            "evil\r\n-------t0000001$\r\n".encode()
        )
        self.clock.advance(1.0)
        self.assertIn(b" 506 ", bytes(line.heard))
        self.assertEqual(self.users[0].bodies, [])
        self.finish()

    def test_guesses(self) -> None:
        """Who guesses gets 481 for each guess, and is hung up on after a while."""
        offerer = self.endpoints[0]
        session = offerer.session(self.users[0].user)
        line = Line()
        first = session.path[0]
        self.network.connect_stream("10.0.0.1", first.port, line, local_host="10.0.0.3")
        self.clock.advance(0.1)
        for number in range(100):
            guess = str(first).replace(first.session, f"{number:032x}")
            line.send(
                f"MSRP t{number:07} SEND\r\nTo-Path: {guess}\r\n"
                f"From-Path: msrp://10.0.0.3:9/x;tcp\r\n-------t{number:07}$\r\n".encode()
            )
        self.clock.advance(1.0)
        self.assertEqual(bytes(line.heard).count(b" 481 "), 100)
        self.clock.advance(30.0)
        self.assertEqual((offerer.connections, session.state), (0, "reserved"))
        self.finish()
