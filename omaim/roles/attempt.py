"""One INVITE of ours, and the ACK that each of its 2xx wants.

Spec: RFC 3261 §13.2.2.4
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from omaim.roles.description import Description
from omaim.sip.dialog import Dialog
from omaim.sip.exchange import Exchange
from omaim.sip.message import Request, Response

_CREDENTIALS: Final = ("Authorization", "Proxy-Authorization")


class Attempt:
    """One INVITE, inside or outside a dialog: its ACK, sent again with each repeat of the 2xx.

    Attributes:
        exchange: of the latest try; ``None`` before the first.
    """

    __slots__ = ("_ack", "_send", "exchange")

    def __init__(self) -> None:
        self._send: Callable[[Request], object] | None = None
        self._ack: Request | None = None
        self.exchange: Exchange | None = None

    def begun(self, exchange: Exchange) -> None:
        """Take note of the exchange of another try."""
        self.exchange = exchange

    def acknowledge(
        self,
        dialog: Dialog,
        response: Response,
        answer: Description,
        send: Callable[[Request], object],
    ) -> None:
        """Send the ACK for a 2xx, with the INVITE's credentials.

        Args:
            dialog: that the INVITE made or was sent in.
            response: the 2xx.
            answer: to the offer in the 2xx; empty for none.
            send: sends an ACK, now and later.
        """
        fields = self._credentials()
        if answer.body:
            fields.append(("Content-Type", answer.content_type))
        self._send = send
        self._ack = dialog.ack(response.cseq.number, fields, answer.body)
        send(self._ack.copy())

    def again(self, response: Response) -> None:
        """The 2xx came again: so goes its ACK."""
        if self._ack is not None and self._send is not None:
            self._send(self._ack.copy())

    def _credentials(self) -> list[tuple[str, str]]:
        if self.exchange is None:
            return []
        sent = self.exchange.request
        return [(name, value) for name in _CREDENTIALS for value in sent.all(name)]
