"""IP-1: between the cores of two domains, and the edge of trust (§5.6.10, §5.1)."""

from __future__ import annotations

from typing import Any

from omaim.net.wire import OUT
from omaim.sip.charging import charging_vector
from omaim.testing.peers import phone
from omaim.testing.scenario import (
    IN_PROCESS,
    Layout,
    ScenarioNetwork,
    holds,
    refused,
    same,
    scenario,
)


def secured(home: str, other: str) -> dict[str, dict[str, Any]]:
    """Return the settings of a domain whose servers speak TLS only."""
    domain = f"{home}.example"
    im = f"sip:im.{domain}:{{tls}};transport=tls"
    return {
        f"core-{home}": {
            "im_server": im,
            "host": f"core.{domain}",
            "psis": [f"sip:exploder@{domain}={im}"],
            "peers": [f"{other}.example"],
        },
        f"im-{home}": {"core": f"sip:core.{domain}:{{tls}};transport=tls"},
    }


SECURE = Layout({**secured("north", "south"), **secured("south", "north")}, secure=True)
DISTRUSTED = Layout({"core-south": {"peers": []}})
OPEN = Layout({"core-south": {"peers": [], "strangers": True}})


@scenario(shows=("IMS-26", "IMS-59", "IMS-60", "IMS-61"), stages=IN_PROCESS)
async def charging_across(net: ScenarioNetwork) -> None:
    """One charging identity in both networks; each adds its name, the answer brings the other's."""
    alice, xenia = await net.online("alice"), await net.online("xenia")
    await alice.send(xenia.identity, "who pays?", reports=())
    (across,) = net.seen("core-south", "MESSAGE", peer="core-north")
    vector = charging_vector(across)
    assert vector is not None
    same((vector.orig_ioi, vector.term_ioi), ("north.example", ""), "what the request tells")
    (back,) = net.seen("core-north", "MESSAGE", status=200, peer="core-south")
    answer = charging_vector(back)
    assert answer is not None
    same(
        (answer.icid, answer.orig_ioi, answer.term_ioi),
        (vector.icid, "north.example", "south.example"),
        "what the answer tells",
    )
    same(across.first("P-Asserted-Identity"), f"<{alice.identity}>", "the asserted identity")
    same(across.first("P-Served-User"), None, "the served user")
    same(across.first("P-Charging-Function-Addresses"), None, "the charging functions")
    second = await alice.send(xenia.identity, "and the next?", reports=())
    same(second.status, "delivered", "the second")
    third = charging_vector(net.seen("core-south", "MESSAGE", peer="core-north")[-1])
    holds(third is not None and third.icid != vector.icid, "each message has its own identity")


@scenario(shows=("IMS-26", "IMS-60", "IMS-61", "IMS-21"), stages=IN_PROCESS)
async def one_identity_for_a_dialog(net: ScenarioNetwork) -> None:
    """A dialog keeps its charging identity to its end, and both cores stay on its path."""
    alice, xenia = await phone(net, "alice"), await phone(net, "xenia")
    await alice.register()
    await xenia.register()
    call = await alice.call(xenia.identity)
    same(call.response.status, 200, "INVITE")
    await net.until(lambda: xenia.acks, "the ACK")
    same((await call.request("BYE")).status, 200, "BYE")
    (invite,) = xenia.received("INVITE")
    routes = " ".join(invite.values("Record-Route"))
    for home in ("north", "south"):
        holds(net.home(home).core in routes, f"core-{home} is in the Record-Route")
    icids = [
        charging_vector(one)
        for method in ("INVITE", "BYE")
        for one in net.seen("core-south", method, peer="core-north")
    ]
    same(len(icids), 2, "requests that crossed")
    same(len({one.icid if one else "" for one in icids}), 1, "charging identities of the dialog")


@scenario(shows=("IMS-61",), stages=IN_PROCESS)
async def privacy_at_the_border(net: ScenarioNetwork) -> None:
    """Who asks for privacy is known inside the trust domain, and not to the recipient."""
    alice, xenia = await phone(net, "alice"), await phone(net, "xenia")
    await alice.register()
    await xenia.register()
    response = await alice.say(xenia.identity, "guess who", [("Privacy", "id")])
    same(response.status, 200, "MESSAGE")
    (across,) = net.seen("core-south", "MESSAGE", peer="core-north")
    same(across.first("P-Asserted-Identity"), f"<{alice.identity}>", "what the peer is told")
    (arrived,) = xenia.received()
    same(arrived.first("P-Asserted-Identity"), None, "what xenia is told")
    await alice.say(xenia.identity, "it was me")
    same(
        xenia.received()[-1].first("P-Asserted-Identity"),
        f"<{alice.identity}>",
        "what xenia is told without privacy",
    )


@scenario(shows=("IMS-61",), stages=IN_PROCESS, layout=DISTRUSTED)
async def unknown_network(net: ScenarioNetwork) -> None:
    """A network that is no peer is turned away."""
    alice, xenia = await net.online("alice"), await net.online("xenia")
    await refused(alice.send(xenia.identity, "let me in", reports=()), 403)
    await net.nothing(xenia)


@scenario(shows=("IMS-61",), stages=IN_PROCESS, layout=OPEN)
async def untrusted_network(net: ScenarioNetwork) -> None:
    """What a network that is let in but not trusted asserts is taken off."""
    alice, xenia = await phone(net, "alice"), await phone(net, "xenia")
    await alice.register()
    await xenia.register()
    await alice.say(xenia.identity, "unsigned")
    for one in xenia.received():
        same(one.first("P-Asserted-Identity"), None, "what xenia is told")
    for one in net.seen("im-south", "MESSAGE"):
        vector = charging_vector(one)
        holds(vector is None or vector.orig_ioi != "north.example", "no IOI is believed")


@scenario(shows=("IMS-64/TLS",), stages=IN_PROCESS, layout=SECURE)
async def nothing_in_clear(net: ScenarioNetwork) -> None:
    """With TLS on every hop a message crosses both domains, and no SIP is in clear."""
    ca = str(net.plan.folder / "ca.pem")
    alice = await net.online("alice", by_dns=True, transport="tls", ca=ca)
    xenia = await net.online("xenia", by_dns=True, transport="tls", ca=ca)
    sent = await alice.send(xenia.identity, "for your eyes only")
    same((await net.message(xenia)).text, "for your eyes only", "what xenia reads")
    await sent.delivered()
    same({one.transport for one in net.records}, {"TLS"}, "transports that were used")
    hops = {one.entity for one in net.records if b"for your eyes only" in one.data}
    same(
        hops,
        {"alice", "core-north", "im-north", "core-south", "im-south", "xenia"},
        "who saw the message",
    )
    holds(net.seen("core-north", "MESSAGE", OUT, peer="core-south"), "it crossed IP-1")
