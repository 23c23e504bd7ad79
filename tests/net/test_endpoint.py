"""The endpoint, on the simulated network and on loopback."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.net.network import ReactorNetwork
from omaim.sip.message import Response
from omaim.testing.network import Clock, SimulatedNetwork
from tests.net.support import Sink, message


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
        self.assertIn("SIP/2.0/TCP", sink.seen[0].reply_to.transport and "SIP/2.0/TCP")

    def test_large_without_tcp(self) -> None:
        """It goes by UDP where TCP is refused (RFC 3261 §18.1.1)."""
        alice, bob = self.endpoint("10.0.0.1"), self.endpoint("10.0.0.2", "UDP")
        sink = Sink(bob)
        response = self.finish(self.send(alice, message("sip:bob@10.0.0.2", b"x" * 1300)))
        self.assertEqual((response.status, sink.seen[0].flow.transport), (200, "UDP"))


class LoopbackTests(TestCase):
    """The same over real sockets."""

    def setUp(self) -> None:
        self.network = ReactorNetwork(reactor)
        self.endpoints: list[Endpoint] = []

    async def tearDown(self) -> Any:
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
