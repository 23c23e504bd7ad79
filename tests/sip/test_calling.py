"""Whose turn it is in an INVITE dialog."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import integers, lists, sampled_from, tuples
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.calling import (
    NONE,
    OURS,
    REPEAT,
    REPEAT_RELIABLE,
    THEIRS,
    UNACKNOWLEDGED,
    UNHEARD,
    Calling,
    Overlapping,
)
from omaim.sip.headers import RAck
from omaim.sip.timing import Timing
from omaim.testing.machines import play
from omaim.timers import NEVER


def calling(owner: bool = True, seed: int = 1) -> Calling:
    return Calling(Ids(seed), Timing(), owner)


class TurnTests(SynchronousTestCase):
    def refused(self, machine: Calling, method: str, described: bool) -> int:
        error = self.assertRaises(PeerError, machine.receive, method, described)
        self.assertEqual(isinstance(error, Overlapping), error.status == 500)
        if isinstance(error, Overlapping):
            self.assertIn(error.retry_after, range(11))
        return error.status

    def test_ours(self) -> None:
        """No INVITE of ours while another is under way in either direction (§14.1)."""
        machine = calling()
        self.assertTrue(machine.free("INVITE", True))
        machine.begin("INVITE", True)
        self.assertEqual((machine.inviting, machine.outstanding), (True, OURS))
        self.assertFalse(machine.free("INVITE", True))
        self.assertFalse(machine.free("INVITE", False))
        self.assertFalse(machine.free("UPDATE", True))
        self.assertTrue(machine.free("UPDATE", False))
        machine.finish("INVITE", 488, False)
        self.assertEqual((machine.inviting, machine.outstanding), (False, NONE))
        machine.receive("INVITE", True)
        self.assertFalse(machine.free("INVITE", True))
        self.assertFalse(machine.free("UPDATE", True))
        machine.answer("INVITE", 200, True, 3, 0.0)
        self.assertFalse(machine.free("INVITE", True))
        self.assertTrue(machine.free("UPDATE", True))
        self.assertTrue(machine.acknowledged(3))
        self.assertFalse(machine.acknowledged(3))
        self.assertTrue(machine.free("INVITE", True))

    def test_crossing(self) -> None:
        """What crosses ours is 491, what overtakes its own is 500 (§14.2; RFC 3311 §5.2)."""
        machine = calling()
        machine.begin("INVITE", True)
        self.assertEqual(self.refused(machine, "INVITE", True), 491)
        self.assertEqual(self.refused(machine, "INVITE", False), 491)
        self.assertEqual(self.refused(machine, "UPDATE", True), 491)
        machine.receive("UPDATE", False)
        self.assertEqual(self.refused(machine, "UPDATE", False), 500)
        machine.answer("UPDATE", 200, False, 1, 0.0)
        machine.finish("INVITE", 200, True)
        machine.receive("UPDATE", True)
        self.assertEqual(machine.outstanding, THEIRS)
        self.assertEqual(self.refused(machine, "INVITE", True), 500)
        machine.answer("UPDATE", 488, False, 2, 0.0)
        machine.receive("INVITE", False)
        self.assertEqual(self.refused(machine, "INVITE", False), 500)

    def test_offer_in_answer(self) -> None:
        """An offer in a 2xx is open until the ACK (RFC 3261 §13.2.1)."""
        caller, callee = calling(), calling(False)
        caller.begin("INVITE", False)
        callee.receive("INVITE", False)
        callee.answer("INVITE", 200, True, 1, 0.0)
        caller.finish("INVITE", 200, True)
        self.assertEqual((caller.outstanding, callee.outstanding), (THEIRS, OURS))
        self.assertFalse(caller.free("UPDATE", True))
        self.assertEqual(self.refused(callee, "INVITE", True), 491)
        caller.answered()
        callee.acknowledged(1)
        self.assertEqual((caller.outstanding, callee.outstanding), (NONE, NONE))

    def test_pause(self) -> None:
        """The caller waits from 2.1 to 4 seconds, the callee up to 2 (§14.1)."""
        for seed in range(50):
            self.assertTrue(2.1 <= calling(True, seed).pause() <= 4.0)
            self.assertTrue(0.0 <= calling(False, seed).pause() <= 2.0)

    def test_repeats(self) -> None:
        """A 2xx is repeated from T1 to T2 until 64*T1 have passed (§13.3.1.4)."""
        machine = calling(False)
        machine.receive("INVITE", True)
        machine.answer("INVITE", 200, True, 7, 0.0)
        played = play(machine)
        self.assertEqual(
            [moment for moment, _ in played],
            [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5, 32.0],
        )
        self.assertEqual([out for _, out in played], 10 * [[(REPEAT, 7)]] + [[(UNACKNOWLEDGED, 7)]])
        self.assertEqual(machine.deadline, NEVER)

    def test_acknowledged(self) -> None:
        """The ACK of one 2xx ends its repeats and no others."""
        machine = calling(False)
        for number in (1, 2):
            machine.receive("INVITE", True)
            machine.answer("INVITE", 200, True, number, float(number))
        self.assertTrue(machine.acknowledged(1))
        self.assertEqual(machine.deadline, 2.5)
        self.assertTrue(machine.acknowledged(2))
        self.assertEqual((machine.deadline, play(machine)), (NEVER, []))


class ReliableTests(SynchronousTestCase):
    def ringing(self, described: bool = False) -> Calling:
        machine = calling(False)
        machine.receive("INVITE", True)
        self.rseq = machine.reserve(described, 0.0)
        return machine

    def rack(self, rseq: int, number: int = 1, method: str = "INVITE") -> RAck:
        return RAck.parse(f"{rseq} {number} {method}")

    def test_repeated(self) -> None:
        """It is repeated, doubling without limit, for 64*T1 (RFC 3262 §3)."""
        machine = self.ringing()
        played = play(machine)
        self.assertEqual([at for at, _ in played], [0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 32.0])
        self.assertEqual(
            [out for _, out in played],
            6 * [[(REPEAT_RELIABLE, self.rseq)]] + [[(UNHEARD, self.rseq)]],
        )

    def test_pracked(self) -> None:
        """Only the PRACK for it ends that; the next has the next number (RFC 3262 §3)."""
        machine = self.ringing(True)
        self.assertTrue(machine.waiting and machine.reliable_described)
        for wrong in (
            self.rack(self.rseq + 1),
            self.rack(self.rseq, 2),
            self.rack(self.rseq, 1, "BYE"),
        ):
            self.assertEqual(self.assertRaises(PeerError, machine.pracked, wrong, 1).status, 481)
        self.assertFalse(machine.pracked(self.rack(self.rseq), 1))
        self.assertFalse(machine.waiting or machine.reliable_described)
        self.assertEqual(machine.deadline, NEVER)
        self.assertRaises(PeerError, machine.pracked, self.rack(self.rseq), 1)
        self.assertEqual(machine.reserve(False, 1.0), self.rseq + 1)

    def test_after_final(self) -> None:
        """A PRACK may come after the final response (RFC 3262 §3)."""
        machine = self.ringing()
        machine.answer("INVITE", 200, True, 1, 0.0)
        self.assertFalse(machine.waiting)
        machine.pracked(self.rack(self.rseq), 1)

    def test_answer_in_it(self) -> None:
        """The answer in it counts; what the 2xx says again does not (§5)."""
        caller, callee = calling(), self.ringing(True)
        self.assertEqual(callee.outstanding, NONE)
        caller.begin("INVITE", True)
        self.assertTrue(caller.heard(self.rseq, True))
        self.assertEqual(caller.outstanding, NONE)
        self.assertTrue(caller.free("UPDATE", True))
        callee.answer("INVITE", 200, True, 1, 0.0)
        caller.finish("INVITE", 200, True)
        self.assertEqual((caller.outstanding, callee.outstanding), (NONE, NONE))

    def test_order(self) -> None:
        """Repeats and what is ahead of its time are left alone (RFC 3262 §4)."""
        machine = calling()
        machine.begin("INVITE", True)
        self.assertEqual(
            [machine.heard(rseq, False) for rseq in (0, 7, 7, 9, 8, 9, 1)],
            [False, True, False, False, True, True, False],
        )


STEPS = sampled_from(("INVITE", "UPDATE"))


class PairTests(SynchronousTestCase):
    @given(lists(tuples(integers(0, 1), STEPS, integers(0, 1), integers(0, 6)), max_size=30))
    def test_never_both(self, script: list[tuple[int, str, int, int]]) -> None:
        """However requests and responses of two sides cross, offers do not (RFC 3264 §4).

        Each side sends when it is free to; messages wait on the way as long as the script says,
        in order for each direction.
        """
        ends = (calling(True), calling(False))
        ways: tuple[list[tuple[str, str, int, bool]], list[tuple[str, str, int, bool]]] = ([], [])
        numbers = [0, 1000]

        def deliver(to: int) -> None:
            kind, method, number, described = ways[1 - to].pop(0)
            machine, back = ends[to], ways[to]
            if kind == "request":
                try:
                    machine.receive(method, described)
                except PeerError as error:
                    back.append(("refusal", method, error.status, False))
                    return
                answers = described or method == "INVITE"
                machine.answer(method, 200, answers, number, 0.0)
                back.append(("answer", method, number, answers))
            elif kind == "ACK":
                self.assertTrue(machine.acknowledged(number))
            else:
                machine.finish(method, 200 if kind == "answer" else number, described)
                if kind == "answer" and method == "INVITE":
                    if machine.outstanding == THEIRS:
                        machine.answered()
                    back.append(("ACK", "ACK", number, False))

        for side, method, described, deliveries in script:
            if ends[side].free(method, bool(described)):
                numbers[side] += 1
                ends[side].begin(method, bool(described))
                ways[side].append(("request", method, numbers[side], bool(described)))
            for turn in range(deliveries):
                to = (side + turn) % 2
                if ways[1 - to]:
                    deliver(to)
            self.assertFalse(ends[0].outstanding == THEIRS and ends[1].outstanding == THEIRS)
        while ways[0] or ways[1]:
            deliver(1 if ways[0] else 0)
        for machine in ends:
            self.assertEqual(machine.outstanding, NONE)
            self.assertTrue(machine.free("INVITE", True) and machine.free("UPDATE", True))
            self.assertEqual(machine.deadline, NEVER)
