"""Endpoints and requests for the tests of omaim.net."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from omaim.net.endpoint import Endpoint
from omaim.sip.message import Request
from omaim.sip.transaction import ServerTransaction

TORTURE = Path(__file__).parent.parent / "vectors" / "sip-torture"
MESSAGES = sorted(path.read_bytes() for path in TORTURE.rglob("*.dat"))


def message(uri: str, body: bytes = b"Hello", cseq: int = 1, **extra: str) -> Request:
    """Return a MESSAGE for ``uri``."""
    headers = [
        ("Max-Forwards", "70"),
        ("From", "<sip:alice@example.com>;tag=1"),
        ("To", "<sip:bob@example.com>"),
        ("Call-ID", f"call-{cseq}"),
        ("CSeq", f"{cseq} MESSAGE"),
    ]
    headers += [(name.replace("_", "-"), value) for name, value in extra.items()]
    headers.append(("Content-Type", "text/plain"))
    return Request.make("MESSAGE", uri, headers, body)


def invite(uri: str, cseq: int = 1) -> Request:
    """Return an INVITE for ``uri``."""
    headers = [
        ("Max-Forwards", "70"),
        ("From", "<sip:alice@example.com>;tag=1"),
        ("To", "<sip:bob@example.com>"),
        ("Call-ID", f"call-{cseq}"),
        ("CSeq", f"{cseq} INVITE"),
        ("Contact", "<sip:alice@127.0.0.1>"),
    ]
    return Request.make("INVITE", uri, headers)


class Sink:
    """Answers 200 to everything, and remembers."""

    def __init__(self, endpoint: Endpoint, status: int = 200) -> None:
        self.seen: list[ServerTransaction] = []
        self.bodies: list[bytes] = []
        self.status = status
        self.endpoint = endpoint
        endpoint.on_request = self.serve

    def serve(self, transaction: ServerTransaction) -> None:
        self.seen.append(transaction)
        self.bodies.append(transaction.request.body)
        self.endpoint.reply(transaction, self.status)


class Authority:
    """A certificate authority of its own."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(basic, critical=True)
        self.certificate = builder.sign(self._key, hashes.SHA256())
        self.pem = self.certificate.public_bytes(Encoding.PEM)

    def issue(self, *names: x509.GeneralName, common: str = "peer") -> tuple[bytes, bytes]:
        """Return certificate and key, both PEM, that carry ``names``."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        builder = _builder(subject, self._name, key.public_key())
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), private


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
    )
