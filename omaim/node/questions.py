"""What hooks are asked: every decision point of every entity, one small value each.

A hook answers with :class:`~omaim.node.hooks.Refuse`, with the value that the question names,
or with ``None`` for "no opinion". The question says who asks it, when, and what a crashing
hook means.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import attrs


@attrs.frozen
class Question:
    """The root of all questions.

    Attributes:
        on_crash: what an exception of a hook means: ``"refuse"`` answers the peer with 500,
            ``"ignore"`` goes on as if the hook had no opinion. Either way it is logged.
    """

    on_crash: ClassVar[Literal["refuse", "ignore"]] = "ignore"

    domain: str  # the home domain that the asking entity serves


@attrs.frozen
class MayAsk(Question):
    """The core, for each request of somebody who is no trusted neighbour, before any work.

    Nothing that the sender says is proved yet. A refusal with 503 tells it when to come back.
    """

    method: str
    transport: str  # "UDP", "TCP" or "TLS"
    host: str  # where it comes from
    at: float  # seconds


@attrs.frozen
class MayRegister(Question):
    """The registrar, after authentication and before it changes bindings: may they?"""

    on_crash: ClassVar[Literal["refuse", "ignore"]] = "refuse"

    aor: str  # canonical SIP URI
    private_identity: str
    contacts: tuple[str, ...]  # as sent
    source: str  # transport:host:port


@attrs.frozen
class MayPost(Question):
    """The IM Server, once a pager message passed its own policy: may it go on?

    Asked on the originating side for the sender (``recipients`` are all of them) and on the
    terminating side for the one recipient; and with side "room" for each message that is said
    in a conference room, before anybody gets it. There the recipient is the room, or the one
    participant of a private message. In rooms and in sessions a text of more than 64 KiB is not
    shown.
    """

    on_crash: ClassVar[Literal["refuse", "ignore"]] = "refuse"

    side: Literal["originating", "terminating", "room"]
    sender: str  # asserted SIP URI, or an anonymous one if it wants to stay unknown
    recipients: tuple[str, ...]
    content_type: str  # of the innermost content, "text/plain"
    text: str  # the innermost content when it is text, else empty
    size: int  # octets of the innermost content


@attrs.frozen
class MayInvite(Question):
    """The IM Server, before a conversation is offered to the callee: may it be?

    Asked on the originating side for the caller and on the terminating side for the callee. What
    is said in it later is asked about with :class:`MayPost`.
    """

    on_crash: ClassVar[Literal["refuse", "ignore"]] = "refuse"

    side: Literal["originating", "terminating"]
    caller: str  # asserted SIP URI, or "sip:anonymous@anonymous.invalid"
    callee: str
    subject: str


@attrs.frozen
class MayJoin(Question):
    """The IM Server, before somebody comes into a conference room whose rules allow it."""

    on_crash: ClassVar[Literal["refuse", "ignore"]] = "refuse"

    room: str  # its canonical SIP URI
    kind: Literal["ad-hoc", "pre-defined", "chat"]
    user: str  # asserted SIP URI, also of who wants to be anonymous to the others
    anonymous: bool
    invited: bool  # the room had asked for it
    present: int  # participants who are there


@attrs.frozen
class MayDefer(Question):
    """The IM Server, before it stores a message for somebody who is away."""

    on_crash: ClassVar[Literal["refuse", "ignore"]] = "refuse"

    sender: str
    recipient: str
    size: int  # octets of the body
    stored: int  # messages that wait for this recipient already


@attrs.frozen
class WhereTo(Question):
    """The core, when a request leaves for another domain: which next hop?

    The answer is a SIP URI to route to, put before the Request-URI's own resolution.
    """

    method: str
    request_uri: str
    served: str  # the user for whom the core acts, or empty
