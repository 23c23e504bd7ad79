"""Messages that wait: in order, one at a time, once, and not for ever."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from omaim.bodies.cpim import Cpim
from omaim.im.delivery import ATTEMPT, MOST_ATTEMPTS
from omaim.im.timetable import FIRST_PAUSE
from omaim.node.events import (
    MessageAccepted,
    MessageDeferred,
    MessageDelivered,
    MessageExpired,
    MessageRefused,
)
from omaim.node.hooks import Refuse
from omaim.node.questions import MayDefer
from omaim.roles.incoming import Incoming
from omaim.sip.values import date_text
from omaim.stores.records import DeferredMessage
from tests.im.support import ALICE, BOB, CAROL, CORE, IM, XENIA, ImTestCase, cpim


class KeepTests(ImTestCase):
    def test_durable_before_202(self) -> None:
        """Message and events are one commit, made before the answer."""
        self.assertEqual(self.send("term", XENIA, BOB, state="unreg").status, 202)
        accepted, deferred = self.outbox()
        assert isinstance(accepted, MessageAccepted)
        assert isinstance(deferred, MessageDeferred)
        self.assertEqual((accepted.side, accepted.recipients), ("terminating", (BOB,)))
        self.assertEqual((deferred.sender, deferred.recipient, deferred.size), (XENIA, BOB, 5))
        self.assertEqual(self.events, [accepted, deferred])

    def test_delivered_at_registration(self) -> None:
        """A registration brings what waited, with what told of its sender and its time."""
        start = self.clock.now()
        headers = (("Subject", "news"), ("Privacy", "none"), ("Accept-Contact", "*;audio"))
        asked = self.core.isc("term", XENIA, BOB, state="unreg", headers=headers)
        self.ask(asked)
        self.clock.advance(3600)
        self.register(BOB)
        (seen,) = self.core.seen
        self.assertEqual((seen.uri, seen.body), (BOB, b"hello"))
        self.assertEqual(seen.all("Route"), [f"<sip:{CORE}:5060;lr>"])
        self.assertEqual(seen.first("P-Asserted-Identity"), f"<{XENIA}>")
        self.assertEqual(seen.first("From"), asked.first("From"))
        self.assertEqual(seen.first("P-Charging-Vector"), asked.first("P-Charging-Vector"))
        for name, value in headers:
            self.assertEqual(seen.first(name), value)
        self.assertEqual(seen.first("Date"), date_text(start))
        self.assertIn("IM-serv/OMA1.0", seen.first("User-Agent") or "")
        self.assertFalse(seen.has("P-Served-User"))
        self.assertNotEqual(seen.call_id, asked.call_id)
        self.assertEqual(self.waiting(BOB), [])
        (event,) = self.of(MessageDelivered)
        self.assertTrue(event.deferred)
        self.assertEqual(event.recipient, BOB)

    def test_once(self) -> None:
        """The next registration brings nothing again."""
        self.send("term", XENIA, BOB, state="unreg")
        self.register(BOB)
        self.register(BOB)
        self.assertEqual(len(self.core.seen), 1)

    def test_deregistration(self) -> None:
        """Expires 0 tells that the user is gone: nothing is tried."""
        self.send("term", XENIA, BOB, state="unreg")
        self.register(BOB, 0)
        self.assertEqual(self.core.seen, [])

    def test_order(self) -> None:
        """What came first is delivered first, and the next only after its answer."""
        for number in range(40):
            self.send("term", XENIA, BOB, str(number).encode(), state="unreg")
        self.core.otherwise = None
        self.register(BOB)
        self.assertEqual([one.body for one in self.core.seen], [b"0"])
        self.core.otherwise = 200
        self.core.incoming[0].reply(200)
        self.clock.advance(5.0)
        self.assertEqual(self.bodies(), [str(number).encode() for number in range(40)])

    def test_no_overtaking(self) -> None:
        """While older messages wait, a newer one gets in line behind them."""
        self.send("term", XENIA, BOB, b"first", state="unreg")
        self.assertEqual(self.send("term", XENIA, BOB, b"second").status, 202)
        self.clock.advance(1.0)
        self.assertEqual(self.bodies(), [b"first", b"second"])
        self.assertEqual(self.send("term", XENIA, BOB, b"third").status, 200)

    def test_repeat(self) -> None:
        """A sender that did not hear our 202 repeats; the message is kept once."""
        body = cpim("once", sender=XENIA)
        for _ in range(2):
            response = self.send("term", XENIA, BOB, body, "message/cpim", state="unreg")
            self.assertEqual(response.status, 202)
        self.assertEqual(len(self.waiting(BOB)), 1)
        self.assertEqual(len(self.of(MessageDeferred)), 1)
        self.register(BOB)
        self.core.seen.clear()
        self.assertEqual(
            self.send("term", XENIA, BOB, body, "message/cpim", state="unreg").status, 202
        )
        self.assertEqual(self.waiting(BOB), [])

    def test_others_ids(self) -> None:
        """Another sender's identifier is another message."""
        for sender in (XENIA, CAROL):
            body = cpim(sender=sender)
            self.send("term", sender, BOB, body, "message/cpim", state="unreg")
        self.assertEqual(len(self.waiting(BOB)), 2)

    def test_registered_meanwhile(self) -> None:
        """A message that was for somebody absent when it left the core is not left waiting."""
        self.register(BOB)
        self.assertEqual(self.send("term", XENIA, BOB, state="unreg").status, 202)
        self.clock.advance(1)
        self.assertEqual(self.bodies(), [b"hello"])
        self.clock.advance(60)
        self.send("term", XENIA, BOB, state="unreg")
        self.clock.advance(1)
        self.assertEqual(self.bodies(), [])

    def test_identities(self) -> None:
        """All that is registered together gets its messages (RFC 7315 §4.1)."""
        work = "sip:bob.work@north.example"
        self.send("term", XENIA, work, state="unreg")
        answer = self.core.ua.make("REGISTER", "sip:north.example", to=f"<{BOB}>").response(200)
        answer.add("P-Associated-URI", f"<{BOB}>, <{work}>")
        self.register(BOB, body=answer.to_bytes(), kind="message/sip")
        self.assertEqual([one.uri for one in self.core.seen], [work])

    def test_hook(self) -> None:
        """A feature may be against keeping a message; it hears how many wait."""
        asked: list[MayDefer] = []

        async def opine(question: MayDefer) -> object:
            asked.append(question)
            return Refuse(480, "Mailbox closed") if question.stored else None

        self.node.hooks.add(MayDefer, "test", opine)
        self.assertEqual(self.send("term", XENIA, BOB, state="unreg").status, 202)
        response = self.send("term", XENIA, BOB, state="unreg")
        self.assertEqual(response.status, 480)
        self.assertIn("Mailbox closed", response.first("Warning") or "")
        self.assertEqual([one.stored for one in asked], [0, 1])


