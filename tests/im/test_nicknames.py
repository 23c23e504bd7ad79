"""Nicknames: the rules of PRECIS, and who has which (RFC 7701 §7, RFC 8266)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.im.nicknames import LONGEST, BadNickname, Nicknames, comparable, enforced


class ProfileTests(SynchronousTestCase):
    def status(self, text: str) -> int:
        error: BadNickname = self.assertRaises(BadNickname, enforced, text)
        return error.status

    def test_shown(self) -> None:
        """Case is kept, spaces become one, compatibility characters ordinary (RFC 8266 §2.3)."""
        for text, shown in (
            ("Foo", "Foo"),
            ("  Foo  Bar ", "Foo Bar"),
            ("Foo\u00a0\u3000Bar", "Foo Bar"),
            ("\uff21lice", "Alice"),
            ("Richard \u2163", "Richard IV"),
            ("\u265a", "\u265a"),
            ("Alice in Wonderland", "Alice in Wonderland"),
        ):
            self.assertEqual(enforced(text), shown)

    def test_same(self) -> None:
        """Nicknames that differ in case, width or spaces are the same (RFC 8266 §2.4, §3)."""
        for one, other in (
            ("Foo", "foo"),
            ("Foo Bar", " foo   bar"),
            ("\u03a3", "\u03c3"),
            ("Richard \u2163", "richard iv"),
            ("\uff21LICE", "alice"),
        ):
            self.assertEqual(comparable(one), comparable(other))
        self.assertNotEqual(comparable("BOY"), comparable("B0Y"))  # RFC 7701 §7.1

    def test_malformed(self) -> None:
        """Control characters, nothing at all and too much of it are no nickname (424)."""
        for text in ("", "   ", "a\nb", "a\u200bb", "\ud800", "a" * (LONGEST + 1), "\ufffe"):
            self.assertEqual(self.status(text), 424)
        self.assertEqual(enforced("a" * LONGEST), "a" * LONGEST)
        self.assertEqual(self.status("\u00e9" * 512), 424)  # octets count, not characters

    @given(st.text(max_size=40))
    def test_laws(self, text: str) -> None:
        """Whatever is a nickname stays one, and is the same as itself."""
        try:
            shown = enforced(text)
        except BadNickname as error:
            self.assertEqual(error.status, 424)
            return
        self.assertEqual(enforced(shown), shown)
        self.assertTrue(0 < len(shown.encode()) <= LONGEST)
        try:
            key = comparable(text)
        except BadNickname:
            return
        self.assertEqual(comparable(shown), key)
        self.assertEqual(comparable(key), key)


class NicknamesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.names = Nicknames(quarantine=10.0, reserved=("Admin",))

    def refused(self, owner: str, device: object, text: str, now: float = 0.0) -> int:
        error: BadNickname = self.assertRaises(
            BadNickname, self.names.reserve, owner, device, text, now
        )
        return error.status

    def test_unique(self) -> None:
        """What one has another cannot get, however it is written (RFC 7701 §7.1, §11)."""
        self.assertEqual(self.names.reserve("a", 1, "Alice the great", 0), "Alice the great")
        self.assertEqual(self.refused("b", "2", "ALICE  the great"), 425)
        self.assertEqual(self.refused("b", "2", "admin"), 425)
        self.assertEqual(self.names.of("2"), "")
        self.assertEqual(self.names.reserve("b", "2", "Alice in Wonderland", 0)[:8], "Alice in")

    def test_devices(self) -> None:
        """Devices of one person may share a nickname, but none gets it unasked (§7.1)."""
        self.names.reserve("a", 1, "Al", 0)
        self.assertEqual(self.names.of(2), "")
        self.names.reserve("a", 2, "Al", 0)
        self.names.release(1, 0)
        self.assertEqual((self.names.of(1), self.names.of(2)), ("", "Al"))
        self.assertEqual(self.refused("b", "3", "al"), 425)

    def test_change(self) -> None:
        """The old nickname stays until the new one is granted (§7.2)."""
        self.names.reserve("a", 1, "Al", 0)
        self.names.reserve("b", 2, "Bob", 0)
        self.assertEqual(self.refused("a", 1, "bob"), 425)
        self.assertEqual(self.refused("a", 1, "\n"), 424)
        self.assertEqual(self.names.of(1), "Al")
        self.names.reserve("a", 1, "AL", 0)
        self.assertEqual(self.names.of(1), "AL")
        self.names.reserve("a", 1, "Ally", 0)
        self.assertEqual(self.names.of(1), "Ally")

    def test_quarantine(self) -> None:
        """Only its owner may take up a nickname again, until a while has gone by (§11)."""
        self.names.reserve("a", 1, "Al", 0)
        self.assertTrue(self.names.release(1, 0))
        self.assertFalse(self.names.release(1, 0))
        self.assertEqual(self.refused("b", "2", "Al", 9.9), 425)
        self.names.reserve("a", 3, "al", 9.9)
        self.names.release(3, 20)
        self.names.reserve("b", "2", "Al", 30)
        self.assertEqual(self.refused("a", "1", "Al", 30), 425)

    def test_quarantine_is_small(self) -> None:
        """Nobody can keep more than one nickname that nobody uses."""
        for number in range(100):
            self.names.reserve("a", 1, f"name {number}", 0)
        self.assertEqual(len(self.names), 2)
        self.names.reserve("b", 2, "name 3", 0)
        self.assertEqual(self.refused("b", "2", "name 98"), 425)
        self.names.release(1, 0)
        self.names.release(2, 0)
        self.names.sweep(100.0)
        self.assertEqual(len(self.names), 0)

    def test_reserved_is_checked(self) -> None:
        """A reserved word that is no nickname is an error of the configuration."""
        self.assertRaises(UsageError, Nicknames, 0.0, ("\n",))

    @given(
        st.lists(
            st.tuples(
                st.integers(0, 3),  # owner
                st.integers(0, 1),  # device of it
                st.sampled_from(["", "a", "A", "b", "c", "Admin"]),
                st.floats(0, 6),  # seconds gone
            ),
            max_size=40,
        )
    )
    def test_any_order(self, steps: list[tuple[int, int, str, float]]) -> None:
        """No two owners ever have the same nickname, and nothing is kept for ever."""
        names, now = Nicknames(10.0, ("admin",)), 0.0
        used: dict[tuple[int, int], str] = {}
        for owner, device, text, gone in steps:
            now += gone
            key = (owner, device)
            if not text:
                names.release(key, now)
                used.pop(key, None)
            else:
                try:
                    names.reserve(owner, key, text, now)
                    used[key] = text
                except BadNickname as error:
                    self.assertEqual(error.status, 425)
            for one, what in used.items():
                self.assertEqual(names.of(one).lower(), what.lower())
            taken = {(text.lower(), one[0]) for one, text in used.items()}
            self.assertEqual(len(taken), len({text for text, _ in taken}))
        for one in used:
            names.release(one, now)
        names.sweep(now + 11.0)
        self.assertEqual(len(names), 0)
