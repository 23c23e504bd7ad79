"""omaim/features/ladder_summary.py: a message in a few words."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import IMDN, Address, Cpim
from omaim.bodies.imdn import DELIVERY, report
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart
from omaim.features.ladder_summary import printable, summarise
from tests.bodies.test_resource_lists import SENT
from tests.features.ladders import request, response

TEXT = Part([("Content-Type", "text/plain")], "Grüße, 世界".encode())


class SummaryTests(SynchronousTestCase):
    def words(self, body: bytes, kind: str) -> str:
        return summarise("SIP", request(1, body, kind)).hint

    def test_request_and_response(self) -> None:
        self.assertEqual(str(summarise("SIP", request())), "MESSAGE alice→bob “Hello”")
        self.assertEqual(str(summarise("SIP", response(1, "403 No"))), "403 No (MESSAGE) alice→bob")

    def test_register(self) -> None:
        data = (
            b"REGISTER sip:x SIP/2.0\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:a@x>\r\nExpires: 0\r\n"
            b'Authorization: Digest realm="x"\r\nContent-Length: 0\r\n\r\n'
        )
        self.assertEqual(str(summarise("SIP", data)), "REGISTER a→a +credentials expires 0")

    def test_bodies(self) -> None:
        """A body is told by what a reader wants to know of it."""
        message = Cpim.make(Address("", "im:a@b"), [Address("", "im:c@d")], "", TEXT)
        self.assertEqual(self.words(message.to_bytes(), "message/cpim"), "CPIM “Grüße, 世界”")
        message.add("Message-ID", "1", IMDN)
        message.add("Disposition-Notification", "positive-delivery", IMDN)
        answer = report(message, DELIVERY, "delivered", "2")
        assert answer is not None
        self.assertEqual(self.words(answer.to_bytes(), "message/cpim"), "CPIM IMDN delivered")
        people = Part([("Content-Type", "application/resource-lists+xml")], SENT)
        kind, body = Multipart("mixed", [TEXT, people]).write()
        self.assertEqual(self.words(body, kind), "“Grüße, 世界” + list of 7")
        self.assertEqual(self.words(b"<x/>", "application/reginfo+xml"), "reginfo 4 B")
        self.assertEqual(self.words(b"\xff", "text/plain"), "plain 1 B")
        self.assertEqual(self.words(b"zzz", "message/cpim"), "cpim 3 B")

    def test_other_protocols(self) -> None:
        self.assertEqual(str(summarise("MSRP", b"MSRP d93kswow SEND\r\n")), "SEND")
        self.assertEqual(str(summarise("HTTP", b"GET /x HTTP/1.1\r\n")), "GET /x")
        self.assertEqual(str(summarise("HTTP", b"HTTP/1.1 409 Conflict\r\n")), "409 Conflict")
        self.assertEqual(str(summarise("SIP", b"\r\n\r\n")), "keep-alive")
        self.assertIn("broken", str(summarise("SIP", b"hello")))

    @given(
        protocol=st.sampled_from(["SIP", "MSRP", "HTTP", ""]),
        data=st.binary(max_size=60)
        | st.binary(max_size=30).map(lambda body: request(1, body, "message/cpim"))
        | st.binary(max_size=30).map(lambda body: request(1, body)),
    )
    def test_any_octets(self, protocol: str, data: bytes) -> None:
        """Whatever the octets, the words are printable and few."""
        words = str(summarise(protocol, data))
        self.assertTrue(words.isprintable())
        self.assertLess(len(words), 400)

    def test_printable(self) -> None:
        """Nothing that steers a terminal gets through."""
        self.assertEqual(printable("a\x1b[2J\u202eb\r\n c"), "a·[2J·b c")
        self.assertEqual(printable("abcdef", 4), "abc…")
