"""Finding servers by DNS (§5.5.1, §5.6.1)."""

from __future__ import annotations

from omaim.client.failures import NoAnswer
from omaim.testing.peers import phone, service, service_at
from omaim.testing.scenario import (
    IN_PROCESS,
    VIRTUAL,
    ScenarioNetwork,
    holds,
    same,
    scenario,
)


@scenario(shows=("IMS-22/DNS", "IMS-36"))
async def found_by_name(net: ScenarioNetwork) -> None:
    """A client that knows its domain only finds its core, and the cores each other."""
    alice = await net.online("alice", by_dns=True)
    xenia = await net.online("xenia", by_dns=True)
    await alice.send(xenia.identity, "found you", reports=())
    same((await net.message(xenia)).text, "found you", "what xenia reads")


@scenario(shows=("IMS-22/DNS", "IMS-36"), stages=IN_PROCESS)
async def next_server_on_503(net: ScenarioNetwork) -> None:
    """A client asks for NAPTR and SRV, and goes on to the second server when the first says 503."""
    full = await service(net, "north", 1)
    full.answers["REGISTER"] = 503
    _put_first(net, "north", service_at(net, "north", 1))
    alice = await net.online("alice", by_dns=True)
    holds(alice.registered, "she is registered")
    asked = net.dns.asked
    holds(("north.example", "NAPTR") in asked, "NAPTR was asked for")
    holds(("_sip._udp.north.example", "SRV") in asked, "SRV was asked for")
    holds(full.got("REGISTER"), "the first server was tried first")
    count = len(full.got("REGISTER") + full.got())
    await alice.send("sip:bob@north.example", "by the second", reports=())
    same(len(full.got("REGISTER") + full.got()), count, "what the first server sees later")


@scenario(shows=("IMS-22/DNS", "IMS-36", "IMS-59"), stages=VIRTUAL)
async def next_server_on_silence(net: ScenarioNetwork) -> None:
    """A core whose peer's first server is gone reaches the second, and remembers which is gone."""
    _put_first(net, "south", "127.0.2.77")
    alice, xenia = await net.online("alice"), await phone(net, "xenia")
    await xenia.register()
    try:
        await alice.send(xenia.identity, "round the hole", plain=True)
    except NoAnswer:
        pass  # 64 times T1 are over for the client just as they are for the core
    await net.until(lambda: xenia.received(), "it arrives nevertheless", within=90)
    began = net.clock.seconds()
    await alice.send(xenia.identity, "and again", plain=True)
    holds(net.clock.seconds() - began < 5, "the dead server is not tried first again")
    texts = [one.body for one in xenia.received()]
    same(texts, [b"round the hole", b"and again"], "what xenia reads")


def _put_first(net: ScenarioNetwork, home: str, address: str) -> None:
    """Let DNS name another server of a domain before the true one."""
    domain = f"{home}.example"
    net.dns.add(f"_sip._udp.{domain}", "SRV", "1", "10", str(net.plan.port), f"first.{domain}")
    net.dns.add(f"_sip._tcp.{domain}", "SRV", "1", "10", str(net.plan.port), f"first.{domain}")
    net.dns.add(f"first.{domain}", "A", address)
