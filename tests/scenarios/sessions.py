"""IM-1: the signalling of sessions between phones; their media are not there yet (§5.6.1)."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from omaim.net.wire import OUT
from omaim.sip.message import Request
from omaim.testing.peers import phone
from omaim.testing.scenario import EVERYWHERE, IN_PROCESS, ScenarioNetwork, holds, same, scenario

INSTANCE = "urn:uuid:00000000-0000-4000-8000-000000000042"


def credentials(request: Request) -> list[str]:
    return request.all("Proxy-Authorization") + request.all("Authorization")


@scenario(shows=("IMS-35",), stages=EVERYWHERE)
async def invite_to_bye(net: ScenarioNetwork) -> None:
    """INVITE, 200, ACK and BYE go through the cores, the last two along the recorded route."""
    alice, xenia = await phone(net, "alice"), await phone(net, "xenia")
    await alice.register()
    await xenia.register()
    call = await alice.call(xenia.identity, body=b"v=0\r\n")
    same(call.response.status, 200, "INVITE")
    (invite,) = xenia.received("INVITE")
    same(invite.body, b"v=0\r\n", "the offer")
    await net.until(lambda: xenia.acks, "the ACK")
    same((await call.request("INFO")).status, 200, "INFO")
    same((await call.request("BYE")).status, 200, "BYE")
    same([one.method for one in xenia.requests[-2:]], ["INFO", "BYE"], "in the dialog")
    for one in (*xenia.acks, *xenia.requests[-2:]):
        holds(len(one.values("Via")) >= 3, f"{one.method} came through both cores")
        holds(not credentials(one), f"{one.method} shows no credentials")
    bye, *_ = net.seen(alice.agent.endpoint.name, "BYE", OUT)
    holds(credentials(bye), "alice has sent some")
    for person in (alice, xenia):
        await person.register(0)


@scenario(shows=("IMS-35",))
async def ringing_and_refused(net: ScenarioNetwork) -> None:
    """A callee's refusal comes back to the caller, with its status."""
    alice, xenia = await phone(net, "alice"), await phone(net, "xenia")
    await alice.register()
    await xenia.register()
    xenia.answers["INVITE"] = 486
    same((await alice.call(xenia.identity)).response.status, 486, "INVITE")
    same(xenia.acks, [], "ACKs that reach the user: the hop's own transaction takes them")
    same((await alice.call("sip:nobody@south.example")).response.status, 404, "to nobody")
    for person in (alice, xenia):
        await person.register(0)


@scenario(shows=("IMS-35", "IMS-21"))
async def forked_to_two_devices(net: ScenarioNetwork) -> None:
    """The device that answers gets the call, the one that only rings is cancelled."""
    alice = await phone(net, "alice")
    slow, quick = await phone(net, "xenia", device="slow"), await phone(net, "xenia")
    for one in (alice, slow, quick):
        await one.register()
    slow.answers["INVITE"] = 0
    call = await alice.call(slow.identity)
    same(call.response.status, 200, "INVITE")
    await net.until(lambda: slow.cancelled, "the CANCEL of the other branch")
    same((len(slow.received("INVITE")), len(quick.received("INVITE"))), (1, 1), "who rang")
    same((await call.request("BYE")).status, 200, "BYE")
    same((len(slow.received("BYE")), len(quick.received("BYE"))), (0, 1), "who got the BYE")
    for one in (alice, slow, quick):
        await one.register(0)


@scenario(shows=("IMS-35",), stages=IN_PROCESS)
async def given_up(net: ScenarioNetwork) -> None:
    """A caller who gives up has the ringing stopped at the other end."""
    alice, xenia = await phone(net, "alice"), await phone(net, "xenia")
    await alice.register()
    await xenia.register()
    xenia.answers["INVITE"] = 0
    request = alice.agent.make("INVITE", xenia.identity, [("Contact", f"<{alice.contact}>")])
    calling = Deferred.fromCoroutine(alice.agent.request(request))
    await net.until(lambda: xenia.received("INVITE"), "it rings")
    await net.sleep(0.3)
    calling.addErrback(lambda _: None)
    calling.cancel()
    await net.until(lambda: xenia.cancelled, "the CANCEL")


@scenario(shows=("IMS-35", "IMS-21"))
async def dialog_by_gruu(net: ScenarioNetwork) -> None:
    """A callee that answers with its GRUU gets the rest of the dialog at that device."""
    alice, desk = await phone(net, "alice"), await phone(net, "xenia", device="desk")
    other = await phone(net, "xenia")
    await alice.register()
    response = await desk.register(
        600, f';+sip.instance="<{INSTANCE}>"', [("Supported", "gruu, path")]
    )
    (own,) = response.contacts
    contact, desk.contact = desk.contact, (own.params.get("pub-gruu") or "").strip('"')
    holds(";gr=" in desk.contact, "the desk has a GRUU")
    call = await alice.call(desk.contact)
    same(call.response.status, 200, "INVITE")
    await net.until(lambda: desk.acks, "the ACK")
    await other.register()
    same((await call.request("BYE")).status, 200, "BYE")
    same((len(desk.received("BYE")), other.requests), (1, []), "who got it")
    desk.contact = contact


@scenario(shows=("IMS-35", "IMS-21"))
async def one_device_after_the_other(net: ScenarioNetwork) -> None:
    """Devices are tried in the order of their q, the next one when the first is busy."""
    alice = await phone(net, "alice")
    first, second = await phone(net, "xenia", device="first"), await phone(net, "xenia")
    await alice.register()
    await second.register(600, ";q=0.3")
    await first.register(600, ";q=0.9")
    call = await alice.call(first.identity)
    same(call.response.status, 200, "INVITE")
    same((len(first.received("INVITE")), len(second.received("INVITE"))), (1, 0), "who rang")
    await call.request("BYE")
    first.answers["INVITE"] = 486
    call = await alice.call(first.identity)
    same(call.response.status, 200, "INVITE")
    same((len(first.received("INVITE")), len(second.received("INVITE"))), (2, 1), "who rang")
    await call.request("BYE")
    same(len(second.received("BYE")), 1, "BYE to the second")


@scenario(shows=("IMS-35",))
async def chosen_by_feature_tag(net: ScenarioNetwork) -> None:
    """Who insists on a feature reaches the device that has it, and no other."""
    alice = await phone(net, "alice")
    able, plain = await phone(net, "xenia", device="able"), await phone(net, "xenia")
    await alice.register()
    await able.register(600, ';q=0.1;+g.example.game;methods="INVITE, BYE"')
    await plain.register(600, ";q=1.0;audio")
    insisting = [("Accept-Contact", "*;+g.example.game;require;explicit")]
    call = await alice.call(able.identity, insisting)
    same(call.response.status, 200, "INVITE")
    same((len(able.received("INVITE")), len(plain.received("INVITE"))), (1, 0), "who rang")
    await call.request("BYE")
    await able.register(0)
    same((await alice.call(able.identity, insisting)).response.status, 480, "with nobody able")
    same(len(plain.received("INVITE")), 0, "INVITEs to the plain one")
