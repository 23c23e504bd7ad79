"""Hypothesis strategies: SIP and MSRP values and messages, byte splits, mutations.

What a strategy named after a type yields is a good value of that type; :func:`splits` and
:func:`mutated` take octets apart and spoil them. Hypothesis is needed here and nowhere else in
the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st

from omaim.grammar import NO_PARAMS, Params, quote
from omaim.msrp.frame import ByteRange, write_request, write_response
from omaim.msrp.uri import MsrpUri
from omaim.sip.headers import ContentType, CSeq, NameAddr, Via
from omaim.sip.message import Request, Response
from omaim.sip.parser import METHODS
from omaim.sip.uri import OtherUri, SipUri, TelUri, Uri, escape_user

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ALNUM = _LETTERS + _LETTERS.upper() + "0123456789"
_URI_PARAMS = ("transport", "lr", "ttl", "method", "user", "maddr", "ob", "gr")


def tokens(max_size: int = 12) -> st.SearchStrategy[str]:
    """Tokens (RFC 3261 §25.1)."""
    return st.text(_ALNUM + "-.!%*_+`'~", min_size=1, max_size=max_size)


def texts(max_size: int = 20) -> st.SearchStrategy[str]:
    """Any text that can stand in a header line: no control characters, no surrogates."""
    return st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=0, max_size=max_size)


def words(max_size: int = 20) -> st.SearchStrategy[str]:
    """Letters and digits."""
    return st.text(_ALNUM, min_size=1, max_size=max_size)


@st.composite
def hosts(draw: st.DrawFn) -> str:
    """Host names, IPv4 addresses and bracketed IPv6 addresses, in lower case."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return ".".join(str(octet) for octet in draw(st.tuples(*[st.integers(0, 255)] * 4)))
    if kind == 1:
        return "[" + str(draw(st.ip_addresses(v=6))) + "]"
    labels = draw(st.lists(st.text(_LETTERS + "0123456789", min_size=1, max_size=8), max_size=3))
    return ".".join([*labels, draw(st.text(_LETTERS, min_size=2, max_size=6))])


def ports() -> st.SearchStrategy[int]:
    """Ports, and 0 for none."""
    return st.one_of(st.just(0), st.integers(1, 65535))


@st.composite
def params(draw: st.DrawFn, names: Sequence[str] = ()) -> Params:
    """Header parameters: flags, tokens, quoted strings; ``names`` are drawn more often."""
    pick = tokens(8).map(str.lower)
    if names:
        pick = st.one_of(st.sampled_from(list(names)), pick)
    keys = draw(st.lists(pick, max_size=4, unique=True))
    if not keys:
        return NO_PARAMS
    values: list[str | None] = [
        draw(st.one_of(st.none(), tokens(), hosts(), texts().map(quote))) for _ in keys
    ]
    return Params(keys, values)


@st.composite
def uri_params(draw: st.DrawFn) -> Params:
    """URI parameters, the ones with a meaning drawn often."""
    text = st.text(_ALNUM + "-_.!~*'()[]/:&+$", min_size=1, max_size=8)
    pick = st.one_of(st.sampled_from(_URI_PARAMS), text.map(str.lower))
    keys = draw(st.lists(pick, max_size=4, unique=True))
    if not keys:
        return NO_PARAMS
    return Params(keys, [draw(st.one_of(st.none(), text)) for _ in keys])


def users() -> st.SearchStrategy[str]:
    """User parts as they stand in a URI, escapes included."""
    return st.text(min_size=1, max_size=12).map(escape_user)


def sip_uris() -> st.SearchStrategy[SipUri]:
    """sip and sips URIs with and without each part."""
    return st.builds(
        _sip_uri,
        st.sampled_from(["sip", "sips"]),
        st.one_of(st.just(""), users()),
        hosts(),
        ports(),
        uri_params(),
        st.sampled_from(["", "Subject=hello%20there", "to=sip:bob%40example.com&a=b"]),
        st.sampled_from(["", "secret", "%41+&"]),
    )


def _sip_uri(
    scheme: str, user: str, host: str, port: int, extra: Params, headers: str, password: str
) -> SipUri:
    return SipUri(scheme, user, host, port, extra, headers, password if user else "")


