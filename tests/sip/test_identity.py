"""Asserted identity, privacy, trust (RFC 3325, RFC 3323, RFC 5502, RFC 7315)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError, UsageError
from omaim.sip import identity
from omaim.sip.identity import (
    CRITICAL,
    HEADER,
    ID,
    NONE,
    OTHER,
    SESSION,
    USER,
    ServedUser,
    access_networks,
    address_list,
    assert_identity,
    asserted_identities,
    check_privacy,
    keep_called_party,
    leave_domain,
    leave_trust_domain,
    privacy_of,
    served_user,
    strip_personal,
    strip_untrusted,
)
from omaim.sip.message import Message, Request
from omaim.sip.names import canonical_name

ALICE = "sip:alice@example.com"
TEL = "tel:+15551234"
SERVICE = "sip:service@example.com"
CLAIMS = [
    "P-Asserted-Identity",
    "p-charging-vector",
    "P-Charging-Function-Addresses",
    "P-Served-User",
    "P-Called-Party-ID",
    "P-Associated-URI",
    "P-Profile-Key",
    "P-User-Database",
    "P-Visited-Network-ID",
    "P-Asserted-Service",
    "Remote-Party-ID",
    "REMOTE-PARTY-ID",
]


def a_message(*headers: tuple[str, str], sender: str = f"<{ALICE}>") -> Request:
    lines = [("From", f"{sender};tag=1"), ("To", "<sip:bob@example.net>")]
    lines += [(canonical_name(name), value) for name, value in headers]
    return Request.make("MESSAGE", "sip:bob@example.net", lines)


class IncomingTests(SynchronousTestCase):
    @given(st.lists(st.sampled_from([*CLAIMS, "Subject", "P-Preferred-Identity"])))
    def test_claims_are_stripped(self, names: list[str]) -> None:
        """Nothing that only a trusted element may say survives, the rest does (RFC 3325 §5)."""
        request = a_message(*[(name, "x") for name in names])
        strip_untrusted(request)
        kept = [name for name in names if name not in CLAIMS]
        self.assertEqual(request.names, ["From", "To", *kept])

    def test_access_network(self) -> None:
        """What the network is said to provide is believed from the network only (§4.4)."""
        request = a_message(("P-Access-Network-Info", "IEEE-802.11;i-wlan-node-id=1"))
        strip_untrusted(request)
        [access] = access_networks(request)
        self.assertEqual(access.value, "IEEE-802.11")
        request.add("P-Access-Network-Info", "3GPP-GERAN;Network-Provided")
        strip_untrusted(request)
        self.assertEqual(access_networks(request), [])

    def test_default(self) -> None:
        """Without a hint the default identity is asserted (RFC 3325 §5)."""
        request = a_message(sender="<sip:anonymous@anonymous.invalid>")
        self.assertEqual(assert_identity(request, (ALICE, TEL)), ALICE)
        self.assertEqual(request.first("P-Asserted-Identity"), f"<{ALICE}>")

    def test_preferred(self) -> None:
        """A preferred identity counts when it is one's own, and is removed (RFC 3325 §6)."""
        for text, expected in (
            (f'"Me" <{TEL}>', TEL),
            ("<tel:+1-555-1234>", TEL),
            (f"<sip:eve@example.com>, <{SERVICE}>", SERVICE),
            ("<sip:mallory@example.com>", ALICE),
            ("<", ALICE),
        ):
            request = a_message(("P-Preferred-Identity", text))
            found = assert_identity(request, (ALICE, TEL, SERVICE))
            self.assertEqual(
                (found, request.all("P-Asserted-Identity")), (expected, [f"<{found}>"])
            )
            self.assertFalse(request.has("P-Preferred-Identity"))

    def test_from_is_only_a_hint(self) -> None:
        """From chooses among one's own identities and can do nothing else."""
        request = a_message(sender=f"<{SERVICE}>")
        self.assertEqual(assert_identity(request, (ALICE, SERVICE)), SERVICE)
        request = a_message(sender="<sip:boss@example.com>")
        self.assertEqual(assert_identity(request, (ALICE, SERVICE)), ALICE)
        self.assertRaises(PeerError, assert_identity, request, ())

    @given(st.text(max_size=40), st.text(max_size=40))
    def test_never_another(self, preferred: str, sender: str) -> None:
        """Whatever the sender writes, only an identity of his own is asserted."""
        try:
            request = a_message(("P-Preferred-Identity", preferred), sender=sender)
            found = assert_identity(request, (ALICE, SERVICE))
        except (PeerError, UsageError):
            return
        self.assertIn(found, (ALICE, SERVICE))
        self.assertEqual(asserted_identities(request), (found,))

    def test_pair(self) -> None:
        """A sip and a tel identity may go together (RFC 3325 §9.1)."""
        request = a_message()
        assert_identity(request, (ALICE, SERVICE, TEL), pair=True)
        self.assertEqual(asserted_identities(request), (ALICE, TEL))

    def test_asserted(self) -> None:
        """One, or one sip and one tel; nothing else (RFC 3325 §9.1)."""
        self.assertEqual(asserted_identities(a_message()), ())
        for text in (
            f"<{ALICE}>, <{SERVICE}>",
            f"<{TEL}>, <tel:+1>",
            f"<{ALICE}>, <{TEL}>, <{SERVICE}>",
            "<http://example.com>",
            "nonsense",
        ):
            request = a_message(("P-Asserted-Identity", text))
            self.assertRaises(PeerError, asserted_identities, request)


