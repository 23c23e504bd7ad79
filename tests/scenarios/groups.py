"""Messages to the address of a group, outside of sessions (§5.3.2, pre-defined groups)."""

from __future__ import annotations

from omaim.bodies.imdn import DELIVERY
from omaim.client import Client
from omaim.client.failures import NotFound, Refused
from omaim.client.messages import Sent
from omaim.testing.scenario import IN_PROCESS, ScenarioNetwork, holds, same, scenario
from tests.scenarios.rooms import TEA, fails

FAR = "room.far@south.example"
STORY = "A long story. " * 1000


async def define(net: ScenarioNetwork, aor: str, *members: str, **more: str) -> None:
    """Define a group at the server of its domain."""
    server = "im-north" if aor.endswith("north.example") else "im-south"
    command = {"command": "add-group", "entity": server, "aor": aor, **more}
    await net.nodes[server].control.run({**command, "members": " ".join(members)})


async def reads(net: ScenarioNetwork, one: Client, text: str, sender: Client, group: str) -> None:
    """Somebody gets a message by a group."""
    message = await net.message(one)
    same((message.text, message.sender), (text, sender.identity), f"what {one} reads")
    same(message.group, f"sip:{group}", f"the group that {one} sees")


def delivered(sent: Sent) -> int:
    return len({one.recipient for one in sent.reports if one.kind == DELIVERY})


@scenario(shows=("IMS-07/group", "IMS-17"), stages=IN_PROCESS)
async def to_all_members(net: ScenarioNetwork) -> None:
    """One message to a group is one for each member but its sender, now or later."""
    alice, bob, xenia = [await net.online(name) for name in ("alice", "bob", "xenia")]
    zoe = net.person("zoe").aor
    await define(net, TEA, *(one.identity for one in (alice, bob, xenia)), zoe)
    sent = await alice.send(TEA, "tea is ready")
    holds(net.seen("alice", "MESSAGE", status=202), "taken, nobody has it yet")
    for one in (bob, xenia):
        await reads(net, one, "tea is ready", alice, TEA)
    message = await xenia.send(TEA, "coming")
    for one in (alice, bob):
        await reads(net, one, "coming", xenia, TEA)
    late = await net.online("zoe")
    await reads(net, late, "tea is ready", alice, TEA)
    await reads(net, late, "coming", xenia, TEA)
    await net.until(lambda: delivered(sent) == delivered(message) == 3, "the reports")
    for one in (alice, bob, xenia, late):
        await net.nothing(one, 0.3)


@scenario(shows=("IMS-07/group", "IMS-67"), stages=IN_PROCESS)
async def members_only(net: ScenarioNetwork) -> None:
    """Who is no member of a restricted group may not write to it; to an open one all may."""
    alice, xenia = await net.online("alice"), await net.online("xenia")
    await define(net, TEA, alice.identity)
    for text in ("hello", STORY):
        await fails(xenia.send(TEA, text), Refused, 403)
        await fails(xenia.send("room.none@north.example", text), NotFound, 404)
    await net.nothing(alice, 0.5)
    await define(net, "room.hall@north.example", alice.identity, everybody="yes")
    for text in ("hello", STORY):
        await xenia.send("room.hall@north.example", text)
        await reads(net, alice, text, xenia, "room.hall@north.example")


@scenario(shows=("IMS-07/group", "IMS-04/large"), stages=IN_PROCESS)
async def large_to_a_group(net: ScenarioNetwork) -> None:
    """What does not fit into a MESSAGE reaches a group as well, in either domain."""
    alice, bob, xenia = [await net.online(name) for name in ("alice", "bob", "xenia")]
    await define(net, TEA, *(one.identity for one in (alice, bob, xenia)))
    await alice.send(TEA, STORY)
    for one in (bob, xenia):
        await reads(net, one, STORY, alice, TEA)
    await xenia.send(TEA, STORY + "The end.")
    for one in (alice, bob):
        await reads(net, one, STORY + "The end.", xenia, TEA)
    await net.nothing(alice, 0.3)


@scenario(shows=("IMS-07/group",), stages=IN_PROCESS)
async def groups_of_one_another(net: ScenarioNetwork) -> None:
    """Groups of two domains that contain one another: each member gets a message once."""
    alice, bob, xenia, yusuf = [
        await net.online(name) for name in ("alice", "bob", "xenia", "yusuf")
    ]
    await define(net, TEA, alice.identity, bob.identity, xenia.identity, f"sip:{FAR}")
    await define(net, FAR, xenia.identity, yusuf.identity, f"sip:{TEA}", everybody="yes")
    for text in ("one", "two"):
        await alice.send(TEA, text, plain=text == "two")
        await reads(net, bob, text, alice, TEA)
        await reads(net, yusuf, text, alice, FAR)
        same((await net.message(xenia)).text, text, "xenia is in both, and reads it once")
    for one in (alice, bob, xenia, yusuf):
        await net.nothing(one, 2.0)
