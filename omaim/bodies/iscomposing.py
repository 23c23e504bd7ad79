"""application/im-iscomposing+xml: that somebody is writing, told while they write.

The document, and the two machines: :class:`Composing` at who writes, :class:`Correspondent` at
who waits.

Spec: RFC 3994
"""

from __future__ import annotations

from typing import Final, final

import attrs

from omaim.bodies.moments import parse_moment, write_moment
from omaim.bodies.xml import BadXml, add, child_text, new_root, parse_xml, whole, write_xml
from omaim.timers import NEVER, Timed

MEDIA_TYPE: Final = "application/im-iscomposing+xml"
NAMESPACE: Final = "urn:ietf:params:xml:ns:im-iscomposing"

ACTIVE: Final = "active"
IDLE: Final = "idle"

IDLE_AFTER: Final = 15.0  # seconds without a key, RFC 3994 §3.2
REFRESH: Final = 60.0  # seconds, the shortest allowed between two of the same, §3.2
LAPSE: Final = 120.0  # seconds until "active" lapses when it does not say, §3.3
LONGEST: Final = 3600.0  # seconds for which we believe an "active", whatever it says


@attrs.frozen
class IsComposing:
    """What one status message says.

    Spec: RFC 3994 §3.4, §3.5
    """

    state: str  # ACTIVE or IDLE; what else a peer may say is IDLE
    refresh: int = 0  # seconds until the next "active"; 0 when there will be none
    content_type: str = ""  # "text/plain", or just "audio"
    last_active: float = 0.0  # seconds since the epoch, 0 when not said


def parse_iscomposing(data: bytes) -> IsComposing:
    """Return what a status message says; a state that nobody defined counts as idle.

    Raises:
        BadXml: not this XML, no state, or a refresh that is no positive number.
        BadMoment: lastactive is no date and time.

    Spec: RFC 3994 §3.5, §6.1
    """
    root = parse_xml(data, _tag("isComposing"))
    state = child_text(root, _tag("state"))
    if not state:
        raise BadXml("isComposing without a state")
    refresh = child_text(root, _tag("refresh"))
    seconds = whole(refresh) if refresh else 0
    if refresh and seconds == 0:
        raise BadXml("isComposing with a refresh of 0")
    last = child_text(root, _tag("lastactive"))
    return IsComposing(
        state=ACTIVE if state == ACTIVE else IDLE,
        refresh=seconds,
        content_type=child_text(root, _tag("contenttype")),
        last_active=parse_moment(last) if last else 0.0,
    )


def write_iscomposing(status: IsComposing) -> bytes:
    """Return the document.

    Spec: RFC 3994 §6.1
    """
    root = new_root(_tag("isComposing"), {None: NAMESPACE})
    add(root, _tag("state"), status.state)
    if status.last_active:
        add(root, _tag("lastactive"), write_moment(status.last_active))
    if status.content_type:
        add(root, _tag("contenttype"), status.content_type)
    if status.refresh:
        add(root, _tag("refresh"), str(status.refresh))
    return write_xml(root)


@final
class Composing(Timed):
    """Decide when a peer learns that its correspondent is typing.

    Inputs are :meth:`typed`, :meth:`sent` and :meth:`refused`; :meth:`take` gives the states to
    send.

    Args:
        refresh: seconds between repeats of "active", at least 60; 0 for no repeats.
        idle_after: seconds without a key until "idle".

    Differs: the sentence that allows one status message per refresh interval contradicts the
    state diagram beside it ("idle" follows "active" after 15 s); the diagram is followed, so
    messages are at least ``idle_after`` apart, or a content message lies between them.

    Spec: RFC 3994 §3.2 (Figure 1), §4
    """

    __slots__ = ("_idle_after", "_idle_at", "_mute", "_out", "_refresh", "_refresh_at")

    def __init__(self, refresh: float = REFRESH, idle_after: float = IDLE_AFTER) -> None:
        super().__init__()
        self._refresh = max(refresh, REFRESH) if refresh > 0 else 0.0
        self._idle_after = idle_after
        self._idle_at = NEVER
        self._refresh_at = NEVER
        self._mute = False
        self._out: list[str] = []

    @property
    def active(self) -> bool:
        """Whether the user is writing."""
        return self.deadline != NEVER

    @property
    def refresh(self) -> int:
        """What to write into the refresh of the document, 0 to leave it out."""
        return int(self._refresh)

    def typed(self, now: float) -> None:
        """The user pressed a key."""
        if self._mute:
            return
        self.wake(now)  # a deadline that passed unserved comes first
        if self.deadline == NEVER:
            self._refresh_at = now
        self._idle_at = now + self._idle_after
        self._repeat(now)

    def sent(self, now: float) -> None:
        """The message itself went out: the peer needs no "idle"."""
        self.wake(now)
        self._rest()

    def refused(self) -> None:
        """The peer answered 415: it is told no more.

        Spec: RFC 3994 §4
        """
        self._mute = True
        self._out.clear()
        self._rest()

    def wake(self, now: float) -> None:
        """Act on a deadline that has come; harmless before."""
        if now >= self._idle_at:
            self._out.append(IDLE)
            self._rest()
        elif now >= self._refresh_at:
            self._repeat(now)

    def take(self) -> list[str]:
        """Return the states to send, oldest first, and forget them."""
        out, self._out = self._out, []
        return out

    def _repeat(self, now: float) -> None:
        if now >= self._refresh_at:
            self._out.append(ACTIVE)
            self._refresh_at = now + self._refresh if self._refresh else NEVER
        self.deadline = min(self._idle_at, self._refresh_at)

    def _rest(self) -> None:
        self._idle_at = self._refresh_at = self.deadline = NEVER


@final
class Correspondent(Timed):
    """Know whether the other side is writing.

    Inputs are :meth:`status` and :meth:`content`; :attr:`active` is the answer, and
    :meth:`take` tells its changes.

    Spec: RFC 3994 §3.3 (Figure 2)
    """

    __slots__ = ("_out", "active", "content_type")

    def __init__(self) -> None:
        super().__init__()
        self.active = False
        self.content_type = ""  # what is being written, as far as the peer says
        self._out: list[str] = []

    def status(self, status: IsComposing, now: float) -> None:
        """A status message came."""
        self.wake(now)
        self.content_type = status.content_type
        if status.state == ACTIVE:
            self.deadline = now + (min(status.refresh, LONGEST) if status.refresh else LAPSE)
            self._become(True)
        else:
            self._become(False)

    def content(self, now: float) -> None:
        """A content message came."""
        self.wake(now)
        self._become(False)

    def wake(self, now: float) -> None:
        """Act on a deadline that has come; harmless before."""
        if now >= self.deadline:
            self._become(False)

    def take(self) -> list[str]:
        """Return the changes, oldest first, and forget them."""
        out, self._out = self._out, []
        return out

    def _become(self, active: bool) -> None:
        if not active:
            self.deadline = NEVER
        if active != self.active:
            self.active = active
            self._out.append(ACTIVE if active else IDLE)


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"
