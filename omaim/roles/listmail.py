"""One MESSAGE to a list becomes one MESSAGE for each recipient.

Nothing is sent here: :func:`read` what a request wants, :func:`check_consent`, and make the
:func:`copies`. Whoever calls these has authenticated the sender (RFC 5363 §5.2 allows no explosion
for anybody else) and answers 202.

Spec: RFC 5365 §7; RFC 5363; RFC 5364; RFC 5360 (consent); RFC 5438 §8 (the CPIM To)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import attrs

from omaim.bodies import cpim
from omaim.bodies.cpim import IMDN, Address, Cpim
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart, is_multipart, parse_multipart
from omaim.bodies.resource_lists import (
    MEDIA_TYPE,
    RECIPIENT_LIST,
    RECIPIENT_LIST_HISTORY,
    Entry,
    ResourceList,
    entries,
    history,
    parse_lists,
    recipients,
    references,
    write_lists,
)
from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.message import Request
from omaim.sip.names import canonical_name
from omaim.sip.uri import SipUri, canonical_aor, parse_uri
from omaim.sip.values import Credentials

OPTION: Final = "recipient-list-message"  # RFC 5365 §5

MOST: Final = 200  # recipients of one message, unless the caller says otherwise

# What the copies have of their own, and what belongs to the hop that the list came over.
_OWN: Final = frozenset(
    {"Via", "Route", "Record-Route", "Max-Forwards", "Max-Breadth", "To", "From", "Call-ID"}
    | {"CSeq", "Require", "Proxy-Require", "Contact", "Path", "Timestamp", "P-Served-User"}
    | {"Content-Length", "Content-Type", "Content-Disposition", "Content-Encoding"}
    | {"Content-Language", "Content-ID", "MIME-Version", "Authorization", "Proxy-Authorization"}
)
_OF_THE_BODY: Final = ("Content-Disposition", "Content-Encoding", "Content-Language")

# Headers that a list entry may ask for in its URI; any other could forge who speaks to whom.
# Spec: RFC 3261 §19.1.5; RFC 5365 §6
_FROM_URI: Final = frozenset(
    {"Accept-Contact", "Reject-Contact", "Request-Disposition", "Subject", "Priority"}
    | {"Accept-Language", "In-Reply-To", "Organization", "Reply-To"}
)
_SCHEMES: Final = frozenset({"sip", "sips", "tel", "im"})


class Refused(PeerError):
    """A list MESSAGE that is answered with an error.

    Attributes:
        headers: names and values that the answer carries.
    """

    def __init__(self, why: str, status: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(why, status)
        self.headers = headers


@attrs.frozen
class ListMail:
    """A MESSAGE to a list, read."""

    people: tuple[Entry, ...]  # each once
    parts: tuple[Part, ...]  # the message without the lists


def is_list_mail(request: Request) -> bool:
    """Return whether a MESSAGE asks to be exploded.

    Spec: RFC 5365 §5, §6 (the option tag must be there)
    """
    return request.method == "MESSAGE" and OPTION in request.require


def read(request: Request, understood: frozenset[str] = frozenset(), most: int = MOST) -> ListMail:
    """Return whom a list MESSAGE is for, and what is to be sent.

    Args:
        request: the MESSAGE, from an authenticated sender.
        understood: option tags known here besides :data:`OPTION`.
        most: entries in the lists.

    Raises:
        Refused: 420 with Unsupported; 415 when the list is in another format; 413 when it is
            too long; 400 when it is empty, missing or names what is no address.
        PeerError: the body or the list is broken (400).

    Spec: RFC 5365 §4, §7, §7.1; RFC 5363 §4.1
    """
    unknown = sorted(request.require - understood - {OPTION})
    if unknown:
        raise Refused("extensions are not supported", 420, (("Unsupported", ", ".join(unknown)),))
    content_type = request.first("Content-Type") or ""
    if not is_multipart(content_type):
        raise Refused("a list MESSAGE has a multipart body", 400)
    lists: list[ResourceList] = []
    parts: list[Part] = []
    for part in parse_multipart(content_type, request.body).parts:
        if part.disposition != RECIPIENT_LIST:
            parts.append(part)
        elif part.media_type != MEDIA_TYPE:
            raise Refused("the recipient list is in another format", 415, (("Accept", MEDIA_TYPE),))
        else:
            lists += parse_lists(part.decoded(), doubles=True)
    if any(True for one in lists for _ in references(one)):
        # To leave them out would tell the sender 202 and leave somebody without the message.
        raise Refused("the recipient list refers to entries elsewhere", 400)
    # Counted with its doubles: to find these costs more than to send.
    if sum(1 for one in lists for _ in entries(one)) > most:
        raise Refused(f"the recipient list has more than {most} entries", 413)
    people = recipients(lists, key_of, _equal)
    if not people:
        raise Refused("the recipient list is empty", 400)
    if not parts:
        raise Refused("there is no message beside the recipient list", 400)
    return ListMail(people, tuple(parts))


def check_consent(people: Iterable[Entry], consents: Callable[[str], bool]) -> None:
    """Make sure that all recipients agreed to get list messages of the sender.

    Args:
        consents: tells whether the person with this canonical address did.

    Raises:
        Refused: 470 with Permission-Missing, somebody did not: then nobody gets the message.

    Spec: RFC 5360 §5.9
    """
    missing = [one.uri for one in people if not consents(canonical_aor(one.uri))]
    if missing:
        named = ", ".join(f"<{uri}>" for uri in missing)
        raise Refused("recipients did not consent", 470, (("Permission-Missing", named),))


def copies(
    request: Request, mail: ListMail, ids: Ids, *, realm: str = "", readdress: bool = True
) -> Iterator[Request]:
    """Yield the MESSAGE for each recipient, without Via and Route.

    One at a time: all together may be large.

    Args:
        request: what the copies have their headers of; it stays as it is.
        mail: what is sent, and to whom.
        ids: makes Call-IDs and tags.
        realm: of this server's own challenges: answers to these are not passed on.
        readdress: whether the To of a CPIM message becomes the recipient.

    Raises:
        PeerError: something in the message is broken (400).

    Spec: RFC 5365 §7.2, §7.3
    """
    shown = history(mail.people)
    last = [_history_part(shown)] if shown.items else []
    alike = [*mail.parts, *last]
    own = readdress and any(part.media_type == cpim.MEDIA_TYPE for part in mail.parts)

    def parts_for(one: Entry) -> list[Part]:
        return [*(_readdressed(part, one) for part in mail.parts), *last] if own else alike

    return copies_of(request, mail.people, parts_for, ids, realm)


def copies_of(
    request: Request,
    people: Iterable[Entry],
    parts_for: Callable[[Entry], list[Part]],
    ids: Ids,
    realm: str = "",
) -> Iterator[Request]:
    """Yield the MESSAGE for each of several people, whose content somebody else determines.

    Args:
        parts_for: returns what a copy holds; the same list for those who get the same.

    Spec: RFC 5365 §7.2
    """
    common = _common_headers(request, realm)
    parts: list[Part] = []
    content: tuple[list[tuple[str, str]], bytes] = [], b""
    for one in people:
        wanted = parts_for(one)
        if wanted is not parts:
            parts, content = wanted, _content(wanted)
        yield _copy(request, one, common, content, ids)


def key_of(uri: str) -> str:
    """Return the same text for all URIs that may mean one recipient.

    Raises:
        Refused: 400, no message can go there.
    """
    parsed = parse_uri(uri)
    if parsed.scheme not in _SCHEMES:
        raise Refused(f"a MESSAGE cannot go to a {parsed.scheme[:20]} URI", 400)
    return parsed.aor()


def _equal(one: str, other: str) -> bool:
    # The method parameter counts for nothing in a list (RFC 5365 §7.3).
    return _without_method(one) == _without_method(other) or parse_uri(_without_method(one)).equals(
        parse_uri(_without_method(other))
    )


def _without_method(uri: str) -> str:
    parsed = parse_uri(uri)
    if isinstance(parsed, SipUri) and parsed.method:
        return str(parsed.without_param("method"))
    return uri


def _common_headers(request: Request, realm: str) -> list[tuple[str, str]]:
    """Return what every copy takes over from the request.

    P-Asserted-Identity and Privacy are among it: who passes a copy out of the trust domain
    takes them away (RFC 3325 §5).
    """
    kept: list[tuple[str, str]] = []
    for name in dict.fromkeys(request.names):
        if name in ("Authorization", "Proxy-Authorization"):
            kept += [(name, value) for value in request.all(name) if _realm(value) != realm]
        elif name not in _OWN:
            kept += [(name, value) for value in request.all(name)]
    return kept


def _realm(value: str) -> str:
    return Credentials.parse(value).get("realm") or ""


def _copy(
    request: Request,
    one: Entry,
    common: list[tuple[str, str]],
    content: tuple[list[tuple[str, str]], bytes],
    ids: Ids,
) -> Request:
    parsed = parse_uri(one.uri)
    asked: list[tuple[str, str]] = []
    if isinstance(parsed, SipUri):
        asked = [
            (canonical_name(name), value)
            for name, value in parsed.header_items()
            if canonical_name(name) in _FROM_URI and value.isprintable()
        ]
    uri = _target(one.uri)
    sender = request.from_.without_param("tag").with_param("tag", ids.tag())
    require = sorted(request.require - {OPTION})
    headers = [
        ("Max-Forwards", "70"),
        ("From", str(sender)),
        ("To", f"<{uri}>"),
        ("Call-ID", ids.call_id()),
        ("CSeq", "1 MESSAGE"),
    ]
    if require:
        headers.append(("Require", ", ".join(require)))
    given = {name for name, _ in asked}
    headers += [(name, value) for name, value in common if name not in given]
    headers += asked
    of_content, body = content
    return Request.make("MESSAGE", uri, headers + of_content, body)


def _content(parts: list[Part]) -> tuple[list[tuple[str, str]], bytes]:
    """Return the body that the parts make, and the headers that describe it.

    A single part goes without a multipart around it (RFC 5365 §7.3).
    """
    if len(parts) > 1:
        content_type, body = Multipart("mixed", parts).write()
        return [("Content-Type", content_type)], body
    (part,) = parts
    headers = [(name, part.first(name)) for name in _OF_THE_BODY if part.first(name)]
    headers.append(("Content-Type", part.content_type))
    return headers, part.decoded()


def _target(uri: str) -> str:
    """Return the URI as a Request-URI may be: without headers and method."""
    parsed = parse_uri(uri)
    return str(parsed.for_request()) if isinstance(parsed, SipUri) else uri


def _history_part(shown: ResourceList) -> Part:
    return Part(
        [
            ("Content-Type", MEDIA_TYPE),
            ("Content-Disposition", f"{RECIPIENT_LIST_HISTORY}; handling=optional"),
        ],
        write_lists([shown]),
    )


def _readdressed(part: Part, one: Entry) -> Part:
    """Return a CPIM part that is addressed to one recipient; any other as it is.

    The sender that wants reports learns from Original-To which address it wrote to.

    Spec: RFC 5438 §6.4, §8
    """
    if part.media_type != cpim.MEDIA_TYPE:
        return part
    message = Cpim.parse(part.decoded())
    old = message.to
    if message.wanted and old and message.first("Original-To", IMDN) is None:
        message.add("Original-To", str(old[0]), IMDN)
    message.replace("To", str(Address(one.name, _target(one.uri))))
    return with_message(part, message)


def with_message(part: Part, message: Cpim) -> Part:
    """Return a part with another CPIM message in it."""
    headers = [pair for pair in part.headers if pair[0].lower() != "content-transfer-encoding"]
    return Part(headers, message.to_bytes())
