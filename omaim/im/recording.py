"""What is recorded of conversations, for those who have switched history on.

A pager message is written to the outbox in the commit that makes it ours, so that nobody hears that
it was accepted before it is sure to be recorded; from there it goes into the history store, once.
A session is written as it goes on, each message before it is acknowledged.

Spec: OMA SIMPLE IM 1.0 (conversation history); RFC 5438, RFC 3994 (what is no message)
Differs: where there is no room, the oldest of what is recorded goes; the message itself is never
refused for it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

import attrs
from twisted.logger import Logger

from omaim.errors import PeerError, UsageError
from omaim.ids import Ids
from omaim.im.content import Content
from omaim.im.participating import LIST, Leg, Mail
from omaim.im.policy import ISettings, Settings
from omaim.node.events import MessageRecorded
from omaim.node.outbox import OutboxReader
from omaim.sip.uri import canonical_aor
from omaim.stores.interfaces import IHistoryStore, IOutbox
from omaim.stores.records import (
    LARGE,
    NEVER,
    PAGER,
    Conversation,
    HistoryEntry,
    Quota,
)

SESSION: Final = "session"
CONFERENCE: Final = "conference"
ENTRIES: Final = 100_000  # messages of one session that are recorded
_TRIMMED: Final = 100  # conversations that make room at a time
_LEFT: Final = 500  # conversations without an end that are read in one go
_LOOK: Final = 0.1  # part of the quota that may be recorded between two looks at it

_log = Logger()


class Recorder:
    """Records for the users of one domain.

    Args:
        entity: whose events of the outbox are meant.
        ours: whether an address is one of our users.
        now: seconds since the epoch.
        quota: of one user.
        validity: seconds for which something is kept.

    Attributes:
        on_change: called with an owner of whose history something came or went.
        reader: brings what the outbox has into the history store.
    """

    def __init__(
        self,
        entity: str,
        settings: ISettings,
        store: IHistoryStore,
        outbox: IOutbox,
        ids: Ids,
        ours: Callable[[str], bool],
        now: Callable[[], float],
        quota: Quota,
        validity: float,
    ) -> None:
        self._entity = entity
        self._settings = settings
        self._store = store
        self._ids = ids
        self._ours = ours
        self._now = now
        self._quota = quota
        self._validity = validity
        self.on_change: Callable[[str], object] = _nobody
        self.reader = OutboxReader(f"history {entity}", outbox, (MessageRecorded,), self._take)
        self._grown: dict[str, float] = {}  # part of the quota recorded since the last look
        self._trimming: set[str] = set()
        self._open: dict[tuple[str, str], Conversation] = {}

    @property
    def most(self) -> int:
        """Octets of the largest message that can be recorded."""
        return self._quota.size

    def wants(self, owner: str, kind: str) -> bool:
        """Tell whether somebody has conversations of a kind recorded."""
        if not self._ours(owner):
            return False
        settings: Settings = self._settings.of(owner)
        pager = kind in (PAGER, LARGE)
        return settings.history_pager if pager else settings.history_session

    # Pager and large messages

    def sent(self, mail: Mail, recipients: Sequence[str]) -> tuple[MessageRecorded, ...]:
        """Return what has to be committed when a message of the sender's is accepted."""
        leg = mail.leg
        owner = leg.sender if leg.side == LIST else leg.user
        peer = canonical_aor(mail.request.uri)
        return self._message(mail, mail.content, owner, leg.sender, peer, recipients)

    def received(
        self,
        mail: Mail,
        leg: Leg | None = None,
        content: Content | None = None,
        group: str = "",
    ) -> tuple[MessageRecorded, ...]:
        """Return what has to be committed when a message to a user of ours is accepted.

        Args:
            leg: the recipient's, if not that of ``mail``.
            content: of the recipient's copy, if not that of ``mail``.
            group: to which it was sent, "" if to the user alone.
        """
        leg = leg or mail.leg
        owner, sender, to = leg.user, leg.shown, group or leg.user
        return self._message(mail, content or mail.content, owner, sender, sender, (to,))

    def _message(
        self,
        mail: Mail,
        content: Content,
        owner: str,
        sender: str,
        peer: str,
        recipients: Sequence[str],
    ) -> tuple[MessageRecorded, ...]:
        if not self.wants(owner, PAGER) or not worth_recording(content):
            return ()
        message_id = mail.message_id
        recorded = MessageRecorded(
            at=mail.at,
            entity=self._entity,
            icid=mail.icid,
            owner=owner,
            reference=_reference(owner, sender, peer, message_id, content),
            kind=PAGER,
            message_id=message_id,
            sender=sender,
            peer=peer,
            recipients=tuple(recipients),
            subject=_subject(mail, content),
            sent_at=mail.sent_at,
            content_type=content.content_type,
            content=b64encode(content.body).decode(),
        )
        return (recorded,)

    async def keep(
        self,
        owner: str,
        peer: str,
        sender: str,
        recipients: Sequence[str],
        content: Content,
        message_id: str,
        sent_at: float,
        subject: str = "",
    ) -> bool:
        """Record a large message; it is durable when this returns, and there once.

        Returns: whether it is recorded.

        Raises:
            Unavailable: the store cannot answer: the message may not be acknowledged.
        """
        if not self.wants(owner, LARGE) or not worth_recording(content):
            return False
        recorded = MessageRecorded(
            at=self._now(),
            entity=self._entity,
            owner=owner,
            reference=_reference(owner, sender, peer, message_id, content),
            kind=LARGE,
            message_id=message_id,
            sender=sender,
            peer=peer,
            recipients=tuple(recipients),
            subject=subject,
            sent_at=sent_at,
            content_type=content.content_type,
            content="",
        )
        return await self._put(recorded, content.body)

    async def _put(self, recorded: MessageRecorded, body: bytes) -> bool:
        owner = recorded.owner
        if len(body) > self._quota.size:
            _log.warn("a message of {size} octets is not recorded", size=len(body))
            return False
        conversation = Conversation(
            owner,
            recorded.reference,
            recorded.kind,
            recorded.peer,
            recorded.sent_at,
            recorded.at,
            recorded.at + self._validity,
            recorded.subject,
            (recorded.sender, *recorded.recipients),
        )
        entry = HistoryEntry(
            owner,
            recorded.reference,
            recorded.sent_at,
            recorded.sender,
            recorded.recipients[0] if len(recorded.recipients) == 1 else recorded.peer,
            recorded.content_type,
            body,
            recorded.message_id,
        )
        await self._store.record(conversation, (entry,), once=True)
        await self._note(owner, len(body))
        self.on_change(owner)
        return True

    # Sessions

    async def begin(
        self,
        owner: str,
        peer: str,
        participants: Sequence[str] = (),
        subject: str = "",
        at: float | None = None,
        kind: str = SESSION,
    ) -> str:
        """Begin to record a session of a user; it is durable when this returns.

        Args:
            peer: the other side, or the room.
            participants: those who are there from the beginning.
            at: seconds since the epoch; now if not given.
            kind: :data:`SESSION` or :data:`CONFERENCE`.

        Returns: its reference; "" when the user does not want it recorded.

        Raises:
            Unavailable: the store cannot answer.
        """
        if not self.wants(owner, kind):
            return ""
        begun = self._now() if at is None else at
        conversation = await self._store.record(
            Conversation(
                owner,
                self._ids.token(32),
                kind,
                peer,
                begun,
                NEVER,
                begun + self._validity,
                subject,
                tuple(participants),
            )
        )
        self._open[owner, conversation.reference] = conversation
        await self._note(owner, 0)
        self.on_change(owner)
        return conversation.reference

    async def message(
        self,
        owner: str,
        reference: str,
        sender: str,
        recipient: str,
        content_type: str,
        body: bytes,
        message_id: str = "",
        at: float | None = None,
    ) -> bool:
        """Record a message of a session; it is durable when this returns.

        Reports and notices that somebody is writing are no messages. A session that its owner
        has deleted meanwhile, or that has no room left, is recorded no further.

        Args:
            reference: what :meth:`begin` returned; "" records nothing.
            message_id: the sender's; who may say the same thing twice has to know it himself.
            at: when it was sent, seconds since the epoch; now if not given.

        Returns: whether it is recorded.

        Raises:
            Unavailable: the store cannot answer: the message may not be acknowledged.
        """
        conversation = self._open.get((owner, reference))
        if conversation is None or not self.wants(owner, conversation.kind):
            return False
        if not worth_recording(Content(content_type, body)):
            return False
        full = conversation.size + len(body) > self._quota.size or conversation.count >= ENTRIES
        if full:
            return False
        moment = self._now() if at is None else at
        entry = HistoryEntry(
            owner, reference, moment, sender, recipient, content_type, body, message_id
        )
        written = await self._store.record(conversation, (entry,))
        still = self._open.get((owner, reference))
        if still is not None:
            now = attrs.evolve(still, count=written.count, size=written.size)
            self._open[owner, reference] = now
        await self._note(owner, len(body))
        return True

    async def joined(self, owner: str, reference: str, participants: Sequence[str]) -> None:
        """Note further participants of a session.

        Raises:
            Unavailable: the store cannot answer.
        """
        conversation = self._open.get((owner, reference))
        if conversation is not None:
            everybody = tuple(dict.fromkeys((*conversation.participants, *participants)))
            now = attrs.evolve(conversation, participants=everybody)
            self._open[owner, reference] = now
            await self._store.record(now)

    async def end(self, owner: str, reference: str, at: float | None = None) -> None:
        """End a session; what is not known is overlooked.

        Raises:
            Unavailable: the store cannot answer; the session has no end then.
        """
        conversation = self._open.pop((owner, reference), None)
        if conversation is None:
            return
        over = self._now() if at is None else at
        await self._store.record(
            attrs.evolve(conversation, ended_at=over, expires_at=over + self._validity)
        )
        self.on_change(owner)

    async def cut_off(self) -> int:
        """End what an earlier life of the server has left without an end, at its last message.

        Call it before anything is recorded. Returns: how many these were.

        Raises:
            Unavailable: the store cannot answer; some may have got their end.
        """
        after = count = 0
        while True:
            found = await self._store.unended(after, _LEFT)
            for conversation, last in found:
                after = conversation.position
                if conversation.kind in (SESSION, CONFERENCE) and self._ours(conversation.owner):
                    count += 1
                    await self._store.record(
                        attrs.evolve(
                            conversation,
                            ended_at=last,
                            expires_at=last + self._validity,
                            cut_off=True,
                        )
                    )
                    self.on_change(conversation.owner)
            if len(found) < _LEFT:
                return count

    def dropped(self, owner: str, references: Sequence[str]) -> None:
        """Their owner deletes these in this turn: nothing more comes to them."""
        for reference in references:
            self._open.pop((owner, reference), None)

    # From the outbox into the store

    async def _take(self, event: MessageRecorded) -> None:
        if event.entity == self._entity:
            await self._put(event, b64decode(event.content))

    async def sweep(self) -> None:
        """Record what is still to be recorded, and remove what is too old or too much.

        Raises:
            Unavailable: the store cannot answer.
        """
        await self.reader.caught_up()
        for owner in tuple(self._grown):
            await self._make_room(owner)
        await self._store.sweep(self._now())

    async def _note(self, owner: str, size: int) -> None:
        """Something was recorded: now and then see whether that is too much."""
        quota = self._quota
        grown = self._grown.get(owner, 0.0) + max(1.0 / quota.count, size / quota.size)
        self._grown[owner] = grown
        if grown >= _LOOK:
            await self._make_room(owner)

    async def _make_room(self, owner: str) -> None:
        """Remove the oldest, but no session that goes on, until the quota is kept."""
        if owner in self._trimming:  # two at a time would each remove what is too much
            return
        self._grown.pop(owner, None)
        self._trimming.add(owner)
        try:
            await self._trim(owner)
        finally:
            self._trimming.discard(owner)

    async def _trim(self, owner: str) -> None:
        usage = await self._store.usage(owner)
        count, size = usage.count - self._quota.count, usage.size - self._quota.size
        after = 0
        while count > 0 or size > 0:
            found = await self._store.search(owner, after=after, limit=_TRIMMED)
            if not found:
                return
            after = found[-1].position
            gone = []
            for one in found:
                if count <= 0 and size <= 0:
                    break
                if (owner, one.reference) not in self._open:
                    gone.append(one.reference)
                    count -= 1
                    size -= one.size
            if await self._store.delete(owner, gone):
                self.on_change(owner)


