"""Decision points: typed, ordered, asynchronous; the first opinion wins.

A hook may change the outcome. What only looks belongs in :mod:`omaim.node.taps`. Both are
written as features::

    @feature("quiet", on=MayPost)
    async def quiet(question: MayPost) -> Refuse | None:
        return Refuse(403, "No shouting") if question.text.isupper() else None

and found by the ordinary plugin discovery when the file lies in ``twisted/plugins/``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface, implementer

from omaim.node.questions import Question

_log = Logger()


@attrs.frozen
class Refuse:
    """The opinion "no", with the answer for the peer.

    Spec: RFC 3261 §20.43 (the text goes into a Warning with code 399)
    """

    status: int = 403
    reason: str = "Refused"


@attrs.frozen
class Deliver:
    """The opinion "yes, with this text instead": MayPost only."""

    text: str


class IFeature(Interface):
    """A plugin on one decision point or one kind of event."""

    name = Attribute("What configuration files call it.")
    config = Attribute("An attrs class of its settings, or None.")
    on = Attribute("The class of question or event it wants.")
    order = Attribute("Lower is asked earlier; 0 by default.")
    act = Attribute("The function: a coroutine for a question, a plain one for an event.")


@implementer(IPlugin, IFeature)
@attrs.frozen
class Feature:
    """What :func:`feature` makes of a function."""

    name: str
    on: type[Any]
    act: Callable[..., Any]
    order: int = 0
    config: type[Any] | None = None

    def __call__(self, *asked: Any) -> Any:
        """Call the function itself, as its tests want to."""
        return self.act(*asked)


def feature(
    name: str, on: type[Any], order: int = 0, config: type[Any] | None = None
) -> Callable[[Callable[..., Any]], Feature]:
    """Turn a function into a feature.

    Args:
        name: what configuration calls it, unique.
        on: a subclass of :class:`~omaim.node.questions.Question` (the function is a
            coroutine and answers) or of :class:`~omaim.node.events.ServiceEvent` (it looks).
        order: lower numbers are asked first.
        config: an attrs class of settings (see :func:`omaim.node.config.setting`). The
            function then takes its value as second argument; the topology file gives it in
            a table ``[features.NAME]``.
    """

    def decorate(act: Callable[..., Any]) -> Feature:
        return Feature(name=name, on=on, act=act, order=order, config=config)

    return decorate


class Hooks:
    """The registry of one node."""

    def __init__(self) -> None:
        self._hooks: dict[type[Question], list[tuple[int, str, Callable[[Any], Any]]]] = {}

    def add(
        self,
        on: type[Question],
        name: str,
        act: Callable[[Any], Awaitable[object]],
        order: int = 0,
    ) -> None:
        """Ask ``act`` at ``on`` from now on."""
        hooks = self._hooks.setdefault(on, [])
        hooks.append((order, name, act))
        hooks.sort(key=lambda hook: hook[0])

    def wanted(self, on: type[Question]) -> bool:
        """Tell whether anybody would be asked, so that no question need be built."""
        return on in self._hooks

    async def ask(self, question: Question) -> object | None:
        """Return the first opinion, or ``None`` when nobody has one.

        A crashing hook is logged and counts as its question's ``on_crash`` says.
        """
        for _, name, act in self._hooks.get(type(question), ()):
            try:
                opinion: object | None = await act(question)
            except Exception:
                _log.failure(
                    "feature {name} failed on {question}",
                    name=name,
                    question=type(question).__name__,
                )
                if question.on_crash == "refuse":
                    return Refuse(500, "A service feature failed")
                continue
            if opinion is not None:
                return opinion
        return None
