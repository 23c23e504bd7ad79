"""Feed spoilt input to every parser, for as long as one likes.

    python tests/fuzz/harness.py --seconds 600
    python tests/fuzz/harness.py --target sip-stream --seed 7
    python tests/fuzz/harness.py --atheris --target cpim      # with atheris installed

A parser may raise PeerError and nothing else, has to be quick, and what it took it has to write
so that it takes it again. Input that does otherwise is kept in ``found/``; the ordinary run of
the tests replays that folder, so a found input becomes a test by being committed.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

from omaim.bodies.common_policy import Asker, evaluate, external_lists, parse_ruleset, write_ruleset
from omaim.bodies.conference_info import parse_conference, write_conference
from omaim.bodies.conference_state import ConferenceTable
from omaim.bodies.cpim import Cpim
from omaim.bodies.groups import parse_groups, write_groups
from omaim.bodies.history_list import parse_history_list, write_history_list
from omaim.bodies.im_settings import parse_settings, write_settings
from omaim.bodies.imdn import parse_imdn
from omaim.bodies.iscomposing import parse_iscomposing
from omaim.bodies.message_media import TLS, names_to_resolve
from omaim.bodies.message_offers import LocalMedia, answer_to, read_answer, read_offer
from omaim.bodies.mime import Part
from omaim.bodies.multipart import parse_multipart
from omaim.bodies.reginfo import parse_reginfo
from omaim.bodies.resource_lists import parse_lists, write_lists
from omaim.bodies.sdp import Connection, Origin, SessionDescription
from omaim.core.profile_xml import parse_profile, parse_subscription
from omaim.errors import PeerError, UsageError
from omaim.ids import Ids
from omaim.msrp import (
    Channel,
    FrameLimits,
    FrameParser,
    Line,
    Means,
    MsrpUri,
    Outgoing,
    Session,
    SessionUser,
)
from omaim.msrp import (
    Limits as MsrpLimits,
)
from omaim.msrp.frame import ByteRange, Status
from omaim.msrp.nickname import read_nickname, write_nickname
from omaim.sip.charging import ChargingFunctions, ChargingVector
from omaim.sip.digest import find_credentials
from omaim.sip.features import parse_filters
from omaim.sip.headers import NameAddr, Via
from omaim.sip.identity import ServedUser
from omaim.sip.message import Request, Response, error_response
from omaim.sip.parser import Limits, StreamParser, check, parse_datagram
from omaim.sip.proxying import forwarded_copy, loop_part
from omaim.sip.uri import canonical_aor, parse_uri
from omaim.sip.values import (
    AcceptItem,
    Challenge,
    ContentType,
    CSeq,
    EventHeader,
    RAck,
    RetryAfter,
    SubscriptionState,
    parse_date,
)
from omaim.timers import Deadlines

HERE: Final = Path(__file__).resolve().parent
FOUND: Final = HERE / "found"
VECTORS: Final = HERE.parent / "vectors"
SLOW: Final = 0.5  # seconds that no input of this size may take
LARGEST: Final = 8192  # octets; longer ones are cut

_PROPERTIES: Final = (
    "via", "vias", "from_", "to", "call_id", "cseq", "contacts", "routes", "record_routes",
    "max_forwards", "expires", "event", "content_type", "supported", "require", "proxy_require",
)  # fmt: skip


class Broken(AssertionError):
    """A law does not hold."""


def _message(data: bytes) -> None:
    message = parse_datagram(data, Limits())
    if message is not None:
        _use(message)


def _use(message: Request | Response) -> None:
    """Do with a message what servers do, header after header."""
    written = message.to_bytes()
    again = parse_datagram(written, Limits())
    if again is None or again.to_bytes() != written:
        raise Broken("what was written is read otherwise")
    for name in _PROPERTIES:
        try:
            getattr(message, name)
        except PeerError as error:
            if isinstance(message, Request):
                _answer(message, error)
    check(message)
    if isinstance(message, Request):
        message.response(200, None, "tag").to_bytes()
        loop_part(message)
        copy = forwarded_copy(message, "sip:next@hop.example", routes=["sip:r.example;lr"])
        parse_datagram(copy.to_bytes(), Limits())


def _answer(request: Request, error: PeerError) -> None:
    try:
        response = error_response(request, error, "tag")
    except PeerError:
        return  # there is no way back
    parse_datagram(response.to_bytes(), Limits())


def _stream(data: bytes) -> None:
    whole = [type(one).__name__ for one in _fed(data, len(data) or 1)]
    pieces = [type(one).__name__ for one in _fed(data, 7)]
    if whole != pieces:
        raise Broken(f"in pieces it is read otherwise: {whole} and {pieces}")


def _fed(data: bytes, size: int) -> list[Any]:
    parser = StreamParser(Limits())
    found: list[Any] = []
    for start in range(0, len(data), size):
        found += parser.feed(data[start : start + size])
    return found


def _frames(data: bytes) -> None:
    whole, pieces = _msrp_fed(data, len(data) or 1), _msrp_fed(data, 7)
    if whole != pieces:
        raise Broken(f"in pieces it is read otherwise: {whole} and {pieces}")


def _msrp_fed(data: bytes, size: int) -> list[Any]:
    parser = FrameParser(FrameLimits())
    found: list[Any] = []
    for start in range(0, len(data), size):
        for part in parser.feed(data[start : start + size]):
            if part.first:
                found.append([repr(part.head), part.head.check(), b"", 0])
            found[-1][2] += part.data
            found[-1][3] = part.flag
    return [*found, parser.broken]


def _channel(data: bytes) -> None:
    """Let a connection with one session hear it, in the middle of a message of its own."""
    out: list[bytes] = []
    deadlines = Deadlines()
    means = Means(
        lambda: 1.0, Ids(1), deadlines.arm, lambda name: None, MsrpLimits(recent=4, messages=3)
    )
    session = Session(means, MsrpUri("h.example", 9, "s"), _TAKER)
    line = Line(out.append, lambda: 0, bool, bool, lambda why: None, lambda why: None)
    channel = Channel(means, line, lambda uri: session if uri == session.uri else None, False)
    session.lead_to((MsrpUri("h.example", 9, "a"),))
    stream = session.send(Outgoing("text/plain"))
    for start in range(0, len(data), 97):
        channel.received(data[start : start + 97])
        stream.write(data[start : start + 97])
    deadlines.run(1e6)
    channel.lost("the end")
    for part in FrameParser(FrameLimits()).feed(b"".join(out)):
        if part.head.check():
            raise Broken(f"what was answered is no frame: {part.head.wrong}")


def _nickname(data: bytes) -> None:
    name = read_nickname(data)
    if read_nickname(write_nickname(name)) != name:
        raise Broken("what was written is read otherwise")


def _text(parse: Callable[[str], Any], law: bool = True) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        value = parse(data.decode("utf-8", "surrogateescape"))
        if law and value is not None:
            written = str(value)
            if str(parse(written)) != written:
                raise Broken("what was written is read otherwise")

    return run


def _digest(data: bytes) -> None:
    find_credentials([data.decode("utf-8", "surrogateescape")], "north.example")


def _cpim(data: bytes) -> None:
    parsed = Cpim.parse(data)
    written = parsed.to_bytes()
    if Cpim.parse(written).to_bytes() != written:
        raise Broken("what was written is read otherwise")


def _multipart(data: bytes) -> None:
    parse_multipart('multipart/mixed;boundary="b"', data)


def _lists(data: bytes) -> None:
    lists = parse_lists(data, doubles=True)
    if parse_lists(write_lists(lists), doubles=True) != lists:
        raise Broken("what was written is read otherwise")


def _sdp(data: bytes) -> None:
    """Take a description as an offer and as an answer."""
    found = SessionDescription.parse(data)
    if SessionDescription.parse(found.to_bytes()) != found:
        raise Broken("what was written is read otherwise")
    offered = read_offer(found)
    addresses = {
        name: ("192.0.2.1",) for one in offered if one is not None for name in names_to_resolve(one)
    }
    lines = [
        LocalMedia((_PATH[one is not None and one.protocol == TLS],), ("*",), cema=True)
        for one in offered
    ]
    try:
        answer = answer_to(found, lines, _ORIGIN, addresses=addresses).description
    except PeerError:
        pass
    else:
        SessionDescription.parse(answer.to_bytes())
    read_answer(lines, found, addresses=addresses)


def _conference(data: bytes) -> None:
    found = parse_conference(data)
    table = ConferenceTable()
    for version in (0, found.version, found.version + 1):
        table.apply(attrs.evolve(found, version=version))
    if found.state != "deleted" and not any(one.state == "deleted" for one in found.users):
        written = write_conference(found)
        if write_conference(parse_conference(written)) != written:
            raise Broken("what was written is read otherwise")


def _policy(data: bytes) -> None:
    rules = parse_ruleset(data)
    written = write_ruleset(rules)
    if write_ruleset(parse_ruleset(written)) != written:
        raise Broken("what was written is read otherwise")
    asker = Asker(("sip:bob@example.com", "tel:+1"), 1e9, sphere="work")
    evaluate(rules, asker, {"x": (("a",), ("b",))})
    external_lists(rules)


def _groups(data: bytes) -> None:
    groups = parse_groups(data)
    written = write_groups(groups)
    if write_groups(parse_groups(written)) != written:
        raise Broken("what was written is read otherwise")
    for one in groups:
        member = one.has_member(["sip:a@b"])
        one.rights(["sip:a@b"], member, False, 1e9)


def _history(data: bytes) -> None:
    found = parse_history_list(data)
    write_history_list(found.entries, found.next)


def _settings(data: bytes) -> None:
    found = parse_settings(data)
    if parse_settings(write_settings(found)) != found:
        raise Broken("what was written is read otherwise")


@attrs.frozen
class Target:
    """One parser and good input for it."""

    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    errors: tuple[type[Exception], ...] = (PeerError,)


def _xml(inner: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{inner}'.encode()


TORTURE: Final = tuple(
    path.read_bytes() for path in sorted((VECTORS / "sip-torture").glob("**/*.dat"))
)
_ORIGIN: Final = Origin("1", 1, Connection("h.example"))
_PATH: Final = ("msrp://h.example:2855/s;tcp", "msrps://h.example:2855/s;tcp")
_SDP: Final = tuple(path.read_bytes() for path in sorted((VECTORS / "sdp").glob("*.sdp")))
_CONFERENCE: Final = tuple(path.read_bytes() for path in sorted((VECTORS / "conference").glob("*")))
_POLICY: Final = tuple(path.read_bytes() for path in sorted((VECTORS / "common-policy").glob("*")))
_REGINFO: Final = tuple(path.read_bytes() for path in sorted((VECTORS / "reginfo").glob("*")))

_TAKER: Final = SessionUser(
    lambda session, incoming: (
        incoming.collect(5000, len)
        if incoming.size % 2
        else incoming.stream(lambda offset, piece: None, lambda complete: None)
    ),
    on_nickname=lambda session, name: 200,
)
_MSRP: Final = (
    *[path.read_bytes() for path in sorted((VECTORS / "msrp").glob("*.msrp"))],
    b"".join(
        b"MSRP t%d0 SEND\r\nTo-Path: msrp://h.example:9/s;tcp\r\nFrom-Path: "
        b"msrp://h.example:9/a;tcp\r\nMessage-ID: m123\r\nSuccess-Report: yes\r\n"
        b"Byte-Range: %d-*/%d\r\nContent-Type: text/plain\r\n\r\n0123456789\r\n-------t%d0%b\r\n"
        % (number, start, total, number, flag)
        for number, start, total, flag in (
            (10, 1, 21, b"+"),
            (11, 15, 21, b"$"),
            (12, 11, 21, b"+"),
            (13, 1, 30, b"#"),
        )
    ),
    b"MSRP t234 NICKNAME\r\nTo-Path: msrp://h.example:9/s;tcp\r\nFrom-Path: msrp://h.example:9/a;tcp"
    b'\r\nUse-Nickname: "A \\"B\\""\r\n-------t234$\r\n'
    b"MSRP t235 REPORT\r\nTo-Path: msrp://h.example:9/s;tcp\r\nFrom-Path: msrp://h.example:9/a;tcp"
    b"\r\nMessage-ID: m123\r\nByte-Range: 1-5/5\r\nStatus: 000 200 OK\r\n-------t235$\r\n"
    b"MSRP t236 413 Stop\r\nTo-Path: msrp://h.example:9/s;tcp\r\n"
    b"From-Path: msrp://h.example:9/a;tcp\r\n-------t236$\r\n",
)

TARGETS: Final[dict[str, Target]] = {
    "sip-datagram": Target(_message, TORTURE),
    "sip-stream": Target(_stream, TORTURE),
    "uri": Target(
        _text(parse_uri),
        (
            b"sip:alice:pw@[2001:db8::1]:5061;transport=tcp;lr;maddr=1.2.3.4?Subject=x%20y&to=a",
            b"tel:+1-555-123;phone-context=x.example",
            b"im:bob@example.com",
        ),
    ),
    "aor": Target(_text(canonical_aor), (b"sip:%61lice@Example.COM:5060;x", b"tel:+1-555-123")),
    "via": Target(
        _text(Via.parse),
        (b"SIP / 2.0 / UDP [::1]:5060;branch=z9hG4bKx;rport;received=1.2.3.4;maddr=a;ttl=3",),
    ),
    "name-addr": Target(
        _text(NameAddr.parse),
        (b'"A \\" B" <sip:a@b;lr?x=y>;tag=1;q=0.5;expires=60;+sip.instance="<urn:uuid:1>"',),
    ),
    "cseq": Target(_text(CSeq.parse), (b"4294967295 MESSAGE",)),
    "rack": Target(_text(RAck.parse), (b"1 2 INVITE",)),
    "event": Target(_text(EventHeader.parse), (b"reg;id=1;x=y",)),
    "subscription-state": Target(
        _text(SubscriptionState.parse), (b"terminated;reason=giveup;expires=0;retry-after=5",)
    ),
    "content-type": Target(_text(ContentType.parse), (b'multipart/mixed;boundary="a b";x=y',)),
    "accept": Target(_text(AcceptItem.parse), (b"text/*;q=0.3;level=1",)),
    "retry-after": Target(_text(RetryAfter.parse), (b"5 (soon (very));duration=3",)),
    "challenge": Target(
        _text(Challenge.parse, law=False), (b'Digest realm="a",nonce="b",qop="auth",stale=true',)
    ),
    "date": Target(_text(parse_date, law=False), (b"Mon, 23 Nov 2026 10:45:26 GMT",)),
    "digest": Target(
        _digest,
        (
            b'Digest username="a", realm="north.example", nonce="n", uri="sip:x", '
            b'response="00", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c"',
            b"Digest username*=UTF-8''a%C3%A9, realm=\"north.example\", userhash=true",
        ),
    ),
    "accept-contact": Target(
        _text(parse_filters, law=False), (b'*;+g.oma.sip-im;audio="TRUE";require;explicit',)
    ),
    "charging-vector": Target(
        _text(ChargingVector.parse),
        (b'icid-value="a b";icid-generated-at=x;orig-ioi=n;term-ioi=s;transit-ioi="a.1,void"',),
    ),
    "charging-functions": Target(
        _text(ChargingFunctions.parse), (b"ccf=a.example; ccf-2=b;ecf=[::1];ecf-2=d",)
    ),
    "served-user": Target(_text(ServedUser.parse), (b"<sip:a@b>;sescase=orig;regstate=unreg",)),
    "cpim": Target(
        _cpim,
        (
            b"From: A <im:a@b>\r\nTo: <im:c@d>\r\nDateTime: 2026-01-01T00:00:00Z\r\n"
            b"NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: x\r\n"
            b"Subject:;lang=fr Bonjour\r\nRequire: imdn.Message-ID\r\n\r\n"
            b"Content-Type: text/plain\r\nContent-ID: <1@a>\r\n\r\nhello",
        ),
    ),
    "mime": Target(
        Part.parse, (b'Content-Type: text/plain;charset="utf-8"\r\nX: y\r\n z\r\n\r\nbody',)
    ),
    "multipart": Target(
        _multipart,
        (b"pre\r\n--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--\r\nafter",),
    ),
    "resource-lists": Target(
        _lists,
        (
            _xml(
                '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" '
                'xmlns:cp="urn:ietf:params:xml:ns:copycontrol"><list name="a"><entry uri="sip:a@b" '
                'cp:copyControl="to"/><list><entry-ref ref="x"/><external anchor="http://x"/></list>'
                "</list></resource-lists>"
            ),
        ),
    ),
    "history-list": Target(
        _history,
        (
            _xml(
                '<history-list xmlns="urn:oma:xml:im:history-list" next="9"><history '
                'history-reference="r" size="5" expiry="2026-01-01T00:00:00Z"><pager><from>'
                '<entry uri="sip:a@b"/></from><recipient-list><entry uri="sip:c@d"><display-name>C'
                "</display-name></entry></recipient-list></pager></history><history>"
                "<history-reference>s</history-reference><conference><time-start>"
                "2026-01-01T00:00:00Z</time-start><conf-list><group-uri>sip:g@h</group-uri>"
                "</conf-list></conference></history></history-list>"
            ),
        ),
    ),
    "im-settings": Target(
        _settings,
        (
            _xml(
                '<service-settings xmlns="urn:oma:xml:im:service-settings"><service-id>im'
                '</service-id><active active="true"/><deferred-settings><offline-delivery>false'
                "</offline-delivery></deferred-settings><hist-settings><hist-activation>"
                "<session-mode/></hist-activation></hist-settings></service-settings>"
            ),
        ),
    ),
    "imdn": Target(
        parse_imdn,
        (
            _xml(
                '<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>34jk</message-id>'
                "<datetime>2026-01-01T00:00:00Z</datetime><delivery-notification><status>"
                "<delivered/></status></delivery-notification></imdn>"
            ),
        ),
    ),
    "iscomposing": Target(
        parse_iscomposing,
        (
            _xml(
                '<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state>'
                "<contenttype>text/plain</contenttype><refresh>90</refresh></isComposing>"
            ),
        ),
    ),
    "reginfo": Target(parse_reginfo, _REGINFO),
    "msrp-stream": Target(_frames, _MSRP),
    "msrp-channel": Target(_channel, _MSRP),
    "msrp-uri": Target(
        _text(MsrpUri.parse), (b"msrps://a@[2001:db8::1]:9/x;tcp;y=z", b"msrp://h%41.x:9;ws")
    ),
    "msrp-range": Target(lambda data: str(ByteRange.parse(data)), (b"1-*/*", b"5-10/20")),
    "msrp-status": Target(Status.parse, (b"000 200 OK",)),
    "msrp-nickname": Target(_nickname, (b'"A \\"B\\" \xc3\xa9"', b'""')),
    "sdp": Target(
        _sdp,
        (
            *_SDP,
            b"v=0\r\no=- 1 1 IN IP6 ::1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=setup:active\r\n"
            b'm=message 9 TCP/TLS/MSRP *\r\na=accept-types:message/cpim text/*;a="b c" *\r\n'
            b"a=accept-wrapped-types:*\r\na=path:msrps://[::1]:9/a;tcp msrps://h:1/b;tcp;x=y\r\n"
            b"a=msrp-cema\r\na=max-size:5\r\na=chatroom:nickname a.b\r\n"
            b"a=fingerprint:sha-1 0A:0B\r\nm=audio 5 RTP/AVP 0\r\n",
        ),
    ),
    "conference": Target(_conference, _CONFERENCE),
    "policy": Target(_policy, _POLICY),
    "groups": Target(
        _groups,
        (
            _xml(
                '<group xmlns="urn:oma:xml:poc:list-service" '
                'xmlns:cp="urn:ietf:params:xml:ns:common-policy">'
                '<list-service uri="sip:g@h"><display-name>G</display-name><list><entry '
                'uri="sip:a@b"/><external anchor="http://x"/></list><invite-members>true'
                "</invite-members><max-participant-count>5</max-participant-count><cp:ruleset>"
                '<cp:rule id="a"><cp:conditions><is-list-member/></cp:conditions><cp:actions>'
                "<join-handling>true</join-handling></cp:actions></cp:rule></cp:ruleset>"
                "</list-service></group>"
            ),
        ),
    ),
    "service-profile": Target(
        parse_profile,
        (
            _xml(
                "<ServiceProfile><PublicIdentity><Identity>sip:a@b</Identity></PublicIdentity>"
                "<InitialFilterCriteria><Priority>1</Priority><TriggerPoint><ConditionTypeCNF>1"
                "</ConditionTypeCNF><SPT><ConditionNegated>0</ConditionNegated><Group>0</Group>"
                "<SIPHeader><Header>Accept-Contact</Header><Content>.*(a|b)+[x-z]{2}</Content>"
                "</SIPHeader></SPT></TriggerPoint><ApplicationServer><ServerName>sip:as.x"
                "</ServerName><DefaultHandling>0</DefaultHandling></ApplicationServer>"
                "</InitialFilterCriteria></ServiceProfile>"
            ),
        ),
        (PeerError, UsageError),
    ),
    "subscription": Target(
        parse_subscription,
        (
            _xml(
                "<IMSSubscription><PrivateID>a@b</PrivateID><ServiceProfile><PublicIdentity>"
                "<BarringIndication>1</BarringIndication><Identity>sip:a@b</Identity>"
                "</PublicIdentity></ServiceProfile></IMSSubscription>"
            ),
        ),
        (PeerError, UsageError),
    ),
}

_NASTY: Final = (
    b"\r\n", b"\n", b"\r", b"\0", b"%00", b"%", b'"', b"<", b">", b",", b";", b":", b"=", b"@",
    b"\\", b" ", b"\t", b"\r\n ", b"[", b"]", b"(", b")", b"?", b"\xff", b"\xc3\xa9", b"-1",
    b"99999999999999999999", b"\xe2\x84\xaa", b"\xd9\xa3", b"z9hG4bK", b"Content-Length: 5\r\n",
    b"SIP/2.0", b"--b", b"--", b"&amp;", b"&x;", b"<!DOCTYPE a>", b"]]>", b"<![CDATA[", b"*", b"/",
    b"xmlns:a='b' ", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"(((((", b"<a>", b"</a>", b"0x1", b"1e9",
)  # fmt: skip


def spoil(seeds: tuple[bytes, ...], chance: random.Random) -> bytes:
    """Return one of the seeds with a few small harms, or parts of two put together."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 3, 5, 9))):
        size = len(data)
        start = chance.randrange(size + 1)
        end = min(size, start + chance.choice((1, 1, 2, 4, 16, 64)))
        harm = chance.randrange(8)
        if harm == 0:
            del data[start:end]
        elif harm == 1:
            data[start:start] = chance.choice(_NASTY)
        elif harm == 2:
            data[start:end] = chance.choice(_NASTY)
        elif harm == 3:
            target = chance.randrange(size + 1)
            data[target:target] = data[start:end]
        elif harm == 4:
            data[start:start] = data[start:end] * chance.choice((2, 9, 60))
        elif harm == 5:
            data[start:start] = chance.randbytes(chance.randrange(1, 5))
        elif harm == 6 and size:
            data[start % size] ^= 1 << chance.randrange(8)
        else:
            other = chance.choice(seeds)
            cut = chance.randrange(len(other) + 1)
            data[start:] = other[cut:]
    return bytes(data[:LARGEST])


