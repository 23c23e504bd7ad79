"""The one safe way into lxml, and the few helpers that every XML body uses.

Nothing that a peer writes reaches libxml2 before its size, encoding, depth and the absence of a
DOCTYPE are known: entities cannot be declared, so they cannot be expanded.

Tags are written as lxml does, ``{namespace}local``. Comments and processing instructions
are dropped on the way in, so whoever walks a tree meets elements only.

Spec: XML 1.0; RFC 7303 §9 (what an XML body may do to its reader)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from lxml import etree

from omaim.errors import PeerError

Element: TypeAlias = etree._Element

SIZE: Final = 262_144  # octets of one document
DEPTH: Final = 40  # elements inside one another
ELEMENTS: Final = 20_000

_ENCODINGS: Final = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "latin-1",
    "utf-16": "utf-16",
}
_DECLARATION: Final = re.compile(
    r"<\?xml\s+version\s*=\s*(?:'1\.[0-9]'|\"1\.[0-9]\")"
    r"(?:\s+encoding\s*=\s*['\"]([A-Za-z0-9._-]+)['\"])?"
    r"(?:\s+standalone\s*=\s*['\"](?:yes|no)['\"])?\s*\?>"
)
# One token of markup. Alternatives that fail do so for good: the caller then refuses the whole,
# so that no input is looked at twice.
_MARKUP: Final = re.compile(
    r"<(?:(!--)(?:(?!--).)*-->"
    r"|(!\[CDATA\[)(?:(?!\]\]>).)*\]\]>"
    r"|(\?)(?:(?!\?>).)*\?>"
    r"|(/)[^<>]*+>"
    r"|(?![!?/])[^<>\"']*+(?:\"[^\"<]*+\"[^<>\"']*+|'[^'<]*+'[^<>\"']*+)*>)",
    re.DOTALL,
)
_UNWRITABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


class BadXml(PeerError):
    """The body is not XML that we are willing to read."""

    status = 400


def parse_xml(
    data: bytes,
    root: str = "",
    *,
    size: int = SIZE,
    depth: int = DEPTH,
    elements: int = ELEMENTS,
) -> Element:
    """Return the root element of a document, without comments and processing instructions.

    Args:
        data: UTF-8, UTF-16 with a byte order mark, US-ASCII or ISO-8859-1.
        root: the tag that the root must have, ``{namespace}local``; any when empty.
        size: the most octets.
        depth: the most elements inside one another.
        elements: the most elements in all.

    Raises:
        BadXml: too large, too deep, a DOCTYPE, another encoding, not well-formed, or
            another root (answer 400).
    """
    if len(data) > size:
        raise BadXml(f"XML body is larger than {size} octets", 413)
    text = _decode(data)
    _measure(text, depth, elements)
    # A parser of its own for each document: libxml2 keeps names and errors in it.
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        no_network=True,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        found = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise BadXml(f"XML body is not well-formed: {error}") from None
    if root and found.tag != root:
        raise BadXml(f"XML body has the root {str(found.tag)[:80]}, not {root}")
    return found


def _decode(data: bytes) -> str:
    """Return the document as text without its declaration, or raise BadXml."""
    codec = "utf-8-sig"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        codec = "utf-16"
    else:
        head = _DECLARATION.match(data[:200].decode("latin-1"))
        if head and head[1]:
            named = _ENCODINGS.get(head[1].lower())
            if named is None or named == "utf-16":
                raise BadXml(f"XML body is encoded as {head[1]}")
            codec = named
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        raise BadXml(f"XML body is not {codec} throughout") from None
    declared = _DECLARATION.match(text)
    return text[declared.end() :] if declared else text


def _measure(text: str, most_depth: int, most_elements: int) -> None:
    """Raise BadXml unless the markup nests within the limits and declares nothing."""
    at = depth = elements = 0
    while (at := text.find("<", at)) >= 0:
        token = _MARKUP.match(text, at)
        if token is None:
            if text.startswith("<!", at):
                raise BadXml("XML body has a DOCTYPE or a broken comment")
            raise BadXml("XML body has broken markup")
        at = token.end()
        kind = token.lastindex
        if kind == 4:
            depth -= 1
        elif kind is None:
            elements += 1
            if text[at - 2] != "/":
                depth += 1
                if depth > most_depth:
                    raise BadXml(f"XML body nests deeper than {most_depth}")
            if elements > most_elements:
                raise BadXml(f"XML body has more than {most_elements} elements")


def write_xml(root: Element) -> bytes:
    """Return the document as UTF-8 with its declaration."""
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + etree.tostring(root, encoding="utf-8")


def new_root(tag: str, prefixes: Mapping[str | None, str]) -> Element:
    """Return an empty root element.

    Args:
        tag: ``{namespace}local``.
        prefixes: prefix to namespace; ``None`` is the default namespace.
    """
    return etree.Element(tag, nsmap=dict(prefixes))


def add(
    parent: Element, tag: str, text: str = "", attributes: Iterable[tuple[str, str]] = ()
) -> Element:
    """Append a child and return it; characters that XML cannot carry are left out.

    Args:
        parent: where to.
        tag: ``{namespace}local``.
        text: what the child holds.
        attributes: names and values, in the order to write.
    """
    child = etree.SubElement(parent, tag)
    if text:
        child.text = clean(text)
    for name, value in attributes:
        child.set(name, clean(value))
    return child


def clean(text: str) -> str:
    """Return the text without the characters that XML 1.0 cannot carry (§2.2)."""
    return _UNWRITABLE.sub("", text)


def child(parent: Element, tag: str) -> Element | None:
    """Return the first child with this tag."""
    return parent.find(tag)


def children(parent: Element, tag: str) -> list[Element]:
    """Return the children with this tag, in document order."""
    return parent.findall(tag)


def text_of(element: Element) -> str:
    """Return the text before the first child, without white space around it."""
    return (element.text or "").strip()


def child_text(parent: Element, tag: str, default: str = "") -> str:
    """Return the trimmed text of the first child with this tag, or the default."""
    found = parent.find(tag)
    return default if found is None else text_of(found)


def namespace_of(element: Element) -> str:
    """Return the namespace of an element, "" when it has none."""
    tag = str(element.tag)
    return tag[1:].partition("}")[0] if tag.startswith("{") else ""


def local_name(element: Element) -> str:
    """Return the tag of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def boolean(text: str) -> bool:
    """Return what an ``xs:boolean`` says.

    Raises:
        BadXml: neither true nor false.
    """
    value = _BOOLEANS.get(text.strip())
    if value is None:
        raise BadXml(f"{text[:40]!r} is not a boolean")
    return value


def whole(text: str) -> int:
    """Return a non-negative whole number of at most ten digits.

    Raises:
        BadXml: anything else.
    """
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
        raise BadXml(f"{text[:40]!r} is not a whole number")
    return int(digits)
