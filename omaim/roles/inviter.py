"""An inviter: make calls, and be called.

:meth:`Inviter.invite` sends an INVITE and returns the :class:`~omaim.roles.call.Call` that
comes of it; what others ask of us arrives at ``on_invite(Invitation)``. Session descriptions
go through unread. A server between two parties hands in a whole INVITE instead of a target,
and answers the other one with header fields of its choice.

Spec: RFC 3261 §13; RFC 3262; RFC 3891; RFC 4028; RFC 6026
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from omaim.errors import PeerError, Unavailable, UsageError
from omaim.roles.attempt import Attempt
from omaim.roles.call import Call
from omaim.roles.description import (
    Answered,
    CallEnded,
    CallFailed,
    Description,
    Fields,
    describes_session,
    merged,
)
from omaim.roles.incoming import Incoming
from omaim.roles.invitation import Invitation
from omaim.roles.referrer import Referrer
from omaim.roles.user_agent import UserAgent
from omaim.sip.calling import Calling
from omaim.sip.dialog import Dialog, DialogId, as_uac
from omaim.sip.exchange import Exchange
from omaim.sip.flow import Flow
from omaim.sip.headers import DialogRef, Reason
from omaim.sip.message import RETRY_AFTER, Request, Response
from omaim.sip.session_timer import SessionTimer

__all__ = ["CallEnded", "CallFailed", "Description", "Invitation", "Inviter"]

MOST_FORKS: Final = 32  # dialogs of one INVITE that are looked after
MOST_RAISES: Final = 3  # 422 answers obeyed in a row
RETRY: Final = (("Retry-After", RETRY_AFTER),)  # with 503
ENDED: Final = 1000  # dialogs whose end is remembered, for Replaces

_log = Logger()

Answering = Callable[[Invitation], Awaitable[object] | object]


class Inviter:
    """All calls of one user agent; it answers that agent's INVITEs.

    Args:
        agent: sends and receives; its contact is where peers send later requests. Option
            tags that the owner understands in an INVITE (recipient-list-invite) belong into
            its ``supported``.
        session_expires: the session interval that we ask for, seconds; 0 asks for none.
        min_se: the shortest that we accept, seconds; at least 90.
        patience: seconds after which an invitation that nobody answered is answered 480.
        most: invitations that wait for an answer at a time; more are refused with 503.
        most_calls: calls at a time; more are refused with 503.
        referrer: takes REFERs; one of its own if ``None``.

    Attributes:
        on_invite: gets each :class:`~omaim.roles.invitation.Invitation`; it may be a
            coroutine. A PeerError that it raises refuses the invitation with its status,
            Unavailable with 503.
        calls: all calls, early ones too, by dialog.

    Spec: RFC 3261 §13; RFC 4028
    """

    def __init__(
        self,
        agent: UserAgent,
        *,
        session_expires: int = 1800,
        min_se: int = 90,
        patience: float = 300.0,
        most: int = 1000,
        most_calls: int = 100_000,
        referrer: Referrer | None = None,
    ) -> None:
        self.agent = agent
        self.session_expires = session_expires
        self.min_se = min_se
        self.patience = patience
        self.referrer = referrer or Referrer(agent)
        self.on_invite: Answering | None = None
        self.calls: dict[DialogId, Call] = {}
        self._most = most
        self._most_calls = most_calls
        self._waiting: dict[DialogId, Invitation] = {}
        self._ended: OrderedDict[DialogId, None] = OrderedDict()
        agent.supported |= {"timer", "replaces", "100rel"}
        agent.on("INVITE", self.receive, dialogs=True)
        for method in ("BYE", "UPDATE", "PRACK"):
            agent.on(method, _stray, dialogs=True)

    def __len__(self) -> int:
        return len(self.calls)

    # Making calls.

    async def invite(
        self,
        target: str,
        body: bytes = b"",
        content_type: str = "application/sdp",
        headers: Fields = (),
        *,
        provisional: Callable[[Response], object] | None = None,
        early: Callable[[Call], object] | None = None,
        on_offer: Callable[[Description], Answered] | None = None,
        request: Request | None = None,
        flow: Flow | None = None,
        redirections: int = 5,
    ) -> Call:
        """Invite somebody; return the call when it was accepted, its ACK being sent.

        Challenges are answered with the agent's credentials, a 3xx is followed, a 422 is
        obeyed. Of several who accept, the first is taken; the others get ACK and BYE.
        Cancelling the Deferred that awaits this gives up: CANCEL is sent, and BYE to who
        accepts nevertheless.

        Args:
            target: Request-URI; "" where ``request`` is given.
            body: the offer; empty to have the callee make it, which ``on_offer`` answers.
            content_type: of the body; a multipart may hold the offer.
            headers: more header fields, which count more than those made here.
            provisional: gets every 1xx, repeats of reliable ones left out.
            early: gets the call of each early dialog, to set its ``on_offer`` and others.
            on_offer: becomes that of the call, early or not.
            request: a whole INVITE to send instead, complete but for the Via: with its
                Route, identities and body. Session-Expires, Min-SE and, where they lack,
                Contact, Allow and Supported are set here.
            flow: the path to take, instead of looking for one.
            redirections: how many addresses of 3xx to try; 0 fails with the 3xx.

        Raises:
            CallFailed: nobody accepted, or it was given up; carries the response.
            Unavailable: there are too many calls.
            UsageError: no offer, and nobody who answers one.

        Spec: RFC 3261 §13.2
        """
        if len(self.calls) >= self._most_calls:
            raise Unavailable("there are too many calls")
        timer = SessionTimer(self.session_expires, self.min_se)
        built = self._request(target, Description(body, content_type), headers, request)
        if not describes_session(built) and on_offer is None:
            raise UsageError("an INVITE holds an offer, or on_offer answers that of the callee")
        raises = 0
        while True:
            for name in ("Session-Expires", "Min-SE"):
                built.remove(name)
            for name, value in timer.ask():
                built.add(name, value)
            outgoing = _Outgoing(self, built, provisional, early, on_offer)
            try:
                response = await self.agent.request(
                    built,
                    provisional=outgoing.progressed,
                    flow=flow,
                    redirections=redirections,
                    sent=outgoing.begun,
                    again=outgoing.again,
                )
            except CancelledError:
                outgoing.cancelled()
                raise CallFailed(built.response(487), cancelled=True) from None
            if response.status < 300:
                return outgoing.accepted(response)
            outgoing.failed()
            raises += 1
            if response.status != 422 or raises > MOST_RAISES or not timer.refused(response):
                raise CallFailed(response)
            built = built.copy()
            built.set("CSeq", f"{response.cseq.number + 1} INVITE")

    def _request(
        self, target: str, offer: Description, headers: Fields, request: Request | None
    ) -> Request:
        agent = self.agent
        if request is None:
            fields = merged(self._fields(), headers)
            if offer.body:
                fields.append(("Content-Type", offer.content_type))
            built = agent.make("INVITE", target, fields, offer.body)
        else:
            built = request.copy()
            for name, value in self._fields():
                if not built.has(name):
                    built.add(name, value)
        for wanted in ("Contact", "From"):
            given = [value for name, value in headers if name == wanted]
            if given and request is None:
                built.set(wanted, given[0])
        if not built.has("Contact"):
            built.add("Contact", self.contact(None))
        return built

    def _fields(self) -> list[tuple[str, str]]:
        agent = self.agent
        return [("Allow", agent.allow), ("Supported", ", ".join(sorted(agent.supported)))]

    def contact(self, incoming: Incoming | None) -> str:
        """Return our Contact value, for a request or for an answer to one."""
        agent = self.agent
        if agent.contact:
            return agent.contact
        endpoint = agent.endpoint
        uri = endpoint.uri(incoming.flow.transport) if incoming is not None else ""
        if not uri and endpoint.listeners:
            uri = endpoint.uri(endpoint.listeners[0].transport)
        return f"<{uri}>"

    def make_call(
        self, dialog: Dialog, request: Request, timer: SessionTimer, flow: Flow | None
    ) -> Call:
        """Return the call of a dialog that an INVITE of ours has made."""
        agent = self.agent
        calling = Calling(agent.ids, agent.endpoint.timing, True)
        calling.begin("INVITE", describes_session(request))
        call = Call(
            agent,
            self.referrer,
            dialog,
            request,
            calling,
            timer,
            caller=True,
            flow=flow,
            over=self.over,
        )
        self.calls[dialog.id] = call
        return call

    # Being called.

    async def receive(self, incoming: Incoming) -> None:
        """Answer an INVITE outside the dialogs that are known.

        Spec: RFC 3261 §13.3.1; RFC 3891 §3
        """
        request = incoming.request
        if request.to.tag:
            raise PeerError("no such dialog", 481)
        hear = self.on_invite
        if hear is None:
            raise PeerError("nobody is here to be invited", 480)
        if len(self._waiting) >= self._most or len(self.calls) >= self._most_calls:
            incoming.reply(503, RETRY)
            return
        replaces = self._replaced(request)
        invitation = Invitation(self, incoming, self.contact(incoming), replaces)
        key = invitation.call.dialog.id
        self._waiting[key] = invitation
        self.calls[key] = invitation.call
        try:
            result = hear(invitation)
            if isinstance(result, Awaitable):
                await result
        except CallEnded:
            pass
        except PeerError as error:
            invitation.refuse(error)
        except Unavailable as error:
            _log.error("An invitation was not served: {why}", why=str(error))
            invitation.reject(503, RETRY)
        except Exception:
            _log.failure("An invitation was not understood")
            invitation.refuse(PeerError("", 500))

    def _replaced(self, request: Request) -> Call | None:
        """Return the call that an INVITE is to replace.

        Raises:
            PeerError: 400, 481, 486 or 603, as it stands with that dialog.

        Spec: RFC 3891 §3
        """
        lines = request.all("Replaces")
        if not lines:
            return None
        if len(lines) > 1 or request.has("Join"):
            raise PeerError("an INVITE replaces one dialog, and does nothing else with it")
        wanted = DialogRef.parse(lines[0])
        if wanted.key in self._ended:
            raise PeerError("the dialog to replace has just ended", 603)
        call = self.calls.get(wanted.key)
        if call is None or (call.early and not call.caller):
            raise PeerError("no such dialog to replace", 481)
        if wanted.early_only and not call.early:
            raise PeerError("the dialog to replace is not early any more", 486)
        return call

    # What calls and invitations use.

    def over(self, call: Call) -> None:
        """A call has ended."""
        key = call.dialog.id
        if self.calls.get(key) is call:
            del self.calls[key]
        self.referrer.call_over(call)
        self._ended[key] = None
        if len(self._ended) > ENDED:
            self._ended.popitem(last=False)

    def settled(self, invitation: Invitation) -> None:
        """An invitation has its final response."""
        self._waiting.pop(invitation.call.dialog.id, None)


class _Outgoing:
    """One INVITE of ours outside a dialog, and all dialogs that come of it."""

    def __init__(
        self,
        inviter: Inviter,
        request: Request,
        provisional: Callable[[Response], object] | None,
        early: Callable[[Call], object] | None,
        on_offer: Callable[[Description], Answered] | None,
    ) -> None:
        self._inviter = inviter
        self._request = request
        self._provisional = provisional
        self._early = early
        self._on_offer = on_offer
        self._attempt = Attempt()
        self._calls: dict[str, Call] = {}  # by the callee's tag
        self._others: dict[str, Attempt] = {}  # who accepted too late
        self._call: Call | None = None
        self._over = False

    def begun(self, exchange: Exchange) -> None:
        """Another try goes out: with credentials, or to another address."""
        self._attempt.begun(exchange)
        self._drop()

    def progressed(self, response: Response) -> None:
        """A 1xx came.

        Spec: RFC 3261 §13.2.2.1; RFC 3262 §4
        """
        if self._over:
            return
        call = self._dialog_of(response)
        if call is not None and "100rel" in response.require and not call.progressed(response):
            return
        if self._provisional is not None:
            try:
                self._provisional(response)
            except Exception:
                _log.failure("A provisional response was not understood")

    def _dialog_of(self, response: Response) -> Call | None:
        """Return the call of an early dialog, a new one for a new tag."""
        tag = response.to.tag
        if response.status == 100 or not tag:
            return None
        call = self._calls.get(tag)
        if call is None and len(self._calls) < MOST_FORKS and response.has("Contact"):
            try:
                call = self._made(response)
            except PeerError as error:
                _log.info("A 1xx makes no dialog: {why}", why=error.why)
                return None
            self._calls[tag] = call
            if self._early is not None:
                try:
                    self._early(call)
                except Exception:
                    _log.failure("An early dialog was not understood")
        return call

    def _made(self, response: Response) -> Call:
        exchange = self._attempt.exchange
        flow = None if exchange is None else exchange.flow
        request = self._request if exchange is None else exchange.request
        dialog = as_uac(request, response, flow is not None and flow.secure)
        timer = SessionTimer(self._inviter.session_expires, self._inviter.min_se)
        call = self._inviter.make_call(dialog, request, timer, flow)
        call.on_offer = self._on_offer
        if describes_session(request):
            call.local = Description.of(request)
        return call

    def accepted(self, response: Response) -> Call:
        """The first 2xx came: that is the call.

        Raises:
            CallFailed: no dialog can be made of it.

        Spec: RFC 3261 §13.2.2.4
        """
        self._over = True
        call = self._calls.pop(response.to.tag, None)
        self._drop()
        try:
            if call is None:
                call = self._made(response)
            else:
                call.dialog.confirm(response)
        except PeerError as error:
            _log.info("A 2xx makes no dialog: {why}", why=error.why)
            if call is not None:
                call.finish("")
            raise CallFailed(response) from error
        self._call = call
        call.response = response
        described = describes_session(response)
        offered = not describes_session(call.request) and described and not call.remote.body
        call.calling.finish("INVITE", response.status, described)
        if described and not offered and not call.remote.body:
            call.remote = Description.of(response)
        try:
            call.taken(call.request, response)
        except PeerError as error:
            call.acknowledge(response, self._attempt, False)
            call.abandon(str(Reason("SIP", error.status, error.why)))
            raise CallFailed(response) from error
        call.acknowledge(response, self._attempt, offered)
        return call

    def again(self, response: Response) -> None:
        """A 2xx after the first: the same again, or another who accepted.

        Spec: RFC 3261 §13.2.2.4
        """
        tag = response.to.tag
        if self._call is not None and tag == self._call.dialog.remote_tag:
            self._attempt.again(response)
            return
        known = self._others.get(tag)
        if known is not None:
            known.again(response)
            return
        if len(self._others) >= MOST_FORKS:
            return
        attempt = Attempt()
        attempt.exchange = self._attempt.exchange
        self._others[tag] = attempt
        try:
            call = self._made(response)
        except PeerError as error:
            _log.info("A 2xx makes no dialog: {why}", why=error.why)
            return
        call.calling.finish("INVITE", response.status, False)
        call.acknowledge(response, attempt, False)
        call.abandon(str(Reason("SIP", 487 if self._call is None else 200)))

    def cancelled(self) -> None:
        """We gave up; who accepts nevertheless gets ACK and BYE."""
        self._over = True
        self._drop()

    def failed(self) -> None:
        """The final response was a refusal: all early dialogs are over (§13.2.2.3)."""
        self._over = True
        self._drop()

    def _drop(self) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.finish("")


def _stray(incoming: Incoming) -> Response:
    """Answer what belongs to no call (RFC 3261 §12.2.2, §15.1.2)."""
    raise PeerError("no such call", 481)
