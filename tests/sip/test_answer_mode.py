"""How a caller wants to be answered (RFC 5373)."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import booleans, builds, from_regex, sampled_from, text
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.sip.answer_mode import (
    AUTO,
    AUTO_FORBIDDEN,
    MANUAL,
    MANUAL_FORBIDDEN,
    AnswerMode,
    answer_mode,
)
from omaim.sip.message import Request

tokens = from_regex(r"\A[A-Za-z0-9.!%*_+`'~-]{1,20}\Z").filter(
    lambda word: word.lower() not in ("auto", "manual")
)
modes = builds(AnswerMode, sampled_from([AUTO, MANUAL]) | tokens, booleans(), booleans())


def invite(*fields: tuple[str, str]) -> Request:
    head = [("Via", "SIP/2.0/UDP a;branch=z9hG4bK1"), ("From", "<sip:a@b>;tag=1")]
    head += [("To", "<sip:c@d>"), ("Call-ID", "x"), ("CSeq", "1 INVITE")]
    return Request.make("INVITE", "sip:c@d", [*head, *fields])


class AnswerModeTests(SynchronousTestCase):
    @given(modes)
    def test_law(self, mode: AnswerMode) -> None:
        """What is written is read again, by its own header and by no other."""
        request = invite(mode.field)
        self.assertEqual(answer_mode(request, mode.privileged), mode)
        self.assertIsNone(answer_mode(request, not mode.privileged))

    @given(text(min_size=1, max_size=40).filter(lambda one: "\r" not in one and "\n" not in one))
    def test_junk(self, value: str) -> None:
        """Junk raises PeerError only."""
        try:
            answer_mode(invite(("Answer-Mode", value)))
        except PeerError:
            pass

    def test_forms(self) -> None:
        """Words count in any case; other parameters than require are left alone."""
        for value, found in (
            ("Auto", AnswerMode(AUTO)),
            ("auto ; REQUIRE", AnswerMode(AUTO, True)),
            ("MANUAL;x=1", AnswerMode(MANUAL)),
            ("Later;require", AnswerMode("Later", True)),
        ):
            self.assertEqual(answer_mode(invite(("Answer-Mode", value))), found, value)

    def test_refused(self) -> None:
        """It is one word, and there once."""
        for values in (("",), ("Auto Manual",), (";require",), ("Auto", "Auto"), ("Auto;;",)):
            request = invite(*(("Answer-Mode", value) for value in values))
            error = self.assertRaises(PeerError, answer_mode, request)
            self.assertEqual(error.status, 400, values)

    def test_why(self) -> None:
        """A refusal says which mode is not to be had."""
        self.assertEqual(AnswerMode(AUTO).forbidden, AUTO_FORBIDDEN)
        self.assertEqual(AnswerMode(MANUAL).forbidden, MANUAL_FORBIDDEN)
        self.assertIn("not known", AnswerMode("Later").forbidden)
