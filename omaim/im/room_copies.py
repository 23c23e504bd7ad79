"""One message of a room on its way to the sessions of those who get it.

Spec: RFC 7701 §6.1, §6.4; RFC 4975 §7.1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from omaim.bodies.cpim import MEDIA_TYPE
from omaim.im.room_people import Member
from omaim.msrp import Outgoing, Session, Shared
from omaim.msrp.means import Means
from omaim.msrp.outgoing import PIECE


class RoomCopies:
    """The copies of one message.

    What is there as a whole leaves as one frame for each session, and nothing of it remains here
    but for those who do not take it at once. What is still coming in leaves as it comes.

    Args:
        means: of the MSRP endpoint.
        members: who gets it.
        size: octets of the whole, -1 when nobody knows.
        session_of: the MSRP session of a member.
        strained: told of a member for whose session octets wait.
    """

    __slots__ = ("_copies", "_means", "_members", "_session_of", "_shared", "_size", "_strained")

    def __init__(
        self,
        means: Means,
        members: Sequence[Member],
        size: int,
        session_of: Callable[[Member], Session],
        strained: Callable[[Member], object],
    ) -> None:
        self._means = means
        self._members = members
        self._size = size
        self._session_of = session_of
        self._strained = strained
        self._shared: Shared | None = None
        self._copies: dict[Member, Outgoing] = {}  # that did not leave at once

    def write(self, data: bytes) -> None:
        """Send these octets of it, too."""
        shared = self._shared
        if shared is None:
            if len(data) == self._size <= PIECE:
                self._shared = shared = Shared(self._means, MEDIA_TYPE, data)
                self._begin(shared)
                self._look()
                return
            self._shared = shared = Shared(self._means, MEDIA_TYPE, size=self._size)
            self._begin(shared)
        if shared.is_finished:
            return  # it left as a whole of the size that was announced
        shared.write(data)
        self._look()

    def _begin(self, shared: Shared) -> None:
        session_of, to = self._session_of, shared.to
        for member in self._members:
            copy = to(session_of(member))
            if copy is not None:
                self._copies[member] = copy

    def _look(self) -> None:
        """Tell who does not keep up."""
        for member in [member for member, copy in self._copies.items() if copy.pending]:
            self._strained(member)

    def finish(self) -> None:
        """That was all of it."""
        if self._shared is not None:
            self._shared.finish()

    def abort(self) -> None:
        """There will not be more, and what went is not the whole."""
        if self._shared is not None:
            self._shared.abort()

    def drop(self, member: Member) -> None:
        """This session gets no more; nothing happens if it got none of it."""
        copy = self._copies.pop(member, None)
        if copy is not None:
            copy.abort()

    def succeed(self, older: Member, member: Member) -> None:
        """What one session gets goes to another from now on, which has taken over."""
        copy = self._copies.pop(older, None)
        if copy is not None:
            self._copies[member] = copy
