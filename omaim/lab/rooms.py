"""The chat rooms that are ready in a lab, and who talks there without a server between."""

from __future__ import annotations

from typing import Final

LOBBY: Final = "room.lobby@north.example"  # everybody may come in
BOARD: Final = "room.board@north.example"  # its members only, and Alice may put them out

# Sessions between them go from client to client (IM-9), all others pass the IM Servers.
DIRECT: Final = ("carol@north.example", "yusuf@south.example")

_NORTH: Final = f"""\
[[group]]
address = "{LOBBY}"
name = "Lobby"
subject = "Anything"
everybody = true

[[group]]
address = "{BOARD}"
name = "Board"
owners = ["alice@north.example"]
members = ["alice@north.example", "bob@north.example", "xenia@south.example"]
"""


def groups_file(short: str) -> str:
    """Return the groups file of one IM Server; see :mod:`omaim.im.group_file`."""
    return _NORTH if short == "north" else "# [[group]]\n"
