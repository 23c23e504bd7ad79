"""What callers want of the device they reach, and the order in which to try several.

A request says with Accept-Contact, Reject-Contact and Request-Disposition what it would like
to reach and how; :mod:`omaim.sip.features` has the other side, what devices say of themselves.

Spec: RFC 3841 §7, §8, §9
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import PeerError
from omaim.grammar import parse_params, split_outside
from omaim.sip.features import TERMS, TOKEN, Features, Filter, feature_tag, meet, parse_filters
from omaim.sip.message import Request

# Request-Disposition, as bits; the absent half of each pair is the default.
REDIRECT: Final = 1
NO_CANCEL: Final = 2
NO_FORK: Final = 4
RECURSE: Final = 8
NO_RECURSE: Final = 16
PARALLEL: Final = 32
SEQUENTIAL: Final = 64
QUEUE: Final = 128
NO_QUEUE: Final = 256

PREDICATES: Final = 20  # values of Accept-Contact and Reject-Contact together

# What a directive sets, and the bits of its type: the first one of a type counts.
_DIRECTIVES: Final = {
    "proxy": (0, REDIRECT),
    "redirect": (REDIRECT, REDIRECT),
    "cancel": (0, NO_CANCEL),
    "no-cancel": (NO_CANCEL, NO_CANCEL),
    "fork": (0, NO_FORK),
    "no-fork": (NO_FORK, NO_FORK),
    "recurse": (RECURSE, RECURSE | NO_RECURSE),
    "no-recurse": (NO_RECURSE, RECURSE | NO_RECURSE),
    "parallel": (PARALLEL, PARALLEL | SEQUENTIAL),
    "sequential": (SEQUENTIAL, PARALLEL | SEQUENTIAL),
    "queue": (QUEUE, QUEUE | NO_QUEUE),
    "no-queue": (NO_QUEUE, QUEUE | NO_QUEUE),
}


@final
class Predicate:
    """One value of Accept-Contact or Reject-Contact.

    Attributes:
        tags, filters: side by side, for each feature asked for what it may be.
        require, explicit: as the parameters say.

    Spec: RFC 3841 §7.2.1, §10
    """

    __slots__ = ("explicit", "filters", "require", "tags")

    def __init__(self, require: bool, explicit: bool) -> None:
        self.tags: list[str] = []
        self.filters: list[list[Filter]] = []
        self.require = require
        self.explicit = explicit

    @staticmethod
    def parse(text: str) -> Predicate:
        """Return the predicate that one element of the header is.

        Raises:
            PeerError: bad parameters, or too many (answer 400).
        """
        semicolon = text.find(";")
        if (text if semicolon < 0 else text[:semicolon]).strip(" \t") != "*":
            raise PeerError("a caller preference begins with *")
        if semicolon < 0:
            return Predicate(False, False)
        params = parse_params(text[semicolon:])
        predicate = Predicate(params.has("require"), params.has("explicit"))
        for name in params.names:
            tag = feature_tag(name)
            if tag:
                if tag in predicate.tags:
                    raise PeerError("a caller preference names a feature twice")
                value = params.get(name)
                predicate.add(tag, parse_filters("TRUE" if value is None else value))
        if len(predicate.tags) > TERMS:
            raise PeerError(f"a caller preference has more than {TERMS} features")
        return predicate

    def add(self, tag: str, filters: list[Filter]) -> None:
        """Ask for one more feature."""
        self.tags.append(tag)
        self.filters.append(filters)

    def rejects(self, features: Features) -> bool:
        """Return whether a contact says of itself, feature by feature, that it is like this.

        Spec: RFC 3841 §7.2.4 (Reject-Contact)
        """
        for tag in self.tags:
            if tag not in features.terms:
                return False
        return self.score(features) >= 0.0

    def score(self, features: Features) -> float:
        """Return which part of the features asked for is confirmed; -1 when one is denied.

        Spec: RFC 3841 §7.2.4 (Accept-Contact)
        """
        found = 0
        for place, tag in enumerate(self.tags):
            own = features.terms.get(tag)
            if own is not None:
                if not meet(own, self.filters[place]):
                    return -1.0
                found += 1
        return found / len(self.tags) if self.tags else 1.0


@final
class Target:
    """One place where a request may go.

    Attributes:
        uri: the new Request-URI.
        q: the callee's wish, in thousandths.
        features: what the place says of itself; ``None`` or empty: caller preferences pass it by.
        routes: the Path of the binding, topmost first.
        note: the owner's, as the binding or the flow.
        score: the caller's wish, from 0 to 1; see :meth:`Preferences.order`.
        spare: another way to the same place, for when this one fails (RFC 5626 §7).

    Spec: RFC 3261 §16.5; RFC 3841 §7.2.3
    """

    __slots__ = ("features", "note", "q", "routes", "score", "spare", "uri")

    def __init__(
        self,
        uri: str,
        q: int = 1000,
        features: Features | None = None,
        routes: list[str] | None = None,
        note: object = None,
    ) -> None:
        self.uri = uri
        self.q = q
        self.features = features
        self.routes: list[str] = [] if routes is None else routes
        self.note = note
        self.score = 1.0
        self.spare: Target | None = None


@final
class Preferences:
    """What the caller wants of the place that is reached.

    Attributes:
        stated: whether the request says so itself; otherwise it is concluded from the method.
    """

    __slots__ = ("accept", "reject", "stated")

    def __init__(self, accept: list[Predicate], reject: list[Predicate], stated: bool) -> None:
        self.accept = accept
        self.reject = reject
        self.stated = stated

    def order(self, targets: list[Target]) -> list[Target]:
        """Return those targets that the caller accepts, the best first.

        The callee's q goes before the caller's wish. Empty means 480, and happens only if
        the caller stated its preferences.

        Spec: RFC 3841 §7.2.4
        """
        if not self.stated and len(targets) < 2:
            return targets
        kept: list[tuple[int, float, int]] = []
        for place, target in enumerate(targets):
            features = target.features
            score = 1.0
            if features is not None and features.terms:
                score = self._score(features)
                if score < 0.0:
                    continue
            target.score = score
            kept.append((-target.q, -score, place))
        if not kept and not self.stated:
            for place, target in enumerate(targets):
                target.score = 1.0
                kept.append((-target.q, -1.0, place))
        kept.sort()
        return [targets[place] for _, _, place in kept]

    def _score(self, features: Features) -> float:
        """Return Qa from 0 to 1, or -1 when the contact is out."""
        for predicate in self.reject:
            if predicate.rejects(features):
                return -1.0
        total = 0.0
        matching = 0
        for predicate in self.accept:
            score = predicate.score(features)
            if score < 0.0:
                if predicate.require:
                    return -1.0
                continue
            if score < 1.0 and predicate.explicit:
                if predicate.require:
                    return -1.0
                score = 0.0
            total += score
            matching += 1
        if matching:
            return total / matching
        return 0.0 if self.accept else 1.0


@final
class PreferenceReader:
    """Reads the preferences of requests and the features of contacts, and remembers them.

    Thousands of users have the same device and say the same; what is remembered is shared.

    Args:
        limit: how many different texts are remembered.
    """

    __slots__ = ("_features", "_limit", "_preferences")

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._preferences: dict[str, Preferences] = {}
        self._features: dict[str, Features] = {}

    def read(self, request: Request) -> Preferences:
        """Return what the request wants.

        Raises:
            PeerError: a preference is malformed (answer 400).

        Spec: RFC 3841 §7.2.1, §7.2.2
        """
        accept = request.all("Accept-Contact")
        reject = request.all("Reject-Contact")
        if accept or reject:
            key = "\n".join(accept) + "\r" + "\n".join(reject)
        else:
            key = request.method
            if key == "SUBSCRIBE" or key == "REFER":
                key += " " + (request.first("Event") or "").partition(";")[0].strip(" \t")
        known = self._preferences.get(key)
        if known is None:
            if accept or reject:
                known = Preferences(_predicates(accept), _predicates(reject), True)
            else:
                known = _implicit(key)
            if len(self._preferences) >= self._limit:
                self._preferences.clear()
            self._preferences[key] = known
        return known

    def features(self, text: str) -> Features:
        """Return the features in Contact parameters.

        Args:
            text: the parameters behind the URI, beginning with ";", or "".
        """
        known = self._features.get(text)
        if known is None:
            try:
                known = Features.of(parse_params(text))
            except PeerError:
                known = Features({})
            if len(self._features) >= self._limit:
                self._features.clear()
            self._features[text] = known
        return known


def _predicates(lines: list[str]) -> list[Predicate]:
    found: list[Predicate] = []
    for line in lines:
        for piece in split_outside(line, ","):
            if len(found) >= PREDICATES:
                raise PeerError(f"there are more than {PREDICATES} caller preferences")
            found.append(Predicate.parse(piece))
    return found


def _implicit(key: str) -> Preferences:
    method, _, event = key.partition(" ")
    predicate = Predicate(True, False)
    predicate.add("sip.methods", [Filter(TOKEN, False, method.lower(), 0.0, 0.0)])
    if event:
        predicate.add("sip.events", [Filter(TOKEN, False, event.lower(), 0.0, 0.0)])
    return Preferences([predicate], [], False)


def disposition(request: Request) -> int:
    """Return how the caller wants its request to be handled, as bits; 0 for the usual.

    Unknown directives are passed over; of two that contradict each other the first counts.

    Spec: RFC 3841 §7.1, §9.1
    """
    lines = request.all("Request-Disposition")
    if not lines:
        return 0
    bits = 0
    seen = 0
    for line in lines:
        for piece in line.split(","):
            known = _DIRECTIVES.get(piece.strip(" \t").lower())
            if known is not None and not seen & known[1]:
                bits |= known[0]
                seen |= known[1]
    return bits


def arrange(targets: list[Target], bits: int) -> list[list[Target]]:
    """Return the targets in groups: each group is tried at once, one group after the other.

    Args:
        targets: in order, best first.
        bits: from :func:`disposition`. As a rule, what is equally good is tried at once.

    Spec: RFC 3261 §16.6; RFC 3841 §9.1 (fork-directive, parallel-directive)
    """
    if len(targets) < 2:
        return [targets] if targets else []
    if bits & NO_FORK:
        return [targets[:1]]
    if bits & PARALLEL:
        return [targets]
    groups: list[list[Target]] = []
    for target in targets:
        if groups and not bits & SEQUENTIAL:
            last = groups[-1][0]
            if last.q == target.q and last.score == target.score:
                groups[-1].append(target)
                continue
        groups.append([target])
    return groups


def redirection(groups: list[list[Target]]) -> list[str]:
    """Return Contact values for a redirect that keep the order; features are left out.

    Spec: RFC 3841 §7.2.4 (the server is redirecting)
    """
    contacts: list[str] = []
    for place, group in enumerate(groups):
        thousandths = 1000 - place * 1000 // len(groups)
        q = "1.0" if thousandths == 1000 else f"0.{thousandths:03}"
        for target in group:
            contacts.append(f"<{target.uri}>;q={q}")
    return contacts
