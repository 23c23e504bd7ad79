"""message/cpim: who wrote what to whom, inside the message and safe from those who carry it.

A message is a list of header lines and one MIME entity. Header lines are kept as they came and
in their order; names are compared by namespace, not by the prefix that a sender chose.

Spec: RFC 3862; RFC 5438 §6, §10 (the imdn headers)
"""

from __future__ import annotations

from typing import Final, final

from omaim.bodies.cpim_header import (
    ABSOLUTE_URI,
    FORBIDDEN,
    Address,
    BadCpim,
    Header,
    escape,
    unescape,
)
from omaim.bodies.mime import BadMime, Part

MEDIA_TYPE: Final = "message/cpim"
CORE: Final = "urn:ietf:params:cpim-headers:"  # RFC 3862 §4
IMDN: Final = "urn:ietf:params:imdn"  # RFC 5438 §6.1

HEAD_SIZE: Final = 16_384  # octets of the headers
HEADERS: Final = 200

# Headers of which two would let two readers disagree on what the message says.
_SINGLE: Final = frozenset(
    {(CORE, "From"), (CORE, "DateTime"), (IMDN, "Message-ID"), (IMDN, "Original-To")}
)


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
        if FORBIDDEN.search(head.replace("\r\n", "")) is not None:
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
    def make(author: Address, to: list[Address], date_time: str, part: Part) -> Cpim:
        """Return a new message.

        Args:
            author: who says it.
            to: its recipients.
            date_time: RFC 3339, or "" to leave it out.
            part: the content.
        """
        headers = [Header.make("From", str(author))]
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
        """Let no two readers take different headers for the author, or others of _SINGLE.

        Some compare names without regard to case, or know no namespaces.
        """
        seen: set[tuple[str, str]] = set()
        author = False
        for index, header in enumerate(self.headers):
            name = header.name
            if len(name) == 4 and name.lower() == "from":
                if author:
                    raise BadCpim("CPIM header From stands twice")
                author = True
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
    if not rest.endswith(">") or ABSOLUTE_URI.fullmatch(uri) is None:
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
