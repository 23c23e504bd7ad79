"""From a URL to the stores of a node."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool

from omaim.stores.database import Database
from omaim.stores.interfaces import Stores
from omaim.stores.memory import memory_stores
from omaim.stores.sql import SqlBindingStore, SqlUserStore
from omaim.stores.sql_history import SqlHistoryStore
from omaim.stores.sql_messages import SqlDeferredStore, SqlOutbox
from omaim.stores.sql_state import (
    SqlDocumentStore,
    SqlLeaseStore,
    SqlPublicationStore,
    SqlSubscriptionStore,
)


def open_stores(url: str, clock: IReactorTime, reactor: IReactorThreads) -> Deferred[Stores]:
    """Open the stores that a URL names.

    Args:
        url: ``memory:``, or a database as SQLAlchemy names it, ``sqlite:///path/to/file``.
        clock: the time, for noticing that the disk has stalled.
        reactor: where results fire, and whose threads do the opening.

    Raises:
        UsageError: no such kind of store, or a later omaim has made it.
        Unavailable: it cannot be opened.
    """
    if url in ("memory:", "memory"):
        return succeed(memory_stores())
    database = Database(url, reactor, clock.seconds)
    bindings, users = SqlBindingStore(database), SqlUserStore(database)
    stores = Stores(
        bindings=bindings,
        users=users,
        deferred=SqlDeferredStore(database),
        outbox=SqlOutbox(database),
        history=SqlHistoryStore(database),
        publications=SqlPublicationStore(database),
        subscriptions=SqlSubscriptionStore(database),
        leases=SqlLeaseStore(database),
        documents=SqlDocumentStore(database),
        gauges=lambda: {
            "bindings": bindings.count(),
            "users": users.count(),
            **database.commits.gauges(),
        },
        close=database.close,
    )

    def prepare() -> None:
        database.open()
        database.read_now(users.load)
        database.read_now(bindings.load)

    def ready(result: None) -> Stores:
        database.start()
        return stores

    return deferToThreadPool(reactor, reactor.getThreadPool(), prepare).addCallback(ready)
