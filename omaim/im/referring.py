"""REFER to a conference: call somebody in, or put somebody out, one or many.

Spec: RFC 4579 §5.5, §5.11; RFC 3515; RFC 4488; RFC 5368; RFC 4538
"""

from __future__ import annotations

from collections.abc import Callable

from omaim.bodies.resource_lists import Entry
from omaim.errors import PeerError
from omaim.im.attendance import Attendance
from omaim.im.conference import Conference
from omaim.im.guest_lists import Guest, guest_at, method_of, people_of
from omaim.im.policy import sip_form
from omaim.roles.call import Call
from omaim.roles.referrer import Referral
from omaim.sip.headers import DialogRef
from omaim.sip.identity import ID, USER, asserted_identities, privacy_of
from omaim.sip.message import Request
from omaim.sip.uri import canonical_aor


class Referring:
    """Does what participants and others ask a conference for.

    Args:
        running: returns the conference of an address, ``None`` if it does not go on.
        find_call: returns the call of a dialog of ours.
        translate: returns what a callee calls a dialog that somebody has with us.
    """

    def __init__(
        self,
        running: Callable[[str], Conference | None],
        find_call: Callable[[DialogRef], Call | None],
        translate: Callable[[str, tuple[str, ...]], str],
    ) -> None:
        self._running = running
        self._find_call = find_call
        self._translate = translate

    def referred(self, referral: Referral) -> None:
        """Take a REFER.

        Raises:
            PeerError: 403 who asks may not; 404 there is no such conference, or nobody to put
                out; what it asks for is broken, or not done here.
        """
        conference, asker = self._about(referral)
        hidden = _is_hidden(referral.request)
        if referral.several:
            people = people_of(*referral.listed())
            self._several(conference, asker, people, referral, hidden)
        elif referral.method == "INVITE":
            guest = self._guest(referral.uri, asker, referral.headers)
            reports = _Reports(referral)
            conference.invite(asker[0], [guest], reports.report, hidden)
            referral.accept()
            reports.open()
        elif referral.method == "BYE":
            conference.expel(asker[0], sip_form(referral.uri))
            referral.accept()
            referral.progress(200)
        else:
            raise PeerError(f"{referral.method} is not asked of a conference", 403)

    def _several(
        self,
        conference: Conference,
        asker: tuple[str, ...],
        people: tuple[Entry, ...],
        referral: Referral,
        hidden: bool,
    ) -> None:
        """Do it for all on a list (RFC 5368 §8)."""
        methods = {method_of(one.uri) for one in people}
        if not methods <= {"INVITE", "BYE"} or not people:
            raise PeerError("the list asks for what is not done here", 403)
        guests = [self._guest(one.uri, asker) for one in people if method_of(one.uri) == "INVITE"]
        if guests:
            conference.invite(asker[0], guests, hidden=hidden)
        for one in people:
            if method_of(one.uri) == "BYE":
                try:
                    conference.expel(asker[0], sip_form(one.uri))
                except PeerError as error:
                    if error.status != 404:
                        raise
        referral.accept()

    def _about(self, referral: Referral) -> tuple[Conference, tuple[str, ...]]:
        """Return the conference that a REFER is about, and who asks.

        Raises:
            PeerError: 403 or 404.

        Spec: RFC 4538 §4 (Target-Dialog)
        """
        request, call = referral.request, referral.call
        asker = asserted_identities(request)
        if call is None:
            conference = self._running(canonical_aor(request.uri))
            if conference is None and referral.target_dialog is not None:
                call = self._find_call(referral.target_dialog)
                conference = _conference_of(call)
        else:
            conference = _conference_of(call)
            attendance = call.context
            if isinstance(attendance, Attendance) and attendance.member is not None:
                asker = attendance.member.person.identities
        if conference is None:
            raise PeerError("no such conference goes on", 404)
        if not asker:
            raise PeerError("nobody vouches for who asks", 403)
        return conference, asker

    def _guest(
        self,
        uri: str,
        asker: tuple[str, ...],
        headers: list[tuple[str, str]] | None = None,
    ) -> Guest:
        return guest_at(uri, lambda value: self._translate(value, asker), None, headers)


class _Reports:
    """Holds back what came of a reference until it was accepted."""

    __slots__ = ("_open", "_referral", "_status")

    def __init__(self, referral: Referral) -> None:
        self._referral = referral
        self._open = False
        self._status = 0

    def report(self, status: int) -> None:
        self._status = status
        if self._open:
            self._referral.progress(status)

    def open(self) -> None:
        self._open = True
        if self._status:
            self._referral.progress(self._status)


def _conference_of(call: Call | None) -> Conference | None:
    context = None if call is None else call.context
    return context.conference if isinstance(context, Attendance) else None


def _is_hidden(request: Request) -> bool:
    """Tell whether who asks does not want to be named (RFC 3323 §4.2)."""
    return request.has("Privacy") and bool(privacy_of(request) & (ID | USER))
