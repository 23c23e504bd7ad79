"""What the IM Server has recorded of our conversations: switch it on, look, fetch, delete.

Messages that fit into pager mode are fetched by it; whatever is larger, and what was said in
sessions, is fetched in a session.

Spec: OMA SIMPLE IM 1.0 (conversation history); RFC 3428 §8; RFC 6665 §4.4.3
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, TimeoutError

from omaim.bodies.history_list import (
    MEDIA_TYPE,
    HistoryList,
    Recorded,
    parse_history_list,
    write_history_list,
)
from omaim.bodies.mime import Part
from omaim.bodies.multipart import is_multipart, leaves
from omaim.client.composing import Content
from omaim.client.failures import NoAnswer, SessionNeeded, failure_class, failure_of
from omaim.client.fetching import Fetch
from omaim.client.outbox import Outbox
from omaim.client.reading import Received
from omaim.client.settings import Settings
from omaim.errors import PeerError
from omaim.roles.watcher import Refused, Watcher
from omaim.sip.message import Request

EVENT: Final = "sip-profile"
MOST: Final = 10_000  # messages of one conversation that are fetched
LARGEST: Final = 67_108_864  # octets of them
PATIENCE: Final = 35.0  # seconds that a recorded message may take to come


@attrs.frozen
class Recalled:
    """One recorded message, with what was said."""

    reference: str
    sender: str  # URI, "" when it does not say
    to: tuple[str, ...]
    text: str  # "" when it is no text
    content_type: str
    body: bytes = attrs.field(repr=False)
    subject: str
    sent_at: float  # seconds since the epoch; 0.0 when it does not say
    message_id: str


class History:
    """The recorded conversations of one client's user.

    Args:
        watcher: subscribes.
        outbox: sends.
        settings: publishes what we want.
        service: URI of the conversation history function.
        deletion: URI at which conversations are deleted.
        session: fetches in a session.
        clock: for not waiting for ever.
    """

    def __init__(
        self,
        watcher: Watcher,
        outbox: Outbox,
        settings: Settings,
        service: str,
        deletion: str,
        session: Fetch,
        clock: Any,
    ) -> None:
        self._watcher = watcher
        self._outbox = outbox
        self._settings = settings
        self._service = service
        self._deletion = deletion
        self._session = session
        self._clock = clock
        self._awaited: dict[str, list[Deferred[Recalled]]] = {}

    async def switch(self, *, pager: bool | None = None, session: bool | None = None) -> None:
        """Have conversations recorded from now on, or no more; ``None`` leaves it as it is.

        Args:
            pager: pager and large messages.
            session: sessions.

        Raises:
            Failure: a subclass by what the network answered.
        """
        await self._settings.want(history_pager=pager, history_session=session)

    async def list(self, limit: int = 50) -> tuple[Recorded, ...]:
        """Return what was recorded last, the oldest of it first.

        Raises:
            Failure: a subclass by what the network answered.
        """
        found = await self.search(limit=limit, latest=True)
        return tuple(reversed(found.entries))

    async def search(
        self,
        peer: str = "",
        since: float | None = None,
        until: float | None = None,
        *,
        after: int = 0,
        limit: int = 50,
        latest: bool = False,
    ) -> HistoryList:
        """Return conversations in the order in which they were recorded.

        Args:
            peer: URI of the other side, or of the room; any if empty.
            since: seconds since the epoch.
            until: seconds since the epoch.
            after: ``next`` of the result that this one continues.
            limit: how many at most; the server may give fewer.
            latest: the last ones first.

        Raises:
            Failure: a subclass by what the network answered.
        """
        event = [EVENT, f"limit={limit}"]
        if peer:
            event.append(f'peer="{peer}"')
        for name, value in (("since", since), ("until", until), ("after", after)):
            if value:
                event.append(f"{name}={int(value)}")
        if latest:
            event.append("latest")
        try:
            notify = await self._watcher.fetch(self._service, ";".join(event), accept=(MEDIA_TYPE,))
        except Refused as error:
            raise failure_class(error.status)(error.status) from None
        return parse_history_list(notify.body) if notify.body else HistoryList()

    async def fetch(self, wanted: Sequence[str | Recorded]) -> tuple[Recalled, ...]:
        """Return what was said, in the order of ``wanted``; all of it, where that was a session.

        What fits into pager mode comes as a message, the rest in a session.

        Args:
            wanted: references, or entries of a list.

        Raises:
            NotFound: one of them is not there.
            NoAnswer: a session broke, or a message did not come.
            Failure: another subclass by what the network answered.
        """
        found: list[Recalled] = []
        for one in wanted:
            if isinstance(one, Recorded) and one.conference is not None:
                found += await self.replay(one)
                continue
            try:
                found.append(await self._recall(one))
            except SessionNeeded:
                found += await self.replay(one)
        return tuple(found)

    async def replay(self, wanted: str | Recorded) -> tuple[Recalled, ...]:
        """Return all that was said in a recorded conversation, fetched in a session.

        Args:
            wanted: its reference, or its entry in a list; any kind of conversation.

        Raises:
            NotFound: it is not there.
            NoAnswer: the session broke.
            Failure: another subclass by what the network answered.
        """
        reference = wanted if isinstance(wanted, str) else wanted.reference
        came: list[Recalled] = []
        octets = 0

        def take(found: Received) -> None:
            nonlocal octets
            octets += len(found.part.content)
            if len(came) >= MOST or octets > LARGEST:
                raise PeerError("that is more than can be kept here", 413)
            came.append(_recalled(reference, found))

        wish = _wish([reference])
        part = Part([("Content-Type", wish.content_type)], wish.body)
        await self._session(self._service, part, take)
        return tuple(came)

    async def delete(self, references: Sequence[str] = ()) -> None:
        """Delete conversations; all of them without references.

        Raises:
            NotFound: none of them is there.
            Failure: a subclass by what the network answered.
        """
        response = await self._outbox.send(self._deletion, _wish(references))
        if response.status >= 300:
            raise failure_of(response)

    async def _recall(self, one: str | Recorded) -> Recalled:
        reference = one if isinstance(one, str) else one.reference
        awaited: Deferred[Recalled] = Deferred()
        same = self._awaited.setdefault(reference, [])
        same.append(awaited)
        try:
            response = await self._outbox.send(self._service, _wish([reference]))
            if response.status == 413:
                raise SessionNeeded(413, failure_of(response).reason)
            if response.status >= 300:
                raise failure_of(response)
            awaited.addTimeout(PATIENCE, self._clock)
            return await awaited
        except TimeoutError:
            raise NoAnswer(0, "the recorded message did not come") from None
        finally:
            same.remove(awaited)
            if not same:
                del self._awaited[reference]

    def take(self, request: Request, found: Received) -> None:
        """A MESSAGE of the function has come; what nobody waits for was for another device."""
        name = (request.first("Content-ID") or "").strip().strip("<>")
        reference = name.partition(".")[0]
        for awaited in self._awaited.get(reference, ()):
            if not awaited.called:
                awaited.callback(_recalled(reference, found))


def _wish(references: Sequence[str]) -> Content:
    if not references:
        return Content(b"", MEDIA_TYPE)
    return Content(write_history_list([Recorded(one) for one in references]), MEDIA_TYPE)


def _recalled(reference: str, found: Received) -> Recalled:
    envelope, part = found.envelope, _shown(found.part)
    return Recalled(
        reference=reference,
        sender=envelope.from_.uri if envelope is not None and envelope.from_ is not None else "",
        to=tuple(one.uri for one in envelope.to) if envelope is not None else (),
        text=part.text() if part.media_type.startswith("text/") else "",
        content_type=part.media_type,
        body=part.decoded(),
        subject=envelope.subject() if envelope is not None else "",
        sent_at=found.sent_at,
        message_id=envelope.message_id if envelope is not None else "",
    )


def _shown(part: Part) -> Part:
    """Return the part of a multipart that is the message."""
    if is_multipart(part.content_type):
        try:
            found = leaves(part.content_type, part.decoded())
        except PeerError:
            return part
        return next((one for one in found if one.media_type.startswith("text/")), part)
    return part
