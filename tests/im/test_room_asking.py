"""Service features decide who comes into a room and what is said there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.features.wordfilter import Config as Words
from omaim.features.wordfilter import wordfilter
from omaim.im.chatroom import Room
from omaim.im.room_asking import RoomAsking
from omaim.im.room_rules import NONE
from omaim.node.hooks import Deliver, Hooks, Refuse
from omaim.node.questions import MayJoin, MayPost
from tests.im.rooms import ALICE, BOB, ROOM, Hall, device

Act = Callable[[Any], Awaitable[object]]


class AskingTests(SynchronousTestCase):
    def begin(self, on: type[Any] | None = None, act: Act | None = None) -> None:
        self.hall = Hall()
        self.done: list[Room] = []
        self.hooks = Hooks()
        if on is not None and act is not None:
            self.hooks.add(on, "test", act)
        self.asking = RoomAsking(
            self.hooks, "north.example", lambda: self.hall.now, self.done.append
        )
        self.asking.attend(self.hall.room)
        self.alice, self.bob = self.hall.join(ALICE), self.hall.join(BOB)

    def may_join(self, uri: str, hidden: bool = False) -> Deferred[None]:
        applicant = self.hall.applicant(uri, hidden)
        return Deferred.fromCoroutine(self.asking.may_join(self.hall.room, applicant))

    def test_nobody_asks(self) -> None:
        """Without features the room's rules alone decide."""
        self.begin()
        self.assertIsNone(self.hall.room.asks)
        self.successResultOf(self.may_join(BOB))
        self.hall.others = NONE
        error: Any = self.failureResultOf(self.may_join(BOB), PeerError).value
        self.assertEqual(error.status, 403)

    def test_join(self) -> None:
        """A feature knows who it is, and may refuse; not when the rules refuse already."""
        seen: list[MayJoin] = []

        async def act(question: MayJoin) -> Refuse | None:
            seen.append(question)
            return Refuse(486, "Later") if question.anonymous else None

        self.begin(MayJoin, act)
        self.successResultOf(self.may_join("sip:carol@south.example"))
        error: Any = self.failureResultOf(
            self.may_join("sip:carol@south.example", True), PeerError
        ).value
        self.assertEqual((error.status, error.why), (486, "Later"))
        expected = MayJoin(
            "north.example", ROOM, "chat", "sip:carol@south.example", False, False, 2
        )
        self.assertEqual(seen[0], expected)
        self.hall.room.end("x", 0)
        self.failureResultOf(self.may_join(BOB), PeerError)
        self.assertEqual(len(seen), 2)

    def test_join_crash(self) -> None:
        """A feature that fails lets nobody in."""

        async def act(question: MayJoin) -> None:
            raise ValueError

        self.begin(MayJoin, act)
        error: Any = self.failureResultOf(self.may_join(BOB), PeerError).value
        self.assertEqual(error.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_post(self) -> None:
        """A feature sees a message before anybody gets it."""
        seen: list[MayPost] = []

        async def act(question: MayPost) -> None:
            seen.append(question)

        self.begin(MayPost, act)
        post = self.hall.say(self.alice, "hello", to=BOB)
        self.assertEqual((post.status, device(self.bob).texts()), (200, ["hello"]))
        self.assertEqual(self.done, [self.hall.room])
        (question,) = seen
        self.assertEqual((question.side, question.sender, question.text), ("room", ALICE, "hello"))
        self.assertEqual((question.recipients, question.content_type), ((BOB,), "text/plain"))
        self.assertEqual(question.size, post.received)

    def test_anonymous(self) -> None:
        """Who is anonymous is so to features that look at messages, as in pager mode."""
        seen: list[str] = []

        async def act(question: MayPost) -> None:
            seen.append(question.sender)

        self.begin(MayPost, act)
        self.hall.say(self.hall.join("sip:carol@south.example", hidden=True))
        self.assertEqual(seen, ["sip:anonymous1@anonymous.invalid"])

    def test_statuses(self) -> None:
        """What MSRP cannot answer becomes 403 (RFC 4975 §10)."""
        for status, answer in ((403, 403), (413, 413), (415, 415), (480, 403), (500, 403)):

            async def act(question: MayPost, status: int = status) -> Refuse:
                return Refuse(status, "No")

            self.begin(MayPost, act)
            post = self.hall.say(self.alice)
            self.assertEqual((post.status, post.comment), (answer, "No"))
            self.assertEqual(device(self.bob).got, [])

    def test_crash(self) -> None:
        """A feature that fails lets nothing through."""

        async def act(question: MayPost) -> None:
            raise ValueError

        self.begin(MayPost, act)
        self.assertEqual(self.hall.status(self.alice), 403)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_later(self) -> None:
        """While a feature thinks, messages of the same sender wait, and keep their order."""
        thoughts: list[Deferred[object]] = []

        async def act(question: MayPost) -> object:
            thoughts.append(Deferred())
            return await thoughts[-1]

        self.begin(MayPost, act)
        posts = [self.hall.say(self.alice, text) for text in ("one", "two", "three")]
        thoughts[2].callback(None)
        thoughts[1].callback(Deliver("2"))
        self.assertEqual([one.status for one in posts], [0, 0, 0])
        thoughts[0].callback(Refuse(403, "No"))
        self.assertEqual([one.status for one in posts], [403, 200, 200])
        self.assertEqual(device(self.bob).texts(), ["2", "three"])

    def test_wordfilter(self) -> None:
        """The word filter works in rooms."""

        async def act(question: MayPost) -> object:
            return await wordfilter.act(question, Words(words=("darn",), action="mask"))

        self.begin(MayPost, act)
        self.hall.say(self.alice, "darn it")
        self.assertEqual(device(self.bob).texts(), ["**** it"])
