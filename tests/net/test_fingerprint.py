"""Certificates known by their fingerprint (RFC 8122)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.net.fingerprint import fingerprint, matches
from omaim.net.tls import TlsSettings

ONE, OTHER = b"one certificate", b"another"


class FingerprintTests(SynchronousTestCase):
    def test_written(self) -> None:
        """The name of the hash, and pairs of capital digits (RFC 8122 §5)."""
        self.assertEqual(
            fingerprint(b"abc", "sha-1"),
            "sha-1 A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D",
        )
        self.assertTrue(fingerprint(b"abc").startswith("sha-256 BA:78:16:BF:"))
        self.assertRaises(UsageError, TlsSettings().fingerprint)

    def test_matches(self) -> None:
        """Any case; the best hash that is known decides, one of its values is enough."""
        weak, strong = fingerprint(ONE, "sha-1"), fingerprint(ONE, "sha-256")
        self.assertTrue(matches(ONE, (weak,)) and matches(ONE, (strong.upper(),)))
        self.assertTrue(matches(ONE, (weak.lower(),)))
        self.assertTrue(matches(ONE, (fingerprint(OTHER), strong)))
        self.assertTrue(matches(ONE, ("sha-999 00", strong)))
        self.assertFalse(matches(OTHER, (weak, strong)))
        self.assertFalse(matches(ONE, (weak, fingerprint(OTHER))))

    def test_nothing_to_match(self) -> None:
        """Without a certificate, a value or a hash that is still good, nobody is believed."""
        strong = fingerprint(ONE)
        for certificate, values in (
            (b"", (strong,)),
            (ONE, ()),
            (ONE, ("md5 00",)),
            (ONE, ("",)),
            (ONE, ("sha-256",)),
            (ONE, ("sha-256 é",)),
        ):
            self.assertFalse(matches(certificate, values), values)
