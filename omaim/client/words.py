"""What went wrong, in one line for a person at the prompt; the rest is told by /why."""

from __future__ import annotations

import re
from typing import Final

from omaim.client.failures import (
    BadNickname,
    Busy,
    ConsentNeeded,
    Declined,
    Ended,
    Failure,
    Kept,
    NoAnswer,
    NotAcceptable,
    NotFound,
    Refused,
    TooLarge,
    Unreachable,
    WrongFormat,
    WrongPassword,
)

_NEXT: Final[tuple[tuple[type[Failure], str], ...]] = (
    (WrongPassword, "Check the name and the password."),
    (NotFound, "Check how it is written."),
    (NoAnswer, "Try again later, or /connect."),
    (WrongFormat, "Send plain text."),
    (TooLarge, "Make it shorter, or /send it as a file."),
    (Kept, "It gets the message when it is back."),
    (Unreachable, "Try again later."),
    (NotAcceptable, "Send plain text."),
    (Busy, "Try again later."),
    (Declined, ""),
    (Refused, ""),
    (Ended, "Begin another one: /talk or /join."),
    (BadNickname, "Choose another one."),
    (ConsentNeeded, "Write to them one by one."),
)

_numbered: Final = re.compile(r"[0-9]{3} ").match
_whys: Final = re.compile(r"^[^:]{0,60}: (?=.)").match  # what kind of refusal, before which one


def told(error: Exception) -> str:
    """Return what happened and what to do next, in one line."""
    if not isinstance(error, Failure):
        return _sentence(str(error))
    what = _sentence(_bare(error.reason) or str(error))
    if error.retry_after >= 0:
        return f"{what} Try again in {error.retry_after} s."
    following = next((text for kind, text in _NEXT if isinstance(error, kind)), "See /why.")
    return f"{what} {following}".rstrip()


def detail(error: Exception) -> str:
    """Return all that is known about it, for /why."""
    if not isinstance(error, Failure):
        return f"{type(error).__name__}: {error}"
    status = f"status {error.status}" if error.status else "no answer"
    return f"{type(error).__name__}, {status}, “{error.reason}”. Advice: {error.advice}."


def _bare(reason: str) -> str:
    """Return a reason without its number, and without its kind where it goes on behind that."""
    if _numbered(reason):
        reason = reason[4:]
        kind = _whys(reason)
        if kind is not None:
            reason = reason[kind.end() :]
    return reason


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else "It did not work."
