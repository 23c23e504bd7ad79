"""IP-1 and the edge of the trust domain: who a request comes from, and who may be told what.

Spec: RFC 3325 §2.3 (trust domain); RFC 5922 §7 (who a TLS peer is)
"""

from __future__ import annotations

import ipaddress
from typing import Final, final

from omaim.errors import PeerError, UsageError
from omaim.sip.flow import Flow
from omaim.sip.uri import SipUri, parse_uri

STRANGER: Final = 0  # nobody we know: a user until proved, else somebody outside
SERVICE: Final = 1  # an application server of our own network
PEER: Final = 2  # the core of another network that we trust


@final
class Neighbour:
    """Somebody inside the trust domain, known by verified name or by address.

    Attributes:
        kind: SERVICE or PEER.
        name: domain of a peer, host name or address of a service.
    """

    __slots__ = ("kind", "name")

    def __init__(self, kind: int, name: str) -> None:
        self.kind: Final = kind
        self.name: Final = name


def _address(text: str) -> str:
    """Return an address as sockets spell it, "" for anything else (RFC 5952)."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return ""


def _host_of(service: str) -> str:
    if not service.lower().startswith(("sip:", "sips:")):
        return service.lower()
    try:
        uri = parse_uri(service)
    except PeerError as error:
        raise UsageError(f"{service} is no SIP URI: {error.why}")
    return uri.host if isinstance(uri, SipUri) else ""


@final
class Neighbours:
    """Everybody inside the trust domain.

    Args:
        services: addresses, or names that a verified TLS certificate carries, of the
            application servers, or their SIP URIs.
        peers: trusted domains, each ``DOMAIN`` (believed by TLS certificate) or
            ``DOMAIN=ADDRESS+ADDRESS`` (believed by address too, for networks where addresses
            cannot be forged).

    Raises:
        UsageError: a peer is written otherwise.

    Attributes:
        domains: the trusted ones.
    """

    __slots__ = ("_by_address", "_by_name", "domains")

    def __init__(self, services: tuple[str, ...], peers: tuple[str, ...]) -> None:
        self._by_address: dict[str, Neighbour] = {}
        self._by_name: dict[str, Neighbour] = {}
        self.domains: frozenset[str] = frozenset()
        for service in services:
            host = _host_of(service)
            address = _address(host)
            table = self._by_address if address else self._by_name
            table[address or host] = Neighbour(SERVICE, address or host)
        domains: list[str] = []
        for peer in peers:
            domain, _, addresses = peer.lower().partition("=")
            if not domain or _address(domain):
                raise UsageError(f"{peer}: write a peer as DOMAIN or DOMAIN=ADDRESS")
            neighbour = Neighbour(PEER, domain)
            domains.append(domain)
            self._by_name[domain] = neighbour
            for text in addresses.split("+") if addresses else ():
                address = _address(text)
                if not address:
                    raise UsageError(f"{peer}: {text} is no address")
                self._by_address[address] = neighbour
        self.domains = frozenset(domains)

    def of(self, flow: Flow) -> Neighbour | None:
        """Return who is at the other end of a flow, ``None`` for a stranger."""
        for name in flow.peer_names:
            found = self._by_name.get(name)
            if found is not None:
                return found
        return self._by_address.get(flow.remote_host)

    def knows(self, host: str) -> bool:
        """Tell whether a request to ``host`` of a URI stays inside the trust domain.

        A host inside a trusted domain is as trusted as the domain.
        """
        if host[:1] == "[":
            host = _address(host)
        if host in self._by_name or host in self._by_address:
            return True
        for domain in self.domains:
            if host.endswith("." + domain):
                return True
        return False
