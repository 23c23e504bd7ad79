"""The way from a client to its home."""

from __future__ import annotations

from omaim.client.access import server_uri
from omaim.client.failures import failure_of
from omaim.client.messages import Report, Sent
from omaim.errors import Unavailable, UsageError
from omaim.sip.message import Request
from tests.client.support import BOB, CORE, ClientTests, HomeTests, ServedTests


class ServerTests(ClientTests):
    def test_forms(self) -> None:
        """A server may be written in any way that people use."""
        for server, transport, uri in (
            ("", "", "sip:north.example"),
            ("", "tls", "sip:north.example;transport=tls"),
            ("192.0.2.1", "", "sip:192.0.2.1"),
            ("192.0.2.1:5070", "tcp", "sip:192.0.2.1:5070;transport=tcp"),
            ("2001:db8::1", "", "sip:[2001:db8::1]"),
            ("[2001:db8::1]:5070", "", "sip:[2001:db8::1]:5070"),
            ("core.north.example", "", "sip:core.north.example"),
            ("sip:192.0.2.1;transport=tcp", "", "sip:192.0.2.1;transport=tcp"),
            ("sips:north.example", "", "sips:north.example"),
        ):
            self.assertEqual(str(server_uri(server, "north.example", transport)), uri)

    def test_wrong(self) -> None:
        """What is none is told, with how to write it."""
        for server, transport in (("a b", ""), ("x", "sctp"), ("host:port", ""), ("sip:", "")):
            with self.assertRaises(UsageError):
                server_uri(server, "north.example", transport)

    def test_unknown_name(self) -> None:
        """A server whose name nobody knows is said to be so."""
        with self.assertRaises(Unavailable):
            self.wait(self.client("alice", "nowhere.example").register())


class AddressTests(HomeTests):
    def test_own_port(self) -> None:
        """A client can be given its address and port; both transports share it."""
        alice = self.registered("alice", listen="10.0.0.77:5066")
        places = {(one.transport, one.host, one.port) for one in alice.endpoint.listeners}
        self.assertEqual(places, {("UDP", "10.0.0.77", 5066), ("TCP", "10.0.0.77", 5066)})

    def test_taken(self) -> None:
        """A port that is taken is an error that says so, not another port."""
        self.registered("alice", listen="10.0.0.77:5066")
        with self.assertRaises(Unavailable):
            self.wait(self.client("bob", listen="10.0.0.77:5066").register())

    def test_large_to_us(self) -> None:
        """What does not fit into a datagram reaches a client that registered over UDP."""
        alice, bob = self.registered("alice"), self.registered("bob")
        self.wait(alice.send("bob", "x" * 500))
        self.assertEqual(len(self.successResultOf(bob.inbox.next()).text), 500)


class SeveralServersTests(ServedTests):
    def test_strangers(self) -> None:
        """Only the server's own address is believed."""
        self.register()
        flow = self.server.incoming[0].flow
        self.assertFalse(self.alice._access.is_server(flow))  # that is us, seen from there
        self.assertIn(CORE, self.alice._access._known)


class IPv6Tests(ServedTests):
    def test_both_ways(self) -> None:
        """A server with an IPv6 address is reached, and reaches us."""
        self.server = self.serve("2001:db8::1")
        for server in ("2001:db8::1", "[2001:db8::1]:5060"):
            self.alice = self.client("alice", server, listen="2001:db8::7")
            self.register()
            self.assertIn("@[2001:db8::7]:", self.server.contact)
            self.assertEqual(self.wait(self.server.message(b"hello")).status, 200)
            self.assertEqual(self.successResultOf(self.alice.inbox.next()).text, "hello")
            self.wait(self.alice.close())


class SentTests(ClientTests):
    def sent(self, *people: str) -> Sent:
        return Sent(self.clock, people or (BOB,), "m1")

    def test_report_before(self) -> None:
        """A report that came before somebody asks is not lost."""
        sent = self.sent()
        sent.take(Report("m1", BOB, "delivery", "delivered"))
        self.assertEqual(self.successResultOf(sent.delivered()).status, "delivered")

    def test_states(self) -> None:
        """The status follows the reports, and a late delivery report takes nothing back."""
        for reports, status in (
            (["processing stored"], "sending"),
            (["delivery delivered"], "delivered"),
            (["display displayed", "delivery delivered"], "displayed"),
            (["delivery failed"], "failed"),
            (["processing forbidden"], "failed"),
        ):
            sent = self.sent()
            for text in reports:
                kind, _, what = text.partition(" ")
                sent.take(Report("m1", BOB, kind, what))
            self.assertEqual(sent.status, status, reports)

    def test_whose(self) -> None:
        """Of a list message, one can wait for a certain recipient; undisclosed ones are nobody."""
        sent = self.sent(BOB, "sip:carol@north.example")
        waiting = sent.delivered(recipient="sip:Carol@NORTH.example;x=y".replace("C", "c"))
        sent.take(Report("m1", "", "delivery", "delivered"))
        sent.take(Report("m1", BOB, "delivery", "delivered"))
        self.assertNoResult(waiting)
        sent.take(Report("m1", "sip:carol@north.example", "delivery", "delivered"))
        self.successResultOf(waiting)

    def test_cancelled(self) -> None:
        """Who gives up waiting is forgotten."""
        sent = self.sent()
        waiting = sent.delivered(timeout=0)
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        self.assertEqual(sent._waiting, [])
        sent.take(Report("m1", BOB, "delivery", "delivered"))


class WarningTests(ClientTests):
    def test_odd_warnings(self) -> None:
        """A Warning that does not parse leaves the reason phrase."""
        request = Request.make(
            "MESSAGE",
            BOB,
            [
                ("Via", "SIP/2.0/UDP x;branch=z9hG4bKx"),
                ("From", "<sip:a@b>;tag=1"),
                ("To", "<sip:a@b>"),
                ("Call-ID", "c"),
                ("CSeq", "1 MESSAGE"),
            ],
        )
        for warning in ('399 x "', "399 x", '"', ""):
            response = request.response(403)
            response.add("Warning", warning)
            self.assertIn("403 Forbidden", str(failure_of(response)))
