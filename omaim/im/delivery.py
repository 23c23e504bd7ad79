"""Messages that the server itself has to deliver: in order, one at a time for each recipient.

Every message that is ours is in the store before anybody hears that we have it. It is sent,
and only its answer ends it; whatever happens in between, it waits in the store for the next try.

Spec: RFC 3428 §7, §8 (one message at a time); OMA SIMPLE IM 1.0 (deferred messaging)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import OmaimError
from omaim.ids import Ids
from omaim.im.content import Content
from omaim.im.journal import Journal, icid_of
from omaim.im.participating import SOFTWARE, address_of
from omaim.im.policy import FAILED
from omaim.im.reports import Reports
from omaim.im.sending import Errand, Sending, may_wait
from omaim.im.timetable import Timetable
from omaim.node.events import MessageDelivered, MessageRefused, ServiceEvent
from omaim.sip.message import Request, Response
from omaim.sip.values import date_text
from omaim.stores.interfaces import IDeferredStore, QuotaExceeded
from omaim.stores.records import (
    DELETED,
    DELIVERED,
    REPORT,
    Added,
    DeferredMessage,
    Quota,
)

ATTEMPT: Final = 40.0  # seconds a delivery may take; more than Timer F
ANSWER: Final = 4.0  # seconds a device may take while a fresh one waits; RFC 4320 §4.1: 100 by then
LONGEST: Final = 3600.0  # seconds for which anybody may keep a message to itself
GRACE: Final = 1.0  # seconds more, as sums of floats are not exact
REMEMBER: Final = 86400.0  # seconds for which a repeat of an ended message is recognised
BATCH: Final = 16  # messages read from the store at a time
WIDTH: Final = 1000  # recipients served at the same time
RATE: Final = 20.0  # recipients a second that are tried after a start
UNDER_WAY: Final = 32.0  # seconds a request may take from the core to us, 64 times T1
MOST_ATTEMPTS: Final = 10  # of one message that a device answers with an error of its own
STUBBORN: Final = 3600.0  # seconds for which it has to do so before the message is given up

Wanted = Callable[[DeferredMessage], bool]
Waits = Callable[[DeferredMessage], Awaitable[object]]

_log = Logger()


class Delivery:
    """Delivers what is in the store.

    Args:
        domain: whose users are served; no other server of the store has the same one.
        core: Route value of the core.
        now: seconds since the epoch, for what is stored.
        seconds: of the clock for timers.
        ours: whether an address is one of this domain: its messages wait for a registration.
        ready: whether a user takes messages now.
        pushed: whether a message is delivered without being asked for.

    Attributes:
        holding: the recipients for whom something is kept.
        on_change: called with a recipient for whom something came or went.
    """

    def __init__(
        self,
        sending: Sending,
        store: IDeferredStore,
        journal: Journal,
        reports: Reports,
        domain: str,
        core: str,
        now: Callable[[], float],
        seconds: Callable[[], float],
        ids: Ids,
        quota: Quota,
        ours: Callable[[str], bool],
        ready: Callable[[str], bool],
        pushed: Wanted,
    ) -> None:
        self._sending = sending
        self._store = store
        self._journal = journal
        self._reports = reports
        self._prefix = f"{domain} "
        self._core = core
        self._now = now
        self._seconds = seconds
        self._ids = ids
        self._quota = quota
        self._ours = ours
        self._ready = ready
        self._pushed = pushed
        self.holding: set[str] = set()
        self.on_change: Callable[[str], object] = _nobody
        self._waits: dict[str, dict[str, tuple[DeferredMessage, Waits]]] = {}
        self._asked: dict[str, set[str]] = {}  # references that their recipient asked for
        self._running: set[str] = set()
        self._again: set[str] = set()  # served now, and something new is there
        self._kicked: set[str] = set()  # served now, and worth another try if that fails
        self._queue: deque[str] = deque()
        self._queued: set[str] = set()
        self._times = Timetable(seconds)
        # What a device answered with errors of its own: reference, how often, since when.
        self._errors: dict[str, tuple[str, int, float]] = {}
        self._life = f"{journal.entity} {ids.token()} "
        self._stopped = False
        self._arrived: dict[str, float] = {}  # those who registered lately, and when
        self._fresh: dict[str, float] = {}  # those of them whose device was not known before
        self._flying: dict[str, tuple[Errand, float]] = {}  # what is being tried, and since when
        self._begun: dict[str, float] = {}  # attempts of late, and when
        self._overtaken: set[str] = set()  # attempts that another has followed before their answer

    def box(self, address: str) -> str:
        """Return where messages for an address, or for a box, are kept; see :func:`address_of`."""
        if self._ours(address) or address.startswith(self._prefix):
            return address
        return self._prefix + address

    def mine(self, box: str) -> bool:
        """Tell whether a box of the store is this server's."""
        return self._ours(box) or box.startswith(self._prefix)

    # Taking charge of a message

    async def add(self, message: DeferredMessage, events: Sequence[ServiceEvent] = ()) -> Added:
        """Store a message; it is durable when this returns. Nothing is sent yet.

        Args:
            message: one with an ``attempt`` is on its way already, and nobody else tries it
                until its time is over.

        Raises:
            QuotaExceeded: no room.
            Unavailable: the store cannot answer.
        """
        user, name = self.box(message.recipient), message.attempt
        if user != message.recipient:
            message = attrs.evolve(message, recipient=user)
        adding = self._store.add(message, self._quota, self._journal.records(events, user))
        if name:  # asked for in the same turn, so that nobody comes between
            now = self._now()
            claim = self._store.attempt(user, [message.reference], name, now, now + ATTEMPT)
            claim.addErrback(_unclaimed)
            self._begin(name)
        added = await adding
        self.holding.add(user)
        if user in self._running:
            self._again.add(user)
        if not added.duplicate:
            self._journal.publish(events)
            self.on_change(user)
        return added

    async def post(self, message: DeferredMessage, events: Sequence[ServiceEvent] = ()) -> bool:
        """Store a message of our own and begin to deliver it; False when there is no room."""
        try:
            await self.add(message, events)
        except QuotaExceeded:
            return False
        self.kick(message.recipient)
        return True

    def attempt_name(self) -> str:
        """Return a name for an attempt, which tells whose it is and in which life."""
        return self._life + self._ids.token()

    def on_waiting(self, message: DeferredMessage, act: Waits) -> None:
        """Call ``act`` once if the next :meth:`kick` leaves this message waiting."""
        user = self.box(message.recipient)
        self._waits.setdefault(user, {})[message.reference] = message, act

    async def late(self, message: DeferredMessage, name: str, response: Response) -> None:
        """Take the answer to a message that was on its way when it was stored.

        Args:
            name: under which it was claimed.
        """
        if name in self._overtaken:
            self._overtaken.discard(name)
            if response.status >= 300:
                return  # what the next attempt brings counts
        if await self.answered(message, name, response):
            self.kick(message.recipient)

    def failed(self, user: str, status: int) -> None:
        """Try a user again later who could not be reached, unless a registration must come."""
        if status != 480 or not self._ours(user):
            self._times.failed(user)

    # When

    def arrived(self, user: str, fresh: bool = False) -> None:
        """A user has a device: deliver what waits.

        What is on its way to us as a message to somebody absent is not to wait, either.

        Args:
            fresh: the device is not one of those that were there. An attempt that was for them
                is waited for no longer than a live device needs; should one of them answer
                later, the user has that message twice, with one Message-ID.
        """
        arrived, now = self._arrived, self._seconds()
        arrived.pop(user, None)
        arrived[user] = now
        for one, at in tuple(islice(arrived.items(), 2)):
            if at < now - UNDER_WAY:
                del arrived[one]
                self._fresh.pop(one, None)
        if fresh:
            self._fresh[user] = now
        flying = self._flying.get(self.box(user))
        self.kick(user)
        if fresh and flying is not None:
            errand, since = flying
            self._sending.hurry(errand, max(0.0, since + ANSWER - now))

    def has_just_arrived(self, user: str) -> bool:
        """Tell whether a core that told of no device may not have known of this one yet."""
        return self._arrived.get(user, -UNDER_WAY) > self._seconds() - UNDER_WAY

    def kick(self, user: str) -> None:
        """Deliver what waits for a user, as soon as it is its turn."""
        user = self.box(user)
        self._times.forget(user)
        if user in self._running:
            self._again.add(user)
            self._kicked.add(user)
        elif user not in self._queued and not self._stopped:
            self._queued.add(user)
            self._queue.append(user)
            self._next()

    def ask(self, user: str, references: Sequence[str]) -> None:
        """Deliver these messages although they are not pushed."""
        self._asked.setdefault(self.box(user), set()).update(references)
        self.kick(user)

    def tick(self) -> None:
        """Try those whose time has come."""
        for user in self._times.take():
            self.kick(user)

    async def resume(self) -> None:
        """Find out for whom something is kept, and try them gently."""
        after = ""
        count = 0
        while True:
            users = await self._store.recipients(after, 1000)
            for user in filter(self.mine, users):
                self.holding.add(user)
                self._times.later(user, count / RATE)
                count += 1
            if not users:
                return
            after = users[-1]

    def stop(self) -> None:
        """Begin nothing any more."""
        self._stopped = True
        self._queue.clear()

    def busy(self, user: str) -> bool:
        """Tell whether older messages for a user are about to be delivered."""
        return self.box(user) in self.holding

    # How

    def _next(self) -> None:
        while self._queue and len(self._running) < WIDTH:
            user = self._queue.popleft()
            self._queued.discard(user)
            self._running.add(user)
            Deferred.fromCoroutine(self._run(user)).addErrback(self._crashed, user)

    def _crashed(self, failure: Failure, user: str) -> None:
        if self._stopped:
            return
        if failure.check(OmaimError):
            _log.error("messages to {user} wait: {why}", user=user, why=failure.getErrorMessage())
        else:
            _log.failure("messages were not delivered", failure)
        self._times.failed(user)

    async def _run(self, user: str) -> None:
        try:
            more = True
            while more and not self._stopped:
                self._again.discard(user)
                self._kicked.discard(user)
                more = await self._push(user) and user in self._again
            for message, act in self._waits.pop(user, {}).values():
                await act(message)
        finally:
            self._running.discard(user)
            self._again.discard(user)
            if user in self._kicked:
                self._kicked.discard(user)
                self.kick(user)
            self._next()

    async def _push(self, user: str) -> bool:
        """Deliver what there is; tell whether to look again for what came meanwhile."""
        after = 0
        left = False
        name = self.attempt_name()
        while not self._stopped:
            if self._ours(user) and not self._ready(user) and user not in self._asked:
                return False
            batch = await self._store.waiting(user, self._now(), after, BATCH)
            if not batch:
                if user not in self._again:
                    self._asked.pop(user, None)
                    if not left:
                        self.holding.discard(user)
                self._times.succeeded(user)
                return True
            for message in batch:
                after = message.position
                if not self._wanted(message):
                    left = True
                elif not await self._deliver(message, name):
                    return False
        return False

    def _wanted(self, message: DeferredMessage) -> bool:
        if message.reference in self._asked.get(message.recipient, ()):
            return True
        return not self._ours(message.recipient) or self._pushed(message)

    async def _deliver(self, message: DeferredMessage, name: str) -> bool:
        """Try one message; tell whether the next may follow."""
        user, now = message.recipient, self._now()
        if message.expires_at <= now:  # while those before it were delivered
            return True
        references = [message.reference]
        await self.reclaim(message)
        mine = await self._store.attempt(user, references, name, now, now + ATTEMPT)
        if not mine:
            if message.attempt_until > now:
                self._times.later(user, max(0.0, self._left(message, now)))
                return False
            return True  # somebody has ended it meanwhile
        self._begin(name)
        content = Content(message.content_type, message.body)
        errands: list[Errand] = []

        def begun(errand: Errand) -> None:
            errands.append(errand)
            self._flying[user] = errand, self._seconds()

        try:
            response = await self._sending.attempt(self._request(message), content, begun)
        finally:
            self._flying.pop(user, None)
        if response is None:
            self._overtake(message, name, errands[-1])
            await self._store.release(user, references, name)
            return False
        return await self.answered(message, name, response)

    def _begin(self, name: str) -> None:
        """Note when an attempt began."""
        begun, now = self._begun, self._seconds()
        begun.pop(name, None)
        begun[name] = now
        for one, at in tuple(islice(begun.items(), 2)):
            if at < now - 10 * ATTEMPT:
                del begun[one]
                self._overtaken.discard(one)

    def _left(self, message: DeferredMessage, now: float) -> float:
        """Return the seconds until a message may be tried that an attempt holds.

        One that began before its recipient had another device is waited for as long as a live
        one needs; none of ours longer than it may take, though the time of day was set back.
        """
        begun = self._begun.get(message.attempt)
        if begun is None:
            return message.attempt_until - now + GRACE
        age = self._seconds() - begun
        fresh = self._fresh.get(address_of(message.recipient), begun)
        return (ANSWER if fresh > begun else ATTEMPT) - age

    def _overtake(self, message: DeferredMessage, name: str, errand: Errand) -> None:
        """A late answer still ends the message if it says that it was delivered."""

        def late(response: Response) -> None:
            if response.status < 300:
                Deferred.fromCoroutine(self._late(message, name, response)).addErrback(
                    self._crashed, message.recipient
                )

        errand.on_late = late

    async def _late(self, message: DeferredMessage, name: str, response: Response) -> None:
        await self.answered(message, name, response)

    async def reclaim(self, message: DeferredMessage) -> None:
        """Take a message from an attempt that has died; others keep theirs."""
        if self._widowed(message):
            await self._store.release(message.recipient, [message.reference], message.attempt)

    def _widowed(self, message: DeferredMessage) -> bool:
        """Tell whether nobody waits for the answer to an attempt any more.

        It was ours, before we last died; or it was for a device that another has replaced; or it
        seems to end later than any that began by now, since the time of day was set back.
        """
        name, now = message.attempt, self._now()
        ahead = message.attempt_until - now
        if ahead <= 0.0:
            return False
        if name in self._begun:
            over = self._left(message, now) <= 0.0
            if over:
                self._overtaken.add(name)
            return over
        mine = name.startswith(f"{self._journal.entity} ") and not name.startswith(self._life)
        return mine or ahead > LONGEST + GRACE

    async def answered(self, message: DeferredMessage, name: str, response: Response) -> bool:
        """Act on what the recipient said to a stored message; tell whether to go on.

        Spec: RFC 3428 §7
        """
        user, status = message.recipient, response.status
        if 200 <= status < 300:
            await self._end(message, DELIVERED, [self._delivered(message)])
            return True
        own_error = 500 <= status < 600 and status not in (503, 504) and not response.local
        if may_wait(status) and not (own_error and self._is_hopeless(message)):
            if not response.local:
                await self._store.release(user, [message.reference], name)
            self.failed(user, status)
            return False
        refused = MessageRefused(
            at=self._now(),
            entity=self._journal.entity,
            icid=icid_of(message.headers),
            message_id=message.message_id,
            sender=message.sender,
            recipient=address_of(user),
            status=status,
            why="refused by the recipient",
        )
        await self._reports.of_stored(message, FAILED, self.post)
        await self._end(message, DELETED, [refused])
        return True

    async def handed_over(self, message: DeferredMessage) -> None:
        """A session has brought a stored message to its recipient, who has said so."""
        await self._end(message, DELIVERED, [self._delivered(message)])

    def _is_hopeless(self, message: DeferredMessage) -> bool:
        """Note that a device could not stand a message; tell whether to give it up.

        Each message that comes behind it brings another try: to be tried often is not enough.
        """
        user, now = message.recipient, self._seconds()
        reference, times, since = self._errors.get(user, ("", 0, now))
        if reference != message.reference:
            times, since = 0, now
        self._errors[user] = message.reference, times + 1, since
        return times + 1 >= MOST_ATTEMPTS and now - since >= STUBBORN

    async def _end(
        self, message: DeferredMessage, state: int, events: Sequence[ServiceEvent]
    ) -> None:
        user = message.recipient
        self._waits.get(user, {}).pop(message.reference, None)
        self._errors.pop(user, None)
        records = self._journal.records(events, user)
        until = self._now() + REMEMBER
        if await self._store.finish(user, [message.reference], state, until, records):
            self._journal.publish(events)
        self._times.succeeded(user)
        asked = self._asked.get(user)
        if asked is not None:
            asked.discard(message.reference)
            if not asked:
                del self._asked[user]
        self.on_change(user)

    def _delivered(self, message: DeferredMessage) -> MessageDelivered:
        return MessageDelivered(
            at=self._now(),
            entity=self._journal.entity,
            icid=icid_of(message.headers),
            message_id=message.message_id,
            sender=message.sender,
            recipient=address_of(message.recipient),
            deferred=True,
        )

    def _request(self, message: DeferredMessage) -> Request:
        """Return the MESSAGE that delivers a stored one.

        Each try has the same Call-ID, so that a device can tell a repeat from a new message.
        """
        given = [pair for pair in message.headers if pair[0] != "From"]
        sender = next(value for name, value in message.headers if name == "From")
        recipient = address_of(message.recipient)
        headers = [
            ("Route", self._core),
            ("Max-Forwards", "70"),
            ("From", sender),
            ("To", f"<{recipient}>"),
            ("Call-ID", message.reference),
            ("CSeq", f"{2 * message.attempts + 1} MESSAGE"),
            ("User-Agent", SOFTWARE),
            *given,
        ]
        if message.kind != REPORT:
            headers.append(("Date", date_text(message.sent_at or message.stored_at)))
        if message.content_type:
            headers.append(("Content-Type", message.content_type))
        return Request.make("MESSAGE", recipient, headers, message.body)


def _nobody(user: str) -> None:
    """Nobody follows."""


def _unclaimed(failure: Failure) -> None:
    """The message could not be stored either, and whoever stores it says so."""
