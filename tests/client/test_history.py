"""A client has its conversations recorded, looks at them, fetches and deletes them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from omaim.bodies.im_settings import ServiceSettings, parse_settings
from omaim.client.failures import (
    Busy,
    NoAnswer,
    NotFound,
    Refused,
)
from omaim.im.content import Content
from omaim.im.policy import Settings
from tests.client.support import ALICE, BOB, HomeTests, ServedTests
from tests.client.test_prompt import start


class HistoryTests(HomeTests):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.registered("alice"), self.registered("bob")
        self.wait(self.bob.history.switch(pager=True))

    def talk(self) -> None:
        """Let Alice and Bob talk."""
        self.wait(self.alice.send("bob", "one", subject="S"))
        self.wait(self.bob.send("alice", "two"))
        self.wait(self.bob.send("carol", "three", plain=True))

    def test_switch(self) -> None:
        """History is on from the answer on, by mode, and off again."""
        wants = self.im.published.of
        self.assertEqual(wants(BOB), Settings(history_pager=True))
        self.wait(self.bob.history.switch(session=True))
        self.assertEqual(wants(BOB), Settings(history_pager=True, history_session=True))
        self.wait(self.bob.history.switch(pager=False))
        self.assertEqual(wants(BOB), Settings(history_session=True))

    def test_outlives(self) -> None:
        """What is to be recorded goes on while nobody is there; being away does not."""
        self.wait(self.bob.settings.be(active=False))
        self.assertEqual(self.im.published.of(BOB), Settings(willing=False, history_pager=True))
        self.wait(self.bob.close())
        self.assertEqual(self.im.published.of(BOB), Settings(history_pager=True))
        self.wait(self.alice.send("bob", "while you were out"))
        bob = self.registered("bob")
        (one,) = self.wait(bob.history.list())
        (said,) = self.wait(bob.history.fetch([one]))
        self.assertEqual(said.text, "while you were out")

    def test_refreshed(self) -> None:
        """What was published stands as long as the client does."""
        self.wait(self.bob.settings.be(active=False))
        self.settle(20_000.0)
        self.assertEqual(self.im.published.of(BOB), Settings(willing=False, history_pager=True))

    def test_two_devices(self) -> None:
        """Either device may switch, and both see the same."""
        desk = self.registered("bob")
        self.wait(desk.settings.be(active=True))
        self.wait(self.bob.settings.be(active=False, visible=True))
        self.assertTrue(self.im.published.of(BOB).willing)
        self.talk()
        seen = self.wait(desk.history.list())
        self.assertEqual(seen, self.wait(self.bob.history.list()))
        self.assertEqual(len(seen), 3)
        self.settle(1.0)
        self.wait(desk.history.switch(pager=False))
        self.assertFalse(self.im.published.of(BOB).history_pager)
        self.wait(desk.close())
        self.assertFalse(self.im.published.of(BOB).willing)

    def test_list(self) -> None:
        """What was recorded last, with its sides."""
        self.assertEqual(self.wait(self.bob.history.list()), ())
        self.talk()
        found = self.wait(self.bob.history.list())
        sides = [(one.pager.sender, one.pager.recipient) for one in found if one.pager]
        carol = self.bob.address("carol")
        self.assertEqual(sides, [(ALICE, BOB), (BOB, ALICE), (BOB, carol)])
        self.assertEqual(self.wait(self.bob.history.list(2)), found[1:])
        self.assertEqual(self.wait(self.alice.history.list()), ())

    def test_search(self) -> None:
        """By the other side, by time, page by page."""
        self.talk()
        search = self.bob.history.search
        self.assertEqual(len(self.wait(search(ALICE)).entries), 2)
        now = self.node.now()
        self.assertEqual(self.wait(search(since=now + 60)).entries, ())
        self.assertEqual(len(self.wait(search(ALICE, now - 60, now + 60)).entries), 2)
        first = self.wait(search(limit=2))
        rest = self.wait(search(limit=2, after=first.next))
        self.assertEqual((len(first.entries), len(rest.entries), rest.next), (2, 1, 0))

    def test_fetch(self) -> None:
        """What was said, with its original time; nothing comes as a new message or is reported."""
        self.talk()
        one, _, three = self.wait(self.bob.history.list())
        self.settle(1000.0)
        incoming = self.wait(self.bob.inbox.next())
        self.assertEqual(incoming.text, "one")
        said = self.wait(self.bob.history.fetch([three, one.reference]))
        self.assertEqual([each.text for each in said], ["three", "one"])
        self.assertEqual((said[1].sender, said[1].to, said[1].subject), (ALICE, (BOB,), "S"))
        self.assertEqual(said[1].message_id, incoming.message_id)
        self.assertLess(said[1].sent_at, self.node.now() - 900)
        self.assertEqual(said[0].sender, BOB)
        self.settle(10.0)
        self.assertNoResult(self.bob.inbox.next())

    def test_at_the_same_time(self) -> None:
        """Two who want the same get it."""
        self.talk()
        one, *_ = self.wait(self.bob.history.list())
        both = [Deferred.fromCoroutine(self.bob.history.fetch([one])) for _ in range(2)]
        for fetching in both:
            (said,) = self.wait(fetching)
            self.assertEqual(said.text, "one")

    def test_by_session(self) -> None:
        """What does not fit into pager mode comes in a session."""
        recorder = self.im.recorder
        self.wait(self.bob.history.switch(session=True))
        session = self.wait(recorder.begin(BOB, ALICE))
        large = Content("text/plain", b"x" * 2000)
        self.wait(recorder.keep(BOB, ALICE, ALICE, (BOB,), large, "id", self.node.now()))
        talk, big = self.wait(self.bob.history.list())
        for wanted in (talk, session):
            self.assertEqual(self.wait(self.bob.history.fetch([wanted])), ())
        (said,) = self.wait(self.bob.history.fetch([big]))
        self.assertEqual(said.text, "x" * 2000)

    def failureOf(self, doing: Any, kind: type[Exception]) -> Exception:
        try:
            self.wait(doing)
        except kind as error:
            return error
        raise AssertionError(f"no {kind.__name__}")

    def test_delete(self) -> None:
        """Some, then all."""
        self.talk()
        one, *_ = self.wait(self.bob.history.list())
        self.wait(self.bob.history.delete([one.reference]))
        self.assertEqual(len(self.wait(self.bob.history.list())), 2)
        self.failureOf(self.bob.history.delete([one.reference]), NotFound)
        self.failureOf(self.bob.history.fetch([one]), NotFound)
        self.wait(self.bob.history.delete())
        self.assertEqual(self.wait(self.bob.history.list()), ())

    def test_prompt(self) -> None:
        """A person switches it on, sees it, fetches and deletes."""
        paper, _ = start(self, self.client("alice"))

        def typed(line: str) -> list[str]:
            before = len(paper.lines)
            paper.on_line(line)
            self.settle(3.0)
            return paper.lines[before:]

        self.assertIn("Nothing is recorded", typed("/history")[0])
        self.assertEqual(typed("/history on"), ["Your conversations are recorded."])
        self.assertEqual(self.im.published.of(ALICE).history_session, True)
        typed("/to bob first\tline")
        self.wait(self.bob.send("alice", "two\nlines"))
        shown = typed("/history bob")
        self.assertRegex(shown[0], r"^  1\. \d\d:\d\d you to bob, \d+ octets$")
        self.assertRegex(shown[1], r"^  2\. \d\d:\d\d bob to you, \d+ octets$")
        got = typed("/history get 2,1")
        self.assertRegex(got[0], r"^  \d\d:\d\d bob: two$")
        self.assertEqual(got[1], "      lines")
        self.assertRegex(got[2], r"you: first\tline$")
        self.assertIn("Nothing is recorded", typed("/history carol")[0])
        self.assertIn("There is no message 1", typed("/history get 1")[0])
        self.assertIn("Say which", typed("/history delete")[0])
        self.assertIn("Type /history", typed("/history bob now")[0])
        typed("/history")
        self.assertEqual(typed("/history delete 1"), ["Deleted."])
        self.assertEqual(len(typed("/history")), 2)
        self.assertEqual(typed("/history delete all"), ["Deleted."])
        session = self.wait(self.im.recorder.begin(ALICE, BOB, subject="Lunch"))
        self.assertRegex(typed("/history")[0], r"1\. \d\d:\d\d session with bob, Lunch$")
        self.assertEqual(typed("/history get 1"), ["Nothing was said."])
        self.wait(self.im.recorder.end(ALICE, session))
        self.assertEqual(typed("/history off"), ["Your conversations are not recorded any more."])


class ServerTests(ServedTests):
    """Against a server that does as a test says."""

    def setUp(self) -> None:
        super().setUp()
        self.published: list[Any] = []
        self.statuses = [200]
        self.server.ua.on("PUBLISH", self.publish)

    def publish(self, incoming: Any) -> Any:
        self.published.append(incoming.request)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        headers = [("SIP-ETag", f"e{len(self.published)}"), ("Expires", "600")]
        return incoming.response(status, headers if status == 200 else [])

    def test_publish(self) -> None:
        """Being there and wishes are published each by itself (RFC 3903 §4)."""
        settings = self.alice.settings
        self.wait(settings.want(deferred=False))
        self.wait(settings.be(active=True))
        self.wait(settings.want(history_pager=True))
        wish, there, again = self.published
        self.assertEqual((wish.uri, wish.first("Event")), (ALICE, "im-settings"))
        self.assertEqual(parse_settings(wish.body), ServiceSettings(deferred=False))
        self.assertEqual(parse_settings(there.body), ServiceSettings(active=True))
        self.assertEqual(
            parse_settings(again.body), ServiceSettings(deferred=False, history_pager=True)
        )
        self.assertEqual(again.first("SIP-If-Match"), "e1")
        self.assertIsNone(there.first("SIP-If-Match"))

    def test_refused(self) -> None:
        """A server that does not want it says so."""
        self.statuses = [403]
        with self.assertRaises(Refused):
            self.wait(self.alice.history.switch(pager=True))

    def test_silence(self) -> None:
        """A server that cannot now is asked again; whoever waits is told after a while."""
        self.statuses = [503, 503, 503, 503, 503, 503, 200]
        with self.assertRaises((NoAnswer, Busy)):
            self.wait(self.alice.history.switch(pager=True))

    def test_not_sent(self) -> None:
        """A recorded message that does not come is not waited for for ever."""
        self.server.script = [202]
        with self.assertRaises(NoAnswer):
            self.wait(self.alice.history.fetch(["r1"]))

    def test_not_asked(self) -> None:
        """What the function sends and nobody asked for here is no message."""
        self.wait(self.alice.register())
        headers = [("Content-ID", "<r1.5@north.example>")]
        told = self.server.message(
            b"x", "image/png", sender="sip:history@north.example", headers=headers
        )
        self.assertEqual(self.wait(told).status, 200)
        self.assertNoResult(self.alice.inbox.next())
