"""The two kinds of network: with IMS procedures, and plain SIP (§5.5.1)."""

from __future__ import annotations

from omaim.testing.peers import phone
from omaim.testing.scenario import IN_PROCESS, Layout, ScenarioNetwork, holds, same, scenario

PLAIN = Layout({"core-north": {"profile": "sip"}, "core-south": {"profile": "sip"}})
IMS_ONLY = ("P-Charging-Vector", "P-Charging-Function-Addresses", "P-Called-Party-ID")


@scenario(shows=("IMS-28",), stages=IN_PROCESS)
async def ims_header_fields(net: ScenarioNetwork) -> None:
    """With the IMS profile Gm, ISC and Mw carry the header fields that IMS asks for."""
    alice, xenia = await phone(net, "alice"), await phone(net, "xenia")
    await xenia.register()
    response = await alice.register(600, "", [("Supported", "path")])
    same(response.first("P-Associated-URI"), f"<{alice.identity}>", "Gm: the identities")
    holds(";lr>" in (response.first("Service-Route") or ""), "Gm: a Service-Route")
    preferred = [("P-Preferred-Identity", f"<{alice.identity}>")]
    same((await alice.say(xenia.identity, "ims", preferred)).status, 200, "MESSAGE")
    (there,) = net.seen("im-north", "MESSAGE", peer="core-north")
    for name in ("P-Asserted-Identity", "P-Served-User", "P-Charging-Vector"):
        holds(there.has(name), f"ISC: {name}")
    same(there.has("P-Preferred-Identity"), False, "the preferred identity is used up")
    (across,) = net.seen("core-south", "MESSAGE", peer="core-north")
    for name in ("P-Asserted-Identity", "P-Charging-Vector"):
        holds(across.has(name), f"Mw: {name}")
    (arrived,) = xenia.received()
    same(arrived.first("P-Called-Party-ID"), f"<{xenia.identity}>", "Gm: who was called")


@scenario(shows=("IMS-29",), stages=IN_PROCESS, layout=PLAIN)
async def plain_sip_network(net: ScenarioNetwork) -> None:
    """Without IMS the same services work, online and offline, and no IMS header is seen."""
    alice, xenia = await net.online("alice"), await net.online("xenia")
    sent = await alice.send(xenia.identity, "plain")
    same((await net.message(xenia)).text, "plain", "what xenia reads")
    await sent.delivered()
    kept = await alice.send("sip:zoe@south.example", "plain and later", reports=())
    same(kept.status, "pending", "to zoe, who is away")
    zoe = await net.online("zoe")
    same((await net.message(zoe)).text, "plain and later", "what zoe reads")
    for sighting in net.sightings():
        for name in IMS_ONLY:
            same(sighting.message.first(name), None, f"{name} at {sighting.record.entity}")
    for entity in ("alice", "xenia", "zoe"):
        for one in net.seen(entity, "MESSAGE"):
            same(one.first("P-Served-User"), None, f"the served user at {entity}")
    for one in net.seen("core-south", "MESSAGE", peer="core-north"):
        same(one.first("P-Served-User"), None, "the served user in the other network")
