"""The features that come with omaim; they do nothing until a topology file names them."""

from omaim.features.announce import announce
from omaim.features.ratelimit import ratelimit
from omaim.features.wordfilter import wordfilter

__all__ = ["announce", "ratelimit", "wordfilter"]
