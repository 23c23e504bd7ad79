"""The users of the store as the routing wants them.

Spec: 3GPP TS 24.229 §5.4.3 (request routing)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from omaim.core.registered import primary_of
from omaim.core.service_profile import Profile
from omaim.sip.charging import ChargingFunctions
from omaim.sip.held import HELD, Held
from omaim.sip.subscribed import Served, Subscriber, Subscribers
from omaim.stores.interfaces import IUserStore
from omaim.stores.records import User


def subscribers_of(
    users: IUserStore, profile_of: Callable[[User, str], Profile], most: int = HELD
) -> Subscribers:
    """Return what finds the users of a store; whoever changes there is worked out anew.

    Args:
        users: where they are kept.
        profile_of: the service profile of an identity of a user.
        most: identities held at most.
    """

    def find(aor: str) -> Served | None:
        user = users.peek_by_identity(aor)
        if user is None:
            return None
        identity = user.identity(aor)
        barred = identity is None or identity.barred
        profile = profile_of(user, aor)
        plain = not profile.filters.criteria
        associated = [f"<{one.uri}>" for one in user.registered_with(aor) if not one.barred]
        return Served(
            subscriber_of(user),
            aor,
            primary_of(user, aor),
            tuple(associated),
            barred,
            plain,
            profile,
        )

    found = Held(find, most)
    users.watch(found.forget)
    return found


def subscriber_of(user: User) -> Subscriber:
    """Return a user as the proxy wants it."""
    functions = charging_functions(user)
    return Subscriber(user.private_id, user.usable(), user.im_service, functions, user)


def charging_functions(user: User) -> str:
    """Return the user's own charging functions as a header value, "" for the usual ones."""
    return str(ChargingFunctions(user.ccf, user.ecf)) if user.ccf or user.ecf else ""


def user_of(served: Served) -> User:
    """Return the record of who is served."""
    return cast(User, served.subscriber.user)


def profile_of(served: Served) -> Profile:
    """Return the service profile of who is served."""
    return cast(Profile, served.profile)
