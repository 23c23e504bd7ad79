"""Which transaction a message belongs to, and what the transaction then wants done.

One :class:`Transactions` serves all entities behind one endpoint. It answers repeats itself,
matches CANCEL, swallows the ACK of error responses, and hands up only what is new: to the
:class:`TransactionUser`, which decides.

Whoever calls it gives the time. Its machines wait on the :class:`~omaim.timers.Deadlines` it
was made with; after each call the caller looks when these are wanted next.

Spec: RFC 3261 §17.1.3, §17.2.3, §9, §8.2.2.2, §18.1.2; RFC 6026 §6
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.errors import UsageError
from omaim.ids import Ids
from omaim.sip.flow import Flow
from omaim.sip.hop import (
    ack_for,
    cancel_for,
    client_key,
    is_old,
    old_ack_key,
    server_key,
    stateless_tag,
)
from omaim.sip.message import RETRY_AFTER, Request, Response
from omaim.sip.parser import parse_datagram
from omaim.sip.timing import Timing
from omaim.sip.transaction import ClientTransaction, ServerTransaction
from omaim.sip.transitions import (
    ACKNOWLEDGE,
    BROKEN,
    COMPLETED,
    END,
    PASS,
    PROCEEDING,
    SEND,
    SEND_100,
    TIMED_OUT,
)
from omaim.sip.user import TransactionUser
from omaim.sip.waiting import Lane
from omaim.timers import NEVER, Deadlines

MAXIMUM: Final = 250_000  # transactions of each side; 30 s of the traffic that one core carries
# What a CANCEL may be about. Only an INVITE is cancelled, the others are just there (§9.2).
_CANCELLED: Final = ("INVITE", "MESSAGE", "REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "OPTIONS",
                     "INFO", "UPDATE", "BYE", "REFER", "PRACK")  # fmt: skip


def _ignore_response(response: Response) -> None:
    """Take a response without reaction."""


@final
class Transactions:
    """All transactions of one endpoint.

    Args:
        timing: the timers.
        ids: source of To tags.
        deadlines: where the machines wait.
        send: writes bytes to a flow and returns at once, whatever becomes of them. What could
            not be delivered comes back through :meth:`transport_error` or :meth:`undelivered`.
        user: gets all that is new.
        maximum: most transactions of each side, server and client. Beyond it new requests are
            refused with 503, without state, and ours fail with a local 503.
        user_agent: refuse merged requests (482) by itself. Not for a proxy, which may see one
            request on several ways; the user agents behind it call :meth:`claim`.

    Spec: RFC 3261 §17
    """

    __slots__ = (
        "_acks",
        "_act_client",
        "_act_server",
        "_claims",
        "_clients",
        "_copies",
        "_deadlines",
        "_ids",
        "_lane_100",
        "_lane_b",
        "_lane_e",
        "_lane_j",
        "_lane_k",
        "_lane_late",
        "_maximum",
        "_send",
        "_servers",
        "_timing",
        "_user_agent",
        "_waiting",
        "user",
    )

    def __init__(
        self,
        timing: Timing,
        ids: Ids,
        deadlines: Deadlines,
        send: Callable[[Flow, bytes], None],
        user: TransactionUser,
        maximum: int = MAXIMUM,
        user_agent: bool = False,
    ) -> None:
        self.user = user
        self._timing = timing
        self._ids = ids
        self._deadlines = deadlines
        self._send = send
        self._maximum = maximum
        self._user_agent = user_agent
        self._servers: dict[str, ServerTransaction] = {}
        self._clients: dict[str, ClientTransaction] = {}
        self._acks: dict[str, ServerTransaction] = {}  # of INVITEs from before RFC 3261
        self._claims: dict[str, ServerTransaction] = {}
        self._copies: dict[str, list[ServerTransaction]] = {}  # wait for the answer to a claim
        # Who loses what when a connection breaks; datagrams break none.
        self._waiting: dict[Flow, dict[str, ClientTransaction]] = {}
        # One lane for each common wait; the other waits are few and go to the heap.
        self._lane_100 = Lane(deadlines)
        self._lane_late = Lane(deadlines)
        self._lane_j = Lane(deadlines)
        self._lane_e = Lane(deadlines)
        self._lane_b = Lane(deadlines)
        self._lane_k = Lane(deadlines)
        self._act_server: Callable[[ServerTransaction, float], None] = self._woken_server
        self._act_client: Callable[[ClientTransaction, float], None] = self._woken_client

    @property
    def server_count(self) -> int:
        """How many server transactions live now."""
        return len(self._servers)

    @property
    def client_count(self) -> int:
        """How many client transactions live now."""
        return len(self._clients)

    # What comes in.

    def receive(
        self, message: Request | Response, flow: Flow, now: float, reply_to: Flow | None = None
    ) -> None:
        """Take a checked message from the wire; "received" and "rport" are in its Via already.

        Args:
            message: what came.
            flow: the path it came by.
            now: monotonic seconds.
            reply_to: the path for answers where it is another (RFC 3261 §18.2.2: a Via
                without rport whose port is not the one it came from).
        """
        if isinstance(message, Request):
            self._receive_request(message, flow, now, reply_to)
        else:
            self._receive_response(message, flow, now)

    def _receive_request(
        self, request: Request, flow: Flow, now: float, reply_to: Flow | None
    ) -> None:
        method = request.method
        if method == "ACK":
            self._receive_ack(request, flow, now)
            return
        key = server_key(request, method)
        transaction = self._servers.get(key)
        if transaction is not None:
            if not transaction.reply_to.open:
                transaction.reply_to = reply_to or flow  # the way it came first is gone
            transaction.repeated(now)
            if transaction.take() & SEND and transaction.wire:
                self._send(transaction.reply_to, transaction.wire)
            return
        if len(self._servers) >= self._maximum:
            self.user.on_drop("full", request, flow)
            self.refuse(request, reply_to or flow, 503)
            return
        transaction = ServerTransaction(request, flow, key, self._timing, now, self._act_server)
        if reply_to is not None:
            transaction.reply_to = reply_to
        if transaction.invite and is_old(key):
            transaction.ack_key = old_ack_key(request)
        self._servers[key] = transaction
        (self._lane_100 if transaction.invite else self._lane_late).put(transaction)
        if method == "CANCEL":
            self._receive_cancel(transaction, request, now)
        elif not self._user_agent or self.claim(transaction, now):
            self._hand_up(transaction)

    def _hand_up(self, transaction: ServerTransaction) -> None:
        user = self.user
        try:
            user.on_request(transaction)
        except Exception:
            if user.on_crash is None:
                raise
            user.on_crash(transaction)

    def _receive_ack(self, request: Request, flow: Flow, now: float) -> None:
        key = server_key(request, "INVITE")
        transaction = self._servers.get(key)
        if transaction is None and is_old(key):
            transaction = self._acks.get(old_ack_key(request) + request.to.tag)
        if transaction is None:
            if request.to.tag == stateless_tag(key):
                return  # it acknowledges a refusal that left no transaction
            self.user.on_ack(request, flow)
            return
        transaction.acknowledged(now)
        out = transaction.take()
        self._settle_server(transaction, out)
        if out & PASS:
            self.user.on_ack(request, flow)

    def _receive_cancel(self, transaction: ServerTransaction, cancel: Request, now: float) -> None:
        target = self._cancelled_by(cancel)
        if target is None or target.flow.remote_host != transaction.flow.remote_host:
            self.reply(transaction, 481, now)
            return
        # The answers to CANCEL and to what it cancels have one To tag (RFC 3261 §9.2).
        transaction.tag = self.tag_of(target)
        self.reply(transaction, 200, now)
        if target.invite and target.state == PROCEEDING:
            self.user.on_cancel(target, cancel)

    def _cancelled_by(self, cancel: Request) -> ServerTransaction | None:
        for method in _CANCELLED:
            target = self._servers.get(server_key(cancel, method))
            if target is not None:
                return target
        return None

    def _receive_response(self, response: Response, flow: Flow, now: float) -> None:
        method = response.cseq.method
        transaction = self._clients.get(client_key(response.via.branch, method))
        if transaction is None or transaction.method != method:
            self.user.on_stray_response(response, flow)
            return
        transaction.responded(response.status, now)
        out = transaction.take()
        if out:
            self._perform(transaction, out, response, now)

    # What goes out.

    def start(
        self,
        request: Request,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_end: Callable[[], None] | None,
        now: float,
    ) -> ClientTransaction:
        """Send a request and see to it that it is answered.

        Args:
            request: complete, our Via with a fresh branch on top; not to be changed from here.
            flow: the path to send it by.
            on_response: gets every provisional response, the final one, and each 2xx of an
                INVITE. A final response that never comes is replaced by a local one:
                408 after 64 × T1, 503 when the transport fails, 487 when nothing came after
                CANCEL. Never called before this method has returned, except by a ``send`` that
                calls back.
            on_end: called when the transaction is forgotten.
            now: monotonic seconds.

        Raises:
            UsageError: the branch is in use.
        """
        transaction = ClientTransaction(
            request, flow, self._timing, now, self._act_client, on_response, on_end
        )
        key = transaction.key
        clients = self._clients
        if key in clients:
            raise UsageError(f"give every request its own branch: {key} is in use")
        if len(clients) >= self._maximum or not flow.open:
            transaction.give_up(now)
            self._deadlines.arm(transaction)
            return transaction
        clients[key] = transaction
        if flow.reliable:
            waiting = self._waiting.get(flow)
            if waiting is None:
                waiting = self._waiting[flow] = {}
            waiting[key] = transaction
        data = request.to_bytes()
        if flow.reliable:
            self._lane_b.put(transaction)
        else:
            self._lane_e.put(transaction)
            transaction.wire = data
        self._send(flow, data)
        return transaction

    def cancel(self, transaction: ClientTransaction, now: float) -> None:
        """Ask the peer to give up an INVITE: at once, or as soon as it has answered 1xx.

        Nothing happens when the final response is there, or for other methods.

        Spec: RFC 3261 §9.1
        """
        if transaction.invite and not transaction.answered and not transaction.cancelled:
            transaction.cancelling = True
            if transaction.state == PROCEEDING:
                self._send_cancel(transaction, now)

    def give_up(self, transaction: ClientTransaction) -> None:
        """Repeat a request no more, and forget it: whatever is answered is a stray response."""
        if not transaction.answered:
            transaction.leave()
            transaction.deadline = NEVER
            transaction.on_response = _ignore_response
            self._forget_client(transaction)

    def respond(self, transaction: ServerTransaction, response: Response, now: float) -> bool:
        """Answer a request.

        Returns:
            Whether the response was sent: not when the transaction has its final response
            already, is gone, or RFC 4320 forbids the response (a 408 or an early 100 to a
            request other than INVITE).
        """
        copies: list[ServerTransaction] = []
        if self._copies and response.status >= 200 and transaction.claim in self._copies:
            copies = self._copies.pop(transaction.claim)
        deadline = transaction.deadline
        transaction.respond(response.status, now)
        out = transaction.take()
        if transaction.deadline != deadline:
            self._settle_server(transaction, out)
        if not out & SEND:
            return False
        data = response.to_bytes()
        if transaction.invite:
            self._note_tag(transaction, response)
        # An accepted INVITE's repeats are swallowed; its user repeats the 2xx.
        transaction.wire = data if transaction.state <= COMPLETED else b""
        self._send(transaction.reply_to, data)
        for copy in copies:
            self._answer_alike(copy, data, now)
        return True

    def reply(
        self, transaction: ServerTransaction, status: int, now: float, reason: str | None = None
    ) -> bool:
        """Answer a request with a bare status; see :meth:`respond`."""
        if transaction.answered:
            return False
        tag = "" if status == 100 else self.tag_of(transaction)
        response = transaction.request.response(status, reason, tag)
        return self.respond(transaction, response, now)

    def tag_of(self, transaction: ServerTransaction) -> str:
        """Return the To tag for our answers to this request."""
        if not transaction.tag:
            transaction.tag = self._ids.tag()
        return transaction.tag

    def refuse(self, request: Request, flow: Flow, status: int, reason: str | None = None) -> None:
        """Answer without keeping anything; repeats get the same answer. An ACK gets none.

        Spec: RFC 3261 §8.2.7
        """
        if request.method == "ACK":
            return
        tag = stateless_tag(server_key(request, request.method))
        response = request.response(status, reason, tag)
        if status == 503:
            response.set("Retry-After", RETRY_AFTER)
        self._send(flow, response.to_bytes())

    def dismiss(
        self, transaction: ServerTransaction, response: Response | None, now: float
    ) -> None:
        """Answer, or stay silent, and keep nothing: a repeat comes up as a new request.

        Args:
            response: final, its To tag from :func:`~omaim.sip.hop.stateless_tag`, so that its
                ACK is known; ``None`` for silence.

        Spec: RFC 3261 §8.2.7, §26.3.2.4
        """
        if transaction.answered:
            return
        transaction.respond(500 if response is None else response.status, now)
        transaction.take()
        transaction.deadline = NEVER
        self._forget_server(transaction)
        if response is not None:
            self._send(transaction.reply_to, response.to_bytes())

    def claim(self, transaction: ServerTransaction, now: float) -> bool:
        """Make sure that a user agent sees a request once, though it came on several ways.

        Returns:
            True when this is the first; False when it is not: it is answered then, or will be
            together with the first.

        Spec: RFC 3261 §8.2.2.2

        Differs: a MESSAGE gets the answer of the first, and not 482. Its copies come from a
        proxy that turned to another server, or sent it again to one that had restarted: that
        proxy hears the answer to the copy only, and its sender would be told that a message
        failed which was delivered.
        """
        request = transaction.request
        if request.to.tag:
            return True
        cseq = request.cseq
        claim = f"{request.from_.tag}\n{request.call_id}\n{cseq.number} {cseq.method}"
        first = self._claims.get(claim)
        if first is None:
            self._claims[claim] = transaction
            transaction.claim = claim
        elif first is not transaction:
            if transaction.method != "MESSAGE":
                self.reply(transaction, 482, now)
            elif first.answered:
                self._answer_alike(transaction, first.wire, now)
            else:
                self._copies.setdefault(claim, []).append(transaction)
            return False
        return True

    def _answer_alike(self, copy: ServerTransaction, wire: bytes, now: float) -> None:
        """Answer a copy of a request as the first was."""
        response = parse_datagram(wire) if wire and not copy.answered else None
        if not isinstance(response, Response):
            return  # the first was met with silence, as RFC 4320 §4.2 has it: so is this
        request = copy.request
        response.set("Via", ", ".join(request.values("Via")))
        self.respond(copy, response, now)

    # What goes wrong.

    def transport_error(self, flow: Flow, now: float) -> None:
        """A flow broke, or the peer cannot be reached: fail what waits for an answer by it.

        Spec: RFC 3261 §17.1.4, §18.4
        """
        if flow.reliable:
            waiting = self._waiting.get(flow)
            lost = [] if waiting is None else list(waiting.values())
        else:
            lost = [client for client in self._clients.values() if _same_peer(client.flow, flow)]
        for transaction in lost:
            transaction.failed(now)
            out = transaction.take()
            if out:
                self._perform(transaction, out, None, now)

    def unreachable(self, peers: dict[tuple[str, int], None], now: float) -> None:
        """The network says that datagrams to these hosts and ports do not arrive.

        Differs: a request that can go nowhere else is not failed by the first such error, but
        repeated for some seconds: its server may be starting again. See
        :meth:`ClientTransaction.refused <omaim.sip.transaction.ClientTransaction.refused>`.

        Spec: RFC 3261 §17.1.4, §18.4
        """
        lost: list[ClientTransaction] = []
        for client in self._clients.values():
            flow = client.flow
            refused = not flow.reliable and (flow.remote_host, flow.remote_port) in peers
            if refused and client.refused(now):
                lost.append(client)
        for transaction in lost:
            transaction.failed(now)
            out = transaction.take()
            if out:
                self._perform(transaction, out, None, now)

    def undelivered(self, transaction: ServerTransaction, now: float) -> None:
        """No way was found to deliver an answer.

        Spec: RFC 3261 §17.2.4; RFC 6026 §7.1
        """
        transaction.failed(now)
        out = transaction.take()
        if out & END:
            self._forget_server(transaction)
        if out & BROKEN:
            self.user.on_failure(transaction, "transport")

    # What the machines want done.

    def _woken_server(self, transaction: ServerTransaction, now: float) -> None:
        out = transaction.take()
        if out & SEND_100:
            transaction.wire = transaction.request.response(100, None, "").to_bytes()
            self._send(transaction.reply_to, transaction.wire)
        elif out & SEND:
            self._send(transaction.reply_to, transaction.wire)
        self._settle_server(transaction, out)
        if out & (TIMED_OUT | BROKEN):
            self.user.on_failure(transaction, "timeout" if out & TIMED_OUT else "transport")

    def _woken_client(self, transaction: ClientTransaction, now: float) -> None:
        self._perform(transaction, transaction.take(), None, now)

    def _settle_server(self, transaction: ServerTransaction, out: int) -> None:
        """Let the machine wait where its state says, or forget it."""
        if out & END:
            self._forget_server(transaction)
        elif transaction.answered and not transaction.invite:
            transaction.wire = b""  # a 100 is repeated no more
            transaction.context = None
            self._lane_j.put(transaction)
        else:
            transaction.leave()
            self._deadlines.arm(transaction)

    def _perform(
        self, transaction: ClientTransaction, out: int, response: Response | None, now: float
    ) -> None:
        """Do what a client machine wants; the user's functions come last, all is settled then."""
        if out & SEND:
            self._send(transaction.flow, transaction.wire)
        if out & (TIMED_OUT | BROKEN):
            response = _local(transaction, out)
        elif out & ACKNOWLEDGE and response is not None:
            if not transaction.ack:
                transaction.ack = ack_for(transaction.request, response).to_bytes()
            self._send(transaction.flow, transaction.ack)
        on_response = transaction.on_response
        transaction.leave()
        if out & END:
            self._forget_client(transaction)
        elif transaction.answered:
            transaction.let_go()
            if transaction.invite:
                self._deadlines.arm(transaction)
            else:
                transaction.on_response = _ignore_response  # let go of all that hangs on it
                self._lane_k.put(transaction)
        else:
            self._deadlines.arm(transaction)
            if transaction.cancelling and not transaction.cancelled and out & PASS:
                self._send_cancel(transaction, now)
        if out & (PASS | TIMED_OUT | BROKEN) and response is not None:
            on_response(response)
        if out & END and transaction.on_end is not None:
            transaction.on_end()

    def _send_cancel(self, transaction: ClientTransaction, now: float) -> None:
        transaction.cancelled = True
        transaction.abandon(now)
        self._deadlines.arm(transaction)
        self.start(cancel_for(transaction.request), transaction.flow, _ignore_response, None, now)

    def _note_tag(self, transaction: ServerTransaction, response: Response) -> None:
        if response.status == 100:
            return
        tag = response.to.tag
        if tag:
            transaction.tag = tag
        if transaction.ack_key and transaction.state == COMPLETED:
            transaction.ack_key += tag
            self._acks[transaction.ack_key] = transaction

    def _forget_server(self, transaction: ServerTransaction) -> None:
        transaction.leave()
        transaction.wire = b""
        del self._servers[transaction.key]
        if transaction.claim:
            del self._claims[transaction.claim]
            if self._copies:
                self._copies.pop(transaction.claim, None)
        if transaction.ack_key:
            self._acks.pop(transaction.ack_key, None)

    def _forget_client(self, transaction: ClientTransaction) -> None:
        transaction.let_go()
        key = transaction.key
        if self._clients.get(key) is not transaction:
            return  # it was hopeless from the start
        del self._clients[key]
        flow = transaction.flow
        if flow.reliable:
            waiting = self._waiting[flow]
            del waiting[key]
            if not waiting:
                del self._waiting[flow]


def _local(transaction: ClientTransaction, out: int) -> Response:
    """Return the response that stands for the one that never came."""
    if out & BROKEN:
        status = 503
    else:
        status = 487 if transaction.cancelled else 408
    response = transaction.request.response(status)
    response.local = True
    return response


def _same_peer(one: Flow, other: Flow) -> bool:
    return one is other or (
        one.remote_host == other.remote_host
        and one.remote_port == other.remote_port
        and one.transport == other.transport
    )
