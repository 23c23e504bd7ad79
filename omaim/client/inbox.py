"""What comes in: answer it, take it once, report on it, hand it on.

Spec: RFC 3428 §7; RFC 5438 §7.2; OMA SIMPLE IM 1.0 (receiving)
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from hashlib import sha256
from typing import Final

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.bodies import imdn
from omaim.bodies.cpim import Cpim
from omaim.bodies.deferred_list import Waiting
from omaim.bodies.iscomposing import ACTIVE
from omaim.client.messages import Message, Report, Sent, Typing
from omaim.client.reading import NotTaken, Received, read, sent_at
from omaim.errors import PeerError
from omaim.roles.incoming import Incoming
from omaim.sip.message import Request, Response
from omaim.sip.uri import canonical_aor

REMEMBERED: Final = 10_000  # messages of which a repeat is recognised, and sent ones with reports
WAITING: Final = 1_000  # messages that nobody has fetched; more are refused, so that they wait

_Name = tuple[str, ...]  # what tells a message from any other

_log = Logger()


class Closed(Exception):
    """The client was closed; no more messages will come."""


class Inbox:
    """Takes the messages of one client.

    Args:
        accept: media types that are taken.
        trusts: tells whether what a request asserts is to be believed.
        report: sends a report if it was asked for; gets the message, kind and status.
        reply: sends a message; for :meth:`omaim.client.messages.Message.reply`.
        later: calls a function in the next turn.

    Attributes:
        on_message: gets each message, instead of :meth:`messages`; may be a coroutine.
        on_report: gets each report on a message of ours.
        on_typing: gets told who writes to us.
        on_waiting: gets the list of what waits at the server, when the server sends it.
        refusing: a status to answer every message with, 0 for none; as a full phone would.
    """

    def __init__(
        self,
        accept: tuple[str, ...],
        trusts: Callable[[Incoming], bool],
        report: Callable[[Received, str, str], Deferred[bool]],
        reply: Callable[..., Deferred[Sent]],
        later: Callable[..., object],
    ) -> None:
        self._accept = accept
        self._trusts = trusts
        self._report = report
        self._reply = reply
        self._later = later
        self._seen: OrderedDict[_Name, None] = OrderedDict()
        self._sent: OrderedDict[str, Sent] = OrderedDict()
        self._waiting: deque[Message] = deque()
        self._readers: deque[Deferred[Message]] = deque()
        self._closed = False
        self._services: dict[str, Callable[[Request, Received], object]] = {}
        self.on_message: Callable[[Message], object] | None = None
        self.on_report: Callable[[Report], object] | None = None
        self.on_typing: Callable[[Typing], object] | None = None
        self.on_waiting: Callable[[tuple[Waiting, ...]], object] | None = None
        self.refusing = 0

    def expect(self, sent: Sent) -> None:
        """Take reports on a message of ours from now on."""
        self._sent[sent.message_id] = sent
        if len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)

    def forget(self, sent: Sent) -> None:
        """Take no reports on a message of ours any more."""
        self._sent.pop(sent.message_id, None)

    def serve(self, sender: str, act: Callable[[Request, Received], object]) -> None:
        """Hand what a service sends to ``act``, which has asked for it; it is no message to us."""
        self._services[canonical_aor(sender)] = act

    # Fetching.

    def next(self) -> Deferred[Message]:
        """Return the next message, when there is one; fails with :class:`Closed` at the end."""
        if self._waiting:
            return succeed(self._waiting.popleft())
        if self._closed:
            return fail(Closed())
        reader: Deferred[Message] = Deferred(lambda one: self._readers.remove(one))
        self._readers.append(reader)
        return reader

    async def messages(self) -> AsyncIterator[Message]:
        """Yield each message, until the client is closed."""
        while True:
            try:
                message = await self.next()
            except Closed:
                return
            yield message

    def close(self) -> None:
        """No more messages and reports will come."""
        self._closed = True
        for sent in self._sent.values():
            sent.end()
        readers, self._readers = self._readers, deque()
        for reader in readers:
            reader.errback(Closed())

    # Taking.

    def receive(self, incoming: Incoming) -> Response:
        """Answer a MESSAGE.

        Raises:
            PeerError: it is not taken; carries the status.
        """
        if self.refusing:
            raise PeerError("not now", self.refusing)
        request, trusted = incoming.request, self._trusts(incoming)
        service = self._service(request) if trusted else None
        if service is not None:
            service(request, read(request, ("*/*",)))
            return incoming.response(200)
        try:
            found = read(request, self._accept, trusted=trusted)
        except NotTaken:
            return incoming.response(415, [("Accept", ", ".join(self._accept))])
        if found.reports:
            self._reported(found)
        elif found.typing is not None:
            self._hand(self.on_typing, Typing(found.sender, found.typing.state == ACTIVE))
        elif found.waiting is not None:
            self._hand(self.on_waiting, found.waiting)
        else:
            name = _name(request, found)
            if self._is_new(name):
                if self.on_message is None and len(self._waiting) >= WAITING:
                    raise PeerError("the inbox is full", 480)
                self._take(found, name, sent_at(request, found))
        return incoming.response(200)

    def _service(self, request: Request) -> Callable[[Request, Received], object] | None:
        asserted = request.addresses("P-Asserted-Identity") if self._services else []
        return self._services.get(canonical_aor(asserted[0].uri_text)) if asserted else None

    def _is_new(self, name: _Name | None) -> bool:
        """Tell whether a message is not one that is known.

        Whoever delivers may do it twice: after a restart, or when our answer was lost.
        """
        if name is None or name not in self._seen:
            return True
        self._seen.move_to_end(name)
        return False

    def _remember(self, name: _Name | None) -> None:
        if name is not None:
            self._seen[name] = None
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)

    def _take(self, found: Received, name: _Name | None, moment: float) -> None:
        reported: Deferred[bool] = Deferred()
        message = self._message(found, moment, reported)
        self._remember(name)
        # After the answer to the message itself, which goes out when this returns.
        self._later(self._delivered, found, reported)
        if self.on_message is not None:
            self._hand(self.on_message, message)
        elif self._readers:
            self._readers.popleft().callback(message)
        else:
            self._waiting.append(message)

    def _delivered(self, found: Received, reported: Deferred[bool]) -> None:
        self._report(found, imdn.DELIVERY, "delivered").chainDeferred(reported)

    def _message(self, found: Received, moment: float, reported: Deferred[bool]) -> Message:
        envelope, part = found.envelope, found.part
        told: list[bool] = []

        def read_it() -> Deferred[bool]:
            if told:
                return succeed(False)
            told.append(True)
            outcome: Deferred[bool] = Deferred()
            reported.addCallback(lambda _: self._displayed(found, outcome))
            return outcome

        return Message(
            sender=found.sender,
            verified=found.verified,
            name=found.name,
            text=part.text() if part.media_type.startswith("text/") else "",
            content_type=part.media_type,
            body=part.decoded(),
            to=_recipients(envelope),
            others=found.others,
            subject=envelope.subject() if envelope is not None else "",
            sent_at=moment,
            message_id=envelope.message_id if envelope is not None else "",
            read=read_it,
            reply=self._reply,
        )

    def _displayed(self, found: Received, outcome: Deferred[bool]) -> None:
        self._report(found, imdn.DISPLAY, "displayed").chainDeferred(outcome)

    def _reported(self, found: Received) -> None:
        for one in found.reports:
            recipient = one.recipient_uri or found.sender
            report = Report(one.message_id, recipient, one.kind, one.status)
            sent = self._sent.get(one.message_id)
            if sent is not None:
                sent.take(report)
            self._hand(self.on_report, report)

    def _hand(self, act: Callable[..., object] | None, what: object) -> None:
        """Give something to the user's function; what goes wrong there is logged."""
        if act is None:
            return
        maybeDeferred(_call, act, what).addErrback(_broken)


def _name(request: Request, found: Received) -> _Name | None:
    """Return what tells a message apart: its author and Message-ID, if it has one.

    Without, a repeat has the Call-ID, the Date and the content of the first; ``None`` if there
    is no Date, as some people's devices send all they say with one Call-ID.
    """
    envelope = found.envelope
    if envelope is not None and envelope.message_id:
        return canonical_aor(found.sender), envelope.message_id
    date = request.first("Date")
    if not date:
        return None
    return found.sender, request.call_id, date, sha256(request.body).hexdigest()


def _call(act: Callable[..., object], what: object) -> object:
    result = act(what)
    return Deferred.fromCoroutine(result) if isinstance(result, Coroutine) else result


def _recipients(envelope: Cpim | None) -> tuple[str, ...]:
    return () if envelope is None else tuple(one.uri for one in envelope.to)


def _broken(failure: Failure) -> None:
    _log.failure("A function that takes messages failed", failure)
