"""One connection of a relay: takes frames, and finds their way.

What leaves is in :mod:`omaim.msrp.outlet`, who may come in :mod:`omaim.msrp.admitting`, what the
peer may cost in :mod:`omaim.msrp.conduct`.

Spec: RFC 4976 §6.2 to §6.4
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from omaim.errors import PeerError
from omaim.msrp.admitting import Neighbour
from omaim.msrp.channel import Line
from omaim.msrp.conduct import Conduct
from omaim.msrp.frame import COMMENTS, Head, is_path, write_response
from omaim.msrp.framing import FrameParser, Part
from omaim.msrp.grants import NOBODY, Grant
from omaim.msrp.outlet import Outlet, Route
from omaim.msrp.passing import Passing, Paths, fields_of
from omaim.msrp.uri import MsrpUri, read_path
from omaim.timers import NEVER, Alarm

if TYPE_CHECKING:
    from omaim.msrp.relaying import Relay

ROUTES: Final = 512  # pairs of paths that one connection has prepared
_FLAGS: Final = {36: b"$", 43: b"+", 35: b"#"}
_KNOWN: Final = frozenset((b"SEND", b"REPORT", b"AUTH", b"NICKNAME"))


@final
class Leg:
    """One connection of a relay, perhaps one that is still coming up.

    Args:
        relay: whose it is.
        number: by which URIs know it.
        target: where it leads, of one that we open.

    Attributes:
        outlet: its sending side.
        conduct: of its peer.
        closed: it is gone.
    """

    __slots__ = (
        "_alarm",
        "_asking",
        "_at",
        "_blocked",
        "_body",
        "_line",
        "_neighbour",
        "_now",
        "_onward",
        "_parser",
        "_parts",
        "_passing",
        "_reading",
        "_relay",
        "_routes",
        "_skipping",
        "closed",
        "conduct",
        "number",
        "outlet",
        "target",
    )

    def __init__(self, relay: Relay, number: int, target: MsrpUri | None) -> None:
        means = relay.means
        self.number: Final = number
        self.target: Final = target
        self.closed = False
        self._relay = relay
        self._alarm = Alarm(self._wake)
        self.outlet: Final = Outlet(means, relay.touched, self._schedule, relay.watched)
        self.outlet.on_refused = self._failed_elsewhere
        self.outlet.again = self._again
        self._line: Line | None = None
        self._neighbour: Neighbour | None = None
        self._parser = FrameParser(means.limits.frame)
        self._parts: list[Part] = []
        self._at = 0  # how many of them are done
        self._blocked = False  # they wait for room somewhere
        self._reading = True
        self._routes: dict[bytes, Route] = {}
        self._passing: Passing | None = None  # the chunk that is coming
        self._onward: Outlet | None = None  # where that goes
        self._body: list[bytes] | None = None  # of another request that is coming
        self._skipping = False  # the rest of the frame goes nowhere
        self._asking = 0  # octets of the body so far
        self._now = means.now()
        self.conduct: Final = Conduct(means.limits, self._now)

    def come_up(
        self,
        line: Line,
        neighbour: Neighbour,
        on_octets: Callable[[bytes], object] | None = None,
    ) -> None:
        """The connection is there.

        Args:
            on_octets: is shown what comes.
        """
        means = self._relay.means
        self._line = line
        self._neighbour = neighbour
        self._parser = FrameParser(means.limits.frame, on_octets)
        self._now = means.now()
        self.conduct.came_up(self._now, neighbour.initiated)
        self._relay.came_up(self)
        self.outlet.come_up(line)
        self._relay.flush()
        self._reschedule()

    @property
    def used_at(self) -> float:
        """When something came by it last, or left."""
        return max(self.conduct.heard_at, self.outlet.told_at)

    @property
    def at_rest(self) -> bool:
        """Whether the connection is up, and would take along nothing that is under way.

        That is: no part of a frame is here, none waits to be sent, and each frame that was
        answered for, whether it came by this connection or left by it, is settled.
        """
        return (
            not self._blocked
            and self._at >= len(self._parts)
            and not self._parser.unfinished
            and self.outlet.at_rest
        )

    def end(self, why: str) -> None:
        """End the connection when what was said has been sent."""
        line = self._line
        self.outlet.flush()
        self.lost(why)
        if line is not None:
            line.close(why)

    def vouched(self, host: str) -> bool:
        """Tell whether the relay ``host`` has proved to be at the other end (§6.3)."""
        neighbour = self._neighbour
        return neighbour is not None and neighbour.proves(host)

    def received(self, data: bytes) -> None:
        """Some octets have come."""
        if self.closed:
            return
        relay = self._relay
        now = self._now = relay.means.now()
        relay.octets += len(data)
        parts = self._parser.feed(data)
        self.conduct.heard(now, bool(parts) or not self._parser.in_head)
        if self._parts:
            self._parts = self._parts[self._at :] + parts
        else:
            self._parts = parts
        self._at = 0
        if relay.rate > 0.0:
            self._spend(len(data), now)
        self.go_on()

    def go_on(self) -> None:
        """Serve what has come and waits."""
        parts = self._parts
        try:
            while self._at < len(parts) and not self._blocked and not self.closed:
                part = parts[self._at]
                self._at += 1
                self._take(part)
        finally:
            self._relay.flush()
        if self._blocked or self.closed:
            self._read_or_not()
            return
        self._parts = []
        self._at = 0
        parser = self._parser
        if parser.broken:
            self._relay.means.count("broken_framing")
            self.end(parser.broken)
            return
        if parser.in_head and not self.conduct.half:
            self._schedule(self.conduct.wait_for_rest(self._now))
        self._read_or_not()

    def drained(self) -> None:
        """The connection has sent all it had."""
        self.outlet.drained()
        self._relay.flush()
        self._read_or_not()

    def lost(self, why: str) -> None:
        """The connection is gone, or did not come up."""
        if self.closed:
            return
        self.closed = True
        self._alarm.deadline = NEVER
        self._relay.forget(self)
        passing, self._passing = self._passing, None
        if passing is not None and self._onward is not None:
            self._onward.abandon(self.outlet, passing)
        self._parts = []
        self._routes.clear()
        self.outlet.lost()
        self._relay.flush()

    # One part after the other

    def _take(self, part: Part) -> None:
        head = part.head
        if head.status:
            if part.flag:
                self._answered(head)
            return
        try:
            if part.first:
                self._begin(part)
            elif self._passing is not None and self._onward is not None:
                self._pass(self._passing, self._onward, part)
            elif not self._skipping:
                self._collect(part)
        except PeerError as error:
            self._refuse(head, error.status, error.why)
            self._skipping = True

    def _begin(self, part: Part) -> None:
        """A request begins."""
        head = part.head
        self._passing = None
        self._body = None
        self._asking = 0
        self._skipping = False
        wrong = head.check()
        if wrong:
            raise PeerError(wrong)
        if head.method != b"SEND":
            self._collect(part)
            return
        route = self._route(head)
        if route is None or self._wait_for(route.onward):
            return
        failure = head.fields.get(b"Failure-Report", b"yes")
        rest = fields_of(head)
        if part.flag:
            data = part.data
            content = b"\r\n\r\n" + data if head.has_body else b""
            route.onward.pass_whole(
                self.outlet, route.paths, rest, content, len(data), failure, _FLAGS[part.flag]
            )
            self._relay.relayed += 1
            if failure != b"no" and failure != b"partial":
                self._accept(head.transaction, route.paths)
        else:
            self._onward = route.onward
            self._passing = Passing(route.paths, rest, failure)
            self._pass(self._passing, route.onward, part)

    def _pass(self, passing: Passing, onward: Outlet, part: Part) -> None:
        """A chunk goes on."""
        flag = part.flag
        if onward.closed and not passing.refused:
            passing.refused = 408
        if not passing.refused:
            if not part.first and self._wait_for(onward):
                return
            onward.pass_piece(self.outlet, passing, part.data, _FLAGS[flag] if flag else b"")
        if not flag:
            return
        self._passing = self._onward = None
        if passing.refused:
            # What was answered for has been reported; nobody has answered for this.
            self._refuse(part.head, passing.refused, "")
            return
        self._relay.relayed += 1
        if passing.vouched:
            self._accept(part.head.transaction, passing.paths)

    def _collect(self, part: Part) -> None:
        """Another request goes on; its body is small, or it is refused (RFC 4975 §7.1)."""
        data = part.data
        if self._asking + len(data) > self._relay.means.limits.control:
            raise PeerError("the body of a request that is no message is too large")
        if not part.flag:
            self._body = self._body or []
            self._body.append(data)
            self._asking += len(data)
            return
        head = part.head
        method = head.method
        if method == b"AUTH" and b" " not in head.to_path:
            self._auth(head)
            return
        if method not in _KNOWN and not self._relay.unknown:
            raise PeerError("", 501)
        route = self._route(head)
        if route is None or self._wait_for(route.onward):
            return
        content = b""
        if head.has_body:
            content = b"\r\n\r\n" + b"".join([*(self._body or []), data])
        self._body = None
        transaction = b"" if method == b"REPORT" else head.transaction
        tries = method == b"AUTH" and b"Authorization" in head.fields
        flag = _FLAGS[part.flag]
        rest = fields_of(head)
        route.onward.pass_other(
            self.outlet, route.paths, method, rest, content, flag, transaction, tries
        )
        self._relay.passed += 1

    def _answered(self, head: Head) -> None:
        """A response has come."""
        if not self.outlet.answered(head):
            self._relay.means.count("late_responses")

    def _auth(self, head: Head) -> None:
        """Answer an AUTH that ends here.

        Spec: RFC 4976 §6.3
        """
        relay = self._relay
        neighbour = self._neighbour
        to = read_path(head.to_path)[0]
        came = read_path(head.from_path)
        if not relay.is_ours(to):
            self._drop("a request for somebody else")
            return
        if neighbour is None:
            return
        peer = came[0].bare_host.lower()
        if not self.vouched(peer):
            peer = ""
        elif len(came) == 1:
            peer = ""  # a relay that asks for itself is a client
        answer = relay.admission.answer(head, neighbour, self.number, peer, self._now)
        relay.means.count(f"auth_{answer.status}")
        self.outlet.put(answer.data)
        if answer.status == 200:
            self.conduct.authorized()
            self._served()
            relay.watch_grants(self._now)
        elif answer.failed and not peer:
            self._fail()

    # Ways

    def _route(self, head: Head) -> Route | None:
        """Return the way of a request, prepared; ``None`` when the connection is ended.

        Raises:
            PeerError: it may not pass (481), or its paths do not parse (400).
        """
        to_end = head.to_end
        if to_end >= 0:
            from_end = head.lines.find(b"\r\n", to_end + 2)
            paths = head.lines if from_end < 0 else head.lines[:from_end]
        else:
            paths = head.to_path + b"\r\n" + head.from_path
        route = self._routes.get(paths)
        if route is not None and route.until > self._now and not route.onward.closed:
            return route
        found = self._find_way(head)
        if found is not None:
            if len(self._routes) >= ROUTES:
                self._routes.clear()
            self._routes[paths] = found
            self._served()
        return found

    def _find_way(self, head: Head) -> Route | None:
        """Find the way of a request.

        Spec: RFC 4976 §6.2, §6.4
        """
        relay = self._relay
        uris = read_path(head.to_path)
        origin = head.from_path
        came = read_path(origin)
        if not relay.is_ours(uris[0]):
            self._drop("a request for somebody else")
            return None
        grants: list[Grant] = []
        for uri in uris:
            grant = relay.grants.find(uri, self._now)
            if grant is None:
                break
            grants.append(grant)
        hops = len(grants)
        if not hops or hops == len(uris):
            raise PeerError("", 481)
        leg = self._next(grants[-1], uris[hops], came[0])
        for grant in grants:
            if not (self._holds(grant) or leg._holds(grant)):
                raise PeerError("", 481)
        if not self._holds(grants[0]):
            grants[0].note(came[0].key, self.number)
        words = head.to_path.split(b" ")
        paths = Paths(words[:hops], b" ".join(words[hops:]), origin)
        return Route(paths, leg.outlet, min([grant.until for grant in grants]))

    def _next(self, grant: Grant, uri: MsrpUri, came: MsrpUri) -> Leg:
        """Return the connection for the next hop.

        Spec: RFC 4976 §6.4 (either end of it is the client's)
        """
        relay = self._relay
        if not self._holds(grant):
            if grant.owner != NOBODY:
                owner = relay.leg(grant.owner)
                if owner is None:
                    raise PeerError("", 481)
                return owner
            if uri.bare_host.lower() != grant.peer:
                raise PeerError("", 481)
            known = relay.leg(grant.via)
            return relay.reach(uri, self) if known is None else known
        known = relay.leg(grant.back.get(uri.key, NOBODY))
        if known is not None and known is not self and known.secure == uri.secure:
            return known
        if relay.is_ours(uri):
            raise PeerError("", 481)  # one that has ended, or never was
        return relay.reach(uri, self)

    @property
    def secure(self) -> bool:
        """Whether it is TLS, or will be."""
        if self._neighbour is not None:
            return self._neighbour.secure
        return self.target is not None and self.target.secure

    def _holds(self, grant: Grant) -> bool:
        """Tell whether the client that has a URI is reached by this connection."""
        if grant.owner != NOBODY:
            return grant.owner == self.number
        target = self.target
        if target is not None and target.bare_host.lower() == grant.peer:
            return target.secure
        return self.vouched(grant.peer)

    def _again(self, origin: bytes) -> Outlet | None:
        """Return another connection to the relay that led here, for a report."""
        uri = read_path(origin.split(b" ", 1)[0])[0]
        relay = self._relay
        host = uri.bare_host.lower()
        target = self.target
        known = target is not None and target.secure and target.bare_host.lower() == host
        if not known and self._neighbour is not None:
            known = self._neighbour.has_proved(host)
        if relay.stopping or not uri.port or not known:
            return None
        return relay.reach(uri, self).outlet

    # Answers

    def _accept(self, transaction: bytes, paths: Paths) -> None:
        """Answer 200: from now on it is ours (RFC 4976 §6.4.1)."""
        self.outlet.put(b"MSRP " + transaction + paths.answer + transaction + b"$\r\n")

    def _refuse(self, head: Head, status: int, why: str) -> None:
        """Answer a request that goes nowhere, if an answer is possible and wanted."""
        self._passing = None
        self._body = None
        known = f"answered_{status}" if status in COMMENTS else "answered_other"
        self._relay.means.count(known)
        method = head.method
        to = head.from_path
        if method == b"REPORT" or is_path(to) is None or is_path(head.to_path) is None:
            return
        if method == b"SEND":
            if head.get(b"Failure-Report") == b"no":
                return
            to = to.split(b" ", 1)[0]
        own = head.to_path.split(b" ", 1)[0]
        self.outlet.put(write_response(head.transaction, status, why, to, own))

    # The connection

    def _wait_for(self, onward: Outlet) -> bool:
        """Tell whether the part at hand has to wait until there is room."""
        if not onward.full:
            return False
        self._relay.means.count("held_back")
        self._at -= 1
        self._blocked = True
        onward.wait(self._resume)
        return True

    def _resume(self) -> None:
        """There is room, or the next hop is gone."""
        if not self._blocked:
            return
        self._blocked = False
        self._now = self._relay.means.now()
        self.go_on()

    def _served(self) -> None:
        """A request of the peer was good: it is somebody."""
        if self.conduct.stranger:
            self.conduct.served()
            self._relay.knows(self)

    def _fail(self) -> None:
        if self.conduct.failed(self._relay.admission.terms.failures):
            self._drop("too many wrong credentials")

    def _failed_elsewhere(self) -> None:
        """Credentials were refused by a relay behind us; relays may err (§6.3)."""
        if self.target is None and self._neighbour is not None and not self._neighbour.is_relay:
            self._fail()

    def _drop(self, why: str) -> None:
        self._relay.means.count("dropped_" + why.replace(" ", "_"))
        self.end(why)

    def _spend(self, octets: int, now: float) -> None:
        """Count what the peer sends; it rests when that is too much."""
        if self._neighbour is not None and not self._neighbour.initiated:
            self._schedule(self.conduct.spend(octets, self._relay.rate, now))

    def _read_or_not(self) -> None:
        line = self._line
        if self.closed or line is None:
            return
        wanted = not self._blocked and not self.conduct.resting and not self.outlet.choked
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                if self.conduct.half:
                    self._schedule(self.conduct.wait_for_rest(self._now))
                line.resume()
            else:
                line.pause()

    def _schedule(self, at: float) -> None:
        if at < self._alarm.deadline:
            self._alarm.deadline = at
            self._relay.means.arm(self._alarm)

    def _wake(self, now: float) -> None:
        if self.closed:
            return
        conduct = self.conduct
        self._now = now
        self.outlet.wake(now)
        if conduct.rested(now):
            self._read_or_not()
        why = conduct.fault(now, self._reading, self.outlet.stuck_since)
        self._relay.flush()
        if why:
            self._relay.means.count("dropped_" + why.replace(" ", "_"))
            line = self._line
            self.lost(why)
            if line is not None:
                line.abort(why)
        elif conduct.is_idle(now, self.used_at) and not self.outlet.pending:
            self._relay.means.count("closed_idle")
            self.end("idle")
        self._reschedule()

    def _reschedule(self) -> None:
        if not self.closed:
            outlet = self.outlet
            at = self.conduct.deadline(self._now, self._reading, outlet.stuck_since, self.used_at)
            self._schedule(min(at, outlet.deadline))