class PatienceTests(ImTestCase):
    settings = {"patience": 8.0}

    def test_late_success(self) -> None:
        """A device that answers after 202 has the message: it is not sent again."""
        self.core.otherwise = None
        response = self.send("term", XENIA, BOB)
        self.assertEqual(response.status, 202)
        self.assertEqual(self.waiting(BOB), [b"hello"])
        self.register(BOB)  # nobody else tries while it is on its way
        self.assertEqual(len(self.core.seen), 1)
        self.core.otherwise = 200
        self.core.incoming[0].reply(200)
        self.clock.advance(ATTEMPT + 20)
        self.assertEqual(len(self.core.seen), 1)
        self.assertEqual(self.waiting(BOB), [])
        self.assertEqual(len(self.of(MessageDelivered)), 1)

    def test_late_refusal(self) -> None:
        """A device that refuses late ends the message, and its sender is told."""
        self.core.script = [None]
        self.send("term", ALICE, BOB, cpim(wanted="negative-delivery"), "message/cpim")
        self.core.incoming[0].reply(603)
        self.clock.advance(1.0)
        self.assertEqual(self.waiting(BOB), [])
        self.assertEqual(len(self.of(MessageRefused)), 1)
        ((to, report),) = self.reports()
        self.assertEqual((to, report.status), (ALICE, "failed"))

    def test_late_unavailable(self) -> None:
        """A device that is busy for a moment is tried again."""
        self.core.script = [None]
        self.send("term", XENIA, BOB)
        self.core.incoming[0].reply(503)
        self.clock.advance(FIRST_PAUSE + 2)
        self.assertEqual(len(self.core.seen), 2)
        self.assertEqual(self.waiting(BOB), [])

    def test_another_device(self) -> None:
        """A message under way to a device that is gone waits no longer than a live one needs when
        another device is there; what the first says later brings no third copy."""
        self.device(BOB, "sip:bob@192.0.2.1")
        self.core.script = [None]
        self.assertEqual(self.send("term", XENIA, BOB).status, 202)
        self.device(BOB, "sip:bob@192.0.2.1")  # a refresh says nothing of another device
        self.clock.advance(3.0)
        self.assertEqual(len(self.core.seen), 1)
        self.device(BOB, "sip:bob@192.0.2.1", "sip:bob@192.0.2.2")
        self.clock.advance(2.0)
        self.assertEqual(len(self.core.seen), 2)
        self.assertEqual(self.waiting(BOB), [])
        self.core.incoming[0].reply(603)
        self.clock.advance(2 * ATTEMPT)
        self.assertEqual((len(self.core.seen), self.of(MessageRefused)), (2, []))
        self.assertEqual(len(self.of(MessageDelivered)), 1)

    def test_nothing_to_keep(self) -> None:
        """For what cannot be kept the answer is awaited: nobody hears 480 of a delivery."""
        self.core.otherwise = None
        request = self.core.isc("term", XENIA, BOB, headers=(("Expires", "0"),))
        asking = Deferred.fromCoroutine(self.core.ua.request(request))
        self.clock.advance(12)
        self.assertNoResult(asking)
        self.core.incoming[0].reply(200)
        self.assertEqual(self.wait(asking).status, 200)

    def test_no_answer(self) -> None:
        """A device that never answers gets the message again: it may not have it."""
        self.core.script = [None]
        self.send("term", XENIA, BOB)
        self.clock.advance(120)
        self.assertEqual(self.bodies(), [b"hello", b"hello"])
        self.assertEqual(self.waiting(BOB), [])


