"""Those who mean no good, or come in crowds: the core keeps its head and its memory."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.features.ratelimit import Config as LimitConfig
from omaim.features.ratelimit import ratelimit
from omaim.node.hooks import Refuse
from omaim.node.questions import MayAsk
from omaim.sip.admission import SOURCES, Admission
from omaim.sip.flow import Flow
from omaim.testing.network import Link
from tests.core.support import CORE, DOMAIN, CoreCase

BOB = f"sip:bob@{DOMAIN}"


def flow(host: str, transport: str = "UDP") -> Flow:
    """Return a flow from ``host``."""
    return Flow(transport, CORE, 5060, host, 5060)


class AdmissionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 100.0

    def admission(self, rate: float = 1.0, burst: float = 3.0) -> Admission:
        """Return one on our clock."""
        return Admission(rate, burst, lambda: self.now)

    def test_burst(self) -> None:
        """A source gets its burst, then as many as the rate allows."""
        admission = self.admission()
        found = [admission.may_answer(flow("10.9.9.9")) for _ in range(5)]
        self.assertEqual(found, [True, True, True, False, False])
        self.now += 2.0
        found = [admission.may_answer(flow("10.9.9.9")) for _ in range(3)]
        self.assertEqual(found, [True, True, False])
        self.assertTrue(admission.may_answer(flow("10.9.9.8")))
        self.assertEqual(admission.refused, 3)

    def test_streams(self) -> None:
        """A stream cannot have a forged source."""
        admission = self.admission()
        self.assertTrue(all(admission.may_answer(flow("10.9.9.9", "TCP")) for _ in range(9)))

    def test_off(self) -> None:
        """Rate 0 is no limit."""
        admission = self.admission(0.0)
        self.assertTrue(all(admission.may_answer(flow("10.9.9.9")) for _ in range(9)))

    @given(proofs=st.integers(1, 50))
    def test_proof(self, proofs: int) -> None:
        """Who answers each challenge is never limited, and leaves nothing behind."""
        admission = self.admission()
        for _ in range(proofs):
            self.assertTrue(admission.may_answer(flow("10.9.9.9")))
            admission.proved(flow("10.9.9.9"))
        self.assertEqual(len(admission), 0)

    def test_memory(self) -> None:
        """Any number of forged sources need bounded memory."""
        admission = self.admission()
        for number in range(SOURCES + 100):
            admission.may_answer(flow(str(number)))
        self.assertEqual(len(admission), SOURCES)


REGISTER = (
    "REGISTER sip:north.example SIP/2.0\r\n"
    "Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{n}\r\n"
    "From: <sip:alice@north.example>;tag={n}\r\n"
    "To: <sip:alice@north.example>\r\n"
    "Call-ID: {n}\r\n"
    "CSeq: 1 {method}\r\n"
    "Contact: <sip:alice@{host}>\r\n"
    "Content-Length: 0\r\n\r\n"
)


class FloodTests(CoreCase):
    settings = {"challenge_rate": 10.0, "challenge_burst": 20.0, "max_pending": 30}

    def flood(self, count: int, host: str = "10.9.9.9", method: str = "REGISTER") -> list[bytes]:
        """Send requests without proof from a source that may be forged; return the answers."""
        heard: list[bytes] = []
        socket = self.network.listen_datagram(host, 5060, lambda data, source: heard.append(data))
        for number in range(count):
            text = REGISTER.format(host=host, n=number, method=method)
            if method != "REGISTER":
                text = text.replace("REGISTER sip:", f"{method} sip:bob@", 1)
            socket.send(text.encode(), (CORE, 5060))
        self.clock.advance(1.0)
        socket.close()
        return heard

    def test_registers(self) -> None:
        """A flood of REGISTERs leaves no transactions and few answers (§26.3.2.4)."""
        for method in ("REGISTER", "MESSAGE", "INVITE"):
            heard = self.flood(1000, f"10.9.9.{len(method)}", method)
            self.assertEqual(len(heard), 20, method)
            transactions = self.core.endpoint.transactions
            self.assertEqual(transactions.server_count, 0, method)
        self.clock.advance(60.0)
        self.assertEqual(self.core.router._forwarder.upstream.pending, 0)

    def test_others_are_served(self) -> None:
        """Meanwhile everybody else registers as ever, and the same address when it proves."""
        self.flood(1000)
        bob = self.phone("bob", 2)
        for _ in range(40):
            self.assertEqual(self.register(bob).status, 200)

    def test_strangers_refusals(self) -> None:
        """What is refused without proof is limited as well."""
        heard: list[bytes] = []
        socket = self.network.listen_datagram("10.9.9.9", 5060, lambda d, s: heard.append(d))
        for number in range(100):
            text = REGISTER.format(host="10.9.9.9", n=number, method="MESSAGE")
            text = text.replace("REGISTER sip:", "MESSAGE sip:bob@", 1)
            text = text.replace("From: <sip:alice@north.example>", "From: <sip:x@evil.example>")
            socket.send(text.encode(), (CORE, 5060))
        self.clock.advance(1.0)
        socket.close()
        self.assertEqual(len(heard), 20)
        self.assertTrue(all(b" 403 " in data for data in heard))

    def test_questions(self) -> None:
        """So are requests to the core itself, and REGISTERs that lead nowhere."""
        for host, change in (
            ("10.9.9.1", ("REGISTER sip:north", "OPTIONS sip:north")),
            ("10.9.9.2", ("To: <sip:alice@north", "To: <sip:alice@elsewhere")),
        ):
            heard: list[bytes] = []
            socket = self.network.listen_datagram(host, 5060, lambda d, s, h=heard: h.append(d))  # type: ignore[misc]
            for number in range(100):
                method = change[1].partition(" ")[0] if "OPTIONS" in change[1] else "REGISTER"
                text = REGISTER.format(host=host, n=number, method=method).replace(*change)
                socket.send(text.encode(), (CORE, 5060))
            self.clock.advance(1.0)
            socket.close()
            self.assertEqual(len(heard), 20)

    def test_overload(self) -> None:
        """More than fit are told when to come back (RFC 3261 §21.5.4)."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        bob.answer = 0
        self.assertEqual(self.send(alice, f"sip:{DOMAIN}", "OPTIONS").status, 200)
        for _ in range(40):
            self.start(alice, BOB).addErrback(lambda failure: None)
            self.clock.advance(0.01)
        response = self.send(alice, BOB)
        self.assertEqual(response.status, 503)
        self.assertEqual(response.first("Retry-After"), "5")
        self.assertLessEqual(self.core.router._forwarder.upstream.pending, 30)
        bob.answer = 200
        self.clock.advance(120.0)
        self.assertEqual(self.core.router._forwarder.upstream.pending, 0)
        self.assertEqual(self.send(alice, BOB).status, 200)

    def test_replay(self) -> None:
        """A request that was proved once proves nothing again (RFC 7616 §5.5)."""
        sent: list[bytes] = []
        self.core._node.taps.add_wire(
            lambda one: sent.append(one.data) if b"Proxy-Authorization" in one.data else None
        )
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        self.assertEqual(self.send(alice, BOB).status, 200)
        (message,) = [data for data in sent if data.startswith(b"MESSAGE")][:1]
        heard: list[bytes] = []
        socket = self.network.listen_datagram("10.9.9.9", 5060, lambda d, s: heard.append(d))
        again = message.replace(b"branch=z9hG4bK", b"branch=z9hG4bKx").replace(
            b"10.0.1.1:5060", b"10.9.9.9:5060"
        )
        socket.send(again, (CORE, 5060))
        self.clock.advance(1.0)
        self.assertIn(b" 407 ", heard[-1][:20])
        self.assertEqual(len(bob.got), 1)


