"""The torture messages of RFC 4475 and RFC 5118, each with the reaction its RFC wants."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.grammar import Params
from omaim.sip.headers import Via, canonical_name
from omaim.sip.message import Request, Response, error_response
from omaim.sip.parser import BadMessage, StreamParser, check, parse_datagram
from omaim.sip.uri import OtherUri, SipUri, parse_uri
from omaim.testing.strategies import mutated, splits

FOLDER = Path(__file__).parent.parent / "vectors" / "sip-torture"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())
ENTRIES = [*MANIFEST["4475"], *MANIFEST["5118"]]
BY_NAME = {entry["name"]: entry for entry in ENTRIES}

# Well formed messages for which the manifest names a status: it is not the parser's to give.
DECIDED_ABOVE = {
    "intmeth": "user agent or proxy: unknown method 501, unknown user 404",
    "esc02": "user agent: unknown method",
    "unkscm": "proxy or user agent: Request-URI scheme",
    "novelsc": "proxy or user agent: Request-URI scheme",
    "unksm2": "registrar: To is no SIP URI",
    "bext01": "user agent by Require, proxy by Proxy-Require",
    "invut": "user agent: body type",
    "regaut01": "registrar: unknown credentials",
    "zeromf": "proxy: no hops left",
    "cparam01": "registrar: success",
    "cparam02": "registrar: success",
    "regescrt": "registrar: success",
    "sdp01": "user agent: nothing acceptable",
}
# The receiver may choose; these we bear, as the part in question is not needed to route.
BORNE = {"baddate": "Date is read by who needs it", "regbadct": "the registrar refuses Contact"}
# The Content-Length that the RFC prints is larger than the body: strictly truncated.
TRUNCATED = {"ipv6-in-sdp": "ipv6-in-sdp.fixed"}


def octets(name: str) -> bytes:
    entry = BY_NAME[name]
    path = FOLDER / entry["file"]
    if name in TRUNCATED:
        path = path.with_name(TRUNCATED[name] + ".dat")
    return path.read_bytes()


def whole(name: str) -> Request | Response:
    message = parse_datagram(octets(name))
    assert message is not None
    check(message)
    return message


def request(name: str) -> Request:
    message = whole(name)
    assert isinstance(message, Request)
    return message


ALL = [octets(entry["name"]) for entry in ENTRIES]


class ManifestTests(SynchronousTestCase):
    def test_reactions(self) -> None:
        """Each message is accepted or refused as the manifest says, with a status it names."""
        for entry in ENTRIES:
            name = entry["name"]
            error = None
            try:
                whole(name)
            except BadMessage as bad:
                error = bad
            wanted = entry["parse"]
            if wanted == "accept" or name in BORNE:
                self.assertIsNone(error, name)
                self.assertEqual(bool(entry["status"]), name in DECIDED_ABOVE or name in BORNE)
                continue
            self.assertIsNotNone(error, name)
            assert error is not None
            if not entry["status"]:
                self.assertIsNone(error.request, f"{name}: a response is dropped silently")
                continue
            self.assertIn(error.status, entry["status"], name)
            assert error.request is not None, name
            answer = error_response(error.request, error)
            self.assertEqual(answer.status, error.status)
            self.assertIsInstance(parse_datagram(answer.to_bytes()), Response)

    def test_all_there(self) -> None:
        """49 messages of RFC 4475 and 12 of RFC 5118 are tried."""
        self.assertEqual([len(MANIFEST["4475"]), len(MANIFEST["5118"])], [49, 12])

    def test_written_back(self) -> None:
        """What is accepted is written as it came, but for octets behind Content-Length."""
        for entry in ENTRIES:
            name = entry["name"]
            try:
                message = whole(name)
            except BadMessage:
                continue
            data = octets(name)
            if name == "inv2543":
                data = data.replace(b"\r\n\r\n", b"\r\nContent-Length: 105\r\n\r\n", 1)
            elif name == "ipv6-bug-abnf-3-colons":
                data = data.replace(b":::", b"::", 1)  # RFC 5118 §4.10, in the Request-URI
            self.assertTrue(data.startswith(message.to_bytes()), name)

    def test_preferred_status(self) -> None:
        """An unknown method with another CSeq method gets 501 (RFC 4475 §3.1.2.18)."""
        error = self.assertRaises(BadMessage, request, "mismatch02")
        self.assertEqual(error.status, 501)

    def test_truncated_as_printed(self) -> None:
        """The body of RFC 5118 §4.6 as printed is shorter than stated: 400."""
        data = (FOLDER / "rfc5118" / "ipv6-in-sdp.dat").read_bytes()
        error = self.assertRaises(BadMessage, parse_datagram, data)
        self.assertEqual(error.status, 400)

    def test_no_empty_line(self) -> None:
        """A header that does not end is refused: baddn as archived (RFC 4475 §3.1.2.15)."""
        data = (FOLDER / "rfc4475" / "baddn.archived.dat").read_bytes()
        error = self.assertRaises(BadMessage, parse_datagram, data)
        self.assertIsNotNone(error.request)


class ValidTests(SynchronousTestCase):
    def test_wsinv(self) -> None:
        """Folding, odd spacing and compact forms make no difference (RFC 4475 §3.1.1.1)."""
        message = request("wsinv")
        self.assertEqual(message.to.uri_text, "sip:vivekg@chair-dnrc.example.com")
        self.assertEqual(message.to.tag, "1918181833n")
        self.assertEqual(message.from_.display, 'J Rosenberg \\"')
        self.assertEqual(message.from_.tag, "98asjd8")
        self.assertEqual(message.max_forwards, 68)
        self.assertEqual((message.cseq.number, message.cseq.method), (9, "INVITE"))
        self.assertEqual(
            [(via.transport, via.host, via.branch) for via in message.vias],
            [
                ("UDP", "192.0.2.2", "390skdjuw"),
                ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
                ("UDP", "192.168.255.111", "z9hG4bK30239"),
            ],
        )
        self.assertEqual(message.first("Subject"), "")
        self.assertEqual(
            message.first("Newfangledheader"), "newfangled value continued newfangled value"
        )
        self.assertEqual(message.first("Unknownheaderwithunusualvalue"), ";;,,;;,;")
        (contact,) = message.contacts
        self.assertEqual(contact.display, 'Quoted string ""')
        self.assertEqual(contact.q, 0.33)
        self.assertEqual(contact.params.get("newparam"), "newvalue")
        route = message.routes[0].uri
        assert isinstance(route, SipUri)
        self.assertTrue(route.lr)
        self.assertEqual(len(message.body), 150)

    def test_intmeth(self) -> None:
        """Strange but allowed characters are kept (RFC 4475 §3.1.1.2)."""
        message = request("intmeth")
        self.assertEqual(message.method, "!interesting-Method0123456789_*+`.%indeed'~")
        uri = message.request_uri
        assert isinstance(uri, SipUri)
        self.assertEqual(uri.host, "example.com")
        self.assertEqual(message.to.display, "BEL:\7 NUL:\0 DEL:\x7f")
        self.assertEqual(message.from_.tag, "_token~1'+`*%!-.")
        self.assertEqual(message.from_.params.get("fromparam''~+*_!.-%"), "работающий")
        self.assertEqual(message.call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{")

    def test_esc01(self) -> None:
        """Escapes are undone once (RFC 4475 §3.1.1.3)."""
        message = request("esc01")
        to = message.to.uri
        assert isinstance(to, SipUri)
        self.assertEqual(to.user_text, "user")
        self.assertTrue(to.equals(parse_uri("sip:user@example.com")))
        uri = message.contacts[0].uri
        self.assertTrue(uri.equals(parse_uri("sip:caller@host5.example.net;lr;name=value%2541")))

    def test_escnull(self) -> None:
        """Escaped NULs do not end a user; the two contacts differ (RFC 4475 §3.1.1.4)."""
        one, other = request("escnull").contacts
        self.assertFalse(one.uri.equals(other.uri))

    def test_esc02(self) -> None:
        """A header name is not unescaped (RFC 4475 §3.1.1.5)."""
        message = request("esc02")
        self.assertEqual(len(message.contacts), 2)
        self.assertEqual(message.to.display, "%Z%45")
        self.assertTrue(message.has("C%6fntact"))

    def test_longreq(self) -> None:
        """Long values are whole (RFC 4475 §3.1.1.7)."""
        message = request("longreq")
        self.assertEqual(len(message.vias), 34)
        self.assertEqual(message.vias[0].host, "sip33.example.com")
        self.assertEqual(message.cseq.number, 3882340)
        self.assertEqual(max(len(name) for name in message.from_.params.names), 106)

    def test_dblreq(self) -> None:
        """Octets behind the body are neither kept nor sent on (RFC 4475 §3.1.1.8)."""
        message = request("dblreq")
        self.assertEqual(message.method, "REGISTER")
        self.assertNotIn(b"INVITE", message.to_bytes())

    def test_semiuri(self) -> None:
        """A user may hold ";" and "=" (RFC 4475 §3.1.1.9)."""
        uri = request("semiuri").request_uri
        assert isinstance(uri, SipUri)
        self.assertEqual(uri.user_text, "user;par=u@example.net")
        self.assertEqual((uri.host, len(uri.params)), ("example.com", 0))

    def test_transports(self) -> None:
        """Unknown transports in Via are kept (RFC 4475 §3.1.1.10)."""
        self.assertEqual(
            [via.transport for via in request("transports").vias],
            ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"],
        )

    def test_binary_body(self) -> None:
        """A body with NUL, CR and LF is framed by length (RFC 4475 §3.1.1.11)."""
        message = request("mpart01")
        self.assertEqual(len(message.body), 553)
        content = message.content_type
        assert content is not None
        self.assertEqual(
            (content.main, (content.params.get("boundary") or "")[:5]), ("multipart", "7a9cb")
        )

    def test_reasons(self) -> None:
        """A reason may be empty or hold any UTF-8 (RFC 4475 §3.1.1.12, §3.1.1.13)."""
        one, other = whole("unreason"), whole("noreason")
        assert isinstance(one, Response)
        assert isinstance(other, Response)
        self.assertEqual(one.reason[:8], "= 2**3 *")
        self.assertEqual((other.status, other.reason), (100, ""))

    def test_unknown_scheme(self) -> None:
        """A scheme nobody knows is kept whole (RFC 4475 §3.3.2)."""
        uri = request("unkscm").request_uri
        assert isinstance(uri, OtherUri)
        self.assertEqual(uri.scheme, "nobodyknowsthisscheme")

    def test_contact_parameters(self) -> None:
        """Brackets decide whose a parameter is (RFC 4475 §3.3.12, §3.3.13)."""
        (bare,) = request("cparam01").contacts
        self.assertTrue(bare.params.has("unknownparam"))
        self.assertEqual(str(bare.uri), "sip:+19725552222@gw1.example.net")
        (enclosed,) = request("cparam02").contacts
        uri = enclosed.uri
        assert isinstance(uri, SipUri)
        self.assertTrue(uri.params.has("unknownparam"))
        self.assertEqual(len(enclosed.params), 0)

    def test_contact_headers(self) -> None:
        """URI headers stand in brackets only (RFC 4475 §3.3.14, §3.1.2.13)."""
        uri = request("regescrt").contacts[0].uri
        assert isinstance(uri, SipUri)
        self.assertEqual(uri.header_items(), [("Route", "<sip:sip.example.com>")])
        message = request("regbadct")
        error = self.assertRaises(PeerError, lambda: message.contacts)
        self.assertEqual(error.status, 400)

    def test_old_request(self) -> None:
        """RFC 2543's messages lack branch, tag and Content-Length (RFC 4475 §3.4.1)."""
        message = request("inv2543")
        self.assertEqual((message.via.branch, message.from_.tag), ("", ""))
        self.assertEqual(len(message.body), 105)
        self.assertIsNone(message.max_forwards)


