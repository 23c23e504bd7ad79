"""Two endpoints and a bad link between them: what the transactions promise, whatever is lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.ids import Ids
from omaim.sip.accepted import AcceptedInvite
from omaim.sip.flow import Flow
from omaim.sip.matching import Transactions
from omaim.sip.message import Request, Response
from omaim.sip.parser import parse_datagram
from omaim.sip.timing import Timing
from omaim.sip.transaction import ServerTransaction
from omaim.sip.transitions import SEND
from omaim.sip.user import TransactionUser
from omaim.testing.machines import Link, Timeline

TIMING = Timing()


@dataclass(frozen=True)
class Call:
    """One request of a scenario: when it is sent and what the other side makes of it."""

    method: str
    at: float
    ringing: float  # seconds until a 180, INVITE only
    answered: float  # seconds until the final answer
    status: int
    cancelled: float  # seconds until the caller has enough, INVITE only; none when negative


@dataclass
class Seen:
    """What the users of both sides saw of one call."""

    finals: list[Response] = field(default_factory=list)
    requests: int = 0
    ended: int = 0


CALLS = st.builds(
    Call,
    st.sampled_from(["MESSAGE", "INVITE"]),
    st.floats(0.0, 5.0),
    st.floats(0.0, 3.0),
    st.floats(0.0, 6.0),
    st.sampled_from([200, 202, 302, 404, 486, 503, 603]),
    st.one_of(st.just(-1.0), st.floats(0.0, 8.0)),
)


class Network:
    """A caller and a callee whose datagrams suffer."""

    def __init__(
        self,
        calls: list[Call],
        seed: int,
        loss: float,
        repeats: float,
        slowest: float,
        transport: str = "UDP",
    ) -> None:
        self.calls = calls
        self.seen = [Seen() for _ in calls]
        self.time = Timeline()
        self.ids = Ids(seed)
        self.pending: dict[int, AcceptedInvite] = {}
        self.to_callee = Flow(transport, "192.0.2.1", 5060, "192.0.2.2", 5060)
        self.to_caller = Flow(transport, "192.0.2.2", 5060, "192.0.2.1", 5060)
        self.there: Link[bytes] = Link(
            self.time, self._at_callee, seed, loss, repeats, (0.0, slowest)
        )
        self.back: Link[bytes] = Link(
            self.time, self._at_caller, seed + 1, loss, repeats, (0.0, slowest)
        )
        self.caller = Transactions(
            TIMING,
            self.ids,
            self.time.deadlines,
            lambda flow, data: self.there.send(data),
            TransactionUser(self._no_request),
        )
        self.callee = Transactions(
            TIMING,
            self.ids,
            self.time.deadlines,
            lambda flow, data: self.back.send(data),
            TransactionUser(self._on_request, self._on_ack, self._on_cancel),
        )
        for number, call in enumerate(calls):
            self.time.later(call.at, lambda number=number: self._call(number))  # type: ignore[misc]

    def _at_callee(self, data: bytes) -> None:
        message = parse_datagram(data)
        assert isinstance(message, Request)
        self.callee.receive(message, self.to_caller, self.time.now)

    def _at_caller(self, data: bytes) -> None:
        message = parse_datagram(data)
        assert isinstance(message, Response)
        self.caller.receive(message, self.to_callee, self.time.now)

    # The caller.

    def _no_request(self, transaction: ServerTransaction) -> None:
        raise AssertionError("nobody calls the caller")

    def _call(self, number: int) -> None:
        call = self.calls[number]
        request = self._request(call.method, number)
        transaction = self.caller.start(
            request,
            self.to_callee,
            lambda response: self._on_response(number, response),
            lambda: self._on_end(number),
            self.time.now,
        )
        # A ringing INVITE has no timer of its own: its user must lose patience (Timer C).
        for patience in (call.cancelled, TIMING.c):
            if patience >= 0.0:
                self.time.later(patience, lambda: self.caller.cancel(transaction, self.time.now))

    def _request(self, method: str, number: int) -> Request:
        return Request.make(
            method,
            "sip:bob@b.example",
            [
                ("Via", f"SIP/2.0/UDP a.example;branch={self.ids.branch()}"),
                ("From", f"<sip:alice@a.example>;tag={number}"),
                ("To", "<sip:bob@b.example>"),
                ("Call-ID", f"call-{number}"),
                ("CSeq", f"1 {method}"),
            ],
        )

    def _on_response(self, number: int, response: Response) -> None:
        if response.status < 200:
            return
        self.seen[number].finals.append(response)
        if self.calls[number].method == "INVITE" and response.status < 300:
            self.there.send(self._request("ACK", number).to_bytes())

    def _on_end(self, number: int) -> None:
        self.seen[number].ended += 1

    # The callee.

    def _on_request(self, transaction: ServerTransaction) -> None:
        number = int(transaction.request.from_.tag)
        call = self.calls[number]
        self.seen[number].requests += 1
        if transaction.invite:
            self.time.later(call.ringing, lambda: self._reply(transaction, 180, number))
        self.time.later(call.answered, lambda: self._reply(transaction, call.status, number))

    def _reply(self, transaction: ServerTransaction, status: int, number: int) -> None:
        if transaction.answered:
            return
        response = transaction.request.response(status, None, self.callee.tag_of(transaction))
        self.callee.respond(transaction, response, self.time.now)
        if transaction.invite and 200 <= status < 300:

            def act(machine: AcceptedInvite, now: float) -> None:
                if machine.take() & SEND:
                    self.callee.respond(transaction, response, now)

            machine = AcceptedInvite(TIMING, self.time.now, act)
            self.pending[number] = machine
            self.time.deadlines.arm(machine)

    def _on_ack(self, request: Request, flow: Flow) -> None:
        pending = self.pending.get(int(request.from_.tag))
        if pending is not None:  # else it is about an error answer that Timer H gave up
            pending.acknowledged(self.time.now)

    def _on_cancel(self, transaction: ServerTransaction, cancel: Request) -> None:
        self.callee.reply(transaction, 487, self.time.now)


class LossyTests(SynchronousTestCase):
    def check(self, network: Network, perfect: bool) -> None:
        network.time.run()
        for call, seen in zip(network.calls, network.seen, strict=True):
            self.assertLessEqual(seen.requests, 1)
            self.assertEqual(seen.ended, 1)
            statuses = [response.status for response in seen.finals]
            self.assertGreaterEqual(len(statuses), 1)
            if call.method == "INVITE" and statuses[0] < 300:
                self.assertEqual(set(statuses), {call.status})
                self.assertEqual({one.to.tag for one in seen.finals}, {seen.finals[0].to.tag})
            else:
                self.assertEqual(len(statuses), 1)
            expected = {call.status, 408}
            if call.method == "INVITE":
                expected.add(487)
            if perfect:
                self.assertEqual(seen.requests, 1)
                expected.discard(408)
                if call.cancelled < 0.0:
                    expected.discard(487)
            self.assertIn(statuses[0], expected)
            if statuses[0] not in (408, 487):
                self.assertFalse(seen.finals[0].local)
        self.assertEqual(network.caller.client_count, 0)
        self.assertEqual(network.callee.server_count, 0)
        self.assertEqual(len(network.time.deadlines), 0)
        # The longest way: a ringing INVITE, cancelled late, its 487 lost, all timers run out.
        self.assertLessEqual(network.time.now, 5.0 + TIMING.c + 4 * 64 * TIMING.t1)

    @given(
        st.lists(CALLS, min_size=1, max_size=4),
        st.integers(0, 2**32),
        st.floats(0.0, 0.9),
        st.floats(0.0, 0.5),
        st.floats(0.0, 0.45),
    )
    def test_lossy(
        self, calls: list[Call], seed: int, loss: float, repeats: float, slowest: float
    ) -> None:
        """However many datagrams are lost, repeated and overtaken: the callee's user sees a
        request once, the caller's user one final answer, and nothing is left over
        (RFC 3261 §17; delays below T1, as it assumes)."""
        self.check(Network(calls, seed, loss, repeats, slowest), False)

    @given(st.lists(CALLS, min_size=1, max_size=4), st.integers(0, 2**32))
    def test_perfect(self, calls: list[Call], seed: int) -> None:
        """Over a perfect link every answer is the callee's own, over UDP as over TCP."""
        for transport in ("UDP", "TCP"):
            network = Network(calls, seed, 0.0, 0.0, 0.0, transport)
            self.check(network, True)

    def test_dead(self) -> None:
        """When nothing gets through, each request fails once, after the repeats of the RFC."""
        calls = [Call(method, 0.0, 1.0, 1.0, 200, 3.0) for method in ("MESSAGE", "INVITE")]
        network = Network(calls, 1, 1.0, 0.0, 0.0)
        self.check(network, False)
        self.assertEqual(len(network.there.offered), 11 + 7)
        self.assertEqual([seen.finals[0].status for seen in network.seen], [408, 408])

    def test_one_way(self) -> None:
        """When no answer gets back, the callee still sees each request once."""
        calls = [Call(method, 0.0, 1.0, 0.0, 404, -1.0) for method in ("MESSAGE", "INVITE")]
        network = Network(calls, 1, 0.0, 0.0, 0.0)
        network.back = Link(network.time, network._at_caller, 1, 1.0)
        self.check(network, False)
        self.assertEqual([seen.requests for seen in network.seen], [1, 1])
        self.assertEqual([seen.finals[0].status for seen in network.seen], [408, 408])
