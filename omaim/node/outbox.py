"""A reader of the outbox: gets each event of the kinds it wants, whatever crashes between.

A tap may miss what was said right before a crash; a reader may not. It gets an event at least
once: the same one again if the process died before its mark was durable, so that what it does with
an event has to come out the same the second time.

Spec: design of omaim.node.events
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import OmaimError
from omaim.node.events import ServiceEvent, from_json
from omaim.stores.interfaces import IOutbox
from omaim.stores.records import ServiceEventRecord

BATCH: Final = 100  # events read at a time

_log = Logger()


class OutboxReader:
    """One reader.

    Args:
        name: under which the outbox knows it; the same in each life.
        kinds: classes of the events that it wants.
        act: gets each event; what it awaits is durable when it returns. The events of one
            batch are under way at the same time, begun in their order.

    Attributes:
        enrolled: the outbox keeps events for it.
    """

    def __init__(
        self,
        name: str,
        outbox: IOutbox,
        kinds: tuple[type[ServiceEvent], ...],
        act: Callable[[Any], Awaitable[object]],
    ) -> None:
        self.enrolled = False
        self._name = name
        self._outbox = outbox
        self._kinds = frozenset(kind.__name__ for kind in kinds)
        self._act = act
        self._position = 0  # up to there all is done
        self._marked = 0  # up to there that is noted
        self._due = False  # there may be something new
        self._busy = False
        self._waiting: list[Deferred[None]] = []

    async def start(self) -> None:
        """Take up where an earlier life has stopped, and do what it has not done.

        Raises:
            Unavailable: the store cannot answer.
        """
        marked = (await self._outbox.positions()).get(self._name)
        if marked is not None:
            self.enrolled = True
            self._position = self._marked = marked
            await self.caught_up()

    async def enrol(self) -> None:
        """Have the outbox keep for us what is written from now on.

        Raises:
            Unavailable: the store cannot answer.
        """
        if not self.enrolled:
            await self._outbox.mark(self._name, self._position)
            self.enrolled = True

    async def retire(self) -> None:
        """Do what is left, and have nothing kept any more.

        Raises:
            Unavailable: the store cannot answer.
        """
        if self.enrolled:
            await self.caught_up()
            await self._outbox.forget(self._name)
            self.enrolled = False

    def poke(self) -> None:
        """There is something new."""
        self._due = True
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._read()).addBoth(self._have_read)

    async def caught_up(self) -> None:
        """Return when all that was committed before is done, and that is noted.

        Raises:
            Unavailable: a store cannot answer.
        """
        if not self.enrolled:
            return
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        self.poke()
        await done
        position = self._position
        if position > self._marked:
            await self._outbox.mark(self._name, position)
            self._marked = max(position, self._marked)

    async def _read(self) -> None:
        while self._due:
            waiting, self._waiting = self._waiting, []
            self._due = False
            try:
                while await self._read_some():
                    pass
            except BaseException:
                self._waiting += waiting
                raise
            for done in waiting:
                done.callback(None)

    def _have_read(self, result: Any) -> None:
        self._busy = False
        if isinstance(result, Failure):
            # It is read again when there is more, and when somebody wants us to catch up.
            if result.check(OmaimError):
                _log.error("{name} waits: {why}", name=self._name, why=result.getErrorMessage())
            else:
                _log.failure("{name} failed", result, name=self._name)
            waiting, self._waiting = self._waiting, []
            for done in waiting:
                done.errback(result)
        elif self._due:
            self.poke()

    async def _read_some(self) -> bool:
        found = await self._outbox.read(self._position, BATCH)
        acting = [
            Deferred.fromCoroutine(self._take(one)) for one in found if one.kind in self._kinds
        ]
        outcomes: list[tuple[bool, Any]] = await DeferredList(acting, consumeErrors=True)
        for good, outcome in outcomes:
            if not good:
                outcome.raiseException()
        if found:
            self._position = found[-1].position
        return bool(found)

    async def _take(self, record: ServiceEventRecord) -> None:
        await self._act(from_json(record.kind, record.data.decode()))
