"""A relay through random lives: nothing that it answered 200 for is lost without a word.

Whatever peers do, however octets are cut, whoever is slow or dies: each chunk that was accepted
arrives, once and in order, or a REPORT tells its sender so (RFC 4976 §6.4.1).
"""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.msrp import Limits
from omaim.msrp.frame import ByteRange
from tests.msrp.relays import HOST, Frame, Peer, World

NAMES = ("alice", "bob", "carol")
LIMITS = Limits(window=20_000, unread=60_000, unanswered=12, stalled=20.0)

WEIGHTS = {
    "send": 30,
    "begin": 6,
    "more": 10,
    "end": 6,
    "answer": 8,
    "settle": 6,
    "stick": 3,
    "unstick": 3,
    "die": 1,
    "come up": 2,
    "time": 3,
    "junk": 1,
    "make room": 2,
}


def random_act(chance: random.Random) -> tuple[Any, ...]:
    """Return one thing that a peer may do."""
    (what,) = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
    name = chance.choice(NAMES)
    other = chance.choice((*NAMES, "far"))
    cuts = [chance.randint(1, 4000) for _ in range(3)]
    size = chance.choice((5, 300, 3000, 12_000, 30_000))
    if what in ("send", "begin"):
        return what, name, other, chance.randint(0, size), cuts
    if what == "more":
        return what, name, chance.randint(0, 9000), cuts
    if what == "end":
        return what, name, chance.choice("$$+#")
    if what == "answer":
        return what, name, chance.choice((200, 200, 200, 413, 481))
    if what == "die":
        return what, other
    if what == "time":
        return what, chance.uniform(0.1, 40.0) if chance.random() < 0.3 else 1.0
    if what == "junk":
        return what, name, chance.randbytes(chance.randint(0, 60))
    return (what, name) if what in ("stick", "unstick") else (what,)


