"""Measure MSRP: ``python -m benchmarks.msrp``.

In one process: frames parsed, messages between two sessions, copies of one message, octets of a
large body from session to session through a third. Over loopback: a room, whose switch is a
process of its own, and a large body through a back-to-back server; what counts there is the CPU
time and the memory of that process. Needs the omaim to be measured for the interpreter that
runs this; says which form of it was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from omaim.ids import Ids
from omaim.msrp import (
    Channel,
    FrameLimits,
    FrameParser,
    Incoming,
    Limits,
    Line,
    Means,
    MsrpUri,
    Outgoing,
    Session,
    SessionUser,
    Shared,
    parse_path,
)
from omaim.msrp import framing as _form
from omaim.timers import Deadlines

TEXT = b"Hello, this is a message of an ordinary length, as people write them to one another."
PIECE = bytes(range(256)) * 256
HIGH = 262144  # octets that wait for the far side before the near side is paused


class Pipe:
    """One end of a connection in memory."""

    def __init__(self, means: Means, find: Any, initiated: bool) -> None:
        self.out: deque[bytes] = deque()
        line = Line(self.out.append, lambda: 0, _nothing, _nothing, _nothing, _nothing)
        self.channel = Channel(means, line, find, initiated)


def _nothing(*args: Any) -> None:
    """Do nothing."""


def _nobody(uri: MsrpUri) -> Session | None:
    return None


def _means() -> Means:
    deadlines = Deadlines()
    return Means(time.monotonic, Ids(), deadlines.arm, _nothing, Limits())


def _pair(means: Means, near: SessionUser, far: SessionUser, name: str = "x") -> tuple[Any, ...]:
    table: dict[str, Session] = {}
    one = Session(means, MsrpUri("127.0.0.1", 7000, f"a{name}"), near)
    other = Session(means, MsrpUri("127.0.0.1", 7001, f"b{name}"), far)
    table[other.uri.key] = other
    here, there = Pipe(means, _nobody, True), Pipe(means, lambda uri: table.get(uri.key), False)
    one.lead_to(other.path)
    other.lead_to(one.path)
    here.channel.bind(one, True)
    _carry(here, there)
    return one, other, here, there


def _carry(here: Pipe, there: Pipe) -> None:
    while here.out or there.out:
        if here.out:
            data = b"".join(here.out)
            here.out.clear()
            there.channel.received(data)
        if there.out:
            data = b"".join(there.out)
            there.out.clear()
            here.channel.received(data)


def _taker(got: Any) -> SessionUser:
    return SessionUser(lambda session, incoming: incoming.collect(1 << 20, got))


def parse(count: int = 200_000) -> float:
    """Return microseconds per frame of 64 KiB reads."""
    means = _means()
    taken: list[bytes] = []
    one, _, here, _ = _pair(means, _taker(taken.append), _taker(taken.append))
    for _ in range(100):
        one.send(Outgoing("text/plain", TEXT))
    data = b"".join(here.out)
    parser = FrameParser(FrameLimits())
    began = time.process_time()
    frames = 0
    while frames < count:
        for at in range(0, len(data), 65536):
            frames += len(parser.feed(data[at : at + 65536]))
    return (time.process_time() - began) / frames * 1e6


def messages(count: int = 50_000) -> float:
    """Return microseconds per message from session to session, answer included."""
    got: list[bytes] = []
    one, _, here, there = _pair(_means(), _taker(got.append), _taker(got.append))
    began = time.process_time()
    for _ in range(count // 50):
        for _ in range(50):
            one.send(Outgoing("text/plain", TEXT))
        _carry(here, there)
    assert len(got) == count
    return (time.process_time() - began) / count * 1e6


def copies(members: int = 100, count: int = 2000) -> float:
    """Return microseconds per copy, from the speaker's octets to each member's."""
    means = _means()
    sinks: list[tuple[Session, Pipe]] = []

    def post(body: bytes) -> None:
        shared = Shared(means, "text/plain", body)
        for session, _ in sinks:
            shared.to(session)

    speaker, _, here, there = _pair(means, _taker(_nothing), _taker(post))
    for number in range(members):
        one, _, pipe, _ = _pair(means, _taker(_nothing), _taker(_nothing), str(number))
        sinks.append((one, pipe))
    began = time.process_time()
    for _ in range(count):
        speaker.send(Outgoing("text/plain", TEXT))
        _carry(here, there)
        for _, pipe in sinks:
            pipe.out.clear()
    return (time.process_time() - began) / count / members * 1e6


def stream(octets: int = 1 << 28) -> float:
    """Return MB per second from session to session through a back-to-back pair."""
    means = _means()
    received = [0]

    def count(offset: int, data: bytes) -> None:
        received[0] += len(data)

    last = SessionUser(lambda session, incoming: incoming.stream(count, _nothing))
    out, _, mine, theirs = _pair(means, _taker(_nothing), last, "2")
    forward = SessionUser(lambda session, incoming: _forward(incoming, session, out))
    source, _, here, there = _pair(means, _taker(_nothing), forward, "1")
    body = Outgoing("application/octet-stream", size=octets)
    source.send(body)
    began = time.process_time()
    for _ in range(octets // len(PIECE)):
        body.write(PIECE)
        while here.out:
            there.channel.received(here.out.popleft())
        while mine.out:
            theirs.channel.received(mine.out.popleft())
    body.finish()
    for _ in range(5):
        _carry(here, there)
        _carry(mine, theirs)
    assert received[0] == octets
    return octets / (time.process_time() - began) / 1e6


def _forward(incoming: Incoming, source: Session, sink: Session) -> None:
    """Send what comes to another session while it comes, no faster than that takes it."""
    out = Outgoing(incoming.content_type, size=incoming.size, on_drained=source.resume)

    def data(offset: int, piece: bytes) -> None:
        out.write(piece)
        if out.pending > HIGH:
            source.pause()

    def end(complete: bool) -> None:
        if complete:
            out.finish()
        else:
            out.abort()

    incoming.stream(data, end)
    sink.send(out)


def serve(kind: str, members: int) -> None:
    """Be the server: print the paths of its sessions, and its costs for each line read."""
    from twisted.internet import reactor
    from twisted.internet.stdio import StandardIO
    from twisted.protocols.basic import LineReceiver

    from omaim.net.msrp import MsrpEndpoint
    from omaim.net.network import ReactorNetwork

    loop: Any = reactor
    endpoint = MsrpEndpoint(ReactorNetwork(loop), loop)
    endpoint.listen("TCP", "127.0.0.1", 0)
    sessions: list[Session] = []

    def room(session: Session, incoming: Incoming) -> None:
        def post(body: bytes) -> None:
            shared = Shared(endpoint.means, incoming.content_type, body)
            for other in sessions:
                if other is not session:
                    shared.to(other)

        incoming.collect(1 << 20, post)

    def back_to_back(session: Session, incoming: Incoming) -> None:
        _forward(incoming, session, sessions[1 - sessions.index(session)])

    user = SessionUser(room if kind == "room" else back_to_back)
    for _ in range(members):
        sessions.append(endpoint.session(user))

    class Costs(LineReceiver):
        delimiter = b"\n"

        def connectionMade(self) -> None:
            print(json.dumps([str(session.uri) for session in sessions]), flush=True)

        def lineReceived(self, line: bytes) -> None:
            used = resource.getrusage(resource.RUSAGE_SELF)
            print(json.dumps([used.ru_utime + used.ru_stime, _resident()]), flush=True)

        def connectionLost(self, reason: Any = None) -> None:
            loop.stop()

    StandardIO(Costs())
    loop.run()


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Server:
    """A server in another process."""

    def __init__(self, kind: str, members: int, core: str, arguments: Sequence[str] = ()) -> None:
        own = ["-m", "benchmarks.msrp", "--serve", kind, str(members)]
        command = [sys.executable, *(arguments or own)]
        if core:
            command = ["taskset", "-c", core, *command]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.uris = [parse_path(text) for text in self._read()]

    def costs(self) -> tuple[float, int]:
        """Return the seconds of CPU used so far, and octets of memory in use."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        seconds, octets = self._read()
        return seconds, octets

    def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


