"""Certificates for a lab: an authority of its own and one certificate for each server.

Spec: RFC 5922 §7.1 (subjectAltName holds the SIP domain)
"""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAYS = 30  # a lab is short-lived, and so is what it trusts


class Authority:
    """A certification authority that lives as long as the object; its key is never written.

    Args:
        now: the time at which certificates begin, aware UTC.
    """

    def __init__(self, now: datetime.datetime) -> None:
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "omaim lab authority")])
        self.certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def pem(self) -> bytes:
        """Return the authority's own certificate, for those who are to trust it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, names: tuple[str, ...], address: str) -> bytes:
        """Return a certificate and its key as PEM.

        Args:
            names: DNS names, the SIP domain among them.
            address: the server's address.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.UniformResourceIdentifier(f"sip:{name}") for name in names]
        alternatives.append(x509.IPAddress(ipaddress.ip_address(address)))
        certificate = (
            self._builder(subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return certificate.public_bytes(serialization.Encoding.PEM) + private

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - datetime.timedelta(hours=1))
            .not_valid_after(self._now + datetime.timedelta(days=_DAYS))
        )


def write_certificates(
    folder: Path, servers: dict[str, tuple[tuple[str, ...], str]], now: datetime.datetime
) -> None:
    """Write ``ca.pem`` and one ``NAME.pem`` for each server, readable by the owner only.

    Args:
        servers: DNS names and address by the server's name.
    """
    authority = Authority(now)
    (folder / "ca.pem").write_bytes(authority.pem())
    for name, (names, address) in servers.items():
        path = folder / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_bytes(authority.issue(names, address))
