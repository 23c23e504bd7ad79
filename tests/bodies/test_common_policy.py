"""omaim/bodies/common_policy.py: RFC 4745, and what OMA adds."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.common_policy import (
    ACCESS_ACTIONS,
    ALLOW_INVITE,
    ANONYMOUS_REQUEST,
    BOOLEAN,
    EXTENSIONS,
    INVITATION,
    NAMESPACE,
    OTHER_IDENTITY,
    RULES,
    Asker,
    Condition,
    ExternalList,
    Identity,
    Kind,
    Many,
    Other,
    Permission,
    Rule,
    Sphere,
    Validity,
    evaluate,
    external_lists,
    identity_key,
    parse_ruleset,
    write_ruleset,
)
from omaim.errors import PeerError
from omaim.testing.strategies import mutated

VECTORS = Path(__file__).parents[1] / "vectors" / "common-policy"
X = "{urn:x}allow"
BOB = "sip:bob@example.com"
ALICE = "sip:alice@example.com"

words = st.text("abc", min_size=1, max_size=3)
people = st.sampled_from([ALICE, BOB, "tel:+1-212-555-1234", "sip:bob@other.example"])
domains = st.sampled_from(["example.com", "other.example"])
manies = st.builds(
    Many,
    st.just("") | domains,
    st.lists(people, max_size=2).map(tuple),
    st.lists(domains, max_size=2).map(tuple),
)
moments = st.integers(0, 2**32).map(float) | st.integers(0, 10**6).map(lambda one: one + 0.5)
conditions = st.one_of(
    st.builds(
        Identity, st.lists(people, max_size=2).map(tuple), st.lists(manies, max_size=2).map(tuple)
    ),
    st.builds(Sphere, st.lists(words, max_size=2).map(tuple)),
    st.builds(Validity, st.lists(st.tuples(moments, moments), max_size=2).map(tuple)),
    st.builds(ExternalList, st.lists(words, max_size=2).map(tuple)),
    st.sampled_from(
        [
            Other(OTHER_IDENTITY),
            Other(ANONYMOUS_REQUEST),
            Other("{urn:x}is-friend", "true"),
            Other(f"{{{EXTENSIONS}}}media-list", "", (f"{{{EXTENSIONS}}}message-session",)),
        ]
    ),
)
permissions = st.lists(
    st.sampled_from(
        [
            Permission(X, "true"),
            Permission(X, "false"),
            Permission("{urn:x}set", "", (("{urn:y}class", "a"), ("{urn:y}class", "b"))),
        ]
    ),
    max_size=2,
).map(tuple)
rulesets = st.lists(
    st.builds(Rule, words, st.lists(conditions, max_size=3).map(tuple), permissions, permissions),
    max_size=4,
    unique_by=lambda one: one.id,
).map(tuple)
askers = st.builds(
    Asker, st.lists(people, max_size=2).map(tuple), moments, st.booleans(), st.just("") | words
)


def ruleset(inner: str) -> bytes:
    return f"<ruleset xmlns='{NAMESPACE}'>{inner}</ruleset>".encode()


def rule(inner: str) -> bytes:
    return ruleset(f"<rule id='r'><conditions>{inner}</conditions></rule>")


def allows(asker: Asker, *rules: tuple[Condition, ...], listed: str = "") -> bool:
    """Tell whether the asker is allowed X, which each rule gives under its conditions."""
    made = [Rule(str(at), one, (Permission(X, "true"),)) for at, one in enumerate(rules)]
    given = evaluate(made, asker, {X: BOOLEAN}, listed=lambda anchor: anchor == listed)
    return bool(given[X])


def asks(*identities: str, now: float = 0.0, anonymous: bool = False, sphere: str = "") -> Asker:
    return Asker(identities, now, anonymous, sphere)


class DocumentTests(SynchronousTestCase):
    @given(rules=rulesets)
    def test_write_then_parse(self, rules: tuple[Rule, ...]) -> None:
        self.assertEqual(parse_ruleset(write_ruleset(rules)), rules)

    @given(
        data=st.binary(max_size=60)
        | mutated([path.read_bytes() for path in sorted(VECTORS.glob("*.xml"))])
    )
    def test_junk(self, data: bytes) -> None:
        try:
            parse_ruleset(data)
        except PeerError:
            pass

    def test_rfc_examples(self) -> None:
        """The documents of RFC 4745 and RFC 5025 are read, and written back mean the same."""
        paths = sorted(VECTORS.glob("*.xml"))
        self.assertEqual(len(paths), 8)
        for path in paths:
            rules = parse_ruleset(path.read_bytes())
            self.assertTrue(rules)
            self.assertEqual(parse_ruleset(write_ruleset(rules)), rules)

    def test_refused(self) -> None:
        for data in (
            ruleset("<rule/>"),
            ruleset("<rule id='a'/><rule id='a'/>"),
            rule("<identity><one/></identity>"),
            rule("<identity><many><except/></many></identity>"),
            rule("<validity><until>2003-12-24T17:00:00Z</until></validity>"),
            rule("<validity><from>2003-12-24T17:00:00Z</from></validity>"),
            rule("<validity><from>now</from><until>then</until></validity>"),
            b"<ruleset/>",
        ):
            self.assertRaises(PeerError, parse_ruleset, data)
        many = "".join(f"<rule id='r{n}'/>" for n in range(RULES + 1))
        self.assertEqual(self.assertRaises(PeerError, parse_ruleset, ruleset(many)).status, 413)

    def test_external_lists(self) -> None:
        one = ExternalList(("a", "b"))
        rules = [Rule("1", (one,)), Rule("2", (Sphere(("x",)), ExternalList(("b", "c"))))]
        self.assertEqual(external_lists(rules), ("a", "b", "c"))


class IdentityTests(SynchronousTestCase):
    def permitted(self, name: str, asker: Asker) -> bool:
        [one] = parse_ruleset((VECTORS / name).read_bytes())
        return allows(asker, one.conditions)

    def test_one(self) -> None:
        """RFC 4745 §7.1.2."""
        name = "rfc4745-01-s7.1.2-ruleset.xml"
        for identity, expected in (
            ("sip:alice@example.com", True),
            ("tel:+12125551234", True),
            ("mailto:bob@example.net", True),
            ("sip:bob@example.net", False),
        ):
            self.assertEqual(self.permitted(name, asks(identity)), expected)
        self.assertFalse(self.permitted(name, asks()))
        self.assertTrue(self.permitted(name, asks("sip:x@y", "sip:alice@example.com")))

    def test_anybody(self) -> None:
        """RFC 4745 §7.1.3.1: anyone who is authenticated."""
        name = "rfc4745-02-s7.1.3.1-ruleset.xml"
        self.assertTrue(self.permitted(name, asks(BOB)))
        self.assertFalse(self.permitted(name, asks()))

    def test_except(self) -> None:
        """RFC 4745 §7.1.3.2, with its sphere and validity."""
        name = "rfc4745-03-s7.1.3.2-ruleset.xml"
        during = 1072285200.0  # 2003-12-24T18:00:00+01:00
        for identity, now, sphere, expected in (
            ("sip:carol@example.net", during, "work", True),
            ("sip:carol@example.net", during, "WORK", True),
            ("sip:carol@example.net", during, "home", False),
            ("sip:carol@example.net", during, "", False),
            ("sip:carol@example.net", during + 3600, "work", False),
            ("sip:carol@example.net", during - 3600, "work", True),
            ("sip:carol@example.net", during - 3601, "work", False),
            ("sip:carol@EXAMPLE.com", during, "work", False),
            ("sip:carol@example.org", during, "work", False),
            ("sip:alice@bad.example.net", during, "work", False),
            ("sip:bob@bad.example.net", during, "work", True),
            ("tel:+12125551234", during, "work", False),
            ("tel:+12125551235", during, "work", True),
        ):
            asker = asks(identity, now=now, sphere=sphere)
            self.assertEqual(self.permitted(name, asker), expected, (identity, now, sphere))

    def test_domain(self) -> None:
        """RFC 4745 §7.1.3.3; domains are compared as ASCII, decoded (§7.1.3)."""
        name = "rfc4745-04-s7.1.3.3-ruleset.xml"
        for identity, expected in (
            ("sip:carol@example.com", True),
            ("sip:carol@example.com:5070;transport=tcp", True),
            ("sip:alice@example.com", False),
            ("sip:carol@sub.example.com", False),
            ("tel:+1", False),
        ):
            self.assertEqual(self.permitted(name, asks(identity)), expected)
        for domain in ("b%C3%BCcher.example", "bücher.example", "xn--bcher-kva.example"):
            one = Identity(many=(Many(domain),))
            self.assertTrue(allows(asks("sip:a@xn--bcher-kva.example"), (one,)), domain)
        broken = Identity(many=(Many("x" * 70 + ".example"),))
        self.assertFalse(allows(asks("sip:a@" + "x" * 70 + ".example"), (broken,)))

    def test_keys(self) -> None:
        """What is the same user, and what is not."""
        for one, other, same in (
            ("sip:bob@Example.com", "SIP:bob@example.com:5060;a=b?c=d", True),
            ("<sip:bob@example.com>", "sip:%62ob@example.com", True),
            ("sip:bob@example.com", "sip:Bob@example.com", False),
            ("sip:bob@example.com", "sips:bob@example.com", False),
            ("tel:+1 (212) 555-1234", "tel:+12125551234;phone-context=x", True),
            ("sip:+1;x=1@h", "sip:+1;x=2@h", False),
            ("sip:%ff@h", "sip:%fe@h", False),
            ("sip:a@[2001:DB8::1]:5060", "sip:a@[2001:db8::1]", True),
            ("sip:example.com", "sip:example.com:5060", True),
            ("bob", "BOB", True),
        ):
            self.assertEqual(identity_key(one) == identity_key(other), same, (one, other))

    @given(uri=st.text(max_size=30) | people)
    def test_key_of_junk(self, uri: str) -> None:
        self.assertIsInstance(identity_key(uri), str)


class EvaluationTests(SynchronousTestCase):
    def test_rfc_example(self) -> None:
        """RFC 4745 §10.3: only rules 3 and 5 fire; the highest of each column counts."""
        a1, a2, a3, b1, b2 = 1072281600, 1072296000, 1072305000, 1072108800, 1072195200
        numbers: Kind = [(str(n),) for n in range(13)]
        kinds: dict[str, Kind] = {"X": BOOLEAN, "Y": numbers, "Z": (("-",), ("o",), ("+",))}
        rules = []
        for id, who, sphere, start, end, x, y, z in (
            ("1", "bob", "home", a1, a2, "true", "10", "o"),
            ("2", "alice", "work", a1, a2, "false", "5", "+"),
            ("3", "bob", "work", a1, a2, "true", "3", "-"),
            ("4", "tom", "work", a1, a2, "true", "5", "+"),
            ("5", "bob", "work", a1, a3, "", "12", "o"),
            ("6", "bob", "work", b1, b2, "false", "10", "-"),
        ):
            made = (
                Identity((f"sip:{who}@example.com",)),
                Sphere((sphere,)),
                Validity(((float(start), float(end)),)),
            )
            actions = tuple(Permission(*one) for one in (("X", x), ("Y", y)) if one[1])
            rules.append(Rule(id, made, actions, (Permission("Z", z),)))
        asker = asks(BOB, now=a1 + 900.0, sphere="work")
        self.assertEqual(evaluate(rules, asker, kinds), {"X": 1, "Y": 12, "Z": 1})

    def test_nothing(self) -> None:
        """Nothing said is the least; unknown conditions are false (RFC 4745 §7, §10.2)."""
        self.assertEqual(evaluate([], asks(BOB), ACCESS_ACTIONS), dict.fromkeys(ACCESS_ACTIONS, 0))
        self.assertFalse(allows(asks(BOB), (Other("{urn:x}unknown"),)))
        self.assertFalse(allows(asks(BOB), (Identity(),)))
        self.assertFalse(allows(asks(BOB), (Identity((BOB,)), Other("{urn:x}unknown"))))
        self.assertTrue(allows(asks(), ()))

    def test_values(self) -> None:
        """Booleans by OR, choices by the highest; what is no value is the least."""
        for texts, expected in (
            (["false", "true"], 1),
            (["0", "1"], 1),
            (["block"], 0),
            (["allow"], 1),
            (["maybe"], 0),
        ):
            rules = [Rule(str(at), (), (Permission(X, text),)) for at, text in enumerate(texts)]
            self.assertEqual(evaluate(rules, asks(BOB), {X: BOOLEAN})[X], expected)
        rules = [
            Rule("1", (), (Permission(ALLOW_INVITE, "accept"),)),
            Rule("2", (), (Permission(ALLOW_INVITE, "reject"),)),
        ]
        self.assertEqual(evaluate(rules, asks(BOB), {ALLOW_INVITE: INVITATION})[ALLOW_INVITE], 2)

    def test_precedence(self) -> None:
        """Named users, then lists, then anonymous askers, then everybody else (OMA)."""
        named = Identity((BOB,))
        in_list = ExternalList(("friends",))
        nameless = Other(ANONYMOUS_REQUEST)
        others = Other(OTHER_IDENTITY)
        values: Kind = (("none",), ("others",), ("nameless",), ("list",), ("named",))
        everything = [
            Rule("a", (others,), (Permission(X, "others"),)),
            Rule("b", (nameless,), (Permission(X, "nameless"),)),
            Rule("c", (in_list,), (Permission(X, "list"),)),
            Rule("d", (named,), (Permission(X, "named"),)),
        ]
        # The least value for the most particular rule: it wins all the same.
        reverse: Kind = tuple(reversed(values))
        for asker, listed, expected in (
            (asks(BOB), True, "named"),
            (asks(BOB, anonymous=True), True, "named"),
            (asks(ALICE), True, "list"),
            (asks(ALICE, anonymous=True), False, "nameless"),
            (asks(anonymous=True), True, "nameless"),
            (asks(ALICE), False, "others"),
            (asks(), False, "none"),
        ):
            for kind in (values, reverse):
                found = evaluate(
                    everything, asker, {X: kind}, listed=[lambda _: False, lambda _: True][listed]
                )
                said = kind[found[X]] if expected != "none" else ("none",)
                self.assertEqual(said, (expected,), (asker, listed))

    def test_for_all(self) -> None:
        """Rules that do not ask who it is add to whatever else matches."""
        y = "{urn:x}other"
        rules = [
            Rule("1", (Validity(((0.0, 10.0),)),), (Permission(y, "true"),)),
            Rule("2", (Other(OTHER_IDENTITY),), (Permission(X, "true"),)),
        ]
        kinds = {X: BOOLEAN, y: BOOLEAN}
        self.assertEqual(evaluate(rules, asks(BOB, now=5.0), kinds), {X: 1, y: 1})
        self.assertEqual(evaluate(rules, asks(now=5.0), kinds), {X: 0, y: 1})
        self.assertEqual(evaluate(rules, asks(BOB, now=10.0), kinds), {X: 1, y: 0})

    def test_lists(self) -> None:
        self.assertTrue(allows(asks(BOB), (ExternalList(("a", "b")),), listed="b"))
        self.assertFalse(allows(asks(BOB), (ExternalList(("a",)),), listed="b"))
        self.assertFalse(allows(asks(), (ExternalList(("a",)),), listed="a"))

    @given(rules=rulesets, asker=askers, more=permissions)
    def test_never_less(
        self, rules: tuple[Rule, ...], asker: Asker, more: tuple[Permission, ...]
    ) -> None:
        """A further permission for all takes nothing from anybody (RFC 4745 §8: no deny)."""
        kinds = {X: BOOLEAN}
        before = evaluate(rules, asker, kinds)
        after = evaluate((*rules, Rule("new", (), more)), asker, kinds)
        self.assertGreaterEqual(after[X], before[X])

    @given(rules=rulesets, asker=askers)
    def test_order_does_not_matter(self, rules: tuple[Rule, ...], asker: Asker) -> None:
        kinds = {X: BOOLEAN}
        self.assertEqual(evaluate(rules, asker, kinds), evaluate(rules[::-1], asker, kinds))
