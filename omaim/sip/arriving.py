"""What arrives, until the transactions take it: checked, stamped, told whether it is ours.

Spec: RFC 3261 §18.1.2, §18.2; RFC 3581 §4
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.errors import PeerError
from omaim.sip.flow import UDP, Flow
from omaim.sip.headers import Via
from omaim.sip.locating import default_port
from omaim.sip.matching import Transactions
from omaim.sip.message import Request, Response
from omaim.sip.parser import BadMessage, check

Elsewhere = Callable[[tuple[str, int], Flow], Flow | None]


@final
class Arrivals:
    """The last steps of the way in of one endpoint.

    Args:
        transactions: take what is good.
        sent_by: what our Vias say; it may grow.
        elsewhere: returns the path for answers to an address by the socket of a flow, ``None``
            where that is the flow itself or there is no such path.
        on_alias: gets the Via of a request that asks for its connection to be used the other
            way too (RFC 5923 §4), and its flow.
    """

    __slots__ = ("_elsewhere", "_on_alias", "_sent_by", "_transactions")

    def __init__(
        self,
        transactions: Transactions,
        sent_by: set[str],
        elsewhere: Elsewhere,
        on_alias: Callable[[Via, Flow], None],
    ) -> None:
        self._transactions: Final = transactions
        self._sent_by: Final = sent_by
        self._elsewhere: Final = elsewhere
        self._on_alias: Final = on_alias

    def take(self, message: Request | Response, flow: Flow, now: float) -> bool:
        """Give a message to the transactions.

        Returns:
            False for a response to somebody else's request, which is dropped.

        Raises:
            BadMessage: it may not be acted on.
        """
        check(message)
        reply_to: Flow | None = None
        if isinstance(message, Request):
            via = message.via
            try:
                stamp(message, flow)
            except PeerError as error:
                raise BadMessage(error.why, error.status, message)
            if flow.reliable:
                if via.params.has("alias"):
                    self._on_alias(via, flow)
            elif not via.params.has("rport") and via.port != flow.remote_port:
                reply_to = self._elsewhere(answer_address(via, flow), flow)
        elif message.via.sent_by not in self._sent_by:
            return False
        self._transactions.receive(message, flow, now, reply_to)
        return True


def stamp(request: Request, flow: Flow) -> None:
    """Write into the top Via where the request really came from.

    What a sender claims in "received" is never believed.

    Raises:
        PeerError: the Via is missing or broken.

    Spec: RFC 3261 §18.2.1; RFC 3581 §4
    """
    via = request.via
    source = flow.remote_host
    asked = via.rport >= 0
    if asked or via.host.strip("[]") != source or via.params.has("received"):
        request.replace_via(via.stamped(source, flow.remote_port))


def answer_address(via: Via, flow: Flow) -> tuple[str, int]:
    """Return where answers to a request over UDP go; ``via`` is as it came.

    Spec: RFC 3261 §18.2.2; RFC 3581 §4

    Differs: a maddr is not followed. It is for multicast, which is not spoken here, and would
    let anybody, without forging an address even, have our answers sent to a victim.
    """
    if via.rport >= 0:
        return flow.remote_host, flow.remote_port
    return flow.remote_host, via.port or default_port(UDP)
