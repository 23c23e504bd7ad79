"""What a MESSAGE carries, read no further than somebody asks.

Spec: RFC 3428 §4; RFC 3862; RFC 5438; RFC 3994
"""

from __future__ import annotations

from typing import Final

from omaim.bodies.cpim import MEDIA_TYPE as CPIM
from omaim.bodies.cpim import Cpim
from omaim.bodies.imdn import MEDIA_TYPE as IMDN
from omaim.bodies.imdn import is_report
from omaim.bodies.mime import Part, parse_params, write_params
from omaim.bodies.multipart import Multipart, is_multipart, leaves, parse_multipart
from omaim.errors import PeerError
from omaim.sip.message import Request

COMPOSING: Final = "application/im-iscomposing+xml"
_DEPTH: Final = 3  # wrappers inside one another that are looked into
_OF_THE_OCTETS: Final = ("Content-Length", "Content-Transfer-Encoding", "Content-MD5")


class Content:
    """The body of a MESSAGE.

    Attributes:
        content_type: as the header says, "" without a body.
        media_type: of the body: lower case, no parameters.
        body: octets.
    """

    __slots__ = ("_cpim", "_inner", "_sought", "body", "content_type", "media_type")

    def __init__(self, content_type: str, body: bytes) -> None:
        self.content_type = content_type
        self.media_type = content_type.partition(";")[0].strip(" \t").lower()
        self.body = body
        self._cpim: Cpim | None = None
        self._sought = False
        self._inner: Part | None = None

    @staticmethod
    def of(request: Request) -> Content:
        """Return the content of a request; one with a Content-Encoding stays closed."""
        if not request.body:
            return Content("", b"")
        kind = request.first("Content-Type") or ""
        if request.has("Content-Encoding"):
            coding = (request.first("Content-Encoding") or "").strip().lower()
            if coding not in ("", "identity"):
                kind = "application/octet-stream"
        return Content(kind, request.body)

    @property
    def cpim(self) -> Cpim | None:
        """The CPIM message that the body is, or that is a part of it; ``None`` without.

        Raises:
            PeerError: it is broken (400).
        """
        if not self._sought:
            if self.media_type == CPIM:
                self._cpim = Cpim.parse(self.body)
            elif self.media_type.startswith("multipart/"):
                for part in leaves(self.content_type, self.body):
                    if part.media_type == CPIM:
                        self._cpim = Cpim.parse(part.decoded())
                        break
            self._sought = True
        return self._cpim

    @property
    def message_id(self) -> str:
        """The sender's identifier of the message, "" without."""
        cpim = self.cpim
        return "" if cpim is None else cpim.message_id

    @property
    def inner(self) -> Part:
        """The innermost content: the first text there is, else the first part."""
        if self._inner is None:
            cpim = self.cpim
            if cpim is not None:
                self._inner = _text_of(cpim.part)
            else:
                self._inner = _text_of(Part([("Content-Type", self.content_type)], self.body))
        return self._inner

    @property
    def text(self) -> str:
        """The innermost content when it is text that can be read, else ""."""
        part = self.inner
        try:
            return part.text() if part.media_type.startswith("text/") else ""
        except PeerError:
            return ""

    @property
    def is_report(self) -> bool:
        """It tells what became of another message."""
        if self.media_type == IMDN:
            return True
        cpim = self.cpim
        return cpim is not None and is_report(cpim)

    @property
    def is_composing(self) -> bool:
        """It tells that somebody types, which is of no use later."""
        if self.media_type == COMPOSING:
            return True
        cpim = self.cpim
        return cpim is not None and cpim.part.media_type == COMPOSING

    def with_text(self, text: str) -> Content:
        """Return the content with another text inside the same wrapping."""
        replaced = _replace(Part([("Content-Type", self.content_type)], self.body), text, _DEPTH)
        return Content(replaced.content_type, replaced.content)

    def plain(self) -> Content | None:
        """Return what is inside a CPIM wrapper, for a device that knows none; else ``None``.

        Only text goes without its wrapper: a report would mean nothing.
        """
        if self.media_type != CPIM:
            return None
        part = self.inner
        if not part.media_type.startswith("text/"):
            return None
        return Content(part.content_type, part.decoded())


def _text_of(part: Part) -> Part:
    if not is_multipart(part.content_type):
        return part
    found = leaves(part.content_type, part.content)
    for one in found:
        if one.media_type.startswith("text/"):
            return one
    return found[0] if found else part


def _replace(part: Part, text: str, depth: int) -> Part:
    """Return the part with ``text`` in the place of the first text inside."""
    kind = part.media_type
    if kind == CPIM and depth:
        message = Cpim.parse(part.decoded())
        inner = _replace(message.part, text, depth - 1)
        return renewed(part, part.content_type, Cpim(message.headers, inner).to_bytes())
    if is_multipart(part.content_type) and depth:
        whole = parse_multipart(part.content_type, part.decoded())
        at = next((at for at, one in enumerate(whole.parts) if _holds_text(one)), -1)
        if at < 0:
            return part
        parts = list(whole.parts)
        parts[at] = _replace(parts[at], text, depth - 1)
        content_type, body = Multipart(whole.subtype, parts, whole.params).write()
        return renewed(part, content_type, body)
    params = parse_params(part.content_type)[1]
    params["charset"] = "UTF-8"
    return renewed(part, write_params(kind, params), text.encode())


def _holds_text(part: Part) -> bool:
    kind = part.media_type
    return kind.startswith("text/") or kind == CPIM or is_multipart(part.content_type)


def renewed(part: Part, content_type: str, body: bytes) -> Part:
    """Return the part with other octets and no header that tells of the old ones."""
    fresh = Part(list(part.headers), body)
    for name in _OF_THE_OCTETS:
        fresh.remove(name)
    fresh.set("Content-Type", content_type)
    return fresh
