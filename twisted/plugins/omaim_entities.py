"""The entities that twistd lists: one line each, and nothing heavier imported."""

from omaim.node.entity import EntityMaker

core = EntityMaker(
    "core", "omaim.core.entity", "SIP/IP Core: registrar, proxy and service invocation."
)
im = EntityMaker("im", "omaim.im.entity", "IM Server: pager mode, lists, deferred messages.")
relay = EntityMaker(
    "relay", "omaim.relay.entity", "MSRP relay: carries sessions for clients behind a NAT."
)
client = EntityMaker(
    "client", "omaim.client.entity", "IM Client as a bot that answers.", state="memory:"
)
dns = EntityMaker(
    "dns", "omaim.lab.dns", "The DNS of a lab, for names under .example.", state="memory:"
)
lab = EntityMaker("lab", "omaim.lab.entity", "A whole network of two domains in one process.")
