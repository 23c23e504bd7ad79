"""kill -9 of the IM Server: what it acknowledged is delivered, what a device confirmed is over."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from omaim.roles.incoming import Incoming
from omaim.sip.dialog import Dialog, as_uac
from omaim.sip.message import Request, Response
from tests.im.lives import LivesTestCase
from tests.im.support import BOB, XENIA

ROUNDS = 3
EACH = 60  # messages sent in each life of the server
BESIDE = (
    b"--b\r\nContent-Type: application/sdp\r\n\r\n"
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=message 9 TCP/MSRP *\r\na=path:msrp://127.0.0.1:9/x;tcp\r\na=accept-types:text/plain\r\n"
    b"\r\n--b\r\nContent-Type: text/plain\r\n\r\n%b\r\n--b--\r\n"
)


class CrashTests(LivesTestCase):
    """Of a server with SQLite, killed while it takes messages and while it delivers them."""

    async def _set_up(self) -> None:
        self.chance = random.Random(5)
        await self.listen()
        self.acknowledged: list[str] = []
        self.confirmed: list[str] = []
        self.repeats = 0

        def deliver(incoming: Incoming) -> Response:
            name = incoming.request.body.decode()
            self.repeats += name in self.confirmed
            self.confirmed.append(name)
            return incoming.response(200)

        self.core.otherwise = deliver

    async def _send(self, name: str) -> None:
        request = self.core.isc("term", XENIA, BOB, name.encode(), state="unreg")
        request.set("Route", f"<{self.address};lr>")
        response = await self.core.ua.request(request)
        if response.status == 202:
            self.acknowledged.append(name)

    async def _subscribe(self) -> tuple[Dialog, Request]:
        """Watch the list of deferred messages; return our dialog and the first NOTIFY."""
        headers = [
            ("Route", f"<{self.address};lr>"),
            ("P-Asserted-Identity", f"<{BOB}>"),
            ("Event", "xcap-diff"),
            ("Expires", "600"),
        ]
        request = self.core.ua.make("SUBSCRIBE", "sip:deferred@north.example", headers)
        request.set("Contact", f"<sip:127.0.0.1:{self.port}>")
        response = await self.core.ua.request(request)
        self.assertEqual(response.status, 200)
        dialog = as_uac(request, response)
        dialog.local_seq = response.cseq.number
        return dialog, await self._notified(1)

    async def _notified(self, number: int) -> Request:
        """Return the NOTIFY of this number, when it has come."""
        deadline = reactor.seconds() + 30
        while len(self.core.others) < number:
            self.assertLess(reactor.seconds(), deadline)
            await deferLater(reactor, 0.02)
        return self.core.others[number - 1]

    def test_subscription(self) -> Any:
        """A subscription that was answered 200 outlives the server (RFC 6665 §4.2.1)."""

        async def run() -> None:
            await self._set_up()
            server = await self.life()
            dialog, first = await self._subscribe()
            server.kill()
            server.wait()
            await self.life(self.served_at)
            again = await self._notified(2)
            self.assertEqual((again.call_id, again.to.tag), (first.call_id, first.to.tag))
            self.assertGreater(again.cseq.number, first.cseq.number)
            refresh = dialog.request("SUBSCRIBE", [("Event", "xcap-diff"), ("Expires", "500")])
            response = await self.core.ua.request(refresh)
            self.assertEqual((response.status, response.first("Expires")), (200, "500"))
            await self._notified(3)
            await self._send("one")
            await self._notified(4)

        return Deferred.fromCoroutine(run())

    async def _register(self) -> None:
        request = self.core.ua.make("REGISTER", self.address, [("Expires", "600")], to=f"<{BOB}>")
        await self.core.ua.request(request)

    async def _invite(self, name: str) -> Response:
        """Show the server an INVITE to somebody absent, with a message beside the offer."""
        fields = [
            ("Route", f"<{self.address};lr>"),
            ("P-Asserted-Identity", f"<{XENIA}>"),
            ("P-Served-User", f"<{BOB}>;sescase=term;regstate=unreg"),
            ("Accept-Contact", "*;+g.oma.sip-im"),
            ("Content-Type", "multipart/mixed;boundary=b"),
        ]
        invite = self.core.ua.make("INVITE", BOB, fields, BESIDE % name.encode())
        return await self.core.ua.request(invite)

    def test_first_message(self) -> Any:
        """A message that came with an INVITE is kept when the caller hears so."""

        async def run() -> None:
            await self._set_up()
            server = await self.life()
            response = await self._invite("with it")
            server.kill()
            self.assertEqual(response.status, 480)
            self.assertIn("is kept for later", response.first("Warning") or "")
            server.wait()
            await self.life()
            await self._register()
            deadline = reactor.seconds() + 30
            while not self.confirmed:
                self.assertLess(reactor.seconds(), deadline)
                await deferLater(reactor, 0.02)
            self.assertEqual(self.confirmed, ["with it"])

        return Deferred.fromCoroutine(run())

    def test_kill(self) -> Any:
        """Nothing acknowledged is lost; no more than the one under way is repeated."""

        async def run() -> None:
            await self._set_up()
            for life in range(ROUNDS):
                server = await self.life()
                sending = [
                    Deferred.fromCoroutine(self._send(f"{life}-{number}")) for number in range(EACH)
                ]
                await DeferredList(sending[: EACH // 2])
                await self._register()
                while len(self.confirmed) < 10 * (life + 1):
                    await deferLater(reactor, 0.002)
                await deferLater(reactor, self.chance.uniform(0.0, 0.02))
                server.kill()
                for one in sending:
                    one.addErrback(lambda _: None).cancel()
            before = len(self.confirmed)
            self.assertLess(before, len(self.acknowledged))
            await self.life()
            await self._register()
            deadline = reactor.seconds() + 60
            while set(self.acknowledged) - set(self.confirmed):
                self.assertLess(reactor.seconds(), deadline)
                await deferLater(reactor, 0.02)
            self.assertLessEqual(self.repeats, ROUNDS)

        return Deferred.fromCoroutine(run())
