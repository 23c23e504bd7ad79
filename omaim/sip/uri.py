"""URIs: sip, sips and tel in parts, all others kept whole; the canonical address of record.

A URI value never changes, so parsed ones are shared and kept in a small bounded table.

Spec: RFC 3261 §19.1, §25.1; RFC 3966; RFC 5118
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias, final

from omaim.errors import PeerError
from omaim.grammar import (
    MAX_PARAMS,
    NO_PARAMS,
    Params,
    parse_host_port,
    same_host,
)

_KEPT: Final = 4096  # parsed URIs and addresses of record remembered, each
_KEPT_LENGTH: Final = 160  # longer ones are rare and would let a peer fill the memory
_LONGEST: Final = 8192


def _some(marks: str) -> str:
    """Return the pattern of any number of unreserved characters, these marks, and escapes.

    Runs of characters are taken at once, which is many times faster than one by one; and no
    text matches in two ways.
    """
    plain = rf"[A-Za-z0-9\-_.!~*'(){marks}]*"
    return rf"{plain}(?:%[0-9A-Fa-f]{{2}}{plain})*"


_PNAME: Final = r"\[\]/:&+$"
_HNAME: Final = r"\[\]/?:+$&"
_is_user: Final = re.compile(rf"(?!\Z){_some('&=+$,;?/')}").fullmatch
_is_password: Final = re.compile(_some("&=+$,")).fullmatch
_are_params: Final = re.compile(
    rf"(?:;(?![=;]|\Z){_some(_PNAME)}(?:={_some(_PNAME + '=@?')})?)*"
).fullmatch
_are_headers: Final = re.compile(rf"(?!=){_some(_HNAME)}={_some(_HNAME + '=@,;')}").fullmatch
_escape: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_is_scheme: Final = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*").fullmatch
_is_opaque: Final = re.compile(r"[!#-;=?-~]+").fullmatch
_is_global: Final = re.compile(r"\+[0-9\-.()]+").fullmatch
_is_local: Final = re.compile(r"[0-9A-Fa-f*#\-.()]+").fullmatch

_UNRESERVED: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()"
)
_COUNT_ALWAYS: Final = ("transport", "user", "ttl", "method", "maddr")


def plain_escapes(text: str) -> str:
    """Undo the escapes that need not be, and write the rest with upper-case digits.

    Two texts that differ only in such escapes are equal; reserved characters and their escapes
    are not.

    Spec: RFC 3261 §19.1.4; RFC 3986 §6.2.2
    """
    if "%" not in text:
        return text
    out = ""
    start = 0
    for found in _escape.finditer(text):
        char = chr(int(found.group(1), 16))
        out += text[start : found.start()]
        out += char if char in _UNRESERVED else found.group().upper()
        start = found.end()
    return out + text[start:]


def unescape(text: str) -> str:
    """Return ``text`` with each %HH undone once, as UTF-8; bad UTF-8 becomes U+FFFD.

    Spec: RFC 3261 §19.1.2
    """
    if "%" not in text:
        return text
    octets = bytearray()
    start = 0
    for found in _escape.finditer(text):
        octets += text[start : found.start()].encode("utf-8", "replace")
        octets.append(int(found.group(1), 16))
        start = found.end()
    octets += text[start:].encode("utf-8", "replace")
    return octets.decode("utf-8", "replace")


def escape_user(text: str) -> str:
    """Return ``text`` as it may stand for a user; what is not allowed there is escaped."""
    if _is_user(text) is not None and "%" not in text:
        return text
    out = ""
    for octet in text.encode("utf-8", "replace"):
        char = chr(octet)
        out += char if char in _UNRESERVED or char in "&=+$,;?/" else f"%{octet:02X}"
    return out


@final
class SipUri:
    """A sip or sips URI.

    Attributes:
        scheme: "sip" or "sips".
        user: as escaped in the text; "" when there is none.
        password: as escaped in the text; "" when there is none.
        host: lower case; IPv6 in brackets.
        port: 0 when there is none.
        params: names in lower case, values as in the text.
        headers: what stands behind "?"; "" when there is nothing.

    Spec: RFC 3261 §19.1.1
    """

    __slots__ = ("_text", "headers", "host", "params", "password", "port", "scheme", "user")

    def __init__(
        self,
        scheme: str,
        user: str,
        host: str,
        port: int = 0,
        params: Params = NO_PARAMS,
        headers: str = "",
        password: str = "",
    ) -> None:
        self.scheme: Final = scheme
        self.user: Final = user
        self.password: Final = password
        self.host: Final = host
        self.port: Final = port
        self.params: Final = params
        self.headers: Final = headers
        self._text = ""

    @property
    def transport(self) -> str:
        """The transport parameter in lower case, or ""."""
        return self._lower("transport")

    @property
    def lr(self) -> bool:
        """Whether the element behind this URI is a loose router (RFC 3261 §16.12)."""
        return self.params.has("lr")

    @property
    def ob(self) -> bool:
        """Whether the outbound parameter is there (RFC 5626 §11.1)."""
        return self.params.has("ob")

    @property
    def gr(self) -> str | None:
        """The gr parameter; "" when a bare flag, ``None`` when absent (RFC 5627 §6.1)."""
        if not self.params.has("gr"):
            return None
        return self.params.get("gr") or ""

    @property
    def maddr(self) -> str:
        """The maddr parameter in lower case, or ""."""
        return self._lower("maddr")

    @property
    def method(self) -> str:
        """The method parameter, or ""."""
        return self.params.get("method") or ""

    @property
    def ttl(self) -> str:
        """The ttl parameter as text, or ""."""
        return self.params.get("ttl") or ""

    @property
    def user_param(self) -> str:
        """The user parameter in lower case ("phone", "ip"), or ""."""
        return self._lower("user")

    @property
    def user_text(self) -> str:
        """The user with its escapes undone."""
        return unescape(self.user)

    def _lower(self, name: str) -> str:
        params = self.params
        if not params.names:
            return ""
        value = params.get(name)
        return "" if value is None else value.lower()

    def with_params(self, params: Params) -> SipUri:
        """Return the same URI with these parameters instead."""
        return SipUri(
            self.scheme, self.user, self.host, self.port, params, self.headers, self.password
        )

    def with_param(self, name: str, value: str | None = None) -> SipUri:
        """Return the same URI with one parameter set (``None``: as a flag)."""
        return self.with_params(self.params.with_(name, value))

    def without_param(self, name: str) -> SipUri:
        """Return the same URI without one parameter."""
        if not self.params.has(name):
            return self
        return self.with_params(self.params.without(name))

    def for_request(self) -> SipUri:
        """Return the same URI as it may stand in a Request-URI: no headers, no method.

        Spec: RFC 3261 §19.1.1 table 1, §19.1.5
        """
        if not self.headers and not self.params.has("method"):
            return self
        params = self.params.without("method")
        return SipUri(self.scheme, self.user, self.host, self.port, params, "", self.password)

    def header_items(self) -> list[tuple[str, str]]:
        """Return (name, value) of the headers part, escapes undone once."""
        items: list[tuple[str, str]] = []
        for piece in self.headers.split("&") if self.headers else []:
            name, _, value = piece.partition("=")
            items.append((unescape(name), unescape(value)))
        return items

    def aor(self) -> str:
        """Return the canonical address of record: no port, parameters, headers, password.

        sips is written as sip, the host in lower case without a final dot, and the user
        with the fewest escapes.

        Spec: RFC 3261 §10.3 step 5. Differs: port and sips do not make another address, as
        a home network has one user of each name.
        """
        host = self.host
        if host[-1] == ".":
            host = host[:-1]
        if not self.user:
            return "sip:" + host
        return "sip:" + plain_escapes(self.user) + "@" + host

    def equals(self, other: Uri) -> bool:
        """Tell whether both are the same URI by the rules of RFC 3261 §19.1.4.

        It is no equivalence: it is not transitive.
        """
        if not isinstance(other, SipUri):
            return False
        if self is other:
            return True
        if (
            self.scheme != other.scheme
            or self.port != other.port
            or not same_host(self.host, other.host)
            or plain_escapes(self.user) != plain_escapes(other.user)
            or plain_escapes(self.password) != plain_escapes(other.password)
        ):
            return False
        mine = _param_table(self.params)
        theirs = _param_table(other.params)
        for name, value in mine.items():
            if name in theirs:
                if theirs[name] != value:
                    return False
            elif name in _COUNT_ALWAYS:
                return False
        for name in _COUNT_ALWAYS:
            if name in theirs and name not in mine:
                return False
        return _header_table(self.headers) == _header_table(other.headers)

    def __str__(self) -> str:
        text = self._text
        if not text:
            text = self.scheme + ":"
            if self.user:
                text += self.user
                if self.password:
                    text += ":" + self.password
                text += "@"
            text += self.host
            if self.port:
                text += ":" + str(self.port)
            if self.params.names:
                text += str(self.params)
            if self.headers:
                text += "?" + self.headers
            self._text = text
        return text

    def __eq__(self, other: object) -> bool:
        """Exact equality of all parts; :meth:`equals` has the RFC's."""
        return isinstance(other, SipUri) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"SipUri({str(self)!r})"


