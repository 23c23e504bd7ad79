"""The people file: who the users of a core are, as TOML that a person can write.

::

    [[person]]
    private = "alice@north.example"             # digest user name
    password = "wonderland"
    public = ["sip:alice@north.example", "tel:+15550100"]
    barred = ["sip:a.liddell@north.example"]    # registered along, never used
    im = true                                   # subscribed to the IM service
    profile = "alice.xml"                       # Cx ServiceProfile; without: the core's own
    ccf = ["ccf.north.example"]

Passwords become the hashes of RFC 7616 §3.4.2 as soon as they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omaim.errors import PeerError, UsageError
from omaim.node.config import read_file
from omaim.sip.digest import ALGORITHMS, encode, hash_a1
from omaim.sip.uri import canonical_aor
from omaim.stores.records import Credential, PublicIdentity, User

_KEYS = frozenset(
    {"private", "password", "public", "barred", "im", "profile", "ccf", "ecf", "display"}
)


def credentials_of(private_id: str, realm: str, password: str) -> tuple[Credential, ...]:
    """Return what to store of a password: a hash for each algorithm.

    Spec: RFC 7616 §3.4.2; RFC 8760 §2.1
    """
    octets = encode(password)
    return tuple(
        Credential(algorithm, realm, hash_a1(algorithm, private_id, realm, octets))
        for algorithm in ALGORITHMS
    )


def make_user(
    private_id: str,
    realm: str,
    password: str,
    public: tuple[str, ...],
    barred: tuple[str, ...] = (),
    im_service: bool = True,
    profile: str = "",
    ccf: tuple[str, ...] = (),
    ecf: tuple[str, ...] = (),
    display: str = "",
) -> User:
    """Return a user whose first public identity is the default one.

    Args:
        realm: the digest realm, the home domain.
        public: SIP or tel URIs.
        barred: URIs that may be registered along but not used.
        profile: Cx ServiceProfile XML; empty for the core's default.

    Raises:
        UsageError: a URI does not parse; the message names it.
    """
    identities = [
        PublicIdentity(_aor(uri), display=display, default=number == 0)
        for number, uri in enumerate(public)
    ]
    identities += [PublicIdentity(_aor(uri), barred=True) for uri in barred]
    if not identities:
        raise UsageError(f"{private_id} needs a public identity, such as sip:{private_id}")
    return User(
        private_id=private_id,
        identities=tuple(identities),
        credentials=credentials_of(private_id, realm, password),
        im_service=im_service,
        profile=profile,
        ccf=ccf,
        ecf=ecf,
    )


def _aor(uri: str) -> str:
    try:
        return canonical_aor(uri)
    except PeerError as error:
        raise UsageError(f"{uri}: {error.why}; write sip:name@domain or tel:+number") from None


def read_people(path: str, realm: str) -> list[User]:
    """Return the users of a people file.

    Raises:
        UsageError: the file, an entry or a profile it names is wrong; the message says which.
    """
    people = read_file(path).get("person", [])
    if not isinstance(people, list):
        raise UsageError(f"{path}: write each user under a heading [[person]]")
    return [
        _user(entry, f"{path}: person {number + 1}", realm, Path(path).parent)
        for number, entry in enumerate(people)
    ]


def _user(entry: Mapping[str, Any], where: str, realm: str, folder: Path) -> User:
    unknown = set(entry) - _KEYS
    if unknown:
        raise UsageError(f"{where}: unknown {', '.join(sorted(unknown))}")
    text = _getter(entry, where, str, "")
    names = _getter(entry, where, list, [])
    private, password = text("private"), text("password")
    if not private or not password:
        raise UsageError(f"{where}: needs private and password")
    profile = text("profile")
    try:
        xml = (folder / profile).read_text(encoding="utf-8") if profile else ""
    except OSError as error:
        raise UsageError(f"{where}: cannot read {profile}: {error.strerror}") from None
    return make_user(
        private,
        realm,
        password,
        tuple(names("public")) or (f"sip:{private}",),
        tuple(names("barred")),
        _getter(entry, where, bool, True)("im"),
        xml,
        tuple(names("ccf")),
        tuple(names("ecf")),
        text("display"),
    )


def _getter(
    entry: Mapping[str, Any], where: str, kind: type[Any], default: Any
) -> Callable[[str], Any]:
    def get(name: str) -> Any:
        value = entry.get(name, default)
        if not isinstance(value, kind):
            raise UsageError(f"{where}: {name} must be {_SPOKEN[kind]}")
        return value

    return get


_SPOKEN = {str: "text in quotes", list: "a list", bool: "true or false"}
