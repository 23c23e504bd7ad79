"""Features, caller preferences and the order that follows from them."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis.strategies import booleans, floats, lists, sampled_from, text, tuples
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.grammar import parse_params
from omaim.sip.features import Features, Filter, feature_tag, parse_filters
from omaim.sip.message import Request
from omaim.sip.preferences import (
    NO_CANCEL,
    NO_FORK,
    NO_QUEUE,
    PARALLEL,
    RECURSE,
    REDIRECT,
    SEQUENTIAL,
    Predicate,
    PreferenceReader,
    Target,
    arrange,
    disposition,
    redirection,
)


def request(*headers: tuple[str, str], method: str = "INVITE") -> Request:
    return Request.make(method, "sip:user@example.com", list(headers))


def features(params: str) -> Features:
    return Features.of(parse_params(params))


def targets(*contacts: tuple[str, int, str]) -> list[Target]:
    return [Target(uri, q, features(params)) for uri, q, params in contacts]


def ordered(found: list[Target], *headers: tuple[str, str], method: str = "INVITE") -> list[str]:
    reader = PreferenceReader()
    return [one.uri for one in reader.read(request(*headers, method=method)).order(found)]


def meet(one: str, other: str) -> bool:
    return parse_filters(one)[0].meets(parse_filters(other)[0])


class FilterTests(SynchronousTestCase):
    """RFC 3840 §9, RFC 3841 §7.2.4, §8."""

    def test_tags(self) -> None:
        """Base tags belong to the sip tree, but for language and type; others have a plus."""
        self.assertEqual(feature_tag("audio"), "sip.audio")
        self.assertEqual(feature_tag("language"), "language")
        self.assertEqual(feature_tag("+g.oma.sip-im"), "g.oma.sip-im")
        self.assertEqual(feature_tag("+u.x!y'z"), "u.x:y/z")
        self.assertEqual(feature_tag("q"), "")

    def test_example(self) -> None:
        """The example of RFC 3841 §8."""
        found = features(
            ';mobility="fixed";events="!presence,message-summary";language="en,de"'
            ';description="<PC>";+sip.newparam;+rangeparam="#-4:+5.125";q=0.3;other=1'
        ).terms
        self.assertEqual(
            sorted(found),
            [
                "language",
                "rangeparam",
                "sip.description",
                "sip.events",
                "sip.mobility",
                "sip.newparam",
            ],
        )
        self.assertEqual([one.negated for one in found["sip.events"]], [True, False])
        (numbers,) = found["rangeparam"]
        self.assertEqual((numbers.low, numbers.high), (-4.0, 5.125))

    def test_tokens_and_strings(self) -> None:
        """Tokens compare without case, strings with; the two never match."""
        self.assertTrue(meet("INVITE", "invite"))
        self.assertTrue(meet("<PC>", "<PC>"))
        self.assertFalse(meet("<PC>", "<pc>"))
        self.assertFalse(meet("<PC>", "PC"))
        self.assertFalse(meet("TRUE", "FALSE"))

    def test_negation(self) -> None:
        """A negated token is everything but that."""
        self.assertFalse(meet("!presence", "presence"))
        self.assertTrue(meet("!presence", "reg"))
        self.assertTrue(meet("!presence", "!reg"))

    def test_numbers(self) -> None:
        """Numbers match when their ranges do."""
        for one, other, wanted in [
            ("#=5", "#>=4", True),
            ("#=5", "#<=4", False),
            ("#1:3", "#3:5", True),
            ("#1:2.5", "#2.75:5", False),
            ("!#=5", "#=5", False),
            ("!#=5", "#4:5", True),
            ("!#>=5", "#<=4.9", True),
            ("!#>=5", "#>=5", False),
            ("!#>=5", "!#<=5", False),
            ("!#>=5", "!#<=4", True),
            ("!#1:2", "!#2:9", True),
            ("#=-1", "#=-1.0", True),
            ("#=5", "5", False),
        ]:
            self.assertEqual(meet(one, other), wanted, (one, other))
            self.assertEqual(meet(other, one), wanted, (other, one))

    @given(
        lists(
            tuples(booleans(), sampled_from([0, 1, 2, 3]), sampled_from([0, 1, 2, 3])),
            max_size=2,
            min_size=2,
        ),
        booleans(),
    )
    def test_numbers_by_trying(self, ranges: list[tuple[bool, int, int]], open_: bool) -> None:
        """Two ranges match if some number is in both, found by trying (RFC 2533 §4)."""
        made = []
        for negated, low, size in ranges:
            high = float("inf") if open_ and size == 3 else float(low + size)
            made.append(Filter(2, negated, "", float(low), high))
        points = [n / 2 for n in range(-2, 20)]

        def inside(one: Filter, point: float) -> bool:
            return (one.low <= point <= one.high) != one.negated

        wanted = any(inside(made[0], point) and inside(made[1], point) for point in points)
        self.assertEqual(made[0].meets(made[1]), wanted)

    @given(
        text(max_size=20) | sampled_from(["#", "#=", "#>=x", "!", ",", "<", "#1", "#1:", "a,,b"])
    )
    def test_junk(self, value: str) -> None:
        """What is no value raises PeerError, and a contact that says it says nothing."""
        try:
            parse_filters(value)
        except PeerError:
            pass
        quoted = value.replace("\\", "").replace('"', "").replace("\r", "").replace("\n", "")
        Features.of(parse_params(f';+a="{quoted}";audio'))

    def test_bad_values(self) -> None:
        """A malformed feature of a contact counts as absent; of a request it is refused."""
        self.assertEqual(list(features(';audio="#x";video').terms), ["sip.video"])
        for value in ['*;audio="#x"', "audio", "*;audio;audio", '*;class=","', "", ";audio"]:
            with self.assertRaises(PeerError):
                Predicate.parse(value)

    @given(floats(0, 1000), floats(0, 1000))
    def test_any_number(self, one: float, other: float) -> None:
        """Numbers are compared as numbers, not as text."""
        self.assertEqual(meet(f"#={one:.3f}", f"#<={other:.3f}"), round(one, 3) <= round(other, 3))


class OrderTests(SynchronousTestCase):
    """RFC 3841 §7.2."""

    def test_example(self) -> None:
        """The example of RFC 3841 §7.2.5: u5, u1, u4."""
        found = targets(
            ("u1", 200, ';audio;video;methods="INVITE,BYE";q=0.2'),
            ("u2", 200, ';audio="FALSE";methods="INVITE";actor="msg-taker";q=0.2'),
            ("u3", 300, ';audio;actor="msg-taker";methods="INVITE";video;q=0.3'),
            ("u4", 200, ';audio;methods="INVITE,OPTIONS";q=0.2'),
            ("u5", 500, ";q=0.5"),
        )
        headers = [
            ("Reject-Contact", '*;actor="msg-taker";video'),
            ("Accept-Contact", "*;audio;require"),
            ("Accept-Contact", "*;video;explicit"),
            ("Accept-Contact", '*;methods="BYE";class="business";q=1.0'),
        ]
        self.assertEqual(ordered(found, *headers), ["u5", "u1", "u4"])
        self.assertAlmostEqual(found[0].score, 2.5 / 3)
        self.assertAlmostEqual(found[3].score, 0.5)
        self.assertEqual(found[4].score, 1.0)

    def test_flags(self) -> None:
        """require and explicit, as the figure of §7.2.4 has them."""
        for flags, wanted in [
            ("", ["yes", "partly", "no"]),
            (";explicit", ["yes", "no", "partly"]),  # both count for nothing: order as given
            (";require", ["yes", "partly"]),
            (";require;explicit", ["yes"]),
        ]:
            found = targets(
                ("no", 1000, ';+a="x,y";+b'),
                ("partly", 1000, ";+b"),
                ("yes", 1000, ';+a="z";+b'),
            )
            self.assertEqual(ordered(found, ("Accept-Contact", f'*;+a="Z";+b{flags}')), wanted)
            scores = {one.uri: one.score for one in found}
            if flags == "":
                self.assertEqual(scores["partly"], 0.5)
            elif flags == ";explicit":
                self.assertEqual(scores["partly"], 0.0)

    def test_q_first(self) -> None:
        """The caller's wish does not go before the callee's q."""
        found = targets(("low", 100, ";audio"), ("high", 900, ";video"))
        self.assertEqual(ordered(found, ("Accept-Contact", "*;audio")), ["high", "low"])

    def test_immune(self) -> None:
        """A contact that says nothing of itself is never sorted out."""
        found = [Target("silent"), *targets(("other", 1000, ";video"))]
        header = ("Accept-Contact", "*;audio;require;explicit")
        self.assertEqual(ordered(found, header), ["silent"])

    def test_none_left(self) -> None:
        """Stated preferences may leave nobody; concluded ones fall back to all."""
        found = targets(("a", 100, ';methods="INVITE"'), ("b", 200, ';methods="INVITE"'))
        self.assertEqual(ordered(found, ("Accept-Contact", "*;video;require;explicit")), [])
        self.assertEqual(ordered(found, method="MESSAGE"), ["b", "a"])

    def test_implicit(self) -> None:
        """Without stated preferences the method, and the event, are wanted (§7.2.2)."""
        found = targets(("a", 1000, ';methods="INVITE"'), ("b", 100, ';methods="message,BYE"'))
        self.assertEqual(ordered(found, method="MESSAGE"), ["b"])
        found = targets(("a", 1000, ';events="reg"'), ("b", 100, ';events="presence"'))
        event = ("Event", "presence;id=2")
        self.assertEqual(ordered(found, event, method="SUBSCRIBE"), ["b"])

    def test_reject_needs_all(self) -> None:
        """Reject-Contact counts only if the contact speaks of every feature in it."""
        found = targets(("a", 1000, ';actor="msg-taker"'), ("b", 1000, ";+x"))
        self.assertEqual(
            ordered(found, ("Reject-Contact", '*;actor="msg-taker";video')), ["a", "b"]
        )
        self.assertEqual(ordered(found, ("Reject-Contact", '*;actor="msg-taker"')), ["b"])

    def test_im(self) -> None:
        """The IM feature tag picks the devices that have it."""
        found = targets(("phone", 1000, ";audio"), ("im", 1000, ";+g.oma.sip-im"))
        header = ("Accept-Contact", "*;+g.oma.sip-im;require;explicit")
        self.assertEqual(ordered(found, header, method="MESSAGE"), ["im"])

    def test_limits(self) -> None:
        """More preferences or features than anyone needs are refused."""
        with self.assertRaises(PeerError):
            PreferenceReader().read(request(*[("Accept-Contact", "*;audio")] * 21))
        with self.assertRaises(PeerError):
            Predicate.parse("*" + "".join(f";+a{n}" for n in range(41)))
        with self.assertRaises(PeerError):
            Predicate.parse(f'*;class="{"a," * 60}a"')

    def test_remembered(self) -> None:
        """The same text gives the same object; what is remembered is bounded."""
        reader = PreferenceReader(2)
        one = reader.features(";audio")
        self.assertIs(one, reader.features(";audio"))
        for n in range(5):
            reader.features(f";+a{n}")
            reader.read(request(("Accept-Contact", f"*;+a{n}")))
        self.assertIsNot(one, reader.features(";audio"))
        self.assertEqual(reader.features('junk;"').terms, {})


class ArrangeTests(SynchronousTestCase):
    """RFC 3841 §9.1, RFC 3261 §16.6."""

    def uris(self, bits: int = 0) -> list[list[str]]:
        found = [Target("a", 900), Target("b", 900), Target("c", 500)]
        return [[one.uri for one in group] for group in arrange(found, bits)]

    def test_groups(self) -> None:
        """Equal ones at once, unless the caller wishes otherwise."""
        self.assertEqual(self.uris(), [["a", "b"], ["c"]])
        self.assertEqual(self.uris(PARALLEL), [["a", "b", "c"]])
        self.assertEqual(self.uris(SEQUENTIAL), [["a"], ["b"], ["c"]])
        self.assertEqual(self.uris(NO_FORK), [["a"]])
        self.assertEqual(arrange([], PARALLEL), [])

    def test_scores(self) -> None:
        """Whom the caller likes less is tried later."""
        found = [Target("a"), Target("b")]
        found[1].score = 0.5
        self.assertEqual(len(arrange(found, 0)), 2)

    def test_disposition(self) -> None:
        """All directives; of a contradictory pair the first one."""
        sent = request(
            ("Request-Disposition", "Redirect, no-cancel"),
            ("Request-Disposition", "recurse,no-recurse, parallel , nonsense, no-queue"),
        )
        self.assertEqual(disposition(sent), REDIRECT | NO_CANCEL | RECURSE | PARALLEL | NO_QUEUE)
        self.assertEqual(disposition(request(("Request-Disposition", "proxy,redirect"))), 0)
        self.assertEqual(disposition(request()), 0)

    def test_redirection(self) -> None:
        """A redirect keeps the order and tells no features (RFC 3841 §7.2.4)."""
        groups = arrange([Target("sip:a@x", 900), Target("sip:b@x", 900), Target("sip:c@x", 1)], 0)
        self.assertEqual(
            redirection(groups), ["<sip:a@x>;q=1.0", "<sip:b@x>;q=1.0", "<sip:c@x>;q=0.500"]
        )

    @given(lists(tuples(sampled_from([0, 500, 1000]), sampled_from(["", ";audio", ";video"]))))
    def test_sorted(self, found: list[tuple[int, str]]) -> None:
        """Whatever the contacts, q never rises, and every target is there once."""
        made = targets(*((f"u{n}", q, params) for n, (q, params) in enumerate(found)))
        reader = PreferenceReader()
        for header, bits in product(("*;audio", "*;video;explicit"), (0, PARALLEL, SEQUENTIAL)):
            order = reader.read(request(("Accept-Contact", header))).order(made)
            self.assertEqual({one.uri for one in order}, {one.uri for one in made})
            self.assertEqual(
                [one.q for one in order], sorted((one.q for one in made), reverse=True)
            )
            flat = [one for group in arrange(order, bits) for one in group]
            self.assertEqual(flat, order)
