"""What the parts of the prompt share: the screen, the people, and words for things."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import attrs

from omaim.bodies.imdn import DELIVERY, DISPLAY
from omaim.client.client import Client
from omaim.client.messages import Message, Report, Sent
from omaim.client.terminal import Screen
from omaim.client.words import told
from omaim.errors import OmaimError
from omaim.sip.uri import canonical_aor

QUOTED: Final = 24  # characters of a message that a line about it repeats
REMEMBERED: Final = 1_000  # messages of ours that a report can still name
UNREAD: Final = 1_000  # messages that wait for a sign of life at the terminal
ROOM: Final = "room."  # how the addresses of groups begin that a server serves without being told
BAR: Final = 10  # characters of a bar
SHOWN: Final = 4_000  # characters of one message
NAME: Final = 14  # characters of a name beside it


@attrs.frozen
class Command:
    """One slash command."""

    usage: str
    help: str
    act: Callable[[str], Awaitable[None] | None]


class Desk:
    """Where the person sits.

    Args:
        client: whose prompt it is.
        screen: shows.
        clock: for timers.

    Attributes:
        people: everybody who was seen, by the name shown.
        groups: addresses of groups from which something came.
        failed: what went wrong last; ``None`` for nothing.
    """

    def __init__(self, client: Client, screen: Screen, clock: Any) -> None:
        self.client = client
        self.screen = screen
        self.clock = clock
        self.people: dict[str, str] = {}
        self.groups: set[str] = set()
        self.failed: Exception | None = None
        self._texts: dict[str, str] = {}  # Message-ID -> beginning of the text
        self._unread: list[Message] = []
        self._prompt = ""
        self._bars: dict[object, str] = {}

    # Showing.

    def say(self, text: str) -> None:
        """Show a note."""
        self.screen.show(text, "note")

    def trouble(self, text: str) -> None:
        """Show that something went wrong."""
        self.screen.show(text, "error")

    def refused(self, error: Exception) -> None:
        """Show in one line what did not work; /why tells the rest."""
        self.failed = error
        self.trouble(told(error))

    def own(self, text: str) -> None:
        """Show what the person said."""
        first, *more = text.splitlines()
        self.screen.show(first, "own")
        for line in more:
            self.screen.show("      " + line, "own")

    def hear(self, message: Message, where: str = "", remark: str = "") -> str:
        """Show a message; return the name of who sent it.

        Args:
            where: the room, "" for none.
            remark: stands behind the name.
        """
        who = self.note(message.sender)
        if message.group:
            where = self.note(message.group)
            if len(self.groups) < REMEMBERED:
                self.groups.add(message.group)
        elif where and message.name:
            who = message.name
        others = [self.short(uri) for uri in message.others if not self.is_own(uri)]
        also = f" (also to {', '.join(others)})" if others else ""
        doubt = "" if message.verified else " (not confirmed by the network)"
        place = f"{where} " if where else ""
        head = f"{self.moment(message.sent_at)} {place}{who}{remark}{also}{doubt}: "
        if message.subject:
            head += f"[{message.subject}] "
        first, *more = clipped(message.text) or [_described(message)]
        self.screen.show(head + first, "peer")
        for line in more:
            self.screen.show("      " + line, "peer")
        if len(self._unread) < UNREAD:
            self._unread.append(message)
        return who

    def seen(self) -> None:
        """There is somebody: what was shown has been read."""
        unread, self._unread = self._unread, []
        for message in unread:
            message.read()

    # The line that is typed, and what stands before it.

    def ask(self, prompt: str) -> None:
        """Put ``prompt`` before the line."""
        self._prompt = prompt
        self.screen.ask("".join(self._bars.values()) + prompt)

    def bar(self, what: object, name: str, done: int, size: int | None) -> None:
        """Show before the line how far something is.

        Args:
            what: tells it from others.
            done: octets.
            size: of the whole; ``None`` if nobody knows.
        """
        if len(name) > NAME:
            name = f"{name[: NAME - 1]}…"
        if size:
            full = BAR * min(done, size) // size
            text = f"[{name} {'█' * full}{'·' * (BAR - full)} {100 * done // size}%] "
        else:
            text = f"[{name} {octets(done)}] "
        if self._bars.get(what) != text:
            self._bars[what] = text
            self.ask(self._prompt)

    def no_bar(self, what: object) -> None:
        """It is over."""
        if self._bars.pop(what, None) is not None:
            self.ask(self._prompt)

    # What was sent.

    def sent(self, sent: Sent, text: str) -> None:
        """Remember a message, so that a report on it can name it."""
        if sent.message_id:
            if len(self._texts) >= REMEMBERED:
                del self._texts[next(iter(self._texts))]
            self._texts[sent.message_id] = text

    def report(self, report: Report) -> None:
        """Show what became of a message."""
        text = self._texts.get(report.message_id)
        if text is None:
            return
        quoted = text if len(text) <= QUOTED else text[: QUOTED - 1] + "…"
        who = self.short(report.recipient) if report.recipient else "The recipient"
        if report.kind == DISPLAY and report.status == "displayed":
            self.say(f"  {who} has read: {quoted}")
        elif report.status == "delivered":
            self.say(f"  {who} has got: {quoted}")
        elif report.kind == DELIVERY or report.status in ("forbidden", "error"):
            self.trouble(f"  {who} did not get ({report.status}): {quoted}")

    # Words.

    def find(self, name: str) -> str:
        """Return the URI of somebody by the name shown, or of any address."""
        known = self.people.get(name)
        return known or self.client.address(name)

    def found(self, names: str) -> list[str]:
        """Return the URIs of people named with commas or spaces between."""
        return [self.find(name) for name in names.replace(",", " ").split()]

    def note(self, uri: str) -> str:
        """Remember somebody for completion; return the name."""
        name = self.short(uri)
        if len(self.people) < REMEMBERED:
            self.people.setdefault(name, uri)
        return name

    def forget(self, uri: str) -> None:
        """There is nobody of this address."""
        for name in [name for name, one in self.people.items() if one == uri]:
            del self.people[name]

    def short(self, uri: str) -> str:
        """Return an address as people write it."""
        try:
            text = canonical_aor(uri)
        except OmaimError:
            return uri
        text = text.removeprefix("sip:")
        user, at, domain = text.partition("@")
        return user if at and domain == self.client.domain else text

    def names(self, uris: Sequence[str]) -> str:
        """Return addresses as people write them."""
        return ", ".join(self.note(uri) for uri in uris)

    def is_group(self, uri: str) -> bool:
        """Tell whether an address is that of a group: something came from it, or it looks so."""
        address = canonical_aor(uri)
        return address in self.groups or address.partition(":")[2].startswith(ROOM)

    def is_own(self, uri: str) -> bool:
        """Tell whether an address is ours."""
        return self.short(uri) == self.short(self.client.identity)

    def moment(self, moment: float = 0.0) -> str:
        """Return the time of day, with the date when it is not today's."""
        now = time.localtime(self.client.now())
        then = time.localtime(moment) if moment else now
        same = now[:3] == then[:3]
        return time.strftime("%H:%M" if same else "%d %b %H:%M", then)


def clipped(text: str) -> list[str]:
    """Return the lines of a text, as far as a screen is the place for them."""
    lines = text[:SHOWN].splitlines()
    if len(text) > SHOWN:
        lines.append(f"… ({len(text) - SHOWN} more characters, which are not shown here)")
    return lines


def octets(number: int | None) -> str:
    """Return a size as people write it."""
    if number is None:
        return "of unknown size"
    size = float(number)
    for unit in ("octets", "kB", "MB", "GB"):
        if size < 1000.0 or unit == "GB":
            break
        size /= 1000.0
    return f"{number} octets" if unit == "octets" else f"{size:.1f} {unit}"


def _described(message: Message) -> str:
    if not message.body:
        return "(empty)"
    return f"({message.content_type}, {len(message.body)} octets, which cannot be shown here)"
