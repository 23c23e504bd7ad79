"""Cutting a stream into frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.msrp import ABORTED, LAST, MORE, FrameLimits, FrameParser, MsrpUri, parse_path
from omaim.msrp.frame import ByteRange, Head, Status, write_request, write_response
from omaim.testing.strategies import byte_ranges, msrp_frames, mutated, splits
from tests.msrp.support import heads, parts

VECTORS = Path(__file__).parents[1] / "vectors" / "msrp"
MANIFEST: list[dict[str, Any]] = json.loads((VECTORS / "manifest.json").read_text())
FILES = sorted(path.read_bytes() for path in VECTORS.glob("*.msrp"))
# RFC 4975 §5.1 leaves the paths out of its two chunks.
PATHLESS = {"dkei38sd", "dkei38ia"}

SEND = (
    b"MSRP abcd SEND\r\nTo-Path: msrp://b.example:9/y;tcp\r\nFrom-Path: msrp://a.example:9/x;tcp\r\n"
    b"Message-ID: 12345\r\nContent-Type: text/plain\r\n\r\nhello\r\n-------abcd$\r\n"
)
PING = (
    b"MSRP abcd SEND\r\nTo-Path: msrp://b.example:9/y;tcp\r\nFrom-Path: msrp://a.example:9/x;tcp\r\n"
    b"Message-ID: 12345\r\n-------abcd$\r\n"
)


def summary(pieces: list[bytes]) -> tuple[list[Any], str]:
    """Return the frames that come of pieces, with their bodies joined, and why none came more."""
    parser = FrameParser(FrameLimits())
    frames: list[Any] = []
    for piece in pieces:
        for part in parser.feed(piece):
            head = part.head
            if part.first:
                frames.append([head.transaction, head.method, head.status, head.lines, head.wrong])
                frames[-1] += [head.has_body, b"", 0]
            assert frames[-1][-1] == 0
            frames[-1][-2] += part.data
            frames[-1][-1] = part.flag
    return frames, parser.broken


class VectorTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """The examples of RFC 4975, 4976 and 7701 are read as printed (repaired ones too)."""
        seen = 0
        for path in sorted(VECTORS.glob("*.msrp")):
            entry = next(
                one for one in MANIFEST if path.name.removesuffix(".msrp").startswith(one["name"])
            )
            data = path.read_bytes()
            found = parts(data)
            self.assertEqual(len(found), 1, path.name)
            part = found[0]
            head = part.head
            self.assertEqual(head.transaction.decode(), entry["transaction"], path.name)
            if entry["transaction"] in PATHLESS and "s5.1" in path.name and "4975" in path.name:
                self.assertIn("To-Path", head.check(), path.name)
                continue
            self.assertEqual(head.check(), "", path.name)
            if ".fixed" not in path.name:
                self.assertEqual(chr(part.flag), entry["flag"], path.name)
            if entry.get("body_octets") is not None and ".fixed" not in path.name:
                self.assertEqual(len(part.data), entry["body_octets"], path.name)
            for uri in parse_path(head.to_path.decode()) + parse_path(head.from_path.decode()):
                self.assertEqual(MsrpUri.parse(str(uri)), uri)
            field = head.get(b"Byte-Range")
            if ".fixed" in path.name and field is not None:
                span = ByteRange.parse(field)
                if span.end >= 0 and head.method == b"SEND":
                    self.assertEqual(span.end - span.start + 1, len(part.data), path.name)
            seen += 1
        self.assertGreater(seen, 45)

    def test_split(self) -> None:
        """An example that comes octet by octet is the same."""
        for data in FILES:
            whole = summary([data])
            self.assertEqual(summary([data[at : at + 1] for at in range(len(data))]), whole)


class FramingTests(SynchronousTestCase):
    def test_empty_body(self) -> None:
        """An empty body is one, no body is none (RFC 4975 §7.1)."""
        empty = SEND.replace(b"hello", b"")
        sloppy = SEND.replace(b"hello\r\n", b"")
        for data in (empty, sloppy):
            for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
                frames, _ = summary(pieces)
                self.assertEqual(frames[0][-3:], [True, b"", LAST])
        self.assertEqual(summary([PING])[0][0][-3:], [False, b"", LAST])

    def test_flags(self) -> None:
        """Each flag ends a frame (RFC 4975 §7.1)."""
        for letter, flag in ((b"$", LAST), (b"+", MORE), (b"#", ABORTED)):
            self.assertEqual(parts(SEND.replace(b"abcd$", b"abcd" + letter))[0].flag, flag)
        self.assertEqual(parts(SEND.replace(b"abcd$", b"abcd!"))[-1].flag, 0)

    def test_end_line_of_another(self) -> None:
        """Only the own transaction's end-line ends a frame."""
        body = (
            b"\r\n-------abce$\r\n-------abcd\r\n-------abcd$x\r\n-------abcdd$\r\nMSRP abcd SEND"
        )
        self.assertEqual(summary([SEND.replace(b"hello", body)])[0][0][-2], body)

    def test_body_is_not_held(self) -> None:
        """Of a large body nothing stays but what may be an end-line (RFC 4975 §7.3.1)."""
        parser = FrameParser(FrameLimits())
        start = SEND[: SEND.index(b"hello")]
        parser.feed(start)
        piece = b"x" * 65536
        self.assertEqual(parser.feed(piece)[0].data, piece)
        for _ in range(4):
            self.assertIs(parser.feed(piece)[0].data, piece)
        self.assertEqual(parser.feed(b"abc\r\n---")[0].data, b"abc")
        self.assertEqual(parser.feed(b"-x")[0].data, b"\r\n----x")
        self.assertEqual(parser.feed(b"\r\n-------abcd+\r\n")[0].flag, MORE)
        self.assertFalse(parser.unfinished)

    def test_idents(self) -> None:
        """Transaction identifiers have 4 to 32 characters (RFC 4975 §9)."""
        for name in (b"a234", b"a" * 32, b"a.-+%=z"):
            self.assertEqual(heads(SEND.replace(b"abcd", name))[0].transaction, name)
        for name in (b"abc", b"a" * 33, b".abc", b"ab:c", b""):
            self.assertEqual(summary([SEND.replace(b"abcd", name)])[1], "not MSRP", name)

    def test_junk(self) -> None:
        """What is not MSRP ends the stream at once."""
        for data in (b"GET / HTTP/1.1\r\n", b"SIP", b"MSRP", b"M" * 600, b"msrp abcd SEND\r\n"):
            parser = FrameParser(FrameLimits())
            parser.feed(data)
            self.assertEqual(bool(parser.broken), data != b"MSRP", data)
            self.assertEqual(parser.feed(SEND) and data != b"MSRP", [])

    def test_large_heads(self) -> None:
        """A long line is borne, a head that does not end is not, nor too many fields."""
        long = SEND.replace(b"Message-ID", b"X-Long: " + b"x" * 9000 + b"\r\nMessage-ID")
        self.assertEqual(heads(long)[0].check(), "")
        endless = b"MSRP abcd SEND\r\n" + b"X: y\r\n" * 4000
        self.assertEqual(summary([endless])[1], "the head is too large")
        parser = FrameParser(FrameLimits())
        for at in range(0, len(endless), 100):
            parser.feed(endless[at : at + 100])
        self.assertEqual(parser.broken, "the head is too large")
        many = b"".join(b"X%d: yyyyyyyyyyyyyy\r\n" % number for number in range(70))
        head = heads(SEND.replace(b"Message-ID", many + b"Message-ID"))[0]
        self.assertEqual(head.wrong, "the head has too many fields")

    def test_line_ends_between(self) -> None:
        """Line ends between frames are skipped."""
        self.assertEqual(len(heads(b"\r\n\r\n" + PING + b"\r\n" + SEND)), 2)

    def test_octets_shown(self) -> None:
        """Who watches sees all octets of all frames, in order."""
        for size in (1, 7, 50, 1000):
            seen: list[bytes] = []
            parser = FrameParser(FrameLimits(), seen.append)
            data = PING + SEND + PING
            for at in range(0, len(data), size):
                parser.feed(data[at : at + size])
            self.assertEqual(b"".join(seen), data)
        self.assertEqual(seen, [PING, SEND, PING])

    @given(st.data())
    def test_any_split(self, data: st.DataObject) -> None:
        """However the octets are cut, the same frames come out."""
        frames = data.draw(st.lists(msrp_frames(), min_size=1, max_size=4))
        whole = b"".join(frames)
        found, broken = summary(data.draw(splits(whole)))
        self.assertEqual((found, broken), summary([whole]))
        self.assertEqual((len(found), broken), (len(frames), ""))

    @given(st.data())
    def test_spoiled(self, data: st.DataObject) -> None:
        """Spoiled frames raise nothing, and come out alike however they are cut."""
        spoiled = data.draw(mutated([*FILES, SEND, PING, SEND + PING]))
        pieces = data.draw(splits(spoiled))
        found, broken = summary(pieces)
        self.assertEqual((found, broken), summary([spoiled]))
        for head in heads(spoiled):
            head.check()

    @given(msrp_frames())
    def test_read_and_written(self, frame: bytes) -> None:
        """write(parse(x)) == x."""
        part = parts(frame)[0]
        head = part.head
        self.assertEqual(head.check(), "")
        if head.status:
            again = write_response(
                head.transaction,
                head.status,
                head.comment.decode("utf-8"),
                head.to_path,
                head.from_path,
            )
        else:
            more = b"".join(
                name + b": " + value + b"\r\n"
                for name, value in head.fields.items()
                if name not in (b"To-Path", b"From-Path")
            )
            again = write_request(
                head.transaction,
                head.method,
                head.to_path,
                head.from_path,
                more,
                part.data if head.has_body else None,
                bytes([part.flag]),
            )
        if head.comment or not head.status:
            self.assertEqual(again, frame)


