"""omaim.sip.parser: datagrams, streams, limits, and what every message must have."""

from time import process_time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.sip.message import Request, Response
from omaim.sip.parser import (
    PONG,
    BadMessage,
    Limits,
    Ping,
    Pong,
    StreamParser,
    check,
    parse_datagram,
)
from omaim.testing import strategies

HEAD = (
    b"Via: SIP/2.0/TCP h;branch=z9hG4bKa\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n"
    b"Call-ID: c\r\nCSeq: 1 INFO\r\n"
)
GOOD = b"INFO sip:b@h SIP/2.0\r\n" + HEAD + b"Content-Length: 4\r\n\r\nbody"
SMALL = Limits(start_line=40, header_line=60, headers=8, head=300, body=10)


def with_line(line: bytes) -> bytes:
    return GOOD.replace(b"\r\nContent", b"\r\n" + line + b"\r\nContent", 1)


class DatagramTests(SynchronousTestCase):
    def bad(self, data: bytes, limits: Limits = SMALL) -> BadMessage:
        error = self.assertRaises(BadMessage, parse_datagram, data, limits)
        assert isinstance(error, BadMessage)
        return error

    def test_keep_alive(self) -> None:
        """CRLFs, NULs and nothing keep a path alive (RFC 5626 §3.5.1 is for streams)."""
        for data in (b"", b"\r\n", b"\r\n\r\n", b"\0\0\0\0", b"\r\n\0"):
            self.assertIsNone(parse_datagram(data))

    def test_leading_crlf(self) -> None:
        """CRLFs before the start line mean nothing (RFC 3261 §7.5)."""
        self.assertIsInstance(parse_datagram(b"\r\n\r\n" + GOOD), Request)

    def test_body(self) -> None:
        """Content-Length cuts; without it the datagram's end does (RFC 3261 §18.3)."""
        message = parse_datagram(GOOD + b"more")
        assert message is not None
        self.assertEqual(message.body, b"body")
        message = parse_datagram(GOOD.replace(b"Content-Length: 4\r\n", b"") + b"more")
        assert message is not None
        self.assertEqual(message.body, b"bodymore")
        self.assertIn(b"Content-Length: 8\r\n", message.to_bytes())

    def test_limits(self) -> None:
        """Each limit has its status: 414, 513, 413 (RFC 3261 §21.4.11, §21.4.15, §21.5.7)."""
        parse_datagram(GOOD, SMALL)
        for data, status in (
            (GOOD.replace(b"sip:b@h", b"sip:" + b"b" * 40 + b"@h", 1), 414),
            (with_line(b"X-Y: " + b"z" * 60), 513),
            (with_line(b"X: y\r\nX: y\r\nX: y"), 513),
            (
                with_line(
                    b"X-Y: " + b"z" * 50 + b"\r\n" + b"Y: " + b"z" * 50 + b"\r\nZ:" + b"z" * 56
                ),
                513,
            ),
            (GOOD.replace(b": 4", b": 11") + b"1234567", 413),
            (GOOD.replace(b"Content-Length: 4\r\n", b"") + b"1234567", 413),
        ):
            error = self.bad(data)
            self.assertEqual(error.status, status, data)
            assert error.request is not None
            self.assertEqual(error.request.response(status).call_id, "c")

    def test_not_sip(self) -> None:
        """What is no SIP is dropped: nothing to answer."""
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"hello", b"\x01\x01\0\x08!\x12\xa4B", b"\r\n\r\nx",
                     b"SIP/2.0 99 x\r\n\r\n", b"SIP/2.0 700 x\r\n\r\n", b"SIP/2.0 2x0 x\r\n\r\n",
                     b"SIP/3.0 200 OK\r\n\r\n", "SIP/2.0 ²00 OK\r\n\r\n".encode(),
                     "SIP/2.0 ٢٠٠ OK\r\n\r\n".encode()):  # fmt: skip
            self.assertIsNone(self.bad(data).request, data)

    def test_request_line(self) -> None:
        """Bad request lines are answered 400, other versions 505 (RFC 3261 §7.1, §21.5.6)."""
        for line, status in (
            (b"INFO  sip:b@h SIP/2.0", 400),
            (b"INFO sip:b@h SIP/2.0 ", 400),
            (b"INFO sip:b c@h SIP/2.0", 400),
            (b" INFO sip:b@h SIP/2.0", 400),
            (b"IN(O sip:b@h SIP/2.0", 400),
            (b"INFO sip:b@h SIP/3.0", 505),
            (b"INFO sip:b@h sip/1.0", 505),
        ):
            error = self.bad(GOOD.replace(b"INFO sip:b@h SIP/2.0", line))
            self.assertEqual(error.status, status, line)
            self.assertIsNotNone(error.request)

    def test_version_case(self) -> None:
        """The version has no case and is sent in capitals (RFC 3261 §7.1)."""
        message = parse_datagram(GOOD.replace(b"SIP/2.0\r", b"sip/2.0\r", 1))
        assert message is not None
        self.assertEqual(message.to_bytes(), GOOD)

    def test_line_ends(self) -> None:
        """A lone CR or LF could hide a header from us that others see: 400."""
        for sneaky in (b"X: y\nP-Asserted-Identity: <sip:x@y>", b"X: y\rz", b"X: y\n\r\nZ: z"):
            error = self.bad(with_line(sneaky))
            self.assertEqual(error.status, 400)
            assert error.request is not None
            self.assertFalse(error.request.has("P-Asserted-Identity"))
        self.assertEqual(self.bad(GOOD.replace(b"\r\n", b"\n"), Limits()).status, 400)

    def test_header_lines(self) -> None:
        """Bad names are refused, and the rest is still answerable (RFC 3261 §7.3)."""
        for line in (
            b"no colon",
            b": x",
            b"a b: c",
            b"\xc3\xa9: x",
            b"a(: b",
            b"\xff: x",
            b"X: \xff",
        ):
            error = self.bad(with_line(line))
            assert error.request is not None
            self.assertEqual((error.status, error.request.call_id), (400, "c"))
        error = self.bad(GOOD.replace(b"\r\nVia", b"\r\n X: y\r\nVia"))
        self.assertEqual(error.status, 400)

    def test_content_length(self) -> None:
        """A bad, doubled or too large Content-Length is a 400 (RFC 3261 §18.3)."""
        for text in (b"", b"-1", b"+4", b"x", b"4,4", b"4\r\nContent-Length: 4", b"0x4",
                     b"5", "٤".encode(), b"4" * 80):  # fmt: skip
            data = GOOD.replace(b"Content-Length: 4", b"Content-Length: " + text)
            error = self.bad(data, Limits())
            self.assertEqual(error.status, 400, text)
        self.assertIsNotNone(parse_datagram(GOOD.replace(b": 4\r", b":\r\n 4\t\r")))


