"""omaim/bodies/file_selector.py: RFC 5547."""

from __future__ import annotations

import hashlib
from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.file_selector import (
    ATTACHMENT,
    HASHES,
    MISUSED,
    NAME_SIZE,
    RENDER,
    REPEAT,
    SHA1,
    START,
    FileSelector,
    FileTransfer,
    judge,
    read_file,
    safe_name,
)
from omaim.bodies.sdp import BadMedia, Media, SessionDescription
from omaim.errors import PeerError
from omaim.testing.strategies import mutated, tokens

VECTORS = Path(__file__).parents[1] / "vectors" / "sdp"
PICTURE = bytes.fromhex("72245FE8653DDAF371362F86D471913EE4A2CE2E")
MEDIUM = "m=message 7654 TCP/MSRP *"

names = st.text(max_size=12)
sizes = st.none() | st.integers(0, 2**63 - 1)
types = st.sampled_from(["", "image/jpeg", "text/plain", "application/vnd.x+xml"])
hashes = st.lists(
    st.tuples(st.sampled_from([SHA1, "sha-256"]), st.binary(min_size=1, max_size=32)), max_size=3
).map(tuple)
selectors = st.builds(
    lambda name, size, kind, params, found: FileSelector(
        name, size, kind, tuple(params) if kind else (), found
    ),
    names,
    sizes,
    types,
    st.lists(st.tuples(st.sampled_from(["charset", "format"]), names), max_size=2),
    hashes,
)
dates = st.none() | st.integers(-(10**9), 10**10).map(float)
ranges = st.sampled_from([(1, None), (1, 5), (6, None), (1, 0), (7, 7), (2**62, 2**63 - 1)])
transfers = st.builds(
    lambda selector, id, disposition, one, two, three, icon, span: FileTransfer(
        selector, id, disposition, one, two, three, icon, *span
    ),
    selectors,
    st.just("") | tokens(),
    st.sampled_from(["", RENDER, ATTACHMENT]),
    dates,
    dates,
    dates,
    st.sampled_from(["", "id2@alicepc.example.com", "a b%é"]),
    ranges,
)


def parsed(*lines: str) -> FileTransfer:
    found = read_file(Media((MEDIUM, *lines)))
    assert found is not None
    return found


def figure(number: int) -> FileTransfer:
    data = (VECTORS / f"rfc5547-figure{number:02}.sdp").read_bytes()
    found = read_file(SessionDescription.parse(data).media[0])
    assert found is not None
    return found


