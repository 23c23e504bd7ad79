"""A watcher: subscribe to resources and hear their notifications, as long as wanted.

Plugin writers: :meth:`Watcher.watch` returns a :class:`Watch` that refreshes and, where the
notifier's reason allows it, renews itself until :meth:`Watch.stop`.

Spec: RFC 6665 §4.1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import PeerError, Unavailable
from omaim.roles.incoming import Incoming
from omaim.roles.user_agent import UserAgent
from omaim.sip.message import Request, Response
from omaim.sip.subscribing import (
    TERMINATED,
    Forked,
    Moved,
    Notified,
    Send,
    Subscribing,
    Wanted,
)
from omaim.timers import NEVER, Alarm

_log = Logger()


class Refused(PeerError):
    """The subscription was refused or ended before any notification; carries the status."""


class Watch:
    """One subscription of ours, through all its renewals.

    Attributes:
        state: one of the constants of :mod:`omaim.sip.subscribing`.
        wanted: what was asked for.
    """

    def __init__(
        self,
        watcher: Watcher,
        machine: Subscribing,
        on_notify: Callable[[Request], object],
        on_state: Callable[[Moved], object] | None,
        contact: str = "",
    ) -> None:
        self._watcher = watcher
        self._contact = contact
        self._machine = machine
        self._on_notify = on_notify
        self._on_state = on_state
        self._alarm = Alarm(self._woken)
        self._key = ("", "")
        self._over: list[Deferred[None]] = []

    @property
    def state(self) -> int:
        return self._machine.state

    @property
    def wanted(self) -> Wanted:
        return self._machine.wanted

    def refresh(self) -> None:
        """Ask for the full duration, and for the state, now."""
        self._machine.refresh(self._watcher.now())
        self._pump()

    def stop(self) -> Deferred[None]:
        """Unsubscribe; the result fires when the last notification has come, or none will."""
        over: Deferred[None] = Deferred()
        self._over.append(over)
        self._machine.unsubscribe(self._watcher.now())
        self._pump()
        return over

    def start(self) -> None:
        """Subscribe again after the end; :meth:`Watcher.watch` has done it the first time."""
        self._machine.wanted = self._watcher.current(self._machine.wanted, self._contact)
        self._machine.start(self._watcher.now())
        self._pump()

    # What the watcher uses.

    def adopts(self, notify: Request) -> bool:
        """Tell whether a NOTIFY comes from the notifier of this watch."""
        dialog = self._machine.dialog
        return dialog is not None and dialog.remote_tag == notify.from_.tag

    def notified(self, notify: Request) -> None:
        """Take a NOTIFY; raises PeerError with the status to answer."""
        self._machine.notified(notify, self._watcher.now())
        self._pump(raising=True)

    def _woken(self, now: float) -> None:
        self._machine.wanted = self._watcher.current(self._machine.wanted, self._contact)
        self._machine.wake(now)
        self._pump()

    def _answered(self, response: Response) -> None:
        self._machine.answered(response, self._watcher.now())
        self._pump()

    def _pump(self, *, raising: bool = False) -> None:
        """Do what the machine wants; ``raising`` lets a PeerError of the package through."""
        machine = self._machine
        refused: PeerError | None = None
        for output in machine.take():
            if isinstance(output, Send):
                self._watcher.note(self, self._key, (machine.call_id, machine.local_tag))
                self._key = (machine.call_id, machine.local_tag)
                self._watcher.send(output.request, machine.next_seq, self._answered)
            elif isinstance(output, Notified):
                try:
                    self._on_notify(output.request)
                except PeerError as error:
                    refused = error
                except Exception:
                    _log.failure("A notification was not understood")
            elif isinstance(output, Forked):
                if self._watcher.full:
                    continue  # it ends at the notifier when nobody refreshes it
                sibling = Watch(
                    self._watcher, output.sibling, self._on_notify, self._on_state, self._contact
                )
                sibling._key = self._key
                self._watcher.note(sibling, ("", ""), self._key)
                sibling._pump()
            else:
                self._moved(output)
        self._alarm.deadline = machine.deadline
        self._watcher.arm(self._alarm)
        if raising and refused is not None:
            raise refused

    def _moved(self, moved: Moved) -> None:
        if moved.state == TERMINATED and moved.retry_at == NEVER:
            self._watcher.note(self, self._key, ("", ""))
            over, self._over = self._over, []
            for waiting in over:
                waiting.callback(None)
        if self._on_state is not None:
            try:
                self._on_state(moved)
            except Exception:
                _log.failure("A change of a subscription was not understood")


class Watcher:
    """All subscriptions of one user agent; it answers that agent's NOTIFYs.

    Args:
        ua: sends and receives.
        most: subscriptions at a time, forked ones included.
    """

    def __init__(self, ua: UserAgent, most: int = 100_000) -> None:
        self._ua = ua
        self._most = most
        self._watches: dict[tuple[str, str], list[Watch]] = {}
        self._count = 0
        ua.on("NOTIFY", self.receive, dialogs=True)

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """No further subscription fits."""
        return self._count >= self._most

    def watch(
        self,
        target: str,
        event: str,
        on_notify: Callable[[Request], object],
        *,
        on_state: Callable[[Moved], object] | None = None,
        expires: int = 3600,
        accept: Iterable[str] = (),
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        keep: bool = True,
        forks: bool = False,
        contact: str = "",
    ) -> Watch:
        """Subscribe.

        Args:
            target: the resource, as "sip:bob@example.com".
            event: Event value: the package, with parameters if wanted.
            on_notify: gets each NOTIFY that was taken; a PeerError that it raises (415, …)
                becomes the answer. The state in the last one counts too.
            on_state: gets each change of state.
            expires: seconds.
            accept: media types understood, for Accept.
            headers: more header fields of each SUBSCRIBE.
            body: a filter, with its Content-Type among ``headers``.
            keep: renew it after it ended, where RFC 6665 §4.1.3 allows.
            forks: take a subscription from each notifier that a forked SUBSCRIBE reaches.
            contact: our Contact value; that of the user agent, as it is each time, if empty.

        Raises:
            Unavailable: there are too many already.
        """
        if self.full:
            raise Unavailable("too many subscriptions of ours")
        ua = self._ua
        wanted = Wanted(
            target,
            event,
            ua.local,
            contact or ua.contact,
            expires=expires,
            routes=ua.routes,
            headers=(*ua.headers, *(("Accept", kind) for kind in accept), *headers),
            body=body,
            keep=keep,
            forks=forks,
            patience=ua.endpoint.timing.f,
        )
        watch = Watch(self, Subscribing(wanted, ua.ids), on_notify, on_state, contact)
        watch.start()
        return watch

    def fetch(self, target: str, event: str, *, accept: Iterable[str] = ()) -> Deferred[Request]:
        """Ask for the state once; the result is the NOTIFY.

        It fails with :class:`Refused`, which carries the status: 408 if no NOTIFY came.

        Spec: RFC 6665 §4.4.3
        """
        result: Deferred[Request] = Deferred()

        def notified(notify: Request) -> None:
            if not result.called:
                result.callback(notify)

        def moved(change: Moved) -> None:
            if change.state == TERMINATED and not result.called:
                why = f"no state came: {change.reason}"
                result.errback(Refused(why, change.status or 408))

        self.watch(target, event, notified, on_state=moved, expires=0, accept=accept, keep=False)
        return result

    def receive(self, incoming: Incoming) -> Response:
        """Answer a NOTIFY.

        Spec: RFC 6665 §4.1.3
        """
        notify = incoming.request
        watches = self._watches.get((notify.call_id, notify.to.tag))
        if not watches:
            raise PeerError("no such subscription", 481)
        for watch in watches:
            if watch.adopts(notify):
                break
        else:
            watch = watches[0]
        watch.notified(notify)
        return incoming.response(200)

    # What watches use.

    def now(self) -> float:
        return self._ua.now()

    def arm(self, alarm: Alarm) -> None:
        self._ua.arm(alarm)

    def current(self, wanted: Wanted, contact: str) -> Wanted:
        """Return the same wish with the routes and contact that the agent has by now.

        Args:
            contact: to be kept, if not empty.
        """
        ua = self._ua
        contact = contact or ua.contact
        if wanted.routes == ua.routes and wanted.contact == contact:
            return wanted
        return attrs.evolve(wanted, routes=ua.routes, contact=contact)

    def note(self, watch: Watch, old: tuple[str, str], new: tuple[str, str]) -> None:
        """Find ``watch`` under its new Call-ID and tag from now on; ("", "") is nowhere."""
        if old == new:
            return
        known = self._watches.get(old)
        if known is not None and watch in known:
            known.remove(watch)
            self._count -= 1
            if not known:
                del self._watches[old]
        if new != ("", ""):
            self._watches.setdefault(new, []).append(watch)
            self._count += 1

    def send(
        self,
        request: Request,
        next_seq: Callable[[], int],
        answered: Callable[[Response], None],
    ) -> None:
        """Send a SUBSCRIBE and bring its final response."""
        sending = Deferred.fromCoroutine(
            self._ua.request(request, next_seq=next_seq, redirections=0 if request.to.tag else 5)
        )
        sending.addCallback(answered)
        sending.addErrback(_broken)


def _broken(failure: Failure) -> None:
    _log.failure("Sending a SUBSCRIBE failed", failure)
