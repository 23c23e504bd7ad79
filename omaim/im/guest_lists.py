"""Lists of people that come with an INVITE to a conference factory, or with a REFER.

Spec: RFC 5366 §3, §5; RFC 5368 §7; RFC 5363 §4.1; RFC 5364
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from omaim.bodies.multipart import is_multipart, parse_multipart
from omaim.bodies.resource_lists import (
    BCC,
    MEDIA_TYPE,
    RECIPIENT_LIST,
    Entry,
    entries,
    parse_lists,
    recipients,
    references,
)
from omaim.errors import PeerError
from omaim.im.policy import sip_form
from omaim.roles.listmail import Refused
from omaim.sip.message import Request
from omaim.sip.uri import SipUri, parse_uri

OPTION: Final = "recipient-list-invite"  # RFC 5366 §9

# Returns what the callee calls a dialog that we are in, for a Replaces of its own.
Translate = Callable[[str], str]


@attrs.frozen
class Guest:
    """Somebody who is to be called into a conference."""

    uri: str  # canonical
    target: str = ""  # the Request-URI, if it is another
    replaces: str = ""  # Replaces value for the callee: of the dialog whose place ours takes
    entry: Entry | None = None  # of the list it was on

    @property
    def hidden(self) -> bool:
        """Whether the others on the list are not to know (RFC 5364 §4)."""
        return self.entry is not None and (self.entry.copy == BCC or self.entry.anonymize)


def no_list_here() -> PeerError:
    """Return the refusal of a recipient list for anything but a conference factory.

    Spec: RFC 5366 §5.1
    """
    why = "a recipient list is for a conference factory only"
    return Refused(why, 420, (("Unsupported", OPTION),))


def listed_in(request: Request) -> tuple[Entry, ...] | None:
    """Return whom the recipient list of an INVITE names, each once; ``None`` without a list.

    Raises:
        PeerError: the list cannot be read, or refers to lists elsewhere (400); its format is
            unknown (415).

    Spec: RFC 5366 §3; RFC 5363 §4.1
    """
    kind = request.first("Content-Type") or ""
    found = []
    if is_multipart(kind):
        for part in parse_multipart(kind, request.body).parts:
            if part.disposition == RECIPIENT_LIST:
                found.append((part.media_type, part.decoded()))
    elif (request.first("Content-Disposition") or "").partition(";")[0].strip() == RECIPIENT_LIST:
        found.append((kind, request.body))
    if not found:
        return None
    return tuple(one for media_type, data in found for one in people_of(media_type, data))


def people_of(media_type: str, data: bytes) -> tuple[Entry, ...]:
    """Return whom a list names, each once.

    Raises:
        PeerError: see :func:`listed_in`.
    """
    if media_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise PeerError(f"lists of people are {MEDIA_TYPE}", 415)
    lists = parse_lists(data, doubles=True)
    if any(True for one in lists for _ in references(one)):
        raise PeerError("the list refers to entries elsewhere")
    for one in lists:
        for entry in entries(one):
            if not isinstance(parse_uri(entry.uri), SipUri):
                sip_form(entry.uri)  # a tel or im URI will do
    return recipients(lists, sip_form, lambda one, other: sip_form(one) == sip_form(other))


def method_of(uri: str) -> str:
    """Return the method that an entry of a list asks for (RFC 5368 §7, §8)."""
    parsed = parse_uri(uri)
    return parsed.method or "INVITE" if isinstance(parsed, SipUri) else "INVITE"


def guest_of(entry: Entry, translate: Translate) -> Guest:
    """Return how to call who stands in a list.

    Raises:
        PeerError: it replaces a dialog that is not there (481), or what it says is broken.

    Spec: RFC 5366 §4 (Replaces in a URI of the list); RFC 3891
    """
    return guest_at(entry.uri, translate, entry)


def guest_at(
    uri: str,
    translate: Translate,
    entry: Entry | None = None,
    headers: list[tuple[str, str]] | None = None,
) -> Guest:
    """Return how to call who has a URI, which may name a dialog to replace.

    Args:
        headers: those that the URI asks for, where it has them no more.

    Differs: a maddr in the URI is not obeyed (RFC 3261 §19.1.1).
    """
    parsed = parse_uri(uri)
    replaces = ""
    target = uri
    if isinstance(parsed, SipUri):
        for name, value in parsed.header_items() if headers is None else headers:
            if name.lower() == "replaces":
                replaces = translate(value)
        target = str(_at_home(parsed.for_request()))
    return Guest(sip_form(uri), target, replaces, entry)


def _at_home(uri: SipUri) -> SipUri:
    """Return a URI without what leads past those who are responsible for the address.

    Whoever answers is taken for who has the address: nobody else may be asked.
    """
    return uri.without_param("maddr").without_param("ttl")
