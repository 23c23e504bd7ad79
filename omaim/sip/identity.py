"""Who a message is from, and who may be told: asserted identity, privacy, trust.

Three places use this. Where a request comes in from an untrusted side, :func:`strip_untrusted`
and, once the sender is authenticated, :func:`assert_identity`. Where a message goes out to an
untrusted side, :func:`leave_trust_domain`. In between, inside the trust domain, the asserted
identity is believed; From never is. All run for every message and look at header names first.

Spec: RFC 3325; RFC 3323; RFC 3324; RFC 5502; RFC 7315
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import PeerError
from omaim.grammar import NO_PARAMS, split_outside
from omaim.sip.headers import NameAddr, Params, ParamValue
from omaim.sip.message import Message, Request
from omaim.sip.names import canonical_name
from omaim.sip.uri import SipUri, TelUri, canonical_aor

ASSERTED: Final = "P-Asserted-Identity"
PREFERRED: Final = "P-Preferred-Identity"
SERVED: Final = "P-Served-User"
ACCESS: Final = "P-Access-Network-Info"
CALLED: Final = "P-Called-Party-ID"
ASSOCIATED: Final = "P-Associated-URI"
VECTOR: Final = "P-Charging-Vector"
FUNCTIONS: Final = "P-Charging-Function-Addresses"

HEADER: Final = 1  # bits of :func:`privacy_of`
SESSION: Final = 2
USER: Final = 4
ID: Final = 8
NONE: Final = 16
CRITICAL: Final = 32
OTHER: Final = 64  # a level that we do not know

_LEVELS: Final = {
    "header": HEADER,
    "session": SESSION,
    "user": USER,
    "id": ID,
    "none": NONE,
    "critical": CRITICAL,
}

# What only a trusted element may say. Remote-Party-ID never became a standard, but some
# elements still believe it.
_CLAIMS: Final = frozenset(
    [
        ASSERTED,
        SERVED,
        CALLED,
        ASSOCIATED,
        VECTOR,
        FUNCTIONS,
        "P-Asserted-Service",
        "P-Profile-Key",
        "P-User-Database",
        "P-Visited-Network-ID",
        canonical_name("Remote-Party-ID"),
    ]
)
# What concerns only the networks, and stays with those that trust each other.
_INTERNAL: Final = frozenset(
    [
        SERVED,
        ACCESS,
        VECTOR,
        FUNCTIONS,
        PREFERRED,
        "P-Asserted-Service",
        "P-Profile-Key",
        "P-User-Database",
        "P-Visited-Network-ID",
    ]
)
_ON_LEAVING: Final = _INTERNAL | {ASSERTED}
# What tells about a person though nothing depends on it.
_PERSONAL: Final = ("Subject", "Call-Info", "Organization", "User-Agent", "Reply-To", "In-Reply-To")

ANONYMOUS: Final = '"Anonymous" <sip:anonymous@anonymous.invalid>'  # RFC 3323 §4.1.1.3


def strip_untrusted(message: Message) -> None:
    """Remove what an untrusted sender claims though only a trusted element may say it.

    P-Preferred-Identity stays, as a hint for :func:`assert_identity`; so does what the user
    agent itself says of its access network, but not what pretends to be from the network.

    Spec: RFC 3325 §5; RFC 7315 §4.4.2, §6; RFC 5502 §7
    """
    names = message.names
    if not _CLAIMS.isdisjoint(names):
        for name in _CLAIMS.intersection(names):
            message.remove(name)
    if ACCESS in names and "network-provided" in str(message.all(ACCESS)).lower():
        message.remove(ACCESS)


def assert_identity(request: Request, own: tuple[str, ...], pair: bool = False) -> str:
    """Write P-Asserted-Identity for a sender who has proved who he is; return the identity.

    The user may choose among his own identities, by P-Preferred-Identity or else by From;
    whatever else he puts there counts for nothing.

    Args:
        own: canonical URIs that the authenticated user may use, the default one first.
        pair: add an identity of the other kind (sip and tel) when there is one.

    Raises:
        PeerError: the user has no identity to use (403).

    Spec: RFC 3325 §5, §6, §9.1
    """
    if not own:
        raise PeerError("no identity may be asserted", 403)
    chosen = ""
    if PREFERRED in request.names:
        chosen = _hinted(request.all(PREFERRED), own)
        request.remove(PREFERRED)
    if not chosen:
        chosen = own[0]
        if len(own) > 1:
            chosen = _among(request.from_.uri_text, own) or chosen
    value = f"<{chosen}>"
    if pair:
        for other in own:
            if other.startswith("tel:") != chosen.startswith("tel:"):
                value += f", <{other}>"
                break
    request.set(ASSERTED, value)
    return chosen


def _among(text: str, own: tuple[str, ...]) -> str:
    try:
        aor = canonical_aor(text)
    except PeerError:
        return ""
    return aor if aor in own else ""


def _hinted(lines: list[str], own: tuple[str, ...]) -> str:
    """Return the first identity in ``lines`` that is one of ``own``, "" for none."""
    for line in lines:
        try:
            for text in split_outside(line, ",")[:2]:
                found = _among(NameAddr.parse(text).uri_text, own)
                if found:
                    return found
        except PeerError:
            continue
    return ""


def claimed_by(request: Request) -> str:
    """Return the address that the sender says it has, in canonical form; proof comes later.

    Raises:
        PeerError: it is no address.
    """
    preferred = request.addresses(PREFERRED)
    return canonical_aor((preferred[0] if preferred else request.from_).uri_text)


def asserted_identities(message: Message) -> tuple[str, ...]:
    """Return the canonical URIs that a trusted element asserted: none, one, or sip and tel.

    Raises:
        PeerError: more than that, or no good URIs.

    Spec: RFC 3325 §9.1
    """
    if ASSERTED not in message.names:
        return ()
    found: list[str] = []
    for address in message.addresses(ASSERTED):
        uri = address.uri
        if not isinstance(uri, SipUri) and not isinstance(uri, TelUri):
            raise PeerError("an asserted identity is a sip, sips or tel URI")
        found.append(uri.aor())
    if len(found) > 2 or (
        len(found) == 2 and found[0].startswith("tel:") == found[1].startswith("tel:")
    ):
        raise PeerError("asserted identities are one, or one sip and one tel")
    return tuple(found)


def privacy_of(message: Message) -> int:
    """Return which privacy is asked for, as bits; 0 for no Privacy header.

    "none" excludes all others.

    Spec: RFC 3323 §4.2; RFC 3325 §9.3
    """
    if "Privacy" not in message.names:
        return 0
    bits = 0
    for line in message.all("Privacy"):
        for text in line.replace(",", ";").split(";"):
            level = text.strip(" \t").lower()
            if level:
                bits |= _LEVELS.get(level, OTHER)
    return NONE if bits & NONE else bits


def check_privacy(request: Request, able: int = ID) -> None:
    """Refuse a request whose critical privacy we cannot provide.

    Args:
        able: bits of what this element provides. A proxy provides ``ID``; the others need an
            element that ends the dialog and begins another.

    Raises:
        PeerError: 500, naming the levels that are missing.

    Spec: RFC 3323 §5
    """
    asked = privacy_of(request)
    if not asked & CRITICAL:
        return
    missing = asked & ~(able | CRITICAL)
    if missing:
        names = [name for name, bit in _LEVELS.items() if bit & missing]
        if missing & OTHER:
            names.append("an unknown level")
        raise PeerError("privacy cannot be provided: " + ", ".join(names), 500)


def _privacy_done(message: Message, done: int) -> None:
    """Take away the levels that were provided (RFC 3323 §5)."""
    left: list[str] = []
    for line in message.all("Privacy"):
        for text in line.replace(",", ";").split(";"):
            level = text.strip(" \t")
            if level and not _LEVELS.get(level.lower(), OTHER) & done:
                left.append(level)
    if not left or (len(left) == 1 and left[0].lower() == "critical"):
        message.remove("Privacy")
        if "Proxy-Require" in message.names:
            _drop_tag(message, "privacy")
    else:
        message.set("Privacy", ";".join(left))


def _drop_tag(message: Message, tag: str) -> None:
    tags = [text for text in message.values("Proxy-Require") if text.lower() != tag]
    if tags:
        message.set("Proxy-Require", ", ".join(tags))
    else:
        message.remove("Proxy-Require")


def leave_trust_domain(message: Message, hide_by_default: bool = False) -> None:
    """Prepare a message for a next hop that is not trusted.

    Headers for networks only are removed; the asserted identity too when its owner asked for
    that ("id", or the stronger "user" and "header").

    Args:
        hide_by_default: remove the asserted identity unless the Privacy is "none".

    Spec: RFC 3325 §5, §7; RFC 3323 §5; RFC 7315 §4.4.2.2, §4.5, §4.6; RFC 5502 §7
    """
    names = message.names
    if _ON_LEAVING.isdisjoint(names):
        return
    for name in _INTERNAL.intersection(names):
        message.remove(name)
    if ASSERTED in names:
        asked = privacy_of(message)
        if asked & (ID | USER | HEADER) or (hide_by_default and not asked & NONE):
            message.remove(ASSERTED)
            if asked & ID:
                _privacy_done(message, ID)


def leave_domain(message: Message) -> None:
    """Prepare a message for a network that is trusted: only our charging functions stay here.

    Spec: RFC 7315 §4.5
    """
    if FUNCTIONS in message.names:
        message.remove(FUNCTIONS)


def strip_personal(message: Message) -> None:
    """Remove headers that tell about the sender though nothing depends on them.

    For elements that provide "user" privacy; they also write From as :data:`ANONYMOUS`.

    Spec: RFC 3323 §5.3
    """
    for name in _PERSONAL:
        if name in message.names:
            message.remove(name)


@final
class ServedUser:
    """On whose behalf an application server is asked.

    Attributes:
        uri: as written.
        case: "orig", "term" or "".
        registered: "reg", "unreg" or "".

    Spec: RFC 5502 §6
    """

    __slots__ = ("case", "registered", "uri")

    def __init__(self, uri: str, case: str = "", registered: str = "") -> None:
        self.uri: Final = uri
        self.case: Final = case
        self.registered: Final = registered

    @staticmethod
    def parse(text: str) -> ServedUser:
        """Return what a P-Served-User value says; unknown cases are as if not given.

        Raises:
            PeerError: no URI.
        """
        address = NameAddr.parse(text)
        case = (address.params.get("sescase") or "").lower()
        registered = (address.params.get("regstate") or "").lower()
        return ServedUser(
            address.uri_text,
            case if case in ("orig", "term") else "",
            registered if registered in ("reg", "unreg") else "",
        )

    def __str__(self) -> str:
        text = f"<{self.uri}>"
        if self.case:
            text += f";sescase={self.case}"
        if self.registered:
            text += f";regstate={self.registered}"
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ServedUser) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def served_user(message: Message) -> ServedUser | None:
    """Return P-Served-User, ``None`` without.

    Raises:
        PeerError: it does not parse.
    """
    text = message.first(SERVED)
    return None if text is None else ServedUser.parse(text)


def access_networks(message: Message) -> list[ParamValue]:
    """Return the access networks that P-Access-Network-Info names: type or class, and details.

    Raises:
        PeerError: it does not parse.

    Spec: RFC 7315 §5.4
    """
    return [ParamValue.parse(text) for text in message.values(ACCESS)]


def address_list(uris: tuple[str, ...], params: Params = NO_PARAMS) -> str:
    """Return URIs as a header value, as P-Associated-URI has it (RFC 7315 §5.1)."""
    end = str(params)
    return ", ".join([f"<{uri}>{end}" for uri in uris])


def keep_called_party(request: Request) -> None:
    """Note whom the request is for before its Request-URI becomes a contact.

    Spec: RFC 7315 §4.2.2.2
    """
    request.set(CALLED, f"<{request.uri}>")
