"""Points in time as documents write them: RFC 3339, read to and written from epoch seconds.

Spec: RFC 3339 §5.6
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from omaim.errors import PeerError

_MOMENT: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,12}))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))?"
)


class BadMoment(PeerError):
    """A date and time that does not exist or is not written as RFC 3339 says."""

    status = 400


def parse_moment(text: str) -> float:
    """Return seconds since the epoch, UTC; to the microsecond.

    A time without an offset, which ``xs:dateTime`` allows, is taken as UTC. A leap
    second counts as the second after it.

    Raises:
        BadMoment: not a date and time between the years 1 and 9999.

    Spec: RFC 3339 §5.6, §5.7; XML Schema Part 2 §3.2.7
    """
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        raise BadMoment(f"{text[:40]!r} is not a date and time")
    year, month, day, hour, minute, second = (int(found[at]) for at in range(1, 7))
    offset = timedelta()
    if found[9]:
        offset = timedelta(hours=int(found[10]), minutes=int(found[11]))
        if int(found[10]) > 23 or int(found[11]) > 59:
            raise BadMoment(f"{text[:40]!r} has no such offset")
        if found[9] == "-":
            offset = -offset
    leap = second == 60
    micro = int((found[7] or "").ljust(6, "0")[:6])
    try:
        moment = datetime(
            year, month, day, hour, minute, 59 if leap else second, micro, timezone(offset)
        )
    except ValueError:
        raise BadMoment(f"{text[:40]!r} is not a date and time") from None
    since = moment - _EPOCH
    return since.days * 86400.0 + since.seconds + since.microseconds / 1e6 + leap


def write_moment(seconds: float, digits: int = 0) -> str:
    """Return a moment as RFC 3339 in UTC, ``2026-01-31T08:15:00Z``.

    Args:
        seconds: since the epoch.
        digits: of the fraction of a second, 0 to 6; the rest is cut off.
    """
    micros = int(seconds * 1_000_000 + (0.5 if seconds >= 0 else -0.5))
    moment = _EPOCH + timedelta(microseconds=micros)
    text = (
        f"{moment.year:04}-{moment.month:02}-{moment.day:02}"
        f"T{moment.hour:02}:{moment.minute:02}:{moment.second:02}"
    )
    if digits > 0:
        text += f".{moment.microsecond:06}"[: 1 + min(digits, 6)]
    return text + "Z"


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
