"""When the MSRP session of a call is lost: who offers another one, and how long that may take.

Who has called offers another one; where it does not, the other side does after a while.

Spec: RFC 4975 §5.4
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import OmaimError, PeerError
from omaim.roles.user_agent import UserAgent
from omaim.timers import NEVER, Alarm

PATIENCE: Final = 28.0  # seconds until there is another session; MSRP's answers may take 30
PAUSE: Final = 30.0  # seconds between two losses that are mended
SOON: Final = 0.2  # seconds until who has called offers another: the peer may be hanging up
LATE: Final = 5.0  # seconds until who was called does
AGAIN: Final = 1.0  # seconds until the next try, when another change crosses ours

_CROSSED: Final = 491

_log = Logger()


class Mending:
    """Replaces the session of one call whenever it is lost.

    Args:
        agent: has the clock.
        missing: tells whether there is none.
        renew: offers another one; fails with an OmaimError.
        give_up: called when that came to nothing.
    """

    def __init__(
        self,
        agent: UserAgent,
        missing: Callable[[], bool],
        renew: Callable[[], Awaitable[object]],
        give_up: Callable[[], object],
    ) -> None:
        self._agent = agent
        self._missing = missing
        self._renew = renew
        self._give_up = give_up
        self._broken_at = -PAUSE
        self._turn = Alarm(lambda _: self._offer())
        self._end = Alarm(lambda _: self._late())

    def broken(self, caller: bool) -> None:
        """The session is lost.

        Args:
            caller: the call was made by us.
        """
        now = self._agent.now()
        if now < self._broken_at + PAUSE:
            self._give_up()
            return
        self._broken_at = now
        self._end.deadline = now + PATIENCE
        self._agent.arm(self._end)
        self._offer_in(SOON if caller else LATE)

    def stop(self) -> None:
        """There is a session, or the call is over."""
        self._turn.deadline = self._end.deadline = NEVER

    def _offer_in(self, seconds: float) -> None:
        self._turn.deadline = self._agent.now() + seconds
        self._agent.arm(self._turn)

    def _offer(self) -> None:
        self._turn.deadline = NEVER
        if self._missing():
            Deferred.fromCoroutine(self._try()).addErrback(_broken_off)

    async def _try(self) -> None:
        try:
            await self._renew()
        except OmaimError as error:
            if self._end.deadline == NEVER or not self._missing():
                return  # the call is over, or the peer was quicker
            if _crossed(error):
                self._offer_in(AGAIN)
            else:
                self._give_up()

    def _late(self) -> None:
        self._end.deadline = NEVER
        if self._missing():
            self._give_up()


def _crossed(error: OmaimError) -> bool:
    return isinstance(error, PeerError) and error.status == _CROSSED


def _broken_off(failure: Failure) -> None:
    _log.failure("A session was not replaced", failure)
