"""Groups by their URI: who is in them, who may do what, what kind of room they make.

Whoever serves a group asks :class:`IGroups`; where the definitions come from is told by its
implementations: documents in the store, and what a conference factory makes up for one session.

Spec: OMA SIMPLE IM 1.0 (groups); OMA XDM (group documents); RFC 4579 §5.4
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

import attrs
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.logger import Logger
from zope.interface import Interface, implementer

from omaim.errors import PeerError
from omaim.im.policy import Refusal
from omaim.im.room_rules import (
    AD_HOC,
    CHAT,
    MEMBER,
    NONE,
    OWNER,
    TOO_MANY,
    Kind,
    Rights,
    RightsOf,
    Rules,
)
from omaim.stores.interfaces import IDocumentStore
from omaim.stores.records import Document

TREE: Final = "org.openmobilealliance.groups/"
GLOBAL: Final = TREE + "global/"
_PAGE: Final = 500

_log = Logger()
Act = Callable[[], object]


@attrs.frozen(eq=False)
class Definitions:
    """What one document says.

    Attributes:
        used: entity-tags of further documents that count for it, by path; "" of those that are
            not there.
    """

    groups: Sequence[Group] = ()
    used: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class Group:
    """One group."""

    uri: str  # canonical
    rights: RightsOf = attrs.field(repr=False)
    kind: Kind = CHAT
    name: str = ""
    subject: str = ""
    members: tuple[str, ...] = ()  # canonical, each once
    most: int = 0  # participants at a time, 0 without a limit
    sessions: bool = True  # messages may be exchanged in sessions (supported-services)
    pager: bool = True  # and in pager mode
    duration: float = 0.0  # seconds of a session, 0 without a limit
    periods: tuple[tuple[float, float], ...] = ()  # when it may have one; none: always

    def rules(self, ordinary: Rules) -> Rules:
        """Return the rules of the group's room; what it does not say is as ordinary."""
        least = 2 if self.kind == AD_HOC else 1
        most = min((one for one in (self.most, ordinary.most) if one), default=0)
        duration = min((one for one in (self.duration, ordinary.duration) if one), default=0.0)
        return attrs.evolve(
            ordinary,
            kind=self.kind,
            least=least,
            most=most,
            duration=duration,
            periods=self.periods,
        )


class IGroups(Interface):
    """Where groups come from."""

    def get(uri: str) -> Deferred[Group | None]:
        """Return the group of a canonical URI as it is now, ``None`` if there is none.

        Raises:
            Unavailable: it cannot be told now.
        """

    def watch(uri: str, act: Act) -> Act:
        """Call ``act`` when a group has changed or is gone; return the function that ends it."""


class Watchers:
    """Who wants to know of which groups."""

    def __init__(self) -> None:
        self._acts: dict[str, list[Act]] = {}

    def add(self, uri: str, act: Act) -> Act:
        self._acts.setdefault(uri, []).append(act)

        def end() -> None:
            acts = self._acts.get(uri, [])
            if act in acts:
                acts.remove(act)
            if not acts:
                self._acts.pop(uri, None)

        return end

    def uris(self) -> tuple[str, ...]:
        """Return the groups that somebody wants to know of."""
        return tuple(self._acts)

    def tell(self, uris: Iterable[str]) -> None:
        """Tell all who want to know; what one of them raises is logged."""
        for uri in uris:
            for act in list(self._acts.get(uri, ())):
                try:
                    act()
                except Exception:
                    _log.failure("a change of the group {uri} could not be followed", uri=uri)


@implementer(IGroups)
class AdHocGroups:
    """Groups of one session each, made by a conference factory from a list of people.

    Who made it may do everything, those on the list may do the rest, others nothing; whom
    they invite later comes in as a guest of the room.

    Args:
        most: people in one session; 0 for no limit.
        each: sessions that one user may have made at a time; 0 for no limit.

    Spec: RFC 5366 §5; OMA SIMPLE IM 1.0 (ad-hoc sessions)
    """

    def __init__(self, most: int, each: int = 0) -> None:
        self._most = most
        self._each = each
        self._groups: dict[str, Group] = {}
        self._made: Counter[str] = Counter()  # by who has made them
        self._watchers = Watchers()

    def make(self, uri: str, initiator: str, members: Sequence[str], subject: str = "") -> Group:
        """Return a new group.

        Args:
            uri: canonical, of nothing else.
            initiator: canonical address of who makes it.
            members: canonical addresses of the others; whoever stands twice counts once.

        Raises:
            Refusal: 486, they are more than may be in one session, or who makes it has made
                too many.
        """
        others = [one for one in dict.fromkeys(members) if one != initiator]
        if self._most and len(others) + 1 > self._most:
            raise Refusal(TOO_MANY, 486)
        if self._each and self._made[initiator] >= self._each:
            raise Refusal("102 Too many conferences of one user", 486)
        listed = frozenset(others)

        def rights(identities: tuple[str, ...], anonymous: bool) -> Rights:
            if initiator in identities:
                return OWNER
            return NONE if listed.isdisjoint(identities) else MEMBER

        group = Group(uri, rights, AD_HOC, "", subject, (initiator, *others), self._most)
        self._groups[uri] = group
        self._made[initiator] += 1
        return group

    def forget(self, uri: str) -> None:
        """The session has ended, and the group with it."""
        group = self._groups.pop(uri, None)
        if group is not None:
            initiator = group.members[0]
            self._made[initiator] -= 1
            if not self._made[initiator]:
                del self._made[initiator]
            self._watchers.tell([uri])

    def get(self, uri: str) -> Deferred[Group | None]:
        return succeed(self._groups.get(uri))

    def watch(self, uri: str, act: Act) -> Act:
        return self._watchers.add(uri, act)

    def __len__(self) -> int:
        return len(self._groups)


