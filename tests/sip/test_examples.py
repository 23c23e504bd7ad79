"""The examples in the docstrings of omaim.sip."""

import doctest

from twisted.trial.unittest import SynchronousTestCase

import omaim.sip


class ExampleTests(SynchronousTestCase):
    def test_package(self) -> None:
        """The package's example does what it says."""
        self.assertEqual(doctest.testmod(omaim.sip), (0, 4))
