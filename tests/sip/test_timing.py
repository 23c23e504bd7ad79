"""The timers of one endpoint."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.sip.timing import Timing


class TimingTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """Every timer has the value of RFC 3261's table 4 and RFC 6026 §8.3."""
        timing = Timing()
        values = {
            "t1": 0.5,
            "t2": 4.0,
            "t4": 5.0,
            "a": 0.5,
            "b": 32.0,
            "d": 32.0,
            "e": 0.5,
            "f": 32.0,
            "g": 0.5,
            "h": 32.0,
            "i": 5.0,
            "j": 32.0,
            "k": 5.0,
            "l": 32.0,
            "m": 32.0,
            "trying": 0.2,
        }
        self.assertEqual({name: getattr(timing, name) for name in values}, values)
        self.assertGreater(timing.c, 180.0)  # §16.6 step 11

    def test_late(self) -> None:
        """A non-INVITE request may be answered 100 when Timer E reaches T2 (RFC 4320 §4.1)."""
        self.assertEqual(Timing().late, 3.5)  # 0.5 + 1 + 2; the next pause is 4
        self.assertEqual(Timing(t1=1.0, t2=3.0).late, 3.0)  # 1 + 2; the next pause is 3

    @given(st.floats(0.001, 10.0), st.floats(1.0, 50.0))
    def test_timer_d(self, t1: float, factor: float) -> None:
        """Timer D is never under 32 seconds nor under Timer H (RFC 3261 §17.1.1.2)."""
        timing = Timing(t1=t1, t2=t1 * factor)
        self.assertGreaterEqual(timing.d, 32.0)
        self.assertGreaterEqual(timing.d, timing.h)
        self.assertLess(timing.late, timing.f)

    def test_refused(self) -> None:
        """Values that no RFC allows are our own mistake."""
        for wrong in (
            {"t1": 0.0},
            {"t4": -1.0},
            {"trying": 0.0},
            {"t1": 5.0, "t2": 4.0},
            {"completed_invite": 31.0},
        ):
            with self.subTest(wrong=wrong), self.assertRaises(UsageError):
                Timing(**wrong)
