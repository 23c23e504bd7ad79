"""The URIs that a relay has handed out: for whom each may be used, and how long.

Spec: RFC 4976 §6.3, §6.4
"""

from __future__ import annotations

from typing import Final, final

from omaim.ids import Ids
from omaim.msrp.uri import MsrpUri

SECRET: Final = 32  # hex digits of the part that nobody can guess: 128 bits, §6.3 wants 64
BINDINGS: Final = 32  # previous hops remembered for one URI
NOBODY: Final = 0  # the number of no connection


@final
class Grant:
    """One URI that was handed out.

    Attributes:
        owner: number of the connection by which alone its client is reached; ``NOBODY`` when
            the client is behind another relay.
        peer: host name of that relay, by any connection to which it is valid; else "".
        via: number of the connection by which it was asked for.
        user: who got it.
        until: when it ends, monotonic seconds.
        back: numbers of the connections by which previous hops came, by the key of their URI.

    Spec: RFC 4976 §6.3
    """

    __slots__ = ("back", "owner", "peer", "until", "uri", "user", "via")

    def __init__(self, uri: MsrpUri, via: int, peer: str, user: str, until: float) -> None:
        self.uri: Final = uri
        self.via: Final = via
        self.owner: Final = NOBODY if peer else via
        self.peer: Final = peer
        self.user: Final = user
        self.until: Final = until
        self.back: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Grant for {self.user}>"  # the URI is a secret

    def note(self, key: str, number: int) -> None:
        """Remember by which connection a previous hop comes."""
        if len(self.back) < BINDINGS or key in self.back:
            self.back[key] = number


@final
class Grants:
    """All of them.

    Args:
        ids: where the secrets come from.
        most: of all.
        most_each: of one connection, or of one relay.
    """

    __slots__ = ("_by_holder", "_by_key", "_ids", "_most", "_most_each")

    def __init__(self, ids: Ids, most: int = 100_000, most_each: int = 1000) -> None:
        self._ids = ids
        self._most = most
        self._most_each = most_each
        self._by_key: dict[str, Grant] = {}
        self._by_holder: dict[str, dict[str, Grant]] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def has_room(self, via: int, peer: str) -> bool:
        """Tell whether one more can be had there; a relay may have ten times what a client may."""
        held = self._by_holder.get(peer or str(via))
        most = self._most_each * 10 if peer else self._most_each
        return len(self._by_key) < self._most and (held is None or len(held) < most)

    def issue(self, place: MsrpUri, via: int, peer: str, user: str, until: float) -> Grant:
        """Hand out a new URI at ``place``, which has our host and port.

        Args:
            via: number of the connection by which it is asked for.
            peer: name of the relay there; "" when it is the client's own.

        Spec: RFC 4976 §4.2, §6.3
        """
        uri = MsrpUri(place.host, place.port, self._ids.token(SECRET), place.secure)
        grant = Grant(uri, via, peer, user, until)
        self._by_key[uri.key] = grant
        self._by_holder.setdefault(peer or str(via), {})[uri.key] = grant
        return grant

    def find(self, uri: MsrpUri, now: float) -> Grant | None:
        """Return what is known of a URI; ``None`` for one that is not ours or has ended."""
        grant = self._by_key.get(uri.key)
        return None if grant is None or grant.until <= now else grant

    def revoke(self, owner: int) -> None:
        """A client's connection is gone, and what was valid on it alone.

        Spec: RFC 4976 §6.3
        """
        for key in self._by_holder.pop(str(owner), {}):
            del self._by_key[key]

    def sweep(self, now: float) -> int:
        """Forget those that have ended; return how many."""
        over = [key for key, grant in self._by_key.items() if grant.until <= now]
        for key in over:
            grant = self._by_key.pop(key)
            holder = grant.peer or str(grant.owner)
            held = self._by_holder[holder]
            del held[key]
            if not held:
                del self._by_holder[holder]
        return len(over)