class AddressTests(SynchronousTestCase):
    def test_ports(self) -> None:
        """A port inside the brackets belongs to the address (RFC 5118 §4.3, §4.4)."""
        one = request("port-ambiguous").request_uri
        other = request("port-unambiguous").request_uri
        assert isinstance(one, SipUri)
        assert isinstance(other, SipUri)
        self.assertEqual((one.host, one.port), ("[2001:db8::10:5070]", 0))
        self.assertEqual((other.host, other.port), ("[2001:db8::10]", 5070))

    def test_received(self) -> None:
        """received is read with and without brackets (RFC 5118 §4.5)."""
        for name in ("via-received-param-with-delim", "via-received-param-no-delim"):
            self.assertEqual(request(name).via.received, "2001:db8::9:255", name)

    def test_mapped(self) -> None:
        """IPv4-mapped addresses are addresses (RFC 5118 §4.9)."""
        via = request("ipv4-mapped-ipv6").via
        self.assertEqual((via.host, via.port), ("[::ffff:192.0.2.10]", 19823))

    def test_three_colons(self) -> None:
        """The third colon goes away (RFC 5118 §4.10)."""
        uri = request("ipv6-bug-abnf-3-colons").uri
        self.assertEqual(uri, request("ipv6-correct-abnf-2-colons").uri)


