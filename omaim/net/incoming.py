"""What arrives: shown to who watches, parsed, given on; or answered as bad.

Spec: RFC 3261 §8.2, §18.3; RFC 5923 §5; RFC 5626 §8
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from omaim.errors import PeerError
from omaim.net.connection import Connection
from omaim.net.tls import names_domain
from omaim.net.wire import IN
from omaim.sip.arriving import Arrivals, answer_address, stamp
from omaim.sip.flow import TLS, UDP, Flow
from omaim.sip.headers import Via
from omaim.sip.locating import default_port
from omaim.sip.message import Request, Response, error_response
from omaim.sip.parser import SILENCE, BadMessage, Limits
from omaim.sip.stun import answer, is_stun
from omaim.sip.transport import Arriving, DatagramPaths

if TYPE_CHECKING:
    from omaim.net.endpoint import Endpoint

LOG_PAUSE: Final = 1.0  # seconds between two lines about bad input
MARGIN: Final = 128  # octets that our answer may be larger than bad input by UDP

_log = Logger()


class Incoming:
    """The way in of one endpoint.

    Args:
        endpoint: whose.
        limits: what a message may be.
    """

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._flows = endpoint.flows
        self._arrivals = Arrivals(
            endpoint.transactions,
            endpoint.flows.sent_by,
            endpoint.flows.answering,
            self._note_alias,
        )
        self._wire = endpoint.wire
        self._now = endpoint.now
        self._log_at = 0.0

    def datagrams(self, paths: DatagramPaths) -> Callable[[bytes, Any], None]:
        """Return what takes the datagrams of one socket."""
        arriving = Arriving(
            paths,
            self._arrivals,
            self._limits,
            self._now,
            self._endpoint.driver.wakeup,
            self._wire.watch,
            self._keep_alive,
            self._show,
            self._bad,
            self._endpoint.count,
        )
        return arriving.received

    def _show(self, flow: Flow, data: bytes) -> None:
        if data.strip(SILENCE):
            self._endpoint.show(IN, flow, data)

    def _keep_alive(self, data: bytes, flow: Flow) -> bool:
        """Answer the keep-alive of a datagram flow, if it is one (RFC 5626 §5.4, §8)."""
        if not is_stun(data):
            return False
        self._endpoint.count("keepalive")
        reply = answer(data, flow.remote_host, flow.remote_port)
        if reply is not None and flow.open:
            flow.send(reply)
        return True

    def from_stream(self, item: Request | Response | BadMessage, flow: Flow, now: float) -> None:
        """Take one message from a stream, or what is wrong with it."""
        try:
            if isinstance(item, BadMessage):
                raise item
            if self._wire.record is not None:
                self._endpoint.show(IN, flow, item.to_bytes())
            if not self._arrivals.take(item, flow, now):
                self._endpoint.count("response_foreign")
        except BadMessage as error:
            self._bad(error, flow, 0)
        except Exception:
            self._endpoint.crashed()

    def _note_alias(self, via: Via, flow: Flow) -> None:
        """Let requests to the peer's own port use the connection that it opened.

        Only where its verified certificate names the host in its Via: anybody may write a
        Via, and would otherwise draw another's requests to himself.

        Spec: RFC 5923 §5, §8
        """
        connection = flow.connection
        if (
            flow.transport == TLS
            and isinstance(connection, Connection)
            and names_domain(flow.peer_names, via.host)
        ):
            self._endpoint.connections.know(connection, via.port or default_port(TLS))

    def _bad(self, error: BadMessage, flow: Flow, size: int) -> None:
        """Answer bad input where that is possible and cannot be turned against others.

        Args:
            size: of a datagram, whose source may be forged; 0 on a stream.

        Spec: RFC 3261 §8.2, §18.3
        """
        endpoint = self._endpoint
        endpoint.count("malformed")
        now = self._now()
        if now >= self._log_at:
            self._log_at = now + LOG_PAUSE
            _log.info(
                "{name}: bad SIP from {host}: {why}",
                name=endpoint.name,
                host=flow.remote_host,
                why=error.why,
            )
        request = error.request
        if request is None or request.method == "ACK":
            return
        reply_to = flow
        try:
            via = request.via
            if flow.transport == UDP:
                reply_to = self._flows.answering(answer_address(via, flow), flow) or flow
            stamp(request, flow)
            response = error_response(request, error, endpoint.ids.tag())
            if size and len(response.to_bytes()) > size + MARGIN:
                response.remove("Warning")
            data = response.to_bytes()
        except PeerError:
            return  # without a good Via there is no way back
        if not size or len(data) <= size + MARGIN:
            endpoint.write(reply_to, data)
        endpoint.arm()
