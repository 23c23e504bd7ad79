"""What the peer of one connection of a relay may do to it: how long, how often, how much.

Spec: RFC 4976 §6.1 (the probationary period), §6.3 (failed AUTHs), §6.5 (unused connections)
"""

from __future__ import annotations

from typing import final

from omaim.msrp.means import Limits
from omaim.timers import NEVER


@final
class Conduct:
    """What one peer has been seen to do, and what that leads to.

    Args:
        limits: what it may.
        now: when its connection was wanted.

    Attributes:
        heard_at: when something came last.

    Spec: RFC 4976 §6.1, §6.5
    """

    __slots__ = (
        "_failures",
        "_first_by",
        "_half_since",
        "_limits",
        "_resting_until",
        "_used",
        "heard_at",
    )

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self.heard_at = now
        self._failures = 0
        self._first_by = NEVER
        self._half_since = NEVER
        self._used = 0.0  # octets of its allowance that are spent, as a moment
        self._resting_until = NEVER  # it has used up its allowance

    @property
    def stranger(self) -> bool:
        """Whether it has connected, and made no good request yet."""
        return self._first_by != NEVER

    @property
    def resting(self) -> bool:
        """Whether it has sent too much, and has to wait."""
        return self._resting_until != NEVER

    @property
    def half(self) -> bool:
        """Whether the beginning of a head is here, and its end is not."""
        return self._half_since != NEVER

    def came_up(self, now: float, initiated: bool) -> None:
        """The connection is there.

        Args:
            initiated: by us; then it has nothing to prove.
        """
        self.heard_at = now
        if not initiated:
            self._first_by = now + self._limits.first

    def heard(self, now: float, whole: bool) -> None:
        """Something has come.

        Args:
            whole: no head is half there.
        """
        self.heard_at = now
        if whole:
            self._half_since = NEVER

    def wait_for_rest(self, now: float) -> float:
        """The rest of a head is due from now on; return when it is overdue."""
        self._half_since = now
        return now + self._limits.half

    def served(self) -> None:
        """A request of the peer was good: it is somebody."""
        self._first_by = NEVER

    def authorized(self) -> None:
        """Its credentials were right."""
        self._failures = 0

    def failed(self, most: int) -> bool:
        """Its credentials were wrong; tell whether that is enough now.

        Args:
            most: times in a row.
        """
        self._failures += 1
        return self._failures >= most

    def spend(self, octets: int, rate: float, now: float) -> float:
        """Count what the peer sends; return until when it has to rest, infinity if not at all.

        Args:
            rate: octets a second that it may.
        """
        # The moment until which its octets would have lasted.
        self._used = max(self._used, now) + octets / rate
        if self._used - now > 1.0:
            self._resting_until = self._used - 0.5
        return self._resting_until

    def rested(self, now: float) -> bool:
        """Tell whether a rest is over now; forget it then."""
        over = self._resting_until <= now
        if over:
            self._resting_until = NEVER
        return over

    def fault(self, now: float, reading: bool, stuck_since: float) -> str:
        """Return for what the connection has to end at once; "" for nothing.

        Args:
            reading: we take what it sends.
            stuck_since: when the peer has stopped to take what we send; infinity when it does.
        """
        limits = self._limits
        if self._first_by <= now:
            return "no good request in time"
        if reading and self._half_since + limits.half <= now:
            return "half a request"
        if stuck_since + limits.stalled <= now:
            return "the peer does not read"
        return ""

    def is_idle(self, now: float, used_at: float) -> bool:
        """Tell whether a connection has not been used for so long that it may end (§6.5)."""
        return used_at + self._limits.idle <= now

    def deadline(self, now: float, reading: bool, stuck_since: float, used_at: float) -> float:
        """Return when to ask again; see :meth:`fault` and :meth:`is_idle`."""
        limits = self._limits
        return min(
            self._first_by,
            self._half_since + limits.half if reading else NEVER,
            stuck_since + limits.stalled,
            self._resting_until,
            max(used_at + limits.idle, now + 1.0),
        )
