"""The client's side of Digest: take challenges, answer them, check that the server knows too.

Spec: RFC 3261 §22; RFC 8760 §2.4; RFC 7616 §3.4, §3.5, §3.6
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final, final

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.digest import (
    ALGORITHMS,
    Credentials,
    compute,
    digest_of,
    encode,
    hash_a1,
    hash_username,
    parse_credentials,
    parse_parameters,
    quote,
)
from omaim.sip.message import Response

_ANSWER_IN: Final = {
    "WWW-Authenticate": "Authorization",
    "Proxy-Authenticate": "Proxy-Authorization",
}
_CHALLENGE_IN: Final = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}
_MAX_REALMS: Final = 8  # how many different challengers one request path may have
_MAX_TRIES: Final = 4  # of one request, whatever its challengers say


@final
class Challenge:
    """One Digest challenge that can be answered.

    Attributes:
        algorithm: one of :data:`omaim.sip.digest.ALGORITHMS`.
        qop: what the server offers, in lower case; empty from an RFC 2069 server.

    Spec: RFC 7616 §3.3
    """

    __slots__ = ("algorithm", "nonce", "opaque", "qop", "realm", "session", "stale", "userhash")

    def __init__(self, values: dict[str, str]) -> None:
        self.realm = values.get("realm", "")
        self.nonce = values.get("nonce", "")
        self.opaque = values.get("opaque")
        self.stale = values.get("stale", "").lower() == "true"
        self.userhash = values.get("userhash", "").lower() == "true"
        self.qop = [item.strip() for item in values.get("qop", "").lower().split(",")]
        algorithm = values.get("algorithm", "MD5").upper()
        self.session = algorithm.endswith("-SESS")
        self.algorithm = algorithm[:-5] if self.session else algorithm
        if "realm" not in values or not self.nonce:
            raise PeerError("a Digest challenge without realm or nonce")


def parse_challenge(text: str) -> Challenge | None:
    """Return the challenge, or ``None`` for one that we cannot answer.

    That is another scheme, an unknown algorithm, or no qop that we know; a client ignores it.

    Raises:
        PeerError: Digest, but it does not parse.

    Spec: RFC 8760 §2.4; RFC 7616 §3.3
    """
    if text[:7].lower() != "digest ":
        return None
    challenge = Challenge(parse_parameters(text, 7))
    if challenge.algorithm not in ALGORITHMS:
        return None
    if challenge.qop != [""] and "auth" not in challenge.qop and "auth-int" not in challenge.qop:
        return None
    if challenge.qop == [""] and challenge.session:
        return None
    return challenge


def is_stale(response: Response) -> bool:
    """Tell whether a 401 or 407 is about the nonce alone: the password was right.

    Spec: RFC 7616 §3.3 (stale)
    """
    name = _CHALLENGE_IN.get(response.status, "")
    for text in response.all(name) if name else ():
        try:
            challenge = parse_challenge(text)
        except PeerError:
            continue
        if challenge is not None and challenge.stale:
            return True
    return False


@final
class _Protection:
    """The state of one authentication session: a challenge and how often it was answered."""

    __slots__ = ("challenge", "cnonce", "count", "ha1")

    def __init__(self, challenge: Challenge, cnonce: str, ha1: str) -> None:
        self.challenge = challenge
        self.cnonce = cnonce
        self.count = 0
        self.ha1 = ha1


@final
class Answerer:
    """Answers challenges with one user's name and password; keeps nonces and counts them.

    ``repr`` does not show the password, and neither does any error.

    Args:
        ids: where cnonces come from.
        algorithms: what we are willing to use, strongest first; leave MD5 out to refuse it.
        integrity: prefer "auth-int" to "auth" when both are offered.

    Spec: RFC 3261 §22.2, §22.3; RFC 7616 §3.6
    """

    __slots__ = (
        "_algorithms",
        "_ids",
        "_integrity",
        "_password",
        "_protections",
        "username",
    )

    def __init__(
        self,
        username: str,
        password: str,
        ids: Ids,
        algorithms: tuple[str, ...] = ALGORITHMS,
        integrity: bool = False,
    ) -> None:
        self.username = username
        self._password = encode(password)
        self._ids = ids
        self._algorithms = algorithms
        self._integrity = integrity
        self._protections: dict[tuple[str, str], _Protection] = {}

    def __repr__(self) -> str:
        return f"Answerer({self.username!r})"

    def take(self, header: str, values: list[str], tries: int) -> bool:
        """Take the challenges of a 401 or 407.

        Of several for one realm the strongest is taken. Challenges that do not parse are
        ignored like those that we cannot answer.

        Args:
            header: "WWW-Authenticate" or "Proxy-Authenticate".
            values: all its lines.
            tries: how often this very request was answered already; 0 when what it carried,
                if anything, came from an earlier request.

        Returns:
            Whether sending the request again with :meth:`answers` can help. ``False`` after
            an answer that was refused and not for a stale nonce, as the password is wrong. A
            stale nonce says that it is right, and then only the number of tries ends it, since the
            server may restart, or a request beside this one may be challenged meanwhile.

        Spec: RFC 8760 §2.4; RFC 3261 §22.1, §22.3; RFC 7616 §3.3 (stale)
        """
        if tries >= _MAX_TRIES:
            return False
        best: dict[str, Challenge] = {}
        for text in values:
            try:
                challenge = parse_challenge(text)
            except PeerError:
                continue
            if challenge is None or challenge.algorithm not in self._algorithms:
                continue
            other = best.get(challenge.realm)
            if other is None or self._rank(challenge) < self._rank(other):
                best[challenge.realm] = challenge
        useful = False
        for realm, challenge in best.items():
            useful = self._adopt(header, realm, challenge, tries) or useful
        return useful

    def _rank(self, challenge: Challenge) -> int:
        return self._algorithms.index(challenge.algorithm)

    def _adopt(self, header: str, realm: str, challenge: Challenge, tries: int) -> bool:
        """Start a session with ``challenge``; tell whether it is worth an answer."""
        key = (header, realm)
        known = self._protections.get(key)
        if known is not None:
            if tries and not challenge.stale:
                return False
            if known.challenge.nonce == challenge.nonce:
                return not tries
        elif len(self._protections) >= _MAX_REALMS:
            return False
        ha1 = hash_a1(challenge.algorithm, self.username, realm, self._password)
        cnonce = self._ids.token(24)
        if challenge.session:
            ha1 = digest_of(challenge.algorithm, encode(f"{ha1}:{challenge.nonce}:{cnonce}"))
        self._protections[key] = _Protection(challenge, cnonce, ha1)
        return True

    def answers(self, method: str, uri: str, body: bytes) -> list[tuple[str, str]]:
        """Return the header lines that a request needs, for all challengers known.

        Each call counts as one use of the nonces. A CANCEL or an ACK takes the lines of its
        INVITE instead (RFC 3261 §22.1).

        Args:
            uri: the Request-URI as it will be written.

        Spec: RFC 7616 §3.4; RFC 3261 §22.2, §22.3
        """
        lines = []
        for (header, _), protection in self._protections.items():
            protection.count += 1
            value = self._write(protection, method, uri, body)
            lines.append((_ANSWER_IN[header], value))
        return lines

    def _credentials(self, protection: _Protection, uri: str) -> Credentials:
        challenge = protection.challenge
        values = {"username": self.username, "nonce": challenge.nonce, "uri": uri}
        values["realm"] = challenge.realm
        values["algorithm"] = challenge.algorithm
        if challenge.qop != [""]:
            integrity = self._integrity or "auth" not in challenge.qop
            values["qop"] = "auth-int" if integrity and "auth-int" in challenge.qop else "auth"
            values["cnonce"] = protection.cnonce
            values["nc"] = f"{protection.count:08x}"
        return Credentials(values)

    def _write(self, protection: _Protection, method: str, uri: str, body: bytes) -> str:
        challenge = protection.challenge
        credentials = self._credentials(protection, uri)
        response = compute(credentials, protection.ha1, method, body)
        username = self.username
        if challenge.userhash:
            username = hash_username(challenge.algorithm, username, challenge.realm)
        algorithm = challenge.algorithm + ("-sess" if challenge.session else "")
        value = (
            f"Digest username={quote(username)}, realm={quote(challenge.realm)}, "
            f"nonce={quote(challenge.nonce)}, uri={quote(uri)}, "
            f'response="{response}", algorithm={algorithm}'
        )
        if credentials.qop:
            value += f', qop={credentials.qop}, cnonce="{credentials.cnonce}", nc={credentials.nc}'
        if challenge.userhash:
            value += ", userhash=true"
        if challenge.opaque is not None:
            value += f", opaque={quote(challenge.opaque)}"
        return value

    def confirm(self, sent: str, info: str, body: bytes) -> bool:
        """Check an Authentication-Info value; take a next nonce from it.

        Args:
            sent: the Authorization value of the request that was answered.
            info: the value that came back.
            body: of the response.

        Returns:
            Whether the server proved that it knows the password. ``False`` also when it
            gave no proof; a next nonce is taken only together with a proof.

        Raises:
            PeerError: the value does not parse.

        Spec: RFC 7616 §3.5
        """
        credentials = parse_credentials(sent)
        values = parse_parameters(info, 0)
        if credentials is None:
            return False
        credentials.session = False  # the session key is kept ready
        for (_, realm), protection in self._protections.items():
            if realm == credentials.realm and _proves(protection, credentials, values, body):
                following = values.get("nextnonce", "")
                if following and protection.challenge.nonce == credentials.nonce:
                    self._renew(protection, following)
                return True
        return False

    def _renew(self, protection: _Protection, nonce: str) -> None:
        challenge = protection.challenge
        challenge.nonce = nonce
        protection.count = 0
        if not challenge.session:
            protection.cnonce = self._ids.token(24)


def _proves(
    protection: _Protection, credentials: Credentials, values: dict[str, str], body: bytes
) -> bool:
    """Tell whether ``values`` hold the digest that only a server with our secret can make."""
    proof = values.get("rspauth", "").lower()
    if credentials.algorithm != protection.challenge.algorithm or not proof.isascii():
        return False
    if credentials.qop:
        same = (
            values.get("cnonce") == credentials.cnonce
            and values.get("nc", "").lower() == credentials.nc
            and values.get("qop", "").lower() == credentials.qop
        )
        if not same:
            return False
    return compare_digest(compute(credentials, protection.ha1, "", body), proof)
