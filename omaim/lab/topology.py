"""The default network: two domains, each with core, IM Server and MSRP relay, and their people.

It is made as the contents of a topology file (see :mod:`omaim.node.config`), so that what runs
in one process and what :func:`split` writes for many are the same text.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
from pathlib import Path
from typing import Any

import attrs

from omaim.errors import UsageError
from omaim.lab.certificates import write_certificates
from omaim.lab.people import NORTH, SOUTH, Person, people_file
from omaim.lab.rooms import DIRECT, groups_file

# What old clients need: sipp and sipsak look at the first challenge only.
FOR_ALL = ("MD5", "SHA-256")
SIP = 5060
SIPS = 5061
MSRP = 2855  # as registered; TLS is one above
# Whose user part leads to the IM Server: for lists, for what waits, for history, for conferences
# that are made on demand, for chat rooms and for the conferences themselves.
SERVICES = (
    "exploder",
    "deferred",
    "deferred-delete",
    "history",
    "history-delete",
    "conference",
    "room.*",
    "conf.*",
)
LONGEST_PATH = 107  # octets of a socket's path, by the system


@attrs.frozen
class Home:
    """One domain of the lab and where its servers are."""

    short: str  # "north"
    domain: str  # "north.example"
    core: str  # address
    im: str
    relay: str
    people: tuple[Person, ...]


@attrs.frozen
class Plan:
    """Where everything of a lab is.

    Args:
        folder: of state, certificates and configuration.
        base: first two numbers of the loopback addresses to use.
        port: SIP port of every server; TLS is one above.
        dns_port: port of the DNS.
        algorithms: of digest, that the cores offer; empty: what they offer by themselves.
        msrp_port: MSRP port of every IM Server, where TLS is one above, and of every relay, where
            there is TLS only.
    """

    folder: Path
    base: str = "127.0"
    port: int = SIP
    dns_port: int = 5300
    algorithms: tuple[str, ...] = ()
    msrp_port: int = MSRP

    @property
    def homes(self) -> tuple[Home, ...]:
        """The domains."""
        return tuple(
            Home(
                short,
                f"{short}.example",
                f"{self.base}.{number}.1",
                f"{self.base}.{number}.2",
                f"{self.base}.{number}.3",
                tuple(Person(name, f"{short}.example") for name in names),
            )
            for number, (short, names) in enumerate((("north", NORTH), ("south", SOUTH)), 1)
        )

    @property
    def dns_host(self) -> str:
        """The address of the DNS."""
        return f"{self.base}.0.10"

    @property
    def dns(self) -> str:
        """Where the DNS answers."""
        return f"{self.dns_host}:{self.dns_port}"

    @property
    def people(self) -> tuple[Person, ...]:
        """Everybody."""
        return tuple(person for home in self.homes for person in home.people)

    def listen(self, address: str) -> list[str]:
        """Return what a server at ``address`` listens on."""
        return [
            f"udp:{address}:{self.port}",
            f"tcp:{address}:{self.port}",
            f"tls:{address}:{self.port + 1}",
        ]

    def msrp(self, address: str) -> list[str]:
        """Return what an IM Server at ``address`` listens on for MSRP."""
        port = self.msrp_port
        return [f"tcp:{address}:{port}", f"tls:{address}:{port + 1}"]


def network(plan: Plan) -> dict[str, Any]:
    """Return the contents of the topology file."""
    entities: dict[str, Any] = {
        "dns": {
            "kind": "dns",
            "listen": plan.dns,
            "servers": [
                f"{kind}.{home.domain}={'+'.join(plan.listen(address))}"
                for home in plan.homes
                for kind, address in (("core", home.core), ("im", home.im))
            ],
            "relays": [f"relay.{home.domain}={home.relay}:{plan.msrp_port}" for home in plan.homes],
        }
    }
    for home in plan.homes:
        others = [other for other in plan.homes if other != home]
        entities[f"core-{home.short}"] = {
            "kind": "core",
            "domain": home.domain,
            "aliases": [f"core.{home.domain}"],
            "listen": plan.listen(home.core),
            "certificate": str(plan.folder / f"core-{home.short}.pem"),
            "ca": str(plan.folder / "ca.pem"),
            "people": str(plan.folder / f"people-{home.short}.toml"),
            "services": [home.im],
            "peers": [f"{other.domain}={other.core}" for other in others],
            "im_server": f"sip:im.{home.domain}:{plan.port}",
            "psis": [
                f"sip:{name}@{home.domain}=sip:im.{home.domain}:{plan.port}" for name in SERVICES
            ],
        }
        if plan.algorithms:
            entities[f"core-{home.short}"]["algorithms"] = list(plan.algorithms)
        entities[f"im-{home.short}"] = {
            "kind": "im",
            "domain": home.domain,
            "listen": plan.listen(home.im),
            "certificate": str(plan.folder / f"im-{home.short}.pem"),
            "ca": str(plan.folder / "ca.pem"),
            "core": f"sip:core.{home.domain}:{plan.port}",
            "trusted": [home.core],
        }
        entities[f"im-{home.short}"] |= {
            "msrp": plan.msrp(home.im),
            "peers_msrp": "tls",
            "direct": list(DIRECT),
            "groups": str(plan.folder / f"groups-{home.short}.toml"),
        }
        entities[f"relay-{home.short}"] = {
            "kind": "relay",
            "domain": home.domain,
            "host": f"relay.{home.domain}",
            "listen": [f"tls:{home.relay}:{plan.msrp_port}"],
            "certificate": str(plan.folder / f"relay-{home.short}.pem"),
            "ca": str(plan.folder / "ca.pem"),
            "people": str(plan.folder / f"people-{home.short}.toml"),
        }
    return {
        "node": {"state": f"sqlite:///{plan.folder}/lab.db", "dns": [plan.dns]},
        "entities": entities,
    }


def lay_out(plan: Plan, now: datetime.datetime) -> dict[str, Any]:
    """Write what the network needs beside its configuration; return the configuration.

    Raises:
        UsageError: the folder cannot be written.
    """
    try:
        plan.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_certificates(
            plan.folder,
            {
                f"{kind}-{home.short}": ((home.domain, f"{kind}.{home.domain}"), address)
                for home in plan.homes
                for kind, address in (
                    ("core", home.core),
                    ("im", home.im),
                    ("relay", home.relay),
                )
            },
            now,
        )
        for home in plan.homes:
            for name, text in (
                ("people", people_file(home.people)),
                ("groups", groups_file(home.short)),
            ):
                path = plan.folder / f"{name}-{home.short}.toml"
                path.touch(mode=0o600)
                path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from None
    return network(plan)


def split(plan: Plan, now: datetime.datetime) -> dict[str, Any]:
    """Write one topology file that many processes share, each with state of its own.

    Each process writes its log, its trace and its control socket into the folder, too.

    Returns:
        The contents of the file, ``network.toml``.

    Raises:
        UsageError: the folder cannot be written, or its path is too long for sockets.
    """
    contents = lay_out(plan, now)
    for name, entity in contents["entities"].items():
        own = plan.folder / name
        if len(os.fsencode(f"{own}.sock")) > LONGEST_PATH:
            raise UsageError(f"{plan.folder} is too long a path for sockets: choose a shorter one")
        entity["node"] = {
            "state": f"sqlite:///{own}.db",
            "trace": f"{own}.jsonl",
            "control": f"{own}.sock",
        }
    (plan.folder / "network.toml").write_text(to_toml(contents), encoding="utf-8")
    script = plan.folder / "start.sh"
    script.write_text(start_script(contents), encoding="utf-8")
    script.chmod(0o755)
    return contents


def start_line(twistd: str, name: str, kind: str, folder: str) -> str:
    """Return the command that starts one process of a network."""
    return (
        f"{twistd} --nodaemon --pidfile= omaim-{kind} --config {folder}/network.toml --name {name}"
    )


def start_script(contents: dict[str, Any]) -> str:
    """Return a shell script that starts all processes and ends them when it ends."""
    parts = contents["entities"].items()
    starts = "".join(f"start {name} {entity['kind']}\n" for name, entity in parts)
    twistd = Path(sys.executable).with_name("twistd")
    return SCRIPT.format(twistd=twistd if twistd.exists() else "twistd", starts=starts)


SCRIPT = """\
#!/bin/sh
# Starts every process of this network; Ctrl-C ends them all. Each writes NAME.log.
cd "$(dirname "$0")" || exit 1
twistd=${{TWISTD:-{twistd}}}
pids=

