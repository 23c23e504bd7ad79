"""kill -9 of the IM Server while somebody fetches his messages: none is lost, none comes anew."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from omaim.bodies.cpim import Cpim
from omaim.bodies.sdp import RECVONLY
from omaim.ids import Ids
from omaim.net.msrp import MsrpEndpoint
from omaim.net.network import ReactorNetwork
from omaim.roles.inviter import Inviter
from omaim.roles.negotiation import Negotiation, Wish
from omaim.stores.opening import open_stores
from tests.im.lives import LivesTestCase
from tests.im.support import BOB, XENIA, cpim
from tests.msrp.support import User

ROUNDS = 5
ALL = 120
FUNCTION = "sip:deferred@north.example"


class DownloadCrashTests(LivesTestCase):
    """Of a server with SQLite, killed while Bob's client takes what waits for him."""

    delivery = "notify"

    async def _send(self, name: str) -> None:
        body = cpim(name, "", sender=XENIA, to=BOB, message_id=name)
        request = self.core.isc("term", XENIA, BOB, body, "message/cpim", state="unreg")
        request.set("Route", f"<{self.address};lr>, <sip:127.0.0.1:{self.port};lr>")
        self.assertEqual((await self.core.ua.request(request)).status, 202)

    async def _fetch(self) -> Deferred[str]:
        """Begin a session; what is returned fires when the server has hung up."""
        over: Deferred[str] = Deferred()
        user = User()
        user.on_whole = lambda incoming: self.got.append(user.bodies[-1])
        negotiation = Negotiation(self.msrp)
        offer = negotiation.offer([Wish(user.user, ("message/cpim",), ("*",), direction=RECVONLY)])
        headers = [
            ("Route", f"<{self.address};lr>"),
            ("P-Asserted-Identity", f"<{BOB}>"),
            ("P-Charging-Vector", "icid-value=charge-1"),
        ]
        call = await self.inviter.invite(FUNCTION, offer.body, headers=headers)
        call.on_bye = over.callback
        await negotiation.read_answer(call.remote)
        return over

    async def _left(self) -> int:
        stores = await open_stores(f"sqlite:///{self.state}", reactor, reactor)  # type: ignore[arg-type]
        found = len(await stores.deferred.waiting(BOB, 0.0, limit=ALL))
        await stores.close()
        return found

    def test_kill(self) -> Any:
        """Each message comes; what comes twice has the same Message-ID, and is what was under way
        when the server died (spec 10 §11)."""

        async def run() -> None:
            chance = random.Random(5)
            await self.listen()
            self.msrp = MsrpEndpoint(ReactorNetwork(reactor), reactor, name="bob", ids=Ids(8))
            self.addCleanup(self.msrp.stop)
            await self.msrp.listen("TCP", "127.0.0.1", 0)
            self.inviter = Inviter(self.core.ua)
            self.got: list[bytes] = []
            names = [f"m{number}" for number in range(ALL)]
            server = await self.life()
            for name in names:
                await self._send(name)
            cut = 0
            for _ in range(ROUNDS):
                wanted = len(self.got) + chance.randrange(3, ALL // ROUNDS)
                over = await self._fetch()
                while len(self.got) < wanted and not over.called:
                    await deferLater(reactor, 0.0)
                cut += not over.called
                server.kill()
                server.wait()
                server = await self.life()
            self.assertEqual(cut, ROUNDS, "how often it died in the middle")
            over = await self._fetch()
            self.assertEqual(await over, "SIP;cause=200")
            server.kill()
            server.wait()
            came = [Cpim.parse(body) for body in self.got]
            self.assertEqual(sorted({one.message_id for one in came}), sorted(names))
            self.assertEqual(
                list(dict.fromkeys(one.message_id for one in came)), names, "the order"
            )
            self.assertLessEqual(len(came), ALL + ROUNDS * 8, "what was under way at most")
            self.assertEqual(await self._left(), 0)

        return Deferred.fromCoroutine(run())
