"""The notifier's side of RFC 6665, and both sides together."""

from __future__ import annotations

import random
from typing import Any

import attrs
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, sampled_from, tuples
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.message import Request
from omaim.sip.pacing import IntervalTooBrief
from omaim.sip.subscribing import ACTIVE as WATCHING
from omaim.sip.subscribing import Send, Subscribing
from omaim.sip.subscription import (
    ACTIVE,
    PENDING,
    TERMINATED,
    Subscription,
    Terms,
    ends_usage,
)
from omaim.timers import NEVER
from tests.sip.subscriptions import (
    CONTACT,
    WANTED,
    accepted,
    arrived,
    due,
    granted,
    refused,
    run,
    sent,
    subscriber,
)


def subscribe(event: str = "presence", expires: int | None = 1000) -> Request:
    machine = subscriber(attrs.evolve(WANTED, event=event, expires=expires or 0))
    machine.start(0.0)
    request = arrived(sent(machine))
    if expires is None:
        request.remove("Expires")
    return request


def again(
    subscription: Subscription, seq: int, expires: int = 1000, event: str = "presence"
) -> Request:
    """A SUBSCRIBE inside the dialog."""
    request = subscribe(event, expires)
    request.set("To", f"<sip:bob@example.com>;tag={subscription.dialog.local_tag}")
    request.set("CSeq", f"{seq} SUBSCRIBE")
    return request


def running(
    event: str = "presence", terms: Terms | None = None, *, active: bool = True
) -> Subscription:
    """A subscription whose first NOTIFY is answered, made at 0."""
    subscription, _ = accepted(subscribe(event), terms=terms, active=active)
    answer(subscription, 0.0)
    return subscription


def answer(subscription: Subscription, now: float, status: int = 200) -> Request:
    """Send the NOTIFY that is due, and have it answered at once."""
    notify = due(subscription)
    subscription.answered(refused(notify, status), now)
    return notify


class GrantTests(SynchronousTestCase):
    def test_durations(self) -> None:
        """Shorter than asked is allowed, longer never (RFC 6665 §3.1.1, §4.2.1.1)."""
        terms = Terms(default=600, least=60, most=2000)
        for asked, expected in ((None, 600), (60, 60), (2000, 2000), (99999, 2000), (0, 0)):
            self.assertEqual(terms.grant(subscribe(expires=asked)), expected)

    def test_too_brief(self) -> None:
        """423 only above 0 and under an hour (RFC 6665 §4.2.1.1)."""
        error = self.assertRaises(IntervalTooBrief, Terms(least=60).grant, subscribe(expires=59))
        self.assertEqual((error.status, error.min_expires), (423, 60))
        self.assertEqual(Terms(least=9000, most=9999).grant(subscribe(expires=3600)), 3600)

    def test_no_event(self) -> None:
        """A SUBSCRIBE without Event is answered 489 (RFC 6665 §4.2.3)."""
        request = subscribe()
        request.remove("Event")
        error = self.assertRaises(PeerError, Subscription, request, "t", CONTACT, Terms(), 0.0)
        self.assertEqual(error.status, 489)


