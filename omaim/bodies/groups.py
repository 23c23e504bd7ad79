"""application/vnd.oma.poc.groups+xml: groups, their members, and who may do what in them.

Spec: OMA-TS-XDM_Shared_Group V1.1 (list-service); namespace urn:oma:xml:poc:list-service

Differs: elements of other specifications behind the rules are overlooked, but for subject,
searchable, supported-services and session-active-policy. What the last one holds is in no
published schema: read are ``duration``, in seconds or as xs:duration, and ``validity``, with
``from`` and ``until`` as in RFC 4745 §7.4; what else stands in it is overlooked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import attrs

from omaim.bodies.common_policy import (
    BOOLEAN,
    EXTENSIONS,
    OMA_NAMESPACE,
    Asker,
    Kind,
    Other,
    Rule,
    Validity,
    evaluate,
    identity_key,
    read_rules,
    read_validity,
    write_rules,
    write_validity,
)
from omaim.bodies.common_policy import NAMESPACE as POLICY
from omaim.bodies.resource_lists import NAMESPACE as LISTS
from omaim.bodies.resource_lists import NESTING, Entry
from omaim.bodies.xml import (
    BadXml,
    Element,
    add,
    boolean,
    child,
    children,
    local_name,
    namespace_of,
    new_root,
    parse_xml,
    text_of,
    whole,
    write_xml,
)

MEDIA_TYPE: Final = "application/vnd.oma.poc.groups+xml"
NAMESPACE: Final = "urn:oma:xml:poc:list-service"
AUID: Final = "org.openmobilealliance.groups"

MEMBERS: Final = 5000  # of one group
ELSEWHERE: Final = 100  # members and lists of one group that stand elsewhere
GROUPS: Final = 100  # of one document
PERIODS: Final = 100  # of the times at which one group may have a session
SIZE: Final = 2_097_152  # octets of a document

MESSAGE_SESSION: Final = "message-session"  # media of supported-services
PAGER_MODE: Final = "pager-mode-message"
FILE_TRANSFER: Final = "file-transfer"

LIST_MEMBER: Final = f"{{{NAMESPACE}}}is-list-member"

_JOIN: Final = f"{{{NAMESPACE}}}join-handling"
_INITIATE: Final = f"{{{NAMESPACE}}}allow-initiate-conference"
_INVITE: Final = f"{{{NAMESPACE}}}allow-invite-users-dynamically"
_ROSTER: Final = f"{{{NAMESPACE}}}allow-conference-state"
_ANONYMITY: Final = f"{{{NAMESPACE}}}allow-anonymity"
_KEY: Final = f"{{{NAMESPACE}}}is-key-participant"
_EXPEL: Final = f"{{{EXTENSIONS}}}allow-expelling"
_PRIVATE: Final = f"{{{EXTENSIONS}}}allow-private-message"
_SUBCONFERENCE: Final = f"{{{EXTENSIONS}}}allow-subconf"
_ACTIONS: Final[Mapping[str, Kind]] = dict.fromkeys(
    (_JOIN, _INITIATE, _INVITE, _ROSTER, _ANONYMITY, _KEY, _EXPEL, _PRIVATE, _SUBCONFERENCE),
    BOOLEAN,
)

_ORDER: Final = ("display-name", "list", "invite-members", "max-participant-count", "ruleset")
_DURATION: Final = re.compile(
    r"P(?:([0-9]{1,6})D)?(?:T(?=[0-9])(?:([0-9]{1,6})H)?(?:([0-9]{1,6})M)?(?:([0-9]{1,9})(?:\.[0-9]+)?S)?)?"
)
_SECONDS: Final = (86_400, 3600, 60, 1)
_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"


class BadGroup(BadXml):
    """The body is not a document of groups."""


@attrs.frozen
class Rights:
    """What somebody may do in a group."""

    join: bool = False
    initiate: bool = False  # start its session
    invite: bool = False  # others, while it lasts
    expel: bool = False
    roster: bool = False  # see who is there
    anonymity: bool = False  # be there without a name
    private_messages: bool = False  # to one participant
    subconference: bool = False
    key_participant: bool = False  # the session ends with them


@attrs.frozen
class Service:
    """A service that a group is for.

    Spec: OMA-TS-XDM_Shared_Group V1.1 (supported-services)
    """

    enabler: str
    media: tuple[str, ...] = ()  # MESSAGE_SESSION and so on


@attrs.frozen
class ActivePolicy:
    """When a group may have a session.

    Spec: OMA-TS-XDM_Shared_Group V2.0 (session-active-policy)
    """

    duration: int = 0  # seconds from its start to its end; 0 without a limit
    periods: tuple[tuple[float, float], ...] = ()  # from, and until without it; none: always


@attrs.frozen
class GroupDocument:
    """One group: a ``list-service``.

    Spec: OMA-TS-XDM_Shared_Group V1.1
    """

    uri: str
    display_name: str = ""
    lang: str = ""  # of the name
    members: tuple[Entry, ...] = ()
    externals: tuple[str, ...] = ()  # URIs of lists whose entries are members, too
    entry_refs: tuple[str, ...] = ()  # of single entries that are; relative to the XCAP root
    invite_members: bool = False  # true: a pre-defined group; false: a chat room
    max_participants: int | None = None
    rules: tuple[Rule, ...] = ()
    subject: str = ""
    searchable: bool | None = None
    services: tuple[Service, ...] = ()  # none said: all
    active: ActivePolicy | None = None

    def has_member(self, identities: Collection[str]) -> bool:
        """Tell whether a user is named in the document itself, by any of their URIs.

        See ``externals`` and ``entry_refs`` for what stands elsewhere.
        """
        keys = {identity_key(one) for one in identities}
        return any(identity_key(one.uri) in keys for one in self.members)

    def rights(
        self,
        identities: Sequence[str],
        is_member: bool,
        anonymous: bool,
        now: float,
        listed: Callable[[str], bool] = lambda anchor: False,
    ) -> Rights:
        """Return what somebody may do.

        Args:
            identities: their authenticated URIs; none when nobody knows who they are.
            is_member: whether they are in the list of the group.
            anonymous: whether they ask not to be named. Who is nameless for this or for want
                of an identity may join and initiate only if anonymity is allowed to them.
            now: seconds since the epoch.
            listed: whether they are in the list with this anchor, if rules name lists
                (:func:`omaim.bodies.common_policy.external_lists`).

        Spec: OMA-TS-XDM_Shared_Group V1.1; RFC 4745 §10
        """
        asker = Asker(tuple(identities), now, anonymous or not identities)

        def holds(condition: Other) -> bool:
            return is_member and condition.tag == LIST_MEMBER and condition.text in _PLAINLY

        given = evaluate(self.rules, asker, _ACTIONS, listed=listed, holds=holds)
        welcome = not asker.anonymous or bool(given[_ANONYMITY])
        return Rights(
            join=welcome and bool(given[_JOIN]),
            initiate=welcome and bool(given[_INITIATE]),
            invite=bool(given[_INVITE]),
            expel=bool(given[_EXPEL]),
            roster=bool(given[_ROSTER]),
            anonymity=bool(given[_ANONYMITY]),
            private_messages=bool(given[_PRIVATE]),
            subconference=bool(given[_SUBCONFERENCE]),
            key_participant=bool(given[_KEY]),
        )

    def supports(self, media: str) -> bool:
        """Tell whether a kind of service is meant for the group; everything is, if none is said."""
        return not self.services or any(media in one.media for one in self.services)


def parse_groups(data: bytes) -> tuple[GroupDocument, ...]:
    """Return the groups of a document.

    Raises:
        BadXml: not this XML, its elements are out of order, a URI is missing or stands twice
            (400); too large, or too many members (413).
    """
    root = parse_xml(data, _tag("group"), size=SIZE, elements=4 * MEMBERS)
    found = tuple(_group(one) for one in children(root, _tag("list-service")))
    if not found or len(found) > GROUPS:
        raise BadGroup(f"a document of groups has one to {GROUPS} of them")
    if len({one.uri for one in found}) != len(found):
        raise BadGroup("two groups have the same URI")
    return found


def _group(element: Element) -> GroupDocument:
    _check_order(element)
    name = child(element, _tag("display-name"))
    members = _members(child(element, _tag("list")))
    invite = child(element, _tag("invite-members"))
    count = child(element, _tag("max-participant-count"))
    ruleset = child(element, f"{{{POLICY}}}ruleset")
    subject = child(element, _extension("subject"))
    searchable = child(element, _extension("searchable"))
    services = child(element, _extension("supported-services"))
    active = child(element, _extension("session-active-policy"))
    return GroupDocument(
        uri=_needed(element, "uri"),
        display_name="" if name is None else text_of(name),
        lang="" if name is None else name.get(_LANG) or "",
        members=tuple(members.entries),
        externals=tuple(members.externals),
        entry_refs=tuple(members.entry_refs),
        invite_members=invite is not None and boolean(text_of(invite)),
        max_participants=None if count is None else whole(text_of(count)),
        rules=() if ruleset is None else read_rules(ruleset),
        subject="" if subject is None else text_of(subject),
        searchable=None if searchable is None else boolean(text_of(searchable) or "true"),
        services=() if services is None else tuple(_service(one) for one in services),
        active=None if active is None else _active(active),
    )


def _check_order(element: Element) -> None:
    """Raise BadGroup unless what the schema orders is in order, each at most once."""
    last = -1
    for one in element:
        name = local_name(one)
        if namespace_of(one) not in (NAMESPACE, POLICY) or (
            (name == "ruleset") != (namespace_of(one) == POLICY)
        ):
            place = len(_ORDER)
        elif name in _ORDER:
            place = _ORDER.index(name)
            if place == last:
                raise BadGroup(f"a group has two elements {name}")
        else:
            raise BadGroup(f"a group holds {name[:40]}")
        if place < last:
            raise BadGroup(f"the element {name[:40]} of a group is out of order")
        last = place


@attrs.define
class _Members:
    """What the list of a group holds, and the lists inside it."""

    entries: list[Entry] = attrs.field(factory=list)
    externals: list[str] = attrs.field(factory=list)
    entry_refs: list[str] = attrs.field(factory=list)


def _members(element: Element | None) -> _Members:
    found = _Members()
    if element is not None:
        _read_members(element, found, NESTING)
    if len(found.entries) > MEMBERS:
        raise BadGroup(f"more than {MEMBERS} members", 413)
    if len(found.externals) + len(found.entry_refs) > ELSEWHERE:
        raise BadGroup(f"more than {ELSEWHERE} members and lists that stand elsewhere", 413)
    return found


def _read_members(element: Element, found: _Members, depth: int) -> None:
    if depth <= 0:
        raise BadGroup(f"lists nest deeper than {NESTING}")
    here = _Members()
    for one in element:
        if namespace_of(one) not in (NAMESPACE, LISTS):
            continue
        if local_name(one) == "entry":
            here.entries.append(_entry(one))
        elif local_name(one) == "external":
            here.externals.append(_needed(one, "anchor"))
        elif local_name(one) == "entry-ref":
            here.entry_refs.append(_needed(one, "ref"))
    for values in ([one.uri for one in here.entries], here.externals, here.entry_refs):
        if len(set(values)) != len(values):
            raise BadGroup("a member stands twice in one list")
    found.entries += here.entries
    for one in element:
        if namespace_of(one) in (NAMESPACE, LISTS) and local_name(one) == "list":
            _read_members(one, found, depth - 1)
    found.externals += [one for one in here.externals if one not in found.externals]
    found.entry_refs += [one for one in here.entry_refs if one not in found.entry_refs]


def _entry(element: Element) -> Entry:
    name = child(element, f"{{{LISTS}}}display-name")
    if name is None:
        name = child(element, _tag("display-name"))
    return Entry(
        _needed(element, "uri"),
        "" if name is None else text_of(name),
        "" if name is None else name.get(_LANG) or "",
    )


def _service(element: Element) -> Service:
    media = child(element, _extension("group-media"))
    names = () if media is None else tuple(local_name(one) for one in media)
    return Service(element.get("enabler", "").strip(), names)


def _active(element: Element) -> ActivePolicy:
    duration = 0
    periods: tuple[tuple[float, float], ...] = ()
    for one in element:
        name = local_name(one)
        if name == "duration":
            duration = _seconds(text_of(one))
        elif name == "validity":
            periods = read_validity(one).periods
            if len(periods) > PERIODS:
                raise BadGroup(f"more than {PERIODS} periods in which a session may go on", 413)
            if not periods:
                raise BadGroup("a group whose sessions may go on at no time")
    return ActivePolicy(duration, periods)


def _seconds(text: str) -> int:
    """Return how long a duration is (XML Schema Part 2 §3.2.6, without years and months)."""
    if text.isascii() and text.isdigit():
        return whole(text)
    found = _DURATION.fullmatch(text)
    seconds = 0
    if found is not None:
        seconds = sum(
            int(one or 0) * each for one, each in zip(found.groups(), _SECONDS, strict=True)
        )
    if not seconds:
        raise BadGroup(f"{text[:40]!r} is no duration of a session")
    return seconds


def _needed(element: Element, name: str) -> str:
    value = element.get(name, "").strip()
    if not value:
        raise BadGroup(f"{local_name(element)} without {name}")
    return value


def write_groups(groups: Iterable[GroupDocument]) -> bytes:
    """Return the document."""
    prefixes = {None: NAMESPACE, "rl": LISTS, "cp": POLICY, "ocp": OMA_NAMESPACE, "oxe": EXTENSIONS}
    root = new_root(_tag("group"), prefixes)
    for one in groups:
        _write_group(add(root, _tag("list-service"), "", [("uri", one.uri)]), one)
    return write_xml(root)


def _write_group(element: Element, group: GroupDocument) -> None:
    if group.display_name:
        lang = [(_LANG, group.lang)] if group.lang else []
        add(element, _tag("display-name"), group.display_name, lang)
    if group.members or group.externals or group.entry_refs:
        holder = add(element, _tag("list"))
        for one in group.members:
            entry = add(holder, _tag("entry"), "", [("uri", one.uri)])
            if one.name:
                lang = [(_LANG, one.lang)] if one.lang else []
                add(entry, f"{{{LISTS}}}display-name", one.name, lang)
        for anchor in group.externals:
            add(holder, _tag("external"), "", [("anchor", anchor)])
        for ref in group.entry_refs:
            add(holder, _tag("entry-ref"), "", [("ref", ref)])
    add(element, _tag("invite-members"), str(group.invite_members).lower())
    if group.max_participants is not None:
        add(element, _tag("max-participant-count"), str(group.max_participants))
    if group.rules:
        write_rules(add(element, f"{{{POLICY}}}ruleset"), group.rules)
    if group.services:
        services = add(element, _extension("supported-services"))
        for service in group.services:
            made = add(services, _extension("service"), "", [("enabler", service.enabler)])
            media = add(made, _extension("group-media"))
            for name in service.media:
                add(media, _extension(name))
    if group.subject:
        add(element, _extension("subject"), group.subject)
    if group.searchable is not None:
        add(element, _extension("searchable"), str(group.searchable).lower())
    if group.active is not None:
        active = add(element, _extension("session-active-policy"))
        if group.active.duration:
            add(active, _extension("duration"), str(group.active.duration))
        if group.active.periods:
            write_validity(add(active, f"{{{POLICY}}}validity"), Validity(group.active.periods))


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _extension(name: str) -> str:
    return f"{{{EXTENSIONS}}}{name}"


# Written without a value, or as true; what else it may say is in no published schema.
_PLAINLY: Final = ("", "true", "1")
