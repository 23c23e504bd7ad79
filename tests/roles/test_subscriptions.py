"""Watcher and notifier over the simulated network, and once over loopback."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from omaim.errors import PeerError, Unavailable
from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.net.network import ReactorNetwork
from omaim.roles.incoming import Incoming
from omaim.roles.notifier import Notifier
from omaim.roles.packages import ALLOWED, UNDECIDED, EventPackage, Served, State
from omaim.roles.user_agent import UserAgent
from omaim.roles.watcher import Refused, Watcher
from omaim.sip.message import Request, Response
from omaim.sip.subscribing import ACTIVE, PENDING, TERMINATED, Moved
from omaim.sip.subscription import Terms
from omaim.testing.network import Link
from tests.roles.support import PASSWORD, Roles, Server

BOARD = "sip:board@10.0.0.1"
TYPE = "application/x-counter"


class Counter(EventPackage):
    """A package whose state is a number for each resource."""

    def __init__(self, terms: Terms | None = None) -> None:
        super().__init__("counter", (TYPE, "text/plain"), terms)
        self.numbers: dict[str, int] = {}
        self.verdict: Any = ALLOWED
        self.slow = False
        self.gone: list[str] = []
        self.fulls: list[bool] = []

    def authorize(self, incoming: Incoming, resource: str) -> Any:
        if isinstance(self.verdict, Exception):
            raise self.verdict
        if isinstance(self.verdict, bool):
            return self.verdict
        return self.verdict()

    def state(self, served: Served, full: bool) -> Any:
        self.fulls.append(full)
        number = self.numbers.get(served.resource, 0)
        if number < 0:
            raise ZeroDivisionError("a defect in a package")
        state = State(b"%d" % number, served.content_type)
        if not self.slow:
            return state

        async def later() -> State:
            return state

        return later()

    def ended(self, served: Served) -> None:
        self.gone.append(served.watcher)


class SubscriptionTests(Roles):
    def setUp(self) -> None:
        super().setUp()
        self.board = self.agent("10.0.0.1", "board")
        self.notifier = Notifier(self.board)
        self.counter = Counter(Terms(least=0))
        self.notifier.serve(self.counter)
        self.alice = self.agent("10.0.0.2", "alice")
        self.watcher = Watcher(self.alice)
        self.bodies: list[bytes] = []
        self.states: list[tuple[int, str, int]] = []

    def heard(self, notify: Request) -> None:
        self.bodies.append(notify.body)

    def moved(self, moved: Moved) -> None:
        self.states.append((moved.state, moved.reason, moved.status))

    def watch(self, target: str = BOARD, event: str = "counter", **named: Any) -> Any:
        named.setdefault("on_state", self.moved)
        return self.watcher.watch(target, event, self.heard, **named)

    def change(self, number: int) -> int:
        self.counter.numbers[BOARD] = number
        return self.notifier.changed("counter", BOARD)

    def test_life(self) -> None:
        """Subscribe, first state, change, unsubscribe (RFC 6665 §1.1)."""
        watch = self.watch()
        self.clock.advance(1.0)
        self.assertEqual((watch.state, self.bodies), (ACTIVE, [b"0"]))
        (served,) = self.notifier.watchers("counter", BOARD)
        self.assertEqual((served.watcher, served.active), ("sip:alice@example.com", True))
        self.assertEqual(self.change(7), 1)
        self.clock.advance(1.0)
        self.wait(watch.stop())
        self.assertEqual(self.bodies, [b"0", b"7", b"7"])
        self.assertEqual(self.counter.fulls, [True, False, True])
        self.assertEqual((len(self.notifier), len(self.watcher)), (0, 0))
        self.assertEqual(self.counter.gone, ["sip:alice@example.com"])
        self.assertEqual(self.change(8), 0)

    def test_kept(self) -> None:
        """A subscription lives as long as it is wanted (RFC 6665 §4.1.2.2)."""
        watch = self.watch(expires=600)
        self.clock.advance(86400.0)
        self.assertEqual((watch.state, len(self.notifier)), (ACTIVE, 1))
        self.assertEqual([state for state, _, _ in self.states].count(TERMINATED), 0)
        self.change(3)
        self.clock.advance(1.0)
        self.assertEqual(self.bodies[-1], b"3")

    def test_lossy(self) -> None:
        """Half of all datagrams lost: a change arrives all the same."""
        self.network.link = Link(delay=0.01, jitter=0.05, loss=0.5, duplicate=0.2, reorder=0.2)
        watch = self.watch(expires=600)
        self.clock.advance(4000.0)
        self.network.link = Link()
        self.clock.advance(4000.0)
        self.change(42)
        self.clock.advance(5.0)
        self.assertEqual((watch.state, self.bodies[-1]), (ACTIVE, b"42"))
        self.assertEqual(len(self.notifier), 1)

    def test_credentials(self) -> None:
        """A challenged SUBSCRIBE is repeated, and its dialog counts on (RFC 3261 §22.2)."""
        guard = Server(self.agent("10.0.0.9"))
        bob = self.agent("10.0.0.3", "bob", PASSWORD)
        watcher = Watcher(bob)

        async def guarded(incoming: Incoming) -> Response | None:
            refusal = guard.guarded(incoming)
            return refusal or await self.notifier.receive(incoming)

        self.board.on("SUBSCRIBE", guarded, dialogs=True)
        watch = watcher.watch(BOARD, "counter", self.heard, expires=600)
        self.clock.advance(2000.0)
        self.assertEqual(watch.state, ACTIVE)
        self.wait(watch.stop())
        self.assertEqual(len(self.notifier), 0)

    def test_fetch(self) -> None:
        """A fetch brings the state once (RFC 6665 §4.4.3)."""
        self.counter.numbers[BOARD] = 5
        notify = self.wait(self.watcher.fetch(BOARD, "counter"))
        self.assertEqual(notify.body, b"5")
        self.assertEqual((len(self.notifier), len(self.watcher)), (0, 0))
        refused = self.watcher.fetch(BOARD, "unknown")
        self.assertEqual(self.assertRaises(Refused, self.wait, refused).status, 489)
        silent = self.watcher.fetch("sip:nobody@10.0.0.66", "counter")
        self.assertEqual(self.assertRaises(Refused, self.wait, silent).status, 408)

    def test_unknown_package(self) -> None:
        """489 names what is served (RFC 6665 §4.2.1.1, RFC 3903 table 2)."""
        request = self.alice.make("SUBSCRIBE", BOARD, [("Event", "unknown")])
        response = self.wait(self.alice.request(request))
        self.assertEqual((response.status, response.values("Allow-Events")), (489, ["counter"]))
        self.watch(event="unknown")
        self.clock.advance(10000.0)
        self.assertEqual(self.states[-1], (TERMINATED, "refused", 489))

    def test_refused(self) -> None:
        """The package's refusal is the answer (RFC 6665 §4.2.1.3)."""
        self.counter.verdict = PeerError("not you", 403)
        self.watch()
        self.clock.advance(1.0)
        self.assertEqual(self.states[-1], (TERMINATED, "refused", 403))
        self.assertEqual((len(self.notifier), len(self.watcher), self.bodies), (0, 0, []))

    def test_slow_verdict(self) -> None:
        """A verdict may take a while."""
        waiting: Deferred[bool] = Deferred()
        self.counter.verdict = lambda: waiting
        watch = self.watch()
        self.clock.advance(3.0)
        self.assertEqual(self.bodies, [])
        waiting.callback(ALLOWED)
        self.clock.advance(1.0)
        self.assertEqual((watch.state, self.bodies), (ACTIVE, [b"0"]))

    def test_pending(self) -> None:
        """Undecided is pending without state, until decided (RFC 6665 §4.2.2)."""
        self.counter.verdict = UNDECIDED
        one, two = self.watch(), self.watch()
        self.clock.advance(1.0)
        self.assertEqual((one.state, two.state, self.bodies), (PENDING, PENDING, [b"", b""]))
        self.change(4)
        first, second = self.notifier.watchers("counter", BOARD)
        self.notifier.decide(first, True)
        self.notifier.decide(second, False)
        self.clock.advance(1.0)
        self.assertEqual({one.state, two.state}, {ACTIVE, TERMINATED})
        self.assertEqual(self.bodies[2:], [b"4", b""])
        self.assertIn((TERMINATED, "rejected", 0), self.states)
        self.clock.advance(10000.0)
        self.assertEqual(len(self.notifier), 1)

    def test_accept(self) -> None:
        """The body is of a type that was accepted, or it is 406 (RFC 6665 §4.1.2.1)."""
        self.watch(accept=["text/*"])
        self.watch(accept=["text/plain;q=0.3", TYPE + ";q=0.2"])
        self.watch()
        self.clock.advance(1.0)
        kinds = [served.content_type for served in self.notifier.watchers("counter", BOARD)]
        self.assertEqual(sorted(kinds), sorted(["text/plain", "text/plain", TYPE]))
        self.watch(accept=["image/png"])
        self.clock.advance(1.0)
        self.assertEqual(self.states[-1], (TERMINATED, "refused", 406))

    def test_too_brief(self) -> None:
        """423 carries Min-Expires, and the watcher follows (RFC 6665 §4.2.1.1)."""
        self.counter.terms = Terms(least=900)
        watch = self.watch(expires=60)
        self.clock.advance(1.0)
        self.assertEqual(watch.state, ACTIVE)
        (served,) = self.notifier.watchers("counter", BOARD)
        self.assertEqual(served.machine.granted, 900)

    def test_notifier_moves(self) -> None:
        """After "deactivated" the watcher subscribes anew (RFC 6665 §4.4.2)."""
        watch = self.watch()
        self.clock.advance(100.0)
        old = self.notifier.watchers("counter", BOARD)[0].machine.dialog.id
        self.notifier.terminate_all()
        self.clock.advance(1.0)
        (served,) = self.notifier.watchers("counter", BOARD)
        self.assertEqual(watch.state, ACTIVE)
        self.assertNotEqual(served.machine.dialog.id[0], old[0])

    def test_notifier_forgot(self) -> None:
        """A notifier that restarted answers 481; the watcher subscribes anew (§4.1.2.2)."""
        watch = self.watch(expires=600)
        self.clock.advance(10.0)
        again = Notifier(self.board)
        again.serve(self.counter)
        self.clock.advance(300.0)
        self.assertEqual((watch.state, len(again)), (ACTIVE, 1))

    def test_watcher_gone(self) -> None:
        """A subscriber that does not answer is forgotten (RFC 6665 §4.2.2)."""
        self.watch()
        self.clock.advance(1.0)
        self.network.cut("10.0.0.2")
        self.change(1)
        self.clock.advance(33.0)
        self.assertEqual(len(self.notifier), 0)

    def test_watcher_forgot(self) -> None:
        """A subscriber that answers 481 is forgotten (RFC 6665 §4.2.2)."""
        self.watch()
        self.clock.advance(1.0)
        Watcher(self.alice)
        self.change(1)
        self.clock.advance(1.0)
        self.assertEqual((len(self.notifier), self.bodies), (0, [b"0"]))

    def test_stray_notify(self) -> None:
        """A NOTIFY of no subscription is 481 (RFC 6665 §4.1.3)."""
        request = self.board.make(
            "NOTIFY",
            "sip:alice@10.0.0.2",
            [("Event", "counter"), ("Subscription-State", "active")],
            to="<sip:alice@10.0.0.2>;tag=x",
        )
        self.assertEqual(self.wait(self.board.request(request)).status, 481)

    def test_not_understood(self) -> None:
        """What the watcher's package cannot take is answered so; a defect does no harm."""

        def picky(notify: Request) -> None:
            raise PeerError("not this type", 415)

        def broken(notify: Request) -> None:
            raise ZeroDivisionError("a defect")

        self.watcher.watch(BOARD, "counter", picky)
        self.watcher.watch(BOARD, "counter", broken)
        self.clock.advance(1.0)
        self.assertEqual(len(self.notifier), 2)  # 415 does not end it (RFC 6665 §4.2.2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_package_broken(self) -> None:
        """A package without state keeps the protocol going."""
        self.counter.numbers[BOARD] = -1
        watch = self.watch()
        self.clock.advance(1.0)
        self.assertEqual((watch.state, self.bodies), (ACTIVE, [b""]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_slow_state(self) -> None:
        """State may take a while, too."""
        self.counter.slow = True
        self.watch()
        self.clock.advance(1.0)
        self.change(9)
        self.clock.advance(1.0)
        self.assertEqual(self.bodies, [b"0", b"9"])

    def test_crowd(self) -> None:
        """A crowd of watchers is served in turns, everyone once."""
        notifier = Notifier(self.board, most_each=1000)
        notifier.serve(self.counter)
        for _ in range(250):
            self.watch(on_state=None)
        self.clock.advance(1.0)
        self.bodies.clear()
        self.counter.numbers[BOARD] = 1
        self.assertEqual(notifier.changed("counter", BOARD), 250)
        self.clock.advance(1.0)
        self.assertEqual(self.bodies, [b"1"] * 250)

    def test_limits(self) -> None:
        """Nobody takes more than his share (RFC 6665 §6.3)."""
        notifier = Notifier(self.board, most=3, most_each=2)
        notifier.serve(self.counter)
        for _ in range(3):
            self.watch(keep=False)
        self.clock.advance(1.0)
        self.assertEqual(self.states[-1][2], 403)
        carol = Watcher(self.agent("10.0.0.4", "carol"), most=1)
        carol.watch(BOARD, "counter", self.heard)
        self.assertRaises(Unavailable, carol.watch, BOARD, "counter", self.heard)
        self.clock.advance(1.0)
        self.assertEqual(len(notifier), 3)
        dave = Watcher(self.agent("10.0.0.5", "dave"))
        dave.watch(BOARD, "counter", self.heard, on_state=self.moved, keep=False)
        self.clock.advance(1.0)
        self.assertEqual(self.states[-1][2], 503)

    def test_neighbour(self) -> None:
        """A watcher that connected gets its NOTIFYs back over its connection (RFC 5626 §4.3)."""
        self.alice.contact = "<sip:alice@192.0.2.99>"  # where nothing ever arrives
        watch = self.watch(BOARD + ";transport=tcp", expires=600)
        self.clock.advance(1000.0)
        self.change(2)
        self.clock.advance(1.0)
        self.assertEqual((watch.state, self.bodies[-1]), (ACTIVE, b"2"))

    def test_new_routes(self) -> None:
        """A renewed subscription goes the way that the registration says by then."""
        self.watch()
        self.clock.advance(100.0)
        self.alice.routes = ("<sip:10.0.0.1;lr>",)
        self.notifier.terminate_all("probation", 50)
        self.clock.advance(60.0)
        (served,) = self.notifier.watchers("counter", BOARD)
        self.assertEqual(served.subscribe.values("Route"), ["<sip:10.0.0.1;lr>"])

    def test_throttle(self) -> None:
        """A hundred changes in a second are few NOTIFYs (RFC 6446 §5.2)."""
        self.counter.terms = Terms(interval=5.0)
        self.watch()
        for number in range(100):
            self.change(number)
            self.clock.advance(0.1)
        self.clock.advance(10.0)
        self.assertLessEqual(len(self.bodies), 5)
        self.assertEqual(self.bodies[-1], b"99")


class LoopbackTests(TestCase):
    async def test_life(self) -> Any:
        """The same over real sockets."""
        agents = []
        for name in ("alice", "board"):
            endpoint = Endpoint(ReactorNetwork(reactor), reactor, name=name, ids=Ids())
            await endpoint.listen("UDP", "127.0.0.1", 0)
            self.addCleanup(endpoint.stop)
            contact = f"<{endpoint.uri('UDP', name)}>"
            ua = UserAgent(endpoint, f"sip:{name}@example.com", contact=contact)
            ua.attach()
            agents.append(ua)
        alice, board = agents
        notifier, counter = Notifier(board), Counter()
        notifier.serve(counter)
        target = board.contact_uri
        heard: list[Deferred[bytes]] = [Deferred(), Deferred(), Deferred()]
        waiting = iter(heard)
        watch = Watcher(alice).watch(
            target, "counter", lambda notify: next(waiting).callback(notify.body)
        )
        self.assertEqual(await heard[0], b"0")
        counter.numbers[counter.resource(alice.make("SUBSCRIBE", target))] = 6
        notifier.changed("counter", counter.resource(alice.make("SUBSCRIBE", target)))
        self.assertEqual(await heard[1], b"6")
        await watch.stop()
        self.assertEqual(len(notifier), 0)
