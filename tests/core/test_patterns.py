"""Extended regular expressions: what they match, and that no subject makes them slow."""

from __future__ import annotations

import re
from time import process_time

from hypothesis import given
from hypothesis.strategies import SearchStrategy, one_of, recursive, sampled_from, text, tuples
from twisted.trial.unittest import SynchronousTestCase

from omaim.core.patterns import LENGTH, BadPattern, Pattern

atoms = sampled_from(["a", "b", ".", "[ab]", "[^a]", "x", "^", "$", "\\.", "()"])


def _grow(inner: SearchStrategy[str]) -> SearchStrategy[str]:
    repeated = tuples(inner, sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}"]))
    return one_of(
        tuples(inner, inner).map("".join),
        tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        repeated.map(lambda two: f"({two[0]}){two[1]}"),
    )


expressions = recursive(atoms, _grow, max_leaves=8)


class PatternTests(SynchronousTestCase):
    """IEEE 1003.1 §9.4."""

    @given(expressions, text("abx.", max_size=8))
    def test_like_re(self, expression: str, subject: str) -> None:
        """On what both understand, the verdict is that of the standard library."""
        wanted = re.search(expression.replace("$", r"\Z"), subject) is not None
        self.assertEqual(Pattern(expression).search(subject), wanted)

    def test_examples(self) -> None:
        """Classes, bounds, escapes, anchors."""
        for expression, subject, wanted in [
            ("[[:alpha:]]{3}", "ab1", False),
            ("[[:alpha:]]{3}", "1abc", True),
            ("[]x]", "]", True),
            ("[a-]", "-", True),
            ("[^[:space:]a-c]", "a b", False),
            ("\\+g\\.oma\\.sip-im", "*;+g.oma.sip-im", True),
            ("\\+g\\.oma\\.sip-im", "*;+g-oma.sip-im", False),
            ("^sip:\\d+@", "sip:12@x", True),
            ("^abc$", "abc", True),
            ("^abc", "xabc", False),
            ("abc$", "xabc", True),
            ("", "anything", True),
            ("a{2,}b", "aab", True),
            ("é.", "xéy", True),
        ]:
            self.assertEqual(Pattern(expression).search(subject), wanted, (expression, subject))

    def test_refused(self) -> None:
        """What is no expression, or too large a one."""
        for expression in [
            "(", ")", "[", "[a", "*", "a**", "a{", "a{2,1}", "a{99}", "a{,2}", "a{2x}", "\\", "\\q",
            "[[:nope:]]", "[b-a]", "[[.a.]]", "^*", "(?=a)", "\\1", "(" * 30 + ")" * 30,
            "((a{60}){60})", "(" * 12 + "){64}" * 12, "a" * (LENGTH + 1),
        ]:  # fmt: skip
            with self.assertRaises(BadPattern):
                Pattern(expression)

    @given(text("ab()[]{}*+?|^$.\\,1-:", max_size=20))
    def test_junk(self, expression: str) -> None:
        """Any text is an expression or raises BadPattern."""
        try:
            Pattern(expression).search("ab1(")
        except BadPattern:
            pass

    def test_no_catastrophe(self) -> None:
        """What makes backtracking explode costs little here."""
        start = process_time()
        for expression in ["(a*)*b", "(a|a)*b", "a*a*a*a*a*b", "(a|aa)+$x", "(.*)(.*)(.*)=(.*)x"]:
            self.assertFalse(Pattern(expression).search("a" * 100_000))
        self.assertFalse(Pattern("(a|b)*a(a|b){12}c").search("abbab" * 2000))
        self.assertLess(process_time() - start, 3.0)

    def test_values(self) -> None:
        """Patterns of the same text are equal."""
        self.assertEqual({Pattern("a"), Pattern("a")}, {Pattern("a")})
        self.assertEqual(repr(Pattern("a")), "Pattern('a')")
