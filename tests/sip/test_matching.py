"""Which transaction a request belongs to, and what is done without asking the user."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from omaim.sip.message import Request
from omaim.sip.parser import parse_datagram
from tests.sip.matching import BRANCH, Side, make, tcp, udp


class RequestTests(SynchronousTestCase):
    def test_repeats(self) -> None:
        """A repeat goes no higher: silence first, then the same bytes (RFC 3261 §17.2.2)."""
        side = Side()
        side.receive(make())
        side.receive(make())
        self.assertEqual((len(side.requests), side.sent), (1, []))
        self.assertTrue(side.answer(202))
        side.receive(make())
        self.assertEqual(len(side.requests), 1)
        self.assertEqual(len(side.sent), 2)
        self.assertEqual(side.sent[0][1], side.sent[1][1])
        self.assertEqual(side.taken(), ["202 MESSAGE"] * 2)

    def test_what_makes_another(self) -> None:
        """Branch, sent-by and method tell transactions apart (§17.2.3); no header else does."""
        side = Side()
        for request in (
            make(),
            make(branch="z9hG4bKtwo"),
            make(sent_by="other.example"),
            make(sent_by="a.example:5062"),
            make("OPTIONS"),
        ):
            side.receive(request)
        self.assertEqual(len(side.requests), 5)
        side.receive(make(uri="sip:else@b.example", call_id="d", number=7, from_tag="9"))
        self.assertEqual(len(side.requests), 5)

    def test_old_branch(self) -> None:
        """Without the cookie, or with nothing behind it, URI, tags, Call-ID, CSeq and Via match
        (§17.2.3, RFC 4475 §3.2.1)."""
        for branch in ("", "1", "z9hG4bK"):
            side = Side()
            side.receive(make(branch=branch))
            side.receive(make(branch=branch))
            self.assertEqual(len(side.requests), 1, branch)
            for request in (
                make(branch=branch, uri="sip:else@b.example"),
                make(branch=branch, from_tag="2"),
                make(branch=branch, to_tag="2"),
                make(branch=branch, call_id="d"),
                make(branch=branch, number=2),
                make("OPTIONS", branch=branch),
                make(branch=branch, sent_by="other.example"),
            ):
                side.receive(request)
            self.assertEqual(len(side.requests), 8, branch)

    def test_reply_to(self) -> None:
        """Answers and their repeats go where the Via wants them (§18.2.2)."""
        side = Side()
        other = udp(port=5070)
        side.transactions.receive(make(), udp(port=1234), 0.0, other)
        side.answer(200)
        side.transactions.receive(make(), udp(port=1234), 0.0, other)
        self.assertEqual([flow for flow, _ in side.sent], [other, other])

    def test_forgotten(self) -> None:
        """An answered request is forgotten after Timer J, at once over TCP (§17.2.2)."""
        side = Side()
        side.receive(make(), tcp())
        side.answer(200)
        self.assertEqual(side.counts(), (0, 0))
        side.receive(make())
        side.answer(200)
        side.time.run(31.999)
        self.assertEqual(side.counts(), (1, 0))
        side.time.run(32.0)
        self.assertEqual(side.counts(), (0, 0))
        side.time.run()
        self.assertEqual(len(side.time.deadlines), 0)

    def test_silence(self) -> None:
        """A silent user's request gets 100 late, and is forgotten when its client is gone."""
        side = Side()
        side.receive(make())
        response = side.requests[0].request.response(200, None, "t")
        side.time.run()
        self.assertEqual(side.taken(), ["100 MESSAGE"])
        self.assertEqual(side.counts(), (0, 0))
        self.assertFalse(side.transactions.respond(side.requests[0], response, side.time.now))
        self.assertEqual(side.sent, [])

    def test_swallowed(self) -> None:
        """What RFC 4320 forbids, and a second final response, are not sent; the caller hears it."""
        side = Side()
        side.receive(make())
        for status in (100, 180, 408):
            self.assertFalse(side.answer(status))
        side.receive(make())
        self.assertEqual(side.sent, [])
        side.receive(make("INVITE", "z9hG4bKtwo"))
        response = side.requests[-1].request.response(486, None, "t")
        self.assertTrue(side.transactions.respond(side.requests[-1], response, 0.0))
        self.assertFalse(side.transactions.respond(side.requests[-1], response, 0.0))
        self.assertFalse(side.transactions.reply(side.requests[-1], 500, 0.0))

    def test_merged(self) -> None:
        """A user agent answers 482 to a request that came on two ways (§8.2.2.2)."""
        side = Side(user_agent=True)
        side.receive(make("INFO"))
        side.receive(make("INFO", branch="z9hG4bKtwo"))
        self.assertEqual(len(side.requests), 1)
        self.assertEqual(side.taken(), ["482 INFO"])
        # Another CSeq, another Call-ID, another From tag, or a To tag: not the same request.
        side.receive(make("INFO", branch="z9hG4bK3", number=2))
        side.receive(make("INFO", branch="z9hG4bK4", call_id="d"))
        side.receive(make("INFO", branch="z9hG4bK5", from_tag="2"))
        side.receive(make("INFO", branch="z9hG4bK6", to_tag="2"))
        side.receive(make("INFO", branch="z9hG4bK7", to_tag="2"))
        self.assertEqual(len(side.requests), 6)

    def test_merged_at_a_proxy(self) -> None:
        """A proxy takes both (a request may spiral, §16.3); who behind it serves a user asks."""
        side = Side()
        side.receive(make("INFO"))
        side.receive(make("INFO", branch="z9hG4bKtwo"))
        self.assertEqual(len(side.requests), 2)
        first, second = side.requests
        self.assertTrue(side.transactions.claim(first, 0.0))
        self.assertTrue(side.transactions.claim(first, 0.0))
        self.assertFalse(side.transactions.claim(second, 0.0))
        self.assertEqual(side.taken(), ["482 INFO"])
        side.answer(200, which=0)
        side.time.run()
        side.receive(make("INFO", branch="z9hG4bK3"))
        self.assertTrue(side.transactions.claim(side.requests[-1], side.time.now))

    def test_copies_of_a_message(self) -> None:
        """All copies of a MESSAGE get one answer, whether they come before it or after.

        A proxy that tries another server, or one that has restarted, sends a new branch
        (RFC 3261 §16.6 step 8); a 482 would tell it that what was delivered was not.
        """
        side = Side(user_agent=True)
        side.receive(make())
        side.receive(make(branch="z9hG4bKtwo", sent_by="b.example"))
        self.assertEqual((len(side.requests), side.taken()), (1, []))
        self.assertTrue(side.answer(202))
        side.receive(make(branch="z9hG4bK3"), tcp())
        answers = [parse_datagram(data) for _, data in side.sent]
        self.assertEqual([one.status for one in answers], [202, 202, 202])
        self.assertEqual([one.via.branch for one in answers], [BRANCH, "z9hG4bKtwo", "z9hG4bK3"])
        self.assertEqual({one.to.tag for one in answers}, {"t"})
        self.assertEqual([flow.transport for flow, _ in side.sent], ["UDP", "UDP", "TCP"])
        side.taken()
        side.receive(make(branch="z9hG4bKtwo", sent_by="b.example"))
        self.assertEqual(side.taken(), ["202 MESSAGE"])

    def test_copies_of_a_message_on_a_stream(self) -> None:
        """The copies are answered although a stream's transaction ends with its answer."""
        side = Side(user_agent=True)
        side.receive(make(), tcp())
        side.receive(make(branch="z9hG4bKtwo"))
        side.answer(486)
        self.assertEqual(side.taken(), ["486 MESSAGE", "486 MESSAGE"])

    def test_copies_of_silence(self) -> None:
        """What is never answered leaves its copies unanswered, and nothing behind (RFC 4320)."""
        side = Side(user_agent=True)
        side.receive(make())
        side.receive(make(branch="z9hG4bKtwo"))
        side.answer(408)
        side.receive(make(branch="z9hG4bK3"))
        side.receive(make(branch="z9hG4bK4"))
        side.time.run()
        self.assertNotIn("482 MESSAGE", side.taken())
        self.assertEqual(side.transactions.server_count, 0)

    def test_full(self) -> None:
        """Over the limit a new request is refused without state, each time with the same tag;
        known ones are still served."""
        side = Side(maximum=1)
        side.receive(make())
        side.answer(200)
        side.sent.clear()
        side.receive(make(branch="z9hG4bKtwo"))
        refusal = side.last()
        self.assertEqual(refusal.first("Retry-After"), "5")
        side.receive(make(branch="z9hG4bKtwo"))
        self.assertEqual(side.sent[0][1], side.sent[1][1])
        side.receive(make())
        self.assertEqual(side.taken(), ["503 MESSAGE", "503 MESSAGE", "200 MESSAGE"])
        self.assertEqual(side.drops, ["full", "full"])
        self.assertEqual(side.counts(), (1, 0))

    def test_ack_of_a_refusal(self) -> None:
        """The ACK of a stateless refusal is swallowed, and an ACK is never refused (§8.2.7)."""
        side = Side(maximum=0)
        side.receive(make("INVITE"))
        refusal = side.last()
        side.sent.clear()
        side.receive(make("ACK", to_tag=refusal.to.tag))
        self.assertEqual(side.acks, [])
        side.transactions.refuse(make("ACK"), udp(), 400)
        self.assertEqual(side.sent, [])


