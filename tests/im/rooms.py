"""A room with people in it whose sessions are lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from omaim.bodies.conference_info import DIALED_IN
from omaim.bodies.cpim import Cpim
from omaim.im.chatroom import Room
from omaim.im.offers import Offers
from omaim.im.posting import Post
from omaim.im.room_outputs import Drop, Ended, Fact, Invite, Invitee, Output
from omaim.im.room_people import Applicant, Copies, Link, Member
from omaim.im.room_rules import OWNER, Rights, Rules
from omaim.node.events import RoomEvent

ROOM = "sip:room@chat.example"
ALICE = "sip:alice@north.example"
BOB = "sip:bob@north.example"
CAROL = "sip:carol@south.example"
DAVE = "sip:dave@south.example"
AWARE = Offers(chatroom=frozenset({"nickname", "private-messages"}))
ALL = OWNER


class Copy:
    """What one session has got of one message."""

    def __init__(self, size: int, held: bool = False) -> None:
        self.size = size
        self.held = held  # nothing of it has left yet
        self.data = b""
        self.state = "open"  # then "done", "aborted", "dropped"


class Device:
    """One device's end of a session.

    Attributes:
        got: what it was sent, in order.
        paused: the room reads nothing from it.
        stuck: what is written to it stays in its queue.
        queue: octets in it.
    """

    def __init__(self) -> None:
        self.got: list[Copy] = []
        self.paused = False
        self.stuck = False
        self.queue = 0

    def pause(self) -> None:
        assert not self.paused
        self.paused = True

    def resume(self) -> None:
        assert self.paused
        self.paused = False

    def take_over(self, older: Link) -> None:
        assert isinstance(older, Device)
        assert not self.got, "something goes before what waited"
        self.got = [one for one in older.got if one.held]
        older.got = [one for one in older.got if not one.held]
        for copy in self.got:
            copy.held = False

    def whole(self) -> list[Cpim]:
        """Return the messages that came whole."""
        return [Cpim.parse(one.data) for one in self.got if one.state == "done"]

    def texts(self) -> list[str]:
        return [one.part.text() for one in self.whole()]


class Fan(Copies):
    """The copies of one message.

    Attributes:
        there: who was in the room when it began.
        first: who got it then.
        data: its octets.
    """

    def __init__(self, hall: Hall, members: Sequence[Member], size: int) -> None:
        self._hall = hall
        self.there = hall.room.members
        self.data = b""
        self.first = tuple(members)
        self.copies = {one: Copy(size, device(one).stuck) for one in members}
        for member, copy in self.copies.items():
            assert member.present
            device(member).got.append(copy)

    def write(self, data: bytes) -> None:
        self.data += data
        for member, copy in self.copies.items():
            if copy.state == "open":
                assert member.present, "still open for somebody who has gone"
                copy.data += data
                link = device(member)
                if link.stuck:
                    link.queue += len(data)
                    self._hall.room.pressure(member, link.queue, self._hall.now)

    def finish(self) -> None:
        self._end("done")

    def abort(self) -> None:
        self._end("aborted")

    def drop(self, member: Member) -> None:
        copy = self.copies.get(member)
        if copy is not None and copy.state == "open":
            copy.state = "dropped"

    def succeed(self, older: Member, member: Member) -> None:
        copy = self.copies.pop(older, None)
        if copy is not None:
            self.copies[member] = copy

    def _end(self, state: str) -> None:
        for member, copy in self.copies.items():
            if copy.state == "open":
                assert member.present, "still open for somebody who has gone"
                if state == "done" and copy.size >= 0:
                    assert len(copy.data) == copy.size, (len(copy.data), copy.size)
                copy.state = state


def cpim(
    author: str, to: str | Sequence[str], text: str = "hi", kind: str = "text/plain", **more: str
) -> bytes:
    """Return a message; ``more`` are header lines by name, "imdn.Message-ID" as imdn_Message_ID."""
    recipients = [to] if isinstance(to, str) else to
    lines = [f"From: <{author}>"] if author else []
    lines += [f"To: <{one}>" for one in recipients]
    for name, value in more.items():
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + f"\r\n\r\nContent-Type: {kind}\r\n\r\n{text}").encode()


class Hall:
    """A room and who is in it, with a clock that is set by hand."""

    def __init__(
        self,
        rules: Rules | None = None,
        rights: dict[str, Rights] | None = None,
        others: Rights = ALL,
        invitees: Sequence[str] = (),
        hold: int = 0,
        **more: Any,
    ) -> None:
        self.now = 1000.0
        self.rights = rights or {}
        self.others = others
        self.out: list[Output] = []
        self.fans: list[Fan] = []
        self.settled: list[Post] = []
        self.ids = 0
        self.room = Room(
            ROOM,
            attrs.evolve(rules or Rules(notices=False), hold=hold),
            lambda uris, hidden: self.rights.get(uris[0], self.others),
            self._open,
            entity="im",
            invitees=[Invitee(one) for one in invitees],
            **more,
        )

    def _open(self, members: Sequence[Member], size: int) -> Fan:
        fan = Fan(self, members, size)
        self.fans.append(fan)
        return fan

    def applicant(
        self,
        uri: str,
        hidden: bool = False,
        offers: Offers = AWARE,
        device: str = "",
        method: str = DIALED_IN,
        also: Sequence[str] = (),
    ) -> Applicant:
        return Applicant(
            (uri, *also),
            Device(),
            offers,
            device,
            uri.partition(":")[2].partition("@")[0].title(),
            hidden,
            method,
        )

    def join(self, uri: str, **more: Any) -> Member:
        member = self.room.join(self.applicant(uri, **more), self.now)
        self.look()
        return member

    def look(self) -> list[Output]:
        """Take what the room wants done, also into ``out``."""
        new = self.room.take()
        self.out += new
        return new

    def begin(
        self, member: Member, size: int = -1, kind: str = "message/cpim", message_id: str = ""
    ) -> Post:
        self.ids += 1
        return self.room.post(
            member, message_id or f"id{self.ids}", kind, size, self.now, self.settled.append
        )

    def say(
        self,
        member: Member,
        text: str = "hi",
        to: str | Sequence[str] = ROOM,
        author: str = "",
        message_id: str = "",
        **more: str,
    ) -> Post:
        """Let a session send a whole message at once."""
        data = cpim(author or member.person.shown, to, text, **more)
        post = self.begin(member, len(data), message_id=message_id)
        post.feed(data, self.now)
        post.end(True, self.now)
        self.look()
        return post

    def status(self, member: Member, *args: Any, **more: Any) -> int:
        return self.say(member, *args, **more).status

    def facts(self) -> list[RoomEvent]:
        return [one.event for one in self.out if isinstance(one, Fact)]

    def dropped(self) -> list[Member]:
        return [one.member for one in self.out if isinstance(one, Drop)]

    def invited(self) -> list[str]:
        return [one.invitee.uri for one in self.out if isinstance(one, Invite)]

    def ended(self) -> str:
        return next((one.why for one in self.out if isinstance(one, Ended)), "")


def device(member: Member) -> Device:
    """Return what a session is connected to."""
    link = member.link
    assert isinstance(link, Device)
    return link
