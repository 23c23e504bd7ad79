"""What the tests of calls share: one side of calls, and two of them on a network."""

from __future__ import annotations

from typing import Any

from omaim.errors import PeerError
from omaim.net.wire import OUT, WireRecord
from omaim.roles.call import Call
from omaim.roles.description import CallEnded, CallFailed, Description
from omaim.roles.invitation import Invitation
from omaim.roles.inviter import Inviter
from omaim.roles.user_agent import UserAgent
from omaim.sip.message import Request, Response
from omaim.sip.parser import parse_datagram
from tests.roles.support import Roles

BOB = "sip:bob@10.0.0.1"
OFFER = b"v=0 offer\r\n"
ANSWER = b"v=0 answer\r\n"
SDP = "application/sdp"


def title(data: bytes) -> str:
    """Return what a message is: a method, or a status with the method it is about."""
    words = data.partition(b"\r\n")[0].decode().split(" ")
    if words[0] != "SIP/2.0":
        return words[0]
    cseq = data.partition(b"\r\nCSeq: ")[2].partition(b"\r\n")[0].decode()
    return f"{words[1]} {cseq.split()[1]}"


class Party:
    """One side of calls: what it is told to do, and what it has seen.

    Attributes:
        answer: what it answers to offers; an error refuses them.
        automatic: rings and accepts.
        invitations, calls: oldest first.
        ended: the reasons of calls that the peer ended.
        offers: what was offered to it in calls.
        failures: why accepting failed.
        sent: what it sent, as "INVITE" or "200 INVITE".
    """

    def __init__(self, ua: UserAgent, **named: Any) -> None:
        self.ua = ua
        self.inviter = Inviter(ua, **named)
        self.inviter.on_invite = self.invited
        self.answer: bytes | PeerError = ANSWER
        self.automatic = True
        self.invitations: list[Invitation] = []
        self.calls: list[Call] = []
        self.ended: list[str] = []
        self.offers: list[bytes] = []
        self.answers: list[bytes] = []
        self.failures: list[Exception] = []
        self.sent: list[str] = []
        self.messages: list[Request | Response] = []
        ua.endpoint.wire.record = self.note

    def note(self, record: WireRecord) -> None:
        """Keep what goes out."""
        if record.direction == OUT:
            self.sent.append(title(record.data))
            message = parse_datagram(record.data)
            assert message is not None
            self.messages.append(message)

    def last(self, what: str) -> Request | Response:
        """Return the last message of this title that went out."""
        place = len(self.sent) - 1 - self.sent[::-1].index(what)
        return self.messages[place]

    def watch(self, call: Call) -> Call:
        call.on_bye = self.ended.append
        call.on_offer = self.offered
        call.on_answer = lambda answer: self.answers.append(answer.body)
        self.calls.append(call)
        return call

    def offered(self, offer: Description) -> bytes:
        self.offers.append(offer.body)
        if isinstance(self.answer, PeerError):
            raise self.answer
        return self.answer

    async def invited(self, invitation: Invitation) -> None:
        self.invitations.append(invitation)
        self.watch(invitation.call)
        if self.automatic:
            invitation.ring()
            await self.accept(invitation)

    async def accept(self, invitation: Invitation, **named: Any) -> None:
        try:
            assert isinstance(self.answer, bytes)
            await invitation.accept(self.answer, **named)
        except (CallFailed, CallEnded) as error:
            self.failures.append(error)

    async def call(self, target: str = BOB, body: bytes = OFFER, **named: Any) -> Call:
        return self.watch(await self.inviter.invite(target, body, **named))


class Calls(Roles):
    """A test with bob, who is called, and alice, who calls."""

    alices: dict[str, Any] = {}
    bobs: dict[str, Any] = {}

    def setUp(self) -> None:
        super().setUp()
        self.bob = Party(self.agent("10.0.0.1", "bob"), **self.bobs)
        self.alice = Party(self.agent("10.0.0.2", "alice"), **self.alices)

    def up(self, **named: Any) -> tuple[Call, Call]:
        """Return both ends of a call."""
        call = self.wait(self.alice.call(**named))
        self.clock.advance(1.0)
        self.forget()
        return call, self.bob.calls[-1]

    def forget(self) -> None:
        """Forget what was sent."""
        for one in (self.alice, self.bob):
            one.sent.clear()
            one.messages.clear()

    def none_left(self) -> None:
        """Check that nothing is kept of any call."""
        for one in (self.alice, self.bob):
            self.assertEqual(one.inviter.calls, {})
            self.assertEqual(one.inviter._waiting, {})
            self.assertEqual(one.ua._dialogs, {})
            self.assertEqual(one.ua._acknowledged, {})
            self.assertEqual(len(one.inviter.referrer), 0)
