"""The way of a request: who may send what to whom."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from omaim.lab.certificates import write_certificates
from omaim.node.hooks import Refuse
from omaim.node.questions import WhereTo
from omaim.sip.bindings import Binding
from omaim.sip.charging import charging_vector
from omaim.sip.locating import Target
from omaim.sip.parser import Limits, parse_datagram
from tests.core.support import CORE, DOMAIN, IM, CoreCase

BOB = f"sip:bob@{DOMAIN}"
CLAIMS = [
    ("P-Asserted-Identity", "<sip:boss@north.example>"),
    ("P-Charging-Vector", "icid-value=forged"),
    ("P-Charging-Function-Addresses", "ccf=evil.example"),
    ("P-Served-User", f"<{BOB}>;sescase=term"),
]


class TrustTests(CoreCase):
    """What strangers may do, and what they may say."""

    def test_claims(self) -> None:
        """What only the network may say is stripped from users (RFC 3325 §5, RFC 7315 §6)."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        response = self.send(alice, BOB, headers=CLAIMS)
        self.assertEqual(response.status, 200)
        (seen,) = bob.got
        self.assertEqual(seen.all("P-Asserted-Identity"), [f"<sip:alice@{DOMAIN}>"])
        for name in ("P-Charging-Vector", "P-Charging-Function-Addresses", "P-Served-User"):
            self.assertFalse(seen.has(name), name)

    def test_claims_in_answers(self) -> None:
        """A device's answer asserts nothing either."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        bob.answer = lambda transaction: bob.respond(transaction, 200, *CLAIMS)
        response = self.send(alice, BOB)
        for name, _ in CLAIMS:
            self.assertFalse(response.has(name), name)

    def test_privacy(self) -> None:
        """Who asks for it stays unnamed (RFC 3325 §7)."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        anonymous = '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'
        self.send(alice, BOB, headers=[("Privacy", "id")], replace={"From": anonymous})
        (seen,) = bob.got
        self.assertFalse(seen.has("P-Asserted-Identity"))
        self.assertEqual(seen.first("From"), anonymous)

    def test_unnamed_as_another(self) -> None:
        """Who claims an unnamed address that another user has is asserted as itself."""
        ghost = "sip:ghost@anonymous.invalid"
        carol = f"sip:carol@{DOMAIN}"
        self.put(self.person("ghostly", public=(f"sip:ghostly@{DOMAIN}", ghost)))
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        self.assertEqual(self.send(alice, BOB, replace={"From": f"<{ghost}>;tag=1"}).status, 200)
        self.assertEqual(bob.got[0].first("P-Asserted-Identity"), f"<sip:alice@{DOMAIN}>")
        self.assertEqual(self.send(alice, BOB, replace={"From": f"<{carol}>;tag=1"}).status, 403)

    def test_spoofed_from(self) -> None:
        """A user cannot write another's address into From (IMS-24)."""
        alice = self.phone("alice", 1)
        response = self.send(alice, BOB, replace={"From": "<sip:carol@north.example>;tag=1"})
        self.assertEqual(response.status, 403)

    def test_preferred(self) -> None:
        """A user chooses among its own identities only (RFC 3325 §5)."""
        self.put(self.person("alice", public=(f"sip:alice@{DOMAIN}", f"sip:al@{DOMAIN}")))
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        self.send(alice, BOB, headers=[("P-Preferred-Identity", f"<sip:al@{DOMAIN}>")])
        self.assertEqual(bob.got[0].first("P-Asserted-Identity"), f"<sip:al@{DOMAIN}>")
        response = self.send(alice, BOB, headers=[("P-Preferred-Identity", f"<{BOB}>")])
        self.assertEqual(response.status, 403)

    def test_barred(self) -> None:
        """A barred identity neither sends nor receives (TS 23.228 §4.3.3.4)."""
        self.put(self.person("alice", barred=(f"sip:ghost@{DOMAIN}",)))
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        response = self.send(alice, BOB, replace={"From": f"<sip:ghost@{DOMAIN}>;tag=1"})
        self.assertEqual(response.status, 403)
        self.register(alice)
        self.assertEqual(self.send(bob, f"sip:ghost@{DOMAIN}").status, 404)

    def test_stranger(self) -> None:
        """Somebody of an unknown network is turned away, not even challenged."""
        mallory = self.phone("mallory", 66, "evil.example")
        response = self.send(mallory, BOB)
        self.assertEqual((response.status, response.has("Proxy-Authenticate")), (403, False))

    def test_no_relay(self) -> None:
        """Nobody is relayed from outside to outside."""
        mallory = self.phone("mallory", 66, "evil.example")
        self.assertEqual(self.send(mallory, "sip:victim@10.0.0.77").status, 403)

    def test_foreign_route(self) -> None:
        """A Route beyond us is not followed, whoever wrote it (RFC 3261 §16.12)."""
        alice, bob, victim = self.phone("alice", 1), self.phone("bob", 2), self.phone("x", 77)
        self.register(bob)
        alice.agent.routes = (f"<sip:{CORE};lr>", "<sip:10.0.1.77;lr>")
        self.assertEqual(self.send(alice, BOB).status, 403)
        self.assertEqual(self.send(alice, "sip:u@elsewhere.example").status, 403)
        self.assertEqual(victim.got, [])

    def test_named_twice(self) -> None:
        """Our Service-Route behind us as outbound proxy is no foreign Route (RFC 3608 §6.1)."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        service_route = self.register(alice).first("Service-Route") or ""
        alice.agent.routes = (f"<sip:{DOMAIN};lr>", service_route, f"<sip:{CORE};lr>")
        self.assertEqual(self.send(alice, BOB).status, 200)
        self.assertEqual((len(bob.got), bob.got[0].has("Route")), (1, False))

    def test_forged_place(self) -> None:
        """An original-dialog identifier is worth nothing from a stranger, nor a made-up one."""
        alice = self.phone("alice", 1)
        alice.agent.routes = (f"<sip:{CORE};lr;odi=AAAA>",)
        self.assertEqual(self.send(alice, BOB).status, 403)

    def test_forged_dialog(self) -> None:
        """A To tag does not open the door: the dialog has to have passed here (§16.12)."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        for uri in (BOB, "sip:victim@10.0.0.77"):
            self.assertEqual(self.send(alice, uri, to_value=f"<{uri}>;tag=x").status, 403)
        self.assertEqual(bob.got, [])

    def test_service_not_subscribed(self) -> None:
        """A user without the IM service gets 403 and is told why (IMS-24, IMS-38)."""
        self.put(attrs.evolve(self.person("alice"), im_service=False))
        alice = self.phone("alice", 1)
        for method in ("MESSAGE", "INVITE"):
            response = self.send(alice, BOB, method)
            self.assertEqual(response.status, 403)
            self.assertIn("127 Service not authorised", response.first("Warning") or "")
        self.assertEqual(self.send(alice, f"sip:{DOMAIN}", "OPTIONS").status, 200)

    def test_unregistered_sender(self) -> None:
        """Who proves its identity need not be registered."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        self.assertEqual(self.send(alice, BOB).status, 200)

    def test_removed_user(self) -> None:
        """A change in the user store counts at once."""
        bob = self.phone("bob", 2)
        self.register(bob)
        alice = self.phone("alice", 1)
        self.assertEqual(self.send(alice, BOB).status, 200)
        self.successResultOf(self.stores.users.remove(f"bob@{DOMAIN}"))
        self.assertEqual(self.send(alice, BOB).status, 404)


class WayTests(CoreCase):
    """Requests that leave where a feature says (WhereTo)."""

    def setUp(self) -> None:
        super().setUp()
        self.opinion: Any = None
        self.asked: list[WhereTo] = []
        self.waiting: Deferred[None] | None = None
        self.core._node.hooks.add(WhereTo, "way", self.ask)

    async def ask(self, question: WhereTo) -> Any:
        self.asked.append(question)
        if self.waiting is not None:
            await self.waiting
        return self.opinion

    def test_route(self) -> None:
        """A URI is put on top of the Route; a refusal is the answer."""
        alice, way = self.phone("alice", 1), self.server("10.0.1.50")
        way.status = 200
        self.opinion = "sip:10.0.1.50;lr"
        self.assertEqual(self.send(alice, "sip:u@elsewhere.example").status, 200)
        self.assertEqual(self.asked[0].served, f"sip:alice@{DOMAIN}")
        self.opinion = Refuse(403, "not there")
        self.assertEqual(self.send(alice, "sip:u@elsewhere.example").status, 403)

    def test_cancelled(self) -> None:
        """Who gives up while the feature thinks has nothing sent."""
        alice, way = self.phone("alice", 1), self.server("10.0.1.50")
        self.opinion = "sip:10.0.1.50;lr"
        self.waiting = Deferred()
        call = self.start(alice, "sip:u@elsewhere.example", "INVITE")
        self.clock.advance(1.0)
        call.addErrback(lambda failure: None)
        call.cancel()
        self.clock.advance(1.0)
        self.waiting.callback(None)
        self.clock.advance(1.0)
        self.assertEqual(way.got, [])
        self.assertEqual(self.core.router._forwarder.upstream.pending, 0)

    def test_crash(self) -> None:
        """A defect on the way is a 500, and is not counted as waiting for ever."""
        alice = self.phone("alice", 1)
        self.core.router._hooks = None  # type: ignore[assignment]
        self.assertEqual(self.send(alice, "sip:u@elsewhere.example").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertEqual(self.core.router._forwarder.upstream.pending, 0)


class CheckTests(CoreCase):
    """RFC 3261 §16.3: reasonable requests only."""

    def test_checks(self) -> None:
        """Too many hops, unknown extensions and unknown schemes have their answers."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        response = self.send(alice, BOB, replace={"Max-Forwards": "0"})
        self.assertEqual(response.status, 483)
        for tag in ("future", "sec-agree"):  # a security agreement that nobody checks is none
            response = self.send(alice, BOB, headers=[("Proxy-Require", tag)])
            self.assertEqual((response.status, response.first("Unsupported")), (420, tag))
        self.assertEqual(self.send(alice, "mailto:bob@north.example").status, 416)
        response = self.send(alice, BOB, headers=[("Max-Breadth", "0")])
        self.assertEqual(response.status, 440)

    def test_loop(self) -> None:
        """What comes round to us is a stranger's, who has proved nothing: it does not circle.

        The proof of its sender does not leave with it (RFC 3261 §22.3).
        """
        contact = f"sip:bob@{DOMAIN};transport=udp;x=1"
        self.stores.bindings.replace(BOB, 0, [binding(BOB, contact, self.clock)])
        self.assertEqual(self.send(self.phone("alice", 1), BOB).status, 407)
        self.assertLess(self.network.datagrams, 20)

    def test_abstract(self) -> None:
        """im: and pres: URIs of our domain mean its SIP users (RFC 3861 §3.3)."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        self.assertEqual(self.send(alice, f"im:bob@{DOMAIN}").status, 200)

    def test_numbers(self) -> None:
        """A tel URI, and the SIP URI that stands for it, reach its owner (RFC 3261 §19.1.6)."""
        public = (f"sip:bob@{DOMAIN}", "tel:+15550100")
        self.put(self.person("bob", public=public))
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        for uri in ("tel:+1-555-0100", f"sip:+15550100@{DOMAIN};user=phone"):
            self.assertEqual(self.send(alice, uri).status, 200)
        self.assertEqual(len(bob.got), 2)
        self.assertEqual(self.send(alice, "tel:+15559999").status, 404)


class UnprovedTests(CoreCase):
    """Where everybody is believed."""

    settings = {"authenticate": "never"}

    def test_loop(self) -> None:
        """What comes round unchanged is stopped (RFC 5393 §4.2)."""
        contact = f"sip:bob@{DOMAIN};transport=udp"
        self.stores.bindings.replace(BOB, 0, [binding(BOB, contact, self.clock)])
        self.assertEqual(self.send(self.phone("alice", 1), BOB).status, 482)
        self.assertLess(self.network.datagrams, 20)


class StrictRouterTests(CoreCase):
    """Neighbours that still route as RFC 2543 did."""

    settings = {"authenticate": "never"}

    def test_strict_router(self) -> None:
        """A Request-URI that is ours because of a strict router is put right (§16.4)."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        request = alice.agent.make("MESSAGE", f"sip:{CORE};lr")
        request.set("Route", f"<{BOB}>")
        flow = alice.agent.endpoint.flow_to(Target("UDP", CORE, 5060, ""))
        self.assertEqual(self.wait(alice.agent.request(request, flow=flow)).status, 200)
        self.assertEqual(bob.got[0].first("P-Called-Party-ID"), f"<{BOB}>")


