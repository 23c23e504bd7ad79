"""Where a peer may have us connect to.

A session description says where its author is reached, and may lie: it could lead to a service
inside our network that trusts us, or to somebody who has asked for nothing.

Spec: RFC 4975 §14 (security considerations); RFC 6890 (special addresses)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from typing import Final, TypeAlias

from omaim.errors import UsageError

LOWEST: Final = 1024  # the ports below belong to well-known services

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Reach:
    """What holds for connections that peers ask for.

    Args:
        networks: those that may be connected to: "10.0.0.0/8", or one address. Without any,
            all may be but those that are nobody's own: unspecified, multicast, reserved and
            link-local ones, and the loopback addresses of a server that is not there itself.
        lowest: port.

    Raises:
        UsageError: a network is none.

    Attributes:
        closed: hosts and ports that are never connected to: services that trust us.
    """

    def __init__(self, networks: Iterable[str] = (), lowest: int = LOWEST) -> None:
        self.closed: set[tuple[str, int]] = set()
        self._lowest = lowest
        try:
            self._networks = tuple(ipaddress.ip_network(one, strict=False) for one in networks)
        except ValueError as error:
            raise UsageError(f"not a network: {error}") from None

    def refuses(self, host: str, port: int, here: Collection[str] = ()) -> str:
        """Return why an address is not connected to; "" when it may be.

        Args:
            host: numeric, IPv6 without brackets.
            here: the addresses at which we are reached ourselves.
        """
        try:
            address = _plain(ipaddress.ip_address(host))
        except ValueError:
            return "not an address"
        if port < self._lowest:
            return f"ports below {self._lowest} are not for MSRP"
        if (str(address), port) in self.closed or (host, port) in self.closed:
            return "something else is there"
        if self._networks:
            allowed = any(address in network for network in self._networks)
            return "" if allowed else "this network is not connected to"
        if address.is_loopback:
            return "" if not here or any(map(_is_loopback, here)) else "that would be ourselves"
        if (
            address.is_unspecified
            or address.is_multicast
            or address.is_link_local
            or address.is_reserved
        ):
            return "nobody has this address"
        return ""


def _plain(address: _Address) -> _Address:
    """Return an IPv4 address for one that is written as an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_loopback(host: str) -> bool:
    try:
        return _plain(ipaddress.ip_address(host.strip("[]"))).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
