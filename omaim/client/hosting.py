"""A small conference that a client hosts itself: one session with each, everybody hears all.

::

    room = await client.host("Plans")
    await room.invite("bob", "xenia@south.example")
    await room.send("What shall we do?")
    room.on_roster(lambda people: print([one.shown for one in people]))
    await room.leave()  # which ends it for all

The rules are in :mod:`omaim.client.host_rules`.

Spec: OMA SIMPLE IM 1.0 (IM-9, IM Client that hosts a conference); RFC 4579 §5; RFC 7701 §6
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList

from omaim.bodies import iscomposing
from omaim.bodies.conference_info import (
    CONNECTED,
    DIALED_OUT,
    DIALING_OUT,
    FOCUS_OWNER,
    Activity,
    ConferenceInfo,
    Description,
    Endpoint,
    User,
)
from omaim.bodies.cpim import MEDIA_TYPE as CPIM_TYPE
from omaim.bodies.cpim import Cpim
from omaim.bodies.message_media import NICKNAME
from omaim.client.arrivals import Arrivals
from omaim.client.composing import TEXT, Content, write_cpim
from omaim.client.failures import Busy, Ended, NotFound, failure_in_session
from omaim.client.handing import hand
from omaim.client.host_rules import HostRules
from omaim.client.leg import Leg
from omaim.client.means import Means
from omaim.client.messages import DELIVERED, Message, Sent, Typing
from omaim.client.reading import Received, read_content
from omaim.client.roster import Participant
from omaim.client.taken import Taken, name_of
from omaim.client.talk import LARGEST
from omaim.client.typists import Typist, Typists
from omaim.errors import PeerError
from omaim.msrp import NO, PARTIAL, Incoming, Outgoing, SessionUser
from omaim.roles.negotiation import Medium, Wish
from omaim.sip.headers import NameAddr
from omaim.sip.uri import canonical_aor

MAXIMUM: Final = 10  # people, unless the host says otherwise
MOST: Final = 50  # whatever it says
BEHIND: Final = 4 * 1_048_576  # octets that may wait for somebody; who reads no faster has to go

_ENDED: Final = 'SIP;cause=200;text="the host has left"'
_SLOW: Final = 'SIP;cause=503;text="messages were not read in time"'
_REFUSALS: Final = (400, 403, 404, 413, 415)


class _Guest:
    """Somebody whom the host has called, and who has come."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.leg: Leg | None = None
        self.medium: Medium | None = None


