"""One message that somebody says in a room, from its first octets to its last.

Octets come in as they arrive. Once the headers of the CPIM wrapper are there it is decided,
before the rest has come, who gets the message; from then on every octet goes straight on.
The one exception: where a service feature wants to see texts, a text is complete (or large)
before it goes on.

Spec: RFC 7701 §6.1 (fast forwarding, chunk reception timer), §6.2, §6.3
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from omaim.bodies.cpim import HEAD_SIZE, MEDIA_TYPE, Cpim
from omaim.bodies.imdn import MEDIA_TYPE as IMDN
from omaim.errors import PeerError
from omaim.im.concealing import conceal_author, conceal_reporter
from omaim.im.content import COMPOSING, Content
from omaim.im.room_people import Copies, Member
from omaim.node.events import RoomPosted

OK: Final = 200
BAD: Final = 400
FORBIDDEN: Final = 403
UNKNOWN: Final = 404
TOO_LARGE: Final = 413
NOT_TAKEN: Final = 415
NO_PRIVATE: Final = 428

HEADS: Final = 2 * HEAD_SIZE  # octets of the CPIM headers and of the MIME headers inside
KEPT: Final = 4_194_304  # octets of one session's messages under way that may have to be kept,
# unless two of the largest ones are more
LOOK: Final = 65_536  # octets of a text that a service feature gets to see
ASK: Final = "ask"  # the reason of a pause: a service feature has not decided yet

# States
HEAD: Final = 0  # the headers are not all there
COLLECTING: Final = 1  # the whole is needed before anything can be decided
ASKING: Final = 2  # a service feature thinks
READY: Final = 3  # allowed; earlier messages of the same session go first
FLOWING: Final = 4  # every octet goes straight on
OVER: Final = 5


class Refused(PeerError):
    """The message goes to nobody; ``status`` is that of the answer to its sender."""


class Floor(Protocol):
    """What a message needs of the room that it is said in."""

    @property
    def largest(self) -> int:
        """Octets of a message, 0 for no limit."""

    @property
    def keep(self) -> int:
        """Octets of a message that are kept to be shown again."""

    @property
    def hold(self) -> int:
        """Octets of a message of unknown size that are waited for."""

    @property
    def is_asked(self) -> bool:
        """Whether service features want to be asked."""

    def check(self, post: Post) -> None:
        """Say to whom it goes (``post.to``). Raises Refused if it may not go there."""

    def recipients(self, post: Post) -> list[Member]:
        """Return who gets it now. Raises Refused if nobody may."""

    def headed(self, post: Post) -> None:
        """Its headers are there: it has its place in the order of its sender's messages."""

    def ask(self, post: Post) -> None:
        """Have :meth:`Post.decide` called, now or later."""

    def advance(self, member: Member, now: float) -> None:
        """Begin with what is its turn."""

    def begin(self, post: Post, targets: Sequence[Member], size: int) -> Copies:
        """Open the copies."""

    def over(self, post: Post, now: float) -> None:
        """It has gone out, or never will."""


