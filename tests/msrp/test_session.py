"""Two ends of MSRP: messages, answers, reports, and what goes wrong."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.msrp import (
    CLOSED,
    LATER,
    NO,
    OPEN,
    PARTIAL,
    WAITING,
    YES,
    Accepting,
    ByteRange,
    Limits,
    MsrpUri,
    Outgoing,
    Session,
    write_request,
)
from omaim.msrp.frame import write_response
from tests.msrp.support import End, User, World, heads, text

ELSE = b"msrp://else.example:9/zzzz;tcp"


class Case(SynchronousTestCase):
    """Two ends that are connected, and what the sender hears."""

    def setUp(self) -> None:
        self.start()

    def start(self, near: Limits | None = None, far: Limits | None = None, **more: Any) -> None:
        self.world = World(near, far)
        self.alice, self.bob = User(), User(**more)
        self.one, self.other = self.world.pair(self.alice, self.bob)
        self.world.seen.clear()
        self.statuses: list[int] = []

    def send(self, body: bytes, **more: Any) -> Outgoing:
        return self.one.send(text(body, on_end=self.statuses.append, **more))

    def raw(self, more: bytes, body: bytes | None = b"hello", flag: bytes = b"$") -> bytes:
        """Let the far end hear a hand-made SEND; return what it says to it."""
        return self.hear(self.request(b"SEND", more, body, flag))

    def request(
        self,
        method: bytes,
        more: bytes,
        body: bytes | None = None,
        flag: bytes = b"$",
        to: bytes = b"",
        own: bytes = b"",
    ) -> bytes:
        if body is not None:
            more += b"Content-Type: text/plain\r\n"
        own = own or str(self.one.uri).encode()
        to = to or str(self.other.uri).encode()
        return write_request(self.world.near.means.transaction(), method, to, own, more, body, flag)

    def hear(self, data: bytes) -> bytes:
        """Let the far end hear some octets; return what it says."""
        self.world.far.channel.received(data)
        return self.world.far.take()

    def statuses_of(self, data: bytes) -> list[int]:
        return [head.status for head in heads(data)]


class OpeningTests(Case):
    def test_first_request(self) -> None:
        """The active side sends at once, without content (RFC 4975 §5.4); both are open then."""
        world = World()
        alice, bob = User(), User()
        one, other = world.near.session(alice), world.far.session(bob)
        one.lead_to(other.path)
        other.lead_to(one.path)
        self.assertEqual(other.state, WAITING)
        world.near.channel.bind(one, True)
        head = heads(b"".join(world.near.out))[0]
        self.assertEqual((head.method, head.has_body), (b"SEND", False))
        world.carry()
        self.assertEqual((one.state, other.state, alice.opened, bob.opened), (OPEN, OPEN, 1, 1))
        self.assertEqual(bob.seen, [])

    def test_first_message(self) -> None:
        """Who has something to say says it instead; the passive side's words wait (§5.4)."""
        world = World()
        alice, bob = User(), User()
        one, other = world.near.session(alice), world.far.session(bob)
        one.lead_to(other.path)
        other.lead_to(one.path)
        one.send(text(b"hello"))
        other.send(text(b"early"))
        self.assertEqual(other.pending, 5)
        world.near.channel.bind(one, True)
        self.assertEqual(len(heads(b"".join(world.near.out))), 1)
        world.carry()
        self.assertEqual((alice.bodies, bob.bodies), ([b"early"], [b"hello"]))
        self.assertEqual((other.pending, bob.drained), (0, 1))

    def test_path_from_request(self) -> None:
        """A request that comes before the answer's SDP tells whom to talk to."""
        world = World()
        bob = User()
        one, other = world.near.session(User()), world.far.session(bob)
        one.lead_to(other.path)
        world.near.channel.bind(one, True)
        world.carry()
        self.assertEqual((other.state, other.remote_path), (OPEN, one.path))

    def test_no_first_answer(self) -> None:
        """A peer that does not answer the first request is not there (RFC 4975 §7.1.1)."""
        world = World()
        alice = User()
        one = world.near.session(alice)
        one.lead_to((MsrpUri.parse("msrp://b.example:9/y;tcp"),))
        world.near.channel.bind(one, True)
        world.near.take()
        world.pass_time(29)
        self.assertEqual(one.state, OPEN)
        world.pass_time(2)
        self.assertEqual(alice.closed, ["the peer does not answer"])

    def test_relays(self) -> None:
        """Our relays come first in To-Path (RFC 4976 §5.1); only the next hop is answered."""
        world = World()
        one = world.near.session(User())
        relay = MsrpUri.parse("msrps://relay.example:2855/r;tcp")
        one.relays = (relay,)
        peer = MsrpUri.parse("msrp://b.example:9/y;tcp")
        one.lead_to((relay, peer))
        world.near.channel.bind(one, True)
        head = heads(world.near.take())[0]
        self.assertEqual(head.to_path, f"{relay} {relay} {peer}".encode())
        self.assertEqual(head.from_path, str(one.uri).encode())

    def test_unknown_session(self) -> None:
        """481 for a URI that is not ours, or a path that goes on (RFC 4975 §7.3)."""
        for to in (ELSE, str(self.other.uri).encode() + b" " + ELSE):
            answer = self.hear(self.request(b"SEND", b"Message-ID: 1234\r\n", b"x", to=to))
            head = heads(answer)[0]
            self.assertEqual((head.status, head.comment), (481, b"No Such Session"))
            self.assertEqual(head.to_path, str(self.one.uri).encode())
        self.assertEqual(self.hear(self.request(b"REPORT", b"", None, to=ELSE)), b"")
        quiet = b"Message-ID: 1234\r\nFailure-Report: no\r\n"
        self.assertEqual(self.hear(self.request(b"SEND", quiet, b"x", to=ELSE)), b"")

    def test_session_elsewhere(self) -> None:
        """506 for a session that has another connection (RFC 4975 §5.4, §10.10)."""
        thief = End(self.world, False, 3, Limits())
        thief.table = self.world.far.table
        thief.channel.received(self.request(b"SEND", b"Message-ID: 1234\r\n", b"x"))
        self.assertEqual(self.statuses_of(thief.take()), [506])
        self.assertEqual(self.bob.bodies, [])

    def test_other_spelling(self) -> None:
        """A URI is known however it is spelt (RFC 4975 §6.1)."""
        to = str(self.other.uri).encode().replace(b"msrp", b"MSRP").replace(b"host", b"HOST")
        for _ in range(2):
            self.hear(self.request(b"SEND", b"Message-ID: 1234\r\n", b"x", to=to))
        self.assertEqual(self.bob.bodies, [b"x"])
        self.other.close()
        answer = self.hear(self.request(b"SEND", b"Message-ID: 1235\r\n", b"x", to=to))
        self.assertEqual(self.statuses_of(answer), [481])

    def test_481_ends(self) -> None:
        """481 and 506 end the session that sent (RFC 4975 §10.8, §10.10)."""
        self.other.close()
        self.send(b"hello")
        self.world.carry()
        self.assertEqual(self.statuses, [481])
        self.assertEqual((self.one.state, self.alice.closed), (CLOSED, ["the peer answered 481"]))
        self.assertRaises(UsageError, self.one.send, text(b"more"))

    def test_unvouched(self) -> None:
        """Requests wait until the peer's certificate is known to be right (RFC 4975 §14.4)."""
        world = World()
        bob = User()
        one, other = world.near.session(User()), world.far.session(bob)
        other.vouched = False
        one.lead_to(other.path)
        one.send(text(b"hello"))
        world.near.channel.bind(one, True)
        one.send(text(b"more"))
        world.carry()
        self.assertEqual((bob.opened, bob.bodies, world.far.paused), (0, [], True))
        other.vouch(True)
        world.carry()
        self.assertEqual((bob.bodies, world.far.paused), ([b"hello", b"more"], False))
        other = world.far.session(bob)
        other.vouched = False
        two = world.near.session(User())
        two.lead_to(other.path)
        world.near.channel.bind(two, True)
        world.carry()
        self.assertTrue(world.far.paused)
        other.close()
        world.carry()
        self.assertEqual((two.state, world.far.paused), (CLOSED, False))


