"""Refuse or mask messages that hold certain words: an example of a hook with settings.

In the topology file::

    [node]
    features = ["wordfilter"]

    [features.wordfilter]
    words = ["spam", "casino"]
    action = "mask"
"""

from __future__ import annotations

import re
from functools import lru_cache

import attrs

from omaim.node.config import setting
from omaim.node.hooks import Deliver, Refuse, feature
from omaim.node.questions import MayPost


@attrs.frozen
class Config:
    """Settings of the word filter."""

    words: tuple[str, ...] = setting((), "words that are not wanted, in any case")
    action: str = setting(
        "refuse",
        "refuse: the sender gets 403; mask: each letter becomes a star",
        check=lambda value: "" if value in ("refuse", "mask") else "must be refuse or mask",
    )


@lru_cache(16)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str] | None:
    if not words:
        return None
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b", re.IGNORECASE)


@feature("wordfilter", on=MayPost, config=Config)
async def wordfilter(question: MayPost, config: Config) -> Refuse | Deliver | None:
    """Look at the sender's side only: there the sender can be told."""
    pattern = _pattern(config.words)
    if pattern is None or question.side == "terminating" or not pattern.search(question.text):
        return None
    if config.action == "refuse":
        return Refuse(403, "The message holds a word that is not allowed here")
    return Deliver(pattern.sub(lambda found: "*" * len(found[0]), question.text))
