"""Digest authentication as MSRP wants it.

Spec: RFC 4976 §9.1; RFC 7616; RFC 8760 §2.3
"""

from __future__ import annotations

from collections.abc import Callable

from omaim.errors import PeerError
from omaim.msrp.admitting import Verdict
from omaim.msrp.frame import Head
from omaim.sip.digest import ACCEPTED, REFUSED, Credentials, parse_credentials
from omaim.sip.verifying import WAIT, Verifier


class Digest:
    """Judges the credentials of AUTH requests.

    Args:
        verifier: knows the users; offers qop "auth".
        now: seconds since the epoch.
    """

    def __init__(self, verifier: Verifier, now: Callable[[], float]) -> None:
        self._verifier = verifier
        self._now = now

    def check(self, head: Head, uri: str, source: str) -> Verdict:
        """Return what an AUTH is worth.

        Args:
            uri: the rightmost one of To-Path; the digest is about it, whatever the client
                wrote as ``uri``, if anything.
            source: the address it came from.

        Raises:
            PeerError: the credentials do not parse, or lack what MSRP wants of them (400).

        Spec: RFC 4976 §5.1, §9.1
        """
        now = self._now()
        field = head.get(b"Authorization")
        if field is None:
            return self._challenge(now, False, False)
        credentials = self._read(field)
        if credentials is None:
            return self._challenge(now, False, True)
        credentials.uri = uri
        found = self._verifier.judge(credentials, "AUTH", b"", source, now)
        if found.result == WAIT:
            return Verdict(403, failed=True)
        if found.result == ACCEPTED and found.account is not None:
            info = f"Authentication-Info: {found.info}\r\n".encode("utf-8", "surrogateescape")
            return Verdict(200, info, found.account.private_id)
        refused = found.result == REFUSED
        return self._challenge(now, not refused, refused)

    def _read(self, field: bytes) -> Credentials | None:
        """Return the credentials; ``None`` for those that a challenge of ours did not ask for."""
        credentials = parse_credentials(field.decode("utf-8", "surrogateescape"))
        if credentials is None or credentials.session:
            return None  # Basic, or MD5-sess
        if credentials.realm != self._verifier.realm or credentials.qop == "auth-int":
            return None
        if not credentials.qop:
            raise PeerError("credentials without qop")
        return credentials

    def _challenge(self, now: float, stale: bool, failed: bool) -> Verdict:
        values = self._verifier.challenges(now, stale)
        lines = [f"WWW-Authenticate: {value}\r\n" for value in values]
        return Verdict(401, "".join(lines).encode("utf-8"), failed=failed)
