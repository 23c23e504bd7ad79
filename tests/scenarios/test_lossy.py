"""The same scenarios on networks that lose, repeat, delay and reorder, by seed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from omaim.testing.collecting import check, collect
from omaim.testing.network import Link
from omaim.testing.stages import Simulated

BAD = Link(delay=0.005, jitter=0.02, loss=0.12, duplicate=0.1, reorder=0.1, split=0.3)
SEEDS = range(1, 13)
SLACK = 12.0
CHOSEN = (
    "across_domains",
    "a_conversation",
    "delivered_and_displayed",
    "kept_and_delivered_in_order",
    "two_devices",
    "one_copy_each",
    "binding_comes_and_goes",
    "caller_gives_up",
    "changed_and_ended",
    "dialog_by_gruu",
    "forked_to_two_devices",
    "invite_to_bye",
    "reports_of_a_list",
    "rung_at_two",
    "state_in_steps",
    "with_a_plain_sip_phone",
)


class LossyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stage = Simulated()
        self.addCleanup(self.stage.close)
        self.scenarios = {
            one.name: one for module in collect("tests.scenarios").values() for one in module
        }

    def play(self, name: str) -> None:
        """Play one scenario with each seed."""
        for seed in SEEDS:
            check(self, self.stage.play(self.scenarios[name], seed, BAD, SLACK))


def _add(name: str) -> None:
    def test(self: LossyTests) -> None:
        self.play(name)

    test.__doc__ = f"{name} shows the same where one datagram in eight is lost (RFC 3261 §17)."
    test.__name__ = f"test_{name}"
    setattr(LossyTests, test.__name__, test)


for _name in CHOSEN:
    _add(_name)