class NotifyTests(SynchronousTestCase):
    def test_at_once(self) -> None:
        """The first NOTIFY is due immediately, inside the dialog (RFC 6665 §4.2.1.2)."""
        subscription, _ = accepted(subscribe("presence;id=3"))
        what = subscription.take()
        assert what is not None
        self.assertEqual((what.granted, what.full, what.final), (True, True, False))
        headers = [("Content-Type", "application/pidf+xml")]
        notify = subscription.notify(what, headers, b"<x/>")
        self.assertEqual(notify.uri, "sip:alice@192.0.2.1")
        self.assertEqual(notify.first("Event"), "presence;id=3")
        self.assertEqual(notify.first("Subscription-State"), "active;expires=1000")
        self.assertEqual(notify.first("Contact"), CONTACT)
        self.assertEqual((notify.from_.tag, notify.body), ("n1", b"<x/>"))
        self.assertIsNone(subscription.take())

    def test_pending(self) -> None:
        """Pending shows no state; approval tells all of it (RFC 6665 §4.2.2)."""
        subscription, _ = accepted(subscribe(), active=False)
        what = subscription.take()
        assert what is not None
        self.assertEqual((what.state, what.granted), ("pending;expires=1000", False))
        subscription.changed(1.0)
        self.assertIsNone(subscription.take())
        subscription.approve(400.0)
        what = subscription.take()
        assert what is not None
        self.assertEqual((what.state, what.granted, what.full), ("active;expires=600", True, True))

    def test_change(self) -> None:
        """A change is told at once; what comes while one is under way, after it (§4.2.2)."""
        subscription = running()
        subscription.changed(10.0)
        notify = due(subscription)
        self.assertEqual(subscription.deadline, 1000.0)
        subscription.changed(10.1)
        subscription.changed(10.2)
        self.assertIsNone(subscription.take())
        self.assertEqual(subscription.deadline, 1000.0)
        subscription.answered(notify.response(200), 10.5)
        self.assertIsNotNone(subscription.take())
        self.assertIsNone(subscription.take())

    def test_differences(self) -> None:
        """Full state first and after a failure, differences in between."""
        subscription = running()
        for status, full in ((200, False), (500, False), (200, True), (200, False)):
            subscription.changed(1.0)
            what = subscription.take()
            assert what is not None
            self.assertEqual(what.full, full)
            subscription.answered(refused(subscription.notify(what, []), status), 1.0)

    def test_refresh(self) -> None:
        """A refresh moves the end and has its NOTIFY at once, even under a limit (§4.2.1.4)."""
        subscription = running(terms=Terms(interval=100.0))
        subscription.refresh(again(subscription, 2, 500), 10.0)
        self.assertEqual((subscription.granted, subscription.deadline), (500, 510.0))
        self.assertEqual(due(subscription).first("Subscription-State"), "active;expires=500")

    def test_bad_refresh(self) -> None:
        """A refused refresh changes nothing (RFC 6665 §4.2.1.4, RFC 3261 §12.2.2)."""
        subscription = running()
        for request, status in (
            (again(subscription, 1), 500),
            (again(subscription, 2, 5), 423),
            (again(subscription, 3, event="dialog"), 489),
        ):
            error = self.assertRaises(PeerError, subscription.refresh, request, 10.0)
            self.assertEqual(error.status, status)
            self.assertEqual((subscription.deadline, subscription.take()), (1000.0, None))

    def test_refresh_moves_target(self) -> None:
        """SUBSCRIBE is a target refresh request (RFC 6665 §3.1)."""
        subscription = running()
        request = again(subscription, 2)
        request.set("Contact", "<sip:alice@192.0.2.200>")
        subscription.refresh(request, 10.0)
        self.assertEqual(due(subscription).uri, "sip:alice@192.0.2.200")


