"""Asking real name servers over real sockets."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.names import dns
from twisted.trial.unittest import TestCase

from omaim.errors import Unavailable
from omaim.ids import Ids
from omaim.net.authority import DnsAuthority, Host, zone
from omaim.net.resolver import NOTHING, Dns, Resolver, _records
from omaim.sip.locating import A, Target
from omaim.sip.uri import SipUri


class DnsTests(TestCase):
    def setUp(self) -> None:
        core = Host("core.north.example", "127.0.1.1", (("udp", 5060), ("tls", 5061)))
        authority = DnsAuthority(reactor, [zone("north.example", [core], core)])
        port = authority.listen("127.0.0.1", 0)
        self.addCleanup(authority.stop)
        self.dns = Dns(reactor, [("127.0.0.1", port)], (1,))
        self.resolver = Resolver(reactor, self.dns.ask, Ids(1), families=(A,))

    async def find(self, uri: SipUri) -> Any:
        found = self.resolver.locate(uri)
        return found if isinstance(found, list) else await found

    async def test_domain(self) -> None:
        """From a domain to its servers: NAPTR, SRV, A (RFC 3263 §4)."""
        expected = [
            Target("UDP", "127.0.1.1", 5060, "north.example"),
            Target("TLS", "127.0.1.1", 5061, "north.example"),
        ]
        self.assertEqual(await self.find(SipUri("sip", "bob", "north.example")), expected)
        self.assertEqual(await self.find(SipUri("sips", "bob", "north.example")), expected[1:])
        again = self.resolver.locate(SipUri("sip", "bob", "north.example"))
        self.assertEqual(again, expected)

    async def test_no_such_name(self) -> None:
        """A name that does not exist, or never could, is Unavailable."""
        for host in ("nobody.north.example", "x" * 70 + ".north.example", "a..b", "-"):
            try:
                await self.find(SipUri("sip", "", host))
            except Unavailable:
                continue
            self.fail(f"{host} was found")

    async def test_refused(self) -> None:
        """A server that answers for other zones only is no answer."""
        try:
            await self.find(SipUri("sip", "", "elsewhere.example"))
        except Unavailable:
            return
        self.fail("found")

    def test_other_records(self) -> None:
        """Records of a type that was not asked for are passed over; the least TTL counts."""
        name = b"a.example"
        headers = [
            dns.RRHeader(name, dns.CNAME, ttl=5, payload=dns.Record_CNAME(b"b.example")),
            dns.RRHeader(b"b.example", dns.A, ttl=60, payload=dns.Record_A("10.0.0.1")),
        ]
        answer, ttl = _records((headers, [], []), A)
        self.assertEqual((answer.addresses, ttl), (["10.0.0.1"], 5.0))
        answer, ttl = _records(([], [], []), A)
        self.assertEqual((answer.addresses, ttl), ([], NOTHING))
