"""One endpoint without a network, for tests of which transaction a message belongs to."""

from __future__ import annotations

from omaim.ids import Ids
from omaim.sip.flow import Flow
from omaim.sip.matching import Transactions
from omaim.sip.message import Request, Response
from omaim.sip.parser import parse_datagram
from omaim.sip.timing import Timing
from omaim.sip.transaction import ClientTransaction, ServerTransaction
from omaim.sip.user import TransactionUser
from omaim.testing.machines import Timeline

BRANCH = "z9hG4bKone"


def udp(host: str = "192.0.2.2", port: int = 5060) -> Flow:
    return Flow("UDP", "192.0.2.1", 5060, host, port)


def tcp() -> Flow:
    return Flow("TCP", "192.0.2.1", 5060, "192.0.2.2", 40000)


def make(
    method: str = "MESSAGE",
    branch: str = BRANCH,
    *,
    sent_by: str = "a.example",
    to_tag: str = "",
    from_tag: str = "1",
    call_id: str = "c",
    number: int = 1,
    uri: str = "sip:bob@b.example",
    extra: tuple[tuple[str, str], ...] = (),
) -> Request:
    return Request.make(
        method,
        uri,
        [
            ("Via", f"SIP/2.0/UDP {sent_by}" + (f";branch={branch}" if branch else "")),
            ("Max-Forwards", "70"),
            ("From", f"<sip:alice@a.example>;tag={from_tag}"),
            ("To", "<sip:bob@b.example>" + (f";tag={to_tag}" if to_tag else "")),
            ("Call-ID", call_id),
            ("CSeq", f"{number} {method}"),
            *extra,
        ],
    )


class Side:
    """One endpoint without network: its transactions, and a list of everything that happened."""

    def __init__(self, *, maximum: int = 1000, user_agent: bool = False) -> None:
        self.time = Timeline()
        self.requests: list[ServerTransaction] = []
        self.acks: list[Request] = []
        self.cancelled: list[ServerTransaction] = []
        self.strays: list[Response] = []
        self.failures: list[tuple[ServerTransaction, str]] = []
        self.drops: list[str] = []
        self.responses: list[Response] = []
        self.ended: list[float] = []
        self.sent: list[tuple[Flow, bytes]] = []
        self.transactions = Transactions(
            Timing(),
            Ids(1),
            self.time.deadlines,
            lambda flow, data: self.sent.append((flow, data)),
            TransactionUser(
                self.requests.append,
                lambda request, flow: self.acks.append(request),
                lambda transaction, cancel: self.cancelled.append(transaction),
                lambda response, flow: self.strays.append(response),
                lambda transaction, why: self.failures.append((transaction, why)),
                lambda reason, message, flow: self.drops.append(reason),
            ),
            maximum,
            user_agent,
        )

    def receive(self, message: Request | Response, flow: Flow | None = None) -> None:
        self.transactions.receive(message, flow or udp(), self.time.now)

    def start(self, request: Request, flow: Flow | None = None) -> ClientTransaction:
        return self.transactions.start(
            request,
            flow or udp(),
            self.responses.append,
            lambda: self.ended.append(self.time.now),
            self.time.now,
        )

    def answer(self, status: int, tag: str = "t", which: int = -1) -> bool:
        transaction = self.requests[which]
        response = transaction.request.response(status, None, tag)
        return self.transactions.respond(transaction, response, self.time.now)

    def taken(self) -> list[str]:
        """Return and forget what was sent: methods, and statuses with the method they answer."""
        found = []
        for _, data in self.sent:
            message = parse_datagram(data)
            if isinstance(message, Request):
                found.append(message.method)
            elif message is not None:
                found.append(f"{message.status} {message.cseq.method}")
        self.sent.clear()
        return found

    def last(self) -> Request | Response:
        message = parse_datagram(self.sent[-1][1])
        assert message is not None
        return message

    def statuses(self) -> list[int]:
        return [response.status for response in self.responses]

    def counts(self) -> tuple[int, int]:
        return self.transactions.server_count, self.transactions.client_count
