"""Run the tests against the omaim that is installed, not the one beside them.

The tests are reached through a link in the working folder, so that ``import omaim`` finds the
installed package: the wheel, compiled or not. ``OMAIM_REACTOR`` names the reactor (epoll);
``OMAIM_EXPECT`` (compiled or interpreted) makes the run fail when the other one is installed.
Arguments name tests; without any all are run. The last line counts what ran.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

COUNTS = re.compile(r"(successes|failures|errors|skips|expectedFailures|unexpectedSuccesses)=(\d+)")


def link(folder: Path) -> None:
    """Make the tests importable from ``folder``."""
    here = Path(__file__).resolve().parent
    place = folder / "tests"
    if place.is_symlink():
        place.unlink()
    if place.resolve() != here:
        place.symlink_to(here, target_is_directory=True)


def main() -> int:
    """Run trial in a process of its own and count what it says."""
    folder = Path.cwd()
    if folder != Path(__file__).resolve().parent.parent:
        link(folder)
    sys.path.insert(0, str(folder))
    import omaim.sip.message as hot

    form = "interpreted" if str(hot.__file__).endswith(".py") else "compiled"
    wanted = os.environ.get("OMAIM_EXPECT", form)
    reactor = os.environ.get("OMAIM_REACTOR", "epoll")
    where = Path(hot.__file__).parent.parent
    print(
        f"omaim {form} from {where}, {reactor} reactor, Python {sys.version.split()[0]}", flush=True
    )
    if wanted != form:
        print(f"expected it {wanted}: the build went wrong")
        return 1
    command = [
        sys.executable,
        "-m",
        "twisted.trial",
        f"--reactor={reactor}",
        "--reporter=text",
        f"--temp-directory={folder / 'trial'}",
        *(sys.argv[1:] or ["tests"]),
    ]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": "0"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
    ) as trial:
        assert trial.stdout is not None
        last = ""
        for line in trial.stdout:
            print(line, end="", flush=True)
            last = line if line.startswith(("PASSED", "FAILED")) else last
    found = {name: int(number) for name, number in COUNTS.findall(last)}
    passed = found.get("successes", 0)
    failed = sum(found.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses"))
    skipped = found.get("skips", 0)
    if trial.returncode == 0 and passed == 0:
        print("no test ran")
        return 1
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return trial.returncode


if __name__ == "__main__":
    sys.exit(main())