class ReportTests(Case):
    def reports(self) -> list[tuple[int, str]]:
        return [(report.status, str(report.span)) for report in self.alice.reports]

    def test_matrix(self) -> None:
        """Who is answered, and who gets a report, for all values (RFC 4975 §7.1.3, §7.1.4)."""
        for failure, accepted, refused in (
            (YES, [200], [403]),
            (PARTIAL, [], [403]),
            (NO, [], []),
        ):
            for success in (True, False):
                self.start()
                self.send(b"good", failure_report=failure, success_report=success)
                answer = self.hear(self.world.near.take())
                methods = [head.method for head in heads(answer) if head.method]
                self.assertEqual([s for s in self.statuses_of(answer) if s], accepted)
                self.assertEqual(methods, [b"REPORT"] if success else [])
                self.bob.on_whole = lambda incoming: incoming.refuse(403)
                self.send(b"bad", failure_report=failure, success_report=success)
                answer = self.hear(self.world.near.take())
                self.assertEqual(self.statuses_of(answer), refused, (failure, success))

    def test_case(self) -> None:
        """The values have no case, as all words of the grammar (RFC 4975 §9; RFC 4234 §2.3)."""
        for said, expected in ((b"Yes", [200]), (b"NO", []), (b"Partial", [])):
            self.start()
            more = b"Message-ID: 1234\r\nSuccess-Report: %b\r\nFailure-Report: %b\r\n"
            answer = self.raw(more % (said if said != b"Partial" else b"No", said))
            self.assertEqual([s for s in self.statuses_of(answer) if s], expected, said)
            incoming = self.bob.seen[0]
            self.assertEqual(incoming.success_report, said == b"Yes")
            self.assertEqual(incoming.failure_report, said.lower().decode())

    def test_defaults(self) -> None:
        """Without the fields: failures yes, successes no (RFC 4975 §7.1.1)."""
        answer = self.raw(b"Message-ID: 1234\r\n")
        self.assertEqual(self.statuses_of(answer), [200])
        incoming = self.bob.seen[0]
        self.assertEqual((incoming.failure_report, incoming.success_report), (YES, False))

    def test_success_report(self) -> None:
        """A success report covers all octets, and comes to whoever asked (RFC 4975 §7.1.3)."""
        got: list[Any] = []
        sent = self.send(b"hello", success_report=True, on_report=got.append)
        self.send(b"world", success_report=True)
        self.world.carry()
        self.assertEqual([(one.message_id, one.status) for one in got], [(sent.message_id, 200)])
        self.assertEqual(got[0].span, ByteRange(1, 5, 5))
        self.assertEqual((self.statuses, self.reports()), ([200, 200], [(200, "1-5/5")]))

    def test_report_request(self) -> None:
        """A REPORT has the whole From-Path as To-Path, Status, Message-ID and range, and
        neither report field (RFC 4975 §7.1.2)."""
        more = b"Message-ID: 1234\r\nSuccess-Report: yes\r\nFailure-Report: no\r\n"
        own = ELSE + b" " + str(self.one.uri).encode()
        answer = self.hear(self.request(b"SEND", more, b"hello", own=own))
        head = heads(answer)[0]
        self.assertEqual(head.check(), "")
        self.assertEqual((head.method, head.to_path), (b"REPORT", own))
        self.assertEqual(head.from_path, str(self.other.uri).encode())
        self.assertEqual(head.get(b"Status"), b"000 200 OK")
        self.assertEqual(head.get(b"Message-ID"), b"1234")
        self.assertEqual(head.get(b"Byte-Range"), b"1-5/5")
        self.assertNotIn(b"Success-Report", head.fields)
        self.assertNotIn(b"Failure-Report", head.fields)

    def test_answer_paths(self) -> None:
        """A SEND's answer goes to the previous hop, another one's all the way (§7.2)."""
        own = ELSE + b" " + str(self.one.uri).encode()
        answer = self.hear(self.request(b"SEND", b"Message-ID: 1234\r\n", b"x", own=own))
        self.assertEqual(heads(answer)[0].to_path, ELSE)
        answer = self.hear(self.request(b"OTHER", b"X: y\r\n", own=own))
        head = heads(answer)[0]
        self.assertEqual((head.status, head.to_path), (501, own))

    def test_late_failure(self) -> None:
        """A failure found after the answer is reported, with the octets meant (§7.1.4)."""
        self.send(b"hello")
        self.send(b"quiet", failure_report=NO)
        self.world.carry()
        for incoming in self.bob.seen:
            incoming.report(403, "not allowed")
        self.world.carry()
        self.assertEqual(self.reports(), [(403, "1-5/5")])
        self.assertFalse(self.alice.reports[0].ends_session)

    def test_reports_left_to_user(self) -> None:
        """Who passes a message on reports when it knows more."""
        self.send(b"hello", success_report=True)
        self.bob.on_whole = lambda incoming: incoming.report_later()
        self.world.carry()
        self.assertEqual((self.statuses, self.reports()), ([200], []))
        self.bob.seen[0].report()
        self.world.carry()
        self.assertEqual(self.reports(), [(200, "1-5/5")])

    def test_report_is_not_answered(self) -> None:
        """No REPORT is answered, good or bad (RFC 4975 §7.1.2)."""
        for more in (
            b"Message-ID: 1234\r\nStatus: 000 200 OK\r\n",
            b"Message-ID: 1234\r\nStatus: 000 413 OK\r\nByte-Range: 1-2/2\r\n",
            b"Message-ID: 1234\r\nStatus: 001 999\r\n",
            b"Message-ID: 1234\r\n",
            b"Status: 000 200\r\n",
            b"Message-ID: 1234\r\nStatus: nonsense\r\n",
        ):
            self.assertEqual(self.hear(self.request(b"REPORT", more)), b"")
        self.assertEqual([one.status for one in self.bob.reports], [200, 413])

    def test_failure_report_counts_as_answer(self) -> None:
        """A failure REPORT is what the answer would be (RFC 4975 §7.3.2)."""
        sent = self.send(b"hello")
        more = b"Message-ID: %b\r\nStatus: 000 408\r\n" % sent.message_id.encode()
        self.world.near.channel.received(
            write_request(b"abcd", b"REPORT", str(self.one.uri).encode(), ELSE, more)
        )
        self.assertEqual((self.statuses, self.alice.reports[0].ends_session), ([408], True))
        more = more.replace(b"408", b"481")
        self.world.near.channel.received(
            write_request(b"abcd", b"REPORT", str(self.one.uri).encode(), ELSE, more)
        )
        self.assertEqual(self.one.state, CLOSED)


