"""What a client takes, answers and reports."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from omaim.bodies import imdn
from omaim.bodies.cpim import MEDIA_TYPE as CPIM
from omaim.bodies.cpim import Address
from omaim.bodies.deferred_list import MEDIA_TYPE as DEFERRED
from omaim.bodies.deferred_list import Waiting, write_deferred_list
from omaim.bodies.imdn import Imdn, write_imdn
from omaim.client import arrivals, failures, inbox, outbox, seen
from omaim.client.failures import Busy, NoAnswer, NoReport, Refused, WrongFormat
from omaim.client.messages import Message
from omaim.roles.incoming import Incoming
from omaim.sip.message import Request, Response
from tests.client.support import ALICE, BOB, CORE, ServedTests, cpim, envelope


class InboxTests(ServedTests):
    def setUp(self) -> None:
        super().setUp()
        self.register()
        self.got: list[Message] = []
        self.alice.on_message(self.got.append)

    def take(self, body: bytes, content_type: str = CPIM, **named: Any) -> Any:
        """Send alice a MESSAGE; return her answer when all that follows is over."""
        response = self.wait(self.server.message(body, content_type, **named))
        self.settle()
        return response

    @property
    def reports(self) -> list[Request]:
        return self.server.of("MESSAGE")

    def test_delivery_report(self) -> None:
        """A delivery report goes to who asked, after the 200 (RFC 5438 §7.2.1.1)."""
        self.assertEqual(self.take(cpim("hello")).status, 200)
        (report,) = self.reports
        self.assertEqual(report.uri, BOB)
        message = envelope(report)
        self.assertEqual(str(message.from_), f"<{ALICE}>")
        self.assertEqual(message.part.disposition, "notification")
        (said,) = imdn.read_reports(message)
        self.assertEqual((said.message_id, said.kind, said.status), ("m1", "delivery", "delivered"))
        self.assertEqual(said.recipient_uri, ALICE)
        self.assertEqual(message.wanted, [])

    def test_repeated(self) -> None:
        """The same message by author and Message-ID again is answered 200 and not shown."""
        for _ in range(3):
            self.assertEqual(self.take(cpim("hello")).status, 200)
        self.assertEqual([one.text for one in self.got], ["hello"])
        self.assertEqual(len(self.reports), 1)
        self.take(cpim("hello", sender="sip:carol@north.example"), sender="sip:carol@north.example")
        self.take(cpim("hello", message_id="m2"))
        self.assertEqual(len(self.got), 3)

    def test_repeated_without_id(self) -> None:
        """A repeat of a message without Message-ID is known by Call-ID, Date and content; those
        that say less may be new ones."""

        noon, later = "Mon, 23 Nov 2026 12:00:00 GMT", "Mon, 23 Nov 2026 12:00:01 GMT"
        for said in (
            (b"hello", "1@x", noon),
            (b"hello", "1@x", noon),
            (b"hello", "1@x", later),
            (b"hello!", "1@x", noon),
            (b"hello", "2@x", noon),
            (b"hello", "1@x", ""),
            (b"hello", "1@x", ""),
        ):
            body, call_id, date = said
            headers = [("Date", date)] if date else None
            answer = self.take(body, "text/plain", headers=headers, call_id=call_id)
            self.assertEqual(answer.status, 200)
        self.assertEqual(len(self.got), 6)

    def test_repeats_are_forgotten(self) -> None:
        """What is remembered of old messages is bounded."""
        self.patch(seen, "REMEMBERED", 3)
        for number in range(6):
            self.take(cpim("x", message_id=f"m{number}", reports=()))
        self.assertLessEqual(len(self.alice.inbox._seen), 3)

    def test_no_report_unasked(self) -> None:
        """Nobody gets a report that was not asked for."""
        self.take(cpim("hello", reports=("negative-delivery",)))
        self.take(cpim("hello", message_id="", reports=()))
        self.take(b"hello", "text/plain")
        self.wait(self.got[0].read())
        self.assertEqual(self.reports, [])
        self.assertEqual(len(self.got), 3)

    def test_no_report_for_a_report(self) -> None:
        """A report is never reported on, whatever it asks for (RFC 5438 §7.2.1)."""
        said = Imdn("unknown", "2026-01-01T00:00:00Z", "delivery", "delivered", ALICE)
        body = cpim("x").replace(
            b"Content-Type: text/plain;charset=utf-8\r\n\r\nx",
            b"Content-Type: message/imdn+xml\r\n\r\n" + write_imdn(said),
        )
        self.assertEqual(self.take(body).status, 200)
        self.assertEqual((self.got, self.reports), ([], []))

    def test_no_report_to_third_parties(self) -> None:
        """A message whose author is not who sent it makes us send nothing to anybody."""
        self.take(cpim("hello", sender="sip:victim@south.example"))
        self.take(cpim("x", message_id="m2", sender="sip:anonymous@anonymous.invalid"))
        self.assertEqual(len(self.got), 2)
        self.assertEqual(self.got[0].sender, BOB)
        self.assertEqual(self.reports, [])

    def test_not_from_our_server(self) -> None:
        """What a stranger asserts is not believed (RFC 3325 §8)."""
        stranger = self.serve("10.0.0.66")
        stranger.seen.extend(self.server.seen)
        self.wait(stranger.message(b"hi", sender="sip:boss@north.example"))
        self.assertEqual(self.got[0].verified, False)
        self.wait(self.server.message(b"hi"))
        self.assertEqual(self.got[1].verified, True)

    def test_formats(self) -> None:
        """What is not taken is answered 415 with what is (RFC 3261 §21.4.13)."""
        for body, kind in ((b"\x89PNG", "image/png"), (cpim("x").replace(b"plain", b"sgml"), CPIM)):
            response = self.take(body, kind)
            self.assertEqual(response.status, 415)
            self.assertIn("text/plain", response.first("Accept"))
        self.assertEqual(self.got, [])

    def test_broken(self) -> None:
        """What does not parse is answered 400, and the client lives."""
        for body, kind in (
            (b"junk", CPIM),
            (cpim("x").replace(b"From:", b"From"), CPIM),
            (b"\xff\xfe", "text/plain;charset=utf-8"),
            (b"<imdn", "message/imdn+xml"),
            (b"--x", "multipart/mixed;boundary=x"),
            (b"<a/>", "application/im-iscomposing+xml"),
            (b"<a/>", DEFERRED),
        ):
            self.assertEqual(self.take(body, kind).status, 400, (body, kind))
        self.assertEqual(self.take(b"fine", "text/plain").status, 200)

    def test_required_header(self) -> None:
        """A CPIM header that must be understood and is not refuses (RFC 3862 §3.5)."""
        body = cpim("x").replace(b"\r\n\r\n", b"\r\nRequire: Magic\r\n\r\n", 1)
        self.assertEqual(self.take(body).status, 488)
        known = cpim("x").replace(b"\r\n\r\n", b"\r\nRequire: Subject\r\n\r\n", 1)
        self.assertEqual(self.take(known).status, 200)

    def test_html(self) -> None:
        """A text of another kind is text all the same."""
        self.take(b"<b>hi</b>", "text/html")
        self.assertEqual((self.got[0].content_type, self.got[0].text), ("text/html", "<b>hi</b>"))

    def test_no_content_type(self) -> None:
        """Without a Content-Type it is plain text (RFC 2045 §5.2)."""
        request = self.server.ua.make("MESSAGE", self.server.contact, [], b"bare")
        self.assertEqual(self.wait(self.server.ua.request(request)).status, 200)
        self.assertEqual(self.got[0].text, "bare")

    def test_waiting_list(self) -> None:
        """A list of deferred messages is told as such."""
        told: list[Any] = []
        self.alice.on_waiting(told.append)
        waiting = Waiting("r1", size=5, sender=BOB)
        self.assertEqual(self.take(write_deferred_list([waiting]), DEFERRED).status, 200)
        self.assertEqual(told, [(waiting,)])
        self.assertEqual(self.got, [])

    def test_reports_of_many(self) -> None:
        """Several reports in one message are all taken (RFC 5438 §8.3)."""
        sent = self.wait(self.alice.send_list(["bob", "carol"], "x"))
        one, other = (
            Imdn(sent.message_id, "", "delivery", "delivered", uri)
            for uri in (BOB, "sip:carol@north.example")
        )
        body = imdn.aggregate([one, other], Address("", BOB), Address("", ALICE), "r1").to_bytes()
        self.take(body)
        self.assertEqual(
            [report.recipient for report in sent.reports],
            [
                BOB,
                "sip:carol@north.example",
            ],
        )
        self.assertEqual(sent.status, "delivered")

    def test_failing_function(self) -> None:
        """What goes wrong in the user's function is logged and harms nobody."""

        def broken(message: Message) -> None:
            raise ZeroDivisionError

        self.alice.on_message(broken)
        self.assertEqual(self.take(b"x", "text/plain").status, 200)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class FullTests(ServedTests):
    def test_full(self) -> None:
        """An inbox that nobody empties refuses, so that messages wait at the server."""
        self.patch(arrivals, "WAITING", 2)
        self.register()
        statuses = [
            self.wait(self.server.message(text, "text/plain")).status for text in (b"1", b"2", b"3")
        ]
        self.assertEqual(statuses, [200, 200, 480])
        self.assertEqual(self.successResultOf(self.alice.inbox.next()).text, "1")
        self.assertEqual(self.wait(self.server.message(b"3", "text/plain")).status, 200)

    def test_refusing(self) -> None:
        """A client can refuse everything for a time."""
        self.register()
        self.alice.inbox.refusing = 480
        self.assertEqual(self.wait(self.server.message(b"1")).status, 480)

    def test_own_types(self) -> None:
        """A client may take more, or less; one that takes no CPIM gets plain text from a server."""
        self.alice = self.client("alice", accept=("text/plain", "image/*"))
        self.register()
        self.assertEqual(self.wait(self.server.message(cpim("x"), CPIM)).status, 415)
        self.assertEqual(self.wait(self.server.message(b"\x89", "image/png")).status, 200)
        message = self.successResultOf(self.alice.inbox.next())
        self.assertEqual(
            (message.content_type, message.text, message.body),
            (
                "image/png",
                "",
                b"\x89",
            ),
        )

    def test_closed(self) -> None:
        """Who waits for a message when the client ends is told."""
        self.register()
        waiting = self.alice.inbox.next()
        self.wait(self.alice.close())
        self.failureResultOf(waiting, inbox.Closed)
        self.failureResultOf(self.alice.inbox.next(), inbox.Closed)


