"""How a caller wants to be answered: by the device itself, or by the person at it.

A caller asks; the network of the callee decides, and tells the callee's device; the answer says
how it was.

Spec: RFC 5373
"""

from __future__ import annotations

from typing import Final

import attrs

from omaim.errors import PeerError
from omaim.grammar import is_token, parse_params
from omaim.sip.message import Message

OPTION: Final = "answermode"  # the option tag
AUTO: Final = "Auto"
MANUAL: Final = "Manual"
HEADER: Final = "Answer-Mode"
PRIVILEGED: Final = "Priv-Answer-Mode"
HEADERS: Final = (HEADER, PRIVILEGED)
AUTO_FORBIDDEN: Final = "automatic answer forbidden"  # what a refusal says
MANUAL_FORBIDDEN: Final = "manual answer forbidden"

_KNOWN: Final = {"auto": AUTO, "manual": MANUAL}


@attrs.frozen
class AnswerMode:
    """One way to be answered.

    Spec: RFC 5373 (syntax)
    """

    mode: str  # AUTO, MANUAL, or a token that nobody knows
    required: bool = False  # rather not at all than otherwise
    privileged: bool = False  # the caller claims a right to it

    @property
    def field(self) -> tuple[str, str]:
        """The header field that says so."""
        value = f"{self.mode};require" if self.required else self.mode
        return (PRIVILEGED if self.privileged else HEADER), value

    @property
    def forbidden(self) -> str:
        """Why it is refused, where it is."""
        if self.mode == AUTO:
            return AUTO_FORBIDDEN
        return MANUAL_FORBIDDEN if self.mode == MANUAL else "this answering mode is not known"


def answer_mode(message: Message, privileged: bool = False) -> AnswerMode | None:
    """Return how a request is to be answered, or how a response says that it was.

    Args:
        privileged: by the header of those who claim a right to it.

    Raises:
        PeerError: it cannot be read, or is there twice (400).
    """
    lines = message.all(PRIVILEGED if privileged else HEADER)
    if not lines:
        return None
    word, semicolon, rest = lines[0].partition(";")
    word = word.strip(" \t")
    if len(lines) > 1 or not is_token(word):
        raise PeerError("an answering mode is one word")
    mode = _KNOWN.get(word.lower(), word)
    return AnswerMode(mode, parse_params(semicolon + rest).has("require"), privileged)
