"""The scripted peers, against each other and against real servers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from omaim.sip.message import Request
from omaim.testing.peers import Stranger, core, phone
from omaim.testing.scenario import (
    IN_PROCESS,
    Layout,
    ScenarioNetwork,
    holds,
    same,
    scenario,
)
from omaim.testing.stages import Simulated

ALICE, BOB = "sip:alice@north.example", "sip:bob@north.example"


@scenario(shows=("IMS-41",), stages=IN_PROCESS, layout=Layout(without=("core-north",)))
async def scripted_core(net: ScenarioNetwork) -> None:
    """A scripted core shows an IM Server a message, and gets it back."""
    home = await core(net, "north")
    response = await home.serve(ALICE, BOB, b"through you")
    same(response.status, 200, "the answer")
    (back,) = home.got()
    same(back.body, b"through you", "what came back")
    holds(";odi=" in (back.first("Route") or ""), "along the Route that was given")
    response = await home.serve(ALICE, BOB, b"keep it", registered=False)
    same(response.status, 202, "for somebody absent")
    same(len(home.got()), 1, "what came back meanwhile")
    same((await home.register(BOB)).status, 200, "third-party REGISTER")
    await net.until(lambda: len(home.got()) == 2, "the kept message")
    same(home.got()[1].body, b"keep it", "what it is")


@scenario(shows=("IMS-24",), stages=IN_PROCESS)
async def bad_manners(net: ScenarioNetwork) -> None:
    """A stranger sends octets, by datagram and by stream, and hears what comes back."""
    home = net.home("north")
    stranger = Stranger(net, net.place("mallory", "north.example")[1])
    stranger.send(b"\x00\xff no SIP at all", home.core)
    text = (
        f"OPTIONS sip:{home.core}:{net.plan.port} SIP/2.0\n"
        f"Via: SIP/2.0/UDP {stranger.host}:{stranger.port};branch=z9hG4bKx\n"
        "Max-Forwards: 70\nFrom: <sip:m@elsewhere.example>;tag=1\n"
        f"To: <sip:{home.core}>\nCall-ID: x\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n"
    )
    stranger.send(text, home.core)
    await net.until(lambda: stranger.statuses() == [200], "an answer to what is SIP")
    line = stranger.connect(home.core)
    other = text.replace("UDP", "TCP").replace("bKx", "bKy").replace("Call-ID: x", "Call-ID: y")
    line.send(other.replace("\n", "\r\n").encode())
    await net.until(lambda: line.heard.startswith(b"SIP/2.0 200"), "an answer by the stream")
    line.close()
    await net.until(lambda: line.state == "gone", "the end of the stream")


@scenario(shows=("IMS-39",), stages=IN_PROCESS)
async def obedient_phone(net: ScenarioNetwork) -> None:
    """A phone answers as told, shows what it got, and leaves nothing behind."""
    bob, carol = await phone(net, "bob"), await phone(net, "carol")
    await bob.register()
    seen: list[Request] = []
    bob.prepare = lambda request, response: seen.append(request)
    bob.answers["MESSAGE"] = 488
    same((await carol.say(bob.identity, "x")).status, 488, "an answer as told")
    bob.refused = ("text/plain",)
    same((await carol.say(bob.identity, "x")).status, 415, "a type that is refused")
    same((len(seen), len(bob.received())), (1, 2), "what was seen")
    await bob.leave()
    response = await carol.agent.request(
        carol.agent.make("REGISTER", "sip:north.example", (), to=f"<{carol.identity}>")
    )
    same(response.contacts, [], "bindings of carol, who never registered")


class PeerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stage = Simulated()
        self.addCleanup(self.stage.close)

    def test_core(self) -> None:
        """A scripted core is enough for an IM Server to live with."""
        self.assertEqual(self.stage.play(scripted_core).why, "")

    def test_stranger(self) -> None:
        """A stranger can say anything, by any transport."""
        self.assertEqual(self.stage.play(bad_manners).why, "")

    def test_phone(self) -> None:
        """A phone does as told."""
        self.assertEqual(self.stage.play(obedient_phone).why, "")
