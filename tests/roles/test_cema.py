"""CEMA over a middlebox that anchors MSRP: it rewrites c= and m=, and forwards octets.

Spec: RFC 6714 §4
"""

from __future__ import annotations

import re
from typing import Any

from twisted.internet import reactor
from twisted.protocols.portforward import ProxyFactory

from omaim.bodies.message_offers import NotAcceptable
from omaim.msrp import OPEN, Outgoing
from omaim.net.msrp import MsrpEndpoint
from omaim.net.network import ReactorNetwork
from omaim.roles.description import Description
from omaim.roles.negotiation import Medium, Negotiation, Wish
from tests.msrp.support import User
from tests.net.loopback import LoopbackCase

ADDRESS = "127.0.0.77"  # of the middlebox
_MEDIA = re.compile(rb"m=message (\d+) ")
_CONNECTION = re.compile(rb"c=IN IP4 ([\d.]+)")


class _Counted(ProxyFactory):
    """Forwards connections, and counts them."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.count = 0

    def buildProtocol(self, addr: Any) -> Any:
        self.count += 1
        return super().buildProtocol(addr)


class Middlebox:
    """Stands between two endpoints, in SIP and in TCP.

    Args:
        aware: leave descriptions without ``a=msrp-cema`` alone, as §6.2 assumes; else rewrite all.
    """

    def __init__(self, case: LoopbackCase, aware: bool = True) -> None:
        self._case, self._aware = case, aware
        self._factories: list[_Counted] = []

    @property
    def connections(self) -> int:
        """How many were forwarded."""
        return sum(factory.count for factory in self._factories)

    def carry(self, said: Description) -> Description:
        """Return what the other side gets of a description."""
        if self._aware and b"a=msrp-cema" not in said.body:
            return said
        media, connection = _MEDIA.search(said.body), _CONNECTION.search(said.body)
        assert media is not None
        assert connection is not None
        factory = _Counted(connection[1].decode(), int(media[1]))
        self._factories.append(factory)
        port: Any = reactor.listenTCP(0, factory, interface=ADDRESS)  # type: ignore[arg-type]
        self._case.addCleanup(port.stopListening)
        body = _MEDIA.sub(b"m=message %d " % port.getHost().port, said.body)
        return Description(_CONNECTION.sub(f"c=IN IP4 {ADDRESS}".encode(), body))


class CemaTests(LoopbackCase):
    async def party(self) -> MsrpEndpoint:
        endpoint = MsrpEndpoint(ReactorNetwork(reactor), reactor)
        self.addCleanup(endpoint.stop)
        await endpoint.listen("TCP", "127.0.0.1")
        return endpoint

    async def pair(self) -> None:
        self.alice, self.bob = User(), User()
        self.caller, self.callee = await self.party(), await self.party()
        self.one, self.other = Negotiation(self.caller), Negotiation(self.callee)

    def wish(self, user: User, cema: bool, eager: bool = False) -> Wish:
        return Wish(user.user, ("text/plain",), cema=cema, eager=eager)

    async def talk(self) -> None:
        """Both say something, and hear it."""
        here, there = self.medium(self.one), self.medium(self.other)
        here.session.send(Outgoing("text/plain", b"hello"))
        there.session.send(Outgoing("text/plain", b"good day"))
        await self.until(lambda: self.alice.bodies and self.bob.bodies)
        self.assertEqual((self.alice.bodies, self.bob.bodies), ([b"good day"], [b"hello"]))
        self.assertEqual([here.session.state, there.session.state], [OPEN, OPEN])

    def medium(self, negotiation: Negotiation) -> Medium:
        found = negotiation.media[0]
        assert found is not None
        return found

    async def test_both(self) -> None:
        """Where both know CEMA, the active side connects to what c= and m= say: the middlebox,
        whichever side is active (§4.2, §4.3)."""
        for eager in (True, False):
            await self.pair()
            box = Middlebox(self)
            offer = box.carry(self.one.offer([self.wish(self.alice, True)]))
            answer = await self.other.answer(offer, [self.wish(self.bob, True, eager)])
            self.assertIn(b"a=msrp-cema", answer.body)
            self.assertIn(b"a=setup:active" if eager else b"a=setup:passive", answer.body)
            await self.one.read_answer(box.carry(answer))
            self.assertFalse(self.one.wants_reoffer)
            await self.talk()
            self.assertEqual(box.connections, 1)

    async def test_answerer_without(self) -> None:
        """An active answerer that does not know CEMA would go by the path: the offerer offers
        again, without CEMA, and the middlebox lets that be (§4.2, criterion 1)."""
        await self.pair()
        box = Middlebox(self)
        offer = box.carry(self.one.offer([self.wish(self.alice, True)]))
        wish = self.wish(self.bob, False, True)
        answer = await self.other.answer(offer, [wish])
        moved = re.sub(rb"c=IN IP4 [\d.]+", f"c=IN IP4 {ADDRESS}".encode(), answer.body)
        await self.one.read_answer(Description(moved))
        self.assertTrue(self.one.wants_reoffer)
        self.assertIsNone(self.medium(self.one).agreed)
        again = self.one.reoffer()
        self.assertNotIn(b"msrp-cema", again.body)
        answer = await self.other.answer(box.carry(again), [wish])
        await self.one.read_answer(box.carry(answer))
        self.assertFalse(self.one.wants_reoffer)
        await self.talk()
        self.assertEqual(box.connections, 0)

    async def test_passive_answerer_without(self) -> None:
        """A passive answerer need not know CEMA: the offerer connects to the middlebox (§4.2)."""
        await self.pair()
        box = Middlebox(self, aware=False)
        offer = box.carry(self.one.offer([self.wish(self.alice, True)]))
        answer = await self.other.answer(offer, [self.wish(self.bob, False)])
        self.assertNotIn(b"msrp-cema", answer.body)
        await self.one.read_answer(box.carry(answer))
        self.assertFalse(self.one.wants_reoffer)
        await self.talk()
        self.assertEqual(box.connections, 1)

    async def test_offerer_without(self) -> None:
        """An offer without CEMA that a middlebox has rewritten all the same is refused with 488;
        one that it has let be is taken, without CEMA (§4.3)."""
        await self.pair()
        offer = self.one.offer([self.wish(self.alice, False)])
        with self.assertRaises(NotAcceptable) as caught:
            rewritten = Middlebox(self, aware=False).carry(offer)
            await self.other.answer(rewritten, [self.wish(self.bob, True)])
        self.assertEqual(caught.exception.status, 488)
        self.assertEqual(self.callee.sessions, [])
        box = Middlebox(self)
        answer = await self.other.answer(box.carry(offer), [self.wish(self.bob, True)])
        self.assertNotIn(b"msrp-cema", answer.body)
        await self.one.read_answer(box.carry(answer))
        await self.talk()
        self.assertEqual(box.connections, 0)
