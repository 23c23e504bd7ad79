"""What a client does in sessions: talk, meet in rooms, send and take files.

Spec: OMA SIMPLE IM 1.0 (session mode, group sessions); RFC 5547
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from omaim.client.conversation import Conversation
from omaim.client.download import Download
from omaim.client.file_offer import FileOffer
from omaim.client.files import Files, selector
from omaim.client.hosting import MAXIMUM, HostedRoom
from omaim.client.invited import Invited
from omaim.client.room import Room
from omaim.client.sessions import Sessions
from omaim.client.transfer import Transfer
from omaim.client.upload import Upload
from omaim.sip.answer_mode import AnswerMode


class Meeting:
    """The part of a :class:`~omaim.client.Client` that meets others in sessions.

    Attributes:
        sessions: all of them.
    """

    sessions: Sessions

    def address(self, text: str) -> str:
        """Return the URI that a person means by ``text``.

        Raises:
            UsageError: it is none.
        """
        raise NotImplementedError

    async def invite(
        self,
        to: str,
        *,
        subject: str = "",
        secure: bool = False,
        ringing: Callable[[int], object] | None = None,
        first: str = "",
        answer: AnswerMode | None = None,
    ) -> Conversation:
        """Invite somebody to talk; return the conversation when it was accepted.

        Cancelling gives up.

        Args:
            to: as :meth:`omaim.client.Client.send` has it.
            subject: what it is about.
            secure: MSRP over TLS.
            ringing: gets the status of each provisional answer: 180 when it rings there.
            first: a message that goes along, and is shown with the invitation;
                :attr:`Conversation.first` tells what became of it. Whose device does not take
                it so hears it first in the session; for who is away it may wait.
            answer: how the other side is to answer; its server and its user decide.

        Raises:
            Kept: the other side is not there; its server keeps the first message.
            Declined, Unreachable, Busy, …: a Failure by what the network answered.

        Spec: OMA SIMPLE IM 1.0 (session mode); RFC 5373
        """
        return await self.sessions.invite(
            self.address(to),
            subject=subject,
            secure=secure,
            ringing=ringing,
            first=first,
            answer=answer,
        )

    async def join(self, room: str, *, secure: bool = False) -> Room:
        """Come into a room; return it when it let us in.

        Args:
            room: its address, as "room.lobby@north.example" or "room.lobby" of our own domain.
            secure: MSRP over TLS.

        Raises:
            NotFound: there is no such room.
            Refused: we may not.
            Failure: another subclass by what the network answered.

        Spec: RFC 4579 §5.1; RFC 7701 §5.2
        """
        return await self.sessions.join(self.address(room), secure=secure)

    async def conference(
        self,
        people: Sequence[str],
        subject: str = "",
        *,
        instead: Conversation | None = None,
        factory: str = "",
        secure: bool = False,
    ) -> Room:
        """Have the server make a conference, and invite people to it.

        Args:
            people: addresses.
            subject: what it is about.
            instead: a conversation that it takes the place of; the other side comes along.
            factory: that makes conferences; "conference" of our own domain if empty.
            secure: MSRP over TLS.

        Raises:
            Busy: these are too many.
            Failure: another subclass by what the network answered.

        Spec: RFC 4579 §5.4; RFC 5366
        """
        return await self.sessions.conference(
            self.address(factory or "conference"),
            [self.address(one) for one in people],
            subject,
            instead=instead,
            secure=secure,
        )

    async def host(self, subject: str = "", maximum: int = MAXIMUM) -> HostedRoom:
        """Host a conference ourselves; people are invited by the result.

        It is over for all when we leave it. Who was called in may leave and come back.

        Args:
            subject: what it is about.
            maximum: people at a time, ourselves among them.

        Raises:
            UsageError: too many are hosted already.

        Spec: OMA SIMPLE IM 1.0 (IM-9, IM Client that hosts a conference)
        """
        return await self.sessions.hosts.host(subject, maximum)

    async def send_file(
        self,
        to: str,
        path: str | Path,
        *,
        secure: bool = False,
        progress: Callable[[Transfer[int]], object] | None = None,
    ) -> Upload:
        """Send a file; return when the other side wants it.

        Args:
            to: as :meth:`omaim.client.Client.send` has it.
            path: of the file.
            secure: over TLS.
            progress: told of each step, with :attr:`~omaim.client.upload.Upload.octets`.

        Raises:
            UsageError: it cannot be read.
            Declined: the other side does not want it.
            Failure: another subclass by what the network answered.

        Spec: RFC 5547 §8
        """
        return await self.files.send(self.address(to), path, secure=secure, progress=progress)

    async def request_file(
        self,
        owner: str,
        folder: str | Path = ".",
        *,
        name: str = "",
        sha1: str = "",
        size: int | None = None,
        type: str = "",
        secure: bool = False,
    ) -> Download:
        """Ask for a file; return when it comes. What is here of it already is kept.

        Args:
            owner: as ``to`` of :meth:`omaim.client.Client.send`.
            folder: where to put it.
            name: as its owner has it.
            sha1: hex digits of its hash.
            size: octets.
            type: media type.
            secure: over TLS.

        Raises:
            NotFound: the owner has no such file for us.
            Failure: another subclass by what the network answered.

        Spec: RFC 5547 §8.2.2
        """
        wanted = selector(name, sha1, size, type)
        return await self.files.request(self.address(owner), wanted, folder, secure=secure)

    @property
    def files(self) -> Files:
        """Files sent and received: what to take, and who may ask for what."""
        return self.sessions.files

    def on_file(self, act: Callable[[FileOffer], object]) -> None:
        """Give each file that is offered to ``act``, which may be a coroutine."""
        self.files.on_file = act

    @property
    def conversations(self) -> list[Conversation]:
        """The conversations that go on, oldest first."""
        return list(self.sessions.conversations)

    @property
    def auto_accept(self) -> bool:
        """Whether each invitation to talk is accepted without asking."""
        return self.sessions.answering.everything

    @auto_accept.setter
    def auto_accept(self, wanted: bool) -> None:
        self.sessions.answering.everything = wanted

    @property
    def auto_join(self) -> bool:
        """Whether each invitation into a room is accepted without asking."""
        return self.sessions.answering.rooms

    @auto_join.setter
    def auto_join(self, wanted: bool) -> None:
        self.sessions.answering.rooms = wanted

    @property
    def auto_answer(self) -> bool:
        """Whether we accept without asking what our own server says is to be answered so.

        Spec: RFC 5373
        """
        return self.sessions.answering.told

    @auto_answer.setter
    def auto_answer(self, wanted: bool) -> None:
        self.sessions.answering.told = wanted

    def on_invitation(self, act: Callable[[Invited], object]) -> None:
        """Give each invitation to talk to ``act``, which may be a coroutine."""
        self.sessions.on_invitation = act

    def on_conversation(self, act: Callable[[Conversation], object]) -> None:
        """Give each conversation that others began to ``act``, once it was accepted."""
        self.sessions.on_conversation = act
