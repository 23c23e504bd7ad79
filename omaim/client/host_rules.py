"""The rules of a room that a client hosts: who is in it, who may say what, who gets it.

They are the least that makes a room: everybody hears everybody, each under its own address, up
to a number of people; what is for one only goes to that one, if it takes private messages.

Spec: RFC 7701 §6.1, §6.2, §7; OMA SIMPLE IM 1.0 (IM Client that hosts a conference)
"""

from __future__ import annotations

import unicodedata
from typing import Final

from omaim.bodies.cpim import MEDIA_TYPE as CPIM_TYPE
from omaim.bodies.cpim import Cpim
from omaim.bodies.imdn import is_report
from omaim.errors import PeerError
from omaim.sip.uri import SipUri, comparable, parse_uri

FORBIDDEN: Final = 403
NOT_HERE: Final = 404
MALFORMED: Final = 424
TAKEN: Final = 425
NOTHING_PRIVATE: Final = 428
TOO_MANY: Final = 486

ROOM: Final = "conf"  # URI parameter that tells a room from its host, and from other rooms


class HostRules:
    """Who is in one room, and who gets what.

    Args:
        host: canonical address of the host.
        token: of the room, which tells it from its host.
        maximum: people at a time, the host among them.

    Attributes:
        people: canonical address -> nickname, "" for none; the host is the first.
        welcome: who may come in by itself: whoever was called, and not put out since.
    """

    def __init__(self, host: str, token: str, maximum: int) -> None:
        self.host = host
        self.token = token
        self.maximum = maximum
        self.people: dict[str, str] = {host: ""}
        self.welcome: set[str] = set()
        self._known_as: dict[str, str] = {host: host}
        self._deaf: set[str] = set()  # those who take nothing that is for them only

    def make_room(self, coming: int) -> None:
        """See whether so many more may come.

        Raises:
            PeerError: 486, there would be too many.
        """
        if len(self.people) + coming > self.maximum:
            raise PeerError(f"102 Too many participants: {self.maximum} at most", TOO_MANY)

    def enter(self, person: str, *also: str, private: bool = True) -> None:
        """Somebody has come, or has come back.

        Args:
            person: canonical address that the others see.
            also: further ones of the same person, which it may speak under.
            private: it takes messages that are for it only.
        """
        self.people.setdefault(person, "")
        for one in (person, *also):
            self._known_as.setdefault(one, person)
        if private:
            self._deaf.discard(person)
        else:
            self._deaf.add(person)

    def leave(self, person: str) -> None:
        """Somebody has left; the host never does."""
        if person != self.host and self.people.pop(person, None) is not None:
            self._known_as = {one: who for one, who in self._known_as.items() if who != person}
            self._deaf.discard(person)

    def is_room(self, uri: str) -> bool:
        """Tell whether a URI is the room's, and not its host's."""
        return room_in(uri) == self.token

    def recipients(self, person: str, content_type: str, body: bytes) -> tuple[Cpim, list[str]]:
        """Return a message of somebody, and who gets it.

        Raises:
            PeerError: 415 it is in no envelope; 400 that cannot be read; 403 it speaks in
                another's name, or to several; 404 who it is for is not here; 428 and takes no
                private messages.

        Spec: RFC 7701 §6.1, §6.2 (in this order)
        """
        if content_type.partition(";")[0].strip().lower() != CPIM_TYPE:
            raise PeerError("messages in a room are message/cpim", 415)
        message = Cpim.parse(body)
        author = message.from_
        if author is None or self._known_as.get(comparable(author.uri)) != person:
            raise PeerError("this is not your address", FORBIDDEN)
        if len(message.to) != 1:
            raise PeerError("a message goes to one address", FORBIDDEN)
        to = message.to[0].uri
        if self.is_room(to):
            return message, [one for one in self.people if one != person]
        who = self._known_as.get(comparable(to))
        if who is None:
            raise PeerError("the recipient is not here", NOT_HERE)
        if not is_report(message):
            self.check_private(who)
        return message, [who]

    def check_private(self, person: str) -> None:
        """See whether somebody takes what is for it only.

        Raises:
            PeerError: 428, it does not.
        """
        if person in self._deaf:
            raise PeerError("the recipient takes no private messages", NOTHING_PRIVATE)

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


def room_uri(host: str, token: str) -> str:
    """Return the address of a room of a host."""
    uri = parse_uri(host)
    return str(uri.with_param(ROOM, token)) if isinstance(uri, SipUri) else host


def room_in(uri: str) -> str:
    """Return the token of the room that a URI means, "" for none."""
    try:
        parsed = parse_uri(uri)
    except PeerError:
        return ""
    return parsed.params.get(ROOM) or "" if isinstance(parsed, SipUri) else ""


def _compared(nickname: str) -> str:
    """Return what two nicknames share that count as the same; "" for one that none may have.

    Differs: RFC 8266 wants the PRECIS profile; this is stricter with what is invisible, and
        otherwise the same for letters and digits.
    """
    text = unicodedata.normalize("NFKC", nickname).casefold()
    if any(unicodedata.category(one)[0] == "C" for one in text):
        return ""
    return " ".join(text.split())
