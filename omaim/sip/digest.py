"""Digest authentication: challenges, answers, verification.

Read top-down: the algorithms and :class:`Secret`, what a server keeps of a password; then
:class:`Credentials`, one parsed Authorization line; :func:`verify`, the server's decision;
:func:`challenges` and :func:`authentication_info`, what it writes. The client's side, which
answers challenges, is :mod:`omaim.sip.answering`; the nonces are in :mod:`omaim.sip.nonces`.

Spec: RFC 3261 §22; RFC 8760; RFC 7616
"""

from __future__ import annotations

import hashlib
import re
from hmac import compare_digest
from typing import Final, final
from urllib.parse import unquote_to_bytes

from omaim.errors import PeerError, UsageError
from omaim.sip.nonces import FRESH, Nonces
from omaim.sip.uri import parse_uri

MD5: Final = "MD5"
SHA_256: Final = "SHA-256"
SHA_512_256: Final = "SHA-512-256"
ALGORITHMS: Final = (SHA_512_256, SHA_256, MD5)  # strongest first, as they are offered

ACCEPTED: Final = 0  # the peer knows the password, and this answer was never seen before
STALE: Final = 1  # right password, but the nonce is old or none of ours: challenge, stale=true
REPLAYED: Final = 2  # right answer, but already used with this nonce: challenge, stale=true
REFUSED: Final = 3  # wrong password, unknown user, or another realm: challenge anew

MAX_TEXT: Final = 4096  # octets of one Authorization line that are looked at

_is_name: Final = re.compile(r'[^\s=,"]+').fullmatch
_is_value: Final = re.compile(r'[^\s,"]+').fullmatch
_quoted: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"').match
_ESCAPE: Final = re.compile(r"\\(.)")
_KNOWN: Final = 256  # H(A2) remembered, which say nothing of anybody's password
_KNOWN_LENGTH: Final = 160  # longer ones are rare and would let a peer fill the memory
_known: Final[dict[str, str]] = {}
_HEX: Final = frozenset("0123456789abcdefABCDEF")


def digest_of(algorithm: str, data: bytes) -> str:
    """Return the hash of ``data`` in lower-case hex.

    Args:
        algorithm: one of :data:`ALGORITHMS`.

    Raises:
        UsageError: the algorithm is none of them.

    Spec: RFC 8760 §2.2; RFC 7616 §3.3
    """
    if algorithm == MD5:
        return hashlib.md5(data).hexdigest()
    if algorithm == SHA_256:
        return hashlib.sha256(data).hexdigest()
    if algorithm == SHA_512_256:
        return hashlib.new("sha512_256", data).hexdigest()
    raise UsageError(f"no digest algorithm {algorithm!r}: ask for one of {ALGORITHMS}")


def hash_a1(algorithm: str, username: str, realm: str, password: bytes) -> str:
    """Return H(username:realm:password), which a server may keep instead of the password.

    Spec: RFC 7616 §3.4.2
    """
    return digest_of(algorithm, encode(f"{username}:{realm}:") + password)


def hash_username(algorithm: str, username: str, realm: str) -> str:
    """Return what stands for a user name when ``userhash`` hides it.

    Spec: RFC 7616 §3.4.4
    """
    return digest_of(algorithm, encode(f"{username}:{realm}"))


def encode(text: str) -> bytes:
    """Return the octets of header text: UTF-8, foreign octets as they came."""
    return text.encode("utf-8", "surrogateescape")


@final
class Secret:
    """What a server keeps of one user's password: a hash for each algorithm.

    Nothing of it is ever shown.

    Args:
        md5, sha_256, sha_512_256: H(A1) in hex; "" when this algorithm is not allowed.

    Spec: RFC 7616 §3.4.2, §5.2; RFC 8760 §2.1
    """

    __slots__ = ("md5", "sha_256", "sha_512_256")

    def __init__(self, md5: str = "", sha_256: str = "", sha_512_256: str = "") -> None:
        self.md5 = md5
        self.sha_256 = sha_256
        self.sha_512_256 = sha_512_256

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def ha1(self, algorithm: str) -> str:
        """Return H(A1) for ``algorithm``, "" when there is none."""
        if algorithm == MD5:
            return self.md5
        if algorithm == SHA_256:
            return self.sha_256
        if algorithm == SHA_512_256:
            return self.sha_512_256
        return ""


