"""Which types of content an MSRP endpoint takes: accept-types and accept-wrapped-types.

Spec: RFC 4975 §8.6
"""

from __future__ import annotations

import re
from typing import Final

import attrs

CPIM: Final = "message/cpim"
TYPES: Final = 200  # entries of one list; more are not read

# A quoted string that does not end takes the rest, so that nothing is looked at twice.
_ENTRY: Final = re.compile(r'(?:[^ \t"]|"(?:[^"\\]|\\.)*(?:"|\\?$))+')
_TYPE: Final = re.compile(
    r"(?:\*|([!#$%&'+\-.^_`|~0-9A-Za-z]+)/(\*|[!#$%&'+\-.^_`|~0-9A-Za-z]+)(?:;.+)?)", re.DOTALL
)


@attrs.frozen
class Accepts:
    """What may be sent to somebody.

    Spec: RFC 4975 §8.6
    """

    types: tuple[str, ...]  # by preference; may hold "*", "image/*", parameters
    wrapped: tuple[str, ...] = ()  # further ones that are taken inside a container only

    def takes(self, media_type: str) -> bool:
        """Tell whether content of a type may be sent as it is, without a container.

        Args:
            media_type: with parameters or without, in any case.
        """
        return _listed(self.types, media_type)

    def takes_wrapped(self, media_type: str) -> bool:
        """Tell whether content of a type may be sent inside a container that is taken."""
        return _listed(self.types, media_type) or _listed(self.wrapped, media_type)

    @property
    def wants_cpim(self) -> bool:
        """Whether every instant message should be wrapped in CPIM (RFC 4975 §13)."""
        return bool(self.types) and _bare(self.types[0]) == CPIM

    def meets(self, other: Accepts) -> bool:
        """Tell whether there is a type that both take without a container."""
        return any(_listed(other.types, one) for one in self.types) or any(
            _listed(self.types, one) for one in other.types
        )


def parse_types(value: str) -> tuple[str, ...]:
    """Return the entries of a format list; those that name no type are overlooked.

    Spec: RFC 4975 §8.6 (format-list)
    """
    found = _ENTRY.findall(value)[:TYPES]
    return tuple(one for one in found if _TYPE.fullmatch(one) is not None)


def _bare(entry: str) -> str:
    return entry.partition(";")[0].strip(" \t").lower()


def _listed(entries: tuple[str, ...], media_type: str) -> bool:
    """Tell whether an entry covers a type, which may be a pattern itself, parameters apart."""
    wanted = _bare(media_type)
    for entry in entries:
        known = _bare(entry)
        if known in ("*", wanted):
            return True
        if known.endswith("/*") and wanted.startswith(known[:-1]):
            return True
    return False
