"""When the MSRP session of a party is lost: who offers another one, and how long that may take.

Who has called offers another one: the caller to us, we to the callee. Where the caller does not,
we do after a while.

Spec: RFC 4975 §5.4
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import PeerError, Unavailable
from omaim.roles.description import CallEnded, CallFailed
from omaim.roles.user_agent import UserAgent
from omaim.timers import NEVER, Alarm

PATIENCE: Final = 40.0  # seconds until there is another session, or the conversation ends
PAUSE: Final = 30.0  # seconds between two losses of one party that are mended
SOON: Final = 0.2  # seconds until we offer the callee another: it may be about to hang up
LATE: Final = 5.0  # seconds until we offer the caller another
AGAIN: Final = 1.0  # seconds until the next try, when another change crosses ours

_CROSSED: Final = 491

_log = Logger()


class Mending:
    """The lost session of one party.

    Args:
        agent: has the clock.
        wait: seconds until we offer another one.
        missing: tells whether there is none yet.
        renew: offers another one.
        give_up: called when that came to nothing.
    """

    def __init__(
        self,
        agent: UserAgent,
        wait: float,
        missing: Callable[[], bool],
        renew: Callable[[], Awaitable[object]],
        give_up: Callable[[], object],
    ) -> None:
        self._agent = agent
        self._wait = wait
        self._missing = missing
        self._renew = renew
        self._give_up = give_up
        self._broken_at = -PAUSE
        self._turn = Alarm(lambda _: self._offer())
        self._end = Alarm(lambda _: self._late())

    def broken(self) -> None:
        """The session is lost."""
        now = self._agent.now()
        if now < self._broken_at + PAUSE:
            self._give_up()
            return
        self._broken_at = now
        self._end.deadline = now + PATIENCE
        self._agent.arm(self._end)
        self._offer_in(self._wait)

    def stop(self) -> None:
        """The conversation is over."""
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
        except CallFailed as failed:
            self._failed(failed.response.status)
        except PeerError as error:
            self._failed(error.status)
        except (CallEnded, Unavailable):
            self._failed(0)

    def _failed(self, status: int) -> None:
        if self._end.deadline == NEVER:
            return  # the conversation is over
        if status == _CROSSED:
            self._offer_in(AGAIN)
        else:
            self._give_up()

    def _late(self) -> None:
        self._end.deadline = NEVER
        if self._missing():
            self._give_up()


def _broken_off(failure: Failure) -> None:
    _log.failure("A session was not replaced", failure)
