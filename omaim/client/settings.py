"""What we want of the IM service, published to the IM Server.

Whether we are there stands as long as this client does; what is to be recorded and deferred stands
on its own, so that it goes on while we are away.

Spec: OMA SIMPLE IM 1.0 (IM service settings); RFC 3903 §4
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, TimeoutError

from omaim.bodies.im_settings import MEDIA_TYPE, ServiceSettings, write_settings
from omaim.client.failures import NoAnswer, failure_class
from omaim.roles.publisher import Publisher, Standing
from omaim.sip.publishing import FAILED

EVENT: Final = "im-settings"
BEING_THERE: Final = 3600  # seconds for which we are, or are not, there
WISHES: Final = 604_800  # seconds for which the rest stands
PATIENCE: Final = 35.0  # seconds that the server may take


class Settings:
    """The settings of one client.

    Args:
        publisher: publishes.
        opened: returns when there is something to publish from.
        clock: for not waiting for ever.
        event: name of the event package.

    Attributes:
        said: what this client has published.
    """

    def __init__(
        self,
        publisher: Publisher,
        opened: Callable[[], Awaitable[object]],
        clock: Any,
        event: str = EVENT,
    ) -> None:
        self._publisher = publisher
        self._opened = opened
        self._clock = clock
        self._event = event
        self._there: Standing | None = None
        self._wishes: Standing | None = None
        self.said = ServiceSettings()

    async def be(self, *, active: bool | None = None, visible: bool | None = None) -> None:
        """Say whether we take messages now, and whether others may know; ``None`` says nothing new.

        Raises:
            Failure: a subclass by what the network answered.
        """
        said = self.said
        self.said = attrs.evolve(
            said,
            active=said.active if active is None else active,
            visible=said.visible if visible is None else visible,
        )
        body = ServiceSettings(active=self.said.active, visible=self.said.visible)
        self._there = await self._say(self._there, body, BEING_THERE)

    async def want(
        self,
        *,
        deferred: bool | None = None,
        history_pager: bool | None = None,
        history_session: bool | None = None,
        automatic: bool | None = None,
    ) -> None:
        """Say what is to wait for us, and what is to be recorded; ``None`` says nothing new.

        Args:
            automatic: those whom our policy lets do so may have our devices answer without
                asking for it each time; see :attr:`omaim.client.Client.auto_answer`.

        Raises:
            Failure: a subclass by what the network answered.
        """
        said = self.said
        self.said = attrs.evolve(
            said,
            deferred=said.deferred if deferred is None else deferred,
            history_pager=said.history_pager if history_pager is None else history_pager,
            history_session=said.history_session if history_session is None else history_session,
            automatic=said.automatic if automatic is None else automatic,
        )
        body = attrs.evolve(self.said, active=None, visible=None)
        self._wishes = await self._say(self._wishes, body, WISHES)

    async def withdraw(self, patience: float = PATIENCE) -> None:
        """Take back whether we are there; the rest stands until its time is over.

        Args:
            patience: seconds that the server may take; after that it is over by itself in time.
        """
        standing, self._there = self._there, None
        if standing is not None:
            try:
                await self._settled(standing.withdraw(), patience)
            except NoAnswer:
                pass

    async def _say(
        self, standing: Standing | None, settings: ServiceSettings, expires: int
    ) -> Standing:
        await self._opened()
        body = write_settings(settings)
        if standing is None:
            standing = self._publisher.publish(self._event, body, MEDIA_TYPE, expires=expires)
        else:
            standing.change(body, MEDIA_TYPE)
        if await self._settled(standing.settled()) == FAILED:
            raise failure_class(standing.status)(standing.status)
        return standing

    async def _settled(self, settled: Deferred[int], patience: float = PATIENCE) -> int:
        settled.addTimeout(patience, self._clock)
        try:
            return await settled
        except TimeoutError:
            raise NoAnswer(0, "the settings were not taken yet") from None
