"""Identifiers."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis.strategies import integers
from twisted.trial.unittest import SynchronousTestCase

from omaim.ids import COOKIE, Ids


class IdsTests(SynchronousTestCase):
    def test_branch_has_the_cookie(self) -> None:
        """A branch starts with the magic cookie (RFC 3261 §8.1.1.7) and holds 64 bits more."""
        branch = Ids().branch()
        self.assertTrue(branch.startswith(COOKIE))
        self.assertGreaterEqual(len(branch) - len(COOKIE), 16)

    def test_no_two_alike(self) -> None:
        """Ten thousand tokens from the system's source are distinct."""
        ids = Ids()
        self.assertEqual(len({ids.token() for _ in range(10_000)}), 10_000)

    def test_uuid_urn(self) -> None:
        """The instance identifier is a version 4 UUID (RFC 4122 §4.4)."""
        form = re.compile(
            r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
        )
        ids = Ids()
        for _ in range(100):
            self.assertTrue(form.fullmatch(ids.uuid_urn()))

    @given(seed=integers(0, 2**32), lengths=integers(1, 64))
    def test_seed_repeats(self, seed: int, lengths: int) -> None:
        """The same seed gives the same sequence; every token has the length asked for."""
        one, two = Ids(seed), Ids(seed)
        for _ in range(5):
            token = one.token(lengths)
            self.assertEqual(token, two.token(lengths))
            self.assertEqual(len(token), lengths)
        self.assertEqual(one.fraction(), two.fraction())
