"""A process that writes and says what was acknowledged, until somebody kills it.

Run by test_crash.py: ``python -m tests.stores.writer PATH FIRST``.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred

from omaim.stores import Stores, open_stores
from omaim.stores.records import DELIVERED
from omaim.testing.store_contract import ALICE, BOB, binding, event, message

WIDTH = 40  # writes on their way


def said(result: Any, line: str) -> None:
    """Say what was acknowledged: one write(2), so that no line is torn."""
    os.write(1, f"{line}\n".encode())


async def work(stores: Stores, first: int) -> None:
    """Write until killed."""
    while True:
        waiting: list[Deferred[Any]] = []
        for number in range(first, first + WIDTH):
            name = str(number)
            at = event(at=float(number))
            adding = stores.deferred.add(message(name), events=(at,))
            waiting.append(adding.addCallback(said, f"added {name}"))
            aor = f"sip:u{name}@one.example"
            replacing = stores.bindings.replace(aor, 0, (binding(aor),))
            waiting.append(replacing.addCallback(said, f"bound {aor}"))
            if number % 3 == 0:
                ending = stores.deferred.finish(BOB, [name], DELIVERED, 1e9)
                waiting.append(ending.addCallback(said, f"ended {name}"))
        first += WIDTH
        await DeferredList(waiting)


async def main() -> None:
    """Open the stores and write."""
    path, first = sys.argv[1], int(sys.argv[2])
    stores = await open_stores(f"sqlite:///{path}", reactor, reactor)  # type: ignore[arg-type]
    os.write(1, f"open {ALICE}\n".encode())
    await work(stores, first)


if __name__ == "__main__":
    task.react(lambda _: ensureDeferred(main()))
