"""What a person at the prompt sees of sessions, rooms and files."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred

from omaim.client import Client
from omaim.client.conversation import Conversation
from omaim.client.desk import octets
from omaim.client.room import Room
from omaim.im.policy import Settings
from omaim.testing.network import Link
from tests.client.support import ALICE, BOB, DOMAIN, HomeTests
from tests.client.test_prompt import start

LOBBY = f"sip:room.lobby@{DOMAIN}"


class TalkCase(HomeTests):
    """Alice at a prompt, bob and carol as programs that accept everything."""

    def setUp(self) -> None:
        super().setUp()
        self.group(LOBBY, f"{ALICE} {BOB} sip:carol@{DOMAIN}", owners=ALICE)
        self.alice = self.client("alice")
        self.folder = Path(self.mktemp())
        self.paper, self.running = start(self, self.alice, self.folder)
        self.begun: dict[str, list[Conversation]] = {}
        self.bob = self.accepting("bob")

    def accepting(self, name: str) -> Client:
        client = self.registered(name)
        self.addCleanup(lambda: self.wait(client.close()))
        client.auto_accept = True
        self.begun[name] = []
        client.on_conversation(self.begun[name].append)
        return client

    def type(self, line: str, seconds: float = 3.0) -> list[str]:
        """Type a line; return what was shown because of it."""
        before = len(self.paper.lines)
        self.paper.on_key()
        self.paper.on_line(line)
        self.settle(seconds)
        return self.paper.lines[before:]

    def shown(self, since: int) -> str:
        return "\n".join(self.paper.lines[since:])


class TalkTests(TalkCase):
    def test_talk(self) -> None:
        """Invite, talk, see what was read, leave."""
        shown = self.type("/talk bob Lunch")
        self.assertEqual(shown[0], "Calling bob …")
        self.assertIn("bob is there", shown[-1])
        self.assertEqual(self.paper.prompt, "bob (talking)> ")
        (his,) = self.begun["bob"]
        self.assertEqual(his.subject, "Lunch")
        said = self.type("Hungry?")
        self.assertRegex(said[0], r"^\d\d:\d\d you to bob: Hungry\?$")
        self.assertIn("  bob has got: Hungry?", said)
        message = self.successResultOf(his.next())
        before = len(self.paper.lines)
        message.read()
        self.wait(message.reply("Very"))
        self.settle()
        self.assertIn("bob has read: Hungry?", self.shown(before))
        self.assertRegex(self.shown(before), r"\d\d:\d\d bob: Very")
        self.assertEqual(self.type("/leave"), ["The talk with bob is over."])
        self.assertTrue(his.ended)
        self.assertEqual(self.paper.prompt, "> ")

    def test_being_invited(self) -> None:
        """An invitation is shown with what to type; what is typed then is said."""
        before = len(self.paper.lines)
        inviting = Deferred.fromCoroutine(self.bob.invite("alice", subject="Lunch"))
        self.settle()
        self.assertIn("bob wants to talk about Lunch. /accept or /decline.", self.shown(before))
        self.assertIn("You talk with bob", self.type("/accept")[-1])
        his = self.successResultOf(inviting)
        self.type("Yes?")
        self.assertEqual(self.successResultOf(his.next()).text, "Yes?")
        before = len(self.paper.lines)
        self.wait(his.leave())
        self.settle()
        self.assertIn("The talk with bob is over.", self.shown(before))

    def test_first_message(self) -> None:
        """What is typed behind a colon goes along; what comes along is shown, and is said again
        where the talk begins."""
        shown = self.type("/talk bob Lunch : Hungry?")
        self.assertRegex("\n".join(shown), r"\n\d\d:\d\d you to bob: Hungry\?\n")
        self.assertEqual(shown.count("  bob has got: Hungry?"), 1)
        (his,) = self.begun["bob"]
        self.assertEqual((his.subject, self.successResultOf(his.next()).text), ("Lunch", "Hungry?"))
        self.type("/leave")
        before = len(self.paper.lines)
        inviting = Deferred.fromCoroutine(self.bob.invite("alice", first="Still?"))
        self.settle()
        self.assertIn('bob wants to talk. "Still?" /accept or /decline.', self.shown(before))
        shown = self.type("/accept")
        self.assertTrue(any(line.endswith("bob: Still?") for line in shown), shown)
        self.successResultOf(inviting)

    def test_first_message_to_nobody(self) -> None:
        """Of who is away the person learns that the message waits."""
        shown = self.type("/talk carol : Hungry?")
        self.assertIn("the first message is kept for later", shown[-1])
        self.assertIn("gets the message when it is back", shown[-1])

    def test_auto(self) -> None:
        """Those whom the server lets do so are answered without asking, once that is on."""
        self.im.settings.put(ALICE, Settings(auto=frozenset([BOB])))
        self.assertEqual(self.type("/auto"), ["Type /auto on, or /auto off."])
        self.assertIn("answered without asking you", self.type("/auto on")[-1])
        before = len(self.paper.lines)
        talk = self.wait(self.bob.invite("alice"))
        self.settle()
        self.assertEqual(talk.answered, "Auto")
        self.assertIn("You talk with bob", self.shown(before))
        self.type("/leave")
        self.assertEqual(self.type("/auto off")[-1], "Nobody is answered without asking you.")
        before = len(self.paper.lines)
        Deferred.fromCoroutine(self.bob.invite("alice")).addErrback(lambda _: None)
        self.settle()
        self.assertIn("bob wants to talk. /accept or /decline.", self.shown(before))

    def test_declining(self) -> None:
        """Who declines is left alone; an invitation that is gone is said to be."""
        inviting = Deferred.fromCoroutine(self.bob.invite("alice"))
        self.settle()
        self.type("/decline")
        self.failureResultOf(inviting)
        self.assertEqual(self.type("/accept"), ["Nobody asks for anything now."])
        again = Deferred.fromCoroutine(self.bob.invite("alice"))
        self.settle()
        again.addErrback(lambda _: None)
        before = len(self.paper.lines)
        again.cancel()
        self.settle()
        self.assertIn("bob does not wait any longer.", self.shown(before))

    def test_typing(self) -> None:
        """That somebody is writing is shown, both ways; commands are no writing."""
        self.type("/talk bob")
        (his,) = self.begun["bob"]
        told: list[bool] = []
        his.on_typing(lambda typing: told.append(typing.active))
        self.paper.line = "/leav"
        self.paper.on_key()
        self.settle()
        self.assertEqual(told, [])
        self.paper.line = "Hel"
        self.paper.on_key()
        self.settle()
        self.assertEqual(told, [True])
        before = len(self.paper.lines)
        his.typing()
        self.settle()
        self.assertEqual(self.shown(before), "  bob is writing …")

    def test_several(self) -> None:
        """Several sessions are open; /to and a name goes to one of them."""
        self.type("/talk bob")
        self.type("/join room.lobby")
        self.assertEqual(self.paper.prompt, "#lobby> ")
        self.type("/to bob")
        self.assertEqual(self.paper.prompt, "bob (talking)> ")
        self.assertIn("Open: bob, #lobby.", self.shown(0) + "\n".join(self.type("/who")))
        self.type("/to lobby")
        self.assertEqual(self.paper.prompt, "#lobby> ")

    def test_patient(self) -> None:
        """Lines of a file wait for one another: what follows /talk is said in the talk."""
        self.paper.patient = True
        for line in ("/talk bob", "one", "two", "/leave", "/to bob three"):
            self.paper.on_line(line)
        self.settle(3.0)
        (his,) = self.begun["bob"]
        self.assertEqual([self.successResultOf(his.next()).text for _ in "12"], ["one", "two"])
        self.assertTrue(his.ended)
        self.assertEqual(self.successResultOf(self.bob.inbox.next()).text, "three")

    def test_nowhere(self) -> None:
        """What needs a session says so."""
        self.assertIn("You are in no talk now", self.type("/leave")[-1])
        self.assertIn("You are in no room now", self.type("/nick Al")[-1])
        self.assertIn("no room", self.type("/join bob")[-1])
        for line in ("/talk", "/join", "/invite", "/kick", "/whisper", "/conference", "/send"):
            if line not in ("/invite", "/kick"):
                self.assertIn(line, self.type(line)[-1])


class RoomTests(TalkCase):
    def setUp(self) -> None:
        super().setUp()
        self.type("/join room.lobby")
        self.his: Room = self.wait(self.bob.join("room.lobby"))
        self.settle(3.0)

    def test_room(self) -> None:
        """Who comes, speaks, whispers and goes is shown."""
        self.assertIn("You are in #lobby", self.shown(0))
        self.assertIn("  bob has come into #lobby.", self.paper.lines)
        before = len(self.paper.lines)
        self.wait(self.his.send("Hello all"))
        self.wait(self.his.whisper("alice", "Hello you"))
        self.settle()
        self.assertRegex(self.shown(before), r"\d\d:\d\d #lobby bob: Hello all")
        self.assertRegex(self.shown(before), r"\d\d:\d\d #lobby bob to you only: Hello you")
        self.assertRegex(self.type("Hello bob")[0], r"^\d\d:\d\d #lobby you: Hello bob$")
        self.assertEqual(self.successResultOf(self.his.next()).text, "Hello bob")
        self.assertIn("In #lobby: alice, bob.", self.type("/who"))
        before = len(self.paper.lines)
        self.wait(self.his.leave())
        self.settle(3.0)
        self.assertIn("  bob has left #lobby.", self.shown(before))

    def test_names(self) -> None:
        """Nicknames and private messages."""
        self.assertEqual(self.type("/nick Al"), ["You are called Al here."])
        self.wait(self.his.nickname("Bo"))
        self.settle(3.0)
        self.assertIn("In #lobby: Al (alice), Bo (bob).", self.type("/who"))
        self.assertIn("you to Bo only: Psst", self.type("/whisper Bo Psst")[0])
        message = self.successResultOf(self.his.next())
        self.assertTrue(self.his.is_private(message))
        self.assertIn("Nobody here is called Xy", self.type("/whisper Xy hello")[-1])
        self.wait(self.his.nickname("Bo Bo"))
        self.settle(3.0)
        self.assertIn("you to Bo Bo only: Psst", self.type("/whisper bo bo Psst")[0])
        before = len(self.paper.lines)
        self.wait(self.his.send("by name"))
        self.settle()
        self.assertIn("#lobby Bo Bo: by name", self.shown(before))

    def test_invite_and_kick(self) -> None:
        """People are called in and put out."""
        self.accepting("carol")
        self.assertIn("carol will be invited.", self.type("/invite carol", 5.0))
        self.assertIn("  carol has come into #lobby.", self.paper.lines)
        self.type("/kick carol", 5.0)
        self.assertIn("  carol has left #lobby.", self.paper.lines)
        self.assertIn("  nobody does not come (404 Not Found).", self.type("/invite nobody"))

    def test_out_and_in(self) -> None:
        """Who left is told how to come back."""
        self.assertIn("/join lobby goes in again", self.type("/leave")[-1])
        self.assertIn("You are in #lobby", self.type("/join lobby")[-1])
        self.assertEqual(self.type("/join #lobby"), [])
        self.type("/leave")
        self.assertIn("You are in #lobby", self.type("/join #lobby")[-1])

    def test_refused(self) -> None:
        """A refusal is one line that says what happened; /why shows the rest."""
        self.type("/leave")
        self.group(f"sip:room.tea@{DOMAIN}", BOB)
        (line,) = self.type("/join room.tea")
        self.assertNotRegex(line, "403|119|do not try again")
        self.assertLess(len(line), 70)
        (why,) = self.type("/why")
        self.assertIn("Refused, status 403", why)
        self.assertIn("119", why)

    def test_conference(self) -> None:
        """A talk of two becomes one of three."""
        carol = self.accepting("carol")
        self.type("/talk bob")
        self.type("/conference carol Plans", 6.0)
        self.assertEqual(self.paper.prompt, "#Plans> ")
        self.assertIn("The talk with bob is over.", self.paper.lines)
        people = "\n".join(self.type("/who"))
        for name in ("alice", "bob", "carol"):
            self.assertIn(name, people)
        self.assertEqual(len(carol.conversations), 1)

    def test_host(self) -> None:
        """A conference of one's own, which ends when one leaves."""
        self.type("/leave")
        self.accepting("carol")
        self.type("/host bob,carol Plans", 6.0)
        self.assertEqual(self.paper.prompt, "#Plans> ")
        self.assertIn("In #Plans: alice, bob, carol.", self.type("/who"))
        self.type("What shall we do?")
        bobs = self.begun["bob"][-1]
        self.assertEqual(self.successResultOf(bobs.next()).text, "What shall we do?")
        before = len(self.paper.lines)
        self.wait(bobs.send("Eat"))
        self.settle()
        self.assertRegex(self.shown(before), r"#Plans bob: Eat")
        self.assertIn("#Plans you to bob only: psst", self.type("/whisper bob psst")[0])
        self.assertIn("  dave: Nobody has this address here. Check", self.type("/invite dave")[-1])
        self.type("/leave")
        self.assertTrue(bobs.ended)

    def test_invited_into_a_room(self) -> None:
        """An invitation into a room says that it is one."""
        self.type("/leave")
        before = len(self.paper.lines)
        self.wait(self.his.invite("alice"))
        self.settle(2.0)
        self.assertIn("bob invites you into a room", self.shown(before))
        self.assertIn("You are in #lobby", "\n".join(self.type("/accept")))


