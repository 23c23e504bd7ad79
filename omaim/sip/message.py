"""Requests and responses: the header lines as they came, typed values on first use.

A message keeps two lists side by side, canonical names and raw lines. What nobody changes is
written back as it came, folding and compact forms included. A typed value (``via``, ``to``,
…) is kept until a line of its name changes; it never changes itself: to change a header, write
its new text with :meth:`Message.set` and its sisters. ``uri``, ``body``, ``status`` and
``reason`` may be assigned. Names given to methods are canonical ("Via", "Call-ID", "CSeq");
:func:`omaim.sip.headers.canonical_name` makes them so.

Spec: RFC 3261 §7, §8.2.6, §20
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

from omaim.errors import PeerError, UsageError
from omaim.grammar import clamped, number, quote, split_header_list, unfold
from omaim.sip.headers import ContentType, CSeq, EventHeader, NameAddr, Via
from omaim.sip.reasons import REASONS, reason_for
from omaim.sip.uri import Uri, parse_uri

__all__ = [
    "REASONS",
    "Message",
    "Request",
    "Response",
    "error_response",
    "reason_for",
    "value_of",
]

_KEPT: Final = frozenset(["Via", "From", "To", "Call-ID", "CSeq"])  # kept typed; also echoed
_MAX_HOPS: Final = 255
_NO_LENGTH: Final = -1

RETRY_AFTER: Final = "5"  # seconds, told to whom there is no room for now


def value_of(line: str) -> str:
    """Return the unfolded value of a raw header line."""
    value = line[line.find(":") + 1 :].strip(" \t")
    if "\n" in value:
        return unfold(value).strip(" \t")
    return value


def _line(name: str, value: str) -> str:
    if "\r" in value or "\n" in value:
        raise UsageError(f"the value of {name} holds a line end; remove it first")
    return name + ": " + value


class Message:
    """What requests and responses share.

    Attributes:
        names: canonical header names, one per line; only the message itself changes it.
        lines: beside each name its raw line without the final line end; likewise.
        body: the octets behind the header.
    """

    __slots__ = (
        "_call_id",
        "_cseq",
        "_from",
        "_length",
        "_to",
        "_via",
        "body",
        "lines",
        "names",
    )

    def __init__(self, names: list[str], lines: list[str], body: bytes) -> None:
        self.names = names
        self.lines = lines
        self.body = body
        self._length = _NO_LENGTH  # what the Content-Length line says
        self._via: Via | None = None
        self._from: NameAddr | None = None
        self._to: NameAddr | None = None
        self._cseq: CSeq | None = None
        self._call_id: str | None = None

    def has(self, name: str) -> bool:
        """Tell whether there is a header line of this name."""
        return name in self.names

    def first(self, name: str) -> str | None:
        """Return the unfolded value of the first line of this name, or ``None``."""
        names = self.names
        if name not in names:
            return None
        return value_of(self.lines[names.index(name)])

    def all(self, name: str) -> list[str]:
        """Return the unfolded value of each line of this name, in order."""
        if name not in self.names:
            return []
        return [value_of(self.lines[at]) for at, known in enumerate(self.names) if known == name]

    def values(self, name: str) -> list[str]:
        """Return the elements of a list header over all its lines, in order.

        Raises:
            PeerError: an element is empty, or quotes or brackets do not match.
        """
        found = self.all(name)
        if len(found) == 1:
            return split_header_list(found[0])
        elements: list[str] = []
        for value in found:
            elements.extend(split_header_list(value))
        return elements

    def _only(self, name: str) -> str:
        try:
            at = self.names.index(name)
        except ValueError:
            raise PeerError(f"{name} is missing")
        return value_of(self.lines[at])

    @property
    def via(self) -> Via:
        """The topmost Via.

        Raises:
            PeerError: there is none, or a bad one.
        """
        via = self._via
        if via is None:
            text = self._only("Via")
            if "," in text:
                elements = split_header_list(text)
                text = elements[0]
            via = Via.parse(text)
            self._via = via
        return via

    @property
    def vias(self) -> list[Via]:
        """All Vias, topmost first.

        Raises:
            PeerError: one is bad.
        """
        return [Via.parse(text) for text in self.values("Via")]

    @property
    def from_(self) -> NameAddr:
        """From.

        Raises:
            PeerError: there is none, or a bad one.
        """
        address = self._from
        if address is None:
            address = NameAddr.parse(self._only("From"))
            self._from = address
        return address

    @property
    def to(self) -> NameAddr:
        """To.

        Raises:
            PeerError: there is none, or a bad one.
        """
        address = self._to
        if address is None:
            address = NameAddr.parse(self._only("To"))
            self._to = address
        return address

    @property
    def call_id(self) -> str:
        """The Call-ID, case-sensitive.

        Raises:
            PeerError: there is none, or an empty one.
        """
        call_id = self._call_id
        if call_id is None:
            call_id = self._only("Call-ID")
            if not call_id or " " in call_id or "\t" in call_id:
                raise PeerError("Call-ID is not one word")
            self._call_id = call_id
        return call_id

    @property
    def cseq(self) -> CSeq:
        """CSeq.

        Raises:
            PeerError: there is none, or a bad one.
        """
        cseq = self._cseq
        if cseq is None:
            cseq = CSeq.parse(self._only("CSeq"))
            self._cseq = cseq
        return cseq

    @property
    def contacts(self) -> list[NameAddr]:
        """All Contacts; the one that means all has ``uri_text`` "*".

        Raises:
            PeerError: one is bad.
        """
        return self.addresses("Contact")

    @property
    def routes(self) -> list[NameAddr]:
        """All Routes, topmost first.

        Raises:
            PeerError: one is bad.
        """
        return self.addresses("Route")

    @property
    def record_routes(self) -> list[NameAddr]:
        """All Record-Routes, topmost first.

        Raises:
            PeerError: one is bad.
        """
        return self.addresses("Record-Route")

    def addresses(self, name: str) -> list[NameAddr]:
        """Return all values of a header that holds addresses, in order.

        Raises:
            PeerError: one is bad.
        """
        if name not in self.names:
            return []
        return [NameAddr.parse(text) for text in self.values(name)]

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards, or ``None``.

        Raises:
            PeerError: not a number from 0 to 255.
        """
        text = self.first("Max-Forwards")
        return None if text is None else number(text, _MAX_HOPS)

    @property
    def expires(self) -> int | None:
        """Expires in seconds, at most 2^32-1, or ``None``.

        Raises:
            PeerError: not a number.
        """
        text = self.first("Expires")
        return None if text is None else clamped(text)

    @property
    def event(self) -> EventHeader | None:
        """Event, or ``None``.

        Raises:
            PeerError: a bad one.
        """
        text = self.first("Event")
        return None if text is None else EventHeader.parse(text)

    @property
    def content_type(self) -> ContentType | None:
        """Content-Type, or ``None``.

        Raises:
            PeerError: a bad one.
        """
        text = self.first("Content-Type")
        return None if text is None else ContentType.parse(text)

    @property
    def supported(self) -> frozenset[str]:
        """The option tags of Supported, in lower case.

        Raises:
            PeerError: a list with an empty element.
        """
        return self._tags("Supported")

    @property
    def require(self) -> frozenset[str]:
        """The option tags of Require, in lower case.

        Raises:
            PeerError: a list with an empty element.
        """
        return self._tags("Require")

    @property
    def proxy_require(self) -> frozenset[str]:
        """The option tags of Proxy-Require, in lower case.

        Raises:
            PeerError: a list with an empty element.
        """
        return self._tags("Proxy-Require")

    def _tags(self, name: str) -> frozenset[str]:
        if name not in self.names:
            return _NOTHING
        return frozenset([tag.lower() for tag in self.values(name)])

    def _forget(self, name: str) -> None:
        if name == "Via":
            self._via = None
        elif name == "To":
            self._to = None
        elif name == "From":
            self._from = None
        elif name == "CSeq":
            self._cseq = None
        else:
            self._call_id = None

    def set(self, name: str, value: str) -> None:
        """Make ``value`` the only one of this name: in the first one's place, or at the end."""
        names = self.names
        line = _line(name, value)
        if name in names:
            at = names.index(name)
            self.lines[at] = line
            if names.count(name) > 1:
                self._drop(name, at + 1)
        else:
            names.append(name)
            self.lines.append(line)
        if name in _KEPT:
            self._forget(name)
        elif name == "Content-Length":
            self._length = _NO_LENGTH

    def add(self, name: str, value: str) -> None:
        """Append a line."""
        self.lines.append(_line(name, value))
        self.names.append(name)
        if name in _KEPT:
            self._forget(name)
        elif name == "Content-Length":
            self._length = _NO_LENGTH

    def add_all(self, headers: Iterable[tuple[str, str]]) -> None:
        """Append lines, given as (name, value)."""
        for name, value in headers:
            self.add(name, value)

    def prepend(self, name: str, value: str) -> None:
        """Put a line before all others of this name, on top when there is none."""
        line = _line(name, value)
        at = self.names.index(name) if name in self.names else 0
        self.names.insert(at, name)
        self.lines.insert(at, line)
        if name in _KEPT:
            self._forget(name)

    def push_via(self, via: Via, text: str = "") -> None:
        """Put a Via on top; ``text`` is how it reads, where the caller knows."""
        self.prepend("Via", text or str(via))
        self._via = via

    def remove(self, name: str) -> None:
        """Take away all lines of this name."""
        if name in self.names:
            self._drop(name, 0)
            if name in _KEPT:
                self._forget(name)
            elif name == "Content-Length":
                self._length = _NO_LENGTH

    def remove_first(self, name: str) -> None:
        """Take away the first value of a list header; its line too when nothing is left.

        Raises:
            PeerError: quotes or brackets in the line do not match.
        """
        if name not in self.names:
            return
        at = self.names.index(name)
        value = value_of(self.lines[at])
        rest: list[str] = split_header_list(value)[1:] if "," in value else []
        if rest:
            self.lines[at] = name + ": " + ", ".join(rest)
        else:
            del self.names[at]
            del self.lines[at]
        if name in _KEPT:
            self._forget(name)

    def replace_via(self, via: Via) -> None:
        """Put ``via`` in the place of the topmost Via value, as a receiver does that stamps it.

        Raises:
            PeerError: there is none, or its line cannot be read.

        Spec: RFC 3261 §18.2.1; RFC 3581 §4
        """
        if "Via" not in self.names:
            raise PeerError("Via is missing")
        text = str(via)
        at = self.names.index("Via")
        if "," in self.lines[at]:
            text = ", ".join([text, *split_header_list(value_of(self.lines[at]))[1:]])
        self.lines[at] = "Via: " + text
        self._via = via

    def _drop(self, name: str, start: int) -> None:
        for at in range(len(self.names) - 1, start - 1, -1):
            if self.names[at] == name:
                del self.names[at]
                del self.lines[at]

    def set_body(self, body: bytes, content_type: str) -> None:
        """Replace the body and say what it is; an empty type says nothing."""
        self.body = body
        if content_type:
            self.set("Content-Type", content_type)
        else:
            self.remove("Content-Type")

    def note_length(self, size: int) -> None:
        """Note that the Content-Length line says ``size``; for the parser."""
        self._length = size

    def _write(self, start: str) -> bytes:
        if "\r" in start or "\n" in start:
            start = start.replace("\r", " ").replace("\n", " ")  # no line may hide in it
        size = len(self.body)
        if self._length != size:
            self.set("Content-Length", str(size))
            self._length = size
        head = start + "\r\n" + "\r\n".join(self.lines) + "\r\n\r\n"
        return head.encode("utf-8", "replace") + self.body

    def _copy_to(self, other: Message) -> None:
        other._length = self._length
        other._via = self._via
        other._from = self._from
        other._to = self._to
        other._cseq = self._cseq
        other._call_id = self._call_id


