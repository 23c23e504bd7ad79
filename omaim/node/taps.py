"""Observation: wire records and service events.

A tap may only look. It gets frozen values, runs after the answer is decided, and what it
raises is logged and counted, never passed into the path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.logger import Logger

from omaim.net.wire import WireRecord
from omaim.node.events import ServiceEvent

_log = Logger()
E = TypeVar("E", bound=ServiceEvent)
WireTap = Callable[[WireRecord], object]


class Taps:
    """The registry of one node.

    Attributes:
        failures: how many times a tap raised.
    """

    def __init__(self) -> None:
        self.failures = 0
        self._wire: list[WireTap] = []
        self._events: dict[type[ServiceEvent], list[Callable[[Any], object]]] = {}
        self._watchers: list[Callable[[], None]] = []

    def add_wire(self, tap: WireTap) -> Callable[[], None]:
        """Show ``tap`` every message on every socket; return the function that ends it."""
        self._wire.append(tap)
        self._changed()

        def remove() -> None:
            self._wire.remove(tap)
            self._changed()

        return remove

    def add(self, kind: type[E], tap: Callable[[E], object]) -> Callable[[], None]:
        """Tell ``tap`` of events of ``kind`` and its subclasses; return how to end it."""
        self._events.setdefault(kind, []).append(tap)
        return lambda: self._events[kind].remove(tap)

    def on_wire_change(self, act: Callable[[], None]) -> None:
        """Call ``act`` when the first wire tap comes or the last one goes."""
        self._watchers.append(act)

    @property
    def record(self) -> WireTap | None:
        """What the sockets call with each record, or ``None`` when nobody looks."""
        return self._record if self._wire else None

    @property
    def heard(self) -> bool:
        """Whether anybody asked for events, so that one is worth making."""
        return bool(self._events)

    def publish(self, event: ServiceEvent) -> None:
        """Tell everybody who asked for this kind of event."""
        if not self._events:
            return
        for kind in type(event).__mro__:
            for tap in self._events.get(kind, ()):
                self._call(tap, event)

    def _record(self, record: WireRecord) -> None:
        for tap in self._wire:
            self._call(tap, record)

    def _call(self, tap: Callable[[Any], object], value: object) -> None:
        try:
            tap(value)
        except Exception:
            self.failures += 1
            _log.failure("a tap failed on {kind}", kind=type(value).__name__)

    def _changed(self) -> None:
        for act in self._watchers:
            act()
