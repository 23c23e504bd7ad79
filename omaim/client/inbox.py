"""What comes in: answer it, take it once, report on it, hand it on.

Spec: RFC 3428 §7; RFC 5438 §7.2; OMA SIMPLE IM 1.0 (receiving)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Final

from twisted.internet.defer import Deferred

from omaim.bodies.deferred_list import Waiting
from omaim.bodies.iscomposing import ACTIVE
from omaim.client.arrivals import Arrivals, Closed
from omaim.client.handing import hand
from omaim.client.messages import Message, Report, Sent, Typing
from omaim.client.reading import NotTaken, Received, read, sent_at
from omaim.client.seen import Name, Seen
from omaim.client.taken import Taken, group_of, name_of
from omaim.errors import PeerError
from omaim.roles.incoming import Incoming
from omaim.sip.message import Request, Response
from omaim.sip.uri import canonical_aor

REMEMBERED: Final = 10_000  # messages of ours on which reports are taken


class Inbox:
    """Takes the messages of one client.

    Args:
        accept: media types that are taken.
        trusts: tells whether what a request asserts is to be believed.
        is_own: tells whether a canonical address is our user's.
        report: sends a report if it was asked for; gets the message, kind and status.
        reply: sends a message; for :meth:`omaim.client.messages.Message.reply`.
        later: calls a function in the next turn.
        seen: the messages that came before.

    Attributes:
        on_report: gets each report on a message of ours.
        on_typing: gets told who writes to us.
        on_waiting: gets the list of what waits at the server, when the server sends it.
        reply: as given.
        refusing: a status to answer every message with, 0 for none; as a full phone would.
    """

    def __init__(
        self,
        accept: tuple[str, ...],
        trusts: Callable[[Incoming], bool],
        is_own: Callable[[str], bool],
        report: Callable[[Received, str, str], Deferred[bool]],
        reply: Callable[..., Deferred[Sent]],
        later: Callable[..., object],
        seen: Seen,
    ) -> None:
        self._accept = accept
        self._trusts = trusts
        self._is_own = is_own
        self._report = report
        self.reply = reply
        self._later = later
        self._seen = seen
        self._sent: OrderedDict[str, Sent] = OrderedDict()
        self._services: dict[str, Callable[[Request, Received], object]] = {}
        self._arrivals: Arrivals[Message] = Arrivals()
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

    @property
    def on_message(self) -> Callable[[Message], object] | None:
        """Gets each message, instead of :meth:`messages`; may be a coroutine."""
        return self._arrivals.act

    @on_message.setter
    def on_message(self, act: Callable[[Message], object] | None) -> None:
        self._arrivals.on(act)

    @property
    def full(self) -> bool:
        """There is no room for another message."""
        return self._arrivals.full

    def next(self) -> Deferred[Message]:
        """Return the next message, when there is one; fails with :class:`Closed` at the end."""
        return self._arrivals.next()

    def messages(self) -> AsyncIterator[Message]:
        """Yield each message, until the client is closed."""
        return aiter(self._arrivals)

    def close(self) -> None:
        """No more messages and reports will come."""
        for sent in self._sent.values():
            sent.end()
        self._arrivals.close()

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
            self.reported(found)
        elif found.typing is not None:
            hand(self.on_typing, Typing(found.sender, found.typing.state == ACTIVE))
        elif found.waiting is not None:
            hand(self.on_waiting, found.waiting)
        else:
            if not self.deliver(found, _name(request, found), sent_at(request, found)):
                raise PeerError("the inbox is full", 480)
        return incoming.response(200)

    def _service(self, request: Request) -> Callable[[Request, Received], object] | None:
        asserted = request.addresses("P-Asserted-Identity") if self._services else []
        return self._services.get(canonical_aor(asserted[0].uri_text)) if asserted else None

    def deliver(self, found: Received, name: Name | None, moment: float) -> bool:
        """Take a message, however it came; tell whether there was room for it.

        A message that is known already is not shown again, and there is always room for that.

        Args:
            found: what it says.
            name: what tells it from any other; ``None`` shows it in any case.
            moment: when it was sent.
        """
        if self._seen.has(name):
            return True
        if self._arrivals.full:
            return False
        group = group_of(found, self._is_own)
        taken = Taken(found, moment, self._report, self.reply, group)
        self._seen.add(name)
        # After the answer to the message itself, which goes out when the caller returns.
        self._later(taken.delivered)
        self._arrivals.put(taken.message)
        return True

    def put(self, message: Message) -> None:
        """Show a message that was taken, and reported on, elsewhere."""
        self._arrivals.put(message)

    def reported(self, found: Received) -> None:
        """Take the reports in a message, on messages of ours."""
        for one in found.reports:
            recipient = one.recipient_uri or found.sender
            report = Report(one.message_id, recipient, one.kind, one.status)
            sent = self._sent.get(one.message_id)
            if sent is not None:
                sent.take(report)
            hand(self.on_report, report)


def _name(request: Request, found: Received) -> Name | None:
    """Return what tells a message apart: its author and Message-ID, if it has one.

    Without, a repeat has the Call-ID, the Date and the content of the first; ``None`` if there
    is no Date, as some people's devices send all they say with one Call-ID.
    """
    name = name_of(found)
    if name is not None:
        return name
    date = request.first("Date")
    if not date:
        return None
    return found.sender, request.call_id, date, sha256(request.body).hexdigest()


__all__ = ["REMEMBERED", "Closed", "Inbox"]
