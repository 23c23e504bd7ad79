"""What a REGISTER asks for, as far as it can be told without looking at any binding.

:mod:`omaim.sip.registration` then does it. Read first: :class:`Policy` and :class:`Sender`,
what the registrar brings along.

Spec: RFC 3261 §10.3 steps 2, 6, 7; RFC 3327 §5.3; RFC 5626 §6
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import PeerError
from omaim.grammar import Params
from omaim.sip.headers import NameAddr
from omaim.sip.message import Request
from omaim.sip.uri import SipUri, Uri

_WHEN_MALFORMED: Final = 3600  # seconds, RFC 3261 §20.19
_HOUR: Final = 3600
_MAX_REG_ID: Final = 2147483647  # RFC 5626 §10
_MAX_PATH: Final = 20


@final
class Refused(PeerError):
    """A REGISTER that must fail, and the header lines that its answer needs.

    Attributes:
        headers: (name, value) to add to the response.
    """

    def __init__(self, why: str, status: int, headers: list[tuple[str, str]]) -> None:
        super().__init__(why, status)
        self.headers = headers


@final
class Policy:
    """What a registrar allows and offers.

    Args:
        default_expires: seconds when the user agent does not say.
        min_expires: shorter ones are refused with 423; 0 to 3600.
        max_expires: longer ones are cut to this.
        max_contacts: bindings that one address may have.
        service_route: name-addr texts for Service-Route, topmost first.
        flow_timer: seconds for Flow-Timer on direct flows; 0 says nothing.
        lenient_path: accept a Path though the user agent does not say that it knows it;
            otherwise 420, as RFC 3327 recommends.
        demanded: option tags that every user agent must support (421).
        known: option tags that a Require may name (else 420).
    """

    __slots__ = (
        "default_expires",
        "demanded",
        "flow_timer",
        "known",
        "lenient_path",
        "max_contacts",
        "max_expires",
        "min_expires",
        "service_route",
    )

    def __init__(
        self,
        default_expires: int = 3600,
        min_expires: int = 60,
        max_expires: int = 7200,
        max_contacts: int = 10,
        service_route: tuple[str, ...] = (),
        flow_timer: int = 0,
        lenient_path: bool = False,
        demanded: tuple[str, ...] = (),
        known: tuple[str, ...] = ("path", "outbound", "gruu"),
    ) -> None:
        self.default_expires = default_expires
        self.min_expires = min(min_expires, _HOUR)
        self.max_expires = max_expires
        self.max_contacts = max_contacts
        self.service_route = service_route
        self.flow_timer = flow_timer
        self.lenient_path = lenient_path
        self.demanded = demanded
        self.known = known


@final
class Sender:
    """How a REGISTER came, as its headers cannot prove it.

    Args:
        private_id: who authenticated.
        flow_token: names the flow when the user agent is connected to us; "" when the request
            came through a proxy or the flow cannot be used again.
        received: where it came from when its Via says otherwise, as a SIP URI; "" none.
    """

    __slots__ = ("flow_token", "private_id", "received")

    def __init__(self, private_id: str = "", flow_token: str = "", received: str = "") -> None:
        self.private_id = private_id
        self.flow_token = flow_token
        self.received = received


@final
class Wish:
    """What one Contact asks for, checked as far as it can be without the bindings."""

    __slots__ = ("address", "instance", "lifetime", "params", "q", "reg_id", "uri")

    def __init__(self, address: NameAddr, lifetime: int) -> None:
        self.address = address
        self.lifetime = lifetime
        self.uri: Uri = address.uri
        self.q = address.q
        self.params = address.params
        self.instance = ""
        self.reg_id = 0
        instance = self.params.get("+sip.instance")
        if instance:
            if instance[0] == "<" and instance[-1] == ">":
                instance = instance[1:-1]
            self.instance = instance
            self.reg_id = _reg_id(self.params)


def _reg_id(params: Params) -> int:
    text = params.get("reg-id")
    if text is None:
        return 0
    if not text.isdigit() or not text.isascii() or len(text) > 10:
        raise PeerError("a reg-id is a number from 1 to 2^31-1")
    number = int(text)
    if not 1 <= number <= _MAX_REG_ID:
        raise PeerError("a reg-id is a number from 1 to 2^31-1")
    return number


def check_options(request: Request, supported: frozenset[str], policy: Policy) -> None:
    """Refuse extensions that we do not know, and user agents that lack one we demand."""
    if request.has("Require"):
        unknown = [tag for tag in sorted(request.require) if tag not in policy.known]
        if unknown:
            tags = ", ".join(unknown)
            raise Refused("an extension is not supported", 420, [("Unsupported", tags)])
    for tag in policy.demanded:
        if tag not in supported:
            raise Refused(f"the extension {tag} is required", 421, [("Require", tag)])


def path_of(request: Request, supported: frozenset[str], policy: Policy) -> tuple[str, ...]:
    """Return the path vector, topmost first.

    Spec: RFC 3327 §5.3
    """
    if not request.has("Path"):
        return ()
    if "path" not in supported and not policy.lenient_path:
        raise Refused(
            "a Path for a user agent that does not know it", 420, [("Unsupported", "path")]
        )
    path = request.values("Path")
    if len(path) > _MAX_PATH:
        raise PeerError("the Path is too long")
    for text in path:
        if not isinstance(NameAddr.parse(text).uri, SipUri):
            raise PeerError("the Path holds what is no SIP URI")
    return tuple(path)


def means_all(contacts: list[NameAddr], request: Request) -> bool:
    """Tell whether the Contact is "*", which must stand alone and with Expires: 0.

    Spec: RFC 3261 §10.2.2, §10.3 step 6
    """
    for contact in contacts:
        if contact.uri_text == "*":
            if len(contacts) > 1 or _expires_header(request) != 0:
                raise PeerError("Contact: * stands alone and with Expires: 0")
            return True
    return False


def _expires_header(request: Request) -> int | None:
    try:
        return request.expires
    except PeerError:
        return _WHEN_MALFORMED


def wishes_of(contacts: list[NameAddr], request: Request, policy: Policy) -> list[Wish]:
    """Return what each Contact asks for, lifetimes within the limits.

    Spec: RFC 3261 §10.3 step 7, §20.10, §20.19
    """
    if len(contacts) > 2 * policy.max_contacts:
        raise PeerError("too many contacts in one request", 403)
    fallback = _expires_header(request)
    if fallback is None:
        fallback = policy.default_expires
    wishes: list[Wish] = []
    for contact in contacts:
        try:
            asked = contact.expires
        except PeerError:
            asked = _WHEN_MALFORMED
        if asked is None:
            asked = fallback
        if 0 < asked < policy.min_expires:
            least = [("Min-Expires", str(policy.min_expires))]
            raise Refused("this registration would be too brief", 423, least)
        wishes.append(Wish(contact, min(asked, policy.max_expires)))
    return wishes


def settle_outbound(
    wishes: list[Wish],
    supported: frozenset[str],
    sender: Sender,
    path: tuple[str, ...],
    request: Request,
) -> bool:
    """Decide whether reg-ids count, and clear them where not.

    The first hop is ready when it is us, as a single Via tells, with a flow that we can use
    again; or when its URI in the path, the last as each proxy puts its own on top, has the "ob"
    parameter.

    Spec: RFC 5626 §6
    """
    flows = [wish for wish in wishes if wish.reg_id]
    if not flows:
        return False
    if len([wish for wish in wishes if wish.lifetime]) > 1:
        raise PeerError("a reg-id registers one contact at a time")
    if len(request.vias) == 1:
        ready = sender.flow_token != ""
    else:
        edge = NameAddr.parse(path[-1]).uri if path else None
        ready = isinstance(edge, SipUri) and edge.ob
    if not ready and "outbound" in supported:
        raise Refused("the first hop lacks outbound support", 439, [])
    if not ready or "outbound" not in supported:
        for wish in flows:
            wish.reg_id = 0
        return False
    return True
