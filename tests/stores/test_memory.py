"""The stores in memory keep the contract."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import TestCase

from omaim.stores import Stores, memory_stores
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


class InMemory(StoreContract):
    """Opens new ones."""

    def open(self) -> Deferred[Stores]:
        return succeed(memory_stores())


class MemoryBindingTests(InMemory, BindingContract, TestCase):
    """Bindings."""


class MemoryUserTests(InMemory, UserContract, TestCase):
    """Users."""


class MemoryDeferredTests(InMemory, DeferredContract, TestCase):
    """Deferred messages."""


class MemoryOutboxTests(InMemory, OutboxContract, TestCase):
    """The outbox."""


class MemoryHistoryTests(InMemory, HistoryContract, TestCase):
    """Recorded conversations."""


class MemoryPublicationTests(InMemory, PublicationContract, TestCase):
    """Publications."""


class MemorySubscriptionTests(InMemory, SubscriptionContract, TestCase):
    """Subscriptions."""


class MemoryLeaseTests(InMemory, LeaseContract, TestCase):
    """Leases."""


class MemoryDocumentTests(InMemory, DocumentContract, TestCase):
    """Documents."""
