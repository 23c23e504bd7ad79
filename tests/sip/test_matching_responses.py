"""Which transaction a response belongs to, and what ends one that gets none."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.ids import Ids
from omaim.sip.matching import Transactions
from omaim.sip.message import Request
from omaim.sip.timing import Timing
from omaim.sip.user import TransactionUser
from tests.sip.matching import BRANCH, Side, make, tcp, udp


class ResponseTests(SynchronousTestCase):
    def test_once(self) -> None:
        """A repeated final response goes no higher; after Timer K it is a stray (§17.1.2.2)."""
        side = Side()
        request = make()
        side.start(request)
        side.receive(request.response(100))
        side.receive(request.response(200, None, "t"))
        side.receive(request.response(200, None, "t"))
        self.assertEqual(side.statuses(), [100, 200])
        side.time.run(4.9)
        self.assertEqual((side.counts(), side.ended), ((0, 1), []))
        side.time.run(5.0)
        self.assertEqual((side.counts(), side.ended), ((0, 0), [5.0]))
        side.receive(request.response(200, None, "t"))
        self.assertEqual((len(side.strays), side.statuses()), (1, [100, 200]))

    def test_what_matches(self) -> None:
        """The branch and the CSeq method have to match (§17.1.3)."""
        side = Side()
        side.start(make())
        side.receive(make(branch="z9hG4bKtwo").response(200))
        side.receive(make("OPTIONS").response(200))
        side.receive(make("CANCEL").response(200))
        self.assertEqual((len(side.strays), side.responses), (3, []))

    def test_timeout(self) -> None:
        """No answer becomes a local 408 (§17.1.2.2, §8.1.3.1)."""
        side = Side()
        side.start(make())
        side.time.run()
        self.assertEqual(side.taken(), ["MESSAGE"] * 11)
        self.assertEqual(side.statuses(), [408])
        self.assertTrue(side.responses[0].local)
        self.assertEqual(side.ended, [32.0])
        self.assertEqual((side.counts(), len(side.time.deadlines)), ((0, 0), 0))

    def test_ack(self) -> None:
        """An error answer to INVITE is acknowledged each time it comes (§17.1.1.3)."""
        side = Side()
        invite = make("INVITE", extra=(("Route", "<sip:p.example;lr>"), ("Route", "<sip:q;lr>")))
        path = udp()
        side.start(invite, path)
        side.receive(invite.response(180))
        side.sent.clear()
        for _ in range(3):
            side.receive(invite.response(486, None, "t"))
        self.assertEqual(side.statuses(), [180, 486])
        ack = side.last()
        assert isinstance(ack, Request)
        self.assertEqual((ack.uri, str(ack.cseq), ack.to.tag), (invite.uri, "1 ACK", "t"))
        for name in ("Via", "From", "Call-ID", "Route"):
            self.assertEqual(ack.all(name), invite.all(name), name)
        self.assertTrue(all(flow is path for flow, _ in side.sent))
        self.assertEqual(side.taken(), ["ACK"] * 3)
        side.time.run(31.9)
        self.assertEqual(side.counts(), (0, 1))
        side.time.run(32.0)
        self.assertEqual(side.counts(), (0, 0))

    def test_ack_has_one_via(self) -> None:
        """A proxy's ACK and CANCEL have only its own Via (§17.1.1.3, §9.1)."""
        side = Side()
        invite = make("INVITE", extra=(("Via", "SIP/2.0/UDP first.example;branch=z9hG4bKzero"),))
        side.transactions.cancel(side.start(invite), 0.0)
        side.receive(invite.response(180))
        self.assertEqual(len(side.last().vias), 1)
        side.receive(invite.response(487, None, "t"))
        self.assertEqual(len(side.last().vias), 1)
        self.assertEqual(side.taken(), ["INVITE", "CANCEL", "ACK"])

    def test_forked(self) -> None:
        """Every 2xx of an INVITE is the user's, and acknowledged by it (RFC 6026 §7.2)."""
        side = Side()
        invite = make("INVITE")
        side.start(invite)
        side.sent.clear()
        for tag in ("x", "y", "x"):
            side.receive(invite.response(200, None, tag))
        side.receive(invite.response(486, None, "z"))
        side.time.run(31.9)
        side.receive(invite.response(200, None, "late"))
        self.assertEqual([one.to.tag for one in side.responses], ["x", "y", "x", "late"])
        side.time.run(32.0)
        side.receive(invite.response(200, None, "too late"))
        self.assertEqual((len(side.strays), side.sent), (1, []))

    def test_over_tcp(self) -> None:
        """Over TCP nothing is repeated and Timers D and K are zero."""
        side = Side()
        message, invite = make(), make("INVITE", "z9hG4bKtwo")
        side.start(message, tcp())
        side.start(invite, tcp())
        side.time.run(31.0)
        self.assertEqual(side.taken(), ["MESSAGE", "INVITE"])
        side.receive(message.response(200, None, "t"), tcp())
        side.receive(invite.response(486, None, "t"), tcp())
        self.assertEqual((side.taken(), side.counts()), (["ACK"], (0, 0)))

    def test_timeout_over_tcp(self) -> None:
        """Timers B and F run over TCP too (§17.1.1.2, §17.1.2.2)."""
        side = Side()
        side.start(make(), tcp())
        side.start(make("INVITE", "z9hG4bKtwo"), tcp())
        side.time.run(31.9)
        self.assertEqual(side.responses, [])
        side.time.run(32.0)
        self.assertEqual((side.statuses(), side.counts()), ([408, 408], (0, 0)))

    def test_branch_in_use(self) -> None:
        """A branch is good for one transaction (§8.1.1.7)."""
        side = Side()
        side.start(make())
        self.assertRaises(UsageError, side.start, make())
        self.assertEqual(side.counts(), (0, 1))

    def test_lost_connection(self) -> None:
        """What waits on a broken connection fails with a local 503; the rest does not (§17.1.4)."""
        side = Side()
        broken, other = tcp(), tcp()
        ringing = make("INVITE", "z9hG4bK4")
        side.start(make(), broken)
        side.start(make(branch="z9hG4bK2"), other)
        side.start(make(branch="z9hG4bK3"))
        side.start(ringing, broken)
        side.receive(ringing.response(180))
        side.transactions.transport_error(broken, 1.0)
        side.transactions.transport_error(broken, 1.0)
        self.assertEqual(side.statuses(), [180, 503])
        self.assertTrue(side.responses[1].local)
        self.assertEqual(side.responses[1].via.branch, BRANCH)
        # The INVITE rings on: its answer may come by another connection (§18.2.2).
        self.assertEqual(side.counts(), (0, 3))

    def test_unreachable(self) -> None:
        """A peer found unreachable by datagrams fails what waits for it (§18.4)."""
        side = Side()
        side.start(make())
        side.start(make(branch="z9hG4bK2"), udp("192.0.2.3"))
        side.transactions.transport_error(udp(), 1.0)
        self.assertEqual((side.statuses(), side.counts()), ([503], (0, 1)))

    def test_hopeless(self) -> None:
        """On a closed flow, or over the limit, the local 503 comes after start() returned."""
        closed = tcp()
        closed.open = False
        for side, flow in ((Side(), closed), (Side(maximum=0), udp())):
            side.start(make(), flow)
            self.assertEqual((side.responses, side.sent), ([], []))
            side.time.run(0.0)
            self.assertEqual((side.statuses(), len(side.ended)), ([503], 1))
            side.time.run()
            self.assertEqual((side.counts(), len(side.time.deadlines)), ((0, 0), 0))

    def test_error_while_sending(self) -> None:
        """A network that reports failure from within send() breaks nothing."""
        side = Side()
        flow = tcp()
        side.transactions = Transactions(
            Timing(),
            Ids(1),
            side.time.deadlines,
            lambda flow, data: side.transactions.transport_error(flow, 0.0),
            TransactionUser(side.requests.append),
        )
        side.start(make(), flow)
        self.assertEqual((side.statuses(), side.counts()), ([503], (0, 0)))
        side.time.run()
        self.assertEqual(len(side.responses), 1)
