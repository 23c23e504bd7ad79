"""Somebody invites us to talk.

::

    async def invited(invited):
        conversation = await invited.accept()
        await conversation.send(f"Good day, {invited.name}!")

    client.on_invitation(invited)

Spec: RFC 3261 §13.3; OMA SIMPLE IM 1.0 (session mode, answering)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from omaim.client.answering import answered_with
from omaim.client.conversation import Conversation
from omaim.client.failures import Ended, failure_class
from omaim.client.handing import hand
from omaim.client.leg import Leg
from omaim.client.means import Means
from omaim.client.messages import Message
from omaim.client.offered import Offered
from omaim.client.room import Room
from omaim.errors import PeerError, UsageError
from omaim.roles.invitation import Invitation
from omaim.roles.negotiation import Wish
from omaim.sip.answer_mode import AnswerMode
from omaim.sip.headers import NameAddr

DECLINED: Final = 603
BUSY: Final = 486


class Invited:
    """An invitation that waits for its answer.

    Attributes:
        sender: URI of who invites.
        name: of who invites, "" if not given.
        verified: the network says who it is.
        subject: "" if none.
        room: URI of the room we are invited into; "" when it is one person.
        first: the message that came along; ``None`` without. Who accepts finds it as the first of
            the conversation; when the other side gives up, it is among our messages.
    """

    def __init__(
        self,
        means: Means,
        invitation: Invitation,
        offered: Offered,
        peer: NameAddr,
        conversation: Conversation,
        accepted: Callable[[], object],
        first: Message | None = None,
        asked: AnswerMode | None = None,
    ) -> None:
        self.sender = peer.uri_text
        self.name = peer.display
        self.verified = conversation.verified
        self.subject = conversation.subject
        self.room = conversation.peer if isinstance(conversation, Room) else ""
        self.first = self._unshown = first
        self._asked = asked
        self._means = means
        self._invitation = invitation
        self._offered = offered
        self._conversation = conversation
        self._accepted = accepted
        self._answered = False
        self._on_cancel: Callable[[], object] | None = None
        invitation.on_cancel = self._cancelled

    def __repr__(self) -> str:
        return f"<Invited by {self.sender}>"

    @property
    def answered(self) -> bool:
        """It was accepted or declined, or the other side has given up."""
        return self._answered

    def on_cancel(self, act: Callable[[], object]) -> None:
        """Call ``act`` when the other side gives up."""
        self._on_cancel = act

    async def accept(self, automatic: bool = False) -> Conversation:
        """Accept; return the conversation, or the :class:`~omaim.client.room.Room`.

        Args:
            automatic: no person was asked; who wants to know is told so (RFC 5373).

        Raises:
            Ended: the other side has given up.
            UsageError: it was answered already.
            Failure: what is offered cannot be accepted.
        """
        self._answer()
        invitation = self._invitation
        conversation = self._conversation
        wishes: list[Wish | None] = [None] * self._offered.count
        wishes[self._offered.index] = conversation.wish(self._offered.secure)
        try:
            await Leg.accept(
                self._means,
                invitation,
                wishes,
                headers=answered_with(self._asked, automatic),
                prepare=self._begin,
            )
        except PeerError as error:
            invitation.refuse(error)
            self._keep_first()
            raise failure_class(error.status)(error.status, error.why) from error
        except Ended:
            self._keep_first()
            raise
        self._accepted()
        return conversation

    def _begin(self, leg: Leg) -> None:
        self._conversation.begin(leg, self._offered.index)
        first, self._unshown = self._unshown, None
        if first is not None:
            self._conversation.talk.arrivals.put(first)

    def _keep_first(self) -> None:
        """There is no conversation in which the first message could be shown."""
        first, self._unshown = self._unshown, None
        if first is not None:
            self._means.inbox.put(first)

    def decline(self, status: int = DECLINED) -> None:
        """Decline, for all devices of ours with 603, or for this one with 486."""
        self._answer()
        self._invitation.reject(status)

    def _answer(self) -> None:
        if self._answered:
            if self._invitation.reason:
                raise Ended(481, "the caller has given up")
            raise UsageError("this invitation was answered already")
        self._answered = True

    def _cancelled(self, invitation: Invitation) -> None:
        self._answered = True
        self._keep_first()
        hand(self._on_cancel)
