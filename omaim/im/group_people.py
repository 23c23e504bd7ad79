"""Who gets a message to a group, and who may send one.

A member may be a group itself. Its members get the message if it lets the sender write, or the
group that it is a member of, for which whoever writes there speaks. A group that is met twice
counts once, so that groups which contain one another have an end.

Spec: OMA SIMPLE IM 1.0 (pre-defined groups, controlling function); RFC 4745 §10
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import attrs

from omaim.im.groups import Group
from omaim.im.policy import Refusal
from omaim.im.room_rules import NOT_A_MEMBER

NESTED: Final = 100  # groups that are looked into for one message, the outermost among them

NO_PAGER: Final = "119 Function not allowed: this group takes no messages outside of sessions"
NAMELESS: Final = "119 Function not allowed: this group lets nobody write without a name"
TOO_MANY: Final = "119 Function not allowed: this group is too large for messages"

# Returns the group of a canonical address, if it is one of ours.
Find = Callable[[str], Awaitable[Group | None]]


@attrs.frozen
class Audience:
    """Who gets a message.

    Attributes:
        people: canonical addresses, each with that of the group it is a member of.
        closed: groups inside that do not let the sender write.
    """

    people: dict[str, str]
    closed: tuple[str, ...] = ()


async def audience(
    group: Group, names: Collection[str], hidden: bool, find: Find, most: int
) -> Audience:
    """Return who gets a message to a group.

    Args:
        names: all canonical addresses of the sender, who gets none.
        hidden: the sender wants to stay unknown.
        find: looks into members that may be groups.
        most: people.

    Raises:
        Refusal: the sender may not write to this group, or there are too many people or groups
            in it.
        Unavailable: a group cannot be read now.
    """
    refuse_pager(group)
    own = frozenset(names)
    people: dict[str, str] = {}
    closed: list[str] = []
    above = {group.uri: ""}  # of each group that was met, by which it was
    spoken_for: set[str] = set()  # groups by which the sender is a member
    todo = deque([group])
    while todo and len(people) <= most and len(above) <= NESTED:
        one = todo.popleft()
        if one is not group:
            if not (one.pager and may_write(one, (*names, above[one.uri]), hidden)):
                closed.append(one.uri)
                continue
            if not own.isdisjoint(one.members):
                spoken_for.update(_upwards(one.uri, above))
        for member in one.members:
            if member in own or member in people or member in above:
                continue
            nested = await find(member)
            if nested is None:
                people[member] = one.uri
            else:
                above[member] = one.uri
                todo.append(nested)
                if len(above) > NESTED:
                    break
    check_writer(group, (*names, *sorted(spoken_for)), hidden)
    if len(people) > most or len(above) > NESTED:
        raise Refusal(TOO_MANY)
    return Audience(people, tuple(closed))


def _upwards(uri: str, above: dict[str, str]) -> list[str]:
    """Return a group inside, and those it is in, without the outermost."""
    found = []
    while above[uri]:
        found.append(uri)
        uri = above[uri]
    return found


def refuse_pager(group: Group) -> None:
    """Make sure that a group takes messages outside of sessions.

    Raises:
        Refusal: it does not.
    """
    if not group.pager:
        raise Refusal(NO_PAGER)


def check_writer(group: Group, names: tuple[str, ...], hidden: bool) -> None:
    """Make sure that somebody may write to a group.

    Raises:
        Refusal: it may not.
    """
    if hidden and not group.rights(names, True).anonymous:
        raise Refusal(NAMELESS)
    if not may_write(group, names, hidden):
        raise Refusal(NOT_A_MEMBER)


def may_write(group: Group, names: tuple[str, ...], hidden: bool) -> bool:
    """Tell whether somebody may write to a group: its members, and who may join its sessions."""
    rights = group.rights(names, hidden)
    if hidden and not rights.anonymous:
        return False
    return rights.join or not frozenset(names).isdisjoint(group.members)
