"""How fast the stores are: ``python benchmarks/stores.py [rows] [url of an empty database]``.

Prints durable writes per second, alone and beside a busy reactor, how long a start with
100,000 users takes, and the resident memory of a user with a binding. With a URL it measures
writing to that database only; else SQLite in a temporary directory.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred

from omaim.stores import Stores, open_stores
from omaim.stores.records import (
    Binding,
    Credential,
    DeferredMessage,
    PublicIdentity,
    Quota,
    ServiceEventRecord,
    User,
)

USERS = 100_000
PROFILE = "<ServiceProfile>" + "<InitialFilterCriteria/>" * 40 + "</ServiceProfile>"


def resident() -> int:
    """Return the octets of memory that this process has resident."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def user(number: int) -> User:
    """Return a user as provisioning makes them: two identities, three digest algorithms."""
    name = f"user{number}"
    realm = "one.example"
    digits = f"{number:064x}"
    return User(
        f"{name}@{realm}",
        (PublicIdentity(f"sip:{name}@{realm}"), PublicIdentity(f"tel:+1555{number:07}")),
        (
            Credential("MD5", realm, digits[:32]),
            Credential("SHA-256", realm, digits),
            Credential("SHA-512-256", realm, digits[::-1]),
        ),
        profile=PROFILE,
    )


def binding(number: int, expires_at: float) -> Binding:
    """Return a binding as a phone with outbound and GRUU has it."""
    aor = f"sip:user{number}@one.example"
    instance = f"urn:uuid:{number:032x}"
    return Binding(
        aor,
        f"sip:user{number}@192.0.2.{number % 250}:{1024 + number % 60000};transport=tcp;ob",
        f"{number:032x}",
        number % 1000,
        expires_at,
        path=("<sip:edge.one.example;lr;ob>",),
        instance=instance,
        reg_id=1,
        flow_token=f"{number:020x}",
        user_agent="IM-client/OMA1.0 phone",
        params=";+g.oma.sip-im;expires=3600;reg-id=1",
        pub_gruu=f"{aor};gr={instance}",
        temp_gruu=f"sip:tgruu.{number:032x}@one.example;gr",
        private_id=f"user{number}@one.example",
        registered_at=float(number),
        contact_id=f"{number:x}",
    )


def message(number: int) -> DeferredMessage:
    """Return a message of ordinary size."""
    return DeferredMessage(
        f"sip:user{number % 500}@one.example",
        f"{number:016x}",
        "sip:bob@two.example",
        f"id{number}",
        "message/cpim",
        b"x" * 400,
        float(number),
        1e12,
    )


async def rate(name: str, rows: int, write: Callable[[int], Deferred[Any]]) -> None:
    """Print how many writes a second become durable, 2000 being on their way."""
    started, used = time.perf_counter(), time.process_time()
    for first in range(0, rows, 2000):
        await DeferredList([write(number) for number in range(first, min(rows, first + 2000))])
    took, cpu = time.perf_counter() - started, time.process_time() - used
    print(f"{name:42} {rows / took:9.0f} /s   {cpu / rows * 1e6:6.1f} µs CPU each")


def busy(microseconds: int) -> task.LoopingCall:
    """Keep the reactor's thread busy in short turns, as a server under load is."""

    def turn() -> None:
        end = time.perf_counter() + microseconds / 1e6
        while time.perf_counter() < end:
            pass

    call = task.LoopingCall(turn)
    call.start(0)
    return call


async def latency(name: str, write: Callable[[int], Deferred[Any]]) -> None:
    """Print how long single writes take, one after the other."""
    times = []
    for number in range(300):
        started = time.perf_counter()
        await write(number)
        times.append(time.perf_counter() - started)
    times.sort()
    print(f"{name:42} {times[150] * 1e3:9.2f} ms   {times[297] * 1e3:6.2f} ms at 99 %")


def event(number: int) -> tuple[ServiceEventRecord, ...]:
    """Return what an accepted message leaves in the outbox."""
    return (ServiceEventRecord("MessageAccepted", float(number), b"e" * 200, "sip:a@b"),)


