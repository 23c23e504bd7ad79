"""A bot: a client that answers by itself.

In five lines::

    async def main():
        client = Client("sip:bob@north.example", "bob-secret", server="127.0.1.1")
        bot = Bot(client, lambda message: f"{message.text}? How interesting.")
        await bot.start()
        await bot.stopped

For more, subclass :class:`Bot` and override :meth:`Bot.answer`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from omaim.client.client import Client
from omaim.client.failures import Failure
from omaim.client.messages import Message
from omaim.errors import UsageError
from omaim.node.config import read_file

MOST: Final = 200  # answers under way; more messages are taken and not answered
ECHO: Final = "echo: "

Answer = str | None | Awaitable[str | None]

_log = Logger()


class Bot:
    """Answers the messages of a client, those in sessions and rooms too.

    It accepts whatever it is invited to, if it is not told otherwise;
    :meth:`omaim.client.Client.join` brings it into a room.

    Args:
        client: whose messages; it is closed with the bot.
        answer: returns the answer to a message, ``None`` for none; may be a coroutine.
        reads: tell senders that their messages were displayed.
        accepts: accept every invitation; otherwise only what our server says is to be answered
            automatically, and rooms.

    Attributes:
        received: how many messages have come.
        answered: how many answers the network took.
        refused: how many it did not.
        stopped: fires when the bot has stopped.
    """

    def __init__(
        self,
        client: Client,
        answer: Callable[[Message], Answer] | None = None,
        *,
        reads: bool = True,
        accepts: bool = True,
    ) -> None:
        self.client = client
        self._answer = answer
        self._reads = reads
        self._under_way = 0
        self.received = 0
        self.answered = 0
        self.refused = 0
        self.stopped: Deferred[None] = Deferred()
        client.on_message(self._received)
        client.auto_accept = accepts
        client.auto_answer = client.auto_join = True
        client.on_conversation(lambda conversation: conversation.on_message(self._received))

    async def start(self, insist: bool = False) -> None:
        """Register, and answer from then on; see :meth:`omaim.client.Client.register`."""
        await self.client.register(insist)

    async def stop(self) -> None:
        """De-register, and answer no more."""
        await self.client.close()
        if not self.stopped.called:
            self.stopped.callback(None)

    async def answer(self, message: Message) -> str | None:
        """Return the answer to a message, ``None`` for none."""
        if self._answer is None:
            return None
        answer = self._answer(message)
        if answer is None or isinstance(answer, str):
            return answer
        return await answer

    async def _received(self, message: Message) -> None:
        self.received += 1
        if self._under_way >= MOST:
            return
        self._under_way += 1
        try:
            if self._reads:
                message.read()
            text = await self.answer(message)
            if text is not None:
                await message.reply(text, reports=())
                self.answered += 1
        except Failure as failure:
            self.refused += 1
            _log.info("An answer was not taken: {why}", why=str(failure))
        finally:
            self._under_way -= 1


def echo(message: Message) -> str | None:
    """Return what was said; nothing to another echo, so that two do not talk forever."""
    if not message.text or message.text.startswith(ECHO):
        return None
    return ECHO + message.text


def sink(message: Message) -> None:
    """Take the message, and say nothing."""


@attrs.frozen
class Rule:
    """What a scripted bot says to what."""

    match: re.Pattern[str]
    answer: str  # \\1, \\g<name> and so on stand for what the pattern's groups matched


@attrs.frozen
class Script:
    """Answers by a list of rules; the first that matches counts.

    The file is TOML::

        [[rule]]
        match = "(?i)hello|hi"
        answer = "Hello! Ask me for the time."

        [[rule]]
        match = "my name is (\\\\w+)"
        answer = "Nice to meet you, \\\\1."
    """

    rules: tuple[Rule, ...]

    @staticmethod
    def load(path: str | Path) -> Script:
        """Return the script in a file.

        Raises:
            UsageError: it cannot be read, or a rule is wrong; the message says which.
        """
        contents: Any = read_file(str(path)).get("rule")
        if not isinstance(contents, list) or not contents:
            raise UsageError(f"{path}: no [[rule]] in it")
        return Script(
            tuple(_rule(number, one, str(path)) for number, one in enumerate(contents, 1))
        )

    def __call__(self, message: Message) -> str | None:
        for rule in self.rules:
            found = rule.match.search(message.text)
            if found is not None:
                return found.expand(rule.answer)
        return None


def _rule(number: int, table: Any, path: str) -> Rule:
    where = f"{path}: rule {number}"
    if not isinstance(table, dict) or set(table) != {"match", "answer"}:
        raise UsageError(f'{where}: needs match = "…" and answer = "…", and nothing else')
    try:
        pattern = re.compile(table["match"])
        rule = Rule(pattern, str(table["answer"]))
        _check_answer(pattern, rule.answer)
    except (re.error, TypeError, IndexError) as error:
        raise UsageError(f"{where}: {error}") from None
    return rule


def _check_answer(pattern: re.Pattern[str], answer: str) -> None:
    """Raise re.error if ``answer`` names a group that ``pattern`` does not have."""
    re.compile(f"{pattern.pattern}|").sub(answer, "", count=1)
