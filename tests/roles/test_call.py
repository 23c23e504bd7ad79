"""What happens in a call, on the simulated network."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from omaim.errors import PeerError, UsageError
from omaim.roles.description import CallEnded, CallFailed, Description
from omaim.roles.incoming import Incoming
from omaim.sip.message import Response
from tests.roles.calls import ANSWER, BOB, OFFER, Calls

OTHER = b"v=0 other\r\n"


class ChangeTests(Calls):
    def test_reinvite(self) -> None:
        """Either side may change the session (RFC 3261 §14)."""
        ours, theirs = self.up()
        self.bob.answer = b"v=0 yes\r\n"
        self.assertEqual(self.wait(ours.reinvite(OTHER)).body, b"v=0 yes\r\n")
        self.clock.advance(1.0)
        self.assertEqual(self.bob.offers, [OTHER])
        self.assertEqual((theirs.remote.body, ours.remote.body), (OTHER, b"v=0 yes\r\n"))
        self.assertEqual((theirs.local.body, ours.local.body), (b"v=0 yes\r\n", OTHER))
        self.assertEqual(self.wait(theirs.reinvite(b"v=0 back\r\n")).body, ANSWER)
        self.clock.advance(1.0)
        self.assertEqual(self.alice.offers, [b"v=0 back\r\n"])
        self.assertEqual((ours.remote.body, theirs.remote.body), (b"v=0 back\r\n", ANSWER))

    def test_refused(self) -> None:
        """A refused change leaves all as it was (RFC 3261 §14.1)."""
        ours, theirs = self.up()
        self.bob.answer = PeerError("not this", 488)
        error = self.assertRaises(CallFailed, self.wait, ours.reinvite(OTHER))
        self.assertEqual(error.status, 488)
        self.assertIn("not this", error.response.first("Warning") or "")
        error = self.assertRaises(CallFailed, self.wait, ours.update(OTHER))
        self.assertEqual(error.status, 488)
        self.clock.advance(1.0)
        self.assertEqual((ours.up, theirs.up), (True, True))
        self.assertEqual((theirs.remote.body, ours.remote.body), (OFFER, ANSWER))
        self.assertEqual((theirs.local.body, ours.local.body), (ANSWER, OFFER))
        self.bob.answer = ANSWER
        self.wait(ours.reinvite(OTHER))

    def test_defect(self) -> None:
        """A defect of the owner is a 500, and the call goes on."""
        ours, theirs = self.up()

        def broken(offer: Description) -> bytes:
            raise ZeroDivisionError("a defect")

        theirs.on_offer = broken
        self.assertEqual(self.assertRaises(CallFailed, self.wait, ours.reinvite(OTHER)).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        theirs.on_offer = None
        self.assertEqual(self.assertRaises(CallFailed, self.wait, ours.reinvite(OTHER)).status, 488)
        self.assertEqual(self.wait(ours.reinvite(OFFER)).body, ANSWER)

    def test_update(self) -> None:
        """UPDATE changes the session too, or only refreshes (RFC 3311 §5)."""
        ours, theirs = self.up()
        self.assertEqual(self.wait(theirs.update(OTHER)).body, ANSWER)
        self.assertEqual((self.alice.offers, ours.remote.body), ([OTHER], OTHER))
        self.assertEqual(self.wait(ours.update()).body, b"")
        self.assertEqual(self.bob.offers, [])
        self.assertEqual(ours.remote.body, OTHER)

    def test_offer_asked_for(self) -> None:
        """A re-INVITE without offer asks for one; its answer is in the ACK (§14.2)."""
        ours, theirs = self.up()
        self.bob.answer = b"v=0 full\r\n"
        self.alice.answer = b"v=0 fine\r\n"
        self.assertEqual(self.wait(ours.reinvite()).body, b"v=0 full\r\n")
        self.clock.advance(1.0)
        self.assertEqual((self.bob.offers, self.alice.offers), ([b""], [b"v=0 full\r\n"]))
        self.assertEqual(self.bob.answers, [b"v=0 fine\r\n"])
        self.assertEqual((ours.local.body, theirs.remote.body), 2 * (b"v=0 fine\r\n",))
        self.assertEqual((ours.remote.body, theirs.local.body), 2 * (b"v=0 full\r\n",))

    def test_moved(self) -> None:
        """A change may move the dialog to another place (RFC 3261 §12.2)."""
        ours, theirs = self.up()
        ours.dialog.contact = "<sip:alice@10.0.0.2;at=desk>"
        self.wait(ours.reinvite(OTHER))
        self.assertEqual(theirs.dialog.remote_target, "sip:alice@10.0.0.2;at=desk")
        self.bob.answer = PeerError("no", 488)
        ours.dialog.contact = "<sip:alice@10.0.0.2;at=home>"
        self.assertRaises(CallFailed, self.wait, ours.update(b"v=0\r\n"))
        self.assertEqual(theirs.dialog.remote_target, "sip:alice@10.0.0.2;at=desk")

    def test_in_turn(self) -> None:
        """Changes of one side wait for one another (RFC 3261 §14.1)."""
        ours, theirs = self.up()
        later: list[Deferred[bytes]] = []

        def wait(offer: Description) -> Deferred[bytes]:
            later.append(Deferred())
            return later[-1]

        theirs.on_offer = wait
        changes = [
            Deferred.fromCoroutine(ours.reinvite(b"v=0 1\r\n")),
            Deferred.fromCoroutine(ours.update(b"v=0 2\r\n")),
            Deferred.fromCoroutine(ours.reinvite(b"v=0 3\r\n")),
        ]
        for number in range(3):
            self.clock.advance(1.0)
            self.assertEqual(len(later), number + 1)
            later[number].callback(b"v=0 ok%d\r\n" % number)
            self.clock.advance(1.0)
            self.assertEqual(self.successResultOf(changes[number]).body, b"v=0 ok%d\r\n" % number)
        self.assertEqual(theirs.remote.body, b"v=0 3\r\n")

    def test_glare(self) -> None:
        """Changes that cross are refused 491 and tried again; both get through (§14.1)."""
        ours, theirs = self.up()
        self.alice.answer = self.bob.answer = ANSWER
        for one, other in ((ours.reinvite, theirs.reinvite), (ours.update, theirs.update),
                           (ours.reinvite, theirs.update)):  # fmt: skip
            self.forget()
            first = Deferred.fromCoroutine(one(b"v=0 mine\r\n"))
            second = Deferred.fromCoroutine(other(b"v=0 yours\r\n"))
            self.clock.advance(0.5)
            self.assertTrue(any(what.startswith("491") for what in self.alice.sent))
            self.clock.advance(20.0)
            self.successResultOf(first)
            self.successResultOf(second)
            self.assertEqual((ours.up, theirs.up), (True, True))
            self.assertEqual(ours.remote, theirs.local)
            self.assertEqual(ours.local, theirs.remote)

    def test_too_early(self) -> None:
        """An INVITE before the one ahead has its answer is 500 with Retry-After (§14.2)."""
        ours, theirs = self.up()
        theirs.on_offer = lambda offer: Deferred()
        Deferred.fromCoroutine(ours.reinvite(OTHER))
        self.clock.advance(0.1)
        rude = ours.dialog.request("INVITE", [("Content-Type", "application/sdp")], OTHER)
        response = self.wait(self.alice.ua.request(rude))
        self.assertEqual(response.status, 500)
        self.assertLessEqual(int(response.first("Retry-After") or "99"), 10)

    def test_out_of_order(self) -> None:
        """What comes after a later one is 500 (RFC 3261 §12.2.2)."""
        ours, _ = self.up()
        late = ours.dialog.request("INFO", [])
        self.wait(ours.update())
        self.assertEqual(self.wait(self.alice.ua.request(late)).status, 500)

    def test_required(self) -> None:
        """In dialogs, too, what is required and not understood is 420."""
        ours, _ = self.up()
        response = self.wait(ours.request_in("INFO", [("Require", "magic")]))
        self.assertEqual((response.status, response.first("Unsupported")), (420, "magic"))

    def test_others(self) -> None:
        """Other methods go to who wants them (RFC 3261 §12.2.2)."""
        ours, theirs = self.up()
        self.assertEqual(self.wait(ours.request_in("INFO")).status, 405)
        self.assertEqual(self.wait(ours.request_in("MESSAGE", [], b"x")).status, 405)
        self.bob.ua.on("MESSAGE", lambda incoming: incoming.response(200), dialogs=True)
        self.assertEqual(self.wait(ours.request_in("MESSAGE")).status, 200)
        seen: list[str] = []

        def answer(incoming: Incoming) -> Response:
            seen.append(incoming.request.method)
            return incoming.response(202)

        theirs.on_request = answer
        self.assertEqual(self.wait(ours.request_in("MESSAGE")).status, 202)
        self.assertEqual(self.wait(ours.request_in("INFO")).status, 202)
        self.assertEqual(seen, ["MESSAGE", "INFO"])


class EndTests(Calls):
    def test_bye_during_change(self) -> None:
        """BYE ends what is under way: 487 for the re-INVITE (RFC 3261 §15.1.2)."""
        ours, theirs = self.up()
        theirs.on_offer = lambda offer: Deferred()
        change = Deferred.fromCoroutine(ours.reinvite(OTHER))
        self.clock.advance(1.0)
        self.wait(ours.bye())
        self.failureResultOf(change, CallEnded)
        self.clock.advance(1.0)
        self.assertIn("487 INVITE", self.bob.sent)
        self.assertRaises(CallEnded, self.wait, ours.reinvite(OTHER))
        self.assertRaises(CallEnded, self.wait, ours.request_in("INFO"))
        self.assertRaises(CallEnded, self.wait, ours.refer("sip:x@y"))
        self.clock.advance(60.0)
        self.none_left()

    def test_bye_by_who_was_asked(self) -> None:
        """Who has a re-INVITE to answer may end the call instead."""
        ours, theirs = self.up()
        later: Deferred[bytes] = Deferred()
        theirs.on_offer = lambda offer: later
        change = Deferred.fromCoroutine(ours.reinvite(OTHER))
        self.clock.advance(1.0)
        self.wait(theirs.bye())
        self.clock.advance(1.0)
        self.assertTrue(self.failureResultOf(change).check(CallEnded, CallFailed))
        later.callback(ANSWER)
        self.clock.advance(60.0)
        self.none_left()

    def test_both(self) -> None:
        """Both may hang up at once."""
        ours, theirs = self.up()
        one, other = Deferred.fromCoroutine(ours.bye()), Deferred.fromCoroutine(theirs.bye())
        self.clock.advance(1.0)
        self.successResultOf(one)
        self.successResultOf(other)
        self.none_left()

    def test_bye_before_ack(self) -> None:
        """A callee ends the call when it knows that the caller has the 2xx (§15)."""
        self.bob.automatic = False
        calling = Deferred.fromCoroutine(self.alice.call())
        self.clock.advance(1.0)
        (invitation,) = self.bob.invitations
        early = Deferred.fromCoroutine(invitation.call.bye())
        self.failureResultOf(early, UsageError)
        accepted = Deferred.fromCoroutine(invitation.accept(ANSWER))
        ending = Deferred.fromCoroutine(invitation.call.bye())
        self.assertNotIn("BYE", self.bob.sent)
        self.clock.advance(1.0)
        self.successResultOf(accepted)
        self.successResultOf(ending)
        self.assertTrue(self.successResultOf(calling).over)
        self.none_left()

    def test_no_ack(self) -> None:
        """Without ACK the 200 is repeated for 64*T1, then the call ends (§13.3.1.4)."""
        self.bob.automatic = False
        calling = Deferred.fromCoroutine(self.alice.call())
        self.clock.advance(1.0)
        (invitation,) = self.bob.invitations
        accepted = Deferred.fromCoroutine(invitation.accept(ANSWER))
        self.network.cut("10.0.0.2")
        self.clock.advance(31.0)
        self.assertEqual(self.bob.sent.count("200 INVITE"), 10)
        self.assertNoResult(accepted)
        self.clock.advance(2.0)
        self.assertIn("408", self.failureResultOf(accepted, CallEnded).value.reason)
        self.assertEqual(self.bob.sent[-1], "BYE")
        self.assertEqual(len(self.bob.ended), 1)
        calling.addErrback(lambda _: None)
        self.network.mend("10.0.0.2")
        self.clock.advance(100.0)
        self.none_left()

    def test_repeated_answer(self) -> None:
        """Each 2xx that comes is acknowledged, and changes nothing (§13.2.2.4)."""
        ours, _ = self.up()
        self.alice.ua.endpoint.arm()
        invite = self.alice.calls[0].request
        response = ours.response
        assert response is not None
        self.network.send(("10.0.0.1", 5060), response.to_bytes(), ("10.0.0.2", 5060))
        self.network.send(("10.0.0.1", 5060), response.to_bytes(), ("10.0.0.2", 5060))
        self.clock.advance(1.0)
        self.assertEqual(self.alice.sent, ["ACK", "ACK"])
        self.assertEqual(self.alice.last("ACK").cseq.number, invite.cseq.number)
        self.assertTrue(ours.up)

    def test_gone(self) -> None:
        """A peer that knows nothing of the call ends it (RFC 3261 §12.2.1.2)."""
        ours, theirs = self.up()
        theirs.finish("")
        error = self.assertRaises(CallFailed, self.wait, ours.reinvite(OTHER))
        self.assertEqual((error.status, ours.over), (481, True))
        self.assertIn("481", self.alice.ended[0])
        self.none_left()

    def test_silent(self) -> None:
        """So does one that does not answer at all."""
        ours, theirs = self.up()
        self.network.cut("10.0.0.1")
        self.assertEqual(self.wait(ours.request_in("INFO")).status, 408)
        self.assertTrue(ours.over)
        theirs.finish("")
        self.clock.advance(100.0)
        self.none_left()

    def test_strangers(self) -> None:
        """Nobody else ends a call, and nothing is ended that is not there (§15.1.2)."""
        ours, theirs = self.up()
        bye = ours.dialog.request("BYE", [])
        bye.set("From", "<sip:mallory@example.org>;tag=other")
        self.assertEqual(self.wait(self.alice.ua.request(bye)).status, 481)
        self.assertTrue(theirs.up)
        for method in ("BYE", "UPDATE", "PRACK", "INVITE"):
            request = self.alice.ua.make(method, BOB, to=f"<{BOB}>;tag=none")
            self.assertEqual(self.wait(self.alice.ua.request(request)).status, 481, method)

    def test_huge(self) -> None:
        """A large offer goes by a stream, and so does all else (RFC 3261 §18.1.1)."""
        body = b"v=0 " + 40_000 * b"x"
        self.bob.answer = body
        call = self.wait(self.alice.call(body=body))
        self.clock.advance(1.0)
        self.assertEqual((call.remote.body, self.bob.calls[0].remote.body), (body, body))
        self.assertEqual(self.wait(call.reinvite(2 * body)).body, body)
        self.wait(call.bye())
        self.none_left()


class TimerTests(Calls):
    def test_kept(self) -> None:
        """The caller refreshes by UPDATE, and the session lives on (RFC 4028 §7.4, §9)."""
        ours, theirs = self.up()
        self.assertEqual((ours.timer.interval, ours.timer.refreshing), (1800, True))
        self.assertEqual((theirs.timer.interval, theirs.timer.refreshing), (1800, False))
        self.clock.advance(3000.0)
        self.assertEqual(self.alice.sent, 3 * ["UPDATE"])
        self.assertEqual(self.bob.sent, 3 * ["200 UPDATE"])
        update = self.alice.last("UPDATE")
        self.assertEqual(update.first("Session-Expires"), "1800;refresher=uac")
        self.assertEqual(update.body, b"")
        self.assertEqual((ours.up, theirs.up, self.bob.offers), (True, True, []))

    def test_reinvited(self) -> None:
        """Where the peer knows no UPDATE it is the same offer again (RFC 4028 §7.4)."""
        ours, theirs = self.up()
        ours._allow = frozenset(("INVITE", "ACK", "BYE"))
        self.clock.advance(1000.0)
        self.assertEqual(self.alice.sent, ["INVITE", "ACK"])
        self.assertEqual(self.alice.last("INVITE").body, OFFER)
        self.assertEqual((self.bob.offers, self.bob.last("200 INVITE").body), ([], ANSWER))
        self.assertTrue(theirs.up)

    def test_watching(self) -> None:
        """Who is not refreshed ends the session before its time (RFC 4028 §10)."""
        ours, theirs = self.up()
        self.network.cut("10.0.0.2")
        ours.finish("")
        self.clock.advance(1700.0)
        self.assertTrue(theirs.up)
        self.clock.advance(70.0)
        self.assertTrue(theirs.over)
        self.assertEqual(self.bob.sent[0], "BYE")
        self.assertIn("session timer", self.bob.ended[0])
        self.clock.advance(100.0)
        self.none_left()

    def test_dead_peer(self) -> None:
        """A refresh without answer ends the call (RFC 4028 §10)."""
        ours, theirs = self.up()
        self.network.cut("10.0.0.1")
        self.clock.advance(900.0 + 40.0)
        self.assertTrue(ours.over)
        self.assertIn("408", self.alice.ended[0])
        self.clock.advance(1000.0)
        self.assertTrue(theirs.over)
        self.none_left()

    def test_refresh_refused(self) -> None:
        """A refused refresh is tried again, and the session ends at its time (§10)."""
        ours, theirs = self.up()
        theirs._agent.supported.discard("timer")

        def refuse(incoming: Incoming) -> Any:
            raise PeerError("busy", 503)

        self.bob.ua._dialogs[theirs.dialog.id] = refuse
        theirs.timer.stop()
        self.clock.advance(1790.0)
        self.assertTrue(ours.up)
        self.assertGreater(self.alice.sent.count("UPDATE"), 3)
        self.assertLess(self.alice.sent.count("UPDATE"), 12)
        self.clock.advance(11.0)
        self.assertTrue(ours.over)


class SmallTests(Calls):
    bobs = {"min_se": 600, "session_expires": 900}
    alices = {"session_expires": 120}

    def test_too_small(self) -> None:
        """A 422 is obeyed (RFC 4028 §7.3)."""
        ours, theirs = self.up()
        self.assertEqual((ours.timer.interval, theirs.timer.interval), (600, 600))
        self.assertEqual(self.alice.calls[0].request.first("Min-SE"), "600")
        self.clock.advance(1000.0)
        self.assertEqual(self.alice.sent, 3 * ["UPDATE"])

    def test_reduced(self) -> None:
        """The callee may shorten the interval (RFC 4028 §9)."""
        self.alice.inviter.session_expires = 3600
        ours, theirs = self.up()
        self.assertEqual((ours.timer.interval, theirs.timer.interval), (900, 900))


class NoTimerTests(Calls):
    alices = {"session_expires": 0}

    def test_asked_by_callee(self) -> None:
        """The callee may ask for a timer where the caller can (RFC 4028 §9)."""
        ours, _ = self.up()
        self.assertEqual((ours.timer.interval, ours.timer.refreshing), (1800, True))
        self.clock.advance(1000.0)
        self.assertEqual(self.alice.sent, ["UPDATE"])

    def test_caller_without(self) -> None:
        """Where the caller cannot, the callee refreshes (RFC 4028 §9 table 2)."""
        self.alice.ua.supported.discard("timer")
        _, theirs = self.up()
        self.assertEqual((theirs.timer.interval, theirs.timer.refreshing), (1800, True))
        self.clock.advance(1000.0)
        self.assertEqual(self.bob.sent, ["UPDATE"])


class ReliableTests(Calls):
    def test_required(self) -> None:
        """Where the caller insists, ringing is acknowledged by PRACK (RFC 3262 §3, §4)."""
        rung: list[Response] = []
        call = self.wait(self.alice.call(headers=[("Require", "100rel")], provisional=rung.append))
        self.assertEqual(self.alice.sent, ["INVITE", "PRACK", "ACK"])
        self.assertEqual(self.bob.sent[0], "180 INVITE")
        ringing, prack = self.bob.last("180 INVITE"), self.alice.last("PRACK")
        self.assertEqual(ringing.require, {"100rel"})
        self.assertEqual(prack.first("RAck"), f"{ringing.first('RSeq')} 1 INVITE")
        self.assertEqual((len(rung), rung[0].status, call.up), (1, 180, True))

    def test_progress(self) -> None:
        """Several are sent one after the other; the answer may be in one (§3, §5)."""
        self.bob.automatic = False
        rung: list[tuple[int, bytes]] = []
        calling = Deferred.fromCoroutine(
            self.alice.call(provisional=lambda one: rung.append((one.status, one.body)))
        )
        self.clock.advance(0.1)
        (invitation,) = self.bob.invitations
        invitation.ring(183, body=ANSWER, reliable=True)
        invitation.ring(180, reliable=True)
        accepted = Deferred.fromCoroutine(invitation.accept())
        self.assertEqual(self.bob.sent, ["183 INVITE"])
        self.clock.advance(1.0)
        self.successResultOf(accepted)
        call = self.successResultOf(calling)
        self.assertEqual(rung[0], (183, ANSWER))
        self.assertEqual(call.remote.body, ANSWER)
        self.assertEqual(self.bob.last("200 INVITE").body, b"")
        self.wait(call.reinvite(OTHER))

    def test_offer_in_progress(self) -> None:
        """The offer may be in a provisional response, its answer in PRACK (§5)."""
        self.bob.automatic = False
        calling = Deferred.fromCoroutine(self.alice.call(body=b"", on_offer=self.alice.offered))
        self.clock.advance(0.1)
        (invitation,) = self.bob.invitations
        invitation.ring(183, body=b"v=0 mine\r\n", reliable=True)
        self.clock.advance(1.0)
        self.assertEqual(self.alice.offers, [b"v=0 mine\r\n"])
        self.assertEqual(self.bob.answers, [ANSWER])
        accepted = Deferred.fromCoroutine(invitation.accept())
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(accepted).remote.body, ANSWER)
        call = self.successResultOf(calling)
        self.assertEqual(call.local.body, ANSWER)
        self.wait(call.reinvite(OTHER))

    def test_unheard(self) -> None:
        """Without PRACK it is repeated, then the INVITE fails (RFC 3262 §3)."""
        gone: list[Any] = []
        self.bob.automatic = False
        calling = Deferred.fromCoroutine(self.alice.call())
        self.clock.advance(0.1)
        (invitation,) = self.bob.invitations
        invitation.on_cancel = gone.append
        self.network.cut("10.0.0.2")
        invitation.ring(180, reliable=True)
        self.clock.advance(31.0)
        self.assertEqual(self.bob.sent.count("180 INVITE"), 6)
        self.clock.advance(2.0)
        self.assertEqual((self.bob.sent[-1], gone), ("504 INVITE", [invitation]))
        self.network.mend("10.0.0.2")
        self.clock.advance(1.0)
        calling.cancel()
        self.failureResultOf(calling)
        self.clock.advance(100.0)
        self.none_left()

    def test_stray(self) -> None:
        """A PRACK that fits nothing is 481 (RFC 3262 §3)."""
        ours, _ = self.up()
        response = self.wait(ours.request_in("PRACK", [("RAck", "1 1 INVITE")]))
        self.assertEqual(response.status, 481)

    def test_early_update(self) -> None:
        """In an early dialog UPDATE changes the offered session (RFC 3311 §5)."""
        early: list[Any] = []
        self.bob.automatic = False
        calling = Deferred.fromCoroutine(self.alice.call(early=early.append))
        self.clock.advance(0.1)
        (invitation,) = self.bob.invitations
        invitation.ring(183, body=ANSWER, reliable=True)
        self.clock.advance(1.0)
        (call,) = early
        self.assertTrue(call.early)
        self.assertEqual(self.wait(call.update(OTHER)).body, ANSWER)
        self.assertEqual(invitation.call.remote.body, OTHER)
        accepted = Deferred.fromCoroutine(invitation.accept())
        self.clock.advance(1.0)
        self.successResultOf(accepted)
        self.assertIs(self.successResultOf(calling), call)


class ReplacesTests(Calls):
    def invite(self, call: Any, more: str = "", count: int = 1) -> int:
        """Invite bob to replace a call; return the status."""
        value = f"{call.dialog.call_id};to-tag={call.dialog.remote_tag}"
        value += f";from-tag={call.dialog.local_tag}{more}"
        headers = count * [("Replaces", value)]
        try:
            self.wait(self.alice.call(headers=headers))
        except CallFailed as error:
            return error.status
        return 200

    def test_replaces(self) -> None:
        """The call that is to be replaced is looked up (RFC 3891 §3)."""
        ours, theirs = self.up()
        self.assertEqual(self.invite(ours, ";early-only"), 486)
        self.assertEqual(self.invite(ours, count=2), 400)
        self.assertEqual(self.invite(ours), 200)
        self.assertIs(self.bob.invitations[-1].replaces, theirs)
        self.wait(theirs.bye())
        self.assertEqual(self.invite(ours), 603)
        ours.dialog.call_id = "another"
        self.assertEqual(self.invite(ours), 481)

    def test_not_ours(self) -> None:
        """An early dialog that the replaced side did not start is left alone (§3)."""
        early: list[Any] = []
        self.bob.automatic = False
        calling = Deferred.fromCoroutine(self.alice.call(early=early.append))
        self.clock.advance(0.1)
        self.bob.invitations[0].ring()
        self.clock.advance(0.1)
        self.assertEqual(self.invite(early[0]), 481)
        calling.cancel()
        self.failureResultOf(calling)
