"""Header names: the canonical spelling of each, and the compact forms.

Spec: RFC 3261 §7.3.1, §7.3.3, §20; the IANA registry of SIP header fields
"""

from __future__ import annotations

from typing import Final

from omaim.errors import PeerError
from omaim.grammar import is_token

COMPACT: Final = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}

_KNOWN: Final = """
Accept Accept-Contact Accept-Encoding Accept-Language Accept-Resource-Priority Alert-Info
AlertMsg-Error Allow Allow-Events Answer-Mode Authentication-Info Authorization CSeq Call-ID
Call-Info Contact Content-Disposition Content-Encoding Content-ID Content-Language
Content-Length Content-Type Date Error-Info Event Expires Feature-Caps Flow-Timer From
Geolocation Geolocation-Error History-Info Identity Identity-Info In-Reply-To Info-Package
Join MIME-Version Max-Breadth Max-Forwards Min-Expires Min-SE Organization
P-Access-Network-Info P-Answer-State P-Asserted-Identity P-Asserted-Service P-Associated-URI
P-Called-Party-ID P-Charging-Function-Addresses P-Charging-Vector P-Early-Media
P-Media-Authorization P-Preferred-Identity P-Preferred-Service P-Profile-Key P-Served-User
P-User-Database P-Visited-Network-ID Path Permission-Missing Policy-Contact Policy-ID
Priority Privacy Proxy-Authenticate Proxy-Authorization Proxy-Require RAck RSeq Reason
Record-Route Recv-Info Refer-Sub Refer-To Referred-By Reject-Contact Replaces Reply-To
Request-Disposition Require Resource-Priority Retry-After Route SIP-ETag SIP-If-Match
Security-Client Security-Server Security-Verify Server Service-Route Session-Expires
Session-ID Subject Subscription-State Supported Suppress-If-Match Target-Dialog Timestamp To
Trigger-Consent Unsupported User-Agent User-to-User Via WWW-Authenticate Warning
"""


def _spellings() -> dict[str, str]:
    names: dict[str, str] = {}
    for short, name in COMPACT.items():
        names[short] = names[short.upper()] = name
    for name in _KNOWN.split():
        names[name] = names[name.lower()] = names[name.upper()] = name
        names[_capitalised(name)] = name
    return names


def _capitalised(name: str) -> str:
    return "-".join([word.capitalize() for word in name.split("-")])


NAMES: Final = _spellings()  # the usual spellings of each name → its canonical one


def canonical_name(text: str) -> str:
    """Return the canonical spelling of a header name, compact or long, in any case.

    A name that no table has gets a capital at the start of each word.

    Raises:
        PeerError: it is no token.

    Spec: RFC 3261 §7.3.1, §7.3.3
    """
    name = NAMES.get(text)
    if name is not None:
        return name
    if not is_token(text):
        raise PeerError("a header has a bad name")
    name = NAMES.get(text.lower())
    if name is not None:
        return name
    return _capitalised(text)
