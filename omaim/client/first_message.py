"""The message that goes, or comes, with an invitation to talk.

Spec: OMA SIMPLE IM 1.0 (session mode); RFC 5621 §3, §8; RFC 5438 §7
"""

from __future__ import annotations

from typing import Final

from omaim.bodies.first_message import first_message
from omaim.bodies.mime import Part
from omaim.bodies.sdp import MEDIA_TYPE as SDP
from omaim.client.composing import ALL_REPORTS, CPIM_TYPE, TEXT, Content, write_cpim
from omaim.client.failures import Failure, Kept
from omaim.client.means import Means
from omaim.client.messages import PENDING, SENDING, Sent
from omaim.client.reading import NotTaken, Received, read_content
from omaim.client.taken import name_of
from omaim.errors import PeerError
from omaim.roles.listmail import Refused
from omaim.sip.headers import NameAddr
from omaim.sip.message import Request

LARGEST: Final = 8192  # octets with an INVITE, envelope included; more is said in the session


class Opening:
    """A message of ours that goes with an INVITE, or is said first in the session.

    Args:
        means: of the client.
        target: whom we invite.
        text: the message.

    Attributes:
        sent: what is known of it.
        body: it in its envelope.
    """

    def __init__(self, means: Means, target: str, text: str) -> None:
        message_id = means.phone.ids.token(20)
        content = Content(text.encode(), TEXT)
        envelope = write_cpim(content, means.own, [target], means.now(), message_id, ALL_REPORTS)
        self.body = envelope.to_bytes()
        self.sent = Sent(means.clock, (target,), message_id)
        self._means = means
        means.inbox.expect(self.sent)

    @property
    def parts(self) -> list[Part]:
        """What stands beside the offer in the INVITE; nothing where it is too large for that."""
        if len(self.body) > LARGEST:
            return []
        return [Part([("Content-Type", CPIM_TYPE)], self.body)]

    def taken(self) -> None:
        """The other side, or a server for it, has it."""
        if self.sent.status == SENDING:  # a report may have been quicker
            self.sent.status = PENDING

    def failed(self, failure: Failure) -> None:
        """Nobody came: what was kept, or has arrived all the same, is still reported on."""
        if isinstance(failure, Kept):
            failure.sent = self.sent
            self.taken()
        elif not self.sent.reports:
            self._means.inbox.forget(self.sent)


def read_first(means: Means, request: Request, sender: NameAddr, verified: bool) -> Received | None:
    """Return the message that an INVITE brings; ``None`` without, or when it is known already.

    Args:
        sender: who invites.
        verified: the network says so.

    Raises:
        PeerError: it is not taken: 415, 400, or 480 where there is no room.
    """
    part = first_message(request.first("Content-Type") or "", request.body)
    if part is None:
        return None
    try:
        found = read_content(part.content_type, part.decoded(), means.accept, sender, verified)
    except NotTaken as error:
        accepted = ", ".join((SDP, *means.accept))
        raise Refused(error.why, error.status, (("Accept", accepted),)) from error
    shown = not found.reports and found.typing is None and found.waiting is None
    if not shown or means.seen.has(name_of(found)):
        return None
    if means.inbox.full:
        raise PeerError("the inbox is full", 480)
    return found
