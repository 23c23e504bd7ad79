"""One conference room: who comes in, who speaks to whom, when it ends.

The room knows no SIP, no MSRP and no clock. The focus tells it what happens (:meth:`Room.join`,
:meth:`Room.post`, :meth:`Room.leave`, …) with the time, seconds since the epoch; it hands over
the sessions as :class:`~omaim.im.room_people.Link` and a function that begins copies of a
message; and after each call it does what :meth:`Room.take` returns, and comes back at
:attr:`Room.deadline`.

Read in this order: ``room_rules``, ``room_people``, this; then ``floor`` and ``posting`` for what
is said, ``roster`` for what is seen.

Spec: RFC 7701; RFC 4353; RFC 4579 §5; OMA SIMPLE IM 1.0 (controlling function)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Final

import attrs

from omaim.bodies.conference_info import (
    BOOTED,
    CONNECTED,
    DEPARTED,
    DIALED_OUT,
    DIALING_OUT,
    DISCONNECTED,
    Endpoint,
    Event,
    User,
)
from omaim.bodies.cpim import Address, Cpim
from omaim.bodies.mime import Part
from omaim.bodies.moments import write_moment
from omaim.im.assembly import Assembly
from omaim.im.floor import RoomFloor, Settled
from omaim.im.nicknames import NOT_ALLOWED, BadNickname, Nicknames
from omaim.im.offers import Offers
from omaim.im.policy import Refusal
from omaim.im.posting import OK, Post
from omaim.im.replay import Replay
from omaim.im.room_outputs import Drop, Ended, Fact, Invite, Invitee, Output, RosterChanged
from omaim.im.room_people import Applicant, Member, OpenCopies, Person
from omaim.im.room_rules import (
    CLOSED_NOW,
    GUEST,
    NOT_A_MEMBER,
    PREDEFINED,
    Rights,
    RightsOf,
    Rules,
    combined,
    refuse_if_full,
)
from omaim.im.room_times import RoomTimes, closes_at
from omaim.im.roster import Roster, RosterWatch
from omaim.node.events import (
    NicknameChanged,
    RoomEnded,
    RoomEvent,
    RoomInvited,
    RoomJoined,
    RoomLeft,
    RoomPosted,
    RoomStarted,
)

TEXT: Final = "text/plain"
INVITATIONS: Final = 1000  # that a room has open at a time
NAMES: Final = 20.0  # nicknames that a session may ask for in a row
NAMES_A_SECOND: Final = 0.5  # that it may ask for as long as it likes
SHOWN: Final = 50  # participants whom a notice names


class Room:
    """One conference, from the first participant to the end.

    Args:
        uri: its canonical address.
        rights_of: what somebody may do in it.
        open_copies: begins a message to some sessions.
        entity: who says what happens: the name of the entity.
        subject: for people.
        initiator: canonical address of who makes it; the first to come in, if not given.
        invitees: whom to invite when the first has come.
        nicknames: those of the last time, with what is in quarantine.

    Attributes:
        roster: who is in it, as others see them.
        nicknames: who is called what.
        replay: the last messages.
        is_over: it has ended.
        count: participants who are there.

    Spec: RFC 7701 §4.1, §5; RFC 4579 §5
    """

    def __init__(
        self,
        uri: str,
        rules: Rules,
        rights_of: RightsOf,
        open_copies: OpenCopies,
        *,
        entity: str = "",
        subject: str = "",
        initiator: str = "",
        invitees: Sequence[Invitee] = (),
        nicknames: Nicknames | None = None,
    ) -> None:
        self.uri = uri
        self.rules = rules
        self.entity = entity
        self.subject = subject
        self.initiator = initiator
        self.is_over = False
        self.roster = Roster(uri, subject, rules.most)
        if nicknames is None:
            nicknames = Nicknames(rules.quarantine, rules.reserved)
        self.nicknames = nicknames
        self.replay = Replay(rules.replay, rules.replay_size)
        self._rights_of = rights_of
        self._open = open_copies
        self._assembly = Assembly()
        self._floor = RoomFloor(
            uri, rules, self._assembly, open_copies, self._was_said, self._unbearable
        )
        self._invitees = tuple(invitees)
        self._pending: dict[str, Invitee] = {}
        self._guests: set[str] = set()
        self._barred: set[str] = set()
        self._lingering: dict[str, float] = {}  # roster entries to strike off, and when
        self._times = RoomTimes(rules)
        self._out: list[Output] = []
        self._told = 0  # the roster change of which watchers were told last

    # What the focus reads

    @property
    def count(self) -> int:
        return len(self._assembly.persons)

    @property
    def members(self) -> tuple[Member, ...]:
        """All sessions, in the order in which they came."""
        return tuple(self._assembly.members)

    @property
    def pending(self) -> tuple[str, ...]:
        """Who was invited and has not answered."""
        return tuple(self._pending)

    @property
    def asks(self) -> Callable[[Post], None] | None:
        """What has :meth:`Post.decide` called on each message; ``None``: nobody is asked."""
        return self._floor.asks

    @asks.setter
    def asks(self, ask: Callable[[Post], None] | None) -> None:
        self._floor.asks = ask

    @property
    def deadline(self) -> float | None:
        """When :meth:`wake` is wanted, ``None`` for not at all."""
        if self.is_over:
            return None
        floor = self._floor.deadline
        times = [self._times.deadline, inf if floor is None else floor]
        if self._lingering:
            times.append(next(iter(self._lingering.values())))
        return None if (first := min(times)) == inf else first

    def take(self) -> list[Output]:
        """Return what is to do, oldest first, and forget it."""
        self._note_roster()
        out, self._out = self._out, []
        return out

    def wake(self, now: float) -> None:
        """Do what the time asks for."""
        if self.is_over:
            return
        self._floor.wake(now)
        for entity, until in list(self._lingering.items()):
            if until > now:
                break
            del self._lingering[entity]
            self.roster.remove(entity)
        self.nicknames.sweep(now)
        why = self._times.over(now)
        if why:
            self.end(why, now)

    # Coming and going

    def check(self, applicant: Applicant, now: float) -> Rights:
        """Return what somebody may do who wants to come in now.

        Raises:
            Refusal: it may not: 410 the room has ended; 403 not allowed, or not now; 486 full.
            PeerError: its session cannot be in a room (488).

        Spec: RFC 7701 §5.2; OMA SIMPLE IM 1.0 (restricted groups, maximum of participants,
        session-active-policy)
        """
        if self.is_over:
            raise Refusal("the conference has ended", 410)
        if closes_at(self.rules, now) is None:
            raise Refusal(CLOSED_NOW)
        uris, hidden = applicant.identities, applicant.hidden
        if not self._barred.isdisjoint(uris):
            raise Refusal(NOT_A_MEMBER)
        rights = self._rights(uris, hidden)
        if not rights.join:
            raise Refusal(NOT_A_MEMBER)
        if not self._times.started and self.rules.kind == PREDEFINED and not rights.initiate:
            raise Refusal("119 Function not allowed: only some may start this group")
        if hidden and not rights.anonymous:
            raise Refusal("119 Function not allowed: no anonymous participants in this group")
        applicant.offers.check()
        person = self._assembly.person(applicant)
        if person is None:
            refuse_if_full(self.rules, self.count)
        elif _again(person, applicant) is None and len(person.members) >= self.rules.devices:
            raise Refusal("102 Too many devices of one participant", 486)
        return rights

    def is_invited(self, applicant: Applicant) -> bool:
        """Tell whether the room had asked for somebody."""
        return not self._guests.isdisjoint(applicant.identities)

    def join(self, applicant: Applicant, now: float) -> Member:
        """Let a device come in, and show it what it has missed.

        A device that is in already has come back: its older session is dropped, and what that
        had not got goes to this one.

        Raises:
            PeerError: see :meth:`check`; nothing has changed.
        """
        rights = self.check(applicant, now)
        person = self._assembly.person(applicant)
        older = None if person is None else _again(person, applicant)
        if person is None:
            person = self._assembly.add_person(applicant, rights)
        member = self._assembly.add_member(person, applicant, now)
        if older is not None:
            self._floor.succeed(older, member)
            self._take_out(older, DEPARTED, now, "the device has come back", drop=True)
            self.replay.left(person.aor, person.hidden, member.device)
            member.said = older.said
        self._arrived(member, now)
        return member

    def _arrived(self, member: Member, now: float) -> None:
        person = member.person
        for uri in person.identities:
            invitee = self._pending.pop(uri, None)
            if invitee is not None and not invitee.hidden and uri != person.shown:
                self._lingering.pop(uri, None)
                self._lingering[uri] = now + self.rules.linger
        self._lingering.pop(person.shown, None)
        self._show(person)
        if not self._times.started:
            self._start(person, now)
        self._fact(
            RoomJoined(
                at=now,
                entity=self.entity,
                room=self.uri,
                user=person.aor,
                shown=person.shown,
                device=member.name,
                method=member.method,
            )
        )
        self._welcome(member, now)

    def _start(self, first: Person, now: float) -> None:
        self._times.start(now)
        self.initiator = self.initiator or first.aor
        self._fact(
            RoomStarted(
                at=now,
                entity=self.entity,
                room=self.uri,
                kind=self.rules.kind,
                initiator=self.initiator,
            )
        )
        self._ask_in(self._invitees, self.initiator, now)

    def _welcome(self, member: Member, now: float) -> None:
        """Tell who does not know what a room is; then show what was said before.

        Spec: RFC 7701 §11
        """
        person = member.person
        if self.rules.notices and not member.offers.is_aware:
            text = "This is a chat room: what you write goes to all who are in it."
            if person.rights.see:
                names = [one.nickname or one.text or one.entity for one in self.roster.users()]
                more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                text += f" Here are: {', '.join(names[:SHOWN])}{more}."
            self.tell(text, now, [member])
        for said in self.replay.missed(person.aor, person.hidden, member.device):
            if member.offers.takes(said.media_type) and member.offers.has_room_for(len(said.body)):
                self._send([member], said.body)

    def leave(self, member: Member, now: float, how: str = DEPARTED) -> None:
        """A session has ended: by its device (``departed``), or with its connection (``failed``).

        Nothing happens to one that the room has dropped already.
        """
        if member.present:
            self._take_out(member, how, now)
            self._end_if_due(member.person, now)

    def _take_out(
        self,
        member: Member,
        how: str,
        now: float,
        why: str = "",
        by: str = "",
        drop: bool = False,
    ) -> None:
        person = member.person
        self._floor.leave(member, now)
        gone = self._assembly.remove(member)
        self.replay.left(person.aor, person.hidden, member.device)
        self.nicknames.release(member, now)
        if not gone:
            self._show(person)
        elif self.rules.linger > 0:
            self._show_gone(person, member, how, now)
            self._lingering.pop(person.shown, None)
            self._lingering[person.shown] = now + self.rules.linger
        else:
            self.roster.remove(person.shown)
        if drop:
            self._out.append(Drop(member, why))
        self._fact(
            RoomLeft(
                at=now,
                entity=self.entity,
                room=self.uri,
                user=person.aor,
                shown=person.shown,
                device=member.name,
                how=how,
                by=by,
                seconds=now - member.joined_at,
            )
        )

    def _end_if_due(self, left: Person, now: float) -> None:
        """End the room if it cannot go on without who has just left."""
        if left.members or self.is_over:
            return
        persons, rules = self._assembly.persons, self.rules
        if not persons or len(persons) + len(self._pending) < rules.least:
            self.end("too few are left", now)
        elif rules.ends_with_initiator and self._was_initiator(left):
            self.end("who started it has left", now)
        elif rules.ends_with_key and left.rights.key and not any(one.rights.key for one in persons):
            self.end("the key participant has left", now)

    def _was_initiator(self, left: Person) -> bool:
        return left.aor == self.initiator and not any(self._assembly.by_aor(left.aor))

    def end(self, why: str, now: float) -> None:
        """Close the room: everybody is told, every session is dropped (RFC 7701 §5.3)."""
        if self.is_over:
            return
        self._floor.close(now)
        if self.rules.notices and self._assembly.members:
            self.tell(f"The room is closed: {why}.", now)
        self.is_over = True
        for member in self.members:
            self._take_out(member, BOOTED, now, why, drop=True)
        self._pending.clear()
        self.roster.over()
        self._fact(RoomEnded(at=now, entity=self.entity, room=self.uri, why=why))
        self._note_roster()
        self._out.append(Ended(why))

    # What participants wish

    def invite(self, by: str, invitees: Iterable[Invitee], now: float) -> list[Invitee]:
        """Ask people to come in, on somebody's wish (a REFER). Returns: who really is asked.

        Those who are there or asked already are not, nor more than :data:`INVITATIONS` at a
        time. Who is there anonymously is asked: nobody may notice that it is.

        Raises:
            Refusal: 403 it may not; 486 they are too many; 410 the room has ended.

        Spec: RFC 4579 §5.5; OMA SIMPLE IM 1.0 (allow-invite-users-dynamically)
        """
        self._check_right(by, "invite")
        refuse_if_full(self.rules, self.count)
        return self._ask_in(invitees, by, now)

    def _ask_in(self, invitees: Iterable[Invitee], by: str, now: float) -> list[Invitee]:
        asked: list[Invitee] = []
        for one in invitees:
            person = self._assembly.by_address(one.uri)
            if person is not None or one.uri in self._pending or one.uri == by:
                continue
            if len(self._pending) >= INVITATIONS:
                break
            self._barred.discard(one.uri)
            self._guests.add(one.uri)
            self._pending[one.uri] = one
            self._lingering.pop(one.uri, None)
            if not one.hidden:
                device = Endpoint(f"{one.uri};device=0", DIALING_OUT, joining_method=DIALED_OUT)
                self.roster.put(User(one.uri, endpoints=(device,)))
            asked.append(one)
            self._out.append(Invite(one, by))
            self._fact(RoomInvited(at=now, entity=self.entity, room=self.uri, user=one.uri, by=by))
        return asked

    def failed(self, uri: str, how: str, now: float) -> None:
        """Somebody who was invited does not come: ``busy``, ``failed`` or ``departed``.

        Spec: RFC 4575 §5.7.6
        """
        invitee = self._pending.pop(uri, None)
        if invitee is None or self.is_over:
            return
        if not invitee.hidden and self.roster.get(uri) is not None:
            device = Endpoint(
                f"{uri};device=0",
                DISCONNECTED,
                joining_method=DIALED_OUT,
                disconnection_method=how,
                disconnection_info=Event(now),
            )
            self.roster.put(User(uri, endpoints=(device,)))
            self._lingering.pop(uri, None)
            self._lingering[uri] = now + self.rules.linger
        if self.count + len(self._pending) < self.rules.least:
            self.end("too few are left", now)

    def expel(self, by: str, uri: str, now: float) -> None:
        """Put somebody out, who may not come in again until invited (a REFER with BYE).

        Args:
            uri: how the others see who it is; of somebody who was invited, the address.

        Raises:
            Refusal: 403 it may not; 404 nobody of that address is here; 410.

        Spec: RFC 4579 §5.11; OMA SIMPLE IM 1.0 (allow-expelling)
        """
        self._check_right(by, "expel")
        person = self._assembly.by_address(uri)
        if person is None:
            if uri not in self._pending:
                raise Refusal("nobody of that address is here", 404)
            self._guests.discard(uri)
            self._barred.add(uri)
            self.failed(uri, BOOTED, now)
            return
        self._barred.update(person.identities)
        self._guests.difference_update(person.identities)
        self._put_out(person, "you were removed from the room", now, by)

    def _put_out(self, person: Person, why: str, now: float, by: str = "") -> None:
        if self.rules.notices:
            self.tell(f"Goodbye: {why}.", now, person.members)
        for member in list(person.members):
            self._take_out(member, BOOTED, now, why, by, drop=True)
        self._end_if_due(person, now)

    def nickname(self, member: Member, text: str, now: float) -> int:
        """Call a participant on one device ``text``, "" for nothing.

        Who asks too often gets 403.

        Returns: what to answer to NICKNAME: 200, 403, 424 or 425 (RFC 7701 §7.1 to §7.3).
        """
        if not self.rules.nicknames or not member.present:
            return NOT_ALLOWED
        # To look at one costs more than to say something, and all get to know.
        member.names = min(NAMES, member.names + (now - member.named_at) * NAMES_A_SECOND)
        member.named_at = now
        if member.names < 1.0:
            return NOT_ALLOWED
        member.names -= 1.0
        before = self.nicknames.of(member)
        if not text:
            self.nicknames.release(member, now)
        else:
            try:
                self.nicknames.reserve(member.person.owner, member, text, now)
            except BadNickname as error:
                return error.status
        after = self.nicknames.of(member)
        if after != before:
            person = member.person
            self._show(person)
            self._fact(
                NicknameChanged(
                    at=now,
                    entity=self.entity,
                    room=self.uri,
                    user=person.aor,
                    shown=person.shown,
                    nickname=after,
                )
            )
        return OK

    def watch(self, identities: tuple[str, ...], hidden: bool = False) -> RosterWatch:
        """Let somebody follow who is in the room (a SUBSCRIBE to "conference").

        Raises:
            Refusal: 403 it may not; 410 the room has ended.

        Spec: RFC 4575 §3.5; OMA SIMPLE IM 1.0 (allow-conference-state)
        """
        if self.is_over:
            raise Refusal("the conference has ended", 410)
        if not self.shows(identities, hidden):
            raise Refusal("119 Function not allowed: who is in this group is not shown to you")
        return self.roster.watch()

    def shows(self, identities: tuple[str, ...], hidden: bool = False) -> bool:
        """Tell whether somebody may see now who is in the room."""
        return self._barred.isdisjoint(identities) and self._rights(identities, hidden).see

    def offer(self, member: Member, offers: Offers) -> None:
        """A session takes something else from now on (a new offer or answer).

        Raises:
            PeerError: it cannot be in a room so (488); nothing has changed.

        Spec: RFC 7701 §8
        """
        offers.check()
        member.offers = offers
        self._assembly.forget_offers()

    def reconsider(self, rights_of: RightsOf, now: float, rules: Rules | None = None) -> None:
        """The group's definition has changed: who may not be here any more has to go.

        Args:
            rules: how many may be here and when, if that has changed; the rest stays.
        """
        self._rights_of = rights_of
        if rules is not None:
            self.rules = attrs.evolve(
                self.rules, most=rules.most, duration=rules.duration, periods=rules.periods
            )
            self._times.limit(self.rules, now)
            self.wake(now)
        for person in list(self._assembly.persons):
            if self.is_over:
                break
            rights = self._rights(person.identities, person.hidden)
            if not rights.join or (person.hidden and not rights.anonymous):
                self._put_out(person, "you may not be in this room any more", now)
            else:
                person.rights = rights

    # What is said

    def post(
        self,
        member: Member,
        message_id: str,
        content_type: str,
        size: int,
        now: float,
        settled: Settled,
    ) -> Post:
        """Begin a message of a session; feed its octets to what is returned, and end it.

        Args:
            message_id: of MSRP.
            content_type: of the SEND request.
            size: octets of the whole, -1 when it was not announced.
            settled: is called once, perhaps before this returns, when it is decided what to
                answer: ``post.status`` is 200 when every octet has come and gone out, an error
                as soon as it is one, and 0 when the message was broken off.

        Spec: RFC 7701 §6
        """
        return self._floor.post(member, message_id, content_type, size, now, settled)

    def pressure(self, member: Member, octets: int, now: float) -> None:
        """So many octets wait to be sent to a session: tell when ``rules.mark`` is passed either
        way, and from time to time above it (RFC 7701 §6.4)."""
        self._floor.pressure(member, octets, now)

    def tell(self, text: str, now: float, members: Sequence[Member] | None = None) -> None:
        """Let the room itself say something to all, or to some."""
        part = Part([("Content-Type", f"{TEXT};charset=UTF-8")], text.encode())
        author = Address(self.subject, self.uri)
        message = Cpim.make(author, [Address("", self.uri)], write_moment(now), part)
        chosen = self.members if members is None else members
        self._send([one for one in chosen if one.offers.takes(TEXT)], message.to_bytes())

    def _send(self, members: Sequence[Member], body: bytes) -> None:
        if members:
            copies = self._open(members, len(body))
            copies.write(body)
            copies.finish()

    def _was_said(self, post: Post, now: float) -> None:
        cpim, person = post.cpim, post.member.person
        if cpim is None or post.is_passing:
            return
        self._times.spoke(now)
        recipient = self._assembly.by_address(post.to) if post.to else None
        post.event = RoomPosted(
            at=now,
            entity=self.entity,
            room=self.uri,
            message_id=cpim.message_id or post.message_id,
            sender=person.aor,
            shown=person.shown,
            recipient=recipient.aor if recipient is not None else post.to,
            content_type=post.media_type,
            size=post.received,
            copies=post.copies,
        )
        if not post.to and post.whole is not None:
            self.replay.add(post.media_type, post.whole)

    def _unbearable(self, member: Member, now: float) -> None:
        """A session takes messages too slowly to stay (RFC 7701 §6.4)."""
        if member.present:
            self._take_out(member, BOOTED, now, "it takes messages too slowly", drop=True)
            self._end_if_due(member.person, now)

    # Inside

    def _rights(self, identities: tuple[str, ...], hidden: bool) -> Rights:
        rights = self._rights_of(identities, hidden)
        if self._guests.isdisjoint(identities):
            return rights
        return combined(rights, GUEST)

    def _check_right(self, by: str, name: str) -> None:
        if self.is_over:
            raise Refusal("the conference has ended", 410)
        rights = self._rights((by,), False)
        for person in self._assembly.by_aor(by):
            rights = combined(rights, person.rights)
        if by in self._barred or not getattr(rights, name):
            raise Refusal(f"119 Function not allowed: you may not {name} here")

    def _show(self, person: Person) -> None:
        """Write into the roster what others may see of somebody."""
        called = [self.nicknames.of(one) for one in person.members]
        devices = tuple(
            Endpoint(
                one.name,
                CONNECTED,
                joining_method=one.method,
                joining_info=Event(one.joined_at),
            )
            for one in person.members
        )
        nickname = next((one for one in reversed(called) if one), "")
        self.roster.put(User(person.shown, person.display, nickname, endpoints=devices))

    def _show_gone(self, person: Person, member: Member, how: str, now: float) -> None:
        device = Endpoint(
            member.name,
            DISCONNECTED,
            joining_method=member.method,
            joining_info=Event(member.joined_at),
            disconnection_method=how,
            disconnection_info=Event(now),
        )
        self.roster.put(User(person.shown, person.display, endpoints=(device,)))

    def _note_roster(self) -> None:
        if self.roster.change != self._told:
            self._told = self.roster.change
            self._out.append(RosterChanged())

    def _fact(self, event: RoomEvent) -> None:
        self._out.append(Fact(event))


def _again(person: Person, applicant: Applicant) -> Member | None:
    """Return the session of a person whose place this one takes: that of the same device."""
    if applicant.instead in person.members:
        return applicant.instead
    if not applicant.device:
        return None
    return next((one for one in person.members if one.device == applicant.device), None)
