"""Dialogs: what two user agents remember so that later requests find their way.

A :class:`Dialog` builds the requests sent inside it, checks the order of those that come in
and follows the peer's address. It knows nothing of sessions or subscriptions: these hold a
dialog. :func:`as_uac`, :func:`as_uas` and :func:`as_subscriber` create one from the messages
that establish it; :class:`omaim.sip.dialogs.Dialogs` finds it again.

Spec: RFC 3261 §12; RFC 6665 §4.4.1
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import PeerError
from omaim.sip.headers import NameAddr
from omaim.sip.message import Message, Request, Response
from omaim.sip.uri import SipUri, parse_uri

EARLY: Final = 0  # made by a provisional response
CONFIRMED: Final = 1  # made, or confirmed, by a final response
ENDED: Final = 2  # 481, 408 or its usage's own end; sends nothing any more

_EMPTY: Final = -1  # a sequence number not known yet
_MAX_SEQ: Final = 2147483647  # RFC 3261 §8.1.1.5: less than 2**31

DialogId = tuple[str, str, str]  # Call-ID, local tag, remote tag


def refreshes_target(method: str) -> bool:
    """Tell whether a request of this method moves the peer's remote target.

    Spec: RFC 3261 §12.2, RFC 3311 §5, RFC 6665 §3.1, §3.2
    """
    return method in ("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER")


def incoming_id(request: Request) -> DialogId:
    """Return the id of the dialog that a request from the peer belongs to.

    Spec: RFC 3261 §12 (a missing tag counts as empty)
    """
    return (request.call_id, request.to.tag, request.from_.tag)


def response_id(response: Response) -> DialogId:
    """Return the id of the dialog that a response to a request of ours belongs to.

    Spec: RFC 3261 §12
    """
    return (response.call_id, response.from_.tag, response.to.tag)


@final
class Dialog:
    """One dialog as this side sees it.

    Args:
        call_id: its Call-ID.
        local_uri: our address as in our From; no tag.
        local_tag: our tag.
        remote_uri: the peer's address as in our To; no tag.
        remote_tag: the peer's tag; empty from peers of RFC 2543.
        remote_target: where requests go in the end: the peer's Contact URI.
        routes: the route set, first hop first, each as a Route value with its brackets.
        local_seq: the CSeq number last sent, or -1 before the first.
        remote_seq: the CSeq number last received, or -1 before the first.
        contact: the Contact value we put into target refresh requests.
        secure: the dialog was made over TLS with a sips URI.
        state: :data:`EARLY` or :data:`CONFIRMED`.

    Spec: RFC 3261 §12.1
    """

    __slots__ = (
        "_request_uri",
        "_route_values",
        "_strict_router",
        "call_id",
        "contact",
        "local_seq",
        "local_tag",
        "local_uri",
        "remote_seq",
        "remote_tag",
        "remote_target",
        "remote_uri",
        "routes",
        "secure",
        "state",
    )

    def __init__(
        self,
        call_id: str,
        local_uri: str,
        local_tag: str,
        remote_uri: str,
        remote_tag: str,
        remote_target: str,
        routes: list[str],
        local_seq: int = _EMPTY,
        remote_seq: int = _EMPTY,
        contact: str = "",
        secure: bool = False,
        state: int = CONFIRMED,
    ) -> None:
        self.call_id = call_id
        self.local_uri = local_uri
        self.local_tag = local_tag
        self.remote_uri = remote_uri
        self.remote_tag = remote_tag
        self.remote_target = remote_target
        self.routes = routes
        self.local_seq = local_seq
        self.remote_seq = remote_seq
        self.contact = contact
        self.secure = secure
        self.state = state
        self._request_uri = ""
        self._strict_router = ""
        self._route_values: list[str] = []
        self._plan()

    @property
    def id(self) -> DialogId:
        """The key under which the peer's requests find this dialog."""
        return (self.call_id, self.local_tag, self.remote_tag)

    def next_seq(self) -> int:
        """Count up and return the CSeq number for the next request of ours.

        A request repeated with credentials takes a new number here too.

        Spec: RFC 3261 §12.2.1.1
        """
        number = self.local_seq + 1 if self.local_seq != _EMPTY else 1
        if number > _MAX_SEQ:
            raise PeerError("the dialog has used up its sequence numbers", 500)
        self.local_seq = number
        return number

    def request(self, method: str, headers: list[tuple[str, str]], body: bytes = b"") -> Request:
        """Build the next request inside the dialog; Via is added when it is sent.

        Args:
            method: any but ACK and CANCEL.
            headers: what to add to the dialog's own header fields.
            body: goes with a Content-Type among ``headers``.

        Spec: RFC 3261 §12.2.1.1
        """
        return self._build(method, self.next_seq(), headers, body)

    def ack(self, number: int, headers: list[tuple[str, str]], body: bytes = b"") -> Request:
        """Build the ACK for a 2xx to an INVITE whose CSeq number was ``number``.

        Spec: RFC 3261 §13.2.2.4 (the caller repeats the INVITE's credentials)
        """
        return self._build("ACK", number, headers, body)

    def _build(
        self, method: str, number: int, headers: list[tuple[str, str]], body: bytes
    ) -> Request:
        fields: list[tuple[str, str]] = [("Route", value) for value in self._route_values]
        fields.append(("Max-Forwards", "70"))
        fields.append(("From", _with_tag(self.local_uri, self.local_tag)))
        fields.append(("To", _with_tag(self.remote_uri, self.remote_tag)))
        fields.append(("Call-ID", self.call_id))
        fields.append(("CSeq", f"{number} {method}"))
        if self.contact and refreshes_target(method):
            fields.append(("Contact", self.contact))
        fields.extend(headers)
        request = Request.make(method, self._request_uri, fields, body)
        request.next_hop = self._strict_router
        return request

    def answered(self, response: Response) -> bool:
        """Take note of the final response to a request sent inside the dialog.

        Returns:
            False when the response ends the dialog (481, 408 or nothing at all); what
            that means for a session or subscription is for its owner to say.

        Spec: RFC 3261 §12.2.1.2
        """
        cseq = response.cseq
        if cseq.number > self.local_seq:
            self.local_seq = cseq.number
        status = response.status
        if 200 <= status < 300:
            if refreshes_target(cseq.method):
                self._follow(response)
        elif status in (408, 481):
            self.state = ENDED
        return self.state != ENDED

    def receive(self, request: Request) -> None:
        """Check that a request from the peer is in order, and note its number.

        The number stays noted when the request is then refused, so that a repetition
        is out of order too.

        Raises:
            PeerError: 500 for a number not above the last one, 481 when the dialog is over.

        Differs: an equal number is refused as well as a lower one; retransmissions never
            come this far, and §12.2.1.1 makes numbers strictly increase.

        Spec: RFC 3261 §12.2.2
        """
        if self.state == ENDED:
            raise PeerError("the dialog is over", 481)
        method = request.method
        if method == "ACK" or method == "CANCEL":
            return  # both carry the number of the request they are about
        number = request.cseq.number
        if number <= self.remote_seq:
            raise PeerError(f"CSeq {number} came after {self.remote_seq}", 500)
        self.remote_seq = number

    def accept(self, request: Request) -> None:
        """A request from the peer was answered with 2xx: follow its Contact if it moves us.

        Spec: RFC 3261 §12.2.2 (a refused request changes nothing)
        """
        if refreshes_target(request.method):
            self._follow(request)

    def confirm(self, response: Response) -> None:
        """The 2xx came to the INVITE that made this early dialog: take what it says.

        Spec: RFC 3261 §13.2.2.4: the route set is computed anew from the 2xx
        """
        self.state = CONFIRMED
        self.routes = _reversed_routes(response)
        self._follow(response)
        self._plan()

    def end(self) -> None:
        """The last usage of the dialog is over."""
        self.state = ENDED

    def _follow(self, message: Message) -> None:
        if not message.has("Contact"):
            return
        contacts = message.contacts
        if contacts and contacts[0].uri_text != "*":
            target = contacts[0].uri_text
            if target != self.remote_target:
                self.remote_target = target
                self._plan()

    def _plan(self) -> None:
        """Work out Request-URI and Route once, as they change rarely."""
        self._strict_router = ""
        routes = self.routes
        if not routes:
            self._request_uri = self.remote_target
            self._route_values = []
            return
        first = NameAddr.parse(routes[0]).uri_text
        uri = parse_uri(first)
        if not isinstance(uri, SipUri) or uri.lr:
            self._request_uri = self.remote_target
            self._route_values = routes
            return
        # A strict router replaces the Request-URI by the first Route value.
        self._request_uri = self._strict_router = str(uri.for_request())
        self._route_values = [*routes[1:], f"<{self.remote_target}>"]


