"""Inviting and being invited, on the simulated network."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from omaim.errors import PeerError, Unavailable, UsageError
from omaim.roles.call import Call
from omaim.roles.description import CallFailed, Description
from omaim.roles.incoming import Incoming
from omaim.roles.invitation import Invitation
from omaim.sip.message import Request, Response
from tests.roles.calls import ANSWER, OFFER, SDP, Calls, Party
from tests.roles.support import PASSWORD, Server


class InviteTests(Calls):
    def waiting(self, **named: Any) -> tuple[Deferred[Call], Invitation]:
        """Return a call that bob has not decided about."""
        self.bob.automatic = False
        calling = Deferred.fromCoroutine(self.alice.call(**named))
        self.clock.advance(1.0)
        return calling, self.bob.invitations[-1]

    def test_life(self) -> None:
        """INVITE, 180, 200, ACK; BYE, 200 (RFC 3261 §4)."""
        rung: list[Response] = []
        ours = self.wait(self.alice.call(provisional=rung.append))
        self.clock.advance(1.0)
        (theirs,) = self.bob.calls
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

    def test_said(self) -> None:
        """Both sides say what they can, and where they are (RFC 3261 §13.2.1, §13.3.1.4)."""
        self.wait(self.alice.call(headers=[("Subject", "lunch"), ("Contact", "<sip:a@x>;isfocus")]))
        invite, ok = self.alice.last("INVITE"), self.bob.last("200 INVITE")
        self.assertEqual(invite.all("Contact"), ["<sip:a@x>;isfocus"])
        self.assertEqual(invite.first("Subject"), "lunch")
        for message in (invite, ok):
            self.assertLessEqual({"timer", "100rel", "replaces", "norefersub"}, message.supported)
            self.assertIn("UPDATE", message.values("Allow"))
            self.assertEqual(message.first("Content-Type"), SDP)
        self.assertEqual(ok.all("Contact"), ["<sip:bob@10.0.0.1>"])
        self.assertEqual((invite.body, ok.body), (OFFER, ANSWER))

    def test_callee_ends(self) -> None:
        """The callee may end the call as well (RFC 3261 §15)."""
        ours, theirs = self.up()
        self.wait(theirs.bye())
        self.assertEqual((self.alice.ended, ours.over), ([""], True))
        self.none_left()

    def test_refused(self) -> None:
        """A refusal carries the response (RFC 3261 §13.2.2.3)."""
        calling, invitation = self.waiting()
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
        late = Deferred.fromCoroutine(invitation.accept(ANSWER))
        self.assertEqual(self.failureResultOf(late, CallFailed).value.status, 487)

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

    def test_nobody(self) -> None:
        """Who does not answer at all is a 408 of ours (RFC 3261 §13.2.2)."""
        self.network.cut("10.0.0.1")
        error = self.assertRaises(CallFailed, self.up)
        self.assertEqual((error.status, error.response.local), (408, True))
        self.none_left()

    def test_usage(self) -> None:
        """An INVITE without an offer needs somebody who answers one."""
        self.assertRaises(UsageError, self.wait, self.alice.call(body=b""))
        _, invitation = self.waiting()
        self.assertRaises(UsageError, invitation.ring, 200)
        self.assertRaises(UsageError, invitation.reject, 200)

    # Giving up.

    def test_cancel(self) -> None:
        """Giving up sends CANCEL; the other side answers 487 by itself (RFC 3261 §9)."""
        gone: list[Invitation] = []
        calling, invitation = self.waiting()
        invitation.on_cancel = gone.append
        invitation.ring()
        self.clock.advance(1.0)
        calling.cancel()
        error = self.failureResultOf(calling, CallFailed).value
        self.assertEqual((error.status, error.cancelled), (487, True))
        self.clock.advance(1.0)
        self.assertEqual((gone, invitation.reason), ([invitation], "SIP;cause=487"))
        self.assertEqual(self.alice.sent, ["INVITE", "CANCEL", "ACK"])
        self.assertEqual(self.bob.sent[-2:], ["200 CANCEL", "487 INVITE"])
        tags = {self.bob.last(what).to.tag for what in ("180 INVITE", "200 CANCEL", "487 INVITE")}
        self.assertEqual(len(tags), 1)
        self.none_left()
        self.assertEqual(self.failureResultOf(accepting(invitation), CallFailed).value.status, 487)

    def test_cancel_before_anything(self) -> None:
        """CANCEL waits for a provisional response (RFC 3261 §9.1)."""
        self.bob.automatic = False
        self.network.cut("10.0.0.1")
        calling = Deferred.fromCoroutine(self.alice.call())
        self.clock.advance(0.2)
        calling.cancel()
        self.failureResultOf(calling, CallFailed)
        self.clock.advance(0.2)
        self.assertEqual(self.alice.sent, ["INVITE"])
        self.network.mend("10.0.0.1")
        self.clock.advance(5.0)
        self.assertEqual(self.alice.sent[-2:], ["CANCEL", "ACK"])
        self.assertEqual(self.bob.sent[-1], "487 INVITE")
        self.none_left()

    def test_cancel_races(self) -> None:
        """Who accepts while CANCEL is under way gets ACK and BYE (RFC 3261 §15)."""
        calling, invitation = self.waiting()
        accepted = accepting(invitation)
        calling.cancel()
        self.failureResultOf(calling, CallFailed)
        self.clock.advance(1.0)
        self.assertEqual(self.alice.sent[-4:], ["INVITE", "CANCEL", "ACK", "BYE"])
        self.assertNotIn("487 INVITE", self.bob.sent)
        self.assertTrue(self.successResultOf(accepted).over)
        self.assertEqual(self.bob.ended, ["SIP;cause=487"])
        self.clock.advance(100.0)
        self.none_left()

    def test_expires(self) -> None:
        """An invitation lasts no longer than its Expires (RFC 3261 §13.3.1)."""
        calling, invitation = self.waiting(headers=[("Expires", "20")])
        self.clock.advance(18.0)
        self.assertNoResult(calling)
        self.clock.advance(2.0)
        self.assertEqual(self.failureResultOf(calling, CallFailed).value.status, 487)
        self.assertTrue(invitation.answered)
        self.none_left()

    def test_nobody_decides(self) -> None:
        """Ringing is repeated each minute, until patience ends (RFC 3261 §13.3.1.1)."""
        rung: list[int] = []
        calling, invitation = self.waiting(provisional=lambda one: rung.append(one.status))
        invitation.ring()
        self.clock.advance(250.0)
        self.assertEqual(rung, [100] + 5 * [180])
        self.clock.advance(60.0)
        self.assertEqual(self.failureResultOf(calling, CallFailed).value.status, 480)
        self.none_left()

    # Others than the plain path.

    def test_challenged(self) -> None:
        """Challenges are answered; the ACK has the INVITE's credentials (§13.2.2.4)."""
        bob, carol = Server(self.bob.ua), Party(self.agent("10.0.0.3", "bob", PASSWORD))
        receive = self.bob.inviter.receive

        async def guarded(incoming: Incoming) -> Response | None:
            return bob.guarded(incoming) or await receive(incoming)

        self.bob.ua.on("INVITE", guarded, dialogs=True)
        call = self.wait(carol.call())
        self.assertTrue(call.up)
        self.assertEqual(carol.sent, ["INVITE", "ACK", "INVITE", "ACK"])
        invite, ack = carol.last("INVITE"), carol.last("ACK")
        self.assertEqual(ack.first("Authorization"), invite.first("Authorization"))
        self.assertIsNotNone(ack.first("Authorization"))
        self.assertEqual(ack.cseq.number, invite.cseq.number)
        self.wait(call.bye())

    def test_redirected(self) -> None:
        """A 3xx is followed (RFC 3261 §13.2.2.2)."""
        self.bob.inviter.on_invite = lambda invitation: invitation.reject(
            302, [("Contact", "<sip:bob@10.0.0.3>")]
        )
        carol = Party(self.agent("10.0.0.3", "carol"))
        call = self.wait(self.alice.call())
        self.assertEqual(call.dialog.remote_target, "sip:carol@10.0.0.3")
        self.assertTrue(carol.calls[0].up)
        error = self.assertRaises(CallFailed, self.wait, self.alice.call(redirections=0))
        self.assertEqual(error.status, 302)
        self.wait(call.bye())

    def test_offer_in_answer(self) -> None:
        """Without an offer in the INVITE the 2xx has it, the ACK its answer (§13.2.1)."""
        asked: list[bytes] = []

        def answer(offer: Description) -> bytes:
            asked.append(offer.body)
            return b"v=0 mine\r\n"

        call = self.wait(self.alice.call(body=b"", on_offer=answer))
        self.clock.advance(1.0)
        self.assertEqual(asked, [ANSWER])
        self.assertEqual((call.remote.body, call.local.body), (ANSWER, b"v=0 mine\r\n"))
        (theirs,) = self.bob.calls
        self.assertFalse(self.bob.invitations[0].described)
        self.assertEqual((theirs.local.body, theirs.remote.body), (ANSWER, b"v=0 mine\r\n"))
        self.assertEqual(self.bob.answers, [b"v=0 mine\r\n"])

    def test_offer_answered_late(self) -> None:
        """The 2xx is repeated until the answer is there, as a server between two needs it."""
        later: Deferred[bytes] = Deferred()
        call = self.wait(self.alice.call(body=b"", on_offer=lambda offer: later))
        self.clock.advance(4.0)
        self.assertNotIn("ACK", self.alice.sent)
        self.assertEqual(self.bob.sent.count("200 INVITE"), 4)
        later.callback(b"v=0 late\r\n")
        self.clock.advance(20.0)
        self.assertEqual(self.alice.sent.count("ACK"), 1)
        self.assertEqual(self.bob.calls[0].remote.body, b"v=0 late\r\n")
        self.assertTrue(call.up)

    def test_offer_in_answer_refused(self) -> None:
        """An offer in a 2xx that is not acceptable ends the call (RFC 3261 §13.2.2.4)."""

        def refuse(offer: Description) -> bytes:
            raise PeerError("no", 488)

        self.wait(self.alice.call(body=b"", on_offer=refuse))
        self.clock.advance(1.0)
        self.assertEqual(self.alice.sent[-2:], ["ACK", "BYE"])
        self.assertEqual(self.bob.ended, ["SIP;cause=488"])
        self.none_left()

    def test_whole_request(self) -> None:
        """A server between two hands in a whole INVITE, and answers as it likes."""
        ids = self.alice.ua.ids
        body = b"--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--\r\n"
        request = Request.make(
            "INVITE",
            "sip:bob@nowhere.invalid",
            [
                ("Route", "<sip:10.0.0.1;lr>"),
                ("Max-Forwards", "17"),
                ("From", f"<sip:carol@example.org>;tag={ids.tag()}"),
                ("To", "<sip:bob@example.net>"),
                ("Call-ID", ids.call_id()),
                ("CSeq", "77 INVITE"),
                ("Contact", "<sip:leg7@10.0.0.2>;+g.oma.sip-im"),
                ("P-Asserted-Identity", "<sip:carol@example.org>"),
                ("Session-Expires", "100;refresher=uas"),
                ("Content-Type", "multipart/mixed;boundary=x"),
            ],
            body,
        )
        self.bob.automatic = False
        calling = Deferred.fromCoroutine(self.alice.call("", b"", request=request))
        self.clock.advance(1.0)
        (invitation,) = self.bob.invitations
        self.assertTrue(invitation.described)
        self.assertEqual(invitation.request.first("Max-Forwards"), "17")
        self.assertEqual(invitation.request.all("Session-Expires"), ["1800"])
        self.assertEqual(invitation.request.all("Contact"), ["<sip:leg7@10.0.0.2>;+g.oma.sip-im"])
        accepted = accepting(invitation, headers=[("Contact", "<sip:leg8@10.0.0.1>;isfocus")])
        self.clock.advance(1.0)
        call, theirs = self.successResultOf(calling), self.successResultOf(accepted)
        self.assertEqual(call.dialog.remote_target, "sip:leg8@10.0.0.1")
        self.assertEqual(call.dialog.local_uri, "<sip:carol@example.org>")
        self.wait(call.request_in("INFO"))
        self.assertEqual(self.alice.last("INFO").cseq.number, 78)
        self.wait(theirs.bye())
        self.none_left()

    def test_refused_options(self) -> None:
        """What is not understood is named; what the owner understands is let through."""
        headers = [("Require", "recipient-list-invite")]
        error = self.assertRaises(CallFailed, self.wait, self.alice.call(headers=headers))
        self.assertEqual(error.status, 420)
        self.assertEqual(error.response.first("Unsupported"), "recipient-list-invite")
        self.bob.ua.supported.add("recipient-list-invite")
        self.wait(self.alice.call(headers=headers))

    def test_flood(self) -> None:
        """Invitations that nobody decides about are limited, and so are calls."""
        self.bob.automatic = False
        self.bob.inviter._most = 5
        calling: list[Any] = [Deferred.fromCoroutine(self.alice.call()) for _ in range(9)]
        for one in calling:
            one.addErrback(lambda failure: failure.value.response)
        self.clock.advance(1.0)
        self.assertEqual(len(self.bob.invitations), 5)
        refused = [self.successResultOf(one) for one in calling[5:]]
        self.assertEqual({(one.status, one.first("Retry-After")) for one in refused}, {(503, "5")})
        for invitation in self.bob.invitations:
            invitation.reject(486)
        self.clock.advance(1.0)
        self.none_left()
        self.alice.inviter._most_calls = 0
        self.assertRaises(Unavailable, self.wait, self.alice.call())

    # Forks.

    def test_forks(self) -> None:
        """Of several who accept the first is taken, others get ACK and BYE (§13.2.2.4)."""
        forked = Forks(self)
        call = self.wait(self.alice.call("sip:all@10.0.0.9"))
        self.assertEqual(call.dialog.remote_tag, "t2")
        self.clock.advance(1.0)
        self.assertEqual(
            sorted((one.method, one.to.tag) for one in forked.got if one.method != "INVITE"),
            [("ACK", "t1"), ("ACK", "t2"), ("ACK", "t3"), ("BYE", "t1"), ("BYE", "t3")],
        )
        forked.accept("t1")
        forked.accept("t2")
        self.clock.advance(1.0)
        self.assertEqual([one.to.tag for one in forked.got if one.method == "ACK"].count("t1"), 2)
        self.assertEqual([one.to.tag for one in forked.got if one.method == "ACK"].count("t2"), 2)
        self.assertEqual([one.method for one in forked.got].count("BYE"), 2)
        self.assertEqual(list(self.alice.inviter.calls.values()), [call])

    def test_fork_flood(self) -> None:
        """A forking proxy that never ends to accept costs a limited number of dialogs."""
        forked = Forks(self)
        self.wait(self.alice.call("sip:all@10.0.0.9"))
        for number in range(200):
            forked.accept(f"x{number}")
            forked.ring(f"y{number}")
        self.clock.advance(40.0)
        self.assertLessEqual([one.method for one in forked.got].count("BYE"), 40)
        self.assertEqual(len(self.alice.inviter.calls), 1)