def attempt(target: Target, data: bytes) -> str:
    """Run one input; return what is wrong with what happened, "" if nothing is."""
    began = time.thread_time()
    try:
        target.run(data)
    except target.errors:
        pass
    except Exception:
        return traceback.format_exc()
    took = time.thread_time() - began
    return f"took {took:.2f} s for {len(data)} octets" if took > SLOW else ""


def hunt(name: str, seed: int, enough: Callable[[int], bool]) -> tuple[int, list[bytes]]:
    """Spoil and run until it is enough, or ten inputs were found; return runs and findings."""
    target, chance = TARGETS[name], random.Random(f"{name} {seed}")
    found: list[bytes] = []
    kinds: set[str] = set()
    runs = 0
    while not enough(runs) and len(found) < 10:
        data = spoil(target.seeds, chance)
        wrong = attempt(target, data)
        runs += 1
        if wrong:
            kind = wrong.strip().rpartition("\n")[0][-200:] or wrong[:4]
            if kind not in kinds:
                kinds.add(kind)
                found.append(data)
                print(f"{name}: {wrong}", file=sys.stderr)
    return runs, found


def keep(name: str, data: bytes) -> Path:
    """Write a found input where the ordinary run replays it."""
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{name}.{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


def _with_atheris(name: str, arguments: list[str]) -> None:
    import atheris

    target = TARGETS[name]

    def one(data: bytes) -> None:
        wrong = attempt(target, data)
        if wrong:
            keep(name, data)
            raise Broken(wrong)

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.instrument_all()
    atheris.Fuzz()


def main() -> int:
    """Hunt on the command line; the exit status is 1 when something was found."""
    parser = argparse.ArgumentParser(description="Feed spoilt input to every parser.")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="only these")
    parser.add_argument("--seed", type=int, default=None, help="for the same run again")
    parser.add_argument("--atheris", action="store_true", help="guided by coverage; one target")
    arguments, rest = parser.parse_known_args()
    names = arguments.target or sorted(TARGETS)
    if arguments.atheris:
        _with_atheris(names[0], rest)
        return 0
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    total = 0
    for name in names:
        end = time.monotonic() + arguments.seconds / len(names)
        runs, found = hunt(name, seed, lambda _, end=end: time.monotonic() >= end)  # type: ignore[misc]
        print(f"{name}: {runs} inputs, {len(found)} found (seed {seed})")
        for data in found:
            print(f"  kept as {keep(name, data)}")
        total += len(found)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
