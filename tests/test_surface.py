"""The public names: whoever writes a feature, a client or a test against omaim relies on them.

A name that is missing here was taken away or renamed, which needs a fragment in docs/changes
and a thought; a name that is new is written into ``surface.txt`` by
``python -m tests.test_surface``.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PINNED = Path(__file__).resolve().parent / "surface.txt"
MODULES = (
    "omaim.client",
    "omaim.errors",
    "omaim.ids",
    "omaim.msrp",
    "omaim.net.endpoint",
    "omaim.net.msrp",
    "omaim.node.events",
    "omaim.node.hooks",
    "omaim.node.questions",
    "omaim.sip",
    "omaim.stores",
    "omaim.timers",
)


def surface() -> list[str]:
    """Return all public names: what modules offer, and the methods of their classes."""
    found = []
    for name in MODULES:
        module = importlib.import_module(name)
        here = [
            one
            for one, value in vars(module).items()
            if not one.startswith("_") and getattr(value, "__module__", "") == name
        ]
        for one in sorted(getattr(module, "__all__", here)):
            found.append(f"{name}.{one}")
            value = getattr(module, one)
            if isinstance(value, type):
                ours = [base for base in value.__mro__ if base.__module__.startswith("omaim")]
                found += [
                    f"{name}.{one}.{inner}"
                    for inner in sorted({inner for base in ours for inner in vars(base)})
                    if not inner.startswith("_") and callable(getattr(value, inner))
                ]
    return found


class SurfaceTests(SynchronousTestCase):
    def test_names(self) -> None:
        """The public names are the ones written down, compiled or not."""
        pinned = PINNED.read_text().splitlines()
        there = surface()
        self.assertEqual([name for name in pinned if name not in there], [], "gone")
        self.assertEqual([name for name in there if name not in pinned], [], "not written down")


if __name__ == "__main__":
    PINNED.write_text("\n".join(surface()) + "\n")
