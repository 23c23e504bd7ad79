"""What a person at the prompt does in sessions: talk to one, or with several in a room.

Spec: OMA SIMPLE IM 1.0 (session mode, group sessions)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from omaim.client.conversation import Conversation
from omaim.client.desk import Command, Desk
from omaim.client.hosting import HostedRoom
from omaim.client.invited import Invited
from omaim.client.messages import Message, Typing
from omaim.client.questions import Question, Questions
from omaim.client.room import Room
from omaim.client.roster import Participant
from omaim.client.words import told
from omaim.errors import OmaimError, UsageError
from omaim.sip.reasons import reason_for

Group = Room | HostedRoom
Session = Conversation | HostedRoom


class TalkPrompt:
    """Sessions at the prompt.

    Args:
        desk: of the prompt.
        questions: asked of the person.
        back: called when the line goes to nobody in a session any more.

    Attributes:
        current: where the line goes, ``None`` for no session.
    """

    def __init__(self, desk: Desk, questions: Questions, back: Callable[[], object]) -> None:
        self.current: Session | None = None
        self._desk = desk
        self._questions = questions
        self._back = back
        self._open: dict[str, Session] = {}
        self._there: dict[Group, tuple[str, ...]] = {}
        self._left: dict[str, Room] = {}
        desk.client.on_invitation(self._invited)
        desk.client.on_conversation(self._begun)

    def commands(self) -> dict[str, Command]:
        """Return what the person can type."""
        return {
            "talk": Command(
                "/talk NAME [SUBJECT] [: TEXT]",
                "invite somebody to talk; TEXT goes along",
                self._talk,
            ),
            "auto": Command(
                "/auto on|off", "answer by itself those whom your server lets do so", self._auto
            ),
            "join": Command("/join ROOM", "come into a room, as /join room.lobby", self._join),
            "leave": Command("/leave", "end the talk, or go out of the room", self._leave),
            "nick": Command("/nick [NAME]", "be called so in this room", self._nick),
            "whisper": Command(
                "/whisper NAME TEXT", "say it to one in this room only", self._whisper
            ),
            "invite": Command("/invite A,B", "have this room invite people", self._invite),
            "kick": Command("/kick A,B", "have this room put people out", self._kick),
            "conference": Command(
                "/conference A,B [SUBJECT]",
                "talk with several; who you talk to now comes along",
                self._conference,
            ),
            "host": Command(
                "/host A,B [SUBJECT]", "talk with several without a server's help", self._host
            ),
        }

    # The line.

    async def say(self, text: str) -> None:
        """Say what the person typed."""
        conversation = self._here()
        label = self._label(conversation)
        who = f"{label} you" if isinstance(conversation, Group) else f"you to {label}"
        self._desk.own(f"{self._desk.moment()} {who}: {text}")
        self._desk.sent(await conversation.send(text), text)

    def typed(self) -> None:
        """The person is typing what will be said."""
        if self.current is not None:
            self.current.typing()

    def choose(self, name: str) -> bool:
        """Let the line go to an open session; tell whether one is called so."""
        found = self._open.get(name) or self._open.get(f"#{name}")
        if found is None:
            return False
        self._go(found)
        return True

    def leave_line(self) -> None:
        """The line goes to somebody outside of sessions."""
        self.current = None

    def who(self) -> None:
        """Show who is there."""
        room = self.current
        if isinstance(room, Group):
            if room.roster_known:
                people = ", ".join(self._described(one) for one in room.participants)
                self._desk.say(f"In {self._label(room)}: {people or 'nobody'}.")
            else:
                self._desk.say(f"{self._label(room)} does not tell who is there.")
        if self._open:
            self._desk.say(f"Open: {', '.join(self._open)}. /to and one of these goes there.")

    # Commands.

    async def _talk(self, rest: str) -> None:
        name, _, rest = rest.partition(" ")
        if not name:
            self._desk.say("Type /talk and a name, as /talk bob, or /talk bob Lunch : Hungry?")
            return
        subject, first = _parted(rest)
        uri = self._desk.find(name)
        shown = self._desk.note(uri)
        self._desk.say(f"Calling {shown} …")

        def ringing(status: int) -> None:
            if status == 180:
                self._desk.say(f"  It rings at {shown}'s.")

        conversation = await self._desk.client.invite(
            uri, subject=subject, ringing=ringing, first=first
        )
        if conversation.first is not None:
            self._desk.own(f"{self._desk.moment()} you to {shown}: {first}")
            self._desk.sent(conversation.first, first)
            for report in conversation.first.reports:  # it may have come while it rang
                self._desk.report(report)
        self._desk.say(f"{shown} is there. What you type is said; /leave ends it.")
        self._keep(conversation)
        self._go(conversation)

    async def _auto(self, rest: str) -> None:
        word = rest.strip().lower()
        if word not in ("on", "off"):
            self._desk.say("Type /auto on, or /auto off.")
            return
        client, wanted = self._desk.client, word == "on"
        await client.settings.want(automatic=wanted)
        client.auto_answer = wanted
        who = "Those whom your server lets do so are" if wanted else "Nobody is"
        self._desk.say(f"{who} answered without asking you.")

    async def _join(self, rest: str) -> None:
        name = rest.strip()
        if not name:
            self._desk.say("Type /join and a room, as /join room.lobby.")
            return
        if self.choose(name):
            return  # we are in it
        left = self._left.get(name.removeprefix("#"))
        if name.startswith("#") and left is None:
            name = f"room.{name[1:]}"
        if left is not None:
            room = await left.rejoin()
            self._left.pop(name.removeprefix("#"), None)
        else:
            room = await self._desk.client.join(self._desk.client.address(name))
        self._enter(room)

    def _enter(self, room: Group) -> None:
        self._keep(room)
        self._go(room)
        label = self._label(room)
        self._desk.say(f"You are in {label}. /who shows who else is; /leave goes out.")

    async def _leave(self, rest: str) -> None:
        conversation = self._here()
        await conversation.leave()

    async def _nick(self, rest: str) -> None:
        await self._room().nickname(rest.strip())
        self._desk.say(f"You are called {rest.strip()} here." if rest else "You have no nickname.")

    async def _whisper(self, rest: str) -> None:
        if " " not in rest:
            self._desk.say("Type /whisper, a name and the text, as /whisper Al see you later.")
            return
        room = self._room()
        name, text = _named(rest, room.participants)
        sent = await room.whisper(self._desk.people.get(name, name), text.strip())
        label = self._label(room)
        self._desk.own(f"{self._desk.moment()} {label} you to {name} only: {text.strip()}")
        self._desk.sent(sent, text.strip())

    async def _invite(self, rest: str) -> None:
        people = self._desk.found(rest)
        if not people:
            self._desk.say("Type /invite and names, as /invite bob,carol.")
            return
        room = self._room()
        if isinstance(room, HostedRoom):
            await self._call(room, people)
            return
        reference = await room.invite(*people)
        names = self._desk.names(people)
        self._desk.say(f"{names} will be invited.")
        if reference is not None:
            status = await reference.done()
            if status >= 300:
                self._desk.say(f"  {names} does not come ({status} {reason_for(status)}).")

    async def _kick(self, rest: str) -> None:
        names = rest.replace(",", " ").split()
        if not names:
            self._desk.say("Type /kick and names, as /kick bob.")
            return
        await self._room().expel(*(self._desk.people.get(name, name) for name in names))

    async def _conference(self, rest: str) -> None:
        names, _, subject = rest.partition(" ")
        people = self._desk.found(names)
        current = self.current
        instead = None if current is None or isinstance(current, Group) else current
        if not people:
            self._desk.say("Type the names with commas: /conference bob,carol Plans.")
            return
        room = await self._desk.client.conference(people, subject.strip(), instead=instead)
        self._enter(room)

    async def _host(self, rest: str) -> None:
        names, _, subject = rest.partition(" ")
        people = self._desk.found(names)
        if not people:
            self._desk.say("Type the names with commas: /host bob,carol Plans.")
            return
        room = await self._desk.client.host(subject.strip())
        self._enter(room)
        await self._call(room, people)

    async def _call(self, room: HostedRoom, people: Sequence[str]) -> None:
        """Call people into a room of ours; say who does not come."""
        results: list[tuple[bool, Any]] = await DeferredList(
            [Deferred.fromCoroutine(room.invite(one)) for one in people], consumeErrors=True
        )
        for person, (came, result) in zip(people, results, strict=True):
            if came:
                continue
            if not isinstance(result.value, OmaimError):
                result.raiseException()
            self._desk.failed = result.value
            self._desk.trouble(f"  {self._desk.short(person)}: {told(result.value)}")

    # What happens.

    def _invited(self, invited: Invited) -> None:
        who = self._desk.note(invited.sender)
        doubt = "" if invited.verified else " (not confirmed by the network)"
        about = f" about {invited.subject}" if invited.subject else ""
        if invited.room:
            text = f"{who}{doubt} invites you into a room{about}."
        else:
            text = f"{who}{doubt} wants to talk{about}."
        if invited.first is not None:
            text += f' "{invited.first.text}"'
        question = Question(text, invited.accept, invited.decline)
        invited.on_cancel(
            lambda: self._questions.gone(question, f"{who} does not wait any longer.")
        )
        self._questions.ask(question)

    def _begun(self, conversation: Conversation) -> None:
        if isinstance(conversation, Room):
            self._enter(conversation)
            return
        self._keep(conversation)
        self._go(conversation)
        self._desk.say(f"You talk with {self._label(conversation)}; /leave ends it.")

    def _keep(self, conversation: Session) -> None:
        """Show what happens in a session."""
        label = self._label(conversation)
        self._open[label] = conversation
        conversation.on_message(lambda message: self._message(conversation, message))
        conversation.on_typing(lambda typing: self._typing(conversation, typing))
        conversation.on_end(lambda why: self._ended(conversation, why))
        if isinstance(conversation, Group):
            room = conversation
            room.on_roster(lambda people: self._moved(room, people))

    def _message(self, conversation: Session, message: Message) -> None:
        if not isinstance(conversation, Group):
            self._desk.hear(message)
            return
        remark = " to you only" if conversation.is_private(message) else ""
        self._desk.hear(message, self._label(conversation), remark)

    def _typing(self, conversation: Session, typing: Typing) -> None:
        if typing.active:
            who = self._desk.short(typing.sender)
            if isinstance(conversation, Group):
                who = f"{self._label(conversation)} {conversation.name_of(typing.sender) or who}"
            self._desk.say(f"  {who} is writing …")

    def _moved(self, room: Group, people: tuple[Participant, ...]) -> None:
        """Somebody came or went."""
        now = tuple(one.uri for one in people if one.here and not self._desk.is_own(one.uri))
        before = self._there.get(room)
        self._there[room] = now
        for one in people:
            if not self._desk.is_own(one.uri):
                self._desk.note(one.uri)
        if before is None:
            return
        label = self._label(room)
        for uri in now:
            if uri not in before:
                self._desk.say(f"  {self._desk.short(uri)} has come into {label}.")
        for uri in before:
            if uri not in now:
                self._desk.say(f"  {self._desk.short(uri)} has left {label}.")

    def _ended(self, conversation: Session, why: str) -> None:
        label = self._label(conversation)
        for name in [name for name, one in self._open.items() if one is conversation]:
            del self._open[name]
        because = f": {why}" if why else ""
        if isinstance(conversation, Group):
            self._there.pop(conversation, None)
        if isinstance(conversation, Room):
            self._left[label.removeprefix("#")] = conversation
            again = label.removeprefix("#")
            self._desk.say(f"You are out of {label}{because}. /join {again} goes in again.")
        elif isinstance(conversation, HostedRoom):
            self._desk.say(f"{label} is over for all{because}.")
        else:
            self._desk.say(f"The talk with {label} is over{because}.")
        if self.current is conversation:
            self.current = None
            self._back()

    # Words.

    def _go(self, conversation: Session) -> None:
        self.current = conversation
        talking = "" if isinstance(conversation, Group) else " (talking)"
        self._desk.ask(f"{self._label(conversation)}{talking}> ")

    def _label(self, conversation: Session) -> str:
        for label, known in self._open.items():
            if known is conversation:
                return label
        if not isinstance(conversation, Group):
            return self._desk.note(conversation.peer)
        short = self._desk.short(conversation.uri)
        if not short.startswith("room."):
            short = conversation.subject or "conference"
        label = f"#{short.removeprefix('room.').replace(' ', '-')}"
        number = 1
        unique = label
        while unique in self._open:
            number += 1
            unique = f"{label}-{number}"
        return unique

    def _described(self, one: Participant) -> str:
        name = self._desk.short(one.uri)
        if one.nickname:
            name = f"{one.nickname} ({name})"
        return name if one.here else f"{name} (is being called)"

    def _here(self) -> Session:
        if self.current is None:
            raise UsageError("you are in no talk now; /talk bob or /join room.lobby begins one")
        return self.current

    def _room(self) -> Group:
        room = self.current
        if not isinstance(room, Group):
            raise UsageError("you are in no room now; /join room.lobby goes into one")
        return room


def _parted(rest: str) -> tuple[str, str]:
    """Return the subject and the first message in what stands behind a name."""
    subject, _, first = f" {rest}".partition(" :")
    return subject.strip(), first.strip()


def _named(text: str, people: Sequence[Participant]) -> tuple[str, str]:
    """Return whom the beginning of a text names, and the rest; names may have blanks in them."""
    names = {name for one in people for name in (one.nickname, one.name) if " " in name}
    for name in sorted(names, key=len, reverse=True):
        if text.casefold().startswith(f"{name.casefold()} "):
            return name, text[len(name) :].strip()
    name, _, rest = text.partition(" ")
    return name, rest.strip()
