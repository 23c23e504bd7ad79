"""Which messages a session takes: media types, wrapped ones, and sizes.

Spec: RFC 4975 §8.6, §10.5, §10.6
"""

from __future__ import annotations

from typing import Final, final

_CPIM: Final = "message/cpim"
_BLANK: Final = b"\r\n\r\n"
_HEAD: Final = 8192  # octets in which the head inside a wrapper has to end


@final
class Accepting:
    """What one side declared in its SDP.

    Args:
        types: the entries of accept-types; with none, every type is taken.
        wrapped: the entries of accept-wrapped-types.
        max_size: octets of a whole message; 0 for no limit.

    Spec: RFC 4975 §8.6
    """

    __slots__ = ("_types", "_wrapped", "max_size")

    def __init__(
        self, types: tuple[str, ...] = (), wrapped: tuple[str, ...] = (), max_size: int = 0
    ) -> None:
        self._types = frozenset([bare_type(entry) for entry in types])
        self._wrapped = frozenset([bare_type(entry) for entry in wrapped])
        self.max_size: Final = max_size

    def takes(self, content_type: str) -> bool:
        """Tell whether a body of this type may come as it is."""
        return not self._types or _is_among(bare_type(content_type), self._types)

    def takes_wrapped(self, content_type: str) -> bool:
        """Tell whether a body of this type may come inside a wrapper."""
        name = bare_type(content_type)
        return not self._types or _is_among(name, self._types) or _is_among(name, self._wrapped)

    def check(self, content_type: str, size: int, data: bytes) -> int:
        """Return 0 for a message that may come, else the code to refuse it with.

        Args:
            size: octets of the whole message; -1 when unknown.
            data: the beginning of the body; a wrapped type that cannot be read there is not
                judged here.
        """
        if not self.takes(content_type):
            return 415
        if self.max_size and size > self.max_size:
            return 413
        if self._wrapped and bare_type(content_type) == _CPIM:
            inner = wrapped_type(data)
            if inner and not self.takes_wrapped(inner):
                return 415
        return 0


def bare_type(content_type: str) -> str:
    """Return a media type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip(" \t").lower()


def wrapped_type(data: bytes) -> str:
    """Return the media type inside the beginning of a message/cpim body; "" when not to be seen.

    Spec: RFC 3862 §2.1, §2.4
    """
    outer = data.find(_BLANK, 0, _HEAD)
    if outer < 0:
        return ""
    inner = data.find(_BLANK, outer + 4, outer + _HEAD)
    if inner < 0:
        return ""
    for line in data[outer + 4 : inner].split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() == b"content-type":
            return bare_type(value.decode("utf-8", "replace"))
    return ""


def _is_among(name: str, entries: frozenset[str]) -> bool:
    return name in entries or "*" in entries or name.partition("/")[0] + "/*" in entries
