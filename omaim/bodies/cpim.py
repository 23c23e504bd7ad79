"""message/cpim: who wrote what to whom, inside the message and safe from those who carry it.

A message is a list of header lines and one MIME entity. Header lines are kept as they came and
in their order; names are compared by namespace, not by the prefix that a sender chose.

Spec: RFC 3862; RFC 5438 §6, §10 (the imdn headers)
"""

from __future__ import annotations

import re
from typing import Final, final

from omaim.bodies.mime import BadMime, Part
from omaim.errors import PeerError, UsageError

MEDIA_TYPE: Final = "message/cpim"
CORE: Final = "urn:ietf:params:cpim-headers:"  # RFC 3862 §4
IMDN: Final = "urn:ietf:params:imdn"  # RFC 5438 §6.1

HEAD_SIZE: Final = 16_384  # octets of the headers
HEADERS: Final = 200

_NAMECHAR: Final = r"[!#-'*+\-^-`|~0-9A-Za-z]"
_LINE: Final = re.compile(
    rf"({_NAMECHAR}+(?:\.{_NAMECHAR}+)?):"
    rf"((?:;{_NAMECHAR}+=(?:\"(?:[^\"\\]|\\.)*+\"|[^;\" ]*))*) ?(.*)"
)
_FORBIDDEN: Final = re.compile("[\x00-\x1f\x7f]")
_PARAM: Final = re.compile(rf";({_NAMECHAR}+)=(?:\"((?:[^\"\\]|\\.)*+)\"|([^;\" ]*))")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.)|\Z)", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_TOKENS: Final = re.compile(
    r"[^\x00-\x20()<>@,;:\\\"/\[\]?={}\x7f]+(?: [^\x00-\x20()<>@,;:\\\"/\[\]?={}\x7f]+)*"
)
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[!#-;=?-~]*")
_SHORT: Final = {"b": "\b", "t": "\t", "n": "\n", "r": "\r"}
_LONG: Final = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}

_USUAL: Final = frozenset(
    {"From", "To", "cc", "DateTime", "Subject", "NS", "Require"}
    | {"imdn.Message-ID", "imdn.Disposition-Notification", "imdn.Original-To"}
)

