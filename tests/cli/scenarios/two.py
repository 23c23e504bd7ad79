"""One scenario that holds and one that does not."""

from __future__ import annotations

from omaim.testing.scenario import ScenarioNetwork, holds, scenario


@scenario(shows=("IMS-01",))
async def there(net: ScenarioNetwork) -> None:
    """Alice registers."""
    alice = await net.online("alice")
    holds(alice.registered, "she is registered")


@scenario(shows=("IMS-39",))
async def in_vain(net: ScenarioNetwork) -> None:
    """Nothing is so."""
    holds(False, "black is white")
