"""Who sends: the user that a request from outside the trust domain is really from.

Spec: RFC 3261 §22.3; RFC 3325 §5
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from omaim.core.admission import Admission
from omaim.core.authenticator import Authenticator, Challenge
from omaim.core.subscribers import Served, Subscribers
from omaim.errors import PeerError
from omaim.sip.flow import Flow
from omaim.sip.identity import assert_identity
from omaim.sip.message import Request
from omaim.sip.uri import canonical_aor
from omaim.stores.records import User

NOBODY: Final = "anonymous.invalid"  # the host of who wants to stay unnamed, RFC 3323 §4.1.1.3


class Senders:
    """Finds out who sends.

    Args:
        serves: tells whether a host is this domain.
        now: seconds since the epoch.
        authenticate: "always", "flow" or "never".
    """

    def __init__(
        self,
        subscribers: Subscribers,
        authenticator: Authenticator,
        admission: Admission,
        serves: Callable[[str], bool],
        now: Callable[[], float],
        authenticate: str,
    ) -> None:
        self._subscribers = subscribers
        self._authenticator = authenticator
        self._admission = admission
        self._serves = serves
        self._now = now
        self._authenticate = authenticate

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
        if self._authenticate == "never":
            if claimant is None:
                raise PeerError("nobody has this address here", 403)
            user = claimant.user
        elif self._authenticate == "flow" and (known := self._known_by(flow, claimed)) is not None:
            user = known
        else:
            proof = self._authenticator.proxy(request, flow.remote_host, self._now())
            if isinstance(proof, Challenge):
                return proof
            self._admission.proved(flow)
            user = proof.user
            # What proves something to us proves it to nobody further on (RFC 3261 §22.3).
            request.remove("Proxy-Authorization")
            request.remove("Authorization")
        if claimant is not None and claimant.user.private_id != user.private_id:
            claimant = None  # the address is somebody else's
        return self._assert(user, claimant, request, claimed)

    def withhold(self, request: Request) -> None:
        """Take off a request of a user's, inside a dialog, what proves it to us.

        Raises:
            PeerError: its credentials do not parse (400).
        """
        self._authenticator.withhold(request)

    def _known_by(self, flow: Flow, claimed: str) -> User | None:
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
        user = known.user
        own = user.identity(claimed) is not None or claimed.rpartition("@")[2] == NOBODY
        return user if own else None

    def _assert(
        self, user: User, claimant: Served | None, request: Request, claimed: str
    ) -> Served:
        """Assert the identity that the user prefers, of those it may use.

        Args:
            claimant: the user under the address that is claimed, ``None`` when it has none such.

        Raises:
            PeerError: From, or what is preferred, is somebody else's or barred (403).

        Spec: RFC 3325 §5
        """
        _check(user, claimant, claimed)
        named = canonical_aor(request.from_.uri_text)
        if named != claimed:
            _check(user, self._subscribers.of(named), named)
        usable = user.usable() if claimant is None else claimant.usable
        aor = assert_identity(request, usable)
        served = claimant if claimed == aor else self._subscribers.of(aor)
        if served is None:
            raise PeerError("this user is no more", 403)
        return served


def _check(user: User, claimant: Served | None, uri: str) -> None:
    """Raise PeerError unless the user may call itself so; ``claimant`` has that address."""
    if claimant is not None and claimant.user.private_id == user.private_id:
        if claimant.barred:
            raise PeerError("this identity may not be used", 403)
        return
    if uri.rpartition("@")[2] != NOBODY:
        raise PeerError("this identity may not be used", 403)
