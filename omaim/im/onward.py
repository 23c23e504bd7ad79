"""The INVITE that goes on: the caller's request, of a dialog of our own.

Spec: RFC 7092 §3.2 (back-to-back user agents); 3GPP TS 24.229 §5.7.5; RFC 3323 §5
"""

from __future__ import annotations

from typing import Final

import attrs

from omaim.bodies.first_message import is_first_message
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart, is_multipart, leaves, parse_multipart
from omaim.bodies.sdp import MEDIA_TYPE as SDP
from omaim.errors import PeerError
from omaim.grammar import quote
from omaim.im.content import renewed
from omaim.im.coupling import Coupling
from omaim.im.joining import device_of
from omaim.im.large import LARGE_TAG
from omaim.im.participating import ANONYMOUS, ANONYMOUS_FROM, Leg, Mail
from omaim.im.policy import Refusal
from omaim.roles.call import Call
from omaim.roles.description import Description
from omaim.roles.invitation import Invitation
from omaim.roles.inviter import Inviter
from omaim.sip.answer_mode import HEADERS as ANSWER_MODES
from omaim.sip.answer_mode import OPTION as ANSWER_MODE
from omaim.sip.answer_mode import AnswerMode
from omaim.sip.headers import DialogRef, NameAddr
from omaim.sip.identity import ASSERTED, SERVED, USER, privacy_of
from omaim.sip.message import Request, Response
from omaim.sip.proxying import forwarded_copy, postprocess

TAG: Final = "+g.oma.sip-im"  # feature tag of the service, in Contact and Accept-Contact

# What belongs to one side of the server only.
_HOP_BY_HOP: Final = (
    "Via", "Record-Route", "Contact", "Session-Expires", "Min-SE", "Allow", "Allow-Events",
    "Supported", "Require", "Proxy-Require", "Proxy-Authorization", "Authorization", "Replaces",
    "Recv-Info", "Server", SERVED, "Content-Disposition", "Content-Encoding", "Content-Language",
    *ANSWER_MODES,
)  # fmt: skip
# What may tell who the caller is.
_TELLING: Final = (
    "Subject", "Call-Info", "Organization", "User-Agent", "Reply-To", "In-Reply-To",
)  # fmt: skip


@attrs.frozen
class Asked:
    """An INVITE that may go on.

    Attributes:
        leg: whose side of it we serve.
        callee: canonical address.
        large: it is there for one large message only.
        first: the message that comes with it; ``None`` without.
        apart: that message does not go along: it is said first in the session.
        answers: how it is to be answered.
    """

    invitation: Invitation
    leg: Leg
    callee: str
    large: bool = False
    first: Mail | None = None
    apart: bool = False
    answers: tuple[AnswerMode, ...] = ()


def onward(inviter: Inviter, asked: Asked, offer: Description) -> Request:
    """Return the INVITE that invites the callee as the caller invited us.

    Args:
        offer: ours; empty to have the callee make it.

    Raises:
        PeerError: what is to be replaced is not the caller's own (403), or not there (481).
    """
    invitation, leg = asked.invitation, asked.leg
    request, agent = invitation.request, inviter.agent
    ids = agent.ids
    replaced = _replaced(invitation, leg)
    copy = forwarded_copy(request, request.uri)
    for name in _HOP_BY_HOP:
        copy.remove(name)
    sender = request.from_
    shown = str(NameAddr(sender.uri_text, sender.display))
    if leg.sender == ANONYMOUS or _conceal(copy):
        shown = ANONYMOUS_FROM
    copy.set("From", f"{shown};tag={ids.tag()}")
    copy.set("To", f"<{request.to.uri_text}>")
    copy.set("Call-ID", ids.call_id())
    copy.set("CSeq", "1 INVITE")
    copy.add("Contact", contact_for(inviter, request, leg.hidden))
    if replaced:
        copy.add("Replaces", replaced)
    copy.add_all(one.field for one in asked.answers)
    if ANSWER_MODE in request.require:
        copy.add("Require", ANSWER_MODE)
    if offer.body:
        content_type, body = _beside(asked, offer)
        copy.set_body(body, content_type)
    else:
        copy.set_body(b"", "")
        # An offer in a reliable 1xx would want its answer before the caller has one.
        copy.add("Supported", ", ".join(sorted(agent.supported - {"100rel"})))
    postprocess(copy)
    return copy