_NOTHING: Final[frozenset[str]] = frozenset()


def _pairs(headers: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    names: list[str] = []
    lines: list[str] = []
    for name, value in headers:
        names.append(name)
        lines.append(_line(name, value))
    return names, lines


@final
class Request(Message):
    """A request (RFC 3261 §7.1).

    Attributes:
        method: case-sensitive.
        uri: the Request-URI as written; assign another to retarget.
        next_hop: the URI of a strict router that is next, whose URI stands in the Request-URI
            (RFC 3261 §16.6 step 6); empty when Route and Request-URI say where to go.
    """

    __slots__ = ("_parsed", "_parsed_from", "_route", "_route_from", "method", "next_hop", "uri")

    def __init__(
        self, method: str, uri: str, names: list[str], lines: list[str], body: bytes = b""
    ) -> None:
        super().__init__(names, lines, body)
        self.method = method
        self.uri = uri
        self.next_hop = ""
        self._parsed: Uri | None = None
        self._parsed_from = ""
        self._route: Uri | None = None
        self._route_from = ""

    @staticmethod
    def make(method: str, uri: str, headers: list[tuple[str, str]], body: bytes = b"") -> Request:
        """Return a new request; ``headers`` are (canonical name, value) in order."""
        names, lines = _pairs(headers)
        return Request(method, uri, names, lines, body)

    @property
    def request_uri(self) -> Uri:
        """The Request-URI in parts.

        Raises:
            PeerError: it is no URI.
        """
        parsed = self._parsed
        if parsed is None or self._parsed_from != self.uri:
            parsed = parse_uri(self.uri)
            self._parsed = parsed
            self._parsed_from = self.uri
        return parsed

    @property
    def top_route(self) -> str:
        """The URI of the topmost Route as written, or "".

        Raises:
            PeerError: the Route is malformed.
        """
        text = self.first("Route")
        if text is None:
            return ""
        if text[:1] == "<":
            end = text.find(">")
            if end > 0:
                return text[1:end]
        return NameAddr.parse(self.values("Route")[0]).uri_text

    def route_uri(self, text: str) -> Uri:
        """Return the URI of a Route in parts; the last one asked for is remembered.

        Raises:
            PeerError: it is no URI.
        """
        uri = self._route
        if uri is None or text != self._route_from:
            uri = parse_uri(text)
            self._route = uri
            self._route_from = text
        return uri

    def copy(self) -> Request:
        """Return a copy that can be changed on its own; the body is shared."""
        other = Request(self.method, self.uri, self.names[:], self.lines[:], self.body)
        self._copy_to(other)
        other.next_hop = self.next_hop
        other._parsed = self._parsed
        other._parsed_from = self._parsed_from
        other._route = self._route
        other._route_from = self._route_from
        return other

    def to_bytes(self) -> bytes:
        """Return the message as it goes over the wire; Content-Length is always right."""
        return self._write(self.method + " " + self.uri + " SIP/2.0")

    def response(self, status: int, reason: str | None = None, to_tag: str = "") -> Response:
        """Return a response with what it takes over from this request.

        Args:
            status: 100 to 699.
            reason: the usual phrase when ``None``.
            to_tag: added to To when that has no tag; "" adds none.

        Spec: RFC 3261 §8.2.6.1 (Timestamp in a 100), §8.2.6.2
        """
        names: list[str] = []
        lines: list[str] = []
        to_at = -1
        for at, name in enumerate(self.names):
            if name in _KEPT or (name == "Timestamp" and status == 100):
                if name == "To":
                    to_at = len(names)
                names.append(name)
                lines.append(self.lines[at])
        response = Response(status, reason_for(status) if reason is None else reason, names, lines)
        self._copy_to(response)
        response._length = _NO_LENGTH
        if to_tag and to_at >= 0 and self._lacks_tag():
            lines[to_at] = lines[to_at].rstrip(" \t\r\n") + ";tag=" + to_tag
            response._to = None
        return response

    def _lacks_tag(self) -> bool:
        try:
            return not self.to.tag
        except PeerError:
            return False  # nothing good comes of writing more behind what we cannot read

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri}>"


