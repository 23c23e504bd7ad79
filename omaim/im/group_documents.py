"""Groups and the documents in which they are written.

Members, and people with rights, may stand in lists elsewhere: see
:mod:`omaim.im.lists_elsewhere`.

Spec: OMA XDM (group documents); RFC 4745 §10
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from omaim.bodies.common_policy import (
    EXTENSIONS,
    OTHER_IDENTITY,
    Identity,
    Other,
    Permission,
    Rule,
    external_lists,
)
from omaim.bodies.groups import (
    LIST_MEMBER,
    MEMBERS,
    MESSAGE_SESSION,
    NAMESPACE,
    PAGER_MODE,
    ActivePolicy,
    BadGroup,
    GroupDocument,
    parse_groups,
    write_groups,
)
from omaim.bodies.resource_lists import Entry
from omaim.errors import PeerError
from omaim.im.groups import TREE, Definitions, Group
from omaim.im.lists_elsewhere import Elsewhere, Lists
from omaim.im.policy import sip_form
from omaim.im.room_rules import CHAT, NONE, PREDEFINED, Kind, Rights, RightsOf

# What each right is called in a document.
ACTIONS: Final = {
    "join": f"{{{NAMESPACE}}}join-handling",
    "initiate": f"{{{NAMESPACE}}}allow-initiate-conference",
    "invite": f"{{{NAMESPACE}}}allow-invite-users-dynamically",
    "see": f"{{{NAMESPACE}}}allow-conference-state",
    "anonymous": f"{{{NAMESPACE}}}allow-anonymity",
    "key": f"{{{NAMESPACE}}}is-key-participant",
    "expel": f"{{{EXTENSIONS}}}allow-expelling",
    "private": f"{{{EXTENSIONS}}}allow-private-message",
}


def read_groups(data: bytes, now: Callable[[], float]) -> list[Group]:
    """Return the groups of a document, taking lists that stand elsewhere as empty.

    Raises:
        BadXml: see :func:`omaim.bodies.groups.parse_groups`.
        PeerError: the URI of a group is none.
    """
    return [_group(one, now, Elsewhere()) for one in parse_groups(data)]


async def define_groups(
    path: str, data: bytes, now: Callable[[], float], lists: Lists
) -> Definitions:
    """Return the groups of a document, with those who stand in lists elsewhere.

    Args:
        path: of the document.

    Raises:
        PeerError: see :func:`read_groups`.
        Unavailable: the store cannot answer.
    """
    documents = parse_groups(data)
    pointers = [
        pointer
        for one in documents
        for pointer in (*one.externals, *one.entry_refs, *external_lists(one.rules))
    ]
    elsewhere = await lists.find(pointers, _owner(path)) if pointers else Elsewhere()
    return Definitions([_group(one, now, elsewhere) for one in documents], elsewhere.used)


def _owner(path: str) -> str:
    """Return whose document this is, "" for one of the operator."""
    tree, _, rest = path.removeprefix(TREE).partition("/")
    return rest.partition("/")[0] if tree == "users" else ""


def _group(document: GroupDocument, now: Callable[[], float], elsewhere: Elsewhere) -> Group:
    members = dict.fromkeys(_members(document))
    for pointer in (*document.externals, *document.entry_refs):
        members.update(dict.fromkeys(elsewhere.at(pointer)))
    if len(members) > MEMBERS:
        raise BadGroup(f"more than {MEMBERS} members, with those in lists elsewhere", 413)
    active = document.active or ActivePolicy()
    return Group(
        uri=sip_form(document.uri),
        rights=_rights_of(document, frozenset(members), now, elsewhere),
        kind=PREDEFINED if document.invite_members else CHAT,
        name=document.display_name,
        subject=document.subject,
        members=tuple(members),
        most=document.max_participants or 0,
        sessions=document.supports(MESSAGE_SESSION),
        pager=document.supports(PAGER_MODE),
        duration=float(active.duration),
        periods=active.periods,
    )


def _members(document: GroupDocument) -> list[str]:
    """Return the canonical addresses of the members; who has none cannot be one."""
    found = []
    for one in document.members:
        try:
            found.append(sip_form(one.uri))
        except PeerError:
            continue
    return found


def _rights_of(
    document: GroupDocument,
    members: frozenset[str],
    now: Callable[[], float],
    elsewhere: Elsewhere,
) -> RightsOf:
    lists = {one: frozenset(elsewhere.at(one)) for one in external_lists(document.rules)}

    def rights(identities: tuple[str, ...], anonymous: bool) -> Rights:
        is_member = not members.isdisjoint(identities)
        given = document.rights(
            identities,
            is_member,
            anonymous,
            now(),
            lambda anchor: not lists[anchor].isdisjoint(identities),
        )
        return Rights(
            join=given.join,
            initiate=given.initiate,
            invite=given.invite,
            expel=given.expel,
            see=given.roster,
            anonymous=given.anonymity,
            private=given.private_messages,
            key=given.key_participant,
        )

    return rights


def write_group(
    uri: str,
    kind: Kind,
    members: tuple[str, ...],
    *,
    name: str = "",
    subject: str = "",
    most: int = 0,
    of_members: Rights,
    of_others: Rights = NONE,
    owners: tuple[str, ...] = (),
    of_owners: Rights = NONE,
) -> bytes:
    """Return the document of one group with rights for its members, its owners, and others."""
    rules = []
    if owners:
        rules.append(_rule("owners", Identity(owners), of_owners))
    rules.append(_rule("members", Other(LIST_MEMBER), of_members))
    if of_others != NONE:
        rules.append(_rule("others", Other(OTHER_IDENTITY), of_others))
    return write_groups(
        [
            GroupDocument(
                uri,
                display_name=name,
                members=tuple(Entry(one) for one in members),
                invite_members=kind == PREDEFINED,
                max_participants=most or None,
                rules=tuple(rules),
                subject=subject,
            )
        ]
    )


def _rule(id: str, condition: Identity | Other, rights: Rights) -> Rule:
    actions = [Permission(tag, "true") for name, tag in ACTIONS.items() if getattr(rights, name)]
    return Rule(id, (condition,), tuple(actions))