class RetryTests(ImTestCase):
    def deferred(self, *names: bytes) -> None:
        """Let messages wait."""
        for name in names:
            self.send("term", XENIA, BOB, name, state="unreg")

    def test_another_device(self) -> None:
        """A queue that hangs on a device that is gone goes on at once at another one, in order,
        with one repetition (RFC 3428 §8)."""
        self.deferred(b"one", b"two", b"three")
        self.core.script = [None]
        self.device(BOB, "sip:bob@192.0.2.1")
        self.clock.advance(10.0)
        self.assertEqual(self.bodies(), [b"one"])
        self.device(BOB, "sip:bob@192.0.2.2")
        self.clock.advance(1.0)
        self.assertEqual(self.bodies(), [b"one", b"two", b"three"])
        self.clock.advance(100.0)
        self.assertEqual((self.bodies(), self.waiting(BOB)), ([], []))

    def test_another_device_at_once(self) -> None:
        """An attempt that has just begun is given its time: the device may be a living one."""
        self.deferred(b"one")
        self.core.script = [None]
        self.device(BOB, "sip:bob@192.0.2.1")
        self.device(BOB, "sip:bob@192.0.2.1", "sip:bob@192.0.2.2")
        self.assertEqual(len(self.core.seen), 1)
        self.core.incoming[0].reply(200)
        self.clock.advance(100.0)
        self.assertEqual((len(self.core.seen), self.waiting(BOB)), (1, []))

    def test_same_device(self) -> None:
        """A refresh of a slow device brings no repetition."""
        self.deferred(b"one")
        self.core.script = [None]
        self.device(BOB, "sip:bob@192.0.2.1")
        for _ in range(3):
            self.clock.advance(6.0)
            self.device(BOB, "sip:bob@192.0.2.1")
        self.core.incoming[0].reply(200)
        self.clock.advance(100.0)
        self.assertEqual((len(self.core.seen), self.waiting(BOB)), (1, []))

    def test_answer_of_the_first(self) -> None:
        """What the first device takes after all is not tried again."""
        self.deferred(b"one")
        self.core.script = [None, None]
        self.device(BOB, "sip:bob@192.0.2.1")
        self.clock.advance(10.0)
        self.device(BOB, "sip:bob@192.0.2.2")
        self.clock.advance(1.0)
        self.assertEqual(len(self.core.seen), 2)
        self.core.incoming[0].reply(200)
        self.clock.advance(300.0)
        self.assertEqual((len(self.core.seen), self.waiting(BOB)), (2, []))
        self.assertEqual(len(self.of(MessageDelivered)), 1)

    def test_absent(self) -> None:
        """A user who is not there is not tried again until there is a registration."""
        self.send("term", XENIA, BOB, state="unreg")
        self.core.script = [480]
        self.register(BOB)
        self.clock.advance(86400)
        self.assertEqual(len(self.core.seen), 1)
        self.register(BOB)
        self.assertEqual(len(self.core.seen), 2)
        self.assertEqual(self.waiting(BOB), [])

    def test_repeat_can_be_told(self) -> None:
        """Each try has the same Call-ID and a higher CSeq."""
        self.send("term", XENIA, BOB, state="unreg")
        self.core.script = [503, 503, 200]
        self.register(BOB)
        self.clock.advance(200)
        first, second, third = self.core.seen
        self.assertEqual({first.call_id}, {second.call_id, third.call_id})
        self.assertLess(first.cseq.number, second.cseq.number)
        self.assertLess(second.cseq.number, third.cseq.number)

    def test_another_server(self) -> None:
        """What another server has under way is left to it until its time is over."""
        self.send("term", XENIA, BOB, state="unreg")
        (message,) = self.successResultOf(self.stores.deferred.waiting(BOB, 0.0))
        now = self.clock.now()
        self.wait(
            self.stores.deferred.attempt(BOB, [message.reference], "im-2 x", now, now + ATTEMPT)
        )
        self.register(BOB)
        self.assertEqual(self.core.seen, [])
        self.clock.advance(ATTEMPT + 5)
        self.assertEqual(self.bodies(), [b"hello"])

    def test_registration_during_failure(self) -> None:
        """A registration that comes while a try is failing is a reason for another at once."""
        self.send("term", XENIA, BOB, state="unreg")
        self.core.script = [None]
        self.register(BOB)
        self.register(BOB)
        self.core.incoming[0].reply(480)
        self.clock.advance(2)
        self.assertEqual(len(self.core.seen), 2)
        self.assertEqual(self.waiting(BOB), [])

    def test_slow_store(self) -> None:
        """A message that is stored while the last one is looked for is not forgotten."""
        store = self.stores.deferred
        waiting = store.waiting

        def slowly(*args: Any, **named: Any) -> Deferred[Any]:
            found = self.successResultOf(waiting(*args, **named))
            return deferLater(self.clock, 0.5, lambda: found)

        self.patch(store, "waiting", slowly)
        request = self.core.ua.make("REGISTER", f"sip:{IM}", to=f"<{BOB}>")
        self.assertEqual(self.ask(request).status, 200)
        self.send("term", XENIA, BOB, b"first", state="unreg")
        self.clock.advance(0.7)
        self.assertEqual(self.send("term", XENIA, BOB, b"second").status, 202)
        self.clock.advance(5)
        self.assertEqual(self.bodies(), [b"first", b"second"])

    def test_overloaded(self) -> None:
        """Overload on the way is no fault of the message: it waits however long that takes."""
        self.send("term", XENIA, BOB, state="unreg")
        self.core.script = [503, 504] * MOST_ATTEMPTS
        self.register(BOB)
        self.clock.advance(86400)
        self.assertEqual(len(self.core.seen), 2 * MOST_ATTEMPTS + 1)
        self.assertEqual(self.of(MessageRefused), [])

    def test_poison(self) -> None:
        """A message that a device cannot stand does not stop the others for ever."""
        self.send("term", XENIA, BOB, b"poison", state="unreg")
        self.send("term", XENIA, BOB, b"food", state="unreg")
        self.core.script = [500] * MOST_ATTEMPTS
        self.register(BOB)
        self.clock.advance(86400)
        self.assertEqual(self.bodies(), [b"poison"] * MOST_ATTEMPTS + [b"food"])
        self.assertEqual(self.waiting(BOB), [])

    def test_poison_for_a_moment(self) -> None:
        """A device with a short trouble of its own loses nothing, however often it is tried."""
        self.core.otherwise = 500
        for number in range(3 * MOST_ATTEMPTS):
            self.send("term", XENIA, BOB, str(number).encode())
        self.core.otherwise = 200
        self.bodies()
        self.register(BOB)
        self.assertEqual(self.bodies(), [b"%d" % one for one in range(3 * MOST_ATTEMPTS)])

    def test_poison_after_absence(self) -> None:
        """That a user was away long and tried often does not count against a message."""
        self.send("term", XENIA, BOB, b"first", state="unreg")
        self.core.otherwise = 480
        for _ in range(2 * MOST_ATTEMPTS):
            self.register(BOB)
        self.core.otherwise = 500
        self.register(BOB)
        self.core.otherwise = 200
        self.register(BOB)
        self.assertEqual(self.waiting(BOB), [])
        self.assertEqual(self.of(MessageRefused), [])

    def test_refused(self) -> None:
        """A message that is refused is over, and the next follows (RFC 3428 §7)."""
        self.send("term", XENIA, BOB, b"one", state="unreg")
        self.send("term", XENIA, BOB, b"two", state="unreg")
        self.core.script = [603, 200]
        self.register(BOB)
        self.assertEqual(self.bodies(), [b"one", b"two"])
        self.assertEqual(self.waiting(BOB), [])
        (event,) = self.of(MessageRefused)
        self.assertEqual(event.status, 603)

    def test_adapted(self) -> None:
        """A device that refuses CPIM gets the deferred text without it."""
        self.send("term", ALICE, BOB, cpim("deep", wanted=""), "message/cpim", state="unreg")
        self.core.script = [415, 200]
        self.register(BOB)
        self.assertEqual(self.core.seen[1].body, b"deep")
        self.assertEqual(self.waiting(BOB), [])

    def test_restart(self) -> None:
        """After a start the server remembers for whom something is kept, and tries gently."""
        for user in (BOB, CAROL):
            self.send("term", XENIA, user, state="unreg")
        self.stop()
        self.core.script = [480, 200]
        self.start()
        self.clock.advance(30)
        self.assertEqual([one.uri for one in self.core.seen], [BOB, CAROL])
        self.assertEqual(len(self.waiting(BOB)), 1)
        # Who is known to have something waiting cannot be overtaken.
        self.assertEqual(self.send("term", XENIA, BOB, b"new").status, 202)

    def test_restart_during_attempt(self) -> None:
        """What was under way when the server died is sent again at once: it was our own."""
        self.send("term", XENIA, BOB, state="unreg")
        self.core.script = [None]
        self.register(BOB)
        self.stop()
        self.start()
        self.register(BOB)
        self.clock.advance(2)
        self.assertEqual(self.bodies(), [b"hello", b"hello"])
        self.assertEqual(self.waiting(BOB), [])