class HostedRoom:
    """A conference of which this client is the focus.

    Attributes:
        uri: address of the room, which is the host's own.
        subject: what it is about.
        on_over: called when it is over.
        on_roster_changed: called when somebody came or went.
    """

    def __init__(self, means: Means, subject: str, maximum: int) -> None:
        self.uri = means.own.uri
        self.subject = subject
        self.on_over: Callable[[], object] | None = None
        self.on_roster_changed: Callable[[], object] | None = None
        self._means = means
        self._own = canonical_aor(self.uri)
        self._rules = HostRules(self._own, min(maximum, MOST))
        self._guests: dict[str, _Guest] = {}
        self._calling: dict[str, Deferred[Leg]] = {}
        self._arrivals: Arrivals[Message] = Arrivals()
        self._typist = Typist(means.phone, self._tell_typing)
        self._typists = Typists(means.phone, lambda typing: hand(self._on_typing, typing))
        self._on_typing: Callable[[Typing], object] | None = None
        self._on_roster: Callable[[tuple[Participant, ...]], object] | None = None
        self._on_end: Callable[[str], object] | None = None
        self._over = False

    def __repr__(self) -> str:
        return f"<HostedRoom {self.subject or self.uri}>"

    @property
    def ended(self) -> bool:
        """It is over."""
        return self._over

    @property
    def maximum(self) -> int:
        """People at a time, the host among them."""
        return self._rules.maximum

    # People.

    @property
    def participants(self) -> tuple[Participant, ...]:
        """Who is there or being called, the host first."""
        people = self._rules.people
        here = [Participant(one, nickname=name) for one, name in people.items()]
        return (*here, *(Participant(one, here=False) for one in self._calling))

    @property
    def roster_known(self) -> bool:
        """Who is there is known: we decide it."""
        return True

    def name_of(self, uri: str) -> str:
        """Return the nickname of a participant, "" for none."""
        return self._rules.people.get(canonical_aor(uri), "")

    def is_private(self, message: Message) -> bool:
        """Tell whether a message was for us only: there are none such here."""
        return False

    def on_roster(self, act: Callable[[tuple[Participant, ...]], object]) -> None:
        """Tell ``act`` who is there, now and at each change."""
        self._on_roster = act
        hand(act, self.participants)

    async def invite(self, *people: str) -> None:
        """Call people; return when each has come, or will not.

        Args:
            people: addresses.

        Raises:
            Busy: there would be too many; nobody was called.
            Failure: of the first who did not come, by what the network answered.

        Spec: RFC 4579 §5.5
        """
        self._check()
        wanted = dict.fromkeys(canonical_aor(self._means.address(one)) for one in people)
        missing = [one for one in wanted if one not in self._rules.people]
        missing = [one for one in missing if one not in self._calling]
        try:
            self._rules.make_room(len(missing) + len(self._calling))
        except PeerError as error:
            raise Busy(error.status, error.why) from error
        calling = [Deferred.fromCoroutine(self._call(one)) for one in missing]
        results: list[tuple[bool, Any]] = await DeferredList(calling, consumeErrors=True)
        for came, result in results:
            if not came:
                result.raiseException()

    async def _call(self, uri: str) -> None:
        means = self._means
        guest = _Guest(uri)
        user = SessionUser(
            lambda session, incoming: self._begins(guest, incoming),
            on_nickname=lambda session, name: self._named(guest, name),
            on_closed=lambda session, why: self._gone(guest),
        )
        wish = Wish(user, (CPIM_TYPE,), ("*",), LARGEST, chatroom=(NICKNAME,))
        fields = [("Subject", self.subject)] if self.subject else []
        fields.append(("Allow-Events", "conference"))
        inviting = Deferred.fromCoroutine(Leg.invite(means, uri, [wish], fields, focus=True))
        self._calling[uri] = inviting
        self._changed()
        try:
            leg = await inviting
        finally:
            self._calling.pop(uri, None)
            self._changed()
        if self._over:
            leg.abandon(_ENDED)
            return
        guest.leg, guest.medium = leg, leg.media[0]
        response = leg.call.response
        also = [] if response is None else response.addresses("P-Asserted-Identity")
        self._rules.enter(uri, *(canonical_aor(one.uri_text) for one in also))
        self._guests[uri] = guest
        leg.ending.append(lambda why: self._gone(guest))
        self._changed()

    async def expel(self, *people: str) -> None:
        """Put people out.

        Args:
            people: nicknames or addresses.

        Raises:
            NotFound: one is not there.
        """
        for one in people:
            uri = self._find(one)
            calling = self._calling.get(uri)
            guest = self._guests.get(uri)
            if calling is not None:
                calling.cancel()
            elif guest is not None and guest.leg is not None:
                await guest.leg.close('SIP;cause=200;text="put out by the host"')
            else:
                raise NotFound(404, f"nobody here is called {one}")

    def _find(self, who: str) -> str:
        for uri, nickname in self._rules.people.items():
            if nickname and nickname.casefold() == who.casefold():
                return uri
        return canonical_aor(self._means.address(who))

    async def nickname(self, name: str) -> None:
        """Be called so; "" for no nickname any more.

        Raises:
            BadNickname: it is not written well, or another one has it.
        """
        status = self._rules.name(self._own, name)
        if status != 200:
            raise failure_in_session(status)
        self._changed()

    def _named(self, guest: _Guest, name: str) -> int:
        status = self._rules.name(guest.uri, name)
        if status == 200:
            self._changed()
        return status

    def _gone(self, guest: _Guest) -> None:
        """A guest has left, or was lost."""
        if self._guests.get(guest.uri) is not guest:
            return
        del self._guests[guest.uri]
        self._rules.leave(guest.uri)
        if guest.leg is not None:
            guest.leg.abandon("")
        self._changed()

    # Talking.

    async def send(
        self,
        text: str | bytes,
        content_type: str = TEXT,
        *,
        subject: str = "",
        reports: Sequence[str] = (),
    ) -> Sent:
        """Say something to all.

        Args: as :meth:`omaim.client.room.Room.send` has them.
        """
        self._check()
        means = self._means
        body = text.encode() if isinstance(text, str) else text
        message_id = means.phone.ids.token(20) if reports else ""
        content = Content(body, content_type, subject)
        envelope = write_cpim(content, means.own, [self.uri], means.now(), message_id, reports)
        sent = Sent(means.clock, (self.uri,), message_id)
        sent.status = DELIVERED
        if message_id:
            means.inbox.expect(sent)
        self._typist.sent()
        self._copy(envelope, envelope.to_bytes(), list(self._guests))
        return sent

    def typing(self) -> None:
        """The host pressed a key."""
        if not self._over:
            self._typist.typed()

    def _tell_typing(self, document: bytes) -> None:
        means = self._means
        content = Content(document, iscomposing.MEDIA_TYPE)
        envelope = write_cpim(content, means.own, [self.uri], means.now(), "", ())
        self._copy(envelope, envelope.to_bytes(), list(self._guests))

    def _begins(self, guest: _Guest, incoming: Incoming) -> None:
        incoming.collect(LARGEST, lambda body: self._whole(guest, incoming, body))

    def _whole(self, guest: _Guest, incoming: Incoming, body: bytes) -> None:
        """A guest has said something: copy it to those whom it is for."""
        try:
            message, to = self._rules.recipients(guest.uri, incoming.content_type, body)
            if self._own in to:
                self._hear(guest, body)
        except PeerError as error:
            status = error.status if error.status in _REFUSALS else 400
            incoming.refuse(status, error.why[:60])
            return
        self._copy(message, body, to)

    def _copy(self, message: Cpim, body: bytes, to: Sequence[str]) -> None:
        """Send a message to each of these who takes what is in it.

        Spec: RFC 7701 §6.1, §6.3
        """
        kind = message.part.media_type
        for one in to:
            guest = self._guests.get(one)
            medium = None if guest is None else guest.medium
            if guest is None or medium is None or not medium.open:
                continue
            if not medium.accepts.takes_wrapped(kind):
                continue
            if medium.max_size is not None and len(body) > medium.max_size:
                continue
            if medium.session.pending > BEHIND:
                if guest.leg is not None:
                    guest.leg.abandon(_SLOW)
                continue
            medium.session.send(Outgoing(CPIM_TYPE, body, failure_report=PARTIAL))

    def _hear(self, guest: _Guest, body: bytes) -> None:
        """Something is for the host, too."""
        means = self._means
        sender = NameAddr(guest.uri)
        accept = means.accept if CPIM_TYPE in means.accept else (*means.accept, CPIM_TYPE)
        try:
            found = read_content(CPIM_TYPE, body, accept, sender, True)
        except PeerError as error:
            if error.status == 415:
                return  # the others may take it
            raise
        if found.reports:
            means.inbox.reported(found)
        elif found.typing is not None:
            self._typists.heard(guest.uri, found.typing)
        elif not means.seen.has(name_of(found)) and not self._arrivals.full:
            self._typists.said(guest.uri)
            taken = Taken(found, found.sent_at, partial(self._report, guest), self._reply)
            means.seen.add(name_of(found))
            means.phone.endpoint.later(taken.delivered)
            self._arrivals.put(taken.message)

    def _report(self, guest: _Guest, found: Received, kind: str, status: str) -> Deferred[bool]:
        told: Deferred[bool] = Deferred()
        report = self._means.reporter.written(found, kind, status)
        medium = guest.medium
        if report is not None and medium is not None and medium.open:
            medium.session.send(Outgoing(CPIM_TYPE, report.to_bytes(), failure_report=NO))
            told.callback(True)
        else:
            told.callback(False)
        return told

    def _reply(self, to: str, text: str, **named: Any) -> Deferred[Sent]:
        return Deferred.fromCoroutine(self.send(text, **named))

    def next(self) -> Deferred[Message]:
        """Return the next message; fails with :class:`~omaim.client.arrivals.Closed` at the end."""
        return self._arrivals.next()

    def __aiter__(self) -> AsyncIterator[Message]:
        return aiter(self._arrivals)

    def on_message(self, act: Callable[[Message], object]) -> None:
        """Give each message to ``act``, which may be a coroutine, instead of an iterator."""
        self._arrivals.on(act)

    def on_typing(self, act: Callable[[Typing], object]) -> None:
        """Tell ``act`` who begins and stops writing."""
        self._on_typing = act

    def on_end(self, act: Callable[[str], object]) -> None:
        """Call ``act`` when it is over."""
        self._on_end = act

    # The end.

    async def leave(self) -> None:
        """End it for all; returns when they know."""
        if self._over:
            return
        self._over = True
        self._typist.stop()
        self._typists.stop()
        self._changed()
        for calling in list(self._calling.values()):
            calling.cancel()
        legs = [guest.leg for guest in self._guests.values() if guest.leg is not None]
        self._guests.clear()
        await DeferredList([Deferred.fromCoroutine(leg.close(_ENDED)) for leg in legs])
        self._arrivals.close()
        hand(self._on_end, "")
        if self.on_over is not None:
            self.on_over()

    def _check(self) -> None:
        if self._over:
            raise Ended(481)

    # What others see.

    def knows(self, uri: str) -> bool:
        """Tell whether somebody is in it, or has just been called."""
        try:
            person = canonical_aor(uri)
        except PeerError:
            return False
        return not self._over and (person in self._rules.people or person in self._calling)

    @property
    def info(self) -> ConferenceInfo | None:
        """The whole state (RFC 4575); ``None`` when it is over."""
        if self._over:
            return None
        users = []
        for one, nickname in self._rules.people.items():
            how = FOCUS_OWNER if one == self._own else DIALED_OUT
            endpoint = Endpoint(one, CONNECTED, joining_method=how)
            users.append(User(one, nickname=nickname, endpoints=(endpoint,)))
        for one in self._calling:
            endpoint = Endpoint(one, DIALING_OUT, joining_method=DIALED_OUT)
            users.append(User(one, endpoints=(endpoint,)))
        return ConferenceInfo(
            self._own,
            description=Description(subject=self.subject, maximum_user_count=self.maximum),
            activity=Activity(len(self._rules.people), True),
            users=tuple(users),
        )

    def _changed(self) -> None:
        if self.on_roster_changed is not None:
            self.on_roster_changed()
        hand(self._on_roster, self.participants)
