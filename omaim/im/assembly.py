"""The people in one room, found by every address under which they may be found.

Who is hidden is found by the anonymous address alone, by anybody: that the person behind it
is here at all is told to nobody.

Spec: RFC 7701 §5.2, §6.1, §6.2; RFC 4575 §5.6 (anonymous addresses)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from omaim.im.policy import Refusal
from omaim.im.room_people import Applicant, Member, Person, is_nobody
from omaim.im.room_rules import Rights

_TYPES: Final = 64  # content types for which it is remembered who takes them
_DEVICES: Final = 1000  # that have left, of which the last Message-IDs are remembered


class Assembly:
    """Who is there.

    Attributes:
        persons: in the order in which they came.
        members: their sessions, in the order in which they came.
    """

    def __init__(self) -> None:
        self.persons: dict[Person, None] = {}
        self.members: dict[Member, None] = {}
        self._shown: dict[str, Person] = {}  # by the addresses that others may use
        self._owners: dict[tuple[str, bool], Person] = {}  # by identity, and whether hidden
        self._takers: dict[str, tuple[Member, ...]] = {}
        self._said: dict[tuple[str, bool, str], deque[str]] = {}  # by devices that have left
        self._arrivals = 0
        self._aliases = 0

    def person(self, applicant: Applicant) -> Person | None:
        """Return who this applicant already is in the room."""
        for uri in applicant.identities:
            found = self._owners.get((uri, applicant.hidden))
            if found is not None:
                return found
        return None

    def by_address(self, uri: str) -> Person | None:
        """Return who may be addressed so (canonical), by others or by itself."""
        return self._shown.get(uri)

    def by_aor(self, aor: str) -> Iterator[Person]:
        """Iterate over the persons that a user is: openly, and anonymously."""
        for hidden in (False, True):
            found = self._owners.get((aor, hidden))
            if found is not None:
                yield found

    def speaks_as(self, person: Person, uri: str) -> bool:
        """Tell whether a person may write messages under an address (canonical).

        Who is hidden may not know the address that it was given: any that names nobody does.
        """
        if person.hidden:
            return uri == person.shown or (is_nobody(uri) and uri not in self._shown)
        return uri in person.identities

    def add_person(self, applicant: Applicant, rights: Rights) -> Person:
        """Let somebody be in the room who is not yet.

        Raises:
            Refusal: the address is one that conceals somebody (403).
        """
        if not applicant.hidden and any(is_nobody(uri) for uri in applicant.identities):
            raise Refusal("who has no address of its own has to join anonymously")
        aor = applicant.identities[0]
        self._arrivals += 1
        person = Person(
            aor=aor,
            identities=applicant.identities,
            hidden=applicant.hidden,
            shown=self._alias() if applicant.hidden else aor,
            display="" if applicant.hidden else applicant.display,
            rights=rights,
            number=self._arrivals,
        )
        self.persons[person] = None
        for uri in person.identities:
            self._owners.setdefault((uri, person.hidden), person)
        for uri in (person.shown,) if person.hidden else person.identities:
            self._shown.setdefault(uri, person)
        return person

    def _alias(self) -> str:
        """Return an anonymous address that nobody has had in this room (RFC 4575 §5.6)."""
        self._aliases += 1
        return f"sip:anonymous{self._aliases}@anonymous.invalid"

    def add_member(self, person: Person, applicant: Applicant, now: float) -> Member:
        """Add a session of a person who is there."""
        person.devices += 1
        member = Member(
            person=person,
            link=applicant.link,
            offers=applicant.offers,
            device=applicant.device,
            method=applicant.method,
            name=f"{person.shown};device={person.devices}",
            joined_at=now,
        )
        said = self._said.pop((person.aor, person.hidden, member.device), None)
        if said is not None:
            member.said = said
        person.members.append(member)
        self.members[member] = None
        self._takers.clear()
        return member

    def remove(self, member: Member) -> bool:
        """Take a session out. Returns: whether its person is gone with it.

        A device that comes back may say again what it is not sure of having said: that is
        still known then (RFC 4975 §5.4).
        """
        person = member.person
        member.present = False
        if member.device:
            self._said[(person.aor, person.hidden, member.device)] = member.said
            if len(self._said) > _DEVICES:
                del self._said[next(iter(self._said))]
        person.members.remove(member)
        del self.members[member]
        self._takers.clear()
        if person.members:
            return False
        del self.persons[person]
        for uri in person.identities:
            if self._owners.get((uri, person.hidden)) is person:
                del self._owners[(uri, person.hidden)]
            if self._shown.get(uri) is person:
                del self._shown[uri]
        if self._shown.get(person.shown) is person:
            del self._shown[person.shown]
        return True

    def forget_offers(self) -> None:
        """Look at what the sessions take anew: one has changed."""
        self._takers.clear()

    def takers(self, media_type: str) -> tuple[Member, ...]:
        """Return the sessions that take content of this type, in the order of coming."""
        found = self._takers.get(media_type)
        if found is None:
            if len(self._takers) >= _TYPES:
                self._takers.clear()
            found = tuple(one for one in self.members if one.offers.takes(media_type))
            self._takers[media_type] = found
        return found
