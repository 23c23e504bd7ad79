"""omaim/bodies/message_offers.py: RFC 3264, RFC 4975 §8, RFC 6135 §4, RFC 6714 §4."""

from __future__ import annotations

from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.file_selector import ATTACHMENT, FileSelector, FileTransfer
from omaim.bodies.media_types import Accepts
from omaim.bodies.message_media import (
    ACTIVE,
    ACTPASS,
    PASSIVE,
    TCP,
    TLS,
    Fingerprint,
    MessageMedia,
    read_media,
)
from omaim.bodies.message_offers import (
    Agreed,
    Answered,
    LocalMedia,
    NotAcceptable,
    Refused,
    Reoffer,
    answer_to,
    capability,
    read_answer,
    read_offer,
    write_offer,
)
from omaim.bodies.sdp import (
    DIRECTIONS,
    INACTIVE,
    RECVONLY,
    SENDONLY,
    SENDRECV,
    BadSdp,
    Connection,
    Media,
    Origin,
    SessionDescription,
)
from omaim.errors import PeerError, UsageError

VECTORS = Path(__file__).parents[1] / "vectors" / "msrp"
ALICE = Origin("100", 1, Connection("a.example"), "alice")
BOB = Origin("200", 1, Connection("b.example"), "bob")

A = "msrp://a.example:7000/sa;tcp"
A_RELAY = "msrp://ra.example:2855/ua;tcp"
B = "msrp://b.example:8000/sb;tcp"
B_RELAY = "msrp://rb.example:2855/ub;tcp"
ELSEWHERE = Connection("192.0.2.99")  # what somebody between puts in
AUDIO = Media.make("audio", 49170, "RTP/AVP", ["0", "8"], attributes=["a=rtpmap:0 PCMU/8000"])


def alice(**more: object) -> LocalMedia:
    return attrs.evolve(LocalMedia((A,), ("message/cpim", "text/plain")), **more)  # type: ignore[arg-type]


def bob(**more: object) -> LocalMedia:
    return attrs.evolve(LocalMedia((B,), ("text/plain", "image/*")), **more)  # type: ignore[arg-type]


def carried(description: SessionDescription) -> SessionDescription:
    """Return it as the other side reads it."""
    return SessionDescription.parse(description.to_bytes())


def offered(local: LocalMedia) -> MessageMedia:
    [one] = read_offer(carried(write_offer([local], ALICE)))
    assert one is not None
    return one


def changed(description: SessionDescription, *lines: str, drop: str = "!") -> SessionDescription:
    """Return it with lines put under its medium, and without those that begin with ``drop``."""
    [media] = description.media
    kept = tuple(line for line in media.lines if not line.startswith(drop))
    return attrs.evolve(description, media=(Media((*kept, *lines)),))


def moved(description: SessionDescription) -> SessionDescription:
    """Return it as somebody between changes it: another ``c=``."""
    lines = tuple(f"c={ELSEWHERE}" if line[0] == "c" else line for line in description.lines)
    return attrs.evolve(description, lines=lines)


def agree(local: LocalMedia, remote: LocalMedia) -> tuple[Agreed, Agreed]:
    """Return what the offerer and the answerer think that they agreed on."""
    answered = answer_to(carried(write_offer([local], ALICE)), [remote], BOB)
    [theirs] = answered.agreed
    [ours] = read_answer([local], carried(answered.description))
    assert isinstance(ours, Agreed)
    return ours, theirs


locals_ = st.builds(
    LocalMedia,
    path=st.sampled_from([(A,), (A_RELAY, A)]),
    accept_types=st.just(("text/plain",)),
    direction=st.sampled_from(DIRECTIONS),
    reachable=st.booleans(),
    eager=st.booleans(),
    cema=st.booleans(),
    chatroom=st.none() | st.just(("nickname",)),
    max_size=st.none() | st.integers(0, 9),
)
remotes = locals_.map(
    lambda one: attrs.evolve(one, path=(B,) if len(one.path) == 1 else (B_RELAY, B))
)


