"""Registrant and publisher over the simulated network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from omaim.roles.incoming import Incoming
from omaim.roles.publisher import Publisher
from omaim.roles.registrant import NotRegistered, Registrant
from omaim.sip.answering import Answerer
from omaim.sip.client_registration import FAILED, IDLE, REGISTERED, REGISTERING
from omaim.sip.message import Response
from omaim.sip.nonces import Nonces
from omaim.sip.publication import Publications
from omaim.sip.publishing import FAILED as REFUSED
from omaim.sip.publishing import IDLE as WITHDRAWN
from omaim.sip.publishing import PUBLISHED
from omaim.sip.subscription import Terms
from omaim.testing.network import Link
from tests.roles.support import PASSWORD, Roles, Server

URN = "urn:uuid:00000000-0000-4000-8000-000000000001"
REGISTRAR = "sip:10.0.0.1"
OVER_TCP = "sip:10.0.0.1;transport=tcp"


class RegistrantTests(Roles):
    def setUp(self) -> None:
        super().setUp()
        self.server = Server(self.agent("10.0.0.1"))
        self.bindings: dict[str, int] = {}
        self.extra: list[tuple[str, str]] = []
        self.states: list[int] = []

    def grant(self, incoming: Incoming) -> Response:
        """A registrar that believes everybody, or everybody who knows the password."""
        refusal = self.server.guarded(incoming)
        if refusal is not None and self.guard:
            return refusal
        request = incoming.request
        (contact,) = request.contacts
        self.bindings[contact.uri_text] = contact.expires or 0
        headers = [("Contact", str(contact)), *self.extra]
        return incoming.response(200, headers)

    guard = False

    def registrant(self, registrar: str = REGISTRAR, **named: Any) -> Registrant:
        self.server.script = [self.grant] * 500
        self.bob = self.agent("10.0.0.3", "bob", PASSWORD)
        named.setdefault("on_state", lambda moved: self.states.append(moved.state))
        return Registrant(self.bob, registrar, **named)

    def test_registered(self) -> None:
        """A binding is made, kept, and removed (RFC 3261 §10.2)."""
        registrant = self.registrant(expires=600)
        granted = self.wait(registrant.start())
        self.assertEqual((granted.expires, registrant.state), (600, REGISTERED))
        self.assertEqual(self.bindings, {"sip:bob@10.0.0.3": 600})
        self.clock.advance(3610.0)
        self.assertEqual(len(self.server.seen), 13)
        self.assertEqual(len({one.call_id for one in self.server.seen}), 1)
        numbers = [one.cseq.number for one in self.server.seen]
        self.assertEqual(numbers, list(range(1, 14)))
        self.wait(registrant.stop())
        self.assertEqual(self.bindings, {"sip:bob@10.0.0.3": 0})
        self.assertEqual(self.states, [REGISTERING, REGISTERED, IDLE])
        self.clock.advance(3600.0)
        self.assertEqual(len(self.server.seen), 14)
        self.wait(registrant.stop())

    def test_credentials(self) -> None:
        """Challenged once; a refresh brings the credentials along (RFC 3261 §22.1)."""
        self.guard = True
        registrant = self.registrant(expires=400)
        self.wait(registrant.start())
        self.clock.advance(10.0)
        self.assertEqual(len(self.server.seen), 2)
        self.clock.advance(200.0)
        self.assertEqual(len(self.server.seen), 3)
        self.clock.advance(86400.0)  # nonces grow stale over it
        self.assertEqual(registrant.state, REGISTERED)
        self.assertEqual(self.states, [REGISTERING, REGISTERED])

    def test_wrong_password(self) -> None:
        """A refused password is not tried for ever."""
        self.guard = True
        registrant = self.registrant()
        self.bob.credentials = Answerer("bob", "wrong", self.bob.ids)
        error = self.assertRaises(NotRegistered, self.wait, registrant.start())
        self.assertEqual((error.status, registrant.state), (401, FAILED))
        seen = len(self.server.seen)
        self.clock.advance(86400.0)
        self.assertEqual(len(self.server.seen), seen)

    def test_stale(self) -> None:
        """A server that finds every nonce stale is asked again after pauses, not given up."""
        self.guard = True
        registrant = self.registrant()
        good, self.server.nonces = self.server.nonces, Nonces(b"other key" * 2, self.bob.ids, -1.0)
        started = registrant.start()
        self.clock.advance(20.0)
        self.assertEqual((registrant.state, len(self.server.seen)), (REGISTERING, 5))
        self.server.nonces = good
        self.wait(started)
        self.assertEqual(registrant.state, REGISTERED)

    def test_used(self) -> None:
        """Service-Route and GRUU serve our other requests (RFC 3608 §6.1, RFC 5627 §4.4)."""
        registrant = self.registrant(instance=URN)
        self.extra = [("Service-Route", "<sip:orig@10.0.0.1;lr>")]
        gruu = "sip:bob@example.com;gr=1"

        def with_gruu(incoming: Incoming) -> Response:
            response = self.grant(incoming)
            response.set("Contact", f'{response.first("Contact")};pub-gruu="{gruu}"')
            return response

        self.server.script = [with_gruu, self.grant]
        self.wait(registrant.start())
        self.assertEqual(self.bob.routes, ("<sip:orig@10.0.0.1;lr>",))
        self.assertEqual(self.bob.contact_uri, gruu)
        self.wait(registrant.stop())
        self.assertEqual((self.bob.routes, self.bob.contact_uri), ((), "sip:bob@10.0.0.3"))

    def test_same_server_once(self) -> None:
        """An outbound proxy that is the service route's first hop is named once."""
        self.server.script = [self.grant] * 9
        bob = self.agent("10.0.0.3", "bob", routes=["<sip:10.0.0.1;lr>"])
        self.extra = [("Service-Route", "<sip:orig@10.0.0.1;lr>, <sip:10.0.0.8;lr>")]
        self.wait(Registrant(bob, "sip:example.com").start())
        self.assertEqual(bob.routes, ("<sip:orig@10.0.0.1;lr>", "<sip:10.0.0.8;lr>"))

    def test_unreachable(self) -> None:
        """A registrar that is away is asked until it is back (RFC 5626 §4.5)."""
        registrant = self.registrant()
        self.network.cut("10.0.0.1")
        done = registrant.start()
        self.clock.advance(300.0)
        self.assertEqual(registrant.state, REGISTERING)
        self.network.mend("10.0.0.1")
        self.assertEqual(self.wait(done, 600.0).expires, 3600)

    def test_flow_lost(self) -> None:
        """A broken connection is replaced at once (RFC 5626 §4.5)."""
        self.extra = [("Require", "outbound")]
        registrant = self.registrant(OVER_TCP, instance=URN, reg_id=1)
        self.wait(registrant.start())
        old = registrant.flow
        self.clock.advance(100.0)
        self.network.reset("10.0.0.1")
        self.clock.advance(1.0)
        self.assertEqual(self.states, [REGISTERING, REGISTERED, REGISTERING, REGISTERED])
        self.assertIsNot(registrant.flow, old)
        assert registrant.flow is not None
        self.assertTrue(registrant.flow.open)

    def test_pings(self) -> None:
        """A server that falls silent is noticed by its missing pong (RFC 5626 §4.4.1)."""
        self.extra = [("Require", "outbound"), ("Flow-Timer", "30")]
        registrant = self.registrant(OVER_TCP, instance=URN, reg_id=1, expires=7200)
        self.wait(registrant.start())
        self.clock.advance(600.0)
        self.assertEqual(registrant.state, REGISTERED)
        self.assertEqual(len(self.server.seen), 1)
        self.network.cut("10.0.0.1")
        self.clock.advance(45.0)
        self.assertEqual(registrant.state, REGISTERING)
        self.network.mend("10.0.0.1")
        self.clock.advance(300.0)
        self.assertEqual(registrant.state, REGISTERED)

    def test_keep_alive_on_request(self) -> None:
        """Datagram flows are kept alive, too, where that was asked for; often enough for a NAT,
        whatever the registrar's Flow-Timer is (RFC 5626 §4.4.2).
        """
        self.extra = [("Flow-Timer", "120")]
        registrant = self.registrant(keep_alive=True, expires=7200)
        self.wait(registrant.start())
        before = self.network.datagrams
        self.clock.advance(290.0)
        self.assertTrue(10 <= self.network.datagrams - before <= 13)
        self.wait(registrant.stop())
        before = self.network.datagrams
        self.clock.advance(290.0)
        self.assertEqual(self.network.datagrams, before)

    def test_stun(self) -> None:
        """A registrar that does outbound gets STUN by UDP, and answers it (RFC 5626 §4.4.2)."""
        self.extra = [("Require", "outbound")]
        registrant = self.registrant(instance=URN, reg_id=1, expires=7200)
        self.wait(registrant.start())
        before = self.network.datagrams
        self.clock.advance(290.0)
        asked = self.server.ua.endpoint.counters["keepalive"]
        self.assertTrue(10 <= asked <= 12)
        self.assertEqual(self.network.datagrams - before, 2 * asked)
        self.assertEqual(registrant.state, REGISTERED)

    def test_dismissed(self) -> None:
        """The network may end it: for now, or for good (RFC 3680 §5.3)."""
        registrant = self.registrant()
        self.wait(registrant.start())
        registrant.dismissed("deactivated")
        self.clock.advance(1.0)
        self.assertEqual((registrant.state, len(self.server.seen)), (REGISTERED, 2))
        registrant.dismissed("rejected")
        self.clock.advance(86400.0)
        self.assertEqual((registrant.state, len(self.server.seen)), (FAILED, 2))

    def test_lossy_day(self) -> None:
        """A day with a third of all datagrams lost, and the binding stands at its end."""
        self.guard = True
        registrant = self.registrant(expires=600)
        self.network.link = Link(delay=0.02, jitter=0.1, loss=0.33, duplicate=0.1)
        registrant.start()
        self.clock.advance(86400.0)
        self.network.link = Link()
        self.clock.advance(1800.0)
        self.assertEqual(registrant.state, REGISTERED)
        self.assertEqual(self.bindings, {"sip:bob@10.0.0.3": 600})

    def test_stopped_in_between(self) -> None:
        """Stopping before the answer fails the start and removes the binding."""
        registrant = self.registrant()
        done = registrant.start()
        stopped = registrant.stop()
        self.wait(stopped)
        self.failureResultOf(done, NotRegistered)
        self.assertEqual(self.bindings, {"sip:bob@10.0.0.3": 0})


