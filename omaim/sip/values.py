"""The less frequent typed header values; :mod:`omaim.sip.headers` has them all under one roof.

Spec: RFC 3261 §20, §25.1; RFC 3262 §7.2; RFC 6665 §8.2
"""

from __future__ import annotations

import re
from calendar import timegm
from time import gmtime
from typing import Final, final

from omaim.errors import PeerError
from omaim.grammar import (
    NO_PARAMS,
    Params,
    clamped,
    is_token,
    number,
    parse_param_list,
    parse_params,
    split_outside,
)

_is_qvalue: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?").fullmatch
_is_response: Final = re.compile(r"([0-9]+)[ \t]+([0-9]+)[ \t]+(\S+)").fullmatch
_date: Final = re.compile(
    r"[A-Za-z]{3},[ \t]+([0-9]{2})[ \t]+([A-Za-z]{3})[ \t]+([0-9]{4})[ \t]+"
    r"([0-9]{2}):([0-9]{2}):([0-9]{2})[ \t]+GMT"
).fullmatch
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_SECONDS: Final = 64  # whose text is remembered: most messages say the present one
_dates: Final[dict[int, str]] = {}
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def q_of(params: Params) -> float:
    """Return the q parameter as a number from 0 to 1; 1.0 when absent.

    Raises:
        PeerError: it is no qvalue.
    """
    text = params.get("q")
    if text is None:
        return 1.0
    if _is_qvalue(text) is None:
        raise PeerError("a q value is from 0 to 1 with at most three digits")
    return float(text)


@final
class CSeq:
    """Where a request stands in its dialog, and its method (RFC 3261 §20.16)."""

    __slots__ = ("method", "number")

    def __init__(self, sequence: int, method: str) -> None:
        self.number: Final = sequence
        self.method: Final = method

    @staticmethod
    def parse(text: str) -> CSeq:
        """Return the CSeq that ``text`` is.

        Raises:
            PeerError: no number up to 2^32-1 or no method.
        """
        digits, _, method = text.partition(" ")
        if not digits.isdigit() or not method:
            digits, _, method = text.replace("\t", " ").partition(" ")
            if not method:
                raise PeerError("a CSeq has no method")
        method = method.strip(" \t")
        if not is_token(method):
            raise PeerError("a CSeq has no good method")
        return CSeq(number(digits), method)

    def __str__(self) -> str:
        return str(self.number) + " " + self.method

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, CSeq) and self.number == other.number and self.method == other.method
        )

    def __hash__(self) -> int:
        return hash((self.number, self.method))

    def __repr__(self) -> str:
        return f"CSeq({str(self)!r})"


@final
class RAck:
    """Which reliable provisional response a PRACK acknowledges (RFC 3262 §7.2)."""

    __slots__ = ("cseq", "rseq")

    def __init__(self, rseq: int, cseq: CSeq) -> None:
        self.rseq: Final = rseq
        self.cseq: Final = cseq

    @staticmethod
    def parse(text: str) -> RAck:
        """Return the RAck that ``text`` is.

        Raises:
            PeerError: not two numbers and a method.
        """
        found = _is_response(text)
        if found is None:
            raise PeerError("a RAck has two numbers and a method")
        return RAck(number(found.group(1)), CSeq.parse(found.group(2) + " " + found.group(3)))

    def __str__(self) -> str:
        return str(self.rseq) + " " + str(self.cseq)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RAck) and self.rseq == other.rseq and self.cseq == other.cseq

    def __hash__(self) -> int:
        return hash((self.rseq, self.cseq))


@final
class ParamValue:
    """A value with parameters: the shape of most headers, P- headers among them.

    Attributes:
        value: what stands before the first ";", as written.
        params: the rest.

    Spec: RFC 3261 §20.11 and others; RFC 3841 §10; RFC 7315 §5
    """

    __slots__ = ("params", "value")

    def __init__(self, value: str, params: Params = NO_PARAMS) -> None:
        self.value: Final = value
        self.params: Final = params

    @staticmethod
    def parse(text: str) -> ParamValue:
        """Return the value that ``text``, one element of the header, is.

        Raises:
            PeerError: no value, or bad parameters.
        """
        value, params = _value_and_params(text)
        return ParamValue(value, params)

    def __str__(self) -> str:
        return self.value + str(self.params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParamValue) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"ParamValue({str(self)!r})"


def _value_and_params(text: str) -> tuple[str, Params]:
    pieces = split_outside(text, ";")
    value = pieces[0]
    if not value:
        raise PeerError("a header has parameters but no value")
    if len(pieces) == 1:
        return value, NO_PARAMS
    return value, parse_params(";" + ";".join(pieces[1:]))


