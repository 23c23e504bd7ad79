"""Start a lab in this process, on addresses that are free."""

from __future__ import annotations

import os
import random
import shutil
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any, Final

from omaim.errors import Unavailable
from omaim.lab.entity import Config, Lab
from omaim.lab.topology import Plan
from omaim.node.config import NodeConfig
from omaim.node.entity import EntityMaker
from omaim.node.node import Node, open_node

BASE: Final = "127.0"
_TRIES: Final = 50


def runtime_folder() -> Path:
    """Return a folder for sockets that belongs to this user alone.

    Raises:
        Unavailable: somebody else has made it.
    """
    above = os.environ.get("XDG_RUNTIME_DIR", "")
    path = Path(above, "omaim") if above else Path(tempfile.gettempdir(), f"omaim-{os.getuid()}")
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise Unavailable(f"cannot use {path}: {error.strerror}") from None
    private = not stat.S_IMODE(found.st_mode) & 0o077
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or not private:
        raise Unavailable(f"{path} is not a folder of yours alone; remove it")
    return path


def control_path(base: str = BASE) -> str:
    """Return where the lab on these addresses takes commands."""
    return str(runtime_folder() / f"lab-{base}.sock")


class Folder:
    """The folder of a lab, gone at the end unless somebody named it.

    Args:
        path: where; a temporary one if empty.
    """

    def __init__(self, path: str = "") -> None:
        self.kept = bool(path)
        self.path = Path(path or tempfile.mkdtemp(prefix="omaim-lab-")).resolve()

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *error: object) -> None:
        if not self.kept:
            shutil.rmtree(self.path, ignore_errors=True)


def taken(plan: Plan) -> str:
    """Return an address of a plan that somebody else uses, "" if all are free."""
    wanted = [(plan.dns_host, plan.dns_port)]
    for home in plan.homes:
        wanted += [(host, plan.port) for host in (home.core, home.im)]
        wanted += [(host, plan.msrp_port) for host in (home.im, home.relay)]
    for host, port in wanted:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, port))
                except OSError:
                    return f"{host}:{port}"
    return ""


def free_plan(folder: Path, port: int = 5060, dns_port: int = 5300, base: str = "") -> Plan:
    """Return a plan whose addresses are free now.

    Args:
        base: the one to take; if empty the usual one, or another when that is in use.

    Raises:
        Unavailable: none is free.
    """
    if base:
        return Plan(folder, base, port, dns_port)
    chance = random.SystemRandom()
    for number in range(_TRIES):
        chosen = f"127.{chance.randrange(1, 255)}" if number else BASE
        plan = Plan(folder, chosen, port, dns_port)
        if not taken(plan):
            return plan
    raise Unavailable(f"ports {port} and {dns_port} are in use on every loopback address tried")


async def start_lab(
    plan: Plan, reactor: Any, trace: str = "", control: str = "", **settings: Any
) -> tuple[Node, Lab]:
    """Return a node with every entity of the default network in it, and the lab itself.

    Args:
        trace: a file for every message.
        control: a Unix socket for commands.
        settings: more of :class:`~omaim.node.config.NodeConfig`.

    Raises:
        Unavailable: an address is taken; the message names it.
        UsageError: the folder cannot be written.
    """
    plan.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    state = f"sqlite:///{plan.folder}/lab.db"
    config = NodeConfig(name="lab", state=state, trace=trace, control=control, **settings)
    node = await open_node(config, reactor)
    try:
        maker = EntityMaker("lab", "omaim.lab.entity", "")
        chosen = Config(
            folder=str(plan.folder),
            base=plan.base,
            port=plan.port,
            dns_port=plan.dns_port,
            algorithms=plan.algorithms,
            msrp_port=plan.msrp_port,
        )
        lab = node.add("lab", maker, chosen)
        assert isinstance(lab, Lab)
        node.startService()
        await node.ready()
    except BaseException:
        await node.stopService()
        raise
    return node, lab
