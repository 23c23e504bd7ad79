"""Traces: every message of a process in a file, as JSON lines, for ``omaim ladder``.

A line is a message as it crossed a socket, or the place of an entity (so that whoever reads
the file can name the ends of a message). Several processes write a file each; their lines
together are one trace. A trace holds what people wrote to each other and digest responses,
but no passwords; only its owner may read it.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any, Final

import attrs
from twisted.logger import Logger

from omaim.errors import UsageError
from omaim.net.wire import IN, OUT, WireRecord
from omaim.node.directory import Directory, Place

MOST: Final = 2**30  # a trace that somebody forgot must not fill the disk

_log = Logger()


class Trace:
    """A wire tap that appends each message to a file.

    Args:
        path: the file; it is made when it is not there, for its owner's eyes only.
        most: characters to write; then the trace ends, with a word in the log.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, path: str, most: int = MOST) -> None:
        self._path = path
        self._left = most
        try:
            self._file = open(path, "a", encoding="utf-8", opener=_private)  # noqa: SIM115
        except OSError as error:
            raise UsageError(f"cannot write the trace {path}: {error.strerror}") from None

    def __call__(self, record: WireRecord) -> None:
        self._write(to_line(record))

    def note(self, place: Place) -> None:
        """Write down where an entity is."""
        self._write(json.dumps({"place": attrs.asdict(place)}, ensure_ascii=False))

    def close(self) -> None:
        """Write no more."""
        self._file.close()

    def _write(self, line: str) -> None:
        if self._file.closed:
            return
        self._left -= len(line) + 1
        if self._left < 0:
            _log.warn("the trace {path} is full; no more is recorded", path=self._path)
            self._file.close()
            return
        self._file.write(line + "\n")
        self._file.flush()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_lines(lines: Iterable[str], directory: Directory, where: str = "") -> list[WireRecord]:
    """Return the messages in lines of a trace; places go to ``directory``.

    Args:
        where: how errors call the lines, such as the name of the file.

    Raises:
        UsageError: a line is neither.
    """
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            if "place" in fields:
                directory.note(_place(fields["place"]))
            else:
                found.append(_record(fields))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            at = f"{where}, line {number}: " if where else ""
            raise UsageError(f"{at}not a line of a trace: {error!r}") from None
    return found


def read_trace(path: str, directory: Directory | None = None) -> list[WireRecord]:
    """Return the messages of a trace file.

    A last line without its end is left out: somebody is writing it.

    Args:
        path: the file.
        directory: gets the places that the file tells of.

    Raises:
        UsageError: the file cannot be read or a line is no line of a trace.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"cannot read {path}: {why}") from None
    return read_lines(lines, directory if directory is not None else Directory(), path)


def to_line(record: WireRecord) -> str:
    """Return a record as one line of JSON.

    Octets that are UTF-8 stay readable ("text"); others are base64 ("octets").
    """
    fields: dict[str, object] = {
        "time": record.time,
        "entity": record.entity,
        "direction": record.direction,
        "protocol": record.protocol,
        "transport": record.transport,
        "local": list(record.local),
        "remote": list(record.remote),
    }
    try:
        fields["text"] = record.data.decode()
    except UnicodeDecodeError:
        fields["octets"] = b64encode(record.data).decode()
    return json.dumps(fields, ensure_ascii=False)


def from_line(line: str) -> WireRecord:
    """Return the record that :func:`to_line` wrote.

    Raises:
        UsageError: the line is no record.
    """
    found = read_lines([line], Directory())
    if not found:
        raise UsageError("not a line of a trace: it holds no message")
    return found[0]


def _record(fields: Any) -> WireRecord:
    data = fields["text"].encode() if "text" in fields else b64decode(fields["octets"])
    direction = fields["direction"]
    if direction not in (IN, OUT):
        raise ValueError(direction)
    return WireRecord(
        time=float(fields["time"]),
        entity=str(fields["entity"]),
        direction=direction,
        protocol=str(fields["protocol"]),
        transport=str(fields["transport"]),
        local=_address(fields["local"]),
        remote=_address(fields["remote"]),
        data=data,
    )


def _place(fields: Any) -> Place:
    return Place(
        name=str(fields["name"]),
        role=str(fields["role"]),
        host=str(fields["host"]),
        port=int(fields["port"]),
        domain=str(fields["domain"]),
    )


def _address(pair: list[object]) -> tuple[str, int]:
    host, port = pair
    return str(host), int(str(port))
