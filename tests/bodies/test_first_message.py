"""The message that comes with an invitation."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import binary, lists, sampled_from
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.first_message import first_message, is_first_message
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart
from omaim.errors import PeerError

SDP = Part([("Content-Type", "application/sdp")], b"v=0\r\n")
LIST = Part(
    [
        ("Content-Type", "application/resource-lists+xml"),
        ("Content-Disposition", "recipient-list-history; handling=optional"),
    ],
    b"<resource-lists/>",
)
TEXT = Part([("Content-Type", "text/plain;charset=utf-8")], b"hello")
WRAPPED = Part([("Content-Type", "message/cpim"), ("Content-Disposition", "render")], b"x")
ICON = Part([("Content-Type", "text/plain"), ("Content-Disposition", "alert")], b"ding")


class FirstMessageTests(SynchronousTestCase):
    @given(lists(sampled_from([SDP, LIST, TEXT, WRAPPED, ICON]), min_size=1, max_size=6))
    def test_which(self, parts: list[Part]) -> None:
        """The first part that is for the reader is it: no description, no list, no other
        disposition (RFC 5621 §8)."""
        found = first_message(*Multipart("mixed", parts).write())
        wanted = next((one for one in parts if one in (TEXT, WRAPPED)), None)
        self.assertEqual(found, wanted)

    def test_alone(self) -> None:
        """A body of one kind is no message beside something."""
        self.assertIsNone(first_message("application/sdp", SDP.content))
        self.assertIsNone(first_message("", b""))
        self.assertTrue(is_first_message(TEXT))

    @given(binary(max_size=200))
    def test_junk(self, data: bytes) -> None:
        """Junk raises PeerError only."""
        try:
            first_message("multipart/mixed;boundary=b", b"--b" + data)
        except PeerError:
            pass
