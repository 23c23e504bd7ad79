"""When to ask again: what registrations, subscriptions and publications share as clients.

Spec: RFC 3261 §10.2.4, §20.33; RFC 5626 §4.5
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.message import Response

LONGEST: Final = 2147483647  # seconds; what Expires and Retry-After are cut to
_LONG: Final = 1200.0  # from here on a refresh is sent a fixed time before the end
_EARLY: Final = 600.0  # that fixed time
_SHOWN_BY: Final = (404, 413, 480, 486, 500, 503, 600, 603)  # RFC 3261 §20.33


class IntervalTooBrief(PeerError):
    """The asked duration is under our minimum; the 423 must name it in Min-Expires.

    Spec: RFC 3261 §10.3, §20.23
    """

    status = 423

    def __init__(self, min_expires: int) -> None:
        super().__init__(f"the shortest duration is {min_expires} s")
        self.min_expires = min_expires


def refresh_after(expires: float) -> float:
    """Return how many seconds into a duration of ``expires`` to refresh it.

    Half of it up to 1200 s, 600 s before its end above that; what 3GPP TS 24.229
    asks of IMS clients.
    """
    return expires - _EARLY if expires > _LONG else expires / 2.0


def delta_seconds(text: str | None, otherwise: int) -> int:
    """Read the leading digits of an Expires-like value; ``otherwise`` if there are none.

    Spec: RFC 3261 §20.19, §20.23, §20.33 (a comment or parameters may follow)
    """
    if text is None:
        return otherwise
    text = text.strip()
    end = 0
    while end < len(text) and end < 12 and "0" <= text[end] <= "9":
        end += 1
    return min(int(text[:end]), LONGEST) if end else otherwise


def retry_after(response: Response) -> int:
    """Return the seconds of a Retry-After that means something here, or -1.

    Spec: RFC 3261 §20.33
    """
    if response.status not in _SHOWN_BY:
        return -1
    return delta_seconds(response.first("Retry-After"), -1)


@final
class Backoff:
    """How long to wait before the next try, given how many failed in a row.

    Args:
        ids: the source of randomness.
        base: seconds, doubled with each failure: after the first, one to two of it.
        most: seconds, where doubling stops.

    Spec: RFC 5626 §4.5
    """

    __slots__ = ("_ids", "base", "failures", "most")

    def __init__(self, ids: Ids, base: float = 30.0, most: float = 1800.0) -> None:
        self._ids = ids
        self.base = base
        self.most = most
        self.failures = 0

    def failed(self) -> float:
        """Count one more failure; return the seconds to wait, drawn from the upper half."""
        self.failures += 1
        bound = min(self.most, self.base * (1 << min(self.failures, 30)))
        return bound * (0.5 + 0.5 * self._ids.fraction())

    def succeeded(self) -> None:
        """Start from the beginning after the next failure."""
        self.failures = 0
