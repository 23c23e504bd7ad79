"""application/vnd.oma.im.history-list+xml: what is recorded for a user, or which of it is meant.

Metadata only: what was said is fetched elsewhere. The list of deferred messages
(:mod:`omaim.bodies.deferred_list`) is the same document with messages in it only. References
and addresses are written as attributes; both attributes and child elements are read, because
implementations differ.

Spec: OMA-TS-IM_XDM V1.0 §5.1 (conv-history); namespace urn:oma:xml:im:history-list
Differs: the order of elements is not confirmed by a published schema; ``next`` of the root, which
says where a search goes on, is ours, and so is ``cut-off`` of time-end: nobody saw the end, and the
time is that of the last thing known.
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

MEDIA_TYPE: Final = "application/vnd.oma.im.history-list+xml"
NAMESPACE: Final = "urn:oma:xml:im:history-list"
ENTRIES: Final = 1000  # in one document
PEOPLE: Final = 1000  # in one list of an entry
ELEMENTS: Final = 20_000  # in one document

_REFERENCE: Final = "history-reference"
_URI: Final = "uri"
_NAME: Final = "display-name"
_CUT_OFF: Final = "cut-off"
_GROUP: Final = ("group-uri", "group-display-name")


class BadHistoryList(BadXml):
    """The body is not a list of what is recorded, or of what waits."""


@attrs.frozen
class Party:
    """Somebody in a list.

    Spec: OMA-TS-IM_XDM V1.0 §5.1 (entry)
    """

    uri: str
    name: str = ""


@attrs.frozen
class Parties:
    """The people of a message or a conversation, and the group they are, if they are one."""

    people: tuple[Party, ...] = ()
    group: str = ""  # URI
    group_name: str = ""


@attrs.frozen
class Pager:
    """What is known of one message.

    Spec: OMA-TS-IM_XDM V1.0 §5.1 (pager)
    """

    sent_at: float = 0.0  # seconds since the epoch; 0 when not said
    sender: str = ""
    recipient: str = ""
    recipients: Parties | None = None  # of a message to several
    authorised: str = ""  # auth-id: the identity that the network vouched for


@attrs.frozen
class Conference:
    """What is known of one session.

    Spec: OMA-TS-IM_XDM V1.0 §5.1 (conference)
    """

    started_at: float = 0.0  # seconds since the epoch; 0 when not said
    ended_at: float = 0.0  # 0 while it goes on
    name: str = ""  # of the recording
    parties: Parties | None = None
    cut_off: bool = False  # ``ended_at`` is the last thing known of it


@attrs.frozen
class Recorded:
    """One recorded message or session, without what was said.

    Spec: OMA-TS-IM_XDM V1.0 §5.1 (history)
    """

    reference: str
    size: int = 0  # octets
    expires_at: float = 0.0  # seconds since the epoch; 0 when not said
    subject: str = ""
    date: float = 0.0  # when it was recorded; 0 when not said
    pager: Pager | None = None
    conference: Conference | None = None


@attrs.frozen
class HistoryList:
    """A document."""

    entries: tuple[Recorded, ...] = ()
    next: int = 0  # where a search goes on that had more; 0 when it had not


def write_history_list(entries: Sequence[Recorded], further: int = 0) -> bytes:
    """Return the document.

    Args:
        entries: what was recorded.
        further: where a search goes on; 0 writes nothing.
    """
    root = new_root(_tag("history-list"), {None: NAMESPACE})
    if further:
        root.set("next", str(further))
    for one in entries:
        entry = add(root, _tag("history"), "", [(_REFERENCE, one.reference)])
        if one.pager is None and one.conference is None and not one.date:
            continue  # it only says which one is meant
        add(entry, _tag("size"), str(one.size))
        _write_moment(entry, "expiry", one.expires_at)
        _write(entry, "subject", one.subject)
        _write_moment(entry, "date", one.date)
        if one.pager is not None:
            _write_pager(entry, one.pager)
        if one.conference is not None:
            _write_conference(entry, one.conference)
    return write_xml(root)


def _write_pager(entry: Element, pager: Pager) -> None:
    holder = add(entry, _tag("pager"))
    _write_moment(holder, "time-stamp", pager.sent_at)
    _write(holder, "from", pager.sender)
    _write(holder, "to", pager.recipient)
    _write_parties(holder, "recipient-list", pager.recipients)
    _write(holder, "auth-id", pager.authorised)


def _write_conference(entry: Element, conference: Conference) -> None:
    holder = add(entry, _tag("conference"))
    _write_moment(holder, "time-start", conference.started_at)
    _write_moment(holder, "time-end", conference.ended_at, conference.cut_off)
    _write(holder, "recording-name", conference.name)
    _write_parties(holder, "conf-list", conference.parties)


def _write_parties(parent: Element, name: str, parties: Parties | None) -> None:
    if parties is None:
        return
    holder = add(parent, _tag(name))
    for one in parties.people:
        _write(add(holder, _tag("entry"), "", [(_URI, one.uri)]), _NAME, one.name)
    for kind, value in zip(_GROUP, (parties.group, parties.group_name), strict=True):
        _write(holder, kind, value)


def _write(parent: Element, name: str, value: str) -> None:
    if value:
        add(parent, _tag(name), value)


def _write_moment(parent: Element, name: str, seconds: float, cut_off: bool = False) -> None:
    if seconds:
        attributes = [(_CUT_OFF, "true")] if cut_off else []
        add(parent, _tag(name), write_moment(seconds), attributes)


def parse_history_list(data: bytes) -> HistoryList:
    """Return what a document lists; elements that are not known are overlooked.

    Raises:
        BadXml: not this XML, an entry without a reference, or too many (413).
    """
    root = parse_xml(data, _tag("history-list"), elements=ELEMENTS)
    found = tuple(_parse(one) for one in children(root, _tag("history")))
    if len(found) > ENTRIES:
        raise BadHistoryList(f"more than {ENTRIES} entries", 413)
    more = _said(root, "next")
    return HistoryList(found, whole(more) if more else 0)


def _parse(entry: Element) -> Recorded:
    reference = _said(entry, _REFERENCE)
    if not reference:
        raise BadHistoryList("a history element without its history-reference")
    size = _said(entry, "size")
    pager, conference = child(entry, _tag("pager")), child(entry, _tag("conference"))
    return Recorded(
        reference=reference,
        size=whole(size) if size else 0,
        expires_at=_read_moment(entry, "expiry"),
        subject=_said(entry, "subject"),
        date=_read_moment(entry, "date"),
        pager=None if pager is None else _read_pager(pager),
        conference=None if conference is None else _read_conference(conference),
    )


def _read_pager(holder: Element) -> Pager:
    return Pager(
        sent_at=_read_moment(holder, "time-stamp"),
        sender=_address(holder, "from"),
        recipient=_address(holder, "to"),
        recipients=_read_parties(holder, "recipient-list"),
        authorised=_address(holder, "auth-id"),
    )


def _read_conference(holder: Element) -> Conference:
    end = child(holder, _tag("time-end"))
    return Conference(
        started_at=_read_moment(holder, "time-start"),
        ended_at=_read_moment(holder, "time-end"),
        name=_said(holder, "recording-name"),
        parties=_read_parties(holder, "conf-list"),
        cut_off=end is not None and end.get(_CUT_OFF) == "true",
    )


def _read_parties(parent: Element, name: str) -> Parties | None:
    holder = child(parent, _tag(name))
    if holder is None:
        return None
    found = children(holder, _tag("entry"))
    if len(found) > PEOPLE:
        raise BadHistoryList(f"more than {PEOPLE} people in one list", 413)
    people = (Party(_said(one, _URI) or text_of(one), _said(one, _NAME)) for one in found)
    return Parties(tuple(one for one in people if one.uri), *(_said(holder, n) for n in _GROUP))


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
            return _said(one, _URI) or text_of(one)
    return ""


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"
