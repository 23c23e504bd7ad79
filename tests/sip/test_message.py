"""omaim.sip.message: header lines as they came, typed values, changes, answers."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError, UsageError
from omaim.sip.message import Message, Request, Response, error_response, reason_for
from omaim.sip.parser import parse_datagram
from omaim.testing import strategies

PLAIN = (
    b"MESSAGE sip:bob@example.com SIP/2.0\r\n"
    b"v:SIP/2.0/UDP h1;branch=z9hG4bKa , SIP/2.0/TCP h2;branch=z9hG4bKb\r\n"
    b"Via: SIP/2.0/TLS h3;branch=z9hG4bKc\r\n"
    b"f: <sip:alice@example.com>;tag=1\r\n"
    b"TO:   sip:bob@example.com\r\n"
    b"call-id : abc@h\r\n"
    b"CSEQ: 7 MESSAGE\r\n"
    b"Max-Forwards: 70\r\n"
    b"Timestamp: 54\r\n"
    b"Supported: path, GRUU\r\n"
    b"k: outbound\r\n"
    b"Subject: one\r\n\t two \r\n three\r\n"
    b"X-Odd: \r\n"
    b"c: text/plain\r\n"
    b"l: 5\r\n"
    b"\r\n"
    b"hello"
)


def plain() -> Request:
    message = parse_datagram(PLAIN)
    assert isinstance(message, Request)
    return message


def as_read(message: Message) -> list[tuple[str, str | None]]:
    return [(name, message.first(name)) for name in sorted(set(message.names))]


class ReadingTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Lines are found by canonical name, values unfolded (RFC 3261 §7.3.1)."""
        message = plain()
        self.assertEqual(message.first("Subject"), "one two three")
        self.assertEqual(message.first("X-Odd"), "")
        self.assertIsNone(message.first("Expires"))
        self.assertEqual(message.all("Supported"), ["path, GRUU", "outbound"])
        self.assertEqual(message.values("Supported"), ["path", "GRUU", "outbound"])
        self.assertEqual(message.supported, {"path", "gruu", "outbound"})
        self.assertEqual((message.require, message.proxy_require), (frozenset(), frozenset()))
        self.assertEqual((message.all("Route"), message.values("Route")), ([], []))
        self.assertTrue(message.has("Call-ID"))
        self.assertFalse(message.has("call-id"))

    def test_typed(self) -> None:
        """Typed values are read once and kept."""
        message = plain()
        self.assertEqual([via.host for via in message.vias], ["h1", "h2", "h3"])
        self.assertEqual(message.via.host, "h1")
        self.assertIs(message.via, message.via)
        self.assertIs(message.to, message.to)
        self.assertEqual((message.from_.tag, message.to.tag), ("1", ""))
        self.assertEqual((message.call_id, message.cseq.number), ("abc@h", 7))
        self.assertEqual(message.max_forwards, 70)
        self.assertEqual((message.expires, message.event, message.contacts), (None, None, []))
        content = message.content_type
        assert content is not None
        self.assertEqual(content.essence, "text/plain")
        self.assertIs(message.request_uri, message.request_uri)
        message.uri = "tel:+1"
        self.assertEqual(message.request_uri.scheme, "tel")

    def test_missing(self) -> None:
        """What must be there and is not, or is bad, is a PeerError of 400."""
        message = Request.make("INFO", "sip:h", [("Contact", "<"), ("Expires", "soon")])
        message.add("Max-Forwards", "256")
        for read in (
            lambda: message.via,
            lambda: message.from_,
            lambda: message.to,
            lambda: message.call_id,
            lambda: message.cseq,
            lambda: message.contacts,
            lambda: message.expires,
            lambda: message.max_forwards,
        ):
            self.assertEqual(self.assertRaises(PeerError, read).status, 400)

    def test_star(self) -> None:
        """The Contact that means all is seen as such (RFC 3261 §10.2.2)."""
        message = Request.make("REGISTER", "sip:h", [("Contact", "*")])
        self.assertEqual([contact.uri_text for contact in message.contacts], ["*"])


