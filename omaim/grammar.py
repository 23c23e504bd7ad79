"""The grammar that SIP, MSRP and digest share: tokens, quoted strings, hosts, parameters, lists.

Text here is one unfolded header value or a part of one, already decoded. Everything raises
:class:`~omaim.errors.PeerError` for what the peer wrote wrongly, and nothing else.

Spec: RFC 3261 §25.1; RFC 4975 §9 uses the same words
"""

from __future__ import annotations

import re
from typing import Final, final

from omaim.errors import PeerError

MAX_PARAMS: Final = 128  # parameters of one value; nobody needs as many
MAX_NUMBER: Final = 4294967295  # 2^32-1, the largest delta-seconds and CSeq we keep

_is_token: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+").fullmatch
# What may stand unquoted behind "=": wider than a token, since hosts, URIs, base64 and
# e-mail-like values are seen there; no separator that could end the value for someone else.
_is_bare: Final = re.compile(r"[!#-+\--:=?-~]+").fullmatch
_quoted: Final = re.compile(r'"(?:[^"\\\r\n]|\\[^\r\n])*"')
# All up to a separator outside quotes and brackets. The alternatives begin differently, so nothing
# is tried twice; a repeated group is not possessive, as Python 3.11 before 3.11.4 mistakes those.
_to_comma: Final = re.compile(r'(?:[^",<]++|"(?:[^"\\\r\n]|\\[^\r\n])*"|<[^>]*+>)*').match
_to_semicolon: Final = re.compile(r'(?:[^";<]++|"(?:[^"\\\r\n]|\\[^\r\n])*"|<[^>]*+>)*').match
_PAIR: Final = r"""([A-Za-z0-9\-.!%*_+`'~]++)=("[^"\\\r\n]*+"|[!#-+\--:=?-~]++)"""
_pairs: Final = re.compile(_PAIR).findall
_are_pairs: Final = re.compile(rf"[ \t]*+{_PAIR}(?:[ \t]*+,[ \t]*+{_PAIR})*[ \t]*+").fullmatch
_is_hostname: Final = re.compile(r"[a-z0-9_][a-z0-9_\-.]*").fullmatch
_unescape_pair: Final = re.compile(r"\\(.)", re.DOTALL).sub
_must_escape: Final = re.compile(r'(["\\])').sub


def is_token(text: str) -> bool:
    """Tell whether ``text`` is a token (RFC 3261 §25.1)."""
    return (text.isalnum() and text.isascii()) or _is_token(text) is not None


def unfold(text: str) -> str:
    """Join the lines of a folded value with one space each (RFC 3261 §7.3.1)."""
    return " ".join([line.strip(" \t") for line in text.split("\r\n")])


def number(text: str, largest: int = MAX_NUMBER) -> int:
    """Return the decimal number that ``text`` is.

    Raises:
        PeerError: no digits, others than ASCII ones, or more than ``largest``.
    """
    if not text.isdigit() or not text.isascii() or len(text) > 64:
        raise PeerError("a number is expected")
    value = int(text)
    if value > largest:
        raise PeerError("a number is too large")
    return value


def clamped(text: str) -> int:
    """Return the delta-seconds that ``text`` is, at most 2^32-1 (RFC 3261 §20.19, §25.1)."""
    if not text.isdigit() or not text.isascii():
        raise PeerError("a number of seconds is expected")
    if len(text) < 10:
        return int(text)
    text = text.lstrip("0")
    return min(int(text or "0"), MAX_NUMBER) if len(text) < 11 else MAX_NUMBER


def quote(text: str) -> str:
    r"""Return ``text`` as a quoted string; CR and LF, which cannot stand in one, become spaces."""
    if "\r" in text or "\n" in text:
        text = text.replace("\r", " ").replace("\n", " ")
    if '"' in text or "\\" in text:
        text = _must_escape(r"\\\1", text)
    return f'"{text}"'


def unquote(text: str) -> str:
    """Return what a quoted string says; text that is not quoted comes back as it is."""
    if len(text) >= 2 and text[0] == '"' and text[-1] == '"':
        text = text[1:-1]
        if "\\" in text:
            text = _unescape_pair(r"\1", text)
    return text


def end_of_quoted(text: str, start: int) -> int:
    """Return the position behind the quoted string that begins at ``start``.

    Raises:
        PeerError: it does not end.
    """
    found = _quoted.match(text, start)
    if found is None:
        raise PeerError("a quoted string does not end")
    return found.end()