@final
class EventHeader:
    """The event package of a subscription (RFC 6665 §8.2.1).

    Attributes:
        package: the package with its templates, as "presence.winfo"; case-sensitive.
        id: the id parameter, or "".
    """

    __slots__ = ("id", "package", "params")

    def __init__(self, package: str, params: Params = NO_PARAMS) -> None:
        self.package: Final = package
        self.params: Final = params
        self.id: Final[str] = params.get("id") or ""

    @staticmethod
    def parse(text: str) -> EventHeader:
        """Return the event that ``text`` is.

        Raises:
            PeerError: no token, or bad parameters.
        """
        package, params = _value_and_params(text)
        if not is_token(package):
            raise PeerError("an Event names no package")
        return EventHeader(package, params)

    def matches(self, other: EventHeader) -> bool:
        """Tell whether both mean the same subscription: package and id (RFC 6665 §8.2.1)."""
        return self.package == other.package and self.id == other.id

    def __str__(self) -> str:
        return self.package + str(self.params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EventHeader) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


@final
class SubscriptionState:
    """How a subscription stands (RFC 6665 §8.2.3).

    Attributes:
        state: "active", "pending", "terminated" or an extension, in lower case.
        reason: in lower case, or "".
        expires: seconds left, or ``None``.
        retry_after: seconds, or ``None``.
    """

    __slots__ = ("expires", "params", "reason", "retry_after", "state")

    def __init__(self, state: str, params: Params = NO_PARAMS) -> None:
        self.state: Final = state
        self.params: Final = params
        reason: str | None = params.get("reason")
        self.reason: Final[str] = "" if reason is None else reason.lower()
        self.expires: Final = _seconds(params, "expires")
        self.retry_after: Final = _seconds(params, "retry-after")

    @staticmethod
    def make(
        state: str, *, expires: int | None = None, reason: str = "", retry_after: int | None = None
    ) -> SubscriptionState:
        """Return a state with the parameters that are given."""
        params = NO_PARAMS
        if expires is not None:
            params = params.with_("expires", str(expires))
        if reason:
            params = params.with_("reason", reason)
        if retry_after is not None:
            params = params.with_("retry-after", str(retry_after))
        return SubscriptionState(state, params)

    @staticmethod
    def parse(text: str) -> SubscriptionState:
        """Return the state that ``text`` is.

        Raises:
            PeerError: no token, or bad parameters.
        """
        state, params = _value_and_params(text)
        if not is_token(state):
            raise PeerError("a Subscription-State has no state")
        return SubscriptionState(state.lower(), params)

    def __str__(self) -> str:
        return self.state + str(self.params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SubscriptionState) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def _seconds(params: Params, name: str) -> int | None:
    text = params.get(name)
    return None if text is None else clamped(text)


@final
class ContentType:
    """A media type with its parameters (RFC 3261 §20.15).

    Attributes:
        main, sub: lower case.
        params: charset, boundary and their like.
    """

    __slots__ = ("main", "params", "sub")

    def __init__(self, main: str, sub: str, params: Params = NO_PARAMS) -> None:
        self.main: Final = main
        self.sub: Final = sub
        self.params: Final = params

    @staticmethod
    def parse(text: str) -> ContentType:
        """Return the media type that ``text`` is.

        Raises:
            PeerError: not type/subtype, or bad parameters.
        """
        value, params = _value_and_params(text)
        main, sub = _media(value)
        return ContentType(main, sub, params)

    @property
    def essence(self) -> str:
        """type/subtype without parameters."""
        return self.main + "/" + self.sub

    def __str__(self) -> str:
        return self.main + "/" + self.sub + str(self.params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ContentType) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def _media(value: str) -> tuple[str, str]:
    main, _, sub = value.lower().partition("/")
    main, sub = main.rstrip(" \t"), sub.lstrip(" \t")
    if not is_token(main) or not is_token(sub):
        raise PeerError("not a media type")
    return main, sub


@final
class AcceptItem:
    """One range of an Accept header and how welcome it is (RFC 3261 §20.1)."""

    __slots__ = ("main", "params", "q", "sub")

    def __init__(self, main: str, sub: str, params: Params = NO_PARAMS) -> None:
        self.main: Final = main
        self.sub: Final = sub
        self.params: Final = params
        self.q: Final = q_of(params)

    @staticmethod
    def parse(text: str) -> AcceptItem:
        """Return the range that ``text``, one element of the header, is.

        Raises:
            PeerError: not type/subtype with wildcards, or bad parameters.
        """
        value, params = _value_and_params(text)
        main, sub = _media(value)
        if main == "*" and sub != "*":
            raise PeerError("not a media range")
        return AcceptItem(main, sub, params)

    def covers(self, kind: ContentType) -> bool:
        """Tell whether the range takes in a media type, at any q above 0."""
        return (
            self.q > 0
            and (self.main == "*" or self.main == kind.main)
            and (self.sub == "*" or self.sub == kind.sub)
        )

    def __str__(self) -> str:
        return self.main + "/" + self.sub + str(self.params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AcceptItem) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