@implementer(IGroups)
class DocumentGroups:
    """Groups that stand in documents, whoever wrote them.

    A document under ``global/`` comes before one of a user that claims the same URI; of two of
    users the first by path counts.

    Args:
        read: returns the groups of a document, by its path and its body.
        unchanged: whether further documents are still as they were when a group was read.
        now: seconds.
        pause: seconds between looks at all documents for a group that nobody knows.
    """

    def __init__(
        self,
        documents: IDocumentStore,
        read: Callable[[str, bytes], Awaitable[Definitions]],
        unchanged: Callable[[Mapping[str, str]], Awaitable[bool]],
        now: Callable[[], float],
        pause: float = 1.0,
    ) -> None:
        self._documents = documents
        self._read = read
        self._unchanged = unchanged
        self._now = now
        self._pause = pause
        self._etags: dict[str, str] = {}  # by path, of what was read
        self._used: dict[str, Mapping[str, str]] = {}  # by path, what else was read for it
        self._turn = 0
        self._turns: dict[str, int] = {}  # by path, which reading of it is in force
        self._in: dict[str, dict[str, Group]] = {}  # by path, then by URI
        self._paths: dict[str, set[str]] = {}  # by URI, where it stands
        self._looked_at = float("-inf")
        self._lock = DeferredLock()
        self._watchers = Watchers()

    def get(self, uri: str) -> Deferred[Group | None]:
        return Deferred.fromCoroutine(self._get(uri))

    async def _get(self, uri: str) -> Group | None:
        path = self._path(uri)
        await self._look(GLOBAL + uri if path is None else path)
        if self._path(uri) is None:
            await self.recall(self._pause)
        path = self._path(uri)
        return None if path is None else self._in[path][uri]

    def watch(self, uri: str, act: Act) -> Act:
        return self._watchers.add(uri, act)

    def known(self) -> list[Group]:
        """Return all groups as they were when last looked at, by URI."""
        found = []
        for uri in sorted(self._paths):
            path = self._path(uri)
            if path is not None:
                found.append(self._in[path][uri])
        return found

    def knows(self, uri: str) -> bool:
        """Tell whether a canonical URI was that of a group when last looked; never waits."""
        return uri in self._paths

    async def recall(self, age: float) -> None:
        """Look at all documents, unless that was done in the last ``age`` seconds.

        Raises:
            Unavailable: the store cannot answer.
        """
        if self._now() - self._looked_at >= age:
            await self.refresh()

    async def refresh(self) -> None:
        """Look at all documents; whoever watches a group that has changed is told.

        Raises:
            Unavailable: the store cannot answer.
        """
        await self._lock.run(lambda: Deferred.fromCoroutine(self._refresh()))

    async def follow(self) -> None:
        """Look at the documents of the groups that are watched.

        Raises:
            Unavailable: the store cannot answer.
        """
        for uri in self._watchers.uris():
            path = self._path(uri)
            if path is not None:
                await self._look(path)

    async def _refresh(self) -> None:
        self._looked_at = self._now()
        gone, after = set(self._etags), ""
        while True:
            page = await self._documents.under(TREE, after, _PAGE)
            for one in page:
                after = one.path
                gone.discard(one.path)
                if self._etags.get(one.path) != one.etag or one.path in self._used:
                    await self._look(one.path)
            if len(page) < _PAGE:
                break
        for path in gone:
            self._take(path, None, Definitions())

    async def _look(self, path: str) -> None:
        """Read a document again if it, or a list in it that stands elsewhere, has changed."""
        self._turn += 1
        turn = self._turn
        document: Document | None = await self._documents.get(path)
        same = (None if document is None else document.etag) == self._etags.get(path)
        if same and (path not in self._used or await self._unchanged(self._used[path])):
            return
        defined = Definitions()
        if document is not None:
            try:
                defined = await self._read(path, document.body)
            except PeerError as error:
                _log.warn("the groups in {path} cannot be read: {why}", path=path, why=error.why)
        if self._turns.get(path, 0) > turn:
            return  # a later reading was quicker
        self._turns[path] = turn
        self._take(path, document, defined)

    def _take(self, path: str, document: Document | None, defined: Definitions) -> None:
        """Know what a document says from now on."""
        before = self._in.pop(path, {})
        for uri in before:
            self._paths[uri].discard(path)
            if not self._paths[uri]:
                del self._paths[uri]
        self._etags.pop(path, None)
        self._used.pop(path, None)
        if document is None:
            self._turns.pop(path, None)
        else:
            self._etags[path] = document.etag
            if defined.used:
                self._used[path] = defined.used
        after = {one.uri: one for one in defined.groups}
        if after:
            self._in[path] = after
        for uri in after:
            self._paths.setdefault(uri, set()).add(path)
        self._watchers.tell({**before, **after})

    def _path(self, uri: str) -> str | None:
        """Return where the definition of a group stands that counts."""
        paths = self._paths.get(uri, ())
        return min(paths, key=lambda path: (not path.startswith(GLOBAL), path), default=None)


@implementer(IGroups)
class AllGroups:
    """Groups of several sources: the first that knows one counts."""

    def __init__(self, *sources: IGroups) -> None:
        self._sources = sources

    def get(self, uri: str) -> Deferred[Group | None]:
        return Deferred.fromCoroutine(self._get(uri))

    async def _get(self, uri: str) -> Group | None:
        for source in self._sources:
            found: Group | None = await source.get(uri)
            if found is not None:
                return found
        return None

    def watch(self, uri: str, act: Act) -> Act:
        ends = [source.watch(uri, act) for source in self._sources]

        def end() -> None:
            for one in ends:
                one()

        return end
