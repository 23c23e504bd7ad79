"""Who is it: challenge, verify, and the identity to assert.

Spec: RFC 3261 §22; RFC 8760; RFC 3325 §5
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import PeerError
from omaim.sip.digest import ACCEPTED, REFUSED, find_credentials, same_target
from omaim.sip.message import Request
from omaim.sip.verifying import PATIENCE, WAIT, Account, Verifier


@final
class Challenge:
    """What to answer somebody who has not proved who they are.

    Attributes:
        status: 401 or 407; 403 after too many wrong answers.
        headers: lines to add to the response.
    """

    __slots__ = ("headers", "status")

    def __init__(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.status: Final = status
        self.headers: Final = headers


@final
class Proof:
    """Somebody who has proved who they are.

    Attributes:
        account: whose credentials they have.
        info: value for (Proxy-)Authentication-Info, which proves us in return.
    """

    __slots__ = ("account", "info")

    def __init__(self, account: Account, info: str) -> None:
        self.account: Final = account
        self.info: Final = info


@final
class Authenticator:
    """Asks for proof and checks it.

    Args:
        verifier: makes the challenges, and judges the answers; its realm is the home domain.
    """

    __slots__ = ("_verifier",)

    def __init__(self, verifier: Verifier) -> None:
        self._verifier: Final = verifier

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

    def withhold(self, request: Request) -> None:
        """Take off a request what proves a user to us: it proves nothing to anybody else.

        What is for other realms stays.

        Spec: RFC 3261 §22.3
        """
        for name in ("Proxy-Authorization", "Authorization"):
            texts = request.all(name) if request.has(name) else []
            others = [
                text for text in texts if find_credentials([text], self._verifier.realm) is None
            ]
            if len(others) < len(texts):
                request.remove(name)
                for text in others:
                    request.add(name, text)

    def _decide(self, request: Request, header: str, source: str, now: float) -> Proof | Challenge:
        texts = request.all(header)
        credentials = find_credentials(texts, self._verifier.realm) if texts else None
        if credentials is None or not credentials.response:
            return self._challenge(header, now, False)
        if not same_target(credentials, request.uri):
            raise PeerError("the digest was made for another Request-URI")
        found = self._verifier.judge(credentials, request.method, request.body, source, now)
        if found.result == WAIT:
            return Challenge(403, [("Retry-After", str(int(PATIENCE)))])
        if found.result == ACCEPTED and found.account is not None:
            return Proof(found.account, found.info)
        return self._challenge(header, now, found.result != REFUSED)

    def _challenge(self, header: str, now: float, stale: bool) -> Challenge:
        proxy = header == "Proxy-Authorization"
        name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
        lines = self._verifier.challenges(now, stale)
        return Challenge(407 if proxy else 401, [(name, line) for line in lines])
