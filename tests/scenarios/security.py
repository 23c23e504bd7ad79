"""What those outside the trust domain may not do (§5.1, §5.6.1)."""

from __future__ import annotations

from omaim.testing.peers import Stranger, phone
from omaim.testing.scenario import (
    EVERYWHERE,
    IN_PROCESS,
    ScenarioNetwork,
    holds,
    same,
    scenario,
)

FORGED = (
    ("P-Asserted-Identity", "<sip:carol@north.example>"),
    ("P-Charging-Vector", "icid-value=forged;orig-ioi=elsewhere.example"),
    ("P-Charging-Function-Addresses", "ccf=elsewhere.example"),
    ("P-Served-User", "<sip:carol@north.example>;sescase=orig;regstate=reg"),
)


@scenario(shows=("IMS-24",), stages=IN_PROCESS)
async def assertions_of_users_are_stripped(net: ScenarioNetwork) -> None:
    """What a user asserts about itself is replaced by what the core knows."""
    alice, bob = await phone(net, "alice"), await phone(net, "bob")
    await alice.register()
    await bob.register()
    same((await alice.say(bob.identity, "it is I, carol", FORGED)).status, 200, "MESSAGE")
    (there,) = [
        one
        for one in net.seen("im-north", "MESSAGE", peer="core-north")
        if "sescase=orig" in (one.first("P-Served-User") or "")
    ]
    same(there.first("P-Asserted-Identity"), f"<{alice.identity}>", "the asserted identity")
    holds("alice" in (there.first("P-Served-User") or ""), "the served user")
    holds("forged" not in (there.first("P-Charging-Vector") or ""), "the charging vector")
    same(there.first("P-Charging-Function-Addresses"), None, "the charging functions")
    (arrived,) = bob.received()
    same(arrived.first("P-Asserted-Identity"), f"<{alice.identity}>", "what bob is told")


@scenario(shows=("IMS-24", "IMS-38"), stages=EVERYWHERE)
async def somebody_elses_name(net: ScenarioNetwork) -> None:
    """A user who writes somebody else's name into From is refused."""
    alice, bob = await phone(net, "alice"), await phone(net, "bob")
    await bob.register()
    request = alice.agent.make("MESSAGE", bob.identity, [("Content-Type", "text/plain")], b"x")
    request.set("From", "<sip:carol@north.example>;tag=1")
    same((await alice.agent.request(request)).status, 403, "MESSAGE")
    same(bob.received(), [], "what bob got")
    await bob.register(0)


@scenario(shows=("IMS-24",))
async def no_open_relay(net: ScenarioNetwork) -> None:
    """Strangers cannot send through a core, nor to an IM Server, whatever Route they write."""
    home = net.home("north")
    stranger = Stranger(net, net.place("mallory", "north.example")[1])
    for route in ("", f"Route: <sip:{home.core}:{net.plan.port};lr;odi=Zm9yZ2Vk>\n"):
        for target in (home.core, home.im):
            stranger.send(
                "MESSAGE sip:someone@elsewhere.example SIP/2.0\n"
                f"Via: SIP/2.0/UDP {stranger.host}:{stranger.port};branch=z9hG4bK{len(route)}\n"
                f"{route}Max-Forwards: 70\nFrom: <sip:mallory@elsewhere.example>;tag=1\n"
                f"To: <sip:someone@elsewhere.example>\nCall-ID: {target}{len(route)}\n"
                "CSeq: 1 MESSAGE\nContent-Length: 0\n\n",
                target,
            )
    await net.until(lambda: len(stranger.statuses()) >= 4, "four answers")
    same(set(stranger.statuses()), {403}, "the answers")
