"""Offers and answers that lead to connected MSRP sessions."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.file_selector import FileSelector, FileTransfer
from omaim.bodies.message_offers import NotAcceptable
from omaim.bodies.sdp import RECVONLY, SENDONLY, Media, SessionDescription
from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.msrp import CLOSED, OPEN, Outgoing
from omaim.net.msrp import MsrpEndpoint
from omaim.net.resolver import Resolver
from omaim.roles.description import Description
from omaim.roles.negotiation import Medium, Negotiation, Wish, description_of
from omaim.testing.network import Clock, SimulatedNetwork
from tests.msrp.support import User

TEXT = ("message/cpim", "text/plain")


def wish(user: User, **more: Any) -> Wish:
    return Wish(user.user, more.pop("accept_types", TEXT), **more)


class NegotiationCase(SynchronousTestCase):
    """Two parties, each with an endpoint of its own on a simulated network."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, seed=1)
        self.caller = self.party("192.0.2.1", 1)
        self.callee = self.party("192.0.2.2", 2)

    def party(self, host: str, seed: int, listening: bool = True) -> MsrpEndpoint:
        ids = Ids(seed)
        endpoint = MsrpEndpoint(self.network, self.clock, Resolver(self.clock, ids=ids), ids=ids)
        if listening:
            self.successResultOf(endpoint.listen("TCP", host, 2855))
        return endpoint

    def do(self, doing: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(doing))

    def agree(
        self, caller: Negotiation, offer: Description, callee: Negotiation, *wishes: Wish | None
    ) -> None:
        self.do(caller.read_answer(self.do(callee.answer(offer, wishes))))
        self.clock.advance(1.0)

    def medium(self, negotiation: Negotiation, index: int = 0) -> Medium:
        found = negotiation.media[index]
        assert found is not None
        return found


class CallTests(NegotiationCase):
    def test_both_ways(self) -> None:
        """What was agreed on is connected, and messages go both ways (RFC 4975 §4)."""
        alice, bob = User(), User()
        one, other = Negotiation(self.caller), Negotiation(self.callee)
        self.agree(one, one.offer([wish(alice)]), other, wish(bob))
        here, there = self.medium(one), self.medium(other)
        self.assertEqual([here.session.state, there.session.state], [OPEN, OPEN])
        here.session.send(Outgoing("text/plain", b"hello"))
        there.session.send(Outgoing("text/plain", b"good day"))
        self.clock.advance(1.0)
        self.assertEqual(bob.bodies, [b"hello"])
        self.assertEqual(alice.bodies, [b"good day"])
        self.assertTrue(here.accepts.takes("text/plain"))
        self.assertFalse(here.accepts.takes("image/png"))

    def test_who_cannot_be_reached_connects(self) -> None:
        """A caller without a listener offers to be active, on port 9 (RFC 6135 §4.2.2)."""
        hidden = self.party("192.0.2.3", 3, listening=False)
        one, other = Negotiation(hidden), Negotiation(self.callee)
        offer = one.offer([wish(User())])
        media = description_of(offer).media[0]
        self.assertEqual((media.port, media.attribute("setup")), (9, "active"))
        self.agree(one, offer, other, wish(User()))
        self.assertEqual(self.medium(one).session.state, OPEN)
        self.assertEqual(self.medium(other).session.state, OPEN)

    def test_refused_among_others(self) -> None:
        """One medium is refused, the other is used; its session is over (RFC 3264 §6)."""
        alice, second = User(), User()
        one, other = Negotiation(self.caller), Negotiation(self.callee)
        offer = one.offer([wish(alice), wish(second)])
        sessions = [self.medium(one, index).session for index in (0, 1)]
        self.agree(one, offer, other, None, wish(User()))
        self.assertEqual([session.state for session in sessions], [CLOSED, OPEN])
        self.assertEqual([one is None for one in other.media], [True, False])

    def test_nothing_acceptable(self) -> None:
        """An offer of nothing usable is refused with 488, and nothing is left (§8.6)."""
        one, other = Negotiation(self.caller), Negotiation(self.callee)
        offer = one.offer([wish(User(), accept_types=("image/png",))])
        answering = Deferred.fromCoroutine(
            other.answer(offer, [wish(User(), accept_types=("text/plain",))])
        )
        error = self.failureResultOf(answering, NotAcceptable).value
        self.assertEqual(error.status, 488)
        self.assertEqual(self.callee.sessions, [])
        one.close()
        self.assertEqual(self.caller.sessions, [])

    def test_other_media(self) -> None:
        """Media that are not MSRP are refused one by one (RFC 3264 §6)."""
        one, other = Negotiation(self.caller), Negotiation(self.callee)
        offer = description_of(one.offer([wish(User())]))
        audio = Media.make("audio", 4000, "RTP/AVP", ("0",))
        mixed = attrs.evolve(offer, media=(audio, *offer.media))
        answer = self.do(other.answer(Description(mixed.to_bytes()), [None, wish(User())]))
        ports = [media.port for media in description_of(answer).media]
        self.assertEqual(ports, [0, 2855])

    def test_not_sdp(self) -> None:
        """A body that is no session description is refused with 415."""
        other = Negotiation(self.callee)
        with self.assertRaises(PeerError) as caught:
            other.read_offer(Description(b"hello", "text/plain"))
        self.assertEqual(caught.exception.status, 415)

    def test_inside_a_multipart(self) -> None:
        """An offer may be a part of the body (RFC 5621 §8.2)."""
        sdp = Negotiation(self.caller).offer([wish(User())]).body
        body = (
            b"--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
            b"--x\r\nContent-Type: application/sdp\r\n\r\n" + sdp + b"\r\n--x--\r\n"
        )
        found = description_of(Description(body, "multipart/mixed;boundary=x"))
        self.assertEqual(found, SessionDescription.parse(sdp))


