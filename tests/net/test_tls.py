"""TLS: over real sockets, and whom we believe (RFC 5922)."""

from __future__ import annotations

import ipaddress
from typing import Any

from cryptography import x509
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from omaim.errors import UsageError
from omaim.net import stream
from omaim.net.endpoint import Endpoint
from omaim.net.limits import StreamLimits
from omaim.net.network import ReactorNetwork
from omaim.net.tls import REQUIRED, TlsSettings, identities, names_domain
from omaim.sip.locating import Target
from omaim.sip.message import Response
from omaim.testing.clock import Clock
from omaim.testing.network import SimulatedNetwork
from tests.net.loopback import LOCAL, OURS, STRANGERS, settings
from tests.net.support import Sink, message


class IdentityTests(SynchronousTestCase):
    def names(self, *names: x509.GeneralName, common: str = "cn.example") -> tuple[str, ...]:
        certificate, _ = OURS.issue(*names, common=common)
        return identities(x509.load_pem_x509_certificate(certificate))

    def test_sip_uri_before_dns(self) -> None:
        """DNS names count only where no sip URI is; others' URIs never (RFC 5922 §7.1)."""
        uri = x509.UniformResourceIdentifier
        found = self.names(x509.DNSName("host.example"), uri("sip:Domain.Example;x"))
        self.assertEqual(found, ("domain.example",))
        found = self.names(x509.DNSName("Host.Example"), uri("sip:bob@d.example"), uri("xmpp:d"))
        self.assertEqual(found, ("host.example",))

    def test_common_name_last(self) -> None:
        """The common name counts only without subjectAltName (RFC 5922 §7.1)."""
        self.assertEqual(self.names(), ("cn.example",))
        self.assertEqual(self.names(x509.RFC822Name("a@b")), ())

    def test_comparison(self) -> None:
        """Whole names, any case, no wildcards, no suffixes (RFC 5922 §7.2)."""
        self.assertTrue(names_domain(("a.example",), "A.Example."))
        self.assertFalse(names_domain(("*.example",), "a.example"))
        self.assertFalse(names_domain(("a.example",), "b.a.example"))
        self.assertTrue(names_domain(("2001:db8::1",), "[2001:DB8:0::1]"))
        self.assertFalse(names_domain((), ""))

    def test_bad_settings(self) -> None:
        """A key that belongs to another certificate is refused when it is first used."""
        certificate, _ = OURS.issue()
        _, key = OURS.issue()
        self.assertRaises(UsageError, TlsSettings(certificate, key).server)
        self.assertRaises(UsageError, TlsSettings(b"junk", key).server)
        self.assertRaises(UsageError, TlsSettings().server)

    def test_key_is_not_shown(self) -> None:
        """The key does not appear in a repr, and so in no log."""
        self.assertNotIn("PRIVATE", repr(settings(LOCAL)))


class Silent:
    """Connects and says nothing."""

    def __init__(self) -> None:
        self.ended: Deferred[str] = Deferred()

    def connected(self, stream: Any) -> None:
        """Silence."""

    def received(self, data: bytes) -> None:
        """Silence."""

    def drained(self) -> None:
        """Silence."""

    def closed(self, why: str) -> None:
        self.ended.callback(why)


