"""Measure chat rooms of the IM Server: ``python -m benchmarks.rooms``.

The IM Server is a process of its own, with all that it is in earnest: people come in by INVITE,
what they say is checked, written down and copied by the switch. What counts is its CPU time for
each copy that it delivers, and how long a copy takes when the server does half as much as it can.
Here are the people, and a core that vouches for them.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from typing import Any

from twisted.internet.defer import Deferred

from benchmarks.msrp import Server, _failed, _resident, _show, run_pinned, say_form
from omaim.bodies.cpim import MEDIA_TYPE, Address, Cpim
from omaim.bodies.mime import Part
from omaim.im.config import Config
from omaim.im.entity import build
from omaim.msrp import Outgoing, Session, SessionUser
from omaim.net.endpoint import Endpoint
from omaim.net.msrp import MsrpEndpoint
from omaim.net.network import ReactorNetwork
from omaim.node.config import NodeConfig
from omaim.node.node import open_node
from omaim.roles.inviter import Inviter
from omaim.roles.negotiation import Negotiation, Wish
from omaim.roles.user_agent import UserAgent
from omaim.sip.message import Request

IM, CORE = "127.0.0.51", "127.0.0.52"
PORT = 5060
ROOM = f"sip:room.bench@{IM}"
TEXT = "Hello, this is a message of an ordinary length, as people write them to one another."


def serve(state: str) -> None:
    """Be the IM Server; answer each line read with CPU seconds and resident octets."""
    from twisted.internet import reactor
    from twisted.internet.stdio import StandardIO
    from twisted.protocols.basic import LineReceiver

    loop: Any = reactor

    class Costs(LineReceiver):
        delimiter = b"\n"

        def lineReceived(self, line: bytes) -> None:
            used = resource.getrusage(resource.RUSAGE_SELF)
            print(json.dumps([used.ru_utime + used.ru_stime, _resident()]), flush=True)

        def connectionLost(self, reason: Any = None) -> None:
            if loop.running:
                loop.stop()

    async def start() -> None:
        node = await open_node(NodeConfig(state=state), loop)
        config = Config(
            domain=IM,
            listen=(f"udp:{IM}:{PORT}", f"tcp:{IM}:{PORT}"),
            msrp=(f"tcp:{IM}:2855",),
            core=f"sip:{CORE}:{PORT}",
            trusted=(CORE,),
            room_people=0,
        )
        im = build(node, config, "im")
        im.setServiceParent(node)
        node.startService()
        await im.ready()
        wanted = {"command": "add-group", "entity": "im", "aor": ROOM, "everybody": "yes"}
        await node.control.run(wanted)
        print(json.dumps([]), flush=True)
        StandardIO(Costs())

    loop.callWhenRunning(lambda: Deferred.fromCoroutine(start()).addErrback(_failed))
    loop.run()


class Members:
    """People in the room, all of them here.

    Attributes:
        heard: copies that came.
        latencies: seconds of those that told when they were said.
    """

    def __init__(self, count: int) -> None:
        from twisted.internet import reactor

        self.loop: Any = reactor
        self.network = ReactorNetwork(self.loop)
        self.endpoint = Endpoint(self.network, self.loop, name="core")
        agent = UserAgent(self.endpoint, f"sip:core@{CORE}", contact=f"<sip:core@{CORE}>")
        agent.attach()
        self.agent = agent
        self.inviter = Inviter(agent)
        self.count = count
        self.heard = 0
        self.wanted = 0
        self.done: Deferred[None] = Deferred()
        self.latencies: list[float] = []
        self.sessions: list[Session] = []
        self._user = SessionUser(lambda session, incoming: incoming.collect(1 << 20, self._hear))
        self._msrp: list[MsrpEndpoint] = []

    def _hear(self, body: bytes) -> None:
        self.heard += 1
        at = body.rfind(b" said ")
        if at > 0:
            self.latencies.append(time.monotonic() - float(body[at + 6 :]))
        if self.heard == self.wanted:
            self.done.callback(None)

    async def come(self) -> None:
        """Go into the room, one after another, each over a connection of its own."""
        for transport in ("UDP", "TCP"):
            await self.endpoint.listen(transport, CORE, PORT)
        for number in range(self.count):
            await self._join(number)
        pause: Deferred[None] = Deferred()
        self.loop.callLater(1.0, pause.callback, None)
        await pause

    async def _join(self, number: int) -> None:
        msrp = MsrpEndpoint(self.network, self.loop)
        self._msrp.append(msrp)
        negotiation = Negotiation(msrp)
        tokens = ("nickname", "private-messages")
        wish = Wish(self._user, (MEDIA_TYPE,), ("*",), chatroom=tokens)
        offer = negotiation.offer([wish])
        ids = self.agent.ids
        who = f"sip:member{number}@{IM}"
        fields = [
            ("Route", f"<sip:{IM};lr>"),
            ("Max-Forwards", "70"),
            ("From", f"<{who}>;tag={ids.tag()}"),
            ("To", f"<{ROOM}>"),
            ("Call-ID", ids.call_id()),
            ("CSeq", "1 INVITE"),
            ("P-Asserted-Identity", f"<{who}>"),
            ("P-Charging-Vector", f"icid-value={ids.token()};orig-ioi={IM}"),
            ("Content-Type", offer.content_type),
        ]
        request = Request.make("INVITE", ROOM, fields, offer.body)
        call = await self.inviter.invite("", request=request)
        await negotiation.read_answer(call.remote)
        medium = negotiation.media[0]
        assert medium is not None
        self.sessions.append(medium.session)

    def expect(self, messages: int) -> Deferred[None]:
        """Return what fires when all have heard so many messages more."""
        self.wanted = self.heard + messages * (self.count - 1)
        self.done = Deferred()
        return self.done

    def say(self, number: int, text: str, on_end: Any) -> None:
        """Let one of them say something."""
        part = Part([("Content-Type", "text/plain")], text.encode())
        author = Address("", f"sip:member{number}@{IM}")
        body = Cpim.make(author, [Address("", ROOM)], "2026-01-01T00:00:00Z", part).to_bytes()
        self.sessions[number].send(Outgoing(MEDIA_TYPE, body, on_end=on_end))

    async def leave(self) -> None:
        """Go away without a word."""
        for msrp in self._msrp:
            await msrp.stop()
        await self.endpoint.stop()


async def _room(members: int, count: int, core: str, state: str, speakers: int) -> dict[str, float]:
    """Let people speak; return the server's CPU for each copy, and what it can do."""
    server = Server("rooms", 0, core, ["-m", "benchmarks.rooms", "--serve", state])
    people = Members(members)
    await people.come()
    left = [count]

    def speak(number: int) -> None:
        if left[0]:
            left[0] -= 1
            people.say(number, TEXT, lambda status: speak(number))

    done = people.expect(count)
    before, _ = server.costs()
    began = time.monotonic()
    for number in range(min(speakers, members)):
        speak(number)
    await done
    seconds = time.monotonic() - began
    after, resident = server.costs()
    made = count * (members - 1)
    result = {
        "us per copy": (after - before) / made * 1e6,
        "us per post": (after - before) / count * 1e6,
        "copies/s": made / seconds,
        "MiB": resident / 1048576,
    }
    result.update(await _half_load(people, count / seconds / 2))
    await people.leave()
    server.stop()
    return result