@final
class Response(Message):
    """A response (RFC 3261 §7.2).

    Attributes:
        status: 100 to 699.
        reason: may be empty.
        local: made here for a timeout or a transport error, never seen on the wire.
    """

    __slots__ = ("local", "reason", "status")

    def __init__(
        self, status: int, reason: str, names: list[str], lines: list[str], body: bytes = b""
    ) -> None:
        super().__init__(names, lines, body)
        self.status = status
        self.reason = reason
        self.local = False

    def copy(self) -> Response:
        """Return a copy that can be changed on its own; the body is shared."""
        other = Response(self.status, self.reason, self.names[:], self.lines[:], self.body)
        self._copy_to(other)
        other.local = self.local
        return other

    def to_bytes(self) -> bytes:
        """Return the message as it goes over the wire; Content-Length is always right."""
        return self._write("SIP/2.0 " + str(self.status) + " " + self.reason)

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason}>"


def error_response(request: Request, error: PeerError, to_tag: str = "") -> Response:
    """Return the answer that an error deserves; a Warning tells why, or for 503 a time to wait.

    Works for a request that could be read in part only: what it lacks, the response lacks.

    Spec: RFC 3261 §8.2.6, §20.43 (warning 399), §21.5.4
    """
    response = request.response(error.status, None, to_tag)
    if error.why and error.status < 500:
        response.add("Warning", "399 omaim " + quote(error.why[:200]))
    if error.status == 503:
        response.add("Retry-After", RETRY_AFTER)
    return response
