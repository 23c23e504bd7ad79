"""omaim/bodies/cpim.py: RFC 3862, and the headers of RFC 5438."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import CORE, IMDN, Address, BadCpim, Cpim, Header, escape
from omaim.bodies.mime import Part
from omaim.errors import PeerError
from tests.bodies.test_cpim_header import any_text

# RFC 3862 §5.1
EEYORE = b"\r\n".join(
    [
        b"From: MR SANDERS <im:piglet@100akerwood.com>",
        b"To: Depressed Donkey <im:eeyore@100akerwood.com>",
        b"DateTime: 2000-12-13T13:40:00-08:00",
        b"Subject: the weather will be fine today",
        b"Subject:;lang=fr beau temps prevu pour aujourd'hui",
        b"NS: MyFeatures <mid:MessageFeatures@id.foo.com>",
        b"Require: MyFeatures.VitalMessageOption",
        b"MyFeatures.VitalMessageOption: Confirmation-requested",
        b"MyFeatures.WackyMessageOption: Use-silly-font",
        b"",
        b"Content-type: text/xml; charset=utf-8",
        b"Content-ID: <1234567890@foo.com>",
        b"",
        b"<body>",
        b"Here is the text of my message.",
        b"</body>",
    ]
)
FEATURES = "mid:MessageFeatures@id.foo.com"

names = st.from_regex(r"[A-Za-z][A-Za-z0-9!#$%&'*+^_`|~-]{0,8}", fullmatch=True)
langs = st.sampled_from(["", "en", "fr-CA"])
headers = st.builds(Header.make, names, any_text.map(escape), langs).filter(
    lambda header: header.name not in ("NS", "From", "DateTime")
)
content = st.builds(Part, st.just([("Content-Type", "text/plain")]), st.binary(max_size=40))
messages = st.builds(Cpim, st.lists(headers, min_size=1, max_size=6), content)


def message(*lines: str) -> Cpim:
    return Cpim.parse("\r\n".join([*lines, "", "Content-Type: text/plain", "", "hi"]).encode())


class FormatTests(SynchronousTestCase):
    @given(whole=messages)
    def test_write_then_parse(self, whole: Cpim) -> None:
        """What is written is read back the same, octet for octet."""
        data = whole.to_bytes()
        again = Cpim.parse(data)
        self.assertEqual(again, whole)
        self.assertEqual(again.to_bytes(), data)

    @given(
        data=st.binary(max_size=60)
        | st.lists(
            st.sampled_from(
                ["From", "NS", "a.b", ": ", ":", "\r\n", "<im:a>", ";lang=x", "\\", "\n", '"', "é"]
            ),
            max_size=14,
        ).map(lambda pieces: ("".join(pieces) + "\r\n\r\nContent-Type: a/b\r\n\r\n").encode())
    )
    def test_junk(self, data: bytes) -> None:
        """Any octets are a message or a PeerError; so is every view; it writes itself back."""
        try:
            found = Cpim.parse(data)
            self.assertEqual(found.to_bytes(), data)
            found.from_, found.to, found.cc, found.wanted, found.subject()
            found.not_understood([])
        except PeerError:
            pass

    def test_rfc_example(self) -> None:
        """RFC 3862 §5.1 reads as it says and is written back as it came."""
        found = Cpim.parse(EEYORE)
        self.assertEqual(found.from_, Address("MR SANDERS", "im:piglet@100akerwood.com"))
        self.assertEqual(found.to, [Address("Depressed Donkey", "im:eeyore@100akerwood.com")])
        self.assertEqual(found.date_time, "2000-12-13T13:40:00-08:00")
        self.assertEqual(found.subject(), "the weather will be fine today")
        self.assertEqual(found.subject("FR"), "beau temps prevu pour aujourd'hui")
        self.assertEqual(found.value("WackyMessageOption", FEATURES), "Use-silly-font")
        self.assertEqual(found.part.media_type, "text/xml")
        self.assertEqual(found.part.content_id, "1234567890@foo.com")
        self.assertEqual(found.to_bytes(), EEYORE)

    def test_case_matters(self) -> None:
        """ "from" is another header than "From" (RFC 3862 §2.2)."""
        found = message("from: <im:a@b>", "CC: <im:c@d>", "cc: <im:e@f>")
        self.assertIsNone(found.from_)
        self.assertEqual(found.cc, [Address("", "im:e@f")])

    def test_several_recipients(self) -> None:
        found = message("To: <im:a@b>", "X: y", "To: C <im:c@d>")
        self.assertEqual([one.uri for one in found.to], ["im:a@b", "im:c@d"])

    def test_octets_kept(self) -> None:
        """Unknown headers, odd spacing and needless escapes are passed on (RFC 3862 §2.2)."""
        lines = ["X-Odd:no-space", r"Subject: \u0041\q  two  ", 'Y:;a="b;c d" z', "To: <im:a@b>"]
        found = message(*lines)
        self.assertEqual([header.line for header in found.headers], lines)
        self.assertTrue(found.to_bytes().startswith("\r\n".join(lines).encode()))
        self.assertEqual(found.headers[2].param("a"), "b;c d")
        self.assertEqual(found.subject(), "Aq  two")

    def test_refused(self) -> None:
        """Bare line ends, control characters, bad names and missing ends are refused."""
        for data in (
            b"From: <im:a@b>\r\n",
            b"From: <im:a@b>\nTo: <im:c@d>\r\n\r\nContent-Type: a/b\r\n\r\n",
            b"X: a\tb\r\n\r\nContent-Type: a/b\r\n\r\n",
            b"X: a\x00b\r\n\r\nContent-Type: a/b\r\n\r\n",
            b"To \r\n\r\nContent-Type: a/b\r\n\r\n",
            b"From<im:a@b>\r\n\r\nContent-Type: a/b\r\n\r\n",
            b"FromX\r\n\r\nContent-Type: a/b\r\n\r\n",
            b"X Y: z\r\n\r\nContent-Type: a/b\r\n\r\n",
            b"a.b.c: z\r\n\r\nContent-Type: a/b\r\n\r\n",
            b"X: \xff\r\n\r\nContent-Type: a/b\r\n\r\n",
            b"X: y\r\n folded\r\n\r\nContent-Type: a/b\r\n\r\n",
            b"NS: imdn\r\n\r\nContent-Type: a/b\r\n\r\n",
            b"X: y\r\n\r\n\r\nno type",
            b"From: <im:a@b>\r\nFrom: <im:c@d>\r\n\r\nContent-Type: a/b\r\n\r\n",
            b"X: y\r\n" * 300 + b"\r\nContent-Type: a/b\r\n\r\n",
            b"X: " + b"y" * 20_000 + b"\r\n\r\nContent-Type: a/b\r\n\r\n",
        ):
            self.assertRaises(PeerError, Cpim.parse, data)


class NamespaceTests(SynchronousTestCase):
    def test_any_prefix(self) -> None:
        """What counts is the URI that a prefix was declared for (RFC 3862 §3.4)."""
        for prefix in ("imdn", "i", "xxx"):
            found = message(f"NS: {prefix} <{IMDN}>", f"{prefix}.Message-ID: 34jk324j")
            self.assertEqual(found.message_id, "34jk324j")

    def test_undeclared(self) -> None:
        """A prefix means nothing before its declaration, and nothing without one."""
        found = message("imdn.Message-ID: 1", f"NS: imdn <{IMDN}>")
        self.assertEqual(found.message_id, "")
        self.assertEqual(message("imdn.Message-ID: 1").message_id, "")

    def test_default(self) -> None:
        """NS without a prefix changes what plain names mean from there on."""
        found = message("To: <im:a@b>", "NS: c <" + CORE + ">", f"NS: <{IMDN}>", "Message-ID: 7")
        self.assertEqual(found.message_id, "7")
        self.assertEqual(message(f"NS: <{IMDN}>", "From: <im:a@b>").from_, None)

    def test_core_under_a_prefix(self) -> None:
        found = message(f"NS: c <{CORE}>", "c.From: <im:a@b>", "c.NS: i <" + IMDN + ">", "i.X: y")
        self.assertEqual(found.from_, Address("", "im:a@b"))
        self.assertEqual(found.value("X", IMDN), "y")

    def test_redeclared(self) -> None:
        found = message("NS: p <urn:one>", "p.A: 1", "NS: p <urn:two>", "p.A: 2")
        self.assertEqual((found.value("A", "urn:one"), found.value("A", "urn:two")), ("1", "2"))

    def test_require(self) -> None:
        """What is required and unknown is told by the sender's name for it (§3.5)."""
        found = Cpim.parse(EEYORE)
        self.assertEqual(found.not_understood([]), ["MyFeatures.VitalMessageOption"])
        self.assertEqual(found.not_understood([FEATURES + "VitalMessageOption"]), [])
        found = message("Require: Subject, x.y")
        self.assertEqual(found.not_understood([CORE + "Subject"]), ["x.y"])

    def test_single(self) -> None:
        """Two Message-IDs under two prefixes are still two (RFC 5438 §6.4 of Original-To)."""
        lines = [f"NS: a <{IMDN}>", f"NS: b <{IMDN}>", "a.Message-ID: 1", "b.Message-ID: 2"]
        self.assertRaises(BadCpim, message, *lines)


