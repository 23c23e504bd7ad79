"""What all sessions of one client share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import attrs

from omaim.bodies.cpim import Address
from omaim.client.access import Phone
from omaim.client.host_rules import room_in, room_uri
from omaim.client.inbox import Inbox
from omaim.client.media import Media
from omaim.client.reporting import Reporter
from omaim.client.seen import Seen
from omaim.roles.inviter import Inviter
from omaim.roles.watcher import Watcher
from omaim.sip.flow import Flow
from omaim.sip.headers import NameAddr

if TYPE_CHECKING:
    from omaim.client.leg import Leg

MOST: Final = 200  # sessions at a time; whoever invites us beyond that gets 486

UNANSWERED: Final = 50  # invitations that may wait for our user


@attrs.frozen(eq=False)
class Means:
    """What all sessions of one client share.

    Attributes:
        opened: returns when there is something to send from.
        trusts: tells whether what comes by a flow says is to be believed.
        address: returns the URI that a person means.
        now: tells the time, seconds since the epoch.
        accept: media types that are taken.
        legs: the calls that are up.
        vouches: tells whether there is a network that says who somebody is: we are registered.
        cema: let middleboxes anchor what is said in sessions (RFC 6714).
    """

    phone: Phone
    inviter: Inviter
    watcher: Watcher
    media: Media
    inbox: Inbox
    seen: Seen
    reporter: Reporter
    own: Address
    accept: tuple[str, ...]
    opened: Callable[[], Awaitable[object]]
    trusts: Callable[[Flow], bool]
    address: Callable[[str], str]
    now: Callable[[], float]
    clock: Any
    legs: set[Leg] = attrs.field(factory=set)
    vouches: Callable[[], bool] = lambda: False
    cema: bool = False

    def contact(self, *parameters: str, focus: str = "") -> str:
        """Return our Contact value with feature tags and the like.

        Args:
            focus: address of the room that we answer for; "" for none.
        """
        contact = self.phone.contact
        if not focus:
            return ";".join([contact, *parameters])
        own = room_uri(NameAddr.parse(contact).uri_text, room_in(focus))
        return ";".join([f"<{own}>", "isfocus", *parameters])
