"""application/sdp: session descriptions, line by line.

A description keeps its lines as texts and reads fields when it is asked, so what nobody
touches is written back as it came, known or not. :func:`revise` makes the next description of
a session, :func:`check_revision` looks at the one of a peer.

Spec: RFC 8866 (the format); RFC 3264 §8 (descriptions that follow one another)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Self

import attrs

from omaim.errors import PeerError, UsageError
from omaim.grammar import ipv6_groups, number, parse_host

MEDIA_TYPE: Final = "application/sdp"

SIZE: Final = 65_536  # octets of one description
LINES: Final = 1000
MEDIA: Final = 64  # m= lines

SENDRECV: Final = "sendrecv"
SENDONLY: Final = "sendonly"
RECVONLY: Final = "recvonly"
INACTIVE: Final = "inactive"
DIRECTIONS: Final = (SENDRECV, SENDONLY, RECVONLY, INACTIVE)

# In which order lines stand, by their letter; equal ones mix.
_SESSION_ORDER: Final = {letter: place for place, letter in enumerate("vosiuepcbtka")} | {
    "r": 9,
    "z": 9,
}
_MEDIA_ORDER: Final = {letter: place for place, letter in enumerate("micbka")}
_SESSION_ONCE: Final = "vosiuck"
_MEDIA_ONCE: Final = "mik"
_CHARSETS: Final = {"iso-8859-1": "latin-1", "us-ascii": "ascii", "utf-16": "utf-16"}
_MAX_PORT: Final = 65535
_MAX_VERSION: Final = 10**32  # the grammar sets no limit


class BadSdp(PeerError):
    """The body is not a session description, or not one that may follow here."""

    status = 400


class BadMedia(BadSdp):
    """A medium that cannot be used; it can be refused without refusing the others."""

    status = 488


@attrs.frozen
class Connection:
    """Where media go: a ``c=`` line, and the end of an ``o=`` line.

    Spec: RFC 8866 §5.7
    """

    address: str  # name, IPv4, or IPv6 without brackets; with /ttl when it is multicast
    kind: str = "IP4"  # or IP6, or what else was registered
    network: str = "IN"

    @classmethod
    def to(cls, host: str) -> Connection:
        """Return the one for a host as URIs have it, IPv6 in brackets."""
        if host[:1] == "[":
            return cls(host.strip("[]"), "IP6")
        return cls(host)

    @classmethod
    def parse(cls, value: str) -> Connection:
        """Return what stands behind ``c=``.

        Raises:
            BadSdp: not three fields, or not an Internet address where one is announced.
        """
        fields = value.strip(" ").split(" ", 2)
        if len(fields) != 3 or "" in fields:
            raise BadSdp("an address in SDP is not three fields")
        network, kind, address = fields
        made = cls(address, kind, network)
        if network == "IN" and kind in ("IP4", "IP6"):
            try:
                made.host  # noqa: B018 - whether there is one
            except PeerError as error:
                raise BadSdp(f"an address in SDP: {error.why}") from None
        return made

    @property
    def host(self) -> str:
        """The host in lower case as URIs have it: a name, IPv4, or IPv6 in brackets.

        Raises:
            PeerError: it is none of these; never when it was parsed and is of the Internet.
        """
        address = self.address.partition("/")[0]
        if ":" in address:
            ipv6_groups(address)
            return f"[{address.lower()}]"
        return parse_host(address)

    def __str__(self) -> str:
        return f"{self.network} {self.kind} {self.address}"


@attrs.frozen
class Origin:
    """Who made a description, which session it is of, and which version.

    Spec: RFC 8866 §5.2
    """

    session: str  # digits; with the rest it names the session, worldwide
    version: int
    address: Connection
    username: str = "-"

    @classmethod
    def parse(cls, value: str) -> Origin:
        """Return what stands behind ``o=``.

        Raises:
            BadSdp: not six fields, or no numbers where they have to be.
        """
        fields = value.split(" ", 3)
        if len(fields) != 4 or not fields[0]:
            raise BadSdp("the o= line is not six fields")
        username, session, version, address = fields
        _number(session, _MAX_VERSION, "o=")
        return cls(
            session, _number(version, _MAX_VERSION, "o="), Connection.parse(address), username
        )

    def same_session(self, other: Origin) -> bool:
        """Tell whether both speak of one session, in whatever version."""
        return attrs.evolve(other, version=self.version) == self

    def __str__(self) -> str:
        return f"{self.username} {self.session} {self.version} {self.address}"


@attrs.frozen
class Section:
    """Some lines that belong together: those of the session, or of one medium.

    Attributes:
        lines: whole, ``a=path:...``, without their ends, in the order of RFC 8866 §5.
    """

    lines: tuple[str, ...]

    def values(self, letter: str) -> tuple[str, ...]:
        """Return what stands behind ``letter=``, once for each such line."""
        return tuple(line[2:] for line in self.lines if line[0] == letter)

    def value(self, letter: str) -> str | None:
        """Return what stands behind the first ``letter=``."""
        return next((line[2:] for line in self.lines if line[0] == letter), None)

    @property
    def connection(self) -> Connection | None:
        """The first ``c=`` line of this section."""
        value = self.value("c")
        return None if value is None else Connection.parse(value)

    def attributes(self, name: str) -> tuple[str, ...]:
        """Return the values of all ``a=name`` lines; "" for one without a value."""
        found = []
        for line in self.lines:
            if line.startswith(f"a={name}"):
                rest = line[2 + len(name) :]
                if not rest or rest[0] == ":":
                    found.append(rest[1:])
        return tuple(found)

    def attribute(self, name: str) -> str | None:
        """Return the value of the first ``a=name`` line, "" when it has none."""
        found = self.attributes(name)
        return found[0] if found else None

    def with_attribute(self, name: str, value: str = "") -> Self:
        """Return the same with one attribute set, in its old place or at the end."""
        line = attribute_line(name, value)
        lines: list[str] = []
        placed = False
        for old in self.lines:
            if old != f"a={name}" and not old.startswith(f"a={name}:"):
                lines.append(old)
            elif not placed:
                placed = True
                lines.append(line)
        if not placed:
            lines.append(line)
        return attrs.evolve(self, lines=tuple(lines))

    def without_attribute(self, name: str) -> Self:
        """Return the same without any ``a=name`` line."""
        kept = (
            line for line in self.lines if line != f"a={name}" and not line.startswith(f"a={name}:")
        )
        return attrs.evolve(self, lines=tuple(kept))


@attrs.frozen
class Media(Section):
    """One medium: its ``m=`` line, which comes first, and the lines under it.

    Spec: RFC 8866 §5.14
    """

    @classmethod
    def make(
        cls,
        kind: str,
        port: int,
        protocol: str,
        formats: Iterable[str] = ("*",),
        *,
        title: str = "",
        connection: Connection | None = None,
        attributes: Iterable[str] = (),
    ) -> Media:
        """Return one from its fields; ``attributes`` are whole ``a=`` lines."""
        lines = [f"m={kind} {port} {protocol} {' '.join(formats)}"]
        if title:
            lines.append(f"i={title}")
        if connection is not None:
            lines.append(f"c={connection}")
        return cls((*lines, *attributes))

    @property
    def _fields(self) -> list[str]:
        return self.lines[0][2:].split()

    @property
    def kind(self) -> str:
        """``message``, ``audio`` and so on."""
        return self._fields[0]

    @property
    def port(self) -> int:
        """0 when the medium is refused or over."""
        return int(self._fields[1].partition("/")[0])

    @property
    def protocol(self) -> str:
        """``TCP/MSRP`` and so on."""
        return self._fields[2]

    @property
    def formats(self) -> tuple[str, ...]:
        """What stands behind the protocol, at least one."""
        return tuple(self._fields[3:])

    @property
    def title(self) -> str:
        """The ``i=`` line, "" if none."""
        return _readable(self.value("i") or "", "utf-8")

    def refused(self, keep: Iterable[str] = ()) -> Media:
        """Return the line that refuses or ends this medium: port 0.

        Args:
            keep: names of the attributes that go along.

        Spec: RFC 3264 §6, §8.2
        """
        kept = tuple(
            attribute_line(name, value) for name in keep for value in self.attributes(name)
        )
        head = f"m={self.kind} 0 {self.protocol} {' '.join(self.formats)}"
        return Media((head, *kept))


@attrs.frozen
class SessionDescription(Section):
    """A whole description: the lines of the session, and its media.

    Spec: RFC 8866 §5
    """

    media: tuple[Media, ...] = ()

    @classmethod
    def make(
        cls,
        origin: Origin,
        media: Iterable[Media] = (),
        *,
        name: str = "-",
        connection: Connection | None = None,
        times: Iterable[str] = ("t=0 0",),
        attributes: Iterable[str] = (),
    ) -> SessionDescription:
        """Return one from its fields.

        Args:
            origin: who says so.
            media: in order.
            name: of the session; "-" when it has none.
            connection: where media go that do not say; the origin's address when ``None``.
            times: whole ``t=``, ``r=`` and ``z=`` lines.
            attributes: whole ``a=`` lines.
        """
        where = origin.address if connection is None else connection
        lines = ["v=0", f"o={origin}", f"s={name}", f"c={where}"]
        return cls((*lines, *times, *attributes), tuple(media))

    @classmethod
    def parse(cls, data: bytes) -> SessionDescription:
        """Return the description that the octets are.

        Lines may end in LF alone. ``k=`` lines are left out, as RFC 8866 §5.12 demands. A
        charset other than UTF-8 does no harm: octets are written back as they came.

        Raises:
            BadSdp: lines missing, doubled, out of order, broken, or of an unknown type
                (400); too many or too long (413).

        Spec: RFC 8866 §5, §9. Differs: an empty ``s=`` and a missing ``t=`` are accepted,
            since RFC 5547 §6 and RFC 7701 §9.1 show them.
        """
        if len(data) > SIZE:
            raise BadSdp(f"session description is larger than {SIZE} octets", 413)
        text = data.decode("utf-8", "surrogateescape")
        rows = text.split("\n")
        if len(rows) > LINES:
            raise BadSdp(f"session description has more than {LINES} lines", 413)
        sections: list[list[str]] = [[]]
        ended = False
        for row in rows:
            line = row.removesuffix("\r")
            if not line:
                ended = True
                continue
            if ended or line[1:2] != "=" or "\r" in line or "\0" in line:
                raise BadSdp(f"{line[:40]!r} is not a line of SDP")
            if line[0] == "m":
                sections.append([])
                if len(sections) > MEDIA + 1:
                    raise BadSdp(f"session description has more than {MEDIA} media", 413)
            sections[-1].append(line)
        return _check(
            _ordered(sections[0], _SESSION_ORDER, _SESSION_ONCE),
            [_ordered(lines, _MEDIA_ORDER, _MEDIA_ONCE) for lines in sections[1:]],
        )

    def to_bytes(self) -> bytes:
        """Return the description as it goes onto the wire.

        Raises:
            UsageError: a line cannot be written: a defect of who made it.
        """
        lines = list(self.lines)
        for one in self.media:
            lines += one.lines
        for line in lines:
            if line[1:2] != "=" or "\r" in line or "\n" in line or "\0" in line:
                raise UsageError(f"{line[:40]!r} cannot be written into SDP: it is not one line")
        lines.append("")
        try:
            return "\r\n".join(lines).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise UsageError("SDP holds what is no text") from None

    @property
    def origin(self) -> Origin:
        """The ``o=`` line."""
        return Origin.parse(self.value("o") or "")

    def with_origin(self, origin: Origin) -> SessionDescription:
        """Return the same from another origin."""
        lines = tuple(f"o={origin}" if line[0] == "o" else line for line in self.lines)
        return attrs.evolve(self, lines=lines)

    @property
    def name(self) -> str:
        """The ``s=`` line without white space around it; "" when there is no real one."""
        charset = _CHARSETS.get((self.attribute("charset") or "").strip().lower(), "utf-8")
        name = _readable(self.value("s") or "", charset).strip()
        return "" if name == "-" else name

    @property
    def times(self) -> tuple[str, ...]:
        """The whole ``t=``, ``r=`` and ``z=`` lines, for the answer (RFC 3264 §6)."""
        return tuple(line for line in self.lines if line[0] in "trz") or ("t=0 0",)

    def connection_of(self, media: Media) -> Connection | None:
        """Return where a medium goes: what it says, else what the session says."""
        return media.connection or self.connection

    def attribute_of(self, media: Media, name: str) -> str | None:
        """Return an attribute of a medium that the session may give for all of them."""
        value = media.attribute(name)
        return self.attribute(name) if value is None else value

    def direction_of(self, media: Media) -> str:
        """Return one of DIRECTIONS: what the medium says, else the session, else both ways.

        Spec: RFC 8866 §6.7
        """
        for section in (media, self):
            for line in section.lines:
                if line[:2] == "a=" and line[2:] in DIRECTIONS:
                    return line[2:]
        return SENDRECV


def attribute_line(name: str, value: str = "") -> str:
    """Return a whole ``a=`` line."""
    return f"a={name}:{value}" if value else f"a={name}"


def revise(previous: SessionDescription, wanted: SessionDescription) -> SessionDescription:
    """Return what to send after ``previous``, which was the last one sent in the session.

    Its ``o=`` line stays when nothing else changes, and counts one up when something does.

    Raises:
        UsageError: there are fewer media than before; refuse them with port 0 instead.

    Spec: RFC 3264 §8; RFC 4975 §8.4
    """
    if len(wanted.media) < len(previous.media):
        raise UsageError("media cannot be taken away: set their port to 0")
    origin = previous.origin
    if wanted.with_origin(origin) == previous:
        return previous
    return wanted.with_origin(attrs.evolve(origin, version=origin.version + 1))


def check_revision(previous: SessionDescription, offer: SessionDescription) -> bool:
    """Look at a peer's offer that follows its ``previous`` description.

    Returns:
        whether something changed; the same ``o=`` line says that nothing did.
    Raises:
        BadSdp: there are fewer media than before (488).

    Spec: RFC 3264 §8
    """
    if len(offer.media) < len(previous.media):
        raise BadSdp("media of the session are missing in its new description", 488)
    return offer.origin != previous.origin


def _ordered(lines: list[str], order: Mapping[str, int], once: str) -> tuple[str, ...]:
    """Return the lines to keep, or raise BadSdp."""
    last = 0
    seen = set()
    for line in lines:
        letter = line[0]
        place = order.get(letter)
        if place is None:
            # RFC 8866 §5: a letter that is not understood spoils the whole.
            raise BadSdp(f"SDP has a line {line[:2]!r} where none can be")
        if place < last:
            raise BadSdp(f"SDP has a line {line[:2]!r} out of order")
        if letter in once and letter in seen:
            raise BadSdp(f"SDP has two lines {line[:2]!r}")
        seen.add(letter)
        last = place
    return tuple(line for line in lines if line[0] != "k")


def _check(lines: tuple[str, ...], media: list[tuple[str, ...]]) -> SessionDescription:
    """Return the description if its fields can be read, or raise BadSdp."""
    found = SessionDescription(lines, tuple(Media(one) for one in media))
    if found.value("v") != "0":
        raise BadSdp("SDP does not begin with v=0")
    Origin.parse(found.value("o") or "")
    if found.value("s") is None:
        raise BadSdp("SDP without s=")
    times = [line[0] for line in lines if line[0] in "trz"]
    if times and times[0] != "t":
        raise BadSdp("SDP repeats a time that it does not give")
    for section in (found, *found.media):
        for line in section.lines:
            if line[0] == "c":
                Connection.parse(line[2:])
            elif line == "a=" or line.startswith("a=:"):
                raise BadSdp("SDP has an attribute without a name")
    for one in found.media:
        fields = one.lines[0][2:].split()
        if len(fields) < 4:
            raise BadSdp("an m= line is not four fields")
        port, slash, count = fields[1].partition("/")
        _number(port, _MAX_PORT, "m=")
        if slash and not _number(count, _MAX_PORT, "m="):
            raise BadSdp("an m= line has no ports")
        if one.port and found.connection_of(one) is None:
            raise BadSdp("SDP does not say where a medium goes: no c=")
    return found


def _number(text: str, largest: int, where: str) -> int:
    try:
        return number(text, largest)
    except PeerError as error:
        raise BadSdp(f"{where} line: {error.why}") from None


def _readable(text: str, charset: str) -> str:
    """Return a text for people by its charset, whatever octets it had."""
    return text.encode("utf-8", "surrogateescape").decode(charset, "replace")
