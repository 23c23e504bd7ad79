"""omaim/node/hooks.py and questions.py: the first opinion wins, a crash means what it says."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.node.hooks import Deliver, Hooks, Refuse, feature
from omaim.node.questions import MayPost, Question, WhereTo


def post(text: str = "hello") -> MayPost:
    return MayPost(
        "north.example", "originating", "sip:a@b", ("sip:c@d",), "text/plain", text, len(text)
    )


class HooksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.hooks = Hooks()
        self.asked: list[str] = []

    def ask(self, question: Question) -> object:
        return self.successResultOf(Deferred.fromCoroutine(self.hooks.ask(question)))

    def add(self, name: str, opinion: object, order: int = 0) -> None:
        async def act(question: MayPost) -> object:
            self.asked.append(name)
            return opinion

        self.hooks.add(MayPost, name, act, order)

    def test_nobody(self) -> None:
        """Nobody asked is no opinion, and it is known beforehand."""
        self.assertFalse(self.hooks.wanted(MayPost))
        self.assertIsNone(self.ask(post()))

    def test_first_opinion(self) -> None:
        """Hooks are asked by their order until one has an opinion."""
        self.add("last", Refuse(403, "last"), 10)
        self.add("silent", None, -1)
        self.add("first", Deliver("x"))
        self.assertTrue(self.hooks.wanted(MayPost))
        self.assertEqual(self.ask(post()), Deliver("x"))
        self.assertEqual(self.asked, ["silent", "first"])

    def test_same_order(self) -> None:
        """Of the same order, who came first is asked first."""
        for name in "abc":
            self.add(name, None)
        self.assertIsNone(self.ask(post()))
        self.assertEqual(self.asked, ["a", "b", "c"])

    def test_other_question(self) -> None:
        """A hook hears its own question only."""
        self.add("x", Refuse())
        self.assertFalse(self.hooks.wanted(WhereTo))
        self.assertIsNone(self.ask(WhereTo("north.example", "MESSAGE", "sip:x@y", "")))

    def test_crash(self) -> None:
        """A crash is logged; it refuses or is ignored as the question says."""

        async def crash(question: Question) -> object:
            raise RuntimeError("oops")

        self.hooks.add(MayPost, "broken", crash)
        self.hooks.add(WhereTo, "broken", crash)
        opinion = self.ask(post())
        assert isinstance(opinion, Refuse)
        self.assertEqual(opinion.status, 500)
        self.assertIsNone(self.ask(WhereTo("north.example", "MESSAGE", "sip:x@y", "")))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_feature(self) -> None:
        """A decorated function is what plugin discovery finds, and can be called as before."""

        @attrs.frozen
        class Config:
            limit: int = 3

        @feature("short", on=MayPost, order=5, config=Config)
        async def short(question: MayPost, config: Config) -> Refuse | None:
            return Refuse() if len(question.text) > config.limit else None

        self.assertEqual((short.name, short.on, short.order), ("short", MayPost, 5))
        asked = Deferred.fromCoroutine(short(post("long text"), Config()))
        self.assertEqual(self.successResultOf(asked), Refuse())
