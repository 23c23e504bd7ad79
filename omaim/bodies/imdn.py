"""message/imdn+xml: what became of a message, told to who sent it.

A report is made from the CPIM message that it is about, and only when that message asks for
it; nothing here makes a report about a report.

Spec: RFC 5438
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from omaim.bodies.cpim import IMDN, Address, BadCpim, Cpim
from omaim.bodies.cpim import MEDIA_TYPE as CPIM_TYPE
from omaim.bodies.mime import BadMime, Part
from omaim.bodies.multipart import Multipart, is_multipart, leaves
from omaim.bodies.xml import (
    BadXml,
    Element,
    add,
    child,
    child_text,
    local_name,
    namespace_of,
    new_root,
    parse_xml,
    text_of,
    write_xml,
)
from omaim.errors import UsageError

MEDIA_TYPE: Final = "message/imdn+xml"
NAMESPACE: Final = "urn:ietf:params:xml:ns:imdn"
DISPOSITION: Final = "notification"  # RFC 5438 §7.2.1

DELIVERY: Final = "delivery"
PROCESSING: Final = "processing"
DISPLAY: Final = "display"

STATUSES: Final = {  # RFC 5438 §5, §11.1.7
    DELIVERY: ("delivered", "failed", "forbidden", "error"),
    PROCESSING: ("processed", "stored", "forbidden", "error"),
    DISPLAY: ("displayed", "forbidden", "error"),
}

_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"


class BadImdn(BadXml):
    """The body is not a disposition notification."""


@attrs.frozen
class Imdn:
    """One disposition of one message.

    Spec: RFC 5438 §11.1
    """

    message_id: str  # of the message that this is about
    date_time: str  # of that message, as it wrote it
    kind: str  # DELIVERY, PROCESSING or DISPLAY; "" for one of a later specification
    status: str  # one of STATUSES[kind], or an extension's local name
    recipient_uri: str = ""  # "" when it is not disclosed
    original_recipient_uri: str = ""
    subject: str = ""
    subject_lang: str = ""


def parse_imdn(data: bytes) -> Imdn:
    """Return what a message/imdn+xml says; extensions are overlooked.

    Raises:
        BadXml: not XML, or not this XML.

    Spec: RFC 5438 §11
    """
    root = parse_xml(data, _tag("imdn"))
    message_id = child_text(root, _tag("message-id"))
    if not message_id:
        raise BadImdn("imdn without a message-id")
    kind = status = ""
    for name in (DELIVERY, PROCESSING, DISPLAY):
        report = child(root, _tag(f"{name}-notification"))
        if report is None:
            continue
        if kind:
            raise BadImdn("imdn with two notifications")
        kind = name
        status = _status(report)
    subject = child(root, _tag("subject"))
    return Imdn(
        message_id=message_id,
        date_time=child_text(root, _tag("datetime")),
        kind=kind,
        status=status,
        recipient_uri=child_text(root, _tag("recipient-uri")),
        original_recipient_uri=child_text(root, _tag("original-recipient-uri")),
        subject="" if subject is None else text_of(subject),
        subject_lang="" if subject is None else subject.get(_LANG, ""),
    )


def _status(report: Element) -> str:
    """Return the name of the one status element, ours before an extension's."""
    status = child(report, _tag("status"))
    if status is None or len(status) == 0:
        raise BadImdn("imdn without a status")
    ours = [local_name(one) for one in status if namespace_of(one) == NAMESPACE]
    return ours[0] if ours else local_name(status[0])


def write_imdn(imdn: Imdn) -> bytes:
    """Return the document.

    Raises:
        UsageError: a kind or status that RFC 5438 does not have.

    Spec: RFC 5438 §11.1.9
    """
    if imdn.status not in STATUSES.get(imdn.kind, ()):
        raise UsageError(f"no {imdn.kind} notification says {imdn.status!r}")
    root = new_root(_tag("imdn"), {None: NAMESPACE})
    add(root, _tag("message-id"), imdn.message_id)
    add(root, _tag("datetime"), imdn.date_time)
    if imdn.recipient_uri:
        add(root, _tag("recipient-uri"), imdn.recipient_uri)
    if imdn.original_recipient_uri:
        add(root, _tag("original-recipient-uri"), imdn.original_recipient_uri)
    if imdn.subject:
        lang = [(_LANG, imdn.subject_lang)] if imdn.subject_lang else []
        add(root, _tag("subject"), imdn.subject, lang)
    report = add(root, _tag(f"{imdn.kind}-notification"))
    add(add(report, _tag("status")), _tag(imdn.status))
    return write_xml(root)


def is_report(message: Cpim) -> bool:
    """Return whether a CPIM message carries reports, one or several.

    The Content-Disposition does not decide: a sender that forgets it must not be answered by a
    report about its report, and one that writes it beside words for people pretends.

    Raises:
        BadMime: the content cannot be told.

    Spec: RFC 5438 §9
    """
    part = message.part
    if part.media_type == MEDIA_TYPE:
        return True
    if not is_multipart(part.content_type):
        return False
    return any(one.media_type == MEDIA_TYPE for one in leaves(part.content_type, part.content))


def wants(message: Cpim, kind: str, status: str) -> bool:
    """Return whether the sender of a message asked for this report.

    It is never so for a report, for a message without a Message-ID, nor for one whose
    sender stays unknown.

    Raises:
        BadCpim, BadMime: the message cannot be understood.

    Spec: RFC 5438 §7.2.1, §8.1, §8.2, §12.1.1
    """
    wanted = message.wanted
    if not wanted or not message.message_id or message.from_ is None or is_report(message):
        return False
    if kind == DELIVERY:
        if status == "delivered":
            return "positive-delivery" in wanted
        if status == "failed":
            return "negative-delivery" in wanted
        return "positive-delivery" in wanted or "negative-delivery" in wanted
    return kind in wanted


