"""omaim/bodies/media_types.py: RFC 4975 §8.6."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.media_types import Accepts, parse_types

words = st.text('abc*/+;."\\= ', max_size=40)
entries = st.sampled_from(["*", "text/*", "text/plain", "TEXT/html;charset=utf-8", "image/png"])


class TypesTests(SynchronousTestCase):
    def test_parse(self) -> None:
        """Entries stand between spaces; parameters may be quoted; others are overlooked."""
        for value, expected in (
            (" message/cpim text/plain ", ("message/cpim", "text/plain")),
            ("text/* *", ("text/*", "*")),
            (
                'text/plain;format="a b\\" c" image/png',
                ('text/plain;format="a b\\" c"', "image/png"),
            ),
            ("text /plain */* a/b/c ;x", ()),
            ('image/png text/x;y="z', ("image/png", 'text/x;y="z')),
        ):
            self.assertEqual(parse_types(value), expected)

    def test_takes(self) -> None:
        """``*`` stands for everything, ``type/*`` for subtypes; parameters do not matter."""
        one = Accepts(("message/cpim", "text/plain;charset=utf-8"), ("image/*",))
        for media_type, alone, wrapped in (
            ("message/cpim", True, True),
            ("Text/Plain", True, True),
            ("text/plain;format=flowed", True, True),
            ("text/html", False, False),
            ("image/png", False, True),
            ("imagery/png", False, False),
            ("", False, False),
        ):
            self.assertEqual(one.takes(media_type), alone, media_type)
            self.assertEqual(one.takes_wrapped(media_type), wrapped, media_type)
        self.assertTrue(Accepts(("text/plain", "*")).takes("a/b"))
        self.assertFalse(Accepts(("message/cpim",), ("*",)).takes("a/b"))
        self.assertTrue(Accepts(("message/cpim",), ("*",)).takes_wrapped("a/b"))

    def test_cpim_first(self) -> None:
        """Who names CPIM first wants it around everything (RFC 4975 §13)."""
        self.assertTrue(Accepts(("Message/CPIM", "text/plain")).wants_cpim)
        self.assertFalse(Accepts(("text/plain", "message/cpim")).wants_cpim)
        self.assertFalse(Accepts(()).wants_cpim)

    def test_meets(self) -> None:
        for one, other, expected in (
            ("text/plain text/html", "text/html", True),
            ("text/plain", "text/html", False),
            ("text/*", "text/html", True),
            ("image/png", "*", True),
            ("text/*", "text/*", True),
            ("text/*", "image/*", False),
        ):
            ours, theirs = Accepts(parse_types(one)), Accepts(parse_types(other))
            self.assertEqual(ours.meets(theirs), expected)
            self.assertEqual(theirs.meets(ours), expected)

    @given(value=words)
    def test_junk(self, value: str) -> None:
        """Whatever comes is read, and reading again what was read gives the same."""
        found = parse_types(value)
        self.assertEqual(parse_types(" ".join(found)), found)
        self.assertFalse(Accepts(found).takes("x/nothing") and "*" not in found)

    def test_unended_quotes(self) -> None:
        """A string that never ends costs no more than one that does."""
        self.assertEqual(parse_types('"' + '\\"' * 30_000), ())

    @given(one=st.lists(entries, max_size=4), other=st.lists(entries, max_size=4))
    def test_meets_is_symmetric(self, one: list[str], other: list[str]) -> None:
        ours, theirs = Accepts(tuple(one)), Accepts(tuple(other))
        self.assertEqual(ours.meets(theirs), theirs.meets(ours))
        if any(theirs.takes(entry) for entry in one):
            self.assertTrue(ours.meets(theirs))