def split_outside(text: str, separator: str) -> list[str]:
    """Cut ``text`` at each ``separator`` that is outside quotes and angle brackets.

    Args:
        text: what to cut.
        separator: "," or ";".

    Returns:
        The pieces without the white space around them, empty ones too.
    Raises:
        PeerError: a quoted string or an angle bracket does not end.
    """
    if '"' not in text and "<" not in text:
        return [piece.strip(" \t") for piece in text.split(separator)]
    piece = _to_comma if separator == "," else _to_semicolon
    pieces: list[str] = []
    start = 0
    size = len(text)
    while True:
        found = piece(text, start)
        end = size if found is None else found.end()
        pieces.append(text[start:end].strip(" \t"))
        if end == size:
            return pieces
        if text[end] != separator:
            raise PeerError("a quoted string or an angle bracket does not end")
        start = end + 1


def split_header_list(text: str) -> list[str]:
    """Return the elements of a comma-separated header value; an empty value has none.

    Raises:
        PeerError: an element is empty, or quotes or angle brackets do not match.

    Spec: RFC 3261 §7.3.1
    """
    if "," not in text:
        text = text.strip(" \t")
        return [text] if text else []
    pieces = split_outside(text, ",")
    if "" in pieces:
        raise PeerError("a list has an empty element")
    return pieces


@final
class Params:
    """Parameters in the order written; names in lower case, each once.

    A value of this class is shared freely: no method changes it.

    Attributes:
        names: lower-case names.
        raw: beside each name its value as written (quotes kept), ``None`` for a flag.

    Spec: RFC 3261 §7.3.1, §25.1 (generic-param)
    """

    __slots__ = ("names", "raw")

    def __init__(self, names: list[str], raw: list[str | None]) -> None:
        self.names = names
        self.raw = raw

    def has(self, name: str) -> bool:
        """Tell whether the parameter is there, with or without a value."""
        return name in self.names

    def get(self, name: str) -> str | None:
        """Return the value without its quotes; ``None`` when absent or a flag."""
        names = self.names
        if name not in names:
            return None
        value = self.raw[names.index(name)]
        if value is not None and value[:1] == '"':
            return unquote(value)
        return value

    def with_(self, name: str, value: str | None) -> Params:
        """Return the same with one parameter set, in its old place or at the end.

        Args:
            name: lower case.
            value: as it shall be written, with its quotes; ``None`` for a flag.
        """
        names = self.names
        raw = self.raw[:]
        if name in names:
            raw[names.index(name)] = value
            return Params(names, raw)
        raw.append(value)
        return Params([*names, name], raw)

    def without(self, name: str) -> Params:
        """Return the same without one parameter."""
        if name not in self.names:
            return self
        place = self.names.index(name)
        return Params(
            self.names[:place] + self.names[place + 1 :],
            self.raw[:place] + self.raw[place + 1 :],
        )

    def items(self) -> list[tuple[str, str | None]]:
        """Return (name, value as written) in order."""
        return list(zip(self.names, self.raw, strict=True))

    def __len__(self) -> int:
        return len(self.names)

    def __str__(self) -> str:
        out = ""
        for place, name in enumerate(self.names):
            value = self.raw[place]
            out += ";" + name if value is None else ";" + name + "=" + value
        return out

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Params) and self.names == other.names and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(tuple(self.names))

    def __repr__(self) -> str:
        return f"Params({str(self)!r})"


NO_PARAMS: Final = Params([], [])


def parse_params(text: str) -> Params:
    """Return the parameters in ``text``, which begins with ";" or is blank.

    Raises:
        PeerError: an empty parameter, a bad name or value, or a name twice.
    """
    if not text:
        return NO_PARAMS
    if text[0] == ";" and text.isascii():
        plain = _plain_params(text)
        if plain is not None:
            return plain
    text = text.strip(" \t")
    if not text:
        return NO_PARAMS
    if text[0] != ";":
        raise PeerError("parameters begin with a semicolon")
    return _params_of(split_outside(text[1:], ";"))


def _plain_params(text: str) -> Params | None:
    """Read the frequent form, without white space and quotes; ``None`` when it is another."""
    names: list[str] = []
    raw: list[str | None] = []
    pieces = text[1:].split(";")
    if len(pieces) > MAX_PARAMS:
        return None
    for piece in pieces:
        name, equals, value = piece.partition("=")
        if not name.isalnum() and _is_token(name) is None:
            return None
        if not name.islower():
            name = name.lower()
        if name in names:
            return None
        names.append(name)
        if not equals:
            raw.append(None)
        elif value.isalnum() or _is_bare(value) is not None:
            raw.append(value)
        else:
            return None
    return Params(names, raw)


