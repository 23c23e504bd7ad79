"""Settings: one attrs class gives the ``twistd`` options, the TOML keys and the reference page.

One topology file describes a whole network; every ``twistd omaim-…`` takes the same file and
the name of its own part in it::

    [node]                          # what every process of this file shares
    state = "sqlite:///state.db"

    [entities.core-north]           # one part; its kind is the entity's name
    kind = "core"
    domain = "north.example"
    listen = ["udp:127.0.1.1:5060", "tcp:127.0.1.1:5060"]

    [entities.core-north.node]      # what only the process of this part does otherwise
    state = "sqlite:///core-north.db"
"""

from __future__ import annotations

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from omaim.errors import UsageError
from omaim.net.limits import StreamLimits

C = TypeVar("C")
TRUE = frozenset({"1", "yes", "true", "on"})
FALSE = frozenset({"0", "no", "false", "off"})


def setting(
    default: Any, help: str, *, check: Callable[[Any], str] | None = None, secret: bool = False
) -> Any:
    """Return an attrs field for a setting.

    Args:
        default: the value without any configuration; it must just run.
        help: one sentence for ``--help`` and the reference page.
        check: returns what is wrong with a value, or an empty string.
        secret: the value is left out of logs and pages.
    """
    return attrs.field(
        default=default,
        repr=not secret,
        metadata={"help": help, "check": check, "secret": secret},
    )


LEAST_UNREAD: Final = 2_097_152  # octets: twice the largest message, and more
_LIMITS: Final = StreamLimits()
STATE: Final = "sqlite:///omaim.db"  # where state lives if nobody says anything


@attrs.frozen
class NodeConfig:
    """What the entities of one process share."""

    name: str = setting("omaim", "the name of this process in logs and metrics")
    state: str = setting(
        STATE,
        "where state lives: memory:, sqlite:///PATH or postgresql://USER@HOST/NAME",
    )
    dns: tuple[str, ...] = setting((), "DNS servers as HOST:PORT; none means those of the system")
    metrics: str = setting("", "where the metrics page listens, HOST:PORT; empty for nowhere")
    trace: str = setting("", "a file that gets every message as JSON lines, for omaim ladder")
    features: tuple[str, ...] = setting((), "features to switch on, by name; see docs/features")
    feature_settings: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, repr=False)
    log_format: str = setting(
        "text",
        "how log lines look: text, or json for programs (one object a line)",
        check=lambda value: "" if value in ("text", "json") else "must be text or json",
    )
    log_file: str = setting("", "a file for the log; empty for where twistd writes it")
    sip_unread: int = setting(
        _LIMITS.unread,
        "octets that may wait for one SIP peer who reads slowly; requests for it beyond that are "
        "answered 503",
        check=lambda value: "" if value >= LEAST_UNREAD else f"must be {LEAST_UNREAD} at least",
    )
    sip_unread_total: int = setting(
        _LIMITS.unread_total,
        "octets that may wait for all such peers of one entity, before those are sent no more "
        "requests",
    )
    sip_stalled: float = setting(
        _LIMITS.stalled,
        "seconds after which the connection of a SIP peer who takes nothing of what waits for it "
        "is dropped",
        check=lambda value: "" if value > 0 else "must be more than 0",
    )
    control: str = setting(
        "", "a Unix socket for omaim user and other commands to a running process; empty for none"
    )


def settings_of(config: type[Any]) -> list[attrs.Attribute[Any]]:
    """Return the fields of a Config class in their order."""
    return [field for field in attrs.fields(config) if "help" in field.metadata]


def _tuple_of(kind: Any) -> Any | None:
    if typing.get_origin(kind) is tuple:
        return typing.get_args(kind)[0]
    return None


def _convert(where: str, kind: Any, value: Any) -> Any:
    """Return ``value`` (from TOML, or text from the command line) as ``kind``."""
    inner = _tuple_of(kind)
    if inner is not None:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            raise UsageError(f"{where}: must be a list, not {value!r}")
        return tuple(
            _convert(where, inner, item.strip() if isinstance(item, str) else item)
            for item in items
            if item != ""
        )
    if isinstance(kind, types.UnionType):
        kind = next(arm for arm in kind.__args__ if arm is not types.NoneType)
    try:
        return _scalar(kind, value)
    except (ValueError, TypeError):
        raise UsageError(f"{where}: {value!r} is not {_spoken(kind)}") from None


def _scalar(kind: Any, value: Any) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in TRUE | FALSE:
            return str(value).lower() in TRUE
        raise ValueError
    if kind is int and isinstance(value, (int, str)) and not isinstance(value, bool):
        return int(value)
    if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return float(value)
    if kind is str and isinstance(value, str):
        return value
    raise ValueError


