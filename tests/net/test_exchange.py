"""Requests out: finding servers, and the next one where one fails (RFC 3263 §4.3)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.net.resolver import Resolver
from omaim.sip.locating import Target
from omaim.sip.message import Request, Response
from omaim.sip.transaction import RESTART, ServerTransaction
from omaim.testing.dns import SimulatedDns
from omaim.testing.network import Clock, Link, SimulatedNetwork
from tests.net.support import Sink, invite, message

ZONE = """
example.com            NAPTR 10 10 s SIP+D2U _sip._udp.example.com
_sip._udp.example.com  SRV   0 0 5060 one.example.com
_sip._udp.example.com  SRV   1 0 5060 two.example.com
one.example.com        A     10.0.0.2
two.example.com        A     10.0.0.3
"""


class ExchangeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, 3)
        self.dns = SimulatedDns(ZONE, self.clock, 0.02)
        ids = Ids(5)
        self.resolver = Resolver(self.clock, self.dns.ask, ids)
        self.alice = Endpoint(self.network, self.clock, self.resolver, ids=ids)
        self.one = Endpoint(self.network, self.clock)
        self.two = Endpoint(self.network, self.clock)
        hosts = ((self.alice, "10.0.0.1"), (self.one, "10.0.0.2"), (self.two, "10.0.0.3"))
        for endpoint, host in hosts:
            for transport in ("UDP", "TCP"):
                self.successResultOf(endpoint.listen(transport, host, 5060))
        self.first, self.second = Sink(self.one), Sink(self.two)
        self.responses: list[Response] = []

    def send(self, request: Request, **named: Any) -> Any:
        return self.alice.send(request, self.responses.append, **named)

    def finish(self) -> tuple[int, bool]:
        """Wait for the final response; return its status and whether it was made here."""
        self.clock.run(lambda: self.responses and self.responses[-1].status >= 200)
        return self.responses[-1].status, self.responses[-1].local

    def test_by_name(self) -> None:
        """A name is looked up; the answer comes from the preferred server."""
        self.send(message("sip:bob@example.com"))
        self.assertEqual(self.responses, [])
        self.assertEqual(self.finish(), (200, False))
        self.assertEqual((len(self.first.seen), len(self.second.seen)), (1, 0))

    def test_known_name_at_once(self) -> None:
        """When the DNS is remembered, the request leaves before send returns."""
        self.send(message("sip:bob@example.com"))
        self.finish()
        sent = self.network.datagrams
        self.send(message("sip:bob@example.com", cseq=2))
        self.assertEqual(self.network.datagrams, sent + 1)

    def test_failover_on_503(self) -> None:
        """A server that says 503 is followed by the next; the branch is a new one."""
        branches: list[str] = []
        self.first.status = 503
        for sink in (self.first, self.second):
            serve = sink.serve

            def note(transaction: ServerTransaction, serve: Any = serve) -> None:
                branches.append(transaction.request.via.branch)
                self.assertEqual(len(transaction.request.vias), 1)
                serve(transaction)

            sink.endpoint.on_request = note
        self.send(message("sip:bob@example.com"))
        self.assertEqual(self.finish(), (200, False))
        self.assertEqual(len(set(branches)), 2)
        self.send(message("sip:bob@example.com", cseq=2))
        self.finish()
        self.assertEqual(len(self.first.seen), 1)  # avoided for a while

    def test_failover_on_silence(self) -> None:
        """A server that is dead is followed by the next."""
        self.network.cut("10.0.0.2")
        self.send(message("sip:bob@example.com"))
        self.assertEqual(self.finish(), (200, False))
        self.assertEqual(len(self.second.seen), 1)

    def test_failover_in_time(self) -> None:
        """A MESSAGE turns to the next server while its sender still waits; the silent one is
        avoided from then on (RFC 4320 §4.1: a live one would have said 100)."""
        self.network.cut("10.0.0.2")
        start = self.clock.seconds()
        self.send(message("sip:bob@example.com"))
        self.assertEqual(self.finish(), (200, False))
        self.assertLess(self.clock.seconds() - start, 5.0)
        start = self.clock.seconds()
        self.send(message("sip:bob@example.com", cseq=2))
        self.finish()
        self.assertLess(self.clock.seconds() - start, 1.0)
        self.clock.advance(100.0)
        self.assertEqual([one.status for one in self.responses], [200, 200])

    def test_slow_server(self) -> None:
        """A server that has said 100 is waited for; other methods wait for Timer F."""
        self.first.endpoint.on_request = self.first.seen.append
        self.send(message("sip:bob@example.com"))
        self.clock.advance(20.0)
        self.assertEqual((len(self.first.seen), self.second.seen), (1, []))
        self.one.reply(self.first.seen[0], 202)
        self.assertEqual(self.finish(), (202, False))
        self.network.cut("10.0.0.2")
        info = message("sip:bob@example.com", cseq=3)
        info.method = "INFO"
        info.set("CSeq", "3 INFO")
        self.send(info)
        self.clock.advance(20.0)
        self.assertEqual(self.second.seen, [])

    def finals(self) -> list[int]:
        """Return the final statuses heard."""
        return [one.status for one in self.responses if one.status >= 200]

    def test_both_answer(self) -> None:
        """Whoever answers first has answered: once, whichever way it comes out."""
        for number, status in enumerate((200, 486), 10):
            self.responses.clear()
            self.resolver._avoided.clear()
            self.first.seen.clear()
            self.first.endpoint.on_request = self.first.seen.append
            self.second.endpoint.on_request = self.second.seen.append
            self.network.cut("10.0.0.2", "10.0.0.1")
            self.send(message("sip:bob@example.com", cseq=number))
            self.clock.advance(4.0)
            self.network.mend("10.0.0.2", "10.0.0.1")
            self.clock.advance(5.0)
            self.assertEqual((len(self.first.seen), len(self.second.seen)), (1, number - 9))
            self.one.reply(self.first.seen[0], status)
            self.clock.advance(1.0)
            self.two.reply(self.second.seen[-1], 200)
            self.clock.advance(60.0)
            self.assertEqual(self.finals(), [status])

    def test_merged(self) -> None:
        """482 of the second says that the first copy is there: its answer is waited for."""
        for number, end in ((20, 200), (21, 0)):
            self.responses.clear()
            self.resolver._avoided.clear()
            self.first.seen.clear()
            self.first.endpoint.on_request = self.first.seen.append
            self.second.endpoint.on_request = lambda one: self.two.reply(one, 482)
            self.network.cut("10.0.0.2", "10.0.0.1")
            self.send(message("sip:bob@example.com", cseq=number))
            self.clock.advance(4.0)
            self.network.mend("10.0.0.2", "10.0.0.1")
            self.clock.advance(5.0)
            self.assertEqual(self.finals(), [])
            if end:
                self.one.reply(self.first.seen[0], end)
            self.clock.advance(60.0)
            self.assertEqual(self.finals(), [end or 482])

    def test_failover_on_refused_datagram(self) -> None:
        """So is a server of which the network says that nobody listens there, and at once
        (RFC 3261 §18.4; RFC 3263 §4.3)."""
        self.network.icmp = True
        for request in (message("sip:bob@example.com"), invite("sip:bob@example.com", 2)):
            self.responses.clear()
            start = self.clock.seconds()
            targets = [Target("UDP", "10.0.0.9", 5060), Target("UDP", "10.0.0.3", 5060)]
            self.send(request, targets=targets)
            self.assertEqual(self.finish(), (200, False))
            self.assertLess(self.clock.seconds() - start, 1)

    def test_refused_datagrams(self) -> None:
        """Without another server it is repeated for some seconds, in which the server may start;
        then it has failed (RFC 3261 §17.1.4)."""
        self.network.icmp = True
        start = self.clock.seconds()
        targets = [Target("UDP", "10.0.0.9", 5060)]
        self.send(message("sip:bob@example.com"), targets=targets)
        self.assertEqual(self.finish(), (503, True))
        seconds = self.clock.seconds() - start
        self.assertTrue(RESTART <= seconds < 10.0, seconds)
        self.responses.clear()
        self.send(message("sip:bob@example.com", cseq=2), targets=targets)
        self.clock.advance(1.0)
        late = Endpoint(self.network, self.clock)
        self.successResultOf(late.listen("UDP", "10.0.0.9", 5060))
        Sink(late)
        self.assertEqual(self.finish(), (200, False))

    def test_failover_on_refused_stream(self) -> None:
        """A server whose port is closed is followed by the next at once."""
        start = self.clock.seconds()
        targets = [Target("TCP", "10.0.0.9", 5060), Target("TCP", "10.0.0.3", 5060)]
        self.send(message("sip:bob@example.com"), targets=targets)
        self.assertEqual(self.finish(), (200, False))
        self.assertLess(self.clock.seconds() - start, 1)

    def test_all_fail(self) -> None:
        """When all have failed, the last failure is the answer, once."""
        self.first.status = self.second.status = 503
        self.send(message("sip:bob@example.com"))
        self.clock.advance(60)
        self.assertEqual([response.status for response in self.responses], [503])

    def test_no_failover_on_answers(self) -> None:
        """Another error is an answer, and final."""
        self.first.status = 486
        self.send(message("sip:bob@example.com"))
        self.assertEqual(self.finish(), (486, False))
        self.assertEqual(self.second.seen, [])

    def test_unknown_name(self) -> None:
        """A name that leads nowhere is a local 503 (RFC 3261 §8.1.3.1)."""
        self.send(message("sip:bob@nobody.example"))
        self.assertEqual(self.finish(), (503, True))

    def test_never_before_send_returns(self) -> None:
        """What cannot be sent at all is reported in the next turn, not within send."""
        cases = {"tel:+1": 416, "http://x": 416, "sip:a@[::1]": 503, "sip:": 400}
        for at, (uri, status) in enumerate(cases.items()):
            self.responses.clear()
            self.send(message(uri, cseq=at))
            self.assertEqual(self.responses, [])
            self.assertEqual(self.finish(), (status, True))

    def test_route(self) -> None:
        """A loose Route leads, a strict one does not (RFC 3261 §8.1.2)."""
        self.send(message("sip:bob@10.0.0.2", Route="<sip:10.0.0.3;lr>, <sip:10.0.0.2;lr>"))
        self.finish()
        self.assertEqual((len(self.first.seen), len(self.second.seen)), (0, 1))
        self.responses.clear()
        self.send(message("sip:bob@10.0.0.2", cseq=2, Route="<sip:10.0.0.3>"))
        self.finish()
        self.assertEqual((len(self.first.seen), len(self.second.seen)), (1, 1))

    def test_flow(self) -> None:
        """A request on a flow goes there, whatever its URI says."""
        flow = self.alice.flow_to(Target("UDP", "10.0.0.3", 5060))
        self.send(message("sip:bob@nobody.example"), flow=flow)
        self.assertEqual(self.finish(), (200, False))
        self.assertEqual(len(self.second.seen), 1)

    def test_flow_found_again(self) -> None:
        """A flow is found by its description as long as it lives (RFC 5626 §5.2)."""
        for transport in ("UDP", "TCP"):
            self.responses.clear()
            self.send(message(f"sip:bob@10.0.0.2;transport={transport}"))
            self.finish()
            flow = self.first.seen[-1].flow
            self.assertIs(self.one.find_flow(self.one.describe(flow)), flow)
        text = self.one.describe(flow)
        self.network.reset("10.0.0.1")
        self.clock.advance(1)
        self.assertIsNone(self.one.find_flow(text))
        for junk in ("", "UDP", "TCP a b c d e", "UDP 10.0.0.2 5060 x 1", text + " "):
            self.assertIsNone(self.one.find_flow(junk))

    def test_end(self) -> None:
        """on_end comes once, after the final response, when nothing more can come."""
        ends: list[int] = []
        for at, uri in enumerate(("sip:bob@10.0.0.2", "sip:bob@nobody.example")):
            self.responses.clear()
            self.send(message(uri, cseq=at), on_end=lambda: ends.append(len(self.responses)))
            self.clock.advance(60)
        self.assertEqual(ends, [1, 1])

    def test_defect_above(self) -> None:
        """What fails above when it hears an answer is logged, and hurts nobody else."""

        def broken(*args: object) -> None:
            raise ZeroDivisionError

        for at, transport in enumerate(("UDP", "TCP")):
            uri = f"sip:bob@10.0.0.2;transport={transport}"
            self.alice.send(message(uri, cseq=at), broken, on_end=broken)
        self.clock.advance(60)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 4)
        self.assertEqual(self.alice.counters["crashed"], 4)
        self.assertEqual(len(self.alice.connections), 1)

    def test_cancel(self) -> None:
        """A cancelled INVITE ends in 487, and no other server is tried (RFC 3261 §9)."""
        self.one.on_request = lambda transaction: self.one.reply(transaction, 180)
        exchange = self.send(invite("sip:bob@example.com"))
        self.clock.advance(1)
        self.assertEqual(self.responses[-1].status, 180)
        exchange.cancel()
        exchange.cancel()
        self.assertEqual(self.finish(), (487, False))
        self.assertEqual(self.second.seen, [])

    def test_cancel_before_it_is_sent(self) -> None:
        """Cancelled while the DNS is asked, it is never sent."""
        exchange = self.send(invite("sip:bob@example.com"))
        exchange.cancel()
        self.assertEqual(self.finish(), (487, True))
        self.clock.advance(5)
        self.assertEqual(self.first.seen, [])
        self.assertEqual(len(self.responses), 1)

    def test_ack(self) -> None:
        """The ACK for a 2xx goes out without transaction and arrives above."""
        acks: list[Request] = []
        self.one.on_ack = lambda request, flow: acks.append(request)
        self.send(invite("sip:bob@10.0.0.2"))
        self.finish()
        for uri in ("sip:bob@10.0.0.2", "sip:bob@example.com"):
            headers = [
                ("Max-Forwards", "70"),
                ("From", "<sip:alice@example.com>;tag=1"),
                ("To", self.responses[-1].first("To") or ""),
                ("Call-ID", "call-1"),
                ("CSeq", "1 ACK"),
            ]
            self.alice.send_ack(Request.make("ACK", uri, headers))
            self.clock.advance(1)
        self.assertEqual(len(acks), 2)

    def test_large_503(self) -> None:
        """A 503 by TCP, where size chose TCP, is no reason to go by UDP."""
        self.first.status = 503
        self.send(message("sip:bob@10.0.0.2", b"x" * 2000))
        self.assertEqual(self.finish(), (503, False))
        self.assertEqual(len(self.first.seen), 1)

    def test_broken_connection(self) -> None:
        """An answer whose connection broke finds its way by a new one (RFC 3261 §18.2.2)."""
        held: list[ServerTransaction] = []
        self.one.on_request = held.append
        self.send(message("sip:bob@10.0.0.2;transport=tcp"))
        self.clock.advance(1)
        self.network.reset("10.0.0.2")
        self.clock.advance(1)
        strays: list[Response] = []
        self.alice.on_stray_response = lambda response, flow: strays.append(response)
        self.one.reply(held[0], 200)
        self.clock.advance(5)
        self.assertEqual([response.status for response in strays], [200])

    def test_broken_for_good(self) -> None:
        """An answer that finds no way is given up and counted."""
        held: list[ServerTransaction] = []
        self.one.on_request = held.append
        self.send(message("sip:bob@10.0.0.2;transport=tcp"))
        self.clock.advance(1)
        self.clock.wait(self.alice.stop())
        self.clock.advance(1)
        self.one.reply(held[0], 200)
        self.clock.advance(30)
        self.assertEqual(self.one.counters["response_lost"], 1)

    def test_through_loss(self) -> None:
        """Every request is answered, and served once, through loss, repeats and disorder."""
        self.network.link = Link(0.02, 0.02, loss=0.3, duplicate=0.2, reorder=0.2)
        finals: list[int] = []
        for cseq in range(100):
            self.alice.send(
                message("sip:bob@10.0.0.2", b"%d" % cseq, cseq),
                lambda response: finals.append(response.status),
            )
        self.clock.advance(70)
        self.assertEqual(len(finals), 100)
        self.assertGreater(finals.count(200), 97)
        self.assertEqual(len(set(self.first.bodies)), len(self.first.bodies))
        self.assertEqual(self.alice.transactions.client_count, 0)
        self.assertEqual(self.one.transactions.server_count, 0)

    def test_same_seed_same_run(self) -> None:
        """A run can be repeated from its seed."""

        def run() -> list[tuple[float, int]]:
            clock = Clock()
            network = SimulatedNetwork(clock, 9, Link(0.01, 0.05, loss=0.4))
            alice = Endpoint(network, clock, ids=Ids(1))
            bob = Endpoint(network, clock, ids=Ids(2))
            Sink(bob)
            for endpoint, host in ((alice, "10.0.0.1"), (bob, "10.0.0.2")):
                self.successResultOf(endpoint.listen("UDP", host, 5060))
            seen: list[tuple[float, int]] = []
            for cseq in range(20):
                alice.send(
                    message("sip:bob@10.0.0.2", cseq=cseq),
                    lambda response: seen.append((clock.seconds(), response.status)),
                )
            clock.advance(70)
            return seen

        self.assertEqual(run(), run())


class BrokenStreamTests(SynchronousTestCase):
    @given(st.integers(0, 2**32), st.lists(st.integers(0, 3), max_size=40))
    def test_one_final_answer(self, seed: int, steps: list[int]) -> None:
        """Whatever becomes of the streams, each request gets one final answer (RFC 3261 §17.1)."""
        clock = Clock()
        network = SimulatedNetwork(clock, seed, Link(0.02, 0.1, loss=0.1, split=0.5))
        alice = Endpoint(network, clock, ids=Ids(1))
        bob = Endpoint(network, clock, ids=Ids(2))
        for endpoint, host in ((alice, "10.0.0.1"), (bob, "10.0.0.2")):
            for transport in ("UDP", "TCP"):
                self.successResultOf(endpoint.listen(transport, host, 5060))
        sink = Sink(bob)
        finals: dict[int, list[int]] = {}
        ends: list[int] = []
        for at, step in enumerate(steps):
            if step == 0:
                network.reset("10.0.0.2")
            elif step == 1:
                network.cut("10.0.0.2")
            elif step == 2:
                network.mend("10.0.0.2")
            finals[at] = []
            alice.send(
                message("sip:b@10.0.0.2;transport=tcp", b"%d" % at, at),
                lambda response, at=at: finals[at].append(response.status),
                on_end=lambda at=at: ends.append(at),
            )
            clock.advance(0.05)
        clock.advance(200)
        self.assertEqual({at: len(final) for at, final in finals.items()}, dict.fromkeys(finals, 1))
        self.assertEqual(sorted(ends), list(range(len(steps))))
        self.assertEqual(len(set(sink.bodies)), len(sink.bodies))
        self.assertEqual(alice.transactions.client_count, 0)
        self.assertEqual(self.flushLoggedErrors(), [])
        for endpoint in (alice, bob):
            clock.wait(endpoint.stop())
            self.assertEqual(len(endpoint.connections), 0)