def refuse(accept: list[tuple[str, str]], incoming: Incoming) -> Response:
    """Refuse the format of a MESSAGE."""
    return incoming.response(415, accept)


class SendTests(ServedTests):
    def setUp(self) -> None:
        super().setUp()
        self.register()

    def test_one_pending(self) -> None:
        """One MESSAGE to a target at a time; other targets do not wait (RFC 3428 §8)."""
        held: list[Any] = []
        self.server.script = [held.append, 200]
        sending = [
            Deferred.fromCoroutine(self.alice.send(to, "x")) for to in ("bob", "bob", "carol")
        ]
        self.settle()
        self.assertNoResult(sending[0])
        self.assertNoResult(sending[1])
        self.successResultOf(sending[2])
        held[0].reply(200)
        self.settle()
        self.successResultOf(sending[0])
        self.successResultOf(sending[1])
        self.assertEqual(self.alice._outbox._queues, {})

    def test_not_endless(self) -> None:
        """Not any number of messages waits for one recipient."""
        self.patch(outbox, "WAITING", 2)
        self.server.script = [None]
        sending = [Deferred.fromCoroutine(self.alice.send("bob", "x")) for _ in range(3)]
        self.settle()
        self.failureResultOf(sending[2], Busy)
        self.clock.advance(100.0)
        self.failureResultOf(sending[0])
        self.successResultOf(sending[1])

    def test_answers(self) -> None:
        """What the network answers becomes a failure that says what to do next."""
        cases = {
            403: failures.Refused,
            404: failures.NotFound,
            408: failures.NoAnswer,
            413: failures.TooLarge,
            415: failures.WrongFormat,
            470: failures.ConsentNeeded,
            480: failures.Unreachable,
            488: failures.NotAcceptable,
            500: failures.Busy,
            603: failures.Declined,
            604: failures.NotFound,
            482: failures.Failure,
        }
        for status, kind in cases.items():
            self.server.script = [status, status]
            with self.assertRaises(failures.Failure) as caught:
                self.wait(self.alice.send("bob", "x"))
            self.assertIs(type(caught.exception), kind)
            self.assertEqual(caught.exception.status, status)
            self.assertIn(caught.exception.advice, str(caught.exception))

    def test_stale(self) -> None:
        """A server that finds every nonce stale does not say that the password is wrong."""

        def stale(incoming: Incoming) -> Response:
            challenge = f'Digest realm="r", nonce="{self.alice._ids.token(8)}", stale=true'
            return incoming.response(407, [("Proxy-Authenticate", challenge)])

        self.server.script = [stale] * 20
        with self.assertRaises(Busy) as caught:
            self.wait(self.alice.send("bob", "x"))
        self.assertEqual(caught.exception.status, 407)
        self.assertNotIn("password", str(caught.exception))
        self.assertLess(len(self.server.of("MESSAGE")), 12)

    def test_retry_after(self) -> None:
        """A server that is busy says for how long (RFC 3261 §20.33)."""
        self.server.script = [
            lambda incoming: incoming.response(503, [("Retry-After", "42 (maintenance)")])
        ]
        with self.assertRaises(Busy) as caught:
            self.wait(self.alice.send("bob", "x"))
        self.assertEqual(caught.exception.retry_after, 42)
        self.assertIn("42 s", str(caught.exception))

    def test_reformat(self) -> None:
        """Who does not take CPIM gets the bare text, if that is taken (RFC 3261 §21.4.13)."""
        for accept in ([("Accept", "text/*")], []):
            self.server.script = [partial(refuse, accept)]
            sent = self.wait(self.alice.send("bob", "x", validity=60))
            self.assertEqual((sent.status, sent.message_id), ("delivered", ""))
            request = self.server.of("MESSAGE")[-1]
            self.assertEqual((request.body, request.expires), (b"x", 60))
            self.assertEqual(request.first("Content-Type"), "text/plain;charset=utf-8")
        self.server.script = [lambda one: one.response(415, [("Accept", "text/html")])]
        with self.assertRaises(WrongFormat):
            self.wait(self.alice.send("bob", "x"))
        self.assertEqual(len(self.alice.inbox._sent), 0)

    def test_closed_while_waiting(self) -> None:
        """Who waits for a report when the client ends is told."""
        sent = self.wait(self.alice.send("bob", "x"))
        waiting = sent.delivered(timeout=0)
        self.wait(self.alice.close())
        self.failureResultOf(waiting, NoReport)

    def test_warning(self) -> None:
        """A Warning says more than a reason phrase (OMA SIMPLE IM: 399)."""
        self.server.script = [
            lambda incoming: incoming.response(
                403, [("Warning", '399 im.north.example "127 Service not authorised"')]
            )
        ]
        with self.assertRaises(Refused) as caught:
            self.wait(self.alice.send("bob", "x"))
        self.assertIn("127 Service not authorised", str(caught.exception))

    def test_close_waits(self) -> None:
        """What is on its way when the client closes is still sent."""
        sending = Deferred.fromCoroutine(self.alice.send("bob", "x"))
        self.wait(self.alice.close())
        self.assertEqual(self.successResultOf(sending).status, "delivered")

    def test_stop_of_the_network(self) -> None:
        """A server that does not answer a MESSAGE is a NoAnswer."""
        self.network.cut(CORE)
        with self.assertRaises(NoAnswer):
            self.wait(self.alice.send("bob", "x"))
