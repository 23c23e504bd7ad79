"""The client of MSRP relays: get a way through them, and keep it.

Plugin writers: make an endpoint's session with transport "TLS", ``await client.authorize(...)``
for it, put ``session.path`` into the SDP, and call :meth:`Passage.connect` when the peer's is
known. A way is renewed before it ends. Where the relay gives another one then, the peer has to be
told by a new offer, with a session that takes the place of the old one.

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

EARLY: Final = 0.8  # of its lifetime, after which a way is renewed at the latest
SPARE: Final = 90.0  # seconds before its end, so that it can be tried again; at most half of it
FIRST_WAIT: Final = 1.0  # seconds after a loss; doubled at each failure
LONGEST_WAIT: Final = 60.0
ENDED: Final = "our way through the relay has ended"
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
        released: nobody renews it any more.

    Spec: RFC 4976 §5.1
    """

    relays: tuple[MsrpUri, ...]
    session: Session
    expires: int
    connection: MsrpConnection = attrs.field(repr=False)
    released: bool = False
    _endpoint: MsrpEndpoint = attrs.field(repr=False, kw_only=True)
    _keeper: _Keeper | None = attrs.field(default=None, repr=False, init=False)

    def adopt(self, session: Session) -> None:
        """Be the way of this session, whose peer is not known yet; sets its relays and path.

        A session that takes the place of another one may have the way that was asked for by that.
        """
        self.session = session
        session.relays = self.relays
        session.path = (*reversed(self.relays), session.uri)

    def connect(self, remote_path: tuple[MsrpUri, ...], active: bool) -> None:
        """Let the session reach its peer by this way; see ``MsrpEndpoint.connect``."""
        self._endpoint.connect(self.session, remote_path, active, by=self.connection)

    def release(self) -> None:
        """Renew it no more; it remains valid until it expires, and ends its session then."""
        self.released = True
        if self._keeper is not None:
            self._keeper.let_go()


class _Keeper:
    """Renews one way before it ends; a session that is still there at its end is lost.

    Args:
        client: asks the relays.
        passage: to keep.
        on_renewed, on_failed: see :meth:`RelayClient.authorize`.
    """

    def __init__(
        self,
        client: RelayClient,
        passage: Passage,
        on_renewed: Callable[[Passage], object],
        on_failed: Callable[[OmaimError], object] | None,
    ) -> None:
        self._client = client
        self._passage = passage
        self._on_renewed = on_renewed
        self._on_failed = on_failed
        self._wait = FIRST_WAIT
        self._asking = False
        self._renewal: Any = None  # the calls that wait
        self._end: Any = None
        self._why = ENDED
        passage._keeper = self
        passage.connection.gone.addCallback(self._lost)
        self._begin()

    def let_go(self) -> None:
        """Renew it no more."""
        _cancel(self._renewal)
        if self._passage.session.state == CLOSED:
            self.stop()

    def stop(self) -> None:
        """Forget it."""
        self._passage.released = True
        _cancel(self._renewal)
        _cancel(self._end)
        self._client.kept.discard(self)

    def _begin(self) -> None:
        """The way has been given just now."""
        self._wait = FIRST_WAIT
        self._why = ENDED
        _cancel(self._end)
        expires = self._passage.expires
        self._end = self._client.clock.callLater(expires, self._over)
        self._again(max(expires * 0.5, min(expires * EARLY, expires - SPARE)))

    def _again(self, seconds: float) -> None:
        _cancel(self._renewal)
        self._renewal = self._client.clock.callLater(seconds, self._renew)

    def _over(self) -> None:
        """The way has ended: what still goes by it fails, and says so."""
        session = self._passage.session
        self.stop()
        if session.state != CLOSED and session.relays == self._passage.relays:
            self._client.endpoint.guarded(session.lost, self._why)

    def _renew(self) -> None:
        passage = self._passage
        if passage.session.state == CLOSED:
            self.stop()
        if not passage.released and not self._asking:
            self._asking = True
            asking = Deferred.fromCoroutine(self._client.ask(passage.session))
            asking.addCallbacks(self._renewed, self._failed).addErrback(_broken)

    def _renewed(self, other: Passage) -> None:
        self._asking = False
        passage = self._passage
        if passage.released:
            return
        if other.relays == passage.relays and other.connection is passage.connection:
            passage.expires = other.expires
            self._begin()
            return
        passage.release()
        self._client.keep(other, self._on_renewed, self._on_failed)
        self._on_renewed(other)

    def _failed(self, failure: Failure) -> None:
        self._asking = False
        passage = self._passage
        if passage.released:
            return
        error = failure.value
        if isinstance(error, PeerError):
            self._why = f"{ENDED}: {error}"
            _log.warn("A way through a relay is not renewed: {why}", why=str(error))
            passage.release()
            if self._on_failed is not None:
                self._on_failed(error)
            if passage.connection.over:
                self._over()
            return
        if not isinstance(error, Unavailable):
            passage.release()
            failure.raiseException()
        self._why = f"{ENDED}: {error}"
        self._again(self._wait)
        self._wait = min(LONGEST_WAIT, self._wait * 2)

    def _lost(self, result: None) -> None:
        """The connection to the relay is gone, and with it the way."""
        passage = self._passage
        if passage.session.state == CLOSED:
            self.stop()
        elif not passage.released and not self._asking:
            _cancel(self._end)  # nobody has said yet that it goes this way
            self._again(FIRST_WAIT * (0.5 + self._client.endpoint.ids.fraction()))


