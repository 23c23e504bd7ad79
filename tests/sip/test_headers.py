"""omaim.sip.headers: each typed value, read and written."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.sip import headers
from omaim.sip.headers import (
    AcceptItem,
    Challenge,
    ContentType,
    Credentials,
    CSeq,
    EventHeader,
    NameAddr,
    ParamValue,
    RAck,
    RetryAfter,
    SubscriptionState,
    Via,
    canonical_name,
    date_text,
    parse_date,
)
from omaim.sip.uri import SipUri
from omaim.testing import strategies

PARSERS: list[Callable[[str], object]] = [
    Via.parse,
    NameAddr.parse,
    CSeq.parse,
    RAck.parse,
    ParamValue.parse,
    EventHeader.parse,
    SubscriptionState.parse,
    ContentType.parse,
    AcceptItem.parse,
    Challenge.parse,
    Credentials.parse,
    RetryAfter.parse,
]


class LawTests(SynchronousTestCase):
    @given(via=strategies.vias(), address=strategies.name_addrs(), kind=strategies.content_types())
    def test_law(self, via: Via, address: NameAddr, kind: ContentType) -> None:
        """A value is read back as written."""
        self.assertEqual(Via.parse(str(via)), via)
        self.assertEqual(NameAddr.parse(str(address)), address)
        self.assertEqual(ContentType.parse(str(kind)), kind)

    @given(method=strategies.methods(), one=st.integers(0, 2**32 - 1), two=st.integers(0, 99))
    def test_numbers(self, method: str, one: int, two: int) -> None:
        """CSeq and RAck are read back as written."""
        cseq = CSeq(one, method)
        self.assertEqual(CSeq.parse(str(cseq)), cseq)
        self.assertEqual(RAck.parse(str(RAck(two, cseq))), RAck(two, cseq))

    @given(params=strategies.params(["id", "expires", "reason"]), word=strategies.words())
    def test_generic(self, params: headers.Params, word: str) -> None:
        """Values with parameters are read back as written."""
        for value in (ParamValue(word, params), EventHeader(word, params)):
            self.assertEqual(type(value).parse(str(value)), value)
        if params.names:
            for made in (Challenge(word, params), Credentials(word, params)):
                self.assertEqual(type(made).parse(str(made)), made)

    @given(text=st.text(max_size=60) | st.text(';,="<>()/ \\1a:@*', max_size=30))
    def test_junk(self, text: str) -> None:
        """Junk raises PeerError only; what is read can be written and read again."""
        for parse in PARSERS:
            try:
                value = parse(text)
            except PeerError as error:
                self.assertEqual(error.status, 400)
            else:
                self.assertEqual(parse(str(value)), value)

    @given(epoch=st.integers(0, 253402300799))
    def test_dates(self, epoch: int) -> None:
        """A Date is read back as written (RFC 3261 §20.17)."""
        self.assertEqual(parse_date(date_text(epoch)), epoch)


class NameTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Names have no case, and a compact form means the long one (RFC 3261 §7.3.3)."""
        for text, name in (
            ("v", "Via"),
            ("V", "Via"),
            ("CALL-id", "Call-ID"),
            ("i", "Call-ID"),
            ("cseq", "CSeq"),
            ("www-authenticate", "WWW-Authenticate"),
            ("o", "Event"),
            ("u", "Allow-Events"),
            ("sip-etag", "SIP-ETag"),
            ("p-asserted-identity", "P-Asserted-Identity"),
            ("x-my-own", "X-My-Own"),
            ("X-MY-OWN", "X-My-Own"),
            ("MIN-se", "Min-SE"),
        ):
            self.assertEqual(canonical_name(text), name)
        for bad in ("", "a b", "a:", "é", "\u212a"):
            self.assertRaises(PeerError, canonical_name, bad)

    def test_idempotent(self) -> None:
        """A canonical name is its own canonical name."""
        for name in [*headers.COMPACT.values(), "X-My-Own", "CSeq", "RAck", "MIME-Version"]:
            self.assertEqual(canonical_name(name), name)


class ViaTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """Each part is found, whatever the white space (RFC 3261 §20.42)."""
        via = Via.parse(
            "SIP / 2.0 / udp \t First.example.com : 4000 ;ttl=16;maddr=224.2.0.1 ;branch = z9hG4bKa"
        )
        self.assertEqual((via.protocol, via.transport), ("SIP/2.0", "UDP"))
        self.assertEqual((via.host, via.port), ("first.example.com", 4000))
        self.assertEqual((via.branch, via.maddr), ("z9hG4bKa", "224.2.0.1"))
        self.assertEqual(via.sent_by, "first.example.com:4000")
        self.assertEqual((via.rport, via.received), (-1, ""))

    def test_rport(self) -> None:
        """An empty rport asks, a number answers (RFC 3581 §3, §4)."""
        via = Via.parse("SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z9hG4bKkjshdyff")
        self.assertEqual(via.rport, 0)
        answered = via.with_param("received", "192.0.2.1").with_param("rport", "9988")
        self.assertEqual((answered.rport, answered.received), (9988, "192.0.2.1"))
        self.assertEqual(
            str(answered),
            "SIP/2.0/UDP 10.1.1.1:4540;rport=9988;branch=z9hG4bKkjshdyff;received=192.0.2.1",
        )
        self.assertEqual(via.rport, 0)
        self.assertRaises(PeerError, lambda: via.with_param("rport", "x").rport)

    def test_stamped(self) -> None:
        """received is always written, rport only where asked for (RFC 3581 §4)."""
        for text, wanted in (
            ("SIP/2.0/UDP h;rport;branch=a", "SIP/2.0/UDP h;rport=9;branch=a;received=::1"),
            ("SIP/2.0/UDP h;branch=a", "SIP/2.0/UDP h;branch=a;received=::1"),
            ("SIP/2.0/UDP h;received=1.2.3.4;rport=1", "SIP/2.0/UDP h;received=::1;rport=9"),
        ):
            via = Via.parse(text)
            self.assertEqual(str(via.stamped("::1", 9)), wanted)
            self.assertEqual(str(via), text)

    def test_refused(self) -> None:
        """What breaks the grammar is refused (RFC 4475 §3.1.2.1)."""
        for text in ("", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0/ h", "SIP/2.0 h", "UDP h",
                     "SIP/2.0/UDP h;", "SIP/2.0/UDP h;;a", "SIP/2.0/UDP h h", "SIP/2.0/UDP ::1",
                     "SIP/2.0/UDP h:0", "SIP/2.0/UDP h;branch=a;Branch=b", "/2.0/UDP h",
                     "SIP/2.0/U(P h", "SIP/2.0/UDP h;branch=a b"):  # fmt: skip
            self.assertRaises(PeerError, Via.parse, text)


class NameAddrTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Quoted, plain, bare and bracketed (RFC 3261 §20.10, §25.1)."""
        for text, display, uri, tag in (
            ('"A. \\"G\\" Bell" <sip:a@b> ;tag=1', 'A. "G" Bell', "sip:a@b", "1"),
            ('"<sip:x@y>"<sip:a@b>', "<sip:x@y>", "sip:a@b", ""),
            ("Anonymous <sip:c@d;x=1?y=z>;tag=h", "Anonymous", "sip:c@d;x=1?y=z", "h"),
            ("A  B<sip:c@d>", "A  B", "sip:c@d", ""),
            ("sip:+12@phone2net.com;tag=887s", "", "sip:+12@phone2net.com", "887s"),
            ("<tel:+1;x=y>;TAG=q", "", "tel:+1;x=y", "q"),
            ("*", "", "*", ""),
        ):  # fmt: skip
            address = NameAddr.parse(text)
            self.assertEqual((address.display, address.uri_text, address.tag), (display, uri, tag))

    def test_refused(self) -> None:
        """Brackets are needed where a URI could be cut wrongly (RFC 3261 §20)."""
        for text in (
            "", "<>", "sip:a@b?c=d", "sip:a@b,sip:c@d", 'sip:a"@b', "A, B <sip:a@b>", "<sip:a@b",
            '"A <sip:a@b>', '"A" sip:a@b', "< sip:a@b >", "<sip:a@b>x", "<sip:a@b> <sip:c@d>",
            "<sip:a@b>;tag=a;tag=b", "<sip:a@b>;", "sip:a b", "sip:a@b>",
        ):  # fmt: skip
            self.assertRaises(PeerError, NameAddr.parse, text)

    def test_late(self) -> None:
        """The URI is looked at when asked for."""
        address = NameAddr.parse("<sip:a b@h>".replace(" ", "\\"))
        self.assertRaises(PeerError, lambda: address.uri)
        self.assertIsInstance(NameAddr.parse("<sip:a@b>").uri, SipUri)

    def test_contact_parameters(self) -> None:
        """q, expires and feature parameters (RFC 3261 §20.10; RFC 3840 §9; RFC 5626 §11)."""
        address = NameAddr.parse(
            '<sip:a@b>;q=0.7;expires=3600;+sip.instance="<urn:uuid:1>";+g.oma.sip-im;reg-id=1;'
            'methods="MESSAGE,INVITE"'
        )
        self.assertEqual((address.q, address.expires), (0.7, 3600))
        self.assertEqual(address.params.get("+sip.instance"), "<urn:uuid:1>")
        self.assertTrue(address.params.has("+g.oma.sip-im"))
        self.assertEqual(address.params.get("methods"), "MESSAGE,INVITE")
        bare = NameAddr.parse("<sip:a@b>")
        self.assertEqual((bare.q, bare.expires), (1.0, None))
        for bad in ("2", "1.1", "0.1234", "-1", ".5", "nan"):
            self.assertRaises(PeerError, lambda q=bad: bare.with_param("q", q).q)
        self.assertEqual(str(address.with_param("expires", "5").without_param("q"))[:22],
                         "<sip:a@b>;expires=5;+s")  # fmt: skip

    def test_extensions(self) -> None:
        """Path, Service-Route and identities have the same form (RFC 3327, 3608, 3325)."""
        for text in (
            "<sip:P3.EXAMPLEHOME.COM;lr>",
            "<sip:P2.HOME.EXAMPLE.COM;lr>;x=y",
            '"Cullen Jennings" <sip:fluffy@cisco.com>',
            "<tel:+14085264000>",
        ):
            self.assertEqual(str(NameAddr.parse(text)), text)


class SmallTests(SynchronousTestCase):
    def test_cseq(self) -> None:
        """A number below 2^32 and a method in its own case (RFC 3261 §20.16)."""
        cseq = CSeq.parse("0009 \t INVITE")
        self.assertEqual((cseq.number, cseq.method), (9, "INVITE"))
        for bad in ("", "1", "INVITE", "x INVITE", "-1 INVITE", "4294967296 A", "1 A B", "1 A(",
                    "² A"):  # fmt: skip
            self.assertRaises(PeerError, CSeq.parse, bad)

    def test_rack(self) -> None:
        """RFC 3262 §7.2."""
        rack = RAck.parse("776656  1 INVITE")
        self.assertEqual((rack.rseq, rack.cseq), (776656, CSeq(1, "INVITE")))
        self.assertEqual(str(rack), "776656 1 INVITE")
        for bad in ("", "1 INVITE", "1 2", "1 x INVITE", "1 2 A B"):
            self.assertRaises(PeerError, RAck.parse, bad)

    def test_event(self) -> None:
        """Package and id decide which subscription is meant (RFC 6665 §8.2.1)."""
        event = EventHeader.parse("presence.winfo ; id=7")
        self.assertEqual((event.package, event.id), ("presence.winfo", "7"))
        self.assertTrue(event.matches(EventHeader.parse("presence.winfo;x=y;id=7")))
        self.assertFalse(event.matches(EventHeader.parse("presence.winfo")))
        self.assertRaises(PeerError, EventHeader.parse, "a b")
        self.assertRaises(PeerError, EventHeader.parse, ";id=7")

    def test_subscription_state(self) -> None:
        """RFC 6665 §8.2.3."""
        state = SubscriptionState.parse("Terminated;reason=Giveup;retry-after=9999999999999")
        self.assertEqual((state.state, state.reason), ("terminated", "giveup"))
        self.assertEqual((state.expires, state.retry_after), (None, 4294967295))
        self.assertEqual(
            str(SubscriptionState.make("active", expires=60, reason="x", retry_after=5)),
            "active;expires=60;reason=x;retry-after=5",
        )
        self.assertRaises(PeerError, SubscriptionState.parse, "active;expires=soon")

    def test_content_type(self) -> None:
        """RFC 3261 §20.15."""
        kind = ContentType.parse('Multipart / Mixed;boundary="a;b,c"')
        self.assertEqual((kind.essence, kind.params.get("boundary")), ("multipart/mixed", "a;b,c"))
        for bad in ("", "text", "text/", "/plain", "text/a b", "text/plain;"):
            self.assertRaises(PeerError, ContentType.parse, bad)

    def test_accept(self) -> None:
        """A range takes in types unless its q is 0 (RFC 3261 §20.1)."""
        kind = ContentType.parse("text/plain")
        for text, wanted in (
            ("*/*", True),
            ("text/*;q=0.1", True),
            ("text/plain", True),
            ("text/plain;q=0", False),
            ("text/html", False),
            ("message/*", False),
        ):
            self.assertEqual(AcceptItem.parse(text).covers(kind), wanted, text)
        self.assertRaises(PeerError, AcceptItem.parse, "*/plain")

    def test_digest(self) -> None:
        """Challenges and credentials (RFC 3261 §20.7, §20.44)."""
        text = (
            'Digest realm="a \\"b\\"", domain="sip:x sip:y", nonce="84a4", opaque="", stale=FALSE, '
            'algorithm=SHA-256, qop="auth,auth-int"'
        )
        challenge = Challenge.parse(text)
        self.assertEqual(challenge.scheme, "Digest")
        self.assertEqual(challenge.get("realm"), 'a "b"')
        self.assertEqual((challenge.get("opaque"), challenge.get("qop")), ("", "auth,auth-int"))
        self.assertEqual(str(challenge), text)
        credentials = Credentials.parse('digest  username="bob",uri="sip:h;x=1",nc=00000001')
        self.assertEqual((credentials.get("uri"), credentials.get("nc")), ("sip:h;x=1", "00000001"))
        for bad in ("", "Digest", "Digest ", "Digest a=b,", "Digest a=b, a=c", 'Digest a="b'):
            self.assertRaises(PeerError, Credentials.parse, bad)

    def test_retry_after(self) -> None:
        """RFC 3261 §20.33."""
        value = RetryAfter.parse("18000 (I'm (really) busy \\)) ;duration=3600")
        self.assertEqual((value.seconds, value.comment), (18000, "I'm (really) busy \\)"))
        self.assertEqual(value.params.get("duration"), "3600")
        self.assertEqual(RetryAfter.parse(str(value)), value)
        self.assertEqual(RetryAfter.parse("120;x").seconds, 120)
        for bad in ("", "x", "5 (a", "5 (a) b", "(a)"):
            self.assertRaises(PeerError, RetryAfter.parse, bad)

    def test_generic(self) -> None:
        """The P- headers and caller preferences (RFC 7315 §5; RFC 3841 §10)."""
        network = ParamValue.parse("3GPP-UTRAN-TDD; utran-cell-id-3gpp=234151D0FCE11")
        self.assertEqual(network.params.get("utran-cell-id-3gpp"), "234151D0FCE11")
        prefer = ParamValue.parse('*;methods="INVITE";require;explicit')
        self.assertEqual((prefer.value, prefer.params.has("require")), ("*", True))
        vector = headers.parse_param_list("icid-value=1234bc; orig-ioi=home1.net", ";")
        self.assertEqual(vector.get("orig-ioi"), "home1.net")
        served = NameAddr.parse("<sip:a@h>;sescase=orig;regstate=reg")
        self.assertEqual(served.params.get("sescase"), "orig")

    def test_dates(self) -> None:
        """Only the one form, only GMT (RFC 3261 §20.17; RFC 4475 §3.1.2.12)."""
        self.assertEqual(parse_date("Sat, 13 Nov 2010 23:29:00 GMT"), 1289690940)
        self.assertEqual(date_text(1289690940.9), "Sat, 13 Nov 2010 23:29:00 GMT")
        for bad in ("", "Fri, 01 Jan 2010 16:00:00 EST", "Sat, 13 Foo 2010 23:29:00 GMT",
                    "Sat, 13 Nov 2010 24:29:00 GMT", "Sat, 00 Nov 2010 23:29:00 GMT"):  # fmt: skip
            self.assertRaises(PeerError, parse_date, bad)
