"""What waits for us at the IM Server: list it, fetch it, delete it.

Spec: OMA SIMPLE IM 1.0 (deferred messaging); RFC 6665 §4.4.3
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from omaim.bodies.deferred_list import (
    MEDIA_TYPE,
    Waiting,
    parse_deferred_list,
    write_deferred_list,
)
from omaim.bodies.mime import Part
from omaim.client.composing import Content
from omaim.client.failures import failure_class, failure_of
from omaim.client.fetching import Fetch
from omaim.client.outbox import Outbox
from omaim.client.reading import Received
from omaim.errors import PeerError
from omaim.roles.watcher import Refused, Watch, Watcher
from omaim.sip.message import Request

EVENT: Final = "sip-profile"


class Mailbox:
    """The deferred messages of one client's user.

    Args:
        watcher: subscribes.
        outbox: sends.
        service: URI of the deferred messaging function.
        deletion: URI at which messages are deleted.
        session: fetches in a session.
        deliver: takes a message that came so; tells whether there was room for it.
    """

    def __init__(
        self,
        watcher: Watcher,
        outbox: Outbox,
        service: str,
        deletion: str,
        session: Fetch,
        deliver: Callable[[Received], bool],
    ) -> None:
        self._watcher = watcher
        self._outbox = outbox
        self._service = service
        self._deletion = deletion
        self._session = session
        self._deliver = deliver

    async def list(self) -> tuple[Waiting, ...]:
        """Return what waits for us, oldest first.

        Raises:
            Failure: a subclass by what the network answered.
        """
        try:
            notify = await self._watcher.fetch(self._service, EVENT, accept=(MEDIA_TYPE,))
        except Refused as error:
            raise failure_class(error.status)(error.status) from None
        return parse_deferred_list(notify.body) if notify.body else ()

    def watch(self, act: Callable[[tuple[Waiting, ...]], object]) -> Watch:
        """Hear of the list now and whenever it changes, until the result is stopped."""

        def notified(notify: Request) -> None:
            act(parse_deferred_list(notify.body) if notify.body else ())

        return self._watcher.watch(self._service, EVENT, notified, accept=(MEDIA_TYPE,))

    async def retrieve(self, references: Sequence[str] = ()) -> None:
        """Have messages delivered; they come like any other.

        Args:
            references: of :class:`~omaim.bodies.deferred_list.Waiting`; all if empty.

        Raises:
            NotFound: none of them is there.
            Failure: a subclass by what the network answered.
        """
        await self._ask(self._service, references)

    async def fetch(self, references: Sequence[str] = ()) -> int:
        """Have messages handed over in a session, one after the other, whatever their size.

        They come like any other, and are deleted there once they are here.

        Args:
            references: as :meth:`retrieve` has them.

        Returns:
            how many came.

        Raises:
            NotFound: none of them is there.
            NoAnswer: the session broke; what has not come is still there.
            Failure: another subclass by what the network answered.
        """

        def take(found: Received) -> None:
            if not self._deliver(found):
                raise PeerError("the inbox is full", 413)

        wanted = None
        if references:
            body = write_deferred_list([Waiting(one) for one in references])
            wanted = Part([("Content-Type", MEDIA_TYPE)], body)
        return await self._session(self._service, wanted, take)

    async def delete(self, references: Sequence[str] = ()) -> None:
        """Delete messages unread; see :meth:`retrieve`."""
        await self._ask(self._deletion, references)

    async def _ask(self, target: str, references: Sequence[str]) -> None:
        body = write_deferred_list([Waiting(one) for one in references]) if references else b""
        response = await self._outbox.send(target, Content(body, MEDIA_TYPE))
        if response.status >= 300:
            raise failure_of(response)
