"""Logs: where lines go, how they look, and what must not be in them.

Entities log with ``twisted.logger``. What people see is omaim's own words from "info" up and
everybody else's warnings, unless they ask for all; what machines read is one JSON object a
line. Values named like secrets are hidden wherever they turn up.
"""

from __future__ import annotations

import datetime
import json
import re
import sys
from typing import Any, Final, TextIO

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogBeginner,
)
from zope.interface import implementer

from omaim.errors import UsageError

HIDDEN: Final = "(hidden)"
_SECRET: Final = re.compile(r"passw|secret|authorization|credential|ha1|private_key", re.IGNORECASE)
_SPOKEN: Final = re.compile(
    r"(?i)((?:proxy-)?authorization:[ \t]*|passw(?:or)?d[\"']?[ \t]*[=:][ \t]*)[^\r\n,;]+"
)
_OWN: Final = frozenset({"time", "level", "namespace", "message", "traceback"})


def shown(event: LogEvent, verbose: bool = False) -> bool:
    """Tell whether people want to see an event."""
    level = event.get("log_level", LogLevel.info)
    if verbose:
        return bool(level >= LogLevel.debug)
    ours = str(event.get("log_namespace", "")).startswith("omaim")
    return bool(level >= (LogLevel.info if ours else LogLevel.warn))


def without_secrets(event: LogEvent) -> LogEvent:
    """Return the event with the values hidden that are named like secrets."""
    return {key: HIDDEN if _SECRET.search(key) else value for key, value in event.items()}


def clean(text: str) -> str:
    """Return the text without what follows the word password or a credentials header."""
    return _SPOKEN.sub(rf"\1{HIDDEN}", text)


def to_json(event: LogEvent) -> str:
    """Return an event as one line of JSON: time, level, namespace, message and its values."""
    event = without_secrets(event)
    moment = datetime.datetime.fromtimestamp(event.get("log_time", 0.0), datetime.UTC)
    level = event.get("log_level")
    fields: dict[str, Any] = {
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level.name if level is not None else "info",
        "namespace": str(event.get("log_namespace", "")),
        "message": clean(formatEvent(event)),
    }
    failure = event.get("log_failure")
    if failure is not None:
        fields["traceback"] = clean(failure.getTraceback())
    for key, value in event.items():
        if not key.startswith("log_") and key not in _OWN and _plain(value):
            fields[key] = clean(value) if isinstance(value, str) else value
    return json.dumps(fields, ensure_ascii=False, default=str)


def _plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool, type(None)))


def to_text(event: LogEvent) -> str:
    """Return an event as a line for people."""
    event = without_secrets(event)
    moment = datetime.datetime.fromtimestamp(event.get("log_time", 0.0))
    level = event.get("log_level")
    mark = f"{level.name}: " if level is not None and level >= LogLevel.warn else ""
    # A peer's words cannot begin a line of their own, nor write on a terminal.
    text = "".join(sign if sign.isprintable() else "·" for sign in formatEvent(event))
    failure = event.get("log_failure")
    if failure is not None:
        text = f"{text}\n{failure.getTraceback()}".rstrip()
    return clean(f"{moment:%H:%M:%S} {mark}{text}")


@implementer(ILogObserver)
class Lines:
    """An observer that writes lines.

    Args:
        file: where to.
        form: "text" or "json".
        verbose: everything, not only what people want to see.
    """

    def __init__(self, file: TextIO, form: str = "text", verbose: bool = False) -> None:
        self._file = file
        self._write = to_json if form == "json" else to_text
        self._verbose = verbose

    def __call__(self, event: LogEvent) -> None:
        if shown(event, self._verbose):
            self._file.write(self._write(event) + "\n")
            self._file.flush()


def observer(form: str, path: str = "") -> Lines:
    """Return the observer of a server process.

    Args:
        form: "text" or "json".
        path: a file to append to; empty for the standard output.

    Raises:
        UsageError: the file cannot be written.
    """
    if not path:
        return Lines(sys.stdout, form)
    try:
        return Lines(open(path, "a", encoding="utf-8"), form)
    except OSError as error:
        raise UsageError(f"cannot write the log {path}: {error.strerror}") from None


def begin_logging(file: TextIO, form: str = "text", verbose: bool = False) -> None:
    """Send the log of a program that people run to ``file`` from now on."""
    globalLogBeginner.beginLoggingTo(
        [Lines(file, form, verbose)], redirectStandardIO=False, discardBuffer=not verbose
    )
