"""A DNS of a few lines, for tests without name servers."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed

from omaim.errors import Unavailable, UsageError
from omaim.sip.locating import AAAA, NAPTR, SRV, A, Answer, Naptr, Srv


class SimulatedDns:
    """Answers from a zone; its :meth:`ask` is what ``Resolver`` takes.

    Args:
        zone: one record a line: name, type, and the fields in the usual order. NAPTR: order,
            preference, flags, service, replacement (the expression is always empty).
        clock: with it, an answer takes ``delay`` seconds; without, it is there at once.
        delay: of each answer, in seconds.
        ttl: of all records, in seconds.

    Attributes:
        asked: all questions so far.
        silent: while True, nobody answers and questions fail.
    """

    def __init__(self, zone: str, clock: Any = None, delay: float = 0.0, ttl: float = 60.0) -> None:
        self.asked: list[tuple[str, str]] = []
        self.silent = False
        self._clock = clock
        self._delay = delay
        self._ttl = ttl
        self._answers: dict[tuple[str, str], Answer] = {}
        for line in zone.splitlines():
            fields = line.split()
            if fields:
                self.add(*fields)

    def add(self, name: str, kind: str, *fields: str) -> None:
        """Add one record."""
        key = (name.lower().rstrip("."), kind)
        answer = self._answers.setdefault(key, Answer())
        if kind in (A, AAAA):
            answer.addresses.append(fields[0])
        elif kind == SRV:
            priority, weight, port = (int(field) for field in fields[:3])
            answer.srv.append(Srv(priority, weight, port, fields[3]))
        elif kind == NAPTR:
            order, preference = int(fields[0]), int(fields[1])
            answer.naptr.append(Naptr(order, preference, fields[2], fields[3], "", fields[4]))
        else:
            raise UsageError(f"write A, AAAA, SRV or NAPTR, not {kind}")

    def remove(self, name: str, kind: str) -> None:
        """Let there be no such record any more."""
        self._answers.pop((name.lower().rstrip("."), kind), None)

    def ask(self, name: str, kind: str) -> Deferred[tuple[Answer, float]]:
        """Answer one question."""
        self.asked.append((name, kind))
        if self._clock is None and not self.silent:
            return succeed(self._answer(name, kind))
        result: Deferred[tuple[Answer, float]] = Deferred()
        if self._clock is None:
            result.errback(Unavailable("the DNS is silent"))
        else:
            self._clock.callLater(self._delay, self._respond, result, name, kind)
        return result

    def _respond(self, result: Deferred[tuple[Answer, float]], name: str, kind: str) -> None:
        if self.silent:
            result.errback(Unavailable("the DNS is silent"))
        else:
            result.callback(self._answer(name, kind))

    def _answer(self, name: str, kind: str) -> tuple[Answer, float]:
        answer = self._answers.get((name.lower().rstrip("."), kind))
        return (Answer(), 30.0) if answer is None else (answer, self._ttl)
