"""The source distribution, the wheel and the editable install: built, installed, used.

Everything happens in a copy of the files that git knows, and in an environment that has nothing
but what the metadata asks for. The steps stand on one another: they run in their order, and by
unittest, which knows what to do once for all of them. Run this file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import unittest
import venv
import zipfile
from pathlib import Path
from shutil import rmtree

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = {"omaim-core", "omaim-im", "omaim-client", "omaim-dns", "omaim-lab", "omaim-relay"}
WITHOUT = ("PYTHONPATH", "OMAIM_COMPILE", "OMAIM_EXPECT", "OMAIM_REACTOR", "VIRTUAL_ENV")


def run(*command: object, cwd: Path, **variables: str) -> str:
    """Run a command and return what it printed; the test fails when it does."""
    environment = {name: value for name, value in os.environ.items() if name not in WITHOUT}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}")
    return done.stdout


def known_files() -> list[str]:
    """Return the files that git knows and that are there."""
    names = run("git", "ls-files", cwd=ROOT).splitlines()
    return [name for name in names if (ROOT / name).is_file()]


class InstallTests(unittest.TestCase):
    """One environment; each test installs what it needs."""

    files: set[str]
    base: Path
    source: Path
    built: Path
    wheel: Path
    archive: Path
    bin: Path

    @classmethod
    def setUpClass(cls) -> None:
        """Copy the tree, build both distributions, install the wheel in a new environment."""
        cls.base = Path(tempfile.mkdtemp(prefix="omaim-packaging-"))
        cls.source, cls.built = cls.base / "source", cls.base / "built"
        cls.files = set(known_files())
        for name in cls.files:
            target = cls.source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
            target.chmod((ROOT / name).stat().st_mode)
        run(sys.executable, "-m", "build", "--outdir", cls.built, cls.source, cwd=cls.base)
        (cls.wheel,) = cls.built.glob("*.whl")
        (cls.archive,) = cls.built.glob("*.tar.gz")
        venv.create(cls.base / "venv", with_pip=True)
        cls.bin = cls.base / "venv" / "bin"
        cls.pip("install", cls.wheel)

    @classmethod
    def tearDownClass(cls) -> None:
        """Leave nothing."""
        rmtree(cls.base, ignore_errors=True)

    @classmethod
    def pip(cls, *arguments: object) -> None:
        """Run pip in the environment."""
        quiet = ("--quiet", "--disable-pip-version-check")
        run(cls.bin / "python", "-m", "pip", *quiet, *arguments, cwd=cls.base)

    def check_plugins(self) -> None:
        """twistd lists every entity, and each tells its options, from any folder."""
        listed = run(self.bin / "twistd", "--help", cwd=self.base)
        found = set(re.findall(r"^ +(omaim-\w+)", listed, re.MULTILINE))
        self.assertEqual(found, PLUGINS)
        for name in PLUGINS:
            text = run(self.bin / "twistd", name, "--help", cwd=self.base)
            self.assertIn("--config", text, name)

    def test_1_source_distribution(self) -> None:
        """The archive holds every file that git knows; a wheel can be built from it alone."""
        with tarfile.open(self.archive) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        self.assertEqual(self.files - names, {".gitignore"})

    def test_2_wheel(self) -> None:
        """The wheel holds the library, its data and the plugins, and nothing else."""
        with zipfile.ZipFile(self.wheel) as wheel:
            names = set(wheel.namelist())
        wanted = {name for name in self.files if name.startswith(("omaim/", "twisted/plugins/"))}
        self.assertEqual({name for name in names if ".dist-info/" not in name}, wanted)
        for name in ("twisted/__init__.py", "twisted/plugins/__init__.py"):
            self.assertNotIn(name, names, "that would hide Twisted's own")

    def test_3_wheel_plugins(self) -> None:
        """An installed wheel shows its plugins to twistd."""
        self.check_plugins()

    def test_4_wheel_demo(self) -> None:
        """The demo plays from the wheel, with no extra installed and no file of the tree."""
        text = run(self.bin / "omaim", "lab", "demo", cwd=self.base, COLUMNS="100")
        self.assertRegex(text, r"All \d+ checks passed")

    def test_5_missing_extra(self) -> None:
        """Without the extra that a setting needs, the process ends with one line naming it."""
        with self.assertRaises(AssertionError) as caught:
            run(
                *(self.bin / "twistd", "--nodaemon", "--pidfile=", "omaim-dns"),
                *("--state=memory:", "--metrics=127.0.0.1:0"),
                cwd=self.base,
            )
        self.assertIn("pip install 'omaim[metrics]'", str(caught.exception))
        self.assertNotIn("Traceback", str(caught.exception))

    def test_6_newcomer(self) -> None:
        """A file in a folder ``twisted/plugins`` of one's own is a feature (see the docs)."""
        place = self.base / "mine" / "twisted" / "plugins"
        place.mkdir(parents=True)
        page = (ROOT / "docs" / "writing-a-feature.md").read_text(encoding="utf-8")
        (place / "quiet.py").write_text(page.split("```python\n")[1].partition("```")[0])
        listed = run(
            *(self.bin / "python", "-c"),
            "from twisted.plugin import getPlugins\n"
            "from omaim.node.hooks import IFeature\n"
            "print(*sorted(one.name for one in getPlugins(IFeature)))",
            cwd=self.base,
            PYTHONPATH=str(self.base / "mine"),
        )
        self.assertIn("quiet", listed.split())
        self.assertIn("wordfilter", listed.split())

    def test_7_editable(self) -> None:
        """An editable install shows the plugins too, although it is a folder beside Twisted's."""
        self.pip("uninstall", "--yes", "omaim")
        listed = run(self.bin / "twistd", "--help", cwd=self.base)
        self.assertNotIn("omaim", listed)
        self.pip("install", "--no-deps", "--editable", self.source)
        self.check_plugins()
        where = run(self.bin / "python", "-c", "import omaim; print(omaim.__file__)", cwd=self.base)
        self.assertEqual(Path(where.strip()).parent, self.source / "omaim")


if __name__ == "__main__":
    unittest.main(verbosity=2)
