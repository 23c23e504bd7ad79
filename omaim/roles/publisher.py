"""A publisher: keep event state standing at a compositor.

Plugin writers: :meth:`Publisher.publish` returns a :class:`Standing`, which refreshes itself
until it is withdrawn.

Spec: RFC 3903 §4, §5
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.roles.user_agent import UserAgent
from omaim.sip.message import Response
from omaim.sip.publishing import FAILED, IDLE, PUBLISHED, Moved, Publishing
from omaim.timers import Alarm

_log = Logger()


class Standing:
    """One piece of published state.

    Attributes:
        state: one of the constants of :mod:`omaim.sip.publishing`.
        etag: the entity-tag that stands now, "" for none.
        status: the final response last seen.
    """

    def __init__(
        self, ua: UserAgent, machine: Publishing, on_state: Callable[[Moved], object] | None
    ) -> None:
        self._ua = ua
        self._machine = machine
        self._on_state = on_state
        self._alarm = Alarm(self._woken)
        self._waiting: list[Deferred[int]] = []

    @property
    def state(self) -> int:
        return self._machine.state

    @property
    def etag(self) -> str:
        return self._machine.etag

    @property
    def status(self) -> int:
        return self._machine.status

    def change(self, body: bytes, content_type: str) -> None:
        """Let this state stand instead."""
        self._input().publish(body, content_type, self._ua.now())
        self._pump()

    def withdraw(self) -> Deferred[int]:
        """Remove the state; fires with the final state when the compositor has answered."""
        settled: Deferred[int] = Deferred()
        self._waiting.append(settled)
        self._input().remove(self._ua.now())
        self._pump()
        return settled

    def settled(self) -> Deferred[int]:
        """Return what fires with the state once it is published, refused or withdrawn."""
        settled: Deferred[int] = Deferred()
        self._waiting.append(settled)
        self._settle()
        return settled

    def _woken(self, now: float) -> None:
        self._input().wake(now)
        self._pump()

    def _answered(self, response: Response) -> None:
        self._input().answered(response, self._ua.now())
        self._pump()

    def _input(self) -> Publishing:
        """Return the machine, knowing the routes that the agent has by now."""
        self._machine.routes = self._ua.routes
        return self._machine

    def _pump(self) -> None:
        machine = self._machine
        request = machine.take()
        if request is not None:
            sending = Deferred.fromCoroutine(self._ua.request(request, next_seq=machine.next_seq))
            sending.addCallback(self._answered)
            sending.addErrback(_broken)
        for moved in machine.moves():
            if self._on_state is not None:
                try:
                    self._on_state(moved)
                except Exception:
                    _log.failure("A change of a publication was not understood")
        self._alarm.deadline = machine.deadline
        self._ua.arm(self._alarm)
        self._settle()

    def _settle(self) -> None:
        if self._machine.settled and self._machine.state in (IDLE, PUBLISHED, FAILED):
            waiting, self._waiting = self._waiting, []
            for settled in waiting:
                settled.callback(self._machine.state)


class Publisher:
    """Publishes state on behalf of one user agent's identity.

    Args:
        ua: sends.
    """

    def __init__(self, ua: UserAgent) -> None:
        self._ua = ua

    def publish(
        self,
        event: str,
        body: bytes,
        content_type: str,
        *,
        target: str = "",
        expires: int = 3600,
        headers: Iterable[tuple[str, str]] = (),
        on_state: Callable[[Moved], object] | None = None,
    ) -> Standing:
        """Publish a state and keep it standing.

        Args:
            event: Event value, as "presence".
            body: the state.
            content_type: its media type.
            target: whose state it is; the agent's own identity if empty.
            expires: seconds wished.
            headers: more header fields.
            on_state: gets each change of state.
        """
        ua = self._ua
        machine = Publishing(
            target or ua.identity,
            event,
            ua.local,
            ua.ids,
            expires=expires,
            routes=ua.routes,
            headers=(*ua.headers, *headers),
        )
        standing = Standing(ua, machine, on_state)
        standing.change(body, content_type)
        return standing


def _broken(failure: Failure) -> None:
    _log.failure("Sending a PUBLISH failed", failure)
