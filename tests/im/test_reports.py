"""Disposition notifications: what the server says itself, and what passes through it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import fail

from omaim.bodies.cpim import Cpim
from omaim.bodies.imdn import DELIVERY, PROCESSING, is_report, report
from omaim.errors import Unavailable
from omaim.im.policy import Settings
from omaim.node.events import ReportSent
from omaim.stores.records import REPORT, DeferredMessage
from tests.im.support import ALICE, BOB, XENIA, ImTestCase, cpim

ALL = "positive-delivery, negative-delivery, processing, display"


class ServerReports(ImTestCase):
    settings = {"max_size": 2000}

    def deferred(self, wanted: str, sender: str = ALICE, **named: Any) -> None:
        """Have a message kept for Bob."""
        body = cpim(wanted=wanted, sender=sender)
        response = self.send("term", sender, BOB, body, "message/cpim", state="unreg", **named)
        self.assertEqual(response.status, 202)
        self.clock.advance(1)

    def test_stored(self) -> None:
        """Who asks for processing hears that the message is stored (RFC 5438 §8.1)."""
        self.deferred("processing")
        ((to, found),) = self.reports()
        self.assertEqual(to, ALICE)
        self.assertEqual((found.kind, found.status), (PROCESSING, "stored"))
        self.assertEqual((found.message_id, found.recipient_uri), ("m1", BOB))
        (seen,) = self.core.seen
        self.assertEqual(seen.first("P-Asserted-Identity"), f"<{BOB}>")
        self.assertEqual(seen.from_.uri_text, BOB)
        self.assertEqual(
            seen.first("P-Charging-Vector"), "icid-value=charge-1;orig-ioi=north.example"
        )
        message = Cpim.parse(seen.body)
        self.assertEqual(message.part.disposition, "notification")
        self.assertEqual(message.wanted, [])
        (event,) = self.of(ReportSent)
        self.assertEqual((event.recipient, event.disposition), (ALICE, "stored"))

    def test_store_down(self) -> None:
        """A report that cannot be stored changes no answer: the message is kept, or refused."""
        add = type(self.stores.deferred).add

        def broken(store: Any, message: DeferredMessage, *more: Any) -> Any:
            if message.kind == REPORT:
                return fail(Unavailable("no disk"))
            return add(store, message, *more)

        self.patch(type(self.stores.deferred), "add", broken)
        self.deferred(ALL)
        self.assertEqual(len(self.waiting(BOB)), 1)
        self.im.settings.put(BOB, Settings(rejects=frozenset({ALICE})))
        response = self.send("term", ALICE, BOB, cpim(wanted=ALL), "message/cpim")
        self.assertEqual(response.status, 403)
        self.assertEqual(self.reports(), [])
        self.flushLoggedErrors()

    def test_end_fails(self) -> None:
        """The end of a message is reported once, also when noting the end fails at first."""
        store = type(self.stores.deferred)
        finish = store.finish
        down = [True]

        def broken(own: Any, recipient: str, *more: Any) -> Any:
            if recipient == BOB and down[0]:
                return fail(Unavailable("no disk"))
            return finish(own, recipient, *more)

        self.patch(store, "finish", broken)
        self.deferred("negative-delivery", headers=(("Expires", "60"),))
        self.clock.advance(120)
        self.assertEqual(len(self.reports()), 1)
        down[0] = False
        self.clock.advance(60)
        self.assertEqual([one.status for _, one in self.reports()], ["failed"])
        self.assertEqual(self.waiting(BOB), [])
        self.flushLoggedErrors()

    def test_not_asked(self) -> None:
        """Who does not ask hears nothing; delivery and display are the client's to tell."""
        self.deferred("positive-delivery, negative-delivery, display")
        self.assertEqual(self.core.seen, [])

    def test_plain(self) -> None:
        """A message that is no CPIM asks for nothing."""
        self.send("term", XENIA, BOB, state="unreg")
        self.clock.advance(1)
        self.assertEqual(self.core.seen, [])

    def test_forbidden(self) -> None:
        """A message that a policy stops is reported so (RFC 5438 §8)."""
        self.im.settings.put(BOB, Settings(rejects=frozenset({ALICE})))
        response = self.send("term", ALICE, BOB, cpim(wanted=ALL), "message/cpim")
        self.assertEqual(response.status, 403)
        self.clock.advance(1)
        ((to, found),) = self.reports()
        self.assertEqual((to, found.kind, found.status), (ALICE, DELIVERY, "forbidden"))

    def test_forbidden_not_asked(self) -> None:
        """Without negative-delivery the answer has to do."""
        self.im.settings.put(BOB, Settings(rejects=frozenset({ALICE})))
        body = cpim(wanted="positive-delivery, processing")
        self.send("term", ALICE, BOB, body, "message/cpim")
        self.clock.advance(1)
        self.assertEqual(self.core.seen, [])

    def test_polite(self) -> None:
        """A polite block is silent in reports too."""
        self.im.settings.put(BOB, Settings(rejects=frozenset({ALICE}), polite=True))
        self.send("term", ALICE, BOB, cpim(wanted=ALL), "message/cpim")
        self.clock.advance(1)
        self.assertEqual(self.core.seen, [])

    def test_forbidden_sender(self) -> None:
        """The sender's own server says it too."""
        response = self.send("orig", ALICE, XENIA, cpim("x" * 2000, ALL), "message/cpim")
        self.assertEqual(response.status, 413)
        self.clock.advance(1)
        ((to, found),) = self.reports()
        self.assertEqual((to, found.status), (ALICE, "forbidden"))

    def test_anonymous(self) -> None:
        """Nobody knows where to send a report to somebody unknown."""
        self.deferred(ALL, sender="sip:anonymous@anonymous.invalid", headers=(("Privacy", "id"),))
        self.core.seen.clear()
        body = cpim(wanted=ALL, message_id="m2")
        headers = (("Privacy", "id"),)
        self.send("term", "", BOB, body, "message/cpim", state="unreg", headers=headers)
        self.clock.advance(1)
        self.assertEqual(self.core.seen, [])

    def test_route(self) -> None:
        """A report goes by the way that the message laid out (RFC 5438 §6.5, §8)."""
        message = Cpim.parse(cpim(wanted="processing"))
        message.add("IMDN-Record-Route", "<sip:relay@south.example>", "urn:ietf:params:imdn")
        self.send("term", XENIA, BOB, message.to_bytes(), "message/cpim", state="unreg")
        self.clock.advance(1)
        (seen,) = self.core.seen
        self.assertEqual(seen.uri, "sip:relay@south.example")

    def test_absent_sender(self) -> None:
        """A report for somebody who is away waits, in the last row."""
        self.core.answers[ALICE] = 480
        self.deferred("processing")
        (kept,) = self.successResultOf(self.stores.deferred.waiting(ALICE, 0.0))
        self.assertEqual(kept.kind, REPORT)
        self.core.seen.clear()
        del self.core.answers[ALICE]
        self.register(ALICE)
        ((to, found),) = self.reports()
        self.assertEqual((to, found.status), (ALICE, "stored"))

    def test_broken(self) -> None:
        """A body that says CPIM and is not is the sender's fault: 400, and no report."""
        response = self.send("term", ALICE, BOB, b"From x\r\n", "message/cpim", state="unreg")
        self.assertEqual(response.status, 400)
        self.assertEqual(self.core.seen, [])


