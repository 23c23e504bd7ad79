"""What an event package tells a notifier: the part that a plugin writes.

Subclass :class:`EventPackage` (or provide :class:`IEventPackage`), give it to
:meth:`omaim.roles.notifier.Notifier.serve`, and call ``notifier.changed`` when a resource has a
new state. Everything else (dialogs, refreshing, expiry, rates, failures) is done.

Spec: RFC 6665 §5
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

import attrs
from zope.interface import Attribute, Interface, implementer

from omaim.errors import PeerError
from omaim.roles.incoming import Incoming
from omaim.sip.headers import AcceptItem, ContentType
from omaim.sip.message import Request
from omaim.sip.subscription import ACTIVE, Subscription, Terms
from omaim.sip.uri import canonical_aor

ALLOWED: Final = True
UNDECIDED: Final = False  # pending, until Notifier.decide says otherwise


@attrs.frozen
class State:
    """One state document; ``headers`` may name more than its type."""

    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


class Served:
    """One subscription as its package and the notifier see it.

    Attributes:
        package: the event package.
        resource: the key that :meth:`IEventPackage.resource` gave.
        watcher: who subscribed: the canonical asserted identity, else the From.
        content_type: the media type chosen for this subscriber.
        context: the package's own notes, such as the version last sent; it may also be set
            while authorizing, to show a polite nothing.
    """

    __slots__ = ("content_type", "context", "machine", "package", "resource", "watcher")

    def __init__(
        self,
        package: IEventPackage,
        resource: str,
        watcher: str,
        content_type: str,
        machine: Subscription,
        context: object,
    ) -> None:
        self.package = package
        self.resource = resource
        self.watcher = watcher
        self.content_type = content_type
        self.machine = machine
        self.context = context

    @property
    def subscribe(self) -> Request:
        """The SUBSCRIBE that made it."""
        return self.machine.subscribe

    @property
    def active(self) -> bool:
        """It is authorized and running."""
        return self.machine.state == ACTIVE


class IEventPackage(Interface):
    """One event package as a notifier serves it."""

    name = Attribute('str: as in Event, "presence".')
    terms = Attribute("omaim.sip.subscription.Terms: durations and the least interval.")
    types = Attribute("tuple[str, ...]: media types it can send, the default one first.")

    def resource(request: Request) -> str:
        """Return the key of the resource that a SUBSCRIBE is about.

        Raises:
            PeerError: 404 and the like.
        """

    def authorize(incoming: Incoming, resource: str) -> bool | Awaitable[bool]:
        """Decide whether the subscriber may: :data:`ALLOWED` or :data:`UNDECIDED`.

        Raises:
            PeerError: 403, 603, 404, … refuses.
        """

    def begin(incoming: Incoming, resource: str) -> object:
        """Return the ``context`` of a new subscription."""

    def revive(subscribe: Request, resource: str, told: int) -> object:
        """Return the ``context`` of a subscription that outlived a restart.

        Args:
            told: more NOTIFYs than were sent: versions that count them go on from here.
        """

    def state(served: Served, full: bool) -> State | Awaitable[State | None] | None:
        """Return what a NOTIFY now due shall carry; ``None`` sends an empty one.

        Args:
            served: the subscription; never one that may not see the state.
            full: nothing may be taken as known to the subscriber: no difference.
        """

    def ended(served: Served) -> None:
        """The subscription is over."""


@implementer(IEventPackage)
class EventPackage:
    """An event package that lets everybody watch an address of record.

    Override :meth:`state`, and what else differs.

    Args:
        name: as in Event.
        types: media types, the default first.
        terms: durations and the least interval.
    """

    def __init__(self, name: str, types: tuple[str, ...], terms: Terms | None = None) -> None:
        self.name = name
        self.types = types
        self.terms = terms or Terms()

    def resource(self, request: Request) -> str:
        return canonical_aor(request.uri)

    def authorize(self, incoming: Incoming, resource: str) -> bool | Awaitable[bool]:
        return ALLOWED

    def begin(self, incoming: Incoming, resource: str) -> object:
        return None

    def revive(self, subscribe: Request, resource: str, told: int) -> object:
        return None

    def state(self, served: Served, full: bool) -> State | Awaitable[State | None] | None:
        return None

    def ended(self, served: Served) -> None:
        pass


def choose_type(request: Request, types: tuple[str, ...]) -> str:
    """Return the media type that the Accept of a SUBSCRIBE likes best.

    Raises:
        PeerError: 406: it takes none of ``types``.

    Spec: RFC 6665 §3.1.3, §4.1.2.1; RFC 3261 §20.1
    """
    values = request.values("Accept")
    if not values or not types:
        return types[0] if types else ""
    items = [AcceptItem.parse(value) for value in values]
    best, chosen = 0.0, ""
    for kind in types:
        parsed = ContentType.parse(kind)
        q = max((item.q for item in items if item.covers(parsed)), default=0.0)
        if q > best:
            best, chosen = q, kind
    if not chosen:
        raise PeerError(f"only {', '.join(types)} can be sent", 406)
    return chosen


def watcher_of(request: Request) -> str:
    """Return who sent a request: its asserted identity if it has one, else its From.

    What untrusted peers assert has been stripped at the edge (RFC 3325 §8).
    """
    asserted = request.addresses("P-Asserted-Identity")
    return canonical_aor(asserted[0].uri_text if asserted else request.from_.uri_text)
