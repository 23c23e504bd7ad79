"""Deferred and recorded messages, fetched in a session."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from omaim.bodies.deferred_list import MEDIA_TYPE, Waiting, parse_deferred_list
from omaim.bodies.multipart import leaves
from omaim.bodies.sdp import SENDONLY
from omaim.client.failures import NoAnswer, NotFound
from omaim.client.leg import Leg
from omaim.client.messages import Message
from omaim.msrp import Outgoing, SessionUser
from omaim.roles.invitation import Invitation
from omaim.roles.negotiation import Wish
from tests.client.support import ALICE, BOB, HomeTests, PairTests, cpim


class ServerTests(HomeTests):
    """A real server that only tells what waits."""

    def im_settings(self) -> dict[str, Any]:
        return {"delivery": "notify"}

    def test_deferred(self) -> None:
        """What waits is fetched in a session, oldest first, and reported to its senders."""
        bob = self.registered("bob")
        long = "three " * 500
        sent = [self.wait(bob.send("alice", text)) for text in ("one", "two", long)]
        alice = self.registered("alice")
        waiting: tuple[Waiting, ...] = self.wait(alice.deferred.list())
        self.assertEqual(self.wait(alice.deferred.fetch([waiting[1].reference])), 1)
        message = self.successResultOf(alice.inbox.next())
        self.assertEqual((message.text, message.sender, message.verified), ("two", BOB, True))
        self.assertEqual(self.wait(alice.deferred.fetch()), 2)
        got = [self.successResultOf(alice.inbox.next()).text for _ in range(2)]
        self.assertEqual(got, ["one", long])
        self.settle(5.0)
        self.assertEqual([one.status for one in sent], ["delivered"] * 3)
        self.assertEqual(self.wait(alice.deferred.list()), ())
        with self.assertRaises(NotFound):
            self.wait(alice.deferred.fetch(["nothing"]))
        self.assertEqual(self.wait(alice.deferred.fetch()), 0)

    def test_history(self) -> None:
        """What was said in a session is fetched in one."""
        alice, bob = self.registered("alice"), self.registered("bob")
        self.wait(bob.history.switch(session=True, pager=True))
        bob.auto_accept = True
        talk = self.wait(alice.invite("bob", subject="Lunch"))
        self.settle()
        for text in ("Hungry?", "Very?"):
            self.wait(talk.send(text))
        self.wait(talk.leave())
        self.wait(alice.send("bob", "a message"))
        self.settle(5.0)
        found = self.wait(bob.history.list())
        said = self.wait(bob.history.fetch(found))
        self.assertEqual(
            sorted((one.sender, one.text) for one in said),
            [(ALICE, "Hungry?"), (ALICE, "Very?"), (ALICE, "a message")],
        )
        self.assertEqual({one.reference for one in said}, {one.reference for one in found})
        with self.assertRaises(NotFound):
            self.wait(bob.history.fetch([*found, "nothing"]))


class FunctionTests(PairTests):
    """Bob's client plays the function; alice fetches from it."""

    def setUp(self) -> None:
        super().setUp()
        self.wanted: list[tuple[str, ...]] = []
        self.statuses: list[int] = []
        self.bodies = [cpim(text, message_id=text, reports=()) for text in ("one1", "two2")]
        self.reason = "SIP;cause=200"
        self.bob.sessions._means.inviter.on_invite = self.invited

    async def invited(self, invitation: Invitation) -> None:
        """Send everything and hang up."""
        request = invitation.request
        lists = [
            part
            for part in leaves(request.first("Content-Type") or "", request.body)
            if part.media_type == MEDIA_TYPE
        ]
        self.wanted.append(
            tuple(one.reference for part in lists for one in parse_deferred_list(part.content))
        )
        wish = Wish(SessionUser(lambda *_: None), ("message/cpim",), direction=SENDONLY)
        leg = await Leg.accept(self.bob.sessions._means, invitation, [wish])
        medium = leg.media[0]
        assert medium is not None
        for body in self.bodies:
            ended: Deferred[int] = Deferred()
            medium.session.send(Outgoing("message/cpim", body, on_end=ended.callback))
            self.statuses.append(await ended)
        if self.reason:
            await leg.close(self.reason)

    def test_wish(self) -> None:
        """The list of what is wanted stands beside the offer; none means all."""
        self.assertEqual(self.wait(self.alice.deferred.fetch(["r1", "r2"])), 2)
        self.assertEqual(self.wait(self.alice.deferred.fetch()), 2)
        self.assertEqual(self.wanted, [("r1", "r2"), ()])

    def test_each_once(self) -> None:
        """What came before is acknowledged, and not shown again."""
        for _ in range(2):
            self.wait(self.alice.deferred.fetch())
        got: list[Message] = []
        self.alice.on_message(got.append)
        self.assertEqual([one.text for one in got], ["one1", "two2"])

    def test_junk(self) -> None:
        """What cannot be read is refused, so that the server keeps it; the rest comes."""
        self.bodies.insert(1, b"junk")
        self.assertEqual(self.wait(self.alice.deferred.fetch()), 2)
        self.assertEqual(self.statuses, [200, 400, 200])

    def test_broken_off(self) -> None:
        """A server that gives up says so; what has come has come."""
        self.reason = "SIP;cause=503"
        with self.assertRaises(NoAnswer):
            self.wait(self.alice.deferred.fetch())
        self.assertEqual(self.successResultOf(self.alice.inbox.next()).text, "one1")

    def test_silence(self) -> None:
        """A server that neither sends nor hangs up is given up."""
        self.reason = ""
        with self.assertRaises(NoAnswer):
            self.wait(self.alice.deferred.fetch())
        self.settle(5.0)
        self.assertEqual(self.alice.sessions._means.legs, set())
