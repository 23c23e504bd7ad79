"""The way from a client to its home: which server, from which address, over which flow.

Spec: RFC 3261 §8.1.2 (outbound proxy); RFC 3263; RFC 5626 §4.2, §4.3
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred

from omaim.errors import Unavailable, UsageError
from omaim.net.endpoint import Endpoint
from omaim.net.network import INetwork
from omaim.net.resolver import Ask, Dns
from omaim.roles.user_agent import MOST_REDIRECTIONS, UserAgent
from omaim.sip.answering import Answerer
from omaim.sip.exchange import Exchange
from omaim.sip.flow import TCP, TLS, UDP, Flow
from omaim.sip.locating import Answer, Target
from omaim.sip.message import Request, Response
from omaim.sip.uri import SipUri, parse_uri

TRANSPORTS: Final = ("udp", "tcp", "tls")
_TRIES: Final = 16  # ports, until one is free for UDP and TCP both


def server_uri(server: str, domain: str, transport: str) -> SipUri:
    """Return the URI under which the first hop is looked for.

    Args:
        server: "HOST", "HOST:PORT", a SIP URI, or "" for whatever DNS says about ``domain``.
        domain: of the identity.
        transport: "udp", "tcp", "tls", or "" to let the server's URI or DNS decide.

    Raises:
        UsageError: one of them is written wrongly; the message says how to write it.
    """
    if transport not in ("", *TRANSPORTS):
        raise UsageError(f"no transport is called {transport}: use udp, tcp or tls")
    text = server or domain
    if not text.lower().startswith(("sip:", "sips:")):
        bare = text.count(":") > 1 and not text.startswith("[")
        text = f"sip:[{text}]" if bare else f"sip:{text}"
    try:
        uri = parse_uri(text)
    except Exception:
        uri = None
    if not isinstance(uri, SipUri) or not uri.host:
        raise UsageError(f"{server} is no server: write HOST, HOST:PORT or a SIP URI")
    if transport:
        uri = uri.with_param("transport", transport)
    return uri


def late_dns(clock: Any, servers: Sequence[tuple[str, int]]) -> Ask:
    """Return a function that asks DNS servers, or the system's; it starts with the first question.

    Most clients know their server by its address and never ask.
    """
    made: list[Dns] = []

    def ask(name: str, kind: str) -> Deferred[tuple[Answer, float]]:
        if not made:
            made.append(Dns(clock, list(servers)))
        return made[0].ask(name, kind)

    return ask


class Access:
    """Where a client's home is and how it is reached.

    Args:
        endpoint: not listening yet.
        network: tells our address towards the server.
        server: of :func:`server_uri`.
        listen: "" or "ADDRESS" or "ADDRESS:PORT" to use; found out by itself if empty.

    Attributes:
        transport: to the server.
        host: our own address towards it; "" before :meth:`open`.
    """

    def __init__(
        self, endpoint: Endpoint, network: INetwork, server: SipUri, listen: str = ""
    ) -> None:
        self._endpoint = endpoint
        self._network = network
        self._server = server
        host, _, port = listen.rpartition(":") if _has_port(listen) else (listen, "", "0")
        self._host = host.strip("[]")
        self._port = int(port)
        self._known: set[str] = set()
        self.transport = UDP
        self.host = ""

    async def targets(self) -> list[Target]:
        """Return the places where the server is, best first.

        Raises:
            Unavailable: DNS does not know, or does not answer.
        """
        located = self._endpoint.resolver.locate(self._server)
        found = await located if isinstance(located, Deferred) else located
        self._known.update(target.host for target in found)
        return found

    def is_server(self, flow: Flow) -> bool:
        """Tell whether a flow comes from our server, whose assertions we believe."""
        return flow.remote_host in self._known

    async def open(self, user: str) -> str:
        """Listen, and return our contact URI.

        Raises:
            Unavailable: the server cannot be found, or the address is not ours.
        """
        first = (await self.targets())[0]
        self.transport = first.transport
        host = self._host or self._network.source_for(first.host)
        self.host = host
        at = f"[{host}]" if ":" in host else host
        if self.transport == TLS:
            # Without a certificate nobody can connect to us: requests come by our own flow.
            return f"sip:{user}@{at};transport=tls"
        await self._listen(host)
        return self._endpoint.uri(self.transport, user)

    async def _listen(self, host: str) -> None:
        """Take one port for UDP and TCP: large requests come by TCP."""
        for left in range(_TRIES, 0, -1):
            stream = await self._endpoint.listen(TCP, host, self._port)
            try:
                await self._endpoint.listen(UDP, host, stream.port)
                return
            except Unavailable:
                self._endpoint.listeners.remove(stream)
                await stream.close()
                if self._port or left == 1:
                    raise


class Phone(UserAgent):
    """A user agent that sends everything to its home first.

    Attributes:
        access: knows where that is.
        flow: returns the path that our registration stands on, or None.
        registering: answers the challenges to REGISTER. What proves something to the
            registrar has no business in other requests, and would make them too long for UDP.
        cut: the last request did not reach the server.
    """

    access: Access
    flow: Callable[[], Flow | None]
    registering: Answerer
    cut: bool = False

    async def request(
        self,
        request: Request,
        *,
        provisional: Callable[[Response], object] | None = None,
        flow: Flow | None = None,
        targets: list[Target] | None = None,
        next_seq: Callable[[], int] | None = None,
        redirections: int = MOST_REDIRECTIONS,
        sent: Callable[[Exchange], object] | None = None,
        again: Callable[[Response], object] | None = None,
        credentials: Answerer | None = None,
    ) -> Response:
        """Send a request by the flow we registered on, else to our server."""
        if flow is None:
            own = self.flow()
            if own is not None and own.open and own.reliable:
                flow = own
        if flow is None and targets is None and not request.to.tag:
            try:
                targets = await self.access.targets()
            except Unavailable:
                failed = request.response(503)
                failed.local = self.cut = True
                return failed
        response = await super().request(
            request,
            provisional=provisional,
            flow=flow,
            targets=targets,
            next_seq=next_seq,
            redirections=redirections,
            sent=sent,
            again=again,
            credentials=self.registering if request.method == "REGISTER" else credentials,
        )
        self.cut = response.local and response.status == 503
        return response


def _has_port(listen: str) -> bool:
    host, colon, port = listen.rpartition(":")
    return bool(colon) and port.isdecimal() and (":" not in host or host.endswith("]"))
