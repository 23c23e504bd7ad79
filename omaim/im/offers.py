"""What one MSRP session takes: content types, size, and what it can do in a chat room.

Spec: RFC 4975 §8.6, §8.7; RFC 7701 §5.2, §6.1, §8
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from omaim.bodies.cpim import MEDIA_TYPE as CPIM
from omaim.errors import PeerError

NICKNAME: Final = "nickname"
PRIVATE: Final = "private-messages"
ANY: Final = "*"
WITHOUT_LIMIT: Final = -1


def _lower(types: Iterable[str]) -> tuple[str, ...]:
    return tuple(one.strip().lower() for one in types)


@attrs.frozen
class Offers:
    """What a participant's session description says of one message stream."""

    accepts: tuple[str, ...] = attrs.field(default=(CPIM,), converter=_lower)  # accept-types
    wrapped: tuple[str, ...] = attrs.field(default=(), converter=_lower)  # accept-wrapped-types
    chatroom: frozenset[str] | None = None  # tokens of a=chatroom; None: the line is missing
    max_size: int = WITHOUT_LIMIT  # octets of a message

    def check(self) -> None:
        """Make sure that this session can be in a chat room.

        Raises:
            PeerError: it does not take CPIM messages (488).

        Spec: RFC 7701 §5.2
        """
        if not _covers(self.accepts, CPIM):
            raise PeerError("a chat room needs message/cpim among the accept-types", 488)

    def takes(self, media_type: str) -> bool:
        """Tell whether content of this type may come inside a CPIM message.

        Who declares no type but CPIM has not said what is acceptable: that one gets all.

        Args:
            media_type: lower case, no parameters.

        Spec: RFC 7701 §6.1; RFC 4975 §8.6
        """
        declared = [one for one in (*self.accepts, *self.wrapped) if one != CPIM]
        return not declared or _covers(declared, media_type)

    @property
    def is_aware(self) -> bool:
        """Whether it knows what a chat room is (RFC 7701 §8, §11)."""
        return self.chatroom is not None

    @property
    def takes_private(self) -> bool:
        """Whether it can tell a private message from one to all (RFC 7701 §6.2)."""
        return self.chatroom is not None and PRIVATE in self.chatroom

    def has_room_for(self, size: int) -> bool:
        """Tell whether a message of so many octets may be sent to it; -1 is not known yet."""
        return self.max_size == WITHOUT_LIMIT or size <= self.max_size


def _covers(types: Iterable[str], media_type: str) -> bool:
    family = media_type.partition("/")[0] + "/*"
    return any(one in (ANY, media_type, family) for one in types)
