"""Common policy: rules that say who may do what.

A rule gives permissions to those for whom all its conditions hold; nothing ever takes one away.
:func:`evaluate` is the one place where this is decided. Which permissions there are, each
application says by *kinds*: for each tag the values it can have, the least first.

Spec: RFC 4745; OMA-TS-XDM_Core V1.1 (external-list, anonymous-request, other-identity)
Differs: attributes of conditions and permissions of other specifications are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, TypeAlias
from urllib.parse import unquote

import attrs

from omaim.bodies.moments import parse_moment, write_moment
from omaim.bodies.xml import (
    BadXml,
    Element,
    add,
    child,
    children,
    local_name,
    new_root,
    parse_xml,
    text_of,
    write_xml,
)

MEDIA_TYPE: Final = "application/auth-policy+xml"
NAMESPACE: Final = "urn:ietf:params:xml:ns:common-policy"
OMA_NAMESPACE: Final = "urn:oma:xml:xdm:common-policy"
EXTENSIONS: Final = "urn:oma:xml:xdm:extensions"

RULES: Final = 500  # of one document

OTHER_IDENTITY: Final = f"{{{OMA_NAMESPACE}}}other-identity"
ANONYMOUS_REQUEST: Final = f"{{{OMA_NAMESPACE}}}anonymous-request"

Kind: TypeAlias = Sequence[Collection[str]]
# The values of a permission by rank, each in all its spellings. "block" and "allow" are of drafts.
BOOLEAN: Final[Kind] = (("false", "0", "block"), ("true", "1", "allow"))
INVITATION: Final[Kind] = (("reject",), ("pass",), ("accept",))

ALLOW_INVITE: Final = "{urn:oma:xml:poc:poc-rules}allow-invite"  # an INVITATION
ACCESS_ACTIONS: Final[Mapping[str, Kind]] = {  # of user access policy
    f"{{{EXTENSIONS}}}allow-reject-invite": BOOLEAN,
    f"{{{EXTENSIONS}}}allow-auto-answermode": BOOLEAN,
    f"{{{EXTENSIONS}}}allow-manual-answer-override": BOOLEAN,
    f"{{{EXTENSIONS}}}allow-offline-storage": BOOLEAN,
}

_PREFIXES: Final[Mapping[str | None, str]] = {
    None: NAMESPACE,
    "ocp": OMA_NAMESPACE,
    "oxe": EXTENSIONS,
}


class BadPolicy(BadXml):
    """The body is no set of rules."""


@attrs.frozen
class Many:
    """Every authenticated user, or those of one domain, but for some.

    Spec: RFC 4745 §7.1.3
    """

    domain: str = ""  # "" for any
    except_ids: tuple[str, ...] = ()
    except_domains: tuple[str, ...] = ()


@attrs.frozen
class Identity:
    """One of some users.

    Spec: RFC 4745 §7.1
    """

    ones: tuple[str, ...] = ()  # URIs
    many: tuple[Many, ...] = ()


@attrs.frozen
class Sphere:
    """The owner is in one of some states: "work", "home".

    Spec: RFC 4745 §7.3
    """

    values: tuple[str, ...]


@attrs.frozen
class Validity:
    """It is one of some times.

    Spec: RFC 4745 §7.4
    """

    periods: tuple[tuple[float, float], ...]  # from, and until without it; since the epoch


@attrs.frozen
class ExternalList:
    """One of those in lists that stand elsewhere.

    Spec: OMA-TS-XDM_Core V1.1 (external-list)
    """

    anchors: tuple[str, ...]  # XCAP URIs


@attrs.frozen
class Other:
    """A condition of another specification, or one that is just a word.

    OTHER_IDENTITY and ANONYMOUS_REQUEST are understood here; for the rest who evaluates says
    whether it holds.
    """

    tag: str
    text: str = ""
    inside: tuple[str, ...] = ()  # tags of the elements in it


Condition: TypeAlias = Identity | Sphere | Validity | ExternalList | Other


@attrs.frozen
class Permission:
    """One action or transformation, with its value.

    Spec: RFC 4745 §8, §9
    """

    tag: str
    text: str = ""
    members: tuple[tuple[str, str], ...] = ()  # tag and text of the elements of a set


@attrs.frozen
class Rule:
    """Permissions, and when they are given.

    Spec: RFC 4745 §6
    """

    id: str
    conditions: tuple[Condition, ...] = ()  # all must hold
    actions: tuple[Permission, ...] = ()
    transformations: tuple[Permission, ...] = ()


@attrs.frozen
class Asker:
    """Who wants something, and when."""

    identities: tuple[str, ...]  # authenticated ones, all of the same user; none if unknown
    now: float  # seconds since the epoch
    anonymous: bool = False  # asks not to be named, or cannot be
    sphere: str = ""  # of the owner of the rules


def parse_ruleset(data: bytes) -> tuple[Rule, ...]:
    """Return the rules of a document.

    Raises:
        BadXml: not this XML, or it breaks the rules of RFC 4745.

    Spec: RFC 4745 §13
    """
    return read_rules(parse_xml(data, _tag("ruleset")))


def read_rules(ruleset: Element) -> tuple[Rule, ...]:
    """Return the rules in a ``ruleset`` element, wherever that stands.

    Raises:
        BadXml: see :func:`parse_ruleset`.
    """
    rules = tuple(_rule(one) for one in children(ruleset, _tag("rule")))
    if len(rules) > RULES:
        raise BadPolicy(f"more than {RULES} rules", 413)
    if len({one.id for one in rules}) != len(rules):
        raise BadPolicy("two rules have the same id")
    return rules


def _rule(element: Element) -> Rule:
    id = element.get("id", "").strip()
    if not id:
        raise BadPolicy("a rule without an id")
    conditions = child(element, _tag("conditions"))
    return Rule(
        id,
        () if conditions is None else tuple(_condition(one) for one in conditions),
        _permissions(element, "actions"),
        _permissions(element, "transformations"),
    )


def _permissions(rule: Element, name: str) -> tuple[Permission, ...]:
    holder = child(rule, _tag(name))
    if holder is None:
        return ()
    return tuple(
        Permission(
            str(one.tag), text_of(one), tuple((str(inner.tag), text_of(inner)) for inner in one)
        )
        for one in holder
    )


def _condition(element: Element) -> Condition:
    tag = str(element.tag)
    if tag == _tag("identity"):
        return _identity(element)
    if tag == _tag("sphere"):
        return Sphere(tuple(element.get("value", "").split()))
    if tag == _tag("validity"):
        return read_validity(element)
    if tag == _EXTERNAL_LIST:
        entries = children(element, _ENTRY)
        return ExternalList(tuple(one.get("anc", "").strip() for one in entries))
    return Other(tag, text_of(element), tuple(str(one.tag) for one in element))


def _identity(element: Element) -> Identity:
    ones = []
    many = []
    for one in element:
        if str(one.tag) == _tag("one"):
            ones.append(_needed_id(one))
        elif str(one.tag) == _tag("many"):
            many.append(_many(one))
    return Identity(tuple(ones), tuple(many))


def _many(element: Element) -> Many:
    ids = []
    domains = []
    for one in children(element, _tag("except")):
        domain = one.get("domain", "").strip()
        if domain:
            domains.append(domain)
        else:
            ids.append(_needed_id(one))
    return Many(element.get("domain", "").strip(), tuple(ids), tuple(domains))


def _needed_id(element: Element) -> str:
    id = element.get("id", "").strip()
    if not id:
        raise BadPolicy(f"an element {local_name(element)} without an id")
    return id


def read_validity(element: Element) -> Validity:
    """Return the periods that an element holds, wherever it stands.

    Raises:
        PeerError: they are not from and until in turn, or one is no moment (400).

    Spec: RFC 4745 §7.4
    """
    times = []
    for place, one in enumerate(element):
        if str(one.tag) != _tag("until" if place % 2 else "from"):
            raise BadPolicy("validity is not made of from and until in turn")
        times.append(parse_moment(text_of(one)))
    if len(times) % 2:
        raise BadPolicy("validity begins and does not end")
    return Validity(tuple(zip(times[::2], times[1::2], strict=True)))


def write_ruleset(rules: Iterable[Rule]) -> bytes:
    """Return the document."""
    root = new_root(_tag("ruleset"), _PREFIXES)
    write_rules(root, rules)
    return write_xml(root)


def write_rules(ruleset: Element, rules: Iterable[Rule]) -> None:
    """Put rules into a ``ruleset`` element, wherever that stands."""
    for rule in rules:
        element = add(ruleset, _tag("rule"), "", [("id", rule.id)])
        conditions = add(element, _tag("conditions"))
        for condition in rule.conditions:
            _write_condition(conditions, condition)
        for name, permissions in (
            ("actions", rule.actions),
            ("transformations", rule.transformations),
        ):
            holder = add(element, _tag(name))
            for one in permissions:
                inner = add(holder, one.tag, one.text)
                for tag, text in one.members:
                    add(inner, tag, text)


def _write_condition(parent: Element, condition: Condition) -> None:
    if isinstance(condition, Identity):
        identity = add(parent, _tag("identity"))
        for uri in condition.ones:
            add(identity, _tag("one"), "", [("id", uri)])
        for many in condition.many:
            domain = [("domain", many.domain)] if many.domain else []
            element = add(identity, _tag("many"), "", domain)
            for name, values in (("domain", many.except_domains), ("id", many.except_ids)):
                for value in values:
                    add(element, _tag("except"), "", [(name, value)])
    elif isinstance(condition, Sphere):
        add(parent, _tag("sphere"), "", [("value", " ".join(condition.values))])
    elif isinstance(condition, Validity):
        write_validity(add(parent, _tag("validity")), condition)
    elif isinstance(condition, ExternalList):
        holder = add(parent, _EXTERNAL_LIST)
        for anchor in condition.anchors:
            add(holder, _ENTRY, "", [("anc", anchor)])
    else:
        element = add(parent, condition.tag, condition.text)
        for tag in condition.inside:
            add(element, tag)


def write_validity(element: Element, validity: Validity) -> None:
    """Put periods into an element, wherever that stands."""
    for start, end in validity.periods:
        add(element, _tag("from"), write_moment(start, 6 if start % 1 else 0))
        add(element, _tag("until"), write_moment(end, 6 if end % 1 else 0))


def evaluate(
    rules: Iterable[Rule],
    asker: Asker,
    kinds: Mapping[str, Kind],
    *,
    listed: Callable[[str], bool] = lambda anchor: False,
    holds: Callable[[Other], bool] = lambda condition: False,
) -> dict[str, int]:
    """Return which permissions rules give.

    Args:
        rules: of one document.
        asker: to whom.
        kinds: the permissions that are asked for, by tag.
        listed: whether the asker is in the external list with this anchor; one that cannot be
            read counts as empty.
        holds: whether a condition holds that only the application knows.

    Returns:
        for each tag of ``kinds`` the rank of its value there: 0 for the least, which is what
        stands when no rule says otherwise; 0 and 1 are the truth values of a BOOLEAN.

    Spec: RFC 4745 §10 (the highest value of all matching rules counts); OMA-TS-XDM_Core V1.1
        (rules for named users come before those for lists, those before the ones for
        anonymous askers, and those before the ones for everybody else)
    """
    matching = [
        one
        for one in rules
        if all(_holds(condition, asker, listed, holds) for condition in one.conditions)
    ]
    # Rules that do not look at who asks are for all.
    first = min((one for one in map(_precedence, matching) if one is not None), default=None)
    result = dict.fromkeys(kinds, 0)
    for rule in matching:
        if _precedence(rule) in (None, first):
            for permission in (*rule.actions, *rule.transformations):
                kind = kinds.get(permission.tag)
                if kind is not None:
                    rank = _rank(permission.text, kind)
                    result[permission.tag] = max(rank, result[permission.tag])
    return result


def external_lists(rules: Iterable[Rule]) -> tuple[str, ...]:
    """Return the anchors of all external lists, each once: what to fetch before evaluating."""
    anchors = [
        anchor
        for rule in rules
        for condition in rule.conditions
        if isinstance(condition, ExternalList)
        for anchor in condition.anchors
    ]
    return tuple(dict.fromkeys(anchors))


def identity_key(uri: str) -> str:
    """Return the same text for URIs of one user.

    Scheme and host are put in lower case; ports, parameters, headers, angle brackets and the
    separators of telephone numbers are left out.

    Spec: RFC 4745 §7.2; RFC 3966 §5 (telephone numbers)
    """
    text = uri.strip().strip("<>").strip()
    scheme, colon, rest = text.partition(":")
    if not colon:
        return text.lower()
    scheme = scheme.lower()
    if scheme == "tel":
        return "tel:" + rest.partition(";")[0].translate(_SEPARATORS)
    user, at, host = rest.partition("@") if "@" in rest else ("", "", rest)
    host = host.partition(";")[0].partition("?")[0].lower()
    if host.startswith("["):
        host = host.partition("]")[0] + "]"
    else:
        host = host.partition(":")[0]
    # Octets that are no text must not become the same.
    return f"{scheme}:{unquote(user, errors='surrogateescape')}{at}{host}"


def _holds(
    condition: Condition,
    asker: Asker,
    listed: Callable[[str], bool],
    holds: Callable[[Other], bool],
) -> bool:
    if isinstance(condition, Identity):
        keys = [identity_key(one) for one in asker.identities]
        return any(identity_key(one) in keys for one in condition.ones) or any(
            _is_of(key, many) for many in condition.many for key in keys
        )
    if isinstance(condition, Sphere):
        wanted = asker.sphere.lower()
        return bool(wanted) and any(one.lower() == wanted for one in condition.values)
    if isinstance(condition, Validity):
        return any(start <= asker.now < end for start, end in condition.periods)
    if isinstance(condition, ExternalList):
        return bool(asker.identities) and any(listed(one) for one in condition.anchors)
    if condition.tag == OTHER_IDENTITY:
        return bool(asker.identities)
    if condition.tag == ANONYMOUS_REQUEST:
        return asker.anonymous
    return holds(condition)


def _is_of(key: str, many: Many) -> bool:
    scheme, _, rest = key.partition(":")
    domain = "" if scheme == "tel" else _plain_domain(rest.rpartition("@")[2])
    if many.domain and (not domain or domain != _plain_domain(many.domain)):
        return False
    if any(identity_key(one) == key for one in many.except_ids):
        return False
    return not domain or all(_plain_domain(one) != domain for one in many.except_domains)


def _plain_domain(domain: str) -> str:
    """Return a domain to compare; "" for one that equals no other (RFC 4745 §7.1.3)."""
    try:
        return unquote(domain).lower().encode("idna").decode()
    except UnicodeError:
        return ""


def _precedence(rule: Rule) -> int | None:
    """Return how early a rule counts by who asks; ``None`` when it does not look at that."""
    found = None
    for condition in rule.conditions:
        place = None
        if isinstance(condition, ExternalList):
            place = 1
        elif isinstance(condition, Identity):
            place = 0
        elif isinstance(condition, Other):
            place = {ANONYMOUS_REQUEST: 2, OTHER_IDENTITY: 3}.get(condition.tag, 0)
        if place is not None:
            found = place if found is None else min(found, place)
    return found


def _rank(text: str, kind: Kind) -> int:
    for rank, spellings in enumerate(kind):
        if text in spellings:
            return rank
    return 0


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


_EXTERNAL_LIST: Final = f"{{{OMA_NAMESPACE}}}external-list"
_ENTRY: Final = f"{{{OMA_NAMESPACE}}}entry"
_SEPARATORS: Final = dict.fromkeys(map(ord, "-.() "))