class PlainTests(CoreCase):
    """A plain SIP network (IMS-29)."""

    settings = {"profile": "sip", "im_server": ""}

    def test_plain(self) -> None:
        """Nothing of IMS is written."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        self.assertEqual(self.send(alice, BOB).status, 200)
        (seen,) = bob.got
        names = [name for name in seen.names if name.startswith("P-")]
        self.assertEqual(names, ["P-Asserted-Identity"])


class StrangersTests(CoreCase):
    """A network that lets everybody in, unidentified."""

    settings = {"strangers": True}

    def test_stranger(self) -> None:
        """A stranger reaches our users without asserted identity, and nobody else."""
        bob, eve = self.phone("bob", 2), self.phone("eve", 66, "elsewhere.example")
        self.register(bob)
        self.assertEqual(self.send(eve, BOB, headers=CLAIMS).status, 200)
        self.assertFalse(bob.got[0].has("P-Asserted-Identity"))
        self.assertEqual(self.send(eve, "sip:u@third.example").status, 403)

    def test_not_ours(self) -> None:
        """A stranger who calls itself one of us has to prove it."""
        eve = self.phone("alice", 66, user="eve")
        response = self.send(eve, BOB)
        self.assertEqual(response.status, 407)


class InterconnectTests(CoreCase):
    """Two domains over IP-1 (IMS-59, IMS-60, IMS-61)."""

    settings = {
        "peers": ("south.example=10.0.0.11", "east.example=10.0.1.9"),
        "ccf": ("ccf.north.example",),
    }

    def setUp(self) -> None:
        super().setUp()
        self.dns.add("south.example", "A", "10.0.0.11")
        south = self.stores
        self.put(self.person("xenia", "south.example"))
        _, self.south = self.make_core(
            "10.0.0.11",
            south,
            domain="south.example",
            peers=(f"{DOMAIN}={CORE}",),
        )

    def test_charging(self) -> None:
        """One ICID for both networks; their names; no functions; identity believed."""
        alice = self.phone("alice", 1)
        xenia = self.phone("xenia", 2, "south.example", "<sip:10.0.0.11;lr>")
        self.register(xenia)
        wire: list[Any] = []
        self.core._node.taps.add_wire(wire.append)
        response = self.send(alice, "sip:xenia@south.example")
        self.assertEqual(response.status, 200)
        self.assertEqual(xenia.got[0].first("P-Asserted-Identity"), f"<sip:alice@{DOMAIN}>")
        between = [
            parse_datagram(one.data, Limits())
            for one in wire
            if one.entity == "core-10.0.0.1" and one.remote[0] == "10.0.0.11"
        ]
        request, answer = between[0], between[-1]
        assert request is not None
        assert answer is not None
        asked, told = charging_vector(request), charging_vector(answer)
        assert asked is not None
        assert told is not None
        self.assertEqual(asked.orig_ioi, DOMAIN)
        self.assertEqual((told.icid, told.term_ioi), (asked.icid, "south.example"))
        self.assertFalse(request.has("P-Charging-Function-Addresses"))

    def test_maddr(self) -> None:
        """A trusted name with another address behind it is not told what the network knows."""
        alice, trap = self.phone("alice", 1), self.phone("x", 77)
        self.send(alice, "sip:xenia@south.example;maddr=10.0.1.77")
        self.assertFalse(trap.got[0].has("P-Charging-Vector"))

    def test_no_transit(self) -> None:
        """A trusted network's request for a third one is refused: we carry no transit."""
        east = self.phone("u", 9, "east.example")
        self.assertEqual(self.send(east, "sip:v@third.example").status, 403)


