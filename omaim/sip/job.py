"""One request on its way through a proxy that serves users."""

from __future__ import annotations

from typing import final

from omaim.sip.charging import ChargingVector
from omaim.sip.message import Request
from omaim.sip.neighbours import Neighbour
from omaim.sip.relaying import Relay
from omaim.sip.subscribed import Served
from omaim.sip.transaction import ServerTransaction


@final
class Job:
    """One request on its way through the proxy.

    Attributes:
        transaction: to be answered.
        request: preprocessed; what is forwarded are copies.
        neighbour: who sent it, ``None`` for a user or a stranger.
        loop: ends our branches, see :func:`omaim.sip.proxying.loop_part`.
        skip: the application server that made the request and need not see it again.
        vector: its charging vector, ``None`` in a plain SIP network.
        served: the sender, once it has proved who it is.
        terminating: the callee is ours.
        relay: where it goes now; ``None`` for a request that makes no dialog and has one next
            hop.
        looked_up: we have waited once for the address of a server.
        open: it waits for its final response.
        silent: the application servers that said nothing to it; they may have it all the same.
        visit: at the application server that passed it on to us, ``None`` for others.
    """

    __slots__ = (
        "looked_up",
        "loop",
        "neighbour",
        "open",
        "relay",
        "request",
        "served",
        "silent",
        "skip",
        "terminating",
        "transaction",
        "vector",
        "visit",
    )

    def __init__(
        self,
        transaction: ServerTransaction,
        request: Request,
        neighbour: Neighbour | None,
        loop: str,
    ) -> None:
        self.transaction = transaction
        self.request = request
        self.neighbour = neighbour
        self.loop = loop
        self.skip = ""
        self.vector: ChargingVector | None = None
        self.served: Served | None = None
        self.terminating = False
        self.relay: Relay | None = None
        self.looked_up = False
        self.open = True
        self.silent: tuple[str, ...] = ()
        self.visit: object = None

    @property
    def stranger(self) -> bool:
        """Nobody has vouched for the sender, and it has not proved who it is."""
        return self.neighbour is None and self.served is None
