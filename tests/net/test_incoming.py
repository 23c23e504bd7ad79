"""What arrives: where answers go, and what becomes of bad input."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.net.wire import Wire, WireRecord
from omaim.sip.message import Response
from omaim.sip.parser import parse_datagram
from omaim.testing.network import Clock, SimulatedNetwork
from tests.net.support import MESSAGES, Sink, message

HOST = "10.0.0.2"


class Peer:
    """A bare UDP socket."""

    def __init__(self, network: SimulatedNetwork, host: str, port: int) -> None:
        self.got: list[bytes] = []
        self.socket = network.listen_datagram(host, port, lambda data, _: self.got.append(data))

    def send(self, data: bytes) -> None:
        self.socket.send(data, (HOST, 5060))


def request(via: str = "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1;rport", cseq: int = 1) -> bytes:
    """Return a MESSAGE with this Via."""
    made = message(f"sip:bob@{HOST}", cseq=cseq)
    made.prepend("Via", via)
    return made.to_bytes()


class Arriving(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock)
        self.wire = Wire()
        self.endpoint = Endpoint(
            self.network, self.clock, name="bob", ids=Ids(1), wire=self.wire, software="omaim"
        )
        self.successResultOf(self.endpoint.listen("UDP", HOST, 5060))
        self.sink = Sink(self.endpoint)
        self.peer = Peer(self.network, "10.0.0.1", 5060)

    def answers(self, data: bytes, peer: Peer | None = None) -> list[Response]:
        """Send one datagram; return what came back by the end of the transaction."""
        peer = peer or self.peer
        peer.got.clear()
        peer.send(data)
        self.clock.advance(0.1)
        parsed = [parse_datagram(answer) for answer in peer.got]
        return [answer for answer in parsed if isinstance(answer, Response)]


class AnswerRoutingTests(Arriving):
    def test_rport(self) -> None:
        """With rport the answer returns to the source port, both written down (RFC 3581 §4)."""
        peer = Peer(self.network, "10.0.0.1", 4000)
        (answer,) = self.answers(request(), peer)
        self.assertEqual((answer.via.rport, answer.via.received), (4000, "10.0.0.1"))

    def test_no_rport(self) -> None:
        """Without it, to the source address and the Via's port (RFC 3261 §18.2.2)."""
        peer = Peer(self.network, "10.0.0.1", 4000)
        via = "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1"
        self.assertEqual(self.answers(request(via), peer), [])
        self.assertEqual(len(self.peer.got), 1)

    def test_received(self) -> None:
        """A name, or another address, in the Via gets the source beside it (§18.2.1)."""
        for host in ("client.example", "10.7.7.7"):
            via = f"SIP/2.0/UDP {host};branch=z9hG4bK{host}"
            (answer,) = self.answers(request(via))
            self.assertEqual(answer.via.received, "10.0.0.1")
            self.assertEqual(answer.via.host, host)

    def test_forged_received(self) -> None:
        """What the sender claims in "received" or rport is replaced."""
        via = "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK2;received=10.6.6.6;rport=66"
        (answer,) = self.answers(request(via))
        self.assertEqual((answer.via.received, answer.via.rport), ("10.0.0.1", 5060))

    def test_maddr(self) -> None:
        """A maddr draws no answer to somebody else, with or without rport."""
        other = Peer(self.network, "10.0.0.5", 5060)
        for extra in ("", ";rport"):
            via = f"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK3{extra};maddr=10.0.0.5"
            self.assertEqual(len(self.answers(request(via))), 1)
        self.assertEqual(other.got, [])

    def test_other_vias_untouched(self) -> None:
        """Only the top Via is stamped, also where several share a line."""
        vias = "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa;rport, SIP/2.0/UDP 10.3.3.3;branch=z9hG4bKb"
        (answer,) = self.answers(request(vias))
        self.assertEqual([via.branch for via in answer.vias], ["z9hG4bKa", "z9hG4bKb"])
        self.assertEqual(answer.vias[1].received, "")

    def test_ipv6(self) -> None:
        """IPv6 clients are answered; "received" has no brackets (RFC 5118 §4.5)."""
        self.successResultOf(self.endpoint.listen("UDP", "2001:db8::2", 5060))
        got: list[bytes] = []
        socket = self.network.listen_datagram("2001:db8::1", 5060, lambda d, _: got.append(d))
        via = "SIP/2.0/UDP [2001:db8::9];branch=z9hG4bK6;rport"
        socket.send(request(via), ("2001:db8::2", 5060))
        self.clock.advance(1)
        answer = parse_datagram(got[0])
        assert answer is not None
        self.assertEqual(answer.via.received, "2001:db8::1")

    def test_foreign_response(self) -> None:
        """A response whose top Via is not ours is dropped (RFC 3261 §18.1.2)."""
        strays: list[object] = []
        self.endpoint.on_stray_response = lambda response, flow: strays.append(response)
        for via in ("SIP/2.0/UDP 10.9.9.9;branch=z9hG4bK1", f"SIP/2.0/UDP {HOST};branch=z9hG4bK1"):
            data = request(via).replace(
                f"MESSAGE sip:bob@{HOST} SIP/2.0".encode(), b"SIP/2.0 200 OK"
            )
            self.peer.send(data)
        self.clock.advance(1)
        self.assertEqual(len(strays), 1)
        self.assertEqual(self.endpoint.counters["response_foreign"], 1)


