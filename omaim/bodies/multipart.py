"""Several bodies in one: multipart/mixed, related, alternative, and what else is so built.

Spec: RFC 2046 §5.1; RFC 2387 (related); RFC 2392 (cid:); RFC 5621 (bodies in SIP)
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final, final

from omaim.bodies.mime import BadMime, Part, parse_params, write_params
from omaim.errors import UsageError

PARTS: Final = 500  # in one multipart
NESTING: Final = 5  # multiparts inside one another

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")


class BadMultipart(BadMime):
    """A body that says it is a multipart and is not one that we can read."""


@final
class Multipart:
    """Parts in order, and how they belong together.

    Args:
        subtype: "mixed", "related", "alternative", …
        parts: in order.
        params: of the Content-Type, without the boundary.

    Spec: RFC 2046 §5.1
    """

    __slots__ = ("params", "parts", "subtype")

    def __init__(
        self, subtype: str, parts: list[Part], params: dict[str, str] | None = None
    ) -> None:
        self.subtype = subtype
        self.parts = parts
        self.params: dict[str, str] = {} if params is None else params

    def with_disposition(self, disposition: str) -> list[Part]:
        """Return the parts that have this disposition type.

        Raises:
            BadMime: a Content-Disposition is broken.
        """
        return [part for part in self.parts if part.disposition == disposition]

    def with_type(self, media_type: str) -> list[Part]:
        """Return the parts of this media type, "text/plain".

        Raises:
            BadMime: a Content-Type is broken.
        """
        return [part for part in self.parts if part.media_type == media_type]

    def by_id(self, content_id: str) -> Part | None:
        """Return the part with this Content-ID (no angle brackets), or None.

        Spec: RFC 2392 §2
        """
        for part in self.parts:
            if part.content_id == content_id:
                return part
        return None

    def root(self) -> Part:
        """Return the part that a reader of multipart/related starts with.

        Raises:
            BadMultipart: "start" names no part, or there is none.

        Spec: RFC 2387 §3.2
        """
        start = self.params.get("start", "").strip("<>")
        found = self.by_id(start) if start else (self.parts[0] if self.parts else None)
        if found is None:
            raise BadMultipart("multipart/related has no such root")
        return found

    def write(self, boundary: str = "") -> tuple[str, bytes]:
        """Return the Content-Type and the octets.

        Args:
            boundary: one that no part holds; made from the content when empty.

        Raises:
            UsageError: no parts, or a boundary that a part holds or that cannot be written.

        Spec: RFC 2046 §5.1.1
        """
        if not self.parts:
            raise UsageError("a multipart needs a part")
        written = [part.to_bytes() for part in self.parts]
        if not boundary:
            boundary = _free_boundary(written)
        mark = b"--" + boundary.encode()
        if _BOUNDARY.fullmatch(boundary) is None or any(mark in one for one in written):
            raise UsageError(f"boundary {boundary!r} cannot be used")
        pieces: list[bytes] = []
        for one in written:
            pieces += (mark, b"\r\n", one, b"\r\n")
        pieces += (mark, b"--\r\n")
        params = {"boundary": boundary}
        params.update(self.params)
        return write_params("multipart/" + self.subtype, params), b"".join(pieces)

    def as_part(self, headers: list[tuple[str, str]], boundary: str = "") -> Part:
        """Return the multipart as one part, to nest it or to carry it in a CPIM message.

        Args:
            headers: further headers of that part.
            boundary: as for :meth:`write`.
        """
        content_type, content = self.write(boundary)
        return Part([("Content-Type", content_type), *headers], content)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Multipart):
            return NotImplemented
        return (
            self.subtype == other.subtype
            and self.params == other.params
            and self.parts == other.parts
        )

    def __hash__(self) -> int:
        return hash((self.subtype, len(self.parts)))

    def __repr__(self) -> str:
        return f"<Multipart {self.subtype} {self.parts!r}>"


def is_multipart(content_type: str) -> bool:
    """Return whether a Content-Type announces parts."""
    return content_type.lstrip()[:10].lower() == "multipart/"


def parse_multipart(content_type: str, body: bytes, most: int = PARTS) -> Multipart:
    """Return the parts; those that are multiparts themselves stay as they are.

    What stands before the first and after the last delimiter is dropped, as the RFC says.

    Args:
        content_type: of the whole, with its boundary.
        body: the octets.
        most: parts.

    Raises:
        BadMultipart: no boundary, no end, or too many parts.
        BadMime: headers of the whole or of a part are broken.

    Spec: RFC 2046 §5.1.1
    """
    kind, params = parse_params(content_type)
    if not kind.startswith("multipart/"):
        raise BadMultipart(f"{kind[:60]} is no multipart")
    boundary = params.pop("boundary", "")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise BadMultipart("multipart without a usable boundary")
    delimiter = re.compile(
        rb"(?:\A|\r\n)--" + re.escape(boundary.encode("ascii")) + rb"(--)?[ \t]*(?=\r\n|\Z)"
    )
    parts: list[Part] = []
    start = -1
    at = 0
    while True:
        found = delimiter.search(body, at)
        if found is None:
            raise BadMultipart("multipart without an end")
        if start >= 0:
            if len(parts) >= most:
                raise BadMultipart(f"multipart with more than {most} parts")
            # Two delimiters may share a line end: an empty part lies between them.
            end = max(start, found.start())
            parts.append(Part.parse(body[start:end] or b"\r\n"))
        if found.group(1) is not None:
            break
        # The line end of a delimiter may begin the next one, so the search resumes before it.
        start = found.end() + 2
        at = found.end()
    if not parts:
        raise BadMultipart("multipart without a part")
    return Multipart(kind[10:], parts, params)


def leaves(content_type: str, body: bytes, nesting: int = NESTING) -> list[Part]:
    """Return every part that is no multipart, in order; the body itself when it is none.

    Args:
        content_type: of the body.
        body: the octets.
        nesting: the most multiparts inside one another.

    Raises:
        BadMime: broken, nested too deep, or more than :data:`PARTS` in all.
    """
    found: list[Part] = []
    _gather(Part([("Content-Type", content_type)], body), nesting, found)
    return found


def _gather(part: Part, nesting: int, found: list[Part]) -> None:
    if not is_multipart(part.content_type):
        found.append(part)
        if len(found) > PARTS:
            raise BadMultipart(f"more than {PARTS} parts in all")
        return
    if nesting <= 0:
        raise BadMultipart("multiparts nest too deep")
    for inner in parse_multipart(part.content_type, part.content).parts:
        _gather(inner, nesting - 1, found)


def _free_boundary(written: list[bytes]) -> str:
    """Return a boundary that none of the parts holds, the same for the same parts."""
    digest = sha256(b"\r\n".join(written)).hexdigest()
    boundary = digest[:24]
    tried = 0
    while any(boundary.encode("ascii") in one for one in written):
        tried += 1
        boundary = sha256(f"{digest}{tried}".encode()).hexdigest()[:24]
    return boundary
