"""What one MSRP session takes: content types, size, and what it can do in a chat room.

Spec: RFC 4975 §8.6, §8.7; RFC 7701 §5.2, §6.1, §8
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import attrs

from omaim.bodies.cpim import MEDIA_TYPE as CPIM
from omaim.bodies.media_types import Accepts
from omaim.bodies.message_media import PRIVATE_MESSAGES, MessageMedia
from omaim.errors import PeerError


def _lower(types: Iterable[str]) -> tuple[str, ...]:
    return tuple(one.strip().lower() for one in types)


def _tokens(tokens: Iterable[str] | None) -> frozenset[str] | None:
    return None if tokens is None else frozenset(tokens)


@attrs.frozen
class Offers:
    """What a participant's session description says of one message stream."""

    accepts: tuple[str, ...] = attrs.field(default=(CPIM,), converter=_lower)  # accept-types
    wrapped: tuple[str, ...] = attrs.field(default=(), converter=_lower)  # accept-wrapped-types
    chatroom: Collection[str] | None = attrs.field(  # tokens; None: the line is missing
        default=None, converter=_tokens
    )
    max_size: int | None = None  # octets of a message, None without a limit
    _content: Accepts = attrs.field(init=False, repr=False, eq=False)

    @_content.default
    def _declared(self) -> Accepts:
        return Accepts(tuple(one for one in self.accepts if one != CPIM), self.wrapped)

    @classmethod
    def of(cls, media: MessageMedia) -> Offers:
        """Return what a medium of a session description says."""
        return cls(media.accept_types, media.accept_wrapped_types, media.chatroom, media.max_size)

    def check(self) -> None:
        """Make sure that this session can be in a chat room.

        Raises:
            PeerError: it does not take CPIM messages (488).

        Spec: RFC 7701 §5.2
        """
        if not Accepts(self.accepts).takes(CPIM):
            raise PeerError("a chat room needs message/cpim among the accept-types", 488)

    def takes(self, media_type: str) -> bool:
        """Tell whether content of this type may come inside a CPIM message.

        Who declares no type but CPIM has not said what is acceptable: that one gets all.

        Spec: RFC 7701 §6.1; RFC 4975 §8.6
        """
        content = self._content
        return not (content.types or content.wrapped) or content.takes_wrapped(media_type)

    @property
    def is_aware(self) -> bool:
        """Whether it knows what a chat room is (RFC 7701 §8, §11)."""
        return self.chatroom is not None

    @property
    def takes_private(self) -> bool:
        """Whether it can tell a private message from one to all (RFC 7701 §6.2)."""
        return self.chatroom is not None and PRIVATE_MESSAGES in self.chatroom

    def has_room_for(self, size: int) -> bool:
        """Tell whether a message of so many octets may be sent to it; -1 is not known yet."""
        return self.max_size is None or size <= self.max_size