stop() {{
    trap - INT TERM EXIT
    [ -z "$pids" ] || kill $pids 2>/dev/null
    wait
}}
trap 'stop; exit 0' INT TERM
trap stop EXIT

start() {{
    "$twistd" --nodaemon --pidfile= --logfile="$1.log" "omaim-$2" \
        --config network.toml --name "$1" &
    pids="$pids $!"
}}
{starts}
echo "Started:$pids. Ctrl-C ends them."
while sleep 1; do
    for pid in $pids; do
        kill -0 "$pid" 2>/dev/null || {{ echo "A process has ended; see the logs." >&2; exit 1; }}
    done
done
"""


def to_toml(contents: dict[str, Any], path: str = "") -> str:
    """Return tables of text, numbers, lists of text and further tables as TOML."""
    lines: list[str] = []
    tables: list[str] = []
    for key, value in contents.items():
        inner = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, dict):
            body = to_toml(value, inner)
            own = any(not isinstance(one, dict) for one in value.values())
            tables.append(f"\n[{inner}]\n{body}" if own else body)
        else:
            lines.append(f"{_key(key)} = {_value(value)}\n")
    return "".join(lines) + "".join(tables)


def _key(key: str) -> str:
    plain = key.replace("-", "").replace("_", "").isalnum() and key.isascii()
    return key if plain else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's; only DEL is written plainly there and not allowed here.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    items = [_value(item) for item in value]
    text = f"[{', '.join(items)}]"
    return text if len(text) < 80 else "[\n    " + ",\n    ".join(items) + ",\n]"
