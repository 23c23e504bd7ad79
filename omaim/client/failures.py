"""Why something did not work, and what to do next, in words for people.

Every failure is a :class:`Failure`; its class says which of RFC 3261's answers it was, so that
a program can catch the one it knows how to handle.

Spec: RFC 3261 §21; RFC 3428 §7; OMA SIMPLE IM 1.0 (behaviour on failure)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from omaim.bodies.first_message import KEPT
from omaim.errors import OmaimError, PeerError
from omaim.sip.answering import is_stale
from omaim.sip.headers import AcceptItem, ContentType
from omaim.sip.message import Response
from omaim.sip.pacing import retry_after
from omaim.sip.reasons import reason_for

if TYPE_CHECKING:
    from omaim.client.messages import Sent


class Failure(OmaimError):
    """The network answered that it did not, or cannot, do what we asked.

    Attributes:
        status: the SIP status; 0 when there was no answer to have one.
        reason: the phrase that came with it, or the text of its Warning.
        advice: what to do next.
        retry_after: seconds to wait before the next try, -1 when nobody said.
    """

    advice: str = "look at the status to see why"

    def __init__(self, status: int = 0, reason: str = "", retry_after: int = -1) -> None:
        self.status = status
        self.reason = reason or (reason_for(status) if status else "")
        self.retry_after = retry_after
        if retry_after >= 0:
            self.advice = f"try again in {retry_after} s"
        told = f"{status} {self.reason}".strip() if status else self.reason
        super().__init__(f"{told}: {self.advice}" if told else self.advice)


class Refused(Failure):
    """403: it is not allowed, and asking again does not help."""

    advice = "this is not allowed for you; do not try again"


class WrongPassword(Failure):
    """401, 407: name or password were not accepted."""

    advice = "check the identity and the password"


class NotFound(Failure):
    """404, 410, 604: there is no such user."""

    advice = "check how the address is written"


class NoAnswer(Failure):
    """408: the server or the recipient did not answer in time."""

    advice = "nobody answered; check the server's address, or try again later"


class WrongFormat(Failure):
    """415: the recipient does not take this kind of content.

    Attributes:
        accepted: the media types that it takes, if it said so.
    """

    advice = "the other side does not take this format; send it as plain text (plain=True)"
    accepted: tuple[str, ...] = ()

    def takes(self, content_type: str) -> bool:
        """Tell whether the recipient takes this, as far as it said (RFC 3261 §21.4.13)."""
        try:
            kind = ContentType.parse(content_type)
            items = [AcceptItem.parse(one) for one in self.accepted]
        except PeerError:
            return False
        return not items or any(one.q > 0 and one.covers(kind) for one in items)


class TooLarge(Failure):
    """413, and what we do not even send: the message is too large for pager mode."""

    advice = "make the message shorter"


class SessionNeeded(TooLarge):
    """413: what is asked for does not fit into pager mode."""

    advice = "it has to be fetched in a session"


class Unreachable(Failure):
    """480: the recipient is not there now, and the message was not kept."""

    advice = "the recipient is not online and the message was not kept; try again later"


class Kept(Unreachable):
    """480: the recipient is not there now; the first message, which came along, waits for it.

    Attributes:
        sent: that message, on which reports may come; ``None`` if it is not known.
    """

    advice = "the recipient gets the message when it is back"
    sent: Sent | None = None


class NotAcceptable(Failure):
    """406, 488, 606: the other side cannot take it as it is."""

    advice = "the other side cannot take it in this form; send plain text"


class Busy(Failure):
    """486, 500 to 504: the server cannot serve now; or it finds a right password late each time."""

    advice = "not now; try again later"


class Declined(Failure):
    """600, 603: the recipient has it, or knows of it, and does not want it."""

    advice = "the recipient does not want it; do not try again"


class Ended(Failure):
    """481: the session is over."""

    advice = "the session is over; begin another one"


class BadNickname(Failure):
    """424, 425: the room does not let us be called so."""

    advice = "choose another nickname"


class ConsentNeeded(Failure):
    """470: somebody on the list has not agreed to get list messages from you."""

    advice = "write to these people one by one, or ask for their consent"


class Dismissed(Failure):
    """The network took our registration away."""

    advice = "register again, or ask the operator why"


class NoReport(Failure):
    """No report came in time; the message may still arrive."""

    advice = "no report came in time; the message may still be delivered"


class NotDelivered(Failure):
    """A report says that the message was not delivered."""

    advice = "the message did not reach the recipient"


_CLASSES: Final[dict[int, type[Failure]]] = {
    401: WrongPassword,
    403: Refused,
    404: NotFound,
    406: NotAcceptable,
    407: WrongPassword,
    408: NoAnswer,
    410: NotFound,
    413: TooLarge,
    415: WrongFormat,
    424: BadNickname,
    425: BadNickname,
    470: ConsentNeeded,
    480: Unreachable,
    481: Ended,
    488: NotAcceptable,
    500: Busy,
    502: Busy,
    503: Busy,
    504: Busy,
    486: Busy,
    600: Declined,
    603: Declined,
    604: NotFound,
    606: NotAcceptable,
}


def failure_class(status: int) -> type[Failure]:
    """Return the class of failures with this status."""
    return _CLASSES.get(status, Failure)


def failure_of(response: Response) -> Failure:
    """Return the failure that a final response other than 2xx tells of.

    A Warning says more than the reason phrase, so it is preferred.
    """
    kind = failure_class(response.status)
    if kind is WrongPassword and is_stale(response):
        kind = Busy  # it was right each time, and the server asked again each time
    if response.local and response.status == 503:
        return no_connection()
    told = _warning(response) or response.reason
    if kind is Unreachable and KEPT in told:
        kind = Kept
    failure = kind(response.status, told, retry_after(response))
    if isinstance(failure, WrongFormat):
        failure.accepted = tuple(response.values("Accept"))
    return failure


# What MSRP means by its codes (RFC 4975 §10; RFC 7701 §6, §7).
_IN_SESSION: Final[dict[int, str]] = {
    400: "the other side did not understand it",
    403: "the other side does not allow it",
    404: "nobody here has this address",
    408: "no answer came",
    413: "the other side wants no more of it",
    415: "the other side does not take this format",
    424: "no nickname is written so",
    425: "the nickname is reserved, or in use",
    428: "the recipient takes no private messages",
    481: "the session has ended",
    501: "the other side does not know this",
}


def failure_in_session(status: int, accepted: tuple[str, ...] = ()) -> Failure:
    """Return the failure that a status of MSRP tells of.

    Args:
        status: of RFC 4975 §10; 481 for the end of the session.
        accepted: media types that the other side takes.
    """
    failure = failure_class(status)(status, _IN_SESSION.get(status, "it was refused"))
    if isinstance(failure, WrongFormat):
        failure.accepted = accepted
    return failure


def no_connection() -> NoAnswer:
    """Return the failure of a server that cannot even be asked."""
    return NoAnswer(0, "no connection to the server")


def _warning(response: Response) -> str:
    """Return the text of the first Warning, "" if there is none (RFC 3261 §20.43)."""
    warning = response.first("Warning") or ""
    start = warning.find('"')
    end = warning.find('"', start + 1)
    return warning[start + 1 : end] if 0 <= start < end else ""
