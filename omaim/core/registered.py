"""What a registration is: to those who follow it, to the store, and by whom it was made."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from omaim.sip.bindings import Binding, Change
from omaim.sip.message import Request, Response
from omaim.stores.records import User


@attrs.frozen
class Registration:
    """What changed for one user, for whoever follows registrations."""

    user: User
    aor: str  # the primary identity, under which bindings are kept
    bindings: tuple[Binding, ...]  # those that are left
    changes: tuple[Change, ...]
    kind: int  # INITIAL, AGAIN or ENDED
    request: Request | None = None  # the REGISTER, if one caused it
    response: Response | None = None


Follower = Callable[[Registration], None]


def primary_of(user: User, aor: str) -> str:
    """Return the identity under which the bindings of ``aor`` are kept."""
    if len(user.identities) == 1:
        return aor
    together = user.registered_with(aor)
    return together[0].uri if together else aor
