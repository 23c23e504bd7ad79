"""Deferred and recorded messages that their owner fetches in a session (§5.3.2)."""

from __future__ import annotations

from omaim.bodies.history_list import MEDIA_TYPE as HISTORY
from omaim.bodies.history_list import Recorded, write_history_list
from omaim.roles.description import CallFailed
from omaim.testing.scenario import IN_PROCESS, Layout, ScenarioNetwork, holds, same, scenario
from tests.im.parties import Party
from tests.im.test_download import fetch, texts

NOTIFY = Layout(settings={"im-south": {"delivery": "notify"}})


@scenario(shows=("IMS-13/retrieve",), stages=IN_PROCESS, layout=NOTIFY)
async def fetched_in_a_session(net: ScenarioNetwork) -> None:
    """Who was away invites the function, and gets what waits in order, by MSRP, and once."""
    zoe = net.person("zoe").aor
    alice = await net.online("alice")
    for text in ("one", "two", "three"):
        await alice.send(zoe, text, reports=())
    there = await Party.come(net, "zoe")
    function = there.client.address("deferred")
    await fetch(there, function)
    await net.until(lambda: there.ended, "the function hangs up")
    same(texts(there.user), ["one", "two", "three"], "what zoe reads")
    same(await there.client.deferred.list(), (), "what is left")
    await fetch(there, function)
    await net.until(lambda: len(there.ended) == 2, "the function hangs up")
    same(len(there.user.bodies), 3, "messages in all")
    await there.client.close()


@scenario(shows=("IMS-13/retrieve",), stages=IN_PROCESS, layout=NOTIFY)
async def fetching_cut_short(net: ScenarioNetwork) -> None:
    """What a client has not confirmed when it hangs up comes the next time."""
    zoe = net.person("zoe").aor
    alice = await net.online("alice")
    for text in ("one", "two", "three"):
        await alice.send(zoe, text, reports=())
    there = await Party.come(net, "zoe")
    function = there.client.address("deferred")
    there.user.on_whole = lambda incoming: incoming.hold() if len(there.user.bodies) > 1 else None
    await fetch(there, function)
    await net.until(lambda: len(there.user.bodies) > 1, "two come, one is confirmed")
    await there.leave()
    there.user.on_whole = None
    await net.until(lambda: not len(net.entities["im-south"].downloads), "the end", 20.0)
    there.user.bodies.clear()
    await fetch(there, function)
    await net.until(lambda: there.ended, "the function hangs up")
    same(texts(there.user), ["two", "three"], "what comes the next time")
    await there.client.close()


@scenario(shows=("IMS-14/session",), stages=IN_PROCESS)
async def history_in_a_session(net: ScenarioNetwork) -> None:
    """What was said in a session is recorded, and fetched in a session by its owner alone."""
    alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
    bob = await Party.come(net, "bob")
    await alice.client.history.switch(session=True)
    await alice.invite(xenia.aor)
    alice.say("shall we?")
    await net.until(lambda: xenia.user.bodies, "xenia reads it")
    xenia.say("gladly")
    await net.until(lambda: alice.user.bodies, "alice reads it")
    await alice.leave()
    (one,) = await alice.client.history.list()
    holds(one.conference is not None, "it is listed as a session")
    wish = write_history_list([Recorded(one.reference)])
    function = alice.client.address("history")
    alice.user.bodies.clear()
    await fetch(alice, function, HISTORY, wish)
    await net.until(lambda: alice.ended, "the function hangs up")
    same(texts(alice.user), ["shall we?", "gladly"], "what was said")
    try:
        await fetch(bob, function, HISTORY, wish)
    except CallFailed as failed:
        same(failed.status, 404, "what bob hears")
    else:
        raise AssertionError("bob got at it")
    await alice.client.history.switch(session=False)
    for party in (alice, bob, xenia):
        await party.client.close()
