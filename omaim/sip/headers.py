"""The typed values of SIP header fields, each with ``parse(text)`` and ``str(value)``.

``text`` is one element of one header, unfolded. A value never changes once made; the methods
``with_…`` return another. Values that the message at hand leaves alone are never parsed.

Spec: RFC 3261 §20, §25.1; RFC 3262 §7.2; RFC 6665 §8.2
"""

from __future__ import annotations

import re
from typing import Final, final

from omaim.errors import PeerError
from omaim.grammar import (
    NO_PARAMS,
    Params,
    clamped,
    end_of_quoted,
    is_token,
    number,
    parse_host,
    parse_host_port,
    parse_param_list,
    parse_params,
    quote,
    split_header_list,
    unquote,
)
from omaim.sip.names import COMPACT, canonical_name
from omaim.sip.session_values import DialogRef, Reason, SessionExpires
from omaim.sip.uri import Uri, parse_uri
from omaim.sip.values import (
    AcceptItem,
    Challenge,
    ContentType,
    Credentials,
    CSeq,
    EventHeader,
    ParamValue,
    RAck,
    RetryAfter,
    SubscriptionState,
    date_text,
    parse_date,
    q_of,
)

__all__ = [
    "COMPACT",
    "NO_PARAMS",
    "AcceptItem",
    "CSeq",
    "Challenge",
    "ContentType",
    "Credentials",
    "DialogRef",
    "EventHeader",
    "NameAddr",
    "ParamValue",
    "Params",
    "RAck",
    "Reason",
    "RetryAfter",
    "SessionExpires",
    "SubscriptionState",
    "Via",
    "canonical_name",
    "date_text",
    "parse_date",
    "parse_param_list",
    "q_of",
    "split_header_list",
]

_tokens: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~ \t]*").fullmatch
_ONLY_TAG: Final = ["tag"]
_KEPT: Final = 1024  # peers whose part of a Via, all before its parameters, is remembered
_KEPT_LENGTH: Final = 100
_fronts: Final[dict[str, tuple[str, str, str, int]]] = {}
_needs_brackets: Final = re.compile(r'[?,">]').search


@final
class Via:
    """One hop that a request took, and that its response will take back.

    Attributes:
        protocol: "SIP/2.0" as a rule.
        transport: upper case, as "UDP".
        host: lower case; IPv6 in brackets.
        port: 0 when there is none.
        params: all parameters, branch among them.
        branch: "" when there is none.

    Spec: RFC 3261 §18.2.1, §20.42; RFC 3581
    """

    __slots__ = ("branch", "host", "params", "port", "protocol", "transport")

    def __init__(
        self,
        transport: str,
        host: str,
        port: int = 0,
        params: Params = NO_PARAMS,
        protocol: str = "SIP/2.0",
    ) -> None:
        self.protocol: Final = protocol
        self.transport: Final = transport
        self.host: Final = host
        self.port: Final = port
        self.params: Final = params
        branch: str | None = params.get("branch") if params.names else None
        self.branch: Final[str] = "" if branch is None else branch

    @staticmethod
    def parse(text: str) -> Via:
        """Return the Via that ``text``, one element of the header, is.

        Raises:
            PeerError: it breaks the grammar.
        """
        semicolon = text.find(";")
        if semicolon < 0:
            front = text
            params = NO_PARAMS
        else:
            front = text[:semicolon]
            params = parse_params(text[semicolon:])
        known = _fronts.get(front)
        if known is None:
            known = _front(front)
            if len(front) <= _KEPT_LENGTH:
                if len(_fronts) >= _KEPT:
                    _fronts.clear()
                _fronts[front] = known
        protocol, transport, host, port = known
        return Via(transport, host, port, params, protocol)

    @property
    def received(self) -> str:
        """The received parameter, IPv6 without brackets (RFC 5118 §4.5), or ""."""
        text = self.params.get("received")
        if text is None:
            return ""
        if text[:1] == "[" and text[-1:] == "]":
            return text[1:-1]
        return text

    @property
    def rport(self) -> int:
        """The rport parameter; 0 when it asks for a port, -1 when absent (RFC 3581 §3)."""
        if not self.params.has("rport"):
            return -1
        text = self.params.get("rport")
        return number(text, 65535) if text else 0

    @property
    def maddr(self) -> str:
        """The maddr parameter in lower case, or ""."""
        text = self.params.get("maddr")
        return "" if text is None else parse_host(text)

    @property
    def sent_by(self) -> str:
        """host, or host:port when a port is given."""
        return self.host + ":" + str(self.port) if self.port else self.host

    def with_param(self, name: str, value: str | None = None) -> Via:
        """Return the same Via with one parameter set (``None``: as a flag)."""
        return Via(
            self.transport, self.host, self.port, self.params.with_(name, value), self.protocol
        )

    def stamped(self, host: str, port: int) -> Via:
        """Return the same Via with where it really came from.

        Args:
            host: written as received; IPv6 without brackets.
            port: written as rport when that parameter is there.

        Spec: RFC 3261 §18.2.1; RFC 3581 §4
        """
        names = self.params.names
        raw = self.params.raw[:]
        if "rport" in names:
            raw[names.index("rport")] = str(port)
        if "received" in names:
            raw[names.index("received")] = host
        else:
            names = [*names, "received"]
            raw.append(host)
        return Via(self.transport, self.host, self.port, Params(names, raw), self.protocol)

    def __str__(self) -> str:
        text = self.protocol + "/" + self.transport + " " + self.host
        if self.port:
            text += ":" + str(self.port)
        return text + str(self.params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Via) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"Via({str(self)!r})"


