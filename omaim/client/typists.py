"""Who is writing: we to a peer, and peers to us.

Spec: RFC 3994
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred

from omaim.bodies.iscomposing import (
    ACTIVE,
    Composing,
    Correspondent,
    IsComposing,
    write_iscomposing,
)
from omaim.client.messages import Typing
from omaim.roles.user_agent import UserAgent
from omaim.timers import NEVER, Alarm

MOST: Final = 100  # peers of one session who are said to write at a time


class Typist:
    """Tells a peer when our user writes, and when not.

    Args:
        agent: has the clock.
        tell: sends a document of :mod:`omaim.bodies.iscomposing`.
    """

    def __init__(self, agent: UserAgent, tell: Callable[[bytes], object]) -> None:
        self._agent = agent
        self._tell = tell
        self._machine = Composing()
        self._alarm = Alarm(self._woken)

    def typed(self) -> None:
        """Our user pressed a key."""
        self._machine.typed(self._agent.now())
        self._pump()

    def sent(self) -> None:
        """The message itself goes out."""
        self._machine.sent(self._agent.now())
        self._pump()

    def refused(self) -> None:
        """The peer does not want to know (RFC 3994 §4)."""
        self._machine.refused()
        self._pump()

    def stop(self) -> None:
        """Tell nobody any more."""
        self._alarm.deadline = NEVER

    def _woken(self, now: float) -> None:
        self._machine.wake(now)
        self._pump()

    def _pump(self) -> None:
        machine = self._machine
        for state in machine.take():
            refresh = machine.refresh if state == ACTIVE else 0
            self._tell(write_iscomposing(IsComposing(state, refresh, "text/plain")))
        self._alarm.deadline = machine.deadline
        self._agent.arm(self._alarm)


class PagerTypist:
    """Tells those to whom our user writes short messages, without a session.

    Who does not take that, or is not there, is not told again.

    Args:
        agent: has the clock.
        send: sends a document to a URI, and returns what fires with the status of its answer.

    Spec: RFC 3994 §4 (page mode)
    """

    def __init__(self, agent: UserAgent, send: Callable[[str, bytes], Deferred[int]]) -> None:
        self._agent = agent
        self._send = send
        self._typists: OrderedDict[str, Typist] = OrderedDict()

    def typed(self, to: str) -> None:
        """Our user pressed a key, and writes to somebody."""
        typist = self._typists.get(to)
        if typist is None:
            typist = self._typists[to] = Typist(self._agent, lambda body: self._tell(to, body))
            if len(self._typists) > MOST:
                self._typists.popitem(last=False)[1].stop()
        typist.typed()

    def sent(self, to: str) -> None:
        """The message itself goes out."""
        typist = self._typists.get(to)
        if typist is not None:
            typist.sent()

    def stop(self) -> None:
        """Tell nobody any more."""
        for typist in self._typists.values():
            typist.stop()
        self._typists.clear()

    def _tell(self, to: str, document: bytes) -> None:
        telling = self._send(to, document)
        telling.addCallbacks(
            lambda status: None if status < 300 else self._refused(to), lambda _: self._refused(to)
        )

    def _refused(self, to: str) -> None:
        typist = self._typists.get(to)
        if typist is not None:
            typist.refused()


class Typists:
    """The peers of one session who write.

    Args:
        agent: has the clock.
        tell: gets each change.
    """

    def __init__(self, agent: UserAgent, tell: Callable[[Typing], object]) -> None:
        self._agent = agent
        self._tell = tell
        self._peers: dict[str, tuple[Correspondent, Alarm]] = {}

    def heard(self, peer: str, status: IsComposing) -> None:
        """A status message of a peer came."""
        known = self._peers.get(peer)
        if known is None:
            if status.state != ACTIVE or len(self._peers) >= MOST:
                return
            known = Correspondent(), Alarm(lambda now: self._woken(peer, now))
            self._peers[peer] = known
        known[0].status(status, self._agent.now())
        self._pump(peer)

    def said(self, peer: str) -> None:
        """A message of a peer came: it writes no more."""
        known = self._peers.get(peer)
        if known is not None:
            known[0].content(self._agent.now())
            self._pump(peer)

    def stop(self) -> None:
        """Nobody writes any more."""
        for _, alarm in self._peers.values():
            alarm.deadline = NEVER
        self._peers.clear()

    def _woken(self, peer: str, now: float) -> None:
        known = self._peers.get(peer)
        if known is not None:
            known[0].wake(now)
            self._pump(peer)

    def _pump(self, peer: str) -> None:
        machine, alarm = self._peers[peer]
        changes = machine.take()
        alarm.deadline = machine.deadline
        if machine.active:
            self._agent.arm(alarm)
        else:
            del self._peers[peer]
        for change in changes:
            self._tell(Typing(peer, change == ACTIVE))
