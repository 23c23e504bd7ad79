"""sipp (Debian's 3.6.1) registers, sends and receives messages, over UDP and TCP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from tests.interop.support import InteropCase, Running, program

HERE = Path(__file__).resolve().parent


class SippTests(InteropCase):
    def setUp(self) -> Any:
        self.sipp = program("sipp")
        return super().setUp()

    def play(self, scenario: str, user: str, uri: str, *options: str, port: int = 0) -> Running:
        """Start a scenario as one user.

        Args:
            uri: what the digest is made for, without its scheme: sipp cannot know by itself.
        """
        domain = "north.example"
        (self.folder / f"{scenario}.csv").write_text(
            "SEQUENTIAL\n"
            f"{user};{domain};[authentication username={user}@{domain} password={user}-secret];"
            f"{uri}\n"
        )
        return self.start(
            *(self.sipp, f"{self.core}:5060", "-sf", str(HERE / f"{scenario}.xml")),
            *("-inf", str(self.folder / f"{scenario}.csv"), "-auth_uri", uri, "-nostdin"),
            *("-i", "127.0.0.1", "-timeout", "12", "-trace_err", *options),
            *(("-p", str(port)) if port else ()),
        )

    async def passed(self, running: Running) -> None:
        await running.finished()
        errors = "".join(path.read_text() for path in self.folder.glob("*_errors.log"))
        self.assertEqual(running.status, 0, errors or running.output)

    async def register_and_send(self, transport: str) -> None:
        xenia = await self.online()
        await self.passed(self.play("register", "bob", "north.example", "-m", "1", "-t", transport))
        bound = await self.node.stores.bindings.get("sip:bob@north.example")
        self.assertEqual(len(bound.bindings), 1)
        await self.passed(
            self.play("message", "bob", "xenia@south.example", "-m", "1", "-t", transport)
        )
        message = await xenia.heard("hello from sipp")
        self.assertEqual(message.first("P-Asserted-Identity"), "<sip:bob@north.example>")

    def test_udp(self) -> Any:
        """Registering and a MESSAGE to the other domain, with digest, over UDP."""
        return Deferred.fromCoroutine(self.register_and_send("u1"))

    def test_tcp(self) -> Any:
        """The same over TCP."""
        return Deferred.fromCoroutine(self.register_and_send("t1"))

    def test_many(self) -> Any:
        """Two hundred messages at a hundred a second, each answered 200 and delivered once."""

        async def run() -> None:
            xenia = await self.online()
            options = ("-m", "200", "-r", "100", "-l", "200", "-t", "u1")
            await self.passed(self.play("message", "bob", "xenia@south.example", *options))
            self.assertEqual(len(xenia.messages), 200)
            self.assertEqual(len({message.call_id for message in xenia.messages}), 200)

        return Deferred.fromCoroutine(run())

    def test_receive(self) -> Any:
        """A registered sipp takes a MESSAGE from the other domain and its 200 comes back."""

        async def run() -> None:
            xenia = await self.online()
            port = 20000 + int(self.node.ids.fraction() * 20000)
            await self.passed(self.play("register", "bob", "north.example", "-m", "1", port=port))
            waiting = self.play("receive", "bob", "north.example", "-m", "1", port=port)
            response = await xenia.say("sip:bob@north.example", "hello to sipp")
            self.assertEqual((response.status, response.first("Server")), (200, "sipp"))
            await self.passed(waiting)

        return Deferred.fromCoroutine(run())