class PrivacyTests(SynchronousTestCase):
    def test_bits(self) -> None:
        """Each level is read, none excludes all, others are noted (RFC 3323 §4.2)."""
        for text, bits in (
            ("header", HEADER),
            ("session; Critical", SESSION | CRITICAL),
            ("user;id", USER | ID),
            ("id, header", ID | HEADER),
            ("none", NONE),
            ("id;none", NONE),
            ("history", OTHER),
            ("", 0),
        ):
            self.assertEqual(privacy_of(a_message(("Privacy", text))), bits)
        self.assertEqual(privacy_of(a_message()), 0)

    def test_critical(self) -> None:
        """Critical privacy that we cannot provide is a 500 that names it (RFC 3323 §5)."""
        check_privacy(a_message(("Privacy", "id;critical")))
        check_privacy(a_message(("Privacy", "header;session")))
        check_privacy(a_message(("Privacy", "user;critical")), able=ID | USER)
        error = self.assertRaises(
            PeerError, check_privacy, a_message(("Privacy", "header;x;id;critical"))
        )
        self.assertEqual(error.status, 500)
        self.assertIn("header, an unknown level", error.why)

    def test_id(self) -> None:
        """ "id" removes all asserted identities, and is itself done with (RFC 3325 §7)."""
        request = a_message(
            ("P-Asserted-Identity", f"<{ALICE}>"),
            ("P-Asserted-Identity", f"<{TEL}>"),
            ("Privacy", "id;critical"),
            ("Proxy-Require", "privacy, sec-agree"),
        )
        leave_trust_domain(request)
        self.assertEqual(request.names, ["From", "To", "Proxy-Require"])
        self.assertEqual(request.first("Proxy-Require"), "sec-agree")
        request = a_message(("P-Asserted-Identity", f"<{ALICE}>"), ("Privacy", "header;id"))
        leave_trust_domain(request)
        self.assertEqual(request.all("Privacy"), ["header"])
        self.assertFalse(request.has("P-Asserted-Identity"))
        request = a_message(
            ("P-Asserted-Identity", "<x>"), ("Privacy", "id"), ("Proxy-Require", "privacy")
        )
        leave_trust_domain(request)
        self.assertEqual(request.names, ["From", "To"])

    def test_policy(self) -> None:
        """Without Privacy policy decides, "none" always keeps (RFC 3325 §7)."""
        for privacy, hide, kept in (
            ((), False, True),
            ((), True, False),
            ((("Privacy", "none"),), True, True),
            ((("Privacy", "session"),), False, True),
            ((("Privacy", "session"),), True, False),
        ):
            request = a_message(("P-Asserted-Identity", f"<{ALICE}>"), *privacy)
            leave_trust_domain(request, hide)
            self.assertEqual(request.has("P-Asserted-Identity"), kept)
            self.assertEqual(request.has("Privacy"), bool(privacy))

    def test_internal(self) -> None:
        """Headers of the networks do not go out (RFC 7315 §4, RFC 5502 §7)."""
        request = a_message(
            ("P-Charging-Vector", "icid-value=1"),
            ("P-Charging-Function-Addresses", "ccf=x"),
            ("P-Served-User", "<sip:x>"),
            ("P-Access-Network-Info", "IEEE-802.11"),
            ("P-Preferred-Identity", f"<{ALICE}>"),
            ("Subject", "s"),
        )
        copy = request.copy()
        leave_trust_domain(request)
        self.assertEqual(request.names, ["From", "To", "Subject"])
        leave_domain(copy)
        self.assertFalse(copy.has("P-Charging-Function-Addresses"))
        self.assertTrue(copy.has("P-Charging-Vector"))

    def test_personal(self) -> None:
        """User privacy removes what tells about the person (RFC 3323 §5.3)."""
        names = ["Subject", "Call-Info", "Organization", "User-Agent", "Reply-To", "In-Reply-To"]
        request = a_message(*[(name, "x") for name in names], ("Event", "x"))
        strip_personal(request)
        self.assertEqual(request.names, ["From", "To", "Event"])
        self.assertIn("anonymous.invalid", identity.ANONYMOUS)

    @given(st.text(max_size=40), st.booleans())
    def test_asked_for_is_done(self, text: str, hide: bool) -> None:
        """Any Privacy with "id" and without "none" hides the identity."""
        try:
            request = a_message(("P-Asserted-Identity", f"<{ALICE}>"), ("Privacy", text + ";id"))
        except UsageError:
            return
        asked = privacy_of(request)
        leave_trust_domain(request, hide)
        self.assertEqual(request.has("P-Asserted-Identity"), asked == NONE)
        self.assertFalse(privacy_of(request) & ID)


