"""What every node can be told: how it is, who its users are, where they are.

What changes something belongs to the entity that is responsible for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omaim.errors import PeerError, UsageError
from omaim.sip.uri import canonical_aor
from omaim.stores.records import User

if TYPE_CHECKING:
    from omaim.node.node import Node

MOST = 1000  # users of one answer


def add_commands(node: Node) -> None:
    """Let a node be asked about itself."""
    control = node.control
    control.add("help", lambda: _help(node), "list the commands")
    control.add("status", lambda: _status(node), "how the process is")
    control.add("users", lambda after="": _users(node, after), "list the users", values=("after",))
    control.add(
        "user",
        lambda aor: Describe(node).user(aor),
        "one user: identities, bindings, messages that wait",
        needs=("aor",),
    )


def aor_of(text: str) -> str:
    """Return the canonical address of record in what a person typed.

    Raises:
        UsageError: it is none.
    """
    try:
        return canonical_aor(text if ":" in text else f"sip:{text}")
    except PeerError as error:
        raise UsageError(f"{text} is no address: {error.why}") from None


def _help(node: Node) -> list[dict[str, Any]]:
    return [
        {
            "command": one.name,
            "entity": one.entity,
            "takes": list(one.values),
            "needs": list(one.needs),
            "help": one.help,
        }
        for one in node.control.commands()
    ]


def _status(node: Node) -> dict[str, Any]:
    return {
        "name": node.config.name,
        "ready": node.is_ready,
        "entities": list(node.entities),
        "places": [
            {"name": one.name, "role": one.role, "at": f"{one.host}:{one.port}"}
            for one in node.directory.places()
        ],
        "stores": dict(node.stores.gauges()),
    }


def _users(node: Node, after: str) -> dict[str, Any]:
    """Return the users behind ``after`` in the order of their names, a bounded number."""
    names = sorted(name for name in node.stores.users.private_ids() if name > after)
    found = []
    for name in names[:MOST]:
        user = node.stores.users.peek(name)
        if user is not None:
            found.append(_shortly(node, user))
    return {"users": found, "more": len(names) > MOST}


def _shortly(node: Node, user: User) -> dict[str, Any]:
    now = node.now()
    return {
        "private": user.private_id,
        "identities": [one.uri for one in user.identities if not one.barred],
        "im": user.im_service,
        "contacts": [
            one.contact
            for identity in user.identities
            for one in node.stores.bindings.peek(identity.uri).bindings
            if one.expires_at > now
        ],
    }


class Describe:
    """Answers about the users of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def user(self, aor: str) -> dict[str, Any]:
        """Return what the node knows of one user.

        Raises:
            UsageError: it has no such user.
        """
        stores, now = self._node.stores, self._node.now()
        uri = aor_of(aor)
        found = stores.users.peek_by_identity(uri)
        waiting = await stores.deferred.usage(uri)
        if found is None and not waiting.count:
            raise UsageError(f"{uri} is nobody here")
        bindings = [
            {
                "contact": one.contact,
                "seconds": round(one.expires_at - now),
                "path": list(one.path),
            }
            for identity in (found.identities if found else ())
            for one in stores.bindings.peek(identity.uri).bindings
            if one.expires_at > now
        ]
        return {
            "aor": uri,
            "private": found.private_id if found else "",
            "identities": [
                {"uri": one.uri, "barred": one.barred}
                for one in (found.identities if found else ())
            ],
            "bindings": bindings,
            "waiting": {"messages": waiting.count, "octets": waiting.size},
        }
