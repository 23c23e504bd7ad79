"""What calls do with messages that make no sense."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis.strategies import lists, sampled_from, tuples
from twisted.internet.defer import Deferred

from omaim.roles.description import CallEnded, CallFailed
from omaim.roles.incoming import Incoming
from omaim.sip.message import Response
from tests.roles.calls import ANSWER, BOB, OFFER, Calls
from tests.roles.test_hostile import NASTY

JUNK = [*NASTY, "0;refresher=uac", "90;refresher=", "a;to-tag=1;from-tag=2",
        "a@b;to-tag=;from-tag=", "1 1 INVITE", "4294967295", "cid:", "<cid:x>", "false;x",
        "SIP;cause=200", "100rel", "timer", "multipart/mixed", "multipart/mixed;boundary=x",
        "application/sdp"]  # fmt: skip
ASKED = ["Session-Expires", "Min-SE", "Replaces", "Require", "Supported", "Contact", "Expires",
         "Record-Route", "Content-Type", "RAck", "Reason", "Allow", "Refer-To", "Referred-By",
         "Refer-Sub", "Target-Dialog", "Event", "Subscription-State", "Join"]  # fmt: skip
SAID = ["Session-Expires", "Min-SE", "Require", "RSeq", "Contact", "Record-Route", "Content-Type",
        "Allow", "Retry-After", "Refer-Sub", "WWW-Authenticate"]  # fmt: skip
METHODS = ["INVITE", "UPDATE", "PRACK", "REFER", "NOTIFY", "SUBSCRIBE", "BYE", "INFO"]


class HostileCallTests(Calls):
    def clean(self) -> None:
        """Nothing crashed, and in the end nothing is left."""
        for one in (self.alice, self.bob):
            for call in list(one.inviter.calls.values()):
                call.finish("")
            self.assertEqual(one.ua.endpoint.counters["crashed"], 0)
        self.clock.advance(400.0)
        self.none_left()
        errors = self.flushLoggedErrors()
        self.assertEqual([one.getTraceback() for one in errors], [])

    @given(lists(tuples(sampled_from(ASKED), sampled_from(JUNK)), min_size=1, max_size=3))
    def test_asked(self, fields: list[tuple[str, str]]) -> None:
        """An INVITE with nonsense in it gets an answer and leaves nothing behind."""
        self.setUp()
        headers = [("Content-Type", "application/sdp"), *fields]
        request = self.alice.ua.make("INVITE", BOB, headers, OFFER)
        self.bob.inviter.referrer.on_refer = lambda referral: referral.accept()
        response = self.wait(self.alice.ua.request(request))
        self.assertFalse(response.local, response)
        self.assertNotEqual(response.status, 500)
        self.clock.advance(100.0)
        self.clean()

    @given(
        sampled_from(METHODS),
        lists(tuples(sampled_from(ASKED), sampled_from(JUNK)), min_size=1, max_size=3),
    )
    def test_asked_in_call(self, method: str, fields: list[tuple[str, str]]) -> None:
        """So does any request in a call."""
        self.setUp()
        ours, theirs = self.up()
        theirs.on_refer = lambda referral: referral.accept()
        theirs.on_request = lambda incoming: incoming.response(200)
        request = ours.dialog.request(method, fields, OFFER)
        response = self.wait(self.alice.ua.request(request))
        self.assertFalse(response.local, (method, fields))
        self.clock.advance(100.0)
        self.clean()

    @given(
        sampled_from([180, 183, 200, 422, 302, 491, 500]),
        lists(tuples(sampled_from(SAID), sampled_from(JUNK)), min_size=1, max_size=3),
        sampled_from([b"", ANSWER]),
    )
    def test_said(self, status: int, fields: list[tuple[str, str]], body: bytes) -> None:
        """A callee that answers nonsense fails the call or makes it, and nothing hangs."""
        self.setUp()

        def answer(incoming: Incoming) -> Response | None:
            if status < 200:
                incoming.respond(incoming.response(status, fields, body))
                return incoming.response(486)
            return incoming.response(status, fields, body)

        self.bob.ua.on("INVITE", answer, dialogs=True)
        calling = Deferred.fromCoroutine(self.alice.call())
        calling.addErrback(lambda failure: failure.trap(CallFailed))
        self.clock.advance(120.0)
        self.assertTrue(calling.called)
        self.clean()

    @given(
        sampled_from(["INVITE", "UPDATE", "REFER", "BYE"]),
        sampled_from([200, 202, 422, 491, 500, 302, 481]),
        lists(tuples(sampled_from(SAID), sampled_from(JUNK)), max_size=3),
        sampled_from([b"", ANSWER]),
    )
    def test_said_in_call(
        self, method: str, status: int, fields: list[tuple[str, str]], body: bytes
    ) -> None:
        """So does a peer that answers nonsense in a call."""
        self.setUp()
        ours, theirs = self.up()
        self.bob.ua._dialogs[theirs.dialog.id] = lambda incoming: incoming.response(
            status, fields, body
        )
        acts: dict[str, Any] = {
            "INVITE": lambda: ours.reinvite(b"v=0 new\r\n"),
            "UPDATE": lambda: ours.update(b"v=0 new\r\n"),
            "REFER": lambda: ours.refer("sip:carol@example.com"),
            "BYE": ours.bye,
        }
        doing = Deferred.fromCoroutine(acts[method]())
        doing.addErrback(lambda failure: failure.trap(CallFailed, CallEnded))
        self.clock.advance(200.0)
        self.assertTrue(doing.called)
        self.clean()
