"""One MSRP medium of a session description, as a value.

:func:`read_media` and :meth:`MessageMedia.to_media` lead from an ``m=message`` line with what
is under it to the value and back. How two sides agree is told in
:mod:`omaim.bodies.message_offers`.

Spec: RFC 4975 §8; RFC 6135 (setup); RFC 6714 (msrp-cema); RFC 8122 (fingerprint);
RFC 7701 §8 (chatroom); RFC 5547 (files)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

import attrs

from omaim.bodies.file_selector import FILE_ATTRIBUTES, FileTransfer, read_file
from omaim.bodies.media_types import Accepts, parse_types
from omaim.bodies.sdp import (
    SENDRECV,
    BadMedia,
    Connection,
    Media,
    SessionDescription,
    attribute_line,
)
from omaim.errors import PeerError
from omaim.grammar import ipv6_groups, is_token, number, parse_host

TCP: Final = "TCP/MSRP"
TLS: Final = "TCP/TLS/MSRP"

ACTIVE: Final = "active"
PASSIVE: Final = "passive"
ACTPASS: Final = "actpass"

NICKNAME: Final = "nickname"  # tokens of a=chatroom
PRIVATE_MESSAGES: Final = "private-messages"

DISCARD: Final = 9  # the port of who cannot be connected to, RFC 6135 §4.2.2
PATH: Final = 16  # URIs of one path
TOKENS: Final = 50  # of a=chatroom, and fingerprints

_MAX_SIZE: Final = 2**63 - 1
_URI: Final = re.compile(
    r"msrp(s?)://(?:[^@/;\s]*@)?(\[[0-9a-f:.]+\]|[^:/;\s@\[\]]+):([0-9]{1,5})"
    r"(?:/[^;\s]*)?;[^;\s]+(?:;[^;\s]+)*",
    re.IGNORECASE,
)
_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){0,127}")
# What read_media understands; the rest is kept in ``more``.
_KNOWN: Final = (
    "accept-types", "accept-wrapped-types", "chatroom", "connection", "fingerprint",
    "inactive", "max-size", "msrp-cema", "path", "recvonly", "sendonly", "sendrecv", "setup",
    *FILE_ATTRIBUTES,
)  # fmt: skip


@attrs.frozen
class Fingerprint:
    """The hash of a certificate, so that a self-signed one can be trusted.

    Spec: RFC 8122 §5
    """

    algorithm: str  # lower case: sha-256
    digest: bytes

    @classmethod
    def parse(cls, value: str) -> Fingerprint:
        """Return what an ``a=fingerprint`` says.

        Raises:
            BadMedia: it is none.
        """
        algorithm, _, digest = value.strip(" ").partition(" ")
        digest = digest.strip(" ")
        if not is_token(algorithm) or _DIGEST.fullmatch(digest) is None:
            raise BadMedia("a fingerprint is broken")
        return cls(algorithm.lower(), bytes.fromhex(digest.replace(":", "")))

    def __str__(self) -> str:
        return f"{self.algorithm} {self.digest.hex(':').upper()}"


@attrs.frozen
class Place:
    """Where an MSRP URI leads to.

    Spec: RFC 4975 §6
    """

    host: str  # lower case; IPv6 in brackets
    port: int
    tls: bool


def place_of(uri: str) -> Place:
    """Return where an MSRP URI leads to; paths are kept as texts otherwise.

    Raises:
        BadMedia: no MSRP URI, or one without a port, which SDP wants (RFC 4975 §8.2).
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise BadMedia(f"{uri[:60]!r} is not an MSRP URI with a port")
    try:
        host = parse_host(found[2])
        port = number(found[3], 65535)
    except PeerError as error:
        raise BadMedia(f"an MSRP URI: {error.why}") from None
    if not port:
        raise BadMedia("an MSRP URI with port 0")
    return Place(host, port, bool(found[1]))


@attrs.frozen
class MessageMedia:
    """What one side says about one MSRP session.

    Spec: RFC 4975 §8.1 to §8.9
    """

    port: int  # 0: refused or over, and then most of the rest may be missing
    protocol: str  # TCP or TLS
    path: tuple[str, ...]  # the first is connected to, the last is the side itself
    accept_types: tuple[str, ...]  # as written, the preferred ones first
    accept_wrapped_types: tuple[str, ...] = ()
    max_size: int | None = None  # octets of one whole message; None when not said
    direction: str = SENDRECV  # one of sdp.DIRECTIONS, as the side sees it
    setup: str = ""  # ACTIVE, PASSIVE, ACTPASS; "" not said, or holdconn
    cema: bool = False
    chatroom: tuple[str, ...] | None = None  # tokens; None: knows nothing of chat rooms
    fingerprints: tuple[Fingerprint, ...] = ()
    connection: Connection | None = None
    file: FileTransfer | None = None
    title: str = ""  # the i= line
    more: tuple[str, ...] = ()  # other whole a= lines

    @property
    def accepts(self) -> Accepts:
        """What may be sent to this side."""
        return Accepts(self.accept_types, self.accept_wrapped_types)

    @property
    def relayed(self) -> bool:
        """Whether this side is behind a relay."""
        return len(self.path) > 1

    @property
    def nicknames(self) -> bool:
        """Whether NICKNAME is supported and allowed. RFC 7701 §8 has the word in two ways."""
        return self.chatroom is not None and bool({NICKNAME, "nicknames"} & {*self.chatroom})

    @property
    def private_messages(self) -> bool:
        """Whether private messages are supported and allowed."""
        return self.chatroom is not None and PRIVATE_MESSAGES in self.chatroom

    @property
    def transfer(self) -> FileTransfer | None:
        """The file that it is about; ``None`` when files are only understood (RFC 5547 §8.5)."""
        return self.file if self.file is not None and self.file.selector else None

    def to_media(self) -> Media:
        """Return the lines."""
        lines = []
        if self.direction != SENDRECV:
            lines.append(f"a={self.direction}")
        for name, words in (
            ("accept-types", self.accept_types),
            ("accept-wrapped-types", self.accept_wrapped_types),
            ("path", self.path),
        ):
            if words:
                lines.append(attribute_line(name, " ".join(words)))
        if self.max_size is not None:
            lines.append(f"a=max-size:{self.max_size}")
        if self.setup:
            lines.append(f"a=setup:{self.setup}")
        if self.cema:
            lines.append("a=msrp-cema")
        if self.chatroom is not None:
            lines.append(attribute_line("chatroom", " ".join(self.chatroom)))
        lines += [f"a=fingerprint:{one}" for one in self.fingerprints]
        if self.file is not None:
            lines += self.file.lines()
        return Media.make(
            "message",
            self.port,
            self.protocol,
            title=self.title,
            connection=self.connection,
            attributes=(*lines, *self.more),
        )


