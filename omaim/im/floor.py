"""Who may say what to whom in a room, in which order, and who waits for whom.

:meth:`RoomFloor.check` is the order of checks of RFC 7701, in one place.

Spec: RFC 7701 §6.1 to §6.4
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from omaim.errors import PeerError
from omaim.im.assembly import Assembly
from omaim.im.offers import Offers
from omaim.im.policy import sip_form
from omaim.im.posting import (
    ASK,
    ASKING,
    COLLECTING,
    FORBIDDEN,
    LOOK,
    NO_PRIVATE,
    NOT_TAKEN,
    OK,
    OVER,
    READY,
    TOO_LARGE,
    UNKNOWN,
    Post,
    Refused,
)
from omaim.im.room_people import Copies, Member, OpenCopies
from omaim.im.room_rules import PAUSE, Rules

PATROL: Final = 5.0  # seconds between looks at messages that do not go on, and who is slow

PENALTY: Final = 600.0  # seconds that nobody waits again for who was waited for in vain
SLUGGISH: Final = 1000  # people of one room of whom that is remembered

Settled = Callable[[Post], None]


class RoomFloor:
    """All that is being said in one room.

    Args:
        uri: canonical address of the room.
        said: is told of each message that went out whole.
        unbearable: is told of a session that is too slow to stay.

    Attributes:
        asks: has :meth:`Post.decide` called, now or later; ``None``: nobody wants to be asked.
        deadline: when :meth:`wake` is wanted, or ``None``.
    """

    def __init__(
        self,
        uri: str,
        rules: Rules,
        assembly: Assembly,
        open_copies: OpenCopies,
        said: Callable[[Post, float], None],
        unbearable: Callable[[Member, float], None],
    ) -> None:
        self.asks: Callable[[Post], None] | None = None
        self.deadline: float | None = None
        self._uri = uri
        self._rules = rules
        self._assembly = assembly
        self._open = open_copies
        self._said = said
        self._unbearable = unbearable
        self._wrapped = Offers((), rules.wrapped)
        self._posts: dict[Post, None] = {}
        self._slow: dict[Member, None] = {}
        self._sluggish: dict[str, float] = {}  # for whom nobody waits, and until when
        self._advancing: set[Member] = set()

    @property
    def largest(self) -> int:
        return self._rules.max_size

    @property
    def keep(self) -> int:
        return self._rules.keep

    @property
    def hold(self) -> int:
        return self._rules.hold

    @property
    def is_asked(self) -> bool:
        return self.asks is not None

    # What the sender does

    def post(
        self,
        member: Member,
        message_id: str,
        content_type: str,
        size: int,
        now: float,
        settled: Settled,
    ) -> Post:
        """Begin a message; see :meth:`omaim.im.chatroom.Room.post`."""
        post = Post(self, member, message_id, content_type, size, now, settled)
        if message_id in member.said:
            post.repeat()
            return post
        member.posts[message_id] = post
        self._posts[post] = None
        if self.deadline is None:
            self.deadline = now + PATROL
        if len(member.posts) > self._rules.under_way:
            post.refuse(Refused("too many messages at a time", TOO_LARGE), now)
        else:
            post.begin(now)
        return post

    def check(self, post: Post) -> None:
        """Find out to whom a message goes, and whether it may.

        Raises:
            Refused: it may not; what to answer.

        Spec: RFC 7701 §6.1, §6.2, §6.3
        """
        cpim, person = post.cpim, post.member.person
        assert cpim is not None
        author = cpim.from_
        if author is None or not self._assembly.speaks_as(person, _canonical(author.uri)):
            raise Refused("the CPIM From is not the sender", FORBIDDEN)
        to = cpim.to
        if len(to) > 1:
            raise Refused("a message goes to one or to all", FORBIDDEN)
        post.to = _canonical(to[0].uri) if to else ""
        if post.to == self._uri:
            post.to = ""
        else:
            self._check_private(post)
        if not self._wrapped.takes(post.media_type):
            raise Refused("this content type is not allowed here", NOT_TAKEN)

    def _check_private(self, post: Post) -> list[Member]:
        """Return to which sessions a private message goes.

        A report goes to who asked for it, whatever else is allowed: nobody reads it.

        Raises:
            Refused: it may not be sent, or there is no such recipient, or it takes none.

        Spec: RFC 7701 §6.2
        """
        may = self._rules.private and post.member.person.rights.private
        if not may and not post.is_report:
            raise Refused("private messages are not allowed", FORBIDDEN)
        person = self._assembly.by_address(post.to) if post.to else None
        if person is None:
            raise Refused("the recipient is not here", UNKNOWN)
        found = [one for one in person.members if one.offers.takes_private or post.is_report]
        if not found:
            raise Refused("the recipient takes no private messages", NO_PRIVATE)
        return found

    def recipients(self, post: Post) -> list[Member]:
        """Return to which sessions a message goes now.

        Raises:
            Refused: its one recipient has gone.

        Spec: RFC 7701 §6.1: all but the sender; a content type that one does not take is
        left out without an error.
        """
        sender = post.member
        if post.to:
            return [one for one in self._check_private(post) if one.offers.takes(post.media_type)]
        takers = self._assembly.takers(post.media_type)
        if self._rules.own_devices:
            return [one for one in takers if one is not sender]
        own = sender.person
        if not sender.present:  # and may have come back meanwhile
            return [one for one in takers if one.person.owner != own.owner]
        return [one for one in takers if one.person is not own]

    # What messages ask for

    def headed(self, post: Post) -> None:
        post.member.waiting.append(post)

    def ask(self, post: Post) -> None:
        assert self.asks is not None
        self.asks(post)

    def advance(self, member: Member, now: float) -> None:
        """Begin with those of its messages whose turn it is."""
        if member in self._advancing:
            return
        self._advancing.add(member)
        waiting = member.waiting
        try:
            while waiting:
                front = waiting[0]
                if front.state in (READY, OVER):
                    waiting.popleft()
                    if front.state == READY:
                        front.start(now)
                elif not any(one.holds > LOOK for one in waiting):
                    break
                elif front.state == COLLECTING:
                    front.hurry(now)
                else:
                    if front.state == ASKING:
                        member.pause((ASK, front))
                    break
        finally:
            self._advancing.discard(member)

    def begin(self, post: Post, targets: Sequence[Member], size: int) -> Copies:
        if self._slow:
            chosen = set(targets)
            for slow in self._slow:
                if slow in chosen:
                    self._stall(slow, post.member, post.touched_at)
        return self._open(targets, size)

    def over(self, post: Post, now: float) -> None:
        member = post.member
        self._posts.pop(post, None)
        if member.posts.get(post.message_id) is post:
            del member.posts[post.message_id]
        if post.status == OK:
            member.said.append(post.message_id)
            self._said(post, now)
        self.advance(member, now)

    # What happens to sessions

    def leave(self, member: Member, now: float) -> None:
        """A session has gone: what it had not finished is aborted, and it gets no more.

        What it had said to the end, but what nobody has decided on yet, still counts.
        """
        for post in list(member.posts.values()):
            if not post.complete:
                post.abort(now)
        for post in list(self._posts):
            post.drop(member)
        self.relieved(member)

    def succeed(self, older: Member, member: Member) -> None:
        """A session takes the place of another: what that one has not got yet goes to it."""
        member.link.take_over(older.link)
        for post in self._posts:
            post.succeed(older, member)

    def pressure(self, member: Member, octets: int, now: float) -> None:
        """So many octets wait for a session: those who speak to it wait, or it has to go.

        Spec: RFC 7701 §6.4
        """
        rules = self._rules
        if not member.present:
            return
        if octets >= rules.queue:
            self._unbearable(member, now)
        elif octets >= rules.mark:
            if self._was_slow(member, now):
                self._unbearable(member, now)
            elif rules.congestion == PAUSE and member.congested_at is None:
                member.congested_at = now
                self._slow[member] = None
                for post in self._posts:
                    if post.goes_to(member):
                        self._stall(member, post.member, now)
                if self.deadline is None:
                    self.deadline = now + PATROL
        elif octets <= rules.mark // 2:
            self.relieved(member)

    def _stall(self, slow: Member, speaker: Member, now: float) -> None:
        if speaker is not slow and speaker.present:
            if speaker not in slow.stalls:
                slow.stalls.add(speaker)
                speaker.stalled_by += 1
            if speaker.stalled_at is None:
                speaker.stalled_at = now
            speaker.pause(slow)

    def relieved(self, member: Member) -> None:
        """A session keeps up again: nobody waits for it any more."""
        member.congested_at = None
        self._slow.pop(member, None)
        stalls, member.stalls = member.stalls, set()
        for speaker in stalls:
            speaker.stalled_by -= 1
            if not speaker.stalled_by:
                speaker.stalled_at = None
            speaker.resume(member)

    def wake(self, now: float) -> None:
        """Give up what does not go on, and who stays slow; see :attr:`deadline`.

        Spec: RFC 7701 §6.1 (chunk reception timer), §6.4
        """
        if self.deadline is None or now < self.deadline:
            return
        for post in list(self._posts):
            if now - post.touched_at >= self._rules.patience:
                post.abort(now)
        for member in list(self._slow):
            if now - _slow_since(member, now) >= self._rules.grace:
                self._note_slow(member, now)
                self._unbearable(member, now)
        self.deadline = now + PATROL if self._posts or self._slow else None

    def _note_slow(self, member: Member, now: float) -> None:
        """Others have waited for somebody in vain."""
        self._sluggish.pop(member.person.aor, None)
        self._sluggish[member.person.aor] = now + PENALTY
        if len(self._sluggish) > SLUGGISH:
            del self._sluggish[next(iter(self._sluggish))]

    def _was_slow(self, member: Member, now: float) -> bool:
        """Tell whether others have waited for somebody in vain lately.

        Who comes back again and again, and never reads, would keep a room silent.
        """
        return self._sluggish.get(member.person.aor, now) > now

    def close(self, now: float) -> None:
        """Abort everything: the room has ended."""
        for post in list(self._posts):
            post.abort(now)


def _slow_since(member: Member, now: float) -> float:
    """Return since when a session keeps others waiting, by itself or together with others.

    Nobody shall wait for one after the other: after 30 seconds a speaker takes what it has said
    for lost (RFC 4975 §7.1.1).
    """
    times = [now if member.congested_at is None else member.congested_at]
    times += [one.stalled_at for one in member.stalls if one.stalled_at is not None]
    return min(times)


def _canonical(uri: str) -> str:
    """Return the canonical address of a URI, or text that is nobody's."""
    try:
        return sip_form(uri)
    except PeerError:
        return " "