def _param_table(params: Params) -> dict[str, str]:
    table: dict[str, str] = {}
    for place, name in enumerate(params.names):
        value = params.raw[place]
        table[plain_escapes(name).lower()] = "" if value is None else plain_escapes(value).lower()
    return table


def _header_table(headers: str) -> list[str]:
    if not headers:
        return []
    table: list[str] = []
    for piece in headers.split("&"):
        name, _, value = plain_escapes(piece).partition("=")
        table.append(name.lower() + "=" + value)
    return sorted(table)


@final
class TelUri:
    """A telephone number as a URI.

    Attributes:
        number: as written, with its visual separators.
        params: names in lower case.

    Spec: RFC 3966
    """

    __slots__ = ("number", "params")

    def __init__(self, number: str, params: Params = NO_PARAMS) -> None:
        self.number: Final = number
        self.params: Final = params

    @property
    def scheme(self) -> str:
        """ "tel"."""
        return "tel"

    @property
    def is_global(self) -> bool:
        """Whether the number begins with "+"."""
        return self.number[:1] == "+"

    @property
    def digits(self) -> str:
        """The number without visual separators, in lower case."""
        return _digits(self.number)

    @property
    def global_number(self) -> str:
        """The digits of a global number with its "+"; "" for a local one."""
        return self.digits if self.is_global else ""

    @property
    def context(self) -> str:
        """The phone-context of a local number in canonical form, or ""."""
        text = self.params.get("phone-context")
        if text is None:
            return ""
        return _digits(text) if text[:1] == "+" else text.lower()

    def aor(self) -> str:
        """Return the canonical form: digits only, and the context of a local number."""
        if self.is_global:
            return "tel:" + self.digits
        return "tel:" + self.digits + ";phone-context=" + self.context

    def equals(self, other: Uri) -> bool:
        """Tell whether both are the same number (RFC 3966 §4)."""
        return (
            isinstance(other, TelUri)
            and self.digits == other.digits
            and self._table() == other._table()
        )

    def _table(self) -> dict[str, str]:
        table = _param_table(self.params)
        if "phone-context" in table:
            table["phone-context"] = self.context
        if "ext" in table:
            table["ext"] = _digits(table["ext"])
        return table

    def __str__(self) -> str:
        return "tel:" + self.number + str(self.params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TelUri) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"TelUri({str(self)!r})"


