"""kill -9 of the IM Server while two talk in a session that is recorded."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from omaim.msrp import Session
from omaim.roles.invitation import Invitation
from omaim.roles.negotiation import Negotiation, Wish
from omaim.sip.message import Request
from omaim.stores.opening import open_stores
from tests.im.lives import TalksTestCase
from tests.im.support import ALICE, XENIA
from tests.msrp.support import User

ROUNDS = 4
LONG = 100_000  # octets of every fourth message, which passes while it comes
TEXT = "text/plain"


class SessionCrashTests(TalksTestCase):
    """Of a server with SQLite, and two who talk, of whom the caller has his history recorded."""

    async def _set_up(self) -> None:
        await self.listen()
        self.inviter.on_invite = self._invited
        self.heard = User()

    def words(self, name: str, user: str) -> tuple[str, bytes]:
        body = name.encode() + b"!"
        return TEXT, body.ljust(LONG, b".") if self.said % 4 == 0 else body

    async def _invited(self, invitation: Invitation) -> None:
        """Be the callee."""
        negotiation = Negotiation(self.msrp)
        wish = Wish(self.heard.user, (TEXT,))
        answer = await negotiation.answer(invitation.call.remote, [wish])
        await invitation.accept(answer.body)
        medium = negotiation.media[0]
        assert medium is not None
        self.far = medium.session

    async def _talk(self) -> tuple[Session, Session]:
        """Be the caller; return both ends of the talk."""
        ids = self.core.ua.ids
        negotiation = Negotiation(self.msrp)
        offer = negotiation.offer([Wish(User().user, (TEXT,))])
        fields = [
            ("Route", f"<{self.address};lr>"),
            ("Route", f"<sip:127.0.0.1:{self.port};lr>"),
            ("Record-Route", f"<{self.address};lr>"),  # so that the ACK comes there
            ("Max-Forwards", "70"),
            ("From", f"<{ALICE}>;tag={ids.tag()}"),
            ("To", f"<{XENIA}>"),
            ("Call-ID", ids.call_id()),
            ("CSeq", "1 INVITE"),
            ("P-Asserted-Identity", f"<{ALICE}>"),
            ("P-Served-User", f"<{ALICE}>;sescase=orig;regstate=reg"),
            ("P-Charging-Vector", "icid-value=charge-1"),
            ("Content-Type", offer.content_type),
        ]
        request = Request.make("INVITE", XENIA, fields, offer.body)
        call = await self.inviter.invite("", request=request)
        await negotiation.read_answer(call.remote)
        medium = negotiation.media[0]
        assert medium is not None
        return medium.session, self.far

    async def _recorded(self) -> Counter[str]:
        stores = await open_stores(f"sqlite:///{self.state}", reactor, reactor)  # type: ignore[arg-type]
        found: Counter[str] = Counter()
        talks = await stores.history.search(ALICE)
        self.assertEqual([(one.kind, one.peer) for one in talks], [("session", XENIA)] * ROUNDS)
        for one in talks:
            after = 0
            while page := await stores.history.entries(ALICE, one.reference, after, 200):
                after = page[-1].position
                for entry in page:
                    name = entry.body.partition(b"!")[0].decode()
                    self.assertIn(len(entry.body), (LONG, len(name) + 1))
                    self.assertTrue(name.startswith(entry.sender))
                    found[name] += 1
        await stores.close()
        return found

    def test_kill(self) -> Any:
        """What was acknowledged to either party, short or long, is recorded whole, and once."""

        async def run() -> None:
            chance = random.Random(5)
            await self._set_up()
            server = await self.life()
            await self.record(ALICE)
            for _ in range(ROUNDS):
                near, far = await self._talk()
                wanted = len(self.acknowledged) + chance.randrange(20, 60)
                for _ in range(3):
                    self.speak(near, ALICE)
                    self.speak(far, XENIA)
                while len(self.acknowledged) < wanted:
                    await deferLater(reactor, 0.0)
                server.kill()
                server.wait()
                server = await self.life()
            server.kill()
            server.wait()
            recorded = await self._recorded()
            self.assertGreater(len(self.acknowledged), 80)
            self.assertGreater(self.said, len(self.acknowledged), "something was cut off")
            self.assertEqual([one for one in self.acknowledged if recorded[one] != 1], [])
            self.assertEqual([one for one, count in recorded.items() if count != 1], [])

        return Deferred.fromCoroutine(run())
