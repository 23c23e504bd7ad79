"""What a REGISTER does to the bindings of one address of record.

:func:`register` is a pure function: bindings and a request in, :class:`Outcome` out. Whoever
calls it has authenticated the sender, knows that he may register this address, and commits the
outcome or nothing; it can be called again on newer bindings when another node was faster.

Spec: RFC 3261 §10.3; RFC 3327 §5.3; RFC 3608 §6.3; RFC 5626 §6; RFC 5627 §5
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.bindings import (
    REFRESHED,
    REGISTERED,
    UNREGISTERED,
    Binding,
    Change,
    expire,
)
from omaim.sip.gruu import Gruus, public_gruu
from omaim.sip.headers import NameAddr, date_text
from omaim.sip.message import Request
from omaim.sip.registering import (
    Policy,
    Refused,
    Sender,
    Wish,
    check_options,
    means_all,
    path_of,
    settle_outbound,
    wishes_of,
)
from omaim.sip.uri import SipUri, parse_uri

__all__ = [
    "AGAIN",
    "ENDED",
    "FETCHED",
    "INITIAL",
    "Outcome",
    "Policy",
    "Refused",
    "Sender",
    "contact_value",
    "register",
]

FETCHED: Final = -1  # nothing was asked to change
INITIAL: Final = 0  # the values of RegistrationType in initial filter criteria
AGAIN: Final = 1
ENDED: Final = 2

_NOT_KEPT: Final = ("expires", "pub-gruu", "temp-gruu")  # the registrar says these itself


@final
class Outcome:
    """What became of a REGISTER that succeeded.

    Attributes:
        bindings: all that are live now, to be stored in place of the old ones.
        changes: what happened to each, in order; expired ones first, also when the request
            only fetches.
        kind: :data:`INITIAL`, :data:`AGAIN`, :data:`ENDED` or :data:`FETCHED`, as initial
            filter criteria and third-party REGISTERs want it.
        headers: (name, value) lines of the 200 response, Contact and Date among them.
    """

    __slots__ = ("bindings", "changes", "headers", "kind")

    def __init__(
        self,
        bindings: list[Binding],
        changes: list[Change],
        kind: int,
        headers: list[tuple[str, str]],
    ) -> None:
        self.bindings = bindings
        self.changes = changes
        self.kind = kind
        self.headers = headers


def register(
    request: Request,
    aor: str,
    current: list[Binding],
    now: float,
    policy: Policy,
    ids: Ids,
    sender: Sender,
    gruus: Gruus | None = None,
) -> Outcome:
    """Return what a REGISTER for ``aor`` makes of its ``current`` bindings.

    Args:
        aor: canonical address of record, from To.
        current: all bindings stored for it; expired ones fall out.
        now: seconds since the epoch.
        gruus: mints GRUUs for user agents that support them; ``None`` does not.

    Raises:
        Refused: 420, 421, 423 or 439, with what the answer must say.
        PeerError: 400 malformed, 403 a contact that would loop or too many, 500 out of order;
            nothing has changed.

    Spec: RFC 3261 §10.3 steps 2, 6 to 8; RFC 5626 §6; RFC 5627 §5
    """
    supported = request.supported
    check_options(request, supported, policy)
    live, changes = expire(current, now)
    had = len(live)
    kind = FETCHED
    outbound = False
    if request.has("Contact"):
        contacts = request.contacts
        path = path_of(request, supported, policy)
        mints = gruus is not None and "gruu" in supported
        work = _Work(request, aor, live, now, ids, sender, path, gruus, mints)
        if means_all(contacts, request):
            work.remove_all()
        else:
            wishes = wishes_of(contacts, request, policy)
            outbound = settle_outbound(wishes, supported, sender, path, request)
            for wish in wishes:
                work.apply(wish)
            if len(work.live) > policy.max_contacts and len(work.live) > had:
                raise PeerError("too many contacts for this address", 403)
        live = work.live
        changes = changes + work.changes
        if live:
            kind = AGAIN if had else INITIAL
        elif had:
            kind = ENDED
    headers = _headers_of(request, live, now, policy, supported, gruus is not None)
    if outbound:
        headers.append(("Require", "outbound"))
        if policy.flow_timer and sender.flow_token:
            headers.append(("Flow-Timer", str(policy.flow_timer)))
    return Outcome(live, changes, kind, headers)


@final
class _Work:
    """The bindings while one REGISTER is applied to them."""

    __slots__ = (
        "_aor",
        "_call_id",
        "_cseq",
        "_gruus",
        "_ids",
        "_mints",
        "_now",
        "_path",
        "_request_uri",
        "_sender",
        "_touched",
        "_user_agent",
        "changes",
        "live",
    )

    def __init__(
        self,
        request: Request,
        aor: str,
        live: list[Binding],
        now: float,
        ids: Ids,
        sender: Sender,
        path: tuple[str, ...],
        gruus: Gruus | None,
        mints: bool,
    ) -> None:
        self._aor = aor
        self._call_id = request.call_id
        self._cseq = request.cseq.number
        self._user_agent = request.first("User-Agent") or ""
        self._now = now
        self._ids = ids
        self._sender = sender
        self._request_uri = request.uri
        self._path = path
        self._gruus = gruus
        self._mints = mints
        self._touched: list[str] = []  # contact ids that this very request made or changed
        self.live = live[:]
        self.changes: list[Change] = []

    def remove_all(self) -> None:
        """Remove every binding, unless one was changed by a later request of this sender.

        Spec: RFC 3261 §10.3 step 6
        """
        for binding in self.live:
            self._check_order(binding)
            self.changes.append(Change(UNREGISTERED, binding))
        self.live = []

    def _check_order(self, binding: Binding) -> None:
        if (
            binding.call_id == self._call_id
            and self._cseq <= binding.cseq
            and binding.contact_id not in self._touched
        ):
            raise PeerError("this REGISTER is older than the last one", 500)

    def apply(self, wish: Wish) -> None:
        """Add, refresh or remove the binding of one Contact.

        Spec: RFC 3261 §10.3 step 7; RFC 5626 §6; RFC 5627 §5.1
        """
        place = self._find(wish)
        if place >= 0:
            self._check_order(self.live[place])
        if not wish.lifetime:
            if place >= 0:
                self.changes.append(Change(UNREGISTERED, self.live.pop(place)))
            return
        self._check_loop(wish)
        self._check_secure(wish)
        temp_gruu = self._temp_gruu(wish) if wish.instance else ""
        if place < 0:
            binding = self._make(wish, self._ids.token(), self._now, temp_gruu)
            self.live.append(binding)
            self.changes.append(Change(REGISTERED, binding))
        else:
            old = self.live[place]
            if wish.reg_id and old.contact != wish.address.uri_text:
                binding = self._make(wish, self._ids.token(), self._now, temp_gruu)
                self.changes.append(Change(UNREGISTERED, old))
                self.changes.append(Change(REGISTERED, binding))
            else:
                binding = self._make(wish, old.contact_id, old.registered_at, temp_gruu)
                self.changes.append(Change(REFRESHED, binding))
            self.live[place] = binding
        self._touched.append(binding.contact_id)

    def _find(self, wish: Wish) -> int:
        """Return where the binding that a Contact means stands, -1 for none.

        A flow is found by instance and reg-id whatever its URI; everything else by its URI,
        where flows are taken only to be removed.
        """
        text = wish.address.uri_text
        by_uri = -1
        for place, binding in enumerate(self.live):
            if wish.reg_id:
                if binding.reg_id == wish.reg_id and binding.instance == wish.instance:
                    return place
            elif binding.contact == text or parse_uri(binding.contact).equals(wish.uri):
                if not binding.reg_id:
                    return place
                if not wish.lifetime and by_uri < 0:
                    by_uri = place
        return by_uri

    def _check_loop(self, wish: Wish) -> None:
        """Refuse a contact that leads back here (RFC 5627 §5.1)."""
        uri = wish.uri
        if not isinstance(uri, SipUri):
            if wish.instance:
                raise PeerError("a contact with an instance is a SIP URI", 403)
            return
        if uri.gr is not None:
            gruus = self._gruus
            if uri.aor() == self._aor or (gruus is not None and gruus.owner(uri) == self._aor):
                raise PeerError("a contact cannot be a GRUU of its own address", 403)
        elif uri.user and not uri.port and uri.aor() == self._aor:
            raise PeerError("a contact cannot be its own address", 403)

    def _check_secure(self, wish: Wish) -> None:
        """Refuse a sips contact unless all that leads to it is sips (RFC 5630 §5.2)."""
        uri = wish.uri
        if not isinstance(uri, SipUri) or uri.scheme != "sips":
            return
        if self._request_uri[:5].lower() != "sips:":
            raise PeerError("a sips contact is registered at a sips URI")
        for value in self._path:
            if NameAddr.parse(value).uri_text[:5].lower() != "sips:":
                raise PeerError("a sips contact is reached by a Path of sips URIs")

    def _temp_gruu(self, wish: Wish) -> str:
        """Return the new temporary GRUU of an instance, "" when the sender wants none.

        All bindings of the instance get it: it is the latest of all, and by its epoch it
        tells which earlier ones still count.

        Spec: RFC 5627 §5.1
        """
        latest: Binding | None = None
        epoch = ""
        gruus = self._gruus
        for binding in self.live:
            if binding.instance != wish.instance:
                continue
            if not epoch and gruus is not None:
                epoch = gruus.epoch_of(binding.temp_gruu)
            if (not wish.reg_id or binding.reg_id == wish.reg_id) and (
                latest is None or binding.updated_at > latest.updated_at
            ):
                latest = binding
        restarted = latest is not None and latest.call_id != self._call_id
        if gruus is None or not self._mints:
            if restarted:
                self._spread("", wish.instance)
            return "" if latest is None or restarted else latest.temp_gruu
        if restarted or not epoch:
            epoch = gruus.new_epoch(self._cseq)
        temp_gruu = gruus.mint(self._aor, epoch)
        self._spread(temp_gruu, wish.instance)
        return temp_gruu

    def _spread(self, temp_gruu: str, instance: str) -> None:
        for place, binding in enumerate(self.live):
            if binding.instance == instance and binding.temp_gruu != temp_gruu:
                self.live[place] = binding.with_temp_gruu(temp_gruu)

    def _make(self, wish: Wish, contact_id: str, registered_at: float, temp_gruu: str) -> Binding:
        params = wish.params
        for name in _NOT_KEPT:
            params = params.without(name)
        sender = self._sender
        return Binding(
            self._aor,
            wish.address.uri_text,
            self._call_id,
            self._cseq,
            self._now + wish.lifetime,
            wish.q,
            self._path,
            wish.instance,
            wish.reg_id,
            sender.flow_token,
            self._user_agent,
            str(params),
            public_gruu(self._aor, wish.instance) if wish.instance else "",
            temp_gruu,
            sender.received,
            sender.private_id,
            registered_at,
            contact_id,
            self._now,
        )


def contact_value(binding: Binding, now: float, with_gruu: bool) -> str:
    """Return a binding as the value of a Contact in a REGISTER response.

    Spec: RFC 3261 §10.3 step 8; RFC 5627 §5.2
    """
    left = int(binding.expires_at - now + 0.5)
    value = f"<{binding.contact}>{binding.params};expires={left if left > 0 else 1}"
    if with_gruu and binding.instance:
        value += f';pub-gruu="{binding.pub_gruu}"'
        if binding.temp_gruu:
            value += f';temp-gruu="{binding.temp_gruu}"'
    return value


def _headers_of(
    request: Request,
    live: list[Binding],
    now: float,
    policy: Policy,
    supported: frozenset[str],
    gruus: bool,
) -> list[tuple[str, str]]:
    with_gruu = gruus and "gruu" in supported
    headers = [("Contact", contact_value(binding, now, with_gruu)) for binding in live]
    if request.has("Path"):
        headers.extend([("Path", value) for value in request.all("Path")])
    if live:
        headers.extend([("Service-Route", route) for route in policy.service_route])
    headers.append(("Date", date_text(now)))
    return headers
