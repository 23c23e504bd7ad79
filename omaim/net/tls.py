"""TLS as SIP wants it: verified unless told otherwise, and by the domain that was asked for.

Spec: RFC 5922 §7; RFC 3261 §26.3
"""

from __future__ import annotations

import ipaddress
from functools import cached_property
from typing import Any, Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from zope.interface import implementer

from omaim.errors import UsageError
from omaim.net.fingerprint import fingerprint

NONE: Final = "none"
OPTIONAL: Final = "optional"
REQUIRED: Final = "required"

_ASK: Final = {
    NONE: SSL.VERIFY_NONE,
    OPTIONAL: SSL.VERIFY_PEER,
    REQUIRED: SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
}


@attrs.frozen(slots=False, eq=False)
class TlsSettings:
    """Who we are to TLS peers and whom we believe; for listening and for connecting.

    Raises:
        UsageError: a certificate or key does not parse, or they do not belong together.
    """

    certificate: bytes = b""  # PEM, our own first, then its issuers; empty: we are nobody
    key: bytes = attrs.field(default=b"", repr=False)  # PEM, unencrypted
    trust: bytes = b""  # PEM of the authorities we believe; empty: the system's
    client_certificates: str = attrs.field(  # what we ask of those who connect to us
        default=OPTIONAL, validator=attrs.validators.in_(_ASK)
    )
    verify: bool = True  # False believes any server: for tests and first experiments only
    # Any peer may finish the handshake; one whom no authority vouches for has no names, and
    # whoever gets the stream has to know it by its fingerprint (RFC 4975 §14.4).
    self_signed: bool = False

    def names(self) -> tuple[str, ...]:
        """Return the identities that our own certificate carries."""
        return identities(self._chain[0]) if self._chain else ()

    def fingerprint(self, name: str = "sha-256") -> str:
        """Return our own certificate's fingerprint, as ``a=fingerprint`` wants it.

        Args:
            name: of the hash function.

        Raises:
            UsageError: there is no certificate.

        Spec: RFC 8122 §5
        """
        if not self._chain:
            raise UsageError("without a certificate there is no fingerprint")
        return fingerprint(self._chain[0].public_bytes(Encoding.DER), name)

    def server(self) -> IOpenSSLServerConnectionCreator:
        """Return what makes the accepting side of a connection."""
        return _Server(self._server_context)

    def client(self, domain: str) -> IOpenSSLClientConnectionCreator:
        """Return what makes the connecting side, asking for ``domain``."""
        return _Client(self._client_context, domain)

    @cached_property
    def _chain(self) -> list[x509.Certificate]:
        return _certificates(self.certificate)

    @cached_property
    def _server_context(self) -> SSL.Context:
        context = self._context()
        if not self._chain:
            raise UsageError("give the TLS listener a certificate and its key")
        judge = _noted if self.self_signed else _passed
        context.set_verify(_ASK[self.client_certificates], judge)
        context.set_session_id(b"omaim")
        return context

    @cached_property
    def _client_context(self) -> SSL.Context:
        context = self._context()
        judge = _noted if self.self_signed else _passed
        context.set_verify(SSL.VERIFY_PEER if self.verify else SSL.VERIFY_NONE, judge)
        return context

    def _context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        try:
            if self._chain:
                context.use_certificate(self._chain[0])
                context.use_privatekey(load_pem_private_key(self.key, None))  # type: ignore[arg-type]
                context.check_privatekey()
            for issuer in self._chain[1:]:
                context.add_extra_chain_cert(issuer)
        except (SSL.Error, ValueError, TypeError) as error:
            raise UsageError("the TLS key does not belong to the certificate") from error
        if self.trust:
            store = context.get_cert_store()
            assert store is not None
            for authority in _certificates(self.trust):
                store.add_cert(X509.from_cryptography(authority))
        else:
            context.set_default_verify_paths()
        return context


def identities(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the SIP domain identities of a certificate that was found valid, lower-case.

    Differs: an address in subjectAltName counts as well, for peers known by address alone.

    Spec: RFC 5922 §7.1
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(name.value).lower() for name in common)
    except ValueError:
        return ()
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    domains = [domain for uri in uris if (domain := _sip_domain(uri))]
    if not domains:
        domains = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    return tuple(domains + addresses)


def names_host(certificate: bytes, host: str) -> bool:
    """Tell whether a certificate, found valid, is that of a host, as MSRP wants it.

    Args:
        certificate: DER; empty for none.
        host: a name or an address.

    Spec: RFC 4975 §5.4 (subjectAltName)
    """
    if not certificate:
        return False
    extensions = x509.load_der_x509_certificate(certificate).extensions
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    hosts += [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return names_domain(tuple(hosts), host)


def names_domain(names: tuple[str, ...], domain: str) -> bool:
    """Tell whether ``domain`` is among the identities, whole and without wildcards.

    Spec: RFC 5922 §7.2
    """
    wanted = domain.lower().rstrip(".")
    try:
        wanted = str(ipaddress.ip_address(wanted.strip("[]")))
    except ValueError:
        pass
    return wanted in names


def _sip_domain(uri: str) -> str:
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "sip" or "@" in rest:
        return ""
    return rest.split(";")[0].split("?")[0].split(":")[0].lower()


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem) if pem else []
    except ValueError as error:
        raise UsageError(f"not a certificate in PEM: {error}") from error


def _noted(connection: Any, certificate: Any, error: int, depth: int, ok: int) -> bool:
    """Let everybody in, but tell the stream that no authority vouches for its peer."""
    if not ok:
        connection.get_app_data().wrappedProtocol.stranger = True
    return True


def _passed(connection: Any, certificate: Any, error: int, depth: int, ok: int) -> bool:
    return bool(ok)


@implementer(IOpenSSLServerConnectionCreator)
class _Server:
    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        return SSL.Connection(self._context, None)


@implementer(IOpenSSLClientConnectionCreator)
class _Client:
    def __init__(self, context: SSL.Context, domain: str) -> None:
        self._context = context
        self._domain = domain

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        if not _is_address(self._domain):
            try:
                connection.set_tlsext_host_name(self._domain.encode("idna"))
            except (UnicodeError, SSL.Error):
                pass  # no name that a server could have; it will not prove to be it either
        return connection


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
