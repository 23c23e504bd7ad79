"""The groups file: chat rooms and other groups of an IM Server, as TOML that a person can write.

::

    [[group]]
    address = "room.lobby@north.example"
    name = "Lobby"
    everybody = true                            # others than members may come in
    members = ["alice@north.example"]
    owners = ["bob@north.example"]              # may expel, and start it; no members by that
    kind = "chat"                               # or "pre-defined": its members are called
    subject = "Anything"
    most = 50                                   # participants at a time; 0 for no limit

What the file names is written to the document store when the server starts, where it is not
there; what somebody has changed since stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from omaim.errors import UsageError
from omaim.im.group_commands import GroupCommands
from omaim.node.config import read_file

_TEXTS: Final = ("name", "subject", "kind")
_LISTS: Final = ("members", "owners")
_KEYS: Final = frozenset({"address", "everybody", "most", *_TEXTS, *_LISTS})


def read_group_file(path: str) -> list[dict[str, Any]]:
    """Return the groups of a file, as :meth:`~omaim.im.group_commands.GroupCommands.add` has them.

    Raises:
        UsageError: the file or an entry is wrong; the message says which.
    """
    groups = read_file(path).get("group", [])
    if not isinstance(groups, list):
        raise UsageError(f"{path}: write each group under a heading [[group]]")
    return [_group(entry, f"{path}: group {at}") for at, entry in enumerate(groups, 1)]


def _group(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    unknown = set(entry) - _KEYS
    if unknown:
        raise UsageError(f"{where}: unknown {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {"aor": entry.get("address", "")}
    if not isinstance(values["aor"], str) or not values["aor"]:
        raise UsageError(f"{where}: needs an address")
    for key in _TEXTS:
        if key in entry:
            if not isinstance(entry[key], str):
                raise UsageError(f"{where}: {key} is a text")
            values[key] = entry[key]
    for key in _LISTS:
        found = entry.get(key, [])
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise UsageError(f"{where}: {key} is a list of addresses")
        values[key] = " ".join(found)
    everybody = entry.get("everybody", False)
    if not isinstance(everybody, bool):
        raise UsageError(f"{where}: everybody is true or false")
    values["everybody"] = "yes" if everybody else ""
    most = entry.get("most", 0)
    if not isinstance(most, int) or isinstance(most, bool):
        raise UsageError(f"{where}: most is a number")
    values["most"] = most
    return values


async def load_groups(commands: GroupCommands, path: str) -> int:
    """Define the groups of a file that are not there yet; return how many these were.

    Raises:
        UsageError: the file or an entry is wrong; the message says which.
        Unavailable: the store cannot take them.
    """
    count = 0
    for number, values in enumerate(read_group_file(path), 1):
        try:
            if await commands.find(values["aor"]) is None:
                await commands.add(**values)
                count += 1
        except UsageError as error:
            raise UsageError(f"{path}: group {number}: {error}") from None
    return count
