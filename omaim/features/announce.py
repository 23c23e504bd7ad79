"""Add a line to the first message that somebody gets in a while: an example of a hook.

In the topology file::

    [node]
    features = ["announce"]

    [features.announce]
    text = "Maintenance tonight from 22:00."
"""

from __future__ import annotations

import attrs

from omaim.node.config import setting
from omaim.node.hooks import Deliver, feature
from omaim.node.questions import MayPost

_REMEMBERED = 10_000  # recipients; one forgotten early sees the line once more


@attrs.frozen
class Config:
    """Settings of the announcement."""

    text: str = setting("", "the line to add; empty adds nothing")
    told: dict[tuple[str, str], None] = attrs.field(factory=dict, eq=False, repr=False)


@feature("announce", on=MayPost, config=Config, order=100)
async def announce(question: MayPost, config: Config) -> Deliver | None:
    """Add the line once to what each recipient gets, after other features had their say."""
    if question.side != "terminating" or not config.text or not question.text:
        return None
    key = (question.recipients[0], config.text)
    if key in config.told:
        return None
    if len(config.told) >= _REMEMBERED:
        del config.told[next(iter(config.told))]
    config.told[key] = None
    return Deliver(f"{question.text}\n-- {config.text}")
