"""To the devices: forks, CANCEL, Timer C, flows, preferences, dialogs."""

from __future__ import annotations

import datetime
from itertools import product
from pathlib import Path
from typing import Any

from omaim.ids import Ids
from omaim.lab.certificates import write_certificates
from omaim.net.endpoint import Endpoint
from omaim.net.resolver import Resolver
from omaim.net.tls import TlsSettings
from omaim.roles.user_agent import UserAgent
from omaim.sip.answering import Answerer
from omaim.sip.bindings import Binding
from omaim.sip.dialog import as_uac
from omaim.sip.headers import NameAddr
from omaim.sip.message import Response
from tests.core.support import CORE, DOMAIN, ROUTE, CoreCase, Phone, Server

BOB = f"sip:bob@{DOMAIN}"
CAROL = f"sip:carol@{DOMAIN}"


class ForkTests(CoreCase):
    """RFC 3261 §16.6 to §16.10 with several devices."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.phone("alice", 1)

    def devices(self, *qs: float) -> list[Phone]:
        """Register devices of bob with these q values."""
        found = []
        for number, q in enumerate(qs):
            device = self.phone("bob", 20 + number)
            self.assertEqual(self.register(device, f";q={q}").status, 200)
            found.append(device)
        return found

    def test_parallel(self) -> None:
        """Equally good devices ring at once; the first who accepts wins (§16.6, §16.7)."""
        one, two = self.devices(0.5, 0.5)
        one.answer = two.answer = 0
        call = self.start(self.alice, BOB, "INVITE")
        self.clock.advance(1.0)
        self.assertEqual((len(one.got), len(two.got)), (1, 1))
        two.respond(two.pending[0], 180)
        one.respond(one.pending[0], 180)
        one.respond(one.pending[0], 200)
        self.assertEqual(self.wait(call).status, 200)
        self.clock.advance(1.0)
        self.assertEqual((len(one.cancels), len(two.cancels)), (0, 1))

    def test_several_accept(self) -> None:
        """Every 2xx of an INVITE goes back: two devices were faster than CANCEL (§16.7 step 5)."""
        one, two = self.devices(0.5, 0.5)
        one.answer = two.answer = 0
        accepted: list[bytes] = []
        self.core._node.taps.add_wire(
            lambda record: (
                accepted.append(record.data)
                if record.direction == "out"
                and record.remote[0] == "10.0.1.1"
                and record.data.startswith(b"SIP/2.0 200")
                else None
            )
        )
        call = self.start(self.alice, BOB, "INVITE")
        self.clock.advance(1.0)
        for device in (one, two):
            device.respond(device.pending[0], 200)
        self.wait(call)
        self.clock.advance(0.2)
        self.assertEqual(len(accepted), 2)

    def test_sequential(self) -> None:
        """The next best device is tried when the best refuses."""
        one, two = self.devices(0.9, 0.1)
        one.answer = 486
        self.assertEqual(self.send(self.alice, BOB).status, 200)
        self.assertEqual((len(one.got), len(two.got)), (1, 1))

    def test_best(self) -> None:
        """All refuse: 6xx first, else the lowest class (§16.7 step 6)."""
        one, two = self.devices(0.5, 0.5)
        one.answer, two.answer = 404, 302
        response = self.send(self.alice, BOB, "INVITE", redirections=0)
        self.assertEqual(response.status, 302)
        one.answer = 603
        self.assertEqual(self.send(self.alice, BOB, "INVITE").status, 603)

    def test_unavailable(self) -> None:
        """A device's 503 goes back as 500: others may serve (§16.7 step 6)."""
        (one,) = self.devices(1.0)
        one.answer = 503
        self.assertEqual(self.send(self.alice, BOB).status, 500)

    def test_cancel(self) -> None:
        """The caller's CANCEL reaches every ringing device (§16.10)."""
        one, two = self.devices(0.5, 0.5)
        one.answer = two.answer = 0
        call = self.start(self.alice, BOB, "INVITE")
        self.clock.advance(1.0)
        one.respond(one.pending[0], 180)
        two.respond(two.pending[0], 180)
        self.clock.advance(1.0)
        outcome: list[Response] = []
        call.addCallbacks(outcome.append, outcome.append)
        call.cancel()
        self.clock.advance(60.0)
        self.assertEqual((len(one.cancels), len(two.cancels)), (1, 1))
        self.assertEqual(self.core.endpoint.transactions.client_count, 0)

    def test_timer_c(self) -> None:
        """A device that rings for ever is given up after Timer C (§16.8)."""
        (one,) = self.devices(1.0)
        one.answer = 0
        call = self.start(self.alice, BOB, "INVITE")
        self.clock.advance(1.0)
        one.respond(one.pending[0], 180)
        self.clock.advance(self.core.config.timer_c - 5.0)
        self.assertEqual(one.cancels, [])
        self.clock.advance(10.0)
        self.assertEqual(len(one.cancels), 1)
        self.assertEqual(self.wait(call).status, 487)

    def test_silence(self) -> None:
        """A silent device leaves a MESSAGE without answer, never with 408 (RFC 4320 §4.2)."""
        (one,) = self.devices(1.0)
        one.answer = 0
        response = self.send(self.alice, BOB)
        self.assertEqual((response.status, response.local), (408, True))
        self.clock.advance(5.0)
        self.assertEqual(self.core.router._forwarder.upstream.pending, 0)

    def test_disposition(self) -> None:
        """The caller may forbid forking (RFC 3841 §9.1)."""
        one, two = self.devices(0.5, 0.5)
        headers = [("Request-Disposition", "no-fork")]
        self.assertEqual(self.send(self.alice, BOB, headers=headers).status, 200)
        self.assertEqual(len(one.got) + len(two.got), 1)

    def test_breadth(self) -> None:
        """The breadth is shared out between branches (RFC 5393 §5.3.3)."""
        one, two = self.devices(0.5, 0.5)
        self.send(self.alice, BOB, headers=[("Max-Breadth", "10")])
        breadths = [int(phone.got[0].first("Max-Breadth") or 0) for phone in (one, two)]
        self.assertEqual(sum(breadths), 10)

    def test_preferences(self) -> None:
        """Accept-Contact picks the device, Reject-Contact leaves one out (RFC 3841 §7.2)."""
        plain, tagged = self.phone("bob", 20), self.phone("bob", 21)
        self.register(plain, ";audio")
        self.register(tagged, ";+g.oma.sip-im")
        accept = [("Accept-Contact", "*;+g.oma.sip-im;require;explicit")]
        self.assertEqual(self.send(self.alice, BOB, headers=accept).status, 200)
        self.assertEqual((len(plain.got), len(tagged.got)), (0, 1))
        reject = [("Reject-Contact", "*;+g.oma.sip-im")]
        self.send(self.alice, BOB, headers=reject)
        self.assertEqual((len(plain.got), len(tagged.got)), (1, 1))

    def test_path(self) -> None:
        """A request visits the Path of the binding (RFC 3327 §5.1)."""
        edge, device = self.server("10.0.1.40"), self.phone("bob", 20)
        self.register(device, headers=[("Supported", "path"), ("Path", "<sip:10.0.1.40;lr>")])
        self.assertEqual(self.send(self.alice, BOB).status, 200)
        self.assertEqual((len(edge.got), len(device.got)), (1, 1))

    def test_gruu(self) -> None:
        """A GRUU reaches its device only; a made-up temporary one is 404 (RFC 5627 §6.1)."""
        instance = ';+sip.instance="<urn:uuid:00000000-0000-4000-8000-00000000000{}>"'
        one, two = self.phone("bob", 20), self.phone("bob", 21)
        gruu = [("Supported", "gruu")]
        first = self.register(one, instance.format(1), gruu)
        self.register(two, instance.format(2), gruu)
        contact = next(c for c in first.contacts if c.uri_text == one.contact)
        for name in ("pub-gruu", "temp-gruu"):
            target = contact.params.get(name)
            assert target
            self.assertEqual(self.send(self.alice, target).status, 200)
            self.assertEqual(self.send(self.alice, target.replace(";gr", ";GR")).status, 200)
        self.assertEqual((len(one.got), len(two.got)), (4, 0))
        self.assertEqual(self.send(self.alice, f"sip:tgruu.AAAA@{DOMAIN};gr").status, 404)


