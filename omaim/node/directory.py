"""Which address plays which role: for ladders, and for whoever asks where a service is."""

from __future__ import annotations

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

    def note(self, place: Place) -> None:
        """Remember who is at an address; the last word counts."""
        self._places[place.host, place.port] = place

    def find(self, host: str, port: int) -> Place | None:
        """Return who is at an address; any port of a host with only one entity will do.

        The far end of a connection has a port that nobody announced.
        """
        exact = self._places.get((host, port))
        if exact is not None:
            return exact
        there = [place for place in self._places.values() if place.host == host]
        return there[0] if len({place.name for place in there}) == 1 else None

    def places(self) -> tuple[Place, ...]:
        """Return all, in the order in which they were noted."""
        return tuple(self._places.values())
