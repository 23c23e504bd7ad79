"""A call: one INVITE dialog, from its making to its end.

A :class:`Call` changes the session (:meth:`Call.reinvite`, :meth:`Call.update`), ends it
(:meth:`Call.bye`), and answers what the peer does in the dialog. It keeps the session timer,
repeats a 2xx until its ACK comes, and settles crossing changes, all by itself. Session
descriptions go through unread.

Calls come from :mod:`omaim.roles.inviter`.

Spec: RFC 3261 §12 to §15; RFC 3262; RFC 3311; RFC 3326; RFC 4028
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import PeerError, Unavailable, UsageError
from omaim.roles.attempt import Attempt
from omaim.roles.changes import Changes
from omaim.roles.description import (
    Answered,
    CallEnded,
    Description,
    Fields,
    as_description,
    describes_session,
    merged,
)
from omaim.roles.incoming import Incoming
from omaim.roles.referrer import Reference, Referral, Referrer
from omaim.roles.turns import Turns
from omaim.roles.user_agent import UserAgent
from omaim.roles.within import Within
from omaim.sip.calling import REPEAT, REPEAT_RELIABLE, THEIRS, UNACKNOWLEDGED, Calling
from omaim.sip.dialog import CONFIRMED, EARLY, ENDED, Dialog
from omaim.sip.flow import Flow
from omaim.sip.headers import RAck, Reason
from omaim.sip.message import Request, Response
from omaim.sip.pacing import delta_seconds
from omaim.sip.session_timer import EXPIRED, REFRESH, SessionTimer
from omaim.timers import NEVER, Alarm

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
        self.within = Within(agent, dialog, flow)
        self._over = over
        self._number = request.cseq.number
        self._alarm = Alarm(self._woken)
        self._allow: frozenset[str] = frozenset()
        self.turns = Turns(self._free)
        self._changes = Changes(self, agent)
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
        return await self._changes.change("INVITE", offer, headers, wait)

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
        return await self._changes.change("UPDATE", Description(body, content_type), headers, wait)

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
            await self.turn("BYE", False)
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
        response = await self.within.request(request)
        self.ended_by(response)
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
        self.turns.advance()

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
        except Unavailable as error:
            _log.error("A change of a session is not possible: {why}", why=str(error))
            self.refuse(incoming, PeerError(str(error), 503))
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
        return await self._ask(offer)

    async def _ask(self, offer: Description) -> Description:
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
        self.pump()
        self.turns.advance()

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
        fields = [("Contact", self.dialog.contact), *self.ours(), *self.timer.grant(request, now)]
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
        self.pump()
        self.turns.advance()

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
        self.pump()
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
        self.turns.advance()
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
        self.pump()

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
            answer = self.local = await self._ask(self.remote)
            fields.append(("Content-Type", answer.content_type))
            self.calling.answered()
        if not self.over:
            await self.within.request(self.dialog.request("PRACK", fields, answer.body))

    def _not_pracked(self, failure: Failure) -> None:
        if failure.check(PeerError):
            _log.info("An offer in a provisional response is refused: {why}", why=failure.value)
        else:
            _log.failure("A provisional response was not acknowledged", failure)

    # Requests of ours.

    def taken(self, request: Request, response: Response) -> None:
        """A 2xx to an INVITE or UPDATE of ours came: follow its target and session timer."""
        self.dialog.answered(response)
        self._note_peer(response)
        if not self.over:
            self.timer.granted(request, response, self._agent.now())
        self.pump()

    def acknowledge(self, response: Response, attempt: Attempt, offered: bool) -> None:
        """Send the ACK for a 2xx; one that answers an offer waits for :attr:`on_offer`.

        Spec: RFC 3261 §13.2.2.4
        """
        if not offered or self.over:
            attempt.acknowledge(self.dialog, response, Description(), self.within.acknowledge)
            return
        self.remote = Description.of(response)
        answering = Deferred.fromCoroutine(self._answer_in_ack(response, attempt))
        answering.addErrback(self._no_answer, response, attempt)

    async def _answer_in_ack(self, response: Response, attempt: Attempt) -> None:
        answer = self.local = await self._ask(self.remote)
        attempt.acknowledge(self.dialog, response, answer, self.within.acknowledge)
        self.calling.answered()
        self.turns.advance()

    def _no_answer(self, failure: Failure, response: Response, attempt: Attempt) -> None:
        """The offer in a 2xx is not acceptable: acknowledge it, then end the call.

        Differs: RFC 3261 §13.2.2.4 wants a valid answer in that ACK; descriptions are not
        read here, so there is none.
        """
        error = failure.value
        if not isinstance(error, PeerError):
            _log.failure("An offer was not answered", failure)
        attempt.acknowledge(self.dialog, response, Description(), self.within.acknowledge)
        self.calling.answered()
        status = error.status if isinstance(error, PeerError) else 500
        self.abandon(str(Reason("SIP", status)))

    def ended_by(self, response: Response) -> None:
        """End the call when a response says that the peer has no part in it any more.

        Spec: RFC 3261 §12.2.1.2; RFC 4028 §10
        """
        if self.over:
            return
        if not self.dialog.answered(response):
            self.abandon(str(Reason("SIP", response.status, response.reason)))

    # What its parts use.

    def ours(self) -> list[tuple[str, str]]:
        """Return the header fields that say what we can."""
        agent = self._agent
        return [("Allow", agent.allow), ("Supported", ", ".join(sorted(agent.supported)))]

    def _note_peer(self, message: Request | Response) -> None:
        if message.has("Allow"):
            self._allow = frozenset(message.values("Allow"))

    # Turns.

    async def turn(self, method: str, described: bool) -> None:
        """Wait until a request may go out."""
        if self.over:
            raise CallEnded(self.ending)
        if self.early and method == "INVITE":
            raise UsageError("a call is changed by re-INVITE once it was accepted")
        waiting = self.turns.wait(method, described)
        if waiting is not None:
            await waiting

    def _free(self, method: str, described: bool) -> bool:
        if method == "BYE":
            return self.caller or self._number not in self._answers
        return self.calling.free(method, described)

    def wait_for_ack(self) -> Deferred[None]:
        """Return what fires when the ACK for the first 2xx comes; CallEnded if none does."""
        waiting: Deferred[None] = Deferred()
        if self.over:
            waiting.errback(CallEnded(self.ending))
        else:
            self._acks.append(waiting)
        return waiting

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
            self._changes.refresh("UPDATE" in self._allow)
        self.pump()

    def _repeat(self, said: tuple[Incoming, Response] | None) -> None:
        if said is not None:
            incoming, response = said
            endpoint = self._agent.endpoint
            if not endpoint.lags(incoming.transaction.reply_to):
                endpoint.respond(incoming.transaction, response)

    def pump(self) -> None:
        """Be woken when the next moment of the machines comes."""
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
        sending = Deferred.fromCoroutine(self.within.request(request))
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
        waiting: list[Deferred[Any]] = [
            *self.turns.end(),
            *self._changes.end(),
            *self._acks,
        ]
        self._acks = []
        for one in waiting:
            if not one.called:
                one.errback(CallEnded(reason))

    def _tell(self, hear: Callable[[Any], object] | None, what: object) -> None:
        if hear is not None:
            try:
                hear(what)
            except Exception:
                _log.failure("What happened in a call was not understood")


def _bye_failed(failure: Failure) -> None:
    if not failure.check(CancelledError):  # whoever waited for the answer does so no more
        _log.failure("Sending a BYE failed", failure)
