"""Where an address of record can be reached now, and what happens to that over time.

:class:`Binding` is the record that a registrar keeps; the functions here change sets of them
for other reasons than a REGISTER, which :mod:`omaim.sip.registration` does. Every function
leaves its arguments as they are and says what changed, in the words of the reg event package.

Spec: RFC 3261 §10; RFC 3680 §3, §5.1; RFC 5626 §6, §7; RFC 5627 §6.1
"""

from __future__ import annotations

from typing import Final, final

REGISTERED: Final = "registered"
CREATED: Final = "created"
REFRESHED: Final = "refreshed"
SHORTENED: Final = "shortened"
EXPIRED: Final = "expired"
DEACTIVATED: Final = "deactivated"
PROBATION: Final = "probation"
UNREGISTERED: Final = "unregistered"
REJECTED: Final = "rejected"


@final
class Binding:
    """One contact at which an address of record is reachable. Never changed once made.

    Attributes:
        aor: canonical URI, without parameters.
        contact: URI exactly as registered.
        expires_at: seconds since the epoch, UTC.
        q: 0 to 1, preferred first.
        path: topmost first, as name-addr text.
        instance: ``+sip.instance`` without quotes and brackets; "" none.
        reg_id: 0 none; otherwise the binding is one of several flows to the instance.
        flow_token: names the flow it came by, when the UA is connected to us; "" none.
        params: the Contact's header parameters as text, ";a;b=c", without expires.
        received: where it came from when that differs, as a SIP URI; "" none.
        private_id: who authenticated.
        registered_at: when this contact was first registered, seconds since the epoch.
        contact_id: its id in the reg event package.
        updated_at: when it was last refreshed, seconds since the epoch.

    Spec: RFC 3261 §10.3; RFC 3327 §5.3; RFC 5626 §6; RFC 5627 §5.1; RFC 3680 §5.1
    """

    __slots__ = (
        "aor",
        "call_id",
        "contact",
        "contact_id",
        "cseq",
        "expires_at",
        "flow_token",
        "instance",
        "params",
        "path",
        "private_id",
        "pub_gruu",
        "q",
        "received",
        "reg_id",
        "registered_at",
        "temp_gruu",
        "updated_at",
        "user_agent",
    )

    def __init__(
        self,
        aor: str,
        contact: str,
        call_id: str,
        cseq: int,
        expires_at: float,
        q: float = 1.0,
        path: tuple[str, ...] = (),
        instance: str = "",
        reg_id: int = 0,
        flow_token: str = "",
        user_agent: str = "",
        params: str = "",
        pub_gruu: str = "",
        temp_gruu: str = "",
        received: str = "",
        private_id: str = "",
        registered_at: float = 0.0,
        contact_id: str = "",
        updated_at: float = 0.0,
    ) -> None:
        self.aor: Final = aor
        self.contact: Final = contact
        self.call_id: Final = call_id
        self.cseq: Final = cseq
        self.expires_at: Final = expires_at
        self.q: Final = q
        self.path: Final = path
        self.instance: Final = instance
        self.reg_id: Final = reg_id
        self.flow_token: Final = flow_token
        self.user_agent: Final = user_agent
        self.params: Final = params
        self.pub_gruu: Final = pub_gruu
        self.temp_gruu: Final = temp_gruu
        self.received: Final = received
        self.private_id: Final = private_id
        self.registered_at: Final = registered_at
        self.contact_id: Final = contact_id
        self.updated_at: Final = updated_at

    def values(self) -> tuple[str | int | float | tuple[str, ...], ...]:
        """Return all fields in the order of the constructor."""
        return (
            self.aor,
            self.contact,
            self.call_id,
            self.cseq,
            self.expires_at,
            self.q,
            self.path,
            self.instance,
            self.reg_id,
            self.flow_token,
            self.user_agent,
            self.params,
            self.pub_gruu,
            self.temp_gruu,
            self.received,
            self.private_id,
            self.registered_at,
            self.contact_id,
            self.updated_at,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Binding) and self.values() == other.values()

    def __hash__(self) -> int:
        return hash((self.aor, self.contact, self.call_id, self.cseq))

    def __repr__(self) -> str:
        return f"Binding({self.aor!r}, {self.contact!r}, expires_at={self.expires_at!r})"

    def until(self, expires_at: float) -> Binding:
        """Return the same binding with another end."""
        return self._with(expires_at, self.temp_gruu)

    def with_temp_gruu(self, temp_gruu: str) -> Binding:
        """Return the same binding with another temporary GRUU."""
        return self._with(self.expires_at, temp_gruu)

    def _with(self, expires_at: float, temp_gruu: str) -> Binding:
        return Binding(
            self.aor,
            self.contact,
            self.call_id,
            self.cseq,
            expires_at,
            self.q,
            self.path,
            self.instance,
            self.reg_id,
            self.flow_token,
            self.user_agent,
            self.params,
            self.pub_gruu,
            temp_gruu,
            self.received,
            self.private_id,
            self.registered_at,
            self.contact_id,
            self.updated_at,
        )


