"""What is said in a room: to whom it goes, in which order, and who waits (RFC 7701 §6)."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import Cpim
from omaim.bodies.imdn import Imdn, parse_imdn, write_imdn
from omaim.errors import PeerError
from omaim.im.offers import Offers
from omaim.im.posting import ASKING, FLOWING, HEADS, LOOK, OVER, Post, Refused
from omaim.im.room_rules import AD_HOC, DROP, Rights, Rules
from omaim.node.events import RoomPosted
from tests.im.rooms import ALICE, AWARE, BOB, CAROL, DAVE, ROOM, Hall, cpim, device

ANYBODY = "sip:anonymous@anonymous.invalid"


class Floors(SynchronousTestCase):
    def setUp(self) -> None:
        self.begin()

    def begin(self, rules: Rules | None = None, rights: dict[str, Rights] | None = None) -> None:
        self.hall = Hall(rules, rights)
        self.alice, self.bob, self.carol = (self.hall.join(one) for one in (ALICE, BOB, CAROL))

    def got(self) -> list[list[str]]:
        return [device(one).texts() for one in (self.alice, self.bob, self.carol)]


class CheckTests(Floors):
    def test_to_all(self) -> None:
        """A message to the room goes to all but its sender, unchanged (§6.1, §9.3)."""
        post = self.hall.say(self.alice, "Hello guys", f"{ROOM};transport=tcp", Subject="x")
        self.assertEqual((post.status, post.copies), (200, 2))
        self.assertEqual(self.got(), [[], ["Hello guys"], ["Hello guys"]])
        sent = cpim(ALICE, f"{ROOM};transport=tcp", "Hello guys", Subject="x")
        self.assertEqual(device(self.bob).got[0].data, sent)
        self.assertEqual(self.hall.settled, [post])

    def test_no_cpim(self) -> None:
        """What is not message/cpim is refused with 415 (§6.3)."""
        for kind in ("text/plain", "", "message/imdn+xml"):
            post = self.hall.begin(self.alice, 2, kind)
            self.assertEqual(post.status, 415)
            post.feed(b"hi", 0)
            post.end(True, 0)
        self.assertEqual(self.hall.fans, [])
        self.assertEqual(len(self.hall.settled), 3)
        data = cpim(ALICE, ROOM)
        post = self.hall.begin(self.alice, len(data), "Message/CPIM; charset=utf-8")
        post.feed(data, 0)
        post.end(True, 0)
        self.assertEqual(post.status, 200)

    def test_from(self) -> None:
        """A From that is another's, nobody's, or missing is refused with 403 (§6.3)."""
        for author in (BOB, DAVE, "sip:", "nonsense:", ANYBODY):
            self.assertEqual(self.hall.status(self.alice, author=author), 403)
        data = cpim("", ROOM)
        post = self.hall.begin(self.alice, len(data))
        post.feed(data, 0)
        self.assertEqual(post.status, 403)
        self.assertEqual(self.hall.fans, [])

    def test_from_any_identity(self) -> None:
        """SIP, tel and im addresses of the sender will do (§6.1)."""
        dave = self.hall.join(DAVE, also=("tel:+15550100",))
        for author in (DAVE, "tel:+1-555-0100", "im:dave@south.example", f"{DAVE};x=y"):
            self.assertEqual(self.hall.status(dave, author=author), 200)

    def test_from_before_to(self) -> None:
        """The From is looked at before the To, several To before an unknown one (§6.1)."""
        self.assertEqual(self.hall.status(self.alice, author=BOB, to=(DAVE, ROOM)), 403)
        self.assertEqual(self.hall.status(self.alice, to=(ROOM, BOB)), 403)
        self.assertEqual(self.hall.status(self.alice, to=(DAVE, "sip:nobody@x")), 403)

    def test_private(self) -> None:
        """A message to one goes to all devices of that one, and to nobody else (§6.2)."""
        second = self.hall.join(BOB)
        post = self.hall.say(self.alice, "psst", BOB)
        self.assertEqual((post.status, post.copies), (200, 2))
        self.assertEqual(self.got(), [[], ["psst"], []])
        self.assertEqual(device(second).texts(), ["psst"])

    def test_private_refused(self) -> None:
        """404 for who is not here, 428 for who cannot tell, in this order (§6.2)."""
        plain = self.hall.join(DAVE, offers=Offers(chatroom=frozenset()))
        self.assertEqual(self.hall.status(self.alice, to="sip:nobody@x.example"), 404)
        self.assertEqual(self.hall.status(self.alice, to="sip:"), 404)
        self.assertEqual(self.hall.status(self.alice, to=()), 404)
        self.assertEqual(self.hall.status(self.alice, to=DAVE), 428)
        self.assertEqual(device(plain).got, [])
        self.hall.join(DAVE)
        self.assertEqual(self.hall.status(self.alice, to=DAVE), 200)
        self.assertEqual(device(plain).got, [])  # never to a session that cannot tell

    def test_private_not_allowed(self) -> None:
        """403 where the room, or the sender's rights, do not allow it; whoever it is for."""
        no = Rights(join=True, see=True)
        for rules, rights in ((Rules(private=False), {}), (Rules(), {ALICE: no})):
            self.begin(rules, rights)
            for to in (BOB, "sip:nobody@x.example"):
                self.assertEqual(self.hall.status(self.alice, to=to), 403)
            self.assertEqual(self.hall.status(self.alice), 200)

    def test_broken(self) -> None:
        """A wrapper that cannot be read is refused with 400, however it comes."""
        for data in (b"From: x\r\n\r\n\r\nhi", b"no headers at all", b"\r\n\r\n", b""):
            post = self.hall.begin(self.alice, len(data))
            post.feed(data, 0)
            post.end(True, 0)
            self.assertEqual(post.status, 400, data)
        post = self.hall.begin(self.alice)
        for _ in range(HEADS // 1000 + 1):
            post.feed(b"X: " + b"y" * 995 + b"\r\n", 0)
        self.assertEqual(post.status, 400)
        self.assertEqual(self.hall.fans, [])

    def test_wrapped_types_of_the_room(self) -> None:
        """The room may take some content types only (§4.1)."""
        self.begin(Rules(wrapped=("text/plain", "image/*")))
        self.assertEqual(self.hall.status(self.alice, kind="text/html"), 415)
        self.assertEqual(self.hall.status(self.alice, kind="Text/Plain; charset=utf-8"), 200)
        self.assertEqual(self.hall.status(self.alice, kind="image/png"), 200)

    def test_accept_types(self) -> None:
        """Who does not take the content is left out; the sender gets no error (§6.1)."""
        for wrapped, accepts, kinds in (
            (("text/plain",), ("message/cpim",), ["text/plain"]),
            (("*",), ("message/cpim",), ["text/plain", "image/png"]),
            ((), ("message/cpim", "text/plain"), ["text/plain"]),
            ((), ("message/cpim",), ["text/plain", "image/png"]),
            (("image/*",), ("*",), ["text/plain", "image/png"]),
            (("image/*",), ("Message/CPIM",), ["image/png"]),
        ):
            self.begin()
            offers = Offers(accepts, wrapped, AWARE.chatroom)
            dave = self.hall.join(DAVE, offers=offers)
            for kind in ("text/plain", "image/png"):
                self.assertEqual(self.hall.status(self.alice, kind=kind), 200)
            found = [one.part.media_type for one in device(dave).whole()]
            self.assertEqual(found, kinds)
            self.assertEqual(len(device(self.bob).got), 2)
        self.hall.room.offer(dave, AWARE)
        self.hall.say(self.alice, kind="text/plain")
        self.assertEqual(len(device(dave).whole()), 2)

    def test_max_size(self) -> None:
        """Who takes no message so large is left out, as soon as that shows (RFC 4975 §8.6)."""
        dave = self.hall.join(DAVE, offers=Offers(chatroom=frozenset(), max_size=200))
        self.assertEqual(self.hall.status(self.alice, "x" * 200), 200)
        self.assertEqual(device(dave).got, [])
        post = self.hall.begin(self.alice)
        post.feed(cpim(ALICE, ROOM), 0)
        self.assertEqual(device(dave).got[0].state, "open")
        post.feed(b"x" * 200, 0)
        self.assertEqual(device(dave).got[0].state, "dropped")
        self.assertEqual(device(self.bob).got[1].state, "open")
        post.end(True, 0)
        self.assertEqual((post.status, device(self.bob).got[1].state), (200, "done"))

    def test_too_large(self) -> None:
        """The room's limit is 413, announced or not; what has begun is aborted."""
        self.begin(Rules(max_size=300))
        self.assertEqual(self.hall.begin(self.alice, 301).status, 413)
        post = self.hall.begin(self.alice)
        post.feed(cpim(ALICE, ROOM), 0)
        self.assertEqual(post.status, 0)
        post.feed(b"x" * 300, 0)
        self.assertEqual((post.status, device(self.bob).got[0].state), (413, "aborted"))

    def test_own_devices(self) -> None:
        """The sender's other devices get no copy, unless the room's rules say so (§6.1)."""
        for own in (False, True):
            self.begin(Rules(own_devices=own))
            second = self.hall.join(ALICE)
            self.hall.say(self.alice)
            self.assertEqual(len(device(second).got), int(own))
            self.assertEqual(device(self.alice).got, [])

    def test_repeat(self) -> None:
        """A Message-ID that was there is acknowledged and goes nowhere (RFC 4975 §5.4)."""
        for _ in range(2):
            self.assertEqual(self.hall.status(self.alice, message_id="same"), 200)
        self.assertEqual(len(device(self.bob).got), 1)
        self.hall.say(self.bob, message_id="same")  # another's is another
        self.assertEqual(len(device(self.alice).got), 1)
        self.assertEqual(len(self.hall.settled), 3)

    def test_repeat_after_reconnecting(self) -> None:
        """What a device says again because its connection broke is known (RFC 4975 §5.4)."""
        phone = self.hall.join(DAVE, device="urn:uuid:1")
        self.hall.say(phone, message_id="m1")
        again = self.hall.join(DAVE, device="urn:uuid:1")
        self.assertFalse(phone.present)
        self.hall.say(again, message_id="m1")
        self.hall.room.leave(again, self.hall.now, "failed")
        self.hall.say(self.hall.join(DAVE, device="urn:uuid:1"), message_id="m1")
        self.assertEqual(len(device(self.bob).got), 1)

    def test_event(self) -> None:
        """A message that went out carries what is written down; reports and typing do not."""
        post = self.hall.say(self.alice, to=BOB, NS="imdn <urn:ietf:params:imdn>")
        event = post.event
        assert isinstance(event, RoomPosted)
        self.assertEqual((event.sender, event.recipient, event.copies), (ALICE, BOB, 1))
        self.assertEqual((event.content_type, event.room), ("text/plain", ROOM))
        for kind in ("application/im-iscomposing+xml", "message/imdn+xml"):
            post = self.hall.say(self.alice, kind=kind)
            self.assertEqual((post.status, post.event, post.copies), (200, None, 2))

    def test_report(self) -> None:
        """A report reaches who asked for it, though private messages are not for everybody."""
        self.begin(Rules(private=False))
        plain = self.hall.join(DAVE, offers=Offers(chatroom=frozenset()))
        self.assertEqual(self.hall.status(self.alice, to=DAVE, kind="message/imdn+xml"), 200)
        self.assertEqual(len(device(plain).got), 1)
        self.assertEqual(self.hall.status(self.alice, to="sip:x@y", kind="message/imdn+xml"), 404)


class FlowTests(Floors):
    def test_at_once(self) -> None:
        """Octets go on before the rest has come, once the headers are there (§6.1)."""
        data = cpim(ALICE, ROOM, "x" * 100_000)
        post = self.hall.begin(self.alice, len(data))
        post.feed(data[:30], 0)
        self.assertEqual(self.hall.fans, [])
        post.feed(data[30:-50], 0)
        self.assertEqual(device(self.bob).got[0].data, data[:-50])
        self.assertEqual(self.hall.settled, [])
        post.feed(data[-50:], 0)
        self.assertEqual(device(self.bob).got[0].state, "open")
        post.end(True, 0)
        self.assertEqual((device(self.bob).got[0].state, post.status), ("done", 200))

    def test_in_one_piece(self) -> None:
        """What fits into one frame is waited for, so that nothing overtakes it."""
        data = cpim(ALICE, ROOM, "x" * 50_000)
        post = self.hall.begin(self.alice, len(data))
        for start in range(0, len(data), 20_000):
            post.feed(data[start : start + 20_000], 0)
        self.hall.say(self.alice, "later")
        self.assertEqual(self.hall.fans, [])
        post.end(True, 0)
        first, second = device(self.bob).got
        self.assertEqual((first.size, first.data, first.state), (len(data), data, "done"))
        self.assertIn(b"later", second.data)

    def test_hold(self) -> None:
        """A small message of unknown size goes out in one piece; a larger one at once (§6.1)."""
        self.hall = Hall(hold=2048)
        self.alice, self.bob = self.hall.join(ALICE), self.hall.join(BOB)
        post = self.hall.begin(self.alice)
        post.feed(cpim(ALICE, ROOM), 0)
        post.feed(b"more", 0)
        self.assertEqual(self.hall.fans, [])
        post.end(True, 0)
        (copy,) = device(self.bob).got
        self.assertEqual((copy.size, copy.state), (len(copy.data), "done"))
        self.hall.begin(self.alice).feed(cpim(ALICE, ROOM, "x" * 2048), 0)
        self.assertEqual([one.size for one in device(self.bob).got[1:]], [-1])

    @given(st.lists(st.integers(0, 40), max_size=12), st.booleans())
    def test_any_split(self, cuts: list[int], announced: bool) -> None:
        """However the octets come, the same octets go out (§6.1, §9.5)."""
        self.begin()
        data = cpim(ALICE, ROOM, "Hello Bob")
        post = self.hall.begin(self.alice, len(data) if announced else -1)
        at = 0
        for cut in cuts:
            post.feed(data[at : at + cut], 0)
            at += cut
        post.feed(data[at:], 0)
        post.end(True, 0)
        self.assertEqual(post.status, 200)
        self.assertEqual([one.data for one in device(self.carol).got], [data])

    def test_newcomers(self) -> None:
        """Who comes while a message is under way gets nothing of it (§6.1)."""
        post = self.hall.begin(self.alice)
        post.feed(cpim(ALICE, ROOM), 0)
        dave = self.hall.join(DAVE)
        post.feed(b"more", 0)
        post.end(True, 0)
        self.assertEqual(device(dave).got, [])
        self.assertEqual(self.got()[1], ["himore"])

    def test_recipient_goes(self) -> None:
        """Who goes while a message is under way gets no more of it (§6.1)."""
        post = self.hall.begin(self.alice)
        post.feed(cpim(ALICE, ROOM), 0)
        self.hall.room.leave(self.bob, 0)
        post.feed(b"more", 0)
        post.end(True, 0)
        self.assertEqual(device(self.bob).got[0].state, "dropped")
        self.assertEqual(self.got()[2], ["himore"])

    def test_sender_goes(self) -> None:
        """What the sender did not finish is aborted everywhere (§6.1)."""
        post = self.hall.begin(self.alice)
        post.feed(cpim(ALICE, ROOM), 0)
        self.hall.room.leave(self.alice, 0, "failed")
        self.assertEqual((device(self.bob).got[0].state, post.status), ("aborted", 0))
        self.assertEqual(self.hall.settled, [post])
        post.feed(b"more", 0)
        post.end(True, 0)
        self.assertEqual(self.hall.settled, [post])

    def test_broken_off(self) -> None:
        """The sender's own abort is passed on (RFC 4975 §7.1)."""
        post = self.hall.begin(self.alice)
        post.feed(cpim(ALICE, ROOM), 0)
        post.end(False, 0)
        self.assertEqual((device(self.bob).got[0].state, post.status), ("aborted", 0))

    def test_chunk_timer(self) -> None:
        """A message that does not go on is given up, after a time counted anew (§6.1)."""
        self.begin(Rules(patience=540.0))
        post = self.hall.begin(self.alice)
        post.feed(cpim(ALICE, ROOM), 1000.0)
        post.feed(b"more", 1400.0)
        self.hall.room.wake(1900.0)
        self.assertEqual(post.state, FLOWING)
        assert self.hall.room.deadline is not None
        self.hall.room.wake(1940.0)
        self.assertEqual((post.state, device(self.bob).got[0].state), (OVER, "aborted"))

    def test_interleaved(self) -> None:
        """Messages of one sender may be under way together (RFC 4975 §5.1)."""
        first, second = self.hall.begin(self.alice), self.hall.begin(self.alice)
        first.feed(cpim(ALICE, ROOM, "one"), 0)
        second.feed(cpim(ALICE, ROOM, "two"), 0)
        second.end(True, 0)
        first.end(True, 0)
        self.assertEqual(self.got()[1], ["one", "two"])

    def test_not_too_many(self) -> None:
        """One session has some messages under way at a time, not any number (§11)."""
        self.begin(Rules(under_way=3))
        posts = [self.hall.begin(self.alice) for _ in range(4)]
        self.assertEqual([one.status for one in posts], [0, 0, 0, 413])
        posts[0].end(False, 0)
        self.assertEqual(self.hall.begin(self.alice).status, 0)
        self.assertEqual(self.hall.begin(self.bob).status, 0)


class CongestionTests(Floors):
    RULES = Rules(mark=1000, queue=5000, grace=20.0, notices=False)

    def setUp(self) -> None:
        self.begin(self.RULES)

    def test_pause(self) -> None:
        """Who speaks waits for who is slow, and goes on when that one keeps up (§6.4)."""
        post = self.hall.begin(self.alice)
        post.feed(cpim(ALICE, ROOM), 0)
        self.hall.room.pressure(self.bob, 1000, 0)
        self.assertTrue(device(self.alice).paused)
        self.assertFalse(device(self.carol).paused)
        self.hall.begin(self.carol).feed(cpim(CAROL, ROOM), 0)  # begins while Bob is slow
        self.assertTrue(device(self.carol).paused)
        self.hall.room.pressure(self.bob, 700, 0)
        self.assertTrue(device(self.alice).paused)
        self.hall.room.pressure(self.bob, 500, 0)
        self.assertFalse(device(self.alice).paused or device(self.carol).paused)

    def test_two_slow(self) -> None:
        """A speaker waits for all who are slow."""
        post = self.hall.begin(self.alice)
        post.feed(cpim(ALICE, ROOM), 0)
        for one in (self.bob, self.carol):
            self.hall.room.pressure(one, 1000, 0)
        self.hall.room.pressure(self.bob, 0, 0)
        self.assertTrue(device(self.alice).paused)
        self.hall.room.leave(self.carol, 0)
        self.assertFalse(device(self.alice).paused)

    def test_private_does_not_wait(self) -> None:
        """A message to one does not wait for another."""
        self.hall.room.pressure(self.bob, 1000, 0)
        self.hall.begin(self.alice).feed(cpim(ALICE, CAROL), 0)
        self.assertFalse(device(self.alice).paused)

    def test_grace(self) -> None:
        """Who stays slow has to go (§6.4)."""
        self.hall.room.pressure(self.bob, 1000, 1000.0)
        self.hall.begin(self.alice).feed(cpim(ALICE, ROOM), 1000.0)
        self.hall.room.wake(1019.0)
        self.assertTrue(self.bob.present)
        self.hall.room.wake(1025.0)
        self.hall.look()
        self.assertEqual(self.hall.dropped(), [self.bob])
        self.assertFalse(device(self.alice).paused)

    def test_one_after_the_other(self) -> None:
        """Nobody waits for one and then for another: what was said would seem lost by then."""
        post = self.hall.begin(self.alice)
        post.feed(cpim(ALICE, ROOM), 1000.0)
        self.hall.room.pressure(self.bob, 1000, 1000.0)
        self.hall.room.pressure(self.carol, 1000, 1015.0)
        self.hall.room.wake(1021.0)
        self.hall.look()
        self.assertEqual(self.hall.dropped(), [self.bob, self.carol])
        self.assertFalse(device(self.alice).paused)

    def test_each_in_its_own_time(self) -> None:
        """Who keeps up again starts anew, and so does who waits for it."""
        self.hall.begin(self.alice).feed(cpim(ALICE, ROOM), 1000.0)
        self.hall.room.pressure(self.bob, 1000, 1000.0)
        self.hall.room.pressure(self.bob, 0, 1015.0)
        self.hall.room.pressure(self.carol, 1000, 1016.0)
        self.hall.room.wake(1030.0)
        self.hall.look()
        self.assertEqual(self.hall.dropped(), [])
        self.hall.room.wake(1036.0)
        self.hall.look()
        self.assertEqual(self.hall.dropped(), [self.carol])

    def test_queue(self) -> None:
        """Who has too much waiting has to go at once, whatever the rule (§6.4)."""
        self.hall.room.pressure(self.bob, 5000, 0)
        self.hall.look()
        self.assertEqual(self.hall.dropped(), [self.bob])

    def test_drop(self) -> None:
        """Where nobody waits, who is slow stays as long as its queue has room (§6.4)."""
        self.begin(Rules(mark=1000, queue=5000, congestion=DROP))
        self.hall.begin(self.alice).feed(cpim(ALICE, ROOM), 0)
        self.hall.room.pressure(self.bob, 4999, 0)
        self.assertFalse(device(self.alice).paused)
        self.hall.room.pressure(self.bob, 5000, 0)
        self.assertFalse(self.bob.present)

    def test_ends_the_room(self) -> None:
        """When the last listener is too slow, and the room ends, the message does, too."""
        for asked in (False, True):
            self.hall = Hall(attrs.evolve(self.RULES, kind=AD_HOC, least=2))
            self.alice, self.bob = self.hall.join(ALICE), self.hall.join(BOB)
            device(self.bob).stuck, device(self.bob).queue = True, 5000
            thought: list[Post] = []
            if asked:
                self.hall.room.asks = thought.append
            data = cpim(ALICE, ROOM, kind="image/png")
            post = self.hall.begin(self.alice, len(data) + 100_000)
            post.feed(data, 0)
            post.feed(b"more", 0)
            post.end(True, 0)
            for one in thought:
                one.decide(None, None, 0)
            self.assertTrue(self.hall.room.is_over)
            self.assertEqual((post.status, self.hall.settled), (0, [post]))
            went = data + b"more" if asked else data
            self.assertEqual([one.data for one in self.hall.fans], [went])

    def test_slow_speaker(self) -> None:
        """Nobody waits for itself."""
        self.hall.begin(self.alice).feed(cpim(ALICE, ROOM), 0)
        self.hall.room.pressure(self.alice, 1000, 0)
        self.assertFalse(device(self.alice).paused)


class AskingTests(Floors):
    def setUp(self) -> None:
        self.begin()
        self.asked: list[Post] = []
        self.hall.room.asks = self.asked.append

    def decide(self, refused: PeerError | None = None, text: str | None = None) -> None:
        self.asked.pop(0).decide(refused, text, 0)

    def test_text_is_shown(self) -> None:
        """A text is whole when it is asked about, and goes nowhere before."""
        data = cpim(ALICE, ROOM, "hello")
        post = self.hall.begin(self.alice)
        post.feed(data[:-2], 0)
        self.assertEqual((self.asked, self.hall.fans), ([], []))
        post.feed(data[-2:], 0)
        post.end(True, 0)
        self.assertEqual(([one.text for one in self.asked], post.status), (["hello"], 0))
        self.decide()
        self.assertEqual((self.got()[1], post.status), (["hello"], 200))

    def test_refused(self) -> None:
        """A message that a feature does not want goes to nobody."""
        post = self.hall.say(self.alice)
        self.decide(Refused("no", 403))
        self.assertEqual((post.status, post.comment, self.hall.fans), (403, "no", []))
        self.assertEqual(self.hall.settled, [post])

    def test_other_text(self) -> None:
        """A feature may change a text."""
        self.hall.say(self.alice, "darn")
        self.decide(text="****")
        self.assertEqual(self.got()[1:], [["****"], ["****"]])

    def test_order(self) -> None:
        """Messages of one sender stay in order, whatever is decided first."""
        self.hall.say(self.alice, "one")
        self.hall.say(self.alice, "two")
        self.hall.say(self.bob, "three")
        self.asked[1].decide(None, None, 0)
        self.asked[2].decide(None, None, 0)
        self.assertEqual(self.got()[2], ["three"])
        self.asked[0].decide(None, None, 0)
        self.assertEqual(self.got()[2], ["three", "one", "two"])

    def test_refused_first(self) -> None:
        """A refused message holds up nobody."""
        self.hall.say(self.alice, "one")
        self.hall.say(self.alice, "two")
        self.asked[1].decide(None, None, 0)
        self.asked[0].decide(Refused("no", 403), None, 0)
        self.assertEqual(self.got()[2], ["two"])

    def test_other_types(self) -> None:
        """What is no text is asked about at once, and its sender waits for the opinion."""
        post = self.hall.begin(self.alice)
        post.feed(cpim(ALICE, ROOM, "x", kind="image/png"), 0)
        self.assertEqual((len(self.asked), post.state), (1, ASKING))
        self.assertTrue(device(self.alice).paused)
        post.feed(b"y", 0)
        self.decide(text="nonsense")
        self.assertFalse(device(self.alice).paused)
        post.end(True, 0)
        self.assertEqual(device(self.bob).got[0].data[-2:], b"xy")

    def test_large_text(self) -> None:
        """A text that is too large to be shown is asked about without it."""
        post = self.hall.begin(self.alice)
        post.feed(cpim(ALICE, ROOM, "x" * (LOOK + 1)), 0)
        self.assertEqual([one.text for one in self.asked], [""])
        self.decide()
        self.assertEqual(post.state, FLOWING)

    def test_waiting_is_limited(self) -> None:
        """A message behind one that is not whole does not pile up: the first is asked about."""
        first, second = self.hall.begin(self.alice), self.hall.begin(self.alice)
        first.feed(cpim(ALICE, ROOM, "x"), 0)
        second.feed(cpim(ALICE, ROOM, "y" * LOOK), 0)
        self.assertEqual([one.text for one in self.asked], ["", ""])
        self.assertTrue(device(self.alice).paused)
        self.decide()
        self.decide()
        self.assertFalse(device(self.alice).paused)
        self.assertEqual((first.state, second.state), (FLOWING, FLOWING))

    def test_gone_meanwhile(self) -> None:
        """Who has left since gets nothing; the one recipient that has is 404 (§6.2)."""
        whole, private = self.hall.say(self.alice), self.hall.say(self.alice, to=BOB)
        self.hall.room.leave(self.bob, 0)
        self.decide()
        self.decide()
        self.assertEqual((whole.status, private.status), (200, 404))
        self.assertEqual(self.got(), [[], [], ["hi"]])

    def test_sender_comes_back(self) -> None:
        """Who has gone and come back before its message is decided on does not get it."""
        self.hall.say(self.alice)
        self.hall.room.leave(self.alice, 0)
        again = self.hall.join(ALICE)
        self.decide()
        self.assertEqual((device(again).got, self.got()[1]), ([], ["hi"]))

    def test_sender_gone(self) -> None:
        """What was said to the end before its sender left is still decided on."""
        whole, half = self.hall.say(self.alice), self.hall.begin(self.alice)
        half.feed(cpim(ALICE, ROOM), 0)
        self.hall.room.leave(self.alice, 0)
        self.decide()
        self.assertEqual((whole.status, half.state), (200, OVER))
        self.assertEqual(self.got()[1:], [["hi"], ["hi"]])


class AnonymityTests(Floors):
    def setUp(self) -> None:
        super().setUp()
        self.dave = self.hall.join(DAVE, hidden=True)
        self.alias = self.dave.person.shown

    def test_speaks(self) -> None:
        """An anonymous participant speaks under its anonymous address alone (§6.1)."""
        for author in (ANYBODY, self.alias, f"{self.alias};x=y", "sip:me@anonymous.invalid"):
            self.assertEqual(self.hall.status(self.dave, author=author), 200)
            self.assertEqual(device(self.bob).whole()[-1].value("From"), f"<{self.alias}>")
        for author in (DAVE, BOB):
            self.assertEqual(self.hall.status(self.dave, author=author), 403)

    def test_not_as_another(self) -> None:
        """Nobody speaks under another's anonymous address."""
        carol = self.hall.join(CAROL, hidden=True)
        self.assertNotEqual(carol.person.shown, self.alias)
        self.assertEqual(self.hall.status(carol, author=self.alias), 403)
        self.assertEqual(self.hall.status(self.alice, author=self.alias), 403)

    def test_name_is_taken_off(self) -> None:
        """A display name that a program puts beside the address does not go out."""
        data = cpim(ALICE, ROOM).replace(
            f"<{ALICE}>".encode(), f'"Dave D." <{self.alias}>'.encode()
        )
        for size in (len(data), -1):
            post = self.hall.begin(self.dave, size)
            for at in range(0, len(data), 7):
                post.feed(data[at : at + 7], 0)
            post.end(True, 0)
            self.assertEqual(post.status, 200)
            found = device(self.bob).whole()[-1]
            self.assertEqual((found.value("From"), found.part.text()), (f"<{self.alias}>", "hi"))

    def test_private(self) -> None:
        """Private messages reach the anonymous address; the true one is unknown (§6.2)."""
        self.assertEqual(self.hall.status(self.alice, to=self.alias), 200)
        self.assertEqual(device(self.dave).texts(), ["hi"])
        self.assertEqual(self.hall.status(self.alice, to=DAVE), 404)

    def test_report(self) -> None:
        """A report of who is anonymous names the anonymous address (RFC 5438 §14.2)."""
        told = Imdn("m1", "2026-01-01T00:00:00Z", "delivery", "delivered", DAVE, DAVE)
        text = write_imdn(told).decode()
        post = self.hall.say(self.dave, text, ALICE, kind="message/imdn+xml")
        self.assertEqual(post.status, 200)
        found = device(self.alice).got[0].data
        self.assertNotIn(b"dave", found)
        self.assertEqual(parse_imdn(Cpim.parse(found).part.content).recipient_uri, self.alias)
        self.assertEqual(self.hall.status(self.dave, "<no/>", ALICE, kind="message/imdn+xml"), 400)
        data = cpim(self.alias, ALICE, "x" * (LOOK + 1), "message/imdn+xml")
        post = self.hall.begin(self.dave)
        post.feed(data, 0)
        self.assertEqual(post.status, 413)

    def test_event(self) -> None:
        """What is written down for the operator knows both addresses."""
        event = self.hall.say(self.dave).event
        assert event is not None
        self.assertEqual((event.sender, event.shown), (DAVE, self.alias))
