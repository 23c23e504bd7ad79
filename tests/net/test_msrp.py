"""MSRP endpoints over loopback sockets."""

from __future__ import annotations

import time
from typing import Any

from cryptography import x509
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from omaim.msrp import CLOSED, OPEN, Limits, MsrpUri, Outgoing, Session, parse_path
from omaim.net.msrp import MsrpEndpoint, MsrpLimits
from omaim.net.network import ReactorNetwork
from omaim.net.tls import REQUIRED, TlsSettings
from omaim.net.wire import Wire, WireRecord
from tests.msrp.support import User
from tests.net.loopback import LOCAL, OURS, STRANGERS, LoopbackCase, settings
from tests.net.support import Authority


class EndpointCase(LoopbackCase):
    """Endpoints that are stopped at the end."""

    def endpoint(self, **more: Any) -> MsrpEndpoint:
        endpoint = MsrpEndpoint(ReactorNetwork(reactor), reactor, **more)
        self.addCleanup(endpoint.stop)
        return endpoint

    async def listening(
        self, transport: str = "TCP", tls: TlsSettings | None = None, **more: Any
    ) -> MsrpEndpoint:
        endpoint = self.endpoint(**more)
        await endpoint.listen(transport, "127.0.0.1", 0, tls)
        return endpoint


def joined(
    near: MsrpEndpoint, far: MsrpEndpoint, transport: str = "TCP", **more: Any
) -> tuple[Session, User, Session, User]:
    """Return a session of each endpoint, led to one another; the near one is active."""
    one, other = User(), User()
    active, passive = near.session(one.user, transport), far.session(other.user, transport)
    far.connect(passive, active.path, False)
    near.connect(active, passive.path, True, **more)
    return active, one, passive, other


