"""Insiders who misuse sessions: to reach others, to be others, or to fill the servers."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from omaim.im.guest_lists import Guest
from omaim.im.joining import applicant_who_answered
from omaim.net.msrp import MsrpLimits
from omaim.roles.description import CallFailed
from omaim.sip.headers import DialogRef
from omaim.sip.message import Request, Response
from omaim.testing.scenario import ScenarioNetwork
from tests.im.attendees import FACTORY, Attendee
from tests.im.parties import TAG, Party, SessionCase
from tests.security.support import Attacker

VICTIM = "127.0.1.77"


def sdp(host: str, port: int, setup: str = "passive", more: str = "", lines: int = 1) -> bytes:
    """Return an offer of somebody who says to be anywhere."""
    medium = (
        f"m=message {port} TCP/MSRP *\r\na=accept-types:*\r\na=setup:{setup}\r\n"
        f"a=path:msrp://{host}:{port}/s3cr3t;tcp\r\n{more}"
    )
    head = f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    return (head + medium * lines).encode()


class Deaf:
    """Somebody who takes connections and keeps silent."""

    def __init__(self) -> None:
        self.heard = bytearray()

    def connected(self, stream: Any) -> None:
        pass

    def received(self, data: bytes) -> None:
        self.heard += data

    def drained(self) -> None:
        pass

    def closed(self, why: str) -> None:
        pass


def listen(net: ScenarioNetwork, host: str, port: int) -> list[Deaf]:
    """Count the connections that come to an address."""
    came: list[Deaf] = []

    def accept(peer: str, number: int) -> Deaf:
        came.append(Deaf())
        return came[-1]

    net.at_end(net.network.listen_stream(host, port, accept).close)
    return came


class _Call:
    def __init__(self, response: Response) -> None:
        self.response = response


class ReachTests(SessionCase):
    """Nobody makes a server connect to where it should not (RFC 4975 §14)."""

    def test_services(self) -> None:
        """Neither to well-known ports, nor to the SIP ports of the core and of itself, nor to
        what is no host's address."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            server = net.entities["im-north"]
            sip = server.endpoint.listeners[0]
            came = listen(net, VICTIM, 80)
            opened = server.msrp.counters["connections_opened"]
            for host, port in ((VICTIM, 80), ("127.0.1.1", 5060), (sip.host, sip.port),
                               ("169.254.169.254", 8000), ("0.0.0.0", 9000)):  # fmt: skip
                call = await alice.inviter.invite(FACTORY, sdp(host, port), headers=(TAG,))
                await net.sleep(2.0)
                self.assertTrue(call.over, (host, port))
            self.assertEqual(came, [])
            self.assertEqual(server.msrp.counters["connections_opened"], opened)
            self.assertEqual(server.msrp.counters["refused_targets"], 5)
            self.assertEqual((server.msrp.sessions, server.msrp.connections), ([], 0))

        self.play(script)

    def test_networks(self) -> None:
        """Where networks are named, to no others."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            came = listen(net, VICTIM, 8000)
            call = await alice.inviter.invite(FACTORY, sdp(VICTIM, 8000), headers=(TAG,))
            await net.sleep(2.0)
            self.assertEqual((call.over, came), (True, []))

        self.play(script, msrp_networks=("127.0.1.0/28",))

    def test_flood(self) -> None:
        """Nor often to somebody who does not speak MSRP: each attempt is counted, and forgotten."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            server = net.entities["im-north"]
            net.simulated.cut(VICTIM)
            for number in range(60):
                offer = sdp(VICTIM, 8000 + number)
                await alice.inviter.invite(FACTORY, offer, headers=(TAG,))
            most = max(server.msrp._attempts.values())
            self.assertLessEqual(most, server.msrp.peers.attempts)
            await net.sleep(60.0)
            self.assertEqual(dict(server.msrp._attempts), {})
            self.assertEqual((server.msrp.sessions, server.msrp.connections), ([], 0))
            self.assertEqual(server.focus.conferences, {})

        self.play(script, conferences_each=0)


