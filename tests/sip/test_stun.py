"""omaim/sip/stun.py: keep-alives of datagram flows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.sip.stun import answer, is_stun, question

COOKIE = bytes.fromhex("2112a442")
ID = bytes.fromhex("b7e7a701bc34d686fa87dfae")  # of the samples in RFC 5769


def binding(attributes: bytes = b"", kind: int = 1) -> bytes:
    """Return a message of STUN, a Binding request if nothing else is said."""
    return kind.to_bytes(2, "big") + len(attributes).to_bytes(2, "big") + COOKIE + ID + attributes


class StunTests(SynchronousTestCase):
    def test_samples(self) -> None:
        """The mapped addresses are written as in the samples of RFC 5769 §2.2 and §2.3."""
        for host, written in (
            ("192.0.2.1", "002000080001a147e112a643"),
            (
                "2001:db8:1234:5678:11:2233:4455:6677",
                "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
            ),
        ):
            attribute = bytes.fromhex(written)
            self.assertEqual(answer(binding(), host, 32853), binding(attribute, 0x0101))

    def test_question(self) -> None:
        """A question is a Binding request without attributes (RFC 5626 §8)."""
        self.assertEqual(question(ID), binding())

    def test_unknown(self) -> None:
        """What must be understood and is not is named in a 420; the optional is passed over
        (RFC 8489 §6.3.1).
        """
        software = bytes.fromhex("8022000161000000")
        self.assertEqual((answer(binding(software), "192.0.2.1", 1) or b"")[:2], b"\x01\x01")
        change = bytes.fromhex("0003000400000000")
        refused = answer(binding(change), "192.0.2.1", 1) or b""
        self.assertTrue(is_stun(refused))
        self.assertEqual(refused[:2], b"\x01\x11")
        self.assertIn(b"\0\0\x04\x14Unknown Attribute", refused)
        self.assertTrue(refused.endswith(bytes.fromhex("000a000200030000")))
        many = b"".join(bytes([0x70, number, 0, 0]) for number in range(200))
        self.assertLess(len(answer(binding(many), "192.0.2.1", 1) or b""), 100)

    def test_crowd(self) -> None:
        """Of a datagram full of unknown attributes eight are looked up and named, no more."""
        kinds = range(0x0100, 0x4100)
        crowd = b"".join(kind.to_bytes(2, "big") + b"\0\0" for kind in kinds[:16000])
        refused = answer(binding(crowd), "192.0.2.1", 1) or b""
        named = b"".join(kind.to_bytes(2, "big") for kind in kinds[:8])
        self.assertTrue(refused.endswith(b"\0\x0a\0\x10" + named))

    def test_no_answer(self) -> None:
        """Answers and indications get none, nor does what is cut off."""
        for kind in (0x0011, 0x0101, 0x0111, 0x0003):
            self.assertIsNone(answer(binding(kind=kind), "192.0.2.1", 1))
        self.assertIsNone(answer(binding(bytes.fromhex("00060008")), "192.0.2.1", 1))

    def test_others(self) -> None:
        """SIP, keep-alives and the STUN of before RFC 5389 are something else."""
        for data in (
            b"OPTIONS sip:a SIP/2.0\r\n\r\n",
            b"\r\n\r\n",
            b"\0" * 20,
            b"\0",
            binding()[:19],
            binding() + b"x",
            binding().replace(COOKIE, b"\x21\x12\xa4\x43"),
        ):
            self.assertFalse(is_stun(data))
        self.assertTrue(is_stun(binding()))

    @given(st.binary(max_size=200), st.integers(1, 65535))
    def test_anything(self, junk: bytes, port: int) -> None:
        """Whatever comes, an answer is well-formed and not much longer than the question."""
        for data in (junk, binding(junk[: len(junk) // 4 * 4])):
            reply = answer(data, "2001:db8::1", port) if is_stun(data) else None
            if reply is not None:
                self.assertTrue(is_stun(reply))
                self.assertLessEqual(len(reply), len(data) + 64)