class EndTests(SynchronousTestCase):
    def test_expiry(self) -> None:
        """Not refreshed: terminated, reason timeout (RFC 6665 §4.2.1.4)."""
        subscription = running()
        run(subscription, 999.9)
        self.assertEqual(subscription.state, ACTIVE)
        run(subscription, 1000.0)
        what = subscription.take()
        assert what is not None
        self.assertEqual(what.state, "terminated;reason=timeout")
        self.assertEqual((what.final, what.granted), (True, True))
        self.assertEqual((subscription.state, subscription.deadline), (TERMINATED, NEVER))
        error = self.assertRaises(PeerError, subscription.refresh, again(subscription, 2), 1000.1)
        self.assertEqual(error.status, 481)

    def test_unsubscribe(self) -> None:
        """Expires 0 ends it, with a last NOTIFY (RFC 6665 §4.2.1.4)."""
        subscription = running()
        subscription.refresh(again(subscription, 2, 0), 10.0)
        self.assertEqual(subscription.granted, 0)
        self.assertEqual(due(subscription).first("Subscription-State"), "terminated;reason=timeout")

    def test_fetch(self) -> None:
        """Expires 0 at first: one NOTIFY with state (RFC 6665 §4.4.3)."""
        subscription, response = accepted(subscribe(expires=0))
        self.assertEqual(response.expires, 0)
        what = subscription.take()
        assert what is not None
        self.assertEqual((what.final, what.granted, what.full), (True, True, True))

    def test_fetch_pending(self) -> None:
        """Who is not allowed yet learns nothing by fetching either."""
        subscription, _ = accepted(subscribe(expires=0), active=False)
        what = subscription.take()
        assert what is not None
        self.assertEqual((what.final, what.granted), (True, False))

    def test_rejected(self) -> None:
        """Rejection shows no state, and says when to return if it may (§4.1.3)."""
        subscription = running()
        subscription.terminate("rejected", 5.0)
        what = subscription.take()
        assert what is not None
        self.assertEqual((what.state, what.granted), ("terminated;reason=rejected", False))
        subscription = running()
        subscription.terminate("probation", 5.0, retry_after=60)
        subscription.terminate("rejected", 5.0)
        notify = due(subscription)
        self.assertEqual(
            notify.first("Subscription-State"), "terminated;reason=probation;retry-after=60"
        )

    @given(sampled_from([200, 202, *range(300, 700)]))
    def test_failures(self, status: int) -> None:
        """Which answers to a NOTIFY end it (RFC 6665 §4.2.2)."""
        subscription = running()
        subscription.changed(1.0)
        answer(subscription, 1.0, status)
        ends = status in (404, 405, 408, 410, 416, 489, 501, 604) or 480 <= status <= 485
        self.assertEqual(subscription.state == TERMINATED, ends)
        self.assertEqual(ends_usage(status), ends and status != 408)
        if ends:
            self.assertIsNone(subscription.take())
            self.assertEqual(subscription.deadline, NEVER)

    def test_retry_after(self) -> None:
        """A subscriber that asks for patience gets it, then the whole state."""
        subscription = running()
        subscription.changed(1.0)
        notify = due(subscription)
        subscription.answered(refused(notify, 503, ("Retry-After", "50")), 1.0)
        self.assertIsNone(subscription.take())
        subscription.changed(10.0)
        self.assertIsNone(subscription.take())
        self.assertEqual(subscription.deadline, 51.0)
        run(subscription, 51.0)
        what = subscription.take()
        assert what is not None
        self.assertTrue(what.full)


