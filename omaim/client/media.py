"""The MSRP side of a client: one endpoint, which begins to listen with the first session.

Spec: RFC 4975 §5.4; RFC 6135 §4.2.2 (who cannot be connected to); RFC 8122
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from omaim.errors import Unavailable
from omaim.msrp import Limits
from omaim.net.msrp import TCP, TLS, MsrpEndpoint
from omaim.net.tls import TlsSettings
from omaim.roles.negotiation import Negotiation
from omaim.roles.relay_client import RelayClient

UNFINISHED: Final = 16  # messages of one session that a peer may leave half sent

LIMITS: Final = Limits(messages=UNFINISHED)

_log = Logger()


class Media:
    """What makes the MSRP sessions of one client.

    Args:
        make: makes the endpoint; gets who we are for TLS.
        host: returns our own address, once that is known.
        tls: makes who we are for TLS.
        relay: makes what asks our relay for ways through it; ``None`` without a relay.
    """

    def __init__(
        self,
        make: Callable[[TlsSettings], MsrpEndpoint],
        host: Callable[[], str],
        tls: Callable[[], TlsSettings],
        relay: Callable[[MsrpEndpoint], RelayClient] | None = None,
    ) -> None:
        self._make = make
        self._host = host
        self._tls = tls
        self._make_relay = relay
        self._relay: RelayClient | None = None
        self._tried: set[str] = set()
        self.endpoint: MsrpEndpoint | None = None

    async def negotiation(self, secure: bool = False) -> Negotiation:
        """Return what negotiates the sessions of one call.

        Where we cannot listen, or have a relay as nobody could connect to us, we connect
        ourselves.

        Args:
            secure: over TLS.

        Raises:
            Unavailable: the client was closed.
        """
        if self.endpoint is None:
            self.endpoint = self._make(self._tls())
            if self._make_relay is not None:
                self._relay = self._make_relay(self.endpoint)
        if self._relay is not None:
            return Negotiation(self.endpoint, vouch=True, ways=self._relay.authorize)
        await self._listen(self.endpoint, TCP)
        if secure:
            await self._listen(self.endpoint, TLS)
        return Negotiation(self.endpoint, vouch=True)

    async def _listen(self, endpoint: MsrpEndpoint, transport: str) -> None:
        host = self._host()
        if transport in self._tried or not host:
            return
        self._tried.add(transport)
        try:
            await endpoint.listen(transport, host)
        except Unavailable as error:
            _log.info("No MSRP peer can connect to us: {why}", why=str(error))

    def stop(self) -> Deferred[None]:
        """End all sessions and listen no more."""
        if self._relay is not None:
            self._relay.stop()
        return succeed(None) if self.endpoint is None else self.endpoint.stop()
