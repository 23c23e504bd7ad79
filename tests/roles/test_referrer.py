"""Asking somebody to contact a third party, and being asked so."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart
from omaim.errors import PeerError, UsageError
from omaim.roles.description import CallFailed
from omaim.roles.referrer import Reference, Referral, refer_uri
from omaim.sip.headers import NameAddr
from omaim.sip.message import Request
from omaim.sip.uri import SipUri
from tests.roles.calls import BOB, Calls, Party

CAROL = "sip:carol@example.com"
LIST = b"<resource-lists><list><entry uri='sip:carol@example.com'/></list></resource-lists>"
LISTS = "application/resource-lists+xml"


class ReferTests(Calls):
    def setUp(self) -> None:
        super().setUp()
        self.referrals: list[Referral] = []
        self.bob.inviter.referrer.on_refer = self.referred

    def referred(self, referral: Referral) -> None:
        self.referrals.append(referral)
        referral.accept()

    def refer(self, refer_to: str = CAROL, target: str = BOB, **named: Any) -> Reference:
        reference = self.wait(self.alice.inviter.referrer.refer(target, refer_to, **named))
        self.clock.advance(0.5)
        return reference

    def test_outside(self) -> None:
        """A REFER makes a subscription that reports how it goes on (RFC 3515 §2.4.4)."""
        notifies: list[Request] = []
        reference = self.refer(on_report=notifies.append)
        (referral,) = self.referrals
        self.assertEqual((referral.uri, referral.method, referral.call), (CAROL, "INVITE", None))
        assert referral.referred_by is not None
        self.assertEqual(referral.referred_by.uri_text, "sip:alice@example.com")
        self.assertEqual((reference.subscribed, reference.status), (True, 100))
        referral.progress(180)
        self.clock.advance(1.0)
        done = reference.done()
        self.assertEqual(reference.status, 180)
        referral.progress(486, "Busy")
        referral.progress(200)
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(done), 486)
        self.assertEqual(self.successResultOf(reference.done()), 486)
        self.assertEqual(
            reference.reports,
            ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 486 Busy"],
        )
        self.assertEqual(
            [one.first("Subscription-State") for one in notifies],
            ["active;expires=180", "active;expires=179", "terminated;reason=noresource"],
        )
        self.assertEqual({one.first("Event") for one in notifies}, {"refer"})
        self.none_left()

    def test_quiet(self) -> None:
        """Refer-Sub: false, and nothing is reported (RFC 4488 §4)."""
        reference = self.refer(reports=False)
        (referral,) = self.referrals
        self.assertEqual((reference.subscribed, reference.over), (False, True))
        referral.progress(200)
        self.clock.advance(10.0)
        self.assertEqual(self.bob.sent, ["200 REFER"])
        self.assertEqual(self.bob.last("200 REFER").first("Refer-Sub"), "false")
        self.none_left()

    def test_in_call(self) -> None:
        """In a call it is reported in the same dialog; later ones have an id (§2.4.6)."""
        ours, theirs = self.up()
        seen: list[Referral] = []

        def take(referral: Referral) -> None:
            seen.append(referral)
            referral.accept(202)

        theirs.on_refer = take
        first = self.wait(ours.refer(refer_uri(CAROL, "BYE")))
        second = self.wait(ours.refer(CAROL))
        self.clock.advance(1.0)
        self.assertEqual((seen[0].method, seen[0].uri, seen[0].call), ("BYE", CAROL, theirs))
        self.assertEqual(self.referrals, [])
        seen[1].progress(200)
        self.clock.advance(1.0)
        self.assertEqual((first.status, second.status, second.over), (100, 200, True))
        notify = self.bob.last("NOTIFY")
        self.assertEqual(notify.first("Event"), f"refer;id={seen[1].request.cseq.number}")
        self.assertEqual(notify.body, b"SIP/2.0 200 OK\r\n")
        self.assertEqual(self.alice.sent[-1], "200 NOTIFY")
        self.wait(ours.bye())
        self.assertTrue(first.over)
        seen[0].progress(200)
        self.clock.advance(1.0)
        self.none_left()

    def test_replaces(self) -> None:
        """The URI may ask for header fields, a Replaces for example (RFC 3891 §2)."""
        value = "12345@192.168.118.3;to-tag=a%b;from-tag=5FFE-3994"
        self.refer(refer_uri(f"{CAROL};transport=tcp", headers=[("Replaces", value)]))
        (referral,) = self.referrals
        self.assertEqual(referral.headers, [("Replaces", value)])
        self.assertEqual((referral.uri, referral.method), (f"{CAROL};transport=tcp", "INVITE"))

    def test_list(self) -> None:
        """Several are named by a list in the body (RFC 5368 §7)."""
        part = Part([("Content-Type", LISTS), ("Content-ID", "<cn35t8@example.com>"),
                     ("Content-Disposition", "recipient-list")], LIST)  # fmt: skip
        kind, body = Multipart("mixed", [part]).write()
        for fields, octets in (
            ([("Content-Type", LISTS), ("Content-ID", "<cn35t8@example.com>")], LIST),
            ([("Content-Type", kind)], body),
        ):
            reference = self.refer("cid:cn35t8@example.com", headers=fields, body=octets)
            referral = self.referrals.pop()
            self.assertTrue(referral.several)
            self.assertEqual(referral.listed(), (LISTS, LIST))
            self.assertEqual((reference.subscribed, referral.subscribed), (False, False))
            request = self.alice.last("REFER")
            self.assertEqual(request.require, {"multiple-refer", "norefersub"})
            self.assertEqual(request.first("Refer-Sub"), "false")
        self.refer("cid:other@example.com", headers=fields, body=octets)
        self.assertRaises(PeerError, self.referrals.pop().listed)
        self.none_left()

    def test_refused(self) -> None:
        """A REFER may be refused, or be nonsense (RFC 3515 §2.4.2)."""
        self.bob.inviter.referrer.on_refer = lambda referral: referral.reject(403)
        error = self.assertRaises(CallFailed, self.refer)
        self.assertEqual(error.status, 403)
        two = [("Refer-To", "<sip:x@y>")]
        self.assertEqual(self.assertRaises(CallFailed, self.refer, headers=two).status, 400)
        self.bob.inviter.referrer.on_refer = None
        self.assertEqual(self.assertRaises(CallFailed, self.refer).status, 603)
        self.none_left()
        self.assertRaises(UsageError, self.refer, target="")

    def test_unwanted(self) -> None:
        """Who ends the reports gets no more, and whom it knows not is 403 (§2.4.4)."""
        ours, _ = self.up()
        reference = self.wait(ours.refer(CAROL))
        self.clock.advance(1.0)
        (referral,) = self.referrals
        event = [("Event", "refer"), ("Expires", "0")]
        self.assertEqual(self.wait(ours.request_in("SUBSCRIBE", event)).status, 200)
        self.clock.advance(1.0)
        self.assertTrue(reference.over)
        referral.progress(200)
        self.clock.advance(1.0)
        self.assertEqual(self.bob.sent.count("NOTIFY"), 2)
        self.assertEqual(self.wait(ours.request_in("SUBSCRIBE", event)).status, 403)

    def test_forgotten(self) -> None:
        """What nobody reports on ends by itself, on both sides."""
        reference = self.refer()
        self.clock.advance(190.0)
        self.assertTrue(reference.over)
        self.none_left()
        reference = self.refer()
        self.network.cut("10.0.0.1")
        self.clock.advance(400.0)
        self.assertTrue(reference.over)
        self.none_left()

    def test_nonsense(self) -> None:
        """Reports that are none are refused (RFC 3515 §2.4.5)."""
        ours, theirs = self.up()
        self.wait(ours.refer(CAROL))
        self.clock.advance(1.0)
        fields = [("Event", "refer"), ("Subscription-State", "active"),
                  ("Content-Type", "message/sipfrag")]  # fmt: skip
        for status, headers, body in (
            (415, fields[:2], b""),
            (400, fields, b"nonsense"),
            (400, fields, b"SIP/2.0 abc"),
            (400, [fields[0], fields[2]], b"SIP/2.0 200 OK"),
            (200, fields, b"SIP/2.0 200 OK"),
            (481, [("Event", "refer;id=99"), *fields[1:]], b"SIP/2.0 200 OK"),
        ):
            response = self.wait(theirs.request_in("NOTIFY", headers, body))
            self.assertEqual(response.status, status, (headers, body))
        self.assertTrue(theirs.over)  # 481 says that there is no such dialog (§12.2.1.2)

    def test_transfer(self) -> None:
        """All together: bob is referred to carol and reports how it went (RFC 5589 §6)."""
        carol = Party(self.agent("10.0.0.3", "carol"))

        async def contact(referral: Referral) -> None:
            try:
                await self.bob.call(
                    referral.uri, headers=referral.headers, provisional=lambda one: report(one)
                )
                referral.progress(200)
            except CallFailed as error:
                referral.progress(error.status)

        def report(response: Any) -> None:
            self.referrals[0].progress(response.status)

        def referred(referral: Referral) -> None:
            self.referred(referral)
            Deferred.fromCoroutine(contact(referral))

        ours, theirs = self.up()
        theirs.on_refer = referred
        reference = self.wait(ours.refer("sip:carol@10.0.0.3"))
        self.assertEqual(self.wait(reference.done()), 200)
        self.assertTrue(carol.calls[0].up)


class UriTests(Calls):
    def test_written(self) -> None:
        """Header fields in a URI are escaped, and read back (RFC 3261 §19.1.1)."""
        fields = [("Replaces", "a@b;to-tag=1;from-tag=2"), ("Subject", "Grüße & mehr?")]
        text = refer_uri("sip:x@y.example", "BYE", fields)
        uri = NameAddr.parse(f"<{text}>").uri
        assert isinstance(uri, SipUri)
        self.assertEqual((uri.method, uri.header_items()), ("BYE", fields))
        self.assertRaises(UsageError, refer_uri, "tel:+1234")
