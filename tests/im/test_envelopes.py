"""A stored message in its envelope."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import binary, floats, sampled_from, text
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import Cpim
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart, parse_multipart
from omaim.im.envelopes import enveloped
from tests.im.support import ALICE, BOB, cpim

KINDS = ("text/plain", "message/cpim", "multipart/mixed;boundary=x", "multipart/mixed", "", "x/y")


class EnvelopeTests(SynchronousTestCase):
    @given(sampled_from(KINDS), binary(max_size=60), floats(0, 4e9), text(max_size=20))
    def test_anything(self, kind: str, body: bytes, moment: float, subject: str) -> None:
        """Whatever is stored comes out as CPIM that can be read, with a time."""
        found = enveloped(kind, body, ALICE, BOB, moment, subject)
        self.assertTrue(found.date_time)
        again = Cpim.parse(found.to_bytes())
        self.assertEqual(again.part.content, found.part.content)

    def test_plain(self) -> None:
        """What had no envelope gets one (RFC 3862 §2)."""
        found = enveloped("text/plain;charset=utf-8", b"hi", ALICE, BOB, 60.0, "a\\b")
        self.assertEqual((found.from_ and found.from_.uri, found.to[0].uri), (ALICE, BOB))
        self.assertEqual((found.date_time, found.subject()), ("1970-01-01T00:01:00Z", "a\\b"))
        self.assertEqual(
            (found.part.content_type, found.part.content), ("text/plain;charset=utf-8", b"hi")
        )

    def test_cpim(self) -> None:
        """What had one keeps it, with its own time."""
        body = cpim("hi")
        self.assertEqual(enveloped("message/cpim", body, BOB, BOB, 60.0).to_bytes(), body)

    def test_no_time(self) -> None:
        """One that does not say when gets the time at which it was sent."""
        body = cpim("hi").replace(b"DateTime: 2026-01-01T00:00:00Z\r\n", b"")
        self.assertEqual(
            enveloped("message/cpim", body, BOB, BOB, 60.0).date_time, "1970-01-01T00:01:00Z"
        )

    def test_beside_others(self) -> None:
        """The envelope of one part is put around all of them."""
        parts = [
            Part([("Content-Type", "message/cpim")], cpim("hi")),
            Part([("Content-Type", "application/resource-lists+xml")], b"<list/>"),
        ]
        kind, body = Multipart("mixed", parts).write()
        found = enveloped(kind, body, BOB, BOB, 60.0)
        self.assertEqual(found.message_id, "m1")
        inside = parse_multipart(found.part.content_type, found.part.content).parts
        self.assertEqual([part.content for part in inside], [b"hi", b"<list/>"])
