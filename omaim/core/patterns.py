"""Extended regular expressions that cost at most so many steps, whatever the subject.

Filter criteria hold patterns from the operator and meet subjects that any caller may choose.
Backtracking would let such a caller choose our CPU time too. So a pattern becomes a
nondeterministic automaton, and its deterministic states are built as subjects need them:
each character of a subject is looked at once.

Spec: IEEE 1003.1 §9.4 (extended regular expressions), without equivalence classes and collating
symbols. ``\\d``, ``\\w`` and ``\\s``, which the standard leaves open, mean what they do elsewhere.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from omaim.errors import PeerError

LENGTH: Final = 512  # characters of a pattern
SUBJECT: Final = 4096  # characters of a subject that are looked at
NODES: Final = 600  # of one automaton, before it is made deterministic
DEPTH: Final = 20  # parentheses inside one another
REPEATS: Final = 64  # in {m,n}
_STATES: Final = 200  # deterministic ones kept; then all are forgotten and built anew

_LAST: Final = 0x10FFFF
_Ranges = tuple[tuple[int, int], ...]
# Syntax trees: ("set", ranges), ("all", parts), ("any", parts), ("rep", part, low, high), ("^",)…
_Tree = tuple[str, tuple["_Tree", ...], _Ranges, int, int]
# Nodes: a set consumes one character and goes on; the others go on to several, or end.
_SET: Final = 0
_SPLIT: Final = 1
_START: Final = 2
_END: Final = 3
_MATCH: Final = 4

_DIGIT: Final = ((48, 57),)
_ALPHA: Final = ((65, 90), (97, 122))
_SPACE: Final = ((9, 13), (32, 32))
_CLASSES: Final[dict[str, _Ranges]] = {
    "alpha": _ALPHA,
    "digit": _DIGIT,
    "alnum": _ALPHA + _DIGIT,
    "upper": ((65, 90),),
    "lower": ((97, 122),),
    "space": _SPACE,
    "blank": ((9, 9), (32, 32)),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "print": ((32, 126),),
    "graph": ((33, 126),),
    "cntrl": ((0, 31), (127, 127)),
    "xdigit": ((48, 57), (65, 70), (97, 102)),
}
_ESCAPES: Final[dict[str, _Ranges]] = {
    "d": _DIGIT,
    "w": (*_ALPHA, *_DIGIT, (95, 95)),
    "s": _SPACE,
}
_PLAIN: Final = re.compile(r"(\^?)((?:[^\\.\[\](){}*+?^$|]|\\[^0-9A-Za-z])*)(\$?)")


class BadPattern(PeerError):
    """The text is not an extended regular expression, or too large a one."""

    status = 400


class Pattern:
    """One expression, ready to be searched for.

    Args:
        text: the expression, at most :data:`LENGTH` characters.

    Raises:
        BadPattern: not an expression, or over a limit.
    """

    __slots__ = ("_automaton", "_ends", "_plain", "_starts", "text")

    def __init__(self, text: str) -> None:
        if len(text) > LENGTH:
            raise BadPattern(f"a pattern is longer than {LENGTH} characters")
        self.text = text
        self._automaton: _Automaton | None = None
        plain = _PLAIN.fullmatch(text)
        self._starts = bool(plain and plain[1])
        self._ends = bool(plain and plain[3])
        self._plain = re.sub(r"\\(.)", r"\1", plain[2]) if plain else ""
        if plain is None:
            self._automaton = _Automaton(_Reader(text).read())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def search(self, subject: str) -> bool:
        """Return whether some part of the subject matches; of a long one only the beginning."""
        if self._automaton is not None:
            return self._automaton.search(subject[:SUBJECT])
        if self._starts:
            return subject == self._plain if self._ends else subject.startswith(self._plain)
        return subject.endswith(self._plain) if self._ends else self._plain in subject


def _tree(
    kind: str, parts: tuple[_Tree, ...] = (), ranges: _Ranges = (), low: int = 0, high: int = 0
) -> _Tree:
    return (kind, parts, ranges, low, high)


class _Reader:
    """Read one expression into a tree."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> _Tree:
        tree = self._alternatives(0)
        if self._at < len(self._text):
            raise BadPattern("a pattern closes a parenthesis that it did not open")
        return tree

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise BadPattern("a pattern ends too early")
        self._at += 1
        return character

    def _alternatives(self, depth: int) -> _Tree:
        if depth > DEPTH:
            raise BadPattern(f"a pattern nests deeper than {DEPTH}")
        found = [self._sequence(depth)]
        while self._peek() == "|":
            self._at += 1
            found.append(self._sequence(depth))
        return found[0] if len(found) == 1 else _tree("any", tuple(found))

    def _sequence(self, depth: int) -> _Tree:
        parts: list[_Tree] = []
        while (character := self._peek()) and character not in "|)":
            parts.append(self._piece(depth))
        return _tree("all", tuple(parts))

    def _piece(self, depth: int) -> _Tree:
        atom = self._atom(depth)
        sign = self._peek()
        if sign and sign in "*+?{":
            if atom[0] in "^$":
                raise BadPattern("a pattern repeats an anchor")
            self._at += 1
            low, high = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}.get(sign) or self._bounds()
            atom = _tree("rep", (atom,), (), low, high)
            if (sign := self._peek()) and sign in "*+?{":
                raise BadPattern("a pattern repeats a repetition")
        return atom

    def _bounds(self) -> tuple[int, int]:
        end = self._text.find("}", self._at)
        found = re.fullmatch(r"([0-9]{1,3})(,?)([0-9]{0,3})", self._text[self._at : max(end, 0)])
        if end < 0 or found is None or (found[3] and not found[2]):
            raise BadPattern("a pattern has bad bounds in braces")
        self._at = end + 1
        low = int(found[1])
        high = low if not found[2] else int(found[3]) if found[3] else -1
        if low > REPEATS or high > REPEATS or -1 < high < low:
            raise BadPattern(f"a pattern repeats over {REPEATS} times, or less than nothing")
        return low, high

    def _atom(self, depth: int) -> _Tree:
        character = self._next()
        if character == "(":
            tree = self._alternatives(depth + 1)
            if self._next() != ")":
                raise BadPattern("a pattern leaves a parenthesis open")
            return tree
        if character == "[":
            return _tree("set", (), self._bracket())
        if character == ".":
            return _tree("set", (), ((0, _LAST),))
        if character in "^$":
            return _tree(character)
        if character == "\\":
            character = self._next()
            if character in _ESCAPES:
                return _tree("set", (), _ESCAPES[character])
            if character.isalnum():
                raise BadPattern(f"a pattern has the unknown escape \\{character}")
        elif character in "*+?{":
            raise BadPattern("a pattern repeats nothing")
        return _tree("set", (), ((ord(character), ord(character)),))

    def _bracket(self) -> _Ranges:
        negated = self._peek() == "^"
        self._at += negated
        ranges: list[tuple[int, int]] = []
        first = True
        while (character := self._next()) != "]" or first:
            first = False
            if character == "[" and self._peek() in (":", ".", "="):
                end = self._text.find(":]", self._at + 1)
                named = _CLASSES.get(self._text[self._at + 1 : max(end, 0)])
                if self._peek() != ":" or named is None:
                    raise BadPattern("a pattern has an unknown class of characters")
                ranges.extend(named)
                self._at = end + 2
                continue
            low = high = ord(character)
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = ord(self._next())
                if high < low:
                    raise BadPattern("a pattern has a range that runs backwards")
            ranges.append((low, high))
        return _complement(ranges) if negated else tuple(ranges)