class InviteServerTests(SynchronousTestCase):
    def test_trying(self) -> None:
        """100 without a To tag after 200 ms, repeated on demand (§17.2.1)."""
        side = Side()
        side.receive(make("INVITE"))
        side.time.run(0.19)
        self.assertEqual(side.sent, [])
        side.time.run(0.2)
        self.assertEqual(side.last().to.tag, "")
        side.receive(make("INVITE"))
        side.answer(180)
        side.receive(make("INVITE"))
        self.assertEqual(side.taken(), ["100 INVITE", "100 INVITE", "180 INVITE", "180 INVITE"])

    def test_error(self) -> None:
        """An error answer is repeated until its ACK, which goes no higher (§17.2.1)."""
        side = Side()
        side.receive(make("INVITE"))
        side.answer(486)
        side.time.run(2.0)
        self.assertEqual(side.taken(), ["486 INVITE"] * 3)
        side.receive(make("ACK", to_tag="t"))
        side.receive(make("ACK", to_tag="t"))
        side.receive(make("INVITE"))
        side.time.run(6.9)
        self.assertEqual(side.counts(), (1, 0))
        side.time.run(7.0)
        self.assertEqual((side.sent, side.acks, side.counts()), ([], [], (0, 0)))
        self.assertEqual(len(side.requests), 1)

    def test_error_over_tcp(self) -> None:
        """Over TCP the ACK ends it at once: Timer I is zero (§17.2.1)."""
        side = Side()
        side.receive(make("INVITE"), tcp())
        side.answer(486)
        side.receive(make("ACK", to_tag="t"), tcp())
        self.assertEqual((side.taken(), side.acks, side.counts()), (["486 INVITE"], [], (0, 0)))

    def test_never_acknowledged(self) -> None:
        """The user hears that no ACK came (§17.2.1, Timer H)."""
        side = Side()
        side.receive(make("INVITE"))
        side.answer(486)
        side.time.run()
        self.assertEqual(side.failures, [(side.requests[0], "timeout")])
        self.assertEqual(side.counts(), (0, 0))

    def test_accepted(self) -> None:
        """After 2xx repeats of the INVITE are swallowed, the user may repeat the 2xx, every ACK
        is the user's (RFC 6026 §7.1)."""
        side = Side()
        side.receive(make("INVITE"))
        response = side.requests[0].request.response(200, None, "t")
        transaction = side.requests[0]
        self.assertTrue(side.transactions.respond(transaction, response, 0.0))
        side.receive(make("INVITE"))
        self.assertTrue(side.transactions.respond(transaction, response, 0.5))
        self.assertEqual(side.taken(), ["200 INVITE"] * 2)
        side.receive(make("ACK", to_tag="t"))  # a client that reuses the branch
        side.receive(make("ACK", "z9hG4bKack", to_tag="t"))
        self.assertEqual(len(side.acks), 2)
        side.time.run(31.9)
        side.receive(make("INVITE"))
        self.assertEqual((len(side.requests), side.counts()), (1, (1, 0)))
        side.time.run(32.0)
        self.assertEqual(side.counts(), (0, 0))

    def test_old_ack(self) -> None:
        """An RFC 2543 client's ACK belongs to the error answer whose To tag it has (§17.2.3),
        and to the user when the answer was a 2xx (RFC 6026 §6)."""
        for status, to_user in ((486, 0), (200, 1)):
            side = Side()
            side.receive(make("INVITE", ""))
            side.answer(status)
            side.receive(make("ACK", "", to_tag="else"))
            self.assertEqual(len(side.acks), 1)
            side.receive(make("ACK", "", to_tag="t"))
            self.assertEqual(len(side.acks), 1 + to_user)
            side.sent.clear()
            side.time.run()
            self.assertEqual((side.sent, side.failures), ([], []))
            self.assertEqual(side.counts(), (0, 0))

    def test_undelivered(self) -> None:
        """When an answer cannot be delivered the user hears it; an INVITE stays known
        (RFC 6026 §7.1)."""
        side = Side()
        side.receive(make("INVITE"))
        side.answer(486)
        side.transactions.undelivered(side.requests[0], 0.0)
        self.assertEqual(side.failures, [(side.requests[0], "transport")])
        self.assertEqual(side.counts(), (1, 0))
        side.receive(make("MESSAGE", "z9hG4bKtwo"))
        side.answer(200)
        side.transactions.undelivered(side.requests[1], 0.0)
        self.assertEqual(side.failures[1:], [(side.requests[1], "transport")])
        self.assertEqual(side.counts(), (1, 0))

    def test_unknown_ack(self) -> None:
        """An ACK without transaction is the user's (§18.2.1)."""
        side = Side()
        side.receive(make("ACK", to_tag="t"))
        self.assertEqual((len(side.acks), side.counts()), (1, (0, 0)))