class AgreementTests(SynchronousTestCase):
    @given(local=locals_, remote=remotes)
    def test_both_sides_agree(self, local: LocalMedia, remote: LocalMedia) -> None:
        """One connects, the other waits; who sends is who the other receives from."""
        ours, theirs = agree(local, remote)
        self.assertNotEqual(ours.active, theirs.active)
        self.assertEqual(ours.may_send, theirs.may_receive)
        self.assertEqual(ours.may_receive, theirs.may_send)
        self.assertEqual((ours.remote.path, theirs.remote.path), (remote.path, local.path))
        self.assertEqual(ours.remote.max_size, remote.max_size)
        self.assertEqual(theirs.remote.chatroom, local.chatroom)
        self.assertEqual(ours.cema, theirs.cema)
        self.assertLessEqual(ours.cema, local.cema and remote.cema)

    @given(local=locals_)
    def test_offers(self, local: LocalMedia) -> None:
        """An offer is actpass, or active with port 9; never passive (RFC 6135 §4.2.2)."""
        one = offered(local)
        if local.reachable:
            self.assertEqual(one.setup, ACTPASS)
            self.assertIn(one.port, (7000, 2855))
        else:
            self.assertEqual((one.setup, one.port), (ACTIVE, 9))

    def test_rfc_example(self) -> None:
        """RFC 4975 §8.7: without setup the offerer connects."""
        offer = SessionDescription.parse((VECTORS / "rfc4975-s8.7-sdp-01.sdp").read_bytes())
        local = bob(path=("msrp://bob.example.com:8493/si438dsaodes;tcp",))
        [agreed] = answer_to(offer, [local], BOB).agreed
        self.assertFalse(agreed.active)
        self.assertEqual(agreed.remote.path, ("msrp://alice.example.com:7394/2s93i93idj;tcp",))
        self.assertEqual(
            agreed.remote.accepts, Accepts(("message/cpim", "text/plain", "text/html"))
        )
        answer = SessionDescription.parse((VECTORS / "rfc4975-s8.7-sdp-02.sdp").read_bytes())
        [ours] = read_answer([alice()], answer)
        assert isinstance(ours, Agreed)
        self.assertTrue(ours.active)
        self.assertEqual(ours.remote.path, local.path)
        self.assertIsNone(ours.address)

    def test_written(self) -> None:
        """What an offer looks like, line by line."""
        local = alice(
            max_size=5000,
            chatroom=("nickname",),
            fingerprints=(Fingerprint("sha-1", b"\x01\x02"),),
            accept_wrapped_types=("*",),
            title="Chat",
        )
        self.assertEqual(
            write_offer([local, AUDIO], ALICE).to_bytes().decode().splitlines(),
            [
                "v=0",
                "o=alice 100 1 IN IP4 a.example",
                "s=-",
                "c=IN IP4 a.example",
                "t=0 0",
                "m=message 7000 TCP/MSRP *",
                "i=Chat",
                "a=accept-types:message/cpim text/plain",
                "a=accept-wrapped-types:*",
                "a=path:" + A,
                "a=max-size:5000",
                "a=setup:actpass",
                "a=chatroom:nickname",
                "a=fingerprint:sha-1 01:02",
                "m=audio 49170 RTP/AVP 0 8",
                "a=rtpmap:0 PCMU/8000",
            ],
        )

    def test_setup(self) -> None:
        """Every setup of an offer with every kind of answerer (RFC 6135 §4.2; RFC 4975 §8.5)."""
        for setup, reachable, eager, active in (
            ("", True, False, False),
            ("", False, True, False),
            ("holdconn", True, True, False),
            (ACTIVE, True, True, False),
            (ACTIVE, False, False, False),
            (PASSIVE, True, False, True),
            (ACTPASS, True, False, False),
            (ACTPASS, False, False, True),
            (ACTPASS, True, True, True),
        ):
            offer = changed(write_offer([alice()], ALICE), f"a=setup:{setup}", drop="a=setup")
            answered = answer_to(carried(offer), [bob(reachable=reachable, eager=eager)], BOB)
            [agreed] = answered.agreed
            self.assertEqual(agreed.active, active, (setup, reachable, eager))
            [media] = answered.description.media
            self.assertEqual(media.attribute("setup"), ACTIVE if active else PASSIVE)
            self.assertEqual(media.port, 8000 if reachable or not active else 9)

    def test_answered_setup(self) -> None:
        """Every setup of an answer to both kinds of offer."""
        for reachable, setup, active in (
            (True, "", True),
            (True, "holdconn", True),
            (True, ACTPASS, True),
            (True, PASSIVE, True),
            (True, ACTIVE, False),
            (False, "", True),
            (False, PASSIVE, True),
            (False, ACTIVE, True),
        ):
            local = alice(reachable=reachable)
            answered = answer_to(carried(write_offer([local], ALICE)), [bob()], BOB)
            answer = changed(answered.description, f"a=setup:{setup}", drop="a=setup")
            [agreed] = read_answer([local], carried(answer))
            assert isinstance(agreed, Agreed)
            self.assertEqual(agreed.active, active, (reachable, setup))

    def test_directions(self) -> None:
        """What an answer may say to each direction (RFC 3264 §6.1)."""
        for offer, wish, expected in (
            (SENDRECV, SENDRECV, SENDRECV),
            (SENDRECV, RECVONLY, RECVONLY),
            (SENDONLY, SENDRECV, RECVONLY),
            (SENDONLY, SENDONLY, INACTIVE),
            (RECVONLY, SENDRECV, SENDONLY),
            (INACTIVE, SENDRECV, INACTIVE),
            (SENDRECV, INACTIVE, INACTIVE),
        ):
            ours, theirs = agree(alice(direction=offer), bob(direction=wish))
            self.assertEqual(theirs.direction, expected)
            self.assertEqual(ours.may_send, theirs.may_receive)

    def test_tls(self) -> None:
        """msrps makes TCP/TLS/MSRP, and the answer keeps to what is offered (RFC 4975 §8.1)."""
        secure = alice(path=("msrps://a.example:7000/sa;tcp",))
        self.assertEqual(offered(secure).protocol, TLS)
        offer = write_offer([secure], ALICE)
        self.assertRaises(UsageError, answer_to, offer, [bob()], BOB)
        ours, _ = agree(secure, bob(path=("msrps://b.example:8000/sb;tcp",)))
        self.assertEqual(ours.remote.protocol, TLS)
        plain = write_offer([alice()], ALICE)
        local = bob(path=("msrps://b.example:8000/sb;tcp",))
        self.assertRaises(UsageError, answer_to, plain, [local], BOB)

    def test_times(self) -> None:
        """The answer has the times of the offer (RFC 3264 §6)."""
        offer = write_offer([alice()], ALICE)
        lines = tuple("t=3724394400 0" if line[0] == "t" else line for line in offer.lines)
        answered = answer_to(attrs.evolve(offer, lines=lines), [bob()], BOB)
        self.assertEqual(answered.description.times, ("t=3724394400 0",))


