"""What is measured: how each server is set up, and what its clients then do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load import Clients

PEOPLE = 1000  # who send messages to each other
IDENTITY = (b"P-Asserted-Identity",)


@dataclass(frozen=True)
class Scenario:
    """One kind of operation.

    Attributes:
        key: names it in the results.
        title: what one operation is.
        operation: does a number of them, with a number under way, and returns the seconds.
        count: operations in one round.
        omaim: what differs from the usual settings of omaim.
        kamailio: switches of Kamailio's configuration; ``None``: it cannot do this.
        stream: over TCP.
        paths: sockets on each side.
        people: registered before.
        durable: omaim keeps its state in a file.
    """

    key: str
    title: str
    operation: Callable[[Clients, int, int], float]
    count: int
    omaim: dict[str, Any] = field(default_factory=dict)
    kamailio: tuple[str, ...] | None = ()
    stream: bool = False
    paths: int = 1
    people: bool = True
    durable: bool = False


def _digest(clients: Clients, count: int, window: int) -> float:
    return clients.register_digest(count, window)


def _refresh(clients: Clients, count: int, window: int) -> float:
    return clients.refresh(count, window)


def _message(clients: Clients, count: int, window: int) -> float:
    return clients.message(count, window)


def _identified(clients: Clients, count: int, window: int) -> float:
    return clients.message(count, window, IDENTITY)


SCENARIOS = (
    Scenario(
        "register",
        "REGISTER with digest (two requests), UDP",
        _digest,
        10_000,
        {"authenticate": "always"},
        ("AUTH",),
        people=False,
    ),
    Scenario(
        "refresh",
        "REGISTER refresh with a known nonce, UDP",
        _refresh,
        10_000,
        {"authenticate": "always"},
        ("AUTH",),
        people=False,
    ),
    Scenario("relay", "MESSAGE relay, UDP", _message, 10_000, {"profile": "sip"}),
    Scenario(
        "identity",
        "MESSAGE relay, UDP, identity asserted",
        _identified,
        10_000,
        {"profile": "ims"},
        ("IDENTITY",),
    ),
    Scenario(
        "stream",
        "MESSAGE relay, TCP",
        _message,
        10_000,
        {"profile": "sip"},
        (),
        stream=True,
        paths=10,
    ),
    Scenario(
        "im",
        "MESSAGE through core, IM Server and core, durable, UDP",
        _identified,
        5_000,
        {"im": True, "core_host": "127.0.0.2", "im_host": "127.0.0.3"},
        None,
        durable=True,
    ),
)
