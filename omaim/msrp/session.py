"""One end of an MSRP session: what its user sends and gets.

Spec: RFC 4975 §5.4, §7; RFC 7701 §7
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.errors import PeerError, UsageError
from omaim.msrp.accepting import Accepting
from omaim.msrp.frame import ByteRange, Head, Report, Status, write_response
from omaim.msrp.incoming import Inbox, Incoming
from omaim.msrp.means import Means
from omaim.msrp.nickname import write_nickname
from omaim.msrp.outgoing import GONE, Outbox, Outgoing, wants_reports
from omaim.msrp.sending import Turns
from omaim.msrp.uri import MsrpUri, write_path

CLAIMS: Final = 8  # connections that may wait until it is known whose session it is

RESERVED: Final = "reserved"  # has a URI, and nobody to talk to
WAITING: Final = "waiting"  # for its connection, or for the peer's first request on one
OPEN: Final = "open"
CLOSED: Final = "closed"

LATER: Final = 0  # instead of the answer to a NICKNAME: it is not known yet
_ASKED: Final = 16  # NICKNAMEs of one session that wait for their answers


def _ignore(session: Session) -> None:
    """Take it without reaction."""


def _ignore_report(session: Session, report: Report) -> None:
    """Take a report without reaction."""


def _ignore_end(session: Session, why: str) -> None:
    """Take an end without reaction."""


def _no_nicknames(session: Session, nickname: str) -> int:
    """Answer as one who does not know the method."""
    return 501


@final
class SessionUser:
    """Who uses a session: one function for each thing that happens.

    Args:
        on_message: a message begins; see :class:`Incoming` for what to do with it.
        on_open: the session has its connection.
        on_report: a report about a message that has no ``on_report`` of its own; its
            Message-ID is "" when it is a refusal of a shared copy that nobody kept a record of.
        on_nickname: the peer wants to be called so, "" for no more; returns the status to
            answer: 200, 403, 424, 425 (RFC 7701 §7.1); or :data:`LATER`, and then
            :meth:`Session.answer_nickname` answers.
        on_drained: nothing waits to be sent any more, after something had.
        on_closed: the session is over, for this reason; called once, also after
            :meth:`Session.close`. "" when it was closed here without a reason.
    """

    __slots__ = ("on_closed", "on_drained", "on_message", "on_nickname", "on_open", "on_report")

    def __init__(
        self,
        on_message: Callable[[Session, Incoming], object],
        on_open: Callable[[Session], object] = _ignore,
        on_report: Callable[[Session, Report], object] = _ignore_report,
        on_nickname: Callable[[Session, str], int] = _no_nicknames,
        on_drained: Callable[[Session], object] = _ignore,
        on_closed: Callable[[Session, str], object] = _ignore_end,
    ) -> None:
        self.on_message: Final = on_message
        self.on_open: Final = on_open
        self.on_report: Final = on_report
        self.on_nickname: Final = on_nickname
        self.on_drained: Final = on_drained
        self.on_closed: Final = on_closed


@final
class Session:
    """One end of a session.

    Args:
        means: of the endpoint.
        uri: that the peer reaches us by; nobody can guess it.
        user: is told what happens.
        accepting: what was declared in our SDP: other messages are refused without asking the
            user (415, 413). ``None`` refuses nothing.
        on_over: told at the end, before the user.

    Attributes:
        state: ``RESERVED``, ``WAITING``, ``OPEN`` or ``CLOSED``.
        path: what our SDP says in ``a=path``: relays first, ``uri`` last.
        remote_path: what the peer's SDP says; empty until known.
        relays: our own relays, in the order for To-Path (RFC 4976 §5.1).
        fingerprints: what the peer's TLS certificate must be, as in ``a=fingerprint``.
        heir: gets what has not been sent when the session ends; ``None``: it is lost.
        vouched: who the peer is, and which certificate it has, is as well known as it will be.
        mutual: who connects has to prove by a certificate that it is the host of the remote path.
    """

    __slots__ = (
        "_asked",
        "_claims",
        "_full",
        "_inbox",
        "_means",
        "_on_leave",
        "_on_over",
        "_on_pause",
        "_on_vouched",
        "_outbox",
        "_paused",
        "_turns",
        "_unread",
        "_wishes",
        "fingerprints",
        "heir",
        "mutual",
        "path",
        "relays",
        "remote_path",
        "state",
        "uri",
        "user",
        "vouched",
    )

    def __init__(
        self,
        means: Means,
        uri: MsrpUri,
        user: SessionUser,
        accepting: Accepting | None = None,
        on_over: Callable[[Session], object] = _ignore,
    ) -> None:
        self.uri: Final = uri
        self.user = user
        self.state = RESERVED
        self.path: tuple[MsrpUri, ...] = (uri,)
        self.remote_path: tuple[MsrpUri, ...] = ()
        self.relays: tuple[MsrpUri, ...] = ()
        self.fingerprints: tuple[str, ...] = ()
        self.heir: Outbox | None = None
        self.vouched = True
        self.mutual = False
        self._means = means
        own = str(uri).encode("ascii")
        self._inbox = Inbox(means, own, self._begins, self._fill, accepting)
        self._outbox = Outbox(means, self.lost, self._drained)
        self._turns: Turns | None = None
        self._paused = False  # by its user
        self._full = False  # so many answers wait here
        self._unread = False  # for one of these reasons
        self._asked: list[Head] = []  # NICKNAMEs that wait for their answers
        self._wishes: list[_Wish] = []  # for nicknames, before the session is open
        self._on_over = on_over
        self._on_pause: Callable[[Session, bool], object] | None = None
        self._on_leave: Callable[[Session], object] | None = None
        self._on_vouched: list[Callable[[], object]] = []
        self._claims = CLAIMS

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self.state == CLOSED

    @property
    def pending(self) -> int:
        """Octets of our messages that wait because the peer does not take them."""
        return self._outbox.pending

    @property
    def burden(self) -> int:
        """Octets that messages that wait cost here: those of :attr:`pending`, and their heads.

        Look at this to decide whether a peer that does not read has to be waited for.
        """
        return self._outbox.burden

    @property
    def inbox(self) -> Inbox:
        """The receiving side; ``inbox.recent`` may go on into the session that replaces this."""
        return self._inbox

    @property
    def outbox(self) -> Outbox:
        """The sending side."""
        return self._outbox

    def send(self, outgoing: Outgoing) -> Outgoing:
        """Send a message; before the session is open it waits here. Return it.

        A message of at most 64 KiB leaves as a whole, so that such messages keep their order;
        larger and streamed ones take turns with others.

        Raises:
            UsageError: the session is closed, or the message cannot be sent; see
                :class:`Outgoing`.
        """
        if self.state == CLOSED:
            raise UsageError("this session is closed")
        self._outbox.send(outgoing)
        return outgoing

    def nickname(self, name: str, on_answer: Callable[[int], object]) -> None:
        """Ask for a nickname, or with "" for none any more; before the session is open it waits.

        Args:
            on_answer: gets 200, 403, 424, 425, 501, or 408 when none came, 481 when the session
                ended first.

        Raises:
            UsageError: the session is closed, or no nickname is written so.

        Spec: RFC 7701 §7.1, §7.2, §7.3
        """
        field = b"Use-Nickname: %b\r\n" % write_nickname(name)
        wish = _Wish(field, on_answer)
        if self.state == CLOSED:
            raise UsageError("this session is closed")
        if self._turns is None:
            self._wishes.append(wish)
        else:
            self.request(b"NICKNAME", wish.field, wish.take)

    def nickname_asked(self, head: Head, name: str) -> int:
        """The peer wants to be called so; return what to answer now, or :data:`LATER`."""
        if len(self._asked) >= _ASKED:
            return 403
        self._asked.append(head)
        status = self.user.on_nickname(self, name)
        if status != LATER:
            self._asked.pop()
        return status

    def answer_nickname(self, status: int) -> None:
        """Answer the oldest NICKNAME for which ``on_nickname`` returned :data:`LATER`.

        Nothing happens if there is none, or when the session is over.
        """
        turns = self._turns
        if self._asked and turns is not None:
            head = self._asked.pop(0)
            own = head.to_path.split(b" ", 1)[0]
            turns.control(write_response(head.transaction, status, "", head.from_path, own))

    def request(
        self,
        method: bytes,
        fields: bytes,
        on_answer: Callable[[int, Head | None], object],
    ) -> None:
        """Send a request of another method than SEND and REPORT, without a body.

        Args:
            fields: beside the paths, each with its line end.
            on_answer: gets the status, and the response's head unless there was none (408,
                481).

        Raises:
            UsageError: the session is not open.
        """
        turns = self._turns
        if turns is None:
            raise UsageError("this session is not open")
        transaction = self._means.transaction()
        paths = self._outbox.paths
        data = b"MSRP %b %b\r\n%b%b-------%b$\r\n" % (
            transaction,
            method,
            paths,
            fields,
            transaction,
        )
        self._outbox.frames += 1
        turns.request(transaction, data, on_answer)

    def pause(self) -> None:
        """Read nothing more for now, so that the peer has to wait.

        Sessions that share the connection wait as well.
        """
        self._paused = True
        self._read_or_not()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        self._read_or_not()

    def _fill(self, full: bool) -> None:
        """Too many answers wait for something of ours, or no more."""
        self._full = full
        self._read_or_not()

    def _read_or_not(self) -> None:
        unread = self._paused or self._full
        if unread != self._unread:
            self._unread = unread
            if self._on_pause is not None:
                self._on_pause(self, unread)

    def close(self, why: str = "") -> None:
        """End the session here; the connection remains. The peer learns it by SIP, or by 481.

        What is not finished ends: outgoing messages with 481, incoming ones as incomplete.
        """
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self._on_over(self)
        if self.heir is not None:
            self.heir.take_over(self._outbox)
        self._outbox.close()
        self._turns = None
        leave, self._on_leave, self._on_pause = self._on_leave, None, None
        if leave is not None:
            leave(self)
        self._inbox.close()
        wishes, self._wishes = self._wishes, []
        for wish in wishes:
            wish.take(GONE, None)
        if self._on_vouched:
            self.vouch(True)  # what waits is for nobody, and keeps others waiting
        self.user.on_closed(self, why)

    def lost(self, why: str) -> None:
        """The peer or the connection is gone."""
        if self.state != CLOSED:
            self._means.count("sessions_lost")
            self.close(why or "the connection ended")

    def lead_to(self, remote_path: tuple[MsrpUri, ...]) -> None:
        """Take the peer's path, from its SDP or its first request.

        Spec: RFC 4975 §7.1, §8.2; RFC 4976 §5.1
        """
        self.remote_path = remote_path
        to = write_path(self.relays + remote_path)
        self._outbox.paths = f"To-Path: {to}\r\nFrom-Path: {self.uri}\r\n".encode("ascii")
        if self.state == RESERVED:
            self.state = WAITING

    def open(
        self,
        turns: Turns,
        on_pause: Callable[[Session, bool], object],
        on_leave: Callable[[Session], object],
        active: bool,
    ) -> None:
        """The session has its connection.

        Args:
            on_pause: called when reading shall stop or go on.
            on_leave: called when the session needs the connection no more.
            active: we have to send something at once (§5.4).
        """
        self._on_pause = on_pause
        self._on_leave = on_leave
        self._turns = self._inbox.turns = turns
        self.state = OPEN
        if self._unread:
            on_pause(self, True)
        self.user.on_open(self)
        if self.closed:
            return  # by its user
        self._outbox.open(turns)
        if active and not self._outbox.frames:
            self.send(Outgoing(on_end=self._first_answered))
        wishes, self._wishes = self._wishes, []
        for wish in wishes:
            if self._turns is not None:
                self.request(b"NICKNAME", wish.field, wish.take)

    def vouch(self, known: bool) -> None:
        """The peer's path and certificate are known, or not; requests may be waiting for it."""
        self.vouched = known
        if known:
            waiting, self._on_vouched = self._on_vouched, []
            _call_all(waiting)

    def wait_for_voucher(self, act: Callable[[], object]) -> bool:
        """Call ``act`` when :meth:`vouch` has been called; False when too many wait for that."""
        if len(self._on_vouched) >= self._claims:
            return False
        self._on_vouched.append(act)
        return True

    def refuse_claims(self) -> None:
        """Let nobody wait any longer until the peer is known: others wait for that as well."""
        self._claims = 0
        waiting, self._on_vouched = self._on_vouched, []
        _call_all(waiting)

    def is_peer(self, path: tuple[MsrpUri, ...]) -> bool:
        """Tell whether a From-Path is that of the peer, as far as is known who that is.

        The session-id alone counts: a border element may have put itself into the SDP.
        """
        known = self.remote_path
        return not known or known[-1].session == path[-1].session

    def reported(self, head: Head) -> None:
        """A REPORT has come.

        Raises:
            PeerError: it is not as it has to be. Nobody answers a REPORT.

        Spec: RFC 4975 §7.3.2
        """
        fields = head.fields
        message_id = fields.get(b"Message-ID")
        field = fields.get(b"Status")
        if message_id is None or field is None:
            raise PeerError("a REPORT lacks Message-ID or Status")
        status = Status.parse(field)
        if status.namespace != "000":
            return
        field = fields.get(b"Byte-Range")
        span = None if field is None else ByteRange.parse(field)
        name = message_id.decode("ascii", "replace")
        report = Report(name, status.code, status.comment, span)
        outgoing = self._outbox.find(name)
        if outgoing is not None and wants_reports(outgoing):
            if span is not None and span.start == 1 and span.end == outgoing.size:
                self._outbox.forget(name)
            outgoing.on_report(report)
        else:
            self.user.on_report(self, report)
        if status.code != 200:
            turns = self._turns
            if outgoing is not None and turns is not None:
                turns.fail(outgoing, status.code)
            if status.code in (481, 506):
                self.lost(f"the peer reported {status.code}")

    def refused(self, status: int, comment: str) -> None:
        """A request of ours that nobody kept a record of was refused."""
        self.user.on_report(self, Report("", status, comment))
        if status in (481, 506):
            self.lost(f"the peer answered {status}")

    def _first_answered(self, status: int) -> None:
        """The request that only shows whose connection it is got an answer, or none."""
        if status == 408:
            self.lost("the peer does not answer")

    def _begins(self, incoming: Incoming) -> None:
        self.user.on_message(self, incoming)

    def _drained(self) -> None:
        self.user.on_drained(self)

    def __repr__(self) -> str:
        return f"<Session {self.state} {self.uri.host}>"  # the session-id is a secret


@final
class _Wish:
    """A nickname that is asked for; passes on the status of the answer alone."""

    __slots__ = ("_act", "field")

    def __init__(self, field: bytes, act: Callable[[int], object]) -> None:
        self.field: Final = field
        self._act = act

    def take(self, status: int, head: Head | None) -> None:
        """Pass it on."""
        self._act(status)


def _call_all(acts: list[Callable[[], object]]) -> None:
    """Call one after the other, whatever one of them raises."""
    if acts:
        try:
            acts[0]()
        finally:
            _call_all(acts[1:])
