"""Find scenarios, and make trial tests of them."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any, Final

from twisted.internet.defer import Deferred

from omaim.features.ladder_text import draw_text
from omaim.testing.scenario import LOOPBACK, SIMULATED, SPLIT, Scenario
from omaim.testing.stages import Loopback, Outcome, Simulated

_SHOWN: Final = 12_000  # characters of a ladder in a test's failure


def collect(package: str) -> dict[str, list[Scenario]]:
    """Return the scenarios of each module of a package that is no test module."""
    found = {}
    for info in pkgutil.iter_modules(import_module(package).__path__):
        if info.name.startswith("test_"):
            continue
        module = import_module(f"{package}.{info.name}")
        scenarios = [one for one in vars(module).values() if isinstance(one, Scenario)]
        if scenarios:
            found[info.name] = scenarios
    return found


def check(test: Any, outcome: Outcome) -> None:
    """Fail a test when its scenario did, with the ladder."""
    if not outcome.passed:
        ladder = draw_text(outcome.ladder, 140)
        test.fail(f"{outcome.scenario.name}: {outcome.why}\n{ladder[-_SHOWN:]}")


def add_simulated(case: type[Any], package: str) -> None:
    """Give a synchronous test case a test for each scenario, in virtual time."""

    def make(one: Scenario) -> Any:
        def test(self: Any) -> None:
            stage = Simulated()
            self.addCleanup(stage.close)
            check(self, stage.play(one))

        return test

    _add(case, package, SIMULATED, make)


def add_loopback(case: type[Any], package: str, reactor: Any) -> None:
    """Give an asynchronous test case a test for each scenario, on loopback sockets."""

    def make(one: Scenario) -> Any:
        def test(self: Any) -> Deferred[None]:
            stage = Loopback(reactor)
            self.addCleanup(stage.close)
            return stage.play(one).addCallback(lambda outcome: check(self, outcome))

        return test

    _add(case, package, LOOPBACK, make)


def add_split(case: type[Any], package: str) -> None:
    """Give a test case with a started ``stage`` a test for each scenario that fits a split lab."""

    def make(one: Scenario) -> Any:
        def test(self: Any) -> Deferred[None]:
            played: Deferred[Outcome] = self.stage.play(one)
            return played.addCallback(lambda outcome: check(self, outcome))

        return test

    _add(case, package, SPLIT, make)


def _add(case: type[Any], package: str, stage: str, make: Any) -> None:
    for module, scenarios in collect(package).items():
        for one in scenarios:
            if stage in one.stages:
                test = make(one)
                test.__doc__ = one.summary
                test.__name__ = f"test_{module}_{one.name}"
                setattr(case, test.__name__, test)
