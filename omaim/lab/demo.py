"""A demo: people of two domains write to each other, and every message is seen.

Each step plays a scene on a :class:`~omaim.lab.stage.Stage`, then checks what it was to show;
a check can fail.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, TimeoutError

from omaim.client import Client, Message
from omaim.client.failures import Failure, NotFound, WrongPassword
from omaim.errors import OmaimError, UsageError
from omaim.features.ladder import Ladder
from omaim.lab.stage import Stage

ORDER: Final = (
    "alice",
    "bob",
    "mallory",
    "core-north",
    "im-north",
    "core-south",
    "im-south",
    "xenia",
    "yusuf",
)
LATEST: Final = 10.0  # seconds that somebody waits for a message or a report
LONGEST: Final = 40.0  # seconds for a step; SIP itself may take 32 to give up


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

    @property
    def passed(self) -> bool:
        """Tell whether every check passed."""
        return all(check.passed for check in self.checks)


class Scene:
    """What the steps share: phones that are on, what came to them, and the checks so far."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.phones: dict[str, Client] = {}
        self.got: dict[str, list[Message]] = {}
        self.checks: list[Check] = []

    async def arrive(self, name: str) -> Client:
        """Switch on somebody's phone and register it."""
        phone = self.stage.phone(name)
        got = self.got.setdefault(name, [])
        phone.on_message(got.append)
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

    def check(self, text: str, passed: object, detail: object = "") -> None:
        """Note whether something was as it should be."""
        self.checks.append(Check(text, bool(passed), "" if passed else str(detail)))

    async def hears(self, name: str, text: str, times: int = 1) -> list[Message]:
        """Wait until somebody has a message; return all with that text."""

        def found() -> list[Message]:
            return [one for one in self.got.get(name, ()) if one.text == text]

        await self.stage.until(lambda: len(found()) >= times, LATEST)
        return found()

    def aor(self, name: str) -> str:
        """Return somebody's address."""
        return self.stage.person(name).aor


async def register(scene: Scene) -> None:
    """Alice, Bob and Xenia switch their phones on. Each core asks for the password (401), stores
    where the phone is, and tells its IM Server; the phone asks to be told of changes (NOTIFY)."""
    for name in ("alice", "bob", "xenia"):
        phone = await scene.arrive(name)
        await scene.stage.wait(0.1)  # one after the other is easier to read
        scene.check(
            f"{name} is registered as {scene.aor(name)}",
            phone.registered and scene.aor(name) in phone.granted.associated,
            f"the registrar granted {phone.granted.associated}",
        )


async def across(scene: Scene) -> None:
    """Alice writes to Xenia in the other domain and asks for a delivery report. Both IM Servers
    look at the message; the report goes the same way back."""
    text = "Hello from the north!"
    sent = await scene.phone("alice").send(scene.aor("xenia"), text)
    got = await scene.hears("xenia", text)
    scene.check("xenia has the message, once", len(got) == 1, f"{len(got)} times")
    if got:
        scene.check(
            "the network vouches for its sender",
            got[0].verified and got[0].sender == scene.aor("alice"),
            f"{got[0].sender}, verified: {got[0].verified}",
        )
    report = await sent.delivered(LATEST)
    scene.check("alice has the delivery report", report.status == "delivered", report.status)


async def offline(scene: Scene) -> None:
    """Yusuf's phone is off. The IM Server of his domain keeps the message (202); when he comes,
    it is delivered, and only then does Alice get her report."""
    text = "Call me when you are back."
    sent = await scene.phone("alice").send(scene.aor("yusuf"), text)
    scene.check("the message was taken for later", sent.status == "pending", sent.status)
    await scene.arrive("yusuf")
    got = await scene.hears("yusuf", text)
    scene.check("yusuf got it when he registered, once", len(got) == 1, f"{len(got)} times")
    report = await sent.delivered(LATEST)
    scene.check("alice has the report now", report.status == "delivered", report.status)


async def to_many(scene: Scene) -> None:
    """Alice writes one message to a list of three, one of them in blind copy. Her IM Server makes
    a copy for each."""
    text = "Lunch at noon?"
    names = ("bob", "xenia", "yusuf")
    bob, xenia, yusuf = (scene.aor(name) for name in names)
    await scene.phone("alice").send_list([bob, xenia], text, bcc=[yusuf], reports=())
    for name in names:
        got = await scene.hears(name, text)
        scene.check(f"{name} has one copy", len(got) == 1, f"{len(got)} copies")
    await scene.stage.wait(0.1)
    others = [one for name in ("bob", "xenia") for one in scene.got.get(name, ())]
    seen = {uri for one in others for uri in (*one.to, *one.others)}
    scene.check(
        "neither bob nor xenia sees that yusuf has one",
        yusuf not in seen,
        f"visible: {sorted(seen)}",
    )


async def refused(scene: Scene) -> None:
    """Alice writes to somebody who does not exist; then Mallory, who does not know the password,
    tries to be Alice."""
    domain = scene.stage.person("xenia").domain
    try:
        await scene.phone("alice").send(f"sip:nobody@{domain}", "Is anybody there?")
        scene.check("alice is told that there is no nobody", False, "it was accepted")
    except Failure as failure:
        scene.check("alice is told that there is no nobody", isinstance(failure, NotFound), failure)
    mallory = scene.stage.phone("alice", name="mallory", password="guessed", listen=_beside(scene))
    try:
        await mallory.send(scene.aor("bob"), "Send money. Your Alice")
        scene.check("mallory is not believed", False, "the message was accepted")
    except Failure as failure:
        scene.check(
            "mallory is not believed",
            isinstance(failure, WrongPassword) or failure.status == 403,
            failure,
        )
    fooled = [one for one in scene.got.get("bob", ()) if one.text.startswith("Send money")]
    scene.check("bob never sees what mallory wrote", not fooled, "he does")


def _beside(scene: Scene) -> str:
    address = scene.stage.person("alice").address
    return f"{address.rpartition('.')[0]}.66" if address else ""


Act = Callable[[Scene], Coroutine[Any, Any, None]]
STEPS: Final[tuple[tuple[str, Act], ...]] = (
    ("Register", register),
    ("A message across domains, with a delivery report", across),
    ("A message to somebody who is away", offline),
    ("One message to a list", to_many),
    ("What is refused", refused),
)


async def play(stage: Stage, show: Callable[[int, Played], object]) -> list[Played]:
    """Play all steps; a step that breaks has failed, and the next one is played all the same.

    Args:
        show: gets the number and the outcome of each step when it is over.
    """
    scene = Scene(stage)
    await stage.settle()
    played = []
    for number, (title, act) in enumerate(STEPS, 1):
        scene.checks = []
        playing = Deferred.fromCoroutine(act(scene))
        playing.addTimeout(LONGEST, stage.clock)
        try:
            await playing
        except TimeoutError:
            scene.check("the step comes to its end", False, f"it did not in {LONGEST:g} s")
        except OmaimError as error:
            scene.check("the step can be played", False, f"{type(error).__name__}: {error}")
        records = await stage.settle()
        story = " ".join((act.__doc__ or "").split())
        step = Played(title, story, stage.ladder(records, ORDER), tuple(scene.checks))
        show(number, step)
        played.append(step)
    return played
