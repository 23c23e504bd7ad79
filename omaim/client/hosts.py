"""The rooms that one client hosts: which of them a request is about, and what it asks for.

Spec: RFC 4579 §5.1, §5.5, §5.11; RFC 4575; RFC 5368; OMA SIMPLE IM 1.0 (IM Client that hosts a
conference)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure as Broken

from omaim.bodies.resource_lists import MEDIA_TYPE as LISTS
from omaim.bodies.resource_lists import entries, parse_lists
from omaim.client.failures import Failure
from omaim.client.host_package import NAME as CONFERENCE
from omaim.client.host_package import HostPackage
from omaim.client.host_rules import room_in
from omaim.client.hosting import HostedRoom
from omaim.client.means import MOST, Means
from omaim.client.reading import sender_of
from omaim.errors import PeerError, UsageError
from omaim.roles.incoming import Incoming
from omaim.roles.notifier import Notifier
from omaim.roles.referrer import Referral
from omaim.sip.message import Request
from omaim.sip.uri import SipUri, canonical_aor, parse_uri

ROOMS: Final = 10  # that one client hosts at a time
LISTED: Final = 50  # people of one list
_TOKEN: Final = 8  # characters that tell a room

_log = Logger()


class Hosts:
    """The rooms that one client hosts.

    Args:
        means: of the client.

    Attributes:
        rooms: those that go on, oldest first.
    """

    def __init__(self, means: Means) -> None:
        self.rooms: list[HostedRoom] = []
        self._means = means
        self._notifier: Notifier | None = None
        means.inviter.referrer.on_refer = self._referred

    async def host(self, subject: str, maximum: int) -> HostedRoom:
        """Host a conference; see :meth:`omaim.client.Client.host`."""
        if len(self.rooms) >= ROOMS:
            raise UsageError(f"{ROOMS} conferences are hosted already; end one first")
        means = self._means
        await means.opened()
        if self._notifier is None:
            self._notifier = Notifier(means.phone, most=MOST)
            self._notifier.serve(HostPackage(self.of, self._by_uri, self._may_watch))
        room = HostedRoom(means, subject, maximum, means.phone.ids.token(_TOKEN))
        self.rooms.append(room)
        room.on_roster_changed = lambda: self._changed(room)
        room.on_over = lambda: self._over(room)
        return room

    def of(self, request: Request) -> HostedRoom | None:
        """Return the room that an INVITE, a SUBSCRIBE or a REFER is for; ``None`` for no room.

        Its address is told by the Request-URI, or by To where a server on the way has put our
        own address in its place.

        Raises:
            PeerError: 404, it is over, or another device of ours hosts it.
        """
        token = room_in(request.uri) or room_in(request.to.uri_text)
        if not token:
            return None
        for room in self.rooms:
            if token == room.token:
                return room
        raise PeerError("no such conference is hosted here", 404)

    async def close(self, patience: float) -> None:
        """End all rooms.

        Args:
            patience: seconds that the people in them may take.
        """
        if self.rooms:
            ending: Deferred[Any] = DeferredList(
                [Deferred.fromCoroutine(room.leave()) for room in self.rooms]
            )
            ending.addTimeout(patience, self._means.clock)
            await ending.addErrback(lambda _: None)

    # Who is there.

    def _by_uri(self, uri: str) -> HostedRoom | None:
        return next((one for one in self.rooms if one.uri == uri), None)

    def _may_watch(self, incoming: Incoming, room: HostedRoom) -> bool:
        sender, verified = sender_of(incoming.request, self._means.trusts(incoming.flow))
        return room.knows(sender.uri_text, verified)

    def _changed(self, room: HostedRoom) -> None:
        if self._notifier is not None:
            self._notifier.changed(CONFERENCE, room.uri)

    def _over(self, room: HostedRoom) -> None:
        if room in self.rooms:
            self.rooms.remove(room)
        notifier = self._notifier
        if notifier is not None:
            for served in notifier.watchers(CONFERENCE, room.uri):
                notifier.terminate(served, "noresource")

    # What participants ask for.

    def _referred(self, referral: Referral) -> None:
        """Do what somebody in a room wants done.

        Raises:
            PeerError: 603 it is not about a room; 404 there is no such room; 403 who asks may
                not; 486 there would be too many; what it asks for is broken.
        """
        call = referral.call
        leg = None if call is None else call.context
        room = self.of(referral.request)
        if room is None and leg is not None:
            room = next((one for one in self.rooms if one.has(leg)), None)
        if room is None:
            raise PeerError("nothing is asked of us here", 603)
        sender, verified = sender_of(referral.request, self._means.trusts(referral.flow))
        if not room.knows(sender.uri_text, verified or room.has(leg)):
            raise PeerError("who is not in the room asks for nothing", 403)
        if room.closed:
            raise PeerError("only the host calls people in", 403)
        people = _named(referral)
        calling = room.call_in(people)
        referral.accept()
        everybody = DeferredList(calling, consumeErrors=True)
        everybody.addCallback(lambda results: _tell(referral, results))
        everybody.addErrback(_broken)


def _named(referral: Referral) -> list[str]:
    """Return whom a REFER wants to be called in.

    Raises:
        PeerError: 403 it wants something else done; or it cannot be read.
    """
    if referral.several:
        kind, body = referral.listed()
        if kind.partition(";")[0].strip().lower() != LISTS:
            raise PeerError("people are named in a resource list", 415)
        uris = [entry.uri for one in parse_lists(body) for entry in entries(one)]
    else:
        uris = [referral.refer_to.uri_text]
    if not 0 < len(uris) <= LISTED:
        raise PeerError(f"a list names between 1 and {LISTED} people", 403)
    people = []
    for one in uris:
        uri = parse_uri(one)
        if isinstance(uri, SipUri):
            if uri.method not in ("", "INVITE"):
                raise PeerError("only the host puts people out", 403)
            uri = uri.for_request()
        people.append(canonical_aor(str(uri)))
    return people


def _tell(referral: Referral, results: Sequence[tuple[bool, Any]]) -> None:
    """Report what came of it."""
    status = 200
    for came, result in results:
        if not came:
            error = result.value
            if not isinstance(error, Failure):
                _log.failure("Somebody was not called in", result)
            status = error.status if isinstance(error, Failure) and error.status else 500
    referral.progress(status)


def _broken(failure: Broken) -> None:
    _log.failure("What came of a REFER was not told", failure)
