"""Who may say what it says in sessions between two, and who is not let in."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from omaim.bodies.cpim import Address, Cpim
from omaim.bodies.mime import Part
from omaim.bodies.sdp import SENDONLY
from omaim.msrp import Outgoing
from omaim.net.tls import TlsSettings
from omaim.node.events import SessionEnded
from omaim.sip.headers import DialogRef
from omaim.testing.scenario import ScenarioNetwork
from tests.im.pairs import FaultCase, pair
from tests.im.parties import Party
from tests.msrp.support import User


class IdentityTests(FaultCase):
    def test_spoofed_replaces(self) -> None:
        """Only a participant may take the place of a participant (RFC 3891 §3)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            bob = await Party.come(net, "bob")
            call = await alice.invite(xenia.aor)
            dialog = call.dialog
            ref = DialogRef(dialog.call_id, dialog.remote_tag, dialog.local_tag)
            replaces = (("Replaces", str(ref)),)
            self.assertEqual(await self.status(bob.invite(xenia.aor, headers=replaces)), 403)
            hidden = (*replaces, ("Privacy", "id"))
            self.assertEqual(await self.status(bob.invite(xenia.aor, headers=hidden)), 403)
            self.assertFalse(call.over)
            self.assertEqual(len(xenia.invitations), 1)
            heard: list[Any] = []
            net.nodes["im-north"].taps.add(SessionEnded, heard.append)
            other = await Party.come(net, "alice", device="other")
            await other.invite(xenia.aor, headers=replaces)
            self.assertTrue(xenia.invitations[1].replaces is not None)
            await net.sleep(5.0)
            self.assertTrue(call.over)
            self.assertEqual(len(heard), 1, "the first conversation is over")
            self.assertEqual(len(net.entities["im-north"].sessions.conversations), 1)
            other.say("from my other device")
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [b"from my other device"])

        self.play(script)

    def test_anonymous(self) -> None:
        """Who wants to stay unknown is so in From, Contact and identity (RFC 3323 §5)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            await alice.invite(
                xenia.aor, headers=(("Privacy", "user;id"), ("Subject", "guess who"))
            )
            request = xenia.invitations[0].request
            text = request.to_bytes().lower()
            self.assertNotIn(b"alice", text)
            self.assertNotIn(b"p-asserted-identity", text)

        self.play(script)

    def test_in_another_name(self) -> None:
        """Nobody writes in somebody else's name inside an envelope, in a short message or in a
        long one (spec 10 §7)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            bob = net.person("bob").aor
            await alice.invite(xenia.aor)
            ends: list[int] = []
            for author in (bob, alice.aor, "sip:anonymous@anonymous.invalid"):
                for size in (5, 100_000):
                    part = Part([("Content-Type", "text/plain")], b"x" * size)
                    message = Cpim.make(
                        Address("", author), [Address("", xenia.aor)], "2026-01-01T00:00:00Z", part
                    )
                    octets = message.to_bytes()
                    alice.say(octets, "message/cpim", on_end=ends.append)
                    await net.sleep(1.0)
                    out = Outgoing("message/cpim", None, on_end=ends.append)
                    alice.session().send(out)
                    for at in (0, 3, 30, 60):
                        out.write(octets[at : {0: 3, 3: 30, 30: 60}.get(at, len(octets))])
                        await net.sleep(0.1)
                    out.finish()
                    await net.sleep(1.0)
            self.assertEqual(ends, [403] * 4 + [200] * 8)
            authors = [Cpim.parse(body).from_ for body in xenia.user.bodies]
            self.assertNotIn(bob, [one.uri for one in authors if one is not None])
            self.assertEqual(len(authors), 8)

        self.play(script)

    def test_hops(self) -> None:
        """Each server takes a hop off, so that an INVITE that comes back ends (RFC 3261 §16.3)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            await alice.invite(xenia.aor)
            left = int(xenia.invitations[0].request.first("Max-Forwards") or "0")
            self.assertLessEqual(left, 66)
            make = alice.agent.make

            def few(*args: Any, **named: Any) -> Any:
                request = make(*args, **named)
                request.set("Max-Forwards", "3")
                return request

            alice.agent.make = few
            self.assertEqual(await self.status(alice.invite(xenia.aor)), 483)
            await net.sleep(1.0)
            self.assertEqual(len(xenia.invitations), 1)
            self.nothing_left(net, 1)

        self.play(script)


class BetweenDomainsTests(FaultCase):
    """IM-8: servers of two domains prove to one another who they are."""

    def test_stranger(self) -> None:
        """Who has no certificate of the other server gets no session between the two, even if it
        knows its address; the other server gets it all the same."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            accepting: Deferred[None] = Deferred()

            async def slowly(invitation: Any) -> None:
                invitation.ring()
                await accepting
                await xenia._invited(invitation)

            xenia.inviter.on_invite = slowly
            calling = Deferred.fromCoroutine(alice.invite(xenia.aor))
            await net.sleep(1.0)
            north = net.entities["im-north"].msrp
            between = [one for one in north.sessions if one.uri.secure]
            self.assertEqual([one.mutual for one in between], [True])
            stranger = User()
            session = xenia.msrp.session(stranger.user, "TLS")
            xenia.msrp._client_tls = TlsSettings(verify=False, self_signed=True)
            xenia.msrp._tls = TlsSettings(verify=False)
            xenia.msrp.connect(session, between[0].path, True)
            await net.until(lambda: stranger.closed, "the stranger is turned away")
            self.assertEqual(stranger.closed, ["the peer answered 481"])
            accepting.callback(None)
            await calling
            alice.say("hello")
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [b"hello"])
            self.assertEqual(north.counters["wrong_certificate"], 1)

        self.play(script)

    def test_in_clear(self) -> None:
        """Where servers of other domains have to prove who they are, nothing of them comes in
        clear: 488, and a medium that is added later is refused."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            north = net.entities["im-north"].sessions
            north._secure_peers = False
            self.assertEqual(await self.status(alice.invite(xenia.aor)), 488)
            self.assertEqual(xenia.invitations, [])
            wish = alice.wished(direction=SENDONLY)
            large = ("Accept-Contact", "*;+g.oma.sip-im.large-message")
            yusuf = net.person("yusuf").aor
            calling = alice.invite(yusuf, wish, headers=(large,))
            self.assertEqual(await self.status(calling), 488)
            north._secure_peers = True
            call = await alice.invite(xenia.aor)
            (conversing,) = north.conversations
            plan = conversing.plan
            assert plan is not None
            plan._far_secure, plan._mutual = False, (False, False)
            known = alice.negotiations[call].media[0]
            assert known is not None
            await alice.change(call, known.wish, alice.wished())
            self.assertIsNone(alice.negotiations[call].media[1])
            self.assertEqual(len(net.entities["im-south"].msrp.sessions), 2)

        self.play(script)