class RestartTests(CoreCase):
    """What outlives the process, and what must not."""

    def test_secret(self) -> None:
        """The secret is made once and kept."""
        documents = self.stores.documents
        (document,) = self.successResultOf(documents.under("secrets/"))
        _, second = self.make_core("10.0.0.5", self.stores)
        self.assertEqual(self.successResultOf(documents.under("secrets/")), (document,))
        self.assertIsNot(second, self.core)

    def test_nonces(self) -> None:
        """A nonce from before a restart is stale, not wrong: a client asks nobody (§22.4)."""
        bob = self.phone("bob", 2)
        self.register(bob)
        self.successResultOf(self.core.endpoint.stop())
        self.clock.advance(5.0)
        _, core = self.make_core(CORE, self.stores)
        sent: list[bytes] = []
        core._node.taps.add_wire(lambda one: sent.append(one.data))
        self.assertEqual(self.register(bob).status, 200)
        self.assertTrue(any(b"stale=true" in data for data in sent))

    def test_stale_twice(self) -> None:
        """Two restarts within one request cost it two more rounds; nobody is told that the
        password is wrong (RFC 7616 §3.3)."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        self.assertEqual(self.send(alice, BOB).status, 200)
        self.network.between("10.0.1.1", CORE, Link(delay=1.0))
        core = self.core
        sending = None
        for after in (10.0, 2.5):
            self.clock.advance(after)
            self.successResultOf(core.endpoint.stop())
            _, core = self.make_core(CORE, self.stores)
            sending = sending or self.start(alice, BOB)
        assert sending is not None
        sent: list[bytes] = []
        core._node.taps.add_wire(lambda one: sent.append(one.data))
        self.assertEqual(self.wait(sending).status, 200)
        self.assertTrue(any(b"stale=true" in data for data in sent))

    def test_bindings(self) -> None:
        """Bindings outlive the process, GRUUs too."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        instance = ';+sip.instance="<urn:uuid:00000000-0000-4000-8000-000000000001>"'
        response = self.register(bob, instance, [("Supported", "gruu")])
        gruu = response.contacts[0].params.get("temp-gruu")
        assert gruu
        self.successResultOf(self.core.endpoint.stop())
        self.make_core(CORE, self.stores)
        self.assertEqual(self.send(alice, BOB).status, 200)
        self.assertEqual(self.send(alice, gruu).status, 200)