class PublisherTests(Roles):
    def setUp(self) -> None:
        super().setUp()
        self.server = Server(self.agent("10.0.0.1"))
        self.esc = Publications(self.server.ua.ids, ["presence"], Terms(600, 60, 600))
        self.server.ua.on("PUBLISH", self.compose)
        self.bob = self.agent("10.0.0.3", "bob", PASSWORD, routes=["<sip:10.0.0.1;lr>"])
        self.guard: Callable[[Incoming], Response | None] = lambda incoming: None

    def compose(self, incoming: Incoming) -> Response:
        refusal = self.guard(incoming)
        if refusal is not None:
            return refusal
        published = self.esc.publish(
            incoming.request.to.uri_text, incoming.request, self.clock.seconds()
        )
        headers = [("SIP-ETag", published.etag), ("Expires", str(published.expires))]
        return incoming.response(200, headers)

    def bodies(self) -> list[bytes]:
        self.esc.wake(self.clock.seconds())
        return [one.body for one in self.esc.current("sip:bob@example.com", "presence")]

    def test_life(self) -> None:
        """Publish, keep, change, withdraw (RFC 3903 §4)."""
        self.guard = self.server.guarded
        standing = Publisher(self.bob).publish("presence", b"<1/>", "application/pidf+xml")
        self.assertEqual(self.wait(standing.settled()), PUBLISHED)
        self.clock.advance(86400.0)
        self.assertEqual(self.bodies(), [b"<1/>"])
        standing.change(b"<2/>", "application/pidf+xml")
        self.wait(standing.settled())
        self.assertEqual(self.bodies(), [b"<2/>"])
        self.assertEqual(self.wait(standing.withdraw()), WITHDRAWN)
        self.assertEqual(self.bodies(), [])
        self.clock.advance(86400.0)
        self.assertEqual(self.bodies(), [])

    def test_forgotten(self) -> None:
        """A compositor that lost its state gets it again (RFC 3903 §5)."""
        standing = Publisher(self.bob).publish("presence", b"<1/>", "application/pidf+xml")
        self.wait(standing.settled())
        self.esc = Publications(self.server.ua.ids, ["presence"], Terms(600, 60, 600))
        self.clock.advance(310.0)
        self.assertEqual(self.bodies(), [b"<1/>"])

    def test_refused(self) -> None:
        """A refusal is told."""
        heard: list[int] = []
        standing = Publisher(self.bob).publish(
            "dialog", b"<1/>", "text/plain", on_state=lambda moved: heard.append(moved.state)
        )
        self.assertEqual(self.wait(standing.settled()), REFUSED)
        self.assertEqual(standing.status, 489)
        self.assertEqual(heard[-1], REFUSED)

    def test_nothing_to_withdraw(self) -> None:
        """Withdrawing what does not stand is done at once."""
        standing = Publisher(self.bob).publish("dialog", b"<1/>", "text/plain")
        self.wait(standing.settled())
        done: Deferred[int] = standing.withdraw()
        self.assertEqual(self.successResultOf(done), WITHDRAWN)
