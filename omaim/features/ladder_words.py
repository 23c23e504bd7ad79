"""Words for ladders: short, on one line, and printable whatever the octets were."""

from __future__ import annotations

import re
from typing import Final

import attrs

from omaim.bodies import cpim, imdn, iscomposing, resource_lists, sdp
from omaim.bodies.cpim import Cpim
from omaim.bodies.mime import Part
from omaim.bodies.multipart import is_multipart, parse_multipart
from omaim.bodies.xml import Element, parse_xml
from omaim.errors import PeerError
from omaim.features.ladder_sdp import media_of
from omaim.sip.uri import SipUri, parse_uri

_EXCERPT: Final = 28  # characters of a text body
_READ: Final = 65_536  # octets of a text that are looked at
_TOKEN: Final = 15  # characters behind a dot that nobody has thought of
_FIRST: Final = 5  # of them that are shown
_NAMED: Final = 4  # people of a roster
_CONFERENCE: Final = "{urn:ietf:params:xml:ns:conference-info}"
_CONFERENCE_TYPE: Final = "application/conference-info+xml"
_SIPFRAG: Final = "message/sipfrag"
_UNITS: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


@attrs.frozen
class Summary:
    """A message in words."""

    title: str  # "MESSAGE", "202 Accepted"
    method: str = ""  # of a response: what it answers
    who: str = ""  # "alice→bob"
    hint: str = ""  # what is in it: "“Hello”", "IMDN delivered"
    part: str = ""  # how much of the whole it is: "1-2048/9000"

    def __str__(self) -> str:
        title = f"{self.title} ({self.method})" if self.method else self.title
        return " ".join(piece for piece in (title, self.who, self.hint, self.part) if piece)


def printable(text: str, most: int = 200) -> str:
    """Return the text on one line, cut to ``most`` characters, without control characters."""
    flat = " ".join(text[: 4 * most].split())
    safe = "".join(sign if sign.isprintable() else "·" for sign in flat)
    return safe if len(safe) <= most else safe[: most - 1] + "…"


def size_words(octets: int) -> str:
    """Return a size as people read it: "512 B", "1.2 MB"."""
    for unit, name in _UNITS:
        if octets >= unit and octets >= 10_000:
            return f"{octets / unit:.1f} {name}"
    return f"{octets} B"


def short(uri: str) -> str:
    """Return the user of a URI, or its host when it has none."""
    try:
        parsed = parse_uri(uri)
    except PeerError:
        return printable(uri, 20)
    if isinstance(parsed, SipUri):
        name = parsed.user_text or parsed.host
        kind, dot, token = name.partition(".")
        if dot and len(token) > _TOKEN and name == parsed.user_text:
            return printable(f"{kind}.{token[:_FIRST]}…", 20)
        return printable(name, 20)
    return printable(str(parsed).partition(":")[2], 20)


def content(part: Part, depth: int = 3) -> str:
    """Return what a body holds; for one that cannot be read, its type and size.

    Args:
        depth: bodies inside one another that are opened.
    """
    try:
        media_type = part.media_type
        if media_type == cpim.MEDIA_TYPE and depth:
            return "CPIM " + content(Cpim.parse(part.content).part, depth - 1)
        if is_multipart(part.content_type) and depth:
            inner = parse_multipart(part.content_type, part.content).parts
            return " + ".join(content(one, depth - 1) for one in inner[:3])
        known = _known(media_type, part)
        if known:
            return known
    except PeerError:
        media_type = part.content_type
    name = media_type.rpartition("/")[2].removesuffix("+xml").removeprefix("vnd.")
    return f"{printable(name, 24)} {size_words(len(part.content))}"


def _known(media_type: str, part: Part) -> str:
    """Return what a body of a type that we know says, "" for others."""
    if media_type == imdn.MEDIA_TYPE:
        return f"IMDN {printable(imdn.parse_imdn(part.content).status, 20)}"
    if media_type == iscomposing.MEDIA_TYPE:
        return f"typing {iscomposing.parse_iscomposing(part.content).state}"
    if media_type == resource_lists.MEDIA_TYPE:
        lists = resource_lists.parse_lists(part.content)
        count = sum(1 for one in lists for _ in resource_lists.entries(one))
        return f"list of {count}"
    if media_type == "text/plain":
        few = Part(part.headers, part.content[:_READ]) if len(part.content) > _READ else part
        return f"“{printable(few.text(), _EXCERPT)}”"
    if media_type == sdp.MEDIA_TYPE:
        return _offered(part.content)
    if media_type == _CONFERENCE_TYPE:
        return roster(parse_xml(part.content, f"{_CONFERENCE}conference-info"))
    if media_type == _SIPFRAG:
        start = part.content[:200].partition(b"\r\n")[0].decode("utf-8", "replace")
        return f"“{printable(start, _EXCERPT)}”"
    return ""


def _offered(data: bytes) -> str:
    """Return what a session description offers or grants: "MSRP/TLS"."""
    words = []
    for media in media_of(data)[:4]:
        name = {"TCP/MSRP": "MSRP", "TCP/TLS/MSRP": "MSRP/TLS"}.get(media.protocol)
        said = [name or f"{printable(media.kind, 20)} {printable(media.protocol, 20)}"]
        if media.file_name or media.file_size:
            said.append(f"file “{printable(media.file_name, 40)}”" if media.file_name else "file")
            if media.file_size:
                said.append(size_words(media.file_size))
        if not media.port:
            said.insert(0, "no")
        elif media.inactive:
            said.append("inactive")
        words.append(" ".join(said))
    return " + ".join(words) or f"sdp {len(data)} B"


def roster(root: Element) -> str:
    """Return a conference document in short: who is there, or who came (+) and left (-).

    Spec: RFC 4575 §4, §5.6
    """
    partial = root.get("state") == "partial"
    people = []
    for user in root.iter(f"{_CONFERENCE}user"):
        states = {status.text for status in user.iter(f"{_CONFERENCE}status")}
        gone = user.get("state") == "deleted" or states == {"disconnected"}
        mark = "-" if gone else "+" if partial else ""
        people.append(mark + (short(user.get("entity", "")) or "?"))
    more = [f"+{len(people) - _NAMED} more"] if len(people) > _NAMED else []
    version = printable(root.get("version", ""), 10)
    names = ", ".join([*people[:_NAMED], *more]) or "nobody named"
    return f"roster{f' v{version}' if version else ''}: {names}"


_WORD: Final = re.compile(r"[^\s;,]+")


def reason_words(value: str) -> str:
    """Return a Reason header in short: "SIP 480 “Expelled”".

    Spec: RFC 3326 §2
    """
    first = value.partition(",")[0] if '"' not in value else value
    protocol = _WORD.match(first.strip())
    cause = re.search(r";\s*cause\s*=\s*(\d{1,6})", first)
    text = re.search(r';\s*text\s*=\s*"([^"]*)"', first)
    words = [printable(protocol[0], 20)] if protocol else []
    words += [cause[1]] if cause else []
    words += [f"“{printable(text[1], 40)}”"] if text else []
    return " ".join(words)
