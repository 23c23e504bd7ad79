"""A relay without a network, and peers that speak to it by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

from omaim.ids import Ids
from omaim.msrp import FrameLimits, FrameParser, Head, Limits, Line, Means, MsrpUri, Part
from omaim.msrp.admitting import Admission, Neighbour, Terms, Verdict
from omaim.msrp.frame import write_request, write_response
from omaim.msrp.grants import Grant, Grants
from omaim.msrp.leg import Leg
from omaim.msrp.relaying import Relay
from omaim.timers import Alarm, Deadlines

HOST = "relay.example.com"
PLACE = MsrpUri(HOST, 9000, "", True)


class Frame:
    """One frame as it came."""

    def __init__(self, head: Head, body: bytes, flag: int) -> None:
        self.head, self.body, self.flag = head, body, flag

    @property
    def what(self) -> str:
        """Its method or status."""
        return self.head.method.decode() or str(self.head.status)

    def field(self, name: str) -> str:
        return (self.head.get(name.encode()) or b"").decode()

    def __repr__(self) -> str:
        return f"<{self.what} {self.field('Message-ID')} {len(self.body)} {chr(self.flag)}>"


def frames(data: bytes) -> list[Frame]:
    """Return the frames in some octets; a body that came in pieces is put together."""
    return join(FrameParser(FrameLimits()).feed(data))


def join(parts: list[Part]) -> list[Frame]:
    found: list[Frame] = []
    body = b""
    for part in parts:
        body = part.data if part.first else body + part.data
        if part.flag:
            found.append(Frame(part.head, body, part.flag))
    return found


class Peer:
    """The other end of one connection of the relay.

    Attributes:
        out: octets that the relay has sent; ``stuck`` lets it keep them.
        uri: its own URI.
        use_path: what its AUTH has brought.
        answers: answer each SEND at once.
    """

    def __init__(self, world: World, leg: Leg, name: str, **more: Any) -> None:
        self.world, self.leg, self.name = world, leg, name
        world.peers.append(self)
        self.uri = f"msrps://{name}.example.com:7000/{name}s;tcp"
        self.use_path = ""
        self.stuck = False
        self.answers = True
        self.paused = False
        self.gone = ""
        self.kept: list[bytes] = []
        self.backlog: list[bytes] = []
        self.raw: list[bytes] = []  # all that the relay has written
        self.seen: list[Frame] = []
        self._parser = FrameParser(FrameLimits())
        self._body = b""
        self._serial = 0
        secure = more.get("secure", True)
        names = more.get("names", ())
        self.line = Line(
            self._write,
            lambda: sum(map(len, self.kept)),
            self._pause,
            self._resume,
            self._end,
            self._end,
        )
        self.neighbour = Neighbour(
            more.get("host", "192.0.2.1"), secure, PLACE, names.__contains__, leg.target is not None
        )
        if more.get("up", True):
            self.come_up()

    def come_up(self) -> None:
        self.leg.come_up(self.line, self.neighbour)

    def fail(self, why: str = "refused") -> None:
        self.gone = why
        self.leg.lost(why)

    def say(self, data: bytes, sizes: list[int] | None = None) -> None:
        """Send octets to the relay, as soon as it reads.

        Args:
            sizes: of the pieces that they come in, over and over; all at once when not given.
        """
        at = turn = 0
        while at < len(data):
            size = sizes[turn % len(sizes)] if sizes else len(data)
            self.backlog.append(data[at : at + size])
            at += size
            turn += 1
        self.pump()

    def pump(self) -> None:
        """Let the relay read what waits."""
        while self.backlog and not self.paused and not self.gone and self.leg.outlet.up:
            self.leg.received(self.backlog.pop(0))

    def send(self, to: str, body: bytes = b"hello", origin: str = "", **fields: str) -> str:
        """Send a SEND; return its transaction identifier."""
        flag = fields.pop("flag", "$").encode()
        transaction = self.transaction()
        more = {"Message_ID": f"m{self.name}{self._serial}", **fields}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
        data = write_request(
            transaction.encode(),
            b"SEND",
            to.encode(),
            (origin or self.uri).encode(),
            lines.encode() + b"Content-Type: text/plain\r\n",
            body,
            flag,
        )
        self.say(data)
        return transaction

    def request(self, method: str, to: str, origin: str = "", **fields: str) -> str:
        """Send a request without a body."""
        transaction = self.transaction()
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        own = (origin or self.uri).encode()
        self.say(
            write_request(transaction.encode(), method.encode(), to.encode(), own, lines.encode())
        )
        return transaction

    def transaction(self) -> str:
        self._serial += 1
        return f"{self.name}{self._serial:04d}"

    def authorize(self, to: str = f"msrps://{HOST};tcp") -> str:
        """Get a URI; return the Use-Path."""
        self.request("AUTH", to, Authorization="good")
        answer = self.take()[-1]
        assert answer.what == "200", answer.what
        self.use_path = answer.field("Use-Path")
        return self.use_path

    def take(self) -> list[Frame]:
        """Return the frames seen since the last time."""
        seen, self.seen = self.seen, []
        return seen

    def whats(self) -> list[str]:
        return [frame.what for frame in self.take()]

    def unstick(self) -> None:
        """Read all that the relay kept."""
        self.stuck = False
        kept, self.kept = self.kept, []
        for data in kept:
            self._see(data)
        self.leg.drained()

    def respond(self, frame: Frame, status: int = 200) -> None:
        """Answer a SEND."""
        to = frame.head.from_path.split(b" ")[0]
        own = frame.head.to_path.split(b" ")[0]
        self.say(write_response(frame.head.transaction, status, "", to, own))

    def _write(self, data: bytes) -> None:
        assert not self.gone
        self.raw.append(data)
        if self.stuck:
            self.kept.append(data)
        else:
            self._see(data)

    def _see(self, data: bytes) -> None:
        for part in self._parser.feed(data):
            self._body = part.data if part.first else self._body + part.data
            if part.flag:
                frame = Frame(part.head, self._body, part.flag)
                assert not part.head.check(), part.head.wrong
                self.seen.append(frame)
                wanted = frame.field("Failure-Report") in ("", "yes")
                if self.answers and frame.what == "SEND" and wanted:
                    self.world.later.append((self, frame))
        assert not self._parser.broken, self._parser.broken

    def _pause(self) -> None:
        self.paused = True

    def _resume(self) -> None:
        self.paused = False

    def _end(self, why: str) -> None:
        self.gone = why or "closed"
        self.leg.lost(why)


class World:
    """One relay and its peers.

    Attributes:
        hops: peers at the far end of connections that the relay has opened, by host.
        later: SENDs that wait to be answered.
    """

    def __init__(
        self, limits: Limits | None = None, terms: Terms | None = None, **more: Any
    ) -> None:
        self.now = 1000.0
        self.counters: Counter[str] = Counter()
        self.deadlines = Deadlines()
        self.answers = True  # of the peers at far ends
        self.hops: dict[str, Peer] = {}
        self.later: list[tuple[Peer, Frame]] = []
        self.peers: list[Peer] = []
        self.slow = False  # connections that the relay opens do not come up by themselves
        self.verdict: Verdict | None = None
        self.uris: list[str] = []
        ids = Ids(more.pop("seed", 1))
        self.means = Means(
            lambda: self.now,
            ids,
            self._arm,
            lambda name: self.counters.update([name]),
            limits or Limits(),
        )
        self.grants = Grants(ids, most_each=more.pop("most_each", 1000))
        self.relay = Relay(
            self.means,
            self.grants,
            Admission(self.grants, terms or Terms(), self._check),
            more.pop("owns", lambda host, port: host == HOST and port in (0, 9000)),
            self._reach,
            lambda: False,
            **more,
        )

    def peer(self, name: str, **more: Any) -> Peer:
        """Return somebody who has connected."""
        return Peer(self, self.relay.open(), name, **more)

    def give(self, uri: str, peer: Peer | None = None, host: str = "") -> None:
        """Let a URI have been handed out to a client, or to one behind the relay ``host``."""
        number = 0 if peer is None else peer.leg.number
        grant = Grant(MsrpUri.parse(uri), number, host, "somebody", self.now + 3600)
        self.grants._by_key[grant.uri.key] = grant
        self.grants._by_holder.setdefault(host or str(number), {})[grant.uri.key] = grant

    def client(self, name: str, **more: Any) -> Peer:
        """Return a client that has a URI."""
        peer = self.peer(name, **more)
        peer.authorize()
        return peer

    def settle(self) -> None:
        """Let all SENDs be answered, and all that waits be read."""
        while True:
            for peer in self.peers:
                peer.pump()
            if not self.later:
                break
            peer, frame = self.later.pop(0)
            if not peer.gone:
                peer.respond(frame)

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            at = self.deadlines.next()
            if at > end:
                break
            self.now = max(self.now, at)
            self.deadlines.run(self.now)
        self.now = end

    def _check(self, head: Head, uri: str, source: str) -> Verdict:
        self.uris.append(uri)
        if self.verdict is not None:
            return self.verdict
        if head.get(b"Authorization") is None:
            return Verdict(401, b'WWW-Authenticate: Digest realm="x"\r\n')
        if head.get(b"Authorization") != b"good":
            return Verdict(401, b'WWW-Authenticate: Digest realm="x"\r\n', failed=True)
        return Verdict(200, b"Authentication-Info: ok\r\n", "alice")

    def _reach(self, uri: MsrpUri) -> Leg:
        known = self.hops.get(uri.host)
        if known is None or known.gone:
            leg = self.relay.open(uri)
            names = (uri.host,)
            known = self.hops[uri.host] = Peer(
                self, leg, uri.host.split(".")[0], up=not self.slow, names=names
            )
            known.answers = self.answers
        return known.leg

    def _arm(self, alarm: Alarm) -> None:
        self.deadlines.arm(alarm)