class SeveralTests(SynchronousTestCase):
    def test_some(self) -> None:
        """Each medium is answered in its place; what is not for us has port 0 (RFC 3264 §6)."""
        second = alice(path=("msrp://[2001:db8::1]:7001/s2;tcp",))
        ended = Media(("m=message 0 TCP/MSRP *",))
        offer = carried(write_offer([AUDIO, alice(), second, ended, alice()], ALICE))
        self.assertEqual([one is None for one in read_offer(offer)], [True] + [False] * 4)
        lines = [None, bob(), bob(path=("msrp://b.example:8000/s2;tcp",)), bob(), None]
        answered = answer_to(offer, lines, BOB)
        self.assertEqual([one.index for one in answered.agreed], [1, 2])
        answer = carried(answered.description)
        self.assertEqual([one.port for one in answer.media], [0, 8000, 8000, 0, 0])
        self.assertEqual(answer.media[0].lines, ("m=audio 0 RTP/AVP 0 8",))
        mine: list[LocalMedia | Media | None] = [AUDIO, alice(), second, ended, alice()]
        found = read_answer(mine, answer)
        self.assertEqual([type(one) for one in found], [Refused, Agreed, Agreed, Refused, Refused])

    def test_own_address(self) -> None:
        """A medium at another address than the first says so (RFC 8866 §5.7)."""
        second = alice(path=("msrp://[2001:db8::1]:7001/s2;tcp",))
        offer = carried(write_offer([alice(), second], ALICE))
        self.assertEqual(offer.connection, Connection("a.example"))
        self.assertEqual(offer.media[0].connection, None)
        self.assertEqual(offer.media[1].connection, Connection("2001:db8::1", "IP6"))

    def test_nothing_usable(self) -> None:
        """No type in common, or no medium of ours: 488 (RFC 4975 §8.6; RFC 3264 §6)."""
        for lines, local in (
            ([alice(accept_types=("text/x-other",))], bob()),
            ([alice()], bob(accept_types=("image/*",))),
            ([AUDIO], bob()),
            ([alice()], None),
        ):
            offer = carried(write_offer(lines, ALICE))
            error = self.assertRaises(NotAcceptable, answer_to, offer, [local], BOB)
            self.assertEqual(error.status, 488)

    def test_broken_medium(self) -> None:
        """A medium that cannot be read is refused; the others go on."""
        offer = write_offer([alice(), alice()], ALICE)
        broken = Media(tuple(one for one in offer.media[0].lines if "path" not in one))
        offer = carried(attrs.evolve(offer, media=(broken, offer.media[1])))
        self.assertIsNone(read_offer(offer)[0])
        answered = answer_to(offer, [bob(), bob()], BOB)
        self.assertEqual([one.index for one in answered.agreed], [1])
        self.assertIn("path", str(answered.lines[0]))

    def test_no_media(self) -> None:
        """No media, no media in the answer (RFC 3264 §6)."""
        offer = carried(write_offer([], ALICE))
        self.assertEqual(answer_to(offer, [], BOB).description.media, ())

    def test_usage(self) -> None:
        offer = write_offer([alice()], ALICE)
        for wrong in (bob(path=()), bob(path=("msrp://b/x;tcp",)), bob(accept_types=())):
            self.assertRaises(UsageError, write_offer, [wrong], BOB)
            self.assertRaises((UsageError, PeerError), answer_to, offer, [wrong], BOB)
        self.assertRaises(UsageError, write_offer, [None], BOB)
        self.assertRaises(UsageError, answer_to, offer, [], BOB)

    def test_bad_answers(self) -> None:
        """An answer with other media ends the session."""
        good = answer_to(write_offer([alice()], ALICE), [bob()], BOB).description
        for bad in (
            attrs.evolve(good, media=()),
            attrs.evolve(good, media=(*good.media, *good.media)),
            attrs.evolve(good, media=(AUDIO,)),
            attrs.evolve(good, media=(Media(("m=message 1 TCP/TLS/MSRP *",)),)),
            changed(good, drop="a=path"),
        ):
            self.assertRaises(BadSdp, read_answer, [alice()], carried(bad))

    def test_capability(self) -> None:
        """What OPTIONS are answered with has port 0 (RFC 3264 §9)."""
        media = capability(("message/cpim",), ("*",), max_size=20000, chatroom=())
        found = carried(SessionDescription.make(BOB, [media]))
        one = read_media(found, found.media[0])
        self.assertEqual((one.port, one.protocol, one.path), (0, TCP, ()))
        self.assertEqual((one.max_size, one.chatroom), (20000, ()))