@final
class Change:
    """What happened to one binding.

    Attributes:
        event: one of the constants above, as the reg event package spells it.
        binding: as it is now, or as it was when it is gone.
        retry_after: seconds, with "probation" only.

    Spec: RFC 3680 §5.1
    """

    __slots__ = ("binding", "event", "retry_after")

    def __init__(self, event: str, binding: Binding, retry_after: int = 0) -> None:
        self.event: Final = event
        self.binding: Final = binding
        self.retry_after: Final = retry_after

    @property
    def gone(self) -> bool:
        """Whether the binding exists no longer."""
        return self.event not in (REGISTERED, CREATED, REFRESHED, SHORTENED)

    def __repr__(self) -> str:
        return f"Change({self.event!r}, {self.binding!r})"


def expire(bindings: list[Binding], now: float) -> tuple[list[Binding], list[Change]]:
    """Return the bindings that are left at ``now``, and those that expired as changes."""
    for binding in bindings:
        if binding.expires_at <= now:
            break
    else:
        return bindings, []
    left: list[Binding] = []
    changes: list[Change] = []
    for binding in bindings:
        if binding.expires_at <= now:
            changes.append(Change(EXPIRED, binding))
        else:
            left.append(binding)
    return left, changes


def terminate(
    bindings: list[Binding], chosen: list[Binding], event: str, retry_after: int = 0
) -> tuple[list[Binding], list[Change]]:
    """Remove the chosen bindings by order of the network.

    Args:
        event: :data:`DEACTIVATED` (register again), :data:`PROBATION` (again after
            ``retry_after`` seconds) or :data:`REJECTED` (do not).

    Spec: RFC 3680 §3.2, §5.1
    """
    ids = {binding.contact_id for binding in chosen}
    left: list[Binding] = []
    changes: list[Change] = []
    for binding in bindings:
        if binding.contact_id in ids:
            changes.append(Change(event, binding, retry_after if event == PROBATION else 0))
        else:
            left.append(binding)
    return left, changes


def shorten(
    bindings: list[Binding], now: float, seconds: float
) -> tuple[list[Binding], list[Change]]:
    """Let no binding live longer than ``seconds`` from now, so that all register again soon.

    Spec: RFC 3680 §3.2, §5.1 (shortened)
    """
    end = now + seconds
    left: list[Binding] = []
    changes: list[Change] = []
    for binding in bindings:
        if binding.expires_at > end:
            binding = binding.until(end)
            changes.append(Change(SHORTENED, binding))
        left.append(binding)
    return left, changes


def lose_flow(bindings: list[Binding], flow_token: str) -> tuple[list[Binding], list[Change]]:
    """Remove the outbound bindings that were reached by a flow that is gone.

    A binding without reg-id is an address that was only made known by that flow; it stays.

    Spec: RFC 5626 §7; RFC 3261 §10.2
    """
    lost = [
        binding for binding in bindings if binding.reg_id > 0 and binding.flow_token == flow_token
    ]
    if not lost or not flow_token:
        return bindings, []
    return terminate(bindings, lost, DEACTIVATED)


def choose(bindings: list[Binding], now: float) -> list[list[Binding]]:
    """Return the live bindings as targets: best q first, one list per user agent instance.

    Only the first of each list is a target; the others are tried in turn when it fails with
    408 or 430, as they are other ways to the same instance, the latest refreshed first. A
    binding without instance stands alone.

    Spec: RFC 5626 §7; RFC 5627 §6.1; RFC 3261 §16.6
    """
    if len(bindings) == 1:
        return [[bindings[0]]] if bindings[0].expires_at > now else []
    groups: list[list[Binding]] = []
    place: dict[str, list[Binding]] = {}
    for binding in sorted(bindings, key=_latest_first):
        if binding.expires_at <= now:
            continue
        group = place.get(binding.instance) if binding.instance else None
        if group is None:
            group = []
            groups.append(group)
            if binding.instance:
                place[binding.instance] = group
        group.append(binding)
    groups.sort(key=_best_q_first)
    return groups


def _latest_first(binding: Binding) -> float:
    return -binding.updated_at


def _best_q_first(group: list[Binding]) -> float:
    return -group[0].q
