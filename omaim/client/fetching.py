"""Sessions in which our IM Server hands over what it keeps for us.

We invite the function that keeps it; it sends one message after the other, and hangs up.

Spec: OMA SIMPLE IM 1.0 (retrieval of deferred messages, of conversation history); RFC 4975 §7
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred

from omaim.bodies.mime import Part
from omaim.bodies.sdp import RECVONLY
from omaim.client.failures import NoAnswer
from omaim.client.large import LARGEST
from omaim.client.leg import Leg
from omaim.client.means import Means
from omaim.client.reading import Received, read_content
from omaim.client.talk import talk_types
from omaim.errors import PeerError
from omaim.msrp import CLOSED, Incoming, Session, SessionUser
from omaim.roles.negotiation import Wish
from omaim.sip.headers import NameAddr

PATIENCE: Final = 60.0  # seconds without a message until the server is given up
BEHIND: Final = 2.0  # seconds that the BYE may come behind the end of the connection
_CAUSE: Final = re.compile(r"cause\s*=\s*(\d+)")
_REFUSALS: Final = (403, 413, 415)  # that MSRP has

Take = Callable[[Received], object]
Fetch = Callable[[str, Part | None, Take], Awaitable[int]]


class Fetching:
    """One session of one client with a function that keeps something.

    Args:
        means: of the client.
        service: URI of the function.
        take: gets each message; what it raises as PeerError refuses it.
        accept: media types that are taken; those of the client if empty.
    """

    def __init__(
        self, means: Means, service: str, take: Take, accept: tuple[str, ...] = ()
    ) -> None:
        self._accept = accept or means.accept
        self._means = means
        self._service = service
        self._take = take
        self._count = 0
        self._late: Any = None
        self._over: Deferred[str] = Deferred()
        self._wish = Wish(
            SessionUser(self._begins, on_closed=self._closed),
            talk_types(self._accept),
            max_size=LARGEST,
            direction=RECVONLY,
        )

    async def run(self, wanted: Part | None) -> int:
        """Return how many messages came, when the function has hung up.

        Args:
            wanted: the list of what is to come; without it everything.

        Raises:
            NoAnswer: nothing has come for too long, or the connection was lost.
            Failure: another subclass by what the network answered.
        """
        parts = () if wanted is None else (wanted,)
        leg = await Leg.invite(self._means, self._service, [self._wish], parts=parts)
        medium = leg.media[0]
        if leg.over:
            self._end("")
        elif medium is None or medium.session.state == CLOSED:
            self._end("the MSRP session could not be connected")
        else:
            leg.ending.append(lambda _: self._hung_up(leg.call.ending))
        self._wait(PATIENCE, f"nothing came for {PATIENCE:g} s")
        try:
            why = await self._over
        finally:
            self._wait(0.0, "")
            leg.abandon("")
        if why:
            raise NoAnswer(0, why)
        return self._count

    def _begins(self, session: Session, incoming: Incoming) -> None:
        incoming.collect(LARGEST, lambda body: self._whole(incoming, body))

    def _whole(self, incoming: Incoming, body: bytes) -> None:
        try:
            self._take(self._read(incoming.content_type, body))
        except PeerError as error:
            status = error.status if error.status in _REFUSALS else 400
            incoming.refuse(status, error.why[:60])
            return
        self._count += 1
        self._wait(PATIENCE, f"nothing came for {PATIENCE:g} s")

    def _read(self, content_type: str, body: bytes) -> Received:
        """Return a message, by whom its envelope says: our server has looked at that."""
        peer = NameAddr(self._service)
        found = read_content(content_type, body, self._accept, peer, True)
        author = None if found.envelope is None else found.envelope.from_
        return found if author is None else attrs.evolve(found, sender=author.uri)

    def _hung_up(self, reason: str) -> None:
        cause = _CAUSE.search(reason)
        self._end("" if cause is None or cause[1] == "200" else f"the server gave up: {reason}")

    def _closed(self, session: Session, why: str) -> None:
        # The BYE may be behind the end of the connection.
        self._wait(BEHIND, why or "the connection was lost")

    def _wait(self, seconds: float, why: str) -> None:
        """Be over after a time, and not when was said before; 0 for never."""
        if self._late is not None and self._late.active():
            self._late.cancel()
        if seconds and not self._over.called:
            self._late = self._means.clock.callLater(seconds, self._end, why)

    def _end(self, why: str) -> None:
        if not self._over.called:
            self._over.callback(why)
