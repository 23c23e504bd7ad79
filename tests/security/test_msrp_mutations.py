"""Frames and session descriptions with something wrong in them: an answer, or the end of it."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.msrp import FrameParser, Limits
from omaim.roles.description import CallFailed
from omaim.testing.scenario import ScenarioNetwork
from tests.im.attendees import FACTORY, Attendee, listed
from tests.im.parties import TAG, Party, SessionCase
from tests.msrp.support import User, World
from tests.security.test_calls import sdp
from tests.security.test_msrp import Passage

_VALUES = (
    b"", b" ", b"1-*/*", b"1-2/1", b"5-4/9", b"0-1/1", b"4611686018427387904-*/*",
    b"99999999999999999999-*/*", b"1-1/0", b"-1-1/1", b"yes", b"no", b"partial", b"maybe",
    b"text/plain", b"*/*", b"text", b"message/cpim", b"000 200 OK", b"000 481", b"001 200",
    b"000 000", b'"m"', b'"', b"m", b'"\\"', b"\xff\xfe", b"\xe2\x80\xae", b"x" * 3000,
    b"msrp://h.example:1/s;tcp", b"msrp://h.example:1/s;tcp " * 20, b"msrps://[::1]:9/s;tcp",
    b"id000001", b"id 1", b"-------t0000001$",
)  # fmt: skip
_NAMES = (
    b"To-Path", b"From-Path", b"Message-ID", b"Byte-Range", b"Success-Report", b"Failure-Report",
    b"Status", b"Use-Nickname", b"Content-Type", b"Content-ID", b"Expires", b"X", b"", b"to-path",
)  # fmt: skip
_METHODS = (b"SEND", b"REPORT", b"NICKNAME", b"AUTH", b"FROB", b"send", b"200 OK", b"413", b"481 x")

mutations = st.lists(
    st.tuples(
        st.sampled_from(_METHODS),
        st.lists(
            st.tuples(st.sampled_from(("set", "drop", "twice")), st.sampled_from(_NAMES),
                      st.sampled_from(_VALUES)),
            max_size=2,
        ),
        st.binary(max_size=20) | st.none(),
        st.sampled_from(b"$+#"),
        st.booleans(),
    ),
    max_size=12,
)  # fmt: skip


def frame(number: int, uri: str, mutation: tuple) -> bytes:  # type: ignore[type-arg]
    """Return a request or response whose framing is right and whose head need not be."""
    method, changes, body, flag, cpim = mutation
    size = 0 if body is None else len(body)
    fields = [
        (b"To-Path", uri.encode()),
        (b"From-Path", b"msrp://near.example:7000/near;tcp"),
        (b"Message-ID", b"id%06d" % (number // 2)),
        (b"Byte-Range", b"1-%d/%d" % (size, size)),
    ]
    if method == b"NICKNAME":
        fields.append((b"Use-Nickname", b'"m%d"' % number))
    if method == b"REPORT":
        fields.append((b"Status", b"000 200 OK"))
    if body is not None:
        fields.append((b"Content-Type", b"message/cpim" if cpim else b"text/plain"))
    for kind, name, value in changes:
        if kind == "drop":
            fields = [one for one in fields if one[0] != name]
        elif kind == "twice":
            fields.append((name, value))
        else:
            fields = [(one, value if one == name else old) for one, old in fields]
    tid = b"t%07d" % number
    head = b"MSRP %b %b\r\n" % (tid, method) + b"".join(b"%b: %b\r\n" % one for one in fields)
    content = b"" if body is None else b"\r\n%b\r\n" % body.replace(b"-", b"")
    return head + content + b"-------%b%b\r\n" % (tid, bytes([flag]))


class FrameTests(SynchronousTestCase):
    @given(plan=mutations, cuts=st.lists(st.integers(1, 60), max_size=5))
    def test_answered_once(self, plan: list, cuts: list[int]) -> None:  # type: ignore[type-arg]
        """Each request whose end can be found is answered at most once, and exactly once if
        an answer is due and possible, or the connection ends (RFC 4975 §7.2, §7.1.4)."""
        world, user = World(), User()
        _, session = world.pair(User(), user)
        data = b"".join(frame(number, str(session.uri), one) for number, one in enumerate(plan))
        for cut in cuts:
            world.far.channel.received(data[:cut])
            data = data[cut:]
        world.far.channel.received(data)
        parts = FrameParser(Limits().frame).feed(world.far.take())
        answered = [part.head.transaction for part in parts if part.head.status]
        self.assertEqual(len(set(answered)), len(answered))
        if not world.far.channel.closed and session.state != "closed":
            for number, (method, changes, _, _, _) in enumerate(plan):
                due = method in (b"SEND", b"NICKNAME", b"AUTH", b"FROB")
                if due and not any(name.endswith((b"-Path", b"-path", b"-Report")) or not name
                                   for _, name, _ in changes):  # fmt: skip
                    self.assertIn(b"t%07d" % number, answered, plan[number])
        self.assertEqual(world.far.counters["crashed"], 0)
        session.close()
        self.assertEqual(world.far.table, {})
        self.assertEqual((session.pending, world.far.paused), (0, False))

    @given(plan=mutations, junk=st.binary(max_size=40), at=st.integers(0, 400))
    def test_through_a_bridge(self, plan: list, junk: bytes, at: int) -> None:  # type: ignore[type-arg]
        """Whatever one party sends, broken framing too, hurts neither the server nor the other
        party: who gets only what is right."""
        passage = Passage()
        uri = str(passage.near.uri)
        data = b"".join(frame(number, uri, one) for number, one in enumerate(plan))
        passage.a.far.channel.received(data[:at] + junk + data[at:])
        passage.carry()
        self.assertFalse(passage.b.near.channel.closed)
        self.assertEqual(passage.b.near.counters["broken_framing"], 0)
        self.assertFalse([one for one in passage.b.seen if b" 400 " in one], passage.b.seen)
        passage.near.close()
        passage.far.close()
        self.assertEqual((passage.bridge.near.kept, passage.bridge.near.recorded), (0, 0))


_LINES = (
    "a=path:", "a=path:msrp://", "a=path:msrp://x:0/s;tcp", "a=path:msrps://x:9/s;tcp",
    "a=path:msrp://[::1%eth0]:9/s;tcp", "a=path:" + "msrp://127.0.1.77:9000/s;tcp " * 17,
    "a=accept-types:", "a=accept-types:" + "a/b " * 400, "a=accept-types:\x00", "a=max-size:-1",
    "a=max-size:" + "9" * 60, "a=setup:holdconn", "a=setup:actpass", "a=setup:active", "a=setup:x",
    "a=fingerprint:md5 00", "a=fingerprint:sha-256 zz", "a=chatroom:" + "x " * 200, "a=inactive",
    "a=sendonly", "a=recvonly", "a=msrp-cema", "c=IN IP4 224.0.0.1", "c=IN IP6 ::1", "c=XX YY z",
    'a=file-selector:name:"../../x" size:-1', "a=file-selector:hash:sha-1:00", "a=file-range:9-1",
    "m=audio 9 RTP/AVP 0", "m=message 0 TCP/MSRP *", "m=message 99999 TCP/MSRP *", "v=1", "t=",
    "b=AS:x", "a=" + "x" * 5000, "k=clear:x", "i=\u202e", "",
)  # fmt: skip


class InvitationTests(SessionCase):
    """Mutated INVITEs through the server: each is answered, and nothing of them stays."""

    def mutated(self, chance: random.Random) -> bytes:
        lines = sdp("127.0.1.77", 9000 + chance.randrange(50), chance.choice(
            ("active", "passive", "actpass")), "a=accept-wrapped-types:*\r\n", chance.choice(
            (1, 1, 1, 2, 40))).decode().split("\r\n")  # fmt: skip
        for _ in range(chance.randrange(3)):
            at = chance.randrange(len(lines))
            what = chance.randrange(4)
            if what == 0:
                del lines[at]
            elif what == 1:
                lines.insert(at, chance.choice(_LINES))
            elif what == 2:
                lines[at] = chance.choice(_LINES)
            else:
                lines.insert(at, lines[chance.randrange(len(lines))])
            lines = lines or [""]
        return "\r\n".join(lines).encode("utf-8", "replace")

    def test_descriptions(self) -> None:
        """To a person, to the factory with and without a list, and inside calls."""

        async def script(net: ScenarioNetwork) -> None:
            chance = random.Random(4975)
            alice, bob = await Attendee.come(net, "alice"), await Party.come(net, "bob")
            inviter = alice.inviter
            statuses: list[int] = []
            for number in range(150):
                body, kind = self.mutated(chance), "application/sdp"
                to = chance.choice((bob.aor, FACTORY, FACTORY, "sip:conf.x@north.example"))
                if to == FACTORY and number % 3 == 0:
                    kind, body = listed(body, "sip:nobody@north.example")
                    body = body[: chance.choice((len(body), len(body) // 2))]
                try:
                    call = await inviter.invite(to, body, kind, headers=(TAG,))
                except CallFailed as failed:
                    statuses.append(failed.status)
                    continue
                statuses.append(200)
                try:
                    if not call.over:
                        await call.reinvite(self.mutated(chance))
                except CallFailed as failed:
                    statuses.append(failed.status)
                except Exception as error:
                    self.assertEqual(type(error).__name__, "CallEnded", error)
                if not call.over:
                    await call.bye()
            self.assertNotIn(500, statuses)
            self.assertTrue({200, 488} <= set(statuses), set(statuses))
            await net.sleep(120.0)
            for name in ("im-north", "im-south"):
                server = net.entities[name]
                self.assertEqual(len(server.sessions._inviter), 0, name)
                self.assertEqual((server.msrp.sessions, server.msrp.counters["crashed"]), ([], 0))
                self.assertEqual((server.focus.conferences, server.sessions.conversations),
                                 ({}, set()))  # fmt: skip

        self.play(script)
