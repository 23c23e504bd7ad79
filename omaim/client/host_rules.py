"""The rules of a room that a client hosts: who is in it, who may say what, who gets it.

They are the least that makes a room: everybody hears everybody, each under its own address, up
to a number of people; private messages there are none, since host and room share an address.

Spec: RFC 7701 §6.1, §6.2, §7; OMA SIMPLE IM 1.0 (IM Client that hosts a conference)
"""

from __future__ import annotations

import unicodedata
from typing import Final

from omaim.bodies.cpim import MEDIA_TYPE as CPIM_TYPE
from omaim.bodies.cpim import Cpim
from omaim.bodies.imdn import is_report
from omaim.errors import PeerError
from omaim.sip.uri import canonical_aor

FORBIDDEN: Final = 403
MALFORMED: Final = 424
TAKEN: Final = 425
TOO_MANY: Final = 486


class HostRules:
    """Who is in one room, and who gets what.

    Args:
        room: URI of the room and of its host, canonical.
        maximum: people at a time, the host among them.

    Attributes:
        people: canonical address -> nickname, "" for none; the host is the first.
    """

    def __init__(self, room: str, maximum: int) -> None:
        self.room = room
        self.maximum = maximum
        self.people: dict[str, str] = {room: ""}
        self._known_as: dict[str, str] = {room: room}

    def make_room(self, coming: int) -> None:
        """See whether so many more may come.

        Raises:
            PeerError: 486, there would be too many.
        """
        if len(self.people) + coming > self.maximum:
            raise PeerError(f"102 Too many participants: {self.maximum} at most", TOO_MANY)

    def enter(self, person: str, *also: str) -> None:
        """Somebody has come.

        Args:
            person: canonical address that the others see.
            also: further ones of the same person, which it may speak under.
        """
        self.people.setdefault(person, "")
        for one in (person, *also):
            self._known_as.setdefault(one, person)

    def leave(self, person: str) -> None:
        """Somebody has left; the host never does."""
        if person != self.room and self.people.pop(person, None) is not None:
            self._known_as = {one: who for one, who in self._known_as.items() if who != person}

    def recipients(self, person: str, content_type: str, body: bytes) -> tuple[Cpim, list[str]]:
        """Return a message of somebody, and who gets it.

        Raises:
            PeerError: 415 it is in no envelope; 400 that cannot be read; 403 it speaks in
                another's name, to several, or to one only; 404 the one is not here.

        Spec: RFC 7701 §6.1, §6.2 (in this order)
        """
        if content_type.partition(";")[0].strip().lower() != CPIM_TYPE:
            raise PeerError("messages in a room are message/cpim", 415)
        message = Cpim.parse(body)
        author = message.from_
        if author is None or self._known_as.get(canonical_aor(author.uri)) != person:
            raise PeerError("this is not your address", FORBIDDEN)
        to = [canonical_aor(one.uri) for one in message.to]
        if len(to) != 1:
            raise PeerError("a message goes to one address", FORBIDDEN)
        if is_report(message):
            who = self._known_as.get(to[0])
            if who is None:
                raise PeerError("the recipient is not here", 404)
            return message, [who]
        if to[0] != self.room:
            raise PeerError("private messages are not allowed here", FORBIDDEN)
        return message, [one for one in self.people if one != person]

    def name(self, person: str, nickname: str) -> int:
        """Somebody wants to be called so, "" for no more; return the status to answer.

        Spec: RFC 7701 §7.1, §7.3
        """
        if person not in self.people:
            return FORBIDDEN
        if nickname and not _compared(nickname):
            return MALFORMED
        others = {_compared(name) for one, name in self.people.items() if one != person}
        if nickname and _compared(nickname) in others:
            return TAKEN
        self.people[person] = nickname
        return 200


def _compared(nickname: str) -> str:
    """Return what two nicknames share that count as the same; "" for one that none may have.

    Differs: RFC 8266 wants the PRECIS profile; this is stricter with what is invisible, and
        otherwise the same for letters and digits.
    """
    text = unicodedata.normalize("NFKC", nickname).casefold()
    if any(unicodedata.category(one)[0] == "C" for one in text):
        return ""
    return " ".join(text.split())
