"""The stores in SQLite keep the contract, and what was acknowledged is there after reopening."""

from __future__ import annotations

import os

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from omaim.stores import Stores, open_stores
from omaim.testing.state_contract import (
    DocumentContract,
    HistoryContract,
    LeaseContract,
    PublicationContract,
    SubscriptionContract,
)
from omaim.testing.store_contract import (
    BindingContract,
    DeferredContract,
    OutboxContract,
    StoreContract,
    UserContract,
)


def open_file(path: str) -> Deferred[Stores]:
    """Open stores in a SQLite file."""
    return open_stores(f"sqlite:///{os.path.abspath(path)}", reactor, reactor)  # type: ignore[arg-type]


class InSqlite(StoreContract):
    """Opens a new file."""

    def open(self) -> Deferred[Stores]:
        return open_file(self.mktemp())


class SqliteBindingTests(InSqlite, BindingContract, TestCase):
    """Bindings."""


class SqliteUserTests(InSqlite, UserContract, TestCase):
    """Users."""


class SqliteDeferredTests(InSqlite, DeferredContract, TestCase):
    """Deferred messages."""


class SqliteOutboxTests(InSqlite, OutboxContract, TestCase):
    """The outbox."""


class SqliteHistoryTests(InSqlite, HistoryContract, TestCase):
    """Recorded conversations."""


class SqlitePublicationTests(InSqlite, PublicationContract, TestCase):
    """Publications."""


class SqliteSubscriptionTests(InSqlite, SubscriptionContract, TestCase):
    """Subscriptions."""


class SqliteLeaseTests(InSqlite, LeaseContract, TestCase):
    """Leases."""


class SqliteDocumentTests(InSqlite, DocumentContract, TestCase):
    """Documents."""
