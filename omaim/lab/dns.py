"""The DNS of a lab as an entity: ``twistd omaim-dns``.

Spec: RFC 3263 §4
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from omaim.errors import UsageError
from omaim.net.authority import DnsAuthority, Host, zone
from omaim.node.config import parse_listen, parse_place, setting
from omaim.node.entity import IEntity
from omaim.node.node import Node


@attrs.frozen
class Config:
    """Settings of the lab's DNS authority."""

    listen: str = setting("127.0.0.10:5300", "where it answers, HOST:PORT, over UDP and TCP")
    servers: tuple[str, ...] = setting(
        (),
        "SIP servers with names, NAME=udp:ADDRESS:PORT+tcp:ADDRESS:PORT; the first name in a "
        "domain serves the domain",
    )
    relays: tuple[str, ...] = setting((), "MSRP relays with names, NAME=ADDRESS:PORT")


def parse_server(text: str) -> Host:
    """Return the host in ``NAME=udp:ADDRESS:PORT+…``.

    Raises:
        UsageError: it is written otherwise, or has two addresses.
    """
    name, _, rest = text.partition("=")
    places = [parse_listen(one) for one in rest.split("+") if one]
    addresses = {place.host for place in places}
    if "." not in name or len(addresses) != 1:
        raise UsageError(f"{text}: write NAME.DOMAIN=udp:ADDRESS:PORT+tcp:ADDRESS:PORT")
    ports = tuple((place.transport.lower(), place.port) for place in places)
    return Host(name, addresses.pop(), ports)


def parse_relay(text: str) -> Host:
    """Return the relay in ``NAME=ADDRESS:PORT``.

    Raises:
        UsageError: it is written otherwise.
    """
    name, _, rest = text.partition("=")
    if "." not in name:
        raise UsageError(f"{text}: write NAME.DOMAIN=ADDRESS:PORT")
    address, port = parse_place(rest)
    return Host(name, address.strip("[]"), (("msrps", port),))


def zones_of(servers: tuple[str, ...], relays: tuple[str, ...] = ()) -> list[Any]:
    """Return a zone for each domain; its first server takes the domain's requests."""
    domains: dict[str, list[Host]] = {}
    for host in [*map(parse_server, servers), *map(parse_relay, relays)]:
        domains.setdefault(host.name.partition(".")[2], []).append(host)
    return [zone(domain, hosts, hosts[0]) for domain, hosts in domains.items()]


@implementer(IEntity)
class Dns(Service):
    """A DNS authority that starts and stops with its node."""

    def __init__(self, node: Node, config: Config) -> None:
        self._place = parse_place(config.listen)
        self._authority = DnsAuthority(node.clock, zones_of(config.servers, config.relays))
        self._ready: Deferred[None] = Deferred()

    def ready(self) -> Deferred[None]:
        """Return a Deferred that fires when it answers, or fails with the reason."""
        return self._ready

    def startService(self) -> None:
        """Answer from now on."""
        super().startService()
        listening = execute(self._authority.listen, *self._place)
        listening.addCallback(lambda port: None).chainDeferred(self._ready)

    def stopService(self) -> Deferred[Any]:
        """Answer no more."""
        super().stopService()
        return self._authority.stop()


def build(node: Node, config: Config, name: str = "dns") -> Dns:
    """Return the DNS, not yet started, as part of ``node``, which has to be on real sockets."""
    return Dns(node, config)
