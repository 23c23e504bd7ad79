"""The original-dialog identifier: how a request finds its place again after a service.

The core sends a request to an application server with two Route entries: the server, then
itself with the parameter ``odi``. What stands there is everything the core needs to go on
where it left, sealed so that nobody else can make one. Nothing is remembered, so a restart
in between does no harm as long as the key stays.

Spec: 3GPP TS 24.229 §5.4.3.4 (original dialog identifier)
"""

from __future__ import annotations

import base64
import binascii
import hmac
from hashlib import blake2b

import attrs

from omaim.errors import PeerError

_SEAL = 12  # octets of MAC


@attrs.frozen
class Place:
    """Where in its service chain a request is."""

    session_case: int  # as in the service profile: 0 originating … 4
    served: str  # the user whose profile is being worked through: an AoR
    priority: int  # of the filter criterion that sent it away
    server: str  # the application server's URI
    icid: str
    skip: str = ""  # the server that made the request and need not see it


class Chain:
    """Seals and opens places.

    Args:
        key: a secret of this core, at least 16 octets; the same in each of its processes.
    """

    def __init__(self, key: bytes) -> None:
        self._sealer = blake2b(key=key, digest_size=_SEAL)

    def seal(self, place: Place) -> str:
        """Return the value of the ``odi`` parameter."""
        plain = "\n".join(
            (
                str(place.session_case),
                place.served,
                str(place.priority),
                place.server,
                place.icid,
                place.skip,
            )
        ).encode()
        return base64.urlsafe_b64encode(self._mac(plain) + plain).decode().rstrip("=")

    def open(self, token: str) -> Place:
        """Return the place in a token.

        Raises:
            PeerError: it is not one of ours (403).
        """
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            plain = raw[_SEAL:]
            if not hmac.compare_digest(raw[:_SEAL], self._mac(plain)):
                raise PeerError("unknown original-dialog identifier", 403)
            case, served, priority, server, icid, skip = plain.decode().split("\n")
            return Place(int(case), served, int(priority), server, icid, skip)
        except (binascii.Error, ValueError):
            raise PeerError("unknown original-dialog identifier", 403) from None

    def _mac(self, plain: bytes) -> bytes:
        sealing = self._sealer.copy()  # half the price of making one
        sealing.update(plain)
        return sealing.digest()