class HeadTests(SynchronousTestCase):
    def wrong(self, data: bytes) -> str:
        head = heads(data)[0]
        return head.check()

    def test_order(self) -> None:
        """To-Path, From-Path, others, Content-Type before a body (RFC 4975 §7.1, §9)."""
        self.assertEqual(self.wrong(SEND), "")
        swapped = SEND.replace(b"To-Path", b"X").replace(b"From-Path", b"To-Path")
        self.assertIn("do not come first", self.wrong(swapped.replace(b"X:", b"From-Path:")))
        late = SEND.replace(b"Message-ID: 12345\r\nContent-Type: text/plain\r\n", b"%b")
        late = late % b"Content-Type: text/plain\r\nMessage-ID: 12345\r\n"
        self.assertIn("Content-Type is not the last", self.wrong(late))
        self.assertIn(
            "Content-Type is not the last",
            self.wrong(SEND.replace(b"Content-Type: text/plain\r\n", b"")),
        )
        typed = PING.replace(b"\r\n-------", b"\r\nContent-Type: text/plain\r\n-------")
        self.assertIn("no body", self.wrong(typed))

    def test_spaces(self) -> None:
        """One space behind the colon, and no folding (RFC 4975 §9)."""
        self.assertIn("no header field", self.wrong(SEND.replace(b"Message-ID: ", b"Message-ID:")))
        self.assertIn("no header field", self.wrong(SEND.replace(b"12345\r\n", b"12\r\n 345\r\n")))
        self.assertIn("no header field", self.wrong(SEND.replace(b"Message-ID", b"Message ID")))

    def test_twice(self) -> None:
        """A field stands once."""
        twice = SEND.replace(b"Message-ID", b"Message-ID: 1234\r\nMessage-ID")
        self.assertIn("twice", self.wrong(twice))

    def test_case(self) -> None:
        """Names of fields have no case (RFC 4234 §2.3)."""
        head = heads(SEND.replace(b"To-Path", b"TO-PATH").replace(b"Message-ID", b"message-id"))[0]
        self.assertEqual(head.check(), "")
        self.assertEqual(head.to_path, b"msrp://b.example:9/y;tcp")
        self.assertEqual(head.get(b"Message-ID"), b"12345")

    def test_octets(self) -> None:
        """Fields are UTF-8 without control characters (RFC 4975 §9)."""
        self.assertIn("UTF-8", self.wrong(SEND.replace(b"12345", b"12\xff45")))
        self.assertIn("control", self.wrong(SEND.replace(b"12345", b"12\n345")))
        self.assertIn("control", self.wrong(SEND.replace(b"12345", b"12\x00345")))

    def test_request_lines(self) -> None:
        """A method is in capitals, and nothing comes behind (RFC 4975 §9)."""
        for line in (b"send", b"SEND x", b"SE.ND", b"20", b"2000"):
            self.assertIn("request line", self.wrong(SEND.replace(b"abcd SEND", b"abcd " + line)))

    def test_responses(self) -> None:
        """A response has a code, and perhaps a comment."""
        data = write_response(b"abcd", 200, "", b"msrp://b:9/y;tcp", b"msrp://a:9/x;tcp")
        head = heads(data)[0]
        self.assertEqual((head.status, head.comment, head.is_request), (200, b"OK", False))
        head = heads(data.replace(b" OK", b""))[0]
        self.assertEqual((head.status, head.comment), (200, b""))
        self.assertEqual(head.from_path, b"msrp://a:9/x;tcp")

    def test_status(self) -> None:
        """Namespace, code, comment (RFC 4975 §9)."""
        status = Status.parse(b"000 413 Stop it")
        self.assertEqual((status.namespace, status.code, status.comment), ("000", 413, "Stop it"))
        self.assertEqual(Status.parse(b"000 200").comment, "")
        for text in (b"", b"000", b"0 200", b"000 20", b"000 200OK", b"abc 200"):
            self.assertRaises(PeerError, Status.parse, text)

    @given(byte_ranges())
    def test_ranges(self, span: ByteRange) -> None:
        """A Byte-Range is read as written."""
        self.assertEqual(ByteRange.parse(span.to_bytes()), span)

    def test_bad_ranges(self) -> None:
        """What counts from 0, ends before it begins or is no number is refused."""
        for text in (
            b"0-1/1",
            b"2-0/9",
            b"1-2",
            b"*-1/2",
            b"1-x/2",
            b"1-2/-3",
            b"1" * 21 + b"-*/*",
        ):
            self.assertRaises(PeerError, ByteRange.parse, text)
        self.assertEqual(ByteRange.parse(b"1-0/0"), ByteRange(1, 0, 0))
        self.assertEqual(repr(Head(b"abcd", b"SEND", 0, b"", b"", False)), "<Head b'abcd' b'SEND'>")
