"""Which file an MSRP medium transfers: the file attributes of a session description.

One medium carries one file, one way. Its offerer sends it (push) or asks for it (pull).
:class:`FileTransfer` is what is said about it, :class:`FileSelector` tells which file is meant,
:func:`judge` whether an offer starts a transfer or only repeats what is known.

Spec: RFC 5547
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import attrs

from omaim.bodies.sdp import BadMedia, Media, attribute_line
from omaim.grammar import is_token

SHA1: Final = "sha-1"  # the only algorithm of RFC 5547
RENDER: Final = "render"  # dispositions, RFC 5547 §7
ATTACHMENT: Final = "attachment"

START: Final = "start"
REPEAT: Final = "repeat"
MISUSED: Final = "misused"

NAME_SIZE: Final = 200  # octets of a file's name where it is stored
HASHES: Final = 8  # of one file; more are not read

FILE_ATTRIBUTES: Final = (
    "file-selector", "file-transfer-id", "file-disposition", "file-date", "file-icon",
    "file-range",
)  # fmt: skip
REFUSAL: Final = FILE_ATTRIBUTES[:2]  # what a refusal repeats, RFC 5547 §8.3

_MAX: Final = 2**63 - 1
# A quoted string that does not end takes the rest, so that nothing is looked at twice.
_WORD: Final = re.compile(r'(?:[^ "]|"[^"]*(?:"|$))+')
_TYPE: Final = re.compile(r"[!#$&^_.+A-Za-z0-9-]+/[!#$&^_.+A-Za-z0-9-]+")
_PARAM: Final = re.compile(r';([^=;" ]+)=(?:"([^"]*)"|([^;" ]*))')
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_HEX: Final = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){0,127}")
_RANGE: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,19}|\*)")
_ENCODED: Final = frozenset(b'"%/\\') | frozenset(range(32)) | {127}
_DATE: Final = re.compile(
    r"(?:[A-Za-z]{3}, *)?([0-9]{1,2}) +([A-Za-z]{3}) +([0-9]{4}) +"
    r"([0-9]{2}):([0-9]{2})(?::([0-9]{2}))? +(?:([+-])([0-9]{2})([0-9]{2})|UT|GMT)"
)
_DATES: Final = re.compile(r'(creation|modification|read):"([^"]*)"')
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Meant for directories, shells or devices, or invisible and good for faking an extension.
_UNSAFE: Final = re.compile(
    '[\x00-\x1f\x7f-\x9f/\\\\:*?"<>|\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]'
)
_DEVICES: Final = re.compile(
    r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE | re.DOTALL
)


@attrs.frozen
class FileSelector:
    """Which file: every one that has all of these.

    Spec: RFC 5547 §5, §6
    """

    name: str = ""  # as its owner calls it; anything may be in it, see safe_name
    size: int | None = None  # octets of the whole file
    type: str = ""  # lower case, without parameters
    params: tuple[tuple[str, str], ...] = ()  # of the type
    hashes: tuple[tuple[str, bytes], ...] = ()  # algorithm in lower case, digest of the whole

    @classmethod
    def parse(cls, value: str) -> FileSelector:
        """Return what an ``a=file-selector`` says; what it calls otherwise is overlooked.

        Raises:
            BadMedia: a selector is broken.
        """
        found = cls()
        for word in _WORD.findall(value):
            kind, _, rest = word.partition(":")
            if kind == "name" and not found.name:
                found = attrs.evolve(found, name=_decoded(rest.strip('"')))
            elif kind == "size":
                found = attrs.evolve(found, size=_size(rest))
            elif kind == "type":
                media_type, params = _type(rest)
                found = attrs.evolve(found, type=media_type, params=params)
            elif kind == "hash" and len(found.hashes) < HASHES:
                found = attrs.evolve(found, hashes=(*found.hashes, _hash(rest)))
        return found

    def __str__(self) -> str:
        words = []
        if self.name:
            words.append(f'name:"{_encoded(self.name)}"')
        if self.type:
            params = "".join(f';{name}="{_encoded(text)}"' for name, text in self.params)
            words.append(f"type:{self.type}{params}")
        if self.size is not None:
            words.append(f"size:{self.size}")
        words += [f"hash:{name}:{digest.hex(':').upper()}" for name, digest in self.hashes]
        return " ".join(words)

    def __bool__(self) -> bool:
        return self != FileSelector()

    def selects(self, file: FileSelector) -> bool:
        """Tell whether a file of ours, about which all is known, is one of those meant.

        Spec: RFC 5547 §5, §8.3.2
        """
        if self.name and self.name != file.name:
            return False
        if self.size is not None and self.size != file.size:
            return False
        if self.type and self.type != file.type:
            return False
        return not self.hashes or bool({*self.hashes} & {*file.hashes})

    def contradicts(self, other: FileSelector) -> bool:
        """Tell whether both cannot mean the same file.

        Spec: RFC 5547 §8.1
        """
        return (
            bool(self.name and other.name and self.name != other.name)
            or (None not in (self.size, other.size) and self.size != other.size)
            or bool(self.type and other.type and self.type != other.type)
            or self._other_hash(other.hashes)
        )

    def _other_hash(self, hashes: Iterable[tuple[str, bytes]]) -> bool:
        """Tell whether an algorithm that both have used gave something else."""
        ours = {*self.hashes}
        theirs = {*hashes}
        same = {name for name, _ in ours & theirs}
        return bool(({name for name, _ in ours} & {name for name, _ in theirs}) - same)

    def flaw(self, size: int, digests: Mapping[str, bytes]) -> str:
        """Return why octets that have arrived are not this file; "" when they may be.

        Args:
            size: octets of the whole file, parts that had been there before included.
            digests: by algorithm in lower case, of the whole file.

        Spec: RFC 5547 §8.2.2, §8.3.1
        """
        if self.size is not None and size != self.size:
            return f"it has {size} octets, not {self.size}"
        return "it has another hash" if self._other_hash(digests.items()) else ""


@attrs.frozen
class FileTransfer:
    """What one side says about the transfer of a file.

    Spec: RFC 5547 §6
    """

    selector: FileSelector  # false (empty): says only that file transfers are understood
    id: str = ""  # token; another one is another transfer, of the same file even
    disposition: str = ""  # RENDER, ATTACHMENT, or another token; "" is like RENDER
    created: float | None = None  # seconds since the epoch; None when not said
    modified: float | None = None
    accessed: float | None = None
    icon: str = ""  # Content-ID of a small picture beside the description
    first: int = 1  # octet of the file with which the transfer begins
    last: int | None = None  # octet with which it ends; None: the end of the file

    @property
    def whole(self) -> bool:
        """Whether the file is transferred from its first octet to its last."""
        return self.first == 1 and self.last in (None, self.selector.size)

    def same_range(self, other: FileTransfer) -> bool:
        """Tell whether both speak of the same octets."""
        size = self.selector.size if other.selector.size is None else other.selector.size
        ends = [size if one.last is None else one.last for one in (self, other)]
        return self.first == other.first and ends[0] == ends[1]

    def accepted(self) -> FileTransfer:
        """Return what the receiver answers to a push that it takes.

        Spec: RFC 5547 §8.3.1
        """
        return FileTransfer(self.selector, self.id, first=self.first, last=self.last)

    def provided(self, file: FileSelector) -> FileTransfer:
        """Return what the sender answers to a pull.

        Args:
            file: what is known about the file that was chosen.

        Spec: RFC 5547 §8.3.2
        """
        said = FileSelector(type=file.type, params=file.params, hashes=file.hashes)
        if not said:
            said = self.selector
        return FileTransfer(said, self.id, first=self.first, last=self.last)

    def resumed(self, have: int, id: str) -> FileTransfer:
        """Return the same for what is left, a transfer of its own.

        Args:
            have: octets that arrived, from the first one of the file on.
            id: a new one.

        Spec: RFC 5547 §6 (file-range), §8.1
        """
        last = self.selector.size if self.last is None else self.last
        return attrs.evolve(self, id=id, first=have + 1, last=last)

    def lines(self) -> tuple[str, ...]:
        """Return the whole ``a=`` lines."""
        lines = [attribute_line("file-selector", str(self.selector))]
        if self.id:
            lines.append(f"a=file-transfer-id:{self.id}")
        if self.disposition:
            lines.append(f"a=file-disposition:{self.disposition}")
        dates = [
            f'{name}:"{_write_date(moment)}"'
            for name, moment in (
                ("creation", self.created),
                ("modification", self.modified),
                ("read", self.accessed),
            )
            if moment is not None
        ]
        if dates:
            lines.append("a=file-date:" + " ".join(dates))
        if self.icon:
            lines.append(f"a=file-icon:cid:{_encoded_id(self.icon)}")
        if self.first != 1 or self.last is not None:
            end = "*" if self.last is None else self.last
            lines.append(f"a=file-range:{self.first}-{end}")
        return tuple(lines)


def read_file(media: Media) -> FileTransfer | None:
    """Return what a medium says about a file; ``None`` when it is about none.

    Dates that cannot be read are overlooked.

    Raises:
        BadMedia: a selector, the identifier or the range is broken.

    Spec: RFC 5547 §6
    """
    value = media.attribute("file-selector")
    if value is None:
        return None
    id = (media.attribute("file-transfer-id") or "").strip()
    if id and not is_token(id):
        raise BadMedia("file-transfer-id is not a token")
    first, last = _range(media.attribute("file-range"))
    dates = dict(reversed(_DATES.findall(media.attribute("file-date") or "")))
    icon = (media.attribute("file-icon") or "").strip()
    return FileTransfer(
        FileSelector.parse(value),
        id,
        (media.attribute("file-disposition") or "").strip(),
        _read_date(dates.get("creation", "")),
        _read_date(dates.get("modification", "")),
        _read_date(dates.get("read", "")),
        _decoded(icon[4:]) if icon.lower().startswith("cid:") else "",
        first,
        last,
    )


def judge(offered: FileTransfer, known: Mapping[str, FileSelector]) -> str:
    """Tell what an offer wants of a file that is transferred or to be so.

    Args:
        offered: what it says; its medium is not refused.
        known: all transfers of the session so far, by identifier.

    Returns:
        START: transfer it, and stop what the medium transferred before; REPEAT: nothing new;
        MISUSED: another file under a known identifier, so refuse it with port 0.

    Spec: RFC 5547 §8.1, Figure 3
    """
    before = known.get(offered.id) if offered.id else None
    if before is None:
        return START
    return MISUSED if before.contradicts(offered.selector) else REPEAT


def safe_name(name: str, instead: str = "file") -> str:
    """Return a name under which a file of a peer can be stored in a directory of ours.

    It has no directories, no control characters, nothing that hides or turns text around, does not
    begin with a dot, is no device, and has at most NAME_SIZE octets; its extension stays.

    Args:
        name: as the peer has it.
        instead: when nothing is left.

    Spec: RFC 5547 §6 (sanitizing), §10
    """
    text = _UNSAFE.sub("_", name).strip(" .")
    if _DEVICES.fullmatch(text) is not None:
        text = "_" + text
    if not text.strip("_"):
        return instead
    stem, dot, extension = text.rpartition(".")
    if not dot or len(extension.encode()) > 20:
        stem, dot, extension = text, "", ""
    room = NAME_SIZE - len((dot + extension).encode())
    if len(stem.encode()) > room:
        stem = stem.encode()[:room].decode(errors="ignore").rstrip(" .")
    return stem + dot + extension


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MAX):
        raise BadMedia("the size of a file is not a number")
    return int(text)


def _type(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    head = _TYPE.match(text)
    if head is None:
        raise BadMedia("the type of a file is broken")
    params = []
    at = head.end()
    while (found := _PARAM.match(text, at)) is not None:
        quoted = found[2] is not None
        params.append((found[1].lower(), _decoded(found[2]) if quoted else found[3]))
        at = found.end()
    if at != len(text):
        raise BadMedia("the type of a file is broken")
    return head[0].lower(), tuple(params)


def _hash(text: str) -> tuple[str, bytes]:
    name, _, digest = text.partition(":")
    if not is_token(name) or _HEX.fullmatch(digest) is None:
        raise BadMedia("the hash of a file is broken")
    return name.lower(), bytes.fromhex(digest.replace(":", ""))


def _range(text: str | None) -> tuple[int, int | None]:
    if text is None:
        return 1, None
    found = _RANGE.fullmatch(text.strip())
    if found is None or not 1 <= int(found[1]) <= _MAX:
        raise BadMedia("file-range is broken")
    last = None if found[2] == "*" else int(found[2])
    if last is not None and not int(found[1]) - 1 <= last <= _MAX:
        raise BadMedia("file-range ends before it begins")
    return int(found[1]), last


def _decoded(text: str) -> str:
    """Return a text with its percent-encoding undone; octets that are no UTF-8 are replaced."""
    octets = text.encode("utf-8", "surrogateescape")
    octets = _PERCENT.sub(lambda found: bytes.fromhex(found[1].decode()), octets)
    return octets.decode("utf-8", "replace")


def _encoded(text: str) -> str:
    octets = bytearray()
    for octet in text.encode("utf-8", "replace"):
        octets += b"%%%02X" % octet if octet in _ENCODED else bytes((octet,))
    return octets.decode()


def _encoded_id(text: str) -> str:
    """Return a Content-ID as a cid URL has it (RFC 2392 §2)."""
    return "".join(
        chr(octet) if 33 <= octet < 127 and octet not in _ENCODED else f"%{octet:02X}"
        for octet in text.encode("utf-8", "replace")
    )


def _read_date(text: str) -> float | None:
    """Return seconds since the epoch of an RFC 5322 date-time, or ``None``."""
    found = _DATE.fullmatch(text.strip())
    if found is None or found[2].title() not in _MONTHS:
        return None
    offset = timedelta(hours=int(found[8] or 0), minutes=int(found[9] or 0))
    try:
        zone = timezone(-offset if found[7] == "-" else offset)
        moment = datetime(
            int(found[3]),
            _MONTHS.index(found[2].title()) + 1,
            int(found[1]),
            int(found[4]),
            int(found[5]),
            min(int(found[6] or 0), 59),
            tzinfo=zone,
        )
    except ValueError:
        return None
    return (moment - _EPOCH).total_seconds()


def _write_date(seconds: float) -> str:
    moment = _EPOCH + timedelta(seconds=int(seconds))
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} "
        f"{moment.year:04} {moment.hour:02}:{moment.minute:02}:{moment.second:02} +0000"
    )