class SharedStoreTests(ImTestCase):
    """Several servers, of one domain each, may keep their messages in one store."""

    def put(self, recipient: str, expires_in: float = 1000.0) -> None:
        """Store what another server keeps."""
        now = self.clock.now()
        message = DeferredMessage(
            recipient=recipient,
            reference=self.core.ua.ids.token(),
            sender=ALICE,
            message_id="m9",
            content_type="message/cpim",
            body=cpim(wanted="negative-delivery"),
            stored_at=now,
            expires_at=now + expires_in,
            headers=(("From", f"<{ALICE}>;tag=1"),),
        )
        self.wait(self.stores.deferred.add(message))

    def test_not_ours(self) -> None:
        """What another server keeps is neither sent nor ended here."""
        self.stop()
        for recipient in (XENIA, f"south.example {BOB}"):
            self.put(recipient)
            self.put(f"{recipient}.x", 5.0)
        self.start()
        self.register(BOB)
        self.clock.advance(100)
        self.assertEqual(self.core.seen, [])
        self.assertEqual(self.of(MessageExpired), [])
        self.assertEqual(len(self.waiting(XENIA)), 1)
        self.assertEqual(len(self.waiting(f"south.example {BOB}")), 1)

    def test_ours(self) -> None:
        """What we keep for others is sent to them, also after a start."""
        self.stop()
        self.put(f"north.example {XENIA}")
        self.start()
        self.clock.advance(5)
        (seen,) = self.core.seen
        self.assertEqual((seen.uri, seen.first("To")), (XENIA, f"<{XENIA}>"))
        (event,) = self.of(MessageDelivered)
        self.assertEqual(event.recipient, XENIA)

    def test_number(self) -> None:
        """A user by a telephone number of its own gets what waited for that."""
        number = "tel:+15550100"
        self.assertEqual(self.send("term", XENIA, number, state="unreg").status, 202)
        self.register(number)
        self.assertEqual([one.uri for one in self.core.seen], [number])


