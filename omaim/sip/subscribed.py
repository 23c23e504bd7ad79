"""The users of a domain as its proxy wants them: worked out once, found once per request.

Spec: 3GPP TS 24.229 §5.4.3 (request routing)
"""

from __future__ import annotations

from typing import Final, TypeAlias, final

from omaim.sip.held import Held


@final
class Subscriber:
    """A user of this domain.

    Attributes:
        private_id: who it is when it proves it.
        usable: canonical URIs that it may call itself by, the default one first.
        im_service: whether it may use the IM service.
        functions: its own charging functions as a header value, "" for the usual ones.
        user: the record in the store; the proxy only passes it on.
    """

    __slots__ = ("functions", "im_service", "private_id", "usable", "user")

    def __init__(
        self,
        private_id: str,
        usable: tuple[str, ...],
        im_service: bool,
        functions: str,
        user: object,
    ) -> None:
        self.private_id: Final = private_id
        self.usable: Final = usable
        self.im_service: Final = im_service
        self.functions: Final = functions
        self.user: Final = user


@final
class Served:
    """A user whose services a request passes, under one of its identities.

    Attributes:
        subscriber: the user.
        aor: the identity that is used.
        primary: the one under which its bindings are kept.
        associated: those that are registered with it and may be used, as P-Associated-URI says
            them; its own among them.
        barred: the identity may be registered, not used.
        plain: no application server is ever asked for it.
        profile: its service profile; the proxy only passes it on.
    """

    __slots__ = ("aor", "associated", "barred", "plain", "primary", "profile", "subscriber")

    def __init__(
        self,
        subscriber: Subscriber,
        aor: str,
        primary: str,
        associated: tuple[str, ...],
        barred: bool,
        plain: bool,
        profile: object,
    ) -> None:
        self.subscriber: Final = subscriber
        self.aor: Final = aor
        self.primary: Final = primary
        self.associated: Final = associated
        self.barred: Final = barred
        self.plain: Final = plain
        self.profile: Final = profile


# By their identities.
Subscribers: TypeAlias = Held[Served]
