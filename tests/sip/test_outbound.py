"""Flow tokens and the keep-alives of client-initiated connections (RFC 5626)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError, UsageError
from omaim.sip.flow import TCP, TLS, UDP, Flow
from omaim.sip.outbound import FlowTokens, flow_failed, keep_alive_after

KEY = b"a key for the tests of flows"
HOSTS = st.sampled_from(["192.0.2.1", "2001:db8::1", "127.0.0.1"])
FLOWS = st.builds(
    Flow,
    st.sampled_from([UDP, TCP, TLS]),
    HOSTS,
    st.integers(1, 65535),
    HOSTS,
    st.integers(1, 65535),
    st.none(),
    st.integers(0, 2**40),
)
FRACTIONS = st.floats(0, 1, exclude_max=True)


class FlowTokenTests(SynchronousTestCase):
    @given(FLOWS, FLOWS)
    def test_round_trip(self, flow: Flow, other: Flow) -> None:
        """A token names its flow and no other, and fits into a user part (§5.2)."""
        tokens = FlowTokens(KEY)
        token = tokens.make(flow)
        self.assertTrue(token.replace("-", "a").replace("_", "a").isalnum())
        self.assertTrue(tokens.open(token).names(flow))
        same = tokens.make(flow) == tokens.make(other)
        if not same and (flow.reliable or repr(flow)[9:] != repr(other)[9:]):
            self.assertEqual(tokens.open(token).names(other), _alike(flow, other))

    def test_new_connection(self) -> None:
        """A new connection between the same addresses is another flow, UDP is not (§2)."""
        tokens = FlowTokens(KEY)
        for transport, same in ((TCP, False), (UDP, True)):
            old = Flow(transport, "192.0.2.1", 5060, "192.0.2.2", 4000, None, 1)
            new = Flow(transport, "192.0.2.1", 5060, "192.0.2.2", 4000, None, 2)
            self.assertEqual(tokens.open(tokens.make(old)).names(new), same)

    def test_next_process(self) -> None:
        """A datagram flow outlives the process that named it; a connection does not."""
        here, later = FlowTokens(KEY, KEY[::-1]), FlowTokens(KEY * 2, KEY[::-1])
        for transport, same in ((TCP, False), (UDP, True)):
            flow = Flow(transport, "192.0.2.1", 5060, "192.0.2.2", 4000, None, 1)
            if same:
                self.assertTrue(later.open(here.make(flow)).names(flow))
            else:
                self.assertRaises(PeerError, later.open, here.make(flow))

    @given(FLOWS, st.data())
    def test_forged(self, flow: Flow, data: st.DataObject) -> None:
        """An altered token, one of another key and junk are 403 (§5.3.1)."""
        token = FlowTokens(KEY).make(flow)
        place = data.draw(st.integers(0, len(token) - 2))
        char = data.draw(st.sampled_from("AZaz09-_").filter(lambda c: c != token[place]))
        junk = data.draw(st.text(max_size=500))
        for text in (token[:place] + char + token[place + 1 :], token[1:], junk):
            error = self.assertRaises(PeerError, FlowTokens(KEY).open, text)
            self.assertEqual(error.status, 403)
        self.assertRaises(PeerError, FlowTokens(KEY[::-1]).open, token)
        self.assertRaises(UsageError, FlowTokens, b"short")

    def test_failed(self) -> None:
        """A flow that is gone is answered 430 (§5.3.1)."""
        self.assertEqual(flow_failed().status, 430)


def _alike(one: Flow, other: Flow) -> bool:
    pairs = (
        (one.transport, other.transport),
        (one.local_host, other.local_host),
        (one.local_port, other.local_port),
        (one.remote_host, other.remote_host),
        (one.remote_port, other.remote_port),
        (one.serial if one.reliable else 0, other.serial if one.reliable else 0),
    )
    return all(mine == theirs for mine, theirs in pairs)


class KeepAliveTests(SynchronousTestCase):
    @given(FRACTIONS, st.integers(1, 10000))
    def test_keep_alive(self, fraction: float, timer: int) -> None:
        """80 to 100 % of the Flow-Timer, else 95 to 120 or 24 to 29 s; a Flow-Timer makes datagrams
        no rarer, as they keep a NAT awake, too (§4.4).
        """
        self.assertTrue(0.8 * timer <= keep_alive_after(fraction, True, timer) <= timer)
        self.assertTrue(95.0 <= keep_alive_after(fraction, True) <= 120.0)
        self.assertTrue(24.0 <= keep_alive_after(fraction, False) <= 29.0)
        self.assertTrue(0.8 * min(timer, 29) <= keep_alive_after(fraction, False, timer))
        self.assertLessEqual(keep_alive_after(fraction, False, timer), min(timer, 29))
