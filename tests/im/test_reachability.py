"""Each state of the recipient, and what becomes of a message then."""

from __future__ import annotations

from omaim.im.policy import Settings
from tests.im.support import BOB, XENIA, ImTestCase

COMPOSING = "application/im-iscomposing+xml"


class DeliverTests(ImTestCase):
    def test_registered(self) -> None:
        """A user with a device gets it now."""
        self.assertEqual(self.send("term", XENIA, BOB).status, 200)
        self.assertEqual(self.waiting(BOB), [])
        (seen,) = self.core.seen
        self.assertIsNone(seen.first("Accept-Contact"))

    def test_unwilling(self) -> None:
        """A user who wants no messages now gets it later, though registered."""
        self.im.settings.put(BOB, Settings(willing=False))
        self.assertEqual(self.send("term", XENIA, BOB).status, 202)
        self.assertEqual((self.core.seen, self.waiting(BOB)), ([], [b"hello"]))
        self.register(BOB)
        self.assertEqual(self.core.seen, [])
        self.im.settings.put(BOB, Settings())
        self.register(BOB)
        self.assertEqual(self.bodies(), [b"hello"])

    def test_unregistered(self) -> None:
        """A user without a device gets it later."""
        self.assertEqual(self.send("term", XENIA, BOB, state="unreg").status, 202)
        self.assertEqual((self.core.seen, self.waiting(BOB)), ([], [b"hello"]))

    def test_failed(self) -> None:
        """What fails with 408, 480 or 5xx is kept (RFC 3428 §7)."""
        for status in (408, 480, 500, 502, 503, 504):
            self.core.script = [status]
            user = f"sip:u{status}@north.example"
            self.assertEqual(self.send("term", XENIA, user).status, 202, status)
            self.assertEqual(self.waiting(user), [b"hello"])

    def test_refused(self) -> None:
        """Other errors, and 6xx before all, go to the sender (RFC 3428 §7)."""
        for status in (400, 403, 404, 413, 415, 488, 600, 603, 604, 606):
            self.core.script = [status]
            self.assertEqual(self.send("term", XENIA, BOB).status, status)
        self.assertEqual(self.waiting(BOB), [])

    def test_no_longer_valid(self) -> None:
        """What is of no use later is not kept: the failure is told."""
        self.core.script = [480]
        response = self.send("term", XENIA, BOB, headers=(("Expires", "0"),))
        self.assertEqual(response.status, 480)
        response = self.send("term", XENIA, BOB, state="unreg", headers=(("Expires", "0"),))
        self.assertEqual(response.status, 480)
        self.assertEqual(self.waiting(BOB), [])

    def test_no_storage_wanted(self) -> None:
        """A user who wants nothing kept has nothing kept."""
        self.im.settings.put(BOB, Settings(defers=False))
        self.assertEqual(self.send("term", XENIA, BOB, state="unreg").status, 480)
        self.assertEqual(self.waiting(BOB), [])

    def test_composing(self) -> None:
        """That somebody types is no news later (RFC 3994)."""
        response = self.send("term", XENIA, BOB, b"<x/>", COMPOSING, state="unreg")
        self.assertEqual(response.status, 480)
        self.assertEqual(self.waiting(BOB), [])
        self.assertEqual(self.send("term", XENIA, BOB, b"<x/>", COMPOSING).status, 200)


class TaggedTests(ImTestCase):
    settings = {"untagged": "defer"}

    def test_only_tagged(self) -> None:
        """Only devices with the IM feature tag are asked (RFC 3841 §9.2); without one, later."""
        self.core.script = [480]
        self.assertEqual(self.send("term", XENIA, BOB).status, 202)
        (seen,) = self.core.seen
        self.assertEqual(seen.all("Accept-Contact"), ["*;+g.oma.sip-im;require;explicit"])
        self.assertEqual(self.waiting(BOB), [b"hello"])
        self.register(BOB)
        self.assertTrue(self.core.seen[-1].has("Accept-Contact"))
        self.assertEqual(self.waiting(BOB), [])
