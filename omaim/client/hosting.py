"""A small conference that a client hosts itself: one session with each, everybody hears all.

::

    room = await client.host("Plans")
    await room.invite("bob", "xenia@south.example")
    await room.send("What shall we do?")
    await room.whisper("bob", "Shall we tell her?")
    room.on_roster(lambda people: print([one.shown for one in people]))
    await room.leave()  # which ends it for all

The rules are in :mod:`omaim.client.host_rules`; :mod:`omaim.client.hosts` has all rooms of one
client.

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
    DIALED_IN,
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
from omaim.client.arrivals import Arrivals
from omaim.client.composing import ALL_REPORTS, TEXT, Content, write_cpim
from omaim.client.failures import Ended, NotFound, failure_class, failure_in_session
from omaim.client.guest import Guest
from omaim.client.handing import hand
from omaim.client.host_rules import HostRules, room_uri
from omaim.client.leg import FEATURE, Leg
from omaim.client.means import Means
from omaim.client.messages import DELIVERED, PENDING, Message, Sent, Typing
from omaim.client.offered import Offered
from omaim.client.reading import Received, read_content
from omaim.client.roster import Participant
from omaim.client.taken import Taken, name_of
from omaim.client.typists import Typist, Typists
from omaim.errors import PeerError
from omaim.msrp import Incoming
from omaim.roles.invitation import Invitation
from omaim.roles.negotiation import Wish
from omaim.sip.headers import NameAddr
from omaim.sip.uri import canonical_aor

MAXIMUM: Final = 10  # people, unless the host says otherwise
MOST: Final = 50  # whatever it says

_ENDED: Final = 'SIP;cause=200;text="the host has left"'
_PUT_OUT: Final = 'SIP;cause=200;text="put out by the host"'
_REFUSALS: Final = (400, 403, 404, 413, 415, 428)
_EVENTS: Final = ("Allow-Events", "conference")


class HostedRoom:
    """A conference of which this client is the focus.

    Attributes:
        uri: address of the room: the host's own, with a parameter that tells the room.
        subject: what it is about.
        closed: only the host calls people in; otherwise everybody who is in it may.
        on_over: called when it is over.
        on_roster_changed: called when somebody came or went.
    """

    def __init__(self, means: Means, subject: str, maximum: int, token: str) -> None:
        self.uri = room_uri(means.own.uri, token)
        self.subject = subject
        self.closed = False
        self.on_over: Callable[[], object] | None = None
        self.on_roster_changed: Callable[[], object] | None = None
        self._means = means
        self._own = canonical_aor(means.own.uri)
        self._rules = HostRules(self._own, token, min(maximum, MOST))
        self._guests: dict[str, Guest] = {}
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
    def token(self) -> str:
        """What tells it from other rooms of the same host."""
        return self._rules.token

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
        """Tell whether a message was for us only."""
        return not any(self._rules.is_room(one) for one in message.to)

    def on_roster(self, act: Callable[[tuple[Participant, ...]], object]) -> None:
        """Tell ``act`` who is there, now and at each change."""
        self._on_roster = act
        hand(act, self.participants)

    async def invite(self, *people: str) -> None:
        """Call people; return when each has come, or will not.

        Args:
            people: addresses.

        Raises:
            Busy: 486, there would be too many; nobody was called.
            Failure: of the first who did not come, by what the network answered.

        Spec: RFC 4579 §5.5
        """
        self._check()
        try:
            calling = self.call_in([self._means.address(one) for one in people])
        except PeerError as error:
            raise failure_class(error.status)(error.status, error.why) from error
        results: list[tuple[bool, Any]] = await DeferredList(calling, consumeErrors=True)
        for came, result in results:
            if not came:
                result.raiseException()

    def call_in(self, people: Sequence[str]) -> list[Deferred[None]]:
        """Call those of these people who are not here; each fires when that one has come.

        Raises:
            PeerError: 486, there would be too many; nobody was called.
        """
        wanted = dict.fromkeys(canonical_aor(one) for one in people)
        missing = [one for one in wanted if one not in self._rules.people]
        missing = [one for one in missing if one not in self._calling]
        self._rules.make_room(len(missing) + len(self._calling))
        return [Deferred.fromCoroutine(self._call(one)) for one in missing]

    async def _call(self, uri: str) -> None:
        guest = self._guest(uri, False)
        fields = [("Subject", self.subject)] if self.subject else []
        fields.append(_EVENTS)
        inviting = Deferred.fromCoroutine(
            Leg.invite(self._means, uri, [guest.wish()], fields, focus=self.uri)
        )
        self._calling[uri] = inviting
        self._rules.welcome.add(uri)
        self._changed()
        try:
            leg = await inviting
        finally:
            self._calling.pop(uri, None)
            self._changed()
        if self._over:
            leg.abandon(_ENDED)
            return
        guest.begin(leg)
        response = leg.call.response
        also = [] if response is None else response.addresses("P-Asserted-Identity")
        guest.verified = bool(also)
        self._entered(guest, *(canonical_aor(one.uri_text) for one in also))

    async def joined(
        self, invitation: Invitation, offered: Offered, peer: NameAddr, verified: bool
    ) -> None:
        """Somebody comes in by itself: who was here before, or was called and not there.

        Raises:
            PeerError: 403, it may not; 486, there are too many.

        Spec: RFC 4579 §5.1; OMA SIMPLE IM 1.0 (re-join)
        """
        uri = canonical_aor(peer.uri_text)
        before = self._guests.get(uri)
        doubtful = before is not None and before.verified and not verified
        if uri not in self._rules.welcome or doubtful or not self._believes(verified):
            raise PeerError("who was not invited cannot come in", 403)
        if before is None and uri not in self._rules.people:
            self._rules.make_room(1 + len(self._calling))
        guest = self._guest(uri, verified)
        wishes: list[Wish | None] = [None] * offered.count
        wishes[offered.index] = guest.wish(offered.secure)
        await Leg.accept(
            self._means,
            invitation,
            wishes,
            feature=FEATURE,
            focus=self.uri,
            headers=[_EVENTS],
            prepare=lambda leg: guest.begin(leg, offered.index),
        )
        if self._over:
            guest.leg.abandon(_ENDED)
        elif not guest.leg.over:
            self._entered(guest)

    def _guest(self, uri: str, verified: bool) -> Guest:
        return Guest(self._means, uri, verified, self._whole, self._named, self._gone)

    def _entered(self, guest: Guest, *also: str) -> None:
        before = self._guests.get(guest.uri)
        self._guests[guest.uri] = guest
        self._rules.enter(guest.uri, *also, private=guest.private)
        if before is not None:
            before.leg.abandon('SIP;cause=200;text="replaced"')
        self._changed()

    async def expel(self, *people: str) -> None:
        """Put people out; they do not come in again by themselves.

        Args:
            people: nicknames or addresses.

        Raises:
            NotFound: one is not there.
        """
        for one in people:
            uri = self._find(one)
            self._rules.welcome.discard(uri)
            calling = self._calling.get(uri)
            guest = self._guests.get(uri)
            if calling is not None:
                calling.cancel()
            elif guest is not None:
                await guest.leg.close(_PUT_OUT)
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

    def _named(self, guest: Guest, name: str) -> int:
        status = self._rules.name(guest.uri, name)
        if status == 200:
            self._changed()
        return status

    def _gone(self, guest: Guest) -> None:
        """A guest has left, or was lost."""
        if self._guests.get(guest.uri) is guest:
            del self._guests[guest.uri]
            self._rules.leave(guest.uri)
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
        body = text.encode() if isinstance(text, str) else text
        sent = self._say(Content(body, content_type, subject), self.uri, reports)
        sent.status = DELIVERED
        return sent

    async def whisper(
        self, to: str, text: str, *, subject: str = "", reports: Sequence[str] = ALL_REPORTS
    ) -> Sent:
        """Say something to one participant only.

        Args: as :meth:`omaim.client.room.Room.whisper` has them.

        Raises:
            NotFound: nobody here is called so.
            Failure: 428, the other does not take private messages.

        Spec: RFC 7701 §6.2
        """
        person = self._find(to)
        if person not in self._guests:
            raise NotFound(404, f"nobody here is called {to}")
        try:
            self._rules.check_private(person)
        except PeerError as error:
            raise failure_in_session(error.status) from error
        sent = self._say(Content(text.encode(), TEXT, subject), person, reports)
        sent.status = PENDING
        return sent

    def _say(self, content: Content, to: str, reports: Sequence[str]) -> Sent:
        """Say something to one address: the room's, or that of a participant."""
        self._check()
        means = self._means
        message_id = means.phone.ids.token(20) if reports else ""
        envelope = write_cpim(content, means.own, [to], means.now(), message_id, reports)
        sent = Sent(means.clock, (to,), message_id)
        if message_id:
            means.inbox.expect(sent)
        self._typist.sent()
        people = list(self._guests) if self._rules.is_room(to) else [to]
        self._copy(envelope, envelope.to_bytes(), people)
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

    def _whole(self, guest: Guest, incoming: Incoming, body: bytes) -> None:
        """A guest has said something: copy it to those whom it is for."""
        try:
            message, to = self._rules.recipients(guest.uri, incoming.content_type, body)
            if self._own in to:
                self._hear(guest, message, body)
        except PeerError as error:
            status = error.status if error.status in _REFUSALS else 400
            incoming.refuse(status, error.why[:60])
            return
        self._copy(message, body, to)

    def _copy(self, message: Cpim, body: bytes, to: Sequence[str]) -> None:
        """Send a message to each of these who takes what is in it."""
        for one in to:
            guest = self._guests.get(one)
            if guest is not None:
                guest.hear(message, body)

    def _hear(self, guest: Guest, message: Cpim, body: bytes) -> None:
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
            private = not self._rules.is_room(message.to[0].uri)
            reply = partial(self._reply, private)
            taken = Taken(found, found.sent_at, partial(self._report, guest), reply)
            means.seen.add(name_of(found))
            means.phone.endpoint.later(taken.delivered)
            self._arrivals.put(taken.message)

    def _report(self, guest: Guest, found: Received, kind: str, status: str) -> Deferred[bool]:
        told: Deferred[bool] = Deferred()
        report = self._means.reporter.written(found, kind, status)
        if report is not None:
            guest.hear(report, report.to_bytes())
        told.callback(report is not None)
        return told

    def _reply(self, private: bool, to: str, text: str, **named: Any) -> Deferred[Sent]:
        saying = self.whisper(to, text, **named) if private else self.send(text, **named)
        return Deferred.fromCoroutine(saying)

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
        legs = [guest.leg for guest in self._guests.values()]
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

    def knows(self, uri: str, verified: bool) -> bool:
        """Tell whether somebody is in it, or has just been called.

        Args:
            verified: the network says who it is, or it says so in its own call.
        """
        try:
            person = canonical_aor(uri)
        except PeerError:
            return False
        there = person in self._rules.people or person in self._calling
        return there and not self._over and self._believes(verified)

    def _believes(self, verified: bool) -> bool:
        """Tell whether somebody is taken for who it says it is.

        Whom our network lets through to us, it vouches for; without one there are only names.

        Spec: RFC 3325 §3
        """
        return verified or not self._means.vouches()

    def has(self, leg: object) -> bool:
        """Tell whether a call is that of somebody in it."""
        return any(guest.leg is leg for guest in self._guests.values())

    @property
    def info(self) -> ConferenceInfo | None:
        """The whole state (RFC 4575); ``None`` when it is over."""
        if self._over:
            return None
        users = []
        for one, nickname in self._rules.people.items():
            endpoint = Endpoint(one, CONNECTED, joining_method=self._how(one))
            users.append(User(one, nickname=nickname, endpoints=(endpoint,)))
        for one in self._calling:
            endpoint = Endpoint(one, DIALING_OUT, joining_method=DIALED_OUT)
            users.append(User(one, endpoints=(endpoint,)))
        return ConferenceInfo(
            self.uri,
            description=Description(subject=self.subject, maximum_user_count=self.maximum),
            activity=Activity(len(self._rules.people), True),
            users=tuple(users),
        )

    def _how(self, person: str) -> str:
        """Return how somebody came to be here."""
        guest = self._guests.get(person)
        if guest is None:
            return FOCUS_OWNER
        return DIALED_OUT if guest.leg.call.caller else DIALED_IN

    def _changed(self) -> None:
        if self.on_roster_changed is not None:
            self.on_roster_changed()
        hand(self._on_roster, self.participants)
