"""Where to send: RFC 3263 over a DNS that is asked once and remembered.

:meth:`Resolver.locate` answers at once when the address is numeric or the DNS is remembered,
and with a Deferred only when it has to ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.names import client, dns
from twisted.names.error import AuthoritativeDomainError, DNSNameError, DomainError
from twisted.python.failure import Failure

from omaim.errors import Unavailable
from omaim.ids import Ids
from omaim.sip.flow import TCP, TLS, UDP
from omaim.sip.locating import (
    AAAA,
    AVOIDED,
    NAPTR,
    SRV,
    A,
    Answer,
    Locating,
    Naptr,
    Srv,
    Target,
    numeric_target,
)
from omaim.sip.uri import SipUri

CACHE: Final = 4096  # answers remembered
LONGEST: Final = 86400.0  # seconds a record may be believed, whatever it says
NOTHING: Final = 30.0  # seconds to believe that a name does not exist
ROUNDS: Final = 4  # NAPTR, SRV, addresses, and one to spare

Ask = Callable[[str, str], "Deferred[tuple[Answer, float]]"]  # (name, type) -> answer, its TTL


class Resolver:
    """The places to try for a URI, best first.

    Args:
        clock: for the age of answers.
        ask: puts one question to the DNS; fires with the answer and the seconds it holds,
            fails when there was no answer. ``None``: numeric addresses only.
        ids: where chance comes from (SRV weights).
        supported: the transports we speak, the one we like most first.
        families: the address types we can reach, the one we like most first.
    """

    def __init__(
        self,
        clock: IReactorTime,
        ask: Ask | None = None,
        ids: Ids | None = None,
        supported: tuple[str, ...] = (UDP, TCP, TLS),
        families: tuple[str, ...] = (A, AAAA),
    ) -> None:
        self.supported = supported
        self.families = families
        self._clock: Any = clock
        self._ask = ask
        self._ids = ids or Ids()
        self._cache: dict[tuple[str, str], tuple[float, Answer]] = {}
        self._avoided: dict[Target, float] = {}

    def locate(self, uri: SipUri) -> list[Target] | Deferred[list[Target]]:
        """Return where to send a request for ``uri``; never an empty list.

        Raises (or fails with):
            Unavailable: no server could be found, or the DNS does not answer.

        Spec: RFC 3263 §4
        """
        return self.locate_host(
            uri.scheme == "sips", uri.maddr or uri.host, uri.port, uri.transport
        )

    def locate_host(
        self, secure: bool, host: str, port: int, transport: str
    ) -> list[Target] | Deferred[list[Target]]:
        """Return where to find a host: as for a URI, or for the sent-by of a Via.

        Spec: RFC 3263 §4, §5
        """
        numeric = numeric_target(secure, host, port, transport)
        if numeric is not None:  # the most frequent case, without the machine
            if numeric.transport not in self.supported:
                raise Unavailable(f"transport {numeric.transport} is not spoken here")
            return [numeric]
        search = Locating(secure, host, port, transport, self.supported, self._ids, self.families)
        return self._run(search, host)

    def locate_service(
        self, service: str, default: int, host: str, port: int
    ) -> list[Target] | Deferred[list[Target]]:
        """Return where to find a host that serves another protocol than SIP, over TLS.

        With a port, the host's addresses; else what its SRV records say, or its addresses with
        the default port.

        Args:
            service: prefix of the SRV name, "_msrps._tcp.".
            default: port of the protocol.

        Raises (or fails with):
            Unavailable: no server could be found, or the DNS does not answer.

        Spec: RFC 2782; RFC 4976 §8
        """
        search = Locating(True, host, port, TLS, (TLS,), self._ids, self.families, service, default)
        return self._run(search, host)

    def failed(self, target: Target, seconds: float = AVOIDED) -> None:
        """Put ``target`` last for some seconds."""
        if len(self._avoided) >= CACHE:
            self._avoided.clear()
        self._avoided[target] = self._clock.seconds() + seconds

    def _run(self, search: Locating, host: str) -> list[Target] | Deferred[list[Target]]:
        for _ in range(ROUNDS):
            for name, kind in list(search.wanted):
                answer = self._remembered(name, kind)
                if answer is not None:
                    search.answer(name, kind, answer)
            if not search.wanted:
                return self._order(search.targets, host)
        return self._inquire(search, host)

    async def _questions(self, search: Locating, host: str) -> list[Target]:
        ask = self._ask
        if ask is None:
            raise Unavailable(f"no DNS is configured to find {host}")
        silent = False
        for _ in range(ROUNDS):
            wanted = list(search.wanted)
            asked = [(name, kind, self._question(ask, name, kind)) for name, kind in wanted]
            for name, kind, pending in asked:
                answer = await pending
                silent = silent or answer is None
                search.answer(name, kind, answer or Answer())
            if not search.wanted:
                break
        if silent and not search.targets:
            raise Unavailable(f"the DNS does not answer for {host}")
        return self._order(search.targets, host)

    def _inquire(self, search: Locating, host: str) -> Deferred[list[Target]]:
        return Deferred.fromCoroutine(self._questions(search, host))

    def _question(self, ask: Ask, name: str, kind: str) -> Deferred[Answer | None]:
        """Return the answer, remembered from now on, or None when nobody answered."""
        known = self._remembered(name, kind)
        result: Deferred[Answer | None] = Deferred()
        if known is not None:
            result.callback(known)
            return result

        def answered(pair: tuple[Answer, float]) -> None:
            self._remember(name, kind, pair[0], pair[1])
            result.callback(pair[0])

        def unanswered(failure: Failure) -> None:
            result.callback(None)

        ask(name, kind).addCallbacks(answered, unanswered)
        return result

    def _remembered(self, name: str, kind: str) -> Answer | None:
        entry = self._cache.get((name, kind))
        if entry is None or entry[0] <= self._clock.seconds():
            return None
        return entry[1]

    def _remember(self, name: str, kind: str, answer: Answer, ttl: float) -> None:
        if len(self._cache) >= CACHE:
            now = self._clock.seconds()
            alive = {key: entry for key, entry in self._cache.items() if entry[0] > now}
            self._cache = {} if len(alive) > CACHE // 2 else alive
        until = self._clock.seconds() + min(max(ttl, 0.0), LONGEST)
        self._cache[name, kind] = (until, answer)

    def _order(self, targets: list[Target], host: str) -> list[Target]:
        if not targets:
            raise Unavailable(f"no server is to be found for {host}")
        if not self._avoided:
            return targets
        now = self._clock.seconds()
        self._avoided = {key: until for key, until in self._avoided.items() if until > now}
        return sorted(targets, key=self._avoided.__contains__)


class Dns:
    """Questions to real name servers, by twisted.names.

    Args:
        reactor: what the queries are sent with.
        servers: addresses and ports of the servers; none: those of /etc/resolv.conf.
        timeout: seconds to wait for an answer, one per attempt.
    """

    def __init__(
        self,
        reactor: Any,
        servers: list[tuple[str, int]] | None = None,
        timeout: tuple[int, ...] = (1, 2, 4),
    ) -> None:
        self._client = client.Resolver(
            resolv=None if servers else "/etc/resolv.conf",
            servers=servers,
            timeout=timeout,
            reactor=reactor,
        )
        self._timeout = timeout

    def ask(self, name: str, kind: str) -> Deferred[tuple[Answer, float]]:
        """Put one question; see :data:`Ask`."""
        lookups: dict[str, Callable[..., Deferred[Any]]] = {
            NAPTR: self._client.lookupNamingAuthorityPointer,
            SRV: self._client.lookupService,
            A: self._client.lookupAddress,
            AAAA: self._client.lookupIPV6Address,
        }
        try:
            answered = lookups[kind](name, self._timeout)
        except (ValueError, UnicodeError):  # no possible name, so it does not exist
            empty: Deferred[tuple[Answer, float]] = Deferred()
            empty.callback((Answer(), NOTHING))
            return empty
        return answered.addCallbacks(_records, _missing, callbackArgs=(kind,))


def _records(sections: tuple[list[Any], list[Any], list[Any]], kind: str) -> tuple[Answer, float]:
    """Keep the records of the type that was asked for; aliases have been followed."""
    answer = Answer()
    ttl = LONGEST
    for header in sections[0]:
        record = header.payload
        if kind == NAPTR and isinstance(record, dns.Record_NAPTR):
            answer.naptr.append(_naptr(record))
        elif kind == SRV and isinstance(record, dns.Record_SRV):
            target = _text(record.target.name)
            answer.srv.append(Srv(record.priority, record.weight, record.port, target))
        elif (kind == A and isinstance(record, dns.Record_A)) or (
            kind == AAAA and isinstance(record, dns.Record_AAAA)
        ):
            answer.addresses.append(
                record.dottedQuad() if isinstance(record, dns.Record_A) else _v6(record)
            )
        ttl = min(ttl, float(header.ttl))
    empty = not (answer.naptr or answer.srv or answer.addresses)
    return answer, NOTHING if empty else ttl


def _missing(failure: Failure) -> tuple[Answer, float]:
    """A name that does not exist is an answer; everything else remains a failure."""
    if isinstance(failure.value, (DNSNameError, AuthoritativeDomainError)):
        return Answer(), NOTHING
    if isinstance(failure.value, DomainError):
        raise Unavailable(f"the DNS refused: {type(failure.value).__name__}")
    failure.raiseException()
    raise AssertionError("not reached")


def _naptr(record: Any) -> Naptr:
    return Naptr(
        record.order,
        record.preference,
        _text(record.flags.string),
        _text(record.service.string),
        _text(record.regexp.string),
        _text(record.replacement.name),
    )


def _v6(record: Any) -> str:
    import socket

    return socket.inet_ntop(socket.AF_INET6, record.address)


def _text(octets: bytes) -> str:
    return octets.decode("ascii", "replace")
