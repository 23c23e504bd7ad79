"""Calls over real sockets."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.net.network import ReactorNetwork
from omaim.roles.description import CallEnded, CallFailed
from omaim.roles.user_agent import UserAgent
from omaim.sip.timing import Timing
from tests.roles.calls import ANSWER, OFFER, Party


class LoopbackTests(TestCase):
    timeout = 30

    async def party(self, transport: str, name: str, t1: float = 0.5) -> Party:
        """Return somebody who listens on a port of its own."""
        endpoint = Endpoint(
            ReactorNetwork(reactor), reactor, name=name, ids=Ids(), timing=Timing(t1, max(t1, 0.1))
        )
        await endpoint.listen(transport, "127.0.0.1", 0)
        self.addCleanup(endpoint.stop)
        contact = f"<{endpoint.uri(transport, name)}>"
        ua = UserAgent(endpoint, f"sip:{name}@example.com", contact=contact)
        ua.attach()
        return Party(ua)

    async def life(self, transport: str) -> None:
        """Call, change, be changed, cancel, refuse, end."""
        alice, bob = await self.party(transport, "alice"), await self.party(transport, "bob")
        target = bob.ua.contact_uri
        ours = await alice.call(target)
        theirs = bob.calls[0]
        self.assertEqual((ours.remote.body, theirs.remote.body), (ANSWER, OFFER))
        large = b"v=0 " + 5000 * b"x"
        if transport == "TCP":
            await ours.reinvite(large)
            self.assertEqual(theirs.remote.body, large)
        await ours.update(b"v=0 2\r\n")
        self.assertEqual(theirs.remote.body, b"v=0 2\r\n")
        ended: Deferred[str] = Deferred()
        theirs.on_bye = ended.callback
        await ours.bye([("Reason", "SIP;cause=200")])
        self.assertEqual(await ended, "SIP;cause=200")
        bob.automatic = False
        given_up: Deferred[Any] = Deferred()
        rung: Deferred[Any] = Deferred()

        def ring(invitation: Any) -> None:
            invitation.on_cancel = given_up.callback
            invitation.ring()

        bob.inviter.on_invite = ring
        calling = Deferred.fromCoroutine(
            alice.call(
                target, provisional=lambda one: rung.callback(one) if one.status == 180 else None
            )
        )
        self.assertEqual((await rung).status, 180)
        calling.cancel()
        with self.assertRaises(CallFailed):
            await calling
        self.assertEqual((await given_up).reason, "SIP;cause=487")
        bob.inviter.on_invite = lambda invitation: invitation.reject(486)
        with self.assertRaises(CallFailed):
            await alice.call(target)
        self.assertEqual((len(alice.inviter), len(bob.inviter)), (0, 0))

    async def test_udp(self) -> None:
        """All of it by UDP."""
        await self.life("UDP")

    async def test_tcp(self) -> None:
        """All of it by TCP."""
        await self.life("TCP")

    async def test_no_ack(self) -> None:
        """Who never acknowledges is given up, in 64 times a T1 that is small here."""
        bob, rude = await self.party("UDP", "bob", 0.01), await self.party("UDP", "rude")
        bob.automatic = False
        failed: Deferred[Any] = Deferred()

        async def accept(invitation: Any) -> None:
            try:
                await invitation.accept(ANSWER)
            except CallEnded as error:
                failed.callback(error)

        bob.inviter.on_invite = accept
        fields = [("Content-Type", "application/sdp")]
        request = rude.ua.make("INVITE", bob.ua.contact_uri, fields, OFFER)
        response = await rude.ua.request(request)
        self.assertEqual(response.status, 200)
        self.assertIn("no ACK", str(await failed))
        self.assertEqual(len(bob.inviter), 0)
