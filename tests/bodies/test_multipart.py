"""omaim/bodies/multipart.py: RFC 2046 §5.1."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.mime import Part
from omaim.bodies.multipart import BadMultipart, Multipart, is_multipart, leaves, parse_multipart
from omaim.errors import PeerError, UsageError
from tests.bodies.test_mime import parts

multiparts = st.builds(
    Multipart,
    st.sampled_from(["mixed", "related", "alternative"]),
    st.lists(parts, min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(["start", "type"]), st.text("ab<>", max_size=4), max_size=2),
)


def body(*lines: str) -> bytes:
    return "\r\n".join(lines).encode()


class MultipartTests(SynchronousTestCase):
    @given(whole=multiparts)
    def test_write_then_parse(self, whole: Multipart) -> None:
        """What is written is read back the same."""
        self.assertEqual(parse_multipart(*whole.write()), whole)

    @given(whole=multiparts, other=multiparts)
    def test_nested(self, whole: Multipart, other: Multipart) -> None:
        """A multipart inside another keeps its parts, in the order of the document."""
        nested = Multipart("mixed", [whole.as_part([]), *other.parts, other.as_part([])])
        found = leaves(*nested.write())
        self.assertEqual(found, [*whole.parts, *other.parts, *other.parts])

    @given(
        data=st.lists(
            st.sampled_from([b"--b", b"--b--", b"\r\n", b"A: b", b"\r\n\r\n", b" ", b"--bb", b"x"]),
            max_size=12,
        ).map(b"".join)
    )
    def test_junk(self, data: bytes) -> None:
        """Any octets are a multipart or a PeerError."""
        try:
            parse_multipart("multipart/mixed;boundary=b", data)
        except PeerError:
            pass

    def test_around_the_parts(self) -> None:
        """Preamble, epilogue and padding are no parts (RFC 2046 §5.1.1)."""
        data = body("before", "--b  ", "A: b", "", "one", "--b\t", "", "two", "--b--  ", "--b", "x")
        found = parse_multipart('multipart/MIXED; boundary="b"', data)
        self.assertEqual(found.parts, [Part([("A", "b")], b"one"), Part([], b"two")])
        self.assertEqual(found.subtype, "mixed")

    def test_longer_boundary(self) -> None:
        """A line that only begins like the delimiter belongs to the part."""
        found = parse_multipart("multipart/mixed;boundary=b", body("--b", "", "--bc", "--b--"))
        self.assertEqual(found.parts, [Part([], b"--bc")])

    def test_empty_part(self) -> None:
        found = parse_multipart("multipart/mixed;boundary=b", body("--b", "--b", "", "", "--b--"))
        self.assertEqual(found.parts, [Part([], b""), Part([], b"")])

    def test_refused(self) -> None:
        for content_type, data in (
            ("text/plain;boundary=b", b"--b\r\n\r\n--b--"),
            ("multipart/mixed", b"--b\r\n\r\n--b--"),
            ("multipart/mixed;boundary=''(\n)", b"--b\r\n\r\n--b--"),
            ("multipart/mixed;boundary=" + "b" * 71, b""),
            ("multipart/mixed;boundary=b", b""),
            ("multipart/mixed;boundary=b", b"--b--"),
            ("multipart/mixed;boundary=b", b"--b\r\n\r\nhello"),
        ):
            self.assertRaises(PeerError, parse_multipart, content_type, data)

    def test_limits(self) -> None:
        """Too many parts and too deep a nest are refused."""
        many = b"--b\r\n\r\n\r\n" * 11 + b"--b--"
        parse_multipart("multipart/mixed;boundary=b", many, 11)
        self.assertRaises(BadMultipart, parse_multipart, "multipart/mixed;boundary=b", many, 10)
        part = Part([("Content-Type", "text/plain")], b"x")
        for _ in range(3):
            part = Multipart("mixed", [part]).as_part([])
        self.assertEqual(len(leaves(part.content_type, part.content, 3)), 1)
        self.assertRaises(BadMultipart, leaves, part.content_type, part.content, 2)

    def test_views(self) -> None:
        """Parts are found by disposition, type and Content-ID; "start" names the root."""
        one = Part([("Content-ID", "<1@x>"), ("Content-Disposition", "recipient-list")], b"")
        two = Part([("Content-ID", "<2@x>"), ("Content-Type", "a/b")], b"")
        whole = Multipart("related", [one, two], {"start": "<2@x>"})
        self.assertEqual(whole.with_disposition("recipient-list"), [one])
        self.assertEqual(whole.with_type("a/b"), [two])
        self.assertIs(whole.root(), two)
        self.assertIs(Multipart("related", [one, two]).root(), one)
        self.assertIsNone(whole.by_id("3@x"))
        self.assertRaises(BadMultipart, Multipart("related", [one], {"start": "<9>"}).root)
        self.assertTrue(is_multipart(" Multipart/Mixed"))
        self.assertFalse(is_multipart("text/plain"))

    def test_our_own_defects(self) -> None:
        """A boundary that a part holds, or an empty multipart, is not written."""
        part = Part([], b"--x")
        self.assertRaises(UsageError, Multipart("mixed", [part]).write, "x")
        self.assertRaises(UsageError, Multipart("mixed", [part]).write, "\r")
        self.assertRaises(UsageError, Multipart("mixed", [part]).write, "é")
        self.assertRaises(UsageError, Multipart("mixed", []).write)
