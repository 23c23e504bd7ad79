"""Pager mode between people who are there (§5.3.1, §5.3.2)."""

from __future__ import annotations

from omaim.testing.scenario import ScenarioNetwork, same, scenario


@scenario(shows=("IMS-04/pager", "IMS-12", "IMS-59"))
async def across_domains(net: ScenarioNetwork) -> None:
    """A message crosses two domains unchanged, is answered 200, and its delivery reported."""
    alice, xenia = await net.online("alice"), await net.online("xenia")
    sent = await alice.send(xenia.identity, "héllo ✓\r\n")
    message = await net.message(xenia)
    same(message.body, "héllo ✓\r\n".encode(), "the body that xenia gets")
    same((message.sender, message.verified), (alice.identity, True), "the sender")
    report = await sent.delivered(timeout=10)
    same((report.recipient, report.status), (xenia.identity, "delivered"), "the report")
