"""A server between two parties: two calls that are as one, as an IM Server makes them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from omaim.errors import PeerError
from omaim.roles.call import Call
from omaim.roles.description import CallFailed, Description
from omaim.roles.invitation import Invitation
from omaim.roles.inviter import Inviter
from omaim.roles.user_agent import UserAgent
from omaim.sip.message import Request
from tests.roles.calls import ANSWER, OFFER, Calls

OWN = {"Via", "Route", "Record-Route", "From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards",
       "Content-Length", "Session-Expires", "Min-SE", "Supported", "Allow", "Require",
       "Authorization", "Proxy-Authorization"}  # fmt: skip


class BackToBack:
    """Joins each call that comes in with one that it makes."""

    def __init__(self, ua: UserAgent) -> None:
        self.ua = ua
        self.inviter = Inviter(ua)
        self.inviter.on_invite = self.invited

    def copy(self, invite: Request) -> Request:
        """Return the INVITE of the other leg, with all that is end to end."""
        ids = self.ua.ids
        fields = [
            ("Route", "<sip:10.0.0.1;lr>"),
            ("Max-Forwards", str((invite.max_forwards or 70) - 1)),
            ("From", f"<{invite.from_.uri_text}>;tag={ids.tag()}"),
            ("To", f"<{invite.to.uri_text}>"),
            ("Call-ID", ids.call_id()),
            ("CSeq", "1 INVITE"),
            ("Contact", "<sip:b2b@10.0.0.3>;+g.oma.sip-im"),
        ]
        fields += [
            (n, v) for n in dict.fromkeys(invite.names) if n not in OWN for v in invite.all(n)
        ]
        return Request.make("INVITE", invite.uri, fields, invite.body)

    async def invited(self, invitation: Invitation) -> None:
        answer: Deferred[Description] = Deferred()
        calling = Deferred.fromCoroutine(
            self.inviter.invite(
                "",
                request=self.copy(invitation.request),
                provisional=lambda one: invitation.ring(one.status) if one.status > 100 else None,
                on_offer=lambda offer: answer,
            )
        )
        invitation.on_cancel = lambda _: calling.cancel()
        far = await calling
        near = invitation.call
        self.join(near, far)
        self.join(far, near)
        await invitation.accept(
            far.remote.body, headers=[("Contact", "<sip:b2b@10.0.0.3>;isfocus")]
        )
        if not invitation.described:
            answer.callback(near.remote)

    def join(self, one: Call, other: Call) -> None:
        """Let what happens to one happen to the other."""

        async def offered(offer: Description) -> Description:
            return await other.reinvite(offer.body, offer.content_type, wait=False)

        def ended(reason: str) -> None:
            Deferred.fromCoroutine(other.bye([("Reason", reason)] if reason else []))

        one.on_offer = offered
        one.on_bye = ended


class BackToBackTests(Calls):
    def setUp(self) -> None:
        super().setUp()
        self.server = BackToBack(self.agent("10.0.0.3", "server"))
        self.alice.ua.routes = ("<sip:10.0.0.3;lr>",)
        self.bob.ua.routes = ("<sip:10.0.0.3;lr>",)

    def nothing(self) -> None:
        self.clock.advance(100.0)
        self.none_left()
        self.assertEqual((self.server.inviter.calls, self.server.ua._dialogs), ({}, {}))

    def test_life(self) -> None:
        """Header fields, descriptions, changes and the reason go through; dialogs do not."""
        ours = self.wait(self.alice.call(headers=[("P-Charging-Vector", "icid-value=7")]))
        self.clock.advance(1.0)
        (theirs,) = self.bob.calls
        invite = self.bob.invitations[0].request
        self.assertEqual(invite.first("P-Charging-Vector"), "icid-value=7")
        self.assertNotEqual(ours.dialog.call_id, theirs.dialog.call_id)
        self.assertEqual(theirs.dialog.remote_target, "sip:b2b@10.0.0.3")
        self.assertEqual((ours.remote.body, theirs.remote.body), (ANSWER, OFFER))
        self.bob.answer = b"v=0 yes\r\n"
        self.assertEqual(self.wait(ours.reinvite(b"v=0 2\r\n")).body, b"v=0 yes\r\n")
        self.assertEqual(self.wait(theirs.reinvite(b"v=0 3\r\n")).body, ANSWER)
        self.assertEqual((theirs.remote.body, ours.remote.body), (ANSWER, b"v=0 3\r\n"))
        self.bob.answer = PeerError("no", 488)
        error = self.assertRaises(CallFailed, self.wait, ours.reinvite(b"v=0 4\r\n"))
        self.assertEqual(error.status, 488)
        self.wait(theirs.bye([("Reason", "SIP;cause=200")]))
        self.clock.advance(1.0)
        self.assertEqual(self.alice.ended, ["SIP;cause=200"])
        self.nothing()

    def test_glare(self) -> None:
        """Changes that cross in the middle settle, too."""
        ours = self.wait(self.alice.call())
        self.clock.advance(1.0)
        (theirs,) = self.bob.calls
        both = [
            Deferred.fromCoroutine(one.reinvite(body))
            for one, body in ((ours, b"v=0 a\r\n"), (theirs, b"v=0 b\r\n"))
        ]
        self.clock.advance(60.0)
        for one in both:
            self.successResultOf(one)
        self.assertTrue(ours.up and theirs.up)

    def test_refused(self) -> None:
        """What the callee says is what the caller hears."""
        self.bob.inviter.on_invite = lambda invitation: invitation.reject(603)
        error = self.assertRaises(CallFailed, self.wait, self.alice.call())
        self.assertEqual(error.status, 603)
        self.nothing()

    def test_given_up(self) -> None:
        """A CANCEL goes through, wherever it meets the answer."""
        for pause in (0.0005, 0.0015, 0.0025, 0.0035, 0.01, 1.0):
            self.bob.automatic = pause < 1.0
            calling = Deferred.fromCoroutine(self.alice.call())
            calling.addErrback(lambda failure: failure.trap(CallFailed))
            self.clock.advance(pause)
            calling.cancel()
            if self.alice.calls and self.alice.calls[-1].up:
                self.wait(self.alice.calls[-1].bye())
            self.nothing()

    def test_offer_asked_for(self) -> None:
        """Without an offer in the INVITE, offer and answer go through the other way."""
        call: Any = self.wait(self.alice.call(body=b"", on_offer=lambda offer: b"v=0 mine\r\n"))
        self.clock.advance(5.0)
        self.assertEqual(call.remote.body, ANSWER)
        self.assertEqual(self.bob.calls[0].remote.body, b"v=0 mine\r\n")
        self.wait(call.bye())
        self.nothing()

    def test_died(self) -> None:
        """When one side is gone, so is the other, by the session timers (RFC 4028)."""
        call = self.wait(self.alice.call())
        self.clock.advance(1.0)
        self.network.cut("10.0.0.1")
        self.clock.advance(2000.0)
        self.assertTrue(call.over)
        self.assertIn("408", self.alice.ended[0])
        self.clock.advance(2000.0)
        self.nothing()
