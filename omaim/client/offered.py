"""What an INVITE that came is about, by what it offers.

Spec: RFC 4975 §8; RFC 5547 §8; RFC 3841 §9.2 (Accept-Contact); OMA SIMPLE IM 1.0 (large message)
"""

from __future__ import annotations

import attrs

from omaim.bodies.message_media import MessageMedia
from omaim.bodies.message_offers import read_offer
from omaim.bodies.sdp import SENDONLY
from omaim.client.leg import LARGE_FEATURE
from omaim.errors import PeerError
from omaim.roles.invitation import Invitation
from omaim.roles.negotiation import description_of
from omaim.sip.message import Request


@attrs.frozen
class Offered:
    """The first usable medium of an offer.

    Attributes:
        index: of the medium.
        count: of all media that are offered.
        media: what the caller says about it.
        large: it is to carry one large message, and no talk.
    """

    index: int
    count: int
    media: MessageMedia
    large: bool

    @property
    def secure(self) -> bool:
        """It is offered over TLS."""
        return self.media.path[0].lower().startswith("msrps")

    @staticmethod
    def of(invitation: Invitation) -> Offered:
        """Return what an invitation offers.

        Raises:
            PeerError: 488, nothing that can be used here; 415, no session description.
        """
        if not invitation.described:
            raise PeerError("an INVITE needs an offer here", 488)
        lines = read_offer(description_of(invitation.call.remote))
        for index, media in enumerate(lines):
            if media is not None and media.port:
                large = media.direction == SENDONLY and wants_large(invitation.request)
                return Offered(index, len(lines), media, large)
        raise PeerError("nothing that is offered can be used here", 488)


def wants_large(request: Request) -> bool:
    """Tell whether an INVITE is for large message mode."""
    return any(
        LARGE_FEATURE in piece.strip().lower().split("=")[0]
        for value in request.all("Accept-Contact")
        for piece in value.split(";")
    )