def secret_of(username: str, realm: str, password: str) -> Secret:
    """Return what to keep so that this password can be verified with every algorithm."""
    octets = encode(password)
    return Secret(
        hash_a1(MD5, username, realm, octets),
        hash_a1(SHA_256, username, realm, octets),
        hash_a1(SHA_512_256, username, realm, octets),
    )


@final
class Credentials:
    """One Authorization or Proxy-Authorization value of the Digest scheme.

    Attributes:
        username: as written; a hash when ``userhash``.
        uri: the Request-URI that the client meant.
        response: the answer in lower-case hex; "" when the client only names itself.
        algorithm: canonical name without "-sess"; another name as written, in upper case.
        session: whether "-sess" was asked.
        qop: "auth", "auth-int", or "" for a client that knows RFC 2069 only.
        count: the nonce count; 0 without qop.
        auts: the resynchronisation token of AKA (RFC 3310 §3.4), "" without.

    Spec: RFC 7616 §3.4; RFC 3261 §20.7, §20.28
    """

    __slots__ = (
        "algorithm",
        "auts",
        "cnonce",
        "count",
        "nc",
        "nonce",
        "opaque",
        "qop",
        "realm",
        "response",
        "session",
        "uri",
        "userhash",
        "username",
    )

    def __init__(self, values: dict[str, str]) -> None:
        self.username = values.get("username", "")
        self.realm = values.get("realm", "")
        self.nonce = values.get("nonce", "")
        self.uri = values.get("uri", "")
        self.response = values.get("response", "").lower()
        self.cnonce = values.get("cnonce", "")
        self.opaque = values.get("opaque", "")
        self.nc = values.get("nc", "")
        self.qop = values.get("qop", "").lower()
        self.auts = values.get("auts", "")
        self.userhash = values.get("userhash", "").lower() == "true"
        algorithm = values.get("algorithm", MD5).upper()
        self.session = algorithm.endswith("-SESS")
        self.algorithm = algorithm[:-5] if self.session else algorithm
        self.count = 0
        extended = values.get("username*")
        if extended is not None:
            if "username" in values:
                raise PeerError("both username and username* in the credentials")
            self.username = _extended_value(extended)
        if self.qop:
            if self.qop != "auth" and self.qop != "auth-int":
                raise PeerError("the credentials ask for an unknown qop")
            if not self.cnonce or len(self.nc) != 8 or not _HEX.issuperset(self.nc):
                raise PeerError("credentials with qop need a cnonce and a count of 8 hex digits")
            self.count = int(self.nc, 16)
        elif self.session:
            raise PeerError("a session algorithm needs qop and cnonce")

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, {self.realm!r}, {self.algorithm!r})"


def _extended_value(text: str) -> str:
    """Return what an RFC 5987 value says; only UTF-8 is understood."""
    charset, _, rest = text.partition("'")
    _, quote, encoded = rest.partition("'")
    if charset.lower() != "utf-8" or not quote:
        raise PeerError("username* is not in UTF-8")
    try:
        return unquote_to_bytes(encoded).decode("utf-8")
    except ValueError:
        raise PeerError("username* is not in UTF-8")