class ChangeTests(NegotiationCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = User(), User()
        self.one, self.other = Negotiation(self.caller), Negotiation(self.callee)
        self.offered, self.answered = wish(self.alice), wish(self.bob)
        self.agree(self.one, self.one.offer([self.offered]), self.other, self.answered)
        self.near, self.far = self.medium(self.one), self.medium(self.other)

    def test_refresh(self) -> None:
        """An offer that repeats the last leaves everything as it is (RFC 4028 §7.4)."""
        answer = self.do(self.other.confirm(self.one.again()))
        self.assertEqual(answer, self.other.again())
        self.do(self.one.read_answer(answer))
        self.assertIs(self.medium(self.one), self.near)
        self.assertEqual(self.near.session.state, OPEN)
        self.near.session.send(Outgoing("text/plain", b"still here"))
        self.clock.advance(1.0)
        self.assertEqual(self.bob.bodies, [b"still here"])

    def test_second_medium(self) -> None:
        """A medium is added; the first goes on (RFC 3264 §8.1)."""
        file = FileTransfer(FileSelector(name="a.txt", size=3, type="text/plain"), "id1")
        push = wish(User(), direction=SENDONLY, file=file)
        offer = self.one.offer([self.offered, push])
        taker = User()
        take = wish(taker, direction=RECVONLY)
        self.agree(self.one, offer, self.other, self.answered, take)
        self.assertIs(self.medium(self.other), self.far)
        self.assertEqual(self.near.session.state, OPEN)
        self.medium(self.one, 1).session.send(Outgoing("text/plain", b"abc"))
        self.clock.advance(1.0)
        self.assertEqual(taker.bodies, [b"abc"])
        self.assertFalse(self.medium(self.other, 1).may_send)

    def test_uninvited_medium(self) -> None:
        """Who only confirms refuses what is new, and keeps what there is."""
        offer = self.one.offer([self.offered, wish(User())])
        self.do(self.one.read_answer(self.do(self.other.confirm(offer))))
        self.clock.advance(1.0)
        self.assertEqual([one is None for one in self.one.media], [False, True])
        self.assertEqual(self.near.session.state, OPEN)

    def test_withdrawn(self) -> None:
        """What a refused offer wanted is forgotten, and the peer's next offer is understood.

        Spec: RFC 3264 §8: the session stays as it was.
        """
        added = wish(User())
        self.one.offer([self.offered, added])
        session = self.medium(self.one, 1).session
        self.one.withdraw()
        self.assertEqual((self.one.media, session.state), ([self.near], CLOSED))
        self.do(self.one.confirm(self.other.again()))
        again = self.one.offer([self.offered, wish(User())])
        self.assertEqual(len(description_of(again).media), 2)
        self.assertEqual(self.near.session.state, OPEN)

    def test_said_otherwise(self) -> None:
        """What may come, and which way, changes; the session goes on (RFC 3264 §8.3, §8.4)."""
        later = attrs.evolve(self.offered, direction=SENDONLY, accept_types=("text/plain",))
        self.near.say(later)
        self.agree(self.one, self.one.offer([later]), self.other, self.answered)
        self.assertIs(self.medium(self.one), self.near)
        self.assertEqual((self.near.session.state, self.far.session.state), (OPEN, OPEN))
        self.assertFalse(self.far.may_send)
        self.assertFalse(self.far.accepts.takes("message/cpim"))
        ends: list[int] = []
        self.far.session.send(Outgoing("message/cpim", b"hm", on_end=ends.append))
        self.clock.advance(1.0)
        self.assertEqual((ends, self.alice.bodies), ([415], []))
        self.near.say(self.offered)
        self.agree(self.one, self.one.offer([self.offered]), self.other, self.answered)
        self.assertTrue(self.far.may_send)

    def test_moved(self) -> None:
        """A new path in an offer means a new session (RFC 4975 §5.4); the old one ends a moment
        later, so that what is under way arrives."""
        moved = wish(self.alice)
        offer = self.one.offer([moved])
        answer = self.do(self.other.confirm(offer))
        ends: list[int] = []
        for session in (self.near.session, self.far.session):
            session.send(Outgoing("text/plain", b"under way", on_end=ends.append))
        self.do(self.one.read_answer(answer))
        self.clock.advance(1.0)
        self.assertEqual((self.alice.bodies.pop(), self.bob.bodies.pop()), (b"under way",) * 2)
        self.assertEqual(ends, [200, 200])
        self.clock.advance(5.0)
        self.assertEqual([self.near.session.state, self.far.session.state], [CLOSED, CLOSED])
        self.assertEqual((self.alice.closed, self.bob.closed), (["replaced"], ["replaced"]))
        self.medium(self.one).session.send(Outgoing("text/plain", b"from elsewhere"))
        self.clock.advance(1.0)
        self.assertEqual(self.bob.bodies, [b"from elsewhere"])

    def test_not_moved(self) -> None:
        """When the offer of a new path is refused, the old session goes on (RFC 3264 §8)."""
        self.one.offer([wish(self.alice)])
        self.one.withdraw()
        self.clock.advance(10.0)
        self.assertIs(self.medium(self.one), self.near)
        self.near.session.send(Outgoing("text/plain", b"as before"))
        self.clock.advance(1.0)
        self.assertEqual((self.bob.bodies, len(self.caller.sessions)), ([b"as before"], 1))

    def test_ended(self) -> None:
        """An offer ends a medium with port 0; close ends all."""
        offer = self.one.offer([None])
        self.assertEqual(description_of(offer).media[0].port, 0)
        self.do(self.other.confirm(offer))
        self.assertEqual(self.other.media, [None])
        self.assertEqual([self.near.session.state, self.far.session.state], [CLOSED, CLOSED])

    def test_close(self) -> None:
        """At the end of the call nothing is left."""
        self.one.close("over")
        self.other.close("over")
        self.assertEqual(self.caller.sessions + self.callee.sessions, [])
        self.assertEqual(self.alice.closed, ["over"])
