"""The client's side of registrations."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis.strategies import integers, lists, sampled_from, tuples
from twisted.trial.unittest import SynchronousTestCase

from omaim.ids import Ids
from omaim.sip.client_registration import (
    FAILED,
    IDLE,
    REGISTERED,
    REGISTERING,
    Registering,
    Wanted,
)
from omaim.sip.message import Request, Response
from omaim.timers import NEVER

URN = "urn:uuid:00000000-0000-4000-8000-000000000001"
WANTED = Wanted("sip:example.com", "sip:bob@example.com", "sip:bob@192.0.2.5", 1000)
OUTBOUND = attrs.evolve(WANTED, instance=URN, reg_id=1)


def sent(machine: Registering) -> Request:
    request = machine.take()
    assert request is not None, "there is no REGISTER to send"
    return request


def ok(request: Request, *headers: tuple[str, str], contact: str = "") -> Response:
    response = request.response(200, to_tag="r")
    response.add("Contact", "<sip:other@192.0.2.77>;expires=5")
    response.add("Contact", contact or request.first("Contact") or "")
    for name, value in headers:
        response.add(name, value)
    return response


def no(request: Request, status: int, *headers: tuple[str, str]) -> Response:
    response = request.response(status, to_tag="r")
    for name, value in headers:
        response.set(name, value)
    return response


def registered(wanted: Wanted = WANTED, now: float = 0.0) -> Registering:
    machine = Registering(wanted, Ids(1))
    machine.start(now)
    machine.answered(ok(sent(machine), ("Require", "outbound")), now)
    assert machine.state == REGISTERED
    machine.moves()
    return machine


class RegisterTests(SynchronousTestCase):
    def test_first(self) -> None:
        """A REGISTER has all it needs (RFC 3261 §10.2, RFC 5626 §4.2.1)."""
        machine = Registering(
            attrs.evolve(OUTBOUND, routes=("<sip:p;lr>",), parameters=";q=0.5"), Ids(1)
        )
        machine.start(0.0)
        request = sent(machine)
        self.assertEqual((request.uri, request.method), ("sip:example.com", "REGISTER"))
        self.assertEqual(request.to.uri_text, request.from_.uri_text)
        self.assertEqual(request.to.tag, "")
        self.assertEqual(
            request.first("Contact"),
            f'<sip:bob@192.0.2.5>;q=0.5;+sip.instance="<{URN}>";reg-id=1;expires=1000',
        )
        self.assertEqual(request.supported, {"path", "gruu", "outbound"})
        self.assertEqual(request.values("Route"), ["<sip:p;lr>"])
        self.assertEqual([moved.state for moved in machine.moves()], [REGISTERING])

    def test_granted(self) -> None:
        """Everything that the registrar says is kept."""
        machine = Registering(OUTBOUND, Ids(1))
        machine.start(0.0)
        contact = (
            f'<sip:bob@198.51.100.1:4444>;+sip.instance="<{URN}>";reg-id=1;expires=300'
            ';pub-gruu="sip:bob@example.com;gr=x";temp-gruu="sip:t1@example.com;gr"'
        )
        machine.answered(
            ok(
                sent(machine),
                ("Service-Route", "<sip:s1;lr>, <sip:s2;lr>"),
                ("P-Associated-URI", "<sip:bob@example.com>, <tel:+15551>"),
                ("Require", "outbound"),
                ("Flow-Timer", "90"),
                contact=contact,
            ),
            0.0,
        )
        granted = machine.granted
        self.assertEqual(granted.expires, 300)
        self.assertEqual(granted.service_route, ("<sip:s1;lr>", "<sip:s2;lr>"))
        self.assertEqual(granted.associated, ("sip:bob@example.com", "tel:+15551"))
        self.assertEqual(granted.pub_gruu, "sip:bob@example.com;gr=x")
        self.assertEqual(granted.temp_gruu, "sip:t1@example.com;gr")
        self.assertEqual((granted.outbound, granted.flow_timer), (True, 90))
        self.assertEqual((machine.expires_at, machine.deadline), (300.0, 150.0))

    def test_refresh(self) -> None:
        """Half of a short duration, 600 s before the end of a long one; same Call-ID (§10.2.4)."""
        for expires, at in ((1000, 500.0), (1200, 600.0), (7200, 6600.0)):
            machine = registered(attrs.evolve(WANTED, expires=expires))
            self.assertEqual(machine.deadline, at)
            machine.wake(at)
            request = sent(machine)
            self.assertEqual((request.cseq.number, request.expires), (2, expires))
            machine.answered(ok(request), at)
            self.assertEqual(machine.expires_at, at + expires)
            self.assertEqual(machine.moves(), [])

    def test_too_brief(self) -> None:
        """423 is answered with Min-Expires (RFC 3261 §10.2.8), but not for ever."""
        machine = Registering(WANTED, Ids(1))
        machine.start(0.0)
        for least in (1100, 1200, 1300, 1400, 1500):
            machine.answered(no(sent(machine), 423, ("Min-Expires", str(least))), 0.0)
            if machine.state == FAILED:
                break
        self.assertEqual(machine.state, FAILED)
        machine = Registering(WANTED, Ids(1))
        machine.start(0.0)
        machine.answered(no(sent(machine), 423, ("Min-Expires", "1800")), 0.0)
        self.assertEqual(sent(machine).expires, 1800)

    def test_deregister(self) -> None:
        """Removal is Expires 0 for the same contact (RFC 3261 §10.2.2)."""
        machine = registered(OUTBOUND)
        machine.stop(10.0)
        request = sent(machine)
        self.assertEqual(request.expires, 0)
        self.assertIn("reg-id=1;expires=0", request.first("Contact") or "")
        machine.answered(request.response(200, to_tag="r"), 10.0)
        self.assertEqual((machine.state, machine.deadline), (IDLE, NEVER))

    def test_stop_while_registering(self) -> None:
        """Stopping waits for the answer under way, and removes what it made."""
        machine = Registering(WANTED, Ids(1))
        machine.start(0.0)
        first = sent(machine)
        machine.stop(0.1)
        self.assertIsNone(machine.take())
        machine.answered(ok(first), 0.2)
        self.assertEqual(sent(machine).expires, 0)

    def test_stop_while_refused(self) -> None:
        """A refusal after stopping leaves nothing to do."""
        for status in (403, 503, 423):
            machine = Registering(WANTED, Ids(1))
            machine.start(0.0)
            first = sent(machine)
            machine.stop(0.1)
            machine.answered(no(first, status), 0.2)
            self.assertEqual((machine.state, machine.deadline), (IDLE, NEVER))
            self.assertIsNone(machine.take())

    def test_plain_registrar(self) -> None:
        """A registrar without outbound lists the contact without reg-id."""
        machine = Registering(OUTBOUND, Ids(1))
        machine.start(0.0)
        request = sent(machine)
        machine.answered(ok(request, contact="<sip:bob@192.0.2.5>;expires=77"), 0.0)
        self.assertEqual((machine.granted.expires, machine.granted.outbound), (77, False))

    def test_no_outbound(self) -> None:
        """439: register once more without outbound (RFC 5626 §4.2.1)."""
        machine = Registering(OUTBOUND, Ids(1))
        machine.start(0.0)
        machine.answered(no(sent(machine), 439), 0.0)
        again = sent(machine)
        self.assertNotIn("reg-id", again.first("Contact") or "")
        self.assertNotIn("outbound", again.supported)
        machine.answered(no(again, 439), 0.0)
        self.assertEqual(machine.state, FAILED)

    @given(sampled_from([400, 401, 403, 404, 405, 407, 501, 606]))
    def test_refused(self, status: int) -> None:
        """A refusal is final (RFC 3261 §10.2.7 leaves the rest to us)."""
        machine = Registering(WANTED, Ids(1))
        machine.start(0.0)
        machine.answered(no(sent(machine), status), 0.0)
        self.assertEqual((machine.state, machine.deadline), (FAILED, NEVER))
        machine.start(10.0)
        self.assertEqual(sent(machine).cseq.number, 2)


class SpoiltTests(SynchronousTestCase):
    def test_spoilt(self) -> None:
        """A 200 whose lists cannot be read is a 200: the binding stands and is refreshed."""
        for name in ("Require", "Service-Route", "P-Associated-URI", "Contact", "Expires"):
            for value in (",", "<sip:", '"', "x", "<tel:+1>", "<sip:a@b;lr>, ,"):
                machine = Registering(OUTBOUND, Ids(1))
                machine.start(0.0)
                response = ok(sent(machine))
                response.set(name, value)
                machine.answered(response, 0.0)
                self.assertEqual(machine.state, REGISTERED, (name, value))
                self.assertLess(machine.deadline, NEVER)
                if name == "Service-Route":
                    self.assertEqual(machine.granted.service_route, ())


class RecoveryTests(SynchronousTestCase):
    def test_stale(self) -> None:
        """A 401 about the nonce alone is no refusal: it is tried again later (RFC 7616 §3.3)."""
        machine = Registering(WANTED, Ids(1))
        machine.start(0.0)
        response = no(sent(machine), 401)
        response.add("WWW-Authenticate", 'Digest realm="r", nonce="n", stale=true')
        machine.answered(response, 0.0)
        self.assertEqual(machine.state, REGISTERING)
        self.assertLess(machine.deadline, NEVER)

    def test_backoff(self) -> None:
        """30 to 60 s after the first failure, 15 to 30 minutes in the end (RFC 5626 §4.5)."""
        machine, now, waits = Registering(WANTED, Ids(1)), 0.0, []
        machine.start(now)
        for _ in range(12):
            machine.answered(no(sent(machine), 503), now)
            waits.append(machine.deadline - now)
            now = machine.deadline
            machine.wake(now)
        for place, wait in enumerate(waits):
            bound = min(1800.0, 30.0 * 2 ** (place + 1))
            self.assertTrue(bound / 2 <= wait <= bound, waits)
        machine.answered(ok(sent(machine)), now)
        machine.wake(machine.deadline)
        now = machine.expires_at - 500.0
        machine.answered(no(sent(machine), 503), now)
        self.assertLessEqual(machine.deadline - now, 60.0)

    def test_retry_after(self) -> None:
        """503 with Retry-After is obeyed to the second (RFC 5626 §4.2.1)."""
        for seconds in (0, 500):
            machine = Registering(WANTED, Ids(1))
            machine.start(0.0)
            machine.answered(no(sent(machine), 503, ("Retry-After", str(seconds))), 1.0)
            machine.wake(1.0 + seconds)
            self.assertIsNotNone(machine.take())

    def test_no_storm(self) -> None:
        """Retry-After 0 allows one retry at once, not one after another (RFC 5626 §4.2.1)."""
        machine = Registering(WANTED, Ids(1))
        machine.start(0.0)
        machine.answered(no(sent(machine), 503, ("Retry-After", "0")), 0.0)
        machine.answered(no(sent(machine), 503, ("Retry-After", "0")), 0.0)
        self.assertIsNone(machine.take())
        self.assertGreaterEqual(machine.deadline, 60.0)

    def test_granted_nothing(self) -> None:
        """A registrar that grants 0 seconds is asked again later, not at once."""
        machine = Registering(WANTED, Ids(1))
        machine.start(0.0)
        contact = "<sip:bob@192.0.2.5>;expires=0"
        machine.answered(ok(sent(machine), contact=contact), 0.0)
        self.assertEqual(machine.state, REGISTERING)
        self.assertIsNone(machine.take())
        self.assertGreaterEqual(machine.deadline, 30.0)

    def test_refresh_fails(self) -> None:
        """A binding stands until it expires, whatever a refresh meets (RFC 3261 §10.2.4)."""
        machine = registered()
        machine.wake(500.0)
        machine.answered(no(sent(machine), 503, ("Retry-After", "700")), 500.0)
        self.assertEqual((machine.state, machine.deadline), (REGISTERED, 1000.0))
        machine.wake(1000.0)
        self.assertEqual(machine.state, REGISTERING)
        machine.wake(1200.0)
        machine.answered(ok(sent(machine)), 1200.0)
        self.assertEqual(machine.state, REGISTERED)

    def test_flow_lost(self) -> None:
        """A broken flow is replaced at once (RFC 5626 §4.5)."""
        machine = registered(OUTBOUND)
        machine.flow_lost(100.0)
        self.assertEqual(machine.state, REGISTERING)
        request = sent(machine)
        self.assertIn("reg-id=1", request.first("Contact") or "")
        machine.answered(ok(request), 100.0)
        self.assertEqual(machine.state, REGISTERED)

    def test_flow_lost_again_and_again(self) -> None:
        """Flows that break at once are replaced after pauses (RFC 5626 §4.5)."""
        machine, now, waits = registered(OUTBOUND), 0.0, []
        for _ in range(5):
            machine.flow_lost(now + 1.0)
            waits.append(machine.deadline - now - 1.0)
            now = machine.deadline
            machine.wake(now)
            machine.answered(ok(sent(machine)), now)
        self.assertTrue(30.0 <= waits[0] <= 60.0, waits)
        self.assertGreater(waits[4], 400.0)

    def test_flow_lost_unwanted(self) -> None:
        """Who does not want a binding does not care for its flow."""
        machine = Registering(OUTBOUND, Ids(1))
        machine.flow_lost(1.0)
        self.assertEqual((machine.state, machine.deadline), (IDLE, NEVER))
        machine = registered(OUTBOUND)
        machine.stop(1.0)
        removal = sent(machine)
        machine.flow_lost(1.0)
        machine.answered(no(removal, 503), 2.0)
        self.assertEqual((machine.state, machine.deadline, machine.take()), (IDLE, NEVER, None))

    def test_flow_lost_while_refreshing(self) -> None:
        """A refresh that was under way decides; if it fails, the pause is its own."""
        machine = registered(OUTBOUND)
        machine.wake(500.0)
        refresh = sent(machine)
        machine.flow_lost(501.0)
        self.assertEqual(machine.state, REGISTERING)
        self.assertIsNone(machine.take())
        machine.answered(no(refresh, 503), 501.0)
        self.assertGreaterEqual(machine.deadline, 531.0)

    def test_dismissed_for_good(self) -> None:
        """After a rejection a late refusal or a lost flow brings nothing back."""
        machine = registered(OUTBOUND)
        machine.wake(500.0)
        refresh = sent(machine)
        machine.dismissed("rejected", 500.1)
        machine.answered(no(refresh, 503), 501.0)
        machine.flow_lost(502.0)
        self.assertIsNone(machine.take())
        self.assertEqual(machine.deadline, NEVER)

    def test_dismissed(self) -> None:
        """What the reg event package tells decides (RFC 3680 §5.3)."""
        for event, seconds, wait in (
            ("deactivated", -1, 0.0),
            ("probation", 60, 60.0),
            ("rejected", -1, NEVER),
            ("unregistered", -1, NEVER),
        ):
            machine = registered()
            machine.dismissed(event, 10.0, seconds)
            if wait == NEVER:
                self.assertEqual((machine.state, machine.deadline), (FAILED, NEVER))
                continue
            machine.wake(10.0 + wait)
            self.assertIsNotNone(machine.take(), event)
            self.assertEqual(machine.state, REGISTERING)

    @given(
        lists(
            tuples(
                sampled_from(["start", "stop", "ok", "503", "403", "lost", "wait", "expire"]),
                integers(0, 900),
            ),
            max_size=40,
        ),
        sampled_from(["start", "stop"]),
    )
    def test_ends_as_wanted(self, steps: list[tuple[str, int]], last: str) -> None:
        """After any history a willing registrar leaves it as its owner wants it."""
        machine, now, under_way = Registering(OUTBOUND, Ids(1)), 0.0, None
        numbers = [0]
        for step, number in [*steps, (last, 0), *([("serve", 0)] * 12)]:
            if step == "start":
                machine.start(now)
            elif step == "stop":
                machine.stop(now)
            elif step == "lost":
                machine.flow_lost(now)
            elif step in ("wait", "serve"):
                now += number
                if step == "serve" and under_way is None and machine.state != REGISTERED:
                    now = max(now, min(machine.deadline, now + 4000))
                if machine.deadline <= now:
                    machine.wake(now)
            elif under_way is not None and step in ("503", "403"):
                machine.answered(no(under_way, int(step)), now)
                under_way = None
            if under_way is not None and step in ("ok", "serve"):
                machine.answered(ok(under_way), now)
                under_way = None
            request = machine.take()
            if request is not None:
                self.assertIsNone(under_way)
                numbers.append(request.cseq.number)
                under_way = request
        self.assertEqual(machine.state, REGISTERED if last == "start" else IDLE)
        self.assertEqual(numbers, sorted(set(numbers)))
