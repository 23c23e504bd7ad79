"""Two calls that are one conversation: what one party does, the other hears.

Spec: RFC 3261 §6 (back-to-back user agent), §14, §15; RFC 7092 §3.2
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import PeerError
from omaim.roles.call import Call
from omaim.roles.description import CallEnded, CallFailed, Description
from omaim.roles.referrer import Referral
from omaim.sip.identity import asserted_identities
from omaim.sip.uri import canonical_aor

OVER: Final = "SIP;cause=200"

_log = Logger()

Offered = Callable[[Description], Awaitable[Description]]


class Coupling:
    """Both calls of a conversation that passes the server.

    Args:
        near: of who calls; it may still be early.
        far: of who is called.
        on_over: told once when it has ended, with why.

    Attributes:
        over: it has ended.
    """

    def __init__(self, near: Call, far: Call, on_over: Callable[[str], object]) -> None:
        self.near = near
        self.far = far
        self.over = False
        self._on_over = on_over
        near.on_bye = lambda reason: self._ended(far, reason)
        far.on_bye = lambda reason: self._ended(near, reason)
        near.on_refer = far.on_refer = declined
        near.context = far.context = self

    def other(self, call: Call) -> Call:
        """Return the opposite call."""
        return self.far if call is self.near else self.near

    def party(self, call: Call) -> set[str]:
        """Return by which addresses the other end of a call is known."""
        request, response = call.request, call.response
        if call is self.near:
            return set(asserted_identities(request))
        known = {canonical_aor(request.uri), canonical_aor(request.to.uri_text)}
        return known if response is None else known.union(asserted_identities(response))

    def relay_offers(self) -> None:
        """Let offers of either party go to the other one unread, and the answers back."""
        self.near.on_offer = lambda offer: self._relayed(self.near, offer)
        self.far.on_offer = lambda offer: self._relayed(self.far, offer)

    def _relayed(self, call: Call, offer: Description) -> Awaitable[Description]:
        if not offer.body:  # what the party has said last is what it is asked for again
            return succeed(call.local)
        return self.reinviter(call)(offer)

    def reinviter(self, call: Call, patient: bool = False) -> Offered:
        """Return what offers a change that one party wants to the other, and returns its answer.

        Args:
            call: of who wants it.
            patient: the party does not wait for an answer.

        Raises (what is returned):
            PeerError: the other party does not want it, or changes something itself (491).

        Spec: RFC 3261 §14.1
        """
        other = self.other(call)

        async def reinvite(offer: Description) -> Description:
            if other.early:
                raise PeerError("the other party is not there yet", 491)
            try:
                return await other.reinvite(offer.body, offer.content_type, wait=patient)
            except CallEnded as ended:
                raise PeerError("the other party is gone", 487) from ended

        return reinvite

    def end(self, reason: str) -> Deferred[Any]:
        """End both calls; the parties get this Reason. Fires when they know."""
        if self.over:
            return succeed(None)
        self._conclude(reason)
        return DeferredList([hang_up(call, reason) for call in (self.near, self.far)])

    def _ended(self, other: Call, reason: str) -> None:
        if self.over:
            return
        self._conclude(reason)
        hang_up(other, reason)

    def _conclude(self, reason: str) -> None:
        self.over = True
        self.near.on_bye = self.far.on_bye = None
        self._on_over(reason)


def declined(referral: Referral) -> None:
    """Refuse a REFER inside a call with the server: only its parties could follow it.

    Raises:
        PeerError: it always is (603).

    Spec: RFC 3515 §2.4.2; RFC 7092 §3.2
    """
    raise PeerError("nobody is transferred here", 603)


def hang_up(call: Call, reason: str = "") -> Deferred[None]:
    """End a call, whatever its party says; fires when it has answered."""
    if call.over or call.early:
        return succeed(None)
    headers = [("Reason", reason)] if reason else []
    return Deferred.fromCoroutine(call.bye(headers)).addErrback(_not_ended)


def _not_ended(failure: Failure) -> None:
    if not failure.check(CallEnded, CallFailed, CancelledError):
        _log.failure("a call was not ended", failure)
