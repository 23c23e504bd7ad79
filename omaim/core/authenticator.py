"""Who is it: challenge, verify, and the identity to assert.

Spec: RFC 3261 §22; RFC 8760; RFC 3325 §5
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from omaim.errors import PeerError
from omaim.sip.digest import (
    ACCEPTED,
    REFUSED,
    Credentials,
    authentication_info,
    challenges,
    find_credentials,
    same_target,
    verify,
)
from omaim.sip.message import Request
from omaim.sip.nonces import Nonces
from omaim.stores.interfaces import IUserStore
from omaim.stores.records import User

ATTEMPTS: Final = 20  # wrong answers for one user from one address before it has to wait
PATIENCE: Final = 60.0  # seconds it then waits after the first of them
_SOURCES: Final = 20_000  # pairs of user and address remembered


@attrs.frozen
class Challenge:
    """What to answer somebody who has not proved who they are.

    Attributes:
        status: 401 or 407; 403 after too many wrong answers.
        headers: lines to add to the response.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Proof:
    """Somebody who has proved who they are.

    Attributes:
        info: value for (Proxy-)Authentication-Info, which proves us in return.
    """

    user: User
    info: str


class Authenticator:
    """Asks for proof and checks it.

    Args:
        realm: of the protection space: the home domain.
        users: where credentials come from.
        nonces: makes and knows the challenges.
        seconds: of the clock for timers; counts how long somebody has to wait.
        algorithms: those offered, strongest first.
        qop: what is offered, "auth,auth-int".
    """

    def __init__(
        self,
        realm: str,
        users: IUserStore,
        nonces: Nonces,
        seconds: Callable[[], float],
        algorithms: tuple[str, ...] = ("SHA-256", "MD5"),
        qop: str = "auth,auth-int",
    ) -> None:
        self._realm = realm
        self._users = users
        self._nonces = nonces
        self._seconds = seconds
        self._algorithms = algorithms
        self._qop = qop
        self._wrong: dict[int, tuple[int, float]] = {}

    def register(self, request: Request, source: str, now: float) -> Proof | Challenge:
        """Authenticate as a registrar or user agent does: 401.

        Args:
            source: the address it came from, for counting wrong answers.
            now: seconds since the epoch, which nonces tell.

        Raises:
            PeerError: the credentials do not parse (400).

        Spec: RFC 3261 §22.2
        """
        return self._decide(request, "Authorization", source, now)

    def proxy(self, request: Request, source: str, now: float) -> Proof | Challenge:
        """Authenticate as a proxy does: 407.

        Spec: RFC 3261 §22.3
        """
        return self._decide(request, "Proxy-Authorization", source, now)

    def _decide(self, request: Request, header: str, source: str, now: float) -> Proof | Challenge:
        texts = request.all(header)
        credentials = find_credentials(texts, self._realm) if texts else None
        if credentials is None or not credentials.response:
            return self._challenge(header, now, False)
        # Both together: neither a user's enemy nor a neighbour behind the same address
        # can lock the user out. As a number, since a name may be thousands of octets.
        who = hash((source, credentials.username))
        if self._wrong and self._must_wait(who):
            return Challenge(403, (("Retry-After", str(int(PATIENCE))),))
        user = self._users.peek(credentials.username)
        if not same_target(credentials, request.uri):
            raise PeerError("the digest was made for another Request-URI")
        ha1 = self._ha1(user, credentials)
        verdict = verify(
            credentials, request.method, request.body, ha1, self._nonces, self._realm, now
        )
        if verdict == ACCEPTED and user is not None:
            if self._wrong:
                self._wrong.pop(who, None)
            fresh = ""
            if self._nonces.aging(credentials.nonce, now):
                fresh = self._nonces.make(self._realm, now)
            return Proof(user, authentication_info(credentials, ha1, b"", fresh))
        if verdict == REFUSED:
            self._count(who)
            return self._challenge(header, now, False)
        return self._challenge(header, now, True)

    def _challenge(self, header: str, now: float, stale: bool) -> Challenge:
        proxy = header == "Proxy-Authorization"
        name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
        lines = challenges(self._realm, self._nonces, now, stale, self._algorithms, self._qop)
        return Challenge(407 if proxy else 401, tuple([(name, line) for line in lines]))

    def _ha1(self, user: User | None, credentials: Credentials) -> str:
        if user is None or credentials.algorithm not in self._algorithms:
            return ""
        for credential in user.credentials:
            if credential.algorithm == credentials.algorithm and credential.realm == self._realm:
                return credential.ha1
        return ""

    def _must_wait(self, who: int) -> bool:
        count, since = self._wrong.get(who, (0, 0.0))
        if self._seconds() - since > PATIENCE:
            self._wrong.pop(who, None)
            return False
        return count >= ATTEMPTS

    def _count(self, who: int) -> None:
        count, _ = self._wrong.pop(who, (0, 0.0))
        if len(self._wrong) >= _SOURCES:
            del self._wrong[next(iter(self._wrong))]  # the one longest without a wrong answer
        self._wrong[who] = (count + 1, self._seconds())
