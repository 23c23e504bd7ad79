"""Large messages for many: to the list service, and to groups.

An INVITE announces one as it does a large message for one. The server takes it in a session in
which it only receives; the copies are in the store before the sender hears that it is taken.

Spec: OMA SIMPLE IM 1.0 (large message mode, controlling function); RFC 5366 §3; RFC 4975 §7
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from omaim.errors import PeerError
from omaim.im.content import Content
from omaim.im.group_mail import GroupMail
from omaim.im.guest_lists import OPTION, no_list_here
from omaim.im.large import LargeStore, Taken, is_large
from omaim.im.lists import Lists
from omaim.im.pager import Pager, Service
from omaim.im.participating import ORIGINATING, Leg, Mail, Served, as_message
from omaim.im.policy import check_author
from omaim.roles.invitation import Invitation
from omaim.sip.uri import canonical_aor

_NO_LARGE: Final = "this address takes large messages; a conference is made by the factory"


@attrs.frozen
class LargeToMany:
    """Serves INVITEs that bring a message for many.

    Args:
        store: takes the messages.
        octets: of all copies of one message.
        mutual: tells whether a sender is behind the server of another domain, which has to
            prove who it is (IM-8).
        now: seconds since the epoch.
    """

    store: LargeStore
    pager: Pager
    lists: Lists
    groups: GroupMail
    octets: int
    mutual: Callable[[str], bool]
    now: Callable[[], float]

    async def to_list(self, invitation: Invitation, leg: Leg) -> None:
        """Take a message for those whom the INVITE names.

        Raises:
            PeerError: as :meth:`omaim.im.lists.Lists.invited`; 488 no message is announced; 403
                it is too large.
        """
        if not _announces(invitation):
            raise PeerError(_NO_LARGE, 488)
        people = self.lists.invited(invitation.request, leg)
        await self._take(
            invitation, leg, len(people), lambda mail: self.lists.expand_large(mail, people)
        )

    async def to_group(self, invitation: Invitation, leg: Leg) -> None:
        """Take a message for the members of a group.

        Raises:
            PeerError: as :meth:`omaim.im.group_mail.GroupMail.expand`; 420 there is a list, too;
                403 it is too large.
        """
        if OPTION in invitation.request.require:
            raise no_list_here()
        reached = await self.groups.readers(canonical_aor(invitation.request.uri), leg)
        await self._take(invitation, leg, len(reached.people), self.groups.expand_large)

    def or_session(
        self, join: Callable[[Invitation, Leg], Awaitable[object]]
    ) -> Callable[[Invitation, Leg], Awaitable[object]]:
        """Return what serves an INVITE to a group: a large message here, a session by ``join``."""

        def enter(invitation: Invitation, leg: Leg) -> Awaitable[object]:
            serve = self.to_group if _announces(invitation) else join
            return serve(invitation, leg)

        return enter

    async def _take(self, invitation: Invitation, leg: Leg, copies: int, expand: Service) -> None:
        async def keep(content: Content, taken: Taken) -> None:
            mail = Mail(as_message(invitation.request, content), leg, "", self.now())
            try:
                await self.pager.serve(mail, serve, large=True)
            except PeerError as error:
                await self.pager.refused(mail, error)
                raise
            taken()

        async def serve(mail: Mail) -> Served:
            if self.lists.explosion.policy.check_author and leg.side == ORIGINATING:
                check_author(mail.content, leg)
            return await expand(mail)

        most = max(1, self.octets // max(1, copies))
        await self.store.receive(invitation, leg.sender, keep, self.mutual(leg.sender), most)


def _announces(invitation: Invitation) -> bool:
    return invitation.described and is_large(invitation.request, invitation.call.remote)