def _digits(number: str) -> str:
    for separator in "-.()":
        number = number.replace(separator, "")
    return number.lower()


@final
class OtherUri:
    """A URI of a scheme that is kept whole (im, pres, urn, http, …).

    Attributes:
        scheme: lower case.
        text: the whole URI as written.

    Spec: RFC 3261 §25.1 (absoluteURI)
    """

    __slots__ = ("scheme", "text")

    def __init__(self, scheme: str, text: str) -> None:
        self.scheme: Final = scheme
        self.text: Final = text

    def aor(self) -> str:
        """Return the text with its scheme in lower case."""
        return self.scheme + self.text[len(self.scheme) :]

    def equals(self, other: Uri) -> bool:
        """Tell whether both are the same but for the case of the scheme."""
        return isinstance(other, OtherUri) and self.aor() == other.aor()

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OtherUri) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"OtherUri({self.text!r})"


Uri: TypeAlias = SipUri | TelUri | OtherUri

_parsed: Final[dict[str, Uri]] = {}
_aors: Final[dict[str, str]] = {}


def parse_uri(text: str) -> Uri:
    """Return the URI that ``text`` is; a scheme we do not know makes an :class:`OtherUri`.

    Raises:
        PeerError: it is none, or breaks the grammar of its scheme (answer 400).

    Spec: RFC 3261 §19.1.1, §25.1; RFC 3966 §3
    """
    known = _parsed.get(text)
    if known is not None:
        return known
    uri = _parse(text)
    if len(text) <= _KEPT_LENGTH:
        if len(_parsed) >= _KEPT:
            _parsed.clear()
        _parsed[text] = uri
    return uri


