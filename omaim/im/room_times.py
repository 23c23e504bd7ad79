"""When the session of a room is over by itself.

Spec: OMA SIMPLE IM 1.0 (session-active-policy; idle conferences)
"""

from __future__ import annotations

from math import inf

from omaim.im.room_rules import Rules


class RoomTimes:
    """The times of one session. All are seconds since the epoch.

    Attributes:
        started: it has begun.
    """

    def __init__(self, rules: Rules) -> None:
        self.started = False
        self._rules = rules
        self._started_at = 0.0
        self._spoken_at = 0.0
        self._closes_at: float | None = inf

    def start(self, now: float) -> None:
        """The first has come in."""
        self.started = True
        self._started_at = self._spoken_at = now
        self._closes_at = closes_at(self._rules, now)

    def spoke(self, now: float) -> None:
        """Somebody has said something."""
        self._spoken_at = now

    def limit(self, rules: Rules, now: float) -> None:
        """Other rules hold from now on."""
        self._rules = rules
        if self.started:
            self._closes_at = closes_at(rules, now)

    @property
    def deadline(self) -> float:
        """When to ask :meth:`over`; infinity for never."""
        if not self.started:
            return inf
        rules = self._rules
        times = [self._started_at if self._closes_at is None else self._closes_at]
        if rules.duration:
            times.append(self._started_at + rules.duration)
        if rules.idle:
            times.append(self._spoken_at + rules.idle)
        return min(times)

    def over(self, now: float) -> str:
        """Return why it is over, for people; "" while it is not."""
        if now < self.deadline:
            return ""
        rules = self._rules
        if self._closes_at is None or now >= self._closes_at:
            return "the time is over"
        if rules.duration and now >= self._started_at + rules.duration:
            return "the time is over"
        return "nobody has said anything for a while"


def closes_at(rules: Rules, now: float) -> float | None:
    """Return when the time at which a room may go on is over.

    Returns: seconds since the epoch, infinity without an end; ``None`` if it is no such time.
    """
    if not rules.periods:
        return inf
    end = None
    for start, until in sorted(rules.periods):
        if start <= now < until or (end is not None and start <= end < until):
            end = until if end is None else max(end, until)
    return end
