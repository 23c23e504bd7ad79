"""Finding servers (RFC 3263) and choosing among SRV records (RFC 2782)."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.ids import Ids
from omaim.sip.locating import (
    AAAA,
    MOST_TARGETS,
    NAPTR,
    SRV,
    A,
    Answer,
    Locating,
    Naptr,
    Srv,
    Target,
    is_numeric,
)

ALL = ("UDP", "TCP", "TLS")
ZONE = {
    ("example.com", NAPTR): Answer(
        naptr=[
            Naptr(100, 50, "s", "SIP+D2U", "", "_sip._udp.example.com"),
            Naptr(50, 50, "s", "SIPS+D2T", "", "_sips._tcp.example.com."),
            Naptr(90, 50, "S", "sip+d2t", "", "_sip._tcp.example.com"),
            Naptr(10, 10, "s", "SIP+D2S", "", "_sip._sctp.example.com"),
            Naptr(10, 10, "u", "E2U+sip", "!^.*$!sip:x!", "."),
        ]
    ),
    ("_sips._tcp.example.com", SRV): Answer(srv=[Srv(0, 0, 5061, "s1.example.com")]),
    ("_sip._tcp.example.com", SRV): Answer(srv=[Srv(0, 0, 5060, "s1.example.com")]),
    ("_sip._udp.example.com", SRV): Answer(
        srv=[Srv(1, 0, 5070, "s2.example.com."), Srv(0, 0, 5060, "s1.example.com")]
    ),
    ("s1.example.com", A): Answer(addresses=["10.0.0.1"]),
    ("s1.example.com", AAAA): Answer(addresses=["2001:db8::1"]),
    ("s2.example.com", A): Answer(addresses=["10.0.0.2"]),
    ("old.example", A): Answer(addresses=["10.0.0.3", "10.0.0.4"]),
    ("_sip._tcp.half.example", SRV): Answer(srv=[Srv(0, 0, 5062, "s1.example.com")]),
    ("_sip._udp.closed.example", SRV): Answer(srv=[Srv(0, 0, 0, ".")]),
    ("closed.example", A): Answer(addresses=["10.0.0.9"]),
}


def search(
    host: str,
    port: int = 0,
    transport: str = "",
    secure: bool = False,
    supported: tuple[str, ...] = ALL,
    families: tuple[str, ...] = (A,),
    zone: dict[tuple[str, str], Answer] = ZONE,
    ids: Ids | None = None,
) -> list[tuple[str, str, int]]:
    """Return what is found when the DNS holds ``zone``."""
    machine = Locating(secure, host, port, transport, supported, ids or Ids(1), families)
    for _ in range(5):
        for name, kind in list(machine.wanted):
            machine.answer(name, kind, zone.get((name, kind), Answer()))
    assert not machine.wanted
    return [(target.transport, target.host, target.port) for target in machine.targets]


class LocatingTests(SynchronousTestCase):
    def test_numeric(self) -> None:
        """An address is used as it is: UDP, or TLS for sips (RFC 3263 §4.1, §4.2)."""
        self.assertEqual(search("10.1.1.1"), [("UDP", "10.1.1.1", 5060)])
        self.assertEqual(search("10.1.1.1", secure=True), [("TLS", "10.1.1.1", 5061)])
        self.assertEqual(search("10.1.1.1", 7, "tcp"), [("TCP", "10.1.1.1", 7)])
        self.assertEqual(search("10.1.1.1", 0, "tcp", True), [("TLS", "10.1.1.1", 5061)])
        for spelling in ("[2001:db8::9]", "[2001:DB8:0:0::9]"):  # RFC 5952 §2
            found = search(spelling, families=(A, AAAA))
            self.assertEqual(found, [("UDP", "2001:db8::9", 5060)])

    def test_family_we_lack(self) -> None:
        """An address of a family that we do not have leads nowhere."""
        self.assertEqual(search("[2001:db8::9]"), [])

    def test_port(self) -> None:
        """A name with a port needs its addresses only, all of them in order (§4.2)."""
        found = search("old.example", 5062)
        self.assertEqual(found, [("UDP", "10.0.0.3", 5062), ("UDP", "10.0.0.4", 5062)])

    def test_naptr(self) -> None:
        """NAPTR orders the transports; what we do not speak is skipped (§4.1)."""
        found = search("example.com")
        expected = [
            ("TLS", "10.0.0.1", 5061),
            ("TCP", "10.0.0.1", 5060),
            ("UDP", "10.0.0.1", 5060),
            ("UDP", "10.0.0.2", 5070),
        ]
        self.assertEqual(found, expected)
        self.assertEqual(search("example.com", supported=("UDP",)), expected[2:])

    def test_sips_only_secure(self) -> None:
        """For sips, only SIPS services count (§4.1)."""
        self.assertEqual(search("example.com", secure=True), [("TLS", "10.0.0.1", 5061)])
        self.assertEqual(search("example.com", secure=True, supported=("UDP", "TCP")), [])
        self.assertEqual(search("example.com", 0, "udp", True), [])

    def test_transport_without_port(self) -> None:
        """A given transport goes straight to its SRV name (§4.2)."""
        machine = Locating(False, "example.com", 0, "UDP", ALL, Ids(1), (A,))
        self.assertEqual(machine.wanted, [("_sip._udp.example.com", SRV)])
        found = search("example.com", 0, "udp")
        self.assertEqual(found, [("UDP", "10.0.0.1", 5060), ("UDP", "10.0.0.2", 5070)])
        self.assertEqual(search("example.com", 0, "tls"), [("TLS", "10.0.0.1", 5061)])

    def test_no_naptr(self) -> None:
        """Without NAPTR each transport's SRV name is asked for (§4.1)."""
        self.assertEqual(search("half.example"), [("TCP", "10.0.0.1", 5062)])

    def test_addresses_only(self) -> None:
        """Without NAPTR and SRV: UDP, or TLS for sips, at the default port (§4.1, §4.2)."""
        found = search("old.example.")
        self.assertEqual(found, [("UDP", "10.0.0.3", 5060), ("UDP", "10.0.0.4", 5060)])
        self.assertEqual(search("old.example", secure=True)[0], ("TLS", "10.0.0.3", 5061))

    def test_decidedly_not_here(self) -> None:
        """An SRV target of "." ends the search (RFC 2782)."""
        self.assertEqual(search("closed.example", 0, "udp"), [])

    def test_nothing(self) -> None:
        """An unknown name or transport leads nowhere."""
        self.assertEqual(search("nobody.example"), [])
        self.assertEqual(search("example.com", 0, "sctp"), [])

    def test_families(self) -> None:
        """Addresses come in the order of the families we like."""
        found = search("s1.example.com", 5060, families=(AAAA, A))
        self.assertEqual([host for _, host, _ in found], ["2001:db8::1", "10.0.0.1"])

    def test_domain(self) -> None:
        """A target remembers who was asked for: that is whom TLS has to prove (RFC 5922)."""
        machine = Locating(True, "Example.COM", 0, "", ALL, Ids(1), (A,))
        for _ in range(4):
            for question in list(machine.wanted):
                machine.answer(*question, ZONE.get(question, Answer()))
        self.assertEqual(machine.targets, [Target("TLS", "10.0.0.1", 5061, "example.com")])

    def test_unasked_answer(self) -> None:
        """An answer to a question that was not asked changes nothing."""
        machine = Locating(False, "old.example", 5060, "", ALL, Ids(1), (A,))
        machine.answer("evil.example", A, Answer(addresses=["10.6.6.6"]))
        machine.answer("old.example", A, ZONE["old.example", A])
        machine.answer("old.example", A, Answer(addresses=["10.6.6.6"]))
        self.assertEqual(machine.targets[0].host, "10.0.0.3")

    def test_numeric_hosts(self) -> None:
        """Numbers are told from names."""
        for host in ("1.2.3.4", "[::1]", "::1", "255.255.255.255"):
            self.assertTrue(is_numeric(host))
        for host in ("a.b", "1.2.3", "1.2.3.256", "1.2.3.4.5", "", "1.2.3.x", "1.2.3.٤"):
            self.assertFalse(is_numeric(host))