class StreamReactionTests(SynchronousTestCase):
    def test_waits(self) -> None:
        """Too large a Content-Length makes a stream wait (RFC 4475 §3.1.2.2)."""
        parser = StreamParser()
        self.assertEqual(parser.feed(octets("clerr")), [])
        self.assertTrue(parser.unfinished)

    def test_closes(self) -> None:
        """Without a length to believe, the error is fatal (RFC 4475 §3.1.2.3, §3.3.9)."""
        for name in ("ncl", "mcl01", "inv2543"):
            parser = StreamParser()
            (item,) = parser.feed(octets(name) + octets("esc01"))
            assert isinstance(item, BadMessage), name
            self.assertEqual((item.fatal, item.status), (True, 400), name)
            self.assertIsNotNone(item.request)
            self.assertTrue(parser.closed)

    def test_two_messages(self) -> None:
        """What follows the body is the next message (RFC 4475 §3.1.1.8 on a stream)."""
        items = StreamParser().feed(octets("dblreq"))
        kinds = [item.method for item in items if isinstance(item, Request)]
        self.assertEqual(kinds, ["REGISTER", "INVITE"])

    def test_goes_on(self) -> None:
        """An error inside a framed message leaves the next one readable."""
        items = StreamParser().feed(octets("lwsstart") + octets("esc02"))
        self.assertIsInstance(items[0], BadMessage)
        self.assertIsInstance(items[1], Request)


