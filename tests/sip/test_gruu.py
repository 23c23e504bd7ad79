"""GRUUs as URIs (RFC 5627 §3.1, §5.4, §6.1); how a REGISTER makes them is test_registration's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError, UsageError
from omaim.ids import Ids
from omaim.sip.gruu import Gruus, public_gruu
from omaim.sip.uri import parse_uri

AOR = "sip:alice@example.com"


class GruuTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gruus = Gruus(b"a key for the tests of GRUUs", Ids(3))

    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
    def test_public(self, instance: str) -> None:
        """Without gr it is the address; the instance comes back from it (§3.1.1)."""
        uri = parse_uri(public_gruu(AOR, instance))
        target = self.gruus.resolve(uri)
        assert target is not None
        self.assertEqual((target.aor, target.instance, target.epoch), (AOR, instance, ""))

    @given(st.from_regex(r"sip:[a-z0-9.%]{0,0}[a-z0-9]{1,40}@[a-z]{1,30}", fullmatch=True))
    def test_temporary(self, aor: str) -> None:
        """It opens to address and epoch, and never twice looks alike (§5.1)."""
        epoch = self.gruus.new_epoch(7)
        one, other = self.gruus.mint(aor, epoch), self.gruus.mint(aor, epoch)
        self.assertNotEqual(one, other)
        target = self.gruus.resolve(parse_uri(one))
        assert target is not None
        self.assertEqual((target.aor, target.instance, target.epoch), (aor, "", epoch))
        self.assertEqual(self.gruus.epoch_of(other), epoch)
        self.assertEqual((self.gruus.first_cseq(other), self.gruus.first_cseq("x")), (7, 0))

    def test_length_hides_name(self) -> None:
        """Names of many lengths give GRUUs of one, so it tells little (§5.4)."""
        sizes = {len(self.gruus.mint(f"sip:{'a' * n}@h", "0" * 24)) for n in range(3, 19)}
        self.assertEqual(len(sizes), 1)

    def test_not_ours(self) -> None:
        """No gr is no GRUU; a bare gr that we did not make is 404 (§6.1)."""
        for text in (AOR, "tel:+1555", "urn:x:y"):
            self.assertIsNone(self.gruus.resolve(parse_uri(text)))
        minted = self.gruus.mint(AOR, "0" * 24)
        other = Gruus(b"another key of the same length", Ids(3)).mint(AOR, "0" * 24)
        for text in (
            AOR + ";gr",
            "sip:tgruu.@example.com;gr",
            "sip:tgruu.x@example.com;gr",
            "sip:tgruu.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@example.com;gr",
            minted.replace("example.com", "example.net"),
            other,
        ):
            error = self.assertRaises(PeerError, self.gruus.resolve, parse_uri(text))
            self.assertEqual(error.status, 404)
            self.assertEqual(self.gruus.epoch_of(text), "")
        self.assertEqual(self.gruus.epoch_of("<junk>"), "")
        self.assertRaises(UsageError, Gruus, b"short", Ids(1))

    @given(st.integers(0, 200), st.sampled_from("AZaz09-_"))
    def test_tampered(self, place: int, char: str) -> None:
        """No changed digit opens to another address (§5.1 property 2)."""
        minted = self.gruus.mint(AOR, "0" * 24)
        user, at, rest = minted[10:].partition("@")
        place %= len(user)
        changed = minted[:10] + user[:place] + char + user[place + 1 :] + at + rest
        try:
            target = self.gruus.resolve(parse_uri(changed))
        except PeerError:
            return
        assert target is not None
        self.assertEqual((target.aor, target.epoch), (AOR, "0" * 24))
