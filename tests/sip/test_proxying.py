"""What a proxy may do to a request, rule by rule."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import booleans, integers, lists, sampled_from
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.sip.message import Request, Response
from omaim.sip.proxying import (
    BadExtension,
    ExtensionRequired,
    OwnAddresses,
    add_path,
    forwarded_copy,
    incoming_breadth,
    loop_part,
    own_uri,
    postprocess,
    preprocess,
    record_route,
    refusal,
    stateless_branch,
    stateless_hop,
    strip_via,
    target_text,
    validate,
    wants_sips,
)

NOTHING: frozenset[str] = frozenset()
MAY_CHANGE = {"Via", "Route", "Record-Route", "Max-Forwards", "Max-Breadth", "Path", "Require"}


def here() -> OwnAddresses:
    own = OwnAddresses()
    own.add("p.example")
    own.add("192.0.2.1", 5060)
    own.add("192.0.2.1", 5080)
    own.add("[2001:db8::1]", 5060)
    return own


def request(
    *more: tuple[str, str], method: str = "MESSAGE", uri: str = "sip:bob@b.example"
) -> Request:
    headers = [
        ("Via", "SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bKcaller"),
        ("From", "<sip:alice@a.example>;tag=1"),
        ("To", "<sip:bob@b.example>"),
        ("Call-ID", "call1"),
        ("CSeq", f"7 {method}"),
        *more,
    ]
    return Request.make(method, uri, headers, b"hello")


class ValidateTests(SynchronousTestCase):
    """RFC 3261 §16.3."""

    def refused(self, sent: Request, **more: object) -> PeerError:
        return self.assertRaises(PeerError, validate, sent, here(), **more)

    def test_good(self) -> None:
        """Methods and headers that nobody knows are no reason to refuse (item 1)."""
        validate(request(("Date", "not a date"), ("X-New", "1"), method="NEWMETHOD"), here())

    def test_scheme(self) -> None:
        """A scheme that is not understood is answered 416 (item 2)."""
        self.assertEqual(self.refused(request(uri="http://b.example/")).status, 416)
        self.assertEqual(self.refused(request(uri="im:bob@b.example")).status, 416)
        validate(request(uri="im:bob@b.example"), here(), NOTHING, "", frozenset(["im"]))
        validate(request(uri="tel:+15551234"), here())

    def test_bad_uri(self) -> None:
        """What is no URI is answered 400 (item 1)."""
        self.assertEqual(self.refused(request(uri="sip:")).status, 400)

    def test_hops(self) -> None:
        """Max-Forwards 0 is answered 483; 1 and none pass; others than numbers get 400."""
        self.assertEqual(self.refused(request(("Max-Forwards", "0"))).status, 483)
        self.assertEqual(self.refused(request(("Max-Forwards", "x"))).status, 400)
        validate(request(("Max-Forwards", "1")), here())

    def test_proxy_require(self) -> None:
        """Unknown option tags of Proxy-Require are answered 420 and listed (item 5, §20.40)."""
        sent = request(("Proxy-Require", "pref, foo"), ("Proxy-Require", "Bar"))
        error = self.assertRaises(BadExtension, validate, sent, here(), frozenset(["pref"]))
        answer = refusal(sent, error, "t")
        self.assertEqual((answer.status, answer.first("Unsupported")), (420, "foo, Bar"))
        validate(sent, here(), frozenset(["pref", "foo", "bar"]))

    def test_loop(self) -> None:
        """A request that comes back unchanged is answered 482 (RFC 5393 §4.2.2)."""
        sent = request(("Route", "<sip:p.example;lr>"))
        part = loop_part(sent)
        sent.prepend("Via", f"SIP/2.0/UDP p.example;branch=z9hG4bKabc{part}")
        sent.prepend("Via", 'SIP/2.0/TCP other.example;x="a,b;c";branch=z9hG4bKdef;odd')
        self.assertEqual(self.refused(sent, loop=loop_part(sent)).status, 482)

    def test_spiral(self) -> None:
        """Another Request-URI or another Route makes it a spiral, which is allowed."""
        sent = request()
        sent.prepend("Via", f"SIP/2.0/UDP p.example;branch=z9hG4bKabc{loop_part(sent)}")
        sent.uri = "sip:robert@b.example"
        validate(sent, here(), NOTHING, loop_part(sent))
        sent.uri = "sip:bob@b.example"
        sent.add("Route", "<sip:p.example;lr>")
        validate(sent, here(), NOTHING, loop_part(sent))

    def test_elsewhere(self) -> None:
        """The same branch under another's sent-by is not our loop."""
        sent = request()
        sent.prepend("Via", f"SIP/2.0/UDP q.example;branch=z9hG4bKabc{loop_part(sent)}")
        validate(sent, here(), NOTHING, loop_part(sent))

    def test_method_does_not_count(self) -> None:
        """CANCEL and ACK have the part of their INVITE (RFC 5393 §4.2.1)."""
        self.assertEqual(loop_part(request(method="INVITE")), loop_part(request(method="CANCEL")))


