"""Who knows a user's password: credentials against accounts, with patience that ends.

Spec: RFC 3261 §22; RFC 7616 §3.4.6; RFC 8760
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.sip.digest import (
    ACCEPTED,
    REFUSED,
    STALE,
    Credentials,
    authentication_info,
    challenges,
    verify,
)
from omaim.sip.held import Held
from omaim.sip.nonces import Nonces

ATTEMPTS: Final = 20  # wrong answers for one user from one address before it has to wait
PATIENCE: Final = 60.0  # seconds it then waits after the last of them
_SOURCES: Final = 20_000  # pairs of user and address remembered

WAIT: Final = 4  # too many wrong answers: nothing is looked at for now


@final
class Account:
    """A user as somebody who proves something. Nothing of it is ever shown.

    Args:
        private_id: the user name of its credentials.
        ha1s: H(A1) in hex by algorithm, for the realm at hand.
        user: the record in the store.
    """

    __slots__ = ("ha1s", "private_id", "user")

    def __init__(self, private_id: str, ha1s: dict[str, str], user: object) -> None:
        self.private_id: Final = private_id
        self.ha1s: Final = ha1s
        self.user: Final = user

    def __repr__(self) -> str:
        return f"Account({self.private_id!r})"


@final
class Judgement:
    """What credentials are worth.

    Attributes:
        result: ACCEPTED, STALE or REFUSED of :mod:`omaim.sip.digest`, or :data:`WAIT`.
        account: of ACCEPTED.
        info: of ACCEPTED: value for (Proxy-)Authentication-Info, which proves us in return.
    """

    __slots__ = ("account", "info", "result")

    def __init__(self, result: int, account: Account | None = None, info: str = "") -> None:
        self.result: Final = result
        self.account: Final = account
        self.info: Final = info


@final
class Verifier:
    """Makes challenges and judges the answers.

    Args:
        realm: of the protection space.
        accounts: by private identity: where credentials come from.
        nonces: makes and knows the challenges.
        seconds: of the clock for timers; counts how long somebody has to wait.
        algorithms: those offered, strongest first.
        qop: what is offered.
    """

    __slots__ = (
        "_accounts",
        "_algorithms",
        "_nonces",
        "_qop",
        "_seconds",
        "_wrong",
        "realm",
    )

    def __init__(
        self,
        realm: str,
        accounts: Held[Account],
        nonces: Nonces,
        seconds: Callable[[], float],
        algorithms: tuple[str, ...],
        qop: str,
    ) -> None:
        self.realm = realm
        self._accounts: Final = accounts
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
        account = self._accounts.of(credentials.username)
        ha1 = ""
        if account is not None and credentials.algorithm in self._algorithms:
            ha1 = account.ha1s.get(credentials.algorithm, "")
        result = verify(credentials, method, body, ha1, self._nonces, self.realm, now)
        if result == ACCEPTED and account is not None:
            if self._wrong:
                self._wrong.pop(who, None)
            fresh = ""
            if self._nonces.aging(credentials.nonce, now):
                fresh = self._nonces.make(self.realm, now)
            info = authentication_info(credentials, ha1, b"", fresh)
            return Judgement(ACCEPTED, account, info)
        if result == REFUSED:
            self._count(who)
            return Judgement(REFUSED)
        return Judgement(STALE)

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
