"""The message in an INVITE: judged as any other, and kept where its reader is away.

Spec: OMA SIMPLE IM 1.0 (session mode, deferred messaging); RFC 5621 §8
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from omaim.bodies.first_message import KEPT, first_message
from omaim.errors import PeerError
from omaim.im.content import Content
from omaim.im.deferred import Deferring
from omaim.im.delivery import Delivery
from omaim.im.journal import Journal
from omaim.im.pager import Pager
from omaim.im.participating import Leg, Mail, as_message
from omaim.im.recording import Recorder
from omaim.sip.message import Request

AWAY: Final = "the recipient is not available"
REMEMBERED: Final = 10_000  # messages that were kept, of which a repeat is looked for
AWAY_AND_KEPT: Final = f"{AWAY}; {KEPT}"


class MessageKept(PeerError):
    """The callee cannot be invited now; the message that came along waits for him."""


class FirstMessages:
    """Serves the messages that come with invitations.

    Args:
        now: seconds since the epoch.
    """

    def __init__(
        self,
        pager: Pager,
        deferring: Deferring,
        delivery: Delivery,
        recorder: Recorder,
        journal: Journal,
        now: Callable[[], float],
    ) -> None:
        self._pager = pager
        self._deferring = deferring
        self._delivery = delivery
        self._recorder = recorder
        self._journal = journal
        self._now = now
        self._kept: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        pager.is_repeat = self.has_kept

    def of(self, request: Request, leg: Leg) -> Mail | None:
        """Return the message in an INVITE, as a MESSAGE would bring it; ``None`` without.

        Raises:
            PeerError: it cannot be read (400).
        """
        part = first_message(request.first("Content-Type") or "", request.body)
        if part is None:
            return None
        content = Content(part.content_type, part.decoded())
        if content.is_report or content.is_composing:
            return None
        return Mail(as_message(request, content), leg, "", self._now())

    async def admit(self, mail: Mail) -> None:
        """Make sure that it may go on; features may change its text.

        Raises:
            PeerError: it may not.
        """
        await self._pager.admit(mail)

    async def refused(self, mail: Mail, error: PeerError) -> None:
        """Report on what does not go on, to a sender who wants to know."""
        await self._pager.refused(mail, error)

    async def keep(self, mail: Mail, status: int) -> MessageKept:
        """Store a message for a callee who cannot be invited now; return the answer for the caller.

        It is durable when this returns. Who sends it once more as a MESSAGE sends a repeat.

        Args:
            status: with which inviting the callee has failed.

        Raises:
            Refusal: there is no room for it.
            Unavailable: the store cannot answer.

        Spec: OMA SIMPLE IM 1.0 (deferred messaging, terminating participating function)
        """
        user = mail.leg.user
        facts = [self._pager.accepted(mail, (user,)), *self._recorder.received(mail)]
        message = await self._deferring.keep(mail, facts)
        self._remember(mail)
        if message is not None:
            await self._deferring.report_stored(message)
        if not mail.leg.registered and self._delivery.has_just_arrived(user):
            self._delivery.kick(user)
        elif mail.leg.registered:
            self._delivery.failed(user, status)
        return MessageKept(AWAY_AND_KEPT, 480)

    def _remember(self, mail: Mail) -> None:
        self._kept[_name(mail)] = None
        if len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)

    def has_kept(self, mail: Mail) -> bool:
        """Tell whether a message of this name was kept lately, when it came with an INVITE."""
        return bool(self._kept) and _name(mail) in self._kept

    async def sent(self, mail: Mail) -> None:
        """The callee's server has kept what a user of ours has sent: note that it was accepted."""
        recipients = (mail.recipient,)
        facts = [self._pager.accepted(mail, recipients), *self._recorder.sent(mail, recipients)]
        await self._journal.append(facts, mail.leg.user)


def _name(mail: Mail) -> tuple[str, str, str]:
    return mail.leg.user, mail.leg.sender, mail.message_id


def is_kept(warnings: list[str]) -> bool:
    """Tell by the Warnings of a 480 whether the message in the INVITE was kept."""
    return any(KEPT in one for one in warnings)


def may_be_kept(status: int) -> bool:
    """Tell whether an INVITE has failed such that its message is to reach the callee later.

    One who is busy or declines has seen it.

    Spec: RFC 3428 §7
    """
    return status in (408, 430, 480) or 500 <= status < 600
