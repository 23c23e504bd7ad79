"""The client of MSRP relays: get a way through them, and keep it.

Plugin writers: make an endpoint's session with transport "TLS", ``await client.authorize(...)``
for it, put ``session.path`` into the SDP, and call :meth:`Passage.connect` when the peer's is
known. A way that ends is replaced by another one, which the peer has to be told by a new offer.

Spec: RFC 4976 §5, §8, §9
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import OmaimError, PeerError, Unavailable
from omaim.msrp.frame import COMMENTS, Head, write_request
from omaim.msrp.session import CLOSED, Session
from omaim.msrp.uri import MsrpUri, parse_path, write_path
from omaim.net.msrp import MsrpEndpoint
from omaim.net.msrp_connection import Hop, MsrpConnection
from omaim.sip.answering import Answerer
from omaim.sip.digest import ALGORITHMS
from omaim.sip.locating import is_numeric

EARLY: Final = 0.8  # of its lifetime, after which a way is replaced
FIRST_WAIT: Final = 1.0  # seconds after a loss; doubled at each failure
LONGEST_WAIT: Final = 60.0
_TRIES: Final = 5  # of one AUTH, whatever the relay says to it

_log = Logger()


class NotAuthorized(PeerError):
    """A relay refused; carries the status."""


@attrs.define(eq=False)
class Passage:
    """A way through our relays, for one session.

    Attributes:
        relays: the beginning of To-Path: what Use-Path said.
        session: the session that it is for.
        expires: seconds it is valid from the time when it was given.
        connection: on which alone it is valid.
        released: nobody keeps it any more.

    Spec: RFC 4976 §5.1
    """

    relays: tuple[MsrpUri, ...]
    session: Session
    expires: int
    connection: MsrpConnection = attrs.field(repr=False)
    released: bool = False
    _endpoint: MsrpEndpoint = attrs.field(repr=False, kw_only=True)
    _call: Any = attrs.field(default=None, repr=False, init=False)

    def connect(self, remote_path: tuple[MsrpUri, ...], active: bool) -> None:
        """Let the session reach its peer by this way; see ``MsrpEndpoint.connect``."""
        self._endpoint.connect(self.session, remote_path, active, by=self.connection)

    def release(self) -> None:
        """Keep it no more; it remains valid until it expires."""
        self.released = True
        if self._call is not None and self._call.active():
            self._call.cancel()


class RelayClient:
    """Asks relays for ways through them, with one user's credentials.

    Args:
        endpoint: whose sessions go through the relays.
        clock: the reactor, or virtual time.
        relays: their URIs, the one nearest to us first. Where one without a port is, the DNS
            knows.
        expires: seconds wished; 0 leaves it to the relay.
        algorithms: of the digest, that we are willing to use.
        plain: speak to a relay of the scheme "msrp" without TLS: for laboratories.

    Spec: RFC 4976 §5.1
    """

    def __init__(
        self,
        endpoint: MsrpEndpoint,
        clock: IReactorTime,
        relays: tuple[MsrpUri, ...],
        username: str,
        password: str,
        *,
        expires: int = 0,
        algorithms: tuple[str, ...] = ALGORITHMS,
        plain: bool = False,
    ) -> None:
        if not relays:
            raise PeerError("name at least one relay")
        self._endpoint = endpoint
        self._clock: Any = clock
        self._relays = relays
        self._expires = expires
        # One for each: even with a common realm, they do not know each other's nonces.
        self._answerers = {
            relay: Answerer(username, password, endpoint.ids, algorithms) for relay in relays
        }
        self._plain = plain

    async def authorize(
        self,
        session: Session,
        on_renewed: Callable[[Passage], object] | None = None,
        on_failed: Callable[[OmaimError], object] | None = None,
    ) -> Passage:
        """Get a way for a session, which is not connected yet; sets its ``relays`` and ``path``.

        Args:
            on_renewed: gets another way for the same session before this one expires, and after
                the connection to the relay was lost while the session had not begun; from then
                on, that one counts, and the peer needs a new offer. A session that is closed,
                as it is when it loses its connection, gets no other: make a new one and
                :meth:`authorize` that. Without, nothing is kept.
            on_failed: told when that cannot be done because the relay refuses.

        Raises:
            NotAuthorized: a relay refused.
            Unavailable: it cannot be reached, or does not answer.

        Spec: RFC 4976 §5.1
        """
        connection = await self._connection()
        passage = await self._ask(connection, session)
        if on_renewed is not None:
            self._keep(passage, on_renewed, on_failed)
        return passage

    # Keeping

    def _keep(
        self,
        passage: Passage,
        on_renewed: Callable[[Passage], object],
        on_failed: Callable[[OmaimError], object] | None,
    ) -> None:
        wait = [FIRST_WAIT]
        asking = [False]

        async def renew() -> Passage:
            connection = await self._connection()
            return await self._ask(connection, passage.session)

        def begin() -> None:
            if passage.session.state == CLOSED:
                passage.release()
            if not passage.released and not asking[0]:
                asking[0] = True
                Deferred.fromCoroutine(renew()).addCallbacks(renewed, failed).addErrback(broken)

        def renewed(other: Passage) -> None:
            if passage.released:
                return
            passage.release()
            self._keep(other, on_renewed, on_failed)
            on_renewed(other)

        def failed(failure: Failure) -> None:
            asking[0] = False
            if passage.released:
                return
            error = failure.value
            if isinstance(error, PeerError):
                passage.release()
                if on_failed is not None:
                    on_failed(error)
                return
            if not isinstance(error, Unavailable):
                passage.release()
                failure.raiseException()
            again(wait[0])
            wait[0] = min(LONGEST_WAIT, wait[0] * 2)

        def broken(failure: Failure) -> None:
            _log.failure("a way through a relay was not renewed", failure)

        def again(seconds: float) -> None:
            if passage._call is not None and passage._call.active():
                passage._call.cancel()
            passage._call = self._clock.callLater(seconds, begin)

        def lost(result: None) -> None:
            if not passage.released and not asking[0]:
                again(FIRST_WAIT * (0.5 + self._endpoint.ids.fraction()))

        again(passage.expires * EARLY)
        passage.connection.gone.addCallback(lost)

    # One way

    async def _connection(self) -> MsrpConnection:
        """Return a connection to the first relay.

        Spec: RFC 4976 §8
        """
        first = self._relays[0]
        host, port = first.bare_host.lower(), first.port
        if not first.secure and not self._plain:
            raise Unavailable("a relay has to be asked over TLS: write msrps:")
        if is_numeric(host) and not port:
            raise Unavailable("a relay known by its address needs a port")
        connection = self._endpoint.reach(
            Hop(host, port, first.secure, host if first.secure else "", ours=True)
        )
        up: Deferred[str] = Deferred()
        connection.when_up(up.callback)
        why = await up
        if why:
            raise Unavailable(f"the relay {host} cannot be reached: {why}")
        return connection

    async def _ask(self, connection: MsrpConnection, session: Session) -> Passage:
        """Ask one relay after the other, each through those before it."""
        way: tuple[MsrpUri, ...] = ()
        expires = 0
        for relay in self._relays:
            head = await self._authorize(connection, session, way, relay)
            field = head.get(b"Use-Path")
            seconds = head.get(b"Expires")
            if field is None or seconds is None or not seconds.isdigit():
                raise NotAuthorized(f"{relay.host} gave no URI, or not for how long")
            way = parse_path(field.decode("ascii", "replace"))
            expires = min(expires or int(seconds), int(seconds))
        session.relays = way
        session.path = (*reversed(way), session.uri)
        return Passage(way, session, expires, connection, endpoint=self._endpoint)

    async def _authorize(
        self,
        connection: MsrpConnection,
        session: Session,
        way: tuple[MsrpUri, ...],
        relay: MsrpUri,
    ) -> Head:
        """Send AUTH to a relay until it gives in; return its 200."""
        to = write_path((*way, relay)).encode("ascii")
        answerer = self._answerers[relay]
        expires = self._expires
        tries = 0
        for _ in range(_TRIES):
            sent = "".join(value for _, value in answerer.answers("AUTH", str(relay), b"")[:1])
            fields = f"Expires: {expires}\r\n" if expires else ""
            fields += f"Authorization: {sent}\r\n" if sent else ""
            head = await self._request(connection, to, session, fields)
            status = head.status
            if status == 200:
                self._confirm(relay, sent, head)
                return head
            bounds = head.get(b"Min-Expires") or head.get(b"Max-Expires")
            if status == 423 and bounds is not None and bounds.isdigit():
                expires = int(bounds)
                continue
            if status == 401:
                values = (head.get(b"WWW-Authenticate") or b"").decode("utf-8", "replace")
                if answerer.take("WWW-Authenticate", values.split("\r\n"), tries):
                    tries += 1
                    continue
            break
        comment = head.comment.decode("utf-8", "replace") or COMMENTS.get(status, "")
        raise NotAuthorized(f"{relay.host} refused: {status} {comment}".strip(), status)

    def _confirm(self, relay: MsrpUri, sent: str, head: Head) -> None:
        """See to it that the relay knows the password, too (§9.1)."""
        info = (head.get(b"Authentication-Info") or b"").decode("utf-8", "replace")
        if not sent or not info or not self._answerers[relay].confirm(sent, info, b""):
            raise NotAuthorized(f"{relay.host} did not prove that it knows the password")

    async def _request(
        self, connection: MsrpConnection, to: bytes, session: Session, fields: str
    ) -> Head:
        channel = connection.channel
        if channel is None or connection.over:
            raise Unavailable("the connection to the relay ended")
        answered: Deferred[Head | None] = Deferred()
        transaction = self._endpoint.means.transaction()
        own = str(session.uri).encode("ascii")
        data = write_request(transaction, b"AUTH", to, own, fields.encode("utf-8"))
        channel.turns.request(transaction, data, lambda status, head: answered.callback(head))
        head = await answered
        if head is None:
            raise Unavailable("the relay does not answer")
        if head.check():
            raise NotAuthorized(f"the relay's answer cannot be read: {head.wrong}")
        return head
