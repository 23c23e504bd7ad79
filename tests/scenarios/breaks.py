"""MSRP connections that break in the middle of what is said (§5.6.7, §5.6.9; RFC 4975 §5.4)."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from omaim.client import Client
from omaim.client.conversation import Conversation
from omaim.msrp import Session
from omaim.testing.scenario import IN_PROCESS, ScenarioNetwork, holds, same, scenario
from tests.scenarios.talks import DIRECT, Guest, heard

LONG = "x" * 600_000


def session_of(talk: Conversation) -> Session:
    medium = talk.talk.medium
    assert medium is not None
    return medium.session


def break_off(client: Client) -> None:
    """Let a client's MSRP connections break."""
    endpoint = client._media.endpoint
    assert endpoint is not None
    for connection in list(endpoint._connections):
        connection.abort("broken")


async def broken(
    net: ScenarioNetwork, sender: Conversation, hearer: Conversation, victim: Client
) -> None:
    """Break a connection while a long message and a short one are on it; both arrive once.

    Args:
        victim: whose connection breaks.
    """
    lost = session_of(sender)
    sending = [Deferred.fromCoroutine(sender.send(text)) for text in (LONG, "behind it")]
    await net.sleep(0.0)  # long enough for a piece of it
    holds(not any(one.called for one in sending), "nothing is confirmed")
    break_off(victim)
    for one in sending:
        await one
    same(sorted(await heard(net, hearer, 2)), ["behind it", LONG], "what is heard")
    holds(session_of(sender) is not lost, "by another session")
    await sender.send("and now")
    same(await heard(net, hearer, 1), ["and now"], "nothing is heard twice")
    await sender.leave()


@scenario(shows=("IMS-03", "IMS-52"), stages=IN_PROCESS)
async def cut_on_the_way_to_the_server(net: ScenarioNetwork) -> None:
    """What was on its way to the server when the connection broke comes by the next one."""
    alice, bob = await net.online("alice"), await Guest.come(net, "bob")
    hers = await alice.invite(bob.client.identity)
    his = await bob.talk(net)
    await hers.send("one", reports=())
    same(await heard(net, his, 1), ["one"], "bob hears")
    await broken(net, hers, his, alice)


@scenario(shows=("IMS-03", "IMS-56"), stages=IN_PROCESS, layout=DIRECT)
async def cut_between_clients(net: ScenarioNetwork) -> None:
    """What was on its way to the other client when the connection broke comes by the next one."""
    alice, xenia = await net.online("alice"), await Guest.come(net, "xenia")
    hers = await alice.invite(xenia.client.identity)
    his = await xenia.talk(net)
    await broken(net, hers, his, alice)


@scenario(shows=("IMS-03", "IMS-56"), stages=IN_PROCESS, layout=DIRECT)
async def cut_while_the_callee_talks(net: ScenarioNetwork) -> None:
    """The same the other way round: the caller offers another session, the callee sends again."""
    alice, xenia = await net.online("alice"), await Guest.come(net, "xenia")
    hers = await alice.invite(xenia.client.identity)
    his = await xenia.talk(net)
    await broken(net, his, hers, alice)
