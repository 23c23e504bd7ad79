"""What the IM Server says has happened: kept in the outbox, then told to those who listen.

Spec: design of omaim.node.events
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs
from twisted.logger import Logger

from omaim.errors import PeerError, Unavailable
from omaim.node.events import MessageRecorded, ServiceEvent, to_json
from omaim.node.taps import Taps
from omaim.sip.charging import ChargingVector
from omaim.sip.identity import VECTOR
from omaim.stores.interfaces import IOutbox
from omaim.stores.records import ServiceEventRecord

_log = Logger()


def icid_of(headers: Iterable[tuple[str, str]]) -> str:
    """Return the charging identifier that stored header lines carry, "" without."""
    for name, value in headers:
        if name == VECTOR:
            try:
                return ChargingVector.parse(value).icid
            except PeerError:
                return ""
    return ""


@attrs.frozen
class Journal:
    """Writes service events of one entity.

    Args:
        recorded: called when the outbox has something for somebody's history.
    """

    entity: str
    outbox: IOutbox
    taps: Taps
    recorded: Callable[[], object]

    def records(self, events: Iterable[ServiceEvent], about: str) -> tuple[ServiceEventRecord, ...]:
        """Return the written form, to be committed with the fact."""
        found = []
        for event in events:
            kind, text = to_json(event)
            found.append(ServiceEventRecord(kind, event.at, text.encode(), about))
        return tuple(found)

    async def append(self, events: Sequence[ServiceEvent], about: str) -> None:
        """Make facts durable that no other commit carries, then tell them.

        A message that was delivered stays delivered when the outbox fails: that is logged.
        """
        await self.append_each([(event, about) for event in events])

    async def append_each(self, events: Sequence[tuple[ServiceEvent, str]]) -> None:
        """Make facts durable in one commit, each with what it is about, then tell them.

        See :meth:`append`.
        """
        records = [one for event, about in events for one in self.records([event], about)]
        try:
            await self.outbox.append(tuple(records))
        except Unavailable as error:
            _log.critical(
                "{entity}: events about {about} are lost: {why}",
                entity=self.entity,
                about=", ".join(dict.fromkeys(about for _, about in events)),
                why=str(error),
            )
        self.publish(event for event, _ in events)

    def publish(self, events: Iterable[ServiceEvent]) -> None:
        """Tell facts that are durable; what was said is not for everybody's ears."""
        for event in events:
            if isinstance(event, MessageRecorded):
                self.recorded()
            else:
                self.taps.publish(event)
