"""A scene of the demo: who is on, what came to them, what is drawn, and checks that can fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
from twisted.internet.defer import Deferred

from omaim.client import Client, Message
from omaim.client.conversation import Conversation
from omaim.errors import Unavailable, UsageError
from omaim.features.ladder import Ladder
from omaim.lab.stage import Stage
from omaim.net.wire import WireRecord

LATEST: Final = 10.0  # seconds that somebody waits for a message or a report
ORDER: Final = (
    "alice",
    "bob",
    "carol",
    "mallory",
    "relay-north",
    "core-north",
    "im-north",
    "core-south",
    "im-south",
    "relay-south",
    "xenia",
    "yusuf",
    "zoe",
)

T = TypeVar("T")


@attrs.frozen
class Check:
    """One thing that a step was to show, and whether it did."""

    text: str
    passed: bool
    detail: str = ""  # what was seen instead


@attrs.frozen
class Played:
    """One step of the demo after it was played."""

    title: str
    story: str
    ladder: Ladder
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()  # what of it is not drawn

    @property
    def passed(self) -> bool:
        """Tell whether every check passed."""
        return all(check.passed for check in self.checks)


class Scene:
    """What the steps share: phones that are on, what came to them, and the checks so far.

    Attributes:
        stage: where it is played.
        folder: for files.
        phones: by the names of their people.
        got: messages that came outside sessions, by name.
        checks: of the step that is played.
        notes: what of it is not drawn.
        drawn: what was seen and is drawn.
    """

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.folder = folder
        self.phones: dict[str, Client] = {}
        self.got: dict[str, list[Message]] = {}
        self.talks: dict[str, list[Conversation]] = {}
        self.checks: list[Check] = []
        self.notes: list[str] = []
        self.drawn: list[WireRecord] = []

    # The people.

    async def arrive(self, name: str, **named: Any) -> Client:
        """Switch on somebody's phone and register it.

        Args:
            named: more for the :class:`~omaim.client.Client`.
        """
        phone = self.stage.phone(name, **named)
        phone.auto_accept = True
        phone.on_message(self.got.setdefault(name, []).append)
        phone.on_conversation(self.talks.setdefault(name, []).append)
        self.phones[name] = phone
        await phone.register()
        return phone

    def phone(self, name: str) -> Client:
        """Return the phone of somebody who has arrived.

        Raises:
            UsageError: it is not on.
        """
        if name not in self.phones:
            raise UsageError(f"{name}'s phone is not on")
        return self.phones[name]

    async def leave(self, name: str) -> None:
        """Switch off somebody's phone."""
        phone = self.phones.pop(name)
        self.stage.clients.remove(phone)
        await phone.close()

    def aor(self, name: str) -> str:
        """Return somebody's address."""
        return self.stage.person(name).aor

    # What happens.

    def check(self, text: str, passed: object, detail: object = "") -> None:
        """Note whether something was as it should be."""
        self.checks.append(Check(text, bool(passed), "" if passed else str(detail)))

    async def hears(self, name: str, text: str, times: int = 1) -> list[Message]:
        """Wait until somebody has a message; return all with that text."""

        def found() -> list[Message]:
            return [one for one in self.got.get(name, ()) if one.text == text]

        await self.stage.until(lambda: len(found()) >= times, LATEST)
        return found()

    async def invited(self, name: str) -> Conversation:
        """Return the conversation that somebody was invited to last, once it was accepted.

        Raises:
            Unavailable: there was none in time.
        """
        talks = self.talks[name]
        if not await self.stage.until(lambda: talks, LATEST):
            raise Unavailable(f"{name} was not invited")
        return talks.pop()

    async def within(self, doing: Awaitable[T], what: str) -> T:
        """Return what comes of something that must not take long.

        Raises:
            Unavailable: it did.
        """

        async def wait() -> T:
            return await doing

        waiting = Deferred.fromCoroutine(wait())

        def late(result: object, seconds: float) -> T:
            raise Unavailable(f"{what} did not happen in {seconds:g} s")

        return await waiting.addTimeout(LATEST, self.stage.clock, late)

    # What is drawn.

    async def aside(self, what: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do something of which a ladder would show nothing new; it is counted only."""
        await self.draw()
        try:
            return await act()
        finally:
            passed = self.stage.ladder(await self.stage.settle())
            self.notes.append(f"{what}: {len(passed.steps)} messages")

    async def draw(self) -> Ladder:
        """Wait until the wire is quiet; return the ladder of the step so far."""
        self.drawn += await self.stage.settle()
        ladder = self.stage.ladder(self.drawn, ORDER)
        steps = tuple(step for step in ladder.steps if not step.summary.title.startswith("100 "))
        return attrs.evolve(ladder, steps=steps)

    async def media_ways(self) -> set[tuple[str, str, str]]:
        """Return between whom MSRP has passed in this step, by name, and at which point."""
        ladder = await self.draw()
        steps = [step for step in ladder.steps if step.protocol == "MSRP" and step.point]
        return {
            (*sorted((step.source.name, step.target.name)), step.point)  # type: ignore[misc]
            for step in steps
        }

    async def media_points(self) -> set[str]:
        """Return the reference points that MSRP has crossed in this step."""
        ladder = await self.draw()
        return {step.point for step in ladder.steps if step.protocol == "MSRP"}
