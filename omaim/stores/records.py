"""The values that the stores hold: frozen, of strings, numbers and bytes only.

Read this file before :mod:`omaim.stores.interfaces`. Times are seconds since the epoch, UTC,
and come from the caller; ``NEVER`` means without end. Addresses of record are canonical.
A :class:`Binding` is the one that :mod:`omaim.sip.bindings` computes with, a
:class:`BindingSet` what :mod:`omaim.sip.bound` keeps in memory.
"""

from __future__ import annotations

from typing import Final

import attrs

from omaim.sip.bindings import Binding as Binding
from omaim.sip.bound import BindingSet as BindingSet

NEVER: Final = float("inf")  # an ``expires_at`` that does not come


@attrs.frozen(weakref_slot=False)
class Credential:
    """What digest authentication checks against: never the password itself.

    Spec: RFC 7616 §3.4.2
    """

    algorithm: str  # "MD5", "SHA-256", "SHA-512-256", "AKAv1-MD5"
    realm: str
    ha1: str = attrs.field(repr=False)  # lower-case hex of H(user:realm:password)


@attrs.frozen(weakref_slot=False)
class PublicIdentity:
    """An address by which a user is known to others.

    Spec: 3GPP TS 23.228 §4.3.3.4 (implicit registration sets)
    """

    uri: str  # canonical "sip:…" or "tel:…"
    barred: bool = False  # may be registered, not used
    implicit_set: int = 1  # those with the same number register together; 0: on its own
    display: str = ""
    default: bool = False  # asserted when the user does not say which; else the first unbarred


@attrs.frozen(weakref_slot=False)
class User:
    """One subscription: who it is, how it proves that, and what it is served by."""

    private_id: str  # the digest user name, without "sip:"
    identities: tuple[PublicIdentity, ...]
    credentials: tuple[Credential, ...] = ()
    secret: str = attrs.field(default="", repr=False)  # only where a scheme needs it (AKA)
    im_service: bool = True  # subscribed to the IM service
    profile: str = attrs.field(default="", repr=False)  # Cx ServiceProfile XML; "" the domain's
    ccf: tuple[str, ...] = ()  # offline charging function addresses, primary first
    ecf: tuple[str, ...] = ()  # online ones
    settings: tuple[tuple[str, str], ...] = ()  # name and value, by name
    version: int = 0  # of the stored record; what writing compares

    def identity(self, uri: str) -> PublicIdentity | None:
        """Return the identity of that canonical URI, if it is this user's."""
        for identity in self.identities:
            if identity.uri == uri:
                return identity
        return None

    def usable(self) -> tuple[str, ...]:
        """Return the identities that it may call itself by, the default ones first."""
        if len(self.identities) == 1 and not self.identities[0].barred:
            return (self.identities[0].uri,)
        there = [one for one in self.identities if not one.barred]
        there.sort(key=lambda one: not one.default)
        return tuple([one.uri for one in there])

    def registered_with(self, uri: str) -> tuple[PublicIdentity, ...]:
        """Return all identities that registering ``uri`` registers, the default one first."""
        own = self.identity(uri)
        if own is None:
            return ()
        if own.implicit_set == 0 or len(self.identities) == 1:
            return (own,)
        together = [one for one in self.identities if one.implicit_set == own.implicit_set]
        together.sort(key=lambda one: (one.barred, not one.default))
        return tuple(together)


WAITING: Final = 0  # to be delivered
ATTEMPTED: Final = 1  # on its way: it may have arrived, nobody has confirmed it
DELIVERED: Final = 2  # confirmed by the recipient; content gone
DELETED: Final = 3  # removed at somebody's wish; content gone
EXPIRED: Final = 4  # its validity ended; content gone

PAGER: Final = "pager"
LARGE: Final = "large"
REPORT: Final = "report"  # an IMDN: the first to go when room is short


@attrs.frozen(weakref_slot=False)
class DeferredMessage:
    """A message kept for a recipient who cannot have it now."""

    recipient: str  # address of record
    reference: str  # names it among the recipient's; not guessable
    sender: str  # address of record
    message_id: str  # imdn.Message-ID, else what tells it apart; "" never a duplicate
    content_type: str
    body: bytes = attrs.field(repr=False)
    stored_at: float
    expires_at: float
    sent_at: float = 0.0  # when the sender says it was sent
    kind: str = PAGER
    subject: str = ""
    headers: tuple[tuple[str, str], ...] = ()  # further header lines that delivery repeats
    state: int = WAITING
    attempt: str = ""  # names the latest attempt
    attempt_until: float = 0.0  # until then nobody else tries
    attempts: int = 0
    position: int = 0  # order of storing, rising; given by the store
    size: int = 0  # octets that count for the quota; given by the store


