"""One MESSAGE: passed on, refused or changed."""

from __future__ import annotations

import gc

from twisted.internet.defer import Deferred

from omaim.bodies.cpim import Cpim
from omaim.im.policy import Settings
from omaim.im.sending import Errand
from omaim.node.events import MessageAccepted, MessageDelivered, MessageRefused
from omaim.node.hooks import Deliver, Refuse
from omaim.node.questions import MayPost
from omaim.sip.flow import Flow
from omaim.sip.values import date_text
from tests.im.support import ALICE, BOB, CORE, IM, XENIA, ImTestCase, cpim


class ProxyTests(ImTestCase):
    def test_originating(self) -> None:
        """The sender's message goes back to the core as it came (RFC 3261 §16.6)."""
        asked = self.core.isc("orig", ALICE, XENIA)
        response = self.ask(asked)
        self.assertEqual(response.status, 200)
        (seen,) = self.core.seen
        self.assertEqual(seen.uri, XENIA)
        self.assertEqual(seen.body, b"hello")
        self.assertEqual(seen.call_id, asked.call_id)
        self.assertEqual(seen.first("From"), asked.first("From"))
        self.assertEqual(seen.all("Route"), [f"<sip:{CORE};lr;odi=7>"])
        self.assertEqual(seen.first("Max-Forwards"), "69")
        self.assertEqual(seen.first("P-Charging-Vector"), asked.first("P-Charging-Vector"))
        self.assertEqual(seen.first("P-Asserted-Identity"), f"<{ALICE}>")

    def test_downstream_answer(self) -> None:
        """Whatever the other side says goes back to the sender."""
        for status in (200, 202, 404, 415, 480, 488, 504, 603):
            self.core.script = [status]
            self.assertEqual(self.send("orig", ALICE, XENIA).status, status)
        self.assertEqual(self.waiting(XENIA), [])

    def test_unavailable_downstream(self) -> None:
        """A 503 from further on becomes 500, so that we are not taken for overloaded and asked
        once more at our other address (RFC 3261 §16.7 step 6, RFC 3263 §4.3)."""
        self.core.script = [503]
        self.assertEqual(self.send("orig", ALICE, XENIA).status, 500)
        self.assertEqual(len(self.core.seen), 1)

    def test_restarted(self) -> None:
        """A message that the server had passed on before it died, and gets and passes on again
        when it is back, is answered as it was the first time (RFC 3261 §8.2.2.2)."""
        pending = []
        self.core.script = [lambda incoming: pending.append(incoming)]
        asked = Deferred.fromCoroutine(self.core.ua.request(self.core.isc("orig", ALICE, XENIA)))
        self.clock.advance(0.1)
        self.assertEqual(len(pending), 1)
        self.stop()
        self.start()
        for after in (0.0, 4.0):
            self.clock.callLater(after, pending[0].reply, 200)
        response = self.wait(asked)
        self.assertEqual((response.status, len(self.core.seen)), (200, 1))

    def test_accepted(self) -> None:
        """An accepted message is in the outbox before the answer, and told once."""
        self.send("orig", ALICE, XENIA)
        (event,) = self.of(MessageAccepted)
        self.assertEqual(self.outbox(), [event])
        self.assertEqual(event.side, "originating")
        self.assertEqual((event.sender, event.recipients), (ALICE, (XENIA,)))
        self.assertEqual((event.icid, event.size), ("charge-1", 5))

    def test_delivered(self) -> None:
        """On the recipient's side it is accepted and delivered."""
        self.assertEqual(self.send("term", XENIA, BOB).status, 200)
        self.assertEqual([type(one) for one in self.outbox()], [MessageAccepted, MessageDelivered])
        (event,) = self.of(MessageDelivered)
        self.assertEqual((event.sender, event.recipient, event.deferred), (XENIA, BOB, False))

    def test_no_circles(self) -> None:
        """What a message leaves goes by itself, without a search for circles of references."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.assertEqual(self.send("term", XENIA, BOB).status, 200)
        self.clock.advance(120.0)
        self.assertEqual([one for one in gc.get_objects() if isinstance(one, Errand)], [])

    def test_refused_is_not_accepted(self) -> None:
        """What the other side refuses is no accepted message."""
        self.core.script = [603]
        self.send("orig", ALICE, XENIA)
        self.assertEqual(self.outbox(), [])

    def test_silence(self) -> None:
        """No answer downstream is no answer of ours: never 408 (RFC 4320 §4.2)."""
        self.core.otherwise = None
        response = self.send("orig", ALICE, XENIA)
        self.assertTrue(response.local)
        self.assertEqual(response.status, 408)

    def test_large(self) -> None:
        """A body of 1301 octets goes by a stream on each hop (RFC 3428 §8, RFC 3261 §18.1.1)."""
        body = b"x" * 1301
        self.assertEqual(self.send("orig", ALICE, XENIA, body).status, 200)
        (seen,) = self.core.seen
        self.assertEqual(seen.body, body)
        self.assertEqual(seen.via.transport, "TCP")


class IdentityTests(ImTestCase):
    def test_nobody_vouches(self) -> None:
        """From alone proves nothing: 403 (RFC 3325 §9.1)."""
        for case in ("orig", "term"):
            self.assertEqual(self.send(case, "", BOB).status, 403)
        self.assertEqual(self.core.seen, [])

    def test_anonymous(self) -> None:
        """Who is not vouched for and wants privacy is shown as anonymous."""
        request = self.core.isc("term", "", BOB, headers=(("Privacy", "id"),))
        response = self.ask(request)
        self.assertEqual(response.status, 200)
        self.assertEqual(response.first("From"), request.first("From"))
        (seen,) = self.core.seen
        self.assertEqual(seen.from_.uri_text, "sip:anonymous@anonymous.invalid")
        self.assertEqual(seen.from_.tag, request.from_.tag)

    def test_author(self) -> None:
        """The CPIM From has to be the sender, or nobody."""
        for author, status in (
            (ALICE, 200),
            ("im:alice@north.example", 200),
            ("sip:anonymous@anonymous.invalid", 200),
            (BOB, 403),
        ):
            body = cpim(sender=author, to=XENIA, wanted="")
            response = self.send("orig", ALICE, XENIA, body, "message/cpim")
            self.assertEqual(response.status, status, author)

    def test_no_leg(self) -> None:
        """A request that is served for nobody has no business here."""
        self.assertEqual(self.send("", ALICE, XENIA).status, 404)

    def test_other_methods(self) -> None:
        """OPTIONS is answered; sessions are not served, so that the core goes on without us."""
        for method, status in (("OPTIONS", 200), ("INFO", 501)):
            request = self.core.ua.make(method, "sip:10.0.0.2", [("Route", "<sip:10.0.0.2;lr>")])
            self.assertEqual(self.ask(request).status, status)


class StrangerTests(ImTestCase):
    settings = {"trusted": ("10.0.0.99",)}

    def test_stranger(self) -> None:
        """Only the core may ask: others get 403 whatever they claim."""
        self.assertEqual(self.send("orig", ALICE, XENIA).status, 403)
        request = self.core.ua.make("REGISTER", "sip:10.0.0.2", to=f"<{BOB}>")
        self.assertEqual(self.ask(request).status, 403)
        self.assertEqual(self.core.seen, [])


class TrustTests(ImTestCase):
    settings = {"trusted": ("Core.North.example",)}

    def test_certificate(self) -> None:
        """A name that a verified certificate carries is as good as an address."""
        for names, trusted in (((), False), (("core.north.example", "x"), True), (("x",), False)):
            flow = Flow("TLS", IM, 5061, "192.0.2.1", 40000, None, 1)
            flow.peer_names = names
            self.assertEqual(self.im.trusts(flow), trusted)


class PolicyTests(ImTestCase):
    settings = {"max_size": 2000}

    def test_size(self) -> None:
        """A body over the limit is 413 with the OMA text, on both sides."""
        for case in ("orig", "term"):
            response = self.send(case, ALICE, BOB, b"x" * 2001)
            self.assertEqual(response.status, 413)
            self.assertIn("133 Size exceeded", response.first("Warning") or "")
        self.assertEqual(self.send("orig", ALICE, BOB, b"x" * 2000).status, 200)

    def test_late(self) -> None:
        """A message that is over when it comes is not delivered (RFC 3428 §7)."""
        sent = date_text(self.clock.now() - 100)
        for expires, status in (("99", 480), ("200", 200)):
            response = self.send("term", XENIA, BOB, headers=(("Date", sent), ("Expires", expires)))
            self.assertEqual(response.status, status)
        self.assertEqual(len(self.core.seen), 1)

    def test_bad_date(self) -> None:
        """A Date that cannot be read counts for nothing; nor does one in the future."""
        future = date_text(self.clock.now() + 10_000)
        for date in ("yesterday", future):
            headers = (("Date", date), ("Expires", "5"))
            self.assertEqual(self.send("term", XENIA, BOB, headers=headers).status, 200)

    def test_rejected(self) -> None:
        """Reject wins over accept, and the text does not tell which list it was."""
        both = frozenset({XENIA})
        self.im.settings.put(BOB, Settings(accepts=both, rejects=both))
        response = self.send("term", XENIA, BOB)
        self.assertEqual(response.status, 403)
        self.assertIn("119 Function not allowed", response.first("Warning") or "")
        self.im.settings.put(BOB, Settings(strangers=False))
        again = self.send("term", XENIA, BOB)
        self.assertEqual(again.first("Warning"), response.first("Warning"))
        self.assertEqual(self.core.seen, [])
        self.assertEqual([one.status for one in self.of(MessageRefused)], [403, 403])

    def test_polite(self) -> None:
        """Who is blocked politely sees 202, and nothing happens."""
        self.im.settings.put(BOB, Settings(rejects=frozenset({XENIA}), polite=True))
        self.assertEqual(self.send("term", XENIA, BOB, state="unreg").status, 202)
        self.assertEqual((self.core.seen, self.waiting(BOB)), ([], []))


class HookTests(ImTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.questions: list[MayPost] = []
        self.opinions: list[object] = []

        async def opine(question: MayPost) -> object:
            self.questions.append(question)
            return self.opinions.pop(0) if self.opinions else None

        self.node.hooks.add(MayPost, "test", opine)

    def test_asked(self) -> None:
        """Both sides ask, with the text inside CPIM."""
        self.send("orig", ALICE, XENIA, cpim("psst", to=XENIA, wanted=""), "message/cpim")
        self.send("term", XENIA, BOB, b"<p>x</p>", "text/html")
        one, other = self.questions
        self.assertEqual((one.side, one.sender, one.recipients), ("originating", ALICE, (XENIA,)))
        self.assertEqual((one.text, one.content_type, one.size), ("psst", "text/plain", 4))
        self.assertEqual((other.side, other.content_type), ("terminating", "text/html"))

    def test_refuse(self) -> None:
        """A feature's refusal is the answer, its reason in the Warning (RFC 3261 §20.43)."""
        self.opinions = [Refuse(488, "No shouting")]
        response = self.send("orig", ALICE, XENIA)
        self.assertEqual(response.status, 488)
        self.assertIn("No shouting", response.first("Warning") or "")
        self.assertEqual(self.core.seen, [])

    def test_crash(self) -> None:
        """A feature that fails stops the message."""

        async def crash(question: MayPost) -> object:
            raise ValueError("oops")

        self.node.hooks.add(MayPost, "crash", crash, -1)
        self.assertEqual(self.send("orig", ALICE, XENIA).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_changed(self) -> None:
        """Another text goes out in the place of the first, in the same wrapping."""
        self.opinions = [Deliver("d\u00fcrr"), Deliver("mild")]
        self.send("orig", ALICE, XENIA, b"loud")
        self.send("orig", ALICE, XENIA, cpim("loud", to=XENIA), "message/cpim")
        plain, wrapped = self.core.seen
        self.assertEqual(plain.body.decode(), "d\u00fcrr")
        self.assertEqual(plain.first("Content-Type"), "text/plain;charset=UTF-8")
        message = Cpim.parse(wrapped.body)
        self.assertEqual(message.part.text(), "mild")
        self.assertEqual(message.message_id, "m1")

    def test_changed_and_kept(self) -> None:
        """What is stored is the changed text."""
        self.opinions = [Deliver("mild")]
        self.assertEqual(self.send("term", XENIA, BOB, b"loud", state="unreg").status, 202)
        self.assertEqual(self.waiting(BOB), [b"mild"])


class AdaptationTests(ImTestCase):
    def test_plain(self) -> None:
        """A device that refuses CPIM is asked again with the text (RFC 3261 §21.4.13)."""
        self.core.script = [415, 200]
        request = self.core.isc("term", ALICE, BOB, cpim(), "message/cpim")
        response = self.ask(request)
        self.assertEqual(response.status, 200)
        self.assertEqual(str(response.cseq), str(request.cseq))
        first, second = self.core.seen
        self.assertEqual(first.first("Content-Type"), "message/cpim")
        self.assertEqual((second.first("Content-Type"), second.body), ("text/plain", b"hello"))
        self.assertEqual(second.cseq.number, first.cseq.number + 1)

    def test_refused_twice(self) -> None:
        """A device that takes neither form refuses the message."""
        self.core.script = [415, 415]
        self.assertEqual(self.send("term", ALICE, BOB, cpim(), "message/cpim").status, 415)

    def test_not_cpim(self) -> None:
        """Another body has no simpler form."""
        self.core.script = [415]
        self.assertEqual(self.send("term", ALICE, BOB, b"x", "image/png").status, 415)
        self.assertEqual(len(self.core.seen), 1)


class NoAdaptationTests(ImTestCase):
    settings = {"adaptation": False}

    def test_error(self) -> None:
        """Without adaptation the refusal goes to the sender."""
        self.core.script = [415]
        self.assertEqual(self.send("term", ALICE, BOB, cpim(), "message/cpim").status, 415)
        self.assertEqual(len(self.core.seen), 1)
