"""kill -9 of the IM Server: what it acknowledged is in the history, and is there once."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from omaim.bodies.cpim import Cpim
from omaim.bodies.history_list import MEDIA_TYPE, parse_history_list
from omaim.bodies.im_settings import MEDIA_TYPE as SETTINGS
from omaim.bodies.im_settings import ServiceSettings, write_settings
from omaim.stores.opening import open_stores
from tests.im.lives import LivesTestCase
from tests.im.support import BOB, XENIA, cpim
from tests.im.test_history import FETCH

ROUNDS = 4
EACH = 45  # messages sent in each life of the server


class HistoryCrashTests(LivesTestCase):
    """Of a server with SQLite, killed while Bob sends, gets and misses messages."""

    async def _set_up(self) -> None:
        self.chance = random.Random(11)
        await self.listen()
        self.acknowledged: set[str] = set()
        self.sent: list[str] = []

    async def _switch_on(self) -> None:
        """Have Bob publish that he wants his history, for longer than the server lives."""
        request = self.core.ua.make(
            "PUBLISH",
            BOB,
            [
                ("Route", f"<{self.address};lr>"),
                ("P-Asserted-Identity", f"<{BOB}>"),
                ("P-Served-User", f"<{BOB}>;sescase=orig;regstate=reg"),
                ("Event", "im-settings"),
                ("Content-Type", SETTINGS),
            ],
            write_settings(ServiceSettings(history_pager=True)),
        )
        self.assertEqual((await self.core.ua.request(request)).status, 200)

    async def _send(self, name: str) -> None:
        """Send what is called so: from Bob, to him, or to him while he is away."""
        number = int(name.rpartition("-")[2])
        if number % 3 == 0:
            body = cpim(name, "", sender=BOB, to=XENIA, message_id=name)
            request = self.core.isc("orig", BOB, XENIA, body, "message/cpim")
        else:
            body = cpim(name, "", sender=XENIA, to=BOB, message_id=name)
            state = "reg" if number % 3 == 1 else "unreg"
            request = self.core.isc("term", XENIA, BOB, body, "message/cpim", state=state)
        request.set("Route", f"<{self.address};lr>, <sip:127.0.0.1:{self.port};lr>")
        response = await self.core.ua.request(request)
        if response.status in (200, 202):
            self.acknowledged.add(name)

    async def _listed(self) -> int:
        """Return how many Bob is told of, as soon as the list has come."""
        count, after = 0, 0
        while True:
            before = len(self.core.others)
            headers = [
                ("Route", f"<{self.address};lr>"),
                ("P-Asserted-Identity", f"<{BOB}>"),
                ("Event", f"sip-profile;limit=50;after={after}"),
                ("Accept", MEDIA_TYPE),
                ("Expires", "0"),
            ]
            request = self.core.ua.make("SUBSCRIBE", FETCH, headers)
            self.assertEqual((await self.core.ua.request(request)).status, 200)
            while len(self.core.others) == before:
                await deferLater(reactor, 0.01)
            found = parse_history_list(self.core.others[-1].body)
            count += len(found.entries)
            if not found.next:
                return count
            after = found.next

    async def _recorded(self) -> Counter[str]:
        """Return what is in the file, by its text."""
        stores = await open_stores(f"sqlite:///{self.state}", reactor, reactor)  # type: ignore[arg-type]
        found: Counter[str] = Counter()
        after = 0
        while conversations := await stores.history.search(BOB, after=after):
            after = conversations[-1].position
            for one in conversations:
                for entry in await stores.history.entries(BOB, one.reference):
                    found[Cpim.parse(entry.body).part.content.decode()] += 1
        await stores.close()
        return found

    def test_kill(self) -> Any:
        """Nothing acknowledged is lost from the history, and nothing is there twice."""

        async def run() -> None:
            await self._set_up()
            cut_off = 0
            for life in range(ROUNDS):
                server = await self.life()
                if not life:
                    await self._switch_on()
                again = [name for name in self.sent if name not in self.acknowledged]
                fresh = [f"{life}-{number}" for number in range(EACH)]
                self.sent += fresh
                wanted = len(self.acknowledged) + self.chance.randrange(5, EACH - 10)
                sending = []
                names = iter(again + fresh)
                for name in names:
                    sending.append(Deferred.fromCoroutine(self._send(name)))
                    await deferLater(reactor, self.chance.choice((0.0, 0.0, 0.004)))
                    if len(self.acknowledged) >= wanted:
                        break
                for name in islice(names, 5):  # the end comes before their answers
                    sending.append(Deferred.fromCoroutine(self._send(name)))
                cut_off += sum(not one.called for one in sending)
                server.kill()
                server.wait()
                for one in sending:
                    one.addErrback(lambda _: None).cancel()
            left = [name for name in self.sent if name not in self.acknowledged]
            self.assertGreater(cut_off, 0)
            server = await self.life()
            await DeferredList([Deferred.fromCoroutine(self._send(name)) for name in left])
            self.assertEqual(len(self.acknowledged), ROUNDS * EACH)
            self.assertEqual(await self._listed(), ROUNDS * EACH)
            server.kill()
            server.wait()
            self.assertEqual(await self._recorded(), Counter(self.sent))

        return Deferred.fromCoroutine(run())

    def test_kill_and_look(self) -> Any:
        """What was acknowledged right before the end is there after the next start."""

        async def run() -> None:
            await self._set_up()
            for life in range(ROUNDS):
                server = await self.life()
                if not life:
                    await self._switch_on()
                names = [f"{life}-{number}" for number in range(6)]
                await DeferredList([Deferred.fromCoroutine(self._send(name)) for name in names])
                server.kill()
                server.wait()
            await self.life()
            self.assertEqual(len(self.acknowledged), ROUNDS * 6)
            self.assertEqual(await self._listed(), ROUNDS * 6)

        return Deferred.fromCoroutine(run())
