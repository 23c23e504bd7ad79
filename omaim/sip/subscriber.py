"""What goes into a subscriber's machine and what comes out of it.

The machine is :class:`omaim.sip.subscribing.Subscribing`.

Spec: RFC 6665 §4.1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from omaim.sip.message import Request
from omaim.timers import NEVER

if TYPE_CHECKING:
    from omaim.sip.subscribing import Subscribing


@attrs.frozen
class Send:
    """Send this request; bring its final response to ``answered``."""

    request: Request


@attrs.frozen
class Notified:
    """A notification was taken: its body is for the event package."""

    request: Request


@attrs.frozen
class Moved:
    """The subscription changed its state.

    Attributes:
        state: one of the constants of :mod:`omaim.sip.subscribing`.
        reason: of a termination: the notifier's word, or "timeout", "no-notify", "gone",
            "refused" or "unsubscribed", said by this side.
        status: the response that refused it, 0 for none.
        retry_at: when it will be asked for again, :data:`~omaim.timers.NEVER` for not.
    """

    state: int
    reason: str = ""
    status: int = 0
    retry_at: float = NEVER


@attrs.frozen
class Forked:
    """The SUBSCRIBE reached one more notifier: here is the subscription with that one."""

    sibling: Subscribing


SubscriberOutput = Send | Notified | Moved | Forked  # of Subscribing.take


@attrs.frozen
class Wanted:
    """What to subscribe to, and as whom; the same for every attempt.

    Attributes:
        target: Request-URI of the first SUBSCRIBE.
        event: the Event value, with id and rate parameters if wanted.
        local: our From value without tag, "<sip:…>".
        contact: our Contact value; a GRUU where we have one (RFC 6665 §4.5.1).
        to: the To value; the target in brackets when empty.
        expires: seconds; 0 fetches the state once.
        routes: Route values of requests outside a dialog.
        headers: more header fields for each SUBSCRIBE: Accept, Supported, …
        body: a filter; with its Content-Type among ``headers``.
        keep: ask again after a termination that allows it.
        forks: the package allows one SUBSCRIBE to make several subscriptions (§5.4.9).
        patience: Timer N, seconds: 64 times T1.
    """

    target: str
    event: str
    local: str
    contact: str
    to: str = ""
    expires: int = 3600
    routes: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    keep: bool = True
    forks: bool = False
    patience: float = 32.0
