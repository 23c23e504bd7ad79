"""Reports on what came, to those who asked for them.

Spec: RFC 5438 §7.2, §12.1
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.bodies import imdn
from omaim.bodies.cpim import Address, Cpim
from omaim.bodies.moments import write_moment
from omaim.client.composing import CPIM_TYPE, Content
from omaim.client.outbox import Outbox
from omaim.client.reading import Received
from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.message import Response

_log = Logger()


class Reporter:
    """Sends the reports of one client.

    Args:
        outbox: sends.
        recipient: whose dispositions are reported.
        ids: for Message-IDs.
        now: tells the time, seconds since the epoch.
    """

    def __init__(
        self, outbox: Outbox, recipient: Address, ids: Ids, now: Callable[[], float]
    ) -> None:
        self._outbox = outbox
        self._recipient = recipient
        self._ids = ids
        self._now = now

    def report(self, found: Received, kind: str, status: str) -> Deferred[bool]:
        """Report on a message if its sender asked for that; fires with whether it was told.

        Args:
            found: the message.
            kind: one of those of :mod:`omaim.bodies.imdn`.
            status: what became of it.
        """
        report = self.written(found, kind, status) if found.honest else None
        if report is None:
            return succeed(False)
        try:
            target = imdn.destination(report)
        except PeerError as error:
            _log.info("No report on a message: {why}", why=error.why)
            return succeed(False)
        sending = self._outbox.send(target, Content(report.to_bytes(), CPIM_TYPE))
        return sending.addCallbacks(_is_taken, _not_sent)

    def written(self, found: Received, kind: str, status: str) -> Cpim | None:
        """Return a report, to be sent somehow; ``None`` when its sender did not ask for it."""
        if found.envelope is None:
            return None
        try:
            return imdn.report(
                found.envelope,
                kind,
                status,
                self._ids.token(20),
                recipient=self._recipient,
                date_time=write_moment(self._now()),
            )
        except PeerError as error:
            _log.info("No report on a message: {why}", why=error.why)
            return None


def _is_taken(response: Response) -> bool:
    if response.status >= 300:
        _log.info("A report was refused: {status}", status=response.status)
    return response.status < 300


def _not_sent(failure: Failure) -> bool:
    _log.info("A report was not sent: {why}", why=failure.getErrorMessage())
    return False