class TcpTests(EndpointCase):
    async def test_messages(self) -> None:
        """Both sides send; the passive one after the first request (RFC 4975 §5.4)."""
        near, far = await self.listening(), await self.listening()
        active, one, passive, other = joined(near, far)
        statuses: list[int] = []
        passive.send(Outgoing("text/plain", b"early", on_end=statuses.append))
        await self.until(lambda: one.bodies)
        self.assertEqual((active.state, passive.state), (OPEN, OPEN))
        active.send(Outgoing("text/plain", b"hello", on_end=statuses.append))
        await self.until(lambda: len(statuses) == 2)
        self.assertEqual((one.bodies, other.bodies, statuses), ([b"early"], [b"hello"], [200, 200]))

    async def test_large(self) -> None:
        """A body much larger than what sockets take arrives whole, both ways at once."""
        near, far = await self.listening(), await self.listening()
        active, one, passive, other = joined(near, far)
        bodies = [bytes(range(256)) * 40_000, b"-------" * 900_000]
        active.send(Outgoing("application/octet-stream", bodies[0]))
        passive.send(Outgoing("application/octet-stream", bodies[1]))
        await self.until(lambda: one.bodies and other.bodies, 20)
        self.assertEqual([other.bodies[0], one.bodies[0]], bodies)

    async def test_reuse(self) -> None:
        """Sessions for one host, port and scheme share a connection (RFC 4975 §5.4), which
        outlives them until it has been idle."""
        near = await self.listening(limits=Limits(idle=0.05))
        far = await self.listening()
        first, _, passive, one = joined(near, far)
        second, _, _, other = joined(near, far)
        first.send(Outgoing("text/plain", b"1"))
        second.send(Outgoing("text/plain", b"2"))
        await self.until(lambda: one.bodies and other.bodies)
        self.assertEqual((near.counters["connections_opened"], far.connections), (1, 1))
        first.close()
        self.assertEqual((second.state, near.connections), (OPEN, 1))
        second.close()
        await self.until(lambda: not near.connections and not far.connections)
        self.assertEqual((passive.state, near.counters["closed_idle"]), (CLOSED, 1))

    async def test_connection_lost(self) -> None:
        """All sessions of a connection fail with it, and what they were sending (§5.4)."""
        near, far = await self.listening(), await self.listening()
        active, one, _, other = joined(near, far)
        statuses: list[int] = []
        await self.until(lambda: other.opened)
        stream = Outgoing("text/plain", on_end=statuses.append)
        active.send(stream)
        stream.write(b"x" * 5000)
        await self.until(lambda: other.seen)
        await far.stop()
        await self.until(lambda: active.state == CLOSED)
        self.assertEqual((len(one.closed), other.failed), (1, [stream.message_id]))
        self.assertEqual(statuses, [481])

    async def test_nobody_listens(self) -> None:
        """A session whose peer cannot be reached is closed with the reason."""
        near = await self.listening()
        user = User()
        session = near.session(user.user)
        gone = await self.listening()
        path = gone.session(User().user).path
        await gone.stop()
        near.connect(session, path, True)
        await self.until(lambda: user.closed)
        self.assertIn("refused", user.closed[0])
        self.assertEqual(near.sessions, [])

    async def test_unknown_session(self) -> None:
        """A request for no session of ours is answered 481, and ends the session there."""
        near, far = await self.listening(), await self.listening()
        _, one, passive, _ = joined(near, far)
        passive.close()
        await self.until(lambda: one.closed)
        self.assertEqual(one.closed, ["the peer answered 481"])
        self.assertEqual(far.counters["answered_481"], 1)

    async def test_in_use(self) -> None:
        """A session that another connection has is not to be had: 506 (RFC 4975 §5.4)."""
        near, far, third = await self.listening(), await self.listening(), await self.listening()
        _, _, passive, other = joined(near, far)
        await self.until(lambda: other.opened)
        thief = User()
        session = third.session(thief.user)
        third.connect(session, passive.path, True)
        await self.until(lambda: thief.closed)
        self.assertEqual((thief.closed, passive.state), (["the peer answered 506"], OPEN))

    async def test_silent_peer(self) -> None:
        """A connection without a request in time is closed (RFC 4976 §6.1 has 30 seconds)."""
        far = await self.listening(limits=Limits(first=0.05))
        await self.raw(far)
        await self.until(lambda: far.counters["dropped_no_request_in_time"])
        await self.until(lambda: not far.connections)

    async def test_half_frame(self) -> None:
        """A head that does not end is not waited for."""
        far = await self.listening(limits=Limits(half=0.05))
        peer = await self.raw(far)
        peer.transport.write(b"MSRP abcd SEND\r\nTo-Path: ")
        await self.until(lambda: far.counters["dropped_half_a_request"])
        await self.until(lambda: not far.connections)

    async def test_junk(self) -> None:
        """What is no MSRP ends the connection."""
        far = await self.listening()
        peer = await self.raw(far)
        peer.transport.write(b"GET / HTTP/1.1\r\n\r\n")
        await self.until(lambda: far.counters["broken_framing"])
        await self.until(lambda: not far.connections)

    async def test_too_many(self) -> None:
        """Connections are limited, in all and for each host."""
        far = await self.listening(peers=MsrpLimits(per_host=1))
        await self.raw(far)
        await self.until(lambda: far.connections)
        await self.raw(far)
        await self.until(lambda: far.counters["refused_per_host"])

    async def test_sessmatch(self) -> None:
        """With sessmatch the session-id alone tells which session is meant."""
        far = await self.listening(sessmatch=True)
        user = User()
        passive = far.session(user.user)
        far.connect(passive, parse_path("msrp://hidden.example:9/x;tcp"), False)
        peer = await self.raw(far)
        peer.transport.write(
            b"MSRP abcd SEND\r\nTo-Path: msrp://border.example:9/%b;tcp\r\n"
            b"From-Path: msrp://a.example:9/x;tcp\r\nMessage-ID: 1234\r\n"
            b"Content-Type: text/plain\r\n\r\nhi\r\n-------abcd$\r\n" % passive.uri.session.encode()
        )
        await self.until(lambda: user.bodies)

    async def test_slow_reader(self) -> None:
        """A peer that does not read makes us keep little, and is dropped in the end."""
        far = await self.listening(limits=Limits(stalled=0.3))
        user = User()
        passive = far.session(user.user)
        peer = await self.raw(far)
        peer.transport.pauseProducing()
        peer.transport.write(
            b"MSRP abcd SEND\r\nTo-Path: %b\r\nFrom-Path: msrp://a.example:9/x;tcp\r\n"
            b"Message-ID: 1234\r\n-------abcd$\r\n" % str(passive.uri).encode()
        )
        await self.until(lambda: user.opened)
        stream = Outgoing("text/plain")
        passive.send(stream)
        for _ in range(1000):
            stream.write(b"x" * 65536)
            if stream.pending:
                break
        self.assertLess(stream.position, 32 << 20)
        await self.until(lambda: user.closed)
        self.assertEqual(user.closed, ["the peer does not read"])

    async def test_back_pressure(self) -> None:
        """A session that is paused makes its peer wait, without loss."""
        near, far = await self.listening(), await self.listening()
        active, _, passive, other = joined(near, far)
        other.mode = "stream"
        await self.until(lambda: other.opened)
        passive.pause()
        stream = Outgoing("text/plain")
        active.send(stream)
        written = 0
        while stream.pending < 1 << 20:
            stream.write(b"x" * 65536)
            written += 65536
            await self.pause(0)
        stream.finish()
        self.assertEqual(other.ends, {})
        passive.resume()
        await self.until(lambda: other.ends)
        self.assertEqual(len(other.streams[stream.message_id]), written)

    async def test_wire(self) -> None:
        """Watchers see the very octets of each frame, in and out."""
        records: list[WireRecord] = []
        wire = Wire()
        wire.record = records.append
        near, far = await self.listening(wire=wire, name="near"), await self.listening()
        active, _, _, other = joined(near, far)
        await self.until(lambda: other.opened)
        active.send(Outgoing("text/plain", b"hello"))
        await self.until(lambda: len(records) >= 4)
        frames = [record.data for record in records if record.direction == "out"]
        self.assertTrue(frames[0].startswith(b"MSRP ") and frames[0].endswith(b"$\r\n"))
        self.assertTrue(all(record.protocol == "MSRP" for record in records))
        self.assertTrue(all(abs(record.time - time.time()) < 3600.0 for record in records))
        answers = [record.data for record in records if record.direction == "in"]
        self.assertTrue(all(b" 200 OK\r\n" in data for data in answers))
        self.assertEqual(
            {record.remote for record in records}, {("127.0.0.1", far.listeners[0].port)}
        )

    async def test_user_fails(self) -> None:
        """A defect in the user's code is logged; the sender hears 413, and the rest goes on."""
        near, far = await self.listening(), await self.listening()
        active, _, _, other = joined(near, far)
        statuses: list[int] = []
        other.on_whole = lambda incoming: 1 / 0
        active.send(Outgoing("text/plain", b"1", on_end=statuses.append))
        active.send(Outgoing("text/plain", b"2", on_end=statuses.append))
        await self.until(lambda: len(statuses) == 2)
        self.assertEqual((statuses, other.bodies), ([413, 413], [b"1", b"2"]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    async def raw(self, far: MsrpEndpoint) -> Any:
        """Return a protocol connected to ``far`` that says nothing by itself."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", far.listeners[0].port)
        protocol = await connectProtocol(endpoint, Protocol())
        self.addCleanup(protocol.transport.abortConnection)
        return protocol


class TlsTests(EndpointCase):
    async def test_authority(self) -> None:
        """A certificate by an authority, that names the host, is believed (RFC 4975 §5.4)."""
        far = await self.listening("TLS", settings(LOCAL))
        near = self.endpoint(tls=TlsSettings(trust=OURS.pem))
        active, _, passive, other = joined(near, far, "TLS")
        self.assertEqual((passive.uri.scheme, active.uri.port), ("msrps", 9))
        active.send(Outgoing("text/plain", b"x" * 3_000_000))
        await self.until(lambda: other.bodies, 20)
        self.assertEqual(len(other.bodies[0]), 3_000_000)

    async def test_wrong_host(self) -> None:
        """A certificate that names another host is not believed, nor one by strangers."""
        named = x509.DNSName("other.example")
        for tls in (settings(named), settings(LOCAL, authority=STRANGERS)):
            far = await self.listening("TLS", tls)
            near = self.endpoint(tls=TlsSettings(trust=OURS.pem))
            _, user, _, other = joined(near, far, "TLS")
            await self.until(lambda user=user: user.closed)
            self.assertEqual(other.opened, 0)

    async def test_fingerprints(self) -> None:
        """Self-signed certificates do, when the SDP has their fingerprints (RFC 4975 §14.4)."""
        one, other = self.selfsigned(), self.selfsigned()
        far, near = await self.listening("TLS", other), self.endpoint(tls=one)
        caller, callee = User(), User()
        active = near.session(caller.user, "TLS")
        passive = far.session(callee.user, "TLS", vouched=False)
        near.connect(active, passive.path, True, fingerprints=(other.fingerprint(),))
        active.send(Outgoing("text/plain", b"hello"))
        await self.until(lambda: caller.opened)
        await self.pause(0.05)
        self.assertEqual((callee.opened, callee.bodies), (0, []))
        far.connect(passive, active.path, False, fingerprints=(one.fingerprint("sha-1"),))
        await self.until(lambda: callee.bodies)

    async def test_wrong_fingerprint(self) -> None:
        """Another certificate than the SDP says ends the session before anything is
        delivered, on either side (RFC 4975 §14.4)."""
        one, other, third = self.selfsigned(), self.selfsigned(), self.selfsigned()
        far, near = await self.listening("TLS", other), self.endpoint(tls=one)
        caller, callee = User(), User()
        active = near.session(caller.user, "TLS")
        passive = far.session(callee.user, "TLS")
        near.connect(active, passive.path, True, fingerprints=(third.fingerprint(),))
        await self.until(lambda: caller.closed)
        self.assertIn("fingerprint", caller.closed[0])
        active = near.session(caller.user, "TLS")
        far.connect(passive, active.path, False, fingerprints=(third.fingerprint(),))
        near.connect(active, passive.path, True, fingerprints=(other.fingerprint(),))
        await self.until(lambda: callee.closed)
        await self.until(lambda: len(caller.closed) == 2)
        self.assertEqual((callee.opened, callee.closed), (0, caller.closed[:1]))

    async def test_mutual(self) -> None:
        """Where client certificates are required, those without one stay outside."""
        far = await self.listening("TLS", settings(LOCAL, client_certificates=REQUIRED))
        stranger = self.endpoint(tls=TlsSettings(trust=OURS.pem))
        _, user, _, other = joined(stranger, far, "TLS")
        await self.until(lambda: user.closed)
        near = self.endpoint(tls=settings(LOCAL))
        active, _, _, other = joined(near, far, "TLS")
        active.send(Outgoing("text/plain", b"hello"))
        await self.until(lambda: other.bodies)

    async def test_mutual_session(self) -> None:
        """A session whose peer has to prove its host is not for a connection without the right
        certificate, whoever knows its URI (RFC 4975 §14.4); the right one gets it all the same."""
        far = await self.listening("TLS", settings(LOCAL))
        caller, callee = User(), User()
        wanted = x509.DNSName("peer.example")
        passive = far.session(callee.user, "TLS", mutual=True)
        strangers = (
            TlsSettings(trust=OURS.pem),
            settings(x509.DNSName("other.example")),
            settings(wanted, authority=STRANGERS),
        )
        near = self.endpoint(tls=settings(wanted))
        active = near.session(caller.user, "TLS")
        uri = MsrpUri("peer.example", 9, active.uri.session, True)
        for told in (False, True):
            if told:
                far.connect(passive, (uri,), False)
            for tls in strangers:
                user = User()
                stranger = self.endpoint(tls=tls)
                session = stranger.session(user.user, "TLS")
                stranger.connect(session, passive.path, True)
                if told or tls is not strangers[1]:
                    await self.until(lambda user=user: user.closed)
                else:
                    await self.pause(0.05)
                self.assertEqual(callee.opened, 0)
        self.assertEqual(callee.closed, [])
        near.connect(active, passive.path, True)
        active.send(Outgoing("text/plain", b"hello"))
        await self.until(lambda: callee.bodies)

    async def test_scheme(self) -> None:
        """A session of an msrps URI is not to be had over plain TCP (RFC 4975 §5.4, §6)."""
        far = await self.listening("TLS", settings(LOCAL))
        await far.listen("TCP", "127.0.0.1", 0)
        near = await self.listening()
        user, callee = User(), User()
        passive = far.session(callee.user, "TLS")
        session = near.session(user.user)
        plain = far.session(User().user).uri
        near.connect(session, passive.path, True)
        session.close()
        session = near.session(user.user)
        forged = type(plain).parse(str(passive.uri).replace("msrps:", "msrp:"))
        near.connect(session, (forged,), True, address=("127.0.0.1", plain.port))
        await self.until(lambda: len(user.closed) == 2)
        self.assertEqual((user.closed[1], callee.opened), ("the peer answered 481", 0))

    def selfsigned(self) -> TlsSettings:
        """Return settings with a certificate that no authority knows."""
        certificate, key = Authority().issue(x509.DNSName("self.example"))
        return TlsSettings(certificate, key, OURS.pem, self_signed=True)
