"""The conversation history function: what is recorded for a user, for that user only.

Who wants to know what there is subscribes, with parameters of Event that narrow the search:
``peer``, ``since`` and ``until`` (seconds since the epoch), ``after``, ``limit`` and ``latest``. A
MESSAGE with a list fetches what fits into pager mode, one MESSAGE each, or deletes; the rest
comes by a session (:mod:`omaim.im.download`), for which :class:`Pages` has what is to be sent.

Spec: OMA SIMPLE IM 1.0 (conversation history); OMA-TS-IM_XDM V1.0 §5.1; RFC 3428 §8; RFC 8262
Differs: how clients search, and how they fetch and delete by MESSAGE, is not confirmed by a
published text. Without a list everything is deleted, and nothing fetched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.bodies.cpim import IMDN
from omaim.bodies.cpim import MEDIA_TYPE as CPIM
from omaim.bodies.history_list import (
    MEDIA_TYPE,
    Conference,
    Pager,
    Parties,
    Party,
    Recorded,
    parse_history_list,
    write_history_list,
)
from omaim.bodies.mime import Part
from omaim.errors import OmaimError, PeerError
from omaim.ids import Ids
from omaim.im.content import Content
from omaim.im.envelopes import enveloped
from omaim.im.handover import Handed
from omaim.im.journal import Journal
from omaim.im.participating import ANONYMOUS, SOFTWARE, Mail, Served
from omaim.im.recording import Recorder
from omaim.im.sending import Sending
from omaim.node.events import HistoryDeleted, HistoryRetrieved
from omaim.roles.listmail import Refused
from omaim.sip.message import Request
from omaim.sip.uri import canonical_aor
from omaim.sip.values import date_text
from omaim.stores.interfaces import IHistoryStore
from omaim.stores.records import LARGE, NEVER, PAGER, Conversation, HistoryEntry

LISTED: Final = 100  # entries of one document, if nothing else is asked for
MOST_LISTED: Final = 400  # whatever is asked for
DOCUMENT: Final = 200_000  # octets of a document; a longer list is cut
SHOWN: Final = 20  # people of one entry
FETCHED: Final = 100  # messages that one user may have under way to him
PAGE: Final = 1_048_576  # octets from which on a page of contents takes nothing more
LARGEST: Final = 1300  # octets of a request, RFC 3428 §8
DELETED: Final = 1000  # conversations that are looked at in one go when all are deleted

_log = Logger()


@attrs.frozen
class Search:
    """Which conversations are meant; times are seconds since the epoch."""

    peer: str = ""  # canonical address of the other side; "" for any
    since: float = 0.0
    until: float = NEVER
    after: int = 0  # position behind which to go on, or before it with ``latest``
    limit: int = LISTED
    latest: bool = False  # the last ones first

    @staticmethod
    def of(request: Request) -> Search:
        """Return what the Event of a SUBSCRIBE asks for.

        Raises:
            PeerError: 400, a parameter has no such value.
        """
        event = request.event
        if event is None:
            return Search()
        get = event.params.get
        peer = (get("peer") or "").strip('"')
        return Search(
            peer=canonical_aor(peer) if peer else "",
            since=_number(get("since")),
            until=_number(get("until"), NEVER),
            after=int(_number(get("after"))),
            limit=max(1, min(int(_number(get("limit"), LISTED)), MOST_LISTED)),
            latest=event.params.has("latest"),
        )


def _number(text: str | None, otherwise: float = 0.0) -> float:
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise PeerError(f"{text[:40]!r} is no whole number")
    return float(text)


@attrs.frozen
class Place:
    """Where in what is asked for a page ends."""

    index: int = 0  # of the reference
    position: int = 0  # of the last entry of it


@attrs.frozen
class Page:
    """Some of the recorded messages.

    Attributes:
        parts: message/cpim, each with a Content-ID "reference.position@domain".
        next: where the next page begins; ``None`` at the end.
    """

    parts: tuple[Part, ...]
    next: Place | None


class History:
    """Serves the owners of recorded conversations.

    Args:
        address: of the function.
        domain: whose users are served.
        core: Route value of the core.
        ours: whether an address is one of our users.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        address: str,
        domain: str,
        core: str,
        store: IHistoryStore,
        recorder: Recorder,
        journal: Journal,
        sending: Sending,
        ids: Ids,
        ours: Callable[[str], bool],
        now: Callable[[], float],
    ) -> None:
        self.address = address
        self._domain = domain
        self._core = core
        self._store = store
        self._recorder = recorder
        self._journal = journal
        self._sending = sending
        self._ids = ids
        self._ours = ours
        self._now = now
        self._under_way: dict[str, deque[Request]] = {}  # to each owner, one at a time

    # What there is

    async def search(self, owner: str, search: Search) -> tuple[Conversation, ...]:
        """Return conversations of a user, as far as they have not expired.

        Raises:
            Unavailable: the store cannot answer.
        """
        found, now = await self._search(owner, search), self._now()
        return tuple(one for one in found if one.expires_at > now)

    async def _search(self, owner: str, search: Search) -> tuple[Conversation, ...]:
        await self._recorder.reader.caught_up()
        return await self._store.search(
            owner,
            search.peer,
            search.since,
            search.until,
            search.after,
            search.limit,
            search.latest,
        )

    async def document(self, owner: str, search: Search) -> bytes:
        """Return the list of conversations of a user; its ``next`` is what ``after`` goes on with.

        Raises:
            Unavailable: the store cannot answer.
        """
        found, now = await self._search(owner, search), self._now()
        full = len(found) >= search.limit
        while True:
            more = found[-1].position if full and found else 0
            shown = [_shown(one) for one in found if one.expires_at > now]
            document = write_history_list(shown, more)
            if len(document) <= DOCUMENT or len(found) < 2:
                return document
            found, full = found[: len(found) // 2], True

    async def contents(
        self, owner: str, references: Sequence[str], after: Place | None = None, limit: int = 50
    ) -> Page:
        """Return what was said, in the order of ``references``; unknown ones are overlooked.

        Args:
            after: the ``next`` of the page before.
            limit: messages at most; a page may also end because it is large.

        Raises:
            Unavailable: the store cannot answer.

        Spec: OMA SIMPLE IM 1.0 (retrieval of conversation history)
        """
        await self._recorder.reader.caught_up()
        place = after or Place()
        index, position = place.index, place.position
        parts: list[Part] = []
        shown: list[str] = []
        size = 0
        while index < len(references):
            if len(parts) >= limit or size >= PAGE:
                break
            reference = references[index]
            conversation = await self._store.get(owner, reference)
            entries: tuple[HistoryEntry, ...] = ()
            if conversation is not None:
                # Few at a time when they are large: no more is read than is shown.
                usual = conversation.size // max(1, conversation.count) + 1
                step = max(1, min(limit - len(parts), PAGE // usual))
                entries = await self._store.entries(owner, reference, position, step)
            if conversation is None or not entries:
                index, position = index + 1, 0
                continue
            for entry in entries:
                parts.append(self._part(conversation, entry))
                position = entry.position
                size += len(entry.body)
                if size >= PAGE:
                    break
            shown.append(reference)
        await self._retrieved(owner, shown, len(parts))
        return Page(tuple(parts), Place(index, position) if index < len(references) else None)

    def _part(self, conversation: Conversation, entry: HistoryEntry) -> Part:
        message = enveloped(
            entry.content_type,
            entry.body,
            entry.sender,
            entry.recipient,
            entry.at,
            conversation.subject,
        )
        # It has been reported on long ago.
        message.drop("Disposition-Notification", IMDN)
        name = f"<{entry.reference}.{entry.position}@{self._domain}>"
        return Part([("Content-Type", CPIM), ("Content-ID", name)], message.to_bytes())

    async def delete(self, owner: str, references: Sequence[str]) -> int:
        """Delete conversations of a user; return how many there were.

        Raises:
            Unavailable: the store cannot answer.
        """
        await self._recorder.reader.caught_up()
        event = HistoryDeleted(
            at=self._now(),
            entity=self._journal.entity,
            owner=owner,
            references=tuple(references),
        )
        records = self._journal.records([event], owner)
        self._recorder.dropped(owner, references)
        gone = await self._store.delete(owner, references, records)
        if gone:
            self._journal.publish([event])
            self._recorder.on_change(owner)
        return gone

    async def session(self, user: str, references: Sequence[str]) -> Pages:
        """Return what a session of a user with the function is to be given.

        Raises:
            PeerError: the user has no history here (403), or names none of it (404, 400).
            Unavailable: the store cannot answer.
        """
        owner = self._owner(user)
        if not references:
            raise PeerError("a list has to say what is wanted", 400)
        await self._recorder.reader.caught_up()
        for reference in references:
            if await self._store.get(owner, reference) is not None:
                return Pages(self, owner, references)
        raise PeerError("none of these is recorded", 404)

    # By MESSAGE

    async def fetch(self, mail: Mail) -> Served:
        """Send the sender the messages that it names, each in a MESSAGE of its own.

        Raises:
            PeerError: it has no history here (403), names none of what is there (404, 400), the
                body is something else (415), or one of them needs a session (413).
        """
        owner = self._owner(mail.leg.sender)
        references = self._named(mail)
        if not references:
            raise PeerError("a list has to say what is wanted", 400)
        if len(references) > FETCHED:
            raise PeerError(f"more than {FETCHED} at a time need a session", 413)
        requests = []
        for reference in references:
            conversation = await self._store.get(owner, reference)
            if conversation is None:
                continue
            page = None
            if conversation.kind in (PAGER, LARGE) and conversation.size <= LARGEST:
                page = await self.contents(owner, [reference], limit=1)
            request = self._request(owner, page.parts[0]) if page and page.parts else None
            if request is None or len(request.to_bytes()) > LARGEST:
                raise PeerError(f"a session is needed for {reference}", 413)
            requests.append(request)
        if not requests:
            raise PeerError("none of these is recorded", 404)
        self._send(owner, requests)
        return Served(202)

    async def remove(self, mail: Mail) -> Served:
        """Delete the conversations that the sender names, or all.

        Raises:
            PeerError: it has no history here (403), names none of what is there (404), or the
                body is something else (415).
        """
        owner = self._owner(mail.leg.sender)
        references = self._named(mail)
        if references:
            if not await self.delete(owner, references):
                raise PeerError("none of these is recorded", 404)
            return Served(200)
        after = 0
        while True:
            found = await self.search(owner, Search(after=after, limit=DELETED))
            if not found:
                return Served(200)
            after = found[-1].position
            await self.delete(owner, [one.reference for one in found])

    def _owner(self, user: str) -> str:
        if user == ANONYMOUS or not self._ours(user):
            raise PeerError("nothing is kept here for others than our users", 403)
        return user

    def _named(self, mail: Mail) -> list[str]:
        content = mail.content
        if not content.body:
            return []
        if content.media_type != MEDIA_TYPE:
            raise Refused("this is no list of conversations", 415, (("Accept", MEDIA_TYPE),))
        entries = parse_history_list(content.body).entries
        return list(dict.fromkeys(one.reference for one in entries))

    def _request(self, owner: str, part: Part) -> Request:
        """Return the MESSAGE that shows one recorded message to its owner."""
        ids = self._ids
        headers = [
            ("Route", self._core),
            ("Max-Forwards", "70"),
            ("From", f"<{self.address}>;tag={ids.tag()}"),
            ("To", f"<{owner}>"),
            ("Call-ID", ids.call_id()),
            ("CSeq", "1 MESSAGE"),
            ("User-Agent", SOFTWARE),
            ("P-Asserted-Identity", f"<{self.address}>"),
            ("Date", date_text(self._now())),
            *part.headers,
        ]
        return Request.make("MESSAGE", owner, headers, part.content)

    def _send(self, owner: str, requests: list[Request]) -> None:
        queue = self._under_way.get(owner)
        if queue is not None:
            if len(queue) + len(requests) > FETCHED:
                raise PeerError("what was asked for before is still under way", 480)
            queue.extend(requests)
            return
        self._under_way[owner] = deque(requests)
        Deferred.fromCoroutine(self._run(owner)).addErrback(_unsent)

    async def _run(self, owner: str) -> None:
        """Send what a user asked for, one at a time (RFC 3428 §8)."""
        queue = self._under_way[owner]
        try:
            while queue:
                request = queue.popleft()
                content = Content(CPIM, request.body)
                response = await self._sending.post(request, content)
                if response is None or response.status >= 300:  # who was away asks again
                    status = "no answer" if response is None else response.status
                    _log.info("history was not taken: {status}", status=status)
                    return
        finally:
            del self._under_way[owner]

    async def _retrieved(self, owner: str, references: Sequence[str], entries: int) -> None:
        if entries:
            event = HistoryRetrieved(
                at=self._now(),
                entity=self._journal.entity,
                owner=owner,
                references=tuple(dict.fromkeys(references)),
                entries=entries,
            )
            await self._journal.append([event], owner)


class Pages:
    """What was said in some conversations of a user, for a session: no more is read than is sent.

    Args:
        references: in the order in which they are sent.
    """

    def __init__(self, history: History, owner: str, references: Sequence[str]) -> None:
        self._history = history
        self._owner = owner
        self._references = references
        self._parts: deque[Part] = deque()
        self._place: Place | None = Place()

    async def next(self) -> Handed | None:
        """Return the next message; ``None`` at the end.

        Raises:
            Unavailable: the store cannot answer.
        """
        while not self._parts:
            if self._place is None:
                return None
            page = await self._history.contents(self._owner, self._references, self._place)
            self._parts.extend(page.parts)
            self._place = page.next
        part = self._parts.popleft()
        return Handed(part.content_id, part)

    async def confirmed(self, reference: str) -> None:
        """It is kept all the same."""

    async def close(self) -> None:
        """Nothing was taken."""


def _shown(conversation: Conversation) -> Recorded:
    """Return what a list says of a conversation."""
    people = conversation.participants
    recorded = Recorded(
        conversation.reference,
        conversation.size,
        0.0 if conversation.expires_at == NEVER else conversation.expires_at,
        conversation.subject,
        conversation.started_at,
    )
    if conversation.kind in (PAGER, LARGE):
        sender, *others = people or ("",)
        several = Parties(tuple(map(Party, others[:SHOWN]))) if len(others) > 1 else None
        recipient = others[0] if len(others) == 1 else conversation.peer
        pager = Pager(conversation.started_at, sender, recipient, several)
        # It was recorded when it was accepted, which is when its conversation has ended.
        return attrs.evolve(recorded, date=conversation.ended_at, pager=pager)
    ended = conversation.ended_at
    conference = Conference(
        conversation.started_at,
        0.0 if ended == NEVER else ended,
        conversation.peer,
        Parties(tuple(map(Party, people[:SHOWN])), conversation.peer),
        conversation.cut_off,
    )
    return attrs.evolve(recorded, conference=conference)


def _unsent(failure: Failure) -> None:
    if failure.check(OmaimError):
        _log.error("history was not sent: {why}", why=failure.getErrorMessage())
    else:
        _log.failure("history was not sent", failure)