class RateTests(SynchronousTestCase):
    def test_package_limit(self) -> None:
        """Changes are gathered for the package's interval (RFC 6446 §5.2 last but one)."""
        subscription = running(terms=Terms(interval=5.0))
        subscription.changed(1.0)
        subscription.changed(2.0)
        self.assertIsNone(subscription.take())
        self.assertEqual(subscription.deadline, 5.0)
        run(subscription, 4.9)
        self.assertIsNone(subscription.take())
        run(subscription, 5.0)
        notify = due(subscription)
        self.assertEqual(notify.first("Subscription-State"), "active;expires=995")
        subscription.answered(notify.response(200), 5.0)
        subscription.changed(20.0)
        self.assertIsNotNone(subscription.take())

    def test_max_rate(self) -> None:
        """The subscriber's maximum is kept and told back (RFC 6446 §5.2)."""
        subscription = running("presence;max-rate=0.1")
        subscription.changed(1.0)
        self.assertEqual(subscription.deadline, 10.0)
        run(subscription, 10.0)
        notify = due(subscription)
        self.assertEqual(notify.first("Subscription-State"), "active;expires=990;max-rate=0.1")
        self.assertEqual(notify.first("Event"), "presence")

    def test_package_overrules(self) -> None:
        """The package's limit stands above the subscriber's wish (RFC 6446 §5.3)."""
        subscription, _ = accepted(subscribe("presence;max-rate=2"), terms=Terms(interval=5.0))
        state = due(subscription).first("Subscription-State")
        self.assertEqual(state, "active;expires=1000;max-rate=0.2")

    def test_removed(self) -> None:
        """A refresh without the parameter removes it (RFC 6446 §5.1)."""
        subscription = running("presence;max-rate=0.1")
        subscription.refresh(again(subscription, 2), 2.0)
        answer(subscription, 2.0)
        subscription.changed(3.0)
        self.assertIsNotNone(subscription.take())

    def test_updated_by_response(self) -> None:
        """A 2xx to a NOTIFY may name new rates (RFC 6446 §9.3)."""
        subscription = running()
        subscription.changed(1.0)
        response = refused(due(subscription), 200, ("Event", "presence;max-rate=0.01"))
        subscription.answered(response, 1.0)
        subscription.changed(2.0)
        self.assertEqual(subscription.deadline, 101.0)

    def test_min_rate(self) -> None:
        """Without changes a NOTIFY is sent at the minimum rate (RFC 6446 §6.2)."""
        subscription = running("presence;min-rate=0.01")
        self.assertEqual(subscription.deadline, 100.0)
        run(subscription, 100.0)
        notify = answer(subscription, 100.0)
        self.assertEqual(notify.first("Subscription-State"), "active;expires=900;min-rate=0.01")
        self.assertEqual(subscription.deadline, 200.0)

    def test_both_rates(self) -> None:
        """A minimum above the maximum is lowered to it (RFC 6446 §8)."""
        subscription = running("presence;max-rate=0.01;min-rate=0.1")
        self.assertEqual(subscription.deadline, 100.0)

    @given(sampled_from(["0", "-1", "1e3", "100", "nan", "inf", ".", "", "0.0000000000001", "٣"]))
    def test_senseless(self, rate: str) -> None:
        """What is no rate between 0 and 100 is ignored (RFC 6446 §9.2)."""
        request = subscribe()
        request.set("Event", f'presence;max-rate="{rate}";min-rate="{rate}"')
        subscription = Subscription(request, "t", CONTACT, Terms(), 0.0)
        self.assertEqual(due(subscription).first("Subscription-State"), "active;expires=1000")
        self.assertEqual(subscription.deadline, 1000.0)

    @given(
        floats(0.5, 30.0),
        lists(tuples(floats(0.0, 20.0), floats(0.0, 3.0)), max_size=30),
    )
    def test_never_faster(self, interval: float, changes: list[tuple[float, float]]) -> None:
        """However changes come, NOTIFYs keep their distance, and none gets lost (§5.2)."""
        subscription = running(terms=Terms(interval=interval, most=99999))
        subscription.expires_at = 99999.0
        now, last, dirty = 0.0, 0.0, False
        for gap, delay in changes:
            until = now + gap
            while subscription.deadline <= until:
                now = subscription.deadline
                subscription.wake(now)
                if subscription.take() is not None:
                    self.assertGreaterEqual(now - last, interval * 0.999999)
                    last, dirty = now, False
                    now += delay
                    subscription.answered(_ok(), now)
            now = max(until, now)
            subscription.changed(now)
            dirty = True
            if subscription.take() is not None:
                self.assertGreaterEqual(now - last, interval * 0.999999)
                last, dirty = now, False
                now += delay
                subscription.answered(_ok(), now)
        if dirty:
            self.assertLessEqual(subscription.deadline, now + interval)


def _ok():  # type: ignore[no-untyped-def]
    request = subscribe()
    response = request.response(200, to_tag="x")
    response.set("CSeq", "1 NOTIFY")
    return response


