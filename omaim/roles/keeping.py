"""Subscriptions that outlive the process: how a notifier writes them down and reads them again.

A record is durable before its SUBSCRIBE is answered. NOTIFYs are not written one by one: the
record holds a CSeq number that none has reached yet, and after a restart they go on from there,
since numbers may be left out (RFC 3261 §12.2.1.1).

Spec: RFC 6665 §4.2.1, §4.4
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import OmaimError, PeerError
from omaim.roles.packages import Served
from omaim.sip.dialog import Dialog, DialogId
from omaim.sip.message import Request
from omaim.sip.parser import parse_datagram
from omaim.sip.subscription import ACTIVE
from omaim.stores.interfaces import ISubscriptionStore
from omaim.stores.records import SubscriptionRecord

BLOCK: Final = 128  # NOTIFYs that one writing is good for
PAGE: Final = 1000  # records read at a time
_LEFT_OUT: Final = ("Via", "Route", "Authorization", "Proxy-Authorization")

_log = Logger()


class Kept:
    """What is written of one subscription.

    Attributes:
        version: of the record, 0 before there is one.
        limit: the CSeq number that no NOTIFY may pass until more are written.
        over: the record is to go.
        lock: held while it is written.
    """

    __slots__ = ("limit", "lock", "over", "version")

    def __init__(self, version: int = 0, limit: int = 0) -> None:
        self.version = version
        self.limit = limit
        self.over = False
        self.lock = DeferredLock()


class Keeping:
    """The subscriptions of one notifier in a store.

    Args:
        store: keeps them.
        owner: names the notifier; the same after a restart, and nobody else's.
        now: seconds since the epoch, UTC.
    """

    def __init__(self, store: ISubscriptionStore, owner: str, now: Callable[[], float]) -> None:
        self._store = store
        self._owner = owner
        self.now = now

    async def read(self) -> list[SubscriptionRecord]:
        """Return what is kept, for :meth:`omaim.roles.notifier.Notifier.revive`.

        Raises:
            Unavailable: the store cannot tell.
        """
        found: list[SubscriptionRecord] = []
        after = ""
        while True:
            page = await self._store.held_by(self._owner, after, PAGE)
            if not page:
                return found
            found += page
            after = page[-1].key

    async def write(self, kept: Kept, served: Served, left: float) -> None:
        """Write a subscription, durably when this returns.

        Args:
            left: seconds until it ends.

        Raises:
            Conflict: somebody else has written it.
            Unavailable: the store cannot take it.
        """
        await kept.lock.acquire()
        try:
            limit = max(served.machine.dialog.local_seq, 0) + BLOCK
            kept.version = await self._store.put(self._record(kept, served, left, limit))
            kept.limit = limit
        finally:
            kept.lock.release()
        if kept.over:
            self.forget(kept, served)

    def prolong(self, kept: Kept, served: Served, left: float) -> None:
        """Write again, in good time, when most of the numbers are used."""
        if kept.limit - served.machine.dialog.local_seq > BLOCK // 2:
            return
        if kept.version and not kept.lock.locked and not kept.over:
            Deferred.fromCoroutine(self.write(kept, served, left)).addErrback(_unwritten)

    def forget(self, kept: Kept, served: Served) -> None:
        """The subscription is over: remove it."""
        kept.over = True
        if kept.version and not kept.lock.locked:
            self.remove(_key(served.machine.dialog.id))

    def remove(self, key: str) -> None:
        """Remove a record; a failure is logged."""
        self._store.remove(key).addErrback(_unwritten)

    def _record(self, kept: Kept, served: Served, left: float, limit: int) -> SubscriptionRecord:
        machine = served.machine
        dialog = machine.dialog
        event = machine.subscribe.event
        extra = {
            "contact": dialog.contact,
            "secure": dialog.secure,
            "subscribe": _text(machine.subscribe),
        }
        return SubscriptionRecord(
            key=_key(dialog.id),
            resource=served.resource,
            package=machine.package,
            watcher=served.watcher,
            expires_at=self.now() + left,
            node=self._owner,
            state="active" if machine.state == ACTIVE else "pending",
            event_id=event.id if event is not None else "",
            accept=(served.content_type,),
            call_id=dialog.call_id,
            local_tag=dialog.local_tag,
            remote_tag=dialog.remote_tag,
            local_uri=dialog.local_uri,
            remote_uri=dialog.remote_uri,
            remote_target=dialog.remote_target,
            route_set=tuple(dialog.routes),
            local_cseq=limit,
            remote_cseq=dialog.remote_seq,
            notified=limit,
            extra=json.dumps(extra),
            version=kept.version,
        )


def dialog_of(record: SubscriptionRecord) -> tuple[Dialog, Request]:
    """Return the dialog of a record, and the SUBSCRIBE that made it.

    Raises:
        PeerError: the record cannot be read.
    """
    try:
        extra = json.loads(record.extra)
        contact, secure = str(extra["contact"]), bool(extra["secure"])
        text = str(extra["subscribe"]).encode("utf-8", "surrogateescape")
    except (ValueError, KeyError, TypeError) as error:
        raise PeerError(f"the record of a subscription is broken: {error}") from error
    subscribe = parse_datagram(text)
    if not isinstance(subscribe, Request):
        raise PeerError("the record of a subscription has no SUBSCRIBE")
    dialog = Dialog(
        record.call_id,
        record.local_uri,
        record.local_tag,
        record.remote_uri,
        record.remote_tag,
        record.remote_target,
        list(record.route_set),
        record.local_cseq,
        record.remote_cseq,
        contact,
        secure,
    )
    return dialog, subscribe


def _text(subscribe: Request) -> str:
    """Return a SUBSCRIBE for a record: without what leads nowhere later, and without proofs."""
    copy = subscribe.copy()
    for name in _LEFT_OUT:
        copy.remove(name)
    return copy.to_bytes().decode("utf-8", "surrogateescape")


def _key(dialog: DialogId) -> str:
    return "\n".join(dialog)


def _unwritten(failure: Failure) -> None:
    if failure.check(OmaimError):
        _log.error("a subscription was not written: {why}", why=failure.getErrorMessage())
    else:
        _log.failure("a subscription was not written", failure)
