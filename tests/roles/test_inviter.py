"""Calls between user agents on the simulated network."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from omaim.errors import PeerError
from omaim.net.wire import OUT, WireRecord
from omaim.roles.call import Call
from omaim.roles.description import CallEnded, CallFailed
from omaim.roles.invitation import Invitation
from omaim.roles.inviter import Inviter
from omaim.roles.user_agent import UserAgent
from omaim.sip.message import Response
from tests.roles.support import Roles

BOB = "sip:bob@10.0.0.1"
OFFER = b"v=0 offer\r\n"
ANSWER = b"v=0 answer\r\n"


def title(data: bytes) -> str:
    """Return what a message is: a method, or a status with the method it is about."""
    words = data.partition(b"\r\n")[0].decode().split(" ")
    if words[0] != "SIP/2.0":
        return words[0]
    cseq = data.partition(b"\r\nCSeq: ")[2].partition(b"\r\n")[0].decode()
    return f"{words[1]} {cseq.split()[1]}"


class Party:
    """One side of calls: what it is told to do, and what it has seen."""

    def __init__(self, ua: UserAgent, **named: Any) -> None:
        self.ua = ua
        self.inviter = Inviter(ua, **named)
        self.inviter.on_invite = self.invited
        self.invitations: list[Invitation] = []
        self.calls: list[Call] = []
        self.ended: list[str] = []
        self.answer = ANSWER
        self.automatic = True
        self.failures: list[Exception] = []
        self.sent: list[str] = []
        ua.endpoint.wire.record = self.note

    def note(self, record: WireRecord) -> None:
        """Note what goes out, as "INVITE" or "200 INVITE"."""
        if record.direction == OUT:
            self.sent.append(title(record.data))

    def watch(self, call: Call) -> Call:
        call.on_bye = self.ended.append
        self.calls.append(call)
        return call

    async def invited(self, invitation: Invitation) -> None:
        self.invitations.append(invitation)
        self.watch(invitation.call)
        if self.automatic:
            invitation.ring()
            try:
                await invitation.accept(self.answer)
            except (CallFailed, CallEnded) as error:
                self.failures.append(error)

    async def call(self, target: str = BOB, body: bytes = OFFER, **named: Any) -> Call:
        return self.watch(await self.inviter.invite(target, body, **named))


class CallTests(Roles):
    def setUp(self) -> None:
        super().setUp()
        self.bob = Party(self.agent("10.0.0.1", "bob"))
        self.alice = Party(self.agent("10.0.0.2", "alice"))

    def up(self, **named: Any) -> tuple[Call, Call]:
        call = self.wait(self.alice.call(**named))
        self.clock.advance(1.0)
        return call, self.bob.calls[-1]

    def none_left(self) -> None:
        self.assertEqual((len(self.alice.inviter), len(self.bob.inviter)), (0, 0))
        self.assertEqual(self.alice.ua._dialogs, {})
        self.assertEqual(self.bob.ua._dialogs, {})

    def test_life(self) -> None:
        """INVITE, 180, 200, ACK; BYE, 200 (RFC 3261 §4)."""
        rung: list[Response] = []
        ours, theirs = self.up(provisional=rung.append)
        self.assertEqual([one.status for one in rung], [180])
        self.assertEqual((ours.up, theirs.up, ours.early), (True, True, False))
        self.assertEqual((ours.remote.body, theirs.remote.body), (ANSWER, OFFER))
        self.assertEqual((ours.local.body, theirs.local.body), (OFFER, ANSWER))
        self.wait(ours.bye([("Reason", "SIP;cause=200")]))
        self.assertEqual(self.bob.ended, ["SIP;cause=200"])
        self.assertEqual((ours.over, theirs.over, self.alice.ended), (True, True, []))
        self.assertEqual(self.alice.sent, ["INVITE", "ACK", "BYE"])
        self.assertEqual(self.bob.sent, ["180 INVITE", "200 INVITE", "200 BYE"])
        self.none_left()
        self.wait(ours.bye())

    def test_callee_ends(self) -> None:
        """The callee may end the call as well (RFC 3261 §15)."""
        ours, theirs = self.up()
        self.wait(theirs.bye())
        self.assertEqual((self.alice.ended, ours.over), ([""], True))
        self.none_left()

    def test_refused(self) -> None:
        """A refusal carries the response (RFC 3261 §13.2.2.3)."""
        self.bob.automatic = False
        calling = Deferred.fromCoroutine(self.alice.call())
        self.clock.advance(1.0)
        (invitation,) = self.bob.invitations
        invitation.ring(183)
        self.clock.advance(1.0)
        self.assertEqual(len(self.alice.inviter), 1)
        invitation.reject(486, [("Warning", '399 bob "102 Too many participants"')])
        invitation.reject(603)
        error = self.assertRaises(CallFailed, self.wait, calling)
        self.assertEqual((error.status, error.cancelled), (486, False))
        self.assertIn("102", error.response.first("Warning") or "")
        self.none_left()
        self.assertTrue(invitation.answered)

    def test_raised(self) -> None:
        """A PeerError of the owner refuses, a defect is a 500."""

        def refuse(invitation: Invitation) -> None:
            raise PeerError("no", 403)

        async def broken(invitation: Invitation) -> None:
            raise ZeroDivisionError("a defect")

        self.bob.inviter.on_invite = refuse
        self.assertEqual(self.assertRaises(CallFailed, self.up).status, 403)
        self.bob.inviter.on_invite = broken
        self.assertEqual(self.assertRaises(CallFailed, self.up).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.bob.inviter.on_invite = None
        self.assertEqual(self.assertRaises(CallFailed, self.up).status, 480)
        self.none_left()