def too_large(content_type: str, size: int) -> tuple[str, bytes]:
    """Return what is recorded in place of a message of a session that is too large for it.

    Args:
        content_type: of the message.
        size: octets of it.

    Returns: the content type of the note, and the note.
    """
    kind = content_type.partition(";")[0].strip() or "unknown type"
    return "text/plain;charset=UTF-8", f"[{kind}, {size} octets: too large to be recorded]".encode()


def worth_recording(content: Content) -> bool:
    """Tell whether something is a message, and not a report or a sign of typing."""
    if not content.body:
        return False
    try:
        return not content.is_report and not content.is_composing
    except PeerError:
        return True  # whatever it is, the other side has got it


def _reference(owner: str, sender: str, peer: str, message_id: str, content: Content) -> str:
    """Return what names a message in a history, the same each time it comes.

    A device or a network may hand the same message over twice, and so may we after a crash.
    """
    if not message_id:
        raise UsageError("a message that has no name cannot be told from its repeat")
    digest = sha256()
    for text in (owner, sender, peer, message_id, content.content_type):
        digest.update(text.encode() + b"\0")
    digest.update(content.body)
    return digest.hexdigest()[:40]


def _subject(mail: Mail, content: Content) -> str:
    """Return what a message is about: by its header, else by its envelope."""
    cpim = content.cpim
    return mail.request.first("Subject") or ("" if cpim is None else cpim.subject())


def _nobody(owner: str) -> None:
    """Nobody follows."""
