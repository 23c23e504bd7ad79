"""Two or more user agents on a simulated network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.roles.incoming import Incoming
from omaim.roles.user_agent import UserAgent
from omaim.sip.answering import Answerer
from omaim.sip.digest import ACCEPTED, STALE, challenges, find_credentials, secret_of, verify
from omaim.sip.message import Request, Response
from omaim.sip.nonces import Nonces
from omaim.testing.network import Clock, SimulatedNetwork

REALM = "example.com"
PASSWORD = "correct horse"


class Server:
    """Answers what a test tells it to, and keeps what it has seen.

    Attributes:
        seen: every request, in order.
        script: what to answer, one entry for each request: a status, a response maker, or
            ``None`` for silence; 200 when it is empty.
    """

    def __init__(self, ua: UserAgent) -> None:
        self.ua = ua
        self.seen: list[Request] = []
        self.flows: list[Any] = []
        self.script: list[int | Callable[[Incoming], Response | None] | None] = []
        self.nonces = Nonces(b"k" * 16, Ids(99))
        self.stale_once = False
        for method in ("MESSAGE", "REGISTER", "PUBLISH", "SUBSCRIBE", "INFO"):
            ua.on(method, self.serve, dialogs=True)

    def serve(self, incoming: Incoming) -> Response | None:
        self.seen.append(incoming.request)
        self.flows.append(incoming.flow)
        step = self.script.pop(0) if self.script else 200
        if step is None:
            return None
        return incoming.response(step) if isinstance(step, int) else step(incoming)

    def guarded(self, incoming: Incoming, user: str = "bob") -> Response | None:
        """Answer 401 until the request proves the password."""
        credentials = find_credentials(incoming.request.all("Authorization"), REALM)
        verdict = -1
        if credentials is not None:
            ha1 = secret_of(user, REALM, PASSWORD).ha1(credentials.algorithm)
            verdict = verify(
                credentials,
                incoming.request.method,
                incoming.request.body,
                ha1,
                self.nonces,
                REALM,
                self.ua.now(),
            )
            if verdict == ACCEPTED and not self.stale_once:
                return None
            self.stale_once = False
        stale = verdict in (STALE, ACCEPTED)
        lines = challenges(REALM, self.nonces, self.ua.now(), stale)
        return incoming.response(401, [("WWW-Authenticate", line) for line in lines])


class Roles(SynchronousTestCase):
    """A test with a clock, a network and user agents."""

    seed = 1

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, self.seed)

    def agent(self, host: str, name: str = "", password: str = "", **named: Any) -> UserAgent:
        """Return an attached user agent at ``host``, port 5060, UDP and TCP."""
        number = int(host.rpartition(".")[2])
        endpoint = Endpoint(self.network, self.clock, name=name or host, ids=Ids(number))
        for transport in ("UDP", "TCP"):
            self.successResultOf(endpoint.listen(transport, host, 5060))
        user = name or "user"
        if password:
            named["credentials"] = Answerer(user, password, endpoint.ids)
        named.setdefault("contact", f"<sip:{user}@{host}>")
        ua = UserAgent(endpoint, f"sip:{user}@{REALM}", **named)
        ua.attach()
        return ua

    def wait(self, result: Any, patience: float = 7200.0) -> Any:
        """Let time pass until a coroutine or Deferred is done."""
        if not isinstance(result, Deferred):
            result = Deferred.fromCoroutine(result)
        return self.clock.wait(result, patience)
