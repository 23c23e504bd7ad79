"""What is said while an MSRP connection breaks: it arrives once, or its sender is told."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from omaim.client.conversation import Conversation
from omaim.client.failures import Ended
from omaim.msrp import Session
from omaim.testing.network import Link
from tests.client.support import HomeTests, PairTests

LONG = "x" * 900_000  # more than the network swallows at once


class DirectTests(PairTests):
    """Alice and bob, and nobody between."""

    def setUp(self) -> None:
        super().setUp()
        self.hers, self.his = self.talk()
        self.got: list[str] = []
        self.his.on_message(lambda message: self.got.append(message.text))

    def send(self, talk: Conversation, text: str) -> Deferred[Any]:
        return Deferred.fromCoroutine(talk.send(text))

    def test_in_the_middle(self) -> None:
        """What had not arrived whole is sent again by the next session (RFC 4975 §5.4)."""
        self.network.between("10.0.0.21", "10.0.0.22", Link(delay=0.2))
        sending = [self.send(self.hers, text) for text in ("before", LONG, "behind")]
        self.settle(3.0)
        self.network.reset("10.0.0.21")
        later = self.send(self.hers, "meanwhile")
        self.settle(60.0)
        for one in (*sending, later):
            self.successResultOf(one)
        self.assertCountEqual(self.got, ["before", LONG, "behind", "meanwhile"])

    def test_answer_lost(self) -> None:
        """What has arrived, and whose answer was lost, is not shown again: same Message-ID."""
        self.network.between("10.0.0.21", "10.0.0.22", Link(delay=0.2))
        sending = Deferred.fromCoroutine(self.hers.send("once", reports=()))
        while not self.got:
            self.settle(0.01)
        self.network.reset("10.0.0.21")
        self.assertNoResult(sending)
        self.settle(30.0)
        self.assertEqual(self.successResultOf(sending).status, "pending")
        self.assertEqual(self.got, ["once"])
        self.assertFalse(self.hers.ended or self.his.ended)

    def test_callee(self) -> None:
        """Who was called sends again, too, and offers another session if the caller does not."""
        self.patch(self.hers._mending, "_offer", lambda: None)  # she has other things to do
        self.network.between("10.0.0.21", "10.0.0.22", Link(delay=0.2))
        sending = self.send(self.his, "from bob")
        self.settle(0.25)
        self.network.reset("10.0.0.21")
        self.settle(3.0)
        self.assertNoResult(sending)
        self.settle(10.0)
        self.successResultOf(sending)
        self.assertEqual(self.successResultOf(self.hers.next()).text, "from bob")

    def test_never_again(self) -> None:
        """Where there is no other session each message fails, and says so."""
        self.network.between("10.0.0.21", "10.0.0.22", Link(delay=0.2))
        sending = [self.send(self.hers, "one"), self.send(self.hers, LONG)]
        self.settle(0.1)
        self.network.cut("10.0.0.21")
        self.network.reset("10.0.0.21")
        self.settle(1.0)
        sending.append(self.send(self.hers, "meanwhile"))
        self.settle(90.0)
        for one in sending:
            self.failureResultOf(one, Ended)
        self.assertTrue(self.hers.ended and self.his.ended)


class ThroughServerTests(HomeTests):
    """Alice and bob by their IM Server, which has a session with each."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.registered("alice"), self.registered("bob")
        for client in (self.alice, self.bob):
            self.addCleanup(lambda client=client: self.wait(client.close()))  # type: ignore[misc]
        begun: list[Conversation] = []
        self.bob.auto_accept = True
        self.bob.on_conversation(begun.append)
        self.hers = self.wait(self.alice.invite("bob"))
        self.settle()
        (self.his,) = begun
        self.got: dict[str, list[str]] = {"alice": [], "bob": []}
        self.hers.on_message(lambda message: self.got["alice"].append(message.text))
        self.his.on_message(lambda message: self.got["bob"].append(message.text))
        for host in ("10.0.0.11", "10.0.0.12"):
            self.network.between(host, "10.0.0.2", Link(delay=0.1))

    @staticmethod
    def session(talk: Conversation) -> Session:
        assert talk.talk.medium is not None
        return talk.talk.medium.session

    def cut(self, host: str, texts: tuple[str, ...], before: float) -> None:
        """Let alice say something, and break the MSRP connection of one in the middle of it."""
        sending = [Deferred.fromCoroutine(self.hers.send(text)) for text in texts]
        back = [Deferred.fromCoroutine(self.his.send(text)) for text in texts]
        self.settle(before)
        longest = texts.index(max(texts, key=len))
        for one in (sending[longest], back[longest]):
            self.assertNoResult(one)
        victim = self.hers if host == "10.0.0.11" else self.his
        lost = self.session(victim)
        self.network.reset(host, "10.0.0.2")
        self.settle(0.01)
        self.assertTrue(lost.closed)
        sending.append(Deferred.fromCoroutine(self.hers.send("meanwhile")))
        back.append(Deferred.fromCoroutine(self.his.send("meanwhile")))
        self.settle(90.0)
        for one in (*sending, *back):
            self.successResultOf(one)
        self.assertFalse(self.hers.ended or self.his.ended)
        self.assertIsNot(self.session(victim), lost)
        for got in self.got.values():
            heard = [text[:9] for text in got]
            self.assertCountEqual(heard, [text[:9] for text in (*texts, "meanwhile")])

    def test_caller(self) -> None:
        """The caller's connection breaks: it offers the server another session."""
        self.cut("10.0.0.11", ("one", "two"), 0.15)

    def test_caller_long(self) -> None:
        """In the middle of long messages both ways."""
        self.cut("10.0.0.11", ("one", LONG, "two"), 1.0)

    def test_callee(self) -> None:
        """The callee's connection breaks: the server offers it another session."""
        self.cut("10.0.0.12", ("one", "two"), 0.15)

    def test_callee_long(self) -> None:
        """In the middle of long messages: each is sent again from where all of it is."""
        self.cut("10.0.0.12", ("one", LONG, "two"), 1.0)

    def test_any_moment(self) -> None:
        """Whenever whichever connection breaks: nothing is lost, nothing comes twice."""
        for moment in range(24):
            host = ("10.0.0.11", "10.0.0.12", "10.0.0.2")[moment % 3]  # the last breaks them all
            texts = (f"{moment} one", f"{moment} {LONG}", f"{moment} two")
            sending = [
                Deferred.fromCoroutine(talk.send(text))
                for text in texts
                for talk in (self.hers, self.his)
            ]
            self.settle(0.05 + 0.2 * moment)
            self.network.reset(host, "10.0.0.2")
            self.settle(120.0)
            for one in sending:
                self.assertIn(self.successResultOf(one).status, ("pending", "delivered"))
            for got in self.got.values():
                self.assertCountEqual([text[:9] for text in got], [text[:9] for text in texts])
                got.clear()

    def test_hearer_gone(self) -> None:
        """What is said while the hearer cannot be had fails in the end, and its sender is told."""
        self.network.cut("10.0.0.12")
        self.network.reset("10.0.0.12", "10.0.0.2")
        self.settle(0.5)
        sent = self.wait(self.hers.send("anybody?"))
        self.settle(90.0)
        self.assertEqual(sent.status, "failed")
        self.assertTrue(self.hers.ended)
        self.assertEqual(self.got["bob"], [])