@attrs.frozen(weakref_slot=False)
class Quota:
    """How much one recipient may have waiting."""

    count: int = 1000
    size: int = 16 * 1024 * 1024  # octets


@attrs.frozen(weakref_slot=False)
class Usage:
    """How much one owner has stored."""

    count: int = 0
    size: int = 0  # octets


@attrs.frozen(weakref_slot=False)
class Added:
    """What became of a message given to the store."""

    reference: str  # of the message that is stored: the first one's for a duplicate
    position: int
    duplicate: bool = False
    dropped: tuple[str, ...] = ()  # references of reports that made room for it


@attrs.frozen(weakref_slot=False)
class ServiceEventRecord:
    """A fact that charging, history or interception must not miss."""

    kind: str  # the event's type, "MessageAccepted"
    at: float
    data: bytes = attrs.field(repr=False)  # the event itself, as its writer packs it
    about: str = ""  # the address of record it concerns
    position: int = 0  # rising in the order of commits; given by the store


@attrs.frozen(weakref_slot=False)
class Publication:
    """State that a user's device has published.

    Spec: RFC 3903 §4, §6
    """

    aor: str  # whose state it is
    package: str  # the event package, "presence"
    etag: str  # the entity-tag given out; unique in the store
    expires_at: float
    content_type: str
    body: bytes = attrs.field(repr=False)
    publisher: str = ""  # who authenticated
    published_at: float = 0.0


@attrs.frozen(weakref_slot=False)
class SubscriptionRecord:
    """One subscription that this domain serves: enough to go on after a restart.

    Spec: RFC 6665 §4.4; RFC 3261 §12 (the dialog)
    """

    key: str  # names it: Call-ID, tags and event id together, as its owner writes them
    resource: str  # address of record, or URI of what is watched
    package: str
    watcher: str  # address of record of who watches
    expires_at: float
    node: str = ""  # the node that holds the dialog
    state: str = "active"  # "active", "pending", "waiting"
    event_id: str = ""
    accept: tuple[str, ...] = ()
    call_id: str = ""
    local_tag: str = ""
    remote_tag: str = ""
    local_uri: str = ""
    remote_uri: str = ""
    remote_target: str = ""
    route_set: tuple[str, ...] = ()
    local_cseq: int = 0
    remote_cseq: int = 0
    notified: int = 0  # version of the document last sent
    extra: str = ""  # what the event package keeps
    version: int = 0  # of the stored record; what writing compares


@attrs.frozen(weakref_slot=False)
class Lease:
    """Who may act for something, and until when."""

    name: str
    owner: str
    until: float
    version: int  # rises when the owner changes: a late owner's writes can be told


@attrs.frozen(weakref_slot=False)
class Document:
    """A document by its path."""

    path: str  # "groups/users/sip:alice@one.example/friends"
    etag: str  # differs after each change
    content_type: str
    body: bytes = attrs.field(repr=False)
    changed_at: float = 0.0


@attrs.frozen(weakref_slot=False)
class Conversation:
    """One entry in the list of an owner's recorded conversations.

    Spec: OMA IM XDM §5.1 (history-list): metadata only
    """

    owner: str  # address of record whose history this is
    reference: str  # names it among the owner's; not guessable
    kind: str  # "pager", "large", "session", "conference"
    peer: str  # address of record of the other side, or of the group
    started_at: float
    ended_at: float = NEVER  # NEVER while it goes on
    expires_at: float = NEVER
    subject: str = ""
    participants: tuple[str, ...] = ()
    count: int = 0  # entries; given by the store
    size: int = 0  # octets of all entries; given by the store
    position: int = 0  # order of recording, rising; given by the store
    cut_off: bool = False  # nobody saw its end: ``ended_at`` is the last thing known of it


@attrs.frozen(weakref_slot=False)
class HistoryEntry:
    """One message of a recorded conversation."""

    owner: str
    reference: str  # of the conversation
    at: float
    sender: str
    recipient: str
    content_type: str
    body: bytes = attrs.field(repr=False)
    message_id: str = ""
    position: int = 0  # order of recording, rising; given by the store
