"""omaim/bodies/mime.py: one entity."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.mime import HEADERS, BadMime, Part, parse_params, write_params
from omaim.errors import PeerError, UsageError

tokens = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
values = st.text(st.characters(min_codepoint=0x20, exclude_characters="\x7f", codec="utf-8")).map(
    lambda text: text.strip(" \t")
)
parts = st.builds(Part, st.lists(st.tuples(tokens, values), max_size=4), st.binary(max_size=60))


class PartTests(SynchronousTestCase):
    @given(part=parts)
    def test_write_then_parse(self, part: Part) -> None:
        """What is written is read back the same, and written the same again."""
        data = part.to_bytes()
        again = Part.parse(data)
        self.assertEqual(again, part)
        self.assertEqual(again.to_bytes(), data)

    @given(data=st.binary(max_size=80) | st.text('a:; \r\n\t/="', max_size=60).map(str.encode))
    def test_junk(self, data: bytes) -> None:
        """Any octets are a part or a PeerError; so is each view of a part."""
        try:
            part = Part.parse(data)
            self.assertIsInstance(part.optional, bool)
            str(part.media_type + part.disposition + part.content_id + part.text())
        except PeerError:
            pass

    def test_folds_survive(self) -> None:
        """Headers that nobody changed go out byte for byte (RFC 2045 §3)."""
        data = b"content-type: multipart/mixed;\r\n  boundary=x\r\nX:y\r\n\r\nbody\r\n"
        part = Part.parse(data)
        self.assertEqual(part.first("Content-Type"), "multipart/mixed; boundary=x")
        self.assertEqual(part.to_bytes(), data)
        part.set("x", "z")
        self.assertEqual(
            part.to_bytes(), b"content-type: multipart/mixed; boundary=x\r\nx: z\r\n\r\nbody\r\n"
        )

    def test_no_headers(self) -> None:
        """A part may begin with its blank line and is then text/plain (RFC 2046 §5.1)."""
        part = Part.parse(b"\r\nhello")
        self.assertEqual((part.media_type, part.text()), ("text/plain", "hello"))

    def test_no_content(self) -> None:
        """Without content the blank line may be missing."""
        for data in (b"A: b\r\n\r\n", b"A: b\r\n", b"A: b"):
            self.assertEqual(Part.parse(data), Part([("A", "b")], b""))

    def test_set_and_remove(self) -> None:
        part = Part([("A", "1"), ("B", "2"), ("a", "3")], b"")
        part.set("A", "4")
        self.assertEqual(part.headers, [("A", "4"), ("B", "2")])
        part.remove("b")
        self.assertEqual(part.headers, [("A", "4")])

    def test_views(self) -> None:
        part = Part(
            [
                ("Content-Type", 'Text/Plain; charset="UTF-8"'),
                ("Content-ID", "<1@x>"),
                ("Content-Disposition", "recipient-list-history; handling=Optional"),
            ],
            "é".encode(),
        )
        self.assertEqual(part.media_type, "text/plain")
        self.assertEqual(part.content_id, "1@x")
        self.assertEqual((part.disposition, part.optional), ("recipient-list-history", True))
        self.assertEqual(part.text(), "é")

    def test_transfer_encodings(self) -> None:
        """base64 and quoted-printable are undone (RFC 2045 §6); others are a 415."""
        coded = [("base64", b"aMOp"), ("Quoted-Printable", b"h=C3=A9"), ("8bit", "hé".encode())]
        for coding, content in coded:
            part = Part([("Content-Transfer-Encoding", coding)], content)
            self.assertEqual(part.text(), "hé")
        part = Part([("Content-Transfer-Encoding", "uuencode")], b"")
        self.assertEqual(self.assertRaises(BadMime, part.decoded).status, 415)
        part = Part([("Content-Transfer-Encoding", "base64")], b"a")
        self.assertRaises(BadMime, part.decoded)

    def test_charsets(self) -> None:
        latin = Part([("Content-Type", "text/plain;charset=ISO-8859-1")], b"\xe9")
        self.assertEqual(latin.text(), "é")
        other = Part([("Content-Type", "text/plain;charset=rot13")], b"x")
        self.assertEqual(self.assertRaises(BadMime, other.text).status, 415)
        self.assertRaises(BadMime, Part([], b"\xff").text)

    def test_limits(self) -> None:
        self.assertRaises(BadMime, Part.parse, b"A: " + b"b" * 20_000)
        self.assertRaises(BadMime, Part.parse, b"A: b\r\n" * (HEADERS + 1))

    def test_our_own_defects(self) -> None:
        """A line break cannot be smuggled into a header."""
        self.assertRaises(UsageError, Part([("A", "b\r\nC: d")], b"").to_bytes)
        self.assertRaises(UsageError, Part([("A B", "b")], b"").to_bytes)


class ParamsTests(SynchronousTestCase):
    @given(kind=tokens, params=st.dictionaries(tokens, st.text(max_size=8), max_size=3))
    def test_write_then_parse(self, kind: str, params: dict[str, str]) -> None:
        self.assertEqual(parse_params(write_params(kind, params)), (kind, params))

    def test_refused(self) -> None:
        for value in ("", ";a=b", "text/plain; a", "text/plain; a=b; A=c", 'a; b="c', "a b"):
            self.assertRaises(BadMime, parse_params, value)

    def test_tolerated(self) -> None:
        """A semicolon at the end says nothing and harms nothing."""
        self.assertEqual(parse_params("text/plain; charset=x ; "), ("text/plain", {"charset": "x"}))