def _front(text: str) -> tuple[str, str, str, int]:
    """Return protocol, transport, host and port of what stands before a Via's parameters."""
    name, _, rest = text.partition("/")
    version, _, rest = rest.partition("/")
    name, version = name.strip(" \t").upper(), version.strip(" \t")
    transport, _, sent_by = rest.strip(" \t").replace("\t", " ").partition(" ")
    if not is_token(name) or not is_token(version) or not is_token(transport):
        raise PeerError("a Via has no good protocol or transport")
    host, port = parse_host_port(sent_by.strip(" \t"))
    return name + "/" + version, transport.upper(), host, port


@final
class NameAddr:
    """An address with a display name and parameters: From, To, Contact, Route and their like.

    Attributes:
        display: the display name without quotes and escapes; "" when there is none.
        uri_text: the URI as written; "*" for the Contact that means all.
        params: the parameters of the header, not of the URI.
        tag: the tag parameter, or "".

    Spec: RFC 3261 §20.10, §20.20, §20.34, §25.1 (name-addr, addr-spec)
    """

    __slots__ = ("_uri", "display", "params", "tag", "uri_text")

    def __init__(self, uri_text: str, display: str = "", params: Params = NO_PARAMS) -> None:
        self.uri_text: Final = uri_text
        self.display: Final = display
        self.params: Final = params
        tag: str | None = params.get("tag") if params.names else None
        self.tag: Final[str] = "" if tag is None else tag
        self._uri: Uri | None = None

    @staticmethod
    def parse(text: str) -> NameAddr:
        """Return the address that ``text``, one element of the header, is.

        Without angle brackets all parameters belong to the header (RFC 3261 §20.10).

        Raises:
            PeerError: it breaks the grammar; the URI itself is looked at on first use.
        """
        display = ""
        if text[:1] == '"':
            start = end_of_quoted(text, 0)
            display = unquote(text[:start])
            opened = start
            while text[opened : opened + 1] in (" ", "\t"):
                opened += 1
            if text[opened : opened + 1] != "<":
                raise PeerError("a display name is followed by no URI in angle brackets")
        else:
            opened = text.find("<")
            if opened > 0:
                display = text[:opened].strip(" \t")
                if _tokens(display) is None:
                    raise PeerError("a display name has to be quoted")
        if opened < 0:
            uri_text, semicolon, _ = text.partition(";")
            uri_text = uri_text.rstrip(" \t")
            if _needs_brackets(uri_text) is not None:
                raise PeerError("a URI with these characters stands in angle brackets")
            params = parse_params(text[text.index(";") :]) if semicolon else NO_PARAMS
        else:
            closed = text.find(">", opened)
            if closed < 0:
                raise PeerError("an angle bracket is not closed")
            uri_text = text[opened + 1 : closed]
            rest = text[closed + 1 :]
            tag = rest[5:]
            if rest[:5] == ";tag=" and tag.isalnum() and tag.isascii():
                params = Params(_ONLY_TAG, [tag])  # From and To of nearly every message
            else:
                params = parse_params(rest)
        if not uri_text or " " in uri_text or "\t" in uri_text:
            raise PeerError("an address has no URI, or one with white space")
        return NameAddr(uri_text, display, params)

    @property
    def uri(self) -> Uri:
        """The URI, parsed on first use.

        Raises:
            PeerError: it is none.
        """
        uri = self._uri
        if uri is None:
            uri = parse_uri(self.uri_text)
            self._uri = uri
        return uri

    @property
    def q(self) -> float:
        """The q parameter; 1.0 when absent.

        Raises:
            PeerError: it is no qvalue.
        """
        return q_of(self.params)

    @property
    def expires(self) -> int | None:
        """The expires parameter in seconds, at most 2^32-1; ``None`` when absent.

        Raises:
            PeerError: it is no number (treat as 3600, RFC 3261 §20.10).
        """
        text = self.params.get("expires")
        return None if text is None else clamped(text)

    def with_param(self, name: str, value: str | None = None) -> NameAddr:
        """Return the same address with one header parameter set (``None``: as a flag)."""
        return NameAddr(self.uri_text, self.display, self.params.with_(name, value))

    def without_param(self, name: str) -> NameAddr:
        """Return the same address without one header parameter."""
        return NameAddr(self.uri_text, self.display, self.params.without(name))

    def __str__(self) -> str:
        if self.uri_text == "*":
            return "*" + str(self.params)
        if self.display:
            return quote(self.display) + " <" + self.uri_text + ">" + str(self.params)
        return "<" + self.uri_text + ">" + str(self.params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NameAddr) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"NameAddr({str(self)!r})"
