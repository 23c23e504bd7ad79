"""A demo: people of two domains write to each other and talk, and every message is seen.

Each step plays a scene on a :class:`~omaim.lab.stage.Stage`, then checks what it was to show;
a check can fail. What happens in the scenes is in :mod:`omaim.lab.message_scenes` and
:mod:`omaim.lab.session_scenes`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, TimeoutError

from omaim.errors import OmaimError
from omaim.lab.message_scenes import across, offline, refused, register, to_many
from omaim.lab.scene import Played, Scene
from omaim.lab.session_scenes import (
    conference,
    direct,
    file,
    private,
    relayed,
    retrieve,
    room,
    session,
)
from omaim.lab.stage import Stage

LONGEST: Final = 40.0  # seconds for a step; SIP itself may take 32 to give up

Act = Callable[[Scene], Coroutine[Any, Any, None]]
STEPS: Final[tuple[tuple[str, Act], ...]] = (
    ("Register", register),
    ("A message across domains, with a delivery report", across),
    ("A message to somebody who is away", offline),
    ("One message to a list", to_many),
    ("What is refused", refused),
    ("A session across domains", session),
    ("A session without a server between", direct),
    ("A session through a relay, from behind a NAT", relayed),
    ("A file", file),
    ("What waited, fetched in a session", retrieve),
    ("A chat room with six people", room),
    ("A private message in the room", private),
    ("A conference on demand", conference),
)


async def play(stage: Stage, show: Callable[[int, Played], object]) -> list[Played]:
    """Play all steps; a step that breaks has failed, and the next one is played all the same.

    Args:
        show: gets the number and the outcome of each step when it is over.
    """
    played = []
    with tempfile.TemporaryDirectory(prefix="omaim-demo-") as folder:
        scene = Scene(stage, Path(folder))
        await stage.settle()
        for number, (title, act) in enumerate(STEPS, 1):
            step = await _play(scene, title, act)
            show(number, step)
            played.append(step)
    return played


async def _play(scene: Scene, title: str, act: Act) -> Played:
    scene.checks, scene.notes, scene.drawn = [], [], []
    playing = Deferred.fromCoroutine(act(scene))
    playing.addTimeout(LONGEST, scene.stage.clock)
    try:
        await playing
    except TimeoutError:
        scene.check("the step comes to its end", False, f"it did not in {LONGEST:g} s")
    except OmaimError as error:
        scene.check("the step can be played", False, f"{type(error).__name__}: {error}")
    story = " ".join((act.__doc__ or "").split())
    ladder = await scene.draw()
    return Played(title, story, ladder, tuple(scene.checks), tuple(scene.notes))
