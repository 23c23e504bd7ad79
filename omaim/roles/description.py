"""What calls are made of that nobody reads here: session descriptions; and how calls fail.

Spec: RFC 3261 §13.2.1; RFC 5621 (bodies)
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Final

import attrs

from omaim.errors import OmaimError, PeerError
from omaim.sip.message import Request, Response

Fields = Sequence[tuple[str, str]]

SDP: Final = "application/sdp"


@attrs.frozen
class Description:
    """A session description, or a body that holds one; empty for none.

    Attributes:
        body: octets.
        content_type: of the body; it counts only where there is one.
    """

    body: bytes = b""
    content_type: str = SDP

    @staticmethod
    def of(message: Request | Response) -> Description:
        """Return the body of a message."""
        return Description(message.body, message.first("Content-Type") or SDP)


Said = Description | bytes
Answered = Said | Awaitable[Said]


def as_description(said: Said) -> Description:
    """Return what a user said as a description; octets alone are SDP."""
    return said if isinstance(said, Description) else Description(said)


def describes_session(message: Request | Response) -> bool:
    """Tell whether a message holds an offer or an answer: SDP, alone or in a multipart.

    A response whose Content-Type cannot be read holds none.

    Raises:
        PeerError: that of a request cannot be read.

    Spec: RFC 3261 §13.2.1; RFC 5621 §8.2
    """
    if not message.body:
        return False
    try:
        kind = message.content_type
    except PeerError:
        if isinstance(message, Request):
            raise
        return False
    if kind is None:
        return False
    if kind.main == "multipart":
        return SDP.encode() in message.body.lower()
    return kind.essence == SDP


def merged(own: Fields, given: Fields) -> list[tuple[str, str]]:
    """Return header fields of ours and of the user, whose names count more."""
    names = {name for name, _ in given}
    return [*(field for field in own if field[0] not in names), *given]


class CallFailed(PeerError):
    """An INVITE, or another request of a call, was refused or given up.

    A server that lets it out of its own answering passes the status on.

    Attributes:
        response: the final response, or the local one that stands for it.
        cancelled: it was given up by this side.
    """

    def __init__(self, response: Response, cancelled: bool = False) -> None:
        super().__init__(f"{response.status} {response.reason}", response.status)
        self.response = response
        self.cancelled = cancelled


class CallEnded(OmaimError):
    """The call was over before what was wanted in it was done.

    Attributes:
        reason: as a Reason value, or "".
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(f"the call is over: {reason or 'no reason was given'}")
        self.reason = reason
