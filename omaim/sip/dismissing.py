"""Answers to those who have proved nothing: within what they may cost, and nothing is kept.

Spec: RFC 3261 §26.3.2.4, §8.2.7
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.errors import PeerError
from omaim.sip.admission import Admission
from omaim.sip.authenticating import Challenge
from omaim.sip.hop import stateless_tag
from omaim.sip.matching import Transactions
from omaim.sip.proxying import refusal
from omaim.sip.transaction import ServerTransaction
from omaim.timers import Wakeup


@final
class Dismissing:
    """Turns strangers away.

    Nothing is repeated to somebody whose address may be forged.

    Args:
        admission: what strangers may cost.
        transactions: answers go out by them.
        wakeup: to be kept then.
        now: returns the time that they live in.
    """

    __slots__ = ("_admission", "_now", "_transactions", "_wakeup")

    def __init__(
        self,
        admission: Admission,
        transactions: Transactions,
        wakeup: Wakeup,
        now: Callable[[], float],
    ) -> None:
        self._admission: Final = admission
        self._transactions: Final = transactions
        self._wakeup: Final = wakeup
        self._now: Final = now

    def challenge(self, transaction: ServerTransaction, challenge: Challenge) -> None:
        """Ask for proof."""
        response = None
        if self._admission.may_answer(transaction.flow):
            tag = stateless_tag(transaction.key)
            response = transaction.request.response(challenge.status, None, tag)
            response.add_all(challenge.headers)
        self._transactions.dismiss(transaction, response, self._now())
        self._wakeup.arm()

    def refuse(self, transaction: ServerTransaction, error: PeerError) -> None:
        """Answer with an error."""
        response = None
        if self._admission.may_answer(transaction.flow):
            response = refusal(transaction.request, error, stateless_tag(transaction.key))
        self._transactions.dismiss(transaction, response, self._now())
        self._wakeup.arm()