def as_uac(request: Request, response: Response, secure: bool = False) -> Dialog:
    """Make the dialog that a 101-199 or 2xx response to ``request`` establishes.

    A response without Contact, which only old peers send, leaves the Request-URI as target.

    Raises:
        PeerError: a header field that the dialog needs does not parse.

    Spec: RFC 3261 §12.1.2
    """
    local = request.from_
    contact = request.first("Contact")
    return Dialog(
        request.call_id,
        f"<{local.uri_text}>",
        local.tag,
        f"<{response.to.uri_text}>",
        response.to.tag,
        _target(response, request.uri),
        _reversed_routes(response),
        response.cseq.number,
        _EMPTY,
        contact or "",
        secure and request.uri.startswith("sips:"),
        EARLY if response.status < 200 else CONFIRMED,
    )


def as_uas(
    request: Request,
    local_tag: str,
    contact: str,
    secure: bool = False,
    state: int = CONFIRMED,
) -> Dialog:
    """Make the dialog that our non-failure response to ``request`` establishes.

    Args:
        request: the INVITE or SUBSCRIBE.
        local_tag: the To tag of our response.
        contact: the Contact value of our response; sips when the request's was (§12.1.1).
        secure: the request came over TLS.
        state: :data:`EARLY` for a provisional response.

    Raises:
        PeerError: 400 when the request has no Contact that we could answer to.

    Spec: RFC 3261 §12.1.1
    """
    target = _target(request, "")
    if not target:
        raise PeerError(f"a {request.method} needs a Contact")
    remote = request.from_
    return Dialog(
        request.call_id,
        f"<{request.to.uri_text}>",
        local_tag,
        f"<{remote.uri_text}>",
        remote.tag,
        target,
        [str(route) for route in request.record_routes],
        _EMPTY,
        request.cseq.number,
        contact,
        secure and request.uri.startswith("sips:"),
        state,
    )