def tel_uris() -> st.SearchStrategy[TelUri]:
    """Global numbers, and local ones with their context."""
    digits = st.text("0123456789-.()", max_size=12).map(lambda text: text + "5")
    return st.one_of(
        digits.map(lambda text: TelUri("+" + text)),
        digits.map(lambda text: TelUri(text, Params(["phone-context"], ["example.com"]))),
    )


def uris() -> st.SearchStrategy[Uri]:
    """URIs of any scheme."""
    other = st.sampled_from(
        [
            OtherUri("im", "im:bob@example.com"),
            OtherUri("urn", "urn:service:sos"),
            OtherUri("http", "http://example.com/a?b=c"),
        ]
    )
    return st.one_of(sip_uris(), tel_uris(), other)


@st.composite
def name_addrs(draw: st.DrawFn) -> NameAddr:
    """Addresses as From, To, Contact and Route have them."""
    return NameAddr(
        str(draw(uris())), draw(texts()).strip(" "), draw(params(["tag", "q", "expires"]))
    )


@st.composite
def vias(draw: st.DrawFn) -> Via:
    """Vias with a branch of RFC 3261."""
    extra = draw(params(["received", "ttl", "maddr"])).with_("branch", "z9hG4bK" + draw(words(8)))
    if draw(st.booleans()):
        extra = extra.with_("rport", None)
    transport = draw(st.sampled_from(["UDP", "TCP", "TLS", "SCTP", "X-NEW"]))
    return Via(transport, draw(hosts()), draw(ports()), extra)


def methods() -> st.SearchStrategy[str]:
    """Methods: the registered ones, and now and then another token."""
    return st.one_of(st.sampled_from(sorted(METHODS)), tokens(8))