class RepeatTests(SynchronousTestCase):
    def test_versions(self) -> None:
        """The o= line tells whether anything changed (RFC 3264 §8; RFC 4975 §8.4)."""
        first = write_offer([alice()], ALICE)
        again = write_offer([alice()], ALICE, previous=first)
        self.assertEqual(again, first)
        held = write_offer([alice(direction=INACTIVE)], ALICE, previous=again)
        self.assertEqual(held.origin, attrs.evolve(ALICE, version=2))
        more = write_offer([None, alice()], ALICE, previous=held)
        self.assertEqual([one.port for one in more.media], [0, 7000])
        self.assertEqual(more.origin.version, 3)

    def test_answers(self) -> None:
        offer = write_offer([alice()], ALICE)
        first = answer_to(offer, [bob()], BOB).description
        self.assertEqual(answer_to(offer, [bob()], ALICE, previous=first).description, first)
        after = answer_to(offer, [bob(max_size=1)], ALICE, previous=first).description
        self.assertEqual(after.origin, attrs.evolve(BOB, version=2))

    def test_end(self) -> None:
        """The last medium may be ended; that is not a refusal (RFC 3264 §8.2)."""
        first = write_offer([alice()], ALICE)
        before = answer_to(first, [bob()], BOB).description
        ended = write_offer([None], ALICE, previous=first)
        answered = answer_to(carried(ended), [bob()], BOB, previous=before)
        self.assertEqual(answered.agreed, ())
        self.assertEqual([one.port for one in answered.description.media], [0])

    def test_fewer(self) -> None:
        before = answer_to(write_offer([alice(), alice()], ALICE), [bob(), bob()], BOB)
        offer = write_offer([alice()], ALICE)
        self.assertRaises(BadSdp, answer_to, offer, [bob()], BOB, previous=before.description)


