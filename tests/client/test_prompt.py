"""What a person at the prompt sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from omaim.client import Client
from omaim.client.line_editor import Completer
from omaim.client.messages import Typing
from omaim.client.prompt import Prompt
from omaim.client.terminal import nothing
from tests.client.support import (
    ALICE,
    BOB,
    CORE,
    DOMAIN,
    ClientTests,
    HomeTests,
    ServedTests,
    envelope,
)


class Paper:
    """A screen that keeps what is shown."""

    patient = False

    def __init__(self) -> None:
        self.on_line: Callable[[str], object] = nothing
        self.on_key: Callable[[], object] = nothing
        self.on_end: Callable[[], object] = nothing
        self.lines: list[str] = []
        self.prompt = ""
        self.line = ""
        self.stopped = False
        self.complete: Completer = lambda before: []

    def start(self, complete: Completer) -> None:
        self.complete = complete

    def show(self, text: str, style: str = "") -> None:
        self.lines.append(text)

    def ask(self, prompt: str) -> None:
        self.prompt = prompt

    def stop(self) -> None:
        self.stopped = True


def start(
    test: ClientTests, client: Client, folder: Path | str = "."
) -> tuple[Paper, Deferred[int]]:
    """Begin a prompt, which ends with the test."""
    paper = Paper()
    running = Deferred.fromCoroutine(Prompt(client, paper, test.clock, folder).run())
    test.settle(3.0)

    def end() -> None:
        paper.on_end()
        test.settle(40.0)

    test.addCleanup(end)
    return paper, running


class PromptTests(HomeTests):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.client("alice")
        self.paper, self.running = start(self, self.alice)

    def type(self, line: str, seconds: float = 1.0) -> list[str]:
        """Type a line; return what was shown because of it."""
        before = len(self.paper.lines)
        self.paper.on_key()
        self.paper.on_line(line)
        self.settle(seconds)
        return self.paper.lines[before:]

    def test_greeting(self) -> None:
        """The first lines say who one is, and what to do next."""
        self.assertIn("You are alice", self.paper.lines[0])
        self.assertIn("registered", self.paper.lines[1])
        self.assertIn("/to", self.paper.lines[2])
        self.assertIn("/help", self.paper.lines[2])

    def test_to_nobody(self) -> None:
        """Text without a recipient is not lost silently."""
        (told,) = self.type("hello?")
        self.assertIn("/to bob", told)

    def test_talk(self) -> None:
        """Choose somebody, then just type; the answers appear with their author."""
        bob = self.registered("bob")
        self.type("/to bob")
        self.assertEqual(self.paper.prompt, "bob> ")
        sent, got = self.type("hello bob")
        self.assertRegex(sent, r"^\d\d:\d\d you to bob: hello bob$")
        self.assertEqual(got, "  bob has got: hello bob")
        message = self.successResultOf(bob.inbox.next())
        before = len(self.paper.lines)
        message.read()
        self.wait(message.reply("hello alice\nsecond line"))
        self.settle()
        self.assertEqual(self.paper.lines[before], "  bob has read: hello bob")
        self.assertRegex(self.paper.lines[before + 1], r"^\d\d:\d\d bob: hello alice$")
        self.assertEqual(self.paper.lines[before + 2], "      second line")

    def test_display_report_waits_for_a_key(self) -> None:
        """A message counts as read when somebody is at the keys."""
        bob = self.registered("bob")
        sent = self.wait(bob.send("alice", "look"))
        self.settle(60.0)
        self.assertEqual(sent.status, "delivered")
        self.paper.on_key()
        self.settle()
        self.assertEqual(sent.status, "displayed")

    def test_answer_first(self) -> None:
        """Who writes first is who gets the answer."""
        bob = self.registered("bob")
        self.wait(bob.send("alice", "are you there?"))
        self.assertEqual(self.paper.prompt, "bob> ")
        self.type("yes")
        self.assertEqual(self.successResultOf(bob.inbox.next()).text, "yes")

    def test_offline(self) -> None:
        """A message to somebody offline is said to be kept, and later to have arrived."""
        shown = self.type("/to bob see you")
        self.assertIn("kept for later", shown[-1])
        self.registered("bob")
        self.settle()
        self.assertEqual(self.paper.lines[-1], "  bob has got: see you")

    def test_list(self) -> None:
        """A list message names everybody."""
        bob, carol = self.registered("bob"), self.registered("carol")
        shown = self.type("/list bob,carol lunch at noon")
        self.assertIn("you to bob, carol: lunch at noon", shown[0])
        self.assertEqual(len([one for one in shown if "has got" in one]), 2)
        self.assertEqual(self.successResultOf(bob.inbox.next()).text, "lunch at noon")
        self.wait(carol.send_list(["alice", "bob"], "fine"))
        self.settle()
        self.assertTrue(any("carol (also to bob): fine" in one for one in self.paper.lines))
        self.assertIn("/list bob,carol", self.type("/list bob")[0])

    def test_group(self) -> None:
        """What is for a group says so, and is answered to the group."""
        bob = self.registered("bob")
        self.group(f"sip:room.tea@{DOMAIN}", f"{ALICE} {BOB}")
        self.wait(bob.send("room.tea", "tea is ready"))
        self.settle()
        self.assertTrue(any("room.tea bob: tea is ready" in one for one in self.paper.lines))
        self.assertEqual(
            self.paper.lines[-1], "  What you type now goes to room.tea; /to changes that."
        )
        shown = self.type("coming")
        self.assertEqual(shown[1], "  The server has taken it for everybody in room.tea.")
        self.assertEqual(self.successResultOf(bob.inbox.next()).group, f"sip:room.tea@{DOMAIN}")

    def test_unknown(self) -> None:
        """Failures are sentences that say what to do."""
        self.assertEqual(
            self.type("/to nobody hello")[-1],
            "Nobody has this address here. Check how it is written.",
        )
        self.assertEqual(self.paper.prompt, "> ")
        self.assertNotIn("nobody", self.paper.complete("/to n"))
        self.assertIn("NotFound, status 404", self.type("/why")[-1])
        self.assertIn("write sip:alice@north.example", self.type("/to http://x")[-1])
        self.assertIn("is not there now", self.type("/to bob " + "x" * 1400)[-1])

    def test_commands(self) -> None:
        """Commands can be shortened, and mistyped ones are guessed."""
        self.assertTrue(any("/list A,B,C TEXT" in one for one in self.type("/help")))
        self.assertIn("You are alice, registered", self.type("/WHO")[0])
        self.assertEqual(self.type("/acc"), ["Nobody asks for anything now."])
        self.assertIn("Did you mean /quit?", self.type("/qiut")[0])
        self.assertIn("There is no /xyzzy.", self.type("/xyzzy")[0])
        self.assertIn("Type /to and a name", self.type("/to")[0])

    def test_told_while_typing(self) -> None:
        """Who is written to sees that, outside of sessions too; not of commands (RFC 3994)."""
        bob = self.registered("bob")
        told: list[Typing] = []
        bob.on_typing(told.append)
        self.type("/to bob")
        for line in ("/", "/h", "", "H", "Hi", "Hi there"):
            self.paper.line = line
            self.paper.on_key()
            self.settle(0.2)
        self.assertEqual(told, [Typing(self.alice.identity, True)])
        self.type("Hi there")
        self.settle(60.0)
        self.assertEqual([one.active for one in told], [True])
        self.assertEqual(self.successResultOf(bob.inbox.next()).text, "Hi there")
        self.wait(bob.close())
        for line in ("a", "ab"):
            self.paper.line = line
            self.paper.on_key()
            self.settle(100.0)
        self.assertEqual(self.wait(self.registered("bob").deferred.list()), ())

    def test_can(self) -> None:
        """What somebody's client takes can be asked; nothing is guessed of who is not there."""
        bob = self.registered("bob")
        shown = self.type("/can bob")
        self.assertEqual(
            shown[0], "bob's client takes short messages, large messages, talks, files."
        )
        self.assertIn("text/plain", shown[1])
        self.wait(bob.close())
        self.assertIn("bob does not say now (480", self.type("/can bob")[-1])

    def test_leave_while_it_rings(self) -> None:
        """Who leaves while somebody is being called does not wait for the answer."""
        bob = self.registered("bob")
        bob.on_invitation(lambda invited: None)
        self.type("/talk bob")
        self.type("/quit", 10.0)
        self.assertEqual(self.successResultOf(self.running), 0)
        self.assertEqual(bob.conversations, [])
        self.wait(bob.close())

    def test_slash(self) -> None:
        """Two slashes send a line that begins with one."""
        bob = self.registered("bob")
        self.type("/to bob")
        self.type("//etc/passwd")
        self.assertEqual(self.successResultOf(bob.inbox.next()).text, "/etc/passwd")

    def test_who(self) -> None:
        """One can see whom one talked to."""
        self.type("/to bob hello")
        shown = self.type("/who")
        self.assertIn("You talked to: bob.", shown)
        self.assertIn("What you type goes to bob.", shown)

    def test_complete(self) -> None:
        """Tab knows the commands and the people."""
        self.type("/to bob hello")
        self.type("/to xenia@south.example")
        complete = self.paper.complete
        self.assertEqual(complete("/he"), ["/help "])
        self.assertEqual(complete("/to b"), ["/to bob"])
        self.assertEqual(complete("/list bob,x"), ["/list bob,xenia@south.example"])
        self.assertEqual(complete("/deferred g"), ["/deferred get "])
        self.assertEqual(complete("hello b"), [])
        self.assertEqual(complete("/to bob he"), [])

    def test_quit(self) -> None:
        """Leaving ends registration and program."""
        self.type("/quit", 5.0)
        self.assertEqual(self.successResultOf(self.running), 0)
        self.assertTrue(self.paper.stopped)
        self.assertFalse(self.alice.registered)

    def test_end_of_input(self) -> None:
        """What was typed before the input ended is still done."""
        self.registered("bob")
        self.paper.on_line("/to bob last words")
        self.paper.on_end()
        self.settle(5.0)
        self.assertEqual(self.successResultOf(self.running), 0)
        self.assertTrue(any("you to bob: last words" in one for one in self.paper.lines))

    def test_typing(self) -> None:
        """Who is writing is shown."""
        bob = self.registered("bob")
        body = (
            b"<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'>"
            b"<state>active</state></isComposing>"
        )
        kind = "application/im-iscomposing+xml"
        self.wait(bob.send("alice", body, content_type=kind, plain=True))
        self.assertEqual(self.paper.lines[-1], "  bob is writing …")