def read_everything(message: Request | Response) -> None:
    """Read each typed value, as an entity would."""
    for read in (
        lambda: message.via.received,
        lambda: message.via.rport,
        lambda: message.vias,
        lambda: message.from_.uri,
        lambda: message.to.uri.aor(),
        lambda: message.call_id,
        lambda: message.cseq,
        lambda: [(c.uri, c.q, c.expires) for c in message.contacts],
        lambda: message.routes,
        lambda: message.record_routes,
        lambda: message.max_forwards,
        lambda: message.expires,
        lambda: message.event,
        lambda: message.content_type,
        lambda: message.supported,
        lambda: check(message),
    ):
        try:
            read()
        except PeerError as error:
            assert 400 <= error.status <= 699


class JunkTests(SynchronousTestCase):
    @given(data=mutated(ALL))
    def test_datagram(self, data: bytes) -> None:
        """Whatever the octets, nothing but PeerError comes, and the answer is good SIP."""
        try:
            message = parse_datagram(data)
        except BadMessage as bad:
            if bad.request is not None:
                answer = error_response(bad.request, bad, "tag")
                parse_datagram(answer.to_bytes())
            return
        if message is not None:
            read_everything(message)
            message.to_bytes()
            if isinstance(message, Request):
                parse_datagram(message.response(200, None, "x").to_bytes())

    @given(data=st.binary(max_size=300))
    def test_noise(self, data: bytes) -> None:
        """Noise is no message."""
        try:
            parse_datagram(data)
        except BadMessage:
            pass

    @given(data=mutated(ALL), more=st.data())
    def test_stream(self, data: bytes, more: st.DataObject) -> None:
        """Any cut of any octets gives the same items."""
        once = [repr(item) for item in StreamParser().feed(data)]
        parser = StreamParser()
        pieces: list[str] = []
        for piece in more.draw(splits(data)):
            pieces += [repr(item) for item in parser.feed(piece)]
        self.assertEqual(pieces, once)


class NameTests(SynchronousTestCase):
    def test_vector_names(self) -> None:
        """The names in the vectors have one spelling each, however they are written."""
        self.assertEqual(canonical_name("MaX-fOrWaRdS"), "Max-Forwards")
        self.assertEqual(Via("UDP", "h", 0, Params(["branch"], ["x"])).branch, "x")
