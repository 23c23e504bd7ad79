"""What came and waits to be fetched, or goes to a function at once.

Awaited one by one, iterated over, or handed to a function::

    message = await arrivals.next()
    async for message in arrivals: …
    arrivals.on(print)
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final, Generic, TypeVar

from twisted.internet.defer import Deferred, fail, succeed

from omaim.client.handing import hand

WAITING: Final = 1_000  # that nobody has fetched; there is no room for more

T = TypeVar("T")


class Closed(Exception):
    """No more will come."""


class Arrivals(Generic[T]):
    """Things in the order in which they came; the oldest is fetched first."""

    def __init__(self) -> None:
        self._waiting: deque[T] = deque()
        self._readers: deque[Deferred[T]] = deque()
        self._act: Callable[[T], object] | None = None
        self._closed = False

    @property
    def full(self) -> bool:
        """There is no room for more."""
        return self._act is None and len(self._waiting) >= WAITING

    @property
    def act(self) -> Callable[[T], object] | None:
        """The function that gets each, if there is one."""
        return self._act

    def on(self, act: Callable[[T], object] | None) -> None:
        """Give each to ``act``, which may be a coroutine; those that wait at once."""
        self._act = act
        while act is not None and self._waiting:
            hand(act, self._waiting.popleft())

    def put(self, one: T) -> None:
        """One has come."""
        if self._act is not None:
            hand(self._act, one)
        elif self._readers:
            self._readers.popleft().callback(one)
        elif len(self._waiting) < WAITING:
            self._waiting.append(one)

    def next(self) -> Deferred[T]:
        """Return the next one, when there is one; fails with :class:`Closed` at the end."""
        if self._waiting:
            return succeed(self._waiting.popleft())
        if self._closed:
            return fail(Closed())
        reader: Deferred[T] = Deferred(lambda one: self._readers.remove(one))
        self._readers.append(reader)
        return reader

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            try:
                one = await self.next()
            except Closed:
                return
            yield one

    def close(self) -> None:
        """No more will come; what waits can still be fetched."""
        self._closed = True
        readers, self._readers = self._readers, deque()
        for reader in readers:
            reader.errback(Closed())
