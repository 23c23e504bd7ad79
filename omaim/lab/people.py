"""Who lives in a lab.

The passwords of a lab are easy on purpose: it listens on loopback addresses only, and people
type them into other software.
"""

from __future__ import annotations

import attrs

NORTH = ("alice", "bob", "carol")
SOUTH = ("xenia", "yusuf", "zoe")


@attrs.frozen
class Person:
    """One user of the lab."""

    name: str
    domain: str

    @property
    def aor(self) -> str:
        """The SIP address of record."""
        return f"sip:{self.name}@{self.domain}"

    @property
    def private_id(self) -> str:
        """The digest user name."""
        return f"{self.name}@{self.domain}"

    @property
    def password(self) -> str:
        """The password."""
        return f"{self.name}-secret"


def people_file(people: tuple[Person, ...]) -> str:
    """Return the people file of one core; see :mod:`omaim.node.people`."""
    entries = [
        f'[[person]]\nprivate = "{person.private_id}"\npassword = "{person.password}"\n'
        f'public = ["{person.aor}"]\n'
        for person in people
    ]
    return "\n".join(entries)