class AnswerTests(Case):
    def test_bad_requests(self) -> None:
        """400 for what is not as it has to be; the connection goes on (RFC 4975 §10.2)."""
        good = b"Message-ID: 1234\r\n"
        for more in (
            b"",
            b"Message-ID: 12\r\n",
            good + b"Byte-Range: 0-1/1\r\n",
            good + b"Byte-Range: nonsense\r\n",
            good + b"Success-Report: perhaps\r\n",
            good + b"Failure-Report: sometimes\r\n",
            good + good,
            good + b"no field\r\n",
        ):
            self.assertEqual(self.statuses_of(self.raw(more)), [400], more)
        self.assertEqual(self.bob.seen, [])
        self.assertEqual(self.statuses_of(self.raw(good)), [200])

    def test_bad_request_without_wish(self) -> None:
        """Not even 400 for one that wants no answers (RFC 4975 §7.1.4)."""
        more = b"Message-ID: 1234\r\nFailure-Report: no\r\nByte-Range: x\r\n"
        self.assertEqual(self.raw(more), b"")

    def test_bodiless(self) -> None:
        """A request without a body is answered and shown to nobody (RFC 4975 §7.1)."""
        for more in (b"Message-ID: 1234\r\n", b""):
            self.assertEqual(self.statuses_of(self.raw(more, None)), [200])
        self.assertEqual(self.bob.seen, [])

    def test_empty_body(self) -> None:
        """An empty body is a message (RFC 4975 §7.1, §7.1.1)."""
        self.send(b"")
        self.assertIn(b"Byte-Range: 1-0/0\r\n", b"".join(self.world.near.out))
        self.world.carry()
        self.assertEqual((self.bob.bodies, self.statuses), ([b""], [200]))

    def test_no_answer(self) -> None:
        """30 seconds after the last octet the sender is told (RFC 4975 §7.1.1)."""
        self.send(b"hello")
        self.send(b"no matter", failure_report=PARTIAL)
        self.world.near.take()
        self.assertEqual(self.statuses, [200])
        self.world.pass_time(29.9)
        self.assertEqual(self.statuses, [200])
        self.world.pass_time(0.2)
        self.assertEqual(self.statuses, [200, 408])
        self.assertEqual(self.one.state, OPEN)

    def test_nobody_decides(self) -> None:
        """A message that its user did nothing about is refused."""
        self.start(mode="none")
        self.send(b"hello")
        self.world.carry()
        self.assertEqual(self.statuses, [413])

    def test_late_refusal(self) -> None:
        """With Failure-Report partial a refusal after the end still comes (RFC 4975 §5.3)."""
        got: list[Any] = []
        self.bob.on_whole = lambda incoming: incoming.refuse(403, "go away")
        self.send(b"hello", failure_report=PARTIAL, on_report=got.append)
        self.assertEqual(self.statuses, [200])
        self.world.carry()
        self.assertEqual([(one.status, one.comment) for one in got], [(403, "go away")])
        self.assertEqual(self.statuses, [200])

    def test_accepting(self) -> None:
        """Types and sizes that were not declared are refused (RFC 4975 §7.3.1, §10.5, §10.6)."""
        world = World()
        bob = User()
        accepting = Accepting(("message/cpim", "text/*"), ("image/png",), 1000)
        one, _ = world.pair(User(), bob, accepting)
        wrapped = b"From: <im:a@b>\r\n\r\nContent-Type: %b\r\n\r\nx"
        statuses: list[int] = []
        for content_type, body in (
            ("text/html;charset=utf-8", b"x"),
            ("Message/CPIM", wrapped % b"image/png"),
            ("message/cpim", wrapped % b"text/plain"),
            ("message/cpim", wrapped % b"image/gif"),
            ("image/png", b"x"),
            ("text/plain", b"x" * 1001),
        ):
            one.send(Outgoing(content_type, body, on_end=statuses.append))
            world.carry()
        self.assertEqual(statuses, [200, 200, 200, 415, 415, 413])
        self.assertEqual(len(bob.bodies), 3)
        stream = one.send(Outgoing("text/plain", on_end=statuses.append))
        stream.write(b"x" * 2100)
        world.carry()
        self.assertEqual((statuses[6:], len(bob.bodies)), ([413], 3))

    def test_duplicates(self) -> None:
        """A message that came before is acknowledged and not shown again (RFC 4975 §5.4)."""
        more = b"Message-ID: 1234\r\nSuccess-Report: yes\r\n"
        for _ in range(2):
            answer = self.raw(more)
            self.assertEqual([head.status or 1 for head in heads(answer)], [200, 1])
            self.assertEqual(heads(answer)[1].get(b"Byte-Range"), b"1-5/5")
        self.assertEqual(self.bob.bodies, [b"hello"])
        successor = self.world.far.session(self.bob)
        successor.inbox.recent = self.other.inbox.recent
        successor.lead_to(self.one.path)
        to = str(successor.uri).encode()
        answer = self.hear(self.request(b"SEND", b"Message-ID: 1234\r\n", b"hello", to=to))
        self.assertEqual((self.statuses_of(answer), self.bob.bodies), ([200], [b"hello"]))

    def test_hold(self) -> None:
        """What has to be durable first is answered and reported then."""
        held: list[Any] = []

        def keep(incoming: Any) -> None:
            incoming.hold()
            held.append(incoming)

        self.bob.on_whole = keep
        self.send(b"hello", success_report=True)
        self.send(b"lost", success_report=True)
        self.world.carry()
        self.assertEqual((self.statuses, self.alice.reports), ([], []))
        held[0].release()
        held[1].release(403, "full\r\nX: y")
        held[1].release()
        self.world.carry()
        self.assertEqual((self.statuses, len(self.alice.reports)), ([200, 403], 1))

    def test_repeated_while_held(self) -> None:
        """A repeat is not acknowledged before the first one is; what was refused after all is
        taken when it comes again."""
        self.bob.on_whole = lambda incoming: incoming.hold()
        more = b"Message-ID: 1234\r\n"
        self.assertEqual((self.raw(more), self.raw(more)), (b"", b""))
        self.bob.seen[0].release(403)
        self.assertEqual(self.statuses_of(self.world.far.take()), [403, 403])
        self.assertEqual((self.raw(more), len(self.bob.bodies)), (b"", 2))
        self.bob.seen[1].release()
        self.assertEqual(self.statuses_of(self.world.far.take()), [200])
        self.assertEqual(self.statuses_of(self.raw(more)), [200])
        self.assertEqual(len(self.bob.bodies), 2)

    def test_one_unanswered(self) -> None:
        """One request without answer does not let the others be kept."""
        turns = self.world.near.channel.turns
        self.send(b"lost")
        self.world.near.take()
        for _ in range(3000):
            self.one.send(text(b"x"))
            self.world.carry()
        self.assertLess(len(turns._lane), 1100)
        self.world.pass_time(31)
        self.assertEqual(self.statuses, [408])

    def test_unknown_answers(self) -> None:
        """An answer to no request of ours is ignored; a refusal is told, as it may be one of a
        shared copy."""
        to = str(self.one.uri).encode()
        for status in (200, 403):
            self.world.near.channel.received(write_response(b"abcd", status, "", to, ELSE))
        self.assertEqual([(one.status, one.message_id) for one in self.alice.reports], [(403, "")])
        self.world.near.channel.received(write_response(b"abcd", 481, "", to, ELSE))
        self.assertEqual(self.one.state, CLOSED)


