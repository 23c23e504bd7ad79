"""Tests of omaim.node.process."""

from __future__ import annotations

import gc
import sys

from twisted.trial.unittest import SynchronousTestCase

from omaim.node.process import SWITCH, YOUNG, settle


class SettleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())

    def test_settle(self) -> None:
        """What is loaded is left alone, and garbage is looked for rarely, but still is."""
        settle()
        self.assertGreater(gc.get_freeze_count(), 0)
        self.assertEqual(gc.get_threshold()[0], YOUNG)
        self.assertTrue(gc.isenabled())
        self.assertAlmostEqual(sys.getswitchinterval(), SWITCH)
