"""Where peers may have us connect to."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.net.reach import Reach

THERE = ("192.0.2.1",)


class ReachTests(SynchronousTestCase):
    def test_ordinary(self) -> None:
        """Addresses of hosts may be connected to, private ones too, at the ports of users."""
        reach = Reach()
        for host in ("198.51.100.7", "10.1.2.3", "192.168.0.4", "2001:db8::7", "fd00::1"):
            self.assertEqual(reach.refuses(host, 2855, THERE), "", host)
        self.assertEqual(reach.refuses("10.1.2.3", 65535, THERE), "")
        for port in (0, 22, 80, 443, 1023):
            self.assertIn("ports below", reach.refuses("10.1.2.3", port, THERE))

    def test_nobodys(self) -> None:
        """What is nobody's own address, or ourselves, may not be, however it is written."""
        reach = Reach()
        for host in (
            "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "169.254.169.254", "127.0.0.1",
            "127.9.9.9", "::", "::1", "ff02::1", "fe80::1", "::ffff:127.0.0.1",
            "::ffff:169.254.169.254", "host.example", "", "127.1", "0x7f000001",
        ):  # fmt: skip
            self.assertNotEqual(reach.refuses(host, 2855, THERE), "", host)

    def test_loopback(self) -> None:
        """Who is reached at a loopback address, or at none, finds others there."""
        for here in ((), ("127.0.1.2",), ("[::1]",), ("localhost",)):
            self.assertEqual(Reach().refuses("127.0.0.1", 2855, here), "")

    def test_networks(self) -> None:
        """With networks, those may be connected to and no others."""
        reach = Reach(("10.1.0.0/16", "127.0.0.1", "2001:db8::/32"))
        for host in ("10.1.2.3", "::ffff:10.1.2.3", "127.0.0.1", "2001:db8::1"):
            self.assertEqual(reach.refuses(host, 2855, THERE), "", host)
        for host in ("10.2.0.1", "198.51.100.7", "127.0.0.2", "2001:db9::1"):
            self.assertNotEqual(reach.refuses(host, 2855, THERE), "", host)
        self.assertRaises(UsageError, Reach, ("10.0.0.0/33",))

    def test_closed(self) -> None:
        """Services that trust us are not connected to."""
        reach = Reach(("10.0.0.0/8",))
        reach.closed.add(("10.1.2.3", 5060))
        self.assertNotEqual(reach.refuses("10.1.2.3", 5060, THERE), "")
        self.assertNotEqual(reach.refuses("::ffff:10.1.2.3", 5060, THERE), "")
        self.assertEqual(reach.refuses("10.1.2.3", 5062, THERE), "")

    def test_lowest(self) -> None:
        """The lowest port is a setting."""
        self.assertEqual(Reach(lowest=443).refuses("10.1.2.3", 443, THERE), "")