class FlowTests(CoreCase):
    """Devices that are reached by the connection that they opened (RFC 5626)."""

    instance = ';+sip.instance="<urn:uuid:00000000-0000-4000-8000-000000000001>"'

    def connected(self, name: str, number: int, reg_id: int) -> Phone:
        """Return a phone that registered over TCP by outbound."""
        phone = self.phone(name, number, route=f"<sip:{CORE};transport=tcp;lr>")
        contact = f"sip:{name}@unreachable.invalid;transport=tcp;ob"
        phone.contact = contact
        response = self.register(
            phone, f"{self.instance};reg-id={reg_id}", [("Supported", "outbound, path, gruu")]
        )
        self.assertEqual(response.status, 200)
        self.assertIn("outbound", response.first("Require") or "")
        self.assertEqual(response.first("Flow-Timer"), "120")
        return phone

    def test_connection(self) -> None:
        """Requests go down the connection, wherever the Contact points (§5.3)."""
        alice, bob = self.phone("alice", 1), self.connected("bob", 2, 1)
        self.assertEqual(self.send(alice, BOB).status, 200)
        self.assertEqual([flow.transport for flow in bob.flows], ["TCP"])

    def two_flows(self, bob: Phone) -> Server:
        """Register a phone by itself and then by an edge proxy, which is returned."""
        edge = self.server("10.0.1.40")
        supported = ("Supported", "outbound, path")
        self.assertEqual(self.register(bob, f"{self.instance};reg-id=1", [supported]).status, 200)
        self.clock.advance(1.0)
        edge.status = -2
        bob.agent.routes = ("<sip:10.0.1.40;lr>", ROUTE)
        path = [supported, ("Path", "<sip:10.0.1.40;lr;ob>")]
        self.assertEqual(self.register(bob, f"{self.instance};reg-id=2", path).status, 200)
        edge.got.clear()
        return edge

    def test_other_flow(self) -> None:
        """An edge proxy says 430: the next flow to the device is used (§5.3.1, §7)."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        edge = self.two_flows(bob)
        edge.status = 430
        self.assertEqual(self.send(alice, BOB).status, 200)
        self.assertEqual((len(edge.got), len(bob.got)), (1, 1))
        # Each of the two ways had its share of what the request may become (RFC 5393 §5.3.3).
        breadths = [int(one.first("Max-Breadth") or 0) for one in (*edge.got, *bob.got)]
        self.assertEqual(breadths, [30, 30])

    def test_silent_flow(self) -> None:
        """An edge proxy heard nothing, 408: likewise; after any other refusal the device has
        given its answer (§7; RFC 5627 §6.1).
        """
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        edge = self.two_flows(bob)
        edge.status = 408
        self.assertEqual(self.send(alice, BOB, "INVITE").status, 200)
        self.assertEqual((len(edge.got), len(bob.got)), (1, 1))
        edge.status = 486
        self.assertEqual(self.send(alice, BOB, "INVITE").status, 486)
        self.assertEqual((len(edge.got), len(bob.got)), (2, 1))

    def test_restart(self) -> None:
        """A device behind a NAT notices no restart over UDP; its flow is still the way to it."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        bob.contact = "sip:bob@unreachable.invalid;ob"
        outbound = [("Supported", "path, outbound")]
        response = self.register(bob, f"{self.instance};reg-id=1", outbound)
        self.assertFalse(response.has("Flow-Timer"))  # datagrams come oftener by themselves
        self.successResultOf(self.core.endpoint.stop())
        self.make_core(CORE, self.stores)
        self.assertEqual(self.send(alice, BOB).status, 200)

    def test_closed(self) -> None:
        """A closed connection ends the binding (§7)."""
        alice = self.phone("alice", 1)
        self.connected("bob", 2, 1)
        self.network.reset("10.0.1.2")
        self.clock.advance(1.0)
        self.assertEqual(self.send(alice, BOB).status, 480)


