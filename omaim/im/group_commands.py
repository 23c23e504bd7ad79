"""What a running IM Server can be told about groups: add, list, show and remove them.

It writes the same documents that users write over XCAP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from omaim.bodies.groups import MEDIA_TYPE
from omaim.errors import PeerError, UsageError
from omaim.ids import Ids
from omaim.im.group_documents import define_groups, write_group
from omaim.im.groups import GLOBAL, Definitions, DocumentGroups, Group
from omaim.im.lists_elsewhere import Lists
from omaim.im.policy import sip_form
from omaim.im.room_rules import CHAT, GUEST, MEMBER, NONE, OWNER, PREDEFINED
from omaim.node.node import Node
from omaim.stores.interfaces import Conflict, Stores
from omaim.stores.records import Document

MOST = 1000  # groups of one answer


class GroupCommands:
    """The commands of one IM Server.

    Args:
        domain: its home domain; groups have addresses there, or below it.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        domain: str,
        groups: DocumentGroups,
        stores: Stores,
        ids: Ids,
        now: Callable[[], float],
    ) -> None:
        self._domain = domain.lower()
        self._groups = groups
        self._documents = stores.documents
        self._users = stores.users
        self._ids = ids
        self._now = now

    async def add(
        self,
        aor: str,
        members: str = "",
        owners: str = "",
        kind: str = CHAT,
        everybody: str = "",
        name: str = "",
        subject: str = "",
        most: int = 0,
    ) -> dict[str, Any]:
        """Define a group.

        Args:
            aor: its address.
            members, owners: addresses, with spaces between them; owners may expel and start it.
            kind: "chat", or "pre-defined": who starts it has its members invited.
            everybody: "yes" lets others come in, too.
            most: participants at a time, 0 without a limit.

        Raises:
            UsageError: it exists, or something in it is wrong.
        """
        uri = self._address(aor)
        if kind not in (CHAT, PREDEFINED):
            raise UsageError(f"kind is {CHAT} or {PREDEFINED}")
        body = write_group(
            uri,
            kind,  # type: ignore[arg-type]
            _addresses(members),
            name=name,
            subject=subject,
            most=_number(most),
            of_members=MEMBER,
            of_others=GUEST if everybody == "yes" else NONE,
            owners=_addresses(owners),
            of_owners=OWNER,
        )
        if self._users.peek_by_identity(uri) is not None:
            raise UsageError(f"{uri} is a user")
        if await self._groups.get(uri) is not None:
            raise UsageError(f"{uri} exists already")
        document = Document(GLOBAL + uri, self._ids.token(), MEDIA_TYPE, body, self._now())
        try:
            await self._documents.put(document)
        except Conflict:
            raise UsageError(f"{uri} exists already") from None
        return await self.show(uri)

    async def find(self, aor: str) -> Group | None:
        """Return the group of an address, ``None`` if there is none.

        Raises:
            UsageError: it is no address of ours.
        """
        found: Group | None = await self._groups.get(self._address(aor))
        return found

    async def all(self, after: str = "") -> dict[str, Any]:
        """Return the groups behind ``after`` by address, a bounded number."""
        await self._groups.refresh()
        found = [one for one in self._groups.known() if one.uri > after]
        return {"groups": [_shortly(one) for one in found[:MOST]], "more": len(found) > MOST}

    async def show(self, aor: str) -> dict[str, Any]:
        """Return one group.

        Raises:
            UsageError: there is none of that address.
        """
        found = await self.find(aor)
        if found is None:
            raise UsageError(f"{self._address(aor)} is no group")
        return {
            **_shortly(found),
            "subject": found.subject,
            "members": list(found.members),
            "everybody": found.rights(("sip:somebody@else.invalid",), False).join,
        }

    async def remove(self, aor: str) -> dict[str, Any]:
        """Remove a group that was added here.

        Raises:
            UsageError: there is none, or a user has defined it.
        """
        uri = self._address(aor)
        document = await self._documents.get(GLOBAL + uri)
        if document is None:
            raise UsageError(f"{uri} was not added here")
        try:
            await self._documents.remove(document.path, document.etag)
        except Conflict:
            raise UsageError(f"{uri} is being changed: try again") from None
        await self._groups.refresh()
        return {"aor": uri}

    def _address(self, text: str) -> str:
        uri = _address(text)
        if not is_of(uri, self._domain):
            raise UsageError(f"{uri} is not of {self._domain}")
        return uri


def is_of(uri: str, domain: str) -> bool:
    """Tell whether a canonical address is of a domain (lower case), or of one below it."""
    host = uri.rpartition("@")[2]
    return host == domain or host.endswith("." + domain)


def _shortly(group: Group) -> dict[str, Any]:
    return {
        "aor": group.uri,
        "name": group.name,
        "kind": group.kind,
        "most": group.most,
        "count": len(group.members),
    }


def _address(text: str) -> str:
    try:
        return sip_form(text if ":" in text else f"sip:{text}")
    except PeerError as error:
        raise UsageError(f"{text} is no address: {error.why}") from None


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_address(one) for one in text.split()))


def _number(value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if number < 0:
        raise UsageError("most is a number of participants")
    return number


def serve_groups(
    node: Node, entity: str, domain: str, root: str = ""
) -> tuple[DocumentGroups, GroupCommands]:
    """Return the groups of one IM Server, and its commands: it can be told from now on.

    Args:
        root: XCAP root of the documents in the store; "" for that of the domain.

    Only those whose addresses are of its domain, or one below it, are its own: other servers may
    keep theirs in the same store.
    """
    now, ours = node.now, domain.lower()

    roots = (root,) if root else (f"http://xcap.{ours}", f"https://xcap.{ours}")
    lists = Lists(node.stores.documents, roots)

    async def read(path: str, body: bytes) -> Definitions:
        defined = await define_groups(path, body, now, lists)
        return attrs.evolve(defined, groups=[one for one in defined.groups if is_of(one.uri, ours)])

    groups = DocumentGroups(node.stores.documents, read, lists.unchanged, node.clock.seconds)
    commands = GroupCommands(domain, groups, node.stores, node.ids, now)
    more = ("members", "owners", "kind", "everybody", "name", "subject", "most")
    for name, act, help, values, needs in (
        ("add-group", commands.add, "define a group", more, ("aor",)),
        ("groups", commands.all, "list the groups", ("after",), ()),
        ("group", commands.show, "one group: its members and what it is", (), ("aor",)),
        ("remove-group", commands.remove, "remove a group", (), ("aor",)),
    ):
        node.control.add(name, act, help, entity=entity, domain=domain, values=values, needs=needs)
    return groups, commands
