"""Random lives of a room with real MSRP sessions."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.im.room_rules import DROP, PAUSE, Rules
from omaim.msrp import OPEN
from omaim.msrp.outgoing import PIECE
from tests.im.halls import Hall, HallGuest

PEOPLE = 5
STEPS = 40
SIZES = (0, 100, 3000, 30_000, 100_000)


class Talk:
    """One message: who has to get it if all goes well, and what its sender was told."""

    def __init__(self, number: int, speaker: HallGuest, to: set[HallGuest], size: int) -> None:
        self.size = size
        self.name = f"#{number}#"
        self.speaker = speaker
        self.to = to
        self.statuses: list[int] = []


class Life:
    """People come, go, speak, hang and die; the first of them does nothing but stay and speak."""

    def __init__(self, congestion: str, seed: int) -> None:
        rules = Rules(
            congestion=congestion,
            mark=60_000,
            grace=4.0,
            queue=300_000,
            notices=False,
            linger=1.0,
        )
        self.chance = random.Random(seed)
        self.hall = Hall(rules, seed)
        self.stays: list[HallGuest] = []
        self.before: dict[HallGuest, HallGuest] = {}  # the stay of the same device before
        self.talks: list[Talk] = []
        self.here: dict[int, HallGuest] = {}
        for number in range(3):
            self.join(number)
        acts = [(self.speak, 10), (self.time, 6), (self.join, 3), (self.leave, 1)]
        acts += [(self.move, 1), (self.die, 1), (self.hang, 2), (self.recover, 2)]
        for _ in range(STEPS):
            (act,) = self.chance.choices([one for one, _ in acts], [weight for _, weight in acts])
            act(self.chance.randrange(PEOPLE))

    def one(self, number: int) -> HallGuest | None:
        guest = self.here.get(number)
        return None if guest is None or guest.gone else guest

    def join(self, number: int) -> None:
        """Somebody comes, or comes back by the same device: its older stay is over then."""
        before = self.one(number)
        guest = HallGuest(self.hall, number)
        guest.come()
        if before is not None:
            before.gone = True
        if number in self.here:
            self.before[guest] = self.here[number]
        self.here[number] = guest
        self.stays.append(guest)
        self.hall.clock.advance(0.5)

    def leave(self, number: int) -> None:
        guest = self.one(number)
        if guest is not None and number:
            guest.leave()
            self.hall.clock.advance(0.1)

    def die(self, number: int) -> None:
        guest = self.one(number)
        if guest is not None and number:
            guest.die()
            self.hall.clock.advance(0.1)

    def speak(self, number: int) -> None:
        guest = self.one(number)
        if guest is None or guest.session.state != OPEN:
            return
        to = {one for one in self.here.values() if not one.gone and one is not guest}
        for _ in range(self.chance.randint(1, 3)):
            size = self.chance.choice(SIZES)
            talk = Talk(len(self.talks), guest, to, size)
            self.talks.append(talk)
            guest.say(talk.name, size, talk.statuses.append)

    def hang(self, number: int) -> None:
        guest = self.one(number)
        if guest is not None and number and guest.session.state == OPEN:
            guest.session.pause()
            guest.hangs = True

    def recover(self, number: int) -> None:
        guest = self.one(number)
        if guest is not None:
            guest.resume()

    def move(self, number: int) -> None:
        """Somebody goes on by another connection of the same call."""
        guest = self.one(number)
        if guest is not None and guest.session.state == OPEN:
            guest.move()
            self.hall.clock.advance(0.5)

    def time(self, number: int) -> None:
        self.hall.clock.advance(self.chance.choice((0.01, 0.3, 2.0, 7.0)))

    def end(self) -> None:
        """Let everybody take what there is, and see what has come of it."""
        for guest in self.here.values():
            if not guest.gone:
                guest.resume()
        for _ in range(60):
            self.hall.clock.advance(1.0)
        self.nobody_twice()
        self.nobody_misses()
        self.order_is_kept()
        self.all_are_answered()
        self.nothing_is_left()

    def nobody_twice(self) -> None:
        for stay in self.stays:
            heard = self.heard(stay)
            assert len(set(heard)) == len(heard), "twice"
            for author, name in heard:
                talk = self.talks[int(name.strip("#"))]
                assert talk.speaker.aor == author
                assert author != stay.aor

    def heard(self, stay: HallGuest | None) -> list[tuple[str, str]]:
        """Return what a device heard by a session, and by those before it."""
        heard: list[tuple[str, str]] = []
        while stay is not None:
            heard[:0] = stay.heard
            stay = self.before.get(stay)
        return heard

    def nobody_misses(self) -> None:
        for stay in self.stays:
            if stay.gone:
                continue
            got = {name for _, name in stay.heard}
            for talk in self.talks:
                # The chunks of a large one may have come by several connections.
                whole = talk.size < PIECE - 1000 or not (stay.older or talk.speaker.older)
                if not whole or stay not in talk.to or talk.statuses != [200]:
                    continue
                assert talk.name in got or talk.speaker.aor == stay.aor, (talk.name, got)

    def order_is_kept(self) -> None:
        """What leaves in one piece is heard in the order in which it was said.

        But by who reads an older connection later than the one that has taken its place.
        """
        for stay in self.stays:
            if stay.older and stay.hangs:
                continue
            for number in range(PEOPLE):
                aor = f"sip:p{number}@north.example"
                heard = self.heard(stay)
                said = [int(name.strip("#")) for author, name in heard if author == aor]
                whole = [one for one in said if self.talks[one].size < PIECE - 1000]
                assert whole == sorted(whole), said

    def all_are_answered(self) -> None:
        """Who hangs may hear an answer too late."""
        for talk in self.talks:
            if not talk.speaker.gone and not talk.speaker.older:
                assert talk.statuses == [200] or talk.speaker.hangs, talk.statuses

    def nothing_is_left(self) -> None:
        room = self.hall.conference.room
        alive = [one for one in self.here.values() if not one.gone]
        assert room.count == len(alive), (room.count, len(alive))
        assert len(self.hall.msrp.sessions) == len(alive)


class ConferenceInvariants(SynchronousTestCase):
    @given(congestion=st.sampled_from([PAUSE, DROP]), seed=st.integers(0, 1_000_000))
    def test_any_life(self, congestion: str, seed: int) -> None:
        """Nobody gets a message twice, nobody in the room misses one, the order of a sender is
        kept, whatever hangs or dies; who stays gets every answer (RFC 7701 §6)."""
        Life(congestion, seed).end()
