"""The registration event package, as the core serves it."""

from __future__ import annotations

from typing import Any

from omaim.bodies.reginfo import MEDIA_TYPE, Reginfo, RegistrationTable, parse_reginfo
from omaim.roles.user_agent import UserAgent
from omaim.sip.dialog import as_uac
from omaim.sip.message import Response
from tests.core.support import CORE, DOMAIN, IM, CoreCase, Phone

BOB = f"sip:bob@{DOMAIN}"


class RegEventTests(CoreCase):
    """RFC 3680, RFC 5628; IMS-25."""

    settings = {"services": (IM,)}

    def setUp(self) -> None:
        super().setUp()
        self.put(self.person("bob", public=(BOB, "tel:+15550100"), barred=(f"sip:b@{DOMAIN}",)))
        self.bob = self.phone("bob", 2)

    def subscribe(self, phone: Phone, to: str = BOB, expires: str = "") -> Response:
        """Subscribe; return the answer."""
        headers = [("Event", "reg"), ("Accept", MEDIA_TYPE)]
        if expires:
            headers.append(("Expires", expires))
        request = phone.agent.make("SUBSCRIBE", to, [*headers, ("Contact", f"<{phone.contact}>")])
        response: Response = self.wait(phone.agent.request(request))
        self.request, self.response = request, response
        self.clock.advance(1.0)
        return response

    def documents(self, phone: Phone | None = None) -> list[Reginfo]:
        """Return what was told so far."""
        notifies = [one for one in (phone or self.bob).got if one.method == "NOTIFY"]
        return [parse_reginfo(one.body) for one in notifies]

    def test_full(self) -> None:
        """The first document tells all: every identity, not the barred one; 3761 s by default."""
        self.register(self.bob, ";+g.oma.sip-im")
        response = self.subscribe(self.bob)
        self.assertEqual((response.status, response.first("Expires")), (200, "3761"))
        (document,) = self.documents()
        self.assertEqual((document.version, document.full), (0, True))
        self.assertEqual([one.aor for one in document.registrations], [BOB, "tel:+15550100"])
        for one in document.registrations:
            (contact,) = one.contacts
            self.assertEqual((one.state, contact.event), ("active", "registered"))
            self.assertEqual(contact.uri, self.bob.contact)
            self.assertIn(("+g.oma.sip-im", ""), contact.params)

    def test_subscribed_by_gruu(self) -> None:
        """Who subscribes under its GRUU is told at its device (RFC 5627 §6.1)."""
        instance = ';+sip.instance="<urn:uuid:00000000-0000-4000-8000-000000000001>"'
        answer = self.register(self.bob, instance, [("Supported", "gruu")])
        self.bob.contact = answer.contacts[0].params.get("pub-gruu") or ""
        self.assertEqual(self.subscribe(self.bob).status, 200)
        self.assertEqual(len(self.documents()), 1)
        dialog = as_uac(self.request, self.response)
        dialog.local_seq = self.response.cseq.number
        again = dialog.request("SUBSCRIBE", [("Event", "reg"), ("Expires", "0")])
        self.assertEqual(self.wait(self.bob.agent.request(again)).status, 200)
        self.clock.advance(1.0)
        self.assertEqual(len(self.documents()), 2)

    def test_behind_nat(self) -> None:
        """Who asks for its flow in Contact is told by it (RFC 5626 §5.3)."""
        for number, transport in enumerate(("udp", "tcp")):
            phone = self.phone("bob", 20 + number, route=f"<sip:{CORE};transport={transport};lr>")
            phone.contact = f"sip:bob@unreachable.invalid;transport={transport};ob"
            self.assertEqual(self.subscribe(phone).status, 200)
            self.assertEqual(len(self.documents(phone)), 1, transport)

    def test_nothing(self) -> None:
        """Who is not registered is told so."""
        self.subscribe(self.bob)
        (document,) = self.documents()
        self.assertEqual([one.state for one in document.registrations], ["init", "init"])

    def test_changes(self) -> None:
        """Changes come as partial documents that keep a table right (§5.2)."""
        self.register(self.bob)
        self.subscribe(self.bob)
        other = self.phone("bob", 3)
        self.register(other)
        self.clock.advance(1.0)
        self.register(other)
        self.clock.advance(1.0)
        self.register(other, ";expires=0")
        self.clock.advance(1.0)
        documents = self.documents()
        self.assertEqual([one.version for one in documents], [0, 1, 2, 3])
        self.assertEqual([one.full for one in documents], [True, False, False, False])
        events = [one.registrations[0].contacts[0].event for one in documents]
        self.assertEqual(events, ["registered", "registered", "refreshed", "unregistered"])
        table = RegistrationTable()
        for document in documents:
            self.assertEqual(table.apply(document), "applied")
        (contact,) = table.registrations["r0"].contacts
        self.assertEqual(contact.uri, self.bob.contact)

    def test_end(self) -> None:
        """The network ends a registration, and says what the client shall do (§3.2)."""
        for event, wait in (("rejected", None), ("deactivated", None), ("probation", 60)):
            self.bob.got.clear()
            self.register(self.bob)
            self.subscribe(self.bob)
            ended = self.core.registrar.deregister(f"sip:b@{DOMAIN}", event, wait or 0)
            self.assertEqual(self.wait(ended), 1)
            self.clock.advance(1.0)
            last = self.documents()[-1].registrations[0]
            self.assertEqual((last.state, last.contacts[0].event), ("terminated", event))
            self.assertEqual(last.contacts[0].retry_after, wait)

    def test_expired(self) -> None:
        """A binding that runs out is told."""
        self.register(self.bob, ";expires=60")
        self.subscribe(self.bob)
        self.clock.advance(65.0)
        self.assertEqual(self.documents()[-1].registrations[0].contacts[0].event, "expired")

    def test_shortened(self) -> None:
        """The network wants devices back soon (§3.2)."""
        self.register(self.bob)
        self.subscribe(self.bob)
        self.assertEqual(self.wait(self.core.registrar.shorten(BOB, 90.0)), 1)
        self.clock.advance(1.0)
        contact = self.documents()[-1].registrations[0].contacts[0]
        self.assertEqual((contact.event, contact.expires), ("shortened", 90))

    def test_restart(self) -> None:
        """A restart of the core ends no subscription: its table stays right, a change is told, a
        refresh finds its dialog (RFC 6665 §4.2.1.4; RFC 3680 §5.2)."""
        self.register(self.bob)
        self.subscribe(self.bob)
        self.successResultOf(self.core.endpoint.stop())
        self.clock.advance(5.0)
        self.node, self.core = self.make_core(CORE, self.stores)
        self.clock.advance(10.0)
        self.register(self.phone("bob", 3))
        self.clock.advance(1.0)
        documents = self.documents()
        self.assertEqual([one.full for one in documents], [True, True, False])
        table = RegistrationTable()
        self.assertEqual([table.apply(one) for one in documents], ["applied"] * 3)
        self.assertEqual(len(table.registrations["r0"].contacts), 2)
        dialog = as_uac(self.request, self.response)
        dialog.local_seq = self.response.cseq.number
        again = dialog.request("SUBSCRIBE", [("Event", "reg"), ("Expires", "900")])
        response = self.wait(self.bob.agent.request(again, next_seq=dialog.next_seq))
        self.assertEqual((response.status, response.first("Expires")), (200, "900"))

    def test_refresh(self) -> None:
        """A refresh inside the dialog brings all again; 0 ends it."""
        self.register(self.bob)
        response = self.subscribe(self.bob)
        dialog = as_uac(self.request, response)
        dialog.local_seq = response.cseq.number
        headers = [("Event", "reg"), ("Contact", f"<{self.bob.contact}>")]
        for expires in ("600", "0"):
            again = dialog.request("SUBSCRIBE", [*headers, ("Expires", expires)])
            self.assertEqual(self.wait(self.bob.agent.request(again)).status, 200)
            self.clock.advance(1.0)
        documents = self.documents()
        self.assertEqual([one.version for one in documents], [0, 1, 2])
        self.assertTrue(all(one.full for one in documents))
        self.assertEqual(len(self.core.notifier), 0)
        self.assertEqual(self.core.router._forwarder.upstream.pending, 0)

    def test_gruu(self) -> None:
        """GRUUs of a device are told (RFC 5628)."""
        instance = ';+sip.instance="<urn:uuid:00000000-0000-4000-8000-000000000001>"'
        self.register(self.bob, instance, [("Supported", "gruu")])
        self.subscribe(self.bob)
        contact = self.documents()[0].registrations[0].contacts[0]
        self.assertTrue(contact.pub_gruu.startswith(f"{BOB};gr="))
        self.assertTrue(contact.temp_gruu)
        self.assertGreater(contact.first_cseq, 0)

    def test_who(self) -> None:
        """The user itself and application servers may watch, nobody else (§4.7)."""
        alice = self.phone("alice", 1)
        self.assertEqual(self.subscribe(alice).status, 403)
        self.assertEqual(self.subscribe(alice, f"sip:nobody@{DOMAIN}").status, 404)
        endpoint = self.endpoint(IM)
        agent = UserAgent(endpoint, f"sip:{IM}", routes=[f"<sip:{CORE};lr>"])
        server = Phone(agent, IM)
        server.contact = f"sip:{IM}"
        self.assertEqual(self.subscribe(server).status, 200)
        self.assertEqual(len(self.documents(server)), 1)

    def test_other_packages(self) -> None:
        """A subscription to anything else is routed as any request."""
        self.register(self.bob)
        alice = self.phone("alice", 1)
        response: Any = self.send(alice, BOB, "SUBSCRIBE", [("Event", "presence")])
        self.assertEqual(response.status, 200)
        self.assertEqual(self.bob.got[-1].method, "SUBSCRIBE")
