"""All sessions of one client: those it begins, and those it is invited to.

Spec: OMA SIMPLE IM 1.0 (session mode); RFC 3261 §13; RFC 3891
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.client.conversation import Conversation
from omaim.client.files import Files
from omaim.client.handing import hand
from omaim.client.invited import BUSY, Invited
from omaim.client.large import LargeMode
from omaim.client.leg import Leg
from omaim.client.means import MOST, Means
from omaim.client.offered import Offered
from omaim.client.reading import sender_of
from omaim.errors import OmaimError, PeerError
from omaim.roles.description import Fields
from omaim.roles.invitation import Invitation
from omaim.sip.headers import NameAddr
from omaim.sip.message import Response

_log = Logger()


class Sessions:
    """The sessions of one client.

    Args:
        means: of the client.

    Attributes:
        on_invitation: gets each invitation to talk.
        on_conversation: gets each conversation that others began, once it was accepted.
        auto_accept: accept each invitation to talk without asking.
        conversations: those that go on.
        files: sent and received.
        large: messages sent and received.
    """

    def __init__(self, means: Means) -> None:
        self.on_invitation: Callable[[Invited], object] | None = None
        self.on_conversation: Callable[[Conversation], object] | None = None
        self.auto_accept = False
        self.conversations: list[Conversation] = []
        self._means = means
        self.files = Files(means)
        self.large = LargeMode(means)
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
    ) -> Conversation:
        """Invite somebody; see :meth:`omaim.client.Client.invite`."""
        conversation = Conversation(self._means, self.files, NameAddr(target), True, subject)
        fields = [*([("Subject", subject)] if subject else []), *headers]

        def provisional(response: Response) -> None:
            if ringing is not None and response.status > 100:
                ringing(response.status)

        leg = await Leg.invite(
            self._means,
            target,
            [conversation.wish(secure)],
            fields,
            provisional=provisional,
        )
        conversation.begin(leg)
        self._keep(conversation)
        return conversation

    def _keep(self, conversation: Conversation) -> None:
        if conversation.ended:
            return
        self.conversations.append(conversation)
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
        if offered.media.transfer is not None:
            await self.files.invited(invitation, offered, peer.uri_text, verified)
        elif offered.large:
            await self.large.take(invitation, offered, peer, verified)
        else:
            self._asked(invitation, offered, peer, verified)

    def _asked(
        self, invitation: Invitation, offered: Offered, peer: NameAddr, verified: bool
    ) -> None:
        """Somebody wants to talk."""
        if self.on_invitation is None and not self.auto_accept:
            raise PeerError("nobody is here to talk", 480)
        invited = Invited(
            self._means,
            invitation,
            offered,
            peer,
            verified,
            False,
            self._accepted,
            self._conversation,
        )
        if self.auto_accept:
            Deferred.fromCoroutine(invited.accept()).addErrback(_not_accepted)
            return
        invitation.ring()
        hand(self.on_invitation, invited)

    def _conversation(self, peer: NameAddr, verified: bool, subject: str) -> Conversation:
        return Conversation(self._means, self.files, peer, verified, subject)

    def _accepted(self, conversation: Conversation) -> None:
        self._keep(conversation)
        hand(self.on_conversation, conversation)

    # The end.

    async def close(self, patience: float) -> None:
        """End all sessions.

        Args:
            patience: seconds that the peers may take.
        """
        self._means.inviter.on_invite = None
        legs = list(self._means.legs)
        if legs:
            leaving = DeferredList([Deferred.fromCoroutine(leg.close()) for leg in legs])
            leaving.addTimeout(patience, self._means.clock)
            await leaving.addErrback(lambda _: None)


def _not_accepted(failure: Failure) -> None:
    if failure.check(OmaimError):
        _log.info("An invitation was not accepted: {why}", why=failure.getErrorMessage())
    else:
        _log.failure("An invitation was not accepted", failure)
