"""The MSRP sessions of one call: offers and answers lead to sessions that are connected.

A :class:`Negotiation` goes along with a :class:`~omaim.roles.call.Call`, whose descriptions it
writes and reads. Its owner says what it brings to each medium, and who uses the session that
comes of it; ports, paths, directions and who connects to whom are settled here.

Spec: RFC 3264; RFC 4975 §5.4, §8; RFC 6135; RFC 6714; RFC 5547
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import attrs

from omaim.bodies.file_selector import FileTransfer
from omaim.bodies.media_types import Accepts
from omaim.bodies.message_media import TLS as TLS_MEDIA
from omaim.bodies.message_media import Fingerprint, MessageMedia, names_to_resolve
from omaim.bodies.message_offers import (
    Agreed,
    LocalMedia,
    Refused,
    Reoffer,
    answer_to,
    read_answer,
    read_offer,
    write_offer,
)
from omaim.bodies.multipart import is_multipart, leaves
from omaim.bodies.sdp import (
    MEDIA_TYPE,
    SENDRECV,
    BadSdp,
    Connection,
    Media,
    Origin,
    SessionDescription,
)
from omaim.errors import PeerError, UsageError
from omaim.msrp import CLOSED, OPEN, RESERVED, Accepting, Session, SessionUser, parse_path
from omaim.net.msrp import NOWHERE, TCP, TLS, MsrpEndpoint
from omaim.roles.description import Description
from omaim.roles.relay_client import Passage
from omaim.timers import NEVER, Alarm

REPLACED: Final = "replaced"  # why a session ends whose place another one has taken
RETIRING: Final = 5.0  # seconds in which what is under way in it may arrive

Ways: TypeAlias = Callable[[Session, Callable[[Passage], object]], Awaitable[Passage]]

_NOBODY: Final = SessionUser(lambda session, incoming: incoming.refuse(403))
_DIGITS: Final = 10**18  # more than enough for the number of a session


@attrs.frozen(eq=False)
class Wish:
    """What we bring to one medium, but for its path.

    Spec: RFC 4975 §8
    """

    user: SessionUser  # of the session that comes of it
    accept_types: tuple[str, ...]
    accept_wrapped_types: tuple[str, ...] = ()
    max_size: int | None = None  # octets of a whole message
    direction: str = SENDRECV
    secure: bool = False  # offer it over TLS; an answer is as its offer
    mutual: bool = False  # only over TLS, and a peer that connects has to prove its host, too
    eager: bool = False  # connect ourselves where an offer leaves us the choice
    cema: bool = False
    carry: bool = False  # what waits for a session goes by the one that replaces it
    chatroom: tuple[str, ...] | None = None
    file: FileTransfer | None = None
    title: str = ""
    more: tuple[str, ...] = ()


class Medium:
    """One MSRP session of a call.

    Attributes:
        index: of the medium in the descriptions, from 0.
        session: sends and receives.
        passage: its way through our relays, where we have some.
        other: another way that our relay has given it, for a session that takes its place.
        agreed: what both sides said; ``None`` until they have.
    """

    __slots__ = ("agreed", "index", "local", "other", "passage", "session", "wish")

    def __init__(
        self,
        index: int,
        wish: Wish,
        local: LocalMedia,
        session: Session,
        passage: Passage | None = None,
    ) -> None:
        self.index = index
        self.wish = wish
        self.local = local
        self.session = session
        self.passage = passage
        self.other: Passage | None = None
        self.agreed: Agreed | None = None

    def say(self, wish: Wish) -> None:
        """Say something else of what may come, and which way; the session goes on.

        The next offer or answer says it, if it brings this wish.

        Spec: RFC 3264 §8.3, §8.4 (changing formats, direction); RFC 4975 §8.6
        """
        self.wish = wish
        self.local = attrs.evolve(
            self.local,
            accept_types=wish.accept_types,
            accept_wrapped_types=wish.accept_wrapped_types,
            max_size=wish.max_size,
            direction=wish.direction,
        )
        self.session.inbox.accepting = accepting_of(wish)

    def close(self, why: str) -> None:
        """End the session."""
        self.session.close(why)
        for way in (self.passage, self.other):
            if way is not None:
                way.release()

    @property
    def open(self) -> bool:
        """Both sides want it, and it is not over."""
        return self.agreed is not None and self.session.state != CLOSED

    @property
    def accepts(self) -> Accepts:
        """What may be sent; nothing before both sides have agreed."""
        return Accepts(()) if self.agreed is None else self.agreed.remote.accepts

    @property
    def may_send(self) -> bool:
        """Whether messages of ours go out."""
        return self.agreed is not None and self.agreed.may_send

    @property
    def max_size(self) -> int | None:
        """Octets of the largest message that the peer takes; ``None`` when it does not say."""
        return None if self.agreed is None else self.agreed.remote.max_size


class Negotiation:
    """What both sides of one call said about MSRP, and the sessions that came of it.

    Args:
        msrp: where sessions are made.
        relays: MSRP URIs of our own relays, in the order for To-Path (RFC 4976 §5.1), each to
            be used by one session only.
        vouch: say what our certificate's fingerprint is, so that peers need no authority.
        ways: gets a way through our relays for a session; :meth:`prepare` asks for them. See
            :meth:`omaim.roles.relay_client.RelayClient.authorize`.

    Attributes:
        media: by index; ``None`` where a medium is refused, over, or not MSRP.
        remote: the peer's description, once it is there.
        wants_reoffer: the peer's answer works only after another offer; see :meth:`reoffer`.
        on_moved: told of a medium whose way through our relay ends, while there is another one
            for a session that takes its place; see :meth:`move`.
    """

    def __init__(
        self,
        msrp: MsrpEndpoint,
        *,
        relays: tuple[str, ...] = (),
        vouch: bool = False,
        ways: Ways | None = None,
    ) -> None:
        self.media: list[Medium | None] = []
        self.remote: SessionDescription | None = None
        self.wants_reoffer = False
        self.on_moved: Callable[[Medium], object] | None = None
        self._msrp = msrp
        self._relays = relays
        self._vouch = vouch
        self._ways = ways
        self._ready: list[tuple[Session, Passage]] = []  # for the media that are made next
        self._said: SessionDescription | None = None
        self._fresh: list[Medium] = []  # made for the exchange under way
        self._leaving: list[Medium] = []  # whose places those take when it is answered
        self._retired: list[Medium] = []  # that have lost their places a moment ago
        self._retiring = Alarm(self._retire)
        # What both sides agreed on before an offer of ours that is not answered yet.
        self._before: tuple[list[Medium | None], SessionDescription | None] | None = None
        number = int(msrp.ids.token(), 16) % _DIGITS
        self._number = str(number)

    async def prepare(self, count: int) -> None:
        """Get ways through our relays for so many new media, if we have relays.

        The next offer uses them; the next answer does where TLS is offered.

        Raises:
            PeerError: a relay refuses.
            Unavailable: it cannot be reached.

        Spec: RFC 4976 §5.1
        """
        while self._ways is not None and len(self._ready) < count:
            session = self._msrp.session(_NOBODY, TLS, vouched=False)
            try:
                way = await self._ways(session, self._renewed)
                self._ready.append((session, way))
            except BaseException:
                session.close("no way through the relay")
                raise

    async def prepare_answer(self, offer: Description, wishes: Sequence[Wish | None]) -> None:
        """Get ways through our relays for the media that are new in the answer to an offer.

        Args: as :meth:`answer` has them.

        Raises:
            PeerError: it cannot be read, or a relay refuses.
            Unavailable: a relay cannot be reached.

        Spec: RFC 4976 §5.1
        """
        if self._ways is None:
            return
        offered = read_offer(description_of(offer))
        new = 0
        for index, (theirs, wish) in enumerate(zip(offered, wishes, strict=True)):
            if theirs is None or wish is None or not theirs.port:
                continue
            if _is_secure(theirs) and self._staying(index, theirs, wish) is None:
                new += 1
        await self.prepare(new)

    def move(self, medium: Medium) -> None:
        """Let the medium that is made next have the other way of this one, if there is one.

        Raises:
            Unavailable: no further session can be had.
        """
        way, medium.other = medium.other, None
        if way is not None and not way.connection.over:
            session = self._msrp.session(_NOBODY, TLS, vouched=False)
            way.adopt(session)
            self._ready.append((session, way))

    def _renewed(self, way: Passage) -> None:
        """Our relay has another way for a session."""
        for number, (session, _) in enumerate(self._ready):
            if session is way.session:
                way.adopt(session)
                self._ready[number] = (session, way)
                return
        for medium in [*self._fresh, *self.media]:
            if medium is not None and medium.session is way.session:
                medium.other = way
                self._tell_moved(medium)
                return
        way.release()

    def _tell_moved(self, medium: Medium) -> None:
        if medium.other is not None and medium.agreed is not None and self.on_moved is not None:
            self.on_moved(medium)

    # We offer.

    def offer(self, wishes: Sequence[Wish | None]) -> Description:
        """Return an offer: for the call's INVITE, or for a change of it.

        Args:
            wishes: one for each medium; the same object as before leaves a medium as it is,
                ``None`` ends one.

        Raises:
            UsageError: fewer than there were, or one that cannot be written.
            Unavailable: no further session can be had.

        Spec: RFC 3264 §5, §8
        """
        self._fresh = []
        media: list[Medium | None] = []
        for index, wish in enumerate(wishes):
            old = self.media[index] if index < len(self.media) else None
            if wish is None:
                media.append(None)
            elif old is not None and old.wish is wish and old.session.state != CLOSED:
                media.append(old)
            else:
                media.append(self._reserve(index, wish, wish.secure or bool(self._ready)))
        return self._write(media)

    def reoffer(self) -> Description:
        """Return the offer to make when :attr:`wants_reoffer` is set: without CEMA.

        Spec: RFC 6714 §4.2
        """
        for medium in self.media:
            if medium is not None and medium.agreed is None:
                medium.local = attrs.evolve(medium.local, cema=False)
        return self._write(self.media)

    def again(self) -> Description:
        """Return the offer that changes nothing.

        Spec: RFC 4028 §7.4
        """
        if self._said is None:
            raise UsageError("nothing has been offered yet")
        return Description(self._said.to_bytes())

    def _write(self, media: list[Medium | None]) -> Description:
        lines = [None if medium is None else medium.local for medium in media]
        before = (self.media, self._said)
        self._said = write_offer(lines, self._origin(), previous=self._said)
        for old, new in zip(self.media, media, strict=False):
            if old is not None and old is not new and old.agreed is not None:
                if new is None:
                    old.close(REPLACED)
                else:
                    self._leaving.append(old)
        self._before = self._before or before
        self.media = media
        return Description(self._said.to_bytes())

    async def read_answer(self, answer: Description) -> None:
        """Take the peer's answer: connect what is agreed on, close what is refused.

        Raises:
            PeerError: the answer cannot be used (488); end the call.

        Spec: RFC 3264 §7
        """
        remote = description_of(answer)
        lines: list[LocalMedia | Media | None] = [
            None if medium is None else medium.local for medium in self.media
        ]
        addresses: dict[str, tuple[str, ...]] = {}
        if any(medium is not None and medium.local.cema for medium in self.media):
            addresses = await self._addresses(read_offer(remote))
        self.wants_reoffer = False
        for result in read_answer(lines, remote, addresses=addresses):
            medium = self.media[result.index]
            if isinstance(result, Reoffer):
                self.wants_reoffer = True
            elif medium is None:
                continue
            elif isinstance(result, Refused):
                self.media[result.index] = None
                medium.close(result.why)
            else:
                self._agree(medium, result)
        self.remote = remote
        self._fresh = []
        self._before = None
        leaving, self._leaving = self._leaving, []
        self._let_go(leaving)

    # The peer offers.

    def read_offer(self, offer: Description) -> tuple[MessageMedia | None, ...]:
        """Return what an offer says about each medium; ``None`` for what is no usable MSRP.

        Raises:
            PeerError: it is no session description.
        """
        return read_offer(description_of(offer))

    async def answer(self, offer: Description, wishes: Sequence[Wish | None]) -> Description:
        """Return the answer to an offer, and connect what is agreed on by it.

        Args:
            wishes: one for each medium of the offer; the same object as before leaves a
                medium as it is, unless the peer moves; ``None`` refuses one.

        Raises:
            PeerError: nothing of it can be accepted (488), or it cannot be read.
            Unavailable: no further session can be had.

        Spec: RFC 3264 §6, §8
        """
        remote = description_of(offer)
        offered = read_offer(remote)
        addresses: dict[str, tuple[str, ...]] = {}
        if any(wish is not None and wish.cema for wish in wishes):
            addresses = await self._addresses(offered)
        self._fresh = []
        media: list[Medium | None] = []
        for index, (theirs, wish) in enumerate(zip(offered, wishes, strict=True)):
            if theirs is None or wish is None or not theirs.port or _unsafe(theirs, wish):
                media.append(None)
            else:
                media.append(
                    self._staying(index, theirs, wish)
                    or self._reserve(index, wish, _is_secure(theirs), theirs.relayed)
                )
        lines = [None if medium is None else medium.local for medium in media]
        try:
            answered = answer_to(
                remote, lines, self._origin(), previous=self._said, addresses=addresses
            )
        except PeerError:
            self.withdraw()
            raise
        for index, old in enumerate(self.media):
            if old is not None and old not in media:
                self._replace(old, media[index] if index < len(media) else None)
        self.media = media
        for result in answered.lines:
            medium = media[result.index]
            if medium is None:
                continue
            if isinstance(result, Refused):
                media[result.index] = None
                medium.close(result.why)
            else:
                self._agree(medium, result)
        self._said = answered.description
        self.remote = remote
        self._fresh = []
        return Description(self._said.to_bytes())

    async def confirm(self, offer: Description) -> Description:
        """Return the answer to an offer inside the call that wants nothing new of us.

        It takes a changed direction or path, and refuses media that were not there before.

        Raises:
            PeerError: as :meth:`answer`.
        """
        count = len(description_of(offer).media)
        wishes = [None if medium is None else medium.wish for medium in self.media[:count]]
        return await self.answer(offer, wishes + [None] * (count - len(wishes)))

    # The end.

    def withdraw(self) -> None:
        """The exchange under way came to nothing: let go of what was made for it.

        What both sides agreed on before stands again (RFC 3264 §8), but for the sessions that
        the offer was to end.
        """
        self._leaving = []
        if self._before is not None:
            (self.media, self._said), self._before = self._before, None
        fresh, self._fresh = self._fresh, []
        for medium in fresh:
            medium.close("not wanted")
        self._forget_ways()

    def close(self, why: str = "") -> None:
        """The call is over, and so are its sessions."""
        fresh, self._fresh = self._fresh, []
        leaving, self._leaving = self._leaving, []
        for medium in [*fresh, *leaving, *self.media]:
            if medium is not None:
                medium.close(why)
        self._retire()
        self._forget_ways()

    def _replace(self, old: Medium, new: Medium | None) -> None:
        """End a session, in whose place there may be another."""
        if new is None:
            old.close(REPLACED)
            return
        if new.wish.carry:
            new.session.outbox.take_over(old.session.outbox)
        self._let_go([old])

    def _let_go(self, leaving: Sequence[Medium]) -> None:
        """Let sessions end that others take the places of; what is under way there arrives."""
        for medium in leaving:
            if medium.session.state == OPEN:
                self._retired.append(medium)
                self._retiring.deadline = self._msrp.now() + RETIRING
                self._msrp.means.arm(self._retiring)
            else:
                medium.close(REPLACED)

    def _retire(self, now: float = NEVER) -> None:
        retired, self._retired = self._retired, []
        self._retiring.deadline = NEVER
        for medium in retired:
            medium.close(REPLACED)

    def _forget_ways(self) -> None:
        """Let go of ways that nobody took."""
        ready, self._ready = self._ready, []
        for session, passage in ready:
            session.close("not wanted")
            passage.release()

    # How.

    def _reserve(self, index: int, wish: Wish, secure: bool, relayed: bool = False) -> Medium:
        """Make a medium.

        Args:
            relayed: the peer is behind a relay, which knows nothing of our certificate: then
                we connect, where that is left to us.
        """
        transport = TLS if secure else TCP
        vouch = secure and self._vouch
        passage: Passage | None = None
        if secure and self._ready:
            session, passage = self._ready.pop(0)
            session.user, session.inbox.accepting = wish.user, accepting_of(wish)
            vouch = False
        else:
            mutual = wish.mutual and not vouch
            accepting = accepting_of(wish)
            # Others have seen our offer, too: only the answer tells who may come.
            session = self._msrp.session(wish.user, transport, accepting, False, mutual)
            session.relays = parse_path(" ".join(self._relays)) if self._relays else ()
        if index < len(self.media) and (before := self.media[index]) is not None:
            # What comes again has been here (RFC 4975 §5.4).
            session.inbox.recent = before.session.inbox.recent
        prints = tuple(Fingerprint.parse(one) for one in self._msrp.fingerprints if vouch)
        local = LocalMedia(
            path=tuple(map(str, session.path)),
            accept_types=wish.accept_types,
            accept_wrapped_types=wish.accept_wrapped_types,
            max_size=wish.max_size,
            direction=wish.direction,
            reachable=bool(session.relays) or session.uri.port != NOWHERE,
            eager=wish.eager or relayed,
            cema=wish.cema,
            chatroom=wish.chatroom,
            fingerprints=prints,
            file=wish.file,
            title=wish.title,
            more=wish.more,
        )
        medium = Medium(index, wish, local, session, passage)
        self._fresh.append(medium)
        return medium

    def _staying(self, index: int, theirs: MessageMedia, wish: Wish) -> Medium | None:
        """Return the medium that goes on after an offer of the peer; ``None`` for a new one."""
        old = self.media[index] if index < len(self.media) else None
        stays = old is not None and old.wish is wish and _stays(old, theirs)
        return old if stays else None

    def _agree(self, medium: Medium, agreed: Agreed) -> None:
        """Note what was agreed on, and connect if that is new.

        Raises:
            PeerError: the peer moved in an answer, where only an offer may (488).
        """
        before, medium.agreed = medium.agreed, agreed
        session = medium.session
        if before is not None and before.remote.path == agreed.remote.path:
            return
        if session.state != RESERVED:
            raise BadSdp("the path changes without a new session", 488)
        path = parse_path(" ".join(agreed.remote.path))
        if medium.passage is not None:
            medium.passage.connect(path, agreed.active)
            self._tell_moved(medium)
            return
        self._msrp.connect(
            session,
            path,
            agreed.active,
            agreed.address,
            tuple(str(one) for one in agreed.remote.fingerprints),
        )

    def _origin(self) -> Origin:
        return Origin(self._number, 1, Connection.to(self._msrp.host))

    async def _addresses(self, media: Sequence[MessageMedia | None]) -> dict[str, tuple[str, ...]]:
        """Return the addresses of names that have to be compared (RFC 6714 §4.4)."""
        names = [name for one in media if one is not None for name in names_to_resolve(one)]
        return {name: await self._msrp.addresses(name) for name in dict.fromkeys(names)}


def accepting_of(wish: Wish) -> Accepting:
    """Return what is let in."""
    return Accepting(wish.accept_types, wish.accept_wrapped_types, wish.max_size or 0)


def _unsafe(theirs: MessageMedia, wish: Wish) -> bool:
    """Tell whether a medium is offered without the TLS that we insist on."""
    return wish.mutual and theirs.protocol != TLS_MEDIA


def _is_secure(theirs: MessageMedia) -> bool:
    return theirs.path[0][:5].lower() == "msrps"


def _stays(medium: Medium, theirs: MessageMedia) -> bool:
    """Tell whether a session goes on after another offer of the peer."""
    agreed = medium.agreed
    return (
        agreed is not None and agreed.remote.path == theirs.path and medium.session.state != CLOSED
    )


def description_of(said: Description) -> SessionDescription:
    """Return the session description in a body, which may be one part of it.

    Raises:
        PeerError: there is none (415), or it cannot be read.

    Spec: RFC 5621 §8.2
    """
    if is_multipart(said.content_type):
        for part in leaves(said.content_type, said.body):
            if part.media_type == MEDIA_TYPE:
                return SessionDescription.parse(part.content)
        raise PeerError("no part of the body is a session description", 415)
    if said.content_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise PeerError("the body is no session description", 415)
    return SessionDescription.parse(said.body)
