"""How long the transactions of one endpoint wait: RFC 3261's timers as one value.

It is handed in, never read from a module: a test or a satellite link brings its own.
"""

from __future__ import annotations

from typing import final

from omaim.errors import UsageError


@final
class Timing:
    """T1, T2 and T4, all that follows from them, and the few timers that stand alone.

    Each attribute has the letter of its timer. D, I, J and K are for unreliable transports;
    over reliable ones the transactions take them as zero.

    Args:
        t1: estimated round trip, seconds.
        t2: longest pause between retransmissions of a non-INVITE request or an INVITE's answer.
        t4: how long the network may keep a message.
        trying: pause before an unanswered INVITE gets 100 from here.
        proxy_invite: Timer C, a proxy's patience with a ringing branch; over 180.
        completed_invite: Timer D over unreliable transports; at least 32.

    Raises:
        UsageError: a duration is not positive, T2 is under T1, or Timer D is under 64 times T1.

    Attributes:
        a: first retransmission of an INVITE; doubles each time.
        b: when an unanswered INVITE fails.
        c: proxy's patience after the last 101 to 199.
        d: how long repeated error answers to an INVITE are acknowledged.
        e: first retransmission of another request; doubles up to T2.
        f: when another request without final answer fails.
        g: first retransmission of an error answer to an INVITE; doubles up to T2.
        h: how long an ACK is awaited.
        i: how long repeated ACKs are swallowed.
        j: how long repeats of a non-INVITE request are answered.
        k: how long repeated answers to it are swallowed.
        l: how long an accepted INVITE's server transaction lives.
        m: how long an accepted INVITE's client transaction lives.
        late: how long after its receipt a non-INVITE request is answered 100, and not
            earlier over unreliable transports: when Timer E of the other side reaches T2.
        patience: after this a non-INVITE request that was never answered is forgotten: its
            client has given up, and its last repeat has arrived.

    Spec: RFC 3261 §17 table 4; RFC 6026 §8.3; RFC 4320 §4.1
    """

    __slots__ = (
        "a",
        "b",
        "c",
        "d",
        "e",
        "f",
        "g",
        "h",
        "i",
        "j",
        "k",
        "l",
        "late",
        "m",
        "patience",
        "t1",
        "t2",
        "t4",
        "trying",
    )

    def __init__(
        self,
        t1: float = 0.5,
        t2: float = 4.0,
        t4: float = 5.0,
        trying: float = 0.2,
        proxy_invite: float = 181.0,
        completed_invite: float = 0.0,
    ) -> None:
        if min(t1, t2, t4, trying, proxy_invite) <= 0.0:
            raise UsageError("give every SIP timer a positive number of seconds")
        if t2 < t1:
            raise UsageError("T2 must not be less than T1 (RFC 3261 §17.1.2.2)")
        longest = 64.0 * t1
        if 0.0 < completed_invite < longest:
            raise UsageError("Timer D must not be less than 64 times T1 (RFC 3261 §17.1.1.2)")
        self.t1 = t1
        self.t2 = t2
        self.t4 = t4
        self.trying = trying
        self.a = t1
        self.b = longest
        self.c = proxy_invite
        self.d = completed_invite if completed_invite > 0.0 else max(32.0, longest)
        self.e = t1
        self.f = longest
        self.g = t1
        self.h = longest
        self.i = t4
        self.j = longest
        self.k = t4
        self.l = longest
        self.m = longest
        self.patience = longest + t4
        self.late = _until_slow(t1, t2)


def _until_slow(t1: float, t2: float) -> float:
    """Return when a client that doubles its pause from T1 first sets it to T2."""
    at = 0.0
    pause = t1
    while pause < t2:
        at += pause
        pause = min(2.0 * pause, t2)
    return at
