"""Who knows a user's password: credentials against the user store, with patience that ends.

Spec: RFC 3261 §22; RFC 7616 §3.4.6; RFC 8760
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from omaim.sip.digest import (
    ACCEPTED,
    REFUSED,
    STALE,
    Credentials,
    authentication_info,
    challenges,
    verify,
)
from omaim.sip.nonces import Nonces
from omaim.stores.interfaces import IUserStore
from omaim.stores.records import User

ATTEMPTS: Final = 20  # wrong answers for one user from one address before it has to wait
PATIENCE: Final = 60.0  # seconds it then waits after the first of them
_SOURCES: Final = 20_000  # pairs of user and address remembered

WAIT: Final = 4  # too many wrong answers: nothing is looked at for now


@attrs.frozen
class Judgement:
    """What credentials are worth."""

    result: int  # omaim.sip.digest.ACCEPTED, STALE, REFUSED; or WAIT
    user: User | None = None  # of ACCEPTED
    info: str = ""  # of ACCEPTED: value for (Proxy-)Authentication-Info, which proves us in return


class Verifier:
    """Makes challenges and judges the answers.

    Args:
        realm: of the protection space.
        users: where credentials come from.
        nonces: makes and knows the challenges.
        seconds: of the clock for timers; counts how long somebody has to wait.
        algorithms: those offered, strongest first.
        qop: what is offered.
    """

    def __init__(
        self,
        realm: str,
        users: IUserStore,
        nonces: Nonces,
        seconds: Callable[[], float],
        algorithms: tuple[str, ...],
        qop: str,
    ) -> None:
        self.realm = realm
        self._users = users
        self._nonces = nonces
        self._seconds = seconds
        self._algorithms = algorithms
        self._qop = qop
        self._wrong: dict[int, tuple[int, float]] = {}

    def challenges(self, now: float, stale: bool) -> list[str]:
        """Return the values of challenges, one for each algorithm.

        Args:
            now: seconds since the epoch, which nonces tell.
            stale: the answer was right, but for the nonce.
        """
        return challenges(self.realm, self._nonces, now, stale, self._algorithms, self._qop)

    def judge(
        self, credentials: Credentials, method: str, body: bytes, source: str, now: float
    ) -> Judgement:
        """Return what credentials are worth.

        Args:
            source: the address they came from, for counting wrong answers.
            now: seconds since the epoch.
        """
        # Both together: neither a user's enemy nor a neighbour behind the same address
        # can lock the user out. As a number, since a name may be thousands of octets.
        who = hash((source, credentials.username))
        if self._wrong and self._must_wait(who):
            return Judgement(WAIT)
        user = self._users.peek(credentials.username)
        ha1 = self._ha1(user, credentials)
        result = verify(credentials, method, body, ha1, self._nonces, self.realm, now)
        if result == ACCEPTED and user is not None:
            if self._wrong:
                self._wrong.pop(who, None)
            fresh = ""
            if self._nonces.aging(credentials.nonce, now):
                fresh = self._nonces.make(self.realm, now)
            return Judgement(ACCEPTED, user, authentication_info(credentials, ha1, b"", fresh))
        if result == REFUSED:
            self._count(who)
            return Judgement(REFUSED)
        return Judgement(STALE)

    def _ha1(self, user: User | None, credentials: Credentials) -> str:
        if user is None or credentials.algorithm not in self._algorithms:
            return ""
        for credential in user.credentials:
            if credential.algorithm == credentials.algorithm and credential.realm == self.realm:
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
