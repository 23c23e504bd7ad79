"""What a device says of itself: feature parameters as sets of values per feature tag.

Two sets that have a value in common match.

Differs: values of different kinds (token, string, number) never match, negated or not; a
malformed feature of a registered contact counts as absent, one of a request is refused.

Spec: RFC 3840 §5, §9; RFC 3841 §7.2.3, §8; RFC 2533 (what a match is)
"""

from __future__ import annotations

import re
from typing import Final, final

from omaim.errors import PeerError
from omaim.grammar import Params

TERMS: Final = 40  # feature parameters of one contact, or of one preference
VALUES: Final = 40  # values of one feature parameter

# Kinds of values.
TOKEN: Final = 0
STRING: Final = 1
NUMBER: Final = 2
_INFINITY: Final = float("inf")

_is_number: Final = re.compile(r"[+-]?[0-9]{1,64}(?:\.[0-9]{0,64})?").fullmatch
_IN_SIP_TREE: Final = frozenset(
    (
        "audio", "automata", "class", "duplex", "data", "control", "mobility", "description",
        "events", "priority", "methods", "schemes", "application", "video", "actor", "isfocus",
        "extensions", "text",
    )
)  # fmt: skip


@final
class Filter:
    """The values that one element of a feature parameter allows."""

    __slots__ = ("high", "kind", "low", "negated", "text")

    def __init__(self, kind: int, negated: bool, text: str, low: float, high: float) -> None:
        self.kind = kind
        self.negated = negated
        self.text = text  # lower case for a token
        self.low = low  # a number is a range, both ends included
        self.high = high

    def meets(self, other: Filter) -> bool:
        """Return whether some value is allowed by both."""
        if self.kind != other.kind:
            return False
        if self.kind != NUMBER:
            if self.negated and other.negated:
                return True
            return (self.text == other.text) != (self.negated or other.negated)
        low = max(self.low, other.low)
        high = min(self.high, other.high)
        if not self.negated and not other.negated:
            return low <= high
        if self.negated and other.negated:
            # Nothing is left only if the two ranges together are all numbers.
            lowest = min(self.low, other.low)
            highest = max(self.high, other.high)
            return lowest > -_INFINITY or highest < _INFINITY or low > high
        inner, outer = (other, self) if self.negated else (self, other)
        return inner.low < outer.low or inner.high > outer.high


def feature_tag(name: str) -> str:
    """Return the feature tag that a parameter name means; "" when it means none.

    Args:
        name: lower case.

    Spec: RFC 3840 §5, §9; RFC 3841 §8
    """
    if name[:1] == "+":
        return name[1:].replace("!", ":").replace("'", "/")
    if name in _IN_SIP_TREE:
        return "sip." + name
    if name == "language" or name == "type":
        return name
    return ""


def parse_filters(value: str) -> list[Filter]:
    """Return what a feature parameter's value, without its quotes, allows: any one of these.

    Raises:
        PeerError: a bad number, an empty value or too many values.

    Spec: RFC 3840 §9 (tag-value-list, string-value)
    """
    if value[:1] == "<":
        if value[-1] != ">" or len(value) < 2:
            raise PeerError("a feature has a string that does not end")
        return [Filter(STRING, False, value[1:-1], 0.0, 0.0)]
    pieces = value.split(",")
    if len(pieces) > VALUES:
        raise PeerError(f"a feature has more than {VALUES} values")
    filters: list[Filter] = []
    for piece in pieces:
        text = piece.strip(" \t")
        negated = text[:1] == "!"
        if negated:
            text = text[1:]
        if not text:
            raise PeerError("a feature has an empty value")
        if text[0] == "#":
            low, high = _range(text[1:])
            filters.append(Filter(NUMBER, negated, "", low, high))
        else:
            filters.append(Filter(TOKEN, negated, text.lower(), 0.0, 0.0))
    return filters


def _range(text: str) -> tuple[float, float]:
    if text[:2] == ">=":
        return _number(text[2:]), _INFINITY
    if text[:2] == "<=":
        return -_INFINITY, _number(text[2:])
    if text[:1] == "=":
        value = _number(text[1:])
        return value, value
    low, colon, high = text.partition(":")
    if not colon:
        raise PeerError("a feature has a number without a comparison")
    return _number(low), _number(high)


def _number(text: str) -> float:
    if _is_number(text) is None:
        raise PeerError("a feature has a bad number")
    return float(text)


@final
class Features:
    """What a contact can do: for each feature tag the values it has.

    Attributes:
        terms: by feature tag; empty when the contact says nothing of itself.

    Spec: RFC 3840 §5; RFC 3841 §7.2.3
    """

    __slots__ = ("terms",)

    def __init__(self, terms: dict[str, list[Filter]]) -> None:
        self.terms = terms

    @staticmethod
    def of(params: Params) -> Features:
        """Return what the parameters of a Contact say; the malformed is left out."""
        terms: dict[str, list[Filter]] = {}
        names = params.names
        for name in names:
            tag = feature_tag(name)
            if tag and (name[0] != "+" or name[1:] not in names) and len(terms) < TERMS:
                value = params.get(name)
                try:
                    terms[tag] = parse_filters("TRUE" if value is None else value)
                except PeerError:
                    continue
        return Features(terms)


def meet(some: list[Filter], others: list[Filter]) -> bool:
    """Return whether one of some and one of others have a value in common."""
    for one in some:
        for other in others:
            if one.meets(other):
                return True
    return False
