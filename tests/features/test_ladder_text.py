"""omaim/features/ladder_text.py: the ladder on a terminal."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.features.ladder import Ladder, climb
from omaim.features.ladder_text import cut, draw_text
from omaim.net.wire import WireRecord
from tests.features.ladders import both, directory, records, request, sent, walk

WALKED = """\
         alice  core-north    core-south    bob
         │      │      im-north      im-south
  0.000  ├─────▶│      │      │      │      │      IM-1 MESSAGE alice→bob “Hello”
  0.010  │      ├─────▶│      │      │      │      IM-2 MESSAGE alice→bob “Hello”
  0.020  │      │◀─────┤      │      │      │      IM-2 MESSAGE alice→bob “Hello”
  0.030  │      ├──────┼─────▶│      │      │      IP-1 TLS MESSAGE alice→bob “Hello”
  0.040  │      │      │      ├─────▶│      │      IM-2 MESSAGE alice→bob “Hello”
  0.050  │      │      │      │◀─────┤      │      IM-2 MESSAGE alice→bob “Hello”
  0.060  │      │      │      ├──────┼─────▶│      IM-1 MESSAGE alice→bob “Hello”
  0.940  │      │      │      │◀─────┼──────┤      IM-1 200 OK (MESSAGE) alice→bob
  0.950  │      │      │      ├─────▶│      │      IM-2 200 OK (MESSAGE) alice→bob
  0.960  │      │      │      │◀─────┤      │      IM-2 200 OK (MESSAGE) alice→bob
  0.970  │      │◀─────┼──────┤      │      │      IP-1 TLS 200 OK (MESSAGE) alice→bob
  0.980  │      ├─────▶│      │      │      │      IM-2 200 OK (MESSAGE) alice→bob
  0.990  │      │◀─────┤      │      │      │      IM-2 200 OK (MESSAGE) alice→bob
  1.000  │◀─────┤      │      │      │      │      IM-1 200 OK (MESSAGE) alice→bob
"""


class TextTests(SynchronousTestCase):
    def test_walk(self) -> None:
        """A message across two domains, as a person reads it."""
        self.assertEqual(draw_text(climb(walk(), directory())), WALKED)

    def test_lost_again_and_to_itself(self) -> None:
        data = request()
        seen = [
            sent(0.0, "core-north", "alice", data),
            *both(0.5, "core-north", "alice", data),
            *both(0.6, "alice", "alice", data),
        ]
        lines = draw_text(climb(seen, directory())).splitlines()
        self.assertIn("│╳──────────┤", lines[1])
        self.assertIn("│◀──────────┤", lines[2])
        self.assertIn("IM-1 ↻ MESSAGE", lines[2])
        self.assertIn("│↺          │", lines[3])

    def test_nothing(self) -> None:
        self.assertEqual(draw_text(Ladder((), ())), "")

    @given(seen=st.lists(records, min_size=1, max_size=10), width=st.integers(80, 160))
    def test_anything(self, seen: list[WireRecord], width: int) -> None:
        """Whatever was seen: one line a message, no wider than asked, nothing unprintable."""
        ladder = climb(seen, directory())
        lines = draw_text(ladder, width).split("\n")
        self.assertEqual(lines.pop(), "")
        self.assertTrue(all(line.isprintable() for line in lines))
        drawn = [line for line in lines if any(sign in line for sign in "├┤↺")]
        self.assertEqual(len(drawn), len(ladder.steps))
        if len(ladder.parties) <= 8:
            for line in drawn:
                self.assertLessEqual(len(line), width)

    def test_wide_signs(self) -> None:
        """A sign that takes two columns counts as two."""
        self.assertEqual(cut("世界世界", 8), "世界世界")
        self.assertEqual(cut("世界世界", 7), "世界世…")
        self.assertEqual(cut("世界世界", 6), "世界…")
