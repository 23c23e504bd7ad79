"""Asking, remembering, avoiding."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import Unavailable
from omaim.ids import Ids
from omaim.net.resolver import Resolver
from omaim.sip.locating import AVOIDED, Target
from omaim.sip.uri import SipUri
from omaim.testing.clock import Clock
from omaim.testing.dns import SimulatedDns

ZONE = """
example.com            NAPTR 10 10 s SIP+D2U _sip._udp.example.com
_sip._udp.example.com  SRV   0 0 5060 one.example.com
_sip._udp.example.com  SRV   1 0 5062 two.example.com
one.example.com        A     10.0.0.1
two.example.com        A     10.0.0.2
"""
HOST = SipUri("sip", "bob", "example.com")


class ResolverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.dns = SimulatedDns(ZONE, self.clock, 0.05)
        self.resolver = Resolver(self.clock, self.dns.ask, Ids(1))

    def find(self, uri: SipUri = HOST) -> list[Target]:
        found = self.resolver.locate(uri)
        return self.clock.wait(found) if isinstance(found, Deferred) else found

    def test_numeric_at_once(self) -> None:
        """A numeric address needs no Deferred and no DNS."""
        found = self.resolver.locate(SipUri("sip", "", "10.9.9.9", 5070))
        self.assertEqual(found, [Target("UDP", "10.9.9.9", 5070, "10.9.9.9")])
        found = self.resolver.locate(SipUri("sip", "", "[2001:DB8:0:0::1]", 5070))
        self.assertEqual(found, [Target("UDP", "2001:db8::1", 5070, "2001:db8::1")])
        self.assertEqual(self.dns.asked, [])

    def test_remembered(self) -> None:
        """What was asked is known at once, for as long as its TTL says."""
        first = self.find()
        self.assertEqual([target.host for target in first], ["10.0.0.1", "10.0.0.2"])
        asked = len(self.dns.asked)
        self.assertEqual(self.resolver.locate(HOST), first)
        self.clock.advance(61)
        self.assertIsInstance(self.resolver.locate(HOST), Deferred)
        self.clock.advance(1)
        self.assertGreater(len(self.dns.asked), asked)

    def test_missing(self) -> None:
        """A name that does not exist is Unavailable, and remembered as such."""
        uri = SipUri("sip", "", "nobody.example")
        self.assertRaises(Unavailable, self.find, uri)
        asked = len(self.dns.asked)
        self.assertRaises(Unavailable, self.resolver.locate, uri)
        self.assertEqual(len(self.dns.asked), asked)

    def test_silent(self) -> None:
        """No answer is Unavailable, and the next one asks again."""
        self.dns.silent = True
        self.assertRaises(Unavailable, self.find)
        self.dns.silent = False
        self.assertEqual(self.find()[0].host, "10.0.0.1")

    def test_avoided(self) -> None:
        """A target that failed comes last for a while (RFC 3263 §4.3)."""
        first = self.find()[0]
        self.resolver.failed(first)
        self.assertEqual(self.find()[-1], first)
        self.clock.advance(AVOIDED + 1)
        self.assertEqual(self.find()[0], first)

    def test_without_dns(self) -> None:
        """A resolver that may not ask finds no names."""
        resolver = Resolver(self.clock, None)
        found = resolver.locate(HOST)
        assert isinstance(found, Deferred)
        self.failureResultOf(found, Unavailable)

    def test_service(self) -> None:
        """Another protocol's host: by SRV, else by its address and the default port; with a port,
        by its address alone (RFC 4976 §8)."""
        zone = """
        _msrps._tcp.example.com SRV 0 0 9000 one.example.com
        one.example.com         A   10.0.0.1
        two.example.com         A   10.0.0.2
        """
        resolver = Resolver(self.clock, SimulatedDns(zone, self.clock, 0.05).ask, Ids(1))
        for host, port, wanted in (
            ("example.com", 0, ("10.0.0.1", 9000)),
            ("two.example.com", 0, ("10.0.0.2", 2855)),
            ("two.example.com", 7000, ("10.0.0.2", 7000)),
        ):
            found = resolver.locate_service("_msrps._tcp.", 2855, host, port)
            targets = self.clock.wait(found) if isinstance(found, Deferred) else found
            self.assertEqual([(target.host, target.port) for target in targets], [wanted])

    def test_memory_is_bounded(self) -> None:
        """However many names are asked for, no more than a set number is remembered."""
        resolver = Resolver(self.clock, SimulatedDns("").ask, Ids(1))
        for at in range(6000):
            found = resolver.locate(SipUri("sip", "", f"h{at}.example", 5060))
            assert isinstance(found, Deferred)
            self.failureResultOf(found, Unavailable)
        self.assertLessEqual(len(resolver._cache), 4096)
