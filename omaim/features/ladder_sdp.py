"""What ladders read in a session description: which sessions it offers.

Spec: RFC 4975 §8; RFC 5547 §6; RFC 7701 §8
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from omaim.bodies import sdp
from omaim.bodies.sdp import INACTIVE, SessionDescription
from omaim.errors import PeerError

_NAME: Final = re.compile(r'name:"([^"]*)"')
_SIZE: Final = re.compile(r"(?:^|\s)size:(\d{1,18})(?:\s|$)")
_ESCAPED: Final = re.compile(r"%([0-9A-Fa-f]{2})")


@attrs.frozen
class Media:
    """One media line."""

    kind: str  # "message"
    port: int  # 0 refuses
    protocol: str  # "TCP/MSRP"
    path: tuple[str, ...]  # of a=path, as written
    inactive: bool
    file_name: str
    file_size: int  # octets; 0 when not said


def media_of(data: bytes) -> list[Media]:
    """Return the media of a session description; none when it is broken."""
    try:
        session = SessionDescription.parse(data)
    except PeerError:
        return []
    return [_media(session, one) for one in session.media]


def _media(session: SessionDescription, media: sdp.Media) -> Media:
    selector = media.attribute("file-selector") or ""
    named, size = _NAME.search(selector), _SIZE.search(selector)
    return Media(
        kind=media.kind,
        port=media.port,
        protocol=media.protocol.upper(),
        path=tuple((media.attribute("path") or "").split()),
        inactive=session.direction_of(media) == INACTIVE,
        file_name=_ESCAPED.sub(lambda one: chr(int(one[1], 16)), named[1]) if named else "",
        file_size=int(size[1]) if size else 0,
    )