def parse_param_list(text: str, separator: str = ",") -> Params:
    """Return ``name=value`` pairs cut by ``separator``, as digest headers have them."""
    if separator == "," and _are_pairs(text) is not None:
        # The frequent form: nothing escaped, no white space around "=".
        names: list[str] = []
        raw: list[str | None] = []
        for name, value in _pairs(text):
            names.append(name.lower())
            raw.append(value)
        if len(names) <= MAX_PARAMS and len(set(names)) == len(names):
            return Params(names, raw)
    return _params_of(split_outside(text, separator))


def _params_of(pieces: list[str]) -> Params:
    if len(pieces) > MAX_PARAMS:
        raise PeerError("there are too many parameters")
    names: list[str] = []
    raw: list[str | None] = []
    for piece in pieces:
        name, equals, value = piece.partition("=")
        name = name.rstrip(" \t").lower()
        if _is_token(name) is None:
            raise PeerError("a parameter has no good name")
        if name in names:
            raise PeerError("a parameter is given twice")
        names.append(name)
        if not equals:
            raw.append(None)
            continue
        value = value.lstrip(" \t")
        if value[:1] == '"':
            if end_of_quoted(value, 0) != len(value):
                raise PeerError("text behind a quoted parameter value")
        elif _is_bare(value) is None:
            raise PeerError("a parameter has no good value")
        raw.append(value)
    return Params(names, raw)


def ipv6_groups(text: str) -> list[int]:
    """Return the eight 16-bit groups of an IPv6 address without brackets.

    Three colons, which the grammar of RFC 3261 allows by mistake, count as two.

    Raises:
        PeerError: it is no IPv6 address.

    Spec: RFC 3261 §25.1; RFC 5118 §4.10; RFC 4291 §2.2
    """
    head, gap, tail = text.replace(":::", "::").partition("::")
    front = _groups_of(head, gap == "")
    back = _groups_of(tail, True)
    if gap:
        if len(front) + len(back) > 7:
            raise PeerError("an IPv6 address is too long")
        return front + [0] * (8 - len(front) - len(back)) + back
    if len(front) != 8:
        raise PeerError("an IPv6 address is too short or too long")
    return front


def _groups_of(text: str, last: bool) -> list[int]:
    groups: list[int] = []
    if not text:
        return groups
    pieces = text.split(":")
    for place, piece in enumerate(pieces):
        if "." in piece and last and place == len(pieces) - 1:
            octets = [number(octet, 255) for octet in piece.split(".")]
            if len(octets) != 4:
                raise PeerError("an IPv4 address has four numbers")
            groups.append(octets[0] << 8 | octets[1])
            groups.append(octets[2] << 8 | octets[3])
            continue
        if not 1 <= len(piece) <= 4 or piece.strip("0123456789abcdefABCDEF"):
            raise PeerError("an IPv6 address has a bad group")
        groups.append(int(piece, 16))
    return groups


def parse_host(text: str) -> str:
    """Return a host in lower case: a name, an IPv4 address, or IPv6 in brackets.

    Raises:
        PeerError: it is none of these.

    Spec: RFC 3261 §25.1 (host); RFC 5118 §4.10. Differs: "_" is allowed in names.
    """
    host = text.lower()
    if host[:1] == "[":
        if host[-1] != "]":
            raise PeerError("an IPv6 address is not closed by a bracket")
        ipv6_groups(host[1:-1])
        return host.replace(":::", "::")
    if len(host) > 255 or _is_hostname(host) is None or ".." in host:
        raise PeerError("a host is neither a name nor an address")
    if host[-1] <= "9" and host.replace(".", "").isdigit():
        octets = host.split(".")
        if len(octets) != 4 or max([number(octet) for octet in octets]) > 255:
            raise PeerError("an IPv4 address has four numbers up to 255")
    return host


def parse_host_port(text: str) -> tuple[str, int]:
    """Return (host, port) of ``host[:port]``; port 0 when there is none.

    Raises:
        PeerError: bad host, or a port that is not 1 to 65535.
    """
    colon = text.rfind(":")
    if colon < 0 or text[-1] == "]":
        return parse_host(text), 0
    port = number(text[colon + 1 :].lstrip(" \t"), 65535)
    if port == 0:
        raise PeerError("port 0 cannot be reached")
    return parse_host(text[:colon].rstrip(" \t")), port


def same_host(one: str, other: str) -> bool:
    """Tell whether two hosts as :func:`parse_host` returns them are written the same way.

    Two spellings of one IPv6 address are the same; a name and its address are not.
    """
    if one == other:
        return True
    if one[:1] != "[" or other[:1] != "[":
        return False
    return ipv6_groups(one[1:-1]) == ipv6_groups(other[1:-1])