class NoticeTests(HomeTests):
    def im_settings(self) -> dict[str, Any]:
        return {"delivery": "notify"}

    def test_deferred(self) -> None:
        """What waits is announced, shown, fetched and deleted."""
        bob = self.registered("bob")
        for text in ("one", "two", "three"):
            self.wait(bob.send("alice", text))
        paper, _ = start(self, self.client("alice"))
        self.assertTrue(any("Kept for you at the server: 3" in one for one in paper.lines))

        def typed(line: str) -> list[str]:
            before = len(paper.lines)
            paper.on_line(line)
            self.settle(3.0)
            return paper.lines[before:]

        shown = typed("/deferred")
        self.assertRegex(shown[0], r"^  1\. .* from bob, \d+ octets$")
        self.assertEqual(len(shown), 4)
        self.assertRegex(typed("/deferred get 2")[0], "bob: two$")
        self.assertIn("There is no message 7", typed("/deferred get 7")[0])
        self.assertEqual(len(typed("/deferred")), 3)
        self.assertEqual(typed("/deferred delete 1"), ["Deleted."])
        self.assertRegex(typed("/deferred get")[0], "bob: three$")
        self.assertEqual(typed("/deferred"), ["Nothing waits for you at the server."])
        self.assertIn("/deferred get", typed("/deferred what")[0])