class NicknameTests(Case):
    def test_nickname(self) -> None:
        """A nickname is asked for, changed, removed (RFC 7701 §7.1 to §7.3)."""
        answers: list[int] = []
        for name in ('Alice the "great" \\', "Zoë ☺", ""):
            self.one.nickname(name, answers.append)
            self.world.carry()
            self.assertEqual(self.bob.nicknames[-1], name)
        self.bob.nickname_status = 425
        self.one.nickname("Bob", answers.append)
        self.world.carry()
        self.assertEqual(answers, [200, 200, 200, 425])

    def test_request(self) -> None:
        """NICKNAME has no report fields, and Use-Nickname (RFC 7701 §7.1)."""
        self.one.nickname("x", self.statuses.append)
        head = heads(self.world.near.take())[0]
        self.assertEqual(list(head.fields), [b"To-Path", b"From-Path", b"Use-Nickname"])
        self.assertEqual(head.get(b"Use-Nickname"), b'"x"')

    def test_malformed(self) -> None:
        """424 for what is no quoted string, or too long (RFC 7701 §7.1)."""
        for value in (b"Alice", b'"', b'"a"b"', b'"\\n"', b'"%b"' % (b"x" * 1024), b'"\xc3\xa9\\"'):
            data = self.request(b"NICKNAME", b"Use-Nickname: %b\r\n" % value)
            self.assertEqual(self.statuses_of(self.hear(data)), [424], value)
        self.assertEqual(self.statuses_of(self.hear(self.request(b"NICKNAME", b"X: y\r\n"))), [400])
        self.assertEqual(self.bob.nicknames, [])
        self.assertRaises(UsageError, self.one.nickname, "x" * 1024, self.statuses.append)
        self.assertRaises(UsageError, self.one.nickname, "a\nb", self.statuses.append)

    def test_no_answer(self) -> None:
        """No answer is 408, the end of the session 481."""
        self.one.nickname("x", self.statuses.append)
        self.world.near.take()
        self.world.pass_time(31)
        self.one.nickname("x", self.statuses.append)
        self.world.near.channel.lost("cut")
        self.assertEqual(self.statuses, [408, 481])

    def test_before_it_is_open(self) -> None:
        """What is asked for too early waits, and ends with the session (RFC 4975 §5.4)."""
        world = World()
        alice, bob = User(), User()
        one, other = world.near.session(alice), world.far.session(bob)
        one.nickname("early", self.statuses.append)
        one.lead_to(other.path)
        other.lead_to(one.path)
        world.near.channel.bind(one, True)
        first, second = heads(world.near.take())
        self.assertEqual((first.method, second.method), (b"SEND", b"NICKNAME"))
        unbound = world.near.session(alice)
        unbound.nickname("never", self.statuses.append)
        unbound.close()
        self.assertEqual(self.statuses, [481])
        self.assertRaises(UsageError, unbound.nickname, "x", self.statuses.append)

    def test_later(self) -> None:
        """Who has to ask somebody else answers later, in the order of the requests."""
        self.bob.nickname_status = LATER
        answers: list[tuple[str, int]] = []
        for name in ("one", "two"):
            self.one.nickname(name, lambda status, name=name: answers.append((name, status)))  # type: ignore[misc]
        self.world.carry()
        self.assertEqual(answers, [])
        self.other.answer_nickname(200)
        self.other.answer_nickname(425)
        self.other.answer_nickname(200)  # nobody has asked
        self.world.carry()
        self.assertEqual(answers, [("one", 200), ("two", 425)])
        for number in range(17):
            self.one.nickname(str(number), self.statuses.append)
        self.world.carry()
        self.assertEqual(self.statuses, [403])  # too many wait

    def test_unwanted(self) -> None:
        """Who does not know the method answers 501 (RFC 4975 §10.9)."""
        from omaim.msrp import SessionUser

        self.other.user = SessionUser(lambda session, incoming: None)
        self.one.nickname("x", self.statuses.append)
        self.world.carry()
        self.assertEqual(self.statuses, [501])

    def test_large_body(self) -> None:
        """A request that is no message has a small body (RFC 4975 §7.1)."""
        data = self.request(b"OTHER", b"X: y\r\n", b"x" * 10241)
        self.assertEqual(self.statuses_of(self.hear(data)), [400])
        data = self.request(b"OTHER", b"X: y\r\n", b"x" * 10240)
        self.assertEqual(self.statuses_of(self.hear(data)), [501])


