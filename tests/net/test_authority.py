"""The in-process DNS authority, asked over real sockets."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.names import client
from twisted.names.error import DNSNameError
from twisted.trial.unittest import TestCase

from omaim.errors import Unavailable
from omaim.net.authority import DnsAuthority, Host, zone


class AuthorityTests(TestCase):
    def setUp(self) -> None:
        core = Host("core.north.example", "127.0.1.1", (("udp", 5060), ("tls", 5061)))
        im = Host("im.north.example", "127.0.1.2", (("udp", 5060),))
        relay = Host("relay.north.example", "127.0.1.3", (("msrps", 2855),))
        self.authority = DnsAuthority(reactor, [zone("north.example", [core, im, relay], core)])
        self.port = self.authority.listen("127.0.0.1", 0)
        self.addCleanup(self.authority.stop)
        self.client = client.Resolver(servers=[("127.0.0.1", self.port)], timeout=(2,))

    @inlineCallbacks
    def test_sip_domain(self) -> Any:
        """NAPTR leads to SRV and SRV to an address (RFC 3263 §4.1, §4.2)."""
        answers, _, _ = yield self.client.lookupNamingAuthorityPointer("north.example")
        found = sorted((r.payload.order, r.payload.service.string) for r in answers)
        self.assertEqual(found, [(10, b"SIP+D2U"), (30, b"SIPS+D2T")])
        answers, _, _ = yield self.client.lookupService("_sips._tcp.north.example")
        self.assertEqual(answers[0].payload.port, 5061)
        self.assertEqual(str(answers[0].payload.target), "core.north.example")
        answers, _, _ = yield self.client.lookupAddress("im.north.example")
        self.assertEqual(answers[0].payload.dottedQuad(), "127.0.1.2")

    @inlineCallbacks
    def test_relay(self) -> Any:
        """An MSRP relay is found by SRV (RFC 4976 §8)."""
        answers, _, _ = yield self.client.lookupService("_msrps._tcp.relay.north.example")
        found = answers[0].payload
        self.assertEqual((found.port, str(found.target)), (2855, "relay.north.example"))
        answers, _, _ = yield self.client.lookupAddress("relay.north.example")
        self.assertEqual(answers[0].payload.dottedQuad(), "127.0.1.3")

    @inlineCallbacks
    def test_unknown_name(self) -> Any:
        """A name that is not there is said not to be there."""
        yield self.assertFailure(self.client.lookupAddress("nobody.north.example"), DNSNameError)

    def test_address_taken(self) -> None:
        """A taken address is one clear error."""
        other = DnsAuthority(reactor, [])
        error = self.assertRaises(Unavailable, other.listen, "127.0.0.1", self.port)
        self.assertIn(f"127.0.0.1:{self.port}", str(error))
