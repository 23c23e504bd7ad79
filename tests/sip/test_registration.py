"""What a REGISTER does to bindings (RFC 3261 §10.3, RFC 3327, RFC 5626 §6, RFC 5627 §5)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError, UsageError
from omaim.ids import Ids
from omaim.sip.bindings import (
    EXPIRED,
    REFRESHED,
    REGISTERED,
    UNREGISTERED,
    Binding,
)
from omaim.sip.gruu import Gruus
from omaim.sip.message import Request
from omaim.sip.registration import (
    AGAIN,
    ENDED,
    FETCHED,
    INITIAL,
    Outcome,
    Policy,
    Refused,
    Sender,
    register,
)
from omaim.sip.uri import parse_uri

AOR = "sip:alice@example.com"
HOME = "<sip:alice@192.0.2.1:5060>"
INSTANCE = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-000a95a0e128>"'
OTHER_INSTANCE = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-ffffffffffff>"'
EDGE = "<sip:token@edge.example.com;lr;ob>"


def a_register(
    *contacts: str, cseq: int = 1, call_id: str = "c1", vias: int = 1, **headers: str
) -> Request:
    """Return a REGISTER; header names are given with underscores for hyphens."""
    lines = [("Via", f"SIP/2.0/UDP 192.0.2.{n};branch=z9hG4bK{n}") for n in range(vias)]
    lines += [
        ("From", f"<{AOR}>;tag=1"),
        ("To", f"<{AOR}>"),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} REGISTER"),
    ]
    lines += [("Contact", contact) for contact in contacts]
    lines += [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request.make("REGISTER", "sip:example.com", lines)


class Registrar:
    """The bindings of one address, as a registrar would keep them."""

    def __init__(self, policy: Policy | None = None, gruus: Gruus | None = None) -> None:
        self.policy = policy or Policy()
        self.gruus = gruus
        self.ids = Ids(1)
        self.bindings: list[Binding] = []

    def __call__(self, request: Request, now: float = 0.0, flow: str = "") -> Outcome:
        before = [binding.values() for binding in self.bindings]
        kept = self.bindings
        try:
            outcome = register(
                request,
                AOR,
                kept,
                now,
                self.policy,
                self.ids,
                Sender("alice", flow),
                self.gruus,
            )
        finally:
            assert [binding.values() for binding in kept] == before
        self.bindings = outcome.bindings
        return outcome

    def contacts(self) -> list[str]:
        return [binding.contact for binding in self.bindings]


def lines(outcome: Outcome, name: str) -> list[str]:
    return [value for known, value in outcome.headers if known == name]


def events(outcome: Outcome) -> list[str]:
    return [change.event for change in outcome.changes]


class BasicTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.registrar = Registrar()

    def refused(self, status: int, request: Request, now: float = 0.0, flow: str = "") -> PeerError:
        error = self.assertRaises(PeerError, self.registrar, request, now, flow)
        self.assertEqual(error.status, status)
        return error

    def test_first(self) -> None:
        """A new contact is bound with all that the request says (§10.3 step 7)."""
        request = a_register(HOME + ";q=0.5;methods=MESSAGE", Expires="600", User_Agent="t")
        outcome = self.registrar(request, 1000.0, "flow")
        [binding] = outcome.bindings
        self.assertEqual(binding.contact, "sip:alice@192.0.2.1:5060")
        self.assertEqual((binding.call_id, binding.cseq, binding.q), ("c1", 1, 0.5))
        self.assertEqual((binding.expires_at, binding.registered_at), (1600.0, 1000.0))
        self.assertEqual((binding.flow_token, binding.private_id), ("flow", "alice"))
        self.assertEqual((binding.user_agent, binding.reg_id), ("t", 0))
        self.assertEqual(events(outcome), [REGISTERED])
        self.assertEqual(outcome.kind, INITIAL)
        self.assertEqual(
            lines(outcome, "Contact"),
            ["<sip:alice@192.0.2.1:5060>;q=0.5;methods=MESSAGE;expires=600"],
        )
        self.assertEqual(lines(outcome, "Date"), ["Thu, 01 Jan 1970 00:16:40 GMT"])

    def test_fetch(self) -> None:
        """Without Contact nothing changes and all bindings are listed (§10.3 step 6)."""
        self.registrar(a_register(HOME))
        outcome = self.registrar(a_register(cseq=2), 100.0)
        self.assertEqual((outcome.kind, outcome.changes), (FETCHED, []))
        self.assertEqual(lines(outcome, "Contact"), [f"{HOME};expires=3500"])

    def test_refresh(self) -> None:
        """A higher CSeq refreshes; id and first registration stay (§10.3 step 7)."""
        [first] = self.registrar(a_register(HOME), 5.0).bindings
        outcome = self.registrar(a_register(HOME, cseq=2), 100.0)
        [second] = outcome.bindings
        self.assertEqual(events(outcome), [REFRESHED])
        self.assertEqual(outcome.kind, AGAIN)
        self.assertEqual(second.contact_id, first.contact_id)
        self.assertEqual((second.registered_at, second.expires_at), (5.0, 3700.0))
        self.assertEqual(second.updated_at, 100.0)

    def test_uri_comparison(self) -> None:
        """Contacts are the same when their URIs are equal, not their texts (§10.3, §19.1.4)."""
        self.registrar(a_register("<sip:%61lice@EXAMPLE.net:5060;x=1>"))
        self.registrar(a_register("<sip:alice@example.net:5060>", cseq=2))
        self.assertEqual(self.registrar.contacts(), ["sip:alice@example.net:5060"])
        self.registrar(a_register("<sip:ALICE@example.net:5060>", cseq=3))
        self.assertEqual(len(self.registrar.bindings), 2)

    def test_order(self) -> None:
        """Same Call-ID and no higher CSeq: the update fails, another Call-ID passes (step 7)."""
        self.registrar(a_register(HOME, cseq=5))
        self.refused(500, a_register(HOME, cseq=5))
        self.refused(500, a_register(HOME + ";expires=0", cseq=4))
        self.refused(500, a_register("*", cseq=5, Expires="0"))
        self.registrar(a_register(HOME, cseq=1, call_id="c2"))
        self.assertEqual(len(self.registrar.bindings), 1)

    def test_all_or_nothing(self) -> None:
        """One contact that fails leaves all as it was (§10.3 step 7)."""
        self.registrar(a_register(HOME, cseq=5))
        self.refused(500, a_register("<sip:new@192.0.2.9>", HOME, cseq=5))
        self.assertEqual(self.registrar.contacts(), ["sip:alice@192.0.2.1:5060"])

    def test_remove(self) -> None:
        """expires=0 removes that contact only, and an unknown one is no error (§10.2.2)."""
        self.registrar(a_register(HOME, "<sip:b@192.0.2.2>"))
        outcome = self.registrar(a_register(HOME + ";expires=0", "<sip:c@x>;expires=0", cseq=2))
        self.assertEqual(self.registrar.contacts(), ["sip:b@192.0.2.2"])
        self.assertEqual((events(outcome), outcome.kind), ([UNREGISTERED], AGAIN))
        outcome = self.registrar(a_register("<sip:b@192.0.2.2>", cseq=3, Expires="0"))
        self.assertEqual((outcome.bindings, outcome.kind), ([], ENDED))

    def test_star(self) -> None:
        """Contact: * removes all, and only alone with Expires: 0 (§10.2.2, §10.3 step 6)."""
        self.registrar(a_register(HOME, "<sip:b@192.0.2.2>"))
        self.refused(400, a_register("*", cseq=2))
        self.refused(400, a_register("*", cseq=2, Expires="1"))
        self.refused(400, a_register("*", HOME, cseq=2, Expires="0"))
        self.refused(400, a_register("*", cseq=2, Expires="x"))
        outcome = self.registrar(a_register("*", cseq=1, call_id="other", Expires="0"))
        self.assertEqual(outcome.bindings, [])
        self.assertEqual(events(outcome), [UNREGISTERED, UNREGISTERED])
        self.assertEqual(outcome.kind, ENDED)

    def test_lifetimes(self) -> None:
        """Parameter before header before default; too long is cut, malformed an hour (step 7)."""
        for contact, header, seconds in (
            (HOME + ";expires=100", "200", 100),
            (HOME, "200", 200),
            (HOME, None, 3600),
            (HOME + ";expires=99999999999999999999", None, 7200),
            (HOME + ";expires=soon", "200", 3600),
            (HOME, "soon", 3600),
        ):
            registrar = Registrar()
            headers: dict[str, Any] = {} if header is None else {"Expires": header}
            [binding] = registrar(a_register(contact, **headers)).bindings
            self.assertEqual(binding.expires_at, seconds)

    def test_too_brief(self) -> None:
        """423 names the least interval (§10.3 step 7, §21.4.17)."""
        error = self.refused(423, a_register(HOME + ";expires=59"))
        assert isinstance(error, Refused)
        self.assertEqual(error.headers, [("Min-Expires", "60")])
        self.registrar(a_register(HOME + ";expires=60"))

    def test_expired_fall_out(self) -> None:
        """A binding whose time has come is gone and told as such (RFC 3680 §5.1)."""
        self.registrar(a_register(HOME + ";expires=60"))
        outcome = self.registrar(a_register("<sip:b@192.0.2.2>", cseq=2), 60.0)
        self.assertEqual(events(outcome), [EXPIRED, REGISTERED])
        self.assertEqual(outcome.kind, INITIAL)

    def test_bounds(self) -> None:
        """More contacts than allowed are refused, and nobody may send a thousand."""
        self.registrar.policy = Policy(max_contacts=2)
        self.registrar(a_register("<sip:a@192.0.2.2>", "<sip:b@192.0.2.2>"))
        self.refused(403, a_register("<sip:c@192.0.2.2>", cseq=2))
        many = [f"<sip:x{n}@192.0.2.2>;expires=0" for n in range(5)]
        self.refused(403, a_register(*many, cseq=2))
        self.registrar(a_register("<sip:a@192.0.2.2>;expires=0", "<sip:c@192.0.2.2>", cseq=2))
        self.assertEqual(self.registrar.contacts(), ["sip:b@192.0.2.2", "sip:c@192.0.2.2"])

    def test_bounds_lowered(self) -> None:
        """An address that has more than are allowed now can still refresh them."""
        self.registrar(a_register("<sip:a@192.0.2.2>", "<sip:b@192.0.2.2>"))
        self.registrar.policy = Policy(max_contacts=1)
        self.registrar(a_register("<sip:a@192.0.2.2>", "<sip:b@192.0.2.2>", cseq=2))
        self.assertEqual(len(self.registrar.bindings), 2)
        self.refused(403, a_register("<sip:c@192.0.2.2>", cseq=3))

    def test_bad_contacts(self) -> None:
        """What is no contact deserves 400, a loop 403 (RFC 5627 §5.1)."""
        self.refused(400, a_register("<nonsense>"))
        self.refused(400, a_register(HOME + ";q=2"))
        self.refused(400, a_register(HOME + f";{INSTANCE};reg-id=0"))
        for reg_id in ("2147483648", "99999999999999", "x", "-1", '"١"'):
            self.refused(400, a_register(HOME + f";{INSTANCE};reg-id={reg_id}"))
        self.refused(403, a_register("<sip:ALICE@example.com>".lower()))
        self.refused(403, a_register(f"<mailto:alice@example.com>;{INSTANCE}"))
        self.registrar(a_register("<mailto:alice@example.com>"))
        self.assertEqual(self.registrar.contacts(), ["mailto:alice@example.com"])

    def test_options(self) -> None:
        """Unknown Require: 420; a demanded extension that is missing: 421 (§8.2.2.3)."""
        error = self.refused(420, a_register(HOME, Require="path, fancy"))
        assert isinstance(error, Refused)
        self.assertEqual(error.headers, [("Unsupported", "fancy")])
        self.registrar.policy = Policy(demanded=("outbound",))
        error = self.refused(421, a_register(HOME))
        assert isinstance(error, Refused)
        self.assertEqual(error.headers, [("Require", "outbound")])

    @given(
        st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 60, 600]), st.integers(0, 90)))
    )
    def test_model(self, steps: list[tuple[int, int, int]]) -> None:
        """The live bindings are always those that a plain table of ends would hold."""
        registrar = Registrar()
        ends: dict[str, float] = {}
        now = 0.0
        for number, (who, seconds, pause) in enumerate(steps):
            now += pause
            uri = f"sip:u{who}@192.0.2.1"
            outcome = registrar(a_register(f"<{uri}>;expires={seconds}", cseq=number), now)
            before = {name for name, end in ends.items() if end > now}
            ends[uri] = now + seconds
            after = {name for name, end in ends.items() if end > now}
            self.assertEqual(set(registrar.contacts()), after)
            self.assertEqual(len(lines(outcome, "Contact")), len(after))
            last = {change.binding.contact: change.gone for change in outcome.changes}
            for contact, gone in last.items():
                self.assertEqual(gone, contact not in after)
            expected = AGAIN if before and after else INITIAL if after else ENDED
            if before or after:
                self.assertEqual(outcome.kind, expected)

    @given(st.text(max_size=60), st.text(max_size=30))
    def test_junk(self, contact: str, path: str) -> None:
        """Whatever the headers hold, the answer is an outcome or a PeerError."""
        try:
            request = a_register(contact, Path=path, Supported="path")
        except UsageError:
            return  # a line break: the message refuses it before us
        try:
            Registrar()(request)
        except PeerError:
            pass


class PathTests(SynchronousTestCase):
    def test_stored_and_returned(self) -> None:
        """Path is kept in order with the binding and copied to the response (RFC 3327 §5.3)."""
        registrar = Registrar(Policy(service_route=("<sip:s1;lr>", "<sip:s2;lr>")))
        request = a_register(HOME, vias=2, Path="<sip:p2;lr>, <sip:p1;lr>", Supported="path")
        outcome = registrar(request)
        self.assertEqual(outcome.bindings[0].path, ("<sip:p2;lr>", "<sip:p1;lr>"))
        self.assertEqual(lines(outcome, "Path"), ["<sip:p2;lr>, <sip:p1;lr>"])
        self.assertEqual(lines(outcome, "Service-Route"), ["<sip:s1;lr>", "<sip:s2;lr>"])
        gone = registrar(a_register("*", cseq=2, Expires="0"))
        self.assertEqual(lines(gone, "Service-Route"), [])

    def test_unsupported(self) -> None:
        """Without support for path: 420 by default, accepted by policy (RFC 3327 §5.3)."""
        request = a_register(HOME, vias=2, Path="<sip:p1;lr>")
        error = self.assertRaises(Refused, Registrar(), request)
        self.assertEqual((error.status, error.headers), (420, [("Unsupported", "path")]))
        outcome = Registrar(Policy(lenient_path=True))(request)
        self.assertEqual(outcome.bindings[0].path, ("<sip:p1;lr>",))

    def test_secure(self) -> None:
        """A sips contact wants a sips Request-URI and a Path of sips URIs (RFC 5630 §5.2)."""
        contact = "<sips:alice@192.0.2.1>"
        for uri, path, fine in (
            ("sips:example.com", "<sips:p1;lr>", True),
            ("sip:example.com", "<sips:p1;lr>", False),
            ("sips:example.com", "<sips:p2;lr>, <sip:p1;lr>", False),
        ):
            request = a_register(contact, vias=2, Path=path, Supported="path")
            request.uri = uri
            if fine:
                self.assertEqual(len(Registrar()(request).bindings), 1)
            else:
                error = self.assertRaises(PeerError, Registrar(), request)
                self.assertEqual(error.status, 400)
        gone = a_register(contact + ";expires=0")
        self.assertEqual(Registrar()(gone).bindings, [])

    def test_malformed(self) -> None:
        """A Path that is no list of SIP URIs, or endless, is refused."""
        for path in ("<tel:+1>", "x", ", ".join(["<sip:p;lr>"] * 21)):
            request = a_register(HOME, Path=path, Supported="path")
            error = self.assertRaises(PeerError, Registrar(), request)
            self.assertEqual(error.status, 400)
        path = ", ".join(["<sip:p;lr>"] * 20)
        [binding] = Registrar()(a_register(HOME, Path=path, Supported="path")).bindings
        self.assertEqual(len(binding.path), 20)


class OutboundTests(SynchronousTestCase):
    def flow(self, reg_id: int, host: str = "192.0.2.1", **headers: str) -> Request:
        headers.setdefault("Supported", "path, outbound")
        cseq = int(headers.pop("cseq", "1"))
        call_id = headers.pop("call_id", "c1")
        vias = int(headers.pop("vias", "1"))
        contact = f"<sip:alice@{host}>;{INSTANCE};reg-id={reg_id}"
        return a_register(contact, cseq=cseq, call_id=call_id, vias=vias, **headers)

    def test_two_flows(self) -> None:
        """Instance and reg-id are the key: two flows of one contact are two bindings (§6)."""
        registrar = Registrar(Policy(flow_timer=120))
        outcome = registrar(self.flow(1), flow="f1")
        self.assertEqual(lines(outcome, "Require"), ["outbound"])
        self.assertEqual(lines(outcome, "Flow-Timer"), ["120"])
        self.assertIn(";reg-id=1;expires=3600", lines(outcome, "Contact")[0])
        registrar(self.flow(2, cseq="2"), flow="f2")
        tokens = [(binding.reg_id, binding.flow_token) for binding in registrar.bindings]
        self.assertEqual(tokens, [(1, "f1"), (2, "f2")])

    def test_replaced(self) -> None:
        """The same reg-id replaces the binding, flow and contact with it (§6)."""
        registrar = Registrar()
        registrar(self.flow(1), flow="f1")
        outcome = registrar(self.flow(1, "192.0.2.99", call_id="c2"), flow="f9")
        [binding] = outcome.bindings
        self.assertEqual((binding.contact, binding.flow_token), ("sip:alice@192.0.2.99", "f9"))
        self.assertEqual(events(outcome), [UNREGISTERED, REGISTERED])
        outcome = registrar(self.flow(1, "192.0.2.99", call_id="c2", cseq="2"), flow="f10")
        self.assertEqual(events(outcome), [REFRESHED])
        self.assertEqual(outcome.bindings[0].flow_token, "f10")

    def test_through_edge(self) -> None:
        """Behind a proxy the edge, the last of the path, must have ob (§6)."""
        registrar = Registrar()
        outcome = registrar(self.flow(1, vias="2", Path=f"<sip:mid;lr>, {EDGE}"))
        self.assertEqual(outcome.bindings[0].reg_id, 1)
        self.assertEqual(lines(outcome, "Flow-Timer"), [])

    def test_first_hop_lacks(self) -> None:
        """439 when the first hop cannot; without Supported the reg-id is ignored (§6)."""
        for request in (
            self.flow(1),
            self.flow(1, vias="2"),
            self.flow(1, vias="2", Path="<sip:edge;lr>"),
        ):
            error = self.assertRaises(Refused, Registrar(), request)
            self.assertEqual(error.status, 439)
        outcome = Registrar()(self.flow(1, vias="2", Supported="path"))
        self.assertEqual(outcome.bindings[0].reg_id, 0)
        self.assertEqual(lines(outcome, "Require"), [])

    def test_not_supported_by_agent(self) -> None:
        """Without Supported: outbound a reg-id counts for nothing, even on a flow (§6)."""
        outcome = Registrar(Policy(flow_timer=60))(self.flow(1, Supported="path"), flow="f1")
        self.assertEqual(outcome.bindings[0].reg_id, 0)
        self.assertEqual(lines(outcome, "Require") + lines(outcome, "Flow-Timer"), [])

    def test_no_flow_timer(self) -> None:
        """Flow-Timer is said only when there is something to say."""
        outcome = Registrar()(self.flow(1), flow="f1")
        self.assertEqual(lines(outcome, "Flow-Timer"), [])

    def test_beside_plain_contacts(self) -> None:
        """The same URI with and without reg-id are two bindings; either can be removed (§6)."""
        registrar = Registrar()
        registrar(self.flow(1), flow="f1")
        plain = "<sip:alice@192.0.2.1>"
        registrar(a_register(plain, cseq=2))
        self.assertEqual([binding.reg_id for binding in registrar.bindings], [1, 0])
        registrar(a_register(plain + ";expires=0", cseq=3))
        self.assertEqual([binding.reg_id for binding in registrar.bindings], [1])
        registrar(a_register(plain + ";expires=0", cseq=4))
        self.assertEqual(registrar.bindings, [])

    def test_without_instance(self) -> None:
        """A reg-id without instance is ignored (§6)."""
        request = a_register(HOME + ";reg-id=1", Supported="outbound")
        self.assertEqual(Registrar()(request).bindings[0].reg_id, 0)

    def test_one_at_a_time(self) -> None:
        """Two contacts with lifetime and a reg-id: 400; removals beside it are fine (§6)."""
        one = f"{HOME};{INSTANCE};reg-id=1"
        registrar = Registrar()
        registrar(a_register("<sip:old@192.0.2.5>"))
        request = a_register(one, "<sip:b@192.0.2.2>", Supported="outbound", cseq=2)
        error = self.assertRaises(PeerError, registrar, request, 0.0, "f")
        self.assertEqual(error.status, 400)
        request = a_register(one, "<sip:old@192.0.2.5>;expires=0", Supported="outbound", cseq=2)
        self.assertEqual([b.reg_id for b in registrar(request, 0.0, "f").bindings], [1])

    def test_remove_flow(self) -> None:
        """A flow is removed by its key (§4.2.2)."""
        registrar = Registrar()
        registrar(self.flow(1), flow="f1")
        registrar(self.flow(2, cseq="2"), flow="f2")
        registrar(self.flow(1, cseq="3", Expires="0"), flow="f1")
        self.assertEqual([binding.reg_id for binding in registrar.bindings], [2])


class GruuTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gruus = Gruus(b"a key for the tests of GRUUs", Ids(3))
        self.registrar = Registrar(gruus=self.gruus)

    def register(
        self, cseq: int, call_id: str = "c1", instance: str = INSTANCE, now: float = 0.0
    ) -> Binding:
        contact = f"<sip:alice@192.0.2.1>;{instance}"
        request = a_register(contact, cseq=cseq, call_id=call_id, Supported="gruu", Expires="600")
        self.registrar(request, now)
        return self.registrar.bindings[-1]

    def valid(self, gruu: str, now: float = 0.0) -> bool:
        target = self.gruus.resolve(parse_uri(gruu))
        assert target is not None
        try:
            return bool(self.gruus.select(target, self.registrar.bindings, now))
        except PeerError:
            return False

    def test_given(self) -> None:
        """Both kinds are in the response for a client that supports them (§5.2)."""
        contact = f'<sip:alice@192.0.2.1>;{INSTANCE};pub-gruu="sip:evil";temp-gruu="sip:evil"'
        outcome = self.registrar(a_register(contact, Supported="gruu"))
        [value] = lines(outcome, "Contact")
        uuid = "urn:uuid:00000000-0000-1000-8000-000a95a0e128"
        self.assertIn(f';pub-gruu="sip:alice@example.com;gr={uuid}"', value)
        self.assertIn(';temp-gruu="sip:tgruu.', value)
        self.assertNotIn("evil", value)
        self.assertEqual(outcome.bindings[0].instance, uuid)
        [value] = lines(self.registrar(a_register(cseq=2)), "Contact")
        self.assertNotIn("gruu", value)

    def test_accumulate(self) -> None:
        """Each refresh mints a new one and the earlier ones stay valid (§3.2, §5.1)."""
        first = self.register(1).temp_gruu
        second = self.register(2).temp_gruu
        self.assertNotEqual(first, second)
        self.assertTrue(self.valid(first) and self.valid(second))
        self.assertEqual(self.gruus.first_cseq(second), 1)
        self.assertEqual(self.gruus.first_cseq(self.register(9, "c2").temp_gruu), 9)

    def test_call_id_changed(self) -> None:
        """Another Call-ID voids all temporary GRUUs, for good; the public one stays (§5.1)."""
        first = self.register(1)
        second = self.register(1, "c2")
        third = self.register(9, "c1")
        self.assertFalse(self.valid(first.temp_gruu) or self.valid(second.temp_gruu))
        self.assertTrue(self.valid(third.temp_gruu) and self.valid(first.pub_gruu))
        self.assertEqual(first.pub_gruu, third.pub_gruu)

    def test_lapsed(self) -> None:
        """When the last contact expires its temporary GRUUs are void, also later (§5.3)."""
        first = self.register(1)
        self.assertTrue(self.valid(first.temp_gruu, 599.0))
        self.assertFalse(self.valid(first.temp_gruu, 600.0))
        target = self.gruus.resolve(parse_uri(first.pub_gruu))
        assert target is not None
        error = self.assertRaises(
            PeerError, self.gruus.select, target, self.registrar.bindings, 600.0
        )
        self.assertEqual(error.status, 480)
        again = self.register(2, now=700.0)
        self.assertFalse(self.valid(first.temp_gruu, 700.0))
        self.assertTrue(self.valid(first.pub_gruu, 700.0) and self.valid(again.temp_gruu, 700.0))

    def test_support_dropped(self) -> None:
        """A refresh that does not speak of GRUUs keeps them; a restart voids them."""
        first = self.register(1)
        plain = a_register(f"<sip:alice@192.0.2.1>;{INSTANCE}", cseq=2)
        self.registrar(plain)
        self.assertTrue(self.valid(first.temp_gruu))
        self.registrar(a_register(f"<sip:alice@192.0.2.1>;{INSTANCE}", call_id="c2"))
        self.assertFalse(self.valid(first.temp_gruu))

    def test_two_flows_share(self) -> None:
        """Two flows of an instance have the same latest GRUU (§5.2)."""
        for reg_id in (1, 2):
            contact = f"<sip:alice@192.0.2.1>;{INSTANCE};reg-id={reg_id}"
            request = a_register(contact, cseq=reg_id, Supported="gruu, outbound")
            self.registrar(request, 0.0, f"f{reg_id}")
        one, two = self.registrar.bindings
        self.assertEqual(one.temp_gruu, two.temp_gruu)
        self.assertTrue(self.valid(one.temp_gruu))

    def test_not_asked_for(self) -> None:
        """A client that does not know GRUUs gets none (§5.2); brackets may be missing."""
        contact = '<sip:alice@192.0.2.1>;+sip.instance="urn:x:y"'
        outcome = self.registrar(a_register(contact))
        [binding] = outcome.bindings
        self.assertEqual((binding.temp_gruu, binding.instance), ("", "urn:x:y"))
        self.assertNotIn("gruu", lines(outcome, "Contact")[0])

    def test_flows_with_own_call_ids(self) -> None:
        """Only a flow that comes back under another Call-ID voids GRUUs (§5.1)."""

        def flow(reg_id: int, call_id: str, now: float) -> str:
            contact = f"<sip:alice@192.0.2.1>;{INSTANCE};reg-id={reg_id}"
            request = a_register(
                contact, cseq=int(now), call_id=call_id, Supported="gruu, outbound"
            )
            self.registrar(request, now, f"f{reg_id}")
            return self.registrar.bindings[0].temp_gruu

        first = flow(1, "c1", 1.0)
        flow(2, "c2", 2.0)
        flow(1, "c1", 3.0)
        self.assertTrue(self.valid(first))
        flow(2, "c3", 4.0)
        self.assertFalse(self.valid(first))

    def test_own_gruu_as_contact(self) -> None:
        """A GRUU of the same address as contact would loop: 403 (§5.1)."""
        binding = self.register(1)
        for gruu in (binding.pub_gruu, binding.temp_gruu):
            for supported in ("gruu", "path"):
                request = a_register(f"<{gruu}>;{OTHER_INSTANCE}", cseq=2, Supported=supported)
                error = self.assertRaises(PeerError, self.registrar, request)
                self.assertEqual(error.status, 403)
        self.registrar(a_register("<sip:x@other.example;gr>", cseq=2))
        self.assertEqual(len(self.registrar.bindings), 2)