@st.composite
def _headers(draw: st.DrawFn, method: str) -> list[tuple[str, str]]:
    headers = [("Via", str(draw(vias()))) for _ in range(draw(st.integers(1, 3)))]
    headers += [
        ("From", str(draw(name_addrs()).with_param("tag", draw(words(8))))),
        ("To", str(draw(name_addrs()))),
        ("Call-ID", draw(words(16))),
        ("CSeq", str(CSeq(draw(st.integers(0, 2**32 - 1)), method))),
        ("Max-Forwards", str(draw(st.integers(0, 255)))),
    ]
    more = st.sampled_from(["Subject", "Organization", "X-Other", "P-Something"])
    for name in draw(st.lists(more, max_size=3)):
        headers.append((name, draw(texts()).strip(" ")))
    for contact in draw(st.lists(name_addrs(), max_size=2)):
        headers.append(("Contact", str(contact)))
    return draw(st.permutations(headers))


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Whole requests in any order of headers, as :func:`omaim.sip.parser.check` wants them."""
    method = draw(methods())
    uri = draw(uris())
    if isinstance(uri, SipUri):
        uri = uri.for_request()
    return Request.make(method, str(uri), draw(_headers(method)), draw(st.binary(max_size=60)))


@st.composite
def responses(draw: st.DrawFn) -> Response:
    """Whole responses."""
    made = Request.make("INFO", "sip:x.example", draw(_headers(draw(methods()))))
    body = draw(st.binary(max_size=60))
    return Response(
        draw(st.integers(100, 699)), draw(texts()).strip(" "), made.names, made.lines, body
    )


def messages() -> st.SearchStrategy[Request | Response]:
    """Requests and responses."""
    return st.one_of(requests(), responses())


def content_types() -> st.SearchStrategy[ContentType]:
    """Media types with parameters."""
    token = tokens(8).map(str.lower)
    return st.builds(ContentType, token, token, params(["charset", "boundary"]))


def idents() -> st.SearchStrategy[str]:
    """Transaction identifiers and Message-IDs of MSRP (RFC 4975 §9)."""
    return st.builds(
        str.__add__,
        st.text(_ALNUM, min_size=1, max_size=1),
        st.text(_ALNUM + ".-+%=", min_size=3, max_size=31),
    )


def msrp_uris() -> st.SearchStrategy[MsrpUri]:
    """msrp and msrps URIs with a session, as SDP has them."""
    return st.builds(
        MsrpUri,
        hosts(),
        st.integers(1, 65535),
        st.text(_ALNUM + "-._~+=/", min_size=1, max_size=12),
        st.booleans(),
        st.sampled_from(["tcp", "TCP", "ws"]),
        st.sampled_from(["", "alice"]),
        st.sampled_from(["", ";x", ";x=y;z"]),
    )


@st.composite
def byte_ranges(draw: st.DrawFn) -> ByteRange:
    """Byte-Range fields, with every part known or not."""
    start = draw(st.integers(1, 1 << 40))
    end = draw(st.one_of(st.just(-1), st.integers(start - 1, 1 << 41)))
    return ByteRange(start, end, draw(st.one_of(st.just(-1), st.integers(0, 1 << 41))))


def msrp_bodies(transaction: bytes) -> st.SearchStrategy[bytes]:
    """Bodies full of what looks like the end-line of ``transaction``, but is none."""
    mark = b"\r\n-------" + transaction
    pieces = [
        b"\r",
        b"\n",
        b"\r\n",
        b"-",
        b"-------",
        mark,
        mark + b"$",
        mark + b"+\r",
        b"x",
        b"MSRP ",
    ]
    pieces += [mark[:size] for size in (3, 8, len(mark) - 1)]
    joined = st.lists(st.one_of(st.sampled_from(pieces), st.binary(max_size=8)), max_size=8)
    ends = (mark + b"$\r\n", mark + b"+\r\n", mark + b"#\r\n")
    # The body's last octets and the line end behind it must make none either.
    return joined.map(b"".join).filter(lambda body: not any(end in body + b"\r\n" for end in ends))


@st.composite
def msrp_frames(draw: st.DrawFn) -> bytes:
    """Whole frames: requests with and without a body, and responses."""
    transaction = draw(idents()).encode("ascii")
    to = " ".join(str(uri) for uri in draw(st.lists(msrp_uris(), min_size=1, max_size=3)))
    own = str(draw(msrp_uris()))
    paths = to.encode("ascii"), own.encode("ascii")
    if draw(st.integers(0, 4)) == 0:
        status = draw(st.sampled_from([200, 400, 403, 413, 481, 506]))
        return write_response(transaction, status, draw(texts()).strip(" "), *paths)
    method = draw(st.sampled_from([b"SEND", b"REPORT", b"NICKNAME", b"AUTH", b"OTHER"]))
    more = b"Message-ID: %b\r\n" % draw(idents()).encode("ascii")
    if draw(st.booleans()):
        more += b"Byte-Range: %b\r\n" % draw(byte_ranges()).to_bytes()
    if draw(st.booleans()):
        more += b"X-Extra: %b\r\n" % draw(texts()).encode("utf-8")
    flag = draw(st.sampled_from([b"$", b"+", b"#"]))
    if draw(st.booleans()):
        return write_request(transaction, method, *paths, more, None, flag)
    more += b"Content-Type: text/plain\r\n"
    return write_request(transaction, method, *paths, more, draw(msrp_bodies(transaction)), flag)


@st.composite
def splits(draw: st.DrawFn, data: bytes, most: int = 8) -> list[bytes]:
    """``data`` cut in at most ``most`` + 1 pieces, empty ones too."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=most)))
    edges = [0, *cuts, len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


_NASTY = (
    b"\r\n", b"\n", b"\r", b"\0", b"%00", b"%", b'"', b"<", b">", b",", b";", b":", b"=", b"@",
    b"\\", b" ", b"\t", b"\r\n ", b"[", b"]", b"(", b"?", b"\xff", b"\xc3\xa9", b"-1", b"99999",
    b"\xe2\x84\xaa", b"\xd9\xa3", b"z9hG4bK", b"Content-Length: 5\r\n", b"SIP/2.0",
    b"MSRP ", b"-------", b"$\r\n", b"+\r\n", b"#\r\n",
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, originals: Sequence[bytes]) -> bytes:
    """One of ``originals`` with up to six small harms: octets cut, put in, doubled or swapped."""
    data = bytearray(draw(st.sampled_from(list(originals))))
    for _ in range(draw(st.integers(0, 6))):
        size = len(data)
        start = draw(st.integers(0, size))
        length = draw(st.integers(0, 12))
        harm = draw(st.integers(0, 4))
        if harm == 0:
            del data[start : start + length]
        elif harm == 1:
            data[start:start] = draw(st.sampled_from(_NASTY))
        elif harm == 2:
            data[start : start + length] = draw(st.sampled_from(_NASTY))
        elif harm == 3:
            target = draw(st.integers(0, size))
            data[target:target] = data[start : start + 4 * length]
        else:
            data[start:start] = draw(st.binary(max_size=4))
    return bytes(data)
