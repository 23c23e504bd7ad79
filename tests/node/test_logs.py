"""omaim/node/logs.py: what people see, what programs read, and what nobody does."""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.node.logs import HIDDEN, Lines, observer


class LinesTests(SynchronousTestCase):
    def log(self, form: str, verbose: bool = False, namespace: str = "omaim.core") -> None:
        self.file = io.StringIO()
        publisher = LogPublisher(Lines(self.file, form, verbose))
        self.logger = Logger(namespace, observer=publisher)

    def json(self) -> dict[str, Any]:
        (line,) = self.file.getvalue().splitlines()
        fields: dict[str, Any] = json.loads(line)
        return fields

    def test_levels(self) -> None:
        """People see our "info" and everybody's warnings; all of it if they want."""
        for namespace, verbose, seen in (
            ("omaim.im", False, "iwec"),
            ("twisted.names", False, "wec"),
            ("twisted.names", True, "diwec"),
        ):
            self.log("text", verbose, namespace)
            for level in LogLevel.iterconstants():
                self.logger.emit(level, level.name[0])
            got = "".join(line[-1] for line in self.file.getvalue().splitlines())
            self.assertEqual(got, seen)

    def test_json(self) -> None:
        """A line of JSON has the message, its plain values and where it is from."""
        self.log("json")
        self.logger.warn("{user} went away", user="alice", count=3, thing=object())
        fields = self.json()
        self.assertEqual(fields["message"], "alice went away")
        self.assertEqual(
            (fields["level"], fields["namespace"], fields["user"], fields["count"]),
            ("warn", "omaim.core", "alice", 3),
        )
        self.assertNotIn("thing", fields)
        self.assertRegex(fields["time"], r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")

    def test_failure(self) -> None:
        """A failure brings its traceback, on the one line of JSON and below that of text."""
        for form in ("json", "text"):
            self.log(form)
            try:
                raise ValueError("oops")
            except ValueError:
                self.logger.failure("it broke", Failure())
            self.assertIn("ValueError: oops", self.file.getvalue())
        self.log("json")
        self.logger.failure("it broke", Failure(ValueError("oops")))
        self.assertIn("ValueError", self.json()["traceback"])

    def test_secrets(self) -> None:
        """Values named like secrets are hidden, and so are credentials that a text quotes."""
        for form in ("json", "text"):
            self.log(form)
            self.logger.info(
                "as {password} {ha1}", password="hunter2", ha1="0badc0de", Secret="shh"
            )
            self.logger.info("{text}", text='Authorization: Digest response="0badc0de"\r\nTo: x')
            self.logger.info("{what}", what="password=hunter2; user=x")
            shown = self.file.getvalue()
            for secret in ("hunter2", "0badc0de", "shh"):
                self.assertNotIn(secret, shown)
            self.assertIn(HIDDEN, shown)
            self.assertIn("user=x", shown)

    @given(text=st.text(max_size=40), value=st.text(max_size=40))
    def test_one_line(self, text: str, value: str) -> None:
        """An event is one line of JSON, whatever a peer made us say."""
        self.log("json")
        self.logger.info("{said}", said=text, value=value)
        self.assertEqual(self.file.getvalue().count("\n"), 1)
        self.assertEqual(json.loads(self.file.getvalue())["namespace"], "omaim.core")

    def test_one_text_line(self) -> None:
        """What a peer said stays on its line of text."""
        self.log("text")
        self.logger.info("{said}", said="x\n12:00:00 all is well\x1b[2J")
        self.assertEqual(self.file.getvalue().count("\n"), 1)
        self.assertNotIn("\x1b", self.file.getvalue())

    def test_file(self) -> None:
        """The log goes to a file; one that cannot be written is named."""
        path = self.mktemp()
        lines = observer("json", path)
        Logger("omaim", observer=lines).info("hello")
        with open(path, encoding="utf-8") as file:
            self.assertEqual(json.loads(file.read())["message"], "hello")
        self.assertIn(
            "/nowhere", str(self.assertRaises(UsageError, observer, "text", "/nowhere/x"))
        )