def _parse(text: str) -> Uri:
    scheme, colon, rest = text.partition(":")
    if not colon or len(text) > _LONGEST:
        raise PeerError("a URI has no scheme or is too long")
    scheme = scheme.lower()
    if scheme == "sip" or scheme == "sips":
        return _parse_sip(scheme, rest)
    if scheme == "tel":
        return _parse_tel(rest)
    if _is_scheme(scheme) is None or _is_opaque(rest) is None:
        raise PeerError("not a URI")
    return OtherUri(scheme, text)


def _parse_sip(scheme: str, rest: str) -> SipUri:
    user, at, place = rest.partition("@")
    password = ""
    if at:
        if ":" in user:
            user, _, password = user.partition(":")
            if _is_password(password) is None:
                raise PeerError("a SIP URI has a bad password")
        if _is_user(user) is None:
            raise PeerError("a SIP URI has a bad user")
    else:
        user, place = "", rest
    headers = ""
    mark = place.find("?")
    if mark >= 0:
        headers = place[mark + 1 :]
        place = place[:mark]
        if _are_headers(headers) is None:
            raise PeerError("a SIP URI has bad headers")
    params = NO_PARAMS
    mark = place.find(";")
    if mark >= 0:
        if _are_params(place, mark) is None:
            raise PeerError("a SIP URI has bad parameters")
        params = _uri_params(place[mark + 1 :])
        place = place[:mark]
    host, port = parse_host_port(place)
    return SipUri(scheme, user, host, port, params, headers, password)


def _uri_params(text: str) -> Params:
    names: list[str] = []
    raw: list[str | None] = []
    if text.count(";") >= MAX_PARAMS:
        raise PeerError("a URI has too many parameters")
    for piece in text.split(";"):
        name, equals, value = piece.partition("=")
        name = name.lower()
        if name in names:
            raise PeerError("a URI has a parameter twice")
        names.append(name)
        raw.append(value if equals else None)
    return Params(names, raw)


def _parse_tel(rest: str) -> TelUri:
    digits, semicolon, more = rest.partition(";")
    params = NO_PARAMS
    if semicolon:
        if _are_params(";" + more) is None:
            raise PeerError("a tel URI has bad parameters")
        params = _uri_params(more)
    good = _is_global(digits) is not None or (
        _is_local(digits) is not None and params.get("phone-context")
    )
    if not good or not digits.strip("+-.()"):
        raise PeerError("a tel URI has neither a global number nor one with its context")
    return TelUri(digits, params)


def canonical_aor(text: str) -> str:
    """Return the key under which whatever belongs to this address is stored.

    Raises:
        PeerError: not a URI.
    """
    known = _aors.get(text)
    if known is not None:
        return known
    aor = parse_uri(text).aor()
    if len(text) <= _KEPT_LENGTH:
        if len(_aors) >= _KEPT:
            _aors.clear()
        _aors[text] = aor
    return aor


def comparable(text: str) -> str:
    """Return the key of an address as :func:`canonical_aor`; what is no URI stands for itself."""
    try:
        return canonical_aor(text)
    except PeerError:
        return text
