"""Who is inside the trust domain."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.sip.flow import Flow
from omaim.sip.neighbours import PEER, SERVICE, Neighbour, Neighbours


def flow(host: str, transport: str = "UDP", names: tuple[str, ...] = ()) -> Flow:
    """Return a flow from ``host``."""
    made = Flow(transport, "127.0.0.1", 5060, host, 40000)
    made.peer_names = names
    return made


class NeighboursTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.neighbours = Neighbours(
            ("127.0.1.2", "im.north.example"),
            ("south.example=127.0.2.1+::1", "west.example"),
        )

    def is_(self, found: Neighbour | None, kind: int, name: str) -> None:
        assert found is not None
        self.assertEqual((found.kind, found.name), (kind, name))

    def test_by_address(self) -> None:
        """Configured addresses are believed."""
        self.is_(self.neighbours.of(flow("127.0.1.2")), SERVICE, "127.0.1.2")
        self.is_(self.neighbours.of(flow("::1")), PEER, "south.example")

    def test_by_certificate(self) -> None:
        """A verified name is believed from any address (RFC 5922 §7)."""
        found = self.neighbours.of(flow("10.9.9.9", "TLS", ("west.example",)))
        self.is_(found, PEER, "west.example")
        found = self.neighbours.of(flow("10.9.9.9", "TLS", ("im.north.example",)))
        self.is_(found, SERVICE, "im.north.example")

    def test_stranger(self) -> None:
        """Everybody else is a stranger, whatever unverified claims they make."""
        self.assertIsNone(self.neighbours.of(flow("127.0.0.9")))
        self.assertIsNone(self.neighbours.of(flow("127.0.0.9", "TLS", ("evil.example",))))

    def test_domains(self) -> None:
        """Trust for what leaves goes by domain, host inside it, or address."""
        for host in ("west.example", "core.west.example", "[::1]", "127.0.2.1"):
            self.assertTrue(self.neighbours.knows(host), host)
        for host in ("evil.example", "notwest.example", "127.0.2.9"):
            self.assertFalse(self.neighbours.knows(host), host)

    def test_spelling(self) -> None:
        """An IPv6 address is the same however it is written (RFC 5952 §2)."""
        services = ("2001:DB8:0::2", "sip:[2001:db8:0:0:0:0:0:3]", "[2001:DB8::4]")
        neighbours = Neighbours(services, ("south.example=2001:db8:0:0::5",))
        for number, kind in ((2, SERVICE), (3, SERVICE), (4, SERVICE), (5, PEER)):
            found = neighbours.of(flow(f"2001:db8::{number}"))
            self.assertEqual(found.kind if found else None, kind, number)
            self.assertTrue(neighbours.knows(f"[2001:DB8:0::{number}]"))

    def test_settings(self) -> None:
        """A wrong peer is one clear error."""
        self.assertRaises(UsageError, Neighbours, (), ("south.example=nowhere",))
        self.assertRaises(UsageError, Neighbours, (), ("127.0.0.1",))