# Headers of which two would let two readers disagree on what the message says.
_SINGLE: Final = frozenset(
    {(CORE, "From"), (CORE, "DateTime"), (IMDN, "Message-ID"), (IMDN, "Original-To")}
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
        if start < 0 or not value.endswith(">") or _URI.fullmatch(uri) is None:
            raise BadCpim(f"{value[:60]!r} is no CPIM address")
        name = value[:start].strip(" ")
        if len(name) >= 2 and name.startswith('"') and name.endswith('"'):
            name = name[1:-1]
        return Address(unescape(name), uri)

    def __str__(self) -> str:
        """Return the value of a header; UsageError if the URI cannot stand in one."""
        name = self.name
        if _URI.fullmatch(self.uri) is None:
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
        if name in _USUAL:  # spares the expression, which costs more than all else here
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
        if _FORBIDDEN.search(line) is not None:
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


@final
class Cpim:
    """A CPIM message.

    Args:
        headers: in order; change them through :meth:`add`, :meth:`insert`, :meth:`replace` and
            :meth:`drop` only.
        part: the content, with MIME headers of its own.

    Spec: RFC 3862 §2
    """

    __slots__ = ("_spaces", "headers", "part")

    def __init__(self, headers: list[Header], part: Part) -> None:
        self.headers = headers
        self.part = part
        self._spaces = _resolve(headers)

    @staticmethod
    def parse(data: bytes) -> Cpim:
        """Return the message that the octets are; :meth:`to_bytes` gives them back.

        Raises:
            BadCpim: broken headers, too many, no end of them, a control character, or a
                header twice that may stand once.
            BadMime: broken MIME headers.

        Spec: RFC 3862 §2.2, §2.4, §3.6
        """
        end = data.find(b"\r\n\r\n", 0, HEAD_SIZE + 4)
        if end < 0:
            raise BadCpim("CPIM headers do not end")
        try:
            head = data[:end].decode()
        except UnicodeDecodeError:
            raise BadCpim("CPIM headers are not UTF-8") from None
        if _FORBIDDEN.search(head.replace("\r\n", "")) is not None:
            raise BadCpim("CPIM headers hold a control character")
        headers = [Header.parse(line) for line in head.split("\r\n")]
        if len(headers) > HEADERS:
            raise BadCpim(f"more than {HEADERS} CPIM headers")
        part = Part.parse(data[end + 4 :])
        if not part.first("Content-Type"):
            raise BadCpim("CPIM content has no Content-Type")
        message = Cpim(headers, part)
        message._check_single()
        return message

    @staticmethod
    def make(from_: Address, to: list[Address], date_time: str, part: Part) -> Cpim:
        """Return a new message.

        Args:
            from_: its author.
            to: its recipients.
            date_time: RFC 3339, or "" to leave it out.
            part: the content.
        """
        headers = [Header.make("From", str(from_))]
        for one in to:
            headers.append(Header.make("To", str(one)))
        if date_time:
            headers.append(Header.make("DateTime", date_time))
        return Cpim(headers, part)

    def to_bytes(self) -> bytes:
        """Return the message as it goes over the wire."""
        lines: list[str] = []
        for header in self.headers:
            lines.append(header.line)
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + self.part.to_bytes()

    # Reading

    def first(self, name: str, space: str = CORE) -> Header | None:
        """Return the first header of this name in this namespace, or None."""
        index = self._index(name, space, 0)
        return None if index < 0 else self.headers[index]

    def all(self, name: str, space: str = CORE) -> list[Header]:
        """Return the headers of this name in this namespace, in order."""
        found: list[Header] = []
        index = self._index(name, space, 0)
        while index >= 0:
            found.append(self.headers[index])
            index = self._index(name, space, index + 1)
        return found

    def value(self, name: str, space: str = CORE) -> str:
        """Return the value of the first such header as written, "" if none."""
        header = self.first(name, space)
        return "" if header is None else header.value

    @property
    def from_(self) -> Address | None:
        """The author, None when the message does not say."""
        header = self.first("From")
        return None if header is None else Address.parse(header.value)

    @property
    def to(self) -> list[Address]:
        """The recipients."""
        return self.addresses("To")

    @property
    def cc(self) -> list[Address]:
        """Who gets a courtesy copy."""
        return self.addresses("cc")

    def addresses(self, name: str, space: str = CORE) -> list[Address]:
        """Return the addresses in all headers of this name.

        Raises:
            BadCpim: one is not an address.
        """
        return [Address.parse(header.value) for header in self.all(name, space)]

    @property
    def date_time(self) -> str:
        """When it was sent, as written (RFC 3339 if the sender is right); "" if not said."""
        return self.value("DateTime")

    def subject(self, lang: str = "") -> str:
        """Return the topic in this language, else the first there is, else "".

        Spec: RFC 3862 §4.5
        """
        subjects = self.all("Subject")
        for header in subjects:
            if lang and header.lang.lower() == lang.lower():
                return header.text
        return subjects[0].text if subjects else ""

    @property
    def message_id(self) -> str:
        """What reports will call this message, "" if its sender wants none.

        Spec: RFC 5438 §6.3
        """
        return self.value("Message-ID", IMDN)

    @property
    def wanted(self) -> list[str]:
        """The reports that the sender wants: "positive-delivery", "display", ….

        Spec: RFC 5438 §6.2, §10
        """
        wanted: list[str] = []
        for header in self.all("Disposition-Notification", IMDN):
            for piece in header.value.split(","):
                token = piece.partition(";")[0].strip(" ")
                if token:
                    wanted.append(token)
        return wanted

    def not_understood(self, understood: list[str]) -> list[str]:
        """Return what the sender requires and this reader does not know.

        Args:
            understood: names with their namespace URI before them: ``CORE + "Subject"``.

        Returns:
            The names as the message writes them. Unless it is empty, the message must
            not be processed.

        Spec: RFC 3862 §3.5, §4.7
        """
        missing: list[str] = []
        for header in self.all("Require"):
            for piece in header.value.split(","):
                name = piece.strip(" ")
                if name and self._full_name(name) not in understood:
                    missing.append(name)
        return missing

    # Changing: only for its author, or for a server that the format lets do it

    def add(self, name: str, value: str, space: str = CORE, lang: str = "") -> None:
        """Append a header; its namespace is declared first if need be.

        Args:
            name: without a prefix.
            value: escaped.
            space: its namespace.
            lang: of the value.
        """
        self.insert(len(self.headers), name, value, space, lang)

    def insert(self, index: int, name: str, value: str, space: str = CORE, lang: str = "") -> None:
        """Put a header before the one at ``index``, declaring its namespace if need be."""
        prefix = self._prefix(space, index)
        if prefix == "?":
            prefix = self._free_prefix("imdn." if space == IMDN else "ns.")
            self.headers.insert(
                index, Header.make(self._core_ns(index), f"{prefix[:-1]} <{space}>")
            )
            index += 1
        self.headers.insert(index, Header.make(prefix + name, value, lang))
        self._spaces = _resolve(self.headers)

    def insert_before(self, name: str, value: str, space: str = CORE) -> None:
        """Put a header before the first of the same name, or at the end."""
        index = self._index(name, space, 0)
        self.insert(len(self.headers) if index < 0 else index, name, value, space)

    def replace(self, name: str, value: str, space: str = CORE) -> None:
        """Give the first header of this name another value and drop its doubles, or append it."""
        index = self._index(name, space, 0)
        if index < 0:
            self.add(name, value, space)
            return
        self.headers[index] = Header.make(self.headers[index].name, value)
        index = self._index(name, space, index + 1)
        while index >= 0:
            del self.headers[index]
            del self._spaces[index]
            index = self._index(name, space, index)

    def drop(self, name: str, space: str = CORE, most: int = HEADERS) -> int:
        """Remove the first ``most`` headers of this name; return how many went."""
        dropped = 0
        index = self._index(name, space, 0)
        while index >= 0 and dropped < most:
            del self.headers[index]
            del self._spaces[index]
            dropped += 1
            index = self._index(name, space, index)
        return dropped

    def copy(self) -> Cpim:
        """Return a message of its own with the same headers, sharing the part."""
        return Cpim(self.headers.copy(), self.part)

    # Inside

    def _index(self, name: str, space: str, start: int) -> int:
        """Return where the next header of this name is, -1 if nowhere."""
        headers = self.headers
        spaces = self._spaces
        for index in range(start, len(headers)):
            full = headers[index].name
            if full.endswith(name) and spaces[index] == space:
                dot = full.find(".")
                if full[dot + 1 :] == name:
                    return index
        return -1

    def _check_single(self) -> None:
        seen: set[tuple[str, str]] = set()
        for index, header in enumerate(self.headers):
            name = header.name
            key = (self._spaces[index], name[name.find(".") + 1 :])
            if key in _SINGLE:
                if key in seen:
                    raise BadCpim(f"CPIM header {name} stands twice")
                seen.add(key)

    def _full_name(self, name: str) -> str:
        """Return the namespace URI and the local name; the last declaration counts."""
        prefix, dot, local = name.partition(".")
        scopes = _scopes(self.headers, len(self.headers))
        if not dot:
            return scopes[""] + name
        return scopes.get(prefix, "?") + local

    def _prefix(self, space: str, index: int) -> str:
        """Return the prefix with its dot that means ``space`` at ``index``, "?" if none does."""
        scopes = _scopes(self.headers, index)
        if scopes[""] == space:
            return ""
        for prefix, uri in scopes.items():
            if uri == space and prefix:
                return prefix + "."
        return "?"

    def _core_ns(self, index: int) -> str:
        """Return how the NS header is named at ``index``."""
        prefix = self._prefix(CORE, index)
        if prefix == "?":
            raise BadCpim("CPIM message hides the core namespace")
        return prefix + "NS"

    def _free_prefix(self, wish: str) -> str:
        """Return a prefix with its dot that no header declares."""
        taken = _scopes(self.headers, len(self.headers))
        stem = wish[:-1]
        prefix = stem
        tried = 1
        while prefix in taken:
            tried += 1
            prefix = f"{stem}{tried}"
        return prefix + "."

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cpim):
            return NotImplemented
        return self.headers == other.headers and self.part == other.part

    def __hash__(self) -> int:
        return hash(tuple(self.headers))

    def __repr__(self) -> str:
        return f"<Cpim {self.headers!r} {self.part!r}>"


