"""omaim/bodies/sdp.py: RFC 8866, RFC 3264 §8."""

from __future__ import annotations

from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.sdp import (
    DIRECTIONS,
    INACTIVE,
    LINES,
    MEDIA,
    RECVONLY,
    SENDONLY,
    SENDRECV,
    SIZE,
    BadSdp,
    Connection,
    Media,
    Origin,
    SessionDescription,
    check_revision,
    revise,
)
from omaim.errors import PeerError, UsageError
from omaim.testing.strategies import mutated

VECTORS = Path(__file__).parents[1] / "vectors" / "msrp"

# RFC 8866 §5
EXAMPLE = b"""v=0\r
o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r
s=Call to John Smith\r
i=SDP Offer #1\r
u=http://www.jdoe.example.com/home.html\r
e=Jane Doe <jane@jdoe.example.com>\r
p=+1 617 555-6011\r
c=IN IP4 198.51.100.1\r
t=0 0\r
m=audio 49170 RTP/AVP 0\r
m=audio 49180 RTP/AVP 0\r
m=video 51372 RTP/AVP 99\r
c=IN IP6 2001:db8::2\r
a=rtpmap:99 h263-1998/90000\r
"""
# RFC 8866 §5.10, §5.11 with the letters that nobody uses
ALL_LETTERS = b"""v=0\r
o=- 1 2 IN IP6 2001:DB8::1\r
s=-\r
c=IN IP4 233.252.0.1/127\r
b=CT:100\r
t=3724394400 3730536000\r
r=604800 3600 0 90000\r
z=3730928400 -1h 3749680800 0\r
t=0 0\r
k=prompt\r
a=recvonly\r
m=message 2855/2 TCP/MSRP * other\r
i=title\r
c=IN IP4 192.0.2.1\r
c=IN IP4 192.0.2.2\r
b=AS:5\r
k=clear:secret\r
a=unheard-of:\xff\xfe\r
a=unheard-of\r
"""
HEAD = b"v=0\r\no=- 1 1 IN IP4 h.example\r\ns=-\r\n"
TAIL = b"c=IN IP4 h.example\r\nt=0 0\r\n"
MESSAGE = b"m=message 9 TCP/MSRP *\r\n"

parse = SessionDescription.parse

values = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1, max_size=12)
words = st.text("abcxyz019-._", min_size=1, max_size=6)
connections = st.one_of(
    st.ip_addresses(v=4).map(lambda ip: Connection(str(ip))),
    st.ip_addresses(v=6).map(lambda ip: Connection(str(ip), "IP6")),
    st.sampled_from(["a.example", "B.example", "x_y"]).map(Connection),
    st.just(Connection("47.0091.8100", "NSAP", "ATM")),
)
attributes = st.lists(
    st.one_of(
        st.tuples(words, values).map(lambda pair: f"a={pair[0]}:{pair[1]}"),
        words.map(lambda name: f"a={name}"),
        st.sampled_from([f"a={one}" for one in DIRECTIONS]),
    ),
    max_size=4,
)
media = st.builds(
    lambda kind, port, protocol, formats, title, where, lines: Media.make(
        kind, port, protocol, formats, title=title, connection=where, attributes=lines
    ),
    words,
    st.integers(0, 65535),
    st.sampled_from(["TCP/MSRP", "TCP/TLS/MSRP", "RTP/AVP"]),
    st.lists(words, min_size=1, max_size=3),
    st.just("") | values,
    st.none() | connections,
    attributes,
)
origins = st.builds(
    Origin, st.integers(0, 2**63).map(str), st.integers(0, 2**63), connections, words
)
descriptions = st.builds(
    lambda origin, found, name, where, lines: SessionDescription.make(
        origin, found, name=name, connection=where, attributes=lines
    ),
    origins,
    st.lists(media, max_size=3),
    values,
    st.none() | connections,
    attributes,
)


