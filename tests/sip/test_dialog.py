"""Dialogs: how they are made, kept in order and ended."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import booleans, integers, lists, sampled_from, tuples
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.sip.dialog import (
    CONFIRMED,
    EARLY,
    ENDED,
    Dialog,
    as_subscriber,
    as_uac,
    as_uas,
    establish,
    incoming_id,
    response_id,
)
from omaim.sip.dialogs import Dialogs
from omaim.sip.message import Request, Response


def invite(
    *extra: tuple[str, str],
    uri: str = "sip:bob@example.com",
    seq: int = 7,
    to_tag: str = "",
    method: str = "INVITE",
    contact: str = "<sip:alice@192.0.2.1:5070>",
) -> Request:
    headers = [
        ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
        ("Max-Forwards", "70"),
        ("From", '"Alice" <sip:alice@example.org>;tag=a1'),
        ("To", "<sip:bob@example.com>" + (f";tag={to_tag}" if to_tag else "")),
        ("Call-ID", "c1"),
        ("CSeq", f"{seq} {method}"),
        *extra,
    ]
    if contact:
        headers.append(("Contact", contact))
    return Request.make(method, uri, headers)


def answer(request: Request, status: int, tag: str, *extra: tuple[str, str]) -> Response:
    response = request.response(status, to_tag=tag)
    for name, value in extra:
        response.add(name, value)
    return response


BOB = ("Contact", "<sip:bob@192.0.2.9>")


class CreationTests(SynchronousTestCase):
    def test_uac(self) -> None:
        """The UAC reverses Record-Route and takes the peer's Contact (RFC 3261 §12.1.2)."""
        request = invite()
        response = answer(
            request,
            200,
            "b1",
            BOB,
            ("Record-Route", "<sip:p2;lr>, <sip:p1;lr;x=1>"),
            ("Record-Route", "<sip:p0;lr>"),
        )
        dialog = as_uac(request, response)
        self.assertEqual(dialog.id, ("c1", "a1", "b1"))
        self.assertEqual(dialog.routes, ["<sip:p0;lr>", "<sip:p1;lr;x=1>", "<sip:p2;lr>"])
        self.assertEqual(dialog.remote_target, "sip:bob@192.0.2.9")
        self.assertEqual((dialog.local_seq, dialog.remote_seq), (7, -1))
        self.assertEqual(dialog.state, CONFIRMED)
        sent = dialog.request("MESSAGE", [("Content-Type", "text/plain")], b"hi")
        self.assertEqual(sent.uri, "sip:bob@192.0.2.9")
        self.assertEqual(sent.values("Route"), dialog.routes)
        self.assertEqual(sent.first("From"), "<sip:alice@example.org>;tag=a1")
        self.assertEqual(sent.first("To"), "<sip:bob@example.com>;tag=b1")
        self.assertEqual(str(sent.cseq), "8 MESSAGE")
        self.assertEqual(sent.first("Max-Forwards"), "70")
        self.assertFalse(sent.has("Contact"))
        self.assertEqual(sent.body, b"hi")

    def test_uas(self) -> None:
        """The UAS keeps Record-Route in order; its own number is empty (RFC 3261 §12.1.1)."""
        request = invite(("Record-Route", "<sip:p1;lr>,<sip:p2;lr>"))
        dialog = as_uas(request, "b1", "<sip:bob@192.0.2.9>")
        self.assertEqual(dialog.id, ("c1", "b1", "a1"))
        self.assertEqual(dialog.routes, ["<sip:p1;lr>", "<sip:p2;lr>"])
        self.assertEqual((dialog.local_seq, dialog.remote_seq), (-1, 7))
        sent = dialog.request("NOTIFY", [])
        self.assertEqual(sent.uri, "sip:alice@192.0.2.1:5070")
        self.assertEqual(str(sent.cseq), "1 NOTIFY")
        self.assertEqual(sent.first("Contact"), "<sip:bob@192.0.2.9>")

    def test_no_contact(self) -> None:
        """A request that makes a dialog must say where to answer (RFC 3261 §8.1.1.8)."""
        error = self.assertRaises(PeerError, as_uas, invite(contact=""), "b1", "<sip:b@h>")
        self.assertEqual(error.status, 400)

    def test_old_peer(self) -> None:
        """Tags and Contact may lack in what RFC 2543 peers send (RFC 3261 §12.1.2)."""
        request = invite()
        dialog = as_uac(request, answer(request, 200, ""))
        self.assertEqual(dialog.remote_target, "sip:bob@example.com")
        self.assertEqual(dialog.request("BYE", []).first("To"), "<sip:bob@example.com>")

    def test_secure(self) -> None:
        """Secure needs TLS and a sips Request-URI, both (RFC 3261 §12.1.1)."""
        for uri, tls, secure in (
            ("sips:bob@example.com", True, True),
            ("sips:bob@example.com", False, False),
            ("sip:bob@example.com", True, False),
        ):
            self.assertEqual(as_uas(invite(uri=uri), "b", "<sips:b@h>", tls).secure, secure)

    def test_subscriber(self) -> None:
        """A NOTIFY, not the response, gives the route set (RFC 6665 §4.4.1)."""
        subscribe = invite(method="SUBSCRIBE")
        notify = Request.make(
            "NOTIFY",
            "sip:alice@192.0.2.1:5070",
            [
                ("From", "<sip:bob@example.com>;tag=n1"),
                ("To", "<sip:alice@example.org>;tag=a1"),
                ("Call-ID", "c1"),
                ("CSeq", "30 NOTIFY"),
                ("Record-Route", "<sip:p1;lr>"),
                ("Contact", "<sip:notifier@192.0.2.3>"),
            ],
        )
        dialog = as_subscriber(subscribe, 9, notify)
        self.assertEqual(dialog.id, ("c1", "a1", "n1"))
        sent = dialog.request("SUBSCRIBE", [])
        self.assertEqual(str(sent.cseq), "10 SUBSCRIBE")
        self.assertEqual(sent.uri, "sip:notifier@192.0.2.3")
        self.assertEqual(sent.values("Route"), ["<sip:p1;lr>"])
        self.assertEqual(sent.first("Contact"), "<sip:alice@192.0.2.1:5070>")
        self.assertEqual(dialog.remote_seq, 30)

    def test_establish(self) -> None:
        """The response that makes a dialog copies Record-Route as it is (RFC 3261 §12.1.1)."""
        request = invite(("Record-Route", "<sip:p1;lr>;x=1 , <sip:p2;lr>"))
        response = request.response(200, to_tag="b1")
        establish(request, response, "<sip:bob@192.0.2.9>")
        self.assertEqual(response.values("Record-Route"), request.values("Record-Route"))
        self.assertEqual(response.first("Contact"), "<sip:bob@192.0.2.9>")


