"""The transport layer without its sockets: flows over UDP, what is written, what has come."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from omaim.ids import Ids
from omaim.sip.arriving import Arrivals
from omaim.sip.flow import Flow
from omaim.sip.front import Front
from omaim.sip.matching import Transactions
from omaim.sip.parser import BadMessage, Limits
from omaim.sip.timing import Timing
from omaim.sip.transaction import ServerTransaction
from omaim.sip.transport import FLOWS, Arriving, DatagramPaths, Departing, Watch
from omaim.sip.user import TransactionUser
from omaim.timers import Deadlines, Wakeup

HERE, PORT = "192.0.2.1", 5060
PEER = ("192.0.2.2", 40000)
OPTIONS = (
    b"OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:40000;branch=z9hG4bK1\r\n"
    b"From: <sip:b@b>;tag=1\r\nTo: <sip:a@a>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
)


class PathsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sent: list[tuple[bytes, object]] = []
        self.serial = 0

    def paths(self, host: str = HERE) -> DatagramPaths:
        paths = DatagramPaths(self.next)
        paths.bind(host, PORT, Front("UDP", host, PORT), self.send)
        return paths

    def next(self) -> int:
        self.serial += 1
        return self.serial

    def send(self, data: bytes, address: object) -> bool:
        self.sent.append((data, address))
        return True

    def test_one_each(self) -> None:
        """A peer has one flow, whether it wrote first or we did; what is sent by it arrives."""
        paths = self.paths()
        self.assertIsNone(paths.known(*PEER))
        flow = paths.to(*PEER)
        self.assertIs(paths.known(*PEER), flow)
        self.assertIs(paths.flow(PEER), flow)
        self.assertTrue(flow.send(b"x"))
        self.assertEqual(self.sent, [(b"x", PEER)])
        self.assertIsNot(paths.to("192.0.2.2", 40001), flow)

    def test_ipv6(self) -> None:
        """An IPv6 peer is known by the address that its socket gives, with its zeros."""
        paths = self.paths("2001:db8::1")
        flow = paths.to("2001:db8::2", 5060)
        self.assertIs(paths.flow(("2001:db8::2", 5060, 0, 0)), flow)
        flow.send(b"x")
        self.assertEqual(self.sent, [(b"x", ("2001:db8::2", 5060, 0, 0))])

    def test_bounded(self) -> None:
        """However many peers write, a bounded number of flows is kept."""
        paths = self.paths()
        first = paths.to(*PEER)
        for port in range(FLOWS):
            paths.to("192.0.2.3", port)
        self.assertIsNone(paths.known(*PEER))
        self.assertIsNot(paths.to(*PEER), first)

    def test_unbound(self) -> None:
        """Before there is a socket nothing is delivered."""
        self.assertFalse(DatagramPaths(self.next).to(*PEER).send(b"x"))


class DepartingTests(SynchronousTestCase):
    def test_written(self) -> None:
        """What leaves is shown to who looks; what cannot leave is reported."""
        watch = Watch()
        shown: list[bytes] = []
        lost: list[bytes] = []
        departing = Departing(
            watch, lambda flow, data: shown.append(data), lambda flow, data: lost.append(data)
        )
        flow = Flow("UDP", HERE, PORT, *PEER)
        departing.write(flow, b"1")
        flow.send = lambda data: True
        departing.write(flow, b"2")
        watch.on = True
        departing.write(flow, b"3")
        flow.open = False
        departing.write(flow, b"4")
        self.assertEqual((shown, lost), ([b"3"], [b"1", b"4"]))


class ArrivingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.requests: list[ServerTransaction] = []
        self.bad: list[tuple[int, int]] = []
        self.counted: list[str] = []
        self.shown: list[bytes] = []
        self.planned: list[float] = []
        self.watch = Watch()
        deadlines = Deadlines()
        transactions = Transactions(
            Timing(),
            Ids(1),
            deadlines,
            lambda flow, data: None,
            TransactionUser(self.requests.append),
        )
        paths = DatagramPaths(lambda: 1)
        paths.bind(HERE, PORT, Front("UDP", HERE, PORT), lambda data, address: True)
        arrivals = Arrivals(transactions, set(), lambda address, flow: None, lambda via, flow: None)
        self.arriving = Arriving(
            paths,
            arrivals,
            Limits(),
            lambda: 7.0,
            Wakeup(deadlines, self.planned.append),
            self.watch,
            lambda data, flow: data.startswith(b"\1"),
            lambda flow, data: self.shown.append(data),
            self.note_bad,
            self.counted.append,
        )

    def note_bad(self, error: BadMessage, flow: Flow, size: int) -> None:
        self.bad.append((error.status, size))

    def test_request(self) -> None:
        """A request goes up with the flow that it came by, and its deadline is kept."""
        self.arriving.received(OPTIONS, PEER)
        (one,) = self.requests
        self.assertEqual((one.flow.remote_host, one.flow.remote_port), PEER)
        self.assertEqual(len(self.planned), 1)
        self.assertEqual((self.shown, self.bad, self.counted), ([], [], []))

    def test_bad(self) -> None:
        """What is no good message is reported with its size; somebody else's answer counted."""
        self.arriving.received(b"nonsense", PEER)
        self.assertEqual(self.bad, [(400, 8)])
        response = OPTIONS.replace(b"OPTIONS sip:a@192.0.2.1 SIP/2.0", b"SIP/2.0 200 OK")
        self.arriving.received(response, PEER)
        self.arriving.received(b"\r\n\r\n", PEER)
        self.assertEqual(self.counted, ["response_foreign", "keepalive"])
        self.assertEqual(self.requests, [])

    def test_foreign(self) -> None:
        """What begins as no SIP message does may be somebody else's (RFC 5626 §8)."""
        self.watch.on = True
        self.arriving.received(b"\1 not for us", PEER)
        self.assertEqual((self.shown, self.bad), ([], []))
        self.arriving.received(b"\0", PEER)
        self.assertEqual((self.shown, self.counted), ([b"\0"], ["keepalive"]))

    def test_more_address(self) -> None:
        """An address may have more than host and port, as IPv6 ones have."""
        self.arriving.received(OPTIONS, ("fe80::2", 40000, 0, 3))
        self.assertEqual(self.requests[0].flow.remote_host, "fe80::2")
