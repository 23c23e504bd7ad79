"""omaim/bodies/iscomposing.py: RFC 3994."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.iscomposing import (
    ACTIVE,
    IDLE,
    LONGEST,
    Composing,
    Correspondent,
    IsComposing,
    parse_iscomposing,
    write_iscomposing,
)
from omaim.errors import PeerError
from omaim.timers import NEVER, Timed

documents = st.builds(
    IsComposing,
    st.sampled_from([ACTIVE, IDLE]),
    st.integers(0, 9999),
    st.sampled_from(["", "text/plain", "audio"]),
    st.integers(0, 4_000_000_000).map(float),
)


def serve(machine: Timed, until: float) -> None:
    """Wake a machine at each of its deadlines up to a moment."""
    while machine.deadline <= until:
        machine.wake(machine.deadline)


class DocumentTests(SynchronousTestCase):
    @given(document=documents)
    def test_write_then_parse(self, document: IsComposing) -> None:
        self.assertEqual(parse_iscomposing(write_iscomposing(document)), document)

    @given(data=st.binary(max_size=60))
    def test_junk(self, data: bytes) -> None:
        try:
            parse_iscomposing(data)
        except PeerError:
            pass

    def test_rfc_examples(self) -> None:
        """The two documents of RFC 3994 §5."""
        head = (
            b'<?xml version="1.0" encoding="UTF-8"?>\n'
            b'<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"\n'
            b'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"\n'
            b'xsi:schemaLocation="urn:ietf:params:xml:ns:im-composing iscomposing.xsd">'
        )
        self.assertEqual(
            parse_iscomposing(
                head + b"<state>active</state><contenttype>text/plain</contenttype>"
                b"<refresh>90</refresh></isComposing>"
            ),
            IsComposing(ACTIVE, 90, "text/plain"),
        )
        self.assertEqual(
            parse_iscomposing(
                head + b"<state>idle</state><lastactive>2003-01-27T10:43:00Z</lastactive>"
                b"<contenttype>audio</contenttype></isComposing>"
            ),
            IsComposing(IDLE, 0, "audio", 1043664180.0),
        )

    def test_other_states(self) -> None:
        """A state that nobody defined counts as idle (RFC 3994 §3.5)."""
        data = write_iscomposing(IsComposing(ACTIVE)).replace(b"active", b"humming")
        self.assertEqual(parse_iscomposing(data).state, IDLE)

    def test_refused(self) -> None:
        for inner in (
            b"",
            b"<state/>",
            b"<state>active</state><refresh>0</refresh>",
            b"<state>active</state><refresh>-1</refresh>",
            b"<state>idle</state><lastactive>yesterday</lastactive>",
        ):
            data = b'<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing">' + inner
            self.assertRaises(PeerError, parse_iscomposing, data + b"</isComposing>")


class ComposingTests(SynchronousTestCase):
    @given(gaps=st.lists(st.floats(0, 300), max_size=30), refresh=st.sampled_from([0, 60, 90]))
    def test_no_state_repeats_without_need(self, gaps: list[float], refresh: int) -> None:
        """However keys are spaced, "idle" never repeats and follows within 15 s (§3.2)."""
        machine = Composing(refresh)
        now = 0.0
        told: list[tuple[float, str]] = []
        for gap in gaps:
            while machine.deadline <= now + gap:
                moment = machine.deadline
                machine.wake(moment)
                told += [(moment, state) for state in machine.take()]
            now += gap
            machine.typed(now)
            told += [(now, state) for state in machine.take()]
        for (before, one), (after, other) in pairwise(told):
            if one == other:
                self.assertEqual((one, bool(refresh)), (ACTIVE, True))
                self.assertGreaterEqual(after - before, refresh)
        serve(machine, now + 15.0)
        self.assertEqual(machine.deadline, NEVER)
        self.assertEqual(machine.take(), [IDLE] if gaps else [])

    def test_one_message(self) -> None:
        """A message that is sent in time costs one status message only (§3.2)."""
        machine = Composing()
        machine.typed(0.0)
        machine.typed(10.0)
        machine.sent(20.0)
        self.assertEqual((machine.take(), machine.deadline), ([ACTIVE], NEVER))

    def test_refresh(self) -> None:
        """Whoever writes on is "active" again each 60 s; a shorter interval is not had."""
        machine = Composing(refresh=5)
        self.assertEqual(machine.refresh, 60)
        for second in range(0, 130, 10):
            serve(machine, second)
            machine.typed(second)
        self.assertEqual(machine.take(), [ACTIVE, ACTIVE, ACTIVE])

    def test_late_wake(self) -> None:
        """A deadline that nobody served counts before the next key."""
        machine = Composing()
        machine.typed(0.0)
        machine.typed(100.0)
        self.assertEqual(machine.take(), [ACTIVE, IDLE, ACTIVE])

    def test_refused(self) -> None:
        """After 415 nothing more is sent (§4)."""
        machine = Composing()
        machine.typed(0.0)
        machine.refused()
        machine.typed(1.0)
        self.assertEqual((machine.take(), machine.active), ([], False))


class CorrespondentTests(SynchronousTestCase):
    def test_lapses(self) -> None:
        """ "active" lapses after its refresh, after 120 s when it has none (§3.3)."""
        for refresh, lapse in ((90, 90.0), (0, 120.0), (10**9, LONGEST)):
            machine = Correspondent()
            machine.status(IsComposing(ACTIVE, refresh), 5.0)
            self.assertEqual((machine.active, machine.deadline), (True, 5.0 + lapse))
            machine.wake(5.0 + lapse)
            self.assertEqual(machine.take(), [ACTIVE, IDLE])

    def test_ends(self) -> None:
        """ "idle" or the message itself end it; repeats change nothing (§3.3)."""
        machine = Correspondent()
        machine.status(IsComposing(ACTIVE, 60, "audio"), 0.0)
        machine.status(IsComposing(ACTIVE, 60), 50.0)
        self.assertEqual(machine.deadline, 110.0)
        machine.content(60.0)
        machine.status(IsComposing(IDLE), 61.0)
        machine.status(IsComposing(ACTIVE), 62.0)
        machine.status(IsComposing(IDLE), 63.0)
        self.assertEqual(machine.take(), [ACTIVE, IDLE, ACTIVE, IDLE])
        self.assertEqual(machine.deadline, NEVER)

    @given(
        steps=st.lists(
            st.tuples(st.floats(0, 200), st.sampled_from(["active", "idle", "content"])),
            max_size=20,
        )
    )
    def test_changes_alternate(self, steps: list[tuple[float, str]]) -> None:
        """Whatever comes, the changes told alternate, beginning with "active"."""
        machine = Correspondent()
        now = 0.0
        for gap, what in steps:
            now += gap
            if what == "content":
                machine.content(now)
            else:
                machine.status(IsComposing(what), now)
        told = machine.take()
        self.assertEqual(told, [ACTIVE, IDLE] * (len(told) // 2) + [ACTIVE] * (len(told) % 2))
        self.assertEqual(machine.active, len(told) % 2 == 1)
