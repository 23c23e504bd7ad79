"""REGISTER at the core: proof, stores that fail, features that refuse."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail

from omaim.core.registered import Registration
from omaim.errors import Unavailable
from omaim.node.hooks import Refuse
from omaim.node.questions import MayRegister
from omaim.roles.user_agent import UserAgent
from omaim.sip.answering import Answerer
from omaim.sip.bindings import Binding
from omaim.sip.registration import ENDED
from omaim.sip.verifying import ATTEMPTS, PATIENCE
from omaim.stores.interfaces import Conflict
from tests.core.support import CORE, DOMAIN, CoreCase

BOB = f"sip:bob@{DOMAIN}"


class RegisterTests(CoreCase):
    """RFC 3261 §10.3; IMS-01, IMS-02, IMS-39."""

    def test_life(self) -> None:
        """A binding comes, is refreshed without a second challenge, and goes."""
        bob = self.phone("bob", 2)
        self.assertEqual(self.register(bob).status, 200)
        sent: list[bytes] = []
        self.core._node.taps.add_wire(lambda one: sent.append(one.data))
        self.clock.advance(1800.0)
        self.assertEqual(self.register(bob).status, 200)
        self.assertFalse(any(b" 401 " in data[:20] for data in sent))
        response = self.register(bob, ";expires=0")
        self.assertEqual((response.status, response.all("Contact")), (200, []))
        self.assertEqual(self.stores.bindings.count(), 0)

    def test_identities(self) -> None:
        """One REGISTER registers the whole set; barred ones are not told (TS 23.228 §4.3.3.4)."""
        self.put(self.person("bob", public=(BOB, "tel:+15550100"), barred=(f"sip:b@{DOMAIN}",)))
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        response = self.register(bob)
        self.assertEqual(response.all("P-Associated-URI"), [f"<{BOB}>", "<tel:+15550100>"])
        self.assertEqual(self.send(alice, "tel:+15550100").status, 200)

    def test_anothers(self) -> None:
        """Nobody registers somebody else's address (step 4)."""
        alice = self.phone("alice", 1)
        request = alice.agent.make("REGISTER", f"sip:{DOMAIN}", to=f"<{BOB}>")
        self.assertEqual(self.wait(alice.agent.request(request)).status, 403)

    def test_elsewhere(self) -> None:
        """An address of another domain is not ours to register (step 5)."""
        alice = self.phone("alice", 1)
        request = alice.agent.make("REGISTER", f"sip:{DOMAIN}", to="<sip:alice@else.example>")
        self.assertEqual(self.wait(alice.agent.request(request)).status, 404)

    def test_too_brief(self) -> None:
        """423 says how long it has to be (§10.3 step 7)."""
        response = self.register(self.phone("bob", 2), ";expires=5")
        self.assertEqual((response.status, response.first("Min-Expires")), (423, "60"))

    def test_lockout(self) -> None:
        """Many wrong answers make a user wait at that address, and only there."""
        for _ in range(ATTEMPTS):
            self.assertEqual(self.register_wrongly(9), 401)
        self.assertEqual(self.register_wrongly(9), 403)
        self.assertEqual(self.register(self.phone("bob", 2)).status, 200)
        self.clock.advance(PATIENCE + 1.0)
        self.assertEqual(self.register_wrongly(9), 401)

    def register_wrongly(self, number: int) -> int:
        """Register with a wrong password from 10.0.2.NUMBER; return the status."""
        host = f"10.0.2.{number}"
        endpoint = self.endpoint(host)
        agent = UserAgent(
            endpoint,
            BOB,
            credentials=Answerer(f"bob@{DOMAIN}", "wrong", endpoint.ids),
            routes=[f"<sip:{CORE};lr>"],
        )
        request = agent.make("REGISTER", f"sip:{DOMAIN}", [("Contact", f"<sip:bob@{host}>")])
        request.set("To", f"<{BOB}>")
        status: int = self.wait(agent.request(request)).status
        self.successResultOf(endpoint.stop())
        return status

    def test_hook(self) -> None:
        """A feature may refuse a registration."""

        async def never(question: MayRegister) -> Refuse:
            return Refuse(403, f"not from {question.source}")

        self.core._node.hooks.add(MayRegister, "never", never)
        self.assertEqual(self.register(self.phone("bob", 2)).status, 403)
        self.assertEqual(self.stores.bindings.count(), 0)


