"""What a message is, in a few words: for ladders, which have little room.

Whatever the octets are, the words are printable: a peer cannot write on somebody's terminal.
"""

from __future__ import annotations

import attrs

from omaim.bodies import cpim, imdn, iscomposing, resource_lists
from omaim.bodies.cpim import Cpim
from omaim.bodies.mime import Part
from omaim.bodies.multipart import is_multipart, parse_multipart
from omaim.errors import PeerError
from omaim.sip.message import Request, Response
from omaim.sip.parser import parse_datagram
from omaim.sip.uri import SipUri, parse_uri

_EXCERPT = 28  # characters of a text body


@attrs.frozen
class Summary:
    """A message in words."""

    title: str  # "MESSAGE", "202 Accepted"
    method: str = ""  # of a response: what it answers
    who: str = ""  # "alice→bob"
    hint: str = ""  # what is in it: "“Hello”", "IMDN delivered"

    def __str__(self) -> str:
        title = f"{self.title} ({self.method})" if self.method else self.title
        return " ".join(piece for piece in (title, self.who, self.hint) if piece)


def printable(text: str, most: int = 200) -> str:
    """Return the text on one line, cut to ``most`` characters, without control characters."""
    flat = " ".join(text[: 4 * most].split())
    safe = "".join(sign if sign.isprintable() else "·" for sign in flat)
    return safe if len(safe) <= most else safe[: most - 1] + "…"


def summarise(protocol: str, data: bytes) -> Summary:
    """Return what a message on the wire is.

    Args:
        protocol: "SIP", "MSRP" or "HTTP".
        data: the octets; anything at all.
    """
    if protocol == "SIP":
        return _sip(data)
    start = printable(data[:200].partition(b"\r\n")[0].decode("utf-8", "replace"), 60)
    words = start.split(" ")
    if protocol == "MSRP" and len(words) > 2 and words[0] == "MSRP":
        return Summary(" ".join(words[2:]))
    if protocol == "HTTP" and words[-1].startswith("HTTP/"):
        return Summary(" ".join(words[:-1]))
    if protocol == "HTTP" and words[0].startswith("HTTP/"):
        return Summary(" ".join(words[1:]))
    return Summary(start)


def _sip(data: bytes) -> Summary:
    try:
        message = parse_datagram(data)
    except PeerError as error:
        start = data[:80].partition(b"\r\n")[0].decode("utf-8", "replace")
        return Summary(printable(start, 40), hint=f"broken: {printable(error.why, 60)}")
    if message is None:
        return Summary("keep-alive")
    try:
        who = f"{_short(message.from_.uri_text)}→{_short(message.to.uri_text)}"
    except PeerError:
        who = ""
    if isinstance(message, Response):
        title = printable(f"{message.status} {message.reason}".strip(), 40)
        return Summary(title, _method(message), who, _body(message))
    hints = [_body(message)]
    if message.has("Authorization") or message.has("Proxy-Authorization"):
        hints.append("+credentials")
    if message.method == "REGISTER" and message.first("Expires") == "0":
        hints.append("expires 0")
    return Summary(printable(message.method, 20), "", who, " ".join(hint for hint in hints if hint))


def _method(response: Response) -> str:
    try:
        return printable(response.cseq.method, 20)
    except PeerError:
        return "?"


def _short(uri: str) -> str:
    """Return the user of a URI, or its host when it has none."""
    try:
        parsed = parse_uri(uri)
    except PeerError:
        return printable(uri, 20)
    if isinstance(parsed, SipUri):
        return printable(parsed.user_text or parsed.host, 20)
    return printable(str(parsed).partition(":")[2], 20)


def _body(message: Request | Response) -> str:
    if not message.body:
        return ""
    kind = message.first("Content-Type") or ""
    part = Part([("Content-Type", kind or "application/octet-stream")], message.body)
    return _content(part, 3)


def _content(part: Part, depth: int) -> str:
    """Return what a body holds; for one that cannot be read, its type and size."""
    try:
        media_type = part.media_type
        if media_type == cpim.MEDIA_TYPE and depth:
            return "CPIM " + _content(Cpim.parse(part.content).part, depth - 1)
        if is_multipart(part.content_type) and depth:
            inner = parse_multipart(part.content_type, part.content).parts
            return " + ".join(_content(one, depth - 1) for one in inner[:3])
        if media_type == imdn.MEDIA_TYPE:
            return f"IMDN {printable(imdn.parse_imdn(part.content).status, 20)}"
        if media_type == iscomposing.MEDIA_TYPE:
            return f"typing {iscomposing.parse_iscomposing(part.content).state}"
        if media_type == resource_lists.MEDIA_TYPE:
            lists = resource_lists.parse_lists(part.content)
            count = sum(1 for one in lists for _ in resource_lists.entries(one))
            return f"list of {count}"
        if media_type == "text/plain":
            return f"“{printable(part.text(), _EXCERPT)}”"
    except PeerError:
        media_type = part.content_type
    name = media_type.rpartition("/")[2].removesuffix("+xml").removeprefix("vnd.")
    return f"{printable(name, 24)} {len(part.content)} B"