class ClosingTests(Case):
    def test_close(self) -> None:
        """A session ends here with all that is not finished; its connection remains."""
        self.bob.mode = "stream"
        stream = self.one.send(Outgoing("text/plain", on_end=self.statuses.append))
        stream.write(b"x" * 3000)
        self.world.carry()
        self.one.close("enough")
        self.one.close("again")
        self.assertEqual((self.alice.closed, self.statuses), (["enough"], [481]))
        self.assertIn(b"#\r\n", b"".join(self.world.near.out))
        self.world.carry()
        self.assertEqual(self.bob.ends, {stream.message_id: False})
        self.assertEqual((self.world.near.ended, self.world.near.channel.sessions), ([], []))
        stream.write(b"more")
        stream.finish()
        self.assertEqual(self.world.near.out, [])

    def test_idle(self) -> None:
        """A connection without sessions is closed after a while, one with sessions is not."""
        self.world.pass_time(10_000)
        self.assertEqual(self.world.near.ended, [])
        self.one.close()
        self.world.pass_time(299)
        self.assertEqual(self.world.near.ended, [])
        self.world.pass_time(2)
        self.assertEqual(self.world.near.ended, ["idle"])

    def test_lost(self) -> None:
        """With the connection all of its sessions are lost (RFC 4975 §5.4)."""
        alice = User()
        more, other = self.world.near.session(alice), self.world.far.session(User())
        more.lead_to(other.path)
        self.world.near.channel.bind(more, True)
        self.world.carry()
        self.send(b"hello")
        self.world.near.channel.lost("cut")
        self.assertEqual((self.alice.closed, alice.closed), (["cut"], ["cut"]))
        self.assertEqual((self.statuses, self.one.state), ([481], CLOSED))
        self.world.near.channel.received(b"MSRP")
        self.world.near.channel.lost("again")

    def test_silent_peer(self) -> None:
        """Who connects has 30 seconds for a request to a session of ours."""
        world = World()
        world.far.session(User())
        world.far.channel.received(self.request(b"SEND", b"Message-ID: 1234\r\n", b"x", to=ELSE))
        world.pass_time(29)
        self.assertEqual(world.far.ended, [])
        world.pass_time(2)
        self.assertEqual(world.far.ended, ["no request in time"])

    def test_half_head(self) -> None:
        """A head that does not end is not waited for."""
        data = self.request(b"SEND", b"Message-ID: 1234\r\n", b"x" * 100)
        for cut in (3, 60, len(data) - 40):
            self.start()
            self.hear(data[:cut].replace(b"x", b"y"))
            self.world.pass_time(11)
            expected = [] if cut > 100 else ["half a request"]
            self.assertEqual(self.world.far.ended, expected, cut)

    def test_user_closes_at_once(self) -> None:
        """A session may be closed whenever its user is called."""

        def close(session: Session, *args: Any) -> None:
            session.close("at once")

        from omaim.msrp import SessionUser

        for user in (
            SessionUser(lambda session, incoming: None, on_open=close),
            SessionUser(close),
            SessionUser(
                lambda session, incoming: incoming.collect(100, lambda body: session.close())
            ),
            SessionUser(
                lambda session, incoming: incoming.stream(
                    lambda offset, data: session.close(), lambda complete: None
                )
            ),
        ):
            world = World()
            one, other = world.near.session(User()), world.far.session(User())
            other.user = user
            one.lead_to(other.path)
            one.send(text(b"hello"))
            one.send(text(b"hello" * 1000))
            world.near.channel.bind(one, True)
            world.carry()
            self.assertEqual((one.state, other.state), (CLOSED, CLOSED))
