"""omaim/bodies/cpim_header.py: RFC 3862 §2.3, §3, §4.1."""

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim_header import Address, BadCpim, Header, escape, unescape
from omaim.errors import UsageError

any_text = st.text(st.characters(codec="utf-8"), max_size=20)


class EscapeTests(SynchronousTestCase):
    @given(text=any_text)
    def test_round_trip(self, text: str) -> None:
        """Every text survives, and nothing but printable characters is written."""
        written = escape(text)
        self.assertEqual(unescape(written), text)
        self.assertIsNone(re.search(r"[\x00-\x1f\x7f]", written))

    def test_sequences(self) -> None:
        r"""All sequences of RFC 3862 §2.3 are read; \x stands for x, a last \ for nothing."""
        self.assertEqual(unescape(r"\\\"\'\b\t\n\r\x" + "\\"), "\\\"'\b\t\n\rx")
        self.assertEqual(unescape(r"\u00e9\u0041\uD83D\uDE00"), "éA😀")
        self.assertEqual(unescape(r"a\ud83db"), "a\ufffdb")

    def test_only_what_must_be(self) -> None:
        r"""Control characters use \u, five have short forms, others none (§2.3.1)."""
        self.assertEqual(escape("\b\t\n\r\\\x00\x7f\"'é"), r"\b\t\n\r\\\u0000\u007f" + "\"'é")


class AddressTests(SynchronousTestCase):
    @given(name=any_text.map(str.strip).filter(lambda name: name.isprintable()))
    def test_round_trip(self, name: str) -> None:
        """Any name survives, quoted when it is no row of tokens (RFC 3862 §3.6)."""
        address = Address(name, "im:a@b")
        header = Header.make("From", str(address))
        self.assertEqual(Address.parse(Header.parse(header.line).value), address)

    def test_examples(self) -> None:
        self.assertEqual(
            Address.parse("Winnie the Pooh <im:pooh@100akerwood.com>"),
            Address("Winnie the Pooh", "im:pooh@100akerwood.com"),
        )
        self.assertEqual(Address.parse('"a <b> \\"c\\"" <sip:x@y;z=1>').name, 'a <b> "c"')
        self.assertEqual(str(Address("", "im:a@b")), "<im:a@b>")
        self.assertEqual(str(Address("Bob, Jr", "im:a@b")), '"Bob, Jr" <im:a@b>')

    def test_refused(self) -> None:
        for value in ("", "im:a@b", "<a@b>", "<im:a b>", "<im:a@b> x", "<im:é@b>", "A <im:a@b"):
            self.assertRaises(BadCpim, Address.parse, value)

    def test_many_spaces(self) -> None:
        """Spaces without end are refused in no time."""
        self.assertRaises(BadCpim, Address.parse, "a" + " " * 16_000 + "x>")


class HeaderTests(SynchronousTestCase):
    def test_our_own_defects(self) -> None:
        """Line breaks and bad names cannot be written."""
        self.assertRaises(UsageError, Header.make, "A", "b\r\nC: d")
        self.assertRaises(UsageError, Header.make, "A B", "c")
        self.assertRaises(UsageError, Header.make, "A", "b", "en us")
        self.assertRaises(UsageError, str, Address("", "im:a> <im:b"))
