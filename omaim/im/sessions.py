"""Session mode between two: an INVITE comes in, and what becomes of it.

Read :meth:`Sessions.invited`: it is the paragraph of the specification. The server is a
back-to-back user agent: it answers the caller's INVITE and makes one of its own, along the Route
that the core gave it. MSRP passes it (IM-7, IM-8), or, where that is allowed and nobody wants
it recorded, goes from client to client (IM-9), the descriptions untouched.

Spec: OMA SIMPLE IM 1.0 (session mode, participating functions); RFC 3261; RFC 4975; RFC 7092
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger

from omaim.bodies.message_media import TLS
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart, is_multipart, parse_multipart
from omaim.bodies.sdp import MEDIA_TYPE as SDP
from omaim.errors import PeerError
from omaim.grammar import quote
from omaim.im.conversation import Conversing
from omaim.im.coupling import Coupling, hang_up
from omaim.im.guest_lists import OPTION
from omaim.im.joining import device_of
from omaim.im.journal import Journal
from omaim.im.large import LARGE_TAG, LargeStore, is_large
from omaim.im.media_plan import MediaPlan, offered_lines
from omaim.im.participating import ANONYMOUS, ANONYMOUS_FROM, TERMINATING, Leg, leg_of
from omaim.im.policy import ISettings, Policy, Refusal, Settings
from omaim.im.recording import SESSION, Recorder
from omaim.im.sending import may_wait
from omaim.net.msrp import MsrpEndpoint
from omaim.node.events import SessionRefused
from omaim.node.hooks import Hooks, Refuse
from omaim.node.questions import MayInvite
from omaim.roles.call import Call
from omaim.roles.description import CallFailed, Description
from omaim.roles.invitation import Invitation
from omaim.roles.inviter import Inviter
from omaim.sip.headers import DialogRef, NameAddr
from omaim.sip.identity import ASSERTED, SERVED
from omaim.sip.message import Request, Response
from omaim.sip.proxying import forwarded_copy, postprocess
from omaim.sip.uri import canonical_aor

TAG: Final = "+g.oma.sip-im"  # feature tag of the service, in Contact and Accept-Contact
STOPPING: Final = 'SIP;cause=503;text="the server stops"'
AWAY: Final = "the recipient is not available"

# What belongs to one side of the server only.
_HOP_BY_HOP: Final = (
    "Via", "Record-Route", "Contact", "Session-Expires", "Min-SE", "Allow", "Allow-Events",
    "Supported", "Require", "Proxy-Require", "Proxy-Authorization", "Authorization", "Replaces",
    "Recv-Info", "Server", SERVED,
)  # fmt: skip
# What the caller may learn of why the callee refused.
_TOLD: Final = ("Warning", "Retry-After", "Reason", "Contact", "Accept", "Unsupported", "Allow")

Service = Callable[[Invitation, Leg], Awaitable[object]]

_log = Logger()


class Sessions:
    """Serves INVITE for the users of one domain.

    Args:
        inviter: makes and takes the calls.
        msrp: makes the sessions.
        services: what serves an INVITE to each address of our own.
        finds: serves other addresses of ours, as rooms have; ``None`` for what is none.
        ours: whether an address is one of our users.
        direct: let MSRP go from client to client where nobody wants it recorded.
        secure_peers: offer MSRP over TLS to other domains.
        secure_clients: offer MSRP over TLS to the devices of our users.
        idle: seconds without a message after which a conversation ends; 0 for never.

    Attributes:
        conversations: those that go on.
        store: takes large messages for who is away; ``None`` for nobody does.
    """

    def __init__(
        self,
        domain: str,
        inviter: Inviter,
        msrp: MsrpEndpoint,
        policy: Policy,
        settings: ISettings,
        hooks: Hooks,
        recorder: Recorder,
        journal: Journal,
        services: Mapping[str, Service],
        finds: Callable[[str], Service | None],
        ours: Callable[[str], bool],
        now: Callable[[], float],
        *,
        direct: bool = False,
        secure_peers: bool = False,
        secure_clients: bool = False,
        idle: float = 300.0,
    ) -> None:
        self.conversations: set[Conversing] = set()
        self.store: LargeStore | None = None
        self._domain = domain
        self._inviter = inviter
        self._msrp = msrp
        self._policy = policy
        self._settings = settings
        self._hooks = hooks
        self._recorder = recorder
        self._journal = journal
        self._services = services
        self._finds = finds
        self._ours = ours
        self._now = now
        self._direct = direct
        self._secure_peers = secure_peers
        self._secure_clients = secure_clients
        self._idle = idle

    async def invited(self, invitation: Invitation) -> None:
        """Serve an INVITE: one to a service or a room of ours, or from one person to another.

        Raises:
            PeerError: it is answered with that.
        """
        request = invitation.request
        address = canonical_aor(request.uri)
        service = self._services.get(address) or self._finds(address)
        leg = leg_of(request, service is not None)
        try:
            if service is not None and leg.side != TERMINATING:
                await service(invitation, leg)
                return
            if OPTION in request.require:
                invitation.reject(420, [("Unsupported", OPTION)])  # RFC 5366 §5.1
                return
            large = invitation.described and is_large(request, invitation.call.remote)
            self._welcome(leg)
            await self._ask(leg, address, request)
            if large and leg.side == TERMINATING:
                await self._now_or_later(invitation, leg, address)
            else:
                self._available(leg)
                await self._connect(invitation, leg, address, large)
        except CallFailed as failed:
            _pass_refusal(invitation, failed)
            raise
        except PeerError as error:
            self._refused(leg, address, error)
            raise

    async def _now_or_later(self, invitation: Invitation, leg: Leg, address: str) -> None:
        """Serve a large message to a user of ours: to a device, or for later.

        Spec: OMA SIMPLE IM 1.0 (large message mode, deferred messaging)
        """
        settings: Settings = self._settings.of(leg.user)
        keeps = settings.defers and self.store is not None
        try:
            self._available(leg)
            await self._connect(invitation, leg, address, True)
        except PeerError as error:
            if not keeps or invitation.answered or not may_wait(error.status):
                raise
            assert self.store is not None
            await self.store.take(invitation, leg)

    def admit(self, leg: Leg) -> None:
        """Make sure that a user of ours wants to be invited by somebody, now.

        Raises:
            PeerError: 403, or 480.
        """
        self._welcome(leg)
        self._available(leg)

    def _welcome(self, leg: Leg) -> None:
        """Make sure that the callee wants to be invited by the caller.

        Raises:
            PeerError: 403, or 480 where the caller is not to learn that.

        Spec: OMA SIMPLE IM 1.0 (access policy)
        """
        if leg.side == TERMINATING and not self._policy.welcome(leg):
            raise Refusal(AWAY, 480)

    def _available(self, leg: Leg) -> None:
        """Make sure that the callee can be invited now.

        Raises:
            PeerError: 480.
        """
        settings: Settings = self._settings.of(leg.user)
        if leg.side == TERMINATING and not (settings.willing and leg.registered):
            raise PeerError(AWAY, 480)

    async def _ask(self, leg: Leg, callee: str, request: Request) -> None:
        if not self._hooks.wanted(MayInvite):
            return
        opinion = await self._hooks.ask(
            MayInvite(
                domain=self._domain,
                side="terminating" if leg.side == TERMINATING else "originating",
                caller=leg.shown,
                callee=callee,
                subject=request.first("Subject") or "",
            )
        )
        if isinstance(opinion, Refuse):
            raise Refusal(opinion.reason, opinion.status)

    # Both calls

    async def _connect(self, invitation: Invitation, leg: Leg, callee: str, large: bool) -> None:
        """Invite the callee as the caller invited us, and bring both together."""
        if not invitation.described:
            raise PeerError("an INVITE without an offer cannot be served here", 488)
        offer = invitation.call.remote
        plan: MediaPlan | None = None
        if large or not self._is_direct(leg):
            plan = MediaPlan(self._msrp, offer, self._onward_secure(leg, callee, offer))
        try:
            far = await self._invite(invitation, leg, plan, offer)
        except BaseException:
            if plan is not None:
                plan.close("nobody came")
            raise
        conversing = Conversing(
            leg,
            callee,
            invitation.request,
            self._recorder,
            self._journal,
            self._now,
            self._over,
            self._inviter.agent,
            large,
        )
        try:
            answer = far.remote if plan is None else await plan.answer(far.remote)
            coupling = Coupling(invitation.call, far, conversing.ended)
            if plan is None:
                coupling.relay_offers()
            await conversing.begin(coupling, plan, self._hooks, self._domain, self._idle)
            self.conversations.add(conversing)
            await invitation.accept(answer.body, answer.content_type, self._who_answers(far))
        except BaseException as error:
            conversing.ended("")
            hang_up(far, f"SIP;cause={error.status}" if isinstance(error, PeerError) else "")
            raise
        replaced = invitation.replaces
        if replaced is not None:
            hang_up(replaced, "SIP;cause=200;text=replaced")

    def _is_direct(self, leg: Leg) -> bool:
        """Tell whether nobody needs what is said to pass here (IM-9)."""
        recorded = self._recorder.wants(leg.user, SESSION)
        return self._direct and not recorded

    def _onward_secure(self, leg: Leg, callee: str, offer: Description) -> bool:
        """Tell whether the next leg is offered over TLS."""
        if leg.side == TERMINATING:
            return self._secure_clients
        if not self._ours(callee):
            return self._secure_peers
        return any(line.protocol == TLS for line in offered_lines(offer))

    async def _invite(
        self, invitation: Invitation, leg: Leg, plan: MediaPlan | None, offer: Description
    ) -> Call:
        """Send our INVITE; return the call when the callee has accepted.

        Raises:
            CallFailed: the callee did not, or the caller has given up.
        """
        onward = offer if plan is None else plan.offer()
        request = self._onward(invitation, leg, onward)
        inviting = Deferred.fromCoroutine(
            self._inviter.invite(
                "",
                request=request,
                provisional=lambda response: _ring(invitation, response, plan is None),
                redirections=0,
            )
        )
        invitation.on_cancel = lambda _: inviting.cancel()
        try:
            return await inviting
        except CancelledError:
            raise CallFailed(invitation.request.response(487), True) from None

    def _onward(self, invitation: Invitation, leg: Leg, offer: Description) -> Request:
        """Return our INVITE: the caller's, of a dialog of our own.

        Spec: 3GPP TS 24.229 §5.7.5 (application server as back-to-back user agent)
        """
        request = invitation.request
        copy = forwarded_copy(request, request.uri)
        for name in _HOP_BY_HOP:
            copy.remove(name)
        ids = self._msrp.ids
        sender = request.from_
        shown = str(NameAddr(sender.uri_text, sender.display))
        if leg.sender == ANONYMOUS:
            shown = ANONYMOUS_FROM
        copy.set("From", f"{shown};tag={ids.tag()}")
        copy.set("To", f"<{request.to.uri_text}>")
        copy.set("Call-ID", ids.call_id())
        copy.set("CSeq", "1 INVITE")
        copy.add("Contact", self._contact(request, leg.hidden))
        replaced = self._replaced(invitation)
        if replaced:
            copy.add("Replaces", replaced)
        for name in ("Content-Disposition", "Content-Encoding", "Content-Language"):
            copy.remove(name)
        onward = with_other_parts(request, offer)
        copy.set_body(onward.body, onward.content_type)
        postprocess(copy)
        return copy

    def _replaced(self, invitation: Invitation) -> str:
        """Return the Replaces value for the callee, whose dialog with us is another one.

        Raises:
            PeerError: what is to be replaced is not the caller's conversation (403).

        Spec: RFC 3891 §3, §6.1
        """
        call = invitation.replaces
        if call is None:
            return ""
        coupling = call.context
        if not isinstance(coupling, Coupling):
            raise PeerError("this dialog cannot be replaced", 481)
        dialog = coupling.other(call).dialog
        # Our local tag is the one that the receiver calls remote.
        return str(DialogRef(dialog.call_id, dialog.remote_tag, dialog.local_tag))

    def _who_answers(self, far: Call) -> list[tuple[str, str]]:
        """Return what the caller has to know of who has accepted."""
        response = far.response
        if response is None:
            return []
        asserted = [(ASSERTED, value) for value in response.all(ASSERTED)]
        return [("Contact", self._contact(response, False)), *asserted]

    def _contact(self, party: Request | Response, hidden: bool) -> str:
        """Return our Contact value where we stand for a party.

        What it says of itself is passed on, so that a focus is known as one, and two devices
        of a user are known for two.

        Spec: RFC 4579 §5.1; RFC 3840 §9; RFC 5626 §4.1
        """
        told = [self._inviter.contact(None), TAG, LARGE_TAG]
        device = "" if hidden else device_of(party)
        if device:
            told.append(f"+sip.instance={quote(f'<{device}>')}")
        if any(one.params.has("isfocus") for one in party.contacts):
            told.append("isfocus")
        return ";".join(told)

    # The end

    def close(self) -> Deferred[Any]:
        """End all conversations: the server stops. Fires when the parties know."""
        return DeferredList([one.end(STOPPING) for one in list(self.conversations)])

    def _over(self, conversing: Conversing) -> None:
        self.conversations.discard(conversing)

    def _refused(self, leg: Leg, callee: str, error: PeerError) -> None:
        self._journal.publish(
            [
                SessionRefused(
                    at=self._now(),
                    entity=self._journal.entity,
                    caller=leg.sender,
                    callee=callee,
                    status=error.status,
                    why=error.why,
                )
            ]
        )


def _pass_refusal(invitation: Invitation, failed: CallFailed) -> None:
    """Tell the caller what the callee said."""
    if not invitation.answered:
        response = failed.response
        told = [(name, value) for name in _TOLD for value in response.all(name)]
        invitation.reject(response.status, told)


def _ring(invitation: Invitation, response: Response, whole: bool) -> None:
    """Tell the caller that the callee rings; with its description if that is not ours."""
    if response.status <= 100 or invitation.answered:
        return
    body = response.body if whole else b""
    kind = response.first("Content-Type") or ""
    invitation.ring(response.status, body=body, content_type=kind)


def with_other_parts(request: Request, offer: Description) -> Description:
    """Return an offer in the place of that of a request, with what else is in its body.

    Spec: RFC 5621 §8.2; RFC 5366 §5 (the list that those who are invited get to see)
    """
    kind = request.first("Content-Type") or ""
    if not is_multipart(kind):
        return offer
    whole = parse_multipart(kind, request.body)
    parts = [
        one for one in whole.parts if one.media_type != SDP and not is_multipart(one.content_type)
    ]
    if not parts:
        return offer
    first = Part([("Content-Type", offer.content_type)], offer.body)
    content_type, body = Multipart(whole.subtype, [first, *parts]).write()
    return Description(body, content_type)