class Post:
    """One message.

    Attributes:
        size: octets of the whole as announced, -1 when nobody knows.
        status: 0 while it is open; then what to answer its sender: 200, an error, or 0 still
            when the sender broke it off.
        comment: of that answer.
        complete: every octet has come.
        cpim: the wrapper with the headers of its content; its content is not all there.
        media_type: of the content in the wrapper, lower case; "" before it is known.
        to: canonical address of the one recipient of a private message, else "".
        text: what a service feature may look at; "" for all but a complete text.
        whole: the message as it went out, if it was complete and no larger than is kept.
        copies: how many sessions it went to.
        went_to: these sessions, and those that were dropped since.
        touched_at: when octets came last.
        event: what to write down of a message that went out; ``None`` before that, and for
            what is of no use later.
    """

    def __init__(
        self,
        floor: Floor,
        member: Member,
        message_id: str,
        content_type: str,
        size: int,
        now: float,
        settled: Callable[[Post], None],
    ) -> None:
        self.member = member
        self.message_id = message_id
        self.size = size
        self.status = 0
        self.comment = ""
        self.complete = False
        self.cpim: Cpim | None = None
        self.media_type = ""
        self.to = ""
        self.text = ""
        self.whole: bytes | None = None
        self.copies = 0
        self.went_to: Sequence[Member] = ()
        self.touched_at = now
        self.received = 0
        self.event: RoomPosted | None = None
        self.state = HEAD
        self._floor = floor
        self._settled = settled
        self._held: list[bytes] = []  # what came and did not go on
        self._holds = 0  # its octets
        self._kept: list[bytes] | None = []
        self._grown = 0  # octets by which a head of our own is longer
        self._out: Copies | None = None
        self._sent = 0
        self._needs = 0  # octets that are waited for before anything is decided
        self._targets: list[Member] = []
        self._limit = -1  # octets that all recipients take, -1 without a limit
        self._kind = content_type.partition(";")[0].strip(" \t").lower()

    @property
    def is_report(self) -> bool:
        """It tells what became of another message (RFC 5438 §7.2.1).

        Its type alone says so: with words for people in it, a disposition is a pretence.
        """
        return self.media_type == IMDN

    @property
    def is_passing(self) -> bool:
        """It is of no use later: nothing to record or to show again."""
        return self.media_type == COMPOSING or self.is_report

    @property
    def sender(self) -> str:
        """Under which address the others see who says it."""
        return self.member.person.shown

    # What comes from the sender

    def begin(self, now: float) -> None:
        """Look at what is known before the first octet."""
        if self._kind != MEDIA_TYPE:
            self.refuse(Refused("messages in a room are message/cpim", NOT_TAKEN), now)
        elif self._floor.largest and self.size > self._floor.largest:
            self.refuse(Refused("the message is too large", TOO_LARGE), now)

    def feed(self, data: bytes, now: float) -> None:
        """Take the next octets, in order and without gaps."""
        self.touched_at = now
        if self.state == OVER:
            return
        self.received += len(data)
        largest = self._floor.largest
        if largest and self.received > largest:
            self.refuse(Refused("the message is too large", TOO_LARGE), now)
        elif 0 <= self.size < self.received:
            self.refuse(Refused("the message is larger than it said", TOO_LARGE), now)
        elif self.state == FLOWING:
            self._pass_on(data)
        else:
            self._held.append(data)
            self._holds += len(data)
            self._look(now)

    def end(self, complete: bool, now: float) -> None:
        """That was the last octet; not ``complete``: the sender broke off."""
        self.touched_at = now
        if self.state == OVER:
            return
        if not complete:
            self.abort(now)
            return
        self.complete = True
        if self.state == FLOWING:
            self._finish(now)
        else:
            self._look(now)

    def abort(self, now: float) -> None:
        """It will never be whole."""
        if self.state != OVER:
            if self._out is not None:
                self._out.abort()
            self._close(now)

    def repeat(self) -> None:
        """It has been said already: it is acknowledged, and goes nowhere.

        Spec: RFC 4975 §5.4
        """
        self.state, self.status, self.complete = OVER, OK, True
        self._settled(self)

    # What comes from the room

    def refuse(self, error: PeerError, now: float) -> None:
        """It goes to nobody, or to nobody any more."""
        if self.state == OVER:
            return
        if self._out is not None:
            self._out.abort()
        self.status, self.comment = error.status, error.why
        self._close(now)

    def decide(self, refused: PeerError | None, text: str | None, now: float) -> None:
        """Say what service features think of it.

        Args:
            refused: one does not want it: with what to answer.
            text: another text instead of its own; ``None`` leaves it alone.
        """
        if self.state != ASKING:
            return
        self.member.resume((ASK, self))
        if refused is not None:
            self.refuse(refused, now)
            return
        if text is not None and text != self.text and self.complete:
            try:
                changed = Content(MEDIA_TYPE, b"".join(self._held)).with_text(text).body
            except PeerError as error:
                self.refuse(error, now)
                return
            self._replace(changed)
        self.state = READY
        self._floor.advance(self.member, now)

    def start(self, now: float) -> None:
        """It is its turn to go out."""
        try:
            targets = self._floor.recipients(self)
        except PeerError as error:
            self.refuse(error, now)
            return
        size = self.size if self.size < 0 else self.size + self._grown
        if self.complete:
            size = self._holds
        self._targets = [one for one in targets if one.offers.has_room_for(size)]
        self.went_to = self._targets
        self.copies = len(self._targets)
        self._limit = _smallest(self._targets)
        self._out = self._floor.begin(self, self._targets, size)
        self.state = FLOWING
        held, self._held, self._holds = self._held, [], 0
        if self.complete and len(held) > 1:
            held = [b"".join(held)]  # so that it leaves in one frame
        for data in held:
            if self.state == FLOWING:  # its sender may be dropped meanwhile
                self._pass_on(data)
        if self.complete:
            self._finish(now)

    def drop(self, member: Member) -> None:
        """A session takes no more of it."""
        if self._out is not None and self.state != OVER:
            self._out.drop(member)

    def succeed(self, older: Member, member: Member) -> None:
        """A session has taken the place of another: what is left of it goes there."""
        if self._out is not None and self.state != OVER and older in self._targets:
            self._targets[self._targets.index(older)] = member
            self._out.succeed(older, member)

    def goes_to(self, member: Member) -> bool:
        """Tell whether octets of it are on their way to a session."""
        return self.state == FLOWING and member in self._targets

    def hurry(self, now: float) -> None:
        """Do not wait for the whole of it any longer: others behind it do."""
        if self.state == COLLECTING:
            self._ask(now)

    @property
    def holds(self) -> int:
        """Octets that wait in it."""
        return self._holds

    # Inside

    def _look(self, now: float) -> None:
        """Go on with what is held, if that is possible now."""
        if self.state == HEAD:
            self._read_head(now)
        if self.state == COLLECTING and (self.complete or self._holds > self._needs):
            self._ask(now)
        if HEAD < self.state < FLOWING and self._holds > LOOK:
            self._floor.advance(self.member, now)

    def _read_head(self, now: float) -> None:
        data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held = [data]
        outer = data.find(b"\r\n\r\n")
        inner = -1 if outer < 0 else _end_of_part_head(data, outer + 4)
        if inner < 0 and not self.complete:
            if len(data) > HEADS:
                self.refuse(Refused("the CPIM headers do not end", BAD), now)
            return
        try:
            self.cpim = Cpim.parse(data if inner < 0 else data[:inner])
            self.media_type = self.cpim.part.media_type
            self._floor.check(self)
            rest = b"" if inner < 0 else data[inner:]
            self._conceal(rest)
        except PeerError as error:
            self.refuse(error, now)
            return
        self._floor.headed(self)
        self._needs = self._wanted_first()
        self.state = COLLECTING

    def _conceal(self, rest: bytes) -> None:
        """Let an anonymous sender stay that."""
        person, cpim = self.member.person, self.cpim
        if person.hidden and cpim is not None and conceal_author(cpim, person.shown):
            before = self._holds
            self._replace(cpim.to_bytes() + rest)
            self._grown += self._holds - before

    def _wanted_first(self) -> int:
        """Return how many octets have to be there, unless it is complete, before it goes on.

        What fits into one frame is waited for: it goes out to all in one piece, which costs far
        less, and nothing that is said after it overtakes it.
        """
        if self.is_report and self.member.person.hidden:
            return LOOK
        if self._floor.is_asked and self.media_type.startswith("text/"):
            return LOOK
        if 0 <= self.size <= LOOK:
            return LOOK
        return self._floor.hold if self.size < 0 else -1

    def _ask(self, now: float) -> None:
        """All is there that is needed to decide."""
        if self.is_report and self.member.person.hidden:
            try:
                if not self.complete:
                    raise Refused("the report is too large", TOO_LARGE)
                self._replace(conceal_reporter(b"".join(self._held), self.sender))
            except PeerError as error:
                self.refuse(error, now)
                return
        if not self._floor.is_asked:
            self.state = READY
            self._floor.advance(self.member, now)
            return
        self.state = ASKING
        if self.complete and self.media_type.startswith("text/"):
            try:
                self.text = Content(MEDIA_TYPE, b"".join(self._held)).text
            except PeerError as error:
                self.refuse(error, now)
                return
        self._floor.ask(self)
        if self.state == ASKING and not self.complete:
            self.member.pause((ASK, self))

    def _replace(self, data: bytes) -> None:
        self._held, self._holds = [data], len(data)

    def _pass_on(self, data: bytes) -> None:
        assert self._out is not None
        self._sent += len(data)
        if self._limit >= 0 and self._sent > self._limit:
            self._spare()
        self._out.write(data)
        kept = self._kept
        if kept is not None:
            kept.append(data)
            self.member.kept += len(data)
            if self._sent > self._floor.keep or self.is_passing:
                self._forget()
            elif self.member.kept > max(KEPT, 2 * self._floor.keep):
                self.refuse(Refused("too much at a time", TOO_LARGE), self.touched_at)

    def _forget(self) -> None:
        """Keep nothing of what went out."""
        if self._kept is not None:
            self.member.kept -= sum(map(len, self._kept))
            self._kept = None

    def _spare(self) -> None:
        """Leave out those for whom it has become too large."""
        assert self._out is not None
        for one in self._targets:
            if not one.offers.has_room_for(self._sent):
                self._out.drop(one)
        self._targets = [one for one in self._targets if one.offers.has_room_for(self._sent)]
        self._limit = _smallest(self._targets)

    def _finish(self, now: float) -> None:
        if self._out is None or self.state != FLOWING:
            return
        self._out.finish()
        if self._kept is not None:
            self.whole = b"".join(self._kept)
        self.status = OK
        self._close(now)

    def _close(self, now: float) -> None:
        """Let go of everything and say how it ended, once."""
        self.state = OVER
        self._held, self._holds, self._targets = [], 0, []
        self._forget()
        self.member.resume((ASK, self))
        self._floor.over(self, now)
        self._settled(self)


def _smallest(members: Sequence[Member]) -> int:
    """Return how many octets a message may have that all of them take, -1 for any number."""
    limits = [one.offers.max_size for one in members]
    return min((one for one in limits if one is not None), default=-1)


def _end_of_part_head(data: bytes, start: int) -> int:
    """Return where the content of the MIME entity at ``start`` begins, -1 if not there yet."""
    if data.startswith(b"\r\n", start):
        return start + 2
    end = data.find(b"\r\n\r\n", start)
    return -1 if end < 0 else end + 4
