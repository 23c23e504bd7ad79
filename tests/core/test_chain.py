"""Original-dialog identifiers."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import builds, characters, integers, text
from twisted.trial.unittest import SynchronousTestCase

from omaim.core.chain import Chain, Place
from omaim.errors import PeerError

WORDS = text(characters(blacklist_characters="\n", blacklist_categories=["Cs"]), max_size=60)
PLACES = builds(
    Place,
    session_case=integers(0, 4),
    served=WORDS,
    priority=integers(0, 10**6),
    server=WORDS,
    icid=WORDS,
)


class ChainTests(SynchronousTestCase):
    @given(place=PLACES)
    def test_round_trip(self, place: Place) -> None:
        """A place comes back as it was, in characters a URI parameter may hold."""
        chain = Chain(b"k" * 16)
        token = chain.seal(place)
        self.assertRegex(token, r"\A[A-Za-z0-9_-]+\Z")
        self.assertEqual(chain.open(token), place)

    @given(place=PLACES, at=integers(0, 10**6))
    def test_forged(self, place: Place, at: int) -> None:
        """One changed octet, or another key, and the token is refused with 403."""
        token = Chain(b"k" * 16).seal(place)
        self.assertRaises(PeerError, Chain(b"other key of ours").open, token)
        at %= len(token)
        other = "A" if token[at] != "A" else "B"
        changed = token[:at] + other + token[at + 1 :]
        try:
            found = Chain(b"k" * 16).open(changed)
        except PeerError as error:
            self.assertEqual(error.status, 403)
        else:
            # The last character holds spare bits that carry nothing.
            self.assertEqual((found, at), (place, len(token) - 1))

    @given(junk=text(max_size=80))
    def test_junk(self, junk: str) -> None:
        """Whatever stands there, the only error is the peer's."""
        self.assertRaises(PeerError, Chain(b"k" * 16).open, junk)