class DialogCase(CoreCase):
    """A test that sets up dialogs."""

    def call(self, caller: Phone, to: str = BOB) -> Any:
        """Set up a dialog; return it."""
        request = caller.agent.make("INVITE", to, [("Contact", f"<{caller.contact}>")])
        response = self.wait(caller.agent.request(request))
        self.assertEqual(response.status, 200)
        dialog = as_uac(request, response)
        dialog.local_seq = response.cseq.number
        caller.agent.endpoint.send_ack(dialog.ack(response.cseq.number, []))
        self.clock.advance(0.5)
        return dialog

    def bye(self, phone: Phone, dialog: Any) -> Response:
        response: Response = self.wait(phone.agent.request(dialog.request("BYE", [])))
        return response


class DialogTests(DialogCase):
    """Dialogs that stay on the core (RFC 3261 §12, §16.6 step 4; IMS-35)."""

    def test_dialog(self) -> None:
        """INVITE, ACK and BYE pass the core, without a second challenge."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        dialog = self.call(alice)
        self.assertEqual(len(bob.acks), 1)
        self.assertTrue(all(route.uri.host == CORE for route in dialog_routes(dialog)))
        self.assertEqual(self.bye(alice, dialog).status, 200)
        self.assertEqual([one.method for one in bob.got], ["INVITE", "BYE"])

    def test_claims_in_ack(self) -> None:
        """What only the network may say is believed of no caller, not even in its ACK, and what
        concerns the network only reaches no device (RFC 3325 §5).
        """
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        dialog = self.call(alice)
        claims = {
            "P-Asserted-Identity": f"<sip:carol@{DOMAIN}>",
            "P-Charging-Vector": "icid-value=forged",
            "P-Access-Network-Info": "IEEE-802.11",
        }
        alice.agent.endpoint.send_ack(dialog.ack(dialog.local_seq, [*claims.items()]))
        self.clock.advance(0.5)
        self.assertEqual(len(bob.acks), 2)
        self.assertEqual([name for name in claims if bob.acks[-1].has(name)], [])

    def test_transports(self) -> None:
        """A change of transport gives two Record-Routes, one for each side."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        alice.agent.routes = (f"<sip:{CORE};transport=tcp;lr>",)
        self.register(bob)
        dialog = self.call(alice)
        routes = [str(route) for route in dialog_routes(dialog)]
        self.assertEqual(len(routes), 2)
        self.assertIn("transport=tcp", routes[0])
        self.assertNotIn("transport=tcp", routes[1])
        self.assertEqual(self.bye(alice, dialog).status, 200)

    def test_flow_in_dialog(self) -> None:
        """Requests inside a dialog go down the device's connection too (RFC 5626 §5.3)."""
        alice = self.phone("alice", 1)
        bob = self.phone("bob", 2, route=f"<sip:{CORE};transport=tcp;lr>")
        bob.contact = "sip:bob@unreachable.invalid;transport=tcp;ob"
        instance = FlowTests.instance
        self.register(bob, f"{instance};reg-id=1", [("Supported", "outbound, path")])
        dialog = self.call(alice)
        self.assertEqual(len(bob.acks), 1)
        self.assertEqual(self.bye(alice, dialog).status, 200)
        self.assertEqual([flow.transport for flow in bob.flows], ["TCP", "TCP"])

    def test_reconnected(self) -> None:
        """Who lost its connection goes on by a new one; only the far side's has to be there."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        alice.agent.routes = (f"<sip:{CORE};transport=tcp;lr>",)
        self.register(bob)
        dialog = self.call(alice)
        self.network.reset("10.0.1.1")
        self.clock.advance(1.0)
        self.assertEqual(self.bye(alice, dialog).status, 200)

    def test_gruu(self) -> None:
        """A device that gave its GRUU as Contact gets the rest of the dialog (RFC 5627 §6.1)."""
        alice, bob, other = self.phone("alice", 1), self.phone("bob", 2), self.phone("bob", 3)
        where = bob.contact
        response = self.register(bob, FlowTests.instance, [("Supported", "gruu")])
        self.register(other)
        bob.contact = response.contacts[0].params.get("pub-gruu") or ""
        self.assertNotEqual(bob.contact, where)
        dialog = self.call(alice, bob.contact)
        self.assertEqual(len(bob.acks), 1)
        self.assertEqual(self.bye(alice, dialog).status, 200)
        self.assertEqual(([one.method for one in bob.got], other.got), (["INVITE", "BYE"], []))

    def test_anothers_gruu(self) -> None:
        """Nobody begins a dialog that goes on with somebody else's device (RFC 5627 §6.2)."""
        alice, bob, carol = self.phone("alice", 1), self.phone("bob", 2), self.phone("carol", 3)
        gruus = [
            self.register(phone, FlowTests.instance, [("Supported", "gruu")]).contacts[0].params
            for phone in (alice, carol)
        ]
        self.register(bob)
        for (params, status), name in product(
            zip(gruus, (200, 403), strict=True), ("pub-gruu", "temp-gruu")
        ):
            alice.contact = params.get(name) or ""
            self.assertIn(";gr", alice.contact)
            self.assertEqual(self.send(alice, BOB, "INVITE").status, status)
        alice.contact = f"sip:tgruu.AAAA@{DOMAIN};gr"
        self.assertEqual(self.send(alice, BOB, "INVITE").status, 403)
        self.assertEqual([one.method for one in bob.got], ["INVITE", "INVITE"])

    def test_no_circle(self) -> None:
        """A remote target that is ours and nobody's ends here, also for ACK."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        bob.contact = f"sip:nobody@{DOMAIN}"
        dialog = self.call(alice)
        self.assertEqual(self.bye(alice, dialog).status, 404)
        self.assertLess(self.network.datagrams, 40)

    def test_stolen_mark(self) -> None:
        """The mark of one dialog opens no other (§16.12)."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        dialog = self.call(alice)
        request = dialog.request("BYE", [])
        request.set("Call-ID", "another")
        self.assertEqual(self.wait(alice.agent.request(request)).status, 403)

    def test_charging(self) -> None:
        """All messages of a dialog carry one ICID to who is trusted (RFC 7315 §4.6)."""
        server = self.server("10.0.0.3")
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        dialog = self.call(alice)
        del server
        charging = self.core.router._charging
        vector = charging.recall(dialog.request("INFO", []))
        self.assertIsNotNone(vector)
        self.bye(alice, dialog)
        self.assertIsNone(charging.recall(dialog.request("INFO", [])))

    def test_charging_of_another(self) -> None:
        """A second call with the Call-ID of a dialog leaves the dialog its ICID (RFC 7315 §4.6)."""
        alice, bob, carol = self.phone("alice", 1), self.phone("bob", 2), self.phone("carol", 3)
        self.register(bob)
        self.register(carol)
        dialog = self.call(alice)
        recall = self.core.router._charging.recall
        vector = recall(dialog.request("INFO", []))
        self.assertIsNotNone(vector)
        sender = {"From": f"<{BOB}>;tag={dialog.local_tag}", "Call-ID": dialog.call_id}
        for replace in (sender, {**sender, "From": f"<{BOB}>;tag={dialog.remote_tag}"}):
            to = f"sip:carol@{DOMAIN}"
            self.assertEqual(self.send(bob, to, "INVITE", replace=replace).status, 200)
            self.assertIs(recall(dialog.request("INFO", [])), vector)
        self.assertIs(recall(self.back(dialog)), vector)

    @staticmethod
    def back(dialog: Any) -> Any:
        """Return a request of the other side of a dialog."""
        request = dialog.request("INFO", [])
        there, here = request.first("To"), request.first("From")
        request.set("From", there)
        request.set("To", here)
        return request

    def test_restart(self) -> None:
        """A dialog goes on after a restart of the core: its key is kept."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        dialog = self.call(alice)
        self.successResultOf(self.core.endpoint.stop())
        self.make_core(CORE, self.stores)
        self.assertEqual(self.bye(alice, dialog).status, 200)


class SecureTests(DialogCase):
    """Calls to sips URIs (RFC 3261 §26.2.2; RFC 5630)."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        now = datetime.datetime.now(datetime.UTC)
        servers: dict[str, tuple[tuple[str, ...], str]]
        servers = {"north": ((DOMAIN,), CORE), "carol": (("carol.example",), "10.0.1.3")}
        write_certificates(folder, servers, now)
        self.folder = folder
        pem, ca = folder / "north.pem", folder / "ca.pem"
        listen = (f"udp:{CORE}:5060", f"tls:{CORE}:5061")
        self.settings = {"listen": listen, "certificate": str(pem), "ca": str(ca)}
        self.trust = ca.read_bytes()
        super().setUp()

    def secure(self, name: str, number: int) -> Phone:
        """Return a phone that connects by TLS."""
        ids = Ids(number)
        endpoint = Endpoint(
            self.network,
            self.clock,
            Resolver(self.clock, self.dns.ask, ids),
            ids=ids,
            tls=TlsSettings(trust=self.trust),
        )
        answerer = Answerer(f"{name}@{DOMAIN}", name, ids)
        routes = [f"<sip:{DOMAIN}:5061;transport=tls;lr>"]
        agent = UserAgent(endpoint, f"sip:{name}@{DOMAIN}", credentials=answerer, routes=routes)
        phone = Phone(agent, f"10.0.1.{number}")
        phone.contact = f"sips:{name}@{phone.host};ob"
        return phone

    def test_no_downgrade(self) -> None:
        """Nothing sent to a sips URI leaves in clear for a sip contact (RFC 5630 §5.3)."""
        alice, bob = self.secure("alice", 1), self.phone("bob", 2)
        self.register(bob)
        for method in ("MESSAGE", "INVITE"):
            response = self.send(alice, f"sips:bob@{DOMAIN}", method)
            self.assertEqual(response.status, 480)
            self.assertEqual(response.first("Warning"), '380 omaim "SIPS Not Allowed"')
        self.assertEqual(bob.got, [])

    def test_service_route(self) -> None:
        """The Service-Route names what the certificate proves (RFC 5922 §7.3): the address, an
        alias at its port, or the domain, at whose port DNS looks."""
        folder, now = Path(self.folder), datetime.datetime.now(datetime.UTC)
        cases = (
            ((DOMAIN, "core.north.example"), CORE, f"sip:{CORE}:5061;transport=tls"),
            ((DOMAIN,), "192.0.2.1", f"sip:{DOMAIN};transport=tls"),
            (
                (DOMAIN, "core.north.example"),
                "192.0.2.1",
                "sip:core.north.example:5061;transport=tls",
            ),
            (("elsewhere.example",), "192.0.2.1", f"sip:{CORE}:5061;transport=tls"),
        )
        for names, address, wanted in cases:
            write_certificates(folder, {"north": (names, address)}, now)
            self.successResultOf(self.core.endpoint.stop())
            aliases = ("core.north.example",)
            self.node, self.core = self.make_core(
                CORE, self.stores, **self.settings, aliases=aliases
            )
            policies = self.core._register_policies()
            self.assertEqual(policies["TLS"].service_route, (f"<{wanted};lr>",))
            self.assertEqual(policies["UDP"].service_route, (f"<sip:{CORE}:5060;lr>",))

    def test_service_route_works(self) -> None:
        """A client that checks certificates sends its requests by that route."""
        now = datetime.datetime.now(datetime.UTC)
        write_certificates(Path(self.folder), {"north": ((DOMAIN,), "192.0.2.1")}, now)
        self.trust = Path(self.folder, "ca.pem").read_bytes()
        self.successResultOf(self.core.endpoint.stop())
        self.node, self.core = self.make_core(CORE, self.stores, **self.settings)
        alice, bob = self.secure("alice", 1), self.phone("bob", 2)
        self.register(bob)
        response = self.register(alice, ';+sip.instance="<urn:uuid:1>"')
        alice.agent.routes = tuple(response.all("Service-Route"))
        self.assertEqual(alice.agent.routes, (f"<sip:{DOMAIN};transport=tls;lr>",))
        self.network.reset(CORE)  # the next request needs a connection of its own
        self.clock.advance(1.0)
        self.assertEqual(self.send(alice, BOB).status, 200)

    def test_sip_to_sips(self) -> None:
        """What was sent to a sip URI keeps it, and goes to a sips contact over TLS all the same:
        by its flow, and by a connection of our own (RFC 5630 §5.3)."""
        outbound = [("Supported", "path, outbound")]
        alice, bob = self.phone("alice", 1), self.secure("bob", 2)
        self.register(bob, f"{FlowTests.instance};reg-id=1", outbound)
        for method in ("MESSAGE", "INVITE"):
            self.assertEqual(self.send(alice, BOB, method).status, 200)
        # "carol" is found by her Contact: nothing is known of a flow.
        carol = self.listening("carol", 3)
        self.put(self.person("carol"))
        self.stores.bindings.replace(
            CAROL, 0, [Binding(CAROL, f"sips:carol@{carol.host}:5061", "x", 1, 9e9)]
        )
        for method in ("MESSAGE", "INVITE"):
            self.assertEqual(self.send(alice, CAROL, method).status, 200)
        for phone, uri in (
            (bob, f"sip:bob@{bob.host};ob"),
            (carol, f"sip:carol@{carol.host}:5061"),
        ):
            self.assertEqual([one.uri for one in phone.got], [uri] * 2)
            self.assertEqual([flow.transport for flow in phone.flows], ["TLS"] * 2)
        safe = self.secure("alice", 5)
        self.assertEqual(self.send(safe, f"sips:bob@{DOMAIN}").status, 200)
        self.assertEqual(bob.got[-1].uri, bob.contact)

    def test_no_tls(self) -> None:
        """Where there is no way over TLS a sips contact gets nothing (RFC 5630 §5.3)."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.stores.bindings.replace(BOB, 0, [Binding(BOB, f"sips:bob@{bob.host}", "x", 1, 9e9)])
        self.assertIn(self.send(alice, BOB).status, (480, 500))
        self.assertEqual(bob.got, [])

    def listening(self, name: str, number: int) -> Phone:
        """Return a phone at which others may knock over TLS."""
        host = f"10.0.1.{number}"
        pem = Path(self.folder, f"{name}.pem").read_bytes()
        settings = TlsSettings(certificate=pem, key=pem, trust=self.trust)
        endpoint = Endpoint(self.network, self.clock, ids=Ids(number), tls=settings)
        self.successResultOf(endpoint.listen("TLS", host, 5061, settings))
        return Phone(UserAgent(endpoint, f"sip:{name}@{DOMAIN}"), host)

    def test_dialog(self) -> None:
        """A dialog with a sips contact stays on TLS: our marks are sips URIs (§16.6 step 4)."""
        alice, bob = self.secure("alice", 1), self.secure("bob", 2)
        outbound = [("Supported", "path, outbound")]
        self.register(bob, f"{FlowTests.instance};reg-id=1", outbound)
        dialog = self.call(alice, f"sips:bob@{DOMAIN}")
        self.assertEqual({route.uri.scheme for route in dialog_routes(dialog)}, {"sips"})
        self.assertEqual(len(bob.acks), 1)
        self.assertEqual(self.bye(alice, dialog).status, 200)
        self.assertEqual([flow.transport for flow in bob.flows], ["TLS", "TLS"])


def dialog_routes(dialog: Any) -> list[NameAddr]:
    return [NameAddr.parse(route) for route in dialog.routes]
