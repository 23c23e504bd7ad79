"""Who wants to come into a conference, as its INVITE, or its answer to ours, says.

Spec: RFC 7701 §5.2; RFC 3325 §9.1; RFC 3323 §4.2; RFC 5626 §4.1 (instance identifiers)
"""

from __future__ import annotations

from itertools import count

from omaim.bodies.conference_info import DIALED_IN, DIALED_OUT
from omaim.errors import PeerError
from omaim.im.offers import Offers
from omaim.im.participating import ANONYMOUS, Leg
from omaim.im.room_people import Applicant, Link, Member
from omaim.roles.call import Call
from omaim.sip.identity import ID, USER, asserted_identities, privacy_of
from omaim.sip.message import Message, Request
from omaim.sip.uri import SipUri

_strangers = count(1)


def applicant_of(
    request: Request, leg: Leg, link: Link, offers: Offers, instead: Member | None = None
) -> Applicant:
    """Return who asks to come in by an INVITE.

    Who comes without any identity is somebody of its own, whom no other request can mean.

    Args:
        instead: of its own, whose place it takes.
    """
    identities, hidden = leg.identities, leg.hidden
    if not identities:
        identities, hidden = (_stranger(),), True
    display = "" if hidden else _display(request)
    device = device_of(request)
    return Applicant(identities, link, offers, device, display, hidden, DIALED_IN, instead)


def applicant_who_answered(uri: str, call: Call, link: Link) -> Applicant:
    """Return who has accepted an invitation of ours.

    What an answer asserts counts for the domain that was asked alone: no other can vouch there.

    Args:
        uri: canonical address that was invited.
    """
    response = call.response
    identities: tuple[str, ...] = ()
    hidden, device = False, ""
    if response is not None:
        host = _host(uri)
        identities = tuple(one for one in asserted_identities(response) if _host(one) == host)
        hidden = response.has("Privacy") and bool(privacy_of(response) & (ID | USER))
        device = device_of(response)
    known = tuple(dict.fromkeys((uri, *identities)))
    return Applicant(known, link, Offers(), device, "", hidden, DIALED_OUT)


def device_of(message: Message) -> str:
    """Return what tells the device apart that a message is from, "" if nothing does.

    A Contact alone may be that of a server between us and all devices of a user.

    Spec: RFC 5626 §4.1 (instance identifiers); RFC 5627 §3 (GRUUs)
    """
    try:
        for contact in message.contacts:
            uri = contact.uri
            gruu = uri.params.get("gr") if isinstance(uri, SipUri) else None
            found = contact.params.get("+sip.instance") or gruu
            if found:
                return found.strip("<>")
    except PeerError:
        return ""
    return ""


def _display(request: Request) -> str:
    """Return the name for people that goes with the identity."""
    named = request.addresses("P-Asserted-Identity")
    return named[0].display if named and named[0].display else request.from_.display


def _host(uri: str) -> str:
    """Return the host of a canonical address, "" of one without."""
    return uri.rpartition("@")[2] if "@" in uri else ""


def _stranger() -> str:
    user, _, host = ANONYMOUS.partition("@")
    return f"{user}-stranger{next(_strangers)}@{host}"