class ClientReports(ImTestCase):
    def imdn(self) -> bytes:
        """Return what Bob's client says of Alice's message."""
        made = report(Cpim.parse(cpim(wanted=ALL)), DELIVERY, "delivered", "r1")
        assert made is not None
        return made.to_bytes()

    def test_passed(self) -> None:
        """A client's report is a message like others, and untouched."""
        body = self.imdn()
        for case in ("orig", "term"):
            self.assertEqual(self.send(case, BOB, ALICE, body, "message/cpim").status, 200)
        self.assertEqual(self.bodies(), [body, body])

    def test_kept(self) -> None:
        """It waits for a sender who is away; nothing is reported on a report (RFC 5438 §7)."""
        body = self.imdn()
        self.assertTrue(is_report(Cpim.parse(body)))
        response = self.send("term", BOB, ALICE, body, "message/cpim", state="unreg")
        self.assertEqual(response.status, 202)
        (kept,) = self.successResultOf(self.stores.deferred.waiting(ALICE, 0.0))
        self.assertEqual(kept.kind, REPORT)
        self.register(ALICE)
        self.assertEqual(self.bodies(), [body])

    def test_no_report_on_report(self) -> None:
        """Not even when it asks for one, and is refused or expires (RFC 5438 §7.1.1.3)."""
        message = Cpim.parse(self.imdn())
        message.add("Disposition-Notification", ALL, "urn:ietf:params:imdn")
        headers = (("Expires", "5"),)
        response = self.send(
            "term", BOB, ALICE, message.to_bytes(), "message/cpim", state="unreg", headers=headers
        )
        self.assertEqual(response.status, 202)
        self.clock.advance(30)
        self.im.settings.put(ALICE, Settings(rejects=frozenset({BOB})))
        self.send("term", BOB, ALICE, message.to_bytes(), "message/cpim")
        self.clock.advance(30)
        self.assertEqual((self.core.seen, self.waiting(ALICE)), ([], []))
