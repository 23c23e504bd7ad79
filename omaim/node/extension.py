"""Features that concern a whole node, not one question or event: pages, recorders, commands.

A plugin file holds one line and imports nothing heavier than this module::

    metrics = Extension("metrics", "omaim.features.metrics")

The module it names has ``attach(node)``, which is called once, before any entity is built. A
topology file switches an extension on as it does every feature.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

import attrs
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface, implementer

if TYPE_CHECKING:
    from omaim.node.node import Node


class IExtension(Interface):
    """Something that is attached to a node."""

    name = Attribute("What configuration files call it.")

    def attach(node: Node) -> None:
        """Add what it is about to ``node``: taps, hooks, commands.

        Raises:
            OmaimError: it cannot; the node does not start then.
        """


@implementer(IPlugin, IExtension)
@attrs.frozen
class Extension:
    """The declaration of one extension; see the module's text."""

    name: str
    module: str  # dotted name, imported when needed

    def attach(self, node: Node) -> None:
        """Add it to ``node``."""
        attach: Callable[[Node], None] = import_module(self.module).attach
        attach(node)