async def writes(stores: Stores, rows: int) -> None:
    """Measure writing."""
    big = Quota(10**9, 10**12)
    await rate("events", rows, lambda n: stores.outbox.append(event(n)))
    await rate(
        "deferred messages, quota and event",
        rows,
        lambda n: stores.deferred.add(message(n), big, event(n)),
    )
    await rate(
        "deliveries (attempt)",
        rows,
        lambda n: stores.deferred.attempt(
            f"sip:user{n % 500}@one.example", [f"{n:016x}"], "t", 0.0, 1.0
        ),
    )
    await rate(
        "deliveries (finish)",
        rows,
        lambda n: stores.deferred.finish(
            f"sip:user{n % 500}@one.example", [f"{n:016x}"], 2, 1e12, event(n)
        ),
    )
    await rate(
        "bindings",
        rows,
        lambda n: stores.bindings.replace(f"sip:user{n}@one.example", 0, [binding(n, 1e12)]),
    )
    await latency("one event", lambda n: stores.outbox.append(event(n)))
    call = busy(100)
    await rate("events, reactor busy", rows, lambda n: stores.outbox.append(event(n)))
    await rate(
        "deferred messages, reactor busy",
        rows,
        lambda n: stores.deferred.add(message(n + rows), None, event(n)),
    )
    await latency("one event, reactor busy", lambda n: stores.outbox.append(event(n)))
    call.stop()


async def start(url: str) -> None:
    """Measure a start with many users, and the memory they take."""
    stores = await open_stores(url, reactor, reactor)
    started = time.perf_counter()
    for first in range(0, USERS, 5000):
        await stores.users.put_many(user(number) for number in range(first, first + 5000))
    print(f"{'provisioning 100,000 users':42} {time.perf_counter() - started:9.2f} s")
    for first in range(0, USERS, 2000):
        await DeferredList(
            [
                stores.bindings.replace(f"sip:user{n}@one.example", 0, [binding(n, 1e12)])
                for n in range(first, first + 2000)
            ]
        )
    await stores.close()
    del stores
    before = resident()
    started = time.perf_counter()
    stores = await open_stores(url, reactor, reactor)
    took = time.perf_counter() - started
    print(f"{'start with 100,000 users and bindings':42} {took:9.2f} s")
    packed = resident() - before
    print(f"{'memory for each, not yet asked for':42} {packed / USERS:9.0f} octets")
    for number in range(USERS):
        stores.users.peek(f"user{number}@one.example")
        stores.bindings.peek(f"sip:user{number}@one.example")
    used = resident() - before
    print(f"{'memory for each, all asked for':42} {used / USERS:9.0f} octets")
    await stores.close()


async def memory() -> None:
    """Measure the stores in memory."""
    stores = await open_stores("memory:", reactor, reactor)
    before = resident()
    for number in range(USERS):
        await stores.bindings.replace(
            f"sip:user{number}@one.example", 0, (binding(number, 3600.0 + number),)
        )
    used = (resident() - before) / USERS
    print(f"{'memory of a binding, memory store':42} {used:9.0f} octets")
    await stores.users.put_many(user(number) for number in range(USERS))
    used = (resident() - before) / USERS
    print(f"{'memory of a binding and its user':42} {used:9.0f} octets")


async def measure(rows: int, url: str) -> None:
    """Measure everything, or writing to that database."""
    if url:
        stores = await open_stores(url, reactor, reactor)
        await writes(stores, rows)
        await stores.close()
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_DIR")) as folder:
        stores = await open_stores(f"sqlite:///{folder}/writes.db", reactor, reactor)
        await writes(stores, rows)
        await stores.close()
        await start(f"sqlite:///{folder}/start.db")
        await memory()


def main() -> None:
    """Run it under the reactor."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    url = sys.argv[2] if len(sys.argv) > 2 else ""
    task.react(lambda _: ensureDeferred(measure(rows, url)))


if __name__ == "__main__":
    main()