class CheckTests(SynchronousTestCase):
    def bad(self, data: bytes) -> BadMessage:
        message = parse_datagram(data)
        assert message is not None
        error = self.assertRaises(BadMessage, check, message)
        assert isinstance(error, BadMessage)
        return error

    def test_good(self) -> None:
        """What has all it must is accepted (RFC 3261 §8.1.1)."""
        message = parse_datagram(GOOD)
        assert message is not None
        check(message)

    @given(message=strategies.messages())
    def test_generated(self, message: Request | Response) -> None:
        """Whatever good message is written passes."""
        again = parse_datagram(message.to_bytes())
        assert again is not None
        check(again)

    def test_missing(self) -> None:
        """Via, From, To, Call-ID and CSeq have to be there (RFC 3261 §8.1.1)."""
        for line in HEAD.split(b"\r\n")[:-1]:
            error = self.bad(GOOD.replace(line + b"\r\n", b"", 1))
            self.assertEqual(error.status, 400)
            self.assertIsNotNone(error.request)

    def test_twice(self) -> None:
        """Some headers may be there only once (RFC 3261 §7.3.1)."""
        for line in (b"f: <sip:x@h>", b"To: <sip:b@h>", b"i: c", b"CSeq: 1 INFO",
                     b"o: x\r\nEvent: x",
                     b"Max-Forwards: 1\r\nMax-Forwards: 1", b"Expires: 1\r\nExpires: 2",
                     b"c: a/b\r\nContent-Type: a/b"):  # fmt: skip
            self.assertEqual(self.bad(with_line(line)).status, 400)
        message = parse_datagram(with_line(b"Via: SIP/2.0/UDP h2\r\nm: <sip:x>\r\nm: <sip:y>"))
        assert message is not None
        check(message)

    def test_bad_values(self) -> None:
        """What routing and matching need is read (RFC 3261 §16.3)."""
        for old, new, status in (
            (b"1 INFO", b"1 INVITE", 400),
            (b"1 INFO", b"x INFO", 400),
            (b"1 INFO", b"4294967296 INFO", 400),
            (b"z9hG4bKa", b"z9hG4bK", 400),
            (b"SIP/2.0/TCP h", b"SIP/2.0/TCP h h", 400),
            (b"Call-ID: c", b"Call-ID: c d", 400),
            (b"Call-ID: c", b"Call-ID:", 400),
            (b"To: <sip:b@h>", b"To: <sip:b@h", 400),
            (b"From: <sip:a@h>;tag=1", b"From: a, b <sip:a@h>;tag=1", 400),
            (b"INFO sip:b@h", b"INFO sip:b@h?a=b", 400),
            (b"INFO sip:b@h", b"INFO sip:b@", 400),
            (b"INFO sip:b@h", b"INFO nonsense", 400),
            (b"INFO sip:b@h", b"NONSENSE sip:b@h", 501),
            (b"Content-Length", b"Max-Forwards: 300\r\nContent-Length", 400),
            (b"Content-Length", b"Max-Forwards: -1\r\nContent-Length", 400),
        ):
            error = self.bad(GOOD.replace(old, new, 1))
            self.assertEqual(error.status, status, new)
            self.assertIsNotNone(error.request)

    def test_response(self) -> None:
        """A bad response is nobody's to answer (RFC 4475 §3.1.2.5)."""
        data = GOOD.replace(b"INFO sip:b@h SIP/2.0", b"SIP/2.0 200 OK")
        message = parse_datagram(data)
        assert isinstance(message, Response)
        check(message)
        self.assertIsNone(self.bad(data.replace(b"1 INFO", b"x INFO")).request)


