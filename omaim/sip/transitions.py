"""The tables that the four transaction machines are.

Read a row as "in this state, on this input, go to that state and do these things"; a pair
without a row changes nothing. The machines (:mod:`omaim.sip.transaction`) do what stands here
and nothing else, and the diagrams in the documentation are drawn from it.

Spec: RFC 3261 §17, figures 5 to 8; RFC 6026 §7 (Accepted, Timers L and M); RFC 4320 §4
"""

from __future__ import annotations

from typing import Final

from omaim.sip.timing import Timing
from omaim.timers import NEVER

# States.
CALLING: Final = 0
TRYING: Final = 1
PROCEEDING: Final = 2
COMPLETED: Final = 3
CONFIRMED: Final = 4
ACCEPTED: Final = 5
TERMINATED: Final = 6

# Inputs.
REQUEST: Final = 0  # the request came again (server)
ACK: Final = 1  # an ACK came (server)
PROVISIONAL: Final = 2  # 1xx: from the wire (client), from the user (server)
SUCCESS: Final = 3  # 2xx, likewise
FAILURE: Final = 4  # 3xx to 6xx, likewise
TICK: Final = 5  # time to repeat, or for a first 100: Timers A, E, G
EXPIRE: Final = 6  # the state has lasted long enough: Timers B, D, F, H, I, J, K, L, M
ERROR: Final = 7  # the transport could not deliver
ABANDON: Final = 8  # client: CANCEL was sent; server: the user will never answer

# Outputs: what the machine asks for.
SEND: Final = 1  # client: the request; server: the latest response
PASS: Final = 2  # give the message to the user
ACKNOWLEDGE: Final = 4  # send the ACK for an error response
SEND_100: Final = 8
TIMED_OUT: Final = 16  # tell the user
BROKEN: Final = 32  # tell the user that the transport failed
END: Final = 64  # forget the transaction
OUTPUTS: Final = 127

# What a transition does to the timers.
START: Final = 1 << 7  # over unreliable transports: TICK in T1
AGAIN: Final = 1 << 8  # TICK after twice the last pause
CALM: Final = 1 << 9  # TICK in T2
QUIET: Final = 1 << 10  # no more TICK
LIVE_B: Final = 1 << 11  # EXPIRE after Timer B, and so on
LIVE_D: Final = 1 << 12
LIVE_H: Final = 1 << 13
LIVE_I: Final = 1 << 14
LIVE_J: Final = 1 << 15
LIVE_K: Final = 1 << 16
LIVE_L: Final = 1 << 17
LIVE_M: Final = 1 << 18
LIVE_ON: Final = 1 << 19  # no EXPIRE
PACING: Final = START | AGAIN | CALM | QUIET
LIVES: Final = LIVE_B | LIVE_D | LIVE_H | LIVE_I | LIVE_J | LIVE_K | LIVE_L | LIVE_M | LIVE_ON

Row = tuple[int, int, int, int]  # state, input, next state, outputs and timers

INVITE_CLIENT: Final[tuple[Row, ...]] = (
    (CALLING, PROVISIONAL, PROCEEDING, PASS | QUIET | LIVE_ON),
    (CALLING, SUCCESS, ACCEPTED, PASS | QUIET | LIVE_M),
    (CALLING, FAILURE, COMPLETED, PASS | ACKNOWLEDGE | QUIET | LIVE_D),
    (CALLING, TICK, CALLING, SEND | AGAIN),
    (CALLING, EXPIRE, TERMINATED, TIMED_OUT | END),
    (CALLING, ERROR, TERMINATED, BROKEN | END),
    (PROCEEDING, PROVISIONAL, PROCEEDING, PASS),
    (PROCEEDING, SUCCESS, ACCEPTED, PASS | LIVE_M),
    (PROCEEDING, FAILURE, COMPLETED, PASS | ACKNOWLEDGE | LIVE_D),
    (PROCEEDING, ABANDON, PROCEEDING, LIVE_B),  # §9.1: the peer may never say 487
    (PROCEEDING, EXPIRE, TERMINATED, TIMED_OUT | END),
    (COMPLETED, FAILURE, COMPLETED, ACKNOWLEDGE),
    (COMPLETED, EXPIRE, TERMINATED, END),
    (COMPLETED, ERROR, TERMINATED, END),  # the user has its answer and needs no other
    (ACCEPTED, SUCCESS, ACCEPTED, PASS),
    (ACCEPTED, EXPIRE, TERMINATED, END),
)

OTHER_CLIENT: Final[tuple[Row, ...]] = (
    (TRYING, PROVISIONAL, PROCEEDING, PASS),
    (TRYING, SUCCESS, COMPLETED, PASS | QUIET | LIVE_K),
    (TRYING, FAILURE, COMPLETED, PASS | QUIET | LIVE_K),
    (TRYING, TICK, TRYING, SEND | AGAIN),
    (TRYING, EXPIRE, TERMINATED, TIMED_OUT | END),
    (TRYING, ERROR, TERMINATED, BROKEN | END),
    (PROCEEDING, PROVISIONAL, PROCEEDING, PASS),
    (PROCEEDING, SUCCESS, COMPLETED, PASS | QUIET | LIVE_K),
    (PROCEEDING, FAILURE, COMPLETED, PASS | QUIET | LIVE_K),
    (PROCEEDING, TICK, PROCEEDING, SEND | CALM),
    (PROCEEDING, EXPIRE, TERMINATED, TIMED_OUT | END),
    (PROCEEDING, ERROR, TERMINATED, BROKEN | END),
    (COMPLETED, EXPIRE, TERMINATED, END),
)

