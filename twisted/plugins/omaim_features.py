"""The features that come with omaim; they do nothing until a topology file names them."""

from omaim.features.announce import announce
from omaim.features.ratelimit import ratelimit
from omaim.features.wordfilter import wordfilter
from omaim.node.extension import Extension

metrics = Extension("metrics", "omaim.features.metrics")

__all__ = ["announce", "metrics", "ratelimit", "wordfilter"]
