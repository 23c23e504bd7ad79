"""Run the tests against the omaim that is installed, not the one beside them.

The tests are reached through a link in the working folder, so that ``import omaim`` finds the
installed package: the wheel, compiled or not. ``OMAIM_REACTOR`` names the reactor (epoll);
``OMAIM_EXPECT`` (compiled or interpreted) makes the run fail when the other one is installed.
Arguments name tests; without any all are run, in three processes at a time. The last line counts
what ran.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

COUNTS: Final = re.compile(
    r"(successes|failures|errors|skips|expectedFailures|unexpectedSuccesses)=(\d+)"
)
REACTOR: Final = os.environ.get("OMAIM_REACTOR", "epoll")
LANES: Final = (
    ("scenarios",),
    ("lab", "cli", "interop", "docs", "client", "relay", "stores"),
)


def link(folder: Path) -> None:
    """Make the tests importable from ``folder``."""
    here = Path(__file__).resolve().parent
    place = folder / "tests"
    if place.is_symlink():
        place.unlink()
    if place.resolve() != here:
        place.symlink_to(here, target_is_directory=True)


def lanes(folder: Path) -> list[list[str]]:
    """Return the test packages as three lists that take about as long as one another.

    What starts labs at their usual addresses is in one, so that no two do at a time.
    """
    found = {
        path.stem
        for path in (folder / "tests").iterdir()
        if (path / "__init__.py").exists() or path.name.startswith("test_")
    }
    rest = sorted(found.difference(*LANES))
    return [[f"tests.{name}" for name in names] for names in (*LANES, rest)]


def trial(folder: Path, lane: int, tests: list[str]) -> subprocess.CompletedProcess[str]:
    """Run some tests in a process of their own."""
    command = [
        sys.executable,
        "-m",
        "twisted.trial",
        f"--reactor={REACTOR}",
        "--reporter=text",
        f"--temp-directory={folder / f'trial-{lane}'}",
        *tests,
    ]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": "0"}
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=folder,
        check=False,
    )


def main() -> int:
    """Run trial in processes of its own and count what they say."""
    folder = Path.cwd()
    if folder != Path(__file__).resolve().parent.parent:
        link(folder)
    sys.path.insert(0, str(folder))
    import omaim.sip.message as hot

    form = "interpreted" if str(hot.__file__).endswith(".py") else "compiled"
    wanted = os.environ.get("OMAIM_EXPECT", form)
    where = Path(hot.__file__).parent.parent
    print(
        f"omaim {form} from {where}, {REACTOR} reactor, Python {sys.version.split()[0]}", flush=True
    )
    if wanted != form:
        print(f"expected it {wanted}: the build went wrong")
        return 1
    found: Counter[str] = Counter()
    status = 0
    groups = [sys.argv[1:]] if sys.argv[1:] else lanes(folder)
    with ThreadPoolExecutor(len(groups)) as pool:
        for ran in pool.map(partial(trial, folder), range(len(groups)), groups):
            print(ran.stdout, end="", flush=True)
            ends = [one for one in ran.stdout.splitlines() if one.startswith(("PASSED", "FAILED"))]
            counted = {name: int(number) for name, number in COUNTS.findall("".join(ends[-1:]))}
            found.update(counted)
            status = status or ran.returncode
            if not counted.get("successes"):
                print("no test ran")
                status = status or 1
    failed = found["failures"] + found["errors"] + found["unexpectedSuccesses"]
    print(f"\n{found['successes']} passed, {failed} failed, {found['skips']} skipped")
    return status


if __name__ == "__main__":
    sys.exit(main())
