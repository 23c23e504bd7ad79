"""The last messages of rooms outlive the process (OMA SIMPLE IM 1.0: history for who joins)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import Unavailable
from omaim.ids import Ids
from omaim.im.replay import Replay
from omaim.im.replay_store import ReplayStore
from omaim.im.room_rules import Rules
from omaim.stores.memory import memory_stores
from omaim.stores.records import NEVER, Conversation, HistoryEntry
from tests.im.rooms import ALICE, BOB, CAROL, DAVE, ROOM, Hall, cpim, device

OTHER = "sip:room.other@chat.example"


class Life:
    """What one process knows; the store is there for all.

    Attributes:
        turn: what is to be done in the next turn.
    """

    def __init__(self, store: Any, most: int = 3, size: int = 10_000, now: float = 1000.0) -> None:
        self.turn: list[Any] = []
        self.now = now
        self.store = ReplayStore(store, Ids(int(now)), self.turn.append, lambda: self.now, 500.0)
        self.replays = {room: Replay(most, size) for room in (ROOM, OTHER)}
        self.counts = {room: self._load(room) for room in self.replays}

    def _load(self, room: str) -> int:
        found: list[int] = []
        loading = Deferred.fromCoroutine(self.store.load(room, self.replays[room]))
        loading.addCallback(found.append)
        return found[0]

    def say(self, text: str, room: str = ROOM, size: int = 0) -> None:
        body = cpim(ALICE, room, text + "x" * size)
        self.replays[room].add("text/plain", body)
        self.store.note(room, self.replays[room], ALICE, body, text)

    def go(self) -> None:
        while self.turn:
            self.turn.pop(0)()

    def shown(self, room: str = ROOM) -> list[str]:
        """Return what somebody who is new gets to see."""
        said = self.replays[room].missed(BOB, False, "")
        return [one.body.decode().rpartition("\r\n\r\n")[2].rstrip("x") for one in said]


class ReplayStoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = memory_stores().history

    def kept(self, room: str = ROOM) -> tuple[int, int, int]:
        """Return how much the store has: segments, messages and octets."""
        found: Any = self.successResultOf(self.store.search(room))
        return len(found), sum(one.count for one in found), sum(one.size for one in found)

    def test_lives(self) -> None:
        """What was said to all in one life is shown in the next, the last of it."""
        life = Life(self.store)
        for number in range(5):
            life.say(str(number))
            life.go()
        life.say("elsewhere", OTHER)
        life.go()
        later = Life(self.store, now=1100.0)
        self.assertEqual((later.shown(), later.shown(OTHER)), (["2", "3", "4"], ["elsewhere"]))
        later.say("5")
        later.go()
        self.assertEqual(Life(self.store).shown(), ["3", "4", "5"])

    def test_acknowledged(self) -> None:
        """What waits for a message waits until that is durable; what is not is not kept."""
        life = Life(self.store)
        done: list[str] = []
        life.store.after(lambda: done.append("nothing"))
        life.say("one")
        life.store.after(lambda: done.append("one"))
        self.assertEqual(done, ["nothing"])
        self.assertEqual(Life(self.store).shown(), [])  # killed
        life.go()
        self.assertEqual(done, ["nothing", "one"])
        self.assertEqual(Life(self.store).shown(), ["one"])

    def test_bounded(self) -> None:
        """Never much more is kept than is shown, in number and in octets."""
        life = Life(self.store, most=10, size=3000)
        for number in range(200):
            life.say(str(number), size=100 * (number % 9))
            life.go()
            segments, count, octets = self.kept()
            self.assertLessEqual(segments, 2)
            self.assertLessEqual(count, 21)
            self.assertLessEqual(octets, 2 * (3000 + 1000))
        for number in range(500):  # during one commit
            life.say(str(number))
        life.go()
        self.assertLessEqual(self.kept()[1], 40)
        self.assertEqual(Life(self.store, most=10, size=3000).shown(), life.shown())

    def test_too_large(self) -> None:
        """What is too large to be shown again is not kept; nor anything where nothing is shown."""
        life = Life(self.store, size=500)
        life.say("large", size=600)
        life.go()
        self.assertEqual(self.kept(), (0, 0, 0))
        silent = Life(self.store, most=0)
        silent.say("one")
        silent.go()
        self.assertEqual(self.kept(), (0, 0, 0))

    def test_forgotten(self) -> None:
        """Nothing is left of a room that is no more, nor of what has expired."""
        life = Life(self.store)
        life.say("one")
        forgetting = Deferred.fromCoroutine(life.store.forget(ROOM))
        self.assertNoResult(forgetting)
        life.go()
        self.successResultOf(forgetting)
        self.assertEqual(self.kept(), (0, 0, 0))
        life.say("two")
        life.go()
        self.assertEqual(Life(self.store, now=1499.0).shown(), ["two"])
        self.assertEqual(Life(self.store, now=1500.0).shown(), [])

    def test_not_written(self) -> None:
        """A store that fails keeps nobody from speaking: that is logged."""
        life = Life(self.store)
        done: list[str] = []

        async def full(*args: Any) -> Any:
            raise Unavailable("the disk is full")

        record, self.store.record = self.store.record, full  # type: ignore[method-assign]
        life.say("one")
        life.store.after(lambda: done.append("one"))
        life.go()
        self.assertEqual(done, ["one"])
        self.store.record = record  # type: ignore[method-assign]
        life.say("two")
        life.go()
        self.assertEqual(Life(self.store).shown(), ["two"])

    def test_nonsense(self) -> None:
        """What is no message in the store is not shown, and records of others are not."""
        now = Conversation(ROOM, "r", "replay", ROOM, 0.0, 0.0, NEVER)
        bodies = (
            ("text/plain", b"no wrapper"),
            ("message/cpim", b"broken"),
            ("message/cpim", cpim(ALICE, ROOM, "good")),
        )
        entries = [HistoryEntry(ROOM, "r", 0.0, ALICE, ROOM, *one) for one in bodies]
        self.successResultOf(self.store.record(now, entries))
        other = Conversation(ROOM, "s", "conference", ROOM, 0.0)
        entry = HistoryEntry(ROOM, "s", 0.0, ALICE, ROOM, "message/cpim", cpim(ALICE, ROOM, "no"))
        self.successResultOf(self.store.record(other, [entry]))
        life = Life(self.store)
        self.assertEqual((life.counts[ROOM], life.shown()), (1, ["good"]))

    @given(
        most=st.integers(1, 5),
        size=st.integers(300, 3000),
        acts=st.lists(
            st.one_of(st.integers(0, 900), st.sampled_from(["commit", "kill", "stop"])),
            max_size=60,
        ),
    )
    def test_any_lives(self, most: int, size: int, acts: list[int | str]) -> None:
        """However messages, commits and kills follow one another: the next life shows the last
        messages that were durable, in their order, as many as the room shows."""
        self.setUp()
        life = Life(self.store, most, size)
        durable: list[tuple[str, int]] = []
        said: list[tuple[str, int]] = []
        for number, act in enumerate(acts):
            if isinstance(act, int):
                life.say(f"#{number}#", size=act)
                said.append((f"#{number}#", len(cpim(ALICE, ROOM, f"#{number}#" + "x" * act))))
                continue
            if act != "kill":
                life.go()
                durable += said
            said = []
            if act != "commit":
                life = Life(self.store, most, size, now=1000.0 + number)
                expected: list[str] = []
                octets = 0
                for name, weight in reversed([one for one in durable if one[1] <= size]):
                    octets += weight
                    if len(expected) == most or octets > size:
                        break
                    expected.insert(0, name)
                self.assertEqual(life.shown(), expected)
            self.assertLessEqual(self.kept()[0], 2)


class RoomLives(SynchronousTestCase):
    @given(
        most=st.integers(1, 4),
        acts=st.lists(
            st.tuples(
                st.sampled_from(
                    ["say", "say", "whisper", "join", "move", "leave", "commit", "kill"]
                ),
                st.integers(0, 2),
            ),
            max_size=50,
        ),
    )
    def test_any_lives(self, most: int, acts: list[tuple[str, int]]) -> None:
        """People come, go, move and talk while the process dies now and then: who is new in a
        life sees the last messages to all that were acknowledged, and no private one; nobody
        sees one twice by one session."""
        store = memory_stores().history
        people = (ALICE, BOB, CAROL)
        acknowledged: list[str] = []
        rules = Rules(replay=most, keep=1000, least=0, notices=False)

        def begin(number: int) -> tuple[Life, Hall]:
            life = Life(store, most, now=1000.0 + number)
            hall = Hall(rules, initiator="sip:nobody@north.example")
            hall.room.replay = life.replays[ROOM]
            hall.join(DAVE)
            return life, hall

        life, hall = begin(0)
        for number, (act, who) in enumerate((*acts, ("kill", 0)), 1):
            name = people[who]
            there = [one for one in hall.room.members if one.person.aor == name]
            if act == "commit":
                life.go()
            elif act == "kill":
                shown = list(dict.fromkeys(acknowledged))[-most:]
                life, hall = begin(number)
                self.assertEqual(device(hall.room.members[0]).texts(), shown)
            elif act in ("join", "move"):
                if not there or act == "move":
                    hall.join(name, device="d1")
            elif there and act == "leave":
                hall.room.leave(there[0], hall.now)
            elif there:
                text = f"#{number}#"
                post = hall.say(there[0], text, DAVE if act == "whisper" else ROOM)
                self.assertEqual(post.status, 200)
                if act == "say":
                    assert post.whole is not None
                    life.store.note(ROOM, hall.room.replay, post.sender, post.whole, text)
                    life.store.after(lambda text=text: acknowledged.append(text))
            for one in hall.room.members:
                texts = device(one).texts()
                self.assertEqual(len(set(texts)), len(texts))
