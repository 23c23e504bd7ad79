"""The bodies of the messages that a client sends.

Spec: RFC 3428 §4, §8; RFC 3862; RFC 5365 §4, §6; RFC 5438 §7.1
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from omaim.bodies.cpim import IMDN, Address, Cpim, escape
from omaim.bodies.cpim import MEDIA_TYPE as CPIM_TYPE
from omaim.bodies.mime import Part
from omaim.bodies.moments import write_moment
from omaim.bodies.multipart import Multipart
from omaim.bodies.resource_lists import (
    BCC,
    CC,
    MEDIA_TYPE,
    RECIPIENT_LIST,
    TO,
    Entry,
    ResourceList,
    write_lists,
)

LARGEST: Final = 1300  # octets of a whole pager-mode request, RFC 3428 §8
TEXT: Final = "text/plain;charset=utf-8"
ALL_REPORTS: Final = ("positive-delivery", "negative-delivery", "display")


@attrs.frozen
class Content:
    """What goes into a message, and how."""

    body: bytes
    content_type: str
    subject: str = ""


def write_cpim(
    content: Content,
    sender: Address,
    to: Iterable[str],
    moment: float,
    message_id: str,
    reports: Sequence[str],
) -> Cpim:
    """Return the content in its envelope.

    Args:
        content: the message.
        sender: its author.
        to: its recipients' URIs.
        moment: now, seconds since the epoch.
        message_id: what reports will call it.
        reports: which ones are wanted, as RFC 5438 §10 spells them.
    """
    part = Part([("Content-Type", content.content_type)], content.body)
    message = Cpim.make(sender, [Address("", uri) for uri in to], write_moment(moment), part)
    if content.subject:
        message.add("Subject", escape(content.subject))
    if message_id:
        message.add("Message-ID", message_id, IMDN)
        message.add("Disposition-Notification", ", ".join(reports), IMDN)
    return message


def write_list_body(content: Content, listed: Part) -> Content:
    """Return a message to a list, with the list that :func:`write_list` made.

    Spec: RFC 5365 §6
    """
    kind, body = Multipart(
        "mixed", [Part([("Content-Type", content.content_type)], content.body), listed]
    ).write()
    return Content(body, kind)


def write_list(to: Sequence[str], cc: Sequence[str] = (), bcc: Sequence[str] = ()) -> Part:
    """Return a list of recipients.

    Who is named twice gets the message once, and as visibly as the first time.

    Spec: RFC 5365 §6; RFC 5366 §4; RFC 5364 §4
    """
    people: dict[str, str] = {}
    for kind, uris in ((TO, to), (CC, cc), (BCC, bcc)):
        for uri in uris:
            people.setdefault(uri, kind)
    entries = tuple(Entry(uri, copy=kind) for uri, kind in people.items())
    return Part(
        [("Content-Type", MEDIA_TYPE), ("Content-Disposition", RECIPIENT_LIST)],
        write_lists([ResourceList(items=entries)]),
    )


__all__ = [
    "ALL_REPORTS",
    "CPIM_TYPE",
    "LARGEST",
    "TEXT",
    "Content",
    "write_cpim",
    "write_list",
    "write_list_body",
]
