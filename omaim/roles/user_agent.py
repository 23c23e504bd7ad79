"""A user agent: send a request and await its final answer; answer what comes in.

Plugin writers: make requests with :meth:`UserAgent.make` and ``await`` :meth:`UserAgent.request`;
give :meth:`UserAgent.on` a function for each method that you answer. The other roles of this
package stand on one :class:`UserAgent` each.

Spec: RFC 3261 §8, §11, §22
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from omaim.errors import PeerError
from omaim.net.endpoint import Endpoint
from omaim.roles.incoming import Answer, Incoming, perform
from omaim.sip.answering import Answerer
from omaim.sip.dialog import DialogId, incoming_id
from omaim.sip.exchange import Exchange
from omaim.sip.flow import Flow
from omaim.sip.headers import NameAddr
from omaim.sip.locating import Target
from omaim.sip.message import Request, Response, error_response
from omaim.sip.transaction import ServerTransaction
from omaim.sip.uri import SipUri
from omaim.timers import Alarm

KNOWN_METHODS: Final = frozenset(
    (
        "INVITE",
        "ACK",
        "BYE",
        "CANCEL",
        "OPTIONS",
        "REGISTER",
        "MESSAGE",
        "SUBSCRIBE",
        "NOTIFY",
        "PUBLISH",
        "REFER",
        "INFO",
        "UPDATE",
        "PRACK",
    )
)
MOST_REDIRECTIONS: Final = 5  # addresses tried because a 3xx named them
_MAKES_DIALOG: Final = ("INVITE", "SUBSCRIBE", "REFER", "NOTIFY")
_CREDENTIALS: Final = ("Authorization", "Proxy-Authorization")
_CHALLENGES: Final = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}
_ANSWERABLE: Final = ("sip", "sips", "tel", "im", "pres")  # schemes of Request-URIs

_log = Logger()


class UserAgent:
    """One user's, or one server's, sending and answering side on an endpoint.

    Args:
        endpoint: sends and receives.
        identity: our address, as "sip:alice@example.org".
        contact: our Contact value, as "<sip:alice@192.0.2.1:5060>"; "" lets requests go
            without, which is right for MESSAGE.
        credentials: answers challenges; ``None`` hands 401 and 407 to the caller.
        routes: Route values for requests outside a dialog, the outbound proxy first.
        display: our name in From.
        supported: option tags that we understand, for Supported and Require.
        accept: media types that we take, for OPTIONS and 415.
        headers: header fields for every request that :meth:`make` makes.

    Attributes:
        routes: may be replaced any time; a registration puts its Service-Route there.
        contact: may be replaced any time; a registration puts a GRUU there.
        allow_events: event packages that we serve, for Allow-Events.
        on_flow_closed: who wants to hear of each stream flow that is gone.

    Spec: RFC 3261 §8.1, §8.2
    """

    def __init__(
        self,
        endpoint: Endpoint,
        identity: str,
        *,
        contact: str = "",
        credentials: Answerer | None = None,
        routes: Iterable[str] = (),
        display: str = "",
        supported: Iterable[str] = (),
        accept: Iterable[str] = (),
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.endpoint = endpoint
        self.ids = endpoint.ids
        self.identity = identity
        self.contact = contact
        self.credentials = credentials
        self.routes: tuple[str, ...] = tuple(routes)
        self.local = str(NameAddr(identity, display))
        self.supported: set[str] = set(supported)
        self.accept: list[str] = list(accept)
        self.allow_events: set[str] = set()
        self.headers: tuple[tuple[str, str], ...] = tuple(headers)
        self.on_flow_closed: list[Callable[[Flow], object]] = []
        self._answers: dict[str, tuple[Answer, bool]] = {}
        self._dialogs: dict[DialogId, Answer] = {}
        self._acknowledged: dict[DialogId, Callable[[Request], object]] = {}
        self.on("OPTIONS", self.options)

    @property
    def contact_uri(self) -> str:
        """The URI of :attr:`contact`, "" when there is none."""
        return NameAddr.parse(self.contact).uri_text if self.contact else ""

    # Time, for the machines of the roles.

    def now(self) -> float:
        """Return monotonic seconds."""
        return self.endpoint.driver.now()

    def arm(self, alarm: Alarm) -> None:
        """Let ``alarm`` ring at its deadline; say so after each change of it."""
        driver = self.endpoint.driver
        driver.deadlines.arm(alarm)
        driver.arm()

    # Sending.

    def make(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        to: str = "",
    ) -> Request:
        """Return a request outside any dialog, complete but for the Via.

        Args:
            method: any.
            target: Request-URI.
            headers: more header fields, with the Content-Type if there is a body.
            body: octets.
            to: To value; the target in brackets if empty.

        Spec: RFC 3261 §8.1.1
        """
        ids = self.ids
        fields: list[tuple[str, str]] = [("Route", route) for route in self.routes]
        fields += [
            ("Max-Forwards", "70"),
            ("From", f"{self.local};tag={ids.tag()}"),
            ("To", to or f"<{target}>"),
            ("Call-ID", ids.call_id()),
            ("CSeq", f"1 {method}"),
        ]
        if method in _MAKES_DIALOG and self.contact:
            fields.append(("Contact", self.contact))
        fields += self.headers
        fields += headers
        return Request.make(method, target, fields, body)

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
        """Send a request and return its final response.

        A challenge is answered once, and once more when its nonce was stale; a 3xx is
        followed to at most ``redirections`` addresses. No answer at all is a 408, a broken
        connection a 503, both with ``local`` set; how long a server wants to be left alone
        tells :func:`omaim.sip.pacing.retry_after`. Cancelling the Deferred that awaits this
        gives up: an INVITE is cancelled.

        Args:
            request: stays as it is; what goes out are copies.
            provisional: gets every 1xx.
            flow: the path to take, instead of looking for one.
            targets: where to go, instead of asking the resolver.
            next_seq: gives the CSeq number of a request that is sent again; a dialog's
                :meth:`~omaim.sip.dialog.Dialog.next_seq`. One more than before if ``None``.
            redirections: 0 hands a 3xx to the caller.
            sent: gets the exchange of each attempt, which knows its flow.
            again: gets each 2xx of an INVITE after the first, which wants its ACK, too.
            credentials: answers the challenges; those of the agent if ``None``.

        Spec: RFC 3261 §8.1.3, §12.2.1.2, §22.2, §22.3
        """
        credentials = credentials or self.credentials
        search = _Search(request, redirections)
        begun = _Begun(sent)
        tries = 0
        uri = request.uri
        attempt = request.copy()
        if credentials is not None:
            self._sign(attempt, credentials)
        while True:
            signed = attempt.first("Authorization") or ""
            response = await self._once(attempt, provisional, flow, targets, begun, again)
            challenge = _CHALLENGES.get(response.status)
            if challenge is not None:
                if credentials is None:
                    return response
                if not credentials.take(challenge, response.all(challenge), tries):
                    return response
                tries += 1
                if begun.target is not None:
                    # To the server that asked, not to one that had failed before it.
                    rest = [one for one in targets or () if one != begun.target]
                    targets = [begun.target, *rest]
            else:
                if credentials is not None and response.status < 300 and signed:
                    _confirm(credentials, signed, response)
                uri = search.following(response)
                if not uri:
                    return response
                targets = flow = None
            number = attempt.cseq.number + 1 if next_seq is None else next_seq()
            attempt = request.copy()
            attempt.uri = uri
            attempt.set("CSeq", f"{number} {request.method}")
            if challenge is not None and credentials is not None:
                self._sign(attempt, credentials)

    def _sign(self, request: Request, credentials: Answerer) -> None:
        lines = credentials.answers(request.method, request.uri, request.body)
        if lines:
            for name in _CREDENTIALS:
                request.remove(name)
            for name, value in lines:
                request.add(name, value)

    def _once(
        self,
        request: Request,
        provisional: Callable[[Response], object] | None,
        flow: Flow | None,
        targets: list[Target] | None,
        begun: _Begun,
        again: Callable[[Response], object] | None,
    ) -> Deferred[Response]:
        final: Deferred[Response] = Deferred(lambda _: exchange.cancel())

        def responded(response: Response) -> None:
            if response.status >= 200:
                if not final.called:
                    final.callback(response)
                elif again is not None and response.status < 300:
                    again(response)
            elif provisional is not None:
                provisional(response)

        exchange = self.endpoint.send(request, responded, flow=flow, targets=targets)
        begun.note(exchange)
        return final

    # Answering.

    def attach(self) -> None:
        """Answer everything that the endpoint receives, and hear of its lost flows.

        An entity with a door of its own calls :meth:`receive`, :meth:`acknowledge`,
        :meth:`cancel` and :meth:`flow_closed` instead.
        """
        self.endpoint.on_request = self.receive
        self.endpoint.on_ack = self.acknowledge
        self.endpoint.on_cancel = self.cancel
        self.endpoint.on_flow_closed = self.flow_closed

    def flow_closed(self, flow: Flow) -> None:
        """A stream is gone; tell who has to do something about it."""
        for hear in list(self.on_flow_closed):
            hear(flow)

    def on(self, method: str, answer: Answer, *, dialogs: bool = False) -> None:
        """Answer a method from now on.

        Args:
            method: upper case.
            answer: takes an :class:`~omaim.roles.incoming.Incoming` and returns the
                response, or ``None`` when it responds itself; it may be a coroutine. A
                :class:`~omaim.errors.PeerError` that it raises becomes the response.
            dialogs: it finds the dialogs of its requests itself; otherwise a request with
                a To tag, and no dialog that is known here, is answered 481.
        """
        self._answers[method] = (answer, dialogs)

    def on_dialog(
        self,
        dialog: DialogId,
        answer: Answer,
        acknowledged: Callable[[Request], object] | None = None,
    ) -> None:
        """Let the requests of one dialog go to ``answer``, whatever their method.

        Args:
            dialog: one whose remote tag is "" takes the requests of peers whose tags are
                not known here.
            answer: as :meth:`on` takes it; it looks at Require itself.
            acknowledged: gets the ACKs for 2xx, repeated ones too.
        """
        self._dialogs[dialog] = answer
        if acknowledged is not None:
            self._acknowledged[dialog] = acknowledged

    def off_dialog(self, dialog: DialogId) -> None:
        """Forget a dialog, if it is known."""
        self._dialogs.pop(dialog, None)
        self._acknowledged.pop(dialog, None)

    def knows(self, request: Request) -> bool:
        """Tell whether a request, which may be an ACK, belongs to a dialog that is known here."""
        return bool(request.to.tag) and self._usage(request) is not None

    def _usage(self, request: Request) -> Answer | None:
        dialog = incoming_id(request)
        usage = self._dialogs.get(dialog)
        return self._dialogs.get((dialog[0], dialog[1], "")) if usage is None else usage

    def answer_of(self, method: str) -> Answer | None:
        """Return who finds the dialogs of a method itself, as :meth:`on` was told."""
        entry = self._answers.get(method)
        return entry[0] if entry is not None and entry[1] else None

    @property
    def allow(self) -> str:
        """The Allow value."""
        extra = ["ACK", "CANCEL"] if "INVITE" in self._answers else []
        return ", ".join([*self._answers, *extra])

    def receive(self, transaction: ServerTransaction) -> None:
        """Answer a request, or have it answered.

        Spec: RFC 3261 §8.2, §12.2.2
        """
        incoming = Incoming(self.endpoint, transaction)
        if transaction.invite:
            transaction.context = incoming
            transaction.tag = incoming.tag  # that of the answer to a CANCEL, too (RFC 3261 §9.2)
        try:
            answer = self._choose(incoming.request, incoming)
        except PeerError as error:
            incoming.refuse(error)
            return
        if answer is not None:
            perform(incoming, answer)

    def acknowledge(self, request: Request, flow: Flow) -> None:
        """An ACK for a 2xx is here; those of no dialog that is known are left alone.

        Spec: RFC 3261 §13.3.1.4
        """
        take = self._acknowledged.get(incoming_id(request))
        if take is not None:
            take(request)

    def cancel(self, transaction: ServerTransaction, cancel: Request) -> None:
        """An INVITE is to be given up; the CANCEL itself has been answered.

        Spec: RFC 3261 §9.2
        """
        incoming = transaction.context
        if isinstance(incoming, Incoming) and incoming.on_cancel is not None:
            incoming.on_cancel(cancel)
        else:
            self.endpoint.reply(transaction, 487)

    def _choose(self, request: Request, incoming: Incoming) -> Answer | None:
        """Return who answers; raise, or answer and return ``None``, if nobody may."""
        entry = self._answers.get(request.method)
        if request.to.tag:
            usage = self._usage(request)
            if usage is not None:
                return usage
        if entry is None:
            known = request.method in KNOWN_METHODS
            incoming.reply(405 if known else 501, [("Allow", self.allow)])
            return None
        if request.request_uri.scheme not in _ANSWERABLE:
            raise PeerError("no such scheme is served here", 416)
        if not self.understands(incoming):
            return None
        answer, dialogs = entry
        if request.to.tag and not dialogs:
            raise PeerError("no such dialog", 481)
        if not request.to.tag and not self.endpoint.transactions.claim(
            incoming.transaction, self.now()
        ):
            return None
        return answer

    def understands(self, incoming: Incoming) -> bool:
        """Tell whether a request needs nothing that is unknown here; else refuse it.

        Spec: RFC 3261 §8.2.2.3, §8.2.3
        """
        request = incoming.request
        lacking = request.require - self.supported
        if lacking:
            tags = ", ".join(sorted(lacking))
            error = PeerError(f"this extension is not known here: {tags}", 420)
            response = error_response(request, error, incoming.tag)
            response.add("Unsupported", tags)
            incoming.respond(response)
            return False
        encoding = (request.first("Content-Encoding") or "identity").strip().lower()
        if encoding != "identity":
            incoming.reply(415, [("Accept-Encoding", "identity")])
            return False
        return True

    def options(self, incoming: Incoming) -> Response:
        """Tell what we can (RFC 3261 §11.2, RFC 6665 §4.4.4)."""
        headers = [("Allow", self.allow), ("Accept", ", ".join(self.accept))]
        headers.append(("Supported", ", ".join(sorted(self.supported))))
        if self.allow_events:
            headers.append(("Allow-Events", ", ".join(sorted(self.allow_events))))
        return incoming.response(200, headers)


def _confirm(credentials: Answerer, signed: str, response: Response) -> None:
    """Take the next nonce of an Authentication-Info, if it is proved."""
    info = response.first("Authentication-Info")
    if info is not None:
        try:
            credentials.confirm(signed, info, response.body)
        except PeerError as error:
            _log.info("An Authentication-Info does not parse: {why}", why=error.why)


class _Begun:
    """The exchange of the latest attempt; whoever asked to know is told of each."""

    __slots__ = ("_exchange", "_tell")

    def __init__(self, tell: Callable[[Exchange], object] | None) -> None:
        self._tell = tell
        self._exchange: Exchange | None = None

    def note(self, exchange: Exchange) -> None:
        self._exchange = exchange
        if self._tell is not None:
            self._tell(exchange)

    @property
    def target(self) -> Target | None:
        """The server that answered; ``None`` when the path was given."""
        return None if self._exchange is None else self._exchange.target


class _Search:
    """The addresses that redirections name, and which of them were tried.

    Spec: RFC 3261 §8.1.3.4
    """

    __slots__ = ("_left", "_request", "_visited", "_waiting")

    def __init__(self, request: Request, most: int) -> None:
        self._request = request
        self._left = most
        self._visited = {request.uri}
        self._waiting: list[str] = []

    def following(self, response: Response) -> str:
        """Return where to try next after this final response, "" for nowhere."""
        status = response.status
        if status < 300 or status >= 600 or self._left <= 0:
            return ""
        if status < 400:
            self._waiting = [*alternatives(response, self._request), *self._waiting]
        while self._waiting:
            uri = self._waiting.pop(0)
            if uri not in self._visited:
                self._visited.add(uri)
                self._left -= 1
                return uri
        return ""


def alternatives(response: Response, request: Request) -> list[str]:
    """Return the Request-URIs that a 3xx offers, best first.

    A sips request is not redirected to sip.

    Spec: RFC 3261 §8.1.3.4, §21.3
    """
    try:
        contacts = sorted(response.contacts, key=lambda contact: -contact.q)
        uris = [contact.uri for contact in contacts]
    except PeerError:
        return []
    secure = request.uri[:5].lower() == "sips:"
    found = []
    for uri in uris:
        if isinstance(uri, SipUri) and (uri.scheme == "sips" or not secure):
            found.append(str(uri.for_request()))
    return found
