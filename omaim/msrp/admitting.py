"""AUTH at a relay: who may have a URI, for how long, and by which way back.

The digest is checked by whoever runs the relay; here is the rest.

Spec: RFC 4976 §5.1, §6.3
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.errors import PeerError
from omaim.msrp.frame import Head, write_response
from omaim.msrp.grants import Grants
from omaim.msrp.uri import MsrpUri, parse_path, write_path

NAMES: Final = 16  # of hosts, that are remembered as proved by one peer, or not
_DIGITS: Final = 10  # of an Expires


@final
class Verdict:
    """What has been found out about the sender of an AUTH.

    Args:
        status: 200; 401 with a challenge; 403; 400.
        fields: of the response: WWW-Authenticate or Authentication-Info, each with its line end.
        user: whose credentials they were, of 200.
        failed: credentials were given and are wrong.
    """

    __slots__ = ("failed", "fields", "status", "user")

    def __init__(
        self, status: int, fields: bytes = b"", user: str = "", failed: bool = False
    ) -> None:
        self.status: Final = status
        self.fields: Final = fields
        self.user: Final = user
        self.failed: Final = failed


@final
class Terms:
    """For how long URIs are handed out.

    Args:
        shortest: seconds that a client may ask for at least, else 423.
        longest: seconds it may ask for at most, else 423.
        usual: seconds for those who do not ask.
        plain: answer AUTH without TLS, which the RFC forbids: for laboratories.
        failures: refused AUTHs in a row after which a client's connection is ended.
    """

    __slots__ = ("failures", "longest", "plain", "shortest", "usual")

    def __init__(
        self,
        shortest: int = 60,
        longest: int = 86400,
        usual: int = 3600,
        plain: bool = False,
        failures: int = 5,
    ) -> None:
        self.shortest: Final = shortest
        self.longest: Final = longest
        self.usual: Final = usual
        self.plain: Final = plain
        self.failures: Final = failures


@final
class Neighbour:
    """Who is at the other end of a connection.

    Args:
        host: its address.
        secure: the connection is TLS.
        place: our host and port there, as URIs that we hand out name them.
        vouches: tells whether its certificate, found valid, names this host.
        initiated: we have opened the connection.
    """

    __slots__ = ("_proved", "_vouches", "host", "initiated", "place", "secure")

    def __init__(
        self,
        host: str,
        secure: bool,
        place: MsrpUri,
        vouches: Callable[[str], bool],
        initiated: bool,
    ) -> None:
        self.host: Final = host
        self.secure: Final = secure
        self.place: Final = place
        self.initiated: Final = initiated
        self._vouches = vouches
        self._proved: dict[str, bool] = {}

    @property
    def is_relay(self) -> bool:
        """Whether it has proved to be some relay."""
        return True in self._proved.values()

    def has_proved(self, host: str) -> bool:
        """Tell whether it was asked to prove to be the relay ``host``, and has."""
        return self._proved.get(host, False)

    def proves(self, host: str) -> bool:
        """Tell whether it has proved to be the relay ``host`` (§6.3)."""
        if not self.secure:
            return False
        known = self._proved.get(host)
        if known is None:
            known = self._vouches(host)
            if len(self._proved) < NAMES:
                self._proved[host] = known
        return known


@final
class Answer:
    """What to say to an AUTH.

    Attributes:
        data: the whole response.
        status: its status.
        failed: credentials were given and are of no use.
    """

    __slots__ = ("data", "failed", "status")

    def __init__(self, data: bytes, status: int, failed: bool) -> None:
        self.data: Final = data
        self.status: Final = status
        self.failed: Final = failed


@final
class Admission:
    """Answers AUTH requests that end here.

    Args:
        grants: where URIs come from.
        terms: for how long.
        check: judges the credentials: gets the request, the digest-uri (the rightmost URI of
            To-Path, §9.1) and the address it came from.
    """

    __slots__ = ("_check", "_grants", "terms")

    def __init__(
        self, grants: Grants, terms: Terms, check: Callable[[Head, str, str], Verdict]
    ) -> None:
        self.terms: Final = terms
        self._grants = grants
        self._check = check

    def answer(
        self, head: Head, neighbour: Neighbour, number: int, peer: str, now: float
    ) -> Answer:
        """Return the answer to an AUTH.

        Args:
            neighbour: by whose connection it has come; number: of that.
            peer: name of the relay there that has proved itself by its certificate; "" for
                none.

        Raises:
            PeerError: it cannot be understood (400), or has to be TLS (403).

        Spec: RFC 4976 §6.3, §9.1, §9.2
        """
        if not neighbour.secure and not self.terms.plain:
            raise PeerError("AUTH needs TLS", 403)
        to = head.to_path.decode("ascii", "replace")
        verdict = self._check(head, to.rpartition(" ")[2], neighbour.host)
        if verdict.status != 200:
            return _answer(head, verdict.status, verdict.fields, verdict.failed)
        seconds = self._seconds(head)
        if seconds < 0:
            bound = b"Min-Expires: %d\r\n" % self.terms.shortest
            return _answer(head, 423, bound, False)
        if seconds > self.terms.longest:
            bound = b"Max-Expires: %d\r\n" % self.terms.longest
            return _answer(head, 423, bound, False)
        if not self._grants.has_room(number, peer):
            raise PeerError("too many URIs are in use", 403)
        came = parse_path(head.from_path.decode("ascii", "replace"))
        until = now + seconds
        grant = self._grants.issue(neighbour.place, number, peer, verdict.user, until)
        # The relays between the client and us, as the client passes them (§5.1).
        way = (*reversed(came[:-1]), grant.uri)
        fields = b"Use-Path: %b\r\n%bExpires: %d\r\n" % (
            write_path(way).encode("ascii"),
            verdict.fields,
            seconds,
        )
        return _answer(head, 200, fields, False)

    def _seconds(self, head: Head) -> int:
        """Return the lifetime that a request asks for; -1 for one that is too short."""
        field = head.get(b"Expires")
        if field is None:
            return self.terms.usual
        if not field.isdigit() or len(field) > _DIGITS:
            raise PeerError("Expires is no number of seconds")
        seconds = int(field)
        return -1 if seconds < self.terms.shortest else seconds


def _answer(head: Head, status: int, fields: bytes, failed: bool) -> Answer:
    own = head.to_path
    data = write_response(head.transaction, status, "", head.from_path, own, fields)
    return Answer(data, status, failed)