class CemaTests(SynchronousTestCase):
    """RFC 6714 §4.2, §4.3."""

    def answered(self, local: LocalMedia, remote: LocalMedia, anchored: bool = False) -> Answered:
        offer = write_offer([local], ALICE)
        return answer_to(carried(moved(offer) if anchored else offer), [remote], BOB)

    def test_offer(self) -> None:
        """With a relay, c= and m= have its address, and setup is actpass."""
        one = offered(alice(cema=True, path=(A_RELAY, A)))
        self.assertEqual((one.cema, one.setup, one.port), (True, ACTPASS, 2855))
        self.assertEqual(one.connection, Connection("ra.example"))
        one = offered(alice(path=(A_RELAY, A)))
        self.assertEqual((one.cema, one.port), (False, 7000))
        self.assertEqual(one.connection, Connection("a.example"))

    def test_both(self) -> None:
        """Both know it: who is active connects to c= and m=, whoever has changed them."""
        answered = self.answered(alice(cema=True), bob(cema=True, eager=True), anchored=True)
        [agreed] = answered.agreed
        self.assertTrue(agreed.cema and agreed.active)
        self.assertEqual(agreed.address, ("192.0.2.99", 7000))
        answered = self.answered(alice(cema=True), bob(cema=True), anchored=True)
        [ours] = read_answer([alice(cema=True)], carried(moved(answered.description)))
        assert isinstance(ours, Agreed)
        self.assertTrue(ours.cema and ours.active)
        self.assertEqual(ours.address, ("192.0.2.99", 8000))

    def test_ipv6(self) -> None:
        """An address is told as sockets take it."""
        local = alice(cema=True, path=("msrp://[2001:db8::1]:7000/sa;tcp",))
        [agreed] = self.answered(local, bob(cema=True, eager=True)).agreed
        self.assertEqual(agreed.address, ("2001:db8::1", 7000))

    def test_only_us(self) -> None:
        """An offer without it whose c= is not its path is refused; otherwise it is plain."""
        self.assertRaises(NotAcceptable, self.answered, alice(), bob(cema=True), True)
        [agreed] = self.answered(alice(), bob(cema=True)).agreed
        self.assertFalse(agreed.cema)
        # Who does not know CEMA overlooks c= (RFC 4975 §8.1).
        [agreed] = self.answered(alice(), bob(eager=True), anchored=True).agreed
        self.assertIsNone(agreed.address)

    def test_resolved(self) -> None:
        """A name and its address are the same place (RFC 6714 §4.4)."""
        offer = carried(moved(write_offer([alice()], ALICE)))
        answered = answer_to(offer, [bob(cema=True)], BOB, addresses={"a.example": ["192.0.2.99"]})
        self.assertEqual(len(answered.agreed), 1)

    def test_relays(self) -> None:
        """Relays on both sides, or a relay that has to connect: without CEMA."""
        relayed = alice(cema=True, path=(A_RELAY, A))
        ours = bob(cema=True, path=(B_RELAY, B))
        [agreed] = self.answered(relayed, ours).agreed
        self.assertFalse(agreed.cema)
        offer = changed(write_offer([relayed], ALICE), "a=setup:active", drop="a=setup")
        [agreed] = answer_to(carried(offer), [bob(cema=True)], BOB).agreed
        self.assertFalse(agreed.cema)
        offer = changed(write_offer([alice(cema=True)], ALICE), "a=setup:passive", drop="a=setup")
        [agreed] = answer_to(carried(offer), [ours], BOB).agreed
        self.assertFalse(agreed.cema)
        self.assertTrue(agreed.active)

    def test_one_relay(self) -> None:
        """The side with a relay is passive, and its c= leads to the relay."""
        [agreed] = self.answered(alice(cema=True, path=(A_RELAY, A)), bob(cema=True)).agreed
        self.assertTrue(agreed.cema and agreed.active)
        self.assertEqual(agreed.address, ("ra.example", 2855))
        answered = self.answered(
            alice(cema=True), bob(cema=True, path=(B_RELAY, B), reachable=False)
        )
        [agreed] = answered.agreed
        self.assertTrue(agreed.cema)
        self.assertFalse(agreed.active)
        self.assertEqual(answered.description.connection, Connection("rb.example"))

    def test_fallback(self) -> None:
        """Which answers without it ask for another offer."""
        relayed = alice(cema=True, path=(A_RELAY, A))
        theirs = bob(path=(B_RELAY, B))
        for local, remote, anchored, outcome, address in (
            (alice(cema=True), bob(eager=True), True, Reoffer, None),
            (alice(cema=True), bob(eager=True), False, Agreed, None),
            (alice(cema=True), bob(), True, Agreed, ("192.0.2.99", 8000)),
            (alice(cema=True), bob(), False, Agreed, ("b.example", 8000)),
            (relayed, bob(), True, Reoffer, None),
            (relayed, bob(), False, Agreed, ("b.example", 8000)),
            (alice(cema=True), theirs, True, Reoffer, None),
            (alice(cema=True), theirs, False, Agreed, None),
            (alice(), bob(eager=True), True, Agreed, None),
        ):
            answer = self.answered(local, remote).description
            [found] = read_answer([local], carried(moved(answer) if anchored else answer))
            self.assertIsInstance(found, outcome)
            if isinstance(found, Agreed):
                self.assertEqual(found.address, address)
                self.assertFalse(found.cema)

    def test_second_offer(self) -> None:
        """The other offer has no msrp-cema, and a new version."""
        first = write_offer([alice(cema=True)], ALICE)
        second = write_offer([attrs.evolve(alice(cema=True), cema=False)], ALICE, previous=first)
        self.assertIsNone(second.media[0].attribute("msrp-cema"))
        self.assertEqual(second.origin.version, 2)