def as_subscriber(subscribe: Request, local_seq: int, notify: Request) -> Dialog:
    """Make the dialog that the first NOTIFY of a subscription establishes.

    Args:
        subscribe: the SUBSCRIBE of ours that the NOTIFY belongs to.
        local_seq: the CSeq number last used for it.
        notify: gives remote tag, target and route set: not the response does.

    Raises:
        PeerError: 400 when the NOTIFY has no Contact.

    Spec: RFC 6665 §4.4.1; RFC 3261 §12.1.1
    """
    dialog = as_uas(notify, subscribe.from_.tag, subscribe.first("Contact") or "")
    dialog.local_seq = local_seq
    return dialog


def establish(request: Request, response: Response, contact: str) -> None:
    """Give our dialog-making response what the peer needs: Record-Route and Contact.

    Spec: RFC 3261 §12.1.1
    """
    for value in request.all("Record-Route"):
        response.add("Record-Route", value)
    response.set("Contact", contact)


def _with_tag(address: str, tag: str) -> str:
    return f"{address};tag={tag}" if tag else address


def _target(message: Message, otherwise: str) -> str:
    if not message.has("Contact"):
        return otherwise
    contacts = message.contacts
    if not contacts or contacts[0].uri_text == "*":
        return otherwise
    return contacts[0].uri_text


def _reversed_routes(response: Response) -> list[str]:
    routes = [str(route) for route in response.record_routes]
    routes.reverse()
    return routes
