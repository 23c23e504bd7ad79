"""Lists of people that stand in documents of their own, and to which groups point.

A list that cannot be read names nobody: it lets nobody in, and keeps nobody out who has come by
another rule. What stands on another XCAP server cannot be read yet.

Spec: RFC 4826 §3.1 (external, entry-ref), §7 (what a reference costs); OMA-TS-XDM_Core V1.1
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs
from twisted.logger import Logger

from omaim.bodies.list_pointer import BadPointer, Item, Pointer
from omaim.bodies.resource_lists import Entry, EntryRef, External, ResourceList, parse_lists
from omaim.errors import PeerError
from omaim.im.policy import sip_form
from omaim.stores.interfaces import IDocumentStore
from omaim.stores.records import Document

DEPTH: Final = 10  # lists that lead from one to the next
DOCUMENTS: Final = 50  # that are read for one document of groups
POINTERS: Final = 200  # that are followed for it
PEOPLE: Final = 5000  # of one list, with all it leads to

_log = Logger()


@attrs.frozen
class Elsewhere:
    """What was found of the lists of one document of groups.

    Attributes:
        people: canonical addresses, each once, by what points to them.
        used: entity-tags of the documents that were looked at, "" of those that are not there.
    """

    people: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    used: Mapping[str, str] = attrs.field(factory=dict)

    def at(self, pointer: str) -> tuple[str, ...]:
        """Return who is in a list; nobody is in one that could not be read."""
        return self.people.get(pointer, ())


class Lists:
    """The lists in one document store.

    Args:
        documents: where they are.
        roots: XCAP roots whose documents these are, without a slash at the end.
    """

    def __init__(self, documents: IDocumentStore, roots: Sequence[str]) -> None:
        self._documents = documents
        self._roots = tuple(root.rstrip("/") for root in roots)

    async def find(self, pointers: Iterable[str], owner: str = "") -> Elsewhere:
        """Return who is in some lists.

        Args:
            pointers: URIs of lists and entries, absolute or relative to the XCAP root.
            owner: XUI of whose document points there: only lists of its own and those of all
                are read for it. "": the operator's, for which all are.

        Raises:
            Unavailable: the store cannot answer.
        """
        search = _Search(self._documents, self._roots, owner)
        people = {}
        for one in dict.fromkeys(pointers):
            people[one] = await search.people(one)
        return Elsewhere(people, search.used)

    async def unchanged(self, used: Mapping[str, str]) -> bool:
        """Tell whether documents are still as they were when they were read."""
        for path, etag in used.items():
            found: tuple[Document, ...] = await self._documents.under(path, "", 1)
            if next((one.etag for one in found if one.path == path), "") != etag:
                return False
        return True


class _Search:
    """Follows the pointers of one document of groups, each once, as far as limits allow."""

    def __init__(self, documents: IDocumentStore, roots: Sequence[str], owner: str) -> None:
        self.used: dict[str, str] = {}
        self._documents = documents
        self._roots = roots
        self._owner = owner
        self._read: dict[str, tuple[ResourceList, ...]] = {}
        self._followed = 0
        self._seen: set[Pointer] = set()
        self._people: dict[str, None] = {}

    async def people(self, text: str) -> tuple[str, ...]:
        """Return who is in a list, and in the lists that it leads to."""
        self._seen, self._people = set(), {}
        await self._follow(text, DEPTH)
        return tuple(self._people)

    async def _follow(self, text: str, depth: int) -> None:
        try:
            self._followed += 1
            if depth <= 0 or self._followed > POINTERS:
                raise BadPointer("lists lead too far from one to the next")
            pointer = Pointer.parse(text, self._roots)
            if pointer in self._seen:
                return
            self._seen.add(pointer)
            if pointer.owner not in ("", self._owner) and self._owner:
                raise BadPointer(f"{pointer.path} is not for {self._owner}")
            items = pointer.select(await self._lists(pointer.path))
            await self._take(items, depth)
        except PeerError as error:
            _log.warn("the list {pointer} counts no further: {why}", pointer=text, why=error.why)

    async def _take(self, items: Iterable[Item], depth: int) -> None:
        for one in items:
            if isinstance(one, Entry):
                self._add(one)
            elif isinstance(one, EntryRef):
                await self._follow(one.ref, depth - 1)
            elif isinstance(one, External):
                await self._follow(one.anchor, depth - 1)
            else:
                await self._take(one.items, depth)

    def _add(self, entry: Entry) -> None:
        try:
            uri = sip_form(entry.uri)
        except PeerError:
            return  # who has no address cannot be asked for
        if uri not in self._people and len(self._people) >= PEOPLE:
            raise BadPointer(f"more than {PEOPLE} people are in one list")
        self._people[uri] = None

    async def _lists(self, path: str) -> tuple[ResourceList, ...]:
        found = self._read.get(path)
        if found is None:
            if len(self.used) >= DOCUMENTS:
                raise BadPointer(f"more than {DOCUMENTS} documents have to be read")
            document: Document | None = await self._documents.get(path)
            self.used[path] = "" if document is None else document.etag
            if document is None:
                raise BadPointer(f"there is no document {path}")
            found = self._read[path] = parse_lists(document.body)
        return found