class FileTests(SynchronousTestCase):
    """RFC 5547 §8."""

    FILE = FileTransfer(
        FileSelector("a.jpg", 4092, "image/jpeg"), "id1", ATTACHMENT, created=0.0, first=1, last=9
    )

    def push(self, **more: object) -> LocalMedia:
        return alice(direction=SENDONLY, file=attrs.evolve(self.FILE, **more))  # type: ignore[arg-type]

    def test_push(self) -> None:
        """The receiver is recvonly and repeats what it needs to (§8.3.1)."""
        ours, theirs = agree(self.push(), bob())
        self.assertEqual((ours.direction, theirs.direction), (SENDONLY, RECVONLY))
        self.assertEqual(theirs.remote.file, self.FILE)
        self.assertEqual(ours.remote.file, self.FILE.accepted())
        self.assertEqual(theirs.local.file, self.FILE.accepted())

    def test_pull(self) -> None:
        """The sender is sendonly and says what it found (§8.3.2)."""
        wanted = FileTransfer(FileSelector(hashes=(("sha-1", b"x"),)), "id2")
        found = wanted.provided(FileSelector("x", 5, "a/b", (), (("sha-1", b"x"),)))
        ours, theirs = agree(alice(direction=RECVONLY, file=wanted), bob(file=found))
        self.assertEqual((ours.direction, theirs.direction), (RECVONLY, SENDONLY))
        assert ours.remote.file is not None
        self.assertEqual(ours.remote.file.selector.type, "a/b")

    def test_refusal(self) -> None:
        """A refusal mirrors selector and identifier (§8.3); who has no file refuses a pull."""
        pull = alice(direction=RECVONLY, file=self.FILE)
        offer = carried(write_offer([self.push(), pull, alice(), alice(file=self.FILE)], ALICE))
        answered = answer_to(offer, [None, bob(), bob(), bob()], BOB)
        self.assertEqual([one.index for one in answered.agreed], [2])
        for media in (answered.description.media[0], answered.description.media[1]):
            self.assertEqual(
                media.lines,
                (
                    "m=message 0 TCP/MSRP *",
                    'a=file-selector:name:"a.jpg" type:image/jpeg size:4092',
                    "a=file-transfer-id:id1",
                ),
            )

    def test_end(self) -> None:
        """What is over keeps its identifier (§8.1)."""
        first = write_offer([self.push()], ALICE)
        ended = write_offer([None], ALICE, previous=first)
        self.assertEqual(ended.media[0].port, 0)
        self.assertEqual(ended.media[0].attribute("file-transfer-id"), "id1")

    def test_needed(self) -> None:
        """Identifier; for a push type, size or hash (§8.2.1)."""
        for file in (
            attrs.evolve(self.FILE, id=""),
            attrs.evolve(self.FILE, selector=FileSelector("a.jpg")),
        ):
            local = alice(direction=SENDONLY, file=file)
            self.assertRaises(UsageError, write_offer, [local], ALICE)
        write_offer([alice(direction=RECVONLY, file=FileTransfer(FileSelector("a"), "i"))], ALICE)

    def test_no_identifier(self) -> None:
        """A peer that forgot it is served nevertheless."""
        offer = changed(write_offer([self.push()], ALICE), drop="a=file-transfer-id")
        [agreed] = answer_to(carried(offer), [bob()], BOB).agreed
        self.assertEqual(agreed.remote.file, attrs.evolve(self.FILE, id=""))

    def test_other_answers(self) -> None:
        """Another file, or another part of it, is not what was offered (§8.1, §8.3.1)."""
        answer = answer_to(carried(write_offer([self.push()], ALICE)), [bob()], BOB).description
        for bad in (
            changed(answer, "a=file-transfer-id:other", drop="a=file-transfer-id"),
            changed(answer, "a=file-range:2-9", drop="a=file-range"),
            changed(answer, drop="a=file"),
        ):
            self.assertRaises(BadSdp, read_answer, [self.push()], carried(bad))
        whole = self.push(first=1, last=None)
        answer = answer_to(carried(write_offer([whole], ALICE)), [bob()], BOB).description
        [agreed] = read_answer([whole], carried(changed(answer, drop="a=file")))
        self.assertIsInstance(agreed, Agreed)

    def test_capability(self) -> None:
        """RFC 5547 Figure 24: only that files are understood (§8.5)."""
        path = VECTORS.parent / "sdp" / "rfc5547-figure24.sdp"
        found = SessionDescription.parse(path.read_bytes())
        one = read_media(found, found.media[0])
        self.assertIsNone(one.transfer)
        self.assertIsNotNone(one.file)
        made = capability(("message/cpim",), ("*",), max_size=20000, files=True)
        self.assertEqual(made.lines, found.media[0].lines)