def is_message(media: Media) -> bool:
    """Tell whether a medium is MSRP."""
    return media.kind == "message" and media.protocol in (TCP, TLS)


def read_media(description: SessionDescription, media: Media) -> MessageMedia:
    """Return what a description says about one of its media.

    Args:
        description: gives what stands for all media.
        media: one of it for which :func:`is_message` is true.

    Raises:
        BadMedia: it is in use (its port is not 0) and has no path or no accept-types, or one
            of its attributes is broken.

    Spec: RFC 4975 §8; RFC 6135 §4.2.1 (holdconn is as good as nothing), §4.4 (a=connection)
    """
    path = tuple((media.attribute("path") or "").split())
    types = parse_types(media.attribute("accept-types") or "")
    if media.port:
        if not path or not types:
            raise BadMedia("an MSRP medium needs path and accept-types")
        if len(path) > PATH:
            raise BadMedia(f"a path of more than {PATH} URIs")
        if media.protocol == TLS and not place_of(path[0]).tls:
            raise BadMedia("a medium over TLS has a path that is not msrps")
    for uri in path:
        place_of(uri)
    connection = description.connection_of(media)
    if connection is not None and connection.network != "IN":
        raise BadMedia("MSRP is only spoken on the Internet")
    setup = (description.attribute_of(media, "setup") or "").strip()
    return MessageMedia(
        port=media.port,
        protocol=media.protocol,
        path=path,
        accept_types=types,
        accept_wrapped_types=parse_types(media.attribute("accept-wrapped-types") or ""),
        max_size=_size(media.attribute("max-size")),
        direction=description.direction_of(media),
        setup=setup if setup in (ACTIVE, PASSIVE, ACTPASS) else "",
        cema=media.attribute("msrp-cema") is not None,
        chatroom=_tokens(media.attribute("chatroom")),
        fingerprints=_fingerprints(description, media),
        connection=connection,
        file=read_file(media),
        title=media.title,
        more=tuple(line for line in media.lines if line[0] == "a" and not _is_known(line)),
    )


def _is_known(line: str) -> bool:
    return line[2:].partition(":")[0] in _KNOWN


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return min(number(text.strip(" "), 10**64), _MAX_SIZE)
    except PeerError:
        raise BadMedia("max-size is not a number") from None


def _tokens(text: str | None) -> tuple[str, ...] | None:
    """Return the tokens of a=chatroom, each once."""
    return None if text is None else tuple(dict.fromkeys(text.split()[:TOKENS]))


def _fingerprints(description: SessionDescription, media: Media) -> tuple[Fingerprint, ...]:
    values = media.attributes("fingerprint") or description.attributes("fingerprint")
    return tuple(Fingerprint.parse(one) for one in values[:TOKENS])


def names_to_resolve(one: MessageMedia) -> tuple[str, ...]:
    """Return the host names whose addresses :func:`is_in_path` has to be told, each once.

    There are none when the texts are alike already.
    """
    if one.connection is None or not one.path or is_in_path(one, {}):
        return ()
    hosts = [place_of(uri).host for uri in one.path]
    hosts.append(one.connection.host)
    return tuple(dict.fromkeys(host for host in hosts if _is_name(host)))


def is_in_path(one: MessageMedia, addresses: Mapping[str, Collection[str]]) -> bool:
    """Tell whether the ``c=`` and ``m=`` lines lead to an URI of the path.

    If not, somebody between has put its own address there.

    Args:
        one: what a side says.
        addresses: those of the names of :func:`names_to_resolve`, as texts; a name that is
            not in it is like itself only.

    Spec: RFC 6714 §4.4. Differs: of a side that is active and has the port 9 of RFC 6135
        §4.2.2 only the host is compared, since nobody connects to it.
    """
    if one.connection is None:
        return False
    here = _forms(one.connection.host, addresses)
    unreachable = one.setup == ACTIVE and one.port == DISCARD
    for uri in one.path:
        place = place_of(uri)
        if (unreachable or place.port == one.port) and here & _forms(place.host, addresses):
            return True
    return False


def _is_name(host: str) -> bool:
    return host[0] != "[" and not host.replace(".", "").isdigit()


def _forms(host: str, addresses: Mapping[str, Collection[str]]) -> set[str]:
    """Return the texts by which a host is known, IPv6 in one form each."""
    found = {host, *addresses.get(host, ())}
    return {_plain(one) for one in found}


def _plain(host: str) -> str:
    address = host.strip("[]")
    if ":" not in address:
        return host.lower()
    return ":".join(f"{group:x}" for group in ipv6_groups(address))
