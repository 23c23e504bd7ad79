"""The first message of a session, that comes with its invitation: a part beside the description.

Spec: OMA SIMPLE IM 1.0 (session mode); RFC 5621 §3, §8 (several bodies, their dispositions)
"""

from __future__ import annotations

from typing import Final

from omaim.bodies.cpim import MEDIA_TYPE as CPIM
from omaim.bodies.mime import Part
from omaim.bodies.multipart import is_multipart, parse_multipart

# What the text of a Warning says when the callee's server has kept the message, with its 480.
KEPT: Final = "the first message is kept for later"

_SHOWN: Final = ("", "render")  # dispositions of what is for the reader


def is_first_message(part: Part) -> bool:
    """Tell whether a part of the body of an INVITE is a message to its reader.

    Raises:
        PeerError: its headers are broken.
    """
    kind = part.media_type
    return (kind == CPIM or kind.startswith("text/")) and part.disposition in _SHOWN


def first_message(content_type: str, body: bytes) -> Part | None:
    """Return the message in the body of an INVITE; ``None`` without.

    Raises:
        PeerError: the body cannot be read (400).
    """
    if not is_multipart(content_type):
        return None
    parts = parse_multipart(content_type, body).parts
    return next((part for part in parts if is_first_message(part)), None)
