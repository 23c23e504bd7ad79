"""Conversation history and the settings that switch it (§5.3.2, §5.1)."""

from __future__ import annotations

from omaim.bodies.history_list import MEDIA_TYPE
from omaim.client import Client
from omaim.client.failures import NotFound, Unreachable
from omaim.testing.peers import phone
from omaim.testing.scenario import IN_PROCESS, ScenarioNetwork, holds, same, scenario

LONG = "long " * 150


async def switched_on(net: ScenarioNetwork, name: str) -> Client:
    """Return a client whose user has pager and large messages recorded."""
    client = await net.online(name)
    await client.history.switch(pager=True)
    return client


async def recorded(client: Client) -> list[str]:
    """Return what is recorded for somebody, by what was said."""
    return [one.text for one in await client.history.fetch(await client.history.list())]


@scenario(shows=("IMS-14/pager",))
async def recorded_conversation(net: ScenarioNetwork) -> None:
    """What was written and what was read is listed, found by peer, fetched and deleted."""
    xenia, alice = await net.online("xenia"), await switched_on(net, "alice")
    await alice.send(xenia.identity, "shall we?", reports=())
    await net.message(xenia)
    await xenia.send(alice.identity, "gladly", subject="Lunch", reports=())
    await net.message(alice)
    first, second = await alice.history.list()
    holds(
        first.pager is not None and first.pager.recipient == xenia.identity, "whom the first is to"
    )
    same(second.subject, "Lunch", "what the second is about")
    found = await alice.history.search(xenia.identity)
    same(len(found.entries), 2, "what was said with xenia")
    same(len((await alice.history.search("sip:nobody@south.example")).entries), 0, "with nobody")
    said = await alice.history.fetch([second, first])
    same([one.text for one in said], ["gladly", "shall we?"], "what was said")
    same([one.sender for one in said], [xenia.identity, alice.identity], "who said it")
    await net.nothing(alice)
    await alice.history.delete([first.reference])
    same(await recorded(alice), ["gladly"], "what is left")
    await alice.history.delete()
    same(await alice.history.list(), (), "what is left at the end")
    await alice.history.switch(pager=False)


@scenario(shows=("IMS-14/pager",), stages=IN_PROCESS)
async def recorded_while_away(net: ScenarioNetwork) -> None:
    """History goes on while its owner is away, and over a restart of the server."""
    zoe = await switched_on(net, "zoe")
    await zoe.close()
    alice = await net.online("alice")
    same((await alice.send(zoe.identity, "are you there?", reports=())).status, "pending", "status")
    await net.stop("im-south")
    await net.start("im-south")
    again = await net.online("zoe", device="other")
    same((await net.message(again)).text, "are you there?", "what zoe reads")
    same(await recorded(again), ["are you there?"], "what is recorded")


@scenario(shows=("IMS-14/pager",), stages=IN_PROCESS)
async def recorded_for_its_owner(net: ScenarioNetwork) -> None:
    """Others see nothing of it, whether they know its reference or not."""
    alice, bob = await switched_on(net, "alice"), await net.online("bob")
    await alice.send(bob.identity, "between us", reports=())
    (one,) = await alice.history.list()
    same(await bob.history.list(), (), "what bob sees")
    for wish in (bob.history.fetch([one.reference]), bob.history.delete([one.reference])):
        try:
            await wish
        except NotFound:
            continue
        raise AssertionError("bob got at it")
    xenia = await phone(net, "xenia")
    await xenia.register()
    asking = xenia.agent.make(
        "SUBSCRIBE",
        alice.address("history"),
        [("Event", "sip-profile"), ("Accept", MEDIA_TYPE)],
    )
    same((await xenia.agent.request(asking)).status, 403, "what xenia hears")
    same(await recorded(alice), ["between us"], "what is left")


@scenario(shows=("IMS-14/pager",), stages=IN_PROCESS)
async def too_long_for_a_message(net: ScenarioNetwork) -> None:
    """What makes a request of more than 1300 octets is fetched in a session."""
    alice, bob = await switched_on(net, "alice"), await net.online("bob")
    await bob.send(alice.identity, LONG, plain=True, large=False)
    (one,) = await alice.history.list()
    (said,) = await alice.history.fetch([one])
    same(said.text, LONG, "what was said")
    await net.message(alice)
    await net.nothing(alice)


@scenario(shows=("IMS-14/pager",), stages=IN_PROCESS)
async def off_by_itself(net: ScenarioNetwork) -> None:
    """Nobody who has not asked for it is recorded, and it ends when it is switched off."""
    alice, bob = await switched_on(net, "alice"), await net.online("bob")
    await alice.send(bob.identity, "one", reports=())
    await alice.history.switch(pager=False)
    await alice.send(bob.identity, "two", reports=())
    same(await recorded(alice), ["one"], "what is recorded of alice")
    same(await bob.history.list(), (), "what is recorded of bob")


@scenario(shows=("IMS-13/push",))
async def not_now(net: ScenarioNetwork) -> None:
    """Who says that he is not active gets his messages when he is again."""
    alice, bob = await net.online("alice"), await net.online("bob")
    await bob.settings.be(active=False)
    same((await alice.send(bob.identity, "when you can", reports=())).status, "pending", "status")
    await net.nothing(bob)
    await bob.settings.be(active=True)
    same((await net.message(bob)).text, "when you can", "what bob reads")


@scenario(shows=("IMS-13/push",), stages=IN_PROCESS)
async def nothing_is_to_wait(net: ScenarioNetwork) -> None:
    """Who wants nothing to wait for him has it refused while he is away."""
    zoe, alice = await net.online("zoe"), await net.online("alice")
    await zoe.settings.want(deferred=False)
    await zoe.close()
    try:
        await alice.send(zoe.identity, "too late", reports=())
    except Unreachable as error:
        same(error.status, 480, "status")
    else:
        raise AssertionError("it was taken")