class IdentityTests(SessionCase):
    """Nobody is somebody else in a conference."""

    def test_answers_for_others(self) -> None:
        """Whoever is called in by an address that leads elsewhere is not who has that address."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Attendee.come(net, "alice")
            xenia = await Attendee.come(net, "xenia")
            attacker = Attacker(net)
            source = attacker.source("127.66.6.6", 5060)
            for evil in (f"{xenia.aor};maddr=127.66.6.6", f"{xenia.aor};maddr=127.66.6.6;ttl=1"):
                call = await alice.create(evil)
                await net.sleep(2.0)
                self.assertEqual(attacker.requests(source), [])
                self.assertEqual(len(xenia.invitations), 1)
                xenia.invitations.clear()
                await call.bye()
                await net.sleep(2.0)

        self.play(script)

    def test_asserted_in_answers(self) -> None:
        """Who answers for another domain than the one that was invited is not believed."""
        invite = Request.make("INVITE", "sip:group@south.example", [])
        for asserted, known in (
            ("sip:alice@north.example", False),
            ("tel:+15550100", False),
            ("sip:xenia@south.example", True),
        ):
            answer = invite.response(200)
            answer.add("P-Asserted-Identity", f"<{asserted}>")
            call: Any = _Call(answer)
            link: Any = None
            applicant = applicant_who_answered("sip:group@south.example", call, link)
            self.assertEqual(asserted in applicant.identities, known, asserted)

    def test_replaces(self) -> None:
        """Nobody takes the place of somebody in a conversation of others (RFC 3891 §8)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), await Party.come(net, "bob")
            carol = await Party.come(net, "carol")
            call = await alice.invite(bob.aor)
            dialog = call.dialog
            value = str(DialogRef(dialog.call_id, dialog.remote_tag, dialog.local_tag))
            bob.invitations.clear()
            with self.assertRaises(CallFailed) as caught:
                await carol.invite(bob.aor, headers=(("Replaces", value),))
            self.assertEqual(caught.exception.status, 403)
            self.assertEqual(bob.invitations, [])
            self.assertFalse(call.over)

        self.play(script)

    def test_replaces_in_another_conference(self) -> None:
        """Nor does one's own place in one conference lead into another one."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Attendee.come(net, "alice"), await Attendee.come(net, "bob")
            call = await alice.create(bob.aor)
            await net.sleep(2.0)
            first = alice.room
            dialog = call.dialog
            value = str(DialogRef(dialog.call_id, dialog.remote_tag, dialog.local_tag))
            with self.assertRaises(CallFailed) as caught:
                await alice.create(headers=(("Replaces", value),))
            self.assertEqual(caught.exception.status, 481)
            self.assertFalse(call.over)
            conferences = net.entities["im-north"].focus.conferences
            self.assertEqual([(one, room.room.count) for one, room in conferences.items()],
                             [(first, 2)])  # fmt: skip

        self.play(script)

    def test_referred_anonymously(self) -> None:
        """Who has others called in, and wants to stay unknown, is not named to them."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Attendee.come(net, "alice"), await Attendee.come(net, "bob")
            xenia = await Attendee.come(net, "xenia")
            await alice.create(bob.aor)
            await net.sleep(2.0)
            privacy = (("Privacy", "id"),)
            await alice.inviter.referrer.refer(alice.room, xenia.aor, headers=privacy)
            await net.sleep(3.0)
            request = xenia.invitations[0].request
            self.assertNotIn("alice", request.to_bytes().decode().replace(alice.room, ""))

        self.play(script)

    def test_watches_on(self) -> None:
        """Who was put out does not see any longer who is in the conference."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Attendee.come(net, "alice"), await Attendee.come(net, "bob")
            carol, xenia = await Attendee.come(net, "carol"), await Attendee.come(net, "xenia")
            await alice.create(bob.aor, carol.aor)
            await net.sleep(2.0)
            watcher, other = bob.watch(alice.room), alice.watch()
            await net.sleep(2.0)
            self.assertEqual(set(watcher.people), {alice.aor, bob.aor, carol.aor})
            conference = net.entities["im-north"].focus.conferences[alice.room]
            conference.expel(alice.aor, bob.aor)
            await net.sleep(2.0)
            told = len(watcher.documents)
            conference.invite(alice.aor, [Guest(xenia.aor)])
            await net.sleep(5.0)
            self.assertIn(xenia.aor, other.people)
            self.assertEqual(len(watcher.documents), told)
            self.assertNotIn(xenia.aor, watcher.people)
            self.assertTrue(watcher.over or watcher.changes)

        self.play(script)


class FloodTests(SessionCase):
    """Floods are answered, cost what settings say, and are forgotten."""

    def test_full(self) -> None:
        """A server that is full says so, and the core goes on without it as its criteria say."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), await Party.come(net, "bob")
            server = net.entities["im-north"]
            for _ in range(12):
                await alice.invite(bob.aor)
                self.assertLessEqual(len(server.sessions._inviter), 10)
            answers = [one for one in net.records if one.data.startswith(b"SIP/2.0 503")]
            self.assertTrue(answers)
            self.assertIn(b"Retry-After: 5", answers[0].data)
            for call in list(alice.calls):
                if not call.over:
                    await call.bye()
            await net.sleep(5.0)
            self.assertEqual(server.msrp.sessions, [])
            self.assertEqual(len(server.sessions._inviter), 0)
            self.assertEqual(server.sessions.conversations, set())
            await alice.invite(bob.aor)

        self.play(script, session_maximum=5)

    def test_no_session(self) -> None:
        """So does who comes when no MSRP session is to be had."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Attendee.come(net, "alice"), await Party.come(net, "bob")
            server = net.entities["im-north"]
            for most, act, to in (
                (0, alice.invite, bob.aor),
                (1, alice.invite, bob.aor),
                (2, alice.invite, bob.aor),
                (0, alice.create, bob.aor),
            ):
                server.msrp.peers = MsrpLimits(sessions=most)
                try:
                    await act(to)
                except CallFailed as failed:
                    self.assertIn(failed.status, (500, 503))
                else:
                    await alice.calls[-1].bye()
            await net.sleep(5.0)
            self.assertEqual(len(server.sessions._inviter), 0, server.sessions._inviter.calls)

        self.play(script)

    def test_ringing(self) -> None:
        """One user who invites and invites, where nobody answers, keeps nobody else from it."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), await Party.come(net, "bob")
            xenia = await Party.come(net, "xenia")
            xenia.inviter.on_invite = lambda invitation: invitation.ring()
            server = net.entities["im-north"].sessions
            calling = [Deferred.fromCoroutine(alice.invite(xenia.aor)) for _ in range(20)]
            statuses: list[int] = []
            for one in calling:
                one.addErrback(lambda failure: statuses.append(failure.value.status))  # type: ignore[call-overload]
            await net.sleep(2.0)
            self.assertEqual(statuses, [486] * 15)
            self.assertEqual(server._load[alice.aor, "originating"], 5)
            await bob.invite(alice.aor)
            self.assertEqual(server._load[bob.aor, "originating"], 1)
            for one in calling:
                one.cancel()
            await bob.leave()
            await net.sleep(5.0)
            left = (dict(server._load), server.conversations, server._beginning)
            self.assertEqual(left, ({}, set(), set()))

        self.play(script, sessions_each=5)

    def test_many_media(self) -> None:
        """An offer of many media is refused as a whole, before anything is made for it."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), await Party.come(net, "bob")
            for lines in (40, 64, 200):
                with self.assertRaises(CallFailed) as caught:
                    offer = sdp("127.0.1.77", 9000, lines=lines)
                    await alice.inviter.invite(bob.aor, offer, headers=(TAG,))
                self.assertIn(caught.exception.status, (400, 413, 488))
            self.assertEqual(bob.invitations, [])
            self.assertEqual(net.entities["im-north"].msrp.sessions, [])

        self.play(script)

    def test_factory(self) -> None:
        """One user makes some conferences at a time, and others still can."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Attendee.come(net, "alice"), await Attendee.come(net, "bob")
            server = net.entities["im-north"]
            for _ in range(4):
                await alice.create()
            with self.assertRaises(CallFailed) as caught:
                await alice.create()
            self.assertEqual(caught.exception.status, 486)
            await bob.create()
            await alice.leave()
            await net.sleep(1.0)
            await alice.create()
            self.assertEqual(len(server.focus.conferences), 5)

        self.play(script, conferences_each=4)

    def test_long_lists(self) -> None:
        """A list of more people than a conference may have is refused before anybody is called."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Attendee.come(net, "alice")
            attacker = Attacker(net)
            source = attacker.source("127.66.6.6", 5060)
            entries = [f"sip:victim{number}@[::1];maddr=127.66.6.6" for number in range(150)]
            with self.assertRaises(CallFailed) as caught:
                await alice.create(*entries)
            self.assertEqual(caught.exception.status, 486)
            await net.sleep(2.0)
            self.assertEqual(attacker.requests(source), [])
            server = net.entities["im-north"]
            self.assertEqual(server.focus.conferences, {})
            self.assertEqual(server.msrp.sessions, [])

        self.play(script)
