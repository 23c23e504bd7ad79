"""STUN as far as SIP has it: the keep-alive of a datagram flow, and its answer.

A client asks on its flow, the server says which address the question came from. A silent server
or another address tell the client that the flow is gone.

Spec: RFC 5626 §4.4.2, §8; RFC 8489 §5, §6.3, §14
"""

from __future__ import annotations

from ipaddress import ip_address
from struct import pack, unpack_from
from typing import Final

_COOKIE: Final = b"\x21\x12\xa4\x42"
_HEAD: Final = 20  # octets
_BINDING: Final = 0x0001
_SUCCESS: Final = 0x0101
_ERROR: Final = 0x0111
_ERROR_CODE: Final = 0x0009
_UNKNOWN: Final = 0x000A
_XOR_MAPPED_ADDRESS: Final = 0x0020
_OPTIONAL: Final = 0x8000  # attributes from here on may be passed over
# Attributes that RFC 8489 §14 has, and that mean nothing to a server that asks for no password.
_KNOWN: Final = frozenset(
    {0x0001, 0x0006, 0x0008, _ERROR_CODE, _UNKNOWN, 0x0014, 0x0015, 0x001C, 0x001D, 0x001E}
    | {_XOR_MAPPED_ADDRESS}
)
_MOST: Final = 8  # unknown attributes that an answer names
_REASON: Final = b"Unknown Attribute"


def is_stun(data: bytes) -> bool:
    """Tell a STUN message from all that may come by the port of a SIP server.

    Spec: RFC 8489 §5, §6.3; RFC 5626 §8 (no SIP message begins with 0 or 1)
    """
    return (
        len(data) >= _HEAD
        and data[0] < 2
        and data[4:8] == _COOKIE
        and len(data) == _HEAD + int.from_bytes(data[2:4], "big")
    )


def question(transaction: bytes) -> bytes:
    """Return the Binding request that asks a server whether it still hears us.

    Args:
        transaction: 12 octets at random.

    Spec: RFC 5626 §4.4.2
    """
    return _message(_BINDING, transaction, b"")


def answer(data: bytes, host: str, port: int) -> bytes | None:
    """Return the answer to a STUN message; ``None`` for one that has none.

    Args:
        data: what :func:`is_stun` found to be one.
        host, port: where it came from, numeric.

    Spec: RFC 5626 §8; RFC 8489 §6.3.1
    """
    if int.from_bytes(data[:2], "big") != _BINDING:
        return None
    unknown: list[int] = []
    place = _HEAD
    while place + 4 <= len(data):
        kind, size = unpack_from("!HH", data, place)
        place += 4 + size + -size % 4
        if len(unknown) == _MOST or kind >= _OPTIONAL or kind in _KNOWN or kind in unknown:
            continue
        unknown.append(kind)
    if place != len(data):
        return None  # the last attribute is cut off
    if unknown:
        return _message(
            _ERROR,
            data[8:_HEAD],
            _attribute(_ERROR_CODE, b"\0\0\x04\x14" + _REASON)  # 420
            + _attribute(_UNKNOWN, pack(f"!{len(unknown)}H", *unknown)),
        )
    return _message(
        _SUCCESS, data[8:_HEAD], _attribute(_XOR_MAPPED_ADDRESS, _mapped(data, host, port))
    )


def _mapped(data: bytes, host: str, port: int) -> bytes:
    """Return an address so written that no NAT on the way rewrites it (RFC 8489 §14.2)."""
    packed = ip_address(host.partition("%")[0]).packed
    mask = data[4 : 4 + len(packed)]
    octets = bytes([one ^ other for one, other in zip(packed, mask, strict=True)])
    family = 1 if len(packed) == 4 else 2
    return pack("!BBH", 0, family, port ^ 0x2112) + octets


def _attribute(kind: int, value: bytes) -> bytes:
    return pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def _message(kind: int, transaction: bytes, attributes: bytes) -> bytes:
    return pack("!HH", kind, len(attributes)) + _COOKIE + transaction + attributes
