"""Commands to a running node, over its control socket.

Entities register what they can be told; ``omaim user`` and the like ask::

    node.control.add("deregister", deregister, "end registrations", entity="core-north",
                     domain="north.example")

A request is a JSON object with "command", and what the command needs; "entity" says which of
several entities is meant, and "aor" does so by its domain. "help" lists all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred

from omaim.errors import UsageError
from omaim.net.local import listen_local

if TYPE_CHECKING:
    from omaim.node.node import Node

Act = Callable[..., Any]  # gets the request's values by name; may return a Deferred or coroutine


@attrs.frozen
class Command:
    """One thing that a node, or an entity of it, can be told."""

    name: str
    act: Act
    help: str
    entity: str = ""  # "": the node itself
    domain: str = ""  # of the entity, "" if it has none
    values: tuple[str, ...] = ()  # names that the command takes
    needs: tuple[str, ...] = ()  # those of them that it cannot do without


class Control:
    """The commands of one node."""

    def __init__(self) -> None:
        self._commands: list[Command] = []

    def add(
        self,
        name: str,
        act: Act,
        help: str,
        *,
        entity: str = "",
        domain: str = "",
        values: tuple[str, ...] = (),
        needs: tuple[str, ...] = (),
    ) -> None:
        """Let the node be told ``name`` from now on; see :class:`Command`."""
        self._commands.append(Command(name, act, help, entity, domain, values + needs, needs))

    def commands(self) -> tuple[Command, ...]:
        """Return all, in the order in which they were added."""
        return tuple(self._commands)

    async def run(self, request: Mapping[str, Any]) -> object:
        """Carry out a request.

        Raises:
            UsageError: there is no such command, or it misses something; the message says
                what there is.
            OmaimError: the command could not be carried out.
        """
        command = self._find(request)
        given = {
            key: value
            for key, value in request.items()
            if key not in ("command", "entity") or key in command.values
        }
        unknown = [key for key in given if key not in command.values]
        missing = [key for key in command.needs if not given.get(key)]
        if unknown or missing:
            takes = ", ".join(command.values) or "nothing"
            raise UsageError(f"{command.name} takes {takes}; missing: {', '.join(missing) or '-'}")
        wrong = [key for key, value in given.items() if not isinstance(value, (str, int, float))]
        if wrong:
            raise UsageError(f"{', '.join(wrong)}: only text and numbers are understood")
        result = command.act(**given)
        if hasattr(result, "__await__") and not isinstance(result, Deferred):
            result = Deferred.fromCoroutine(result)
        return await maybeDeferred(lambda: result)

    def _find(self, request: Mapping[str, Any]) -> Command:
        name = request.get("command")
        found = [command for command in self._commands if command.name == name]
        if not found:
            there = ", ".join(dict.fromkeys(command.name for command in self._commands))
            raise UsageError(f"no command is called {name}; there are: {there}")
        entity = request.get("entity")
        if entity:
            found = [command for command in found if command.entity == entity]
        elif len(found) > 1:
            domain = str(request.get("aor", "")).rpartition("@")[2].lower()
            found = [command for command in found if command.domain == domain]
        if len(found) != 1:
            there = ", ".join(one.entity for one in self._commands if one.name == name)
            raise UsageError(f"{name} is for one of {there}: say which with entity")
        return found[0]


def listen_for_control(node: Node, path: str) -> None:
    """Take commands at a Unix socket until the node stops.

    Raises:
        Unavailable: it cannot listen there.
    """
    node.on_stop(listen_local(node.clock, path, node.control.run))
