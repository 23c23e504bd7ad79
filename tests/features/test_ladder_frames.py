"""omaim/features/ladder_frames.py: pieces become frames again."""

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.features.ladder_frames import whole_frames
from tests.features.sessions import answer, into, out, pieces, send

BIG = send(bytes(range(256)) * 20, extent="1-*/5120", kind="x/y")


class WholeTests(SynchronousTestCase):
    @given(
        cuts=st.lists(st.integers(0, len(BIG)), max_size=12),
        others=st.lists(st.integers(0, len(BIG)), max_size=12),
    )
    def test_any_split(self, cuts: list[int], others: list[int]) -> None:
        """Wherever both ends cut a frame, and whatever passes meanwhile, it is one record each."""
        sent, got = out(0.0, "alice", "im-north", BIG), into(0.0, "alice", "im-north", BIG)
        back = out(0.0005, "im-north", "alice", answer())
        seen = [*pieces(sent, cuts), *pieces(got, others), back]
        found = whole_frames(sorted(seen, key=lambda record: record.time))
        self.assertCountEqual(found, [sent, got, back])

    def test_next_frame(self) -> None:
        """A start line begins another frame, also when the one before it was broken off."""
        first = out(0.0, "alice", "im-north", BIG[:200])
        second = out(1.0, "alice", "im-north", send(tid="next1"))
        self.assertEqual(whole_frames([first, second]), [first, second])

    def test_without_beginning(self) -> None:
        """Pieces whose beginning nobody saw stay as they are, and so does what is no MSRP."""
        tail = out(0.0, "alice", "im-north", BIG[300:])
        more = out(1.0, "alice", "im-north", b"junk")
        sip = attrs.evolve(more, protocol="SIP")
        self.assertEqual(whole_frames([tail, more, sip]), [tail, more, sip])
        whole = out(0.0, "alice", "im-north", send())
        self.assertEqual(whole_frames([whole, more]), [whole, more])
