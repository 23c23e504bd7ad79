"""Charging vectors and function addresses (RFC 7315 §4.5, §4.6)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.grammar import parse_params
from omaim.ids import Ids
from omaim.sip.charging import (
    VOID,
    ChargingFunctions,
    ChargingVector,
    charging_functions,
    charging_vector,
    complete_request,
    complete_response,
)
from omaim.sip.message import Request

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)
NAME = st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True)


def a_request(vector: str = "") -> Request:
    lines = [
        ("Via", "SIP/2.0/UDP h;branch=z9hG4bK1"),
        ("From", "<sip:a@x>;tag=1"),
        ("To", "<sip:b@y>"),
        ("Call-ID", "c"),
        ("CSeq", "1 MESSAGE"),
    ]
    if vector:
        lines.append(("P-Charging-Vector", vector))
    return Request.make("MESSAGE", "sip:b@y", lines)


class VectorTests(SynchronousTestCase):
    def test_rfc_example(self) -> None:
        """The example of RFC 7315 §4.6.2.3 is read."""
        vector = ChargingVector.parse(
            "icid-value=1234bc9876e;icid-generated-at=192.0.6.8;orig-ioi=home1.net"
        )
        self.assertEqual(vector.icid, "1234bc9876e")
        self.assertEqual((vector.generated_at, vector.orig_ioi), ("192.0.6.8", "home1.net"))
        self.assertEqual((vector.term_ioi, vector.transit), ("", ()))

    @given(
        TEXT,
        NAME,
        TEXT,
        TEXT,
        st.lists(NAME, max_size=4),
        TEXT,
        NAME,
        st.sampled_from(["", ";x=y;z"]),
    )
    def test_round_trip(
        self,
        icid: str,
        host: str,
        orig: str,
        term: str,
        networks: list[str],
        related: str,
        related_at: str,
        extra: str,
    ) -> None:
        """parse(write(x)) == x, unknown parameters kept (§5.6)."""
        vector = ChargingVector(
            icid, host, orig, term, (), related, related_at, parse_params(extra)
        )
        for network in networks:
            vector = vector.through(network)
        again = ChargingVector.parse(str(vector))
        self.assertEqual(again, vector)
        self.assertEqual((again.icid, again.orig_ioi, again.transit), (icid, orig, vector.transit))

    @given(st.text(max_size=60))
    def test_junk(self, text: str) -> None:
        """Junk raises PeerError only."""
        for candidate in (text, "icid-value=" + text, "icid-value=1;transit-ioi=" + text):
            for parse in (ChargingVector.parse, ChargingFunctions.parse):
                try:
                    parse(candidate)
                except PeerError:
                    pass

    def test_limits(self) -> None:
        """No icid, or transit networks without end, are refused."""
        for text in ("orig-ioi=x", "icid-value", 'icid-value=""'):
            self.assertRaises(PeerError, ChargingVector.parse, text)
        many = ",".join(["void"] * 41)
        self.assertRaises(PeerError, ChargingVector.parse, f'icid-value=1;transit-ioi="{many}"')

    def test_transit(self) -> None:
        """The index rises with each entry, unnamed ones counted (§4.6.3)."""
        vector = ChargingVector("1").through("one").through(VOID).through(VOID).through("two")
        self.assertEqual(vector.transit, ("one.1", "void", "void", "two.4"))
        self.assertIn('transit-ioi="one.1,void,void,two.4"', str(vector))
        self.assertEqual(vector.with_target("t").transit, vector.transit)

    def test_made(self) -> None:
        """A request without vector gets one; one with it keeps its icid (§4.6.2.2)."""
        ids = Ids(1)
        request = a_request()
        icid = complete_request(request, ids, "core.home.net", "home.net")
        vector = charging_vector(request)
        assert vector is not None
        self.assertEqual((vector.icid, vector.generated_at), (icid, "core.home.net"))
        self.assertEqual(vector.orig_ioi, "home.net")
        self.assertEqual(complete_request(request, ids, "other", "other.net"), icid)
        self.assertEqual(charging_vector(request), vector)
        self.assertNotEqual(complete_request(a_request(), ids, "h", ""), icid)

    def test_network_added(self) -> None:
        """A vector that names no origin gets ours (§4.6)."""
        request = a_request("icid-value=7;x=y")
        self.assertEqual(complete_request(request, Ids(1), "h", "home.net"), "7")
        self.assertEqual(request.all("P-Charging-Vector"), ["icid-value=7;orig-ioi=home.net;x=y"])

    def test_answered(self) -> None:
        """The response has the same icid, and where the request went (§4.6)."""
        request = a_request('icid-value=7;orig-ioi=a.net;transit-ioi="t.1"')
        response = request.response(200)
        asked = charging_vector(request)
        assert asked is not None
        complete_response(response, asked, "b.net")
        expected = "icid-value=7;orig-ioi=a.net;term-ioi=b.net"
        self.assertEqual(response.all("P-Charging-Vector"), [expected])
        complete_response(response, asked, "c.net")
        self.assertEqual(response.all("P-Charging-Vector"), [expected])
        self.assertIsNone(charging_vector(request.response(200)))


class FunctionsTests(SynchronousTestCase):
    @given(st.lists(TEXT, max_size=2), st.lists(TEXT, max_size=2))
    def test_round_trip(self, ccf: list[str], ecf: list[str]) -> None:
        """parse(write(x)) == x (§5.5)."""
        functions = ChargingFunctions(tuple(ccf), tuple(ecf))
        if ccf or ecf:
            self.assertEqual(ChargingFunctions.parse(str(functions)), functions)

    def test_of_message(self) -> None:
        """Both kinds are read, with their seconds (§5.5)."""
        request = a_request()
        self.assertIsNone(charging_functions(request))
        request.add("P-Charging-Function-Addresses", 'ccf="[2001:db8::1]";ecf=e;ccf-2=second')
        functions = charging_functions(request)
        assert functions is not None
        self.assertEqual((functions.ccf, functions.ecf), (("[2001:db8::1]", "second"), ("e",)))
