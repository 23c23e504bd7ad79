"""kill -9 of the IM Server while people talk in a room that is recorded."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from omaim.bodies.conference_info import MEDIA_TYPE as CONFERENCE_INFO
from omaim.bodies.conference_info import parse_conference
from omaim.bodies.cpim import MEDIA_TYPE, Cpim
from omaim.bodies.groups import MEDIA_TYPE as GROUPS
from omaim.im.group_documents import write_group
from omaim.im.groups import GLOBAL
from omaim.im.room_rules import CHAT, MEMBER
from omaim.msrp import Outgoing
from omaim.roles.negotiation import Negotiation, Wish
from omaim.sip.message import Request
from omaim.stores.opening import open_stores
from omaim.stores.records import Document
from tests.im.attendees import cpim
from tests.im.lives import Speaker, TalksTestCase
from tests.im.support import ALICE, BOB
from tests.msrp.support import User

ROUNDS = 4
ROOM = "sip:room.tea@north.example"


class ConferenceCrashTests(TalksTestCase):
    """Of a server with SQLite, and a room of two, of whom one has his history recorded."""

    async def _set_up(self) -> None:
        await self.listen()
        stores = await open_stores(f"sqlite:///{self.state}", reactor, reactor)  # type: ignore[arg-type]
        body = write_group(ROOM, CHAT, (ALICE, BOB), of_members=MEMBER)
        await stores.documents.put(Document(GLOBAL + ROOM, "e1", GROUPS, body, 0.0))
        await stores.close()

    async def _join(self, user: str, listener: User | None = None) -> Any:
        """Come into the room; return the session."""
        ids = self.core.ua.ids
        negotiation = Negotiation(self.msrp)
        wish = Wish(
            (listener or User()).user, (MEDIA_TYPE,), ("*",), chatroom=("private-messages",)
        )
        offer = negotiation.offer([wish])
        fields = [
            ("Route", f"<{self.address};lr>"),
            ("Record-Route", f"<{self.address};lr>"),  # so that the ACK comes there
            ("Max-Forwards", "70"),
            ("From", f"<{user}>;tag={ids.tag()}"),
            ("To", f"<{ROOM}>"),
            ("Call-ID", ids.call_id()),
            ("CSeq", "1 INVITE"),
            ("P-Asserted-Identity", f"<{user}>"),
            ("P-Charging-Vector", "icid-value=charge-1"),
            ("Content-Type", offer.content_type),
        ]
        request = Request.make("INVITE", ROOM, fields, offer.body)
        call = await self.inviter.invite("", request=request)
        await negotiation.read_answer(call.remote)
        medium = negotiation.media[0]
        assert medium is not None
        return medium.session

    def words(self, name: str, user: str) -> tuple[str, bytes]:
        return MEDIA_TYPE, cpim(user, ROOM, name)

    async def _recorded(self) -> Counter[str]:
        stores = await open_stores(f"sqlite:///{self.state}", reactor, reactor)  # type: ignore[arg-type]
        found: Counter[str] = Counter()
        stays = await stores.history.search(BOB, limit=100)
        self.assertEqual({(one.kind, one.peer) for one in stays}, {("conference", ROOM)})
        self.assertEqual(len(stays), ROUNDS)
        for one in stays:
            after, last = 0, one.started_at
            while True:
                page = await stores.history.entries(BOB, one.reference, after, 200)
                for entry in page:
                    after, last = entry.position, entry.at
                    found[Cpim.parse(entry.body).part.text()] += 1
                if not page:
                    break
            self.assertEqual((one.ended_at, one.cut_off), (last, True))
        await stores.close()
        return found

    def test_kill(self) -> Any:
        """What a speaker was told is recorded, once; the room opens again in the next life, by
        which a stay that was cut off has got its end: with the last message of it."""

        async def run() -> None:
            async def meet() -> list[Speaker]:
                return [(await self._join(user), user) for user in (ALICE, BOB)]

            await self._set_up()
            await self.speak_in_lives(ROUNDS, BOB, random.Random(3), meet)
            self.check_recorded(await self._recorded())

        return Deferred.fromCoroutine(run())

    def test_late(self) -> Any:
        """Who comes late sees what was said in an earlier life: the last of it, once, and nothing
        that was said to one alone."""
        self.replay = 5

        async def run() -> None:
            await self._set_up()
            server = await self.life()
            alice, bob = await self._join(ALICE), await self._join(BOB)
            private = Outgoing(MEDIA_TYPE, cpim(ALICE, BOB, "psst"), on_end=lambda status: None)
            for session, user in ((alice, ALICE), (bob, BOB)):
                self.speak(session, user)
            while len(self.acknowledged) < 20:
                await deferLater(reactor, 0.0)
            alice.send(private)
            while len(self.acknowledged) < 40 or not private.ended:
                await deferLater(reactor, 0.0)
            server.kill()
            server.wait()
            await self.life()
            listener = User()
            await self._join(BOB, listener)
            while len(listener.bodies) < self.replay:
                await deferLater(reactor, 0.05)
            await deferLater(reactor, 0.5)
            heard = [Cpim.parse(one).part.text() for one in listener.bodies]
            self.assertEqual(len(heard), self.replay)
            self.assertNotIn("psst", heard)
            numbers = [int(one.rpartition("-")[2]) for one in heard]
            last = [int(one.rpartition("-")[2]) for one in self.acknowledged[-2:]]
            self.assertEqual(len(set(numbers)), self.replay)
            # What was not acknowledged any more may have been kept as well.
            self.assertGreaterEqual(min(numbers), min(last) - self.replay - 1)
            self.assertGreaterEqual(max(numbers), max(last))

        return Deferred.fromCoroutine(run())

    def test_watchers(self) -> Any:
        """Who watched is told by the next life that the conference is over (RFC 4575 §4.6)."""

        async def run() -> None:
            await self._set_up()
            server = await self.life()
            await self._join(ALICE)
            request = self.core.ua.make(
                "SUBSCRIBE",
                ROOM,
                [
                    ("Route", f"<{self.address};lr>"),
                    ("P-Asserted-Identity", f"<{BOB}>"),
                    ("Event", "conference"),
                    ("Accept", CONFERENCE_INFO),
                    ("Contact", self.core.ua.contact),
                ],
            )
            self.assertEqual((await self.core.ua.request(request)).status, 200)
            while not self.core.others:
                await deferLater(reactor, 0.01)
            first = parse_conference(self.core.others[0].body)
            self.assertEqual([one.entity for one in first.users], [ALICE])
            server.kill()
            server.wait()
            await self.life(self.served_at)
            while "terminated" not in (self.core.others[-1].first("Subscription-State") or ""):
                await deferLater(reactor, 0.1)
            told = [parse_conference(one.body) for one in self.core.others[1:] if one.body]
            self.assertEqual({one.state for one in told}, {"deleted"})
            versions = [one.version for one in told]
            self.assertGreater(versions[0], first.version)
            self.assertEqual(versions, sorted(versions))
            self.assertIn("noresource", self.core.others[-1].first("Subscription-State") or "")

        return Deferred.fromCoroutine(run())
