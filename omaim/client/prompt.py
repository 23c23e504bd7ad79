"""The prompt of ``omaim client``: a person talks, without having read anything.

It says what it does and what to do next in whole sentences; a screen
(:mod:`omaim.client.terminal`) shows them.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure as Broken

from omaim.bodies.deferred_list import Waiting
from omaim.bodies.imdn import DELIVERY, DISPLAY
from omaim.client.client import Client
from omaim.client.failures import Failure
from omaim.client.history_prompt import HistoryPrompt, chosen
from omaim.client.messages import PENDING, Message, Report, Sent, State, Typing
from omaim.client.terminal import Screen
from omaim.errors import OmaimError
from omaim.sip.uri import canonical_aor

QUOTED: Final = 24  # characters of a message that a line about it repeats
REMEMBERED: Final = 1_000  # messages of ours that a report can still name
PATIENCE: Final = 35.0  # seconds for what is under way when the person leaves
UNREAD: Final = 1_000  # messages that wait for a sign of life at the terminal

_log = Logger()


@attrs.frozen
class Command:
    """One slash command."""

    usage: str
    help: str
    act: Callable[[str], Awaitable[None] | None]


class Prompt:
    """Talks with the person at a screen.

    Args:
        client: whose prompt it is; not yet registered.
        screen: where the person is.
        clock: for timers.
    """

    def __init__(self, client: Client, screen: Screen, clock: Any) -> None:
        self._client = client
        self._screen = screen
        self._clock = clock
        self._over: Deferred[int] = Deferred()
        self._doing: set[Deferred[None]] = set()
        self._to = ""
        self._people: dict[str, str] = {}  # name as shown -> URI
        self._texts: dict[str, str] = {}  # Message-ID -> beginning of the text
        self._unread: list[Message] = []
        self._waiting: tuple[Waiting, ...] = ()
        self._state = ""
        self._history = HistoryPrompt(client.history, self, self._is_own)
        self._commands = {
            "to": Command("/to ADDRESS [TEXT]", "write to this person from now on", self._set_to),
            "list": Command("/list A,B,C TEXT", "send one message to several people", self._list),
            "who": Command("/who", "show who you are and whom you talked to", self._who),
            "deferred": Command(
                "/deferred [get|delete [1,2]]",
                "show, fetch or delete what waits at the server",
                self._deferred,
            ),
            "history": Command(
                "/history [on|off|NAME|get 1,2|delete 1,2]",
                "show, record, fetch or delete what you talked about",
                self._history.enter,
            ),
            "connect": Command("/connect", "register again now", self._connect),
            "help": Command("/help", "show this", self._help),
            "quit": Command("/quit", "leave; messages wait for you until you return", self._quit),
        }
        client.on_message(self._message)
        client.on_report(self._report)
        client.on_typing(self._typing)
        client.on_waiting(self._notice)
        client.on_state = self._moved
        screen.on_line = self._line
        screen.on_key = self._key
        screen.on_end = self._end

    async def run(self) -> int:
        """Register, talk until the person leaves; return the exit status."""
        self._screen.start(self.complete)
        try:
            self._screen.ask("> ")
            self.say(f"You are {self.short(self._client.identity)}. Registering …")
            try:
                await self._client.register(insist=True)
            except OmaimError as error:
                self._screen.show(f"Not registered: {error}", "error")
                return 1
            status = await self._over
            await self._settled()
            return status
        finally:
            await self._client.close()
            self._screen.stop()

    async def _settled(self) -> None:
        """Wait for what the last lines asked for, but not long."""
        if self._doing:
            waiting: Deferred[Any] = DeferredList(list(self._doing))
            waiting.addTimeout(PATIENCE, self._clock)
            await waiting.addErrback(lambda _: None)

    # What the person does.

    def _line(self, line: str) -> None:
        text = line.strip()
        if not text:
            return
        doing = Deferred.fromCoroutine(self.enter(text)).addErrback(self._broken)
        if not doing.called:
            self._doing.add(doing)
            doing.addCallback(lambda _: self._doing.discard(doing))

    async def enter(self, text: str) -> None:
        """Do what a line asks for."""
        try:
            if text.startswith("/") and not text.startswith("//"):
                name, _, rest = text[1:].partition(" ")
                await self._command(name.lower(), rest.strip())
            elif self._to:
                await self._send(self._to, text[1:] if text.startswith("//") else text)
            else:
                self.say("Whom is it for? Type /to and a name, as /to bob, then the text again.")
        except OmaimError as error:
            self._screen.show(f"That did not work: {error}", "error")

    async def _command(self, name: str, rest: str) -> None:
        command = self._commands.get(name)
        if command is None:
            fitting = [one for one in self._commands if name and one.startswith(name)]
            if len(fitting) != 1:
                near = fitting or difflib.get_close_matches(name, self._commands, 1)
                hint = f" Did you mean /{near[0]}?" if near else ""
                self.say(f"There is no /{name}.{hint} /help shows what there is.")
                return
            command = self._commands[fitting[0]]
        done = command.act(rest)
        if done is not None:
            await done

    async def _set_to(self, rest: str) -> None:
        name, _, text = rest.partition(" ")
        if not name:
            whom = f"You write to {self.short(self._to)}. " if self._to else ""
            self.say(f"{whom}Type /to and a name or an address, as /to bob.")
            return
        self._choose(self.find(name))
        if text.strip():
            await self._send(self._to, text.strip())

    async def _list(self, rest: str) -> None:
        names, _, text = rest.partition(" ")
        people = [self.find(name) for name in names.split(",") if name]
        if not people or not text.strip():
            self.say("Type the names with commas and no spaces: /list bob,carol Lunch at noon?")
            return
        shown = ", ".join(self._note(uri) for uri in people)
        self._screen.show(f"{self.moment()} you to {shown}: {text.strip()}", "own")
        sent = await self._client.send_list(people, text.strip())
        self._sent(sent, text.strip(), shown)

    def _who(self, rest: str) -> None:
        client = self._client
        names = [self.short(uri) for uri in client.granted.associated] or [
            self.short(client.identity)
        ]
        standing = "registered" if client.registered else "not registered"
        self.say(f"You are {', '.join(names)}, {standing}.")
        if self._people:
            self.say(f"You talked to: {', '.join(self._people)}.")
        if self._to:
            self.say(f"What you type goes to {self.short(self._to)}.")

    async def _connect(self, rest: str) -> None:
        await self._client.register(insist=True)

    async def _deferred(self, rest: str) -> None:
        verb, _, numbers = rest.partition(" ")
        mailbox = self._client.deferred
        if verb not in ("", "get", "delete"):
            self.say("Type /deferred to see what waits, /deferred get to fetch it.")
            return
        if not verb:
            self._waiting = await mailbox.list()
            self._show_waiting()
            return
        found = chosen(numbers, len(self._waiting), "/deferred")
        references = [self._waiting[at].reference for at in found]
        if verb == "get":
            await mailbox.retrieve(references)
        else:
            await mailbox.delete(references)
            self.say("Deleted.")
        self._waiting = ()

    def _show_waiting(self) -> None:
        if not self._waiting:
            self.say("Nothing waits for you at the server.")
            return
        for number, one in enumerate(self._waiting, 1):
            who = self.short(one.sender) if one.sender else "somebody"
            subject = f", {one.subject}" if one.subject else ""
            moment = self.moment(one.sent_at or one.date)
            self.say(f"  {number}. {moment} from {who}{subject}, {one.size} octets")
        self.say("/deferred get fetches all, /deferred get 1,2 these; delete works alike.")

    def _notice(self, waiting: tuple[Waiting, ...]) -> None:
        self._waiting = waiting
        if waiting:
            self.say(f"Kept for you at the server: {len(waiting)}.")
            self._show_waiting()

    def _help(self, rest: str) -> None:
        self.say("Type a line and press Enter: it goes to the one whose name stands before it.")
        width = max(len(one.usage) for one in self._commands.values())
        for one in self._commands.values():
            self.say(f"  {one.usage.ljust(width)}  {one.help}")
        self.say("A name is bob for somebody of your own domain, or xenia@south.example.")
        self.say("Tab completes commands and names; the up arrow brings back what you typed.")

    def _quit(self, rest: str) -> None:
        self._end()

    def _end(self) -> None:
        if not self._over.called:
            self._over.callback(0)

    def _key(self) -> None:
        """There is somebody: what was shown has been read."""
        unread, self._unread = self._unread, []
        for message in unread:
            message.read()

    def complete(self, before: str) -> list[str]:
        """Return what the text before the cursor may become."""
        if before.startswith("/") and " " not in before:
            return [f"/{name} " for name in self._commands if f"/{name}".startswith(before)]
        start = before.rfind(" ") + 1
        if before.startswith("/list ") and "," in before[start:]:
            start = before.rfind(",") + 1
        elif before.startswith("/deferred ") and before.count(" ") == 1:
            verbs = [verb for verb in ("get", "delete") if verb.startswith(before[start:])]
            return [f"{before[:start]}{verb} " for verb in verbs]
        elif not before.startswith(("/to ", "/list ")) or before.count(" ") > 1:
            return []
        stem = before[start:]
        return [before[:start] + name for name in self._people if name.startswith(stem)]

    # What happens.

    async def _send(self, to: str, text: str) -> None:
        self._screen.show(f"{self.moment()} you to {self.short(to)}: {text}", "own")
        sent = await self._client.send(to, text)
        self._sent(sent, text, self.short(to))

    def _sent(self, sent: Sent, text: str, whom: str) -> None:
        if len(self._texts) >= REMEMBERED:
            del self._texts[next(iter(self._texts))]
        self._texts[sent.message_id] = text
        if sent.status == PENDING and len(sent.to) == 1:
            self.say(f"  {whom} is not there now; the message is kept for later.")

    def _message(self, message: Message) -> None:
        who = self._note(message.sender)
        others = [self.short(uri) for uri in message.others if not self._is_own(uri)]
        also = f" (also to {', '.join(others)})" if others else ""
        doubt = "" if message.verified else " (not confirmed by the network)"
        head = f"{self.moment(message.sent_at)} {who}{also}{doubt}: "
        if message.subject:
            head += f"[{message.subject}] "
        first, *more = message.text.splitlines() or [self._described(message)]
        self._screen.show(head + first, "peer")
        for line in more:
            self._screen.show("      " + line, "peer")
        if len(self._unread) < UNREAD:
            self._unread.append(message)
        if not self._to:
            self._choose(message.sender)
            self.say(f"  What you type now goes to {who}; /to changes that.")

    def _report(self, report: Report) -> None:
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
            self._screen.show(f"  {who} did not get ({report.status}): {quoted}", "error")

    def _typing(self, typing: Typing) -> None:
        if typing.active:
            self.say(f"  {self.short(typing.sender)} is writing …")

    def _moved(self, state: State) -> None:
        name, self._state = self._state, state.name
        if state.name == "registered":
            if name != "registered":
                self.say("You are registered: who writes to you reaches you here.")
                if not self._to:
                    self.say("Type /to and a name to write to somebody; /help shows the rest.")
        elif state.name == "registering" and state.failure is not None:
            self._screen.show(f"Not registered: {_why(state.failure)}.{_later(state)}", "error")
        elif state.name == "registering" and name == "registered":
            self.say(f"The connection is lost.{_later(state) or ' Connecting again …'}")
        elif state.name == "failed":
            self._screen.show(f"Not registered: {state.failure or 'refused'}", "error")

    # Words.

    def say(self, text: str) -> None:
        """Show a note."""
        self._screen.show(text, "note")

    def _choose(self, uri: str) -> None:
        self._to = uri
        self._screen.ask(f"{self._note(uri)}> ")

    def find(self, name: str) -> str:
        """Return the URI of somebody by the name shown, or of any address."""
        known = self._people.get(name)
        return known or self._client.address(name)

    def _note(self, uri: str) -> str:
        """Remember somebody for completion; return the name."""
        name = self.short(uri)
        if len(self._people) < REMEMBERED:
            self._people.setdefault(name, uri)
        return name

    def short(self, uri: str) -> str:
        """Return an address as people write it."""
        try:
            text = canonical_aor(uri)
        except OmaimError:
            return uri
        text = text.removeprefix("sip:")
        user, at, domain = text.partition("@")
        return user if at and domain == self._client.domain else text

    def _is_own(self, uri: str) -> bool:
        return self.short(uri) == self.short(self._client.identity)

    def moment(self, moment: float = 0.0) -> str:
        """Return the time of day, with the date when it is not today's."""
        now = time.localtime(self._client.now())
        then = time.localtime(moment) if moment else now
        same = now[:3] == then[:3]
        return time.strftime("%H:%M" if same else "%d %b %H:%M", then)

    def _described(self, message: Message) -> str:
        if not message.body:
            return "(empty)"
        return f"({message.content_type}, {len(message.body)} octets, which cannot be shown here)"

    def _broken(self, failure: Broken) -> None:
        _log.failure("A line was not served", failure)
        self._screen.show(f"That went wrong: {failure.getErrorMessage()}", "error")


def _later(state: State) -> str:
    """Return when the next try is, and how not to wait for it; "" if that is now."""
    if state.retry_in < 1.0:
        return ""
    return f" Next try in {state.retry_in:.0f} s, or with /connect."


def _why(failure: Exception) -> str:
    """Return what happened, without the advice."""
    if isinstance(failure, Failure):
        return f"{failure.status} {failure.reason}".strip()
    return str(failure)
