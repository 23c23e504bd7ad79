"""A notifier: the server side of any event package.

Plugin writers: see :mod:`omaim.roles.packages` for what a package says; a
:class:`Notifier` serves any number of them on one user agent.

Spec: RFC 6665 §4.2
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Final

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import OmaimError, PeerError, UsageError
from omaim.roles.incoming import Incoming
from omaim.roles.keeping import Keeping, Kept, dialog_of
from omaim.roles.packages import IEventPackage, Served, State, choose_type, watcher_of
from omaim.roles.user_agent import UserAgent
from omaim.roles.within import Within
from omaim.sip.dialog import DialogId, establish, incoming_id
from omaim.sip.flow import Flow
from omaim.sip.message import Response
from omaim.sip.subscription import PENDING, TERMINATED, Due, Subscription
from omaim.stores.records import SubscriptionRecord
from omaim.timers import Alarm

BATCH: Final = 100  # NOTIFYs of one change that are sent in one turn
REVIVAL: Final = 5.0  # seconds after a restart in which subscribers may come back by themselves
REVIVED: Final = 100.0  # subscribers a second that are then told the state anew

_log = Logger()


class _Usage:
    """One subscription with its timer."""

    __slots__ = ("alarm", "flow", "kept", "notifier", "served", "silent")

    def __init__(self, notifier: Notifier, served: Served, flow: Flow | None, kept: Kept) -> None:
        self.notifier = notifier
        self.served = served
        self.flow = flow  # by which it came last, None since a restart
        self.kept = kept
        self.silent = False  # not durable yet, and not answered
        self.alarm = Alarm(self.woken)

    def woken(self, now: float) -> None:
        self.served.machine.wake(now)
        self.notifier._pump(self)

    def answered(self, response: Response) -> None:
        self.served.machine.answered(response, self.notifier._ua.now())
        self.notifier._pump(self)


class Notifier:
    """All subscriptions to one user agent's resources; it answers that agent's SUBSCRIBEs.

    Args:
        ua: receives and sends; its contact is where subscribers send refreshes.
        most: subscriptions at a time; more are refused with 503.
        most_each: subscriptions of one watcher to one resource of one package; 403 above.
        keeping: writes them down, so that they outlive the process; see :meth:`revive`.
    """

    def __init__(
        self,
        ua: UserAgent,
        most: int = 1_000_000,
        most_each: int = 32,
        keeping: Keeping | None = None,
    ) -> None:
        self._ua = ua
        self._keeping = keeping
        self._most = most
        self._most_each = most_each
        self._packages: dict[str, IEventPackage] = {}
        self._usages: dict[DialogId, _Usage] = {}
        self._by_resource: dict[tuple[str, str], dict[DialogId, _Usage]] = {}
        ua.on("SUBSCRIBE", self.receive, dialogs=True)

    def __len__(self) -> int:
        return len(self._usages)

    def serve(self, package: IEventPackage) -> None:
        """Accept subscriptions to this event package from now on."""
        if package.name in self._packages:
            raise UsageError(f"the event package {package.name} is served already")
        self._packages[package.name] = package
        self._ua.allow_events.add(package.name)

    def revive(self, records: Sequence[SubscriptionRecord]) -> int:
        """Go on with the subscriptions that were kept; all packages are served by now.

        Each subscriber is told the whole state some seconds later, as its last NOTIFY may be
        lost. What has expired, or cannot be read, is removed.

        Args:
            records: from :meth:`omaim.roles.keeping.Keeping.read`, before anything is received.

        Returns: how many go on.
        """
        count = 0
        for record in records:
            try:
                count += self._revived(record, REVIVAL + count / REVIVED)
            except PeerError as error:
                _log.error("a subscription was not revived: {why}", why=error.why)
                if self._keeping is not None:
                    self._keeping.remove(record.key)
        return count

    def _revived(self, record: SubscriptionRecord, pause: float) -> bool:
        keeping, package = self._keeping, self._packages.get(record.package)
        if keeping is None or package is None:
            return False
        left = record.expires_at - keeping.now()
        if left <= 0.0:
            keeping.remove(record.key)
            return False
        dialog, subscribe = dialog_of(record)
        now = self._ua.now()
        machine = Subscription(
            subscribe,
            record.local_tag,
            dialog.contact,
            package.terms,
            now,
            active=record.state == "active",
        )
        left = min(left, float(package.terms.most))  # more only if the time was set back
        machine.revive(dialog, left, now, now + pause)
        context = package.revive(subscribe, record.resource, record.notified)
        kind = record.accept[0] if record.accept else ""
        served = Served(package, record.resource, record.watcher, kind, machine, context)
        usage = _Usage(self, served, None, Kept(record.version, record.local_cseq))
        self._add(usage)
        keeping.prolong(usage.kept, served, left)
        self._pump(usage)
        return True

    def watchers(self, package: str, resource: str) -> list[Served]:
        """Return the subscriptions to a resource, pending ones included."""
        usages = self._by_resource.get((package, resource), {})
        return [usage.served for usage in usages.values()]

    def changed(self, package: str, resource: str) -> int:
        """Tell all who watch a resource that it has a new state.

        Returns: how many are concerned. Each NOTIFY leaves as soon as its rate allows; a
        crowd is served over several turns.
        """
        usages = list(self._by_resource.get((package, resource), {}).values())
        self._fan_out(usages)
        return len(usages)

    def changed_for(self, served: Served) -> None:
        """Tell one subscriber that what it may see has changed."""
        usage = self._usages.get(served.machine.dialog.id)
        if usage is not None:
            self._fan_out([usage])

    def decide(self, served: Served, allowed: bool) -> None:
        """Let a pending subscription become active, or end a subscription as rejected.

        Spec: RFC 6665 §4.2.1.3
        """
        if allowed:
            usage = self._usages.get(served.machine.dialog.id)
            if usage is not None and served.machine.state == PENDING:
                served.machine.approve(self._ua.now())
                self._pump(usage)
        else:
            self.terminate(served, "rejected")

    def terminate(self, served: Served, reason: str, retry_after: int = -1) -> None:
        """End one subscription; see :meth:`Subscription.terminate`."""
        usage = self._usages.get(served.machine.dialog.id)
        if usage is not None:
            served.machine.terminate(reason, self._ua.now(), retry_after)
            self._pump(usage)

    def terminate_all(self, reason: str = "deactivated", retry_after: int = -1) -> None:
        """End every subscription, for a shutdown or a move to another node (§4.4.2)."""
        for usage in list(self._usages.values()):
            self.terminate(usage.served, reason, retry_after)

    # Requests.

    async def receive(self, incoming: Incoming) -> Response | None:
        """Answer a SUBSCRIBE.

        Spec: RFC 6665 §4.2.1
        """
        request = incoming.request
        event = request.event
        package = None if event is None else self._packages.get(event.package)
        if package is None:
            events = ", ".join(sorted(self._ua.allow_events))
            return incoming.response(489, [("Allow-Events", events)] if events else [])
        if request.to.tag:
            await self._refresh(incoming)
            return None
        await self._begin(incoming, package)
        return None

    async def _refresh(self, incoming: Incoming) -> None:
        usage = self._usages.get(incoming_id(incoming.request))
        if usage is None:
            raise PeerError("no such subscription", 481)
        machine = usage.served.machine
        machine.refresh(incoming.request, self._ua.now())
        usage.flow = incoming.flow
        if machine.state != TERMINATED:
            await self._keep(usage)
        incoming.reply(
            200, [("Expires", str(machine.granted)), ("Contact", self._contact(incoming))]
        )
        self._pump(usage)

    async def _begin(self, incoming: Incoming, package: IEventPackage) -> None:
        request = incoming.request
        package.terms.grant(request)  # refuse what is too brief before any work
        resource = package.resource(request)
        kind = choose_type(request, package.types)
        watcher = watcher_of(request)
        key = (package.name, resource)
        if len(self._usages) >= self._most:
            raise PeerError("too many subscriptions", 503)
        same = self._by_resource.get(key, {}).values()
        if sum(usage.served.watcher == watcher for usage in same) >= self._most_each:
            raise PeerError("too many subscriptions of this watcher", 403)
        verdict = package.authorize(incoming, resource)
        allowed = verdict if isinstance(verdict, bool) else await verdict
        machine = Subscription(
            request,
            incoming.tag,
            self._contact(incoming),
            package.terms,
            self._ua.now(),
            active=allowed,
            secure=incoming.flow.secure,
        )
        context = package.begin(incoming, resource)
        served = Served(package, resource, watcher, kind, machine, context)
        usage = _Usage(self, served, incoming.flow, Kept())
        self._add(usage)
        if machine.granted:
            usage.silent = True
            try:
                await self._keep(usage)
            except OmaimError:
                self._drop(usage)
                raise
            finally:
                usage.silent = False
        response = incoming.response(200, [("Expires", str(machine.granted))])
        establish(request, response, self._contact(incoming))
        incoming.respond(response)
        self._pump(usage)

    def _add(self, usage: _Usage) -> None:
        served = usage.served
        key = served.machine.dialog.id
        self._usages[key] = usage
        self._by_resource.setdefault((served.package.name, served.resource), {})[key] = usage

    async def _keep(self, usage: _Usage) -> None:
        """Write a subscription down, before it is promised.

        Raises:
            Unavailable: nothing may be promised.
        """
        if self._keeping is not None:
            machine = usage.served.machine
            await self._keeping.write(usage.kept, usage.served, machine.expires_at - self._ua.now())

    def _contact(self, incoming: Incoming) -> str:
        if self._ua.contact:
            return self._ua.contact
        return f"<{self._ua.endpoint.uri(incoming.flow.transport)}>"

    # Notifications.

    def _fan_out(self, usages: list[_Usage]) -> None:
        now = self._ua.now()
        for usage in usages[:BATCH]:
            usage.served.machine.changed(now)
            self._pump(usage)
        if len(usages) > BATCH:
            self._ua.endpoint.later(self._fan_out, usages[BATCH:])

    def _pump(self, usage: _Usage) -> None:
        if usage.silent:
            return
        machine = usage.served.machine
        due = machine.take()
        if due is not None:
            self._notify(usage, due)
        if machine.state == TERMINATED:
            self._drop(usage)
        usage.alarm.deadline = machine.deadline
        self._ua.arm(usage.alarm)

    def _drop(self, usage: _Usage) -> None:
        served = usage.served
        key = served.machine.dialog.id
        if self._usages.pop(key, None) is None:
            return
        same = self._by_resource[(served.package.name, served.resource)]
        del same[key]
        if self._keeping is not None:
            self._keeping.forget(usage.kept, served)
        if not same:
            del self._by_resource[(served.package.name, served.resource)]
        try:
            served.package.ended(served)
        except Exception:
            _log.failure("The end of a subscription was not understood")

    def _notify(self, usage: _Usage, due: Due) -> None:
        state: State | Awaitable[State | None] | None = None
        if due.granted:
            try:
                state = usage.served.package.state(usage.served, due.full)
            except Exception:
                self._stateless(Failure(), usage, due)
                return
        if state is None or isinstance(state, State):
            self._send(state, usage, due)
            return
        waiting: Deferred[State | None] = ensureDeferred(state)  # type: ignore[arg-type]
        waiting.addCallback(self._send, usage, due)
        waiting.addErrback(self._stateless, usage, due)

    def _stateless(self, failure: Failure, usage: _Usage, due: Due) -> None:
        """The package failed: keep the protocol going, and tell no state."""
        _log.failure("An event package has no state to show", failure)
        self._send(None, usage, due)

    def _send(self, state: State | None, usage: _Usage, due: Due) -> None:
        headers: list[tuple[str, str]] = []
        body = b""
        if state is not None:
            headers = [*state.headers, ("Content-Type", state.content_type)]
            body = state.body
        machine = usage.served.machine
        notify = machine.notify(due, headers, body)
        if self._keeping is not None and not due.final:
            self._keeping.prolong(usage.kept, usage.served, machine.expires_at - self._ua.now())
        sending = Deferred.fromCoroutine(
            Within(self._ua, machine.dialog, usage.flow).request(notify)
        )
        sending.addCallback(usage.answered)
        sending.addErrback(_broken)


def _broken(failure: Failure) -> None:
    _log.failure("Sending a NOTIFY failed", failure)
