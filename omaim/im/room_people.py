"""Who is in a room: persons, and the sessions of their devices.

A :class:`Person` is what others see: one address, one place under the cap. Who takes part
openly on one device and anonymously on another is two persons, which nobody can connect.

Spec: RFC 4353 §2; RFC 7701 §6.1 (several sessions of one URI), §5.2 (anonymous URI)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from omaim.bodies.conference_info import DIALED_IN
from omaim.im.offers import Offers
from omaim.im.participating import ANONYMOUS
from omaim.im.room_rules import Rights

if TYPE_CHECKING:
    from omaim.im.posting import Post

_RECENT: Final = 100  # Message-IDs by which a repeat is known


class Link(Protocol):
    """The focus's end of one session with a device."""

    def pause(self) -> None:
        """Read nothing more from it."""

    def resume(self) -> None:
        """Read on."""

    def take_over(self, older: Link) -> None:
        """Send what waits for an older session, in its order; nothing else waits for this one."""


class Copies(Protocol):
    """One message on its way to several sessions: made by the focus over the MSRP switch."""

    def write(self, data: bytes) -> None:
        """Send these octets of it, too."""

    def finish(self) -> None:
        """That was all of it."""

    def abort(self) -> None:
        """There will not be more, and what went is not the whole."""

    def drop(self, member: Member) -> None:
        """This session gets no more; nothing happens if it got none of it."""

    def succeed(self, older: Member, member: Member) -> None:
        """What one session gets goes to another from now on, which has taken over."""


# Begin a message for some sessions; its size in octets, -1 when nobody knows yet.
OpenCopies = Callable[[Sequence["Member"], int], Copies]


@attrs.frozen
class Applicant:
    """A device that wants to be in."""

    identities: tuple[str, ...]  # asserted, canonical; the first is the address of record
    link: Link
    offers: Offers
    device: str = ""  # tells devices of one person apart: an instance id, or the Contact
    display: str = ""  # name for people
    hidden: bool = False  # wants to be anonymous (Privacy: id)
    method: str = DIALED_IN
    instead: Member | None = None  # of its own, whose place it takes


@attrs.define(eq=False)
class Person:
    """A participant as others see it."""

    aor: str  # the address of record; never shown of who is hidden
    identities: tuple[str, ...]  # all under which it may speak
    hidden: bool
    shown: str  # address by which others know it
    display: str
    rights: Rights
    number: int  # of arrival
    members: list[Member] = attrs.field(factory=list, repr=False)
    devices: int = 0  # that it ever came with, to name them

    @property
    def owner(self) -> tuple[str, bool]:
        """To whom a nickname belongs."""
        return self.aor, self.hidden


@attrs.define(eq=False)
class Member:
    """One session of one device in a room.

    Attributes:
        name: the endpoint entity in the roster; tells nothing about the device.
        posts: messages that it is sending.
        waiting: those of them that may not go out yet, in the order of their going out.
        said: Message-IDs of the last messages, the oldest first.
        stalls: speakers who wait because this session is congested.
        stalled_by: how many congested sessions it waits for.
        names, named_at: nicknames that it might ask for in a row when it asked last, and when.
        kept: octets of its messages that are kept to be recorded or shown again.
        stalled_at: since when this one waits for others, without a pause.
    """

    person: Person
    link: Link
    offers: Offers
    device: str
    method: str
    name: str
    joined_at: float
    congested_at: float | None = None
    present: bool = True
    posts: dict[str, Post] = attrs.field(factory=dict, repr=False)
    waiting: deque[Post] = attrs.field(factory=deque, repr=False)
    said: deque[str] = attrs.field(factory=lambda: deque(maxlen=_RECENT), repr=False)
    stalled_at: float | None = None
    stalled_by: int = 0
    kept: int = 0
    names: float = 0.0
    named_at: float = float("-inf")
    stalls: set[Member] = attrs.field(factory=set, repr=False)
    _reasons: set[object] = attrs.field(factory=set, repr=False, init=False)

    def pause(self, reason: object) -> None:
        """Read nothing more from the device, as long as any reason not to holds."""
        if self.present and not self._reasons:
            self.link.pause()
        self._reasons.add(reason)

    def resume(self, reason: object) -> None:
        """Read on if this was the last reason not to."""
        if reason in self._reasons:
            self._reasons.discard(reason)
            if self.present and not self._reasons:
                self.link.resume()


def is_nobody(uri: str) -> bool:
    """Tell whether an address conceals who it is.

    Spec: RFC 4575 §5.6; RFC 3323 §4.1.1.3
    """
    host = uri.rpartition("@")[2].partition(":")[0].lower()
    return uri == ANONYMOUS or host == "invalid" or host.endswith(".invalid")
