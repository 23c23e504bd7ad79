"""omaim/bodies/moments.py: RFC 3339 both ways."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.moments import BadMoment, parse_moment, write_moment
from omaim.errors import PeerError


class MomentTests(SynchronousTestCase):
    @given(seconds=st.integers(-62_135_596_800, 253_402_300_799))
    def test_whole_seconds(self, seconds: int) -> None:
        """Every second of the years 1 to 9999 survives writing and reading."""
        self.assertEqual(parse_moment(write_moment(seconds)), seconds)

    @given(micros=st.integers(0, 4_000_000_000_000_000))
    def test_fractions(self, micros: int) -> None:
        """A fraction survives to the microsecond."""
        again = parse_moment(write_moment(micros / 1e6, 6))
        self.assertAlmostEqual(again, micros / 1e6, delta=1.5e-6)

    @given(text=st.text("0123456789-:TtZz+. é", max_size=30))
    def test_junk(self, text: str) -> None:
        """Anything else is the peer's fault."""
        try:
            parse_moment(text)
        except PeerError:
            pass

    def test_examples(self) -> None:
        """The examples of RFC 3339 §5.8 name the moments that the RFC says they do."""
        self.assertEqual(parse_moment("1985-04-12T23:20:50.52Z"), 482196050.52)
        self.assertEqual(parse_moment("1996-12-19T16:39:57-08:00"), 851042397.0)
        self.assertEqual(
            parse_moment("1990-12-31T23:59:60Z"), parse_moment("1990-12-31T15:59:60-08:00")
        )
        self.assertEqual(parse_moment("1937-01-01T12:00:27.87+00:20"), -1041337172.13)

    def test_refused(self) -> None:
        for text in (
            "",
            "2026-02-29T00:00:00Z",
            "2026-01-01",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+0100",
            "２026-01-01T00:00:00Z",
            "0001-01-01T00:00:61Z",
        ):
            self.assertRaises(BadMoment, parse_moment, text)

    def test_written_in_utc(self) -> None:
        self.assertEqual(write_moment(0), "1970-01-01T00:00:00Z")
        self.assertEqual(write_moment(1.25, 2), "1970-01-01T00:00:01.25Z")
