"""Whom a third-party REGISTER is about.

Spec: 3GPP TS 24.229 §5.4.1.7, §5.7.1.1; RFC 7315 §4.1 (P-Associated-URI)
"""

from __future__ import annotations

from typing import Final

from omaim.bodies.multipart import is_multipart, leaves
from omaim.errors import PeerError
from omaim.sip.message import Request, Response
from omaim.sip.parser import Limits, parse_datagram
from omaim.sip.uri import canonical_aor

MOST: Final = 32  # identities of one registration
MESSAGE: Final = "message/sip"


def registered_identities(request: Request) -> list[str]:
    """Return the addresses of record that a third-party REGISTER tells of, its To first.

    The others are those that were registered together with it: the core names them in the
    P-Associated-URI of the response that the user got, if its criteria let it show that.

    Raises:
        PeerError: no good To (400).
    """
    found = [canonical_aor(request.to.uri_text)]
    content_type = request.first("Content-Type") or ""
    for data in _messages(content_type, request.body):
        try:
            message = parse_datagram(data, Limits())
        except PeerError:
            continue
        if isinstance(message, Response):
            found += [canonical_aor(one.uri_text) for one in message.addresses("P-Associated-URI")]
    return list(dict.fromkeys(found))[:MOST]


def _messages(content_type: str, body: bytes) -> list[bytes]:
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        return []
    if kind == MESSAGE:
        return [body]
    if not is_multipart(content_type):
        return []
    try:
        return [part.decoded() for part in leaves(content_type, body) if part.media_type == MESSAGE]
    except PeerError:
        return []
