"""MSRP URIs: where a session, or a relay, is found.

Spec: RFC 4975 §6, §9
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final, final

from omaim.errors import PeerError

MOST_HOPS: Final = 16  # URIs in one path; nobody chains as many relays
LONGEST: Final = 2048  # characters of one URI

_parse_uri: Final = re.compile(
    r"(?P<scheme>[Mm][Ss][Rr][Pp][Ss]?)://"
    r"(?:(?P<user>[A-Za-z0-9\-._~%!$&'()*+,;=:]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,=]+)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    # Wider than the grammar, which lacks "%" and "@": we only hand it back.
    r"(?:/(?P<session>[!#-:=?-~]+))?"
    r";(?P<transport>[A-Za-z0-9]+)"
    r"(?P<rest>(?:;[A-Za-z0-9\-.!%*_+`'~]+(?:=[^\s;\"<>]*)?)*)"
).fullmatch
_escaped: Final = re.compile(r"%([0-9A-Fa-f]{2})").sub
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@final
class MsrpUri:
    """One MSRP URI; equal to another by the rules of RFC 4975 §6.1, so it can be a key.

    Args:
        host: a name, an IPv4 address or an IPv6 address in brackets.
        port: 0 for none; sessions always have one.
        session: the session-id; "" for a device or relay as such.
        secure: the scheme is "msrps".
        transport: "tcp", or "ws" and others (RFC 7977).
        user: the part before "@", as written; not compared.
        rest: further parameters, each with its ";"; not compared.

    Attributes:
        key: the same text for equal URIs and for no others.

    Spec: RFC 4975 §6, §6.1
    """

    __slots__ = ("_text", "host", "key", "port", "rest", "secure", "session", "transport", "user")

    def __init__(
        self,
        host: str,
        port: int,
        session: str = "",
        secure: bool = False,
        transport: str = "tcp",
        user: str = "",
        rest: str = "",
    ) -> None:
        self.host: Final = host
        self.port: Final = port
        self.session: Final = session
        self.secure: Final = secure
        self.transport: Final = transport
        self.user: Final = user
        self.rest: Final = rest
        scheme = "msrps" if secure else "msrp"
        at = f"{host}:{port}" if port else host
        path = f"/{session}" if session else ""
        self._text = f"{scheme}://{user}@{at}" if user else f"{scheme}://{at}"
        self._text += f"{path};{transport}{rest}"
        known = _comparable(host)
        self.key: Final = f"{scheme}://{known}:{port}{path};{transport.lower()}"

    @staticmethod
    def parse(text: str) -> MsrpUri:
        """Return the URI that ``text`` is.

        Raises:
            PeerError: it is none.

        Spec: RFC 4975 §9. Differs: a session-id may hold any visible character that cannot end
        a URI, since some peers put escapes and user names there.
        """
        found = _parse_uri(text) if len(text) <= LONGEST else None
        if found is None:
            raise PeerError("not an MSRP URI")
        port = found["port"]
        number = int(port) if port else 0
        if port and not 0 < number < 65536:
            raise PeerError("no such port in an MSRP URI")
        uri = MsrpUri(
            found["host"],
            number,
            found["session"] or "",
            len(found["scheme"]) == 5,
            found["transport"],
            found["user"] or "",
            found["rest"],
        )
        uri._text = text
        return uri

    @property
    def scheme(self) -> str:
        """ "msrp" or "msrps"."""
        return "msrps" if self.secure else "msrp"

    @property
    def bare_host(self) -> str:
        """The host as sockets take it: an IPv6 address without brackets."""
        return self.host[1:-1] if self.host[:1] == "[" else self.host

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<MsrpUri {self._text}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MsrpUri) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def parse_path(text: str) -> tuple[MsrpUri, ...]:
    """Return the URIs of a To-Path, From-Path, Use-Path or ``a=path``, in the order written.

    Raises:
        PeerError: there is none, one is bad, or there are too many.

    Spec: RFC 4975 §9, §8.2
    """
    words = text.split(" ")
    if len(words) > MOST_HOPS:
        raise PeerError("a path has too many URIs")
    return tuple([MsrpUri.parse(word) for word in words])


def read_path(octets: bytes) -> tuple[MsrpUri, ...]:
    """Return the URIs of a path as a head has it; see :func:`parse_path`."""
    if not octets.isascii():
        raise PeerError("a path is not ASCII")
    return parse_path(octets.decode("ascii"))


def write_path(path: tuple[MsrpUri, ...]) -> str:
    """Return a path as it stands in a header and in ``a=path``."""
    return " ".join([str(uri) for uri in path])


def _comparable(host: str) -> str:
    """Return a host so that equal ones look alike (RFC 4975 §6.1 rule 2)."""
    if host[:1] == "[":
        try:
            return f"[{IPv6Address(host[1:-1])}]"
        except AddressValueError:
            return host.lower()
    if "%" in host:
        host = _escaped(_unreserved, host)
    return host.lower()


def _unreserved(found: re.Match[str]) -> str:
    letter = chr(int(found[1], 16))
    return letter if letter in _UNRESERVED else found[0].upper()
