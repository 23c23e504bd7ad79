"""To the devices of a callee: which ones, in which order, by which flow.

Spec: RFC 3261 §16.5, §16.6; RFC 3841 §7.2; RFC 5626 §5.3, §7; RFC 5627 §6.1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.bindings import Binding, choose
from omaim.sip.flow import Flow
from omaim.sip.forking import Branch, Fork, Policy
from omaim.sip.gruu import Gruus
from omaim.sip.message import Request, Response
from omaim.sip.outbound import flow_failed
from omaim.sip.preferences import (
    PreferenceReader,
    Preferences,
    arrange,
    disposition,
)
from omaim.sip.proxying import SipsNotAllowed
from omaim.sip.relaying import (
    DIALOGS,
    Leg,
    Relay,
    Relaying,
    as_asked,
    copy_for_device,
    device,
)

_NO_PREFERENCES: Final = Preferences([], [], False)


@final
class Delivery:
    """Sends requests to the devices at which a user is registered.

    Args:
        relaying: what it has in common with all that the proxy relays.
        find: returns the open flow that a token names, ``None`` when it is gone; raises
            PeerError for a token from before we last started.
        depart: sends a request that makes a dialog on one branch, by a flow if there is one.
        later: gives a branch, in the next turn, the response to a request that did not leave.
        policy: how to fork.
        now: seconds since the epoch; bindings end by it.
        ims: tell the device which of its identities was called.

    Differs: who asks to be redirected, or queued (RFC 3841 §9.1), is served as others are: a home
    network does not tell callers where its users are, and calls wait at devices.
    """

    __slots__ = (
        "_depart",
        "_find",
        "_gruus",
        "_ids",
        "_ims",
        "_later",
        "_now",
        "_on_start",
        "_policy",
        "_preferences",
        "_relaying",
    )

    def __init__(
        self,
        relaying: Relaying,
        find: Callable[[str], Flow | None],
        depart: Callable[[object, Leg, Branch, Request, Flow | None], None],
        later: Callable[[Relay, Branch, Response], None],
        gruus: Gruus,
        policy: Policy,
        now: Callable[[], float],
        ids: Ids,
        ims: bool,
    ) -> None:
        self._relaying: Final = relaying
        self._find: Final = find
        self._depart: Final = depart
        self._later: Final = later
        self._gruus: Final = gruus
        self._policy: Final = policy
        self._now: Final = now
        self._ids: Final = ids
        self._ims: Final = ims
        self._preferences: Final = PreferenceReader()
        self._on_start: Callable[[object, Relay, Branch], None] = self._begin

    def relay(self, owner: object, request: Request, loop: str, bindings: list[Binding]) -> Relay:
        """Return what brings a request to the devices with these bindings, to be started.

        Args:
            owner: whose request it is; given back with each call.
            loop: ends our branches, see :func:`omaim.sip.proxying.loop_part`.

        Raises:
            PeerError: no device is there (480), none is what the caller wants (480) or may be
                reached by a sips URI (480), or its GRUU means none (404).
        """
        now = self._now()
        bindings = self._meant(request, bindings, now)
        # Where the callee is we know better than whoever wrote a Route.
        request.remove("Route")
        stated = request.has("Accept-Contact") or request.has("Reject-Contact")
        bits = disposition(request) if request.has("Request-Disposition") else 0
        preferences = _NO_PREFERENCES
        if len(bindings) == 1 and not stated:
            groups = [[device(bindings, None)]]
            others = 0
        else:
            reader = self._preferences
            preferences = reader.read(request)
            devices = choose(bindings, now)
            others = sum(map(len, devices)) - len(devices)
            targets = [device(ways, reader.features(ways[0].params)) for ways in devices]
            groups = arrange(preferences.order(targets), bits)
            if not groups:
                raise PeerError("no device of the callee is what the caller wants", 480)
        fork = Fork(request, groups, self._policy, self._ids, True, bits, preferences, others)
        return Relay(self._relaying, owner, request, fork, loop, self._on_start)

    def place(
        self, request: Request, bindings: list[Binding]
    ) -> tuple[str, list[str], Flow | None, str]:
        """Return Request-URI, Path, flow and next hop for a request to one device and no other.

        The next hop is "" where Path and Request-URI say it.

        Raises:
            PeerError: as :meth:`relay`; or its flow is gone (430).
        """
        ways = choose(self._meant(request, bindings, self._now()), self._now())[0]
        target = device(ways, None)
        flow, lost = self._flow_of(ways[0])
        if lost:
            raise flow_failed()
        uri, hop = as_asked(request, target.uri)
        return uri, target.routes, flow, hop

    def _meant(self, request: Request, bindings: list[Binding], now: float) -> list[Binding]:
        """Return the bindings that the Request-URI means; at least one."""
        if ";gr" in request.uri.lower():
            target = self._gruus.resolve(request.request_uri)
            if target is not None:
                bindings = self._gruus.select(target, bindings, now)
        if not bindings:
            raise PeerError("the callee is not registered", 480)
        if request.uri[:5].lower() == "sips:":
            # Whoever asked for TLS on every hop is not to be betrayed on the last (RFC 5630 §5.3).
            bindings = [one for one in bindings if one.contact[:5].lower() == "sips:"]
            if not bindings:
                raise SipsNotAllowed
        return bindings

    def _begin(self, owner: object, relay: Relay, branch: Branch) -> None:
        """Send the request to one device."""
        request = relay.request
        binding = branch.target.note
        flow: Flow | None = None
        if isinstance(binding, Binding):
            flow, lost = self._flow_of(binding)
            if lost:
                self._later(relay, branch, request.response(430, None, self._ids.tag()))
                return
        copy = copy_for_device(request, branch, self._ims)
        if copy.next_hop and flow is not None and not flow.secure:
            # Over TLS or not at all (RFC 5630 §5.3).
            self._later(relay, branch, request.response(480, None, self._ids.tag()))
            return
        leg = Leg(relay, branch, False)
        if copy.method in DIALOGS:
            self._depart(owner, leg, branch, copy, flow)
        else:
            leg.send(copy, flow)

    def _flow_of(self, binding: Binding) -> tuple[Flow | None, bool]:
        """Return the flow by which a device is connected, and whether it needed one and lost it.

        A device that neither asked for outbound nor sits behind a NAT is reached by its Contact.

        Spec: RFC 5626 §5.3, §7
        """
        connected = binding.reg_id or binding.received
        if not connected or not binding.flow_token or binding.path:
            return None, False
        try:
            flow = self._find(binding.flow_token)
        except PeerError:
            return None, binding.reg_id > 0  # made before we last started
        return flow, flow is None and binding.reg_id > 0
