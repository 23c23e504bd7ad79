"""What ladders read in a session description: its media, however broken the rest may be.

Spec: RFC 8866 §5.14; RFC 4975 §8; RFC 5547 §6; RFC 7701 §8
"""

from __future__ import annotations

import re
from typing import Final

import attrs

SDP: Final = "application/sdp"
_MOST: Final = 65_536  # octets that are looked at
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
    chatroom: bool
    inactive: bool
    file_name: str
    file_size: int  # octets; 0 when not said


def media_of(data: bytes) -> list[Media]:
    """Return the media lines of a session description; what cannot be read is left out."""
    found: list[Media] = []
    for line in data[:_MOST].decode("utf-8", "replace").splitlines():
        if line.startswith("m="):
            words = line[2:].split(" ")
            if len(words) >= 3:
                number = words[1].partition("/")[0]
                port = int(number) if number.isascii() and number.isdecimal() else 0
                found.append(Media(words[0], port, words[2].upper(), (), False, False, "", 0))
        elif line.startswith("a=") and found:
            name, _, value = line[2:].partition(":")
            found[-1] = _with(found[-1], name, value.strip())
    return found


def _with(media: Media, name: str, value: str) -> Media:
    """Return the media line with one attribute more."""
    if name == "path":
        return attrs.evolve(media, path=tuple(value.split()))
    if name == "chatroom":
        return attrs.evolve(media, chatroom=True)
    if name == "inactive":
        return attrs.evolve(media, inactive=True)
    if name == "file-selector":
        named, size = _NAME.search(value), _SIZE.search(value)
        plain = _ESCAPED.sub(lambda one: chr(int(one[1], 16)), named[1]) if named else ""
        return attrs.evolve(media, file_name=plain, file_size=int(size[1]) if size else 0)
    return media
