"""Whether an invitation is accepted without asking the person.

Spec: RFC 5373; OMA SIMPLE IM 1.0 (answer modes)
"""

from __future__ import annotations

import attrs

from omaim.errors import PeerError
from omaim.sip.answer_mode import AUTO, MANUAL, AnswerMode, answer_mode
from omaim.sip.message import Message


@attrs.define
class Answering:
    """What a person lets this device do by itself.

    Attributes:
        everything: accept each invitation.
        rooms: accept each into a room.
        told: accept what our own server says is to be answered so.
    """

    everything: bool = False
    rooms: bool = False
    told: bool = False

    def by_itself(self, asked: AnswerMode | None, room: bool, trusted: bool) -> bool:
        """Tell whether an invitation is accepted without asking.

        Args:
            asked: how it is to be answered.
            room: it is one into a room.
            trusted: it came from our own server, who decides about that.

        Raises:
            PeerError: 403, it is wanted so or not at all, and is not so here.

        Spec: RFC 5373
        """
        ours = self.everything or (room and self.rooms)
        theirs = asked is not None and asked.mode == AUTO and trusted and self.told
        if asked is not None and asked.required:
            fits = ours or theirs if asked.mode == AUTO else asked.mode == MANUAL and not ours
            if not fits:
                raise PeerError(f"119 Function not allowed: {asked.forbidden}", 403)
        return ours or theirs


def asked_of(message: Message) -> AnswerMode | None:
    """Return how an INVITE that came to a device is to be answered, or how another device says
    that it has answered ours; ``None`` if it does not say.

    Raises:
        PeerError: that cannot be read.
    """
    return answer_mode(message, True) or answer_mode(message)


def answered_with(asked: AnswerMode | None, automatic: bool) -> list[tuple[str, str]]:
    """Return the header field that tells who asked how it was answered."""
    if asked is None:
        return []
    return [AnswerMode(AUTO if automatic else MANUAL, privileged=asked.privileged).field]
