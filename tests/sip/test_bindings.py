"""Sets of bindings over time, and as targets (RFC 3680 §5.1, RFC 5626 §7, RFC 5627 §6.1)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.sip.bindings import (
    DEACTIVATED,
    EXPIRED,
    PROBATION,
    REJECTED,
    SHORTENED,
    Binding,
    choose,
    expire,
    lose_flow,
    shorten,
    terminate,
)


def bound(
    name: str,
    expires_at: float = 100.0,
    q: float = 1.0,
    instance: str = "",
    updated_at: float = 0.0,
    flow: str = "",
    reg_id: int = 0,
) -> Binding:
    return Binding(
        "sip:alice@example.com",
        f"sip:{name}@192.0.2.1",
        "c",
        1,
        expires_at,
        q=q,
        instance=instance,
        flow_token=flow,
        reg_id=reg_id,
        contact_id=name,
        updated_at=updated_at,
    )


def names(bindings: list[Binding]) -> list[str]:
    return [binding.contact_id for binding in bindings]


class BindingsTests(SynchronousTestCase):
    def test_value(self) -> None:
        """Equal when all fields are, and it can be rebuilt from them."""
        one = bound("a", instance="i")
        self.assertEqual(Binding(*one.values()), one)  # type: ignore[arg-type]
        self.assertEqual(hash(one), hash(bound("a", instance="i")))
        self.assertNotEqual(one, one.until(5.0))
        self.assertEqual(one.until(5.0).until(100.0), one)
        self.assertEqual(one.with_temp_gruu("t").temp_gruu, "t")

    def test_expire(self) -> None:
        """At its very end a binding is gone; nobody else is touched."""
        a, b = bound("a", 10.0), bound("b", 10.5)
        self.assertEqual(expire([a, b], 9.9), ([a, b], []))
        left, [change] = expire([a, b], 10.0)
        self.assertEqual((names(left), change.event, change.binding), (["b"], EXPIRED, a))
        self.assertTrue(change.gone)

    def test_terminate(self) -> None:
        """The network removes bindings, and says how to go on (RFC 3680 §5.1)."""
        a, b = bound("a"), bound("b")
        left, [change] = terminate([a, b], [a], PROBATION, 30)
        self.assertEqual((names(left), change.event, change.retry_after), (["b"], PROBATION, 30))
        left, changes = terminate([a, b], [a, b], REJECTED, 30)
        self.assertEqual((left, [change.retry_after for change in changes]), ([], [0, 0]))

    def test_shorten(self) -> None:
        """Only those that would live longer are cut."""
        left, [change] = shorten([bound("a", 10.0), bound("b", 100.0)], 0.0, 20.0)
        self.assertEqual([binding.expires_at for binding in left], [10.0, 20.0])
        self.assertEqual((change.event, change.gone), (SHORTENED, False))

    def test_lose_flow(self) -> None:
        """All outbound bindings of a dead flow go, whatever others have (RFC 5626 §7)."""
        a, b, c = bound("a", flow="f", reg_id=1), bound("b", flow="g", reg_id=1), bound("c")
        left, [change] = lose_flow([a, b, c], "f")
        self.assertEqual((names(left), change.event), (["b", "c"], DEACTIVATED))
        self.assertEqual(lose_flow([a, b, c], ""), ([a, b, c], []))
        self.assertEqual(lose_flow([b], "f"), ([b], []))
        plain = bound("d", flow="f")  # can be reached again at its Contact (RFC 3261 §10.2)
        self.assertEqual(lose_flow([plain], "f"), ([plain], []))

    def test_choose(self) -> None:
        """Best q first; flows of one instance are alternatives, latest first (RFC 5626 §7)."""
        bindings = [
            bound("low", q=0.1),
            bound("old", instance="i", updated_at=1.0, q=0.9),
            bound("new", instance="i", updated_at=2.0, q=0.5),
            bound("gone", 10.0),
            bound("best", q=0.8),
        ]
        groups = [names(group) for group in choose(bindings, 50.0)]
        self.assertEqual(groups, [["best"], ["new", "old"], ["low"]])
        self.assertEqual(choose([bindings[3]], 50.0), [])
        self.assertEqual(choose([bindings[3]], 5.0), [[bindings[3]]])

    @given(
        st.lists(
            st.builds(
                bound,
                st.text("abc", max_size=3),
                st.floats(0, 100),
                st.sampled_from([0.1, 0.5, 1.0]),
                st.sampled_from(["", "i", "j"]),
                st.floats(0, 100),
            ),
            max_size=12,
        ),
        st.floats(0, 100),
    )
    def test_choose_laws(self, bindings: list[Binding], now: float) -> None:
        """Each live binding appears once, an instance in one group, groups by falling q."""
        groups = choose(bindings, now)
        live = [binding for binding in bindings if binding.expires_at > now]
        found = [binding for group in groups for binding in group]
        self.assertEqual(sorted(map(id, found)), sorted(map(id, live)))
        heads = [group[0].instance for group in groups if group[0].instance]
        self.assertEqual(len(heads), len(set(heads)))
        qs = [group[0].q for group in groups]
        self.assertEqual(qs, sorted(qs, reverse=True))
