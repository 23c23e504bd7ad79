"""What a running core can be told: end registrations, add and remove users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omaim.core.registrar import Registrar
from omaim.errors import PeerError, UsageError
from omaim.node.node import Node
from omaim.node.people import make_user
from omaim.sip.bindings import DEACTIVATED, PROBATION, REJECTED
from omaim.sip.uri import canonical_aor
from omaim.stores.records import User

EVENTS = (DEACTIVATED, PROBATION, REJECTED)


class Commands:
    """The commands of one core.

    Args:
        domain: its home domain, the realm of passwords.
        registrar: returns its registrar.
    """

    def __init__(self, node: Node, domain: str, registrar: Callable[[], Registrar]) -> None:
        self._users = node.stores.users
        self._domain = domain
        self._registrar = registrar

    async def deregister(
        self, aor: str, event: str = DEACTIVATED, retry_after: int = 0, contact: str = ""
    ) -> dict[str, Any]:
        """End registrations of a user by order of the network.

        Args:
            event: deactivated (register anew), probation (register later) or rejected.
            retry_after: seconds, with probation.
            contact: the one to end; all if empty.

        Spec: RFC 3680 §5.1
        """
        uri, _ = self._user(aor)
        if event not in EVENTS:
            raise UsageError(f"event is one of {', '.join(EVENTS)}")
        try:
            seconds = int(retry_after)
        except ValueError:
            raise UsageError("retry_after is a number of seconds") from None
        ended = await self._registrar().deregister(uri, event, seconds, contact)
        return {"aor": uri, "ended": ended}

    async def add(self, aor: str, password: str, private: str = "") -> dict[str, Any]:
        """Add a user, who may register at once."""
        uri = self._address(aor)
        if self._users.peek_by_identity(uri) is not None:
            raise UsageError(f"{uri} exists already")
        user = make_user(private or uri.partition(":")[2], self._domain, password, (uri,))
        if self._users.peek(user.private_id) is not None:
            raise UsageError(f"the name {user.private_id} is taken")
        await self._users.put(user)
        return {"aor": uri, "private": user.private_id}

    async def remove(self, aor: str) -> dict[str, Any]:
        """Remove a user; registrations end as rejected."""
        uri, user = self._user(aor)
        ended = await self._registrar().deregister(uri, REJECTED)
        await self._users.remove(user.private_id)
        return {"aor": uri, "private": user.private_id, "ended": ended}

    def _user(self, aor: str) -> tuple[str, User]:
        uri = self._address(aor)
        user = self._users.peek_by_identity(uri)
        if user is None:
            raise UsageError(f"{uri} is nobody here")
        return uri, user

    def _address(self, text: str) -> str:
        try:
            uri = canonical_aor(text if ":" in text else f"sip:{text}")
        except PeerError as error:
            raise UsageError(f"{text} is no address: {error.why}") from None
        domain = uri.rpartition("@")[2]
        if uri.startswith("sip:") and ("@" not in uri or domain != self._domain.lower()):
            raise UsageError(f"{uri} is not of {self._domain}")
        return uri


def add_commands(node: Node, entity: str, domain: str, registrar: Callable[[], Registrar]) -> None:
    """Let a core be told things over its node's control socket."""
    commands = Commands(node, domain, registrar)
    for name, act, help, values, needs in (
        (
            "deregister",
            commands.deregister,
            "end registrations of a user",
            ("event", "retry_after", "contact"),
            ("aor",),
        ),
        ("add-user", commands.add, "add a user", ("private",), ("aor", "password")),
        ("remove-user", commands.remove, "remove a user", (), ("aor",)),
    ):
        node.control.add(name, act, help, entity=entity, domain=domain, values=values, needs=needs)
