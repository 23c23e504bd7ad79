"""omaim/roles/listmail.py: RFC 5365, RFC 5363, RFC 5364."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import IMDN, Address, Cpim
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart, parse_multipart
from omaim.bodies.resource_lists import (
    ANONYMOUS,
    CC,
    TO,
    Entry,
    External,
    ResourceList,
    parse_lists,
    write_lists,
)
from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.roles.listmail import MOST, Refused, check_consent, copies, is_list_mail, read
from omaim.sip.message import Request
from omaim.sip.parser import parse_datagram
from tests.bodies.test_resource_lists import SENT

TEXT = Part([("Content-Type", "text/plain")], b"Hello World!")


def list_part(data: bytes, media_type: str = "application/resource-lists+xml") -> Part:
    return Part([("Content-Type", media_type), ("Content-Disposition", "recipient-list")], data)


def mail(parts: list[Part], *more: tuple[str, str]) -> Request:
    """The request of RFC 5365 §9, Figure 2, with another body."""
    content_type, body = Multipart("mixed", parts).write()
    headers = [
        ("Via", "SIP/2.0/TCP uac.example.com;branch=z9hG4bKhjhs8ass83"),
        ("Max-Forwards", "9"),
        ("To", "MESSAGE URI-list service <sip:list-service.example.com>"),
        ("From", "Alice <sip:alice@example.com>;tag=32331"),
        ("Call-ID", "d432fa84b4c76e66710"),
        ("CSeq", "7 MESSAGE"),
        ("Require", "recipient-list-message"),
        *more,
        ("Content-Type", content_type),
    ]
    return Request.make("MESSAGE", "sip:list-service.example.com", headers, body)


def to_people(*people: Entry) -> Request:
    return mail([TEXT, list_part(write_lists([ResourceList(people)]))])


def explode(
    request: Request,
    ids: Ids,
    *,
    consents: Callable[[str], bool] = lambda aor: True,
    understood: frozenset[str] = frozenset(),
    most: int = MOST,
    **more: Any,
) -> list[Request]:
    """Do with a list MESSAGE what a server does."""
    listed = read(request, understood, most)
    check_consent(listed.people, consents)
    return list(copies(request, listed, ids, **more))


class ExplodeTests(SynchronousTestCase):
    def refused(self, request: Request, **more: object) -> Refused:
        return self.assertRaises(Refused, explode, request, Ids(1), **more)

    def test_rfc_example(self) -> None:
        """Figure 2 of RFC 5365 becomes seven requests like Figure 3."""
        request = mail([TEXT, list_part(SENT)])
        before = request.to_bytes()
        copies = explode(request, Ids(1))
        self.assertEqual(request.to_bytes(), before)
        self.assertEqual(
            [copy.uri for copy in copies],
            [
                "sip:bill@example.com",
                "sip:randy@example.net",
                "sip:eddy@example.com",
                "sip:joe@example.org",
                "sip:carol@example.net",
                "sip:ted@example.net",
                "sip:andy@example.com",
            ],
        )
        for copy in copies:
            copy.prepend("Via", "SIP/2.0/UDP here;branch=z9hG4bK1")
            again = parse_datagram(copy.to_bytes())
            assert isinstance(again, Request)
            self.assertEqual(again.to.uri_text, copy.uri)
            self.assertEqual((again.to.tag, str(again.cseq)), ("", "1 MESSAGE"))
            self.assertEqual(
                (again.from_.uri_text, again.from_.display), ("sip:alice@example.com", "Alice")
            )
            self.assertNotIn(again.from_.tag, ("", "32331"))
            self.assertEqual((again.max_forwards, again.has("Require")), (70, False))
            inner = parse_multipart(again.first("Content-Type") or "", again.body)
            self.assertEqual(inner.parts[0], TEXT)
            self.assertEqual(inner.parts[1].disposition, "recipient-list-history")
            self.assertTrue(inner.parts[1].optional)
            self.assertEqual(
                [
                    (one.uri, one.copy, one.count)
                    for one in parse_lists(inner.parts[1].content)[0].items
                ],
                [
                    ("sip:bill@example.com", TO, 1),
                    (ANONYMOUS, TO, 2),
                    ("sip:joe@example.org", CC, 1),
                    (ANONYMOUS, CC, 1),
                ],
            )
        calls = {copy.call_id for copy in copies}
        self.assertEqual((len(calls), "d432fa84b4c76e66710" in calls), (7, False))
        self.assertEqual(len({copy.from_.tag for copy in copies}), 7)

    def test_single_part(self) -> None:
        """With nobody to show, the one part left loses its wrapper (RFC 5365 §7.3)."""
        (copy,) = explode(to_people(Entry("sip:ted@example.net")), Ids(1))
        self.assertEqual((copy.first("Content-Type"), copy.body), ("text/plain", b"Hello World!"))

    def test_unwrapped_headers(self) -> None:
        """What the one part says of itself moves up; base64 is undone, SIP being binary."""
        part = Part(
            [
                ("Content-Type", "text/plain"),
                ("Content-Transfer-Encoding", "base64"),
                ("Content-Language", "fr"),
            ],
            b"c2FsdXQ=",
        )
        request = mail([part, list_part(write_lists([ResourceList((Entry("sip:a@b"),))]))])
        (copy,) = explode(request, Ids(1))
        self.assertEqual((copy.body, copy.first("Content-Language")), (b"salut", "fr"))
        self.assertFalse(copy.has("Content-Transfer-Encoding"))

    def test_doubles(self) -> None:
        """Nobody gets two, by the rules of the scheme (RFC 5363 §4.1, RFC 3261 §19.1.4)."""
        copies = explode(
            to_people(
                Entry("sip:bob@example.com"),
                Entry("sip:%62ob@EXAMPLE.com"),
                Entry("sip:bob@example.com;method=INVITE"),
                Entry("sip:Bob@example.com"),
                Entry("tel:+1-555-0100"),
                Entry("tel:+15550100"),
            ),
            Ids(1),
        )
        self.assertEqual(
            [copy.uri for copy in copies],
            ["sip:bob@example.com", "sip:Bob@example.com", "tel:+1-555-0100"],
        )

    def test_several_lists(self) -> None:
        """Several list bodies are one list (RFC 5363 §4.1)."""
        lists = [
            list_part(write_lists([ResourceList((Entry(uri),))])) for uri in ("sip:a@b", "sip:c@d")
        ]
        copies = explode(mail([lists[0], TEXT, lists[1]]), Ids(1))
        self.assertEqual([copy.uri for copy in copies], ["sip:a@b", "sip:c@d"])

    def test_headers_in_uris(self) -> None:
        """A URI may ask for some headers; never for those that say who speaks (RFC 5365 §6)."""
        (copy,) = explode(
            to_people(
                Entry(
                    "sip:bob@example.com;method=BYE?accept-contact=*%3bmobility%3d%22mobile%22"
                    "&From=sip:eve%40x&Route=%3csip:x%3e&Subject=a%0d%0aEvil:%20b&body=no"
                )
            ),
            Ids(1),
        )
        self.assertEqual((copy.method, copy.uri), ("MESSAGE", "sip:bob@example.com"))
        self.assertEqual(copy.first("Accept-Contact"), '*;mobility="mobile"')
        self.assertEqual(copy.from_.uri_text, "sip:alice@example.com")
        self.assertEqual(
            (copy.has("Route"), copy.has("Subject"), copy.body), (False, False, TEXT.content)
        )

    def test_headers_kept(self) -> None:
        """Significant headers are copied, those of the hop are not (RFC 5365 §6, §7.2)."""
        request = mail(
            [TEXT, list_part(SENT)],
            ("Subject", "hi"),
            ("Expires", "60"),
            ("P-Asserted-Identity", "<sip:alice@example.com>"),
            ("P-Asserted-Identity", "<tel:+1555>"),
            ("Route", "<sip:list-service.example.com;lr>"),
            ("Authorization", 'Digest realm="ours", nonce="1"'),
            ("Authorization", 'Digest realm="theirs", nonce="2"'),
        )
        copy = explode(request, Ids(1), realm="ours")[0]
        self.assertEqual(
            (copy.first("Subject"), copy.expires, copy.has("Route")), ("hi", 60, False)
        )
        self.assertEqual(
            copy.all("P-Asserted-Identity"), ["<sip:alice@example.com>", "<tel:+1555>"]
        )
        self.assertEqual(copy.all("Authorization"), ['Digest realm="theirs", nonce="2"'])

    def test_cpim(self) -> None:
        """A CPIM message is readdressed; Original-To tells the list (RFC 5438 §6.4, §8)."""
        inner = Cpim.make(
            Address("", "im:alice@x"), [Address("", "sip:list@x"), Address("", "im:y@z")], "", TEXT
        )
        inner.add("Message-ID", "1", IMDN)
        inner.add("Disposition-Notification", "display", IMDN)
        part = Part([("Content-Type", "message/cpim")], inner.to_bytes())
        people = [Entry("sip:bob@example.com?Subject=x", "Bob"), Entry("sip:carol@example.com")]
        request = mail([part, list_part(write_lists([ResourceList(tuple(people))]))])
        found = [Cpim.parse(copy.body) for copy in explode(request, Ids(1))]
        self.assertEqual(
            [one.to for one in found],
            [[Address("Bob", "sip:bob@example.com")], [Address("", "sip:carol@example.com")]],
        )
        for one in found:
            self.assertEqual(one.value("Original-To", IMDN), "<sip:list@x>")
            self.assertEqual((one.message_id, one.part), ("1", TEXT))
        (same, _) = explode(request, Ids(1), readdress=False)
        self.assertEqual(same.body, inner.to_bytes())

    def test_consent(self) -> None:
        """Without the consent of all, nobody is sent anything (RFC 5363 §5.2, RFC 5360 §5.9)."""
        request = to_people(Entry("sip:a@x.example"), Entry("sip:B@x.example;p=1"))
        error = self.refused(request, consents="sip:a@x.example".__eq__)
        self.assertEqual(
            (error.status, error.headers), (470, (("Permission-Missing", "<sip:B@x.example;p=1>"),))
        )

    def test_extensions(self) -> None:
        """An option that nobody knows is a 420 that names it (RFC 3261 §8.2.2.3)."""
        request = mail([TEXT, list_part(SENT)], ("Require", "foo, bar"))
        error = self.refused(request, understood=frozenset({"bar"}))
        self.assertEqual((error.status, error.headers), (420, (("Unsupported", "foo"),)))
        copy = explode(request, Ids(1), understood=frozenset({"foo", "bar"}))[0]
        self.assertEqual(copy.first("Require"), "bar, foo")

    def test_refused(self) -> None:
        """A list that is empty, missing, foreign, elsewhere or too long is refused."""
        elsewhere = ResourceList((Entry("sip:a@b"), External("http://x/")))
        for status, parts in (
            (400, [TEXT]),
            (400, [TEXT, list_part(write_lists([]))]),
            (400, [list_part(SENT)]),
            (400, [TEXT, list_part(write_lists([elsewhere]))]),
            (400, [TEXT, list_part(write_lists([ResourceList((Entry("mailto:a@b"),))]))]),
            (415, [TEXT, list_part(b"sip:a@b", "text/uri-list")]),
        ):
            self.assertEqual(self.refused(mail(parts)).status, status)
        self.assertEqual(self.refused(mail([TEXT, list_part(SENT)]), most=6).status, 413)
        plain = mail([TEXT])
        plain.set_body(b"Hello", "text/plain")
        self.assertEqual(self.refused(plain).status, 400)

    @given(data=st.binary(max_size=80))
    def test_junk(self, data: bytes) -> None:
        """Whatever the list is, the answer is requests or an error."""
        try:
            explode(mail([TEXT, list_part(data)]), Ids(1))
        except PeerError:
            pass

    @given(
        uris=st.lists(st.text("sip:ab@.;?=&%0", min_size=1, max_size=12), min_size=1, max_size=5)
    )
    def test_any_uri(self, uris: list[str]) -> None:
        """Whatever the addresses are, what is sent parses."""
        unique = tuple(Entry(uri.strip()) for uri in dict.fromkeys(uris) if uri.strip())
        try:
            copies = explode(to_people(*unique), Ids(1))
        except PeerError:
            return
        for copy in copies:
            copy.prepend("Via", "SIP/2.0/UDP here;branch=z9hG4bK1")
            self.assertIsInstance(parse_datagram(copy.to_bytes()), Request)

    def test_is_list_mail(self) -> None:
        """The option tag decides (RFC 5365 §6)."""
        request = mail([TEXT, list_part(SENT)])
        self.assertTrue(is_list_mail(request))
        request.remove("Require")
        self.assertFalse(is_list_mail(request))
        self.assertEqual(len(read(request).people), 7)
