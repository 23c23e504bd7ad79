"""The users of a core as its routing wants them: worked out once, looked up once per request.

Spec: 3GPP TS 24.229 §5.4.3 (request routing)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from omaim.core.registered import primary_of
from omaim.core.service_profile import Profile
from omaim.stores.interfaces import IUserStore
from omaim.stores.records import User

HELD: Final = 16_384  # identities held so at most; what is asked for again is worked out again


@attrs.frozen
class Served:
    """A user of this domain whose profile a request passes, under one of its identities."""

    user: User
    aor: str  # the identity that is used
    primary: str  # under which its bindings are kept
    barred: bool  # the identity may be registered, not used
    usable: tuple[str, ...]  # the identities that the user may call itself by
    profile: Profile


class Subscribers:
    """Finds users by their identities.

    Args:
        users: where they are kept; whoever it says has changed is worked out anew.
        profile_of: the service profile of an identity of a user.
    """

    def __init__(self, users: IUserStore, profile_of: Callable[[User, str], Profile]) -> None:
        self._peek = users.peek_by_identity
        self._profile_of = profile_of
        self._held: dict[str, Served] = {}

    def of(self, aor: str) -> Served | None:
        """Return who has this identity, ``None`` for nobody."""
        user = self._peek(aor)
        if user is None:
            return None
        held = self._held.get(aor)
        if held is not None and held.user is user:
            return held
        if len(self._held) >= HELD:
            self._held.clear()
        identity = user.identity(aor)
        barred = identity is None or identity.barred
        held = self._held[aor] = Served(
            user, aor, primary_of(user, aor), barred, user.usable(), self._profile_of(user, aor)
        )
        return held
