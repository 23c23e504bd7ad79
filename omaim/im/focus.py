"""The conference focus: the door to all conferences of one server.

An INVITE to the factory makes a conference, one to the address of a room or a group opens it or
comes in. Read :meth:`Focus.create` and :meth:`Focus.join`.

A conference lives as long as the server: who is in it sees BYE when the server stops, and 481
and a lost connection when it dies. What is defined in documents opens again for the next who
comes, with what was said there last where its rules show that; a conference that was made on
demand is gone.

Spec: RFC 4579; RFC 5366; RFC 7701; OMA SIMPLE IM 1.0 (controlling function)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.bodies.resource_lists import Entry
from omaim.errors import OmaimError, PeerError
from omaim.im.answering import asked_for
from omaim.im.chatroom import Room
from omaim.im.conference import Conference, House
from omaim.im.conference_package import NAME, ConferencePackage
from omaim.im.coupling import Coupling
from omaim.im.groups import Act, AdHocGroups, Group, IGroups
from omaim.im.guest_lists import OPTION, Guest, guest_of, listed_in, no_list_here
from omaim.im.nicknames import Nicknames
from omaim.im.participating import Leg
from omaim.im.policy import Refusal
from omaim.im.referring import Referring
from omaim.im.replay import Replay
from omaim.im.room_outputs import Invitee
from omaim.im.room_rules import PREDEFINED, Rules
from omaim.roles.call import Call
from omaim.roles.invitation import Invitation
from omaim.roles.notifier import Notifier
from omaim.roles.packages import Served
from omaim.sip.headers import DialogRef
from omaim.sip.uri import canonical_aor

SECRET: Final = 32  # hex digits in the address of a conference made on demand
ENDED: Final = 1000  # conferences whose end is remembered
CONFERENCE: Final = "conf."  # how the user parts of addresses begin
ROOM: Final = "room."
_SIDES: Final = 4  # of one conversation, that one server serves at most
_STOPS: Final = 'SIP;cause=503;text="the server stops"'

_log = Logger()

Service = Callable[[Invitation, Leg], Any]


@attrs.frozen
class Left:
    """What is left of the last session of a group."""

    nicknames: Nicknames | None
    replay: Replay


class Focus:
    """All conferences of one server.

    Args:
        domain: the home domain.
        groups: those that are defined.
        notifier: serves the conference event package from now on.
        ordinary: what holds for all rooms where their definition says nothing else.
        most_people: in a conference that is made on demand.
        most: conferences at a time; more are refused with 503.
        interval: least seconds between two NOTIFYs of changes of who is in a conference.
        each: conferences that one user may have made at a time; 0 for no limit.

    Attributes:
        conferences: those that go on, by address.
        house: what they share.
    """

    def __init__(
        self,
        domain: str,
        groups: IGroups,
        notifier: Notifier,
        ordinary: Rules,
        most_people: int = 100,
        most: int = 10_000,
        interval: float = 1.0,
        each: int = 0,
    ) -> None:
        self.conferences: dict[str, Conference] = {}
        self.house: House | None = None
        self._domain = domain
        self._groups = groups
        self._ad_hoc = AdHocGroups(most_people, each)
        self._notifier = notifier
        self._ordinary = ordinary
        self._most = most
        self._stopping = False
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._unwatch: dict[str, Act] = {}
        self._left: OrderedDict[str, Left] = OrderedDict()
        self._package = ConferencePackage(
            self.conferences.get, self._missing, self._end_watch, interval
        )
        notifier.serve(self._package)

    def open(self, house: House) -> None:
        """Begin to serve; REFERs to conferences are taken from now on."""
        self.house = house
        inviter = house.inviter
        inviter.agent.supported.add(OPTION)
        referring = Referring(self.conferences.get, self._call, self._translated)
        inviter.referrer.on_refer = referring.referred

    # The doors

    def finds(self, address: str, service: bool = False) -> Service | None:
        """Return what serves an INVITE to an address, ``None`` if that is of no conference.

        Args:
            address: canonical.
            service: the core has sent it as one to a service: whatever group has the address.
        """
        user, _, host = address.partition(":")[2].partition("@")
        if address in self.conferences:
            return self.join
        if host == self._domain and (service or user.startswith((CONFERENCE, ROOM))):
            return self.join
        return None

    def lacks(self, address: str) -> PeerError:
        """Return why no message can be sent to an address, which is of no group that is defined.

        Returns: 403 a conference that was made on demand; 410 it has ended; 404 there is none.
        """
        if address in self.conferences:
            return Refusal("119 Function not allowed: say it in the session of this conference")
        return self._unknown(address)

    async def create(self, invitation: Invitation, leg: Leg) -> None:
        """Make a conference for who asks the factory, and call those on its list.

        Raises:
            PeerError: 400, 415 the list cannot be used; 486 too many are on it; 503.

        Spec: RFC 4579 §5.4; RFC 5366 §5
        """
        house, request = self._house(), invitation.request
        people = listed_in(request)
        if OPTION in request.require and people is None:
            raise PeerError("the recipient list is missing")
        self._check_load()
        asker = leg.identities
        if not asker:
            raise Refusal("who makes a conference has to be known")
        guests = [
            guest_of(one, lambda value: self._translated(value, asker)) for one in people or ()
        ]
        guests = [one for one in guests if one.uri not in asker]
        answers = asked_for(request)
        uri = f"sip:{CONFERENCE}{house.msrp.ids.token(SECRET)}@{self._domain}"
        subject = request.first("Subject") or ""
        group = self._ad_hoc.make(uri, asker[0], [one.uri for one in guests], subject)
        conference = self._open(group, guests, people or ())
        conference.answers = answers
        await self._admit(conference, invitation, leg)

    async def join(self, invitation: Invitation, leg: Leg) -> None:
        """Let somebody into a conference, or open the room of a group.

        Raises:
            PeerError: 404 there is none; 410 it has ended; 403, 486, 488 as the room says; 420.

        Spec: RFC 4579 §5.1; RFC 7701 §5.2
        """
        if OPTION in invitation.request.require:
            raise no_list_here()
        address = canonical_aor(invitation.request.uri)
        conference = self.conferences.get(address)
        if conference is None:
            group: Group | None = await self._groups.get(address)
            if group is None:
                await self._house().replays.forget(address)
                raise self._unknown(address)
            if not group.sessions:
                raise Refusal("119 Function not allowed: this group has no sessions")
            before = await self._before(group)
            conference = self.conferences.get(address)
            if conference is None:
                self._check_load()
                conference = self._open(group, before=before)
        await self._admit(conference, invitation, leg)

    async def _before(self, group: Group) -> Left:
        """Return what is left of the last session of a group, in this life or another."""
        left = self._left.get(group.uri)
        if left is None:
            rules = group.rules(self._ordinary)
            left = Left(None, Replay(rules.replay, rules.replay_size))
            if rules.replay:
                await self._house().replays.load(group.uri, left.replay)
        return left

    async def _admit(self, conference: Conference, invitation: Invitation, leg: Leg) -> None:
        try:
            await conference.admit(invitation, leg)
        finally:
            if conference.is_unused:
                self._over(conference)

    def _check_load(self) -> None:
        if self._stopping or len(self.conferences) >= self._most:
            raise PeerError("no further conference can be had here now", 503)

    # Conferences

    def _open(
        self,
        group: Group,
        guests: list[Guest] | None = None,
        shown: tuple[Entry, ...] = (),
        before: Left | None = None,
    ) -> Conference:
        rules = group.rules(self._ordinary)
        named = guests or []
        if guests is None and group.kind == PREDEFINED:
            named = [Guest(one) for one in group.members]
        invitees = [Invitee(one.uri, one.hidden) for one in named]
        before = self._left.pop(group.uri, before)
        conference = Conference(
            self._house(),
            group,
            rules,
            invitees,
            {one.uri: one for one in named},
            shown,
            None if before is None else before.nicknames,
        )
        if before is not None:
            conference.room.replay = before.replay
        self.conferences[group.uri] = conference
        if guests is None:
            self._unwatch[group.uri] = self._groups.watch(
                group.uri, lambda: self._changed(conference)
            )
        return conference

    def over(self, conference: Conference) -> None:
        """A conference has ended, in the turn in which its watchers were told."""
        self._over(conference)
        for served in self._notifier.watchers(NAME, conference.uri):
            self._notifier.terminate(served, "noresource")

    def _over(self, conference: Conference) -> None:
        uri = conference.uri
        if self.conferences.get(uri) is not conference:
            return
        del self.conferences[uri]
        unwatch = self._unwatch.pop(uri, None)
        if unwatch is None:
            self._ad_hoc.forget(uri)
            self._remember(uri)
        else:
            unwatch()
            room = conference.room
            self._left[uri] = Left(room.nicknames, room.replay)
            if len(self._left) > ENDED:
                oldest, _ = self._left.popitem(last=False)
                self._house().replays.close(oldest)

    def _remember(self, uri: str) -> None:
        self._ended[uri] = None
        if len(self._ended) > ENDED:
            self._ended.popitem(last=False)

    def _changed(self, conference: Conference) -> None:
        """The definition of a group has changed."""
        looking = Deferred.fromCoroutine(self._look(conference))
        looking.addErrback(self._not_looked, conference.uri)

    async def _look(self, conference: Conference) -> None:
        group: Group | None = await self._groups.get(conference.uri)
        if self.conferences.get(conference.uri) is conference:
            conference.regroup(group, None if group is None else group.rules(self._ordinary))
        if group is None:
            self._left.pop(conference.uri, None)
            await self._house().replays.forget(conference.uri)

    def _not_looked(self, failure: Failure, uri: str) -> None:
        if failure.check(OmaimError):
            _log.error("{uri} goes on as before: {why}", uri=uri, why=failure.getErrorMessage())
        else:
            _log.failure("{uri} goes on as before", failure, uri=uri)

    def settle(self, room: Room) -> None:
        """Something was decided on in a room: do what it wants done."""
        conference = self.conferences.get(room.uri)
        if conference is not None and conference.room is room:
            conference.settle()

    def stop(self) -> Deferred[Any]:
        """End all conferences: the server stops. Fires when their participants know."""
        self._stopping = True
        told = [one.stop("the server stops", _STOPS) for one in list(self.conferences.values())]
        return DeferredList(told)

    # What others ask for

    def _unknown(self, address: str) -> PeerError:
        if address in self._ended:
            return PeerError("the conference has ended", 410)
        return PeerError("there is no such conference or group", 404)

    async def _missing(self, address: str) -> PeerError:
        """Return the answer to a SUBSCRIBE about a conference that does not go on."""
        if await self._groups.get(address) is not None:
            return PeerError("nobody is in this room now", 480)
        return self._unknown(address)

    def _end_watch(self, served: Served, reason: str) -> None:
        agent = self._house().inviter.agent
        agent.endpoint.later(self._notifier.terminate, served, reason)

    def _call(self, dialog: DialogRef) -> Call | None:
        return self._house().inviter.calls.get(dialog.key)

    def _translated(self, replaces: str, asker: tuple[str, ...]) -> str:
        """Return what the other party of a conversation calls the dialog that it has with us.

        Args:
            replaces: what the asker calls its own dialog with us.

        Raises:
            PeerError: there is no such dialog (481), or it is not the asker's (403).

        Spec: RFC 5366 §4; RFC 3891 §3, §6.1
        """
        call = self._call(DialogRef.parse(replaces))
        coupling = None if call is None else call.context
        if call is None or not isinstance(coupling, Coupling):
            raise PeerError("no such dialog to replace", 481)
        if coupling.party(call).isdisjoint(asker):
            raise PeerError("this dialog is not yours to replace", 403)
        dialog = coupling.other(call).dialog
        for _ in range(_SIDES):
            # Both sides of a conversation may be served here: then the dialog leads to ourselves.
            own = self._house().inviter.calls.get(
                (dialog.call_id, dialog.remote_tag, dialog.local_tag)
            )
            beyond = None if own is None else own.context
            if own is None or not isinstance(beyond, Coupling):
                break
            dialog = beyond.other(own).dialog
        # Our local tag is the one that the receiver calls remote.
        return str(DialogRef(dialog.call_id, dialog.remote_tag, dialog.local_tag))

    def _house(self) -> House:
        assert self.house is not None
        return self.house
