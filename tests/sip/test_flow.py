"""The path to one peer."""

from twisted.trial.unittest import SynchronousTestCase

from omaim.sip.flow import TCP, TLS, UDP, Flow


class FlowTests(SynchronousTestCase):
    def test_what_the_transport_tells(self) -> None:
        """UDP alone is unreliable, TLS alone is secure (RFC 3261 §18)."""
        found = []
        for transport in (UDP, TCP, TLS):
            flow = Flow(transport, "192.0.2.1", 5060, "192.0.2.2", 5060)
            found.append((flow.reliable, flow.secure))
        self.assertEqual(found, [(False, False), (True, False), (True, True)])

    def test_new(self) -> None:
        """A new flow is open, and nobody has proved anything on it."""
        flow = Flow(TLS, "192.0.2.1", 5061, "2001:db8::1", 40000, None, 7)
        self.assertTrue(flow.open)
        self.assertEqual((flow.identity, flow.peer_names), ("", ()))
        self.assertEqual(repr(flow), "<Flow 7 TLS 192.0.2.1:5061 to 2001:db8::1:40000>")

    def test_compared_by_identity(self) -> None:
        """Two connections between the same addresses are two flows (RFC 5626 §2)."""
        one = Flow(TCP, "192.0.2.1", 5060, "192.0.2.2", 5060)
        other = Flow(TCP, "192.0.2.1", 5060, "192.0.2.2", 5060)
        self.assertNotEqual(one, other)
        self.assertEqual(len({one, other, one}), 2)
