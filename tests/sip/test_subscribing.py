"""The subscriber's side of RFC 6665."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis.strategies import integers, sampled_from
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError, UsageError
from omaim.sip.message import Request
from omaim.sip.subscribing import (
    ACTIVE,
    INIT,
    NOTIFY_WAIT,
    PENDING,
    TERMINATED,
    Forked,
    Subscribing,
)
from omaim.sip.subscription import Terms
from omaim.timers import NEVER
from tests.sip.subscriptions import (
    WANTED,
    accepted,
    due,
    established,
    granted,
    heard,
    moved,
    refused,
    run,
    sends,
    sent,
    subscriber,
)


class StartTests(SynchronousTestCase):
    def test_first_subscribe(self) -> None:
        """A SUBSCRIBE outside a dialog has all it needs (RFC 6665 §4.1.2.1, §3.1)."""
        wanted = attrs.evolve(
            WANTED,
            event="presence;id=7",
            routes=("<sip:p1;lr>",),
            headers=(("Accept", "application/pidf+xml"),),
        )
        machine = subscriber(wanted)
        machine.start(10.0)
        request = sent(machine)
        self.assertEqual(request.uri, "sip:bob@example.com")
        self.assertEqual(request.first("Event"), "presence;id=7")
        self.assertEqual(request.expires, 1000)
        self.assertEqual(request.first("Contact"), "<sip:alice@192.0.2.1>")
        self.assertEqual(request.values("Route"), ["<sip:p1;lr>"])
        self.assertEqual(request.first("Accept"), "application/pidf+xml")
        self.assertEqual(request.to.tag, "")
        self.assertEqual((request.call_id, request.from_.tag), (machine.call_id, machine.local_tag))
        self.assertEqual((machine.state, machine.deadline), (NOTIFY_WAIT, 42.0))
        self.assertRaises(UsageError, machine.start, 10.0)

    def test_response_then_notify(self) -> None:
        """The NOTIFY makes the subscription, not the response (RFC 6665 §4.1.2.4)."""
        machine = subscriber()
        machine.start(0.0)
        subscription, response = accepted(sent(machine))
        machine.answered(response, 0.1)
        self.assertEqual(machine.state, NOTIFY_WAIT)
        machine.notified(due(subscription), 0.2)
        self.assertEqual(machine.state, ACTIVE)
        self.assertEqual(heard(machine), 1)

    def test_notify_overtakes_response(self) -> None:
        """A NOTIFY may come first, and its time left is the authority (§4.1.2.4, §4.1.3)."""
        machine = subscriber()
        machine.start(0.0)
        subscription, response = accepted(sent(machine))
        subscription.expires_at = 300.0
        subscription._now = 0.0
        machine.notified(due(subscription), 0.1)
        self.assertEqual(machine.state, ACTIVE)
        machine.answered(response, 0.2)
        self.assertEqual(machine.expires_at, 300.1)
        self.assertEqual(machine.state, ACTIVE)

    def test_pending(self) -> None:
        """Pending goes over into active (RFC 6665 §4.1.2)."""
        machine = subscriber()
        machine.start(0.0)
        subscription, response = accepted(sent(machine), active=False)
        machine.answered(response, 0.0)
        machine.notified(due(subscription), 0.0)
        self.assertEqual(moved(machine)[-1], (PENDING, ""))
        subscription.approve(5.0)
        machine.notified(due(subscription), 5.0)
        self.assertEqual(moved(machine), [(ACTIVE, "")])

    def test_timer_n(self) -> None:
        """Without a NOTIFY in 64*T1 the attempt failed (RFC 6665 §4.1.2.4)."""
        machine = subscriber()
        machine.start(0.0)
        subscription, response = accepted(sent(machine))
        machine.answered(response, 1.0)
        run(machine, 31.9)
        self.assertEqual(machine.state, NOTIFY_WAIT)
        run(machine, 32.0)
        self.assertEqual(moved(machine), [(TERMINATED, "no-notify")])
        error = self.assertRaises(PeerError, machine.notified, due(subscription), 33.0)
        self.assertEqual(error.status, 481)

    def test_too_brief(self) -> None:
        """423 raises the duration to Min-Expires and asks again (RFC 3261 §21.4.17)."""
        machine = subscriber(attrs.evolve(WANTED, expires=30))
        machine.start(0.0)
        first = sent(machine)
        machine.answered(refused(first, 423, ("Min-Expires", "90")), 0.1)
        again = sent(machine)
        self.assertEqual(again.expires, 90)
        self.assertEqual(again.call_id, first.call_id)
        self.assertEqual(again.cseq.number, first.cseq.number + 1)
        self.assertEqual(machine.state, NOTIFY_WAIT)

    def test_too_brief_for_ever(self) -> None:
        """Whoever raises the minimum each time is not followed for ever."""
        machine = subscriber()
        machine.start(0.0)
        for number in range(1, 10):
            requests = sends(machine)
            if not requests:
                break
            least = str(10000 * number)
            machine.answered(refused(requests[0], 423, ("Min-Expires", least)), 0.1)
        self.assertEqual(machine.state, TERMINATED)
        self.assertEqual(machine.retry_at, NEVER)

    @given(sampled_from([400, 403, 404, 405, 406, 416, 420, 489, 501, 603, 604]))
    def test_refused_for_good(self, status: int) -> None:
        """Most refusals are final (RFC 6665 §4.1.2.1)."""
        machine = subscriber()
        machine.start(0.0)
        machine.answered(refused(sent(machine), status), 1.0)
        self.assertEqual(moved(machine), [(TERMINATED, "refused")])
        self.assertEqual((machine.status, machine.deadline), (status, NEVER))

    def test_refused_for_now(self) -> None:
        """Retry-After is waited for, at least (RFC 3261 §20.33)."""
        machine = subscriber()
        machine.start(0.0)
        first = sent(machine)
        machine.answered(refused(first, 503, ("Retry-After", "500")), 1.0)
        self.assertEqual(machine.deadline, 501.0)
        run(machine, 501.0)
        again = sent(machine)
        self.assertNotEqual(again.call_id, first.call_id)
        self.assertNotEqual(again.from_.tag, first.from_.tag)

    def test_backoff(self) -> None:
        """Failures in a row are followed by longer and longer pauses, up to a bound."""
        machine = subscriber()
        machine.start(0.0)
        now, waits = 0.0, []
        for _ in range(12):
            machine.answered(refused(sent(machine), 500), now)
            waits.append(machine.deadline - now)
            now = machine.deadline
            machine.wake(now)
        for place, wait in enumerate(waits):
            bound = min(1800.0, 30.0 * 2 ** (place + 1))
            self.assertTrue(bound / 2 <= wait <= bound, waits)

    def test_fetch(self) -> None:
        """Expires 0 fetches once (RFC 6665 §4.4.3)."""
        machine = subscriber(attrs.evolve(WANTED, expires=0))
        machine.start(0.0)
        subscription, response = accepted(sent(machine))
        machine.answered(response, 0.0)
        notify = due(subscription)
        self.assertEqual(notify.first("Subscription-State"), "terminated;reason=timeout")
        machine.notified(notify, 0.1)
        self.assertEqual(machine.state, TERMINATED)
        self.assertEqual(heard(machine), 1)
        self.assertEqual(machine.deadline, NEVER)


class RefreshTests(SynchronousTestCase):
    def test_times(self) -> None:
        """Half of a short duration, 600 s before the end of a long one."""
        for granted_, expected in ((1000, 500.0), (1200, 600.0), (3600, 3000.0)):
            machine, _ = established(attrs.evolve(WANTED, expires=granted_))
            self.assertEqual(machine.deadline, expected)
            run(machine, expected)
            request = sent(machine)
            self.assertEqual(request.expires, granted_)
            self.assertEqual(request.to.tag, "n1")
            self.assertEqual(request.uri, "sip:notifier@192.0.2.9")

    def test_refreshed(self) -> None:
        """A refresh moves the end, and needs its own NOTIFY (RFC 6665 §4.1.2.2)."""
        machine, subscription = established()
        run(machine, 500.0)
        refresh = sent(machine)
        subscription.refresh(refresh, 500.0)
        machine.answered(granted(refresh, 1000), 500.0)
        self.assertEqual(machine.expires_at, 1500.0)
        self.assertEqual(machine.deadline, 532.0)
        machine.notified(due(subscription), 501.0)
        self.assertEqual(machine.deadline, 501.0 + 500.0)

    def test_moved(self) -> None:
        """The Contact of the response to a refresh is the new target (RFC 6665 §3.1)."""
        machine, _ = established()
        run(machine, 500.0)
        response = granted(sent(machine), 1000)
        response.set("Contact", "<sip:elsewhere@192.0.2.8>")
        machine.answered(response, 500.0)
        machine.unsubscribe(501.0)
        self.assertEqual(sent(machine).uri, "sip:elsewhere@192.0.2.8")

    def test_no_notify(self) -> None:
        """A refresh without NOTIFY ends the subscription (RFC 6665 §4.1.2.2)."""
        machine, _ = established()
        run(machine, 500.0)
        machine.answered(granted(sent(machine), 1000), 500.0)
        run(machine, 532.0)
        self.assertEqual(moved(machine), [(TERMINATED, "no-notify")])

    def test_nothing_changed(self) -> None:
        """204 says that no NOTIFY follows (RFC 6665 §4.1.2.2, RFC 5839)."""
        machine, _ = established()
        run(machine, 500.0)
        response = granted(sent(machine), 1000)
        response.status = 204
        machine.answered(response, 500.0)
        self.assertEqual((machine.state, machine.deadline), (ACTIVE, 1000.0))

    @given(sampled_from([404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604]))
    def test_ended_by(self, status: int) -> None:
        """These responses to a refresh end the subscription (RFC 6665 §4.1.2.2)."""
        machine, _ = established()
        run(machine, 500.0)
        machine.answered(refused(sent(machine), status), 500.0)
        self.assertEqual(machine.state, TERMINATED)
        self.assertEqual(machine.retry_at != NEVER, status in (480, 481))

    def test_gone(self) -> None:
        """After 481 a new subscription is asked for at once, on a new dialog."""
        machine, _ = established()
        run(machine, 500.0)
        refresh = sent(machine)
        machine.answered(refused(refresh, 481), 500.0)
        self.assertEqual(machine.retry_at, 500.0)
        run(machine, 500.0)
        again = sent(machine)
        self.assertEqual(again.to.tag, "")
        self.assertNotEqual(again.call_id, refresh.call_id)

    @given(sampled_from([400, 403, 500, 503, 600]))
    def test_survives(self, status: int) -> None:
        """Other errors leave it valid until it expires (RFC 6665 §4.1.2.2)."""
        machine, _ = established()
        run(machine, 500.0)
        machine.answered(refused(sent(machine), status), 500.0)
        self.assertEqual(machine.state, ACTIVE)
        self.assertEqual(machine.deadline, 750.0)
        now = 500.0
        for _ in range(100):
            now = machine.deadline
            machine.wake(now)
            requests = sends(machine)
            if machine.state != ACTIVE:
                break
            self.assertEqual(len(requests), now < 1000.0)
            machine.answered(refused(requests[0], status), now)
        self.assertEqual((machine.state, now), (TERMINATED, 1000.0))

    def test_credentials(self) -> None:
        """A refresh repeated with credentials counts in the dialog (RFC 3261 §22.2)."""
        machine, _ = established()
        run(machine, 500.0)
        refresh = sent(machine)
        self.assertEqual(machine.next_seq(), refresh.cseq.number + 1)
        machine.answered(granted(refresh, 1000), 500.0)
        machine.unsubscribe(501.0)
        self.assertEqual(sent(machine).cseq.number, refresh.cseq.number + 2)

    def test_late_answer(self) -> None:
        """The answer to an attempt that was given up changes nothing."""
        machine = subscriber()
        machine.start(0.0)
        old = sent(machine)
        run(machine, 32.0)
        run(machine, machine.deadline)
        self.assertEqual(machine.state, NOTIFY_WAIT)
        machine.answered(refused(old, 603), 100.0)
        self.assertEqual(machine.state, NOTIFY_WAIT)


class EndTests(SynchronousTestCase):
    def test_unsubscribe(self) -> None:
        """It is over with the last NOTIFY (RFC 6665 §4.1.2.3)."""
        machine, subscription = established()
        machine.unsubscribe(100.0)
        request = sent(machine)
        self.assertEqual(request.expires, 0)
        subscription.refresh(request, 100.0)
        machine.answered(granted(request, 0), 100.0)
        self.assertEqual(machine.state, ACTIVE)
        machine.notified(due(subscription), 100.1)
        self.assertEqual(moved(machine), [(TERMINATED, "timeout")])
        self.assertEqual(machine.deadline, NEVER)

    def test_unsubscribe_unanswered(self) -> None:
        """Whatever becomes of it, unsubscribing ends."""
        machine, _ = established()
        machine.unsubscribe(100.0)
        machine.answered(granted(sent(machine), 0), 100.0)
        run(machine, 132.0)
        self.assertEqual((machine.state, machine.deadline), (TERMINATED, NEVER))
        machine, _ = established()
        machine.unsubscribe(100.0)
        machine.answered(refused(sent(machine), 500), 100.0)
        self.assertEqual((machine.state, machine.deadline), (TERMINATED, NEVER))

    def test_unsubscribe_before_notify(self) -> None:
        """Without dialog there is nothing to unsubscribe in: wait for it (§4.1.2.3)."""
        machine = subscriber()
        machine.start(0.0)
        first = sent(machine)
        machine.unsubscribe(0.1)
        self.assertEqual(sends(machine), [])
        subscription, response = accepted(first)
        machine.notified(due(subscription), 0.2)
        self.assertEqual(sends(machine), [])  # one SUBSCRIBE at a time
        machine.answered(response, 0.3)
        self.assertEqual(sent(machine).expires, 0)

    def test_unsubscribe_during_refresh(self) -> None:
        """An unsubscription waits for the answer to the refresh under way."""
        machine, _ = established()
        run(machine, 500.0)
        refresh = sent(machine)
        machine.unsubscribe(500.1)
        self.assertEqual(sends(machine), [])
        machine.answered(granted(refresh, 1000), 500.2)
        self.assertEqual(sent(machine).expires, 0)

    def test_unsubscribe_while_waiting_to_return(self) -> None:
        """Nothing comes back after the owner ended it."""
        machine = subscriber()
        machine.start(0.0)
        machine.answered(refused(sent(machine), 503), 1.0)
        machine.unsubscribe(2.0)
        self.assertEqual(machine.deadline, NEVER)

    def test_never_started(self) -> None:
        """Ending what never began is an end, too."""
        machine = subscriber()
        machine.unsubscribe(1.0)
        self.assertEqual(moved(machine), [(TERMINATED, "unsubscribed")])
        self.assertEqual(machine.deadline, NEVER)

    def terminated(self, parameters: str, lived: float = 100.0) -> Subscribing:
        machine, subscription = established()
        subscription.terminate("x", lived)
        notify = due(subscription)
        notify.set("Subscription-State", "terminated" + parameters)
        machine.notified(notify, lived)
        self.assertEqual(machine.state, TERMINATED)
        return machine

    def test_reasons(self) -> None:
        """When to come back depends on the reason (RFC 6665 §4.1.3)."""
        for parameters, wait in (
            (";reason=deactivated", 0.0),
            (";reason=deactivated;retry-after=60", 0.0),
            (";reason=timeout", 0.0),
            (";reason=timeout;retry-after=60", 0.0),
            (";reason=probation;retry-after=60", 60.0),
            (";reason=giveup;retry-after=60", 60.0),
            (";reason=giveup", 0.0),
            (";retry-after=60", 60.0),
            (";reason=unheard;retry-after=60", 60.0),
            ("", 0.0),
            (";expires=77", 0.0),
            (";reason=rejected", NEVER),
            (";reason=rejected;retry-after=60", NEVER),
            (";reason=noresource", NEVER),
            (";reason=invariant;retry-after=60", NEVER),
        ):
            machine = self.terminated(parameters)
            self.assertEqual(machine.retry_at, 100.0 + wait, parameters)

    def test_probation(self) -> None:
        """Probation without a time is some later time (RFC 6665 §4.1.3)."""
        self.assertGreaterEqual(self.terminated(";reason=probation").retry_at, 130.0)

    def test_no_chase(self) -> None:
        """A notifier that deactivates at once is not asked again and again at once."""
        machine = subscriber()
        machine.start(0.0)
        starts, now = [0.0], 0.0
        for _ in range(8):
            subscription, response = accepted(sent(machine), now)
            machine.answered(response, now)
            machine.notified(due(subscription), now)
            subscription.terminate("deactivated", now)
            machine.notified(due(subscription), now)
            now = machine.retry_at
            machine.take()
            machine.wake(now)
            starts.append(now)
        self.assertEqual(starts[1], 0.0)
        self.assertGreater(starts[-1], 1000.0)

    def test_expires(self) -> None:
        """Not refreshed in time, it is over, and asked for anew (RFC 6665 §4.1.2)."""
        machine, _ = established()
        run(machine, 500.0)
        machine.answered(refused(sent(machine), 500), 500.0)
        machine._refresh_at = NEVER
        machine._arm()
        run(machine, 1000.0)
        states = moved(machine)
        self.assertEqual(states[0], (TERMINATED, "timeout"))
        self.assertEqual(states[1], (NOTIFY_WAIT, ""))


class NotifyTests(SynchronousTestCase):
    def refuse(self, machine: Subscribing, notify: Request, status: int) -> None:
        error = self.assertRaises(PeerError, machine.notified, notify, 10.0)
        self.assertEqual(error.status, status)
        self.assertEqual((machine.state, machine.take()), (ACTIVE, []))

    def test_refused(self) -> None:
        """What does not fit is refused and changes nothing (RFC 6665 §4.1.3)."""
        machine, subscription = established()
        subscription.changed(10.0)
        notify = due(subscription)
        for name, value, status in (
            ("Event", "dialog", 489),
            ("Event", "presence;id=4", 481),
            ("Event", "", 400),
            ("Subscription-State", "", 400),
            ("Call-ID", "other", 481),
            ("From", "<sip:bob@example.com>;tag=other", 481),
            ("CSeq", "1 NOTIFY", 500),
        ):
            bad = notify.copy()
            if value:
                bad.set(name, value)
            else:
                bad.remove(name)
            self.refuse(machine, bad, 489 if name == "Event" and not value else status)
        machine.notified(notify, 10.0)
        self.assertEqual(heard(machine), 1)
        self.refuse(machine, notify, 500)

    def test_init(self) -> None:
        """Who never asked gets 481 (RFC 6665 §4.1.3)."""
        _, subscription = established()
        subscription.changed(1.0)
        machine = subscriber()
        self.assertEqual(machine.state, INIT)
        error = self.assertRaises(PeerError, machine.notified, due(subscription), 1.0)
        self.assertEqual(error.status, 481)

    def test_time_left(self) -> None:
        """The notifier may shorten a subscription any time (RFC 6665 §4.1.3)."""
        machine, subscription = established()
        subscription.changed(10.0)
        notify = due(subscription)
        notify.set("Subscription-State", "active;expires=50")
        machine.notified(notify, 10.0)
        self.assertEqual((machine.expires_at, machine.deadline), (60.0, 35.0))
        subscription.answered(notify.response(200), 10.0)
        subscription.changed(11.0)
        notify = due(subscription)
        notify.set("Subscription-State", "active")
        machine.notified(notify, 11.0)
        self.assertEqual(machine.expires_at, 60.0)

    def test_fork_refused(self) -> None:
        """Without forks the first notifier gets it, others 481 (RFC 6665 §5.4.9)."""
        machine = subscriber()
        machine.start(0.0)
        subscribe = sent(machine)
        one, _ = accepted(subscribe, tag="n1")
        two, response = accepted(subscribe, tag="n2")
        machine.notified(due(one), 0.1)
        self.assertEqual(self.assertRaises(PeerError, machine.notified, due(two), 0.1).status, 481)
        machine.answered(response, 0.2)  # of the other one; RFC 6665 §5.4.9
        self.assertEqual(machine.state, ACTIVE)
        assert machine.dialog is not None
        self.assertEqual(machine.dialog.remote_tag, "n1")

    def test_forks(self) -> None:
        """With forks each notifier has its own subscription, refreshed alone (§5.4.9)."""
        machine = subscriber(attrs.evolve(WANTED, forks=True))
        machine.start(0.0)
        subscribe = sent(machine)
        one, response = accepted(subscribe, tag="n1")
        two, _ = accepted(subscribe, tag="n2")
        machine.answered(response, 0.1)
        machine.notified(due(one), 0.1)
        machine.take()
        machine.notified(due(two), 0.2)
        (forked,) = machine.take()
        assert isinstance(forked, Forked)
        sibling = forked.sibling
        self.assertEqual((sibling.state, heard(sibling)), (ACTIVE, 1))
        run(sibling, 500.2)
        self.assertEqual(sent(sibling).to.tag, "n2")
        two.terminate("deactivated", 501.0)
        sibling.notified(due(two), 501.0)
        self.assertEqual((sibling.state, sibling.deadline), (TERMINATED, NEVER))
        three, _ = accepted(subscribe, tag="n3")
        error = self.assertRaises(PeerError, machine.notified, due(three), 32.0)
        self.assertEqual(error.status, 481)

    @given(integers(1, 10000), integers(0, 10000))
    def test_never_after_expiry(self, asked: int, said: int) -> None:
        """Whatever durations are named, a deadline is set while it lives (§4.1.2)."""
        machine = subscriber(attrs.evolve(WANTED, expires=asked))
        machine.start(0.0)
        subscription, response = accepted(sent(machine), terms=Terms(least=0))
        response.set("Expires", str(said))
        machine.answered(response, 0.0)
        self.assertLessEqual(machine.deadline, 32.0)
        if machine.state == NOTIFY_WAIT and said > 0:
            machine.notified(due(subscription), 0.0)
            self.assertLessEqual(machine.deadline, 10000.0)
