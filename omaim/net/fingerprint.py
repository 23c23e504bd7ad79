"""Certificates known by their fingerprint instead of by an authority.

Spec: RFC 8122 §5; RFC 4975 §14.4
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

# Names as in "a=fingerprint", the ones that we like best first; MD2 and MD5 must not be used.
_HASHES: Final = {
    "sha-512": hashlib.sha512,
    "sha-384": hashlib.sha384,
    "sha-256": hashlib.sha256,
    "sha-224": hashlib.sha224,
    "sha-1": hashlib.sha1,
}


def fingerprint(certificate: bytes, name: str = "sha-256") -> str:
    """Return the value of ``a=fingerprint`` for a certificate.

    Args:
        certificate: DER.
        name: of the hash function: sha-1, sha-224, sha-256, sha-384 or sha-512.

    Spec: RFC 8122 §5
    """
    digest = _HASHES[name.lower()](certificate).hexdigest().upper()
    pairs = ":".join([digest[at : at + 2] for at in range(0, len(digest), 2)])
    return f"{name} {pairs}"


def matches(certificate: bytes, fingerprints: tuple[str, ...]) -> bool:
    """Tell whether a certificate has one of the fingerprints.

    Of several hash functions only the best that we know counts; without one that we know, no
    certificate is right.

    Args:
        certificate: DER; empty when the peer gave none.
        fingerprints: values of ``a=fingerprint``.

    Spec: RFC 8122 §5
    """
    known: dict[str, list[str]] = {}
    for text in fingerprints:
        name, _, value = text.strip(" ").partition(" ")
        known.setdefault(name.lower(), []).append(value.strip(" ").upper())
    if not certificate:
        return False
    for name in _HASHES:
        if name in known:
            own = fingerprint(certificate, name).partition(" ")[2].encode("ascii")
            return any(
                hmac.compare_digest(own, value.encode("utf-8", "replace")) for value in known[name]
            )
    return False