class ChangeTests(SynchronousTestCase):
    def test_add_declares(self) -> None:
        """A header of another namespace brings its declaration along, once."""
        found = Cpim.make(Address("", "im:a@b"), [Address("", "im:c@d")], "", Part([], b""))
        found.add("Message-ID", "1", IMDN)
        found.add("Disposition-Notification", "display, positive-delivery;x=y", IMDN)
        self.assertEqual(
            [header.line for header in found.headers[2:]],
            [
                f"NS: imdn <{IMDN}>",
                "imdn.Message-ID: 1",
                "imdn.Disposition-Notification: display, positive-delivery;x=y",
            ],
        )
        self.assertEqual(found.wanted, ["display", "positive-delivery"])

    def test_insert_before_a_declaration(self) -> None:
        """A header put in front of the declaration of its prefix gets one of its own."""
        found = message(f"NS: imdn <{IMDN}>", "imdn.X: 1")
        found.insert(0, "Y", "2", IMDN)
        self.assertEqual(found.headers[0].line, f"NS: imdn2 <{IMDN}>")
        again = Cpim.parse(found.to_bytes())
        self.assertEqual((again.value("X", IMDN), again.value("Y", IMDN)), ("1", "2"))

    def test_insert_where_the_core_is_hidden(self) -> None:
        """Under another default namespace the core is written with a prefix."""
        found = message(f"NS: c <{CORE}>", "NS: <urn:x>", "A: b")
        found.add("Subject", "hello")
        found.add("Message-ID", "1", IMDN)
        again = Cpim.parse(found.to_bytes())
        self.assertEqual((again.subject(), again.message_id), ("hello", "1"))

    def test_drop(self) -> None:
        found = message("To: <im:a@b>", "X: y", "To: <im:c@d>", "To: <im:e@f>")
        self.assertEqual(found.drop("To", most=2), 2)
        self.assertEqual([header.line for header in found.headers], ["X: y", "To: <im:e@f>"])
        self.assertEqual(found.drop("cc"), 0)

    def test_copy(self) -> None:
        found = message("To: <im:a@b>")
        other = found.copy()
        other.add("Subject", "x")
        self.assertEqual((len(found.headers), len(other.headers)), (1, 2))
