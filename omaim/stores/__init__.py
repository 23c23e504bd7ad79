"""All the state that outlives a request, behind zope interfaces.

Read :mod:`~omaim.stores.records`, :mod:`~omaim.stores.interfaces`, then the reference,
:mod:`~omaim.stores.memory`. For SQL: :mod:`~omaim.stores.schema`, ``database``, ``commits``
(many acknowledgements, one fsync), and the stores on top, ``sql`` and ``sql_messages``.
"""

from omaim.stores.interfaces import (
    Conflict,
    IBindingStore,
    IDeferredStore,
    IOutbox,
    IUserStore,
    QuotaExceeded,
    Stores,
)
from omaim.stores.memory import memory_stores
from omaim.stores.opening import open_stores

__all__ = [
    "Conflict",
    "IBindingStore",
    "IDeferredStore",
    "IOutbox",
    "IUserStore",
    "QuotaExceeded",
    "Stores",
    "memory_stores",
    "open_stores",
]
