"""One conference: its room, and everything by which it is heard and seen.

The room (:mod:`omaim.im.chatroom`) decides; here that is carried out: people are called and hung
up on, events are written down, watchers told. :meth:`Conference.settle` is the one place where
the room's outputs are taken.

Spec: RFC 4579 §5; RFC 5366 §5; RFC 7701 §5; OMA SIMPLE IM 1.0 (controlling function)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.bodies.conference_info import BUSY, DEPARTED, FAILED
from omaim.bodies.cpim import MEDIA_TYPE
from omaim.bodies.message_media import NICKNAME, PRIVATE_MESSAGES
from omaim.bodies.resource_lists import Entry
from omaim.errors import OmaimError, PeerError
from omaim.im.attendance import Attendance
from omaim.im.chatroom import Room
from omaim.im.coupling import hang_up
from omaim.im.groups import Group
from omaim.im.guest_lists import Guest
from omaim.im.inviting import called, invitation_of
from omaim.im.joining import applicant_of, applicant_who_answered
from omaim.im.nicknames import Nicknames
from omaim.im.offers import Offers
from omaim.im.participating import TERMINATING, Leg
from omaim.im.posting import Post
from omaim.im.replay_store import ReplayStore
from omaim.im.room_asking import RoomAsking
from omaim.im.room_copies import RoomCopies
from omaim.im.room_history import RoomHistory
from omaim.im.room_journal import RoomJournal
from omaim.im.room_outputs import Drop, Ended, Fact, Invite, Invitee, RosterChanged
from omaim.im.room_people import Applicant, Copies, Member
from omaim.im.room_rules import AD_HOC, Rules
from omaim.im.unsent import Unsent
from omaim.msrp import Incoming, Session, SessionUser
from omaim.net.msrp import MsrpEndpoint
from omaim.roles.call import Call
from omaim.roles.description import CallEnded, CallFailed
from omaim.roles.invitation import Invitation
from omaim.roles.inviter import Inviter
from omaim.roles.negotiation import Wish
from omaim.sip.answer_mode import AnswerMode
from omaim.sip.identity import ASSERTED
from omaim.timers import Alarm

BUSY_AT: Final = (486, 600)  # statuses of somebody who is there and does not come
GONE: Final = 413  # what cannot be kept as it has to be is not accepted

_STOPPING: Final = 1.0  # seconds that a device may take to hear that the server stops
_LOST: Final = 4  # times what waits for one session, is kept for those whose connection is lost

_log = Logger()


@attrs.frozen
class House:
    """What all conferences of one server share.

    Attributes:
        core: Route value of the core.
        admit: raises a PeerError if a user of ours does not want to be called by somebody now;
            else returns how the call is to be answered, where somebody wants it so.
        ours: whether an address is one of our users.
        secure: whether MSRP is offered over TLS to an address.
        over: told when a conference has ended.
    """

    entity: str
    inviter: Inviter
    msrp: MsrpEndpoint
    asking: RoomAsking
    journal: RoomJournal
    history: Callable[[str], RoomHistory]  # of a new conference
    replays: ReplayStore
    core: str
    now: Callable[[], float]  # seconds since the epoch
    admit: Callable[[Leg, Sequence[AnswerMode]], Sequence[AnswerMode]]
    ours: Callable[[str], bool]
    secure: Callable[[str], bool]
    roster_changed: Callable[[str], object]
    over: Callable[[Conference], object]


class Conference:
    """One conference that goes on.

    Args:
        invitees: whom to invite when the first has come.
        guests: how to reach those of them who are reached in another way than by their address.
        shown: the list that all who are invited get to see (RFC 5364).

    Attributes:
        house: what it shares with others.
        group: as whose session it goes on.
        room: decides.
        history: what is recorded, by its participants.
        answers: how who made it wants those who are called to answer.
        unsent: what was not sent to devices whose connection is lost.
    """

    def __init__(
        self,
        house: House,
        group: Group,
        rules: Rules,
        invitees: Sequence[Invitee] = (),
        guests: Mapping[str, Guest] | None = None,
        shown: Sequence[Entry] = (),
        nicknames: Nicknames | None = None,
    ) -> None:
        self.house = house
        self.group = group
        self.history = house.history(group.uri)
        self.room = Room(
            group.uri,
            rules,
            group.rights,
            self._open_copies,
            entity=house.entity,
            subject=group.subject or group.name,
            invitees=invitees,
            nicknames=nicknames,
        )
        house.asking.attend(self.room)
        self._guests = dict(guests or {})
        self._shown = tuple(shown)
        self._attendances: dict[Member, Attendance] = {}
        self.unsent = Unsent(house.msrp.means, _LOST * rules.queue)
        self._calling: dict[str, Deferred[None]] = {}
        self._told: dict[str, list[Callable[[int], object]]] = {}
        self._alarm = Alarm(self._woken)
        self._settling = False
        self._entering = 0
        self.answers: Sequence[AnswerMode] = ()
        self._farewell = ""  # Reason of the BYEs with which the server stops
        self._told_last: list[Deferred[None]] = []
        self._nameless: set[str] = set()  # who does not want to be named, as address of record

    @property
    def uri(self) -> str:
        """Its canonical address."""
        return self.room.uri

    @property
    def contact(self) -> str:
        """The Contact value of the focus (RFC 4579 §5.1)."""
        return f"<{self.uri}>;isfocus;+g.oma.sip-im"

    @property
    def is_unused(self) -> bool:
        """Nobody is in it, nor comes in just now."""
        return not self.room.count and not self._entering

    def wish(self, user: SessionUser, secure: bool = False, mutual: bool = False) -> Wish:
        """Return what the focus says of its side of a session.

        Spec: RFC 7701 §5.2, §8
        """
        rules = self.room.rules
        tokens = []
        if rules.nicknames:
            tokens.append(NICKNAME)
        if rules.private:
            tokens.append(PRIVATE_MESSAGES)
        return Wish(
            user,
            (MEDIA_TYPE,),
            rules.wrapped,
            rules.max_size or None,
            secure=secure,
            mutual=mutual,
            chatroom=tuple(tokens),
            carry=True,
        )

    def _foreign(self, address: str) -> bool:
        """Tell whether the server of another domain has to prove that it is one (IM-8)."""
        return self.house.secure(address) and not self.house.ours(address)

    # Who comes

    async def admit(self, invitation: Invitation, leg: Leg) -> None:
        """Let somebody come in who has sent an INVITE.

        Raises:
            PeerError: 403, 410, 486 as the room says; 488 without a session for it.
            CallEnded: the caller was gone before it was in.

        Spec: RFC 4579 §5.1; RFC 7701 §5.2
        """
        replaced = self._replaced(invitation, leg)
        self._entering += 1
        try:
            await self._admit(invitation, leg, replaced)
        finally:
            self._entering -= 1
        if replaced is not None and replaced.member in self._attendances:
            # It has come under another name, and leaves its place rather than handing it over.
            self.left(replaced)
            replaced.drop("", 'SIP;cause=200;text="replaced"')

    async def _admit(self, invitation: Invitation, leg: Leg, replaced: Attendance | None) -> None:
        attendance = Attendance(self, None)
        request = invitation.request
        instead = None if replaced is None else replaced.member
        headers = [
            ("Contact", self.contact),
            (ASSERTED, f"<{self.uri}>"),  # a server between takes the Contact for its own
            ("Allow-Events", "conference"),
        ]
        try:
            if invitation.described:
                call = invitation.call
                offers = attendance.read_offer(call.remote)
                applicant = applicant_of(request, leg, attendance, offers, instead)
                await self._ask(applicant)
                # Who offers it in clear is a device on its own, and no server that could prove
                # what it is: its domain lets it come so, and we let it in.
                foreign = self._foreign(applicant.identities[0])
                attendance.mutual = foreign and attendance.offered_secure
                answer = await attendance.answer(call.remote)
                await self._enter(attendance, applicant, call, invitation)
                await invitation.accept(answer.body, answer.content_type, headers)
            else:
                applicant = applicant_of(request, leg, attendance, Offers(), instead)
                await self._ask(applicant)
                attendance.mutual = self._foreign(applicant.identities[0])
                offer = attendance.offer(self.house.secure(applicant.identities[0]))
                call = await invitation.accept(offer.body, offer.content_type, headers)
                await self._enter_with_answer(attendance, applicant, call)
        except BaseException:
            self.left(attendance, failed=True)
            attendance.refuse()
            raise

    async def _ask(self, applicant: Applicant) -> None:
        await self.house.asking.may_join(self.room, applicant)

    async def _enter(
        self,
        attendance: Attendance,
        applicant: Applicant,
        call: Call,
        invitation: Invitation | None = None,
    ) -> None:
        """Take somebody into the room: what is recorded of it is durable before.

        Raises:
            PeerError: it may not come in after all, or does not want to any more.
            Unavailable: its history cannot be kept.
        """
        owner = applicant.identities[0]
        await self.history.begin(owner, self.room.subject)
        try:
            if call.over or (invitation is not None and invitation.answered):
                raise CallFailed(call.request.response(487), cancelled=True)
            now = self.house.now()
            self.room.check(applicant, now)
            self._take_up(attendance, applicant)
            member = self.room.join(applicant, now)
        except BaseException:
            self.history.leave(owner)
            self.settle()
            raise
        self._attendances[member] = attendance
        if applicant.hidden:
            self._nameless.add(owner)
        attendance.entered(member, call)
        self.history.joined(member.person.shown)
        self._answered(applicant.identities, 200)
        self.settle()

    def _take_up(self, attendance: Attendance, applicant: Applicant) -> None:
        """Give a device that was lost what it had not got: before anything else is said to it."""
        left = self.unsent.take(applicant.identities[0], applicant.hidden, applicant.device)
        if left is not None:
            attendance.session.outbox.take_over(left)

    async def _enter_with_answer(
        self, attendance: Attendance, applicant: Applicant, call: Call
    ) -> None:
        """Take somebody in who has answered our offer; who cannot come in is hung up on."""
        try:
            offers = await attendance.read_answer(call.remote)
            await self._enter(attendance, attrs.evolve(applicant, offers=offers), call)
        except BaseException as error:
            status = error.status if isinstance(error, PeerError) else 500
            hang_up(call, f"SIP;cause={status}")
            raise

    def _replaced(self, invitation: Invitation, leg: Leg) -> Attendance | None:
        """Return whose place in the conference an INVITE takes.

        Raises:
            PeerError: it is not in this conference (481), or not the caller's own (403).

        Spec: RFC 3891 §3, §4
        """
        call = invitation.replaces
        if call is None:
            return None
        old = call.context
        if not isinstance(old, Attendance) or old.member is None or old.conference is not self:
            raise PeerError("no such dialog to replace in this conference", 481)
        if old.member.person.aor not in leg.identities:
            raise PeerError("this dialog is not yours to replace", 403)
        return old

    # Who is called

    def _call(self, invitee: Invitee, by: str) -> None:
        calling = Deferred.fromCoroutine(self._invite(invitee, by))
        self._calling[invitee.uri] = calling
        calling.addErrback(self._not_called, invitee.uri)

    async def _invite(self, invitee: Invitee, by: str) -> None:
        """Invite somebody, and take it in when it comes.

        Spec: RFC 4579 §5.5; RFC 5366 §5
        """
        uri, house = invitee.uri, self.house
        attendance = Attendance(self, None)
        try:
            guest = self._guests.pop(uri, None) or Guest(uri)
            hidden = by in self._nameless
            answers = self.answers
            if house.ours(uri):
                # The core does not bring our own INVITE back to us.
                answers = house.admit(Leg(TERMINATING, uri, by, True, hidden, (by,)), answers)
            by = "" if hidden else by
            attendance.mutual = self._foreign(uri)
            offer = attendance.offer(house.secure(uri))
            request = invitation_of(
                self.uri,
                self.contact,
                self.room.subject,
                guest,
                offer,
                by,
                self._shown,
                house.core,
                house.msrp.ids,
                answers,
            )
            call = await called(house.inviter, request, offer)
            self._calling.pop(uri, None)
            applicant = applicant_who_answered(uri, call, attendance)
            await self._enter_with_answer(attendance, applicant, call)
        except PeerError as error:
            attendance.refuse()
            self._calling.pop(uri, None)
            self._answered((uri,), error.status)
            how = BUSY if error.status in BUSY_AT else FAILED
            if error.status == 603:
                how = DEPARTED
            self.room.failed(uri, how, house.now())
            self.settle()
        except BaseException:
            attendance.refuse()
            raise

    def _not_called(self, failure: Failure, uri: str) -> None:
        self._calling.pop(uri, None)
        if failure.check(OmaimError, CallEnded):
            _log.error("{uri} was not invited: {why}", uri=uri, why=failure.getErrorMessage())
        else:
            _log.failure("{uri} was not invited", failure, uri=uri)
        self._answered((uri,), 500)
        self.room.failed(uri, FAILED, self.house.now())
        self.settle()

    def invite(
        self,
        by: str,
        guests: Iterable[Guest],
        tell: Callable[[int], object] | None = None,
        hidden: bool = False,
    ) -> None:
        """Call people, on somebody's wish.

        Args:
            by: canonical address.
            tell: gets the status of what came of it, where one is called.
            hidden: who wishes it does not want to be named.

        Raises:
            Refusal: see :meth:`Room.invite`.
        """
        wanted = list(guests)
        asked = self.room.invite(by, [Invitee(one.uri) for one in wanted], self.house.now())
        if hidden:
            self._nameless.add(by)
        called = {one.uri for one in asked}
        for one in wanted:
            if one.uri in called:
                self._guests[one.uri] = one
        if tell is not None:
            (one,) = wanted
            if asked:
                self._told.setdefault(one.uri, []).append(tell)
            else:
                tell(200)  # is here, or asked already
        self.settle()

    def expel(self, by: str, uri: str) -> None:
        """Put somebody out, on somebody's wish.

        Raises:
            Refusal: see :meth:`Room.expel`.
        """
        self.room.expel(by, uri, self.house.now())
        calling = self._calling.pop(uri, None)
        if calling is not None:
            calling.cancel()
        self.settle()

    def _answered(self, uris: Iterable[str], status: int) -> None:
        """Somebody who was called has answered, or comes by itself."""
        for uri in uris:
            for tell in self._told.pop(uri, ()):
                tell(status)
            calling = self._calling.pop(uri, None)
            if calling is not None:
                calling.cancel()

    # Who leaves

    def left(self, attendance: Attendance, failed: bool = False) -> None:
        """A device has left, or its session is gone."""
        member = attendance.member
        if member is not None:
            self.room.leave(member, self.house.now(), FAILED if failed else DEPARTED)
            self._forget(member)
            self.settle()

    def _forget(self, member: Member) -> None:
        attendance = self._attendances.pop(member, None)
        if attendance is not None:
            self.history.leave(member.person.aor)

    def end(self, why: str) -> None:
        """Close the room."""
        self.room.end(why, self.house.now())
        self.settle()

    def stop(self, why: str, reason: str) -> Deferred[Any]:
        """Close the room, as the server stops; fires when all know."""
        self._farewell = reason
        self.end(why)
        return DeferredList(self._told_last)

    def regroup(self, group: Group | None, rules: Rules | None = None) -> None:
        """The definition of its group has changed; ``None``: there is none any more.

        Args:
            rules: those of its room now.
        """
        if group is None or not group.sessions:
            self.end("there is no such group any more")
        else:
            self.group = group
            self.room.reconsider(group.rights, self.house.now(), rules)
            self.settle()

    # What is said

    def _open_copies(self, members: Sequence[Member], size: int) -> Copies:
        return RoomCopies(self.house.msrp.means, members, size, _session_of, self._strained)

    def _strained(self, member: Member) -> None:
        burden = _session_of(member).burden
        if burden >= self.room.rules.mark:
            self.room.pressure(member, burden, self.house.now())

    def pressure(self, member: Member, octets: int) -> None:
        """So many octets wait for a session now."""
        self.room.pressure(member, octets, self.house.now())
        self.settle()

    def nickname(self, member: Member, text: str) -> int:
        """Answer a NICKNAME; see :meth:`Room.nickname`."""
        status = self.room.nickname(member, text, self.house.now())
        self.settle()
        return status

    def said(self, post: Post, incoming: Incoming) -> None:
        """A message went out: its sender hears so when that is written down."""
        journal = self.house.journal
        assert post.event is not None
        journal.note(post.event, self.uri)
        self._keep(post)
        recording = self.history.record(post)
        if recording is None:
            self._release(incoming)
        else:
            recording.addCallbacks(
                lambda _: self._release(incoming),
                lambda failure: self._not_recorded(failure, incoming),
            )

    def _keep(self, post: Post) -> None:
        """Keep what was said to all for those who come late, if there is another time to come."""
        if self.group.kind != AD_HOC and post.whole is not None and not post.to:
            self.house.replays.note(
                self.uri, self.room.replay, post.sender, post.whole, post.message_id
            )

    def _release(self, incoming: Incoming) -> None:
        """Let the sender hear that all is written down."""
        self.house.replays.after(lambda: self.house.journal.after(incoming.release))

    def _not_recorded(self, failure: Failure, incoming: Incoming) -> None:
        if failure.check(OmaimError):
            _log.error("a message was not recorded: {why}", why=failure.getErrorMessage())
        else:
            _log.failure("a message was not recorded", failure)
        incoming.release(GONE, "it cannot be recorded now")

    # What the room wants

    def settle(self) -> None:
        """Do what the room wants done."""
        if self._settling:
            return
        self._settling = True
        try:
            while True:
                outputs = self.room.take()
                if not outputs:
                    break
                for output in outputs:
                    self._perform(output)
        finally:
            self._settling = False
        self._arm()

    def _perform(self, output: object) -> None:
        if isinstance(output, Fact):
            self.house.journal.note(output.event, self.uri)
        elif isinstance(output, RosterChanged):
            self.house.roster_changed(self.uri)
        elif isinstance(output, Invite):
            self._call(output.invitee, output.by)
        elif isinstance(output, Drop):
            attendance = self._attendances.get(output.member)
            self._forget(output.member)
            if attendance is not None and self._farewell:
                self._told_last.append(attendance.drop("", self._farewell, _STOPPING))
            elif attendance is not None:
                attendance.drop(output.why)
        elif isinstance(output, Ended):
            self._ended()

    def _ended(self) -> None:
        calling, self._calling = self._calling, {}
        for one in calling.values():
            one.cancel()
        for told in self._told.values():
            for tell in told:
                tell(487)
        self._told.clear()
        self.unsent.close()
        self.house.over(self)

    def _arm(self) -> None:
        deadlines = [self.room.deadline, self.unsent.deadline]
        deadline = min((one for one in deadlines if one is not None), default=None)
        if deadline is not None:
            agent = self.house.inviter.agent
            self._alarm.deadline = agent.now() + max(0.0, deadline - self.house.now())
            agent.arm(self._alarm)

    def _woken(self, now: float) -> None:
        self.unsent.wake(self.house.now())
        self.room.wake(self.house.now())
        self.settle()


def _session_of(member: Member) -> Session:
    link = member.link
    assert isinstance(link, Attendance)
    return link.session
