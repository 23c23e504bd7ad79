"""application/vnd.oma.im.deferred-list+xml: what waits for a user, or which of it is meant.

It holds metadata only. References are written as attributes; both attributes and child elements
are read, because implementations differ.

Spec: OMA-TS-IM_XDM V1.0 §5.2 (deferred-list); namespace urn:oma:xml:im:history-list
Differs: the order of elements is not confirmed by a published schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from omaim.bodies.moments import parse_moment, write_moment
from omaim.bodies.xml import (
    BadXml,
    Element,
    add,
    child,
    child_text,
    children,
    local_name,
    new_root,
    parse_xml,
    text_of,
    whole,
    write_xml,
)

MEDIA_TYPE: Final = "application/vnd.oma.im.deferred-list+xml"
NAMESPACE: Final = "urn:oma:xml:im:history-list"
ENTRIES: Final = 1000  # in one document

_REFERENCE: Final = "history-reference"


class BadDeferredList(BadXml):
    """The body is not a list of deferred messages."""


@attrs.frozen
class Waiting:
    """One deferred message, without its content.

    Spec: OMA-TS-IM_XDM V1.0 §5.2 (history, pager)
    """

    reference: str
    size: int = 0  # octets
    expires_at: float = 0.0  # seconds since the epoch; 0 when not said
    subject: str = ""
    date: float = 0.0  # when it was stored; 0 when not said
    sent_at: float = 0.0  # 0 when not said
    sender: str = ""
    recipient: str = ""


def write_deferred_list(entries: Sequence[Waiting]) -> bytes:
    """Return the document."""
    root = new_root(_tag("history-list"), {None: NAMESPACE})
    for one in entries:
        entry = add(root, _tag("history"), "", [(_REFERENCE, one.reference)])
        add(entry, _tag("size"), str(one.size))
        _moment(entry, "expiry", one.expires_at)
        if one.subject:
            add(entry, _tag("subject"), one.subject)
        _moment(entry, "date", one.date)
        pager = add(entry, _tag("pager"))
        _moment(pager, "time-stamp", one.sent_at)
        for name, value in (("from", one.sender), ("to", one.recipient)):
            if value:
                add(pager, _tag(name), value)
    return write_xml(root)


def _moment(parent: Element, name: str, seconds: float) -> None:
    if seconds:
        add(parent, _tag(name), write_moment(seconds))


def parse_deferred_list(data: bytes) -> tuple[Waiting, ...]:
    """Return what a document lists; elements that are not known are overlooked.

    Raises:
        BadXml: not this XML, an entry without a reference, or too many (413).
    """
    root = parse_xml(data, _tag("history-list"), elements=16 * ENTRIES)
    found = tuple(_parse(one) for one in children(root, _tag("history")))
    if len(found) > ENTRIES:
        raise BadDeferredList(f"more than {ENTRIES} entries", 413)
    return found


def _parse(entry: Element) -> Waiting:
    reference = _said(entry, _REFERENCE)
    if not reference:
        raise BadDeferredList("a history element without its history-reference")
    pager = child(entry, _tag("pager"))
    size = _said(entry, "size")
    return Waiting(
        reference=reference,
        size=whole(size) if size else 0,
        expires_at=_read_moment(entry, "expiry"),
        subject=_said(entry, "subject"),
        date=_read_moment(entry, "date"),
        sent_at=0.0 if pager is None else _read_moment(pager, "time-stamp"),
        sender="" if pager is None else _address(pager, "from"),
        recipient="" if pager is None else _address(pager, "to"),
    )


def _said(element: Element, name: str) -> str:
    """Return what an attribute or a child says."""
    return (element.get(name) or child_text(element, _tag(name))).strip()


def _read_moment(element: Element, name: str) -> float:
    text = _said(element, name)
    return parse_moment(text) if text else 0.0


def _address(element: Element, name: str) -> str:
    """Return an address that is written as text, or as the uri of an entry inside."""
    text = _said(element, name)
    holder = child(element, _tag(name))
    if holder is None or text:
        return text
    for one in holder:
        if local_name(one) == "entry":
            return (one.get("uri") or text_of(one)).strip()
    return ""


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"
