"""Subscriptions that outlive the notifier's process."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from zope.interface.verify import verifyObject

from omaim.errors import Unavailable
from omaim.roles.incoming import Incoming
from omaim.roles.keeping import BLOCK, Keeping
from omaim.roles.notifier import REVIVAL, Notifier
from omaim.roles.packages import UNDECIDED, EventPackage, IEventPackage, Served, State
from omaim.roles.user_agent import UserAgent
from omaim.roles.watcher import Watch, Watcher
from omaim.sip.message import Request
from omaim.sip.subscribing import ACTIVE, Moved
from omaim.sip.subscription import Terms
from omaim.stores.memory_state import MemorySubscriptionStore
from omaim.stores.records import SubscriptionRecord
from tests.roles.support import Roles

BOARD = "sip:board@10.0.0.1"


class Numbers(EventPackage):
    """Tells a number, and the count of what was told."""

    def __init__(self) -> None:
        super().__init__("number", ("text/plain",), Terms(600, 0, 3600))
        self.number = 0
        self.revived: list[int] = []
        self.allowed: bool = True

    def resource(self, request: Request) -> str:
        return BOARD

    def authorize(self, incoming: Incoming, resource: str) -> bool:
        return self.allowed or UNDECIDED

    def revive(self, subscribe: Request, resource: str, told: int) -> object:
        self.revived.append(told)
        return told

    def state(self, served: Served, full: bool) -> State:
        return State(b"%d" % self.number, served.content_type)


class KeepingTests(Roles):
    def setUp(self) -> None:
        super().setUp()
        self.store = MemorySubscriptionStore()
        self.alice = self.agent("10.0.0.2", "alice")
        self.watcher = Watcher(self.alice)
        self.heard: list[Request] = []
        self.moved: list[Moved] = []
        self.asked: list[Request] = []
        self.start()

    def start(self) -> int:
        """Start a notifier on what the store holds; return how many subscriptions go on."""
        self.board: UserAgent = self.agent("10.0.0.1", "board")
        keeping = Keeping(self.store, "board", self.clock.now)
        self.notifier = Notifier(self.board, keeping=keeping)
        self.numbers = Numbers()
        verifyObject(IEventPackage, self.numbers)
        self.notifier.serve(self.numbers)
        receive = self.board.endpoint.on_request

        def seen(transaction: Any) -> None:
            self.asked.append(transaction.request)
            receive(transaction)

        self.board.endpoint.on_request = seen
        return self.notifier.revive(self.wait(keeping.read()))

    def kill(self) -> None:
        """End the notifier without a word."""
        self.board.endpoint.stop()
        self.clock.advance(1.0)

    def watch(self, **named: Any) -> Watch:
        watch = self.watcher.watch(
            BOARD,
            "number",
            self.heard.append,
            on_state=self.moved.append,
            **named,
        )
        self.clock.advance(1.0)
        return watch

    def records(self) -> list[SubscriptionRecord]:
        """Return what the store holds."""
        return list(self.wait(self.store.held_by("board")))

    def test_goes_on(self) -> None:
        """After a restart a refresh finds its dialog, a change is told, and the subscriber
        notices nothing but the state (RFC 6665 §4.2.1.4, §4.2.2)."""
        watch = self.watch(expires=600)
        (first,) = self.heard
        self.kill()
        self.assertEqual(self.start(), 1)
        self.clock.advance(REVIVAL + 1.0)
        self.assertEqual([one.body for one in self.heard], [b"0", b"0"])
        last = self.heard[-1]
        self.assertEqual((last.call_id, last.from_.tag), (first.call_id, first.from_.tag))
        self.assertGreater(last.cseq.number, first.cseq.number)
        self.assertIn("active;expires=59", last.first("Subscription-State") or "")
        self.numbers.number = 7
        self.assertEqual(self.notifier.changed("number", BOARD), 1)
        self.clock.advance(1.0)
        self.assertEqual(self.heard[-1].body, b"7")
        asked = len(self.asked)
        self.clock.advance(3600.0)
        refreshes = [one for one in self.asked[asked:] if one.method == "SUBSCRIBE"]
        self.assertTrue(refreshes)
        self.assertEqual({bool(one.to.tag) for one in refreshes}, {True})
        self.assertEqual((watch.state, len(self.notifier)), (ACTIVE, 1))
        self.assertEqual([one.state for one in self.moved if one.status >= 300], [])
        self.wait(watch.stop())
        self.assertEqual(self.records(), [])

    def test_durable_before_promised(self) -> None:
        """Nobody is told that the subscription stands before it is kept; and no NOTIFY goes."""
        put = self.store.put
        waiting: list[Any] = []

        def slowly(record: SubscriptionRecord) -> Deferred[int]:
            waiting.append((Deferred(), record))
            return waiting[-1][0]

        self.store.put = slowly  # type: ignore[method-assign, assignment]
        watch = self.watch()
        self.assertNotEqual(watch.state, ACTIVE)
        self.notifier.changed("number", BOARD)
        self.clock.advance(1.0)
        self.assertEqual(self.heard, [])
        done, record = waiting.pop()
        put(record).chainDeferred(done)
        self.clock.advance(1.0)
        self.assertEqual((watch.state, len(self.heard)), (ACTIVE, 1))

    def test_store_away(self) -> None:
        """Without a store nothing is promised: 503 (RFC 3261 §21.5.4), and nothing is held."""
        self.store.put = lambda record: fail(Unavailable("no disk"))  # type: ignore[method-assign, assignment]
        request = self.alice.make("SUBSCRIBE", "sip:board@10.0.0.1", [("Event", "number")])
        self.assertEqual(self.wait(self.alice.request(request)).status, 503)
        self.assertEqual((len(self.notifier), self.heard), (0, []))

    def test_many_notifies(self) -> None:
        """However many NOTIFYs were sent, those after a restart have higher numbers, and what
        the package counts goes on above (RFC 3261 §12.2.1.1)."""
        self.watch()
        for number in range(2 * BLOCK):
            self.numbers.number = number
            self.notifier.changed("number", BOARD)
            self.clock.advance(0.1)
        before = self.heard[-1].cseq.number
        self.assertGreater(before, 2 * BLOCK)
        self.kill()
        self.start()
        self.clock.advance(REVIVAL + 1.0)
        self.assertGreater(self.heard[-1].cseq.number, before)
        self.assertGreater(self.numbers.revived[0], 2 * BLOCK)
        for _ in range(3):
            self.kill()
            self.start()
        self.clock.advance(REVIVAL + 1.0)
        self.notifier.changed("number", BOARD)
        self.clock.advance(1.0)
        numbers = [one.cseq.number for one in self.heard]
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_expired(self) -> None:
        """What ended while nobody was there is removed; what was removed stays so."""
        self.watch(expires=600)
        (record,) = self.records()
        self.kill()
        self.store._subscriptions[record.key] = attrs.evolve(
            record, expires_at=self.clock.now() - 1.0
        )
        self.assertEqual((self.start(), self.records()), (0, []))

    def test_silent_end(self) -> None:
        """A subscriber that is gone, too, ends the subscription and its record (§4.2.2)."""
        self.watch(expires=600)
        self.kill()
        self.alice.endpoint.stop()
        self.assertEqual(self.start(), 1)
        self.clock.advance(60.0)
        self.assertEqual((len(self.notifier), self.records()), (0, []))

    def test_pending(self) -> None:
        """A subscription that was not decided goes on so, and shows nothing."""
        self.numbers.allowed = False
        self.watch()
        self.assertEqual(self.records()[0].state, "pending")
        self.kill()
        self.start()
        self.clock.advance(REVIVAL + 1.0)
        self.assertEqual([one.body for one in self.heard], [b"", b""])
        (served,) = self.notifier.watchers("number", BOARD)
        self.notifier.decide(served, True)
        self.clock.advance(1.0)
        self.assertEqual(self.heard[-1].body, b"0")

    def test_broken(self) -> None:
        """A record that cannot be read is removed and hurts no other; proofs are not kept."""
        self.watch(headers=[("Authorization", 'Digest username="alice"')])
        (record,) = self.records()
        self.assertNotIn("Digest", record.extra)
        for number, extra in enumerate(("", "[]", '{"contact": 1}', record.extra[:40] + '"}')):
            self.wait(self.store.put(attrs.evolve(record, key=f"{number}", extra=extra, version=0)))
        self.kill()
        self.assertEqual(self.start(), 1)
        self.assertEqual(len(self.records()), 1)

    def test_fetch(self) -> None:
        """A fetch is not worth keeping (RFC 6665 §4.4.3)."""
        request = self.alice.make(
            "SUBSCRIBE", "sip:board@10.0.0.1", [("Event", "number"), ("Expires", "0")]
        )
        self.assertEqual(self.wait(self.alice.request(request)).status, 200)
        self.assertEqual(self.records(), [])
