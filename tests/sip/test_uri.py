"""omaim.sip.uri: parts, equality, canonical addresses of record."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.sip import uri as module
from omaim.sip.uri import OtherUri, SipUri, TelUri, Uri, canonical_aor, parse_uri
from omaim.testing import strategies


def sip(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


def tel(text: str) -> TelUri:
    uri = parse_uri(text)
    assert isinstance(uri, TelUri)
    return uri


class LawTests(SynchronousTestCase):
    @given(uri=strategies.uris())
    def test_law(self, uri: Uri) -> None:
        """A URI is read back as written, and equals itself."""
        again = parse_uri(str(uri))
        self.assertEqual(again, uri)
        self.assertEqual(hash(again), hash(uri))
        self.assertTrue(again.equals(uri))

    @given(text=st.text(max_size=40))
    def test_junk(self, text: str) -> None:
        """Junk raises PeerError only."""
        for prefix in ("", "sip:", "sips:a@", "tel:", "tel:+", "sip:h;", "sip:h?"):
            try:
                uri = parse_uri(prefix + text)
            except PeerError as error:
                self.assertEqual(error.status, 400)
            else:
                uri.aor()
                uri.equals(uri)

    @given(uri=strategies.sip_uris())
    def test_aor_idempotent(self, uri: SipUri) -> None:
        """The canonical address of a canonical address is itself."""
        self.assertEqual(canonical_aor(uri.aor()), uri.aor())

    @given(text=st.text(max_size=20))
    def test_escapes(self, text: str) -> None:
        """What is escaped for a user part is undone to the same text (RFC 3261 §19.1.2)."""
        self.assertEqual(module.unescape(module.escape_user(text)), text)


class SipTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """Each part is found (RFC 3261 §19.1.1)."""
        uri = sip("SIPS:al%69ce;x=1:pw@Example.COM:5061;Transport=TCP;lr;maddr=[::1]?a=b&c=d%20e")
        self.assertEqual((uri.scheme, uri.user, uri.password), ("sips", "al%69ce;x=1", "pw"))
        self.assertEqual((uri.host, uri.port), ("example.com", 5061))
        self.assertEqual((uri.transport, uri.lr, uri.maddr), ("tcp", True, "[::1]"))
        self.assertEqual(uri.header_items(), [("a", "b"), ("c", "d e")])
        self.assertEqual((uri.ttl, uri.method, uri.user_param, uri.gr), ("", "", "", None))
        self.assertEqual(sip("sip:a@h;gr").gr, "")
        self.assertEqual(sip("sip:a@h;gr=x;ob;user=PHONE").gr, "x")
        self.assertTrue(sip("sip:a@h;gr=x;ob").ob)
        self.assertEqual(sip("sip:h;user=PHONE").user_param, "phone")

    def test_refused(self) -> None:
        """What breaks the grammar is refused (RFC 3261 §25.1)."""
        bad = (
            "", "sip", "sip:", "sip:@h", "sip:a@", "sip:a b@h", "sip:a@h h", "sip:a@b@c",
            "sip:%@h", "sip:%4@h", "sip:%zz@h", "sip:a@h;", "sip:a@h;;x", "sip:a@h;x;x",
            "sip:a@h;x y", "sip:a@h?", "sip:a@h?x", "sip:a@h:", "sip:a@h:99999", "sip:a<@h",
            'sip:"a"@h', "sip:é@h", "<sip:a@h>", "sip::pw@h", "sip:a:p:q@h", "sip:a@h;=x",
            "1x:y", ":y", "http:", "http:a b", "mailto:<a>", "sip:a@h\r\n", "im:a\0",
            "sip:" + "a" * 9000 + "@h",
        )  # fmt: skip
        for text in bad:
            self.assertRaises(PeerError, parse_uri, text)

    def test_equal(self) -> None:
        """The sets that RFC 3261 §19.1.4 calls equivalent."""
        for one, other in (
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0:0:0:0:1]"),
        ):
            self.assertTrue(sip(one).equals(sip(other)), one)
            self.assertTrue(sip(other).equals(sip(one)), one)

    def test_not_equal(self) -> None:
        """The pairs that RFC 3261 §19.1.4 calls different, and one for each of its rules."""
        for one, other in (
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:a@h;security=on", "sip:a@h;security=off"),
            ("sip:a@h", "sips:a@h"),
            ("sip:a@h", "sip:a:pw@h"),
            ("sip:a@h", "sip:h"),
            ("sip:a@h", "sip:a@h;user=ip"),
            ("sip:a@h", "sip:a@h;ttl=1"),
            ("sip:a@h", "sip:a@h;method=INVITE"),
            ("sip:a@h", "sip:a@h;maddr=1.2.3.4"),
            ("sip:a%3Bb@h", "sip:a;b@h"),
        ):
            self.assertFalse(sip(one).equals(sip(other)), one)
            self.assertFalse(sip(other).equals(sip(one)), one)
        self.assertFalse(sip("sip:a@h").equals(tel("tel:+1")))

    def test_aor(self) -> None:
        """The key of a user is without port, parameters, headers, password and case of host."""
        for text in (
            "sip:alice@example.com",
            "sip:%61lice@EXAMPLE.com",
            "sips:alice:pw@example.com.:5061;transport=tcp?a=b",
        ):
            self.assertEqual(canonical_aor(text), "sip:alice@example.com")
        self.assertEqual(canonical_aor("sip:Example.com"), "sip:example.com")
        self.assertEqual(canonical_aor("sip:a%2fb@h"), "sip:a%2Fb@h")
        self.assertNotEqual(canonical_aor("sip:Alice@h"), canonical_aor("sip:alice@h"))
        self.assertRaises(PeerError, canonical_aor, "sip:a@")

    def test_changed(self) -> None:
        """A changed URI is another value."""
        uri = sip("sip:a@h:1;x=1?b=c")
        self.assertEqual(str(uri.with_param("lr").without_param("x")), "sip:a@h:1;lr?b=c")
        self.assertEqual(str(sip("sip:a@h;method=BYE;x?b=c").for_request()), "sip:a@h;x")
        self.assertIs(uri.without_param("z"), uri)
        self.assertEqual(str(uri), "sip:a@h:1;x=1?b=c")

    def test_kept_tables_bounded(self) -> None:
        """However many URIs peers send, few are remembered."""
        for index in range(9000):
            canonical_aor(f"sip:user{index}@example.com")
        self.assertLessEqual(len(module._parsed), 4096)
        self.assertLessEqual(len(module._aors), 4096)


class TelTests(SynchronousTestCase):
    def test_global(self) -> None:
        """Visual separators do not count (RFC 3966 §5.1.1)."""
        uri = tel("tel:+1-201-555-0123;ext=22")
        self.assertTrue(uri.is_global)
        self.assertEqual(uri.global_number, "+12015550123")
        self.assertEqual(uri.aor(), "tel:+12015550123")
        self.assertEqual(str(uri), "tel:+1-201-555-0123;ext=22")

    def test_equality(self) -> None:
        """RFC 3966 §4: digits, parameters in any order, no case, context as host or number."""
        for one, other in (
            ("tel:+1-201-555-0123", "tel:+12015550123"),
            ("TEL:+1;a=b;c=d", "tel:+1;C=D;A=B"),
            ("tel:7042;phone-context=example.com", "tel:7-042;phone-context=EXAMPLE.com"),
            ("tel:7042;phone-context=+1-201", "tel:7042;phone-context=+1201"),
            ("tel:+1;ext=2-2", "tel:+1;ext=22"),
        ):
            self.assertTrue(tel(one).equals(tel(other)), one)
        for one, other in (
            ("tel:+1", "tel:+2"),
            ("tel:+1", "tel:+1;a=b"),
            ("tel:1;phone-context=a.example", "tel:1;phone-context=b.example"),
            ("tel:+1", "tel:1;phone-context=+1"),
        ):
            self.assertFalse(tel(one).equals(tel(other)), one)

    def test_refused(self) -> None:
        """A local number needs a context (RFC 3966 §5.1.4); a number needs a digit."""
        for text in ("tel:", "tel:+", "tel:+-.", "tel:7042", "tel:+12x", "tel:+1;", "tel:+1;a b",
                     "tel:7042;phone-context", "tel:++1", "tel:1+;phone-context=a"):  # fmt: skip
            self.assertRaises(PeerError, parse_uri, text)
        self.assertEqual(tel("tel:*#06#;phone-context=a.b").context, "a.b")


class OtherTests(SynchronousTestCase):
    def test_kept(self) -> None:
        """Other schemes are kept whole (RFC 3261 §25.1 absoluteURI)."""
        for text in ("im:bob@example.com", "IM:bob@example.com", "urn:uuid:1", "isbn:2983792873"):
            uri = parse_uri(text)
            assert isinstance(uri, OtherUri)
            self.assertEqual((str(uri), uri.scheme), (text, text.partition(":")[0].lower()))
        self.assertTrue(parse_uri("IM:a").equals(parse_uri("im:a")))
        self.assertEqual(canonical_aor("PRES:a@b"), "pres:a@b")
