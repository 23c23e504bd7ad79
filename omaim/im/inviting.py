"""Call people into a conference: the INVITE of the focus.

The conference speaks as itself in From; whose wish it is stands in Referred-By and, so that
those who do not want to hear of somebody need not, in P-Asserted-Identity.

Spec: RFC 4579 §5.5, §5.6; RFC 5366 §5; RFC 5364 §7; OMA SIMPLE IM 1.0 (controlling function)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from twisted.internet.defer import CancelledError

from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart
from omaim.bodies.resource_lists import (
    MEDIA_TYPE,
    RECIPIENT_LIST_HISTORY,
    Entry,
    history,
    write_lists,
)
from omaim.ids import Ids
from omaim.im.guest_lists import Guest
from omaim.roles.call import Call
from omaim.roles.description import CallFailed, Description
from omaim.roles.inviter import Inviter
from omaim.sip.answer_mode import AnswerMode
from omaim.sip.headers import NameAddr
from omaim.sip.message import Request

TAG: Final = "*;+g.oma.sip-im"  # Accept-Contact: whoever does session mode, preferably


def invitation_of(
    room: str,
    contact: str,
    subject: str,
    guest: Guest,
    offer: Description,
    by: str,
    shown: Sequence[Entry],
    core: str,
    ids: Ids,
    answers: Sequence[AnswerMode] = (),
) -> Request:
    """Return the INVITE with which a conference calls somebody.

    Args:
        room: address of the conference.
        contact: its Contact value.
        by: whose wish it is, canonical; "" of somebody who is not to be named.
        shown: the list that the callee may see of.
        core: Route value of the core.
        answers: how it is to be answered.
    """
    target = guest.target or guest.uri
    fields = [
        ("Route", core),
        ("Max-Forwards", "70"),
        ("From", f"{NameAddr(room, subject)};tag={ids.tag()}"),
        ("To", f"<{guest.uri}>"),
        ("Call-ID", ids.call_id()),
        ("CSeq", "1 INVITE"),
        ("Contact", contact),
        ("P-Asserted-Identity", f"<{by or room}>"),
        ("Accept-Contact", TAG),
        ("Allow-Events", "conference"),
    ]
    fields += [one.field for one in answers]
    if by:
        fields.append(("Referred-By", f"<{by}>"))
    if subject:
        fields.append(("Subject", subject))
    if guest.replaces:
        fields.append(("Replaces", guest.replaces))
    content_type, body = offer.content_type, offer.body
    seen = history(shown)
    if seen.items:
        parts = [Part([("Content-Type", offer.content_type)], offer.body)]
        disposition = f"{RECIPIENT_LIST_HISTORY}; handling=optional"
        heads = [("Content-Type", MEDIA_TYPE), ("Content-Disposition", disposition)]
        parts.append(Part(heads, write_lists([seen])))
        content_type, body = Multipart("mixed", parts).write()
    fields.append(("Content-Type", content_type))
    return Request.make("INVITE", target, fields, body)


async def called(inviter: Inviter, request: Request, offer: Description) -> Call:
    """Send an INVITE; return the call when the callee has come.

    Whoever does not take several bodies in one gets the offer alone.

    Raises:
        CallFailed: it does not come, or was called off.
    """
    try:
        try:
            return await inviter.invite("", request=request, redirections=0)
        except CallFailed as failed:
            if failed.status != 415 or request.body == offer.body:
                raise
            again = request.copy()
            again.set("Call-ID", inviter.agent.ids.call_id())
            again.set_body(offer.body, offer.content_type)
            return await inviter.invite("", request=again, redirections=0)
    except CancelledError:
        raise CallFailed(request.response(487), cancelled=True) from None