class ExpiryTests(ImTestCase):
    settings = {"validity": 1000.0}

    def test_expired_while_away(self) -> None:
        """What is over is not delivered; the sender hears that it failed (RFC 3428 §7)."""
        self.wait(self.stores.outbox.mark("test", 0))
        body = cpim(wanted="negative-delivery")
        headers = (("Expires", "60"),)
        self.send("term", ALICE, BOB, body, "message/cpim", state="unreg", headers=headers)
        self.clock.advance(90)
        self.register(BOB)
        ((to, report),) = self.reports()
        self.assertEqual((to, report.status, report.message_id), (ALICE, "failed", "m1"))
        self.assertEqual(len(self.core.seen), 1)
        self.assertEqual(self.waiting(BOB), [])
        (event,) = self.of(MessageExpired)
        self.assertEqual((event.sender, event.recipient), (ALICE, BOB))
        self.assertIn(event, self.outbox())
        self.assertEqual(event.icid, "charge-1")

    def test_never_late(self) -> None:
        """Even before the sweep an expired message is not delivered."""
        self.send("term", XENIA, BOB, state="unreg", headers=(("Expires", "1"),))
        self.clock.advance(1.5)
        self.register(BOB)
        self.assertEqual(self.core.seen, [])

    def test_expired_in_line(self) -> None:
        """A message that expires while those before it are delivered is not delivered."""
        self.clock.advance(9.5 - self.clock.seconds() % 10)
        self.send("term", XENIA, BOB, b"one", state="unreg")
        self.send("term", XENIA, BOB, b"two", state="unreg", headers=(("Expires", "3"),))
        self.core.script = [None]
        self.register(BOB)
        self.patch(self.im.deferring, "sweep", lambda: succeed(0))
        self.clock.advance(3)
        self.core.incoming[0].reply(200)
        self.clock.advance(3)
        self.assertEqual(self.bodies(), [b"one"])

    def test_longest(self) -> None:
        """The server keeps a message no longer than it is told to."""
        self.send("term", XENIA, BOB, state="unreg", headers=(("Expires", "100000"),))
        self.clock.advance(1020)
        self.assertEqual(self.waiting(BOB), [])

    def test_not_during_delivery(self) -> None:
        """A message that is on its way does not expire under the device's hands."""
        self.send("term", XENIA, BOB, state="unreg", headers=(("Expires", "5"),))
        self.core.script = [None]
        self.register(BOB)
        self.clock.advance(25)
        self.core.incoming[0].reply(200)
        self.clock.advance(30)
        self.assertEqual(self.of(MessageExpired), [])
        self.assertEqual(len(self.of(MessageDelivered)), 1)


