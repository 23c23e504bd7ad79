"""Session-Expires, Min-SE, Replaces, Target-Dialog and Reason."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import booleans, from_regex, integers, sampled_from, text
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.sip.headers import DialogRef, Reason, SessionExpires

TOKENS = from_regex(r"\A[A-Za-z0-9.!%*_+`'~-]{1,12}\Z")
KINDS = (SessionExpires, DialogRef, Reason)


class SessionValueTests(SynchronousTestCase):
    def test_session_expires(self) -> None:
        """RFC 4028 §4, §5."""
        value = SessionExpires.parse("4000 ;refresher=UAC;x=1")
        self.assertEqual((value.seconds, value.refresher), (4000, "uac"))
        self.assertEqual(str(value), "4000;refresher=uac;x=1")
        self.assertEqual(SessionExpires.parse("60").refresher, "")
        self.assertEqual(SessionExpires.parse(99 * "9").seconds, 2**32 - 1)
        for bad in (
            "",
            "-1",
            "1.5",
            "90;refresher",
            "90;refresher=me",
            "90;refresher=uac;refresher",
        ):
            self.assertRaises(PeerError, SessionExpires.parse, bad)

    def test_replaces(self) -> None:
        """RFC 3891 §6.1, with its own examples."""
        for text_ in (
            "98732@sip.example.com\t;from-tag=r33th4x0r\t;to-tag=ff87ff",
            "98732@sip.example.com;to-tag=ff87ff;from-tag=r33th4x0r",
        ):
            value = DialogRef.parse(text_)
            self.assertEqual(value.key, ("98732@sip.example.com", "ff87ff", "r33th4x0r"))
            self.assertFalse(value.early_only)
        early = DialogRef.parse("12adf2f34456gs5;to-tag=12345;from-tag=54321;early-only")
        self.assertTrue(early.early_only)
        tags = ";to-tag=1;from-tag=2"
        for bad in ("", "a;to-tag=1", "a;from-tag=1", "a;to-tag;from-tag=2", tags,
                    f"a b{tags}", f"a,b{tags}"):  # fmt: skip
            self.assertRaises(PeerError, DialogRef.parse, bad)

    def test_target_dialog(self) -> None:
        """RFC 4538 §7: the same with other names."""
        value = DialogRef.parse(
            "fa77as7dad8-sd98ajzz@host.example.com;local-tag=kkaz-;remote-tag=6544"
        )
        self.assertEqual(value.key, ("fa77as7dad8-sd98ajzz@host.example.com", "kkaz-", "6544"))
        self.assertEqual(DialogRef.parse(value.target_dialog), value)

    def test_reason(self) -> None:
        """RFC 3326 §2, with its own examples."""
        value = Reason.parse('SIP ;cause=200 ;text="Call completed elsewhere"')
        self.assertEqual(
            (value.protocol, value.cause, value.text), ("SIP", 200, "Call completed elsewhere")
        )
        self.assertEqual(Reason.parse("Q.850"), Reason("Q.850"))
        for bad in ("", "SIP;cause=x", "a b", "SIP;cause=-1"):
            self.assertRaises(PeerError, Reason.parse, bad)

    @given(integers(0, 2**32 - 1), sampled_from(("", "uac", "uas")))
    def test_interval_there_and_back(self, seconds: int, refresher: str) -> None:
        """What is written is read back."""
        value = SessionExpires(seconds, refresher)
        self.assertEqual(SessionExpires.parse(str(value)), value)

    @given(TOKENS, TOKENS, TOKENS, booleans())
    def test_dialog_there_and_back(self, call_id: str, one: str, other: str, early: bool) -> None:
        """What is written is read back."""
        value = DialogRef(call_id, one, other, early)
        self.assertEqual(DialogRef.parse(str(value)), value)

    @given(TOKENS, integers(0, 999), text(max_size=20))
    def test_reason_there_and_back(self, protocol: str, cause: int, said: str) -> None:
        """What is written is read back, but for line ends."""
        value = Reason(protocol, cause, said.replace("\r", " ").replace("\n", " "))
        self.assertEqual(Reason.parse(str(value)), value)

    @given(text(max_size=40))
    def test_junk(self, junk: str) -> None:
        """Junk raises PeerError only."""
        for kind in KINDS:
            try:
                kind.parse(junk)
            except PeerError:
                continue
