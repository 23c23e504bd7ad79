"""What a client can: what we say of ourselves, and what others say of themselves.

Spec: RFC 3261 §11.2; RFC 3840 §9; RFC 3264 §9; RFC 4975 §8; RFC 5547 §8.5; OMA SIMPLE IM 1.0
(feature tags)
"""

from __future__ import annotations

from typing import Final

import attrs

from omaim.bodies.message_media import NICKNAME, PRIVATE_MESSAGES, is_message, read_media
from omaim.bodies.message_offers import capability
from omaim.bodies.sdp import MEDIA_TYPE as SDP
from omaim.bodies.sdp import Connection, Origin, SessionDescription
from omaim.client.leg import FEATURE, LARGE_FEATURE
from omaim.client.talk import LARGEST, talk_types
from omaim.errors import PeerError
from omaim.sip.headers import NameAddr
from omaim.sip.message import Request, Response

_INVITE: Final = "INVITE"
_MESSAGE: Final = "MESSAGE"


@attrs.frozen
class Capabilities:
    """What somebody's client can, as far as is known: ``None`` stands for: it is not known.

    Attributes:
        messages: it takes short messages.
        large: it takes large messages.
        sessions: it talks in sessions.
        files: it takes files.
        accept: media types that it takes; empty if not known.
        status: 200 if it has answered, 0 if it was not asked; else why it has not.
    """

    messages: bool | None = None
    large: bool | None = None
    sessions: bool | None = None
    files: bool | None = None
    accept: tuple[str, ...] = ()
    status: int = 0

    @staticmethod
    def told(response: Response) -> Capabilities:
        """Return what the answer to an OPTIONS tells.

        Only a user agent has Allow in it; what a proxy answers tells nothing. Without a Contact
        nothing is told of features: a server that answers for a group has none.
        """
        if response.status >= 300:
            return Capabilities(status=response.status)
        methods = {one.strip().upper() for one in _values(response, "Allow")}
        if not methods:
            return Capabilities(status=response.status)
        contacts = _contacts(response)
        sessions, files = _media(response)
        invites = _INVITE in methods
        large: bool | None = None
        if contacts:
            large = _says(contacts, LARGE_FEATURE)
            sessions = large or _says(contacts, FEATURE) if sessions is None else sessions
        return Capabilities(
            messages=_MESSAGE in methods,
            large=large if invites else False,
            sessions=sessions if invites else False,
            files=files if invites else False,
            accept=tuple(one.partition(";")[0].strip() for one in _values(response, "Accept")),
            status=response.status,
        )

    @staticmethod
    def shown(request: Request) -> Capabilities:
        """Return what an INVITE of somebody shows; its absence from there proves nothing."""
        contacts = _contacts(request)
        return Capabilities(
            large=True if _says(contacts, LARGE_FEATURE) else None,
            sessions=True if _says(contacts, FEATURE) else None,
        )

    def filled(self, other: Capabilities) -> Capabilities:
        """Return the same, with what another one knows where this knows nothing."""
        known = {
            name: getattr(other, name)
            for name in ("messages", "large", "sessions", "files")
            if getattr(self, name) is None
        }
        return attrs.evolve(self, **known)


def describe(accept: tuple[str, ...], host: str) -> tuple[str, bytes]:
    """Return media type and octets that tell of our MSRP, for the answer to an OPTIONS.

    Args:
        accept: media types that we take.
        host: our address; "" if it is not known yet.

    Spec: RFC 3264 §9; RFC 5547 §8.5
    """
    medium = capability(
        talk_types(accept),
        max_size=LARGEST,
        chatroom=(NICKNAME, PRIVATE_MESSAGES),
        files=True,
    )
    origin = Origin("0", 0, Connection.to(host or "0.0.0.0"))
    return SDP, SessionDescription.make(origin, [medium]).to_bytes()


def wants_description(request: Request) -> bool:
    """Tell whether an OPTIONS is to be answered with a session description (RFC 3261 §11.2)."""
    kinds = [one.partition(";")[0].strip().lower() for one in request.values("Accept")]
    return not kinds or any(one in (SDP, "application/*", "*/*") for one in kinds)


def _values(response: Response, name: str) -> list[str]:
    """Return the values of a header field; none where they cannot be read."""
    try:
        return response.values(name)
    except PeerError:
        return []


def _contacts(message: Request | Response) -> list[NameAddr]:
    try:
        return list(message.contacts)
    except PeerError:
        return []


def _says(contacts: list[NameAddr], tag: str) -> bool:
    return any(one.params.has(tag) for one in contacts)


def _media(response: Response) -> tuple[bool | None, bool | None]:
    """Return whether an answer tells of MSRP, and of files; ``None`` if it tells of no media."""
    kind = (response.first("Content-Type") or "").partition(";")[0].strip().lower()
    if kind != SDP or not response.body:
        return None, None
    try:
        description = SessionDescription.parse(response.body)
        found = [read_media(description, one) for one in description.media if is_message(one)]
    except PeerError:
        return None, None
    return bool(found), any(one.file is not None for one in found)
