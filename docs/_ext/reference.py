"""Write the API reference into the folder that is given; a warning is a failure.

pydoctor knows no ``~`` before a name, which asks for its last piece only, as in Sphinx.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydoctor import linker
from pydoctor.driver import main

ROOT = Path(__file__).resolve().parents[2]
_plain_xref: Any = linker._EpydocLinker.link_xref


def link_xref(self: Any, target: str, label: Any, lineno: int) -> Any:
    """Link a name that may begin with ``~``."""
    if target.startswith("~"):
        target = target[1:]
        label = target.rpartition(".")[2]
    return _plain_xref(self, target, label, lineno)


if __name__ == "__main__":
    linker._EpydocLinker.link_xref = link_xref
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
