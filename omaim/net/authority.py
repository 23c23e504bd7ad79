"""A DNS authority in this process, for networks that have none: the lab's.

Spec: RFC 3263 §4 (what SIP asks for); RFC 4976 §8 (MSRP relays); RFC 1035
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.names import dns
from twisted.names.authority import FileAuthority
from twisted.names.server import DNSServerFactory

from omaim.errors import Unavailable

TTL = 60  # seconds; short, as a lab changes while people look


@attrs.frozen
class Host:
    """One SIP server, or MSRP relay, as DNS tells of it."""

    name: str  # "core.north.example"
    address: str  # IPv4 or IPv6, numeric
    ports: tuple[
        tuple[str, int], ...
    ]  # ("udp", 5060), ("tcp", 5060), ("tls", 5061); ("msrps", 2855)


# NAPTR order, its service, and the prefix of SRV names; a relay has no NAPTR (RFC 4976 §8).
_SERVICES = {
    "tls": (10, b"SIPS+D2T", "_sips._tcp"),
    "tcp": (20, b"SIP+D2T", "_sip._tcp"),
    "udp": (30, b"SIP+D2U", "_sip._udp"),
    "msrps": (0, b"", "_msrps._tcp"),
}


class _Zone(FileAuthority):
    """A zone from values: FileAuthority without its file."""

    def __init__(self, origin: str, records: dict[bytes, list[Any]]) -> None:
        self.soa = (origin.encode(), records[origin.encode()][0])  # type: ignore[assignment]
        self.records = records  # type: ignore[assignment]
        super().__init__(None)

    def loadFile(self, filename: object) -> None:
        """There is no file."""

    def setup_records(self) -> None:
        """They came with the constructor."""


def zone(
    domain: str,
    hosts: Iterable[Host],
    served_by: Host,
    prefer: tuple[str, ...] = ("udp", "tcp", "tls"),
) -> Any:
    """Return the zone of one SIP domain: NAPTR and SRV for the domain, addresses for hosts.

    Args:
        domain: its name; NAPTR and SRV records stand at it.
        hosts: every server with a name in the domain.
        served_by: the host that takes requests for the domain: its core.
        prefer: transports in the order the NAPTR records prefer them.

    Spec: RFC 3263 §4.1, §4.2
    """
    records: dict[bytes, list[Any]] = {}

    def add(name: str, record: Any) -> None:
        records.setdefault(name.lower().encode(), []).append(record)

    add(
        domain,
        dns.Record_SOA(
            mname=f"ns.{domain}",
            rname=f"hostmaster.{domain}",
            serial=1,
            refresh=TTL,
            retry=TTL,
            expire=TTL,
            minimum=TTL,
            ttl=TTL,
        ),
    )
    for host in hosts:
        address = dns.Record_AAAA if ":" in host.address else dns.Record_A
        add(host.name, address(host.address, ttl=TTL))
        for transport, port in host.ports:
            prefix = _SERVICES[transport][2]
            add(f"{prefix}.{host.name}", dns.Record_SRV(10, 10, port, host.name, ttl=TTL))
    for order, transport in enumerate(prefer):
        for offered, port in served_by.ports:
            if offered != transport:
                continue
            _, service, prefix = _SERVICES[transport]
            target = f"{prefix}.{domain}"
            add(
                domain,
                dns.Record_NAPTR(
                    order=10 * (order + 1),
                    preference=10,
                    flags=b"s",
                    service=service,
                    regexp=b"",
                    replacement=target,
                    ttl=TTL,
                ),
            )
            add(target, dns.Record_SRV(10, 10, port, served_by.name, ttl=TTL))
    return _Zone(domain, records)


class DnsAuthority:
    """Serves zones over UDP and TCP on one address.

    Args:
        reactor: where it listens.
        zones: what :func:`zone` made.
    """

    def __init__(self, reactor: Any, zones: Iterable[Any]) -> None:
        self._reactor = reactor
        self._factory = DNSServerFactory(authorities=list(zones))
        self._ports: list[Any] = []

    def listen(self, host: str, port: int) -> int:
        """Start to answer on ``host``; port 0 takes a free one.

        Returns:
            The port.

        Raises:
            Unavailable: the address is taken; the message names it.
        """
        try:
            tcp = self._reactor.listenTCP(port, self._factory, interface=host)
            self._ports.append(tcp)
            bound: int = tcp.getHost().port
            udp = self._reactor.listenUDP(
                bound, dns.DNSDatagramProtocol(self._factory), interface=host
            )
            self._ports.append(udp)
        except CannotListenError as error:
            self.stop()
            raise Unavailable(
                f"DNS cannot listen on {host}:{port}: {error.socketError}; is another lab running?"
            ) from None
        return bound

    def stop(self) -> Deferred[Any]:
        """Stop; the Deferred fires when the ports are free."""
        ports, self._ports = self._ports, []
        return gatherResults([maybeDeferred(port.stopListening) for port in ports])
