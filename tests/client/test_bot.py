"""The bot, by itself and as an entity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from omaim.client import bot, entity
from omaim.client.bot import Bot, Script, echo
from omaim.client.failures import Unreachable, WrongPassword
from omaim.client.messages import Message
from omaim.errors import UsageError
from omaim.im.policy import Settings
from omaim.node.config import NodeConfig, make_config
from omaim.node.entity import maker_of
from omaim.node.node import Node
from omaim.sip.answer_mode import AUTO, AnswerMode
from omaim.stores.memory import memory_stores
from tests.client.support import BOB, CORE, DOMAIN, HomeTests, ServedTests

SCRIPT = """
[[rule]]
match = "(?i)^hello"
answer = "Hello!"

[[rule]]
match = 'my name is (\\w+)'
answer = 'Nice to meet you, \\1.'
"""


def message(text: str) -> Message:
    """Return a message with this text."""
    return Message(BOB, True, "", text, "text/plain", text.encode())


class AnswerTests(HomeTests):
    def test_function(self) -> None:
        """A function is enough to make a bot; what it returns is sent back."""
        robot = Bot(self.client("bob"), lambda message: message.text.upper())
        self.wait(robot.start())
        alice = self.registered("alice")
        sent = self.wait(alice.send("bob", "louder"))
        self.wait(sent.displayed(timeout=5))
        self.settle()
        self.assertEqual(self.successResultOf(alice.inbox.next()).text, "LOUDER")
        self.assertEqual((robot.received, robot.answered, robot.refused), (1, 1, 0))
        self.wait(robot.stop())
        self.successResultOf(robot.stopped)
        self.assertEqual(self.wait(alice.send("bob", "gone?")).status, "pending")

    def test_only_who_may(self) -> None:
        """It can be told to accept only whom its server lets be answered automatically."""
        robot = Bot(self.client("bob"), echo, accepts=False)
        self.wait(robot.start())
        alice = self.registered("alice")
        self.assertRaises(Unreachable, self.wait, alice.invite("bob"))
        self.im.settings.put(BOB, Settings(auto=frozenset([alice.identity])))
        talk = self.wait(alice.invite("bob", answer=AnswerMode(AUTO), first="in here"))
        self.settle()
        self.assertEqual(self.successResultOf(talk.next()).text, "echo: in here")
        self.wait(robot.stop())

    def test_in_sessions(self) -> None:
        """It accepts who wants to talk, and answers there."""
        robot = Bot(self.client("bob"), echo)
        self.wait(robot.start())
        talk = self.wait(self.registered("alice").invite("bob"))
        self.wait(talk.send("in here"))
        self.settle()
        self.assertEqual(self.successResultOf(talk.next()).text, "echo: in here")
        self.wait(robot.stop())
        self.assertTrue(talk.ended)

    def test_in_rooms(self) -> None:
        """It answers in rooms that it is invited into; two bots do not talk forever."""
        robots = [Bot(self.client(name), echo) for name in ("bob", "carol")]
        for robot in robots:
            self.wait(robot.start())
        room = self.wait(self.registered("alice").conference(["bob", "carol"]))
        self.settle(3.0)
        self.wait(room.send("all of you"))
        self.settle(10.0)
        answers = [self.successResultOf(room.next()) for _ in robots]
        self.assertEqual([one.text for one in answers], ["echo: all of you"] * 2)
        self.assertEqual([robot.received for robot in robots], [2, 2])
        nothing = room.next().addErrback(lambda _: None)
        self.assertNoResult(nothing)
        for robot in robots:
            self.wait(robot.stop())

    def test_subclass(self) -> None:
        """A subclass can take its time, and answer others too."""
        clock = self.clock

        class Slow(Bot):
            async def answer(self, message: Message) -> str | None:
                waiting: Deferred[None] = Deferred()
                clock.callLater(10.0, waiting.callback, None)
                await waiting
                await self.client.send("carol", f"{message.sender} was here")
                return None

        robot = Slow(self.client("bob"))
        self.wait(robot.start())
        alice, carol = self.registered("alice"), self.registered("carol")
        self.wait(alice.send("bob", "hi"))
        self.settle(20.0)
        self.assertIn("alice", self.successResultOf(carol.inbox.next()).text)
        self.assertEqual(robot.answered, 0)

    def test_two_echoes(self) -> None:
        """Two bots that echo do not talk forever."""
        bots = [Bot(self.client(name), echo) for name in ("alice", "bob")]
        for one in bots:
            self.wait(one.start())
        self.wait(bots[0].client.send("bob", "hello"))
        self.settle(30.0)
        self.assertEqual([one.received for one in bots], [1, 1])


class LimitTests(ServedTests):
    def test_most(self) -> None:
        """Only so many answers are under way; the messages are taken all the same."""
        self.patch(bot, "MOST", 2)
        robot = Bot(self.alice, echo, reads=False)
        self.wait(robot.start())
        self.server.script = [None, None, None]
        statuses = [self.wait(self.server.message(b"x", "text/plain")).status for _ in range(4)]
        self.assertEqual(statuses, [200] * 4)
        self.clock.advance(200.0)
        self.assertEqual((robot.received, robot.refused), (4, 2))


class ScriptTests(ServedTests):
    def script(self, text: str) -> Script:
        path = Path(self.mktemp())
        path.write_text(text)
        return Script.load(path)

    def test_rules(self) -> None:
        """The first rule that matches answers; groups may be used."""
        script = self.script(SCRIPT)
        self.assertEqual(script(message("Hello there, my name is Al")), "Hello!")
        self.assertEqual(script(message("my name is Al")), "Nice to meet you, Al.")
        self.assertIsNone(script(message("what?")))

    def test_wrong(self) -> None:
        """A script that is wrong says where, before the bot starts."""
        for text, why in (
            ("", "no [[rule]]"),
            ("[[rule]]\nmatch = 'x'", "rule 1"),
            ("[[rule]]\nmatch = '('\nanswer = ''", "rule 1"),
            (SCRIPT + "[[rule]]\nmatch = 'x'\nanswer = '\\1'", "rule 3"),
            ("[[rule]]\nmatch = 3\nanswer = ''", "rule 1"),
            ("nonsense", "is not TOML"),
        ):
            with self.assertRaises(UsageError) as caught:
                self.script(text)
            self.assertIn(why, str(caught.exception))


class EntityTests(HomeTests):
    def bot(self, **settings: Any) -> entity.BotEntity:
        """Return a bot in a node of its own, started."""
        node = Node(NodeConfig(state="memory:"), self.clock, self.network, memory_stores())
        settings = {"identity": BOB, "password": "bob", "server": CORE, **settings}
        settings.setdefault("listen", "10.0.0.30")
        config = make_config(entity.Config, settings, "test")
        robot = entity.build(node, config, "bot")
        robot.setServiceParent(node)
        node.startService()
        self.addCleanup(lambda: self.wait(node.stopService()))
        return robot

    def test_echo(self) -> None:
        """The entity is ready when registered, and answers."""
        robot = self.bot()
        self.wait(robot.ready())
        alice = self.registered("alice")
        self.wait(alice.send("bob", "hello"))
        self.settle()
        self.assertEqual(self.successResultOf(alice.inbox.next()).text, "echo: hello")

    def test_waits_for_its_server(self) -> None:
        """A bot that starts before its core is registered soon after the core is there."""
        self.network.cut(CORE)
        robot = self.bot(transport="tcp")
        self.settle(20.0)
        self.assertNoResult(robot.ready())
        self.network.mend(CORE)
        self.wait(robot.ready(), 100.0)

    def test_wrong_password(self) -> None:
        """A bot that is not wanted is not ready, with the reason."""
        with self.assertRaises(WrongPassword):
            self.wait(self.bot(password="wrong").ready())

    def test_password_file(self) -> None:
        """The password can come from a file."""
        path = Path(self.mktemp())
        path.write_text("bob\n")
        self.wait(self.bot(password="", password_file=str(path)).ready())

    def test_stop_while_starting(self) -> None:
        """A bot can be stopped before it is registered."""
        self.network.cut(CORE)
        robot = self.bot(transport="tcp")
        self.settle(15.0)
        self.wait(robot.stopService())
        self.assertNoResult(robot.ready())

    def test_settings(self) -> None:
        """Wrong settings are told before anything happens."""
        for settings, why in (
            ({"mode": "dance"}, "echo, sink or script"),
            ({"transport": "sctp"}, "udp, tcp or tls"),
            ({"mode": "script"}, "script file"),
            ({"password_file": "/nowhere"}, "cannot read"),
            ({"identity": "bob"}, DOMAIN),
            ({"server": "sip:"}, "HOST"),
            ({"ca": "/nowhere"}, "cannot read"),
        ):
            with self.assertRaises(UsageError) as caught:
                self.bot(**settings)
            self.assertIn(why, str(caught.exception))

    def test_plugin(self) -> None:
        """The plugin makes this entity, and its password stays out of sight."""
        maker = maker_of("client")
        self.assertIs(maker.config(), entity.Config)
        self.assertNotIn("s3cret", repr(entity.Config(password="s3cret")))
