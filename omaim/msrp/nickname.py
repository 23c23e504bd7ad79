"""Nicknames as they stand in NICKNAME requests.

Spec: RFC 7701 §7.1, §7.3; RFC 4975 §9 (quoted-string)
"""

from __future__ import annotations

import re
from typing import Final

from omaim.errors import PeerError, UsageError

LONGEST: Final = 1023  # octets

_is_quoted: Final = re.compile(r'"((?:[\t !#-\[\]-~\x80-\U0010ffff]|\\["\\])*)"').fullmatch
_unescape: Final = re.compile(r"\\(.)").sub


def read_nickname(value: bytes) -> str:
    """Return the nickname in a Use-Nickname field; "" asks for the removal of one.

    Raises:
        PeerError: 424, it is not written as it has to be.

    Spec: RFC 7701 §7.1. Differs: an empty one is let through, as §7.3 needs it.
    """
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise PeerError("a nickname is not UTF-8", 424)
    found = _is_quoted(text)
    if found is None:
        raise PeerError("a nickname is not a quoted string", 424)
    name = _unescape(r"\1", found[1])
    if len(name.encode("utf-8")) > LONGEST:
        raise PeerError("a nickname is too long", 424)
    return name


def write_nickname(name: str) -> bytes:
    """Return a nickname as the value of Use-Nickname.

    Raises:
        UsageError: it is too long, or holds control characters.
    """
    text = name.replace("\\", "\\\\").replace('"', '\\"')
    quoted = f'"{text}"'
    if _is_quoted(quoted) is None or len(name.encode("utf-8")) > LONGEST:
        raise UsageError("a nickname has at most 1023 octets and no control characters")
    return quoted.encode("utf-8")
