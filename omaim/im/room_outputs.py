"""What a room wants done: returned by :meth:`omaim.im.chatroom.Room.take`, in order."""

from __future__ import annotations

import attrs

from omaim.im.room_people import Member
from omaim.node.events import RoomEvent


@attrs.frozen
class Invitee:
    """Somebody whom the room asks to come in."""

    uri: str  # canonical
    hidden: bool = False  # the others do not see the invitation (RFC 5364: bcc, anonymize)


@attrs.frozen
class Invite:
    """Send an INVITE; then :meth:`Room.join` with ``dialed-out``, or :meth:`Room.failed`."""

    invitee: Invitee
    by: str = attrs.field(default="", eq=False)  # who wished so: address of record


@attrs.frozen
class Drop:
    """End a session: the room has it no more. What was written to it before goes first."""

    member: Member
    why: str


@attrs.frozen
class Fact:
    """Something to write down and tell."""

    event: RoomEvent


@attrs.frozen
class RosterChanged:
    """Watchers have something to hear."""


@attrs.frozen
class Ended:
    """The room is closed; what is to do about its sessions came before this."""

    why: str


Output = Invite | Drop | Fact | RosterChanged | Ended
