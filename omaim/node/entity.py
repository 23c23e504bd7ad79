"""One declaration of an entity gives its ``twistd`` plugin and its part in a lab.

A plugin file holds one line an entity and imports nothing heavier than this module::

    core = EntityMaker("core", "omaim.core.entity", "SIP/IP Core: proxy and registrar.")

The module it names has ``Config`` (an attrs class, see :mod:`omaim.node.config`) and
``build(node, config, name)``, which returns an :class:`IEntity`.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

import attrs
from twisted.application.service import IService, IServiceMaker
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin, getPlugins
from twisted.python import usage
from zope.interface import Attribute, Interface, implementer

from omaim.errors import OmaimError, UsageError
from omaim.node.config import STATE, NodeConfig, make_config, part_of, read_file, settings_of
from omaim.node.logs import Lines, observer

if typing.TYPE_CHECKING:
    from omaim.node.node import Node


class IEntity(IService):
    """A functional entity that runs in a node.

    ``startService`` and ``stopService`` are Twisted's; an entity is of use once
    :meth:`ready` has fired.
    """

    def ready() -> Deferred[None]:
        """Return a Deferred that fires when the entity listens, or fails with the reason."""


class IEntityMaker(Interface):
    """Makes an entity of one kind for a node."""

    name = Attribute("The kind, as topology files say it: core")
    description = Attribute("One sentence for people.")

    def config() -> type[Any]:
        """Return the Config class of the entity."""

    def build(node: Any, config: Any, name: str) -> Any:
        """Return the entity called ``name``, not yet started, as part of ``node``."""


@implementer(IPlugin, IServiceMaker, IEntityMaker)
class EntityMaker:
    """The declaration of one entity; see the module's text.

    Args:
        name: the kind; the plugin is called ``omaim-`` and this.
        module: dotted name of the module with ``Config`` and ``build``, imported when needed.
        description: one sentence, shown by ``twistd --help``.
        state: where state lives in a process of its own that is not told; "memory:" for what
            keeps none.
    """

    def __init__(self, name: str, module: str, description: str, state: str = STATE) -> None:
        self.name = name
        self.tapname = f"omaim-{name}"
        self.module = module
        self.description = description
        self.state = state

    def config(self) -> type[Any]:
        """Return the Config class of the entity."""
        found: type[Any] = import_module(self.module).Config
        return found

    def build(self, node: Node, config: Any, name: str) -> IEntity:
        """Return the entity called ``name``, not yet started, as part of ``node``."""
        build: Callable[[Node, Any, str], IEntity] = import_module(self.module).build
        return build(node, config, name)

    @property
    def options(self) -> type[usage.Options]:
        """The ``twistd`` command line of this entity, made from its Config."""
        return options_for(self)

    def makeService(self, options: usage.Options) -> IService:
        """Return a node of its own with this one entity in it.

        Exits with status 1 and one line when the configuration is wrong: twistd would print
        a traceback.
        """
        from omaim.node.node import node_service

        try:
            node_config, config = _configs(self, options)
            log = _log_of(node_config, options.parent or {})
            return node_service(node_config, [(self, config)], log)
        except OmaimError as error:
            sys.stderr.write(f"{self.tapname}: {error}\n")
            raise SystemExit(1) from None


def options_for(maker: EntityMaker) -> type[usage.Options]:
    """Return the options class of one entity: ``--config``, ``--name``, and one per setting."""
    own = settings_of(maker.config())
    shared = [
        field.evolve(default=maker.state) if field.name == "state" else field
        for field in settings_of(NodeConfig)
        if field.name != "name"
    ]
    clash = {field.name for field in own} & {field.name for field in shared}
    if clash:
        raise UsageError(f"{maker.module}: settings named as the node's: {', '.join(clash)}")

    class Options(usage.Options):
        """Command line first, then the part of the topology file, then the defaults."""

        synopsis = "[--config FILE --name PART] [--setting VALUE ...]"
        longdesc = (
            f"{maker.description} Settings come from the command line, from the part of the "
            "topology file that --name names, or are the defaults shown; lists are written "
            "with commas."
        )
        optParameters = [
            ["config", "c", None, "topology file (TOML) that describes the network"],
            ["name", "n", None, "name of this entity in the topology file"],
            *(
                [
                    field.name.replace("_", "-"),
                    None,
                    None,
                    f"{field.metadata['help']} [default: {_shown(field.default)}]",
                ]
                for field in (*own, *shared)
            ),
        ]

    return Options


def _shown(default: Any) -> str:
    text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return text or "none"


def _configs(maker: EntityMaker, options: usage.Options) -> tuple[Any, Any]:
    given = {
        key.replace("-", "_"): value
        for key, value in options.items()
        if value is not None and key not in ("config", "name")
    }
    shared_names = {field.name for field in settings_of(NodeConfig)}
    shared = {key: value for key, value in given.items() if key in shared_names}
    own = {key: value for key, value in given.items() if key not in shared_names}
    name, path = options["name"] or maker.name, options["config"]
    base: dict[str, Any] = {"state": maker.state}
    settings: dict[str, Any] = {}
    features: Mapping[str, Mapping[str, Any]] = {}
    if path:
        part = part_of(read_file(path), name, path, maker.state)
        if part.kind != maker.name:
            raise UsageError(
                f"{path}: {name} is of kind {part.kind}: start it with twistd omaim-{part.kind}"
            )
        base = {field.name: getattr(part.node, field.name) for field in settings_of(NodeConfig)}
        settings = dict(part.settings)
        features = part.node.feature_settings
    node = make_config(NodeConfig, {**base, "name": name, **shared}, maker.tapname)
    node = attrs.evolve(node, feature_settings=features)
    return node, make_config(maker.config(), {**settings, **own}, maker.tapname)


def _log_of(config: NodeConfig, twistd: Mapping[str, Any]) -> Lines | None:
    """Return what writes the log of a process, ``None`` to leave that to twistd.

    twistd tells everything, also to people at a terminal; there, and wherever the
    configuration asks for it, we write what is meant to be read.

    Args:
        twistd: twistd's own options.
    """
    if twistd.get("syslog") or twistd.get("logger"):
        return None
    file = twistd.get("logfile") or ""
    if not file and not twistd.get("nodaemon"):
        file = "twistd.log"
    path = config.log_file or ("" if file == "-" else file)
    if config.log_format == "text" and not config.log_file and path:
        return None
    return observer(config.log_format, path)


def makers() -> Iterable[IEntityMaker]:
    """Return every entity maker that plugin discovery finds."""
    return typing.cast(Iterable[IEntityMaker], getPlugins(IEntityMaker))


def maker_of(kind: str) -> IEntityMaker:
    """Return the maker of entities of ``kind``.

    Raises:
        UsageError: no plugin declares it; the message lists those there are.
    """
    found = {maker.name: maker for maker in makers()}
    if kind not in found:
        raise UsageError(f"no entity of kind {kind}; there are: {', '.join(sorted(found))}")
    return found[kind]
