"""The endpoint, on the simulated network and on loopback."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from omaim.errors import Unavailable, UsageError
from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.net.network import ReactorNetwork
from omaim.sip.message import Response
from omaim.sip.proxying import postprocess
from omaim.sip.transaction import ServerTransaction
from omaim.sip.uri import SipUri, parse_uri
from omaim.testing.network import Clock, SimulatedNetwork
from tests.net.support import MESSAGES, Sink, message


class Simulated(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, 1)

    def endpoint(self, host: str, *transports: str, **named: Any) -> Endpoint:
        endpoint = Endpoint(
            self.network, self.clock, name=host, ids=Ids(hash(host) & 0xFFFF), **named
        )
        for transport in transports or ("UDP", "TCP"):
            self.successResultOf(endpoint.listen(transport, host, 5060))
        return endpoint

    def send(self, endpoint: Endpoint, request: Any, **named: Any) -> list[Response]:
        responses: list[Response] = []
        endpoint.send(request, responses.append, **named)
        return responses

    def finish(self, responses: list[Response]) -> Response:
        self.clock.run(lambda: responses and responses[-1].status >= 200)
        return responses[-1]


class EndpointTests(Simulated):
    def test_message(self) -> None:
        """A request to a numeric address is answered."""
        alice, bob = self.endpoint("10.0.0.1"), self.endpoint("10.0.0.2")
        sink = Sink(bob)
        response = self.finish(self.send(alice, message("sip:bob@10.0.0.2")))
        self.assertEqual((response.status, response.local), (200, False))
        self.assertEqual(sink.bodies, [b"Hello"])

    def test_tcp(self) -> None:
        """transport=tcp goes by a stream, and the second request by the same one."""
        alice, bob = self.endpoint("10.0.0.1"), self.endpoint("10.0.0.2")
        sink = Sink(bob)
        for cseq in (1, 2):
            request = message("sip:bob@10.0.0.2;transport=tcp", cseq=cseq)
            response = self.finish(self.send(alice, request))
            self.assertEqual(response.status, 200)
        self.assertEqual(len(bob.connections), 1)
        self.assertEqual(sink.seen[0].flow.transport, "TCP")

    def test_large(self) -> None:
        """A request over 1300 octets goes by TCP (RFC 3261 §18.1.1)."""
        alice, bob = self.endpoint("10.0.0.1"), self.endpoint("10.0.0.2")
        sink = Sink(bob)
        self.finish(self.send(alice, message("sip:bob@10.0.0.2", b"x" * 1300)))
        self.assertEqual(sink.seen[0].flow.transport, "TCP")

    def test_large_without_tcp(self) -> None:
        """It goes by UDP where TCP is refused (RFC 3261 §18.1.1)."""
        alice, bob = self.endpoint("10.0.0.1"), self.endpoint("10.0.0.2", "UDP")
        sink = Sink(bob)
        response = self.finish(self.send(alice, message("sip:bob@10.0.0.2", b"x" * 1300)))
        self.assertEqual((response.status, sink.seen[0].flow.transport), (200, "UDP"))

    def test_strict_router(self) -> None:
        """What is rewritten for a strict router goes to it, not to the loose one behind it
        (RFC 3261 §16.6 steps 6 and 7)."""
        alice, strict = self.endpoint("10.0.0.1"), self.endpoint("10.0.0.2")
        behind = Sink(self.endpoint("10.0.0.3"))
        routes: list[str] = []

        def receive(transaction: ServerTransaction) -> None:
            routes.extend(transaction.request.all("Route"))
            strict.reply(transaction, 200)

        strict.on_request = receive
        request = message("sip:bob@10.0.0.4")
        for route in ("<sip:10.0.0.2>", "<sip:10.0.0.3;lr>"):
            request.add("Route", route)
        self.assertEqual(postprocess(request), "sip:10.0.0.2")
        self.finish(self.send(alice, request))
        self.assertEqual(behind.seen, [])
        self.assertEqual(routes, ["<sip:10.0.0.3;lr>", "<sip:bob@10.0.0.4>"])


class LoopbackTests(TestCase):
    """The same over real sockets."""

    def setUp(self) -> None:
        self.network = ReactorNetwork(reactor)
        self.endpoints: list[Endpoint] = []

    async def tearDown(self) -> Any:  # type: ignore[override]
        for endpoint in self.endpoints:
            await endpoint.stop()

    async def endpoint(
        self, name: str, *transports: str, host: str = "127.0.0.1", **named: Any
    ) -> Any:
        endpoint = Endpoint(self.network, reactor, name=name, **named)
        self.endpoints.append(endpoint)
        port = 0
        for transport in transports or ("UDP", "TCP"):
            listener = await endpoint.listen(transport, host, port)
            port = listener.port
        return endpoint

    def send(self, endpoint: Endpoint, request: Any, **named: Any) -> Deferred[Response]:
        done: Deferred[Response] = Deferred()

        def responded(response: Response) -> None:
            if response.status >= 200 and not done.called:
                done.callback(response)

        endpoint.send(request, responded, **named)
        return done

    async def test_each_transport(self) -> Any:
        """UDP and TCP, IPv4 and IPv6 carry a request and its answer."""
        for host in ("127.0.0.1", "::1"):
            alice = await self.endpoint("alice", host=host)
            bob = await self.endpoint("bob", host=host)
            sink = Sink(bob)
            for transport in ("UDP", "TCP"):
                response = await self.send(alice, message(bob.uri(transport)))
                self.assertEqual(response.status, 200)
                self.assertEqual(sink.seen[-1].flow.transport, transport)
                self.assertEqual(sink.seen[-1].flow.remote_host, host)

    async def test_any_octets(self) -> None:
        """No torture message, on any real socket, raises anything or stops the service."""
        bob = await self.endpoint("bob")
        alice = await self.endpoint("alice")
        Sink(bob)
        port = bob.listeners[0].port
        for octets in MESSAGES:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.sendto(octets, ("127.0.0.1", port))
            with socket.create_connection(("127.0.0.1", port)) as peer:
                peer.sendall(octets)
        for transport in ("UDP", "TCP"):
            response = await self.send(alice, message(bob.uri(transport)))
            self.assertEqual(response.status, 200)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_addresses(self) -> None:
        """An endpoint knows how it is reached, and which URIs lead to it."""
        bob = await self.endpoint("bob")
        await bob.listen("TCP", "0.0.0.0", 0, advertise="Bob.example")
        port, other = bob.listeners[0].port, bob.listeners[2].port
        self.assertEqual(bob.via_host, "127.0.0.1")
        self.assertEqual(bob.uri("TCP", "bob"), f"sip:bob@127.0.0.1:{port};transport=tcp")
        self.assertEqual(bob.uri("TLS"), "")
        for text, ours in (
            (f"sip:127.0.0.1:{port}", True),
            (f"sip:x@127.0.0.1:{port};transport=tcp;lr", True),
            (f"sip:127.0.0.1:{port};transport=tls", False),
            (f"sip:bob.example:{other}", True),
            (f"sip:bob.example:{other};transport=udp", False),
            ("sip:127.0.0.1", False),
            (f"sip:127.0.0.2:{port}", False),
        ):
            uri = parse_uri(text)
            assert isinstance(uri, SipUri)
            self.assertEqual(bob.owns(uri), ours, text)

    async def test_cannot_listen(self) -> None:
        """An address that cannot be had, or a transport unknown here, fails clearly."""
        bob = await self.endpoint("bob")
        port = bob.listeners[0].port
        for transport, error in (("UDP", Unavailable), ("TCP", Unavailable), ("SCTP", UsageError)):
            await self.assertFailure(bob.listen(transport, "127.0.0.1", port), error)
