"""omaim.testing.strategies: what they yield is what they say."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.grammar import is_token, parse_host
from omaim.msrp import ByteRange, FrameLimits, FrameParser
from omaim.sip.parser import METHODS
from omaim.testing import strategies


class StrategyTests(SynchronousTestCase):
    @given(data=st.binary(max_size=40), more=st.data())
    def test_splits(self, data: bytes, more: st.DataObject) -> None:
        """The pieces of a split make the whole again."""
        self.assertEqual(b"".join(more.draw(strategies.splits(data))), data)

    @given(token=strategies.tokens(), host=strategies.hosts(), method=strategies.methods())
    def test_words(self, token: str, host: str, method: str) -> None:
        """Tokens are tokens and hosts hosts in canonical case."""
        self.assertTrue(is_token(token))
        self.assertTrue(method in METHODS or is_token(method))
        self.assertEqual(parse_host(host), host)

    @given(frame=strategies.msrp_frames(), span=strategies.byte_ranges())
    def test_msrp(self, frame: bytes, span: ByteRange) -> None:
        """A frame is one whole good frame; a range is one that can be read."""
        found = FrameParser(FrameLimits()).feed(frame)
        self.assertEqual([part.head.check() for part in found], [""])
        self.assertTrue(found[0].flag)
        self.assertEqual(ByteRange.parse(span.to_bytes()), span)

    @given(data=strategies.mutated([b"abc", b"xyz"]))
    def test_mutated(self, data: bytes) -> None:
        """A mutated message stays small: harms are bounded."""
        self.assertLessEqual(len(data), 3 + 6 * 100)