class WritingTests(SynchronousTestCase):
    def test_untouched(self) -> None:
        """A message that nobody changed is written as it came."""
        self.assertEqual(plain().to_bytes(), PLAIN)
        self.assertEqual(plain().copy().to_bytes(), PLAIN)

    @given(message=strategies.messages())
    def test_law(self, message: Request | Response) -> None:
        """A message is read back as written."""
        data = message.to_bytes()
        again = parse_datagram(data)
        assert again is not None
        self.assertEqual(again.to_bytes(), data)
        self.assertEqual(again.names, message.names)
        self.assertEqual(as_read(again), as_read(message))
        self.assertEqual(again.body, message.body)
        self.assertEqual(type(again), type(message))

    def test_changes(self) -> None:
        """Only what is changed changes, and typed values follow."""
        message = plain()
        self.assertEqual(message.via.host, "h1")
        message.prepend("Via", "SIP/2.0/UDP h0;branch=z9hG4bK0")
        self.assertEqual(message.via.host, "h0")
        message.remove_first("Via")
        message.remove_first("Via")
        self.assertEqual([via.host for via in message.vias], ["h2", "h3"])
        message.remove_first("Via")
        self.assertEqual(message.via.host, "h3")
        message.set("To", "<sip:carol@example.com>;tag=9")
        self.assertEqual(message.to.tag, "9")
        message.set("Call-ID", "new")
        self.assertEqual(message.call_id, "new")
        message.set("CSeq", "8 MESSAGE")
        self.assertEqual(message.cseq.number, 8)
        message.set("From", "<sip:a@b>")
        self.assertEqual(message.from_.tag, "")
        message.set("Supported", "none")
        self.assertEqual(message.all("Supported"), ["none"])
        message.add("Contact", "<sip:a@b>")
        message.prepend("Route", "<sip:r;lr>")
        self.assertEqual(message.names[0], "Route")
        message.remove("Timestamp")
        message.remove("Timestamp")
        message.remove_first("Record-Route")
        self.assertIn(b"Subject: one\r\n\t two \r\n three\r\n", message.to_bytes())
        self.assertNotIn(b"Timestamp", message.to_bytes())
        message.remove_first("Via")
        self.assertRaises(PeerError, lambda: message.via)

    def test_replace_via(self) -> None:
        """Only the topmost Via value is replaced, and kept typed (RFC 3261 §18.2.1)."""
        message = plain()
        via = message.via.with_param("received", "192.0.2.1")
        message.replace_via(via)
        self.assertIs(message.via, via)
        self.assertEqual([one.received for one in message.vias], ["192.0.2.1", "", ""])
        self.assertEqual(len(message.all("Via")), 2)
        message.remove("Via")
        self.assertRaises(PeerError, message.replace_via, via)

    def test_copy_is_own(self) -> None:
        """A changed copy leaves the original alone."""
        message = plain()
        copy = message.copy()
        copy.prepend("Via", "SIP/2.0/UDP h0")
        copy.set("Max-Forwards", "69")
        copy.uri = "sip:x"
        self.assertEqual(message.to_bytes(), PLAIN)
        self.assertEqual((copy.via.host, copy.max_forwards), ("h0", 69))
        self.assertEqual(message.via.host, "h1")

    def test_body(self) -> None:
        """Content-Length is right whatever was done (RFC 3261 §20.14)."""
        message = plain()
        message.body = b"longer than before"
        self.assertIn(b"\r\nContent-Length: 18\r\n", message.to_bytes())
        self.assertNotIn(b"l: 5", message.to_bytes())
        message.set("Content-Length", "3")
        self.assertIn(b"\r\nContent-Length: 18\r\n", message.to_bytes())
        message.remove("Content-Length")
        self.assertIn(b"\r\nContent-Length: 18\r\n", message.to_bytes())
        message.add("Content-Length", "99")
        self.assertEqual(message.to_bytes().count(b"Content-Length: 18\r\n"), 1)
        message.set_body(b"x", "a/b")
        self.assertEqual(message.all("Content-Type"), ["a/b"])
        message.set_body(b"", "")
        self.assertFalse(message.has("Content-Type"))
        self.assertTrue(message.to_bytes().endswith(b"Content-Length: 0\r\n\r\n"))

    def test_no_injection(self) -> None:
        """A value with a line end is our defect, and is never written."""
        message = plain()
        for change in (message.set, message.add, message.prepend):
            self.assertRaises(UsageError, change, "Subject", "x\r\nP-Asserted-Identity: <sip:x@y>")
            self.assertRaises(UsageError, change, "Subject", "x\ny")
        self.assertEqual(message.to_bytes(), PLAIN)

    @given(text=st.text(max_size=30))
    def test_start_line_injection(self, text: str) -> None:
        """Neither a reason nor a Request-URI can bring a line end onto the wire."""
        for message in (
            plain().response(200, text),
            Request("INFO", text, ["To"], ["To: <sip:a@b>"]),
        ):
            head, _, _ = message.to_bytes().partition(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            self.assertEqual(len(lines), len(message.names) + 1)
            self.assertNotIn(b"\n", b"".join(lines))
            self.assertNotIn(b"\r", b"".join(lines))


class AnswerTests(SynchronousTestCase):
    def test_response(self) -> None:
        """Via, From, To, Call-ID and CSeq come back as they are (RFC 3261 §8.2.6.2)."""
        response = plain().response(404, None, "t4")
        self.assertEqual((response.status, response.reason), (404, "Not Found"))
        self.assertFalse(response.local)
        self.assertEqual(
            response.to_bytes(),
            b"SIP/2.0 404 Not Found\r\n"
            b"v:SIP/2.0/UDP h1;branch=z9hG4bKa , SIP/2.0/TCP h2;branch=z9hG4bKb\r\n"
            b"Via: SIP/2.0/TLS h3;branch=z9hG4bKc\r\n"
            b"f: <sip:alice@example.com>;tag=1\r\n"
            b"TO:   sip:bob@example.com;tag=t4\r\n"
            b"call-id : abc@h\r\n"
            b"CSEQ: 7 MESSAGE\r\n"
            b"Content-Length: 0\r\n\r\n",
        )
        self.assertEqual(response.to.tag, "t4")

    def test_trying(self) -> None:
        """A 100 has the Timestamp, and no tag is added unless asked (RFC 3261 §8.2.6.1)."""
        response = plain().response(100)
        self.assertEqual((response.first("Timestamp"), response.to.tag), ("54", ""))

    def test_tag_stays(self) -> None:
        """A tag that is there stays; "tag" inside the URI is none (RFC 3261 §8.2.6.2)."""
        message = plain()
        message.set("To", "<sip:b@h;tag=uri>;tag=old")
        self.assertEqual(message.response(200, None, "new").to.tag, "old")
        message.set("To", '";tag=x" <sip:b@h;tag=uri>')
        self.assertEqual(message.response(200, None, "new").to.tag, "new")
        message.set("To", "<sip:b@h")
        self.assertEqual(message.response(400, None, "new").first("To"), "<sip:b@h")

    def test_tag_behind_fold(self) -> None:
        """A To whose last fold is blank takes the tag on the line before (RFC 3261 §7.3.1)."""
        message = parse_datagram(PLAIN.replace(b"bob@example.com\r\nc", b"bob@h\r\n \r\n\t\r\nc"))
        assert isinstance(message, Request)
        data = message.response(200, None, "new").to_bytes()
        self.assertIn(b"\r\nTO:   sip:bob@h;tag=new\r\ncall-id", data)

    def test_error(self) -> None:
        """An error is answered with its status and a Warning; a bare request too."""
        response = error_response(plain(), PeerError('bad "thing"', 483), "t")
        self.assertEqual((response.status, response.reason), (483, "Too Many Hops"))
        self.assertEqual(response.first("Warning"), '399 omaim "bad \\"thing\\""')
        bare = Request("INFO", "x", [], [])
        self.assertEqual(
            error_response(bare, PeerError("no", 500), "t").to_bytes(),
            b"SIP/2.0 500 Server Internal Error\r\nContent-Length: 0\r\n\r\n",
        )

    def test_reasons(self) -> None:
        """A status without a phrase of its own takes one of its class (RFC 3261 §21)."""
        self.assertEqual(reason_for(299), "OK")
        self.assertEqual(reason_for(499), "Bad Request")
        self.assertEqual(reason_for(699), "Failure")
        self.assertEqual(reason_for(42), "")

    def test_copy(self) -> None:
        """A copied response is its own."""
        response = plain().response(200)
        response.local = True
        copy = response.copy()
        copy.remove_first("Via")
        self.assertEqual((copy.local, response.via.host, copy.via.host), (True, "h1", "h2"))
