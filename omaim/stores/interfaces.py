"""What the stores can do, whatever holds the data.

Every method that returns a Deferred may fail with ``Unavailable``: then nothing was written.
A write is durable when its Deferred fires. Writes of one process take effect in the order in
which they were asked for. ``peek`` answers at once, from memory, with what is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Interface

from omaim.errors import OmaimError
from omaim.stores.records import (
    NEVER,
    Added,
    Binding,
    BindingSet,
    Conversation,
    DeferredMessage,
    Document,
    HistoryEntry,
    Lease,
    Publication,
    Quota,
    ServiceEventRecord,
    SubscriptionRecord,
    Usage,
    User,
)


class Conflict(OmaimError):
    """Somebody else wrote first: nothing was written; read again and retry."""


class QuotaExceeded(OmaimError):
    """The owner has no room for this; nothing was written."""


class IBindingStore(Interface):
    """Where the registrar keeps bindings. Safe to share between nodes."""

    def replace(aor: str, old: int, bindings: Sequence[Binding]) -> Deferred[int]:
        """Swap all bindings of ``aor`` if its version is still ``old`` (0: it has none).

        Returns: the new version; 0 when none are left. Versions never come again.
        Raises:
            Conflict: another node wrote first.
        """

    def get(aor: str) -> Deferred[BindingSet]:
        """Return the bindings as the store has them; expired ones too, until replaced."""

    def peek(aor: str) -> BindingSet:
        """Return the same at once from the cache, which another node may have overtaken."""

    def aors() -> Iterator[str]:
        """Iterate over the addresses that have bindings; writing meanwhile is allowed."""

    def count() -> int:
        """Return how many bindings there are."""

    def due(now: float, limit: int = 1000) -> tuple[str, ...]:
        """Return addresses of which a binding has expired, the earliest first.

        Each comes again half a minute later if nobody has replaced its bindings.
        """

    def next_due() -> float:
        """Return when :meth:`due` is wanted next, or infinity; it may then find nothing."""


class IUserStore(Interface):
    """Who the users are: written by provisioning, read by the core."""

    def put(user: User) -> Deferred[int]:
        """Store the user if the stored version is still ``user.version`` (0: is new).

        Returns: the new version.
        Raises:
            Conflict: another version is stored, or an identity is another user's.
        """

    def put_many(users: Iterable[User]) -> Deferred[int]:
        """Store all or none, over whatever is there. Returns: how many.

        Other writes wait meanwhile: some thousands at a time do well.

        Raises:
            Conflict: an identity is another user's.
        """

    def remove(private_id: str) -> Deferred[bool]:
        """Remove the user. Returns: whether there was one."""

    def get(private_id: str) -> Deferred[User | None]:
        """Return the user of that digest user name."""

    def get_by_identity(uri: str) -> Deferred[User | None]:
        """Return the user who has that public identity (canonical URI)."""

    def peek(private_id: str) -> User | None:
        """Return the user at once, from memory."""

    def peek_by_identity(uri: str) -> User | None:
        """Return the user who has that public identity at once, from memory."""

    def watch(changed: Callable[[], object]) -> None:
        """Call ``changed`` whenever what is in memory of a user has changed."""

    def private_ids() -> Iterator[str]:
        """Iterate over all private identities; writing meanwhile is allowed."""

    def count() -> int:
        """Return how many users there are."""


class IDeferredStore(Interface):
    """Messages that wait for their recipients.

    ``events`` are appended to the outbox in the same commit as the fact.
    """

    def add(
        message: DeferredMessage,
        quota: Quota | None = None,
        events: tuple[ServiceEventRecord, ...] = (),
    ) -> Deferred[Added]:
        """Keep a message; it is durable when this fires.

        A message with the sender and non-empty ``message_id`` of one that is or was here is
        a duplicate: nothing is written, no event. Reports make room for other messages.

        Raises:
            QuotaExceeded: no room for it.
            Conflict: the reference is taken.
        """

    def waiting(
        recipient: str, now: float, after: int = 0, limit: int = 100, bodies: bool = True
    ) -> Deferred[tuple[DeferredMessage, ...]]:
        """Return what waits or is on its way, unexpired, behind position ``after``, in order.

        Args:
            bodies: False leaves ``body`` empty.
        """

    def get(recipient: str, reference: str) -> Deferred[DeferredMessage | None]:
        """Return one message that still has its content."""

    def attempt(
        recipient: str, references: Sequence[str], attempt: str, now: float, until: float
    ) -> Deferred[tuple[str, ...]]:
        """Note durably that delivery is tried under the name ``attempt``.

        Returns: the references that are the caller's to try: not those that are finished,
        and not those that another attempt holds beyond ``now``.
        """

    def release(recipient: str, references: Sequence[str], attempt: str) -> Deferred[int]:
        """The attempt surely did not deliver: they wait again. Returns: how many."""

    def finish(
        recipient: str,
        references: Sequence[str],
        state: int,
        keep_until: float,
        events: tuple[ServiceEventRecord, ...] = (),
    ) -> Deferred[tuple[str, ...]]:
        """End messages as DELIVERED, DELETED or EXPIRED and drop their content.

        Args:
            keep_until: until then a duplicate is still recognised.

        Returns: the references that this call has ended; events are appended if any.
        """

    def usage(recipient: str) -> Deferred[Usage]:
        """Return what counts for the quota."""

    def recipients(after: str = "", limit: int = 1000) -> Deferred[tuple[str, ...]]:
        """Return addresses with messages, sorted, those behind ``after``."""

    def expired(now: float, limit: int = 100) -> Deferred[tuple[DeferredMessage, ...]]:
        """Return unfinished messages whose validity is over, the longest over first."""

    def sweep(now: float) -> Deferred[int]:
        """Forget ended messages that nobody needs recognised. Returns: how many."""


class IOutbox(Interface):
    """Service events, kept until every reader has them."""

    def append(events: Sequence[ServiceEventRecord]) -> Deferred[int]:
        """Keep events. Returns: the position of the last; 0 for none."""

    def read(after: int, limit: int = 100) -> Deferred[tuple[ServiceEventRecord, ...]]:
        """Return events behind position ``after``, in order. None is ever skipped."""

    def mark(reader: str, position: int) -> Deferred[None]:
        """Note that the reader has all up to ``position``; its first mark enrols it."""

    def positions() -> Deferred[dict[str, int]]:
        """Return the mark of each reader."""

    def forget(reader: str) -> Deferred[None]:
        """Strike the reader off: nothing is kept for it."""

    def trim() -> Deferred[int]:
        """Drop what all readers have; all, when there is none. Returns: how many."""


class IHistoryStore(Interface):
    """Recorded conversations.

    ``events`` are appended to the outbox in the same commit as the fact.
    """

    def record(
        conversation: Conversation,
        entries: Sequence[HistoryEntry] = (),
        events: tuple[ServiceEventRecord, ...] = (),
        once: bool = False,
    ) -> Deferred[Conversation]:
        """Begin, extend or change a conversation and append entries to it.

        A conversation of that owner and reference that is there gets the given end, cut off or
        not, expiry, subject and participants; with ``once`` it stays as it is, and nothing is
        written. Returns: it, as it is now.
        """

    def get(owner: str, reference: str) -> Deferred[Conversation | None]:
        """Return one conversation."""

    def search(
        owner: str,
        peer: str = "",
        since: float = 0.0,
        until: float = NEVER,
        after: int = 0,
        limit: int = 100,
        latest: bool = False,
    ) -> Deferred[tuple[Conversation, ...]]:
        """Return conversations that were going on at some time from ``since`` to ``until``.

        Args:
            peer: only those with this other side.
            after: only those behind this position.
            latest: the last recorded first; ``after`` is then the position to go on before.
        """

    def entries(
        owner: str, reference: str, after: int = 0, limit: int = 100
    ) -> Deferred[tuple[HistoryEntry, ...]]:
        """Return the messages of a conversation in order, those behind ``after``."""

    def unended(
        after: int = 0, limit: int = 100
    ) -> Deferred[tuple[tuple[Conversation, float], ...]]:
        """Return conversations of anybody that have no end, in order, those behind ``after``.

        Each comes with the time of its last message, that of its start where it has none.
        """

    def delete(
        owner: str, references: Sequence[str], events: tuple[ServiceEventRecord, ...] = ()
    ) -> Deferred[int]:
        """Remove conversations and their entries. Returns: how many; events if any."""

    def usage(owner: str) -> Deferred[Usage]:
        """Return how many conversations the owner has, and their size."""

    def sweep(now: float) -> Deferred[int]:
        """Remove what has expired. Returns: how many conversations."""


class IPublicationStore(Interface):
    """Published event state, until it expires."""

    def put(publication: Publication, old_etag: str = "") -> Deferred[None]:
        """Store a publication in the place of the one with ``old_etag`` ("": it is new).

        Raises:
            Conflict: there is none with that entity-tag, or it is another's (answer 412).
        """

    def get(etag: str) -> Deferred[Publication | None]:
        """Return the publication with that entity-tag."""

    def remove(etag: str) -> Deferred[bool]:
        """Remove it. Returns: whether it was there."""

    def of(aor: str, package: str, now: float) -> Deferred[tuple[Publication, ...]]:
        """Return what is published and not expired, the oldest first."""

    def aors(package: str, after: str = "", limit: int = 1000) -> Deferred[tuple[str, ...]]:
        """Return addresses for which something is stored, sorted, those behind ``after``."""

    def take_expired(
        now: float, limit: int = 100, package: str = ""
    ) -> Deferred[tuple[Publication, ...]]:
        """Remove expired publications, only those of a package if one is named. Returns: them."""


class ISubscriptionStore(Interface):
    """Subscriptions that outlive the process that holds their dialogs."""

    def put(subscription: SubscriptionRecord) -> Deferred[int]:
        """Store it if the stored version is still ``subscription.version`` (0: is new).

        Returns: the new version.
        Raises:
            Conflict: another version is stored.
        """

    def get(key: str) -> Deferred[SubscriptionRecord | None]:
        """Return one subscription."""

    def remove(key: str) -> Deferred[bool]:
        """Remove it. Returns: whether it was there."""

    def to(resource: str, package: str) -> Deferred[tuple[SubscriptionRecord, ...]]:
        """Return the subscriptions to that resource, by key."""

    def held_by(
        node: str, after: str = "", limit: int = 1000
    ) -> Deferred[tuple[SubscriptionRecord, ...]]:
        """Return the subscriptions that a node holds, by key, those behind ``after``."""

    def expired(now: float, limit: int = 100) -> Deferred[tuple[SubscriptionRecord, ...]]:
        """Return expired subscriptions, the longest expired first."""


class ILeaseStore(Interface):
    """Who may act for a name: one owner at a time."""

    def acquire(name: str, owner: str, now: float, until: float) -> Deferred[Lease]:
        """Take or prolong a lease, if it is free, run out, or the owner's already.

        Returns: the lease as it is now: it is yours if its ``owner`` is you.
        """

    def release(name: str, owner: str) -> Deferred[bool]:
        """Give a lease back. Returns: whether the owner had it."""

    def get(name: str) -> Deferred[Lease | None]:
        """Return the lease, run out or not."""

    def held(prefix: str = "") -> Deferred[tuple[Lease, ...]]:
        """Return the leases whose names begin so, by name; run out or not."""


class IDocumentStore(Interface):
    """Documents by path, changed by compare-and-set on the entity-tag."""

    def get(path: str) -> Deferred[Document | None]:
        """Return a document."""

    def put(document: Document, old_etag: str = "") -> Deferred[None]:
        """Store a document in the place of the one with ``old_etag`` ("": none is there).

        Raises:
            Conflict: what is there has another entity-tag.
        """

    def remove(path: str, old_etag: str) -> Deferred[None]:
        """Remove a document.

        Raises:
            Conflict: what is there has another entity-tag, or nothing is there.
        """

    def under(
        prefix: str = "", after: str = "", limit: int = 1000
    ) -> Deferred[tuple[Document, ...]]:
        """Return documents without bodies whose paths begin so, by path, behind ``after``."""


@attrs.frozen(eq=False)
class Stores:
    """All stores of one node."""

    bindings: IBindingStore
    users: IUserStore
    deferred: IDeferredStore
    outbox: IOutbox
    history: IHistoryStore
    publications: IPublicationStore
    subscriptions: ISubscriptionStore
    leases: ILeaseStore
    documents: IDocumentStore
    gauges: Callable[[], dict[str, float]]  # what a metrics page shows, by name
    close: Callable[[], Deferred[None]]  # finish what was asked for, then let go of the data
