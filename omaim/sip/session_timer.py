"""The session timer of one dialog: who keeps a session alive, how often, and when it is dead.

The machine writes and reads the header fields of INVITE and UPDATE; its owner sends the
refresh when one is due and BYE when the session has expired.

Spec: RFC 4028
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import PeerError
from omaim.sip.headers import SessionExpires
from omaim.sip.message import Message, Request, Response
from omaim.timers import NEVER

REFRESH: Final = 1  # send an UPDATE or re-INVITE now
EXPIRED: Final = 2  # the session is over, send BYE

LEAST: Final = 90  # seconds, RFC 4028 §4, §5
_SLACK: Final = 32.0  # seconds before the end that the watching side gives up, §10
_SOONEST: Final = 5.0  # seconds between a refresh that failed and the next

Fields = list[tuple[str, str]]


class IntervalTooSmall(PeerError):
    """The session interval is under our minimum; the 422 must name it in Min-SE.

    Spec: RFC 4028 §6, §9
    """

    status = 422

    def __init__(self, min_se: int) -> None:
        super().__init__(f"the shortest session interval is {min_se} s")
        self.min_se = min_se


@final
class SessionTimer:
    """The session timer as one side of a dialog sees it.

    Inputs: :meth:`granted` and :meth:`refused` for answers to our INVITEs and UPDATEs,
    :meth:`grant` for those of the peer, :meth:`failed`, :meth:`stop`, :meth:`wake`.
    :meth:`take` says what is due.

    Args:
        wish: the session interval that we ask for, seconds; 0 asks for none.
        least: the shortest that we accept, seconds; at least 90.

    Attributes:
        deadline: when :meth:`wake` is wanted, monotonic seconds.
        interval: the session interval, seconds; 0 while the session has no end.
        refreshing: it is us who refresh.
        expires_at: when the session is over unless refreshed.
        min_se: the largest Min-SE that was heard in this dialog, 0 for none.

    Spec: RFC 4028 §7, §9, §10
    """

    __slots__ = (
        "_least",
        "_out",
        "_refresh_at",
        "_wish",
        "deadline",
        "expires_at",
        "interval",
        "min_se",
        "refreshing",
    )

    def __init__(self, wish: int = 1800, least: int = LEAST) -> None:
        self._least = max(least, LEAST)
        self._wish = max(wish, self._least) if wish else 0
        self.min_se = 0
        self.interval = 0
        self.refreshing = False
        self.expires_at = NEVER
        self.deadline = NEVER
        self._refresh_at = NEVER
        self._out = 0

    def take(self) -> int:
        """Return what is due, :data:`REFRESH` or :data:`EXPIRED`, or 0; and forget it."""
        out = self._out
        self._out = 0
        return out

    def wake(self, now: float) -> None:
        """A moment has come."""
        if self.interval and now >= self._end():
            self._out = EXPIRED
            self.stop()
        elif now >= self._refresh_at:
            self._out = REFRESH
            self._refresh_at = NEVER
            self._arm()

    def stop(self) -> None:
        """The session has no end any more, or is over."""
        self.interval = 0
        self.expires_at = self._refresh_at = self.deadline = NEVER

    # As the one who asks.

    def ask(self) -> Fields:
        """Return the Session-Expires and Min-SE of an INVITE or UPDATE of ours.

        Spec: RFC 4028 §7.1, §7.4
        """
        fields: Fields = []
        if self.interval:
            seconds = max(self.min_se or LEAST, self.interval)
            refresher = "uac" if self.refreshing else "uas"
            fields.append(("Session-Expires", str(SessionExpires(seconds, refresher))))
        elif self._wish:
            fields.append(("Session-Expires", str(max(self.min_se, self._wish))))
        if self.min_se:
            fields.append(("Min-SE", str(max(self.min_se, self._least))))
        elif self._least > LEAST and fields:
            fields.append(("Min-SE", str(self._least)))
        return fields

    def granted(self, request: Request, response: Response, now: float) -> None:
        """The 2xx to an INVITE or UPDATE of ours has come.

        One that says nothing ends the timer, unless we asked: then the peer does not know
        it, and it is for us to keep the session alive.

        Raises:
            PeerError: the header field cannot be read.

        Spec: RFC 4028 §7.2
        """
        text = response.first("Session-Expires")
        if text is not None:
            value = SessionExpires.parse(text)
            # What is under the minimum would have us refresh without end.
            self._set(max(value.seconds, LEAST), value.refresher != "uas", now)
            return
        asked = request.first("Session-Expires")
        if asked is None or not self._wish:
            self.stop()
        else:
            self._set(max(SessionExpires.parse(asked).seconds, LEAST), True, now)

    def refused(self, response: Response) -> bool:
        """A 422 has come; return whether to ask again with what :meth:`ask` says now.

        Spec: RFC 4028 §7.3, §7.4
        """
        try:
            least = _min_se(response)
        except PeerError:
            return False
        if least <= self.min_se:
            return False
        self.min_se = least
        return True

    def failed(self, now: float) -> None:
        """The refresh was refused, but the dialog stands: try again before the session's end.

        Spec: RFC 4028 §10
        """
        if self.interval and self.refreshing:
            left = self.expires_at - now
            pause = max(left / 2.0, _SOONEST)
            self._refresh_at = now + pause if pause < left else NEVER
            self._arm()

    # As the one who is asked.

    def check(self, request: Request) -> None:
        """Look at the session interval of an INVITE or UPDATE of the peer before any work.

        Raises:
            IntervalTooSmall: it has to be refused.
            PeerError: a header field cannot be read.

        Spec: RFC 4028 §9
        """
        text = request.first("Session-Expires")
        able = "timer" in request.supported
        _min_se(request)
        if text is not None:
            seconds = SessionExpires.parse(text).seconds
            if able and seconds < self._least:
                raise IntervalTooSmall(self._least)

    def grant(self, request: Request, now: float) -> Fields:
        """Accept an INVITE or UPDATE; return the header fields for the 2xx.

        The peer refreshes where it can.

        Raises:
            PeerError: a header field cannot be read.

        Spec: RFC 4028 §9, table 2
        """
        text = request.first("Session-Expires")
        able = "timer" in request.supported
        heard = _min_se(request)
        self.min_se = max(self.min_se, heard)
        refresher = "uac" if able else "uas"
        if text is not None:
            value = SessionExpires.parse(text)
            seconds = value.seconds
            if self._wish and seconds > self._wish:
                seconds = min(seconds, max(self._wish, heard))
            if able and value.refresher:
                refresher = value.refresher
        else:
            seconds = max(self._wish, heard) if self._wish else 0
        if seconds < LEAST:
            self.stop()  # too short to be kept by somebody who cannot be told so
            return []
        self._set(seconds, refresher == "uas", now)
        fields = [("Session-Expires", str(SessionExpires(seconds, refresher)))]
        if able:
            fields.append(("Require", "timer"))
        return fields

    def _set(self, seconds: int, refreshing: bool, now: float) -> None:
        self.interval = seconds
        self.refreshing = refreshing
        self.expires_at = now + seconds
        self._refresh_at = now + seconds / 2.0 if refreshing else NEVER
        self._arm()

    def _end(self) -> float:
        """Return when to give the session up: the watching side does so before its end."""
        if self.refreshing:
            return self.expires_at
        return self.expires_at - min(_SLACK, self.interval / 3.0)

    def _arm(self) -> None:
        self.deadline = min(self._refresh_at, self._end()) if self.interval else NEVER


def _min_se(message: Message) -> int:
    text = message.first("Min-SE")
    return 0 if text is None else SessionExpires.parse(text).seconds