def _complement(ranges: list[tuple[int, int]]) -> _Ranges:
    found = []
    at = 0
    for low, high in sorted(ranges):
        if low > at:
            found.append((at, low - 1))
        at = max(at, high + 1)
    if at <= _LAST:
        found.append((at, _LAST))
    return tuple(found)


class _State:
    """One deterministic state: the nodes that the automaton may be in."""

    __slots__ = ("accepts", "accepts_here", "by_character", "by_kind", "nodes")

    def __init__(self, nodes: frozenset[int], accepts: bool, accepts_here: bool) -> None:
        self.nodes = nodes
        self.accepts = accepts  # whatever follows
        self.accepts_here = accepts_here  # if nothing follows
        self.by_character: dict[str, _State] = {}
        self.by_kind: dict[int, _State] = {}


class _Automaton:
    """The nodes of one expression and the deterministic states met so far."""

    def __init__(self, tree: _Tree) -> None:
        self._kinds: list[int] = []
        self._ranges: list[_Ranges] = []
        self._follow: list[list[int]] = []
        self._steps = 0  # spent on building: repetitions of nothing make no nodes
        start = self._build(tree, self._node(_MATCH))
        cuts = {cut for ranges in self._ranges for low, high in ranges for cut in (low, high + 1)}
        # Characters between two cuts are alike for every set of this pattern.
        self._cuts = sorted(cuts)
        self._start = start
        self._restart = self._closure({start}, False, False)
        self._states: dict[frozenset[int], _State] = {}
        self._first = self._make_first()

    def _node(self, kind: int, follow: tuple[int, ...] = (), ranges: _Ranges = ()) -> int:
        if len(self._kinds) >= NODES:
            raise BadPattern(f"a pattern needs more than {NODES} nodes")
        self._kinds.append(kind)
        self._ranges.append(ranges)
        self._follow.append(list(follow))
        return len(self._kinds) - 1

    def _build(self, tree: _Tree, follow: int) -> int:
        """Return the node at which the tree begins, when ``follow`` comes after it."""
        kind, parts, ranges, low, high = tree
        self._steps += 1
        if self._steps > 4 * NODES:
            raise BadPattern("a pattern repeats too much")
        if kind == "set":
            return self._node(_SET, (follow,), ranges)
        if kind == "all":
            for part in reversed(parts):
                follow = self._build(part, follow)
            return follow
        if kind == "any":
            return self._node(_SPLIT, tuple(self._build(part, follow) for part in parts))
        if kind == "rep":
            if high < 0:
                loop = self._node(_SPLIT, (follow,))
                self._follow[loop].append(self._build(parts[0], loop))
                follow = loop
            for _ in range(high - low):
                follow = self._node(_SPLIT, (self._build(parts[0], follow), follow))
            for _ in range(low):
                follow = self._build(parts[0], follow)
            return follow
        return self._node(_START if kind == "^" else _END, (follow,))

    def _closure(self, nodes: set[int], at_start: bool, at_end: bool) -> set[int]:
        """Return all nodes that can be reached without a character."""
        found: set[int] = set()
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            if node in found:
                continue
            found.add(node)
            kind = self._kinds[node]
            if kind == _SPLIT or (kind == _START and at_start) or (kind == _END and at_end):
                waiting.extend(self._follow[node])
        return found

    def _make_first(self) -> _State:
        nodes = self._closure({self._start}, True, False)
        here = self._closure({self._start}, True, True)
        return _State(frozenset(nodes), 0 in nodes, 0 in here)

    def _make(self, nodes: frozenset[int]) -> _State:
        state = self._states.get(nodes)
        if state is None:
            if len(self._states) >= _STATES:
                self._states.clear()
                self._first = self._make_first()
            here = self._closure(set(nodes), False, True)
            state = self._states[nodes] = _State(nodes, 0 in nodes, 0 in here)
        return state

    def _step(self, state: _State, character: str) -> _State:
        code = ord(character)
        kind = bisect_right(self._cuts, code)
        following = state.by_kind.get(kind)
        if following is None:
            moved = set()
            for node in state.nodes:
                if self._kinds[node] == _SET and any(
                    low <= code <= high for low, high in self._ranges[node]
                ):
                    moved.add(self._follow[node][0])
            nodes = self._closure(moved, False, False) | self._restart
            following = state.by_kind[kind] = self._make(frozenset(nodes))
        if len(state.by_character) < 128:
            state.by_character[character] = following
        return following

    def search(self, subject: str) -> bool:
        state = self._first
        for character in subject:
            if state.accepts:
                return True
            following = state.by_character.get(character)
            state = self._step(state, character) if following is None else following
        return state.accepts or state.accepts_here
