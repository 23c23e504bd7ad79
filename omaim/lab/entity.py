"""A whole network in one process: ``omaim lab`` and ``twistd omaim-lab``."""

from __future__ import annotations

import datetime
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from omaim.errors import UsageError
from omaim.lab.topology import MSRP, Plan, lay_out
from omaim.node.config import make_config, parse_place, read_file, setting
from omaim.node.entity import IEntity, maker_of
from omaim.node.node import Node


@attrs.frozen
class Config:
    """Settings of a lab."""

    topology: str = setting(
        "", "topology file with all entities; empty: two domains, made up as it starts"
    )
    folder: str = setting("", "where certificates and people files go; empty: a temporary one")
    base: str = setting("127.0", "first two numbers of the loopback addresses to use")
    port: int = setting(5060, "SIP port of every server; TLS is one above")
    dns_port: int = setting(5300, "port of the lab's DNS")
    algorithms: tuple[str, ...] = setting(
        (), "digest algorithms that the cores offer; MD5 alone for old clients; empty: the usual"
    )
    msrp_port: int = setting(
        MSRP, "MSRP port of every IM Server, TLS is one above; and of every relay"
    )


def contents_of(config: Config, now: datetime.datetime) -> tuple[dict[str, Any], Plan | None]:
    """Return the topology of a lab, and the plan it was made from when it is the default one."""
    if config.topology:
        return read_file(config.topology), None
    plan = Plan(
        Path(config.folder),
        config.base,
        config.port,
        config.dns_port,
        config.algorithms,
        config.msrp_port,
    )
    return lay_out(plan, now), plan


def add_entities(node: Node, contents: Mapping[str, Any], where: str) -> None:
    """Build every entity of a topology into one node.

    Raises:
        UsageError: a part is wrong; the message names it.
    """
    for name, table in contents.get("entities", {}).items():
        settings = {key: value for key, value in table.items() if key not in ("kind", "node")}
        kind = table.get("kind")
        if not isinstance(kind, str):
            raise UsageError(f"{where}: entities.{name} has no kind")
        maker = maker_of(kind)
        node.add(name, maker, make_config(maker.config(), settings, f"{where}: entities.{name}"))


@implementer(IEntity)
class Lab(Service):
    """Every entity of a network, in the node of this one.

    The node's own settings decide about state and DNS; those of the topology are for
    processes of their own.
    """

    def __init__(self, node: Node, config: Config) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self._own_folder = ""
        if not config.folder and not config.topology:
            self._own_folder = tempfile.mkdtemp(prefix="omaim-lab-")
            config = attrs.evolve(config, folder=self._own_folder)
        self.contents, self.plan = contents_of(config, now)
        servers = self.contents.get("node", {}).get("dns", [])
        if servers and not node.config.dns:
            node.ask_dns([parse_place(text, 53) for text in servers])
        add_entities(node, self.contents, config.topology or "the lab")

    def ready(self) -> Deferred[None]:
        """Return a Deferred that has fired: the node waits for the entities itself."""
        return succeed(None)

    def stopService(self) -> None:
        """Remove the folder that was made for this run only."""
        super().stopService()
        if self._own_folder:
            shutil.rmtree(self._own_folder, ignore_errors=True)


def build(node: Node, config: Config, name: str = "lab") -> Lab:
    """Return the lab, with all its entities in ``node``."""
    return Lab(node, config)