class StreamTests(SynchronousTestCase):
    @given(
        parts=st.lists(
            st.one_of(
                strategies.messages().map(lambda message: message.to_bytes()),
                st.sampled_from([b"\r\n", b"\r\n\r\n"]),
            ),
            max_size=4,
        ),
        more=st.data(),
    )
    def test_any_split(self, parts: list[bytes], more: st.DataObject) -> None:
        """However a stream is cut, the same messages come out, octet for octet."""
        data = b"".join(parts)
        parser = StreamParser()
        found: list[bytes] = []
        for piece in more.draw(strategies.splits(data)):
            for item in parser.feed(piece):
                assert not isinstance(item, BadMessage), item.why
                if isinstance(item, Request | Response):
                    found.append(item.to_bytes())
        self.assertEqual(found, [part for part in parts if part.strip()])
        self.assertFalse(parser.unfinished)

    def test_octet_by_octet(self) -> None:
        """One octet at a time is a split, too."""
        parser = StreamParser()
        items = [item for octet in GOOD * 3 for item in parser.feed(bytes([octet]))]
        self.assertEqual([type(item) for item in items], [Request] * 3)

    def test_keep_alives(self) -> None:
        """Two CRLFs are a ping, one is the pong we wait for (RFC 5626 §3.5.1)."""
        parser = StreamParser()
        self.assertEqual([type(item) for item in parser.feed(b"\r\n\r\n")], [Ping])
        self.assertEqual(parser.feed(b"\r\n"), [])
        self.assertEqual([type(item) for item in parser.feed(b"\r\n" + GOOD)], [Ping, Request])
        parser.expect_pong()
        self.assertEqual(parser.feed(b"\r"), [])
        self.assertEqual(parser.feed(b"\n"), [PONG])
        parser.expect_pong()
        items = parser.feed(b"\r\n\r\n\r\n" + GOOD)
        self.assertEqual([type(item) for item in items], [Pong, Ping, Request])
        self.assertEqual([type(item) for item in parser.feed(b"\r\n" + GOOD)], [Request])

    def test_half_ping_forgotten(self) -> None:
        """A lone CRLF before a message is nothing, and does not wait for another."""
        parser = StreamParser()
        parser.feed(b"\r\n" + GOOD)
        self.assertEqual(parser.feed(b"\r\n"), [])

    def test_fatal(self) -> None:
        """When the next message's begin is unknown, the stream is over (RFC 3261 §18.3)."""
        for data, status, answerable in (
            (GOOD.replace(b"Content-Length: 4\r\n", b""), 400, True),
            (GOOD.replace(b": 4", b": -4"), 400, True),
            (GOOD.replace(b": 4", b": 11"), 413, True),
            (with_line(b"X: " + b"y" * 300), 513, False),
            (b"x" * 400, 513, False),
            (b"GET / HTTP/1.1\r\n\r\n", 400, False),
        ):
            parser = StreamParser(SMALL)
            (item,) = parser.feed(data + GOOD)
            assert isinstance(item, BadMessage)
            self.assertEqual((item.status, item.fatal), (status, True), data)
            self.assertEqual(item.request is not None, answerable)
            self.assertTrue(parser.closed)
            self.assertEqual(parser.feed(GOOD), [])

    def test_not_fatal(self) -> None:
        """A bad message whose length is known is skipped."""
        parser = StreamParser()
        items = parser.feed(with_line(b"no colon") + GOOD)
        assert isinstance(items[0], BadMessage)
        self.assertFalse(items[0].fatal)
        self.assertIsInstance(items[1], Request)

    def test_bounded(self) -> None:
        """What waits is never more than the limits and one piece."""
        parser = StreamParser(SMALL)
        for _ in range(1000):
            parser.feed(b"xxxxxxxxxx")
        self.assertTrue(parser.closed)
        self.assertLessEqual(len(parser._buffer), 400)

    def test_unfinished(self) -> None:
        """It is known whether a message waits for more."""
        parser = StreamParser()
        self.assertFalse(parser.unfinished)
        parser.feed(GOOD[:9])
        self.assertTrue(parser.unfinished)
        parser.feed(GOOD[9:-4])
        self.assertTrue(parser.unfinished)
        parser.feed(GOOD[-4:])
        self.assertFalse(parser.unfinished)

    def test_held(self) -> None:
        """It is known how much is kept, head and body; and it can be forgotten."""
        parser = StreamParser()
        for place in range(len(GOOD) - 1):
            parser.feed(GOOD[place : place + 1])
            self.assertLessEqual(abs(parser.held - place - 1), 4)  # but for the empty line
        parser.feed(GOOD[-1:])
        self.assertEqual(parser.held, 0)
        parser.feed(GOOD[:-1])
        parser.discard()
        self.assertEqual((parser.held, parser.feed(GOOD)), (0, []))


