"""Requests that are at an application server, and how long they may stay there.

A server that says nothing soon is dead. One that says 100, or has said something of another
request meanwhile and so is only busy, has some more time to act: to pass the request on or to
answer more. From then on what comes back is its answer, and it may take as long as the
transaction does.

Spec: 3GPP TS 29.228 Annex B.2.2 (default handling); RFC 4320 §4.1
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from omaim.core.service_profile import Criteria
from omaim.net.driver import Driver
from omaim.sip.exchange import Exchange
from omaim.sip.job import Job
from omaim.sip.subscribed import Served
from omaim.timers import NEVER, Alarm


class Visit:
    """A request at an application server.

    Attributes:
        criteria: those that sent it there, in session case ``case``.
        token: the original-dialog identifier that leads back.
        since: when it went there, on the clock for timers.
        trying: the server has said 100.
        alive: it has acted: its failures are its answers.
        settled: nobody waits for a sign of life any more.
        over: what it says counts no more.
        exchange: the request on its way to the server, ``None`` where a fork holds it.
        accepted: the status with which the request was accepted further on, 0 before.
    """

    __slots__ = (
        "accepted",
        "alive",
        "case",
        "criteria",
        "exchange",
        "job",
        "over",
        "served",
        "settled",
        "since",
        "token",
        "trying",
    )

    def __init__(
        self,
        job: Job,
        served: Served,
        criteria: Criteria,
        case: int,
        token: str,
        since: float,
    ) -> None:
        self.job = job
        self.served = served
        self.criteria = criteria
        self.case = case
        self.token = token
        self.since = since
        self.trying = False
        self.alive = False
        self.settled = False
        self.over = False
        self.accepted = 0
        self.exchange: Exchange | None = None

    @property
    def cancelled(self) -> bool:
        """The caller gave up."""
        relay = self.job.relay
        return relay is not None and relay.fork.cancelled

    def provisional(self, status: int) -> None:
        """The server said that it works on it."""
        if status == 100:
            self.trying = True
        else:
            self.alive = self.settled = True


class Visits:
    """All requests that are at application servers.

    Args:
        driver: wakes us.
        patience: seconds for any sign of life, and for acting.
        expired: gets each visit that took too long and whose request still waits.
    """

    def __init__(
        self,
        driver: Driver,
        patience: tuple[float, float],
        expired: Callable[[Visit], object],
    ) -> None:
        self._driver = driver
        self._expired = expired
        self._soon, self._late = patience
        self._by_token: dict[str, Visit] = {}
        self._heard: dict[str, float] = {}  # when each server said something last
        self._fresh: deque[Visit] = deque()  # all with the same patience: the first is first
        self._trying: deque[Visit] = deque()
        self._fresh_alarm = Alarm(self._woken)
        self._trying_alarm = Alarm(self._woken_late)

    def __len__(self) -> int:
        return len(self._by_token)

    def begin(self, visit: Visit) -> None:
        """A request goes to a server."""
        self._by_token[visit.token] = visit
        self._wait(self._fresh, self._fresh_alarm, visit, self._soon)

    def passed_on(self, token: str) -> Visit | None:
        """The request came back: the server has acted, and failures are not its own.

        Returns:
            the visit, ``None`` for one that is over or began before we last started.
        """
        visit = self._by_token.get(token)
        if visit is not None:
            visit.alive = visit.settled = True
            self.heard(visit)
        return visit

    def heard(self, visit: Visit) -> None:
        """The server said something, and so lives."""
        self._heard[visit.criteria.server.name] = self._driver.now()

    def end(self, visit: Visit) -> None:
        """The server has answered, or counts no more."""
        visit.settled = visit.over = True
        self._by_token.pop(visit.token, None)

    def _wait(self, visits: deque[Visit], alarm: Alarm, visit: Visit | None, time: float) -> None:
        while visits and visits[0].settled:
            visits.popleft()
        if visit is not None:
            visits.append(visit)
        if visits and alarm.deadline == NEVER:
            alarm.deadline = visits[0].since + time
            self._driver.deadlines.arm(alarm)
            self._driver.arm()

    def _woken(self, now: float) -> None:
        for visit in _due(self._fresh, self._driver.now() - self._soon):
            if visit.trying or self._heard.get(visit.criteria.server.name, -NEVER) > visit.since:
                self._wait(self._trying, self._trying_alarm, visit, self._late)
            else:
                self._give_up(visit)
        self._wait(self._fresh, self._fresh_alarm, None, self._soon)

    def _woken_late(self, now: float) -> None:
        for visit in _due(self._trying, self._driver.now() - self._late):
            self._give_up(visit)
        self._wait(self._trying, self._trying_alarm, None, self._late)

    def _give_up(self, visit: Visit) -> None:
        if visit.cancelled:
            return
        self.end(visit)
        if visit.job.open:
            self._expired(visit)


def _due(visits: deque[Visit], latest: float) -> list[Visit]:
    """Take out those that began at or before ``latest`` and are not settled."""
    due = []
    while visits and (visits[0].settled or visits[0].since <= latest):
        visit = visits.popleft()
        if not visit.settled:
            due.append(visit)
    return due