@final
class Challenge:
    """WWW-Authenticate or Proxy-Authenticate: a scheme and its parameters (RFC 3261 §20.44)."""

    __slots__ = ("params", "scheme")

    def __init__(self, scheme: str, params: Params = NO_PARAMS) -> None:
        self.scheme: Final = scheme
        self.params: Final = params

    @staticmethod
    def parse(text: str) -> Challenge:
        """Return the challenge that ``text``, a whole header line, is.

        Raises:
            PeerError: no scheme, or bad parameters.
        """
        scheme, params = _scheme_and_params(text)
        return Challenge(scheme, params)

    def get(self, name: str) -> str | None:
        """Return a parameter without its quotes."""
        return self.params.get(name)

    def __str__(self) -> str:
        return self.scheme + " " + _comma_list(self.params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Challenge) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


@final
class Credentials:
    """Authorization or Proxy-Authorization: a scheme and its parameters (RFC 3261 §20.7)."""

    __slots__ = ("params", "scheme")

    def __init__(self, scheme: str, params: Params = NO_PARAMS) -> None:
        self.scheme: Final = scheme
        self.params: Final = params

    @staticmethod
    def parse(text: str) -> Credentials:
        """Return the credentials that ``text``, a whole header line, are.

        Raises:
            PeerError: no scheme, or bad parameters.
        """
        scheme, params = _scheme_and_params(text)
        return Credentials(scheme, params)

    def get(self, name: str) -> str | None:
        """Return a parameter without its quotes."""
        return self.params.get(name)

    def __str__(self) -> str:
        return self.scheme + " " + _comma_list(self.params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Credentials) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def _scheme_and_params(text: str) -> tuple[str, Params]:
    scheme, _, rest = text.replace("\t", " ").partition(" ")
    rest = rest.strip(" ")
    if not is_token(scheme) or not rest:
        raise PeerError("neither a challenge nor credentials")
    return scheme, parse_param_list(rest)


def _comma_list(params: Params) -> str:
    pieces: list[str] = []
    for place, name in enumerate(params.names):
        value = params.raw[place]
        pieces.append(name if value is None else name + "=" + value)
    return ", ".join(pieces)


@final
class RetryAfter:
    """When to try again (RFC 3261 §20.33).

    Attributes:
        seconds: from now.
        comment: without its parentheses, or "".
        params: duration and others.
    """

    __slots__ = ("comment", "params", "seconds")

    def __init__(self, seconds: int, comment: str = "", params: Params = NO_PARAMS) -> None:
        self.seconds: Final = seconds
        self.comment: Final = comment
        self.params: Final = params

    @staticmethod
    def parse(text: str) -> RetryAfter:
        """Return the value that ``text`` is.

        Raises:
            PeerError: no number, an open comment, or bad parameters.
        """
        opened = text.find("(")
        semicolon = text.find(";")
        comment = ""
        if opened >= 0 and (semicolon < 0 or opened < semicolon):
            closed = _end_of_comment(text, opened)
            comment = text[opened + 1 : closed - 1]
            rest = text[closed:].lstrip(" \t")
            digits = text[:opened]
        else:
            digits, _, _ = text.partition(";")
            rest = text[semicolon:] if semicolon >= 0 else ""
        return RetryAfter(number(digits.strip(" \t")), comment, parse_params(rest))

    def __str__(self) -> str:
        comment = " (" + self.comment + ")" if self.comment else ""
        return str(self.seconds) + comment + str(self.params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RetryAfter) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def _end_of_comment(text: str, start: int) -> int:
    depth = 0
    position = start
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                return position + 1
        position += 1
    raise PeerError("a comment does not end")


def parse_date(text: str) -> float:
    """Return a Date as seconds since the epoch.

    Raises:
        PeerError: not the one form that RFC 3261 §20.17 allows, or not GMT.
    """
    found = _date(text)
    month = found.group(2).capitalize() if found is not None else ""
    if found is None or month not in _MONTHS:
        raise PeerError("a Date is not in the form of RFC 1123 in GMT")
    day, year = int(found.group(1)), int(found.group(3))
    hour, minute, second = int(found.group(4)), int(found.group(5)), int(found.group(6))
    if not 1 <= day <= 31 or year < 1970 or hour > 23 or minute > 59 or second > 60:
        raise PeerError("a Date has a field out of range")
    return float(timegm((year, _MONTHS.index(month) + 1, day, hour, minute, second)))


def date_text(epoch: float) -> str:
    """Return seconds since the epoch as a Date (RFC 3261 §20.17)."""
    second = int(epoch // 1.0)
    known = _dates.get(second)
    if known is not None:
        return known
    moment = gmtime(second)
    text = (
        f"{_DAYS[moment.tm_wday]}, {moment.tm_mday:02} {_MONTHS[moment.tm_mon - 1]} "
        f"{moment.tm_year:04} {moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02} GMT"
    )
    if len(_dates) >= _SECONDS:
        _dates.clear()
    _dates[second] = text
    return text
