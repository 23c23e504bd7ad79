"""sipsak (Debian's 0.9.8.1) registers and sends messages; see docs/interop.md for its limits."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.interop.support import InteropCase, Running, own_mounts, program

MESSAGE = """\
MESSAGE sip:xenia@south.example SIP/2.0
From: <sip:alice@north.example>;tag=sipsak1
To: <sip:xenia@south.example>
Call-ID: {call_id}@phone.example
CSeq: 1 MESSAGE
Max-Forwards: 70
Content-Type: text/plain
Content-Length: {length}

{text}"""


class SipsakTests(InteropCase):
    def setUp(self) -> Any:
        self.sipsak = program("sipsak")
        own_mounts()
        return super().setUp()

    async def sipsak_run(self, *options: str, password: str = "alice-secret") -> Running:
        command = [self.sipsak, *options, "-u", "alice@north.example", "-a", password]
        return await self.run_program(*self.named(*command))

    async def register(self, password: str = "alice-secret") -> Running:
        return await self.sipsak_run(
            *("-vv", "-i", "-U", "-C", "sip:alice@127.0.0.1:5555", "-x", "300"),
            *("-s", "sip:alice@north.example", "-p", f"{self.core}:5060"),
            password=password,
        )

    async def send(self, text: str, *options: str) -> Running:
        path = self.folder / "message.sip"
        path.write_text(MESSAGE.format(call_id=text.replace(" ", "-"), length=len(text), text=text))
        return await self.sipsak_run(
            *("-vv", "-f", str(path), *options),
            *("-s", "sip:xenia@south.example", "-p", f"{self.core}:5060"),
        )

    def test_register(self) -> Any:
        """A REGISTER with digest is answered 200 and binds what sipsak names (RFC 3261 §10)."""

        async def run() -> None:
            ran = await self.register()
            self.assertEqual(ran.status, 0, ran.output)
            bound = await self.node.stores.bindings.get("sip:alice@north.example")
            self.assertEqual(
                [binding.contact for binding in bound.bindings], ["sip:alice@127.0.0.1:5555"]
            )

        return Deferred.fromCoroutine(run())

    def test_wrong_password(self) -> Any:
        """A wrong password is 401 again, and nothing is bound."""

        async def run() -> None:
            ran = await self.register("wrong")
            self.assertNotEqual(ran.status, 0)
            self.assertIn("authorization failed", ran.output)
            bound = await self.node.stores.bindings.get("sip:alice@north.example")
            self.assertEqual(bound.bindings, ())

        return Deferred.fromCoroutine(run())

    def test_message(self) -> Any:
        """A MESSAGE over UDP reaches a user of the other domain, from the proven sender."""

        async def run() -> None:
            xenia = await self.online()
            ran = await self.send("hello by UDP")
            self.assertEqual(ran.status, 0, ran.output)
            message = await xenia.heard("hello by UDP")
            self.assertEqual(message.first("P-Asserted-Identity"), "<sip:alice@north.example>")

        return Deferred.fromCoroutine(run())

    def test_message_by_tcp(self) -> Any:
        """So does one over TCP."""

        async def run() -> None:
            xenia = await self.online()
            ran = await self.send("hello by TCP", "-E", "tcp")
            self.assertEqual(ran.status, 0, ran.output)
            await xenia.heard("hello by TCP")

        return Deferred.fromCoroutine(run())

    def test_offline(self) -> Any:
        """A MESSAGE for somebody offline is kept: 202."""

        async def run() -> None:
            ran = await self.send("for later")
            self.assertEqual(ran.status, 0, ran.output)
            self.assertIn("SIP/2.0 202", ran.output)
            xenia = await self.online()
            await xenia.heard("for later")

        return Deferred.fromCoroutine(run())