async def _room(members: int, count: int, under_way: int, core: str) -> dict[str, float]:
    """Let one member speak; return microseconds of the switch's CPU per copy, and copies/s."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    from omaim.net.msrp import MsrpEndpoint
    from omaim.net.network import ReactorNetwork

    loop: Any = reactor
    server = Server("room", members, core)
    heard = [0]
    here: Deferred[None] = Deferred()
    done: Deferred[None] = Deferred()
    opened = [0]

    def hear(body: bytes) -> None:
        heard[0] += 1
        if heard[0] == count * (members - 1):
            done.callback(None)

    def opens(session: Session) -> None:
        opened[0] += 1
        if opened[0] == members:
            loop.callLater(0.3, here.callback, None)

    user = SessionUser(lambda session, incoming: incoming.collect(1 << 20, hear), opens)
    endpoints = []
    sessions = []
    for path in server.uris:
        endpoint = MsrpEndpoint(ReactorNetwork(loop), loop)
        endpoints.append(endpoint)
        session = endpoint.session(user)
        endpoint.connect(session, path, True)
        sessions.append(session)
    await here
    left = [count]

    def speak(status: int = 200) -> None:
        if left[0]:
            left[0] -= 1
            sessions[0].send(Outgoing("text/plain", TEXT, on_end=speak))

    before, _ = server.costs()
    began = time.monotonic()
    for _ in range(under_way):
        speak()
    await done
    seconds = time.monotonic() - began
    after, _ = server.costs()
    for endpoint in endpoints:
        await endpoint.stop()
    server.stop()
    made = count * (members - 1)
    return {"us per copy": (after - before) / made * 1e6, "copies/s": made / seconds}


async def _file(octets: int, core: str) -> dict[str, float]:
    """Send a large body through a server; return its MB/s and the growth of its memory."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    from omaim.net.msrp import MsrpEndpoint
    from omaim.net.network import ReactorNetwork

    loop: Any = reactor
    server = Server("b2b", 2, core)
    received = [0]
    done: Deferred[None] = Deferred()

    def count(offset: int, data: bytes) -> None:
        received[0] += len(data)

    def end(complete: bool) -> None:
        done.callback(None)

    user = SessionUser(lambda session, incoming: incoming.stream(count, end))
    sessions = []
    endpoints = []
    for path in server.uris:
        endpoint = MsrpEndpoint(ReactorNetwork(loop), loop)
        endpoints.append(endpoint)
        session = endpoint.session(user)
        endpoint.connect(session, path, True)
        sessions.append(session)
    pause: Deferred[None] = Deferred()
    loop.callLater(0.5, pause.callback, None)
    await pause
    left = [octets]

    def more() -> None:
        while left[0] and body.pending < HIGH:
            left[0] -= len(PIECE)
            body.write(PIECE)
        if not left[0]:
            body.finish()

    body = Outgoing("application/octet-stream", size=octets, on_drained=more)
    before, small = server.costs()
    began = time.monotonic()
    sessions[0].send(body)
    more()
    largest = small
    while not done.called:
        tick: Deferred[None] = Deferred()
        loop.callLater(0.2, tick.callback, None)
        await tick
        largest = max(largest, server.costs()[1])
    seconds = time.monotonic() - began
    after, _ = server.costs()
    assert received[0] == octets
    for endpoint in endpoints:
        await endpoint.stop()
    server.stop()
    return {
        "MB/s": octets / seconds / 1e6,
        "MB per CPU second": octets / (after - before) / 1e6,
        "growth MiB": (largest - small) / 1048576,
    }