async def _half_load(people: Members, rate: float) -> dict[str, float]:
    """Return how long copies take when so many messages a second are said."""
    count = max(20, min(int(rate * 3), 600))
    people.latencies.clear()
    done = people.expect(count)
    said = [0]
    began = time.monotonic()

    def speak() -> None:
        now = time.monotonic()
        while said[0] < count and now >= began + said[0] / rate:
            people.say(said[0] % len(people.sessions), f"{TEXT} said {now}", lambda status: None)
            said[0] += 1
        if said[0] < count:
            people.loop.callLater(max(0.0, began + said[0] / rate - time.monotonic()), speak)

    speak()
    await done
    sorted_ = sorted(people.latencies)
    return {
        f"ms at p{share}": sorted_[min(len(sorted_) - 1, len(sorted_) * share // 100)] * 1000
        for share in (50, 95, 99)
    }


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--rooms", default="2,10,100", help="members, with commas between")
    parser.add_argument("--copies", type=int, default=100_000, help="to deliver in each room")
    parser.add_argument("--speakers", type=int, default=8, help="who speak at a time")
    parser.add_argument("--state", default="sqlite", help="stores: sqlite or memory")
    parser.add_argument("--cores", default=",", help="of the server and of the load: 0,1")
    wanted = parser.parse_args()
    if wanted.serve:
        serve(wanted.serve)
        return
    server, load = wanted.cores.split(",")
    say_form()

    async def run() -> None:
        for members in (int(text) for text in wanted.rooms.split(",")):
            count = max(20, wanted.copies // max(1, members - 1))
            with tempfile.TemporaryDirectory() as folder:
                state = "memory:" if wanted.state == "memory" else f"sqlite:///{folder}/state"
                values = await _room(members, count, server, state, wanted.speakers)
            _show(f"room of {members}", values)

    run_pinned(run, load)


if __name__ == "__main__":
    main()