class CostTests(SynchronousTestCase):
    def test_no_long_look(self) -> None:
        """No message of allowed size keeps us busy: each takes a moment."""
        spaces = b" " * 16000
        hostile = (
            b"A" + b" " * 8000 + b"x",
            b"A" + b" " * 4000 + b"x" + b" " * 4000 + b"SIP/2.0",
            with_line(b"Subject: " + spaces + b"x\r\n " + spaces),
            with_line(b"X:\r\n" + b" \r\n" * 15000 + b" y"),
            with_line(b"\r\n".join([b"X: y"] * 12000)),
            GOOD.replace(b"a@h>", b"a@h>" + b"".join(b";p%d" % i for i in range(3000))),
            GOOD.replace(b"b@h>", b"b@h" + b"".join(b";p%d" % i for i in range(3000)) + b">"),
            GOOD.replace(b"<sip:a", b'"' + b"\\" * 15999 + b"<sip:a"),
            GOOD.replace(b"<sip:a", b"<" * 16000 + b"sip:a"),
            GOOD.replace(b"TCP h", b"TCP " + b"a-" * 8000),
            GOOD.replace(b"TCP h", b"TCP [" + b":" * 8000 + b"]"),
            GOOD.replace(b"sip:b", b"tel:+" + b"1" * 8000 + b"x", 1),
            GOOD.replace(b"sip:b", b"sip:" + b"%41" * 2500, 1),
            with_line(b"Contact: " + b'"a"<sip:a>,' * 1400 + b"<sip:b>"),
            with_line(b"Contact: " + b'"' * 15999),
        )
        for data in hostile:
            start = process_time()
            try:
                message = parse_datagram(data)
                assert message is not None
                message.first("Subject")
                check(message)
                for address in (message.from_, message.to, *message.contacts):
                    address.uri.aor()
            except PeerError:
                pass
            self.assertLess(process_time() - start, 0.5, data[:60])