def loopback(rooms: list[int], under_way: list[int], octets: int, cores: tuple[str, str]) -> None:
    """Measure over sockets."""

    async def run() -> None:
        for members in rooms:
            for window in under_way:
                count = max(20, 40_000 // members // (1 if window > 1 else 4))
                name = f"room of {members}, {window} under way"
                _show(name, await _room(members, count, window, cores[0]))
        if octets:
            _show(f"file of {octets >> 20} MiB", await _file(octets, cores[0]))

    run_pinned(run, cores[1])


def run_pinned(run: Callable[[], Coroutine[Any, Any, None]], core: str) -> None:
    """Run a coroutine in the reactor to its end, on one core; "" for any."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    loop: Any = reactor
    if core:
        os.sched_setaffinity(0, {int(core)})

    def begin() -> None:
        Deferred.fromCoroutine(run()).addErrback(_failed).addBoth(lambda _: loop.stop())

    loop.callWhenRunning(begin)
    loop.run()


def say_form() -> None:
    """Print which omaim this is, and which Python."""
    compiled = not str(_form.__file__).endswith(".py")
    print(f"omaim {'compiled' if compiled else 'interpreted'}, Python {platform.python_version()}")


def _failed(failure: Any) -> None:
    failure.printTraceback()


def _show(name: str, values: dict[str, float]) -> None:
    print(f"{name:28}", "  ".join(f"{value:10.1f} {unit}" for unit, value in values.items()))


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--rooms", default="2,10,100", help="members, with commas between")
    parser.add_argument("--under-way", default="1,8", help="messages that wait for their answer")
    parser.add_argument("--mebibytes", type=int, default=256, help="of the large body")
    parser.add_argument("--cores", default=",", help="of the server and of the load: 0,1")
    parser.add_argument("--no-loopback", action="store_true")
    wanted = parser.parse_args()
    if wanted.serve:
        serve(wanted.serve[0], int(wanted.serve[1]))
        return
    say_form()
    _show("frames parsed", {"us": parse()})
    _show("messages, both ends", {"us": messages()})
    _show("copies in a room of 100", {"us": copies()})
    _show("stream through three", {"MB/s": stream()})
    if not wanted.no_loopback:
        server, load = wanted.cores.split(",")
        rooms = [int(text) for text in wanted.rooms.split(",")]
        windows = [int(text) for text in wanted.under_way.split(",")]
        loopback(rooms, windows, wanted.mebibytes << 20, (server, load))


if __name__ == "__main__":
    main()
