"""A network of two domains in virtual time, and somebody in it who means harm."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.client import Client
from omaim.net.tls import TlsSettings
from omaim.sip.answering import Answerer
from omaim.sip.message import Request, Response
from omaim.sip.parser import Limits, parse_datagram
from omaim.testing.peers import Line
from omaim.testing.scenario import Layout, Scenario, ScenarioNetwork
from omaim.testing.stages import Simulated

NORTH: Final = "127.0.1.1"  # the core of north.example
NORTH_IM: Final = "127.0.1.2"
SOUTH: Final = "127.0.2.1"
SOUTH_IM: Final = "127.0.2.2"
SIP: Final = 5060
SIPS: Final = 5061
SERVERS: Final = ("core-north", "im-north", "core-south", "im-south")

Script = Callable[[ScenarioNetwork], Coroutine[Any, Any, None]]
Pair = tuple[str, int]


def text_of(
    method: str,
    uri: str,
    source: Pair,
    *,
    sender: str = "sip:mallory@evil.example",
    to: str = "",
    number: int = 1,
    call_id: str = "",
    branch: str = "",
    headers: tuple[str, ...] = (),
    body: bytes = b"",
    transport: str = "UDP",
    tag: str = "m",
    rport: str = ";rport",
) -> bytes:
    """Return a request as an attacker writes it: well formed, and what it says is all lies."""
    branch = branch or f"z9hG4bK{number}"
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/{transport} {source[0]}:{source[1]};branch={branch}{rport}",
        "Max-Forwards: 70",
        f"From: <{sender}>;tag={tag}",
        f"To: <{to or uri}>",
        f"Call-ID: {call_id or f'attack-{number}'}",
        f"CSeq: {number} {method}",
        *headers,
        f"Content-Length: {len(body)}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


class Attacker:
    """Somebody who sends datagrams from any address, forged ones too, and hears what comes.

    Attributes:
        sent: octets sent by datagram.
        heard: every datagram that came to a watched address, with that address.
        lies: header lines of the 200 with which requests are answered.
    """

    def __init__(self, net: ScenarioNetwork) -> None:
        self.net = net
        self.sent = 0
        self.heard: list[tuple[Pair, bytes]] = []
        self.lies: list[str] = []
        self._port = 40000
        self._watched: dict[Pair, Any] = {}

    def source(self, host: str = "127.66.6.6", port: int = 0) -> Pair:
        """Return an address at which the attacker, or its victim, hears what is sent there."""
        if not port:
            self._port += 1
            port = self._port
        pair = (host, port)
        if pair not in self._watched:
            self._watched[pair] = self.net.network.listen_datagram(
                host, port, lambda data, source: self._hear(pair, data, source)
            )
            self.net.at_end(self._watched[pair].close)
        return pair

    def _hear(self, pair: Pair, data: bytes, source: Pair) -> None:
        self.heard.append((pair, data))
        if data.startswith(b"SIP/2.0"):
            return
        kept = (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
        head = data.partition(b"\r\n\r\n")[0]
        lines = [line for line in head.split(b"\r\n") if line.startswith(kept)]
        lies = [line.encode() for line in self.lies]
        answer = [b"SIP/2.0 200 OK", *lines, *lies, b"Content-Length: 0", b"", b""]
        self.net.simulated.send(pair, b"\r\n".join(answer), source)

    def forge(self, source: Pair, data: bytes, target: str = NORTH, port: int = SIP) -> None:
        """Send one datagram that says it is from ``source``."""
        self.sent += len(data)
        self.net.simulated.send(source, data, (target, port))

    def answers(self, source: Pair | None = None) -> list[Response]:
        """Return the responses that came, to one address or to all."""
        found = []
        for pair, data in self.heard:
            if source in (None, pair):
                message = parse_datagram(data, Limits())
                if isinstance(message, Response):
                    found.append(message)
        return found

    def requests(self, source: Pair | None = None) -> list[Request]:
        """Return the requests that came."""
        found = []
        for pair, data in self.heard:
            if source in (None, pair):
                message = parse_datagram(data, Limits())
                if isinstance(message, Request):
                    found.append(message)
        return found

    async def ask(self, data: bytes, source: Pair, target: str = NORTH) -> Response:
        """Send a datagram and return the final response."""
        before = len(self.answers(source))
        self.forge(source, data, target)
        await self.net.sleep(0.5)
        finals = [one for one in self.answers(source)[before:] if one.status >= 200]
        if not finals:
            raise AssertionError(f"no answer to {data[:60]!r}")
        return finals[0]

    def line(self, target: str = NORTH, port: int = SIP, host: str = "127.66.6.6") -> Line:
        """Open a stream; TLS to the TLS port, with no certificate of our own."""
        line = Line()
        tls = TlsSettings(verify=False) if port == SIPS else None
        self.net.network.connect_stream(target, port, line, tls, local_host=host)
        return line


class Insider:
    """A user with a right password who means harm: writes requests by hand and signs them."""

    def __init__(
        self, attacker: Attacker, name: str = "alice", domain: str = "north.example"
    ) -> None:
        net = attacker.net
        self.attacker = attacker
        self.name, self.domain = name, domain
        self.aor = f"sip:{name}@{domain}"
        self.source = attacker.source(f"127.0.{1 if domain[0] == 'n' else 2}.66")
        self.target = NORTH if domain[0] == "n" else SOUTH
        ids = net.nodes["core-north"].ids
        self.answerer = Answerer(f"{name}@{domain}", f"{name}-secret", ids)
        self.number = 100
        self.rport = ";rport"  # without it, we are at the address in our Contact

    async def ask(
        self,
        method: str,
        uri: str,
        *headers: str,
        body: bytes = b"",
        sender: str = "",
        to: str = "",
    ) -> Response:
        """Send a request, answer the challenge, and return the last response."""
        response = await self._send(method, uri, headers, body, sender, to)
        name = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}.get(response.status)
        if name is None or not self.answerer.take(name, response.all(name), 0):
            return response
        signed = tuple(
            f"{header}: {value}" for header, value in self.answerer.answers(method, uri, body)
        )
        return await self._send(method, uri, headers + signed, body, sender, to)

    async def _send(
        self, method: str, uri: str, headers: tuple[str, ...], body: bytes, sender: str, to: str
    ) -> Response:
        self.number += 1
        data = text_of(
            method,
            uri,
            self.source,
            sender=sender or self.aor,
            to=to,
            number=self.number,
            call_id=f"{self.name}-{self.number}",
            rport=self.rport,
            headers=headers,
            body=body,
        )
        return await self.attacker.ask(data, self.source, self.target)

    async def register(self, *contacts: str) -> Response:
        """Register these contacts, or the address that it hears at."""
        host, port = self.source
        values = contacts or (f"<sip:{self.name}@{host}:{port}>",)
        headers = [f"Contact: {value}" for value in values]
        return await self.ask("REGISTER", f"sip:{self.domain}", *headers, to=self.aor)

    async def say(self, uri: str, body: bytes, *headers: str) -> Response:
        """Send a MESSAGE; plain text unless the headers name a type."""
        if not any(header.startswith("Content-Type") for header in headers):
            headers = (*headers, "Content-Type: text/plain")
        return await self.ask("MESSAGE", uri, *headers, body=body)


@cache
def _stage() -> Simulated:
    """Return the stage of all tests of this process; its certificates cost most of it."""
    stage = Simulated()
    atexit.register(stage.close)
    return stage


class AttackCase(SynchronousTestCase):
    """Plays scripts on a fresh simulated network; a logged failure fails the test."""

    def play(self, script: Script, layout: Layout | None = None) -> None:
        """Play a script to its end; then no server may have crashed over anything."""

        async def checked(net: ScenarioNetwork) -> None:
            await script(net)
            for name, entity in net.entities.items():
                self.assertEqual(entity.endpoint.counters["crashed"], 0, name)

        one = Scenario(self.id(), (), self.id(), checked, layout=layout or Layout())
        outcome = _stage().play(one)
        if not outcome.passed:
            self.fail(outcome.why)


def transactions(net: ScenarioNetwork, name: str = "core-north") -> int:
    """Return how many transactions a server keeps."""
    endpoint = net.entities[name].endpoint
    total: int = endpoint.transactions.server_count + endpoint.transactions.client_count
    return total


def objects(kind: str) -> int:
    """Return how many objects of a class live."""
    gc.collect()
    return sum(type(one).__name__ == kind for one in gc.get_objects())


async def online(net: ScenarioNetwork, name: str) -> Client:
    """Return a client that has registered."""
    return await net.online(name)


__all__ = [
    "AttackCase",
    "Attacker",
    "Deferred",
    "Insider",
    "Layout",
    "Line",
    "ScenarioNetwork",
    "objects",
    "online",
    "text_of",
    "transactions",
]