class OwnAddressesTests(SynchronousTestCase):
    """Who we are (RFC 3261 §16.4)."""

    def test_places(self) -> None:
        """Host and port both count; no port stands for the default one."""
        own = here()
        for host, port in [
            ("p.example", 0), ("192.0.2.1", 0), ("192.0.2.1", 5060), ("192.0.2.1", 5080),
            ("[2001:db8::1]", 5060), ("[2001:0db8:0:0::1]", 0), ("p.example", 5060),
        ]:  # fmt: skip
            self.assertTrue(own.has(host, port), (host, port))
        for host, port in [
            ("q.example", 0), ("192.0.2.1", 5090), ("[2001:db8::2]", 5060), ("p.example", 5080),
        ]:  # fmt: skip
            self.assertFalse(own.has(host, port), (host, port))


class PreprocessTests(SynchronousTestCase):
    """RFC 3261 §16.4."""

    def test_own_route(self) -> None:
        """The first Route value goes when it is ours, and only then."""
        sent = request(("Route", "<sip:odi@p.example;lr>, <sip:q.example;lr>"))
        self.assertEqual(preprocess(sent, here()), ["sip:odi@p.example;lr"])
        self.assertEqual(sent.values("Route"), ["<sip:q.example;lr>"])
        self.assertEqual(preprocess(sent, here()), [])
        self.assertEqual(sent.values("Route"), ["<sip:q.example;lr>"])

    def test_two_visits(self) -> None:
        """Two of ours that do not belong together are two visits."""
        sent = request(("Route", "<sip:1@p.example;lr>"), ("Route", "<sip:2@p.example;lr>"))
        self.assertEqual(preprocess(sent, here()), ["sip:1@p.example;lr"])
        self.assertEqual(sent.values("Route"), ["<sip:2@p.example;lr>"])

    def test_double_record_route(self) -> None:
        """Both halves of a double Record-Route go at once, in either direction."""
        values = record_route("sip:192.0.2.1:5080", "sip:[2001:db8::1];transport=tcp")
        for order in (values, values[::-1]):
            sent = request(("Route", ", ".join([*order, "<sip:q.example;lr>"])))
            self.assertEqual(len(preprocess(sent, here())), 2)
            self.assertEqual(sent.values("Route"), ["<sip:q.example;lr>"])

    def test_visit_before_double(self) -> None:
        """A single value before both halves is a visit of its own."""
        values = record_route("sip:192.0.2.1:5080", "sip:192.0.2.1:5060")
        sent = request(("Route", ", ".join(["<sip:p.example;lr>", *values])))
        self.assertEqual(preprocess(sent, here()), ["sip:p.example;lr"])
        self.assertEqual(len(preprocess(sent, here())), 2)

    def test_strict_router(self) -> None:
        """Our Record-Route value as Request-URI gives way to the last Route (§16.12.1.2)."""
        sent = request(
            ("Route", "<sip:p1.example;lr>"),
            ("Route", "<sip:caller@u1.example.com>"),
            uri="sip:p.example;lr",
        )
        self.assertEqual(preprocess(sent, here()), [])
        self.assertEqual(sent.uri, "sip:caller@u1.example.com")
        self.assertEqual(sent.values("Route"), ["<sip:p1.example;lr>"])

    def test_strict_router_alone(self) -> None:
        """With one Route value only, the Route header goes altogether."""
        sent = request(("Route", "<sip:bob@b.example;x=1>"), uri="sip:p.example;lr")
        preprocess(sent, here())
        self.assertEqual(sent.uri, "sip:bob@b.example;x=1")
        self.assertFalse(sent.has("Route"))

    def test_foreign_loose_uri(self) -> None:
        """A Request-URI with lr that is another's stays."""
        sent = request(("Route", "<sip:q.example;lr>"), uri="sip:q.example;lr")
        preprocess(sent, here())
        self.assertEqual(sent.uri, "sip:q.example;lr")

    def test_maddr(self) -> None:
        """maddr, port and transport go if maddr is ours and the request came that way."""
        uri = "sip:bob@b.example:5080;maddr=192.0.2.1;transport=tcp;user=phone"
        sent = request(uri=uri)
        preprocess(sent, here(), "TCP", 5080)
        self.assertEqual(sent.uri, "sip:bob@b.example;user=phone")

    def test_maddr_other_way(self) -> None:
        """Arrived by another transport or port, or maddr not ours: it stays."""
        for transport, port, maddr in [
            ("UDP", 5080, "192.0.2.1"),
            ("TCP", 5060, "192.0.2.1"),
            ("TCP", 5080, "192.0.2.9"),
        ]:
            uri = f"sip:bob@b.example:5080;maddr={maddr};transport=tcp"
            sent = request(uri=uri)
            preprocess(sent, here(), transport, port)
            self.assertEqual(sent.uri, uri)

    def test_bad_route(self) -> None:
        """A malformed Route is the sender's fault."""
        for value in ("<sip:", '"x', "<>", "nonsense", ", <sip:p.example;lr>"):
            with self.assertRaises(PeerError):
                preprocess(request(("Route", value)), here())


