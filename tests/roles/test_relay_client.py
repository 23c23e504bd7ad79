"""omaim/roles/relay_client.py: ways through a relay are renewed in time, or end with a word."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import OmaimError
from omaim.ids import Ids
from omaim.msrp import CLOSED, OPEN, FrameLimits, FrameParser, Head, Limits, MsrpUri
from omaim.msrp.frame import write_response
from omaim.net.msrp import MsrpEndpoint
from omaim.net.msrp_connection import MsrpConnection
from omaim.net.resolver import Resolver
from omaim.node.people import make_user
from omaim.relay.credentials import Digest
from omaim.roles.accounts import accounts_of
from omaim.roles.relay_client import Passage, RelayClient
from omaim.sip.nonces import Nonces
from omaim.sip.verifying import Verifier
from omaim.stores.memory import memory_stores
from omaim.testing.network import Clock, SimulatedNetwork
from tests.msrp.support import User

DOMAIN = "north.example"
RELAY = "192.0.2.9"
EXPIRES = 200  # seconds


class Scripted:
    """A relay that answers AUTH as told, and takes everything else.

    Attributes:
        path: the last part of the URI that it hands out.
        status: what it answers to good credentials; 0 for nothing.
        asked: when it got good credentials.
        refused: statuses of the answers to what it has sent.
        connections: to it.
    """

    def __init__(self, case: SynchronousTestCase, clock: Clock, network: SimulatedNetwork) -> None:
        self.path = "one"
        self.status = 200
        self.asked: list[float] = []
        self.refused: list[int] = []
        self.connections: list[MsrpConnection] = []
        self.endpoint = MsrpEndpoint(network, clock, Resolver(clock), ids=Ids(9))
        case.successResultOf(self.endpoint.listen("TCP", RELAY, 9000))
        self.endpoint.serve = self._serve
        stores = memory_stores()
        alice = make_user("alice", DOMAIN, "alice-secret", (f"sip:alice@{DOMAIN}",))
        case.successResultOf(Deferred.fromCoroutine(_put(stores, alice)))
        nonces = Nonces(b"x" * 32, Ids(8), 3600.0, since=clock.seconds())
        verifier = Verifier(
            DOMAIN, accounts_of(stores.users, DOMAIN), nonces, clock.seconds, ("SHA-256",), "auth"
        )
        self._digest = Digest(verifier, clock.seconds)
        self._clock = clock

    def _serve(self, connection: MsrpConnection) -> _Served:
        self.connections.append(connection)
        return _Served(self, connection)

    def answer(self, head: Head) -> bytes:
        if head.method != b"AUTH":
            return write_response(head.transaction, 200, "", head.from_path, head.to_path)
        verdict = self._digest.check(head, head.to_path.decode(), "192.0.2.1")
        status, fields = verdict.status, verdict.fields
        if status == 200:
            self.asked.append(self._clock.seconds())
            status = self.status
            way = f"msrp://{RELAY}:9000/{self.path};tcp"
            fields += f"Use-Path: {way}\r\nExpires: {EXPIRES}\r\n".encode()
        if not status:
            return b""
        return write_response(head.transaction, status, "", head.from_path, head.to_path, fields)


async def _put(stores: Any, user: Any) -> None:
    await stores.users.put(user)


class _Served:
    """One connection to it."""

    def __init__(self, relay: Scripted, connection: MsrpConnection) -> None:
        self._relay, self._connection = relay, connection
        self._parser = FrameParser(FrameLimits())

    def received(self, data: bytes) -> None:
        for part in self._parser.feed(data):
            if part.head.status:
                self._relay.refused.append(part.head.status)
            elif part.flag:
                self._connection.write(self._relay.answer(part.head))

    def go_on(self) -> None:
        """Nothing waits here."""

    def drained(self) -> None:
        """Nothing waits here."""

    def lost(self, why: str) -> None:
        """It has no state."""


class KeepingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, seed=1)
        self.relay = Scripted(self, self.clock, self.network)
        limits = Limits(idle=10_000.0)
        self.endpoint = MsrpEndpoint(
            self.network, self.clock, Resolver(self.clock), ids=Ids(1), limits=limits
        )
        self.client = RelayClient(
            self.endpoint,
            self.clock,
            (MsrpUri.parse(f"msrp://{RELAY}:9000;tcp"),),
            "alice",
            "alice-secret",
            plain=True,
        )
        self.ways: list[Passage] = []
        self.errors: list[OmaimError] = []

    def behind(self, seconds: float = 1.0) -> tuple[User, Passage]:
        """Return a user with a session that is up, and its way.

        Args:
            seconds: that it may take.
        """
        user = User()
        session = self.endpoint.session(user.user)
        asking = self.client.authorize(session, self.ways.append, self.errors.append)
        passage = self.clock.wait(Deferred.fromCoroutine(asking), seconds)
        passage.connect((MsrpUri.parse("msrp://bob.example:7/bob;tcp"),), True)
        self.clock.advance(1.0)
        self.assertEqual(session.state, OPEN)
        return user, passage

    def test_renewed(self) -> None:
        """A way is asked for anew before it ends; where the relay gives the same one, nothing
        else happens and the session goes on (RFC 4976 §5.1)."""
        user, passage = self.behind()
        self.clock.advance(10.0 * EXPIRES)
        asked = self.relay.asked
        self.assertGreater(len(asked), 9)
        gaps = [late - soon for soon, late in pairwise(asked)]
        self.assertTrue(all(0.5 * EXPIRES <= gap < EXPIRES for gap in gaps), gaps)
        self.assertEqual((self.ways, self.errors, user.closed), ([], [], []))
        self.assertEqual((passage.session.state, passage.released), (OPEN, False))

    def test_another(self) -> None:
        """Where it gives another one, the session goes on by the old one until that ends, and
        then says so, unless another session has taken its place."""
        user, passage = self.behind()
        self.relay.path = "two"
        self.clock.advance(EXPIRES * 0.9)
        (other,) = self.ways
        self.assertEqual((passage.released, other.released, user.closed), (True, False, []))
        self.assertEqual(passage.session.path[0].session, "one")
        successor = self.endpoint.session(User().user)
        other.adopt(successor)
        self.assertEqual([uri.session for uri in successor.path][:1], ["two"])
        self.clock.advance(EXPIRES * 0.2)
        self.assertEqual(user.closed, ["our way through the relay has ended"])
        self.clock.advance(EXPIRES * 2)
        self.assertEqual((successor.closed, len(self.ways)), (False, 1))

    def test_refused(self) -> None:
        """When the relay refuses, the session goes on until the way ends, then it is lost with
        the reason; another session asks for another way."""
        user, _ = self.behind()
        self.relay.status = 403
        self.clock.advance(EXPIRES * 0.9)
        self.assertIn("403", str(self.errors[0]))
        self.assertEqual(user.closed, [])
        self.clock.advance(EXPIRES * 0.2)
        (why,) = user.closed
        self.assertRegex(why, "our way through the relay has ended: .* refused: 403")
        self.relay.status = 200
        another, _ = self.behind()
        self.clock.advance(EXPIRES * 2)
        self.assertEqual((another.closed, len(self.errors)), ([], 1))

    def test_silent(self) -> None:
        """A relay that does not answer is asked again until the way ends."""
        long_ago, _ = self.behind()
        self.relay.status = 0
        self.clock.advance(EXPIRES * 0.6)
        self.relay.status = 200
        self.clock.advance(EXPIRES)
        self.assertEqual(long_ago.closed, [])
        self.relay.status = 0
        self.clock.advance(EXPIRES * 1.2)
        self.assertRegex(long_ago.closed[0], "has ended: the relay does not answer")

    def test_lost(self) -> None:
        """With its connection the way is gone: the session is lost at once, and its way is not
        renewed; another session has another connection (§6.3)."""
        user, passage = self.behind()
        self.relay.connections[0].close("enough")
        self.clock.advance(1.0)
        self.assertEqual((len(user.closed), passage.session.state), (1, CLOSED))
        self.clock.advance(EXPIRES * 2)
        self.assertEqual((self.ways, len(self.relay.asked)), ([], 1))
        self.behind()
        self.assertEqual(len(self.relay.connections), 2)

    def test_claimed_early(self) -> None:
        """Whoever comes before the peer is known waits, but not for long where others wait for
        that on the same connection: to our relay."""
        session = self.endpoint.session(User().user, vouched=False)
        asking = Deferred.fromCoroutine(self.client.authorize(session))
        self.clock.wait(asking)
        (connection,) = self.relay.connections
        own = f"msrp://{RELAY}:9000/one;tcp"
        for number in range(3):
            connection.write(
                f"MSRP early{number} SEND\r\nTo-Path: {session.uri}\r\n"
                f"From-Path: {own} msrp://mallory.example:7/x;tcp\r\nMessage-ID: m{number}00\r\n"
                f"-------early{number}$\r\n".encode()
            )
        self.clock.advance(1.0)
        self.assertEqual(self.endpoint.counters["claims_refused"], 0)
        user, _ = self.behind(5.0)
        self.assertEqual(user.opened, 1)
        self.assertEqual(self.endpoint.counters["claims_refused"], 1)
        self.assertEqual(self.relay.refused, [506, 506, 506])
        self.assertFalse(session.closed)

    def test_over(self) -> None:
        """Nothing is asked for a session that has ended, and nothing when all has been stopped."""
        _, passage = self.behind()
        passage.session.close()
        self.clock.advance(EXPIRES * 2)
        self.behind()
        self.client.stop()
        self.clock.advance(EXPIRES * 2)
        self.assertEqual((len(self.relay.asked), self.client.kept), (2, set()))
