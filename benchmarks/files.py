"""Measure a file through the IM Server: ``python -m benchmarks.files``.

Two people talk through the server, which stands between their two MSRP sessions; one sends a large
file to the other. What counts is how much passes for each second of the server's CPU, and what
the server's memory grows by meanwhile.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, Final

from twisted.internet.defer import Deferred

from benchmarks.msrp import Server, _show, run_pinned, say_form
from benchmarks.rooms import CORE, IM, PORT
from omaim.msrp import Incoming, Outgoing, Session, SessionUser
from omaim.net.endpoint import Endpoint
from omaim.net.msrp import MsrpEndpoint
from omaim.net.network import ReactorNetwork
from omaim.roles.invitation import Invitation
from omaim.roles.inviter import Inviter
from omaim.roles.negotiation import Negotiation, Wish
from omaim.roles.user_agent import UserAgent
from omaim.sip.message import Request

PIECE: Final = bytes(65536)
AHEAD: Final = 1_048_576  # octets that the sender lets wait
SENDER, TAKER = f"sip:alice@{IM}", "sip:bob@elsewhere.example"


class Pair:
    """Both people, and a core that brings the server's INVITE to the one who is called."""

    def __init__(self) -> None:
        from twisted.internet import reactor

        self.loop: Any = reactor
        network = ReactorNetwork(self.loop)
        self.endpoint = Endpoint(network, self.loop, name="core")
        self.agent = UserAgent(self.endpoint, f"sip:core@{CORE}", contact=f"<sip:core@{CORE}>")
        self.agent.attach()
        self.inviter = Inviter(self.agent)
        self.inviter.on_invite = self._invited
        self.near, self.far = (MsrpEndpoint(network, self.loop) for _ in range(2))
        self.done: Deferred[None] = Deferred()
        self.taken = 0

    async def talk(self) -> Session:
        """Begin to talk; return the session of the one who sends."""
        for transport in ("UDP", "TCP"):
            await self.endpoint.listen(transport, CORE, PORT)
        await self.far.listen("TCP", CORE, 0)
        negotiation = Negotiation(self.near)
        user = SessionUser(lambda session, incoming: incoming.refuse())
        offer = negotiation.offer([Wish(user, ("*",))])
        ids = self.agent.ids
        fields = [
            ("Route", f"<sip:{IM};lr>"),
            ("Route", f"<sip:{CORE};lr>"),
            ("Max-Forwards", "70"),
            ("From", f"<{SENDER}>;tag={ids.tag()}"),
            ("To", f"<{TAKER}>"),
            ("Call-ID", ids.call_id()),
            ("CSeq", "1 INVITE"),
            ("P-Asserted-Identity", f"<{SENDER}>"),
            ("P-Served-User", f"<{SENDER}>;sescase=orig;regstate=reg"),
            ("Content-Type", offer.content_type),
        ]
        call = await self.inviter.invite(
            "", request=Request.make("INVITE", TAKER, fields, offer.body)
        )
        await negotiation.read_answer(call.remote)
        medium = negotiation.media[0]
        assert medium is not None
        return medium.session

    async def _invited(self, invitation: Invitation) -> None:
        negotiation = Negotiation(self.far)
        wish = Wish(SessionUser(self._begins), ("*",))
        answer = await negotiation.answer(invitation.call.remote, [wish])
        await invitation.accept(answer.body)

    def _begins(self, session: Session, incoming: Incoming) -> None:
        incoming.stream(self._data, lambda complete: self.done.callback(None))

    def _data(self, offset: int, data: bytes) -> None:
        self.taken += len(data)

    def send(self, session: Session, octets: int) -> None:
        """Send a file of so many octets, as fast as it is taken."""
        left = [octets]

        def more() -> None:
            while left[0] and out.pending < AHEAD:
                piece = PIECE if left[0] >= len(PIECE) else PIECE[: left[0]]
                left[0] -= len(piece)
                out.write(piece)
            if not left[0]:
                out.finish()

        out = Outgoing("application/octet-stream", size=octets, on_drained=more)
        session.send(out)
        more()


async def _file(octets: int, core: str, state: str) -> dict[str, float]:
    """Send a file; return what it cost the server."""
    server = Server("files", 0, core, ["-m", "benchmarks.rooms", "--serve", state])
    pair = Pair()
    session = await pair.talk()
    before, resident = server.costs()
    began = time.monotonic()
    pair.send(session, octets)
    peak = resident
    while not pair.done.called:
        pause: Deferred[None] = Deferred()
        pair.loop.callLater(0.25, pause.callback, None)
        await pause
        peak = max(peak, server.costs()[1])
    seconds = time.monotonic() - began
    after, _ = server.costs()
    if pair.taken != octets:
        raise AssertionError(f"{pair.taken} of {octets} octets came")
    server.stop()
    return {
        "MB per CPU second": octets / (after - before) / 1e6,
        "MB/s": octets / seconds / 1e6,
        "MiB more at most": (peak - resident) / 1048576,
    }


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="of the file, MiB")
    parser.add_argument("--cores", default=",", help="of the server and of the people: 0,1")
    wanted = parser.parse_args()
    server, load = wanted.cores.split(",")
    say_form()

    async def run() -> None:
        values = await _file(wanted.size << 20, server, "memory:")
        _show(f"file of {wanted.size} MiB", values)

    run_pinned(run, load)


if __name__ == "__main__":
    main()
