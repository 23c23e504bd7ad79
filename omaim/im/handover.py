"""Deferred messages for one session of their recipient.

Each is claimed while it is sent, so that it is not pushed at the same time, and ends when the
client has reported success. What it has not reported on waits again when the session is over, and
after a crash.

Spec: OMA SIMPLE IM 1.0 (retrieval of deferred messages)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from omaim.bodies.cpim import IMDN, MEDIA_TYPE
from omaim.bodies.mime import Part
from omaim.im.delivery import LONGEST, Delivery
from omaim.im.envelopes import enveloped
from omaim.im.participating import ANONYMOUS, address_of
from omaim.stores.interfaces import IDeferredStore
from omaim.stores.records import DeferredMessage

CLAIM: Final = LONGEST  # seconds for which a session may keep a message to itself


@attrs.frozen
class Handed:
    """One message to be sent in the session.

    Attributes:
        part: message/cpim, with the original DateTime and a Message-ID; its Content-ID begins
            with the reference.
    """

    reference: str
    part: Part


class Handover:
    """What a session of a user is to be given.

    Args:
        references: oldest first.
    """

    def __init__(
        self,
        user: str,
        references: Sequence[str],
        store: IDeferredStore,
        delivery: Delivery,
        now: Callable[[], float],
    ) -> None:
        self._user = user
        self._left = deque(references)
        self._store = store
        self._delivery = delivery
        self._now = now
        self._name = delivery.attempt_name()
        self._out: dict[str, DeferredMessage] = {}

    def __len__(self) -> int:
        """Return how many are still to come, as far as is known."""
        return len(self._left)

    async def next(self) -> Handed | None:
        """Return the next message; ``None`` when there is none.

        What is gone meanwhile, or is being delivered in another way, is passed over.

        Raises:
            Unavailable: the store cannot answer.
        """
        box = self._delivery.box(self._user)
        while self._left:
            reference, now = self._left.popleft(), self._now()
            message = await self._store.get(box, reference)
            if message is None or message.expires_at <= now:
                continue
            await self._delivery.reclaim(message)
            until = now + CLAIM
            if await self._store.attempt(box, [reference], self._name, now, until):
                self._out[reference] = message
                return Handed(reference, _part(message))
        return None

    async def confirmed(self, reference: str) -> None:
        """The client has got a message: it is over.

        Raises:
            Unavailable: the store cannot answer; the message may come a second time.
        """
        message = self._out.get(reference)
        if message is not None:
            await self._delivery.handed_over(message)
            del self._out[reference]

    async def close(self) -> None:
        """The session is over: what was not confirmed waits again.

        Raises:
            Unavailable: the store cannot answer; it waits again when the claim is over.
        """
        self._left.clear()
        out, self._out = self._out, {}
        if out:
            box = self._delivery.box(self._user)
            await self._store.release(box, list(out), self._name)
        self._delivery.kick(self._user)


def _part(message: DeferredMessage) -> Part:
    sender = next((value for name, value in message.headers if name == "From"), "")
    hidden = any(
        name == "Privacy" and not {"id", "user", "header"}.isdisjoint(_levels(value))
        for name, value in message.headers
    )
    author = ANONYMOUS if hidden or not sender else message.sender
    recipient = address_of(message.recipient)
    found = enveloped(
        message.content_type,
        message.body,
        author,
        recipient,
        message.sent_at or message.stored_at,
        message.subject,
    )
    if not found.message_id:
        # By which its recipient knows it when a crash has it come a second time.
        found.add("Message-ID", message.reference, IMDN)
    name = f"<{message.reference}@{recipient.partition('@')[2]}>"
    return Part([("Content-Type", MEDIA_TYPE), ("Content-ID", name)], found.to_bytes())


def _levels(value: str) -> list[str]:
    return [level.strip().lower() for level in value.split(";")]
