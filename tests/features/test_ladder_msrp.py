"""omaim/features/ladder_msrp.py: a frame in a few words."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import IMDN, Cpim
from omaim.bodies.imdn import DELIVERY, report
from omaim.bodies.iscomposing import ACTIVE, IsComposing, write_iscomposing
from omaim.bodies.mime import Part
from omaim.features.ladder_msrp import ends, read_frame, summarise_frame, uri_key, uri_place
from omaim.features.ladder_summary import summarise
from tests.features.sessions import ALICE, IM, ROOM, answer, cpim, request, send

BOB = "sip:bob@north.example"


def words(data: bytes, *rooms: str, file: str = "") -> str:
    frame = read_frame(data)
    assert frame is not None
    return str(summarise_frame(frame, "", frozenset(rooms), file))


class WordsTests(SynchronousTestCase):
    def test_text(self) -> None:
        self.assertEqual(words(send()), "SEND “Hello”")
        self.assertEqual(words(send(by="msrp://alice@10.0.1.10:1/x;tcp")), "SEND alice→ “Hello”")
        self.assertEqual(words(send(None)), "SEND empty")
        self.assertEqual(words(send(b"", extent="1-0/0")), "SEND “”")
        self.assertEqual(words(send(b"x" * 12, kind="image/jpeg")), "SEND jpeg 12 B")
        self.assertEqual(words(send(b"x" * 1_230_000, kind="x/vnd.y")), "SEND y 1.2 MB")
        named = 'Content-Disposition: attachment; filename="cat.jpg"\r\n'
        data = send(b"x" * 12, kind="image/jpeg", headers=named)
        self.assertEqual(words(data), "SEND cat.jpg jpeg 12 B")

    def test_parts(self) -> None:
        """A chunk says which octets it holds, as it turned out (RFC 4975 §7.1.1)."""
        text = b"x" * 2048
        for extent, flag, said in (
            ("1-2048/9000", "+", "SEND “xxxxxxxxxxxxxxxxxxxxxxxxxxx…” 1-2048/9000"),
            ("1-*/9000", "+", "SEND “xxxxxxxxxxxxxxxxxxxxxxxxxxx…” 1-2048/9000"),
            ("2049-*/*", "+", "SEND plain 2049-4096/*"),
            ("2049-*/*", "$", "SEND plain 2049-4096/4096"),
            ("2049-*/9000", "#", "SEND plain 2049-4096/9000 aborted"),
            ("1-2048/2048", "$", "SEND “xxxxxxxxxxxxxxxxxxxxxxxxxxx…”"),
            ("1-*/*", "$", "SEND “xxxxxxxxxxxxxxxxxxxxxxxxxxx…”"),
        ):
            self.assertEqual(words(send(text, extent=extent, flag=flag)), said)
        cut = send(text, extent="1-*/2048")[:-20]
        self.assertTrue(words(cut).endswith("1-2048/2048 without its end"), words(cut))
        chunk = send("Grüß".encode()[:4], extent="1-4/6", flag="+")  # half of a character
        self.assertEqual(words(chunk), "SEND “Grü” 1-4/6")

    def test_file(self) -> None:
        """The chunks of a file bear its name."""
        data = send(b"x" * 10, extent="11-20/90", flag="+", kind="image/jpeg")
        self.assertEqual(words(data, file="cat.jpg"), "SEND cat.jpg 11-20/90")

    def test_cpim(self) -> None:
        """Who writes to whom, and whether it is for the room (RFC 7701 §6.1, §6.2)."""
        for to, rooms, said in (
            (BOB, (), "SEND alice→bob “Hello”"),
            (ROOM, (ROOM,), "SEND alice→room.cafe “Hello”"),
            (
                f"{ROOM.upper().replace('SIP:', 'sip:')};x=y",
                (ROOM,),
                "SEND alice→ROOM.CAFE “Hello”",
            ),
            (BOB, (ROOM,), "SEND alice→bob private “Hello”"),
        ):
            self.assertEqual(words(send(cpim(to), kind="message/cpim"), *rooms), said)
        begun = send(cpim(BOB), kind="message/cpim", extent="1-*/9000", flag="+")
        size = len(cpim(BOB))
        self.assertEqual(words(begun), f"SEND alice→bob “Hello” 1-{size}/9000")
        self.assertEqual(words(send(b"zz", kind="message/cpim")), "SEND cpim 2 B")

    def test_reports_and_typing(self) -> None:
        """A report is for one, and no private message (RFC 5438); nor need typing be text."""
        message = Cpim.parse(cpim(ROOM))
        message.add("Message-ID", "1", IMDN)
        message.add("Disposition-Notification", "positive-delivery", IMDN)
        answered = report(message, DELIVERY, "delivered", "2")
        assert answered is not None
        found = words(send(answered.to_bytes(), kind="message/cpim"), ROOM)
        self.assertTrue(found.endswith("alice IMDN delivered"), found)
        typing = write_iscomposing(IsComposing(ACTIVE))
        part = Part([("Content-Type", "application/im-iscomposing+xml")], typing)
        data = send(cpim(ROOM, part), kind="message/cpim")
        self.assertEqual(words(data, ROOM), "SEND alice→room.cafe typing active")

    def test_others(self) -> None:
        """Reports, nicknames, AUTH, and what is answered."""
        for data, said in (
            (
                request("REPORT", "Byte-Range: 1-500/500\r\nStatus: 000 200 OK\r\n"),
                "REPORT 200 1-500/500",
            ),
            (request("REPORT"), "REPORT no status"),
            (request("NICKNAME", 'Use-Nickname: "Al the Best"\r\n'), "NICKNAME “Al the Best”"),
            (request("NICKNAME", 'Use-Nickname: ""\r\n'), "NICKNAME none"),
            (request("AUTH"), "AUTH"),
            (request("AUTH", "Authorization: Digest x=y\r\n"), "AUTH +credentials"),
            (request("DANCE"), "DANCE"),
            (answer(), "200 OK (?)"),
            (answer(said="481"), "481 (?)"),
        ):
            self.assertEqual(words(data), said)
        granted = answer().replace(
            b"-------", b"Use-Path: msrps://a:1/x;tcp\r\nExpires: 900\r\n-------"
        )
        frame = read_frame(granted)
        assert frame is not None
        said = str(summarise_frame(frame, "AUTH"))
        self.assertEqual(said, "200 OK (AUTH) Use-Path of 1 expires 900")

    def test_no_frame(self) -> None:
        """A piece whose beginning nobody saw says how long it is."""
        self.assertEqual(str(summarise("MSRP", b"x" * 20_000)), "… 20.0 kB without a start line")

    @given(data=st.binary(max_size=200), cut=st.integers(0, 300))
    def test_anything(self, data: bytes, cut: int) -> None:
        """Whatever a frame holds and wherever it is cut, its words are printable and few."""
        for whole in (
            send(data),
            send(data, kind="message/cpim", extent="7-*/*"),
            send(cpim(BOB) + data, kind="message/cpim"),
            b"MSRP abcd SEND\r\n" + data,
            b"MSRP abcd 200 " + data + b"\r\n" + data,
        ):
            said = str(summarise("MSRP", whole[:cut]))
            self.assertTrue(said.isprintable())
            self.assertLess(len(said), 300)


class FrameTests(SynchronousTestCase):
    def test_fields(self) -> None:
        frame = read_frame(send(b"a\r\nb"))
        assert frame is not None
        self.assertEqual(
            (frame.tid, frame.method, frame.flag, frame.body), ("a786hjs2", "SEND", "$", b"a\r\nb")
        )
        self.assertEqual((frame.to_path, frame.from_path), ([IM], [ALICE]))
        self.assertTrue(frame.whole)

    @given(body=st.binary(max_size=80), flag=st.sampled_from("$+#"))
    def test_body(self, body: bytes, flag: str) -> None:
        """The body is what stands between the blank line and the end-line (RFC 4975 §9)."""
        frame = read_frame(send(body, flag=flag))
        assert frame is not None
        self.assertEqual((frame.body, frame.size, frame.flag), (body, len(body), flag))

    def test_start(self) -> None:
        """What is no start line (RFC 4975 §9) begins no frame."""
        for data in (
            b"",
            b"MSRP",
            b"MSRP abc SEND\r\n",
            b"MSRP abcd send\r\n",
            b"MSRP abcd 20\r\n",
        ):
            self.assertIsNone(read_frame(data))
        self.assertTrue(ends(b"-------abcd$\r\n", "abcd"))
        self.assertFalse(ends(b"-------abcd$\r\n", "abce"))

    def test_uris(self) -> None:
        """URIs of one session have one key (RFC 4975 §6.1)."""
        key = uri_key("msrp://Bob@Example.COM:8000/sEss;tcp")
        self.assertEqual(key, uri_key("MSRP://example.com:8000/sEss;TCP;x=y"))
        for other in (
            "msrps://example.com:8000/sEss;tcp",
            "msrp://example.com/sEss;tcp",
            "msrp://example.com:8000/sess;tcp",
        ):
            self.assertNotEqual(key, uri_key(other))
        self.assertEqual(uri_key("sip:a@b"), "")
        self.assertEqual(uri_place("msrp://[::1]:2855/x;tcp"), ("::1", 2855))
        self.assertIsNone(uri_place("msrp://relay.example.com/x;tcp"))
