"""application/vnd.oma.im.deferred-list+xml: what waits for a user, or which of it is meant.

It holds metadata only, and is written as :mod:`omaim.bodies.history_list` is.

Spec: OMA-TS-IM_XDM V1.0 §5.2 (deferred-list)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from omaim.bodies.history_list import (
    ENTRIES,
    NAMESPACE,
    Pager,
    Recorded,
    parse_history_list,
    write_history_list,
)
from omaim.bodies.history_list import BadHistoryList as BadDeferredList

MEDIA_TYPE: Final = "application/vnd.oma.im.deferred-list+xml"

_NOTHING: Final = Pager()


@attrs.frozen
class Waiting:
    """One deferred message, without its content.

    Spec: OMA-TS-IM_XDM V1.0 §5.2 (history, pager)
    """

    reference: str
    size: int = 0  # octets
    expires_at: float = 0.0  # seconds since the epoch; 0 when not said
    subject: str = ""
    date: float = 0.0  # when it was stored; 0 when not said
    sent_at: float = 0.0  # 0 when not said
    sender: str = ""
    recipient: str = ""


def write_deferred_list(entries: Sequence[Waiting]) -> bytes:
    """Return the document."""
    return write_history_list(
        [
            Recorded(
                one.reference,
                one.size,
                one.expires_at,
                one.subject,
                one.date,
                Pager(one.sent_at, one.sender, one.recipient),
            )
            for one in entries
        ]
    )


def parse_deferred_list(data: bytes) -> tuple[Waiting, ...]:
    """Return what a document lists; elements that are not known are overlooked.

    Raises:
        BadXml: not this XML, an entry without a reference, or too many (413).
    """
    found = []
    for one in parse_history_list(data).entries:
        pager = one.pager or _NOTHING
        found.append(
            Waiting(
                reference=one.reference,
                size=one.size,
                expires_at=one.expires_at,
                subject=one.subject,
                date=one.date,
                sent_at=pager.sent_at,
                sender=pager.sender,
                recipient=pager.recipient,
            )
        )
    return tuple(found)


__all__ = [
    "ENTRIES",
    "MEDIA_TYPE",
    "NAMESPACE",
    "BadDeferredList",
    "Waiting",
    "parse_deferred_list",
    "write_deferred_list",
]
