"""Two MSRP sessions that the server stands between: what comes by one leaves by the other.

A short message is looked at before it goes on: features may refuse or change it, and it is
recorded, durably, before its sender hears that it was taken. A long one passes while it comes;
the slower side holds the faster one back (:meth:`Side.steer`), and nothing is kept but what is
recorded.

A session that is lost may be replaced. What was not confirmed by then waits for that and is sent
again, if it is short; a long one its sender is made to send again. What comes meanwhile waits, too,
and is not acknowledged before it can go on.

Spec: RFC 4975 §5.4, §7; OMA SIMPLE IM 1.0 (session mode through the IM Server)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet.defer import Deferred, DeferredLock, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.bodies.cpim import MEDIA_TYPE as CPIM
from omaim.errors import PeerError, Unavailable
from omaim.im.content import Content
from omaim.msrp import (
    BURDEN,
    CLOSED,
    GONE,
    LATER,
    Incoming,
    Outgoing,
    Report,
    Session,
    SessionUser,
)
from omaim.timers import NEVER, Alarm

WHOLE: Final = 65536  # octets of a message that is looked at before it goes on
WINDOW: Final = 524288  # octets of one side that wait here before it is not read any more
RECORDED: Final = 8388608  # octets of long messages of one side kept at a time to be recorded
STOP: Final = 413
SESSIONS: Final = 4  # that one short message is sent by, one after the other
SURE: Final = 15.0  # seconds that the answer to a long one waits until the other side has it

HEAD: Final = 8192  # octets in which the head of an envelope has to end

_BLANK: Final = b"\r\n\r\n"
_EMPTY: Final = b"\r\n\r\nContent-Type: text/plain\r\n\r\n"
_LOOKED_AT: Final = ("text/", "messa", "multi")  # how types begin that may hold a text
_REFUSALS: Final = (400, 403, 413, 415)  # that MSRP has for messages

_log = Logger()


Ask = Callable[["Side", Content, int], Awaitable[Content]]
Settle = Callable[["Side", Incoming, Content | None, int], Awaitable[object]]


class Listener:
    """What is done about messages that pass. All may be replaced.

    Attributes:
        judge: looks at each message of a side, of a long one at its beginning only; a PeerError
            refuses it.
        ask: asked whether a message of a side may go on; returns it as it goes on. A
            PeerError refuses it. ``None`` asks nobody.
        settle: awaited before a message of a side is acknowledged, with its octets: what it
            writes is durable when it returns. ``None`` waits for nothing.
        most: octets of the longest message that ``settle`` is shown; of others it gets no content.
        through: a message is acknowledged when the other side has taken it, not before.
        passed: told of each message of a side that went on, with its octets.
        heard: told when more of a long message has come.
        after: calls a function after so many seconds, unless the alarm is put off. ``None``
            lets long messages be acknowledged as soon as they have passed.
    """

    def __init__(self) -> None:
        self.judge: Callable[[Side, Content], object] | None = None
        self.ask: Ask | None = None
        self.settle: Settle | None = None
        self.most = 0
        self.through = False
        self.passed: Callable[[Side, int], object] = _nothing
        self.heard: Callable[[], object] = _quiet
        self.after: Callable[[float, Callable[[], object]], Alarm] | None = None


class Side:
    """One of the two sessions.

    Attributes:
        session: set by the owner before anything can come.
        other: the opposite one.
        user: for the session.
        name: of who is there, for records.
        kept: octets of messages of this side that are looked at before they go on.
        recorded: octets of long ones that are kept until they are recorded.
        broken: the session was lost, and another one is waited for.
    """

    __slots__ = (
        "_back",
        "_waiting",
        "bridge",
        "broken",
        "kept",
        "lock",
        "name",
        "other",
        "recorded",
        "session",
        "user",
    )

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.session: Session | None = None
        self.other: Side = self
        self.name = ""
        self.kept = 0
        self.recorded = 0
        self.broken = False
        self._waiting: list[_Short] = []  # until there is a session again
        self._back: list[Deferred[None]] = []
        self.lock = DeferredLock()  # messages of one side keep their order
        self.user = SessionUser(
            self._begins,
            on_report=self._reported,
            on_nickname=self._nickname,
            on_drained=lambda session: self.other.steer(),
            on_closed=self._closed,
        )

    def steer(self) -> None:
        """Read on from this side, or not: by what of it waits here and for the other side."""
        session, other = self.session, self.other.session
        if session is None or session.state == CLOSED:
            return
        if self.kept > WINDOW or (other is not None and other.burden > WINDOW):
            session.pause()
        else:
            session.resume()

    @property
    def there(self) -> bool:
        """There is a session."""
        return self.session is not None and self.session.state != CLOSED

    def _begins(self, session: Session, incoming: Incoming) -> None:
        other = self.other
        if not other.there and not self.bridge.mends:
            incoming.refuse(STOP, "the other side is gone")
            return
        if other.session is not None and other.session.outbox.sends(incoming.message_id):
            incoming.refuse(STOP, "a message of this identifier is on its way")
            return
        if 0 <= incoming.size <= WHOLE:
            _Short(self, incoming)
        else:
            _Long(self, incoming)

    # Another session takes the place of one that was lost (RFC 4975 §5.4).

    def wait(self, message: _Short) -> None:
        """Keep a message for the session that is to come, if it is not there already."""
        if self.there:
            message.go()
            return
        self._waiting.append(message)
        message.keep(message.burden)

    def back(self) -> Deferred[None]:
        """Return what fires when there is a session.

        Raises (the Deferred fails with):
            PeerError: there will be none (413).
        """
        if self.there:
            return succeed(None)
        if not self.bridge.mends:
            return fail(PeerError("the other side is gone", STOP))
        waiting: Deferred[None] = Deferred()
        self._back.append(waiting)
        return waiting

    def go_on(self) -> None:
        """There is a session again, or none will come: let go of what waits."""
        self.broken = False
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            message.keep(-message.burden)
            message.go()
        back, self._back = self._back, []
        for one in back:
            self.back().chainDeferred(one)

    def _reported(self, session: Session, report: Report) -> None:
        """A report about nothing that is under way any more is of no use to anybody."""

    def _nickname(self, session: Session, name: str) -> int:
        """Have the other side decide: it may be a chat room (RFC 7701 §7.1)."""
        other = self.other.session
        if other is None or other.state == CLOSED:
            return 403
        other.nickname(name, session.answer_nickname)
        return LATER

    def _closed(self, session: Session, why: str) -> None:
        self.bridge.lost(self, why)


class Bridge:
    """Both sessions of one medium.

    Args:
        listener: what is done about messages that pass.
        on_lost: told when one session has ended, with its side and why.

    Attributes:
        near: the side of who calls.
        far: the side of who is called.
        mends: a session that is lost may be replaced.
    """

    __slots__ = ("_on_lost", "far", "listener", "mends", "near")

    def __init__(self, listener: Listener, on_lost: Callable[[Side, str], object]) -> None:
        self.listener = listener
        self.near = Side(self)
        self.far = Side(self)
        self.near.other, self.far.other = self.far, self.near
        self.mends = False
        self._on_lost = on_lost

    def give_up(self) -> None:
        """No session is replaced any more: fail what waits for one."""
        self.mends = False
        self.near.go_on()
        self.far.go_on()

    def lost(self, side: Side, why: str) -> None:
        """The session of a side is over."""
        self._on_lost(side, why)


class _Passing:
    """One message: tells its sender what became of it on the other side."""

    def __init__(self, side: Side, incoming: Incoming) -> None:
        self.side = side
        self.incoming = incoming
        self._through = side.bridge.listener.through
        self._content: Content | None = None  # what is to be recorded
        self._size = 0
        if incoming.success_report:
            incoming.report_later()

    def outgoing(self, content_type: str, body: bytes | None, size: int) -> Outgoing:
        incoming = self.incoming

        def reported(report: Report) -> None:
            # What is answered by a session that is gone goes by another one.
            if made.status != GONE:
                incoming.report(report.status, report.comment, report.span)

        made = Outgoing(
            content_type,
            body,
            incoming.message_id,
            size=size,
            headers=incoming.headers,
            success_report=incoming.success_report,
            failure_report=incoming.failure_report,
            on_end=self._ended,
            on_report=reported,
        )
        return made

    def _ended(self, status: int) -> None:
        self.side.steer()
        if not self._through:
            if status not in (0, 200):
                self.incoming.report(status)
        elif status == 200:
            self.acknowledge()
        else:
            self.incoming.release(_told(status))

    def acknowledge(self) -> None:
        """Let be written what has to be; then tell the sender that the message was taken."""
        settle = self.side.bridge.listener.settle
        if settle is None:
            self.incoming.release(200)
            return
        settling = self.side.lock.run(
            _coroutine, settle, self.side, self.incoming, self._content, self._size
        )
        self._content = None
        settling.addCallbacks(lambda _: self.incoming.release(200), self._not_settled)

    def _not_settled(self, failure: Failure) -> None:
        if failure.check(Unavailable):
            _log.error("a message was not recorded: {why}", why=failure.getErrorMessage())
        else:
            _log.failure("a message was not recorded", failure)
        self.incoming.release(STOP, "it cannot be recorded now")

    def admit(self, data: bytes) -> bool:
        """Let a message be judged by its beginning; tell whether it may go on."""
        judge, incoming = self.side.bridge.listener.judge, self.incoming
        if judge is None:
            return True
        try:
            judge(self.side, Content(incoming.content_type, data))
        except PeerError as error:
            incoming.refuse(_refusal(error), error.why)
            return False
        return True

    def keep(self, octets: int) -> None:
        """So many octets more of the message wait here, or fewer."""
        self.side.kept += octets
        self.side.steer()


class _Short(_Passing):
    """A message that is whole before it goes on."""

    def __init__(self, side: Side, incoming: Incoming) -> None:
        super().__init__(side, incoming)
        self._last: Content | None = None  # as it goes on, until that is confirmed
        self._sessions = 0
        incoming.collect(WHOLE, self._whole)

    def _whole(self, body: bytes) -> None:
        if not self.admit(body):
            return
        listener, lock = self.side.bridge.listener, self.side.lock
        plain = listener.ask is None and listener.settle is None and not self._through
        if plain and self.side.other.there and not lock.locked:
            self._pass_on(Content(self.incoming.content_type, body))
            return
        self.incoming.hold()
        burden = len(body) + BURDEN
        self.keep(burden)
        considering = lock.run(_coroutine, self._consider, body)
        considering.addErrback(self._failed).addBoth(lambda _: self.keep(-burden))

    async def _consider(self, body: bytes) -> None:
        listener, incoming = self.side.bridge.listener, self.incoming
        content = Content(incoming.content_type, body)
        if listener.ask is not None:
            content = await listener.ask(self.side, content, len(body))
        if not self._through:
            await self.side.other.back()  # what has no way to go is not acknowledged
        self._size = len(content.body)
        if self._size <= listener.most:
            self._content = content
        if self._through:
            self._pass_on(content)
            return
        if listener.settle is not None:
            await listener.settle(self.side, incoming, self._content, self._size)
        self._content = None
        self._pass_on(content)
        incoming.release(200)

    def _pass_on(self, content: Content) -> None:
        self._last = content
        self.go()
        self.side.bridge.listener.passed(self.side, len(content.body))

    @property
    def burden(self) -> int:
        """Octets that it costs while it waits."""
        return BURDEN + (0 if self._last is None else len(self._last.body))

    def go(self) -> None:
        """Send it to the other side, or let it wait until there is a session."""
        other, content = self.side.other, self._last
        if content is None:
            return
        if other.there and other.session is not None:
            self._sessions += 1
            other.session.send(self.outgoing(content.content_type, content.body, len(content.body)))
            self.side.steer()
        else:
            self._ended(GONE)

    def _ended(self, status: int) -> None:
        if status == GONE and self.side.bridge.mends and self._sessions < SESSIONS:
            self.side.other.wait(self)
            return
        self._last = None
        super()._ended(status)

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, PeerError):
            self.incoming.release(_refusal(error), error.why)
        elif isinstance(error, Unavailable):
            _log.error("a message of a session was not taken: {why}", why=str(error))
            self.incoming.release(STOP, "it cannot be recorded now")
        else:
            _log.failure("a message of a session was not served", failure)
            self.incoming.release(STOP, "it could not be served")


class _Long(_Passing):
    """A message that goes on while it comes."""

    def __init__(self, side: Side, incoming: Incoming) -> None:
        super().__init__(side, incoming)
        listener = side.bridge.listener
        other = side.other
        self._out = self.outgoing(incoming.content_type, None, incoming.size)
        self._held: list[bytes] = []  # while it is not known whether the message may go on
        self._asking = listener.ask is not None or not other.there
        cpim = incoming.content_type[:12].lower() == CPIM
        # It may be short after all: then it is looked at as a whole, like one that says so.
        self._waiting = listener.ask is not None and incoming.content_type[:5].lower() in _LOOKED_AT
        self._start = bytearray() if cpim and listener.judge is not None else None
        self._kind = incoming.content_type
        self._whole: bool | None = None
        self._kept: list[bytes] | None = [] if listener.most else None
        self._arrived = False
        self._sure = False  # its sender is told that it was taken, or was
        self._alarm: Alarm | None = None
        incoming.stream(self._data, self._end)
        if self._asking and not self._waiting:
            self._ask()
        elif other.session is not None and not self._asking:
            other.session.send(self._out)

    def _ask(self) -> None:
        """Have it decided whether the message may go on."""
        self._waiting = False
        self.side.lock.run(_coroutine, self._consider).addErrback(self._refused)

    async def _consider(self) -> None:
        listener, incoming = self.side.bridge.listener, self.incoming
        if listener.ask is not None:
            await self._show(listener.ask)
        await self.side.other.back()
        other = self.side.other.session
        if incoming.refused or self._out.ended or other is None:
            self._asked()
            return
        other.send(self._out)
        for data in self._held:  # to which more may be added meanwhile
            self._out.write(data)
        self._asked()
        if self._whole is not None:
            self._conclude(self._whole)

    async def _show(self, ask: Ask) -> None:
        """Have features look at it, at its text as well if it is short."""
        if not self._whole or self._size > WHOLE:
            await ask(self.side, _unread(self._kind, self._held), self.incoming.size)
            return
        content = Content(self._kind, b"".join(self._held))
        said = await ask(self.side, content, self._size)
        if said is not content:
            self._reword(said)

    def _reword(self, said: Content) -> None:
        """Let something else go on in its place, as a feature wants it."""
        self._out = self.outgoing(said.content_type, None, len(said.body))
        self.keep(len(said.body) - sum(map(len, self._held)))
        self._held = [said.body]
        self._kind = said.content_type
        if self._kept is not None:
            self._forget()
            self._kept = [said.body]
            self.side.recorded += len(said.body)
        self._size = len(said.body)

    def _asked(self) -> None:
        """It has been decided about the message: what comes now passes at once."""
        self._asking = False
        held, self._held = self._held, []
        self.keep(-sum(map(len, held)))

    def _refused(self, failure: Failure) -> None:
        self._asked()
        error = failure.value
        status, why = STOP, ""
        if isinstance(error, PeerError):
            status, why = _refusal(error), error.why
        else:
            _log.failure("a message of a session was not served", failure)
        self._stop(status, why)

    def _ended(self, status: int) -> None:
        session = self.side.session
        if self._sure or self.incoming.refused:
            super()._ended(status)
        elif status == GONE and self.side.bridge.mends:
            # What has passed is not kept: its sender is to think that it was lost as well.
            self._over()
            if session is not None:
                session.close("the other side is lost in the middle of a message")
        elif not self._arrived:
            super()._ended(status)
        elif status == 200:
            self._now_sure()
        else:
            self._over()
            self.incoming.release(_told(status))

    def _stop(self, status: int, why: str) -> None:
        """Let nothing of it go on."""
        self._forget()
        if self._whole:
            self.incoming.release(status, why)
        else:
            self.incoming.refuse(status, why)

    def _data(self, offset: int, data: bytes) -> None:
        if self._start is not None:
            self._start += data
            if _BLANK not in self._start and len(self._start) < HEAD:
                return
            data = bytes(self._start)
            self._start = None
            head = data.partition(_BLANK)[0]
            if not self.admit(head + _EMPTY):
                self._out.abort()
                return
        self._size += len(data)
        kept = self._kept
        if kept is not None:
            kept.append(data)
            self.side.recorded += len(data)
            if self._size > self.side.bridge.listener.most:
                self._forget()
            elif self.side.recorded > RECORDED:
                self._forget()
                self._out.abort()
                self._stop(STOP, "too much is under way")
                return
        self.side.bridge.listener.heard()
        if self._asking:
            self._held.append(data)
            self.keep(len(data))
            if self._waiting and self._size > WHOLE:
                self._ask()
            return
        out = self._out
        out.write(data)
        if out.ended:
            self._forget()
            self.incoming.refuse(out.status or STOP)
        else:
            self.side.steer()

    def _forget(self) -> None:
        """Keep nothing of it any longer."""
        if self._kept is not None:
            self.side.recorded -= sum(map(len, self._kept))
            self._kept = None

    def _end(self, complete: bool) -> None:
        if self._start is not None and complete:
            self.incoming.refuse(400, "this is not all of a message")
            complete = False
        if not self._asking:
            self._conclude(complete)
            return
        self._whole = complete
        if complete:
            self.incoming.hold()
        if self._waiting and complete:
            self._ask()
        elif self._waiting:
            self._asked()
            self._forget()

    def _conclude(self, complete: bool) -> None:
        if not complete:
            self._over()
            self._out.abort()
            return
        if self._through and self._out.ended:  # refused before its end was here
            self._over()
            self.incoming.hold()
            self.incoming.release(_told(self._out.status))
            return
        listener = self.side.bridge.listener
        listener.passed(self.side, self._size)
        self._arrived = True
        if self.side.bridge.mends and listener.after is not None:
            self._alarm = listener.after(SURE, self._now_sure)
        if self._through or self._alarm is not None or listener.settle is not None:
            self.incoming.hold()
        self._out.finish()
        if not self._through and self._alarm is None:
            self._now_sure()

    def _now_sure(self) -> None:
        """Its sender is to hear that it was taken."""
        if self._sure:
            return
        self._sure = True
        kept = self._kept
        self._over()
        if kept is not None:
            self._content = Content(self._kind, b"".join(kept))
        self.acknowledge()

    def _over(self) -> None:
        """It does not wait for the other side any longer."""
        self._forget()
        if self._alarm is not None:
            self._alarm.deadline = NEVER


def _unread(kind: str, held: list[bytes]) -> Content:
    """Return a long message without its text: what its envelope tells is known."""
    if kind[: len(CPIM)].lower() == CPIM:
        start = b"".join(held)[: 2 * HEAD]
        outer = start.find(_BLANK)
        inner = start.find(_BLANK, outer + 2)
        if 0 <= outer < inner:
            return Content(kind, start[: inner + len(_BLANK)])
    return Content(kind, b"")


def _refusal(error: PeerError) -> int:
    """Return the status by which a sender hears that a message is not wanted."""
    return error.status if error.status in _REFUSALS else 403


def _told(status: int) -> int:
    """Return what the sender hears of how a message ended on the other side."""
    return status if status in (403, 413, 415) else STOP


def _coroutine(act: Callable[..., Awaitable[object]], *args: object) -> Deferred[object]:
    return Deferred.fromCoroutine(act(*args))  # type: ignore[arg-type]


def _nothing(side: Side, octets: int) -> None:
    """Nobody counts."""


def _quiet() -> None:
    """Nobody listens."""
