"""kill -9 while writing: whatever was acknowledged is there, and nothing is half there."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import TestCase

from omaim.stores import open_stores
from omaim.testing.store_contract import BOB

ROUNDS = 3


def killed_while_writing(path: str, first: int, after: float) -> list[list[str]]:
    """Run a writer, kill it some seconds after it has begun; return what it said."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.stores.writer", path, str(first)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    try:
        opened = writer.stdout.readline()
        assert opened.startswith(b"open"), opened
        time.sleep(after)
    finally:
        writer.kill()
    said = writer.stdout.read().decode().splitlines()
    writer.stdout.close()
    writer.wait()
    return [line.split(" ") for line in said]


class CrashTests(TestCase):
    """Of the stores in SQLite."""

    def test_kill(self) -> Deferred[None]:
        """Over several deaths in one file no acknowledged write is lost."""

        async def test() -> None:
            path = os.path.abspath(self.mktemp())
            chance = random.Random(1)
            said: list[list[str]] = []
            for round in range(ROUNDS):
                more = killed_while_writing(path, round * 1_000_000, chance.uniform(0.05, 0.4))
                self.assertGreater(len(more), 0)
                said += more
            added = {name for what, name in said if what == "added"}
            ended = {name for what, name in said if what == "ended"}
            stores = await open_stores(f"sqlite:///{path}", reactor, reactor)  # type: ignore[arg-type]
            self.addCleanup(stores.close)
            for what, aor in said:
                if what == "bound":
                    self.assertEqual(len(stores.bindings.peek(aor).bindings), 1, aor)
            kept = await stores.deferred.waiting(BOB, 0.0, limit=10**6)
            there = {one.reference for one in kept}
            lost = {name for name in added - ended - there if int(name) % 3}
            self.assertEqual(lost, set())
            self.assertEqual(ended & there, set())
            # A message and its event were one commit: as many of the one as of the other.
            events = {str(int(one.at)) for one in await stores.outbox.read(0, 10**6)}
            self.assertLessEqual(added, events)
            self.assertLessEqual(there, events)
            unsaid = events - there - added
            self.assertTrue(all(int(name) % 3 == 0 for name in unsaid), unsaid)

        return ensureDeferred(test())

    def test_not_closed(self) -> None:
        """A process that does not close its stores ends nevertheless; what it wrote is there."""
        path = os.path.abspath(self.mktemp())
        program = """
import os, sys
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from omaim.stores import open_stores
from omaim.testing.store_contract import BOB, message

async def main():
    stores = await open_stores(f"sqlite:///{sys.argv[1]}", reactor, reactor)
    await stores.deferred.add(message("one"))
    os.write(1, str(len(await stores.deferred.recipients())).encode())
    reactor.stop()

reactor.callWhenRunning(lambda: ensureDeferred(main()))
reactor.run()
"""
        ended = subprocess.run(
            [sys.executable, "-c", program, path],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=30,
        )
        self.assertEqual((ended.returncode, ended.stdout), (0, b"1"))
        with sqlite3.connect(path) as connection:
            self.assertEqual(connection.execute("SELECT count(*) FROM deferred").fetchone(), (1,))
        connection.close()
