"""What sessions and connections get from whoever runs them: time, identifiers, limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.ids import Ids
from omaim.msrp.framing import FrameLimits
from omaim.timers import Alarm

TRANSACTION: Final = 20  # hex digits of a transaction identifier: 80 bits, §7.1 wants 64
MESSAGE: Final = 24  # hex digits of a Message-ID


@final
class Limits:
    """What peers may cost, and how long they may take.

    Args:
        frame: what a head may be.
        control: octets of a body that is no message (§7.1: 10240).
        messages: unfinished messages of one session at a time, each way; the peer gets 413 for
            more.
        held: messages of one session that are whole and whose answer waits for something of
            ours, before nothing more is read.
        gaps: pieces that the received octets of one message may lie in.
        ahead: octets kept of chunks of a streamed message that came before their turn.
        recent: Message-IDs remembered by each session, to know repeated messages.
        window: octets given to a connection that it has not sent yet, before messages wait.
        unread: octets there, before nothing more is read: they are answers, to one who sends
            and does not read.
        unanswered: requests whose answer is due, before messages wait; so that two who send
            to one another never come to wait for each other's ``unread``.
        answer: seconds from the last octet of a request to its answer (§7.1.1).
        silence: seconds that an unfinished message may pause (RFC 7701 §6.1 speaks of minutes).
        first: seconds a new peer has for its first request (spec: RFC 4976 §6.1).
        half: seconds that a head may take from its first octet to its last.
        idle: seconds that a connection without sessions is kept.
        stalled: seconds that a peer may leave everything unread.
    """

    __slots__ = (
        "ahead",
        "answer",
        "control",
        "first",
        "frame",
        "gaps",
        "half",
        "held",
        "idle",
        "messages",
        "recent",
        "silence",
        "stalled",
        "unanswered",
        "unread",
        "window",
    )

    def __init__(
        self,
        frame: FrameLimits | None = None,
        control: int = 10240,
        messages: int = 64,
        gaps: int = 256,
        ahead: int = 1048576,
        recent: int = 128,
        window: int = 131072,
        unread: int = 1048576,
        unanswered: int = 1000,
        answer: float = 30.0,
        silence: float = 540.0,
        first: float = 30.0,
        half: float = 10.0,
        idle: float = 300.0,
        stalled: float = 60.0,
        held: int = 256,
    ) -> None:
        self.frame: Final = FrameLimits() if frame is None else frame
        self.control: Final = control
        self.messages: Final = messages
        self.gaps: Final = gaps
        self.ahead: Final = ahead
        self.recent: Final = recent
        self.window: Final = window
        self.unread: Final = unread
        self.unanswered: Final = unanswered
        self.answer: Final = answer
        self.silence: Final = silence
        self.first: Final = first
        self.half: Final = half
        self.idle: Final = idle
        self.stalled: Final = stalled
        self.held: Final = held


@final
class Means:
    """The means of one endpoint.

    Args:
        now: returns monotonic seconds.
        ids: where identifiers come from.
        arm: takes note of an alarm's deadline.
        count: counts something under a name.
        limits: what peers may cost.
    """

    __slots__ = ("arm", "count", "ids", "limits", "now")

    def __init__(
        self,
        now: Callable[[], float],
        ids: Ids,
        arm: Callable[[Alarm], None],
        count: Callable[[str], None],
        limits: Limits,
    ) -> None:
        self.now: Final = now
        self.ids: Final = ids
        self.arm: Final = arm
        self.count: Final = count
        self.limits: Final = limits

    def transaction(self) -> bytes:
        """Return a new transaction identifier (§7.1)."""
        return self.ids.token(TRANSACTION).encode("ascii")

    def message_id(self) -> str:
        """Return a new Message-ID (§7.1.1)."""
        return self.ids.token(MESSAGE)