class RouteTests(SynchronousTestCase):
    def dialog(self, *routes: str) -> Dialog:
        return Dialog("c", "<sip:a@x>", "1", "<sip:b@y>", "2", "sip:user@remoteua", list(routes))

    def test_strict_router(self) -> None:
        """The example of RFC 3261 §12.2.1.1."""
        sent = self.dialog("<sip:proxy1>", "<sip:proxy2>", "<sip:proxy3;lr>", "<sip:proxy4>")
        request = sent.request("BYE", [])
        self.assertEqual(request.uri, "sip:proxy1")
        self.assertEqual(
            request.values("Route"),
            ["<sip:proxy2>", "<sip:proxy3;lr>", "<sip:proxy4>", "<sip:user@remoteua>"],
        )

    def test_strict_router_parameters(self) -> None:
        """What a Request-URI may not have is stripped (RFC 3261 §12.2.1.1, §19.1.1)."""
        dialog = self.dialog("<sip:proxy1;transport=tcp;method=BYE?Subject=x>")
        self.assertEqual(dialog.request("BYE", []).uri, "sip:proxy1;transport=tcp")

    def test_loose_router(self) -> None:
        """A loose router leaves the target in the Request-URI (RFC 3261 §12.2.1.1)."""
        request = self.dialog("<sip:p1;lr>", "<sip:p2>").request("BYE", [])
        self.assertEqual(request.uri, "sip:user@remoteua")
        self.assertEqual(request.values("Route"), ["<sip:p1;lr>", "<sip:p2>"])

    def test_refresh_behind_strict_router(self) -> None:
        """A new target moves into the last Route, too."""
        dialog = self.dialog("<sip:proxy1>")
        dialog.accept(invite(contact="<sip:new@192.0.2.7>"))
        request = dialog.request("BYE", [])
        self.assertEqual(request.uri, "sip:proxy1")
        self.assertEqual(request.values("Route"), ["<sip:new@192.0.2.7>"])


class OrderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dialog = as_uas(invite(seq=7), "b1", "<sip:bob@192.0.2.9>")

    def test_lower(self) -> None:
        """A lower number is refused with 500 (RFC 3261 §12.2.2)."""
        error = self.assertRaises(PeerError, self.dialog.receive, invite(seq=6))
        self.assertEqual(error.status, 500)

    def test_equal(self) -> None:
        """Numbers strictly increase (RFC 3261 §12.2.1.1)."""
        error = self.assertRaises(PeerError, self.dialog.receive, invite(seq=7))
        self.assertEqual(error.status, 500)

    def test_gap(self) -> None:
        """A gap is no error (RFC 3261 §12.2.2)."""
        self.dialog.receive(invite(seq=100))
        self.assertEqual(self.dialog.remote_seq, 100)

    def test_ack(self) -> None:
        """ACK and CANCEL repeat the INVITE's number (RFC 3261 §12.2.1.1)."""
        self.dialog.receive(invite(seq=7, method="ACK"))
        self.dialog.receive(invite(seq=7, method="CANCEL"))
        self.assertEqual(self.dialog.remote_seq, 7)

    def test_first_from_peer(self) -> None:
        """An empty number takes whatever comes first (RFC 3261 §12.2.2)."""
        request = invite()
        dialog = as_uac(request, answer(request, 200, "b1", BOB))
        dialog.receive(invite(seq=0, method="BYE"))
        self.assertEqual(dialog.remote_seq, 0)

    def test_over(self) -> None:
        """After its end a dialog does not exist (RFC 3261 §12.2.2)."""
        self.dialog.end()
        error = self.assertRaises(PeerError, self.dialog.receive, invite(seq=8))
        self.assertEqual(error.status, 481)

    def test_exhausted(self) -> None:
        """No number reaches 2**31 (RFC 3261 §8.1.1.5)."""
        self.dialog.local_seq = 2**31 - 2
        self.assertEqual(self.dialog.request("BYE", []).cseq.number, 2**31 - 1)
        self.assertRaises(PeerError, self.dialog.request, "BYE", [])

    @given(lists(tuples(integers(0, 40), booleans()), max_size=40))
    def test_sequences(self, inputs: list[tuple[int, bool]]) -> None:
        """What is accepted strictly increases; what is sent goes up by one (§12.2.1.1)."""
        dialog = as_uas(invite(seq=7), "b1", "<sip:bob@192.0.2.9>")
        accepted = [7]
        sent: list[int] = []
        for number, ours in inputs:
            if ours:
                sent.append(dialog.request("MESSAGE", []).cseq.number)
                continue
            try:
                dialog.receive(invite(seq=number, method="MESSAGE"))
                accepted.append(number)
            except PeerError as error:
                self.assertEqual(error.status, 500)
                self.assertLessEqual(number, accepted[-1])
        self.assertEqual(accepted, sorted(set(accepted)))
        self.assertEqual(sent, list(range(1, len(sent) + 1)))


