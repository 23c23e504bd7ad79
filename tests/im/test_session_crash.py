"""kill -9 of the IM Server while two talk in a session that is recorded."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from omaim.roles.invitation import Invitation
from omaim.roles.negotiation import Negotiation, Wish
from omaim.sip.message import Request
from omaim.stores.opening import open_stores
from tests.im.lives import Speaker, TalksTestCase
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

    async def _talk(self) -> list[Speaker]:
        """Be the caller; return both ends of the talk, and whose they are."""
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
        return [(medium.session, ALICE), (self.far, XENIA)]

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
            await self._set_up()
            await self.speak_in_lives(ROUNDS, ALICE, random.Random(5), self._talk)
            self.check_recorded(await self._recorded())
            self.assertGreater(self.said, len(self.acknowledged), "something was cut off")

        return Deferred.fromCoroutine(run())