def offer_in(said: Description) -> Description:
    """Return the session description in a body without what stands beside it.

    Raises:
        PeerError: the body cannot be read.

    Spec: RFC 5621 §8.2
    """
    if is_multipart(said.content_type):
        for part in leaves(said.content_type, said.body):
            if part.media_type == SDP:
                return Description(part.decoded(), part.content_type)
    return said


def _beside(asked: Asked, offer: Description) -> tuple[str, bytes]:
    """Return the body that has our offer in the place of the caller's, and what stood beside it.

    A feature may have changed the text of the message among that.

    Spec: RFC 5621 §3.1, §8; RFC 5366 §4 (recipient-list-history)
    """
    request, first = asked.invitation.request, asked.first
    kind = request.first("Content-Type") or ""
    if not is_multipart(kind) or is_multipart(offer.content_type):
        return offer.content_type, offer.body
    whole = parse_multipart(kind, request.body)
    own: list[Part] = []
    for part in whole.parts:
        if first is not None and is_first_message(part):
            if first.changed:
                part = renewed(part, first.content.content_type, first.content.body)
            if not asked.apart:
                own.append(part)
            first = None
        elif part.media_type != SDP:
            own.append(part)
        elif not any(one.media_type == SDP for one in own):
            own.append(Part([("Content-Type", offer.content_type)], offer.body))
    if not any(one.media_type == SDP for one in own):
        return offer.content_type, offer.body
    if len(own) == 1:
        return offer.content_type, offer.body
    return Multipart(whole.subtype, own, whole.params).write()


def _conceal(copy: Request) -> bool:
    """Give a caller the privacy that only one who ends the dialog can give; tell whether so.

    Who it is stays asserted inside the network, and is not to leave it.

    Spec: RFC 3323 §4.1.1, §5.3 (user-level privacy); RFC 3325 §7
    """
    if not privacy_of(copy) & USER:
        return False
    for name in _TELLING:
        copy.remove(name)
    levels = [
        level.strip()
        for line in copy.all("Privacy")
        for level in line.replace(",", ";").split(";")
        if level.strip().lower() not in ("user", "id", "")
    ]
    copy.remove("Privacy")
    copy.add("Privacy", ";".join(["id", *levels]))
    return True


def _replaced(invitation: Invitation, leg: Leg) -> str:
    """Return the Replaces value for the callee, whose dialog with us is another one.

    Raises:
        PeerError: what is to be replaced is not the caller's own (403), or not there (481).

    Spec: RFC 3891 §3, §4, §6.1
    """
    call = invitation.replaces
    if call is None:
        return ""
    coupling = call.context
    if not isinstance(coupling, Coupling):
        raise PeerError("this dialog cannot be replaced", 481)
    if coupling.party(call).isdisjoint(leg.identities):
        raise Refusal("this dialog is not yours to replace")
    dialog = coupling.other(call).dialog
    # Our local tag is the one that the receiver calls remote.
    return str(DialogRef(dialog.call_id, dialog.remote_tag, dialog.local_tag))


def who_answers(inviter: Inviter, far: Call) -> list[tuple[str, str]]:
    """Return what the caller has to know of who has accepted."""
    response = far.response
    if response is None:
        return []
    told = [(name, value) for name in (ASSERTED, *ANSWER_MODES) for value in response.all(name)]
    return [("Contact", contact_for(inviter, response, False)), *told]


def contact_for(inviter: Inviter, party: Request | Response, hidden: bool) -> str:
    """Return our Contact value where we stand for a party.

    What it says of itself is passed on, so that a focus is known as one, and two devices of a
    user are known for two.

    Spec: RFC 4579 §5.1; RFC 3840 §9; RFC 5626 §4.1
    """
    told = [inviter.contact(None), TAG, LARGE_TAG]
    device = "" if hidden else device_of(party)
    if device:
        told.append(f"+sip.instance={quote(f'<{device}>')}")
    if any(one.params.has("isfocus") for one in party.contacts):
        told.append("isfocus")
    return ";".join(told)
