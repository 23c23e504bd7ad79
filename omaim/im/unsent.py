"""What was not sent to devices whose connection is lost, kept for a while until they come back.

Spec: RFC 4975 §5.4 (what a session did not deliver is sent by the next one); RFC 7701 §6.4
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from omaim.im.room_people import Member
from omaim.msrp.means import Means
from omaim.msrp.outgoing import Outbox

PATIENCE: Final = 60.0  # seconds that a device may take to come back
DEVICES: Final = 100  # of one room, for which something is kept


class Unsent:
    """What waits for the devices of one room that were lost.

    Args:
        means: of the MSRP endpoint.
        size: octets of all of it; what is kept for the longest time goes first.

    Attributes:
        deadline: when :meth:`wake` is wanted, ``None`` for not at all.
    """

    def __init__(self, means: Means, size: int) -> None:
        self._means = means
        self._size = size
        self._kept: OrderedDict[tuple[str, bool, str], tuple[float, Outbox]] = OrderedDict()

    @property
    def deadline(self) -> float | None:
        return next((until for until, _ in self._kept.values()), None)

    def heir(self) -> Outbox:
        """Return what a session can leave its messages to."""
        return Outbox(self._means, _nobody, _nothing)

    def keep(self, member: Member, left: Outbox, now: float) -> None:
        """A device was lost, and has left this."""
        key = _key(member)
        self._drop(key)
        if not member.device or not left.burden:
            left.close()
            return
        self._kept[key] = (now + PATIENCE, left)
        burden = sum(one.burden for _, one in self._kept.values())
        while len(self._kept) > DEVICES or burden > self._size:
            oldest = next(iter(self._kept))
            burden -= self._kept[oldest][1].burden
            self._drop(oldest)

    def take(self, aor: str, hidden: bool, device: str) -> Outbox | None:
        """Return what waits for a device that has come back; it waits no more."""
        kept = self._kept.pop((aor, hidden, device), None)
        return None if kept is None else kept[1]

    def wake(self, now: float) -> None:
        """Forget what nobody has come back for."""
        for key, (until, _) in list(self._kept.items()):
            if until > now:
                break
            self._drop(key)

    def close(self) -> None:
        """The room has ended."""
        for key in list(self._kept):
            self._drop(key)

    def _drop(self, key: tuple[str, bool, str]) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            kept[1].close()

    def __len__(self) -> int:
        return len(self._kept)


def _key(member: Member) -> tuple[str, bool, str]:
    return member.person.aor, member.person.hidden, member.device


def _nobody(why: str) -> None:
    """There is no peer that could say it is gone."""


def _nothing() -> None:
    """Nothing is sent from here."""