def _spoken(kind: Any) -> str:
    words = {bool: "yes or no", int: "a whole number", float: "a number", str: "text"}
    return words.get(kind, str(kind))


def make_config(config: type[C], values: Mapping[str, Any], where: str) -> C:
    """Return a Config from text or TOML values.

    Args:
        config: the attrs class.
        values: by field name; a dash counts as an underscore.
        where: how messages call the place the values come from.

    Raises:
        UsageError: an unknown name (with the nearest known one), a wrong type or a value
            that the field's own check refuses.
    """
    fields = {field.name: field for field in settings_of(config)}
    hints = typing.get_type_hints(config)
    made: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        field = fields.get(name)
        if field is None:
            near = difflib.get_close_matches(name, fields, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(fields)}"
            raise UsageError(f"{where}: no setting is called {key}{hint}")
        made[name] = _convert(f"{where}: {key}", hints[name], value)
        check = field.metadata.get("check")
        complaint = check(made[name]) if check else ""
        if complaint:
            raise UsageError(f"{where}: {key} {complaint}")
    return config(**made)


def read_file(path: str) -> dict[str, Any]:
    """Return the contents of a topology file.

    Raises:
        UsageError: it cannot be read or is not TOML; the message says where.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        return tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None


@attrs.frozen
class Part:
    """One entity of a topology file, not yet made."""

    name: str
    kind: str  # the maker's name, "core"
    settings: Mapping[str, Any]
    node: NodeConfig


@attrs.frozen
class Listen:
    """One address on which SIP arrives, written ``udp:127.0.0.1:5060``."""

    transport: str  # "UDP", "TCP" or "TLS"
    host: str  # numeric, IPv6 without brackets
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport.lower()}:{host}:{self.port}"


_LISTEN = re.compile(r"(udp|tcp|tls):(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(\d{1,5})", re.IGNORECASE)


def parse_listen(text: str) -> Listen:
    """Return the address in ``transport:address:port``.

    Raises:
        UsageError: it is written otherwise.
    """
    found = _LISTEN.fullmatch(text)
    if found is None or int(found[4]) > 65535:
        raise UsageError(
            f"{text} is no address to listen on: write udp:127.0.0.1:5060, "
            "tcp:[::1]:5060 or tls:127.0.0.1:5061"
        )
    return Listen(found[1].upper(), found[2] or found[3], int(found[4]))


def parse_place(text: str, port: int | None = None) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; ``port`` stands in for a missing one.

    Raises:
        UsageError: it is written otherwise.
    """
    host, _, digits = text.rpartition(":")
    if not host and port is not None:
        return digits.strip("[]"), port
    if not host or not digits.isdecimal() or int(digits) > 65535:
        raise UsageError(f"{text} is no address: write HOST:PORT")
    return host.strip("[]"), int(digits)


def part_of(contents: Mapping[str, Any], name: str, path: str, state: str = STATE) -> Part:
    """Return the part called ``name`` of a topology file's contents.

    Args:
        state: where its state lives if the file does not say.

    Raises:
        UsageError: there is none (the message lists those there are), or it names no kind.
    """
    entities = contents.get("entities", {})
    table = entities.get(name)
    if not isinstance(table, dict):
        there = ", ".join(sorted(entities)) or "none"
        raise UsageError(f"{path} has no entity called {name}; there are: {there}")
    rest = dict(table)
    kind = rest.pop("kind", None)
    own = rest.pop("node", {})
    if not isinstance(kind, str):
        raise UsageError(f'{path}: entities.{name} needs kind = "core" or another entity\'s name')
    shared = {**contents.get("node", {}), **own}
    shared.setdefault("name", name)
    shared.setdefault("state", state)
    node = make_config(NodeConfig, shared, f"{path}: node of {name}")
    features = contents.get("features", {})
    node = attrs.evolve(node, feature_settings=features)
    return Part(name=name, kind=kind, settings=rest, node=node)


def reference(config: type[Any]) -> str:
    """Return the reference table of a Config class as reStructuredText."""
    rows = []
    for field in settings_of(config):
        default = "" if field.metadata.get("secret") else field.default
        shown = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
        rows.append(
            f"   * - ``{field.name}``\n     - ``{shown or '(empty)'}``\n"
            f"     - {field.metadata.get('help', '')}\n"
        )
    head = ".. list-table::\n   :header-rows: 1\n\n   * - Setting\n     - Default\n     - Meaning\n"
    return head + "".join(rows)
