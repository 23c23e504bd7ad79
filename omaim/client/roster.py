"""Who is in a room, kept up to date by what the room tells.

Spec: RFC 4575; RFC 6665; RFC 7701 §7.4 (nicknames)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
from twisted.logger import Logger

from omaim.bodies.conference_info import (
    ALERTING,
    CONNECTED,
    DIALING_IN,
    DIALING_OUT,
    MEDIA_TYPE,
    ON_HOLD,
    PENDING,
    User,
    parse_conference,
)
from omaim.bodies.conference_state import ENDED, MISSED, OLD, ConferenceTable
from omaim.client.handing import hand
from omaim.errors import PeerError, Unavailable
from omaim.roles.watcher import Watch, Watcher
from omaim.sip.message import Request
from omaim.sip.subscribing import TERMINATED, Moved
from omaim.sip.uri import canonical_aor, comparable
from omaim.timers import NEVER

EVENT: Final = "conference"

HERE: Final = (CONNECTED, ON_HOLD)
COMING: Final = (PENDING, ALERTING, DIALING_IN, DIALING_OUT)

_log = Logger()


@attrs.frozen
class Participant:
    """Somebody in a room, or on the way there.

    Attributes:
        uri: address, anonymous if it wants to be.
        name: display name, "" if not given.
        nickname: "" if none.
        here: takes part now; else is being called.
        roles: as the room gives them.
    """

    uri: str
    name: str = ""
    nickname: str = ""
    here: bool = True
    roles: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """What to call it: its nickname, its name or its address."""
        return self.nickname or self.name or self.uri


class Roster:
    """The participants of one room.

    Args:
        watcher: subscribes.
        room: URI of the conference.

    Attributes:
        known: the room tells us who is in it; False while it has not, or where it does not.
        participants: those who are there or being called, in the order in which they came.
    """

    def __init__(self, watcher: Watcher, room: str) -> None:
        self._watcher = watcher
        self._room = room
        self._table = ConferenceTable()
        self._watch: Watch | None = None
        self._on_change: Callable[[tuple[Participant, ...]], object] | None = None
        self.known = False
        self.participants: tuple[Participant, ...] = ()
        self._names: dict[str, str] = {}  # canonical address -> what to call who has it

    @property
    def subject(self) -> str:
        """What the room is about, as far as it says."""
        info = self._table.info
        described = None if info is None else info.description
        return "" if described is None else described.subject or described.text

    def on_change(self, act: Callable[[tuple[Participant, ...]], object]) -> None:
        """Tell ``act`` the participants, now if they are known and at each change."""
        self._on_change = act
        if self.known:
            hand(act, self.participants)

    def start(self) -> None:
        """Subscribe; where that is refused, nobody is known."""
        try:
            self._watch = self._watcher.watch(
                self._room, EVENT, self._notified, on_state=self._moved, accept=(MEDIA_TYPE,)
            )
        except Unavailable as error:
            _log.info("Nothing is known about who is in a room: {why}", why=str(error))

    def stop(self) -> None:
        """Be told no more."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()

    def find(self, who: str) -> str:
        """Return the URI of a participant by nickname, name or address; "" for nobody."""
        people = self.participants
        for named in ("nickname", "name"):
            found = {one.uri for one in people if getattr(one, named).lower() == who.lower()}
            if len(found) == 1:
                return found.pop()
        try:
            wanted = canonical_aor(who)
        except PeerError:
            return ""
        return next((one.uri for one in people if comparable(one.uri) == wanted), "")

    def named(self, uri: str) -> str:
        """Return what to call who has this URI, "" if nothing is known but that."""
        return self._names.get(comparable(uri), "")

    def _notified(self, notify: Request) -> None:
        if not notify.body:
            return
        outcome = self._table.apply(parse_conference(notify.body))
        if outcome == MISSED and self._watch is not None:
            self._watch.refresh()
        if outcome == ENDED:
            self._table.users.clear()
        if outcome not in (OLD, MISSED):
            self.known = True
            found = (_participant(one) for one in self._table.users.values())
            self.participants = tuple(one for one in found if one is not None)
            self._names = {
                comparable(one.uri): one.nickname or one.name for one in self.participants
            }
            hand(self._on_change, self.participants)

    def _moved(self, moved: Moved) -> None:
        if moved.state == TERMINATED:
            # Whatever begins anew counts from the beginning (RFC 4575 §5.2).
            self._table = ConferenceTable()
            if moved.retry_at == NEVER:
                self.known = False


def _participant(user: User) -> Participant | None:
    """Return a user of a document, ``None`` for one who is not there any more."""
    states = [one.status for one in user.endpoints]
    here = not states or any(one in HERE for one in states)
    if not here and not any(one in COMING for one in states):
        return None
    return Participant(user.entity, user.text, user.nickname, here, user.roles)
