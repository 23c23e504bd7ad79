"""Which application server sees a request of a user, and when.

A user's profile is the XML that a subscriber database gives out (3GPP Cx): initial filter
criteria in the order of their priority, each a condition and a server. :class:`Filters` works
out beforehand, for each method and session case, which criteria can match at all and what is
left to ask of the request; so a request that concerns no server costs one look into a table.

Differs: the names of elements are taken in any namespace, and unknown elements are passed over,
because deployed databases write both; two criteria of the same priority are refused, as
neither could be said to come after the other.

Spec: 3GPP TS 29.228 Annex B and E (filter criteria and their XML); TS 23.218 §5.2, §6.5
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Final

import attrs

from omaim.core.patterns import Pattern
from omaim.errors import PeerError, UsageError
from omaim.sip.message import Request

# Session cases. A REGISTER belongs to no session.
ORIGINATING: Final = 0
TERMINATING: Final = 1
TERMINATING_UNREGISTERED: Final = 2
ORIGINATING_UNREGISTERED: Final = 3
ORIGINATING_DIVERTED: Final = 4
NO_SESSION: Final = -1

# Registration types.
INITIAL: Final = 0
REFRESH: Final = 1
REMOVAL: Final = 2
NO_REGISTRATION: Final = -1

# What to do when the application server fails.
CONTINUE: Final = 0
TERMINATE: Final = 1

# Parts of a profile.
ANY_PART: Final = -1
REGISTERED_PART: Final = 0
UNREGISTERED_PART: Final = 1

SIZE: Final = 65_536  # octets of a body that are searched for a session description
CRITERIA: Final = 100  # in one profile


class BadProfile(PeerError):
    """The document is not a service profile, or over a limit."""

    status = 400


@attrs.frozen
class MethodIs:
    """The request has this method, and, when types are named, is such a registration."""

    method: str
    registration_types: tuple[int, ...] = ()

    def known(self, method: str, session_case: int, registration_type: int) -> bool | None:
        """Return the answer if method, case and type settle it."""
        if method != self.method:
            return False
        return not self.registration_types or registration_type in self.registration_types

    def holds(self, request: Request) -> bool:
        """Return whether the method is this one; registration types are not looked at."""
        return request.method == self.method


@attrs.frozen
class CaseIs:
    """The session case is this one."""

    case: int

    def known(self, method: str, session_case: int, registration_type: int) -> bool | None:
        """Return the answer: it depends on nothing else."""
        return session_case == self.case

    def holds(self, request: Request) -> bool:
        """Never asked: a request does not tell its session case."""
        raise UsageError("a session case is settled before the request is asked")


def _compile(text: str | None) -> Pattern | None:
    return None if text is None else Pattern(text)


@attrs.frozen
class UriMatches:
    """Some part of the Request-URI matches the pattern."""

    pattern: str
    _compiled: Pattern = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_compiled", Pattern(self.pattern))

    def known(self, method: str, session_case: int, registration_type: int) -> bool | None:
        """Return that only the request can tell."""
        return None

    def holds(self, request: Request) -> bool:
        """Return whether the Request-URI, as it was received, matches."""
        return self._compiled.search(request.uri)


@attrs.frozen
class HeaderMatches:
    """A header field of this name is there, and, when content is given, its value matches.

    Args:
        header: the field's name, or a pattern that the whole name matches.
        content: a pattern for some part of the value; ``None`` asks for presence only.
    """

    header: str
    content: str | None = None
    _compiled: Pattern | None = attrs.field(init=False, eq=False, repr=False)
    _names: Pattern | None = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_compiled", _compile(self.content))
        literal = self.header.replace("-", "").isalnum() and self.header.isascii()
        names = None if literal else Pattern(f"^({self.header.lower()})$")
        object.__setattr__(self, "_names", names)

    def known(self, method: str, session_case: int, registration_type: int) -> bool | None:
        """Return that only the request can tell."""
        return None

    def holds(self, request: Request) -> bool:
        """Return whether one of the fields matches; none does when the field is absent."""
        pattern = self._names
        if pattern is None:
            return self._any(request.all(self.header))
        for name in set(request.names):
            if pattern.search(name.lower()) and self._any(request.all(name)):
                return True
        return False

    def _any(self, values: list[str]) -> bool:
        pattern = self._compiled
        if pattern is None:
            return bool(values)
        return any(pattern.search(value) for value in values)


@attrs.frozen
class DescriptionMatches:
    """The session description has such a line, and, when content is given, it matches.

    Args:
        line: the letter before the equals sign.
        content: a pattern for some part of what follows it; ``None`` asks for presence only.
    """

    line: str
    content: str | None = None
    _compiled: Pattern | None = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_compiled", _compile(self.content))

    def known(self, method: str, session_case: int, registration_type: int) -> bool | None:
        """Return that only the request can tell."""
        return None

    def holds(self, request: Request) -> bool:
        """Return whether a line of the body matches, alone or as a part of a multipart."""
        content_type = (request.first("Content-Type") or "").lower()
        if not content_type.startswith("multipart/") and "application/sdp" not in content_type:
            return False
        text = request.body[:SIZE].decode("utf-8", "replace")
        inside = not content_type.startswith("multipart/")
        sought = self.line + "="
        for line in text.splitlines():
            if line == "v=0":
                inside = True  # where a description begins; a boundary ends it
            elif line.startswith("--"):
                inside = False
            if inside and line.startswith(sought):
                pattern = self._compiled
                if pattern is None or pattern.search(line[len(sought) :]):
                    return True
        return False


Condition = MethodIs | CaseIs | UriMatches | HeaderMatches | DescriptionMatches
_Literal = tuple[Condition, bool]  # and whether it is negated
_Clauses = tuple[tuple[_Literal, ...], ...]


@attrs.frozen
class Point:
    """One service point trigger: a condition, perhaps negated, and the groups it is in."""

    condition: Condition
    negated: bool = False
    groups: tuple[int, ...] = (0,)


@attrs.frozen
class Trigger:
    """A condition on requests, in conjunctive or disjunctive normal form.

    Args:
        conjunctive: the groups are joined by AND and the points inside one by OR; the other
            way round when false.
        points: at least one.
    """

    conjunctive: bool
    points: tuple[Point, ...]

    def reduced(
        self, method: str, session_case: int, registration_type: int
    ) -> bool | tuple[tuple[tuple[Condition, bool], ...], ...]:
        """Return the verdict, or the clauses that only the request itself can settle."""
        groups: dict[int, list[Point]] = {}
        for point in self.points:
            for group in point.groups:
                groups.setdefault(group, []).append(point)
        clauses = []
        for group in sorted(groups):
            # In CNF one true point settles its group as true; in DNF one false point as false.
            settled = False
            left: list[_Literal] = []
            for point in groups[group]:
                known = point.condition.known(method, session_case, registration_type)
                if known is None:
                    left.append((point.condition, point.negated))
                elif (known != point.negated) == self.conjunctive:
                    settled = True
            if not settled:
                if not left:
                    return not self.conjunctive
                clauses.append(tuple(left))
        return tuple(clauses) if clauses else self.conjunctive


@attrs.frozen
class Server:
    """An application server and how to treat it.

    Args:
        name: its SIP URI.
        default_handling: :data:`CONTINUE` or :data:`TERMINATE` when it does not answer.
        service_info: opaque text for it, carried in a third-party REGISTER.
        include_request: a third-party REGISTER carries the user's own.
        include_response: a third-party REGISTER carries the answer to the user's own.
    """

    name: str
    default_handling: int = CONTINUE
    service_info: str = ""
    include_request: bool = False
    include_response: bool = False


@attrs.frozen
class Criteria:
    """One initial filter criteria: lower ``priority`` is asked earlier.

    Without a trigger it always matches. ``part`` limits it to registered or unregistered users.
    """

    priority: int
    server: Server
    trigger: Trigger | None = None
    part: int = ANY_PART


class _Step:
    """One criteria with what is left to ask."""

    __slots__ = ("_clauses", "_conjunctive", "criteria", "priority")

    def __init__(self, criteria: Criteria, conjunctive: bool, clauses: _Clauses) -> None:
        self.criteria = criteria
        self.priority = criteria.priority
        self._conjunctive = conjunctive
        self._clauses = clauses

    def holds(self, request: Request) -> bool:
        for_one = self._conjunctive
        for clause in self._clauses:
            verdict = not for_one
            for condition, negated in clause:
                if (condition.holds(request) != negated) == for_one:
                    verdict = for_one
                    break
            if verdict != for_one:
                return not for_one
        return for_one


def _by_priority(found: Iterable[Criteria]) -> tuple[Criteria, ...]:
    return tuple(sorted(found, key=attrgetter("priority")))


@attrs.frozen
class Filters:
    """The criteria of a profile, ready to be asked; shared by all users who have the same.

    Raises:
        BadProfile: two criteria have the same priority, or there are too many.
    """

    criteria: tuple[Criteria, ...] = attrs.field(default=(), converter=_by_priority)
    _methods: frozenset[str] = attrs.field(init=False, eq=False, repr=False)
    _plans: dict[tuple[str, int, int, bool], tuple[_Step, ...]] = attrs.field(
        init=False, eq=False, repr=False, factory=dict
    )

    def __attrs_post_init__(self) -> None:
        if len(self.criteria) > CRITERIA:
            raise BadProfile(f"a profile has more than {CRITERIA} filter criteria")
        if len({one.priority for one in self.criteria}) < len(self.criteria):
            raise BadProfile("two filter criteria of a profile have the same priority")
        methods = frozenset(
            point.condition.method
            for one in self.criteria
            if one.trigger is not None
            for point in one.trigger.points
            if isinstance(point.condition, MethodIs)
        )
        object.__setattr__(self, "_methods", methods)

    def next_server(
        self,
        request: Request,
        session_case: int,
        registration_type: int = NO_REGISTRATION,
        after_priority: int = -1,
        *,
        registered: bool = True,
    ) -> Criteria | None:
        """Return the first criteria after a priority that the request meets.

        Args:
            request: as it is now: an application server may have changed it.
            session_case: one of the session cases; :data:`NO_SESSION` for a REGISTER.
            registration_type: of a REGISTER, else :data:`NO_REGISTRATION`.
            after_priority: that of the criteria met last; -1 to begin.
            registered: whether the user is; the unregistered cases imply that it is not.

        Spec: 3GPP TS 29.228 Annex C; TS 23.218 §5.2.2
        """
        method = request.method
        if method not in self._methods:
            method = ""  # all methods that no trigger names share one plan
        key = (method, session_case, registration_type, registered)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plan(method, session_case, registration_type, registered)
        for step in plan:
            if step.priority > after_priority and step.holds(request):
                return step.criteria
        return None

    def _plan(
        self, method: str, session_case: int, registration_type: int, registered: bool
    ) -> tuple[_Step, ...]:
        if not -1 <= session_case <= 4 or not -1 <= registration_type <= 2:
            raise UsageError("no such session case or registration type")
        there = registered and session_case not in (
            TERMINATING_UNREGISTERED,
            ORIGINATING_UNREGISTERED,
        )
        steps = []
        for one in self.criteria:
            if one.part != ANY_PART and (one.part == REGISTERED_PART) != there:
                continue
            left: bool | _Clauses = True
            conjunctive = True
            if one.trigger is not None:
                conjunctive = one.trigger.conjunctive
                left = one.trigger.reduced(method, session_case, registration_type)
            if left is False:
                continue
            if left is True:
                steps.append(_Step(one, True, ()))
            else:
                steps.append(_Step(one, conjunctive, left))
        plan = self._plans[method, session_case, registration_type, registered] = tuple(steps)
        return plan


@attrs.frozen
class Identity:
    """A public identity of the profile; a barred one can be registered but not used."""

    uri: str
    barred: bool = False


@attrs.frozen
class Profile:
    """One service profile: whom it serves and which servers see the requests."""

    filters: Filters = Filters()
    identities: tuple[Identity, ...] = ()
    media_profile: int | None = None  # a number that the operator gives sense to
    shared_sets: tuple[int, ...] = ()  # of criteria that the operator keeps elsewhere

    def next_server(
        self,
        request: Request,
        session_case: int,
        registration_type: int = NO_REGISTRATION,
        after_priority: int = -1,
        *,
        registered: bool = True,
    ) -> Criteria | None:
        """Return the first criteria after a priority that the request meets.

        The arguments are those of :meth:`Filters.next_server`.
        """
        return self.filters.next_server(
            request, session_case, registration_type, after_priority, registered=registered
        )


@attrs.frozen
class Subscription:
    """All profiles of one private identity."""

    private_id: str
    profiles: tuple[Profile, ...]

    def profile_of(self, public_id: str) -> Profile | None:
        """Return the profile that serves an identity, spelled as in the document."""
        for profile in self.profiles:
            for identity in profile.identities:
                if identity.uri == public_id:
                    return profile
        return None
