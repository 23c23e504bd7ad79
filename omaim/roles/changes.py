"""Changes of a session that we ask for: INVITE and UPDATE inside a call, and its refreshes.

Spec: RFC 3261 §14.1; RFC 3311 §5.1; RFC 4028 §7.4, §10
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import PeerError
from omaim.roles.attempt import Attempt
from omaim.roles.description import (
    CallEnded,
    CallFailed,
    Description,
    Fields,
    describes_session,
    merged,
)
from omaim.roles.user_agent import UserAgent
from omaim.sip.calling import THEIRS
from omaim.sip.message import Request, Response
from omaim.sip.pacing import delta_seconds
from omaim.timers import Alarm

if TYPE_CHECKING:
    from omaim.roles.call import Call

MOST_TRIES: Final = 8  # of one change that is refused because it crossed another
_LONGEST_PAUSE: Final = 10  # seconds that a Retry-After after 500 may say, RFC 3261 §14.2

_log = Logger()


class Changes:
    """The changes of one call that we ask for."""

    def __init__(self, call: Call, agent: UserAgent) -> None:
        self._call = call
        self._agent = agent
        self._running: list[Deferred[Response]] = []

    async def change(
        self, method: str, offer: Description, headers: Fields, wait: bool = True
    ) -> Description:
        """Send an INVITE or UPDATE until it does not cross another; return the answer."""
        call = self._call
        for _ in range(MOST_TRIES):
            if not wait and (call.calling.invited or call.calling.outstanding == THEIRS):
                crossed = call.request.response(491)
                crossed.local = True
                raise CallFailed(crossed)
            await call.turn(method, bool(offer.body))
            response = await self._send(method, offer, headers)
            status = response.status
            if status < 300:
                described = describes_session(response)
                return Description.of(response) if described else Description()
            if call.over:
                raise CallFailed(response)
            if status == 491:
                await self._pause(call.calling.pause())
            elif status == 500 and response.has("Retry-After"):
                seconds = delta_seconds(response.first("Retry-After"), 0)
                if seconds > _LONGEST_PAUSE:
                    break
                await self._pause(max(seconds, call.calling.pause()))
            elif status == 500 and response.cseq.number < call.dialog.local_seq:
                continue  # overtaken on the way by a later request of ours (§12.2.2)
            elif status != 422 or not call.timer.refused(response):
                break
        raise CallFailed(response)

    def refresh(self, updates: bool) -> None:
        """Keep the session alive.

        Args:
            updates: the peer knows UPDATE.

        Spec: RFC 4028 §7.4, §10
        """
        same = self._call.local
        if updates or not same.body:
            changing = self.change("UPDATE", Description(), ())
        else:
            changing = self.change("INVITE", same, ())
        Deferred.fromCoroutine(changing).addErrback(self._not_refreshed)

    def end(self) -> list[Deferred[Response]]:
        """Return those who wait for a response that means nothing any more."""
        running, self._running = self._running, []
        return running

    def _send(self, method: str, offer: Description, headers: Fields) -> Deferred[Response]:
        call = self._call
        fields = [*call.ours(), *call.timer.ask()]
        if offer.body:
            fields.append(("Content-Type", offer.content_type))
        request = call.dialog.request(method, merged(fields, headers), offer.body)
        call.calling.begin(method, bool(offer.body))
        attempt = Attempt()
        waiting: Deferred[Response] = Deferred()
        self._running.append(waiting)
        sending = Deferred.fromCoroutine(
            call.within.request(request, sent=attempt.begun, again=attempt.again)
        )
        sending.addCallback(self._final, request, offer, attempt, waiting)
        sending.addErrback(self._broken, waiting)
        return waiting

    def _final(
        self,
        response: Response,
        request: Request,
        offer: Description,
        attempt: Attempt,
        waiting: Deferred[Response],
    ) -> None:
        """The final response has come, whether or not somebody still waits for it."""
        call = self._call
        method, status = request.method, response.status
        described = describes_session(response)
        call.calling.finish(method, status, described)
        if status < 300:
            try:
                call.taken(request, response)
                if offer.body:
                    call.local = offer
                    if described:
                        call.remote = Description.of(response)
            except PeerError as error:
                _log.info("A peer accepts what it does not understand: {why}", why=error.why)
            if method == "INVITE":
                call.acknowledge(response, attempt, described and not offer.body)
        wanted = waiting in self._running
        if wanted:
            self._running.remove(waiting)
        if status >= 300:
            call.ended_by(response)
        if wanted:
            waiting.callback(response)
        call.pump()
        call.turns.advance()

    def _broken(self, failure: Failure, waiting: Deferred[Response]) -> None:
        _log.failure("Sending a request in a call failed", failure)
        if waiting in self._running:
            self._running.remove(waiting)
            waiting.errback(failure)

    def _not_refreshed(self, failure: Failure) -> None:
        call = self._call
        if failure.check(CallEnded) or call.over:
            return
        if not failure.check(CallFailed):
            _log.failure("Refreshing a session failed", failure)
        call.timer.failed(self._agent.now())
        call.pump()

    async def _pause(self, seconds: float) -> None:
        waiting: Deferred[None] = Deferred()
        alarm = Alarm(lambda _: None if waiting.called else waiting.callback(None))
        alarm.deadline = self._agent.now() + seconds
        self._agent.arm(alarm)
        await waiting
        if self._call.over:
            raise CallEnded(self._call.ending)
