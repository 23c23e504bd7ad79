"""Deferred messages: kept before 202 is sent, delivered in order when the user is there.

Spec: RFC 3428 §7; OMA SIMPLE IM 1.0 (deferred messaging)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from omaim.bodies.cpim import MEDIA_TYPE as CPIM
from omaim.bodies.cpim import Cpim
from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.im.participating import Leg
from omaim.net.endpoint import Endpoint
from omaim.sip.message import Request, Response
from omaim.stores.interfaces import IDeferredStore, QuotaExceeded
from omaim.stores.records import DELIVERED, DeferredMessage, Quota

KEPT: Final = ("From", "Accept-Contact", "P-Asserted-Identity", "Privacy", "P-Charging-Vector")
ATTEMPT: Final = 40.0  # seconds a delivery may take; more than Timer F
REMEMBER: Final = 86400.0  # seconds for which a repeat of a delivered message is recognised

_log = Logger()


class Deferring:
    """Keeps messages and delivers them.

    Args:
        core: Route value of the core.
        now: seconds since the epoch.
        validity: seconds a message is kept when it does not say.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        store: IDeferredStore,
        core: str,
        now: Callable[[], float],
        ids: Ids,
        validity: float,
        quota: Quota,
    ) -> None:
        self._endpoint = endpoint
        self._store = store
        self._core = core
        self._now = now
        self._ids = ids
        self._validity = validity
        self._quota = quota
        self._busy: set[str] = set()

    async def keep(self, request: Request, leg: Leg) -> None:
        """Store a message; it is durable when this returns.

        Raises:
            PeerError: no room (480).
            Unavailable: the store cannot answer.
        """
        now = self._now()
        expires = request.expires
        kind = request.content_type
        message = DeferredMessage(
            recipient=leg.user,
            reference=self._ids.token(),
            sender=leg.sender,
            message_id=_message_id(request),
            content_type=str(kind) if kind else "",
            body=request.body,
            stored_at=now,
            expires_at=now + (self._validity if expires is None else min(expires, self._validity)),
            headers=tuple((name, value) for name in KEPT for value in request.all(name)),
        )
        try:
            await self._store.add(message, self._quota)
        except QuotaExceeded:
            raise PeerError("no room for more messages to this user", 480) from None

    async def push(self, user: str) -> int:
        """Deliver what waits for a user, one after the other; return how many arrived."""
        if user in self._busy:
            return 0
        self._busy.add(user)
        try:
            return await self._push(user)
        finally:
            self._busy.discard(user)

    async def _push(self, user: str) -> int:
        delivered = 0
        attempt = self._ids.token()
        while True:
            now = self._now()
            waiting = await self._store.waiting(user, now, limit=1)
            if not waiting:
                return delivered
            (message,) = waiting
            references = [message.reference]
            mine = await self._store.attempt(user, references, attempt, now, now + ATTEMPT)
            if not mine:
                return delivered
            response = await self._send(message)
            if response.status >= 300:
                if not response.local:
                    await self._store.release(user, references, attempt)
                return delivered
            await self._store.finish(user, references, DELIVERED, self._now() + REMEMBER)
            delivered += 1

    def _send(self, message: DeferredMessage) -> Deferred[Response]:
        given = dict(message.headers)
        headers = [
            ("Route", self._core),
            ("Max-Forwards", "70"),
            ("From", given.pop("From")),
            ("To", f"<{message.recipient}>"),
            ("Call-ID", self._ids.call_id()),
            ("CSeq", "1 MESSAGE"),
            ("Content-Type", message.content_type),
        ]
        headers += list(given.items())
        request = Request.make("MESSAGE", message.recipient, headers, message.body)
        done: Deferred[Response] = Deferred()

        def answered(response: Response) -> None:
            if response.status >= 200 and not done.called:
                done.callback(response)

        self._endpoint.send(request, answered)
        return done


def _message_id(request: Request) -> str:
    """Return what tells a message apart: the sender's identifier, else that of the request."""
    kind = request.content_type
    if kind is not None and str(kind).partition(";")[0].lower() == CPIM:
        try:
            found = Cpim.parse(request.body).message_id
        except PeerError:
            found = ""
        if found:
            return found
    return f"{request.call_id} {request.cseq.number}"
