"""kill -9 of the IM Server while it takes large messages to lists: what it confirmed is kept."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from omaim.bodies.cpim import Cpim
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart
from omaim.bodies.resource_lists import MEDIA_TYPE, Entry, ResourceList, write_lists
from omaim.bodies.sdp import SENDONLY
from omaim.ids import Ids
from omaim.msrp import Outgoing
from omaim.net.msrp import MsrpEndpoint
from omaim.net.network import ReactorNetwork
from omaim.roles.description import CallFailed
from omaim.roles.inviter import Inviter
from omaim.roles.negotiation import Negotiation, Wish
from omaim.stores.opening import open_stores
from tests.im.lives import LivesTestCase
from tests.im.support import ALICE, EXPLODER, cpim
from tests.msrp.support import User

reactor: Any = _reactor

ROUNDS = 5
STEP = 0.006  # seconds by which each life is longer than the one before
PEOPLE = [f"sip:user{number}@north.example" for number in range(40)]
LARGE_MODE = "*;+g.oma.sip-im.large-message"


class LargeListCrashTests(LivesTestCase):
    """Of a server with SQLite, killed while Alice's client sends large messages to a list."""

    async def _send(self, name: str) -> None:
        """Send one; note it if it is confirmed, which it is not when the server dies before."""
        user = User()
        negotiation = Negotiation(self.msrp)
        offer = negotiation.offer([Wish(user.user, ("*",), direction=SENDONLY)])
        listed = [("Content-Type", MEDIA_TYPE), ("Content-Disposition", "recipient-list")]
        people = write_lists([ResourceList(tuple(Entry(one) for one in PEOPLE))])
        parts = [Part([("Content-Type", offer.content_type)], offer.body), Part(listed, people)]
        kind, body = Multipart("mixed", parts).write()
        headers = [
            ("Route", f"<{self.address};lr>"),
            ("P-Asserted-Identity", f"<{ALICE}>"),
            ("P-Charging-Vector", "icid-value=charge-1"),
            ("Accept-Contact", LARGE_MODE),
            ("Require", "recipient-list-invite"),
        ]
        ended: Deferred[int] = Deferred()
        self.dying = ended
        try:
            call = await self.inviter.invite(EXPLODER, body, kind, headers)
            await negotiation.read_answer(call.remote)
            medium = negotiation.media[0]
            assert medium is not None
            content = cpim(name * 50, "", to=EXPLODER, message_id=name)
            sent = Outgoing("message/cpim", content, on_end=lambda status: _once(ended, status))
            medium.session.send(sent)
            self.under_way = True
            if await ended == 200:
                self.confirmed.append(name)
        except CallFailed:
            pass
        finally:
            self.under_way = False
            negotiation.close()

    async def _kept(self) -> dict[str, list[str]]:
        """Return the names of the messages that wait for each, in order."""
        stores = await open_stores(f"sqlite:///{self.state}", reactor, reactor)
        found = {}
        for one in PEOPLE:
            waiting = await stores.deferred.waiting(one, 0.0, limit=1000)
            found[one] = [Cpim.parse(message.body).message_id for message in waiting]
        await stores.close()
        return found

    def test_kill(self) -> Any:
        """Of what was confirmed everybody has a copy, one each, also of what was sent again
        because nobody confirmed it (spec 10 §4; RFC 5365 §7)."""

        async def run() -> None:
            chance = random.Random(5)
            await self.listen()
            self.core.otherwise = 480
            self.msrp = MsrpEndpoint(ReactorNetwork(reactor), reactor, name="alice", ids=Ids(8))
            self.addCleanup(self.msrp.stop)
            await self.msrp.listen("TCP", "127.0.0.1", 0)
            self.inviter = Inviter(self.core.ua)
            self.confirmed: list[str] = []
            self.under_way = False
            unsure = 0
            names = iter(f"m{one}" for one in range(1000))
            again: list[str] = []
            for number in range(ROUNDS):
                server = await self.life()
                for name in again:
                    await self._send(name)
                wanted = len(self.confirmed) + chance.randrange(1, 4)
                while len(self.confirmed) < wanted:
                    await self._send(next(names))
                name = next(names)
                sending = Deferred.fromCoroutine(self._send(name))
                while not self.under_way:
                    await deferLater(reactor, 0.0)
                await deferLater(reactor, STEP * number)
                server.kill()
                server.wait()
                _once(self.dying, 408)
                await sending
                again = [] if name in self.confirmed else [name]
                unsure += len(again)
                kept = await self._kept()
                for one in PEOPLE:
                    self.assertEqual(len(set(kept[one])), len(kept[one]), "each once")
                    self.assertLessEqual(set(self.confirmed), set(kept[one]), one)
            self.assertGreater(unsure, 0, "how often it died in the middle")
            await self._comes()

        return Deferred.fromCoroutine(run())

    async def _comes(self) -> None:
        """All that was confirmed is delivered to somebody who comes."""
        await self.life()
        self.core.otherwise = 200
        self.core.seen.clear()
        request = self.core.ua.make(
            "REGISTER", self.address, [("Expires", "600")], to=f"<{PEOPLE[0]}>"
        )
        await self.core.ua.request(request)
        deadline = reactor.seconds() + 30
        while len(self._got()) < len(self.confirmed):
            self.assertLess(reactor.seconds(), deadline)
            await deferLater(reactor, 0.02)
        self.assertLessEqual(set(self.confirmed), set(self._got()))

    def _got(self) -> list[str]:
        seen = [one for one in self.core.seen if one.uri == PEOPLE[0]]
        return [Cpim.parse(one.body).message_id for one in seen]


def _once(ended: Deferred[int], status: int) -> None:
    if not ended.called:
        ended.callback(status)