class ServedUserTests(SynchronousTestCase):
    @given(
        st.from_regex(r"sip:[a-z]{1,9}@[a-z]{1,9}", fullmatch=True),
        st.sampled_from(["", "orig", "term"]),
        st.sampled_from(["", "reg", "unreg"]),
    )
    def test_round_trip(self, uri: str, case: str, registered: str) -> None:
        """parse(write(x)) == x (RFC 5502 §6)."""
        served = ServedUser(uri, case, registered)
        self.assertEqual(ServedUser.parse(str(served)), served)
        self.assertEqual(served_user(a_message(("P-Served-User", str(served)))), served)

    def test_unknown(self) -> None:
        """Values that we do not know count as absent; no header is ``None``."""
        served = ServedUser.parse("sip:x@y;sescase=other;regstate=REG")
        self.assertEqual((served.uri, served.case, served.registered), ("sip:x@y", "", "reg"))
        self.assertIsNone(served_user(a_message()))

    def test_called_party(self) -> None:
        """The Request-URI is noted before it becomes a contact (RFC 7315 §4.2)."""
        request = a_message()
        keep_called_party(request)
        self.assertEqual(request.first("P-Called-Party-ID"), "<sip:bob@example.net>")
        self.assertEqual(address_list((ALICE, TEL)), f"<{ALICE}>, <{TEL}>")
        message: Message = request
        self.assertEqual(asserted_identities(message), ())
