"""A call: one INVITE dialog, from its making to its end.

A :class:`Call` changes the session (:meth:`Call.reinvite`, :meth:`Call.update`), ends it
(:meth:`Call.bye`), and answers what the peer does in the dialog. It keeps the session timer,
repeats a 2xx until its ACK comes, and settles crossing changes, all by itself. Session
descriptions go through unread.

Calls come from :mod:`omaim.roles.inviter`.

Spec: RFC 3261 §12 to §15; RFC 3262; RFC 3311; RFC 3326; RFC 4028
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import PeerError, UsageError
from omaim.net.exchange import Exchange
from omaim.roles.description import (
    Answered,
    CallEnded,
    CallFailed,
    Description,
    Fields,
    as_description,
    describes_session,
    merged,
)
from omaim.roles.incoming import Incoming
from omaim.roles.referrer import Reference, Referral, Referrer
from omaim.roles.user_agent import UserAgent
from omaim.sip.calling import REPEAT, REPEAT_RELIABLE, THEIRS, UNACKNOWLEDGED, Calling
from omaim.sip.dialog import CONFIRMED, EARLY, ENDED, Dialog
from omaim.sip.flow import Flow
from omaim.sip.headers import RAck, Reason
from omaim.sip.message import Request, Response
from omaim.sip.pacing import delta_seconds
from omaim.sip.session_timer import EXPIRED, REFRESH, SessionTimer
from omaim.timers import NEVER, Alarm

MOST_TRIES: Final = 8  # of one change that is refused because it crossed another
_LONGEST_PAUSE: Final = 10  # seconds that a Retry-After after 500 may say, RFC 3261 §14.2
_CREDENTIALS: Final = ("Authorization", "Proxy-Authorization")

_log = Logger()


class Call:
    """One INVITE dialog and its session.

    Attributes:
        dialog: who the peer is, and where.
        request: the INVITE that made it.
        response: its 2xx, of a call that we made; else ``None``.
        caller: the INVITE was ours.
        local: the session description that we gave last.
        remote: the one that the peer gave last.
        over: it has ended.
        ending: why, as a Reason value; "" for no reason given.
        context: the owner's own.
        on_offer: gets an offer of the peer and returns our answer, octets or a
            :class:`~omaim.roles.description.Description`, now or awaited; a PeerError that it
            raises (488) refuses the change. An empty offer asks us for one. Without it only
            what changes nothing is accepted.
        on_answer: gets the peer's answer to an offer that was in a 2xx of ours.
        on_bye: gets the Reason value when the call has ended by the peer, by the session
            timer, or because the peer is gone; not after :meth:`bye`.
        on_refer: gets each REFER in the dialog; the agent's referrer otherwise.
        on_request: answers what else comes in the dialog (MESSAGE, INFO, SUBSCRIBE, …), as
            :meth:`~omaim.roles.user_agent.UserAgent.on` takes it.
        on_heard: called when a reliable provisional response of ours got its PRACK, with
            True, or never got it, with False.

    Spec: RFC 3261 §12 to §15
    """

    def __init__(
        self,
        agent: UserAgent,
        referrer: Referrer,
        dialog: Dialog,
        request: Request,
        calling: Calling,
        timer: SessionTimer,
        *,
        caller: bool,
        flow: Flow | None,
        over: Callable[[Call], object],
    ) -> None:
        self.dialog = dialog
        self.request = request
        self.response: Response | None = None
        self.caller = caller
        self.local = Description()
        self.remote = Description()
        self.over = False
        self.ending = ""
        self.context: Any = None
        self.on_offer: Callable[[Description], Answered] | None = None
        self.on_answer: Callable[[Description], object] | None = None
        self.on_bye: Callable[[str], object] | None = None
        self.on_refer: Callable[[Referral], object] | None = None
        self.on_request: (
            Callable[[Incoming], Response | Coroutine[Any, Any, Response | None] | None] | None
        ) = None
        self.on_heard: Callable[[bool], object] | None = None
        self.calling = calling
        self.timer = timer
        self._agent = agent
        self._referrer = referrer
        self._flow = flow
        self._over = over
        self._number = request.cseq.number
        self._alarm = Alarm(self._woken)
        self._pauses: list[Alarm] = []
        self._allow: frozenset[str] = frozenset()
        self._turns: list[tuple[str, bool, Deferred[None]]] = []
        self._running: list[Deferred[Response]] = []
        self._pending: list[Incoming] = []  # INVITEs and UPDATEs that wait for our answer
        self._answers: dict[int, tuple[Incoming, Response]] = {}  # 2xx that wait for their ACK
        self._offers: set[int] = set()  # those of them that hold an offer
        self._reliable: tuple[Incoming, Response] | None = None
        self._acks: list[Deferred[None]] = []
        self._refers = 0
        if not caller:
            self._note_peer(request)
        agent.on_dialog(dialog.id, self.receive, self.acknowledged)

    @property
    def early(self) -> bool:
        """The INVITE has no final response yet."""
        return self.dialog.state == EARLY

    @property
    def up(self) -> bool:
        """The call was accepted and has not ended."""
        return self.dialog.state == CONFIRMED and not self.over

    # Changing and ending the session.

    async def reinvite(
        self,
        body: bytes = b"",
        content_type: str = "application/sdp",
        headers: Fields = (),
        *,
        wait: bool = True,
    ) -> Description:
        """Offer a change by re-INVITE, when it is our turn; return the answer.

        Without a body the peer is asked for an offer, which :attr:`on_offer` answers. What
        crosses a change of the peer is tried again. Cancelling gives up waiting only.

        Args:
            body: the offer; with ``content_type``.
            headers: more header fields, which count more than those made here.
            wait: while the peer waits for our answer to a change of its own, wait too;
                otherwise fail with 491 then. A server that passes changes on between two
                calls must not wait: both could wait for one another.

        Raises:
            CallFailed: it was refused; the session is as it was.
            CallEnded: the call ended before.

        Spec: RFC 3261 §14.1
        """
        offer = Description(body, content_type)
        return await self._change("INVITE", offer, headers, wait)

    async def update(
        self,
        body: bytes = b"",
        content_type: str = "application/sdp",
        headers: Fields = (),
        *,
        wait: bool = True,
    ) -> Description:
        """Offer a change by UPDATE; without a body, only refresh; return the answer.

        Args: as :meth:`reinvite` has them.

        Raises:
            CallFailed: it was refused; the session is as it was.
            CallEnded: the call ended before.

        Spec: RFC 3311 §5.1
        """
        return await self._change("UPDATE", Description(body, content_type), headers, wait)

    async def bye(self, headers: Fields = ()) -> None:
        """End the call; returns when the peer knows, or is not there.

        A callee that is not sure yet that the caller has its 2xx waits for that.

        Args:
            headers: more header fields, a Reason for example.

        Raises:
            UsageError: the call was not accepted yet.

        Spec: RFC 3261 §15.1.1
        """
        if self.over:
            return
        if self.early:
            raise UsageError("a call that nobody accepted is cancelled or rejected, not ended")
        try:
            await self._turn("BYE", False)
        except CallEnded:
            return
        reason = next((value for name, value in headers if name == "Reason"), "")
        sending = self._send_bye(headers)
        self.finish(reason)
        await sending

    async def request_in(self, method: str, headers: Fields = (), body: bytes = b"") -> Response:
        """Send another request inside the dialog; return its final response.

        Raises:
            CallEnded: the call is over.

        Spec: RFC 3261 §12.2.1
        """
        if self.over:
            raise CallEnded(self.ending)
        request = self.dialog.request(method, list(headers), body)
        response = await self._request(request)
        self._ended_by(response)
        return response

    async def refer(self, refer_to: str, **named: Any) -> Reference:
        """Ask the peer to contact somebody; see :meth:`omaim.roles.referrer.Referrer.refer`.

        Raises:
            CallFailed: the peer refused.
            CallEnded: the call is over.
        """
        if self.over:
            raise CallEnded(self.ending)
        return await self._referrer.refer("", refer_to, call=self, **named)

    # What the peer does.

    def receive(self, incoming: Incoming) -> Response | Coroutine[Any, Any, Response | None] | None:
        """Answer a request in the dialog.

        Spec: RFC 3261 §12.2.2
        """
        request = incoming.request
        self.dialog.receive(request)
        if not self._agent.understands(incoming):
            return None
        self._note_peer(request)
        method = request.method
        if method == "INVITE" or method == "UPDATE":
            return self._offered(incoming)
        if method == "BYE":
            self._byed(incoming)
            return None
        if method == "PRACK":
            return self._pracked(incoming)
        return self._other(incoming)

    def acknowledged(self, ack: Request) -> None:
        """Take an ACK for a 2xx of ours.

        Spec: RFC 3261 §13.3.1.4
        """
        number = ack.cseq.number
        if not self.calling.acknowledged(number):
            return
        self._answers.pop(number, None)
        if number in self._offers:
            self._offers.discard(number)
            self.remote = Description.of(ack)
            self._tell(self.on_answer, self.remote)
        if number == self._number:
            acks, self._acks = self._acks, []
            for waiting in acks:
                waiting.callback(None)
        self._advance()

    def _byed(self, incoming: Incoming) -> None:
        reason = incoming.request.first("Reason") or ""
        incoming.reply(200)
        self.finish(reason)
        self._tell(self.on_bye, reason)

    def _other(self, incoming: Incoming) -> Response | Coroutine[Any, Any, Response | None] | None:
        request = incoming.request
        method = request.method
        if method == "REFER":
            self.dialog.accept(request)
            self._refers += 1
            self._referrer.referred(incoming, self, self._refers > 1, self.on_refer)
            return None
        event = request.event if method in ("NOTIFY", "SUBSCRIBE") else None
        if event is not None and event.package == "refer":
            return self._referrer.event(incoming, self)
        if self.on_request is not None:
            return self.on_request(incoming)
        answer = self._agent.answer_of(method)
        if answer is None:
            return incoming.response(405, [("Allow", self._agent.allow)])
        return answer(incoming)

    def _offered(self, incoming: Incoming) -> Coroutine[Any, Any, None]:
        """Take a re-INVITE or UPDATE, which may hold an offer.

        Spec: RFC 3261 §14.2; RFC 3311 §5.2; RFC 4028 §9
        """
        request = incoming.request
        described = describes_session(request)
        self.timer.check(request)
        _ = request.contacts  # what cannot be read is refused before anything has changed
        self.calling.receive(request.method, described)
        self._pending.append(incoming)
        if request.method == "INVITE":
            incoming.on_cancel = lambda _: self.refuse(incoming, PeerError("cancelled", 487))
        return self._answer(incoming, described)

    async def _answer(self, incoming: Incoming, described: bool) -> None:
        request = incoming.request
        try:
            answer = await self.description_for(request, described)
            if incoming not in self._pending:
                return  # cancelled, or the call has ended
            if described:
                self.remote = Description.of(request)
            self.accept(incoming, answer, described, ())
        except PeerError as error:
            self.refuse(incoming, error)
        except Exception:
            _log.failure("A change of a session was not understood")
            self.refuse(incoming, PeerError("", 500))

    async def description_for(self, request: Request, described: bool) -> Description:
        """Return our answer to an offer, or our offer where one is wanted."""
        if not described:
            if request.method != "INVITE":
                return Description()
            if self.on_offer is None and self.local.body:
                return self.local
        offer = Description.of(request) if described else Description()
        if described and self.local.body and offer == self.remote:
            return self.local  # a refresh: nothing has changed
        if self.on_offer is None:
            raise PeerError("this session is not to be changed", 488)
        result = self.on_offer(offer)
        return as_description(await result if isinstance(result, Awaitable) else result)

    def refuse(self, incoming: Incoming, error: PeerError) -> None:
        """Refuse a re-INVITE or UPDATE that waits."""
        if incoming not in self._pending:
            return
        self._pending.remove(incoming)
        request = incoming.request
        self.calling.answer(
            request.method, error.status, False, request.cseq.number, self._agent.now()
        )
        incoming.refuse(error)
        self._pump()
        self._advance()

    def accept(
        self, incoming: Incoming, answer: Description, described: bool, headers: Fields
    ) -> None:
        """Send the 2xx to an INVITE or UPDATE; that to an INVITE is repeated until its ACK.

        Args:
            incoming: the request.
            answer: the description to send: an answer, an offer, or nothing.
            described: the request holds an offer.
            headers: more header fields, which count more than those made here.
        """
        request = incoming.request
        method, number = request.method, request.cseq.number
        now = self._agent.now()
        fields = [("Contact", self.dialog.contact), *self._ours(), *self.timer.grant(request, now)]
        if incoming in self._pending:
            self._pending.remove(incoming)
        if answer.body:
            fields.append(("Content-Type", answer.content_type))
            self.local = answer
        response = incoming.response(200, merged(fields, headers), answer.body)
        self.calling.answer(method, 200, bool(answer.body), number, now)
        self.dialog.accept(request)
        if method == "INVITE":
            self._answers[number] = (incoming, response)
            if not described and answer.body:
                self._offers.add(number)
        incoming.respond(response)
        self._pump()
        self._advance()

    def _pracked(self, incoming: Incoming) -> Coroutine[Any, Any, None] | None:
        """Take a PRACK: it ends the repeating, and may hold an answer or another offer.

        Spec: RFC 3262 §3, §5
        """
        request = incoming.request
        text = request.first("RAck")
        if text is None:
            raise PeerError("a PRACK needs a RAck")
        described = describes_session(request)
        answers = self.calling.pracked(RAck.parse(text), self._number)
        self._reliable = None
        self._pump()
        answering = None
        if described and not answers:
            self.calling.receive("PRACK", True)
            self._pending.append(incoming)
            answering = self._answer(incoming, True)
        else:
            if described:
                self.remote = Description.of(request)
                self._tell(self.on_answer, self.remote)
            incoming.reply(200)
        self._tell(self.on_heard, True)
        self._advance()
        return answering

    # Reliable provisional responses of ours and of the peer.

    def reliably(self, incoming: Incoming, response: Response, described: bool) -> None:
        """Send a provisional response until its PRACK comes; one at a time.

        Spec: RFC 3262 §3
        """
        rseq = self.calling.reserve(described, self._agent.now())
        response.add("Require", "100rel")
        response.add("RSeq", str(rseq))
        self._reliable = (incoming, response)
        incoming.respond(response)
        self._pump()

    def progressed(self, response: Response) -> bool:
        """A reliable provisional response came: acknowledge it; False if it is a repeat.

        Spec: RFC 3262 §4, §5
        """
        rseq = delta_seconds(response.first("RSeq"), 0)
        described = describes_session(response)
        if not self.calling.heard(rseq, described):
            return False
        if described:
            self.remote = Description.of(response)
        offered = described and self.calling.outstanding == THEIRS
        rack = f"{rseq} {response.cseq.number} INVITE"
        acknowledging = Deferred.fromCoroutine(self._prack(rack, offered))
        acknowledging.addErrback(self._not_pracked)
        return True

    async def _prack(self, rack: str, offered: bool) -> None:
        fields = [("RAck", rack)]
        answer = Description()
        if offered:
            if self.on_offer is not None:
                result = self.on_offer(self.remote)
                answer = as_description(await result if isinstance(result, Awaitable) else result)
                self.local = answer
                fields.append(("Content-Type", answer.content_type))
            self.calling.answered()
        if not self.over:
            await self._request(self.dialog.request("PRACK", fields, answer.body))

    def _not_pracked(self, failure: Failure) -> None:
        if failure.check(PeerError):
            _log.info("An offer in a provisional response is refused: {why}", why=failure.value)
        else:
            _log.failure("A provisional response was not acknowledged", failure)

    # Requests of ours.

    async def _change(
        self, method: str, offer: Description, headers: Fields, wait: bool = True
    ) -> Description:
        """Send an INVITE or UPDATE until it does not cross another; return the answer."""
        for _ in range(MOST_TRIES):
            if not wait and (self.calling.invited or self.calling.outstanding == THEIRS):
                crossed = self.request.response(491)
                crossed.local = True
                raise CallFailed(crossed)
            await self._turn(method, bool(offer.body))
            response = await self._send(method, offer, headers)
            status = response.status
            if status < 300:
                return self.remote if describes_session(response) else Description()
            if self.over:
                raise CallFailed(response)
            if status == 491:
                await self._pause(self.calling.pause())
            elif status == 500 and response.has("Retry-After"):
                seconds = delta_seconds(response.first("Retry-After"), 0)
                if seconds > _LONGEST_PAUSE:
                    break
                await self._pause(max(seconds, self.calling.pause()))
            elif status == 500 and response.cseq.number < self.dialog.local_seq:
                continue  # overtaken on the way by a later request of ours (§12.2.2)
            elif status != 422 or not self.timer.refused(response):
                break
        raise CallFailed(response)

    def _send(self, method: str, offer: Description, headers: Fields) -> Deferred[Response]:
        fields = [*self._ours(), *self.timer.ask()]
        if offer.body:
            fields.append(("Content-Type", offer.content_type))
        request = self.dialog.request(method, merged(fields, headers), offer.body)
        self.calling.begin(method, bool(offer.body))
        attempt = Attempt(self)
        waiting: Deferred[Response] = Deferred()
        self._running.append(waiting)
        sending = Deferred.fromCoroutine(
            self._agent.request(
                request,
                flow=self._path(),
                next_seq=self.dialog.next_seq,
                redirections=0,
                sent=attempt.begun,
                again=attempt.again,
            )
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
        """The final response to an INVITE or UPDATE of ours inside the dialog has come."""
        method, status = request.method, response.status
        described = describes_session(response)
        self.calling.finish(method, status, described)
        if status < 300:
            try:
                self.taken(request, response)
                if offer.body:
                    self.local = offer
                    if described:
                        self.remote = Description.of(response)
            except PeerError as error:
                _log.info("A peer accepts what it does not understand: {why}", why=error.why)
            if method == "INVITE":
                self.acknowledge(response, attempt, described and not offer.body)
        wanted = waiting in self._running
        if wanted:
            self._running.remove(waiting)
        if status >= 300:
            self._ended_by(response)
        if wanted:
            waiting.callback(response)
        self._pump()
        self._advance()

    def _broken(self, failure: Failure, waiting: Deferred[Response]) -> None:
        _log.failure("Sending a request in a call failed", failure)
        if waiting in self._running:
            self._running.remove(waiting)
            waiting.errback(failure)

    def taken(self, request: Request, response: Response) -> None:
        """A 2xx to an INVITE or UPDATE of ours came: follow its target and session timer."""
        self.dialog.answered(response)
        self._note_peer(response)
        if not self.over:
            self.timer.granted(request, response, self._agent.now())
        self._pump()

    def acknowledge(self, response: Response, attempt: Attempt, offered: bool) -> None:
        """Send the ACK for a 2xx; one that answers an offer waits for :attr:`on_offer`.

        Spec: RFC 3261 §13.2.2.4
        """
        if not offered or self.over:
            attempt.acknowledge(response, Description())
            return
        self.remote = Description.of(response)
        answering = Deferred.fromCoroutine(self._answer_in_ack(response, attempt))
        answering.addErrback(self._no_answer, response, attempt)

    async def _answer_in_ack(self, response: Response, attempt: Attempt) -> None:
        if self.on_offer is None:
            raise PeerError("nobody answers an offer in a response", 488)
        result = self.on_offer(self.remote)
        answer = as_description(await result if isinstance(result, Awaitable) else result)
        self.local = answer
        attempt.acknowledge(response, answer)
        self.calling.answered()
        self._advance()

    def _no_answer(self, failure: Failure, response: Response, attempt: Attempt) -> None:
        """The offer in a 2xx is not acceptable: acknowledge it, then end the call.

        Differs: RFC 3261 §13.2.2.4 wants a valid answer in that ACK; descriptions are not
        read here, so there is none.
        """
        error = failure.value
        if not isinstance(error, PeerError):
            _log.failure("An offer was not answered", failure)
        attempt.acknowledge(response, Description())
        self.calling.answered()
        status = error.status if isinstance(error, PeerError) else 500
        self.abandon(str(Reason("SIP", status)))

    async def _request(self, request: Request) -> Response:
        return await self._agent.request(
            request, flow=self._path(), next_seq=self.dialog.next_seq, redirections=0
        )

    def _ended_by(self, response: Response) -> None:
        """End the call when a response says that the peer has no part in it any more.

        Spec: RFC 3261 §12.2.1.2; RFC 4028 §10
        """
        if self.over:
            return
        if not self.dialog.answered(response):
            self.abandon(str(Reason("SIP", response.status, response.reason)))

    def _ours(self) -> list[tuple[str, str]]:
        agent = self._agent
        return [("Allow", agent.allow), ("Supported", ", ".join(sorted(agent.supported)))]

    def _note_peer(self, message: Request | Response) -> None:
        if message.has("Allow"):
            self._allow = frozenset(message.values("Allow"))

    def _path(self) -> Flow | None:
        """Return the connection of a neighbour, which may be behind a NAT; else ``None``."""
        flow = self._flow
        direct = flow is not None and flow.reliable and flow.open and not self.dialog.routes
        return flow if direct else None

    def send_ack(self, ack: Request) -> None:
        """Send an ACK for a 2xx, which nobody answers."""
        self._agent.endpoint.send_ack(ack, flow=self._path())

    # Turns.

    async def _turn(self, method: str, described: bool) -> None:
        """Wait until a request may go out."""
        if self.over:
            raise CallEnded(self.ending)
        if self.early and method == "INVITE":
            raise UsageError("a call is changed by re-INVITE once it was accepted")
        if (method == "BYE" or not self._turns) and self._free(method, described):
            return
        waiting: Deferred[None] = Deferred()
        self._turns.append((method, described, waiting))
        await waiting

    def _free(self, method: str, described: bool) -> bool:
        if method == "BYE":
            return self.caller or self._number not in self._answers
        return self.calling.free(method, described)

    def _advance(self) -> None:
        """Let those go on whose turn has come."""
        for turn in list(self._turns):
            method, described, waiting = turn
            if turn not in self._turns:
                return  # whoever went on has ended the call
            if waiting.called:
                self._turns.remove(turn)
            elif self._free(method, described):
                self._turns.remove(turn)
                waiting.callback(None)

    def wait_for_ack(self) -> Deferred[None]:
        """Return what fires when the ACK for the first 2xx comes; CallEnded if none does."""
        waiting: Deferred[None] = Deferred()
        if self.over:
            waiting.errback(CallEnded(self.ending))
        else:
            self._acks.append(waiting)
        return waiting

    async def _pause(self, seconds: float) -> None:
        waiting: Deferred[None] = Deferred()
        alarm = Alarm(lambda _: None if waiting.called else waiting.callback(None))
        alarm.deadline = self._agent.now() + seconds
        self._agent.arm(alarm)
        await waiting
        if self.over:
            raise CallEnded(self.ending)

    # Time.

    def _woken(self, now: float) -> None:
        if self.calling.deadline <= now:
            self.calling.wake(now)
        if self.timer.deadline <= now:
            self.timer.wake(now)
        for what, number in self.calling.take():
            if what == REPEAT:
                self._repeat(self._answers.get(number))
            elif what == REPEAT_RELIABLE:
                self._repeat(self._reliable)
            elif what == UNACKNOWLEDGED:
                self.abandon(str(Reason("SIP", 408, "no ACK came")))
                return
            else:
                self._tell(self.on_heard, False)
        due = self.timer.take()
        if due == EXPIRED:
            self.abandon(str(Reason("SIP", 408, "the session timer expired")))
        elif due == REFRESH:
            refreshing = Deferred.fromCoroutine(self._refresh())
            refreshing.addErrback(self._not_refreshed)
        self._pump()

    def _repeat(self, said: tuple[Incoming, Response] | None) -> None:
        if said is not None:
            incoming, response = said
            self._agent.endpoint.respond(incoming.transaction, response)

    async def _refresh(self) -> None:
        """Keep the session alive, by UPDATE where the peer knows it.

        Spec: RFC 4028 §7.4, §10
        """
        if "UPDATE" in self._allow or not self.local.body:
            await self._change("UPDATE", Description(), ())
        else:
            await self._change("INVITE", self.local, ())

    def _not_refreshed(self, failure: Failure) -> None:
        if failure.check(CallEnded) or self.over:
            return
        if not failure.check(CallFailed):
            _log.failure("Refreshing a session failed", failure)
        self.timer.failed(self._agent.now())
        self._pump()

    def _pump(self) -> None:
        self._alarm.deadline = min(self.calling.deadline, self.timer.deadline)
        self._agent.arm(self._alarm)

    # The end.

    def abandon(self, reason: str) -> None:
        """End the call without waiting for anybody; say BYE, and tell the owner."""
        if self.over:
            return
        self._send_bye([("Reason", reason)])
        self.finish(reason)
        self._tell(self.on_bye, reason)

    def _send_bye(self, headers: Fields) -> Deferred[Response | None]:
        request = self.dialog.request("BYE", list(headers))
        sending = Deferred.fromCoroutine(self._request(request))
        return sending.addErrback(_bye_failed)

    def finish(self, reason: str) -> None:
        """The call is over: answer what waits, forget the dialog."""
        if self.over:
            return
        self.over = True
        self.ending = reason
        self.dialog.state = ENDED
        self.calling.stop()
        self.timer.stop()
        self._alarm.deadline = NEVER
        pending, self._pending = self._pending, []
        for incoming in pending:
            incoming.refuse(PeerError("", 487))
        self._answers.clear()
        self._reliable = None
        self._agent.off_dialog(self.dialog.id)
        self._over(self)
        turns, self._turns = self._turns, []
        waiting: Sequence[Deferred[Any]] = [
            *(turn[2] for turn in turns),
            *self._running,
            *self._acks,
        ]
        self._running, self._acks = [], []
        for one in waiting:
            if not one.called:
                one.errback(CallEnded(reason))

    def _tell(self, hear: Callable[[Any], object] | None, what: object) -> None:
        if hear is not None:
            try:
                hear(what)
            except Exception:
                _log.failure("What happened in a call was not understood")


class Attempt:
    """One INVITE of ours inside or outside a dialog: its ACK, sent again with each 2xx."""

    __slots__ = ("_ack", "_call", "exchange")

    def __init__(self, call: Call | None) -> None:
        self._call = call
        self._ack: Request | None = None
        self.exchange: Exchange | None = None

    def begun(self, exchange: Exchange) -> None:
        """Take note of the exchange of the latest try."""
        self.exchange = exchange

    def bind(self, call: Call) -> None:
        """Say which call the INVITE has made."""
        self._call = call

    def again(self, response: Response) -> None:
        """The 2xx came again: so goes its ACK."""
        if self._ack is not None and self._call is not None:
            self._call.send_ack(self._ack.copy())

    def acknowledge(self, response: Response, answer: Description) -> None:
        """Send the ACK with the INVITE's credentials.

        Spec: RFC 3261 §13.2.2.4
        """
        call = self._call
        if call is None:
            return
        fields = self.credentials()
        if answer.body:
            fields.append(("Content-Type", answer.content_type))
        self._ack = call.dialog.ack(response.cseq.number, fields, answer.body)
        call.send_ack(self._ack.copy())

    def credentials(self) -> list[tuple[str, str]]:
        """Return the credentials that the INVITE went out with."""
        if self.exchange is None:
            return []
        sent = self.exchange.request
        return [(name, value) for name in _CREDENTIALS for value in sent.all(name)]


def _bye_failed(failure: Failure) -> None:
    _log.failure("Sending a BYE failed", failure)