class LoopbackTlsTests(TestCase):
    def setUp(self) -> None:
        self.endpoints: list[Endpoint] = []

    async def tearDown(self) -> None:  # type: ignore[override]
        for endpoint in self.endpoints:
            await endpoint.stop()

    async def endpoint(
        self, tls: TlsSettings | None, listen: bool = True, total: int = 100
    ) -> Endpoint:
        limits = StreamLimits(total=total)
        endpoint = Endpoint(ReactorNetwork(reactor), reactor, tls=tls, stream_limits=limits)
        self.endpoints.append(endpoint)
        if listen:
            await endpoint.listen("TLS", "127.0.0.1", 0)
        return endpoint

    def send(self, endpoint: Endpoint, to: Endpoint, domain: str = "127.0.0.1") -> Any:
        done: Deferred[Response] = Deferred()
        target = Target("TLS", "127.0.0.1", to.listeners[0].port, domain)
        endpoint.send(message("sips:bob@example.com"), done.callback, targets=[target])
        return done

    async def test_mutual(self) -> None:
        """Both sides learn whom they talk to, and requests come back on the same connection."""
        bob = await self.endpoint(
            settings(LOCAL, x509.DNSName("bob.example"), client_certificates=REQUIRED)
        )
        alice = await self.endpoint(settings(x509.DNSName("alice.example"), LOCAL))
        sink = Sink(bob)
        response = await self.send(alice, bob, "bob.example")
        self.assertEqual((response.status, response.local), (200, False))
        self.assertEqual(sink.seen[0].flow.peer_names, ("alice.example", "127.0.0.1"))
        self.assertTrue(sink.seen[0].flow.secure)
        Sink(alice)
        done: Deferred[Response] = Deferred()
        bob.send(message("sips:a@x", cseq=2), done.callback, flow=sink.seen[0].flow)
        response = await done
        self.assertEqual(response.status, 200)
        self.assertEqual((len(alice.connections), len(bob.connections)), (1, 1))

    async def test_at_once(self) -> None:
        """Nothing small waits in the system for the peer's acknowledgement, over TLS neither."""
        made: list[stream.ReactorStream] = []
        start = stream.ReactorStream.connectionMade

        def connected(one: stream.ReactorStream) -> None:
            start(one)
            made.append(one)

        self.patch(stream.ReactorStream, "connectionMade", connected)
        bob = await self.endpoint(settings(LOCAL))
        alice = await self.endpoint(settings(), listen=False)
        Sink(bob)
        self.assertEqual((await self.send(alice, bob)).status, 200)
        self.assertEqual([bool(one._wire.getTcpNoDelay()) for one in made], [True, True])

    async def refused(self, client: TlsSettings, server: TlsSettings, domain: str) -> None:
        bob = await self.endpoint(server)
        alice = await self.endpoint(client, listen=False)
        sink = Sink(bob)
        response = await self.send(alice, bob, domain)
        self.assertEqual((response.status, response.local), (503, True))
        self.assertEqual(sink.seen, [])

    async def test_wrong_domain(self) -> None:
        """A server that cannot prove the domain gets nothing (RFC 5922 §7.3)."""
        await self.refused(settings(), settings(LOCAL), "bob.example")

    async def test_stranger(self) -> None:
        """A certificate of an unknown authority is refused (RFC 5922 §7.1)."""
        await self.refused(settings(), settings(LOCAL, authority=STRANGERS), "127.0.0.1")

    async def test_no_client_certificate(self) -> None:
        """A server may demand a certificate of its clients (RFC 5922 §7.4)."""
        client = TlsSettings(trust=OURS.pem)
        await self.refused(client, settings(LOCAL, client_certificates=REQUIRED), "127.0.0.1")

    async def test_untrusted_client(self) -> None:
        """A client certificate of an unknown authority is refused, even where none is demanded."""
        await self.refused(settings(authority=STRANGERS), settings(LOCAL), "127.0.0.1")

    async def test_anonymous_client(self) -> None:
        """Without a certificate, a client has no names."""
        bob = await self.endpoint(settings(LOCAL))
        alice = await self.endpoint(TlsSettings(trust=OURS.pem), listen=False)
        sink = Sink(bob)
        response = await self.send(alice, bob)
        self.assertEqual((response.status, sink.seen[0].flow.peer_names), (200, ()))

    async def test_slow_handshake(self) -> None:
        """Who does not finish the handshake in time is dropped."""
        self.patch(stream, "HANDSHAKE", 0.05)
        bob = await self.endpoint(settings(LOCAL))
        peer = Silent()
        ReactorNetwork(reactor).connect_stream("127.0.0.1", bob.listeners[0].port, peer)
        await peer.ended
        self.assertEqual(len(bob.connections), 0)

    async def test_turned_away(self) -> None:
        """A limit on connections holds under TLS too."""
        bob = await self.endpoint(settings(LOCAL), total=0)
        alice = await self.endpoint(TlsSettings(trust=OURS.pem), listen=False)
        response = await self.send(alice, bob)
        self.assertEqual((response.status, response.local), (503, True))
        self.assertEqual(bob.counters["refused_total"], 1)

    async def test_plain_text_to_tls_port(self) -> None:
        """Plain SIP on a TLS port, or the reverse, ends in 503 here and no harm there."""
        bob = await self.endpoint(settings(LOCAL))
        alice = await self.endpoint(None, listen=False)
        done: Deferred[Response] = Deferred()
        target = Target("TCP", "127.0.0.1", bob.listeners[0].port)
        alice.send(message("sip:bob@example.com"), done.callback, targets=[target])
        response = await done
        self.assertEqual((response.status, response.local), (503, True))


