"""The session timer of one dialog (RFC 4028)."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import integers, none, one_of, sampled_from
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.sip.message import Request, Response
from omaim.sip.session_timer import EXPIRED, REFRESH, IntervalTooSmall, SessionTimer
from omaim.timers import NEVER

Fields = list[tuple[str, str]]


def invite(*fields: tuple[str, str]) -> Request:
    head = [("Via", "SIP/2.0/UDP a;branch=z9hG4bK1"), ("From", "<sip:a@b>;tag=1")]
    head += [("To", "<sip:c@d>"), ("Call-ID", "x"), ("CSeq", "1 INVITE")]
    return Request.make("INVITE", "sip:c@d", [*head, *fields])


def answer(status: int, *fields: tuple[str, str]) -> Response:
    response = invite().response(status)
    for name, value in fields:
        response.add(name, value)
    return response


SUPPORTED = ("Supported", "timer")


def expires(text: str) -> tuple[str, str]:
    return ("Session-Expires", text)


class UasTests(SynchronousTestCase):
    def granted(self, *fields: tuple[str, str], wish: int = 1800) -> dict[str, str]:
        self.timer = SessionTimer(wish)
        request = invite(*fields)
        self.timer.check(request)
        return dict(self.timer.grant(request, 100.0))

    def test_table_2(self) -> None:
        """Who refreshes follows from what the caller said and can (RFC 4028 §9 table 2)."""
        for fields, refresher, required in (
            ((expires("1800"),), "uas", False),
            ((expires("1800"), SUPPORTED), "uac", True),
            ((expires("1800;refresher=uac"), SUPPORTED), "uac", True),
            ((expires("1800;refresher=uas"), SUPPORTED), "uas", True),
            ((SUPPORTED,), "uac", True),
        ):
            said = self.granted(*fields)
            self.assertEqual(said["Session-Expires"], f"1800;refresher={refresher}")
            self.assertEqual(said.get("Require"), "timer" if required else None)
            self.assertEqual(self.timer.refreshing, refresher == "uas")

    def test_interval(self) -> None:
        """It may be shortened, never under Min-SE or 90, never made longer (§9)."""
        for asked, least, wish, interval in (
            ("1000", "", 1800, 1000),
            ("3600", "", 1800, 1800),
            ("3600", "2000", 1800, 2000),
            ("3600", "", 0, 3600),
            ("100", "", 1800, 100),
        ):
            fields = [expires(asked), SUPPORTED, *([("Min-SE", least)] if least else [])]
            said = self.granted(*fields, wish=wish)
            self.assertEqual(said["Session-Expires"], f"{interval};refresher=uac")
        self.assertEqual(self.granted(SUPPORTED, wish=0), {})

    def test_too_small(self) -> None:
        """Who understands it is told the minimum; who does not gets no timer (§9)."""
        error = self.assertRaises(IntervalTooSmall, self.granted, expires("89"), SUPPORTED)
        self.assertEqual((error.status, error.min_se), (422, 90))
        self.assertEqual(self.granted(expires("89")), {})
        self.assertEqual(self.timer.deadline, NEVER)

    def test_unreadable(self) -> None:
        """What cannot be read is refused before anything was done."""
        for bad in (expires("x"), ("Min-SE", "x"), expires("100;refresher=me")):
            self.assertRaises(PeerError, self.granted, bad)

    def test_watches(self) -> None:
        """The watching side gives up a little before the end (§10)."""
        self.granted(expires("1800"), SUPPORTED)
        self.assertEqual(self.timer.deadline, 100.0 + 1800 - 32)
        self.granted(expires("90"), SUPPORTED)
        self.assertEqual(self.timer.deadline, 100.0 + 90 - 30)
        self.timer.wake(160.0)
        self.assertEqual((self.timer.take(), self.timer.take()), (EXPIRED, 0))
        self.assertEqual(self.timer.deadline, NEVER)


class UacTests(SynchronousTestCase):
    def test_asks(self) -> None:
        """The first request asks for the wish and leaves open who refreshes (§7.1)."""
        self.assertEqual(SessionTimer().ask(), [expires("1800")])
        self.assertEqual(SessionTimer(0).ask(), [])
        self.assertEqual(SessionTimer(10, 200).ask(), [expires("200"), ("Min-SE", "200")])

    def test_refreshes(self) -> None:
        """Half the interval after each 2xx it is time (§7.2)."""
        timer = SessionTimer()
        timer.granted(invite(*timer.ask()), answer(200, expires("1000;refresher=uac")), 0.0)
        self.assertEqual((timer.deadline, timer.refreshing), (500.0, True))
        timer.wake(500.0)
        self.assertEqual((timer.take(), timer.deadline), (REFRESH, 1000.0))
        self.assertEqual(timer.ask(), [expires("1000;refresher=uac")])
        timer.granted(invite(), answer(200, expires("1000;refresher=uac")), 501.0)
        self.assertEqual(timer.deadline, 1001.0)
        timer.wake(1001.0)
        timer.wake(timer.deadline)
        self.assertEqual((timer.take(), timer.interval), (EXPIRED, 0))

    def test_peer_refreshes(self) -> None:
        """The roles stay as they are (§7.4)."""
        timer = SessionTimer()
        timer.granted(invite(), answer(200, expires("1000;refresher=uas")), 0.0)
        self.assertEqual((timer.refreshing, timer.deadline), (False, 968.0))
        self.assertEqual(timer.ask(), [expires("1000;refresher=uas")])

    def test_unsupported(self) -> None:
        """A 2xx without it leaves us to refresh what we asked for, or ends it (§7.2)."""
        timer = SessionTimer(600)
        timer.granted(invite(*timer.ask()), answer(200), 0.0)
        self.assertEqual((timer.refreshing, timer.interval), (True, 600))
        timer.granted(invite(), answer(200), 1.0)
        self.assertEqual((timer.interval, timer.deadline), (0, NEVER))

    def test_422(self) -> None:
        """A 422 raises what we ask for; one that says nothing new does not (§7.3, §7.4)."""
        timer = SessionTimer(600)
        self.assertTrue(timer.refused(answer(422, ("Min-SE", "700"))))
        self.assertEqual(timer.ask(), [expires("700"), ("Min-SE", "700")])
        self.assertFalse(timer.refused(answer(422, ("Min-SE", "700"))))
        self.assertFalse(timer.refused(answer(422)))

    def test_tiny(self) -> None:
        """A peer cannot have us refresh without end."""
        timer = SessionTimer()
        timer.granted(invite(), answer(200, expires("1;refresher=uac")), 0.0)
        self.assertEqual(timer.deadline, 45.0)

    def test_failed(self) -> None:
        """A refused refresh is tried again while there is time (§10)."""
        timer = SessionTimer()
        timer.granted(invite(), answer(200, expires("100;refresher=uac")), 0.0)
        tries, now = 0, 0.0
        while now < 100.0:
            now = timer.deadline
            timer.wake(now)
            if timer.take() == REFRESH:
                tries += 1
                timer.failed(now)
        self.assertEqual((tries, now), (5, 100.0))
        self.assertEqual(timer.deadline, NEVER)

    @given(
        one_of(none(), integers(0, 10**10)),
        one_of(none(), integers(0, 10**10)),
        sampled_from(("", ";refresher=uac", ";refresher=uas")),
        integers(0, 10000),
        sampled_from((True, False)),
    )
    def test_agree(
        self, asked: int | None, least: int | None, who: str, wish: int, able: bool
    ) -> None:
        """Both ends take the same interval, and not both or none of them refresh (§9)."""
        fields: Fields = [SUPPORTED] if able else []
        if asked is not None:
            fields.append(expires(f"{asked}{who}"))
        if least is not None:
            fields.append(("Min-SE", str(least)))
        request = invite(*fields)
        callee, caller = SessionTimer(wish), SessionTimer(0)
        try:
            callee.check(request)
            response = answer(200, *callee.grant(request, 0.0))
        except IntervalTooSmall:
            self.assertLess(asked or 0, 90)
            return
        caller.granted(request, response, 0.0)
        self.assertEqual(caller.interval, callee.interval)
        if callee.interval:
            self.assertGreaterEqual(callee.interval, 90)
            self.assertNotEqual(caller.refreshing, callee.refreshing)
            self.assertLess(min(caller.deadline, callee.deadline), callee.interval)
            if asked is not None:
                self.assertLessEqual(callee.interval, max(min(asked, 2**32 - 1), 90))
