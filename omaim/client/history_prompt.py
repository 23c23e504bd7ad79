"""What a person at the prompt does about recorded conversations.

Spec: OMA SIMPLE IM 1.0 (conversation history)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from omaim.bodies.history_list import Pager, Recorded
from omaim.client.desk import clipped
from omaim.client.history import History, Recalled
from omaim.errors import UsageError

SHOWN: Final = 20  # entries of one list
USAGE: Final = "Type /history to see it, /history on to have it recorded, /help for the rest."


class Words(Protocol):
    """How the prompt speaks."""

    def say(self, text: str) -> None:
        """Show a note."""

    def short(self, uri: str) -> str:
        """Return an address as people write it."""

    def moment(self, moment: float) -> str:
        """Return a time as people write it."""

    def find(self, name: str) -> str:
        """Return the URI that a person means."""


class HistoryPrompt:
    """The command /history.

    Args:
        own: tells whether a URI is ours.
    """

    def __init__(self, history: History, words: Words, own: Callable[[str], bool]) -> None:
        self._history = history
        self._words = words
        self._own = own
        self._listed: tuple[Recorded, ...] = ()

    async def enter(self, rest: str) -> None:
        """Do what the words after /history ask for."""
        verb, _, more = rest.partition(" ")
        if verb in ("on", "off"):
            await self._history.switch(pager=verb == "on", session=verb == "on")
            done = "are recorded" if verb == "on" else "are not recorded any more"
            self._words.say(f"Your conversations {done}.")
        elif verb == "get" and more:
            await self._get(more)
        elif verb == "delete" and more:
            await self._delete(more)
        elif verb in ("get", "delete"):
            self._words.say(f"Say which: /history {verb} 1,2. /history shows the numbers.")
        elif more:
            self._words.say(USAGE)
        else:
            await self._show(verb)

    async def _show(self, name: str) -> None:
        peer = self._words.find(name) if name else ""
        found = await self._history.search(peer, limit=SHOWN, latest=True)
        self._listed = tuple(reversed(found.entries))
        if not self._listed:
            self._words.say("Nothing is recorded. /history on has your conversations recorded.")
            return
        if found.next:
            self._words.say("  There is more that is older.")
        for number, one in enumerate(self._listed, 1):
            self._words.say(f"  {number}. {self._described(one)}")
        self._words.say("/history get 1,2 shows what was said; /history delete 1,2 deletes it.")

    def _described(self, one: Recorded) -> str:
        words = self._words
        subject = f", {one.subject}" if one.subject else ""
        if one.conference is not None:
            moment = words.moment(one.conference.started_at)
            cut_off = ", cut off" if one.conference.cut_off else ""
            return f"{moment} session with {words.short(one.conference.name)}{subject}{cut_off}"
        pager = one.pager or Pager()
        moment = words.moment(pager.sent_at or one.date)
        sender = "you" if self._own(pager.sender) else words.short(pager.sender)
        to = "you" if self._own(pager.recipient) else words.short(pager.recipient)
        return f"{moment} {sender} to {to}{subject}, {one.size} octets"

    async def _get(self, numbers: str) -> None:
        places = chosen(numbers, len(self._listed), "/history")
        said = await self._history.fetch([self._listed[at] for at in places])
        for one in said:
            self._say(one)
        if not said:
            self._words.say("Nothing was said.")

    def _say(self, recalled: Recalled) -> None:
        sender = "you" if self._own(recalled.sender) else self._words.short(recalled.sender)
        head = f"  {self._words.moment(recalled.sent_at)} {sender}: "
        text = recalled.text or f"({recalled.content_type}, {len(recalled.body)} octets)"
        first, *more = clipped(text) or [""]
        self._words.say(head + first)
        for line in more:
            self._words.say("      " + line)

    async def _delete(self, numbers: str) -> None:
        if numbers == "all":
            await self._history.delete()
        else:
            found = chosen(numbers, len(self._listed), "/history")
            await self._history.delete([self._listed[at].reference for at in found])
        self._listed = ()
        self._words.say("Deleted.")


def chosen(numbers: str, count: int, command: str) -> Sequence[int]:
    """Return the places in a list that a person named by number, beginning with 1.

    Args:
        numbers: with commas or spaces between.
        count: how many there are.
        command: shows the list.

    Raises:
        UsageError: there is no such number.
    """
    found = []
    for text in numbers.replace(",", " ").split():
        number = int(text) if text.isdecimal() and len(text) < 10 else 0
        if not 1 <= number <= count:
            raise UsageError(f"there is no message {text}; {command} shows the numbers")
        found.append(number - 1)
    return found