class SimulatedTlsTests(SynchronousTestCase):
    """The simulated network comes to the same verdicts."""

    def run_with(self, client: TlsSettings, server: TlsSettings, domain: str) -> Any:
        clock = Clock()
        network = SimulatedNetwork(clock)
        alice = Endpoint(network, clock, tls=client)
        bob = Endpoint(network, clock, tls=server)
        self.successResultOf(bob.listen("TLS", "10.0.0.2", 5061))
        sink = Sink(bob)
        responses: list[Response] = []
        target = Target("TLS", "10.0.0.2", 5061, domain)
        alice.send(message("sips:bob@example.com"), responses.append, targets=[target])
        clock.run(lambda: responses)
        names = sink.seen[0].flow.peer_names if sink.seen else None
        return responses[-1].status, names

    def test_verdicts(self) -> None:
        """As over real sockets, case by case."""
        bob = settings(x509.DNSName("bob.example"))
        strict = settings(x509.DNSName("bob.example"), client_certificates=REQUIRED)
        alice = settings(x509.DNSName("alice.example"))
        anonymous = TlsSettings(trust=OURS.pem)
        stranger = settings(authority=STRANGERS)
        names = ("alice.example",)
        self.assertEqual(self.run_with(alice, strict, "bob.example"), (200, names))
        self.assertEqual(self.run_with(anonymous, bob, "bob.example"), (200, ()))
        self.assertEqual(self.run_with(anonymous, strict, "bob.example"), (503, None))
        self.assertEqual(self.run_with(stranger, bob, "bob.example"), (503, None))
        self.assertEqual(self.run_with(alice, bob, "other.example"), (503, None))
        foreign = settings(x509.DNSName("bob.example"), authority=STRANGERS)
        self.assertEqual(self.run_with(alice, foreign, "bob.example"), (503, None))

    def test_alias_needs_proof(self) -> None:
        """An alias counts only where the certificate names the Via's host (RFC 5923 §8)."""
        self.alias_with("10.0.0.1", 200)
        self.alias_with("10.9.9.9", 503)

    def alias_with(self, name: str, status: int) -> None:
        clock = Clock()
        network = SimulatedNetwork(clock)
        address = x509.IPAddress(ipaddress.ip_address(name))
        alice = Endpoint(network, clock, tls=settings(address))
        host = x509.IPAddress(ipaddress.ip_address("10.0.0.2"))
        bob = Endpoint(network, clock, tls=settings(host))
        for endpoint, at in ((alice, "10.0.0.1"), (bob, "10.0.0.2")):
            self.successResultOf(endpoint.listen("TLS", at, 5061))
            Sink(endpoint)
        responses: list[Response] = []
        alice.send(message("sips:b@10.0.0.2"), responses.append)
        clock.run(lambda: len(responses) == 1)
        bob.send(message("sips:a@10.0.0.1", cseq=2), responses.append)
        clock.run(lambda: len(responses) == 2)
        self.assertEqual(responses[0].status, 200)
        self.assertEqual(responses[1].status, status)
        self.assertEqual(len(bob.connections), 1)
