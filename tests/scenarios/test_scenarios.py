"""Every scenario on every stage that is in this process."""

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from omaim.testing.collecting import add_loopback, add_simulated, add_split
from omaim.testing.stages import Split

PACKAGE = "tests.scenarios"


class SimulatedTests(SynchronousTestCase):
    """In virtual time, on a network without sockets."""


class LoopbackTests(TestCase):
    """Over real sockets, all in one reactor."""

    timeout = 120


class SplitTests(TestCase):
    """On the lab as processes of its own, which all tests share."""

    timeout = 120
    stage: Split | None = None

    def setUp(self) -> None:
        if SplitTests.stage is None:
            # trial has no fixture for a class; it ends all by firing this event.
            stage = SplitTests.stage = Split(reactor)
            reactor.addSystemEventTrigger("after", "shutdown", stage.close)
            stage.start()


add_simulated(SimulatedTests, PACKAGE)
add_loopback(LoopbackTests, PACKAGE, reactor)
add_split(SplitTests, PACKAGE)
