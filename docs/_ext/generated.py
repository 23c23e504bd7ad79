"""What the pages take from the code itself, so that it cannot be wrong.

``{settings} module[:Class]`` is the table of an entity's settings; ``{machine} NAME`` draws one
of the tables in :mod:`omaim.sip.transitions`; ``{values} module Root`` lists the subclasses of
a question or an event; ``{differs}`` collects what docstrings say after that word;
``{module}`` links a module in the API reference and fails when it is gone.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import diagrams
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

import omaim
from omaim.node.config import settings_of
from omaim.sip import transitions

DIFFERS = re.compile(r"Differs: (.*?)(?=\n[ ]*\n|\n[ ]*[A-Z][a-z]+:|\Z)", re.DOTALL)


def markdown(text: str) -> str:
    """Return a piece of a docstring as Markdown."""
    plain = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return plain.replace("``", "`").replace("*", "\\*")


def table(head: tuple[str, ...], rows: list[tuple[list[nodes.Node], ...]]) -> nodes.table:
    """Return a table node."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    body = nodes.tbody()
    top = nodes.thead()
    top += _row(tuple([nodes.paragraph(text=word)] for word in head))
    body += [_row(row) for row in rows]
    group += [top, body]
    return nodes.table("", group)


def _row(cells: tuple[list[nodes.Node], ...]) -> nodes.row:
    row = nodes.row()
    for cell in cells:
        entry = nodes.entry()
        entry += cell
        row += entry
    return row


def _text(text: str) -> list[nodes.Node]:
    return [nodes.paragraph(text=text)]


def _code(text: str) -> list[nodes.Node]:
    return [nodes.paragraph("", "", nodes.literal(text=text))] if text else []


class Settings(Directive):
    """The settings of a Config class."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].partition(":")
        config: Any = getattr(import_module(module), name or "Config")
        rows = []
        for field in settings_of(config):
            value = field.default
            shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            rows.append((_code(field.name), _code(shown), _text(field.metadata["help"])))
        return [table(("Setting", "Default", "Meaning"), rows)]


class Machine(Directive):
    """One transaction machine: a picture and the rows it was drawn from."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        rows = getattr(transitions, self.arguments[0])
        edges = [
            diagrams.Edge(
                transitions.STATE_NAMES[state],
                transitions.STATE_NAMES[following],
                transitions.INPUT_NAMES[what],
                ", ".join(
                    name for bit, name in enumerate(transitions.ACTION_NAMES) if actions >> bit & 1
                ),
            )
            for state, what, following, actions in rows
        ]
        picture = nodes.raw("", diagrams.draw(edges), format="html")
        listed = [
            (_text(one.source), _text(one.what), _text(one.target), _text(one.does))
            for one in edges
        ]
        return [picture, table(("In state", "on", "go to", "and do"), listed)]


class Values(SphinxDirective):
    """The subclasses of one class of small values, with their fields."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        module = import_module(self.arguments[0])
        root = getattr(module, self.arguments[1])
        found: list[nodes.Node] = []
        for kind in vars(module).values():
            if not inspect.isclass(kind) or not issubclass(kind, root) or kind is root:
                continue
            about = markdown(inspect.cleandoc(kind.__doc__ or ""))
            crash = getattr(kind, "on_crash", "")
            own = ", ".join(field.name for field in attrs.fields(kind))
            lines = [f"**{kind.__name__}**: {about}", "", f"Fields: `{own}`."]
            if crash:
                lines[-1] += f" A crash counts as: {crash}."
            holder = nodes.container()
            self.state.nested_parse(StringList([*lines, ""]), 0, holder)
            found.append(holder)
        return found


class Differs(SphinxDirective):
    """Where the code says that it differs, and how."""

    def run(self) -> list[nodes.Node]:
        source = Path(omaim.__file__).parent
        lines = []
        for path in sorted(source.rglob("*.py")):
            module = ".".join(path.relative_to(source.parent).with_suffix("").parts)
            module = module.removesuffix(".__init__")
            for name, text in _docstrings(ast.parse(path.read_text(encoding="utf-8"))):
                for found in DIFFERS.finditer(text):
                    said = markdown(" ".join(found[1].split()))
                    where = f" ({name})" if name else ""
                    lines += [f"- {{module}}`{module}`{where}: {said}", ""]
        holder = nodes.container()
        self.state.nested_parse(StringList(lines), 0, holder)
        return list(holder.children)


def _docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "name", ""), text


class ModuleRole(SphinxRole):
    """A link to a module's page in the API reference."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        if find_spec(self.text) is None:
            problem = self.inliner.reporter.warning(f"no module {self.text}", line=self.lineno)
            return [], [problem]
        up = "../" * self.env.docname.count("/")
        shown = nodes.literal(text=self.text)
        return [nodes.reference("", "", shown, refuri=f"{up}api/{self.text}.html")], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx."""
    app.add_directive("settings", Settings)
    app.add_directive("machine", Machine)
    app.add_directive("values", Values)
    app.add_directive("differs", Differs)
    app.add_role("module", ModuleRole())
    return {"parallel_read_safe": True}