class ForwardTests(SynchronousTestCase):
    """RFC 3261 §16.6."""

    def test_request_uri(self) -> None:
        """Step 2: the target takes its place, without method and headers (table 1)."""
        copy = forwarded_copy(request(), "sip:bob@192.0.2.9;method=INVITE;x=1?Subject=a")
        self.assertEqual(copy.uri, "sip:bob@192.0.2.9;x=1")
        self.assertEqual(target_text("sip:a?b@c.example"), "sip:a?b@c.example")
        self.assertEqual(target_text("tel:+1555;method=x"), "tel:+1555;method=x")

    def test_max_forwards(self) -> None:
        """Step 3: one less, or 70 when there was none."""
        self.assertEqual(forwarded_copy(request(), "sip:b@c").max_forwards, 70)
        sent = request(("Max-Forwards", "5"))
        self.assertEqual(forwarded_copy(sent, "sip:b@c").max_forwards, 4)
        self.assertEqual(sent.max_forwards, 5)

    def test_record_route(self) -> None:
        """Step 4: our value stands before those that are there."""
        sent = request(("Record-Route", "<sip:q.example;lr>"))
        copy = forwarded_copy(
            sent, "sip:b@c", record_routes=record_route("sip:p.example", "sip:p.example")
        )
        self.assertEqual(copy.values("Record-Route"), ["<sip:p.example;lr>", "<sip:q.example;lr>"])

    def test_double(self) -> None:
        """Where the sides differ each finds its own value next to it."""
        up, down = own_uri("p.example", 0, "UDP"), own_uri("p.example", 5061, "TLS", "t")
        self.assertEqual((up, down), ("sip:p.example", "sip:t@p.example:5061;transport=tls"))
        copy = forwarded_copy(request(), "sip:b@c", record_routes=record_route(up, down))
        self.assertEqual([one.uri_text.split(";lr")[0] for one in copy.record_routes], [down, up])
        for one in copy.record_routes:
            self.assertIn(";lr", one.uri_text)

    def test_sips(self) -> None:
        """Step 4: sips in the Request-URI or the next Route wants sips of us."""
        self.assertTrue(wants_sips(request(uri="sips:bob@b.example")))
        self.assertTrue(wants_sips(request(("Route", "<sips:q.example;lr>"))))
        self.assertFalse(wants_sips(request(("Route", "<sip:q.example;lr>"))))
        self.assertFalse(wants_sips(request()))
        self.assertEqual(own_uri("p.example", 5061, "TLS", sips=True), "sips:p.example:5061")

    def test_pushed_routes(self) -> None:
        """Step 6: what the request has to visit goes ahead of its own Route."""
        copy = forwarded_copy(
            request(("Route", "<sip:q.example;lr>")),
            "sip:b@c",
            routes=["sip:as.example;lr", "sip:odi@p.example;lr"],
        )
        self.assertEqual(
            [one.uri_text for one in copy.routes],
            ["sip:as.example;lr", "sip:odi@p.example;lr", "sip:q.example;lr"],
        )
        self.assertEqual(postprocess(copy), "sip:as.example;lr")

    def test_strict_next_hop(self) -> None:
        """Step 6: a next hop without lr gets the request as strict routers do (§16.12.1.2)."""
        sent = request(
            ("Route", "<sip:p3.middle.com>, <sip:p2.example.com;lr>"),
            ("Route", "<sip:p1.example.com;lr>"),
        )
        copy = forwarded_copy(sent, "sip:caller@u1.example.com")
        self.assertEqual(postprocess(copy), "sip:p3.middle.com")
        self.assertEqual(copy.uri, "sip:p3.middle.com")
        self.assertEqual(
            [one.uri_text for one in copy.routes],
            ["sip:p2.example.com;lr", "sip:p1.example.com;lr", "sip:caller@u1.example.com"],
        )

    def test_next_hop(self) -> None:
        """Step 7: the first Route, else the Request-URI."""
        self.assertEqual(postprocess(forwarded_copy(request(), "sip:b@c")), "sip:b@c")
        sent = request(("Route", "Q <sip:q.example;lr>;x=1"))
        self.assertEqual(postprocess(forwarded_copy(sent, "sip:b@c")), "sip:q.example;lr")

    def test_via(self) -> None:
        """Step 8: our Via stands on top."""
        copy = forwarded_copy(request(), "sip:b@c", via="SIP/2.0/UDP p.example;branch=z9hG4bKx")
        self.assertEqual([via.branch for via in copy.vias], ["z9hG4bKx", "z9hG4bKcaller"])

    def test_breadth(self) -> None:
        """RFC 5393 §5.3.3: one Max-Breadth, 60 if there is none, no more than 60."""
        for given_, wanted in [(None, "60"), ("7", "7"), ("60", "60"), ("999", "60")]:
            sent = request() if given_ is None else request(("Max-Breadth", given_))
            self.assertEqual(forwarded_copy(sent, "sip:b@c").all("Max-Breadth"), [wanted])
            self.assertEqual(incoming_breadth(sent), int(wanted))
        self.assertEqual(forwarded_copy(request(), "sip:b@c", breadth=3).all("Max-Breadth"), ["3"])
        with self.assertRaises(PeerError):
            forwarded_copy(request(("Max-Breadth", "many")), "sip:b@c")

    @given(
        lists(sampled_from(["Subject", "X-A", "X-B", "Date", "Contact", "Via", "Route"])),
        booleans(),
        integers(0, 3),
        booleans(),
    )
    def test_nothing_else_changes(
        self, names: list[str], recorded: bool, pushed: int, strict: bool
    ) -> None:
        """Step 1: order, unknown and broken headers and the body stay (§16.6, §16.3 item 1)."""
        values = {
            "Via": "SIP/2.0/UDP v.example;branch=z9hG4bKq",
            "Route": "<sip:r.example>" if strict else "<sip:r.example;lr>",
        }
        sent = request(*((name, values.get(name, '"broken <')) for name in names))
        before = list(zip(sent.names, sent.lines, strict=True))
        copy = forwarded_copy(
            sent,
            "sip:b@c",
            via="SIP/2.0/UDP p.example;branch=z9hG4bKx",
            record_routes=record_route("sip:p.example", "sip:p.example") if recorded else None,
            routes=["sip:as.example;lr"] * pushed,
        )
        postprocess(copy)
        self.assertEqual(list(zip(sent.names, sent.lines, strict=True)), before)
        self.assertEqual(
            [line for name, line in before if name not in MAY_CHANGE],
            [
                line
                for name, line in zip(copy.names, copy.lines, strict=True)
                if name not in MAY_CHANGE
            ],
        )
        self.assertEqual(copy.body, sent.body)
        self.assertEqual(copy.values("Via")[1:], sent.values("Via"))
        values_before = sent.values("Route")
        if not strict or pushed or not values_before:
            self.assertEqual(copy.values("Route")[pushed:], values_before)
        else:
            self.assertEqual(copy.values("Route"), [*values_before[1:], "<sip:b@c>"])


