"""Calls through the cores of two domains, as the IM Servers and clients will make them (§5.6.1)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from omaim.roles.call import Call
from omaim.roles.description import CallFailed
from omaim.roles.invitation import Invitation
from omaim.roles.inviter import Inviter
from omaim.testing.peers import Phone, phone
from omaim.testing.scenario import (
    EVERYWHERE,
    IN_PROCESS,
    VIRTUAL,
    ScenarioNetwork,
    holds,
    same,
    scenario,
)

OFFER, ANSWER, OTHER = b"v=0 offer\r\n", b"v=0 answer\r\n", b"v=0 other\r\n"


class Party:
    """Somebody who calls and is called through a core."""

    def __init__(self, one: Phone, **named: Any) -> None:
        self.phone = one
        one.agent.contact = f"<{one.contact}>"
        self.inviter = Inviter(one.agent, **named)
        self.inviter.on_invite = self.invited
        one.agent.attach()
        self.invitations: list[Invitation] = []
        self.calls: list[Call] = []
        self.ended: list[str] = []
        self.given_up: list[Invitation] = []
        self.accepts = True

    def watch(self, call: Call) -> Call:
        call.on_bye = self.ended.append
        call.on_offer = lambda offer: ANSWER
        self.calls.append(call)
        return call

    async def invited(self, invitation: Invitation) -> None:
        self.invitations.append(invitation)
        invitation.on_cancel = self.given_up.append
        self.watch(invitation.call)
        invitation.ring()
        if self.accepts:
            await invitation.accept(ANSWER)

    async def call(self, other: Party, **named: Any) -> Call:
        return self.watch(await self.inviter.invite(other.phone.identity, OFFER, **named))


async def party(net: ScenarioNetwork, name: str, **named: Any) -> Party:
    """Return somebody who is registered."""
    timer = {one: named.pop(one) for one in ("session_expires", "min_se") if one in named}
    made = Party(await phone(net, name, **named), **timer)
    await made.phone.register()
    return made


async def ended(net: ScenarioNetwork, *parties: Party) -> None:
    """Wait until nothing is left of any call."""
    for one in parties:
        await net.until(lambda one=one: not len(one.inviter), "the end of the call")  # type: ignore[misc]
        await one.phone.register(0)


@scenario(shows=("IMS-03", "IMS-35"), stages=EVERYWHERE)
async def changed_and_ended(net: ScenarioNetwork) -> None:
    """A session is made across domains, changed from both sides, kept, and ended with a reason."""
    alice, xenia = await party(net, "alice"), await party(net, "xenia")
    ours = await alice.call(xenia)
    await net.until(lambda: xenia.calls[0].up, "the ACK")
    (theirs,) = xenia.calls
    same((ours.remote.body, theirs.remote.body), (ANSWER, OFFER), "the descriptions")
    same((ours.timer.interval, theirs.timer.interval), (1800, 1800), "the session timer")
    holds(ours.timer.refreshing and not theirs.timer.refreshing, "the caller refreshes")
    holds(len(ours.dialog.routes) >= 2, "both cores stay in the way")
    await theirs.reinvite(OTHER)
    same(ours.remote.body, OTHER, "what xenia changed")
    await ours.update()
    await ours.reinvite(OTHER)
    await net.until(lambda: not theirs.calling.deadline < 1e300, "the ACK of the change")
    await ours.bye([("Reason", 'SIP;cause=200;text="enough"')])
    await net.until(lambda: xenia.ended, "the BYE")
    same(xenia.ended, ['SIP;cause=200;text="enough"'], "the reason")
    await ended(net, alice, xenia)


@scenario(shows=("IMS-03", "IMS-35"), stages=IN_PROCESS)
async def by_streams(net: ScenarioNetwork) -> None:
    """A caller behind one TCP connection is reached by it all through the call."""
    alice = await party(net, "alice", transport="TCP")
    xenia = await party(net, "xenia", transport="TCP")
    ours = await alice.call(xenia)
    await net.until(lambda: xenia.calls[0].up, "the ACK")
    (theirs,) = xenia.calls
    large = b"v=0 " + 20_000 * b"x"
    await ours.reinvite(large)
    same(len(theirs.remote.body), len(large), "a large offer")
    await theirs.update(OTHER)
    same(ours.remote.body, OTHER, "what xenia changed")
    await theirs.bye()
    await net.until(lambda: alice.ended, "the BYE")
    await ended(net, alice, xenia)


@scenario(shows=("IMS-03", "IMS-35"), stages=VIRTUAL)
async def kept_alive(net: ScenarioNetwork) -> None:
    """A session of hours is refreshed; when one side vanishes, the other ends it in time."""
    alice = await party(net, "alice", session_expires=600)
    xenia = await party(net, "xenia")
    ours = await alice.call(xenia)
    await net.sleep(1.0)
    (theirs,) = xenia.calls
    for _ in range(9):
        await net.sleep(400.0)
        await alice.phone.register()
        await xenia.phone.register()
    holds(ours.up and theirs.up, "both sides are there after an hour")
    ours.finish("")
    await net.sleep(700.0)
    holds(theirs.over, "xenia gave up")
    holds("session timer" in xenia.ended[0], "because of the session timer")
    await ended(net, alice, xenia)


@scenario(shows=("IMS-35", "IMS-21"), stages=IN_PROCESS)
async def rung_at_two(net: ScenarioNetwork) -> None:
    """Two devices ring; who accepts has the call, the other one is told that it is over."""
    alice = await party(net, "alice")
    slow, quick = await party(net, "xenia", device="slow"), await party(net, "xenia")
    slow.accepts = False
    ours = await alice.call(quick)
    await net.until(lambda: slow.given_up, "the CANCEL")
    holds(quick.calls[0].dialog.local_tag == ours.dialog.remote_tag, "the quick one has the call")
    await ours.bye()
    await ended(net, alice, slow, quick)


@scenario(shows=("IMS-35",), stages=IN_PROCESS)
async def caller_gives_up(net: ScenarioNetwork) -> None:
    """A caller gives up: the callee is told, and nothing is left."""
    alice, xenia = await party(net, "alice"), await party(net, "xenia")
    xenia.accepts = False
    calling = Deferred.fromCoroutine(alice.call(xenia))
    await net.until(lambda: xenia.invitations, "it rings")
    await net.sleep(0.3)
    calling.cancel()
    try:
        await calling
    except CallFailed as error:
        same((error.status, error.cancelled), (487, True), "what alice sees")
    await net.until(lambda: xenia.given_up, "the CANCEL")
    await ended(net, alice, xenia)
