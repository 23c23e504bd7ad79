"""omaim/node/trace.py: messages and places as lines of a file."""

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.net.wire import WireRecord
from omaim.node.directory import Directory, Place
from omaim.node.trace import Trace, from_line, read_lines, read_trace, to_line
from tests.features.ladders import records, sent

CORE = Place("core-north", "core", "127.0.1.1", 5060, "north.example")


class TraceTests(SynchronousTestCase):
    @given(record=records)
    def test_write_then_read(self, record: WireRecord) -> None:
        """A record survives a line of JSON, whatever its octets are."""
        line = to_line(record)
        self.assertNotIn("\n", line)
        self.assertEqual(from_line(line), record)

    def test_file(self) -> None:
        """A trace goes on where it stopped, and nobody else may read it."""
        path = self.mktemp()
        for record in (sent(0.0, "alice", "bob", b"x\r\n"), sent(1.0, "bob", "alice", b"\xff")):
            trace = Trace(path)
            trace(record)
            trace.close()
        self.assertEqual([record.data for record in read_trace(path)], [b"x\r\n", b"\xff"])
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)

    def test_places(self) -> None:
        """A trace tells where entities are: those known before it, and those noted later."""
        path, known = self.mktemp(), Directory()
        known.note(CORE)
        trace = Trace(path)
        known.watch(trace.note)
        later = Place("alice", "client", "127.0.0.1", 40000, "north.example")
        known.note(later)
        known.note(later)
        trace.close()
        found = Directory()
        self.assertEqual(read_trace(path, found), [])
        self.assertEqual(found.places(), (CORE, later))
        with open(path, encoding="utf-8") as file:
            self.assertEqual(len(file.readlines()), 2)

    def test_full(self) -> None:
        """A trace ends before it fills the disk, with whole lines."""
        path = self.mktemp()
        record = sent(0.0, "alice", "bob", b"x" * 100)
        trace = Trace(path, most=3 * len(to_line(record)) + 10)
        for _ in range(5):
            trace(record)
        trace.close()
        self.assertEqual(read_trace(path), [record] * 3)

    def test_being_written(self) -> None:
        """A last line that is not complete yet is left for later."""
        path = self.mktemp()
        line = to_line(sent(0.0, "alice", "bob", b"x"))
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{line}\n{line[:20]}")
        self.assertEqual(len(read_trace(path)), 1)

    def test_not_a_trace(self) -> None:
        good = to_line(sent(0.0, "alice", "bob", b"x"))
        for line in ("", "{}", "[]", "1", good.replace('"out"', '"up"'), good[:-2]):
            self.assertRaises(UsageError, from_line, line)

    def test_where(self) -> None:
        """An error names the file and the line."""
        good = to_line(sent(0.0, "alice", "bob", b"x"))
        error = self.assertRaises(
            UsageError, read_lines, [good, "", "junk"], Directory(), "a.jsonl"
        )
        self.assertIn("a.jsonl, line 3", str(error))
        self.assertIn("cannot read", str(self.assertRaises(UsageError, read_trace, "/nowhere/x")))
        self.assertRaises(UsageError, Trace, "/nowhere/x")

    @given(text=st.text(max_size=60))
    def test_junk(self, text: str) -> None:
        """Junk is refused as our own kind of error, whatever it is."""
        try:
            read_lines(text.split("\n"), Directory())
        except UsageError:
            pass
