"""Let each address make only so many requests a second.

In the topology file::

    [node]
    features = ["ratelimit"]

    [features.ratelimit]
    rate = 20.0
    burst = 100.0

Trusted neighbours, such as application servers, are never counted.
"""

from __future__ import annotations

import attrs

from omaim.node.config import setting
from omaim.node.hooks import Refuse, feature
from omaim.node.questions import MayAsk

_REMEMBERED = 20_000  # addresses; the one longest unseen is forgotten first


@attrs.frozen
class Config:
    """Settings of the rate limit."""

    rate: float = setting(20.0, "requests a second that one address may go on making")
    burst: float = setting(100.0, "requests that it may make at once")
    left: dict[str, tuple[float, float]] = attrs.field(factory=dict, eq=False, repr=False)


@feature("ratelimit", on=MayAsk, config=Config, order=-100)
async def ratelimit(question: MayAsk, config: Config) -> Refuse | None:
    """Refuse with 503 whoever asks too often (RFC 3261 §21.5.4)."""
    left, at = config.left.pop(question.host, (config.burst, question.at))
    left = min(config.burst, left + max(0.0, question.at - at) * config.rate)
    if len(config.left) >= _REMEMBERED:
        del config.left[next(iter(config.left))]
    enough = left >= 1.0
    config.left[question.host] = (left - 1.0 if enough else left, question.at)
    return None if enough else Refuse(503, "Too many requests")