class TargetTests(SynchronousTestCase):
    def setUp(self) -> None:
        request = invite()
        self.dialog = as_uac(request, answer(request, 200, "b1", BOB))

    def test_request_refreshes(self) -> None:
        """Only target refresh requests move the target (RFC 3261 §12.2.2, RFC 6665 §3.2)."""
        moved = "<sip:bob@192.0.2.55>"
        self.dialog.accept(invite(seq=8, method="MESSAGE", contact=moved))
        self.assertEqual(self.dialog.remote_target, "sip:bob@192.0.2.9")
        for method in ("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY"):
            self.dialog.remote_target = "sip:old@h"
            self.dialog.accept(invite(seq=8, method=method, contact=moved))
            self.assertEqual(self.dialog.remote_target, "sip:bob@192.0.2.55")
            self.assertEqual(self.dialog.request("BYE", []).uri, "sip:bob@192.0.2.55")

    def test_refused_request_changes_nothing(self) -> None:
        """Receiving alone moves nothing: the request may be refused (RFC 3261 §12.2.2)."""
        self.dialog.receive(invite(seq=8, contact="<sip:bob@192.0.2.55>"))
        self.assertEqual(self.dialog.remote_target, "sip:bob@192.0.2.9")

    def test_response_refreshes(self) -> None:
        """A 2xx to our target refresh moves the target (RFC 3261 §12.2.1.2)."""
        moved = ("Contact", "<sip:bob@192.0.2.77>")
        bye = self.dialog.request("MESSAGE", [])
        self.assertTrue(self.dialog.answered(answer(bye, 200, "", moved)))
        self.assertEqual(self.dialog.remote_target, "sip:bob@192.0.2.9")
        again = self.dialog.request("INVITE", [])
        self.assertTrue(self.dialog.answered(answer(again, 488, "", moved)))
        self.assertEqual(self.dialog.remote_target, "sip:bob@192.0.2.9")
        again = self.dialog.request("INVITE", [])
        self.assertTrue(self.dialog.answered(answer(again, 200, "", moved)))
        self.assertEqual(self.dialog.remote_target, "sip:bob@192.0.2.77")

    def test_routes_stay(self) -> None:
        """A target refresh never changes the route set (RFC 3261 §12.2)."""
        self.dialog.accept(invite(("Record-Route", "<sip:p9;lr>"), seq=8))
        self.assertEqual(self.dialog.request("BYE", []).values("Route"), [])

    def test_credentials_take_a_number(self) -> None:
        """A request sent again with credentials takes the next number (RFC 3261 §22.2)."""
        request = self.dialog.request("INFO", [])
        repeated = request.copy()
        repeated.set("CSeq", f"{request.cseq.number + 1} INFO")
        self.dialog.answered(answer(repeated, 200, ""))
        self.assertEqual(self.dialog.request("INFO", []).cseq.number, request.cseq.number + 2)


class EndTests(SynchronousTestCase):
    @given(sampled_from([*range(300, 700, 7), 408, 481]))
    def test_which_responses_end_it(self, status: int) -> None:
        """481 and 408 end a dialog, nothing else does (RFC 3261 §12.2.1.2)."""
        request = invite()
        dialog = as_uac(request, answer(request, 200, "b1", BOB))
        alive = dialog.answered(answer(dialog.request("INFO", []), status, ""))
        self.assertEqual(alive, status not in (408, 481))
        self.assertEqual(dialog.state, CONFIRMED if alive else ENDED)

    def test_early_forks(self) -> None:
        """Forked early dialogs live side by side until the final response (§12.3, §13.2.2.4)."""
        request = invite()
        dialogs = Dialogs()
        for tag in ("b1", "b2", "b3"):
            early = as_uac(request, answer(request, 180, tag, BOB))
            self.assertEqual(early.state, EARLY)
            dialogs.add(early)
        self.assertEqual(len(dialogs), 3)
        final = answer(
            request,
            200,
            "b2",
            ("Record-Route", "<sip:p2;lr>,<sip:p1;lr>"),
            ("Contact", "<sip:bob@192.0.2.42>"),
        )
        winner = dialogs.find_response(final)
        assert winner is not None
        winner.confirm(final)
        self.assertEqual(dialogs.end_early("c1", "a1"), 2)
        self.assertEqual(dialogs.siblings("c1", "a1"), [winner])
        ack = winner.ack(request.cseq.number, [])
        self.assertEqual(str(ack.cseq), "7 ACK")
        self.assertEqual(ack.uri, "sip:bob@192.0.2.42")
        self.assertEqual(ack.values("Route"), ["<sip:p1;lr>", "<sip:p2;lr>"])
        self.assertEqual(winner.request("BYE", []).cseq.number, 8)

    def test_find(self) -> None:
        """Requests find their dialog by both tags and Call-ID, in either role (§12)."""
        dialogs = Dialogs()
        dialog = as_uas(invite(), "b1", "<sip:bob@192.0.2.9>")
        dialogs.add(dialog)
        bye = invite(method="BYE", seq=8, to_tag="b1")
        self.assertIs(dialogs.find(bye), dialog)
        self.assertEqual(incoming_id(bye), dialog.id)
        self.assertIsNone(dialogs.find(invite(method="BYE", seq=8, to_tag="b2")))
        ours = dialog.request("BYE", [])
        response = answer(ours, 200, "")
        self.assertEqual(response_id(response), dialog.id)
        self.assertIs(dialogs.find_response(response), dialog)
        dialogs.discard(dialog)
        dialogs.discard(dialog)
        self.assertEqual(len(dialogs), 0)
        self.assertIsNone(dialogs.find(bye))
