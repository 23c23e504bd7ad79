"""Two sessions with the server between them, without a network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from omaim.im.bridge import Bridge, Listener
from omaim.msrp import Outgoing
from tests.msrp.support import User, World


class ThroughTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.listener = Listener()
        self.listener.through = True
        bridge = Bridge(self.listener, lambda side, why: None)
        self.near, self.far = World(), World()
        near: Any = SimpleNamespace(user=bridge.near.user)
        far: Any = SimpleNamespace(user=bridge.far.user)
        self.bob = User("none")
        self.alice, bridge.near.session = self.near.pair(User(), near)
        bridge.far.session, _ = self.far.pair(far, self.bob)

    def carry(self) -> None:
        while self.near.carry() + self.far.carry():
            pass

    def test_refused_before_its_end(self) -> None:
        """What the other side refuses before the sender has come to the end is answered so, at
        once, even if nothing but the end comes after that (RFC 4975 §7.1.4, §10)."""
        ends: list[int] = []
        out = Outgoing("application/pdf", None, size=70_000, on_end=ends.append)
        self.alice.send(out)
        out.write(bytes(70_000))
        self.carry()
        self.assertEqual(len(self.bob.seen), 1)
        out.finish()
        self.carry()
        self.assertEqual(ends, [413])