class QuotaTests(ImTestCase):
    settings = {"quota_count": 2}

    def test_quota(self) -> None:
        """No room is a clear refusal, 480 with a Warning, and a report of failure."""
        body = [cpim(wanted="negative-delivery", message_id=f"m{number}") for number in range(3)]
        answers = [
            self.send("term", ALICE, BOB, one, "message/cpim", state="unreg") for one in body
        ]
        self.assertEqual([one.status for one in answers], [202, 202, 480])
        self.assertIn("no room", answers[2].first("Warning") or "")
        self.clock.advance(1)
        ((to, report),) = self.reports()
        self.assertEqual((to, report.message_id, report.status), (ALICE, "m2", "failed"))
        self.assertEqual(len(self.of(MessageDeferred)), 2)

    def test_reports_make_room(self) -> None:
        """Reports are the first to go when room is short."""
        report = cpim(wanted="").replace(b"text/plain", b"message/imdn+xml")
        self.send("term", XENIA, BOB, report, "message/cpim", state="unreg")
        for text in (b"one", b"two"):
            self.assertEqual(self.send("term", XENIA, BOB, text, state="unreg").status, 202)
        self.assertEqual(self.waiting(BOB), [b"one", b"two"])


class OwnRequestTests(ImTestCase):
    def test_answer_in_pieces(self) -> None:
        """A provisional answer ends nothing."""

        def slowly(incoming: Incoming) -> None:
            incoming.reply(100)

        self.send("term", XENIA, BOB, state="unreg")
        self.core.script = [slowly]
        self.register(BOB)
        self.assertEqual(len(self.waiting(BOB)), 1)
        self.core.incoming[0].reply(200)
        self.clock.advance(1)
        self.assertEqual(self.waiting(BOB), [])

    def test_cpim_untouched(self) -> None:
        """A stored CPIM message is delivered octet for octet."""
        body = cpim("\u00fcber", sender=XENIA)
        self.send("term", XENIA, BOB, body, "message/cpim", state="unreg")
        self.register(BOB)
        delivered = [one.body for one in self.core.seen if one.uri == BOB]
        self.assertEqual(delivered, [body])
        self.assertEqual(Cpim.parse(body).part.text(), "\u00fcber")
