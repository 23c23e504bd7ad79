"""Write the API reference into the folder that is given; a warning is a failure.

Three things that are fine here are none to pydoctor: ``~`` before a name, which asks for its last
piece only; ``Args:`` of an attrs class, whose ``__init__`` nobody wrote; an interface that
extends one of Twisted's, which it does not read.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydoctor import linker, model
from pydoctor.driver import main

ROOT = Path(__file__).resolve().parents[2]
_plain_xref: Any = linker._EpydocLinker.link_xref
_plain_report: Any = model.Documentable.report


def link_xref(self: Any, target: str, label: Any, lineno: int) -> Any:
    """Link a name that may begin with ``~``."""
    if target.startswith("~"):
        target = target[1:]
        label = target.rpartition(".")[2]
    return _plain_xref(self, target, label, lineno)


def _made_by_attrs(self: Any, what: str) -> bool:
    written = isinstance(self, model.Class) and "__init__" in self.contents
    return what.startswith("Documented parameter") and not written


def report(self: Any, what: str, *args: Any, **named: Any) -> None:
    """Report a problem, if it is one."""
    if _made_by_attrs(self, what):
        return
    if what.startswith("Cannot colorize") or what.endswith('IEntity" is not an interface'):
        return
    _plain_report(self, what, *args, **named)


if __name__ == "__main__":
    linker._EpydocLinker.link_xref = link_xref
    model.Documentable.report = report
    sys.exit(
        main(
            [
                "--quiet",
                "--warnings-as-errors",
                "--docformat=google",
                "--project-name=omaim",
                "--project-url=../index.html",
                "--theme=readthedocs",
                f"--project-base-dir={ROOT}",
                f"--html-output={sys.argv[1]}",
                str(ROOT / "omaim"),
            ]
        )
    )
