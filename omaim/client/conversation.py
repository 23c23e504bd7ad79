"""A conversation: two people in a session of their own.

::

    conversation = await client.invite("bob@south.example", subject="Lunch")
    await conversation.send("Hungry?")
    async for message in conversation:
        print(message.text)
    await conversation.leave()

Spec: OMA SIMPLE IM 1.0 (session mode); RFC 4975
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure as Broken

from omaim.bodies.sdp import SENDRECV
from omaim.client.composing import ALL_REPORTS, TEXT, Content
from omaim.client.download import Download
from omaim.client.failures import Ended, Failure
from omaim.client.files import Files, selector
from omaim.client.handing import hand
from omaim.client.leg import Leg
from omaim.client.means import Means
from omaim.client.messages import Message, Sent, Typing
from omaim.client.talk import LARGEST, Talk, talk_types
from omaim.client.transfer import Transfer
from omaim.client.upload import Upload
from omaim.msrp import CLOSED
from omaim.roles.mending import Mending
from omaim.roles.negotiation import REPLACED, Medium, Wish
from omaim.sip.headers import NameAddr

_log = Logger()


class Conversation:
    """A session with somebody.

    Attributes:
        peer: URI of the other side.
        name: of the other side, "" if not given.
        verified: the network says who the other side is.
        subject: "" if none.
        first: our message that went with the invitation; ``None`` without.
        answered: how the other side says that it has answered: "Auto", by itself, or "Manual";
            "" if it does not say.
        leg: the call and its media.
        chatroom: what we say of chat rooms (RFC 7701 §8); ``None`` where there is none.
    """

    leg: Leg
    chatroom: tuple[str, ...] | None = None

    def __init__(
        self,
        means: Means,
        files: Files,
        peer: NameAddr,
        verified: bool = True,
        subject: str = "",
    ) -> None:
        self.peer = peer.uri_text
        self.name = peer.display
        self.verified = verified
        self.subject = subject
        self.first: Sent | None = None
        self.answered = ""
        self.talk = Talk(means, peer, verified, [self.peer])
        self.talk.on_lost = self._lost
        self._means = means
        self._files = files
        self._on_end: Callable[[str], object] | None = None
        self._on_replaced: Callable[[Conversation], object] | None = None
        self._why: str | None = None
        self._index = 0  # of our medium
        self._loss = ""  # why the session was lost last
        self._mending = Mending(
            means.phone,
            lambda: not (self.ended or self.talk.open),
            self._renew,
            lambda: self._give_up(self._loss or "the MSRP session was lost"),
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {self.peer}>"

    @property
    def ended(self) -> bool:
        """It is over."""
        return self._why is not None

    @property
    def why(self) -> str:
        """Why it is over, "" while it is not, and when we left."""
        return self._why or ""

    # Talking.

    async def send(
        self,
        text: str | bytes,
        content_type: str = TEXT,
        *,
        subject: str = "",
        reports: Sequence[str] = ALL_REPORTS,
    ) -> Sent:
        """Say something; return when the other side, or the server between, has taken it.

        Args:
            text: the content.
            content_type: of it.
            subject: shown above it.
            reports: which ones are wanted: "positive-delivery", "negative-delivery",
                "processing", "display". Without its envelope there are none.

        Raises:
            TooLarge, WrongFormat: the other side does not take it.
            Ended: the session is over.
            Failure: another subclass by what came back.

        Spec: RFC 4975 §7.1, §13; RFC 5438 §7.1
        """
        body = text.encode() if isinstance(text, str) else text
        return await self.talk.send(Content(body, content_type, subject), reports)

    def typing(self) -> None:
        """Our user pressed a key; the other side learns, now and then, that we are writing."""
        self.talk.typed()

    def next(self) -> Deferred[Message]:
        """Return the next message; fails with :class:`~omaim.client.arrivals.Closed` at the end."""
        return self.talk.arrivals.next()

    def __aiter__(self) -> AsyncIterator[Message]:
        return aiter(self.talk.arrivals)

    def on_message(self, act: Callable[[Message], object]) -> None:
        """Give each message to ``act``, which may be a coroutine, instead of an iterator."""
        self.talk.arrivals.on(act)

    def on_typing(self, act: Callable[[Typing], object]) -> None:
        """Tell ``act`` who begins and stops writing."""
        self.talk.on_typing = act

    def on_end(self, act: Callable[[str], object]) -> None:
        """Tell ``act`` why the conversation has ended; "" when we left."""
        if self._why is not None:
            hand(act, self._why)
        else:
            self._on_end = act

    async def leave(self) -> None:
        """End it; returns when the other side knows, or is not there."""
        if not self.ended:
            await self.leg.close()

    def on_replaced(self, act: Callable[[Conversation], object]) -> None:
        """Tell ``act`` what has taken its place: a conference, when others came along."""
        self._on_replaced = act

    # Files.

    async def send_file(
        self, path: str | Path, *, progress: Callable[[Transfer[int]], object] | None = None
    ) -> Upload:
        """Send a file beside what is said; return when the other side wants it.

        Args:
            path: of the file.
            progress: told of each step.

        Raises:
            Declined: it does not want it.
            Failure: another subclass by what the network answered.

        Spec: RFC 5547 §8
        """
        self._check()
        secure = self.talk.secure
        return await self._files.send(
            self.peer, path, leg=self.leg, secure=secure, progress=progress
        )

    async def request_file(
        self,
        folder: str | Path = ".",
        *,
        name: str = "",
        sha1: str = "",
        size: int | None = None,
        type: str = "",
    ) -> Download:
        """Ask for a file that the other side has; return when it comes.

        Args: as :meth:`omaim.client.Client.request_file` has them.
        """
        self._check()
        wanted = selector(name, sha1, size, type)
        secure = self.talk.secure
        return await self._files.request(self.peer, wanted, folder, leg=self.leg, secure=secure)

    def _check(self) -> None:
        if self.ended:
            raise Ended(481)

    # How it begins and ends.

    def wish(self, secure: bool = False) -> Wish:
        """Return what we bring to the session."""
        return Wish(
            self.talk.user,
            talk_types(self._means.accept),
            max_size=LARGEST,
            direction=SENDRECV,
            secure=secure,
            cema=self._means.cema,
            chatroom=self.chatroom,
        )

    def begin(self, leg: Leg, index: int = 0) -> None:
        """The call is there, and one of its media is ours."""
        self.leg = leg
        self._index = index
        self.talk.medium = medium = leg.media[index]
        leg.ending.append(self._end)
        leg.on_change = self._changed
        leg.on_moved = self._moved
        leg.bring = lambda media: self._files.bring(leg, media, self.peer, self.verified)
        if medium is None or medium.session.state == CLOSED:
            self._give_up("the MSRP session could not be connected")

    def established(self) -> None:
        """Both sides know that it has begun."""

    def move(self, uri: str) -> None:
        """The other side turned out to be another one than who was invited."""
        self.peer = uri
        self.talk.move(uri)

    def replaced_by(self, other: Conversation) -> None:
        """Another session has taken its place."""
        hand(self._on_replaced, other)
        self.leg.abandon('SIP;cause=200;text="replaced"')

    # When MSRP is lost, or will be, and the call is up: another session takes its place
    # (RFC 4975 §5.4).

    def _lost(self, why: str) -> None:
        """The session is gone, and we have not ended it: another one is offered.

        By whoever has called, or by who goes through a relay: the other side may not know yet
        that this was lost.
        """
        medium = self.talk.medium
        if medium is None or self.leg.over or why == REPLACED:
            return
        self._loss = why
        self.talk.renew()
        ours = medium.passage is not None
        theirs = medium.agreed is not None and len(medium.agreed.remote.path) > 1
        self._mending.broken(self.leg.call.caller if ours == theirs else ours)

    async def _renew(self) -> None:
        lost = self.talk.medium
        if lost is not None:
            self._renewed(await self.leg.renew(lost, self.wish(lost.wish.secure)))

    def _moved(self, medium: Medium) -> None:
        """Our relay has another way for us: the peer has to know before the old one ends."""
        if medium is self.talk.medium:
            Deferred.fromCoroutine(self._move(medium)).addErrback(_not_moved)

    async def _move(self, medium: Medium) -> None:
        try:
            self._renewed(await self.leg.renew(medium, self.wish(medium.wish.secure)))
        except Failure as failure:
            # The old way stands until it ends; then the session is lost.
            _log.warn("Another way through the relay is not taken: {why}", why=str(failure))

    def _changed(self) -> None:
        """The peer has changed the media: ours may be another one now."""
        medium = self.leg.media[self._index]
        if medium is not None:
            self._renewed(medium)

    def _renewed(self, medium: Medium) -> None:
        if medium is not self.talk.medium:
            self._mending.stop()
            self.talk.renewed(medium)

    def _give_up(self, why: str) -> None:
        self._end(why)
        self.leg.abandon('SIP;cause=500;text="the MSRP session was lost"')

    def _end(self, why: str) -> None:
        if self._why is None:
            self._why = why
            self._mending.stop()
            self.talk.stop()
            hand(self._on_end, why)


def _not_moved(failure: Broken) -> None:
    _log.failure("A session did not take another way through its relay", failure)