def parse_parameters(text: str, start: int) -> dict[str, str]:
    """Return the parameters from ``start`` on: lower-case names, values without quotes.

    Raises:
        PeerError: not a list of ``name=value``, a name twice, or longer than ``MAX_TEXT``.

    Spec: RFC 3261 §25.1 (auth-params)
    """
    if len(text) > MAX_TEXT:
        raise PeerError("authentication parameters are too long")
    values: dict[str, str] = {}
    position = start
    size = len(text)
    while position < size:
        equals = text.find("=", position)
        name = text[position:equals].strip()
        if equals < 0 or not (name.isalnum() or _is_name(name) is not None):
            raise PeerError("authentication parameters do not parse")
        value, position = _value_at(text, equals + 1)
        key = name.lower()
        if key in values:
            raise PeerError("an authentication parameter appears twice")
        values[key] = value
    if not values:
        raise PeerError("authentication parameters do not parse")
    if not text.isascii():
        try:
            encode(text)
        except UnicodeEncodeError:
            raise PeerError("authentication parameters are no text")
    return values


def _value_at(text: str, start: int) -> tuple[str, int]:
    """Return the value that begins at ``start``, and where the next parameter begins."""
    size = len(text)
    while start < size and text[start].isspace():
        start += 1
    if start < size and text[start] == '"':
        end = text.find('"', start + 1) + 1
        value = text[start + 1 : end - 1]
        if end == 0 or "\\" in value:
            found = _quoted(text, start)
            if found is None:
                raise PeerError("authentication parameters do not parse")
            end = found.end()
            value = text[start + 1 : end - 1]
        comma = text.find(",", end)
        if comma != end and text[end : comma if comma >= 0 else size].strip():
            raise PeerError("authentication parameters do not parse")
    else:
        comma = text.find(",", start)
        value = text[start : comma if comma >= 0 else size].strip()
        if not value.isalnum() and _is_value(value) is None:
            raise PeerError("authentication parameters do not parse")
    if "\\" in value:
        value = _ESCAPE.sub(r"\1", value)
    return value, comma + 1 if comma >= 0 else size


def parse_credentials(text: str) -> Credentials | None:
    """Return the credentials of one Authorization value; ``None`` for a scheme not Digest.

    Raises:
        PeerError: Digest, but parameters are missing or malformed (400).

    Spec: RFC 7616 §3.4; RFC 3261 §22.4
    """
    if text[:7].lower() != "digest ":
        return None
    return Credentials(parse_parameters(text, 7))


def find_credentials(texts: list[str], realm: str) -> Credentials | None:
    """Return the credentials meant for ``realm`` among several values, ``None`` without.

    Raises:
        PeerError: a Digest value before it does not parse.

    Spec: RFC 3261 §22.3
    """
    for text in texts:
        credentials = parse_credentials(text)
        if credentials is not None and credentials.realm == realm:
            return credentials
    return None


def _ha2(algorithm: str, a2: str) -> str:
    """Return H(A2); a registrar is asked for the same one all the time."""
    key = algorithm + a2
    found = _known.get(key)
    if found is None:
        found = digest_of(algorithm, encode(a2))
        if len(key) <= _KNOWN_LENGTH:
            if len(_known) >= _KNOWN:
                _known.clear()
            _known[key] = found
    return found


def compute(credentials: Credentials, ha1: str, method: str, body: bytes) -> str:
    """Return the digest over ``credentials`` that proves knowledge of ``ha1``.

    Args:
        method: of the request; "" makes the digest that the server proves itself with.
        body: matters for qop "auth-int" only.

    Spec: RFC 7616 §3.4.1 to §3.4.3, §3.5; RFC 8760 §2.6
    """
    algorithm = credentials.algorithm
    nonce = credentials.nonce
    qop = credentials.qop
    a2 = f"{method}:{credentials.uri}"
    if qop == "auth-int":
        ha2 = digest_of(algorithm, encode(f"{a2}:{digest_of(algorithm, body)}"))
    else:
        ha2 = _ha2(algorithm, a2)
    if credentials.session:
        ha1 = digest_of(algorithm, encode(f"{ha1}:{nonce}:{credentials.cnonce}"))
    if not qop:
        return digest_of(algorithm, encode(f"{ha1}:{nonce}:{ha2}"))
    return digest_of(
        algorithm, encode(f"{ha1}:{nonce}:{credentials.nc}:{credentials.cnonce}:{qop}:{ha2}")
    )


