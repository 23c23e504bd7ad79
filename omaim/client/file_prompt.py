"""What a person at the prompt does with files: send, take, stop, go on.

Spec: RFC 5547
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from omaim.client.desk import Command, Desk, octets
from omaim.client.download import Download
from omaim.client.failures import Failure
from omaim.client.file_offer import FileOffer
from omaim.client.questions import Question, Questions
from omaim.client.talk_prompt import Group, TalkPrompt
from omaim.client.transfer import Transfer
from omaim.client.upload import Upload
from omaim.errors import UsageError


class FilePrompt:
    """Files at the prompt.

    Args:
        desk: of the prompt.
        questions: asked of the person.
        talks: where a file goes beside what is said.
        to: returns whom the line goes to, "" for nobody.
        folder: where files go.
    """

    def __init__(
        self,
        desk: Desk,
        questions: Questions,
        talks: TalkPrompt,
        to: Callable[[], str],
        folder: Path,
    ) -> None:
        self._desk = desk
        self._questions = questions
        self._talks = talks
        self._to = to
        self._folder = folder
        self._moving: list[Upload | Download] = []
        self._failed: Upload | Download | None = None
        desk.client.on_file(self._offered)

    def commands(self) -> dict[str, Command]:
        """Return what the person can type."""
        return {
            "send": Command("/send FILE", "send a file to whom the line goes to", self._send),
            "abort": Command("/abort", "stop the files that are on their way", self._abort),
            "resume": Command("/resume", "go on with the file that broke off", self._resume),
        }

    async def _send(self, rest: str) -> None:
        path = Path(rest.strip().strip("\"'")).expanduser()
        if not rest.strip():
            self._desk.say("Type /send and a file, as /send report.pdf.")
            return
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        current = self._talks.current
        if isinstance(current, Group):
            raise UsageError("a file goes to one person: /to bob, then /send again")
        to = current.peer if current is not None else self._to()
        if not to:
            raise UsageError("say to whom first: /to bob or /talk bob")
        who = self._desk.note(to)
        size = octets(path.stat().st_size)
        self._desk.say(f"{path.name}, {size}, is offered to {who} …")
        if current is not None:
            upload = await current.send_file(path)
        else:
            upload = await self._desk.client.send_file(to, path)
        self._go(upload, f"{who} takes {path.name}.", f"{who} has {path.name}.")

    def _offered(self, offer: FileOffer) -> None:
        who = self._desk.note(offer.sender)
        size = octets(offer.size)

        async def accept() -> None:
            try:
                download = await offer.accept(self._folder)
            except OSError as error:
                raise UsageError(f"{self._folder}: {error.strerror}") from None
            self._go(download, "", "")

        question = Question(f"{who} offers the file {offer.name}, {size}.", accept, offer.decline)
        offer.on_cancel(
            lambda: self._questions.gone(question, f"{who} does not offer {offer.name} any more.")
        )
        self._questions.ask(question)

    def _go(self, moving: Upload | Download, begun: str, done: str) -> None:
        """Show how a file moves, and what becomes of it."""
        if begun:
            self._desk.say(begun)
        self._moving.append(moving)
        moving.on_progress(self._moved)
        finished: Deferred[Any] = moving.done()
        finished.addCallbacks(
            lambda result: self._done(moving, done or f"{moving.name} is here: {result}"),
            lambda failure: self._broken(moving, failure.value),
        )

    def _moved(self, moving: Transfer[Any]) -> None:
        if moving.over:
            self._desk.no_bar(moving)
        else:
            self._desk.bar(moving, moving.name, moving.octets, moving.size)

    def _done(self, moving: Upload | Download, text: str) -> None:
        self._moving.remove(moving)
        self._desk.say(text)

    def _broken(self, moving: Upload | Download, error: Exception) -> None:
        self._moving.remove(moving)
        why = error.reason if isinstance(error, Failure) else str(error)
        hint = ""
        if moving.again is not None and why != "given up":
            self._failed = moving
            hint = " /resume goes on with it."
        self._desk.trouble(f"{moving.name} did not get through: {why}.{hint}")

    def _abort(self, rest: str) -> None:
        if not self._moving:
            self._desk.say("No file is on its way.")
        for moving in list(self._moving):
            moving.abort()

    async def _resume(self, rest: str) -> None:
        failed, self._failed = self._failed, None
        if failed is None:
            self._desk.say("No file broke off.")
            return
        who = self._desk.short(failed.peer)
        if isinstance(failed, Upload):
            self._go(await failed.resume(), "", f"{who} has {failed.name}.")
        else:
            self._go(await failed.resume(), "", "")
