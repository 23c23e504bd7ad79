"""The secret of a core, which outlives the process.

Seals of dialogs and of service chains, GRUUs and nonces are made with it, so that what was
given out before a restart, or by another process of the same core, is still known.
"""

from __future__ import annotations

import secrets
from typing import Final

from omaim.stores.interfaces import Conflict, IDocumentStore
from omaim.stores.records import Document

LENGTH: Final = 32  # octets


async def durable_secret(documents: IDocumentStore, name: str, now: float) -> bytes:
    """Return the secret kept under ``name``; the first who asks makes it.

    Raises:
        Unavailable: the store cannot tell.
    """
    path = f"secrets/{name}"
    document = await documents.get(path)
    if document is None:
        fresh = Document(
            path, secrets.token_hex(8), "application/octet-stream", secrets.token_bytes(LENGTH), now
        )
        try:
            await documents.put(fresh)
            return fresh.body
        except Conflict:  # another process was faster
            document = await documents.get(path)
            assert document is not None
    return document.body
