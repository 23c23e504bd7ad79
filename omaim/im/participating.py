"""Whose leg is it: the served user of a request that the core sent us.

Spec: RFC 5502; RFC 3325 §9.1; OMA SIMPLE IM 1.0 (participating functions)
"""

from __future__ import annotations

from typing import Final

import attrs

from omaim.errors import PeerError
from omaim.sip.identity import ID, asserted_identities, privacy_of, served_user
from omaim.sip.message import Request
from omaim.sip.uri import canonical_aor

ORIGINATING: Final = "originating"
TERMINATING: Final = "terminating"
ANONYMOUS: Final = "sip:anonymous@anonymous.invalid"


@attrs.frozen
class Leg:
    """One user's side of a message."""

    side: str  # ORIGINATING or TERMINATING
    user: str  # AoR of the served user
    sender: str  # asserted AoR, or ANONYMOUS
    registered: bool  # the served user has a device right now


def leg_of(request: Request) -> Leg:
    """Return whom a request is served for.

    Raises:
        PeerError: nobody is served (404), or nobody vouches for the sender (403).
    """
    served = served_user(request)
    if served is None:
        raise PeerError("this request is not served here", 404)
    asserted = asserted_identities(request)
    if asserted:
        sender = asserted[0]
    elif privacy_of(request) & ID:
        sender = ANONYMOUS
    else:
        raise PeerError("nobody vouches for the sender", 403)
    side = ORIGINATING if served.case == "orig" else TERMINATING
    return Leg(side, canonical_aor(served.uri), sender, served.registered != "unreg")
