"""baresip (Debian's 1.0.0) registers, sends and receives messages over UDP, TCP and TLS."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol

from tests.interop.support import InteropCase, Running, pause, program

CONFIG = """\
sip_listen 127.0.0.1:0
sip_cafile {folder}/ca.pem
module_path {modules}
module_tmp account.so
module_app menu.so
module_app contact.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{port}
"""
ACCOUNT = (
    "<sip:carol@north.example{transport}>;auth_user=carol@north.example;auth_pass={password}"
    ';outbound="sip:{core}:{port}{transport}";regint=300\n'
)


class Control(Protocol):
    """Says commands to baresip; JSON in netstrings."""

    def __init__(self) -> None:
        self._received = b""

    def say(self, command: str, text: str = "") -> None:
        assert self.transport is not None
        data = json.dumps({"command": command, "params": text}).encode()
        self.transport.write(b"%d:%s," % (len(data), data))


class BaresipTests(InteropCase):
    algorithms = ("MD5",)  # it gives up on a challenge it does not know, wherever it stands

    def setUp(self) -> Any:
        self.baresip = program("baresip")
        return super().setUp()

    async def run_baresip(self, transport: str, password: str = "carol-secret") -> Running:
        """Start baresip as carol, whose only contact is xenia."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        modules = next(Path("/usr/lib").glob("**/baresip/modules/account.so")).parent
        (self.folder / "config").write_text(
            CONFIG.format(folder=self.folder, modules=modules, port=port)
        )
        (self.folder / "accounts").write_text(
            ACCOUNT.format(
                transport=f";transport={transport}",
                password=password,
                core=self.core,
                port=5061 if transport == "tls" else 5060,
            )
        )
        (self.folder / "contacts").write_text('"Xenia" <sip:xenia@south.example>\n')
        running = self.start(self.baresip, "-f", str(self.folder), "-s", "-v")
        place = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        for _ in range(100):
            try:
                self.control = await connectProtocol(place, Control())
            except ConnectError:
                await pause(0.05)
                continue
            assert self.control.transport is not None
            self.addCleanup(self.control.transport.loseConnection)
            break
        else:
            self.fail(f"baresip does not start: {running.output}")
        return running

    async def printed(self, running: Running, text: str) -> None:
        for _ in range(120):
            if text in running.output:
                return
            await pause(0.05)
        self.fail(f"baresip did not print {text!r} but {running.output}")

    async def talk(self, transport: str) -> None:
        xenia = await self.online()
        carol = await self.run_baresip(transport)
        await self.printed(carol, "200 OK () [1 binding]")
        self.control.say("contact_next")
        self.control.say("message", "hello from baresip")
        message = await xenia.heard("hello from baresip")
        self.assertEqual(message.first("P-Asserted-Identity"), "<sip:carol@north.example>")
        response = await xenia.say("sip:carol@north.example", "hello to baresip")
        self.assertEqual(response.status, 200)
        self.assertIn("baresip", response.first("Server") or "")
        await self.printed(carol, "hello to baresip")

    def test_udp(self) -> Any:
        """Register, send and receive over UDP."""
        return Deferred.fromCoroutine(self.talk("udp"))

    def test_tcp(self) -> Any:
        """Register, send and receive over TCP."""
        return Deferred.fromCoroutine(self.talk("tcp"))

    def test_tls(self) -> Any:
        """Register, send and receive over TLS, the core's certificate verified."""
        return Deferred.fromCoroutine(self.talk("tls"))

    def test_wrong_password(self) -> Any:
        """A wrong password binds nothing."""

        async def run() -> None:
            carol = await self.run_baresip("udp", "wrong")
            await self.printed(carol, "CSeq")
            await pause(0.3)
            self.assertNotIn("200 OK", carol.output)
            bound = await self.node.stores.bindings.get("sip:carol@north.example")
            self.assertEqual(bound.bindings, ())

        return Deferred.fromCoroutine(run())
