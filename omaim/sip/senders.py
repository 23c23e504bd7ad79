"""Who sends: the user that a request from outside the trust domain is really from.

Spec: RFC 3261 §22.3; RFC 3325 §5
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.errors import PeerError
from omaim.sip.authenticating import Challenge
from omaim.sip.flow import Flow
from omaim.sip.identity import assert_identity
from omaim.sip.message import Request
from omaim.sip.subscribed import Served, Subscriber, Subscribers
from omaim.sip.uri import canonical_aor

NOBODY: Final = "anonymous.invalid"  # the host of who wants to stay unnamed, RFC 3323 §4.1.1.3


@final
class Senders:
    """Finds out who sends.

    Args:
        serves: tells whether a host is this domain.
        prove: returns whose credentials a request carries, or what to ask its sender for.
        authenticate: "always", "flow" or "never".
    """

    __slots__ = ("_always", "_by_flow", "_prove", "_serves", "_subscribers")

    def __init__(
        self,
        subscribers: Subscribers,
        serves: Callable[[str], bool],
        prove: Callable[[Request, Flow], Subscriber | Challenge],
        authenticate: str,
    ) -> None:
        self._subscribers: Final = subscribers
        self._serves: Final = serves
        self._prove: Final = prove
        self._always: Final = authenticate != "never"
        self._by_flow: Final = authenticate == "flow"

    def may_be_ours(self, claimed: str) -> bool:
        """Tell whether who claims this address might be a user of ours, to be asked for proof."""
        host = claimed.rpartition("@")[2]
        if self._serves(host) or host == NOBODY:
            return True
        return claimed.startswith("tel:") and self._subscribers.of(claimed) is not None

    def identify(self, request: Request, flow: Flow, claimed: str) -> Served | Challenge:
        """Return the user who sends, its identity asserted in the request, or what to ask.

        Raises:
            PeerError: this user may not send so (403); its credentials do not parse (400).
        """
        claimant = self._subscribers.of(claimed)
        if not self._always:
            if claimant is None:
                raise PeerError("nobody has this address here", 403)
            return self._assert(claimant.subscriber, claimant, request, claimed)
        known = self._known_by(flow, claimant, claimed) if self._by_flow else None
        if known is None:
            proof = self._prove(request, flow)
            if isinstance(proof, Challenge):
                return proof
            known = proof
            # What proves something to us proves it to nobody further on (RFC 3261 §22.3).
            request.remove("Proxy-Authorization")
            request.remove("Authorization")
        if claimant is not None and claimant.subscriber.private_id != known.private_id:
            claimant = None  # the address is somebody else's
        return self._assert(known, claimant, request, claimed)

    def _known_by(self, flow: Flow, claimant: Served | None, claimed: str) -> Subscriber | None:
        """Return the user who registered on this connection, unless it claims to be another.

        Others may share the connection, as behind a gateway; they have to prove themselves.

        Raises:
            PeerError: that user exists no longer (403).
        """
        if not flow.identity:
            return None
        known = self._subscribers.of(flow.identity)
        if known is None:
            raise PeerError("this user is no more", 403)
        subscriber = known.subscriber
        if claimant is not None and claimant.subscriber.private_id == subscriber.private_id:
            return subscriber
        return subscriber if _is_nobody(claimed) else None

    def _assert(
        self, subscriber: Subscriber, claimant: Served | None, request: Request, claimed: str
    ) -> Served:
        """Assert the identity that the user prefers, of those it may use.

        Args:
            claimant: the user under the address that is claimed, ``None`` when it has none such.

        Raises:
            PeerError: From, or what is preferred, is somebody else's or barred (403).

        Spec: RFC 3325 §5
        """
        _check(subscriber, claimant, claimed)
        named = canonical_aor(request.from_.uri_text)
        if named != claimed:
            _check(subscriber, self._subscribers.of(named), named)
        aor = assert_identity(request, subscriber.usable)
        served = claimant if claimed == aor else self._subscribers.of(aor)
        if served is None:
            raise PeerError("this user is no more", 403)
        return served


def _is_nobody(uri: str) -> bool:
    return uri.rpartition("@")[2] == NOBODY


def _check(subscriber: Subscriber, claimant: Served | None, uri: str) -> None:
    """Raise PeerError unless the user may call itself so; ``claimant`` has that address."""
    if claimant is not None and claimant.subscriber.private_id == subscriber.private_id:
        if claimant.barred:
            raise PeerError("this identity may not be used", 403)
    elif not _is_nobody(uri):
        raise PeerError("this identity may not be used", 403)
