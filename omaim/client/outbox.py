"""What goes out: MESSAGE requests, one at a time to each recipient, none too large.

Spec: RFC 3428 §8; OMA SIMPLE IM 1.0 (pager mode)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredLock

from omaim.client.access import Phone
from omaim.client.composing import LARGEST, Content
from omaim.client.failures import Busy, TooLarge
from omaim.sip.message import Request, Response
from omaim.sip.uri import canonical_aor

FEATURE: Final = "+g.oma.sip-im"
WAITING: Final = 1_000  # messages that may wait for one recipient's earlier ones


class Outbox:
    """Sends the messages of one client.

    Args:
        phone: sends.
        opened: returns when there is something to send from.
    """

    def __init__(self, phone: Phone, opened: Callable[[], Awaitable[object]]) -> None:
        self._phone = phone
        self._opened = opened
        self._queues: dict[str, tuple[DeferredLock, int]] = {}
        self._under_way: set[Deferred[Response]] = set()

    def __len__(self) -> int:
        return len(self._under_way)

    def fits(self, target: str, content: Content) -> bool:
        """Tell whether a message fits into pager mode.

        Differs: our Via and our credentials do not count, as the next hop takes them off; and
        neither does the recipient list of a list message, which its copies do not have.

        Spec: RFC 3428 §8
        """
        return len(self._request(target, content, None, ()).to_bytes()) <= LARGEST

    def check(self, target: str, content: Content, instead: str) -> None:
        """See whether a message fits into pager mode.

        Args:
            instead: what to do if not, in words.

        Raises:
            TooLarge: it does not.
        """
        if not self.fits(target, content):
            size = len(self._request(target, content, None, ()).to_bytes())
            raise TooLarge(
                0,
                f"the message makes a request of {size} octets and pager mode carries {LARGEST}; "
                + instead,
            )

    def send(
        self,
        target: str,
        content: Content,
        validity: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Deferred[Response]:
        """Send a MESSAGE as soon as no other to the same target is pending.

        Returns:
            the final response.
        """
        sending = Deferred.fromCoroutine(self._send(target, content, validity, headers))
        self._under_way.add(sending)

        def over(result: Any) -> Any:
            self._under_way.discard(sending)
            return result

        return sending.addBoth(over)

    async def drain(self, patience: float, clock: Any) -> None:
        """Wait until all that was to be sent is answered, but at most ``patience`` seconds."""
        if self._under_way:
            everything: Deferred[Any] = Deferred()
            left = len(self._under_way)

            def one_less(result: Any) -> Any:
                nonlocal left
                left -= 1
                if not left and not everything.called:
                    everything.callback(None)
                return result

            for sending in self._under_way:
                sending.addBoth(one_less)
            everything.addTimeout(patience, clock)
            await everything.addErrback(lambda _: None)

    async def _send(
        self,
        target: str,
        content: Content,
        validity: int | None,
        headers: Sequence[tuple[str, str]],
    ) -> Response:
        await self._opened()
        key = canonical_aor(target)
        lock, users = self._queues.get(key, (DeferredLock(), 0))
        if users >= WAITING:
            raise Busy(0, f"{users} messages to {key} are not answered yet")
        self._queues[key] = (lock, users + 1)
        try:
            await lock.acquire()
            try:
                request = self._request(target, content, validity, headers)
                return await self._phone.request(request)
            finally:
                lock.release()
        finally:
            users = self._queues[key][1]
            if users > 1:
                self._queues[key] = (lock, users - 1)
            else:
                del self._queues[key]

    def _request(
        self,
        target: str,
        content: Content,
        validity: int | None,
        headers: Sequence[tuple[str, str]],
    ) -> Request:
        fields = [("Accept-Contact", f"*;{FEATURE}"), *headers]
        if validity is not None:
            fields.append(("Expires", str(validity)))
        fields.append(("Content-Type", content.content_type))
        return self._phone.make("MESSAGE", target, fields, content.body)
