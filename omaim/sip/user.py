"""Who uses the transactions: the functions that hear of everything new.

Spec: RFC 3261 §5 (transaction user)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from omaim.sip.flow import Flow
from omaim.sip.message import Request, Response
from omaim.sip.transaction import ServerTransaction


def _ignore_ack(request: Request, flow: Flow) -> None:
    """Take an ACK without reaction."""


def _ignore_cancel(transaction: ServerTransaction, cancel: Request) -> None:
    """Take a CANCEL without reaction: the INVITE is answered as if none had come."""


def _ignore_stray(response: Response, flow: Flow) -> None:
    """Discard a response nobody waits for, as RFC 6026 §7.3 wants of proxies."""


def _ignore_failure(transaction: ServerTransaction, why: str) -> None:
    """Take a failed answer without reaction."""


def _ignore_drop(reason: str, message: Request | Response, flow: Flow) -> None:
    """Take a discarded message without reaction."""


@final
class TransactionUser:
    """What the transactions call: one function for each thing that is new.

    Args:
        on_request: a new request; answer it with :meth:`Transactions.respond`, now or later.
        on_ack: an ACK for a 2xx, which is end to end business.
        on_cancel: the INVITE of this transaction is to be cancelled; CANCEL itself has been
            answered. A user agent answers 487, a proxy cancels its branches.
        on_stray_response: no transaction waits for this response; never forward it.
        on_failure: an answer to an INVITE was never acknowledged ("timeout"), or an answer
            could not be delivered ("transport").
        on_drop: a message was discarded, for this reason; for counting.
        on_crash: what takes a new request has raised; the exception is the current one. ``None``
            lets it go up.

    Spec: RFC 3261 §5 (transaction user)
    """

    __slots__ = (
        "on_ack",
        "on_cancel",
        "on_crash",
        "on_drop",
        "on_failure",
        "on_request",
        "on_stray_response",
    )

    def __init__(
        self,
        on_request: Callable[[ServerTransaction], object],
        on_ack: Callable[[Request, Flow], None] = _ignore_ack,
        on_cancel: Callable[[ServerTransaction, Request], None] = _ignore_cancel,
        on_stray_response: Callable[[Response, Flow], None] = _ignore_stray,
        on_failure: Callable[[ServerTransaction, str], None] = _ignore_failure,
        on_drop: Callable[[str, Request | Response, Flow], None] = _ignore_drop,
        on_crash: Callable[[ServerTransaction], None] | None = None,
    ) -> None:
        self.on_request = on_request
        self.on_ack = on_ack
        self.on_cancel = on_cancel
        self.on_stray_response = on_stray_response
        self.on_failure = on_failure
        self.on_drop = on_drop
        self.on_crash = on_crash
