"""What the two ends of one hop derive from a request: transaction keys, its ACK, its CANCEL.

Spec: RFC 3261 §9.1, §17.1.1.3, §17.2.3
"""

from __future__ import annotations

from typing import Final

from omaim.ids import COOKIE
from omaim.sip.message import Request, Response

_COOKIE_LENGTH: Final = len(COOKIE)
_OLD: Final = "\n"  # starts the keys of RFC 2543; no method holds it


def client_key(branch: str, method: str) -> str:
    """Return where answers find their transaction: CANCEL shares its branch with the INVITE.

    Spec: RFC 3261 §17.1.3
    """
    return "CANCEL " + branch if method == "CANCEL" else branch


def server_key(request: Request, method: str) -> str:
    """Return where this request, taken for one with ``method``, finds its transaction.

    ACK and CANCEL are looked up with the method they are about. Without RFC 3261's branch, or
    with one that is nothing but the cookie (RFC 4475 §3.2.1), the headers stand in for it.
    They are compared as written: repeats, ACK and CANCEL carry them unchanged.

    Raises:
        PeerError: one of these headers is missing or broken.

    Spec: RFC 3261 §17.2.3
    """
    via = request.via
    branch = via.branch
    if len(branch) > _COOKIE_LENGTH and branch.startswith(COOKIE):
        return method + " " + branch + " " + via.sent_by
    return old_ack_key(request) + request.to.tag + _OLD + method


def is_old(key: str) -> bool:
    """Return whether this server key is one of a request without RFC 3261's branch."""
    return key.startswith(_OLD)


def old_ack_key(request: Request) -> str:
    """Return, but for the To tag of the answer, where the ACK of an RFC 2543 client belongs.

    Spec: RFC 3261 §17.2.3
    """
    cseq = request.cseq
    parts = (request.uri, request.from_.tag, request.call_id, str(cseq.number), str(request.via))
    return _OLD + _OLD.join(parts) + _OLD


def stateless_tag(key: str) -> str:
    """Return the To tag for an answer that leaves no trace: the same for the same server key.

    Spec: RFC 3261 §8.2.7
    """
    return f"{hash(key) & 0xFFFFFFFFFFFFFFFF:016x}"


def ack_for(request: Request, response: Response) -> Request:
    """Return the ACK that tells the next hop that its error response arrived.

    Spec: RFC 3261 §17.1.1.3
    """
    headers = _shared(request, "ACK")
    headers.append(("To", response.first("To") or ""))
    return Request.make("ACK", request.uri, headers)


def cancel_for(request: Request) -> Request:
    """Return the CANCEL of an INVITE that was sent.

    Spec: RFC 3261 §9.1
    """
    headers = _shared(request, "CANCEL")
    headers.append(("To", request.first("To") or ""))
    return Request.make("CANCEL", request.uri, headers)


def _shared(request: Request, method: str) -> list[tuple[str, str]]:
    headers = [("Via", request.values("Via")[0]), ("Max-Forwards", "70")]
    for route in request.all("Route"):
        headers.append(("Route", route))
    headers.append(("From", request.first("From") or ""))
    headers.append(("Call-ID", request.call_id))
    headers.append(("CSeq", f"{request.cseq.number} {method}"))
    return headers
