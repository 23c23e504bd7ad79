"""omaim/bodies/message_media.py: RFC 4975 §8, RFC 6714 §4.4, RFC 8122, RFC 7701 §8."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.file_selector import FileSelector, FileTransfer
from omaim.bodies.media_types import Accepts
from omaim.bodies.message_media import (
    ACTIVE,
    ACTPASS,
    NICKNAME,
    PASSIVE,
    PRIVATE_MESSAGES,
    TCP,
    TLS,
    Fingerprint,
    MessageMedia,
    Place,
    is_in_path,
    is_message,
    names_to_resolve,
    place_of,
    read_media,
)
from omaim.bodies.sdp import DIRECTIONS, BadMedia, Connection, Origin, SessionDescription
from omaim.errors import PeerError
from omaim.testing.strategies import hosts, mutated

VECTORS = Path(__file__).parents[1] / "vectors" / "msrp"
ORIGIN = Origin("1", 1, Connection("h.example"))
HEAD = "v=0\no=- 1 1 IN IP4 h.example\ns=-\nc=IN IP4 h.example\nt=0 0\n"
PLAIN = (
    "m=message 7654 TCP/MSRP *\na=accept-types:text/plain\n"
    "a=path:msrp://h.example:7654/jshA7weztas;tcp\n"
)

types = st.lists(
    st.sampled_from(["text/plain", "message/cpim", "*", "image/*", 'a/b;c="d e"']), max_size=3
).map(tuple)
tokens = st.lists(st.sampled_from([NICKNAME, PRIVATE_MESSAGES, "com.example.x"]), unique=True)
prints = st.builds(
    Fingerprint,
    st.sampled_from(["sha-1", "sha-256"]),
    st.binary(min_size=1, max_size=32),
)
texts = st.text(st.characters(codec="utf-8", categories=("L", "N")), max_size=6)


@st.composite
def message_media(draw: st.DrawFn) -> MessageMedia:
    tls = draw(st.booleans())
    scheme = "msrps" if tls else "msrp"
    places = draw(st.lists(st.tuples(hosts(), st.integers(1, 65535)), min_size=1, max_size=3))
    return MessageMedia(
        port=draw(st.integers(0, 65535)),
        protocol=TLS if tls else TCP,
        path=tuple(f"{scheme}://{host}:{port}/s.1=;tcp" for host, port in places),
        accept_types=("text/x", *draw(types)),
        accept_wrapped_types=draw(types),
        max_size=draw(st.none() | st.integers(0, 2**63 - 1)),
        direction=draw(st.sampled_from(DIRECTIONS)),
        setup=draw(st.sampled_from(["", ACTIVE, PASSIVE, ACTPASS])),
        cema=draw(st.booleans()),
        chatroom=draw(st.none() | tokens.map(tuple)),
        fingerprints=tuple(draw(st.lists(prints, max_size=2))),
        connection=Connection.to(draw(hosts())),
        file=draw(st.sampled_from([None, FileTransfer(FileSelector("a b", 5), "id", first=2)])),
        title=draw(texts),
        more=tuple(draw(st.lists(st.sampled_from(["a=label:1", "a=x"]), max_size=2))),
    )


def parse(text: str) -> MessageMedia:
    found = SessionDescription.parse((HEAD + text).encode())
    return read_media(found, found.media[0])


class ValueTests(SynchronousTestCase):
    @given(one=message_media())
    def test_write_then_read(self, one: MessageMedia) -> None:
        data = SessionDescription.make(ORIGIN, [one.to_media()]).to_bytes()
        found = SessionDescription.parse(data)
        self.assertEqual(read_media(found, found.media[0]), one)

    @given(
        data=mutated(
            [
                (HEAD + PLAIN + "a=fingerprint:SHA-1 4A:AD\na=max-size:5\na=chatroom:x\n").encode(),
                (HEAD + PLAIN.replace("TCP", "TCP/TLS").replace("msrp:", "msrps:")).encode(),
            ]
        )
    )
    def test_junk(self, data: bytes) -> None:
        """Junk raises PeerError or is read; what is read can be compared and written."""
        try:
            found = SessionDescription.parse(data)
            for media in found.media:
                one = read_media(found, media) if is_message(media) else None
                if one is not None:
                    is_in_path(one, {name: ["192.0.2.1"] for name in names_to_resolve(one)})
                    SessionDescription.make(ORIGIN, [one.to_media()]).to_bytes()
        except PeerError:
            pass

    def test_rfc_examples(self) -> None:
        """Every MSRP medium that RFC 4975, 4976 and 7701 print is read."""
        bodies = [path.read_bytes() for path in sorted(VECTORS.glob("*.sdp"))]
        for path in sorted(VECTORS.glob("rfc7701-s9.1-sip-*.sip")):
            bodies.append(path.read_bytes().partition(b"\r\n\r\n")[2])
        self.assertEqual(len(bodies), 10)
        for body in bodies:
            body = body.replace(b"\r", b"")
            if body.startswith(b"c="):  # from there on only
                body = b"v=0\no=- 1 1 IN IP4 h\ns=-\n" + body.replace(b"\n", b"\nt=0 0\n", 1)
            found = SessionDescription.parse(body)
            [media] = found.media
            one = read_media(found, media)
            self.assertTrue(one.path and one.accept_types)

    def test_chat_room(self) -> None:
        """RFC 7701 §9.1, §8."""
        body = (VECTORS / "rfc7701-s9.1-sip-02.sip").read_bytes().replace(b"\r", b"")
        found = SessionDescription.parse(body.partition(b"\n\n")[2])
        one = read_media(found, found.media[0])
        self.assertEqual(one.accepts, Accepts(("message/cpim",), ("text/plain", "text/html", "*")))
        self.assertTrue(one.nicknames and one.private_messages)
        for line, nicknames, private in (
            ("a=chatroom\n", False, False),
            ("a=chatroom:nicknames\n", True, False),
            ("a=chatroom:private-messages x.y private-messages\n", False, True),
            ("", False, False),
        ):
            one = parse(PLAIN + line)
            self.assertEqual((one.nicknames, one.private_messages), (nicknames, private))
            self.assertEqual(one.chatroom is None, not line)
        self.assertEqual(parse(PLAIN + "a=chatroom:a b a\n").chatroom, ("a", "b"))

    def test_fingerprint(self) -> None:
        """RFC 4975 §14.4; names in any case, one for the session counts for all (RFC 8122 §5)."""
        line = "a=fingerprint:SHA-1 4a:AD:B9\n"
        expected = (Fingerprint("sha-1", b"\x4a\xad\xb9"),)
        self.assertEqual(parse(PLAIN + line).fingerprints, expected)
        self.assertEqual(parse(line + PLAIN).fingerprints, expected)
        self.assertEqual(str(expected[0]), "sha-1 4A:AD:B9")
        own = "a=fingerprint:sha-256 00\na=fingerprint:sha-1 01\n"
        self.assertEqual(
            [one.algorithm for one in parse(line + PLAIN + own).fingerprints], ["sha-256", "sha-1"]
        )

    def test_overlooked(self) -> None:
        """holdconn is as nothing, a=connection is dropped (RFC 6135 §4.2.1, §4.4)."""
        one = parse(PLAIN + "a=setup:holdconn\na=connection:new\na=label:x\n")
        self.assertEqual((one.setup, one.more), ("", ("a=label:x",)))
        self.assertEqual(parse("a=setup:active\n" + PLAIN).setup, ACTIVE)
        self.assertEqual(parse(PLAIN + "a=max-size:" + "9" * 40).max_size, 2**63 - 1)

    def test_over(self) -> None:
        """A medium with port 0 may lack everything (RFC 3264 §8.2)."""
        self.assertEqual(parse("m=message 0 TCP/MSRP *\n").path, ())

    def test_refused(self) -> None:
        for text in (
            PLAIN.replace("a=path:", "a=other:"),
            PLAIN.replace("a=accept-types:", "a=other:"),
            PLAIN.replace("text/plain", "text"),
            PLAIN.replace(":7654/", "/"),
            PLAIN.replace(":7654/", ":0/"),
            PLAIN.replace("msrp:", "sip:"),
            PLAIN.replace("msrp://h.example:7654/jshA7weztas;tcp", "msrp://h:99999/a;tcp"),
            PLAIN.replace(";tcp", ""),
            PLAIN.replace(";tcp", ";tcp " + "msrp://h.example:1/x;tcp " * 16),
            PLAIN.replace("TCP/MSRP", "TCP/TLS/MSRP"),
            PLAIN + "a=max-size:-1\n",
            PLAIN + "a=fingerprint:sha-1\n",
            PLAIN + "a=fingerprint:sha-1 4A:A\n",
            PLAIN.replace("*\n", "*\nc=ATM NSAP 47.0\n", 1),
        ):
            self.assertEqual(self.assertRaises(BadMedia, parse, text).status, 488, text)


class PlaceTests(SynchronousTestCase):
    def test_place(self) -> None:
        for uri, expected in (
            (
                "msrp://Alice.example.com:7394/2s93i9ek2a;tcp",
                Place("alice.example.com", 7394, False),
            ),
            ("MSRPS://u%40@[2001:DB8::1]:9/x;tcp;a=b", Place("[2001:db8::1]", 9, True)),
            ("msrp://192.0.2.1:2855;tcp", Place("192.0.2.1", 2855, False)),
        ):
            self.assertEqual(place_of(uri), expected)

    def test_in_path(self) -> None:
        """Which addresses are alike (RFC 6714 §4.4)."""
        for connection, port, uri, setup, addresses, expected in (
            ("IP4 h.example", 7, "h.example:7", "", {}, True),
            ("IP4 H.example", 7, "h.EXAMPLE:7", "", {}, True),
            ("IP4 h.example", 8, "h.example:7", "", {}, False),
            ("IP4 192.0.2.1", 7, "h.example:7", "", {}, False),
            (
                "IP4 192.0.2.1",
                7,
                "h.example:7",
                "",
                {"h.example": ["::9", "192.0.2.1"]},
                True,
            ),
            ("IP6 2001:db8:0::1", 7, "[2001:DB8::1]:7", "", {}, True),
            ("IP6 2001:db8::1", 7, "h.example:7", "", {"h.example": ["2001:db8:0:0::1"]}, True),
            ("IP4 10.0.0.1", 9, "10.0.0.1:7", ACTIVE, {}, True),
            ("IP4 10.0.0.1", 9, "10.0.0.2:7", ACTIVE, {}, False),
            ("IP4 10.0.0.1", 9, "10.0.0.1:7", ACTPASS, {}, False),
        ):
            one = parse(
                f"m=message {port} TCP/MSRP *\nc=IN {connection}\na=accept-types:*\n"
                f"a=path:msrp://relay:1/x;tcp msrp://{uri}/x;tcp\na=setup:{setup}\n"
            )
            self.assertEqual(is_in_path(one, addresses), expected, (connection, uri))

    def test_names(self) -> None:
        """Nothing is looked up when the texts are alike; names only, otherwise."""
        self.assertEqual(names_to_resolve(parse(PLAIN)), ())
        self.assertEqual(
            names_to_resolve(parse(PLAIN.replace("*\n", "*\nc=IN IP4 192.0.2.1\n"))),
            ("h.example",),
        )