class Pair:
    """A subscriber and a notifier with transactions that lose what the chance wants.

    A request or its answer may be lost for good; then its sender hears 408 after 32 s.
    """

    def __init__(self, seed: int, loss: float) -> None:
        self.chance = random.Random(seed)
        self.loss = loss
        self.now = 0.0
        self.machine = Subscribing(attrs.evolve(WANTED, expires=300), Ids(seed))
        self.tags = Ids(seed + 1)
        self.server: dict[str, Subscription] = {}
        self.later: list[tuple[float, int, object, object]] = []
        self.serial = 0

    def at(self, delay: float, act: object, argument: object) -> None:
        self.serial += 1
        self.later.append((self.now + delay, self.serial, act, argument))

    def settle(self) -> None:
        """Send all that is due at both sides."""
        for output in self.machine.take():
            if isinstance(output, Send):
                self.transact(output.request, self.to_server, self.machine.answered)
        for subscription in list(self.server.values()):
            what = subscription.take()
            if what is not None:
                notify = subscription.notify(what, [])
                self.transact(notify, self.to_machine, subscription.answered)
            if subscription.state == TERMINATED:
                del self.server[subscription.dialog.local_tag]

    def transact(self, request: Request, serve: object, answered: object) -> None:
        arrives = self.chance.random() >= self.loss
        returns = arrives and self.chance.random() >= self.loss
        if arrives:
            self.at(
                self.chance.uniform(0.01, 0.5), self.deliver, (request, serve, answered, returns)
            )
        if not returns:
            self.at(32.0, answered, refused(request, 408))

    def deliver(self, argument: tuple) -> None:  # type: ignore[type-arg]
        request, serve, answered, returns = argument
        try:
            response = serve(arrived(request))
        except PeerError as error:
            response = refused(request, error.status)
        if returns:
            self.at(self.chance.uniform(0.01, 0.5), answered, response)

    def to_server(self, request: Request):  # type: ignore[no-untyped-def]
        tag = request.to.tag
        if tag:
            subscription = self.server.get(tag)
            if subscription is None:
                raise PeerError("gone", 481)
            subscription.refresh(request, self.now)
        else:
            tag = self.tags.tag()
            subscription = Subscription(request, tag, CONTACT, Terms(), self.now)
            self.server[tag] = subscription
        return granted(request, subscription.granted, tag)

    def to_machine(self, request: Request):  # type: ignore[no-untyped-def]
        self.machine.notified(request, self.now)
        return refused(request, 200)

    def run(self, until: float) -> None:
        for _ in range(5000):
            self.settle()
            moments = [entry[0] for entry in self.later]
            moments.append(self.machine.deadline)
            moments += [subscription.deadline for subscription in self.server.values()]
            moment = min(moments)
            if moment > until:
                self.now = until
                return
            self.now = max(self.now, moment)
            for entry in sorted(self.later, key=lambda entry: entry[:2]):
                if entry[0] <= self.now:
                    self.later.remove(entry)
                    act: Any = entry[2]
                    argument: Any = entry[3]
                    if act == self.deliver:
                        act(argument)
                    else:
                        act(argument, self.now)
                    break
            else:
                machines: list[Any] = [self.machine, *self.server.values()]
                for machine in machines:
                    if machine.deadline <= self.now:
                        machine.wake(self.now)
                        break
        raise AssertionError("it never settles")


class TwoSidesTests(SynchronousTestCase):
    @given(
        integers(0, 10**6),
        sampled_from([0.0, 0.1, 0.3, 0.6]),
        lists(
            tuples(sampled_from(["subscribe", "unsubscribe", "change", "refresh"]), floats(0, 400)),
            max_size=12,
        ),
        sampled_from(["subscribe", "unsubscribe"]),
    )
    def test_agree_finally(
        self, seed: int, loss: float, steps: list[tuple[str, float]], last: str
    ) -> None:
        """After any history, once nothing is lost any more, both sides say the same."""
        pair = Pair(seed, loss)
        machine = pair.machine
        for step, gap in steps:
            self.act(pair, step)
            pair.run(pair.now + gap)
        pair.loss = 0.0
        pair.run(pair.now + 40.0)
        self.act(pair, last)
        pair.run(pair.now + 4000.0)  # the longest pause after failures, and an expiry
        live = {tag: item for tag, item in pair.server.items() if item.state != TERMINATED}
        if last == "unsubscribe":
            self.assertEqual(live, {})
            self.assertNotIn(machine.state, (WATCHING, PENDING))
        else:
            self.assertEqual(machine.state, WATCHING)
            assert machine.dialog is not None
            self.assertEqual(list(live), [machine.dialog.remote_tag])
            (subscription,) = live.values()
            self.assertLessEqual(abs(subscription.expires_at - machine.expires_at), 2.0)

    def act(self, pair: Pair, step: str) -> None:
        machine = pair.machine
        if step == "unsubscribe":
            machine.unsubscribe(pair.now)
        elif step == "subscribe":
            if machine.state in (0, 4):
                machine.start(pair.now)
        elif step == "refresh":
            machine.refresh(pair.now)
        else:
            for subscription in pair.server.values():
                subscription.changed(pair.now)