class Forks:
    """A proxy and three callees in one: all ring, all accept."""

    def __init__(self, case: Calls) -> None:
        ua = case.agent("10.0.0.9", "all")
        self.endpoint = ua.endpoint
        self.got: list[Request] = []
        self.invite: Any = None
        self.endpoint.on_request = self.receive
        self.endpoint.on_ack = lambda request, flow: self.got.append(request)

    def receive(self, transaction: Any) -> None:
        self.got.append(transaction.request)
        if transaction.request.method != "INVITE":
            self.endpoint.reply(transaction, 200)
            return
        self.request, self.invite = transaction.request, transaction
        for tag in ("t1", "t2", "t3"):
            self.ring(tag)
        for tag in ("t2", "t1", "t3"):
            self.accept(tag)

    def ring(self, tag: str) -> None:
        self.say(180, tag)

    def accept(self, tag: str) -> None:
        self.say(200, tag)

    def say(self, status: int, tag: str) -> None:
        response = self.request.response(status, to_tag=tag)
        response.add("Contact", f"<sip:{tag}@10.0.0.9>")
        self.endpoint.respond(self.invite, response)


def accepting(invitation: Invitation, **named: Any) -> Deferred[Call]:
    return Deferred.fromCoroutine(invitation.accept(ANSWER, **named))
