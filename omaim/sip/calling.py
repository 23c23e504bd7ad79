"""Whose turn it is in an INVITE dialog, and what has to be said again until it is heard.

A :class:`Calling` keeps the order of INVITEs and UPDATEs, of offers and answers, in both
directions; it has the 2xx repeated until its ACK comes, and a reliable provisional response
until its PRACK. It never sees a message: its owner builds and sends them.

Spec: RFC 3261 §13, §14; RFC 3262 §3 to §5; RFC 3264 §4; RFC 3311 §5; RFC 6026
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.headers import RAck
from omaim.sip.timing import Timing
from omaim.timers import NEVER

# Outputs, each with a number: the CSeq of the INVITE, the RSeq of the provisional response.
REPEAT: Final = 0  # send the 2xx again
UNACKNOWLEDGED: Final = 1  # its ACK never came
REPEAT_RELIABLE: Final = 2  # send the provisional response again
UNHEARD: Final = 3  # its PRACK never came

# Whose offer waits for its answer.
NONE: Final = 0
OURS: Final = 1
THEIRS: Final = 2

_OWNER_FLOOR: Final = 2.1  # seconds, RFC 3261 §14.1
_OWNER_SPAN: Final = 1.9
_OTHER_SPAN: Final = 2.0
_RETRY_SPAN: Final = 10  # seconds, §14.2
_FIRST_RSEQ_SPAN: Final = 2147483647


class Overlapping(PeerError):
    """The request came before the one ahead of it was answered; names a Retry-After.

    Spec: RFC 3261 §14.2; RFC 3311 §5.2
    """

    status = 500

    def __init__(self, why: str, retry_after: int) -> None:
        super().__init__(why)
        self.retry_after = retry_after


@final
class _Repeat:
    """When to say something again, and until when."""

    __slots__ = ("at", "cap", "pause", "until")

    def __init__(self, now: float, pause: float, cap: float, life: float) -> None:
        self.pause = pause
        self.cap = cap
        self.at = now + pause
        self.until = now + life

    @property
    def deadline(self) -> float:
        return min(self.at, self.until)

    def step(self) -> None:
        self.pause = min(2.0 * self.pause, self.cap)
        self.at += self.pause


@final
class Calling:
    """The INVITE usage of one dialog.

    Requests of ours go :meth:`free`, :meth:`begin`, :meth:`finish`; those of the peer
    :meth:`receive`, :meth:`answer`. "described" says that a message holds a session
    description, which is an offer or an answer by where it stands.

    Args:
        ids: the source of chance.
        timing: T1, T2 and what follows from them.
        owner: the Call-ID is of our making: we are the caller.

    Attributes:
        deadline: when :meth:`wake` is wanted, monotonic seconds.
        inviting: an INVITE of ours has no final response yet.
        invited: likewise one of the peer.
        updating: an UPDATE of ours has no final response yet.
        updated: likewise one of the peer.
        outstanding: whose offer waits for its answer: :data:`NONE`, :data:`OURS` or
            :data:`THEIRS`.
        reliable: the RSeq of the provisional response that a PRACK may be about, 0 for none.
        reliable_described: that response holds a session description: no 2xx before its
            PRACK (RFC 3262 §5).

    Spec: RFC 3261 §13, §14
    """

    __slots__ = (
        "_by",
        "_exchanged",
        "_heard",
        "_ids",
        "_out",
        "_owner",
        "_reliable",
        "_repeats",
        "_rseq",
        "_timing",
        "deadline",
        "invited",
        "inviting",
        "outstanding",
        "reliable",
        "reliable_described",
        "updated",
        "updating",
    )

    def __init__(self, ids: Ids, timing: Timing, owner: bool) -> None:
        self._ids = ids
        self._timing = timing
        self._owner = owner
        self._out: list[tuple[int, int]] = []
        self._repeats: dict[int, _Repeat] = {}  # of 2xx, by the CSeq number of the INVITE
        self._reliable: _Repeat | None = None
        self._rseq = 0  # last RSeq used
        self._heard = 0  # last RSeq heard
        self._by = ""  # what brought, or will bring, the outstanding offer's answer
        self._exchanged = False  # offer and answer of the present INVITE are complete
        self.deadline = NEVER
        self.inviting = False
        self.invited = False
        self.updating = False
        self.updated = False
        self.outstanding = NONE
        self.reliable = 0
        self.reliable_described = False

    def take(self) -> list[tuple[int, int]]:
        """Return (what, number) of all that is due, and forget it."""
        out, self._out = self._out, []
        return out

    # Requests of ours.

    def free(self, method: str, described: bool) -> bool:
        """Tell whether an INVITE or UPDATE of ours may go out now.

        Spec: RFC 3261 §14.1; RFC 3311 §5.1
        """
        if method == "UPDATE":
            return not self.updating and (not described or self.outstanding == NONE)
        return (
            not self.inviting
            and not self.invited
            and not self._repeats
            and not self.updating
            and self.outstanding == NONE
        )

    @property
    def waiting(self) -> bool:
        """A reliable provisional response of ours waits for its PRACK."""
        return self._reliable is not None

    def begin(self, method: str, described: bool) -> None:
        """An INVITE, UPDATE or PRACK of ours goes out."""
        if method == "INVITE":
            self.inviting = True
            self._exchanged = False
        elif method == "UPDATE":
            self.updating = True
        if described:
            self._outstand(OURS, method)

    def finish(self, method: str, status: int, described: bool) -> None:
        """The final response to it has come.

        After an INVITE without an offer a described 2xx is the offer: its answer goes into
        the ACK, tell with :meth:`answered`.
        """
        if method == "INVITE":
            self.inviting = False
        elif method == "UPDATE":
            self.updating = False
        if self.outstanding == OURS and self._by == method:
            self._settle()
        elif method == "INVITE" and described and status < 300 and not self._exchanged:
            self._outstand(THEIRS, "ACK")

    def answered(self) -> None:
        """Our answer to an offer in a response went out, in the ACK or PRACK."""
        if self.outstanding == THEIRS:
            self._settle()

    def pause(self) -> float:
        """Return how many seconds to wait after a 491 before the same is tried again.

        Spec: RFC 3261 §14.1
        """
        chance = self._ids.fraction()
        if self._owner:
            seconds = _OWNER_FLOOR + _OWNER_SPAN * chance
        else:
            seconds = _OTHER_SPAN * chance
        return round(seconds, 2)

    def heard(self, rseq: int, described: bool) -> bool:
        """A reliable provisional response has come; return whether it is the next in order.

        What is not is to be left alone: it was acknowledged already, or it comes again. A
        description in it is the answer to our INVITE's offer or, where that had none, the
        offer.

        Spec: RFC 3262 §4, §5
        """
        if not rseq or (self._heard and rseq != self._heard + 1):
            return False
        self._heard = rseq
        if described and not self._exchanged:
            if self.outstanding == OURS and self._by == "INVITE":
                self._settle()
            elif self.outstanding == NONE:
                self._outstand(THEIRS, "PRACK")
        return True

    # Requests of the peer.

    def receive(self, method: str, described: bool) -> None:
        """An INVITE, UPDATE or PRACK of the peer has come, in order.

        Raises:
            PeerError: 491: it crossed one of ours.
            Overlapping: the one before it has no answer yet.

        Spec: RFC 3261 §14.2; RFC 3311 §5.2
        """
        if method == "INVITE":
            if self.invited:
                raise self._overlapping("the INVITE before this one has no answer yet")
            if self.inviting:
                raise PeerError("an INVITE of this side is under way", 491)
        elif method == "UPDATE" and self.updated:
            raise self._overlapping("the UPDATE before this one has no answer yet")
        if described or method == "INVITE":
            if self.outstanding == OURS:
                raise PeerError("an offer of this side has no answer yet", 491)
            if self.outstanding == THEIRS:
                raise self._overlapping("the offer before this one has no answer yet")
        if method == "INVITE":
            self.invited = True
            self._exchanged = False
        elif method == "UPDATE":
            self.updated = True
        if described:
            self._outstand(THEIRS, method)

    def answer(self, method: str, status: int, described: bool, number: int, now: float) -> None:
        """Our final response goes out; a 2xx to an INVITE is repeated until acknowledged.

        Args:
            method: of the request.
            status: of the response.
            described: it holds a session description.
            number: the request's CSeq number.
            now: monotonic seconds.

        Spec: RFC 3261 §13.3.1.4
        """
        if method == "INVITE":
            self.invited = False
            self._reliable = None  # a PRACK may still come for it (RFC 3262 §3)
            self.reliable_described = False
        elif method == "UPDATE":
            self.updated = False
        given_up = status >= 300 and self._by == "PRACK"
        if given_up or (self.outstanding == THEIRS and self._by == method):
            self._settle()
        elif method == "INVITE" and status < 300 and described and not self._exchanged:
            self._outstand(OURS, f"ACK {number}")
        if method == "INVITE" and status < 300:
            timing = self._timing
            self._repeats[number] = _Repeat(now, timing.t1, timing.t2, timing.h)
        self._arm()

    def acknowledged(self, number: int) -> bool:
        """The ACK for a 2xx has come; return whether it is the first.

        Spec: RFC 3261 §13.3.1.4
        """
        if self._repeats.pop(number, None) is None:
            return False
        if self._by == f"ACK {number}":
            self._settle()
        self._arm()
        return True

    def reserve(self, described: bool, now: float) -> int:
        """Return the RSeq for a reliable provisional response that goes out now.

        Only one may wait for its PRACK at a time, see :attr:`waiting`.

        Spec: RFC 3262 §3
        """
        if not self._rseq:
            self._rseq = 1 + int(self._ids.fraction() * (_FIRST_RSEQ_SPAN - 1))
        else:
            self._rseq += 1
        self.reliable = self._rseq
        self.reliable_described = described
        if described and not self._exchanged:
            if self.outstanding == THEIRS and self._by == "INVITE":
                self._settle()
            elif self.outstanding == NONE:
                self._outstand(OURS, "PRACK")
        self._reliable = _Repeat(now, self._timing.t1, NEVER, self._timing.h)
        self._arm()
        return self._rseq

    def pracked(self, rack: RAck, number: int) -> bool:
        """A PRACK has come; return whether its body is the answer to our offer.

        Raises:
            PeerError: 481: it acknowledges nothing that waits for it.

        Spec: RFC 3262 §3
        """
        if (
            not self.reliable
            or rack.rseq != self.reliable
            or rack.cseq.number != number
            or rack.cseq.method != "INVITE"
        ):
            raise PeerError("no provisional response waits for this PRACK", 481)
        self.reliable = 0
        self.reliable_described = False
        self._reliable = None
        self._arm()
        if self.outstanding == OURS and self._by == "PRACK":
            self._settle()
            return True
        return False

    # Time.

    def wake(self, now: float) -> None:
        """A moment has come."""
        for number, repeat in list(self._repeats.items()):
            if repeat.until <= now:
                del self._repeats[number]
                self._out.append((UNACKNOWLEDGED, number))
            elif repeat.at <= now:
                repeat.step()
                self._out.append((REPEAT, number))
        reliable = self._reliable
        if reliable is not None:
            if reliable.until <= now:
                self._reliable = None
                self._out.append((UNHEARD, self.reliable))
            elif reliable.at <= now:
                reliable.step()
                self._out.append((REPEAT_RELIABLE, self.reliable))
        self._arm()

    def stop(self) -> None:
        """The dialog is over: nothing is repeated any more."""
        self._repeats.clear()
        self._reliable = None
        self._out.clear()
        self._arm()

    def _overlapping(self, why: str) -> Overlapping:
        return Overlapping(why, int(self._ids.fraction() * (_RETRY_SPAN + 1)))

    def _outstand(self, whose: int, by: str) -> None:
        self.outstanding = whose
        self._by = by

    def _settle(self) -> None:
        if self._by not in ("UPDATE", ""):
            self._exchanged = True
        self.outstanding = NONE
        self._by = ""

    def _arm(self) -> None:
        self.deadline = min(
            [repeat.deadline for repeat in self._repeats.values()],
            default=NEVER,
        )
        if self._reliable is not None:
            self.deadline = min(self.deadline, self._reliable.deadline)
