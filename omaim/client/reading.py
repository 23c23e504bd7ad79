"""What a MESSAGE that came says, whatever it is wrapped in.

Spec: RFC 3428 §4; RFC 3862 §3.5; RFC 3994; RFC 5365 §7.3; RFC 5438 §7.1.4
"""

from __future__ import annotations

from typing import Final

import attrs

from omaim.bodies import imdn, iscomposing
from omaim.bodies.cpim import CORE, IMDN, Cpim
from omaim.bodies.cpim import MEDIA_TYPE as CPIM_TYPE
from omaim.bodies.deferred_list import MEDIA_TYPE as DEFERRED_TYPE
from omaim.bodies.deferred_list import Waiting, parse_deferred_list
from omaim.bodies.mime import Part
from omaim.bodies.moments import parse_moment
from omaim.bodies.multipart import is_multipart, parse_multipart
from omaim.bodies.resource_lists import RECIPIENT_LIST_HISTORY, entries, parse_lists
from omaim.errors import PeerError
from omaim.sip.headers import NameAddr
from omaim.sip.message import Request
from omaim.sip.uri import canonical_aor
from omaim.sip.values import parse_date

ENVELOPES: Final = (
    CPIM_TYPE,
    "multipart/mixed",
    imdn.MEDIA_TYPE,
    iscomposing.MEDIA_TYPE,
    DEFERRED_TYPE,
)
CONTENTS: Final = ("text/plain", "text/html")

_UNDERSTOOD: Final = [
    *(CORE + name for name in ("From", "To", "cc", "DateTime", "Subject", "NS", "Require")),
    *(
        IMDN + name
        for name in (
            "Message-ID",
            "Disposition-Notification",
            "IMDN-Route",
            "IMDN-Record-Route",
            "Original-To",
        )
    ),
]


class NotTaken(PeerError):
    """The content is of a kind that we do not take; the answer carries what we do."""

    status = 415


@attrs.frozen
class Received:
    """What is in a MESSAGE.

    Attributes:
        sender: asserted by the network, else as From says; a URI.
        verified: it is asserted.
        name: the sender's.
        part: the content itself.
        envelope: the CPIM message around it, if any.
        others: visible recipients of a list message.
        reports: the content is this, and not a message.
        typing: the content is this, and not a message.
        waiting: the content is the list of what waits at the server, and not a message.
    """

    sender: str
    verified: bool
    name: str
    part: Part
    envelope: Cpim | None = None
    others: tuple[str, ...] = ()
    reports: tuple[imdn.Imdn, ...] = ()
    typing: iscomposing.IsComposing | None = None
    waiting: tuple[Waiting, ...] | None = None

    @property
    def sent_at(self) -> float:
        """When it was sent by the envelope, seconds since the epoch; 0.0 if it does not say."""
        if self.envelope is None or not self.envelope.date_time:
            return 0.0
        try:
            return parse_moment(self.envelope.date_time)
        except PeerError:
            return 0.0

    @property
    def honest(self) -> bool:
        """The author in the envelope is the one whom the network asserts.

        Reports go to the author; without this check anybody could have us send messages to
        third parties.
        """
        author = self.envelope.from_ if self.envelope is not None else None
        if author is None or author.uri.lower().rpartition("@")[2].endswith(".invalid"):
            return False
        try:
            return canonical_aor(author.uri) == canonical_aor(self.sender)
        except PeerError:
            return False


def read(request: Request, accept: tuple[str, ...], *, trusted: bool = True) -> Received:
    """Return what a MESSAGE says.

    Args:
        request: the MESSAGE.
        accept: media types that we take, envelopes included; ``text/*`` and ``*/*`` may be among
            them.
        trusted: it came from our server: what it asserts is so.

    Raises:
        NotTaken: 415, the content is of another kind.
        PeerError: it does not parse (400), or requires what we do not know (488).
    """
    sender, verified = sender_of(request, trusted)
    content_type = request.first("Content-Type") or "text/plain"
    return read_content(content_type, request.body, accept, sender, verified)


def read_content(
    content_type: str, body: bytes, accept: tuple[str, ...], sender: NameAddr, verified: bool
) -> Received:
    """Return what some content says, whatever carried it.

    Args:
        content_type: of the outermost envelope.
        body: octets.
        accept: as :func:`read` has it.
        sender: who sent it, as far as who carried it knows.
        verified: that is asserted by the network.

    Raises: as :func:`read`.
    """
    part = Part([("Content-Type", content_type)], body)
    others: tuple[str, ...] = ()
    _check(part.media_type, accept)
    if is_multipart(content_type):
        part, others = _unwrap(part)
        _check(part.media_type, accept)
    envelope = None
    if part.media_type == CPIM_TYPE:
        envelope = Cpim.parse(part.decoded())
        missing = envelope.not_understood(_UNDERSTOOD)
        if missing:
            raise PeerError(f"CPIM header {missing[0][:40]} is not understood", 488)
        part = envelope.part
        reports = tuple(imdn.read_reports(envelope))
        if reports:
            return Received(sender.uri_text, verified, "", part, envelope, others, reports)
        _check(part.media_type, accept)
    kind = part.media_type
    name = sender.display
    if envelope is not None and envelope.from_ is not None and envelope.from_.name:
        name = envelope.from_.name
    found = Received(sender.uri_text, verified, name, part, envelope, others)
    if kind == imdn.MEDIA_TYPE:
        return attrs.evolve(found, reports=(imdn.parse_imdn(part.decoded()),))
    if kind == iscomposing.MEDIA_TYPE:
        return attrs.evolve(found, typing=iscomposing.parse_iscomposing(part.decoded()))
    if kind == DEFERRED_TYPE:
        return attrs.evolve(found, waiting=parse_deferred_list(part.decoded()))
    return found


def sent_at(request: Request, found: Received) -> float:
    """Return when a message was sent, by its envelope or by its Date; 0.0 if unknown."""
    moment = found.sent_at
    date = request.first("Date")
    if not moment and date:
        try:
            moment = parse_date(date)
        except PeerError:
            moment = 0.0
    return moment


def sender_of(request: Request, trusted: bool) -> tuple[NameAddr, bool]:
    """Return who sent a request, and whether the network asserts that."""
    try:
        asserted = request.addresses("P-Asserted-Identity") if trusted else []
    except PeerError:
        asserted = []
    return (asserted[0], True) if asserted else (request.from_, False)


def _check(media_type: str, accept: tuple[str, ...]) -> None:
    main = media_type.partition("/")[0]
    if not any(kind in (media_type, f"{main}/*", "*/*") for kind in accept):
        raise NotTaken(f"{media_type[:60]} is not taken here")


def _unwrap(part: Part) -> tuple[Part, tuple[str, ...]]:
    """Return the message in a multipart, and the recipients in its list history."""
    content: Part | None = None
    others: list[str] = []
    for one in parse_multipart(part.content_type, part.decoded()).parts:
        if one.disposition == RECIPIENT_LIST_HISTORY:
            try:
                lists = parse_lists(one.decoded())
            except PeerError:
                if one.optional:
                    continue
                raise
            others += [entry.uri for each in lists for entry in entries(each)]
        elif content is None:
            content = one
    if content is None:
        raise PeerError("the multipart has no message in it")
    return content, tuple(others)
