"""Lists of people with INVITE and REFER, and how those on them are called."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.resource_lists import ANONYMOUS, BCC, CC, TO, Entry, parse_lists
from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.im.guest_lists import Guest, guest_at, guest_of, listed_in, method_of, people_of
from omaim.im.inviting import invitation_of
from omaim.roles.description import Description
from omaim.sip.message import Request
from tests.im.attendees import LIST, list_of, listed

ALICE = "sip:alice@north.example"
BOB = "sip:bob@north.example"
CAROL = "sip:carol@south.example"


def invite(kind: str, body: bytes, *more: tuple[str, str]) -> Request:
    return Request.make("INVITE", "sip:conference@x", [("Content-Type", kind), *more], body)


class ListTests(SynchronousTestCase):
    def test_beside_a_description(self) -> None:
        """The part with the disposition recipient-list counts; everybody once (RFC 5366 §3)."""
        kind, body = listed(b"v=0\r\n", BOB, Entry("SIP:bob@North.Example", copy=TO), CAROL)
        people = listed_in(invite(kind, body))
        assert people is not None
        self.assertEqual([(one.uri, one.copy) for one in people], [(BOB, TO), (CAROL, BCC)])

    def test_alone(self) -> None:
        """A list may be the whole body; another body is none (RFC 5363 §4.1)."""
        own = ("Content-Disposition", "recipient-list")
        people = listed_in(invite(LIST, list_of(BOB), own))
        self.assertEqual(people and [one.uri for one in people], [BOB])
        self.assertIsNone(listed_in(invite(LIST, list_of(BOB))))
        self.assertIsNone(listed_in(invite("application/sdp", b"v=0")))

    def test_broken(self) -> None:
        """415 for another format; 400 for what cannot be read, or stands elsewhere."""
        for kind, data, status in (
            ("text/plain", b"bob", 415),
            (LIST, b"<x/>", 400),
            (LIST, list_of("nobody"), 400),
            (LIST, b'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>'
                   b'<entry-ref ref="x"/></list></resource-lists>', 400),
        ):  # fmt: skip
            with self.assertRaises(PeerError) as caught:
                people_of(kind, data)
            self.assertEqual(caught.exception.status, status)

    @given(st.binary(max_size=200), st.sampled_from([LIST, "multipart/mixed;boundary=b", "x/y"]))
    def test_junk(self, junk: bytes, kind: str) -> None:
        """Whatever comes is read, or refused."""
        own = ("Content-Disposition", "recipient-list")
        for body in (junk, b"--b\r\nContent-Disposition: recipient-list\r\n\r\n" + junk):
            try:
                listed_in(invite(kind, body, own))
            except PeerError:
                pass

    def test_methods(self) -> None:
        """An entry may ask for a method, and for a dialog to be replaced (RFC 5368 §8)."""
        self.assertEqual(method_of(f"{BOB};method=BYE"), "BYE")
        self.assertEqual(method_of(BOB), "INVITE")
        asked: list[str] = []

        def translate(value: str) -> str:
            asked.append(value)
            return "other"

        entry = Entry(f"{BOB};transport=tcp?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2&X=y", copy=CC)
        guest = guest_of(entry, translate)
        self.assertEqual(asked, ["a;to-tag=1;from-tag=2"])
        self.assertEqual(guest, Guest(BOB, f"{BOB};transport=tcp", "other", entry))
        self.assertFalse(guest.hidden)
        self.assertTrue(guest_of(Entry(BOB, copy=BCC), translate).hidden)
        self.assertTrue(guest_of(Entry(BOB, copy=TO, anonymize=True), translate).hidden)
        self.assertEqual(guest_at("tel:+1555", translate).uri, "tel:+1555")


class InvitationTests(SynchronousTestCase):
    def request(self, by: str = ALICE, *shown: Entry, replaces: str = "") -> Request:
        return invitation_of(
            "sip:conf.1@north.example",
            "<sip:conf.1@north.example>;isfocus",
            "tea",
            Guest(BOB, f"{BOB};x=y", replaces),
            Description(b"v=0\r\n"),
            by,
            shown,
            "<sip:core;lr>",
            Ids(1),
        )

    def test_what_it_says(self) -> None:
        """The conference speaks; whose wish it is stands beside it (RFC 4579 §5.5)."""
        request = self.request(replaces="a;to-tag=1;from-tag=2")
        self.assertEqual(request.uri, f"{BOB};x=y")
        self.assertEqual(request.from_.uri_text, "sip:conf.1@north.example")
        self.assertEqual(request.first("P-Asserted-Identity"), f"<{ALICE}>")
        self.assertEqual(request.first("Referred-By"), f"<{ALICE}>")
        self.assertEqual(request.first("Replaces"), "a;to-tag=1;from-tag=2")
        self.assertEqual(
            (request.body, request.first("Content-Type")), (b"v=0\r\n", "application/sdp")
        )
        nameless = self.request("")
        self.assertEqual(nameless.first("P-Asserted-Identity"), "<sip:conf.1@north.example>")
        self.assertIsNone(nameless.first("Referred-By"))

    def test_history(self) -> None:
        """Those on the list whom all may see are told, anonymous ones are counted (RFC 5364 §4)."""
        request = self.request(
            ALICE,
            Entry(BOB, copy=TO),
            Entry(CAROL, copy=BCC),
            Entry("sip:x@y.example", copy=TO, anonymize=True),
            Entry("sip:z@y.example", copy=TO, anonymize=True),
        )
        self.assertTrue((request.first("Content-Type") or "").startswith("multipart/mixed"))
        self.assertIn(b"recipient-list-history; handling=optional", request.body)
        start = request.body.index(b"<?xml")
        document = request.body[start : request.body.index(b"</resource-lists>") + 17]
        (found,) = parse_lists(document)
        self.assertEqual(
            [(one.uri, one.count) for one in found.items if isinstance(one, Entry)],
            [(BOB, 1), (ANONYMOUS, 2)],
        )