class FormatTests(SynchronousTestCase):
    @given(one=descriptions)
    def test_write_then_parse(self, one: SessionDescription) -> None:
        self.assertEqual(parse(one.to_bytes()), one)

    @given(data=st.binary(max_size=60) | mutated([EXAMPLE, ALL_LETTERS]))
    def test_junk(self, data: bytes) -> None:
        """Junk raises PeerError or is read; what is read can be asked and written back."""
        try:
            found = parse(data)
        except PeerError:
            return
        self.assertEqual(parse(found.to_bytes()), found)
        self.assertTrue(str(found.origin) and found.times and isinstance(found.name, str))
        for one in found.media:
            self.assertIn(found.direction_of(one), DIRECTIONS)
            self.assertTrue(one.kind and one.protocol and one.formats)
            self.assertEqual(one.refused().port, 0)
            self.assertIsInstance(one.title, str)

    def test_as_it_came(self) -> None:
        """What nobody touched is written as it came; ``k=`` is dropped (RFC 8866 §5.12)."""
        self.assertEqual(parse(EXAMPLE).to_bytes(), EXAMPLE)
        kept = ALL_LETTERS.replace(b"k=prompt\r\n", b"").replace(b"k=clear:secret\r\n", b"")
        self.assertEqual(parse(ALL_LETTERS).to_bytes(), kept)

    def test_fields(self) -> None:
        found = parse(EXAMPLE)
        self.assertEqual(
            found.origin,
            Origin("3724394400", 3724394405, Connection("198.51.100.1"), "jdoe"),
        )
        self.assertEqual(found.name, "Call to John Smith")
        self.assertEqual([one.port for one in found.media], [49170, 49180, 51372])
        video = found.media[2]
        self.assertEqual((video.kind, video.protocol, video.formats), ("video", "RTP/AVP", ("99",)))
        self.assertEqual(video.attribute("rtpmap"), "99 h263-1998/90000")
        self.assertIsNone(video.attribute("rtp"))
        self.assertEqual(found.connection_of(found.media[0]), Connection("198.51.100.1"))
        where = found.connection_of(video)
        assert where is not None
        self.assertEqual(where.host, "[2001:db8::2]")

    def test_rare_lines(self) -> None:
        found = parse(ALL_LETTERS)
        [one] = found.media
        self.assertEqual((one.port, one.formats, one.title), (2855, ("*", "other"), "title"))
        self.assertEqual(one.attributes("unheard-of"), ("\udcff\udcfe", ""))
        self.assertEqual(found.direction_of(one), RECVONLY)
        self.assertEqual(len(found.times), 4)
        self.assertEqual(found.connection, Connection("233.252.0.1/127"))
        assert found.connection is not None
        self.assertEqual(found.connection.host, "233.252.0.1")

    def test_charset(self) -> None:
        """``a=charset`` says what the name is written in (RFC 8866 §6.10)."""
        data = HEAD.replace(b"s=-", b"s=caf\xe9") + TAIL
        self.assertEqual(parse(data + b"a=charset:ISO-8859-1\r\n").name, "café")
        self.assertEqual(parse(data).name, "caf\N{REPLACEMENT CHARACTER}")

    def test_line_ends(self) -> None:
        """LF alone ends a line, too, and the last may have no end (RFC 8866 §5)."""
        for data in (EXAMPLE.replace(b"\r", b""), EXAMPLE[:-2], EXAMPLE + b"\r\n\r\n"):
            self.assertEqual(parse(data), parse(EXAMPLE))

    def test_rfc_examples(self) -> None:
        """The descriptions of RFC 4975 are whole; RFC 7701's lack ``t=``."""
        whole = [path for path in VECTORS.glob("*.sdp") if path.read_bytes()[:2] == b"v="]
        self.assertEqual(len(whole), 5)
        for path in whole:
            found = parse(path.read_bytes())
            self.assertEqual([one.kind for one in found.media], ["message"])
            self.assertEqual(found.name, "")
        for path in sorted(VECTORS.glob("rfc7701-s9.1-sip-*.sip")):
            body = path.read_bytes().replace(b"\r", b"").partition(b"\n\n")[2]
            self.assertEqual(parse(body).times, ("t=0 0",))

    def test_refused(self) -> None:
        """Missing, doubled, misplaced and broken lines (RFC 8866 §5, §9)."""
        for data in (
            b"",
            b"v=1\r\n" + HEAD[5:] + TAIL,
            HEAD[5:] + TAIL,
            b"v=0\r\ns=-\r\n" + TAIL,
            b"v=0\r\no=- 1 1 IN IP4 h\r\n" + TAIL,
            HEAD + b"t=0 0\r\nc=IN IP4 h\r\n",
            HEAD + b"s=-\r\n" + TAIL,
            HEAD + b"r=1 1 1\r\nt=0 0\r\n",
            HEAD + TAIL + b"y=0\r\n",
            HEAD + TAIL + b"A=0\r\n",
            HEAD + TAIL + b"a\r\n",
            HEAD + TAIL + b"a=\r\n",
            HEAD + TAIL + b"a=:x\r\n",
            HEAD + TAIL + b"a=x\ry\r\n",
            HEAD + TAIL + b"a=x\0y\r\n",
            HEAD + TAIL + b"\r\na=x\r\n",
            HEAD.replace(b"IN IP4 h.example", b"IN IP4") + TAIL,
            HEAD.replace(b"- 1 1", b"- x 1") + TAIL,
            HEAD.replace(b"- 1 1", b"- 1 -1") + TAIL,
            HEAD + b"c=IN IP4\r\nt=0 0\r\n",
            HEAD + b"c=IN IP6 2001::g\r\nt=0 0\r\n",
            HEAD + b"c=IN IP4 1.2.3.400\r\nt=0 0\r\n",
            HEAD + TAIL + b"m=message 1 TCP/MSRP\r\n",
            HEAD + TAIL + b"m=message 65536 TCP/MSRP *\r\n",
            HEAD + TAIL + b"m=message 1/0 TCP/MSRP *\r\n",
            HEAD + TAIL + MESSAGE + b"b=AS:1\r\nc=IN IP4 h\r\n",
            HEAD + TAIL + MESSAGE + b"i=a\r\ni=b\r\n",
            HEAD + b"t=0 0\r\n" + MESSAGE,
        ):
            self.assertRaises(BadSdp, parse, data)

    def test_limits(self) -> None:
        for data in (
            HEAD + TAIL + b"a=x\r\n" * LINES,
            HEAD + TAIL + b"a=" + b"x" * SIZE,
            HEAD + TAIL + MESSAGE * (MEDIA + 1),
        ):
            self.assertEqual(self.assertRaises(BadSdp, parse, data).status, 413)
        self.assertEqual(len(parse(HEAD + TAIL + MESSAGE * MEDIA).media), MEDIA)

    def test_not_writable(self) -> None:
        """What would be two lines is our defect, and is not sent."""
        origin = Origin("1", 1, Connection("h"))
        for name in ("a\r\nb", "a\nb", "\0", "\ud800"):
            made = SessionDescription.make(origin, name=name)
            self.assertRaises(UsageError, made.to_bytes)

    def test_connection(self) -> None:
        for host, line in (
            ("[2001:db8::1]", "IN IP6 2001:db8::1"),
            ("192.0.2.1", "IN IP4 192.0.2.1"),
            ("a.example", "IN IP4 a.example"),
        ):
            self.assertEqual(str(Connection.to(host)), line)
            self.assertEqual(Connection.to(host).host, host)


