"""The registration event package: who is registered where, and why no longer.

One document tells of all identities that register together. A subscriber gets all of it first,
then what changed; versions count up within each subscription.

Spec: RFC 3680; RFC 5628; 3GPP TS 24.229 §5.4.2.1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from omaim.bodies.reginfo import (
    ACTIVE,
    INIT,
    MEDIA_TYPE,
    TERMINATED,
    Contact,
    Reginfo,
    write_reginfo,
)
from omaim.bodies.reginfo import Registration as Element
from omaim.core.registered import Registration, primary_of
from omaim.core.registrar import Registrar
from omaim.errors import PeerError
from omaim.grammar import parse_params
from omaim.roles.incoming import Incoming
from omaim.roles.notifier import Notifier
from omaim.roles.packages import ALLOWED, EventPackage, Served, State, watcher_of
from omaim.sip.bindings import REFRESHED, REGISTERED, Binding, Change
from omaim.sip.gruu import Gruus
from omaim.sip.message import Request
from omaim.sip.neighbours import SERVICE, Neighbours
from omaim.sip.subscription import Terms
from omaim.sip.uri import canonical_aor
from omaim.stores.interfaces import IUserStore
from omaim.stores.records import User

DURATION: Final = 3761  # seconds, RFC 3680 §4.4
LONGEST: Final = 604_800
_KNOWN: Final = frozenset({"q", "expires"})


class _Told:
    """What one subscriber knows.

    Attributes:
        version: of its next document.
        changes: by contact id, that it was not told yet.
    """

    __slots__ = ("changes", "version")

    def __init__(self, version: int = 0) -> None:
        self.version = version
        self.changes: dict[str, Change] = {}


class RegEvent(EventPackage):
    """The package of one domain's registrar.

    Args:
        notifier: serves it.
        neighbours: application servers may watch everybody.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        notifier: Notifier,
        users: IUserStore,
        registrar: Registrar,
        neighbours: Neighbours,
        gruus: Gruus,
        now: Callable[[], float],
    ) -> None:
        super().__init__("reg", (MEDIA_TYPE,), Terms(DURATION, 60, LONGEST))
        self._notifier = notifier
        self._users = users
        self._registrar = registrar
        self._neighbours = neighbours
        self._gruus = gruus
        self._now = now
        notifier.serve(self)

    def follow(self, registration: Registration) -> None:
        """Tell all who watch what changed."""
        watchers = self._notifier.watchers(self.name, registration.aor)
        for served in watchers:
            told = served.context
            if isinstance(told, _Told):
                for change in registration.changes:
                    told.changes[change.binding.contact_id] = change
        if watchers and registration.changes:
            self._notifier.changed(self.name, registration.aor)

    # What the notifier asks

    def resource(self, request: Request) -> str:
        aor = canonical_aor(request.uri)
        return primary_of(self._user(aor), aor)

    def authorize(self, incoming: Incoming, resource: str) -> bool:
        """Let users watch themselves, and our application servers everybody.

        Spec: RFC 3680 §4.7; 3GPP TS 24.229 §5.4.2.1.1
        """
        neighbour = self._neighbours.of(incoming.flow)
        if neighbour is not None and neighbour.kind == SERVICE:
            return ALLOWED
        identity = self._user(resource).identity(watcher_of(incoming.request))
        if neighbour is not None or identity is None or identity.barred:
            raise PeerError("only the user itself may watch its registration", 403)
        return ALLOWED

    def begin(self, incoming: Incoming, resource: str) -> object:
        return _Told()

    def revive(self, subscribe: Request, resource: str, told: int) -> object:
        return _Told(told)

    def state(self, served: Served, full: bool) -> State | None:
        told = served.context
        if not isinstance(told, _Told):
            return None
        now = self._now()
        bindings = self._registrar.reachable(served.resource, now)
        changes, told.changes = told.changes, {}
        if full:
            contacts = [
                self._contact(Change(_latest_event(one), one), now)
                for one in bindings
                if one.contact_id not in changes
            ]
        else:
            contacts = []
        contacts += [self._contact(change, now) for change in changes.values()]
        state = ACTIVE if bindings else TERMINATED if changes else INIT
        registrations = tuple(
            Element(uri, f"r{number}", state, tuple(contacts))
            for number, uri in enumerate(self._together(served.resource))
        )
        document = Reginfo(told.version, full, registrations)
        told.version += 1
        return State(write_reginfo(document), MEDIA_TYPE)

    def _user(self, aor: str) -> User:
        user = self._users.peek_by_identity(aor)
        if user is None:
            raise PeerError("nobody has this address here", 404)
        return user

    def _together(self, primary: str) -> list[str]:
        """Return the identities that a document tells of."""
        user = self._users.peek_by_identity(primary)
        if user is None:
            return [primary]
        return [one.uri for one in user.registered_with(primary) if not one.barred]

    def _contact(self, change: Change, now: float) -> Contact:
        binding = change.binding
        return Contact(
            id=binding.contact_id,
            event=change.event,
            uri=binding.contact,
            q=f"{binding.q:g}" if binding.q != 1.0 else "",
            duration=max(0, int(now - binding.registered_at)),
            expires=0 if change.gone else max(0, int(binding.expires_at - now)),
            retry_after=change.retry_after or None,
            call_id=binding.call_id,
            cseq=binding.cseq,
            params=_unknown(binding.params),
            pub_gruu=binding.pub_gruu,
            temp_gruu="" if change.gone else binding.temp_gruu,
            first_cseq=self._gruus.first_cseq(binding.temp_gruu),
        )


def _latest_event(binding: Binding) -> str:
    return REFRESHED if binding.updated_at > binding.registered_at else REGISTERED


def _unknown(text: str) -> tuple[tuple[str, str], ...]:
    """Return the parameters of a Contact that RFC 3261 does not know (RFC 3680 §5.1)."""
    params = parse_params(text)
    return tuple((name, params.get(name) or "") for name in params.names if name not in _KNOWN)
