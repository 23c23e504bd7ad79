"""The prompt of ``omaim client``: a person talks, without having read anything.

It says what it does and what to do next in whole sentences; a screen
(:mod:`omaim.client.terminal`) shows them. Its parts: :mod:`~omaim.client.talk_prompt` for
sessions and rooms, :mod:`~omaim.client.file_prompt`, :mod:`~omaim.client.history_prompt`;
:mod:`~omaim.client.desk` has what they share.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure as Broken

from omaim.bodies.deferred_list import Waiting
from omaim.client.client import Client
from omaim.client.desk import Command, Desk
from omaim.client.failures import Failure, NotFound
from omaim.client.file_prompt import FilePrompt
from omaim.client.history_prompt import HistoryPrompt, chosen
from omaim.client.messages import PENDING, Message, State, Typing
from omaim.client.questions import Questions
from omaim.client.reading import ENVELOPES
from omaim.client.talk_prompt import TalkPrompt
from omaim.client.terminal import Screen
from omaim.client.words import detail
from omaim.errors import OmaimError
from omaim.sip.reasons import reason_for

PATIENCE: Final = 35.0  # seconds for what is under way when there are no more lines
LEAVING: Final = 2.0  # seconds for what is under way when a person leaves
FOLDER: Final = "downloads"
_LISTED: Final = ("/list ", "/conference ", "/invite ", "/kick ", "/host ")
_NAMED: Final = (
    "/to ",
    "/talk ",
    "/whisper ",
    "/can ",
    *_LISTED,
)  # commands whose first word is a name

# What can be done before we are registered.
_AT_ONCE: Final = ("who", "connect", "why", "help", "quit")

_log = Logger()


class Prompt:
    """Talks with the person at a screen.

    Args:
        client: whose prompt it is; not yet registered.
        screen: where the person is.
        clock: for timers.
        folder: where files go that others send.
    """

    def __init__(
        self, client: Client, screen: Screen, clock: Any, folder: str | Path = FOLDER
    ) -> None:
        self._client = client
        self._screen = screen
        self._clock = clock
        self._over: Deferred[int] = Deferred()
        self._doing: set[Deferred[None]] = set()
        self._turn = DeferredLock()
        self._unregistered: list[Deferred[None]] | None = []
        self._to = ""
        self._waiting: tuple[Waiting, ...] = ()
        self._state = ""
        self._desk = desk = Desk(client, screen, clock)
        self._say = desk.say
        questions = Questions(desk)
        self._talks = TalkPrompt(desk, questions, self._prompted)
        files = FilePrompt(desk, questions, self._talks, lambda: self._to, Path(folder))
        history = HistoryPrompt(client.history, desk, desk.is_own)
        self._commands = {
            "to": Command("/to NAME [TEXT]", "write to this person from now on", self._set_to),
            "list": Command("/list A,B,C TEXT", "send one message to several people", self._list),
            **self._talks.commands(),
            **questions.commands(),
            **files.commands(),
            "who": Command("/who", "show who you are, and who is there", self._who),
            "deferred": Command(
                "/deferred [get|delete [1,2]]",
                "show, fetch or delete what waits at the server",
                self._deferred,
            ),
            "history": Command(
                "/history [on|off|NAME|get 1,2|delete 1,2]",
                "show, record, fetch or delete what you talked about",
                history.enter,
            ),
            "can": Command("/can NAME", "show what somebody's client takes", self._can),
            "connect": Command("/connect", "register again now", self._connect),
            "why": Command("/why", "show more about what went wrong last", self._why),
            "help": Command("/help", "show this", self._help),
            "quit": Command("/quit", "leave; messages wait for you until you return", self._quit),
        }
        client.on_message(self._message)
        client.on_report(desk.report)
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
            self._prompted()
            self._say(f"You are {self._desk.short(self._client.identity)}. Registering …")
            try:
                await self._registering()
            except CancelledError:
                return 0
            except OmaimError as error:
                self._screen.show(f"Not registered: {error}", "error")
                return 1
            self._begin()
            status = await self._over
            await self._settled()
            return status
        finally:
            await self._client.close()
            self._screen.stop()

    def _registering(self) -> Deferred[Any]:
        """Register; a person who leaves before that is not held up."""
        registering: Deferred[Any] = Deferred.fromCoroutine(self._client.register(insist=True))
        if not self._screen.patient:
            self._over.addCallback(_give_up, registering)
        return registering

    def _begin(self) -> None:
        """We are registered, or are not going to be: go on with what was typed before that."""
        waiting, self._unregistered = self._unregistered, None
        for one in waiting or ():
            one.callback(None)

    async def _registered(self) -> None:
        """Wait until we are registered for the first time."""
        if self._unregistered is None:
            return
        waiting: Deferred[None] = Deferred()
        self._unregistered.append(waiting)
        if len(self._unregistered) == 1:
            self._say("That is done as soon as you are registered.")
        await waiting

    async def _settled(self) -> None:
        """Wait for what the last lines asked for, but not long; then give it up."""
        if self._doing:
            waiting: Deferred[Any] = DeferredList(list(self._doing))
            waiting.addTimeout(PATIENCE if self._screen.patient else LEAVING, self._clock)
            await waiting.addErrback(lambda _: None)
            for one in list(self._doing):
                one.cancel()

    # What the person does.

    def _line(self, line: str) -> None:
        text = line.strip()
        if not text:
            return
        if self._screen.patient:
            doing = self._turn.run(lambda: Deferred.fromCoroutine(self.enter(text)))
        else:
            doing = Deferred.fromCoroutine(self.enter(text))
        doing.addErrback(self._broken)
        if not doing.called:
            self._doing.add(doing)
            doing.addCallback(lambda _: self._doing.discard(doing))

    async def enter(self, text: str) -> None:
        """Do what a line asks for."""
        try:
            if self._unregistered and not text.startswith(tuple(f"/{one}" for one in _AT_ONCE)):
                await self._registered()  # behind those that wait
            if text.startswith("/") and not text.startswith("//"):
                name, _, rest = text[1:].partition(" ")
                await self._command(name.lower(), rest.strip())
            elif self._talks.current is not None:
                await self._talks.say(text[1:] if text.startswith("//") else text)
            elif self._to:
                await self._registered()
                await self._send(self._to, text[1:] if text.startswith("//") else text)
            else:
                self._say("Whom is it for? Type /to and a name, as /to bob, then the text again.")
        except OmaimError as error:
            self._desk.refused(error)
        except CancelledError:
            pass  # the person has left

    async def _command(self, name: str, rest: str) -> None:
        command = self._commands.get(name)
        if command is None:
            fitting = [one for one in self._commands if name and one.startswith(name)]
            if len(fitting) != 1:
                near = fitting or difflib.get_close_matches(name, self._commands, 1)
                hint = f" Did you mean /{near[0]}?" if near else ""
                self._say(f"There is no /{name}.{hint} /help shows what there is.")
                return
            name = fitting[0]
            command = self._commands[name]
        if name not in _AT_ONCE and (name != "to" or " " in rest):
            await self._registered()
        done = command.act(rest)
        if done is not None:
            await done

    async def _set_to(self, rest: str) -> None:
        name, _, text = rest.partition(" ")
        if not name:
            whom = f"You write to {self._desk.short(self._to)}. " if self._to else ""
            self._say(f"{whom}Type /to and a name or an address, as /to bob.")
            return
        if not text.strip() and self._talks.choose(name):
            return
        self._choose(self._desk.find(name))
        if text.strip():
            await self._send(self._to, text.strip())

    async def _list(self, rest: str) -> None:
        names, _, text = rest.partition(" ")
        people = [self._desk.find(name) for name in names.split(",") if name]
        if not people or not text.strip():
            self._say("Type the names with commas and no spaces: /list bob,carol Lunch at noon?")
            return
        shown = ", ".join(self._desk.note(uri) for uri in people)
        self._screen.show(f"{self._desk.moment()} you to {shown}: {text.strip()}", "own")
        sent = await self._client.send_list(people, text.strip())
        self._desk.sent(sent, text.strip())

    def _who(self, rest: str) -> None:
        client = self._client
        names = [self._desk.short(uri) for uri in client.granted.associated] or [
            self._desk.short(client.identity)
        ]
        standing = "registered" if client.registered else "not registered"
        self._say(f"You are {', '.join(names)}, {standing}.")
        if self._desk.people:
            self._say(f"You talked to: {', '.join(self._desk.people)}.")
        self._talks.who()
        if self._to and self._talks.current is None:
            self._say(f"What you type goes to {self._desk.short(self._to)}.")

    async def _can(self, rest: str) -> None:
        if not rest:
            self._say("Type /can and a name, as /can bob.")
            return
        uri = self._desk.find(rest)
        found = await self._client.can(uri, fresh=True)
        who = self._desk.short(uri)
        if found.status >= 300:
            self._say(f"{who} does not say now ({found.status} {reason_for(found.status)}).")
            return
        wording = (
            ("short messages", found.messages),
            ("large messages", found.large),
            ("talks", found.sessions),
            ("files", found.files),
        )
        takes = [words for words, known in wording if known]
        refuses = [words for words, known in wording if known is False]
        said = [f"takes {', '.join(takes)}"] if takes else []
        said += [f"does not take {', '.join(refuses)}"] if refuses else []
        self._say(f"{who}'s client {' and '.join(said) or 'says nothing about it'}.")
        texts = [one for one in found.accept if one not in ENVELOPES]
        if texts:
            self._say(f"  Formats: {', '.join(texts)}.")

    def _why(self, rest: str) -> None:
        failed = self._desk.failed
        self._say("Nothing went wrong." if failed is None else detail(failed))

    async def _connect(self, rest: str) -> None:
        await self._client.register(insist=True)

    async def _deferred(self, rest: str) -> None:
        verb, _, numbers = rest.partition(" ")
        mailbox = self._client.deferred
        if verb not in ("", "get", "delete"):
            self._say("Type /deferred to see what waits, /deferred get to fetch it.")
            return
        if not verb:
            self._waiting = await mailbox.list()
            self._show_waiting()
            return
        found = chosen(numbers, len(self._waiting), "/deferred")
        references = [self._waiting[at].reference for at in found]
        if verb == "get":
            await mailbox.fetch(references)
        else:
            await mailbox.delete(references)
            self._say("Deleted.")
        self._waiting = ()

    def _show_waiting(self) -> None:
        if not self._waiting:
            self._say("Nothing waits for you at the server.")
            return
        for number, one in enumerate(self._waiting, 1):
            who = self._desk.short(one.sender) if one.sender else "somebody"
            subject = f", {one.subject}" if one.subject else ""
            moment = self._desk.moment(one.sent_at or one.date)
            self._say(f"  {number}. {moment} from {who}{subject}, {one.size} octets")
        self._say("/deferred get fetches all, /deferred get 1,2 these; delete works alike.")

    def _notice(self, waiting: tuple[Waiting, ...]) -> None:
        self._waiting = waiting
        if waiting:
            self._say(f"Kept for you at the server: {len(waiting)}.")
            self._show_waiting()

    def _help(self, rest: str) -> None:
        self._say("Type a line and press Enter: it goes to the one whose name stands before it.")
        width = max(len(one.usage) for one in self._commands.values())
        for one in self._commands.values():
            self._say(f"  {one.usage.ljust(width)}  {one.help}")
        self._say("A name is bob for somebody of your own domain, or xenia@south.example.")
        self._say("Tab completes commands and names; the up arrow brings back what you typed.")

    def _quit(self, rest: str) -> None:
        self._end()

    def _end(self) -> None:
        if not self._over.called:
            self._over.callback(0)

    def _key(self) -> None:
        """There is somebody."""
        self._desk.seen()
        line = self._screen.line
        if not line or line.startswith("/"):
            return
        if self._talks.current is not None:
            self._talks.typed()
        elif self._to and self._client.registered:
            self._client.typing(self._to)

    def complete(self, before: str) -> list[str]:
        """Return what the text before the cursor may become."""
        if before.startswith("/") and " " not in before:
            return [f"/{name} " for name in self._commands if f"/{name}".startswith(before)]
        start = before.rfind(" ") + 1
        if before.startswith(_LISTED) and "," in before[start:]:
            start = before.rfind(",") + 1
        elif before.startswith("/deferred ") and before.count(" ") == 1:
            verbs = [verb for verb in ("get", "delete") if verb.startswith(before[start:])]
            return [f"{before[:start]}{verb} " for verb in verbs]
        elif before.startswith("/send "):
            return _paths(before)
        elif not before.startswith(_NAMED) or before.count(" ") > 1:
            return []
        stem = before[start:]
        return [before[:start] + name for name in self._desk.people if name.startswith(stem)]

    # What happens.

    async def _send(self, to: str, text: str) -> None:
        self._screen.show(f"{self._desk.moment()} you to {self._desk.short(to)}: {text}", "own")
        try:
            sent = await self._client.send(to, text)
        except NotFound:
            self._desk.forget(to)
            if self._to == to and self._talks.current is None:
                self._to = ""
                self._prompted()
            raise
        self._desk.sent(sent, text)
        if sent.status != PENDING:
            return
        whom = self._desk.short(to)
        if self._desk.is_group(to):
            self._say(f"  The server has taken it for everybody in {whom}.")
        else:
            self._say(f"  {whom} is not there now; the message is kept for later.")

    def _message(self, message: Message) -> None:
        who = self._desk.hear(message)
        if not self._to and self._talks.current is None:
            self._choose(message.group or message.sender)
            whom = self._desk.short(message.group) if message.group else who
            self._say(f"  What you type now goes to {whom}; /to changes that.")

    def _typing(self, typing: Typing) -> None:
        if typing.active:
            self._say(f"  {self._desk.short(typing.sender)} is writing …")

    def _moved(self, state: State) -> None:
        name, self._state = self._state, state.name
        if state.name == "registered":
            if name != "registered":
                self._say("You are registered: who writes to you reaches you here.")
                if not self._to:
                    self._say("Type /to and a name to write to somebody; /help shows the rest.")
        elif state.name == "registering" and state.failure is not None:
            self._desk.failed = state.failure
            self._screen.show(f"Not registered: {_reason(state.failure)}.{_later(state)}", "error")
        elif state.name == "registering" and name == "registered":
            self._say(f"The connection is lost.{_later(state) or ' Connecting again …'}")
        elif state.name == "failed":
            self._screen.show(f"Not registered: {state.failure or 'refused'}", "error")

    def _choose(self, uri: str) -> None:
        self._to = uri
        self._talks.leave_line()
        self._prompted()

    def _prompted(self) -> None:
        """Show whom the line goes to, outside of sessions."""
        self._desk.ask(f"{self._desk.note(self._to)}> " if self._to else "> ")

    def _broken(self, failure: Broken) -> None:
        _log.failure("A line was not served", failure)
        self._screen.show(f"That went wrong: {failure.getErrorMessage()}", "error")


def _give_up(status: int, registering: Deferred[Any]) -> int:
    registering.cancel()
    return status


def _paths(before: str) -> list[str]:
    """Return what the path of a file may become."""
    command, _, typed = before.partition(" ")
    folder = Path(typed).expanduser() if typed.endswith("/") else Path(typed).expanduser().parent
    stem = "" if typed.endswith("/") else Path(typed).name
    head = typed[: len(typed) - len(stem)]
    try:
        found = sorted(one for one in folder.iterdir() if one.name.startswith(stem))
    except OSError:
        return []
    shown = [one for one in found if stem or not one.name.startswith(".")][:50]
    return [f"{command} {head}{one.name}{'/' if one.is_dir() else ''}" for one in shown]


def _later(state: State) -> str:
    """Return when the next try is, and how not to wait for it; "" if that is now."""
    if state.retry_in < 1.0:
        return ""
    return f" Next try in {state.retry_in:.0f} s, or with /connect."


def _reason(failure: Exception) -> str:
    """Return what happened, without the advice."""
    if isinstance(failure, Failure):
        return f"{failure.status} {failure.reason}".strip()
    return str(failure)