class FormatTests(SynchronousTestCase):
    @given(one=transfers)
    def test_write_then_read(self, one: FileTransfer) -> None:
        self.assertEqual(parsed(*one.lines()), one)

    @given(value=st.text(max_size=60) | mutated([b'name:"a%20b" size:5 hash:sha-1:0A:0b']))
    def test_junk(self, value: str | bytes) -> None:
        text = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
        for line in (f"a=file-selector:{text}", f"a=file-date:{text}", f"a=file-range:{text}"):
            try:
                found = parsed("a=file-selector:size:1", line)
                parsed("a=file-icon:" + text, *found.lines())
            except PeerError:
                pass

    def test_figure_2(self) -> None:
        """All attributes of RFC 5547's first example; 15:01:31 +0300 is 12:01:31 UTC."""
        found = figure(2)
        self.assertEqual(
            found,
            FileTransfer(
                FileSelector("My cool picture.jpg", 32349, "image/jpeg", (), ((SHA1, PICTURE),)),
                "vBnG916bdberum2fFEABR1FR3ExZMUrd",
                ATTACHMENT,
                created=1147694491.0,
                icon="id2@alicepc.example.com",
                first=1,
                last=32349,
            ),
        )
        self.assertTrue(found.whole)
        self.assertIn('creation:"Mon, 15 May 2006 12:01:31 +0000"', " ".join(found.lines()))

    def test_examples(self) -> None:
        """Every example is read, and written means the same."""
        paths = sorted(VECTORS.glob("rfc5547-*.sdp"))
        self.assertEqual(len(paths), 8)
        for path in paths:
            [media] = SessionDescription.parse(path.read_bytes()).media
            found = read_file(media)
            assert found is not None
            self.assertEqual(parsed(*found.lines()), found)
        self.assertFalse(figure(24).selector)

    def test_names(self) -> None:
        """What a name must not hold is percent-encoded, as are directories (RFC 5547 §6)."""
        self.assertEqual(str(FileSelector('a"b%c/d\\é\r\n')), 'name:"a%22b%25c%2Fd%5Cé%0D%0A"')
        for text, name in (
            ('name:"a%20b"', "a b"),
            ('name:"50%"', "50%"),
            ('name:"a:b c" size:1', "a:b c"),
            ('name:"%ff"', "\N{REPLACEMENT CHARACTER}"),
            ("name:bare", "bare"),
            ('size:1 name:"', ""),
        ):
            self.assertEqual(FileSelector.parse(text).name, name)

    def test_types(self) -> None:
        """Parameters are re-encoded (RFC 5547 §6, ft-parameter)."""
        found = FileSelector.parse('type:Text/Plain;Charset="UTF-8";format=flowed;name="a%22 b"')
        self.assertEqual(found.type, "text/plain")
        self.assertEqual(
            found.params, (("charset", "UTF-8"), ("format", "flowed"), ("name", 'a" b'))
        )

    def test_hashes(self) -> None:
        """Several may come, in any case; written in upper case (RFC 5547 §6)."""
        found = FileSelector.parse("hash:SHA-1:0a:0B hash:sha-256:00 other:x")
        self.assertEqual(found.hashes, (("sha-1", b"\x0a\x0b"), ("sha-256", b"\0")))
        self.assertEqual(str(found), "hash:sha-1:0A:0B hash:sha-256:00")
        many = FileSelector.parse("hash:sha-1:00 " * 20)
        self.assertEqual(len(many.hashes), HASHES)

    def test_refused(self) -> None:
        for lines in (
            ["a=file-selector:size:x"],
            ["a=file-selector:size:-1"],
            ["a=file-selector:size:" + "9" * 19],
            ["a=file-selector:type:image"],
            ["a=file-selector:type:a/b;"],
            ["a=file-selector:hash:sha-1"],
            ["a=file-selector:hash:sha-1:0"],
            ["a=file-selector:hash:sha 1:00"],
            ["a=file-selector:size:1", "a=file-transfer-id:a b"],
            ["a=file-selector:size:1", "a=file-range:0-5"],
            ["a=file-selector:size:1", "a=file-range:5"],
            ["a=file-selector:size:1", "a=file-range:5-3"],
            ["a=file-selector:size:1", "a=file-range:1-" + "9" * 19],
        ):
            error = self.assertRaises(BadMedia, read_file, Media((MEDIUM, *lines)))
            self.assertEqual(error.status, 488)

    def test_dates(self) -> None:
        """A date that is none is overlooked; the first of a kind counts."""
        for text, seconds in (
            ('creation:"Thu, 01 Jan 1970 00:00:10 +0000"', 10.0),
            ('creation:"1 Jan 1970 01:00 +0100"', 0.0),
            ('creation:"1 Jan 1970 00:00:00 -0030"', 1800.0),
            ('creation:"1 Jan 1970 00:00:00 GMT"', 0.0),
            ('creation:"1 Jan 1970 00:00:60 +0000" creation:"2 Jan 1970 0:0 GMT"', 59.0),
            ('creation:"31 Feb 1970 00:00:00 GMT"', None),
            ('creation:"1 Jan 1970 00:00:00 +2399"', None),
            ('creation:"1 Foo 1970 00:00:00 GMT"', None),
            ('creation:"1 Jan 0000 00:00:00 GMT"', None),
            ("creation:now", None),
        ):
            one = parsed("a=file-selector:size:1", "a=file-date:" + text)
            self.assertEqual(one.created, seconds, text)

    def test_none(self) -> None:
        self.assertIsNone(read_file(Media((MEDIUM, "a=file-range:1-5"))))


