"""application/resource-lists+xml: lists of people, and who of them gets a copy as what.

Spec: RFC 4826 §3 (the document); RFC 5363 (recipient lists); RFC 5364 (copy control)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from omaim.bodies.xml import (
    BadXml,
    Element,
    add,
    boolean,
    child,
    local_name,
    namespace_of,
    new_root,
    parse_xml,
    text_of,
    whole,
    write_xml,
)

MEDIA_TYPE: Final = "application/resource-lists+xml"
NAMESPACE: Final = "urn:ietf:params:xml:ns:resource-lists"
COPY_CONTROL: Final = "urn:ietf:params:xml:ns:copycontrol"

RECIPIENT_LIST: Final = "recipient-list"  # a Content-Disposition, RFC 5363 §4.1
RECIPIENT_LIST_HISTORY: Final = "recipient-list-history"  # RFC 5364 §7

TO: Final = "to"
CC: Final = "cc"
BCC: Final = "bcc"

ANONYMOUS: Final = "sip:anonymous@anonymous.invalid"  # RFC 5364 §4

ENTRIES: Final = 1000  # in one document
NESTING: Final = 10  # lists inside one another

_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"
_RANK: Final = {TO: 0, CC: 1, BCC: 2}


class BadList(BadXml):
    """A resource list that breaks RFC 4826 or RFC 5364."""


@attrs.frozen
class Entry:
    """One person, or whatever has a URI.

    Spec: RFC 4826 §3.1; RFC 5364 §4
    """

    uri: str
    name: str = ""  # the display-name
    lang: str = ""  # of the name
    copy: str = ""  # TO, CC or BCC; "" when not said, which means BCC
    anonymize: bool = False
    count: int = 1


@attrs.frozen
class EntryRef:
    """An entry that stands in another document of the same XCAP root."""

    ref: str  # relative to the XCAP root, percent-encoded
    name: str = ""


@attrs.frozen
class External:
    """A whole list that stands elsewhere."""

    anchor: str  # absolute HTTP URI
    name: str = ""


@attrs.frozen
class ResourceList:
    """One list, with lists inside it.

    Spec: RFC 4826 §3.1
    """

    items: tuple[Entry | EntryRef | External | ResourceList, ...] = ()
    name: str | None = None  # the handle; unique among its sisters
    display_name: str = ""


def parse_lists(data: bytes, doubles: bool = False) -> tuple[ResourceList, ...]:
    """Return the lists of a document; elements of other namespaces are overlooked.

    Args:
        doubles: an entry may stand twice in one list, as in the recipient list of a request,
            where :func:`recipients` takes out doubles (RFC 5363 §4.1).

    Raises:
        BadXml: not this XML, or it breaks the rules of RFC 4826 or RFC 5364.

    Spec: RFC 4826 §3.1, §3.2
    """
    root = parse_xml(data, _tag("resource-lists"), elements=4 * ENTRIES)
    lists: list[ResourceList] = []
    for one in root:
        if namespace_of(one) != NAMESPACE:
            continue
        if local_name(one) != "list":
            raise BadList(f"resource-lists holds {local_name(one)[:40]}")
        lists.append(_parse_list(one, NESTING, doubles))
    _unique("list name", [one.name for one in lists if one.name is not None])
    if sum(1 for one in lists for _ in entries(one)) > ENTRIES:
        raise BadList(f"more than {ENTRIES} entries", 413)
    return tuple(lists)


def _parse_list(element: Element, depth: int, doubles: bool) -> ResourceList:
    if depth <= 0:
        raise BadList(f"lists nest deeper than {NESTING}")
    items: list[Entry | EntryRef | External | ResourceList] = []
    for one in element:
        if namespace_of(one) != NAMESPACE:
            continue
        kind = local_name(one)
        if kind == "entry":
            items.append(_parse_entry(one))
        elif kind == "list":
            items.append(_parse_list(one, depth - 1, doubles))
        elif kind == "entry-ref":
            items.append(EntryRef(_attribute(one, "ref"), _display_name(one)))
        elif kind == "external":
            items.append(External(_attribute(one, "anchor"), _display_name(one)))
        elif kind != "display-name":
            raise BadList(f"list holds {kind[:40]}")
    if not doubles:
        _unique("entry", [one.uri for one in items if isinstance(one, Entry)])
    _unique("entry-ref", [one.ref for one in items if isinstance(one, EntryRef)])
    _unique("external", [one.anchor for one in items if isinstance(one, External)])
    names = [one.name for one in items if isinstance(one, ResourceList)]
    _unique("list name", [name for name in names if name is not None])
    return ResourceList(tuple(items), element.get("name"), _display_name(element))


def _parse_entry(element: Element) -> Entry:
    copy = element.get(_copy("copyControl"), "")
    if copy and copy not in _RANK:
        raise BadList(f"copyControl is {copy[:40]!r}")
    name = child(element, _tag("display-name"))
    return Entry(
        uri=_attribute(element, "uri"),
        name="" if name is None else text_of(name),
        lang="" if name is None else name.get(_LANG, ""),
        copy=copy,
        anonymize=boolean(element.get(_copy("anonymize"), "false")),
        count=whole(element.get(_copy("count"), "1")),
    )


def _attribute(element: Element, name: str) -> str:
    value = element.get(name, "").strip()
    if not value:
        raise BadList(f"{local_name(element)} without {name}")
    return value


def _display_name(element: Element) -> str:
    name = child(element, _tag("display-name"))
    return "" if name is None else text_of(name)


def _unique(what: str, values: list[str]) -> None:
    """Raise BadList when a value stands twice; RFC 4826 compares them as strings.

    An anonymous entry may stand once for each copy level (RFC 5364 §6).
    """
    known = [value for value in values if value != ANONYMOUS]
    if len(set(known)) != len(known):
        raise BadList(f"{what} stands twice in one list")


def write_lists(lists: Sequence[ResourceList]) -> bytes:
    """Return the document.

    Spec: RFC 4826 §3.2; RFC 5364 §5
    """
    controlled = any(
        one.copy or one.anonymize or one.count != 1 for every in lists for one in entries(every)
    )
    prefixes: dict[str | None, str] = {None: NAMESPACE}
    if controlled:
        prefixes["cp"] = COPY_CONTROL
    root = new_root(_tag("resource-lists"), prefixes)
    for one in lists:
        _write_list(root, one)
    return write_xml(root)


def _write_list(parent: Element, what: ResourceList) -> None:
    element = add(parent, _tag("list"))
    if what.name is not None:
        element.set("name", what.name)
    _write_name(element, what.display_name)
    for one in what.items:
        if isinstance(one, ResourceList):
            _write_list(element, one)
        elif isinstance(one, EntryRef):
            _write_name(add(element, _tag("entry-ref"), "", [("ref", one.ref)]), one.name)
        elif isinstance(one, External):
            _write_name(add(element, _tag("external"), "", [("anchor", one.anchor)]), one.name)
        else:
            _write_entry(element, one)


def _write_entry(parent: Element, one: Entry) -> None:
    attributes = [("uri", one.uri)]
    if one.copy:
        attributes.append((_copy("copyControl"), one.copy))
    if one.anonymize:
        attributes.append((_copy("anonymize"), "true"))
    if one.count != 1 or one.uri == ANONYMOUS:
        attributes.append((_copy("count"), str(one.count)))
    _write_name(add(parent, _tag("entry"), "", attributes), one.name, one.lang)


def _write_name(parent: Element, name: str, lang: str = "") -> None:
    if name:
        add(parent, _tag("display-name"), name, [(_LANG, lang)] if lang else [])


def entries(what: ResourceList) -> Iterator[Entry]:
    """Yield the entries of a list and of the lists inside it, in document order."""
    for one in what.items:
        if isinstance(one, Entry):
            yield one
        elif isinstance(one, ResourceList):
            yield from entries(one)


def references(what: ResourceList) -> Iterator[EntryRef | External]:
    """Yield what stands elsewhere: whoever uses the list resolves it, or refuses.

    Spec: RFC 4826 §3.1
    """
    for one in what.items:
        if isinstance(one, EntryRef | External):
            yield one
        elif isinstance(one, ResourceList):
            yield from references(one)


def recipients(
    lists: Sequence[ResourceList], key: Callable[[str], str], equal: Callable[[str, str], bool]
) -> tuple[Entry, ...]:
    """Return whom a recipient list names, each once, in document order.

    Of several entries for one person the highest copy level counts; one that asks to be
    anonymous makes all of them so.

    Args:
        lists: of one document, or of several.
        key: gives the same text for URIs that may be equal, so that few are compared.
        equal: whether two URIs are equal by the rules of their scheme.

    Raises:
        PeerError: ``key`` or ``equal`` refuses a URI.

    Spec: RFC 5363 §4.1; RFC 5364 §4
    """
    found: list[Entry] = []
    places: dict[str, list[int]] = {}
    for what in lists:
        for one in entries(what):
            entry = attrs.evolve(one, copy=one.copy or BCC)
            bucket = places.setdefault(key(one.uri), [])
            at = next((at for at in bucket if equal(found[at].uri, entry.uri)), -1)
            if at < 0:
                bucket.append(len(found))
                found.append(entry)
                continue
            first = found[at]
            copy = min(first.copy, entry.copy, key=_RANK.__getitem__)
            hidden = first.anonymize or entry.anonymize
            found[at] = attrs.evolve(first, copy=copy, anonymize=hidden)
    return tuple(found)


def history(people: Sequence[Entry]) -> ResourceList:
    """Return the list that recipients may see, empty if there is nobody to show.

    Nobody of copy level "bcc" is in it; who is to be anonymous is counted only, once for
    each level. What a SIP URI asks for beyond the address, as the dialog to replace, is left
    out: it is for the one server that explodes the list.

    Args:
        people: as :func:`recipients` gives them.

    Spec: RFC 5364 §4, §6
    """
    shown: list[Entry] = []
    for level in (TO, CC):
        hidden = 0
        for one in people:
            if one.copy != level:
                continue
            if one.anonymize:
                hidden += 1
            else:
                shown.append(Entry(_address(one.uri), one.name, one.lang, level))
        if hidden:
            shown.append(Entry(ANONYMOUS, copy=level, count=hidden))
    return ResourceList(tuple(shown))


def _address(uri: str) -> str:
    """Return a URI without the headers and the method that a SIP URI may have."""
    if uri[:4].lower() != "sip:" and uri[:5].lower() != "sips:":
        return uri
    user, at, host = uri.partition("?")[0].rpartition("@")
    head, *params = host.split(";")
    kept = [one for one in params if not one.lower().startswith("method=")]
    return user + at + ";".join([head, *kept])


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _copy(name: str) -> str:
    return f"{{{COPY_CONTROL}}}{name}"
