"""Which address plays which role: for ladders, and for whoever asks where a service is."""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.frozen
class Place:
    """One entity as the network sees it."""

    name: str  # "core-north"
    role: str  # the kind of entity: "core", "im", "client"
    host: str  # numeric, IPv6 without brackets
    port: int
    domain: str = ""


class Directory:
    """The entities that this process knows by address."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, int], Place] = {}
        self._watchers: list[Callable[[Place], object]] = []

    def note(self, place: Place) -> None:
        """Remember who is at an address; the last word counts."""
        if self._places.get((place.host, place.port)) == place:
            return
        self._places[place.host, place.port] = place
        for tell in self._watchers:
            tell(place)

    def watch(self, tell: Callable[[Place], object]) -> None:
        """Tell of every place: of those known now, and of each that is noted later."""
        for place in self._places.values():
            tell(place)
        self._watchers.append(tell)

    def find_exact(self, host: str, port: int) -> Place | None:
        """Return who announced this very address, ``None`` when nobody did."""
        return self._places.get((host, port))

    def find(self, host: str, port: int) -> Place | None:
        """Return who is at an address; any port of a host with only one entity will do.

        The far end of a connection has a port that nobody announced.
        """
        exact = self.find_exact(host, port)
        if exact is not None:
            return exact
        there = [place for place in self._places.values() if place.host == host]
        return there[0] if len({place.name for place in there}) == 1 else None

    def places(self) -> tuple[Place, ...]:
        """Return all, in the order in which they were noted."""
        return tuple(self._places.values())