class PathTests(SynchronousTestCase):
    """RFC 3327 §5.2."""

    def test_supported(self) -> None:
        """With the client's support our URI goes on top."""
        copy = request(("Supported", "path"), ("Path", "<sip:q.example;lr>"), method="REGISTER")
        self.assertTrue(add_path(copy, "sip:p.example;lr", True))
        self.assertEqual(copy.values("Path"), ["<sip:p.example;lr>", "<sip:q.example;lr>"])
        self.assertEqual(copy.require, frozenset(["path"]))

    def test_unsupported(self) -> None:
        """Without it there is no Path, or the request fails with 421."""
        copy = request(method="REGISTER")
        self.assertFalse(add_path(copy, "sip:p.example;lr"))
        self.assertFalse(copy.has("Path"))
        error = self.assertRaises(ExtensionRequired, add_path, copy, "sip:p.example;lr", True)
        answer = refusal(copy, error, "t")
        self.assertEqual((answer.status, answer.first("Require")), (421, "path"))


class ResponseTests(SynchronousTestCase):
    """RFC 3261 §16.7 step 3, §16.11."""

    def answer(self, *vias: str) -> Response:
        response = request().response(200)
        response.remove("Via")
        for via in vias:
            response.add("Via", via)
        return response

    def test_strip(self) -> None:
        """Our Via goes; with no other left the response is ours."""
        response = self.answer("SIP/2.0/UDP p.example;branch=a, SIP/2.0/UDP q.example;branch=b")
        self.assertTrue(strip_via(response))
        self.assertEqual(response.via.host, "q.example")
        self.assertFalse(strip_via(response))

    def test_stray(self) -> None:
        """A response without a transaction goes on only if its top Via is ours."""
        ours, theirs = "SIP/2.0/UDP p.example;branch=a", "SIP/2.0/UDP q.example;received=1.2.3.4"
        hop = stateless_hop(self.answer(ours, theirs), here())
        assert hop is not None
        self.assertEqual(hop.received, "1.2.3.4")
        for vias in [(theirs, ours), (ours,), (), (ours, "rubbish"), ("rubbish", theirs)]:
            self.assertIsNone(stateless_hop(self.answer(*vias), here()))

    def test_stateless_branch(self) -> None:
        """The same for a repeat and its ACK or CANCEL, another for another transaction."""
        one = stateless_branch(request(method="INVITE"))
        self.assertTrue(one.startswith("z9hG4bK"))
        self.assertEqual(one, stateless_branch(request(method="CANCEL")))
        other = request(method="INVITE")
        other.set("Via", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKother")
        self.assertNotEqual(one, stateless_branch(other))

    def test_stateless_branch_old(self) -> None:
        """Without the cookie the headers of RFC 3261 §16.11 stand in."""
        old, later = request(), request()
        for sent in (old, later):
            sent.set("Via", "SIP/2.0/UDP 192.0.2.7")
        self.assertEqual(stateless_branch(old), stateless_branch(later))
        later.set("CSeq", "8 MESSAGE")
        self.assertNotEqual(stateless_branch(old), stateless_branch(later))
