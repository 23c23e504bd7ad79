"""omaim ladder: traces become pictures."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import attrs
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from omaim.cli.main import main
from omaim.cli.pictures import coloured
from omaim.net.wire import WireRecord
from omaim.node.trace import Trace
from tests.features import sessions
from tests.features.ladders import PLACES, both, request, walk


class LadderTests(SynchronousTestCase):
    def trace(self, records: list[WireRecord], places: bool = True) -> str:
        path = self.mktemp()
        trace = Trace(path)
        for place in PLACES if places else ():
            trace.note(place)
        for record in records:
            trace(record)
        trace.close()
        return path

    def run_it(self, *arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(main, ["ladder", *arguments], input=input)

    def test_text(self) -> None:
        """Without further wishes the ladder is printed, in at most 100 columns and no colours."""
        result = self.run_it(self.trace(walk()))
        self.assertEqual(result.exit_code, 0, result.output)
        for word in ("alice", "im-south", "IM-1", "IM-2", "IP-1", "MESSAGE alice→bob", "200 OK"):
            self.assertIn(word, result.output)
        self.assertLessEqual(max(len(line) for line in result.output.splitlines()), 100)
        self.assertNotIn("\x1b", result.output)

    def test_merged(self) -> None:
        """Traces of several processes are one ladder: both ends' sightings are one step."""
        records = walk()
        paths = [
            self.trace([one for one in records if one.entity == name])
            for name in {one.entity for one in records}
        ]
        merged, whole = self.run_it(*paths), self.run_it(self.trace(records))
        self.assertEqual(merged.output, whole.output)
        self.assertNotIn("╳", merged.output)

    def test_standard_input(self) -> None:
        """A - is the standard input."""
        path = self.trace(walk())
        result = self.run_it("-", input=Path(path).read_text())
        self.assertEqual(result.output, self.run_it(path).output)

    def test_chosen(self) -> None:
        """Parts of a trace: by Call-ID, by text, the last ones; empty columns go."""
        path = self.trace([*walk(), *both(5.0, "alice", "core-north", request(99, b"Other"))])
        other = self.run_it(path, "--call", "99").output
        self.assertEqual(other.count("MESSAGE"), 1)
        self.assertNotIn("im-south", other)
        self.assertEqual(self.run_it(path, "--only", "oTHER").output, other)
        self.assertEqual(self.run_it(path, "--last", "1").output, other)
        self.assertIn("none of the", self.run_it(path, "--call", "100").output)

    def test_sessions(self) -> None:
        """MSRP is in the same ladder as the SIP that sets it up, by name and reference point; a
        call brings its session along, a protocol can be asked for, and a file is one line."""
        path = "msrp://10.0.1.10:49152/alice1;tcp"
        file = sessions.chunks(bytes(range(256)) * 40, 10)
        records = [
            *both(0.0, "alice", "core-north", request(99, b"Other")),
            sessions.into(1.0, "alice", "core-north", sessions.invite(sessions.sdp(path)), "SIP"),
            sessions.into(2.0, "alice", "im-north", sessions.send()),
            sessions.out(2.1, "im-north", "alice", sessions.answer()),
            *(sessions.into(3.0, "alice", "im-north", chunk) for chunk in file),
            sessions.into(
                4.0, "alice", "im-north", sessions.send(tid="else1", by="msrp://x:1/x;tcp")
            ),
        ]
        trace = self.trace(records, places=False)
        with open(trace, "a", encoding="utf-8") as more:
            for place in sessions.PLACES:
                more.write(json.dumps({"place": attrs.asdict(place)}) + "\n")
        call = self.run_it(trace, "--call", "call1").output
        self.assertEqual(call.splitlines()[0].split(), ["alice", "core-north", "im-north"])
        words = [line.partition("IM-")[2] for line in call.splitlines()[1:]]
        self.assertEqual(
            words,
            [
                "1 INVITE alice→room.cafe MSRP",
                "7 SEND “Hello”",
                "7 200 OK (SEND)",
                "7 SEND jpeg 1-10240 (10 chunks, 10.2 kB)",
            ],
        )
        only = self.run_it(trace, "--protocol", "msrp").output
        self.assertEqual((only.count("SEND “Hello”"), only.count("INVITE")), (2, 0))
        every = self.run_it(trace, "--protocol", "msrp", "--protocol", "SIP").output
        self.assertEqual(every, self.run_it(trace).output)
        made = self.mktemp()
        self.run_it(trace, "--call", "call1", "--json", made)
        values = json.loads(Path(made).read_text())
        self.assertEqual([one["protocol"] for one in values], ["SIP"] + ["MSRP"] * 12)

    def test_keep_alives(self) -> None:
        """Keep-alives are left out unless wanted."""
        path = self.trace([*walk(), *both(5.0, "alice", "core-north", b"\r\n\r\n")])
        self.assertNotIn("keep-alive", self.run_it(path).output)
        self.assertIn("keep-alive", self.run_it(path, "--keep-alives").output)

    def test_unannounced_client(self) -> None:
        """A client that wrote no trace has its user's name and its reference point."""
        path = self.trace([one for one in walk() if one.entity == "core-north"])
        lines = [line for line in Path(path).read_text().splitlines() if '"client"' not in line]
        Path(path).write_text("\n".join(lines) + "\n")
        output = self.run_it(path).output
        self.assertIn("alice", output.splitlines()[0])
        self.assertIn("IM-1", output)

    def test_files(self) -> None:
        """HTML, SVG, JSON and a capture are written, each said; the terminal stays quiet."""
        path, made = self.trace(walk()), self.mktemp()
        names = {kind: f"{made}.{kind}" for kind in ("html", "svg", "pcap", "json")}
        arguments = [word for kind, name in names.items() for word in (f"--{kind}", name)]
        result = self.run_it(path, *arguments)
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertEqual(result.stdout, "")
        self.assertEqual(result.stderr.count("Written: "), 4)
        self.assertIn("<!DOCTYPE html>", Path(names["html"]).read_text())
        self.assertTrue(Path(names["svg"]).read_text().startswith("<svg"))
        values = json.loads(Path(names["json"]).read_text())
        self.assertEqual(len(values), 14)
        self.assertEqual((values[0]["from"], values[0]["point"]), ("alice", "IM-1"))
        tshark = shutil.which("tshark")
        if tshark:
            read = subprocess.run(
                [tshark, "-r", names["pcap"], "-T", "fields", "-e", "sip.Method"],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            self.assertIn("MESSAGE", read.stdout)

    def test_wrong(self) -> None:
        """What cannot be read or written is one line, and status 1."""
        good, empty, junk = self.trace(walk()), self.mktemp(), self.mktemp()
        Path(empty).touch()
        Path(junk).write_text("junk\n")
        for arguments, said in (
            (("/nowhere",), "cannot read /nowhere"),
            ((empty,), "no messages"),
            ((junk,), f"{junk}, line 1"),
            ((good, "--svg", "/nowhere/x.svg"), "cannot write /nowhere/x.svg"),
        ):
            result = self.run_it(*arguments)
            self.assertEqual(result.exit_code, 1)
            self.assertIn(said, result.output)
            self.assertNotIn("Traceback", result.output)

    def test_colours(self) -> None:
        """On a terminal, reference points and refusals stand out."""
        line = "  0.001  │◀────┼────┤      IM-1 404 Not Found (MESSAGE) alice→bob\n"
        shown = coloured(line)
        self.assertIn("\x1b[32m\x1b[1mIM-1\x1b[0m", shown)
        self.assertIn("\x1b[31m404 Not Found\x1b[0m", shown)
