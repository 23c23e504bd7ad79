"""What a SIP message is, in a few words."""

from __future__ import annotations

from omaim.bodies.mime import Part
from omaim.errors import PeerError
from omaim.features.ladder_words import Summary, content, printable, reason_words, short
from omaim.sip.headers import NameAddr
from omaim.sip.message import Request, Response
from omaim.sip.parser import parse_datagram


def summarise_sip(data: bytes) -> Summary:
    """Return what a SIP message, a keep-alive or junk is."""
    try:
        message = parse_datagram(data)
    except PeerError as error:
        start = data[:80].partition(b"\r\n")[0].decode("utf-8", "replace")
        return Summary(printable(start, 40), hint=f"broken: {printable(error.why, 60)}")
    if message is None:
        return Summary("keep-alive")
    try:
        who = f"{short(message.from_.uri_text)}→{short(message.to.uri_text)}"
    except PeerError:
        who = ""
    hints = [_body(message), "focus" if is_focus(message) else ""]
    if isinstance(message, Response):
        title = printable(f"{message.status} {message.reason}".strip(), 40)
        return Summary(title, _method(message), who, _joined(hints))
    if message.has("Authorization") or message.has("Proxy-Authorization"):
        hints.append("+credentials")
    if message.method == "REGISTER" and message.first("Expires") == "0":
        hints.append("expires 0")
    if message.method == "REFER":
        hints.append(_referred(message.first("Refer-To") or ""))
    if message.method in ("BYE", "CANCEL"):
        hints.append(reason_words(message.first("Reason") or ""))
    return Summary(printable(message.method, 20), "", who, _joined(hints))


def is_focus(message: Request | Response) -> bool:
    """Tell whether the sender says that it is the focus of a conference.

    Spec: RFC 3840 §10.18; RFC 4579 §5.1
    """
    contact = message.first("Contact") or ""
    return "isfocus" in contact.rpartition(">")[2].lower().replace("=", ";").split(";")


def _joined(hints: list[str]) -> str:
    return " ".join(hint for hint in hints if hint)


def _method(response: Response) -> str:
    try:
        return printable(response.cseq.method, 20)
    except PeerError:
        return "?"


def _referred(value: str) -> str:
    """Return whom a REFER is about, and what is to be done: "to bob", "to bob by BYE".

    Spec: RFC 3515 §2.1; RFC 5368 §5 (a list in the body)
    """
    if value.startswith(("<cid:", "cid:")):
        return ""  # the list in the body says it
    try:
        target = NameAddr.parse(value).uri_text
    except PeerError:
        return printable(value, 30)
    method = target.partition(";method=")[2].partition(";")[0].partition("?")[0]
    return f"to {short(target)}{f' by {printable(method, 20)}' if method else ''}"


def _body(message: Request | Response) -> str:
    if not message.body:
        return ""
    kind = message.first("Content-Type") or ""
    part = Part([("Content-Type", kind or "application/octet-stream")], message.body)
    return content(part, 3)