class PeopleTests(CoreCase):
    """The people file while the core runs."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.write("alice", "bob")
        self.settings = {"people": self.path}
        super().setUp()

    def write(self, *names: str) -> None:
        """Write the file."""
        with open(self.path, "w", encoding="utf-8") as file:
            for name in names:
                file.write(f'[[person]]\nprivate = "{name}@{DOMAIN}"\npassword = "{name}"\n')

    def test_reload(self) -> None:
        """Who is new may come in; who is gone is out at once."""
        bob = self.phone("bob", 2)
        self.register(bob)
        self.write("alice", "dave")
        self.assertEqual(self.wait(self.core.reload()), 2)
        self.assertEqual(self.stores.bindings.count(), 0)
        self.assertEqual(self.register(self.phone("dave", 4)).status, 200)
        self.assertEqual(self.register(bob).status, 401)

    def test_noticed(self) -> None:
        """The core looks at the file by itself; a broken one changes nothing."""
        self.write("alice", "dave")
        os.utime(self.path, (5, 5))
        self.clock.advance(10.0)
        self.assertEqual(self.register(self.phone("dave", 4)).status, 200)
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("[[person]\n")
        os.utime(self.path, (6, 6))
        self.clock.advance(10.0)
        self.assertEqual(self.register(self.phone("alice", 1)).status, 200)


class RateLimitTests(CoreCase):
    """The feature that lets each address make so many requests only."""

    def ask(self, config: LimitConfig, host: str, at: float) -> Any:
        """Return the feature's opinion."""
        question = MayAsk(domain=DOMAIN, method="MESSAGE", transport="UDP", host=host, at=at)
        return self.wait(ratelimit(question, config))

    def test_rate(self) -> None:
        """Burst, then the rate; each address for itself."""
        config = LimitConfig(rate=1.0, burst=2.0)
        found = [self.ask(config, "10.9.9.9", 0.0) for _ in range(3)]
        self.assertEqual([one is None for one in found], [True, True, False])
        self.assertIsNone(self.ask(config, "10.9.9.9", 1.0))
        self.assertIsNone(self.ask(config, "10.9.9.8", 1.0))

    def test_in_core(self) -> None:
        """The core refuses with 503 and says when to come back."""
        config = LimitConfig(rate=0.1, burst=1.0)
        self.core._node.hooks.add(MayAsk, "ratelimit", lambda asked: ratelimit(asked, config))
        alice = self.phone("alice", 1)
        response = self.send(alice, BOB)
        self.assertEqual(response.status, 503)
        self.assertIsInstance(self.ask(config, "10.0.1.1", self.clock.seconds()), Refuse)
