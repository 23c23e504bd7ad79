"""All sessions of one client: those it begins, and those it is invited to.

Spec: OMA SIMPLE IM 1.0 (session mode); RFC 3261 §13; RFC 3891
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure as Broken

from omaim.bodies.mime import Part
from omaim.client.answering import Answering, asked_of
from omaim.client.composing import write_list
from omaim.client.conversation import Conversation
from omaim.client.failures import Ended, Failure, NotFound, WrongFormat
from omaim.client.files import Files
from omaim.client.first_message import Opening, read_first
from omaim.client.handing import hand
from omaim.client.host_rules import room_in
from omaim.client.hosts import Hosts
from omaim.client.invited import BUSY, Invited
from omaim.client.large import LargeMode
from omaim.client.leg import Leg
from omaim.client.means import MOST, Means
from omaim.client.offered import Offered
from omaim.client.reading import sender_of
from omaim.client.room import Room
from omaim.errors import OmaimError, PeerError, UsageError
from omaim.roles.call import Call
from omaim.roles.description import Fields
from omaim.roles.invitation import Invitation
from omaim.roles.referrer import refer_uri
from omaim.sip.answer_mode import OPTION as ANSWER_MODE
from omaim.sip.answer_mode import AnswerMode
from omaim.sip.headers import DialogRef, NameAddr
from omaim.sip.message import Request, Response

LIST_OPTION: Final = "recipient-list-invite"  # RFC 5366 §9

_log = Logger()


class Sessions:
    """The sessions of one client.

    Args:
        means: of the client.
        shown: told of each INVITE, and of the URI of who sent it.

    Attributes:
        on_invitation: gets each invitation to talk.
        on_conversation: gets each conversation that others began, once it was accepted.
        answering: which invitations to talk are accepted without asking.
        conversations: those that go on.
        files: sent and received.
        large: messages sent and received.
        hosts: the conferences that we host.
    """

    def __init__(self, means: Means, shown: Callable[[str, Request], object]) -> None:
        self._shown = shown
        self.on_invitation: Callable[[Invited], object] | None = None
        self.on_conversation: Callable[[Conversation], object] | None = None
        self.answering = Answering()
        self.conversations: list[Conversation] = []
        self.hosts = Hosts(means)
        self._means = means
        self.files = Files(means)
        self.large = LargeMode(means)
        means.phone.supported.add(ANSWER_MODE)
        means.inviter.on_invite = self._invited

    # Beginning one.

    async def invite(
        self,
        target: str,
        *,
        subject: str = "",
        secure: bool = False,
        headers: Fields = (),
        ringing: Callable[[int], object] | None = None,
        first: str = "",
        answer: AnswerMode | None = None,
    ) -> Conversation:
        """Invite somebody; see :meth:`omaim.client.Client.invite`."""
        conversation = Conversation(self._means, self.files, NameAddr(target), True, subject)
        fields = [*([("Subject", subject)] if subject else []), *headers]
        if answer is not None:
            fields.append(answer.field)
            if answer.required:
                fields.append(("Require", ANSWER_MODE))

        def provisional(response: Response) -> None:
            if ringing is not None and response.status > 100:
                ringing(response.status)

        def inviting(parts: Sequence[Part]) -> Awaitable[Leg]:
            wishes = [conversation.wish(secure)]
            return Leg.invite(
                self._means, target, wishes, fields, parts=parts, provisional=provisional
            )

        if first:
            await self._open(conversation, Opening(self._means, target, first), inviting)
        else:
            self._begin(conversation, await inviting(()))
        return conversation

    async def _open(
        self,
        conversation: Conversation,
        opening: Opening,
        inviting: Callable[[Sequence[Part]], Awaitable[Leg]],
    ) -> None:
        """Begin a conversation with a message, which comes along or is said first in it."""
        conversation.first = opening.sent
        parts = opening.parts
        try:
            try:
                leg = await inviting(parts)
            except WrongFormat:
                if not parts:
                    raise
                parts = []  # it may take the session all the same (RFC 3261 §21.4.13)
                leg = await inviting(())
            self._begin(conversation, leg)
            if not parts:
                await conversation.talk.send_again(opening.body, opening.sent)
        except Failure as failure:
            opening.failed(failure)
            if conversation in self.conversations:
                await conversation.leave()
            raise
        opening.taken()

    def _begin(self, conversation: Conversation, leg: Leg) -> None:
        conversation.begin(leg)
        conversation.answered = _how_answered(leg.call)
        self._keep(conversation)

    async def join(self, target: str, *, secure: bool = False) -> Room:
        """Come into a room; see :meth:`omaim.client.Client.join`."""
        return await self._enter(target, "", (), (), secure)

    async def conference(
        self,
        factory: str,
        people: Sequence[str],
        subject: str,
        *,
        instead: Conversation | None = None,
        secure: bool = False,
    ) -> Room:
        """Have a conference made; see :meth:`omaim.client.Client.conference`."""
        wanted = [one for one in people if instead is None or one != instead.peer]
        if instead is not None:
            wanted.insert(0, self._replacing(instead))
        if not wanted:
            raise UsageError("name somebody to invite")
        parts = [write_list(wanted)]
        headers = [("Require", LIST_OPTION), *([("Subject", subject)] if subject else [])]
        room = await self._enter(factory, subject, headers, parts, secure)
        if instead is not None:
            await instead.leave()
        return room

    def _replacing(self, conversation: Conversation) -> str:
        """Return the URI of who is to come along from a conversation.

        Spec: RFC 5366 §4; RFC 3891 §3
        """
        if conversation.ended:
            raise Ended(481)
        dialog = conversation.leg.call.dialog
        # The tag of who receives it is the one that we call remote.
        value = DialogRef(dialog.call_id, dialog.remote_tag, dialog.local_tag)
        return refer_uri(conversation.peer, headers=[("Replaces", str(value))])

    async def _enter(
        self, target: str, subject: str, headers: Fields, parts: Sequence[Part], secure: bool
    ) -> Room:
        """Invite a focus; return its room."""
        # Who it is is known when it has answered.
        stand_in = Room(self._means, self.files, NameAddr(target), True, subject)
        leg = await Leg.invite(self._means, target, [stand_in.wish(secure)], headers, parts=parts)
        uri = _focus(leg.call, target)
        if not uri:
            stand_in.talk.on_lost = None
            await leg.close()
            raise NotFound(404, f"{target} is no room")
        stand_in.move(uri)
        stand_in.begin(leg)
        stand_in.again = self.join
        self._keep(stand_in)
        return stand_in

    def _keep(self, conversation: Conversation) -> None:
        if conversation.ended:
            return
        self.conversations.append(conversation)
        conversation.established()
        conversation.leg.ending.append(lambda _: self.conversations.remove(conversation))

    # Being invited.

    async def _invited(self, invitation: Invitation) -> None:
        """Answer an INVITE.

        Raises:
            PeerError: it is refused.
        """
        means = self._means
        if len(means.legs) >= MOST:
            raise PeerError("too many sessions are open", BUSY)
        offered = Offered.of(invitation)
        peer, verified = sender_of(invitation.request, means.trusts(invitation.flow))
        self._shown(peer.uri_text, invitation.request)
        room = self.hosts.of(invitation.request)
        if room is not None:
            await room.joined(invitation, offered, peer, verified)
        elif offered.media.transfer is not None:
            await self.files.invited(invitation, offered, peer.uri_text, verified)
        elif offered.large:
            await self.large.take(invitation, offered, peer, verified)
        else:
            self._asked(invitation, offered, peer, verified)

    def _asked(
        self, invitation: Invitation, offered: Offered, peer: NameAddr, verified: bool
    ) -> None:
        """Somebody wants to talk, or a room wants us in.

        Raises:
            PeerError: nobody wants to know (480), or it would take the place of a conversation
                that it has nothing to do with (403).
        """
        replaced = self._replaced(invitation, peer, verified)
        request = invitation.request
        focus = any(one.params.has("isfocus") for one in request.contacts)
        asked, trusted = asked_of(request), self._means.trusts(invitation.flow)
        automatic = replaced is not None or self.answering.by_itself(asked, focus, trusted)
        if self.on_invitation is None and not automatic:
            raise PeerError("nobody is here to talk", 480)
        found = read_first(self._means, request, peer, verified)
        subject = request.first("Subject") or ""
        made: Conversation
        if focus:
            room = request.from_
            made = Room(self._means, self.files, room, verified, subject, peer.uri_text)
            made.again = self.join
        else:
            made = Conversation(self._means, self.files, peer, verified, subject)
        invited = Invited(
            self._means,
            invitation,
            offered,
            peer,
            made,
            lambda: self._accepted(made, replaced),
            None if found is None else made.talk.take_before(found).message,
            asked,
        )
        if automatic:
            Deferred.fromCoroutine(invited.accept(automatic)).addErrback(_not_accepted)
            return
        invitation.ring()
        hand(self.on_invitation, invited)

    def _replaced(
        self, invitation: Invitation, peer: NameAddr, verified: bool
    ) -> Conversation | None:
        """Return the conversation whose place an invitation takes.

        Only who takes part in it may do so, or our server for it.

        Raises:
            PeerError: 403, somebody else wants to.

        Spec: RFC 3891 §3, §4
        """
        if invitation.replaces is None:
            return None
        leg = invitation.replaces.context
        old = next((one for one in self.conversations if one.leg is leg), None)
        if old is None or not (verified or peer.uri_text == old.peer):
            raise PeerError("this dialog is not yours to replace", 403)
        return old

    def _accepted(self, conversation: Conversation, replaced: Conversation | None) -> None:
        self._keep(conversation)
        if replaced is not None:
            replaced.replaced_by(conversation)
        hand(self.on_conversation, conversation)

    # The end.

    async def close(self, patience: float) -> None:
        """End all sessions.

        Args:
            patience: seconds that the peers may take.
        """
        self._means.inviter.on_invite = None
        await self.hosts.close(patience)
        legs = list(self._means.legs)
        if legs:
            leaving = DeferredList([Deferred.fromCoroutine(leg.close()) for leg in legs])
            leaving.addTimeout(patience, self._means.clock)
            await leaving.addErrback(lambda _: None)


def _focus(call: Call, target: str) -> str:
    """Return the address of the conference whose focus has accepted a call; "" if it is none.

    A server between may have put its own Contact; what it asserts is the conference, then. A
    conference that a client hosts has the client's address, and a parameter of its own.

    Spec: RFC 4579 §5.1
    """
    response = call.response
    if response is None:
        return ""
    contacts = response.contacts
    if not any(one.params.has("isfocus") for one in contacts):
        return ""
    if room_in(target):
        return target
    asserted = response.addresses("P-Asserted-Identity")
    return asserted[0].uri_text if asserted else contacts[0].uri_text


def _how_answered(call: Call) -> str:
    """Return how the callee says that it has answered, "" if it does not (RFC 5373)."""
    response = call.response
    if response is None:
        return ""
    try:
        mode = asked_of(response)
    except PeerError:
        return ""
    return "" if mode is None else mode.mode


def _not_accepted(failure: Broken) -> None:
    if failure.check(OmaimError):
        _log.info("An invitation was not accepted: {why}", why=failure.getErrorMessage())
    else:
        _log.failure("An invitation was not accepted", failure)
