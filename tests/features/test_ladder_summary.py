"""omaim/features/ladder_summary.py: a message in a few words."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import IMDN, Address, Cpim
from omaim.bodies.imdn import DELIVERY, report
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart
from omaim.features.ladder_summary import summarise
from omaim.features.ladder_words import printable, size_words
from tests.bodies.test_resource_lists import SENT
from tests.features.ladders import request, response
from tests.features.sessions import invite, sdp

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

    def test_sessions(self) -> None:
        """A session description says what is offered; who speaks as a focus is told."""
        for lines, named, said in (
            ((), {}, "MSRP"),
            ((), {"protocol": "TCP/TLS/MSRP"}, "MSRP/TLS"),
            ((), {"port": 0}, "no MSRP"),
            (("a=inactive",), {}, "MSRP inactive"),
            (("a=chatroom",), {}, "MSRP"),
            (
                ('a=file-selector:name:"my%20cat.jpg" size:4092',),
                {},
                "MSRP file “my cat.jpg” 4092 B",
            ),
            (("a=file-selector:hash:sha-1:72:24",), {}, "MSRP"),
            (("m=audio 9 RTP/AVP 0",), {}, "MSRP + audio RTP/AVP"),
        ):
            data = invite(sdp("msrp://a:1/x;tcp", *lines, **named))
            self.assertEqual(summarise("SIP", data).hint, said)
        data = invite(b"v=0\r\n", status="200 OK", contact="<sip:r@x>;isfocus;+g.oma.sip-im")
        self.assertEqual(
            str(summarise("SIP", data)), "200 OK (INVITE) alice→room.cafe sdp 5 B focus"
        )
        data = invite(b"v=0\r\n", contact="<sip:isfocus@x>;unisfocus")
        self.assertNotIn("focus", str(summarise("SIP", data)))

    def test_refer_and_reasons(self) -> None:
        """Whom a REFER is about, and why a dialog ends (RFC 3515 §2.1, RFC 3326 §2)."""
        for method, header, said in (
            ("REFER", "Refer-To: <sip:bob@north.example>", "to bob"),
            ("REFER", "Refer-To: <sip:bob@north.example;method=BYE>", "to bob by BYE"),
            ("REFER", "Refer-To: sip:bob@north.example", "to bob"),
            ("REFER", "Refer-To: <cid:list@x>", ""),
            ("REFER", 'Refer-To: "x', '"x'),
            ("BYE", 'Reason: SIP;cause=480;text="Expelled"', "SIP 480 “Expelled”"),
            ("BYE", "Reason: Q.850 ;cause=16", "Q.850 16"),
            (
                "CANCEL",
                'Reason: SIP ;cause=200 ;text="Call, completed elsewhere"',
                "SIP 200 “Call, completed elsewhere”",
            ),
        ):
            data = request().replace(b"MESSAGE", method.encode())
            data = data.replace(b"Max-Forwards", header.encode() + b"\r\nMax-Forwards")
            data = data.replace(
                b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nHello",
                b"Content-Length: 0\r\n\r\n",
            )
            self.assertEqual(summarise("SIP", data).hint, said)

    def test_notifications(self) -> None:
        """Of a conference: who is there, who came and left (RFC 4575 §5.6); of a REFER, its
        outcome."""
        head = '<conference-info xmlns="urn:ietf:params:xml:ns:conference-info" entity="sip:r@x"'
        user = '<user entity="sip:{}@x" state="{}"/>'
        people = "".join(user.format(name, "full") for name in ("al", "bo", "cy", "di", "ed"))
        full = f'{head} state="full" version="3"><users>{people}</users></conference-info>'
        kind = "application/conference-info+xml"
        self.assertEqual(self.words(full.encode(), kind), "roster v3: al, bo, cy, di, +1 more")
        left = user.format("al", "full") + user.format("bo", "deleted")
        gone = '<user entity="sip:cy@x"><endpoint><status>disconnected</status></endpoint></user>'
        part = f'{head} state="partial" version="4"><users>{left}{gone}</users></conference-info>'
        self.assertEqual(self.words(part.encode(), kind), "roster v4: +al, -bo, -cy")
        self.assertEqual(self.words(f"{head}/>".encode(), kind), "roster: nobody named")
        self.assertEqual(self.words(b"<x/>", kind), "conference-info 4 B")
        self.assertEqual(
            self.words(b"SIP/2.0 200 OK\r\nX: y\r\n", "message/sipfrag"), "“SIP/2.0 200 OK”"
        )

    def test_other_protocols(self) -> None:
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

    def test_sizes(self) -> None:
        for octets, said in (
            (0, "0 B"),
            (9999, "9999 B"),
            (10_000, "10.0 kB"),
            (1_234_567, "1.2 MB"),
        ):
            self.assertEqual(size_words(octets), said)

    def test_printable(self) -> None:
        """Nothing that steers a terminal gets through."""
        self.assertEqual(printable("a\x1b[2J\u202eb\r\n c"), "a·[2J·b c")
        self.assertEqual(printable("abcdef", 4), "abc…")
