"""A small network whose wire records the ladder tests use."""

from itertools import pairwise

from hypothesis import strategies as st

from omaim.net.wire import IN, OUT, WireRecord
from omaim.node.directory import Directory, Place
from tests.features.sessions import answer, send

PLACES = (
    Place("alice", "client", "127.0.1.1", 5062, "north.example"),
    Place("core-north", "core", "127.0.1.10", 5060, "north.example"),
    Place("im-north", "im", "127.0.1.20", 5070, "north.example"),
    Place("core-south", "core", "127.0.2.10", 5061, "south.example"),
    Place("im-south", "im", "127.0.2.20", 5070, "south.example"),
    Place("bob", "client", "127.0.2.1", 5062, "south.example"),
)
WALK = ["alice", "core-north", "im-north", "core-north", "core-south", "im-south", "core-south"]
WALK.append("bob")

ADDRESS = {place.name: (place.host, place.port) for place in PLACES}


def directory() -> Directory:
    made = Directory()
    for place in PLACES:
        made.note(place)
    return made


def request(number: int = 1, body: bytes = b"Hello", kind: str = "text/plain") -> bytes:
    return (
        "MESSAGE sip:bob@south.example SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.1.1;branch=z9hG4bK{number}\r\n"
        "Max-Forwards: 70\r\n"
        "From: <sip:alice@north.example>;tag=1\r\n"
        "To: <sip:bob@south.example>\r\n"
        f"Call-ID: {number}\r\n"
        "CSeq: 1 MESSAGE\r\n"
        f"Content-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def response(number: int = 1, status: str = "200 OK") -> bytes:
    return (
        f"SIP/2.0 {status}\r\n"
        f"Via: SIP/2.0/UDP 127.0.1.1;branch=z9hG4bK{number}\r\n"
        "From: <sip:alice@north.example>;tag=1\r\n"
        "To: <sip:bob@south.example>;tag=2\r\n"
        f"Call-ID: {number}\r\n"
        "CSeq: 1 MESSAGE\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def sent(time: float, source: str, target: str, data: bytes, transport: str = "UDP") -> WireRecord:
    return WireRecord(time, source, OUT, "SIP", transport, ADDRESS[source], ADDRESS[target], data)


def got(time: float, source: str, target: str, data: bytes, transport: str = "UDP") -> WireRecord:
    return WireRecord(time, target, IN, "SIP", transport, ADDRESS[target], ADDRESS[source], data)


def both(
    time: float, source: str, target: str, data: bytes, transport: str = "UDP"
) -> list[WireRecord]:
    return [
        sent(time, source, target, data, transport),
        got(time + 0.001, source, target, data, transport),
    ]


def walk() -> list[WireRecord]:
    """A MESSAGE from Alice to Bob and its answer, TLS between the cores."""
    hops = list(pairwise(WALK))
    records: list[WireRecord] = []
    for number, (source, target) in enumerate(hops):
        transport = "TLS" if source[:4] == target[:4] == "core" else "UDP"
        records += both(number * 0.01, source, target, request(number), transport)
        records += both(1 - number * 0.01, target, source, response(number), transport)
    return records


addresses = st.tuples(
    st.sampled_from(["127.0.0.1", "0.0.0.0", "::", "::1", "10.1.2.3", "host-7"]),
    st.sampled_from([0, 5060, 5061, 65535]),
)
records = st.builds(
    WireRecord,
    time=st.floats(0, 1e9),
    entity=st.sampled_from(["alice", "core-north", "x\x1b[2J", "長い名前"]),
    direction=st.sampled_from([IN, OUT]),
    protocol=st.sampled_from(["SIP", "MSRP", "HTTP"]),
    transport=st.sampled_from(["UDP", "TCP", "TLS"]),
    local=addresses,
    remote=addresses,
    data=st.binary(max_size=30)
    | st.sampled_from([request(), response(), b"\r\n\r\n", b"\x1b[2J", send(), answer()]),
)
