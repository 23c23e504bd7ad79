"""Every scenario on every stage that is in this process."""

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from omaim.testing.collecting import add_loopback, add_simulated

PACKAGE = "tests.scenarios"


class SimulatedTests(SynchronousTestCase):
    """In virtual time, on a network without sockets."""


class LoopbackTests(TestCase):
    """Over real sockets, all in one reactor."""

    timeout = 120


add_simulated(SimulatedTests, PACKAGE)
add_loopback(LoopbackTests, PACKAGE, reactor)
