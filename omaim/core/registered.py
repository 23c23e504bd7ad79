"""What a registration is: to those who follow it, to the store, and by whom it was made."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from omaim.sip.bindings import Binding, Change
from omaim.sip.flow import Flow
from omaim.sip.message import Request, Response
from omaim.sip.outbound import FlowTokens
from omaim.sip.registration import Sender
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


def sender_of(request: Request, flow: Flow, user: User, tokens: FlowTokens) -> Sender:
    """Say what the headers cannot prove: by which flow, from behind which address.

    Spec: RFC 5626 §6; RFC 3581 §4
    """
    via = request.via
    direct = request.names.count("Via") == 1 and not request.has("Path")
    received = ""
    if direct and via.received:
        source, port = via.received, via.rport or via.port or 5060
        if source != via.host.strip("[]") or port != (via.port or 5060):
            host = f"[{source}]" if ":" in source else source
            received = f"sip:{host}:{port}"
    # Others are reached by their Contact, so their flow need not be known.
    needed = flow.reliable or received or _asks_outbound(request)
    token = tokens.make(flow) if direct and needed else ""
    return Sender(user.private_id, token, received)


def _asks_outbound(request: Request) -> bool:
    return any("reg-id" in line.lower() for line in request.all("Contact"))
