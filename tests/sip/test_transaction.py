"""The four transaction machines: every state with every input, and every timer to the edge."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.sip import transitions
from omaim.sip.accepted import AcceptedInvite
from omaim.sip.flow import Flow
from omaim.sip.message import Request, Response
from omaim.sip.timing import Timing
from omaim.sip.transaction import ClientTransaction, ServerTransaction
from omaim.sip.transitions import (
    ACTION_NAMES,
    END,
    INPUT_NAMES,
    SEND,
    SEND_100,
    STATE_NAMES,
    TIMED_OUT,
)
from omaim.testing.machines import every_pair, play
from omaim.timers import NEVER

AnyTransaction = ServerTransaction | ClientTransaction
Row = tuple[str, str, str, str]

UDP = Flow("UDP", "192.0.2.1", 5060, "192.0.2.2", 5060)
TCP = Flow("TCP", "192.0.2.1", 5060, "192.0.2.2", 5060)


def make(method: str) -> Request:
    return Request.make(
        method,
        "sip:bob@b.example",
        [
            ("Via", "SIP/2.0/UDP a.example;branch=z9hG4bKone"),
            ("From", "<sip:alice@a.example>;tag=1"),
            ("To", "<sip:bob@b.example>"),
            ("Call-ID", "c"),
            ("CSeq", f"1 {method}"),
        ],
    )


def nothing(machine: object, now: float) -> None:
    """Stand in for the layer; the test takes the outputs itself."""


def swallow(response: Response) -> None:
    """Stand in for the user."""


def server(method: str, flow: Flow = UDP, timing: Timing | None = None) -> ServerTransaction:
    return ServerTransaction(make(method), flow, "k", timing or Timing(), 0.0, nothing)


def client(method: str, flow: Flow = UDP, timing: Timing | None = None) -> ClientTransaction:
    return ClientTransaction(make(method), flow, timing or Timing(), 0.0, nothing, swallow)


def names(out: int) -> str:
    return ", ".join(name for bit, name in enumerate(ACTION_NAMES) if out >> bit & 1)


SERVER_INPUTS: dict[str, Callable[[ServerTransaction, float], None]] = {
    "request": lambda machine, now: machine.repeated(now),
    "ACK": lambda machine, now: machine.acknowledged(now),
    # The last moment before Timer H; early enough a 100 would be swallowed (RFC 4320).
    "1xx": lambda machine, now: machine.respond(100, max(now, 3.5)),
    "2xx": lambda machine, now: machine.respond(200, now),
    "3xx-6xx": lambda machine, now: machine.respond(404, now),
    "tick": lambda machine, now: machine.wake(machine.deadline),
    "expiry": lambda machine, now: machine.wake(1e6),
    "transport error": lambda machine, now: machine.failed(now),
    "abandoned": lambda machine, now: machine.respond(408, now),
}
CLIENT_INPUTS: dict[str, Callable[[ClientTransaction, float], None]] = {
    "1xx": lambda machine, now: machine.responded(180, now),
    "2xx": lambda machine, now: machine.responded(200, now),
    "3xx-6xx": lambda machine, now: machine.responded(404, now),
    "tick": lambda machine, now: machine.wake(machine.deadline),
    "expiry": lambda machine, now: machine.wake(1e6),
    "transport error": lambda machine, now: machine.failed(now),
    "abandoned": lambda machine, now: machine.abandon(now),
}


class EveryPairTests(SynchronousTestCase):
    """All states with all inputs over UDP; what is not listed must change nothing.

    The lists restate the figures of RFC 3261 §17 and RFC 6026 §8, independent of the code's
    tables. "tick" and "expiry" stand in a state only when it has such a timer.
    """

    INVITE_CLIENT: ClassVar[tuple[Row, ...]] = (
        ("Calling", "1xx", "Proceeding", "pass"),
        ("Calling", "2xx", "Accepted", "pass"),
        ("Calling", "3xx-6xx", "Completed", "pass, send ACK"),
        ("Calling", "tick", "Calling", "send"),
        ("Calling", "expiry", "Terminated", "timeout, end"),
        ("Calling", "transport error", "Terminated", "transport failure, end"),
        ("Proceeding", "1xx", "Proceeding", "pass"),
        ("Proceeding", "2xx", "Accepted", "pass"),
        ("Proceeding", "3xx-6xx", "Completed", "pass, send ACK"),
        ("Completed", "3xx-6xx", "Completed", "send ACK"),
        ("Completed", "expiry", "Terminated", "end"),
        ("Completed", "tick", "Terminated", "end"),  # there is one deadline, Timer D
        ("Completed", "transport error", "Terminated", "end"),
        ("Accepted", "2xx", "Accepted", "pass"),
        ("Accepted", "expiry", "Terminated", "end"),
        ("Accepted", "tick", "Terminated", "end"),  # Timer M
    )
    OTHER_CLIENT: ClassVar[tuple[Row, ...]] = (
        ("Trying", "1xx", "Proceeding", "pass"),
        ("Trying", "2xx", "Completed", "pass"),
        ("Trying", "3xx-6xx", "Completed", "pass"),
        ("Trying", "tick", "Trying", "send"),
        ("Trying", "expiry", "Terminated", "timeout, end"),
        ("Trying", "transport error", "Terminated", "transport failure, end"),
        ("Proceeding", "1xx", "Proceeding", "pass"),
        ("Proceeding", "2xx", "Completed", "pass"),
        ("Proceeding", "3xx-6xx", "Completed", "pass"),
        ("Proceeding", "tick", "Proceeding", "send"),
        ("Proceeding", "expiry", "Terminated", "timeout, end"),
        ("Proceeding", "transport error", "Terminated", "transport failure, end"),
        ("Completed", "expiry", "Terminated", "end"),
        ("Completed", "tick", "Terminated", "end"),  # Timer K
    )
    INVITE_SERVER: ClassVar[tuple[Row, ...]] = (
        ("Proceeding", "request", "Proceeding", "send"),
        ("Proceeding", "1xx", "Proceeding", "send"),
        ("Proceeding", "2xx", "Accepted", "send"),
        ("Proceeding", "3xx-6xx", "Completed", "send"),
        ("Proceeding", "abandoned", "Completed", "send"),  # 408 is an answer to INVITE
        ("Proceeding", "tick", "Proceeding", "send 100"),
        ("Proceeding", "expiry", "Proceeding", "send 100"),  # it has no expiry
        ("Proceeding", "transport error", "Proceeding", "transport failure"),
        ("Completed", "request", "Completed", "send"),
        ("Completed", "ACK", "Confirmed", ""),
        ("Completed", "tick", "Completed", "send"),
        ("Completed", "expiry", "Terminated", "timeout, end"),
        ("Completed", "transport error", "Completed", "transport failure"),
        ("Confirmed", "expiry", "Terminated", "end"),
        ("Confirmed", "tick", "Terminated", "end"),  # Timer I
        ("Accepted", "ACK", "Accepted", "pass"),
        ("Accepted", "2xx", "Accepted", "send"),
        ("Accepted", "expiry", "Terminated", "end"),
        ("Accepted", "tick", "Terminated", "end"),  # Timer L
        ("Accepted", "transport error", "Accepted", "transport failure"),
    )
    OTHER_SERVER: ClassVar[tuple[Row, ...]] = (
        ("Trying", "1xx", "Proceeding", "send"),
        ("Trying", "2xx", "Completed", "send"),
        ("Trying", "3xx-6xx", "Completed", "send"),
        ("Trying", "abandoned", "Completed", ""),
        ("Trying", "tick", "Proceeding", "send 100"),
        ("Trying", "expiry", "Terminated", "end"),
        ("Proceeding", "request", "Proceeding", "send"),
        ("Proceeding", "1xx", "Proceeding", "send"),
        ("Proceeding", "2xx", "Completed", "send"),
        ("Proceeding", "3xx-6xx", "Completed", "send"),
        ("Proceeding", "abandoned", "Completed", ""),
        ("Proceeding", "expiry", "Terminated", "end"),
        ("Proceeding", "tick", "Terminated", "end"),  # its one deadline is the last
        ("Proceeding", "transport error", "Terminated", "transport failure, end"),
        ("Completed", "request", "Completed", "send"),
        ("Completed", "expiry", "Terminated", "end"),
        ("Completed", "tick", "Terminated", "end"),  # Timer J
        ("Completed", "transport error", "Terminated", "transport failure, end"),
    )

    def check_client(self, method: str, paths: dict[str, list[str]], rows: tuple[Row, ...]) -> None:
        expected = {(state, what): (following, out) for state, what, following, out in rows}
        for state, what in every_pair(paths, CLIENT_INPUTS):
            machine = client(method)
            for step in paths[state]:
                CLIENT_INPUTS[step](machine, 0.25)
            machine.take()
            self.assertEqual(STATE_NAMES[machine.state], state)
            if what in ("tick", "expiry") and machine.deadline == NEVER:
                self.assertNotIn((state, what), expected)
                continue
            before = machine.deadline
            CLIENT_INPUTS[what](machine, 0.375)
            found = (STATE_NAMES[machine.state], names(machine.take()))
            self.assertEqual(found, expected.get((state, what), (state, "")), (state, what))
            if (state, what) not in expected and what != "abandoned":
                self.assertEqual(machine.deadline, before)

    def check_server(self, method: str, paths: dict[str, list[str]], rows: tuple[Row, ...]) -> None:
        expected = {(state, what): (following, out) for state, what, following, out in rows}
        for state, what in every_pair(paths, SERVER_INPUTS):
            machine = server(method)
            for step in paths[state]:
                SERVER_INPUTS[step](machine, 0.125)
            machine.take()
            self.assertEqual(STATE_NAMES[machine.state], state)
            if what in ("tick", "expiry") and machine.deadline == NEVER:
                self.assertNotIn((state, what), expected)
                continue
            before = machine.deadline
            SERVER_INPUTS[what](machine, 0.15)
            found = (STATE_NAMES[machine.state], names(machine.take()))
            self.assertEqual(found, expected.get((state, what), (state, "")), (state, what))
            if (state, what) not in expected:
                self.assertEqual(machine.deadline, before)

    def test_invite_client(self) -> None:
        """RFC 6026 figure 5."""
        self.check_client(
            "INVITE",
            {
                "Calling": [],
                "Proceeding": ["1xx"],
                "Completed": ["3xx-6xx"],
                "Accepted": ["2xx"],
                "Terminated": ["expiry"],
            },
            self.INVITE_CLIENT,
        )

    def test_other_client(self) -> None:
        """RFC 3261 figure 6."""
        self.check_client(
            "MESSAGE",
            {
                "Trying": [],
                "Proceeding": ["1xx"],
                "Completed": ["2xx"],
                "Terminated": ["transport error"],
            },
            self.OTHER_CLIENT,
        )

    def test_invite_server(self) -> None:
        """RFC 6026 figure 7."""
        self.check_server(
            "INVITE",
            {
                "Proceeding": [],
                "Completed": ["3xx-6xx"],
                "Confirmed": ["3xx-6xx", "ACK"],
                "Accepted": ["2xx"],
                "Terminated": ["2xx", "expiry"],
            },
            self.INVITE_SERVER,
        )

    def test_other_server(self) -> None:
        """RFC 3261 figure 8, with the abandoned request of RFC 4320 §4.2."""
        self.check_server(
            "MESSAGE",
            {
                "Trying": [],
                "Proceeding": ["1xx"],
                "Completed": ["2xx"],
                "Terminated": ["expiry"],
            },
            self.OTHER_SERVER,
        )

    def test_tables_are_sound(self) -> None:
        """No table names a pair twice or leaves Terminated, and only what ends terminates."""
        for table in (
            transitions.INVITE_CLIENT,
            transitions.OTHER_CLIENT,
            transitions.INVITE_SERVER,
            transitions.OTHER_SERVER,
        ):
            pairs = [(state, what) for state, what, _, _ in table]
            self.assertEqual(len(pairs), len(set(pairs)))
            for state, what, following, actions in table:
                self.assertNotEqual(state, transitions.TERMINATED)
                self.assertEqual(following == transitions.TERMINATED, bool(actions & END))
                self.assertLess(what, len(INPUT_NAMES))
                self.assertLess(actions, 1 << len(ACTION_NAMES))

    def test_reached(self) -> None:
        """Every state that a table names can be reached from its first one."""
        for table, first in (
            (transitions.INVITE_CLIENT, transitions.CALLING),
            (transitions.OTHER_CLIENT, transitions.TRYING),
            (transitions.INVITE_SERVER, transitions.PROCEEDING),
            (transitions.OTHER_SERVER, transitions.TRYING),
        ):
            reached = {first}
            for _ in STATE_NAMES:
                reached |= {row[2] for row in table if row[0] in reached}
            self.assertEqual(reached, {row[0] for row in table} | {transitions.TERMINATED})


def moments(played: list[tuple[float, int]], bit: int) -> list[float]:
    return [now for now, out in played if out & bit]


class ClientTimerTests(SynchronousTestCase):
    def test_invite_repeats(self) -> None:
        """Timer A doubles without limit: seven requests in all; Timer B ends it at 64 × T1
        (RFC 3261 §17.1.1.2)."""
        played = play(client("INVITE"))
        self.assertEqual(moments(played, SEND), [0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
        self.assertEqual(moments(played, TIMED_OUT), [32.0])
        self.assertEqual(moments(played, END), [32.0])

    def test_other_repeats(self) -> None:
        """Timer E doubles up to T2: eleven requests in all; Timer F ends it (§17.1.2.2)."""
        played = play(client("MESSAGE"))
        expected = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        self.assertEqual(moments(played, SEND), expected)
        self.assertEqual(moments(played, END), [32.0])

    def test_reliable_repeats_nothing(self) -> None:
        """Over TCP nothing is repeated, and Timers B and F still run."""
        for method in ("INVITE", "MESSAGE"):
            self.assertEqual(play(client(method, TCP)), [(32.0, TIMED_OUT | END)])

    def test_invite_proceeding(self) -> None:
        """After 1xx an INVITE is not repeated, and waits for ever (§17.1.1.2)."""
        machine = client("INVITE")
        played = play(machine, [(0.75, lambda now: machine.responded(180, now))])
        self.assertEqual(moments(played, SEND), [0.5])
        self.assertEqual(machine.deadline, NEVER)

    def test_other_proceeding(self) -> None:
        """After 1xx Timer E keeps its next moment, then is T2; Timer F stays (§17.1.2.2)."""
        machine = client("MESSAGE")
        played = play(machine, [(0.75, lambda now: machine.responded(100, now))])
        expected = [0.5, 1.5, 5.5, 9.5, 13.5, 17.5, 21.5, 25.5, 29.5]
        self.assertEqual(moments(played, SEND), expected)
        self.assertEqual(moments(played, TIMED_OUT), [32.0])

    def test_ends(self) -> None:
        """Timers D, K and M: 32 s, T4 and 64 × T1 over UDP; 0, 0 and 64 × T1 over TCP."""
        for method, status, flow, ends in (
            ("INVITE", 486, UDP, 33.0),
            ("INVITE", 486, TCP, 1.0),
            ("INVITE", 200, UDP, 33.0),
            ("INVITE", 200, TCP, 33.0),
            ("MESSAGE", 200, UDP, 6.0),
            ("MESSAGE", 503, UDP, 6.0),
            ("MESSAGE", 200, TCP, 1.0),
        ):
            machine = client(method, flow)
            # At 1.0 after the repeat at 0.5: the answer silences Timers A and E.
            played = play(machine, [(1.0, lambda now, m=machine, s=status: m.responded(s, now))])  # type: ignore[misc]
            self.assertEqual(moments(played, END), [ends], (method, status, flow))
            self.assertEqual(moments(played, SEND), [0.5] if flow is UDP else [])

    def test_no_wake_before_its_time(self) -> None:
        """A wake before the deadline, however close, does nothing."""
        machine = client("MESSAGE")
        machine.wake(0.4999999)
        self.assertEqual((machine.take(), machine.deadline), (0, 0.5))
        machine.wake(0.5)
        self.assertEqual((machine.take(), machine.deadline), (SEND, 1.5))

    def test_slept_through(self) -> None:
        """A process that was stopped repeats once, not as often as it should have."""
        machine = client("MESSAGE")
        machine.wake(20.0)
        self.assertEqual((machine.take(), machine.deadline), (SEND, 21.0))

    def test_after_cancel(self) -> None:
        """An INVITE whose CANCEL was sent waits 64 × T1 for its final response (§9.1)."""
        machine = client("INVITE")
        machine.responded(180, 2.0)
        machine.abandon(3.0)
        machine.take()
        self.assertEqual(play(machine), [(35.0, TIMED_OUT | END)])

    @given(st.floats(0.01, 2.0), st.floats(1.0, 20.0), st.sampled_from(["INVITE", "MESSAGE"]))
    def test_any_timing(self, t1: float, factor: float, method: str) -> None:
        """Whatever T1 and T2: pauses start at T1, double, stay at T2 but for INVITE."""
        timing = Timing(t1=t1, t2=t1 * factor)
        sent = [0.0, *moments(play(client(method, UDP, timing)), SEND)]
        pauses = [later - earlier for earlier, later in pairwise(sent)]
        most = 1e9 if method == "INVITE" else timing.t2
        for number, pause in enumerate(pauses):
            self.assertAlmostEqual(pause, min(t1 * 2**number, most))
        self.assertLess(sent[-1], 64 * t1)
        if method == "INVITE":
            self.assertEqual(len(sent), 7)


class ServerTimerTests(SynchronousTestCase):
    def test_trying(self) -> None:
        """An INVITE is answered 100 after 200 ms of silence, once (RFC 3261 §17.2.1)."""
        self.assertEqual(play(server("INVITE")), [(0.2, SEND_100)])

    def test_no_trying(self) -> None:
        """An INVITE answered in time gets no 100."""
        for status in (100, 180, 200, 486):
            machine = server("INVITE")
            played = play(machine, [(0.199, lambda now, m=machine, s=status: m.respond(s, now))])  # type: ignore[misc]
            self.assertEqual(moments(played, SEND_100), [])

    def test_late_100(self) -> None:
        """Another request is answered 100 when Timer E of its client reaches T2, over every
        transport (RFC 4320 §4.1), and forgotten when the client has given up."""
        for flow in (UDP, TCP):
            self.assertEqual(play(server("MESSAGE", flow)), [(3.5, SEND_100), (37.0, END)])

    def test_early_100(self) -> None:
        """An early 100 is sent over TCP only (RFC 4320 §4.1)."""
        for flow, moment, out in (
            (UDP, 0.0, 0),
            (UDP, 3.49, 0),
            (UDP, 3.5, SEND),
            (TCP, 0.0, SEND),
        ):
            machine = server("MESSAGE", flow)
            machine.respond(100, moment)
            self.assertEqual(machine.take(), out, (flow, moment))

    def test_second_100(self) -> None:
        """Once the first 100 is out, the user may send more."""
        machine = server("MESSAGE")
        machine.wake(3.5)
        machine.take()
        machine.respond(100, 4.0)
        self.assertEqual(machine.take(), SEND)

    def test_no_other_provisional(self) -> None:
        """No provisional response but 100 goes to a request other than INVITE (RFC 4320 §4.1)."""
        for status in (101, 180, 183, 199):
            machine = server("MESSAGE", TCP)
            machine.respond(status, 10.0)
            self.assertEqual((machine.take(), machine.state), (0, transitions.TRYING))

    def test_no_408(self) -> None:
        """408 is not sent; the repeats are still swallowed (RFC 4320 §4.2)."""
        machine = server("MESSAGE")
        machine.respond(408, 32.0)
        self.assertEqual(machine.take(), 0)
        self.assertTrue(machine.answered)
        self.assertEqual(moments(play(machine), END), [64.0])

    def test_error_repeats(self) -> None:
        """Timer G: T1, doubling up to T2; Timer H gives up at 64 × T1 (§17.2.1)."""
        machine = server("INVITE")
        machine.respond(486, 0.0)
        machine.take()
        played = play(machine)
        expected = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        self.assertEqual(moments(played, SEND), expected)
        self.assertEqual(moments(played, TIMED_OUT), [32.0])

    def test_error_over_tcp(self) -> None:
        """Over TCP an error answer is not repeated; Timer H still runs."""
        machine = server("INVITE", TCP)
        machine.respond(486, 0.0)
        machine.take()
        self.assertEqual(play(machine), [(32.0, TIMED_OUT | END)])

    def test_acknowledged(self) -> None:
        """ACK stops Timer G; Timer I swallows more ACKs for T4, not at all over TCP."""
        for flow, ends in ((UDP, 6.0), (TCP, 1.0)):
            machine = server("INVITE", flow)
            machine.respond(486, 0.0)
            machine.take()
            played = play(machine, [(1.0, machine.acknowledged)])
            self.assertEqual(moments(played, SEND), [0.5] if flow is UDP else [])
            self.assertEqual(moments(played, END), [ends])
            self.assertEqual(moments(played, TIMED_OUT), [])

    def test_ends(self) -> None:
        """Timers J and L: 64 × T1 over UDP; 0 and 64 × T1 over TCP."""
        for method, flow, ends in (
            ("MESSAGE", UDP, 33.0),
            ("MESSAGE", TCP, 1.0),
            ("INVITE", UDP, 33.0),
            ("INVITE", TCP, 33.0),
        ):
            machine = server(method, flow)
            played = play(machine, [(1.0, lambda now, m=machine: m.respond(200, now))])  # type: ignore[misc]
            self.assertEqual(moments(played, END), [ends])

    def test_one_final_response(self) -> None:
        """A second final response is swallowed (§17.2.2)."""
        machine = server("MESSAGE")
        machine.respond(200, 1.0)
        machine.take()
        for status in (100, 200, 500):
            machine.respond(status, 2.0)
            self.assertEqual(machine.take(), 0)

    def test_request_let_go(self) -> None:
        """An answered transaction keeps no request, and says so."""
        for method in ("MESSAGE", "INVITE"):
            machine = server(method)
            self.assertEqual(machine.request.method, method)
            machine.respond(200, 1.0)
            with self.assertRaises(UsageError):
                _ = machine.request

    @given(
        st.lists(
            st.tuples(
                st.floats(0.0, 9.0), st.sampled_from([100, 180, 200, 202, 408, 486, "again", "ACK"])
            ),
            max_size=12,
        ),
        st.sampled_from(["INVITE", "MESSAGE"]),
        st.sampled_from([UDP, TCP]),
    )
    def test_any_script(
        self, script: list[tuple[float, int | str]], method: str, flow: Flow
    ) -> None:
        """Whatever the user does and when, a server transaction ends once it is answered."""
        machine = server(method, flow)
        now = 0.0
        moves = []
        for pause, what in script:
            now += pause
            if what == "again":
                moves.append((now, machine.repeated))
            elif what == "ACK":
                moves.append((now, machine.acknowledged))
            else:
                moves.append((now, lambda at, status=what: machine.respond(status, at)))  # type: ignore[misc]
        played = play(machine, moves)
        self.assertLessEqual(len(moments(played, END)), 1)
        if method == "MESSAGE" or any(what in (200, 202, 408, 486) for _, what in script):
            self.assertEqual(machine.state, transitions.TERMINATED)
            self.assertEqual(machine.deadline, NEVER)
            self.assertLessEqual(moments(played, END)[0], now + 64.0)


class AcceptedInviteTests(SynchronousTestCase):
    def test_repeats(self) -> None:
        """The 2xx is repeated from T1, doubling up to T2, for 64 × T1 (RFC 3261 §13.3.1.4)."""
        played = play(AcceptedInvite(Timing(), 0.0, nothing))
        expected = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        self.assertEqual(moments(played, SEND), expected)
        self.assertEqual(moments(played, TIMED_OUT), [32.0])

    def test_acknowledged(self) -> None:
        """The ACK ends it; a second one changes nothing."""
        machine = AcceptedInvite(Timing(), 0.0, nothing)
        played = play(machine, [(2.0, machine.acknowledged), (3.0, machine.acknowledged)])
        self.assertEqual(played, [(0.5, SEND), (1.5, SEND)])
