"""Play machines in virtual time: alone, by script, or two with a bad link between them.

Nothing here sleeps or reads a clock. A run with the same seed is the same run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from itertools import product
from typing import Generic, Protocol, TypeVar

from omaim.timers import NEVER, Deadlines

Output = TypeVar("Output", covariant=True)
Payload = TypeVar("Payload")
State = TypeVar("State")
Input = TypeVar("Input")

MOST_STEPS = 1_000_000  # of one run: a machine that always wakes at once must not hang a test


class Machine(Protocol[Output]):
    """What every machine of omaim is: a deadline, a way to wake it, and its outputs."""

    @property
    def deadline(self) -> float: ...

    def wake(self, now: float) -> None: ...

    def take(self) -> Output: ...


Move = tuple[float, Callable[[float], None]]


def play(
    machine: Machine[Output], moves: Iterable[Move] = (), until: float = 1e6
) -> list[tuple[float, Output]]:
    """Run a machine by a script, waking it exactly at its deadlines.

    Args:
        machine: in whatever state; what it holds in outputs comes out at its first move.
        moves: (moment, input), moments not falling; an input is called with its moment. A
            deadline at the same moment comes first.
        until: the last moment at which a deadline is served.

    Returns:
        (moment, outputs) for each wake and input that had outputs.

    Raises:
        AssertionError: the machine never comes to rest.
    """
    out: list[tuple[float, Output]] = []
    steps = 0
    for moment, move in [*moves, (until, None)]:
        while machine.deadline <= moment:
            now = machine.deadline
            machine.wake(now)
            _note(out, now, machine)
            steps += 1
            if steps > MOST_STEPS:
                raise AssertionError(f"still busy at {now} after {steps} steps")
        if move is not None:
            move(moment)
            _note(out, moment, machine)
    return out


def _note(out: list[tuple[float, Output]], now: float, machine: Machine[Output]) -> None:
    outputs = machine.take()
    if outputs:
        out.append((now, outputs))


def every_pair(states: Iterable[State], inputs: Iterable[Input]) -> Iterator[tuple[State, Input]]:
    """Yield each state with each input, for the test that leaves none out."""
    yield from product(states, inputs)


class Timeline:
    """Virtual time, shared by deadlines and by whatever is on its way.

    Attributes:
        now: the present moment, seconds.
        deadlines: for the machines that live here.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.deadlines = Deadlines()
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0

    def later(self, delay: float, act: Callable[[], None]) -> None:
        """Have ``act`` called ``delay`` seconds from now."""
        self._serial += 1
        heappush(self._coming, (self.now + delay, self._serial, act))

    def next(self) -> float:
        """Return when something happens next; never when nothing will."""
        coming = self._coming[0][0] if self._coming else NEVER
        return min(coming, self.deadlines.next())

    def run(self, until: float = NEVER) -> None:
        """Let everything happen that is due until then, and stop at that moment.

        With ``NEVER``, run until nothing is left.

        Raises:
            AssertionError: it never ends.
        """
        for _ in range(MOST_STEPS):
            moment = self.next()
            if moment > until or moment == NEVER:
                break
            self.now = max(self.now, moment)
            if self._coming and self._coming[0][0] <= moment:
                heappop(self._coming)[2]()
            else:
                self.deadlines.run(self.now)
        else:
            raise AssertionError(f"still busy at {self.now}")
        if until != NEVER:
            self.now = max(self.now, until)


class Link(Generic[Payload]):
    """One direction of a bad link: it loses, repeats, delays and thereby reorders.

    Args:
        timeline: whose time it lives in.
        deliver: gets what arrives.
        seed: makes the same faults each time.
        loss: share of messages lost, 0 to 1.
        repeats: share of messages that arrive twice.
        delay: shortest and longest time on the way, seconds; messages overtake one another
            when these differ.

    Attributes:
        offered: (moment, message) for all that was sent, in order, lost or not.
        arrived: how many messages were delivered.
    """

    def __init__(
        self,
        timeline: Timeline,
        deliver: Callable[[Payload], None],
        seed: int = 0,
        loss: float = 0.0,
        repeats: float = 0.0,
        delay: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.offered: list[tuple[float, Payload]] = []
        self.arrived = 0
        self._timeline = timeline
        self._deliver = deliver
        self._random = random.Random(seed)
        self._loss = loss
        self._repeats = repeats
        self._delay = delay

    def send(self, message: Payload) -> None:
        """Put a message on its way."""
        self.offered.append((self._timeline.now, message))
        chance = self._random.random
        copies = 0 if chance() < self._loss else 2 if chance() < self._repeats else 1
        for _ in range(copies):
            self._timeline.later(self._random.uniform(*self._delay), lambda: self._arrive(message))

    def _arrive(self, message: Payload) -> None:
        self.arrived += 1
        self._deliver(message)