class WeightTests(SynchronousTestCase):
    def first(self, weights: list[int], runs: int = 2000) -> Counter[int]:
        """Return how often each record comes first."""
        records = [Srv(0, weight, 5000 + at, "s1.example.com") for at, weight in enumerate(weights)]
        zone = {**ZONE, ("_sip._udp.w.example", SRV): Answer(srv=records)}
        ids = Ids(7)
        return Counter(
            search("w.example", 0, "udp", zone=zone, ids=ids)[0][2] - 5000 for _ in range(runs)
        )

    def test_proportional(self) -> None:
        """Within a priority the share follows the weight (RFC 2782)."""
        chosen = self.first([10, 30, 60])
        for at, share in enumerate((0.1, 0.3, 0.6)):
            self.assertLess(abs(chosen[at] / 2000 - share), 0.05)

    def test_zero_weight_is_rare(self) -> None:
        """A record of weight 0 beside others has a very small chance (RFC 2782)."""
        self.assertLess(self.first([0, 100])[0] / 2000, 0.05)

    @given(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 65535)), max_size=12), st.integers()
    )
    def test_all_in_order_of_priority(self, records: list[tuple[int, int]], seed: int) -> None:
        """Whatever chance does, each record comes once, by priority (RFC 2782)."""
        srv = [
            Srv(priority, weight, 5000 + at, "s1.example.com")
            for at, (priority, weight) in enumerate(records)
        ]
        zone = {**ZONE, ("_sip._udp.w.example", SRV): Answer(srv=srv)}
        found = search("w.example", 0, "udp", zone=zone, ids=Ids(seed))
        order = [records[port - 5000][0] for _, _, port in found]
        self.assertEqual(order, sorted(order))
        self.assertEqual(len(found), len(records))

    @given(st.data())
    def test_any_zone_ends(self, data: st.DataObject) -> None:
        """Whatever the DNS says, the search ends, with a bounded number of good targets."""
        names = st.sampled_from(["example.com", "a.example", "", ".", "10.0.0.1", "_sip._udp.x"])
        number = st.integers(0, 65535)
        answers = st.builds(
            Answer,
            st.lists(
                st.builds(
                    Naptr,
                    number,
                    number,
                    st.sampled_from(["s", "a", ""]),
                    st.sampled_from(["SIP+D2U", "SIPS+D2T", "junk"]),
                    st.just(""),
                    names,
                ),
                max_size=40,
            ),
            st.lists(st.builds(Srv, number, number, number, names), max_size=40),
            st.lists(st.just("10.0.0.1") | st.just("::1"), max_size=40),
        )
        machine = Locating(data.draw(st.booleans()), "example.com", 0, "", ALL, Ids(1))
        for _ in range(4):
            for name, kind in list(machine.wanted):
                machine.answer(name, kind, data.draw(answers))
        self.assertEqual(machine.wanted, [])
        self.assertLessEqual(len(machine.targets), MOST_TARGETS)
        self.assertTrue(all(0 < target.port < 65536 for target in machine.targets))
