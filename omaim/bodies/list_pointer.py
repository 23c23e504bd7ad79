"""Where a list, or an entry of one, stands: what ``external``, ``entry-ref`` and rules point with.

Spec: RFC 4826 §3.1 (anchor, ref), §3.4; RFC 4825 §6 (document and node selectors)
Differs: of node selectors those are understood that lead through lists by name, by an attribute
or by a place among elements of one name; a place among all elements is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit

import attrs

from omaim.bodies.resource_lists import NAMESPACE, Entry, EntryRef, External, ResourceList
from omaim.errors import PeerError

AUID: Final = "resource-lists"
LENGTH: Final = 2000  # characters of a pointer
STEPS: Final = 12  # of a node selector

_STEP: Final = re.compile(
    r"(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*|\*)(?:\[([0-9]{1,6})\])?"
    r"(?:\[@([A-Za-z_][\w.-]*)=(?:\"([^\"]*)\"|'([^']*)')\])?(?:/|$)"
)
_PREFIX: Final = re.compile(r"xmlns\(([A-Za-z_][\w.-]*)=([^()]*)\)")

Item: TypeAlias = Entry | EntryRef | External | ResourceList


class BadPointer(PeerError):
    """It points to no list that we can read."""


class NotHere(BadPointer):
    """It points to a list on another XCAP server, which cannot be fetched yet."""

    status = 502


@attrs.frozen
class Step:
    """One element of a node selector."""

    name: str  # of the element, "*" for any
    place: int = 0  # among its sisters of that name, from 1; 0 for any
    attribute: str = ""
    value: str = ""


@attrs.frozen
class Pointer:
    """A document in the store, and what of it is meant.

    Attributes:
        path: of the document: "resource-lists/users/sip:alice@north.example/index".
        steps: to the list or entry, from the root; none for all lists.
    """

    path: str
    steps: tuple[Step, ...] = ()

    @property
    def owner(self) -> str:
        """Whose document it is: an XUI, "" for one of all."""
        parts = self.path.split("/")
        return parts[2] if parts[1] == "users" else ""

    @classmethod
    def parse(cls, text: str, roots: Iterable[str]) -> Pointer:
        """Return where a URI points to.

        Args:
            text: absolute, or relative to an XCAP root.
            roots: those whose documents are here, without a slash at the end.

        Raises:
            BadPointer: it is not understood.
            NotHere: it is below none of these roots.
        """
        if len(text) > LENGTH:
            raise BadPointer("a pointer to a list is too long")
        rest = _below(text, roots)
        rest, _, query = rest.partition("?")
        document, found, selector = rest.partition("/~~/")
        parts = [unquote(part) for part in document.split("/")]
        least = {"users": 4, "global": 3}.get(parts[1] if len(parts) > 1 else "", 0)
        if parts[0] != AUID or not least or len(parts) < least:
            raise BadPointer(f"{text[:200]!r} is no document of {AUID}")
        if any(part in ("", ".", "..") or "/" in part for part in parts):
            raise BadPointer(f"{text[:200]!r} leads astray")
        return cls("/".join(parts), _steps(selector, unquote(query)) if found else ())

    def select(self, lists: Sequence[ResourceList]) -> tuple[Item, ...]:
        """Return what it points to in a document: all lists of it, or one element.

        Raises:
            BadPointer: there is no such element, or more than one.
        """
        if not self.steps:
            return tuple(lists)
        found: list[Item] = list(lists)
        for number, step in enumerate(self.steps):
            if number:
                found = [
                    item for one in found if isinstance(one, ResourceList) for item in one.items
                ]
            found = _matching(found, step)
            if len(found) != 1:
                raise BadPointer(f"{self.path} has {len(found)} elements that are pointed to")
        return tuple(found)


def _below(text: str, roots: Iterable[str]) -> str:
    """Return a URI relative to the root that it is below."""
    try:
        parsed = urlsplit(text)
    except ValueError:
        raise BadPointer(f"{text[:200]!r} is no URI") from None
    if text.startswith(f"{AUID}/"):
        return text
    server = f"{parsed.scheme}://{parsed.netloc}".lower()
    for root in roots:
        known = urlsplit(root)
        inside = text[len(server) + len(known.path) :]
        if (
            server == f"{known.scheme}://{known.netloc}".lower()
            and parsed.path.startswith(known.path)
            and inside.startswith("/")
        ):
            return inside[1:]
    raise NotHere(f"the list at {text[:200]} cannot be fetched yet: it is on another server")


def _steps(selector: str, query: str) -> tuple[Step, ...]:
    prefixes = dict(_PREFIX.findall(query))
    text = unquote(selector)
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None or len(steps) > STEPS:
            raise BadPointer(f"the selector {text[:200]!r} is not understood")
        prefix, name, place, attribute, double, single = found.groups()
        if prefix is not None and prefixes.get(prefix) != NAMESPACE:
            raise BadPointer(f"the selector {text[:200]!r} has a prefix for something else")
        if name == "*" and place:
            raise BadPointer(f"the selector {text[:200]!r} counts all elements")
        steps.append(Step(name, int(place or 0), attribute or "", double or single or ""))
        at = found.end()
    if not steps or steps[0] != Step(AUID) or text.endswith("/"):
        raise BadPointer(f"the selector {text[:200]!r} does not begin at {AUID}")
    return tuple(steps[1:])


def _matching(items: Sequence[Item], step: Step) -> list[Item]:
    """Return the elements that a step selects.

    Spec: RFC 4825 §6.3 (the place counts before the attribute)
    """
    found = [one for one in items if step.name in ("*", _described(one)[0])]
    if step.place:
        found = found[step.place - 1 : step.place]
    if step.attribute:
        said = (step.attribute, step.value)
        found = [one for one in found if _described(one)[1:] == said]
    return found


def _described(item: Item) -> tuple[str, str, str | None]:
    """Return the name of an element, and its one attribute with what that says."""
    if isinstance(item, Entry):
        return "entry", "uri", item.uri
    if isinstance(item, EntryRef):
        return "entry-ref", "ref", item.ref
    if isinstance(item, External):
        return "external", "anchor", item.anchor
    return "list", "name", item.name
