"""What a proxy checks in a request, takes off it and puts on it: RFC 3261 §16.3 to §16.6.

Functions on one message at a time. The order is that of the RFC::

    part = loop_part(request)                   # before anything is changed
    validate(request, own, understood, part)    # §16.3; raises what to answer
    visited = preprocess(request, own)          # §16.4; our Route values, taken off
    targets = …                                 # §16.5; the owner's decision
    copy = forwarded_copy(request, target, …)   # §16.6, steps 1 to 6
    hop = postprocess(copy)                     # §16.6, steps 6 and 7

A proxy changes the Request-URI, Max-Forwards, Max-Breadth, Route, Record-Route, Path and Via
and nothing else; what it does not know it leaves as it is. Which response goes back when there
are several targets is decided in :mod:`omaim.sip.forking`.

Spec: RFC 3261 §16; RFC 5393; RFC 3327 §5.2
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, final
from zlib import crc32

from omaim.errors import PeerError
from omaim.grammar import ipv6_groups, number, quote
from omaim.ids import COOKIE
from omaim.sip.headers import NameAddr, Via
from omaim.sip.message import Request, Response, error_response, value_of
from omaim.sip.uri import OtherUri, SipUri, parse_uri

MAX_FORWARDS: Final = 70  # RFC 3261 §16.6 step 3
MAX_BREADTH: Final = 60  # RFC 5393 §5.3.3
VISITS: Final = 4  # further Routes of ours, or pairs of them, taken off at once; a list may be long
_DEFAULT_BREADTH: Final = "60"
_LARGEST_BREADTH: Final = 4294967295
_DUAL: Final = "dual"  # marks the two halves of a double Record-Route
_NO_URIS: Final[frozenset[str]] = frozenset()


class BadExtension(PeerError):
    """The request demands of proxies what we do not know.

    Spec: RFC 3261 §16.3 item 5, §21.4.15
    """

    def __init__(self, tags: list[str]) -> None:
        super().__init__("Proxy-Require names what this proxy does not know", 420)
        self.tags = tags


class ExtensionRequired(PeerError):
    """The request goes no further unless the client supports an extension.

    Spec: RFC 3261 §21.4.16
    """

    def __init__(self, tag: str) -> None:
        super().__init__(f"support for {tag} is required", 421)
        self.tag = tag


class SipsNotAllowed(PeerError):
    """A sips URI leads to somebody who can be reached by sip URIs only.

    Spec: RFC 5630 §5.3, §6.2
    """

    def __init__(self) -> None:
        super().__init__("SIPS Not Allowed", 480)


def refusal(request: Request, error: PeerError, to_tag: str) -> Response:
    """Return the answer to a request that this module refused.

    Spec: RFC 3261 §16.3, §20.32, §20.40; RFC 5630 §6.2
    """
    response = error_response(request, error, to_tag)
    if isinstance(error, BadExtension):
        response.add("Unsupported", ", ".join(error.tags))
    elif isinstance(error, ExtensionRequired):
        response.add("Require", error.tag)
    elif isinstance(error, SipsNotAllowed):
        response.set("Warning", f"380 omaim {quote(error.why)}")
    return response


def stand_in(request: Request, response: Response, to_tag: str) -> Response:
    """Return the answer of ours for one that came from no next hop, or is a 503.

    A next hop's 503 becomes 500, as our other next hops are not overloaded. Ours stays where it
    says how long to wait: then it is we who have no room.

    Spec: RFC 3261 §16.7 step 6
    """
    wait = response.first("Retry-After") if response.local else None
    status = 500 if response.status == 503 and wait is None else response.status
    answer = request.response(status, None, to_tag)
    if wait is not None:
        answer.add("Retry-After", wait)
    return answer


@final
class OwnAddresses:
    """The hosts and ports by which requests reach this proxy.

    A URI without a port is ours when its host is, as a domain or at a default port.
    """

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: set[tuple[str, int]] = set()

    def add(self, host: str, port: int = 0) -> None:
        """Take a host in; port 0 stands for none given (a domain, or the default port)."""
        self._places.add((_host_key(host.lower()), port))
        if port == 5060 or port == 5061:
            self._places.add((_host_key(host.lower()), 0))

    def owns(self, uri: SipUri) -> bool:
        """Return whether the URI leads here."""
        return self.has(uri.host, uri.port)

    def has(self, host: str, port: int) -> bool:
        """Return whether this host, in lower case, and port are ours; port 0: none given."""
        if host[:1] == "[":
            host = _host_key(host)
        places = self._places
        if (host, port) in places:
            return True
        # The default port said aloud is no other place.
        return (port == 5060 or port == 5061) and (host, 0) in places


def _host_key(host: str) -> str:
    if host[:1] != "[":
        return host
    return "[" + ":".join([f"{group:x}" for group in ipv6_groups(host[1:-1])]) + "]"


def loop_part(request: Request) -> str:
    """Return the part of our branch that is the same again if the request loops.

    It varies with what decides on the way of a request: Request-URI and Route; and with the
    Call-ID and the CSeq number, so that one collision does not become a lasting one; never with
    the method. Ask before :func:`preprocess`.

    Spec: RFC 5393 §4.2.1, §4.2.4
    """
    text = request.uri + "\n" + request.call_id + "\n" + str(request.cseq.number)
    if request.has("Route"):
        text += "\n" + "\n".join(request.all("Route"))
    return "-" + hex(crc32(text.encode("utf-8", "replace")))[2:]


def validate(
    request: Request,
    own: OwnAddresses,
    understood: frozenset[str] = _NO_URIS,
    loop: str = "",
    schemes: frozenset[str] = _NO_URIS,
) -> None:
    """Return if the request may be proxied.

    Args:
        request: as received.
        own: where we are.
        understood: option tags of Proxy-Require that we know, in lower case.
        loop: from :func:`loop_part`; "" leaves loops to Max-Forwards.
        schemes: of the Request-URI, welcome beside sip, sips and tel.

    Raises:
        PeerError: 400, 416, 482 or 483; :class:`BadExtension`: 420. Answer by
            :func:`refusal`.

    Spec: RFC 3261 §16.3; RFC 5393 §4.2.2
    """
    uri = request.request_uri
    if isinstance(uri, OtherUri) and uri.scheme not in schemes:
        raise PeerError("the scheme of the Request-URI is not known here", 416)
    if request.max_forwards == 0:
        raise PeerError("the request took too many hops", 483)
    if loop:
        for at, name in enumerate(request.names):
            line = request.lines[at]
            if name == "Via" and loop in line and _passed_here(value_of(line), own, loop):
                raise PeerError("the request comes round again", 482)
    if request.has("Proxy-Require"):
        tags = [tag for tag in request.values("Proxy-Require") if tag.lower() not in understood]
        if tags:
            raise BadExtension(tags)


def _passed_here(line: str, own: OwnAddresses, loop: str) -> bool:
    """Return whether a Via line has one of ours with this branch; strange ones are not ours."""
    for text in line.split(","):
        if loop in text:
            try:
                via = Via.parse(text.strip(" \t"))
            except PeerError:
                continue
            if via.branch.endswith(loop) and own.has(via.host, via.port):
                return True
    return False


def preprocess(
    request: Request, own: OwnAddresses, transport: str = "", port: int = 0
) -> list[str]:
    """Undo what strict routers did, and take our own values off the Route of the request.

    Args:
        request: is changed in place.
        own: where we are.
        transport: by which the request came, as ``UDP``; "" when that does not matter.
        port: at which the request came.

    Returns:
        The URIs that were ours: none, one, or the two of a double Record-Route; then
        the one at which the request came in is first.

    Raises:
        PeerError: a Route value is malformed (answer 400).

    Spec: RFC 3261 §16.4, §16.12
    """
    uri = request.uri
    if ";" in uri:
        _preprocess_uri(request, own, transport, port)
    if not request.has("Route"):
        return []
    visited: list[str] = []
    route = request.top_route
    parsed = request.route_uri(route)
    if isinstance(parsed, SipUri) and own.owns(parsed):
        visited.append(route)
        request.remove_first("Route")
        if parsed.params.has(_DUAL) and request.has("Route"):
            route = request.top_route
            parsed = parse_uri(route)
            if isinstance(parsed, SipUri) and parsed.params.has(_DUAL) and own.owns(parsed):
                visited.append(route)
                request.remove_first("Route")
    return visited


def visited_here(request: Request, own: OwnAddresses, transport: str, port: int) -> list[str]:
    """Take all our URIs off the beginning of Route, as if we had sent it to ourselves.

    A client whose outbound proxy we are names us twice, with its Service-Route. The arguments,
    and what is returned and raised, are those of :func:`preprocess`.

    Spec: RFC 3261 §16.4; RFC 3608 §6.1
    """
    visited = preprocess(request, own, transport, port)
    for _ in range(VISITS):
        if not visited or not request.has("Route"):
            break
        found = preprocess(request, own)
        if not found:
            break
        visited += found
    return visited


def _preprocess_uri(request: Request, own: OwnAddresses, transport: str, port: int) -> None:
    """Treat a Request-URI that is our Record-Route value, or has our address as maddr."""
    uri = request.request_uri
    if not isinstance(uri, SipUri):
        return
    if uri.lr and own.owns(uri) and request.has("Route"):
        routes = request.values("Route")
        request.uri = NameAddr.parse(routes.pop()).uri_text
        if routes:
            request.set("Route", ", ".join(routes))
        else:
            request.remove("Route")
        uri = request.request_uri
        if not isinstance(uri, SipUri):
            return
    maddr = uri.maddr
    if maddr and own.has(maddr, uri.port):
        named = uri.transport.upper() or ("TLS" if uri.scheme == "sips" else "UDP")
        default = 5061 if uri.scheme == "sips" or named == "TLS" else 5060
        if (not transport or named == transport) and (not port or (uri.port or default) == port):
            params = uri.params.without("maddr").without("transport")
            bare = SipUri(uri.scheme, uri.user, uri.host, 0, params, uri.headers, uri.password)
            request.uri = str(bare)


def target_text(uri: str) -> str:
    """Return a target without what a Request-URI must not have: method and headers.

    Raises:
        PeerError: no URI.

    Spec: RFC 3261 §16.6 step 2, §19.1.1 (table 1)
    """
    if "?" not in uri and "method" not in uri.lower():
        return uri
    parsed = parse_uri(uri)
    if not isinstance(parsed, SipUri):
        return uri
    return str(parsed.for_request())


def forwarded_copy(
    request: Request,
    target: str,
    *,
    via: str = "",
    record_routes: list[str] | None = None,
    routes: list[str] | None = None,
    breadth: int = 0,
) -> Request:
    """Return the request as it goes on to one target; :func:`postprocess` comes next.

    Args:
        request: validated and preprocessed; it stays as it is.
        target: the new Request-URI.
        via: our Via with its branch; "" when who sends it puts it on.
        record_routes: values to put on top, topmost first; see :func:`record_route`.
        routes: URIs that the request has to visit first, topmost first; all loose routers.
        breadth: what this branch may fork to; 0 when there is only this one.

    Raises:
        PeerError: Max-Forwards or Max-Breadth is malformed (answer 400).

    Spec: RFC 3261 §16.6; RFC 5393 §5.3.3
    """
    copy = request.copy()
    copy.uri = target_text(target)
    hops = copy.max_forwards
    copy.set("Max-Forwards", str(MAX_FORWARDS if hops is None else hops - 1))
    if breadth:
        copy.set("Max-Breadth", str(breadth))
    else:
        asked = copy.first("Max-Breadth")
        if asked is None:
            copy.add("Max-Breadth", _DEFAULT_BREADTH)
        elif asked != _DEFAULT_BREADTH and incoming_breadth(copy) == MAX_BREADTH:
            copy.set("Max-Breadth", _DEFAULT_BREADTH)
    if routes:
        for route in reversed(routes):
            copy.prepend("Route", "<" + route + ">")
    if record_routes:
        for value in reversed(record_routes):
            copy.prepend("Record-Route", value)
    if via:
        copy.prepend("Via", via)
    return copy


def incoming_breadth(request: Request) -> int:
    """Return to how many branches at once this request may be forked; 0 for none at all.

    Raises:
        PeerError: Max-Breadth is no number (answer 400).

    Spec: RFC 5393 §5.3.3
    """
    text = request.first("Max-Breadth")
    if text is None:
        return MAX_BREADTH
    return min(number(text, _LARGEST_BREADTH), MAX_BREADTH)


def postprocess(copy: Request) -> str:
    """Prepare the copy for a strict router, if one is next, and return whom to send it to.

    Returns:
        The URI to which RFC 3263 is applied; as for a sips URI when the Request-URI is one.

    Raises:
        PeerError: a Route value is malformed (answer 400).

    Spec: RFC 3261 §16.6 steps 6 and 7
    """
    if not copy.has("Route"):
        return copy.uri
    route = copy.top_route
    parsed = copy.route_uri(route)
    if isinstance(parsed, SipUri) and not parsed.lr:
        copy.add("Route", "<" + copy.uri + ">")
        copy.remove_first("Route")
        copy.uri = route
        copy.next_hop = route
    return route


def wants_sips(copy: Request) -> bool:
    """Return whether our Record-Route value in this copy has to be a sips URI.

    Args:
        copy: after :func:`postprocess`.

    Spec: RFC 3261 §16.6 step 4
    """
    if copy.uri[:5].lower() == "sips:":
        return True
    return copy.has("Route") and copy.top_route[:5].lower() == "sips:"


def own_uri(host: str, port: int, transport: str, user: str = "", *, sips: bool = False) -> str:
    """Return a URI that leads back here, without the lr parameter.

    Args:
        host: a name or an address, IPv6 in brackets.
        port: 0 leaves it out.
        transport: as ``UDP``, which is what a URI without a parameter means.
        user: a token that tells what to do when it comes back; "" for none.
        sips: make it a sips URI; the transport then stands in no parameter.
    """
    text = ("sips:" if sips else "sip:") + (user + "@" if user else "") + host
    if port:
        text += ":" + str(port)
    if not sips and transport != "UDP":
        text += ";transport=" + transport.lower()
    return text


def record_route(upstream: str, downstream: str) -> list[str]:
    """Return the Record-Route values by which both sides reach us, topmost first.

    Args:
        upstream: our URI on the side from which the request came, without lr.
        downstream: our URI on the side to which it goes. When transport, address family or
            host differ there are two values, and each side meets its own.

    Spec: RFC 3261 §16.6 step 4, §16.7 step 8 (two values make rewriting needless)
    """
    if upstream == downstream:
        return ["<" + upstream + ";lr>"]
    return [f"<{downstream};lr;{_DUAL}>", f"<{upstream};lr;{_DUAL}>"]


def add_path(copy: Request, uri: str, demanded: bool = False) -> bool:
    """Put our URI on top of the Path of a REGISTER, if the client knows what that is.

    Args:
        copy: the REGISTER that goes on.
        uri: ours, with the lr parameter.
        demanded: the registrar has to keep the Path, or the request fails.

    Returns:
        Whether it was added.
    Raises:
        ExtensionRequired: demanded, and the client does not support Path.

    Spec: RFC 3327 §5.2
    """
    if "path" not in copy.supported:
        if demanded:
            raise ExtensionRequired("path")
        return False
    copy.prepend("Path", "<" + uri + ">")
    if demanded and "path" not in copy.require:
        copy.add("Require", "path")
    return True


def strip_via(response: Response) -> bool:
    """Take our Via off a response.

    Returns:
        Whether another is left: without one the response was meant for us and goes nowhere.

    Spec: RFC 3261 §16.7 step 3
    """
    response.remove_first("Via")
    return response.has("Via")


def stateless_hop(response: Response, own: OwnAddresses) -> Via | None:
    """Take our Via off a response that belongs to no transaction.

    Returns:
        The Via that says where it goes now; ``None``: drop it, it is not ours to forward.

    Spec: RFC 3261 §16.7 (no client transaction found), §16.11
    """
    try:
        top = response.via
        if not own.has(top.host, top.port) or not strip_via(response):
            return None
        return response.via
    except PeerError:
        return None


def stateless_branch(request: Request) -> str:
    """Return the branch for a request that is forwarded without state: for a repeat the same.

    Args:
        request: as received, our own Via not yet on it.

    Spec: RFC 3261 §16.11
    """
    branch = request.via.branch
    if branch.startswith(COOKIE) and len(branch) > len(COOKIE):
        text = branch
    else:
        text = "\n".join(
            (
                str(request.via),
                request.to.tag,
                request.from_.tag,
                request.call_id,
                str(request.cseq.number),
                request.uri,
            )
        )
    return COOKIE + blake2b(text.encode("utf-8", "replace"), digest_size=10).hexdigest()