def verify(
    credentials: Credentials,
    method: str,
    body: bytes,
    ha1: str,
    nonces: Nonces,
    realm: str,
    now: float,
) -> int:
    """Decide whether the sender knows the password, and say how to go on.

    Takes the same time whether the user exists or not. Whether ``credentials.uri`` suits the
    Request-URI is for the caller to judge: proxies may have changed the latter.

    Args:
        ha1: what is kept for ``credentials.algorithm``; "" for an unknown user.
        nonces: this answer is noted there when it is right, so it works once only.
        now: seconds on the clock that ``nonces`` were made with.

    Returns:
        :data:`ACCEPTED`, :data:`STALE`, :data:`REPLAYED` or :data:`REFUSED`.

    Spec: RFC 3261 §22.2 to §22.4; RFC 7616 §3.4.6, §3.6
    """
    algorithm = credentials.algorithm
    if algorithm != MD5 and algorithm != SHA_256 and algorithm != SHA_512_256:
        return REFUSED
    expected = compute(credentials, ha1, method, body)
    try:
        right = compare_digest(expected, credentials.response)
    except TypeError:  # not ASCII, so not hex
        return REFUSED
    if not right or not ha1 or credentials.realm != realm:
        return REFUSED
    if nonces.check(credentials.nonce, realm, now) != FRESH:
        return STALE
    if not nonces.spend(credentials.nonce, credentials.count, now):
        return REPLAYED
    return ACCEPTED


def same_target(credentials: Credentials, request_uri: str) -> bool:
    """Tell whether the client meant the URI that the request has now.

    What to do when not is policy: a proxy on the way may have changed it for good reasons.

    Spec: RFC 8760 §2.6 item 6; RFC 3261 §19.1.4
    """
    if credentials.uri == request_uri:
        return True
    try:
        return parse_uri(credentials.uri).equals(parse_uri(request_uri))
    except PeerError:
        return False


def quote(text: str) -> str:
    """Return ``text`` as a quoted-string.

    Raises:
        UsageError: it holds a control character, which no header may.
    """
    if not text.isprintable():
        for character in text:
            if character < " " or character == "\x7f":
                raise UsageError("a control character in an authentication parameter")
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def challenges(
    realm: str,
    nonces: Nonces,
    now: float,
    stale: bool = False,
    algorithms: tuple[str, ...] = ALGORITHMS,
    qop: str = "auth,auth-int",
    userhash: bool = False,
) -> list[str]:
    """Return the values for WWW-Authenticate or Proxy-Authenticate, one header line each.

    Args:
        algorithms: most preferred first; the client takes the first that it knows.
        stale: the password was right, only the nonce was not: no need to ask the user again.

    Spec: RFC 8760 §2.3, §2.6 item 8; RFC 7616 §3.3
    """
    start = f'Digest realm={quote(realm)}, nonce="{nonces.make(realm, now)}", algorithm='
    end = f', qop="{qop}"'
    if stale:
        end += ", stale=true"
    if userhash:
        end += ", userhash=true"
    return [start + algorithm + end for algorithm in algorithms]


def authentication_info(
    credentials: Credentials, ha1: str, body: bytes, next_nonce: str = ""
) -> str:
    """Return an Authentication-Info value that proves that we know the password too.

    Args:
        body: of the response.
        next_nonce: given when the client should change to it now; "" when not. A session
            algorithm keeps its nonce, so it is not sent then.

    Spec: RFC 7616 §3.5; RFC 3261 §20.6
    """
    proof = compute(credentials, ha1, "", body)
    value = f'rspauth="{proof}"'
    if credentials.qop:
        cnonce = quote(credentials.cnonce)
        value = f"qop={credentials.qop}, {value}, cnonce={cnonce}, nc={credentials.nc}"
    if next_nonce and not credentials.session:
        value = f'{value}, nextnonce="{next_nonce}"'
    return value
