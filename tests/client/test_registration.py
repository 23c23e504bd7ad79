"""Registration of a client against a server that a test scripts."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from omaim.bodies.reginfo import Contact, Reginfo, Registration, write_reginfo
from omaim.client.failures import Busy, Dismissed, NoAnswer, Refused
from omaim.client.messages import State
from omaim.roles.incoming import Incoming
from omaim.sip.message import Response
from tests.client.support import ALICE, BOB, CORE, ServedTests

REG_TYPE = "application/reginfo+xml"


def accepted(incoming: Incoming) -> Response:
    """Accept a SUBSCRIBE."""
    return incoming.response(200, [("Expires", "3600"), ("Contact", f"<sip:{CORE}>")])


class RegisterTests(ServedTests):
    def test_register_request(self) -> None:
        """The REGISTER says what the client is and wants (RFC 3840 §4; RFC 5626 §4.2)."""
        self.register()
        (request,) = self.server.of("REGISTER")
        contact = request.contacts[0]
        self.assertEqual(request.uri, "sip:north.example")
        self.assertEqual(request.to.uri_text, ALICE)
        self.assertTrue(contact.params.has("+g.oma.sip-im"))
        self.assertTrue(contact.params.has("+g.oma.sip-im.large-message"))
        self.assertIn("INVITE", contact.params.get("methods") or "")
        self.assertEqual(contact.params.get("reg-id"), "1")
        self.assertTrue((contact.params.get("+sip.instance") or "").startswith("<urn:uuid:"))
        self.assertTrue({"path", "gruu", "outbound"} <= request.supported)
        self.assertTrue((request.first("User-Agent") or "").startswith("IM-client/OMA1.0 "))
        self.assertIsNone(request.first("Route"))

    def test_service_route(self) -> None:
        """Messages follow the Service-Route, by the server we registered with (RFC 3608 §6.1)."""
        self.server.extra = [("Service-Route", "<sip:orig@far.north.example;lr>")]
        self.register()
        self.wait(self.alice.send("bob", "hello"))
        (message,) = self.server.of("MESSAGE")
        self.assertEqual(message.all("Route"), ["<sip:orig@far.north.example;lr>"])
        self.assertEqual(message.first("Accept-Contact"), "*;+g.oma.sip-im")
        self.assertEqual(message.first("P-Preferred-Identity"), f"<{ALICE}>")
        self.assertFalse(message.has("Contact"))

    def test_send_unregistered(self) -> None:
        """A message can be sent without registering; it goes to the server all the same."""
        self.wait(self.alice.send("sip:xenia@south.example", "hello"))
        self.assertEqual(self.server.of("MESSAGE")[0].uri, "sip:xenia@south.example")

    def test_same_stream(self) -> None:
        """Over TCP all goes by the connection of the registration (RFC 5626 §4.3)."""
        self.alice = self.client("alice", transport="tcp")
        self.register()
        self.wait(self.alice.send("bob", "hello"))
        ports = {one.flow.remote_port for one in self.server.incoming}
        self.assertEqual(len(ports), 1)
        self.assertEqual({one.flow.transport for one in self.server.incoming}, {"TCP"})

    def test_refused(self) -> None:
        """403 is final."""
        self.server.registrations = [403]
        with self.assertRaises(Refused):
            self.wait(self.alice.register())
        self.clock.advance(3600.0)
        self.assertEqual(len(self.server.of("REGISTER")), 1)

    def test_busy(self) -> None:
        """503 ends an attempt that does not insist; the next one may succeed."""
        self.server.registrations = [503]
        with self.assertRaises(Busy):
            self.wait(self.alice.register())
        self.clock.advance(3600.0)
        self.assertEqual(len(self.server.of("REGISTER")), 1)
        self.register()
        self.assertTrue(self.alice.registered)

    def test_insist(self) -> None:
        """A client that insists tells what goes wrong, waits as told, and gets in."""
        states: list[State] = []
        self.alice.on_state = states.append
        self.server.registrations = [
            lambda incoming: incoming.response(503, [("Retry-After", "17")])
        ]
        self.wait(self.alice.register(insist=True))
        self.assertEqual([one.name for one in states], ["registering", "registering", "registered"])
        self.assertEqual(states[1].retry_in, 17.0)
        self.assertIsInstance(states[1].failure, Busy)

    def test_silent_server(self) -> None:
        """A server that does not answer is a NoAnswer after Timer F (RFC 3261 §17.1.2.2)."""
        self.server.registrations = [None]
        with self.assertRaises(NoAnswer) as caught:
            self.wait(self.alice.register())
        self.assertEqual(caught.exception.status, 408)

    def test_close_is_bounded(self) -> None:
        """A server that is gone does not hold up the end."""
        self.register()
        self.network.cut(CORE)
        before = self.clock.seconds()
        self.wait(self.alice.close(patience=2.0))
        self.assertLess(self.clock.seconds() - before, 8.0)

    def test_two_at_once(self) -> None:
        """Whoever calls ``register`` meanwhile gets the same answer."""
        first, second = (self.alice.register() for _ in range(2))
        both = [Deferred.fromCoroutine(one) for one in (first, second)]
        for one in both:
            self.wait(one)


class NetworkInitiatedTests(ServedTests):
    """RFC 3680 §5.3: the network tells what it did with our bindings."""

    def setUp(self) -> None:
        super().setUp()
        self.states: list[State] = []
        self.alice.on_state = self.states.append
        self.server.subscriptions = [accepted]
        self.register()
        self.settle()
        self.subscribe = self.server.of("SUBSCRIBE")[0]
        self.cseq = 0

    def tell(self, event: str, **named: Any) -> int:
        """Send a NOTIFY about alice's own contact; return its answer's status."""
        uri = named.pop("uri", self.server.contact)
        state = "active" if event in ("shortened", "registered") else "terminated"
        contact = Contact("c1", event, uri, state, **named)
        body = write_reginfo(
            Reginfo(self.cseq, True, (Registration(ALICE, "r1", "active", (contact,)),))
        )
        return self.notify(body, REG_TYPE)

    def notify(self, body: bytes, content_type: str) -> int:
        self.cseq += 1
        asked = self.subscribe
        request = self.server.ua.make("NOTIFY", asked.contacts[0].uri_text, [])
        request.set("From", f"<{ALICE}>;tag={self.server.incoming[1].tag}")
        request.set("To", str(asked.from_))
        request.set("Call-ID", asked.call_id)
        request.set("CSeq", f"{self.cseq} NOTIFY")
        request.add("Event", "reg")
        request.add("Subscription-State", "active;expires=3000")
        request.add("Contact", f"<sip:{CORE}>")
        request.set_body(body, content_type)
        flow = self.server.incoming[0].flow
        response: Response = self.wait(self.server.ua.request(request, flow=flow))
        return response.status

    def test_subscribes(self) -> None:
        """After registering, the client subscribes to its own registration."""
        self.assertEqual(self.subscribe.uri, ALICE)
        self.assertEqual(self.subscribe.first("Event"), "reg")
        self.assertEqual(self.subscribe.first("Accept"), REG_TYPE)

    def test_rejected(self) -> None:
        """ "rejected" is final, and the user is told."""
        self.assertEqual(self.tell("rejected"), 200)
        self.assertEqual(self.states[-1].name, "failed")
        self.assertIsInstance(self.states[-1].failure, Dismissed)
        before = len(self.server.of("REGISTER"))
        self.clock.advance(7200.0)
        self.assertEqual(len(self.server.of("REGISTER")), before)

    def test_deactivated(self) -> None:
        """ "deactivated" asks to register anew at once."""
        self.server.subscriptions = [accepted]
        self.assertEqual(self.tell("deactivated"), 200)
        self.settle()
        self.assertTrue(self.alice.registered)
        self.assertEqual(len(self.server.of("REGISTER")), 2)

    def test_probation(self) -> None:
        """ "probation" asks to register anew after a time."""
        self.tell("probation", retry_after=300)
        self.clock.advance(290.0)
        self.assertFalse(self.alice.registered)
        self.clock.advance(20.0)
        self.assertTrue(self.alice.registered)

    def test_shortened(self) -> None:
        """ "shortened" wants to see our credentials again soon."""
        self.tell("shortened", expires=60)
        self.settle()
        self.assertEqual(len(self.server.of("REGISTER")), 2)
        self.assertTrue(self.alice.registered)

    def test_others(self) -> None:
        """What becomes of other contacts does not matter."""
        self.tell("rejected", uri="sip:other@10.0.0.50")
        self.assertTrue(self.alice.registered)

    def test_nonsense(self) -> None:
        """What is no registration information is refused, and changes nothing."""
        self.assertEqual(self.notify(b"<reginfo", REG_TYPE), 400)
        self.assertEqual(self.notify(b"x", "text/plain"), 415)
        self.assertTrue(self.alice.registered)
        self.assertEqual(self.wait(self.server.message(b"hi", sender=BOB)).status, 200)