class StoreTests(CoreCase):
    """Stores that fail, or that another node writes to as well."""

    def setUp(self) -> None:
        super().setUp()
        self.bindings = self.core.registrar._bindings = Stubborn(self.stores.bindings)  # type: ignore[assignment]
        self.bob = self.phone("bob", 2)

    def test_faster(self) -> None:
        """Another node was faster: both bindings stand."""
        other = Binding(BOB, "sip:bob@10.0.1.99", "x", 1, self.clock.now() + 600)
        self.bindings.before = lambda: self.stores.bindings.replace(BOB, 0, [other])
        response = self.register(self.bob)
        self.assertEqual((response.status, len(response.contacts)), (200, 2))

    def test_always_faster(self) -> None:
        """A store that never yields is like one that is away."""
        self.bindings.error = Conflict("again")
        response = self.register(self.bob)
        self.assertEqual((response.status, response.first("Retry-After")), (503, "5"))

    def test_away(self) -> None:
        """503 with Retry-After, and nothing has changed (RFC 3261 §21.5.4)."""
        self.bindings.error = Unavailable("no disk")
        response = self.register(self.bob)
        self.assertEqual((response.status, response.first("Retry-After")), (503, "5"))
        self.bindings.error = None
        self.assertEqual(self.register(self.bob).status, 200)

    def test_defect(self) -> None:
        """A defect is a 500."""
        self.bindings.error = RuntimeError("defect")
        self.assertEqual(self.register(self.bob).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class Stubborn:
    """A binding store with a will of its own.

    Attributes:
        before: done before the first write.
        error: what every write fails with.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.before: Any = None
        self.error: Exception | None = None

    def replace(self, *args: Any) -> Deferred[int]:
        if self.error is not None:
            return fail(self.error)
        before, self.before = self.before, None
        if before is not None:
            before()
        result: Deferred[int] = self.inner.replace(*args)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Slow:
    """A binding store that says late that its first write is done.

    Attributes:
        writing: what it then says.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.writing: list[Deferred[int]] = []
        self.slow = True

    def replace(self, *args: Any) -> Deferred[int]:
        result: Deferred[int] = self.inner.replace(*args)
        if self.slow:
            self.slow = False
            result = Deferred()
            self.writing.append(result)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class FlowIdentityTests(CoreCase):
    """Users who are known by the connection on which they registered."""

    settings = {"authenticate": "flow"}

    def test_flow(self) -> None:
        """Over TCP nobody is challenged after REGISTER; over UDP, and for others, all are."""
        bob = self.phone("bob", 2)
        self.register(bob)
        alice = self.phone("alice", 1, route=f"<sip:{CORE};transport=tcp;lr>")
        self.register(alice)
        alice.agent.credentials = None
        self.assertEqual(self.send(alice, BOB).status, 200)
        carol = {"From": f"<sip:carol@{DOMAIN}>;tag=1"}
        self.assertEqual(self.send(alice, BOB, replace=carol).status, 407)
        alice.agent.credentials = Answerer(f"alice@{DOMAIN}", "alice", alice.agent.endpoint.ids)
        self.assertEqual(self.send(alice, BOB, replace=carol).status, 403)
        alice.agent.credentials = Answerer(f"carol@{DOMAIN}", "carol", alice.agent.endpoint.ids)
        self.assertEqual(self.send(alice, BOB, replace=carol).status, 200)
        alice.agent.credentials = None
        alice.agent.routes = (f"<sip:{CORE};lr>",)
        self.assertEqual(self.send(alice, BOB).status, 407)


class ExpiryTests(CoreCase):
    def test_noticed_by_fetching(self) -> None:
        """Followers hear of a lapse also when a REGISTER that only asks is first to see it."""
        bob = self.phone("bob", 2)
        self.register(bob, ";expires=60")
        heard: list[Registration] = []
        self.core.registrar.followers.append(heard.append)
        self.core._sweeper.stop()
        self.clock.advance(61.0)
        request = bob.agent.make("REGISTER", f"sip:{DOMAIN}", to=f"<{BOB}>")
        self.assertEqual(self.wait(bob.agent.request(request)).all("Contact"), [])
        self.assertEqual(
            [(one.kind, [change.event for change in one.changes]) for one in heard],
            [(ENDED, ["expired"])],
        )
        self.core._sweeper.start(1.0, now=False)


class SharedFlowTests(CoreCase):
    def test_lost(self) -> None:
        """A connection that several users shared ends the bindings of all (RFC 5626 §7)."""
        endpoint = self.endpoint("10.0.1.9")
        for number, name in enumerate(("alice", "bob")):
            aor = f"sip:{name}@{DOMAIN}"
            answerer = Answerer(f"{name}@{DOMAIN}", name, endpoint.ids)
            route = f"<sip:{CORE};transport=tcp;lr>"
            agent = UserAgent(endpoint, aor, credentials=answerer, routes=[route])
            instance = f'+sip.instance="<urn:uuid:00000000-0000-4000-8000-00000000000{number}>"'
            contact = f"<sip:{name}@10.0.1.9;transport=tcp;ob>;{instance};reg-id=1"
            fields = [("Contact", contact), ("Supported", "path, outbound")]
            request = agent.make("REGISTER", f"sip:{DOMAIN}", fields, to=f"<{aor}>")
            self.assertEqual(self.wait(agent.request(request)).first("Require"), "outbound")
        self.assertEqual(self.stores.bindings.count(), 2)
        self.network.reset("10.0.1.9")
        self.clock.advance(1.0)
        self.assertEqual(self.stores.bindings.count(), 0)

    def test_lost_meanwhile(self) -> None:
        """A connection that goes while the store writes leaves no binding either."""
        store = Slow(self.stores.bindings)
        self.core.registrar._bindings = store  # type: ignore[assignment]
        alice = self.phone("alice", 1, route=f"<sip:{CORE};transport=tcp;lr>")
        instance = ';+sip.instance="<urn:uuid:00000000-0000-4000-8000-000000000001>";reg-id=1'
        fields = [
            ("Contact", f"<sip:alice@10.0.1.1;transport=tcp;ob>{instance}"),
            ("Supported", "path, outbound"),
        ]
        request = alice.agent.make("REGISTER", f"sip:{DOMAIN}", fields, to=f"<sip:alice@{DOMAIN}>")
        Deferred.fromCoroutine(alice.agent.request(request)).addErrback(lambda failure: None)
        self.clock.advance(1.0)
        self.assertEqual((len(store.writing), self.stores.bindings.count()), (1, 1))
        self.network.reset("10.0.1.1")
        self.clock.advance(1.0)
        store.writing.pop().callback(1)
        self.clock.advance(1.0)
        self.assertEqual(self.stores.bindings.count(), 0)
        self.assertEqual(self.core.registrar._by_flow, {})


class PrivacyTests(CoreCase):
    def test_critical(self) -> None:
        """Privacy that we cannot give is refused when it is critical (RFC 3323 §5)."""
        alice, bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(bob)
        for value, status in (("header;critical", 500), ("id;critical", 200), ("none", 200)):
            response = self.send(alice, BOB, headers=[("Privacy", value)])
            self.assertEqual(response.status, status, value)