def report(
    message: Cpim,
    kind: str,
    status: str,
    message_id: str,
    *,
    recipient: Address | None = None,
    date_time: str = "",
    disclosed: bool = True,
) -> Cpim | None:
    """Return the report on a message, or None when its sender did not ask for it.

    Args:
        message: what the report is about.
        kind: DELIVERY, PROCESSING or DISPLAY.
        status: one of STATUSES[kind].
        message_id: of the report itself; nobody can guess it.
        recipient: whose disposition it is; the first To of the message when not given.
        date_time: when the report is made; "" leaves it out.
        disclosed: whether the sender may learn who the recipients are; if not,
            ``recipient`` should be the list's own address.

    Raises:
        UsageError: no such kind or status, or the report has nobody to come from.
        BadCpim, BadMime: the message cannot be understood.

    Spec: RFC 5438 §7.2.1, §8, §11.1
    """
    if status not in STATUSES.get(kind, ()):
        raise UsageError(f"no {kind} notification says {status!r}")
    sender = message.from_
    if sender is None or not wants(message, kind, status):
        return None
    to = message.to
    if recipient is None:
        if not to:
            raise UsageError("the message names no recipient: say whose report it is")
        recipient = to[0]
    originals = message.addresses("Original-To", IMDN)
    subject = message.first("Subject")
    body = write_imdn(
        Imdn(
            message_id=message.message_id,
            date_time=message.date_time,
            kind=kind,
            status=status,
            recipient_uri=recipient.uri if disclosed else "",
            original_recipient_uri=originals[0].uri if originals and disclosed else "",
            subject="" if subject is None else subject.text,
            subject_lang="" if subject is None else subject.lang,
        )
    )
    answer = _envelope(recipient, sender, message_id, date_time, _part(MEDIA_TYPE, body))
    for header in message.all("IMDN-Record-Route", IMDN):
        answer.add("IMDN-Route", header.value, IMDN)
    return answer


def aggregate(
    reports: Sequence[Imdn], sender: Address, to: Address, message_id: str, date_time: str = ""
) -> Cpim:
    """Return one CPIM message with several reports, as a list server may send.

    Args:
        reports: at least one.
        sender: the list server.
        to: who sent the message.
        message_id: of the result; nobody can guess it.
        date_time: when it is made; "" leaves it out.

    Spec: RFC 5438 §8.3
    """
    parts = [Part([("Content-Type", MEDIA_TYPE)], write_imdn(one)) for one in reports]
    content_type, content = Multipart("mixed", parts).write()
    return _envelope(sender, to, message_id, date_time, _part(content_type, content))


def read_reports(message: Cpim) -> list[Imdn]:
    """Return the reports that a CPIM message carries; none if it is an ordinary message.

    Raises:
        BadMime, BadXml: it says it carries reports and does not.

    Spec: RFC 5438 §7.1.4, §9
    """
    if not is_report(message):
        return []
    part = message.part
    return [
        parse_imdn(one.decoded())
        for one in leaves(part.content_type, part.content)
        if one.media_type == MEDIA_TYPE
    ]


def undisclosed(imdn: Imdn) -> Imdn:
    """Return the report without who the recipient is.

    Spec: RFC 5438 §8, §14.2
    """
    return attrs.evolve(imdn, recipient_uri="", original_recipient_uri="")


def destination(message: Cpim) -> str:
    """Return the URI to which a report goes next: its first route, else its To.

    Raises:
        BadCpim: it names nobody.

    Spec: RFC 5438 §7.2.1, §8
    """
    routes = message.addresses("IMDN-Route", IMDN) or message.to
    if not routes:
        raise BadCpim("report to nobody")
    return routes[0].uri


def record_route(message: Cpim, uri: str) -> None:
    """Have the reports on a message come back through ``uri``, a server's own address.

    Spec: RFC 5438 §6.5, §8
    """
    message.insert_before("IMDN-Record-Route", str(Address("", uri)), IMDN)


def take_route(message: Cpim, is_own: Callable[[str], bool]) -> bool:
    """Remove the first route of a report when it is this server's.

    Args:
        message: the report.
        is_own: whether a URI is this server's address.

    Returns:
        Whether a route was removed; :func:`destination` then says where to go on.

    Spec: RFC 5438 §8
    """
    routes = message.addresses("IMDN-Route", IMDN)
    if not routes or not is_own(routes[0].uri):
        return False
    message.drop("IMDN-Route", IMDN, 1)
    return True


def _envelope(sender: Address, to: Address, message_id: str, date_time: str, part: Part) -> Cpim:
    answer = Cpim.make(sender, [to], date_time, part)
    answer.add("Message-ID", message_id, IMDN)
    return answer


def _part(content_type: str, content: bytes) -> Part:
    return Part(
        [
            ("Content-Type", content_type),
            ("Content-Disposition", DISPOSITION),
            ("Content-Length", str(len(content))),
        ],
        content,
    )


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


__all__ = [
    "CPIM_TYPE",
    "DELIVERY",
    "DISPLAY",
    "DISPOSITION",
    "MEDIA_TYPE",
    "NAMESPACE",
    "PROCESSING",
    "STATUSES",
    "BadImdn",
    "BadMime",
    "Imdn",
    "aggregate",
    "destination",
    "is_report",
    "parse_imdn",
    "read_reports",
    "record_route",
    "report",
    "take_route",
    "undisclosed",
    "wants",
    "write_imdn",
]
