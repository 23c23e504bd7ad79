"""Draw docs/ladder.svg: one message of the demo, as it crossed the wire.

Run it as ``python docs/picture.py`` where omaim is installed; ``./run shell`` is such a place.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from omaim.cli.running import run, the_reactor
from omaim.features.ladder_svg import draw_svg
from omaim.lab.message_scenes import register
from omaim.lab.scene import ORDER, Scene
from omaim.lab.stage import Stage
from omaim.lab.starting import Folder, free_plan, start_lab


async def picture() -> str:
    """Play the scene on a lab of its own and return the drawing."""
    with Folder() as place:
        node, lab = await start_lab(free_plan(place.path), the_reactor())
        stage = Stage(lab.contents, "the lab", the_reactor(), node)
        try:
            scene = Scene(stage, place.path)
            await register(scene)
            await stage.settle()
            await scene.phones["alice"].send(scene.aor("xenia"), "Hello!", reports=())
            ladder = stage.ladder(await stage.settle(), ORDER)
        finally:
            await stage.close()
            await node.stopService()
    # The messages themselves would be most of the file, and a README shows none.
    bare = tuple(attrs.evolve(step, data=b"") for step in ladder.steps)
    return draw_svg(attrs.evolve(ladder, steps=bare))


if __name__ == "__main__":
    Path(__file__).with_name("ladder.svg").write_text(run(picture), encoding="utf-8")
