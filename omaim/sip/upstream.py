"""Back to the sender: the answer to a request, with what its sender may know.

Spec: RFC 3261 §16.7; RFC 3325 §5; RFC 4320 §4; RFC 7315 §4.5
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast, final

from omaim.sip.flow import Flow
from omaim.sip.icid import Charging
from omaim.sip.identity import leave_domain, leave_trust_domain
from omaim.sip.job import Job
from omaim.sip.matching import Transactions
from omaim.sip.message import Response
from omaim.sip.neighbours import PEER
from omaim.sip.relaying import DIALOGS
from omaim.timers import Wakeup


@final
class Upstream:
    """Answers the requests on their way through the proxy.

    Args:
        transactions: answers go out by them.
        wakeup: to be kept then.
        now: returns the time that they live in.
        settled: returns the answer to what an application server passed on; it may be another
            one the first time.
        lags: tells whether much waits for the peer of a flow.
        count: counts one event.

    Attributes:
        pending: requests that wait for their final response.
    """

    __slots__ = (
        "_charging",
        "_count",
        "_lags",
        "_now",
        "_settled",
        "_transactions",
        "_wakeup",
        "pending",
    )

    def __init__(
        self,
        transactions: Transactions,
        wakeup: Wakeup,
        now: Callable[[], float],
        charging: Charging,
        settled: Callable[[Job, Response], Response],
        lags: Callable[[Flow], bool],
        count: Callable[[str], object],
    ) -> None:
        self.pending = 0
        self._transactions: Final = transactions
        self._wakeup: Final = wakeup
        self._now: Final = now
        self._charging: Final = charging
        self._settled: Final = settled
        self._lags: Final = lags
        self._count: Final = count

    def send(self, job: Job, response: Response) -> None:
        """Give the sender an answer, with what it may know; our Via is off already."""
        if job.transaction.invite and self._waits(job, response):
            self._count("repeat_waits")
            return
        if job.visit is not None and job.request.method == "MESSAGE":
            response = self._settled(job, response)
        vector = job.vector
        if vector is not None and job.request.method in DIALOGS and _begins_dialog(response):
            self._charging.remember(job.request, response, vector)
        neighbour = job.neighbour
        if neighbour is None:
            leave_trust_domain(response)
        else:
            self._charging.answer(response, vector, job.terminating)
            if neighbour.kind == PEER:
                leave_domain(response)
        if response.status >= 200:
            self.done(job)
        self._transactions.respond(job.transaction, response, self._now())
        self._wakeup.arm()

    def _waits(self, job: Job, response: Response) -> bool:
        """Tell whether a 2xx is the repeat of one that still waits for a peer who reads slowly."""
        transaction = job.transaction
        return (
            transaction.answered
            and response.to.tag == transaction.tag
            and self._lags(transaction.reply_to)
        )

    def answered(self, owner: object, response: Response) -> None:
        """Take the answer of a relay whose owner is a :class:`~omaim.sip.job.Job`."""
        self.send(cast(Job, owner), response)

    def silent(self, owner: object) -> None:
        """There will be no answer at all (RFC 4320 §4.2)."""
        self.done(cast(Job, owner))

    def done(self, job: Job) -> None:
        """The request waits for nothing any more."""
        if job.open:
            job.open = False
            self.pending -= 1
            relay = job.relay
            if relay is not None and not job.transaction.invite:
                relay.close()
                job.relay = None  # no circle of references is left behind


def _begins_dialog(response: Response) -> bool:
    """Tell whether an answer begins a dialog, an early one among them (RFC 3261 §12.1)."""
    return 100 < response.status < 300 and bool(response.to.tag)