class ChangeTests(SynchronousTestCase):
    def test_attributes(self) -> None:
        one = parse(HEAD + TAIL + MESSAGE + b"a=x:1\r\na=y\r\na=x\r\na=xy:3\r\n").media[0]
        self.assertEqual(one.with_attribute("x", "2").lines[1:], ("a=x:2", "a=y", "a=xy:3"))
        self.assertEqual(one.with_attribute("z").lines[-1], "a=z")
        self.assertEqual(one.without_attribute("x").lines[1:], ("a=y", "a=xy:3"))

    def test_direction(self) -> None:
        """The medium overrides the session; nothing said is both ways (RFC 8866 §6.7)."""
        for session, medium, expected in (
            (b"", b"", SENDRECV),
            (b"a=inactive\r\n", b"", INACTIVE),
            (b"a=inactive\r\n", b"a=sendonly\r\n", SENDONLY),
        ):
            found = parse(HEAD + TAIL + session + MESSAGE + medium)
            self.assertEqual(found.direction_of(found.media[0]), expected)

    def test_refuse(self) -> None:
        """A refused line keeps its medium, protocol and formats (RFC 3264 §6)."""
        one = parse(ALL_LETTERS).media[0]
        self.assertEqual(
            one.refused(["unheard-of"]).lines,
            ("m=message 0 TCP/MSRP * other", "a=unheard-of:\udcff\udcfe", "a=unheard-of"),
        )


class RevisionTests(SynchronousTestCase):
    @given(one=descriptions, version=st.integers(0, 9))
    def test_unchanged(self, one: SessionDescription, version: int) -> None:
        """Nothing new, the same o= line (RFC 4975 §8.4), whatever version was wanted."""
        again = one.with_origin(attrs.evolve(one.origin, version=version))
        self.assertEqual(revise(one, again), one)
        self.assertFalse(check_revision(one, revise(one, again)))

    @given(one=descriptions, other=descriptions)
    def test_changed(self, one: SessionDescription, other: SessionDescription) -> None:
        """Something new, one version up, the rest of the o= line the same (RFC 3264 §8)."""
        wanted = attrs.evolve(other, media=(*one.media, *other.media))
        after = revise(one, wanted)
        self.assertTrue(after.origin.same_session(one.origin))
        changed = wanted.with_origin(one.origin) != one
        self.assertEqual(after.origin.version, one.origin.version + changed)
        self.assertEqual(check_revision(one, after), changed)

    def test_media_stay(self) -> None:
        """Media are never taken away (RFC 3264 §8)."""
        before = parse(EXAMPLE)
        fewer = attrs.evolve(before, media=before.media[:1])
        self.assertRaises(UsageError, revise, before, fewer)
        error = self.assertRaises(BadSdp, check_revision, before, fewer)
        self.assertEqual(error.status, 488)