def _declared(header: Header) -> tuple[str, str]:
    """Return prefix and URI of an NS header."""
    value = header.value
    prefix, _, rest = value.partition("<")
    uri = rest[:-1]
    if not rest.endswith(">") or _URI.fullmatch(uri) is None:
        raise BadCpim(f"{value[:60]!r} declares no namespace")
    return prefix.strip(" "), uri


def _resolve(headers: list[Header]) -> list[str]:
    """Return the namespace of each header; "" where its prefix was not declared before it.

    Spec: RFC 3862 §3.4
    """
    spaces: list[str] = []
    scopes: dict[str, str] = {"": CORE}
    for header in headers:
        name = header.name
        dot = name.find(".")
        if dot < 0:
            space = scopes[""]
            local = name
        else:
            space = scopes.get(name[:dot], "")
            local = name[dot + 1 :]
        spaces.append(space)
        if local == "NS" and space == CORE:
            prefix, uri = _declared(header)
            scopes[prefix] = uri
    return spaces


def _scopes(headers: list[Header], end: int) -> dict[str, str]:
    """Return the prefixes that are declared before the header at ``end``."""
    scopes: dict[str, str] = {"": CORE}
    for header, space in zip(headers[:end], _resolve(headers[:end]), strict=True):
        if space == CORE and header.name[header.name.find(".") + 1 :] == "NS":
            prefix, uri = _declared(header)
            scopes[prefix] = uri
    return scopes


__all__ = [
    "CORE",
    "IMDN",
    "MEDIA_TYPE",
    "Address",
    "BadCpim",
    "BadMime",
    "Cpim",
    "Header",
    "Part",
    "escape",
    "unescape",
]