class PeersClaimsTests(CoreCase):
    """A trusted network, and a network of ours without charging functions."""

    settings = {"peers": ("east.example=10.0.1.9",), "im_server": f"sip:{IM}"}

    def test_functions(self) -> None:
        """Its charging functions are told to nobody here, its vector is (RFC 7315 §4.5.1)."""
        im, bob = self.server(), self.phone("bob", 2)
        self.register(bob)
        east = self.phone("u", 9, "east.example")
        headers = [
            ("P-Asserted-Identity", "<sip:u@east.example>"),
            ("P-Charging-Vector", "icid-value=abc;orig-ioi=east.example"),
            ("P-Charging-Function-Addresses", "ccf=ccf.east.example"),
            ("P-Served-User", f"<{BOB}>;sescase=orig;regstate=reg"),
        ]
        self.assertEqual(self.send(east, BOB, headers=headers).status, 200)
        (seen,) = im.messages()
        self.assertFalse(seen.has("P-Charging-Function-Addresses"))
        self.assertIn("icid-value=abc", seen.first("P-Charging-Vector") or "")
        self.assertIn("sescase=term", seen.first("P-Served-User") or "")


class SecureInterconnectTests(CoreCase):
    """IP-1 over TLS, both sides known by certificate (IMS-64; RFC 5922 §7)."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        own: dict[str, tuple[tuple[str, ...], str]] = {
            name: ((f"{name}.example",), host)
            for name, host in (("north", CORE), ("south", "10.0.0.11"), ("evil", "10.0.0.66"))
        }
        write_certificates(folder, own, datetime.datetime.now(datetime.UTC))
        self.folder = folder
        self.settings = self.secure("north", CORE, "south.example")
        super().setUp()
        for name, (_, host) in own.items():
            self.dns.add(f"{name}.example", "A", host)
        self.put(self.person("xenia", "south.example"))
        self.make_core("10.0.0.11", self.stores, **self.secure("south", "10.0.0.11", DOMAIN))
        self.xenia = self.phone("xenia", 2, "south.example", "<sip:10.0.0.11;lr>")
        self.register(self.xenia)

    def secure(self, name: str, host: str, peer: str) -> dict[str, Any]:
        """Return the settings of a core with a certificate."""
        return {
            "domain": f"{name}.example",
            "listen": (f"udp:{host}:5060", f"tls:{host}:5061"),
            "certificate": str(self.folder / f"{name}.pem"),
            "ca": str(self.folder / "ca.pem"),
            "peers": (peer,),
            "interconnect": "tls",
        }

    def test_secure(self) -> None:
        """A message crosses by TLS alone, and the identity is believed."""
        between: list[str] = []
        self.core._node.taps.add_wire(
            lambda one: between.append(one.transport) if one.remote[0] == "10.0.0.11" else None
        )
        alice = self.phone("alice", 1)
        self.assertEqual(self.send(alice, "sip:xenia@south.example").status, 200)
        self.assertEqual(self.xenia.got[0].first("P-Asserted-Identity"), f"<sip:alice@{DOMAIN}>")
        self.assertEqual(set(between), {"TLS"})

    def test_dialog(self) -> None:
        """A dialog stays on TLS: each core's mark for the other says so (§16.6 step 4)."""
        alice = self.phone("alice", 1)
        response = self.send(alice, "sip:xenia@south.example", "INVITE")
        self.assertEqual(response.status, 200)
        routes = response.values("Record-Route")
        self.assertEqual(["transport=tls" in route for route in routes], [False, True, True, False])

    def test_impostor(self) -> None:
        """Another certificate, or an address alone, is not the peer."""
        evil = {**self.secure("evil", "10.0.0.66", "south.example"), "peers": ("south.example",)}
        self.put(self.person("mallory", "evil.example"))
        self.make_core("10.0.0.66", self.stores, **evil)
        mallory = self.phone("mallory", 6, "evil.example", "<sip:10.0.0.66;lr>")
        self.assertEqual(self.send(mallory, "sip:xenia@south.example").status, 403)
        self.assertEqual(self.xenia.got, [])


def binding(aor: str, contact: str, clock: Any) -> Any:
    return Binding(aor, contact, "call", 1, clock.now() + 3600, contact_id="c")
