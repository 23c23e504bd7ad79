"""Whom a third-party REGISTER is about, and whether it tells of a new device.

Spec: 3GPP TS 24.229 §5.4.1.7, §5.7.1.1; RFC 7315 §4.1 (P-Associated-URI)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from omaim.bodies.multipart import is_multipart, leaves
from omaim.errors import PeerError
from omaim.sip.message import Request, Response
from omaim.sip.parser import Limits, parse_datagram
from omaim.sip.uri import canonical_aor

MOST: Final = 32  # identities of one registration
MESSAGE: Final = "message/sip"
USERS: Final = 50_000  # whose devices are remembered


class Devices:
    """The devices, and the names, of the users who registered last."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[int]] = {}
        self._names: dict[str, tuple[str, ...]] = {}

    def note(self, user: str, contacts: frozenset[str]) -> bool:
        """Note where a user is registered; tell whether one of these places is new.

        Args:
            contacts: all Contact URIs; none when the core does not show them, which tells nothing.
        """
        if not contacts:
            return False
        before = self._known.pop(user, frozenset())
        if len(self._known) >= USERS:
            del self._known[next(iter(self._known))]
        now = self._known[user] = frozenset(map(hash, contacts))
        return not now <= before

    def name(self, users: Sequence[str]) -> None:
        """Note which addresses were registered together: they are one user's."""
        if len(users) < 2:
            return
        same = tuple(users)
        for user in same:
            self._names.pop(user, None)
            if len(self._names) >= USERS:
                del self._names[next(iter(self._names))]
            self._names[user] = same

    def names(self, user: str) -> tuple[str, ...]:
        """Return all addresses of a user that are known, the given one at least."""
        return self._names.get(user, (user,))

    def forget(self, user: str) -> None:
        """A user is registered nowhere."""
        self._known.pop(user, None)
        self._names.pop(user, None)


def registered_contacts(request: Request) -> frozenset[str]:
    """Return the Contact URIs in the response that the user got, none if it is not shown."""
    found: set[str] = set()
    for message in _shown(request):
        try:
            found.update(contact.uri_text for contact in message.contacts)
        except PeerError:
            continue
    return frozenset(found)


def registered_identities(request: Request) -> list[str]:
    """Return the addresses of record that a third-party REGISTER tells of, its To first.

    The others are those that were registered together with it: the core names them in the
    P-Associated-URI of the response that the user got, if its criteria let it show that.

    Raises:
        PeerError: no good To (400).
    """
    found = [canonical_aor(request.to.uri_text)]
    for message in _shown(request):
        found += [canonical_aor(one.uri_text) for one in message.addresses("P-Associated-URI")]
    return list(dict.fromkeys(found))[:MOST]


def _shown(request: Request) -> list[Response]:
    """Return the responses that a third-party REGISTER shows."""
    found = []
    for data in _messages(request.first("Content-Type") or "", request.body):
        try:
            message = parse_datagram(data, Limits())
        except PeerError:
            continue
        if isinstance(message, Response):
            found.append(message)
    return found


def _messages(content_type: str, body: bytes) -> list[bytes]:
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        return []
    if kind == MESSAGE:
        return [body]
    if not is_multipart(content_type):
        return []
    try:
        return [part.decoded() for part in leaves(content_type, body) if part.media_type == MESSAGE]
    except PeerError:
        return []
