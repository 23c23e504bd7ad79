"""Dialogs that stay on us: the marks that prove it, and the way back to a connected device.

The core keeps no dialog. What it has to know of one stands in the user part of the
Record-Route URIs that it wrote: a seal over the Call-ID, which shows later that the dialog
passed here, and, towards a device that is connected to us, the token of its flow.

Spec: RFC 3261 §16.6 step 4, §16.12; RFC 5626 §5.3
"""

from __future__ import annotations

from hashlib import blake2b
from hmac import compare_digest

from omaim.errors import PeerError
from omaim.net.endpoint import Endpoint
from omaim.sip.flow import TLS, Flow
from omaim.sip.job import Job
from omaim.sip.message import Request
from omaim.sip.neighbours import Neighbour
from omaim.sip.outbound import FlowTokens, flow_failed
from omaim.sip.proxying import own_uri, record_route
from omaim.sip.uri import SipUri, parse_uri


class Dialogs:
    """Marks dialogs and knows them again.

    Args:
        key: a secret of this core, the same in each of its processes and after a restart.
        tokens: names flows; of this process.
        domain: stands in URIs when there is no listener to name.
        record_routing: whether dialogs stay on us at all.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        key: bytes,
        tokens: FlowTokens,
        domain: str,
        record_routing: bool,
    ) -> None:
        self.record_routing = record_routing
        self._endpoint = endpoint
        self._key = blake2b(b"dialogs", key=key[:64], digest_size=32).digest()
        self._tokens = tokens
        self._domain = domain

    def record_routes(
        self, job: Job, flow: Flow | None, transport: str, sips: bool = False
    ) -> list[str]:
        """Return the Record-Route values for a request that makes a dialog.

        Args:
            flow: of a connected device that it goes to; ``None`` for other next hops.
            transport: by which it leaves.
            sips: the dialog is to stay on TLS.
        """
        arrived = job.transaction.flow
        up = down = self._seal(job.request.call_id)
        if job.neighbour is None:
            up = f"{up}.{self._tokens.make(arrived)}"
        if flow is not None:
            down = f"{down}.{self._tokens.make(flow)}"
        return record_route(self._at(arrived.transport, up, sips), self._at(transport, down, sips))

    def mark(self, call_id: str, flow: Flow | None = None) -> str:
        """Return the Record-Route value for a dialog with ourselves, which leads back here.

        Args:
            flow: by which the peer wants to be reached; ``None`` by its Contact.
        """
        user = self._seal(call_id)
        if flow is not None:
            user = f"{user}.{self._tokens.make(flow)}"
        return f"<{self._at('UDP', user, False)};lr>"

    def way(
        self, request: Request, visited: list[str], arrived: Flow, neighbour: Neighbour | None
    ) -> Flow | None:
        """Return the flow by which a request inside a dialog goes on, ``None`` by its routes.

        Whoever is outside the trust domain has to show that the dialog passed here.

        Args:
            visited: our URIs, taken off its Route.

        Raises:
            PeerError: it did not (403), or the flow is gone (430).

        Spec: RFC 3261 §16.12; RFC 5626 §5.3.1
        """
        proved = False
        token = ""
        seal = self._seal(request.call_id).encode()
        for text in visited:
            uri = parse_uri(text)
            if not isinstance(uri, SipUri):
                continue
            found, _, token = uri.user.partition(".")
            if compare_digest(found.encode("utf-8", "surrogateescape"), seal):
                proved = True
            else:
                token = ""
        if not proved and neighbour is None:
            raise PeerError("no such dialog passed here", 403)
        # The last is of the far side; the sender's own may well have changed its connection.
        return self._flow(token, arrived) if token and not request.has("Route") else None

    def find(self, token: str) -> Flow | None:
        """Return the open flow that a token names.

        Raises:
            PeerError: the token was not made by this process (403).
        """
        name = self._tokens.open(token)
        return self._endpoint.find_flow(
            f"{name.transport} {name.local_host} {name.local_port} "
            f"{name.remote_host} {name.remote_port} {name.serial}"
        )

    def _flow(self, token: str, arrived: Flow) -> Flow | None:
        """Return the flow that a token names, ``None`` when it is the one the request came by.

        A token from before we last started says nothing; the Request-URI may still do.
        """
        try:
            if self._tokens.open(token).names(arrived):
                return None
            found = self.find(token)
        except PeerError:
            return None
        if found is None:
            raise flow_failed()
        return found

    def _seal(self, call_id: str) -> str:
        octets = call_id.encode("utf-8", "surrogateescape")
        return blake2b(octets, key=self._key, digest_size=9).hexdigest()

    def _at(self, transport: str, user: str, sips: bool) -> str:
        secure = self._endpoint.uri(TLS, user) if sips else ""
        if secure:
            return "sips:" + secure[4:].partition(";")[0]
        for one in (transport, "TCP", "UDP", "TLS"):
            found = self._endpoint.uri(one, user)
            if found:
                return found
        return own_uri(self._domain, 0, "UDP", user)
