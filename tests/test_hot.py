"""The hot modules hold what compiles well, and nothing that does not.

What the compiler takes and then makes slow, or wrong without a word, is kept out here: see
CONTRIBUTING and the list in setup.cfg.
"""

from __future__ import annotations

import ast
import configparser
import importlib
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
FOREIGN = {"attr", "attrs", "cattrs", "dataclasses", "enum", "lxml", "twisted", "zope"}
# Classes that others derive from.
OPEN = {"omaim.sip.message.Message", "omaim.sip.waiting.Waiting", "omaim.timers.Timed"}
SLOW = {"getattr", "setattr", "delattr", "eval", "exec", "globals", "vars"}
FLOORS = ("omaim.bodies.", "omaim.msrp.", "omaim.sip.")
GROUND = {"omaim.errors", "omaim.grammar", "omaim.ids", "omaim.timers"}


def listed() -> list[str]:
    """Return the paths of the hot modules, as setup.cfg has them."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    return settings["omaim:compiled"]["modules"].split()


def module_name(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def trees() -> list[tuple[str, ast.Module]]:
    return [(module_name(path), ast.parse((ROOT / path).read_text())) for path in listed()]


def imported(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def is_named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


class HotTests(SynchronousTestCase):
    def test_list(self) -> None:
        """The list is sorted, names each module once, and names floors 0 and 1 only."""
        paths = listed()
        self.assertEqual(paths, sorted(set(paths)))
        for path in paths:
            name = module_name(path)
            self.assertTrue(name in GROUND or name.startswith(FLOORS), name)
            self.assertTrue((ROOT / path).is_file(), path)

    def test_imports(self) -> None:
        """A hot module imports only hot modules of ours, and nothing that cannot be compiled."""
        hot = {module_name(path) for path in listed()} | {"omaim.errors"}
        for name, tree in trees():
            for other in imported(tree):
                self.assertNotIn(other.partition(".")[0], FOREIGN, name)
                if other.startswith("omaim"):
                    self.assertIn(other, hot, name)

    def test_classes(self) -> None:
        """Each class is final with slots, so that it becomes a native one; errors may not."""
        for name, tree in trees():
            for node in ast.walk(tree):
                if not isinstance(node, ast.ClassDef):
                    continue
                full = f"{name}.{node.name}"
                if issubclass(getattr(importlib.import_module(name), node.name), Exception):
                    continue
                final = any(is_named(one, "final") for one in node.decorator_list)
                self.assertEqual(final, full not in OPEN, full)
                slots = [
                    one
                    for one in node.body
                    if isinstance(one, ast.Assign) and is_named(one.targets[0], "__slots__")
                ]
                self.assertTrue(slots, full)

    def test_expressions(self) -> None:
        """No closures, no ``**kwargs``, no ``Any``, no attributes looked up by name."""
        for name, tree in trees():
            for node in ast.walk(tree):
                where = f"{name}, line {getattr(node, 'lineno', 0)}"
                self.assertFalse(isinstance(node, ast.Lambda), where)
                self.assertFalse(isinstance(node, ast.AsyncFunctionDef), where)
                if isinstance(node, ast.FunctionDef):
                    self.assertIsNone(node.args.kwarg, where)
                    inner = [
                        one
                        for one in ast.walk(node)
                        if one is not node and isinstance(one, ast.FunctionDef)
                    ]
                    self.assertEqual(inner, [], where)
                if isinstance(node, ast.Name):
                    self.assertNotEqual(node.id, "Any", where)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    self.assertNotIn(node.func.id, SLOW, where)

    def test_form(self) -> None:
        """Where a compiled build is expected, every hot module is compiled."""
        expected = os.environ.get("OMAIM_EXPECT", "")
        for path in listed():
            file = str(importlib.import_module(module_name(path)).__file__)
            if expected == "compiled":
                self.assertFalse(file.endswith(".py"), file)
            elif expected == "interpreted":
                self.assertTrue(file.endswith(".py"), file)
