"""RFC 3263: from a URI to the places to try, in order. Asking the DNS is somebody else's work.

A :class:`Locating` says in ``wanted`` what it needs to know, is told with :meth:`answer`, and
in the end has ``targets``.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Final, final

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.flow import TCP, TLS, UDP
from omaim.sip.message import Request
from omaim.sip.uri import SipUri, Uri, parse_uri

NAPTR: Final = "NAPTR"
SRV: Final = "SRV"
A: Final = "A"
AAAA: Final = "AAAA"

MOST_RECORDS: Final = 16  # of one answer; the rest is ignored
MOST_TARGETS: Final = 32
AVOIDED: Final = 30.0  # seconds a target that failed comes last

_SERVICES: Final = {"SIP+D2U": UDP, "SIP+D2T": TCP, "SIPS+D2T": TLS}  # RFC 3263 §4.1
_LABELS: Final = {UDP: "_sip._udp.", TCP: "_sip._tcp.", TLS: "_sips._tcp."}  # §4.2


@final
class Naptr:
    """One NAPTR record (RFC 3403 §4.1)."""

    __slots__ = ("flags", "order", "preference", "regexp", "replacement", "service")

    def __init__(
        self,
        order: int,
        preference: int,
        flags: str,
        service: str,
        regexp: str,
        replacement: str,
    ) -> None:
        self.order = order
        self.preference = preference
        self.flags = flags
        self.service = service
        self.regexp = regexp
        self.replacement = replacement


@final
class Srv:
    """One SRV record (RFC 2782)."""

    __slots__ = ("port", "priority", "target", "weight")

    def __init__(self, priority: int, weight: int, port: int, target: str) -> None:
        self.priority = priority
        self.weight = weight
        self.port = port
        self.target = target


@final
class Answer:
    """What the DNS said to one question; empty when the name or the type does not exist.

    Args:
        naptr, srv, addresses: the records of the type that was asked for.
    """

    __slots__ = ("addresses", "naptr", "srv")

    def __init__(
        self,
        naptr: list[Naptr] | None = None,
        srv: list[Srv] | None = None,
        addresses: list[str] | None = None,
    ) -> None:
        self.naptr: list[Naptr] = [] if naptr is None else naptr
        self.srv: list[Srv] = [] if srv is None else srv
        self.addresses: list[str] = [] if addresses is None else addresses


@final
class Target:
    """One place to send a request to.

    Args:
        transport: "UDP", "TCP" or "TLS".
        host: numeric address, IPv6 without brackets and as RFC 5952 spells it.
        port: never 0.
        domain: the domain that was asked for, which a TLS peer must prove to be.

    Spec: RFC 3263 §4; RFC 5922 §7.3
    """

    __slots__ = ("domain", "host", "port", "transport")

    def __init__(self, transport: str, host: str, port: int, domain: str = "") -> None:
        self.transport = transport
        self.host = host
        self.port = port
        self.domain = domain

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Target)
            and self.host == other.host
            and self.port == other.port
            and self.transport == other.transport
            and self.domain == other.domain
        )

    def __hash__(self) -> int:
        return hash((self.transport, self.host, self.port))

    def __repr__(self) -> str:
        return f"<Target {self.transport} {self.host} {self.port} {self.domain}>"


@final
class Locating:
    """The search for one host; the same for a URI and for the sent-by of a Via (§5).

    Args:
        secure: the scheme is "sips".
        host: name or numeric address, with brackets or without; maddr when there is one.
        port: 0 when absent.
        transport: the transport parameter or the Via's, any case; "" when absent.
        supported: the transports we speak, the one we like most first.
        ids: where chance comes from (SRV weights).
        families: the address types we can reach, the one we like most first.
        service: prefix of the SRV name of another protocol, "_msrps._tcp.", which is then asked
            for when there is no port; "" for SIP.
        default: port of that protocol.

    Attributes:
        wanted: the questions whose answers are missing; empty when done.
        targets: where to try, in this order; empty when there is no way.

    Differs: when all of the most preferred transport's servers fail, the other transports
    that the domain offers follow; §4.1 stops at the first.

    Spec: RFC 3263 §4, §5; RFC 2782
    """

    __slots__ = (
        "_default",
        "_families",
        "_host",
        "_ids",
        "_known",
        "_port",
        "_secure",
        "_service",
        "_supported",
        "_transport",
        "targets",
        "wanted",
    )

    def __init__(
        self,
        secure: bool,
        host: str,
        port: int,
        transport: str,
        supported: tuple[str, ...],
        ids: Ids,
        families: tuple[str, ...] = (A, AAAA),
        service: str = "",
        default: int = 0,
    ) -> None:
        self._secure = secure
        self._service = service
        self._default = default
        self._host = host.lower().rstrip(".")
        self._port = port
        self._transport = transport.upper()
        self._supported = supported
        self._ids = ids
        self._families = families
        self._known: dict[tuple[str, str], Answer] = {}
        self.wanted: list[tuple[str, str]] = []
        self.targets: list[Target] = []
        self._search()

    def answer(self, name: str, kind: str, answer: Answer) -> None:
        """Take the answer to one wanted question; more may be wanted afterwards."""
        question = (name, kind)
        if question in self.wanted:
            self.wanted.remove(question)
            self._known[question] = answer
            if not self.wanted:
                self._search()

    def _search(self) -> None:
        """Go as far as the known answers carry; all that is missing lands in ``wanted``."""
        self.targets = []
        fixed = ""
        if self._transport or self._port or is_numeric(self._host):
            fixed = self._fixed_transport()
            if fixed not in self._supported:
                return
        if is_numeric(self._host):
            self._add(fixed, self._host.strip("[]"), self._port)
        elif self._port:
            self._add_addresses(fixed, self._host, self._port)
        elif fixed:
            label = self._service or _LABELS[fixed]
            self._by_services([(fixed, label + self._host)], fixed)
        else:
            self._by_naptr()
        if self.wanted:
            self.targets = []

    def _fixed_transport(self) -> str:
        """Return the transport when parameter, port or number decide it, "" for none."""
        transport = self._transport
        if self._secure:
            return TLS if transport in ("", TCP, TLS) else ""
        return transport or UDP

    def _by_naptr(self) -> None:
        answer = self._ask(self._host, NAPTR)
        if answer is None:
            return
        rows: list[tuple[int, int, int, str, str]] = []
        for record in answer.naptr[:MOST_RECORDS]:
            transport = _SERVICES.get(record.service.upper(), "")
            if record.flags.lower() != "s" or record.regexp or transport not in self._supported:
                continue
            if self._secure and transport != TLS:
                continue
            name = record.replacement.lower().rstrip(".")
            rows.append((record.order, record.preference, len(rows), transport, name))
        rows.sort()
        services = [(row[3], row[4]) for row in rows]
        if not services:
            for transport in self._supported:
                # A plain URI is asked for plain services only, a sips URI for secure ones.
                if (transport == TLS) == self._secure:
                    services.append((transport, _LABELS[transport] + self._host))
        default = services[0][0] if rows else (TLS if self._secure else UDP)
        self._by_services(services, default)

    def _by_services(self, services: list[tuple[str, str]], default: str) -> None:
        """Follow SRV names in order; when none exists, the host itself at the default port."""
        found = False
        answers: list[tuple[str, Answer]] = []
        for transport, name in services:
            answer = self._ask(name, SRV)
            if answer is not None:
                found = found or bool(answer.srv)
                answers.append((transport, answer))
        if self.wanted:
            return
        if not found:
            if default in self._supported:
                self._add_addresses(default, self._host, 0)
            return
        for transport, answer in answers:
            for record in self._in_order(answer.srv[:MOST_RECORDS]):
                target = record.target.lower().rstrip(".")
                if target:  # "." says: decidedly not available here
                    self._add_addresses(transport, target, record.port)

    def _in_order(self, records: list[Srv]) -> list[Srv]:
        """Return the records by priority and, within one, by chance according to weight."""
        left = list(records)
        ordered: list[Srv] = []
        while left:
            priority = min([record.priority for record in left])
            group = [record for record in left if record.priority == priority]
            left = [record for record in left if record.priority != priority]
            while len(group) > 1:
                # RFC 2782: those of weight 0 stand first, so that they are hardly ever chosen
                group = [r for r in group if r.weight == 0] + [r for r in group if r.weight]
                total = sum([record.weight for record in group])
                limit = int(self._ids.fraction() * (total + 1))
                running = 0
                for index, record in enumerate(group):
                    running += record.weight
                    if running >= limit:
                        ordered.append(group.pop(index))
                        break
            ordered.extend(group)
        return ordered

    def _add_addresses(self, transport: str, name: str, port: int) -> None:
        if is_numeric(name):  # against RFC 2782, but seen
            self._add(transport, name, port)
            return
        for family in self._families:
            answer = self._ask(name, family)
            if answer is not None:
                for address in answer.addresses[:MOST_RECORDS]:
                    self._add(transport, address, port)

    def _add(self, transport: str, address: str, port: int) -> None:
        family = A
        if ":" in address:
            family = AAAA
            address = as_sockets_spell(address)
        if family in self._families and len(self.targets) < MOST_TARGETS:
            port = port or self._default or default_port(transport)
            target = Target(transport, address, port, self._host.strip("[]"))
            if target not in self.targets:
                self.targets.append(target)

    def _ask(self, name: str, kind: str) -> Answer | None:
        question = (name, kind)
        answer = self._known.get(question)
        if answer is None and question not in self.wanted:
            self.wanted.append(question)
        return answer


def next_hop(request: Request) -> tuple[bool, SipUri]:
    """Return where a request goes next: a strict router, its first Route, or its Request-URI.

    Returns:
        whether TLS is demanded, and the URI to be located.

    Raises:
        PeerError: the Route or the Request-URI cannot be followed (400, 416).

    Spec: RFC 3261 §8.1.2, §16.6; RFC 3263 §4
    """
    uri: Uri
    if request.next_hop:
        uri = parse_uri(request.next_hop)
    elif request.has("Route"):
        uri = request.route_uri(request.top_route)
        if not isinstance(uri, SipUri) or not uri.lr:
            uri = request.request_uri
    else:
        uri = request.request_uri
    if not isinstance(uri, SipUri):
        raise PeerError("only sip and sips URIs lead somewhere", 416)
    return uri.scheme == "sips" or request.uri[:5].lower() == "sips:", uri


def numeric_target(secure: bool, host: str, port: int, transport: str) -> Target | None:
    """Return where a host is that needs no search; ``None`` for all others.

    The arguments are those of :class:`Locating`.

    Spec: RFC 3263 §4.1, §4.2 (a numeric address)
    """
    if secure or not is_numeric(host):
        return None
    if ":" in host:
        host = as_sockets_spell(host.strip("[]"))
    transport = transport.upper() or UDP
    return Target(transport, host, port or default_port(transport), host)


def default_port(transport: str) -> int:
    """Return 5061 for TLS and 5060 for all others (RFC 3261 §18.1.1)."""
    return 5061 if transport == TLS else 5060


def as_sockets_spell(address: str) -> str:
    """Return an IPv6 address in the one spelling in which sockets tell addresses (RFC 5952).

    Whoever is found by the address of a message he sends has to be the one we sent to.
    """
    try:
        return str(IPv6Address(address))
    except ValueError:
        return address  # it leads nowhere, as sending will show


def is_numeric(host: str) -> bool:
    """Tell whether ``host`` is an address rather than a name; brackets are allowed."""
    if ":" in host or host.startswith("["):
        return True
    parts = host.split(".")
    if len(parts) != 4:
        return False
    for part in parts:
        if not (part.isascii() and part.isdigit() and len(part) <= 3 and int(part) <= 255):
            return False
    return True
