"""An INVITE that came in and is not answered yet.

Spec: RFC 3261 §13.3; RFC 3262 §3; RFC 3891 §3
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from omaim.errors import PeerError, UsageError
from omaim.roles.call import Call
from omaim.roles.description import (
    CallEnded,
    CallFailed,
    Description,
    Fields,
    describes_session,
    merged,
)
from omaim.roles.incoming import Incoming
from omaim.sip.calling import Calling
from omaim.sip.dialog import CONFIRMED, EARLY, as_uas
from omaim.sip.message import Request, Response
from omaim.sip.pacing import LONGEST, delta_seconds
from omaim.sip.session_timer import SessionTimer
from omaim.timers import NEVER, Alarm

if TYPE_CHECKING:
    from omaim.roles.inviter import Inviter

AGAIN: Final = 60.0  # seconds between provisional responses, RFC 3261 §13.3.1.1
MOST_WAITING: Final = 20  # reliable provisional responses that wait for the one before

_log = Logger()


class Invitation:
    """Somebody invites us. Ring, accept or reject; it can be given up meanwhile.

    Differs: a PRACK that comes after we refused is answered 481 (RFC 3262 §3); the dialog is
    gone then, and nothing hangs on that PRACK.

    Attributes:
        request: the INVITE.
        body: its body, octets.
        described: the body holds an offer; without one the 2xx has to make it.
        call: the dialog; it is up when the invitation was accepted.
        replaces: the call that this one is to replace, which has to be ended when this one
            is accepted; ``None`` for none. It was looked up as RFC 3891 §3 says; who may
            replace it is for the owner to judge.
        flow: the path by which it came.
        reason: the Reason value of the CANCEL, or why it ended by itself.
        on_cancel: called with this invitation when it was given up, and answered 487.
        context: the owner's own.

    Spec: RFC 3261 §13.3
    """

    def __init__(
        self, inviter: Inviter, incoming: Incoming, contact: str, replaces: Call | None
    ) -> None:
        request = incoming.request
        self.request = request
        self.body = request.body
        self.described = describes_session(request)
        self.replaces = replaces
        self.flow = incoming.flow
        self.reason = ""
        self.on_cancel: Callable[[Invitation], object] | None = None
        self.context: Any = None
        agent = inviter.agent
        timer = SessionTimer(inviter.session_expires, inviter.min_se)
        timer.check(request)
        dialog = as_uas(request, incoming.tag, contact, incoming.flow.secure, EARLY)
        dialog.contact = contact
        calling = Calling(agent.ids, agent.endpoint.timing, False)
        calling.receive("INVITE", self.described)
        self.call = Call(
            agent,
            inviter.referrer,
            dialog,
            request,
            calling,
            timer,
            caller=False,
            flow=incoming.flow,
            over=inviter.over,
        )
        if self.described:
            self.call.remote = Description.of(request)
        self.call.on_heard = self._heard
        self._inviter = inviter
        self._incoming = incoming
        self._queue: deque[tuple[int, list[tuple[str, str]], Description]] = deque()
        self._said: Response | None = None
        self._accepting: tuple[Description, Fields] | None = None
        self._accepted = False
        self._repeat = Alarm(self._woken)
        seconds = delta_seconds(request.first("Expires"), LONGEST)
        now = agent.now()
        self._until = now + min(float(seconds), inviter.patience)
        self._expires = seconds <= inviter.patience
        self._again_at = NEVER
        incoming.on_cancel = self._cancelled
        self._arm()

    @property
    def answered(self) -> bool:
        """A final response was given."""
        return self._incoming.answered

    @property
    def reliable(self) -> bool:
        """The caller requires that provisional responses be sent reliably (RFC 3262 §3)."""
        return "100rel" in self.request.require

    def ring(
        self,
        status: int = 180,
        headers: Fields = (),
        body: bytes = b"",
        content_type: str = "application/sdp",
        reliable: bool = False,
    ) -> None:
        """Send a provisional response. Each minute the last is sent again by itself.

        Args:
            status: 101 to 199.
            headers: more header fields, which count more than those made here.
            body: octets, with ``content_type``.
            reliable: have it acknowledged, where the caller can; always so where it insists.

        Raises:
            UsageError: the status is no provisional one, or too many wait to be heard.

        Spec: RFC 3261 §13.3.1.1; RFC 3262 §3
        """
        if not 101 <= status <= 199:
            raise UsageError("ring with a status from 101 to 199")
        if self.answered or self._accepting is not None:
            return
        description = Description(body, content_type) if body else Description()
        able = "100rel" in self.request.supported
        if self.reliable or (reliable and able):
            if len(self._queue) >= MOST_WAITING:
                raise UsageError("too many provisional responses wait for their PRACK")
            self._queue.append((status, list(headers), description))
            self._next()
            return
        response = self._response(status, headers, description)
        self._incoming.respond(response)
        self._said = response
        self._again_at = self._inviter.agent.now() + AGAIN
        self._arm()

    def _response(self, status: int, headers: Fields, description: Description) -> Response:
        agent = self._inviter.agent
        fields = [("Contact", self.call.dialog.contact), ("Allow", agent.allow)]
        fields += [("Record-Route", route) for route in self.request.all("Record-Route")]
        if description.body:
            fields.append(("Content-Type", description.content_type))
        return self._incoming.response(status, merged(fields, headers), description.body)

    def _next(self) -> None:
        """Send the next reliable provisional response, if the one before was heard."""
        if not self._queue or self.call.calling.waiting or self.answered:
            return
        status, headers, description = self._queue.popleft()
        response = self._response(status, headers, description)
        if description.body:
            self.call.local = description
        self.call.reliably(self._incoming, response, describes_session(response))

    async def accept(
        self, body: bytes = b"", content_type: str = "application/sdp", headers: Fields = ()
    ) -> Call:
        """Accept; return the call when the caller's ACK has come.

        The 200 is repeated until then. :attr:`call` can be used before.

        Args:
            body: the answer, or the offer where the INVITE holds none.
            content_type: of the body.
            headers: more header fields, which count more than those made here; a Contact
                becomes that of the dialog.

        Raises:
            CallFailed: it was given up, or answered, before.
            CallEnded: the ACK never came, or the caller has ended the call already.

        Spec: RFC 3261 §13.3.1.4
        """
        if self.answered:
            raise CallFailed(self.request.response(487), cancelled=bool(self.reason))
        if self._accepting is not None:
            raise UsageError("an invitation is accepted once")
        self._accepting = (Description(body, content_type) if body else Description(), headers)
        waiting = self.call.wait_for_ack()
        self._accept()
        try:
            await waiting
        except CallEnded as ended:
            if not self._accepted:
                raise CallFailed(self.request.response(487), cancelled=True) from ended
            raise
        return self.call

    def _accept(self) -> None:
        """Send the 200, when no description waits for its PRACK (RFC 3262 §5)."""
        if self._accepting is None or self.answered or self.call.calling.reliable_described:
            return
        answer, headers = self._accepting
        call, dialog = self.call, self.call.dialog
        dialog.contact = next(
            (value for name, value in headers if name == "Contact"), dialog.contact
        )
        dialog.state = CONFIRMED
        routes = [("Record-Route", route) for route in self.request.all("Record-Route")]
        self._settled()
        self._accepted = True
        call.accept(self._incoming, answer, self.described, [*routes, *headers])

    def reject(self, status: int, headers: Fields = (), body: bytes = b"") -> None:
        """Refuse, or redirect with a 3xx and a Contact; nothing happens if that was done.

        Spec: RFC 3261 §13.3.1.2, §13.3.1.3
        """
        if status < 300:
            raise UsageError("reject with a status from 300")
        if self.answered or self._accepting is not None:
            return
        self._end(self._incoming.response(status, headers, body), "")

    def refuse(self, error: PeerError) -> None:
        """Refuse as an error deserves."""
        if self.answered or self._accepting is not None:
            return
        incoming = self._incoming
        self._close("")
        incoming.refuse(error)

    # What happens meanwhile.

    def _cancelled(self, cancel: Request) -> None:
        self._give_up(cancel.first("Reason") or "SIP;cause=487", 487)

    def _give_up(self, reason: str, status: int) -> None:
        if self.answered:
            return
        self._end(self._incoming.response(status), reason)
        if self.on_cancel is not None:
            try:
                self.on_cancel(self)
            except Exception:
                _log.failure("The end of an invitation was not understood")

    def _heard(self, acknowledged: bool) -> None:
        """A reliable provisional response was acknowledged, or never (RFC 3262 §3)."""
        if acknowledged:
            self._next()
            self._accept()
        else:
            self._give_up('SIP;cause=504;text="no PRACK came"', 504)

    def _woken(self, now: float) -> None:
        if now >= self._until:
            if self._expires:
                self._give_up('SIP;cause=487;text="the invitation expired"', 487)
            else:
                self._give_up('SIP;cause=480;text="nobody answered"', 480)
        elif now >= self._again_at and self._said is not None and not self.answered:
            self._incoming.respond(self._said)
            self._again_at = now + AGAIN
            self._arm()

    def _arm(self) -> None:
        self._repeat.deadline = min(self._until, self._again_at)
        self._inviter.agent.arm(self._repeat)

    def _settled(self) -> None:
        self._repeat.deadline = NEVER
        self._queue.clear()
        self._inviter.settled(self)

    def _end(self, response: Response, reason: str) -> None:
        self._close(reason)
        self._incoming.respond(response)

    def _close(self, reason: str) -> None:
        self.reason = reason
        self._settled()
        self.call.finish(reason)
