"""A room: several people talk, and see who is there.

::

    room = await client.join("room.lobby@north.example")
    await room.nickname("Al")
    await room.send("Good day")
    await room.whisper("Bo", "Who are all these people?")
    room.on_roster(lambda people: print([one.shown for one in people]))
    await room.leave()

Spec: OMA SIMPLE IM 1.0 (group sessions); RFC 4579; RFC 5366; RFC 5368; RFC 7701
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import attrs
from twisted.internet.defer import Deferred

from omaim.bodies.message_media import NICKNAME, PRIVATE_MESSAGES
from omaim.bodies.resource_lists import MEDIA_TYPE as LISTS
from omaim.bodies.resource_lists import Entry, ResourceList, write_lists
from omaim.client.composing import ALL_REPORTS, TEXT, Content
from omaim.client.conversation import Conversation
from omaim.client.failures import Ended, NotFound, failure_in_session, failure_of
from omaim.client.files import Files
from omaim.client.means import Means
from omaim.client.messages import DELIVERED, PENDING, Message, Sent
from omaim.client.reading import Received
from omaim.client.roster import Participant, Roster
from omaim.errors import UsageError
from omaim.roles.description import CallFailed
from omaim.roles.referrer import Reference, refer_uri
from omaim.sip.headers import NameAddr
from omaim.sip.uri import comparable

LIST_ID: Final = "list@client.invalid"  # Content-ID of a list that a Refer-To points to


class Room(Conversation):
    """A session with a room.

    Attributes:
        uri: address of the conference.
        inviter: URI of who has invited us, "" when we came by ourselves.
        again: joins again; for :meth:`rejoin`.
    """

    chatroom = (NICKNAME, PRIVATE_MESSAGES)

    def __init__(
        self,
        means: Means,
        files: Files,
        peer: NameAddr,
        verified: bool = True,
        subject: str = "",
        inviter: str = "",
    ) -> None:
        super().__init__(means, files, peer, verified, subject)
        self.inviter = inviter
        self.again: Callable[[str], Awaitable[Room]] | None = None
        self.talk.author = self._author
        self._roster = Roster(means.watcher, self.peer)

    def move(self, uri: str) -> None:
        super().move(uri)
        self._roster = Roster(self._means.watcher, uri)

    @property
    def uri(self) -> str:
        """Address of the conference."""
        return self.peer

    # Talking.

    async def send(
        self,
        text: str | bytes,
        content_type: str = TEXT,
        *,
        subject: str = "",
        reports: Sequence[str] = (),
    ) -> Sent:
        """Say something to all; return when the room has taken it.

        Args: as :meth:`Conversation.send` has them. Reports come from each participant.

        Raises:
            Refused: the room does not let us.
            Failure: another subclass by what came back.

        Spec: RFC 7701 §6.1
        """
        sent = await super().send(text, content_type, subject=subject, reports=reports)
        if not reports and sent.status == PENDING:
            sent.status = DELIVERED  # the room is who was written to
        return sent

    async def whisper(
        self, to: str, text: str, *, subject: str = "", reports: Sequence[str] = ALL_REPORTS
    ) -> Sent:
        """Say something to one participant only.

        Args:
            to: nickname, name or address.

        Raises:
            NotFound: nobody here is called so.
            Refused: the room does not allow it.
            Failure: 428, the other does not take private messages.

        Spec: RFC 7701 §6.2
        """
        agreed = None if self.talk.medium is None else self.talk.medium.agreed
        if agreed is not None and not agreed.remote.private_messages:
            raise failure_in_session(403)
        content = Content(text.encode(), TEXT, subject)
        return await self.talk.send(content, reports, [self._person(to)])

    def is_private(self, message: Message) -> bool:
        """Tell whether a message was for us only."""
        return self._is_private(message.to)

    def _is_private(self, to: Sequence[str]) -> bool:
        return bool(to) and comparable(self.uri) not in [comparable(one) for one in to]

    def _author(self, found: Received) -> tuple[Received, tuple[str, ...]]:
        """Return a message with who says it, and to whom an answer goes."""
        envelope = found.envelope
        if envelope is None or envelope.from_ is None:
            return found, (self.uri,)
        author = envelope.from_
        name = self._roster.named(author.uri) or author.name
        found = attrs.evolve(found, sender=author.uri, name=name)
        private = self._is_private([one.uri for one in envelope.to])
        return found, (author.uri,) if private else (self.uri,)

    # Who is there.

    @property
    def participants(self) -> tuple[Participant, ...]:
        """Who is there or being called; empty where the room does not tell."""
        return self._roster.participants

    @property
    def roster_known(self) -> bool:
        """The room has told who is there."""
        return self._roster.known

    def name_of(self, uri: str) -> str:
        """Return what a participant is called here, "" if only its address is known."""
        return self._roster.named(uri)

    def on_roster(self, act: Callable[[tuple[Participant, ...]], object]) -> None:
        """Tell ``act`` who is there, now if that is known and at each change."""
        self._roster.on_change(act)

    def _person(self, who: str) -> str:
        """Return the URI of a participant.

        Raises:
            NotFound: nobody is called so.
        """
        found = self._roster.find(who) or self._roster.find(self._address(who))
        if found:
            return found
        if self._roster.known or (":" not in who and "@" not in who):
            raise NotFound(404, f"nobody here is called {who}")
        return self._address(who)

    def _address(self, who: str) -> str:
        return self._means.address(who)

    # Doing something about it.

    async def nickname(self, name: str) -> None:
        """Be called so from now on; "" for no nickname any more.

        Raises:
            BadNickname: it is not written well, or another one has it.
            Refused: the room does not allow nicknames.
            Ended: the session is over.

        Spec: RFC 7701 §7
        """
        await self.talk.opened()
        medium = self.talk.medium
        if medium is None or medium.agreed is None:
            raise Ended(481)
        if not medium.agreed.remote.nicknames:
            raise failure_in_session(403)
        answered: Deferred[int] = Deferred()
        medium.session.nickname(name, answered.callback)
        status = await answered
        if status != 200:
            raise failure_in_session(status)

    async def invite(self, *people: str) -> Reference | None:
        """Have the room invite people; return when it will.

        Args:
            people: addresses.

        Returns:
            of one: what came of it, by its ``done()``; of several nothing is reported.

        Raises:
            Refused: we may not.
            Failure: another subclass by what the network answered.

        Spec: RFC 4579 §5.5; RFC 5368
        """
        return await self._refer([self._address(one) for one in people])

    async def expel(self, *people: str) -> Reference | None:
        """Have the room put people out; see :meth:`invite`.

        Args:
            people: nicknames, names or addresses.

        Spec: RFC 4579 §5.11
        """
        return await self._refer([refer_uri(self._person(one), "BYE") for one in people])

    async def _refer(self, uris: Sequence[str]) -> Reference | None:
        if not uris:
            raise UsageError("name somebody")
        if self.ended:
            raise Ended(481)
        referrer = self._means.inviter.referrer
        try:
            if len(uris) == 1:
                return await referrer.refer(self.uri, f"<{uris[0]}>")
            body = write_lists([ResourceList(items=tuple(Entry(one) for one in uris))])
            fields = [
                ("Content-Type", LISTS),
                ("Content-Disposition", "recipient-list"),
                ("Content-ID", f"<{LIST_ID}>"),
            ]
            await referrer.refer(self.uri, f"<cid:{LIST_ID}>", headers=fields, body=body)
            return None
        except CallFailed as failed:
            raise failure_of(failed.response) from failed

    async def rejoin(self) -> Room:
        """Come in again, after having left or having been cut off; return the new session.

        Raises:
            NotFound: there is no such room any more.
            Failure: another subclass by what the network answered.

        Spec: OMA SIMPLE IM 1.0 (re-join)
        """
        if self.again is None:
            raise UsageError("this room was not joined by a client")
        if not self.ended:
            await self.leave()
        room = await self.again(self.uri)
        room.subject = room.subject or self.subject
        return room

    # How it begins and ends.

    def established(self) -> None:
        """Both sides know that we are in: ask who else is."""
        if not self.ended:
            self._roster.start()

    def _end(self, why: str) -> None:
        self._roster.stop()
        super()._end(why)
