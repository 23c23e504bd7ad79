"""Whose leg is it: the served user of a request that the core sent us.

Spec: RFC 5502; RFC 3325 §9.1; OMA SIMPLE IM 1.0 (participating functions)
"""

from __future__ import annotations

from typing import Final

import attrs

from omaim.errors import PeerError
from omaim.im.content import Content
from omaim.sip.charging import charging_vector
from omaim.sip.identity import ID, USER, VECTOR, asserted_identities, privacy_of, served_user
from omaim.sip.message import Request, Response
from omaim.sip.uri import canonical_aor
from omaim.sip.values import parse_date

ORIGINATING: Final = "originating"
TERMINATING: Final = "terminating"
LIST: Final = "list"  # nobody is served: the request is for a service of ours
ANONYMOUS: Final = "sip:anonymous@anonymous.invalid"
ANONYMOUS_FROM: Final = f'"Anonymous" <{ANONYMOUS}>'
FOREVER: Final = float("inf")
SOFTWARE: Final = "IM-serv/OMA1.0 omaim"

# What a message and the INVITE of its session have in common.
CARRIED: Final = (
    "P-Asserted-Identity", "Privacy", VECTOR, "Subject", "Priority", "In-Reply-To", "Reply-To",
    "Date",
)  # fmt: skip


@attrs.frozen
class Leg:
    """One user's side of a message."""

    side: str  # ORIGINATING, TERMINATING or LIST
    user: str  # AoR of the served user; that of the service when there is none
    sender: str  # asserted AoR, or ANONYMOUS
    registered: bool = True  # the served user has a device right now
    hidden: bool = False  # the sender wants to stay unknown to the recipient
    identities: tuple[str, ...] = ()  # all that are asserted

    @property
    def shown(self) -> str:
        """The sender as the recipient may see it."""
        return ANONYMOUS if self.hidden else self.sender


def leg_of(request: Request, service: bool = False) -> Leg:
    """Return whom a request is served for.

    Args:
        service: the Request-URI is a service of ours, so that nobody need be served.

    Raises:
        PeerError: nobody is served (404), or nobody vouches for the sender (403).
    """
    served = served_user(request)
    # What the core delivers to a device has lost its charging vector: a Contact that leads
    # here is no way to a service.
    if served is None and not (service and request.has(VECTOR)):
        raise PeerError("this request is not served here", 404)
    asserted = asserted_identities(request)
    hidden = request.has("Privacy") and bool(privacy_of(request) & (ID | USER))
    if asserted:
        sender = asserted[0]
    elif hidden:
        sender = ANONYMOUS
    else:
        raise PeerError("nobody vouches for the sender", 403)
    if served is None:
        return Leg(LIST, canonical_aor(request.uri), sender, True, hidden, asserted)
    side = ORIGINATING if served.case == "orig" else TERMINATING
    registered = served.registered != "unreg"
    return Leg(side, canonical_aor(served.uri), sender, registered, hidden, asserted)


class Mail:
    """One MESSAGE, and what is known of it.

    Attributes:
        request: our own Route is off it.
        content: its body, which a hook may have changed since.
        changed: the body is not that of the request any more.
        tag: the To tag of our answers.
        at: when it came, seconds since the epoch.
        sent_at: when it was sent.
        expires_at: when it is of no more use, :data:`FOREVER` if it does not say.
    """

    __slots__ = (
        "_icid",
        "at",
        "changed",
        "content",
        "expires_at",
        "leg",
        "request",
        "sent_at",
        "tag",
    )

    def __init__(self, request: Request, leg: Leg, tag: str, at: float) -> None:
        self.request = request
        self.leg = leg
        self.content = Content.of(request)
        self.changed = False
        self.tag = tag
        self.at = at
        self._icid: str | None = None
        self.sent_at, self.expires_at = validity(request, at)

    @property
    def message_id(self) -> str:
        """What tells the message apart: the sender's identifier, else that of the request."""
        found = self.content.message_id
        return found or f"{self.request.call_id} {self.request.cseq.number}"

    @property
    def recipient(self) -> str:
        """The address that the message is for."""
        leg = self.leg
        return leg.user if leg.side == TERMINATING else canonical_aor(self.request.uri)

    @property
    def icid(self) -> str:
        """The charging identifier, "" without."""
        if self._icid is None:
            try:
                vector = charging_vector(self.request)
            except PeerError:
                vector = None
            self._icid = "" if vector is None else vector.icid
        return self._icid

    def response(self, status: int) -> Response:
        """Return an answer of our own."""
        response = self.request.response(status, None, self.tag)
        response.add("Server", SOFTWARE)
        return response


@attrs.frozen
class Served:
    """What a service of the server itself made of a message."""

    status: int  # to answer
    recipients: tuple[str, ...] = ()  # for whom it has taken charge of a copy
    named: tuple[str, ...] | None = None  # to whom it went by the sender's history, if to others


def address_of(box: str) -> str:
    """Return the address of record to which what is stored in a box goes.

    The box of a user of ours has its address for a name; that of anybody else has our domain
    before it, because another server may keep its own messages for them in the same store.
    """
    return box.rpartition(" ")[2]


def validity(request: Request, now: float) -> tuple[float, float]:
    """Return when a message was sent and when it is of no more use.

    A Date in the future is that of a clock that is fast; one that cannot be read is as if it
    were not there.

    Spec: RFC 3428 §7
    """
    sent_at = now
    if request.has("Date"):
        try:
            sent_at = min(parse_date(request.first("Date") or ""), now)
        except PeerError:
            sent_at = now
    expires = request.expires
    return sent_at, FOREVER if expires is None else sent_at + expires


def as_message(invite: Request, content: Content) -> Request:
    """Return the MESSAGE that says what an INVITE and the message in its session say.

    How long an INVITE may ring (Expires) says nothing of how long the message is of use.
    """
    fields = copied(invite, ("From", "To", "Call-ID", "Max-Forwards", *CARRIED))
    fields += [("CSeq", "1 MESSAGE"), ("Content-Type", content.content_type)]
    return Request.make("MESSAGE", invite.uri, fields, content.body)


def copied(request: Request, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the header fields of these names, for another request."""
    return [(name, value) for name in names for value in request.all(name)]