def _cancel(call: Any) -> None:
    if call is not None and call.active():
        call.cancel()


def _broken(failure: Failure) -> None:
    _log.failure("a way through a relay was not renewed", failure)


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

    Attributes:
        endpoint: as given.
        clock: as given.
        kept: what renews ways.

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
        self.endpoint = endpoint
        self.clock: Any = clock
        self.kept: set[_Keeper] = set()
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
            on_renewed: gets another way before this one expires, where the relay gives another
                one instead of renewing it, and after the connection to the relay was lost while
                the session had not begun. The session goes on by the old way until that ends;
                let one that takes its place :meth:`~Passage.adopt` the other way, and make the
                peer a new offer. A session that is closed, as it is when it loses its
                connection, gets no other: make a new one and :meth:`authorize` that. Without
                ``on_renewed`` nothing is renewed.
            on_failed: told when that cannot be done because the relay refuses. The session is
                lost when its way ends, and ``on_closed`` says why.

        Raises:
            NotAuthorized: a relay refused.
            Unavailable: it cannot be reached, or does not answer.

        Spec: RFC 4976 §5.1
        """
        passage = await self.ask(session)
        passage.adopt(session)
        if on_renewed is not None:
            self.keep(passage, on_renewed, on_failed)
        return passage

    def stop(self) -> None:
        """Renew nothing any more."""
        for keeper in list(self.kept):
            keeper.stop()

    def keep(
        self,
        passage: Passage,
        on_renewed: Callable[[Passage], object],
        on_failed: Callable[[OmaimError], object] | None,
    ) -> None:
        """Renew a way before it ends; see :meth:`authorize`."""
        self.kept.add(_Keeper(self, passage, on_renewed, on_failed))

    # One way

    async def ask(self, session: Session) -> Passage:
        """Return a way for a session, which does not know of it yet.

        Raises:
            NotAuthorized: a relay refused.
            Unavailable: it cannot be reached, or does not answer.
        """
        return await self._ask(await self._connection(), session)

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
        connection = self.endpoint.reach(
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
        return Passage(way, session, expires, connection, endpoint=self.endpoint)

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
        transaction = self.endpoint.means.transaction()
        own = str(session.uri).encode("ascii")
        data = write_request(transaction, b"AUTH", to, own, fields.encode("utf-8"))
        channel.turns.request(transaction, data, lambda status, head: answered.callback(head))
        head = await answered
        if head is None:
            raise Unavailable("the relay does not answer")
        if head.check():
            raise NotAuthorized(f"the relay's answer cannot be read: {head.wrong}")
        return head
