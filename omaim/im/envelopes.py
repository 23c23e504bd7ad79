"""A stored message in its CPIM envelope, as a session or a page of history hands it out.

Spec: RFC 3862; OMA SIMPLE IM 1.0 (deferred messages and history: the original time is kept)
"""

from __future__ import annotations

from omaim.bodies.cpim import MEDIA_TYPE, Address, Cpim, escape
from omaim.bodies.mime import Part
from omaim.bodies.moments import write_moment
from omaim.bodies.multipart import Multipart, is_multipart, parse_multipart
from omaim.errors import PeerError


def enveloped(
    content_type: str, body: bytes, sender: str, recipient: str, moment: float, subject: str = ""
) -> Cpim:
    """Return a message as CPIM, with the time at which it was sent.

    One that came as CPIM keeps its headers. Of one that came beside other parts, such as the
    list of its visible recipients, the envelope is put around all of them.

    Args:
        content_type: of what is stored.
        body: what is stored.
        sender: URI, for a message that had no envelope.
        recipient: URI, likewise.
        moment: when it was sent, seconds since the epoch.
        subject: likewise.
    """
    found: Cpim | None = None
    part = Part([("Content-Type", content_type or "text/plain")], body)
    try:
        if part.media_type == MEDIA_TYPE:
            found = Cpim.parse(body)
        elif is_multipart(content_type):
            found = _outermost(content_type, body)
    except PeerError:
        found = None  # nobody could read it before either: it is content
    if found is None:
        found = Cpim.make(Address("", sender), [Address("", recipient)], "", part)
        if subject:
            found.add("Subject", escape(subject))
    if not found.date_time:
        found.add("DateTime", write_moment(moment))
    return found


def _outermost(content_type: str, body: bytes) -> Cpim | None:
    """Return the envelope of a part of a multipart, put around the whole."""
    whole = parse_multipart(content_type, body)
    for at, one in enumerate(whole.parts):
        if one.media_type != MEDIA_TYPE:
            continue
        inside = Cpim.parse(one.decoded())
        parts = [*whole.parts[:at], inside.part, *whole.parts[at + 1 :]]
        kind, octets = Multipart(whole.subtype, parts, whole.params).write()
        return Cpim(inside.headers, Part([("Content-Type", kind)], octets))
    return None
