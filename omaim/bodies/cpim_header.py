"""The pieces of a CPIM header: escapes, addresses, one line.

Spec: RFC 3862 §2.3 (escapes), §3 (syntax), §4.1 (addresses)
"""

from __future__ import annotations

import re
from typing import Final, final

from omaim.errors import PeerError, UsageError

_NAMECHAR: Final = r"[!#-'*+\-^-`|~0-9A-Za-z]"
_LINE: Final = re.compile(
    rf"({_NAMECHAR}+(?:\.{_NAMECHAR}+)?):"
    rf"((?:;{_NAMECHAR}+=(?:\"(?:[^\"\\]|\\.)*\"|[^;\" ]*))*) ?(.*)"
)
ABSOLUTE_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[!#-;=?-~]*")
FORBIDDEN: Final = re.compile("[\x00-\x1f\x7f]")
_PARAM: Final = re.compile(rf";({_NAMECHAR}+)=(?:\"((?:[^\"\\]|\\.)*)\"|([^;\" ]*))")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.)|\Z)", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_TOKENS: Final = re.compile(
    r"[^\x00-\x20()<>@,;:\\\"/\[\]?={}\x7f]+(?: [^\x00-\x20()<>@,;:\\\"/\[\]?={}\x7f]+)*"
)
_SHORT: Final = {"b": "\b", "t": "\t", "n": "\n", "r": "\r"}
_LONG: Final = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}

_USUAL: Final = frozenset(
    {"From", "To", "cc", "DateTime", "Subject", "NS", "Require"}
    | {"imdn.Message-ID", "imdn.Disposition-Notification", "imdn.Original-To"}
)


class BadCpim(PeerError):
    """The body is not a message/cpim, or a header of it does not say what it must."""

    status = 400


def unescape(text: str) -> str:
    """Return the text with its escape sequences undone.

    An unknown sequence stands for the character after the backslash; a backslash at the
    end for nothing. Surrogates that are no pair become U+FFFD.

    Spec: RFC 3862 §2.3
    """
    if "\\" not in text:
        return text
    pieces: list[str] = []
    at = 0
    wide = False
    for found in _ESCAPE.finditer(text):
        pieces.append(text[at : found.start()])
        at = found.end()
        code = found.group(1)
        if code is not None:
            wide = True
            pieces.append(chr(int(code, 16)))
        else:
            sign = found.group(2)
            if sign is not None:
                pieces.append(_SHORT.get(sign, sign))
    pieces.append(text[at:])
    plain = "".join(pieces)
    if wide:
        plain = plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return plain


def escape(text: str) -> str:
    """Return the text as a header value may hold it.

    Spec: RFC 3862 §2.3.1
    """
    if _CONTROL.search(text) is None:
        return text
    pieces: list[str] = []
    for sign in text:
        short = _LONG.get(sign)
        if short is not None:
            pieces.append(short)
        elif sign < " " or sign == "\x7f":
            pieces.append(f"\\u{ord(sign):04x}")
        else:
            pieces.append(sign)
    return "".join(pieces)


@final
class Address:
    """A person's name, if any, and an absolute URI.

    Args:
        name: as a person reads it; "" when there is none.
        uri: absolute.

    Spec: RFC 3862 §4.1
    """

    __slots__ = ("name", "uri")

    def __init__(self, name: str, uri: str) -> None:
        self.name = name
        self.uri = uri

    @staticmethod
    def parse(value: str) -> Address:
        """Return what a From, To, cc or imdn address header says.

        Raises:
            BadCpim: not ``[name] "<" absolute-URI ">"``.
        """
        start = value.rfind("<")
        uri = value[start + 1 : -1]
        if start < 0 or not value.endswith(">") or ABSOLUTE_URI.fullmatch(uri) is None:
            raise BadCpim(f"{value[:60]!r} is no CPIM address")
        name = value[:start].strip(" ")
        if len(name) >= 2 and name.startswith('"') and name.endswith('"'):
            name = name[1:-1]
        return Address(unescape(name), uri)

    def __str__(self) -> str:
        """Return the value of a header; UsageError if the URI cannot stand in one."""
        name = self.name
        if ABSOLUTE_URI.fullmatch(self.uri) is None:
            raise UsageError(f"{self.uri[:60]!r} is no absolute URI")
        if not name:
            return f"<{self.uri}>"
        # Plain tokens need no quotes; all else is a quoted string.
        if _TOKENS.fullmatch(name) is None:
            name = '"' + escape(name).replace('"', '\\"') + '"'
        return f"{name} <{self.uri}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Address):
            return NotImplemented
        return self.name == other.name and self.uri == other.uri

    def __hash__(self) -> int:
        return hash((self.name, self.uri))

    def __repr__(self) -> str:
        return f"<Address {self.name!r} {self.uri}>"


@final
class Header:
    """One header line.

    Attributes:
        line: the whole, without its end: what is written.
        name: with its prefix, if any: ``imdn.Message-ID``.
        params: as written, ``;lang=fr``; usually "".
        value: as written, escapes included.

    Spec: RFC 3862 §3.6
    """

    __slots__ = ("line", "name", "params", "value")

    def __init__(self, line: str, name: str, params: str, value: str) -> None:
        self.line = line
        self.name = name
        self.params = params
        self.value = value

    @staticmethod
    def parse(line: str) -> Header:
        """Return the header that a line holds.

        A missing space after the colon is overlooked: some senders forget it, and the line
        is passed on as it came.

        Raises:
            BadCpim: no name, or broken parameters.
        """
        colon = line.find(": ")
        name = line[:colon]
        if (
            colon > 0 and name in _USUAL
        ):  # spares the expression, which costs more than all else here
            return Header(line, name, "", line[colon + 2 :].strip(" "))
        found = _LINE.fullmatch(line)
        if found is None:
            raise BadCpim(f"CPIM header {line[:40]!r} is broken")
        return Header(line, found.group(1), found.group(2), found.group(3).strip(" "))

    @staticmethod
    def make(name: str, value: str, lang: str = "") -> Header:
        """Return a new header.

        Args:
            name: with its prefix.
            value: escaped already where that matters.
            lang: an RFC 3066 tag, or "".

        Raises:
            UsageError: it cannot be written: a defect of the caller.
        """
        value = value.strip(" ")
        params = f";lang={lang}" if lang else ""
        line = f"{name}:{params} {value}"
        if FORBIDDEN.search(line) is not None:
            raise UsageError(f"CPIM header {name!r} holds a control character")
        found = _LINE.fullmatch(line)
        if found is None or found.group(1) != name or found.group(2) != params:
            raise UsageError(f"CPIM header {line[:60]!r} cannot be written")
        return Header(line, name, params, value)

    @property
    def text(self) -> str:
        """The value with its escapes undone."""
        return unescape(self.value)

    @property
    def lang(self) -> str:
        """The language of the value, "" when it does not say."""
        return self.param("lang")

    def param(self, name: str) -> str:
        """Return a parameter's value, unescaped; "" if it is not there."""
        for found in _PARAM.finditer(self.params):
            if found.group(1) == name:
                quoted = found.group(2)
                return unescape(quoted) if quoted is not None else found.group(3)
        return ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Header):
            return NotImplemented
        return self.line == other.line

    def __hash__(self) -> int:
        return hash(self.line)

    def __repr__(self) -> str:
        return f"<Header {self.line}>"
