"""What others want of the person, and the answers: /accept and /decline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from omaim.client.desk import Command, Desk
from omaim.client.history_prompt import chosen


@attrs.frozen(eq=False)
class Question:
    """Something that waits for an answer."""

    text: str
    accept: Callable[[], Awaitable[object]]
    decline: Callable[[], object]


class Questions:
    """The questions of one prompt."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._open: list[Question] = []

    def commands(self) -> dict[str, Command]:
        """Return what the person can type."""
        return {
            "accept": Command("/accept [1,2]", "take what is offered last, or these", self._yes),
            "decline": Command("/decline [1,2]", "do not take it", self._no),
        }

    def ask(self, question: Question) -> None:
        """Show a question, and keep it until it is answered."""
        self._open.append(question)
        number = len(self._open)
        which = f" {number}" if number > 1 else ""
        self._desk.say(f"{question.text} /accept{which} or /decline{which}.")

    def gone(self, question: Question, text: str) -> None:
        """It is not asked any more."""
        if question in self._open:
            self._open.remove(question)
            self._desk.say(text)

    async def _yes(self, rest: str) -> None:
        for question in self._taken(rest):
            await question.accept()

    def _no(self, rest: str) -> None:
        for question in self._taken(rest):
            question.decline()

    def _taken(self, rest: str) -> list[Question]:
        if not self._open:
            self._desk.say("Nobody asks for anything now.")
            return []
        places = chosen(rest, len(self._open), "/accept") if rest else [len(self._open) - 1]
        found = [self._open[at] for at in places]
        self._open = [one for one in self._open if one not in found]
        return found
