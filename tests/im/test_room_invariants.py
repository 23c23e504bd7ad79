"""What holds in a room whatever happens in it: people come and go, talk, hang and die."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.im.offers import Offers
from omaim.im.policy import Refusal
from omaim.im.posting import OVER, Post
from omaim.im.room_outputs import Invitee
from omaim.im.room_people import Member
from omaim.im.room_rules import DROP, PAUSE, Rules
from omaim.im.roster import RosterWatch, is_connected
from tests.im.rooms import AWARE, ROOM, Fan, Hall, cpim, device
from tests.im.test_roster import Mirror

PEOPLE = [f"sip:person{number}@north.example" for number in range(4)]
GHOSTS = [f"sip:ghost{number}@north.example" for number in range(2)]  # are only ever anonymous
MOST, DEVICES = 5, 2
PICKY = Offers(wrapped=("text/html",), chatroom=frozenset())
index = st.integers(0, 30)


class Talk:
    """A message, and the address that it is for, if it is private."""

    def __init__(self, number: int, post: Post, member: Member, to: str) -> None:
        self.number = number
        self.post = post
        self.member = member
        self.to = to

    def expected(self, there: Iterable[Member]) -> set[Member]:
        """Return who of those in the room has to get it."""
        able = {one for one in there if one.offers is AWARE}
        if self.to:
            return {one for one in able if one.person.shown == self.to}
        return {one for one in able if one.person.owner != self.member.person.owner}


def number_in(data: bytes) -> int:
    """Return which message this is."""
    return int(data.split(b"#")[1])


class RoomMachine(RuleBasedStateMachine):
    @initialize(
        congestion=st.sampled_from([PAUSE, DROP]),
        replay=st.integers(0, 3),
        asked=st.booleans(),
        hold=st.sampled_from([0, 150]),
    )
    def start(self, congestion: str, replay: int, asked: bool, hold: int) -> None:
        rules = Rules(
            most=MOST,
            devices=DEVICES,
            least=0,
            congestion=congestion,
            mark=150,
            queue=600,
            grace=10.0,
            patience=400.0,
            linger=5.0,
            replay=replay,
            notices=False,
            ends_with_key=False,
            quarantine=0.0,
        )
        self.hall = Hall(rules, hold=hold, initiator="sip:nobody@north.example")
        self.asked: list[Post] = []
        if asked:
            self.hall.room.asks = self.asked.append
        self.members: list[Member] = []  # that ever were
        self.moved: dict[Member, Member] = {}  # who has taken whose place
        self.talks: list[Talk] = []
        self.open: list[Talk] = []
        self.watches: list[tuple[RosterWatch, Mirror, list[str]]] = []
        self.names: dict[Member, str] = {}
        self.join(0, False, 0)
        self.watch()

    # Who is there

    @property
    def present(self) -> list[Member]:
        return [one for one in self.members if one.present]

    def one(self, number: int) -> Member | None:
        there = self.present
        return there[number % len(there)] if there else None

    @precondition(lambda self: not self.hall.room.is_over)
    @rule(number=index, picky=st.booleans(), which=st.integers(0, 2), moves=st.booleans())
    def join(self, number: int, picky: bool, which: int, moves: bool = False) -> None:
        """Somebody comes, comes back by the same device, or goes on by another one."""
        uri = (PEOPLE + GHOSTS)[number % 6]
        applicant = self.hall.applicant(
            uri, uri in GHOSTS, PICKY if picky else AWARE, f"urn:uuid:{uri}:{which}"
        )
        persons = {one.person.aor for one in self.present}
        same = [one for one in self.present if one.person.aor == uri]
        older = next((one for one in same if one.device == applicant.device), None)
        if older is None and same and moves:
            older = same[0]
            applicant = attrs.evolve(applicant, instead=older)
        full = len(persons) >= MOST if not same else len(same) >= DEVICES and older is None
        try:
            member = self.hall.room.join(applicant, self.hall.now)
        except PeerError as error:
            assert full, error
            return
        assert not full
        if older is not None:
            assert not older.present
            self.moved[member] = older
        self.members.append(member)

    @precondition(lambda self: not self.hall.room.is_over)
    @rule(number=index, other=st.booleans())
    def move(self, number: int, other: bool) -> None:
        """A device goes on by another connection, or another device in its place."""
        older = self.one(number)
        if older is None:
            return
        person = older.person
        device = f"{older.device}+" if other else older.device
        applicant = self.hall.applicant(person.aor, person.hidden, older.offers, device)
        applicant = attrs.evolve(applicant, instead=older if other else None)
        member = self.hall.room.join(applicant, self.hall.now)
        assert not older.present
        self.moved[member] = older
        self.members.append(member)

    @rule(number=index, how=st.sampled_from(["departed", "failed"]))
    def leave(self, number: int, how: str) -> None:
        member = self.one(number)
        if member is not None and len(self.present) > 2:
            self.hall.room.leave(member, self.hall.now, how)

    @rule(by=index, who=index, really=st.integers(0, 3))
    def expel(self, by: int, who: int, really: int) -> None:
        one, other = self.one(by), self.one(who)
        if really or one is None or other is None or one.person is other.person:
            return
        if one.person.hidden:
            return
        self.hall.room.expel(one.person.aor, other.person.shown, self.hall.now)
        assert not other.present
        self.hall.room._barred.clear()  # so that this person can come in again

    @rule(number=st.integers(0, 3), comes=st.booleans())
    def invite(self, number: int, comes: bool) -> None:
        by = next((one for one in self.present if not one.person.hidden), None)
        if by is None or self.hall.room.is_over:
            return
        try:
            self.hall.room.invite(by.person.aor, [Invitee(PEOPLE[number])], self.hall.now)
        except Refusal as error:
            assert error.status == 486, error
        if not comes:
            self.hall.room.failed(PEOPLE[number], "busy", self.hall.now)

    @rule(number=index, name=st.sampled_from(["", "al", "AL", "bo", "cy"]))
    def nickname(self, number: int, name: str) -> None:
        member = self.one(number)
        if member is None:
            return
        used = {
            text.lower(): one.person for one, text in self.names.items() if one.present and text
        }
        free = used.get(name.lower(), member.person) is member.person
        status = self.hall.room.nickname(member, name, self.hall.now)
        if status == 403:
            assert member.names < 1.0, "it did not ask too often"
            return
        assert status == (200 if free else 425), (status, name, used)
        if free:
            self.names[member] = name

    # What is said

    @rule(
        number=index,
        whom=index,
        private=st.booleans(),
        whole=st.sampled_from([True, True, False]),
        size=index,
    )
    def speak(self, number: int, whom: int, private: bool, whole: bool, size: int) -> None:
        member = self.one(number)
        if member is None or device(member).paused or self.hall.room.is_over:
            return
        to = self.one(whom) if private else None
        talk_number = len(self.talks)
        text = f"#{talk_number}#" + "x" * size
        address = ROOM if to is None else to.person.shown
        data = cpim(member.person.shown, address, text)
        post = self.hall.begin(member, len(data) if whole else -1)
        talk = Talk(talk_number, post, member, "" if to is None else to.person.shown)
        able = not private or bool(talk.expected(self.present))
        self.talks.append(talk)
        post.feed(data, self.hall.now)
        if whole:
            post.end(True, self.hall.now)
        if not able:
            assert post.status == 428, post.status
            return
        if post.state != OVER:
            self.open.append(talk)

    @rule(number=index, do=st.sampled_from(["feed", "feed", "end", "end", "end", "abort"]))
    def go_on(self, number: int, do: str) -> None:
        if not self.open:
            return
        talk = self.open[number % len(self.open)]
        if talk.post.complete or not talk.member.present or device(talk.member).paused:
            return
        if do == "feed":
            talk.post.feed(b"y" * 60, self.hall.now)
        else:
            talk.post.end(do == "end", self.hall.now)

    @rule(number=index, refuse=st.booleans())
    def decide(self, number: int, refuse: bool) -> None:
        if self.asked:
            post = self.asked.pop(number % len(self.asked))
            post.decide(PeerError("no", 403) if refuse else None, None, self.hall.now)

    @rule(number=index, ghost=st.booleans())
    def betray(self, number: int, ghost: bool) -> None:
        """Somebody writes under its true address though it is anonymous, or under another's."""
        member = self.one(number)
        if member is None or device(member).paused or self.hall.room.is_over:
            return
        author = GHOSTS[0] if ghost else GHOSTS[1]
        assert self.hall.status(member, "x", author=author) == 403
        assert self.hall.status(member, "x", to=author) == 404

    # What goes wrong

    @rule(number=index)
    def hang(self, number: int) -> None:
        member = self.one(number)
        if member is not None:
            device(member).stuck = True

    @rule(number=index)
    def recover(self, number: int) -> None:
        member = self.one(number)
        if member is not None:
            link = device(member)
            link.stuck, link.queue = False, 0
            for copy in link.got:
                copy.held = False
            self.hall.room.pressure(member, 0, self.hall.now)

    @rule(seconds=st.sampled_from([1.0, 6.0, 30.0]))
    def time(self, seconds: float) -> None:
        self.hall.now += seconds
        for _ in range(100):
            deadline = self.hall.room.deadline
            if deadline is None or deadline > self.hall.now:
                break
            self.hall.room.wake(self.hall.now)
        else:
            raise AssertionError("the room never rests")

    # Who looks on

    @rule()
    def watch(self) -> None:
        if not self.hall.room.is_over and len(self.watches) < 4:
            self.watches.append((self.hall.room.watch((PEOPLE[0],)), Mirror(), []))

    @rule(number=index, full=st.booleans())
    def hear(self, number: int, full: bool) -> None:
        if self.watches:
            watch, mirror, texts = self.watches[number % len(self.watches)]
            report = watch.full() if full else watch.next()
            if report is not None:
                mirror.hear(report)
                texts.append(repr(report))

    # What always holds

    @invariant()
    def caps(self) -> None:
        if not hasattr(self, "hall"):
            return
        persons = {one.person for one in self.present}
        assert len(persons) == self.hall.room.count <= MOST
        for one in persons:
            assert 1 <= len(one.members) <= DEVICES
        assert list(self.hall.room.members) == self.present

    @invariant()
    def outputs(self) -> None:
        if hasattr(self, "hall"):
            dropped = [one for one in self.hall.look() if type(one).__name__ == "Drop"]
            for one in dropped:
                assert not one.member.present

    def teardown(self) -> None:
        if not hasattr(self, "hall"):
            return
        for post in self.asked[:]:
            post.decide(None, None, self.hall.now)
        for talk in self.open:
            talk.post.end(True, self.hall.now)
        for post in self.asked[:]:
            post.decide(None, None, self.hall.now)
        for member in self.present:
            device(member).stuck = False
            self.hall.room.pressure(member, 0, self.hall.now)
        self.everybody_settled()
        self.nobody_twice_nobody_missing()
        self.order_is_kept()
        self.nobody_is_betrayed()
        self.watchers_agree()
        for member in self.present:
            assert not device(member).paused
        self.hall.room.end("enough", self.hall.now)
        self.hall.look()
        assert self.present == []

    def everybody_settled(self) -> None:
        posts = [one.post for one in self.talks]
        for post in posts:
            assert post.state == OVER, post.state
            assert self.hall.settled.count(post) == 1

    def nobody_twice_nobody_missing(self) -> None:
        handed = set(self.moved.values())
        first: dict[int, Fan] = {}  # what follows with the same number is shown again
        for fan in self.hall.fans:
            first.setdefault(number_in(fan.data), fan)
        for talk in self.talks:
            began = first.get(talk.number)
            assert (began is not None) or talk.post.status != 200
            if began is not None:
                assert set(began.first) == talk.expected(began.there)
                for member, copy in began.copies.items():
                    if member in handed:
                        assert copy.state != "dropped" or talk.post.status != 200
                    elif member.present:
                        assert copy.state == ("done" if talk.post.status == 200 else "aborted")
        for member in self.members:
            numbers = self.numbers(member)
            assert len(set(numbers)) == len(numbers), "twice"

    def numbers(self, member: Member | None) -> list[int]:
        """Return the messages that a session and those before it in its place got, in order."""
        got: list[int] = []
        while member is not None:
            got[:0] = [number_in(one.data) for one in device(member).got if one.data]
            member = self.moved.get(member)
        return got

    def order_is_kept(self) -> None:
        for member in self.members:
            got = self.numbers(member)
            for speaker in self.members:
                theirs = [one for one in got if self.talks[one].member is speaker]
                assert theirs == sorted(theirs), theirs

    def nobody_is_betrayed(self) -> None:
        for member in self.members:
            for copy in device(member).got:
                assert b"ghost" not in copy.data.lower()
        for _, _, texts in self.watches:
            for text in texts:
                assert "ghost" not in text.lower()

    def watchers_agree(self) -> None:
        for watch, mirror, texts in self.watches:
            report = watch.next()
            if report is not None:
                mirror.hear(report)
                texts.append(repr(report))
            roster = self.hall.room.roster
            if roster.is_over:
                assert mirror.state == "deleted"
                continue
            assert mirror.users == set(roster.users())
            assert mirror.count == self.hall.room.count
            shown = {one.entity for one in roster.users() if is_connected(one)}
            assert shown == {one.person.shown for one in self.present}


class RoomInvariants(SynchronousTestCase):
    def test_any_order(self) -> None:
        """Nobody gets a message twice, nobody in the room misses one; the order of a sender is
        kept; versions have no gaps; caps hold; who is anonymous stays so (RFC 7701 §6, §11;
        RFC 4575 §4.6)."""
        run_state_machine_as_test(RoomMachine, settings=settings(stateful_step_count=40))
