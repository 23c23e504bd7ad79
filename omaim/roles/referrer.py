"""A referrer: ask somebody to contact a third party, and be asked so.

:meth:`Referrer.refer` sends a REFER, outside dialogs or in a call, and returns a
:class:`Reference` that tells how it goes on. What others ask of us arrives at
``on_refer(Referral)``.

Spec: RFC 3515; RFC 4488; RFC 5368; RFC 3892; RFC 4538; RFC 7647
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.bodies.multipart import is_multipart, parse_multipart
from omaim.errors import PeerError, UsageError
from omaim.roles.description import CallFailed, Fields
from omaim.roles.incoming import Incoming
from omaim.roles.user_agent import UserAgent
from omaim.roles.within import Within
from omaim.sip.dialog import Dialog, as_uas, establish
from omaim.sip.flow import Flow
from omaim.sip.headers import DialogRef, NameAddr, SubscriptionState
from omaim.sip.message import Request, Response, reason_for
from omaim.sip.pacing import delta_seconds
from omaim.sip.uri import SipUri, Uri, parse_uri
from omaim.timers import NEVER, Alarm

if TYPE_CHECKING:
    from omaim.roles.call import Call

SIPFRAG: Final = "message/sipfrag;version=2.0"
LASTING: Final = 180  # seconds that a reference is reported on, unless refreshed
MOST: Final = 10_000  # references at a time, each side

_log = Logger()


class Reference:
    """A REFER of ours that was accepted.

    Attributes:
        response: the 2xx.
        subscribed: the peer reports how it goes on.
        status: what it reported last; 0 before the first report.
        reports: the start lines of all reports, oldest first, at most 100.
        on_report: gets each report's NOTIFY.

    Spec: RFC 3515 §2.4.4
    """

    def __init__(self) -> None:
        self.response: Response | None = None
        self.subscribed = True
        self.status = 0
        self.reports: list[str] = []
        self.on_report: Callable[[Request], object] | None = None
        self.over = False
        self._waiting: list[Deferred[int]] = []

    def done(self) -> Deferred[int]:
        """Return what fires with the last status when no report will follow."""
        waiting: Deferred[int] = Deferred()
        if self.over:
            waiting.callback(self.status)
        else:
            self._waiting.append(waiting)
        return waiting

    def report(self, notify: Request) -> None:
        """Take a NOTIFY of the peer.

        Raises:
            PeerError: it is no report of a reference.

        Spec: RFC 3515 §2.4.5, §2.4.7
        """
        kind = notify.content_type
        if kind is None or kind.essence != "message/sipfrag":
            raise PeerError("a report of a reference is a message/sipfrag", 415)
        state = SubscriptionState.parse(notify.first("Subscription-State") or "")
        line = notify.body.partition(b"\r\n")[0][:200].decode("utf-8", "replace")
        words = line.split(" ", 2)
        if len(words) < 2 or words[0] != "SIP/2.0" or not words[1].isdigit():
            raise PeerError("a report of a reference begins with a status line")
        self.status = int(words[1][:3])
        if len(self.reports) < 100:
            self.reports.append(line)
        if self.on_report is not None:
            try:
                self.on_report(notify)
            except Exception:
                _log.failure("A report of a reference was not understood")
        if state.state == "terminated":
            self.end()

    def end(self) -> None:
        """Nothing more will be reported."""
        self.over = True
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(self.status)


class Referral:
    """A REFER that came in: somebody wants us to contact somebody.

    Attributes:
        request: the REFER.
        refer_to: whom; its URI may name a method and hold header fields.
        uri: the URI to contact, without method and header fields.
        method: "INVITE" unless the URI names another, "BYE" for example.
        headers: the header fields that the URI asks for, as ("Replaces", "…").
        referred_by: who asks, as the peer says; ``None`` if it does not.
        target_dialog: the dialog it is about, if it says so (RFC 4538).
        call: in which it came; ``None`` outside dialogs.
        several: it names a list, which :meth:`listed` returns (RFC 5368).

    Spec: RFC 3515 §2.4.2
    """

    def __init__(
        self, referrer: Referrer, incoming: Incoming, call: Call | None, later: bool
    ) -> None:
        request = incoming.request
        self.request = request
        self.call = call
        values = request.values("Refer-To")
        if len(values) != 1:
            raise PeerError("a REFER has exactly one Refer-To")
        self.refer_to = NameAddr.parse(values[0])
        self.several = self.refer_to.uri_text[:4].lower() == "cid:"
        uri: Uri = self.refer_to.uri
        self.method = "INVITE"
        self.headers: list[tuple[str, str]] = []
        if isinstance(uri, SipUri):
            self.method = uri.method or "INVITE"
            self.headers = uri.header_items()
            uri = uri.for_request()
        self.uri = str(uri)
        by = request.first("Referred-By")
        self.referred_by = None if by is None else NameAddr.parse(by)
        target = request.first("Target-Dialog")
        self.target_dialog = None if target is None else DialogRef.parse(target)
        quiet = (request.first("Refer-Sub") or "").partition(";")[0].strip().lower() == "false"
        self.subscribed = not quiet and not self.several
        self._referrer = referrer
        self._incoming = incoming
        self._event = f"refer;id={request.cseq.number}" if later else "refer"
        self._dialog: Dialog | None = None if call is None else call.dialog
        self._alarm = Alarm(lambda _: self._expired())
        self._over = False
        self._last = "SIP/2.0 100 Trying"

    @property
    def flow(self) -> Flow:
        """The path by which it came."""
        return self._incoming.flow

    @property
    def key(self) -> tuple[str, str]:
        """The Event value of its reports, and the Call-ID of their dialog."""
        return (self.request.call_id, self._event)

    def listed(self) -> tuple[str, bytes]:
        """Return media type and octets of the list that Refer-To points to.

        Raises:
            PeerError: there is none.

        Spec: RFC 5368 §7, §8; RFC 2392
        """
        request = self.request
        kind = request.first("Content-Type") or ""
        wanted = self.refer_to.uri_text[4:]
        if is_multipart(kind):
            part = parse_multipart(kind, request.body).by_id(wanted)
            if part is not None:
                return part.media_type, part.decoded()
        else:
            own = (request.first("Content-ID") or "").strip().strip("<>")
            if request.body and own == wanted:
                return kind, request.body
        raise PeerError("Refer-To points to a body that is not there")

    def accept(self, status: int = 200, headers: Fields = ()) -> None:
        """Say that it will be done; a report that it is being tried follows, if wanted.

        Args:
            status: 200, or 202 for peers that insist on RFC 3515 (RFC 7647 §5).
            headers: more header fields.

        Spec: RFC 3515 §2.4.4; RFC 4488; RFC 5368 §8
        """
        if self._incoming.answered:
            return
        incoming, request = self._incoming, self.request
        response = incoming.response(status, headers)
        if not self.subscribed:
            response.add("Refer-Sub", "false")
        contact = self._referrer.contact(incoming)
        if self._dialog is None and self.subscribed:
            self._dialog = as_uas(request, incoming.tag, contact, incoming.flow.secure)
            establish(request, response, contact)
        elif not response.has("Contact"):
            response.add("Contact", contact)
        incoming.respond(response)
        if self.subscribed:
            self._referrer.began(self)
            self._alarm.deadline = self._referrer.agent.now() + LASTING
            self._referrer.agent.arm(self._alarm)
            self._notify(False)

    def reject(self, status: int, headers: Fields = ()) -> None:
        """Refuse it."""
        self._incoming.reply(status, headers)

    def progress(self, status: int, reason: str | None = None) -> None:
        """Report a status of what is being tried; a final one ends the reports.

        Spec: RFC 3515 §2.4.5, §2.4.7
        """
        if not self.subscribed or self._over:
            return
        self._last = f"SIP/2.0 {status} {reason_for(status) if reason is None else reason}"
        self._notify(status >= 200)

    def subscribe(self, incoming: Incoming) -> None:
        """Take a SUBSCRIBE that refreshes or ends the reports (RFC 3515 §2.4.4)."""
        expires = min(delta_seconds(incoming.request.first("Expires"), LASTING), LASTING)
        incoming.reply(200, [("Expires", str(expires))])
        self._alarm.deadline = self._referrer.agent.now() + expires if expires else NEVER
        self._referrer.agent.arm(self._alarm)
        self._notify(expires == 0, "timeout")

    def end(self) -> None:
        """Report nothing any more."""
        self._over = True
        self._alarm.deadline = NEVER
        self._referrer.ended(self)

    def _expired(self) -> None:
        if not self._over:
            self._notify(True, "timeout")

    def _notify(self, final: bool, reason: str = "noresource") -> None:
        dialog = self._dialog
        if dialog is None:
            return
        agent = self._referrer.agent
        left = max(0, int(self._alarm.deadline - agent.now())) if not final else 0
        state = (
            SubscriptionState.make("terminated", reason=reason)
            if final
            else SubscriptionState.make("active", expires=left)
        )
        fields = [
            ("Event", self._event),
            ("Subscription-State", str(state)),
            ("Content-Type", SIPFRAG),
        ]
        request = dialog.request("NOTIFY", fields, f"{self._last}\r\n".encode())
        sending = Deferred.fromCoroutine(
            Within(agent, dialog, self._incoming.flow).request(request)
        )
        sending.addCallback(self._notified)
        sending.addErrback(_broken)
        if final:
            self.end()

    def _notified(self, response: Response) -> None:
        if response.status >= 300 and not self._over:
            self.end()  # whoever does not want reports gets none


class Referrer:
    """All references of one user agent; it answers that agent's REFERs outside dialogs.

    Args:
        agent: sends and receives.
        most: references reported on at a time, each way; more are refused with 503.

    Attributes:
        on_refer: gets each :class:`Referral`; a PeerError that it raises refuses it. Without
            it REFER is refused with 603.
    """

    def __init__(self, agent: UserAgent, most: int = MOST) -> None:
        self.agent = agent
        self.on_refer: Callable[[Referral], object] | None = None
        self._most = most
        self._references: dict[tuple[str, str], Reference] = {}
        self._referrals: dict[tuple[str, str], Referral] = {}
        agent.supported |= {"norefersub", "multiple-refer", "tdialog"}
        agent.on("REFER", self.receive)

    def __len__(self) -> int:
        return len(self._references) + len(self._referrals)

    def contact(self, incoming: Incoming) -> str:
        """Return the Contact value for an answer."""
        return self.agent.contact or f"<{self.agent.endpoint.uri(incoming.flow.transport)}>"

    async def refer(
        self,
        target: str,
        refer_to: str,
        *,
        call: Call | None = None,
        reports: bool = True,
        referred_by: str = "",
        on_report: Callable[[Request], object] | None = None,
        headers: Fields = (),
        body: bytes = b"",
        request: Request | None = None,
    ) -> Reference:
        """Ask ``target``, or the peer of ``call``, to contact ``refer_to``.

        Args:
            target: Request-URI, outside dialogs; "" in a call.
            refer_to: URI, or Refer-To value in brackets; "cid:…" with a list in ``body``
                and its Content-Type among ``headers`` for several (RFC 5368).
            call: send it in the dialog of this call.
            reports: have it reported on; otherwise Refer-Sub: false (RFC 4488).
            referred_by: Referred-By value; our own identity if empty.
            on_report: gets each report.
            headers: more header fields.
            body: octets.
            request: a whole REFER to send instead, complete but for the Via.

        Raises:
            CallFailed: it was refused.
            UsageError: neither or both of ``target`` and ``call``.

        Spec: RFC 3515 §2.4.1; RFC 4488; RFC 5368 §7; RFC 3892 §2.1
        """
        agent = self.agent
        if len(self._references) >= self._most:
            raise UsageError("wait until other references are settled: there are too many")
        value = refer_to if refer_to.startswith(("<", '"')) else f"<{refer_to}>"
        fields = [
            ("Refer-To", value),
            ("Referred-By", referred_by or f"<{agent.identity}>"),
        ]
        several = refer_to.strip("<").lower().startswith("cid:")
        if not reports or several:
            fields.append(("Refer-Sub", "false"))
        if several:
            fields.append(("Require", "multiple-refer, norefersub"))
        else:
            fields.append(("Supported", "norefersub"))
        fields += headers
        if request is not None:
            built = request
        elif call is not None:
            built = call.dialog.request("REFER", fields, body)
        elif target:
            if not agent.contact:
                fields.append(("Contact", f"<{agent.endpoint.uri()}>"))
            built = agent.make("REFER", target, fields, body)
        else:
            raise UsageError("say whom to refer: a target or a call")
        reference = Reference()
        reference.on_report = on_report
        return await self._send(built, call, reference)

    async def _send(self, request: Request, call: Call | None, reference: Reference) -> Reference:
        agent = self.agent
        outside = (request.call_id, request.from_.tag, "")
        if call is None:
            agent.on_dialog(outside, lambda incoming: self._reported(incoming, reference))
        else:
            number = request.cseq.number
            self._references[(request.call_id, str(number))] = reference
            next_seq = self._renumbering(call, request.call_id, number)
        try:
            response = await agent.request(
                request,
                next_seq=next_seq if call is not None else None,
                redirections=0 if call is not None else 5,
            )
        except BaseException:
            self._forget(reference, outside)
            raise
        reference.response = response
        if response.status >= 300:
            self._forget(reference, outside)
            raise CallFailed(response)
        quiet = (response.first("Refer-Sub") or "").partition(";")[0].strip().lower() == "false"
        reference.subscribed = not quiet
        if quiet:
            reference.end()
        if reference.over:
            self._forget(reference, outside)
        else:
            reference.done().addCallback(lambda _: self._forget(reference, outside))
            self._limit(reference)
        return reference

    def _renumbering(self, call: Call, call_id: str, first: int) -> Callable[[], int]:
        """Return what counts a REFER on that is sent again, and keeps it known (§2.4.6)."""
        last = [first]

        def number() -> int:
            following = call.dialog.next_seq()
            known = self._references.pop((call_id, str(last[0])), None)
            if known is not None:
                self._references[(call_id, str(following))] = known
            last[0] = following
            return following

        return number

    def _limit(self, reference: Reference) -> None:
        """Stop waiting for reports of a peer that has vanished."""
        alarm = Alarm(lambda _: None if reference.over else reference.end())
        alarm.deadline = self.agent.now() + 2 * LASTING
        self.agent.arm(alarm)

    def _forget(self, reference: Reference, outside: tuple[str, str, str]) -> None:
        self.agent.off_dialog(outside)
        for key in [key for key, one in self._references.items() if one is reference]:
            del self._references[key]

    def _reported(self, incoming: Incoming, reference: Reference) -> Response:
        """Answer a request in the dialog of a REFER of ours outside calls."""
        request = incoming.request
        event = request.event
        if request.method != "NOTIFY" or event is None or event.package != "refer":
            raise PeerError("this dialog reports on a reference", 481)
        reference.report(request)
        return incoming.response(200)

    # What comes in.

    def receive(self, incoming: Incoming) -> Any:
        """Answer a REFER outside dialogs."""
        return self.referred(incoming, None, False, None)

    def referred(
        self,
        incoming: Incoming,
        call: Call | None,
        later: bool,
        on_refer: Callable[[Referral], object] | None,
    ) -> None:
        """Take a REFER.

        Args:
            incoming: the REFER.
            call: in whose dialog it came.
            later: it is not the first there.
            on_refer: who wants it before this referrer's own.

        Raises:
            PeerError: it cannot be accepted.

        Spec: RFC 3515 §2.4.2
        """
        hear = on_refer or self.on_refer
        referral = Referral(self, incoming, call, later)
        if hear is None:
            raise PeerError("nobody is contacted here because of a REFER", 603)
        if referral.subscribed and len(self._referrals) >= self._most:
            raise PeerError("too many references", 503)
        hear(referral)

    def event(self, incoming: Incoming, call: Call) -> Response | None:
        """Answer a NOTIFY or SUBSCRIBE about a reference in the dialog of a call.

        Spec: RFC 3515 §2.4.4, §2.4.6
        """
        request = incoming.request
        event = request.event
        if event is None:
            raise PeerError("no such reference", 481)
        if request.method == "SUBSCRIBE":
            referral = self._referrals.get((request.call_id, str(event)))
            if referral is None or referral.call is not call:
                raise PeerError("a reference is made by REFER only", 403)
            referral.subscribe(incoming)
            return None
        reference = self._references.get((request.call_id, event.id))
        if reference is None and not event.id:
            reference = next(
                (one for key, one in self._references.items() if key[0] == request.call_id), None
            )
        if reference is None:
            raise PeerError("no such reference", 481)
        reference.report(request)
        return incoming.response(200)

    def began(self, referral: Referral) -> None:
        """Keep a referral that is reported on."""
        self._referrals[referral.key] = referral
        dialog = referral._dialog
        if referral.call is None and dialog is not None:
            self.agent.on_dialog(dialog.id, lambda incoming: self._asked(incoming, referral))

    def ended(self, referral: Referral) -> None:
        """Forget a referral."""
        self._referrals.pop(referral.key, None)
        dialog = referral._dialog
        if referral.call is None and dialog is not None:
            self.agent.off_dialog(dialog.id)

    def call_over(self, call: Call) -> None:
        """The call is over, and with it what is reported in its dialog."""
        for referral in [one for one in self._referrals.values() if one.call is call]:
            referral.end()
        call_id = call.dialog.call_id
        for key in [key for key in self._references if key[0] == call_id]:
            self._references.pop(key).end()

    def _asked(self, incoming: Incoming, referral: Referral) -> None:
        """Answer a request in the dialog that a REFER outside calls has made."""
        dialog = referral._dialog
        request = incoming.request
        if dialog is None or request.method != "SUBSCRIBE":
            raise PeerError("this dialog reports on a reference", 481)
        dialog.receive(request)
        dialog.accept(request)
        referral.subscribe(incoming)


def refer_uri(uri: str, method: str = "", headers: Fields = ()) -> str:
    """Return a URI for Refer-To that names a method and header fields.

    Args:
        uri: sip or sips, without header fields.
        method: "BYE" for example; "" for INVITE.
        headers: as ("Replaces", "…"); escaped here.

    Spec: RFC 3261 §19.1.1; RFC 3515 §2.1
    """
    parsed = parse_uri(uri)
    if not isinstance(parsed, SipUri):
        raise UsageError("only sip URIs hold a method and header fields")
    if method:
        parsed = parsed.with_param("method", method)
    text = str(parsed)
    if headers:
        text += "?" + "&".join(f"{_escaped(name)}={_escaped(value)}" for name, value in headers)
    return text


def _escaped(text: str) -> str:
    plain = "-_.!~*'()[]/?:+$"
    return "".join(
        one if one.isascii() and (one.isalnum() or one in plain) else _hex(one) for one in text
    )


def _hex(one: str) -> str:
    return "".join(f"%{octet:02X}" for octet in one.encode())


def _broken(failure: Failure) -> None:
    _log.failure("Sending a NOTIFY failed", failure)