INVITE_SERVER: Final[tuple[Row, ...]] = (
    (PROCEEDING, REQUEST, PROCEEDING, SEND),
    (PROCEEDING, PROVISIONAL, PROCEEDING, SEND | QUIET),
    (PROCEEDING, SUCCESS, ACCEPTED, SEND | QUIET | LIVE_L),
    (PROCEEDING, FAILURE, COMPLETED, SEND | START | LIVE_H),
    (PROCEEDING, TICK, PROCEEDING, SEND_100 | QUIET),
    (PROCEEDING, ERROR, PROCEEDING, BROKEN),
    (COMPLETED, REQUEST, COMPLETED, SEND),
    (COMPLETED, ACK, CONFIRMED, QUIET | LIVE_I),
    (COMPLETED, TICK, COMPLETED, SEND | AGAIN),
    (COMPLETED, EXPIRE, TERMINATED, TIMED_OUT | END),
    (COMPLETED, ERROR, COMPLETED, BROKEN),
    (CONFIRMED, EXPIRE, TERMINATED, END),
    (ACCEPTED, ACK, ACCEPTED, PASS),
    (ACCEPTED, SUCCESS, ACCEPTED, SEND),
    (ACCEPTED, EXPIRE, TERMINATED, END),
    (ACCEPTED, ERROR, ACCEPTED, BROKEN),
)

OTHER_SERVER: Final[tuple[Row, ...]] = (
    (TRYING, PROVISIONAL, PROCEEDING, SEND | QUIET),
    (TRYING, SUCCESS, COMPLETED, SEND | QUIET | LIVE_J),
    (TRYING, FAILURE, COMPLETED, SEND | QUIET | LIVE_J),
    (TRYING, ABANDON, COMPLETED, QUIET | LIVE_J),
    (TRYING, TICK, PROCEEDING, SEND_100 | QUIET),
    (TRYING, EXPIRE, TERMINATED, END),
    (PROCEEDING, REQUEST, PROCEEDING, SEND),
    (PROCEEDING, PROVISIONAL, PROCEEDING, SEND),
    (PROCEEDING, SUCCESS, COMPLETED, SEND | LIVE_J),
    (PROCEEDING, FAILURE, COMPLETED, SEND | LIVE_J),
    (PROCEEDING, ABANDON, COMPLETED, LIVE_J),
    (PROCEEDING, EXPIRE, TERMINATED, END),
    (PROCEEDING, ERROR, TERMINATED, BROKEN | END),
    (COMPLETED, REQUEST, COMPLETED, SEND),
    (COMPLETED, EXPIRE, TERMINATED, END),
    (COMPLETED, ERROR, TERMINATED, BROKEN | END),
)

STATE_NAMES: Final = (
    "Calling",
    "Trying",
    "Proceeding",
    "Completed",
    "Confirmed",
    "Accepted",
    "Terminated",
)
INPUT_NAMES: Final = (
    "request",
    "ACK",
    "1xx",
    "2xx",
    "3xx-6xx",
    "tick",
    "expiry",
    "transport error",
    "abandoned",
)
ACTION_NAMES: Final = (  # by bit
    "send",
    "pass",
    "send ACK",
    "send 100",
    "timeout",
    "transport failure",
    "end",
    "start repeating",
    "double the pause",
    "pause T2",
    "stop repeating",
    "Timer B",
    "Timer D",
    "Timer H",
    "Timer I",
    "Timer J",
    "Timer K",
    "Timer L",
    "Timer M",
    "no expiry",
)

STATES: Final = 7
INPUTS: Final = 9


def flatten(rows: tuple[Row, ...]) -> list[int]:
    """Return the table as the machines read it: at state × 9 + input, actions × 8 + next state."""
    flat = [place // INPUTS for place in range(STATES * INPUTS)]
    for state, what, following, actions in rows:
        flat[state * INPUTS + what] = actions << 3 | following
    return flat


def life(actions: int, timing: Timing, reliable: bool) -> float:
    """Return the seconds until EXPIRE that the one LIVE action among ``actions`` stands for."""
    if actions & (LIVE_D | LIVE_I | LIVE_J | LIVE_K):
        if reliable:
            return 0.0
        if actions & LIVE_J:
            return timing.j
        if actions & LIVE_K:
            return timing.k
        return timing.d if actions & LIVE_D else timing.i
    if actions & LIVE_ON:
        return NEVER
    if actions & LIVE_L:
        return timing.l
    if actions & LIVE_M:
        return timing.m
    return timing.h if actions & LIVE_H else timing.b


def kind(status: int) -> int:
    """Return the input that a response of this status is."""
    if status >= 300:
        return FAILURE
    return SUCCESS if status >= 200 else PROVISIONAL