class FileTests(TalkCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp()).with_name("report.txt")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"x" * 400_000)
        self.taken = Path(self.mktemp())
        self.bob.files.folder = self.taken

    def test_send(self) -> None:
        """A file is offered, taken, and shown to move before the line."""
        self.type("/to bob")
        prompts: list[str] = []
        ask = self.paper.ask
        self.paper.ask = lambda prompt: (prompts.append(prompt), ask(prompt))[1]  # type: ignore
        self.network.between("10.0.0.11", "10.0.0.2", Link(delay=0.1))
        shown = self.type(f"/send {self.path}", 10.0)
        self.assertEqual(
            shown,
            [
                "report.txt, 400.0 kB, is offered to bob …",
                "bob takes report.txt.",
                "bob has report.txt.",
            ],
        )
        self.assertTrue(any(one.startswith("[report.txt █") for one in prompts), prompts)
        self.assertEqual(self.paper.prompt, "bob> ")
        self.assertEqual((self.taken / "report.txt").read_bytes(), b"x" * 400_000)

    def test_in_a_talk(self) -> None:
        """In a talk the file goes beside it."""
        self.type("/talk bob")
        self.assertIn("bob has report.txt.", self.type(f"/send {self.path}", 10.0))
        self.assertFalse(self.begun["bob"][0].ended)

    def test_take(self) -> None:
        """A file that is offered is taken into the folder."""
        before = len(self.paper.lines)
        sending = Deferred.fromCoroutine(self.bob.send_file("alice", self.path))
        self.settle()
        self.assertIn("bob offers the file report.txt, 400.0 kB. /accept", self.shown(before))
        self.assertIn("report.txt is here: ", "\n".join(self.type("/accept", 10.0)))
        self.assertEqual((self.folder / "report.txt").stat().st_size, 400_000)
        self.wait(self.successResultOf(sending).done())

    def test_trouble(self) -> None:
        """What is not there, and what goes wrong, is said."""
        self.assertIn("There is no file", self.type("/send nowhere.txt")[-1])
        self.assertIn("Say to whom first", self.type(f"/send {self.path}")[-1])
        self.assertEqual(self.type("/abort"), ["No file is on its way."])
        self.assertEqual(self.type("/resume"), ["No file broke off."])
        self.network.between("10.0.0.11", "10.0.0.2", Link(delay=1.0))
        self.type("/to bob")
        self.assertIn("bob takes report.txt.", self.type(f"/send {self.path}", 3.0))
        self.assertIn("report.txt did not get through: given up.", self.type("/abort"))

    def test_complete(self) -> None:
        """Tab completes paths."""
        typed = f"/send {str(self.path)[:-4]}"
        self.assertEqual(self.paper.complete(typed), [f"/send {self.path}"])
        self.assertEqual(self.paper.complete("/send /no/such/folder/x"), [])

    def test_sizes(self) -> None:
        """Sizes are written for people."""
        self.assertEqual(
            [octets(one) for one in (None, 7, 1500, 3_072_000, 10**12)],
            ["of unknown size", "7 octets", "1.5 kB", "3.1 MB", "1000.0 GB"],
        )