class BadInputTests(Arriving):
    def test_answered(self) -> None:
        """A request that can be answered gets 400 and the reason, without state."""
        (answer,) = self.answers(request().replace(b"Call-ID: call-1\r\n", b""))
        self.assertEqual(answer.status, 400)
        self.assertEqual(self.endpoint.transactions.server_count, 0)
        self.assertEqual(self.endpoint.counters["malformed"], 1)

    def test_silence(self) -> None:
        """No answer to an ACK, to a response, to what is no SIP, or where no Via leads back."""
        good = request()
        for data in (
            good.replace(b"MESSAGE", b"ACK").replace(b"Call-ID: call-1\r\n", b""),
            b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x\r\n\r\n",
            b"hello",
            b"\x00\xff" * 400,
            good.replace(b"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1;rport\r\n", b""),
            good.replace(b"SIP/2.0/UDP 10.0.0.1:5060", b"@@@@"),
        ):
            self.assertEqual(self.answers(data), [], data)
        self.assertEqual(self.sink.seen, [])

    def test_keepalive(self) -> None:
        """CRLFs keep a path alive and get no answer."""
        self.assertEqual(self.answers(b"\r\n\r\n"), [])
        self.assertEqual(self.endpoint.counters["keepalive"], 1)

    def test_stun(self) -> None:
        """So does STUN, which is told its address, and which is no message (RFC 5626 §5.4, §8)."""
        seen: list[WireRecord] = []
        self.wire.record = seen.append
        self.peer.send(bytes.fromhex("000100002112a442") + b"transaction!")
        self.peer.send(bytes.fromhex("000100042112a442") + b"transaction!")  # cut off
        self.clock.advance(0.01)
        mapped = "002000080001" + "32d6" + "2b12a443"  # 5060 and 10.0.0.1, both masked
        self.assertEqual(
            self.peer.got,
            [bytes.fromhex("0101000c2112a442") + b"transaction!" + bytes.fromhex(mapped)],
        )
        self.assertEqual((self.endpoint.counters["keepalive"], seen[1:]), (1, []))

    def test_no_amplification(self) -> None:
        """The answer to bad input is hardly larger than the input: its source may be forged."""
        small = b"MESSAGE sip:x SIP/2.0\r\nVia:SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx;rport\r\n\r\n"
        for data in (small, *MESSAGES):
            self.peer.got.clear()
            self.peer.send(data)
            self.clock.advance(0.01)
            for answer in self.peer.got:
                self.assertLess(len(answer), len(data) + 200)

    def test_crash(self) -> None:
        """A defect above answers 500, once, and is logged."""

        def broken(transaction: Any) -> None:
            raise ZeroDivisionError

        self.endpoint.on_request = broken
        (answer,) = self.answers(request())
        self.assertEqual((answer.status, answer.first("Server")), (500, "omaim"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_watched(self) -> None:
        """A watcher sees each message in and out, as it was on the wire."""
        seen: list[WireRecord] = []
        self.wire.record = seen.append
        self.answers(request())
        self.assertEqual([record.direction for record in seen], ["in", "out"])
        self.assertEqual(seen[0].data, request())
        self.assertEqual(seen[1].data, self.peer.got[0])
        self.assertEqual((seen[0].remote, seen[0].local), (("10.0.0.1", 5060), (HOST, 5060)))
        self.assertEqual((seen[0].entity, seen[0].transport), ("bob", "UDP"))

    def test_torture(self) -> None:
        """No torture message raises anything (RFC 4475, RFC 5118)."""
        self.assertGreater(len(MESSAGES), 40)
        for data in MESSAGES:
            self.peer.send(data)
            self.clock.advance(0.01)
        self.clock.advance(40)
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(st.data())
    def test_mutations(self, data: st.DataObject) -> None:
        """Whatever the octets are, nothing is raised, over UDP and over a stream."""
        octets = bytearray(data.draw(st.sampled_from(MESSAGES)))
        for _ in range(data.draw(st.integers(0, 6))):
            at = data.draw(st.integers(0, len(octets)))
            octets[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
        clock = Clock()
        network = SimulatedNetwork(clock)
        endpoint = Endpoint(network, clock, ids=Ids(1))
        Sink(endpoint)
        for transport in ("UDP", "TCP"):
            self.successResultOf(endpoint.listen(transport, HOST, 5060))
        Peer(network, "10.0.0.1", 5060).send(bytes(octets))
        talker = _Talker(bytes(octets))
        network.connect_stream(HOST, 5060, talker)
        clock.advance(50)
        self.assertEqual(self.flushLoggedErrors(), [])
        clock.wait(endpoint.stop())


class _Talker:
    """Says its piece on a stream."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def connected(self, stream: Any) -> None:
        stream.write(self._data)

    def received(self, data: bytes) -> None:
        """Answers are of no interest."""

    def drained(self) -> None:
        """Neither is this."""

    def closed(self, why: str) -> None:
        """Nor this."""
