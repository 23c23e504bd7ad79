"""Nonces that need no store, and the replay check (RFC 7616 §3.3, §3.4, §5.5)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.ids import Ids
from omaim.sip.nonces import EXPIRED, FORGED, FRESH, Nonces
from tests.sip.test_digest import REALM, nonces


class NoncesTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """Fresh, expired and forged are told apart; the realm is sealed in (RFC 7616 §3.3)."""
        server = nonces(lifetime=60.0)
        nonce = server.make(REALM, 1000.5)
        self.assertEqual(server.check(nonce, REALM, 1060.0), FRESH)
        self.assertEqual(server.check(nonce, REALM, 1060.5), EXPIRED)
        self.assertEqual(server.check(nonce, REALM, 900.0), EXPIRED)
        self.assertEqual(server.check(nonce, "other", 1000.5), FORGED)
        self.assertEqual([server.aging(nonce, 1000.0 + t) for t in (30, 31)], [False, True])
        self.assertNotEqual(nonce, server.make(REALM, 1000.5))
        self.assertRaises(UsageError, Nonces, b"short", Ids(1))

    @given(st.data())
    def test_forged(self, data: st.DataObject) -> None:
        """Any change of any digit is noticed, and junk is no nonce."""
        server = nonces()
        nonce = server.make(REALM, 1000.0)
        place = data.draw(st.integers(0, len(nonce) - 1))
        digit = data.draw(st.characters().filter(lambda c: c != nonce[place]))
        changed = nonce[:place] + digit + nonce[place + 1 :]
        self.assertEqual(server.check(changed, REALM, 1000.0), FORGED)
        self.assertEqual(server.check(data.draw(st.text()), REALM, 1000.0), FORGED)

    @given(st.lists(st.integers(1, 70), max_size=80))
    def test_each_count_once(self, counts: list[int]) -> None:
        """No count is accepted twice, and one in order always is (RFC 7616 §3.4 nc)."""
        server = nonces()
        nonce = server.make(REALM, 0.0)
        accepted: list[int] = []
        for count in counts:
            new = server.spend(nonce, count, 0.0)
            self.assertFalse(new and count in accepted)
            if count > max(accepted, default=0) or (
                count not in accepted and count > max(accepted) - 30
            ):
                self.assertTrue(new)
            if new:
                accepted.append(count)

    def test_without_count(self) -> None:
        """A nonce used without count is closed, and a counted one takes no uncounted use."""
        server = nonces()
        first, second = server.make(REALM, 0.0), server.make(REALM, 0.0)
        self.assertTrue(server.spend(first, 0, 0.0))
        self.assertFalse(server.spend(first, 0xFFFFFFFF, 0.0))
        self.assertTrue(server.spend(second, 1, 0.0))
        self.assertFalse(server.spend(second, 0, 0.0))

    @given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 3)), max_size=60))
    def test_bounded_and_never_twice(self, uses: list[tuple[int, int]]) -> None:
        """The table stays within its size and still no use passes twice (RFC 7616 §5.5)."""
        server = nonces(lifetime=20.0, capacity=3)
        made = [server.make(REALM, float(second)) for second in range(41)]
        seen: set[tuple[int, int]] = set()
        now = 0.0
        for step, (index, count) in enumerate(uses):
            now = max(now, float(step))
            if server.check(made[index], REALM, now) != FRESH:
                continue
            if server.spend(made[index], count, now):
                self.assertNotIn((index, count), seen)
                seen.add((index, count))
            self.assertLessEqual(len(server), 3)

    def test_room_for_all(self) -> None:
        """As long as there is room, using one nonce makes no other stale."""
        server = nonces(lifetime=50.0, capacity=10)
        made = [server.make(REALM, float(second)) for second in range(10)]
        for nonce in made:
            self.assertTrue(server.spend(nonce, 1, 10.0))
        self.assertEqual({server.check(nonce, REALM, 50.0) for nonce in made}, {FRESH})
        self.assertTrue(server.spend(server.make(REALM, 50.0), 1, 50.0))
        self.assertEqual([server.check(made[n], REALM, 50.0) for n in (0, 1)], [EXPIRED, FRESH])

    def test_clock_set_back(self) -> None:
        """A nonce just made is fresh, though the clock now shows a time before the start, or the
        table was full within one second; those made before the start stay stale."""
        before = nonces().make(REALM, 5000.0)
        server = nonces(since=9000.0, capacity=1, lifetime=60.0)
        for now in (9000.0, 100.0, 8990.0, 9000.0, 9000.0, 9000.0, 9100.0):
            nonce = server.make(REALM, now)
            self.assertEqual(server.check(nonce, REALM, now), FRESH)
            self.assertTrue(server.spend(nonce, 1, now))
            self.assertEqual(server.check(before, REALM, now), EXPIRED)

    def test_far_ahead(self) -> None:
        """A count may jump; what is 30 or more behind the highest is refused."""
        server = nonces()
        nonce = server.make(REALM, 0.0)
        for count, new in (
            (1, True),
            (100, True),
            (71, True),
            (70, False),
            (99, True),
            (71, False),
        ):
            self.assertEqual(server.spend(nonce, count, 0.0), new)

    def test_expired_are_dropped(self) -> None:
        """Used nonces are forgotten after their lifetime."""
        server = nonces(lifetime=10.0)
        for second in range(100):
            server.spend(server.make(REALM, float(second)), 1, float(second))
        self.assertLess(len(server), 15)