class SelectionTests(SynchronousTestCase):
    FILE = FileSelector(
        "a.txt", 3, "text/plain", (), ((SHA1, hashlib.sha1(b"abc").digest()), ("sha-256", b"x"))
    )

    def test_selects(self) -> None:
        """Each selector has to match (RFC 5547 §5)."""
        for selector, expected in (
            (FileSelector(), True),
            (FileSelector(name="a.txt"), True),
            (FileSelector(name="A.txt"), False),
            (FileSelector(size=3, type="text/plain"), True),
            (FileSelector(size=4), False),
            (FileSelector(type="image/png"), False),
            (FileSelector(hashes=self.FILE.hashes[:1]), True),
            (FileSelector(hashes=((SHA1, b"y"), ("sha-256", b"x"))), True),
            (FileSelector(hashes=((SHA1, b"y"),)), False),
            (FileSelector(name="b.txt", hashes=self.FILE.hashes), False),
        ):
            self.assertEqual(selector.selects(self.FILE), expected, selector)

    def test_flaw(self) -> None:
        """Size and hash are checked when a file has arrived (RFC 5547 §8.3.1)."""
        digests = {SHA1: hashlib.sha1(b"abc").digest()}
        self.assertEqual(self.FILE.flaw(3, digests), "")
        self.assertIn("octets", self.FILE.flaw(2, digests))
        self.assertIn("hash", self.FILE.flaw(3, {SHA1: b"other"}))
        self.assertEqual(self.FILE.flaw(3, {}), "")
        self.assertEqual(FileSelector(name="a").flaw(3, digests), "")

    @given(one=selectors, other=selectors)
    def test_contradiction(self, one: FileSelector, other: FileSelector) -> None:
        self.assertEqual(one.contradicts(other), other.contradicts(one))
        self.assertFalse(one.contradicts(FileSelector()))

    def test_judge(self) -> None:
        """RFC 5547 §8.1, Figure 3."""
        known = {"id1": FileSelector(name="a", size=5)}
        more = FileSelector(name="a", size=5, hashes=((SHA1, b"x"),))
        for id, selector, expected in (
            ("id2", FileSelector(name="a", size=5), START),
            ("id2", FileSelector(name="b"), START),
            ("id1", FileSelector(name="a", size=5), REPEAT),
            ("id1", more, REPEAT),
            ("id1", FileSelector(name="a", size=6), MISUSED),
            ("", FileSelector(name="a", size=5), START),
        ):
            self.assertEqual(judge(FileTransfer(selector, id), known), expected)


class TransferTests(SynchronousTestCase):
    def test_accepted(self) -> None:
        """Name, type, size, identifier and range are copied; the rest is not (RFC 5547 §8.3.1)."""
        answer = figure(8).accepted()
        self.assertEqual(answer, figure(9))
        part = attrs.evolve(figure(8), first=5, last=10)
        self.assertTrue(part.accepted().same_range(part))

    def test_provided(self) -> None:
        """A hash and type of ours, no name and size (RFC 5547 §8.3.2, Figure 16)."""
        file = FileSelector("x.jpg", 4092, "image/jpeg", (), ((SHA1, PICTURE),))
        self.assertEqual(figure(15).provided(file), figure(16))
        self.assertEqual(figure(15).provided(FileSelector("x")).selector, figure(15).selector)

    def test_resumed(self) -> None:
        """What is left is a transfer of its own (RFC 5547 §8.1)."""
        again = figure(8).resumed(1000, "new")
        self.assertEqual((again.id, again.first, again.last), ("new", 1001, 4092))
        self.assertIn("a=file-range:1001-4092", again.lines())
        self.assertFalse(again.whole)
        self.assertEqual(again.selector, figure(8).selector)

    def test_same_range(self) -> None:
        sized = FileTransfer(FileSelector(size=10))
        for one, other, expected in (
            (sized, attrs.evolve(sized, last=10), True),
            (sized, attrs.evolve(sized, last=9), False),
            (sized, attrs.evolve(sized, first=2), False),
            (FileTransfer(FileSelector()), attrs.evolve(sized, last=10), True),
            (FileTransfer(FileSelector()), FileTransfer(FileSelector(), last=10), False),
        ):
            self.assertEqual(one.same_range(other), expected)
            self.assertEqual(other.same_range(one), expected)


class NameTests(SynchronousTestCase):
    def test_names(self) -> None:
        for name, safe in (
            ("picture.jpg", "picture.jpg"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("C:\\boot.ini", "C__boot.ini"),
            (".profile", "profile"),
            ("..", "file"),
            ("", "file"),
            ("///", "file"),
            ("a\0b\n", "a_b_"),
            ("CON", "_CON"),
            ("lpt1.txt", "_lpt1.txt"),
            ("invoice\u202egpj.exe", "invoice_gpj.exe"),
            ("Ünïcode 文.txt", "Ünïcode 文.txt"),
        ):
            self.assertEqual(safe_name(name), safe)
        self.assertEqual(safe_name("..", "other"), "other")

    @given(name=st.text(max_size=400) | st.text("./\\\0é.a ", max_size=300))
    def test_always_safe(self, name: str) -> None:
        """Whatever a peer calls its file, it stays one name in one directory."""
        safe = safe_name(name)
        self.assertTrue(safe)
        self.assertLessEqual(len(safe.encode()), NAME_SIZE)
        self.assertNotIn(safe[0], ". ")
        self.assertFalse(set(safe) & {"/", "\\", "\0", "\n", ":"})
        self.assertEqual(safe_name(safe), safe)

    def test_extension_stays(self) -> None:
        safe = safe_name("é" * 300 + ".jpeg")
        self.assertTrue(safe.endswith("é.jpeg"))
        self.assertLessEqual(len(safe.encode()), NAME_SIZE)
