"""Bindings in memory: expiry, and what they share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.sip.bound import BindingCache, Pool
from omaim.testing.store_contract import ALICE, BOB, binding


class PoolTests(SynchronousTestCase):
    """What many records have alike."""

    def test_pool(self) -> None:
        """Ever new values do not stay."""
        pool = Pool()
        first = pool.text("".join(["a", "b"]))
        self.assertIs(pool.text("".join(["a", "b"])), first)
        for number in range(5000):
            pool.text(str(number))
        self.assertIsNot(pool.text("".join(["a", "b"])), first)

    def test_paths(self) -> None:
        """Paths are kept likewise."""
        pool = Pool()
        first = pool.path(tuple("ab"))
        self.assertIs(pool.path(tuple("ab")), first)
        for number in range(5000):
            pool.path((str(number),))
        self.assertIsNot(pool.path(tuple("ab")), first)


class BindingCacheTests(SynchronousTestCase):
    """Of the heap of expiries."""

    @given(
        st.lists(
            st.tuples(
                st.sampled_from("abc"),
                st.lists(st.integers(0, 100), max_size=2),
                st.integers(0, 20),
            ),
            max_size=30,
        )
    )
    def test_due(self, steps: list[tuple[str, list[int], int]]) -> None:
        """However bindings come and go, none that has expired is overlooked for long.

        An address is due when one of its bindings has expired and it was not told within
        the last half minute; otherwise it is not.
        """
        cache, now = BindingCache(), 0.0
        told: dict[str, float] = {}
        for aor, lives, pause in steps:
            cache.set(aor, 1, [binding(aor, expires_at=now + life) for life in lives])
            now += pause
            due = cache.due(now, 1000)
            for name in "abc":
                held = cache.peek(name).bindings
                over = any(one.expires_at <= now for one in held)
                if name in due:
                    self.assertTrue(over)
                    told[name] = now
                elif over:
                    self.assertGreater(told.get(name, -1.0) + 30.0, now)
            self.assertEqual(len(due), len(set(due)))
        self.assertEqual(cache.count(), sum(len(cache.peek(name).bindings) for name in "abc"))

    def test_refreshing(self) -> None:
        """Refreshing for ever does not grow the heap."""
        cache = BindingCache()
        for number in range(1000):
            cache.set(ALICE, number, [binding(expires_at=number + 3600.0)])
            cache.due(float(number), 1000)
        self.assertLessEqual(len(cache._heap), 2)

    def test_shared(self) -> None:
        """What many bindings say alike is there once."""
        cache = BindingCache()
        for aor in (ALICE, BOB):
            cache.set(aor, 1, [binding(aor, user_agent="".join(["pho", "ne"]))])
        one, other = (cache.peek(aor).bindings[0] for aor in (ALICE, BOB))
        self.assertIs(one.user_agent, other.user_agent)