class Life:
    """One life of a relay, and what its peers remember of it."""

    def __init__(self) -> None:
        self.world = World(LIMITS)
        self.world.slow = True
        self.world.answers = False
        self.peers: dict[str, Peer] = {}
        self.sent: dict[str, tuple[str, str, bytes]] = {}  # chunks by Message-ID
        self.transactions: dict[tuple[str, str], str] = {}
        self.open: dict[str, tuple[str, str, str, bytes]] = {}
        self.frames: dict[str, list[Frame]] = {}
        self.unanswered: dict[str, list[Frame]] = {}
        self.accepted: set[str] = set()
        self.quiet: set[str] = set()  # those that shall not be answered 200
        self.reported: set[str] = set()
        self.ended: set[str] = set()  # whose connection the relay has ended to make room
        for name in NAMES:
            self.peers[name] = self.world.client(name)
            self.peers[name].answers = False
            self.frames[name] = []
        self.frames["far"] = []

    def path(self, name: str, to: str) -> str:
        """Return the To-Path from somebody to somebody."""
        source = self.peers[name]
        if to == "far":
            return f"{source.use_path} msrps://far.example.com:7000/x;tcp"
        sink = self.peers[to]
        return f"{source.use_path} {sink.use_path} {sink.uri}"

    def act(self, what: str, *more: Any) -> None:
        name = more[0] if more and isinstance(more[0], str) else ""
        peer = self.peers.get(name)
        if peer is not None and peer.gone and what != "die":
            return
        getattr(self, f"_{what.replace(' ', '_')}")(*more)
        self.look()

    def head(self, name: str, to: str) -> tuple[str, str]:
        peer = self.peers[name]
        transaction = peer.transaction()
        message = f"m-{transaction}"
        self.transactions[name, transaction] = message
        number = len(self.transactions) % 5
        if number > 2:
            self.quiet.add(message)
        failure = ("yes", "yes", "yes", "partial", "no")[number]
        lines = (
            f"MSRP {transaction} SEND\r\nTo-Path: {self.path(name, to)}\r\n"
            f"From-Path: {peer.uri}\r\nMessage-ID: {message}\r\nByte-Range: 1-*/*\r\n"
            f"Failure-Report: {failure}\r\n"
            "Content-Type: text/plain\r\n\r\n"
        )
        return transaction, lines

    def body(self, transaction: str, size: int, start: int = 0) -> bytes:
        """Return octets that are known again, from ``start`` of a chunk on."""
        unit = f"<{transaction}>".encode()
        whole = unit * ((start + size) // len(unit) + 1)
        return whole[start : start + size]

    def _send(self, name: str, to: str, size: int, cuts: list[int]) -> None:
        if name in self.open:
            return
        transaction, head = self.head(name, to)
        body = self.body(transaction, size)
        self.sent[f"m-{transaction}"] = (name, to, body)
        self.peers[name].say(head.encode() + body + f"\r\n-------{transaction}$\r\n".encode(), cuts)

    def _begin(self, name: str, to: str, size: int, cuts: list[int]) -> None:
        if name in self.open:
            return
        transaction, head = self.head(name, to)
        body = self.body(transaction, size)
        self.open[name] = (transaction, to, f"m-{transaction}", body)
        self.peers[name].say(head.encode() + body, cuts)

    def _more(self, name: str, size: int, cuts: list[int]) -> None:
        if name in self.open:
            transaction, to, message, body = self.open[name]
            more = self.body(transaction, size, len(body))
            self.open[name] = (transaction, to, message, body + more)
            self.peers[name].say(more, cuts)

    def _end(self, name: str, flag: str) -> None:
        if name in self.open:
            transaction, to, message, body = self.open.pop(name)
            if flag != "#":
                self.sent[message] = (name, to, body)
            self.peers[name].say(f"\r\n-------{transaction}{flag}\r\n".encode())

    def _answer(self, name: str, status: int) -> None:
        waiting = self.unanswered.get(name, [])
        if waiting and name not in self.open:
            self.peers[name].respond(waiting.pop(0), status)

    def _settle(self) -> None:
        for _ in range(1000):
            self.look()
            moved = False
            for name, peer in self.everybody():
                if peer.gone:
                    continue
                peer.pump()
                if name in self.open:
                    continue  # in the middle of a chunk
                for frame in self.unanswered.pop(name, []):
                    if frame.field("Failure-Report") == "yes":
                        moved = True
                        peer.respond(frame)
            if not moved:
                return

    def _stick(self, name: str) -> None:
        self.peers[name].stuck = True

    def _unstick(self, name: str) -> None:
        if self.peers[name].stuck:
            self.peers[name].unstick()

    def _die(self, name: str) -> None:
        peer = dict(self.everybody()).get(name)
        self.open.pop(name, None)
        if peer is not None and not peer.gone:
            peer.fail()

    def _come_up(self) -> None:
        for peer in self.world.hops.values():
            if not peer.leg.outlet.up and not peer.gone:
                peer.come_up()

    def _time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    def _junk(self, name: str, data: bytes) -> None:
        if name not in self.open:
            self.peers[name].say(data)
            if data:
                self.open[name] = ("none0", name, "none", b"")  # it cannot speak MSRP any more

    def _make_room(self) -> None:
        there = [(name, peer) for name, peer in self.everybody() if not peer.gone]
        ended = self.world.relay.make_room()
        gone = [name for name, peer in there if peer.gone]
        assert len(gone) == ended
        for name in gone:
            assert name not in self.open, "ended in the middle of a chunk"
            self.ended.add(name)

    def everybody(self) -> list[tuple[str, Peer]]:
        return [*self.peers.items(), *[("far", peer) for peer in self.world.hops.values()]]

    def look(self) -> None:
        """Note what has come."""
        for peer in self.world.peers:
            name = peer.name
            for frame in peer.take():
                if frame.what == "SEND":
                    self.frames[name].append(frame)
                    self.unanswered.setdefault(name, []).append(frame)
                elif frame.what == "REPORT":
                    assert not frame.field("Status").startswith("000 200")
                    self.reported.add(frame.field("Message-ID"))
                elif frame.what == "200":
                    transaction = frame.head.transaction.decode()
                    message = self.transactions.get((name, transaction))
                    assert message is not None, "a 200 to nothing"
                    assert message not in self.quiet, "a 200 that nobody asked for"
                    assert message not in self.accepted, "two answers"
                    self.accepted.add(message)

    def finish(self) -> None:
        """Let everything come to its end, and see what has become of it."""
        for name in [name for name in self.open if not self.peers[name].gone]:
            self._end(name, "$")
        for _ in range(3):
            for name in NAMES:
                self._unstick(name)
            self._come_up()
            self._settle()
            self.world.pass_time(35)
        self._settle()
        arrived: dict[str, bytes] = {}
        order: dict[tuple[str, str], list[str]] = {}
        for frames in self.frames.values():
            for frame in frames:
                message = frame.field("Message-ID")
                span = ByteRange.parse(frame.field("Byte-Range").encode())
                known = arrived.get(message, b"")
                assert span.start == len(known) + 1, "a gap, or twice"
                arrived[message] = known + frame.body
        for name, frames in self.frames.items():
            for frame in frames:
                message = frame.field("Message-ID")
                if message in self.sent:
                    key = (self.sent[message][0], name)
                    if not order.setdefault(key, []) or order[key][-1] != message:
                        order[key].append(message)
        for messages in order.values():
            serials = [int(message[-4:]) for message in messages]
            assert serials == sorted(serials), "out of order"
        for message in self.accepted:
            if message not in self.sent:
                continue  # it was aborted by its sender
            name, _, body = self.sent[message]
            assert arrived.get(message, b"") == body[: len(arrived.get(message, b""))]
            whole = arrived.get(message) == body
            left = self.peers[name].gone and name not in self.ended
            assert whole or left or message in self.reported, f"{message} was accepted and lost"
        assert self.world.counters["reports_lost"] == 0 or any(
            self.peers[name].gone for name in NAMES
        )


class LifeTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(seed=st.integers(0, 1 << 32), length=st.integers(1, 80))
    def test_nothing_lost(self, seed: int, length: int) -> None:
        """What was accepted arrives, once and in order, or its sender is told."""
        chance = random.Random(seed)
        life = Life()
        for _ in range(length):
            life.act(*random_act(chance))
        life.finish()

    @settings(deadline=None)
    @given(
        bodies=st.lists(st.integers(0, 70_000), min_size=1, max_size=6),
        cuts=st.lists(st.integers(1, 5000), min_size=1, max_size=8),
    )
    def test_any_split(self, bodies: list[int], cuts: list[int]) -> None:
        """However octets are cut, the same bodies come out."""
        world = World()
        alice, bob = world.client("alice"), world.client("bob")
        for number, size in enumerate(bodies):
            body = (b"%d," % number) * (size // 2 + 1)
            transaction = f"tran{number:04d}"
            to = f"{alice.use_path} {bob.use_path} {bob.uri}"
            head = (
                f"MSRP {transaction} SEND\r\nTo-Path: {to}\r\nFrom-Path: {alice.uri}\r\n"
                f"Message-ID: {transaction}\r\nContent-Type: a/b\r\n\r\n"
            )
            alice.say(head.encode() + body + f"\r\n-------{transaction}$\r\n".encode(), cuts)
            world.settle()
            self.assertEqual([frame.body for frame in bob.take()], [body])
            self.assertEqual(alice.whats(), ["200"])

    @settings(deadline=None)
    @given(data=st.binary(max_size=300), cuts=st.lists(st.integers(1, 50), min_size=1, max_size=4))
    def test_junk(self, data: bytes, cuts: list[int]) -> None:
        """Junk, and junk in heads: never an exception, never anything that goes on."""
        world = World()
        bob = world.client("bob")
        for before in (
            b"",
            b"MSRP abcd SEND\r\n",
            f"MSRP abcd SEND\r\nTo-Path: {bob.use_path} {bob.uri}\r\n".encode(),
            f"MSRP abcd AUTH\r\nTo-Path: msrps://{HOST};tcp\r\nFrom-Path: ".encode(),
            b"MSRP abcd 200 OK\r\n",
        ):
            peer = world.peer("stranger")
            peer.say(before + data, cuts)
            peer.say(b"\r\n-------abcd$\r\n")
        world.pass_time(60)
        self.assertLessEqual(len(world.grants), 1)
