"""One MSRP session in which people talk: what they say, wrapped and unwrapped.

A :class:`Talk` knows no SIP; :class:`~omaim.client.conversation.Conversation` and
:class:`~omaim.client.room.Room` bring it a medium.

Spec: RFC 4975 §7, §8.6, §13; RFC 3862; RFC 3994; RFC 5438; RFC 7701 §6
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, fail, succeed

from omaim.bodies import imdn, iscomposing
from omaim.bodies.cpim import MEDIA_TYPE as CPIM_TYPE
from omaim.bodies.deferred_list import MEDIA_TYPE as DEFERRED_TYPE
from omaim.bodies.imdn import DELIVERY
from omaim.bodies.media_types import Accepts
from omaim.client.arrivals import Arrivals
from omaim.client.composing import Content, write_cpim
from omaim.client.failures import Busy, Ended, failure_in_session
from omaim.client.handing import hand
from omaim.client.means import Means
from omaim.client.messages import PENDING, SENDING, Message, Report, Sent, Typing
from omaim.client.posts import MOST, Post, Posts
from omaim.client.reading import Received, read_content
from omaim.client.taken import Taken, name_of
from omaim.client.typists import Typist, Typists
from omaim.errors import PeerError
from omaim.msrp import CLOSED, NO, OPEN, Incoming, Outgoing, Session, SessionUser
from omaim.msrp import Report as MsrpReport
from omaim.roles.negotiation import Medium
from omaim.sip.headers import NameAddr

LARGEST: Final = 1_048_576  # octets of a message that we take while talking

_REFUSALS: Final = (400, 403, 413, 415)  # that MSRP has


class Talk:
    """What is said in one session.

    Args:
        means: of the client.
        peer: who the other side is.
        verified: the network says so.
        to: URIs that our envelopes are addressed to.

    Attributes:
        author: where the peer speaks for others: gets what came, returns it with its author,
            and the URIs that an answer goes to.
        medium: once it is there.
        arrivals: the messages.
        on_typing: gets told who writes.
        on_lost: called with why, when the session was not ended by us.
    """

    def __init__(
        self,
        means: Means,
        peer: NameAddr,
        verified: bool,
        to: Sequence[str],
    ) -> None:
        self.medium: Medium | None = None
        self.arrivals: Arrivals[Message] = Arrivals()
        self.on_typing: Callable[[Typing], object] | None = None
        self.on_lost: Callable[[str], object] | None = None
        self.author: Callable[[Received], tuple[Received, tuple[str, ...]]] | None = None
        self.user = SessionUser(self._begins, on_open=self._opened, on_closed=self._closed)
        self._means = means
        self._peer = peer
        self._verified = verified
        self._to = tuple(to)
        self._typist = Typist(means.phone, self._tell_typing)
        self._typists = Typists(means.phone, lambda typing: hand(self.on_typing, typing))
        self._posts = Posts()
        self._renewing = False
        self._waiting: list[Deferred[None]] = []

    @property
    def open(self) -> bool:
        """Something can be said."""
        return self.medium is not None and self.medium.open

    def move(self, peer: str) -> None:
        """The other side is another one than was thought."""
        self._peer = NameAddr(peer, self._peer.display)
        self._to = (peer,)

    @property
    def secure(self) -> bool:
        """It goes over TLS."""
        return self.medium is not None and self.medium.session.uri.secure

    @property
    def _accepts(self) -> Accepts:
        return Accepts(()) if self.medium is None else self.medium.accepts

    def opened(self) -> Deferred[None]:
        """Return what fires when the session has its connection; fails when it never will."""
        medium = self.medium
        if medium is not None and medium.session.state == OPEN:
            return succeed(None)
        waiting: Deferred[None] = Deferred(lambda one: self._waiting.remove(one))
        if medium is not None and medium.session.state == CLOSED:
            return fail(Ended(481))
        self._waiting.append(waiting)
        return waiting

    def _opened(self, session: Session) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    # Saying something.

    def send(
        self, content: Content, reports: Sequence[str], to: Sequence[str] = ()
    ) -> Deferred[Sent]:
        """Say something; fires when the other side, or the server, has taken it.

        It goes in an envelope where the other side takes that. What goes without one has no
        subject, and its delivery is what MSRP reports.

        Args:
            content: what.
            reports: which ones are wanted, as RFC 5438 §10 spells them.
            to: URIs; those of the talk if empty.

        Raises (the Deferred fails with):
            Failure: a subclass by what came back.
        """
        medium = self.medium
        if medium is None or not (medium.open or self._renewing):
            return fail(Ended(481))
        if self._posts.full:
            return fail(Busy(0, f"{MOST} messages have no answer yet"))
        if not medium.may_send:
            return fail(failure_in_session(403))
        accepts = medium.accepts
        wraps = self._wraps(content.content_type)
        if not wraps and not accepts.takes(content.content_type):
            return fail(failure_in_session(415, (*accepts.types, *accepts.wrapped)))
        to = to or self._to
        message_id = self._means.phone.ids.token(20) if wraps and reports else ""
        kind, body = content.content_type, content.body
        if wraps:
            kind, body = CPIM_TYPE, self._wrapped(content, to, message_id, reports)
        if medium.max_size is not None and len(body) > medium.max_size:
            return fail(failure_in_session(413))
        sent = Sent(self._means.clock, tuple(to), message_id)
        if message_id:
            self._means.inbox.expect(sent)
        return self._post(medium, kind, body, sent, not wraps)

    def send_again(self, body: bytes, sent: Sent) -> Deferred[Sent]:
        """Say what was meant to come with the invitation, and has not.

        Args:
            body: in its envelope.
            sent: what is known of it.

        Raises (the Deferred fails with):
            Failure: a subclass by what came back.
        """
        medium = self.medium
        if medium is None or not (medium.open or self._renewing):
            return fail(Ended(481))
        if not medium.accepts.takes(CPIM_TYPE):
            return fail(failure_in_session(415, (*medium.accepts.types, *medium.accepts.wrapped)))
        if medium.max_size is not None and len(body) > medium.max_size:
            return fail(failure_in_session(413))
        return self._post(medium, CPIM_TYPE, body, sent, False)

    def _wraps(self, content_type: str) -> bool:
        accepts = self._accepts
        return accepts.takes(CPIM_TYPE) and accepts.takes_wrapped(content_type)

    def _wrapped(
        self, content: Content, to: Sequence[str], message_id: str, reports: Sequence[str]
    ) -> bytes:
        means = self._means
        return write_cpim(content, means.own, to, means.now(), message_id, reports).to_bytes()

    def _post(
        self, medium: Medium, kind: str, body: bytes, sent: Sent, bare: bool
    ) -> Deferred[Sent]:
        answered: Deferred[Sent] = Deferred()

        def ended(status: int) -> None:
            if status == 200:
                if sent.status == SENDING:
                    sent.status = PENDING
                answered.callback(sent)
            else:
                self._means.inbox.forget(sent)
                answered.errback(failure_in_session(status))

        def reported(report: MsrpReport) -> None:
            # A server between has taken it, and tells later what the other side said.
            if report.status != 200:
                sent.take(Report(sent.message_id, sent.to[0], DELIVERY, "failed"))
            elif bare:
                sent.take(Report("", sent.to[0], DELIVERY, "delivered"))

        self._typist.sent()
        session = medium.session if medium.open else None
        self._posts.send(session, Post(kind, body, ended, reported, bare))
        return answered

    def typed(self) -> None:
        """Our user pressed a key."""
        if self.open:
            self._typist.typed()

    def _tell_typing(self, document: bytes) -> None:
        medium = self.medium
        if medium is None or not medium.open or not medium.may_send:
            return
        kind, body = iscomposing.MEDIA_TYPE, document
        if self._wraps(kind) and (medium.accepts.wants_cpim or not medium.accepts.takes(kind)):
            kind, body = CPIM_TYPE, self._wrapped(Content(body, kind), self._to, "", ())
        elif not medium.accepts.takes(kind):
            self._typist.refused()
            return
        refused = lambda status: self._typist.refused() if status == 415 else None  # noqa: E731
        medium.session.send(Outgoing(kind, body, on_end=refused))

    # Hearing something.

    def _begins(self, session: Session, incoming: Incoming) -> None:
        incoming.collect(LARGEST, lambda body: self._whole(incoming, body))

    def _whole(self, incoming: Incoming, body: bytes) -> None:
        try:
            self._take(incoming, body)
        except PeerError as error:
            status = error.status if error.status in _REFUSALS else 400
            incoming.refuse(status, error.why[:60])

    def _take(self, incoming: Incoming, body: bytes) -> None:
        means = self._means
        found = read_content(incoming.content_type, body, means.accept, self._peer, self._verified)
        to = self._to
        if self.author is not None:
            found, to = self.author(found)
        if found.reports:
            means.inbox.reported(found)
            return
        if found.typing is not None:
            self._typists.heard(found.sender, found.typing)
            return
        name = name_of(found)
        if means.seen.has(name):
            return
        if self.arrivals.full:
            raise PeerError("the inbox is full", 413)
        taken = Taken(found, found.sent_at, self._report, partial(self._reply, to))
        means.seen.add(name)
        means.phone.endpoint.later(taken.delivered)
        self._typists.said(found.sender)
        self.arrivals.put(taken.message)

    def take_before(self, found: Received) -> Taken:
        """Take a message that has come with the invitation; it is for the caller to show it."""
        self._means.seen.add(name_of(found))
        taken = Taken(found, found.sent_at, self._report, self._answer)
        self._means.phone.endpoint.later(taken.delivered)
        return taken

    def _answer(self, sender: str, text: str, **named: Any) -> Deferred[Sent]:
        """Answer in this session, or by a MESSAGE where there is none."""
        if self.open:
            return self._reply(self._to, sender, text, **named)
        return self._means.inbox.reply(sender, text, **named)

    def _report(self, found: Received, kind: str, status: str) -> Deferred[bool]:
        """Report on a message in this session, or by a MESSAGE when it is over."""
        medium = self.medium
        accepts = self._accepts
        if medium is None or not medium.open or not accepts.takes(CPIM_TYPE):
            return self._means.reporter.report(found, kind, status)
        if not accepts.takes_wrapped(imdn.MEDIA_TYPE):
            return self._means.reporter.report(found, kind, status)
        report = self._means.reporter.written(found, kind, status)
        if report is None:
            return succeed(False)
        medium.session.send(Outgoing(CPIM_TYPE, report.to_bytes(), failure_report=NO))
        return succeed(True)

    def _reply(self, to: tuple[str, ...], sender: str, text: str, **named: Any) -> Deferred[Sent]:
        content_type = named.pop("content_type", "text/plain;charset=utf-8")
        content = Content(text.encode(), content_type, named.pop("subject", ""))
        return self.send(content, named.pop("reports", ()), to)

    # The session is lost, and another takes its place; or it is over.

    def renew(self) -> None:
        """Another session is being agreed on: what is said until then waits for it."""
        self._renewing = True

    def renewed(self, medium: Medium) -> None:
        """Go on with another session; what has not arrived by the last one is sent again.

        Spec: RFC 4975 §5.4
        """
        self.medium = medium
        self._renewing = False
        self._posts.again(medium.session)

    def _closed(self, session: Session, why: str) -> None:
        medium = self.medium
        if medium is not None and medium.session is not session:
            return  # another session took its place
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.errback(Ended(481))
        self._typist.stop()
        self._typists.stop()
        if self.on_lost is not None:
            self.on_lost(why)

    def stop(self) -> None:
        """Nothing more is said: no more messages will come."""
        self.on_lost = None
        self._renewing = False
        self._posts.give_up()
        self._typist.stop()
        self._typists.stop()
        self.arrivals.close()


def talk_types(accept: tuple[str, ...]) -> tuple[str, ...]:
    """Return accept-types for talking: envelopes first, so that peers use them (RFC 4975 §13)."""
    types = tuple(
        "*" if kind == "*/*" else kind for kind in accept if kind not in (CPIM_TYPE, DEFERRED_TYPE)
    )
    return (CPIM_TYPE, *types) if CPIM_TYPE in accept else types
