"""A fork at work: its requests go out, what comes back is brought to it, its answer goes up.

:class:`Relay` is all that a stateful proxy does with one request between the choice of targets
and the response for the sender. What is particular to a proxy, what its next hops may know and
what its sender may, it is asked in three functions.

Spec: RFC 3261 §16.6 to §16.10; RFC 5626 §5.3, §7
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.sip.bindings import Binding
from omaim.sip.exchange import Exchange, Outlet
from omaim.sip.features import Features
from omaim.sip.flow import Flow
from omaim.sip.forking import CANCEL, FORWARD, START, Branch, Fork
from omaim.sip.headers import NameAddr
from omaim.sip.identity import keep_called_party, leave_trust_domain, strip_untrusted
from omaim.sip.locating import Target as Place
from omaim.sip.message import Request, Response
from omaim.sip.preferences import Target
from omaim.sip.proxying import forwarded_copy, postprocess
from omaim.timers import NEVER, Deadlines, Timed

DIALOGS: Final = frozenset({"INVITE", "SUBSCRIBE", "REFER", "NOTIFY", "UPDATE"})

Heard = Callable[[Response], bool]


@final
class Relaying:
    """What all relays of a proxy have in common.

    Args:
        outlet: requests go out by it.
        deadlines: where Timer C waits.
        on_answer: sends a response upstream, for the owner of a relay; our Via is off already.
        on_silence: called with the owner of a relay that will have no answer (RFC 4320 §4.2).
    """

    __slots__ = ("deadlines", "on_answer", "on_silence", "outlet")

    def __init__(
        self,
        outlet: Outlet,
        deadlines: Deadlines,
        on_answer: Callable[[object, Response], None],
        on_silence: Callable[[object], None],
    ) -> None:
        self.outlet: Final = outlet
        self.deadlines: Final = deadlines
        self.on_answer: Final = on_answer
        self.on_silence: Final = on_silence


@final
class Relay(Timed):
    """One request on its way to its targets.

    Args:
        relaying: what it has in common with others.
        owner: whose it is; given back with each call.
        request: as received and preprocessed.
        fork: decides.
        loop: ends our branches, see :func:`omaim.sip.proxying.loop_part`.
        on_start: sends the request on a branch, by a :class:`Leg`.

    Attributes:
        closed: nothing that comes counts any more.
    """

    __slots__ = ("_loop", "_on_start", "_owner", "_relaying", "closed", "fork", "request")

    def __init__(
        self,
        relaying: Relaying,
        owner: object,
        request: Request,
        fork: Fork,
        loop: str,
        on_start: Callable[[object, Relay, Branch], None],
    ) -> None:
        super().__init__()
        self.request: Final = request
        self.fork: Final = fork
        self._relaying: Final = relaying
        self._owner = owner
        self._loop = loop
        self._on_start = on_start
        self.closed = False

    def start(self) -> None:
        """Send the request to the first targets."""
        self.fork.start(self._relaying.outlet.now())
        self._perform()

    def cancel(self) -> None:
        """The caller gave up its INVITE: so do all branches (RFC 3261 §16.10)."""
        self.fork.cancel(self._relaying.outlet.now())
        self._perform()

    def abandon(self) -> None:
        """Give up where the request is now; what comes from there counts no more."""
        self.closed = True
        for branch in self.fork.branches:
            _cancel(branch)

    def close(self) -> None:
        """Nothing that comes counts any more."""
        self.closed = True

    def respond(self, branch: Branch, response: Response, spent: bool = True) -> None:
        """Bring a response to the fork, and do what it then wants.

        A flow to a device that failed, as we or whoever holds it found, is followed by the next
        one (RFC 5626 §7, RFC 5627 §6.1).

        Args:
            spent: the request had left on the branch.
        """
        now = self._relaying.outlet.now()
        status = response.status
        if status == 430 or status == 408 or (response.local and status == 503):
            spare = branch.target.spare
            if spare is not None:
                self.fork.add([spare], now, False, spent)
        self.fork.respond(branch, response, now)
        self._perform()

    def wake(self, now: float) -> None:
        self.deadline = NEVER
        if not self.closed:
            self.fork.wake(now)
            self._perform()

    def _perform(self) -> None:
        """Do what the fork wants done."""
        fork = self.fork
        relaying = self._relaying
        for step in fork.take():
            branch = step.branch
            response = step.response
            if step.kind == START and branch is not None:
                self._on_start(self._owner, self, branch)
            elif step.kind == CANCEL and branch is not None:
                _cancel(branch)
            elif step.kind == FORWARD and response is not None:
                relaying.on_answer(self._owner, response)
        if fork.deadline != NEVER:
            self.deadline = fork.deadline
            relaying.deadlines.arm(self)
            relaying.outlet.wakeup.arm()
        elif not self.closed and not fork.answered and fork.finished:
            relaying.on_silence(self._owner)

    def send(
        self, leg: Leg, copy: Request, flow: Flow | None, places: list[Place] | None
    ) -> Exchange:
        """Send the request on one branch; for :class:`Leg`."""
        exchange = Exchange(self._relaying.outlet, copy, leg.responded, None, self._loop)
        exchange.start(flow, places)
        return exchange


@final
class Leg:
    """The request on one branch.

    Args:
        relay: whose branch it is.
        branch: which one.
        trusted: the next hop may say what only trusted elements may.
        heard: gets each response first; what it returns true for goes no further.
    """

    __slots__ = ("_branch", "_heard", "_relay", "_trusted")

    def __init__(
        self, relay: Relay, branch: Branch, trusted: bool, heard: Heard | None = None
    ) -> None:
        self._relay = relay
        self._branch = branch
        self._trusted = trusted
        self._heard = heard

    def send(
        self, copy: Request, flow: Flow | None = None, places: list[Place] | None = None
    ) -> None:
        """Send the request: by a flow, to places, or where it says itself.

        Args:
            copy: complete but for our Via.
        """
        self._branch.note = self._relay.send(self, copy, flow, places)

    def responded(self, response: Response) -> None:
        """A response came, or was made here."""
        branch = self._branch
        if response.status >= 200 and not self._relay.fork.invite:
            branch.note = None  # else the branch would refer to itself by way of the exchange
        if self._relay.closed:
            return
        if not self._trusted and not response.local:
            strip_untrusted(response)
        heard = self._heard
        if heard is None or not heard(response):
            self._relay.respond(branch, response)


def _cancel(branch: Branch) -> None:
    exchange = branch.note
    if isinstance(exchange, Exchange):
        exchange.cancel()


def device(ways: list[Binding], features: Features | None) -> Target:
    """Return a device as a target.

    Args:
        ways: bindings that all lead there; the second is tried when the first fails.
        features: what the device says of itself.
    """
    binding = ways[0]
    routes = [NameAddr.parse(text).uri_text for text in binding.path] if binding.path else None
    target = Target(binding.contact, int(binding.q * 1000), features, routes, binding)
    if len(ways) > 1:
        target.spare = device(ways[1:], None)
    return target


def as_asked(request: Request, contact: str) -> tuple[str, str]:
    """Return the Request-URI for a device, and the URI that its next hop is found by, if another.

    Who asked for a sip URI is not sent to a sips URI, but over TLS where the device is to be
    reached so only.

    Spec: RFC 5630 §5.3
    """
    if contact[:5].lower() == "sips:" and request.uri[:5].lower() != "sips:":
        return "sip:" + contact[5:], contact
    return contact, ""


def copy_for_device(request: Request, branch: Branch, tell_identity: bool) -> Request:
    """Return the request as the device on this branch gets it.

    Args:
        tell_identity: tell which identity was called (RFC 7315 §4.2).

    Spec: RFC 3261 §16.6; RFC 3325 §5
    """
    target = branch.target
    copy = forwarded_copy(
        request, request.uri, routes=target.routes or None, breadth=branch.breadth
    )
    if tell_identity:
        keep_called_party(copy)
    copy.uri, hop = as_asked(request, target.uri)
    leave_trust_domain(copy)
    postprocess(copy)
    if hop and not target.routes:
        copy.next_hop = hop
    return copy
