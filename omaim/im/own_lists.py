"""Lists that users subscribe to: what waits for them, what is recorded for them.

Clients differ in the event package that they use, and all of them show either list: that of the
function whose address they subscribe to, or, at their own address, the one that they accept.

Spec: OMA SIMPLE IM 1.0 (deferred messaging, conversation history); RFC 6665; RFC 6080 (ua-profile)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from omaim.errors import PeerError
from omaim.roles.incoming import Incoming
from omaim.roles.notifier import Notifier
from omaim.roles.packages import ALLOWED, EventPackage, Served, State, choose_type, watcher_of
from omaim.sip.message import Request
from omaim.sip.subscription import Terms
from omaim.sip.uri import canonical_aor

PACKAGES: Final = ("xcap-diff", "sip-profile", "ua-profile")
INTERVAL: Final = 2.0  # least seconds between two notifications of changes

_TERMS: Final = Terms(interval=INTERVAL)


@attrs.frozen
class Shelf:
    """One kind of list.

    Attributes:
        address: of the function that keeps it; may stand in a Request-URI.
        media_type: of the list.
        document: returns the list of a user as the SUBSCRIBE wants it.
        check: raises PeerError for a SUBSCRIBE whose wish cannot be understood.
    """

    address: str
    media_type: str
    document: Callable[[str, Request], Awaitable[bytes]]
    check: Callable[[Request], object]

    def key(self, user: str) -> str:
        """Return what the list of a user is called among resources."""
        return f"{self.address} {user}"


class OwnLists(EventPackage):
    """One event package that shows users their own lists.

    Args:
        shelves: the kinds of lists; the first is what a subscriber without preference gets.
        ours: whether an address is one of our users.
    """

    def __init__(self, name: str, shelves: tuple[Shelf, ...], ours: Callable[[str], bool]) -> None:
        super().__init__(name, tuple(one.media_type for one in shelves), _TERMS)
        self._shelves = shelves
        self._ours = ours

    def resource(self, request: Request) -> str:
        """Return which list it is about: one of who asks.

        Raises:
            PeerError: 403, something of somebody else; 406, a list that is not accepted.
        """
        watcher = watcher_of(request)
        asked = canonical_aor(request.uri)
        if not self._ours(watcher):
            raise PeerError("nothing is kept here for others than our users", 403)
        kind = "" if asked != watcher else choose_type(request, self.types)
        for shelf in self._shelves:
            if shelf.address == asked:
                choose_type(request, (shelf.media_type,))
            elif shelf.media_type != kind:
                continue
            shelf.check(request)
            return shelf.key(watcher)
        raise PeerError("what is kept for others is not shown", 403)

    def authorize(self, incoming: Incoming, resource: str) -> bool | Awaitable[bool]:
        """Everybody may see what is kept for them; who it is, the core has said."""
        if not incoming.request.has("P-Asserted-Identity"):
            raise PeerError("nobody vouches for the subscriber", 403)
        return ALLOWED

    def state(self, served: Served, full: bool) -> Awaitable[State | None]:
        """Return the list, whole each time."""
        address, _, user = served.resource.rpartition(" ")
        shelf = next(one for one in self._shelves if one.address == address)
        return self._state(shelf, user, served.subscribe)

    async def _state(self, shelf: Shelf, user: str, request: Request) -> State:
        return State(await shelf.document(user, request), shelf.media_type)


@attrs.frozen
class Told:
    """Those who watch one kind of list."""

    notifier: Notifier
    shelf: Shelf

    def watched(self, user: str) -> bool:
        """Tell whether a device of a user watches the list."""
        key = self.shelf.key(user)
        return any(self.notifier.watchers(name, key) for name in PACKAGES)

    def changed(self, user: str) -> None:
        """Tell them that the list of a user has changed."""
        key = self.shelf.key(user)
        for name in PACKAGES:
            self.notifier.changed(name, key)