class EarlyTests(ServedTests):
    """Lines that are typed before we are registered."""

    def setUp(self) -> None:
        super().setUp()
        self.server.registrations = [
            lambda incoming: incoming.response(503, [("Retry-After", "20")])
        ]
        self.paper, self.running = start(self, self.alice)
        self.assertIn("Not registered", self.paper.lines[-1])

    def test_waits(self) -> None:
        """What needs the server is done once, and in order, when we are registered."""
        for line in ("/to bob one", "two", "/who"):
            self.paper.on_line(line)
            self.settle()
        self.assertEqual(self.server.of("MESSAGE"), [])
        self.assertIn("You are alice, not registered.", self.paper.lines)
        waits = [one for one in self.paper.lines if "as soon as you are registered" in one]
        self.assertEqual(len(waits), 1)
        self.settle(30.0)
        texts = [envelope(one).part.text() for one in self.server.of("MESSAGE")]
        self.assertEqual(texts, ["one", "two"])

    def test_leaves(self) -> None:
        """Who leaves before that is not held up."""
        self.paper.on_line("/history on")
        self.paper.on_line("/quit")
        self.settle(5.0)
        self.assertEqual(self.successResultOf(self.running), 0)
        self.assertTrue(self.paper.stopped)


class TroubleTests(ServedTests):
    def test_refused(self) -> None:
        """A wrong password ends the program with a sentence and status 1."""
        self.server.registrations = [403]
        paper, running = start(self, self.alice)
        self.assertEqual(self.successResultOf(running), 1)
        self.assertIn("not allowed", paper.lines[-1])
        self.assertTrue(paper.stopped)

    def test_busy(self) -> None:
        """A server that is busy is waited for, and the person knows."""
        self.server.registrations = [
            lambda incoming: incoming.response(503, [("Retry-After", "20")])
        ]
        paper, _ = start(self, self.alice)
        self.assertIn("Next try in 20 s", paper.lines[-1])
        self.settle(30.0)
        self.assertIn("You are registered", paper.lines[-2])

    def test_connection_lost(self) -> None:
        """A lost connection is told, with the time of the next try, which need not be awaited."""
        self.alice = self.client("alice", transport="tcp")
        paper, _ = start(self, self.alice)
        self.network.cut(CORE)
        self.network.reset(CORE)
        self.settle(15.0)
        self.assertRegex(paper.lines[-1], r"connection is lost\. Next try in \d+ s, or with /conn")
        self.network.mend(CORE)
        paper.on_line("/connect")
        self.settle(1.0)
        self.assertIn("You are registered", paper.lines[-2])

    def test_not_confirmed(self) -> None:
        """A message from somewhere else is marked."""
        paper, _ = start(self, self.alice)
        stranger = self.serve("10.0.0.66")
        stranger.seen.extend(self.server.seen)
        self.wait(stranger.message(b"hi", sender=BOB))
        shown = [one for one in paper.lines if "not confirmed by the network" in one]
        self.assertEqual(len(shown), 1)

    def test_picture(self) -> None:
        """What cannot be shown is described."""
        self.alice = self.client("alice", accept=("*/*",))
        paper, _ = start(self, self.alice)
        self.wait(self.server.message(b"\x89PNG", "image/png"))
        self.assertTrue(any("(image/png, 4 octets" in one for one in paper.lines))