class CancelTests(SynchronousTestCase):
    def test_matched(self) -> None:
        """CANCEL gets 200, the INVITE 487 from its owner, both with one To tag (§9.2)."""
        side = Side()
        side.receive(make("INVITE"))
        side.receive(make("CANCEL"))
        self.assertEqual(side.cancelled, side.requests)
        tag = side.last().to.tag
        side.transactions.reply(side.requests[0], 487, 0.0)
        self.assertEqual(side.last().to.tag, tag)
        self.assertNotEqual(tag, "")
        self.assertEqual(side.taken(), ["200 CANCEL", "487 INVITE"])

    def test_tag_of_180(self) -> None:
        """The 200 of CANCEL has the To tag that the INVITE's answers had before (§9.2)."""
        side = Side()
        side.receive(make("INVITE"))
        side.answer(180, "early")
        side.receive(make("CANCEL"))
        self.assertEqual(side.last().to.tag, "early")

    def test_repeated(self) -> None:
        """A repeated CANCEL is answered again and cancels once."""
        side = Side()
        side.receive(make("INVITE"))
        side.receive(make("CANCEL"))
        side.receive(make("CANCEL"))
        self.assertEqual(len(side.cancelled), 1)
        self.assertEqual(side.taken(), ["200 CANCEL", "200 CANCEL"])

    def test_too_late(self) -> None:
        """CANCEL after the final response, or of a MESSAGE, gets 200 and does nothing (§9.2)."""
        side = Side()
        side.receive(make("INVITE"))
        side.answer(200)
        side.receive(make("CANCEL"))
        side.receive(make("MESSAGE", "z9hG4bKtwo"))
        side.receive(make("CANCEL", "z9hG4bKtwo"))
        self.assertEqual(side.cancelled, [])
        self.assertEqual(side.taken(), ["200 INVITE", "200 CANCEL", "200 CANCEL"])

    def test_unmatched(self) -> None:
        """A CANCEL of nothing gets 481 (§9.2)."""
        side = Side()
        side.receive(make("INVITE"))
        side.receive(make("CANCEL", "z9hG4bKtwo"))
        self.assertEqual((side.cancelled, side.taken()), ([], ["481 CANCEL"]))

    def test_forged(self) -> None:
        """A CANCEL from another host than the INVITE's is a CANCEL of nothing (§22.1)."""
        side = Side()
        side.receive(make("INVITE"), udp("192.0.2.2"))
        side.receive(make("CANCEL"), udp("192.0.2.66"))
        self.assertEqual((side.cancelled, side.taken()), ([], ["481 CANCEL"]))

    def test_old(self) -> None:
        """CANCEL of an RFC 2543 client finds its INVITE by the headers (§17.2.3)."""
        side = Side()
        side.receive(make("INVITE", ""))
        side.receive(make("CANCEL", "", number=2))
        side.receive(make("CANCEL", ""))
        self.assertEqual(side.taken(), ["481 CANCEL", "200 CANCEL"])
        self.assertEqual(side.cancelled, side.requests)

    def test_client_waits(self) -> None:
        """CANCEL is sent when a provisional response has come, not before (§9.1)."""
        side = Side()
        invite = make("INVITE", extra=(("Route", "<sip:p.example;lr>"), ("Require", "x")))
        transaction = side.start(invite)
        side.transactions.cancel(transaction, 0.0)
        self.assertEqual(side.taken(), ["INVITE"])
        side.receive(invite.response(100))
        cancel = side.last()
        self.assertEqual(side.taken(), ["CANCEL"])
        assert isinstance(cancel, Request)
        self.assertEqual(cancel.uri, invite.uri)
        for name in ("Via", "From", "To", "Call-ID", "Route"):
            self.assertEqual(cancel.all(name), invite.all(name), name)
        self.assertEqual(str(cancel.cseq), "1 CANCEL")
        self.assertFalse(cancel.has("Require"))
        side.receive(invite.response(180))
        side.transactions.cancel(transaction, 0.0)
        self.assertEqual(side.sent, [])
        side.receive(cancel.response(200))
        side.receive(invite.response(487, None, "t"))
        self.assertEqual(side.taken(), ["ACK"])
        self.assertEqual(side.statuses(), [100, 180, 487])

    def test_client_at_once(self) -> None:
        """CANCEL leaves at once when the INVITE is ringing already, by the same path (§9.1)."""
        side = Side()
        invite = make("INVITE")
        path = udp()
        transaction = side.start(invite, path)
        side.receive(invite.response(180, None, "t"))
        side.sent.clear()
        side.transactions.cancel(transaction, 0.0)
        self.assertIs(side.sent[0][0], path)
        self.assertEqual(side.taken(), ["CANCEL"])

    def test_client_no_effect(self) -> None:
        """Nothing is cancelled after the final response, nor but by INVITE (§9.1)."""
        side = Side()
        invite = make("INVITE")
        transaction = side.start(invite)
        side.receive(invite.response(200, None, "t"))
        side.transactions.cancel(transaction, 0.0)
        message = make(branch="z9hG4bKtwo")
        other = side.start(message)
        side.transactions.cancel(other, 0.0)
        side.receive(message.response(100))
        self.assertEqual(side.taken(), ["INVITE", "MESSAGE"])

    def test_no_487(self) -> None:
        """A peer that never says 487 is given up 64 × T1 after the CANCEL (§9.1)."""
        side = Side()
        invite = make("INVITE")
        transaction = side.start(invite)
        side.receive(invite.response(180))
        side.time.run(100.0)
        side.transactions.cancel(transaction, side.time.now)
        side.time.run(131.9)
        self.assertEqual(side.statuses(), [180])
        side.time.run(132.0)
        self.assertEqual(side.statuses(), [180, 487])
        self.assertTrue(side.responses[1].local)
        side.time.run()
        self.assertEqual(side.counts(), (0, 0))
